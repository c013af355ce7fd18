/* SPDX-License-Identifier: BSD-3-Clause */
/* echo.c: a server that sends everything back, on a simulated network that does all it may.
 *
 * Tiny buffers, short reads and writes, pieces, delays, refused and unanswered connects, resets, connections
 * that fall silent, and a server that moves its connections between reactors at any moment. Clients begin
 * again after a failure. Checked: every byte that comes back is the right one; everybody gets through, and at
 * the first attempt where the network did nothing worse than delay; at the end nothing is left in flight, open
 * or allocated.
 */
#include <errno.h>

#include "core/sim/sim.h"
#include "net/sim/sim_net.h"
#include "seeds.h"

#define CLIENTS 6u
#define FAULTS_MAX 12u
#define BYTES_MAX 8192u
#define BUF 512u
#define CLIENT_PATIENCE_NS (200 * NS_PER_MS)
#define SERVER_PATIENCE_NS (900 * NS_PER_MS)
#define ACK_TIMEOUT_MS 300u
#define LIMIT_NS (600 * NS_PER_S)

struct client {
	struct scenario *scenario;
	struct net_addr to;
	struct sock *sock;
	struct timer patience, again;
	uint32_t index, total, sent, got, attempts;
	bool done;
};

struct scenario {
	struct core *target, *host;
	struct listener *listeners[2];
	struct net_addr addrs[2];
	struct client clients[CLIENTS];
	struct sim_event fault;
	uint32_t faults_left, done, served;
	bool peaceful;
	uint32_t move_percent;
};

/* One connection of the server. */
struct conn {
	struct scenario *scenario;
	struct sock *sock;
	struct msg msg;
	struct timer patience;
	uint32_t at, len;
	bool ended;
	uint8_t buf[BUF];
};

static uint8_t pattern(const struct client *c, uint32_t at)
{
	return (uint8_t)(at * 37 + (at >> 8) * 11 + c->index * 101 + c->attempts * 7);
}

/* --- the server --- */

static void conn_ready(void *arg, uint32_t events);
static void conn_arrives(struct msg *m);

static void conn_end(struct conn *c)
{
	timer_stop(&c->patience);
	sock_close(c->sock);
	c->scenario->served--;
	free(c);
}

static void conn_waited_too_long(struct timer *t)
{
	must(!container_of(t, struct conn, patience)->scenario->peaceful);
	conn_end(container_of(t, struct conn, patience));
}

static void server_accepts(void *arg, struct sock *s)
{
	struct scenario *sc = arg;
	struct conn *c = base_zalloc(sizeof(*c));
	struct sock_opts opts = { .ack_timeout_ms = ACK_TIMEOUT_MS };

	c->scenario = sc;
	c->sock = s;
	sc->served++;
	sock_set_opts(s, &opts);
	msg_send(core_reactor(sc->target, (uint32_t)sim_draw(2)), &c->msg, conn_arrives);
}

static void conn_arrives(struct msg *m)
{
	struct conn *c = container_of(m, struct conn, msg);

	timer_start(&c->patience, SERVER_PATIENCE_NS, conn_waited_too_long);
	must(!sock_attach(c->sock, conn_ready, c));
}

static void conn_moves(struct conn *c)
{
	timer_stop(&c->patience);
	sock_detach(c->sock);
	msg_send(core_reactor(c->scenario->target, (uint32_t)sim_draw(2)), &c->msg, conn_arrives);
}

static void conn_ready(void *arg, uint32_t events)
{
	struct conn *c = arg;
	ssize_t n;

	if (c->at == c->len && !c->ended) {
		n = sock_recv(c->sock, c->buf, sizeof(c->buf));
		if (n != -EAGAIN && n <= 0)
			c->ended = true;
		c->at = 0;
		c->len = n > 0 ? (uint32_t)n : 0;
	}
	if (c->at < c->len) {
		struct iovec iov[2] = { { c->buf + c->at, (c->len - c->at) / 2 }, { NULL, 0 } };

		iov[1].iov_base = c->buf + c->at + iov[0].iov_len;
		iov[1].iov_len = c->len - c->at - iov[0].iov_len;
		n = sock_send(c->sock, iov, 2);
		if (n < 0 && n != -EAGAIN)
			c->ended = true;
		c->at += n > 0 ? (uint32_t)n : 0;
		timer_start(&c->patience, SERVER_PATIENCE_NS, conn_waited_too_long);
	}
	if (c->ended) {
		conn_end(c);
		return;
	}
	sock_want_read(c->sock, c->at == c->len);
	sock_want_write(c->sock, c->at < c->len);
	if (sim_chance(c->scenario->move_percent))
		conn_moves(c);
}

static void server_start(void *arg)
{
	struct scenario *sc = arg;

	must(!net_addr_parse(NET_ANY, "0.0.0.0", "7", &sc->addrs[0], NULL));
	must(!net_addr_parse(NET_ANY, "/run/echo.sock", NULL, &sc->addrs[1], NULL));
	for (int i = 0; i < 2; i++) {
		sc->listeners[i] = listener_open(&sc->addrs[i], 1 + (uint32_t)sim_draw(4), server_accepts, sc, NULL);
		must(sc->listeners[i]);
		must(!listener_open(&sc->addrs[i], 0, server_accepts, sc, NULL));
	}
	must(!net_addr_parse(NET_ANY, "10.0.0.1", "7", &sc->addrs[0], NULL));
}

static void server_stop(void *arg)
{
	struct scenario *sc = arg;

	for (int i = 0; i < 2; i++)
		listener_close(sc->listeners[i]);
}

/* --- clients --- */

static void client_ready(void *arg, uint32_t events);

