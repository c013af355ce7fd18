/* SPDX-License-Identifier: BSD-3-Clause */
/* malloc.c: RAM disks come, change their size and go. What they do with I/O is in malloc_io.c and malloc_long.c. */
#include "backends/malloc/malloc.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "backends/malloc/malloc_disk.h"
#include "bdev/pi.h"

#define BLOCK_SIZE_MAX 65536u
#define GROW_MAX 64u                 /* a disk can grow to so many times its first size, ... */
#define GROW_MIN (1ull << 24)        /* ... to so many pages at least, ... */
#define TABLE_MAX (1ull << 37)       /* ... but not beyond so many without having been made so */
#define PAGES_SPARE (1u << 16)       /* for pages that are replaced while somebody reads them */

static void malloc_release(struct bdev *b, const struct iovec *iovs, uint32_t count);
static uint32_t malloc_lend_iovs_max(const struct bdev *b, uint32_t blocks);
static void malloc_destroy(struct bdev *b);
static void malloc_describe(const struct bdev *b, bdev_emit_fn *emit, void *arg);

static const struct bdev_ops malloc_ops = {
	.channel_open = malloc_channel_open,
	.submit = malloc_submit,
	.abort = malloc_abort,
	.write_lend = malloc_write_lend,
	.release = malloc_release,
	.lend_iovs_max = malloc_lend_iovs_max,
	.destroy = malloc_destroy,
	.describe = malloc_describe,
};

static int check_opts(const struct malloc_opts *o, struct err *e);
static void shape(struct malloc_disk *d, const struct malloc_opts *o);
static void choose_name(struct bdev_registry *reg, struct bdev *b);
static int make_memory(struct malloc_disk *d, struct core *core, struct err *e);
static int make_hole(struct malloc_disk *d, struct err *e);
static void free_disk(struct malloc_disk *d);

int malloc_create(struct bdev_registry *reg, const struct malloc_opts *opts, struct bdev **ret_bdev, struct err *e)
{
	int rc = check_opts(opts, e);
	struct malloc_disk *d;

	if (rc != 0)
		return rc;
	d = base_zalloc_aligned(CACHE_LINE, sizeof(*d));
	list_init(&d->resizing);
	shape(d, opts);
	if (opts->name)
		snprintf(d->bdev.name, sizeof(d->bdev.name), "%s", opts->name);
	else
		choose_name(reg, &d->bdev);
	rc = make_memory(d, bdev_registry_core(reg), e);
	if (rc == 0)
		rc = make_hole(d, e);
	if (rc == 0)
		rc = bdev_register(reg, &d->bdev, e);
	if (rc != 0) {
		free_disk(d);
		return rc;
	}
	*ret_bdev = &d->bdev;
	return 0;
}

static int check_opts(const struct malloc_opts *o, struct err *e)
{
	if (!o->block_count)
		return err_set(e, -EINVAL, "num_blocks: 0 blocks are no disk");
	if (o->block_size < 512 || o->block_size % 512 || o->block_size > BLOCK_SIZE_MAX)
		return err_set(e, -EINVAL, "block_size: %u is not a multiple of 512 up to %u", o->block_size,
		               BLOCK_SIZE_MAX);
	if (o->physical_block_size % 512)
		return err_set(e, -EINVAL, "physical_block_size: %u is not a multiple of 512", o->physical_block_size);
	if (o->md_size > 128 || (o->md_size && (o->md_size < 8 || !is_pow2(o->md_size))))
		return err_set(e, -EINVAL, "md_size: %u is none of 0, 8, 16, 32, 64, 128", o->md_size);
	if (o->dif_type > 3)
		return err_set(e, -EINVAL, "dif_type: %u is none of 0, 1, 2, 3", o->dif_type);
	if (o->dif_type && !o->md_size)
		return err_set(e, -EINVAL, "dif_type: protection information lies in metadata; give an md_size of at least 8");
	if (o->block_count > (1ull << 62) / (o->block_size + o->md_size))
		return err_set(e, -EINVAL, "num_blocks: %llu blocks of %u bytes are more than a disk can have",
		               (unsigned long long)o->block_count, o->block_size);
	if (o->name && strlen(o->name) >= BDEV_NAME_MAX)
		return err_set(e, -EINVAL, "name: longer than %u characters", BDEV_NAME_MAX - 1);
	return 0;
}

