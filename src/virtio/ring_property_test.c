/* SPDX-License-Identifier: BSD-3-Clause */
/* ring_property_test.c: our driver against our device, of any size, format and features: each buffer comes once, whole,
 * with what was written, in order where that was negotiated; through moves between cores, new versions of the memory,
 * and deaths of the device after which the next goes on by the in-flight region.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/freeze.h"
#include "virtio/test_rig.h"

#define SLOT_BYTES 8192u            /* of data per request */
#define SEGMENTS 6u                 /* most of each direction */
#define REQUESTS 300u
#define DEVICE_IOVS 64u

enum request_state { REQ_FREE, REQ_ADDED, REQ_POPPED, REQ_PUSHED };
struct request {
	struct iovec iov[2 * SEGMENTS];
	uint32_t out_count, in_count, in_len, out_len;
	uint64_t serial;
	uint32_t written;
	enum request_state state;
};

struct taken {                      /* by the device */
	struct vq_chain chain;
	struct iovec iovs[DEVICE_IOVS];
	struct request *req;
};

struct world {
	struct rig rig;
	uint64_t seed;
	struct vq_drv drv;
	struct vq_dev dev;
	bool inflight;
	struct request *reqs;
	struct taken *taken;        /* in the order in which they were popped */
	uint32_t taken_count;
	uint64_t serial_next, published_below, serial_got; /* the latter two: in order */
	uint32_t added, got, deaths;
	uint32_t unpublished[64], unpublished_count;
	struct vq_mem *past[32];    /* versions of the memory; chains in flight know theirs */
	uint32_t past_count;
	struct vq_log log;
	uint8_t log_bits[4096];
};

static uint32_t below(struct world *w, uint32_t n) { return rig_below(&w->seed, n); }

static uint8_t pattern(uint64_t serial, uint32_t at, bool in)
{
	return (uint8_t)(serial * 31 + at * 7 + (at >> 8) + (in ? 101 : 0));
}

static void init(struct world *w, uint64_t seed)
{
	static const uint64_t choices[] = { VIRTIO_BIT(VIRTIO_F_RING_PACKED), VIRTIO_BIT(VIRTIO_RING_F_EVENT_IDX),
		VIRTIO_BIT(VIRTIO_RING_F_INDIRECT_DESC), VIRTIO_BIT(VIRTIO_F_IN_ORDER) };
	uint64_t features = VIRTIO_BIT(VIRTIO_F_VERSION_1);
	struct vq_setup s;
	uint32_t size, i;

	*w = (struct world){ .seed = seed * 0x9e3779b97f4a7c15ull + 1 };
	for (i = 0; i < ARRAY_SIZE(choices); i++)
		features |= below(w, 2) ? choices[i] : 0;
	size = features & VIRTIO_BIT(VIRTIO_F_RING_PACKED) ? 1 + below(w, 40) : 1u << below(w, 7);
	if (below(w, 2))
		rig_init_scattered(&w->rig, features, size, size * SLOT_BYTES);
	else
		rig_init(&w->rig, features, size, size * SLOT_BYTES);
	w->inflight = below(w, 2);
	w->reqs = calloc(size, sizeof(*w->reqs));
	w->taken = calloc(size, sizeof(*w->taken));
	s = rig_driver(&w->rig);
	assert_int_equal(vq_drv_init(&w->drv, &s), VQ_OK);
	s = rig_device(&w->rig, w->inflight);
	assert_int_equal(vq_dev_init(&w->dev, &s), VQ_OK);
	w->log = (struct vq_log){ w->log_bits, sizeof(w->log_bits) };
}

static void fini(struct world *w)
{
	vq_drv_fini(&w->drv);
	vq_dev_fini(&w->dev);
	free(w->reqs);
	free(w->taken);
	while (w->past_count > 0)
		vq_mem_free(w->past[--w->past_count]);
	rig_fini(&w->rig);
}

