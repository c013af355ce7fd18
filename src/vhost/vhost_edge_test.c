/* SPDX-License-Identifier: BSD-3-Clause */
/* vhost_edge_test.c: front-ends that say things in an order nobody expects, and moments that nobody waits for. */
#include "net/sim/hogs.h"
#include "vhost/blk.h"
#include "vhost/test_front.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define PACKED VIRTIO_BIT(VIRTIO_F_RING_PACKED)

static void end(struct test_world *w, struct front *f)
{
	front_close(f);
	world_stop(w);
}

static uint64_t tell_u64(struct front *f, uint32_t request, uint64_t value)
{
	struct vu_msg m;

	vu_request(request, VU_PAYLOAD_U64, &m);
	m.u64 = value;
	return front_tell(f, &m);
}

static void negotiate(struct front *f, uint64_t features)
{
	struct vu_msg m;

	f->protocol &= front_get(f, VU_GET_PROTOCOL_FEATURES);
	vu_request(VU_SET_PROTOCOL_FEATURES, VU_PAYLOAD_U64, &m);
	m.u64 = f->protocol;
	front_send(f, &m);
	assert_int_equal(tell_u64(f, VU_SET_FEATURES, features), 0);
}

/* A packed ring's region is longer than a split one's: what was given for split rings is no place for it. */
static void in_flight_region_of_other_features(void **state)
{
	struct test_world w = { 0 };
	struct front_queue *q;
	struct vu_msg m, reply;
	struct front f;

	world_start(&w, 1);
	front_open(&f, &w, PACKED, VU_P_BIT(INFLIGHT_SHMFD));
	q = &f.queues[FRONT_QUEUES - 1];
	negotiate(&f, f.features & ~PACKED);
	vu_request(VU_GET_INFLIGHT_FD, VU_PAYLOAD_INFLIGHT, &m);
	m.inflight = (struct vu_inflight){ .queues = FRONT_QUEUES, .queue_size = FRONT_SIZE };
	assert_true(front_ask(&f, &m, &reply));
	m = reply;
	m.request = VU_SET_INFLIGHT_FD;
	m.flags = VU_VERSION;
	assert_int_equal(front_tell(&f, &m), 0);
	core_fd_close(m.fds[0]);
	assert_int_equal(tell_u64(&f, VU_SET_FEATURES, f.features), 0);
	assert_int_equal(front_give_memory(&f), 0);
	vu_request(VU_SET_VRING_NUM, VU_PAYLOAD_STATE, &m);
	m.state = (struct vu_state){ q->index, FRONT_SIZE };
	assert_int_equal(front_tell(&f, &m), 0);
	assert_int_equal(front_queue_place(q), 0);
	vu_request(VU_SET_VRING_KICK, VU_PAYLOAD_U64, &m);
	m.u64 = q->index | VU_VRING_FD_NONE;
	assert_int_equal(front_tell(&f, &m), 0);
	vu_request(VU_SET_VRING_ENABLE, VU_PAYLOAD_STATE, &m);
	m.state = (struct vu_state){ q->index, 1 };
	assert_int_not_equal(front_tell(&f, &m), 0);
	end(&w, &f);
}

/* Memory is split or joined: what held a ring goes, and comes back with the next message. The ring goes on. */
static void memory_of_a_ring_goes_and_comes_back(void **state)
{
	struct test_world w = { 0 };
	struct front f;

	world_start(&w, 2);
	front_open(&f, &w, 0, VU_P_BIT(CONFIGURE_MEM_SLOTS));
	front_start(&f);
	front_submit(&f.queues[0], VIRTIO_BLK_T_OUT, 0, TEST_SECTOR, 1);
	assert_int_equal(front_region(&f, VU_REM_MEM_REG), 0);
	front_submit(&f.queues[1], VIRTIO_BLK_T_OUT, 1, TEST_SECTOR, 1);
	assert_int_equal(front_region(&f, VU_ADD_MEM_REG), 0);
	assert_true(front_drain(&f));
	assert_int_equal(f.failed, 0);
	/* But one that was stopped by the front-end stays so. */
	front_queue_stop(&f.queues[0]);
	assert_int_equal(front_region(&f, VU_REM_MEM_REG), 0);
	assert_int_equal(front_region(&f, VU_ADD_MEM_REG), 0);
	assert_false(world_session(&w)->rings[0]->queue.running);
	assert_true(world_session(&w)->rings[1]->queue.running);
	end(&w, &f);
}

