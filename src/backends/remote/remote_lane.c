/* SPDX-License-Identifier: BSD-3-Clause */
/* remote_lane.c: a path on a core: its queue pair, opened when control says that the path is up and somebody on this
 * core wants it, closed when control says so.
 *
 * Control and lanes talk by messages only. Up and down alternate; down is answered when the queue pair is closed and no
 * I/O of this core is on another core any more. A lane that was ready and ends by itself tells control, once a life,
 * and does nothing else: control takes the whole path down and up again. One that does not become ready goes by
 * another core's meanwhile (remote_next.c).
 */
#include "backends/remote/remote_core.h"

#include <errno.h>

static void up_on_core(struct msg *m);
static void down_on_core(struct msg *m);
static void replay_on_core(struct msg *m);

/* --- control ------------------------------------------------------------------------------------------------ */

struct reactor *remote_lane_reactor(const struct remote_lane *l)
{
	struct core *core = l->path->group->remote->core;

	return l->core_index < core_reactor_count(core) ? core_reactor(core, l->core_index) : core_control(core);
}

static uint32_t lane_count(const struct remote_path *p)
{
	return remote_core_count(p->group->remote);
}

void remote_lanes_init(struct remote_path *p)
{
	for (uint32_t i = 0; i < lane_count(p); i++) {
		struct remote_lane *l = &p->lanes[i];

		l->path = p;
		l->core_index = (uint8_t)i;
		list_init(&l->early);
		list_init(&l->late);
	}
}

void remote_lanes_fini(struct remote_path *p)
{
	for (uint32_t i = 0; i < lane_count(p); i++) {
		struct remote_lane *l = &p->lanes[i];

		must(!l->up && !l->told_early && !l->qp && !l->next && !l->away && !l->closing);
		must(list_empty(&l->early) && list_empty(&l->late));
		must(!atomic_load(&l->news) && !atomic_load(&l->abort_busy) && !l->in_limbo);
	}
}

void remote_lanes_up(struct remote_path *p, const struct nvme_login *login)
{
	const struct nvme_ctrlr_info *info = p->ctrlr ? nvme_ctrlr_info(p->ctrlr) : NULL;

	assert(!p->downs_left);
	p->login = *login;
	p->told_life = p->life;
	if (info)
		memcpy(p->crdt_100ms, info->crdt_100ms, sizeof(p->crdt_100ms));
	p->io_bytes_max = info ? remote_io_bytes_max(info) : UINT32_MAX;
	for (uint32_t i = 0; i < lane_count(p); i++)
		msg_send(remote_lane_reactor(&p->lanes[i]), &p->lanes[i].up_msg, up_on_core);
}

void remote_lanes_early(struct remote_path *p, const struct nvme_login *login)
{
	assert(!p->downs_left);
	p->early_login = *login;
	for (uint32_t i = 0; i < lane_count(p); i++)
		msg_send(remote_lane_reactor(&p->lanes[i]), &p->lanes[i].early_msg, remote_next_early);
}

void remote_lanes_down(struct remote_path *p, void (*done)(struct remote_path *p))
{
	assert(!p->downs_left);
	p->down_done = done;
	p->downs_left = lane_count(p);
	p->left_in_limbo = 0;
	for (uint32_t i = 0; i < lane_count(p); i++)
		msg_send(remote_lane_reactor(&p->lanes[i]), &p->lanes[i].down_msg, down_on_core);
}

static void down_on_control(struct msg *m)
{
	struct remote_lane *l = container_of(m, struct remote_lane, down_msg);
	struct remote_path *p = l->path;

	p->left_in_limbo += l->down_limbo;
	if (--p->downs_left == 0)
		p->down_done(p);
}

void remote_lanes_replay(struct remote_path *p, uint32_t life, void (*done)(struct remote_path *p))
{
	assert(!p->replays_left);
	p->replay_life = life;
	p->replay_done = done;
	p->replays_left = lane_count(p);
	for (uint32_t i = 0; i < lane_count(p); i++)
		msg_send(remote_lane_reactor(&p->lanes[i]), &p->lanes[i].replay_msg, replay_on_core);
}

static void replay_on_control(struct msg *m)
{
	struct remote_path *p = container_of(m, struct remote_lane, replay_msg)->path;

	if (--p->replays_left == 0)
		p->replay_done(p);
}

