/* SPDX-License-Identifier: BSD-3-Clause */
/* recv.c: from readiness to whole commands and data.
 *
 * One receive a visit, into the core's one buffer, parsed to its end: what does not fit is reported again in the next
 * pass, after others had their turn. Commands of a visit that brought several are done and answered before the next
 * connection has its turn (defer_hurry()). Data that straddles the end of a feed has its task's memory, and the
 * next receive puts its rest there directly. Data of PDUs that are no command's (NOP, text, login) is gathered beside.
 */
#include <errno.h>

#include "bdev/iov.h"
#include "iscsi/conn.h"

#define DIRECT_IOVS_MAX 64u /* of one receive: pages of a RAM disk may lie far from each other */

static void receive(struct iscsi_conn *c);
static size_t feed_bytes(const struct iscsi_conn *c);
static ssize_t receive_feed(struct iscsi_conn *c, struct gather_rx *rx);
static ssize_t receive_direct(struct iscsi_conn *c, struct gather_rx *rx);
static uint32_t direct_room(const struct iscsi_conn *c);
static void feed(struct iscsi_conn *c, const uint8_t *at, const uint8_t *end);
static void on_header(struct iscsi_conn *c);
static void on_command(struct iscsi_conn *c);
static void on_data_out(struct iscsi_conn *c);
static void on_other(struct iscsi_conn *c);
static void on_data(struct iscsi_conn *c);
static void on_end(struct iscsi_conn *c);
static void take_out_of_feed(struct iscsi_conn *c);
static void keep(struct iscsi_task *t, const void *bytes, uint32_t len);
static void hold(struct iscsi_conn *c, struct iscsi_task *t);
static void buffers_are_back(struct wait *w);

void iscsi_conn_ready(void *arg, uint32_t events)
{
	struct iscsi_conn *c = arg;

	if (events & SOCK_FAILED) {
		/* What may still lie there unread comes from an initiator that does not listen for answers. */
		iscsi_conn_lose(c, strerror(-sock_error(c->sock)));
		return;
	}
	if (events & SOCK_WRITABLE) {
		c->blocked = false;
		sock_want_write(c->sock, false);
		iscsi_send_soon(c);
	}
	if (events & SOCK_READABLE)
		receive(c);
	iscsi_conn_worked(c);
}

static void receive(struct iscsi_conn *c)
{
	struct iscsi_home *h = c->home;
	struct gather_rx *rx = h->rxs.now;
	uint64_t before = h->counters.commands;
	ssize_t n;

	n = direct_room(c) ? receive_direct(c, rx) : receive_feed(c, rx);
	iscsi_count(h, recvs, 1);
	if (unlikely(n < 0)) {
		if (n != -EAGAIN)
			iscsi_conn_lose(c, n == -ENODATA ? "the initiator closed it" : strerror((int)-n));
		return;
	}
	c->heard_ns = reactor_now_ns();
	feed(c, rx->bytes, rx->bytes + n);
	if (c->span_task)
		take_out_of_feed(c);
	if (h->counters.commands - before >= GATHER_ANSWERED_EARLY) {
		defer_hurry();
		iscsi_count(h, answered_early, 1);
	}
	if (unlikely(gather_visited(&h->rxs)))
		iscsi_count(h, rx_pinned, 1);
}

/* An initiator that was asked for data sends it in long PDUs. Taken through the feed they would be copied once more
 * than received where they belong, so that the feed is kept short then: room for what lies around the data. */
static size_t feed_bytes(const struct iscsi_conn *c)
{
	return c->owed ? ISCSI_FEED_OWED_BYTES : sizeof(c->home->rxs.now->bytes);
}

static void heard(struct iscsi_conn *c, size_t bytes)
{
	iscsi_count(c->home, recv_bytes, bytes);
	iscsi_note(&c->bytes_in, bytes);
}

