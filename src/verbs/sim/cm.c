/* SPDX-License-Identifier: BSD-3-Clause */
/* cm.c: the connection manager of simulated adapters.
 *
 *     who connects                                 who listens
 *     resolve   finds adapters by address
 *     connect   ---- request ------------------->  is asked: verbs_listener_told()
 *               <--- reply, or reject -----------  accept, reject
 *     told it is established, sends ------------>  is told so, too (its data may have come before)
 *     disconnect: whoever does; the other is told, then he is
 *
 * What is lost is sent again until a deadline. What a control reactor is told, comes in its next passes, one by one.
 */
#include <errno.h>

#include "verbs/sim/inside.h"

#define CM_GIVE_UP_NS (60 * NS_PER_S)
#define CM_AGAIN_NS (500 * NS_PER_MS)
/* Nobody learns how long private data was: it is as long as the packet has room for. */
#define REQUEST_DATA 56u
#define REPLY_DATA 196u
#define REJECT_DATA 148u

struct cm_event {
	struct list link;
	enum cm_kind kind;
	struct sim_conn *conn;
	enum verbs_conn_event event;
	bool has_params, up;
	struct verbs_params params;
	uint8_t data[VERBS_DATA_MAX];
	int rc;
	struct sim_dev *dev;
	struct sim_adapter *adapter;
};

struct sim_listener {
	struct verbs_listener l;
	struct list link;            /* sim_verbs.listeners */
	struct net_addr addr;
};

static void resolve_now(struct sim_event *e);
static void request_comes(struct sim_event *e);
static void request_comes_not(struct sim_event *e);
static void reply_comes(struct sim_event *e);
static void ready_comes(struct sim_event *e);
static void reject_comes(struct sim_event *e);
static void end_comes(struct sim_event *e);
static void end_is_known(struct sim_event *e);
static void peer_ended(struct sim_event *e);
static void run_channel(struct sim_ready *r);

/* --- what control reactors are told --------------------------------------------------------------- */

static void tell(struct sim_channel *ch, const struct cm_event *what)
{
	struct cm_event *e;

	if (!ch)
		return;
	e = base_zalloc(sizeof(*e));
	*e = *what;
	list_add_tail(&ch->events, &e->link);
	sim_ready_add(core_control(ch->v->core), &ch->ready, run_channel);
}

static void tell_conn(struct sim_conn *c, enum verbs_conn_event event, int rc)
{
	tell(c->conn.v->os, &(struct cm_event){ .kind = CM_CONN, .conn = c, .event = event, .rc = rc });
}

static void tell_said(struct sim_conn *c, enum cm_kind kind, enum verbs_conn_event event,
                      const struct verbs_params *p, const uint8_t *data, uint32_t room)
{
	struct cm_event e = { .kind = kind, .conn = c, .event = event, .has_params = true, .params = *p };

	memcpy(e.data, data, p->data_len);
	e.params.data_len = (uint8_t)room;
	tell(c->conn.v->os, &e);
}

void sim_tell_dev(struct sim_dev *d, enum cm_kind kind)
{
	tell(d->dev.v->os, &(struct cm_event){ .kind = kind, .dev = d, .up = d->adapter && d->adapter->port_up });
}

void sim_tell_adapter(struct sim_channel *ch, struct sim_adapter *a)
{
	tell(ch, &(struct cm_event){ .kind = CM_CAME, .adapter = a });
}

static struct sim_dev *dev_of(const struct sim_adapter *a, const struct verbs *v)
{
	if (!a)
		return NULL;
	list_each(l, &a->devs) {
		struct sim_dev *d = list_entry(l, struct sim_dev, link);

		if (d->dev.v == v && !d->dev.lost)
			return d;
	}
	return NULL;
}

