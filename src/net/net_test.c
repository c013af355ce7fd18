/* SPDX-License-Identifier: BSD-3-Clause */
/* net_test.c: what net.h promises, over the kernel and over the simulated network alike. */
#include "net/test_run.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/socket.h>

#define CHUNK 65536
#define SMALL (2 * CHUNK) /* socket buffers; below the loopback's segment of 64 KiB TCP waits for its own timers */

static uint8_t pattern(uint64_t at)
{
	return (uint8_t)((at * 2654435761u) >> 13);
}

/* --- a client that sends a pattern, and checks what comes back --- */

struct client {
	struct msg msg;
	struct net_addr to;
	struct sock *sock;
	uint64_t total, sent, got, bad;
	uint32_t short_sends, failures;
	bool half_close;       /* end the sending direction after `total` */
	bool until_end;        /* not done before the peer has ended */
	int error, connected;
	ssize_t end;           /* what the last receive said, when all was over */
	void (*done)(struct client *c);
	uint8_t buf[CHUNK];
};

static void client_send(struct client *c)
{
	while (c->sent < c->total) {
		struct iovec iov = { c->buf, min_u64(CHUNK, c->total - c->sent) };
		ssize_t n;

		for (uint64_t i = 0; i < iov.iov_len; i++)
			c->buf[i] = pattern(c->sent + i);
		n = sock_send(c->sock, &iov, 1);
		if (n < (ssize_t)iov.iov_len)
			c->short_sends++;
		if (n == -EAGAIN)
			break;
		if (n < 0) {
			c->error = (int)n;
			return;
		}
		c->sent += (uint64_t)n;
	}
	sock_want_write(c->sock, c->sent < c->total);
	if (c->sent == c->total && c->half_close) {
		c->half_close = false;
		sock_shutdown_send(c->sock);
	}
}

static void client_ready(void *arg, uint32_t events)
{
	struct client *c = arg;
	uint8_t buf[CHUNK];

	c->failures += (events & SOCK_FAILED) != 0;
	if (events & SOCK_WRITABLE) {
		c->connected++;
		client_send(c);
	}
	if (events & SOCK_READABLE) {
		c->end = sock_recv(c->sock, buf, sizeof(buf));
		for (ssize_t i = 0; i < c->end; i++)
			c->bad += buf[i] != pattern(c->got + (uint64_t)i);
		if (c->end > 0)
			c->got += (uint64_t)c->end;
		if (c->end > 0 && (c->got < c->total || c->until_end))
			return; /* a failure, too, comes again while there is progress */
	}
	if ((events & SOCK_FAILED) || c->end == 0 || (c->got && c->got == c->total)) {
		if (!c->error)
			c->error = sock_error(c->sock);
		c->done(c);
	}
}

static void client_on_core(struct msg *m)
{
	struct client *c = container_of(m, struct client, msg);
	struct sock_opts opts = { .send_buffer = SMALL, .recv_buffer = 2 * SMALL };
	struct err e = { 0 };

	c->end = -EAGAIN;
	c->sock = sock_connect(&c->to, NULL, &opts, client_ready, c, &e);
	if (!c->sock)
		core_stop(run.core, e.code);
}

static void client_close(struct client *c)
{
	sock_close(c->sock);
	part_ended();
}

/* --- a server that sends everything back, and may move between reactors meanwhile --- */

struct echo {
	struct msg msg;
	struct listener *listener;
	struct sock *sock;
	struct net_addr addr;
	uint32_t len, at, move_every, on;
	uint64_t moves, since_move;
	bool ended;
	int nodelay;
	struct net_addr peer;
	uint8_t buf[CHUNK];
};

static void echo_ready(void *arg, uint32_t events);

static void echo_arrive(struct msg *m)
{
	struct echo *s = container_of(m, struct echo, msg);

	if (sock_attach(s->sock, echo_ready, s))
		core_stop(run.core, -EINVAL);
}

static void echo_move(struct echo *s)
{
	s->moves++;
	s->since_move = 0;
	s->on = !s->on;
	sock_detach(s->sock);
	msg_send(core_reactor(run.core, s->on), &s->msg, echo_arrive);
}

static void echo_ready(void *arg, uint32_t events)
{
	struct echo *s = arg;
	struct iovec iov;
	ssize_t n;

	if (s->at == s->len && !s->ended) {
		n = sock_recv(s->sock, s->buf, sizeof(s->buf));
		if (n == -EAGAIN)
			return;
		if (n <= 0)
			s->ended = true;
		s->at = 0;
		s->len = n > 0 ? (uint32_t)n : 0;
		s->since_move += s->len;
	}
	iov = (struct iovec){ s->buf + s->at, s->len - s->at };
	if (iov.iov_len) {
		n = sock_send(s->sock, &iov, 1);
		s->at += n > 0 ? (uint32_t)n : 0;
		s->ended |= n < 0 && n != -EAGAIN;
	}
	sock_want_read(s->sock, s->at == s->len);
	sock_want_write(s->sock, s->at < s->len);
	if (s->ended) {
		sock_close(s->sock);
		part_ended();
	} else if (s->move_every && s->since_move >= s->move_every) {
		echo_move(s);
	}
}

