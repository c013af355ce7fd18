/* SPDX-License-Identifier: BSD-3-Clause */
/* remote_ctl_sim_test.c: the control side alone, in the simulator: controllers and cores are the test's, and do what
 * the seed draws.
 *
 * Controllers are reached, become ready, fail, fall silent or die at any moment; namespaces come, grow, go and change
 * their identity; ANA states change. Meanwhile people attach, detach, reset, enable and disable without waiting for
 * one another. Whoever waits is told once; cores never see what has been freed; lanes go up and down in turn; at the
 * end everything goes, and nothing is left. What hangs in limbo is released when its time is over, or when somebody was
 * told that its controller is reset or disabled, not before.
 *
 * Here are cores and people; controllers are in remote_ctl_ctrlrs_test.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>

#include "backends/remote/remote_ctl_world_test.h"
#include "core/log.h"

#ifndef SEEDS
#define SEEDS 300u
#endif
#define ACTIONS 60u
#define QUIET_NS (120 * NS_PER_S)
#define ADDRESSES 3u
#define LIVES_KEPT 64u

struct world w;

/* --- cores -------------------------------------------------------------------------------------------------- */

const uint32_t remote_ops_supported = BDEV_BIT(READ) | BDEV_BIT(WRITE) | BDEV_BIT(FLUSH);

struct fake_lanes {
	struct timer timer;
	struct remote_path *path;
	bool early, up, busy, replaying;
	void (*done)(struct remote_path *p);
	struct timer replay_timer;
	void (*replay_done)(struct remote_path *p);
	uint32_t replayed;
	struct ended {                  /* what left something in limbo, and when */
		uint32_t life;
		uint64_t at_ns, cirn;
	} ended[LIVES_KEPT];
};

static struct fake_lanes *lanes_of(struct remote_path *p)
{
	return (struct fake_lanes *)(void *)p->lanes[0].qp; /* a place to keep it */
}

void remote_group_cores_init(struct remote_group *g) {}
void remote_group_cores_fini(struct remote_group *g) {}

void remote_lanes_init(struct remote_path *p)
{
	struct fake_lanes *f = base_zalloc(sizeof(*f));

	f->path = p;
	p->lanes[0].qp = (struct nvme_qpair *)(void *)f;
	must(w.live_count < LIVE_MAX);
	w.live[w.live_count++] = p;
}

void remote_lanes_fini(struct remote_path *p)
{
	struct fake_lanes *f = lanes_of(p);
	uint32_t i = 0;

	must(!f->up && !f->early && !f->busy && !f->replaying);
	while (w.live[i] != p)
		i++;
	w.live[i] = w.live[--w.live_count];
	free(f);
}

static bool is_live(const void *p)
{
	for (uint32_t i = 0; i < w.live_count; i++)
		if (w.live[i] == p)
			return true;
	return false;
}

void remote_lanes_early(struct remote_path *p, const struct nvme_login *login)
{
	struct fake_lanes *f = lanes_of(p);

	must(!f->up && !f->early && !f->busy && login->cntlid == NVME_CNTLID_DYNAMIC);
	f->early = true;
}

void remote_lanes_up(struct remote_path *p, const struct nvme_login *login)
{
	struct fake_lanes *f = lanes_of(p);

	must(!f->up && !f->busy && p->state == REMOTE_PATH_UP);
	f->up = true;
	f->early = false;
	w.ups++;
	if (sim_chance(80))
		remote_path_lane_opened(p);
}

static void is_down(struct timer *t)
{
	struct fake_lanes *f = container_of(t, struct fake_lanes, timer);

	f->path->left_in_limbo = (uint32_t)sim_draw(2);
	if (!f->path->left_in_limbo) /* of older lives, too */
		memset(f->ended, 0, sizeof(f->ended));
	else if (f->up)
		f->ended[f->path->life % LIVES_KEPT] = (struct ended){ f->path->life, reactor_now_ns(),
			f->path->ctl->who.cirn };
	f->busy = f->up = f->early = false;
	f->done(f->path);
}

