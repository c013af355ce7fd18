/* SPDX-License-Identifier: BSD-3-Clause */
/* send.c: all that a connection has to say, in one send at the end of a pass.
 *
 * Answers lie where they are: payload in the device's or the task's memory, headers are written now, into the core's
 * batch, side by side where they are neighbours on the wire. The unit is the PDU: after a short send it is known how
 * many of them are gone; of the one that was begun the header is kept as it went, since numbers in it change with
 * time, and all that follows is made anew when the socket is writable.
 *
 * StatSN is given when a status is put into a batch for the first time. MaxCmdSN counts a command's place as free in
 * the PDU that ends it: whoever has read that PDU has left us with a free slot.
 */
#include <errno.h>

#include "base/crc32c.h"
#include "bdev/iov.h"
#include "iscsi/conn.h"

/* Of one PDU: header and digest, sense, padding and digest. */
#define PDU_BYTES_MAX (ISCSI_BHS_SIZE + 2 * ISCSI_DIGEST_SIZE + 2 + SCSI_SENSE_MAX + 4)
#define PDU_IOVS_MIN 4u /* headers, tail, and what lies flat */

/* A PDU that is about to be written. */
struct pdu {
	union iscsi_bhs bhs;
	const struct iscsi_task *task; /* whose payload it is, from data_at on; or ... */
	const void *flat;              /* ... a payload that lies here until it was sent; or neither: in `sense` */
	uint32_t data_at, data_len;
	bool raw;                      /* flat is all of it */
	uint8_t sense[2 + SCSI_SENSE_MAX];
};

static bool send_batch(struct iscsi_conn *c);
static bool fits(const struct gather_batch *b, const struct iscsi_out *o);
static void restart(struct iscsi_out *o);
static bool next_pdu(struct iscsi_conn *c, struct iscsi_out *o, struct pdu *p);
static bool say_pdu(struct iscsi_conn *c, struct iscsi_say *s, struct pdu *p);
static bool r2t_pdu(struct iscsi_conn *c, struct iscsi_task *t, struct pdu *p);
static bool answer_pdu(struct iscsi_conn *c, struct iscsi_task *t, struct pdu *p);
static bool data_in_pdu(struct iscsi_conn *c, struct iscsi_task *t, uint32_t to_send, struct pdu *p);
static void put(struct gather_batch *b, struct iscsi_conn *c, const struct pdu *p, const uint8_t *head);
static void put_data(struct gather_batch *b, struct iscsi_conn *c, const struct pdu *p);
static const void *data_after(const struct iscsi_task *t, const struct iov_cursor *rest);
static uint32_t put_header(struct iscsi_conn *c, const struct pdu *p, uint8_t *at);
static uint32_t wire_len(const struct iscsi_conn *c, const struct pdu *p);
/* What is left of the first in the line when its draft is gone. */
enum rest {
	REST_OUT,   /* it has more to say */
	REST_NONE,  /* it has left the line */
	REST_NEXT,  /* that, and is a long command whose next piece may begin: iscsi_task_run() */
};
static enum rest commit(struct iscsi_conn *c, struct iscsi_out *o, uint64_t now_ns);
static bool commit_and_go_on(struct iscsi_conn *c, uint64_t now_ns);
static void sent(struct iscsi_conn *c, size_t len);

static struct iscsi_task *out_task(const struct iscsi_out *o)
{
	return container_of(o, struct iscsi_task, out);
}

static struct iscsi_say *out_say(const struct iscsi_out *o)
{
	return container_of(o, struct iscsi_say, out);
}

static struct iscsi_out *out_of(struct queue_link *l)
{
	return container_of(l, struct iscsi_out, link);
}

void iscsi_send_soon(struct iscsi_conn *c)
{
	if (!c->blocked)
		defer_last(&c->flush, iscsi_send_flush);
}

void iscsi_send_push(struct iscsi_conn *c, struct iscsi_out *o)
{
	assert(!o->queued);
	o->queued = true;
	o->drafted = false;
	queue_push(&c->out, &o->link);
	iscsi_send_soon(c);
}

