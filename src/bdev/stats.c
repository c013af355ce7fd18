/* SPDX-License-Identifier: BSD-3-Clause */
/* stats.c: what a device did, summed over its cores by one message each. */
#include "bdev/qos_core.h"

static void read_on_core(struct each *e);
static void read_done(struct each *e);

void bdev_stats_clear(struct bdev_stats *s)
{
	memset(s, 0, sizeof(*s));
	for (uint32_t i = 0; i < BDEV_OP_COUNT; i++)
		s->op[i].latency_ns_min = UINT64_MAX;
}

void bdev_stats_get(struct bdev_registry *reg, struct bdev *b, struct bdev_stats_read *r,
                    enum bdev_stats_reset reset, void (*done)(struct bdev_stats_read *r))
{
	void *arg = r->arg;

	memset(r, 0, sizeof(*r));
	r->arg = arg;
	r->bdev = b;
	r->reset = reset;
	r->done = done;
	b->holds++;
	each_core(&r->each, reg->core, read_on_core, read_done);
}

static void clear(struct bdev_stats *s, enum bdev_stats_reset reset)
{
	if (reset == BDEV_STATS_RESET_ALL)
		bdev_stats_clear(s);
	for (uint32_t i = 0; i < BDEV_OP_COUNT; i++) {
		if (reset == BDEV_STATS_RESET_MAXMIN) {
			s->op[i].latency_ns_max = 0;
			s->op[i].latency_ns_min = UINT64_MAX;
		} else if (reset == BDEV_STATS_RESET_ERRORS) {
			s->op[i].errors = 0;
		}
	}
}

#define WAIT_NAME(wait, name) name,
const char *bdev_wait_name(enum bdev_wait w)
{
	static const char *const names[] = { BDEV_WAITS(WAIT_NAME) };

	return names[w];
}

static struct bdev_wait_stats pool_waits(const struct bdev_pool *p)
{
	struct bdev_wait_stats s = { .waits = p->waits };

	for (const struct queue_link *l = p->waiting.first; l; l = l->next)
		s.waiting++;
	return s;
}

static void read_waits(const struct bdev_core *core, struct bdev_wait_stats *waits)
{
	for (uint32_t i = 0; core->qos && i < QOS_LINES; i++)
		waits[i == QOS_READS ? BDEV_WAIT_READ_LIMIT : BDEV_WAIT_WRITE_LIMIT] =
			(struct bdev_wait_stats){ .waits = core->qos->lines[i].waits, .waiting = core->qos->lines[i].depth };
	waits[BDEV_WAIT_CTX] = pool_waits(&core->ctxs);
	waits[BDEV_WAIT_EMU] = pool_waits(&core->emus);
	waits[BDEV_WAIT_SPLIT] = pool_waits(&core->splits);
	waits[BDEV_WAIT_CAW] = pool_waits(&core->caws);
	waits[BDEV_WAIT_FUA] = pool_waits(&core->fuas);
	waits[BDEV_WAIT_MD] = pool_waits(&core->mds);
}

static void read_here(struct bdev_stats_read *r)
{
	uint32_t index = reactor_index(reactor_self());
	struct bdev_core *core = &r->bdev->cores[index];

	r->per_core[index] = core->stats;
	list_each(l, &core->channels)
		r->per_core[index].in_flight += list_entry(l, struct bdev_channel, link)->in_flight;
	if (r->bdev->depth_period_us)
		r->per_core[index].weighted_ns = bdev_depth_area_here(core);
	read_waits(core, r->per_core[index].waits);
	clear(&core->stats, r->reset);
}

static void read_on_core(struct each *e)
{
	read_here(container_of(e, struct bdev_stats_read, each));
}

static void add(struct bdev_op_stats *sum, const struct bdev_op_stats *s)
{
	sum->ops += s->ops;
	sum->blocks += s->blocks;
	sum->errors += s->errors;
	sum->latency_ns += s->latency_ns;
	sum->latency_ns_max = max_u64(sum->latency_ns_max, s->latency_ns_max);
	sum->latency_ns_min = min_u64(sum->latency_ns_min, s->latency_ns_min);
}

static void read_done(struct each *e)
{
	struct bdev_stats_read *r = container_of(e, struct bdev_stats_read, each);
	struct bdev *b = r->bdev;
	uint32_t cores = core_reactor_count(b->reg->core) + 1;

	read_here(r); /* control's own share */
	bdev_stats_clear(&r->sum);
	for (uint32_t i = 0; i < cores; i++) {
		for (uint32_t op = 0; op < BDEV_OP_COUNT; op++)
			add(&r->sum.op[op], &r->per_core[i].op[op]);
		r->sum.in_flight += r->per_core[i].in_flight;
		for (uint32_t w = 0; w < BDEV_WAIT_COUNT; w++) {
			r->sum.waits[w].waits += r->per_core[i].waits[w].waits;
			r->sum.waits[w].waiting += r->per_core[i].waits[w].waiting;
		}
		r->sum.weighted_ns += r->per_core[i].weighted_ns;
	}
	r->sum.depth_period_us = b->depth_period_us;
	r->sum.busy_ns = b->depth_period_us ? bdev_busy_ns(b) : 0;
	r->done(r);
	b->holds--;
	bdev_try_destroy(b);
}
