/* SPDX-License-Identifier: BSD-3-Clause */
/* remote_part_test.c: controllers that take smaller commands than the disk's others: what is larger goes there in
 * parts, one after the other, and what ends one of them badly ends, moves or repeats no more than it has to.
 */
#include "backends/remote/remote_rig_test.h"

static void takes(struct rig *r, uint32_t path, uint32_t blocks)
{
	r->info[path].max_io_bytes = blocks * RIG_BLOCK;
	rig_up(r, path);
}

/* The only command that is out: what it is about, and that its data are where they belong. */
static void is_out(struct rig *r, uint32_t path, const struct rig_io *io, uint8_t opc, uint64_t at, uint32_t count)
{
	struct nvme_qpair *qp = rig_qpair(r, path, 0);
	const struct nvme_op *op;
	size_t len = 0;

	must(qp && qp->count == 1);
	op = qp->held[0];
	assert_int_equal(op->cmd.opc, opc);
	assert_int_equal(le64_get(op->cmd.rw.slba), io->io.lba + at);
	assert_int_equal(le16_get(op->cmd.rw.nlb), count - 1);
	assert_int_equal(op->data_len, count * RIG_BLOCK);
	assert_int_equal(op->data, opc == NVME_CMD_READ ? NVME_OP_TO_HOST : NVME_OP_TO_CTRLR);
	for (uint32_t i = 0; i < op->iov_count; i++) {
		assert_ptr_equal(op->iovs[i].iov_base, io->buf + at * RIG_BLOCK + len);
		len += op->iovs[i].iov_len;
	}
	assert_int_equal(len, op->data_len);
}

static void answer(struct rig *r, uint32_t path, uint16_t status)
{
	rig_answer(r, rig_qpair(r, path, 0), status);
}

static void what_is_too_large_goes_in_parts(void **state)
{
	static const struct { enum bdev_op op; uint8_t opc; } rows[] = {
		{ BDEV_READ, NVME_CMD_READ }, { BDEV_WRITE, NVME_CMD_WRITE }, { BDEV_COMPARE, NVME_CMD_COMPARE },
	};
	struct rig r;
	struct rig_io io;

	rig_start(&r);
	takes(&r, 0, 3);
	for (uint32_t i = 0; i < ARRAY_SIZE(rows); i++) {
		rig_io(&r, &io, 0, rows[i].op, 5, 4);
		is_out(&r, 0, &io, rows[i].opc, 0, 3);
		answer(&r, 0, 0);
		assert_false(io.done);
		is_out(&r, 0, &io, rows[i].opc, 3, 1);
		answer(&r, 0, 0);
		assert_true(rig_is_ok(&io));
		rig_io(&r, &io, 0, rows[i].op, 5, 3);
		is_out(&r, 0, &io, rows[i].opc, 0, 3);
		answer(&r, 0, 0);
		assert_true(rig_is_ok(&io));
	}
	assert_int_equal(remote_count_get(&atomic_load(&r.disk.stats[0])[0].read_bytes), 7 * RIG_BLOCK);
	rig_stop(&r);
}

/* Each part asks for what the whole I/O asks for; a reference tag counts on. */
static void a_part_is_as_strict_as_the_whole(void **state)
{
	struct rig r;
	struct rig_io io;

	rig_start(&r);
	r.disk.prchk = NVME_RW_PRCHK_REF;
	takes(&r, 0, 2);
	rig_io(&r, &io, 0, BDEV_WRITE, 100, 4);
	assert_int_equal(le32_get(rig_qpair(&r, 0, 0)->held[0]->cmd.rw.ilbrt), 100);
	answer(&r, 0, 0);
	assert_int_equal(le32_get(rig_qpair(&r, 0, 0)->held[0]->cmd.rw.ilbrt), 102);
	answer(&r, 0, 0);
	assert_true(rig_is_ok(&io));
	memset(&io.io.flags, BDEV_IO_FUA, 1);
	rig_io_go(&r, &io, 0);
	for (uint32_t i = 0; i < 2; i++) {
		assert_int_equal(le16_get(rig_qpair(&r, 0, 0)->held[0]->cmd.rw.control), NVME_RW_FUA | NVME_RW_PRCHK_REF);
		answer(&r, 0, 0);
	}
	assert_true(rig_is_ok(&io));
	rig_stop(&r);
}

/* What was out whole is sent again in parts when only a controller is left that takes no more; and the other way round
 * the rest goes whole. What was answered is not done again. */
static void who_moves_goes_as_the_other_path_takes_it(void **state)
{
	struct rig r;
	struct rig_io io;

	rig_start(&r);
	takes(&r, 0, 4);
	rig_io(&r, &io, 0, BDEV_WRITE, 8, 4);
	is_out(&r, 0, &io, NVME_CMD_WRITE, 0, 4);
	takes(&r, 1, 1);
	rig_cut(&r, rig_qpair(&r, 0, 0), true);
	rig_down(&r, 0);
	assert_int_equal(rig_qpair(&r, 1, 0)->count, 0);
	rig_replay(&r, 0, r.paths[0].life);
	is_out(&r, 1, &io, NVME_CMD_WRITE, 0, 1);
	answer(&r, 1, 0);
	is_out(&r, 1, &io, NVME_CMD_WRITE, 1, 1);
	takes(&r, 0, 4);
	rig_cut(&r, rig_qpair(&r, 1, 0), false); /* it had not gone out: nothing to wait for */
	rig_down(&r, 1);
	is_out(&r, 0, &io, NVME_CMD_WRITE, 1, 1);
	answer(&r, 0, 0);
	is_out(&r, 0, &io, NVME_CMD_WRITE, 2, 2);
	answer(&r, 0, 0);
	assert_true(rig_is_ok(&io));
	rig_stop(&r);
}

