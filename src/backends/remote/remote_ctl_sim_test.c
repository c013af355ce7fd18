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
 * Long because controllers, cores and people share one world, which is all that there is to be drawn.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>

#include "backends/remote/remote_ctl.h"
#include "core/log.h"
#include "core/sim/sim.h"

#ifndef SEEDS
#define SEEDS 300u
#endif
#define ACTIONS 60u
#define QUIET_NS (120 * NS_PER_S)
#define GROUPS 3u
#define ADDRESSES 3u
#define NAMESPACES 4u
#define LIVE_MAX 512u
#define KEEP_ALIVE_MS 1000u
#define FENCED_MAX 65536u
#define LIVES_KEPT 64u

struct nvme_host {
	uint32_t ctrlrs;
};

enum fake_state { FAKE_REACHING, FAKE_HELD, FAKE_LOGIN, FAKE_READY, FAKE_GONE, FAKE_DISABLED };

struct nvme_ctrlr {
	struct nvme_host *host;
	enum fake_state state;
	enum nvme_reason reason;
	nvme_ctrlr_ready_fn *ready;
	nvme_ctrlr_gone_fn *gone;
	void *arg;
	void (*reached)(struct nvme_ctrlr *c, void *arg);
	void *reached_arg;
	nvme_event_fn *event;
	void *event_arg;
	nvme_ctrlr_done_fn *scan_done, *disable_done;
	void *scan_arg, *disable_arg;
	void (*closed)(void *arg);
	void *closed_arg;
	struct nvme_log_read *log;
	struct nvme_ctrlr_info info;
	struct nvme_ns_info ns[NAMESPACES];
	struct list resets;             /* struct fake_reset: that are asked for */
	bool silent;                    /* nothing but its deadline ends what it is asked */
	struct timer step, log_timer, scan_timer, trouble;
	struct list link;
};

/* What is so at the target, whoever asks. */
struct subsystem {
	bool present[NAMESPACES];
	uint64_t blocks[NAMESPACES];
	uint8_t identity[NAMESPACES], ana[NAMESPACES];
	bool down;
};

static struct world {
	struct core *core;
	struct bdev_registry *reg;
	struct remote *remote;
	struct subsystem subs[GROUPS];
	struct list ctrlrs;
	const void *live[LIVE_MAX];     /* paths that lanes know */
	uint64_t fenced[FENCED_MAX];    /* CIRNs of controllers of which nothing can land, as somebody was told */
	uint32_t fenced_count, resets;
	uint32_t live_count, waits, told, unanswered, ups, disks, stopped;
	struct timer act;
	uint32_t actions;
} w;

static uint64_t draw_ms(uint32_t max)
{
	return sim_draw(max) * NS_PER_MS + sim_draw(NS_PER_MS);
}

static uint32_t group_of(const char *nqn)
{
	return (uint32_t)(nqn[strlen(nqn) - 1] - '0');
}

/* --- controllers -------------------------------------------------------------------------------------------- */

static void step(struct timer *t);
static void die(struct timer *t);

const char *nvme_reason_name(enum nvme_reason reason)
{
	static const char *const names[] = {
#define NAME(id, key, text) key,
		NVME_REASONS(NAME)
	};

	return names[reason];
}

struct nvme_host *nvme_host_make(struct core *core)
{
	(void)core;
	return base_zalloc(sizeof(struct nvme_host));
}

bool nvme_host_can(struct nvme_host *h, const char *trtype, struct err *e)
{
	return true;
}

void nvme_host_when_idle(struct nvme_host *h, void (*done)(void *arg), void *arg)
{
	must(!h->ctrlrs);
	done(arg);
}

void nvme_host_free(struct nvme_host *h)
{
	must(!h->ctrlrs);
	free(h);
}

