/* SPDX-License-Identifier: BSD-3-Clause */
/* malloc_io.c: a RAM disk's reads, writes and compares: each ends within submit(), but for writes of one page.
 *
 * Pages are filled past the caches: what is written is cold, and what is hot, such as the receive buffer it came from,
 * shall stay (1.23 x randwrite at QD128 over NVMe/TCP, median of 15). Putting a page into its slot is an atomic
 * exchange, which waits until the bytes just copied have found their way to memory. Whole pages are therefore filled
 * first and published together, those of a long write and those of a pass's writes of one page, when most of that
 * has happened by itself (1.13 x at 128 KiB, both together).
 *
 * Where a disk is large nothing of it is in the caches: not the slot, not the page's count, not the data. So what a
 * pass wants of single pages is gathered, and done when all of it is on its way: the slots from submit on, the counts
 * of a few pages ahead.
 *
 * A write whose data has not come yet can have fresh pages to receive it in: then there is nothing to be copied, and
 * publishing them is all there is to do.
 */
#include "backends/malloc/malloc_disk.h"

#define PAGES_TOGETHER 32u
#define PAGES_AHEAD 16u /* of a lent write: looked at before they are exchanged */
#define PREFETCH_BYTES_MAX 16384u
/* Of each piece that is lent: the rest comes while this much is sent. 1.05 x randread at QD128 over NVMe/TCP; with all
 * of it the core waits here, with nothing there. */
#define PREFETCH_LENT_BYTES 2048u
#define IOS_AHEAD 6u    /* of those of single pages that are done together */
#define READS_AHEAD 2u  /* where their data are copied here: a core can wait for so many lines at once */

static void read_submit(struct bdev_channel *ch, struct malloc_disk *d, struct bdev_io *io);
static void lend_submit(struct bdev_channel *ch, struct malloc_disk *d, struct bdev_io *io);
static void write_submit(struct bdev_channel *ch, struct malloc_disk *d, struct bdev_io *io);
static void write_lent(struct malloc_disk *d, struct bdev_io *io);
static enum bdev_status write_blocks(struct malloc_disk *d, struct bdev_io *io);
static enum bdev_status compare(struct malloc_disk *d, struct bdev_io *io);
static enum bdev_status lba_status(struct malloc_disk *d, struct bdev_io *io);
static enum bdev_status lba_mapped(struct malloc_disk *d, struct bdev_io *io);

void malloc_submit(struct bdev_channel *ch, struct bdev_io *io)
{
	struct malloc_disk *d = container_of(bdev_channel_bdev(ch), struct malloc_disk, bdev);
	enum bdev_status st = BDEV_ST_OK;

	switch (io->op) {
	case BDEV_READ:
		if (io->flags & BDEV_IO_LEND) {
			lend_submit(ch, d, io);
			return;
		}
		read_submit(ch, d, io);
		return;
	case BDEV_WRITE:
		io->consumed = true;
		if (!io->lent) {
			write_submit(ch, d, io);
			return;
		}
		write_lent(d, io);
		break;
	case BDEV_COMPARE:
	case BDEV_VERIFY:
		if (malloc_has_bad(d) && malloc_bad_any(d, io->lba, io->count))
			st = BDEV_ST_MEDIA_ERROR;
		else if (io->op == BDEV_COMPARE)
			st = compare(d, io);
		break;
	case BDEV_GET_LBA_STATUS:
		st = lba_status(d, io);
		break;
	case BDEV_UNMAP:
	case BDEV_WRITE_ZEROES:
	case BDEV_COPY:
	case BDEV_WRITE_UNCORRECTABLE:
		malloc_long_submit(d, io);
		return;
	default: /* flush, reset: memory keeps what it has */
		break;
	}
	bdev_io_done(io, st);
}

/* --- reads ------------------------------------------------------------------------------------------------ */

static void read_md(const struct malloc_disk *d, const struct piece *p, const char *page, struct iov_cursor *md)
{
	size_t bytes = (size_t)p->count * d->md_bytes;

	if (page)
		iov_copy_in(md, page + d->md_at + (size_t)p->first * d->md_bytes, bytes);
	else
		iov_zero(md, bytes);
}

