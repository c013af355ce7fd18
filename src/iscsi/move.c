/* SPDX-License-Identifier: BSD-3-Clause */
/* move.c: what of a session is carried to another core (core/carry.h); by the scheduler or by hand.
 *
 * While it wants to move it is not read; it does not want for long: an initiator must be heard. Everything goes along
 * but what the SCSI layer has in hand: negotiated values, a half-received PDU with the data that came, R2Ts the
 * initiator has yet to answer, and bytes not yet sent.
 */
#include <errno.h>

#include "bdev/iov.h"
#include "iscsi/conn.h"

#define NO_TASK 0xffffu

static bool may_leave(struct carry *m);
static void stay(struct carry *m);
static void leave(struct carry *m, struct reactor *to, struct freeze *f);
static void settle(struct iscsi_conn *c);
static void forget(struct iscsi_conn *c);
static void arrive(struct carry *m, struct freeze *f);
static void live(struct carry *m);
static void freeze_conn(struct freeze *f, struct iscsi_conn *c, struct reactor *to);
static void freeze_framing(struct freeze *f, struct iscsi_conn *c);
static void freeze_rx_buf(struct freeze *f, struct iscsi_conn *c);
static void freeze_numbers(struct freeze *f, struct iscsi_conn *c);
static void freeze_output(struct freeze *f, struct iscsi_conn *c);
static void freeze_tasks(struct freeze *f, struct iscsi_conn *c);
static void freeze_task(struct freeze *f, struct iscsi_conn *c, uint16_t index);
static void freeze_next(struct freeze *f, struct iscsi_task *t);
static void thaw_receiving(struct iscsi_task *t);
static void freeze_data(struct freeze *f, struct iscsi_task *t);
static void rebuild_free_slots(struct iscsi_conn *c);

static const struct carry_ops carry_ops = { .what = "iSCSI: a session", .patience_ms = ISCSI_MOVE_MS,
	.may_leave = may_leave, .stay = stay, .leave = leave, .arrive = arrive, .live = live };

static struct iscsi_conn *moving(struct carry *m) { return container_of(m, struct iscsi_conn, move); }

void iscsi_conn_carry(struct iscsi_conn *c, struct reactor *to, carry_done_fn *done, void *arg)
{
	carry_start(&c->move, &carry_ops, to, c->state == CONN_READY && !c->logged_out, done, arg);
	iscsi_conn_update_reading(c);
}

/* --- leaving ----------------------------------------------------------------------------------------------------- */

static bool may_leave(struct carry *m)
{
	struct iscsi_conn *c = moving(m);

	if (c->close_soon || c->executing || c->tmfs || c->texts || c->held || c->later || c->held_go_on)
		return false; /* their end calls again; who waits for commands that are missing stays */
	if (c->flush.queued)
		carry_look_soon(m);
	return !c->flush.queued;
}

static void stay(struct carry *m)
{
	iscsi_conn_update_reading(moving(m));
	iscsi_tasks_next(moving(m));
}

static void leave(struct carry *m, struct reactor *to, struct freeze *f)
{
	struct iscsi_conn *c = moving(m);

	sched_place_left(&c->conns->place, reactor_self());
	sched_place_came(&c->conns->place, to);
	settle(c);
	freeze_conn(f, c, to);
	forget(c);
	list_del(&c->link);
	carry_goes(&c->where, to);
}

/* Come to rest: nothing of this core is waited for any more. */
static void settle(struct iscsi_conn *c)
{
	assert(!c->span_task && !c->executing);
	sock_want_write(c->sock, false);
	sock_detach(c->sock);
	c->blocked = true; /* nothing is sent from here any more */
	iscsi_send_to_raw(c, true);
	timer_stop(&c->timer);
	if (c->throttled)
		mem_wait_cancel(&c->throttle);
	c->throttled = false;
	queue_init(&c->turns);
	for (uint32_t i = 0; i < c->touched; i++) {
		struct iscsi_task *t = conn_task(c, i);

		if (t->state == TASK_FREE)
			continue;
		iscsi_task_lost_lun(t); /* where it thaws its LUN is looked up anew, and may be another disk */
		if (t->state != TASK_NEED_ROOM)
			continue;
		iscsi_task_wait_cancel(t);
		if (t->asks && t->waits != WAITS_TURN)
			c->asked_bytes -= iscsi_task_room(t);
		t->asks = false;
		t->state = t->scsi.base || t->refused ? TASK_NEXT : TASK_NEW;
	}
}

