/* SPDX-License-Identifier: BSD-3-Clause */
/* sim_verbs.h: simulated RDMA adapters, beside verbs.h which they implement.
 *
 * An adapter is a machine's (a core's) and has an address; all adapters of a simulation can reach each other. Reliable
 * connections behave as hardware's do: what one side sends, arrives in order, after a latency drawn from the seed, and
 * is copied only then, from and to memory as it is at that time. Different connections complete in any order.
 * SENDs wait for receives, READs for each other beyond their depth; places of a send queue are free again when a
 * completion of theirs, or a later one's, was polled.
 *
 * What only our own code can do wrong ends the simulation with a sentence: memory posted that is not registered, or not
 * any more when it is touched; a completion queue that overflows; more READs than the other side serves.
 */
#ifndef VERBS_SIM_SIM_VERBS_H
#define VERBS_SIM_SIM_VERBS_H

#include "core/sim/sim.h"
#include "verbs/verbs.h"

struct sim_verbs_opts {
	uint64_t latency_ns_min, latency_ns_max; /* of each message; 0: 1 to 20 us */
	uint64_t give_up_ns;         /* nobody answers on a connection: 0: 3 s */
	uint64_t rnr_ns;             /* between two tries to find a receive: 0: 100 us */
	bool check_unchanged;        /* nobody may change what is sent or written before that is complete */
};

/* After sim_start(), before any core asks for verbs; `opts` may be NULL. */
void sim_verbs_start(const struct sim_verbs_opts *opts);
/* The cores may be gone; but nothing of verbs may be left: connections, queues, memory, or `must`. */
void sim_verbs_end(void);

/* What an adapter has and can; 0: a usual value (as many as a large adapter has; read depth 16; 16 pieces of memory a
 * work request, 4 of a shared receive; completion queues of 65536). Of those that may lack, lacks_ says so. */
struct sim_adapter_opts {
	const char *name;
	const char *address;         /* "10.0.0.1" or IPv6 */
	uint32_t conns_max, send_max, recv_max, sge_max, read_depth_max, read_serve_max, srq_recv_max, srq_sge_max, cq_max;
	uint32_t inline_max;
	int numa_node;
	bool lacks_srq, lacks_invalidate, lacks_cq_resize;
	uint64_t register_bytes_max; /* memory that may be registered with it; 0: any */
};
struct sim_adapter;
/* Put one into a machine, from outside or as its control reactor; verbs that stand are told. Stays until
 * sim_verbs_end(). */
struct sim_adapter *sim_adapter_add(struct core *core, const struct sim_adapter_opts *opts);

/* --- what happens to adapters: from outside of reactors --- */

/* Taken out, and put back: as the same piece of hardware, but for whoever uses it another one. */
void sim_adapter_remove(struct sim_adapter *a);
void sim_adapter_return(struct sim_adapter *a);
void sim_adapter_port(struct sim_adapter *a, bool up);
/* What others send to it, or it to others, is lost: a black hole, and they are not told. Connections give up after
 * give_up_ns, and those who connect after their deadlines. `delay_ns` is on top of every latency. */
void sim_adapter_link(struct sim_adapter *a, bool lost_to, bool lost_from, uint64_t delay_ns);

/* Connections that are established, and the end of the n-th of them: both sides see it end; or (silent) nothing arrives
 * on it any more, and nobody is told. */
uint32_t sim_verbs_conns(void);
void sim_verbs_cut(uint32_t n, bool silent);
uint32_t sim_adapter_conns(const struct sim_adapter *a);
void sim_adapter_cut(struct sim_adapter *a, uint32_t n, bool silent);
/* Work requests posted and not complete yet, on all connections: of SENDs, READs and WRITEs. */
uint64_t sim_verbs_in_flight(void);

/* --- faults: of this adapter's side, each 0: none --- */

/* The n-th completion of this kind (and good end) from now on is never told: 1 is the next. */
void sim_adapter_lose_completion(struct sim_adapter *a, enum verbs_op op, uint32_t nth);
uint32_t sim_adapter_lost(const struct sim_adapter *a); /* completions and rings lost so far */
/* The n-th ring of a completion queue's channel from now on is lost. */
void sim_adapter_lose_ring(struct sim_adapter *a, uint32_t nth);
/* So many SENDs that come to it from now on find no receive at first, whatever is posted. */
void sim_adapter_rnr(struct sim_adapter *a, uint32_t count);
/* Every n-th work request that is posted by verbs_post() fails with `rc`; 0: -ENOMEM. */
void sim_adapter_fail_posts(struct sim_adapter *a, uint32_t every_nth, int rc);
/* Every n-th receive that is posted to a shared queue fails with -EINVAL, those before it in its chain do not. */
void sim_adapter_fail_receives(struct sim_adapter *a, uint32_t every_nth);
/* Everything it has to do takes up to so long. */
void sim_adapter_slow(struct sim_adapter *a, uint64_t ns_max);

/* --- a peer that is not ours: a kernel host --- */

/* Memory of a machine for remote access only, as a fast registration makes it: its key can be invalidated, once, and is
 * none any more then. Removed by sim_key_free(), invalid or not. */
struct sim_key;
struct sim_key *sim_key_make(struct sim_adapter *a, void *at, size_t len, uint32_t *ret_rkey);
bool sim_key_is_valid(const struct sim_key *k);
void sim_key_free(struct sim_key *k);

#endif
