/* SPDX-License-Identifier: BSD-3-Clause */
/* nego_test.c: text requests in full feature phase: what is answered, in how many pieces, what is rejected. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "iscsi/login.h"

#define F ISCSI_FINAL
#define C ISCSI_CONTINUE
#define NONE ISCSI_TAG_NONE

struct rig {
	struct iscsi_text_nego n;
	struct iscsi_params params;
};

static void rig_init(struct rig *r, bool discovery)
{
	*r = (struct rig){ .params = ISCSI_PARAMS_DEFAULT };
	r->n.params = &r->params;
	r->n.discovery = discovery;
}

static enum iscsi_text_step say(struct rig *r, uint8_t flags, uint32_t ttt, const char *says)
{
	uint32_t len = (uint32_t)strlen(says);
	uint8_t *data = malloc(len + !len);
	struct iscsi_text_req req = {
		.opcode = ISCSI_OP_TEXT, .flags = flags, .data_len = be24_of(len), .lun = be64_of(5), .itt = be32_of(3),
		.ttt = be32_of(ttt),
	};
	enum iscsi_text_step step;

	for (uint32_t i = 0; i < len; i++)
		data[i] = (uint8_t)(says[i] == '|' ? 0 : says[i]);
	step = iscsi_text_pdu(&r->n, &req, data, len);
	free(data);
	return step;
}

static void assert_answer(struct rig *r, uint8_t flags, const char *text)
{
	const struct iscsi_text_rsp *rsp = &r->n.answer.bhs;

	assert_int_equal(rsp->flags, flags);
	assert_int_equal(rsp->opcode, ISCSI_OP_TEXT_RSP);
	assert_int_equal(be32_get(rsp->itt), 3);
	assert_int_equal(be64_get(rsp->lun), 5);
	assert_int_equal(be32_get(rsp->ttt) == NONE, flags == F);
	assert_int_equal(be24_get(rsp->data_len), r->n.answer.len);
	assert_int_equal(r->n.answer.len, strlen(text));
	for (uint32_t i = 0; i < r->n.answer.len; i++)
		assert_int_equal(r->n.answer.data[i], text[i] == '|' ? 0 : (uint8_t)text[i]);
}

static void test_targets_are_told(void **state)
{
	struct rig r;

	rig_init(&r, true);
	assert_int_equal(say(&r, F, NONE, "SendTargets=All|"), ISCSI_TEXT_TARGETS);
	assert_string_equal(r.n.targets, "All");
	iscsi_text_add(&r.n, "TargetName", "iqn.a");
	iscsi_text_add(&r.n, "TargetAddress", "10.0.0.1:3260,1");
	iscsi_text_add(&r.n, "TargetAddress", "[::1]:3260,2");
	iscsi_text_targets_done(&r.n);
	assert_answer(&r, F, "TargetName=iqn.a|TargetAddress=10.0.0.1:3260,1|TargetAddress=[::1]:3260,2|");
	assert_int_equal(say(&r, F, NONE, "SendTargets=iqn.b|"), ISCSI_TEXT_TARGETS); /* again; nothing there */
	assert_string_equal(r.n.targets, "iqn.b");
	iscsi_text_targets_done(&r.n);
	assert_answer(&r, F, "");
	iscsi_text_end(&r.n);

	rig_init(&r, false);
	assert_int_equal(say(&r, F, NONE, "SendTargets=|"), ISCSI_TEXT_TARGETS);
	assert_string_equal(r.n.targets, "");
	iscsi_text_end(&r.n); /* the connection ends while it waits */
}

/* RFC 7143 appendix C: All belongs to discovery sessions, the empty value to normal ones. */
static void test_targets_of_the_other_kind_of_session(void **state)
{
	struct rig r;

	rig_init(&r, false);
	assert_int_equal(say(&r, F, NONE, "SendTargets=All|"), ISCSI_TEXT_ANSWER);
	assert_answer(&r, F, "SendTargets=Reject|");
	iscsi_text_end(&r.n);
	rig_init(&r, true);
	assert_int_equal(say(&r, F, NONE, "SendTargets=|"), ISCSI_TEXT_ANSWER);
	assert_answer(&r, F, "SendTargets=Reject|");
	assert_int_equal(say(&r, F, NONE, "SendTargets=a b|"), ISCSI_TEXT_ANSWER);
	assert_answer(&r, F, "SendTargets=Reject|");
	iscsi_text_end(&r.n);
}

