/* SPDX-License-Identifier: BSD-3-Clause */
/* malloc_bad.c: blocks that were declared uncorrectable: reading one is a media error until it is written.
 *
 * One bit a block, in memory that is reserved when the first one is declared bad and touched where there are such.
 * A disk without any looks at one count.
 */
#include <sys/mman.h>

#include "backends/malloc/malloc_disk.h"

#define RUN_WORDS 4096u /* of the map, looked at by one call */

typedef _Atomic uint64_t word;

static size_t map_bytes(const struct malloc_disk *d)
{
	return (size_t)(d->table.max * d->blocks_per_page / 64 + 1) * sizeof(word);
}

/* Any core may be the first. NULL: no address space. */
static word *map_of(struct malloc_disk *d)
{
	word *map = atomic_load_explicit(&d->bad, memory_order_acquire), *mine;

	if (map)
		return map;
	mine = mmap(NULL, map_bytes(d), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (mine == MAP_FAILED)
		return NULL;
	if (atomic_compare_exchange_strong(&d->bad, &map, mine))
		return mine;
	munmap(mine, map_bytes(d));
	return map;
}

void malloc_bad_free(struct malloc_disk *d)
{
	word *map = atomic_load(&d->bad);

	if (map)
		munmap(map, map_bytes(d));
}

/* The bits of the first blocks of a range, all in one word. */
static uint64_t mask_at(uint64_t lba, uint64_t count, uint32_t *ret_blocks)
{
	uint32_t first = lba % 64, n = (uint32_t)min_u64(count, 64 - first);

	*ret_blocks = n;
	return (n == 64 ? UINT64_MAX : (1ull << n) - 1) << first;
}

uint32_t malloc_bad_declare(struct malloc_disk *d, uint64_t lba, uint64_t count)
{
	word *map = map_of(d);
	uint64_t mask, was;
	uint32_t n;

	if (!map)
		return 0;
	mask = mask_at(lba, count, &n);
	was = atomic_fetch_or(&map[lba / 64], mask);
	atomic_fetch_add(&d->bad_count, (uint64_t)__builtin_popcountll(mask & ~was));
	return n;
}

bool malloc_bad_any(struct malloc_disk *d, uint64_t lba, uint64_t count)
{
	word *map = atomic_load_explicit(&d->bad, memory_order_acquire);
	uint32_t n;

	for (; map && count; lba += n, count -= n)
		if (atomic_load_explicit(&map[lba / 64], memory_order_relaxed) & mask_at(lba, count, &n))
			return true;
	return false;
}

/* A bounded part of the map: who asked comes again. */
bool malloc_bad_run(struct malloc_disk *d, uint64_t lba, uint64_t count, uint64_t *ret_blocks)
{
	word *map = atomic_load_explicit(&d->bad, memory_order_acquire);
	bool bad = malloc_bad_any(d, lba, 1);
	uint32_t n;

	*ret_blocks = 0;
	if (!map || !malloc_has_bad(d)) {
		*ret_blocks = count;
		return false;
	}
	for (uint32_t looks = 0; looks < RUN_WORDS && *ret_blocks < count; looks++) {
		uint64_t at = lba + *ret_blocks, mask = mask_at(at, count - *ret_blocks, &n);
		uint64_t bits = atomic_load_explicit(&map[at / 64], memory_order_relaxed);
		uint64_t others = (bad ? ~bits : bits) & mask;

		if (others) {
			*ret_blocks = max_u64(1, *ret_blocks + (uint64_t)__builtin_ctzll(others) - at % 64);
			break;
		}
		*ret_blocks += n;
	}
	return bad;
}

void malloc_bad_heal(struct malloc_disk *d, uint64_t lba, uint64_t count)
{
	word *map = atomic_load_explicit(&d->bad, memory_order_acquire);
	uint64_t mask, was;
	uint32_t n;

	for (; map && count && atomic_load(&d->bad_count); lba += n, count -= n) {
		mask = mask_at(lba, count, &n);
		if (!(atomic_load_explicit(&map[lba / 64], memory_order_relaxed) & mask))
			continue;
		was = atomic_fetch_and(&map[lba / 64], ~mask);
		atomic_fetch_sub(&d->bad_count, (uint64_t)__builtin_popcountll(mask & was));
	}
}
