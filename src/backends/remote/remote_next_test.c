/* SPDX-License-Identifier: BSD-3-Clause */
/* remote_next_test.c: queue pairs that are made early, kept warm, or refused. */
#include "backends/remote/remote_rig_test.h"

static uint64_t count_of(struct rig *r, uint32_t core, enum remote_lane_counter k)
{
	return remote_count_get(&r->paths[0].lanes[core].counts[k]);
}

static uint32_t qpairs_of(struct rig *r)
{
	uint32_t count = 0;

	for (struct nvme_qpair *qp = r->qpairs; qp; qp = qp->next)
		count++;
	return count;
}

/* Reads on a core, one after the other; each ends well, by the queue of `by`. */
static void reads_go_by(struct rig *r, uint32_t core, uint32_t by)
{
	for (uint32_t i = 0; i < 3; i++) {
		struct nvme_qpair *qp;
		struct rig_io io;

		rig_io(r, &io, core, BDEV_READ, i, 1);
		qp = rig_qpair(r, 0, by);
		assert_non_null(qp);
		assert_int_equal(qp->count, 1);
		rig_answer(r, qp, 0);
		assert_true(rig_is_ok(&io));
	}
}

/* --- early and warm ----------------------------------------------------------------------------------------- */

static void an_early_connection_is_the_lanes(void **state)
{
	struct nvme_qpair *early[RIG_CORES];
	struct rig r;

	rig_start(&r);
	rig_early(&r, 0);
	assert_int_equal(qpairs_of(&r), RIG_CORES); /* control has no channel */
	for (uint32_t i = 0; i < RIG_CORES; i++) {
		early[i] = rig_qpair(&r, 0, i);
		assert_true(early[i]->nameless);
	}
	rig_up(&r, 0);
	for (uint32_t i = 0; i < RIG_CORES; i++) {
		assert_ptr_equal(rig_qpair(&r, 0, i), early[i]);
		assert_int_equal(early[i]->qid, i + 1);
		reads_go_by(&r, i, i);
	}
	rig_stop(&r);
}

static void an_attempt_that_fails_takes_them_back(void **state)
{
	struct rig r;

	rig_start(&r);
	rig_early(&r, 0);
	rig_down(&r, 0);
	assert_int_equal(r.downs, 1);
	assert_int_equal(qpairs_of(&r), 0);
	rig_early(&r, 0);
	rig_cut(&r, rig_qpair(&r, 0, 0), false);
	assert_int_equal(r.troubles[0] + r.refused[0], 0);
	rig_up(&r, 0);
	reads_go_by(&r, 0, 0);
	rig_stop(&r);
}

/* It may have been dead for long: no word about the target. */
static void a_stale_connection_is_replaced(void **state)
{
	struct rig r;

	rig_start(&r);
	r.holds_opening = true;
	rig_early(&r, 0);
	rig_up(&r, 0);
	rig_cut(&r, rig_qpair(&r, 0, 0), false);
	assert_int_equal(r.troubles[0] + r.refused[0], 0);
	r.holds_opening = false;
	rig_settle(&r);
	reads_go_by(&r, 0, 0);
	rig_stop(&r);
}

static void fewer_queues_than_early_connections(void **state)
{
	struct rig r;

	rig_start(&r);
	rig_early(&r, 0);
	r.io_queues = 1;
	rig_up(&r, 0);
	assert_int_equal(qpairs_of(&r), 1);
	reads_go_by(&r, 1, 0);
	rig_stop(&r);
}

static void a_core_without_channel_keeps_a_warm_one(void **state)
{
	struct nvme_qpair *warm;
	struct rig r;

	rig_start(&r);
	r.remote.opts.warm_connections = true;
	rig_up(&r, 0);
	warm = rig_qpair(&r, 0, RIG_CORES); /* control's */
	assert_true(warm && warm->nameless);
	rig_cut(&r, warm, false);
	assert_null(rig_qpair(&r, 0, RIG_CORES));
	rig_time(&r, 2 * NS_PER_S);
	warm = rig_qpair(&r, 0, RIG_CORES);
	assert_true(warm && warm->nameless);
	reads_go_by(&r, 0, 0);
	rig_stop(&r);
}

/* --- refused ------------------------------------------------------------------------------------------------ */

static void a_refused_lane_goes_by_another(void **state)
{
	struct rig_io waits;
	struct rig r;

	rig_start(&r);
	rig_io(&r, &waits, 1, BDEV_WRITE, 9, 1);
	r.holds_opening = true;
	rig_up(&r, 0);
	rig_ready(&r, rig_qpair(&r, 0, 0));
	rig_refuse(&r, rig_qpair(&r, 0, 1));
	assert_int_equal(r.troubles[0], 0);
	assert_int_equal(r.refused[0], 1);
	assert_int_equal(r.reason, NVME_REASON_LOGIN_REFUSED);
	rig_answer(&r, rig_qpair(&r, 0, 0), 0);
	assert_true(rig_is_ok(&waits));
	reads_go_by(&r, 1, 0);
	assert_int_equal(count_of(&r, 1, REMOTE_LANE_FORWARDED), 4);

	/* Refused once more, then not: what is with the other core comes home from there. */
	rig_time(&r, 2 * NS_PER_S);
	rig_refuse(&r, rig_qpair(&r, 0, 1));
	assert_int_equal(r.troubles[0], 0);
	assert_int_equal(r.refused[0], 1); /* said once */
	rig_io(&r, &waits, 1, BDEV_WRITE, 9, 1);
	rig_time(&r, 4 * NS_PER_S);
	rig_ready(&r, rig_qpair(&r, 0, 1));
	reads_go_by(&r, 1, 1);
	rig_answer(&r, rig_qpair(&r, 0, 0), 0);
	assert_true(rig_is_ok(&waits));
	rig_stop(&r);
}

