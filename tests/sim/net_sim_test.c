/* SPDX-License-Identifier: BSD-3-Clause */
/* net_sim_test.c: what the simulated network does to connections, beside carrying their bytes.
 *
 * That streams behave as the kernel's do is net_test.c's; that bytes survive every fault is echo_sim.c's.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>

#include "net/sim/sim_net.h"

#define PEERS 8u

struct peer {
	struct world *world;
	struct sock *sock;
	uint32_t events, calls;
	uint64_t told_ns;
};

struct world {
	struct core *target, *host;
	struct net_addr addr;
	struct listener *listener;
	struct peer clients[PEERS], servers[PEERS];
	uint32_t accepted, wanted, passes;
	struct sock_opts opts;
	struct err err;
};

static struct core *make_core(void)
{
	struct core_opts opts = { .cpus = "0x1", .mode = CORE_INTERRUPT, .memory_bytes = 16 * MIB };
	struct core *core = core_make(&opts, NULL);

	must(core);
	return core;
}

static void world_begin(struct world *w, uint64_t seed)
{
	struct sim_net_opts net = { .latency_ns_min = 1000, .latency_ns_max = 20000 };

	*w = (struct world){ 0 };
	sim_start(seed);
	sim_net_start(&net);
	w->target = make_core();
	w->host = make_core();
	must(!net_addr_parse(NET_ANY, "10.0.0.1", "4420", &w->addr, NULL));
}

static void world_close(struct world *w)
{
	if (w->target)
		core_free(w->target);
	core_free(w->host);
	sim_net_end();
	sim_end();
}

static void peer_ready(void *arg, uint32_t events)
{
	struct peer *p = arg;

	p->events |= events;
	p->calls++;
	p->told_ns = sim_now_ns();
}

static void accepts(void *arg, struct sock *s)
{
	struct world *w = arg;
	struct peer *p = &w->servers[w->accepted++];

	p->sock = s;
	must(!sock_attach(s, peer_ready, p));
}

static void listens(void *arg)
{
	struct world *w = arg;

	w->listener = listener_open(&w->addr, 2, accepts, w, &w->err);
}

static void connects(void *arg)
{
	struct world *w = arg;

	for (uint32_t i = 0; i < w->wanted; i++)
		w->clients[i].sock = sock_connect(&w->addr, NULL, &w->opts, peer_ready, &w->clients[i], &w->err);
}

static void clients_send(void *arg)
{
	struct world *w = arg;
	static char bytes[100];
	struct iovec iov = { bytes, sizeof(bytes) };

	for (uint32_t i = 0; i < w->wanted; i++)
		must(sock_send(w->clients[i].sock, &iov, 1) == sizeof(bytes));
}

static bool all_connected(void *arg)
{
	struct world *w = arg;

	for (uint32_t i = 0; i < w->wanted; i++)
		if (!(w->clients[i].events & SOCK_WRITABLE))
			return false;
	return w->accepted == w->wanted;
}

static bool first_failed(void *arg)
{
	return ((struct world *)arg)->clients[0].events & SOCK_FAILED;
}

static void establish(struct world *w, uint32_t count)
{
	w->wanted = count;
	sim_as(core_reactor(w->target, 0), listens, w);
	sim_as(core_reactor(w->host, 0), connects, w);
	must(sim_run(all_connected, w, 10 * NS_PER_S));
}

/* More clients than the listener's queue holds have to try again, and get in. */
static void full_backlog_makes_clients_wait(void **state)
{
	struct world w;

	world_begin(&w, 1);
	establish(&w, PEERS);
	world_close(&w);
	assert_int_equal(w.accepted, PEERS);
}

