/* SPDX-License-Identifier: BSD-3-Clause */
/* ring.c: a virtqueue on its core: what it looks at, takes, gives back and rings.
 *
 * A pass takes chains until there are none or its budget is spent, and hands them to the device. What ends is pushed at
 * once and published at the end of the pass, with one interrupt at most. To stop, or to move, it takes nothing new,
 * waits for the tasks that are out, and lets the device leave this core.
 */
#include "vhost/session.h"

#define TAKE_MAX 64u                           /* chains a pass */
#define TAKE_MIN 16u                           /* unless there are fewer */
#define TAKE_BYTES_MAX (8u << 20)              /* not another one when these have so much */
#define WINDOW_NS (10 * NS_PER_MS)             /* the rate is measured over it */
#define DELAY_NS_MAX (10 * NS_PER_MS)

static uint32_t look(struct looker *l);
static bool arm(struct looker *l);
static void disarm(struct looker *l);
static void rang(struct bell *b);
static void flush(struct defer *d);
static void tell_later(struct timer *t);
static void tell_driver(struct vhost_ring_priv *r);
static void settle(struct vhost_ring_priv *r);
static inline void over(struct vhost_ring_priv *r, struct vhost_task *t);
static void broke(struct msg *m);

static struct vhost_task *task_at(const struct vhost_ring_priv *r, uint32_t i)
{
	return (struct vhost_task *)(r->tasks + (size_t)i * r->ring.session->ctrlr->ops->task_bytes);
}

/* --- coming to a core ------------------------------------------------------------------------------------------- */

/* Tasks are touched as far as there are so many at a time. */
static void make_tasks(struct vhost_ring_priv *r)
{
	size_t bytes = r->ring.session->ctrlr->ops->task_bytes;

	assert(bytes % CACHE_LINE == 0);
	r->tasks = aligned_alloc(CACHE_LINE, r->setup.size * bytes);
	r->iovs = aligned_alloc(CACHE_LINE, r->setup.size * VHOST_IOVS_MAX * sizeof(*r->iovs));
	must(r->tasks && r->iovs);
	r->free = r->longs = NULL;
	r->made = 0;
}

static struct vhost_task *take_slot(struct vhost_ring_priv *r)
{
	struct vhost_task *t = r->free;

	if (t) {
		r->free = t->next;
		return t;
	}
	assert(r->made < r->setup.size);
	t = task_at(r, r->made);
	memset(t, 0, r->ring.session->ctrlr->ops->task_bytes);
	t->ring = &r->ring;
	t->iovs = r->iovs + (size_t)r->made++ * VHOST_IOVS_MAX;
	return t;
}

static void give_slot(struct vhost_ring_priv *r, struct vhost_task *t)
{
	t->next = r->free;
	r->free = t;
}

void vhost_ring_enter(struct vhost_ring_priv *r)
{
	r->home = &session_priv(r->ring.session)->vhost->homes[reactor_index(reactor_self())];
	vhost_home_begin(r->home);
	list_add_tail(&r->home->rings, &r->link);
	make_tasks(r);
	r->work = 0;
}

void vhost_ring_leave(struct vhost_ring_priv *r)
{
	assert(!r->ring.in_flight);
	defer_cancel(&r->flush);
	timer_stop(&r->later);
	free(r->tasks);
	free(r->iovs);
	r->tasks = NULL;
	r->iovs = NULL;
	r->free = NULL;
	list_del(&r->link);
}

/* --- starting --------------------------------------------------------------------------------------------------- */

void vhost_ring_start_op(struct vhost_op *op)
{
	struct vhost_ring_priv *r = op->ring;

	assert(r->state == RING_IDLE && !r->starting);
	op->fault = vq_dev_init(&r->vq, &r->setup);
	if (op->fault) {
		vhost_view_left(r->view);
		r->view = NULL;
		sched_place_left(&session_priv(r->ring.session)->vhost->place, reactor_self());
		vhost_op_end(op);
		return;
	}
	r->broken = r->hurries = false;
	r->broken_value = r->broken_at = 0;
	r->starting = op;
	r->requests = 0;
	r->window_ns = reactor_now_ns();
	r->delay_ns = 0;
	r->notify = true; /* who had this ring before may have been killed between its last publishing and the interrupt */
	vhost_ring_enter(r);
	r->state = RING_OPENING;
	r->ring.session->ctrlr->ops->ring_open(&r->ring);
}

