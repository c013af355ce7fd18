/* SPDX-License-Identifier: BSD-3-Clause */
/* ring_test.c: what a guest may say and what it may not, ring by ring, written by hand; and who is told when. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/freeze.h"
#include "virtio/test_rig.h"

#define SIZE 8u
#define INDIRECT VIRTIO_BIT(VIRTIO_RING_F_INDIRECT_DESC)
#define EVENT VIRTIO_BIT(VIRTIO_RING_F_EVENT_IDX)
#define PACKED VIRTIO_BIT(VIRTIO_F_RING_PACKED)
#define IN_ORDER VIRTIO_BIT(VIRTIO_F_IN_ORDER)
enum { NEXT = VIRTQ_DESC_F_NEXT, WRITE = VIRTQ_DESC_F_WRITE, TABLE = VIRTQ_DESC_F_INDIRECT };

struct bench {
	struct rig rig;
	struct vq_dev dev;
	struct iovec iovs[16];
	struct vq_chain c;
};

static void bench_init(struct bench *b, uint64_t features)
{
	struct vq_setup s;

	rig_init(&b->rig, features | VIRTIO_BIT(VIRTIO_F_VERSION_1), SIZE, 65536);
	s = rig_device(&b->rig, false);
	assert_int_equal(vq_dev_init(&b->dev, &s), VQ_OK);
}

static void bench_fini(struct bench *b)
{
	vq_dev_fini(&b->dev);
	rig_fini(&b->rig);
}

static uint64_t data_at(const struct bench *b, size_t at) { return RIG_GPA + b->rig.data + at; }

/* Split: `a` is next; packed: `a` is the id, and the entry is made available for the ring's first round. */
static void desc_in(const struct bench *b, size_t table, uint32_t at, uint64_t addr, uint32_t len, uint16_t flags,
                    uint16_t a)
{
	struct virtq_desc *d = (struct virtq_desc *)(b->rig.mem + table) + at;

	if (rig_packed(&b->rig))
		*(struct pvirtq_desc *)d = (struct pvirtq_desc){ le64_of(addr), le32_of(len), le16_of(a),
			le16_of(flags | (table == b->rig.desc ? VIRTQ_DESC_F_AVAIL : 0)) };
	else
		*d = (struct virtq_desc){ le64_of(addr), le32_of(len), le16_of(flags), le16_of(a) };
}

static void desc(const struct bench *b, uint32_t at, uint64_t addr, uint32_t len, uint16_t flags, uint16_t a)
{
	desc_in(b, b->rig.desc, at, addr, len, flags, a);
}

static void entry(const struct bench *b, uint32_t at, uint64_t addr, uint32_t len, uint16_t flags, uint16_t next)
{
	desc_in(b, b->rig.tables, at, addr, len, flags, next);
}

static void offer(const struct bench *b, uint16_t head) /* split */
{
	struct virtq_avail *avail = (struct virtq_avail *)(b->rig.mem + b->rig.driver);
	uint16_t idx = le16_get(avail->idx);

	avail->ring[idx % SIZE] = le16_of(head);
	avail->idx = le16_of((uint16_t)(idx + 1));
}

static int pop(struct bench *b) { return vq_dev_pop(&b->dev, &b->c, b->iovs, ARRAY_SIZE(b->iovs)); }

/* --- what is refused --- */

