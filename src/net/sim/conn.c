/* SPDX-License-Identifier: BSD-3-Clause */
/* conn.c: connections of the simulated network: how they come about, and how bytes travel. */
#include "net/sim/inside.h"

#include <errno.h>

#define NOBODY_ANSWERS_NS (127 * NS_PER_S)   /* as long as Linux tries to connect */
#define NOBODY_ACKS_NS (924 * NS_PER_S)      /* and to send, without TCP_USER_TIMEOUT */
#define FULL_QUEUE_RETRY_NS (100 * NS_PER_MS)
#define ROOM_PART 8u                         /* of the buffer has to be free before a sender may go on */
#define PIECE_GAP_NS_MAX 2000u               /* between the pieces of what was sent at once */

static void connect_next(struct sim_event *e);
static void ask(struct conn *c);
static void answer(struct conn *c);
static void answer_after(struct conn *c, int rc, uint64_t delay_ns);
static void pipe_next(struct sim_event *e);
static void time_out(struct pipe *p);
static void arrive(struct pipe *p, struct flight *f);
static uint64_t piece_of(uint64_t len);

/* --- connecting --- */

struct conn *conn_make(const struct net_addr *to, const struct net_addr *from)
{
	struct conn *c = base_zalloc(sizeof(*c));

	c->addr[0] = *from;
	c->addr[1] = *to;
	for (uint8_t side = 0; side < 2; side++) {
		struct pipe *p = &c->pipe[side];

		p->conn = c;
		p->side = side;
		p->size = sim_net.opts.buffer_bytes;
		p->bytes = base_zalloc(p->size);
		list_init(&p->flights);
	}
	list_add_tail(&sim_net.conns, &c->link);
	sim_event_at(&c->connect, sim_now_ns() + net_latency_ns(), connect_next);
	return c;
}

static void connect_next(struct sim_event *e)
{
	struct conn *c = container_of(e, struct conn, connect);

	if (c->state == CONN_ASKING)
		ask(c);
	else
		answer(c);
}

/* The question has reached the other machine. */
static void ask(struct conn *c)
{
	struct listener *l = listener_find(&c->addr[1]);
	uint32_t timeout_ms = c->sock[0]->ack_timeout_ms;

	if (sim_net.how == SIM_NET_BLACK_HOLE)
		answer_after(c, -ETIMEDOUT, timeout_ms ? timeout_ms * NS_PER_MS : NOBODY_ANSWERS_NS);
	else if (sim_net.how == SIM_NET_REFUSE || !l)
		answer_after(c, net_addr_family(&c->addr[1]) == NET_UNIX && !l ? -ENOENT : -ECONNREFUSED, net_latency_ns());
	else if (!listener_take(l, c))
		sim_event_at(&c->connect, sim_now_ns() + FULL_QUEUE_RETRY_NS, connect_next);
	else
		answer_after(c, 0, net_latency_ns());
}

static void answer_after(struct conn *c, int rc, uint64_t delay_ns)
{
	c->state = CONN_ANSWERING;
	c->answer = rc;
	sim_event_at(&c->connect, sim_now_ns() + delay_ns, connect_next);
}

static void answer(struct conn *c)
{
	struct sock *s = c->sock[0];

	if (c->state == CONN_ANSWERING)
		c->state = CONN_OPEN;
	s->connecting = false;
	s->want_write = false;
	s->connected = !c->answer && !s->failed;
	s->progress = !c->answer;
	if (c->answer)
		sim_sock_fail(s, c->answer);
	sim_sock_update(s);
}

/* --- closing --- */

/* A reset may overtake what was sent before it; an orderly end comes after it. */
void conn_leave(struct conn *c, uint8_t side, bool reset)
{
	struct pipe *out = &c->pipe[side], *in = &c->pipe[!side];

	c->sock[side] = NULL;
	if (side == 0)
		sim_event_cancel(&c->connect);
	if (!c->sock[!side]) {
		conn_free(c);
		return;
	}
	in->head = in->arrived; /* nobody will read that */
	if (reset && sim_chance(50))
		pipe_drop_flights(out);
	if (reset || !out->fin_sent)
		pipe_send(out, true, reset);
	sim_sock_update(c->sock[!side]);
}

void conn_free(struct conn *c)
{
	for (int side = 0; side < 2; side++) {
		pipe_drop_flights(&c->pipe[side]);
		sim_event_cancel(&c->pipe[side].event);
		free(c->pipe[side].bytes);
	}
	sim_event_cancel(&c->connect);
	list_del(&c->link);
	free(c);
}

