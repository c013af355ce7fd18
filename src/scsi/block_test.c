/* SPDX-License-Identifier: BSD-3-Clause */
/* block_test.c: the block commands, one by one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "scsi/test_rig.h"

static struct rig rig;
static struct rig_nexus *q;
static uint8_t out[1u << 20], in[1u << 20];

static int fresh(void **state)
{
	rig_start(&rig, 1);
	q = rig_join(&rig, 0, "iqn.host,i,0x1");
	memset(in, 0, sizeof(in));
	for (uint32_t i = 0; i < sizeof(out); i++)
		out[i] = (uint8_t)(i * 7 + i / 512 + 1);
	return q ? 0 : -1;
}

static int over(void **state)
{
	rig_stop(&rig);
	return 0;
}

static uint32_t write_to(uint32_t lun, uint8_t opcode, uint64_t lba, uint32_t blocks, uint32_t len)
{
	struct rig_cdb c = rig_rw(opcode, lba, blocks);

	return rig_try(q, lun, &c, SCSI_DATA_OUT, out, len);
}

static uint32_t read_from(uint32_t lun, uint8_t opcode, uint64_t lba, uint32_t blocks, uint32_t len)
{
	struct rig_cdb c = rig_rw(opcode, lba, blocks);

	return rig_try(q, lun, &c, SCSI_DATA_IN, in, len);
}

static void what_was_written_is_read(void **state)
{
	static const struct { uint8_t write, read; } ways[] = {
		{ SCSI_OP_WRITE_6, SCSI_OP_READ_6 }, { SCSI_OP_WRITE_10, SCSI_OP_READ_10 },
		{ SCSI_OP_WRITE_12, SCSI_OP_READ_12 }, { SCSI_OP_WRITE_16, SCSI_OP_READ_16 },
	};

	for (uint32_t i = 0; i < 2 * ARRAY_SIZE(ways); i++) {
		uint32_t blocks = 1 + i * 17;

		rig.no_lending = i % 2;
		out[0] = (uint8_t)(0x40 + i);
		assert_int_equal(write_to(0, ways[i / 2].write, 100 + i, blocks, blocks * 512), 0);
		assert_int_equal(read_from(0, ways[i / 2].read, 100 + i, blocks, blocks * 512), 0);
		assert_memory_equal(out, in, blocks * 512);
		assert_int_equal(write_to(1, ways[i / 2].write, i, blocks, blocks * 4096), 0);
		assert_int_equal(read_from(1, ways[i / 2].read, i, blocks, blocks * 4096), 0);
		assert_memory_equal(out, in, blocks * 4096);
	}
	assert_int_equal(read_from(0, SCSI_OP_READ_6, 0, 0, 256 * 512), 0); /* none: 256 */
}

static void ends_of_the_disk_are_kept(void **state)
{
	uint32_t oob = RIG_SENSE(ILLEGAL_REQUEST, LBA_OUT_OF_RANGE);

	assert_int_equal(read_from(0, SCSI_OP_READ_10, RIG_BLOCKS - 1, 1, 512), 0);
	assert_int_equal(read_from(0, SCSI_OP_READ_10, RIG_BLOCKS - 1, 2, 1024), oob);
	assert_int_equal(read_from(0, SCSI_OP_READ_10, 0, 0, 0), 0);
	assert_int_equal(read_from(0, SCSI_OP_READ_10, RIG_BLOCKS + 1, 0, 0), oob);
	assert_int_equal(read_from(0, SCSI_OP_READ_16, UINT64_MAX, 2, 1024), oob);
	assert_int_equal(write_to(0, SCSI_OP_WRITE_16, UINT64_MAX, 1, 512), oob);
	assert_int_equal(read_from(0, SCSI_OP_READ_16, 0, 2049, 1 << 20), RIG_SENSE(ILLEGAL_REQUEST, INVALID_FIELD_IN_CDB));
	assert_int_equal(read_from(0, SCSI_OP_READ_16, 0, 2048, 1 << 20), 0);
	assert_int_equal(read_from(0, SCSI_OP_READ_16, 0, UINT32_MAX, 1 << 20),
	                 RIG_SENSE(ILLEGAL_REQUEST, INVALID_FIELD_IN_CDB));
}

static void residuals_say_what_was_not_moved(void **state)
{
	struct rig_cdb rd = rig_rw(SCSI_OP_READ_10, 0, 2), wr = rig_rw(SCSI_OP_WRITE_10, 0, 2);
	struct rig_task rt;

	for (int lending = 0; lending < 2; lending++) {
		rig.no_lending = !lending;
		assert_int_equal(write_to(0, SCSI_OP_WRITE_10, 0, 4, 2048), 0);
		assert_int_equal(rig_cmd(q, 0, &rd, SCSI_DATA_IN, in, 512, &rt), SCSI_GOOD);
		assert_int_equal(rt.residual, 512);
		assert_int_equal(rt.got, 512);
		assert_int_equal(rig_cmd(q, 0, &rd, SCSI_DATA_IN, in, 700, &rt), SCSI_GOOD);
		assert_int_equal(rt.residual, 324);
		assert_int_equal(rt.got, 700);
		assert_memory_equal(in, out, 700);
		assert_int_equal(rig_cmd(q, 0, &rd, SCSI_DATA_IN, in, 0, &rt), SCSI_GOOD);
		assert_int_equal(rt.residual, 1024);
		assert_int_equal(rig_cmd(q, 0, &rd, SCSI_DATA_IN, in, 10000, &rt), SCSI_GOOD);
		assert_int_equal(rt.residual, 1024 - 10000);
		assert_int_equal(rt.got, 1024);
		assert_int_equal(rig_cmd(q, 0, &wr, SCSI_DATA_OUT, out + 512, 600, &rt), SCSI_GOOD);
		assert_int_equal(rt.residual, 424);
		assert_int_equal(read_from(0, SCSI_OP_READ_10, 0, 2, 1024), 0);
		assert_memory_equal(in, out + 512, 512); /* what came whole was written */
		assert_memory_equal(in + 512, out + 512, 512);
		assert_int_equal(rig_cmd(q, 0, &wr, SCSI_DATA_OUT, out, 4096, &rt), SCSI_GOOD);
		assert_int_equal(rt.residual, 1024 - 4096);
		assert_int_equal(rig_cmd(q, 0, &wr, SCSI_DATA_OUT, out, 0, &rt), SCSI_GOOD);
		assert_int_equal(rt.residual, 1024);
	}
}