void iscsi_send_flush(struct defer *d)
{
	struct iscsi_conn *c = container_of(d, struct iscsi_conn, flush);

	for (uint32_t i = 0; c->sock && !c->blocked && !queue_empty(&c->out); i++) {
		if (i == ISCSI_BATCHES_A_PASS) {
			defer_last(&c->flush, iscsi_send_flush);
			iscsi_conn_worked(c);
			return;
		}
		if (!send_batch(c))
			break;
	}
	iscsi_conn_worked(c);
	if (c->sock && c->close_soon && queue_empty(&c->out))
		iscsi_conn_said_all(c);
}

/* False: no more now. */
static bool send_batch(struct iscsi_conn *c)
{
	struct gather_batch *b = c->home->batch;
	const uint8_t *head = c->head_sent ? c->head : NULL;
	uint32_t max_cmd_sn = conn_max_cmd_sn(c);
	struct queue_link *l;
	struct pdu p;
	ssize_t n;

	gather_begin(b);
	c->batch_max = max_cmd_sn;
	for (l = c->out.first; l && fits(b, out_of(l)); l = l->next) {
		struct iscsi_out *o = out_of(l);

		o->drafted = true;
		restart(o);
		while (fits(b, o) && next_pdu(c, o, &p)) {
			put(b, c, &p, head);
			head = NULL;
		}
		if (!fits(b, o)) { /* it has more to say, perhaps: nobody overtakes it who needs less room */
			l = l->next;
			break;
		}
	}
	if (l)
		out_of(l)->drafted = false; /* not even begun */
	if (c->head_sent)
		gather_trim(b, c->head_sent);
	n = sock_send(c->sock, b->iovs, (int)b->count);
	iscsi_count(c->home, sends, 1);
	if (unlikely(n < 0 && n != -EAGAIN)) {
		iscsi_conn_lose(c, strerror((int)-n));
		return false;
	}
	if (n > 0) {
		iscsi_count(c->home, sent_bytes, (uint64_t)n);
		iscsi_note(&c->bytes_out, (uint64_t)n);
	}
	if (likely(n == (ssize_t)b->total)) {
		uint64_t now_ns = reactor_now_ns();

		c->head_sent = 0;
		while (!queue_empty(&c->out) && out_of(c->out.first)->drafted && commit_and_go_on(c, now_ns))
			;
		return true;
	}
	iscsi_count(c->home, short_sends, 1);
	c->batch_max = max_cmd_sn;
	if (n > 0)
		sent(c, (size_t)n);
	c->blocked = true;
	iscsi_conn_is_blocked(c);
	sock_want_write(c->sock, true);
	return false;
}

/* --- what comes next --------------------------------------------------------------------------------------------- */

static bool fits(const struct gather_batch *b, const struct iscsi_out *o)
{
	uint32_t iovs = o->is_task && out_task(o)->state == TASK_SEND ? out_task(o)->scsi.iov_count : 0;

	return b->total < GATHER_BYTES_MAX && gather_fits(b, PDU_BYTES_MAX, iovs + PDU_IOVS_MIN);
}

/* To where it has been sent. */
static void restart(struct iscsi_out *o)
{
	if (o->is_task)
		out_task(o)->draft = out_task(o)->state == TASK_SEND ? out_task(o)->sent : out_task(o)->asked;
	else
		out_say(o)->drafted = false;
}

/* The PDU after the draft, which goes on. False: there is none, or not now. */
static bool next_pdu(struct iscsi_conn *c, struct iscsi_out *o, struct pdu *p)
{
	p->task = NULL;
	p->flat = NULL;
	p->raw = false;
	if (!o->is_task)
		return say_pdu(c, out_say(o), p);
	return out_task(o)->state == TASK_SEND ? answer_pdu(c, out_task(o), p) : r2t_pdu(c, out_task(o), p);
}

