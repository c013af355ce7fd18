/* SPDX-License-Identifier: BSD-3-Clause */
/* tcp.c: the transport itself: options, listeners, which core a connection goes to, and the end. Control reactor. */
#include <errno.h>

#include "nvmf/nvmf.h"
#include "nvmf/tcp/tcp.h"

static struct nvmf_transport *tcp_make(struct nvmf_target *t, const struct nvmf_transport_opts *opts, struct err *e);
static int tcp_listen(struct nvmf_transport *base, const struct net_addr *addr, struct err *e);
static int tcp_listen_secure(struct nvmf_transport *base, const struct net_addr *addr, bool concat, struct err *e);
static void tcp_unlisten(struct nvmf_transport *base, const struct net_addr *addr);
static void accepted(void *arg, struct sock *s);
static void enter(struct tcp_transport *tr, struct tcp_conn *c);
static void go_on_core(struct msg *m);
static void went(struct msg *m);
static void is_known(struct msg *m);
static void conn_is_gone(struct msg *m);
static void conn_maybe_free(struct tcp_conn *c);
static void tcp_stop(struct nvmf_transport *base, void (*done)(void *arg), void *arg);
static void stop_on_core(struct each *e);
static void stop_told(struct each *e);
static void end_on_core(struct each *e);
static void all_ended(struct each *e);
static void tcp_free(struct nvmf_transport *base);
static void tcp_stats(struct nvmf_transport *base, uint32_t core_index,
                      void (*emit)(void *arg, const char *key, uint64_t v), void *arg);

const struct nvmf_transport_ops nvmf_tcp_ops = {
	.name = "TCP",
	.trtype = NVMF_TRTYPE_TCP,
	.make = tcp_make,
	.stop = tcp_stop,
	.free = tcp_free,
	.listen = tcp_listen,
	.listen_secure = tcp_listen_secure,
	.unlisten = tcp_unlisten,
	.req_done = tcp_req_done,
	.req_abort = tcp_req_abort,
	.qpair_disconnect = tcp_conn_disconnect,
	.qpair_closed = tcp_conn_closed,
	.qpair_sized = tcp_conn_sized,
	.qpair_addrs = tcp_conn_addrs,
	.qpair_identity = tcp_conn_identity,
	.qpair_move = tcp_conn_move,
	.stats = tcp_stats,
};

/* --- making --- */

static struct nvmf_transport *tcp_make(struct nvmf_target *t, const struct nvmf_transport_opts *opts, struct err *e)
{
	struct core *core = reactor_core(reactor_self());
	struct tcp_transport *tr;

	tr = base_zalloc(sizeof(*tr));
	tr->base.ops = &nvmf_tcp_ops;
	tr->base.target = t;
	tr->base.opts = *opts;
	tr->base.sgls = NVME_SGLS_OFFSET | NVME_SGLS_TRANSPORT;
	tr->base.msdbd = 1;
	if (!opts->data_timeout_ms)
		tr->base.opts.data_timeout_ms = TCP_DATA_TIMEOUT_MS;
	tr->core = core;
	tr->icd_bytes_max = max_u32(opts->in_capsule_data_size, NVME_TCP_ADMIN_ICD_MAX);
	/* A read that begins and ends within pages. */
	tr->iovs_per_array = opts->max_io_size / MEM_SMALL_BYTES + 2;
	list_init(&tr->listeners);
	tcp_shakes_init(tr);
	nvmf_strangers_init(&tr->strangers, TCP_STRANGERS_MAX);
	tr->homes = base_zalloc_aligned(CACHE_LINE, core_reactor_count(core) * sizeof(*tr->homes));
	for (uint32_t i = 0; i < core_reactor_count(core); i++) {
		tr->homes[i].tr = tr;
		list_init(&tr->homes[i].conns);
	}
	return &tr->base;
}

/* --- listening --- */

static int open_listener(struct tcp_transport *tr, const struct net_addr *addr, bool secure, bool concat, struct err *e)
{
	struct tcp_listener *l = base_zalloc(sizeof(*l));

	l->tr = tr;
	l->secure = secure;
	l->concat = concat;
	l->addr = *addr;
	l->listener = listener_open(addr, 0, accepted, l, e);
	if (!l->listener) {
		free(l);
		return e && e->code ? e->code : -EIO;
	}
	list_add_tail(&tr->listeners, &l->link);
	return 0;
}

static int tcp_listen(struct nvmf_transport *base, const struct net_addr *addr, struct err *e)
{
	return open_listener(tcp_of(base), addr, false, false, e);
}

static int tcp_listen_secure(struct nvmf_transport *base, const struct net_addr *addr, bool concat, struct err *e)
{
	return open_listener(tcp_of(base), addr, true, concat, e);
}

static void tcp_unlisten(struct nvmf_transport *base, const struct net_addr *addr)
{
	list_each_safe(p, &tcp_of(base)->listeners) {
		struct tcp_listener *l = list_entry(p, struct tcp_listener, link);

		if (!net_addr_equal(&l->addr, addr))
			continue;
		listener_close(l->listener);
		list_del(&l->link);
		free(l);
	}
}

static void accepted(void *arg, struct sock *s)
{
	struct tcp_listener *l = arg;
	struct tcp_transport *tr = l->tr;
	const struct sock_opts opts = { .ack_timeout_ms = tr->base.opts.ack_timeout_ms,
	                                .priority = (uint8_t)tr->base.opts.sock_priority };

	sock_set_opts(s, &opts);
	if (l->secure)
		tcp_shake_begin(tr, s, l->concat);
	else
		tcp_take(tr, s, 0, false);
}

