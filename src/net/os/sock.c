/* SPDX-License-Identifier: BSD-3-Clause */
/* sock.c: byte streams over the kernel's TCP and UNIX sockets.
 *
 * Each verb is one system call; readiness comes from core's level-triggered sources. What a level would
 * repeat for ever is reported until nobody makes use of it: the peer's end stops SOCK_READABLE once it was
 * received, a failure is told once, and again only while the owner still receives what came before it.
 * So a connection that waits for its I/O before it is closed costs no passes.
 *
 * A peer that ends its direction only (half-close) has not failed: its end is received in order, after its
 * data, and answers can still be sent.
 */
#include "net/os/sock.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/trace.h"

/* What one closing socket throws away unread; see discard_unread(). */
#define DISCARD_MAX (1u << 20)
#define KEEP_IDLE_S_MAX 32767u   /* the kernel's */
/* What stays on this machine crosses no queue that pacing could spare, and pacing's timers cost: 1.14 x reads of
 * 128 KiB where the system's choice is BBR. A connection begins with what its listener has; later it is too late, as
 * pacing is never given up. Every kernel has this one, and anybody may choose it. */
#define UNPACED "reno"

static int begin_connect(struct sock *s, const struct net_addr *to, const struct net_addr *from, struct err *e);
static void set_ack_timeout(int fd, uint32_t ms);
static void set_opt(int fd, int level, int name, int value);
static void sock_on_events(struct source *source, uint32_t events);
static uint32_t connect_result(struct sock *s, uint32_t events);
static uint32_t failure_result(struct sock *s);
static void keep_error(struct sock *s);
static uint32_t wanted_events(const struct sock *s);
static void update_events(struct sock *s);
static void stop_source(struct sock *s);
static void discard_unread(struct sock *s);
static bool is_tcp(const struct sock *s);
static bool is_loopback(const struct net_addr *addr);

/* --- coming and going --- */

struct sock *sock_connect(const struct net_addr *to, const struct net_addr *from, const struct sock_opts *opts,
                          sock_ready_fn *ready, void *arg, struct err *e)
{
	int fd = sock_open_fd(to, e);
	char text[NET_ADDR_TEXT_MAX];
	struct sock *s;
	int rc;

	if (fd < 0)
		return NULL;
	s = sock_make(fd, to);
	if (opts)
		sock_set_opts(s, opts);
	if (begin_connect(s, to, from, e))
		goto fail;
	s->connecting = true;
	s->want_write = true;
	rc = sock_attach(s, ready, arg);
	if (rc) {
		err_set(e, rc, "the connection to %s cannot be watched: %s", net_addr_text(to, text), strerror(-rc));
		goto fail;
	}
	return s;
fail:
	close(fd);
	free(s);
	return NULL;
}

int sock_open_fd(const struct net_addr *addr, struct err *e)
{
	int fd = socket(addr->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0 && (errno == EMFILE || errno == ENFILE))
		return err_set(e, -errno, "no socket can be opened: the limit of open files is reached; raise it (ulimit -n)");
	if (fd < 0)
		return err_set(e, -errno, "no socket can be opened: %s", strerror(errno));
	if (addr->any.sa_family != AF_UNIX)
		set_opt(fd, IPPROTO_TCP, TCP_NODELAY, 1);
	if (is_loopback(addr))
		(void)setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, UNPACED, sizeof(UNPACED) - 1);
	return fd;
}

static bool is_loopback(const struct net_addr *addr)
{
	if (addr->any.sa_family == AF_INET)
		return ntohl(addr->v4.sin_addr.s_addr) >> 24 == 127;
	return addr->any.sa_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&addr->v6.sin6_addr);
}

/* What the connection comes to, even when the system knows at once, is told through `ready`: one way to
 * handle it. Only what cannot be tried is an error here. */
static int begin_connect(struct sock *s, const struct net_addr *to, const struct net_addr *from, struct err *e)
{
	char text[NET_ADDR_TEXT_MAX];

	if (from && bind(s->source.fd, &from->any, from->len))
		return err_set(e, -errno, "cannot connect from %s: %s", net_addr_text(from, text), strerror(errno));
	if (!connect(s->source.fd, &to->any, to->len) || errno == EINPROGRESS)
		return 0;
	if (errno == EINVAL && net_addr_lacks_interface(to)) /* and `from`, if there is one, names none either */
		return err_set(e, -EINVAL, "cannot connect to %s: " NET_LACKS_INTERFACE, net_addr_text(to, text));
	s->error = -errno;
	return 0;
}

