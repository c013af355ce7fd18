/* SPDX-License-Identifier: BSD-3-Clause */
/* remote_way_test.c: which way an I/O takes, by another core too, and what time-outs, aborts and faults do to it. */
#include "backends/remote/remote_rig_test.h"

/* --- choosing ----------------------------------------------------------------------------------------------- */

/* One read; over which path did it go? */
static uint32_t way_of(struct rig *r)
{
	uint32_t found = REMOTE_NO_PATH;
	struct rig_io io;

	rig_io(r, &io, 0, BDEV_READ, 0, 1);
	for (uint32_t i = 0; i < RIG_PATHS; i++) {
		if (!rig_held(r, i))
			continue;
		found = i;
		rig_answer(r, rig_qpair(r, i, 0), 0);
	}
	must(io.done);
	return found;
}

static void active_passive_prefers_and_goes_back(void **state)
{
	struct rig r;

	rig_start(&r);
	r.access[0] = REMOTE_ACCESS_NON_OPTIMIZED;
	rig_up(&r, 0);
	assert_int_equal(way_of(&r), 0);
	rig_up(&r, 2);
	assert_int_equal(way_of(&r), 2); /* optimized */
	rig_up(&r, 1);
	assert_int_equal(way_of(&r), 2); /* as good as that */
	rig_down(&r, 2);
	assert_int_equal(way_of(&r), 1);
	rig_up(&r, 2);
	assert_int_equal(way_of(&r), 1);
	r.preferred = 0;
	rig_publish(&r);
	assert_int_equal(way_of(&r), 0);
	rig_down(&r, 0);
	assert_int_equal(way_of(&r), 1);
	rig_up(&r, 0);
	assert_int_equal(way_of(&r), 0);
	r.remote.opts.disable_auto_failback = true;
	rig_down(&r, 0);
	assert_int_equal(way_of(&r), 1);
	rig_up(&r, 0);
	assert_int_equal(way_of(&r), 1);
	r.access[1] = REMOTE_ACCESS_NONE;
	rig_publish(&r);
	assert_int_equal(way_of(&r), 0);
	rig_stop(&r);
}

static void round_robin_takes_turns(void **state)
{
	struct rig r;

	rig_start(&r);
	r.disk.policy = REMOTE_ACTIVE_ACTIVE;
	r.disk.rr_min_io = 2;
	r.access[1] = REMOTE_ACCESS_NON_OPTIMIZED;
	for (uint32_t i = 0; i < RIG_PATHS; i++)
		rig_up(&r, i);
	way_of(&r);
	for (uint32_t i = 0; i < 2; i++) {
		uint32_t a = way_of(&r), b = way_of(&r), c = way_of(&r);

		assert_true(a != 1 && b != 1 && c != 1);
		assert_true((a == b) != (b == c));
		way_of(&r);
	}
	rig_stop(&r);
}

static void queue_depth_takes_the_emptiest(void **state)
{
	struct rig r;
	struct rig_io a, b, c;

	rig_start(&r);
	r.disk.policy = REMOTE_ACTIVE_ACTIVE;
	r.disk.selector = REMOTE_QUEUE_DEPTH;
	for (uint32_t i = 0; i < RIG_PATHS; i++)
		rig_up(&r, i);
	rig_io(&r, &a, 0, BDEV_READ, 0, 1);
	rig_io(&r, &b, 0, BDEV_READ, 0, 1);
	rig_io(&r, &c, 0, BDEV_READ, 0, 1);
	for (uint32_t i = 0; i < RIG_PATHS; i++)
		assert_int_equal(rig_held(&r, i), 1);
	rig_answer(&r, rig_qpair(&r, 1, 0), 0);
	rig_io(&r, &b, 0, BDEV_READ, 0, 1);
	assert_int_equal(rig_held(&r, 1), 1);
	for (uint32_t i = 0; i < RIG_PATHS; i++)
		rig_answer(&r, rig_qpair(&r, i, 0), 0);
	rig_stop(&r);
}

