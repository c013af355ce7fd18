/* SPDX-License-Identifier: BSD-3-Clause */
/* ring_race_test.c: driver and device on two threads that sleep whenever they may: no wake-up is lost, no byte is seen
 * before its index. Each format with flags and with event index; a thread sanitizer follows every access.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>
#include <cmocka.h>

#include "virtio/test_rig.h"

#define SIZE 16u
#define REQUESTS 6000u
#define HANG_S 120          /* far beyond what any machine needs */

struct world {
	struct rig rig;
	struct vq_drv drv;
	struct vq_dev dev;
	sem_t kick, call;
	uint32_t kicks, calls, dev_sleeps, drv_sleeps;
	_Atomic(const char *) trouble; /* threads collect, the main thread asserts */
};

static void fails(struct world *w, const char *what)
{
	const char *none = NULL;

	__atomic_compare_exchange_n((const char **)&w->trouble, &none, what, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
	sem_post(&w->kick);
	sem_post(&w->call);
}

static bool sleep_on(struct world *w, sem_t *sem, const char *who)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += HANG_S;
	while (sem_timedwait(sem, &until) != 0) {
		if (errno == ETIMEDOUT) {
			fails(w, who);
			return false;
		}
	}
	while (sem_trywait(sem) == 0) /* as an eventfd that is read */
		;
	return true;
}

static void *device(void *arg)
{
	struct world *w = arg;
	struct vq_chain c[SIZE];
	struct iovec iovs[SIZE][4];
	uint64_t seed = 12345;
	uint32_t done = 0, count, i, spins;

	while (done < REQUESTS && !w->trouble) {
		for (count = 0; count < SIZE && vq_dev_pop(&w->dev, &c[count], iovs[count], 4) > 0; count++)
			;
		for (i = 0; i < count; i++) {
			/* The answer is what was read, plus one. */
			*(uint64_t *)iovs[i][1].iov_base = *(uint64_t *)iovs[i][0].iov_base + 1;
			vq_dev_push(&w->dev, &c[i], 8);
			if (rig_below(&seed, 4) == 0)
				vq_dev_publish(&w->dev);
		}
		vq_dev_publish(&w->dev);
		if (vq_dev_kick_due(&w->dev)) {
			w->calls++;
			sem_post(&w->call);
		}
		done += count;
		if (w->dev.fault != VQ_OK)
			fails(w, vq_fault_text(w->dev.fault));
		for (spins = rig_below(&seed, 3); spins > 0; spins--)
			sched_yield();
		if (count > 0 || done == REQUESTS || vq_dev_arm(&w->dev))
			continue;
		w->dev_sleeps++;
		if (!sleep_on(w, &w->kick, "the device was not kicked"))
			break;
		vq_dev_disarm(&w->dev);
	}
	return NULL;
}

static void *driver(void *arg)
{
	struct world *w = arg;
	uint64_t *data = (uint64_t *)(w->rig.mem + w->rig.data), *slot, seed = 54321, sent[SIZE];
	uint32_t added = 0, got = 0, i, written, busy = 0;
	struct iovec iov[2];
	void *token;
	bool moved;
	int rc;

	while (got < REQUESTS && !w->trouble) {
		moved = false;
		while ((rc = vq_drv_get(&w->drv, &token, &written)) > 0) {
			slot = token;
			i = (uint32_t)(slot - data) / 2;
			if (slot[1] != sent[i] + 1 || written != 8)
				fails(w, "a buffer came back with what was not written in it");
			busy &= ~(1u << i);
			got++;
			moved = true;
		}
		if (rc < 0)
			fails(w, vq_fault_text(w->drv.fault));
		for (i = 0; i < SIZE && added < REQUESTS && rig_below(&seed, 3) > 0; i++) {
			if (busy & 1u << i)
				continue;
			slot = data + 2 * i;
			slot[0] = sent[i] = rig_random(&seed);
			iov[0] = (struct iovec){ slot, 8 };
			iov[1] = (struct iovec){ slot + 1, 8 };
			if (!vq_drv_add(&w->drv, iov, 1, 1, slot))
				break;
			busy |= 1u << i;
			added++;
			moved = true;
		}
		vq_drv_publish(&w->drv);
		if (vq_drv_kick_due(&w->drv)) {
			w->kicks++;
			sem_post(&w->kick);
		}
		if (moved || busy == 0 || vq_drv_arm(&w->drv))
			continue;
		w->drv_sleeps++;
		if (!sleep_on(w, &w->call, "the driver was not called"))
			break;
		vq_drv_disarm(&w->drv);
	}
	return NULL;
}

