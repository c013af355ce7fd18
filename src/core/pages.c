/* SPDX-License-Identifier: BSD-3-Clause */
/* pages.c: refcounted pages that readers pin without a lock.
 *
 * A pool reserves address space for all pages and, beside it, for their headers, and opens both 2 MiB of pages at a
 * time; a header is found from an address by a shift. Headers lie apart from the pages so that eight of them
 * share a cache line and none shares one with data.
 *
 * The count of a page:  0            free, on a stack or in the store
 *                       FILLING      taken, not published yet: only its taker knows it
 *                       1 and more   one for each slot it is in and for each pin
 *
 * New memory has to be opened, and the system gives it when it is touched: on a virtual machine that may take the host
 * 5 ms for a large page, on others 100 to 200 us. A helper does both ahead of the reactors: for as much memory as is in
 * use, at most AHEAD_BYTES. The first arena is not touched ahead: a small disk stays small.
 */
#include "core/pages.h"

#include <errno.h>
#include <pthread.h>
#include <sys/mman.h>

#include "base/stream.h"
#include "core/reactor.h"

#define ARENA_BYTES (2u << 20)
#define AHEAD_BYTES (32u << 20)
#define STACK_PAGES 128u         /* free pages of one core ... */
#define STACK_BYTES (512u << 10) /* ... fewer when they are large */
#define KEEP_BYTES (8u << 20)    /* free memory of the store beyond which it goes back to the system */
#define FILLING UINT32_MAX
#define NONE UINT32_MAX

struct page_hdr {
	_Atomic uint32_t refs;
	uint32_t next;           /* free in the store: the next one */
};

#define HDRS_A_PAGE (PAGE_BYTES / sizeof(struct page_hdr))

struct stack {
	CACHE_ALIGNED _Atomic uint32_t count; /* written by its core; others read it for statistics */
	uint32_t at[STACK_PAGES];
};

struct store {
	pthread_mutex_t lock;
	uint32_t kept, bare;             /* lists of free pages: with memory, and without */
	_Atomic uint32_t kept_count, bare_count;
	_Atomic uint32_t made;           /* pages ever handed out */
	uint32_t open;                   /* pages whose address space is open */
	uint32_t ready;                  /* pages that were, or are being, touched ahead, or are in use */
	bool full;                       /* the system refused to open more; said once */
};

struct pages {
	char *first;                     /* page 0; a multiple of ARENA_BYTES, so that the system can use large pages */
	struct page_hdr *hdrs;
	const char *zero;
	uint32_t shift, max, keep;
	uint32_t stack_max, batch;       /* pages of a stack; half of it moves between a stack and the store at once */
	size_t base_bytes, hdrs_bytes;
	char *base;
	struct core *core;
	struct stack *stacks;            /* one per reactor, control last */
	struct ahead ahead;
	_Atomic int node;                /* of the CPU that wants them */
	_Atomic uint32_t expected;       /* pages that may be needed: none beyond is touched ahead */
	CACHE_ALIGNED struct store store;
};

static void *reserve(size_t bytes);
static bool open_ahead(struct ahead *a);
static uint32_t refill(struct pages *p, uint32_t *into, uint32_t want);
static void give(struct pages *p, uint32_t index);
static void store_give(struct pages *p, uint32_t *indices, uint32_t count);

struct pages *pages_make(struct core *core, uint32_t page_bytes, uint64_t max_pages, struct err *e)
{
	uint32_t stacks = core_reactor_count(core) + 1;
	/* What lies on other cores' stacks is free and yet out of reach: not counted against the limit. */
	uint64_t max = max_pages + (uint64_t)stacks * STACK_PAGES;
	struct pages *p;

