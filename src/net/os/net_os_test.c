/* SPDX-License-Identifier: BSD-3-Clause */
/* net_os_test.c: what is the kernel's alone: descriptors that run out, files of UNIX sockets, names. */
#include "net/test_run.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "net/os/sock.h"
#include "net/os/unix_path.h"

/* --- listeners --- */

#define FULL 20u

struct full {
	struct listener *listener;
	struct sock *clients[FULL];
	uint32_t accepted;
	struct timer timer;
	struct rlimit before;
	uint64_t passes;
};

static void full_accept(void *arg, struct sock *s)
{
	struct full *f = arg;

	f->accepted++;
	sock_close(s);
	if (f->accepted < FULL)
		return;
	for (uint32_t i = 0; i < FULL; i++)
		sock_close(f->clients[i]);
	listener_close(f->listener);
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
	struct net_addr addr = loopback();
	struct rlimit none;
	struct err e = { 0 };

	f->listener = listener_open(&addr, 0, full_accept, f, &e);
	listener_addr(f->listener, &addr);
	for (uint32_t i = 0; i < FULL; i++)
		f->clients[i] = sock_connect(&addr, NULL, NULL, full_client_ready, f, &e);
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
	assert_int_equal(f->accepted, FULL);
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
	snprintf(l->dir, sizeof(l->dir), "/tmp/gantry-net-XXXXXX");
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

#define RIVALS 6

/* A daemon of its own: tries, tells, and keeps the socket until the parent has heard everybody. */
static void rival(const struct net_addr *addr, int tell, int wait)
{
	struct unix_path u = { 0 };
	int fd = sock_open_fd(addr, NULL);
	char won = !unix_path_listen(&u, fd, addr, 8, NULL);
	ssize_t n = write(tell, &won, 1);

	n = read(wait, &won, 1);
	_exit(n < 0);
}

static int count_winners(const struct net_addr *addr)
{
	int tell[2], wait_end[2], winners = 0;

	if (pipe(tell) || pipe(wait_end))
		return -1;
	for (int i = 0; i < RIVALS; i++) {
		if (fork() == 0) {
			close(wait_end[1]);
			rival(addr, tell[1], wait_end[0]);
		}
	}
	for (int i = 0; i < RIVALS; i++) {
		char won = 0;

		if (read(tell[0], &won, 1) == 1)
			winners += won;
	}
	close(wait_end[1]);
	for (int i = 0; i < RIVALS; i++)
		(void)waitpid(-1, NULL, 0);
	close(wait_end[0]);
	close(tell[0]);
	close(tell[1]);
	return winners;
}

/* Daemons started at once over a socket left behind: without the lock one removes the other's, and both run. */
static void one_of_many_takes_a_stale_path(void **state)
{
	struct local *l = base_zalloc(sizeof(*l));

	local_make(l, "rpc.sock");
	for (int round = 0; round < 30; round++)
		assert_int_equal(count_winners(&l->addr), 1);
	local_free(l);
}

/* --- tests: descriptors that a peer sends as it likes --- */

/* `fds` copies of standard error with `bytes` bytes, as the system call has it. */
static ssize_t send_raw(int fd, size_t bytes, uint32_t fds)
{
	static const char data[16];
	struct iovec iov = { (void *)data, bytes };
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(253 * sizeof(int))] = { 0 };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control,
	                    .msg_controllen = CMSG_SPACE(fds * sizeof(int)) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(fds * sizeof(int));
	for (uint32_t i = 0; i < fds; i++)
		memcpy(CMSG_DATA(c) + i * sizeof(int), &(int){ STDERR_FILENO }, sizeof(int));
	return sendmsg(fd, &m, MSG_DONTWAIT);
}

struct pair {
	int peer;
	struct sock *sock;
	uint32_t before;
};

static void pair_open(struct pair *p)
{
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	p->peer = fds[0];
	p->sock = sock_from_fd(fds[1], NULL);
	p->before = world_fds();
}

static void pair_close(struct pair *p)
{
	assert_int_equal(world_fds(), p->before);
	sock_close(p->sock);
	close(p->peer);
}

/* As many as the kernel lets travel, for 32, for an odd number whose control data is padded, and for none. */
static void cut_control_data_leaves_nothing_open(void **state)
{
	static const uint32_t rooms[] = { 32, 31, 3, 1, 0 };
	struct pair p;
	char buf[16];
	int fds[SOCK_FDS_MAX];

	pair_open(&p);
	for (uint32_t i = 0; i < ARRAY_SIZE(rooms); i++) {
		for (uint32_t more = 1; more < 250 - rooms[i]; more += 40) {
			uint32_t count = rooms[i];

			assert_int_equal(send_raw(p.peer, 16, rooms[i] + more), 16);
			assert_int_equal(sock_recv_fds(p.sock, buf, sizeof(buf), fds, &count), -EMSGSIZE);
			assert_int_equal(count, 0);
		}
	}
	pair_close(&p);
}

/* A process that may not open any more: the message is lost, not the daemon. */
static void descriptors_that_run_out_are_told_apart(void **state)
{
	uint32_t count = 8;
	struct rlimit was, now;
	struct pair p;
	char buf[16];
	int fds[8];

	pair_open(&p);
	assert_int_equal(send_raw(p.peer, 16, 8), 16);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &was), 0);
	now = was;
	now.rlim_cur = (rlim_t)p.peer + 4;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &now), 0);
	assert_int_equal(sock_recv_fds(p.sock, buf, sizeof(buf), fds, &count), -EMFILE);
	assert_int_equal(count, 0);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &was), 0);
	pair_close(&p);
}

