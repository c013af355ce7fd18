/* SPDX-License-Identifier: BSD-3-Clause */
/* wire.c: what becomes of the work requests of a simulated connection.
 *
 *     queued    posted; begun in order, READs only up to the depth, after a fence no sooner than READs before it ended
 *     flying    on their way; executed by the other side in order, as soon as it can: a SEND needs a receive
 *     back      executed; the acknowledgement, or what a READ read, is on its way; completed in order
 *
 * Memory of who sends or writes is read, and memory of the other side written, when a request arrives; the other way
 * round for a READ, whose bytes arrive with the answer.
 */
#include <stdio.h>

#include "verbs/sim/inside.h"

#define AGAIN_PART 16u         /* of give_up_ns: how often something lost is sent again */
#define NOT_READY_NS (20 * NS_PER_US)

static void fly(struct sim_event *e);
static bool execute(struct sim_conn *c, struct sim_conn *to, struct sim_wqe *w);
static bool deliver_send(struct sim_conn *c, struct sim_conn *to, struct sim_wqe *w);
static void deliver_write(struct sim_conn *c, struct sim_conn *to, struct sim_wqe *w);
static void deliver_read(struct sim_conn *c, struct sim_conn *to, struct sim_wqe *w);
static void refuse(struct sim_conn *to, struct sim_wqe *w, enum verbs_status status);
static void send_back(struct sim_conn *c, struct sim_wqe *w);
static void answer(struct sim_event *e);
static void complete(struct sim_conn *c, struct sim_wqe *w, enum verbs_status status);
static void flush(struct sim_event *e);
static struct sim_cq *cq_of(const struct sim_conn *c);

void sim_wire_init(struct sim_conn *c)
{
	list_init(&c->queued);
	list_init(&c->flying);
	list_init(&c->back);
	list_init(&c->recvs);
}

static struct sim_wqe *first(struct list *l) { return list_first(l, struct sim_wqe, link); }

bool sim_wire_lost(const struct sim_conn *c, const struct sim_conn *peer)
{
	return c->silent || !peer || sim_is_lost(c->adapter, peer->adapter);
}

/* --- there ---------------------------------------------------------------------------------------- */

void sim_wire_pump(struct sim_conn *c)
{
	struct sim_wqe *w;

	if (c->qp != SIM_QP_READY)
		return;
	while ((w = first(&c->queued))) {
		if ((w->op == VERBS_READ && c->reads_out >= c->read_depth) || (w->fence && c->reads_out))
			return;
		c->reads_out += w->op == VERBS_READ;
		list_del(&w->link);
		w->at_ns = c->fly_ns = max_u64(sim_now_ns() + sim_latency_ns(c->adapter, c->peer ? c->peer->adapter : NULL),
		                               c->fly_ns + 1);
		if (list_empty(&c->flying))
			sim_event_at(&c->fly, w->at_ns, fly);
		list_add_tail(&c->flying, &w->link);
	}
}

/* False: long enough. */
static bool try_again(const struct sim_conn *c, struct sim_wqe *w, struct sim_event *e,
                      void (*fn)(struct sim_event *e))
{
	uint64_t now = sim_now_ns(), all = c->ack_ns ? c->ack_ns * (c->params.retries + 1) : sim_verbs.opts.give_up_ns;

	if (!w->since_ns)
		w->since_ns = now;
	if (now - w->since_ns >= all)
		return false;
	sim_event_at(e, now + max_u64(1, all / AGAIN_PART), fn);
	return true;
}

static void fly(struct sim_event *e)
{
	struct sim_conn *c = container_of(e, struct sim_conn, fly);
	struct sim_wqe *w = first(&c->flying), *next;
	struct sim_conn *to = c->peer;

	must(w);
	if (sim_wire_lost(c, to) || to->qp == SIM_QP_NONE || to->qp == SIM_QP_BROKEN) {
		if (!try_again(c, w, e, fly)) {
			w->status = VERBS_RETRIES;
			send_back(c, w);
		}
		return;
	}
	if (to->qp != SIM_QP_READY) {
		sim_event_at(e, sim_now_ns() + NOT_READY_NS, fly);
		return;
	}
	w->since_ns = 0;
	if (!execute(c, to, w))
		return; /* no receive; it tries again */
	send_back(c, w);
	next = first(&c->flying);
	if (next && !w->status)
		sim_event_at(e, max_u64(next->at_ns, sim_now_ns() + 1), fly);
}

