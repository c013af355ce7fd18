/* SPDX-License-Identifier: BSD-3-Clause */
/* ring_kill_test.c: a device is killed at every one of its instructions, and each time another goes on with what memory
 * held then: every request is done exactly once, as far as the driver sees, and in the order in which they came.
 *
 * A child runs the device step by step; whenever a step has changed the shared memory, its state is what a kill at this
 * instruction would leave. The next device and the driver go on from a copy of it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <cmocka.h>

#include "virtio/test_rig.h"

#define SIZE 8u
#define REQUESTS 5u
#define ALL (REQUESTS + SIZE)   /* with those that the driver sends before the next device comes */
#define INDIRECT VIRTIO_BIT(VIRTIO_RING_F_INDIRECT_DESC)
#define PACKED VIRTIO_BIT(VIRTIO_F_RING_PACKED)
#define IN_ORDER VIRTIO_BIT(VIRTIO_F_IN_ORDER)

/* A run that has all there is: out of order, batches, a chain taken between push and publish, a ring that wraps, and a
 * start after a death (which may be killed, too). */
static void child(struct vq_dev *q, const struct vq_setup *s)
{
	struct vq_dev next;
	struct vq_chain c[REQUESTS];
	struct iovec iovs[REQUESTS][4];
	uint32_t i;

	for (i = 0; i < 3; i++)
		must(vq_dev_pop(q, &c[i], iovs[i], 4) == 1);
	vq_dev_push(q, &c[2], 0);
	vq_dev_push(q, &c[0], 0);
	must(vq_dev_pop(q, &c[3], iovs[3], 4) == 1);
	vq_dev_publish(q);
	vq_dev_push(q, &c[3], 0);
	must(vq_dev_pop(q, &c[4], iovs[4], 4) == 1);
	vq_dev_push(q, &c[1], 0); /* and is gone */
	must(vq_dev_init(&next, s) == VQ_OK);
	for (i = 0; vq_dev_pop(&next, &c[i], iovs[i], 4) == 1; i++)
		must(c[i].resubmitted);
	must(i == (next.in_order ? 4 : 3));
	vq_dev_push(&next, &c[i - 1], 0);
	vq_dev_push(&next, &c[0], 0);
	vq_dev_publish(&next);
	while (--i > 1)
		vq_dev_push(&next, &c[i - 1], 0);
	vq_dev_publish(&next);
}

static uint32_t tokens[ALL];

/* Where a ring of a past has come to: one that wraps within the run. */
static void warm_up(struct vq_drv *drv, struct vq_dev *dev, const struct iovec *iov, uint32_t rounds)
{
	struct iovec iovs[4];
	struct vq_chain c;
	uint32_t written;
	void *token;

	for (; rounds > 0; rounds--) {
		must(vq_drv_add(drv, iov, 1, 1, NULL));
		vq_drv_publish(drv);
		must(vq_dev_pop(dev, &c, iovs, 4) == 1);
		vq_dev_push(dev, &c, 0);
		vq_dev_publish(dev);
		must(vq_drv_get(drv, &token, &written) == 1);
	}
}

static uint32_t which(const struct rig *r, const struct vq_chain *c)
{
	return (uint32_t)((uint8_t *)c->iov[0].iov_base - (r->mem + r->data)) / 64;
}

static void get_all(struct vq_drv *drv, uint32_t *got)
{
	uint32_t written;
	void *token;

	while (vq_drv_get(drv, &token, &written) > 0)
		got[(uint32_t *)token - tokens]++;
	assert_int_equal(drv->fault, VQ_OK);
}

/* Of one descriptor each: what is free is available again. Returns how many. */
static uint32_t refill(const struct rig *r, struct vq_drv *drv)
{
	struct iovec iov;
	uint32_t i;

	for (i = REQUESTS; i < ALL; i++) {
		iov = (struct iovec){ r->mem + r->data + i * 64, 16 };
		if (!vq_drv_add(drv, &iov, 1, 0, &tokens[i]))
			break;
	}
	vq_drv_publish(drv);
	return i;
}

