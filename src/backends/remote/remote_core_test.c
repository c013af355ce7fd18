/* SPDX-License-Identifier: BSD-3-Clause */
/* remote_core_test.c: what an I/O becomes, what is done when it ends badly, and which way it takes. Every command is
 * seen and answered by the test.
 */
#include "backends/remote/remote_rig_test.h"

/* --- commands ----------------------------------------------------------------------------------------------- */

static void reads_and_writes_carry_their_iovecs(void **state)
{
	struct rig r;
	struct rig_io io;
	struct nvme_op *op;

	rig_start(&r);
	rig_up(&r, 0);
	rig_io(&r, &io, 0, BDEV_READ, 5, 2);
	op = rig_oldest(&r, 0);
	assert_int_equal(op->cmd.opc, NVME_CMD_READ);
	assert_int_equal(le32_get(op->cmd.nsid), 7);
	assert_int_equal(le64_get(op->cmd.rw.slba), 5);
	assert_int_equal(le16_get(op->cmd.rw.nlb), 1);
	assert_int_equal(op->data, NVME_OP_TO_HOST);
	assert_int_equal(op->data_len, 2 * RIG_BLOCK);
	assert_ptr_equal(op->iovs, io.iov);
	rig_answer(&r, rig_qpair(&r, 0, 0), 0);
	assert_true(rig_is_ok(&io));

	rig_io(&r, &io, 0, BDEV_WRITE, 6, 1);
	op = rig_oldest(&r, 0);
	assert_int_equal(op->cmd.opc, NVME_CMD_WRITE);
	assert_int_equal(le16_get(op->cmd.rw.control), 0);
	rig_answer(&r, rig_qpair(&r, 0, 0), 0);
	memset(&io.io.flags, BDEV_IO_FUA, 1);
	rig_io_go(&r, &io, 0);
	assert_int_equal(le16_get(rig_oldest(&r, 0)->cmd.rw.control), NVME_RW_FUA);
	rig_answer(&r, rig_qpair(&r, 0, 0), 0);
	assert_true(rig_is_ok(&io));
	assert_int_equal(remote_count_get(&atomic_load(&r.disk.stats[0])[0].reads), 1);
	assert_int_equal(remote_count_get(&atomic_load(&r.disk.stats[0])[0].write_bytes), 2 * RIG_BLOCK);
	rig_stop(&r);
}

static void every_operation_has_its_command(void **state)
{
	static const struct { enum bdev_op op; uint8_t opc; } rows[] = {
		{ BDEV_FLUSH, NVME_CMD_FLUSH }, { BDEV_COMPARE, NVME_CMD_COMPARE }, { BDEV_VERIFY, NVME_CMD_VERIFY },
		{ BDEV_WRITE_UNCORRECTABLE, NVME_CMD_WRITE_UNCOR }, { BDEV_WRITE_ZEROES, NVME_CMD_WRITE_ZEROES },
		{ BDEV_UNMAP, NVME_CMD_DSM }, { BDEV_COPY, NVME_CMD_COPY },
	};
	struct rig r;
	struct rig_io io;

	rig_start(&r);
	rig_up(&r, 0);
	for (uint32_t i = 0; i < ARRAY_SIZE(rows); i++) {
		rig_io(&r, &io, 0, rows[i].op, 3, 1);
		assert_int_equal(rig_oldest(&r, 0)->cmd.opc, rows[i].opc);
		rig_answer(&r, rig_qpair(&r, 0, 0), 0);
		assert_true(rig_is_ok(&io));
	}
	rig_io(&r, &io, 0, BDEV_RESET, 0, 0);
	assert_true(rig_is_ok(&io) && !rig_held(&r, 0));
	rig_stop(&r);
}