static void run_conn(struct cm_event *e)
{
	struct sim_conn *c = e->conn;
	struct sim_dev *d = dev_of(c->adapter, c->conn.v);

	e->params.data = e->data;
	if (!c->conn.dev && d)
		verbs_conn_set_dev(&c->conn, &d->dev);
	if (e->event == VERBS_CONN_RESOLVED && !d) {
		verbs_conn_told(&c->conn, VERBS_CONN_UNREACHABLE, NULL, -ENODEV);
		return;
	}
	if (e->event == VERBS_CONN_ESTABLISHED && c->active && c->cm == SIM_CM_OPEN) {
		c->qp = c->qp == SIM_QP_MADE ? SIM_QP_READY : c->qp;
		sim_event_at(&c->cm_event, sim_now_ns() + sim_latency_ns(c->adapter, NULL), ready_comes);
	}
	verbs_conn_told(&c->conn, e->event, e->has_params ? &e->params : NULL, e->rc);
}

static struct sim_listener *listener_of(const struct core *core, const struct net_addr *to)
{
	list_each(l, &sim_verbs.listeners) {
		struct sim_listener *s = list_entry(l, struct sim_listener, link);

		if (s->l.v->core == core && net_addr_covers(&s->addr, to))
			return s;
	}
	return NULL;
}

static void run_asked(struct cm_event *e)
{
	struct sim_conn *c = e->conn;
	struct sim_dev *d = dev_of(c->adapter, c->conn.v);
	struct sim_listener *s = listener_of(c->conn.v->core, &c->from);

	e->params.data = e->data;
	if (d && s) {
		verbs_conn_set_dev(&c->conn, &d->dev);
		verbs_listener_told(&s->l, &c->conn, &e->params);
	} else {
		platform_reject(&c->conn, NULL, 0);
		verbs_conn_free(&c->conn);
	}
}

/* One at a time: whatever it leads to may take others back, or close the channel. */
static void run_channel(struct sim_ready *r)
{
	struct sim_channel *ch = container_of(r, struct sim_channel, ready);
	struct list *l = list_pop(&ch->events);
	struct cm_event *e;

	if (!l)
		return;
	e = list_entry(l, struct cm_event, link);
	if (!list_empty(&ch->events))
		sim_ready_add(core_control(ch->v->core), &ch->ready, run_channel);
	switch (e->kind) {
	case CM_CONN:
		run_conn(e);
		break;
	case CM_ASKED:
		run_asked(e);
		break;
	case CM_CAME:
		if (e->adapter->here && !dev_of(e->adapter, ch->v))
			sim_dev_make(ch->v, e->adapter);
		break;
	case CM_LOST:
		verbs_dev_lost(&e->dev->dev);
		break;
	case CM_PORT:
		verbs_dev_port(&e->dev->dev, e->up);
		break;
	}
	free(e);
}

static void untell(const struct sim_dev *d, const struct sim_conn *c, const struct sim_channel *channel)
{
	list_each(ch, &sim_verbs.channels)
		list_each_safe(l, &list_entry(ch, struct sim_channel, link)->events) {
			struct cm_event *e = list_entry(l, struct cm_event, link);

			if ((d && e->dev == d) || (c && e->conn == c) || channel == list_entry(ch, struct sim_channel, link)) {
				list_del(&e->link);
				free(e);
			}
		}
}

void sim_untell_dev(const struct sim_dev *d) { untell(d, NULL, NULL); }

/* A connection that asks, and nobody knows. */
static struct sim_conn *next_asking(const struct sim_channel *ch)
{
	list_each(l, &ch->events)
		if (list_entry(l, struct cm_event, link)->kind == CM_ASKED)
			return list_entry(l, struct cm_event, link)->conn;
	return NULL;
}

void platform_verbs_close(struct verbs *v)
{
	struct sim_channel *ch = v->os;
	struct sim_conn *c;

	while ((c = next_asking(ch)))
		verbs_conn_free(&c->conn); /* and its events */
	untell(NULL, NULL, ch);
	sim_ready_cancel(&ch->ready);
	list_del(&ch->link);
	free(ch);
}