/* Go on from `copy`, as another device and this driver would, and finish all. */
static void go_on(const struct rig *was, const struct vq_drv *drv_was, uint8_t *copy, bool more)
{
	struct rig r = *was;
	struct vq_drv drv = *drv_was;
	struct vq_dev dev;
	struct vq_setup s;
	struct vq_chain c[ALL];
	struct iovec iovs[ALL][4];
	uint32_t popped[ALL] = { 0 }, got[ALL] = { 0 }, count = 0, i, last = 0, all = REQUESTS;

	r.mem = copy;
	rig_map(&r, 1, &r.mem);
	s = rig_driver(&r);
	drv.desc = s.desc;
	drv.driver = s.driver;
	drv.device = s.device;
	drv.tables = drv.tables ? s.tables : NULL;
	drv.addr_offset = s.addr_offset;
	drv.slots = calloc(SIZE, sizeof(*drv.slots));
	memcpy(drv.slots, drv_was->slots, SIZE * sizeof(*drv.slots));
	drv.order = calloc(SIZE, sizeof(*drv.order));
	if (drv_was->order)
		memcpy(drv.order, drv_was->order, SIZE * sizeof(*drv.order));

	get_all(&drv, got);
	if (more)
		all = refill(&r, &drv);
	s = rig_device(&r, true);
	s.base = 0; /* as a front-end that knows nothing says it */
	assert_int_equal(vq_dev_init(&dev, &s), VQ_OK);
	while (vq_dev_pop(&dev, &c[count], iovs[count], 4) > 0) {
		i = which(&r, &c[count]);
		assert_true(i < all);
		popped[i]++;
		assert_true(count == 0 || i > last); /* oldest first, none twice */
		last = i;
		assert_true(++count <= all);
	}
	assert_int_equal(dev.fault, VQ_OK);
	for (i = 0; i < all; i++)
		assert_int_equal(popped[i] + got[i], 1); /* done, or to be done */
	/* In the other order, one by one: nothing that the dead one left is in the way. */
	while (count > 0) {
		vq_dev_push(&dev, &c[--count], 0);
		vq_dev_publish(&dev);
		get_all(&drv, got);
	}
	for (i = 0; i < all; i++)
		assert_int_equal(got[i], 1);
	vq_dev_fini(&dev);
	vq_drv_fini(&drv);
	vq_mem_free(r.map);
}

static void kill_everywhere(uint64_t features, uint32_t rounds)
{
	struct rig r;
	struct vq_drv drv;
	struct vq_dev dev;
	struct vq_setup s;
	struct iovec iov[3];
	uint8_t *before, *copy;
	uint32_t i, states = 0, chain;
	unsigned long steps = 0;
	int status = 0;
	pid_t pid;

	rig_init(&r, features | VIRTIO_BIT(VIRTIO_F_VERSION_1), SIZE, 4096);
	s = rig_driver(&r);
	assert_int_equal(vq_drv_init(&drv, &s), VQ_OK);
	s = rig_device(&r, true);
	assert_int_equal(vq_dev_init(&dev, &s), VQ_OK);
	iov[0] = (struct iovec){ r.mem + r.data + 2048, 16 };
	iov[1] = (struct iovec){ r.mem + r.data + 3072, 16 };
	warm_up(&drv, &dev, iov, rounds);
	for (i = 0; i < REQUESTS; i++) {
		chain = features & INDIRECT || i == 1 ? 2 : 1 + (i == 2); /* chains of one and of two */
		iov[0] = (struct iovec){ r.mem + r.data + i * 64, 16 };
		iov[1] = (struct iovec){ r.mem + r.data + i * 64 + 32, 16 };
		assert_true(vq_drv_add(&drv, iov, 1, chain - 1, &tokens[i]));
	}
	vq_drv_publish(&drv);

	before = malloc(r.len);
	copy = aligned_alloc(4096, r.len);
	memcpy(before, r.mem, r.len);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0)
			_exit(77);
		raise(SIGSTOP);
		child(&dev, &s);
		_exit(0);
	}
	for (;;) {
		assert_int_equal(waitpid(pid, &status, 0), pid);
		if (!WIFSTOPPED(status))
			break;
		if (memcmp(before, r.mem, r.len) != 0) {
			memcpy(before, r.mem, r.len);
			memcpy(copy, r.mem, r.len);
			go_on(&r, &drv, copy, false);
			memcpy(copy, r.mem, r.len);
			go_on(&r, &drv, copy, true);
			states++;
		}
		steps++;
		if (ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL) != 0)
			break;
	}
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == 77)
		skip();
	assert_int_equal(WEXITSTATUS(status), 0);
	printf("features 0x%llx: %lu instructions, %u states\n", (unsigned long long)features, steps, states);
	assert_true(states > REQUESTS * 4);
	free(before);
	free(copy);
	vq_dev_fini(&dev);
	vq_drv_fini(&drv);
	rig_fini(&r);
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED
#endif
static void a_split_ring_survives(void **state) { kill_everywhere(0, 5); }
UNUSED static void a_split_ring_with_tables_survives(void **state) { kill_everywhere(INDIRECT, 0); }
UNUSED static void a_split_ring_in_order_survives(void **state) { kill_everywhere(IN_ORDER, 6); }
UNUSED static void a_packed_ring_survives(void **state) { kill_everywhere(PACKED, 0); }
static void a_packed_ring_that_wraps_survives(void **state) { kill_everywhere(PACKED, 3); }
UNUSED static void a_packed_ring_with_tables_survives(void **state) { kill_everywhere(PACKED | INDIRECT, 5); }
UNUSED static void a_packed_ring_in_order_survives(void **state) { kill_everywhere(PACKED | IN_ORDER, 2); }

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_split_ring_survives),
		cmocka_unit_test(a_packed_ring_that_wraps_survives),
#ifndef SANITIZED /* which has many more instructions, and none of ours */
		cmocka_unit_test(a_split_ring_with_tables_survives),
		cmocka_unit_test(a_split_ring_in_order_survives),
		cmocka_unit_test(a_packed_ring_survives),
		cmocka_unit_test(a_packed_ring_with_tables_survives),
		cmocka_unit_test(a_packed_ring_in_order_survives),
#endif
	};
	return cmocka_run_group_tests_name("ring_kill", tests, NULL, NULL);
}