/* Ranges of no blocks do nothing; what one command cannot take comes with the next. */
static void unmap_of_many_ranges_takes_several_commands(void **state)
{
	struct bdev_range ranges[7] = { { 0, 1 }, { 10, 0 }, { 20, 2 }, { 30, 3 }, { 40, 4 }, { 50, 5 }, { 60, 0 } };
	struct nvme_dsm_range got;
	struct rig r;
	struct rig_io io = { 0 };
	struct nvme_op *op;

	rig_start(&r);
	rig_up(&r, 0);
	io.io.op = BDEV_UNMAP;
	io.io.unmap.ranges = ranges;
	io.io.unmap.range_count = 7;
	rig_io_go(&r, &io, 0);
	op = rig_oldest(&r, 0);
	assert_int_equal(op->cmd.dsm.nr, 3);
	assert_int_equal(le32_get(op->cmd.dsm.attributes), NVME_DSM_AD);
	assert_int_equal(op->data_len, 4 * sizeof(got));
	memcpy(&got, (char *)op->iovs[0].iov_base + sizeof(got), sizeof(got));
	assert_int_equal(le64_get(got.slba), 20);
	assert_int_equal(le32_get(got.nlb), 2);
	rig_answer(&r, rig_qpair(&r, 0, 0), 0);
	assert_false(io.done);
	op = rig_oldest(&r, 0);
	assert_int_equal(op->cmd.dsm.nr, 0);
	memcpy(&got, op->iovs[0].iov_base, sizeof(got));
	assert_int_equal(le64_get(got.slba), 50);
	rig_answer(&r, rig_qpair(&r, 0, 0), 0);
	assert_true(rig_is_ok(&io) && !rig_held(&r, 0));
	ranges[0].count = ranges[2].count = ranges[3].count = ranges[4].count = ranges[5].count = 0;
	rig_io_go(&r, &io, 0);
	assert_true(rig_is_ok(&io) && !rig_held(&r, 0));
	rig_stop(&r);
}

/* No data moves: the size of an I/O is no limit, that of a command is. */
static void a_long_zeroing_is_not_cut_by_the_size_of_data(void **state)
{
	struct rig r;
	struct rig_io io;

	rig_start(&r);
	r.disk.zeroes_blocks_max = UINT32_MAX;
	rig_up(&r, 0);
	rig_io(&r, &io, 0, BDEV_WRITE_ZEROES, 3, 70000);
	assert_int_equal(rig_held(&r, 0), 1);
	assert_int_equal(le16_get(rig_oldest(&r, 0)->cmd.rw.nlb), 65535);
	rig_answer(&r, rig_qpair(&r, 0, 0), 0);
	assert_int_equal(le64_get(rig_oldest(&r, 0)->cmd.rw.slba), 3 + 65536);
	assert_int_equal(le16_get(rig_oldest(&r, 0)->cmd.rw.nlb), 70000 - 65536 - 1);
	rig_answer(&r, rig_qpair(&r, 0, 0), 0);
	assert_true(rig_is_ok(&io));
	rig_stop(&r);
}

static void zeroes_and_copies_keep_to_the_limits(void **state)
{
	struct rig r;
	struct rig_io io;
	struct nvme_copy_range from;

	rig_start(&r);
	rig_up(&r, 0);
	rig_io(&r, &io, 0, BDEV_WRITE_ZEROES, 3, 2);
	for (uint32_t i = 0; i < 2; i++) {
		struct nvme_op *op = rig_oldest(&r, 0);

		assert_int_equal(le64_get(op->cmd.rw.slba), 3 + i);
		assert_int_equal(le16_get(op->cmd.rw.nlb), 0);
		rig_answer(&r, rig_qpair(&r, 0, 0), 0);
	}
	assert_true(rig_is_ok(&io) && !rig_held(&r, 0));

	memset(&io, 0, sizeof(io));
	io.io = (struct bdev_io){ .op = BDEV_COPY, .lba = 100, .count = 2, .copy.src_lba = 50 };
	rig_io_go(&r, &io, 0);
	for (uint32_t i = 0; i < 2; i++) {
		struct nvme_op *op = rig_oldest(&r, 0);

		memcpy(&from, op->iovs[0].iov_base, sizeof(from));
		assert_int_equal(le64_get(op->cmd.copy.sdlba), 100 + i);
		assert_int_equal(le64_get(from.slba), 50 + i);
		assert_int_equal(le16_get(from.nlb), 0);
		rig_answer(&r, rig_qpair(&r, 0, 0), 0);
	}
	assert_true(rig_is_ok(&io));
	io.io.copy.src_lba = 99; /* from the end: the other way round the second would copy what the first has written */
	rig_io_go(&r, &io, 0);
	for (uint32_t i = 0; i < 2; i++) {
		assert_int_equal(le64_get(rig_oldest(&r, 0)->cmd.copy.sdlba), 101 - i);
		memcpy(&from, rig_oldest(&r, 0)->iovs[0].iov_base, sizeof(from));
		assert_int_equal(le64_get(from.slba), 100 - i);
		rig_answer(&r, rig_qpair(&r, 0, 0), 0);
	}
	assert_true(rig_is_ok(&io));
	rig_stop(&r);
}