/* What was frozen is given up here, so that thawing cannot lean on it. */
static void forget(struct iscsi_conn *c)
{
	iscsi_send_forget(c);
	iscsi_task_end_all(c);
	assert(!c->in_use && !c->window_used);
	iscsi_rx_init(&c->rx);
	c->rx.state = ISCSI_RX_ON_NOTHING;
	free(c->rx_buf);
	c->rx_buf = NULL;
	c->params = (struct iscsi_params){ 0 };
	c->as = (struct iscsi_receiver){ 0 };
	c->free = NULL;
	c->touched = 0;
	c->exp_cmd_sn = c->stat_sn = 0;
	c->home = NULL;
}

/* --- arriving ---------------------------------------------------------------------------------------------------- */

static void arrive(struct carry *m, struct freeze *f)
{
	struct iscsi_conn *c = moving(m);

	c->home = iscsi_home_self(c->conns);
	iscsi_home_begin(c->home);
	list_add_tail(&c->home->list, &c->link);
	iscsi_count(c->home, moved_in, 1);
	freeze_conn(f, c, reactor_self());
	c->blocked = false;
}

static void live(struct carry *m)
{
	struct iscsi_conn *c = moving(m);

	if (!iscsi_conn_settle(c))
		return;
	iscsi_tasks_next(c);
	if (!queue_empty(&c->out))
		iscsi_send_soon(c);
}

/* --- both ways --------------------------------------------------------------------------------------------------- */

static void freeze_conn(struct freeze *f, struct iscsi_conn *c, struct reactor *to)
{
	uint16_t rx_task = c->rx_task ? c->rx_task->index : NO_TASK;

	freeze_framing(f, c);
	freeze_numbers(f, c);
	freeze_output(f, c);
	scsi_nexus_freeze(f, &c->nexus, to);
	freeze_u16(f, "conn.rx_task", &rx_task);
	freeze_tasks(f, c);
	if (f->thawing)
		c->rx_task = rx_task == NO_TASK || f->err.code ? NULL : conn_task(c, rx_task);
}

static void freeze_framing(struct freeze *f, struct iscsi_conn *c)
{
	struct iscsi_rx *rx = &c->rx;
	uint32_t stash_len = rx->stash_len;

	if (f->thawing)
		iscsi_rx_init(rx);
	freeze_raw(f, "conn.params", &c->params, sizeof(c->params));
	freeze_raw(f, "conn.as", &c->as, sizeof(c->as));
	freeze_bool(f, "rx.header_digest", &rx->header_digest);
	freeze_bool(f, "rx.data_digest", &rx->data_digest);
	freeze_bool(f, "rx.digest_good", &rx->digest_good);
	freeze_u8(f, "rx.state", &rx->state);
	freeze_u8(f, "rx.tail", &rx->tail_len);
	freeze_u32(f, "rx.data_len", &rx->data_len);
	freeze_u32(f, "rx.data_left", &rx->data_left);
	freeze_u32(f, "rx.crc", &rx->crc);
	freeze_bytes(f, "rx.stash", rx->stash, &stash_len, sizeof(rx->stash));
	rx->stash_len = (uint16_t)stash_len;
	freeze_raw(f, "rx.bhs", &c->rx_bhs, sizeof(c->rx_bhs));
	freeze_rx_buf(f, c);
}

/* Of a PDU that is no command's. */
static void freeze_rx_buf(struct freeze *f, struct iscsi_conn *c)
{
	bool there = c->rx_buf;

	freeze_bool(f, "rx.buf", &there);
	if (!there || f->err.code)
		return;
	if (f->thawing) {
		c->rx_buf = malloc(c->rx.data_len);
		must(c->rx_buf);
	}
	freeze_bytes(f, "rx.bytes", c->rx_buf, &c->rx_buf_len, c->rx.data_len);
}

