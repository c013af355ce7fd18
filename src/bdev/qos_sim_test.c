/* SPDX-License-Identifier: BSD-3-Clause */
/* qos_sim_test.c: limits in virtual time: how precise they are, who gets which share, and how waiting ends. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>

#include "bdev/meter.h"
#include "bdev/qos.h"
#include "core/sim/sim.h"

#define BS 512u
#define REACTORS 3u
#define DEPTH 32u
#define DISKS 2u
#define AGENTS 8u

struct disk {
	struct bdev bdev;
	uint64_t latency_ns;             /* mean; 0: at once */
	uint32_t resets;
	bool destroyed;
};

struct slow_io {
	struct timer timer;
	struct bdev_io *io;
};

struct slot {
	struct agent *agent;
	struct bdev_io io;
	struct iovec iov;
	bool busy;
};

/* Somebody on one core who keeps `depth` I/Os in flight. */
struct agent {
	struct world *world;
	struct reactor *reactor;
	struct bdev_desc *desc;
	struct bdev_channel *ch;
	struct bdev_lease *lease;
	uint32_t depth, busy;
	uint8_t op;
	uint64_t blocks;
	bool stop;
	uint64_t ended, ended_ok, by_status[BDEV_STATUS_COUNT];
	uint64_t took_ns, waited_ns;
	struct slot slots[DEPTH];
};

struct world {
	struct core *core;
	struct bdev_registry *reg;
	struct disk disks[DISKS];
	struct agent agents[AGENTS];
	uint32_t agent_count, calls_done, revoked;
	struct bdev_lease lease;
	struct bdev_lease_revoke revoke;
	char buffer[64 * BS];
};

/* --- the device --- */

static void slow_ends(struct timer *t)
{
	bdev_io_done(container_of(t, struct slow_io, timer)->io, BDEV_ST_OK);
}

static void disk_submit(struct bdev_channel *ch, struct bdev_io *io)
{
	struct disk *d = container_of(bdev_channel_bdev(ch), struct disk, bdev);
	struct slow_io *s = io->device_ctx;

	d->resets += io->op == BDEV_RESET;
	s->io = io;
	if (d->latency_ns)
		timer_start(&s->timer, sim_draw(2 * d->latency_ns), slow_ends);
	else
		bdev_io_done(io, BDEV_ST_OK);
}

static void disk_destroy(struct bdev *b)
{
	container_of(b, struct disk, bdev)->destroyed = true;
	bdev_destroyed(b);
}

static const struct bdev_ops disk_ops = { .submit = disk_submit, .destroy = disk_destroy };

/* --- agents --- */

static void slot_start(struct slot *s);

static void slot_done(struct bdev_io *io)
{
	struct slot *s = container_of(io, struct slot, io);
	struct agent *a = s->agent;

	s->busy = false;
	a->busy--;
	a->ended++;
	a->ended_ok += io->status == BDEV_ST_OK;
	a->took_ns += reactor_now_ns() - io->began_ns;
	a->waited_ns += (uint64_t)io->waited << 10;
	io->waited = 0;
	a->by_status[io->status]++;
	if (!a->stop)
		slot_start(s);
}

static void slot_start(struct slot *s)
{
	struct agent *a = s->agent;

	s->io.op = a->op;
	s->io.lba = 0;
	s->io.count = a->blocks;
	s->iov = (struct iovec){ .iov_base = a->world->buffer, .iov_len = a->blocks * BS };
	s->io.iovs = &s->iov;
	s->io.iov_count = 1;
	s->io.done = slot_done;
	s->io.lease = a->lease;
	s->io.lease_epoch = a->lease ? bdev_lease_epoch(a->lease) : 0;
	s->busy = true;
	a->busy++;
	bdev_submit(a->ch, &s->io);
}

static void agent_begin(void *arg)
{
	struct agent *a = arg;

	a->ch = bdev_channel_get(a->desc, NULL);
	for (uint32_t i = 0; i < a->depth; i++)
		slot_start(&a->slots[i]);
}