/* They lie at the same place in every PDU. */
static void number(const struct iscsi_conn *c, struct pdu *p, uint32_t stat_sn)
{
	p->bhs.nop_in.stat_sn = be32_of(stat_sn);
	p->bhs.nop_in.exp_cmd_sn = be32_of(c->exp_cmd_sn);
	p->bhs.nop_in.max_cmd_sn = be32_of(c->batch_max);
}

static bool say_pdu(struct iscsi_conn *c, struct iscsi_say *s, struct pdu *p)
{
	if (s->drafted)
		return false;
	s->drafted = true;
	p->flat = s->bytes;
	p->data_len = s->len;
	p->raw = s->raw;
	if (s->raw)
		return true;
	if (!s->numbered) {
		s->stat_sn = c->stat_sn;
		c->stat_sn += s->takes_stat_sn;
		s->numbered = true;
	}
	p->bhs = s->bhs;
	if (!s->as_it_is)
		number(c, p, s->stat_sn);
	return true;
}

static bool r2t_pdu(struct iscsi_conn *c, struct iscsi_task *t, struct pdu *p)
{
	struct task_at *at = &t->draft;
	uint32_t end;

	if (at->data == t->wanted || t->r2ts_out + (at->sn - t->asked.sn) >= c->params.max_outstanding_r2t)
		return false;
	end = iscsi_r2t_end(c, t, at->data);
	p->data_len = 0;
	p->bhs.r2t = (struct iscsi_r2t){
		.opcode = ISCSI_OP_R2T, .flags = ISCSI_FINAL, .lun = be64_of(t->scsi.lun), .itt = be32_of(t->itt),
		.ttt = be32_of(iscsi_task_ttt(t, at->sn)), .r2t_sn = be32_of(at->sn), .offset = be32_of(at->data),
		.desired_len = be32_of(end - at->data),
	};
	number(c, p, c->stat_sn);
	at->data = end;
	at->sn++;
	return true;
}

/* --- a command's answer, or of a long command a piece of it --- */

static uint32_t data_to_send(const struct iscsi_task *t)
{
	if (t->scsi.data != SCSI_DATA_IN || t->scsi.aborted)
		return 0;
	return min_u32(t->scsi.base + t->scsi.sent_len, t->scsi.expected_in);
}

/* Flags; *ret_count bytes too few or too many. */
static uint8_t residual(const struct iscsi_task *t, uint32_t *ret_count)
{
	const struct scsi_task *s = &t->scsi;
	uint32_t expected = s->data == SCSI_DATA_IN ? s->expected_in : s->data == SCSI_DATA_OUT ? s->expected_out :
	                    t->expected;

	if (likely(s->full_len == expected)) {
		*ret_count = 0;
		return 0;
	}
	*ret_count = s->full_len > expected ? s->full_len - expected : expected - s->full_len;
	return s->full_len > expected ? ISCSI_OVERFLOW : ISCSI_UNDERFLOW;
}

/* It is the command's last PDU: its status has a number, and its place in the window is free. */
static void ends(struct iscsi_conn *c, struct iscsi_task *t, struct pdu *p)
{
	if (!t->numbered) {
		t->stat_sn = c->stat_sn++;
		t->numbered = true;
	}
	t->draft.done = true;
	c->batch_max += !t->immediate && t->in_turn;
	number(c, p, t->stat_sn);
}

static bool answer_pdu(struct iscsi_conn *c, struct iscsi_task *t, struct pdu *p)
{
	const struct scsi_task *s = &t->scsi;
	uint32_t to_send = data_to_send(t), count;

	if (t->draft.done)
		return false;
	if (t->draft.data < to_send)
		return data_in_pdu(c, t, to_send, p);
	if (unlikely(s->more))
		return false;
	p->bhs.response = (struct iscsi_response){
		.opcode = ISCSI_OP_RESPONSE, .flags = ISCSI_FINAL | residual(t, &count), .status = s->status,
		.itt = be32_of(t->itt),
		.exp_data_sn = be32_of(t->draft.sn), /* R2Ts do not count where there is no Data-In */
	};
	p->bhs.response.residual = be32_of(count);
	p->data_len = 0;
	if (s->status == SCSI_CHECK_CONDITION && s->sense_len) {
		p->sense[0] = 0;
		p->sense[1] = s->sense_len;
		memcpy(p->sense + 2, s->sense, s->sense_len);
		p->data_len = 2u + s->sense_len;
		p->bhs.response.data_len = be24_of(p->data_len);
	}
	ends(c, t, p);
	return true;
}