void vhost_ring_opened(struct vhost_ring *ring)
{
	struct vhost_ring_priv *r = ring_priv(ring);
	struct vhost_op *op = r->starting;

	assert(r->state == RING_OPENING);
	r->state = RING_OPEN;
	r->starting = NULL;
	if (op) /* else it moved here */
		vhost_op_end(op);
	vhost_ring_go_on(r);
	if (r->notify)
		tell_driver(r); /* it was put off where the ring came from */
	settle(r);
}

/* Look, and hear. */
void vhost_ring_go_on(struct vhost_ring_priv *r)
{
	int rc;

	if (r->state != RING_OPEN || r->stopping || r->broken || carry_is_wanted(&r->carry))
		return;
	if (r->takes) {
		if (vq_dev_arm(&r->vq))
			r->ring.session->ctrlr->ops->filled(&r->ring);
	} else if (!looker_is_started(&r->looker)) {
		r->looker.look = look;
		r->looker.arm = arm;
		r->looker.disarm = disarm;
		looker_start(&r->looker, "vhost queue");
	}
	if (!bell_is_open(&r->kick) || r->kick.listening)
		return;
	rc = bell_listen(&r->kick, "vhost kick", rang);
	if (rc)
		vhost_ring_broken(&r->ring, "its kick cannot be listened to");
}

void vhost_ring_silence(struct vhost_ring_priv *r)
{
	looker_stop(&r->looker);
	bell_unlisten(&r->kick);
}

/* --- taking ----------------------------------------------------------------------------------------------------- */

static void fault(struct vhost_ring_priv *r)
{
	r->broken_at = r->vq.fault_at;
	r->broken_value = r->vq.fault_value;
	vhost_ring_broken(&r->ring, vq_fault_text(r->vq.fault));
}

static int pop(struct vhost_ring_priv *r, struct vhost_task **ret_task)
{
	struct vhost_task *t;
	int rc;

	if (r->ring.in_flight >= r->setup.size)
		return 0; /* more than it has: it will be told when one comes back */
	t = take_slot(r);
	rc = vq_dev_pop(&r->vq, &t->chain, t->iovs, VHOST_IOVS_MAX);
	if (rc <= 0) {
		give_slot(r, t);
		return rc;
	}
	t->view = r->view;
	t->view->tasks++;
	t->since_ns = reactor_now_ns();
	t->out = true;
	vhost_count(&r->ring.in_flight, 1);
	*ret_task = t;
	return 1;
}

/* What an earlier process had comes first, and no base tells of it. */
static void finish_resubmits(struct vhost_ring_priv *r)
{
	struct vhost_task *t;
	int rc = 1;

	while (!r->broken && vq_dev_resubmits_left(&r->vq) && (rc = pop(r, &t)) > 0)
		r->ring.session->ctrlr->ops->execute(t);
	if (rc < 0)
		fault(r);
}

/* Half of what is there: were it all taken at once, the driver would have nothing to do until the end of the pass, and
 * then this core until the driver has done its part. Known when the first has been taken. */
static uint32_t most_to_take(const struct vq_dev *q)
{
	uint32_t more = vq_dev_known(q);

	return more ? min_u32(max_u32((more + 1) / 2, TAKE_MIN), TAKE_MAX) : TAKE_MAX;
}

static uint32_t look(struct looker *l)
{
	struct vhost_ring_priv *r = container_of(l, struct vhost_ring_priv, looker);
	const struct vhost_device_ops *ops = r->ring.session->ctrlr->ops;
	uint32_t n = 0, most = 1;
	uint64_t bytes = 0;
	int rc = 0;

	while (n < most && bytes < TAKE_BYTES_MAX && !r->broken) {
		struct vhost_task *t;

		rc = pop(r, &t);
		if (rc <= 0)
			break;
		if (n++ == 0)
			most = most_to_take(&r->vq);
		bytes += (uint64_t)t->chain.out_len + t->chain.in_len;
		ops->execute(t);
	}
	if (rc < 0)
		fault(r);
	if (n) {
		vhost_count(&r->commands, n);
		r->requests += n;
		watch_arm(&r->home->watch);
		r->work += core_call_ticks();
	}
	return n;
}

static bool arm(struct looker *l)
{
	struct vhost_ring_priv *r = container_of(l, struct vhost_ring_priv, looker);

	return r->polled || vq_dev_arm(&r->vq);
}

static void disarm(struct looker *l)
{
	struct vhost_ring_priv *r = container_of(l, struct vhost_ring_priv, looker);

	if (!r->polled)
		vq_dev_disarm(&r->vq);
}

