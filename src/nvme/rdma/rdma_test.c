/* SPDX-License-Identifier: BSD-3-Clause */
/* rdma_test.c: the host over simulated adapters, against a target that does as the test says. Whatever that is, every
 * command comes back exactly once, and its memory is not touched afterwards.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "core/log.h"
#include "core/watch.h"
#include "nvme/host.h"
#include "nvme/rdma/test_rig.h"

#define SEEDS 8u

/* --- data ------------------------------------------------------------------------------------------------------- */

static void write_and_read(struct rig *r, uint32_t bytes, bool heap)
{
	r->op_bytes = bytes;
	r->op_heap = heap;
	rig_on_host(r, rig_write);
	assert_true(sim_run(rig_all_ended, r, NS_PER_S));
	rig_on_host(r, rig_read);
	assert_true(sim_run(rig_all_ended, r, NS_PER_S));
	assert_int_equal(r->ops[r->submitted - 2]->status | r->ops[r->submitted - 1]->status, 0);
	assert_int_equal(r->wrong_bytes, 0);
}

/* Nothing works without: Connect, Identify, a write, and the same bytes read; wherever they lie. */
static void what_was_written_is_read(void **state)
{
	static const uint32_t sizes[] = { 512, 4096, 4608, 65536, 66048, 131072, 135168, 1 << 20, 2 << 20 };

	(void)state;
	for (uint64_t seed = 1; seed <= SEEDS; seed++) {
		struct rig r = { .id.msdbd = seed % 2 ? 1 : 16 };

		rig_begin_io(&r, seed);
		assert_int_equal(r.err.code, 0);
		assert_int_equal(r.qp_err.code, 0);
		for (uint32_t i = 0; i < ARRAY_SIZE(sizes); i++) {
			r.op_skip = i % 3 && sizes[i] < 2 << 20 ? 512 * (uint32_t)seed * i : 0;
			write_and_read(&r, sizes[i], false);
			write_and_read(&r, sizes[i], true);
		}
		rig_end(&r);
	}
}

/* A copy of what need not be copied costs a core half its speed; and one descriptor too many ends a connection. */
static void data_is_told_of_where_it_lies(void **state)
{
	struct rig one = { .op_bytes = 4096 }, many = { .id.msdbd = 4 };

	(void)state;
	rig_begin_io(&one, 1);
	one.in_capsule = one.keyed = 0;
	rig_on_host(&one, rig_write);
	assert_true(sim_run(rig_all_ended, &one, NS_PER_S));
	assert_int_equal(one.in_capsule, 1);
	one.op_bytes = 66048; /* two buffers that are not neighbours */
	rig_on_host(&one, rig_write);
	assert_true(sim_run(rig_all_ended, &one, NS_PER_S));
	assert_int_equal(one.keyed, 1);
	assert_int_equal(one.lists, 0);
	rig_end(&one);

	rig_begin_io(&many, 1);
	write_and_read(&many, 66048, false);
	assert_int_equal(many.lists, 2);
	rig_end(&many);
}

/* A target that cannot take data with a command, or a list of descriptors, would refuse every such I/O. */
static void data_goes_along_only_where_it_may(void **state)
{
	struct rig r = { .id.sgls = le32_of(NVME_SGLS_SUPPORTED | NVME_SGLS_KEYED), .id.msdbd = 4 };

	(void)state;
	rig_begin_io(&r, 1);
	r.in_capsule = 0;
	write_and_read(&r, 4096, false);
	write_and_read(&r, 4096, true);
	write_and_read(&r, 66048, false);
	assert_int_equal(r.in_capsule, 0);
	assert_int_equal(r.lists, 0);
	rig_end(&r);
}

static void a_target_without_keyed_descriptors_is_refused(void **state)
{
	struct rig r = { .id.sgls = le32_of(NVME_SGLS_SUPPORTED) };

	(void)state;
	rig_begin(&r, 1);
	assert_int_equal(r.reason, NVME_REASON_BAD_ANSWER);
	assert_non_null(strstr(r.err.text, "SGLS"));
	rig_end(&r);
}

/* --- how a target lets us in, or not ---------------------------------------------------------------------------- */