static void agent_put(void *arg)
{
	struct agent *a = arg;

	bdev_channel_put(a->ch);
	a->ch = NULL;
}

static void agent_open(void *arg)
{
	struct agent *a = arg;

	a->desc = bdev_open(a->world->reg, a->desc ? "b" : "a", true, "test", NULL, NULL, NULL);
}

static struct agent *agent_add(struct world *w, uint32_t core, uint32_t disk, enum bdev_op op, uint64_t blocks,
                               uint32_t depth)
{
	struct agent *a = &w->agents[w->agent_count++];

	a->world = w;
	a->reactor = core == REACTORS ? core_control(w->core) : core_reactor(w->core, core);
	a->op = (uint8_t)op;
	a->blocks = blocks;
	a->depth = depth;
	for (uint32_t i = 0; i < DEPTH; i++)
		a->slots[i].agent = a;
	a->desc = disk ? (void *)a : NULL; /* which one */
	sim_as(core_control(w->core), agent_open, a);
	return a;
}

static void agent_go(struct agent *a)
{
	sim_as(a->reactor, agent_begin, a);
}

/* --- the world --- */

static void world_open(void *arg)
{
	struct world *w = arg;

	w->reg = bdev_registry_make(w->core);
	for (uint32_t i = 0; i < DISKS; i++) {
		w->disks[i].bdev = (struct bdev){
			.ops = &disk_ops, .product = "Disk", .block_size = BS, .block_count = 1000,
			.native_ops = BDEV_BIT(READ) | BDEV_BIT(WRITE) | BDEV_BIT(RESET), .io_ctx_bytes = sizeof(struct slow_io),
		};
		w->disks[i].bdev.name[0] = (char)('a' + i);
		w->disks[i].latency_ns = 20 * NS_PER_US;
		if (bdev_register(w->reg, &w->disks[i].bdev, NULL) != 0)
			fail();
	}
}

static struct world *world_make(uint64_t seed)
{
	struct core_opts opts = { .cpus = "[0-2]", .mode = CORE_INTERRUPT, .memory_bytes = 16 * MIB };
	struct world *w = base_zalloc_aligned(CACHE_LINE, sizeof(*w));

	sim_start(seed);
	w->core = core_make(&opts, NULL);
	bdev_lease_init(&w->lease);
	sim_as(core_control(w->core), world_open, w);
	return w;
}

static bool agents_rest(void *arg)
{
	struct world *w = arg;
	uint32_t busy = 0;

	for (uint32_t i = 0; i < w->agent_count; i++)
		busy += w->agents[i].busy;
	return busy == 0;
}

static void unregistered(void *arg, int rc) {}

static void world_close(void *arg)
{
	struct world *w = arg;

	for (uint32_t i = 0; i < w->agent_count; i++)
		bdev_close(w->agents[i].desc);
	for (uint32_t i = 0; i < DISKS; i++)
		if (!atomic_load(&w->disks[i].bdev.removing))
			bdev_unregister(&w->disks[i].bdev, unregistered, NULL);
}

static void world_gone(void *arg)
{
	struct world *w = arg;

	bdev_registry_free(w->reg);
}

/* Everything ends, at whatever rate. */
static void world_free(struct world *w)
{
	bool rested, destroyed = true;

	for (uint32_t i = 0; i < w->agent_count; i++)
		w->agents[i].stop = true;
	rested = sim_run(agents_rest, w, 1000 * NS_PER_S);
	for (uint32_t i = 0; i < w->agent_count; i++)
		if (w->agents[i].ch)
			sim_as(w->agents[i].reactor, agent_put, &w->agents[i]);
	sim_as(core_control(w->core), world_close, w);
	sim_run(NULL, NULL, NS_PER_S);
	for (uint32_t i = 0; i < DISKS; i++)
		destroyed &= w->disks[i].destroyed;
	sim_as(core_control(w->core), world_gone, w);
	core_free(w->core);
	free(w);
	sim_end();
	assert_true(rested);
	assert_true(destroyed);
}

static void nothing_happens(struct sim_event *e) {}

