/* SPDX-License-Identifier: BSD-3-Clause */
/* conn.c: connections and listeners: the connection manager, and what it says.
 *
 * One channel tells all of them their events, on the control reactor. An event is copied and given back before it is
 * told: whoever is told may destroy the identifier it is for, which waits for those not given back.
 *
 * librdmacm takes its queue pair through its states by itself, within rdma_get_cm_event() and rdma_accept().
 */
#include <errno.h>
#include <sys/epoll.h>

#include "core/log.h"
#include "verbs/os/os.h"

#define EVENTS_A_PASS 32u
#define RELISTEN_NS_MIN (500 * NS_PER_MS)
#define RELISTEN_NS_MAX (16 * NS_PER_S)
#define RNR_640_US 12 /* InfiniBand's code for it */
#define REJECTED_BY_CONSUMER 28 /* IB_CM_REJ_CONSUMER_DEFINED: by a program, not because there is none */

struct told {
	enum rdma_cm_event_type event;
	int status;
	struct rdma_cm_id *id, *listen_id;
	struct verbs_params params;
	uint8_t data[VERBS_DATA_MAX];
};

static int take(struct os_verbs *o, struct told *ret_t);
static void tell(struct os_verbs *o, struct told *t);
static void conn_told(struct os_conn *c, struct told *t);
static void addr_resolved(struct os_conn *c);
static void asked(struct os_verbs *o, struct os_listener *l, struct told *t);
static void listener_lost(struct os_verbs *o, struct os_listener *l);
static void on_relisten(struct timer *t);
static int listen_on(struct os_verbs *o, struct os_listener *l);
static int listen_failed(const struct net_addr *addr, int error, struct err *e);
static struct rdma_conn_param param_of(const struct verbs_params *p);
static void mend(struct os_conn *c, bool shut);
static void end_soon(struct os_conn *c);
static void on_end(struct defer *d);

/* --- events --------------------------------------------------------------------------------------- */

void os_on_cm_events(struct source *s, uint32_t events)
{
	struct os_verbs *o = container_of(s, struct os_verbs, events);
	struct told t;

	/* Level triggered: those left over come in the next pass. Who is told may close all of it. */
	for (uint32_t i = 0; i < EVENTS_A_PASS && s->reactor && !take(o, &t); i++) {
		bool last = i + 1 == EVENTS_A_PASS;
		struct verbs *v = o->v;

		v->users++;
		tell(o, &t);
		if (v->users == 1)
			last = true;
		verbs_put(v);
		if (last)
			return;
	}
}

static int take(struct os_verbs *o, struct told *ret_t)
{
	struct rdma_cm_event *e;
	const struct rdma_conn_param *p;

	if (rdma_get_cm_event(o->channel, &e))
		return -errno;
	p = &e->param.conn;
	*ret_t = (struct told){ .event = e->event, .status = e->status, .id = e->id, .listen_id = e->listen_id };
	if (e->event == RDMA_CM_EVENT_CONNECT_REQUEST || e->event == RDMA_CM_EVENT_ESTABLISHED ||
	    e->event == RDMA_CM_EVENT_REJECTED) {
		/* Depths come from our point of view: what the other side may begin, we have to serve. */
		ret_t->params = (struct verbs_params){ .data = ret_t->data, .read_depth = p->responder_resources,
			.read_serve = p->initiator_depth, .retries = p->retry_count, .rnr_retries = p->rnr_retry_count,
			.flow_control = p->flow_control };
		if (p->private_data)
			ret_t->params.data_len = p->private_data_len;
		if (ret_t->params.data_len)
			memcpy(ret_t->data, p->private_data, ret_t->params.data_len);
	}
	rdma_ack_cm_event(e);
	return 0;
}

static void tell(struct os_verbs *o, struct told *t)
{
	if (t->event == RDMA_CM_EVENT_CONNECT_REQUEST) {
		asked(o, t->listen_id->context, t);
		return;
	}
	list_each(l, &o->v->listeners) {
		struct verbs_listener *listener = list_entry(l, struct verbs_listener, link);
		struct os_listener *os = container_of(listener, struct os_listener, listener);

		if (os->id == t->id) {
			if (t->event == RDMA_CM_EVENT_DEVICE_REMOVAL || t->event == RDMA_CM_EVENT_ADDR_CHANGE)
				listener_lost(o, os);
			return;
		}
	}
	conn_told(t->id->context, t);
}