static void cut_connection_resets_both_ends(void **state)
{
	struct world w;
	bool failed;
	uint32_t live[2];
	int error[2];

	world_begin(&w, 2);
	establish(&w, 1);
	live[0] = sim_net_connections();
	sim_net_cut(0, false);
	live[1] = sim_net_connections();
	failed = sim_run(first_failed, &w, NS_PER_S);
	sim_run(NULL, NULL, NS_PER_MS);
	error[0] = sock_error(w.clients[0].sock);
	error[1] = sock_error(w.servers[0].sock);
	world_close(&w);
	assert_true(failed);
	assert_int_equal(live[0], 1);
	assert_int_equal(live[1], 0);
	assert_int_equal(error[0], -ECONNRESET);
	assert_int_equal(error[1], -ECONNRESET);
}

/* Nobody is told: only who sends and hears no acknowledgement finds out, after its time. */
static void silent_connection_times_out_for_the_sender(void **state)
{
	struct world w;
	uint64_t began_ns;
	bool quiet, failed;
	int error;

	world_begin(&w, 3);
	w.opts.ack_timeout_ms = 2000;
	establish(&w, 1);
	sim_net_cut(0, true);
	quiet = !sim_run(first_failed, &w, NS_PER_S);
	began_ns = sim_now_ns();
	sim_as(core_reactor(w.host, 0), clients_send, &w);
	failed = sim_run(first_failed, &w, 60 * NS_PER_S);
	error = sock_error(w.clients[0].sock);
	world_close(&w);
	assert_true(quiet && failed);
	assert_int_equal(error, -ETIMEDOUT);
	assert_int_equal((w.clients[0].told_ns - began_ns) / NS_PER_S, 2);
	assert_int_equal(w.servers[0].events, 0);
}

/* Who has nothing to send asks now and then; not who was told no time. */
static void silence_is_noticed_by_who_only_waits(void **state)
{
	struct world w;
	uint64_t began_ns;
	bool failed;

	world_begin(&w, 3);
	w.opts.ack_timeout_ms = 2000;
	establish(&w, 1);
	sim_net_cut(0, true);
	began_ns = sim_now_ns();
	failed = sim_run(first_failed, &w, 60 * NS_PER_S);
	world_close(&w);
	assert_true(failed);
	assert_in_range(w.clients[0].told_ns - began_ns, 2 * NS_PER_S, 3 * NS_PER_S);
	assert_int_equal(w.servers[0].events, 0);
}

static int connect_to(enum sim_net_connect how, uint64_t *ret_took_ns)
{
	struct world w;
	uint64_t began_ns;
	int error;

	world_begin(&w, 4);
	sim_net_set_connect(how);
	w.wanted = 1;
	sim_as(core_reactor(w.target, 0), listens, &w);
	began_ns = sim_now_ns();
	sim_as(core_reactor(w.host, 0), connects, &w);
	must(sim_run(first_failed, &w, 600 * NS_PER_S));
	*ret_took_ns = w.clients[0].told_ns - began_ns;
	error = sock_error(w.clients[0].sock);
	world_close(&w);
	assert_int_equal(w.clients[0].events, SOCK_FAILED);
	assert_int_equal(w.accepted, 0);
	return error;
}

static void connects_are_refused_or_never_answered(void **state)
{
	uint64_t took_ns;

	assert_int_equal(connect_to(SIM_NET_REFUSE, &took_ns), -ECONNREFUSED);
	assert_true(took_ns < NS_PER_MS);
	assert_int_equal(connect_to(SIM_NET_BLACK_HOLE, &took_ns), -ETIMEDOUT);
	assert_int_equal(took_ns / NS_PER_S, 127);
}

/* A daemon that is killed leaves no connection open: the kernel ends them, and its clients see it. */
static void killed_core_drops_its_connections(void **state)
{
	struct world w;
	bool failed;
	uint32_t live;

	world_begin(&w, 5);
	establish(&w, 3);
	sim_as(core_reactor(w.host, 0), clients_send, &w);
	sim_net_close_core(w.target);
	core_free(w.target);
	w.target = NULL;
	failed = sim_run(first_failed, &w, NS_PER_S); /* what was sent meets nobody */
	live = sim_net_connections();
	world_close(&w);
	assert_true(failed);
	assert_int_equal(live, 0);
}

