/* SPDX-License-Identifier: BSD-3-Clause */
/* vhost_test.c: disks over vhost-user in a simulated world: under I/O queues move, stop, and lose their memory, disk,
 * controller or front-end; every request is answered once and with the right bytes. */
#include "vhost/test_front.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define PACKED VIRTIO_BIT(VIRTIO_F_RING_PACKED)
#define EVENT_IDX VIRTIO_BIT(VIRTIO_RING_F_EVENT_IDX)

/* What blocks hold: each queue writes to a third of its own, so that its requests alone decide. */
static uint8_t holds[TEST_BLOCKS];

/* VHOST_SEEDS: so many, for a longer look. */
static uint64_t seeds(uint64_t usual)
{
	const char *more = getenv("VHOST_SEEDS");

	return more ? strtoull(more, NULL, 10) : usual;
}

static uint64_t features_of(uint64_t seed)
{
	return (seed & 1 ? PACKED : 0) | (seed & 2 ? EVENT_IDX : 0);
}

/* Whatever was read and is back is what was written. */
static void check_reads(struct front *f)
{
	for (uint32_t n = 0; n < FRONT_QUEUES; n++)
		for (uint32_t i = 0; i < FRONT_REQS; i++) {
			struct front_req *r = &f->queues[n].reqs[i];

			if (r->out || r->type != VIRTIO_BLK_T_IN || !r->len)
				continue;
			assert_int_equal(r->status, 0);
			assert_int_equal(r->written, r->len + 1);
			for (uint32_t at = 0; at < r->len; at++)
				assert_int_equal(r->data[at], holds[r->sector + at / TEST_SECTOR]);
			r->len = 0;
		}
}

static struct front_req *request(struct front_queue *q, bool write)
{
	uint32_t third = TEST_BLOCKS / FRONT_QUEUES, blocks = 1 + (uint32_t)sim_draw(8);
	uint64_t sector = q->index * third + sim_draw(third - blocks);
	uint8_t fill = (uint8_t)sim_draw(256);
	struct front_req *r;

	check_reads(q->front);
	/* None that is out may touch the same blocks. */
	for (uint32_t i = 0; i < FRONT_REQS; i++)
		if (q->reqs[i].out && q->reqs[i].sector < sector + blocks &&
		    sector < q->reqs[i].sector + q->reqs[i].len / TEST_SECTOR)
			return NULL;
	r = front_submit(q, write ? VIRTIO_BLK_T_OUT : VIRTIO_BLK_T_IN, sector, blocks * TEST_SECTOR, fill);
	if (r && write)
		memset(holds + sector, fill, blocks);
	return r;
}

static void some_requests(struct front *f, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		request(&f->queues[sim_draw(FRONT_QUEUES)], sim_chance(50));
}

static void begin(struct test_world *w, struct front *f, uint64_t seed, uint64_t protocol)
{
	memset(holds, 0, sizeof(holds));
	world_start(w, seed);
	front_open(f, w, features_of(seed), protocol);
	front_start(f);
}

/* All that is out comes back, and reads what was written. */
static void settle(struct front *f)
{
	assert_true(front_drain(f));
	check_reads(f);
}

/* The front-end hangs up and comes again, where its rings are now; `after_ns` later. */
static void come_back(struct front *f, uint64_t after_ns)
{
	front_reopen(f);
	world_pass(after_ns);
	for (uint32_t n = 0; n < FRONT_QUEUES; n++)
		f->queues[n].base = vq_drv_base(&f->queues[n].drv);
	front_start(f);
}

static void end(struct test_world *w, struct front *f)
{
	front_close(f);
	world_stop(w);
}

static void what_is_written_is_read(void **state)
{
	for (uint64_t seed = 0; seed < seeds(8); seed++) {
		struct test_world w = { 0 };
		struct front f;

		begin(&w, &f, seed, 0);
		for (uint32_t i = 0; i < 40; i++) {
			some_requests(&f, 12);
			settle(&f);
		}
		assert_int_equal(f.failed, 0);
		end(&w, &f);
	}
}

/* --- moving ----------------------------------------------------------------------------------------------------- */

struct going {
	struct vhost_ring_priv *r;
	struct reactor *to;
	uint32_t *moved;
};