struct sock *sock_make(int fd, const struct net_addr *peer)
{
	struct sock *s = base_zalloc(sizeof(*s));

	s->source.fd = fd;
	s->want_read = true;
	s->peer.family = AF_UNIX;
	if (peer && (peer->any.sa_family == AF_INET || peer->any.sa_family == AF_INET6))
		memcpy(&s->peer, &peer->any, min_u64(peer->len, sizeof(s->peer)));
	return s;
}

struct sock *sock_from_fd(int fd, struct err *e)
{
	struct net_addr peer = { .len = sizeof(peer.un) };
	int flags = fcntl(fd, F_GETFL);

	if (getpeername(fd, &peer.any, &peer.len)) {
		err_set(e, -errno, "descriptor %d is not a connected socket: %s", fd, strerror(errno));
		return NULL;
	}
	if (fcntl(fd, F_SETFL, flags | O_NONBLOCK) || fcntl(fd, F_SETFD, FD_CLOEXEC)) {
		err_set(e, -errno, "descriptor %d cannot be prepared: %s", fd, strerror(errno));
		return NULL;
	}
	if (peer.any.sa_family != AF_UNIX)
		set_opt(fd, IPPROTO_TCP, TCP_NODELAY, 1);
	return sock_make(fd, &peer);
}

struct sock *sock_pair(int *ret_fd, struct err *e)
{
	struct sock *s;
	int fds[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds)) {
		err_set(e, -errno, "no pair of sockets can be made: %s", strerror(errno));
		return NULL;
	}
	s = sock_from_fd(fds[0], e);
	if (!s) {
		close(fds[0]);
		close(fds[1]);
		return NULL;
	}
	*ret_fd = fds[1];
	return s;
}

/* None of these can fail in a way that matters to a connection: a value out of range is cut by the system. */
void sock_set_opts(struct sock *s, const struct sock_opts *opts)
{
	int fd = s->source.fd;

	if (opts->send_buffer)
		set_opt(fd, SOL_SOCKET, SO_SNDBUF, (int)min_u32(opts->send_buffer, INT32_MAX));
	if (opts->recv_buffer)
		set_opt(fd, SOL_SOCKET, SO_RCVBUF, (int)min_u32(opts->recv_buffer, INT32_MAX));
	if (opts->priority)
		set_opt(fd, SOL_SOCKET, SO_PRIORITY, opts->priority);
	if (opts->ack_timeout_ms && is_tcp(s))
		set_ack_timeout(fd, min_u32(opts->ack_timeout_ms, INT32_MAX));
}

/* The kernel ends a connection at the first probe whose answer is missing when the time is over. */
static void set_ack_timeout(int fd, uint32_t ms)
{
	uint32_t idle_s = min_u32((uint32_t)div_up(ms, 1000), KEEP_IDLE_S_MAX);

	set_opt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, (int)ms);
	set_opt(fd, IPPROTO_TCP, TCP_KEEPIDLE, (int)idle_s);
	set_opt(fd, IPPROTO_TCP, TCP_KEEPINTVL, (int)div_up(idle_s, 5));
	set_opt(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
}

static void set_opt(int fd, int level, int name, int value)
{
	(void)setsockopt(fd, level, name, &value, sizeof(value));
}

void sock_close(struct sock *s)
{
	if (likely(!s->tls) || tls_close(s->tls))
		sock_raw_close(s);
}

void sock_raw_close(struct sock *s)
{
	if (s->tls)
		tls_free(s->tls);
	stop_source(s);
	discard_unread(s);
	close(s->source.fd);
	free(s);
}

/* The kernel answers the close of a socket with unread data by a reset, which takes with it what was sent
 * last, such as the message that says why. Throwing data away copies nothing. */
static void discard_unread(struct sock *s)
{
	if (is_tcp(s) && !s->failed)
		(void)recv(s->source.fd, NULL, DISCARD_MAX, MSG_TRUNC | MSG_DONTWAIT);
}

void sock_reset(struct sock *s)
{
	struct linger none = { .l_onoff = 1 };

	if (s->tls)
		tls_free(s->tls);
	stop_source(s);
	if (is_tcp(s))
		(void)setsockopt(s->source.fd, SOL_SOCKET, SO_LINGER, &none, sizeof(none));
	close(s->source.fd);
	free(s);
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
	(void)shutdown(s->source.fd, SHUT_WR);
}

