/* SPDX-License-Identifier: BSD-3-Clause */
/* cm.c: the fake librdmacm: ids, their events, and connections within the process or with the synthetic host.
 *
 * Every address is one of the adapter's, but for those of 192.0.2.0/24: nobody answers there. Nothing takes time:
 * an event is there when the call that brings it about returns.
 */
#include "cm.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DATA_MAX 256u
#define FIRST_FREE_PORT 32768u
/* Private data is padded to what the packet holds. */
#define REQUEST_DATA 56u
#define ACCEPT_DATA 196u
#define REJECT_DATA 148u
#define REJECTED_NOBODY_LISTENS 8
#define REJECTED_BY_CONSUMER 28

struct channel {
	struct rdma_event_channel channel;
	struct list events; /* of struct event */
};

enum id_state { IDLE, BOUND, LISTENS, RESOLVED, ASKED, CALLS, CONNECTED, ENDED };

struct id {
	struct rdma_cm_id id;
	struct list link;
	enum id_state state;
	struct id *other;          /* within the process */
	struct cm_caller *caller;  /* the host */
	uint8_t rnr_retries;
	uint32_t events_out;       /* told, not acknowledged */
};

struct event {
	struct rdma_cm_event event;
	struct list link;
	uint8_t data[DATA_MAX];
};

static struct list ids = { &ids, &ids };
static uint16_t next_port = FIRST_FREE_PORT;

static struct id *id_of(struct rdma_cm_id *id) { return container_of(id, struct id, id); }

/* --- events ----------------------------------------------------------------------------------------------------- */

FAKE_EXPORT struct rdma_event_channel *rdma_create_event_channel(void)
{
	struct channel *ch = calloc(1, sizeof *ch);

	if (!ch)
		return NULL;
	ch->channel.fd = fake_eventfd();
	list_init(&ch->events);
	return &ch->channel;
}

FAKE_EXPORT void rdma_destroy_event_channel(struct rdma_event_channel *channel)
{
	struct channel *ch = container_of(channel, struct channel, channel);

	close(channel->fd);
	while (!list_empty(&ch->events))
		free(list_entry(list_pop(&ch->events), struct event, link));
	free(ch);
}

static struct event *tell(struct id *id, enum rdma_cm_event_type type, int status)
{
	struct channel *ch = container_of(id->id.channel, struct channel, channel);
	struct event *e = calloc(1, sizeof *e);

	if (!e)
		fake_fault("no memory for an event");
	e->event.id = &id->id;
	e->event.event = type;
	e->event.status = status;
	list_add_tail(&ch->events, &e->link);
	fake_eventfd_add(ch->channel.fd);
	return e;
}

static void tell_data(struct event *e, const void *data, uint8_t len, uint8_t padded)
{
	if (data)
		memcpy(e->data, data, len);
	e->event.param.conn.private_data = e->data;
	e->event.param.conn.private_data_len = padded;
}

static void forget_events(struct id *id)
{
	struct channel *ch = container_of(id->id.channel, struct channel, channel);

	list_each_safe(l, &ch->events) {
		struct event *e = list_entry(l, struct event, link);

		if (e->event.id != &id->id)
			continue;
		list_del(l);
		free(e);
	}
}

FAKE_EXPORT int rdma_get_cm_event(struct rdma_event_channel *channel, struct rdma_cm_event **ret_event)
{
	struct channel *ch = container_of(channel, struct channel, channel);
	struct event *e;

	for (;;) {
		if (fake_eventfd_take(channel->fd))
			return -1;
		fake_lock();
		e = list_first(&ch->events, struct event, link);
		if (e) {
			list_del(&e->link);
			id_of(e->event.id)->events_out++;
		}
		fake_unlock();
		if (e) /* else its id was destroyed meanwhile */
			break;
	}
	*ret_event = &e->event;
	return 0;
}

FAKE_EXPORT int rdma_ack_cm_event(struct rdma_cm_event *event)
{
	fake_lock();
	id_of(event->id)->events_out--;
	fake_unlock();
	free(container_of(event, struct event, event));
	return 0;
}

/* --- ids -------------------------------------------------------------------------------------------------------- */

static struct id *id_make(struct rdma_event_channel *channel, void *context, enum rdma_port_space ps)
{
	struct id *id = calloc(1, sizeof *id);

