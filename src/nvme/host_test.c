/* SPDX-License-Identifier: BSD-3-Clause */
/* host_test.c: the host against a scripted target that behaves well until the test's I/O command comes.
 *
 * Whatever a target does, every command comes back exactly once, and nothing of it is touched afterwards.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "nvme/test_rig.h"

/* What the target does with a command of the I/O queue. */
enum manner {
	GOOD, DEAF, SILENT, CLOSES, TERMINATES, TWO_R2TS, R2T_BEYOND, R2T_OF_READ, DATA_OF_NOBODY, DATA_BEYOND, SHORT_DATA,
	NO_DATA, DATA_AFTER_ANSWER, WRONG_DIGEST, ANSWERS_NOBODY, ANSWERS_TWICE, NO_QUEUE, REFUSES, NO_LISTENER, NO_WAY,
};
static enum manner manner_now;
static uint32_t more_seeds;

static bool misbehave(struct rig_peer *p, const struct nvme_sqe *cmd)
{
	static const uint8_t zeroes[RIG_OP_BYTES];
	uint16_t cid = le16_get(cmd->cid);
	uint32_t len = (le16_get(cmd->rw.nlb) + 1u) * RIG_BLOCK;
	uint8_t term[FABRIC_TERM_MAX];

	if (!p->qid || !p->connected || cmd->opc == NVME_ADMIN_FABRICS)
		return false;
	switch (manner_now) {
	case GOOD:
		return false;
	case CLOSES:
		rig_bye(p);
		break;
	case TERMINATES:
		rig_say(p, term, fabric_put_term(term, &p->rx, NVME_TCP_FES_SEQUENCE, 0));
		break;
	case TWO_R2TS:
		rig_ask(p, cid, 0, 4096, 2); /* each is one H2CData */
		break;
	case R2T_BEYOND:
		rig_ask(p, cid, len + 4096, 4096, 1);
		break;
	case R2T_OF_READ:
		rig_ask(p, cid, 0, len, 1);
		break;
	case DATA_OF_NOBODY:
		rig_give(p, 99, zeroes, 0, len, RIG_WHOLE, false);
		break;
	case DATA_BEYOND:
		rig_give(p, cid, zeroes, 0, len - RIG_BLOCK, 0, false);
		rig_give(p, cid, zeroes, len - RIG_BLOCK, 2 * RIG_BLOCK, RIG_WHOLE, false);
		break;
	case SHORT_DATA:
		rig_give(p, cid, zeroes, 0, len - RIG_BLOCK, RIG_WHOLE, false);
		break;
	case NO_DATA:
		rig_give(p, cid, zeroes, 0, 0, RIG_WHOLE, false);
		break;
	case DATA_AFTER_ANSWER:
		rig_give(p, cid, zeroes, 0, len, RIG_WHOLE, false);
		rig_give(p, cid, zeroes, 0, len, RIG_WHOLE, false);
		break;
	case WRONG_DIGEST:
		rig_give(p, cid, zeroes, 0, len, RIG_WHOLE, p->commands == 1);
		break;
	case ANSWERS_NOBODY:
		rig_answer(p, 99, 0, 0);
		break;
	case ANSWERS_TWICE:
		rig_answer(p, cid, 0, NVME_SC_LBA_RANGE);
		rig_answer(p, cid, 0, NVME_SC_LBA_RANGE);
		break;
	case REFUSES:
		rig_answer(p, cid, 0, NVME_SC_LBA_RANGE);
		break;
	default: /* silent */
		break;
	}
	return true;
}

static void begin(struct rig *w, enum manner manner)
{
	manner_now = manner;
	w->deaf = manner == DEAF;
	w->hook = misbehave;
	w->cap = manner == NO_QUEUE ? 1ull << 32 : 127;
	/* A seed in which what is sent at once arrives at once: TWO_R2TS is about that. */
	rig_begin(w, 21 + manner + 100 * more_seeds, manner == NO_LISTENER ? SIM_NET_REFUSE :
	                          manner == NO_WAY ? SIM_NET_BLACK_HOLE : SIM_NET_ACCEPT);
}