static uint32_t pow2_at_least(uint32_t v)
{
	uint32_t p = PAGE_BYTES;

	while (p < v)
		p *= 2;
	return p;
}

/* As many whole blocks, with their metadata, as 4 KiB hold; a larger block has a larger page to itself. */
static void shape(struct malloc_disk *d, const struct malloc_opts *o)
{
	uint32_t all = o->block_size + o->md_size;

	d->bdev = (struct bdev){
		.ops = &malloc_ops, .product = "Malloc disk", .sleeps = "inline", .uuid = o->uuid,
		.block_size = o->block_size, .physical_block_size = o->physical_block_size,
		.md_size = o->md_size, .md_interleaved = o->md_size && o->md_interleaved,
		.dif_type = o->dif_type, .dif_is_head_of_md = o->dif_type && o->dif_is_head_of_md,
		.block_count = o->block_count, .optimal_io_blocks = o->optimal_io_blocks,
		.native_ops = BDEV_BIT(READ) | BDEV_BIT(WRITE) | BDEV_BIT(FLUSH) | BDEV_BIT(UNMAP) |
		              BDEV_BIT(WRITE_ZEROES) | BDEV_BIT(COMPARE) | BDEV_BIT(COPY) | BDEV_BIT(VERIFY) |
		              BDEV_BIT(GET_LBA_STATUS) | BDEV_BIT(WRITE_UNCORRECTABLE) | BDEV_BIT(RESET),
		.lends = true, .consumes = true, .fua = true, .thin = true, .knows_bad = true, .cache = BDEV_CACHE_LOST_ANYWAY,
		.channel_ctx_bytes = sizeof(struct malloc_channel),
		.io_ctx_bytes = malloc_long_bytes(),
		.io_ctx_ops = BDEV_BIT(UNMAP) | BDEV_BIT(WRITE_ZEROES) | BDEV_BIT(COPY) | BDEV_BIT(WRITE_UNCORRECTABLE),
	};
	d->block_bytes = d->bdev.md_interleaved ? all : o->block_size;
	d->md_bytes = d->bdev.md_interleaved ? 0 : o->md_size;
	d->blocks_per_page = all <= PAGE_BYTES ? PAGE_BYTES / all : 1;
	d->shift = is_pow2(d->blocks_per_page) ? (uint8_t)__builtin_ctz(d->blocks_per_page) : NO_SHIFT;
	d->page_bytes = pow2_at_least(d->blocks_per_page * all);
	d->md_at = d->blocks_per_page * d->block_bytes;
	if (d->shift != NO_SHIFT) /* what lies in one page comes and goes with it */
		d->bdev.atomic_blocks = d->bdev.atomic_boundary_blocks = d->blocks_per_page;
}

static void choose_name(struct bdev_registry *reg, struct bdev *b)
{
	uint32_t n = 0;

	do
		snprintf(b->name, sizeof(b->name), "Malloc%u", n++);
	while (bdev_find(reg, b->name));
}

static uint64_t slots_for(const struct malloc_disk *d, uint64_t block_count)
{
	return div_up(block_count, d->blocks_per_page);
}

/* Address space for the disk to grow, and for more pages than the machine can ever back at most. */
static int make_memory(struct malloc_disk *d, struct core *core, struct err *e)
{
	uint64_t slots = slots_for(d, d->bdev.block_count);
	uint64_t slots_max = max_u64(slots, min_u64(TABLE_MAX, max_u64(GROW_MIN, slots * GROW_MAX)));
	uint64_t machine = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE) / d->page_bytes;
	uint64_t pages = min_u64(slots_max + PAGES_SPARE, max_u64(2 * machine, PAGES_SPARE));
	int rc = page_table_init(&d->table, slots, slots_max, e);

	if (rc != 0)
		return rc;
	d->pages = pages_make(core, d->page_bytes, pages, e);
	if (d->pages)
		pages_expect(d->pages, slots);
	return d->pages ? 0 : -ENOMEM;
}