static void avail_ahead(struct bench *b)
{
	((struct virtq_avail *)(b->rig.mem + b->rig.driver))->idx = le16_of(SIZE + 1);
}
static void head_beyond(struct bench *b) { offer(b, SIZE); }
static void next_beyond(struct bench *b) { desc(b, 0, data_at(b, 0), 16, NEXT, SIZE); offer(b, 0); }
static void loop(struct bench *b)
{
	desc(b, 0, data_at(b, 0), 16, NEXT, 1);
	desc(b, 1, data_at(b, 0), 16, NEXT, 0);
	offer(b, 0);
}
static void in_then_out(struct bench *b)
{
	desc(b, 0, data_at(b, 0), 16, NEXT | WRITE, 1);
	desc(b, 1, data_at(b, 0), 16, 0, 0);
	offer(b, 0);
}
static void four_gib(struct bench *b)
{
	desc(b, 0, data_at(b, 0), 16, NEXT, 1);
	desc(b, 1, data_at(b, 0), 0xfffffff8, 0, 0);
	offer(b, 0);
}
static void no_memory(struct bench *b) { desc(b, 0, RIG_GPA - 8, 16, 0, 0); offer(b, 0); }
static void beyond_memory(struct bench *b) { desc(b, 0, RIG_GPA + b->rig.len - 8, 16, 0, 0); offer(b, 0); }
static void address_wraps(struct bench *b) { desc(b, 0, UINT64_MAX - 7, 16, 0, 0); offer(b, 0); }
static void table(struct bench *b, uint32_t len, uint16_t flags)
{
	desc(b, 0, RIG_GPA + b->rig.tables, len, TABLE | flags, 0);
	offer(b, 0);
}
static void table_unasked(struct bench *b) { table(b, 16, 0); }
static void table_of_15(struct bench *b) { table(b, 15, 0); }
static void table_of_0(struct bench *b) { table(b, 0, 0); }
static void table_too_long(struct bench *b) { table(b, 16 * (VQ_INDIRECT_DEFAULT + 1), 0); }
static void table_and_next(struct bench *b) { table(b, 16, NEXT); }
static void table_nowhere(struct bench *b) { desc(b, 0, 16, 16, TABLE, 0); offer(b, 0); }
static void table_in_table(struct bench *b) { entry(b, 0, RIG_GPA + b->rig.tables, 16, TABLE, 0); table(b, 16, 0); }
static void table_next_beyond(struct bench *b)
{
	entry(b, 0, data_at(b, 0), 16, NEXT, 2);
	entry(b, 1, data_at(b, 0), 16, 0, 0);
	table(b, 32, 0);
}
static void table_loop(struct bench *b) { entry(b, 0, data_at(b, 0), 16, NEXT, 0); table(b, 16, 0); }
static void table_many(struct bench *b)
{
	uint32_t i;

	for (i = 0; i < 17; i++)
		entry(b, i, data_at(b, 0), 16, i < 16 ? NEXT : 0, (uint16_t)(i + 1));
	table(b, 17 * 16, 0);
}
static void same_twice(struct bench *b)
{
	desc(b, 0, data_at(b, 0), 16, 0, 0);
	offer(b, 0);
	assert_int_equal(pop(b), 1);
	offer(b, 0);
	desc(b, 1, data_at(b, 0), 16, 0, 0); /* packed: another entry, the same id */
}
static void id_beyond(struct bench *b) { desc(b, 0, data_at(b, 0), 16, 0, SIZE); }
static void packed_endless(struct bench *b)
{
	uint32_t i;

	for (i = 0; i < SIZE; i++)
		desc(b, i, data_at(b, 0), 16, NEXT, 0);
}
static void packed_in_then_out(struct bench *b)
{
	desc(b, 0, data_at(b, 0), 16, NEXT | WRITE, 1);
	desc(b, 1, data_at(b, 0), 16, 0, 1);
}

/* Would break: a guest reads the daemon's memory, has it loop, or gets a completion that nobody asked for. */
static void what_a_guest_may_not_say(void **state)
{
	static const struct { uint64_t features; void (*prepare)(struct bench *b); enum vq_fault fault; } rows[] = {
		{ 0,                 avail_ahead,        VQ_FAULT_AVAIL_AHEAD },
		{ 0,                 head_beyond,        VQ_FAULT_HEAD },
		{ 0,                 next_beyond,        VQ_FAULT_NEXT },
		{ 0,                 loop,               VQ_FAULT_LOOP },
		{ 0,                 in_then_out,        VQ_FAULT_ORDER },
		{ 0,                 four_gib,           VQ_FAULT_LEN },
		{ 0,                 no_memory,          VQ_FAULT_ADDR },
		{ 0,                 beyond_memory,      VQ_FAULT_ADDR },
		{ 0,                 address_wraps,      VQ_FAULT_ADDR },
		{ 0,                 same_twice,         VQ_FAULT_TWICE },
		{ 0,                 table_unasked,      VQ_FAULT_INDIRECT },
		{ INDIRECT,          table_of_15,        VQ_FAULT_INDIRECT_LEN },
		{ INDIRECT,          table_of_0,         VQ_FAULT_INDIRECT_LEN },
		{ INDIRECT,          table_too_long,     VQ_FAULT_INDIRECT_LEN },
		{ INDIRECT,          table_and_next,     VQ_FAULT_INDIRECT_NEXT },
		{ INDIRECT,          table_nowhere,      VQ_FAULT_INDIRECT_ADDR },
		{ INDIRECT,          table_in_table,     VQ_FAULT_INDIRECT_NESTED },
		{ INDIRECT,          table_next_beyond,  VQ_FAULT_NEXT },
		{ INDIRECT,          table_loop,         VQ_FAULT_LOOP },
		{ INDIRECT,          table_many,         VQ_FAULT_IOVS },
		{ PACKED,            id_beyond,          VQ_FAULT_ID },
		{ PACKED,            same_twice,         VQ_FAULT_TWICE },
		{ PACKED,            packed_endless,     VQ_FAULT_AVAIL_AHEAD },
		{ PACKED,            packed_in_then_out, VQ_FAULT_ORDER },
		{ PACKED,            beyond_memory,      VQ_FAULT_ADDR },
		{ PACKED,            table_unasked,      VQ_FAULT_INDIRECT },
		{ PACKED | INDIRECT, table_of_15,        VQ_FAULT_INDIRECT_LEN },
		{ PACKED | INDIRECT, table_and_next,     VQ_FAULT_INDIRECT_NEXT },
		{ PACKED | INDIRECT, table_nowhere,      VQ_FAULT_INDIRECT_ADDR },
		{ PACKED | INDIRECT, table_in_table,     VQ_FAULT_INDIRECT_NESTED },
		{ PACKED | INDIRECT, table_many,         VQ_FAULT_IOVS },
	};
	struct bench b;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		bench_init(&b, rows[i].features);
		/* `offer` writes a split ring's index; in a packed one that is the driver's event area: harmless. */
		rows[i].prepare(&b);
		assert_true(vq_dev_pending(&b.dev));
		assert_int_equal(pop(&b), -1);
		if (b.dev.fault != rows[i].fault)
			fail_msg("row %zu: %s instead of %s", i, vq_fault_name(b.dev.fault), vq_fault_name(rows[i].fault));
		assert_int_equal(pop(&b), -1); /* it stays stopped, and wants no attention */
		assert_false(vq_dev_pending(&b.dev));
		assert_false(vq_dev_arm(&b.dev));
		bench_fini(&b);
	}
}

