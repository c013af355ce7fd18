/* SPDX-License-Identifier: BSD-3-Clause */
/* error_sim_test.c: a tower of devices that comes and goes under I/O, in the simulator, in many orders of events.
 *
 * A slow base, an error device over it, on that a plain device or none. Agents on all reactors send what the waist
 * forwards, splits and emulates, and abort some of it; meanwhile the error device keeps I/O and lets it go on again,
 * resets pass, and the base is taken away, again and again. Every I/O ends once and with a status that fits, and
 * nothing is left.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>

#include "backends/error/error.h"
#include "core/sim/sim.h"

#define BS 512u
#define BLOCKS 256u
#define REACTORS 3u
#define AGENTS 12u
#define ROUNDS 4u
#define SEEDS 150u

struct world;
struct agent {
	struct world *world;
	struct reactor *reactor;
	struct bdev_channel *ch;
	struct bdev_io io;
	struct iovec iov;
	struct timer abort;
	struct msg start_msg, out_msg;
	char data[16 * BS];
};

struct world {
	struct core *core;
	struct bdev_registry *reg;
	const char *used;               /* the device that agents use */
	struct bdev base;
	struct bdev_desc *desc;
	struct agent agents[AGENTS];
	struct timer meddle, end;
	uint32_t rounds, inside, unexpected, calls;
	uint64_t ios;
};

/* --- the base: answers after a time that the seed draws --- */

struct slow_io {
	struct timer timer;
	struct bdev_io *io;
};

static void slow_answers(struct timer *t)
{
	bdev_io_done(container_of(t, struct slow_io, timer)->io, BDEV_ST_OK);
}

static void slow_submit(struct bdev_channel *ch, struct bdev_io *io)
{
	struct slow_io *s = io->device_ctx;

	*s = (struct slow_io){ .io = io };
	timer_start(&s->timer, sim_draw(60) * NS_PER_US, slow_answers);
}

static bool slow_abort(struct bdev_channel *ch, struct bdev_io *io)
{
	struct slow_io *s = io->device_ctx;

	if (sim_chance(50))
		return false;
	timer_stop(&s->timer);
	bdev_io_done(io, BDEV_ST_ABORTED);
	return true;
}

static void slow_destroy(struct bdev *b) { bdev_destroyed(b); }

static const struct bdev_ops slow_ops = { .submit = slow_submit, .abort = slow_abort, .destroy = slow_destroy };

/* --- the top: over the error device, one that the waist has to help --- */

static int top_build(struct bdev_order *o, struct err *e)
{
	struct bdev_stacked *s = base_zalloc(sizeof(*s));
	int rc;

	bdev_stacked_init(s, o, 0);
	s->offset = 16;
	s->bdev.block_count = BLOCKS - 16;
	s->bdev.product = "top";
	s->bdev.native_ops &= ~(BDEV_BIT(COMPARE) | BDEV_BIT(COMPARE_AND_WRITE) | BDEV_BIT(COPY) | BDEV_BIT(VERIFY));
	s->bdev.max_io_blocks = 3;
	s->bdev.uuid = bdev_stacked_uuid(s, "top", 0);
	snprintf(s->bdev.name, sizeof(s->bdev.name), "top");
	rc = bdev_stacked_register(s, e);
	if (rc != 0)
		free(s);
	return rc;
}

static void top_free(struct bdev_order *o) { free(o); }
static const struct bdev_order_ops top_ops = { .kind = "top", .claims = true, .build = top_build, .free = top_free };

/* --- agents: on their core until the device is gone --- */

static void agent_next(struct agent *a);
static void agent_is_out(struct msg *m);

static void agent_done(struct bdev_io *io)
{
	struct agent *a = container_of(io, struct agent, io);
	uint32_t fair = 1u << BDEV_ST_OK | 1u << BDEV_ST_GONE | 1u << BDEV_ST_ABORTED | 1u << BDEV_ST_MEDIA_ERROR |
	                1u << BDEV_ST_MISCOMPARE;

	sim_note(io->status);
	timer_stop(&a->abort);
	a->world->ios++;
	a->world->unexpected += !(fair & 1u << io->status);
	if (io->status != BDEV_ST_GONE) {
		agent_next(a);
		return;
	}
	bdev_channel_put(a->ch);
	msg_send(core_control(a->world->core), &a->out_msg, agent_is_out);
}

static void agent_aborts(struct timer *t)
{
	struct agent *a = container_of(t, struct agent, abort);

	bdev_abort(a->ch, &a->io);
}

static void agent_next(struct agent *a)
{
	static const uint8_t ops[] = { BDEV_READ, BDEV_READ, BDEV_WRITE, BDEV_WRITE, BDEV_COMPARE, BDEV_COPY,
	                               BDEV_WRITE_ZEROES, BDEV_COMPARE_AND_WRITE, BDEV_UNMAP, BDEV_RESET, BDEV_FLUSH };
	struct bdev_io *io = &a->io;

	io->op = ops[sim_draw(ARRAY_SIZE(ops))];
	io->count = io->op == BDEV_COMPARE_AND_WRITE ? 1 : 1 + sim_draw(8);
	io->lba = sim_draw(BLOCKS - 40);
	a->iov = (struct iovec){ a->data, io->count * BS * (io->op == BDEV_COMPARE_AND_WRITE ? 2 : 1) };
	io->iovs = &a->iov;
	io->iov_count = 1;
	io->done = agent_done;
	io->unmap.ranges = NULL;
	io->unmap.range_count = 0;
	if (io->op == BDEV_COPY)
		io->copy.src_lba = sim_draw(BLOCKS - 40);
	if (sim_chance(30))
		timer_start(&a->abort, sim_draw(300) * NS_PER_US, agent_aborts);
	bdev_submit(a->ch, io);
}

