/* SPDX-License-Identifier: BSD-3-Clause */
/* conn.c: connections: which event is told when, and that the core of a connection's completion queue knows it first.
 *
 * A connection connects or is accepted after a message to its core and back: its completions find it there. It is freed
 * after another one: whoever is among completions then may still look at it.
 */
#include <errno.h>

#include "verbs/inside.h"

static void resolved(struct verbs_conn *c);
static void let_ask(struct verbs_conn *c);
static int begin(struct verbs_conn *c, const struct verbs_params *p);
static int go_on(struct verbs_conn *c);
static void meet_on_core(struct msg *m);
static void met_on_control(struct msg *m);
static void leave_on_core(struct msg *m);
static void left_on_control(struct msg *m);
static void leave(struct verbs_conn *c);
static void free_record(struct verbs_conn *c);
static void keep_params(struct verbs_conn *c, const struct verbs_params *p);

void verbs_conn_init(struct verbs_conn *c, struct verbs *v)
{
	c->v = v;
	c->state = VERBS_CONN_IS_RESOLVING;
}

void verbs_conn_set_dev(struct verbs_conn *c, struct verbs_dev *d)
{
	assert(!c->dev);
	c->dev = d;
	verbs_dev_ref(d);
	list_add_tail(&d->conns, &c->dev_link);
}

/* --- who connects --------------------------------------------------------------------------------- */

struct verbs_conn *verbs_resolve(struct verbs *v, const struct net_addr *to, const struct net_addr *from,
                                 uint32_t timeout_ms, verbs_conn_fn *event, void *arg, struct err *e)
{
	struct verbs_conn *c = platform_resolve(v, to, from, timeout_ms, e);

	if (c)
		verbs_conn_set_event(c, event, arg);
	return c;
}

void verbs_conn_set_tos(struct verbs_conn *c, uint8_t tos)
{
	platform_conn_set_tos(c, tos);
}

void verbs_conn_set_ack_timeout(struct verbs_conn *c, uint8_t exponent)
{
	assert(exponent && exponent <= VERBS_ACK_EXPONENT_MAX);
	platform_conn_set_ack_timeout(c, exponent);
}

void verbs_conn_set_event(struct verbs_conn *c, verbs_conn_fn *event, void *arg)
{
	c->event = event;
	c->arg = arg;
}

static void over(struct verbs_conn *c, enum verbs_conn_event event, const struct verbs_params *p, int rc)
{
	c->state = VERBS_CONN_IS_OVER;
	if (c->event)
		c->event(c->arg, event, p, rc);
}

void verbs_conn_told(struct verbs_conn *c, enum verbs_conn_event event, const struct verbs_params *p, int rc)
{
	switch (event) {
	case VERBS_CONN_RESOLVED:
		if (c->state == VERBS_CONN_IS_RESOLVING)
			resolved(c);
		return;
	case VERBS_CONN_ESTABLISHED:
		if (c->state != VERBS_CONN_IS_CONNECTING)
			return;
		c->state = VERBS_CONN_IS_ESTABLISHED;
		c->event(c->arg, event, p, 0);
		return;
	case VERBS_CONN_REJECTED:
	case VERBS_CONN_UNREACHABLE:
	case VERBS_CONN_ENDED:
		break;
	}
	if (c->state == VERBS_CONN_IS_OVER)
		return;
	if (c->state == VERBS_CONN_IS_ESTABLISHED)
		over(c, VERBS_CONN_ENDED, NULL, 0);
	else if (c->state == VERBS_CONN_IS_HELD && c->listener)
		verbs_conn_free(c); /* nobody knows it yet */
	else
		over(c, event == VERBS_CONN_ENDED ? VERBS_CONN_UNREACHABLE : event, p, rc ? rc : -ECONNRESET);
}