/* Both return the bytes that are in the receive buffer, or a negative errno; -ENODATA is the peer's end. */
static ssize_t receive_feed(struct iscsi_conn *c, struct gather_rx *rx)
{
	ssize_t n = sock_recv(c->sock, rx->bytes, feed_bytes(c));

	if (n <= 0)
		return n ? n : -ENODATA;
	heard(c, (size_t)n);
	return n;
}

/* The rest of the data goes where it belongs, what comes behind it to the receive buffer. */
static ssize_t receive_direct(struct iscsi_conn *c, struct gather_rx *rx)
{
	struct iscsi_task *t = c->rx_task;
	struct iovec iovs[DIRECT_IOVS_MAX + 1];
	struct iov_cursor rest = iov_cursor_over(t->scsi.iovs, t->scsi.iov_count);
	uint32_t whole = direct_room(c), count, here;
	size_t room;
	ssize_t n;

	iov_skip(&rest, iscsi_task_here(t));
	count = iov_some(&rest, whole, iovs, DIRECT_IOVS_MAX, &room);
	assert(count);
	if (likely(room == whole))
		iovs[count++] = (struct iovec){ rx->bytes, feed_bytes(c) };
	n = sock_recvv(c->sock, iovs, (int)count);
	if (n <= 0)
		return n ? n : -ENODATA;
	heard(c, (size_t)n);
	here = (uint32_t)min_u64((uint64_t)n, room);
	iscsi_rx_direct_took(&c->rx, iovs, here);
	t->received += here;
	t->since_ns = reactor_now_ns();
	iscsi_count(c->home, direct_bytes, here);
	return n - here;
}

/* Bytes of the data at hand that its task still wants, and has memory for. */
static uint32_t direct_room(const struct iscsi_conn *c)
{
	const struct iscsi_task *t = c->rx_task;

	return t && t->hold != HOLD_NOTHING ? min_u32(iscsi_rx_direct_left(&c->rx), t->wanted - t->received) : 0;
}

static void feed(struct iscsi_conn *c, const uint8_t *at, const uint8_t *end)
{
	while (conn_is_live(c) && likely(!c->logged_out)) {
		switch (iscsi_rx_next(&c->rx, &at, end)) {
		case ISCSI_RX_MORE:
			return;
		case ISCSI_RX_HEADER:
			on_header(c);
			break;
		case ISCSI_RX_DATA:
			on_data(c);
			break;
		case ISCSI_RX_END:
			on_end(c);
			/* What a login is followed by is read where the session lives then. */
			if (unlikely(c->state == CONN_ADMIT) && at < end)
				iscsi_conn_lose(c, "more came before its login was answered");
			break;
		case ISCSI_RX_BAD:
			iscsi_count(c->home, header_digest_errors, 1);
			if (log_may(&c->home->complaints))
				log_warning("iSCSI: %s: a header with a wrong digest: disconnecting", iscsi_conn_name(c));
			iscsi_conn_lose(c, "a header with a wrong digest");
			break;
		}
	}
}

/* --- headers --- */

static void on_header(struct iscsi_conn *c)
{
	const union iscsi_bhs *bhs = c->rx.bhs;
	struct iscsi_fault fault;

	c->rx_task = NULL;
	iscsi_note(&c->pdus_in, 1);
	c->rx_bhs = *bhs;
	if (c->state == CONN_LOGIN) {
		on_other(c); /* the login's engine judges for itself */
		return;
	}
	if (unlikely(!iscsi_check_header(bhs, &c->as, &fault))) {
		bool goes_on = fault.reason == ISCSI_REJECT_NOT_SUPPORTED || fault.reason == ISCSI_REJECT_SNACK;

		if (goes_on && c->rx.data_len <= c->as.data_max)
			iscsi_conn_reject(c, fault.reason);
		else
			iscsi_conn_break(c, fault.reason, fault.what);
		return;
	}
	switch (iscsi_opcode(&bhs->h)) {
	case ISCSI_OP_COMMAND:
		on_command(c);
		break;
	case ISCSI_OP_DATA_OUT:
		on_data_out(c);
		break;
	default:
		on_other(c);
	}
}

