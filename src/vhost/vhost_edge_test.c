/* SPDX-License-Identifier: BSD-3-Clause */
/* vhost_edge_test.c: front-ends that say things in an order nobody expects, and moments that nobody waits for. */
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(in_flight_region_of_other_features),
	};

	return cmocka_run_group_tests_name("vhost_edge", tests, NULL, NULL);
}