static void begin_io(struct rig *w, enum manner manner)
{
	begin(w, manner);
	must(w->ctrlr_ready && !w->err.code);
	rig_on_host(w, rig_qp_open);
	must(sim_run(rig_is_qp_ready, w, NS_PER_S) && !w->qp_err.code);
}

/* One command, whose queue pair ends with these words. Returns what the target was told. */
static uint16_t end_once(enum manner manner, void (*submit)(void *arg), const char *words)
{
	struct rig w = { 0 };

	begin_io(&w, manner);
	rig_on_host(&w, submit);
	assert_true(sim_run(rig_all_ended, &w, NS_PER_S));
	sim_run(NULL, NULL, 10 * NS_PER_MS);
	if (!more_seeds) {
		assert_int_equal(w.gone, 1);
		if (!strstr(w.qp_err.text, words))
			fail_msg("%s", w.qp_err.text);
		assert_int_equal(nvme_op_status(&w.ops[0]->op), NVME_SC_HOST_PATH_ERROR);
	}
	rig_end(&w);
	return w.term_fes;
}

/* And the target hears `fes`, unless the reset behind it overtakes that. */
static void ends_with(enum manner manner, void (*submit)(void *arg), const char *words, enum nvme_tcp_fes fes)
{
	uint16_t told = end_once(manner, submit, words);

	for (more_seeds = 1; more_seeds < 20 && !told && fes; more_seeds++)
		told = end_once(manner, submit, words);
	more_seeds = 0;
	assert_int_equal(told, fes);
}

/* --- tests --------------------------------------------------------------------------------------------------- */

static void a_good_target_is_served(void **state)
{
	struct rig w = { .opts = { .header_digest = true, .data_digest = true } };

	begin_io(&w, GOOD);
	assert_int_equal(nvme_ctrlr_info(w.ctrlr)->ns_count, 1);
	rig_on_host(&w, rig_write); /* longer than one H2CData may be */
	assert_true(sim_run(rig_all_ended, &w, NS_PER_S));
	assert_int_equal(w.written, RIG_OP_BYTES);
	assert_int_equal(w.wrong_bytes, 0);
	rig_on_host(&w, rig_read);
	assert_true(sim_run(rig_all_ended, &w, NS_PER_S));
	assert_int_equal(nvme_op_status(&w.ops[0]->op), 0);
	assert_int_equal(nvme_op_status(&w.ops[1]->op), 0);
	assert_int_equal(w.gone, 0);
	rig_end(&w);
}

static void a_second_r2t_ends_it(void **state)
{
	ends_with(TWO_R2TS, rig_write, "not answered yet", NVME_TCP_FES_LIMIT_EXCEEDED);
}

static void an_r2t_beyond_the_data_ends_it(void **state)
{
	ends_with(R2T_BEYOND, rig_write, "does not fit", NVME_TCP_FES_OUT_OF_RANGE);
}

static void an_r2t_for_a_read_ends_it(void **state)
{
	ends_with(R2T_OF_READ, rig_read, "none under way", NVME_TCP_FES_INVALID_HEADER);
}

static void data_of_no_command_ends_it(void **state)
{
	ends_with(DATA_OF_NOBODY, rig_read, "none under way", NVME_TCP_FES_INVALID_HEADER);
}

static void data_beyond_the_buffer_ends_it(void **state)
{
	ends_with(DATA_BEYOND, rig_read, "does not fit", NVME_TCP_FES_OUT_OF_RANGE);
}

static void short_data_ends_it(void **state)
{
	ends_with(SHORT_DATA, rig_read, "after 3584 of 4096", NVME_TCP_FES_NONE); /* known too late to quote a PDU */
}

static void success_without_data_ends_it(void **state)
{
	ends_with(NO_DATA, rig_read, "after 0 of 4096", NVME_TCP_FES_SEQUENCE);
}