	if (!id)
		return NULL;
	id->id = (struct rdma_cm_id){ .channel = channel, .context = context, .ps = ps, .port_num = 1,
	                              .qp_type = IBV_QPT_RC };
	list_add_tail(&ids, &id->link);
	return id;
}

FAKE_EXPORT int rdma_create_id(struct rdma_event_channel *channel, struct rdma_cm_id **ret_id, void *context,
                               enum rdma_port_space ps)
{
	struct id *id;

	if (!channel || ps != RDMA_PS_TCP) {
		errno = EINVAL;
		return -1;
	}
	fake_lock();
	id = id_make(channel, context, ps);
	fake_unlock();
	if (!id)
		return -1;
	*ret_id = &id->id;
	return 0;
}

static void fail_qp_of(struct id *id)
{
	if (id->id.qp)
		fake_qp_fail(fake_qp_of(id->id.qp));
}

/* Neither side has the other any more; the other one hears of it. */
static void part(struct id *id)
{
	struct id *other = id->other;
	struct cm_caller *caller = id->caller;
	enum id_state was = id->state;

	id->other = NULL;
	id->caller = NULL;
	if (was == CONNECTED || was == ASKED || was == CALLS)
		id->state = ENDED;
	if (caller) {
		caller->id = NULL;
		caller->ops->ended(caller);
	}
	if (!other)
		return;
	other->other = NULL;
	other->state = ENDED;
	if (was == ASKED)
		tell_data(tell(other, RDMA_CM_EVENT_REJECTED, REJECTED_BY_CONSUMER), NULL, 0, REJECT_DATA);
	if (was != CONNECTED)
		return;
	fail_qp_of(other);
	tell(other, RDMA_CM_EVENT_DISCONNECTED, 0);
	tell(other, RDMA_CM_EVENT_TIMEWAIT_EXIT, 0);
}

FAKE_EXPORT int rdma_destroy_id(struct rdma_cm_id *rdma_id)
{
	struct id *id = id_of(rdma_id);

	fake_lock();
	if (id->events_out)
		fake_fault("rdma_destroy_id() with %u events not acknowledged: it blocks for ever", id->events_out);
	if (id->state == LISTENS)
		host_listener_gone(rdma_id);
	part(id);
	forget_events(id);
	list_del(&id->link);
	fake_unlock();
	free(id);
	return 0;
}

FAKE_EXPORT int rdma_migrate_id(struct rdma_cm_id *id, struct rdma_event_channel *channel)
{
	struct channel *from = container_of(id->channel, struct channel, channel);
	struct channel *to = container_of(channel, struct channel, channel);

	fake_lock();
	list_each_safe(l, &from->events) {
		if (list_entry(l, struct event, link)->event.id != id)
			continue;
		list_del(l);
		list_add_tail(&to->events, l);
		fake_eventfd_add(channel->fd);
	}
	id->channel = channel;
	fake_unlock();
	return 0;
}

/* --- addresses -------------------------------------------------------------------------------------------------- */

/* In the order of the network, at the same place for both families. */
static in_port_t *port_at(struct sockaddr *a)
{
	_Static_assert(offsetof(struct sockaddr_in, sin_port) == offsetof(struct sockaddr_in6, sin6_port), "port");
	return &((struct sockaddr_in *)a)->sin_port;
}

static bool is_wildcard(const struct sockaddr *a)
{
	if (a->sa_family == AF_INET6)
		return IN6_IS_ADDR_UNSPECIFIED(&((const struct sockaddr_in6 *)a)->sin6_addr);
	return ((const struct sockaddr_in *)a)->sin_addr.s_addr == INADDR_ANY;
}

static bool is_dead(const struct sockaddr *a)
{
	return a->sa_family == AF_INET && ntohl(((const struct sockaddr_in *)a)->sin_addr.s_addr) >> 8 == 0xc00002;
}

static bool same_host(const struct sockaddr *a, const struct sockaddr *b)
{
	if (a->sa_family != b->sa_family)
		return false;
	if (a->sa_family == AF_INET6)
		return !memcmp(&((const struct sockaddr_in6 *)a)->sin6_addr, &((const struct sockaddr_in6 *)b)->sin6_addr, 16);
	return ((const struct sockaddr_in *)a)->sin_addr.s_addr == ((const struct sockaddr_in *)b)->sin_addr.s_addr;
}

