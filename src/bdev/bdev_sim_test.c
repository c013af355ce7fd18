/* SPDX-License-Identifier: BSD-3-Clause */
/* bdev_sim_test.c: the waist over a slow device in the simulator: many seeds, every order of events.
 *
 * The device answers after times that the seed draws, or finds then that it has to have parts, and never looks at
 * leases, so that whatever keeps a revoked write from landing late is the waist's doing. Agents on all reactors count
 * up a block by compare-and-write, write with FUA, zero, copy, compare and verify; one revokes their lease again and
 * again.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>

#include "bdev/bdev_device.h"
#include "bdev/iov.h"
#include "core/sim/sim.h"

#define BS 512u
#define BLOCKS 64u
#define REACTORS 3u
#define AGENTS 9u
#define OPS 25u
#define REVOCATIONS 6u
#define SEEDS 150u

struct world;
struct agent {
	struct world *world;
	struct reactor *reactor;
	struct bdev_channel *ch;
	struct bdev_io io;
	struct iovec iov;
	uint64_t words[16 * BS / 8];
	uint32_t left;
	bool looked;
};

struct world {
	struct core *core;
	struct bdev_registry *reg;
	struct bdev bdev;
	struct bdev_desc *desc;
	struct bdev_lease lease;
	struct bdev_lease_revoke revoke;
	struct reactor *revoker;
	uint32_t revocations, answered_epoch, late;
	char media[BLOCKS * BS];
	struct agent agents[AGENTS];
	uint32_t busy, unexpected;
	uint32_t adds, maybe;          /* compare-and-writes that ended well; that were fenced, perhaps after their write */
	bool destroyed;
};

/* --- the device --- */

struct slow_io {
	struct timer timer;
	struct bdev_io *io;
};

static struct world *world_of(struct bdev_channel *ch)
{
	return container_of(bdev_channel_bdev(ch), struct world, bdev);
}

static void slow_lands(struct timer *t)
{
	struct slow_io *s = container_of(t, struct slow_io, timer);
	struct bdev_io *io = s->io;
	struct world *w = world_of(io->ch);
	struct iov_cursor c = iov_cursor_over(io->iovs, io->iov_count);

	if (io->count > 1 && sim_chance(20) && bdev_io_cut(io, 1 + sim_draw(io->count - 1)))
		return;
	if (io->op == BDEV_WRITE) {
		w->late += io->lease && io->lease_epoch < w->answered_epoch;
		iov_copy_out(w->media + io->lba * BS, &c, io->count * BS);
	} else if (io->op == BDEV_READ) {
		iov_copy_in(&c, w->media + io->lba * BS, io->count * BS);
	}
	bdev_io_done(io, sim_chance(1) && io->lba > 3 ? BDEV_ST_MEDIA_ERROR : BDEV_ST_OK);
}

static void slow_submit(struct bdev_channel *ch, struct bdev_io *io)
{
	struct slow_io *s = io->device_ctx;

	*s = (struct slow_io){ .io = io };
	timer_start(&s->timer, sim_draw(100) * NS_PER_US, slow_lands);
}

static void slow_destroy(struct bdev *b)
{
	container_of(b, struct world, bdev)->destroyed = true;
	bdev_destroyed(b);
}

static const struct bdev_ops slow_ops = { .submit = slow_submit, .destroy = slow_destroy };

/* --- agents --- */

static void agent_next(struct agent *a);

static void agent_done(struct bdev_io *io)
{
	struct agent *a = container_of(io, struct agent, io);
	bool fair = io->status == BDEV_ST_OK || io->status == BDEV_ST_FENCED || io->status == BDEV_ST_MISCOMPARE ||
	            io->status == BDEV_ST_MEDIA_ERROR;

	sim_note(io->status);
	a->world->unexpected += !fair;
	if (io->op == BDEV_COMPARE_AND_WRITE && io->status == BDEV_ST_OK)
		a->world->adds++;
	if (io->op == BDEV_COMPARE_AND_WRITE && io->status == BDEV_ST_FENCED)
		a->world->maybe++;
	a->looked = io->op == BDEV_READ && io->lba == 0 && io->status == BDEV_ST_OK;
	agent_next(a);
}

static void agent_submit(struct agent *a, enum bdev_op op, uint64_t lba, uint64_t count, size_t len, uint8_t flags)
{
	a->iov = (struct iovec){ .iov_base = a->words, .iov_len = len };
	a->io.op = (uint8_t)op;
	a->io.flags = flags;
	a->io.lba = lba;
	a->io.count = count;
	a->io.iovs = &a->iov;
	a->io.iov_count = 1;
	a->io.done = agent_done;
	a->io.lease = &a->world->lease;
	a->io.lease_epoch = bdev_lease_epoch(&a->world->lease);
	bdev_submit(a->ch, &a->io);
}