/* Slow and fast, and now and then a look whether that has changed. */
static void latency_takes_the_fastest(void **state)
{
	uint32_t ways[RIG_PATHS] = { 0 };
	struct rig r;
	struct rig_io io;

	rig_start(&r);
	r.disk.policy = REMOTE_ACTIVE_ACTIVE;
	r.disk.selector = REMOTE_LATENCY;
	rig_up(&r, 0);
	rig_up(&r, 1);
	for (uint32_t i = 0; i < 256; i++) {
		uint32_t path;

		rig_io(&r, &io, 0, BDEV_READ, 0, 1);
		path = rig_held(&r, 0) ? 0 : 1;
		ways[path]++;
		rig_time(&r, path ? 200 * NS_PER_US : 10 * NS_PER_MS);
		rig_answer(&r, rig_qpair(&r, path, 0), 0);
	}
	assert_true(ways[1] > 200 && ways[0] >= 3);
	rig_stop(&r);
}

static void a_path_that_refuses_is_left_for_another(void **state)
{
	struct rig r;
	struct rig_io io;

	rig_start(&r);
	rig_up(&r, 0);
	rig_up(&r, 1);
	rig_io(&r, &io, 0, BDEV_WRITE, 0, 1);
	rig_answer(&r, rig_qpair(&r, 0, 0), NVME_SC_ANA_INACCESSIBLE);
	assert_int_equal(r.anas, 1);
	rig_answer(&r, rig_qpair(&r, 1, 0), NVME_SC_ANA_TRANSITION);
	assert_false(io.done);
	assert_int_equal(rig_held(&r, 0) + rig_held(&r, 1), 0); /* neither is asked again at once */
	rig_time(&r, 200 * NS_PER_MS);
	assert_int_equal(rig_held(&r, 0) + rig_held(&r, 1), 1);
	rig_answer(&r, rig_qpair(&r, rig_held(&r, 0) ? 0 : 1, 0), 0);
	assert_true(rig_is_ok(&io));
	rig_stop(&r);
}

/* --- fewer queues than cores -------------------------------------------------------------------------------- */

static void a_core_without_queue_goes_by_another(void **state)
{
	struct rig r;
	struct rig_io io, read;

	rig_start(&r);
	r.io_queues = 1;
	rig_up(&r, 0);
	assert_null(rig_qpair(&r, 0, 1));
	rig_io(&r, &io, 1, BDEV_WRITE, 3, 1);
	assert_int_equal(rig_held(&r, 0), 1);
	rig_answer(&r, rig_qpair(&r, 0, 0), 0);
	assert_true(rig_is_ok(&io));
	assert_int_equal(remote_count_get(&r.paths[0].lanes[1].counts[REMOTE_LANE_FORWARDED]), 1);
	rig_io(&r, &io, 1, BDEV_COMPARE_AND_WRITE, 3, 1);
	rig_answer(&r, rig_qpair(&r, 0, 0), 0);
	rig_answer(&r, rig_qpair(&r, 0, 0), 0);
	assert_true(rig_is_ok(&io));

	rig_io(&r, &io, 1, BDEV_WRITE, 3, 1);
	rig_io(&r, &read, 1, BDEV_READ, 3, 1);
	rig_cut(&r, rig_qpair(&r, 0, 0), true);
	assert_int_equal(r.troubles[0], 1);
	rig_down(&r, 0);
	assert_int_equal(r.downs, 1);
	rig_up(&r, 0);
	assert_int_equal(rig_held(&r, 0), 1);
	rig_answer(&r, rig_qpair(&r, 0, 0), 0);
	assert_true(read.done && !io.done);
	rig_replay(&r, 0, 1);
	rig_answer(&r, rig_qpair(&r, 0, 0), 0);
	assert_true(rig_is_ok(&io));
	rig_stop(&r);
}

/* The cores hear of a new life one after the other, and of its end. */
static void forwarding_begins_and_ends_in_any_order(void **state)
{
	for (uint64_t seed = 1; seed <= 300; seed++) {
		struct rig r;
		struct rig_io io, more;

		rig_start_seed(&r, seed);
		r.io_queues = 1;
		rig_io(&r, &io, 1, BDEV_READ, 3, 1);
		for (uint32_t life = 0; life < 3; life++) {
			rig_up(&r, 0);
			assert_int_equal(rig_held(&r, 0), 1);
			rig_down(&r, 0);
			assert_int_equal(r.downs, life + 1);
			assert_false(io.done);
		}
		rig_up(&r, 0);
		rig_answer(&r, rig_qpair(&r, 0, 0), 0);
		assert_true(rig_is_ok(&io));
		rig_io(&r, &more, 1, BDEV_WRITE, 4, 1);
		rig_down(&r, 0);
		rig_replay(&r, 0, 4);
		rig_up(&r, 0);
		rig_answer(&r, rig_qpair(&r, 0, 0), 0);
		assert_true(rig_is_ok(&more));
		rig_stop(&r);
	}
}

