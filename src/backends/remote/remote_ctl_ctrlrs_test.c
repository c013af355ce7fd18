/* SPDX-License-Identifier: BSD-3-Clause */
/* remote_ctl_ctrlrs_test.c: src/nvme for a world without targets: controllers are reached, become ready, fail, fall
 * silent or die at any moment; what they are asked is answered late, with an error, or never. Which, the seed draws.
 */
#include <errno.h>

#include "backends/remote/remote_ctl_world_test.h"

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
	struct nvme_revision_read *revision; /* or this; its page is what would be written */
	struct nvme_ctrlr_info info;
	struct nvme_ns_info ns[NAMESPACES];
	struct list resets;             /* struct fake_reset: that are asked for */
	bool silent;                    /* nothing but its deadline ends what it is asked */
	struct timer step, log_timer, scan_timer, trouble;
	struct list link;
};

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
	c->info.max_io_bytes = 1u << (sim_chance(90) ? 20 : 12 + sim_draw(8));
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

bool is_fenced(uint64_t cirn)
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

	if (c->revision) {
		struct nvme_revision_read *revision = c->revision;

		c->revision = NULL;
		memset(revision->page, 1, NVME_IDENTIFY_SIZE);
		revision->done(revision);
		return;
	}
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
	must(c->state == FAKE_READY && !c->log && !c->revision);
	r->ctrlr = c;
	c->log = r;
	if (sim_chance(98)) /* or it is never answered */
		timer_start(&c->log_timer, draw_ms(30), log_due);
}

void nvme_ctrlr_read_revision(struct nvme_ctrlr *c, struct nvme_revision_read *r)
{
	must(c->state == FAKE_READY && !c->log && !c->revision);
	c->revision = r;
	if (sim_chance(98))
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
	if (c->log || c->revision)
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

static void tell_of_one(struct nvme_ctrlr *c)
{
	static const struct { uint8_t info, log; } events[] = {
		{ 0, NVME_LOG_CHANGED_NS }, { 3, NVME_LOG_ANA }, { 1, NVME_LOG_FW_SLOT },
	};
	uint64_t n = sim_draw(ARRAY_SIZE(events));

	c->event(c, 2, events[n].info, events[n].log, c->event_arg);
}

void tell_of_changes(void)
{
	list_each_safe(l, &w.ctrlrs) {
		struct nvme_ctrlr *c = list_entry(l, struct nvme_ctrlr, link);

		if (c->state == FAKE_READY && c->event && sim_chance(70))
			tell_of_one(c);
	}
}
