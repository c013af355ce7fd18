/* SPDX-License-Identifier: BSD-3-Clause */
/* peer.c: a target and its hosts in one simulated world; a host's socket. */
#include <errno.h>
#include <stdio.h>

#include "core/mem.h"
#include "net/sim/peer.h"

/* --- the world --------------------------------------------------------------------------------------------- */

static struct core *make_core(const char *cpus, uint64_t memory_bytes)
{
	struct core_opts opts = { .cpus = cpus, .mode = CORE_INTERRUPT, .memory_bytes = memory_bytes };
	struct err e = { 0 };
	struct core *core = core_make(&opts, &e);

	if (!core)
		fprintf(stderr, "%s\n", e.text);
	must(core);
	return core;
}

void sim_pair_start(uint64_t seed, const struct sim_net_opts *net, uint32_t cores, uint64_t memory_bytes,
                    struct core **ret_core, struct core **ret_host_core)
{
	const struct sim_net_opts plain = { .latency_ns_min = 1000, .latency_ns_max = 2000, .buffer_bytes = 256 * 1024 };
	char cpus[16];

	sim_start(seed);
	sim_net_start(net ? net : &plain);
	snprintf(cpus, sizeof(cpus), "[0-%u]", cores ? cores - 1 : 1);
	*ret_core = make_core(cpus, memory_bytes ? memory_bytes : 64 * MIB);
	*ret_host_core = make_core("[0]", 64 * MIB);
}

void sim_pair_end(struct core *core, struct core *host_core)
{
	struct mem_stats m;

	mem_get_stats(core, &m);
	must(!m.in_use_bytes && !m.charged_bytes && !m.waiting);
	sim_run(NULL, NULL, NS_PER_S);
	core_free(core);
	core_free(host_core);
	sim_net_end();
	sim_end();
}

/* --- a socket ---------------------------------------------------------------------------------------------- */

static void flush_here(void *arg)
{
	struct sim_peer *p = arg;

	while (p->sock && p->connected && p->out_at < p->out_len) {
		struct iovec iov = { p->out + p->out_at, p->out_len - p->out_at };
		ssize_t n = sock_send(p->sock, &iov, 1);

		if (n <= 0) {
			if (n == -EAGAIN)
				sock_want_write(p->sock, true);
			return;
		}
		p->out_at += (uint32_t)n;
	}
	if (p->sock && p->connected)
		sock_want_write(p->sock, false);
}

static void on_ready(void *arg, uint32_t events)
{
	struct sim_peer *p = arg;

	if (events & SOCK_WRITABLE) {
		p->connected = true;
		flush_here(p);
	}
	if (events & SOCK_READABLE) {
		ssize_t n;

		if (p->in_at == p->in_len || p->ignores)
			p->in_at = p->in_len = 0;
		must(p->in_len < p->in_max);
		n = sock_recv(p->sock, p->in + p->in_len, p->in_max - p->in_len);
		if (n > 0)
			p->in_len += (uint32_t)n;
		else if (n != -EAGAIN)
			p->ended = true;
	} else if (events & SOCK_FAILED) {
		p->ended = true;
	}
}

struct opening {
	struct sim_peer *peer;
	struct net_addr to;
};

static void open_here(void *arg)
{
	struct opening *o = arg;

	o->peer->sock = sock_connect(&o->to, NULL, &(struct sock_opts){ 0 }, on_ready, o->peer, NULL);
	must(o->peer->sock);
}

void sim_peer_open(struct sim_peer *p, struct reactor *on, const char *port, uint32_t in_max)
{
	struct opening o = { .peer = p };

	*p = (struct sim_peer){ .on = on, .in = malloc(in_max), .in_max = in_max };
	must(p->in && !net_addr_parse(NET_IPV4, "127.0.0.1", port, &o.to, NULL));
	sim_as(on, open_here, &o);
}

static void close_here(void *arg)
{
	struct sim_peer *p = arg;

	sock_close(p->sock);
	p->sock = NULL;
}

void sim_peer_close(struct sim_peer *p)
{
	sim_as(p->on, close_here, p);
	free(p->in);
	free(p->out);
}

void sim_peer_put(struct sim_peer *p, const void *bytes, uint32_t len)
{
	if (!len)
		return;
	if (p->out_at == p->out_len)
		p->out_at = p->out_len = 0;
	if (p->out_len + len > p->out_cap) {
		p->out_cap = 2 * (p->out_len + len);
		p->out = realloc(p->out, p->out_cap);
		must(p->out);
	}
	memcpy(p->out + p->out_len, bytes, len);
	p->out_len += len;
}

void sim_peer_flush(struct sim_peer *p)
{
	sim_as(p->on, flush_here, p);
}
