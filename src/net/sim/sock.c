/* SPDX-License-Identifier: BSD-3-Clause */
/* sock.c: net.h's sockets over the simulated network. Tells and keeps quiet as net/os does. */
#include <errno.h>

#include "core/trace.h"
#include "net/sim/inside.h"

static struct net_addr client_addr(const struct net_addr *to, const struct net_addr *from);
static void sock_on_ready(struct sim_ready *node);
static uint32_t level(const struct sock *s);
static bool has_failed(const struct sock *s);
static void leave(struct sock *s, bool reset);
static ssize_t raw_recvv(struct sock *s, const struct iovec *iov, int count);
static ssize_t raw_sendv(struct sock *s, const struct iovec *iov, int count);
static bool is_mine(const struct sock *s);

/* --- coming and going --- */

struct sock *sock_connect(const struct net_addr *to, const struct net_addr *from, const struct sock_opts *opts,
                          sock_ready_fn *ready, void *arg, struct err *e)
{
	struct net_addr local = client_addr(to, from);
	struct sock *s = sim_sock_make(conn_make(to, &local), 0);

	s->connecting = true;
	if (opts)
		sock_set_opts(s, opts);
	if (sock_attach(s, ready, arg))
		abort();
	return s;
}

static struct net_addr client_addr(const struct net_addr *to, const struct net_addr *from)
{
	struct net_addr a = { .len = sizeof(sa_family_t) };

	a.any.sa_family = AF_UNIX;
	if (from)
		a = *from;
	else if (net_addr_family(to) != NET_UNIX)
		must(!net_addr_parse(NET_ANY, net_addr_family(to) == NET_IPV4 ? "127.0.0.1" : "::1", "0", &a, NULL));
	if (!net_addr_port(&a))
		net_addr_set_port(&a, net_free_port());
	return a;
}

struct sock *sim_sock_make(struct conn *c, uint8_t side)
{
	struct sock *s = base_zalloc(sizeof(*s));

	s->conn = c;
	s->side = side;
	s->id = ++sim_net.last_id;
	s->want_read = true;
	list_init(&s->link);
	c->sock[side] = s;
	return s;
}

void sim_sock_free(struct sock *s)
{
	if (s->tls)
		tls_free(s->tls);
	if (s->gone)
		*s->gone = true;
	sim_ready_cancel(&s->node);
	list_del(&s->link);
	free(s);
}

struct sock *sock_from_fd(int fd, struct err *e)
{
	err_set(e, -ENOTSUP, "descriptor %d cannot be taken over: the simulated network has none", fd);
	return NULL;
}

struct sock *sock_pair(int *ret_fd, struct err *e)
{
	*ret_fd = -1;
	err_set(e, -ENOTSUP, "the simulated network has no descriptors to hand over");
	return NULL;
}

void sock_set_opts(struct sock *s, const struct sock_opts *opts)
{
	s->ack_timeout_ms = sock_out(s)->ack_timeout_ms = opts->ack_timeout_ms;
}

void sock_close(struct sock *s)
{
	must(is_mine(s));
	if (!s->tls || tls_close(s->tls))
		sock_raw_close(s);
}

void sock_raw_close(struct sock *s)
{
	leave(s, false);
}

void sock_reset(struct sock *s)
{
	leave(s, true);
}

static void leave(struct sock *s, bool reset)
{
	struct conn *c = s->conn;
	uint8_t side = s->side;

	must(is_mine(s));
	if (s->tls)
		tls_free(s->tls);
	sim_sock_free(s);
	conn_leave(c, side, reset);
}

void sock_shutdown_send(struct sock *s)
{
	if (s->tls)
		tls_shutdown_send(s->tls);
	else
		sock_raw_shutdown_send(s);
}

void sock_raw_shutdown_send(struct sock *s)
{
	if (sock_out(s)->fin_sent || s->failed)
		return;
	pipe_send(sock_out(s), true, false);
	sim_sock_update(s);
}