static enum bdev_status read_copy(struct malloc_disk *d, struct bdev_io *io)
{
	struct iov_cursor data = iov_cursor_over(io->iovs, io->iov_count);
	struct iov_cursor md = iov_cursor_over(io->md_iovs, io->md_iov_count);
	struct piece p;

	for (uint64_t done = 0; done < io->count; done += p.count) {
		char *page;

		p = piece_at(d, io->lba + done, io->count - done);
		page = piece_pin(d, &p);
		if (page)
			iov_copy_in(&data, page + (size_t)p.first * d->block_bytes, (size_t)p.count * d->block_bytes);
		else
			iov_zero(&data, (size_t)p.count * d->block_bytes);
		if (unlikely(io->md_iovs != NULL))
			read_md(d, &p, page, &md);
		page_unpin(d->pages, page);
	}
	return BDEV_ST_OK;
}

static bool add_iov(struct bdev_io *io, uint16_t *used, char *at, size_t len)
{
	if (*used == io->iov_max)
		return false;
	io->iovs[(*used)++] = (struct iovec){ .iov_base = at, .iov_len = len };
	return true;
}

/* Pages that lie side by side share an iovec. */
static bool add_page(struct bdev_io *io, uint16_t *used, char *at, size_t len)
{
	struct iovec *last = *used ? &io->iovs[*used - 1] : NULL;

	if (!last || (char *)last->iov_base + last->iov_len != at)
		return add_iov(io, used, at, len);
	last->iov_len += len;
	return true;
}

/* A hole is lent from the zeroes; a run of holes, and pages that lie side by side, in one iovec. */
static bool lend_piece(const struct malloc_disk *d, struct bdev_io *io, uint16_t *used, char *at, size_t len)
{
	const char *zero = pages_zero(d->pages);
	struct iovec *last = *used ? &io->iovs[*used - 1] : NULL;
	bool is_hole = !at, after_hole = last && last->iov_base == (void *)(uintptr_t)zero;

	if (is_hole)
		at = (char *)(uintptr_t)zero;
	if (is_hole && after_hole && last->iov_len + len <= PAGES_ZERO_BYTES) {
		last->iov_len += len;
		return true;
	}
	return is_hole || after_hole ? add_iov(io, used, at, len) : add_page(io, used, at, len);
}

static inline void data_prefetch(const char *at, size_t len)
{
	for (size_t i = 0; i < len; i += CACHE_LINE)
		__builtin_prefetch(at + i, 0, 3);
}

/* Whoever sends this will read it soon, and finds it on its way. A long read would be out of the caches again, and who
 * checks it before fetches it block by block. */
static inline bool is_wanted_soon(const struct malloc_disk *d, const struct bdev_io *io)
{
	return io->count * d->block_bytes <= PREFETCH_BYTES_MAX && !(io->flags & BDEV_IO_PRCHK);
}

static enum bdev_status read_lend(struct malloc_disk *d, struct bdev_io *io)
{
	struct iov_cursor md = iov_cursor_over(io->md_iovs, io->md_iov_count);
	uint16_t used = 0;
	struct piece p;

	for (uint64_t done = 0; done < io->count; done += p.count) {
		char *page, *at;

		p = piece_at(d, io->lba + done, io->count - done);
		page = piece_pin(d, &p);
		at = page ? page + (size_t)p.first * d->block_bytes : NULL;
		if (at && is_wanted_soon(d, io))
			data_prefetch(at, min_u64((uint64_t)p.count * d->block_bytes, PREFETCH_LENT_BYTES));
		if (unlikely(!lend_piece(d, io, &used, at, (size_t)p.count * d->block_bytes))) {
			page_unpin(d->pages, page);
			d->bdev.ops->release(&d->bdev, io->iovs, used);
			return BDEV_ST_BAD_FIELD; /* fewer iovecs than bdev_lend_iovs_max() */
		}
		if (unlikely(io->md_iovs != NULL))
			read_md(d, &p, page, &md);
	}
	io->iov_count = used;
	io->lent = true;
	return BDEV_ST_OK;
}

static inline page_slot *slot_of(const struct malloc_disk *d, const struct bdev_io *io)
{
	return &d->table.slots[slot_index(d, io->lba)];
}

