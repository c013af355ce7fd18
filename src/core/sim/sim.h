/* SPDX-License-Identifier: BSD-3-Clause */
/* sim.h: the simulator's own verbs, beside core.h and net.h which it implements.
 *
 * One thread, virtual time, one seed. A simulation may hold several cores (a target and its hosts): each
 * is made by core_make() as in a real daemon. sim_run() draws from the seed which reactor makes its next
 * pass, how long messages and jobs take and, when nobody can run, moves time to the next timer.
 */
#ifndef CORE_SIM_SIM_H
#define CORE_SIM_SIM_H

#include "core/core.h"

struct sim;

/* Start a simulation: everything random, core_random() too, follows from `seed`. One at a time. */
void sim_start(uint64_t seed);
/* End it. Returns a hash over all scheduling decisions and trace records: equal for equal seeds. */
uint64_t sim_end(void);

/* Call fn(arg) as the given reactor (reactor_self() is it meanwhile), between passes. */
void sim_as(struct reactor *r, void (*fn)(void *arg), void *arg);
/* Run until `until` returns true (NULL: never), or nobody has anything to do ever again, or `limit_ns` of virtual
 * time went by. Returns whether `until` was true. */
bool sim_run(bool (*until)(void *arg), void *arg, uint64_t limit_ns);
/* One scheduling decision; false when there was nothing to do at the present time. */
bool sim_step(void);

uint64_t sim_now_ns(void);
/* The seed's dice, for workloads and faults. Uniform below `n`. */
uint64_t sim_draw(uint64_t n);
bool sim_chance(uint32_t percent);

/* Mix a value into the hash that sim_end() returns: what a workload or a checker saw. No addresses. */
void sim_note(uint64_t v);

/* Run fn(e) at a virtual time, outside any reactor: faults, deliveries of the simulated network. */
struct sim_event { /* zeroed at first */
	uint64_t at_ns, sequence;
	void (*fn)(struct sim_event *e);
	struct list link;
};
void sim_event_at(struct sim_event *e, uint64_t at_ns, void (*fn)(struct sim_event *e));
void sim_event_cancel(struct sim_event *e);

/* A reactor has something to do at the present time (net/sim: a socket became ready). The callback runs as
 * that reactor, in its next pass, in the phase of ready descriptors. */
struct sim_ready {
	struct list link;
	void (*fn)(struct sim_ready *s);
	bool queued;
};
void sim_ready_add(struct reactor *r, struct sim_ready *s, void (*fn)(struct sim_ready *s));
void sim_ready_cancel(struct sim_ready *s);

/* Jobs of the helper pool that start from now on take so long; 1 ns to 20 ms unless told otherwise. */
void sim_jobs_take(uint64_t min_ns, uint64_t max_ns);

/* Called after every pass of any reactor: checkers, freeze-and-thaw at any step. */
void sim_after_pass(void (*fn)(struct reactor *r, void *arg), void *arg);

#endif
