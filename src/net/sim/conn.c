/* SPDX-License-Identifier: BSD-3-Clause */
/* conn.c: connections of the simulated network: how they come about, and how bytes travel. */
#include "net/sim/inside.h"

#include <errno.h>

#define NOBODY_ANSWERS_NS (127 * NS_PER_S)   /* as long as Linux tries to connect */
#define NOBODY_ACKS_NS (924 * NS_PER_S)      /* and to send, without TCP_USER_TIMEOUT */
#define ASK_AGAIN_NS NS_PER_S                /* the first time; then twice as long each time */
#define SEND_AGAIN_NS (200 * NS_PER_MS)
#define SEND_AGAIN_NS_MAX (120 * NS_PER_S)
#define FULL_QUEUE_RETRY_NS (100 * NS_PER_MS)
#define ROOM_PART 8u                         /* of the buffer has to be free before a sender may go on */
#define PIECE_GAP_NS_MAX 2000u               /* between the pieces of what was sent at once */

static void connect_next(struct sim_event *e);
static void ask(struct conn *c);
static void ask_again(struct conn *c);
static void answer(struct conn *c);
static void answer_after(struct conn *c, int rc, uint64_t delay_ns);
static bool is_deaf(const struct pipe *p);
static bool is_lost(const struct conn *c, uint8_t side);
static void pipe_next(struct sim_event *e);
static bool send_again(struct pipe *p, struct sim_event *e, void (*fn)(struct sim_event *e));
static void acknowledge(struct pipe *p);
static void ack_next(struct sim_event *e);
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
		list_init(&p->parcels);
	}
	list_add_tail(&sim_net.conns, &c->link);
	c->asked_ns = sim_now_ns();
	sim_event_at(&c->connect, sim_now_ns() + net_link(to)->delay_ns + net_latency_ns(), connect_next);
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
	const struct sim_net_link *link = net_link(&c->addr[1]);
	struct listener *l = listener_find(&c->addr[1]);
	uint64_t back_ns = link->delay_ns + net_latency_ns();

	if (link->connect == SIM_NET_BLACK_HOLE || link->lost_to || link->lost_from)
		ask_again(c);
	else if (link->connect == SIM_NET_REFUSE || !l)
		answer_after(c, net_addr_family(&c->addr[1]) == NET_UNIX && !l ? -ENOENT : -ECONNREFUSED, back_ns);
	else if (!listener_take(l, c))
		sim_event_at(&c->connect, sim_now_ns() + FULL_QUEUE_RETRY_NS, connect_next);
	else
		answer_after(c, 0, back_ns);
}

/* Question or answer were lost. */
static void ask_again(struct conn *c)
{
	uint32_t timeout_ms = c->sock[0]->ack_timeout_ms;
	uint64_t end_ns = c->asked_ns + (timeout_ms ? timeout_ms * NS_PER_MS : NOBODY_ANSWERS_NS);

	c->again_ns = c->again_ns ? 2 * c->again_ns : ASK_AGAIN_NS;
	if (sim_now_ns() + c->again_ns < end_ns)
		sim_event_at(&c->connect, sim_now_ns() + c->again_ns, connect_next);
	else
		answer_after(c, -ETIMEDOUT, end_ns > sim_now_ns() ? end_ns - sim_now_ns() : 0);
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

/* A reset may overtake what was sent before it, and is sent only once; an orderly end comes after it. */
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
	parcels_drop(in, true);
	if (reset && is_lost(c, side))
		pipe_give_up(out);
	else if (reset && sim_chance(50))
		pipe_drop_flights(out);
	if (reset || !out->fin_sent)
		pipe_send(out, true, reset);
	sim_sock_update(c->sock[!side]);
}

void conn_cut(struct conn *c)
{
	c->state = CONN_CUT;
	for (int side = 0; side < 2; side++) {
		struct pipe *p = &c->pipe[side];

		pipe_drop_flights(p);
		p->given_up = p->reset_sent = false;
		pipe_send(p, false, true);
		list_entry(p->flights.prev, struct flight, link)->sure = true;
	}
}