/* A target that comes back takes less than before: who waited for it is cut as well. */
static void a_life_may_take_less_than_the_one_before(void **state)
{
	struct rig r;
	struct rig_io io;

	rig_start(&r);
	takes(&r, 0, 4);
	rig_down(&r, 0);
	rig_io(&r, &io, 0, BDEV_READ, 20, 4);
	takes(&r, 0, 2);
	is_out(&r, 0, &io, NVME_CMD_READ, 0, 2);
	answer(&r, 0, 0);
	is_out(&r, 0, &io, NVME_CMD_READ, 2, 2);
	answer(&r, 0, 0);
	assert_true(rig_is_ok(&io));
	rig_stop(&r);
}

static void a_part_that_fails_is_the_last(void **state)
{
	struct rig r;
	struct rig_io io;

	rig_start(&r);
	takes(&r, 0, 1);
	rig_io(&r, &io, 0, BDEV_WRITE, 0, 3);
	answer(&r, 0, 0);
	answer(&r, 0, NVME_SC_WRITE_FAULT);    /* tried again, and no more than that one */
	is_out(&r, 0, &io, NVME_CMD_WRITE, 1, 1);
	answer(&r, 0, NVME_SC_WRITE_FAULT | NVME_SC_DNR);
	assert_true(io.done && io.io.status == BDEV_ST_MEDIA_ERROR);
	assert_int_equal(rig_qpair(&r, 0, 0)->count, 0);

	rig_io(&r, &io, 0, BDEV_WRITE, 0, 3);
	rig_qpair(&r, 0, 0)->held[0]->sent = true;
	assert_true(rig_abort(&r, &io));
	answer(&r, 0, 0); /* before the Abort was */
	rig_abort_done(&r, 1);
	assert_true(io.done && io.io.status == BDEV_ST_ABORTED);
	assert_int_equal(rig_qpair(&r, 0, 0)->count, 0);
	rig_stop(&r);
}

static void in_pieces(struct rig_io *io, uint32_t count, size_t len)
{
	for (uint32_t i = 0; i < count; i++)
		io->iov[i] = (struct iovec){ io->buf + i * len, len };
	io->io.iov_count = (uint16_t)count;
}

static void memory_in_many_pieces_makes_smaller_parts(void **state)
{
	struct rig r;
	struct rig_io io;

	rig_start(&r);
	takes(&r, 0, 3);
	rig_io(&r, &io, 0, BDEV_READ, 0, 4);
	answer(&r, 0, 0);
	answer(&r, 0, 0);
	in_pieces(&io, 32, RIG_BLOCK / 8); /* 8 a block, and a part has room for 16 */
	rig_io_go(&r, &io, 0);
	is_out(&r, 0, &io, NVME_CMD_READ, 0, 1);
	answer(&r, 0, 0);
	is_out(&r, 0, &io, NVME_CMD_READ, 1, 1);
	answer(&r, 0, 0);
	is_out(&r, 0, &io, NVME_CMD_READ, 2, 2);
	answer(&r, 0, 0);
	assert_true(rig_is_ok(&io));
	rig_stop(&r);
}

/* A pair is one act, and so goes as it is: the target answers. */
static void a_pair_is_not_cut(void **state)
{
	struct rig r;
	struct rig_io io;

	rig_start(&r);
	r.info[0].max_io_bytes = RIG_BLOCK / 2;
	rig_up(&r, 0);
	rig_io(&r, &io, 0, BDEV_COMPARE_AND_WRITE, 9, 1);
	assert_int_equal(rig_qpair(&r, 0, 0)->count, 2);
	answer(&r, 0, NVME_SC_INVALID_FIELD | NVME_SC_DNR);
	answer(&r, 0, NVME_SC_FUSED_FAIL | NVME_SC_DNR);
	assert_true(io.done && io.io.status == BDEV_ST_BAD_FIELD);
	rig_io(&r, &io, 0, BDEV_READ, 9, 1); /* less than a block: control does not use such a path */
	assert_true(io.done && io.io.status == BDEV_ST_BAD_FIELD);
	rig_stop(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_too_large_goes_in_parts),
		cmocka_unit_test(a_part_is_as_strict_as_the_whole),
		cmocka_unit_test(who_moves_goes_as_the_other_path_takes_it),
		cmocka_unit_test(a_life_may_take_less_than_the_one_before),
		cmocka_unit_test(a_part_that_fails_is_the_last),
		cmocka_unit_test(memory_in_many_pieces_makes_smaller_parts),
		cmocka_unit_test(a_pair_is_not_cut),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