static uint32_t cut(struct world *w, struct iovec *iov, uint32_t count, uint8_t *data, uint32_t room)
{
	uint32_t i, len, total = 0;

	for (i = 0; i < count; i++) {
		len = 1 + below(w, room / SEGMENTS);
		iov[i] = (struct iovec){ data + total, len };
		total += len;
	}
	return total;
}

/* Half of the slot is what the device reads, half what it writes. The first bytes say which request it is. */
static void add(struct world *w)
{
	struct request *req = w->reqs;
	uint32_t at;
	uint8_t *data;

	while (req < w->reqs + w->rig.size && req->state != REQ_FREE)
		req++;
	if (req == w->reqs + w->rig.size || w->added == REQUESTS)
		return;
	data = w->rig.mem + w->rig.data + (size_t)(req - w->reqs) * SLOT_BYTES;
	req->serial = w->serial_next;
	req->out_count = 1 + below(w, SEGMENTS);
	req->in_count = below(w, SEGMENTS);
	if (req->out_count + req->in_count > w->rig.size && !w->drv.tables)
		req->out_count = 1, req->in_count = w->rig.size > 1 ? below(w, 2) : 0;
	req->out_len = cut(w, req->iov, req->out_count, data, SLOT_BYTES / 2 - 8);
	req->in_len = cut(w, req->iov + req->out_count, req->in_count, data + SLOT_BYTES / 2, SLOT_BYTES / 2);
	if (req->out_len < 8) {
		req->iov[req->out_count - 1].iov_len += 8;
		req->out_len += 8;
	}
	for (at = 0; at < req->out_len; at++)
		data[at] = pattern(req->serial, at, false);
	memcpy(data, &req->serial, sizeof(req->serial));
	memset(data + SLOT_BYTES / 2, 0, SLOT_BYTES / 2);
	if (!vq_drv_add(&w->drv, req->iov, req->out_count, req->in_count, req))
		return;
	req->state = REQ_ADDED;
	w->serial_next++;
	w->added++;
	if (below(w, 2)) {
		vq_drv_publish(&w->drv);
		(void)vq_drv_kick_due(&w->drv);
	}
}

static struct request *find(struct world *w, uint64_t serial)
{
	uint32_t i;

	for (i = 0; i < w->rig.size; i++) {
		if (w->reqs[i].state != REQ_FREE && w->reqs[i].serial == serial)
			return &w->reqs[i];
	}
	return NULL;
}

static void check_out(const struct taken *t)
{
	const struct vq_chain *c = &t->chain;
	uint32_t i, at = 0;
	size_t k;

	assert_int_equal(c->out_len, t->req->out_len);
	assert_int_equal(c->in_len, t->req->in_len);
	for (i = 0; i < c->out_count; i++) {
		for (k = 0; k < c->iov[i].iov_len; k++, at++) {
			if (at >= 8)
				assert_int_equal(((uint8_t *)c->iov[i].iov_base)[k], pattern(t->req->serial, at, false));
		}
	}
	assert_int_equal(at, c->out_len);
}

static uint64_t serial_of(const struct vq_chain *c)
{
	uint8_t bytes[8];
	uint32_t i, at = 0;
	uint64_t serial;
	size_t k;

	for (i = 0; i < c->out_count; i++) {
		for (k = 0; k < c->iov[i].iov_len && at < 8; k++)
			bytes[at++] = ((uint8_t *)c->iov[i].iov_base)[k];
	}
	assert_int_equal(at, 8);
	memcpy(&serial, bytes, 8);
	return serial;
}

static uint64_t oldest(const struct world *w, enum request_state state)
{
	uint64_t serial = UINT64_MAX;
	uint32_t i;

	for (i = 0; i < w->rig.size; i++)
		serial = w->reqs[i].state == state ? min_u64(serial, w->reqs[i].serial) : serial;
	return serial;
}

