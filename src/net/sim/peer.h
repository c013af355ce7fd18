/* SPDX-License-Identifier: BSD-3-Clause */
/* peer.h: for tests of protocols: a target and its hosts in one simulated world, and a host's socket as bytes to send
 * and bytes that came, behind which a test says what they mean. */
#ifndef NET_SIM_PEER_H
#define NET_SIM_PEER_H

#include "core/sim/sim.h"
#include "net/net.h"
#include "net/sim/sim_net.h"

/* A simulation with a target's cores, and one core for its hosts. NULL: a plain network. 0: two cores, 64 MiB. */
void sim_pair_start(uint64_t seed, const struct sim_net_opts *net, uint32_t cores, uint64_t memory_bytes,
                    struct core **ret_core, struct core **ret_host_core);
/* The target's has given all its memory back. */
void sim_pair_end(struct core *core, struct core *host_core);

struct sim_peer {
	struct reactor *on;
	struct sock *sock;
	bool connected, ended;             /* ended: by the other side */
	bool ignores;                      /* reads what comes and forgets it */
	uint8_t *out, *in;                 /* to be sent; received and not yet looked at */
	uint32_t out_len, out_at, out_cap, in_len, in_at, in_max;
};

/* Connect to 127.0.0.1; at most `in_max` bytes are there unread. */
void sim_peer_open(struct sim_peer *p, struct reactor *on, const char *port, uint32_t in_max);
void sim_peer_close(struct sim_peer *p);
/* Behind what is to be sent; and send what can be. */
void sim_peer_put(struct sim_peer *p, const void *bytes, uint32_t len);
void sim_peer_flush(struct sim_peer *p);
static inline uint8_t *sim_peer_at(const struct sim_peer *p) { return p->in + p->in_at; }
static inline uint32_t sim_peer_left(const struct sim_peer *p) { return p->in_len - p->in_at; }

#endif
