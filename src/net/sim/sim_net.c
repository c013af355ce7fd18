/* SPDX-License-Identifier: BSD-3-Clause */
/* sim_net.c: the simulated network as a whole: its beginning, its end, and what goes wrong in between. */
#include <stdio.h>

#include "net/sim/inside.h"

#define BUFFER_BYTES (64 * KIB)
#define PORT_FIRST 32768u

struct sim_net sim_net;

static void forget_reactor(struct sock *s);
static struct conn *conn_of_core(const struct core *core);
static bool is_live(const struct conn *c);

void sim_net_start(const struct sim_net_opts *opts)
{
	must(!sim_net.on);
	memset(&sim_net, 0, sizeof(sim_net));
	sim_net.on = true;
	sim_net.opts = *opts;
	if (!sim_net.opts.buffer_bytes)
		sim_net.opts.buffer_bytes = BUFFER_BYTES;
	assert(opts->latency_ns_min <= opts->latency_ns_max);
	list_init(&sim_net.conns);
	list_init(&sim_net.listeners);
}

/* The cores may be gone already: nobody is told anything. */
void sim_net_end(void)
{
	must(sim_net.on);
	list_each(l, &sim_net.conns) {
		struct conn *c = list_entry(l, struct conn, link);

		for (int side = 0; side < 2; side++)
			if (c->sock[side])
				forget_reactor(c->sock[side]);
	}
	while (!list_empty(&sim_net.listeners))
		listener_close(list_entry(sim_net.listeners.next, struct listener, link));
	while (!list_empty(&sim_net.conns)) {
		struct conn *c = list_entry(sim_net.conns.next, struct conn, link);

		for (int side = 0; side < 2; side++)
			if (c->sock[side])
				sim_sock_free(c->sock[side]);
		conn_free(c);
	}
	sim_net.on = false;
}

static void forget_reactor(struct sock *s)
{
	sim_ready_cancel(&s->node);
	s->reactor = NULL;
	if (s->tls)
		tls_forget(s->tls);
}

/* What its process had sealed and not sent is lost with it. */
static void close_here(void *arg)
{
	sock_raw_close(arg);
}

static void close_of_core(struct sock *s)
{
	if (s->tls && s->reactor)
		sim_as(s->reactor, close_here, s);
	else
		sock_raw_close(s);
}

void sim_net_close_core(struct core *core)
{
	list_each_safe(l, &sim_net.listeners) {
		struct listener *listener = list_entry(l, struct listener, link);

		if (reactor_core(listener->reactor) == core)
			listener_close(listener);
	}
	/* Each round may free its connection. */
	for (struct conn *c; (c = conn_of_core(core));)
		close_of_core(c->sock[c->sock[0] && c->sock[0]->core == core ? 0 : 1]);
}

static struct conn *conn_of_core(const struct core *core)
{
	list_each(l, &sim_net.conns) {
		struct conn *c = list_entry(l, struct conn, link);

		for (int side = 0; side < 2; side++)
			if (c->sock[side] && c->sock[side]->core == core)
				return c;
	}
	return NULL;
}

uint64_t net_latency_ns(void)
{
	const struct sim_net_opts *o = &sim_net.opts;

	return o->latency_ns_min + sim_draw(o->latency_ns_max - o->latency_ns_min + 1);
}

/* Of a client, or of a listener that left the choice to us. */
uint16_t net_free_port(void)
{
	sim_net.last_port++;
	if (sim_net.last_port < PORT_FIRST)
		sim_net.last_port = PORT_FIRST;
	return sim_net.last_port;
}

/* Both ends are there and no cut or reset is on its way. */
static bool is_live(const struct conn *c)
{
	return c->state == CONN_OPEN && !c->silent && c->sock[0] && c->sock[1] && !c->sock[0]->failed &&
	       !c->sock[1]->failed;
}

/* NULL: wherever it leads. */
static bool is_live_to(const struct conn *c, const struct net_addr *to)
{
	return is_live(c) && (!to || net_addr_equal(&c->addr[1], to));
}

uint32_t sim_net_connections(void)
{
	return sim_net_connections_to(NULL);
}

