/* SPDX-License-Identifier: BSD-3-Clause */
/* remote_path.c: one path: a controller that is connected, lost, connected again, until somebody ends it.
 *
 *     IDLE -> REACHING -> TURN -> CONNECTING -> SCANNING -> UP -> DRAINING -> CLOSING -> DELAY -> REACHING ...
 *                  \________\__________\____________\______________________/   |
 *                                                                        FAILED, DISABLED, GONE
 *
 * Whatever happens to it sets what is wanted (up, disabled, gone) or notes why it ended, and what has begun goes on
 * to its end: only decide(), when nothing is connected any more, chooses what comes next. So a detach at any moment
 * is the same few lines, and takes as long as closing does, which is bounded.
 *
 * Three times count from the moment in which it was lost. After fast_io_fail_timeout its I/O need not wait for it any
 * more; after ctrlr_loss_timeout it is removed; every reconnect_delay it is tried again, a quarter more or less by
 * chance, so that hosts that lost the same target do not come back in step.
 */
#include "backends/remote/remote_ctl.h"

#include <errno.h>
#include <stdio.h>

#include "core/log.h"
#include "core/notify.h"

/* After a loss the first attempt comes at once, but for this much of chance. */
#define AT_ONCE_JITTER_NS (20 * NS_PER_MS)
/* Up for as long as this, it has proved itself: the next delay begins small again. */
#define PROVED_NS (10 * NS_PER_S)
#define REST_MIN_MS 1000u
#define CTRATT_TBKAS (1u << 6)

static const char *const state_names[] = {
#define STATE_NAME(id, text) [REMOTE_PATH_##id] = #id,
	REMOTE_PATH_STATES(STATE_NAME)
};

static void attempt(struct remote_path *p);
static void reached(struct nvme_ctrlr *c, void *arg);
static void granted(struct remote_turn *turn);
static void ready(struct nvme_ctrlr *c, const struct err *e, void *arg);
static void gone(struct nvme_ctrlr *c, const struct err *e, void *arg);
static void scan_too_long(struct timer *t);
static void path_down(struct remote_path *p, enum nvme_reason reason, const struct err *e);
static void drained(struct remote_path *p);
static void early_dropped(struct remote_path *p);
static void disabled(struct nvme_ctrlr *c, const struct err *e, void *arg);
static void close_ctrlr(struct remote_path *p);
static void closed(void *arg);
static void decide(struct remote_path *p);
static void wait_and_try(struct remote_path *p, uint64_t delay_ns);
static void delay_over(struct timer *t);
static void expired(struct timer *t);
static void end_now(struct remote_path *p);

const char *remote_path_state_name(enum remote_path_state s)
{
	return state_names[s];
}

/* --- making ---------------------------------------------------------------------------------------------------- */

struct remote_path *remote_path_make(struct remote_group *g, const struct nvme_path *where,
                                     const struct remote_path_opts *opts, bool standing)
{
	struct remote_path *p = base_zalloc(sizeof(*p));
	struct remote_path_ctl *ctl = base_zalloc(sizeof(*ctl));
	uint32_t cores = remote_core_count(g->remote), i = 0;

	while (g->paths[i])
		i++;
	must(i < REMOTE_PATHS_MAX);
	p->group = g;
	p->index = (uint8_t)i;
	p->where = *where;
	p->opts = *opts;
	p->ctl = ctl;
	ctl->path = p;
	ctl->standing = standing;
	list_init(&ctl->firsts);
	list_init(&ctl->resets);
	list_init(&ctl->offs);
	list_init(&ctl->ends);
	list_init(&ctl->asks);
	p->lanes = base_zalloc_aligned(CACHE_LINE, cores * sizeof(*p->lanes));
	for (uint32_t core = 0; core < cores; core++) {
		p->lanes[core].path = p;
		p->lanes[core].core_index = core;
	}
	remote_lanes_init(p);
	g->paths[i] = p;
	remote_path_lost_since(p, reactor_now_ns());
	remote_group_changed(g);
	return p;
}