struct nvme_ctrlr *nvme_ctrlr_open(struct nvme_host *h, const struct nvme_path *path, const struct nvme_host_opts *opts,
                                   nvme_ctrlr_ready_fn *ready, nvme_ctrlr_gone_fn *gone, void *arg)
{
	struct nvme_ctrlr *c = base_zalloc(sizeof(*c));

	must(opts->alive_ns);
	*c = (struct nvme_ctrlr){ .host = h, .ready = ready, .gone = gone, .arg = arg };
	memcpy(c->info.subnqn, path->subnqn, sizeof(c->info.subnqn));
	c->info.cntlid = (uint16_t)(1 + sim_draw(100));
	c->info.keep_alive_ms = KEEP_ALIVE_MS;
	c->info.ciu = sim_chance(90) ? (uint8_t)(1 + sim_draw(255)) : 0;
	c->info.cirn = core_random_u64();
	c->info.ccrl = sim_chance(70) ? 4 : 0;
	list_init(&c->resets);
	c->info.cmic = sim_chance(60) ? NVME_CMIC_ANA : 0;
	c->info.max_io_bytes = sim_chance(90) ? 1 << 20 : 1 << 16;
	c->silent = w.subs[group_of(path->subnqn)].down ? sim_chance(50) : sim_chance(10);
	h->ctrlrs++;
	list_add_tail(&w.ctrlrs, &c->link);
	timer_start(&c->step, c->silent && sim_chance(50) ? 5 * NS_PER_S : draw_ms(20), step);
	return c;
}

static void end_ctrlr(struct nvme_ctrlr *c, enum nvme_reason reason)
{
	struct err e = { 0 };
	bool told = c->state >= FAKE_READY;

	err_set(&e, -EIO, "fake: %s", nvme_reason_name(reason));
	c->state = FAKE_GONE;
	c->reason = reason;
	timer_stop(&c->step);
	timer_stop(&c->trouble);
	if (told)
		c->gone(c, &e, c->arg);
	else
		c->ready(c, &e, c->arg);
}

static void list_namespaces(struct nvme_ctrlr *c)
{
	const struct subsystem *s = &w.subs[group_of(c->info.subnqn)];

	c->info.ns = c->ns;
	c->info.ns_count = 0;
	for (uint32_t i = 0; i < NAMESPACES; i++) {
		struct nvme_ns_info *ns = &c->ns[c->info.ns_count];

		if (!s->present[i])
			continue;
		*ns = (struct nvme_ns_info){ .nsid = i + 1, .block_size = 512, .block_count = s->blocks[i], .usable = true,
		                             .has_uuid = true };
		ns->uuid.b[0] = (uint8_t)(group_of(c->info.subnqn) + 1);
		ns->uuid.b[1] = (uint8_t)(i + 1);
		ns->uuid.b[2] = s->identity[i];
		c->info.ns_count++;
	}
}

static void step(struct timer *t)
{
	struct nvme_ctrlr *c = container_of(t, struct nvme_ctrlr, step);
	bool down = w.subs[group_of(c->info.subnqn)].down;

	if (c->state == FAKE_REACHING && !down && !c->silent && sim_chance(95)) {
		c->state = FAKE_HELD;
		c->reached(c, c->reached_arg);
	} else if (c->state == FAKE_LOGIN && !down && !c->silent && sim_chance(90)) {
		c->state = FAKE_READY;
		list_namespaces(c);
		if (sim_chance(40))
			timer_start(&c->trouble, draw_ms(20000), die);
		c->ready(c, NULL, c->arg);
	} else if (c->state < FAKE_READY) {
		end_ctrlr(c, c->silent ? NVME_REASON_LOGIN_TIMEOUT : NVME_REASON_REFUSED);
	}
}

static void die(struct timer *t)
{
	end_ctrlr(container_of(t, struct nvme_ctrlr, trouble), NVME_REASON_RESET);
}

void nvme_ctrlr_on_reached(struct nvme_ctrlr *c, void (*fn)(struct nvme_ctrlr *c, void *arg), void *arg)
{
	c->reached = fn;
	c->reached_arg = arg;
}

void nvme_ctrlr_proceed(struct nvme_ctrlr *c)
{
	must(c->state == FAKE_HELD);
	c->state = FAKE_LOGIN;
	timer_start(&c->step, c->silent ? 5 * NS_PER_S : draw_ms(20), step);
}

const struct nvme_ctrlr_info *nvme_ctrlr_info(const struct nvme_ctrlr *c)
{
	return &c->info;
}

enum nvme_reason nvme_ctrlr_reason(const struct nvme_ctrlr *c)
{
	return c->reason;
}

