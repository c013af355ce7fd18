/* SPDX-License-Identifier: BSD-3-Clause */
/* malloc_disk.h: what a RAM disk is made of. Private to the back-end.
 *
 * A table of slots, each a hole or a page; a page holds one or more whole blocks and, when metadata travels
 * apart, their metadata behind the data. Pages are never written to once they are in a slot: a write
 * fills a fresh one and exchanges it, so that a reader sees each block whole, old or new, with its own
 * metadata, and what is lent stays as it was.
 */
#ifndef BACKENDS_MALLOC_MALLOC_DISK_H
#define BACKENDS_MALLOC_MALLOC_DISK_H

#include "backends/malloc/malloc.h"
#include "bdev/bdev_device.h"
#include "bdev/iov.h"
#include "core/pages.h"

struct malloc_disk {
	struct bdev bdev;
	struct pages *pages;
	struct page_table table;
	uint32_t block_bytes;        /* of a block in the data iovecs */
	uint32_t md_bytes;           /* of a block in the metadata iovecs; 0: none travels apart */
	uint32_t blocks_per_page;
	uint8_t shift;               /* log2 of it, or NO_SHIFT */
	uint32_t page_bytes, md_at;  /* where a page's metadata begin */
	page_slot hole;              /* what a hole of a disk with protection information reads as; else none */
	_Atomic uint64_t bad_count;  /* blocks declared uncorrectable: malloc_bad.c */
	_Atomic uint64_t *_Atomic bad; /* a bit each; NULL: there never was one */

	/* Giving back what lies beyond a smaller size (malloc.c). */
	struct each barrier;
	struct msg wipe_msg;
	uint64_t wipe_at, wipe_end;  /* slots */
	bool wiping, destroy_waits;
	struct list resizing;        /* changes of size that wait for it */
};
#define NO_SHIFT 0xff

/* Of each core, until the deferred phase of the pass: reads of one page, that want it lent or copied, and writes
 * whose page is filled and not yet in its slot. */
struct malloc_channel {
	struct malloc_disk *disk;
	struct queue wanted, reads, filled;
	struct defer lend, read, publish;
};

/* Consecutive blocks within one page. */
struct piece {
	page_slot *slot;
	uint32_t first, count;       /* blocks */
};

static inline uint64_t slot_index(const struct malloc_disk *d, uint64_t lba)
{
	return likely(d->shift != NO_SHIFT) ? lba >> d->shift : lba / d->blocks_per_page;
}

/* The piece at lba, of at most `count` blocks. */
static inline struct piece piece_at(const struct malloc_disk *d, uint64_t lba, uint64_t count)
{
	uint64_t index = slot_index(d, lba);
	uint32_t first = (uint32_t)(lba - index * d->blocks_per_page);

	return (struct piece){
		.slot = &d->table.slots[index],
		.first = first,
		.count = (uint32_t)min_u64(count, d->blocks_per_page - first),
	};
}

static inline bool piece_is_page(const struct malloc_disk *d, const struct piece *p)
{
	return p->count == d->blocks_per_page;
}

/* The page of a piece; NULL: a hole, which is zeroes. */
static inline char *piece_pin(struct malloc_disk *d, const struct piece *p)
{
	char *page = page_pin_slot(d->pages, p->slot);

	return likely(page || !d->bdev.dif_type) ? page : page_pin_slot(d->pages, &d->hole);
}

/* Where the new contents of blocks come from: iovecs, or those of a hole where there are none. */
struct contents {
	struct iov_cursor data, md;
	bool has_data, has_md;
};

/* malloc_io.c */
int malloc_channel_open(struct bdev_channel *ch, struct err *e);
void malloc_submit(struct bdev_channel *ch, struct bdev_io *io);
bool malloc_write_lend(struct bdev_channel *ch, struct bdev_io *io);
/* Install new contents for a piece. False: no memory. */
bool malloc_put(struct malloc_disk *d, const struct piece *p, struct contents *from);
/* Blocks of a piece become zeroes, their page a hole where possible if `deallocate`. Returns what it cost, in
 * units of looking at a hole; 0: no memory. */
uint32_t malloc_zero(struct malloc_disk *d, const struct piece *p, bool deallocate);

/* malloc_long.c: operations over any number of blocks, a bounded part in each pass. */
uint32_t malloc_long_bytes(void);
void malloc_long_submit(struct malloc_disk *d, struct bdev_io *io);
bool malloc_abort(struct bdev_channel *ch, struct bdev_io *io);

/* malloc_bad.c: blocks declared uncorrectable. */
void malloc_bad_free(struct malloc_disk *d);
/* The first ones of a range. Returns how many; 0: no memory. */
uint32_t malloc_bad_declare(struct malloc_disk *d, uint64_t lba, uint64_t count);
bool malloc_bad_any(struct malloc_disk *d, uint64_t lba, uint64_t count);
/* Is the first one? And how many from there on are alike, or as many as were looked at. */
bool malloc_bad_run(struct malloc_disk *d, uint64_t lba, uint64_t count, uint64_t *ret_blocks);
/* They have been written. */
void malloc_bad_heal(struct malloc_disk *d, uint64_t lba, uint64_t count);
static inline bool malloc_has_bad(const struct malloc_disk *d)
{
	return unlikely(atomic_load_explicit(&d->bad_count, memory_order_relaxed) != 0);
}

#define MALLOC_COST_HOLE 1u
#define MALLOC_COST_FREE 16u   /* a page given back */
#define MALLOC_COST_COPY 64u   /* a page written */
#define MALLOC_PASS_BUDGET 4096u

#endif