void remote_path_begin(struct remote_path *p)
{
	assert(p->state == REMOTE_PATH_IDLE);
	attempt(p);
}

const char *remote_path_text(const struct remote_path *p, char buf[static 512])
{
	snprintf(buf, 512, "%s at %s port %s", p->group->name, p->where.traddr, p->where.trsvcid);
	return buf;
}

static void path_goto(struct remote_path *p, enum remote_path_state state)
{
	log_debug("remote: %s path %u: %s -> %s", p->group->name, p->index, state_names[p->state], state_names[state]);
	p->state = state;
}

/* --- up -------------------------------------------------------------------------------------------------------- */

static bool ended_in_silence(enum nvme_reason reason)
{
	return reason == NVME_REASON_CONNECT_TIMEOUT || reason == NVME_REASON_LOGIN_TIMEOUT;
}

static void attempt(struct remote_path *p)
{
	struct remote_path_ctl *ctl = p->ctl;
	struct nvme_host_opts opts = p->opts.host;

	assert(!p->ctrlr);
	timer_stop(&ctl->delay);
	ctl->at_once = false;
	ctl->attempts++;
	ctl->attempts_total++;
	opts.probe = true;
	if (opts.is_static && opts.static_cntlid == NVME_CNTLID_STATIC_ANY && ctl->had_static && !ctl->asks_any)
		opts.static_cntlid = ctl->last_cntlid; /* whoever gets any should come back to it (NVME base 2.2, 3.1.3.3) */
	opts.alive_ns = &p->alive_ns;
	path_goto(p, REMOTE_PATH_REACHING);
	p->ctrlr = nvme_ctrlr_open(p->group->remote->host, &p->where, &opts, ready, gone, p);
	nvme_ctrlr_on_reached(p->ctrlr, reached, p);
}

static void reached(struct nvme_ctrlr *c, void *arg)
{
	struct remote_path *p = arg;

	if (p->state != REMOTE_PATH_REACHING)
		return;
	path_goto(p, REMOTE_PATH_TURN);
	remote_turn_take(&p->group->remote->turns, &p->ctl->turn, ended_in_silence(p->ctl->reason), granted);
}

static void granted(struct remote_turn *turn)
{
	struct remote_path *p = container_of(turn, struct remote_path_ctl, turn)->path;
	struct nvme_login login;

	path_goto(p, REMOTE_PATH_CONNECTING);
	/* One that fell silent the last time costs cores nothing before it has said something. */
	if (!ended_in_silence(p->ctl->reason) && nvme_ctrlr_login(p->ctrlr, &login)) {
		p->ctl->early = true;
		remote_lanes_early(p, &login);
	}
	p->ctl->granted_ns = reactor_now_ns();
	nvme_ctrlr_proceed(p->ctrlr);
}

/* As Linux does: one name, two serial numbers are two subsystems, whose namespaces must not be taken for the same. */
static int check_identity(const struct remote_path *p, const struct nvme_ctrlr_info *info, struct err *e)
{
	char text[512], other[512];

	for (uint32_t i = 0; i < REMOTE_PATHS_MAX; i++) {
		const struct remote_path *o = p->group->paths[i];
		const struct nvme_ctrlr_info *theirs = NULL;

		if (o && o != p && o->state == REMOTE_PATH_UP)
			theirs = nvme_ctrlr_info(o->ctrlr);
		if (theirs && strcmp(theirs->serial, info->serial) != 0)
			return err_set(e, -EINVAL, "%s: that is another subsystem: its serial number is '%s', and '%s' by way of "
			               "%s", remote_path_text(p, text), info->serial, theirs->serial, remote_path_text(o, other));
	}
	return 0;
}

static int check_ctrlr(struct remote_path *p, const struct nvme_ctrlr_info *info, struct err *e)
{
	char text[512];

	if (info->discovery)
		return err_set(e, -EINVAL, "%s: that is a discovery controller, which has no disks; "
		               "bdev_nvme_start_discovery "
		               "uses it, and subnqn names a subsystem that has some", remote_path_text(p, text));
	return check_identity(p, info, e);
}