static void compare_and_write_is_a_fused_pair(void **state)
{
	struct rig r;
	struct rig_io io;
	struct nvme_qpair *qp;

	rig_start(&r);
	rig_up(&r, 0);
	qp = rig_qpair(&r, 0, 0);
	rig_io(&r, &io, 0, BDEV_COMPARE_AND_WRITE, 9, 1);
	assert_int_equal(qp->count, 2);
	assert_int_equal(qp->held[0]->cmd.opc, NVME_CMD_COMPARE);
	assert_int_equal(nvme_flags_fuse(qp->held[0]->cmd.flags), 1);
	assert_ptr_equal(qp->held[0]->iovs[0].iov_base, io.buf);
	assert_int_equal(qp->held[1]->cmd.opc, NVME_CMD_WRITE);
	assert_int_equal(nvme_flags_fuse(qp->held[1]->cmd.flags), 2);
	assert_ptr_equal(qp->held[1]->iovs[0].iov_base, io.buf);
	assert_int_equal(qp->held[1]->iov_at, RIG_BLOCK);
	rig_answer(&r, qp, 0);
	assert_false(io.done);
	rig_answer(&r, qp, 0);
	assert_true(rig_is_ok(&io));

	rig_io_go(&r, &io, 0);
	rig_answer(&r, qp, NVME_SC_COMPARE_FAILED | NVME_SC_DNR);
	rig_answer(&r, qp, NVME_SC_FUSED_FAIL | NVME_SC_DNR);
	assert_true(io.done && io.io.status == BDEV_ST_MISCOMPARE);

	rig_io_go(&r, &io, 0);
	rig_answer(&r, qp, NVME_SC_FUSED_FAIL | NVME_SC_DNR);
	rig_answer(&r, qp, NVME_SC_NS_WRITE_PROTECTED | NVME_SC_DNR);
	assert_true(io.done && io.io.status == BDEV_ST_WRITE_PROTECTED);

	/* The comparison failed to be made: nothing was written, and it is made again. After one that was made nobody knows
	 * whether the write was done: it is not compared with what it may have written itself. */
	rig_io_go(&r, &io, 0);
	rig_answer(&r, qp, NVME_SC_INTERNAL);
	rig_answer(&r, qp, NVME_SC_FUSED_FAIL);
	assert_false(io.done);
	assert_int_equal(qp->count, 2);
	rig_answer(&r, qp, 0);
	rig_answer(&r, qp, NVME_SC_INTERNAL);
	assert_true(io.done && io.io.status != BDEV_ST_OK && io.io.status != BDEV_ST_MISCOMPARE);
	assert_int_equal(qp->count, 0);

	/* Nobody knows whether it was done: it is not done again, and not answered before it cannot be done any more. */
	rig_io_go(&r, &io, 0);
	rig_answer(&r, qp, 0);
	rig_cut(&r, qp, true);
	assert_false(io.done);
	rig_down(&r, 0);
	rig_replay(&r, 0, 1);
	assert_true(io.done && io.io.status == BDEV_ST_TIMED_OUT);
	rig_stop(&r);
}

static void passthrough_is_about_this_namespace(void **state)
{
	struct nvme_sqe cmd = { .opc = NVME_CMD_RESV_REPORT, .nsid = le32_of(99) };
	struct rig r;
	struct rig_io io = { 0 };
	uint32_t result = 0;

	rig_start(&r);
	rig_up(&r, 0);
	io.iov[0] = (struct iovec){ io.buf, 64 };
	io.io = (struct bdev_io){ .op = BDEV_PASSTHROUGH, .iovs = io.iov, .iov_count = 1,
		                  .passthrough = { .cmd = (uint8_t *)&cmd, .result = &result } };
	rig_io_go(&r, &io, 0);
	assert_int_equal(rig_oldest(&r, 0)->data, NVME_OP_TO_HOST);
	assert_int_equal(le32_get(rig_oldest(&r, 0)->cmd.nsid), 7);
	rig_answer(&r, rig_qpair(&r, 0, 0), 0);
	assert_true(rig_is_ok(&io) && result == 0x1234);
	rig_stop(&r);
}