static void kicked(struct vhost_ring_priv *r)
{
	vhost_count(&r->kicks, 1);
	if (looker_is_started(&r->looker))
		looker_rang(&r->looker);
	else if (r->takes && r->state == RING_OPEN)
		vhost_ring_go_on(r);
}

static void rang(struct bell *b)
{
	kicked(container_of(b, struct vhost_ring_priv, kick));
}

struct vhost_task *vhost_ring_take(struct vhost_ring *ring)
{
	struct vhost_ring_priv *r = ring_priv(ring);
	struct vhost_task *t;
	int rc;

	if (r->state != RING_OPEN || r->stopping || r->broken || carry_is_wanted(&r->carry))
		return NULL;
	rc = pop(r, &t);
	if (rc < 0)
		fault(r);
	return rc > 0 ? t : NULL;
}

/* --- going on --------------------------------------------------------------------------------------------------- */

/* The ring is here still: they are out. */
static void longs_go_on(struct msg *m)
{
	struct vhost_ring_priv *r = container_of(m, struct vhost_ring_priv, longs_msg);
	struct vhost_task *t = r->longs;

	r->longs = t->next;
	if (r->longs)
		msg_send(reactor_self(), m, longs_go_on);
	r->ring.session->ctrlr->ops->go_on(t);
}

void vhost_task_go_on(struct vhost_task *t)
{
	struct vhost_ring_priv *r = ring_priv(t->ring);

	t->next = NULL;
	if (r->longs) {
		*r->longs_end = t;
	} else {
		r->longs = t;
		msg_send(reactor_self(), &r->longs_msg, longs_go_on);
	}
	r->longs_end = &t->next;
}

bool vhost_longs_have(struct vhost_session *s, bool (*is)(struct vhost_task *t, const void *arg), const void *arg)
{
	struct vhost_home *home = &session_priv(s)->vhost->homes[reactor_index(reactor_self())];

	list_each(l, &home->rings) {
		struct vhost_ring_priv *r = list_entry(l, struct vhost_ring_priv, link);

		for (struct vhost_task *t = r->ring.session == s ? r->longs : NULL; t; t = t->next)
			if (is(t, arg))
				return true;
	}
	return false;
}

/* --- giving back ------------------------------------------------------------------------------------------------ */

void vhost_task_done(struct vhost_task *t, uint32_t written)
{
	struct vhost_ring_priv *r = ring_priv(t->ring);

	vq_dev_push(&r->vq, &t->chain, written);
	over(r, t);
}

static inline void over(struct vhost_ring_priv *r, struct vhost_task *t)
{
	assert(t->out && r->ring.in_flight);
	t->out = false;
	vhost_count(&r->ring.in_flight, -1);
	if (!--t->view->tasks && unlikely(t->view->old))
		vhost_view_left(t->view);
	give_slot(r, t);
	defer_last(&r->flush, flush);
}

/* What is in flight does not survive a machine's move: it is answered. */
bool vhost_task_may_be_left(const struct vhost_task *t)
{
	const struct vhost_ring_priv *r = ring_priv(t->ring);

	return r->hurries && r->setup.inflight && !r->log;
}

void vhost_task_leave(struct vhost_task *t)
{
	struct vhost_ring_priv *r = ring_priv(t->ring);

	vq_dev_leave(&r->vq);
	over(r, t);
}

static void flush(struct defer *d)
{
	struct vhost_ring_priv *r = container_of(d, struct vhost_ring_priv, flush);

	vq_dev_publish(&r->vq);
	r->notify |= vq_dev_kick_due(&r->vq);
	if (r->notify)
		tell_driver(r);
	settle(r);
}

/* The delay that a driver has asked for by its rate: none up to the threshold, then as much more as it is beyond. */
static void measure(struct vhost_ring_priv *r, uint64_t now_ns)
{
	uint64_t span = now_ns - r->window_ns, rate;

	if (span < WINDOW_NS)
		return;
	rate = r->requests * NS_PER_S / span;
	r->delay_ns = 0;
	if (rate > r->iops_threshold)
		r->delay_ns = min_u64(DELAY_NS_MAX, r->delay_base_us * NS_PER_US * (rate - r->iops_threshold) /
		                                    max_u32(r->iops_threshold, 1));
	r->requests = 0;
	r->window_ns = now_ns;
}