/* Would break: legal things that drivers do. */
static void what_a_guest_may_say(void **state)
{
	struct bench b;

	bench_init(&b, INDIRECT);
	desc(&b, 0, data_at(&b, 0), 16, NEXT, 1);  /* a descriptor, then a table; its WRITE means nothing (2.7.5.3) */
	desc(&b, 1, RIG_GPA + b.rig.tables, 48, TABLE | WRITE, 0);
	entry(&b, 0, data_at(&b, 64), 32, NEXT, 2);
	entry(&b, 2, data_at(&b, 128), 8, WRITE, 0);
	offer(&b, 0);
	assert_int_equal(pop(&b), 1);
	assert_int_equal(b.c.out_count, 2);
	assert_int_equal(b.c.out_len, 48);
	assert_int_equal(b.c.in_count, 1);
	assert_int_equal(b.c.in_len, 8);
	assert_ptr_equal(b.iovs[2].iov_base, b.rig.mem + b.rig.data + 128);
	vq_dev_push(&b.dev, &b.c, 8);
	desc(&b, 2, 0, 0, NEXT | WRITE, 3);        /* nothing, nowhere */
	desc(&b, 3, data_at(&b, 0), 16, 0, 0);
	offer(&b, 2);
	assert_int_equal(pop(&b), 1);
	assert_int_equal(b.c.out_count, 1);
	assert_int_equal(b.c.in_count, 0);
	bench_fini(&b);
}

/* Would break: a driver sleeps and is not woken, or is woken for nothing. */
static void an_interrupt_when_it_is_asked_for(void **state)
{
	static const uint64_t formats[] = { 0, EVENT, PACKED, PACKED | EVENT };
	struct vq_chain c[6];
	struct iovec iov = { 0 }, iovs[2];
	struct vq_setup s;
	struct vq_drv drv;
	struct bench b;
	uint32_t f, i, written;
	void *token;

	for (f = 0; f < ARRAY_SIZE(formats); f++) {
		bench_init(&b, formats[f]);
		s = rig_driver(&b.rig);
		assert_int_equal(vq_drv_init(&drv, &s), VQ_OK);
		iov = (struct iovec){ b.rig.mem + b.rig.data, 16 };
		vq_dev_disarm(&b.dev);
		for (i = 0; i < 6; i++) {
			assert_true(vq_drv_add(&drv, &iov, 1, 0, &iov));
			vq_drv_publish(&drv);
			/* Split rings cannot forbid the kick that the zeros of a fresh ring ask for. */
			assert_int_equal(vq_drv_kick_due(&drv), i == 0 && formats[f] == EVENT);
		}
		for (i = 0; i < 6; i++)
			assert_int_equal(vq_dev_pop(&b.dev, &c[i], iovs, 2), 1);
		assert_false(vq_dev_arm(&b.dev));
		assert_false(vq_dev_kick_due(&b.dev));
		vq_drv_disarm(&drv);
		vq_dev_push(&b.dev, &c[0], 0);
		assert_false(vq_dev_kick_due(&b.dev)); /* nothing was published */
		vq_dev_publish(&b.dev);
		(void)vq_dev_kick_due(&b.dev); /* the first answer may be on the safe side */
		vq_dev_push(&b.dev, &c[1], 0);
		vq_dev_publish(&b.dev);
		assert_false(vq_dev_kick_due(&b.dev));
		assert_true(vq_drv_arm(&drv)); /* there are two: no sleep */
		assert_int_equal(vq_drv_get(&drv, &token, &written), 1);
		assert_int_equal(vq_drv_get(&drv, &token, &written), 1);
		assert_false(vq_drv_arm(&drv));
		vq_dev_push(&b.dev, &c[2], 0);
		vq_dev_push(&b.dev, &c[3], 0);
		vq_dev_publish(&b.dev);
		assert_true(vq_dev_kick_due(&b.dev));
		assert_false(vq_dev_kick_due(&b.dev));
		vq_dev_push(&b.dev, &c[4], 0);
		vq_dev_publish(&b.dev);
		/* With an event index it was told what it asked for; flags ask for all. */
		assert_int_equal(vq_dev_kick_due(&b.dev), !(formats[f] & EVENT));
		/* The device sleeps: the next one must kick. */
		assert_int_equal(vq_drv_get(&drv, &token, &written), 1);
		assert_true(vq_drv_add(&drv, &iov, 1, 0, &iov));
		vq_drv_publish(&drv);
		assert_true(vq_drv_kick_due(&drv));
		assert_true(vq_dev_arm(&b.dev));
		vq_drv_fini(&drv);
		bench_fini(&b);
	}
}

