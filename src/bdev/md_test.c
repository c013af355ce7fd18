/* SPDX-License-Identifier: BSD-3-Clause */
/* md_test.c: metadata where the device has them and where it has not, and their protection information, for every
 * operation: what was corrupted is found, what was not is read as it was written.
 */
#include "bdev/pi.h"
#include "bdev/waist_rig_test.h"

#define COUNT 40u
#define STRIDE (BS + 8)

static uint8_t type;
static bool apart;

static struct pi_shape shape(void)
{
	return (struct pi_shape){ .block_size = BS, .md_size = 8, .type = type };
}

static void begin_protected(uint8_t dif_type, bool separate)
{
	type = dif_type;
	apart = separate;
	begin();
	fake.bdev.md_size = 8;
	fake.bdev.md_interleaved = !apart;
	fake.bdev.dif_type = type;
	fake.bdev.max_io_blocks = 16; /* so that something is split */
	connect_all(true);
}

static char *media_at(uint64_t lba) { return fake.media + lba * STRIDE; }

/* The media's tuples of the range are right, as of `lba` with the reference tag. */
static enum bdev_status media_status(uint64_t lba, uint64_t count, uint32_t ref, uint16_t app)
{
	struct iovec iov = { .iov_base = media_at(lba), .iov_len = count * STRIDE };
	struct pi_shape s = shape();
	struct bdev_tags tags = { .ref = ref, .app = app, .mask = 0xffff };

	return pi_verify(&s, iov_cursor_over(&iov, 1), NULL, count, tags, PI_CHECKS, NULL);
}

static void init(struct rig_io *io, enum bdev_op op, uint64_t lba, uint64_t count, uint32_t flags, uint32_t bytes)
{
	rig_io_init(io, chs[0], op, lba, count, bytes ? buf : NULL, bytes);
	io->io.flags = (uint16_t)flags;
	io->io.ref_tag = (uint32_t)lba;
	io->io.app_tag = 0x1234;
	io->io.app_mask = 0xffff;
}

static enum bdev_status go(enum bdev_op op, uint64_t lba, uint64_t count, uint32_t flags, uint32_t bytes)
{
	struct rig_io io;

	init(&io, op, lba, count, flags, bytes);
	return rig_io_run(&rig, 0, &io);
}

static enum bdev_status plain(enum bdev_op op, uint64_t lba, uint64_t count, uint32_t flags)
{
	return go(op, lba, count, flags | BDEV_IO_PLAIN, (uint32_t)count * BS);
}

static enum bdev_status extended(enum bdev_op op, uint64_t lba, uint64_t count, uint32_t flags)
{
	return go(op, lba, count, flags | BDEV_IO_EXTENDED, (uint32_t)count * STRIDE);
}

static void every_kind(void (*test)(void))
{
	for (uint32_t i = 0; i < 6; i++) {
		begin_protected((uint8_t)(i / 2 + 1), i % 2);
		test();
		end();
	}
}

static enum bdev_status if_refs(enum bdev_status st) { return type == 3 ? BDEV_ST_OK : st; }

/* What is made when it is written is checked and dropped when it is read. */
static void plain_round_trip(void)
{
	fill(buf, COUNT * BS, 3);
	memcpy(other, buf, COUNT * BS);
	assert_int_equal(plain(BDEV_WRITE, 100, COUNT, 0), BDEV_ST_OK);
	assert_int_equal(media_status(100, COUNT, 100, 0x1234), BDEV_ST_OK);
	memset(buf, 0, COUNT * BS);
	assert_int_equal(plain(BDEV_READ, 100, COUNT, PI_CHECKS), BDEV_ST_OK);
	assert_memory_equal(buf, other, COUNT * BS);
	media_at(100 + COUNT - 1)[17] ^= 1;
	assert_int_equal(plain(BDEV_READ, 100, COUNT, PI_CHECKS), BDEV_ST_GUARD_CHECK);
	assert_int_equal(plain(BDEV_READ, 100, COUNT, 0), BDEV_ST_OK); /* nobody asked */
	assert_int_equal(plain(BDEV_READ, 100, COUNT - 1, PI_CHECKS), BDEV_ST_OK);
	media_at(100)[BS + 7] ^= 1;
	assert_int_equal(plain(BDEV_READ, 100, 1, BDEV_IO_PRCHK_REFTAG), if_refs(BDEV_ST_REFTAG_CHECK));
	media_at(100)[BS + 3] ^= 1;
	assert_int_equal(plain(BDEV_READ, 100, 1, BDEV_IO_PRCHK_APPTAG), BDEV_ST_APPTAG_CHECK);
}