static void prove_on_core(struct msg *m);

void remote_lanes_prove(struct remote_path *p, void (*done)(struct remote_path *p))
{
	assert(!p->proofs_left);
	p->prove_done = done;
	p->prove_err = (struct err){ 0 };
	p->proofs_left = lane_count(p);
	for (uint32_t i = 0; i < lane_count(p); i++)
		msg_send(remote_lane_reactor(&p->lanes[i]), &p->lanes[i].prove_msg, prove_on_core);
}

static void proved_on_control(struct msg *m)
{
	struct remote_lane *l = container_of(m, struct remote_lane, prove_msg);
	struct remote_path *p = l->path;

	if (l->prove_err.code && !p->prove_err.code)
		p->prove_err = l->prove_err;
	if (--p->proofs_left == 0)
		p->prove_done(p);
}

/* --- news of a core ----------------------------------------------------------------------------------------- */

static void news_on_control(struct msg *m)
{
	struct remote_lane *l = container_of(m, struct remote_lane, news_msg);
	uint32_t news = atomic_exchange(&l->news, 0);

	if (news & REMOTE_NEWS_OPENED)
		remote_path_lane_opened(l->path);
	if (news & REMOTE_NEWS_REFUSED)
		remote_path_lane_refused(l->path, l->refused_reason, &l->refused_err);
	if (news & REMOTE_NEWS_ANA)
		remote_path_ana_changed(l->path);
	if (news & REMOTE_NEWS_NS)
		remote_path_ns_changed(l->path);
	if (news & REMOTE_NEWS_TROUBLE)
		remote_path_trouble(l->path, l->reason, &l->err);
}

void remote_lane_news(struct remote_lane *l, uint32_t news)
{
	struct core *core = l->path->group->remote->core;

	if (atomic_fetch_or(&l->news, news) == 0)
		msg_send(core_control(core), &l->news_msg, news_on_control);
}

void remote_lane_trouble(struct remote_lane *l, enum nvme_reason reason, const struct err *e)
{
	if (l->troubled || !l->up)
		return;
	l->troubled = true;
	l->reason = reason;
	l->err = *e;
	remote_lane_news(l, REMOTE_NEWS_TROUBLE);
}

/* --- opening and ending ------------------------------------------------------------------------------------- */

void remote_lane_set_state(struct remote_lane *l, enum remote_lane_state public)
{
	l->state = public == REMOTE_LANE_BY_ANOTHER_STATE ? REMOTE_LANE_OPEN_STATE : (uint8_t)public;
	atomic_store(&l->public_state, (uint8_t)public); /* in order with looks at the others': remote_next.c */
}

/* What waits may go this way now, and what goes another way may do better. */
void remote_lane_opened(struct remote_lane *l)
{
	remote_lane_set_state(l, l->via ? REMOTE_LANE_BY_ANOTHER_STATE : REMOTE_LANE_OPEN_STATE);
	list_each_safe(link, &remote_core_of(l)->channels) {
		struct remote_channel *c = list_entry(link, struct remote_channel, link);

		c->lane = NULL;
		remote_line_run(c);
	}
}

void remote_lane_forget(struct remote_lane *l)
{
	list_each(link, &remote_core_of(l)->channels) {
		struct remote_channel *c = list_entry(link, struct remote_channel, link);

		if (c->lane == l)
			c->lane = NULL;
	}
}

static void connect_fresh(struct remote_lane *l, uint32_t within_ms);

static void ended(struct remote_lane *l, struct nvme_qpair *qp, const struct err *e)
{
	enum nvme_reason reason = nvme_qpair_reason(qp);

	remote_lane_set_state(l, REMOTE_LANE_ENDED_STATE);
	remote_count_add(&l->counts[REMOTE_LANE_ENDED], 1);
	timer_stop(&l->aborted);
	remote_lane_forget(l);
	l->qp = NULL;
	nvme_qpair_close(qp);
	remote_lane_trouble(l, reason, e);
}

/* It never was ready. One that had been made before it was wanted may have been dead for long: a fresh one is tried. */
static void not_opened(struct remote_lane *l, struct nvme_qpair *qp, const struct err *e)
{
	enum nvme_reason reason = nvme_qpair_reason(qp);
	bool stale = l->from_next && reason != NVME_REASON_LOGIN_REFUSED;

	l->qp = NULL;
	remote_lane_set_state(l, stale ? REMOTE_LANE_OPENING_STATE : REMOTE_LANE_REFUSED_STATE);
	nvme_qpair_close(qp); /* what it holds for other cores looks for another way */
	if (stale)
		connect_fresh(l, 0);
	else
		remote_lane_refused(l, reason, e);
}