static uint64_t align_up_by(uint64_t ms, uint32_t step_ms)
{
	return step_ms ? (ms + step_ms - 1) / step_ms * step_ms : ms;
}

static void learn(struct remote_path_ctl *ctl, const struct nvme_ctrlr_info *info)
{
	ctl->last_cntlid = info->cntlid;
	ctl->had_static = true;
	ctl->asks_any = false;
	ctl->who = (struct remote_instance){ .cntlid = info->cntlid, .ciu = info->ciu, .cirn = info->cirn };
	/* In steps of its own: a target may round up what we asked for. */
	ctl->kato_ms = (uint32_t)min_u64(align_up_by(info->keep_alive_ms, info->kas_100ms * 100u), UINT32_MAX);
	ctl->cqt_ms = info->cqt_ms;
	ctl->traffic_based = info->ctratt & CTRATT_TBKAS;
	/* Linux's target clears RDY at once, and its queues' commands go on (nvmet_clear_ctrl() in its core.c). Its model
	 * is this by default; who gives it another one is not recognised. */
	ctl->disabled_too_soon = strcmp(info->model, "Linux") == 0;
}

static void ready(struct nvme_ctrlr *c, const struct err *e, void *arg)
{
	struct remote_path *p = arg;
	struct err bad = { 0 };

	if (e) {
		path_down(p, nvme_ctrlr_reason(c), e);
	} else if (check_ctrlr(p, nvme_ctrlr_info(c), &bad) != 0) {
		path_down(p, NVME_REASON_BAD_ANSWER, &bad);
	} else if (p->state == REMOTE_PATH_CONNECTING) {
		learn(p->ctl, nvme_ctrlr_info(c));
		path_goto(p, REMOTE_PATH_SCANNING);
		remote_scan_begin(p);
	}
}

/* The timer has nothing else to do while there is a controller. */
void remote_path_look_began(struct remote_path *p)
{
	timer_start(&p->ctl->delay, REMOTE_LOOK_DEADLINE_S * NS_PER_S, scan_too_long);
}

void remote_path_look_ended(struct remote_path *p)
{
	timer_stop(&p->ctl->delay);
}

static void scan_too_long(struct timer *t)
{
	struct remote_path *p = container_of(t, struct remote_path_ctl, delay)->path;
	struct err e = { 0 };
	char text[512];

	err_set(&e, -ETIMEDOUT, "%s: what it has (namespaces, log pages, firmware) did not come within %u s",
	        remote_path_text(p, text), REMOTE_LOOK_DEADLINE_S);
	path_down(p, NVME_REASON_ADMIN_TIMEOUT, &e);
}

/* I/O connections have what the admin queue left of the attempt's time, but a second at least; all of it if each has to
 * prove who we are: what the admin queue took for that, cores take together, and the target works for few at once. */
static uint32_t rest_ms(const struct remote_path *p, const struct nvme_host_opts *o)
{
	uint64_t used_ms = (reactor_now_ns() - p->ctl->granted_ns) / NS_PER_MS;
	uint32_t all_ms = o->connect_timeout_ms, least_ms = o->key ? all_ms : min_u32(REST_MIN_MS, all_ms);

	return used_ms + least_ms > all_ms ? least_ms : all_ms - (uint32_t)used_ms;
}

void remote_path_scanned(struct remote_path *p)
{
	struct remote_path_ctl *ctl = p->ctl;
	struct nvme_login login;
	char text[512];

	if (p->state != REMOTE_PATH_SCANNING)
		return;
	timer_stop(&ctl->expiry);
	remote_turn_give(&p->group->remote->turns, &ctl->turn);
	must(nvme_ctrlr_login(p->ctrlr, &login));
	path_goto(p, REMOTE_PATH_UP);
	if ((ctl->was_up || ctl->attempts > 1) && log_may(&ctl->said))
		log_notice("remote: %s is connected again", remote_path_text(p, text));
	notify(p->group->remote->core, NOTIFY_REMOTE_PATH_UP, "%s", remote_path_text(p, text));
	p->last_err = (struct err){ 0 };
	p->life++;
	ctl->was_up = ctl->standing = true;
	ctl->hopeless = false;
	ctl->up_ns = reactor_now_ns();
	ctl->down_ns = 0;
	ctl->ups_total++;
	ctl->early = false;
	p->rest_ms = rest_ms(p, &login.opts);
	remote_lanes_up(p, &login);
	remote_keys_up(p);
	remote_group_changed(p->group);
	remote_fence_path_up(p);
	remote_path_tell(&ctl->firsts, NULL);
	remote_path_tell(&ctl->resets, NULL);
}

