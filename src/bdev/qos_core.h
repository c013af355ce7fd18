/* SPDX-License-Identifier: BSD-3-Clause */
/* qos_core.h: what the two halves of the limiter share: qos.c runs on every core, qos_ctl.c on the control reactor.
 * Private to bdev.
 */
#ifndef BDEV_QOS_CORE_H
#define BDEV_QOS_CORE_H

#include "bdev/bdev_waist.h"
#include "bdev/qos.h"

/* One limit, shared by all cores: whoever takes n units moves the time from which the next ones can be had by
 * n / rate. */
struct qos_bucket {
	CACHE_ALIGNED _Atomic uint64_t free_at_ns;
	_Atomic uint64_t rate;          /* units a second; 0: no limit */
};

struct qos_limits {
	struct qos_bucket bucket[QOS_LIMIT_COUNT];
	_Atomic uint64_t burst_ns;
};

/* Units of one bucket that a core has taken for one line: to be used from a time on. */
struct qos_lease {
	uint64_t units, from_ns, until_ns; /* until: given back when nobody has used them for long */
	uint64_t size;                     /* of the last one taken */
};

enum { QOS_OWN, QOS_GROUP, QOS_SETS };
enum { QOS_READS, QOS_WRITES, QOS_LINES };
#define QOS_OF_A_LINE 4u                   /* limits that concern one direction */

/* Reads or writes of a device that wait on one core, first come, first served. */
struct qos_line {
	struct bdev_core *core;
	struct bdev_io *first, *last;      /* by link, and back by device_ctx, which the device has no use for yet */
	struct timer timer;                /* for the first of them */
	struct qos_lease leases[QOS_SETS][QOS_OF_A_LINE];
	uint64_t waits, depth, depth_max;
	uint8_t dir;
	struct list link;                  /* registry's: lines of the core in which somebody waits */
};

struct bdev_qos_core {
	struct qos_limits *sets[QOS_SETS]; /* NULL: none of that kind */
	struct qos_line lines[QOS_LINES];
	/* Resets go on when what waited on other cores has ended. */
	struct queue resets, resets_next;
	bool resetting;
	struct msg msg;                    /* to control and back */
	struct list link;                  /* control's: cores that wait for the next visit, for this one */
};

/* What control asks of a core. */
#define QOS_VISIT_LIMITS 1u                /* other limits are in force: forget what was taken by the old ones */
#define QOS_VISIT_ABORT  2u                /* end what waits: the device is being reset */
#define QOS_VISIT_GO     4u                /* the device goes */
void bdev_qos_visit_here(struct bdev_core *core, uint32_t actions);

/* A device's limiter: made with its first limit, stays while the device does. */
struct bdev_qos {
	struct bdev *bdev;
	struct qos_limits own;
	struct qos_want want;              /* as they were set */
	struct qos_group *_Atomic group;
	uint64_t saved_stamp;              /* of the two: bdev_resaved()'s numbers */
	struct list group_link;
	struct bdev_qos_core *cores;
	/* One visit of all cores at a time. */
	struct each each;
	bool visiting;
	uint32_t round, actions, next_actions;
	struct list callers, next_callers; /* of struct caller */
	struct list resets, next_resets;   /* of struct bdev_qos_core */
};

static inline uint8_t qos_line_of(uint8_t op)
{
	return bdev_op_changes(op) ? QOS_WRITES : QOS_READS;
}

/* qos_ctl.c */
struct qos_limits *bdev_qos_group_limits(struct qos_group *g); /* NULL of none */
void bdev_qos_reset_on_control(struct msg *m);

#endif