/* Data that comes along is counted by the command: as much of it as was announced. */
static bool fill_command(struct iscsi_conn *c, struct iscsi_task *t)
{
	const struct iscsi_command *pdu = &c->rx_bhs.command;
	uint32_t ahs_len = iscsi_ahs_len(&c->rx_bhs.h);
	struct iscsi_command_ahs ahs = { 0 };
	struct scsi_task *s = &t->scsi;
	struct iscsi_fault fault;

	if (unlikely(ahs_len) && !iscsi_check_ahs(c->rx.ahs, ahs_len, &ahs, &fault)) {
		iscsi_conn_break(c, fault.reason, fault.what);
		return false;
	}
	t->flags = pdu->flags;
	t->expected = be32_get(pdu->expected_len);
	t->unsolicited = !(pdu->flags & ISCSI_FINAL) && (pdu->flags & ISCSI_WRITE);
	t->comes = t->unsolicited || c->rx.data_len;
	s->lun = be64_get(pdu->lun);
	s->tag = t->itt;
	s->attr = pdu->flags & ISCSI_ATTR_MASK;
	memcpy(s->cdb, pdu->cdb, sizeof(pdu->cdb));
	s->cdb_len = sizeof(pdu->cdb);
	if (unlikely(ahs.cdb_rest_len)) {
		uint32_t rest = min_u32(ahs.cdb_rest_len, SCSI_CDB_MAX - s->cdb_len);

		memcpy(s->cdb + s->cdb_len, ahs.cdb_rest, rest);
		s->cdb_len = (uint8_t)(s->cdb_len + rest);
	} else {
		memset(s->cdb + s->cdb_len, 0, SCSI_CDB_MAX - s->cdb_len);
	}
	s->expected_in = pdu->flags & ISCSI_READ ? t->expected : 0;
	s->expected_out = pdu->flags & ISCSI_WRITE ? t->expected : 0;
	return true;
}

static void on_command(struct iscsi_conn *c)
{
	const struct iscsi_command *pdu = &c->rx_bhs.command;
	bool immediate = iscsi_is_immediate(&c->rx_bhs.h);
	uint32_t itt = be32_get(pdu->itt);
	enum cmd_sn came;
	struct iscsi_task *t;

	if (unlikely(c->state != CONN_READY)) {
		iscsi_conn_break(c, ISCSI_REJECT_PROTOCOL_ERROR, "a command in a discovery session");
		return;
	}
	came = iscsi_cmd_sn_came(c, &c->rx_bhs.h, be32_get(pdu->cmd_sn));
	if (unlikely(came == CMD_SN_IGNORE))
		return;
	iscsi_count(c->home, commands, 1);
	iscsi_note(&c->commands_in, 1);
	t = iscsi_task_find(c, itt) ? NULL : iscsi_task_take(c, immediate, came == CMD_SN_NEXT);
	if (unlikely(!t)) {
		if (came == CMD_SN_AHEAD)
			iscsi_cmd_sn_skip(c, be32_get(pdu->cmd_sn)); /* it was seen */
		iscsi_conn_reject(c, iscsi_task_find(c, itt) ? ISCSI_REJECT_IN_PROGRESS : ISCSI_REJECT_IMMEDIATE);
		return;
	}
	iscsi_task_tag(t, itt);
	t->cmd_sn = be32_get(pdu->cmd_sn);
	if (unlikely(!fill_command(c, t)))
		return; /* the connection ends, and the task with it */
	iscsi_task_run(t);
	if (t->state == TASK_RECEIVE && c->rx.data_len)
		c->rx_task = t;
}

/* The task, and which part of its data may come next. NULL: nobody waits for it. */
static struct iscsi_task *receiver_of(struct iscsi_conn *c, const struct iscsi_data_out *pdu,
                                      struct iscsi_transfer *ret)
{
	uint32_t ttt = be32_get(pdu->ttt), index = ttt & 0xffff;
	struct iscsi_task *t;