static void echo_accept(void *arg, struct sock *sock)
{
	struct echo *s = arg;
	struct sock_opts opts = { .send_buffer = SMALL, .recv_buffer = 2 * SMALL };
	socklen_t len = sizeof(s->nodelay);

	s->sock = sock;
	s->nodelay = 1;
	if (sock_fd(sock) >= 0)
		(void)getsockopt(sock_fd(sock), IPPROTO_TCP, TCP_NODELAY, &s->nodelay, &len);
	sock_peer_addr(sock, &s->peer);
	sock_set_opts(sock, &opts);
	listener_close(s->listener); /* from within its own callback */
	msg_send(core_reactor(run.core, s->on), &s->msg, echo_arrive);
}

/* --- tests: streams --- */

struct pair {
	struct client client;
	struct echo echo;
	struct err err;
};

static void pair_start(void *arg)
{
	struct pair *p = arg;
	struct net_addr any = loopback();

	p->echo.listener = listener_open(&any, 16, echo_accept, &p->echo, &p->err);
	if (!p->echo.listener) {
		core_stop(run.core, p->err.code);
		return;
	}
	listener_addr(p->echo.listener, &p->client.to);
	msg_send(core_reactor(run.core, 0), &p->client.msg, client_on_core);
}

static struct pair *pair_run(uint64_t total, uint32_t move_every)
{
	struct pair *p = base_zalloc(sizeof(*p));

	p->client.total = total;
	p->client.done = client_close;
	p->echo.move_every = move_every;
	p->echo.on = 1;
	assert_int_equal(run_core(pair_start, p, 2), 0);
	assert_int_equal(p->client.got, total);
	assert_int_equal(p->client.bad, 0);
	return p;
}

/* A short send that is not taken up again, or taken up twice, shows as a stalled or a shifted stream. */
static void echo_through_small_buffers(void **state)
{
	struct pair *p = pair_run(8 * MIB, 0);

	assert_true(p->client.short_sends > 0);
	assert_true(p->echo.nodelay); /* comes from the listener */
	assert_int_equal(net_addr_family(&p->echo.peer), NET_IPV4);
	free(p);
}

/* Between detach and attach nobody listens; what arrives then must be reported by attach. */
static void moves_between_reactors_under_traffic(void **state)
{
	struct pair *p = pair_run(4 * MIB, 10000);

	assert_true(p->echo.moves > 20);
	free(p);
}

/* The client's end must not cut the answer, and must not keep a reactor busy. */
static void half_close_keeps_the_answer(void **state)
{
	struct pair *p = base_zalloc(sizeof(*p));

	p->client.total = 100000;
	p->client.half_close = p->client.until_end = true;
	p->client.done = client_close;
	assert_int_equal(run_core(pair_start, p, 2), 0);
	assert_int_equal(p->client.got, 100000);
	assert_int_equal(p->client.bad, 0);
	assert_int_equal(p->client.end, 0);
	assert_int_equal(p->client.error, 0);
	free(p);
}

/* --- tests: failures --- */

static void nobody_accepts(void *arg, struct sock *s)
{
}

static void refused_start(void *arg)
{
	struct client *c = arg;
	struct net_addr any = loopback();
	struct listener *l = listener_open(&any, 1, nobody_accepts, c, NULL);

	listener_addr(l, &c->to);
	listener_close(l); /* a port that nobody listens on */
	msg_send(core_reactor(run.core, 0), &c->msg, client_on_core);
}

/* Whether the system knows at once or later, it is told the same way. */
static void refused_connect_is_told_once(void **state)
{
	struct client *c = base_zalloc(sizeof(*c));

	c->done = client_close;
	assert_int_equal(run_core(refused_start, c, 1), 0);
	assert_int_equal(c->error, -ECONNREFUSED);
	assert_int_equal(c->failures, 1);
	assert_int_equal(c->connected, 0);
	free(c);
}

struct quiet {
	struct client client;
	struct listener *listener;
	struct timer timer;
	struct sock *server;
	uint32_t calls, failed_calls;
	uint64_t bytes;
	ssize_t last;
	struct reactor_stats before, after;
};

static void quiet_end(struct timer *t)
{
	struct quiet *q = container_of(t, struct quiet, timer);

	reactor_get_stats(reactor_self(), &q->after);
	sock_close(q->client.sock);
	core_stop(run.core, 0);
}

/* Long enough for a reactor that spins to make thousands of passes. */
static void quiet_watch(struct quiet *q)
{
	reactor_get_stats(reactor_self(), &q->before);
	timer_start(&q->timer, 50 * NS_PER_MS, quiet_end);
}