static void resolved(struct verbs_conn *c)
{
	assert(c->dev);
	if (c->dev->lost || c->dev->unusable) {
		over(c, VERBS_CONN_UNREACHABLE, NULL, c->dev->lost ? -ENODEV : -ENOMEM);
	} else if (!c->dev->told) {
		c->state = VERBS_CONN_IS_HELD;
	} else {
		c->state = VERBS_CONN_IS_IDLE;
		c->event(c->arg, VERBS_CONN_RESOLVED, NULL, 0);
	}
}

/* --- who is connected to -------------------------------------------------------------------------- */

struct verbs_listener *verbs_listen(struct verbs *v, const struct net_addr *addr, uint32_t backlog,
                                    verbs_listener_fn *fn, void *arg, struct err *e)
{
	struct verbs_listener *l = platform_listen(v, addr, backlog, e);

	if (!l)
		return NULL;
	l->v = v;
	l->fn = fn;
	l->arg = arg;
	list_add_tail(&v->listeners, &l->link);
	return l;
}

void verbs_listener_addr(const struct verbs_listener *l, struct net_addr *ret_addr)
{
	platform_listener_addr(l, ret_addr);
}

void verbs_listener_close(struct verbs_listener *l)
{
	list_del(&l->link);
	list_each_safe(dev_link, &l->v->devs) {
		struct verbs_dev *d = list_entry(dev_link, struct verbs_dev, link);

		list_each_safe(link, &d->conns) {
			struct verbs_conn *c = list_entry(link, struct verbs_conn, dev_link);

			if (c->state == VERBS_CONN_IS_HELD && c->listener == l)
				verbs_conn_free(c);
		}
	}
	platform_listener_close(l);
}

void verbs_listener_told(struct verbs_listener *l, struct verbs_conn *c, const struct verbs_params *p)
{
	assert(c->dev);
	c->asked = true;
	c->listener = l;
	c->state = VERBS_CONN_IS_HELD;
	keep_params(c, p);
	if (c->dev->lost || c->dev->unusable) {
		platform_reject(c, NULL, 0);
		verbs_conn_free(c);
	} else if (c->dev->told) {
		let_ask(c);
	}
}

static void let_ask(struct verbs_conn *c)
{
	struct verbs_listener *l = c->listener;
	struct verbs_params p = c->params;
	uint8_t data[VERBS_DATA_MAX];

	memcpy(data, c->data, p.data_len);
	p.data = data;
	c->state = VERBS_CONN_IS_IDLE;
	c->listener = NULL;
	l->fn(l->arg, c, &p);
}

static void keep_params(struct verbs_conn *c, const struct verbs_params *p)
{
	c->params = *p;
	if (p->data_len)
		memcpy(c->data, p->data, p->data_len);
	c->params.data = c->data;
}

/* --- adapters that become ready, or go ------------------------------------------------------------ */

/* Whoever is told may free any of them: begin again after each. */
static struct verbs_conn *next_held(struct verbs_dev *d)
{
	list_each(l, &d->conns) {
		struct verbs_conn *c = list_entry(l, struct verbs_conn, dev_link);

		if (c->state == VERBS_CONN_IS_HELD)
			return c;
	}
	return NULL;
}

void verbs_conns_dev_usable(struct verbs_dev *d)
{
	struct verbs_conn *c;

	while (!d->lost && (c = next_held(d))) {
		if (c->listener) {
			let_ask(c);
			continue;
		}
		c->state = VERBS_CONN_IS_RESOLVING;
		resolved(c);
	}
}

static struct verbs_conn *next_not_over(struct verbs_dev *d)
{
	list_each(l, &d->conns) {
		struct verbs_conn *c = list_entry(l, struct verbs_conn, dev_link);

		if (c->state != VERBS_CONN_IS_OVER)
			return c;
	}
	return NULL;
}

void verbs_conns_dev_lost(struct verbs_dev *d)
{
	struct verbs_conn *c;

	while ((c = next_not_over(d))) {
		if (c->state == VERBS_CONN_IS_HELD && c->listener)
			platform_reject(c, NULL, 0);
		verbs_conn_told(c, VERBS_CONN_UNREACHABLE, NULL, d->lost ? -ENODEV : -ENOMEM);
	}
}