struct moving {
	struct vhost_ring_priv *r;
	struct reactor *to;
	uint32_t gone;
};

static void went(void *arg, int rc)
{
	++*(uint32_t *)arg;
}

static void go(void *arg)
{
	struct moving *m = arg;

	vhost_ring_carry(m->r, m->to, went, &m->gone);
}

static void coalesce(void *arg)
{
	struct err e = { 0 };

	must(!vhost_ctrlr_set_coalescing(arg, 1000, 1, &e));
}

/* An interrupt that was put off goes along with a queue that moves, and is told there. */
static void an_interrupt_put_off_moves_along(void **state)
{
	struct test_world w = { .cores = 2 };
	struct moving m = { 0 };
	struct front f;

	world_start(&w, 0);
	front_open(&f, &w, 0, 0);
	front_start(&f);
	sim_as(core_control(w.core), coalesce, world_ctrlr(&w));
	m.r = world_session(&w)->rings[0];
	for (uint32_t i = 0; i < 200; i++) { /* a rate */
		front_submit(&f.queues[0], VIRTIO_BLK_T_IN, i, TEST_SECTOR, 0);
		world_pass(NS_PER_MS / 5);
	}
	assert_true(front_drain(&f));
	for (uint32_t i = 0; i < 4; i++) {
		struct reactor *from = carry_at(&m.r->at);

		front_submit(&f.queues[0], VIRTIO_BLK_T_IN, i, TEST_SECTOR, 0);
		world_pass(NS_PER_MS / 5);
		m.to = core_reactor(w.core, from == core_reactor(w.core, 0));
		sim_as(from, go, &m);
		assert_true(front_drain(&f));
	}
	assert_int_equal(m.gone, 4);
	end(&w, &f);
}

static bool session_is_through(struct test_world *w)
{
	const struct blk_session *b = world_session(w)->session.device;

	return atomic_load(&b->no_flush) || atomic_load(&blk_of(world_ctrlr(w))->cache_off);
}

static void set_cache(struct front *f, uint8_t write_back)
{
	struct vu_msg m;

	vu_request(VU_SET_CONFIG, VU_PAYLOAD_CONFIG, &m);
	memset(&m.config, 0, sizeof(m.config));
	m.config.offset = offsetof(struct virtio_blk_config, wce);
	m.config.size = 1;
	m.config.data[0] = write_back;
	assert_int_equal(front_tell(f, &m), 0);
}

/* A driver that has switched the cache off flushes no more. The machine that is paused has its device stopped and
 * started, and the driver does not hear of it. */
static void a_cache_that_is_off_stays_off(void **state)
{
	const uint64_t flush = VIRTIO_BIT(VIRTIO_BLK_F_FLUSH), wce = VIRTIO_BIT(VIRTIO_BLK_F_CONFIG_WCE);
	struct test_world w = { 0 };
	struct front f;

	world_start(&w, 3);
	front_open(&f, &w, flush | wce, VU_P_BIT(STATUS));
	front_start(&f);
	assert_false(session_is_through(&w));
	set_cache(&f, 0);
	assert_true(session_is_through(&w));
	for (uint32_t n = 0; n < FRONT_QUEUES; n++)
		front_queue_stop(&f.queues[n]);
	assert_int_equal(tell_u64(&f, VU_SET_STATUS, 0), 0);
	assert_int_equal(tell_u64(&f, VU_SET_FEATURES, f.features), 0);
	assert_true(session_is_through(&w));
	set_cache(&f, 1);
	assert_false(session_is_through(&w));
	/* Who cannot flush has no cache to switch on. */
	assert_int_equal(tell_u64(&f, VU_SET_FEATURES, f.features & ~flush), 0);
	assert_true(session_is_through(&w));
	set_cache(&f, 1);
	assert_true(session_is_through(&w));
	end(&w, &f);
}

