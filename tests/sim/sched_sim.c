/* SPDX-License-Identifier: BSD-3-Clause */
/* sched_sim.c: the whole path while the dynamic scheduler moves connections by the load it finds, a person moves others
 * by hand, cores are isolated and freed, schedulers change, and connections are cut.
 *
 * Checks what path_sim.c does: no read is stale or torn, every command is answered, nothing gets stuck, the target
 * stops in the midst of it; and over all seeds that the scheduler did move, pack and sleep.
 */
#include <stdio.h>

#include "core/sched.h"
#include "world.h"

#define HANDS 3u

struct play {
	struct world world;
	bool over;
	struct hand {
		struct play *play;
		struct nvmf_move move;
		bool out;
	} hands[HANDS];
};

static struct {
	uint64_t rounds, moves, failed, naps, by_hand, refused;
} all;

static void set_scheduler(void *arg)
{
	struct play *p = arg;
	struct core *core = p->world.target_core;
	uint32_t count = core_reactor_count(core), first = (uint32_t)sim_draw(count);

	sched_set(core, &(struct sched_opts){
		.dynamic = sim_chance(90), .period_ns = 20 * NS_PER_US + sim_draw(2 * NS_PER_MS),
		.load_limit = 1 + (uint32_t)sim_draw(60), .core_limit = 20 + (uint32_t)sim_draw(80),
		.core_busy = 5 + (uint32_t)sim_draw(60) });
	sched_set_cores(core, sim_chance(20) ? sim_draw(1u << count) & ~(1ull << first) : 0, first);
}

static void hand_done(struct nvmf_move *m)
{
	struct hand *h = container_of(m, struct hand, move);

	h->out = false;
	if (m->err.code)
		all.refused++;
	else
		all.by_hand++;
}

static void move_by_hand(void *arg)
{
	struct play *p = arg;
	struct hand *h = &p->hands[sim_draw(HANDS)];
	struct core *core = p->world.target_core;

	if (h->out)
		return;
	h->out = true;
	h->move = (struct nvmf_move){ .target = p->world.target, .done = hand_done };
	nvmf_move_qpair(&h->move, WORLD_NQN, (uint16_t)(1 + sim_draw(4)), (uint16_t)sim_draw(4),
	                core_reactor(core, (uint32_t)sim_draw(core_reactor_count(core))), sim_chance(30));
}

static void faults(struct reactor *r, void *arg)
{
	struct play *p = arg;
	struct world *w = &p->world;

	(void)r;
	if (sim_draw(3000) == 0)
		sim_as(core_control(w->target_core), set_scheduler, p);
	if (sim_draw(300) == 0)
		sim_as(core_control(w->target_core), move_by_hand, p);
	if (w->cuts_left && sim_net_connections() && sim_draw(2000) < w->cut_percent) {
		w->cuts_left--;
		sim_net_cut((uint32_t)sim_draw(sim_net_connections()), sim_chance(20));
	}
}

static bool naps(void *arg)
{
	struct play *p = arg;
	struct sched_stats s;

	sched_get_stats(p->world.target_core, &s);
	return s.naps > 0;
}

static void note(struct core *core)
{
	struct sched_stats s;

	sched_get_stats(core, &s);
	all.rounds += s.rounds;
	all.moves += s.moves;
	all.failed += s.failed;
	all.naps += s.naps;
}

static void make_dynamic(void *arg)
{
	/* In a shorter period its own messages would count as load. */
	sched_set(((struct play *)arg)->world.target_core, &(struct sched_opts){ .dynamic = true,
	                                                                          .period_ns = 5 * NS_PER_MS });
}

static uint64_t run(uint64_t seed)
{
	struct play p = { 0 };
	struct world *w = &p.world;

	world_start(w, seed);
	w->cuts_left = 5;
	sim_as(core_control(w->target_core), set_scheduler, &p);
	world_run_clients(w, faults, &p);
	sim_after_pass(NULL, NULL);
	if (w->target_cores > 1 && sim_chance(50)) {
		sim_as(core_control(w->target_core), make_dynamic, &p);
		if (!sim_run(naps, &p, 10 * NS_PER_S))
			seeds_fail("the scheduler looks on though nothing is done any more");
	}
	seeds_verdict();
	note(w->target_core);
	world_clients_free(w);
	return world_end(w);
}

int main(int argc, char **argv)
{
	int rc = seeds_main(argc, argv, 60, run);

	printf("%llu rounds, %llu moves (%llu not), %llu naps; by hand %llu (%llu not)\n", (unsigned long long)all.rounds,
	       (unsigned long long)all.moves, (unsigned long long)all.failed, (unsigned long long)all.naps,
	       (unsigned long long)all.by_hand, (unsigned long long)all.refused);
	if (!rc && argc == 1 && (all.moves < 100 || all.naps < 10 || all.by_hand < 50)) {
		fprintf(stderr, "too little happened for this to prove anything\n");
		return 1;
	}
	return rc;
}