static void went(void *arg, int rc)
{
	++*(uint32_t *)arg;
}

static void go(void *arg)
{
	struct going *g = arg;

	if (g->r->at.here && g->r->state == RING_OPEN && !g->r->stopping && !carry_is_wanted(&g->r->carry))
		vhost_ring_carry(g->r, g->to, went, g->moved);
}

static void move_one(struct test_world *w, uint32_t *moved)
{
	struct vhost_session_priv *s = world_session(w);
	struct vhost_ring_priv *r = s ? s->rings[sim_draw(FRONT_QUEUES)] : NULL;
	struct going g = { r, core_reactor(w->core, (uint32_t)sim_draw(core_reactor_count(w->core))), moved };

	if (r && r->queue.running && r->state != RING_IDLE)
		sim_as(carry_at(&r->at), go, &g);
}

/* A queue that moves takes its indices along; no request is lost, done twice, or left waiting for a kick that went to
 * the old core. */
static void queues_move_under_io(void **state)
{
	for (uint64_t seed = 0; seed < seeds(12); seed++) {
		struct test_world w = { .cores = 4, .slow_us = seed % 3 * 20 };
		struct front f;
		uint32_t moved = 0;

		begin(&w, &f, seed, 0);
		for (uint32_t i = 0; i < 60; i++) {
			some_requests(&f, 8);
			move_one(&w, &moved);
			if (sim_chance(40))
				world_pass(sim_draw(200 * NS_PER_US));
			else if (sim_chance(50))
				settle(&f);
		}
		settle(&f);
		assert_int_equal(f.failed, 0);
		end(&w, &f);
	}
}

static struct {
	struct test_world *w;
	uint32_t percent, moved;
} steps;

static void maybe_move(struct reactor *r, void *arg)
{
	struct vhost_session_priv *s = reactor_core(r) == steps.w->core ? world_session(steps.w) : NULL;

	for (uint32_t i = 0; s && i < FRONT_QUEUES; i++) {
		struct going g = { s->rings[i], core_reactor(steps.w->core, (uint32_t)sim_draw(steps.w->cores)),
		                   &steps.moved };

		if (g.r && g.r->queue.running && carry_at(&g.r->at) == r && sim_chance(steps.percent))
			sim_as(r, go, &g);
	}
}

static void stop_some(struct front *f, struct front_queue *q)
{
	front_queue_stop(q);
	front_queue_start(q);
	if (sim_chance(30))
		assert_int_equal(front_give_memory(f), 0);
}

/* After whatever pass of its core, a queue can go elsewhere: while it stops, begins, gets other memory, or its
 * front-end hangs up. */
static void queues_move_at_every_step(void **state)
{
	uint64_t moved = 0;

	for (uint64_t seed = 0; seed < seeds(24); seed++) {
		struct test_world w = { .cores = 3, .slow_us = seed % 3 * 20 };
		struct front f;

		begin(&w, &f, seed, 0);
		steps.w = &w;
		steps.percent = seed < 12 ? 100 : 30;
		steps.moved = 0;
		sim_after_pass(maybe_move, NULL);
		for (uint32_t i = 0; i < 25; i++) {
			some_requests(&f, 8);
			if (sim_chance(30))
				stop_some(&f, &f.queues[sim_draw(FRONT_QUEUES)]);
			if (sim_chance(10))
				come_back(&f, 10 * NS_PER_MS);
			if (sim_chance(50))
				settle(&f);
		}
		settle(&f);
		assert_int_equal(f.failed, 0);
		moved += steps.moved;
		sim_after_pass(NULL, NULL);
		end(&w, &f);
	}
	assert_true(moved > 50 * seeds(24));
}

/* --- stopping, memory, coming back ------------------------------------------------------------------------------ */

static void queues_stop_and_start_under_io(void **state)
{
	for (uint64_t seed = 0; seed < seeds(8); seed++) {
		struct test_world w = { .slow_us = seed % 3 * 20 };
		struct front f;
		uint32_t moved = 0;

		begin(&w, &f, seed, 0);
		for (uint32_t i = 0; i < 30; i++) {
			struct front_queue *q = &f.queues[sim_draw(FRONT_QUEUES)];

			some_requests(&f, 10);
			if (sim_chance(50))
				move_one(&w, &moved);
			front_queue_stop(q);
			request(q, true); /* waits in the ring */
			front_queue_start(q);
			if (sim_chance(30))
				assert_int_equal(front_give_memory(&f), 0);
			if (sim_chance(50))
				continue;
			settle(&f);
		}
		settle(&f);
		assert_int_equal(f.failed, 0);
		end(&w, &f);
	}
}