static int rc_of(int status)
{
	if (status == -1) /* librdmacm's own: the adapter cannot be asked */
		return -ENODEV;
	return status ? -abs(status) : -ETIMEDOUT;
}

static void conn_told(struct os_conn *c, struct told *t)
{
	struct verbs_params *p = &t->params;

	switch (t->event) {
	case RDMA_CM_EVENT_ADDR_RESOLVED:
		addr_resolved(c);
		break;
	case RDMA_CM_EVENT_ROUTE_RESOLVED:
		verbs_conn_told(&c->conn, VERBS_CONN_RESOLVED, NULL, 0);
		break;
	case RDMA_CM_EVENT_ESTABLISHED:
		c->established = true;
		verbs_conn_told(&c->conn, VERBS_CONN_ESTABLISHED, c->conn.asked ? NULL : p, 0);
		break;
	case RDMA_CM_EVENT_REJECTED:
		if (t->status >= 0 && t->status != REJECTED_BY_CONSUMER)
			p->data_len = 0;
		verbs_conn_told(&c->conn, VERBS_CONN_REJECTED, p, -ECONNREFUSED);
		break;
	case RDMA_CM_EVENT_ADDR_ERROR:
	case RDMA_CM_EVENT_ROUTE_ERROR:
		verbs_conn_told(&c->conn, VERBS_CONN_UNREACHABLE, NULL, rc_of(t->status));
		break;
	case RDMA_CM_EVENT_CONNECT_ERROR: /* statuses of these are not of errno everywhere */
		verbs_conn_told(&c->conn, VERBS_CONN_UNREACHABLE, NULL, -ECONNABORTED);
		break;
	case RDMA_CM_EVENT_UNREACHABLE:
		verbs_conn_told(&c->conn, VERBS_CONN_UNREACHABLE, NULL, -ETIMEDOUT);
		break;
	case RDMA_CM_EVENT_DISCONNECTED:
		(void)rdma_disconnect(c->id); /* ours too: what is posted is flushed */
		verbs_conn_told(&c->conn, VERBS_CONN_ENDED, NULL, 0);
		break;
	case RDMA_CM_EVENT_DEVICE_REMOVAL:
		if (c->conn.dev)
			verbs_dev_lost(c->conn.dev); /* tells this one as well */
		else
			verbs_conn_told(&c->conn, VERBS_CONN_UNREACHABLE, NULL, -ENODEV);
		break;
	case RDMA_CM_EVENT_ADDR_CHANGE: /* its address moved to another adapter of a bond: as kernels do */
		if (c->established)
			os_conn_failed(c);
		break;
	default: /* TIMEWAIT_EXIT */
		break;
	}
}

static void addr_resolved(struct os_conn *c)
{
	struct os_verbs *o = c->conn.v->os;
	struct os_dev *d = os_find_dev(c->conn.v, c->id->verbs);

	if (!d && !c->looked) { /* the first look may not be over; or it has just come */
		c->looked = true;
		list_add_tail(&o->strangers, &c->link);
		if (!o->looking)
			os_look_for_devs(o);
		return;
	}
	if (!d) {
		verbs_conn_told(&c->conn, VERBS_CONN_UNREACHABLE, NULL, -ENODEV);
		return;
	}
	verbs_conn_set_dev(&c->conn, &d->dev);
	if (rdma_resolve_route(c->id, (int)c->timeout_ms))
		verbs_conn_told(&c->conn, VERBS_CONN_UNREACHABLE, NULL, -errno);
}

void os_conns_look_again(struct os_verbs *o)
{
	struct list *l;

	while ((l = list_pop(&o->strangers)))
		addr_resolved(list_entry(l, struct os_conn, link));
}

/* --- who connects --------------------------------------------------------------------------------- */