/* --- sending --- */

/* A little room does not count while there is more to come: else ever smaller pieces would go round, as in TCP
 * before it learnt the same. */
uint32_t pipe_room(const struct pipe *p)
{
	uint32_t room = p->size - (uint32_t)(p->tail - p->head);

	return room >= div_up(p->size, ROOM_PART) ? room : 0;
}

/* After a cut the sender may not know yet; what it sends goes nowhere. */
void pipe_put(struct pipe *p, const void *bytes, uint32_t len)
{
	uint32_t at = (uint32_t)(p->tail % p->size), first = min_u32(len, p->size - at);

	assert(len <= p->size - (p->tail - p->head));
	if (p->reset_sent)
		return;
	memcpy(p->bytes + at, bytes, first);
	memcpy(p->bytes, (const uint8_t *)bytes + first, len - first);
	p->tail += len;
}

void pipe_send(struct pipe *p, bool fin, bool reset)
{
	struct flight *before = list_empty(&p->flights) ? NULL : list_entry(p->flights.prev, struct flight, link);
	struct flight *f;

	if (p->reset_sent)
		return;
	f = base_zalloc(sizeof(*f));
	f->end = p->tail;
	f->at_ns = max_u64(sim_now_ns() + net_latency_ns(), before ? before->at_ns : 0);
	f->fin = fin;
	f->reset = reset;
	p->fin_sent |= fin;
	p->reset_sent |= reset;
	list_add_tail(&p->flights, &f->link);
	if (!before)
		sim_event_at(&p->event, f->at_ns, pipe_next);
}

void pipe_drop_flights(struct pipe *p)
{
	struct list *l;

	while ((l = list_pop(&p->flights)))
		free(list_entry(l, struct flight, link));
	p->tail = p->arrived;
	sim_event_cancel(&p->event);
}

/* --- arriving --- */

static void pipe_next(struct sim_event *e)
{
	struct pipe *p = container_of(e, struct pipe, event);
	struct sock *to = p->conn->sock[!p->side];
	struct flight *f = list_entry(p->flights.next, struct flight, link);

	if (p->conn->silent) {
		time_out(p);
		return;
	}
	p->arrived += piece_of(f->end - p->arrived);
	sim_note(p->arrived);
	if (p->arrived == f->end) {
		list_del(&f->link);
		arrive(p, f);
		free(f);
		f = list_first(&p->flights, struct flight, link);
	}
	if (f)
		sim_event_at(e, max_u64(f->at_ns, sim_now_ns() + 1 + sim_draw(PIECE_GAP_NS_MAX)), pipe_next);
	if (to) {
		sim_sock_update(to);
		return;
	}
	/* Nobody is there. Data makes the machine answer with a reset. */
	if (p->arrived > p->head && p->conn->sock[p->side] && !p->conn->sock[p->side]->failed)
		pipe_send(&p->conn->pipe[!p->side], false, true);
	p->head = p->arrived;
}

/* All of a flight is there; what it ends with counts now. */
static void arrive(struct pipe *p, struct flight *f)
{
	struct sock *to = p->conn->sock[!p->side];

	p->fin_arrived |= f->fin && !f->reset;
	if (f->reset && to)
		sim_sock_fail(to, -ECONNRESET);
}

/* Twice: what was sent did not arrive; and the sender has waited long enough. */
static void time_out(struct pipe *p)
{
	struct sock *from = p->conn->sock[p->side];

	if (!from)
		return;
	if (p->timing) {
		sim_sock_fail(from, -ETIMEDOUT);
		return;
	}
	p->timing = true;
	sim_event_at(&p->event, sim_now_ns() + (from->ack_timeout_ms ? from->ack_timeout_ms * NS_PER_MS : NOBODY_ACKS_NS),
	             pipe_next);
}

static uint64_t piece_of(uint64_t len)
{
	uint32_t max = sim_net.opts.chunk_bytes_max;

	if (max)
		len = min_u64(len, max);
	return len && sim_chance(50) ? 1 + sim_draw(len) : len;
}

void pipe_get(struct pipe *p, void *bytes, uint32_t len)
{
	uint32_t at = (uint32_t)(p->head % p->size), first = min_u32(len, p->size - at);

	assert(len <= pipe_readable(p));
	memcpy(bytes, p->bytes + at, first);
	memcpy((uint8_t *)bytes + first, p->bytes, len - first);
	p->head += len;
}