/* What was in the device's hands when the socket closed still reached the guest; what was not is done by the next
 * session. */
static void a_front_end_comes_back(void **state)
{
	for (uint64_t seed = 0; seed < seeds(8); seed++) {
		struct test_world w = { .slow_us = seed % 3 * 20 };
		struct front f;

		begin(&w, &f, seed, 0);
		for (uint32_t i = 0; i < 8; i++) {
			some_requests(&f, 20);
			if (sim_chance(50))
				world_pass(sim_draw(50 * NS_PER_US));
			come_back(&f, FRONT_QUEUES * NS_PER_MS);
			settle(&f);
		}
		assert_int_equal(f.failed, 0);
		end(&w, &f);
	}
}

/* --- ends ------------------------------------------------------------------------------------------------------- */

static bool is_true(void *arg)
{
	return *(bool *)arg;
}

static void a_controller_is_deleted_under_io(void **state)
{
	for (uint64_t seed = 0; seed < seeds(6); seed++) {
		struct test_world w = { .slow_us = seed % 3 * 20 };
		struct front f;
		uint32_t moved = 0;

		begin(&w, &f, seed, 0);
		some_requests(&f, 30);
		move_one(&w, &moved);
		world_delete_ctrlr(&w);
		assert_true(sim_run(is_true, &w.deleted, 10 * NS_PER_S));
		assert_true(sim_run(is_true, &f.ended, 10 * NS_PER_S));
		end(&w, &f);
	}
}

static void a_daemon_stops_under_io(void **state)
{
	struct test_world w = { 0 };
	struct front f;

	begin(&w, &f, 3, 0);
	some_requests(&f, 30);
	world_halt(&w);
	end(&w, &f);
}

/* The disk goes at once, whoever has it open; requests from then on end with errors, and the queue goes on. */
static void a_disk_is_removed_under_io(void **state)
{
	for (uint64_t seed = 0; seed < seeds(6); seed++) {
		struct test_world w = { .slow_us = seed % 3 * 20 };
		struct front f;
		uint32_t failed;

		begin(&w, &f, seed, 0);
		some_requests(&f, 30);
		world_delete_disk(&w);
		assert_true(sim_run(is_true, &w.disk_gone, 10 * NS_PER_S));
		assert_true(front_drain(&f));
		failed = f.failed;
		front_submit(&f.queues[0], VIRTIO_BLK_T_IN, 0, TEST_SECTOR, 0);
		front_submit(&f.queues[1], VIRTIO_BLK_T_OUT, 0, TEST_SECTOR, 0);
		assert_true(front_drain(&f));
		assert_int_equal(f.failed, failed + 2);
		front_queue_stop(&f.queues[0]);
		front_queue_start(&f.queues[0]);
		front_submit(&f.queues[0], VIRTIO_BLK_T_IN, 0, TEST_SECTOR, 0);
		assert_true(front_drain(&f));
		assert_int_equal(f.failed, failed + 3);
		world_make_disk(&w);
		world_pass(NS_PER_MS);
		failed = f.failed;
		for (uint32_t n = 0; n < FRONT_QUEUES; n++)
			front_submit(&f.queues[n], VIRTIO_BLK_T_OUT, n, TEST_SECTOR, 0);
		assert_true(front_drain(&f));
		assert_int_equal(f.failed, failed); /* it came back */
		end(&w, &f);
	}
}

static bool is_stalled(void *arg)
{
	return ((struct front_queue *)arg)->stalled;
}

/* A driver that breaks the rules has its queue stopped, is told by the error bell and by the status; other queues go
 * on, and the queue itself after a new start. */