/* Would break: migration copies a page before what was written in it. */
static void the_log_names_what_was_written(void **state)
{
	static const uint64_t formats[] = { EVENT, PACKED | EVENT };
	uint8_t *log;
	struct vq_log l;
	struct bench b;
	uint64_t page, at;
	uint32_t f;

	for (f = 0; f < ARRAY_SIZE(formats); f++) {
		bench_init(&b, formats[f]);
		l.size_bytes = (RIG_GPA + b.rig.len) / VHOST_LOG_PAGE / 8 + 1;
		log = calloc(1, l.size_bytes);
		l.base = log;
		desc(&b, 0, data_at(&b, 0), 100, NEXT, 1);
		desc(&b, 1, data_at(&b, 2 * 4096 - 1), 2, WRITE, 1);
		offer(&b, 0);
		assert_int_equal(pop(&b), 1);
		vq_dev_set_log(&b.dev, &l); /* a migration begins under I/O */
		vq_dev_push(&b.dev, &b.c, 2);
		vq_dev_publish(&b.dev);
		assert_false(vq_dev_arm(&b.dev));
		for (page = 0; page < l.size_bytes * 8; page++) {
			at = page * VHOST_LOG_PAGE - RIG_GPA;
			if (!(log[page / 8] & 1 << page % 8))
				assert_true(at != b.rig.device / 4096 * 4096 && at != b.rig.data + 4096 && at != b.rig.data + 8192);
			else
				assert_true(at == b.rig.device / 4096 * 4096 || at == b.rig.data + 4096 || at == b.rig.data + 8192);
		}
		l.size_bytes = 1; /* a log that ends before: nothing is written beyond it */
		vq_log_mark(&l, RIG_GPA, 4096);
		vq_log_mark(&l, UINT64_MAX - 5, 100);
		free(log);
		bench_fini(&b);
	}
}

/* Would break: a hole, an overlap or the end of the address space is taken for memory. */
static void memory_is_found_piece_by_piece(void **state)
{
	static uint8_t a[64], b[64], c[64];
	struct vq_region regions[] = {
		{ .addr = 0x3000, .len = 64, .host = c, .user = 0x9000 },
		{ .addr = 0x1000, .len = 64, .host = a, .user = 0x7000 },
		{ .addr = 0x1040, .len = 64, .host = b, .user = 0x8000 },
	};
	struct err e = { 0 };
	struct vq_mem *mem = vq_mem_make(regions, 3, &e);
	struct iovec iovs[3];
	uint32_t hint = 0;

	assert_non_null(mem);
	assert_ptr_equal(vq_mem_at(mem, 0x1040, 64, &hint), b);
	assert_int_equal(hint, 1);
	assert_ptr_equal(vq_mem_at(mem, 0x103f, 1, &hint), a + 63);
	assert_null(vq_mem_at(mem, 0x103f, 2, &hint));
	assert_null(vq_mem_at(mem, 0x1080, 1, &hint));
	assert_null(vq_mem_at(mem, 0x3000, UINT64_MAX, &hint));
	assert_null(vq_mem_at(mem, 0, 1, &hint));
	assert_ptr_equal(vq_mem_at_user(mem, 0x8001, 63), b + 1);
	assert_null(vq_mem_at_user(mem, 0x8001, 64));
	assert_int_equal(vq_mem_addr_of(mem, c + 5), 0x3005);
	assert_int_equal(vq_mem_addr_of(mem, &e), UINT64_MAX);
	assert_int_equal(vq_mem_iovs(mem, 0x1030, 32, iovs, 3, &hint), 2); /* also where one follows the other here */
	assert_ptr_equal(iovs[0].iov_base, a + 48);
	assert_int_equal(vq_mem_iovs(mem, 0x1030, 32, iovs, 1, &hint), -1);
	assert_int_equal(vq_mem_iovs(mem, 0x1030, 81, iovs, 3, &hint), 0);
	assert_int_equal(vq_mem_iovs(mem, 0x3030, UINT64_MAX, iovs, 3, &hint), 0);
	vq_mem_free(mem);

	regions[1].addr = 0x1001;
	assert_null(vq_mem_make(regions, 3, &e));
	assert_non_null(strstr(e.text, "overlaps"));
	regions[1].addr = UINT64_MAX - 62;
	assert_null(vq_mem_make(regions, 3, NULL));
	regions[1].addr--;
	mem = vq_mem_make(regions, 3, NULL); /* up to the last byte */
	assert_ptr_equal(vq_mem_at(mem, UINT64_MAX, 1, &hint), a + 63);
	assert_int_equal(vq_mem_iovs(mem, UINT64_MAX, 2, iovs, 3, &hint), 0);
	vq_mem_free(mem);
	mem = vq_mem_make(NULL, 0, NULL);
	hint = 0;
	assert_null(vq_mem_at(mem, 0, 1, &hint));
	vq_mem_free(mem);
}