	if (ttt == ISCSI_TAG_NONE) {
		t = iscsi_task_find(c, be32_get(pdu->itt));
		if (!t || t->state != TASK_RECEIVE || !t->unsolicited)
			return NULL;
		*ret = (struct iscsi_transfer){ .ttt = ttt, .lun = t->scsi.lun, .data_sn = t->data_sn, .next = t->offset,
		                                .end = min_u32(t->expected, c->params.first_burst),
		                                .may_end_early = true };
		return t;
	}
	t = index < c->touched ? conn_task(c, index) : NULL;
	if (!t || t->state != TASK_RECEIVE || !t->r2ts_out || ttt != iscsi_task_ttt(t, t->r2t_sn) ||
	    t->itt != be32_get(pdu->itt))
		return NULL;
	*ret = (struct iscsi_transfer){ .ttt = ttt, .lun = t->scsi.lun, .data_sn = t->data_sn, .next = t->offset,
	                                .end = t->r2t_end };
	return t;
}

/* Only its DataSN is wrong: one before it was lost to a digest error, says RFC 7143 7.9. Without recovery that is the
 * end of the command, not of the session. */
static bool is_out_of_sequence(struct iscsi_task *t, const struct iscsi_data_out *pdu, struct iscsi_transfer *next,
                               struct iscsi_fault *fault)
{
	next->data_sn = be32_get(pdu->data_sn);
	if (next->data_sn == t->data_sn || !iscsi_check_data_out(pdu, next, fault))
		return false;
	t->data_sn = next->data_sn;
	t->bad_digest = true;
	return true;
}

static void on_data_out(struct iscsi_conn *c)
{
	const struct iscsi_data_out *pdu = &c->rx_bhs.data_out;
	struct iscsi_transfer next;
	struct iscsi_task *t;
	struct iscsi_fault fault;

	if (unlikely(c->state != CONN_READY)) {
		iscsi_conn_break(c, ISCSI_REJECT_PROTOCOL_ERROR, "data in a discovery session");
		return;
	}
	iscsi_count(c->home, data_out_pdus, 1);
	t = receiver_of(c, pdu, &next);
	if (unlikely(!t)) {
		/* Its command was not taken, or was aborted meanwhile: the initiator may not know yet. */
		if (be32_get(pdu->ttt) == ISCSI_TAG_NONE || c->aborted_asked)
			iscsi_count(c->home, ignored, 1);
		else
			iscsi_conn_break(c, ISCSI_REJECT_INVALID_FIELD, "target transfer tag: of no R2T that waits for data");
		return;
	}
	if (unlikely(!iscsi_check_data_out(pdu, &next, &fault)) && !is_out_of_sequence(t, pdu, &next, &fault)) {
		iscsi_conn_break(c, fault.reason, fault.what);
		return;
	}
	t->since_ns = reactor_now_ns();
	c->rx_task = t;
}

static void on_other(struct iscsi_conn *c)
{
	assert(!c->rx_buf);
	if (!c->rx.data_len)
		return;
	if (c->state == CONN_LOGIN && c->rx.data_len > ISCSI_SEGMENT_DEFAULT) {
		iscsi_conn_lose(c, "a login request longer than can be");
		return;
	}
	c->rx_buf = malloc(c->rx.data_len);
	must(c->rx_buf);
	c->rx_buf_len = 0;
}

/* --- data --- */

/* All of the command's data is in this feed, and the device will be done with it before the feed is. Memory that was
 * lent for it is used all the same: what is copied there now is not copied later. */
static bool may_stay_in_feed(const struct iscsi_conn *c, const struct iscsi_task *t)
{
	return t->scsi.may_consume && !t->scsi.lent && !t->received && c->rx.span_len >= t->wanted && !t->asks &&
	       (c->rx_bhs.h.flags & ISCSI_FINAL) && (t->in_turn || t->immediate) && gather_may_pin(&c->home->rxs);
}

