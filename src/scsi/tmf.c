/* SPDX-License-Identifier: BSD-3-Clause */
/* tmf.c: task management, and what else aborts tasks of many nexuses.
 *
 * A sweep goes over a device's nexuses in two phases, by mail. First each that is meant closes its gate, so that
 * nothing new begins, aborts its tasks, and answers when they have ended (a struct scsi_leg waits for that). Then, when
 * all have answered, unit attentions are raised and the gates open. A function that concerns its own nexus only is one
 * leg and no mail.
 *
 * Tasks that were parsed and not yet executed are known by the epoch of their LUN's task set, which a leg advances.
 */
#include "scsi/scsi_priv.h"

struct scsi_leg {
	struct list link;                  /* n->legs, while it waits for tasks to end */
	struct list sweep_link;
	struct scsi_mail mail;
	struct scsi_sweep *sweep;          /* NULL: of one nexus only */
	struct scsi_nexus *n;
	uint32_t lun;                      /* UINT32_MAX: all */
	bool own;                          /* the nexus that asked */
	const struct bdev *preempted;      /* of PREEMPT AND ABORT: with this device */
	void (*ended)(struct scsi_leg *leg);
};

struct scsi_tmf_work {
	struct scsi_tmf *m;
	struct scsi_leg leg;               /* its own nexus' */
	struct scsi_task *task;            /* ABORT TASK */
	struct scsi_sweep sweep;
	struct defer done;
	struct msg msg;
	struct scsi_seat *seat;
	bool held;                         /* the gate is closed */
};

/* --- one nexus: its core -- */

static bool leg_means(const struct scsi_leg *leg, const struct scsi_task *t)
{
	if (leg->preempted && t->op->flags & SCSI_ROW_RESERVES)
		return false;
	return leg->lun == UINT32_MAX || scsi_lun_number(t->lun) == leg->lun;
}

static void advance(struct scsi_nexus *n, uint32_t lun, bool by_other)
{
	const struct scsi_map *map = scsi_nexus_map(n);

	for (uint32_t i = 0; i < SCSI_LUNS_MAX; i++) {
		if (lun != UINT32_MAX && lun != i)
			continue;
		n->attentions[i].epoch++;
		n->attentions[i].tell_stale = by_other && map->luns[i].state.tas;
	}
}

/* `by_other`: the control mode page says whether its initiator is told. */
static void leg_abort(struct scsi_leg *leg, bool by_other)
{
	struct scsi_nexus *n = leg->n;

	advance(n, leg->lun, by_other);
	list_each_safe(l, &n->tasks) {
		struct scsi_task *t = list_entry(l, struct scsi_task, link);

		if (!leg_means(leg, t) || t->state == SCSI_TASK_DONE)
			continue;
		scsi_task_abort(t, by_other && scsi_task_state(t)->tas);
	}
}

/* Tasks that came after it are not aborted. */
static bool leg_has_ended(const struct scsi_leg *leg)
{
	list_each(l, &leg->n->tasks) {
		const struct scsi_task *t = list_entry(l, struct scsi_task, link);

		if (t->aborted && leg_means(leg, t))
			return false;
	}
	return true;
}

static void leg_wait(struct scsi_leg *leg, void (*ended)(struct scsi_leg *leg))
{
	leg->ended = ended;
	list_init(&leg->link);
	if (leg_has_ended(leg))
		ended(leg);
	else
		list_add_tail(&leg->n->legs, &leg->link);
}

void scsi_legs_task_ended(struct scsi_nexus *n)
{
	list_each_safe(l, &n->legs) {
		struct scsi_leg *leg = list_entry(l, struct scsi_leg, link);

		if (leg_has_ended(leg)) {
			list_del(&leg->link);
			leg->ended(leg);
		}
	}
}

static void open_gate(struct scsi_nexus *n)
{
	assert(n->gates > 0);
	if (--n->gates == 0 && n->waiting)
		scsi_tasks_start(n);
}

