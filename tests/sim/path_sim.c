/* SPDX-License-Identifier: BSD-3-Clause */
/* path_sim.c: the whole path, host to RAM disk, under a simulated network that delays, cuts into pieces and
 * resets, while connections are frozen after any pass and thawed on another core.
 *
 * Checks that no read is stale, torn or another block's, that every command is answered, that nothing gets
 * stuck or is left behind, and that a seed replays a run exactly.
 */
#include <stdio.h>

#include "world.h"

/* A cut in the middle of things, now and then. */
static void faults(struct reactor *r, void *arg)
{
	struct world *w = arg;

	(void)r;
	world_maybe_move(w);
	if (w->cuts_left && sim_net_connections() && sim_draw(2000) < w->cut_percent) {
		w->cuts_left--;
		sim_net_cut((uint32_t)sim_draw(sim_net_connections()), sim_chance(20));
	}
}

static uint64_t run(uint64_t seed)
{
	struct world w;

	world_start(&w, seed);
	w.cuts_left = 10;
	world_run_clients(&w, faults, &w);
	sim_after_pass(NULL, NULL);
	seeds_verdict();
	world_clients_free(&w);
	return world_end(&w);
}

int main(int argc, char **argv)
{
	return seeds_main(argc, argv, 60, run);
}