static bool execute(struct sim_conn *c, struct sim_conn *to, struct sim_wqe *w)
{
	sim_note(w->op);
	switch (w->op) {
	case VERBS_WRITE:
		deliver_write(c, to, w);
		return true;
	case VERBS_READ:
		deliver_read(c, to, w);
		return true;
	default:
		return deliver_send(c, to, w);
	}
}

/* --- memory --------------------------------------------------------------------------------------- */

/* Where the bytes of some pieces go, or come from, one after the other. */
struct cursor {
	const struct sim_adapter *adapter;
	const struct verbs_sge *sges;
	uint32_t count, at;
	const char *what;
};

static uint8_t *piece(struct cursor *s, uint32_t len, uint32_t *ret_len)
{
	const struct verbs_sge *g;

	while (s->count && s->at == s->sges->len) {
		s->sges++;
		s->count--;
		s->at = 0;
	}
	must(s->count);
	g = s->sges;
	if (!sim_mr_find(s->adapter, g->lkey, g->addr, g->len, false))
		sim_verbs_fault("memory of adapter %s is not registered any more when it %s", s->adapter->info.name, s->what);
	*ret_len = min_u32(len, g->len - s->at);
	return (uint8_t *)(uintptr_t)g->addr + s->at;
}

static void put(struct cursor *s, const uint8_t *from, uint32_t len)
{
	for (uint32_t n; len; len -= n, from += n, s->at += n) {
		uint8_t *to = piece(s, len, &n);

		memcpy(to, from, n);
	}
}

static void get(struct cursor *s, uint8_t *to, uint32_t len)
{
	for (uint32_t n; len; len -= n, to += n, s->at += n) {
		uint8_t *from = piece(s, len, &n);

		memcpy(to, from, n);
	}
}

/* All that a request carries, as it is now. The caller frees it. */
static uint8_t *gather(struct sim_conn *c, const struct sim_wqe *w)
{
	struct cursor from = { c->adapter, w->sges, w->sge_count, 0, "is sent" };
	uint8_t *bytes = base_zalloc(w->len + 1);

	if (w->bytes)
		memcpy(bytes, w->bytes, w->len);
	else if (w->len)
		get(&from, bytes, w->len);
	return bytes;
}

static uint64_t sum_of(const uint8_t *bytes, uint32_t len)
{
	uint64_t sum = len, word;

	for (; len >= sizeof(word); len -= sizeof(word), bytes += sizeof(word)) {
		memcpy(&word, bytes, sizeof(word));
		sum = (sum ^ word) * 0x9e3779b97f4a7c15u;
	}
	while (len--)
		sum = (sum ^ *bytes++) * 0x100000001b3u;
	return sum;
}

/* It may have to be sent again until it is complete. */
static void check_unchanged(struct sim_conn *c, const struct sim_wqe *w)
{
	uint8_t *bytes;

	if (w->op == VERBS_READ || w->is_inline || !w->len)
		return;
	bytes = gather(c, w);
	if (sum_of(bytes, w->len) != w->sum)
		sim_verbs_fault("%u bytes that adapter %s sends have changed before that is complete", w->len,
		                c->adapter->info.name);
	free(bytes);
}

/* --- what the other side does --------------------------------------------------------------------- */

static void push_recv(struct sim_conn *to, struct sim_recv *r, struct verbs_wc wc)
{
	wc.ctx = r->ctx;
	wc.op = VERBS_RECV;
	to->recv_count -= !to->conn.srq;
	sim_cq_push(cq_of(to), &(struct sim_cqe){ wc, to->conn.qp_num | (to->conn.srq ? VERBS_QP_SHARED : 0), NULL, 0 });
	free(r);
}

