/* SPDX-License-Identifier: BSD-3-Clause */
/* storm_sim.c: all troubles at once: two to four hosts write and read the same blocks of a disk that loses power, over
 * one that fails, keeps I/O back and is slow, while connections are cut, and moved between cores.
 *
 * Checks that no read is torn, another block's or older than what must be there: what was answered, and after a power
 * cut what a flush or FUA that was answered had covered; that a command fails only for a reason that there is; that
 * nothing gets stuck and nothing is left behind; and over all seeds that each trouble did happen.
 */
#include <errno.h>
#include <stdio.h>

#include "backends/delay/delay.h"
#include "backends/error/error.h"
#include "backends/powercut/powercut.h"
#include "world.h"

#define IOS 1200u
#define HANDS 2u

struct storm {
	struct world world;
	uint32_t fault_permille, power_permille; /* of 1000 passes */
	bool calming;
	bool injecting, keeps;          /* a call is out; something may be kept back */
	struct error_rule_opts rule;
	bool cutting, dark;
	struct powercut_cut_opts cut;
	struct hand {
		struct storm *storm;
		struct nvmf_move move;
		bool out;
	} hands[HANDS];
};

static struct {
	uint64_t injected, resumed, power_cuts, lost, kept, net_cuts, moves;
} all;

/* --- faults of the media ---------------------------------------------------------------------- */

static void injected(void *arg)
{
	((struct storm *)arg)->injecting = false;
}

/* Few at a time: what fails always finds out nothing. */
static void inject(void *arg)
{
	static const uint8_t statuses[] = { BDEV_ST_MEDIA_ERROR, BDEV_ST_FAILED, BDEV_ST_BUSY, BDEV_ST_NO_SPACE };
	static const uint32_t ops[] = { BDEV_BIT(READ), BDEV_BIT(WRITE), BDEV_BIT(FLUSH),
		BDEV_BIT(READ) | BDEV_BIT(WRITE) | BDEV_BIT(FLUSH) };
	struct storm *s = arg;
	struct err e = { 0 };
	int rc;

	s->rule = (struct error_rule_opts){
		.ops = ops[sim_draw(ARRAY_SIZE(ops))], .kind = sim_chance(30) ? ERROR_PENDING : ERROR_STATUS,
		.status = (enum bdev_status)statuses[sim_draw(ARRAY_SIZE(statuses))], .num = 1 + (uint32_t)sim_draw(6) };
	if (sim_chance(30)) {
		s->rule.lba = sim_draw(s->world.blocks);
		s->rule.count = 1 + sim_draw(16);
	}
	s->keeps |= s->rule.kind == ERROR_PENDING;
	all.injected++;
	rc = error_inject(s->world.reg, "EE_media", &s->rule, injected, s, &e);
	if (rc == -ENOSPC) /* as many rules as there may be, about blocks that nobody comes to */
		rc = error_clear(s->world.reg, "EE_media", injected, s, &e);
	if (rc != 0)
		seeds_fail("%s", e.text);
}

static void resume(void *arg)
{
	struct storm *s = arg;
	struct err e = { 0 };

	s->keeps = false;
	all.resumed++;
	if (error_resume(s->world.reg, "EE_media", injected, s, &e) != 0)
		seeds_fail("%s", e.text);
}

/* --- the power -------------------------------------------------------------------------------- */

static void was_cut(void *arg, const struct powercut_cut_result *r)
{
	struct storm *s = arg;

	all.lost += r->blocks_lost;
	all.kept += r->blocks_kept;
	sim_note(r->blocks_kept);
	oracle_power_cut(s->world.oracle);
	s->cutting = false;
	s->dark = s->cut.stay_off;
}

static void pull(void *arg)
{
	struct storm *s = arg;
	struct err e = { 0 };

	all.power_cuts++;
	s->cut = (struct powercut_cut_opts){ .mode = (uint32_t)sim_draw(3), .stay_off = sim_chance(30) };
	if (powercut_trigger(s->world.reg, "power", &s->cut, was_cut, s, &e) != 0)
		seeds_fail("%s", e.text);
}

static void is_back(void *arg, const struct powercut_cut_result *r)
{
	struct storm *s = arg;

	s->cutting = s->dark = false;
}

static void put_in(void *arg)
{
	struct storm *s = arg;
	struct err e = { 0 };

	if (powercut_power_on(s->world.reg, "power", is_back, s, &e) != 0)
		seeds_fail("%s", e.text);
}

/* --- connections ------------------------------------------------------------------------------ */

static void hand_done(struct nvmf_move *m)
{
	struct hand *h = container_of(m, struct hand, move);

	h->out = false;
	all.moves += !m->err.code;
}

static void move_by_hand(void *arg)
{
	struct storm *s = arg;
	struct hand *h = &s->hands[sim_draw(HANDS)];
	struct core *core = s->world.target_core;

	if (h->out)
		return;
	h->out = true;
	h->move = (struct nvmf_move){ .target = s->world.target, .done = hand_done };
	nvmf_move_qpair(&h->move, WORLD_NQN, (uint16_t)(1 + sim_draw(5)), (uint16_t)sim_draw(4),
	                core_reactor(core, (uint32_t)sim_draw(core_reactor_count(core))), sim_chance(30));
}