/* Also when nobody has anything to do. */
static void run_for(uint64_t ns)
{
	struct sim_event end = { .at_ns = 0 };

	sim_event_at(&end, sim_now_ns() + ns, nothing_happens);
	sim_run(NULL, NULL, ns);
	sim_event_cancel(&end);
}

/* --- calls on the control reactor --- */

static void counted(void *arg)
{
	((struct world *)arg)->calls_done++;
}

struct set {
	struct world *world;
	uint32_t disk;
	struct qos_want want;
	struct qos_group *group;
};

static void set_here(void *arg)
{
	struct set *s = arg;

	bdev_qos_set(&s->world->disks[s->disk].bdev, &s->want, counted, s->world);
}

static bool call_done(void *arg)
{
	return ((struct world *)arg)->calls_done > 0;
}

static void set_limit(struct world *w, uint32_t disk, enum qos_limit limit, uint64_t rate, uint64_t burst_ms)
{
	struct set s = { .world = w, .disk = disk, .want = { .burst_ms = burst_ms } };

	s.want.rate[limit] = rate;
	w->calls_done = 0;
	sim_as(core_control(w->core), set_here, &s);
	assert_true(sim_run(call_done, w, NS_PER_S / 100));
}

static uint64_t total(const struct world *w)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < w->agent_count; i++)
		sum += w->agents[i].ended_ok;
	return sum;
}

/* Within 5 % of what a second allows, and never off by less than one can see. */
static void assert_rate(uint64_t seen, uint64_t rate)
{
	uint64_t slack = rate / 20 + 1;

	if (seen + slack < rate || seen > rate + slack)
		fail_msg("%llu in a second, the limit is %llu", (unsigned long long)seen, (unsigned long long)rate);
}

/* --- precision --- */

static void a_limit_is_kept_over_all_cores_together(void **state)
{
	static const uint64_t rates[] = { 7, 100, 1000, 33333, 150000 };

	for (uint32_t i = 0; i < ARRAY_SIZE(rates); i++) {
		struct world *w = world_make(1 + i);
		uint64_t before, each[REACTORS];

		set_limit(w, 0, QOS_RW_IOS, rates[i], QOS_BURST_MS);
		for (uint32_t c = 0; c < REACTORS; c++)
			agent_go(agent_add(w, c, 0, c % 2 ? BDEV_WRITE : BDEV_READ, 1, 8 + 8 * c));
		for (uint32_t second = 0; second < 3; second++) {
			before = total(w);
			for (uint32_t c = 0; c < REACTORS; c++)
				each[c] = w->agents[c].ended_ok;
			run_for(NS_PER_S);
			assert_rate(total(w) - before, rates[i]);
		}
		for (uint32_t c = 0; c < REACTORS && rates[i] >= 1000; c++) /* deeper queues get no more */
			assert_rate((w->agents[c].ended_ok - each[c]) * REACTORS, rates[i]);
		world_free(w);
	}
}

static void one_core_alone_gets_all_of_it(void **state)
{
	static const uint32_t depths[] = { 1, 2, DEPTH };

	for (uint32_t i = 0; i < ARRAY_SIZE(depths); i++) {
		struct world *w = world_make(11 + i);
		uint64_t before;

		set_limit(w, 0, QOS_RW_IOS, 10000, QOS_BURST_MS);
		agent_add(w, 0, 0, BDEV_READ, 1, 1);
		agent_go(agent_add(w, 1, 0, BDEV_READ, 1, depths[i]));
		before = total(w);
		run_for(NS_PER_S);
		assert_rate(total(w) - before, 10000);
		world_free(w);
	}
}

