/* SPDX-License-Identifier: BSD-3-Clause */
/* task.c: a command's life, from its slot to its answer.
 *
 * Data from the initiator comes with the command or behind it unasked, or is asked for by R2Ts, of which several may
 * be out at once. What comes unasked cannot be told to wait: it is executed from the receive buffer where the device
 * allows, else gets buffers for all of the command's data, else memory from the heap; when the budget has no room for
 * that either, the connection is not read on before buffers are to be had (recv.c), unless it owes data. An R2T goes
 * out only when all buffers for the command are held. Better than buffers is memory that the device lends: what is
 * received there needs no copy any more.
 *
 * A long command (scsi_task_seek()) does that for each of its pieces: its data is asked for, or read and sent, as much
 * at a time as one command may have buffers for, and they are given back before the next piece asks for its own. So it
 * holds nothing while it waits, and data that is still to come never lacks room: none was asked for.
 */
#include "core/trace.h"
#include "core/waits.h"
#include "iscsi/conn.h"

#define TURN "its initiator to answer earlier R2Ts" /* the name of a wait */

static enum step answer(struct iscsi_task *t);
static bool take_room(struct iscsi_task *t);
static bool is_its_turn(const struct iscsi_task *t);
static enum step get_room(struct iscsi_task *t);
static void turns_go_on(struct iscsi_conn *c);
static void room_came(struct wait *w);
static void give_room(struct iscsi_task *t);
static void pin_or_give(struct iscsi_task *t);
static void ask(struct iscsi_task *t);
static void owes(struct iscsi_task *t);
static void asks_no_more(struct iscsi_task *t);
static void untag(struct iscsi_task *t);
static void lose(struct iscsi_task *t);

static enum step task_on_FREE(struct iscsi_task *t);
static enum step task_on_NEW(struct iscsi_task *t);
static enum step task_on_NEED_ROOM(struct iscsi_task *t);
static enum step task_on_RECEIVE(struct iscsi_task *t);
static enum step task_on_ORDER(struct iscsi_task *t);
static enum step task_on_EXECUTE(struct iscsi_task *t);
static enum step task_on_NEXT(struct iscsi_task *t);
static enum step task_on_SEND(struct iscsi_task *t);

const struct machine_state iscsi_task_states[] = { TASK_STATES(MACHINE_ROW) };

static inline enum step task_goto(struct iscsi_task *t, enum task_state state)
{
	must(iscsi_task_states[t->state].next & 1ull << state);
	t->state = (uint8_t)state;
	return STEP_NEXT;
}

/* In order of the commands' numbers. */
static inline enum step go_execute(struct iscsi_task *t)
{
	return task_goto(t, likely(t->in_turn || t->immediate) ? TASK_EXECUTE : TASK_ORDER);
}

#define TASK_CASE(M, S, meaning, next) case M##_##S: step = task_on_##S(t); break;

void iscsi_task_run(struct iscsi_task *t)
{
	enum step step;

	do {
		switch ((enum task_state)t->state) {
		TASK_STATES(TASK_CASE)
		default: must(false); return;
		}
	} while (step == STEP_NEXT);
}

/* --- slots ------------------------------------------------------------------------------------------------------- */

void iscsi_task_slot_init(struct iscsi_conn *c, uint32_t index)
{
	struct iscsi_task *t = conn_task(c, index);

	memset(t, 0, sizeof(*t));
	t->index = (uint16_t)index;
	t->scsi.nexus = &c->nexus;
	t->out.is_task = true;
}

/* The slot used last is the warm one; a slot never used costs no memory yet. */
struct iscsi_task *iscsi_task_take(struct iscsi_conn *c, bool immediate, bool in_turn)
{
	struct iscsi_task *t;

	if (unlikely(immediate) && c->in_use - c->window_used - c->held >= ISCSI_IMMEDIATE_SLOTS)
		return NULL; /* the others are the window's, which was promised */
	if (c->free) {
		t = container_of(c->free, struct iscsi_task, link);
		c->free = t->link.next;
	} else {
		if (c->touched == c->slot_count)
			return NULL;
		iscsi_task_slot_init(c, c->touched);
		t = conn_task(c, c->touched++);
	}
	c->in_use++;
	t->immediate = immediate;
	t->in_turn = in_turn;
	if (!immediate && in_turn)
		c->window_used++;
	else if (!immediate)
		c->held++;
	t->asks = t->owes = t->bad_digest = t->refused = t->numbered = t->unsolicited = t->comes = false;
	t->wanted = t->received = t->offset = t->data_sn = t->r2ts_out = 0;
	t->generation++;
	t->asked = t->sent = (struct task_at){ 0 };
	t->since_ns = reactor_now_ns();
	scsi_task_came(&t->scsi, t->since_ns);
	task_goto(t, TASK_NEW);
	watch_arm(&c->home->watch);
	return t;
}

