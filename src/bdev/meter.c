/* SPDX-License-Identifier: BSD-3-Clause */
/* meter.c: latencies per operation and the depth of the queue, both off until asked for.
 *
 * Latencies: every core that is told to gets a tally, and answers are counted in it while the waist runs their done
 * functions; without one, a batch of answers looks at one pointer. Where an I/O begins and ends within one pass the
 * time of the pass would say that it took none, so a batch reads the clock.
 *
 * Depth: while it is metered I/Os take the long way (bdev_waist.h), and each core sums depth times time whenever the
 * depth changes. How long the device had anything to do at all is one word for all cores, touched when a core begins
 * or ends to be busy: time in nanoseconds, which wraps after four years, above the number of busy cores.
 */
#include "bdev/meter.h"
#include "bdev/bdev_waist.h"

#define BUSY_BITS 7u
_Static_assert(CORE_REACTORS_MAX + 1 < 1u << BUSY_BITS, "busy cores are counted in them");

static void set_on_core(struct each *e);
static void set_done(struct each *e);

static struct bdev_core *core_here(struct bdev *b)
{
	return &b->cores[reactor_index(reactor_self())];
}

static void visit(struct bdev *b, struct bdev_meter_call *c, void (*here)(struct bdev_core *core),
                  void (*done)(struct bdev_meter_call *c))
{
	c->bdev = b;
	c->here = here;
	c->done = done;
	b->holds++;
	each_core(&c->each, b->reg->core, set_on_core, set_done);
}

static void set_on_core(struct each *e)
{
	struct bdev_meter_call *c = container_of(e, struct bdev_meter_call, each);

	c->here(core_here(c->bdev));
}

static void set_done(struct each *e)
{
	struct bdev_meter_call *c = container_of(e, struct bdev_meter_call, each);
	struct bdev *b = c->bdev;

	c->here(core_here(b)); /* control's own share */
	c->done(c);
	b->holds--;
	bdev_try_destroy(b);
}

/* --- latencies -------------------------------------------------------------------------------------------- */

static void tally_here(struct bdev_core *core)
{
	uint32_t ops = core->bdev->hist_ops;

	free(core->tally);
	core->tally = NULL;
	if (!ops)
		return;
	core->tally = base_zalloc(sizeof(*core->tally)); /* large: only what is counted in is ever touched */
	core->tally->ops = ops;
}

void bdev_hist_set(struct bdev *b, uint32_t ops, struct bdev_meter_call *c, void (*done)(struct bdev_meter_call *c))
{
	b->hist_ops = ops;
	visit(b, c, tally_here, done);
}

static void read_here(struct bdev_hist_read *r)
{
	struct bdev_core *core = core_here(r->bdev);

	if (!core->tally)
		return;
	for (uint32_t op = 0; op < BDEV_OP_COUNT; op++)
		if (core->tally->ops & 1u << op)
			memcpy(r->per_core[core->index][op], core->tally->count[op], sizeof(core->tally->count[op]));
}

static void read_on_core(struct each *e)
{
	read_here(container_of(e, struct bdev_hist_read, each));
}

static void hist_add_many(struct hist *h, uint32_t bucket, uint64_t count)
{
	uint64_t floor = hist_bucket_floor(bucket);
	uint64_t top = bucket + 1 < HIST_BUCKETS ? hist_bucket_floor(bucket + 1) - 1 : UINT64_MAX;

	if (!count)
		return;
	if (!h->count)
		h->min = floor;
	h->min = min_u64(h->min, floor);
	h->max = max_u64(h->max, top);
	h->count += count;
	h->sum += count * (floor + (top - floor) / 2);
	h->bucket[bucket] += count;
}

static void read_done(struct each *e)
{
	struct bdev_hist_read *r = container_of(e, struct bdev_hist_read, each);
	struct bdev *b = r->bdev;
	uint32_t cores = core_reactor_count(b->reg->core) + 1;

	read_here(r);
	for (uint32_t i = 0; i < cores; i++)
		for (uint32_t op = 0; op < BDEV_OP_COUNT; op++)
			for (uint32_t k = 0; r->ops & 1u << op && k < HIST_BUCKETS; k++)
				hist_add_many(&r->hist[op], k, r->per_core[i][op][k]);
	free(r->per_core);
	r->per_core = NULL;
	r->done(r);
	b->holds--;
	bdev_try_destroy(b);
}