static void reads_and_writes_have_limits_of_their_own(void **state)
{
	struct world *w = world_make(21);
	struct set s = { .world = w, .want = { .burst_ms = QOS_BURST_MS } };
	uint64_t reads, writes;

	s.want.rate[QOS_R_BYTES] = 20 * MIB;
	s.want.rate[QOS_W_IOS] = 500;
	sim_as(core_control(w->core), set_here, &s);
	run_for(NS_PER_S / 100);
	for (uint32_t c = 0; c < REACTORS; c++) {
		agent_go(agent_add(w, c, 0, BDEV_READ, 8, 16));
		agent_go(agent_add(w, c, 0, BDEV_WRITE, 64, 16));
	}
	reads = w->agents[0].ended_ok + w->agents[2].ended_ok + w->agents[4].ended_ok;
	writes = total(w) - reads;
	run_for(NS_PER_S);
	reads = w->agents[0].ended_ok + w->agents[2].ended_ok + w->agents[4].ended_ok - reads;
	writes = w->agents[1].ended_ok + w->agents[3].ended_ok + w->agents[5].ended_ok - writes;
	assert_rate(reads * 8 * BS, 20 * MIB);
	assert_rate(writes, 500);
	world_free(w);
}

static void sizes_that_differ_add_up_to_the_bandwidth(void **state)
{
	struct world *w = world_make(22);

	set_limit(w, 0, QOS_RW_BYTES, 40 * MIB, QOS_BURST_MS);
	agent_go(agent_add(w, 0, 0, BDEV_READ, 1, 16));
	agent_go(agent_add(w, 1, 0, BDEV_WRITE, 64, 16));
	agent_go(agent_add(w, 2, 0, BDEV_READ, 7, 3));
	run_for(NS_PER_S);
	assert_rate((w->agents[0].ended_ok + 64 * w->agents[1].ended_ok + 7 * w->agents[2].ended_ok) * BS, 40 * MIB);
	world_free(w);
}

/* Queues that empty again and again: what a core took ahead and did not use is not lost. */
static void bursts_of_work_reach_the_limit_too(void **state)
{
	struct world *w = world_make(23);

	w->disks[0].latency_ns = 3 * NS_PER_MS;
	set_limit(w, 0, QOS_RW_IOS, 20000, QOS_BURST_MS);
	for (uint32_t c = 0; c < REACTORS; c++)
		for (uint32_t i = 0; i < 2; i++)
			agent_go(agent_add(w, c, 0, i ? BDEV_WRITE : BDEV_READ, 1, DEPTH));
	run_for(NS_PER_S);
	assert_rate(total(w), 20000);
	world_free(w);
}

static void what_was_not_used_can_be_spent_at_once(void **state)
{
	struct world *w = world_make(31);

	w->disks[0].latency_ns = 0;
	set_limit(w, 0, QOS_RW_IOS, 10000, 500);
	run_for(NS_PER_S);
	agent_go(agent_add(w, 0, 0, BDEV_READ, 1, DEPTH));
	run_for(50 * NS_PER_MS);
	assert_rate(total(w), 5000 + 500);
	run_for(NS_PER_S);
	assert_rate(total(w), 5500 + 10000);
	world_free(w);
}

/* Who asks where the time went shall not hear that the device was slow. */
static void time_under_a_limit_is_waiting_time(void **state)
{
	struct world *w = world_make(32);
	struct agent *a = agent_add(w, 0, 0, BDEV_WRITE, 1, DEPTH);

	w->disks[0].latency_ns = 0;
	set_limit(w, 0, QOS_RW_IOS, 1000, QOS_BURST_MS);
	agent_go(a);
	run_for(NS_PER_S);
	assert_rate(total(w), 1000);
	assert_true(a->took_ns > 20 * NS_PER_S);
	assert_true(a->waited_ns <= a->took_ns && a->took_ns - a->waited_ns <= a->ended * 1024);
	world_free(w);
}

static bool never(void *arg)
{
	return false;
}

/* No timer is left: virtual time stands still when nobody has anything to do. */
static void an_idle_limit_sleeps(void **state)
{
	struct world *w = world_make(32);
	uint64_t at_ns;

	set_limit(w, 0, QOS_RW_IOS, 1000, QOS_BURST_MS);
	agent_go(agent_add(w, 0, 0, BDEV_READ, 1, 4));
	run_for(NS_PER_S / 10);
	w->agents[0].stop = true;
	assert_true(sim_run(agents_rest, w, NS_PER_S));
	run_for(NS_PER_S);
	at_ns = sim_now_ns();
	assert_false(sim_run(never, w, 1000 * NS_PER_S));
	assert_true(sim_now_ns() == at_ns);
	world_free(w);
}