/* --- queues --------------------------------------------------------------------------------------- */

static int check_queues(const struct verbs_dev_info *i, const struct verbs_queues *q, struct err *e)
{
	const struct {
		const char *what;
		uint32_t have, max;
	} rows[] = {
		{ "work requests to send", q->send_max, i->send_max },
		{ "receives", q->recv_max, i->recv_max },
		{ "pieces of memory of a work request", q->send_sge_max, i->sge_max },
		{ "pieces of memory of a receive", q->recv_sge_max, q->srq ? i->srq_sge_max : i->sge_max },
	};

	for (uint32_t n = 0; n < ARRAY_SIZE(rows); n++)
		if (rows[n].have > rows[n].max)
			return err_set(e, -EINVAL, "RDMA: adapter %s can have %u %s, not %u; use shorter queues", i->name,
			               rows[n].max, rows[n].what, rows[n].have);
	return 0;
}

static uint32_t entries_for(const struct verbs_queues *q)
{
	bool first = q->srq && !q->srq->cq;

	assert(!q->srq || !q->srq->cq || q->srq->cq == q->cq);
	return q->send_max + (q->srq ? 0 : q->recv_max) + (first ? q->srq->entries : 0);
}

int verbs_conn_make_queues(struct verbs_conn *c, struct verbs_queues *q, struct err *e)
{
	uint32_t entries = entries_for(q), of_srq = q->srq && !q->srq->cq ? q->srq->entries : 0;
	int rc;

	assert(c->dev);
	assert(!c->cq);
	assert(q->cq->dev == c->dev);
	assert(!q->srq || q->srq->dev == c->dev);
	assert(atomic_load(&q->cq->reactor)); /* it was started */
	if (c->state != VERBS_CONN_IS_IDLE || !verbs_dev_is_there(c->dev))
		return err_set(e, -ENOTCONN, "RDMA: adapter %s, or the other side, went away", c->dev->info.name);
	rc = check_queues(&c->dev->info, q, e);
	if (rc)
		return rc;
	rc = verbs_cq_reserve(q->cq, entries, e);
	if (rc)
		return rc;
	c->cq = q->cq;
	c->srq = q->srq;
	rc = platform_conn_make_queues(c, q, e);
	if (rc) {
		verbs_cq_unreserve(q->cq, entries);
		c->cq = NULL;
		c->srq = NULL;
		return rc;
	}
	if (of_srq) {
		q->srq->cq = q->cq;
		q->cq->refs++;
	}
	c->cq_entries = entries - of_srq;
	q->cq->refs++;
	return 0;
}

struct verbs_srq *verbs_srq_make(struct verbs_dev *d, uint32_t entries, uint32_t sges, struct err *e)
{
	struct verbs_srq *s;

	if (entries > d->info.srq_recv_max || sges > d->info.srq_sge_max) {
		err_set(e, -EINVAL, "RDMA: adapter %s can share %u receives of %u pieces of memory, not %u of %u",
		        d->info.name, d->info.srq_recv_max, d->info.srq_sge_max, entries, sges);
		return NULL;
	}
	s = platform_srq_make(d, entries, sges, e);
	if (!s)
		return NULL;
	s->dev = d;
	s->entries = entries;
	s->sges = sges;
	verbs_dev_ref(d);
	return s;
}

void verbs_srq_free(struct verbs_srq *s)
{
	struct verbs_dev *d = s->dev;

	if (s->cq) {
		verbs_cq_unreserve(s->cq, s->entries);
		verbs_cq_unref(s->cq);
	}
	platform_srq_free(s);
	verbs_dev_unref(d);
}

/* --- connecting ----------------------------------------------------------------------------------- */

int verbs_connect(struct verbs_conn *c, const struct verbs_params *p)
{
	assert(!c->asked);
	return begin(c, p);
}

int verbs_accept(struct verbs_conn *c, const struct verbs_params *p)
{
	assert(c->asked);
	return begin(c, p);
}