/* Would break: a queue that moves believes a length that the front-end wrote after it was checked. */
static void a_moved_queue_keeps_what_was_checked(void **state)
{
	struct pvirtq_inflight *p;
	struct freeze f, thaw;
	struct vq_dev q, next;
	struct vq_setup s;
	struct bench b;

	bench_init(&b, PACKED);
	s = rig_device(&b.rig, true);
	p = s.inflight;
	assert_int_equal(vq_dev_init(&q, &s), VQ_OK);
	freeze_init(&f);
	vq_dev_freeze(&f, &q);
	p->desc_num = le16_of(UINT16_MAX);
	p->free_head = le16_of(SIZE);
	s.inflight = NULL;
	assert_int_equal(vq_dev_init(&next, &s), VQ_OK);
	freeze_init_thaw(&thaw, f.buf, f.len);
	vq_dev_freeze(&thaw, &next);
	assert_true(freeze_ok(&thaw));
	vq_dev_thaw_inflight(&next, p);
	assert_int_equal(next.inflight_count, SIZE);
	freeze_fini(&f);
	freeze_fini(&thaw);
	vq_dev_fini(&q);
	vq_dev_fini(&next);
	bench_fini(&b);
}

/* Would break: a front-end has us run on a ring that is not all there, or starts where it is not. */
static void a_ring_that_cannot_be(void **state)
{
	struct bench b;
	struct vq_setup s, bad;
	struct vq_dev q;
	struct virtq_inflight *r;
	struct pvirtq_inflight *p;
	uint8_t *mem;

	bench_init(&b, 0);
	mem = b.rig.mem;
	s = rig_device(&b.rig, true);
	bad = s, bad.size = 6;
	assert_int_equal(vq_dev_init(&q, &bad), VQ_FAULT_SIZE);
	bad = s, bad.size = 0;
	assert_int_equal(vq_dev_init(&q, &bad), VQ_FAULT_SIZE);
	bad = s, bad.size = 65536;
	assert_int_equal(vq_dev_init(&q, &bad), VQ_FAULT_SIZE);
	bad = s, bad.desc = mem + b.rig.desc + 8;
	assert_int_equal(vq_dev_init(&q, &bad), VQ_FAULT_RING_ALIGN);
	bad = s;
	assert_int_equal(vq_setup_place(&bad, RIG_USER, RIG_USER + 1, RIG_USER), VQ_FAULT_RING_ALIGN);
	assert_int_equal(vq_setup_place(&bad, RIG_USER, RIG_USER, RIG_USER + b.rig.len - 16), VQ_FAULT_RING_MEM);
	bad = s, bad.inflight_len--;
	assert_int_equal(vq_dev_init(&q, &bad), VQ_FAULT_INFLIGHT_SIZE);
	r = s.inflight;
	r->version = le16_of(2);
	assert_int_equal(vq_dev_init(&q, &s), VQ_FAULT_INFLIGHT_VERSION);
	r->version = le16_of(1);
	r->desc_num = le16_of(4);
	assert_int_equal(vq_dev_init(&q, &s), VQ_FAULT_INFLIGHT_SIZE);
	r->desc_num = le16_of(SIZE);
	r->desc[3].inflight = 1;
	r->used_idx = le16_of(1);
	assert_int_equal(vq_dev_init(&q, &s), VQ_FAULT_INFLIGHT_LIST); /* 65,535 to finish */
	r->used_idx = le16_of(0xfffe);
	r->last_batch_head = le16_of(SIZE);
	assert_int_equal(vq_dev_init(&q, &s), VQ_FAULT_INFLIGHT_LIST);
	r->last_batch_head = le16_of(3);
	assert_int_equal(vq_dev_init(&q, &s), VQ_OK);
	assert_int_equal(q.resubmit_count, 0);
	vq_dev_fini(&q);
	bench_fini(&b);

	bench_init(&b, PACKED);
	s = rig_device(&b.rig, true);
	bad = s, bad.base = SIZE;
	assert_int_equal(vq_dev_init(&q, &bad), VQ_FAULT_BASE);
	p = s.inflight;
	p->version = le16_of(1);
	p->used_idx = le16_of(SIZE);
	assert_int_equal(vq_dev_init(&q, &s), VQ_FAULT_INFLIGHT_LIST);
	p->used_idx = le16_of(0);
	p->desc[5].next = le16_of(0);
	assert_int_equal(vq_dev_init(&q, &s), VQ_FAULT_INFLIGHT_LIST); /* the free list loops */
	p->free_head = p->old_free_head = le16_of(SIZE);
	p->desc[5].inflight = 1;
	p->desc[5].num = le16_of(SIZE + 1);
	assert_int_equal(vq_dev_init(&q, &s), VQ_FAULT_INFLIGHT_LIST);
	p->desc[5].num = le16_of(2); /* but its descriptor says that it is alone */
	assert_int_equal(vq_dev_init(&q, &s), VQ_OK);
	assert_int_equal(vq_dev_pop(&q, &b.c, b.iovs, 16), -1);
	assert_int_equal(q.fault, VQ_FAULT_INFLIGHT_LIST);
	vq_dev_fini(&q);
	bench_fini(&b);
}

