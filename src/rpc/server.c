/* SPDX-License-Identifier: BSD-3-Clause */
/* server.c: sessions over a UNIX socket.
 *
 * A client is read in pieces, and only while its session can take more. What a session has to send or to go on with
 * is looked after in a deferred call, once a pass, so that no client is handled inside a method. A client
 * that is sent away gets its sentence before the socket closes: its input is read and dropped for a moment,
 * for a socket closed with unread input would drop the sentence.
 */
#include <errno.h>

#include "core/log.h"
#include "rpc/session.h"

#define CLIENTS_MAX 64
#define REFUSED_MAX 16             /* clients beyond those, that are only told so */
#define INPUT_BYTES 16384
#define READS_MAX 16               /* pieces read from one client in one pass */
#define LINGER_NS (2 * NS_PER_S)
#define BACKLOG 512                /* as SPDK's */

struct client {
	struct list link;
	struct rpc_server *server;
	struct sock *sock;
	struct session session;
	struct defer pump;
	struct timer again;        /* the rest of a long batch or input, in the next pass */
	struct timer linger;
	bool refused;
	bool attached, reading, eof, failed, shut;
	size_t in_at, in_len;
	char in[INPUT_BYTES];
};

struct rpc_server {
	struct rpc *rpc;
	struct listener *listener;
	struct list clients;
	uint32_t count, refused;
	bool serving;
	struct log_limit full;
};

static struct rpc_server *server_make(struct rpc *rpc);
static struct rpc_server *server_begin(struct rpc_server *s, struct listener *l);
static listener_fn client_come;
static void server_look(struct rpc_server *s);
static void client_attach(struct client *c);
static sock_ready_fn client_ready;
static void client_wake(void *arg);
static defer_fn client_pump;
static bool client_read(struct client *c);
static bool client_write(struct client *c);
static void client_reading(struct client *c, bool reading);
static timer_fn client_again;
static void client_leave(struct client *c);
static timer_fn client_lingered;
static void client_close(struct client *c);

struct rpc_server *rpc_server_open(struct rpc *rpc, const char *path, struct err *e)
{
	struct rpc_server *s;
	struct net_addr addr;

	if (net_addr_parse(NET_UNIX, path, NULL, &addr, e))
		return NULL;
	s = server_make(rpc);
	return server_begin(s, listener_open(&addr, BACKLOG, client_come, s, e));
}

struct rpc_server *rpc_server_adopt(struct rpc *rpc, int fd, struct err *e)
{
	struct rpc_server *s = server_make(rpc);

	return server_begin(s, listener_adopt(fd, client_come, s, e));
}

static struct rpc_server *server_make(struct rpc *rpc)
{
	struct rpc_server *s = base_zalloc(sizeof(*s));

	s->rpc = rpc;
	list_init(&s->clients);
	return s;
}

static struct rpc_server *server_begin(struct rpc_server *s, struct listener *l)
{
	s->listener = l;
	if (l)
		return s;
	free(s);
	return NULL;
}

void rpc_server_serve(struct rpc_server *s)
{
	if (s->serving)
		return;
	s->serving = true;
	list_each_safe(at, &s->clients)
		client_attach(list_entry(at, struct client, link));
}

void rpc_server_close(struct rpc_server *s)
{
	if (!s)
		return;
	listener_close(s->listener);
	list_each_safe(at, &s->clients) {
		struct client *c = list_entry(at, struct client, link);

		if (c->attached)
			client_write(c); /* what was answered but not sent yet, such as the request to stop */
		client_close(c);
	}
	free(s);
}

static void client_come(void *arg, struct sock *sock)
{
	struct rpc_server *s = arg;
	struct client *c;

	if (s->count >= CLIENTS_MAX)
		server_look(s);
	if (s->count + s->refused >= CLIENTS_MAX + REFUSED_MAX) {
		sock_close(sock);
		return;
	}
	c = base_zalloc(sizeof(*c));
	c->server = s;
	c->sock = sock;
	session_init(&c->session, s->rpc, client_wake, c);
	list_add_tail(&s->clients, &c->link);
	c->refused = s->count >= CLIENTS_MAX;
	*(c->refused ? &s->refused : &s->count) += 1;
	if (c->refused) {
		session_refuse(&c->session, RPC_ERR_INTERNAL, "64 clients are connected, which is the most; "
		               "close one of them");
		if (log_may(&s->full))
			log_warning("rpc: 64 clients are connected; another was turned away");
	}
	if (s->serving)
		client_attach(c);
}