void remote_lanes_down(struct remote_path *p, void (*done)(struct remote_path *p))
{
	struct fake_lanes *f = lanes_of(p);

	must((f->up || f->early) && !f->busy);
	f->busy = true;
	f->done = done;
	timer_start(&f->timer, draw_ms(10), is_down);
}

static void is_replayed(struct timer *t)
{
	struct fake_lanes *f = container_of(t, struct fake_lanes, replay_timer);

	f->replaying = false;
	f->replay_done(f->path);
}

void remote_lanes_replay(struct remote_path *p, uint32_t life, void (*done)(struct remote_path *p))
{
	struct fake_lanes *f = lanes_of(p);

	must(!f->replaying && life > f->replayed && life <= p->life);
	for (uint32_t i = 0; i < LIVES_KEPT && !p->ctl->limbo_over; i++) {
		const struct ended *e = &f->ended[i];

		must(!e->life || e->life <= f->replayed || e->life > life || is_fenced(e->cirn) ||
		     reactor_now_ns() - e->at_ns >= 2 * KEEP_ALIVE_MS * NS_PER_MS);
	}
	f->replayed = life;
	f->replaying = true;
	f->replay_done = done;
	timer_start(&f->replay_timer, draw_ms(10), is_replayed);
}

/* What a core sees is there. */
void remote_view_enter(struct version *v, uint32_t core_index)
{
	struct remote_view *view = container_of(v, struct remote_view, version);

	for (uint32_t i = 0; i < REMOTE_PATHS_MAX; i++)
		must(!view->paths[i] || is_live(view->paths[i]));
	for (uint32_t i = 0; i < view->disk_count; i++)
		must(!view->disks[i].disk || view->disks[i].disk->index == i);
}

int remote_channel_open(struct bdev_channel *ch, struct err *e) { return 0; }
void remote_channel_close(struct bdev_channel *ch) {}
void remote_submit(struct bdev_channel *ch, struct bdev_io *io) { bdev_io_done(io, BDEV_ST_OK); }
bool remote_abort(struct bdev_channel *ch, struct bdev_io *io) { return false; }

struct removal {
	struct timer timer;
	struct remote_disk *d;
};

static void removal_over(struct timer *t)
{
	struct removal *x = container_of(t, struct removal, timer);

	remote_disk_removed(x->d);
	free(x);
}

void remote_disk_remove(struct bdev *b)
{
	struct removal *x = base_zalloc(sizeof(*x));

	x->d = container_of(b, struct remote_disk, bdev);
	timer_start(&x->timer, draw_ms(5), removal_over);
}

void remote_disk_shape(struct remote_disk *d, const struct nvme_ctrlr_info *c, const struct nvme_ns_info *ns)
{
	d->bdev.native_ops = remote_ops_supported;
	d->bdev.max_io_blocks = 128;
	d->one_act_blocks = 8;
	d->bdev.sleeps = "timer";
}

uint32_t remote_io_bytes_max(const struct nvme_ctrlr_info *c)
{
	return c->max_io_bytes;
}

/* --- people ------------------------------------------------------------------------------------------------- */

struct asked {
	struct remote_path_wait wait;
	struct remote_wait whole;
	struct remote_path *path;
	bool attach, standing;
};

static void path_told(struct remote_path_wait *wait, const struct err *e);

static void whole_told(struct remote_wait *wait)
{
	w.told++;
	free(container_of(wait, struct asked, whole));
}

/* An attempt that failed leaves nothing behind, as the method does it. */
static void path_told(struct remote_path_wait *wait, const struct err *e)
{
	struct asked *a = container_of(wait, struct asked, wait);
	bool take_back = a->attach && e && !a->standing;

	w.told++;
	if (take_back) {
		struct remote_group *g = a->path->group;

		if (remote_group_path_count(g) - !remote_path_going(a->path))
			remote_path_leave(a->path, NULL);
		else
			remote_group_leave(g, NULL);
	}
	free(a);
}

