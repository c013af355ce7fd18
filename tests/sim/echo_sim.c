/* SPDX-License-Identifier: BSD-3-Clause */
/* echo_sim.c: a server that sends everything back, on a simulated network that does all it may.
 *
 * Tiny buffers, short reads and writes, pieces, delays, refused and unanswered connects, resets, connections
 * that fall silent, and a server that moves its connections between reactors at any moment. Clients begin
 * again after a failure. Checked: every byte that comes back is the right one; everybody gets through, and at
 * the first attempt where the network did nothing worse than delay; at the end nothing is left in flight, open
 * or allocated.
 */
#include "core/sim/sim.h"
#include "echo.h"
#include "net/sim/sim_net.h"
#include "seeds.h"

#define CLIENTS 6u
#define FAULTS_MAX 12u
#define BYTES_MAX 8192u
#define LIMIT_NS (600 * NS_PER_S)

struct scenario {
	struct echo_world world;
	struct echo_server server;
	struct echo_client clients[CLIENTS];
	struct core *host;
	struct listener *listeners[2];
	struct net_addr addrs[2];
	struct sim_event fault;
	uint32_t faults_left;
};

/* --- the server's listeners --- */

static void server_start(void *arg)
{
	struct scenario *sc = arg;

	must(!net_addr_parse(NET_ANY, "0.0.0.0", "7", &sc->addrs[0], NULL));
	must(!net_addr_parse(NET_ANY, "/run/echo.sock", NULL, &sc->addrs[1], NULL));
	for (int i = 0; i < 2; i++) {
		sc->listeners[i] = listener_open(&sc->addrs[i], 1 + (uint32_t)sim_draw(4), echo_accept, &sc->server, NULL);
		must(sc->listeners[i]);
		must(!listener_open(&sc->addrs[i], 0, echo_accept, &sc->server, NULL));
	}
	must(!net_addr_parse(NET_ANY, "10.0.0.1", "7", &sc->addrs[0], NULL));
}

static void server_stop(void *arg)
{
	struct scenario *sc = arg;

	for (int i = 0; i < 2; i++)
		listener_close(sc->listeners[i]);
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
	const struct scenario *sc = arg;
	uint32_t done = 0;

	for (uint32_t i = 0; i < CLIENTS; i++)
		done += sc->clients[i].done;
	return done == CLIENTS && sc->server.served == 0;
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
		struct echo_client *c = &sc->clients[i];

		*c = (struct echo_client){ .world = &sc->world, .to = sc->addrs[i % 2], .index = i,
		                           .total = 1 + (uint32_t)sim_draw(BYTES_MAX) };
		sim_as(core_reactor(sc->host, i % 2), echo_client_start, c);
	}
}

static uint64_t echo(uint64_t seed)
{
	struct scenario sc = {
		.world = { .ack_timeout_ms = 300, .buf_bytes = 512, .server_patience_ns = 900 * NS_PER_MS,
		           .client_patience_ns = 200 * NS_PER_MS },
	};

	sim_start(seed);
	start_network();
	sc.server = (struct echo_server){ .world = &sc.world, .core = make_core(), .move_percent = (uint32_t)sim_draw(20) };
	sc.host = make_core();
	sim_as(core_control(sc.server.core), server_start, &sc);
	start_clients(&sc);
	sc.faults_left = (uint32_t)sim_draw(FAULTS_MAX);
	sc.world.peaceful = sim_chance(30);
	if (!sc.world.peaceful)
		sim_event_at(&sc.fault, sim_now_ns() + sim_draw(5 * NS_PER_MS), fault_strikes);

	must(sim_run(all_done, &sc, LIMIT_NS));
	for (uint32_t i = 0; i < CLIENTS; i++)
		sim_note(sc.clients[i].attempts);
	sim_as(core_control(sc.server.core), server_stop, &sc);
	sim_run(NULL, NULL, NS_PER_S);
	must(sim_net_connections() == 0);
	must(sim_net_in_flight() == 0);
	core_free(sc.server.core);
	core_free(sc.host);
	sim_net_end();
	return sim_end();
}

int main(int argc, char **argv)
{
	return seeds_main(argc, argv, 150, echo);
}
