/* SPDX-License-Identifier: BSD-3-Clause */
/* remote_ctl_world_test.h: the world in which the control side is alone (remote_ctl_sim_test.c): what targets are like,
 * and the controllers that lead to them (remote_ctl_ctrlrs_test.c), in the place of src/nvme.
 */
#ifndef BACKENDS_REMOTE_REMOTE_CTL_WORLD_TEST_H
#define BACKENDS_REMOTE_REMOTE_CTL_WORLD_TEST_H

#include "backends/remote/remote_ctl.h"
#include "core/sim/sim.h"

#define GROUPS 3u
#define NAMESPACES 4u
#define LIVE_MAX 512u
#define KEEP_ALIVE_MS 1000u
#define FENCED_MAX 65536u

/* What is so at the target, whoever asks. */
struct subsystem {
	bool present[NAMESPACES];
	uint64_t blocks[NAMESPACES];
	uint8_t identity[NAMESPACES], ana[NAMESPACES];
	bool down;
};

extern struct world {
	struct core *core;
	struct bdev_registry *reg;
	struct remote *remote;
	struct subsystem subs[GROUPS];
	struct list ctrlrs;
	const void *live[LIVE_MAX];     /* paths that lanes know */
	uint64_t fenced[FENCED_MAX];    /* CIRNs of controllers of which nothing can land, as somebody was told */
	uint32_t fenced_count, resets;
	uint32_t live_count, waits, told, unanswered, ups, disks, stopped;
	struct timer act;
	uint32_t actions;
} w;

static inline uint64_t draw_ms(uint32_t max)
{
	return sim_draw(max) * NS_PER_MS + sim_draw(NS_PER_MS);
}

static inline uint32_t group_of(const char *nqn)
{
	return (uint32_t)(nqn[strlen(nqn) - 1] - '0');
}

/* Can nothing of this controller land any more, as somebody was told? */
bool is_fenced(uint64_t cirn);
/* Some of those that are ready tell of changes, whether there are any or not. */
void tell_of_changes(void);

#endif