static struct asked *ask(void)
{
	struct asked *a = base_zalloc(sizeof(*a));

	a->wait.done = path_told;
	a->whole.done = whole_told;
	w.waits++;
	return a;
}

static void where_of(uint32_t group, uint32_t address, struct nvme_path *ret_where)
{
	*ret_where = (struct nvme_path){ .trtype = "TCP" };
	snprintf(ret_where->traddr, sizeof(ret_where->traddr), "10.0.0.%u", address);
	snprintf(ret_where->trsvcid, sizeof(ret_where->trsvcid), "4420");
	snprintf(ret_where->subnqn, sizeof(ret_where->subnqn), "nqn.2016-06.io.gantry:%u", group);
}

static void attach_one(uint32_t group)
{
	static const struct { int32_t loss; uint32_t delay, fast; } times[] = {
		{ -1, 2, 30 }, { -1, 1, 0 }, { 10, 2, 5 }, { 0, 0, 0 }, { 3, 1, 1 },
	};
	uint32_t t = (uint32_t)sim_draw(ARRAY_SIZE(times));
	struct remote_attach_opts o = { .standing = sim_chance(40), .max_bdevs = 9, .rr_min_io = 1,
		.multipath = sim_chance(70) ? REMOTE_MULTIPATH : REMOTE_FAILOVER };
	struct remote_path *p;
	struct err e = { 0 };
	struct asked *a;
	char name[8];

	snprintf(name, sizeof(name), "g%u", group);
	o.name = name;
	where_of(group, (uint32_t)sim_draw(ADDRESSES), &o.where);
	o.path = (struct remote_path_opts){ .ctrlr_loss_timeout_sec = times[t].loss,
	                                   .reconnect_delay_sec = times[t].delay,
	                                    .fast_io_fail_timeout_sec = times[t].fast,
		.reconnects_grow = sim_chance(50) };
	p = remote_attach(w.remote, &o, &e);
	if (!p)
		return;
	a = ask();
	a->path = p;
	a->attach = true;
	a->standing = o.standing || p->ctl->standing;
	remote_path_when_tried(p, &a->wait);
}

static void detach_some(uint32_t group)
{
	struct remote_detach_opts o = { 0 };
	struct asked *a = ask();
	struct err e = { 0 };
	char name[8];

	snprintf(name, sizeof(name), "g%u", group);
	o.name = name;
	if (sim_chance(60))
		where_of(group, (uint32_t)sim_draw(ADDRESSES), &o.where);
	if (remote_detach(w.remote, &o, &a->whole, &e) != 0) {
		w.waits--;
		free(a);
	}
}

static void do_with_path(uint32_t group)
{
	static void (*const verbs[])(struct remote_path *p, struct remote_path_wait *wait) = {
		remote_path_reset, remote_path_enable, remote_path_disable, remote_path_when_tried,
	};
	char name[8];
	struct remote_group *g;

	snprintf(name, sizeof(name), "g%u", group);
	g = remote_group_find(w.remote, name);
	for (uint32_t i = 0; g && i < REMOTE_PATHS_MAX; i++)
		if (g->paths[i] && !remote_path_going(g->paths[i]) && sim_chance(50)) {
			struct asked *a = ask();

			verbs[sim_draw(ARRAY_SIZE(verbs))](g->paths[i], &a->wait);
			return;
		}
}

static void change_target(struct subsystem *s)
{
	uint32_t i = (uint32_t)sim_draw(NAMESPACES);

	switch (sim_draw(6)) {
	case 0: s->present[i] = !s->present[i]; break;
	case 1: s->blocks[i] = 100 + sim_draw(1000); break;
	case 2: s->identity[i] += sim_chance(30); break;
	case 3: s->ana[i] = (uint8_t)(1 + sim_draw(4)); break;
	case 4: s->down = sim_chance(30); break;
	default: break;
	}
}