static size_t addr_size(const struct sockaddr *a)
{
	return a->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
}

static bool port_is_taken(struct sockaddr *addr)
{
	list_each(l, &ids) {
		struct id *id = list_entry(l, struct id, link);
		struct sockaddr *a = &id->id.route.addr.src_addr;

		if ((id->state == BOUND || id->state == LISTENS) && *port_at(a) == *port_at(addr) &&
		    (same_host(a, addr) || is_wildcard(a) || is_wildcard(addr)))
			return true;
	}
	return false;
}

FAKE_EXPORT int rdma_bind_addr(struct rdma_cm_id *id, struct sockaddr *addr)
{
	struct sockaddr *own = &id->route.addr.src_addr;
	int rc = 0;

	fake_lock();
	memcpy(own, addr, addr_size(addr));
	while (!*port_at(addr) && (!*port_at(own) || port_is_taken(own)))
		*port_at(own) = htons(next_port++);
	if (port_is_taken(own)) {
		errno = EADDRINUSE;
		rc = -1;
	} else {
		id_of(id)->state = BOUND;
		id->verbs = is_wildcard(own) ? NULL : &fake_context.context;
	}
	fake_unlock();
	return rc;
}

FAKE_EXPORT int rdma_resolve_addr(struct rdma_cm_id *id, struct sockaddr *from, struct sockaddr *to, int timeout_ms)
{
	struct sockaddr *own = &id->route.addr.src_addr;

	fake_lock();
	memcpy(&id->route.addr.dst_addr, to, addr_size(to));
	memcpy(own, from ? from : to, addr_size(from ? from : to));
	if (!from || !*port_at(from))
		*port_at(own) = htons(next_port++);
	if (is_dead(to)) {
		tell(id_of(id), RDMA_CM_EVENT_ADDR_ERROR, -ETIMEDOUT);
	} else {
		id->verbs = &fake_context.context;
		id_of(id)->state = RESOLVED;
		tell(id_of(id), RDMA_CM_EVENT_ADDR_RESOLVED, 0);
	}
	fake_unlock();
	return 0;
}

FAKE_EXPORT int rdma_resolve_route(struct rdma_cm_id *id, int timeout_ms)
{
	fake_lock();
	tell(id_of(id), RDMA_CM_EVENT_ROUTE_RESOLVED, 0);
	fake_unlock();
	return 0;
}

FAKE_EXPORT __be16 rdma_get_src_port(struct rdma_cm_id *id) { return id->route.addr.src_sin.sin_port; }
FAKE_EXPORT __be16 rdma_get_dst_port(struct rdma_cm_id *id) { return id->route.addr.dst_sin.sin_port; }
/* Tests read it. */
FAKE_EXPORT int rdma_set_option(struct rdma_cm_id *id, int level, int name, void *value, size_t len)
{
	if (level == RDMA_OPTION_ID && name == RDMA_OPTION_ID_ACK_TIMEOUT && len == 1)
		fprintf(stderr, "fake_verbs: acknowledgements: exponent %u\n", *(uint8_t *)value);
	return 0;
}

/* --- connecting ------------------------------------------------------------------------------------------------- */

FAKE_EXPORT int rdma_create_qp(struct rdma_cm_id *id, struct ibv_pd *pd, struct ibv_qp_init_attr *attr)
{
	if (id->qp || !id->verbs) {
		errno = EINVAL;
		return -1;
	}
	id->qp = fake_qp_make(pd, attr);
	if (!id->qp)
		return -1;
	id->pd = pd;
	id->send_cq = attr->send_cq;
	id->recv_cq = attr->recv_cq;
	id->srq = attr->srq;
	return 0;
}

FAKE_EXPORT int rdma_create_qp_ex(struct rdma_cm_id *id, struct ibv_qp_init_attr_ex *attr)
{
	struct ibv_qp_init_attr plain = { .qp_context = attr->qp_context, .send_cq = attr->send_cq,
		.recv_cq = attr->recv_cq, .srq = attr->srq, .cap = attr->cap, .qp_type = attr->qp_type,
		.sq_sig_all = attr->sq_sig_all };

	if (attr->comp_mask != IBV_QP_INIT_ATTR_PD) {
		errno = EOPNOTSUPP;
		return -1;
	}
	return rdma_create_qp(id, attr->pd, &plain);
}