/* Look at the next `count` of a queue, from *at on: what they will change is on its way then. */
static inline void look_ahead(struct malloc_disk *d, struct queue_link **at, uint32_t count)
{
	for (; *at && count; count--, *at = (*at)->next)
		page_prefetch(d->pages, slot_of(d, container_of(*at, struct bdev_io, link)));
}

/* The disk may have shrunk since an I/O of this pass was submitted: once this core has answered the barrier of
 * malloc_resize(), what lies beyond the new end stays as the wipe leaves it. */
static inline bool is_cut_off(struct malloc_disk *d, const struct bdev_io *io)
{
	return unlikely(io->lba + io->count > atomic_load_explicit(&d->bdev.block_count, memory_order_acquire));
}

static enum bdev_status lend(struct malloc_disk *d, struct bdev_io *io)
{
	if (is_cut_off(d, io))
		return BDEV_ST_BAD_RANGE;
	if (malloc_has_bad(d) && malloc_bad_any(d, io->lba, io->count))
		return BDEV_ST_MEDIA_ERROR;
	return read_lend(d, io);
}

/* Of those that are checked: no check before it fetches it. */
static inline void fetch_first(const struct malloc_disk *d, const struct bdev_io *io)
{
	if (io->flags & BDEV_IO_PRCHK && io->lent && io->count * d->block_bytes <= PREFETCH_BYTES_MAX)
		data_prefetch(io->iovs[0].iov_base, io->iovs[0].iov_len);
}

static void lend_all(struct defer *defer)
{
	struct malloc_channel *mc = container_of(defer, struct malloc_channel, lend);
	struct queue_link *l = queue_take_all(&mc->wanted), *first = l, *ahead = l, *next;

	look_ahead(mc->disk, &ahead, IOS_AHEAD);
	for (; l; l = next) {
		struct bdev_io *io = container_of(l, struct bdev_io, link);
		enum bdev_status st;

		look_ahead(mc->disk, &ahead, 1);
		next = l->next;
		st = lend(mc->disk, io);
		if (l == first)
			fetch_first(mc->disk, io);
		bdev_io_done(io, st);
	}
}

static enum bdev_status read_here(struct malloc_disk *d, struct bdev_io *io)
{
	if (is_cut_off(d, io))
		return BDEV_ST_BAD_RANGE;
	if (malloc_has_bad(d) && malloc_bad_any(d, io->lba, io->count))
		return BDEV_ST_MEDIA_ERROR;
	return read_copy(d, io);
}

/* The same with the data, which this core copies itself. */
static inline void look_ahead_to_copy(struct malloc_disk *d, struct queue_link **at, uint32_t count)
{
	for (; *at && count; count--, *at = (*at)->next) {
		const struct bdev_io *io = container_of(*at, struct bdev_io, link);
		struct piece p = piece_at(d, io->lba, io->count);
		const char *page = page_prefetch(d->pages, p.slot);

		if (page)
			data_prefetch(page + (size_t)p.first * d->block_bytes, (size_t)p.count * d->block_bytes);
	}
}

static void read_all(struct defer *defer)
{
	struct malloc_channel *mc = container_of(defer, struct malloc_channel, read);
	struct queue_link *l = queue_take_all(&mc->reads), *ahead = l, *next;

	look_ahead_to_copy(mc->disk, &ahead, READS_AHEAD);
	for (; l; l = next) {
		struct bdev_io *io = container_of(l, struct bdev_io, link);

		look_ahead_to_copy(mc->disk, &ahead, 1);
		next = l->next;
		bdev_io_done(io, read_here(mc->disk, io));
	}
}

static void read_submit(struct bdev_channel *ch, struct malloc_disk *d, struct bdev_io *io)
{
	struct malloc_channel *mc = bdev_channel_ctx(ch);

	if (piece_at(d, io->lba, io->count).count < io->count) {
		bdev_io_done(io, read_here(d, io));
		return;
	}
	__builtin_prefetch(slot_of(d, io));
	queue_push(&mc->reads, &io->link);
	defer_run(&mc->read, read_all);
}