static uint32_t bucket(uint32_t itt)
{
	return itt * 2654435761u >> 24;
}
_Static_assert(ISCSI_SLOTS_BUCKETS == 1u << 8, "as many as bucket() tells apart");

void iscsi_task_tag(struct iscsi_task *t, uint32_t itt)
{
	struct iscsi_conn *c = task_conn(t);
	uint16_t *first = &c->tag_first[bucket(itt)];

	t->itt = itt;
	c->tag_next[t->index] = *first;
	*first = (uint16_t)(t->index + 1);
}

struct iscsi_task *iscsi_task_find(struct iscsi_conn *c, uint32_t itt)
{
	for (uint16_t i = c->tag_first[bucket(itt)]; i; i = c->tag_next[i - 1])
		if (conn_task(c, i - 1u)->itt == itt)
			return conn_task(c, i - 1u);
	return NULL;
}

static void untag(struct iscsi_task *t)
{
	struct iscsi_conn *c = task_conn(t);
	uint16_t *at = &c->tag_first[bucket(t->itt)];

	while (*at && *at != t->index + 1)
		at = &c->tag_next[*at - 1];
	if (*at)
		*at = c->tag_next[t->index];
}

static enum step task_on_FREE(struct iscsi_task *t)
{
	return STEP_DONE;
}

static void leaves_window(struct iscsi_conn *c, struct iscsi_task *t)
{
	if (t->immediate)
		return;
	if (likely(t->in_turn)) {
		c->window_used--;
		return;
	}
	c->held--;
	iscsi_cmd_sn_skip(c, t->cmd_sn);
}

void iscsi_task_end(struct iscsi_task *t)
{
	struct iscsi_conn *c = task_conn(t);

	assert(t->state != TASK_EXECUTE && !t->out.queued);
	scsi_task_free(&t->scsi);
	asks_no_more(t);
	give_room(t);
	untag(t);
	t->state = TASK_FREE;
	t->link.next = c->free;
	c->free = &t->link;
	c->in_use--;
	leaves_window(c, t);
	if (unlikely(c->farewell) && !c->in_use)
		iscsi_conn_last_task(c);
}

/* The connection ends: nothing it still had to receive or to send matters any more. */
void iscsi_task_end_all(struct iscsi_conn *c)
{
	c->rx_task = c->span_task = NULL;
	for (uint32_t i = 0; i < c->touched; i++) {
		struct iscsi_task *t = conn_task(c, i);

		if (t->state == TASK_FREE || t->state == TASK_EXECUTE)
			continue;
		if (t->state == TASK_NEED_ROOM)
			iscsi_task_wait_cancel(t);
		t->out.queued = false; /* the line was emptied */
		lose(t);
	}
	assert(!c->owed && !c->asked_bytes);
	queue_init(&c->turns);
}

void iscsi_task_drop(struct iscsi_task *t)
{
	struct iscsi_conn *c = task_conn(t);

	assert(iscsi_task_waits(t));
	if (t->state == TASK_NEED_ROOM) {
		iscsi_task_wait_cancel(t);
		if (t->waits == WAITS_TURN)
			queue_remove(&c->turns, &t->link);
	}
	if (c->rx_task == t)
		c->rx_task = NULL;
	if (t->out.queued)
		iscsi_send_remove(c, &t->out);
	if (t->r2ts_out)
		c->aborted_asked = true;
	lose(t);
	turns_go_on(c);
	iscsi_conn_update_reading(c);
}

void iscsi_task_wait_cancel(struct iscsi_task *t)
{
	assert(t->state == TASK_NEED_ROOM);
	if (t->waits == WAITS_TURN)
		wait_ended(TURN, t->since_ns);
	scsi_task_waited(&t->scsi, t->since_ns);
	t->since_ns = reactor_now_ns();
	if (t->waits == WAITS_IOVS)
		waitq_remove(&task_conn(t)->home->iovs.wait, &t->wait);
	else if (t->waits == WAITS_BUFFERS)
		mem_wait_cancel(&t->wait);
}