bool nvme_ctrlr_login(const struct nvme_ctrlr *c, struct nvme_login *ret_login)
{
	must(c->state == FAKE_READY || c->state == FAKE_HELD);
	*ret_login = (struct nvme_login){ .cntlid = c->state == FAKE_READY ? c->info.cntlid : NVME_CNTLID_DYNAMIC };
	return true;
}

/* No test here has keys: tests/proto/test_host_auth.py. */
void remote_keys_up(struct remote_path *p) { (void)p; }
void remote_keys_closed(struct remote_path *p) { (void)p; }
void remote_keys_take(const struct nvme_host_opts *h) { (void)h; }
void remote_keys_give(struct nvme_host_opts *h) { (void)h; }

void nvme_ctrlr_on_event(struct nvme_ctrlr *c, nvme_event_fn *fn, void *arg)
{
	c->event = fn;
	c->event_arg = arg;
}

/* --- what it is asked --- */

/* A reset of another controller. */
struct fake_reset {
	struct list link;
	struct nvme_op *op;
	struct timer timer;
	bool again;
};

static void fence(uint64_t cirn)
{
	must(w.fenced_count < FENCED_MAX);
	w.fenced[w.fenced_count++] = cirn;
}

static bool is_fenced(uint64_t cirn)
{
	for (uint32_t i = 0; i < w.fenced_count; i++)
		if (w.fenced[i] == cirn)
			return true;
	return false;
}

static void end_reset(struct fake_reset *r, uint16_t status, uint32_t dw0)
{
	struct nvme_op *op = r->op;

	timer_stop(&r->timer);
	list_del(&r->link);
	free(r);
	nvme_cqe_set_status(&op->cpl, status);
	op->cpl.dw0 = le32_of(dw0);
	op->done(op);
}

static void reset_due(struct timer *t)
{
	struct fake_reset *r = container_of(t, struct fake_reset, timer);
	uint64_t dice = sim_draw(100);

	if (dice < 45) {
		w.resets++;
		fence(le64_get(r->op->cmd.ccr.cirn));
		end_reset(r, NVME_SC_SUCCESS, 1);
	} else if (dice < 60) {
		end_reset(r, NVME_SC_SUCCESS, 0);
	} else if (dice < 80) {
		end_reset(r, sim_chance(50) ? NVME_SC_CCR_IN_PROGRESS : NVME_SC_CCR_LIMIT_EXCEEDED, 0);
	} else {
		end_reset(r, NVME_SC_INVALID_CTRL_ID | NVME_SC_DNR, sim_chance(50));
	}
}

void nvme_ctrlr_submit_admin(struct nvme_ctrlr *c, struct nvme_op *op)
{
	struct fake_reset *r = base_zalloc(sizeof(*r));

	must(c->state == FAKE_READY && c->info.ccrl && op->cmd.opc == NVME_ADMIN_CROSS_CTRL_RESET);
	must(op->cmd.ccr.ciu && le64_get(op->cmd.ccr.cirn) != c->info.cirn);
	r->op = op;
	list_add_tail(&c->resets, &r->link);
	if (sim_chance(90)) /* or it is never answered */
		timer_start(&r->timer, draw_ms(sim_chance(80) ? 100 : 9000), reset_due);
}

static void end_resets(struct nvme_ctrlr *c)
{
	list_each_safe(l, &c->resets)
		end_reset(list_entry(l, struct fake_reset, link), NVME_SC_HOST_PATH_ERROR, 0);
}

static void end_log(struct nvme_ctrlr *c, bool well)
{
	struct nvme_log_read *r = c->log;

	c->log = NULL;
	if (!well)
		err_set(&r->err, -EIO, "fake: the log was not read");
	r->done(r);
}

static void log_due(struct timer *t)
{
	struct nvme_ctrlr *c = container_of(t, struct nvme_ctrlr, log_timer);

	end_log(c, c->state == FAKE_READY && sim_chance(95));
}

void nvme_ctrlr_get_log(struct nvme_ctrlr *c, struct nvme_log_read *r)
{
	must(c->state == FAKE_READY && !c->log);
	r->ctrlr = c;
	c->log = r;
	if (sim_chance(98)) /* or it is never answered */
		timer_start(&c->log_timer, draw_ms(30), log_due);
}

uint32_t nvme_ana_log_bytes_max(const struct nvme_ctrlr_info *info)
{
	return 16 + NAMESPACES * 40;
}