static bool pop(struct world *w)
{
	struct taken *t = &w->taken[w->taken_count];
	bool pending = vq_dev_pending(&w->dev);
	int rc;

	if (w->taken_count == w->rig.size)
		return false;
	rc = vq_dev_pop(&w->dev, &t->chain, t->iovs, DEVICE_IOVS);
	if (rc < 0)
		fail_msg("%s", vq_fault_text(w->dev.fault));
	assert_int_equal(rc, pending);
	if (rc == 0)
		return false;
	t->req = find(w, serial_of(&t->chain));
	assert_non_null(t->req);
	assert_int_equal(t->req->state, REQ_ADDED);
	assert_int_equal(t->req->serial, oldest(w, REQ_ADDED)); /* deaths or not */
	check_out(t);
	t->req->state = REQ_POPPED;
	w->taken_count++;
	return true;
}

static void write_in(struct world *w, struct taken *t)
{
	const struct vq_chain *c = &t->chain;
	uint32_t i, at = 0;
	size_t k;

	t->req->written = c->in_len > 0 ? below(w, c->in_len + 1) : 0;
	for (i = c->out_count; i < (uint32_t)c->out_count + c->in_count; i++) {
		for (k = 0; k < c->iov[i].iov_len && at < t->req->written; k++, at++)
			((uint8_t *)c->iov[i].iov_base)[k] = pattern(t->req->serial, at, true);
	}
}

static void publish(struct world *w)
{
	vq_dev_publish(&w->dev);
	w->unpublished_count = 0;
	w->published_below = min_u64(min_u64(oldest(w, REQ_POPPED), oldest(w, REQ_ADDED)), w->serial_next);
	(void)vq_dev_kick_due(&w->dev);
}

static void push(struct world *w, uint32_t which)
{
	struct taken *t = &w->taken[which];

	write_in(w, t);
	vq_dev_push(&w->dev, &t->chain, t->req->written);
	t->req->state = REQ_PUSHED;
	w->unpublished[w->unpublished_count++] = (uint32_t)(t->req - w->reqs);
	w->taken_count--;
	memmove(t, t + 1, (w->taken_count - which) * sizeof(*t));
	for (; which < w->taken_count; which++)
		w->taken[which].chain.iov = w->taken[which].iovs;
	if (below(w, 3) == 0 || w->unpublished_count == ARRAY_SIZE(w->unpublished))
		publish(w);
}

static void get(struct world *w)
{
	uint32_t written, at;
	const uint8_t *data;
	struct request *req;
	void *token;
	int rc = vq_drv_get(&w->drv, &token, &written);

	if (rc < 0)
		fail_msg("%s", vq_fault_text(w->drv.fault));
	if (rc == 0)
		return;
	req = token;
	assert_int_equal(req->state, REQ_PUSHED);
	assert_int_equal(written, req->written);
	if (w->dev.in_order)
		assert_int_equal(req->serial, w->serial_got);
	w->serial_got++;
	data = w->rig.mem + w->rig.data + (size_t)(req - w->reqs) * SLOT_BYTES + SLOT_BYTES / 2;
	for (at = 0; at < written; at++)
		assert_int_equal(data[at], pattern(req->serial, at, true));
	for (; w->deaths == 0 && at < req->in_len; at++) /* who died may have written more */
		assert_int_equal(data[at], 0);
	req->state = REQ_FREE;
	w->got++;
}

/* Another core, another process: its state is what was frozen. */
static void move(struct world *w)
{
	struct vq_setup s = rig_device(&w->rig, false);
	struct freeze f, thaw;
	struct vq_dev next;

	publish(w);
	freeze_init(&f);
	vq_dev_freeze(&f, &w->dev);
	assert_int_equal(vq_dev_init(&next, &s), VQ_OK);
	freeze_init_thaw(&thaw, f.buf, f.len);
	vq_dev_freeze(&thaw, &next);
	if (!freeze_ok(&thaw))
		fail_msg("%s", thaw.err.text);
	if (w->inflight)
		vq_dev_thaw_inflight(&next, w->rig.mem + w->rig.inflight);
	next.log = w->dev.log;
	vq_dev_fini(&w->dev);
	w->dev = next;
	freeze_fini(&f);
	freeze_fini(&thaw);
}