void remote_path_lane_refused(struct remote_path *p, enum nvme_reason reason, const struct err *e)
{
	char text[512];

	p->reasons[reason]++;
	if (log_may(&p->ctl->said))
		log_warning("remote: %s: %s; that core's I/O goes by another one's queue, and it is tried again",
		            remote_path_text(p, text), e->text);
}

void remote_path_lane_opened(struct remote_path *p)
{
	if (p->state == REMOTE_PATH_UP)
		p->ctl->attempts = 0;
}

/* --- down ------------------------------------------------------------------------------------------------------ */

static void gone(struct nvme_ctrlr *c, const struct err *e, void *arg)
{
	path_down(arg, nvme_ctrlr_reason(c), e);
}

void remote_path_trouble(struct remote_path *p, enum nvme_reason reason, const struct err *e)
{
	if (p->state == REMOTE_PATH_UP)
		path_down(p, reason, e);
}

static void note(struct remote_path *p, enum nvme_reason reason, const struct err *e)
{
	bool again = p->ctl->attempts > 1 && p->last_err.code && p->ctl->reason == reason;

	p->reasons[reason]++;
	p->ctl->reason = reason;
	p->last_err = *e;
	if (reason == NVME_REASON_ASKED)
		log_info("remote: %s", e->text);
	else if (!again && p->ctl->standing && log_may(&p->ctl->said)) /* the first of a row of equal ones */
		log_warning("remote: %s", e->text);
}

/* It ended, or is to end. */
static void path_down(struct remote_path *p, enum nvme_reason reason, const struct err *e)
{
	struct remote_path_ctl *ctl = p->ctl;
	char text[512];

	switch (p->state) {
	case REMOTE_PATH_UP:
		if (reactor_now_ns() - ctl->up_ns > PROVED_NS)
			ctl->attempts = 0;
		note(p, reason, e);
		notify(p->group->remote->core, NOTIFY_REMOTE_PATH_LOST, "%s: %s", remote_path_text(p, text), e->text);
		remote_scan_end(p);
		ctl->at_once |= ctl->attempts == 0;
		ctl->fenced = nvme_ctrlr_reason(p->ctrlr) == NVME_REASON_NONE;
		remote_path_lost_since(p, reactor_now_ns());
		path_goto(p, REMOTE_PATH_DRAINING);
		remote_group_changed(p->group);
		remote_lanes_down(p, drained);
		break;
	case REMOTE_PATH_REACHING:
	case REMOTE_PATH_TURN:
	case REMOTE_PATH_CONNECTING:
	case REMOTE_PATH_SCANNING:
		note(p, reason, e);
		remote_scan_end(p);
		ctl->failed = true;
		ctl->asks_any = reason == NVME_REASON_LOGIN_REFUSED && !ctl->asks_any; /* it may be another host's now */
		if (ctl->early) {
			ctl->early = false;
			path_goto(p, REMOTE_PATH_DRAINING);
			remote_lanes_down(p, early_dropped);
		} else {
			close_ctrlr(p);
		}
		break;
	default:
		break; /* on its way already */
	}
}

/* The attempt failed, and the connections that were to be its I/O queues are closed. */
static void early_dropped(struct remote_path *p)
{
	close_ctrlr(p);
}

/* The cores have let go. Over an admin queue that lives the controller is disabled: then nothing of what was sent can
 * land any more. Else that takes as long as the target may need to see that we are gone. */