/* --- making and closing --------------------------------------------------------------------------- */

static struct sim_conn *conn_make(struct verbs *v, const struct net_addr *from, const struct net_addr *to)
{
	struct sim_conn *c = base_zalloc(sizeof(*c));

	c->id = ++sim_verbs.last_id;
	c->from = *from;
	c->to = *to;
	sim_wire_init(c);
	verbs_conn_init(&c->conn, v);
	list_add_tail(&sim_verbs.conns, &c->link);
	return c;
}

static void set_adapter(struct sim_conn *c, struct sim_adapter *a)
{
	c->adapter = a;
	list_add_tail(&a->conns, &c->adapter_link);
}

static uint64_t after_ns(const struct sim_conn *c)
{
	return sim_now_ns() + sim_latency_ns(c->adapter, c->far);
}

void platform_conn_break(struct verbs_conn *conn)
{
	struct sim_conn *c = sim_conn_of(conn);

	if (!c->closed)
		sim_wire_break(c);
}

void platform_conn_close(struct verbs_conn *conn)
{
	struct sim_conn *c = sim_conn_of(conn), *peer = c->peer;

	c->closed = true;
	untell(NULL, c, NULL);
	sim_wire_close(c);
	sim_event_cancel(&c->cm_event);
	if (c->adapter)
		list_del(&c->adapter_link);
	if (peer) {
		peer->peer = NULL;
		/* who waits for his own disconnecting, or was told, need not hear */
		if (peer->cm != SIM_CM_ENDING && peer->cm != SIM_CM_OVER && peer->cm != SIM_CM_REFUSED)
			sim_event_at(&peer->cm_event, after_ns(peer), peer_ended);
	}
	list_del(&c->link);
}

void platform_conn_free(struct verbs_conn *conn) { free(sim_conn_of(conn)); }

/* The other side's process is gone; its system says so, if that comes through. */
static void peer_ended(struct sim_event *e)
{
	struct sim_conn *c = container_of(e, struct sim_conn, cm_event);

	if (c->silent || sim_is_lost(c->far, c->adapter))
		return;
	c->cm = SIM_CM_OVER;
	sim_wire_break(c);
	tell_conn(c, VERBS_CONN_ENDED, 0);
}

void sim_conn_adapter_gone(struct sim_conn *c)
{
	list_del(&c->adapter_link);
	sim_wire_close(c);
	sim_event_cancel(&c->cm_event);
	c->adapter = NULL;
	c->cm = SIM_CM_OVER;
}

void sim_conn_cut(struct sim_conn *c, bool silent)
{
	struct sim_conn *both[] = { c, c->peer };

	for (uint32_t i = 0; i < 2; i++) {
		sim_note(both[i]->id);
		both[i]->silent |= silent;
		if (silent)
			continue;
		both[i]->cm = SIM_CM_OVER;
		sim_wire_break(both[i]);
		sim_event_cancel(&both[i]->cm_event);
		tell_conn(both[i], VERBS_CONN_ENDED, 0);
	}
}

void platform_conn_addrs(const struct verbs_conn *conn, struct net_addr *ret_local, struct net_addr *ret_peer)
{
	*ret_local = sim_conn_of(conn)->from;
	*ret_peer = sim_conn_of(conn)->to;
}

/* --- listening ------------------------------------------------------------------------------------ */

/* `core` NULL: anybody's. */
static struct sim_adapter *adapter_at(const struct core *core, const struct net_addr *addr)
{
	list_each(l, &sim_verbs.adapters) {
		struct sim_adapter *a = list_entry(l, struct sim_adapter, link);

		if ((!core || a->core == core) && net_addr_same_host(&a->addr, addr))
			return a;
	}
	return NULL;
}