/* --- statuses ----------------------------------------------------------------------------------------------- */

#define STATUS(value, name, text) value,
static const uint16_t all_statuses[] = { NVME_STATUS_GENERIC(STATUS) NVME_STATUS_IO_SPECIFIC(STATUS)
	                                 NVME_STATUS_MEDIA(STATUS) NVME_STATUS_PATH(STATUS) 0x7c0 };

/* With DNR each ends the I/O, as something; without, those that may pass are tried again and then end well. */
static void each_status_ends_or_is_tried_again(void **state)
{
	struct rig r;
	struct rig_io io;

	rig_start(&r);
	rig_up(&r, 0);
	for (uint32_t i = 0; i < ARRAY_SIZE(all_statuses); i++) {
		uint16_t sc = all_statuses[i];
		const struct remote_status_row *row = remote_status_of(sc);

		if (!sc || sc == NVME_SC_HOST_PATH_ERROR)
			continue;
		rig_io(&r, &io, 0, BDEV_WRITE, i, 1);
		rig_answer(&r, rig_qpair(&r, 0, 0), sc | NVME_SC_DNR);
		assert_true(io.done && io.io.status == row->status && row->status != BDEV_ST_OK);
		rig_io_go(&r, &io, 0);
		rig_answer(&r, rig_qpair(&r, 0, 0), sc);
		if (row->verdict == REMOTE_FINAL) {
			assert_true(io.done && io.io.status == row->status);
			continue;
		}
		assert_false(io.done);
		rig_time(&r, NS_PER_S);
		rig_answer(&r, rig_qpair(&r, 0, 0), 0);
		assert_true(rig_is_ok(&io));
	}
	assert_true(r.anas > 0 && r.nss > 0);
	rig_stop(&r);
}

static void retries_are_counted(void **state)
{
	struct rig r;
	struct rig_io io;

	rig_start(&r);
	rig_up(&r, 0);
	rig_io(&r, &io, 0, BDEV_READ, 0, 1);
	for (uint32_t i = 0; i < 3; i++) { /* the first and two more */
		assert_false(io.done);
		rig_answer(&r, rig_qpair(&r, 0, 0), NVME_SC_READ_ERROR);
	}
	assert_true(io.done && io.io.status == BDEV_ST_MEDIA_ERROR);
	assert_int_equal(remote_count_get(&r.paths[0].lanes[0].counts[REMOTE_LANE_RETRIED]), 2);
	rig_stop(&r);
}

static void the_controllers_retry_delay_is_waited_for(void **state)
{
	struct rig r;
	struct rig_io io;

	rig_start(&r);
	rig_up(&r, 0);
	rig_io(&r, &io, 0, BDEV_READ, 0, 1);
	rig_answer(&r, rig_qpair(&r, 0, 0), (uint16_t)(NVME_SC_CMD_INTERRUPTED | 2 << 11)); /* 20 times 100 ms */
	rig_time(&r, 1900 * NS_PER_MS);
	assert_int_equal(rig_held(&r, 0), 0);
	rig_time(&r, 200 * NS_PER_MS);
	rig_answer(&r, rig_qpair(&r, 0, 0), 0);
	assert_true(rig_is_ok(&io));
	rig_stop(&r);
}

/* --- ends of connections ------------------------------------------------------------------------------------ */

static void what_was_not_sent_moves_at_once(void **state)
{
	struct rig r;
	struct rig_io io;

	rig_start(&r);
	rig_up(&r, 0);
	rig_up(&r, 1);
	rig_io(&r, &io, 0, BDEV_WRITE, 0, 1);
	assert_int_equal(rig_held(&r, 0), 1);
	rig_cut(&r, rig_qpair(&r, 0, 0), false);
	assert_int_equal(r.troubles[0], 1);
	assert_int_equal(r.reason, NVME_REASON_RESET);
	rig_answer(&r, rig_qpair(&r, 1, 0), 0);
	assert_true(rig_is_ok(&io));
	rig_stop(&r);
}

