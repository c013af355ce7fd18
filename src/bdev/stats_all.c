/* SPDX-License-Identifier: BSD-3-Clause */
/* stats_all.c: what all devices did, with one message to each core, however many there are. */
#include "bdev/bdev_waist.h"

static void read_on_core(struct each *e);
static void read_done(struct each *e);

void bdev_stats_all_get(struct bdev_registry *reg, struct bdev_stats_all *r, uint32_t max,
                        void (*done)(struct bdev_stats_all *r))
{
	uint32_t cores = core_reactor_count(reg->core) + 1;

	r->reg = reg;
	r->done = done;
	r->count = r->left_out = 0;
	list_each(l, &reg->bdevs)
		r->left_out++;
	r->bdevs = base_zalloc((min_u32(max, r->left_out) + 1) * sizeof(*r->bdevs));
	list_each(l, &reg->bdevs) {
		struct bdev *b = list_entry(l, struct bdev, link);

		if (b->destroying || r->count == max)
			continue;
		b->holds++;
		r->bdevs[r->count++] = b;
	}
	r->left_out -= r->count;
	r->per_core = base_zalloc(((size_t)r->count * cores + 1) * sizeof(*r->per_core));
	each_core(&r->each, reg->core, read_on_core, read_done);
}

static void read_here(struct bdev_stats_all *r)
{
	uint32_t index = reactor_index(reactor_self()), cores = core_reactor_count(r->reg->core) + 1;

	for (uint32_t i = 0; i < r->count; i++) {
		struct bdev_core *core = &r->bdevs[i]->cores[index];
		struct bdev_stats *s = &r->per_core[(size_t)i * cores + index];

		*s = core->stats;
		s->in_flight = 0;
		list_each(l, &core->channels)
			s->in_flight += list_entry(l, struct bdev_channel, link)->in_flight;
	}
}

static void read_on_core(struct each *e)
{
	read_here(container_of(e, struct bdev_stats_all, each));
}

static void read_done(struct each *e)
{
	struct bdev_stats_all *r = container_of(e, struct bdev_stats_all, each);

	read_here(r); /* control's own share */
	r->done(r);
}

void bdev_stats_all_sum(const struct bdev_stats_all *r, uint32_t at, struct bdev_stats *ret_sum)
{
	uint32_t cores = core_reactor_count(r->reg->core) + 1;

	memset(ret_sum, 0, sizeof(*ret_sum));
	for (uint32_t i = 0; i < cores; i++) {
		const struct bdev_stats *s = &r->per_core[(size_t)at * cores + i];

		ret_sum->in_flight += s->in_flight;
		for (uint32_t op = 0; op < BDEV_OP_COUNT; op++) {
			ret_sum->op[op].ops += s->op[op].ops;
			ret_sum->op[op].blocks += s->op[op].blocks;
			ret_sum->op[op].errors += s->op[op].errors;
			ret_sum->op[op].latency_ns += s->op[op].latency_ns;
			ret_sum->op[op].latency_ns_max = max_u64(ret_sum->op[op].latency_ns_max, s->op[op].latency_ns_max);
		}
	}
}

void bdev_stats_all_end(struct bdev_stats_all *r)
{
	for (uint32_t i = 0; i < r->count; i++) {
		r->bdevs[i]->holds--;
		bdev_try_destroy(r->bdevs[i]);
	}
	free(r->bdevs);
	free(r->per_core);
	r->bdevs = NULL;
	r->per_core = NULL;
	r->count = 0;
}