static void down_waits_for_what_is_with_another_core(void **state)
{
	struct rig r;
	struct rig_io io;

	rig_start(&r);
	r.io_queues = 1;
	rig_up(&r, 0);
	rig_io(&r, &io, 1, BDEV_READ, 3, 1);
	rig_down(&r, 0);
	assert_int_equal(r.downs, 1);
	assert_false(io.done);
	rig_up(&r, 1);
	rig_answer(&r, rig_qpair(&r, 1, 0), 0);
	assert_true(io.done);
	rig_stop(&r);
}

/* A target that answers with a status of hosts, or a fault like that: nobody else would say that the way is gone. */
static void a_hosts_status_ends_the_way_by_another_core(void **state)
{
	struct remote_injection fault = { .opc = NVME_CMD_READ, .do_not_submit = true, .left = 1,
		                          .status = NVME_SC_HOST_PATH_ERROR };

	for (uint32_t injected = 0; injected < 2; injected++) {
		struct rig r;
		struct rig_io io;

		rig_start(&r);
		r.io_queues = 1;
		rig_up(&r, 0);
		if (injected)
			atomic_store(&r.paths[0].injections, &fault);
		rig_io(&r, &io, 1, BDEV_READ, 3, 1);
		if (injected) {
			rig_time(&r, NS_PER_MS);
			assert_int_equal(r.reason, NVME_REASON_PROTOCOL);
		} else {
			rig_answer(&r, rig_qpair(&r, 0, 0), NVME_SC_HOST_PATH_ERROR);
			assert_int_equal(rig_qpair(&r, 0, 0)->reason, NVME_REASON_PROTOCOL);
			rig_cut(&r, rig_qpair(&r, 0, 0), true); /* that is what failing a queue pair does */
		}
		assert_int_equal(r.troubles[0], 1);
		assert_false(io.done);
		rig_down(&r, 0);
		rig_up(&r, 0);
		rig_answer(&r, rig_qpair(&r, 0, 0), 0);
		assert_true(rig_is_ok(&io));
		rig_stop(&r);
	}
}

/* --- time-outs and faults ----------------------------------------------------------------------------------- */

static void late(struct nvme_qpair *qp, uint32_t nth)
{
	qp->timeout(qp, qp->held[nth], qp->arg);
}

static void timeout_here(void *arg) { late(arg, 0); }
static void second_late(void *arg) { late(arg, 1); }
static void third_late(void *arg) { late(arg, 2); }
static void (*const nth_late[])(void *arg) = { timeout_here, second_late, third_late };

static void a_time_out_does_what_was_chosen(void **state)
{
	struct rig r;
	struct rig_io io;

	rig_start(&r);
	rig_up(&r, 0);
	rig_io(&r, &io, 0, BDEV_READ, 0, 1);
	rig_as(&r, 0, timeout_here, rig_qpair(&r, 0, 0));
	rig_settle(&r);
	assert_int_equal(r.troubles[0] + r.aborts, 0);
	r.remote.opts.action_on_timeout = REMOTE_TIMEOUT_ABORT;
	rig_as(&r, 0, timeout_here, rig_qpair(&r, 0, 0));
	rig_settle(&r);
	assert_int_equal(r.aborts, 1);
	rig_abort_done(&r, 0);
	rig_answer(&r, rig_qpair(&r, 0, 0), NVME_SC_ABORT_REQ);
	assert_true(io.done && io.io.status == BDEV_ST_TIMED_OUT);
	r.remote.opts.action_on_timeout = REMOTE_TIMEOUT_RESET;
	rig_io(&r, &io, 0, BDEV_READ, 0, 1);
	rig_as(&r, 0, timeout_here, rig_qpair(&r, 0, 0));
	rig_settle(&r);
	assert_int_equal(r.troubles[0], 1);
	assert_int_equal(r.reason, NVME_REASON_IO_TIMEOUT);
	assert_int_equal(remote_count_get(&r.paths[0].lanes[0].counts[REMOTE_LANE_TIMED_OUT]), 3);
	rig_answer(&r, rig_qpair(&r, 0, 0), 0);
	assert_true(io.done);
	rig_stop(&r);
}