static void qpair_ready(struct nvme_qpair *qp, const struct err *e, void *arg)
{
	struct remote_lane *l = arg;

	if (qp == l->next) {
		remote_next_told(l, e);
		return;
	}
	if (e) {
		not_opened(l, qp, e);
		return;
	}
	remote_count_add(&l->counts[REMOTE_LANE_OPENED], 1);
	remote_lane_news(l, REMOTE_NEWS_OPENED);
	remote_lane_opened(l);
}

static void qpair_gone(struct nvme_qpair *qp, const struct err *e, void *arg)
{
	ended(arg, qp, e);
}

static void took_too_long(struct nvme_qpair *qp, struct nvme_op *op, void *arg);

struct nvme_qpair *remote_lane_connect(struct remote_lane *l, const struct nvme_login *login)
{
	struct nvme_qpair *qp = nvme_qpair_open(l->path->group->remote->host, login, (uint16_t)(l->core_index + 1),
	                                        qpair_ready, qpair_gone, l);

	nvme_qpair_on_timeout(qp, took_too_long);
	return qp;
}

struct nvme_login remote_lane_login(const struct remote_lane *l)
{
	struct nvme_login login = l->path->login;

	if (l->keyed) {
		login.opts.key = l->key;
		login.opts.ctrlr_key = l->ctrlr_key;
	}
	return login;
}

/* `within_ms` 0: the whole connect time-out. */
static struct nvme_login login_within(const struct remote_lane *l, uint32_t within_ms)
{
	struct nvme_login login = remote_lane_login(l);

	if (within_ms)
		login.opts.connect_timeout_ms = within_ms;
	return login;
}

static void connect_fresh(struct remote_lane *l, uint32_t within_ms)
{
	struct nvme_login login = login_within(l, within_ms);

	l->from_next = false;
	l->qp = remote_lane_connect(l, &login);
}

static void want_within(struct remote_lane *l, uint32_t within_ms)
{
	struct nvme_login login;

	if (likely(l->state != REMOTE_LANE_CLOSED_STATE) || !l->up)
		return;
	if (l->via) {
		remote_lane_opened(l);
		return;
	}
	remote_lane_set_state(l, REMOTE_LANE_OPENING_STATE);
	login = login_within(l, within_ms);
	if (!remote_next_take(l, &login))
		connect_fresh(l, within_ms);
}

void remote_lane_want(struct remote_lane *l)
{
	if (unlikely(l->state == REMOTE_LANE_CLOSED_STATE))
		want_within(l, 0);
}

static void qpair_closed(void *arg)
{
	struct remote_lane *l = arg;

	l->closing = false;
	remote_lane_look_down(l);
}

static void close_qpair(struct remote_lane *l)
{
	struct nvme_qpair *qp = l->qp;

	remote_lane_set_state(l, REMOTE_LANE_CLOSED_STATE);
	timer_stop(&l->aborted);
	remote_lane_forget(l);
	remote_next_close(l);
	l->qp = NULL;
	if (!qp)
		return;
	l->closing = true;
	nvme_qpair_close_then(qp, qpair_closed, l); /* what it holds looks for another way */
}

void remote_lane_lost(struct remote_lane *l)
{
	struct err e = { 0 };

	if (l->state != REMOTE_LANE_OPEN_STATE)
		return;
	remote_lane_set_state(l, REMOTE_LANE_ENDED_STATE);
	remote_lane_forget(l);
	err_set(&e, -EIO, "the target answered with a host's own status");
	if (l->qp)
		nvme_qpair_fail(l->qp, NVME_REASON_PROTOCOL, &e); /* no effect when that is why we are here */
	else if (atomic_load_explicit(&l->via->public_state, memory_order_relaxed) == REMOTE_LANE_OPEN_STATE)
		remote_lane_trouble(l, NVME_REASON_PROTOCOL, &e); /* an injected one; else the other lane tells control */
}

/* --- what control says, on each core ------------------------------------------------------------------------ */