static void client_begins(struct timer *t)
{
	struct client *c = container_of(t, struct client, again);
	struct sock_opts opts = { .ack_timeout_ms = ACK_TIMEOUT_MS };

	c->attempts++;
	c->sent = c->got = 0;
	c->sock = sock_connect(&c->to, NULL, &opts, client_ready, c, NULL);
	must(c->sock);
}

static void client_fails(struct client *c)
{
	timer_stop(&c->patience);
	if (sim_chance(50))
		sock_reset(c->sock);
	else
		sock_close(c->sock);
	timer_start(&c->again, 1 + sim_draw(10 * NS_PER_MS), client_begins);
}

/* Only what the network swallowed may need a timer's help. */
static void client_waited_too_long(struct timer *t)
{
	must(!container_of(t, struct client, patience)->scenario->peaceful);
	client_fails(container_of(t, struct client, patience));
}

/* False when it failed. */
static bool client_sends(struct client *c)
{
	uint8_t buf[BUF];

	while (c->sent < c->total) {
		struct iovec iov = { buf, min_u32(BUF, c->total - c->sent) };
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

static bool client_receives(struct client *c)
{
	uint8_t buf[BUF];
	ssize_t n = sock_recv(c->sock, buf, sizeof(buf));

	if (n <= 0)
		return n == -EAGAIN;
	for (ssize_t i = 0; i < n; i++)
		must(buf[i] == pattern(c, c->got + (uint32_t)i));
	c->got += (uint32_t)n;
	must(c->got <= c->sent);
	return true;
}

static void client_ready(void *arg, uint32_t events)
{
	struct client *c = arg;

	timer_start(&c->patience, CLIENT_PATIENCE_NS, client_waited_too_long);
	if (((events & SOCK_READABLE) && !client_receives(c)) || (events & SOCK_FAILED) || !client_sends(c)) {
		client_fails(c);
		return;
	}
	sock_want_write(c->sock, c->sent < c->total);
	if (c->got < c->total)
		return;
	timer_stop(&c->patience);
	sock_close(c->sock);
	c->done = true;
	c->scenario->done++;
}

static void client_starts(void *arg)
{
	struct client *c = arg;

	timer_start(&c->again, sim_draw(NS_PER_MS), client_begins);
}

/* --- faults --- */

static void fault_strikes(struct sim_event *e)
{
	struct scenario *sc = container_of(e, struct scenario, fault);
	uint32_t count = sim_net_connections();

	if (sc->faults_left == 0 || --sc->faults_left == 0) {
		sim_net_set_connect(SIM_NET_ACCEPT);
		return;
	}
	if (sim_chance(30))
		sim_net_set_connect((enum sim_net_connect)sim_draw(3));
	else if (count)
		sim_net_cut((uint32_t)sim_draw(count), sim_chance(40));
	sim_event_at(e, sim_now_ns() + sim_draw(20 * NS_PER_MS), fault_strikes);
}

/* --- the whole --- */

static bool all_done(void *arg)
{
	struct scenario *sc = arg;

	return sc->done == CLIENTS && sc->served == 0;
}

static struct core *make_core(void)
{
	struct core_opts opts = {
		.cpus = "0-1", .mode = (enum core_mode)sim_draw(CORE_MODE_COUNT), .memory_bytes = 16 * MIB,
	};
	struct core *core = core_make(&opts, NULL);

	must(core);
	return core;
}

static void start_network(void)
{
	static const uint32_t buffers[] = { 16, 200, 4096, 65536 }, chunks[] = { 0, 7, 100, 1460 };
	struct sim_net_opts opts = {
		.latency_ns_min = sim_draw(5000), .latency_ns_max = 5000 + sim_draw(100000),
		.buffer_bytes = buffers[sim_draw(ARRAY_SIZE(buffers))],
		.chunk_bytes_max = chunks[sim_draw(ARRAY_SIZE(chunks))],
		.short_read_percent = (uint32_t)sim_draw(70), .short_write_percent = (uint32_t)sim_draw(70),
	};

	sim_net_start(&opts);
}

static void start_clients(struct scenario *sc)
{
	for (uint32_t i = 0; i < CLIENTS; i++) {
		struct client *c = &sc->clients[i];

		c->scenario = sc;
		c->index = i;
		c->to = sc->addrs[i % 2];
		c->total = 1 + (uint32_t)sim_draw(BYTES_MAX);
		sim_as(core_reactor(sc->host, i % 2), client_starts, c);
	}
}

static uint64_t echo(uint64_t seed)
{
	struct scenario sc = { 0 };

	sim_start(seed);
	start_network();
	sc.target = make_core();
	sc.host = make_core();
	sc.move_percent = (uint32_t)sim_draw(20);
	sim_as(core_control(sc.target), server_start, &sc);
	start_clients(&sc);
	sc.faults_left = (uint32_t)sim_draw(FAULTS_MAX);
	sc.peaceful = sim_chance(30);
	if (!sc.peaceful)
		sim_event_at(&sc.fault, sim_now_ns() + sim_draw(5 * NS_PER_MS), fault_strikes);

	must(sim_run(all_done, &sc, LIMIT_NS));
	for (uint32_t i = 0; i < CLIENTS; i++) {
		sim_note(sc.clients[i].attempts);
		must(!sc.peaceful || sc.clients[i].attempts == 1);
	}
	sim_as(core_control(sc.target), server_stop, &sc);
	sim_run(NULL, NULL, NS_PER_S);
	must(sim_net_connections() == 0);
	must(sim_net_in_flight() == 0);
	core_free(sc.target);
	core_free(sc.host);
	sim_net_end();
	return sim_end();
}

int main(int argc, char **argv)
{
	return seeds_main(argc, argv, 150, echo);
}