/* --- groups --- */

static void join_here(void *arg)
{
	struct set *s = arg;

	s->group = qos_group_make(s->world->reg, "g", &s->want, NULL);
	for (uint32_t i = 0; i < DISKS; i++)
		if (qos_group_join(s->group, &s->world->disks[i].bdev, counted, s->world, NULL) != 0)
			s->group = NULL;
}

static void leave_here(void *arg)
{
	struct set *s = arg;

	if (qos_group_leave(s->group, &s->world->disks[1].bdev, counted, s->world, NULL) != 0)
		s->group = NULL;
}

static void group_set_here(void *arg)
{
	struct set *s = arg;

	qos_group_set(s->group, &s->want, counted, s->world);
}

static void devices_of_a_group_share_its_limit(void **state)
{
	struct world *w = world_make(41);
	struct set s = { .world = w, .want = { .burst_ms = QOS_BURST_MS } };
	uint64_t before, a;

	s.want.rate[QOS_RW_IOS] = 12000;
	sim_as(core_control(w->core), join_here, &s);
	run_for(NS_PER_S / 100);
	assert_non_null(s.group);
	assert_int_equal(w->calls_done, 2);
	for (uint32_t c = 0; c < REACTORS; c++) {
		agent_go(agent_add(w, c, 0, BDEV_READ, 1, 4));
		agent_go(agent_add(w, c, 1, BDEV_READ, 1, DEPTH));
	}
	run_for(NS_PER_S);
	assert_rate(total(w), 12000);
	a = w->agents[0].ended_ok + w->agents[2].ended_ok + w->agents[4].ended_ok;
	assert_rate(2 * a, 12000);

	s.want.rate[QOS_RW_IOS] = 3000;
	sim_as(core_control(w->core), group_set_here, &s);
	run_for(NS_PER_S / 100);
	before = total(w);
	run_for(NS_PER_S);
	assert_rate(total(w) - before, 3000);

	sim_as(core_control(w->core), leave_here, &s);
	run_for(NS_PER_S / 100);
	a = w->agents[0].ended_ok + w->agents[2].ended_ok + w->agents[4].ended_ok;
	run_for(NS_PER_S / 10);
	assert_rate((w->agents[0].ended_ok + w->agents[2].ended_ok + w->agents[4].ended_ok - a) * 10, 3000);
	assert_true(total(w) > 100000); /* the other is free */
	world_free(w);
}

/* --- how waiting ends --- */

static void a_change_holds_at_once(void **state)
{
	struct world *w = world_make(51);
	uint64_t before;

	set_limit(w, 0, QOS_RW_IOS, 1, QOS_BURST_MS);
	for (uint32_t c = 0; c <= REACTORS; c++) /* the control reactor too */
		agent_go(agent_add(w, c, 0, BDEV_WRITE, 1, DEPTH));
	run_for(NS_PER_S);
	assert_true(total(w) <= 2);
	set_limit(w, 0, QOS_RW_IOS, 50000, QOS_BURST_MS); /* what was to wait for minutes does not */
	before = total(w);
	run_for(NS_PER_S);
	assert_rate(total(w) - before, 50000);
	set_limit(w, 0, QOS_RW_IOS, 100, QOS_BURST_MS);
	run_for(NS_PER_S / 100); /* what had gone to the device ends */
	before = total(w);
	run_for(NS_PER_S);
	assert_rate(total(w) - before, 100);
	set_limit(w, 0, QOS_RW_IOS, 0, QOS_BURST_MS);
	for (uint32_t i = 0; i < w->agent_count; i++)
		w->agents[i].stop = true;
	assert_true(sim_run(agents_rest, w, NS_PER_S / 100));
	world_free(w);
}

static struct world *waiting_world(uint64_t seed)
{
	struct world *w = world_make(seed);