static void tell_bell(struct front *f, uint32_t request, uint32_t index, const struct bell *b)
{
	struct vu_msg m;

	vu_request(request, VU_PAYLOAD_U64, &m);
	m.u64 = index | (b ? 0 : VU_VRING_FD_NONE);
	m.fd_count = b != NULL;
	m.fds[0] = b ? bell_fd(b) : -1;
	assert_int_equal(front_tell(f, &m), 0);
}

static void kick_in_band(struct front_queue *q)
{
	struct vu_msg m;

	vu_request(VU_VRING_KICK, VU_PAYLOAD_STATE, &m);
	m.state = (struct vu_state){ q->index, 0 };
	assert_int_equal(front_tell(q->front, &m), 0);
}

/* Kicks are messages; a descriptor that is given is heard nonetheless, and none at all means that the ring is to be
 * polled: then nobody kicks. */
static void kicks_in_band_by_descriptor_and_not_at_all(void **state)
{
	struct test_world w = { 0 };
	struct front_queue *q;
	struct front f;

	world_start(&w, 8);
	front_open(&f, &w, 0, VU_P_BIT(INBAND_NOTIFICATIONS) | VU_P_BIT(BACKEND_REQ));
	front_start(&f);
	q = &f.queues[0];
	tell_bell(&f, VU_SET_VRING_CALL, 0, &q->call);
	for (uint32_t i = 0; i < 3; i++) {
		world_pass(NS_PER_MS); /* all asleep */
		assert_non_null(front_submit(q, VIRTIO_BLK_T_IN, 0, TEST_SECTOR, 0));
		world_pass(NS_PER_MS);
		assert_int_equal(q->out, 1);
		kick_in_band(q);
		assert_true(front_drain(&f));
	}
	tell_bell(&f, VU_SET_VRING_KICK, 0, &q->kick);
	world_pass(NS_PER_MS);
	assert_non_null(front_submit(q, VIRTIO_BLK_T_IN, 0, TEST_SECTOR, 0));
	assert_true(front_drain(&f));
	tell_bell(&f, VU_SET_VRING_KICK, 0, NULL);
	world_pass(100 * NS_PER_US);
	assert_non_null(front_submit(q, VIRTIO_BLK_T_IN, 0, TEST_SECTOR, 0));
	assert_true(front_drain(&f));
	end(&w, &f);
}

static uint64_t enable(struct front_queue *q)
{
	struct vu_msg m;

	vu_request(VU_SET_VRING_ENABLE, VU_PAYLOAD_STATE, &m);
	m.state = (struct vu_state){ q->index, 1 };
	return front_tell(q->front, &m);
}

/* A queue whose requests the memory budget has no room for is refused, and starts when there is some; others run on. */
static void a_queue_beyond_the_budget_is_refused(void **state)
{
	struct test_world w = { 0 };
	struct mem_stats before, after;
	struct front_queue *q;
	struct vu_msg m;
	struct hogs hogs;
	struct front f;

	world_start(&w, 9);
	front_open(&f, &w, 0, 0);
	front_start(&f);
	q = &f.queues[0];
	mem_get_stats(w.core, &before);
	front_queue_stop(q);
	hogs_begin(&hogs, w.core, NULL);
	hogs_take_budget(&hogs);
	assert_int_equal(enable(q), 0);
	vu_request(VU_SET_VRING_KICK, VU_PAYLOAD_U64, &m);
	m.u64 = 0;
	m.fd_count = 1;
	m.fds[0] = bell_fd(&q->kick);
	assert_int_not_equal(front_tell(&f, &m), 0);
	assert_non_null(front_submit(&f.queues[1], VIRTIO_BLK_T_IN, 0, TEST_SECTOR, 0));
	assert_true(front_drain(&f));
	hogs_end(&hogs);
	assert_int_equal(enable(q), 0);
	assert_non_null(front_submit(q, VIRTIO_BLK_T_IN, 0, TEST_SECTOR, 0));
	assert_true(front_drain(&f));
	mem_get_stats(w.core, &after);
	assert_int_equal(after.charged_bytes, before.charged_bytes);
	end(&w, &f);
}

static void hang_up(void *arg)
{
	struct front *f = arg;

	sock_close(f->sock);
	f->sock = NULL;
}

