/* SPDX-License-Identifier: BSD-3-Clause */
/* net_os_test.c: sockets over the kernel, between the reactors of a real core.
 *
 * cmocka's asserts longjmp, so reactors only collect; everything is checked when the core has stopped.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "net/net.h"

#define GUARD_NS (30 * NS_PER_S)
#define CHUNK 65536
#define SMALL (2 * CHUNK) /* socket buffers; below the loopback's segment of 64 KiB TCP waits for its own timers */

/* --- a core to run a test in --- */

struct run {
	struct core *core;
	struct timer guard;
	void (*start)(void *arg);
	void *arg;
	_Atomic int parts; /* that have to end */
};
static struct run run;

static void guard_ran_out(struct timer *t)
{
	core_stop(run.core, -ETIMEDOUT);
}

static void run_started(void *arg)
{
	timer_start(&run.guard, GUARD_NS, guard_ran_out);
	run.start(run.arg);
}

static void part_ended(void)
{
	if (atomic_fetch_sub(&run.parts, 1) == 1)
		core_stop(run.core, 0);
}

/* Two I/O reactors, and the control reactor, on which `start` runs. */
static int run_core(void (*start)(void *arg), void *arg, int parts)
{
	struct core_opts opts = { .cpus = "0x3", .mode = CORE_INTERRUPT };
	struct err e = { 0 };
	int rc;

	run = (struct run){ .start = start, .arg = arg, .parts = parts };
	run.core = core_make(&opts, &e);
	if (!run.core)
		fail_msg("%s", e.text);
	rc = core_run(run.core, run_started, NULL);
	core_free(run.core);
	return rc;
}

static struct net_addr loopback(void)
{
	struct net_addr a;

	if (net_addr_parse(NET_IPV4, "127.0.0.1", "0", &a, NULL))
		abort();
	return a;
}

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

static void refused_start(void *arg)
{
	struct client *c = arg;

	msg_send(core_reactor(run.core, 0), &c->msg, client_on_core);
}