static void an_answer_to_no_command_ends_it(void **state)
{
	ends_with(ANSWERS_NOBODY, rig_read, "not outstanding", NVME_TCP_FES_INVALID_HEADER);
}

static void a_term_req_ends_it(void **state)
{
	ends_with(TERMINATES, rig_read, "the target ended the connection", NVME_TCP_FES_NONE);
}

static void a_closing_target_ends_it(void **state)
{
	ends_with(CLOSES, rig_read, "closed", NVME_TCP_FES_NONE);
}

static void data_after_the_answer_ends_it(void **state)
{
	struct rig w = { 0 };

	begin_io(&w, DATA_AFTER_ANSWER);
	rig_on_host(&w, rig_read);
	sim_run(NULL, NULL, 10 * NS_PER_MS);
	assert_int_equal(nvme_op_status(&w.ops[0]->op), 0);
	assert_int_equal(w.gone, 1);
	rig_end(&w);
}

static void a_second_answer_ends_it(void **state)
{
	struct rig w = { 0 };

	begin_io(&w, ANSWERS_TWICE);
	rig_on_host(&w, rig_read);
	sim_run(NULL, NULL, 10 * NS_PER_MS);
	assert_int_equal(nvme_op_status(&w.ops[0]->op), NVME_SC_LBA_RANGE);
	assert_int_equal(w.gone, 1);
	rig_end(&w);
}

static void a_refused_command_fails_alone(void **state)
{
	struct rig w = { 0 };

	begin_io(&w, REFUSES);
	rig_on_host(&w, rig_write);
	assert_true(sim_run(rig_all_ended, &w, NS_PER_S));
	assert_int_equal(nvme_op_status(&w.ops[0]->op), NVME_SC_LBA_RANGE);
	assert_int_equal(w.gone, 0);
	rig_end(&w);
}

static void a_wrong_data_digest_fails_its_command_only(void **state)
{
	struct rig w = { .opts = { .data_digest = true } };

	begin_io(&w, WRONG_DIGEST);
	rig_on_host(&w, rig_read);
	rig_on_host(&w, rig_read);
	assert_true(sim_run(rig_all_ended, &w, NS_PER_S));
	assert_int_equal(nvme_op_status(&w.ops[0]->op), NVME_SC_TRAN_TPORT_ERROR);
	assert_int_equal(nvme_op_status(&w.ops[1]->op), 0);
	assert_int_equal(w.gone, 0);
	rig_end(&w);
}

/* A controller that is never ready says why, once. */
static void opening_fails(enum manner manner, int code)
{
	struct rig w = { 0 };

	begin(&w, manner);
	assert_true(w.ctrlr_ready);
	assert_int_equal(w.err.code, code);
	rig_end(&w);
}

static void a_target_that_says_nothing_meets_the_deadline(void **state) { opening_fails(DEAF, -ETIMEDOUT); }
static void a_connect_without_answer_meets_the_deadline(void **state) { opening_fails(NO_WAY, -ETIMEDOUT); }
static void a_refused_connect_is_told(void **state) { opening_fails(NO_LISTENER, -ECONNREFUSED); }
static void a_queue_of_one_entry_is_refused(void **state) { opening_fails(NO_QUEUE, -EPROTO); }

/* What waits on I/O queues meanwhile is its owner's to end. */
static void an_unanswered_keep_alive_ends_the_controller(void **state)
{
	struct rig w = { .opts = { .keep_alive_ms = 2000 } };

	begin_io(&w, SILENT);
	rig_on_host(&w, rig_read);
	sim_run(NULL, NULL, 10 * NS_PER_S); /* while it is answered */
	assert_int_equal(w.err.code, 0);
	w.deaf = true;
	assert_true(sim_run(rig_has_err, &w, 4 * NS_PER_S));
	assert_int_equal(w.err.code, -ETIMEDOUT);
	assert_int_equal(w.ended, 0);
	rig_end(&w);
}

