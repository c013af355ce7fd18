/* SPDX-License-Identifier: BSD-3-Clause */
/* mem.c: the budget, and a pool of small and large buffers per reactor.
 *
 * A pool is one mapping, untouched until a buffer of it is used, and buffers that came back are used again
 * first: memory in use follows the load. The last buffers, enough for one I/O of maximum size, are kept for
 * the head of the line, one such I/O at a time: whoever waits gets on, whatever the others hold.
 */
#include <errno.h>
#include <sys/mman.h>

#include "base/text.h"
#include "core/mem.h"
#include "core/reactor.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WITH_ASAN
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define WITH_ASAN
#endif

/* A buffer that nobody holds must not be touched: AddressSanitizer watches over it. */
#ifdef WITH_ASAN
#include <sanitizer/asan_interface.h>
#define poison(p, len) ASAN_POISON_MEMORY_REGION(p, len)
#define unpoison(p, len) ASAN_UNPOISON_MEMORY_REGION(p, len)
#else
#define poison(p, len) ((void)(p))
#define unpoison(p, len) ((void)(p))
#endif

#define RESERVE_LARGE (MEM_IO_BYTES_MAX / MEM_LARGE_BYTES)
#define RESERVE_SMALL 17u      /* a tail of up to 32 KiB, several times over, and an array of iovecs */
#define TAIL_MAX (MEM_LARGE_BYTES / 2) /* longer tails take one more large buffer */

/* The budget's parts: data buffers, the rest for mem_charge(); and of a pool's bytes, those in small buffers. */
#define BUFFERS_OF_BUDGET(bytes) ((bytes) / 8 * 5)
#define SMALL_OF_POOL(bytes) ((bytes) / 4)
/* A little beside the reserve, so that short I/O does not wait for its turn with the longest. */
#define BESIDE_LARGE 4u
#define LARGE_MIN ((RESERVE_LARGE + BESIDE_LARGE) * MEM_LARGE_BYTES)
#define POOL_BYTES_MIN (LARGE_MIN + 2 * RESERVE_SMALL * MEM_SMALL_BYTES)

/* Buffers of one size: a stack of those that came back, above it those never used. */
struct stack {
	uint8_t *base;
	uint32_t *back;
	uint32_t back_count, fresh, total, free; /* fresh: number of the first one never used */
};

struct mem_pool {
	struct mem_region region;
	void *map;
	size_t map_len;
	struct stack small, large;
	bool dipped;                /* the reserve is, in part, with someone from the line */
	struct waitq line;
	uint32_t takes;             /* for mem_starve() */
	uint64_t in_use, in_use_max, waits_small, waits_large; /* relaxed: one writer */
};

struct mem {
	uint64_t budget, buffers, charges; /* the zeroes are the rest */
	struct mem_region zeroes;
	_Atomic uint64_t charged;
	_Atomic uint32_t starve;
	struct list regions, hooks; /* control only */
	uint32_t last_id;
};

/* What a request of some length takes. */
struct plan {
	uint32_t large, small;      /* small: the array of iovecs too */
	uint32_t iovs;
};

/* --- set-up -------------------------------------------------------------------------------------- */

static int zeroes_make(struct mem *m, struct err *e);
static struct mem_pool *pool_make(uint64_t bytes, struct err *e);
static void pool_free(struct mem_pool *p);
static bool line_ready(struct waitq *q, uint32_t need);

int mem_init(struct core *core, struct err *e)
{
	struct mem *m = core->mem = base_zalloc(sizeof(*m));
	uint64_t pool_bytes;

	list_init(&m->regions);
	list_init(&m->hooks);
	m->budget = core->opts.memory_bytes;
	m->buffers = BUFFERS_OF_BUDGET(m->budget);
	m->charges = m->budget - m->buffers - min_u64(m->budget - m->buffers, MEM_ZEROES_BYTES);
	if (m->buffers / (core->count + 1) < POOL_BYTES_MIN) {
		char have[32], need[32];

		return err_set(e, ERR_BAD_PARAM, "memory: %s is too little for %u reactors; give at least %s",
		               text_size(m->budget, have), core->count,
		               text_size((core->count + 1) * POOL_BYTES_MIN / 5 * 8 + MIB, need));
	}
	if (zeroes_make(m, e))
		return -ENOMEM;
	/* control has little to do with data */
	pool_bytes = (m->buffers - POOL_BYTES_MIN) / core->count;
	for (uint32_t i = 0; i <= core->count; i++) {
		struct reactor *r = core->reactors[i];

		core_prefer_node(core, reactor_node(r));
		r->mem = pool_make(i < core->count ? pool_bytes : POOL_BYTES_MIN, e);
		core_prefer_node(core, -1);
		if (!r->mem)
			return -ENOMEM;
		if (core->topology.nodes > 1)
			platform_bind_memory(r->mem->map, r->mem->map_len, reactor_node(r));
		r->mem->region.id = ++m->last_id;
		r->mem->region.of_buffers = true;
		list_add_tail(&m->regions, &r->mem->region.link);
	}
	return 0;
}