/* Whether the system knows at once or later, it is told the same way. */
static void refused_connect_is_told_once(void **state)
{
	struct client *c = base_zalloc(sizeof(*c));
	int fd = socket(AF_INET, SOCK_STREAM, 0); /* keeps the port from others; nobody listens on it */

	c->to = loopback();
	c->done = client_close;
	assert_int_equal(bind(fd, &c->to.any, c->to.len), 0);
	assert_int_equal(getsockname(fd, &c->to.any, &c->to.len), 0);
	assert_int_equal(run_core(refused_start, c, 1), 0);
	assert_int_equal(c->error, -ECONNREFUSED);
	assert_int_equal(c->failures, 1);
	assert_int_equal(c->connected, 0);
	close(fd);
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

struct full {
	struct many many;
	struct timer timer;
	struct rlimit before;
	uint64_t passes;
};

#define FULL 20u

static void full_accept(void *arg, struct sock *s)
{
	struct full *f = arg;

	f->many.accepted++;
	sock_close(s);
	if (f->many.accepted < FULL)
		return;
	for (uint32_t i = 0; i < FULL; i++)
		sock_close(f->many.clients[i]);
	listener_close(f->many.listener);
	part_ended();
}

static void full_client_ready(void *arg, uint32_t events)
{
}

static void full_relieve(struct timer *t)
{
	struct full *f = container_of(t, struct full, timer);
	struct reactor_stats stats;

	reactor_get_stats(reactor_self(), &stats);
	f->passes = stats.passes;
	(void)setrlimit(RLIMIT_NOFILE, &f->before);
}

/* The limit is set to what is open after the clients have connected: nothing can be accepted. */
static void full_start(void *arg)
{
	struct full *f = arg;
	struct many *m = &f->many;
	struct rlimit none;
	struct err e = { 0 };

	m->addr = loopback();
	m->listener = listener_open(&m->addr, 0, full_accept, f, &e);
	listener_addr(m->listener, &m->addr);
	for (uint32_t i = 0; i < FULL; i++)
		m->clients[i] = sock_connect(&m->addr, NULL, NULL, full_client_ready, f, &e);
	(void)getrlimit(RLIMIT_NOFILE, &f->before);
	none = f->before;
	none.rlim_cur = 3;
	(void)setrlimit(RLIMIT_NOFILE, &none);
	timer_start(&f->timer, 250 * NS_PER_MS, full_relieve);
}

/* With no descriptor left the queue keeps the listener ready: accepting pauses instead of spinning, and goes on. */
static void no_descriptor_left_pauses_accepting(void **state)
{
	struct full *f = base_zalloc(sizeof(*f));

	assert_int_equal(run_core(full_start, f, 1), 0);
	assert_int_equal(f->many.accepted, FULL);
	assert_true(f->passes < 100);
	free(f);
}

/* --- tests: UNIX sockets --- */

struct local {
	char dir[64], path[80];
	struct net_addr addr;
	struct err err, stale_err;
	struct stat st;
	bool refused, replaced, removed;
	uint32_t uid, pid;
	bool cred;
	struct listener *listener;
	struct sock *client;
};

static void local_make(struct local *l, const char *name)
{
	strcpy(l->dir, "/tmp/gantry-net-XXXXXX");
	if (!mkdtemp(l->dir))
		fail();
	snprintf(l->path, sizeof(l->path), "%s/%s", l->dir, name);
	assert_int_equal(net_addr_parse(NET_UNIX, l->path, NULL, &l->addr, NULL), 0);
}

static void local_free(struct local *l)
{
	unlink(l->path);
	assert_int_equal(rmdir(l->dir), 0);
	free(l);
}

static void local_client_ready(void *arg, uint32_t events)
{
	struct local *l = arg;

	if (events & SOCK_FAILED)
		core_stop(run.core, sock_error(l->client));
}

static void local_accept(void *arg, struct sock *s)
{
	struct local *l = arg;

	l->cred = sock_peer_cred(s, &l->uid, &l->pid);
	sock_close(s);
	sock_close(l->client);
	listener_close(l->listener);
	l->removed = access(l->path, F_OK) != 0;
	core_stop(run.core, 0);
}

static void local_start(void *arg)
{
	struct local *l = arg;

	l->listener = listener_open(&l->addr, 8, local_accept, l, &l->err);
	if (!l->listener) {
		core_stop(run.core, l->err.code);
		return;
	}
	(void)lstat(l->path, &l->st);
	l->refused = !listener_open(&l->addr, 8, local_accept, l, &l->stale_err);
	l->client = sock_connect(&l->addr, NULL, NULL, local_client_ready, l, &l->err);
}

/* Two daemons on one path would each think it is theirs; the second must say who has it. */
static void unix_socket_in_use_names_its_owner(void **state)
{
	struct local *l = base_zalloc(sizeof(*l));
	char pid[16];

	local_make(l, "rpc.sock");
	snprintf(pid, sizeof(pid), " %d ", getpid());
	assert_int_equal(run_core(local_start, l, 1), 0);
	assert_int_equal(l->st.st_mode, S_IFSOCK | 0600);
	assert_true(l->refused);
	assert_int_equal(l->stale_err.code, -EADDRINUSE);
	assert_non_null(strstr(l->stale_err.text, pid));
	assert_non_null(strstr(l->stale_err.text, l->path));
	assert_true(l->cred);
	assert_int_equal(l->pid, getpid());
	assert_int_equal(l->uid, getuid());
	assert_true(l->removed);
	local_free(l);
}

/* A daemon that was killed leaves its socket behind; the next one must start. */
static void stale_unix_socket_is_replaced(void **state)
{
	struct local *l = base_zalloc(sizeof(*l));
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	local_make(l, "rpc.sock");
	assert_int_equal(bind(fd, &l->addr.any, l->addr.len), 0);
	close(fd);
	assert_int_equal(run_core(local_start, l, 1), 0);
	assert_true(l->removed);
	local_free(l);
}

/* A typing mistake must not delete somebody's file. */
static void other_file_is_left_alone(void **state)
{
	struct local *l = base_zalloc(sizeof(*l));
	int fd;

	local_make(l, "precious");
	fd = open(l->path, O_CREAT | O_WRONLY, 0600);
	close(fd);
	assert_int_equal(run_core(local_start, l, 1), -EEXIST);
	assert_non_null(strstr(l->err.text, "not a socket"));
	assert_int_equal(access(l->path, F_OK), 0);
	local_free(l);
}

/* --- tests: names --- */

struct names {
	struct net_resolve resolve[4];
};

static void name_resolved(struct net_resolve *r)
{
	part_ended();
}

static void names_start(void *arg)
{
	struct names *n = arg;
	char longer[300];

	memset(longer, 'x', sizeof(longer));
	longer[sizeof(longer) - 1] = 0;
	net_resolve(&n->resolve[0], NET_IPV4, "localhost", "4420", name_resolved);
	net_resolve(&n->resolve[1], NET_ANY, "::1", "8009", name_resolved);
	net_resolve(&n->resolve[2], NET_ANY, longer, "1", name_resolved);
	net_resolve(&n->resolve[3], NET_IPV4, "localhost", "no-port", name_resolved);
}

static void names_resolve_on_the_helper_pool(void **state)
{
	struct names *n = base_zalloc(sizeof(*n));
	char text[NET_ADDR_TEXT_MAX];

	assert_int_equal(run_core(names_start, n, 4), 0);
	assert_int_equal(n->resolve[0].err.code, 0);
	assert_string_equal(net_addr_text(&n->resolve[0].addr, text), "127.0.0.1:4420");
	assert_string_equal(net_addr_text(&n->resolve[1].addr, text), "[::1]:8009");
	assert_int_equal(n->resolve[2].err.code, ERR_BAD_PARAM);
	assert_int_equal(n->resolve[3].err.code, ERR_BAD_PARAM);
	assert_non_null(strstr(n->resolve[3].err.text, "no-port"));
	free(n);
}

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
		cmocka_unit_test(no_descriptor_left_pauses_accepting),
		cmocka_unit_test(unix_socket_in_use_names_its_owner),
		cmocka_unit_test(stale_unix_socket_is_replaced),
		cmocka_unit_test(other_file_is_left_alone),
		cmocka_unit_test(names_resolve_on_the_helper_pool),
	};

	return cmocka_run_group_tests(tests, raise_limits, NULL);
}
