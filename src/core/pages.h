/* SPDX-License-Identifier: BSD-3-Clause */
/* pages.h: refcounted 4 KiB pages, the matter RAM disks are made of.
 *
 * A page that is published somewhere (a slot of a disk's table) may be pinned by a reader on any core
 * without a lock: page_pin_slot() loads the slot, raises the count unless it is zero, and looks again.
 * Headers are never unmapped while the pool lives, so raising the count of a page that has just been
 * given back is harmless: it is zero, the reader fails and tries again. A writer fills a fresh page that
 * nobody can see, and exchanges it into the slot: a reader sees the whole old or the whole new page.
 *
 * Free pages lie on per-core stacks (last out, first in: warm) that trade batches with one shared
 * store; memory beyond what is kept for reuse goes back to the system.
 */
#ifndef CORE_PAGES_H
#define CORE_PAGES_H

#include "core/core.h"

#define PAGE_BYTES 4096u

struct pages;                  /* one pool per disk, or shared by several */
typedef _Atomic(void *) page_slot;

/* `max_pages` bounds address space, not memory. Errors: NULL with a sentence. */
struct pages *pages_make(struct core *core, uint64_t max_pages, struct err *e);
void pages_free(struct pages *p); /* every page must have come back */

/* A page nobody else can see, contents undefined, one reference; NULL when max_pages are out. */
void *page_take(struct pages *p);
/* Publish `page` (or NULL: a hole) in `slot` and return what was there; its reference is now the caller's. */
void *page_exchange(page_slot *slot, void *page);
/* The same only if `expected` is still there. On success expected's slot reference is the caller's. */
bool page_replace(page_slot *slot, void *expected, void *page);
/* Raise the count of whatever is in `slot`; NULL for a hole. */
void *page_pin_slot(struct pages *p, page_slot *slot);
/* Drop one reference, from any core. NULL is allowed. */
void page_unpin(struct pages *p, void *page);
/* 4 KiB of zeroes to lend for holes; page_unpin() knows it and does nothing. */
void *pages_zero(struct pages *p);

struct pages_stats {
	uint64_t in_use, kept, max;
};
void pages_get_stats(struct pages *p, struct pages_stats *ret_stats);

#endif