static void test_a_long_list_comes_in_pieces(void **state)
{
	struct rig r;
	char name[40];
	uint32_t len = 0, want = 0, ttt;

	rig_init(&r, true);
	r.params.max_send = 512;
	assert_int_equal(say(&r, F, NONE, "SendTargets=All|"), ISCSI_TEXT_TARGETS);
	for (int i = 0; i < 500; i++) {
		snprintf(name, sizeof(name), "iqn.target%d", i);
		iscsi_text_add(&r.n, "TargetName", name);
		want += (uint32_t)strlen(name) + 12;
	}
	iscsi_text_targets_done(&r.n);
	ttt = be32_get(r.n.answer.bhs.ttt);
	while (r.n.answer.bhs.flags & C) {
		assert_int_equal(r.n.answer.bhs.flags, C);
		assert_int_equal(r.n.answer.len, 512);
		assert_int_equal(be32_get(r.n.answer.bhs.ttt), ttt);
		len += r.n.answer.len;
		assert_int_equal(say(&r, F, ttt, ""), ISCSI_TEXT_ANSWER);
	}
	assert_int_equal(r.n.answer.bhs.flags, F);
	assert_int_equal(len + r.n.answer.len, want);
	assert_int_equal(say(&r, F, ttt, ""), ISCSI_TEXT_REJECT); /* it is over */
	assert_int_equal(r.n.reject, ISCSI_REJECT_INVALID_FIELD);
	iscsi_text_end(&r.n);
}

static void test_the_segment_length_changes(void **state)
{
	struct rig r;

	rig_init(&r, false);
	assert_int_equal(say(&r, F, NONE, "MaxRecvDataSegmentLength=65536|"), ISCSI_TEXT_ANSWER);
	assert_answer(&r, F, "");
	assert_int_equal(r.params.max_send, 65536);
	assert_int_equal(say(&r, F, NONE, "MaxRecvDataSegmentLength=1|"), ISCSI_TEXT_ANSWER);
	assert_answer(&r, F, "MaxRecvDataSegmentLength=Reject|");
	assert_int_equal(r.params.max_send, 65536);
	iscsi_text_end(&r.n);
}

static void test_a_negotiation_in_several_requests(void **state)
{
	struct rig r;
	uint32_t ttt;

	rig_init(&r, false);
	assert_int_equal(say(&r, C, NONE, "X-com.exam"), ISCSI_TEXT_ANSWER);
	assert_answer(&r, 0, "");
	ttt = be32_get(r.n.answer.bhs.ttt);
	assert_int_equal(say(&r, 0, ttt, "ple=1|"), ISCSI_TEXT_ANSWER);
	assert_answer(&r, 0, "X-com.example=NotUnderstood|");
	assert_int_equal(say(&r, F, ttt, "InitiatorAlias=me|"), ISCSI_TEXT_ANSWER);
	assert_answer(&r, F, "");
	iscsi_text_end(&r.n);
}

static void test_another_beginning_takes_the_place_of_what_was(void **state)
{
	struct rig r;
	uint32_t ttt;

	rig_init(&r, false);
	assert_int_equal(say(&r, C, NONE, "InitiatorAl"), ISCSI_TEXT_ANSWER);
	ttt = be32_get(r.n.answer.bhs.ttt);
	assert_int_equal(say(&r, F, NONE, "X-a=1|"), ISCSI_TEXT_ANSWER);
	assert_answer(&r, F, "X-a=NotUnderstood|");
	assert_int_equal(say(&r, F, ttt, "ias=x|"), ISCSI_TEXT_REJECT);
	iscsi_text_end(&r.n);
}

static void test_what_is_rejected(void **state)
{
	static const char *const bad[] = {
		"HeaderDigest=CRC32C|", "InitialR2T=No|", "AuthMethod=None|", "InitiatorName=iqn.x|", "SessionType=Normal|",
		"MaxBurstLength=512|", "InitiatorAlias=a|InitiatorAlias=b|", "TargetAlias=x|", "nonsense", "=1|", "Key=1",
		"MaxRecvDataSegmentLength=512|MaxRecvDataSegmentLength=512|", "SendTargets=All|SendTargets=All|",
	};
	struct rig r;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		rig_init(&r, true);
		assert_int_equal(say(&r, F, NONE, bad[i]), ISCSI_TEXT_REJECT);
		assert_int_equal(r.n.reject, ISCSI_REJECT_PROTOCOL_ERROR);
		assert_null(r.n.in.bytes);
		assert_null(r.n.out.bytes);
		assert_int_equal(say(&r, F, NONE, ""), ISCSI_TEXT_ANSWER); /* the next one is well again */
		iscsi_text_end(&r.n);
	}
	rig_init(&r, true);
	assert_int_equal(say(&r, F, 77, ""), ISCSI_TEXT_REJECT); /* a tag that nobody gave */
	assert_int_equal(r.n.reject, ISCSI_REJECT_INVALID_FIELD);
	assert_int_equal(say(&r, F, NONE, "SendTargets=All|"), ISCSI_TEXT_TARGETS);
	assert_int_equal(say(&r, F, NONE, ""), ISCSI_TEXT_REJECT); /* while we look */
	iscsi_text_end(&r.n);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_targets_are_told),
		cmocka_unit_test(test_targets_of_the_other_kind_of_session),
		cmocka_unit_test(test_a_long_list_comes_in_pieces),
		cmocka_unit_test(test_the_segment_length_changes),
		cmocka_unit_test(test_a_negotiation_in_several_requests),
		cmocka_unit_test(test_another_beginning_takes_the_place_of_what_was),
		cmocka_unit_test(test_what_is_rejected),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