/* Would break: a front-end changes what the region says of a chain between the start of its queue, when it was
 * counted, and its turn: more is given back than was taken, and where the queue stops lies behind where it takes. */
static void a_chain_that_was_left_grows(void **state)
{
	struct bench b;
	struct vq_setup s;
	struct pvirtq_inflight *p;

	bench_init(&b, PACKED);
	vq_dev_fini(&b.dev);
	s = rig_device(&b.rig, true);
	p = s.inflight;
	p->version = p->desc[5].num = le16_of(1);
	p->desc[5].inflight = 1;
	p->desc[5].next = le16_of(6);
	p->free_head = p->old_free_head = le16_of(SIZE);
	assert_int_equal(vq_dev_init(&b.dev, &s), VQ_OK);
	for (uint32_t i = 5; i < 8; i++) {
		p->desc[i].addr = le64_of(data_at(&b, 0));
		p->desc[i].len = le32_of(16);
		p->desc[i].flags = le16_of(i < 7 ? NEXT : 0);
		p->desc[i].next = le16_of((uint16_t)(i + 1));
		p->desc[i].id = le16_of(5);
	}
	p->desc[5].num = le16_of(3);
	assert_int_equal(pop(&b), -1);
	assert_int_equal(b.dev.fault, VQ_FAULT_INFLIGHT_LIST);
	bench_fini(&b);
}

/* Would break: a stopped queue starts somewhere else. */
static void a_base_is_where_it_stopped(void **state)
{
	struct bench b;
	struct vq_setup s;

	bench_init(&b, PACKED);
	s = rig_device(&b.rig, false);
	vq_dev_fini(&b.dev);
	s.base = 0x80038003;
	assert_int_equal(vq_dev_init(&b.dev, &s), VQ_OK);
	assert_int_equal(vq_dev_base(&b.dev, NULL), 0x80038003);
	assert_false(b.dev.base_moved);
	vq_dev_fini(&b.dev);
	s.base = 0x8005; /* front-ends of old */
	assert_int_equal(vq_dev_init(&b.dev, &s), VQ_OK);
	assert_int_equal(vq_dev_base(&b.dev, NULL), 0x80058005);
	bench_fini(&b);
	bench_init(&b, 0);
	s = rig_device(&b.rig, false);
	vq_dev_fini(&b.dev);
	((struct virtq_used *)s.device)->idx = le16_of(7);
	s.base = 9;
	assert_int_equal(vq_dev_init(&b.dev, &s), VQ_OK);
	assert_int_equal(vq_dev_base(&b.dev, NULL), 7);
	assert_true(b.dev.base_moved);
	bench_fini(&b);
}

/* Would break: requests that are noted in the region only are forgotten without it, when the used ring is at its
 * beginning: there the base looks like that of a front-end that says 16 bits only. */