static void counts_pass(struct reactor *r, void *arg)
{
	struct world *w = arg;

	w->passes++;
}

/* The checkers hang on these two: what is on its way, and a look after every pass. */
static void bytes_in_flight_are_counted(void **state)
{
	struct world w;
	uint64_t before, sent;

	world_begin(&w, 6);
	sim_after_pass(counts_pass, &w);
	establish(&w, 2);
	before = sim_net_in_flight();
	sim_as(core_reactor(w.host, 0), clients_send, &w);
	sent = sim_net_in_flight();
	world_close(&w);
	assert_int_equal(before, 0);
	assert_int_equal(sent, 200);
	assert_true(w.passes > 4);
}

/* --- links --- */

static void clients_close(void *arg)
{
	sock_close(((struct world *)arg)->clients[0].sock);
}

static void clients_reset(void *arg)
{
	sock_reset(((struct world *)arg)->clients[0].sock);
}

static bool server_hears(void *arg)
{
	return ((struct world *)arg)->servers[0].events;
}

static void partition(struct world *w, bool to, bool from)
{
	sim_net_set_link(&w->addr, &(struct sim_net_link){ .lost_to = to, .lost_from = from });
}

static void host_does(struct world *w, void (*fn)(void *arg))
{
	sim_as(core_reactor(w->host, 0), fn, w);
}

/* What was sent during a partition comes after it; nobody notices more than that it took time. */
static void partition_delays_what_is_sent(void **state)
{
	struct world w;
	bool heard[2];
	uint64_t began_ns;

	world_begin(&w, 7);
	establish(&w, 1);
	partition(&w, true, true);
	host_does(&w, clients_send);
	heard[0] = sim_run(server_hears, &w, 5 * NS_PER_S);
	began_ns = sim_now_ns();
	partition(&w, false, false);
	heard[1] = sim_run(server_hears, &w, 100 * NS_PER_S);
	world_close(&w);
	assert_false(heard[0]);
	assert_true(heard[1]);
	assert_in_range(w.servers[0].told_ns - began_ns, 1, 7 * NS_PER_S);
	assert_int_equal(w.clients[0].events, SOCK_WRITABLE);
}

/* The worst of it: the receiver has what the sender believes lost. */
static void lost_acknowledgements_end_the_sender_only(void **state)
{
	struct world w;
	bool heard, failed;

	world_begin(&w, 8);
	w.opts.ack_timeout_ms = 3000;
	establish(&w, 1);
	partition(&w, false, true);
	host_does(&w, clients_send);
	heard = sim_run(server_hears, &w, NS_PER_S);
	failed = sim_run(first_failed, &w, 10 * NS_PER_S);
	world_close(&w);
	assert_true(heard && failed);
	assert_int_equal(w.servers[0].events, SOCK_READABLE);
}

/* What was sent before a socket was closed is delivered long afterwards; not so when it was reset. */
static bool arrives_after_end(void (*end)(void *arg))
{
	struct world w;
	bool heard;

	world_begin(&w, 9);
	w.opts.ack_timeout_ms = 20000;
	establish(&w, 1);
	partition(&w, true, true);
	host_does(&w, clients_send);
	sim_run(NULL, NULL, NS_PER_S);
	host_does(&w, end);
	sim_run(NULL, NULL, NS_PER_S);
	partition(&w, false, false);
	heard = sim_run(server_hears, &w, 60 * NS_PER_S);
	world_close(&w);
	return heard;
}

static void closed_sockets_bytes_arrive_late_and_those_of_reset_ones_never(void **state)
{
	assert_true(arrives_after_end(clients_close));
	assert_false(arrives_after_end(clients_reset));
}