/* --- the command ------------------------------------------------------------------------------------------------- */

static enum step task_on_NEW(struct iscsi_task *t)
{
	struct scsi_task *s = &t->scsi;

	s->iovs = NULL;
	s->iov_count = s->iov_max = 0;
	if (unlikely(!scsi_task_parse(s)))
		return answer(t);
	/* No bidirectional command is known; what is long, and has no pieces, has no room. */
	if (unlikely((t->flags & ISCSI_READ && t->flags & ISCSI_WRITE) || s->moves > MEM_IO_BYTES_MAX)) {
		scsi_task_fail(s, SCSI_ILLEGAL_REQUEST, 0x24, 0x00);
		return answer(t);
	}
	t->wanted = s->data == SCSI_DATA_OUT ? s->moves : 0;
	if (t->comes)
		return task_goto(t, TASK_RECEIVE);
	if (!s->moves)
		return go_execute(t);
	if (s->data == SCSI_DATA_OUT)
		ask(t);
	return get_room(t);
}

/* Its status is known. What the initiator still sends unasked is taken in first, so that its tag is not used anew
 * before. */
static enum step answer(struct iscsi_task *t)
{
	t->refused = true;
	t->wanted = 0;
	return task_goto(t, t->unsolicited ? TASK_RECEIVE : TASK_SEND);
}

/* --- room -------------------------------------------------------------------------------------------------------- */

static bool lends(const struct iscsi_task *t)
{
	return t->scsi.may_lend && t->scsi.lend_iovs_max <= conn_of(t->scsi.nexus)->home->iovs.per_array;
}

/* Room to describe what is lent. */
static bool take_iovs(struct iscsi_task *t)
{
	struct scsi_task *s = &t->scsi;
	struct gather_iovs *g = &task_conn(t)->home->iovs;

	s->iov_count = 0;
	if (s->lend_iovs_max <= ISCSI_NEAR_IOVS) {
		s->iovs = t->near;
		s->iov_max = ISCSI_NEAR_IOVS;
		return true;
	}
	t->held = gather_iovs_take(g);
	if (!t->held)
		return false;
	t->hold = HOLD_IOVS;
	s->iovs = t->held;
	s->iov_max = (uint16_t)g->per_array;
	return true;
}

/* Memory of the device's own for a write. */
static bool take_lent(struct iscsi_task *t)
{
	if (!take_iovs(t))
		return false;
	if (!scsi_task_lend(&t->scsi)) {
		give_room(t);
		return false;
	}
	if (t->hold == HOLD_NOTHING)
		t->hold = HOLD_NEAR;
	iscsi_count(task_conn(t)->home, lent_writes, 1);
	return true;
}

static bool take_room(struct iscsi_task *t)
{
	struct scsi_task *s = &t->scsi;

	if (lends(t) && s->data == SCSI_DATA_IN)
		return take_iovs(t);
	if (lends(t) && (s->whole || t->wanted == s->data_len) && take_lent(t))
		return true;
	if (!mem_take(&t->bufs, s->moves))
		return false;
	t->hold = HOLD_BUFS;
	s->iovs = mem_iov(&t->bufs);
	s->iov_count = (uint16_t)t->bufs.count;
	s->iov_max = 0;
	return true;
}

/* A connection's buffers that wait for its initiator are limited; one command always has its turn. */
static bool is_its_turn(const struct iscsi_task *t)
{
	const struct iscsi_conn *c = conn_of(t->scsi.nexus);

	return queue_empty(&c->turns) &&
	       (!c->asked_bytes || c->asked_bytes + iscsi_task_room(t) <= ISCSI_ASKED_BYTES_MAX);
}

/* From now on its data is asked for. */
static void ask(struct iscsi_task *t)
{
	t->asks = true;
	t->data_sn = 0;
	t->asked = (struct task_at){ .data = t->offset, .sn = t->asked.sn };
	t->r2t_sn = t->asked.sn;
	t->r2t_end = iscsi_r2t_end(task_conn(t), t, t->offset);
}

/* Have room, or wait for it; then go where it is needed. */
static enum step get_room(struct iscsi_task *t)
{
	struct iscsi_conn *c = task_conn(t);