	set_limit(w, 0, QOS_RW_IOS, 1, 0);
	for (uint32_t c = 0; c <= REACTORS; c++)
		agent_add(w, c, 0, c % 2 ? BDEV_WRITE : BDEV_READ, 1, DEPTH)->stop = true;
	return w;
}

static void unregister_here(void *arg)
{
	struct world *w = arg;

	bdev_unregister(&w->disks[0].bdev, unregistered, NULL);
}

static void removal_ends_what_waits(void **state)
{
	struct world *w = waiting_world(61);

	for (uint32_t i = 0; i < w->agent_count; i++)
		agent_go(&w->agents[i]);
	run_for(10 * NS_PER_MS);
	sim_as(core_control(w->core), unregister_here, w);
	assert_true(sim_run(agents_rest, w, 10 * NS_PER_MS));
	for (uint32_t i = 0; i < w->agent_count; i++)
		assert_true(w->agents[i].by_status[BDEV_ST_GONE] >= DEPTH - 1);
	world_free(w);
}

static void revoked(struct bdev_lease_revoke *r)
{
	container_of(r, struct world, revoke)->revoked++;
}

static void revoke_here(void *arg)
{
	struct world *w = arg;

	bdev_lease_revoke(w->core, &w->lease, &w->revoke, revoked);
}

static bool is_revoked(void *arg)
{
	return ((struct world *)arg)->revoked > 0;
}

static void a_revocation_does_not_wait_for_a_limit(void **state)
{
	struct world *w = waiting_world(62);

	for (uint32_t i = 0; i < w->agent_count; i++) {
		w->agents[i].lease = i == 1 ? NULL : &w->lease;
		agent_go(&w->agents[i]);
	}
	run_for(10 * NS_PER_MS);
	sim_as(core_reactor(w->core, 2), revoke_here, w);
	assert_true(sim_run(is_revoked, w, 10 * NS_PER_MS));
	run_for(10 * NS_PER_MS);
	for (uint32_t i = 0; i < w->agent_count; i++)
		assert_true(i == 1 ? w->agents[i].busy >= DEPTH - 1 : w->agents[i].by_status[BDEV_ST_FENCED] >= DEPTH - 1);
	set_limit(w, 0, QOS_RW_IOS, 0, QOS_BURST_MS);
	world_free(w);
}

static void reset_here(void *arg)
{
	struct agent *a = arg;

	a->op = BDEV_RESET;
	a->ch = bdev_channel_get(a->desc, NULL);
	slot_start(&a->slots[0]);
}

static void a_reset_ends_what_waits_on_every_core(void **state)
{
	struct world *w = waiting_world(63);
	struct agent *resetter = agent_add(w, 1, 0, BDEV_RESET, 1, 1), *other = agent_add(w, 2, 0, BDEV_RESET, 1, 1);

	for (uint32_t i = 0; i <= REACTORS; i++)
		agent_go(&w->agents[i]);
	resetter->stop = other->stop = true;
	run_for(10 * NS_PER_MS);
	sim_as(resetter->reactor, reset_here, resetter);
	sim_as(other->reactor, reset_here, other);
	assert_true(sim_run(agents_rest, w, 10 * NS_PER_MS));
	assert_int_equal(w->disks[0].resets, 2);
	for (uint32_t i = 0; i <= REACTORS; i++)
		assert_true(w->agents[i].by_status[BDEV_ST_ABORTED] >= DEPTH - 1);
	world_free(w);
}

static void abort_here(void *arg)
{
	struct agent *a = arg;

	for (uint32_t i = 0; i < a->depth / 2; i++) { /* every other one, back and forth */
		struct slot *s = &a->slots[14 * i % a->depth];

		if (s->busy && !bdev_abort(a->ch, &s->io))
			a->by_status[BDEV_ST_FAILED]++;
	}
}