static void lend_submit(struct bdev_channel *ch, struct malloc_disk *d, struct bdev_io *io)
{
	struct malloc_channel *mc = bdev_channel_ctx(ch);

	if (piece_at(d, io->lba, io->count).count < io->count) {
		bdev_io_done(io, lend(d, io));
		return;
	}
	__builtin_prefetch(slot_of(d, io));
	queue_push(&mc->wanted, &io->link);
	defer_run(&mc->lend, lend_all);
}

/* --- writes ----------------------------------------------------------------------------------------------- */

/* A hole's own page is never written to again. */
static void put_hole(const struct malloc_disk *d, const struct piece *p, char *page)
{
	const char *hole = atomic_load_explicit(&d->hole, memory_order_relaxed);
	size_t data_at = (size_t)p->first * d->block_bytes, md_at = d->md_at + (size_t)p->first * d->md_bytes;

	memcpy(page + data_at, hole + data_at, (size_t)p->count * d->block_bytes);
	memcpy(page + md_at, hole + md_at, (size_t)p->count * d->md_bytes);
}

static void put_blocks(const struct malloc_disk *d, const struct piece *p, char *page, struct contents *from)
{
	size_t bytes = (size_t)p->count * d->block_bytes, md_bytes = (size_t)p->count * d->md_bytes;
	char *at = page + (size_t)p->first * d->block_bytes;

	if (unlikely(!from->has_data && d->bdev.dif_type)) {
		put_hole(d, p, page);
		return;
	}
	if (likely(from->has_data))
		iov_stream_out(at, &from->data, bytes);
	else
		memset(at, 0, bytes);
	if (likely(!md_bytes))
		return;
	at = page + d->md_at + (size_t)p->first * d->md_bytes;
	if (from->has_md)
		iov_copy_out(at, &from->md, md_bytes);
	else
		memset(at, 0, md_bytes);
}

static struct contents contents_of(const struct bdev_io *io)
{
	return (struct contents){
		.data = iov_cursor_over(io->iovs, io->iov_count), .has_data = true,
		.md = iov_cursor_over(io->md_iovs, io->md_iov_count), .has_md = io->md_iovs != NULL,
	};
}

/* The bytes of a page's blocks around a piece, from the page before or zeroes. */
static void keep_rest(char *page, const char *old, size_t total, size_t from, size_t to)
{
	if (old) {
		memcpy(page, old, from);
		memcpy(page + to, old + to, total - to);
	} else {
		memset(page, 0, from);
		memset(page + to, 0, total - to);
	}
}

/* Blocks that share a page with others: the others' latest contents go into the fresh page; when somebody
 * else replaced the page meanwhile, once more. */
static void put_part(struct malloc_disk *d, const struct piece *p, char *page, struct contents *from)
{
	size_t n = d->blocks_per_page, first = p->first, end = first + p->count;
	struct contents again = *from;

	for (;;) {
		char *old = page_pin_slot(d->pages, p->slot);
		const char *rest = old ? old : atomic_load_explicit(&d->hole, memory_order_relaxed);
		bool replaced;

		keep_rest(page, rest, n * d->block_bytes, first * d->block_bytes, end * d->block_bytes);
		if (d->md_bytes)
			keep_rest(page + d->md_at, rest ? rest + d->md_at : NULL, n * d->md_bytes,
			          first * d->md_bytes, end * d->md_bytes);
		put_blocks(d, p, page, from);
		replaced = page_replace(d->pages, p->slot, old, page);
		page_unpin(d->pages, old);
		if (replaced) {
			page_unpin(d->pages, old); /* the slot's */
			return;
		}
		*from = again;
	}
}

int malloc_channel_open(struct bdev_channel *ch, struct err *e)
{
	struct malloc_channel *mc = bdev_channel_ctx(ch);

	(void)e;
	mc->disk = container_of(bdev_channel_bdev(ch), struct malloc_disk, bdev);
	queue_init(&mc->wanted);
	queue_init(&mc->reads);
	queue_init(&mc->filled);
	return 0;
}

static enum bdev_status publish(struct malloc_disk *d, struct bdev_io *io)
{
	void *page = io->device_ctx;

	if (is_cut_off(d, io)) {
		page_unpin(d->pages, page);
		return BDEV_ST_BAD_RANGE;
	}
	page_unpin(d->pages, page_exchange(d->pages, slot_of(d, io), page));
	if (malloc_has_bad(d))
		malloc_bad_heal(d, io->lba, io->count);
	return BDEV_ST_OK;
}