static void up_on_core(struct msg *m)
{
	struct remote_lane *l = container_of(m, struct remote_lane, up_msg);
	uint32_t queues = remote_lane_queues(l);

	assert(!l->up && !l->qp);
	l->up = true;
	l->troubled = l->keyed = false;
	l->life = l->path->told_life;
	l->io_bytes_max = l->path->io_bytes_max;
	l->via = l->core_index < queues ? NULL : &l->path->lanes[l->core_index % queues];
	l->refused_told = false;
	l->refusals = 0;
	if (!list_empty(&remote_core_of(l)->channels))
		want_within(l, l->path->rest_ms);
	remote_next_up(l);
	remote_early_go(l);
}

static void down_on_core(struct msg *m)
{
	struct remote_lane *l = container_of(m, struct remote_lane, down_msg);

	assert(l->up || l->told_early);
	l->up = l->told_early = false;
	close_qpair(l);
	l->down_asked = true;
	remote_lane_look_down(l);
}

void remote_lane_look_down(struct remote_lane *l)
{
	if (!l->down_asked || l->away || l->closing)
		return;
	l->down_asked = false;
	l->down_limbo = l->in_limbo;
	msg_send(core_control(l->path->group->remote->core), &l->down_msg, down_on_control);
}

static void replay_on_core(struct msg *m)
{
	struct remote_lane *l = container_of(m, struct remote_lane, replay_msg);

	remote_limbo_release(l, l->path->replay_life);
	msg_send(core_control(l->path->group->remote->core), &l->replay_msg, replay_on_control);
}

static void proved(struct nvme_qpair *qp, const struct err *e, void *arg)
{
	struct remote_lane *l = arg;

	(void)qp;
	if (e)
		l->prove_err = *e;
	msg_send(core_control(l->path->group->remote->core), &l->prove_msg, proved_on_control);
}

/* A queue pair that is being made takes the new keys, if it has not begun to prove itself. */
static void prove_on_core(struct msg *m)
{
	struct remote_lane *l = container_of(m, struct remote_lane, prove_msg);
	const struct nvme_host_opts *o = &l->path->opts.host; /* constant until all have answered */

	l->prove_err = (struct err){ 0 };
	l->keyed = true;
	l->key = o->key;
	l->ctrlr_key = o->ctrlr_key;
	if (l->qp)
		nvme_qpair_set_keys(l->qp, l->key, l->ctrlr_key);
	if (l->next)
		nvme_qpair_set_keys(l->next, l->key, l->ctrlr_key);
	if (l->key && l->qp && l->state == REMOTE_LANE_OPEN_STATE)
		nvme_qpair_authenticate(l->qp, proved, l);
	else
		proved(NULL, NULL, l);
}

/* --- time-outs and aborts ----------------------------------------------------------------------------------- */

#define ABORTED_WITHIN_MIN_NS NS_PER_S

static void abort_next_late(struct remote_lane *l);
static void abort_on_control(struct msg *m);

/* Told once for each command, after the time-out; it stays with the target. */
static void took_too_long(struct nvme_qpair *qp, struct nvme_op *op, void *arg)
{
	const struct remote_opts *opts;
	struct remote_lane *l = arg;
	char addr[NET_ADDR_TEXT_MAX];
	struct err e = { 0 };

	if (l->qp != qp)
		return;
	opts = &l->path->group->remote->opts;
	remote_count_add(&l->counts[REMOTE_LANE_TIMED_OUT], 1);
	if (opts->action_on_timeout == REMOTE_TIMEOUT_NONE)
		return;
	if (opts->action_on_timeout == REMOTE_TIMEOUT_ABORT && remote_op_is_whole(op)) {
		struct remote_io *r = container_of(op, struct remote_io, op);

		r->timed_out = true;
		r->asked = false;
		list_add_tail(&l->late, &r->link);
		abort_next_late(l);
		return;
	}
	err_set(&e, -ETIMEDOUT, "%s at %s: command %02xh of queue %u was not answered within %llu us",
	        l->path->login.subnqn, net_addr_text(&l->path->login.addr, addr), op->cmd.opc, nvme_qpair_id(qp),
	        (unsigned long long)opts->timeout_us);
	remote_lane_trouble(l, NVME_REASON_IO_TIMEOUT, &e);
}