int sock_attach(struct sock *s, sock_ready_fn *ready, void *arg)
{
	int rc;

	assert(!s->attached);
	s->ready = ready;
	s->arg = arg;
	rc = source_start(&s->source, s->source.fd, wanted_events(s), "socket", sock_on_events);
	if (rc)
		return rc;
	s->attached = s->started = true;
	s->reported = false;
	s->progress = true;
	if (s->tls)
		tls_attached(s->tls);
	return 0;
}

void sock_detach(struct sock *s)
{
	assert(s->attached && !s->connecting);
	if (s->tls)
		tls_detached(s->tls);
	stop_source(s);
	s->attached = false;
}

/* --- what happened --- */

/* Nothing of `s` is used after s->ready(): it may be gone. */
static void sock_on_events(struct source *source, uint32_t events)
{
	struct sock *s = container_of(source, struct sock, source);
	uint32_t ready = 0;

	if (s->connecting) {
		ready = connect_result(s, events);
	} else if (events & (EPOLLERR | EPOLLHUP)) {
		ready = failure_result(s);
	} else {
		if (events & EPOLLIN)
			ready |= SOCK_READABLE;
		if (events & EPOLLOUT)
			ready |= SOCK_WRITABLE;
	}
	if (!ready)
		return;
	if (unlikely(s->tls))
		tls_ready(s->tls, ready);
	else
		s->ready(s->arg, ready);
}

void sock_raw_tell(struct sock *s, uint32_t events)
{
	s->ready(s->arg, events);
}

static uint32_t connect_result(struct sock *s, uint32_t events)
{
	s->connecting = false;
	s->want_write = false;
	keep_error(s);
	if (s->error || (events & (EPOLLERR | EPOLLHUP))) {
		s->progress = false; /* nothing to read */
		return failure_result(s);
	}
	update_events(s);
	return SOCK_WRITABLE;
}

/* The level stays up until the socket is closed. Report it again only while that leads anywhere. */
static uint32_t failure_result(struct sock *s)
{
	bool readable = s->want_read && !s->ended && s->progress;

	keep_error(s);
	s->failed = true;
	if (s->reported && !readable) {
		stop_source(s);
		return 0;
	}
	s->reported = true;
	s->progress = false;
	return SOCK_FAILED | (readable ? SOCK_READABLE : 0);
}

static void keep_error(struct sock *s)
{
	int error = 0;
	socklen_t len = sizeof(error);

	if (!s->error && !getsockopt(s->source.fd, SOL_SOCKET, SO_ERROR, &error, &len))
		s->error = -error;
}

static uint32_t wanted_events(const struct sock *s)
{
	bool in = s->want_read && !s->ended && !s->connecting;

	return (in ? EPOLLIN : 0) | (s->want_write ? EPOLLOUT : 0);
}

static void update_events(struct sock *s)
{
	if (!s->attached)
		return;
	if (s->started) {
		source_change(&s->source, wanted_events(s));
		return;
	}
	/* A failed socket that went quiet: its owner wants to read on. Without memory to watch it, it stays quiet. */
	s->started = !source_start(&s->source, s->source.fd, wanted_events(s), "socket", sock_on_events);
}

static void stop_source(struct sock *s)
{
	if (s->started)
		source_stop(&s->source);
	s->started = false;
}

/* --- data --- */

ssize_t sock_recv(struct sock *s, void *buf, size_t len)
{
	struct iovec iov = { buf, len };

	return unlikely(s->tls) ? tls_recvv(s->tls, &iov, 1) : sock_raw_recv(s, buf, len);
}

ssize_t sock_raw_recv(struct sock *s, void *buf, size_t len)
{
	ssize_t got;

	do
		got = recv(s->source.fd, buf, len, MSG_DONTWAIT);
	while (unlikely(got < 0 && errno == EINTR));
	return sock_received(s, got);
}

ssize_t sock_peek(struct sock *s, void *buf, size_t len)
{
	ssize_t got;

	do
		got = recv(s->source.fd, buf, len, MSG_DONTWAIT | MSG_PEEK);
	while (unlikely(got < 0 && errno == EINTR));
	return got < 0 ? -errno : got;
}

ssize_t sock_recvv(struct sock *s, const struct iovec *iov, int count)
{
	struct msghdr m = { .msg_iov = (struct iovec *)iov, .msg_iovlen = (size_t)count };
	ssize_t got;

	assert(count <= SOCK_IOV_MAX);
	if (unlikely(s->tls))
		return tls_recvv(s->tls, iov, count);
	do
		got = recvmsg(s->source.fd, &m, MSG_DONTWAIT);
	while (unlikely(got < 0 && errno == EINTR));
	return sock_received(s, got);
}

