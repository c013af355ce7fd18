/* SPDX-License-Identifier: BSD-3-Clause */
/* sim_net.h: the simulated network's own verbs, beside net.h which it implements.
 *
 * Every pair of sockets is two byte streams with a latency drawn from the seed. Bytes sent arrive in pieces of
 * drawn sizes, sends take a drawn part of what they are given, buffers are finite, so that every short read,
 * short write and back-pressure path runs. Addresses are plain net_addr values; all cores of the simulation
 * share one network.
 *
 * What is lost is sent again, as TCP does: after 200 ms, then twice as long each time, until it is acknowledged or the
 * sender's time for that is over. So what was sent during a partition arrives after it, also when its sender has closed
 * the socket meanwhile, though not when it has reset it.
 */
#ifndef NET_SIM_SIM_NET_H
#define NET_SIM_SIM_NET_H

#include "core/sim/sim.h"
#include "net/net.h"

struct sim_net_opts {
	uint64_t latency_ns_min, latency_ns_max;
	uint32_t buffer_bytes;       /* of each direction; 0: 64 KiB */
	uint32_t short_read_percent; /* how often a receive gives only a part */
	uint32_t short_write_percent;
	uint32_t chunk_bytes_max;    /* largest piece that arrives at once; 0: no limit */
};

/* After sim_start(), before any socket. */
void sim_net_start(const struct sim_net_opts *opts);
void sim_net_end(void); /* closes what is left; returns to an empty network */

/* What the kernel does when a process ends: close all sockets and listeners of this core. Before core_free(). */
void sim_net_close_core(struct core *core);

/* Cut both directions of the n-th live connection (sim_net_connections() of them): peers see a reset; or
 * silently: nothing arrives any more. */
uint32_t sim_net_connections(void);
void sim_net_cut(uint32_t n, bool silent);
/* The same for those that were made to one address only. */
uint32_t sim_net_connections_to(const struct net_addr *to);
/* Those that who connected has closed, and the other end cannot know yet: that is on its way. */
uint32_t sim_net_ends_to(const struct net_addr *to);
void sim_net_cut_to(const struct net_addr *to, uint32_t n, bool silent);
/* Nothing arrives for that long, over this one connection only; then it does. */
void sim_net_stall_to(const struct net_addr *to, uint32_t n, uint64_t ns);
/* New connects are refused, or never answered: to addresses without a link of their own. */
enum sim_net_connect { SIM_NET_ACCEPT, SIM_NET_REFUSE, SIM_NET_BLACK_HOLE };
void sim_net_set_connect(enum sim_net_connect how);

/* A link: all that lies between anybody and one address, for connections that were made to it or will be. */
#define SIM_NET_LINKS_MAX 16u
struct sim_net_link {
	enum sim_net_connect connect; /* of new connections */
	bool lost_to, lost_from;      /* what travels to the address, or from it, is lost */
	uint64_t delay_ns;            /* on top of each latency */
};
void sim_net_set_link(const struct net_addr *addr, const struct sim_net_link *how);
/* All connections to this address: both ends see a reset. */
void sim_net_reset_link(const struct net_addr *addr);
/* The machine at this address lost its memory, and what it has not delivered yet. Who sends to it will be told with a
 * reset, once the link lets that through. Its own sockets were closed. */
void sim_net_forget(const struct net_addr *addr);

/* Names that net_resolve() knows beside "localhost"; `addr` NULL: not any more. The port is the asker's. */
#define SIM_NET_NAMES_MAX 8u
void sim_net_set_name(const char *name, const struct net_addr *addr);
/* Bytes sent but not yet received, over all connections: 0 at the end of a clean run. */
uint64_t sim_net_in_flight(void);

#endif