static void what_cannot_be_is_refused_with_a_pointer(void **state)
{
	struct rig_cdb c = rig_rw(SCSI_OP_READ_10, 0, 1), unknown = { .b = { 0xee } };
	struct rig_task rt;

	c.b[1] = 0x20; /* RDPROTECT */
	assert_int_equal(rig_cmd(q, 0, &c, SCSI_DATA_IN, in, 512, &rt), SCSI_CHECK_CONDITION);
	assert_int_equal(rt.asc, SCSI_ASC_INVALID_FIELD_IN_CDB);
	assert_int_equal(rt.sense[15], SCSI_SKS_VALID | SCSI_SKS_CDB | SCSI_SKS_BIT | 5);
	assert_int_equal(scsi_u16(rt.sense + 16), 1);
	c.b[1] = 0x18; /* DPO, FUA */
	assert_int_equal(rig_try(q, 0, &c, SCSI_DATA_IN, in, 512), 0);
	c.b[9] = SCSI_CONTROL_NACA;
	assert_int_equal(rig_try(q, 0, &c, SCSI_DATA_IN, in, 512), RIG_SENSE(ILLEGAL_REQUEST, INVALID_FIELD_IN_CDB));
	assert_int_equal(rig_try(q, 0, &unknown, SCSI_DATA_NONE, NULL, 0), RIG_SENSE(ILLEGAL_REQUEST, INVALID_OPCODE));
	c.b[9] = 0;
	assert_int_equal(rig_try(q, 77, &c, SCSI_DATA_IN, in, 512), RIG_SENSE(ILLEGAL_REQUEST, LUN_NOT_SUPPORTED));
	assert_int_equal(rig_try(q, 300, &c, SCSI_DATA_IN, in, 512), RIG_SENSE(ILLEGAL_REQUEST, LUN_NOT_SUPPORTED));
	assert_int_equal(write_to(2, SCSI_OP_WRITE_10, 0, 1, 512), RIG_SENSE(DATA_PROTECT, WRITE_PROTECTED));
	assert_int_equal(read_from(2, SCSI_OP_READ_10, 0, 1, 512), 0);
}

static void capacity_is_told(void **state)
{
	struct rig_cdb ten = { .b = { SCSI_OP_READ_CAPACITY_10 } };
	struct rig_cdb sixteen = { .b = { SCSI_OP_READ_CAPACITY_16, SCSI_SA_READ_CAPACITY_16 } };
	struct rig_task rt;

	assert_int_equal(rig_try(q, 0, &ten, SCSI_DATA_IN, in, 8), 0);
	assert_int_equal(scsi_u32(in), RIG_BLOCKS - 1);
	assert_int_equal(scsi_u32(in + 4), RIG_BLOCK);
	sixteen.b[13] = 12;
	assert_int_equal(rig_cmd(q, 1, &sixteen, SCSI_DATA_IN, in, 12, &rt), 0);
	assert_int_equal(rt.got, 12);
	assert_int_equal(scsi_u64(in), 2047);
	assert_int_equal(scsi_u32(in + 8), 4096);
	sixteen.b[13] = 32;
	assert_int_equal(rig_cmd(q, 1, &sixteen, SCSI_DATA_IN, in, 96, &rt), 0);
	assert_int_equal(rt.residual, 32 - 96);
	assert_int_equal(in[14] & 0x80, 0x80);
	sixteen.b[1] = 0x11;
	assert_int_equal(rig_try(q, 0, &sixteen, SCSI_DATA_IN, in, 8), RIG_SENSE(ILLEGAL_REQUEST, INVALID_FIELD_IN_CDB));
}

static void caches_are_written(void **state)
{
	struct rig_cdb c = rig_rw(SCSI_OP_SYNC_CACHE_10, 0, 0);

	assert_int_equal(rig_try(q, 0, &c, SCSI_DATA_NONE, NULL, 0), 0);
	c.b[1] = 0x02; /* IMMED */
	assert_int_equal(rig_try(q, 0, &c, SCSI_DATA_NONE, NULL, 0), 0);
	c = rig_rw(SCSI_OP_SYNC_CACHE_16, RIG_BLOCKS, 1);
	assert_int_equal(rig_try(q, 0, &c, SCSI_DATA_NONE, NULL, 0), RIG_SENSE(ILLEGAL_REQUEST, LBA_OUT_OF_RANGE));
	c = rig_rw(SCSI_OP_PREFETCH_16, 0, 8);
	assert_int_equal(rig_try(q, 0, &c, SCSI_DATA_NONE, NULL, 0), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_was_written_is_read, fresh, over),
		cmocka_unit_test_setup_teardown(ends_of_the_disk_are_kept, fresh, over),
		cmocka_unit_test_setup_teardown(residuals_say_what_was_not_moved, fresh, over),
		cmocka_unit_test_setup_teardown(what_cannot_be_is_refused_with_a_pointer, fresh, over),
		cmocka_unit_test_setup_teardown(capacity_is_told, fresh, over),
		cmocka_unit_test_setup_teardown(caches_are_written, fresh, over),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