/* Who looks at a path that does not come up has only this sentence. */
static void every_reject_is_told(void **state)
{
#define REJECT_ROW(value, name, text) { value, text, NVME_REASON_LOGIN_REFUSED },
	static const struct { uint16_t sts; const char *text; enum nvme_reason reason; } rows[] = {
		NVME_RDMA_CM_STATUSES(REJECT_ROW)
		{ 0, "nobody listens", NVME_REASON_REFUSED }, { 77, "unknown status 77", NVME_REASON_LOGIN_REFUSED },
	};

	(void)state;
	for (uint32_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct rig r = { .accept = RIG_REJECT, .reject_sts = rows[i].sts };

		rig_begin(&r, i + 1);
		assert_int_equal(r.reason, rows[i].reason);
		assert_non_null(strstr(r.err.text, rows[i].text));
		rig_end(&r);
	}
}

static void a_queue_that_is_rejected_says_so(void **state)
{
	struct rig r = { .accept_io = RIG_REJECT, .reject_sts = NVME_RDMA_CM_NO_RSC };

	(void)state;
	rig_begin_io(&r, 1);
	assert_int_equal(r.qp_reason, NVME_REASON_LOGIN_REFUSED);
	assert_non_null(strstr(r.qp_err.text, "queue 1"));
	assert_non_null(strstr(r.qp_err.text, "no resources"));
	rig_end(&r);
}

static void odd_acceptances_end_the_attempt(void **state)
{
	static const struct { enum rig_accept how; uint16_t crqsize; enum nvme_reason reason; } rows[] = {
		{ RIG_IGNORE, 0, NVME_REASON_CONNECT_TIMEOUT },
		{ RIG_ACCEPT_FORMAT, 0, NVME_REASON_PROTOCOL },
		{ RIG_ACCEPT_AND_CLOSE, 0, NVME_REASON_CLOSED },
		{ RIG_ACCEPT, 1, NVME_REASON_PROTOCOL }, /* not even room for what is reserved */
	};

	(void)state;
	for (uint32_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct rig r = { .accept = rows[i].how, .crqsize = rows[i].crqsize };

		rig_begin(&r, i + 1);
		assert_int_equal(r.reason, rows[i].reason);
		rig_end(&r);
	}
}

static void nobody_there_is_told_in_words(void **state)
{
	struct rig port = { .trsvcid = "4499" }, way = { .traddr = "10.9.9.9" };

	(void)state;
	rig_begin(&port, 1);
	assert_int_equal(port.reason, NVME_REASON_REFUSED);
	rig_end(&port);
	rig_begin(&way, 1);
	assert_true(way.reason == NVME_REASON_UNREACHABLE || way.reason == NVME_REASON_CONNECT_TIMEOUT);
	rig_end(&way);
}

/* More than a target has receives for would end the connection. */
static void no_more_is_out_than_the_target_receives(void **state)
{
	struct rig r = { .crqsize = 12 };

	(void)state;
	rig_begin_io(&r, 1);
	assert_int_equal(r.qp_err.code, 0);
	for (uint32_t i = 0; i < 40; i++)
		rig_on_host(&r, rig_read);
	assert_int_equal(nvme_qpair_outstanding(r.qp), 11);
	assert_int_equal(le16_get(r.qp->connect_op.cmd.connect.sqsize), 11); /* of 12 entries: else it would be refused */
	assert_true(sim_run(rig_all_ended, &r, NS_PER_S));
	rig_end(&r);
}

/* --- bad targets ------------------------------------------------------------------------------------------------ */

enum manner { NOBODY, SHORT, EMPTY, LONG, TWICE, INVALIDATES, CLOSES, SILENT, LATER };
static enum manner manner_now;