static int begin(struct verbs_conn *c, const struct verbs_params *p)
{
	const struct verbs_dev_info *i = &c->dev->info;

	assert(c->cq);
	assert(p->data_len <= VERBS_PRIVATE_MAX);
	if (c->state != VERBS_CONN_IS_IDLE)
		return -ENOTCONN;
	keep_params(c, p);
	c->params.read_depth = (uint8_t)min_u32(p->read_depth, i->read_depth_max);
	c->params.read_serve = (uint8_t)min_u32(p->read_serve, i->read_serve_max);
	c->state = VERBS_CONN_IS_MEETING;
	c->away = true;
	msg_send(atomic_load(&c->cq->reactor), &c->msg, meet_on_core);
	return 0;
}

static void meet_on_core(struct msg *m)
{
	struct verbs_conn *c = container_of(m, struct verbs_conn, msg);

	verbs_cq_enter(c->cq, c);
	msg_send(core_control(c->cq->core), &c->msg, met_on_control);
}

static void met_on_control(struct msg *m)
{
	struct verbs_conn *c = container_of(m, struct verbs_conn, msg);
	int rc;

	c->away = false;
	if (c->freed) {
		leave(c);
		return;
	}
	if (c->state != VERBS_CONN_IS_MEETING)
		return;
	rc = go_on(c);
	if (rc)
		over(c, VERBS_CONN_UNREACHABLE, NULL, rc);
}

static int go_on(struct verbs_conn *c)
{
	if (!verbs_dev_is_there(c->dev))
		return -ENODEV;
	c->state = VERBS_CONN_IS_CONNECTING;
	return c->asked ? platform_accept(c, &c->params) : platform_connect(c, &c->params);
}

void verbs_reject(struct verbs_conn *c, const void *data, uint8_t len)
{
	assert(c->asked);
	assert(len <= VERBS_PRIVATE_MAX);
	if (c->state == VERBS_CONN_IS_IDLE)
		platform_reject(c, data, len);
	c->state = VERBS_CONN_IS_OVER;
}

/* --- ending --------------------------------------------------------------------------------------- */

void verbs_disconnect(struct verbs_conn *c)
{
	if (c->state == VERBS_CONN_IS_MEETING)
		c->state = VERBS_CONN_IS_OVER;
	else if (c->cq)
		platform_disconnect(c);
}

void verbs_conn_forget(struct verbs_conn *c)
{
	assert(c->cq);
	verbs_cq_leave(c->cq, c);
}

void verbs_conn_free(struct verbs_conn *c)
{
	assert(!c->freed);
	c->freed = true;
	c->event = NULL;
	c->state = VERBS_CONN_IS_OVER;
	platform_conn_close(c);
	if (c->dev)
		list_del(&c->dev_link);
	if (!c->away)
		leave(c);
}

/* Its core is told, after what it does now. */
static void leave(struct verbs_conn *c)
{
	if (c->cq)
		msg_send(atomic_load(&c->cq->reactor), &c->msg, leave_on_core);
	else
		free_record(c);
}

static void leave_on_core(struct msg *m)
{
	struct verbs_conn *c = container_of(m, struct verbs_conn, msg);

	verbs_cq_leave(c->cq, c);
	msg_send(core_control(c->cq->core), &c->msg, left_on_control);
}

static void left_on_control(struct msg *m)
{
	struct verbs_conn *c = container_of(m, struct verbs_conn, msg);

	verbs_cq_unreserve(c->cq, c->cq_entries);
	verbs_cq_unref(c->cq);
	free_record(c);
}

static void free_record(struct verbs_conn *c)
{
	struct verbs_dev *d = c->dev;

	platform_conn_free(c);
	if (d)
		verbs_dev_unref(d);
}

void *verbs_conn_arg(const struct verbs_conn *c) { return c->arg; }
struct verbs_dev *verbs_conn_dev(const struct verbs_conn *c) { return c->dev; }

void verbs_conn_addrs(const struct verbs_conn *c, struct net_addr *ret_local, struct net_addr *ret_peer)
{
	platform_conn_addrs(c, ret_local, ret_peer);
}