/* No memory is behind it, but for who locks it there. */
static int zeroes_make(struct mem *m, struct err *e)
{
	void *map = mmap(NULL, MEM_ZEROES_BYTES, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (map == MAP_FAILED)
		return err_set(e, -ENOMEM, "memory: no address space for zeroes: %s (see ulimit -v)", strerror(errno));
	m->zeroes = (struct mem_region){ .base = map, .len = MEM_ZEROES_BYTES, .id = ++m->last_id, .of_buffers = true };
	list_add_tail(&m->regions, &m->zeroes.link);
	return 0;
}

static void stack_init(struct stack *s, uint8_t *base, uint32_t total)
{
	s->base = base;
	s->total = s->free = total;
	s->back = base_zalloc(total * sizeof(s->back[0]));
}

static struct mem_pool *pool_make(uint64_t bytes, struct err *e)
{
	struct mem_pool *p = base_zalloc(sizeof(*p));
	uint64_t spare = bytes - LARGE_MIN;
	uint32_t small = (uint32_t)(min_u64(SMALL_OF_POOL(bytes), spare) / MEM_SMALL_BYTES);
	uint32_t large = (uint32_t)((bytes - (uint64_t)small * MEM_SMALL_BYTES) / MEM_LARGE_BYTES);
	uint8_t *base;

	p->region.len = (size_t)large * MEM_LARGE_BYTES + (size_t)small * MEM_SMALL_BYTES;
	p->map_len = p->region.len + MEM_LARGE_BYTES;
	p->map = mmap(NULL, p->map_len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p->map == MAP_FAILED) {
		char text[32];

		err_set(e, -errno, "memory: cannot map %s of address space for buffers: %s (see ulimit -v)",
		        text_size(p->map_len, text), strerror(errno));
		free(p);
		return NULL;
	}
	base = (uint8_t *)align_up((uintptr_t)p->map, MEM_LARGE_BYTES);
	p->region.base = base;
	stack_init(&p->large, base, large);
	stack_init(&p->small, base + (size_t)large * MEM_LARGE_BYTES, small);
	poison(base, p->region.len);
	waitq_init(&p->line, "data buffers", line_ready);
	return p;
}

void mem_fini(struct core *core)
{
	for (uint32_t i = 0; i <= core->count; i++)
		if (core->reactors[i])
			pool_free(core->reactors[i]->mem);
	if (core->mem && core->mem->zeroes.base)
		munmap(core->mem->zeroes.base, MEM_ZEROES_BYTES);
	free(core->mem);
}

static void pool_free(struct mem_pool *p)
{
	if (!p)
		return;
	unpoison(p->region.base, p->region.len);
	munmap(p->map, p->map_len);
	free(p->small.back);
	free(p->large.back);
	free(p);
}

/* --- take ---------------------------------------------------------------------------------------- */

static bool plan_for(struct mem_pool *p, uint32_t len, bool dip, struct plan *ret_plan);
static void carry_out(struct mem_pool *p, struct mem_bufs *b, const struct plan *plan);
static bool starved(struct mem_pool *p);
static inline bool take_small(struct mem_pool *p, struct mem_bufs *b, uint32_t len);

bool mem_take(struct mem_bufs *b, uint32_t len)
{
	struct mem_pool *p = reactor_current->mem;
	bool granted = p->line.granting;
	struct plan plan;

	assert(len && len <= MEM_IO_BYTES_MAX);
	p->line.granting = false; /* one take per grant */
	if (!granted && unlikely(!list_empty(&p->line.waiters) || starved(p)))
		return false;
	b->owner = reactor_current;
	b->len = len;
	if (likely(take_small(p, b, len)))
		return true;
	b->count = 0;
	if (!plan_for(p, len, granted && !p->dipped, &plan))
		return false;
	carry_out(p, b, &plan);
	if (p->large.free < RESERVE_LARGE || p->small.free < RESERVE_SMALL)
		p->dipped = true;
	return true;
}

static bool starved(struct mem_pool *p)
{
	uint32_t nth = atomic_load_explicit(&reactor_current->core->mem->starve, memory_order_relaxed);

	return nth && ++p->takes % nth == 0;
}

static struct plan plan_of(uint32_t large, uint32_t tail)
{
	struct plan plan = { .large = large, .small = (tail + MEM_SMALL_BYTES - 1) / MEM_SMALL_BYTES };

	plan.iovs = plan.large + plan.small;
	plan.small += plan.iovs > MEM_IOV_NEAR;
	return plan;
}

static bool fits(const struct mem_pool *p, const struct plan *plan, bool dip)
{
	uint32_t keep_large = dip ? 0 : RESERVE_LARGE, keep_small = dip ? 0 : RESERVE_SMALL;

	/* what is not taken need not be there */
	return (!plan->large || plan->large + keep_large <= p->large.free) &&
	       (!plan->small || plan->small + keep_small <= p->small.free);
}

/* Large buffers and a tail of small ones; or, when small ones are out, one more large one. */
static bool plan_for(struct mem_pool *p, uint32_t len, bool dip, struct plan *ret_plan)
{
	uint32_t large = len / MEM_LARGE_BYTES, tail = len % MEM_LARGE_BYTES;

	if (tail <= TAIL_MAX) {
		*ret_plan = plan_of(large, tail);
		if (fits(p, ret_plan, dip))
			return true;
		if (!tail)
			return false;
	}
	*ret_plan = plan_of(large + 1, 0);
	return fits(p, ret_plan, dip);
}

static void *stack_pop(struct stack *s, uint32_t size)
{
	uint32_t n = s->back_count ? s->back[--s->back_count] : s->fresh++;
	uint8_t *buf = s->base + (size_t)n * size;

	assert(s->free && n < s->total);
	s->free--;
	unpoison(buf, size);
	return buf;
}

/* One small buffer, with more there than is kept for who is granted something: nearly always. */
static inline bool take_small(struct mem_pool *p, struct mem_bufs *b, uint32_t len)
{
	if (len > MEM_SMALL_BYTES || p->small.free <= RESERVE_SMALL)
		return false;
	b->near[0] = (struct iovec){ stack_pop(&p->small, MEM_SMALL_BYTES), len };
	b->count = 1;
	stat_add(&p->in_use, MEM_SMALL_BYTES);
	stat_max(&p->in_use_max, stat_get(&p->in_use));
	return true;
}

static void carry_out(struct mem_pool *p, struct mem_bufs *b, const struct plan *plan)
{
	uint32_t left = b->len, i = 0;
	struct iovec *iov = b->near;

	if (plan->iovs > MEM_IOV_NEAR)
		iov = b->far = stack_pop(&p->small, MEM_SMALL_BYTES);
	for (; i < plan->large; i++, left -= (uint32_t)iov[i - 1].iov_len)
		iov[i] = (struct iovec){ stack_pop(&p->large, MEM_LARGE_BYTES), min_u32(left, MEM_LARGE_BYTES) };
	for (; i < plan->iovs; i++, left -= (uint32_t)iov[i - 1].iov_len)
		iov[i] = (struct iovec){ stack_pop(&p->small, MEM_SMALL_BYTES), min_u32(left, MEM_SMALL_BYTES) };
	assert(!left);
	b->count = plan->iovs;
	stat_add(&p->in_use, (uint64_t)plan->large * MEM_LARGE_BYTES + (uint64_t)plan->small * MEM_SMALL_BYTES);
	stat_max(&p->in_use_max, stat_get(&p->in_use));
}

/* --- wait ---------------------------------------------------------------------------------------- */

void mem_wait(struct wait *w, uint32_t len, wait_fn *fn)
{
	struct mem_pool *p = reactor_current->mem;

	assert(len && len <= MEM_IO_BYTES_MAX);
	waitq_add(&p->line, w, len, fn);
	stat_add(len <= MEM_SMALL_BYTES ? &p->waits_small : &p->waits_large, 1);
	waitq_wake(&p->line); /* the head of the line may have the reserve */
}

void mem_wait_cancel(struct wait *w)
{
	waitq_remove(&reactor_current->mem->line, w);
}

static bool line_ready(struct waitq *q, uint32_t need)
{
	struct mem_pool *p = container_of(q, struct mem_pool, line);
	struct plan plan;

	return plan_for(p, need, !p->dipped, &plan);
}

/* --- give ---------------------------------------------------------------------------------------- */

/* Lies in the first buffer of those that go home to another reactor. */
struct carrier {
	struct msg msg;
	struct mem_bufs bufs;
};

static void give_here(struct mem_pool *p, struct mem_bufs *b);
static inline void give_one(struct mem_pool *p, void *buf);

static void carrier_on_core(struct msg *m)
{
	struct mem_bufs bufs = container_of(m, struct carrier, msg)->bufs;

	give_here(reactor_current->mem, &bufs);
}

void mem_give(struct mem_bufs *b)
{
	struct carrier *c;

	if (!b->count)
		return;
	if (likely(b->owner == reactor_current)) {
		if (b->count == 1)
			give_one(b->owner->mem, b->near[0].iov_base);
		else
			give_here(b->owner->mem, b);
	} else {
		c = mem_iov(b)[0].iov_base;
		c->bufs = *b;
		msg_send(b->owner, &c->msg, carrier_on_core);
	}
	b->count = 0;
}

static uint32_t stack_push(struct stack *s, void *buf, uint32_t size)
{
	uint32_t n = (uint32_t)((size_t)((uint8_t *)buf - s->base) / size);

	assert(n < s->fresh && s->back_count < s->fresh);
	poison(buf, size);
	s->back[s->back_count++] = n;
	s->free++;
	return size;
}

static uint32_t buffer_give(struct mem_pool *p, void *buf)
{
	return (uint8_t *)buf < p->small.base ? stack_push(&p->large, buf, MEM_LARGE_BYTES)
	                                      : stack_push(&p->small, buf, MEM_SMALL_BYTES);
}

static inline void gave(struct mem_pool *p, uint64_t bytes)
{
	stat_add(&p->in_use, -bytes);
	if (unlikely(p->dipped) && p->large.free >= RESERVE_LARGE && p->small.free >= RESERVE_SMALL)
		p->dipped = false;
	if (unlikely(!list_empty(&p->line.waiters)))
		waitq_wake(&p->line);
}

static inline void give_one(struct mem_pool *p, void *buf) { gave(p, buffer_give(p, buf)); }

static void give_here(struct mem_pool *p, struct mem_bufs *b)
{
	struct iovec *iov = mem_iov(b);
	uint64_t bytes = 0;

	/* the last taken comes first next time, and its array of iovecs lives until all are back */
	for (uint32_t i = b->count; i-- > 0;)
		bytes += buffer_give(p, iov[i].iov_base);
	if (b->count > MEM_IOV_NEAR)
		bytes += buffer_give(p, b->far);
	gave(p, bytes);
}

/* --- accounts ------------------------------------------------------------------------------------ */

const struct mem_region *mem_region_self(void) { return &reactor_current->mem->region; }
const struct mem_region *mem_zeroes(const struct core *core) { return &core->mem->zeroes; }

void mem_get_stats(struct core *core, struct mem_stats *ret_stats)
{
	struct mem *m = core->mem;

	*ret_stats = (struct mem_stats){
		.budget_bytes = m->budget, .buffers_bytes = m->buffers, .charge_bytes_max = m->charges,
		.charged_bytes = atomic_load(&m->charged),
	};
	for (uint32_t i = 0; i <= core->count; i++) {
		struct mem_pool *p = core->reactors[i]->mem;

		ret_stats->in_use_bytes += stat_get(&p->in_use);
		ret_stats->in_use_bytes_max += stat_get(&p->in_use_max);
		ret_stats->waits_small += stat_get(&p->waits_small);
		ret_stats->waits_large += stat_get(&p->waits_large);
		ret_stats->waiting += stat_get(&p->line.depth);
	}
	ret_stats->waits = ret_stats->waits_small + ret_stats->waits_large;
}

bool mem_charge(struct core *core, uint64_t bytes)
{
	struct mem *m = core->mem;
	uint64_t before = atomic_load(&m->charged);

	do
		if (bytes > m->charges || before > m->charges - bytes)
			return false;
	while (!atomic_compare_exchange_weak(&m->charged, &before, before + bytes));
	return true;
}

void mem_uncharge(struct core *core, uint64_t bytes)
{
	uint64_t before = atomic_fetch_sub(&core->mem->charged, bytes);

	must(before >= bytes);
}

void mem_starve(struct core *core, uint32_t every_nth)
{
	atomic_store(&core->mem->starve, every_nth);
}

/* --- regions ------------------------------------------------------------------------------------- */

void mem_hook_add(struct core *core, struct mem_hook *h)
{
	list_add_tail(&core->mem->hooks, &h->link);
	list_each(l, &core->mem->regions)
		h->added(h, list_entry(l, struct mem_region, link));
}

void mem_hook_remove(struct core *core, struct mem_hook *h)
{
	list_del(&h->link);
	list_each(l, &core->mem->regions)
		h->removed(h, list_entry(l, struct mem_region, link));
}

void mem_region_add(struct core *core, struct mem_region *r)
{
	r->id = ++core->mem->last_id;
	list_add_tail(&core->mem->regions, &r->link);
	list_each(l, &core->mem->hooks) {
		struct mem_hook *h = list_entry(l, struct mem_hook, link);

		h->added(h, r);
	}
}

void mem_region_remove(struct core *core, struct mem_region *r)
{
	list_each(l, &core->mem->hooks) {
		struct mem_hook *h = list_entry(l, struct mem_hook, link);

		h->removed(h, r);
	}
	list_del(&r->link);
}