/* As much as they take in a PDU, and in a burst. The last one stands for the response when there is no more to say. */
static bool data_in_pdu(struct iscsi_conn *c, struct iscsi_task *t, uint32_t to_send, struct pdu *p)
{
	struct task_at *at = &t->draft;
	uint32_t burst = c->params.max_burst - at->data % c->params.max_burst, count;
	uint32_t len = min_u32(min_u32(to_send - at->data, c->params.max_send), burst);
	bool all = at->data + len == to_send, last = all && likely(!t->scsi.more);

	p->task = t;
	p->data_at = at->data;
	p->data_len = len;
	p->bhs.data_in = (struct iscsi_data_in){
		.opcode = ISCSI_OP_DATA_IN, .flags = all || len == burst ? ISCSI_FINAL : 0, .data_len = be24_of(len),
		.itt = be32_of(t->itt), .ttt = be32_of(ISCSI_TAG_NONE), .data_sn = be32_of(at->sn),
		.offset = be32_of(at->data),
	};
	at->sn++;
	at->data += len;
	if (!last || t->scsi.status != SCSI_GOOD) {
		number(c, p, 0);
		return true;
	}
	p->bhs.data_in.flags |= ISCSI_STATUS | residual(t, &count);
	p->bhs.data_in.residual = be32_of(count);
	ends(c, t, p);
	return true;
}

/* --- putting it together ----------------------------------------------------------------------------------------- */

/* `head`: the header as it went, of a PDU that was begun. */
static void put(struct gather_batch *b, struct iscsi_conn *c, const struct pdu *p, const uint8_t *head)
{
	uint32_t size = ISCSI_BHS_SIZE + (c->params.header_digest ? ISCSI_DIGEST_SIZE : 0);

	if (p->raw) {
		gather_data(b, p->flat, p->data_len);
		return;
	}
	if (unlikely(head))
		memcpy(gather_at(b), head, size);
	else
		put_header(c, p, gather_at(b));
	gather_wrote(b, size);
	if (p->data_len)
		put_data(b, c, p);
}

static void put_le32(uint8_t *at, uint32_t v)
{
	le32 x = le32_of(v);

	memcpy(at, &x, sizeof(x));
}

static uint32_t put_header(struct iscsi_conn *c, const struct pdu *p, uint8_t *at)
{
	memcpy(at, &p->bhs, ISCSI_BHS_SIZE);
	if (!c->params.header_digest)
		return ISCSI_BHS_SIZE;
	put_le32(at + ISCSI_BHS_SIZE, crc32c_finish(crc32c_update(CRC32C_START, at, ISCSI_BHS_SIZE)));
	return ISCSI_BHS_SIZE + ISCSI_DIGEST_SIZE;
}

