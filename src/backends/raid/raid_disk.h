/* SPDX-License-Identifier: BSD-3-Clause */
/* raid_disk.h: what a raid's device is made of. Private to the back-end. */
#ifndef BACKENDS_RAID_RAID_DISK_H
#define BACKENDS_RAID_RAID_DISK_H

#include "backends/raid/raid.h"
#include "bdev/iov.h"

#define RAID_CHILDREN 4u     /* parts of one I/O that are under way at a time */
#define RAID_IOVS MEM_IOV_MAX

struct raid {
	struct bdev_stacked stacked;
	enum raid_level level;
	uint32_t members;
	uint64_t strip;      /* blocks; 0: CONCAT of whole members */
	uint64_t *starts;    /* CONCAT: where each member begins, and at last the end */
	uint64_t each;       /* RAID_0: blocks of each member */
};

static inline struct raid *raid_of(const struct bdev *b)
{
	return container_of(b, struct raid, stacked.bdev);
}

/* Where a block lies. */
struct raid_place {
	uint32_t member;
	uint64_t lba;        /* there */
	uint64_t run;        /* blocks until the border, at least 1 */
};
struct raid_place raid_place_of(const struct raid *r, uint64_t lba);

/* raid_io.c */
uint32_t raid_io_bytes(void);
void raid_submit(struct bdev_channel *ch, struct bdev_io *io);
bool raid_abort(struct bdev_channel *ch, struct bdev_io *io);

#endif