static void drained(struct remote_path *p)
{
	if (p->ctl->fenced && nvme_ctrlr_reason(p->ctrlr) == NVME_REASON_NONE) {
		path_goto(p, REMOTE_PATH_CLOSING);
		nvme_ctrlr_disable(p->ctrlr, disabled, p);
		return;
	}
	p->ctl->fenced = false;
	remote_lives_ended(p);
	close_ctrlr(p);
}

static void disabled(struct nvme_ctrlr *c, const struct err *e, void *arg)
{
	struct remote_path *p = arg;

	p->ctl->fenced = !e && !p->ctl->disabled_too_soon;
	remote_lives_ended(p);
	close_ctrlr(p);
}

static void close_ctrlr(struct remote_path *p)
{
	struct nvme_ctrlr *c = p->ctrlr;

	timer_stop(&p->ctl->delay);
	remote_turn_give(&p->group->remote->turns, &p->ctl->turn);
	path_goto(p, REMOTE_PATH_CLOSING);
	nvme_ctrlr_close(c, closed, p);
}

static void closed(void *arg)
{
	struct remote_path *p = arg;

	p->ctrlr = NULL;
	remote_keys_closed(p);
	decide(p);
}

/* --- what comes next ------------------------------------------------------------------------------------------- */

/* SPDK's meaning of a zero: no second attempt. */
static bool tries_again(const struct remote_path *p)
{
	return p->opts.reconnect_delay_sec || p->opts.ctrlr_loss_timeout_sec;
}

static uint64_t next_delay_ns(struct remote_path *p)
{
	uint64_t sec = p->opts.reconnect_delay_sec, ns;

	for (uint32_t i = 1; p->opts.reconnects_grow && i < p->ctl->attempts && sec < REMOTE_DELAY_MAX_SEC; i++)
		sec *= 2;
	if (p->opts.reconnects_grow)
		sec = min_u64(sec, max_u64(REMOTE_DELAY_MAX_SEC, p->opts.reconnect_delay_sec));
	ns = sec * NS_PER_S;
	return ns - ns / 4 + core_random_u64() % (ns / 2 + 1);
}

/* Failover: the next address; true: that is not the first of the round. */
static bool next_address(struct remote_path *p)
{
	struct remote_path_ctl *ctl = p->ctl;
	struct nvme_path was = p->where;

	if (!ctl->alternate_count)
		return false;
	p->where = ctl->alternates[0];
	memmove(ctl->alternates, ctl->alternates + 1, (ctl->alternate_count - 1) * sizeof(was));
	ctl->alternates[ctl->alternate_count - 1] = was;
	return ctl->attempts % (ctl->alternate_count + 1) != 0;
}

/* Nothing is connected: what now? */
static void decide(struct remote_path *p)
{
	struct remote_path_ctl *ctl = p->ctl;
	bool failed = ctl->failed;
	struct err e = p->last_err;

	ctl->failed = false;
	if (ctl->want == REMOTE_WANT_GONE) {
		path_goto(p, REMOTE_PATH_GONE);
		end_now(p);
		return;
	}
	if (ctl->want == REMOTE_WANT_DISABLED) {
		path_goto(p, REMOTE_PATH_DISABLED);
		timer_stop(&ctl->expiry);
		ctl->hopeless = true;
		remote_group_changed(p->group);
	} else if (ctl->at_once) {
		wait_and_try(p, failed ? 0 : core_random_u64() % AT_ONCE_JITTER_NS);
	} else if (failed && !ctl->standing) {
		path_goto(p, REMOTE_PATH_FAILED);
	} else if (next_address(p)) {
		wait_and_try(p, 0);
	} else if (!tries_again(p)) {
		path_goto(p, REMOTE_PATH_FAILED);
		ctl->hopeless = true;
		remote_group_changed(p->group);
	} else {
		wait_and_try(p, next_delay_ns(p));
	}
	if (ctl->want == REMOTE_WANT_DISABLED)
		remote_path_tell(&ctl->offs, NULL);
	if (failed || ctl->want == REMOTE_WANT_DISABLED || p->state == REMOTE_PATH_FAILED) {
		remote_path_tell(&ctl->firsts, &e);
		remote_path_tell(&ctl->resets, &e);
	}
}