static bool misbehave(struct rig_peer *p, uint32_t index, const struct nvme_sqe *cmd)
{
	if (!p->connected || !p->qid || cmd->opc == NVME_ADMIN_FABRICS)
		return false;
	switch (manner_now) {
	case NOBODY:
		rig_answer_cid(p, index, 0x7777);
		break;
	case SHORT:
		rig_say(p, index, 15);
		break;
	case EMPTY:
		rig_say(p, index, 0);
		break;
	case LONG:
		rig_say(p, index, 17);
		break;
	case TWICE:
		rig_answer_cid(p, index, le16_get(cmd->cid));
		rig_say(p, index, sizeof(struct nvme_cqe));
		break;
	case INVALIDATES:
		rig_invalidate(p, index);
		break;
	case CLOSES:
		verbs_disconnect(p->conn);
		break;
	case SILENT:
		break;
	case LATER:
		rig_behave_later(p, index);
		break;
	}
	return true;
}

/* Nothing that a target says may touch anything but commands that are out. */
static void bad_answers_end_the_connection(void **state)
{
	static const struct { enum manner manner; enum nvme_reason reason; } rows[] = {
		{ NOBODY, NVME_REASON_PROTOCOL }, { SHORT, NVME_REASON_PROTOCOL }, { EMPTY, NVME_REASON_PROTOCOL },
		{ LONG, NVME_REASON_PROTOCOL }, { TWICE, NVME_REASON_PROTOCOL }, { INVALIDATES, NVME_REASON_PROTOCOL },
		{ CLOSES, NVME_REASON_CLOSED },
	};

	(void)state;
	for (uint32_t i = 0; i < ARRAY_SIZE(rows) * SEEDS; i++) {
		struct rig r = { .hook = misbehave, .op_heap = i & 1 };

		manner_now = rows[i % ARRAY_SIZE(rows)].manner;
		rig_begin_io(&r, i + 1);
		for (uint32_t n = 0; n < 8; n++)
			rig_on_host(&r, n & 1 ? rig_read : rig_write);
		assert_true(sim_run(rig_is_gone, &r, 10 * NS_PER_S));
		assert_int_equal(r.gone, 1);
		assert_int_equal(r.qp_reason, rows[i % ARRAY_SIZE(rows)].reason);
		assert_true(rig_all_ended(&r));
		rig_end(&r);
	}
}

static void commands_that_are_late_end_it(void **state)
{
	struct rig r = { .hook = misbehave, .opts.io_timeout_ms = 50 };

	(void)state;
	manner_now = SILENT;
	rig_begin_io(&r, 1);
	rig_on_host(&r, rig_read);
	assert_true(sim_run(rig_is_gone, &r, NS_PER_S));
	assert_int_equal(r.qp_reason, NVME_REASON_IO_TIMEOUT);
	assert_true(r.ops[0]->sent);
	rig_end(&r);
}

static char note[192];

static void take_note(const struct watch_note *n, void *arg)
{
	(void)arg;
	snprintf(note, sizeof(note), "%s", n->text);
}

static void read_notes(void *arg)
{
	(void)arg;
	watch_visit_notes(take_note, NULL);
}

/* An adapter that has not told yet that the command is out may read it again, to send it again. */
static void an_answer_waits_for_its_send(void **state)
{
	struct rig r = { 0 };

	(void)state;
	rig_begin_io(&r, 1);
	sim_adapter_lose_completion(r.host_adapter, VERBS_SEND, 1);
	rig_on_host(&r, rig_read);
	sim_run(NULL, NULL, 45 * NS_PER_S); /* the watchdog's limit is 30 s */
	assert_int_equal(r.ended, 0);
	rig_on_host(&r, read_notes);
	assert_non_null(strstr(note, "queue 1"));
	assert_non_null(strstr(note, "its SEND is not complete"));
	rig_on_host(&r, rig_write); /* which is told, and with it the first */
	sim_run(NULL, NULL, 50 * NS_PER_MS);
	assert_int_equal(r.ended, 2);
	assert_int_equal(r.ops[0]->status | r.ops[1]->status, 0);
	rig_end(&r);
}

/* --- ends ------------------------------------------------------------------------------------------------------- */

static void fail_it(void *arg)
{
	struct rig *r = arg;
	struct err e = { 0 };

	err_set(&e, -ECANCELED, "asked");
	if (r->qp)
		nvme_qpair_fail(r->qp, NVME_REASON_ASKED, &e);
}

