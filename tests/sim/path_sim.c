/* SPDX-License-Identifier: BSD-3-Clause */
/* path_sim.c: the whole path, host to RAM disk, under a simulated network that delays, cuts into pieces and
 * resets, while connections are frozen after any pass and thawed on another core.
 *
 * Checks that no read is stale, torn or another block's, that every command is answered, that nothing gets
 * stuck or is left behind, and that a seed replays a run exactly.
 */
#include <stdio.h>

#include "seeds.h"
#include "world.h"

static void moved(void *arg, int rc)
{
	((struct world *)arg)->moves += rc == 0;
}

/* One of the core's connections, frozen wherever it is, goes on somewhere else. */
static void move_one(void *arg)
{
	struct world *w = arg;
	struct nvmf_qpair *qp = nvmf_target_qpair(w->target, (uint32_t)sim_draw(6));

	if (qp)
		qp->transport->ops->qpair_move(qp, core_reactor(w->target_core, (uint32_t)sim_draw(w->target_cores)), moved, w);
}

static void maybe_move(struct world *w)
{
	if (w->target_cores > 1 && sim_draw(1000) < w->move_permille)
		sim_as(core_reactor(w->target_core, (uint32_t)sim_draw(w->target_cores)), move_one, w);
}

/* A cut in the middle of things, now and then. */
static void faults(struct reactor *r, void *arg)
{
	struct world *w = arg;

	(void)r;
	maybe_move(w);
	if (w->cuts_left && sim_net_connections() && sim_draw(2000) < w->cut_percent) {
		w->cuts_left--;
		sim_net_cut((uint32_t)sim_draw(sim_net_connections()), sim_chance(20));
	}
}

static bool is_over(void *arg)
{
	struct world *w = arg;

	return w->failed || w->clients_running == 0;
}

static uint64_t run(uint64_t seed)
{
	struct world w;
	uint64_t hash;

	world_start(&w, seed);
	w.cuts_left = 10;
	w.clients_running = w.clients;
	sim_after_pass(faults, &w);
	for (uint32_t i = 0; i < w.clients; i++)
		w.client[i] = client_make(&w, i);
	if (!sim_run(is_over, &w, WORLD_SECONDS * NS_PER_S))
		world_fail(&w, "stuck: %u clients have not ended, %u I/Os were left", w.clients_running, w.ios_left);
	sim_after_pass(NULL, NULL);
	world_verdict(&w);
	for (uint32_t i = 0; i < w.clients; i++)
		client_free(w.client[i]);
	hash = world_end(&w);
	return hash;
}

int main(int argc, char **argv)
{
	log_set_level(argc == 3 && !strcmp(argv[1], "--seed") ? LOG_DEBUG : LOG_ERROR);
	return seeds_main(argc, argv, 60, run);
}