	if (t->asks && !is_its_turn(t)) {
		t->waits = WAITS_TURN;
		return task_goto(t, TASK_NEED_ROOM);
	}
	if (likely(take_room(t))) {
		if (!t->asks)
			return go_execute(t);
		c->asked_bytes += iscsi_task_room(t);
		return task_goto(t, TASK_RECEIVE);
	}
	t->waits = lends(t) && t->scsi.data == SCSI_DATA_IN ? WAITS_IOVS : WAITS_BUFFERS;
	if (t->asks)
		c->asked_bytes += iscsi_task_room(t);
	return task_goto(t, TASK_NEED_ROOM);
}

static enum step task_on_NEED_ROOM(struct iscsi_task *t)
{
	struct iscsi_conn *c = task_conn(t);

	iscsi_count(c->home, room_waits, 1);
	trace(ISCSI_TASK_STATE, t->itt, t->state);
	if (t->waits == WAITS_TURN) {
		wait_began(TURN);
		queue_push(&c->turns, &t->link);
		return STEP_WAIT;
	}
	t->wait = (struct wait){ 0 }; /* `near` and `bufs` lay here */
	if (t->waits == WAITS_IOVS)
		waitq_add(&c->home->iovs.wait, &t->wait, 1, room_came);
	else
		mem_wait(&t->wait, t->scsi.moves, room_came);
	return STEP_WAIT;
}

/* `w` is no longer waiting; what is taken overwrites it. */
static void room_came(struct wait *w)
{
	struct iscsi_task *t = container_of(w, struct iscsi_task, wait);

	if (!take_room(t)) {
		task_on_NEED_ROOM(t);
		return;
	}
	scsi_task_waited(&t->scsi, t->since_ns);
	t->since_ns = reactor_now_ns();
	if (t->asks)
		task_goto(t, TASK_RECEIVE);
	else
		go_execute(t);
	iscsi_task_run(t);
}

/* Data that was asked for has come: who waited for it may ask now. */
static void turns_go_on(struct iscsi_conn *c)
{
	while (!queue_empty(&c->turns)) {
		struct iscsi_task *t = container_of(c->turns.first, struct iscsi_task, link);

		if (c->asked_bytes && c->asked_bytes + iscsi_task_room(t) > ISCSI_ASKED_BYTES_MAX)
			return;
		queue_pop(&c->turns);
		wait_ended(TURN, t->since_ns);
		scsi_task_waited(&t->scsi, t->since_ns);
		t->since_ns = reactor_now_ns();
		c->asked_bytes += iscsi_task_room(t);
		if (take_room(t))
			task_goto(t, TASK_RECEIVE);
		else
			t->waits = WAITS_BUFFERS;
		iscsi_task_run(t);
	}
}

static void give_room(struct iscsi_task *t)
{
	struct iscsi_home *h = task_conn(t)->home;

	switch ((enum task_hold)t->hold) {
	case HOLD_NOTHING:
		return;
	case HOLD_NEAR:
		break;
	case HOLD_BUFS:
		mem_give(&t->bufs);
		break;
	case HOLD_IOVS:
		gather_iovs_give(&h->iovs, t->held);
		break;
	case HOLD_HEAP:
		if (t->charged)
			mem_uncharge(h->conns->core, t->near[0].iov_len);
		free(t->near[0].iov_base);
		break;
	case HOLD_RX:
		gather_unpin(&h->rxs, t->held);
		break;
	}
	t->hold = HOLD_NOTHING;
}

bool iscsi_task_hold(struct iscsi_task *t)
{
	struct scsi_task *s = &t->scsi;

	assert(iscsi_task_room(t));
	if (take_room(t))
		return true;
	t->near[0] = (struct iovec){ malloc(iscsi_task_room(t)), iscsi_task_room(t) };
	must(t->near[0].iov_base);
	t->hold = HOLD_HEAP;
	s->iovs = t->near;
	s->iov_count = 1;
	s->iov_max = 0;
	iscsi_count(task_conn(t)->home, data_on_heap, 1);
	t->charged = mem_charge(task_conn(t)->home->conns->core, t->near[0].iov_len);
	return t->charged;
}

void iscsi_task_use_span(struct iscsi_task *t, const struct iovec *span)
{
	give_room(t);
	t->near[0] = *span;
	t->scsi.iovs = t->near;
	t->scsi.iov_count = 1;
	t->scsi.iov_max = 0;
	iscsi_count(task_conn(t)->home, in_place_writes, 1);
}