static void quiet_client_ready(void *arg, uint32_t events)
{
	struct quiet *q = arg;
	uint8_t buf[64];

	q->calls++;
	if (events & SOCK_FAILED && !q->failed_calls++)
		quiet_watch(q);
	/* Reads a little at a time, so that what came before the reset takes several passes. */
	if (events & SOCK_READABLE && (q->last = sock_recv(q->client.sock, buf, sizeof(buf))) > 0)
		q->bytes += (uint64_t)q->last;
}

static void quiet_accept(void *arg, struct sock *s)
{
	struct quiet *q = arg;
	static uint8_t bytes[1000];
	struct iovec iov = { bytes, sizeof(bytes) };

	(void)sock_send(s, &iov, 1);
	q->server = s;
}

static void quiet_reset(struct timer *t)
{
	struct quiet *q = container_of(t, struct quiet, timer);

	sock_reset(q->server);
	listener_close(q->listener);
}

/* All on the control reactor. The client does not read until the reset is there. */
static void quiet_start(void *arg)
{
	struct quiet *q = arg;
	struct net_addr a = loopback();
	struct err e = { 0 };

	q->listener = listener_open(&a, 1, quiet_accept, q, &e);
	listener_addr(q->listener, &a);
	q->client.sock = sock_connect(&a, NULL, NULL, quiet_client_ready, q, &e);
	sock_want_read(q->client.sock, false);
	timer_start(&q->timer, 20 * NS_PER_MS, quiet_reset);
}

/* The kernel repeats a hang-up for ever. A connection that waits for its I/O must not burn its core. */
static void reset_is_told_once_while_not_reading(void **state)
{
	struct quiet *q = base_zalloc(sizeof(*q));

	assert_int_equal(run_core(quiet_start, q, 1), 0);
	assert_int_equal(q->failed_calls, 1);
	assert_int_equal(q->bytes, 0);
	assert_true(q->after.passes - q->before.passes < 10);
	free(q);
}

static void quiet_reading_start(void *arg)
{
	struct quiet *q = arg;

	quiet_start(arg);
	sock_want_read(q->client.sock, true);
}

/* What was received before the reset is still there, and then the reason. */
static void data_before_a_reset_can_be_read(void **state)
{
	struct quiet *q = base_zalloc(sizeof(*q));

	assert_int_equal(run_core(quiet_reading_start, q, 1), 0);
	assert_int_equal(q->bytes, 1000);
	assert_int_equal(q->last, -ECONNRESET);
	assert_true(q->after.passes - q->before.passes < 50);
	free(q);
}

/* --- tests: listeners --- */

#define MANY 1000u

struct many {
	struct listener *listener;
	struct net_addr addr;
	struct sock *clients[MANY], *servers[MANY];
	uint32_t connected, accepted;
};

static void many_check(struct many *m)
{
	if (m->connected < MANY || m->accepted < MANY)
		return;
	for (uint32_t i = 0; i < MANY; i++) {
		sock_close(m->clients[i]);
		sock_close(m->servers[i]);
	}
	listener_close(m->listener);
	core_stop(run.core, 0);
}

static void many_client_ready(void *arg, uint32_t events)
{
	struct many *m = arg;

	m->connected += events == SOCK_WRITABLE;
	many_check(m);
}

static void many_accept(void *arg, struct sock *s)
{
	struct many *m = arg;

	m->servers[m->accepted++] = s;
	many_check(m);
}

static void many_start(void *arg)
{
	struct many *m = arg;
	struct err e = { 0 };

	m->addr = loopback();
	m->listener = listener_open(&m->addr, 0, many_accept, m, &e);
	listener_addr(m->listener, &m->addr);
	for (uint32_t i = 0; i < MANY; i++) {
		m->clients[i] = sock_connect(&m->addr, NULL, NULL, many_client_ready, m, &e);
		if (!m->clients[i]) {
			core_stop(run.core, e.code);
			return;
		}
	}
}

static void thousand_accepts(void **state)
{
	struct many *m = base_zalloc(sizeof(*m));

	assert_int_equal(run_core(many_start, m, 1), 0);
	assert_int_equal(m->accepted, MANY);
	free(m);
}

/* --- all of them, in this world --- */

static int raise_limits(void **state)
{
	struct rlimit l;

	if (getrlimit(RLIMIT_NOFILE, &l))
		return -1;
	l.rlim_cur = l.rlim_max;
	return setrlimit(RLIMIT_NOFILE, &l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(echo_through_small_buffers),
		cmocka_unit_test(moves_between_reactors_under_traffic),
		cmocka_unit_test(half_close_keeps_the_answer),
		cmocka_unit_test(refused_connect_is_told_once),
		cmocka_unit_test(reset_is_told_once_while_not_reading),
		cmocka_unit_test(data_before_a_reset_can_be_read),
		cmocka_unit_test(thousand_accepts),
	};
	int failed = 0;

	if (!world_cpus())
		return TEST_SKIPPED;
	for (uint32_t n = 0; n < world_count(); n++) {
		world_number = n;
		failed += cmocka_run_group_tests(tests, raise_limits, NULL);
	}
	return failed;
}