static void ring_call(struct vhost_ring_priv *r)
{
	r->notify = false;
	vhost_count(&r->calls, 1);
	if (bell_is_open(&r->call))
		bell_ring(&r->call);
	else if (r->in_band && !atomic_exchange(&r->call_told, true))
		msg_send(core_control(session_priv(r->ring.session)->vhost->core), &r->call_msg, vhost_backend_call);
}

static void tell_driver(struct vhost_ring_priv *r)
{
	uint64_t now_ns;

	if (likely(!r->delay_base_us)) {
		ring_call(r);
		return;
	}
	now_ns = reactor_now_ns();
	measure(r, now_ns);
	if (now_ns - r->told_ns >= r->delay_ns) {
		r->told_ns = now_ns;
		timer_stop(&r->later);
		ring_call(r);
	} else if (!timer_is_running(&r->later)) {
		timer_start(&r->later, r->told_ns + r->delay_ns - now_ns, tell_later);
	}
}

static void tell_later(struct timer *t)
{
	struct vhost_ring_priv *r = container_of(t, struct vhost_ring_priv, later);

	r->told_ns = reactor_now_ns();
	if (r->notify)
		ring_call(r);
}

/* --- stopping --------------------------------------------------------------------------------------------------- */

void vhost_ring_stop_op(struct vhost_op *op)
{
	struct vhost_ring_priv *r = op->ring;

	assert(!r->stopping && r->state != RING_IDLE);
	r->stopping = op;
	vhost_ring_silence(r);
	carry_cancel(&r->carry);
	settle(r);
}

void vhost_ring_hurry_op(struct vhost_op *op)
{
	struct vhost_ring_priv *r = op->ring;

	for (uint32_t i = 0; r->stopping && i < r->made; i++) {
		struct vhost_task *t = task_at(r, i);

		r->hurries = true;
		op->waited_for |= t->out;
		if (t->out)
			r->ring.session->ctrlr->ops->hurry(t);
	}
	vhost_op_end(op);
}

/* Of memory that was taken away; the queue goes on: they are answered. */
void vhost_ring_hurry_old_op(struct vhost_op *op)
{
	struct vhost_ring_priv *r = op->ring;

	for (uint32_t i = 0; r->ring.in_flight && i < r->made; i++) {
		struct vhost_task *t = task_at(r, i);

		if (!t->out || !t->view->old)
			continue;
		op->waited_for = true;
		r->ring.session->ctrlr->ops->hurry(t);
	}
	vhost_op_end(op);
}

void vhost_ring_close(struct vhost_ring_priv *r)
{
	assert(r->state == RING_OPEN && !r->ring.in_flight);
	r->state = RING_CLOSING;
	r->ring.session->ctrlr->ops->ring_close(&r->ring);
}

void vhost_ring_closed(struct vhost_ring *ring)
{
	struct vhost_ring_priv *r = ring_priv(ring);

	assert(r->state == RING_CLOSING);
	r->state = RING_CLOSED;
	settle(r);
}

/* It stopped: all of it is control's again. */
static void end(struct vhost_ring_priv *r)
{
	struct vhost_op *op = r->stopping;

	vq_dev_publish(&r->vq);
	if (r->notify || vq_dev_kick_due(&r->vq))
		ring_call(r);
	op->base = vq_dev_base(&r->vq, &op->apart);
	vq_dev_fini(&r->vq);
	vhost_ring_leave(r);
	sched_place_left(&r->home->vhost->place, reactor_self());
	vhost_view_left(r->view);
	r->view = NULL;
	r->stopping = NULL;
	r->state = RING_IDLE;
	vhost_op_end(op);
}

/* What waits for the last task, or for the device to close, goes on. */
static void settle(struct vhost_ring_priv *r)
{
	if (r->ring.in_flight)
		return;
	if (r->stopping && r->stopping->finish && r->state == RING_OPEN && !r->takes)
		finish_resubmits(r);
	if (r->ring.in_flight)
		return;
	if (r->stopping && r->state == RING_OPEN)
		vhost_ring_close(r);
	else if (r->stopping && r->state == RING_CLOSED)
		end(r);
	else
		carry_look_soon(&r->carry);
}

void vhost_ring_broken(struct vhost_ring *ring, const char *why)
{
	struct vhost_ring_priv *r = ring_priv(ring);

	if (r->broken)
		return;
	r->broken = true;
	r->broken_why = why;
	vhost_ring_silence(r);
	if (bell_is_open(&r->err))
		bell_ring(&r->err);
	if (!atomic_exchange(&r->broken_told, true))
		msg_send(core_control(session_priv(ring->session)->vhost->core), &r->broken_msg, broke);
}

