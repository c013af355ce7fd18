/* SPDX-License-Identifier: BSD-3-Clause */
/* block_test.c: the block commands, one by one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "scsi/test_rig.h"
#include "wire/scsi_inquiry.h"

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
	assert_int_equal(read_from(0, SCSI_OP_READ_16, 0, (32 << 11) + 1, 1 << 20),
	                 RIG_SENSE(ILLEGAL_REQUEST, INVALID_FIELD_IN_CDB));
	assert_int_equal(read_from(0, SCSI_OP_READ_16, 0, 32 << 11, 1 << 20), oob);
	assert_int_equal(read_from(0, SCSI_OP_READ_16, 0, 2049, 1 << 20), 0);
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

static void long_commands_go_in_pieces(void **state)
{
	struct rig_cdb rd = rig_rw(SCSI_OP_READ_10, 7, 100), wr = rig_rw(SCSI_OP_WRITE_10, 7, 100);
	struct rig_task rt;

	q->n.piece_bytes = 4096;
	for (int lending = 0; lending < 2; lending++) {
		rig.no_lending = !lending;
		out[0] = (uint8_t)lending;
		assert_int_equal(rig_cmd(q, 0, &wr, SCSI_DATA_OUT, out, 51200, &rt), SCSI_GOOD);
		assert_int_equal(rt.pieces, 12);
		assert_int_equal(rt.residual, 0);
		assert_int_equal(rig_cmd(q, 0, &rd, SCSI_DATA_IN, in, 51200, &rt), SCSI_GOOD);
		assert_int_equal(rt.pieces, 12);
		assert_int_equal(rt.got, 51200);
		assert_memory_equal(in, out, 51200);
		assert_int_equal(rig_cmd(q, 0, &rd, SCSI_DATA_IN, in, 5000, &rt), SCSI_GOOD); /* one and a bit */
		assert_int_equal(rt.pieces, 1);
		assert_int_equal(rt.got, 5000);
		assert_int_equal(rt.residual, 51200 - 5000);
		assert_int_equal(rig_cmd(q, 0, &wr, SCSI_DATA_OUT, out + 512, 8191, &rt), SCSI_GOOD);
		assert_int_equal(rt.pieces, 1);
		assert_int_equal(rt.residual, 51200 - 8191);
		assert_int_equal(rig_cmd(q, 0, &rd, SCSI_DATA_IN, in, 8192, &rt), SCSI_GOOD);
		assert_memory_equal(in, out + 512, 15 * 512);
		assert_memory_equal(in + 15 * 512, out + 15 * 512, 512);
	}
}