static void made_and_checked(void **state) { every_kind(plain_round_trip); }

/* Behind the data on the way, wherever the device has them. */
static void extended_round_trip(void)
{
	struct pi_shape s = shape();
	struct iovec iov = { .iov_base = buf, .iov_len = COUNT * STRIDE };
	struct bdev_tags tags = { .ref = 7, .app = 0x1234 };

	fill(buf, COUNT * STRIDE, 9);
	pi_generate(&s, iov_cursor_over(&iov, 1), NULL, COUNT, tags);
	memcpy(other, buf, COUNT * STRIDE);
	assert_int_equal(extended(BDEV_WRITE, 7, COUNT, PI_CHECKS), BDEV_ST_OK);
	memset(buf, 0, COUNT * STRIDE);
	assert_int_equal(extended(BDEV_READ, 7, COUNT, PI_CHECKS), BDEV_ST_OK);
	assert_memory_equal(buf, other, COUNT * STRIDE);
	/* a write that is wrong reaches no media */
	buf[STRIDE * 3 + 5] ^= 1;
	assert_int_equal(extended(BDEV_WRITE, 7, COUNT, BDEV_IO_PRCHK_GUARD), BDEV_ST_GUARD_CHECK);
	assert_memory_equal(media_at(7), other, COUNT * STRIDE);
	buf[STRIDE * 3 + 5] ^= 1;
	assert_int_equal(extended(BDEV_WRITE, 8, COUNT, BDEV_IO_PRCHK_REFTAG), if_refs(BDEV_ST_REFTAG_CHECK));
	/* made in the metadata that came */
	fill(buf, COUNT * STRIDE, 11);
	assert_int_equal(extended(BDEV_WRITE, 300, COUNT, BDEV_IO_PRACT), BDEV_ST_OK);
	assert_int_equal(media_status(300, COUNT, 300, 0x1234), BDEV_ST_OK);
}

static void carried_behind_the_data(void **state) { every_kind(extended_round_trip); }

static void other_operations(void)
{
	struct rig_io io;

	fill(buf, 2 * COUNT * BS, 5);
	memcpy(buf + COUNT * BS, buf, COUNT * BS);
	assert_int_equal(plain(BDEV_WRITE, 0, COUNT, 0), BDEV_ST_OK);
	assert_int_equal(plain(BDEV_COMPARE, 0, COUNT, PI_CHECKS), BDEV_ST_OK);
	assert_int_equal(go(BDEV_VERIFY, 0, COUNT, PI_CHECKS, 0), BDEV_ST_OK);
	/* the tuple is not compared, but looked at */
	assert_int_equal(extended(BDEV_READ, 0, COUNT, 0), BDEV_ST_OK);
	buf[BS] ^= 1;
	assert_int_equal(extended(BDEV_COMPARE, 0, COUNT, 0), BDEV_ST_OK);
	media_at(COUNT - 1)[BS] ^= 1;
	assert_int_equal(extended(BDEV_COMPARE, 0, COUNT, BDEV_IO_PRCHK_GUARD), BDEV_ST_GUARD_CHECK);
	assert_int_equal(go(BDEV_VERIFY, 0, COUNT, PI_CHECKS, 0), BDEV_ST_GUARD_CHECK);
	assert_int_equal(go(BDEV_VERIFY, 0, COUNT, 0, 0), BDEV_ST_OK);
	media_at(COUNT - 1)[BS] ^= 1;
	init(&io, BDEV_COMPARE, 0, COUNT, BDEV_IO_PLAIN, COUNT * BS);
	fill(buf, COUNT * BS, 5);
	buf[BS * 20 + 100] ^= 1;
	assert_int_equal(rig_io_run(&rig, 0, &io), BDEV_ST_MISCOMPARE);
	assert_int_equal(io.io.miscompare_offset, BS * 20 + 100);
	/* zeroes with tuples, and with such as nobody checks */
	assert_int_equal(go(BDEV_WRITE_ZEROES, 500, COUNT, BDEV_IO_PRACT, 0), BDEV_ST_OK);
	assert_int_equal(media_status(500, COUNT, 500, 0x1234), BDEV_ST_OK);
	assert_int_equal(go(BDEV_WRITE_ZEROES, 600, COUNT, 0, 0), BDEV_ST_OK);
	assert_int_equal(plain(BDEV_READ, 600, COUNT, PI_CHECKS), BDEV_ST_OK);
	assert_int_equal((uint8_t)media_at(600)[BS + 2], 0xff);
}