FAKE_EXPORT void rdma_destroy_qp(struct rdma_cm_id *id)
{
	ibv_destroy_qp(id->qp);
	id->qp = NULL;
}

FAKE_EXPORT int rdma_listen(struct rdma_cm_id *id, int backlog)
{
	fake_lock();
	id_of(id)->state = LISTENS;
	host_listener_came(id);
	fake_unlock();
	return 0;
}

/* A new id of the listener's, and the event that tells of it. */
static struct event *ask(struct id *listener, const struct rdma_addr *from_and_to, const void *data, uint8_t len)
{
	struct id *child = id_make(listener->id.channel, listener->id.context, listener->id.ps);
	struct event *e;

	if (!child)
		fake_fault("no memory for a connection");
	child->state = ASKED;
	child->id.verbs = &fake_context.context;
	memcpy(&child->id.route.addr.src_storage, &from_and_to->dst_storage, sizeof from_and_to->dst_storage);
	memcpy(&child->id.route.addr.dst_storage, &from_and_to->src_storage, sizeof from_and_to->src_storage);
	e = tell(child, RDMA_CM_EVENT_CONNECT_REQUEST, 0);
	e->event.listen_id = &listener->id;
	tell_data(e, data, len, REQUEST_DATA);
	return e;
}

void cm_call(struct rdma_cm_id *listener, struct cm_caller *c, const void *data, uint8_t len, uint8_t read_serve)
{
	struct rdma_addr way = { .src_sin = { .sin_family = AF_INET, .sin_port = htons(next_port++),
	                                      .sin_addr.s_addr = htonl(INADDR_LOOPBACK) } };
	struct event *e;

	memcpy(&way.dst_storage, &listener->route.addr.src_storage, sizeof way.dst_storage);
	e = ask(id_of(listener), &way, data, len);
	e->event.param.conn.initiator_depth = read_serve; /* of who is asked: how it sees the caller's */
	e->event.param.conn.retry_count = 7;
	e->event.param.conn.rnr_retry_count = 7;
	c->id = e->event.id;
	id_of(c->id)->caller = c;
}

void cm_hang_up(struct cm_caller *c)
{
	struct id *id = c->id ? id_of(c->id) : NULL;
	bool was_connected = id && id->state == CONNECTED;

	if (!id)
		return;
	part(id);
	if (!was_connected)
		return;
	fail_qp_of(id);
	tell(id, RDMA_CM_EVENT_DISCONNECTED, 0);
	tell(id, RDMA_CM_EVENT_TIMEWAIT_EXIT, 0);
}

static struct id *listener_at(struct sockaddr *addr)
{
	list_each(l, &ids) {
		struct id *id = list_entry(l, struct id, link);
		struct sockaddr *a = &id->id.route.addr.src_addr;

		if (id->state == LISTENS && *port_at(a) == *port_at(addr) &&
		    (is_wildcard(a) || same_host(a, addr)))
			return id;
	}
	return NULL;
}

static void call(struct id *id, struct id *listener, const struct rdma_conn_param *p)
{
	struct event *e = ask(listener, &id->id.route.addr, p->private_data, p->private_data_len);

	e->event.param.conn.initiator_depth = p->responder_resources;
	e->event.param.conn.responder_resources = p->initiator_depth;
	e->event.param.conn.retry_count = p->retry_count;
	e->event.param.conn.rnr_retry_count = p->rnr_retry_count;
	id->other = id_of(e->event.id);
	id->other->other = id;
	id->other->rnr_retries = p->rnr_retry_count; /* of what the other side sends to us */
	id->state = CALLS;
}

FAKE_EXPORT int rdma_connect(struct rdma_cm_id *rdma_id, struct rdma_conn_param *p)
{
	struct id *id = id_of(rdma_id), *listener;

	if (!rdma_id->qp || p->private_data_len > REQUEST_DATA) {
		errno = EINVAL;
		return -1;
	}
	fake_lock();
	listener = listener_at(&rdma_id->route.addr.dst_addr);
	if (listener)
		call(id, listener, p);
	else
		tell_data(tell(id, RDMA_CM_EVENT_REJECTED, REJECTED_NOBODY_LISTENS), NULL, 0, REJECT_DATA);
	fake_unlock();
	return 0;
}