/* A stream has no empty messages: the kernel drops what comes without bytes, and nothing is taken for an end. */
static void descriptors_without_bytes_do_not_arrive(void **state)
{
	uint32_t count = 4;
	struct pair p;
	char buf[16];
	int fds[4];

	pair_open(&p);
	assert_int_equal(send_raw(p.peer, 0, 2), 0);
	assert_int_equal(sock_recv_fds(p.sock, buf, sizeof(buf), fds, &count), -EAGAIN);
	assert_int_equal(count, 0);
	count = 4;
	assert_int_equal(send_raw(p.peer, 1, 2), 1);
	assert_int_equal(sock_recv_fds(p.sock, buf, sizeof(buf), fds, &count), 1);
	assert_int_equal(count, 2);
	assert_true(fcntl(fds[0], F_GETFD) & FD_CLOEXEC);
	close(fds[0]);
	close(fds[1]);
	count = 4;
	assert_int_equal(shutdown(p.peer, SHUT_WR), 0);
	assert_int_equal(sock_recv_fds(p.sock, buf, sizeof(buf), fds, &count), 0);
	assert_int_equal(count, 0);
	pair_close(&p);
}

/* --- tests: connections that stay on this machine --- */

static void assert_congestion(int fd, const char *name)
{
	char now[16] = { 0 }; /* the kernel's TCP_CA_NAME_MAX */
	socklen_t len = sizeof(now);

	assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, now, &len), 0);
	assert_string_equal(now, name);
}

static void assert_as_the_system(const char *host)
{
	char system[16] = { 0 };
	socklen_t len = sizeof(system);
	struct net_addr addr;
	int plain = socket(AF_INET, SOCK_STREAM, 0), fd;

	assert_int_equal(net_addr_parse(NET_IPV4, host, "4420", &addr, NULL), 0);
	fd = sock_open_fd(&addr, NULL);
	assert_int_equal(getsockopt(plain, IPPROTO_TCP, TCP_CONGESTION, system, &len), 0);
	assert_congestion(fd, system);
	close(fd);
	close(plain);
}

/* The loopback is paced by nobody: neither what a listener there takes, nor what connects to it. */
static void loopback_is_not_paced(void **state)
{
	struct net_addr addr = loopback();
	int listener = sock_open_fd(&addr, NULL), client, taken;

	assert_int_equal(bind(listener, &addr.any, addr.len), 0);
	assert_int_equal(listen(listener, 1), 0);
	assert_int_equal(getsockname(listener, &addr.any, &addr.len), 0);
	client = sock_open_fd(&addr, NULL);
	(void)connect(client, &addr.any, addr.len);
	assert_int_equal(fcntl(listener, F_SETFL, 0), 0);
	taken = accept(listener, NULL, NULL);
	assert_true(taken >= 0);
	assert_congestion(client, "reno");
	assert_congestion(taken, "reno");
	close(client);
	close(taken);
	close(listener);
	assert_as_the_system("192.0.2.1");
	assert_as_the_system("0.0.0.0");
}

/* --- tests: names --- */

struct names {
	struct net_resolve resolve[5];
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
	net_resolve(&n->resolve[4], NET_ANY, "127.0.0.1", "99999", name_resolved);
}

static void names_resolve_on_the_helper_pool(void **state)
{
	struct names *n = base_zalloc(sizeof(*n));
	char text[NET_ADDR_TEXT_MAX];

	assert_int_equal(run_core(names_start, n, 5), 0);
	if (access("/etc/hosts", R_OK) == 0) { /* else nobody here knows localhost */
		assert_int_equal(n->resolve[0].err.code, 0);
		assert_string_equal(net_addr_text(&n->resolve[0].addr, text), "127.0.0.1:4420");
	}
	assert_string_equal(net_addr_text(&n->resolve[1].addr, text), "[::1]:8009");
	assert_int_equal(n->resolve[2].err.code, ERR_BAD_PARAM);
	assert_int_equal(n->resolve[3].err.code, ERR_BAD_PARAM);
	assert_non_null(strstr(n->resolve[3].err.text, "no-port"));
	assert_int_equal(n->resolve[4].err.code, ERR_BAD_PARAM);
	assert_non_null(strstr(n->resolve[4].err.text, "99999"));
	free(n);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_descriptor_left_pauses_accepting),
		cmocka_unit_test(unix_socket_in_use_names_its_owner),
		cmocka_unit_test(stale_unix_socket_is_replaced),
		cmocka_unit_test(other_file_is_left_alone),
		cmocka_unit_test(one_of_many_takes_a_stale_path),
		cmocka_unit_test(cut_control_data_leaves_nothing_open),
		cmocka_unit_test(descriptors_that_run_out_are_told_apart),
		cmocka_unit_test(descriptors_without_bytes_do_not_arrive),
		cmocka_unit_test(loopback_is_not_paced),
		cmocka_unit_test(names_resolve_on_the_helper_pool),
	};

	if (!world_cpus())
		return TEST_SKIPPED;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