static void moved(void *arg, int rc)
{
	all.moves += rc == 0;
}

/* As the scheduler does it: also in the middle of a PDU. */
static void move_one(void *arg)
{
	struct world *w = arg;
	struct nvmf_qpair *qp = nvmf_target_qpair(w->target, (uint32_t)sim_draw(8));

	if (qp)
		qp->transport->ops->qpair_move(qp, core_reactor(w->target_core, (uint32_t)sim_draw(w->target_cores)), moved, w);
}

/* --- after any pass --------------------------------------------------------------------------- */

static void media_troubles(struct storm *s, struct reactor *control)
{
	bool faults = !s->calming && sim_draw(1000) < s->fault_permille;

	if (s->injecting)
		return;
	if (s->keeps && (s->calming || sim_draw(200) == 0)) {
		s->injecting = true;
		sim_as(control, resume, s);
	} else if (faults) {
		s->injecting = true;
		sim_as(control, inject, s);
	}
}

static void power_troubles(struct storm *s, struct reactor *control)
{
	if (s->cutting)
		return;
	if (s->dark && (s->calming || sim_draw(100) == 0)) {
		s->cutting = true;
		sim_as(control, put_in, s);
	} else if (!s->dark && !s->calming && sim_draw(10000) < s->power_permille) {
		s->cutting = true;
		sim_as(control, pull, s);
	}
}

static void troubles(struct reactor *r, void *arg)
{
	struct storm *s = arg;
	struct world *w = &s->world;
	struct reactor *control = core_control(w->target_core);

	media_troubles(s, control);
	power_troubles(s, control);
	if (s->calming)
		return;
	if (w->target_cores > 1 && sim_draw(1000) < w->move_permille)
		sim_as(core_reactor(w->target_core, (uint32_t)sim_draw(w->target_cores)), move_one, w);
	if (sim_draw(500) == 0)
		sim_as(control, move_by_hand, s);
	if (w->cuts_left && sim_net_connections() && sim_draw(3000) < w->cut_percent) {
		w->cuts_left--;
		all.net_cuts++;
		sim_net_cut((uint32_t)sim_draw(sim_net_connections()), sim_chance(20));
	}
}

/* --- the scenario ----------------------------------------------------------------------------- */

/* disk <- media (slow) <- EE_media (fails) <- power (loses it). */
static const char *stack(struct world *w)
{
	struct delay_opts slow = { .name = "media", .base = "disk",
		.latency_us = { sim_draw(100), sim_draw(1000), sim_draw(100), sim_draw(1000) } };
	struct error_opts fails = { .base = "media" };
	struct powercut_opts power = { .name = "power", .base = "EE_media", .cache_blocks = 90 + (uint32_t)sim_draw(200) };
	struct err e = { 0 };

	if (delay_create(w->reg, &slow, &e) != 0 || error_create(w->reg, &fails, &e) != 0 ||
	    powercut_create(w->reg, &power, &e) != 0)
		seeds_fail("%s", e.text);
	return "power";
}

static bool is_calm(void *arg)
{
	struct storm *s = arg;
	bool moving = false;

	for (uint32_t i = 0; i < HANDS; i++)
		moving |= s->hands[i].out;
	return seeds_failed() || (!s->injecting && !s->keeps && !s->cutting && !s->dark && !moving);
}

/* Virtual time goes on by itself where nobody does anything: a pass of the control reactor now and then. */
static void nothing(void *arg)
{
}

static void calm_down(struct storm *s)
{
	s->calming = true;
	for (uint32_t i = 0; i < 1000 && !is_calm(s); i++) {
		sim_as(core_control(s->world.target_core), nothing, NULL);
		sim_run(is_calm, s, 10 * NS_PER_MS);
	}
	if (!is_calm(s))
		seeds_fail("no calm after the storm");
}

static uint64_t run(uint64_t seed)
{
	struct storm s = { 0 };
	struct world *w = &s.world;

	world_start_over(w, seed, stack);
	w->clients = max_u32(w->clients, 2);
	w->faulty = w->volatile_disk = true;
	w->ios_left = IOS;
	w->cuts_left = 10;
	s.fault_permille = 1 + (uint32_t)sim_draw(10);
	s.power_permille = 1 + (uint32_t)sim_draw(20);
	world_run_clients(w, troubles, &s);
	calm_down(&s);
	sim_after_pass(NULL, NULL);
	seeds_verdict();
	world_clients_free(w);
	return world_end(w);
}

int main(int argc, char **argv)
{
	int rc = seeds_main(argc, argv, 60, run);

	printf("%llu faults, %llu resumed; %llu power cuts (%llu blocks lost, %llu kept); %llu network cuts; %llu moves\n",
	       (unsigned long long)all.injected, (unsigned long long)all.resumed, (unsigned long long)all.power_cuts,
	       (unsigned long long)all.lost, (unsigned long long)all.kept, (unsigned long long)all.net_cuts,
	       (unsigned long long)all.moves);
	if (!rc && argc == 1 && (all.injected < 100 || all.resumed < 20 || all.power_cuts < 30 || all.lost < 30 ||
	                         all.net_cuts < 20 || all.moves < 100)) {
		fprintf(stderr, "too little happened for this to prove anything\n");
		return 1;
	}
	return rc;
}
