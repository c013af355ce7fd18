/* SPDX-License-Identifier: BSD-3-Clause */
/* pages.h: refcounted pages, the matter RAM disks are made of.
 *
 * A page that is published somewhere (a slot of a disk's table) may be pinned by a reader on any core
 * without a lock: page_pin_slot() loads the slot, raises the count unless the page is free or being filled, and looks
 * again. Headers are never unmapped while the pool lives, so raising the count of a page that has just been
 * given back and published elsewhere is harmless: the second look tells, and the count is lowered again. A
 * writer fills a fresh page that nobody can see or pin, and exchanges it into the slot: a reader sees the whole
 * old or the whole new page.
 *
 * A page is 4 KiB or, for disks with larger blocks, a larger power of two: the unit in which reads and writes
 * are atomic. A page may be published in several slots, with a reference for each.
 *
 * Free pages lie on per-core stacks (last out, first in: warm) that trade batches with one shared
 * store; memory beyond what is kept for reuse goes back to the system, a batch at a time.
 */
#ifndef CORE_PAGES_H
#define CORE_PAGES_H

#include "core/core.h"

#define PAGE_BYTES 4096u
#define PAGE_BYTES_MAX (256u * 1024)

struct pages;                  /* one pool per disk, or shared by several */
typedef _Atomic(void *) page_slot;

/* `page_bytes` is a power of two from PAGE_BYTES to PAGE_BYTES_MAX. `max_pages` bounds address space, not memory.
 *
 * Core: control. Errors: NULL with a sentence. */
struct pages *pages_make(struct core *core, uint32_t page_bytes, uint64_t max_pages, struct err *e);
/* How many pages may be needed, as far as one can tell now: memory is made ready ahead of use so far. Not at all unless
 * said. Control. */
void pages_expect(struct pages *p, uint64_t pages);
/* Unmaps all pages, published ones too; nobody may hold a pin. */
void pages_free(struct pages *p);

/* A page nobody else can see, contents undefined: fill it, stream_copy() will do, and publish it with page_exchange()
 * or page_replace(), or give it back with page_unpin(). NULL when max_pages are out or the system has no memory. Any
 * thread. */
void *page_take(struct pages *p);
/* Publish `page` (or NULL: a hole) in `slot` and return what was there; its reference is now the caller's, and a
 * reference the caller had to `page` is now the slot's. */
void *page_exchange(struct pages *p, page_slot *slot, void *page);
/* The same only if `expected` is still there. On success expected's slot reference is the caller's; otherwise
 * nothing has changed. */
bool page_replace(struct pages *p, page_slot *slot, void *expected, void *page);
/* Raise the count of whatever is in `slot`; NULL for a hole. */
void *page_pin_slot(struct pages *p, page_slot *slot);
/* A hint: the count of what is in `slot` will be changed soon. Looks at the slot: prefetch that earlier. What is there
 * now is returned, to prefetch too: nothing may be read there before it is pinned. */
const void *page_prefetch(struct pages *p, page_slot *slot);
/* Drop one reference, from any thread. NULL and zeroes are allowed. */
void page_unpin(struct pages *p, void *page);
/* Drop the reference of each page that the bytes [at, at + len) lie in; for a run of pages that were pinned. */
void page_unpin_run(struct pages *p, const void *at, uint64_t len);

/* Zeroes to lend for holes, readable only; page_unpin() knows them and does nothing. */
#define PAGES_ZERO_BYTES (1u << 20)
const void *pages_zero(struct pages *p);

struct pages_stats {
	uint64_t in_use, kept, returned, max; /* kept: free with memory; returned: free without */
};
/* Any thread; a snapshot. */
void pages_get_stats(struct pages *p, struct pages_stats *ret_stats);

/* A table of slots whose memory comes when it is touched and that can grow in place while others read it. */
struct page_table {
	page_slot *slots;
	uint64_t count, max;
};
int page_table_init(struct page_table *t, uint64_t count, uint64_t max, struct err *e) MUST_USE;
int page_table_grow(struct page_table *t, uint64_t count, struct err *e) MUST_USE;
void page_table_fini(struct page_table *t);

#endif