static void a_read_moves_at_once(void **state)
{
	struct rig r;
	struct rig_io io, flush;

	rig_start(&r);
	rig_up(&r, 0);
	rig_up(&r, 1);
	rig_io(&r, &io, 0, BDEV_READ, 0, 1);
	rig_io(&r, &flush, 0, BDEV_FLUSH, 0, RIG_BLOCKS);
	rig_cut(&r, rig_qpair(&r, 0, 0), true);
	assert_int_equal(rig_held(&r, 1), 2);
	rig_answer(&r, rig_qpair(&r, 1, 0), 0);
	rig_answer(&r, rig_qpair(&r, 1, 0), 0);
	assert_true(io.done && flush.done);
	rig_stop(&r);
}

static void a_write_that_was_sent_waits_until_it_cannot_land(void **state)
{
	struct rig r;
	struct rig_io old, young;

	rig_start(&r);
	rig_up(&r, 0);
	rig_up(&r, 1);
	rig_io(&r, &old, 0, BDEV_WRITE, 0, 1);
	rig_cut(&r, rig_qpair(&r, 0, 0), true);
	assert_int_equal(rig_held(&r, 1), 0);
	rig_down(&r, 0);
	assert_int_equal(r.downs, 1);
	rig_up(&r, 0);
	/* another path's: the release of the first one is not about it */
	r.preferred = 1;
	rig_publish(&r);
	rig_io(&r, &young, 0, BDEV_WRITE, 1, 1);
	rig_cut(&r, rig_qpair(&r, 1, 0), true);
	assert_false(old.done || young.done);
	rig_replay(&r, 0, 1);
	assert_int_equal(rig_held(&r, 0), 1);
	assert_int_equal(le64_get(rig_oldest(&r, 0)->cmd.rw.slba), 0);
	rig_answer(&r, rig_qpair(&r, 0, 0), 0);
	assert_true(rig_is_ok(&old) && !young.done);
	rig_down(&r, 1);
	rig_replay(&r, 1, 1);
	rig_answer(&r, rig_qpair(&r, 0, 0), 0);
	assert_true(rig_is_ok(&young));
	assert_int_equal(r.replays, 2);
	rig_stop(&r);
}

static void limbo_of_an_older_life_only_is_released(void **state)
{
	struct rig r;
	struct rig_io first, second;

	rig_start(&r);
	rig_up(&r, 0);
	rig_io(&r, &first, 0, BDEV_WRITE, 0, 1);
	rig_cut(&r, rig_qpair(&r, 0, 0), true);
	rig_down(&r, 0);
	rig_up(&r, 0);
	rig_io(&r, &second, 0, BDEV_WRITE, 1, 1);
	rig_cut(&r, rig_qpair(&r, 0, 0), true);
	rig_down(&r, 0);
	rig_replay(&r, 0, 1);
	rig_up(&r, 0);
	assert_int_equal(rig_held(&r, 0), 1);
	rig_answer(&r, rig_qpair(&r, 0, 0), 0);
	assert_true(first.done && !second.done);
	rig_replay(&r, 0, 2);
	rig_answer(&r, rig_qpair(&r, 0, 0), 0);
	assert_true(second.done);
	rig_stop(&r);
}

static void immediate_replay_is_what_was_asked_for(void **state)
{
	struct rig r;
	struct rig_io io;

	rig_start(&r);
	r.remote.opts.write_replay_immediate = true;
	rig_up(&r, 0);
	rig_up(&r, 1);
	rig_io(&r, &io, 0, BDEV_WRITE, 0, 1);
	rig_cut(&r, rig_qpair(&r, 0, 0), true);
	rig_answer(&r, rig_qpair(&r, 1, 0), 0);
	assert_true(io.done);
	rig_stop(&r);
}

/* Down closes what is in use as well: the same rules hold. */
static void down_moves_everything(void **state)
{
	struct rig r;
	struct rig_io io, waits;

	rig_start(&r);
	rig_up(&r, 0);
	rig_io(&r, &io, 0, BDEV_READ, 0, 1);
	rig_down(&r, 0);
	assert_int_equal(r.downs, 1);
	assert_null(rig_qpair(&r, 0, 0));
	rig_io(&r, &waits, 0, BDEV_WRITE, 0, 1);
	assert_false(io.done || waits.done);
	rig_up(&r, 1);
	rig_answer(&r, rig_qpair(&r, 1, 0), 0);
	rig_answer(&r, rig_qpair(&r, 1, 0), 0);
	assert_true(io.done && waits.done);
	assert_int_equal(r.troubles[0], 0);
	rig_stop(&r);
}