void bdev_hist_get(struct bdev *b, struct bdev_hist_read *r, void (*done)(struct bdev_hist_read *r))
{
	uint32_t cores = core_reactor_count(b->reg->core) + 1;

	r->bdev = b;
	r->ops = b->hist_ops;
	memset(r->hist, 0, sizeof(r->hist));
	r->per_core = base_zalloc(cores * sizeof(*r->per_core));
	r->done = done;
	b->holds++;
	each_core(&r->each, b->reg->core, read_on_core, read_done);
}

/* --- depth ------------------------------------------------------------------------------------------------ */

static void depth_here(struct bdev_core *core)
{
	core->depth.area_ns = 0;
	core->depth.since_ns = reactor_now_ns();
	bdev_core_long_way(core, LONG_DEPTH, core->bdev->depth_period_us != 0);
}

/* The device's time starts from zero: busy cores stay counted. */
static void busy_forget(struct bdev *b)
{
	uint64_t count = atomic_load(&b->busy) & ((1u << BUSY_BITS) - 1);
	uint64_t since_ns = count ? (0 - reactor_now_ns()) << BUSY_BITS : 0, was = atomic_load(&b->busy);

	while (!atomic_compare_exchange_weak(&b->busy, &was, since_ns | count)) {
		count = was & ((1u << BUSY_BITS) - 1);
		since_ns = count ? (0 - reactor_now_ns()) << BUSY_BITS : 0;
	}
}

void bdev_depth_set(struct bdev *b, uint64_t period_us, struct bdev_meter_call *c,
                    void (*done)(struct bdev_meter_call *c))
{
	if (!b->depth_period_us)
		busy_forget(b);
	b->depth_period_us = period_us;
	visit(b, c, depth_here, done);
}

/* The first busy core takes the time off, the last one adds it. */
static void busy_change(struct bdev *b, bool begins)
{
	uint64_t was = atomic_load(&b->busy), is, time_ns = reactor_now_ns() << BUSY_BITS;

	do {
		uint64_t count = was & ((1u << BUSY_BITS) - 1);

		is = begins ? was + 1 : was - 1;
		if (begins && count == 0)
			is -= time_ns;
		else if (!begins && count == 1)
			is += time_ns;
	} while (!atomic_compare_exchange_weak(&b->busy, &was, is));
}

static void depth_pass(struct bdev_depth *d)
{
	uint64_t now_ns = reactor_now_ns();

	d->area_ns += d->in_flight * (now_ns - d->since_ns);
	d->since_ns = now_ns;
}

void bdev_depth_enter(struct bdev_core *core, struct bdev_io *io)
{
	io->waist |= WAIST_METERED;
	depth_pass(&core->depth);
	if (core->depth.in_flight++ == 0)
		busy_change(core->bdev, true);
}

void bdev_depth_leave(struct bdev_core *core)
{
	depth_pass(&core->depth);
	if (--core->depth.in_flight == 0)
		busy_change(core->bdev, false);
}

uint64_t bdev_depth_area_here(struct bdev_core *core)
{
	depth_pass(&core->depth);
	return core->depth.area_ns;
}

uint64_t bdev_busy_ns(const struct bdev *b)
{
	uint64_t busy = atomic_load(&b->busy), time_ns = reactor_now_ns();
	bool now = busy & ((1u << BUSY_BITS) - 1);

	busy = ((busy >> BUSY_BITS) + (now ? time_ns : 0)) & (UINT64_MAX >> BUSY_BITS);
	return busy >> (63 - BUSY_BITS) ? 0 : busy; /* cores' passes differ by a little: it can be just below zero */
}

void bdev_meter_free(struct bdev *b)
{
	for (uint32_t i = 0; i <= core_reactor_count(b->reg->core); i++)
		free(b->cores[i].tally);
}