struct verbs_conn *platform_resolve(struct verbs *v, const struct net_addr *to, const struct net_addr *from,
                                    uint32_t timeout_ms, struct err *e)
{
	struct os_verbs *o = v->os;
	struct os_conn *c = base_zalloc(sizeof(*c));
	char text[NET_ADDR_TEXT_MAX];

	verbs_conn_init(&c->conn, v);
	c->timeout_ms = timeout_ms;
	if (!rdma_create_id(o->channel, &c->id, c, RDMA_PS_TCP)) {
		if (!rdma_resolve_addr(c->id, from ? (struct sockaddr *)(uintptr_t)&from->any : NULL,
		                       (struct sockaddr *)(uintptr_t)&to->any, (int)timeout_ms))
			return &c->conn;
	}
	err_set(e, errno ? -errno : -EIO, "RDMA: cannot begin to connect to %s: %s", net_addr_text(to, text),
	        strerror(errno));
	if (c->id)
		rdma_destroy_id(c->id);
	free(c);
	return NULL;
}

/* Before the route is resolved, which takes it. */
void platform_conn_set_tos(struct verbs_conn *conn, uint8_t tos)
{
	if (rdma_set_option(os_conn(conn)->id, RDMA_OPTION_ID, RDMA_OPTION_ID_TOS, &tos, sizeof(tos)))
		log_notice("RDMA: connections cannot have the type of service %u: %s", tos, strerror(errno));
}

/* Kernels put it into the queue pair when it becomes ready to send. */
void platform_conn_set_ack_timeout(struct verbs_conn *conn, uint8_t exponent)
{
	if (rdma_set_option(os_conn(conn)->id, RDMA_OPTION_ID, RDMA_OPTION_ID_ACK_TIMEOUT, &exponent, sizeof(exponent)))
		log_notice("RDMA: connections cannot have an acknowledgement timeout of their own: %s", strerror(errno));
}

int platform_conn_make_queues(struct verbs_conn *conn, struct verbs_queues *q, struct err *e)
{
	struct os_conn *c = os_conn(conn);
	struct ibv_qp_init_attr attr = {
		.qp_context = c,
		.send_cq = os_cq(q->cq)->ibv,
		.recv_cq = os_cq(q->cq)->ibv,
		.srq = q->srq ? os_srq(q->srq)->ibv : NULL,
		.cap = {
			.max_send_wr = q->send_max,
			.max_recv_wr = q->srq ? 0 : q->recv_max,
			.max_send_sge = q->send_sge_max,
			.max_recv_sge = q->srq ? 0 : q->recv_sge_max,
			.max_inline_data = q->inline_max,
		},
		.qp_type = IBV_QPT_RC,
	};
	int rc = rdma_create_qp(c->id, os_dev(conn->dev)->pd, &attr);

	if (rc && attr.cap.max_inline_data) { /* there is no saying how much it can */
		attr.cap.max_inline_data = 0;
		rc = rdma_create_qp(c->id, os_dev(conn->dev)->pd, &attr);
	}
	if (rc)
		return err_set(e, -errno, "RDMA: adapter %s gives no queue pair of %u work requests to send and %u to receive: "
		               "%s", conn->dev->info.name, q->send_max, q->recv_max, strerror(errno));
	c->qp = c->id->qp;
	c->inline_max = attr.cap.max_inline_data;
	q->inline_max = c->inline_max;
	conn->qp_num = c->qp->qp_num;
	return 0;
}

static struct rdma_conn_param param_of(const struct verbs_params *p)
{
	return (struct rdma_conn_param){
		.private_data = p->data_len ? p->data : NULL,
		.private_data_len = p->data_len,
		.responder_resources = p->read_serve,
		.initiator_depth = p->read_depth,
		.flow_control = p->flow_control,
		.retry_count = p->retries,
		.rnr_retry_count = p->rnr_retries,
	};
}

int platform_connect(struct verbs_conn *conn, const struct verbs_params *p)
{
	struct rdma_conn_param param = param_of(p);

	return rdma_connect(os_conn(conn)->id, &param) ? -errno : 0;
}

/* --- who is connected to -------------------------------------------------------------------------- */