/* Blocks that nobody wrote: zeroes, and tuples that say that there is nothing to check. */
static int make_hole(struct malloc_disk *d, struct err *e)
{
	uint32_t stride = d->md_bytes ? d->md_bytes : d->block_bytes, at = d->md_bytes ? d->md_at : d->bdev.block_size;
	char *page;

	if (!d->bdev.dif_type)
		return 0;
	page = page_take(d->pages);
	if (!page)
		return err_set(e, -ENOMEM, "no memory for the blocks of '%s' that nobody wrote yet", d->bdev.name);
	memset(page, 0, d->page_bytes);
	at += d->bdev.dif_is_head_of_md ? 0 : d->bdev.md_size - PI_BYTES;
	for (uint32_t i = 0; i < d->blocks_per_page; i++)
		memset(page + at + i * stride, 0xff, PI_BYTES);
	page_exchange(d->pages, &d->hole, page);
	return 0;
}

static void free_disk(struct malloc_disk *d)
{
	malloc_bad_free(d);
	pages_free(d->pages);
	page_table_fini(&d->table);
	free(d);
}

/* --- lending ---------------------------------------------------------------------------------------------- */

static void malloc_release(struct bdev *b, const struct iovec *iovs, uint32_t count)
{
	struct malloc_disk *d = container_of(b, struct malloc_disk, bdev);

	for (uint32_t i = 0; i < count; i++)
		page_unpin_run(d->pages, iovs[i].iov_base, iovs[i].iov_len);
}

static uint32_t malloc_lend_iovs_max(const struct bdev *b, uint32_t blocks)
{
	const struct malloc_disk *d = container_of(b, struct malloc_disk, bdev);

	/* One a page; a range that does not begin with a page touches one more. */
	return (uint32_t)div_up(blocks, d->blocks_per_page) + (d->blocks_per_page > 1);
}

/* --- deleting, resizing ----------------------------------------------------------------------------------- */

static struct malloc_disk *find(struct bdev_registry *reg, const char *name, struct err *e)
{
	struct bdev *b = bdev_find(reg, name);

	if (!b)
		err_set(e, -ENODEV, "name: there is no block device '%s'; bdev_get_bdevs lists those there are", name);
	else if (b->ops != &malloc_ops)
		err_set(e, -EINVAL, "block device '%s' is a %s, not a malloc disk", name, b->product);
	return b && b->ops == &malloc_ops ? container_of(b, struct malloc_disk, bdev) : NULL;
}

int malloc_delete(struct bdev_registry *reg, const char *name, void (*done)(void *arg, int rc), void *arg,
                  struct err *e)
{
	struct err why = { 0 };
	struct malloc_disk *d = find(reg, name, &why);

	if (!d)
		return err_set(e, why.code, "%s", why.text);
	bdev_unregister(&d->bdev, done, arg);
	return 0;
}

/* A change of size that waits until an earlier one has given back its memory. */
struct resizing {
	struct list link;
	uint64_t block_count;
	malloc_resized_fn *done;
	void *arg;
	struct err err;
};

static int resize(struct malloc_disk *d, uint64_t block_count, struct err *e);
static void wipe_begin(struct each *e);
static void nothing(struct each *e);
static void wipe(struct msg *m);
static void resize_waiters(struct malloc_disk *d, struct list *ret_ended);
static void answer(struct list *ended);

void malloc_resize(struct bdev_registry *reg, const char *name, uint64_t block_count, malloc_resized_fn *done,
                   void *arg)
{
	struct err e = { 0 };
	struct malloc_disk *d = find(reg, name, &e);
	struct resizing *r;

	if (d && d->wiping) {
		r = base_zalloc(sizeof(*r));
		*r = (struct resizing){ .block_count = block_count, .done = done, .arg = arg };
		list_add_tail(&d->resizing, &r->link);
		return;
	}
	if (d)
		resize(d, block_count, &e);
	done(arg, e.code ? &e : NULL);
}