static void wait_and_try(struct remote_path *p, uint64_t delay_ns)
{
	path_goto(p, REMOTE_PATH_DELAY);
	timer_start(&p->ctl->delay, delay_ns, delay_over);
}

static void delay_over(struct timer *t)
{
	attempt(container_of(t, struct remote_path_ctl, delay)->path);
}

/* What is wanted has changed. */
void remote_path_kick(struct remote_path *p, const char *why)
{
	struct err e = { 0 };
	char text[512];

	switch (p->state) {
	case REMOTE_PATH_IDLE:
	case REMOTE_PATH_DELAY:
	case REMOTE_PATH_FAILED:
	case REMOTE_PATH_DISABLED:
		timer_stop(&p->ctl->delay);
		if (p->ctl->want == REMOTE_WANT_UP)
			attempt(p);
		else
			decide(p);
		break;
	case REMOTE_PATH_GONE:
		break;
	default:
		err_set(&e, -ECANCELED, "%s: %s", remote_path_text(p, text), why);
		path_down(p, NVME_REASON_ASKED, &e);
		break;
	}
}

/* --- times ------------------------------------------------------------------------------------------------------ */

static void start_expiry(struct remote_path *p)
{
	const struct remote_path_opts *o = &p->opts;
	uint64_t lost_ns = p->ctl->down_ns, now = reactor_now_ns(), at = UINT64_MAX;

	if (o->fast_io_fail_timeout_sec && !p->ctl->hopeless)
		at = lost_ns + o->fast_io_fail_timeout_sec * NS_PER_S;
	if (o->ctrlr_loss_timeout_sec > 0)
		at = min_u64(at, lost_ns + (uint64_t)o->ctrlr_loss_timeout_sec * NS_PER_S);
	if (at != UINT64_MAX)
		timer_start(&p->ctl->expiry, at > now ? at - now : 0, expired);
}

void remote_path_lost_since(struct remote_path *p, uint64_t when_ns)
{
	if (!p->ctl->down_ns)
		p->ctl->down_ns = when_ns;
	start_expiry(p);
}

static void expired(struct timer *t)
{
	struct remote_path *p = container_of(t, struct remote_path_ctl, expiry)->path;
	const struct remote_path_opts *o = &p->opts;
	uint64_t lost_for = reactor_now_ns() - p->ctl->down_ns;
	char text[512];

	if (o->ctrlr_loss_timeout_sec > 0 && lost_for >= (uint64_t)o->ctrlr_loss_timeout_sec * NS_PER_S) {
		log_warning("remote: %s: not connected again within %d s (ctrlr_loss_timeout_sec): it is removed",
		            remote_path_text(p, text), o->ctrlr_loss_timeout_sec);
		p->group->forgotten = true;
		remote_path_leave(p, NULL);
		remote_forgot(p->group->remote);
		return;
	}
	if (o->fast_io_fail_timeout_sec && lost_for >= o->fast_io_fail_timeout_sec * NS_PER_S && !p->ctl->hopeless) {
		p->ctl->hopeless = true;
		log_notice("remote: %s: not connected for %u s (fast_io_fail_timeout_sec): its I/O fails instead of "
		           "waiting",
		           remote_path_text(p, text), o->fast_io_fail_timeout_sec);
		remote_group_changed(p->group);
	}
	start_expiry(p);
}

bool remote_path_may_come(const struct remote_path *p)
{
	return p->ctl->want == REMOTE_WANT_UP && !p->ctl->hopeless;
}

bool remote_path_going(const struct remote_path *p)
{
	return p->ctl->want == REMOTE_WANT_GONE;
}

/* --- who waits ------------------------------------------------------------------------------------------------- */

void remote_path_tell(struct list *waits, const struct err *e)
{
	struct list told, *l;

	list_init(&told);
	list_splice(&told, waits);
	while ((l = list_pop(&told))) {
		struct remote_path_wait *w = list_entry(l, struct remote_path_wait, link);

		w->done(w, e);
	}
}