void conn_free(struct conn *c)
{
	for (int side = 0; side < 2; side++) {
		pipe_drop_flights(&c->pipe[side]);
		sim_event_cancel(&c->pipe[side].ack);
		parcels_drop(&c->pipe[side], true);
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
	uint32_t room = p->size - (uint32_t)(p->tail - min_u64(p->head, p->acked));

	return room >= div_up(p->size, ROOM_PART) ? room : 0;
}

/* After a cut the sender may not know yet; what it sends goes nowhere. */
void pipe_put(struct pipe *p, const void *bytes, uint32_t len)
{
	uint32_t at = (uint32_t)(p->tail % p->size), first = min_u32(len, p->size - at);

	assert(len <= p->size - (p->tail - p->head));
	if (p->reset_sent || p->given_up)
		return;
	memcpy(p->bytes + at, bytes, first);
	memcpy(p->bytes, (const uint8_t *)bytes + first, len - first);
	p->tail += len;
}

void pipe_send(struct pipe *p, bool fin, bool reset)
{
	struct flight *before = list_empty(&p->flights) ? NULL : list_entry(p->flights.prev, struct flight, link);
	struct flight *f;

	if (p->reset_sent || p->given_up)
		return;
	if (!before && p->acked == p->arrived) { /* no probe: the time counts from now */
		p->lost_since_ns = 0;
		sim_event_cancel(&p->ack);
	}
	f = base_zalloc(sizeof(*f));
	f->end = p->tail;
	f->at_ns = max_u64(sim_now_ns() + net_link(&p->conn->addr[1])->delay_ns + net_latency_ns(),
	                   before ? before->at_ns : 0);
	f->fin = fin;
	f->reset = reset;
	p->fin_sent |= fin;
	p->reset_sent |= reset;
	list_add_tail(&p->flights, &f->link);
	if (!before)
		sim_event_at(&p->event, f->at_ns, pipe_next);
}

/* The other end hears nothing of it. */
void pipe_give_up(struct pipe *p)
{
	struct sock *from = p->conn->sock[p->side];

	pipe_drop_flights(p);
	sim_event_cancel(&p->ack);
	p->given_up = true;
	p->reset_sent = false; /* it did not arrive; there may be another */
	if (from)
		sim_sock_fail(from, -ETIMEDOUT);
}

void pipe_drop_flights(struct pipe *p)
{
	struct list *l;

	while ((l = list_pop(&p->flights)))
		free(list_entry(l, struct flight, link));
	p->tail = p->arrived;
	p->lost_since_ns = 0;
	sim_event_cancel(&p->event);
}

/* --- arriving --- */

static bool is_lost(const struct conn *c, uint8_t side)
{
	const struct sim_net_link *l = net_link(&c->addr[1]);

	return c->silent || sim_now_ns() < c->stalled_until_ns || (side ? l->lost_from : l->lost_to);
}

/* Nobody is there who would take it, but a machine that says so. */
static bool is_deaf(const struct pipe *p)
{
	return !p->conn->sock[!p->side] || p->conn->pipe[!p->side].given_up;
}

static void pipe_next(struct sim_event *e)
{
	struct pipe *p = container_of(e, struct pipe, event);
	struct flight *f = list_entry(p->flights.next, struct flight, link);
	struct sock *to = is_deaf(p) ? NULL : p->conn->sock[!p->side];

	if (!f->sure && (is_lost(p->conn, p->side) || (!to && is_lost(p->conn, !p->side)))) {
		if (f->reset || !send_again(p, e, pipe_next))
			pipe_give_up(p);
		return;
	}
	p->arrived += piece_of(f->end - p->arrived);
	sim_note(p->arrived);
	acknowledge(p);
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
	if (p->arrived > p->head && p->conn->sock[p->side] && !p->conn->sock[p->side]->failed) {
		p->conn->pipe[!p->side].given_up = false;
		pipe_send(&p->conn->pipe[!p->side], false, true);
	}
	p->head = p->arrived;
	parcels_drop(p, false);
}

/* False: the sender has waited long enough. One that closed its socket waits as long, unless it reset it. */
static bool send_again(struct pipe *p, struct sim_event *e, void (*fn)(struct sim_event *e))
{
	uint64_t now = sim_now_ns(), end_ns;

	if (!p->lost_since_ns) {
		p->lost_since_ns = now;
		p->again_ns = SEND_AGAIN_NS / 2;
	}
	end_ns = p->lost_since_ns + (p->ack_timeout_ms ? p->ack_timeout_ms * NS_PER_MS : NOBODY_ACKS_NS);
	p->again_ns = min_u64(2 * p->again_ns, SEND_AGAIN_NS_MAX);
	if (now < end_ns)
		sim_event_at(e, min_u64(now + p->again_ns, end_ns), fn);
	return now < end_ns;
}

/* What has arrived is acknowledged, and that may be lost as well. */
static void acknowledge(struct pipe *p)
{
	p->lost_since_ns = 0;
	if (!is_lost(p->conn, !p->side)) {
		sim_event_cancel(&p->ack);
		p->acked = p->arrived;
	} else if (!list_linked(&p->ack.link)) {
		sim_event_at(&p->ack, sim_now_ns(), ack_next);
	}
}

/* SO_KEEPALIVE, whose probes are of interest only when their answers do not come. */
void conn_probe(struct conn *c)
{
	bool lost = is_lost(c, 0) || is_lost(c, 1);

	for (int side = 0; side < 2; side++) {
		struct pipe *p = &c->pipe[side];
		bool idle = p->acked == p->tail && list_empty(&p->flights);

		if (!p->ack_timeout_ms || !c->sock[side] || c->sock[side]->connecting || p->given_up || !idle)
			continue;
		if (!lost) {
			p->lost_since_ns = 0;
			sim_event_cancel(&p->ack);
		} else if (!list_linked(&p->ack.link)) {
			p->lost_since_ns = sim_now_ns();
			p->again_ns = SEND_AGAIN_NS;
			sim_event_at(&p->ack, sim_now_ns() + p->ack_timeout_ms * NS_PER_MS * 6 / 5, ack_next);
		}
	}
}

static void ack_next(struct sim_event *e)
{
	struct pipe *p = container_of(e, struct pipe, ack);

	if (is_lost(p->conn, p->side) || is_lost(p->conn, !p->side)) {
		if (!send_again(p, e, ack_next))
			pipe_give_up(p);
		return;
	}
	acknowledge(p);
	if (p->conn->sock[p->side])
		sim_sock_update(p->conn->sock[p->side]);
}

/* All of a flight is there; what it ends with counts now. */
static void arrive(struct pipe *p, struct flight *f)
{
	struct sock *to = p->conn->sock[!p->side];

	p->fin_arrived |= f->fin && !f->reset;
	if (f->reset && to)
		sim_sock_fail(to, -ECONNRESET);
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
