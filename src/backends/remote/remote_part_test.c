/* SPDX-License-Identifier: BSD-3-Clause */
/* remote_part_test.c: controllers that take smaller commands than the disk's others: what is larger goes there in
 * parts, side by side, and what ends one of them badly ends, moves or repeats no more than it has to.
 */
#include "backends/remote/remote_rig_test.h"

static void takes(struct rig *r, uint32_t path, uint32_t blocks)
{
	r->info[path].max_io_bytes = blocks * RIG_BLOCK;
	rig_up(r, path);
}

/* The n-th of the commands that are out: what it is about, and that its data are where they belong. */
static void nth_is_out(struct rig *r, uint32_t path, uint32_t n, const struct rig_io *io, uint8_t opc, uint64_t at,
                       uint32_t count)
{
	struct nvme_qpair *qp = rig_qpair(r, path, 0);
	const struct nvme_op *op;
	uint8_t *want = (uint8_t *)io->buf + at * RIG_BLOCK;
	size_t skip, left;

	must(qp && qp->count > n);
	op = qp->held[n];
	assert_int_equal(op->cmd.opc, opc);
	assert_int_equal(le64_get(op->cmd.rw.slba), io->io.lba + at);
	assert_int_equal(le16_get(op->cmd.rw.nlb), count - 1);
	assert_int_equal(op->data_len, count * RIG_BLOCK);
	assert_int_equal(op->data, opc == NVME_CMD_READ ? NVME_OP_TO_HOST : NVME_OP_TO_CTRLR);
	skip = op->iov_at;
	left = op->data_len;
	for (uint32_t i = 0; i < op->iov_count && left; i++) {
		const struct iovec *v = &op->iovs[i];
		size_t len;

		if (skip >= v->iov_len) {
			skip -= v->iov_len;
			continue;
		}
		len = min_u64(v->iov_len - skip, left);
		assert_ptr_equal((uint8_t *)v->iov_base + skip, want);
		want += len;
		left -= len;
		skip = 0;
	}
	assert_int_equal(left, 0);
}

static void is_out(struct rig *r, uint32_t path, const struct rig_io *io, uint8_t opc, uint64_t at, uint32_t count)
{
	nth_is_out(r, path, 0, io, opc, at, count);
	assert_int_equal(rig_qpair(r, path, 0)->count, 1);
}

static void answer(struct rig *r, uint32_t path, uint16_t status)
{
	rig_answer(r, rig_qpair(r, path, 0), status);
}

static void answer_all(struct rig *r, uint32_t path, uint32_t count)
{
	assert_int_equal(rig_qpair(r, path, 0)->count, count);
	while (count--)
		answer(r, path, 0);
}

static void what_is_too_large_goes_in_parts_side_by_side(void **state)
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
		nth_is_out(&r, 0, 0, &io, rows[i].opc, 0, 3);
		nth_is_out(&r, 0, 1, &io, rows[i].opc, 3, 1);
		answer(&r, 0, 0);
		assert_false(io.done);
		answer_all(&r, 0, 1);
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
	for (uint32_t i = 0; i < 2; i++)
		assert_int_equal(le32_get(rig_qpair(&r, 0, 0)->held[i]->cmd.rw.ilbrt), 100 + 2 * i);
	answer_all(&r, 0, 2);
	assert_true(rig_is_ok(&io));
	memset(&io.io.flags, BDEV_IO_FUA, 1);
	rig_io_go(&r, &io, 0);
	for (uint32_t i = 0; i < 2; i++)
		assert_int_equal(le16_get(rig_qpair(&r, 0, 0)->held[i]->cmd.rw.control), NVME_RW_FUA | NVME_RW_PRCHK_REF);
	answer_all(&r, 0, 2);
	assert_true(rig_is_ok(&io));
	rig_stop(&r);
}

/* What was out whole is sent again in parts when only a controller is left that takes no more, and a part, when that
 * one takes still less, in parts one after the other; and the other way round the rest of it goes whole. What was
 * answered is not done again. */
static void who_moves_goes_as_the_other_path_takes_it(void **state)
{
	struct rig r;
	struct rig_io io;

	rig_start(&r);
	takes(&r, 0, 4);
	rig_io(&r, &io, 0, BDEV_WRITE, 8, 4);
	is_out(&r, 0, &io, NVME_CMD_WRITE, 0, 4);
	takes(&r, 1, 3);
	rig_cut(&r, rig_qpair(&r, 0, 0), true);
	rig_down(&r, 0);
	assert_int_equal(rig_qpair(&r, 1, 0)->count, 0);
	rig_replay(&r, 0, r.paths[0].life);
	nth_is_out(&r, 1, 0, &io, NVME_CMD_WRITE, 0, 3);
	nth_is_out(&r, 1, 1, &io, NVME_CMD_WRITE, 3, 1);
	takes(&r, 0, 1);
	rig_cut(&r, rig_qpair(&r, 1, 0), false); /* they had not gone out: nothing to wait for */
	rig_down(&r, 1);
	nth_is_out(&r, 0, 0, &io, NVME_CMD_WRITE, 0, 1);
	nth_is_out(&r, 0, 1, &io, NVME_CMD_WRITE, 3, 1);
	answer(&r, 0, 0);
	nth_is_out(&r, 0, 0, &io, NVME_CMD_WRITE, 3, 1);
	nth_is_out(&r, 0, 1, &io, NVME_CMD_WRITE, 1, 1);
	answer(&r, 0, 0);
	takes(&r, 1, 4);
	rig_cut(&r, rig_qpair(&r, 0, 0), false);
	rig_down(&r, 0);
	is_out(&r, 1, &io, NVME_CMD_WRITE, 1, 1);
	answer(&r, 1, 0);
	is_out(&r, 1, &io, NVME_CMD_WRITE, 2, 1); /* what is left of that part */
	answer(&r, 1, 0);
	assert_true(rig_is_ok(&io));
	rig_stop(&r);
}

