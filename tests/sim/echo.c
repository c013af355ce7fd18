/* SPDX-License-Identifier: BSD-3-Clause */
/* echo.c: see echo.h. */
#include "echo.h"

#include <errno.h>

#include "core/sim/sim.h"

#define BUF_MAX 3000u

/* --- the server --- */

struct conn {
	struct echo_server *server;
	struct sock *sock;
	struct msg msg;
	struct timer patience;
	uint32_t at, len;
	bool secured, ended;
	uint8_t buf[BUF_MAX];
};

static void conn_arrives(struct msg *m);
static void conn_ready(void *arg, uint32_t events);

static void conn_end(struct conn *c)
{
	timer_stop(&c->patience);
	sock_close(c->sock);
	c->server->served--;
	free(c);
}

static void conn_waited_too_long(struct timer *t)
{
	must(!container_of(t, struct conn, patience)->server->world->peaceful);
	conn_end(container_of(t, struct conn, patience));
}

static void conn_goes_on(struct conn *c)
{
	timer_start(&c->patience, c->server->world->server_patience_ns, conn_waited_too_long);
}

static void conn_goes(struct conn *c)
{
	msg_send(core_reactor(c->server->core, (uint32_t)sim_draw(2)), &c->msg, conn_arrives);
}

void echo_accept(void *arg, struct sock *s)
{
	struct echo_server *server = arg;
	struct conn *c = base_zalloc(sizeof(*c));
	struct sock_opts opts = { .ack_timeout_ms = server->world->ack_timeout_ms };

	must(server->world->buf_bytes <= BUF_MAX);
	c->server = server;
	c->sock = s;
	server->served++;
	if (opts.ack_timeout_ms)
		sock_set_opts(s, &opts);
	conn_goes(c);
}

static void conn_secured(void *arg, struct sock *s, const struct err *e)
{
	struct conn *c = arg;

	if (e) {
		must(!c->server->world->peaceful && e->text[0]);
		conn_end(c);
		return;
	}
	c->secured = true;
	if (sim_chance(30))
		sock_tls_set_key_limit(s, 1 + sim_draw(6));
}

static void conn_arrives(struct msg *m)
{
	struct conn *c = container_of(m, struct conn, msg);

	conn_goes_on(c);
	must(!sock_attach(c->sock, conn_ready, c));
	if (c->server->world->secured && !c->secured)
		sock_tls_server(c->sock, c->server->find, conn_secured, c);
}

static void conn_receives(struct conn *c)
{
	ssize_t n = sock_recv(c->sock, c->buf, 1 + sim_draw(c->server->world->buf_bytes));

	c->ended = n != -EAGAIN && n <= 0;
	c->at = 0;
	c->len = n > 0 ? (uint32_t)n : 0;
}

static void conn_sends(struct conn *c)
{
	uint8_t *rest = c->buf + c->at;
	uint32_t len = c->len - c->at, half = len / 2;
	const struct iovec iov[2] = { { rest, half }, { rest + half, len - half } };
	ssize_t n = sock_send(c->sock, iov, 2);

	c->ended |= n < 0 && n != -EAGAIN;
	c->at += n > 0 ? (uint32_t)n : 0;
}

static void conn_ready(void *arg, uint32_t events)
{
	struct conn *c = arg;

	conn_goes_on(c);
	if (c->at == c->len && !c->ended)
		conn_receives(c);
	if (c->at < c->len)
		conn_sends(c);
	if (c->ended) {
		conn_end(c);
		return;
	}
	sock_want_read(c->sock, c->at == c->len);
	sock_want_write(c->sock, c->at < c->len);
	if (sim_chance(c->server->move_percent)) {
		timer_stop(&c->patience);
		sock_detach(c->sock);
		conn_goes(c);
	}
}

/* --- clients --- */

static void client_ready(void *arg, uint32_t events);

static uint8_t pattern(const struct echo_client *c, uint32_t at)
{
	return (uint8_t)(at * 37 + (at >> 8) * 11 + c->index * 101 + c->attempts * 7);
}

static void client_begins(struct timer *t)
{
	struct echo_client *c = container_of(t, struct echo_client, again);
	struct sock_opts opts = { .ack_timeout_ms = c->world->ack_timeout_ms };

	c->attempts++;
	c->sent = c->got = 0;
	c->secured = false;
	c->sock = sock_connect(&c->to, NULL, &opts, client_ready, c, NULL);
	must(c->sock);
}

void echo_client_start(void *arg)
{
	struct echo_client *c = arg;

	timer_start(&c->again, sim_draw(NS_PER_MS), client_begins);
}

static void client_fails(struct echo_client *c)
{
	must(!c->world->peaceful);
	timer_stop(&c->patience);
	if (sim_chance(50))
		sock_reset(c->sock);
	else
		sock_close(c->sock);
	timer_start(&c->again, 1 + sim_draw(10 * NS_PER_MS), client_begins);
}

static void client_waited_too_long(struct timer *t)
{
	client_fails(container_of(t, struct echo_client, patience));
}

/* False when it failed. */
static bool client_sends(struct echo_client *c)
{
	uint8_t buf[BUF_MAX];

	while (c->sent < c->total) {
		struct iovec iov = { buf, min_u32(1 + (uint32_t)sim_draw(c->world->buf_bytes), c->total - c->sent) };
		ssize_t n;

		for (uint32_t i = 0; i < iov.iov_len; i++)
			buf[i] = pattern(c, c->sent + i);
		n = sock_send(c->sock, &iov, 1);
		if (n < 0)
			return n == -EAGAIN;
		c->sent += (uint32_t)n;
	}
	return true;
}

static bool client_receives(struct echo_client *c)
{
	uint8_t buf[2 * BUF_MAX];
	ssize_t n = sock_recv(c->sock, buf, 1 + sim_draw(2 * c->world->buf_bytes));

	must(n || !c->secured); /* the server never ends it first, and nobody else can */
	if (n <= 0)
		return n == -EAGAIN;
	for (ssize_t i = 0; i < n; i++)
		must(buf[i] == pattern(c, c->got + (uint32_t)i));
	c->got += (uint32_t)n;
	must(c->got <= c->sent);
	return true;
}

static void client_secured(void *arg, struct sock *s, const struct err *e)
{
	struct echo_client *c = arg;

	if (e) {
		must(e->text[0]);
		client_fails(c);
		return;
	}
	c->secured = true;
	must(sock_tls_hash(s) == c->offer.psk.hash);
	sock_want_write(s, true);
}

static bool client_goes_on(struct echo_client *c, uint32_t events)
{
	if (events & SOCK_READABLE && !client_receives(c))
		return false;
	if (events & SOCK_FAILED && !(c->secured && events & SOCK_READABLE)) /* else records may be there still */
		return false;
	return client_sends(c);
}

static void client_ready(void *arg, uint32_t events)
{
	struct echo_client *c = arg;

	timer_start(&c->patience, c->world->client_patience_ns, client_waited_too_long);
	if (c->world->secured && !c->secured) {
		if (events & SOCK_FAILED)
			client_fails(c);
		else
			sock_tls_client(c->sock, &c->offer, 1, client_secured, c);
		return;
	}
	if (!client_goes_on(c, events)) {
		client_fails(c);
		return;
	}
	sock_want_write(c->sock, c->sent < c->total);
	if (c->got < c->total)
		return;
	timer_stop(&c->patience);
	sock_close(c->sock);
	c->done = true;
}