/* Nobody else has a queue yet, and the target answers: the next core's is opened for it. */
static void another_is_opened_on_demand(void **state)
{
	struct rig_io io;
	struct rig r;

	rig_start(&r);
	r.holds_opening = true;
	rig_up(&r, 0);
	rig_ready(&r, rig_qpair(&r, 0, 1));
	rig_cut(&r, rig_qpair(&r, 0, 1), true);
	assert_int_equal(r.troubles[0], 1); /* it was ready: the path is in trouble */
	rig_down(&r, 0);
	rig_up(&r, 0);
	rig_refuse(&r, rig_qpair(&r, 0, 0));
	rig_io(&r, &io, 0, BDEV_READ, 0, 1);
	rig_refuse(&r, rig_qpair(&r, 0, 1));
	assert_int_equal(r.troubles[0], 1); /* control's core is left */
	assert_false(io.done);
	rig_ready(&r, rig_qpair(&r, 0, RIG_CORES));
	rig_answer(&r, rig_qpair(&r, 0, RIG_CORES), 0);
	assert_true(rig_is_ok(&io));
	reads_go_by(&r, 1, RIG_CORES);
	rig_stop(&r);
}

static void all_refused_is_trouble(void **state)
{
	struct rig_io io;
	struct rig r;

	rig_start(&r);
	r.io_queues = RIG_CORES;
	r.holds_opening = true;
	rig_up(&r, 0);
	rig_io(&r, &io, 0, BDEV_READ, 0, 1);
	rig_refuse(&r, rig_qpair(&r, 0, 0));
	assert_int_equal(r.troubles[0], 0);
	rig_refuse(&r, rig_qpair(&r, 0, 1));
	assert_int_equal(r.troubles[0], 1);
	r.holds_opening = false;
	rig_down(&r, 0);
	rig_up(&r, 0);
	rig_answer(&r, rig_qpair(&r, 0, 0), 0);
	assert_true(rig_is_ok(&io));
	rig_stop(&r);
}

/* It is not the others' to wait for a target that says nothing, one after the other. */
static void silence_is_not_tried_on_every_core(void **state)
{
	struct rig r;

	rig_start(&r);
	r.holds_opening = true;
	rig_up(&r, 0);
	rig_cut(&r, rig_qpair(&r, 0, 0), false);
	rig_cut(&r, rig_qpair(&r, 0, 1), false);
	assert_int_equal(r.troubles[0], 1);
	assert_null(rig_qpair(&r, 0, RIG_CORES));
	rig_stop(&r);
}

/* In every order of the cores' messages; I/O goes on, or waits for the next life. */
static void refused_in_any_order(void **state)
{
	for (uint64_t seed = 1; seed <= 300; seed++) {
		struct rig_io io[4];
		struct rig r;

		rig_start_seed(&r, seed);
		r.holds_opening = true;
		rig_early(&r, 0);
		rig_up(&r, 0);
		for (uint32_t i = 0; i < 4; i++)
			rig_io(&r, &io[i], i % 2, BDEV_READ, i, 1);
		for (uint32_t i = 0; i < 2; i++) {
			uint32_t core = (uint32_t)(seed + i) % 2;

			if (rig_qpair(&r, 0, core) && !rig_qpair(&r, 0, core)->is_ready)
				rig_refuse(&r, rig_qpair(&r, 0, core));
		}
		if (seed % 3 == 0)
			rig_time(&r, 3 * NS_PER_S);
		rig_down(&r, 0);
		assert_int_equal(r.downs, 1);
		r.holds_opening = false;
		rig_up(&r, 0);
		while (rig_qpair(&r, 0, 0)->count)
			rig_answer(&r, rig_qpair(&r, 0, 0), 0);
		while (rig_qpair(&r, 0, 1)->count)
			rig_answer(&r, rig_qpair(&r, 0, 1), 0);
		for (uint32_t i = 0; i < 4; i++)
			assert_true(rig_is_ok(&io[i]));
		rig_stop(&r);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_early_connection_is_the_lanes),
		cmocka_unit_test(an_attempt_that_fails_takes_them_back),
		cmocka_unit_test(a_stale_connection_is_replaced),
		cmocka_unit_test(fewer_queues_than_early_connections),
		cmocka_unit_test(a_core_without_channel_keeps_a_warm_one),
		cmocka_unit_test(a_refused_lane_goes_by_another),
		cmocka_unit_test(another_is_opened_on_demand),
		cmocka_unit_test(all_refused_is_trouble),
		cmocka_unit_test(silence_is_not_tried_on_every_core),
		cmocka_unit_test(refused_in_any_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