/* A person's command shares the queue pair and is no I/O of ours: its memory ends with its own fields. */
static void a_command_of_a_persons_is_not_taken_for_an_io(void **state)
{
	struct nvme_op *op = base_zalloc(sizeof(*op));
	struct nvme_qpair *qp;
	struct rig r;

	rig_start(&r);
	r.remote.opts.action_on_timeout = REMOTE_TIMEOUT_ABORT;
	rig_up(&r, 0);
	qp = rig_qpair(&r, 0, 0);
	qp->held[qp->count++] = op;
	rig_as(&r, 0, timeout_here, qp);
	rig_settle(&r);
	assert_int_equal(r.aborts, 0);
	assert_int_equal(r.troubles[0], 1);
	qp->count = 0;
	free(op);
	rig_stop(&r);
}

/* Each is aborted, one after the other; only an Abort that fails although its command is still out resets the path. */
static void late_commands_are_aborted_one_by_one(void **state)
{
	struct nvme_qpair *qp;
	struct rig_io io[3];
	struct rig r;

	rig_start(&r);
	r.remote.opts.action_on_timeout = REMOTE_TIMEOUT_ABORT;
	rig_up(&r, 0);
	qp = rig_qpair(&r, 0, 0);
	for (uint32_t i = 0; i < 3; i++)
		rig_io(&r, &io[i], 0, BDEV_READ, i, 1);
	for (uint32_t i = 0; i < 3; i++)
		rig_as(&r, 0, nth_late[i], qp);
	rig_settle(&r);
	assert_int_equal(r.aborts, 1);
	assert_int_equal(r.abort_cid, 0);
	rig_answer(&r, qp, 0);          /* it came through after all */
	assert_true(rig_is_ok(&io[0]));
	rig_abort_done(&r, 1);
	assert_int_equal(r.troubles[0], 0);
	assert_int_equal(r.aborts, 2);
	assert_int_equal(r.abort_cid, 1);
	rig_abort_done(&r, 0);
	rig_answer(&r, qp, NVME_SC_ABORT_REQ);
	assert_true(io[1].done && io[1].io.status == BDEV_ST_TIMED_OUT);
	assert_int_equal(r.aborts, 3);
	rig_abort_done(&r, 1);
	assert_int_equal(r.troubles[0], 1);
	rig_cut(&r, qp, true);
	rig_down(&r, 0);
	rig_up(&r, 0);
	rig_answer(&r, rig_qpair(&r, 0, 0), 0);
	assert_true(rig_is_ok(&io[2]));
	rig_stop(&r);
}

/* The target says that it has aborted it, and then nothing: the I/O does not wait for that without end. */
static void what_was_aborted_is_answered_or_the_path_ends(void **state)
{
	struct rig r;
	struct rig_io io;

	rig_start(&r);
	r.remote.opts.action_on_timeout = REMOTE_TIMEOUT_ABORT;
	r.remote.opts.timeout_us = 2000000;
	rig_up(&r, 0);
	rig_io(&r, &io, 0, BDEV_READ, 0, 1);
	rig_time(&r, 2 * NS_PER_S);
	rig_as(&r, 0, timeout_here, rig_qpair(&r, 0, 0));
	rig_settle(&r);
	rig_abort_done(&r, 0);
	rig_time(&r, NS_PER_S);
	assert_int_equal(r.troubles[0], 0);
	rig_time(&r, 4 * NS_PER_S);
	assert_int_equal(r.troubles[0], 1);
	assert_int_equal(r.reason, NVME_REASON_IO_TIMEOUT);
	rig_cut(&r, rig_qpair(&r, 0, 0), true);
	rig_down(&r, 0);
	rig_up(&r, 0);
	rig_answer(&r, rig_qpair(&r, 0, 0), 0);
	assert_true(rig_is_ok(&io));
	rig_stop(&r);
}