static void cut(struct rig *r, uint32_t how)
{
	switch (how) {
	case 0:
		if (sim_adapter_conns(r->host_adapter))
			sim_adapter_cut(r->host_adapter, sim_adapter_conns(r->host_adapter) - 1, false);
		break;
	case 1:
		sim_adapter_remove(r->host_adapter);
		break;
	case 2:
		sim_adapter_remove(r->target_adapter);
		break;
	case 3:
		rig_on_host(r, fail_it);
		break;
	case 4:
		rig_on_host(r, rig_qp_close);
		break;
	case 5:
		sim_adapter_fail_posts(r->host_adapter, 2, 0);
		rig_on_host(r, fail_it);
		break;
	default:
		sim_adapter_link(r->target_adapter, true, true, 0);
		break;
	}
}

/* A WRITE of the target's that lands in memory that has another owner by then is the worst that can happen. The target
 * answers as it likes, before and after the connection ended for us; memory that came back may not be touched. */
static void nothing_lands_in_memory_that_came_back(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < 7 * 5 * SEEDS; i++) {
		struct rig r = { .hook = misbehave, .id.msdbd = i % 3 ? 1 : 16, .op_heap = i % 5 == 4,
			         .opts.io_timeout_ms = 5000 }; /* of a black hole nothing else tells */
		bool (*const untils[])(void *) = { rig_is_gone, rig_is_gone, rig_is_gone, rig_is_gone, rig_is_qp_closed,
			                           rig_is_gone, rig_all_ended };

		manner_now = LATER;
		rig_begin_io(&r, i + 1);
		assert_int_equal(r.qp_err.code, 0);
		r.op_bytes = i % 4 ? 16384 : 135168;
		for (uint32_t n = 0; n < 24; n++)
			rig_on_host(&r, n % 3 ? rig_read : rig_write);
		sim_run(NULL, NULL, 3000 * (i % 40));
		r.ended_by_us = (i % 7 == 3 || i % 7 == 4) && i % 4; /* else copied: their buffers stay */
		cut(&r, i % 7);
		if (!sim_run(untils[i % 7], &r, 60 * NS_PER_S))
			fail_msg("%u: %u of %u came back", i, r.ended, r.submitted);
		assert_true(rig_all_ended(&r));
		assert_int_equal(r.too_early, 0);
		sim_run(NULL, NULL, 10 * NS_PER_MS);
		rig_end(&r);
	}
}

/* A queue pair or a controller that ends while it begins must take nothing along, and leave nothing. */
static void it_may_end_in_any_state(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < 7 * 40; i++) {
		struct rig r = { .opts.connect_timeout_ms = 100 };

		rig_begin(&r, i + 1);
		if (r.err.code)
			fail_msg("%s", r.err.text);
		rig_on_host(&r, rig_qp_open);
		sim_run(NULL, NULL, 1500 * (i / 7));
		cut(&r, i % 7);
		sim_run(NULL, NULL, 5 * NS_PER_S);
		rig_end(&r);
	}
}

static void a_controller_may_end_in_any_state(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < 100; i++) {
		struct rig r = { .opts.connect_timeout_ms = 100, .no_wait = true };

		rig_begin(&r, i + 1);
		sim_run(NULL, NULL, 2000 * (i / 2));
		if (i & 1)
			sim_adapter_remove(r.host_adapter);
		rig_end(&r);
	}
}

/* --- buffers ---------------------------------------------------------------------------------------------------- */

/* Data that has to be copied waits for buffers; nobody may be forgotten, nor pass, nor wait for ever. */
static void what_waits_for_buffers_goes_on(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < SEEDS; i++) {
		struct rig r = { .op_heap = true, .opts.io_queue_size = 60, .memory_bytes = i & 1 ? 0 : 20 * MIB };

		rig_begin_io(&r, i + 1);
		for (uint32_t n = 0; n < 100; n++) {
			r.op_bytes = n % 3 ? 131072 : 2 << 20;
			rig_on_host(&r, n & 1 ? rig_read : rig_write);
		}
		assert_true(sim_run(rig_all_ended, &r, 10 * NS_PER_S));
		for (uint32_t n = 0; n < 100; n++)
			assert_int_equal(r.ops[n]->status, 0);
		rig_end(&r);
	}
}