static void agent_start(struct msg *m)
{
	struct agent *a = container_of(m, struct agent, start_msg);

	a->ch = bdev_channel_get(a->world->desc, NULL);
	agent_next(a);
}

/* --- the control reactor: rounds --- */

static void round_begin(struct world *w);
static void round_ends(struct timer *t);

static void agent_is_out(struct msg *m)
{
	struct world *w = container_of(m, struct agent, out_msg)->world;

	if (--w->inside == 0)
		bdev_close(w->desc);
}

static void called(void *arg) { ((struct world *)arg)->calls--; }

static void meddle(struct timer *t)
{
	struct world *w = container_of(t, struct world, meddle);
	struct error_rule_opts rule = {
		.ops = BDEV_BIT(READ) | (sim_chance(50) ? BDEV_BIT(WRITE) | BDEV_BIT(FLUSH) : 0),
		.num = 1 + (uint32_t)sim_draw(9),
		.kind = sim_chance(70) ? ERROR_PENDING : sim_chance(50) ? ERROR_CORRUPT : ERROR_STATUS,
		.status = BDEV_ST_MEDIA_ERROR, .corrupt_value = 1, .lba = sim_draw(BLOCKS), .count = sim_chance(50) ? 40 : 0,
	};
	int rc;

	if (rule.kind == ERROR_CORRUPT)
		rule.ops &= ~BDEV_BIT(FLUSH);
	w->calls++;
	rc = sim_chance(30) ? error_resume(w->reg, "EE_slow", called, w, NULL)
	   : error_inject(w->reg, "EE_slow", &rule, called, w, NULL);
	w->calls -= rc != 0; /* it goes */
	if (w->inside)
		timer_start(t, sim_draw(200) * NS_PER_US, meddle);
}

static void base_is_gone(void *arg, int rc)
{
	struct world *w = arg;

	timer_stop(&w->meddle);
	w->unexpected += bdev_first(w->reg) != NULL;
	if (++w->rounds < ROUNDS)
		timer_start(&w->end, 0, round_ends); /* not within the end of the device before */
}

static void round_ends(struct timer *t)
{
	struct world *w = container_of(t, struct world, end);

	if (w->inside)
		bdev_unregister(&w->base, base_is_gone, w);
	else
		round_begin(w);
}

static void round_begin(struct world *w)
{
	w->base = (struct bdev){
		.ops = &slow_ops, .product = "Slow disk", .name = "slow", .block_size = BS, .block_count = BLOCKS,
		.native_ops = BDEV_BIT(READ) | BDEV_BIT(WRITE) | BDEV_BIT(FLUSH) | BDEV_BIT(UNMAP),
		.max_io_blocks = 5, .io_ctx_bytes = sizeof(struct slow_io),
	};
	must(bdev_register(w->reg, &w->base, NULL) == 0);
	w->desc = bdev_open(w->reg, w->used, true, "test", NULL, NULL, NULL);
	must(w->desc); /* it came with its base */
	w->inside = AGENTS;
	for (uint32_t i = 0; i < AGENTS; i++)
		msg_send(w->agents[i].reactor, &w->agents[i].start_msg, agent_start);
	timer_start(&w->meddle, sim_draw(200) * NS_PER_US, meddle);
	timer_start(&w->end, sim_draw(3000) * NS_PER_US, round_ends);
}

static void world_open(void *arg)
{
	struct world *w = arg;
	const char *base = "EE_slow";
	struct error_opts opts = { .base = "slow" };

	w->reg = bdev_registry_make(w->core);
	w->used = sim_chance(60) ? "top" : base;
	if (w->used != base)
		must(bdev_order_start(w->reg, base_zalloc(sizeof(struct bdev_order)), &top_ops, "top", &base, 1, NULL) == 0);
	must(error_create(w->reg, &opts, NULL) == 0);
	round_begin(w);
}

static void world_close(void *arg)
{
	struct world *w = arg;

	bdev_registry_free(w->reg);
}

static bool world_rests(void *arg)
{
	struct world *w = arg;

	return w->rounds == ROUNDS && !w->calls;
}

static uint64_t run_seed(uint64_t seed)
{
	struct core_opts opts = { .cpus = "[0-2]", .mode = CORE_ADAPTIVE, .memory_bytes = 16 * MIB };
	struct world *w = base_zalloc_aligned(CACHE_LINE, sizeof(*w));

	sim_start(seed);
	w->core = core_make(&opts, NULL);
	for (uint32_t i = 0; i < AGENTS; i++) {
		w->agents[i].world = w;
		w->agents[i].reactor = i % (REACTORS + 1) == REACTORS ? core_control(w->core)
		                                                      : core_reactor(w->core, i % (REACTORS + 1));
	}
	sim_as(core_control(w->core), world_open, w);
	if (!sim_run(world_rests, w, 10 * NS_PER_S))
		fail_msg("seed %llu: round %u does not end, %u agents have I/O", (unsigned long long)seed, w->rounds,
		         w->inside);
	if (w->unexpected || !w->ios)
		fail_msg("seed %llu: %u unexpected things", (unsigned long long)seed, w->unexpected);
	sim_as(core_control(w->core), world_close, w);
	core_free(w->core);
	free(w);
	return sim_end();
}

static void every_io_ends_and_nothing_is_left(void **state)
{
	for (uint64_t seed = 1; seed <= SEEDS; seed++)
		run_seed(seed);
}

static void a_seed_replays(void **state)
{
	assert_true(run_seed(4711) == run_seed(4711));
	assert_true(run_seed(4711) != run_seed(4712));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_io_ends_and_nothing_is_left),
		cmocka_unit_test(a_seed_replays),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