static void publish_all(struct defer *defer)
{
	struct malloc_channel *mc = container_of(defer, struct malloc_channel, publish);
	struct queue_link *l = queue_take_all(&mc->filled), *ahead = l, *next;

	look_ahead(mc->disk, &ahead, IOS_AHEAD);
	for (; l; l = next) {
		struct bdev_io *io = container_of(l, struct bdev_io, link);

		look_ahead(mc->disk, &ahead, 1);
		next = l->next;
		bdev_io_done(io, publish(mc->disk, io));
	}
}

static void write_submit(struct bdev_channel *ch, struct malloc_disk *d, struct bdev_io *io)
{
	struct malloc_channel *mc = bdev_channel_ctx(ch);
	struct contents from = contents_of(io);
	struct piece p = piece_at(d, io->lba, io->count);

	if (p.count < io->count || !piece_is_page(d, &p)) {
		bdev_io_done(io, write_blocks(d, io));
		return;
	}
	__builtin_prefetch(p.slot, 1);
	io->device_ctx = page_take(d->pages);
	if (unlikely(!io->device_ctx)) {
		bdev_io_done(io, BDEV_ST_NO_SPACE);
		return;
	}
	put_blocks(d, &p, io->device_ctx, &from);
	queue_push(&mc->filled, &io->link);
	defer_run(&mc->publish, publish_all);
}

bool malloc_put(struct malloc_disk *d, const struct piece *p, struct contents *from)
{
	char *page = page_take(d->pages);

	if (unlikely(!page))
		return false;
	if (piece_is_page(d, p)) {
		put_blocks(d, p, page, from);
		page_unpin(d->pages, page_exchange(d->pages, p->slot, page));
	} else {
		put_part(d, p, page, from);
	}
	return true;
}

struct filled {
	page_slot *slots[PAGES_TOGETHER];
	void *pages[PAGES_TOGETHER];
	uint32_t count;
};

static void publish_filled(struct malloc_disk *d, struct filled *f)
{
	/* The last one first: see write_lent(). */
	while (f->count) {
		f->count--;
		page_unpin(d->pages, page_exchange(d->pages, f->slots[f->count], f->pages[f->count]));
	}
}

static bool fill(struct malloc_disk *d, const struct piece *p, struct contents *from, struct filled *f)
{
	void *page = page_take(d->pages);

	if (unlikely(!page))
		return false;
	page_prefetch(d->pages, p->slot);
	put_blocks(d, p, page, from);
	f->slots[f->count] = p->slot;
	f->pages[f->count++] = page;
	if (f->count == PAGES_TOGETHER)
		publish_filled(d, f);
	return true;
}

static enum bdev_status write_blocks(struct malloc_disk *d, struct bdev_io *io)
{
	struct contents from = contents_of(io);
	struct filled f = { .count = 0 };
	bool room = true;
	struct piece p;

	for (uint64_t done = 0; room && done < io->count; done += p.count) {
		p = piece_at(d, io->lba + done, io->count - done);
		room = piece_is_page(d, &p) ? fill(d, &p, &from, &f) : malloc_put(d, &p, &from);
	}
	publish_filled(d, &f);
	if (malloc_has_bad(d) && room)
		malloc_bad_heal(d, io->lba, io->count);
	return room ? BDEV_ST_OK : BDEV_ST_NO_SPACE;
}

/* --- writes into pages that were lent for them -------------------------------------------------------------- */

/* Whole pages only, and only blocks that fill them to the last byte. */
bool malloc_write_lend(struct bdev_channel *ch, struct bdev_io *io)
{
	struct malloc_disk *d = container_of(bdev_channel_bdev(ch), struct malloc_disk, bdev);
	uint16_t used = 0;

	if (d->blocks_per_page * d->block_bytes != d->page_bytes || d->md_bytes || io->lba % d->blocks_per_page ||
	    io->count % d->blocks_per_page)
		return false;
	for (uint64_t left = io->count; left; left -= d->blocks_per_page) {
		char *page = page_take(d->pages);

		if (unlikely(!page || !add_page(io, &used, page, d->page_bytes))) {
			page_unpin(d->pages, page);
			d->bdev.ops->release(&d->bdev, io->iovs, used);
			return false;
		}
	}
	io->iov_count = used;
	return true;
}