/* False: there is no receive yet. */
static bool no_receive(struct sim_conn *c, struct sim_wqe *w)
{
	if (c->rnr_retries < 7 && w->rnr_tries++ >= c->rnr_retries) {
		w->status = VERBS_NO_RECEIVE;
		return true;
	}
	sim_event_at(&c->fly, sim_now_ns() + sim_verbs.opts.rnr_ns + sim_draw(sim_verbs.opts.rnr_ns), fly);
	return false;
}

static bool invalidate(struct sim_conn *to, struct sim_wqe *w)
{
	list_each(l, &to->adapter->mrs) {
		struct sim_mr *m = list_entry(l, struct sim_mr, link);

		if (m->key == w->rkey && m->may_invalidate && !m->invalid)
			return m->invalid = true;
	}
	return false;
}

static bool deliver_send(struct sim_conn *c, struct sim_conn *to, struct sim_wqe *w)
{
	bool inval = w->op == VERBS_SEND_INVALIDATE;
	struct sim_recv *r = sim_recv_take(to);
	struct cursor into;
	uint32_t room = 0;
	uint8_t *bytes;

	if (!r)
		return no_receive(c, w);
	for (uint32_t i = 0; i < r->sge_count; i++)
		room += r->sges[i].len;
	if (w->len > room) {
		push_recv(to, r, (struct verbs_wc){ .status = VERBS_LENGTH });
		refuse(to, w, VERBS_REMOTE_INVALID);
		return true;
	}
	into = (struct cursor){ to->adapter, r->sges, r->sge_count, 0, "is received into" };
	bytes = gather(c, w);
	w->sum = sum_of(bytes, w->len);
	if (w->len)
		put(&into, bytes, w->len);
	free(bytes);
	if (inval && !invalidate(to, w)) {
		push_recv(to, r, (struct verbs_wc){ .status = VERBS_OTHER });
		refuse(to, w, VERBS_REMOTE_BROKEN);
		return true;
	}
	push_recv(to, r, (struct verbs_wc){ .len = w->len, .invalidated = inval, .key = inval ? w->rkey : 0 });
	return true;
}

/* Who accepted without serving READs lets nobody at its memory. */
static bool is_shut(const struct sim_conn *to) { return to->conn.asked && !to->conn.params.read_serve; }

static void deliver_write(struct sim_conn *c, struct sim_conn *to, struct sim_wqe *w)
{
	uint8_t *bytes;

	if (is_shut(to)) {
		refuse(to, w, VERBS_REMOTE_INVALID);
		return;
	}
	if (!w->len)
		return;
	if (!sim_mr_find(to->adapter, w->rkey, w->remote, w->len, true)) {
		refuse(to, w, VERBS_REMOTE_KEY);
		return;
	}
	bytes = gather(c, w);
	w->sum = sum_of(bytes, w->len);
	memcpy((void *)(uintptr_t)w->remote, bytes, w->len);
	free(bytes);
}

static void deliver_read(struct sim_conn *c, struct sim_conn *to, struct sim_wqe *w)
{
	uint32_t reads = 1;

	list_each(l, &c->back)
		reads += list_entry(l, struct sim_wqe, link)->op == VERBS_READ;
	if (is_shut(to)) {
		refuse(to, w, VERBS_REMOTE_INVALID);
		return;
	}
	if (reads > to->read_serve)
		sim_verbs_fault("%u READs are under way to an adapter (%s) that said it serves %u", reads,
		                to->adapter->info.name, to->read_serve);
	if (w->len && !sim_mr_find(to->adapter, w->rkey, w->remote, w->len, true)) {
		refuse(to, w, VERBS_REMOTE_KEY);
		return;
	}
	w->bytes = base_zalloc(w->len + 1);
	if (w->len)
		memcpy(w->bytes, (const void *)(uintptr_t)w->remote, w->len);
}

/* Its own queue pair is broken by that, too. */
static void refuse(struct sim_conn *to, struct sim_wqe *w, enum verbs_status status)
{
	w->status = (uint8_t)status;
	sim_wire_break(to);
}

/* --- and back ------------------------------------------------------------------------------------- */