static void trouble_somewhere(void)
{
	struct err e = { 0 };

	if (w.live_count && sim_chance(30)) {
		struct remote_path *p = (struct remote_path *)(uintptr_t)w.live[sim_draw(w.live_count)];

		if (sim_chance(50))
			remote_path_ana_changed(p);
		else
			remote_path_ns_changed(p);
		return;
	}
	err_set(&e, -EIO, "fake: a lane ended");
	if (w.live_count)
		remote_path_trouble((struct remote_path *)(uintptr_t)w.live[sim_draw(w.live_count)],
		                    NVME_REASON_CLOSED, &e);
}

static void all_stopped(void *arg)
{
	w.stopped++;
}

/* Nobody has asked for anything for long enough: whoever asked before has his answer, without the end of it all. */
static void quiet(struct timer *t)
{
	w.unanswered = w.waits - w.told;
	remote_stop(w.remote, all_stopped, NULL);
}

static void act(struct timer *t)
{
	uint32_t group = (uint32_t)sim_draw(GROUPS);

	if (w.actions++ == ACTIONS) {
		timer_start(&w.act, QUIET_NS, quiet);
		return;
	}
	switch (sim_draw(8)) {
	case 0:
	case 1: attach_one(group); break;
	case 2: detach_some(group); break;
	case 3:
	case 4: do_with_path(group); break;
	case 5: trouble_somewhere(); break;
	case 6: change_target(&w.subs[group]); break;
	default: tell_of_changes(); break;
	}
	timer_start(&w.act, sim_chance(70) ? draw_ms(20) : draw_ms(8000), act);
}

static void begin(void *arg)
{
	w.reg = bdev_registry_make(w.core);
	w.remote = remote_make(w.reg);
	list_init(&w.ctrlrs);
	for (uint32_t i = 0; i < GROUPS; i++)
		for (uint32_t k = 0; k < NAMESPACES; k++) {
			w.subs[i].present[k] = sim_chance(50);
			w.subs[i].blocks[k] = 1000;
			w.subs[i].ana[k] = NVME_ANA_OPTIMIZED;
		}
	timer_start(&w.act, NS_PER_MS, act);
}

static void end(void *arg)
{
	remote_free(w.remote);
	must(!bdev_first(w.reg));
	bdev_registry_free(w.reg);
}

static bool stopped(void *arg)
{
	return w.stopped;
}

static void any_order_of_events(void **state)
{
	struct core_opts opts = { .cpus = "[0,1]" };
	uint32_t ups = 0, resets = 0;

	log_set_level(LOG_ERROR);
	for (uint64_t seed = 1; seed <= SEEDS; seed++) {
		memset(&w, 0, sizeof(w));
		sim_start(seed);
		w.core = core_make(&opts, NULL);
		sim_as(core_control(w.core), begin, NULL);
		if (!sim_run(stopped, NULL, 3600 * NS_PER_S))
			fail_msg("seed %llu: it does not end", (unsigned long long)seed);
		sim_run(NULL, NULL, NS_PER_S);
		if (w.unanswered)
			fail_msg("seed %llu: %u of %u were left without an answer", (unsigned long long)seed, w.unanswered,
			         w.waits);
		if (w.waits != w.told || w.stopped != 1 || w.live_count)
			fail_msg("seed %llu: %u waited, %u were told; %u paths are left", (unsigned long long)seed,
			         w.waits, w.told,
			         w.live_count);
		sim_as(core_control(w.core), end, NULL);
		ups += w.ups;
		resets += w.resets;
		core_free(w.core);
		sim_end();
	}
	assert_true(ups > SEEDS && resets > SEEDS / 4); /* it was about something */
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(any_order_of_events) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