static void fail_qp(void *arg)
{
	struct rig *w = arg;
	struct err e = { 0 };

	err_set(&e, -EIO, "given up");
	nvme_qpair_fail(w->qp, NVME_REASON_ASKED, &e);
	nvme_qpair_fail(w->qp, NVME_REASON_ASKED, &e);
}

static void a_queue_pair_that_is_given_up_ends_like_others(void **state)
{
	struct rig w = { 0 };

	begin_io(&w, SILENT);
	rig_on_host(&w, rig_reads);
	rig_on_host(&w, fail_qp);
	assert_true(sim_run(rig_all_ended, &w, NS_PER_S));
	sim_run(NULL, NULL, 10 * NS_PER_MS);
	assert_int_equal(w.gone, 1);
	assert_string_equal(w.qp_err.text, "given up");
	rig_end(&w);
}

/* More commands than the queue holds: those that wait inside end like the others. */
static void all_commands_end_once(void **state)
{
	struct rig w = { 0 };

	begin_io(&w, CLOSES);
	rig_on_host(&w, rig_reads);
	assert_true(sim_run(rig_all_ended, &w, NS_PER_S));
	sim_run(NULL, NULL, 10 * NS_PER_MS);
	assert_int_equal(w.ended, 8);
	assert_int_equal(w.gone, 1);
	rig_end(&w);
}

/* From within the end of an outstanding one, of one that waits, of the last: nothing is told of the end then. */
static void closing_from_within_an_end(void **state)
{
	for (uint32_t at = 1; at <= 8; at++) {
		struct rig w = { .close_at = at };

		begin_io(&w, at % 2 ? CLOSES : REFUSES);
		rig_on_host(&w, rig_reads);
		assert_true(sim_run(rig_all_ended, &w, NS_PER_S));
		sim_run(NULL, NULL, 10 * NS_PER_MS);
		assert_null(w.qp);
		assert_int_equal(w.gone, 0);
		rig_end(&w);
	}
}

static void closing_fails_what_is_outstanding(void **state)
{
	struct rig w = { 0 };

	begin_io(&w, SILENT);
	rig_on_host(&w, rig_reads);
	sim_run(NULL, NULL, 10 * NS_PER_MS);
	assert_int_equal(w.ended, 0);
	rig_end(&w);
	assert_int_equal(w.ended, 8);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_good_target_is_served),
		cmocka_unit_test(a_second_r2t_ends_it),
		cmocka_unit_test(an_r2t_beyond_the_data_ends_it),
		cmocka_unit_test(an_r2t_for_a_read_ends_it),
		cmocka_unit_test(data_of_no_command_ends_it),
		cmocka_unit_test(data_beyond_the_buffer_ends_it),
		cmocka_unit_test(short_data_ends_it),
		cmocka_unit_test(success_without_data_ends_it),
		cmocka_unit_test(data_after_the_answer_ends_it),
		cmocka_unit_test(an_answer_to_no_command_ends_it),
		cmocka_unit_test(a_second_answer_ends_it),
		cmocka_unit_test(a_term_req_ends_it),
		cmocka_unit_test(a_closing_target_ends_it),
		cmocka_unit_test(a_refused_command_fails_alone),
		cmocka_unit_test(a_wrong_data_digest_fails_its_command_only),
		cmocka_unit_test(a_target_that_says_nothing_meets_the_deadline),
		cmocka_unit_test(a_connect_without_answer_meets_the_deadline),
		cmocka_unit_test(a_refused_connect_is_told),
		cmocka_unit_test(a_queue_of_one_entry_is_refused),
		cmocka_unit_test(an_unanswered_keep_alive_ends_the_controller),
		cmocka_unit_test(a_queue_pair_that_is_given_up_ends_like_others),
		cmocka_unit_test(all_commands_end_once),
		cmocka_unit_test(closing_from_within_an_end),
		cmocka_unit_test(closing_fails_what_is_outstanding),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