static void what_waits_can_be_aborted(void **state)
{
	struct world *w = waiting_world(64);
	struct agent *a = &w->agents[0];

	agent_go(a);
	run_for(10 * NS_PER_MS);
	sim_as(a->reactor, abort_here, a);
	run_for(10 * NS_PER_MS);
	assert_int_equal(a->by_status[BDEV_ST_FAILED], 0);
	assert_true(a->by_status[BDEV_ST_ABORTED] >= DEPTH / 2 - 1 && a->by_status[BDEV_ST_ABORTED] <= DEPTH / 2);
	set_limit(w, 0, QOS_RW_IOS, 0, QOS_BURST_MS);
	assert_true(sim_run(agents_rest, w, 10 * NS_PER_MS));
	assert_true(a->by_status[BDEV_ST_OK] >= DEPTH / 2);
	world_free(w);
}

/* --- the meter --- */

static void metered(struct bdev_meter_call *c)
{
	counted(c->arg);
}

struct metering {
	struct world *world;
	struct bdev_meter_call call;
	struct bdev_stats_read read;
	uint64_t period_us;
};

static void meter_here(void *arg)
{
	struct metering *m = arg;

	m->call.arg = m->world;
	bdev_depth_set(&m->world->disks[0].bdev, m->period_us, &m->call, metered);
}

static void stats_read(struct bdev_stats_read *r)
{
	counted(r->arg);
}

static void read_here(void *arg)
{
	struct metering *m = arg;

	m->read.arg = m->world;
	bdev_stats_get(m->world->reg, &m->world->disks[0].bdev, &m->read, BDEV_STATS_KEEP, stats_read);
}

/* Limits keep the queue full, so that its depth and the time it is in use are known. */
static void the_depth_is_what_it_was(void **state)
{
	struct world *w = world_make(71);
	struct metering *m = base_zalloc(sizeof(*m));
	uint64_t began_ns;

	m->world = w;
	m->period_us = 1000;
	set_limit(w, 0, QOS_RW_IOS, 1000, QOS_BURST_MS);
	sim_as(core_control(w->core), meter_here, m);
	run_for(500 * NS_PER_MS); /* nothing to do: no time in use */
	began_ns = sim_now_ns();
	for (uint32_t c = 0; c < REACTORS; c++)
		agent_go(agent_add(w, c, 0, BDEV_READ, 1, 10));
	run_for(NS_PER_S);
	w->calls_done = 0;
	sim_as(core_control(w->core), read_here, m);
	assert_true(sim_run(call_done, w, NS_PER_S));
	assert_int_equal(m->read.sum.in_flight, 30);
	assert_rate(m->read.sum.busy_ns, sim_now_ns() - began_ns);
	assert_rate(m->read.sum.weighted_ns, 30 * (sim_now_ns() - began_ns));
	assert_true(m->read.sum.waits[BDEV_WAIT_READ_LIMIT].waits >= 900);
	assert_true(m->read.sum.waits[BDEV_WAIT_READ_LIMIT].waiting >= 25);
	assert_true(m->read.sum.waits[BDEV_WAIT_WRITE_LIMIT].waits == 0);
	m->period_us = 0;
	sim_as(core_control(w->core), meter_here, m);
	world_free(w);
	free(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_limit_is_kept_over_all_cores_together),
		cmocka_unit_test(one_core_alone_gets_all_of_it),
		cmocka_unit_test(reads_and_writes_have_limits_of_their_own),
		cmocka_unit_test(sizes_that_differ_add_up_to_the_bandwidth),
		cmocka_unit_test(bursts_of_work_reach_the_limit_too),
		cmocka_unit_test(what_was_not_used_can_be_spent_at_once),
		cmocka_unit_test(time_under_a_limit_is_waiting_time),
		cmocka_unit_test(an_idle_limit_sleeps),
		cmocka_unit_test(devices_of_a_group_share_its_limit),
		cmocka_unit_test(a_change_holds_at_once),
		cmocka_unit_test(removal_ends_what_waits),
		cmocka_unit_test(a_revocation_does_not_wait_for_a_limit),
		cmocka_unit_test(a_reset_ends_what_waits_on_every_core),
		cmocka_unit_test(what_waits_can_be_aborted),
		cmocka_unit_test(the_depth_is_what_it_was),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
