/* SPDX-License-Identifier: BSD-3-Clause */
/* static_sim.c: hosts that ask for static controllers, by number or for any, and save a feature whenever they come,
 * under a network that cuts. Where it cuts in silence nobody tells the target: so a host finds its own controller
 * taken by itself (dup_host_policy is replace in half of the runs, in the others it waits for the keep-alive). Before
 * I/O and in the midst of it hosts reset their controller by CC.EN, or all of the subsystem's (NSSR), other hosts' too.
 *
 * Checks that nobody gets a controller that is another host's, or that it did not ask for; that what a host was told is
 * saved is there for whoever has the controller next, and after a reset, which forgets what was not saved; that no
 * write of before a reset lands when the controller has told that it is disabled; and all that path_sim.c checks.
 */
#include <stdio.h>

#include "world.h"

static struct { uint64_t saves, recalled, refused, resets[2]; } all;

static void faults(struct reactor *r, void *arg)
{
	struct world *w = arg;

	(void)r;
	world_maybe_move(w);
	if (w->cuts_left && sim_net_connections() && sim_draw(1000) < w->cut_percent) {
		w->cuts_left--;
		sim_net_cut((uint32_t)sim_draw(sim_net_connections()), sim_chance(50));
	}
}

static uint64_t run(uint64_t seed)
{
	struct world w;

	world_start_static(&w, seed);
	w.cuts_left = 10;
	w.cut_percent = 1 + (uint32_t)sim_draw(8);
	world_run_clients(&w, faults, &w);
	sim_after_pass(NULL, NULL);
	seeds_verdict();
	must(w.saves);
	all.saves += w.saves;
	all.recalled += w.recalled;
	all.refused += w.refused;
	for (int i = 0; i < 2; i++)
		all.resets[i] += w.resets[i];
	world_clients_free(&w);
	return world_end(&w);
}

int main(int argc, char **argv)
{
	int rc = seeds_main(argc, argv, 60, run);

	printf("%llu saves, %llu of them found again; %llu times refused; %llu resets, and %llu of the subsystem\n",
	       (unsigned long long)all.saves, (unsigned long long)all.recalled, (unsigned long long)all.refused,
	       (unsigned long long)all.resets[0], (unsigned long long)all.resets[1]);
	if (!rc && argc == 1 && (all.recalled < 100 || all.refused < 10 || all.resets[0] < 50 || all.resets[1] < 20)) {
		fprintf(stderr, "too little happened for this to prove anything\n");
		return 1;
	}
	return rc;
}