static void abort_next_late(struct remote_lane *l)
{
	list_each(link, &l->late) {
		struct remote_io *r = list_entry(link, struct remote_io, link);

		if (r->asked)
			continue;
		r->asked = remote_lane_abort(l, r->op.cid, true);
		return;
	}
}

/* The queue of the command is not the admin queue: it may have been answered, and its id used again, when the Abort
 * arrives; whoever is hit then is sent again, see remote_status.c. */
bool remote_lane_abort(struct remote_lane *l, uint16_t cid, bool late)
{
	if (!l->qp || l->state != REMOTE_LANE_OPEN_STATE || atomic_load(&l->abort_busy))
		return false;
	l->abort_cid = cid;
	l->abort_qid = nvme_qpair_id(l->qp);
	l->abort_late = late;
	atomic_store(&l->abort_busy, true);
	msg_send(core_control(l->path->group->remote->core), &l->abort_msg, abort_on_control);
	return true;
}

static void abort_done(struct nvme_op *op);

static void abort_on_control(struct msg *m)
{
	struct remote_lane *l = container_of(m, struct remote_lane, abort_msg);

	l->abort_op = (struct nvme_op){ .cmd.opc = NVME_ADMIN_ABORT_CMD, .done = abort_done };
	l->abort_op.cmd.abort.sqid = le16_of(l->abort_qid);
	l->abort_op.cmd.abort.cid = le16_of(l->abort_cid);
	if (l->path->ctrlr && l->path->state == REMOTE_PATH_UP) {
		nvme_ctrlr_submit_admin(l->path->ctrlr, &l->abort_op);
	} else {
		nvme_cqe_set_status(&l->abort_op.cpl, NVME_SC_HOST_PATH_ERROR);
		abort_done(&l->abort_op);
	}
}

static void abort_ended_on_core(struct msg *m);

/* Back to the core: before the path can be freed, because cores are told of that later. */
static void abort_done(struct nvme_op *op)
{
	struct remote_lane *l = container_of(op, struct remote_lane, abort_op);

	l->abort_failed = nvme_op_status(op) || le32_get(op->cpl.dw0) & 1;
	msg_send(remote_lane_reactor(l), &l->abort_msg, abort_ended_on_core);
}

/* One that was answered meanwhile could not be aborted, of course. */
static bool is_still_out(const struct remote_lane *l)
{
	list_each(link, &l->late) {
		const struct remote_io *r = list_entry(link, const struct remote_io, link);

		if (r->asked && r->op.cid == l->abort_cid)
			return true;
	}
	return false;
}

static void could_not_be_aborted(struct remote_lane *l, const char *why)
{
	char addr[NET_ADDR_TEXT_MAX];
	struct err e = { 0 };

	err_set(&e, -ETIMEDOUT, "%s at %s: a command took too long and %s", l->path->login.subnqn,
	        net_addr_text(&l->path->login.addr, addr), why); /* path->where is control's */
	remote_lane_trouble(l, NVME_REASON_IO_TIMEOUT, &e);
}

static uint64_t aborted_within_ns(const struct remote_lane *l)
{
	return max_u64(ABORTED_WITHIN_MIN_NS, l->path->group->remote->opts.timeout_us * NS_PER_US);
}

/* A target that says that it has aborted a command has answered that by then. */
static void aborted_due(struct timer *t)
{
	struct remote_lane *l = container_of(t, struct remote_lane, aborted);
	uint64_t within_ns = aborted_within_ns(l);
	bool some = false;

	list_each(link, &l->late) {
		const struct remote_io *r = list_entry(link, const struct remote_io, link);

		some |= r->asked;
		if (!r->asked || reactor_now_ns() - r->began_ns < 2 * within_ns)
			continue;
		could_not_be_aborted(l, "was not answered although it was aborted");
		return;
	}
	if (some)
		timer_start(t, within_ns, aborted_due);
}

static void abort_ended_on_core(struct msg *m)
{
	struct remote_lane *l = container_of(m, struct remote_lane, abort_msg);

	atomic_store(&l->abort_busy, false);
	if (l->abort_late && is_still_out(l)) {
		if (l->abort_failed) {
			could_not_be_aborted(l, "could not be aborted");
			return;
		}
		if (!timer_is_running(&l->aborted))
			timer_start(&l->aborted, aborted_within_ns(l), aborted_due);
	}
	abort_next_late(l);
}
