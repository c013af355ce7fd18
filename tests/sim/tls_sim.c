/* SPDX-License-Identifier: BSD-3-Clause */
/* tls_sim.c: secured connections whose way leads over somebody who is not to be trusted.
 *
 * Clients have what they send sent back by a server that moves its connections between reactors at any moment. Between
 * them is a relay, which carries bytes of any length as they are, or: changes one, cuts the connection, ends it as if
 * the peer had, or sends some bytes twice; in the handshake or later, in either direction. Checked: every byte that
 * comes back is the right one; no end is taken for the peer's that was not; a connection that nobody disturbs gets
 * through at the first attempt; all get through at last; nothing is left.
 */
#include <errno.h>
#include <stdio.h>

#include "core/sim/sim.h"
#include "echo.h"
#include "net/sim/sim_net.h"
#include "seeds.h"

#define CLIENTS 4u
#define BYTES_MAX 40000u
#define BUF 3000u
#define RELAY_BUF 700u
#define SOBER_AFTER 4u       /* attempts of a client until nobody disturbs it any more */
#define PATIENCE_NS (20 * NS_PER_S)
#define LIMIT_NS (3000 * NS_PER_S)

enum fate { LEFT_ALONE, CHANGED, CUT, ENDED, REPEATED, FATES };

struct scenario {
	struct echo_world world;
	struct echo_server server;
	struct echo_client clients[CLIENTS];
	struct core *host, *far;
	struct listener *listener, *relay;
	struct net_addr addr, relay_addr;
	uint32_t relayed;
};

/* One of the relay's: [0] is the client's side. */
struct relay {
	struct scenario *scenario;
	struct relay_side {
		struct relay *relay;
		struct sock *sock;
		bool open, ended, told;
		uint64_t carried;
		uint32_t at, len;
		uint8_t buf[2 * RELAY_BUF];
	} side[2];
	enum fate fate;
	int fate_side;
	uint64_t fate_at;
};

static void key_of(uint32_t index, struct tls_psk *ret_psk)
{
	*ret_psk = (struct tls_psk){ .hash = index % 2 ? TLS_SHA384 : TLS_SHA256, .len = index % 2 ? 48 : 32 };
	memset(ret_psk->key, (int)(index + 1), ret_psk->len);
}

static bool find(void *arg, struct sock *s, const char *identity, struct tls_psk *ret_psk)
{
	uint32_t index;

	if (sscanf(identity, "client %u", &index) != 1)
		return false;
	key_of(index, ret_psk);
	return true;
}

/* --- the relay --- */

static void relay_ready(void *arg, uint32_t events);

static void relay_close(struct relay *r, bool reset)
{
	for (int i = 0; i < 2; i++)
		(reset ? sock_reset : sock_close)(r->side[i].sock);
	r->scenario->relayed--;
	free(r);
}

static void relay_accepts(void *arg, struct sock *s)
{
	struct scenario *sc = arg;
	struct relay *r = base_zalloc(sizeof(*r));

	r->scenario = sc;
	r->fate = sc->world.peaceful || sim_chance(30) ? LEFT_ALONE : (enum fate)sim_draw(FATES);
	for (uint32_t i = 0; i < CLIENTS; i++)
		if (sc->clients[i].attempts >= SOBER_AFTER)
			r->fate = LEFT_ALONE;
	r->fate_side = (int)sim_draw(2);
	r->fate_at = sim_draw(sim_chance(50) ? 400 : BYTES_MAX);
	sc->relayed++;
	for (int i = 0; i < 2; i++)
		r->side[i].relay = r;
	r->side[0].sock = s;
	r->side[0].open = true;
	must(!sock_attach(s, relay_ready, &r->side[0]));
	r->side[1].sock = sock_connect(&sc->addr, NULL, NULL, relay_ready, &r->side[1], NULL);
	must(r->side[1].sock);
}

/* What came just now from this side. False: it was cut. */
static bool disturb(struct relay_side *s, uint32_t len)
{
	struct relay *r = s->relay;
	uint64_t first = s->carried;

	s->carried += len;
	if (r->fate == LEFT_ALONE || s != &r->side[r->fate_side] || r->fate_at < first || r->fate_at >= s->carried)
		return true;
	sim_note(r->fate);
	if (r->fate == CHANGED) {
		s->buf[r->fate_at - first] ^= (uint8_t)(1u << sim_draw(8));
	} else if (r->fate == ENDED) {
		s->len = (uint32_t)(r->fate_at - first);
		s->ended = true;
	} else if (r->fate == REPEATED) {
		memcpy(s->buf + len, s->buf, len);
		s->len = 2 * len;
	}
	return r->fate != CUT;
}

/* From one side to the other. False: the connection is no more. */
static bool carry(struct relay_side *from, struct relay_side *to)
{
	if (from->at == from->len && !from->ended) {
		ssize_t n = sock_recv(from->sock, from->buf, RELAY_BUF);

		if (n < 0 && n != -EAGAIN)
			return false;
		from->at = 0;
		from->len = n > 0 ? (uint32_t)n : 0;
		from->ended = n == 0;
		if (n > 0 && !disturb(from, (uint32_t)n))
			return false;
	}
	if (from->at < from->len) {
		struct iovec iov = { from->buf + from->at, from->len - from->at };
		ssize_t n = sock_send(to->sock, &iov, 1);

		if (n < 0 && n != -EAGAIN)
			return false;
		from->at += n > 0 ? (uint32_t)n : 0;
	}
	if (from->ended && from->at == from->len && !from->told) {
		from->told = true;
		sock_shutdown_send(to->sock);
	}
	return true;
}