static void every_operation(void **state) { every_kind(other_operations); }

static enum bdev_status copy(uint64_t from, uint64_t to, uint32_t flags)
{
	struct rig_io io;

	init(&io, BDEV_COPY, to, COUNT, flags, 0);
	io.io.copy.src_lba = from;
	io.io.from = (struct bdev_tags){ .ref = (uint32_t)from, .app = 0x1234, .mask = 0xffff };
	return rig_io_run(&rig, 0, &io);
}

/* The reference tags of a copy are those of where it went. */
static void copies(void)
{
	fill(buf, COUNT * BS, 5);
	assert_int_equal(plain(BDEV_WRITE, 0, COUNT, 0), BDEV_ST_OK);
	assert_int_equal(copy(0, 20, BDEV_IO_SRC_PRCHK(PI_CHECKS) | BDEV_IO_PRACT), BDEV_ST_OK); /* over itself */
	assert_int_equal(media_status(20, COUNT, 20, 0x1234), BDEV_ST_OK);
	assert_int_equal(media_status(0, 20, 0, 0x1234), BDEV_ST_OK);
	assert_int_equal(copy(20, 200, BDEV_IO_SRC_PRCHK(PI_CHECKS)), BDEV_ST_OK); /* as they are */
	assert_int_equal(media_status(200, COUNT, 20, 0x1234), BDEV_ST_OK);
	assert_int_equal(copy(20, 300, BDEV_IO_SRC_PRCHK(PI_CHECKS) | BDEV_IO_PRCHK_REFTAG), if_refs(BDEV_ST_REFTAG_CHECK));
	media_at(25)[3] ^= 1;
	assert_int_equal(copy(20, 300, BDEV_IO_SRC_PRCHK(PI_CHECKS) | BDEV_IO_PRACT), BDEV_ST_GUARD_CHECK);
}

static void copies_are_protected(void **state) { every_kind(copies); }

static enum bdev_status caw(const char *expect, const char *with, uint32_t flags)
{
	struct rig_io io;
	size_t bytes = flags & BDEV_IO_PLAIN ? BS : STRIDE;

	memcpy(buf, expect, bytes);
	memcpy(buf + bytes, with, bytes);
	init(&io, BDEV_COMPARE_AND_WRITE, 9, 1, flags, (uint32_t)(2 * bytes));
	io.io.compare = (struct bdev_tags){ .ref = 9, .app = 0x1234 };
	return rig_io_run(&rig, 0, &io);
}