/* Data, padding, digest. */
static void put_data(struct gather_batch *b, struct iscsi_conn *c, const struct pdu *p)
{
	uint32_t pad = iscsi_pad(p->data_len), crc = CRC32C_START;
	bool digest = c->params.data_digest;
	uint8_t *tail;

	if (p->task) {
		struct iov_cursor from = iov_cursor_over(p->task->scsi.iovs, p->task->scsi.iov_count);
		size_t n;

		iov_skip(&from, p->data_at - p->task->scsi.base);
		for (uint32_t left = p->data_len; left; left -= (uint32_t)n) {
			const void *at = iov_next(&from, left, &n);

			gather_data(b, at, n);
			if (digest)
				crc = crc32c_update_ahead(crc, at, n, data_after(p->task, &from));
		}
	} else if (p->flat) {
		gather_data(b, p->flat, p->data_len);
		if (digest)
			crc = crc32c_update(crc, p->flat, p->data_len);
	} else {
		memcpy(gather_at(b), p->sense, p->data_len);
		if (digest)
			crc = crc32c_update(crc, p->sense, p->data_len);
		gather_wrote(b, p->data_len);
	}
	if (!pad && !digest)
		return;
	tail = gather_at(b);
	memset(tail, 0, pad);
	if (digest)
		put_le32(tail + pad, crc32c_finish(crc32c_update(crc, tail, pad)));
	gather_wrote(b, pad + (digest ? ISCSI_DIGEST_SIZE : 0));
}

/* The next that has a digest: the rest of this answer, or the one behind it. */
static const void *data_after(const struct iscsi_task *t, const struct iov_cursor *rest)
{
	const struct iscsi_out *next = t->out.link.next ? out_of(t->out.link.next) : NULL;
	const void *own = iov_peek(rest);

	if (own)
		return own;
	if (!next || !next->is_task || out_task(next)->state != TASK_SEND || !data_to_send(out_task(next)))
		return NULL;
	return out_task(next)->scsi.iovs[0].iov_base;
}

static uint32_t wire_len(const struct iscsi_conn *c, const struct pdu *p)
{
	if (p->raw)
		return p->data_len;
	return ISCSI_BHS_SIZE + (c->params.header_digest ? ISCSI_DIGEST_SIZE : 0) + p->data_len + iscsi_pad(p->data_len) +
	       (p->data_len && c->params.data_digest ? ISCSI_DIGEST_SIZE : 0);
}

/* --- taking it apart --------------------------------------------------------------------------------------------- */

static void pop(struct iscsi_conn *c, struct iscsi_out *o)
{
	assert(c->out.first == &o->link);
	queue_pop(&c->out);
	o->queued = false;
}

/* All that was drafted of the first in the line is gone. */
static enum rest commit(struct iscsi_conn *c, struct iscsi_out *o, uint64_t now_ns)
{
	struct iscsi_task *t;

	if (!o->is_task) {
		struct iscsi_say *s = out_say(o);

		if (!s->drafted)
			return REST_OUT;
		pop(c, o);
		iscsi_note(&c->pdus_out, !s->raw);
		if (s->closes)
			c->close_soon = true;
		iscsi_say_end(c, s);
		return REST_NONE;
	}
	t = out_task(o);
	if (t->state == TASK_SEND) {
		iscsi_note(&c->pdus_out, t->draft.sn - t->sent.sn + t->draft.done);
		iscsi_count(c->home, data_in_pdus, t->draft.sn - t->sent.sn);
		t->sent = t->draft;
		if (unlikely(t->scsi.more) && t->sent.data == data_to_send(t)) {
			pop(c, o);
			iscsi_task_piece_over(t);
			return REST_NEXT;
		}
		if (!t->sent.done)
			return REST_OUT;
		pop(c, o);
		scsi_task_sent(&t->scsi, t->since_ns, now_ns);
		iscsi_task_end(t);
		return REST_NONE;
	}
	iscsi_note(&c->pdus_out, t->draft.sn - t->asked.sn);
	for (; t->asked.sn != t->draft.sn; t->asked.sn++)
		iscsi_task_r2t_sent(t, now_ns);
	t->asked.data = t->draft.data;
	t->asked.done = t->asked.data == t->wanted;
	if (!t->asked.done && t->r2ts_out < c->params.max_outstanding_r2t)
		return REST_OUT;
	pop(c, o);
	return REST_NONE;
}

/* False: the first has more to say. */
static bool commit_and_go_on(struct iscsi_conn *c, uint64_t now_ns)
{
	struct iscsi_out *o = out_of(c->out.first);
	enum rest rest = commit(c, o, now_ns);

	if (unlikely(rest == REST_NEXT))
		iscsi_task_run(out_task(o));
	return rest != REST_OUT;
}