/* A target that comes back takes less than before: who waited for it is cut as well, and may be waiting with others. */
static void a_life_may_take_less_than_the_one_before(void **state)
{
	struct rig r;
	struct rig_io io, second;

	rig_start(&r);
	takes(&r, 0, 4);
	rig_down(&r, 0);
	rig_io(&r, &io, 0, BDEV_READ, 20, 4);
	rig_io(&r, &second, 0, BDEV_READ, 30, 4);
	takes(&r, 0, 2);
	nth_is_out(&r, 0, 0, &io, NVME_CMD_READ, 0, 2);
	nth_is_out(&r, 0, 1, &io, NVME_CMD_READ, 2, 2);
	nth_is_out(&r, 0, 2, &second, NVME_CMD_READ, 0, 2);
	nth_is_out(&r, 0, 3, &second, NVME_CMD_READ, 2, 2);
	answer_all(&r, 0, 4);
	assert_true(rig_is_ok(&io));
	assert_true(rig_is_ok(&second));
	rig_stop(&r);
}

static void a_part_that_fails_is_the_last(void **state)
{
	struct rig r;
	struct rig_io io;

	rig_start(&r);
	takes(&r, 0, 2);
	rig_io(&r, &io, 0, BDEV_WRITE, 0, 4);
	answer(&r, 0, NVME_SC_WRITE_FAULT);    /* tried again, and no more than that one */
	nth_is_out(&r, 0, 0, &io, NVME_CMD_WRITE, 2, 2);
	nth_is_out(&r, 0, 1, &io, NVME_CMD_WRITE, 0, 2);
	answer(&r, 0, 0);
	answer(&r, 0, NVME_SC_WRITE_FAULT | NVME_SC_DNR);
	assert_true(io.done && io.io.status == BDEV_ST_MEDIA_ERROR);
	assert_int_equal(rig_qpair(&r, 0, 0)->count, 0);
	rig_stop(&r);
}

/* Its parts are: the first one is asked for, and what is answered ends nothing before all are. */
static void an_abort_reaches_the_parts(void **state)
{
	struct rig r;
	struct rig_io io;

	rig_start(&r);
	takes(&r, 0, 2);
	rig_io(&r, &io, 0, BDEV_WRITE, 0, 4);
	for (uint32_t i = 0; i < 2; i++)
		rig_qpair(&r, 0, 0)->held[i]->sent = true;
	assert_true(rig_abort(&r, &io));
	assert_int_equal(r.aborts, 1);
	answer(&r, 0, NVME_SC_ABORT_REQ);
	assert_false(io.done);
	answer(&r, 0, 0); /* before an Abort was */
	rig_abort_done(&r, 0);
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

/* Parts are told of where they lie in the whole, so that its memory may be in any number of pieces. */
static void memory_may_be_in_many_pieces(void **state)
{
	struct rig r;
	struct rig_io io;

	rig_start(&r);
	takes(&r, 0, 2);
	rig_io(&r, &io, 0, BDEV_READ, 0, 2);
	answer(&r, 0, 0);
	rig_io(&r, &io, 0, BDEV_READ, 0, 4);
	answer_all(&r, 0, 2);
	in_pieces(&io, ARRAY_SIZE(io.iov), sizeof(io.buf) / ARRAY_SIZE(io.iov));
	rig_io_go(&r, &io, 0);
	nth_is_out(&r, 0, 0, &io, NVME_CMD_READ, 0, 2);
	takes(&r, 1, 1);
	rig_cut(&r, rig_qpair(&r, 0, 0), true);
	rig_down(&r, 0);
	for (uint32_t i = 0; i < 4; i++) {
		nth_is_out(&r, 1, 0, &io, NVME_CMD_READ, i % 2 * 2 + i / 2, 1);
		answer(&r, 1, 0);
	}
	assert_true(rig_is_ok(&io));
	rig_stop(&r);
}

/* Of what is compared and written, either half. */
static void a_pair_may_be_in_many_pieces(void **state)
{
	struct rig r;
	struct rig_io io;
	struct nvme_qpair *qp;

	rig_start(&r);
	takes(&r, 0, 4);
	rig_io(&r, &io, 0, BDEV_COMPARE_AND_WRITE, 9, 1);
	answer_all(&r, 0, 2);
	in_pieces(&io, ARRAY_SIZE(io.iov), 2 * RIG_BLOCK / ARRAY_SIZE(io.iov));
	rig_io_go(&r, &io, 0);
	qp = rig_qpair(&r, 0, 0);
	assert_int_equal(qp->count, 2);
	for (uint32_t i = 0; i < 2; i++) {
		assert_int_equal(qp->held[i]->iov_at, i * RIG_BLOCK);
		assert_int_equal(qp->held[i]->data_len, RIG_BLOCK);
	}
	answer_all(&r, 0, 2);
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
		cmocka_unit_test(what_is_too_large_goes_in_parts_side_by_side),
		cmocka_unit_test(a_part_is_as_strict_as_the_whole),
		cmocka_unit_test(who_moves_goes_as_the_other_path_takes_it),
		cmocka_unit_test(a_life_may_take_less_than_the_one_before),
		cmocka_unit_test(a_part_that_fails_is_the_last),
		cmocka_unit_test(an_abort_reaches_the_parts),
		cmocka_unit_test(memory_may_be_in_many_pieces),
		cmocka_unit_test(a_pair_may_be_in_many_pieces),
		cmocka_unit_test(a_pair_is_not_cut),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