void tcp_take(struct tcp_transport *tr, struct sock *s, uint64_t tls_serial, bool concat_only)
{
	struct tcp_conn *c = tcp_conn_make(tr, s);

	c->tls_serial = tls_serial;
	c->concat_only = concat_only;
	tr->conns++;
	log_debug("NVMe/TCP: a connection comes; %u are there", tr->conns);
	c->on = nvmf_target_place(tr->base.target, s);
	enter(tr, c); /* while its socket is here */
	msg_send(c->on, &c->msg, tcp_conn_arrive);
}

/* --- too many that have not said who they are --- */

static void enter(struct tcp_transport *tr, struct tcp_conn *c)
{
	struct nvmf_stranger *goes;
	char text[NET_ADDR_TEXT_MAX];
	struct net_addr peer = { 0 };
	struct tcp_conn *other;

	sock_peer_addr(c->sock, &peer);
	nvmf_stranger_came(&tr->strangers, &c->stranger, &peer);
	goes = nvmf_stranger_stays(&tr->strangers, &c->stranger);
	if (!goes)
		return;
	if (log_may(&tr->complaints))
		log_warning("NVMe/TCP: %u connections have not said who they are: one goes for the next, from %s",
		            tr->strangers.max, net_addr_text(&peer, text));
	other = container_of(goes, struct tcp_conn, stranger);
	other->going = true;
	msg_send(other->on, &other->out_msg, go_on_core);
}

/* If it is known meanwhile it stays, and may be on another core. */
static void go_on_core(struct msg *m)
{
	struct tcp_conn *c = container_of(m, struct tcp_conn, out_msg);
	struct tcp_transport *tr = tcp_of(c->qp.transport);

	if (!atomic_load(&c->known) && c->state != CONN_LOST) {
		tcp_count(c->home, crowded_out, 1);
		tcp_conn_lose(c, "too many others have not said who they are");
	}
	msg_send(core_control(tr->core), m, went);
}

static void went(struct msg *m)
{
	struct tcp_conn *c = container_of(m, struct tcp_conn, out_msg);

	c->going = false;
	conn_maybe_free(c);
}

void tcp_conn_is_known(struct tcp_transport *tr, struct tcp_conn *c)
{
	atomic_store(&c->known, true);
	msg_send(core_control(tr->core), &c->known_msg, is_known);
}

static void is_known(struct msg *m)
{
	struct tcp_conn *c = container_of(m, struct tcp_conn, known_msg);

	c->heard = true;
	nvmf_stranger_connected(&tcp_of(c->qp.transport)->strangers, &c->stranger);
	conn_maybe_free(c);
}

/* --- a connection's end --- */

void tcp_conn_gone(struct tcp_transport *tr, struct tcp_conn *c)
{
	msg_send(core_control(tr->core), &c->msg, conn_is_gone);
}

static void conn_is_gone(struct msg *m)
{
	struct tcp_conn *c = container_of(m, struct tcp_conn, msg);

	c->over = true;
	conn_maybe_free(c);
}

/* Messages of several cores come in any order. */
static void conn_maybe_free(struct tcp_conn *c)
{
	struct tcp_transport *tr = tcp_of(c->qp.transport);

	if (!c->over || c->going || (atomic_load(&c->known) && !c->heard))
		return;
	nvmf_stranger_gone(&tr->strangers, &c->stranger);
	free(c);
	tr->conns--;
	tcp_maybe_stopped(tr);
}

/* --- stopping: tell every core, wait for every connection, then take the cores' parts down --- */

static void tcp_stop(struct nvmf_transport *base, void (*done)(void *arg), void *arg)
{
	struct tcp_transport *tr = tcp_of(base);

	assert(!tr->stopping);
	tr->stopping = true;
	tr->stopped = done;
	tr->stopped_arg = arg;
	while (!list_empty(&tr->listeners)) {
		struct net_addr addr = list_first(&tr->listeners, struct tcp_listener, link)->addr; /* it goes with it */

		tcp_unlisten(base, &addr);
	}
	tcp_shakes_end(tr);
	each_core(&tr->each, tr->core, stop_on_core, stop_told);
}

static void stop_on_core(struct each *e)
{
	struct tcp_transport *tr = container_of(e, struct tcp_transport, each);
	struct tcp_home *h = tcp_home_self(tr);

	h->stopping = true;
	list_each_safe(l, &h->conns)
		tcp_conn_lose(list_entry(l, struct tcp_conn, link), "the transport stops");
}

static void stop_told(struct each *e)
{
	struct tcp_transport *tr = container_of(e, struct tcp_transport, each);

	tr->told = true;
	tcp_maybe_stopped(tr);
}

void tcp_maybe_stopped(struct tcp_transport *tr)
{
	if (!tr->told || tr->conns || tr->reading)
		return;
	tr->told = false;
	each_core(&tr->each, tr->core, end_on_core, all_ended);
}

static void end_on_core(struct each *e)
{
	tcp_home_end(tcp_home_self(container_of(e, struct tcp_transport, each)));
}

static void all_ended(struct each *e)
{
	struct tcp_transport *tr = container_of(e, struct tcp_transport, each);

	tr->stopped(tr->stopped_arg);
}

static void tcp_free(struct nvmf_transport *base)
{
	struct tcp_transport *tr = tcp_of(base);

	assert(!tr->conns);
	free(tr->homes);
	free(tr);
}

/* --- counters --- */

static void tcp_stats(struct nvmf_transport *base, uint32_t core_index,
                      void (*emit)(void *arg, const char *key, uint64_t v), void *arg)
{
	struct tcp_home *h = &tcp_of(base)->homes[core_index];

#define EMIT(key, meaning) emit(arg, #key, __atomic_load_n(&h->counters.key, __ATOMIC_RELAXED));
	TCP_COUNTERS(EMIT)
}
