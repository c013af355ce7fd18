/* SPDX-License-Identifier: BSD-3-Clause */
/* sched_plan.h: from the loads of one period to a list of moves. No reactors, no time: arithmetic. Private to core. */
#ifndef CORE_SCHED_PLAN_H
#define CORE_SCHED_PLAN_H

#include "core/sched.h"

struct sched_core {
	uint32_t load;                /* of SCHED_LOAD_ALL */
	uint32_t over;                /* periods in a row that it was saturated, this one included */
	uint32_t count, all;          /* items below; things there are */
	uint64_t work;                /* of all of them */
	struct sched_item items[SCHED_ITEMS_MAX];
};

struct sched_order {
	struct sched_mover *mover;
	uint64_t id;
	uint32_t from, to;
};

struct sched_view {
	const struct sched_opts *opts;
	uint64_t isolated;
	uint32_t first, count;
	struct sched_core *cores;
};

/* Keep `item`, or drop the one with the least work. */
void sched_core_add(struct sched_core *c, const struct sched_item *item);
/* Fills up to SCHED_MOVES_MAX orders; returns how many. The cores' loads and items are what they will be then. */
uint32_t sched_plan(const struct sched_view *v, struct sched_order *ret_orders);

#endif