static void freeze_numbers(struct freeze *f, struct iscsi_conn *c)
{
	freeze_u32(f, "conn.exp_cmd_sn", &c->exp_cmd_sn);
	freeze_u32(f, "conn.depth", &c->depth);
	freeze_u32(f, "conn.stat_sn", &c->stat_sn);
	freeze_raw(f, "conn.skipped", c->skipped, sizeof(c->skipped));
	freeze_u64(f, "conn.heard", &c->heard_ns);
	freeze_u32(f, "conn.ping_ttt", &c->ping_ttt);
	freeze_u64(f, "conn.ping", &c->ping_ns);
	freeze_u64(f, "conn.logout_by", &c->logout_by_ns);
	freeze_bool(f, "conn.aborted_asked", &c->aborted_asked);
	freeze_u32(f, "conn.slot_count", &c->slot_count);
	freeze_u32(f, "conn.touched", &c->touched);
}

/* The rest of what had been said, or begun to be said: raw bytes by now. */
static void freeze_output(struct freeze *f, struct iscsi_conn *c)
{
	uint32_t len = c->say_bytes;
	bool closes = false; /* the last of it, and then we do */

	for (const struct queue_link *l = f->thawing ? NULL : c->out.first; l; l = l->next)
		closes |= container_of(l, struct iscsi_say, out.link)->closes;
	freeze_u32(f, "out.len", &len);
	freeze_bool(f, "out.closes", &closes);
	if (!len)
		return;
	if (f->thawing) {
		struct iscsi_say *s = malloc(sizeof(*s) + len);

		must(s);
		memset(s, 0, sizeof(*s));
		s->raw = true;
		s->closes = closes;
		s->len = len;
		freeze_raw(f, "out", s->bytes, len);
		iscsi_say(c, s);
		return;
	}
	{
		uint8_t *flat = malloc(len);
		uint32_t at = 0;

		must(flat);
		for (struct queue_link *l = c->out.first; l; l = l->next) {
			const struct iscsi_say *s = container_of(l, struct iscsi_say, out.link);

			must(s->raw);
			memcpy(flat + at, s->bytes, s->len);
			at += s->len;
		}
		must(at == len);
		freeze_raw(f, "out", flat, len);
		free(flat);
	}
}

static void freeze_tasks(struct freeze *f, struct iscsi_conn *c)
{
	uint32_t count = c->in_use;

	freeze_u32(f, "tasks", &count);
	if (f->thawing) {
		for (uint32_t i = 0; i < c->touched; i++)
			iscsi_task_slot_init(c, i);
		while (count-- && !f->err.code)
			freeze_task(f, c, 0);
		rebuild_free_slots(c);
		return;
	}
	for (uint32_t i = 0; i < c->touched; i++)
		if (conn_task(c, i)->state != TASK_FREE)
			freeze_task(f, c, (uint16_t)i);
}

static void freeze_command(struct freeze *f, struct iscsi_task *t)
{
	struct scsi_task *s = &t->scsi;

	freeze_u32(f, "task.itt", &t->itt);
	freeze_u32(f, "task.cmd_sn", &t->cmd_sn);
	freeze_u32(f, "task.expected", &t->expected);
	freeze_u8(f, "task.flags", &t->flags);
	freeze_bool(f, "task.immediate", &t->immediate);
	freeze_u64(f, "task.lun", &s->lun);
	freeze_raw(f, "task.cdb", s->cdb, sizeof(s->cdb));
	freeze_u8(f, "task.cdb_len", &s->cdb_len);
	freeze_u8(f, "task.attr", &s->attr);
	freeze_u32(f, "task.expected_in", &s->expected_in);
	freeze_u32(f, "task.expected_out", &s->expected_out);
	freeze_u64(f, "task.since", &t->since_ns);
	freeze_u64(f, "task.came", &t->scsi.came_ns);
	freeze_u64(f, "task.paused", &t->scsi.paused_ns);
	freeze_u32(f, "task.waited", &t->scsi.waited);
	freeze_u32(f, "task.away", &t->scsi.away);
	freeze_u16(f, "task.generation", &t->generation);
}

static void freeze_refusal(struct freeze *f, struct iscsi_task *t)
{
	struct scsi_task *s = &t->scsi;

	freeze_bool(f, "task.refused", &t->refused);
	if (!t->refused)
		return;
	/* A unit attention, for instance, is told once: nobody can be asked again. */
	freeze_u8(f, "task.status", &s->status);
	freeze_u32(f, "task.full_len", &s->full_len);
	freeze_u8(f, "task.sense_len", &s->sense_len);
	freeze_raw(f, "task.sense", s->sense, sizeof(s->sense));
}