static void queues_that_do_not_come_are_trouble(void **state)
{
	struct rig r;
	struct rig_io io;

	rig_start(&r);
	r.holds_opening = true;
	rig_up(&r, 0);
	rig_io(&r, &io, 0, BDEV_READ, 0, 1);
	assert_int_equal(rig_held(&r, 0), 0);
	rig_cut(&r, rig_qpair(&r, 0, 0), false);
	assert_int_equal(r.troubles[0], 0); /* the other core's may come yet */
	assert_int_equal(r.refused[0], 1);
	assert_null(rig_qpair(&r, 0, 0));
	rig_cut(&r, rig_qpair(&r, 0, 1), false);
	assert_int_equal(r.troubles[0], 1);
	r.holds_opening = false;
	rig_down(&r, 0);
	rig_up(&r, 0);
	rig_answer(&r, rig_qpair(&r, 0, 0), 0);
	assert_true(io.done);
	rig_stop(&r);
}

/* --- waiting, giving up, going ------------------------------------------------------------------------------ */

static void without_hope_nothing_waits(void **state)
{
	struct rig r;
	struct rig_io waits, limbo, late;

	rig_start(&r);
	rig_up(&r, 0);
	rig_io(&r, &limbo, 0, BDEV_WRITE, 0, 1);
	rig_cut(&r, rig_qpair(&r, 0, 0), true);
	rig_io(&r, &waits, 0, BDEV_WRITE, 1, 1);
	assert_false(waits.done || limbo.done);
	r.hopeless = true;
	rig_down(&r, 0);
	assert_true(waits.done && waits.io.status == BDEV_ST_TIMED_OUT);
	assert_false(limbo.done); /* it may still land */
	rig_replay(&r, 0, 1);
	assert_true(limbo.done && limbo.io.status == BDEV_ST_TIMED_OUT);
	rig_io(&r, &late, 0, BDEV_READ, 0, 1);
	assert_true(late.done && late.io.status == BDEV_ST_TIMED_OUT);
	rig_stop(&r);
}

/* More than one visit deals with; all in their order. */
static void a_long_line_goes_in_its_order(void **state)
{
	static struct rig_io ios[300];
	struct rig r;

	rig_start(&r);
	for (uint32_t i = 0; i < ARRAY_SIZE(ios); i++)
		rig_io(&r, &ios[i], 0, BDEV_READ, i, 1);
	rig_up(&r, 0);
	for (uint32_t i = 0; i < ARRAY_SIZE(ios); i++) {
		assert_int_equal(le64_get(rig_oldest(&r, 0)->cmd.rw.slba), i);
		rig_answer(&r, rig_qpair(&r, 0, 0), 0);
		assert_true(ios[i].done);
	}
	rig_stop(&r);
}

/* It connects and is lost, over and over; each time there was hope. */
static void a_path_that_never_stays_is_not_waited_for_without_end(void **state)
{
	struct rig r;
	struct rig_io io;
	uint32_t rounds = 0;

	rig_start(&r);
	r.holds_opening = true;
	for (uint32_t i = 0; i < RIG_PATHS; i++)
		r.paths[i].opts.fast_io_fail_timeout_sec = 5;
	rig_io(&r, &io, 0, BDEV_READ, 0, 1);
	for (; !io.done && rounds < 100; rounds++) {
		rig_up(&r, 0);
		rig_cut(&r, rig_qpair(&r, 0, 0), false);
		rig_down(&r, 0);
		rig_time(&r, NS_PER_S);
	}
	assert_true(io.done && io.io.status == BDEV_ST_TIMED_OUT);
	assert_true(rounds >= 15 && rounds <= 30);
	r.holds_opening = false;
	rig_stop(&r);
}

static void unregister_here(void *arg)
{
	struct rig *r = arg;

	bdev_unregister(&r->disk.bdev, NULL, NULL);
}

static void a_disk_that_goes_ends_what_waits(void **state)
{
	struct rig r;
	struct rig_io waits, limbo;

	rig_start(&r);
	rig_up(&r, 0);
	rig_io(&r, &limbo, 0, BDEV_WRITE, 0, 1);
	rig_cut(&r, rig_qpair(&r, 0, 0), true);
	rig_io(&r, &waits, 1, BDEV_WRITE, 1, 1);
	rig_down(&r, 0);
	rig_as(&r, RIG_CORES, unregister_here, &r);
	rig_settle(&r);
	assert_int_equal(r.removed, 1);
	assert_true(limbo.done && limbo.io.status == BDEV_ST_GONE);
	assert_true(waits.done);
	rig_stop(&r);
}