static void a_broken_ring_stops_alone(void **state)
{
	for (uint64_t seed = 0; seed < seeds(4); seed++) {
		struct test_world w = { .slow_us = seed % 3 * 20 };
		struct front f;

		begin(&w, &f, seed, VU_P_BIT(STATUS));
		f.queues[0].drv.addr_offset += 1ull << 40; /* descriptors lead nowhere */
		front_submit(&f.queues[0], VIRTIO_BLK_T_IN, 0, TEST_SECTOR, 0);
		assert_true(sim_run(is_stalled, &f.queues[0], 10 * NS_PER_S));
		world_pass(NS_PER_MS);
		assert_true(front_get(&f, VU_GET_STATUS) & VIRTIO_CONFIG_S_NEEDS_RESET);
		front_submit(&f.queues[1], VIRTIO_BLK_T_IN, 100, TEST_SECTOR, 0);
		world_pass(NS_PER_MS);
		assert_int_equal(f.queues[1].out, 0);
		end(&w, &f);
	}
}

static bool is_broken(void *arg)
{
	struct front *f = arg;

	return f->queues[0].stalled && f->queues[1].stalled && f->queues[2].stalled;
}

/* A front-end that shortens its memory's file loses its device, and nobody else notices. */
static void memory_that_goes_stops_the_device(void **state)
{
	struct test_world w = { 0 };
	struct front f;

	begin(&w, &f, 2, 0);
	sim_share_truncate(f.fd, 4096);
	assert_true(sim_run(is_broken, &f, 10 * NS_PER_S));
	end(&w, &f);
}

/* --- interrupts ------------------------------------------------------------------------------------------------- */

static struct vhost_ctrlr *ctrlr_at_hand;

struct coalescing { uint32_t delay_us, threshold; };

static void set_coalescing(void *arg)
{
	const struct coalescing *c = arg;
	struct err e = { 0 };

	must(!vhost_ctrlr_set_coalescing(ctrlr_at_hand, c->delay_us, c->threshold, &e));
}

/* With a high rate interrupts are put off, with a lower one than the threshold they are not, and none is forgotten. */
static void interrupts_are_put_off(void **state)
{
	struct test_world w = { 0 };
	struct coalescing how[3] = { { 0, 1000 }, { 100, 1000 }, { 100, 1000000 } };
	uint32_t calls[3];
	struct front f;

	begin(&w, &f, 0, 0);
	ctrlr_at_hand = world_ctrlr(&w);
	for (uint32_t n = 0; n < 3; n++) {
		uint32_t before, total = 0;

		sim_as(core_control(w.core), set_coalescing, &how[n]);
		world_pass(NS_PER_MS);
		before = f.queues[0].calls;
		for (uint32_t i = 0; i < 3000; i++) {
			total += request(&f.queues[0], true) != NULL;
			world_pass(20 * NS_PER_US);
		}
		assert_true(front_drain(&f));
		calls[n] = f.queues[0].calls - before;
		assert_true(total > 100);
	}
	assert_true(calls[1] * 2 < calls[0]);
	assert_true(calls[2] * 10 > calls[0] * 9);
	end(&w, &f);
}

/* A controller that is the client comes by itself, and comes again. */
static void a_client_connects_for_ever(void **state)
{
	struct test_world w = { .client = true };
	struct front f;

	memset(holds, 0, sizeof(holds));
	world_start(&w, 5);
	world_pass(5 * NS_PER_S); /* nobody listens yet */
	front_open(&f, &w, PACKED, 0);
	front_start(&f);
	for (uint32_t i = 0; i < 3; i++) {
		some_requests(&f, 10);
		assert_true(front_drain(&f));
		come_back(&f, 0);
	}
	end(&w, &f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_written_is_read),
		cmocka_unit_test(queues_move_under_io),
		cmocka_unit_test(queues_move_at_every_step),
		cmocka_unit_test(queues_stop_and_start_under_io),
		cmocka_unit_test(a_front_end_comes_back),
		cmocka_unit_test(a_controller_is_deleted_under_io),
		cmocka_unit_test(a_daemon_stops_under_io),
		cmocka_unit_test(a_disk_is_removed_under_io),
		cmocka_unit_test(a_broken_ring_stops_alone),
		cmocka_unit_test(memory_that_goes_stops_the_device),
		cmocka_unit_test(interrupts_are_put_off),
		cmocka_unit_test(a_client_connects_for_ever),
	};

	return cmocka_run_group_tests_name("vhost", tests, NULL, NULL);
}