static void a_base_of_zero_is_a_place(void **state)
{
	struct bench b;
	struct vq_setup s;
	struct pvirtq_desc *first;
	uint8_t *region;
	bool apart = false;

	bench_init(&b, PACKED);
	vq_dev_fini(&b.dev);
	s = rig_device(&b.rig, true);
	assert_int_equal(vq_dev_init(&b.dev, &s), VQ_OK);
	for (uint16_t i = 0; i < SIZE; i++) {
		desc(&b, i, data_at(&b, 0), 16, 0, i);
		assert_int_equal(pop(&b), 1);
		if (i > 0) /* the first one is left */
			vq_dev_push(&b.dev, &b.c, 0);
		vq_dev_publish(&b.dev);
	}
	first = (struct pvirtq_desc *)(b.rig.mem + b.rig.desc);
	*first = (struct pvirtq_desc){ le64_of(data_at(&b, 0)), le32_of(16), le16_of(1), le16_of(VIRTQ_DESC_F_USED) };
	assert_int_equal(pop(&b), 1);
	vq_dev_push(&b.dev, &b.c, 0);
	vq_dev_publish(&b.dev);
	vq_dev_leave(&b.dev);
	s.base = vq_dev_base(&b.dev, &apart);
	assert_true(apart);
	assert_int_equal(s.base, 1);
	vq_dev_fini(&b.dev);
	assert_int_equal(vq_dev_init(&b.dev, &s), VQ_OK); /* with the region it is done */
	assert_int_equal(pop(&b), 1);
	assert_int_equal(b.c.id, 0);
	vq_dev_fini(&b.dev);
	region = b.rig.mem + b.rig.inflight;
	memset(region, 0, s.inflight_len);
	vq_inflight_format(region, true, SIZE);
	assert_int_equal(vq_dev_init(&b.dev, &s), VQ_FAULT_LEFT_BEHIND);
	first->flags = le16_of(0); /* used: so that is where it stopped */
	assert_int_equal(vq_dev_init(&b.dev, &s), VQ_OK);
	assert_int_equal(vq_dev_base(&b.dev, NULL), 0x10001);
	bench_fini(&b);
}

/* The device's half is the test's. */
static struct vq_setup driver_begin(struct bench *b, uint64_t features, struct vq_drv *drv)
{
	struct vq_setup s;

	bench_init(b, features);
	s = rig_driver(&b->rig);
	assert_int_equal(vq_drv_init(drv, &s), VQ_OK);
	return s;
}

static struct iovec driver_asks(const struct bench *b, struct vq_drv *drv, void *token)
{
	struct iovec iov = { b->rig.mem + b->rig.data, 16 };

	assert_true(vq_drv_add(drv, &iov, 0, 1, token));
	return iov;
}

/* Would break: a device takes all that waits, and its driver has nothing to do meanwhile. Rows: chains of so many
 * descriptors, of which so many wait behind the first; over the wrap, too. */
static void a_packed_ring_says_how_much_waits(void **state)
{
	static const struct { uint32_t descs, more, known; } rows[] = {
		{ 1, 0, 0 }, { 1, 1, 1 }, { 1, 30, 1 }, { 1, 31, 31 }, { 1, 62, 31 }, { 1, 63, 63 }, { 1, 200, 127 },
		{ 3, 29, 1 }, { 3, 31, 31 }, { 3, 64, 63 },
	};
	struct iovec iovs[3], out[3];
	struct vq_chain c, all[256];
	uint32_t written;
	struct vq_setup s;
	struct vq_drv drv;
	struct vq_dev dev;
	struct rig rig;
	void *token;

	rig_init(&rig, PACKED, 256, 4096);
	s = rig_driver(&rig);
	assert_int_equal(vq_drv_init(&drv, &s), VQ_OK);
	s = rig_device(&rig, false);
	assert_int_equal(vq_dev_init(&dev, &s), VQ_OK);
	for (uint32_t i = 0; i < 3; i++)
		iovs[i] = (struct iovec){ rig.mem + rig.data + i * 512, 512 };
	for (uint32_t round = 0; round < 4; round++) {
		for (uint32_t r = 0; r < ARRAY_SIZE(rows); r++) {
			for (uint32_t i = 0; i <= rows[r].more; i++)
				assert_true(vq_drv_add(&drv, iovs, 0, rows[r].descs, &drv));
			vq_drv_publish(&drv);
			assert_int_equal(vq_dev_pop(&dev, &all[0], out, 3), 1);
			assert_int_equal(vq_dev_known(&dev), rows[r].known);
			for (uint32_t i = 1; i <= rows[r].more; i++)
				assert_int_equal(vq_dev_pop(&dev, &all[i], out, 3), 1);
			assert_int_equal(vq_dev_known(&dev), 0);
			assert_int_equal(vq_dev_pop(&dev, &c, out, 3), 0);
			for (uint32_t i = 0; i <= rows[r].more; i++)
				vq_dev_push(&dev, &all[i], 0);
			vq_dev_publish(&dev);
			for (uint32_t i = 0; i <= rows[r].more; i++)
				assert_int_equal(vq_drv_get(&drv, &token, &written), 1);
		}
	}
	vq_drv_fini(&drv);
	vq_dev_fini(&dev);
	rig_fini(&rig);
}