static void an_abort_ends_what_waits_and_marks_what_is_out(void **state)
{
	struct rig r;
	struct rig_io line, later, out, limbo;

	rig_start(&r);
	rig_io(&r, &line, 0, BDEV_WRITE, 0, 1);
	assert_true(rig_abort(&r, &line));
	assert_true(line.done && line.io.status == BDEV_ST_ABORTED);
	rig_up(&r, 0);
	rig_io(&r, &later, 0, BDEV_READ, 0, 1);
	rig_answer(&r, rig_qpair(&r, 0, 0), NVME_SC_NS_NOT_READY);
	assert_true(rig_abort(&r, &later));
	assert_true(later.done && later.io.status == BDEV_ST_ABORTED);

	rig_io(&r, &out, 0, BDEV_READ, 0, 1);
	assert_true(rig_abort(&r, &out));
	assert_int_equal(r.aborts, 1);
	assert_false(out.done);
	rig_answer(&r, rig_qpair(&r, 0, 0), NVME_SC_ABORT_REQ);
	assert_true(out.done && out.io.status == BDEV_ST_ABORTED);

	rig_io(&r, &limbo, 0, BDEV_WRITE, 0, 1);
	rig_cut(&r, rig_qpair(&r, 0, 0), true);
	rig_abort(&r, &limbo);
	assert_false(limbo.done); /* it may still land */
	rig_down(&r, 0);
	rig_replay(&r, 0, 1);
	assert_true(limbo.done && limbo.io.status == BDEV_ST_ABORTED);
	rig_abort_done(&r, 0);
	rig_stop(&r);
}

static void revoke_here(void *arg)
{
	atomic_fetch_add(&((struct bdev_lease *)arg)->epoch, 1);
}

static void a_revoked_write_does_not_go_out_again(void **state)
{
	static struct bdev_lease lease;
	struct rig r;
	struct rig_io io = { 0 };

	rig_start(&r);
	bdev_lease_init(&lease);
	io.iov[0] = (struct iovec){ io.buf, RIG_BLOCK };
	io.io = (struct bdev_io){ .op = BDEV_WRITE, .count = 1, .iovs = io.iov, .iov_count = 1, .lease = &lease,
		                  .lease_epoch = bdev_lease_epoch(&lease) };
	rig_io_go(&r, &io, 0);
	rig_as(&r, RIG_CORES, revoke_here, &lease);
	rig_up(&r, 0);
	assert_true(io.done && io.io.status == BDEV_ST_FENCED && !rig_held(&r, 0));
	rig_stop(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_and_writes_carry_their_iovecs),
		cmocka_unit_test(every_operation_has_its_command),
		cmocka_unit_test(unmap_of_many_ranges_takes_several_commands),
		cmocka_unit_test(a_long_zeroing_is_not_cut_by_the_size_of_data),
		cmocka_unit_test(zeroes_and_copies_keep_to_the_limits),
		cmocka_unit_test(compare_and_write_is_a_fused_pair),
		cmocka_unit_test(passthrough_is_about_this_namespace),
		cmocka_unit_test(each_status_ends_or_is_tried_again),
		cmocka_unit_test(retries_are_counted),
		cmocka_unit_test(the_controllers_retry_delay_is_waited_for),
		cmocka_unit_test(what_was_not_sent_moves_at_once),
		cmocka_unit_test(a_read_moves_at_once),
		cmocka_unit_test(a_write_that_was_sent_waits_until_it_cannot_land),
		cmocka_unit_test(limbo_of_an_older_life_only_is_released),
		cmocka_unit_test(immediate_replay_is_what_was_asked_for),
		cmocka_unit_test(down_moves_everything),
		cmocka_unit_test(queues_that_do_not_come_are_trouble),
		cmocka_unit_test(without_hope_nothing_waits),
		cmocka_unit_test(a_long_line_goes_in_its_order),
		cmocka_unit_test(a_path_that_never_stays_is_not_waited_for_without_end),
		cmocka_unit_test(a_disk_that_goes_ends_what_waits),
		cmocka_unit_test(an_abort_ends_what_waits_and_marks_what_is_out),
		cmocka_unit_test(a_revoked_write_does_not_go_out_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