static void relay_ready(void *arg, uint32_t events)
{
	struct relay_side *s = arg;
	struct relay *r = s->relay;

	if (!s->open && (events & SOCK_WRITABLE))
		s->open = true;
	if (!r->side[0].open || !r->side[1].open) {
		if (events & SOCK_FAILED)
			relay_close(r, true);
		else
			sock_want_read(s->sock, false);
		return;
	}
	for (int i = 0; i < 2; i++) {
		if (!carry(&r->side[i], &r->side[!i])) {
			relay_close(r, true);
			return;
		}
	}
	if (r->side[0].told && r->side[1].told) {
		relay_close(r, false);
		return;
	}
	if ((events & SOCK_FAILED) && !(events & SOCK_READABLE)) {
		relay_close(r, true);
		return;
	}
	for (int i = 0; i < 2; i++) {
		struct relay_side *from = &r->side[i];

		sock_want_read(from->sock, from->at == from->len && !from->ended);
		sock_want_write(r->side[!i].sock, from->at < from->len);
	}
}

/* --- the whole --- */

static bool all_done(void *arg)
{
	const struct scenario *sc = arg;
	uint32_t done = 0;

	for (uint32_t i = 0; i < CLIENTS; i++)
		done += sc->clients[i].done;
	return done == CLIENTS && sc->server.served == 0 && sc->relayed == 0;
}

static struct core *make_core(const char *cpus)
{
	struct core_opts opts = {
		.cpus = cpus, .mode = (enum core_mode)sim_draw(CORE_MODE_COUNT), .memory_bytes = 64 * MIB,
	};
	struct core *core = core_make(&opts, NULL);

	must(core);
	return core;
}

static void start_network(void)
{
	static const uint32_t buffers[] = { 200, 4096, 65536 }, chunks[] = { 0, 100, 1460 };
	struct sim_net_opts opts = {
		.latency_ns_min = sim_draw(5000), .latency_ns_max = 5000 + sim_draw(100000),
		.buffer_bytes = buffers[sim_draw(ARRAY_SIZE(buffers))],
		.chunk_bytes_max = chunks[sim_draw(ARRAY_SIZE(chunks))],
		.short_read_percent = (uint32_t)sim_draw(70), .short_write_percent = (uint32_t)sim_draw(70),
	};

	sim_net_start(&opts);
}

static void server_start(void *arg)
{
	struct scenario *sc = arg;

	must(!net_addr_parse(NET_ANY, "10.0.0.1", "7", &sc->addr, NULL));
	sc->listener = listener_open(&sc->addr, 0, echo_accept, &sc->server, NULL);
	must(sc->listener);
}

static void relay_start(void *arg)
{
	struct scenario *sc = arg;

	must(!net_addr_parse(NET_ANY, "10.0.0.2", "7", &sc->relay_addr, NULL));
	sc->relay = listener_open(&sc->relay_addr, 0, relay_accepts, sc, NULL);
	must(sc->relay);
}

static void close_here(void *arg)
{
	listener_close(arg);
}

static uint64_t tls(uint64_t seed)
{
	struct scenario sc = {
		.world = { .secured = true, .buf_bytes = BUF, .server_patience_ns = PATIENCE_NS,
		           .client_patience_ns = PATIENCE_NS },
	};

	sim_start(seed);
	start_network();
	sc.server = (struct echo_server){ .world = &sc.world, .core = make_core("0-1"), .find = find };
	sc.host = make_core("0-1");
	sc.far = make_core("0-0");
	sc.server.move_percent = (uint32_t)sim_draw(20);
	sc.world.peaceful = sim_chance(30);
	sim_as(core_control(sc.server.core), server_start, &sc);
	sim_as(core_reactor(sc.far, 0), relay_start, &sc);
	for (uint32_t i = 0; i < CLIENTS; i++) {
		struct echo_client *c = &sc.clients[i];

		*c = (struct echo_client){ .world = &sc.world, .to = sc.relay_addr, .index = i,
		                           .total = 1 + (uint32_t)sim_draw(BYTES_MAX) };
		key_of(i, &c->offer.psk);
		snprintf(c->offer.identity, sizeof(c->offer.identity), "client %u", i);
		sim_as(core_reactor(sc.host, i % 2), echo_client_start, c);
	}
	must(sim_run(all_done, &sc, LIMIT_NS));
	for (uint32_t i = 0; i < CLIENTS; i++)
		sim_note(sc.clients[i].attempts);
	sim_as(core_control(sc.server.core), close_here, sc.listener);
	sim_as(core_reactor(sc.far, 0), close_here, sc.relay);
	sim_run(NULL, NULL, 20 * NS_PER_S);
	must(sim_net_connections() == 0);
	must(sim_net_in_flight() == 0);
	core_free(sc.server.core);
	core_free(sc.host);
	core_free(sc.far);
	sim_net_end();
	return sim_end();
}

int main(int argc, char **argv)
{
	return seeds_main(argc, argv, 40, tls);
}