/* A device of somebody else's, in order: one used entry for a batch of three. Would break: two of three are lost. */
static void one_entry_for_a_batch(void **state)
{
	static const uint64_t formats[] = { IN_ORDER, PACKED | IN_ORDER };
	uint32_t f, i, written, tokens[3];
	struct vq_setup s;
	struct vq_drv drv;
	struct bench b;
	struct virtq_used *used;
	struct pvirtq_desc *d;
	void *token;

	for (f = 0; f < ARRAY_SIZE(formats); f++) {
		s = driver_begin(&b, formats[f], &drv);
		for (i = 0; i < 3; i++)
			driver_asks(&b, &drv, &tokens[i]);
		vq_drv_publish(&drv);
		if (f == 0) {
			used = s.device;
			used->ring[0] = (struct virtq_used_elem){ le32_of(2), le32_of(5) };
			used->idx = le16_of(3);
		} else {
			d = s.desc;
			assert_int_equal(le16_get(d[2].flags) & ~(unsigned)WRITE, VIRTQ_DESC_F_AVAIL);
			d[0].id = d[2].id;
			d[0].len = le32_of(5);
			d[0].flags = le16_of(VIRTQ_DESC_F_AVAIL | VIRTQ_DESC_F_USED);
		}
		for (i = 0; i < 3; i++) {
			assert_int_equal(vq_drv_get(&drv, &token, &written), 1);
			assert_ptr_equal(token, &tokens[i]);
			assert_int_equal(written, i < 2 ? 16 : 5);
		}
		assert_int_equal(vq_drv_get(&drv, &token, &written), 0);
		assert_int_equal(drv.descs_free, SIZE);
		vq_drv_fini(&drv);
		bench_fini(&b);
	}
}

/* Would break: a device makes the initiator complete what it never sent. */
static void what_a_device_may_not_say(void **state)
{
	struct iovec iov;
	struct vq_setup s;
	struct vq_drv drv;
	struct bench b;
	struct virtq_used *used;
	struct pvirtq_desc *d;
	uint32_t written, i;
	void *token;

	for (i = 0; i < 3; i++) {
		s = driver_begin(&b, i < 2 ? 0 : PACKED, &drv);
		iov = driver_asks(&b, &drv, &b);
		vq_drv_publish(&drv);
		used = s.device;
		d = s.desc;
		if (i < 2) {
			used->ring[0] = (struct virtq_used_elem){ le32_of(i == 0 ? 0 : 3), le32_of(5) };
			used->idx = le16_of(i == 0 ? 2 : 1);
		} else {
			d[0].id = le16_of(700);
			d[0].flags = le16_of(VIRTQ_DESC_F_AVAIL | VIRTQ_DESC_F_USED);
		}
		assert_int_equal(vq_drv_get(&drv, &token, &written), -1);
		assert_int_equal(drv.fault, i == 0 ? VQ_FAULT_USED_AHEAD : VQ_FAULT_USED_ID);
		assert_false(vq_drv_add(&drv, &iov, 0, 1, &iov));
		vq_drv_fini(&drv);
		bench_fini(&b);
	}
}

/* Would break: an error that nobody can read. */
static void every_fault_has_a_sentence(void **state)
{
	int f;

	for (f = VQ_OK; f < VQ_FAULT_COUNT; f++) {
		assert_non_null(vq_fault_name((enum vq_fault)f));
		assert_true(strlen(vq_fault_text((enum vq_fault)f)) > 10);
	}
	assert_string_equal(vq_fault_name(VQ_FAULT_AVAIL_AHEAD), "AVAIL_AHEAD");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_a_guest_may_not_say),
		cmocka_unit_test(what_a_guest_may_say),
		cmocka_unit_test(an_interrupt_when_it_is_asked_for),
		cmocka_unit_test(the_log_names_what_was_written),
		cmocka_unit_test(memory_is_found_piece_by_piece),
		cmocka_unit_test(a_moved_queue_keeps_what_was_checked),
		cmocka_unit_test(a_ring_that_cannot_be),
		cmocka_unit_test(a_chain_that_was_left_grows),
		cmocka_unit_test(a_base_is_where_it_stopped),
		cmocka_unit_test(a_base_of_zero_is_a_place),
		cmocka_unit_test(a_packed_ring_says_how_much_waits),
		cmocka_unit_test(one_entry_for_a_batch),
		cmocka_unit_test(what_a_device_may_not_say),
		cmocka_unit_test(every_fault_has_a_sentence),
	};
	return cmocka_run_group_tests_name("ring", tests, NULL, NULL);
}