static void send_back(struct sim_conn *c, struct sim_wqe *w)
{
	list_del(&w->link);
	w->since_ns = 0;
	w->at_ns = c->back_ns = max_u64(sim_now_ns() + sim_latency_ns(c->adapter, c->peer ? c->peer->adapter : NULL),
	                                c->back_ns + 1);
	if (list_empty(&c->back))
		sim_event_at(&c->answer, w->at_ns, answer);
	list_add_tail(&c->back, &w->link);
}

/* What was acknowledged before the other side closed, is. */
static bool is_answer_lost(const struct sim_conn *c, const struct sim_wqe *w)
{
	return w->status != VERBS_RETRIES && (c->silent || (c->peer && sim_is_lost(c->peer->adapter, c->adapter)));
}

static void answer(struct sim_event *e)
{
	struct sim_conn *c = container_of(e, struct sim_conn, answer);
	struct sim_wqe *w = first(&c->back), *next;
	enum verbs_status status;

	must(w);
	if (is_answer_lost(c, w)) {
		if (try_again(c, w, e, answer))
			return;
		w->status = VERBS_RETRIES;
	}
	status = w->status;
	if (!status && sim_verbs.opts.check_unchanged)
		check_unchanged(c, w);
	if (w->op == VERBS_READ && !status && w->len) {
		struct cursor into = { c->adapter, w->sges, w->sge_count, 0, "is read into" };

		put(&into, w->bytes, w->len);
	}
	list_del(&w->link);
	complete(c, w, status);
	if (status) {
		sim_wire_break(c);
		return;
	}
	next = first(&c->back);
	if (next)
		sim_event_at(e, max_u64(next->at_ns, sim_now_ns() + 1), answer);
	sim_wire_pump(c);
}

static void wqe_free(struct sim_wqe *w)
{
	free(w->bytes);
	free(w);
}

static void complete(struct sim_conn *c, struct sim_wqe *w, enum verbs_status status)
{
	c->reads_out -= w->op == VERBS_READ && c->reads_out;
	if (status || w->signaled)
		sim_cq_push(cq_of(c), &(struct sim_cqe){
			{ .ctx = w->ctx, .op = w->op, .status = (uint8_t)status, .len = w->op == VERBS_READ ? w->len : 0 },
			c->conn.qp_num, c, w->index });
	wqe_free(w);
}

/* --- the end -------------------------------------------------------------------------------------- */

void sim_wire_break(struct sim_conn *c)
{
	if (c->qp == SIM_QP_NONE)
		return;
	c->qp = SIM_QP_BROKEN;
	sim_event_cancel(&c->fly);
	sim_event_cancel(&c->answer);
	if (!list_linked(&c->flush.link))
		sim_event_at(&c->flush, sim_now_ns() + 1 + sim_draw(sim_verbs.opts.latency_ns_max), flush);
}

static void flush(struct sim_event *e)
{
	struct sim_conn *c = container_of(e, struct sim_conn, flush);
	struct list *lists[] = { &c->back, &c->flying, &c->queued }, *l;

	for (uint32_t i = 0; i < ARRAY_SIZE(lists); i++)
		while ((l = list_pop(lists[i])))
			complete(c, list_entry(l, struct sim_wqe, link), VERBS_FLUSHED);
	while ((l = list_pop(&c->recvs)))
		push_recv(c, list_entry(l, struct sim_recv, link), (struct verbs_wc){ .status = VERBS_FLUSHED });
}

void sim_wire_close(struct sim_conn *c)
{
	struct list *lists[] = { &c->back, &c->flying, &c->queued }, *l;

	sim_event_cancel(&c->fly);
	sim_event_cancel(&c->answer);
	sim_event_cancel(&c->flush);
	for (uint32_t i = 0; i < ARRAY_SIZE(lists); i++)
		while ((l = list_pop(lists[i])))
			wqe_free(list_entry(l, struct sim_wqe, link));
	while ((l = list_pop(&c->recvs)))
		free(list_entry(l, struct sim_recv, link));
	if (c->conn.cq && c->qp != SIM_QP_NONE)
		sim_cq_forget_sender(cq_of(c), c, sim_chance(50));
	c->qp = SIM_QP_NONE;
}

static struct sim_cq *cq_of(const struct sim_conn *c) { return container_of(c->conn.cq, struct sim_cq, cq); }