static int resize(struct malloc_disk *d, uint64_t block_count, struct err *e)
{
	uint64_t now = atomic_load(&d->bdev.block_count), after = slots_for(d, block_count);
	int rc;

	assert(!d->wiping);
	if (after > d->table.max)
		return err_set(e, -ENOSPC, "malloc disk '%s' can grow to %llu blocks; make a new one", d->bdev.name,
		               (unsigned long long)(d->table.max * d->blocks_per_page));
	rc = page_table_grow(&d->table, after, e);
	if (rc == 0)
		rc = bdev_resize(&d->bdev, block_count, e);
	if (rc == 0)
		pages_expect(d->pages, after);
	if (rc == 0 && block_count < now) {
		d->wiping = true;
		d->wipe_at = after;
		d->wipe_end = slots_for(d, now);
		/* What was let through before the size changed ends before every core has answered. */
		each_core(&d->barrier, reactor_core(reactor_self()), nothing, wipe_begin);
	}
	return rc;
}

static void nothing(struct each *e) {}

static void wipe_begin(struct each *e)
{
	struct malloc_disk *d = container_of(e, struct malloc_disk, barrier);
	uint64_t end = atomic_load(&d->bdev.block_count);
	struct piece rest = piece_at(d, end - 1, d->blocks_per_page);

	/* The page in which the disk now ends: what follows must not come back when it grows again. Without memory
	 * for a fresh page it stays; nobody can read it meanwhile. */
	if (malloc_has_bad(d))
		malloc_bad_heal(d, end, d->wipe_end * d->blocks_per_page - end);
	rest.first++;
	rest.count--;
	if (rest.count)
		malloc_zero(d, &rest, false);
	wipe(&d->wipe_msg);
}

static void wipe(struct msg *m)
{
	struct malloc_disk *d = container_of(m, struct malloc_disk, wipe_msg);
	struct list ended;

	for (uint32_t i = 0; i < MALLOC_PASS_BUDGET && d->wipe_at < d->wipe_end; i++, d->wipe_at++) {
		page_slot *slot = &d->table.slots[d->wipe_at];

		/* A hole is only looked at: a write would give memory to a part of the table that never had any. */
		if (atomic_load_explicit(slot, memory_order_relaxed))
			page_unpin(d->pages, page_exchange(d->pages, slot, NULL));
	}
	if (d->wipe_at < d->wipe_end) {
		msg_send(reactor_self(), &d->wipe_msg, wipe);
		return;
	}
	d->wiping = false;
	list_init(&ended);
	resize_waiters(d, &ended);
	if (d->destroy_waits && !d->wiping)
		malloc_destroy(&d->bdev);
	answer(&ended); /* last: who is answered may delete the disk */
}

/* In their order; one that makes the disk smaller makes those behind it wait again. */
static void resize_waiters(struct malloc_disk *d, struct list *ret_ended)
{
	while (!d->wiping && !list_empty(&d->resizing)) {
		struct resizing *r = list_entry(list_pop(&d->resizing), struct resizing, link);

		resize(d, r->block_count, &r->err); /* a disk that is being removed refuses */
		list_add_tail(ret_ended, &r->link);
	}
}

static void answer(struct list *ended)
{
	struct list *link;

	while ((link = list_pop(ended))) {
		struct resizing *r = list_entry(link, struct resizing, link);

		r->done(r->arg, r->err.code ? &r->err : NULL);
		free(r);
	}
}

static void malloc_destroy(struct bdev *b)
{
	struct malloc_disk *d = container_of(b, struct malloc_disk, bdev);

	if (d->wiping) {
		d->destroy_waits = true;
		return;
	}
	bdev_destroyed(b);
	free_disk(d);
}

uint64_t malloc_bytes_in_use(const struct bdev *b)
{
	const struct malloc_disk *d = container_of(b, struct malloc_disk, bdev);
	struct pages_stats s;

	pages_get_stats(d->pages, &s);
	return s.in_use * d->page_bytes;
}

static void malloc_describe(const struct bdev *b, bdev_emit_fn *emit, void *arg)
{
	char text[32];

	snprintf(text, sizeof(text), "%llu", (unsigned long long)malloc_bytes_in_use(b));
	emit(arg, "bytes_in_use", text);
}
