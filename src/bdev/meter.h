/* SPDX-License-Identifier: BSD-3-Clause */
/* meter.h: what is measured of a device only when somebody asked for it: latencies per operation, and how deep its
 * queue was. For the waist's methods.
 */
#ifndef BDEV_METER_H
#define BDEV_METER_H

#include "base/hist.h"
#include "bdev/bdev_device.h"

/* Switching, on every core. Memory: yours until done. */
struct bdev_meter_call {
	struct each each;
	struct bdev *bdev;
	void (*done)(struct bdev_meter_call *c);
	void *arg;
	void (*here)(struct bdev_core *core);
};

/* Keep the latencies of these operations from now on; those kept before are forgotten. 0: none, as at first.
 *
 * Core: control. Then: done runs once, later, when every core does so; the device stays until then. */
void bdev_hist_set(struct bdev *b, uint32_t ops, struct bdev_meter_call *c, void (*done)(struct bdev_meter_call *c));

/* What was kept, summed over the cores. A latency ends when the batch of answers was handled that it came with, and
 * begins with the pass in which the I/O was submitted: never shorter than it was. */
struct bdev_hist_read {
	struct each each;
	struct bdev *bdev;
	uint32_t ops;                    /* that are kept */
	struct hist hist[BDEV_OP_COUNT]; /* nanoseconds; sum, min and max as exact as the buckets are */
	uint64_t (*per_core)[BDEV_OP_COUNT][HIST_BUCKETS];
	void (*done)(struct bdev_hist_read *r);
	void *arg;
};
/* Core: control. Memory: `r` yours until done. Then: done runs once, later. */
void bdev_hist_get(struct bdev *b, struct bdev_hist_read *r, void (*done)(struct bdev_hist_read *r));

/* Meter the queue depth; the period is only remembered, since nothing is sampled: every change of the depth is seen.
 * 0: no longer. bdev_stats_get() returns the figures, counted from here. As bdev_hist_set(). */
void bdev_depth_set(struct bdev *b, uint64_t period_us, struct bdev_meter_call *c,
                    void (*done)(struct bdev_meter_call *c));

#endif