/* So many bytes of a batch, but not all, are gone. */
static void sent(struct iscsi_conn *c, size_t len)
{
	uint64_t now_ns = reactor_now_ns();
	bool begun = c->head_sent; /* its header is kept already */
	struct pdu p;

	len += c->head_sent;
	while (!queue_empty(&c->out)) {
		struct iscsi_out *o = out_of(c->out.first);

		restart(o);
		must(next_pdu(c, o, &p));
		if (len < wire_len(c, &p)) {
			if (len && !begun && !p.raw)
				put_header(c, &p, c->head);
			c->head_sent = (uint32_t)len;
			return;
		}
		len -= wire_len(c, &p);
		begun = false;
		commit_and_go_on(c, now_ns);
	}
	must(!len);
	c->head_sent = 0;
}

/* --- taking it back ---------------------------------------------------------------------------------------------- */

static struct iscsi_say *raw_of(const struct gather_batch *b)
{
	struct iscsi_say *s = iscsi_say_make(0, NULL, 0);
	uint32_t at = 0;

	s = realloc(s, sizeof(*s) + b->total);
	must(s);
	s->raw = true;
	s->len = (uint32_t)b->total;
	for (uint32_t i = 0; i < b->count; i++) {
		memcpy(s->bytes + at, b->iovs[i].iov_base, b->iovs[i].iov_len);
		at += (uint32_t)b->iovs[i].iov_len;
	}
	return s;
}

void iscsi_send_to_raw(struct iscsi_conn *c, bool all)
{
	struct gather_batch *b = c->home->batch;
	struct queue raws;
	struct pdu p;

	queue_init(&raws);
	c->batch_max = conn_max_cmd_sn(c);
	while (!queue_empty(&c->out) && (all || c->head_sent)) {
		struct iscsi_out *o = out_of(c->out.first);
		struct iscsi_say *s;

		restart(o);
		must(next_pdu(c, o, &p));
		gather_begin(b);
		put(b, c, &p, c->head_sent ? c->head : NULL);
		if (c->head_sent)
			gather_trim(b, c->head_sent);
		c->head_sent = 0;
		s = raw_of(b);
		if (!o->is_task) {
			s->closes = out_say(o)->closes;
			out_say(o)->closes = false;
		}
		c->says++;
		c->say_bytes += s->len;
		s->out.queued = true;
		queue_push(&raws, &s->out.link);
		commit(c, o, reactor_now_ns());
	}
	if (queue_empty(&raws))
		return;
	*raws.last = c->out.first;
	if (queue_empty(&c->out))
		c->out.last = raws.last;
	c->out.first = raws.first;
	iscsi_send_soon(c);
}

void iscsi_send_remove(struct iscsi_conn *c, struct iscsi_out *o)
{
	if (c->head_sent && c->out.first == &o->link)
		iscsi_send_to_raw(c, false);
	if (!o->queued)
		return;
	queue_remove(&c->out, &o->link);
	o->queued = false;
}

/* Nothing of it will be sent any more; tasks are ended by who calls. */
void iscsi_send_forget(struct iscsi_conn *c)
{
	struct queue_link *l;

	while ((l = queue_pop(&c->out))) {
		out_of(l)->queued = false;
		if (!out_of(l)->is_task)
			iscsi_say_end(c, out_say(out_of(l)));
	}
	c->head_sent = 0;
}

void iscsi_send_drop_tasks(struct iscsi_conn *c)
{
	struct queue kept;
	struct queue_link *l;

	assert(!c->head_sent);
	queue_init(&kept);
	while ((l = queue_pop(&c->out))) {
		if (out_of(l)->is_task)
			out_of(l)->queued = false;
		else
			queue_push(&kept, l);
	}
	while ((l = queue_pop(&kept)))
		queue_push(&c->out, l);
}