static void compare_and_write(void)
{
	static char a[STRIDE], b[STRIDE];

	fill(a, BS, 1);
	fill(b, BS, 2);
	memcpy(buf, a, BS);
	assert_int_equal(plain(BDEV_WRITE, 9, 1, 0), BDEV_ST_OK);
	assert_int_equal(caw(a, b, BDEV_IO_PLAIN | BDEV_IO_SRC_PRCHK(PI_CHECKS)), BDEV_ST_OK);
	assert_int_equal(media_status(9, 1, 9, 0x1234), BDEV_ST_OK);
	assert_memory_equal(media_at(9), b, BS);
	assert_int_equal(caw(a, b, BDEV_IO_PLAIN), BDEV_ST_MISCOMPARE);
	/* what is to be written is checked, too, before anything happens */
	assert_int_equal(caw(b, a, BDEV_IO_EXTENDED | BDEV_IO_PRCHK_GUARD), BDEV_ST_GUARD_CHECK);
	assert_memory_equal(media_at(9), b, BS);
	assert_int_equal(caw(b, a, BDEV_IO_EXTENDED | BDEV_IO_PRACT), BDEV_ST_OK);
	assert_int_equal(media_status(9, 1, 9, 0x1234), BDEV_ST_OK);
	media_at(9)[1] ^= 1;
	assert_int_equal(caw(a, b, BDEV_IO_PLAIN | BDEV_IO_SRC_PRCHK(PI_CHECKS)), BDEV_ST_GUARD_CHECK);
}

static void compare_and_write_is_protected(void **state) { every_kind(compare_and_write); }

/* A device that compares and writes by itself may have another shape of blocks. It is done for it then, under a lock,
 * which must not wait for this very command. */
static void compare_and_write_of_a_device_that_can(void **state)
{
	static char a[BS], b[BS];

	begin();
	fake.bdev.md_size = 8;
	fake.bdev.md_interleaved = true;
	fake.bdev.native_ops |= BDEV_BIT(COMPARE_AND_WRITE);
	connect_all(true);
	fill(a, BS, 1);
	fill(b, BS, 2);
	memcpy(buf, a, BS);
	assert_int_equal(plain(BDEV_WRITE, 9, 1, 0), BDEV_ST_OK);
	assert_int_equal(caw(a, b, BDEV_IO_PLAIN), BDEV_ST_OK);
	assert_memory_equal(media_at(9), b, BS);
	assert_int_equal(caw(a, b, BDEV_IO_PLAIN), BDEV_ST_MISCOMPARE);
	assert_int_equal(caw(b, a, BDEV_IO_PLAIN | BDEV_IO_FUA), BDEV_ST_OK);
	end();
}

/* What a device lends is looked at, too, and given back when it is wrong. */
static void lent_reads_are_checked(void **state)
{
	struct rig_io io;

	begin();
	fake.bdev.md_size = 8;
	fake.bdev.md_interleaved = true;
	fake.bdev.dif_type = type = 1;
	fake.bdev.lends = true;
	connect_all(true);
	fill(buf, BS, 1);
	assert_int_equal(plain(BDEV_WRITE, 0, 1, 0), BDEV_ST_OK);
	init(&io, BDEV_READ, 0, 1, BDEV_IO_LEND | PI_CHECKS, 0);
	io.io.iov_count = 0;
	io.io.iov_max = 1;
	assert_int_equal(rig_io_run(&rig, 0, &io), BDEV_ST_OK);
	assert_true(io.io.lent);
	bdev_io_release(&io.io);
	media_at(0)[0] ^= 1;
	init(&io, BDEV_READ, 0, 1, BDEV_IO_LEND | PI_CHECKS, 0);
	assert_int_equal(rig_io_run(&rig, 0, &io), BDEV_ST_GUARD_CHECK);
	assert_false(io.io.lent);
	init(&io, BDEV_READ, 0, 1, BDEV_IO_LEND | BDEV_IO_PLAIN, 0);
	assert_int_equal(rig_io_run(&rig, 0, &io), BDEV_ST_BAD_FIELD);
	end();
}

static void make_plain(void *arg) { *(int *)arg = bdev_plain(desc, NULL); }