static void freeze_receiving(struct freeze *f, struct iscsi_task *t)
{
	struct scsi_task *s = &t->scsi;

	freeze_refusal(f, t);
	freeze_u32(f, "task.epoch", &s->epoch);
	freeze_u32(f, "task.base", &s->base);
	freeze_bool(f, "task.bad_digest", &t->bad_digest);
	freeze_bool(f, "task.unsolicited", &t->unsolicited);
	freeze_bool(f, "task.asks", &t->asks);
	freeze_bool(f, "task.owes", &t->owes);
	freeze_u32(f, "task.wanted", &t->wanted);
	freeze_u32(f, "task.received", &t->received);
	freeze_u32(f, "task.offset", &t->offset);
	freeze_u32(f, "task.data_sn", &t->data_sn);
	freeze_u32(f, "task.r2t_end", &t->r2t_end);
	freeze_u32(f, "task.r2t_sn", &t->r2t_sn);
	freeze_u16(f, "task.r2ts_out", &t->r2ts_out);
	freeze_u32(f, "task.asked", &t->asked.data);
	freeze_u32(f, "task.asked_sn", &t->asked.sn);
	freeze_bool(f, "task.asked_done", &t->asked.done);
}

static void freeze_task(struct freeze *f, struct iscsi_conn *c, uint16_t index)
{
	struct iscsi_task *t;

	freeze_u16(f, "task.index", &index);
	if (f->err.code || index >= c->touched)
		return;
	t = conn_task(c, index);
	freeze_u8(f, "task.state", &t->state);
	freeze_command(f, t);
	must(t->state == TASK_NEW || t->state == TASK_RECEIVE || t->state == TASK_NEXT);
	if (f->thawing) {
		t->scsi.tag = t->itt;
		iscsi_task_tag(t, t->itt);
		c->in_use++;
		t->in_turn = true;
		c->window_used += !t->immediate;
		watch_arm(&c->home->watch);
	}
	if (t->state == TASK_NEW) {
		uint32_t epoch = t->scsi.epoch;

		freeze_u32(f, "task.offset", &t->offset);
		freeze_u32(f, "task.epoch", &epoch);
		if (f->thawing)
			iscsi_task_run(t);
		if (f->thawing && iscsi_task_waits(t))
			t->scsi.epoch = epoch; /* what aborted it meanwhile has not been forgotten */
		return;
	}
	if (t->state == TASK_NEXT) {
		freeze_next(f, t);
		return;
	}
	freeze_receiving(f, t);
	if (f->thawing)
		thaw_receiving(t);
	if (iscsi_task_here(t))
		freeze_data(f, t);
	if (f->thawing && t->asks)
		iscsi_task_run(t);
}

/* Look at the command again. False: it is not what it was; status and sense say so. */
static bool parse_again(struct iscsi_task *t, uint32_t base)
{
	struct scsi_task *s = &t->scsi;

	s->iovs = NULL;
	s->iov_count = s->iov_max = 0;
	if (scsi_task_parse(s)) {
		if (!base)
			return true;
		if (base < s->whole)
			return scsi_task_seek(s, base);
		scsi_task_fail(s, SCSI_ABORTED_COMMAND, 0x4b, 0x00);
	}
	s->full_len = base;
	return false;
}

/* Between two pieces. It goes on when the connection has arrived. */
static void freeze_next(struct freeze *f, struct iscsi_task *t)
{
	struct scsi_task *s = &t->scsi;
	uint32_t epoch = s->epoch, base = s->base;

	freeze_refusal(f, t);
	freeze_u32(f, "task.epoch", &epoch);
	freeze_u32(f, "task.base", &base);
	freeze_u32(f, "task.asked_sn", &t->asked.sn);
	freeze_u32(f, "task.sent", &t->sent.data);
	freeze_u32(f, "task.sent_sn", &t->sent.sn);
	if (!f->thawing)
		return;
	t->refused = t->refused || !parse_again(t, base);
	s->base = base;
	s->epoch = epoch; /* what aborted it meanwhile has not been forgotten */
}