static void establish(struct id *id, const struct rdma_conn_param *p)
{
	struct id *other = id->other;
	struct event *e;

	fake_qp_connect(fake_qp_of(id->id.qp), fake_qp_of(other->id.qp), NULL, id->rnr_retries);
	fake_qp_connect(fake_qp_of(other->id.qp), fake_qp_of(id->id.qp), NULL, p->rnr_retry_count);
	id->state = other->state = CONNECTED;
	tell(id, RDMA_CM_EVENT_ESTABLISHED, 0);
	e = tell(other, RDMA_CM_EVENT_ESTABLISHED, 0);
	tell_data(e, p->private_data, p->private_data_len, ACCEPT_DATA);
	e->event.param.conn.initiator_depth = p->responder_resources;
	e->event.param.conn.responder_resources = p->initiator_depth;
	fake_qp_room(fake_qp_of(id->id.qp));
}

FAKE_EXPORT int rdma_accept(struct rdma_cm_id *rdma_id, struct rdma_conn_param *p)
{
	struct id *id = id_of(rdma_id);
	int rc = 0;

	if (!rdma_id->qp || p->private_data_len > ACCEPT_DATA) {
		errno = EINVAL;
		return -1;
	}
	fake_lock();
	if (id->state == ASKED && id->other) {
		establish(id, p);
	} else if (id->state == ASKED && id->caller) {
		id->state = CONNECTED;
		tell(id, RDMA_CM_EVENT_ESTABLISHED, 0);
		id->caller->ops->accepted(id->caller, fake_qp_of(rdma_id->qp));
	} else { /* who asked is gone */
		errno = ECONNRESET;
		rc = -1;
	}
	fake_unlock();
	return rc;
}

/* Here whoever accepted always hears that the connection is there: no data comes instead of it. */
FAKE_EXPORT int rdma_notify(struct rdma_cm_id *rdma_id, enum ibv_event_type event)
{
	(void)rdma_id;
	(void)event;
	return 0;
}

FAKE_EXPORT int rdma_reject(struct rdma_cm_id *rdma_id, const void *data, uint8_t len)
{
	struct id *id = id_of(rdma_id);

	fake_lock();
	if (id->state == ASKED && id->other) {
		tell_data(tell(id->other, RDMA_CM_EVENT_REJECTED, REJECTED_BY_CONSUMER), data, len, REJECT_DATA);
		id->other->state = ENDED;
		id->other->other = NULL;
		id->other = NULL;
	}
	id->state = ENDED;
	part(id);
	fake_unlock();
	return 0;
}

FAKE_EXPORT int rdma_disconnect(struct rdma_cm_id *rdma_id)
{
	struct id *id = id_of(rdma_id);

	fake_lock();
	if (id->state == CONNECTED) {
		part(id);
		tell(id, RDMA_CM_EVENT_DISCONNECTED, 0);
		tell(id, RDMA_CM_EVENT_TIMEWAIT_EXIT, 0);
	}
	fail_qp_of(id);
	fake_unlock();
	return 0;
}

/* --- the rest --------------------------------------------------------------------------------------------------- */

FAKE_EXPORT struct ibv_context **rdma_get_devices(int *ret_count)
{
	struct ibv_context **list = calloc(2, sizeof *list);

	if (!list)
		return NULL;
	fake_begin();
	list[0] = &fake_context.context;
	if (ret_count)
		*ret_count = 1;
	return list;
}

/* For who makes queue pairs without rdma_create_qp(): not here. */
FAKE_EXPORT int rdma_establish(struct rdma_cm_id *id) { errno = EOPNOTSUPP; return -1; }
FAKE_EXPORT int rdma_init_qp_attr(struct rdma_cm_id *id, struct ibv_qp_attr *attr, int *mask)
{
	errno = EOPNOTSUPP;
	return -1;
}

FAKE_EXPORT void rdma_free_devices(struct ibv_context **list) { free(list); }

FAKE_EXPORT const char *rdma_event_str(enum rdma_cm_event_type type)
{
	static const char *const text[] = {
		"address resolved", "address error", "route resolved", "route error", "connect request",
		"connect response", "connect error", "unreachable", "rejected", "established", "disconnected",
		"device removal", "multicast join", "multicast error", "address change", "timewait exit",
	};

	return (size_t)type < ARRAY_SIZE(text) ? text[type] : "unknown";
}