int sock_attach(struct sock *s, sock_ready_fn *ready, void *arg)
{
	must(!s->reactor);
	s->ready = ready;
	s->arg = arg;
	s->reactor = reactor_self();
	s->core = reactor_core(s->reactor);
	s->reported = false;
	s->progress = true;
	sim_sock_update(s);
	if (s->tls)
		tls_attached(s->tls);
	return 0;
}

void sock_detach(struct sock *s)
{
	must(s->reactor && is_mine(s) && !s->connecting);
	if (s->tls)
		tls_detached(s->tls);
	sim_ready_cancel(&s->node);
	s->reactor = NULL;
}

/* --- what happened --- */

void sim_sock_update(struct sock *s)
{
	if (s->reactor && level(s))
		sim_ready_add(s->reactor, &s->node, sock_on_ready);
}

/* What there is to tell now. */
static uint32_t level(const struct sock *s)
{
	bool may_read = s->want_read && !s->ended;
	uint32_t events = 0;

	if (s->connecting)
		return 0;
	if (s->connected)
		return SOCK_WRITABLE;
	if (has_failed(s)) {
		bool readable = may_read && s->progress;

		return s->reported && !readable ? 0 : SOCK_FAILED | (readable ? SOCK_READABLE : 0);
	}
	if (may_read && (pipe_readable(sock_in(s)) || sock_in(s)->fin_arrived))
		events |= SOCK_READABLE;
	if (s->want_write && pipe_room(sock_out(s)))
		events |= SOCK_WRITABLE;
	return events;
}

/* An error, or both directions have ended: at a UNIX socket they do when the other end is closed. */
static bool has_failed(const struct sock *s)
{
	bool closed = !s->conn->sock[!s->side] && net_addr_family(&s->conn->addr[1]) == NET_UNIX;

	return s->failed || ((sock_out(s)->fin_sent || closed) && sock_in(s)->fin_arrived);
}

static void sock_on_ready(struct sim_ready *node)
{
	struct sock *s = container_of(node, struct sock, node);
	uint32_t events = level(s);
	bool gone = false;

	if (!events)
		return;
	s->connected = false;
	if (events & SOCK_FAILED) {
		s->reported = true;
		s->progress = false;
	}
	s->gone = &gone;
	if (s->tls)
		tls_ready(s->tls, events);
	else
		s->ready(s->arg, events);
	if (gone)
		return;
	s->gone = NULL;
	sim_sock_update(s);
}

void sock_raw_tell(struct sock *s, uint32_t events)
{
	s->ready(s->arg, events);
}

void sim_sock_fail(struct sock *s, int error)
{
	if (s->failed)
		return;
	s->failed = true;
	s->error = error;
	sim_sock_update(s);
}

/* --- data --- */

ssize_t sock_recv(struct sock *s, void *buf, size_t len)
{
	struct iovec iov = { buf, len };

	return sock_recvv(s, &iov, 1);
}

ssize_t sock_recvv(struct sock *s, const struct iovec *iov, int count)
{
	return s->tls ? tls_recvv(s->tls, iov, count) : raw_recvv(s, iov, count);
}

ssize_t sock_raw_recv(struct sock *s, void *buf, size_t len)
{
	struct iovec iov = { buf, len };

	return raw_recvv(s, &iov, 1);
}

ssize_t sock_peek(struct sock *s, void *buf, size_t len)
{
	struct pipe *in = sock_in(s), as_it_is = *in;
	uint32_t left = (uint32_t)min_u64(pipe_readable(in), len);

	if (!left)
		return in->fin_arrived || s->failed ? s->error : -EAGAIN;
	pipe_get(in, buf, left);
	in->head = as_it_is.head;
	s->progress = true;
	return left;
}

static ssize_t raw_recvv(struct sock *s, const struct iovec *iov, int count)
{
	ssize_t got = sim_sock_recv(s, iov, count);

	parcels_drop(sock_in(s), false);
	return got;
}