static void stalled_connection_goes_on(void **state)
{
	struct world w;
	bool heard[2];

	world_begin(&w, 9);
	establish(&w, 1);
	sim_net_stall_to(&w.addr, 0, 5 * NS_PER_S);
	host_does(&w, clients_send);
	heard[0] = sim_run(server_hears, &w, 4 * NS_PER_S);
	heard[1] = sim_run(server_hears, &w, 60 * NS_PER_S);
	world_close(&w);
	assert_false(heard[0]);
	assert_true(heard[1]);
}

static void lost_connects_are_asked_again(void **state)
{
	struct world w;
	bool connected[2];
	uint64_t began_ns;

	world_begin(&w, 10);
	w.wanted = 1;
	w.opts.ack_timeout_ms = 5000;
	partition(&w, false, true);
	sim_as(core_reactor(w.target, 0), listens, &w);
	began_ns = sim_now_ns();
	host_does(&w, connects);
	connected[0] = sim_run(all_connected, &w, 2 * NS_PER_S);
	partition(&w, false, false);
	connected[1] = sim_run(all_connected, &w, 10 * NS_PER_S);
	world_close(&w);
	assert_false(connected[0]);
	assert_true(connected[1]);
	assert_int_equal((w.clients[0].told_ns - began_ns) / NS_PER_S, 3);
}

/* A machine that died says nothing; when it is there again it does not know the connection. */
static void dead_machine_resets_when_it_is_back(void **state)
{
	struct world w;
	bool failed[2];
	int error;

	world_begin(&w, 11);
	establish(&w, 1);
	partition(&w, true, true);
	sim_net_close_core(w.target);
	sim_net_forget(&w.addr);
	host_does(&w, clients_send);
	failed[0] = sim_run(first_failed, &w, 10 * NS_PER_S);
	partition(&w, false, false);
	failed[1] = sim_run(first_failed, &w, 60 * NS_PER_S);
	error = sock_error(w.clients[0].sock);
	world_close(&w);
	assert_false(failed[0]);
	assert_true(failed[1]);
	assert_int_equal(error, -ECONNRESET);
}

static void resolved(struct net_resolve *r)
{
	r->host[0] = 0;
}

static struct net_resolve resolve;

static void resolves(void *arg)
{
	net_resolve(&resolve, NET_IPV4, "target", "4420", resolved);
}

static bool is_resolved(void *arg)
{
	return !resolve.host[0];
}

static void names_come_and_go(void **state)
{
	struct world w;
	struct net_resolve found, lost;

	world_begin(&w, 12);
	sim_net_set_name("target", &w.addr);
	host_does(&w, resolves);
	must(sim_run(is_resolved, &w, NS_PER_S));
	found = resolve;
	sim_net_set_name("target", NULL);
	sim_jobs_take(10 * NS_PER_S, 11 * NS_PER_S);
	host_does(&w, resolves);
	must(!sim_run(is_resolved, &w, 9 * NS_PER_S));
	must(sim_run(is_resolved, &w, 9 * NS_PER_S));
	lost = resolve;
	world_close(&w);
	assert_true(net_addr_equal(&found.addr, &w.addr));
	assert_int_equal(lost.err.code, -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(full_backlog_makes_clients_wait),
		cmocka_unit_test(cut_connection_resets_both_ends),
		cmocka_unit_test(silent_connection_times_out_for_the_sender),
		cmocka_unit_test(silence_is_noticed_by_who_only_waits),
		cmocka_unit_test(connects_are_refused_or_never_answered),
		cmocka_unit_test(killed_core_drops_its_connections),
		cmocka_unit_test(bytes_in_flight_are_counted),
		cmocka_unit_test(partition_delays_what_is_sent),
		cmocka_unit_test(lost_acknowledgements_end_the_sender_only),
		cmocka_unit_test(closed_sockets_bytes_arrive_late_and_those_of_reset_ones_never),
		cmocka_unit_test(stalled_connection_goes_on),
		cmocka_unit_test(lost_connects_are_asked_again),
		cmocka_unit_test(dead_machine_resets_when_it_is_back),
		cmocka_unit_test(names_come_and_go),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