/* Clients that have hung up, and were not seen to do so yet, are in nobody's way. */
static void server_look(struct rpc_server *s)
{
	list_each_safe(at, &s->clients) {
		struct client *c = list_entry(at, struct client, link);

		if (c->attached && c->reading)
			client_pump(&c->pump);
	}
}

static void client_attach(struct client *c)
{
	if (sock_attach(c->sock, client_ready, c) < 0) {
		client_close(c);
		return;
	}
	c->attached = c->reading = true;
	client_wake(c);
}

static void client_ready(void *arg, uint32_t events)
{
	struct client *c = arg;

	c->failed |= (events & SOCK_FAILED) != 0;
	client_wake(c);
}

static void client_wake(void *arg)
{
	struct client *c = arg;

	if (c->attached)
		defer_run(&c->pump, client_pump);
}

/* Take, run and send as much as goes now. Every way out leaves something that wakes the client again (readable,
 * writable, a method's reply, a timer) or closes it. */
static void client_pump(struct defer *d)
{
	struct client *c = container_of(d, struct client, pump);
	struct session *s = &c->session;
	const char *out;

	if (!client_read(c) || (c->failed && c->eof) || !client_write(c)) {
		client_close(c);
		return;
	}
	if (session_run(s) || (c->in_at < c->in_len && session_can_take(s)))
		timer_start(&c->again, 0, client_again);
	if (!client_write(c)) {
		client_close(c);
		return;
	}
	if (session_output(s, &out) == 0 && (s->closing || (c->eof && !s->pending && c->in_at == c->in_len)))
		client_leave(c);
}

/* False: the client is gone. */
static bool client_read(struct client *c)
{
	struct session *s = &c->session;

	for (uint32_t i = 0; i < READS_MAX && !c->eof; i++) {
		ssize_t n;

		if (c->in_at == c->in_len) {
			if (!s->closing && !session_can_take(s))
				break;
			n = sock_recv(c->sock, c->in, sizeof(c->in));
			if (n == -EAGAIN)
				break;
			if (n < 0)
				return false;
			c->eof = n == 0;
			c->in_at = 0;
			c->in_len = (size_t)n;
		}
		c->in_at += session_take(s, c->in + c->in_at, c->in_len - c->in_at);
		if (s->closing)
			c->in_at = c->in_len; /* read on, and drop it */
		if (c->in_at < c->in_len)
			break;
	}
	client_reading(c, !c->eof && (s->closing || (session_can_take(s) && c->in_at == c->in_len)));
	return true;
}

/* False: the client is gone. */
static bool client_write(struct client *c)
{
	struct iovec iov;
	const char *out;

	for (;;) {
		ssize_t n;

		iov.iov_len = session_output(&c->session, &out);
		iov.iov_base = (char *)out;
		if (iov.iov_len == 0)
			break;
		n = sock_send(c->sock, &iov, 1);
		if (n == -EAGAIN || n == 0) {
			sock_want_write(c->sock, true);
			return true;
		}
		if (n < 0)
			return false;
		session_sent(&c->session, (size_t)n);
	}
	/* There may be room for another request now. */
	if (!c->reading && (!c->eof || c->in_at < c->in_len) && session_can_take(&c->session))
		client_wake(c);
	sock_want_write(c->sock, false);
	return true;
}

static void client_reading(struct client *c, bool reading)
{
	if (c->reading == reading)
		return;
	c->reading = reading;
	sock_want_read(c->sock, reading);
}

static void client_again(struct timer *t)
{
	client_wake(container_of(t, struct client, again));
}

/* Everything is said. One that closed its side is done; another gets the end of ours, and a moment to notice. */
static void client_leave(struct client *c)
{
	if (c->eof) {
		client_close(c);
		return;
	}
	if (c->shut)
		return;
	c->shut = true;
	sock_shutdown_send(c->sock);
	timer_start(&c->linger, LINGER_NS, client_lingered);
}

static void client_lingered(struct timer *t)
{
	client_close(container_of(t, struct client, linger));
}

static void client_close(struct client *c)
{
	defer_cancel(&c->pump);
	timer_stop(&c->again);
	timer_stop(&c->linger);
	list_del(&c->link);
	*(c->refused ? &c->server->refused : &c->server->count) -= 1;
	sock_close(c->sock);
	session_fini(&c->session); /* wakes nobody: what it held is dropped */
	free(c);
}