/* From the end to the beginning, so that pages come back to the stack in an order in which the next ones to take lie
 * side by side again. */
static void write_lent(struct malloc_disk *d, struct bdev_io *io)
{
	page_slot *slots = &d->table.slots[slot_index(d, io->lba)];
	uint64_t at = io->count / d->blocks_per_page, looked = at;

	for (uint32_t i = io->iov_count; i-- > 0;) {
		char *first = io->iovs[i].iov_base;

		for (char *page = first + io->iovs[i].iov_len; page > first;) {
			page -= d->page_bytes;
			for (; looked && at - looked < PAGES_AHEAD; looked--)
				page_prefetch(d->pages, &slots[looked - 1]);
			at--;
			page_unpin(d->pages, page_exchange(d->pages, &slots[at], page));
		}
	}
	assert(!at);
	io->lent = false;
	if (malloc_has_bad(d))
		malloc_bad_heal(d, io->lba, io->count);
}

uint32_t malloc_zero(struct malloc_disk *d, const struct piece *p, bool deallocate)
{
	struct contents zeroes = { .has_data = false };

	if (!atomic_load_explicit(p->slot, memory_order_relaxed))
		return MALLOC_COST_HOLE; /* reads as zeroes already */
	if (deallocate && piece_is_page(d, p)) {
		page_unpin(d->pages, page_exchange(d->pages, p->slot, NULL));
		return MALLOC_COST_FREE;
	}
	return malloc_put(d, p, &zeroes) ? MALLOC_COST_COPY : 0;
}

/* --- the others ------------------------------------------------------------------------------------------- */

static enum bdev_status compare(struct malloc_disk *d, struct bdev_io *io)
{
	struct iov_cursor data = iov_cursor_over(io->iovs, io->iov_count);
	struct iov_cursor md = iov_cursor_over(io->md_iovs, io->md_iov_count);
	uint64_t offset = 0;
	struct piece p;

	for (uint64_t done = 0; done < io->count; done += p.count) {
		size_t len, equal, md_equal = 0, md_len = 0;
		const char *at;
		char *page;

		p = piece_at(d, io->lba + done, io->count - done);
		page = piece_pin(d, &p);
		at = page ? page : pages_zero(d->pages);
		len = (size_t)p.count * d->block_bytes;
		equal = iov_equal(&data, at + (size_t)p.first * d->block_bytes, len);
		if (equal == len && io->md_iovs) {
			md_len = (size_t)p.count * d->md_bytes;
			md_equal = iov_equal(&md, at + d->md_at + (size_t)p.first * d->md_bytes, md_len);
		}
		page_unpin(d->pages, page);
		if (equal != len || md_equal != md_len) {
			io->miscompare_offset = (uint32_t)(offset + (equal != len ? equal : 0));
			return BDEV_ST_MISCOMPARE;
		}
		offset += len;
	}
	return BDEV_ST_OK;
}

/* A run that is longer than what one look covers is told in parts: the answer may be short. */
static enum bdev_status lba_status(struct malloc_disk *d, struct bdev_io *io)
{
	if (io->lba_status.of_bad) {
		io->lba_status.ret_bad = malloc_bad_run(d, io->lba, io->count, &io->lba_status.ret_blocks);
		return BDEV_ST_OK;
	}
	return lba_mapped(d, io);
}

static enum bdev_status lba_mapped(struct malloc_disk *d, struct bdev_io *io)
{
	struct piece p = piece_at(d, io->lba, io->count);
	bool mapped = atomic_load_explicit(p.slot, memory_order_relaxed) != NULL;
	uint64_t done = p.count;

	for (uint32_t looks = 0; looks < MALLOC_PASS_BUDGET && done < io->count; looks++, done += p.count) {
		p = piece_at(d, io->lba + done, io->count - done);
		if ((atomic_load_explicit(p.slot, memory_order_relaxed) != NULL) != mapped)
			break;
	}
	io->lba_status.ret_mapped = mapped;
	io->lba_status.ret_blocks = done;
	return BDEV_ST_OK;
}
