/* SPDX-License-Identifier: BSD-3-Clause */
/* sim_net.h: the simulated network's own verbs, beside net.h which it implements.
 *
 * Every pair of sockets is two byte streams with a latency drawn from the seed. Bytes sent arrive in pieces of
 * drawn sizes, sends take a drawn part of what they are given, buffers are finite, so that every short read,
 * short write and back-pressure path runs. Addresses are plain net_addr values; all cores of the simulation
 * share one network.
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
/* New connects are refused, or never answered. */
enum sim_net_connect { SIM_NET_ACCEPT, SIM_NET_REFUSE, SIM_NET_BLACK_HOLE };
void sim_net_set_connect(enum sim_net_connect how);
/* Bytes sent but not yet received, over all connections: 0 at the end of a clean run. */
uint64_t sim_net_in_flight(void);

#endif