static bool is_wildcard(const struct net_addr *addr)
{
	list_each(l, &sim_verbs.adapters) {
		struct net_addr a = list_entry(l, struct sim_adapter, link)->addr;

		net_addr_set_port(&a, net_addr_port(addr));
		if (!net_addr_equal(addr, &a) && net_addr_covers(addr, &a))
			return true;
	}
	return false;
}

struct verbs_listener *platform_listen(struct verbs *v, const struct net_addr *addr, uint32_t backlog, struct err *e)
{
	char text[NET_ADDR_TEXT_MAX];
	struct sim_listener *s;

	net_addr_text(addr, text);
	if (!adapter_at(v->core, addr) && !is_wildcard(addr)) {
		err_set(e, -EADDRNOTAVAIL, "RDMA: no adapter has the address %s", text);
		return NULL;
	}
	list_each(l, &sim_verbs.listeners) {
		struct sim_listener *other = list_entry(l, struct sim_listener, link);

		if (other->l.v->core == v->core && net_addr_equal(&other->addr, addr)) {
			err_set(e, -EADDRINUSE, "RDMA: %s is listened on already", text);
			return NULL;
		}
	}
	s = base_zalloc(sizeof(*s));
	s->addr = *addr;
	if (!net_addr_port(addr))
		net_addr_set_port(&s->addr, (uint16_t)++sim_verbs.last_port);
	list_add_tail(&sim_verbs.listeners, &s->link);
	return &s->l;
}

void platform_listener_addr(const struct verbs_listener *l, struct net_addr *ret_addr)
{
	*ret_addr = container_of(l, const struct sim_listener, l)->addr;
}

void platform_listener_close(struct verbs_listener *l)
{
	struct sim_listener *s = container_of(l, struct sim_listener, l);

	list_del(&s->link);
	free(s);
}

/* --- resolving ------------------------------------------------------------------------------------ */

struct verbs_conn *platform_resolve(struct verbs *v, const struct net_addr *to, const struct net_addr *from,
                                    uint32_t timeout_ms, struct err *e)
{
	struct sim_conn *c = conn_make(v, from ? from : &(struct net_addr){ 0 }, to);

	c->active = true;
	c->deadline_ns = sim_now_ns() + timeout_ms * NS_PER_MS;
	sim_event_at(&c->cm_event, after_ns(c), resolve_now);
	return &c->conn;
}

static struct sim_adapter *near_for(const struct sim_conn *c)
{
	if (c->from.len)
		return adapter_at(c->conn.v->core, &c->from);
	list_each(l, &sim_verbs.adapters) {
		struct sim_adapter *a = list_entry(l, struct sim_adapter, link);

		if (a->core == c->conn.v->core && a->here && net_addr_family(&a->addr) == net_addr_family(&c->to))
			return a;
	}
	return NULL;
}

/* Asked again later; false: the time for it is over, and that is told. */
static bool again(struct sim_conn *c, void (*fn)(struct sim_event *e))
{
	uint64_t now = sim_now_ns();

	if (now < c->deadline_ns) {
		sim_event_at(&c->cm_event, min_u64(now + CM_AGAIN_NS, c->deadline_ns), fn);
		return true;
	}
	c->cm = SIM_CM_OVER;
	tell_conn(c, VERBS_CONN_UNREACHABLE, -ETIMEDOUT);
	return false;
}

static void resolve_now(struct sim_event *e)
{
	struct sim_conn *c = container_of(e, struct sim_conn, cm_event);
	struct sim_adapter *near = near_for(c), *far = adapter_at(NULL, &c->to);

	if (!near || !near->here) {
		tell_conn(c, VERBS_CONN_UNREACHABLE, -ENODEV);
	} else if (sim_is_lost(near, far) || sim_is_lost(far, near)) {
		again(c, resolve_now);
	} else {
		c->far = far;
		c->from = near->addr;
		net_addr_set_port(&c->from, (uint16_t)++sim_verbs.last_port);
		set_adapter(c, near);
		tell_conn(c, VERBS_CONN_RESOLVED, 0);
	}
}