static void raise_attentions(struct scsi_nexus *n, uint32_t lun, uint16_t asc_ascq)
{
	const struct scsi_map *map = scsi_nexus_map(n);

	for (uint32_t i = 0; i < SCSI_LUNS_MAX; i++)
		if (map->luns[i].lu && (lun == UINT32_MAX || lun == i))
			scsi_attention_raise(n, i, asc_ascq);
}

/* --- sweeps: control, and the nexuses' cores -- */

static struct scsi_leg *leg_of(struct scsi_mail *m)
{
	return container_of(m, struct scsi_leg, mail);
}

static void leg_stopped(struct scsi_leg *leg)
{
	scsi_mail_back(&leg->mail);
}

static void stop_at_home(struct scsi_mail *m, struct scsi_nexus *n)
{
	struct scsi_leg *leg = leg_of(m);

	leg->n = n;
	if (!n) {
		scsi_mail_back(m);
		return;
	}
	if (!leg->own || !leg->sweep->gated) {
		assert(n->target == leg->sweep->target);
		n->gates++;
		leg_abort(leg, !scsi_seat_same(n->seat, leg->sweep->from)); /* another lane's are its own, too */
	}
	leg_wait(leg, leg_stopped);
}

static void go_at_home(struct scsi_mail *m, struct scsi_nexus *n)
{
	struct scsi_leg *leg = leg_of(m);

	if (n && leg->n) {
		if (leg->sweep->asc_ascq)
			raise_attentions(n, leg->lun, leg->sweep->asc_ascq);
		open_gate(n);
	}
	scsi_mail_back(m);
}

static void sweep_next(struct scsi_target *t);

static void sweep_end(struct msg *m)
{
	struct scsi_sweep *w = container_of(m, struct scsi_sweep, msg);
	struct scsi_target *t = w->target;

	t->sweeping = NULL;
	w->done(w); /* may free it */
	sweep_next(t);
	scsi_target_go_on(t);
}

static void sweep_less(struct scsi_sweep *w, msg_fn *then)
{
	if (--w->left == 0)
		msg_send(reactor_self(), &w->msg, then);
}

static void went(struct scsi_mail *m)
{
	struct scsi_leg *leg = leg_of(m);
	struct scsi_sweep *w = leg->sweep;

	list_del(&leg->sweep_link);
	free(leg);
	sweep_less(w, sweep_end);
}

void scsi_sweep_go_on(struct scsi_sweep *w)
{
	w->left = 1;
	list_each_safe(l, &w->legs) {
		struct scsi_leg *leg = list_entry(l, struct scsi_leg, sweep_link);

		leg->mail.at_home = go_at_home;
		leg->mail.back = went;
		w->left++;
		scsi_mail_send(&leg->mail, leg->mail.seat);
		scsi_seat_unpin(leg->mail.seat); /* the mail keeps it */
	}
	sweep_less(w, sweep_end);
}

static void all_stopped(struct msg *m)
{
	struct scsi_sweep *w = container_of(m, struct scsi_sweep, msg);

	if (w->swept)
		w->swept(w);
	else
		scsi_sweep_go_on(w);
}

static void stopped(struct scsi_mail *m)
{
	sweep_less(leg_of(m)->sweep, all_stopped);
}

static void sweep_begin(struct scsi_sweep *w)
{
	list_init(&w->legs);
	w->left = 1;
	list_each_safe(l, &w->target->seats) {
		struct scsi_seat *s = list_entry(l, struct scsi_seat, link);
		struct scsi_leg *leg;

		if (s != w->from && w->means && !w->means(w, s))
			continue;
		leg = base_zalloc(sizeof(*leg));
		leg->sweep = w;
		leg->lun = w->lun;
		leg->own = s == w->from;
		leg->mail.at_home = stop_at_home;
		leg->mail.back = stopped;
		list_add_tail(&w->legs, &leg->sweep_link);
		w->left++;
		scsi_seat_pin(s); /* for the second phase */
		scsi_mail_send(&leg->mail, s);
	}
	sweep_less(w, all_stopped);
}

static void sweep_next(struct scsi_target *t)
{
	struct list *l = t->sweeping ? NULL : list_pop(&t->sweeps);

	if (!l)
		return;
	t->sweeping = list_entry(l, struct scsi_sweep, link);
	sweep_begin(t->sweeping);
}