/* Between two pieces it is a command that has not begun: what means such ones means it. */
static void long_commands_end_between_pieces(void **state)
{
	struct rig_cdb wr = rig_rw(SCSI_OP_WRITE_10, 0, 32), rd = rig_rw(SCSI_OP_READ_10, 0, 32);
	struct rig_nexus *other = rig_join(&rig, 1, "iqn.other,i,0x1");
	struct rig_task *rt, end;

	q->n.piece_bytes = 4096;
	for (int write = 0; write < 2; write++) {
		rt = rig_parse(q, 0, write ? &wr : &rd, write ? SCSI_DATA_OUT : SCSI_DATA_IN, write ? out : in, 16384,
		               SCSI_ATTR_SIMPLE);
		rt->stays = true;
		rig_execute(rt);
		rig_pass(NS_PER_MS);
		assert_int_equal(rt->pieces, 1);
		assert_int_equal(q->n.task_count, 0);
		assert_int_equal(rig_tmf(other, SCSI_TMF_LU_RESET, 0, 0), SCSI_TMF_COMPLETE);
		rig_next(rt);
		assert_int_equal(rig_end(rt, &end), SCSI_TASK_ABORTED);
		assert_true(end.aborted);
		assert_int_equal(end.residual, 4096 - 16384);
		assert_int_equal(read_from(0, SCSI_OP_READ_10, 0, 1, 512), RIG_SENSE(UNIT_ATTENTION, DEVICE_RESET));
	}
	assert_int_equal(rig_add_lun(&rig, "nul", 5, false), 0);
	while (read_from(5, SCSI_OP_READ_10, 0, 1, 512))
		; /* attentions */
	rt = rig_parse(q, 5, &rd, SCSI_DATA_IN, in, 16384, SCSI_ATTR_SIMPLE);
	rt->stays = true;
	rig_execute(rt);
	rig_pass(NS_PER_MS);
	rig_resize(&rig, "nul", 20);
	rig_next(rt);
	assert_int_equal(rig_end(rt, &end), SCSI_CHECK_CONDITION);
	assert_int_equal(end.asc, SCSI_ASC_LBA_OUT_OF_RANGE);
	assert_int_equal(end.residual, 4096 - 16384);
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

/* An anchored block keeps its place on the disk; nothing here does, and the page of provisioning says so. */
static void nothing_is_anchored(void **state)
{
	struct rig_cdb same10 = rig_rw(SCSI_OP_WRITE_SAME_10, 0, 1), same16 = rig_rw(SCSI_OP_WRITE_SAME_16, 0, 1);
	struct rig_cdb unmap = { .b = { SCSI_OP_UNMAP, 0x01, [8] = 24 } };
	struct rig_cdb page = { .b = { SCSI_OP_INQUIRY, 0x01, SCSI_VPD_PROVISIONING, 0, 64 } };

	same10.b[1] = same16.b[1] = 0x18; /* UNMAP, ANCHOR */
	assert_int_equal(rig_try(q, 0, &same10, SCSI_DATA_OUT, out, 512), RIG_SENSE(ILLEGAL_REQUEST, INVALID_FIELD_IN_CDB));
	assert_int_equal(rig_try(q, 0, &same16, SCSI_DATA_OUT, out, 512), RIG_SENSE(ILLEGAL_REQUEST, INVALID_FIELD_IN_CDB));
	assert_int_equal(rig_try(q, 0, &unmap, SCSI_DATA_OUT, out, 24), RIG_SENSE(ILLEGAL_REQUEST, INVALID_FIELD_IN_CDB));
	assert_int_equal(rig_try(q, 0, &page, SCSI_DATA_IN, in, 64), 0);
	assert_int_equal(in[5] & 0x02, 0); /* ANC_SUP */
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

static struct rig_cdb flags(struct rig_cdb c, uint8_t byte1)
{
	c.b[1] |= byte1;
	return c;
}

static uint32_t try_out(struct rig_cdb c, const void *data, uint32_t len)
{
	return rig_try(q, 0, &c, data ? SCSI_DATA_OUT : SCSI_DATA_NONE, (void *)(uintptr_t)data, len);
}

static void verify_finds_what_differs(void **state)
{
	static const uint8_t opcodes[] = { SCSI_OP_VERIFY_10, SCSI_OP_VERIFY_12, SCSI_OP_VERIFY_16 };
	uint32_t miscompare = RIG_SENSE(MISCOMPARE, MISCOMPARE_DURING_VERIFY);
	struct rig_task rt;

	assert_int_equal(write_to(0, SCSI_OP_WRITE_10, 0, 128, 128 * 512), 0);
	for (uint32_t i = 0; i < ARRAY_SIZE(opcodes); i++) {
		struct rig_cdb c = rig_rw(opcodes[i], 0, 16), one = flags(rig_rw(opcodes[i], 200, 100), 0x06);

		assert_int_equal(try_out(c, NULL, 0), 0);
		assert_int_equal(try_out(flags(c, 0x02), out, 16 * 512), 0);
		out[5000] ^= 1;
		assert_int_equal(try_out(c, out, 16 * 512), 0); /* nobody compares */
		c = flags(c, 0x02);
		assert_int_equal(rig_cmd(q, 0, &c, SCSI_DATA_OUT, out, 16 * 512, &rt), SCSI_CHECK_CONDITION);
		assert_int_equal(rt.asc, SCSI_ASC_MISCOMPARE_DURING_VERIFY);
		assert_int_equal(rt.sense[0], SCSI_SENSE_FIXED | SCSI_SENSE_VALID);
		assert_int_equal(scsi_u32(rt.sense + 3), 5000);
		out[5000] ^= 1;
		assert_int_equal(try_out(flags(rig_rw(opcodes[i], 0, 16), 0x04), out, 16 * 512),
		                 RIG_SENSE(ILLEGAL_REQUEST, INVALID_FIELD_IN_CDB));
		assert_int_equal(try_out(one, in, 512), 0); /* zeroes, all of them */
		assert_int_equal(try_out(flags(rig_rw(opcodes[i], 100, 100), 0x06), in, 512), miscompare);
		assert_int_equal(try_out(rig_rw(opcodes[i], RIG_BLOCKS, 1), NULL, 0),
		                 RIG_SENSE(ILLEGAL_REQUEST, LBA_OUT_OF_RANGE));
	}
}

static void write_and_verify_writes(void **state)
{
	static const uint8_t opcodes[] = { SCSI_OP_WRITE_VERIFY_10, SCSI_OP_WRITE_VERIFY_12, SCSI_OP_WRITE_VERIFY_16 };

	for (uint32_t i = 0; i < ARRAY_SIZE(opcodes); i++) {
		out[3] = (uint8_t)i;
		assert_int_equal(try_out(flags(rig_rw(opcodes[i], i, 9), i % 2 ? 0x02 : 0), out, 9 * 512), 0);
		assert_int_equal(read_from(0, SCSI_OP_READ_16, i, 9, 9 * 512), 0);
		assert_memory_equal(in, out, 9 * 512);
		assert_int_equal(try_out(flags(rig_rw(opcodes[i], i, 9), 0x06), out, 9 * 512),
		                 RIG_SENSE(ILLEGAL_REQUEST, INVALID_FIELD_IN_CDB));
	}
}

static struct rig_cdb caw(uint64_t lba, uint8_t blocks)
{
	struct rig_cdb c = { .b = { SCSI_OP_COMPARE_AND_WRITE } };

	scsi_put64(c.b + 2, lba);
	c.b[13] = blocks;
	return c;
}

static void compare_and_write_is_one_act(void **state)
{
	struct rig_cdb c = caw(4, 2);
	struct rig_task rt;

	assert_int_equal(write_to(0, SCSI_OP_WRITE_10, 4, 2, 1024), 0);
	memset(out + 1024, 0x55, 1024);
	assert_int_equal(try_out(c, out, 2048), 0);
	assert_int_equal(read_from(0, SCSI_OP_READ_10, 4, 2, 1024), 0);
	assert_memory_equal(in, out + 1024, 1024);
	assert_int_equal(rig_cmd(q, 0, &c, SCSI_DATA_OUT, out, 2048, &rt), SCSI_CHECK_CONDITION);
	assert_int_equal(rt.key, SCSI_MISCOMPARE);
	assert_int_equal(rt.asc, SCSI_ASC_MISCOMPARE_DURING_VERIFY);
	assert_int_equal(try_out(c, out, 1024), RIG_SENSE(ILLEGAL_REQUEST, INVALID_FIELD_IN_CDB));
	assert_int_equal(try_out(caw(4, 0), NULL, 0), 0);
	assert_int_equal(try_out(caw(RIG_BLOCKS - 1, 2), out, 2048), RIG_SENSE(ILLEGAL_REQUEST, LBA_OUT_OF_RANGE));
}

static void orwrite_sets_bits(void **state)
{
	for (uint32_t i = 0; i < 16 * 512; i++)
		out[i] = 0x11;
	assert_int_equal(write_to(0, SCSI_OP_WRITE_10, 8, 16, 16 * 512), 0);
	for (uint32_t i = 0; i < 16 * 512; i++)
		out[i] = (uint8_t)i;
	assert_int_equal(write_to(0, SCSI_OP_ORWRITE_16, 8, 16, 16 * 512), 0);
	assert_int_equal(read_from(0, SCSI_OP_READ_10, 8, 16, 16 * 512), 0);
	for (uint32_t i = 0; i < 16 * 512; i++)
		assert_int_equal(in[i], (uint8_t)(i | 0x11));
}

/* Every bit that somebody sets stays, whoever else sets others at the time. */
static void orwrites_do_not_lose_each_other(void **state)
{
	struct rig_nexus *other = rig_join(&rig, 1, "iqn.host,i,0x2");
	struct rig_cdb c = rig_rw(SCSI_OP_ORWRITE_16, 0, 1);
	struct rig_task *tasks[8];
	uint8_t data[8][512];

	for (uint32_t i = 0; i < 8; i++) {
		memset(data[i], 1 << i, 512);
		tasks[i] = rig_send(i % 2 ? other : q, 0, &c, SCSI_DATA_OUT, data[i], 512, SCSI_ATTR_SIMPLE);
	}
	for (uint32_t i = 0; i < 8; i++)
		assert_int_equal(rig_end(tasks[i], NULL), SCSI_GOOD);
	assert_int_equal(read_from(0, SCSI_OP_READ_10, 0, 1, 512), 0);
	for (uint32_t i = 0; i < 512; i++)
		assert_int_equal(in[i], 0xff);
}

/* What commands need of their own is within the budget: who finds none is told to come again. */
/* It reads, and keeps, what it changes: of a long one all at once its core would do nothing else for too long. */
static void an_orwrite_that_has_no_pieces_is_short(void **state)
{
	struct rig_cdb c = rig_rw(SCSI_OP_ORWRITE_16, 0, 2049);

	assert_int_equal(rig_try(q, 0, &c, SCSI_DATA_OUT, out, 1 << 20), RIG_SENSE(ILLEGAL_REQUEST, INVALID_FIELD_IN_CDB));
	q->n.piece_bytes = 65536;
	assert_int_equal(rig_try(q, 0, &c, SCSI_DATA_OUT, out, 1 << 20), 0);
}

static void orwrites_do_not_exceed_the_budget(void **state)
{
	struct rig_cdb c = rig_rw(SCSI_OP_ORWRITE_16, 0, 2048);
	struct rig_task *tasks[40];
	uint32_t good = 0, busy = 0;

	for (uint32_t i = 0; i < ARRAY_SIZE(tasks); i++)
		tasks[i] = rig_send(q, 0, &c, SCSI_DATA_OUT, out, 1 << 20, SCSI_ATTR_SIMPLE);
	for (uint32_t i = 0; i < ARRAY_SIZE(tasks); i++) {
		uint8_t status = rig_end(tasks[i], NULL);

		good += status == SCSI_GOOD;
		busy += status == SCSI_BUSY;
	}
	assert_true(good && busy);
	assert_int_equal(good + busy, ARRAY_SIZE(tasks));
	assert_int_equal(rig_try(q, 0, &c, SCSI_DATA_OUT, out, 1 << 20), 0);
}

static void put_unmap(uint8_t *list, uint32_t descs, uint64_t lba, uint32_t count)
{
	memset(list, 0, 8 + 16 * descs);
	scsi_put16(list, (uint16_t)(6 + 16 * descs));
	scsi_put16(list + 2, (uint16_t)(16 * descs));
	for (uint32_t i = 0; i < descs; i++) {
		scsi_put64(list + 8 + 16 * i, lba + i * 2ull * count);
		scsi_put32(list + 16 + 16 * i, count);
	}
}

static uint32_t unmap(const uint8_t *list, uint16_t len)
{
	struct rig_cdb c = { .b = { SCSI_OP_UNMAP } };

	scsi_put16(c.b + 7, len);
	return try_out(c, len ? list : NULL, len);
}

static uint32_t lba_status(uint64_t lba, uint32_t alloc)
{
	struct rig_cdb c = { .b = { SCSI_OP_GET_LBA_STATUS_16, SCSI_SA_GET_LBA_STATUS_16 } };

	scsi_put64(c.b + 2, lba);
	scsi_put32(c.b + 10, alloc);
	return rig_try(q, 0, &c, SCSI_DATA_IN, in, alloc);
}

static void unmapped_blocks_are_zero_and_known(void **state)
{
	uint8_t list[8 + 16 * 300];

	assert_int_equal(write_to(0, SCSI_OP_WRITE_10, 0, 2048, 1 << 20), 0);
	put_unmap(list, 2, 256, 256);
	assert_int_equal(unmap(list, 40), 0);
	assert_int_equal(read_from(0, SCSI_OP_READ_10, 250, 600, 600 * 512), 0);
	for (uint32_t i = 0; i < 600; i++)
		assert_int_equal(in[i * 512 + 77] != 0,
		                 out[(250 + i) * 512 + 77] && !((250 + i) / 256 == 1 || (250 + i) / 256 == 3));
	assert_int_equal(lba_status(0, 8 + 16 * 4), 0);
	assert_int_equal(scsi_u32(in), 4 + 16 * 4);
	assert_int_equal(in[8 + 12], 0);
	assert_int_equal(scsi_u64(in + 24), 256);
	assert_int_equal(scsi_u32(in + 32), 256);
	assert_int_equal(in[24 + 12], 1);
	assert_int_equal(lba_status(300, 24), 0);
	assert_int_equal(scsi_u64(in + 8), 300);
	assert_int_equal(in[8 + 12], 1);
	assert_int_equal(lba_status(RIG_BLOCKS, 24), RIG_SENSE(ILLEGAL_REQUEST, LBA_OUT_OF_RANGE));
	assert_int_equal(unmap(list, 0), 0);
	assert_int_equal(unmap(list, 8), 0);
	assert_int_equal(unmap(list, 7), RIG_SENSE(ILLEGAL_REQUEST, PARAMETER_LIST_LENGTH));
	put_unmap(list, 1, RIG_BLOCKS - 1, 2);
	assert_int_equal(unmap(list, 24), RIG_SENSE(ILLEGAL_REQUEST, LBA_OUT_OF_RANGE));
	put_unmap(list, 300, 0, 0);
	assert_int_equal(unmap(list, 8 + 16 * 300), RIG_SENSE(ILLEGAL_REQUEST, INVALID_FIELD_IN_CDB));
	put_unmap(list, 256, 0, 0);
	assert_int_equal(unmap(list, 8 + 16 * 256), 0);
}

static void write_same_repeats_a_block(void **state)
{
	struct rig_cdb ten = rig_rw(SCSI_OP_WRITE_SAME_10, 10, 300);
	struct rig_cdb end = rig_rw(SCSI_OP_WRITE_SAME_16, RIG_BLOCKS - 99, 0);

	assert_int_equal(try_out(ten, out, 512), 0);
	assert_int_equal(read_from(0, SCSI_OP_READ_10, 10, 300, 300 * 512), 0);
	for (uint32_t i = 0; i < 300; i++)
		assert_memory_equal(in + i * 512, out, 512);
	assert_int_equal(try_out(end, out, 512), 0); /* up to the end; more than one piece */
	assert_int_equal(read_from(0, SCSI_OP_READ_10, RIG_BLOCKS - 100, 100, 100 * 512), 0);
	assert_int_equal(in[0], 0);
	assert_memory_equal(in + 99 * 512, out, 512);
	assert_int_equal(try_out(flags(rig_rw(SCSI_OP_WRITE_SAME_16, 0, 5000), 0), out, 512), 0);
	assert_int_equal(try_out(flags(rig_rw(SCSI_OP_WRITE_SAME_16, 10, 256), 0x09), NULL, 0), 0); /* NDOB, UNMAP */
	assert_int_equal(read_from(0, SCSI_OP_READ_10, 9, 258, 258 * 512), 0);
	assert_memory_equal(in, out, 512);
	for (uint32_t i = 512; i < 257 * 512; i++)
		assert_int_equal(in[i], 0);
	assert_memory_equal(in + 257 * 512, out, 512);
	assert_int_equal(try_out(flags(ten, 0x10), out, 512), RIG_SENSE(ILLEGAL_REQUEST, INVALID_FIELD_IN_CDB));
	assert_int_equal(try_out(ten, out, 1024), RIG_SENSE(ILLEGAL_REQUEST, INVALID_FIELD_IN_CDB));
	assert_int_equal(try_out(rig_rw(SCSI_OP_WRITE_SAME_10, RIG_BLOCKS + 1, 0), out, 512),
	                 RIG_SENSE(ILLEGAL_REQUEST, LBA_OUT_OF_RANGE));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_was_written_is_read, fresh, over),
		cmocka_unit_test_setup_teardown(ends_of_the_disk_are_kept, fresh, over),
		cmocka_unit_test_setup_teardown(residuals_say_what_was_not_moved, fresh, over),
		cmocka_unit_test_setup_teardown(long_commands_go_in_pieces, fresh, over),
		cmocka_unit_test_setup_teardown(long_commands_end_between_pieces, fresh, over),
		cmocka_unit_test_setup_teardown(what_cannot_be_is_refused_with_a_pointer, fresh, over),
		cmocka_unit_test_setup_teardown(nothing_is_anchored, fresh, over),
		cmocka_unit_test_setup_teardown(capacity_is_told, fresh, over),
		cmocka_unit_test_setup_teardown(caches_are_written, fresh, over),
		cmocka_unit_test_setup_teardown(verify_finds_what_differs, fresh, over),
		cmocka_unit_test_setup_teardown(write_and_verify_writes, fresh, over),
		cmocka_unit_test_setup_teardown(compare_and_write_is_one_act, fresh, over),
		cmocka_unit_test_setup_teardown(orwrite_sets_bits, fresh, over),
		cmocka_unit_test_setup_teardown(orwrites_do_not_lose_each_other, fresh, over),
		cmocka_unit_test_setup_teardown(an_orwrite_that_has_no_pieces_is_short, fresh, over),
		cmocka_unit_test_setup_teardown(orwrites_do_not_exceed_the_budget, fresh, over),
		cmocka_unit_test_setup_teardown(unmapped_blocks_are_zero_and_known, fresh, over),
		cmocka_unit_test_setup_teardown(write_same_repeats_a_block, fresh, over),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