/* --- connecting ----------------------------------------------------------------------------------- */

int platform_conn_make_queues(struct verbs_conn *conn, struct verbs_queues *q, struct err *e)
{
	struct sim_conn *c = sim_conn_of(conn);

	if (!c->adapter)
		return err_set(e, -ENODEV, "RDMA: adapter %s is gone", conn->dev->info.name);
	conn->qp_num = sim_verbs.last_qp += 1 + (uint32_t)sim_draw(3);
	c->send_max = q->send_max;
	c->recv_max = q->recv_max;
	c->send_sge_max = q->send_sge_max;
	c->recv_sge_max = q->recv_sge_max;
	c->inline_max = q->inline_max = min_u32(q->inline_max, c->adapter->inline_max);
	c->qp = SIM_QP_MADE;
	return 0;
}

static void keep(struct sim_conn *c, const struct verbs_params *p)
{
	c->params = *p;
	if (p->data_len)
		memcpy(c->data, p->data, p->data_len);
	c->deadline_ns = sim_now_ns() + CM_GIVE_UP_NS;
	c->read_depth = p->read_depth;
	c->read_serve = p->read_serve;
	c->rnr_retries = p->rnr_retries;
}

int platform_connect(struct verbs_conn *conn, const struct verbs_params *p)
{
	struct sim_conn *c = sim_conn_of(conn);

	if (!c->adapter)
		return -ENODEV;
	must(c->cm == SIM_CM_IDLE);
	c->cm = SIM_CM_ASKING;
	keep(c, p);
	sim_event_at(&c->cm_event, after_ns(c), request_comes);
	return 0;
}

static void refused(struct sim_conn *c, const void *data, uint8_t len)
{
	c->cm = SIM_CM_REFUSED;
	c->params = (struct verbs_params){ .data_len = len };
	memset(c->data, 0, sizeof(c->data));
	if (len)
		memcpy(c->data, data, len);
	sim_event_at(&c->cm_event, after_ns(c), reject_comes);
}

static void request_comes(struct sim_event *e)
{
	struct sim_conn *c = container_of(e, struct sim_conn, cm_event), *other;
	struct sim_listener *s;

	if (sim_is_lost(c->adapter, c->far) || sim_is_lost(c->far, c->adapter)) {
		again(c, request_comes);
		return;
	}
	s = listener_of(c->far->core, &c->to);
	if (!s || !s->l.v->os) {
		refused(c, NULL, 0);
		return;
	}
	other = conn_make(s->l.v, &c->to, &c->from);
	set_adapter(other, c->far);
	other->far = c->adapter;
	other->cm = SIM_CM_ASKED;
	other->peer = c;
	c->peer = other;
	tell_said(other, CM_ASKED, 0, &c->params, c->data, REQUEST_DATA);
	/* an answer may take as long as it likes, but for ever */
	sim_event_at(&c->cm_event, c->deadline_ns, request_comes_not);
}

void platform_reject(struct verbs_conn *conn, const void *data, uint8_t len)
{
	struct sim_conn *c = sim_conn_of(conn), *peer = c->peer;

	c->cm = SIM_CM_OVER;
	if (!peer)
		return;
	peer->peer = NULL;
	c->peer = NULL;
	if (peer->cm == SIM_CM_ASKING)
		refused(peer, data, len);
}

static void request_comes_not(struct sim_event *e)
{
	again(container_of(e, struct sim_conn, cm_event), request_comes_not);
}

static void reject_comes(struct sim_event *e)
{
	struct sim_conn *c = container_of(e, struct sim_conn, cm_event);

	if (sim_is_lost(c->far, c->adapter)) {
		again(c, reject_comes);
		return;
	}
	c->cm = SIM_CM_OVER;
	tell_said(c, CM_CONN, VERBS_CONN_REJECTED, &c->params, c->data, REJECT_DATA);
}