void scsi_sweep(struct scsi_sweep *w)
{
	assert(reactor_is_control(reactor_self()));
	list_add_tail(&w->target->sweeps, &w->link);
	sweep_next(w->target);
}

/* --- who was preempted: control, and its core -- */

static void abort_preempted(struct scsi_mail *m, struct scsi_nexus *n)
{
	struct scsi_leg *leg = leg_of(m);

	if (!n) {
		scsi_mail_back(m);
		return;
	}
	leg->n = n;
	leg_abort(leg, true);
	leg_wait(leg, leg_stopped);
}

static bool is_preempting(const struct scsi *s, const struct bdev *b)
{
	list_each(l, &s->preempted)
		if (list_entry(l, struct scsi_leg, sweep_link)->preempted == b)
			return true;
	return false;
}

static void preempted_is_over(struct scsi_mail *m)
{
	struct scsi_leg *leg = leg_of(m);
	struct scsi *s = m->seat->target->scsi;

	list_del(&leg->sweep_link);
	free(leg);
	list_each_safe(l, &s->preempt_waits) {
		struct scsi_preempt_wait *w = list_entry(l, struct scsi_preempt_wait, link);

		if (is_preempting(s, w->bdev))
			continue;
		list_del(&w->link);
		w->fn(w);
	}
}

void scsi_preempt(struct scsi_target *t, uint32_t lun, const struct bdev *b, uint32_t party)
{
	list_each_safe(l, &t->seats) {
		struct scsi_seat *seat = list_entry(l, struct scsi_seat, link);
		struct scsi_leg *leg;

		if (seat->party != party)
			continue;
		leg = base_zalloc(sizeof(*leg));
		leg->lun = lun;
		leg->preempted = b;
		leg->mail.at_home = abort_preempted;
		leg->mail.back = preempted_is_over;
		list_add_tail(&t->scsi->preempted, &leg->sweep_link);
		scsi_mail_send(&leg->mail, seat);
	}
}

void scsi_preempt_wait(struct scsi *s, struct scsi_preempt_wait *w)
{
	if (is_preempting(s, w->bdev))
		list_add_tail(&s->preempt_waits, &w->link);
	else
		w->fn(w);
}

/* --- the functions -- */

static void tmf_done(struct defer *d)
{
	struct scsi_tmf_work *w = container_of(d, struct scsi_tmf_work, done);
	struct scsi_tmf *m = w->m;
	struct scsi_nexus *n = m->nexus;

	m->work = NULL;
	m->done(m);
	if (w->held)
		open_gate(n);
	n->task_count--;
	scsi_nexus_go_on(n);
	free(w);
}

static void answer(struct scsi_tmf_work *w, enum scsi_tmf_response response)
{
	w->m->response = (uint8_t)response;
	defer_run(&w->done, tmf_done);
}

static struct scsi_task *find_task(const struct scsi_tmf *m)
{
	list_each(l, &m->nexus->tasks) {
		struct scsi_task *t = list_entry(l, struct scsi_task, link);

		if (t->tag == m->tag && t->lun == m->lun && t->state != SCSI_TASK_DONE)
			return t;
	}
	return NULL;
}

static bool set_has_tasks(const struct scsi_tmf *m)
{
	list_each(l, &m->nexus->tasks)
		if (list_entry(l, struct scsi_task, link)->lun == m->lun)
			return true;
	return false;
}

static void own_ended(struct scsi_leg *leg)
{
	struct scsi_tmf_work *w = container_of(leg, struct scsi_tmf_work, leg);

	if (w->m->function == SCSI_TMF_NEXUS_RESET)
		raise_attentions(leg->n, UINT32_MAX, SCSI_ASC_NEXUS_LOSS);
	answer(w, SCSI_TMF_COMPLETE);
}

/* Its own nexus only. The gate opens when the response is on its way. */
static void run_here(struct scsi_tmf_work *w)
{
	w->held = true;
	w->leg.n->gates++;
	leg_abort(&w->leg, false);
	leg_wait(&w->leg, own_ended);
}