/* No memory for them would be an assertion, or a connection that moves nothing. */
static void a_budget_that_is_too_short_is_told(void **state)
{
	struct rig r = { .memory_bytes = 9 * MIB };

	(void)state;
	rig_begin(&r, 1);
	if (!r.err.code) {
		rig_on_host(&r, rig_qp_open);
		sim_run(rig_is_qp_ready, &r, NS_PER_S);
		r.err = r.qp_err;
	}
	assert_non_null(strstr(r.err.text, "--memory"));
	rig_end(&r);
}

static void submit_pair(void *arg)
{
	struct rig *r = arg;
	struct rig_op *compare = rig_op_make(r, NVME_CMD_COMPARE, r->op_bytes, 0);

	nvme_qpair_submit_fused(r->qp, &compare->op, &rig_op_make(r, NVME_CMD_WRITE, r->op_bytes, 0)->op);
}

static uint32_t pairs_seen;
static bool first_seen;

static bool look_at_pairs(struct rig_peer *p, uint32_t index, const struct nvme_sqe *cmd)
{
	(void)index;
	if (!p->qid || cmd->opc == NVME_ADMIN_FABRICS)
		return false;
	assert_true(!first_seen || cmd->opc == NVME_CMD_WRITE);
	pairs_seen += first_seen;
	first_seen = cmd->opc == NVME_CMD_COMPARE;
	return false;
}

/* Two that go together get their buffers together, and nothing comes between them. */
static void pairs_stay_together(void **state)
{
	struct rig r = { .op_heap = true, .opts.io_queue_size = 60, .hook = look_at_pairs };

	(void)state;
	pairs_seen = 0;
	first_seen = false;
	rig_begin_io(&r, 1);
	for (uint32_t n = 0; n < 20; n++) {
		r.op_bytes = n % 3 ? 131072 : 1 << 20;
		rig_on_host(&r, submit_pair);
		r.op_bytes = 262144;
		rig_on_host(&r, rig_read);
	}
	assert_true(sim_run(rig_all_ended, &r, 10 * NS_PER_S));
	assert_int_equal(pairs_seen, 20);
	rig_end(&r);
}

/* --- rest ------------------------------------------------------------------------------------------------------- */

/* What polls costs a core all the time. */
static void an_idle_queue_wakes_nobody(void **state)
{
	struct rig r = { 0 };
	struct reactor_stats before, after;

	(void)state;
	rig_begin_io(&r, 1);
	rig_on_host(&r, rig_write);
	assert_true(sim_run(rig_all_ended, &r, NS_PER_S));
	sim_run(NULL, NULL, 5 * NS_PER_S);
	reactor_get_stats(core_reactor(r.host_core, 0), &before);
	sim_run(NULL, NULL, 60 * NS_PER_S);
	reactor_get_stats(core_reactor(r.host_core, 0), &after);
	assert_in_range(after.passes - before.passes, 0, 2);
	rig_end(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_was_written_is_read),
		cmocka_unit_test(data_is_told_of_where_it_lies),
		cmocka_unit_test(data_goes_along_only_where_it_may),
		cmocka_unit_test(a_target_without_keyed_descriptors_is_refused),
		cmocka_unit_test(every_reject_is_told),
		cmocka_unit_test(a_queue_that_is_rejected_says_so),
		cmocka_unit_test(odd_acceptances_end_the_attempt),
		cmocka_unit_test(nobody_there_is_told_in_words),
		cmocka_unit_test(no_more_is_out_than_the_target_receives),
		cmocka_unit_test(bad_answers_end_the_connection),
		cmocka_unit_test(commands_that_are_late_end_it),
		cmocka_unit_test(an_answer_waits_for_its_send),
		cmocka_unit_test(nothing_lands_in_memory_that_came_back),
		cmocka_unit_test(it_may_end_in_any_state),
		cmocka_unit_test(a_controller_may_end_in_any_state),
		cmocka_unit_test(what_waits_for_buffers_goes_on),
		cmocka_unit_test(a_budget_that_is_too_short_is_told),
		cmocka_unit_test(pairs_stay_together),
		cmocka_unit_test(an_idle_queue_wakes_nobody),
	};

	log_set_level(LOG_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