/* The front-end is killed right after a message that waits for a request; there is so much before it that its end is
 * seen together with that. Who comes next must not be heard before: its queues would lie in rings that other cores
 * still serve. */
static void an_end_behind_a_message_that_waits_is_noticed(void **state)
{
	static uint8_t burst[16384];

	for (uint32_t seed = 0; seed < 3; seed++) {
		struct test_world w = { .slow_us = 10000 };
		struct vhost_session_priv *old;
		uint32_t len = 0;
		struct vu_msg m;
		struct front f;

		world_start(&w, seed);
		front_open(&f, &w, 0, 0);
		front_start(&f);
		old = world_session(&w);
		for (uint32_t n = 0; n < 2; n++)
			assert_non_null(front_submit(&f.queues[n], VIRTIO_BLK_T_IN, 0, TEST_SECTOR, 0));
		world_pass(NS_PER_MS);
		vu_request(VU_SET_OWNER, VU_PAYLOAD_NONE, &m);
		for (uint32_t n = 0; n < 600; n++)
			len += vu_encode(&m, burst + len);
		vu_request(VU_GET_VRING_BASE, VU_PAYLOAD_STATE, &m);
		m.state = (struct vu_state){ 0, 0 };
		len += vu_encode(&m, burst + len);
		front_send_raw(&f, burst, len, NULL, 0);
		sim_as(f.on, hang_up, &f);
		world_pass(NS_PER_MS);
		assert_true(old->ended);
		front_reopen(&f);
		(void)front_get(&f, VU_GET_FEATURES);
		assert_true(world_ctrlr(&w)->sessions.next == &world_session(&w)->session.link);
		assert_true(front_drain(&f));
		end(&w, &f);
	}
}

static void tell_state(struct front_queue *q, uint32_t request, uint32_t num)
{
	struct vu_msg m;

	vu_request(request, VU_PAYLOAD_STATE, &m);
	m.state = (struct vu_state){ q->index, num };
	assert_int_equal(front_tell(q->front, &m), 0);
}

static void close_sock(void *arg)
{
	sock_close(arg);
}

/* Two front-ends of a controller that are both there have the same memory: a ring is served for one of them only. */
static void a_ring_that_another_front_end_has_is_refused(void **state)
{
	struct test_world w = { 0 };
	struct front_queue *q;
	struct sock *first;
	struct front f;

	world_start(&w, 10);
	front_open(&f, &w, 0, 0);
	front_start(&f);
	q = &f.queues[0];
	first = f.sock;
	f.sock = NULL;
	front_reopen(&f);
	negotiate(&f, f.features);
	assert_int_equal(front_give_memory(&f), 0);
	assert_int_equal(front_queue_place(q), 0);
	tell_state(q, VU_SET_VRING_NUM, FRONT_SIZE);
	tell_bell(&f, VU_SET_VRING_CALL, 0, &q->call);
	tell_bell(&f, VU_SET_VRING_KICK, 0, &q->kick);
	assert_int_not_equal(enable(q), 0);
	assert_non_null(front_submit(q, VIRTIO_BLK_T_IN, 0, TEST_SECTOR, 0)); /* the first one's */
	assert_true(front_drain(&f));
	sim_as(f.on, close_sock, first);
	world_pass(NS_PER_MS);
	tell_state(q, VU_SET_VRING_BASE, 1);
	assert_int_equal(enable(q), 0);
	assert_non_null(front_submit(q, VIRTIO_BLK_T_IN, 0, TEST_SECTOR, 0));
	assert_true(front_drain(&f));
	end(&w, &f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(in_flight_region_of_other_features),
		cmocka_unit_test(memory_of_a_ring_goes_and_comes_back),
		cmocka_unit_test(an_interrupt_put_off_moves_along),
		cmocka_unit_test(a_cache_that_is_off_stays_off),
		cmocka_unit_test(kicks_in_band_by_descriptor_and_not_at_all),
		cmocka_unit_test(a_queue_beyond_the_budget_is_refused),
		cmocka_unit_test(an_end_behind_a_message_that_waits_is_noticed),
		cmocka_unit_test(a_ring_that_another_front_end_has_is_refused),
	};

	return cmocka_run_group_tests_name("vhost_edge", tests, NULL, NULL);
}