/* Somebody else's Abort came too late and hit this one: it is sent again. */
static void a_stray_abort_does_no_harm(void **state)
{
	struct rig r;
	struct rig_io io;

	rig_start(&r);
	rig_up(&r, 0);
	rig_io(&r, &io, 0, BDEV_WRITE, 0, 1);
	rig_answer(&r, rig_qpair(&r, 0, 0), NVME_SC_ABORT_REQ);
	rig_answer(&r, rig_qpair(&r, 0, 0), 0);
	assert_true(rig_is_ok(&io));
	rig_stop(&r);
}

static void faults_are_injected(void **state)
{
	struct remote_injection kept = { .opc = NVME_CMD_READ, .do_not_submit = true, .timeout_us = 1000, .left = 1,
		                         .status = NVME_SC_READ_ERROR | NVME_SC_DNR };
	struct remote_injection sent = { .next = &kept, .opc = NVME_CMD_WRITE, .left = 1,
		                         .status = NVME_SC_WRITE_FAULT | NVME_SC_DNR };
	struct rig r;
	struct rig_io io;

	rig_start(&r);
	rig_up(&r, 0);
	atomic_store(&r.paths[0].injections, &sent);
	rig_io(&r, &io, 0, BDEV_READ, 0, 1);
	assert_int_equal(rig_held(&r, 0), 0);
	rig_time(&r, 2 * NS_PER_MS);
	assert_true(io.done && io.io.status == BDEV_ST_MEDIA_ERROR);
	rig_io(&r, &io, 0, BDEV_WRITE, 0, 1);
	rig_answer(&r, rig_qpair(&r, 0, 0), 0);
	assert_true(io.done && io.io.status == BDEV_ST_MEDIA_ERROR);
	rig_io(&r, &io, 0, BDEV_WRITE, 0, 1);
	rig_answer(&r, rig_qpair(&r, 0, 0), 0);
	assert_true(rig_is_ok(&io));
	rig_stop(&r);
}

/* The write may still land: whatever was to be said in place of an answer, it waits until that is excluded. */
static void an_injected_error_does_not_hide_a_lost_connection(void **state)
{
	struct remote_injection sent = { .opc = NVME_CMD_WRITE, .left = 1, .status = NVME_SC_ANA_INTERNAL_PATH_ERROR };
	struct rig r;
	struct rig_io io;

	rig_start(&r);
	rig_up(&r, 0);
	rig_up(&r, 1);
	atomic_store(&r.paths[0].injections, &sent);
	atomic_store(&r.paths[1].injections, &sent);
	rig_io(&r, &io, 0, BDEV_WRITE, 0, 1);
	rig_cut(&r, rig_qpair(&r, 0, 0), true);
	assert_int_equal(rig_held(&r, 1), 0);
	rig_down(&r, 0);
	rig_replay(&r, 0, 1);
	assert_int_equal(rig_held(&r, 1), 1);
	rig_answer(&r, rig_qpair(&r, 1, 0), 0);
	assert_true(rig_is_ok(&io));
	rig_stop(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(active_passive_prefers_and_goes_back),
		cmocka_unit_test(round_robin_takes_turns),
		cmocka_unit_test(queue_depth_takes_the_emptiest),
		cmocka_unit_test(latency_takes_the_fastest),
		cmocka_unit_test(a_path_that_refuses_is_left_for_another),
		cmocka_unit_test(a_core_without_queue_goes_by_another),
		cmocka_unit_test(forwarding_begins_and_ends_in_any_order),
		cmocka_unit_test(down_waits_for_what_is_with_another_core),
		cmocka_unit_test(a_hosts_status_ends_the_way_by_another_core),
		cmocka_unit_test(a_time_out_does_what_was_chosen),
		cmocka_unit_test(a_command_of_a_persons_is_not_taken_for_an_io),
		cmocka_unit_test(late_commands_are_aborted_one_by_one),
		cmocka_unit_test(what_was_aborted_is_answered_or_the_path_ends),
		cmocka_unit_test(a_stray_abort_does_no_harm),
		cmocka_unit_test(faults_are_injected),
		cmocka_unit_test(an_injected_error_does_not_hide_a_lost_connection),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