/* Data is under way, whatever this core's configuration now says of the command: it is taken, then refused. */
static void thaw_receiving(struct iscsi_task *t)
{
	struct iscsi_conn *c = task_conn(t);
	struct scsi_task *s = &t->scsi;
	uint32_t epoch = s->epoch, base = s->base;

	if (t->refused || !parse_again(t, base)) {
		t->refused = true;
		s->data = SCSI_DATA_OUT;
		s->may_lend = s->may_consume = false;
	} else if (t->wanted && (s->data != SCSI_DATA_OUT || s->moves != iscsi_task_room(t))) {
		scsi_task_fail(s, SCSI_ABORTED_COMMAND, 0x4b, 0x00);
		t->refused = true;
		s->may_lend = s->may_consume = false;
	}
	s->base = base;
	if (t->refused && t->wanted)
		s->moves = iscsi_task_room(t); /* room for what comes */
	s->epoch = epoch; /* what aborted it meanwhile has not been forgotten */
	if (t->owes)
		c->owed++;
	if (t->asks) {
		c->asked_bytes += iscsi_task_room(t);
		iscsi_task_hold(t); /* buffers, or heap memory: an R2T is out */
	}
}

static void freeze_data(struct freeze *f, struct iscsi_task *t)
{
	uint32_t len = iscsi_task_here(t);
	uint8_t *flat = malloc(len);
	struct iov_cursor at;

	must(flat);
	if (f->thawing && t->hold == HOLD_NOTHING)
		iscsi_task_hold(t);
	at = iov_cursor_over(t->scsi.iovs, t->scsi.iov_count);
	if (!f->thawing)
		iov_copy_out(flat, &at, len);
	freeze_raw(f, "task.data", flat, len);
	if (f->thawing)
		iov_copy_in(&at, flat, len);
	free(flat);
}

static void rebuild_free_slots(struct iscsi_conn *c)
{
	c->free = NULL;
	for (uint32_t i = c->touched; i-- > 0;) {
		struct iscsi_task *t = conn_task(c, i);

		if (t->state != TASK_FREE)
			continue;
		t->link.next = c->free;
		c->free = &t->link;
	}
}

/* --- by hand: control -> where it lives -> control --------------------------------------------------------------- */

static void hand_back(struct msg *msg)
{
	struct iscsi_conn *c = container_of(msg, struct iscsi_conn, hand_msg);
	struct iscsi_move *m = c->hand;

	c->hand = NULL;
	carry_explain("the session", c->hand_rc, &m->err);
	iscsi_conn_unheld(c);
	m->done(m);
}

/* It stays where it is, and free to be moved by others if it was. */
static void hand_not_moved(struct msg *msg)
{
	struct iscsi_conn *c = container_of(msg, struct iscsi_conn, hand_msg);

	if (!iscsi_conn_here(c, msg, hand_not_moved))
		return;
	c->pinned = c->hand_was_pinned;
	msg_send(core_control(c->conns->core), msg, hand_back);
}

static void hand_moved(void *arg, int rc)
{
	struct iscsi_conn *c = arg;

	c->hand_rc = rc;
	if (rc)
		hand_not_moved(&c->hand_msg);
	else
		msg_send(core_control(c->conns->core), &c->hand_msg, hand_back);
}

static void hand_here(struct msg *msg)
{
	struct iscsi_conn *c = container_of(msg, struct iscsi_conn, hand_msg);

	if (!iscsi_conn_here(c, msg, hand_here))
		return;
	c->hand_was_pinned = c->pinned;
	if (c->state != CONN_READY) {
		hand_moved(c, -ENOTCONN);
		return;
	}
	c->pinned = c->hand->pinned;
	if (c->hand_to == reactor_self())
		hand_moved(c, 0);
	else
		iscsi_conn_carry(c, c->hand_to, hand_moved, c);
}

void iscsi_conn_move(struct iscsi_target *t, struct iscsi_move *m, uint32_t id, struct reactor *to)
{
	struct iscsi_conn *c = iscsi_conns_find(t->conns, id);

	if (!c || !c->node || !c->tsih)
		err_set(&m->err, -ENODEV, "id: there is no session %u; iscsi_get_connections tells which there are", id);
	else if (c->hand)
		err_set(&m->err, -EBUSY, "the session is being moved already");
	if (m->err.code) {
		m->done(m);
		return;
	}
	c->hand = m;
	c->hand_to = to;
	c->hand_rc = 0;
	carry_send(&c->where, &c->hand_msg, hand_here);
}