int platform_accept(struct verbs_conn *conn, const struct verbs_params *p)
{
	struct sim_conn *c = sim_conn_of(conn);

	if (!c->adapter)
		return -ENODEV;
	if (c->cm != SIM_CM_ASKED)
		return -ENOTCONN;
	c->cm = SIM_CM_REPLIED;
	keep(c, p);
	c->qp = SIM_QP_READY;
	sim_event_at(&c->cm_event, after_ns(c), reply_comes);
	return 0;
}

/* To the one who asked. */
static void reply_comes(struct sim_event *e)
{
	struct sim_conn *c = container_of(e, struct sim_conn, cm_event), *to = c->peer;

	if (sim_wire_lost(c, to)) {
		again(c, reply_comes);
		return;
	}
	if (to->cm != SIM_CM_ASKING)
		return; /* it has changed its mind, and will say so */
	to->cm = SIM_CM_OPEN;
	sim_event_cancel(&to->cm_event);
	to->read_depth = min_u32(to->read_depth, c->read_serve);
	tell_said(to, CM_CONN, VERBS_CONN_ESTABLISHED, &c->params, c->data, REPLY_DATA);
}

/* It has heard the reply, and says so. */
static void ready_comes(struct sim_event *e)
{
	struct sim_conn *c = container_of(e, struct sim_conn, cm_event), *to = c->peer;

	if (!to || to->cm != SIM_CM_REPLIED)
		return;
	if (sim_wire_lost(c, to)) {
		sim_event_at(e, sim_now_ns() + CM_AGAIN_NS, ready_comes);
		return;
	}
	to->cm = SIM_CM_OPEN;
	tell_conn(to, VERBS_CONN_ESTABLISHED, 0);
}

void platform_conn_set_tos(struct verbs_conn *conn, uint8_t tos) {} /* all is served alike */

void platform_conn_set_ack_timeout(struct verbs_conn *conn, uint8_t exponent)
{
	sim_conn_of(conn)->ack_ns = VERBS_ACK_NS << exponent;
}

/* --- disconnecting -------------------------------------------------------------------------------- */

void platform_disconnect(struct verbs_conn *conn)
{
	struct sim_conn *c = sim_conn_of(conn);

	if (!c->adapter)
		return;
	sim_wire_break(c);
	if (c->cm == SIM_CM_ENDING || c->cm == SIM_CM_OVER || c->cm == SIM_CM_IDLE || c->cm == SIM_CM_REFUSED)
		return;
	c->cm = SIM_CM_ENDING;
	c->deadline_ns = sim_now_ns() + sim_verbs.opts.give_up_ns;
	sim_event_at(&c->cm_event, after_ns(c), end_comes);
}

/* To the other side, maybe; it may be gone. */
static void end_comes(struct sim_event *e)
{
	struct sim_conn *c = container_of(e, struct sim_conn, cm_event), *to = c->peer;

	if (to && sim_wire_lost(c, to) && sim_now_ns() < c->deadline_ns) {
		sim_event_at(e, min_u64(sim_now_ns() + CM_AGAIN_NS, c->deadline_ns), end_comes);
		return;
	}
	if (to && !sim_wire_lost(c, to) && to->cm != SIM_CM_ENDING && to->cm != SIM_CM_OVER && to->cm != SIM_CM_REFUSED) {
		to->cm = SIM_CM_OVER;
		sim_event_cancel(&to->cm_event);
		sim_wire_break(to);
		tell_conn(to, VERBS_CONN_ENDED, 0);
	}
	sim_event_at(e, after_ns(c), end_is_known);
}

static void end_is_known(struct sim_event *e)
{
	struct sim_conn *c = container_of(e, struct sim_conn, cm_event);

	c->cm = SIM_CM_OVER;
	tell_conn(c, VERBS_CONN_ENDED, 0);
}