struct verbs_listener *platform_listen(struct verbs *v, const struct net_addr *addr, uint32_t backlog, struct err *e)
{
	struct os_listener *l = base_zalloc(sizeof(*l));
	int rc;

	l->addr = *addr;
	l->backlog = backlog ? (int)min_u32(backlog, INT32_MAX) : 128;
	rc = listen_on(v->os, l);
	if (!rc) {
		net_addr_set_port(&l->addr, ntohs(rdma_get_src_port(l->id)));
		return &l->listener;
	}
	listen_failed(addr, -rc, e);
	free(l);
	return NULL;
}

static int listen_on(struct os_verbs *o, struct os_listener *l)
{
	int on = 1, rc;

	if (rdma_create_id(o->channel, &l->id, l, RDMA_PS_TCP)) {
		l->id = NULL;
		return -errno;
	}
	/* As TCP's listeners: [::] is for IPv6 only. */
	if (net_addr_family(&l->addr) == NET_IPV6)
		(void)rdma_set_option(l->id, RDMA_OPTION_ID, RDMA_OPTION_ID_AFONLY, &on, sizeof(on));
	if (!rdma_bind_addr(l->id, &l->addr.any) && !rdma_listen(l->id, l->backlog))
		return 0;
	rc = -errno;
	rdma_destroy_id(l->id);
	l->id = NULL;
	return rc;
}

static int listen_failed(const struct net_addr *addr, int error, struct err *e)
{
	char text[NET_ADDR_TEXT_MAX], host[NET_ADDR_TEXT_MAX];

	net_addr_text(addr, text);
	net_addr_host(addr, host);
	if (error == EADDRINUSE)
		return err_set(e, -error, "cannot listen on %s with RDMA: the port is taken; choose another port, or stop who "
		               "has it (\"rdma resource show cm_id\" tells)", text);
	if (error == EADDRNOTAVAIL || error == ENODEV)
		return err_set(e, -error, "cannot listen on %s with RDMA: no RDMA adapter has the address %s (\"rdma link\" "
		               "tells which network interfaces have one)", text, host);
	return err_set(e, -error, "cannot listen on %s with RDMA: %s", text, strerror(error));
}

void platform_listener_addr(const struct verbs_listener *listener, struct net_addr *ret_addr)
{
	*ret_addr = container_of(listener, struct os_listener, listener)->addr;
}

void platform_listener_close(struct verbs_listener *listener)
{
	struct os_listener *l = container_of(listener, struct os_listener, listener);

	if (l->id)
		rdma_destroy_id(l->id);
	free(l);
}

/* Its adapter goes, or its address has moved to another one. */
static void listener_lost(struct os_verbs *o, struct os_listener *l)
{
	rdma_destroy_id(l->id);
	l->id = NULL;
	o->relisten_ns = 0;
	os_listen_again(o);
}

/* An adapter that came back may get its address long after. */
void os_listen_again(struct os_verbs *o)
{
	bool all = true;

	list_each(link, &o->v->listeners) {
		struct verbs_listener *listener = list_entry(link, struct verbs_listener, link);
		struct os_listener *l = container_of(listener, struct os_listener, listener);
		char text[NET_ADDR_TEXT_MAX];

		if (l->id)
			continue;
		if (!listen_on(o, l))
			log_notice("RDMA: listening on %s again", net_addr_text(&l->addr, text));
		all &= l->id != NULL;
	}
	if (all) {
		timer_stop(&o->relisten);
		return;
	}
	o->relisten_ns = o->relisten_ns ? min_u64(2 * o->relisten_ns, RELISTEN_NS_MAX) : RELISTEN_NS_MIN;
	timer_start(&o->relisten, o->relisten_ns, on_relisten);
}

static void on_relisten(struct timer *t) { os_listen_again(container_of(t, struct os_verbs, relisten)); }

static void asked(struct os_verbs *o, struct os_listener *l, struct told *t)
{
	struct os_dev *d = os_find_dev(o->v, t->id->verbs);
	struct os_conn *c;

	if (!d) {
		os_look_for_devs(o);
		(void)rdma_reject(t->id, NULL, 0);
		rdma_destroy_id(t->id);
		return;
	}
	c = base_zalloc(sizeof(*c));
	c->id = t->id;
	c->id->context = c;
	verbs_conn_init(&c->conn, o->v);
	verbs_conn_set_dev(&c->conn, &d->dev);
	verbs_listener_told(&l->listener, &c->conn, &t->params);
}