uint32_t sim_net_connections_to(const struct net_addr *to)
{
	uint32_t count = 0;

	list_each(l, &sim_net.conns)
		count += is_live_to(list_entry(l, struct conn, link), to);
	return count;
}

uint32_t sim_net_ends_to(const struct net_addr *to)
{
	uint32_t count = 0;

	list_each(l, &sim_net.conns) {
		const struct conn *c = list_entry(l, struct conn, link);

		count += net_addr_equal(&c->addr[1], to) && !c->sock[0] && !c->sock[1]->failed && !c->pipe[0].fin_arrived;
	}
	return count;
}

void sim_net_cut(uint32_t n, bool silent)
{
	sim_net_cut_to(NULL, n, silent);
}

static struct conn *live_to(const struct net_addr *to, uint32_t n)
{
	list_each(l, &sim_net.conns) {
		struct conn *c = list_entry(l, struct conn, link);

		if (is_live_to(c, to) && n-- == 0)
			return c;
	}
	return NULL;
}

void sim_net_cut_to(const struct net_addr *to, uint32_t n, bool silent)
{
	struct conn *c = live_to(to, n);

	if (!c)
		return;
	sim_note(silent);
	c->silent = silent;
	if (silent)
		conn_probe(c);
	else
		conn_cut(c);
}

void sim_net_stall_to(const struct net_addr *to, uint32_t n, uint64_t ns)
{
	struct conn *c = live_to(to, n);

	if (!c)
		return;
	sim_note(ns);
	c->stalled_until_ns = sim_now_ns() + ns;
	conn_probe(c);
}

void sim_net_set_connect(enum sim_net_connect how)
{
	sim_net.any.connect = how;
}

/* --- links and names --- */

static struct link *find_link(const struct net_addr *addr)
{
	for (uint32_t i = 0; i < sim_net.link_count; i++)
		if (net_addr_equal(&sim_net.links[i].addr, addr))
			return &sim_net.links[i];
	return NULL;
}

const struct sim_net_link *net_link(const struct net_addr *to)
{
	struct link *l = find_link(to);

	return l ? &l->how : &sim_net.any;
}

void sim_net_set_link(const struct net_addr *addr, const struct sim_net_link *how)
{
	struct link *l = find_link(addr);

	must(l || sim_net.link_count < SIM_NET_LINKS_MAX);
	if (!l)
		l = &sim_net.links[sim_net.link_count++];
	*l = (struct link){ *addr, *how };
	list_each(link, &sim_net.conns) {
		struct conn *c = list_entry(link, struct conn, link);

		if (net_addr_equal(&c->addr[1], addr))
			conn_probe(c);
	}
}

void sim_net_reset_link(const struct net_addr *addr)
{
	list_each(l, &sim_net.conns) {
		struct conn *c = list_entry(l, struct conn, link);

		if (is_live_to(c, addr))
			conn_cut(c);
	}
}

void sim_net_forget(const struct net_addr *addr)
{
	list_each(l, &sim_net.conns) {
		struct conn *c = list_entry(l, struct conn, link);

		if (c->state != CONN_ASKING && net_addr_equal(&c->addr[1], addr) && !c->sock[1])
			pipe_give_up(&c->pipe[1]);
	}
}

void sim_net_set_name(const char *name, const struct net_addr *addr)
{
	struct name *n = sim_net.names;

	while (n < sim_net.names + sim_net.name_count && strcmp(n->host, name))
		n++;
	if (n == sim_net.names + sim_net.name_count) {
		must(sim_net.name_count < SIM_NET_NAMES_MAX && strlen(name) < sizeof(n->host));
		sim_net.name_count++;
		snprintf(n->host, sizeof(n->host), "%s", name);
	}
	n->addr = addr ? *addr : (struct net_addr){ 0 };
}

/* Nobody will receive what was sent to an end that is closed or has failed. */
uint64_t sim_net_in_flight(void)
{
	uint64_t bytes = 0;

	list_each(l, &sim_net.conns) {
		const struct conn *c = list_entry(l, struct conn, link);

		for (int side = 0; side < 2; side++)
			if (c->sock[!side] && !c->sock[!side]->failed)
				bytes += c->pipe[side].tail - c->pipe[side].head;
	}
	return bytes;
}