int nvme_ana_log_each(const void *page, size_t len, bool (*fn)(const struct nvme_ana_group *g, void *arg), void *arg,
                      struct err *e)
{
	const struct remote_path *p = arg;
	const struct subsystem *s = &w.subs[group_of(p->where.subnqn)];

	for (uint32_t i = 0; i < NAMESPACES; i++) {
		le32 nsid = le32_of(i + 1);
		struct nvme_ana_group g = { .id = i + 1, .ns_count = 1, .state = s->ana[i], .nsids = &nsid };

		if (!fn(&g, arg))
			break;
	}
	return 0;
}

static void scan_due(struct timer *t)
{
	struct nvme_ctrlr *c = container_of(t, struct nvme_ctrlr, scan_timer);
	struct err e = { 0 };
	bool well = sim_chance(95);

	if (c->state != FAKE_READY)
		return; /* `gone` told it */
	if (well)
		list_namespaces(c);
	else
		err_set(&e, -EIO, "fake: no list");
	c->scan_done(c, well ? NULL : &e, c->scan_arg);
}

void nvme_ctrlr_scan(struct nvme_ctrlr *c, nvme_ctrlr_done_fn *done, void *arg)
{
	must(c->state == FAKE_READY && !timer_is_running(&c->scan_timer));
	c->scan_done = done;
	c->scan_arg = arg;
	timer_start(&c->scan_timer, draw_ms(30), scan_due);
}

static void disable_due(struct timer *t)
{
	struct nvme_ctrlr *c = container_of(t, struct nvme_ctrlr, step);
	struct err e = { 0 };
	bool well = sim_chance(70);

	if (well)
		fence(c->info.cirn);
	if (!well)
		err_set(&e, -ETIMEDOUT, "fake: it does not become disabled");
	c->disable_done(c, well ? NULL : &e, c->disable_arg);
}

void nvme_ctrlr_disable(struct nvme_ctrlr *c, nvme_ctrlr_done_fn *done, void *arg)
{
	must(c->state == FAKE_READY);
	c->state = FAKE_DISABLED;
	timer_stop(&c->trouble);
	c->disable_done = done;
	c->disable_arg = arg;
	timer_start(&c->step, draw_ms(50), disable_due);
}

static void free_ctrlr(struct nvme_ctrlr *c)
{
	void (*closed)(void *arg) = c->closed;
	void *arg = c->closed_arg;

	timer_stop(&c->step);
	timer_stop(&c->log_timer);
	timer_stop(&c->scan_timer);
	timer_stop(&c->trouble);
	list_del(&c->link);
	if (c->log)
		end_log(c, false);
	end_resets(c);
	c->host->ctrlrs--;
	free(c);
	closed(arg);
}

static void shut(struct timer *t)
{
	free_ctrlr(container_of(t, struct nvme_ctrlr, step));
}

void nvme_ctrlr_close(struct nvme_ctrlr *c, void (*done)(void *arg), void *arg)
{
	must(!c->closed);
	c->closed = done;
	c->closed_arg = arg;
	if (c->state != FAKE_READY && c->state != FAKE_DISABLED) {
		free_ctrlr(c);
		return;
	}
	c->state = FAKE_GONE;
	timer_stop(&c->trouble);
	timer_start(&c->step, draw_ms(1000), shut);
}

/* Discovery is not part of this. */
void nvme_discovery_read(struct nvme_discovery *d, struct nvme_ctrlr *c, nvme_discovery_fn *done) {}
void nvme_discovery_fini(struct nvme_discovery *d) {}
int nvme_discovery_entry_path(const struct nvme_discovery_entry *entry, struct nvme_path *ret_path, struct err *e)
{
	return -1;
}

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
	d->bdev.sleeps = "timer";
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

static void tell_of_changes(void)
{
	list_each_safe(l, &w.ctrlrs) {
		struct nvme_ctrlr *c = list_entry(l, struct nvme_ctrlr, link);

		if (c->state == FAKE_READY && c->event && sim_chance(70))
			c->event(c, 2, sim_chance(50) ? 0 : 3, sim_chance(50) ? NVME_LOG_CHANGED_NS : NVME_LOG_ANA,
			         c->event_arg);
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
