/* SPDX-License-Identifier: BSD-3-Clause */
/* hogs.h: for tests of what waits: all that the cores of a target have of buffers, of iovecs for lent reads, and of the
 * budget, held by somebody who gives it back when the test says so. */
#ifndef NET_SIM_HOGS_H
#define NET_SIM_HOGS_H

#include "core/mem.h"
#include "net/gather.h"
#include "net/sim/peer.h"

#define HOG_BUFS_MAX 4096u

struct hog {                           /* one core's */
	struct hogs *hogs;
	struct mem_bufs bufs[HOG_BUFS_MAX];
	struct iovec *iovs[GATHER_IOV_ARRAYS];
	uint32_t buf_count, iov_count, len;
	struct wait wait;
};

struct hogs {
	struct core *core;
	struct gather_iovs *(*iovs_here)(void); /* the calling core's; NULL: it has none */
	struct hog *hogs;
	uint64_t charged;
};

void hogs_begin(struct hogs *h, struct core *core, struct gather_iovs *(*iovs_here)(void));
void hogs_end(struct hogs *h);         /* gives all */
void hogs_take_budget(struct hogs *h);
void hogs_take_buffers(struct hogs *h); /* takes a while of virtual time */
void hogs_take_iovs(struct hogs *h);   /* take the budget first: it makes more of them */
void hogs_give_one(struct hogs *h);    /* of each kind, on each core */
void hogs_give_all(struct hogs *h);

#endif