	must(is_pow2(page_bytes) && page_bytes >= PAGE_BYTES && page_bytes <= PAGE_BYTES_MAX);
	max = min_u64(align_up(max, ARENA_BYTES / page_bytes), UINT32_MAX - ARENA_BYTES / PAGE_BYTES);
	p = base_zalloc_aligned(CACHE_LINE, sizeof(*p));
	p->core = core;
	p->shift = (uint32_t)__builtin_ctz(page_bytes);
	p->max = (uint32_t)max;
	p->keep = KEEP_BYTES / page_bytes;
	p->stack_max = max_u32(4, min_u32(STACK_PAGES, STACK_BYTES / page_bytes));
	p->batch = p->stack_max / 2;
	p->base_bytes = ((size_t)max << p->shift) + ARENA_BYTES;
	p->hdrs_bytes = align_up(max * sizeof(struct page_hdr), PAGE_BYTES);
	p->base = reserve(p->base_bytes);
	p->first = (char *)(((uintptr_t)p->base + ARENA_BYTES - 1) & ~(uintptr_t)(ARENA_BYTES - 1));
	p->hdrs = reserve(p->hdrs_bytes);
	p->zero = mmap(NULL, PAGES_ZERO_BYTES, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	pthread_mutex_init(&p->store.lock, NULL);
	p->store.kept = p->store.bare = NONE;
	p->ahead.step = open_ahead;
	p->stacks = base_zalloc_aligned(CACHE_LINE, stacks * sizeof(struct stack));
	if (!p->base || !p->hdrs || p->zero == MAP_FAILED) {
		pages_free(p);
		err_set(e, -ENOMEM, "no address space for %llu pages of %u bytes", (unsigned long long)max_pages,
		        page_bytes);
		return NULL;
	}
	return p;
}

/* Address space without memory, that counts against no limit. */
static void *reserve(size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

/* What was taken to be filled was published or came back: for those who look for leaks. */
UNUSED static inline bool any_filling(struct pages *p)
{
	uint32_t made = atomic_load(&p->store.made);

	for (uint32_t i = 0; i < made; i++)
		if (atomic_load_explicit(&p->hdrs[i].refs, memory_order_relaxed) == FILLING)
			return true;
	return false;
}

void pages_free(struct pages *p)
{
	if (!p)
		return;
	platform_ahead_end(p->core->platform, &p->ahead);
	assert(!any_filling(p));
	if (p->base)
		munmap(p->base, p->base_bytes);
	if (p->hdrs)
		munmap(p->hdrs, p->hdrs_bytes);
	if (p->zero != MAP_FAILED)
		munmap((void *)(uintptr_t)p->zero, PAGES_ZERO_BYTES);
	pthread_mutex_destroy(&p->store.lock);
	free(p->stacks);
	free(p);
}

void pages_expect(struct pages *p, uint64_t pages)
{
	atomic_store_explicit(&p->expected, (uint32_t)min_u64(pages, p->max), memory_order_relaxed);
}

const void *pages_zero(struct pages *p)
{
	return p->zero;
}

static inline void *page_at(const struct pages *p, uint32_t index)
{
	return p->first + ((size_t)index << p->shift);
}

static inline uint32_t index_of(const struct pages *p, const void *page)
{
	size_t offset = (size_t)((const char *)page - p->first);

	assert(offset >> p->shift < p->max);
	return (uint32_t)(offset >> p->shift);
}

static inline struct page_hdr *hdr_of(const struct pages *p, const void *page)
{
	return &p->hdrs[index_of(p, page)];
}

static inline struct stack *own_stack(struct pages *p)
{
	struct reactor *r = reactor_self();

	return r ? &p->stacks[reactor_index(r)] : NULL;
}

/* --- taking and publishing -------------------------------------------------------------------------------- */

void *page_take(struct pages *p)
{
	struct stack *s = own_stack(p);
	uint32_t index, count;

	if (unlikely(!s)) {
		if (!refill(p, &index, 1))
			return NULL;
	} else {
		count = atomic_load_explicit(&s->count, memory_order_relaxed);
		if (unlikely(!count)) {
			count = refill(p, s->at, p->batch);
			if (!count)
				return NULL;
		}
		index = s->at[--count];
		atomic_store_explicit(&s->count, count, memory_order_relaxed);
	}
	assert(atomic_load_explicit(&p->hdrs[index].refs, memory_order_relaxed) == 0);
	atomic_store_explicit(&p->hdrs[index].refs, FILLING, memory_order_relaxed);
	return page_at(p, index);
}

/* The release makes what was written into the page visible to whoever pins it. */
static void open_to_pins(struct pages *p, void *page)
{
	struct page_hdr *h = page ? hdr_of(p, page) : NULL;

	stream_done();
	if (h && atomic_load_explicit(&h->refs, memory_order_relaxed) == FILLING)
		atomic_store_explicit(&h->refs, 1, memory_order_release);
}

void *page_exchange(struct pages *p, page_slot *slot, void *page)
{
	open_to_pins(p, page);
	return atomic_exchange_explicit(slot, page, memory_order_acq_rel);
}

/* When it fails the page stays open: it can be filled anew all the same, because who pins it meanwhile, knowing it
 * from its last life, reads nothing before it has found it in the slot. */
bool page_replace(struct pages *p, page_slot *slot, void *expected, void *page)
{
	open_to_pins(p, page);
	return atomic_compare_exchange_strong_explicit(slot, &expected, page, memory_order_acq_rel,
	                                               memory_order_acquire);
}

void *page_pin_slot(struct pages *p, page_slot *slot)
{
	void *page;

	while ((page = atomic_load_explicit(slot, memory_order_acquire))) {
		struct page_hdr *h = hdr_of(p, page);
		uint32_t refs = atomic_load_explicit(&h->refs, memory_order_relaxed);

		while (refs != 0 && refs != FILLING) {
			if (!atomic_compare_exchange_weak_explicit(&h->refs, &refs, refs + 1, memory_order_acquire,
			                                           memory_order_relaxed))
				continue;
			if (likely(atomic_load_explicit(slot, memory_order_acquire) == page))
				return page;
			page_unpin(p, page); /* it left the slot meanwhile, and may be published elsewhere */
			break;
		}
	}
	return NULL;
}

const void *page_prefetch(struct pages *p, page_slot *slot)
{
	const void *page = atomic_load_explicit(slot, memory_order_relaxed);

	if (page)
		__builtin_prefetch(hdr_of(p, page), 1);
	return page;
}

static inline bool is_zero(const struct pages *p, const void *page)
{
	return (uintptr_t)page - (uintptr_t)p->zero < PAGES_ZERO_BYTES;
}

void page_unpin(struct pages *p, void *page)
{
	struct page_hdr *h;

	if (!page || is_zero(p, page))
		return;
	h = hdr_of(p, page);
	if (atomic_load_explicit(&h->refs, memory_order_relaxed) == FILLING)
		atomic_store_explicit(&h->refs, 0, memory_order_relaxed); /* never published: nobody else can see it */
	else if (atomic_fetch_sub_explicit(&h->refs, 1, memory_order_acq_rel) != 1)
		return;
	give(p, (uint32_t)(h - p->hdrs));
}

void page_unpin_run(struct pages *p, const void *at, uint64_t len)
{
	uint32_t first, last;

	if (is_zero(p, at) || !len)
		return;
	first = index_of(p, at);
	last = index_of(p, (const char *)at + len - 1);
	for (uint32_t i = first; i <= last; i++)
		page_unpin(p, page_at(p, i));
}

/* --- free pages ------------------------------------------------------------------------------------------- */

static void give(struct pages *p, uint32_t index)
{
	struct stack *s = own_stack(p);
	uint32_t count;

	if (unlikely(!s)) {
		store_give(p, &index, 1);
		return;
	}
	count = atomic_load_explicit(&s->count, memory_order_relaxed);
	if (unlikely(count == p->stack_max)) { /* the oldest half goes: it is the coldest */
		uint32_t batch[STACK_PAGES / 2];

		memcpy(batch, s->at, p->batch * sizeof(batch[0]));
		count -= p->batch;
		memmove(s->at, s->at + p->batch, count * sizeof(s->at[0]));
		atomic_store_explicit(&s->count, count, memory_order_relaxed);
		store_give(p, batch, p->batch);
	}
	s->at[count] = index;
	atomic_store_explicit(&s->count, count + 1, memory_order_relaxed);
}

static void push(struct pages *p, uint32_t *list, _Atomic uint32_t *length, const uint32_t *indices, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		p->hdrs[indices[i]].next = *list;
		*list = indices[i];
	}
	atomic_fetch_add_explicit(length, count, memory_order_relaxed);
}

static uint32_t pop(struct pages *p, uint32_t *list, _Atomic uint32_t *length, uint32_t *into, uint32_t want)
{
	uint32_t got = 0;

	for (; got < want && *list != NONE; got++) {
		into[got] = *list;
		*list = p->hdrs[*list].next;
	}
	atomic_fetch_sub_explicit(length, got, memory_order_relaxed);
	for (uint32_t i = 0, j = got; i + 1 < j; i++) { /* `into` is taken from its end: last in, first out */
		uint32_t index = into[i];

		into[i] = into[--j];
		into[j] = index;
	}
	return got;
}

static int by_value(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

/* Neighbours go back to the system in one call. */
static void return_memory(struct pages *p, uint32_t *indices, uint32_t count)
{
	qsort(indices, count, sizeof(indices[0]), by_value);
	for (uint32_t i = 0, n; i < count; i += n) {
		for (n = 1; i + n < count && indices[i + n] == indices[i] + n; n++)
			;
		madvise(page_at(p, indices[i]), (size_t)n << p->shift, MADV_DONTNEED);
	}
}

static void store_give(struct pages *p, uint32_t *indices, uint32_t count)
{
	struct store *s = &p->store;
	uint32_t kept;

	pthread_mutex_lock(&s->lock);
	kept = atomic_load_explicit(&s->kept_count, memory_order_relaxed);
	kept = kept < p->keep ? min_u32(count, p->keep - kept) : 0;
	push(p, &s->kept, &s->kept_count, indices, kept);
	pthread_mutex_unlock(&s->lock);
	if (kept == count)
		return;
	return_memory(p, indices + kept, count - kept); /* before anybody else can take them */
	pthread_mutex_lock(&s->lock);
	push(p, &s->bare, &s->bare_count, indices + kept, count - kept);
	pthread_mutex_unlock(&s->lock);
}

/* Open the next arenas' pages and headers. The first one stays of small pages: a small disk stays small. */
static bool open_arenas(struct pages *p, uint32_t count)
{
	struct store *s = &p->store;
	uint32_t more = count * (ARENA_BYTES >> p->shift);
	size_t bytes = (size_t)count * ARENA_BYTES;
	char *hdrs = (char *)p->hdrs;
	size_t hdrs_open = align_up((uint64_t)s->open * sizeof(struct page_hdr), PAGE_BYTES);
	size_t hdrs_want = align_up((uint64_t)(s->open + more) * sizeof(struct page_hdr), PAGE_BYTES);

	if (!count || more > p->max - s->open)
		return false;
	if (hdrs_want > hdrs_open && mprotect(hdrs + hdrs_open, hdrs_want - hdrs_open, PROT_READ | PROT_WRITE) != 0)
		return false;
	if (mprotect(page_at(p, s->open), bytes, PROT_READ | PROT_WRITE) != 0)
		return false;
	if (s->open)
		madvise(page_at(p, s->open), bytes, MADV_HUGEPAGE);
	s->open += more;
	return true;
}

/* Up to here memory should be ready: as much again as is in use. In whole arenas. */
static uint32_t ahead_goal(const struct pages *p, uint32_t made)
{
	uint32_t arena = ARENA_BYTES >> p->shift;
	uint32_t expected = atomic_load_explicit(&p->expected, memory_order_relaxed);
	uint64_t goal = min_u64(made + (uint64_t)min_u32(made, AHEAD_BYTES >> p->shift), expected);

	return (uint32_t)min_u64(align_up(goal, arena), p->max / arena * arena);
}

/* Half of it is gone. Not for the first arena. */
static bool wants_ahead(const struct pages *p, uint32_t made)
{
	uint32_t arena = ARENA_BYTES >> p->shift, goal = ahead_goal(p, made);

	return made >= arena && goal > max_u32(made, p->store.ready) &&
	       p->store.ready - min_u32(made, p->store.ready) <= (goal - made) / 2;
}

/* A helper's step: open what there is to open, which takes microseconds, and touch one arena of it without the lock. An
 * arena that has been begun is left to its users. */
static bool open_ahead(struct ahead *a)
{
	struct pages *p = container_of(a, struct pages, ahead);
	struct store *s = &p->store;
	uint32_t arena = ARENA_BYTES >> p->shift, made, goal, at;

	pthread_mutex_lock(&s->lock);
	made = atomic_load_explicit(&s->made, memory_order_relaxed);
	goal = ahead_goal(p, made);
	if (goal > s->open)
		open_arenas(p, (goal - s->open) / arena);
	at = max_u32(s->ready, (uint32_t)align_up(made, arena));
	goal = min_u32(goal, s->open);
	s->ready = max_u32(s->ready, min_u32(at + arena, goal));
	pthread_mutex_unlock(&s->lock);
	if (at >= goal)
		return false;
	core_prefer_node(p->core, p->node);
	platform_populate(p->hdrs + at / HDRS_A_PAGE * HDRS_A_PAGE, PAGE_BYTES); /* those of 2 MiB of small pages */
	platform_populate(page_at(p, at), ARENA_BYTES);
	core_prefer_node(p->core, -1);
	return true;
}

/* Up to `want` free pages: those with memory first, then new ones, whose memory is in large pages. The last of
 * `into` is taken first: new pages come in rising order, so that what is written in order can be lent in one piece. */
static uint32_t refill(struct pages *p, uint32_t *into, uint32_t want)
{
	struct store *s = &p->store;
	bool ahead = false;
	uint32_t got, made;

	pthread_mutex_lock(&s->lock);
	got = pop(p, &s->kept, &s->kept_count, into, want);
	if (!got)
		got = pop(p, &s->bare, &s->bare_count, into, want);
	made = atomic_load_explicit(&s->made, memory_order_relaxed);
	if (!got && (made < s->open || open_arenas(p, 1))) {
		got = min_u32(want, s->open - made);
		for (uint32_t i = 0; i < got; i++)
			into[i] = made + got - 1 - i;
		atomic_store_explicit(&s->made, made + got, memory_order_relaxed);
		ahead = wants_ahead(p, made + got);
	}
	pthread_mutex_unlock(&s->lock);
	if (ahead && reactor_self()) {
		p->node = reactor_node(reactor_self());
		platform_ahead(p->core->platform, &p->ahead);
	}
	return got;
}

void pages_get_stats(struct pages *p, struct pages_stats *ret_stats)
{
	uint64_t kept = atomic_load_explicit(&p->store.kept_count, memory_order_relaxed);
	uint64_t bare = atomic_load_explicit(&p->store.bare_count, memory_order_relaxed);
	uint64_t made = atomic_load_explicit(&p->store.made, memory_order_relaxed);

	for (uint32_t i = 0; i <= core_reactor_count(p->core); i++)
		kept += atomic_load_explicit(&p->stacks[i].count, memory_order_relaxed);
	ret_stats->kept = kept;
	ret_stats->returned = bare;
	ret_stats->in_use = made > kept + bare ? made - kept - bare : 0;
	ret_stats->max = p->max;
}

/* --- tables ----------------------------------------------------------------------------------------------- */

int page_table_init(struct page_table *t, uint64_t count, uint64_t max, struct err *e)
{
	int rc;

	*t = (struct page_table){ .max = max };
	t->slots = reserve(align_up(max * sizeof(page_slot), PAGE_BYTES));
	if (!t->slots)
		return err_set(e, -ENOMEM, "no address space for a table of %llu pages", (unsigned long long)max);
	rc = page_table_grow(t, count, e);
	if (rc != 0)
		page_table_fini(t);
	return rc;
}

int page_table_grow(struct page_table *t, uint64_t count, struct err *e)
{
	if (count <= t->count)
		return 0;
	if (count > t->max)
		return err_set(e, -ENOSPC, "a table made for at most %llu pages cannot grow to %llu",
		               (unsigned long long)t->max, (unsigned long long)count);
	if (mprotect(t->slots, align_up(count * sizeof(page_slot), PAGE_BYTES), PROT_READ | PROT_WRITE) != 0)
		return err_set(e, -ENOMEM, "no memory for a table of %llu pages: %s", (unsigned long long)count,
		               strerror(errno));
	t->count = count;
	return 0;
}

void page_table_fini(struct page_table *t)
{
	if (t->slots)
		munmap(t->slots, align_up(t->max * sizeof(page_slot), PAGE_BYTES));
	*t = (struct page_table){ 0 };
}