static void on_data(struct iscsi_conn *c)
{
	struct iscsi_task *t = c->rx_task;
	uint32_t len;

	if (!t) {
		if (c->rx_buf) {
			memcpy(c->rx_buf + c->rx_buf_len, c->rx.span, c->rx.span_len);
			c->rx_buf_len += c->rx.span_len;
		}
		return;
	}
	len = min_u32(c->rx.span_len, t->wanted - t->received);
	if (!len)
		return;
	if (may_stay_in_feed(c, t)) {
		c->span_task = t;
		t->received = len;
		c->span = (struct iovec){ (void *)(uintptr_t)c->rx.span, len };
		return;
	}
	if (t->hold == HOLD_NOTHING)
		hold(c, t);
	keep(t, c->rx.span, len);
}

/* A PDU whose data is wrong never came, says RFC 7143, but a command's that is not repeated: that ends with sense,
 * when the rest of its data has come. */
static void wrong_digest(struct iscsi_conn *c)
{
	iscsi_count(c->home, data_digest_errors, 1);
	if (c->rx_task)
		c->rx_task->bad_digest = true;
	iscsi_conn_reject(c, ISCSI_REJECT_DATA_DIGEST);
}

/* A whole PDU's. */
static void data_came(struct iscsi_conn *c, struct iscsi_task *t, uint8_t opcode)
{
	if (opcode == ISCSI_OP_COMMAND)
		iscsi_count(c->home, immediate_bytes, c->rx.data_len);
	else
		t->data_sn++;
	t->offset += c->rx.data_len;
	if (c->span_task)
		iscsi_task_use_span(t, &c->span);
	if (c->rx_bhs.h.flags & ISCSI_FINAL)
		iscsi_task_sequence_end(t);
	c->span_task = NULL;
}

static void on_end(struct iscsi_conn *c)
{
	struct iscsi_task *t = c->rx_task;
	uint8_t opcode = iscsi_opcode(&c->rx_bhs.h);

	if (unlikely(!c->rx.digest_good))
		wrong_digest(c);
	c->rx_task = NULL;
	if (t)
		data_came(c, t, opcode);
	else if (c->state == CONN_LOGIN || (opcode != ISCSI_OP_COMMAND && opcode != ISCSI_OP_DATA_OUT &&
	                                    opcode != ISCSI_OP_SNACK && c->rx.digest_good))
		iscsi_conn_pdu(c);
	free(c->rx_buf);
	c->rx_buf = NULL;
	if (unlikely(c->held_go_on))
		iscsi_held_go_on(c);
}

/* The end of its PDU is still to come, and the feed ends. */
static void take_out_of_feed(struct iscsi_conn *c)
{
	struct iscsi_task *t = c->span_task;

	c->span_task = NULL;
	t->received = 0;
	if (t->hold == HOLD_NOTHING)
		hold(c, t);
	keep(t, c->span.iov_base, (uint32_t)c->span.iov_len);
}

static void keep(struct iscsi_task *t, const void *bytes, uint32_t len)
{
	struct iov_cursor to = iov_cursor_over(t->scsi.iovs, t->scsi.iov_count);

	if (!len)
		return;
	iov_skip(&to, iscsi_task_here(t));
	iov_copy_in(&to, bytes, len);
	t->received += len;
}

/* --- too much at once --- */

/* Data that comes unasked must be taken, and costs memory beyond the budget when the pools are dry. So that it is not
 * much, a connection that this happens to is read on only when there are buffers again; except when it owes data:
 * others may wait for the buffers which that data sets free. */
static void hold(struct iscsi_conn *c, struct iscsi_task *t)
{
	if (iscsi_task_hold(t) || c->throttled)
		return;
	c->throttled = true;
	mem_wait(&c->throttle, t->wanted, buffers_are_back);
	iscsi_conn_update_reading(c);
}

static void buffers_are_back(struct wait *w)
{
	struct iscsi_conn *c = container_of(w, struct iscsi_conn, throttle);

	c->throttled = false;
	iscsi_conn_update_reading(c);
}