int platform_accept(struct verbs_conn *conn, const struct verbs_params *p)
{
	struct rdma_conn_param param = param_of(p);
	struct os_conn *c = os_conn(conn);

	if (rdma_accept(c->id, &param))
		return -errno;
	if (!conn->dev->info.iwarp) /* its own READs need what would be shut, and it knows no such timer */
		mend(c, !p->read_serve);
	return 0;
}

/* The connection manager lets the other side WRITE, with any key of any memory of the adapter's: of the buffers and
 * guests that hosts connect for. Who only accepts gave no key away. And it has the other side wait 655 ms when it met
 * no receive. */
static void mend(struct os_conn *c, bool shut)
{
	struct ibv_qp_attr attr = { .qp_access_flags = 0, .min_rnr_timer = RNR_640_US };
	int rc = ibv_modify_qp(c->qp, &attr, IBV_QP_MIN_RNR_TIMER | (shut ? IBV_QP_ACCESS_FLAGS : 0));

	if (rc)
		log_warning("RDMA: adapter %s: a queue pair stays open for writes of the other side, if it guesses keys: %s",
		            c->conn.dev->info.name, strerror(abs(rc)));
}

void platform_reject(struct verbs_conn *conn, const void *data, uint8_t len)
{
	(void)rdma_reject(os_conn(conn)->id, data, len);
}

/* --- ending --------------------------------------------------------------------------------------- */

void platform_disconnect(struct verbs_conn *conn)
{
	struct os_conn *c = os_conn(conn);

	if (!c->id)
		return;
	(void)rdma_disconnect(c->id);
	if (c->established)
		end_soon(c);
}

void os_conn_failed(struct os_conn *c)
{
	if (!c->id)
		return;
	(void)rdma_disconnect(c->id);
	end_soon(c);
}

/* The other side may not answer for a minute. */
static void end_soon(struct os_conn *c)
{
	defer_run(&c->end, on_end);
}

static void on_end(struct defer *d)
{
	struct os_conn *c = container_of(d, struct os_conn, end);

	verbs_conn_told(&c->conn, VERBS_CONN_ENDED, NULL, 0);
}

void platform_conn_break(struct verbs_conn *conn)
{
	struct ibv_qp_attr attr = { .qp_state = IBV_QPS_ERR };
	struct os_conn *c = os_conn(conn);

	if (c->qp) /* NULL: it was closed without being forgotten */
		(void)ibv_modify_qp(c->qp, &attr, IBV_QP_STATE);
}

static void addr_copy(struct net_addr *to, const struct sockaddr *from)
{
	*to = (struct net_addr){ 0 };
	if (!from || (from->sa_family != AF_INET && from->sa_family != AF_INET6))
		return;
	to->len = from->sa_family == AF_INET ? sizeof(to->v4) : sizeof(to->v6);
	memcpy(&to->any, from, to->len);
}

void platform_conn_close(struct verbs_conn *conn)
{
	struct os_conn *c = os_conn(conn);

	platform_conn_addrs(conn, &c->local, &c->peer);
	defer_cancel(&c->end);
	if (list_linked(&c->link))
		list_del(&c->link);
	if (c->qp)
		rdma_destroy_qp(c->id);
	c->qp = NULL;
	rdma_destroy_id(c->id);
	c->id = NULL;
}

void platform_conn_free(struct verbs_conn *conn)
{
	free(os_conn(conn));
}

void platform_conn_addrs(const struct verbs_conn *conn, struct net_addr *ret_local, struct net_addr *ret_peer)
{
	const struct os_conn *c = os_conn(conn);

	if (c->id) {
		addr_copy(ret_local, rdma_get_local_addr(c->id));
		addr_copy(ret_peer, rdma_get_peer_addr(c->id));
	} else {
		*ret_local = c->local;
		*ret_peer = c->peer;
	}
}