ssize_t sock_received(struct sock *s, ssize_t got)
{
	if (likely(got > 0)) {
		s->progress = true;
		trace(SOCK_RECV, s->source.fd, got);
		return got;
	}
	if (got < 0) {
		int error = -errno;

		if (error != -EAGAIN && !s->error)
			s->error = error;
		return error;
	}
	if (!s->ended) {
		s->ended = true;
		if (s->started && !s->connecting)
			update_events(s);
	}
	/* A reset that was told already reads as an end: the reason is worth more. */
	return s->error;
}

ssize_t sock_send(struct sock *s, const struct iovec *iov, int count)
{
	struct msghdr m = { .msg_iov = (struct iovec *)iov, .msg_iovlen = (size_t)count };
	ssize_t sent;

	assert(count <= SOCK_IOV_MAX);
	if (unlikely(s->tls))
		return tls_send(s->tls, iov, count);
	if (count == 1) /* the system has less to copy and to check: 2 % of a target's core with writes of 4 KiB */
		return sock_raw_send(s, iov->iov_base, iov->iov_len);
	do
		sent = sendmsg(s->source.fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
	while (unlikely(sent < 0 && errno == EINTR));
	if (unlikely(sent < 0))
		return -errno;
	trace(SOCK_SEND, s->source.fd, sent);
	return sent;
}

ssize_t sock_raw_send(struct sock *s, const void *buf, size_t len)
{
	ssize_t sent;

	do
		sent = send(s->source.fd, buf, len, MSG_NOSIGNAL | MSG_DONTWAIT);
	while (unlikely(sent < 0 && errno == EINTR));
	if (unlikely(sent < 0))
		return -errno;
	trace(SOCK_SEND, s->source.fd, sent);
	return sent;
}

void sock_want_write(struct sock *s, bool want)
{
	if (unlikely(s->tls))
		tls_want_write(s->tls, want);
	else
		sock_raw_want_write(s, want);
}

void sock_raw_want_write(struct sock *s, bool want)
{
	if (s->want_write == want)
		return;
	s->want_write = want;
	update_events(s);
}

void sock_want_read(struct sock *s, bool want)
{
	if (unlikely(s->tls))
		tls_want_read(s->tls, want);
	else
		sock_raw_want_read(s, want);
}

void sock_raw_want_read(struct sock *s, bool want)
{
	if (s->want_read == want)
		return;
	s->want_read = want;
	s->progress = want; /* let a failed socket be read on */
	if (!s->connecting)
		update_events(s);
}

/* --- asking --- */

int sock_error(struct sock *s)
{
	int error = s->tls ? tls_error(s->tls) : 0;

	return error ? error : sock_raw_error(s);
}

int sock_raw_error(struct sock *s)
{
	keep_error(s);
	return s->error;
}

void sock_local_addr(const struct sock *s, struct net_addr *ret_addr)
{
	memset(ret_addr, 0, sizeof(*ret_addr));
	ret_addr->len = sizeof(ret_addr->un);
	if (getsockname(s->source.fd, &ret_addr->any, &ret_addr->len))
		ret_addr->len = 0;
}

void sock_peer_addr(const struct sock *s, struct net_addr *ret_addr)
{
	memset(ret_addr, 0, sizeof(*ret_addr));
	if (is_tcp(s)) {
		ret_addr->len = s->peer.family == AF_INET ? sizeof(s->peer.v4) : sizeof(s->peer.v6);
		memcpy(&ret_addr->any, &s->peer, ret_addr->len);
		return;
	}
	ret_addr->len = sizeof(ret_addr->un);
	if (getpeername(s->source.fd, &ret_addr->any, &ret_addr->len)) {
		ret_addr->any.sa_family = AF_UNIX;
		ret_addr->len = sizeof(sa_family_t);
	}
}

int sock_incoming_cpu(const struct sock *s)
{
	int cpu;
	socklen_t len = sizeof(cpu);

	return getsockopt(s->source.fd, SOL_SOCKET, SO_INCOMING_CPU, &cpu, &len) ? -1 : cpu;
}

bool sock_peer_cred(const struct sock *s, uint32_t *ret_uid, uint32_t *ret_pid)
{
	struct ucred who;
	socklen_t len = sizeof(who);

	if (is_tcp(s) || getsockopt(s->source.fd, SOL_SOCKET, SO_PEERCRED, &who, &len))
		return false;
	*ret_uid = who.uid;
	*ret_pid = (uint32_t)who.pid;
	return true;
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
	return s->source.fd;
}

static bool is_tcp(const struct sock *s)
{
	return s->peer.family != AF_UNIX;
}