/* --- data from the initiator ------------------------------------------------------------------------------------- */

/* Data of it is to come, within a deadline. */
static void owes(struct iscsi_task *t)
{
	t->owes = true;
	task_conn(t)->owed++;
	iscsi_conn_owes_data(task_conn(t));
}

static void owes_no_more(struct iscsi_task *t)
{
	if (t->owes)
		task_conn(t)->owed--;
	t->owes = false;
}

/* Entered when unsolicited data comes, or when the room for what is to be asked for is there. */
static enum step task_on_RECEIVE(struct iscsi_task *t)
{
	struct iscsi_conn *c = task_conn(t);

	trace(ISCSI_TASK_STATE, t->itt, t->state);
	if (t->unsolicited && !t->owes)
		owes(t);
	if (t->asks && !t->asked.done && !t->out.queued && t->r2ts_out < c->params.max_outstanding_r2t)
		iscsi_send_push(c, &t->out);
	return STEP_WAIT; /* recv.c */
}

void iscsi_task_r2t_sent(struct iscsi_task *t, uint64_t now_ns)
{
	struct iscsi_conn *c = task_conn(t);

	t->since_ns = now_ns;
	t->r2ts_out++;
	iscsi_count(c->home, r2ts, 1);
	if (!t->owes)
		owes(t);
}

/* It waits for no R2T's data any more, and others may ask. */
static void asks_no_more(struct iscsi_task *t)
{
	struct iscsi_conn *c = task_conn(t);

	owes_no_more(t);
	if (!t->asks)
		return;
	t->asks = false;
	if (t->state != TASK_NEED_ROOM || t->waits != WAITS_TURN)
		c->asked_bytes -= iscsi_task_room(t);
}

static enum step data_is_here(struct iscsi_task *t)
{
	struct iscsi_conn *c = task_conn(t);

	if (t->asks) {
		asks_no_more(t);
		if (unlikely(!queue_empty(&c->turns)))
			turns_go_on(c);
		if (unlikely(c->throttled))
			iscsi_conn_update_reading(c);
	}
	t->since_ns = reactor_now_ns();
	if (unlikely(t->bad_digest) && !t->refused) {
		scsi_task_fail(&t->scsi, SCSI_ABORTED_COMMAND, 0x47, 0x05);
		t->refused = true;
	}
	return unlikely(t->refused) ? task_goto(t, TASK_SEND) : go_execute(t);
}

/* The last PDU of a sequence: of what came unasked, or of an R2T. */
void iscsi_task_sequence_end(struct iscsi_task *t)
{
	if (t->unsolicited)
		owes_no_more(t);
	t->unsolicited = false;
	if (t->r2ts_out) {
		t->r2ts_out--;
		t->data_sn = 0;
		t->r2t_sn++;
		t->r2t_end = iscsi_r2t_end(task_conn(t), t, t->offset);
	}
	if (unlikely(t->bad_digest)) {
		if (t->out.queued)
			iscsi_send_remove(task_conn(t), &t->out);
		if (t->r2ts_out) /* answered when all that was asked for has come */
			return;
		data_is_here(t);
	} else if (t->offset >= t->wanted) {
		data_is_here(t);
	} else if (t->asks) {
		t->since_ns = reactor_now_ns();
	} else { /* the rest has to be asked for */
		ask(t);
		if (t->hold == HOLD_NOTHING) {
			get_room(t);
		} else {
			task_conn(t)->asked_bytes += iscsi_task_room(t);
		}
	}
	iscsi_task_run(t);
}

/* --- the logical unit -------------------------------------------------------------------------------------------- */

bool iscsi_task_lost_lun(struct iscsi_task *t)
{
	if (t->refused || !scsi_task_lun_is_gone(&t->scsi))
		return false;
	scsi_task_fail(&t->scsi, SCSI_ILLEGAL_REQUEST, 0x25, 0x00);
	t->refused = true;
	return true;
}

/* What is missing may never come, and a LUN that was removed does not wait for that: the answer is known already. */
static void leave_lun(struct iscsi_task *t)
{
	if (!iscsi_task_lost_lun(t))
		return;
	scsi_task_free(&t->scsi);
	give_room(t);
}