ssize_t sim_sock_recv(struct sock *s, const struct iovec *iov, int count)
{
	struct pipe *in = sock_in(s);
	uint32_t left = parcels_limit(in, pipe_readable(in)), got = 0;

	must(is_mine(s));
	if (!left) {
		s->ended |= in->fin_arrived || s->failed;
		return s->ended ? s->error : -EAGAIN;
	}
	if (sim_chance(sim_net.opts.short_read_percent))
		left = 1 + (uint32_t)sim_draw(left);
	for (int i = 0; i < count && left; i++) {
		uint32_t part = (uint32_t)min_u64(iov[i].iov_len, left);

		pipe_get(in, iov[i].iov_base, part);
		left -= part;
		got += part;
	}
	s->progress = true;
	trace(SOCK_RECV, s->id, got);
	if (s->conn->sock[!s->side])
		sim_sock_update(s->conn->sock[!s->side]);
	return got;
}

ssize_t sock_send(struct sock *s, const struct iovec *iov, int count)
{
	return s->tls ? tls_send(s->tls, iov, count) : raw_sendv(s, iov, count);
}

ssize_t sock_raw_send(struct sock *s, const void *buf, size_t len)
{
	struct iovec iov = { (void *)(uintptr_t)buf, len };

	return raw_sendv(s, &iov, 1);
}

static ssize_t raw_sendv(struct sock *s, const struct iovec *iov, int count)
{
	struct pipe *out = sock_out(s);
	uint32_t room = pipe_room(out), sent = 0;

	must(is_mine(s) && count <= SOCK_IOV_MAX);
	if (s->failed || out->fin_sent)
		return s->error ? s->error : -EPIPE;
	if (s->connecting)
		return -EAGAIN;
	if (room && sim_chance(sim_net.opts.short_write_percent))
		room = (uint32_t)sim_draw(room);
	if (!room)
		return -EAGAIN;
	for (int i = 0; i < count && room; i++) {
		uint32_t part = (uint32_t)min_u64(iov[i].iov_len, room);

		pipe_put(out, iov[i].iov_base, part);
		room -= part;
		sent += part;
	}
	pipe_send(out, false, false);
	trace(SOCK_SEND, s->id, sent);
	return sent;
}

void sock_want_write(struct sock *s, bool want)
{
	if (s->tls)
		tls_want_write(s->tls, want);
	else
		sock_raw_want_write(s, want);
}

void sock_raw_want_write(struct sock *s, bool want)
{
	s->want_write = want;
	sim_sock_update(s);
}

void sock_want_read(struct sock *s, bool want)
{
	if (s->tls)
		tls_want_read(s->tls, want);
	else
		sock_raw_want_read(s, want);
}

void sock_raw_want_read(struct sock *s, bool want)
{
	s->progress |= want && !s->want_read;
	s->want_read = want;
	sim_sock_update(s);
}

/* --- asking --- */

int sock_error(struct sock *s)
{
	int error = s->tls ? tls_error(s->tls) : 0;

	return error ? error : sock_raw_error(s);
}

int sock_raw_error(struct sock *s)
{
	return s->error;
}

void sock_local_addr(const struct sock *s, struct net_addr *ret_addr)
{
	*ret_addr = s->conn->addr[s->side];
}

void sock_peer_addr(const struct sock *s, struct net_addr *ret_addr)
{
	*ret_addr = s->conn->addr[!s->side];
}

int sock_incoming_cpu(const struct sock *s)
{
	return -1;
}

bool sock_peer_cred(const struct sock *s, uint32_t *ret_uid, uint32_t *ret_pid)
{
	return false;
}

struct tls *sock_tls(const struct sock *s)
{
	return s->tls;
}

void sock_set_tls(struct sock *s, struct tls *t)
{
	s->tls = t;
}

int sock_fd(const struct sock *s)
{
	return -1;
}

/* A socket belongs to one reactor at a time; the checkers and the end of a simulation are none. */
static bool is_mine(const struct sock *s)
{
	return !s->reactor || !reactor_self() || s->reactor == reactor_self();
}