static void agent_next(struct agent *a)
{
	uint64_t lba = 4 + sim_draw(BLOCKS - 20), count = 1 + sim_draw(8);
	uint8_t fua = sim_chance(30) ? BDEV_IO_FUA : 0;

	if (a->looked) { /* what block 0 says, plus one */
		a->looked = false;
		memcpy(a->words + BS / 8, a->words, BS);
		a->words[BS / 8]++;
		agent_submit(a, BDEV_COMPARE_AND_WRITE, 0, 1, 2 * BS, fua);
		return;
	}
	if (!a->left--) {
		bdev_channel_put(a->ch);
		a->world->busy--;
		return;
	}
	switch (sim_draw(6)) {
	case 0: agent_submit(a, BDEV_WRITE, lba, count, count * BS, fua); break;
	case 1: agent_submit(a, BDEV_WRITE_ZEROES, lba, count, 0, fua); break;
	case 2:
		a->io.copy.src_lba = 4 + sim_draw(BLOCKS - 20);
		agent_submit(a, BDEV_COPY, lba, count, 0, 0);
		break;
	case 3: agent_submit(a, BDEV_COMPARE, lba, count, count * BS, 0); break;
	case 4: agent_submit(a, BDEV_VERIFY, lba, count, 0, 0); break;
	default: agent_submit(a, BDEV_READ, 0, 1, BS, 0);
	}
}

static void agent_start(void *arg)
{
	struct agent *a = arg;

	a->ch = bdev_channel_get(a->world->desc, NULL);
	agent_next(a);
}

/* --- the revoker --- */

static void revoked(struct bdev_lease_revoke *r)
{
	struct world *w = container_of(r, struct world, revoke);

	w->answered_epoch = bdev_lease_epoch(&w->lease);
	if (++w->revocations < REVOCATIONS)
		bdev_lease_revoke(w->core, &w->lease, &w->revoke, revoked);
}

static void revoker_start(void *arg)
{
	struct world *w = arg;

	bdev_lease_revoke(w->core, &w->lease, &w->revoke, revoked);
}

/* --- one seed --- */

static void world_open(void *arg)
{
	struct world *w = arg;

	w->reg = bdev_registry_make(w->core);
	w->bdev = (struct bdev){
		.ops = &slow_ops, .product = "Slow disk", .name = "slow", .block_size = BS, .block_count = BLOCKS,
		.native_ops = BDEV_BIT(READ) | BDEV_BIT(WRITE) | BDEV_BIT(FLUSH), .cache = BDEV_CACHE_VOLATILE,
		.max_io_blocks = 3, .io_ctx_bytes = sizeof(struct slow_io),
	};
	if (bdev_register(w->reg, &w->bdev, NULL) != 0)
		return;
	w->desc = bdev_open(w->reg, "slow", true, "test", NULL, NULL, NULL);
	mem_starve(w->core, sim_chance(50) ? 3 : 0);
}

static void unregistered(void *arg, int rc) {}

static void world_close(void *arg)
{
	struct world *w = arg;

	bdev_close(w->desc);
	bdev_unregister(&w->bdev, unregistered, NULL);
	if (w->destroyed)
		bdev_registry_free(w->reg);
}

static bool world_rests(void *arg)
{
	struct world *w = arg;

	return !w->busy && w->revocations == REVOCATIONS;
}

static uint64_t run_seed(uint64_t seed)
{
	struct core_opts opts = { .cpus = "[0-2]", .mode = CORE_ADAPTIVE, .memory_bytes = 16 * MIB };
	struct world *w = base_zalloc_aligned(CACHE_LINE, sizeof(*w));
	uint64_t counted, hash;
	bool rested;

	sim_start(seed);
	w->core = core_make(&opts, NULL);
	bdev_lease_init(&w->lease);
	sim_as(core_control(w->core), world_open, w);
	w->busy = AGENTS;
	for (uint32_t i = 0; i < AGENTS; i++) {
		w->agents[i].world = w;
		w->agents[i].left = OPS;
		sim_as(core_reactor(w->core, i % REACTORS), agent_start, &w->agents[i]);
	}
	sim_as(core_reactor(w->core, (uint32_t)sim_draw(REACTORS)), revoker_start, w);
	rested = sim_run(world_rests, w, 10 * NS_PER_S);
	if (!rested)
		fail_msg("seed %llu: %u agents stuck, %u revocations answered", (unsigned long long)seed, w->busy,
		         w->revocations);
	sim_run(NULL, NULL, NS_PER_S / 100); /* locks are given back, messages arrive */
	sim_as(core_control(w->core), world_close, w);
	memcpy(&counted, w->media, sizeof(counted));
	if (w->late || w->unexpected || counted < w->adds || counted > w->adds + w->maybe || !w->destroyed)
		fail_msg("seed %llu: %u writes of a revoked lease landed, %u unexpected answers, %u additions of %llu",
		         (unsigned long long)seed, w->late, w->unexpected, w->adds, (unsigned long long)counted);
	core_free(w->core);
	free(w);
	hash = sim_end();
	return hash;
}

static void nothing_lands_late_and_nothing_is_lost(void **state)
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
		cmocka_unit_test(nothing_lands_late_and_nothing_is_lost),
		cmocka_unit_test(a_seed_replays),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