void iscsi_tasks_leave_luns(struct iscsi_conn *c)
{
	for (uint32_t i = 0; c->held && i < c->touched; i++)
		if (conn_task(c, i)->state == TASK_ORDER)
			leave_lun(conn_task(c, i));
}

static enum step task_on_ORDER(struct iscsi_task *t)
{
	trace(ISCSI_TASK_STATE, t->itt, t->state);
	leave_lun(t);
	return STEP_WAIT; /* iscsi_held_go_on() */
}

void iscsi_task_in_turn(struct iscsi_task *t)
{
	t->since_ns = reactor_now_ns();
	task_goto(t, t->refused ? TASK_SEND : TASK_EXECUTE);
	iscsi_task_run(t);
}

static enum step task_on_EXECUTE(struct iscsi_task *t)
{
	struct iscsi_conn *c = task_conn(t);

	c->executing++;
	scsi_task_execute(&t->scsi);
	if (t->scsi.data == SCSI_DATA_OUT)
		pin_or_give(t);
	return STEP_WAIT;
}

/* Consumed data is not needed any more; what lies in the receive buffer and is needed keeps that buffer. */
static void pin_or_give(struct iscsi_task *t)
{
	struct iscsi_conn *c = task_conn(t);

	if (t->scsi.consumed) {
		give_room(t);
	} else if (c->span_task == t) {
		t->hold = HOLD_RX;
		t->held = gather_pin(&c->home->rxs);
	}
}

void iscsi_task_done(struct scsi_task *s)
{
	struct iscsi_task *t = task_of(s);
	struct iscsi_conn *c = task_conn(t);

	must(t->state == TASK_EXECUTE);
	c->executing--;
	t->since_ns = reactor_now_ns();
	if (unlikely(!conn_is_live(c) || (s->aborted && s->status != SCSI_TASK_ABORTED))) {
		task_goto(t, TASK_FREE);
		lose(t);
	} else if (unlikely(s->more) && s->data == SCSI_DATA_OUT) {
		iscsi_task_piece_over(t);
		iscsi_task_run(t);
	} else {
		task_goto(t, TASK_SEND);
		if (s->data == SCSI_DATA_OUT && likely(!s->lent)) /* else scsi_task_free() still goes by the iovecs */
			give_room(t);
		iscsi_task_run(t);
	}
	carry_look_soon(&c->move);
	if (unlikely(c->nexus_ending))
		iscsi_conn_maybe_gone(c);
}

/* --- long commands ----------------------------------------------------------------------------------------------- */

/* What it lay in is given back at once. */
void iscsi_task_piece_over(struct iscsi_task *t)
{
	struct scsi_task *s = &t->scsi;

	t->refused = !scsi_task_seek(s, s->base + s->moves);
	give_room(t);
	task_goto(t, TASK_NEXT);
}

/* A session that wants to move, or has logged out, need not wait for what has not begun. */
static enum step task_on_NEXT(struct iscsi_task *t)
{
	struct iscsi_conn *c = task_conn(t);

	if (carry_is_wanted(&c->move))
		return STEP_WAIT;
	if (unlikely(c->logged_out)) {
		lose(t);
		return STEP_DONE;
	}
	t->since_ns = reactor_now_ns();
	if (unlikely(t->refused))
		return task_goto(t, TASK_SEND);
	if (t->scsi.data == SCSI_DATA_OUT) {
		t->wanted = t->scsi.base + t->scsi.moves;
		t->received = t->offset = t->scsi.base;
		ask(t);
	}
	return get_room(t);
}

void iscsi_tasks_next(struct iscsi_conn *c)
{
	for (uint32_t i = 0; i < c->touched; i++)
		if (conn_task(c, i)->state == TASK_NEXT)
			iscsi_task_run(conn_task(c, i));
}

/* --- the answer -------------------------------------------------------------------------------------------------- */

static enum step task_on_SEND(struct iscsi_task *t)
{
	iscsi_send_push(task_conn(t), &t->out);
	return STEP_WAIT;
}

/* It is not answered. */
static void lose(struct iscsi_task *t)
{
	const struct iscsi_conn *c = task_conn(t);
	bool done = t->state == TASK_SEND || t->state == TASK_FREE;

	scsi_task_lost(&t->scsi, done ? t->since_ns : reactor_now_ns(), conn_is_live(c) && !c->logged_out);
	iscsi_task_end(t);
}