/* Would break: both sides sleep, each waiting for the other. */
static void nobody_sleeps_for_ever(void **state)
{
	static const uint64_t variants[] = { 0, VIRTIO_BIT(VIRTIO_RING_F_EVENT_IDX),
		VIRTIO_BIT(VIRTIO_RING_F_INDIRECT_DESC), VIRTIO_BIT(VIRTIO_F_IN_ORDER) | VIRTIO_BIT(VIRTIO_RING_F_EVENT_IDX) };
	pthread_t dev, drv;
	struct vq_setup s;
	struct world *w;
	uint32_t i;

	for (i = 0; i < 2 * ARRAY_SIZE(variants); i++) {
		w = calloc(1, sizeof(*w));
		rig_init(&w->rig, variants[i / 2] | VIRTIO_BIT(VIRTIO_F_VERSION_1) |
		         (i % 2 ? VIRTIO_BIT(VIRTIO_F_RING_PACKED) : 0), SIZE, 4096);
		s = rig_driver(&w->rig);
		assert_int_equal(vq_drv_init(&w->drv, &s), VQ_OK);
		s = rig_device(&w->rig, false);
		assert_int_equal(vq_dev_init(&w->dev, &s), VQ_OK);
		sem_init(&w->kick, 0, 0);
		sem_init(&w->call, 0, 0);
		assert_int_equal(pthread_create(&dev, NULL, device, w), 0);
		assert_int_equal(pthread_create(&drv, NULL, driver, w), 0);
		pthread_join(dev, NULL);
		pthread_join(drv, NULL);
		if (w->trouble)
			fail_msg("variant %u: %s", i, w->trouble);
		printf("variant %u: %u kicks, %u calls; slept %u and %u times\n", i, w->kicks, w->calls, w->dev_sleeps,
		       w->drv_sleeps);
		vq_drv_fini(&w->drv);
		vq_dev_fini(&w->dev);
		sem_destroy(&w->kick);
		sem_destroy(&w->call);
		rig_fini(&w->rig);
		free(w);
	}
}

struct hostile {
	struct pvirtq_inflight *region;
	_Atomic bool stop;
};

/* Half of the time what it says is right. */
static void *lie(void *arg)
{
	struct hostile *h = arg;
	uint16_t says[] = { 0, UINT16_MAX };

	for (uint32_t i = 0; !h->stop; i++) {
		__atomic_store_n((uint16_t *)(void *)&h->region->used_idx, says[i & 1], __ATOMIC_RELAXED);
		__atomic_store_n((uint16_t *)(void *)&h->region->old_used_idx, says[i & 1], __ATOMIC_RELAXED);
		__atomic_store_n((uint16_t *)(void *)&h->region->desc_num, i & 1 ? UINT16_MAX : SIZE, __ATOMIC_RELAXED);
		if (i % 64 == 0)
			__atomic_store_n((uint16_t *)(void *)&h->region->version, i & 64 ? 0 : VIRTQ_INFLIGHT_VERSION,
			                 __ATOMIC_RELAXED);
	}
	return NULL;
}

/* Would break: what was checked in the front-end's memory is read there again, and used. */
static void an_in_flight_region_changes_while_it_is_read(void **state)
{
	struct hostile h = { 0 };
	struct vq_setup s;
	struct vq_dev q;
	struct rig rig;
	pthread_t liar;
	uint32_t i, bad = 0;

	rig_init(&rig, VIRTIO_BIT(VIRTIO_F_VERSION_1) | VIRTIO_BIT(VIRTIO_F_RING_PACKED), SIZE, 4096);
	s = rig_device(&rig, true);
	h.region = s.inflight;
	assert_int_equal(pthread_create(&liar, NULL, lie, &h), 0);
	for (i = 0; i < 20000; i++) {
		if (vq_dev_init(&q, &s) != VQ_OK)
			continue;
		bad += q.used_next >= SIZE || q.avail_next >= SIZE || q.inflight_count != SIZE;
		vq_dev_fini(&q);
	}
	h.stop = true;
	pthread_join(liar, NULL);
	assert_int_equal(bad, 0);
	rig_fini(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nobody_sleeps_for_ever),
		cmocka_unit_test(an_in_flight_region_changes_while_it_is_read),
	};
	return cmocka_run_group_tests_name("ring_race", tests, NULL, NULL);
}