/* Who knows nothing of metadata sees a device without. */
static void plain_descriptors(void)
{
	struct bdev_info info;
	struct rig_io io;
	int rc = -1;

	disconnect();
	desc = rig_open(&rig, "fake", true);
	rig_on(core_control(rig.core), make_plain, &rc);
	assert_int_equal(rc, 0);
	for (uint32_t i = 0; i < 3; i++)
		chs[i] = rig_get(&rig, i, desc);
	bdev_get_info(desc, &info);
	assert_int_equal(info.md_size, 0);
	fill(buf, COUNT * BS, 1);
	memcpy(other, buf, COUNT * BS);
	assert_int_equal(io_do(0, BDEV_WRITE, 30, COUNT, buf, COUNT * BS), BDEV_ST_OK);
	assert_int_equal(io_do(1, BDEV_COMPARE, 30, COUNT, buf, COUNT * BS), BDEV_ST_OK);
	assert_int_equal(media_status(30, COUNT, type == 3 ? 0 : 30, 0), BDEV_ST_OK);
	rig_io_init(&io, chs[0], BDEV_COPY, 31, COUNT, NULL, 0);
	io.io.copy.src_lba = 30;
	assert_int_equal(rig_io_run(&rig, 0, &io), BDEV_ST_OK);
	memset(buf, 0, sizeof(buf));
	assert_int_equal(io_do(1, BDEV_READ, 31, COUNT, buf, COUNT * BS), BDEV_ST_OK);
	assert_memory_equal(buf, other, COUNT * BS);
	assert_int_equal(io_do(0, BDEV_WRITE_ZEROES, 31, 2, NULL, 0), BDEV_ST_OK);
	assert_int_equal(io_do(1, BDEV_READ, 31, 2, buf, 2 * BS), BDEV_ST_OK);
	assert_int_equal(buf[2 * BS - 1], 0);
	assert_int_equal(io_do(0, BDEV_VERIFY, 31, COUNT, NULL, 0), BDEV_ST_OK);
	media_at(35)[0] ^= 1;
	assert_int_equal(io_do(1, BDEV_READ, 31, COUNT, buf, COUNT * BS), BDEV_ST_GUARD_CHECK);
	assert_int_equal(io_do(0, BDEV_VERIFY, 31, COUNT, NULL, 0), BDEV_ST_GUARD_CHECK);
	memcpy(media_at(36), media_at(37), STRIDE); /* a write that landed in the wrong place */
	assert_int_equal(io_do(1, BDEV_READ, 36, 1, buf, BS), if_refs(BDEV_ST_REFTAG_CHECK));
}

static void hidden_behind_a_descriptor(void **state) { every_kind(plain_descriptors); }

/* Without protection information there is nothing to check, and saying so is better than pretending. */
static void nothing_to_check(void **state)
{
	begin();
	fake.bdev.md_size = 8;
	fake.bdev.md_interleaved = true;
	connect_all(true);
	assert_int_equal(plain(BDEV_READ, 0, 1, PI_CHECKS), BDEV_ST_UNSUPPORTED);
	assert_int_equal(plain(BDEV_WRITE, 0, 1, 0), BDEV_ST_OK);
	assert_int_equal(plain(BDEV_READ, 0, 1, 0), BDEV_ST_OK);
	assert_int_equal(go(BDEV_READ, 0, 1, BDEV_IO_PLAIN, STRIDE), BDEV_ST_BAD_FIELD);
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(made_and_checked),
		cmocka_unit_test(carried_behind_the_data),
		cmocka_unit_test(every_operation),
		cmocka_unit_test(copies_are_protected),
		cmocka_unit_test(compare_and_write_is_protected),
		cmocka_unit_test(compare_and_write_of_a_device_that_can),
		cmocka_unit_test(lent_reads_are_checked),
		cmocka_unit_test(hidden_behind_a_descriptor),
		cmocka_unit_test(nothing_to_check),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