/* All that was popped and not published is popped again by the next, oldest first. */
static void die(struct world *w)
{
	struct vq_setup s = rig_device(&w->rig, true);
	uint32_t i;

	if (!w->inflight)
		return;
	for (i = 0; w->dev.in_order && i < w->rig.size; i++) {
		if (w->reqs[i].state == REQ_PUSHED && w->reqs[i].serial >= w->published_below)
			w->reqs[i].state = REQ_ADDED;
	}
	vq_dev_fini(&w->dev);
	for (i = 0; i < w->unpublished_count; i++)
		w->reqs[w->unpublished[i]].state = REQ_ADDED;
	for (i = 0; i < w->taken_count; i++)
		w->taken[i].req->state = REQ_ADDED;
	w->taken_count = w->unpublished_count = 0;
	w->deaths++;
	s.base = rig_packed(&w->rig) ? 0 : s.base; /* the front-end does not know better */
	assert_int_equal(vq_dev_init(&w->dev, &s), VQ_OK);
}

/* A new version of the memory under I/O. */
static void remap(struct world *w)
{
	struct vq_setup s;

	if (w->past_count == ARRAY_SIZE(w->past))
		return;
	w->past[w->past_count++] = w->rig.map;
	w->rig.map = vq_mem_make(w->rig.map->regions, w->rig.map->count, NULL);
	s = rig_device(&w->rig, w->inflight);
	vq_dev_remap(&w->dev, &s);
}

static void step(struct world *w);

static void run(uint64_t seed)
{
	struct world *w = calloc(1, sizeof(*w));
	uint64_t steps = 0;

	init(w, seed);
	while (w->got < REQUESTS) {
		step(w);
		if (++steps > 1000000)
			fail_msg("seed %llu: %u added, %u got", (unsigned long long)seed, w->added, w->got);
	}
	assert_int_equal(w->dev.in_flight, 0);
	assert_int_equal(w->drv.in_flight, 0);
	assert_int_equal(w->drv.descs_free, w->rig.size);
	assert_false(vq_dev_pending(&w->dev));
	assert_false(vq_drv_pending(&w->drv));
	fini(w);
	free(w);
}

static void step(struct world *w)
{
	uint32_t i;

	switch (below(w, 16)) {
	case 0: case 1: case 2: case 3: case 4:
		add(w);
		break;
	case 5: case 6: case 7: case 8:
		(void)pop(w);
		break;
	case 9: case 10: case 11:
		if (w->taken_count > 0)
			push(w, below(w, w->taken_count));
		break;
	case 12: case 13:
		get(w);
		break;
	case 14:
		vq_drv_publish(&w->drv);
		(void)vq_drv_kick_due(&w->drv);
		publish(w);
		if (vq_dev_arm(&w->dev))
			vq_dev_disarm(&w->dev);
		if (vq_drv_arm(&w->drv))
			vq_drv_disarm(&w->drv);
		break;
	default:
		i = below(w, 12);
		if (i == 0)
			move(w);
		else if (i == 1)
			vq_dev_set_log(&w->dev, w->dev.log ? NULL : &w->log);
		else if (i == 2)
			die(w);
		else if (i == 3)
			remap(w);
		break;
	}
}

/* Would break: a buffer lost, given twice, torn, or out of order, in any of the ring's variants. */
static void any_ring_gives_each_buffer_once(void **state)
{
	uint64_t seed;

	for (seed = 1; seed <= 250; seed++)
		run(seed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(any_ring_gives_each_buffer_once),
	};
	return cmocka_run_group_tests_name("ring_property", tests, NULL, NULL);
}
