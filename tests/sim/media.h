/* SPDX-License-Identifier: BSD-3-Clause */
/* media.h: storage that outlives the daemons which serve it: one device for each daemon, the same blocks behind all.
 *
 * It may keep an I/O for long before it does it, as media do that others keep busy; a write lands in one piece, then.
 * Somebody may look at each write at that moment: one that comes too late is caught there, whoever reads later.
 */
#ifndef TESTS_SIM_MEDIA_H
#define TESTS_SIM_MEDIA_H

#include "bdev/bdev_device.h"
#include "bdev/pi.h"

struct media {
	uint32_t block_size;
	uint64_t blocks, blocks_max;     /* now; there is room for so many */
	uint32_t hold_percent;           /* how many I/Os it keeps, ... */
	uint64_t hold_ns_max;            /* ... for up to so long */
	bool stubborn;                   /* as disks are: what it has once it does, whoever has lost the right to it */
	uint32_t fail_percent;           /* how many fail, some of them after they landed */
	uint32_t corrupt_permille;       /* how often a byte of a block's data changes when a write lands */
	struct pi_shape pi;              /* md_size 0: blocks are nothing but data; else metadata follow each */
	uint8_t *bytes;
	/* A write, or zeroes (`data` NULL), of one block is about to land. */
	void (*begins)(void *arg, uint64_t lba, const uint8_t *data); /* of a write: its first block */
	void (*lands)(void *arg, uint64_t lba, const uint8_t *data);
	void *arg;
	uint64_t writes, reads, held, fenced, corrupted;
};

void media_init(struct media *m, uint64_t blocks, uint64_t blocks_max, uint32_t block_size);
/* Blocks have protection information, so far that which says that nothing is to be checked. Before it is exported. */
void media_protect(struct media *m, uint32_t md_size, uint8_t type, bool at_head);
void media_fini(struct media *m);

/* A device of that name and identity in this daemon. Core: control. It is gone when bdev_unregister() says so. */
struct bdev *media_export(struct media *m, struct bdev_registry *reg, const char *name, const struct uuid *uuid);

#endif