/* Control. */
static void broke(struct msg *m)
{
	struct vhost_ring_priv *r = container_of(m, struct vhost_ring_priv, broken_msg);
	char where[64] = "";
	struct text t = text_over(where, sizeof(where));

	if (r->broken_value || r->broken_at)
		text_add(&t, " (0x%llx at %u)", (unsigned long long)r->broken_value, r->broken_at);
	if (log_may(&r->ring.session->ctrlr->complaints))
		log_error("vhost %s: queue %u stops: %s%s", vhost_ring_name(r), r->ring.index, r->broken_why, where);
	r->queue.broken = true;
	vhost_session_need_reset(session_priv(r->ring.session));
	if (r->in_band)
		vhost_backend_err(r);
	atomic_store(&r->broken_told, false);
}

/* --- changes while it runs -------------------------------------------------------------------------------------- */

/* Tasks that are out keep the version that they began with if they use what the new one has no more. */
static void tasks_follow(struct vhost_ring_priv *r, struct vhost_view *old, struct vhost_view *now)
{
	for (uint32_t i = 0; old->tasks && i < r->made; i++) {
		struct vhost_task *t = task_at(r, i);

		if (!t->out || t->view != old || !vq_chain_remap(&t->chain, now->mem->vq))
			continue;
		t->view = now;
		now->tasks++;
		old->tasks--;
	}
}

void vhost_ring_remap_op(struct vhost_op *op)
{
	struct vhost_ring_priv *r = op->ring;
	struct vhost_view *old = r->view;

	op->setup.log = r->setup.log;
	r->setup = op->setup;
	vq_dev_publish(&r->vq);
	vq_dev_remap(&r->vq, &r->setup);
	r->view = op->view;
	old->old = true;
	tasks_follow(r, old, r->view);
	if (!old->tasks)
		vhost_view_left(old);
	vhost_op_end(op);
}

void vhost_ring_log_op(struct vhost_op *op)
{
	struct vhost_ring_priv *r = op->ring;
	struct vhost_log *old = r->log;

	r->log = op->log;
	r->setup.log = r->log ? &r->log->vq : NULL;
	vq_dev_set_log(&r->vq, r->setup.log);
	op->log = old;
	vhost_op_end(op);
}

static void swap(struct bell *a, struct bell *b)
{
	struct bell was = *a;

	*a = *b;
	*b = was;
}

void vhost_ring_kick_op(struct vhost_op *op)
{
	struct vhost_ring_priv *r = op->ring;

	bell_unlisten(&r->kick);
	swap(&r->kick, &op->bell);
	r->polled = !bell_is_open(&r->kick); /* in band, too, that is what no descriptor means */
	vhost_ring_go_on(r);
	kicked(r); /* by the old one, maybe */
	vhost_op_end(op);
}

void vhost_ring_call_op(struct vhost_op *op)
{
	struct vhost_ring_priv *r = op->ring;

	swap(&r->call, &op->bell);
	if (bell_is_open(&r->call))
		bell_ring(&r->call); /* the old one may not have been heard */
	vhost_op_end(op);
}

void vhost_ring_err_op(struct vhost_op *op)
{
	struct vhost_ring_priv *r = op->ring;

	swap(&r->err, &op->bell);
	if (r->broken && bell_is_open(&r->err))
		bell_ring(&r->err);
	vhost_op_end(op);
}

void vhost_ring_break_op(struct vhost_op *op)
{
	if (op->ring->state != RING_IDLE)
		vhost_ring_broken(&op->ring->ring, op->why);
	vhost_op_end(op);
}

void vhost_ring_kicked_op(struct vhost_op *op)
{
	kicked(op->ring);
	vhost_op_end(op);
}

void vhost_ring_coalescing_op(struct vhost_op *op)
{
	struct vhost_ring_priv *r = op->ring;

	r->delay_base_us = op->delay_base_us;
	r->iops_threshold = op->iops_threshold;
	r->delay_ns = 0;
	if (r->state != RING_IDLE && r->notify)
		tell_driver(r);
	vhost_op_end(op);
}

void vhost_ring_visit_op(struct vhost_op *op)
{
	struct vhost_ring_priv *r = op->ring;

	if (r->state == RING_OPEN)
		op->each->fn(&r->ring, op->each->arg);
	vhost_op_end(op);
}
