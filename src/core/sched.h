/* SPDX-License-Identifier: BSD-3-Clause */
/* sched.h: who moves what can be moved from core to core, by load.
 *
 * The static scheduler does nothing. The dynamic one looks at the I/O reactors once a period: it moves things off a
 * core that is saturated to cores that have room, and packs what is nearly idle onto few cores, so that the others
 * sleep. It looks only while there is load: when a period found none and left nothing to do it stops its timer, and a
 * reactor that becomes busy starts it again.
 *
 * What can be moved is a mover's: it offers its things on their core, with their share of the work, and moves those
 * that the plan names. To flap is prevented by what the plan asks for: a core must be saturated for two periods, the
 * move must leave both cores below what the first one had, cores are filled only to half the limit by packing,
 * and a thing that moved rests for some periods.
 */
#ifndef CORE_SCHED_H
#define CORE_SCHED_H

#include "core/core.h"

#define SCHED_MOVES_MAX 64u   /* in a period */
#define SCHED_ITEMS_MAX 128u  /* looked at on each core in a period: those that work most */
#define SCHED_REST_ROUNDS 5u  /* for what has just moved */
#define SCHED_LOAD_ALL 10000u /* loads are counted in hundredths of a per cent of a core */

struct sched_opts {
	bool dynamic;
	uint64_t period_ns;           /* 0: leave as it is */
	uint32_t load_limit;          /* per cent: a core below it is packed onto others; 0: as it is */
	uint32_t core_limit;          /* a core is not filled beyond it */
	uint32_t core_busy;           /* a core at it is saturated */
};

/* One thing that could be moved. `id` is the mover's, and never used again for another thing. */
struct sched_item {
	uint64_t id;
	uint64_t work;                /* since it was last offered: ticks of its core (core_call_ticks()), about */
	uint64_t allowed;             /* bit per reactor: where it may be */
	bool fixed;                   /* stays: it moved a moment ago, or was put there by hand */
	struct sched_mover *mover;    /* the scheduler's */
};
struct sched_offers;
/* From within offer(): one thing of this core. */
void sched_offer(struct sched_offers *o, const struct sched_item *item);

struct sched_mover {
	uint32_t round;               /* counts periods, from 1; the scheduler's */
	/* On an I/O reactor: offer everything that lives there. */
	void (*offer)(struct sched_mover *m, struct sched_offers *o);
	/* On the reactor where it was offered: move it, if it is still there; done() here, later or at once, with 0 when
	 * it has moved. */
	void (*move)(struct sched_mover *m, uint64_t id, struct reactor *to, void (*done)(void *arg, int rc), void *arg);
	/* The scheduler's. */
	struct list link;
	void (*removed)(void *arg);   /* it is going */
	void *removed_arg;
};

/* It moved a moment ago, in that round (0: never). */
static inline bool sched_rests(const struct sched_mover *m, uint32_t moved_round)
{
	return moved_round && m->round - moved_round < SCHED_REST_ROUNDS;
}

/* Where things of one kind begin: how many live on each core, and on which they may. */
struct sched_place {
	struct core *core;
	uint32_t next;                /* control: takes turns among equals */
	_Atomic uint64_t allowed;     /* bit per reactor */
	_Atomic uint32_t count[CORE_REACTORS_MAX];
};
void sched_place_init(struct sched_place *p, struct core *core);
/* The allowed core with the fewest, which counts one more; of equal ones that whose CPU the network's interrupts come
 * to, or one of the same memory node. cpu: where they come to; -1: unknown. */
struct reactor *sched_place(struct sched_place *p, int cpu);
/* The same for what a memory node is known of: an adapter's; -1: unknown. */
struct reactor *sched_place_on_node(struct sched_place *p, int node);
static inline uint64_t sched_place_allowed(const struct sched_place *p)
{
	return atomic_load_explicit(&p->allowed, memory_order_relaxed);
}
/* Any core: one came to `r`, by another way than sched_place(); one left. */
static inline void sched_place_came(struct sched_place *p, const struct reactor *r)
{
	atomic_fetch_add_explicit(&p->count[reactor_index(r)], 1, memory_order_relaxed);
}
static inline void sched_place_left(struct sched_place *p, const struct reactor *r)
{
	atomic_fetch_sub_explicit(&p->count[reactor_index(r)], 1, memory_order_relaxed);
}

/* Control reactor, as all below. One for each kind of thing: NVMe-oF queue pairs, iSCSI sessions. */
void sched_add_mover(struct core *core, struct sched_mover *m);
/* It is asked nothing any more when `done` runs, maybe at once. */
void sched_remove_mover(struct core *core, struct sched_mover *m, void (*done)(void *arg), void *arg);

void sched_set(struct core *core, const struct sched_opts *opts);
void sched_get(struct core *core, struct sched_opts *ret_opts);
/* Cores that the scheduler leaves alone, a bit per reactor, and the one that is filled first. */
void sched_set_cores(struct core *core, uint64_t isolated, uint32_t first);
uint64_t sched_isolated(struct core *core);
uint32_t sched_first_core(struct core *core);

struct sched_stats {
	uint64_t rounds, moves, failed; /* failed: asked for, but it was gone, or slow I/O held it */
	uint64_t naps;                  /* times the timer was stopped for lack of load */
	uint64_t parks;                 /* times a polling reactor was let sleep for lack of anything on it */
};
void sched_get_stats(struct core *core, struct sched_stats *ret_stats);

#endif