uint16_t remote_path_cntlid(const struct remote_path *p)
{
	return p->ctrlr && p->state >= REMOTE_PATH_SCANNING ? nvme_ctrlr_info(p->ctrlr)->cntlid : p->ctl->last_cntlid;
}

const char *remote_path_spdk_state(const struct remote_path *p)
{
	switch (p->state) {
	case REMOTE_PATH_UP:
		return "enabled";
	case REMOTE_PATH_DELAY:
		return "reconnect_is_delayed";
	case REMOTE_PATH_DISABLED:
		return "disabled";
	case REMOTE_PATH_FAILED:
		return "failed";
	case REMOTE_PATH_GONE:
		return "deleting";
	default:
		return p->ctl->want == REMOTE_WANT_GONE ? "deleting" : "resetting";
	}
}

/* --- gone ------------------------------------------------------------------------------------------------------ */

void remote_path_leave(struct remote_path *p, struct remote_path_wait *w)
{
	if (w)
		list_add_tail(&p->ctl->ends, &w->link);
	if (p->ctl->want != REMOTE_WANT_GONE) {
		p->ctl->want = REMOTE_WANT_GONE;
		timer_stop(&p->ctl->expiry);
		remote_group_changed(p->group);
		remote_path_kick(p, "detached on request");
	} else if (p->ctl->ended) {
		remote_path_tell(&p->ctl->ends, NULL);
		/* Given up by itself before: it need not be kept for limbo now. */
		p->ctl->limbo_over |= p->group->leaving;
		remote_lives_look(p);
	}
}

static void path_free(struct remote_wait *w)
{
	struct remote_path_ctl *ctl = container_of(w, struct remote_path_ctl, unpublished);
	struct remote_path *p = ctl->path;
	struct remote_group *g = p->group;
	struct remote_injection *i, *next;

	assert(!p->ctrlr && !ctl->life_count && !ctl->replaying && !ctl->proving && !ctl->old_key_count);
	remote_fence_forget(p);
	timer_stop(&ctl->delay);
	timer_stop(&ctl->expiry);
	timer_stop(&ctl->limbo);
	timer_stop(&ctl->fence);
	remote_lanes_fini(p);
	for (i = atomic_load(&p->injections); i; i = next) {
		next = i->next;
		free(i);
	}
	g->paths[p->index] = NULL;
	free(ctl->alternates);
	free(ctl->page);
	free(p->lanes);
	free(ctl);
	remote_keys_give(&p->opts.host);
	free(p);
	remote_group_changed(g);
	remote_group_look(g);
}

/* Its connections are closed: who waits is told; the memory stays while writes hang in limbo, a log page is being
 * read, or cores see it. */
static void end_now(struct remote_path *p)
{
	struct remote_path_ctl *ctl = p->ctl;
	struct err e = { 0 };
	char text[512];

	ctl->limbo_over |= p->group->leaving;
	if (!ctl->ended) {
		ctl->ended = true;
		err_set(&e, -ENODEV, "%s was detached", remote_path_text(p, text));
		if (!remote_group_path_count(p->group))
			remote_group_leave(p->group, NULL); /* that was the last: its disks go too */
		remote_scan_path_gone(p);
		remote_group_changed(p->group);
		remote_path_tell(&ctl->firsts, p->last_err.code ? &p->last_err : &e);
		remote_path_tell(&ctl->resets, &e);
		remote_path_tell(&ctl->offs, &e);
		remote_path_tell(&ctl->ends, NULL);
		remote_group_look(p->group);
		remote_lives_look(p);
		return;
	}
	if (ctl->freeing || ctl->life_count || ctl->replaying || ctl->reading || ctl->proving)
		return;
	ctl->freeing = true;
	ctl->unpublished.done = path_free;
	remote_group_when_published(p->group, &ctl->unpublished);
}

void remote_path_look(struct remote_path *p)
{
	if (p->state != REMOTE_PATH_GONE || !p->ctl->ended)
		return;
	end_now(p);
	if (p->ctl->limbo_over && p->ctl->life_count)
		remote_lives_look(p);
}