/* The leg waits for whatever has been aborted on that LUN, this task among it. */
static void run_abort_task(struct scsi_tmf_work *w)
{
	struct scsi_task *t = find_task(w->m);

	if (!t) {
		answer(w, SCSI_TMF_NO_TASK);
		return;
	}
	scsi_task_abort(t, false);
	leg_wait(&w->leg, own_ended);
}

static void swept_on_core(struct msg *msg)
{
	answer(container_of(msg, struct scsi_tmf_work, msg), SCSI_TMF_COMPLETE);
}

static void swept_on_control(struct scsi_sweep *sweep)
{
	struct scsi_tmf_work *w = container_of(sweep, struct scsi_tmf_work, sweep);

	if (w->m->function == SCSI_TMF_TARGET_COLD_RESET)
		list_each_safe(l, &sweep->target->seats) {
			struct scsi_seat *s = list_entry(l, struct scsi_seat, link);

			if (s != sweep->from)
				scsi_seat_disconnect(s);
		}
	carry_send(&w->seat->home, &w->msg, swept_on_core);
	scsi_seat_unpin(w->seat);
}

static void sweep_on_control(struct msg *msg)
{
	struct scsi_tmf_work *w = container_of(msg, struct scsi_tmf_work, msg);

	scsi_seat_pin(w->seat);
	w->sweep.target = w->seat->target;
	w->sweep.lun = w->leg.lun;
	w->sweep.from = w->seat;
	w->sweep.gated = true;
	w->sweep.asc_ascq = SCSI_ASC_DEVICE_RESET;
	w->sweep.swept = scsi_reset_state;
	w->sweep.done = swept_on_control;
	scsi_sweep(&w->sweep);
}

/* This nexus begins here and now: what the transport executes from now on waits for the sweep's end, which opens the
 * gate. */
static void run_sweep(struct scsi_tmf_work *w)
{
	w->leg.n->gates++;
	leg_abort(&w->leg, false);
	msg_send(core_control(w->seat->target->scsi->core), &w->msg, sweep_on_control);
}

static void run(struct scsi_tmf_work *w)
{
	struct scsi_tmf *m = w->m;
	uint32_t lun = scsi_lun_number(m->lun);
	bool of_target = m->function == SCSI_TMF_TARGET_WARM_RESET || m->function == SCSI_TMF_TARGET_COLD_RESET ||
	                 m->function == SCSI_TMF_NEXUS_RESET;

	w->leg.lun = of_target ? UINT32_MAX : lun;
	if (!of_target && (lun >= SCSI_LUNS_MAX || !scsi_nexus_map(m->nexus)->luns[lun].lu)) {
		answer(w, SCSI_TMF_NO_LUN);
		return;
	}
	switch (m->function) {
	case SCSI_TMF_ABORT_TASK:
		run_abort_task(w);
		break;
	case SCSI_TMF_ABORT_TASK_SET:
	case SCSI_TMF_CLEAR_TASK_SET: /* the same: each nexus has a task set of its own (TST 1 of the control mode page) */
	case SCSI_TMF_NEXUS_RESET:
		run_here(w);
		break;
	case SCSI_TMF_LU_RESET:
	case SCSI_TMF_TARGET_WARM_RESET:
	case SCSI_TMF_TARGET_COLD_RESET:
		run_sweep(w);
		break;
	case SCSI_TMF_QUERY_TASK:
		answer(w, find_task(m) ? SCSI_TMF_SUCCEEDED : SCSI_TMF_COMPLETE);
		break;
	case SCSI_TMF_QUERY_TASK_SET:
		answer(w, set_has_tasks(m) ? SCSI_TMF_SUCCEEDED : SCSI_TMF_COMPLETE);
		break;
	default:
		answer(w, SCSI_TMF_UNSUPPORTED); /* CLEAR ACA: there is no ACA */
	}
}

void scsi_tmf_start(struct scsi_tmf *m)
{
	struct scsi_tmf_work *w = base_zalloc(sizeof(*w));
	struct scsi_nexus *n = m->nexus;

	assert(n->core && !n->ending);
	m->work = w;
	w->m = m;
	w->leg.n = n;
	w->seat = n->seat;
	n->task_count++;
	run(w);
}
