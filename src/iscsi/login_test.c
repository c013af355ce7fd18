/* SPDX-License-Identifier: BSD-3-Clause */
/* login_test.c: logins that come through, and every way in which they do not. */
#include "iscsi/login_test.h"

/* --- logins that come through ---------------------------------------------------------------------------------- */

static void test_an_initiator_logs_in_without_authentication(void **state)
{
	struct rig r;

	rig_init(&r);
	TALK(&r,
	     { SEC | TO_OPN, NAMES "SessionType=Normal|AuthMethod=None|", ANSWER, SEC | TO_OPN, 0, TAG "AuthMethod=None|" },
	     { OPN | TO_FULL, "HeaderDigest=None|MaxRecvDataSegmentLength=65536|MaxBurstLength=1048576|InitialR2T=No|",
	       DONE, OPN | TO_FULL, 0, "HeaderDigest=None|MaxBurstLength=1048576|InitialR2T=No|" MRDSL });
	assert_string_equal(r.l.initiator_name, "iqn.host");
	assert_string_equal(r.l.target_name, "iqn.disk");
	assert_int_equal(r.l.params.max_send, 65536);
	assert_int_equal(r.l.params.max_recv, 262144);
	assert_int_equal(r.l.params.max_burst, 1048576);
	assert_false(r.l.params.initial_r2t);
	assert_int_equal(r.l.exp_cmd_sn, 100);
	assert_int_equal(be32_get(r.l.answer.bhs.exp_cmd_sn), 100);
	assert_int_equal(be32_get(r.l.answer.bhs.stat_sn) + 1, r.l.stat_sn);
	assert_int_equal(be16_get(r.l.answer.bhs.tsih), 0);
	assert_memory_equal(r.l.answer.bhs.isid, "\x80\1\2\3\4\5", 6);
	assert_int_equal(be32_get(r.l.answer.bhs.itt), 7);
	assert_int_equal(be32_get(r.l.answer.bhs.max_cmd_sn), 100);
	iscsi_login_accept(&r.l, 9);
	assert_int_equal(be32_get(r.l.answer.bhs.max_cmd_sn), 163);
	assert_int_equal(be16_get(r.l.answer.bhs.tsih), 9);
	rig_fini(&r);
}

/* The shortest one: nothing is negotiated, RFC 7143's defaults hold. */
static void test_defaults_hold_for_what_nobody_mentions(void **state)
{
	struct iscsi_params d = ISCSI_PARAMS_DEFAULT;
	struct rig r;

	rig_init(&r);
	TALK(&r, { SEC | TO_FULL, NAMES, DONE, SEC | TO_FULL, 0, TAG });
	assert_int_equal(r.l.params.max_send, d.max_send);
	assert_int_equal(r.l.params.max_burst, d.max_burst);
	assert_int_equal(r.l.params.first_burst, d.first_burst);
	assert_true(r.l.params.initial_r2t);
	assert_true(r.l.params.immediate_data);
	assert_int_equal(r.l.params.max_outstanding_r2t, 1);
	assert_false(r.l.params.header_digest);
	assert_false(r.l.params.data_digest);
	rig_fini(&r);
}

static void test_security_may_be_left_out_where_it_is_not_required(void **state)
{
	struct rig r;

	rig_init(&r);
	r.alias = "Disk 1";
	TALK(&r, { OPN | TO_FULL, NAMES, DONE, OPN | TO_FULL, 0, TAG "TargetAlias=Disk 1|" MRDSL });
	rig_fini(&r);

	rig_init(&r);
	r.auth = ISCSI_AUTH_ALLOWED;
	TALK(&r, { OPN | TO_FULL, NAMES, DONE, OPN | TO_FULL, 0, TAG MRDSL });
	rig_fini(&r);
}

static void test_a_discovery_session_names_no_target(void **state)
{
	struct rig r;

	rig_init(&r);
	TALK(&r,
	     { SEC | TO_OPN, WHO "SessionType=Discovery|AuthMethod=None|", ANSWER, SEC | TO_OPN, 0, "AuthMethod=None|" },
	     { OPN | TO_FULL, "DefaultTime2Wait=2|DefaultTime2Retain=0|ErrorRecoveryLevel=0|", DONE, OPN | TO_FULL, 0,
	       "DefaultTime2Wait=2|DefaultTime2Retain=0|ErrorRecoveryLevel=0|" MRDSL });
	assert_int_equal(r.l.session_type, ISCSI_DISCOVERY);
	rig_fini(&r);
}

/* Stage by stage without T, keys in any portions. */
static void test_a_login_takes_as_many_requests_as_it_likes(void **state)
{
	struct rig r;

	rig_init(&r);
	TALK(&r,
	     { SEC, NAMES, ANSWER, SEC, 0, TAG },
	     { SEC, "", ANSWER, SEC, 0, "" },
	     { SEC, "AuthMethod=None|", ANSWER, SEC, 0, "AuthMethod=None|" },
	     { SEC | TO_OPN, "", ANSWER, SEC | TO_OPN, 0, "" },
	     { OPN, "InitialR2T=Yes|", ANSWER, OPN, 0, "InitialR2T=Yes|" },
	     { OPN, "ImmediateData=No|", ANSWER, OPN, 0, "ImmediateData=No|" },
	     { OPN | TO_FULL, "", DONE, OPN | TO_FULL, 0, MRDSL });
	rig_fini(&r);
}

static void test_a_login_does_not_take_for_ever(void **state)
{
	struct rig r;

	rig_init(&r);
	TALK(&r, { SEC, NAMES, ANSWER, SEC, 0, TAG });
	for (uint32_t i = 1; i < ISCSI_LOGIN_PDUS_MAX; i++)
		assert_int_equal(rig_say(&r, SEC, ""), ISCSI_LOGIN_ANSWER);
	TALK(&r, { SEC, "", REFUSED(INITIATOR_ERROR) });
	rig_fini(&r);
}

static void test_sequence_numbers(void **state)
{
	struct rig r;
	uint32_t first;

	rig_init(&r);
	TALK(&r, { SEC, NAMES, ANSWER, SEC, 0, NULL });
	first = be32_get(r.l.answer.bhs.stat_sn);
	TALK(&r, { SEC | TO_OPN, "", ANSWER, SEC | TO_OPN, 0, NULL });
	assert_int_equal(be32_get(r.l.answer.bhs.stat_sn), first + 1);
	TALK(&r, { OPN | TO_FULL, "", DONE, OPN | TO_FULL, 0, NULL });
	assert_int_equal(be32_get(r.l.answer.bhs.stat_sn), first + 2);
	assert_int_equal(r.l.stat_sn, first + 3);
	assert_int_equal(r.l.exp_cmd_sn, 100);
	rig_fini(&r);
}

/* --- texts longer than a PDU ----------------------------------------------------------------------------------- */

static void test_a_text_may_be_cut_anywhere(void **state)
{
	static const char text[] = NAMES "AuthMethod=None|";
	struct rig r;
	char piece[sizeof(text)];

	for (size_t at = 0; at < sizeof(text) - 1; at++) {
		rig_init(&r);
		memcpy(piece, text, at);
		piece[at] = 0;
		assert_int_equal(rig_say(&r, SEC | C, piece), ISCSI_LOGIN_ANSWER);
		assert_int_equal(r.l.answer.bhs.flags, SEC);
		assert_int_equal(r.l.answer.len, 0);
		assert_int_equal(r.admitted, 0);
		assert_int_equal(rig_say(&r, SEC | TO_OPN, text + at), ISCSI_LOGIN_ANSWER);
		assert_int_equal(r.l.answer.bhs.flags, SEC | TO_OPN);
		assert_string_equal(rig_answer(&r), TAG "AuthMethod=None|");
		rig_fini(&r);
	}
}

static void test_more_text_than_can_be_is_refused(void **state)
{
	struct rig r;
	char text[4097];
	enum iscsi_login_step step = ISCSI_LOGIN_ANSWER;

	memset(text, 'A', sizeof(text) - 1);
	text[sizeof(text) - 1] = 0;
	rig_init(&r);
	for (int i = 0; i < 4; i++)
		assert_int_equal(step = rig_say(&r, SEC | C, text), ISCSI_LOGIN_ANSWER);
	assert_int_equal(rig_say(&r, SEC | C, text), ISCSI_LOGIN_REFUSED);
	assert_int_equal(r.l.status, ISCSI_LOGIN_INITIATOR_ERROR);
	rig_fini(&r);
}

/* Many unknown keys have an answer longer than MaxRecvDataSegmentLength: it comes in pieces, fetched by empty requests,
 * and the transition with the last one. */
static void test_a_long_answer_comes_in_pieces(void **state)
{
	struct rig r;
	char text[4000] = "MaxRecvDataSegmentLength=512|", whole[8000] = "";
	uint32_t pieces = 0;

	for (int i = 0; i < 100; i++)
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "X-com.example.%d=1|", i);
	rig_init(&r);
	TALK(&r, { SEC | TO_OPN, NAMES, ANSWER, SEC | TO_OPN, 0, NULL });
	assert_int_equal(rig_say(&r, OPN | TO_FULL, text), ISCSI_LOGIN_ANSWER);
	while (r.l.answer.bhs.flags & ISCSI_CONTINUE) {
		assert_int_equal(r.l.answer.bhs.flags, OPN | C);
		assert_int_equal(r.l.answer.len, 512);
		strncat(whole, rig_answer(&r), sizeof(whole) - strlen(whole) - 1);
		pieces++;
		rig_say(&r, OPN | TO_FULL, "");
	}
	strncat(whole, rig_answer(&r), sizeof(whole) - strlen(whole) - 1);
	assert_int_equal(r.l.answer.bhs.flags, OPN | TO_FULL);
	assert_true(pieces >= 5);
	assert_non_null(strstr(whole, "X-com.example.0=NotUnderstood|"));
	assert_non_null(strstr(whole, "X-com.example.99=NotUnderstood|"));
	rig_fini(&r);

	rig_init(&r); /* something else than an empty request in between */
	TALK(&r, { SEC | TO_OPN, NAMES, ANSWER, SEC | TO_OPN, 0, NULL });
	assert_int_equal(rig_say(&r, OPN | TO_FULL, text), ISCSI_LOGIN_ANSWER);
	TALK(&r, { OPN, "InitialR2T=No|", REFUSED(INITIATOR_ERROR) });
	rig_fini(&r);
}

/* --- first requests that are refused --------------------------------------------------------------------------- */

static void test_what_a_first_request_lacks(void **state)
{
	static const struct turn turns[] = {
		{ SEC, "", REFUSED(MISSING_PARAMETER) },
		{ SEC, "TargetName=iqn.disk|", REFUSED(MISSING_PARAMETER) },
		{ SEC, WHO, REFUSED(MISSING_PARAMETER) },
		{ SEC, WHO "SessionType=Normal|", REFUSED(MISSING_PARAMETER) },
		{ SEC, "SessionType=Discovery|", REFUSED(MISSING_PARAMETER) },
		{ SEC, NAMES "SessionType=Boot|", REFUSED(BAD_SESSION_TYPE) },
		{ SEC, "InitiatorName=|TargetName=iqn.disk|", REFUSED(INITIATOR_ERROR) },
		{ SEC, "InitiatorName=iqn.a b|TargetName=iqn.disk|", REFUSED(INITIATOR_ERROR) },
		{ SEC, WHO "TargetName=iqn.a,b|", REFUSED(INITIATOR_ERROR) },
		{ SEC, WHO "TargetName=iqn.other|", REFUSED(NOT_FOUND) },
		{ OPN, WHO "TargetName=iqn.other|", REFUSED(NOT_FOUND) },
		{ SEC, "InitiatorName", REFUSED(INITIATOR_ERROR) },
		{ SEC, "=|", REFUSED(INITIATOR_ERROR) },
		{ SEC, NAMES "AuthMethod=None", REFUSED(INITIATOR_ERROR) }, /* no NUL */
	};
	struct rig r;

	for (size_t i = 0; i < ARRAY_SIZE(turns); i++) {
		rig_init(&r);
		rig_turn(&r, &turns[i], __func__);
		assert_int_equal(r.l.answer.len, 0);
		rig_fini(&r);
	}
}

static void test_the_configuration_refuses(void **state)
{
	static const uint16_t statuses[] = {
		ISCSI_LOGIN_NOT_AUTHORIZED, ISCSI_LOGIN_REMOVED, ISCSI_LOGIN_UNAVAILABLE, ISCSI_LOGIN_OUT_OF_RESOURCES,
		ISCSI_LOGIN_BAD_SESSION_TYPE,
	};
	struct rig r;

	for (size_t i = 0; i < ARRAY_SIZE(statuses); i++) {
		rig_init(&r);
		r.admit_status = statuses[i];
		assert_int_equal(rig_say(&r, SEC | TO_OPN, NAMES "AuthMethod=None|"), ISCSI_LOGIN_REFUSED);
		assert_int_equal(be16_get(r.l.answer.bhs.status), statuses[i]);
		assert_int_equal(r.l.status, statuses[i]);
		assert_int_equal(r.l.answer.len, 0);
		rig_fini(&r);
	}
}

static void test_a_moved_target_says_where_to(void **state)
{
	struct rig r;

	rig_init(&r);
	r.admit_status = ISCSI_LOGIN_MOVED_TEMPORARILY;
	r.redirect = "[fe80::1]:3261";
	TALK(&r, { SEC | TO_OPN, NAMES "AuthMethod=None|X-a=1|", REFUSED(MOVED_TEMPORARILY),
	           "TargetAddress=[fe80::1]:3261|" });
	rig_fini(&r);
	rig_init(&r);
	r.admit_status = ISCSI_LOGIN_MOVED_PERMANENTLY;
	r.redirect = "10.0.0.1:3260,2";
	TALK(&r, { OPN | TO_FULL, NAMES, REFUSED(MOVED_PERMANENTLY), "TargetAddress=10.0.0.1:3260,2|" });
	rig_fini(&r);
}

/* --- requests out of place ------------------------------------------------------------------------------------- */

static void test_stages(void **state)
{
	static const struct { struct turn first, then; } talks[] = {
		{ { SEC | T | ISCSI_STAGE_SECURITY, NAMES, REFUSED(INITIATOR_ERROR) }, { 0 } },
		{ { SEC | T | 2, NAMES, REFUSED(INITIATOR_ERROR) }, { 0 } },
		{ { OPN | TO_OPN, NAMES, REFUSED(INITIATOR_ERROR) }, { 0 } },
		{ { OPN | T, NAMES, REFUSED(INITIATOR_ERROR) }, { 0 } },
		{ { 2 << ISCSI_CSG_SHIFT, NAMES, REFUSED(INITIATOR_ERROR) }, { 0 } },
		{ { 3 << ISCSI_CSG_SHIFT, NAMES, REFUSED(INITIATOR_ERROR) }, { 0 } },
		{ { SEC | TO_OPN | C, NAMES, REFUSED(INITIATOR_ERROR) }, { 0 } },
		{ { SEC, NAMES, ANSWER, SEC, 0, NULL }, { OPN, "", REFUSED(INITIATOR_ERROR) } },
		{ { SEC | TO_OPN, NAMES, ANSWER, SEC | TO_OPN, 0, NULL }, { SEC, "", REFUSED(INITIATOR_ERROR) } },
		{ { OPN, NAMES, ANSWER, OPN, 0, NULL }, { SEC, "", REFUSED(INITIATOR_ERROR) } },
		/* NSG without T says nothing */
		{ { SEC | 2, NAMES, ANSWER, SEC, 0, NULL }, { SEC | 3, "", ANSWER, SEC, 0, "" } },
	};
	struct rig r;

	for (size_t i = 0; i < ARRAY_SIZE(talks); i++) {
		rig_init(&r);
		rig_turn(&r, &talks[i].first, __func__);
		if (talks[i].then.says)
			rig_turn(&r, &talks[i].then, __func__);
		rig_fini(&r);
	}
}

static union iscsi_bhs request(void)
{
	return (union iscsi_bhs){ .login = {
		.opcode = ISCSI_OP_LOGIN | ISCSI_IMMEDIATE, .isid = { 0x80, 1, 2, 3, 4, 5 }, .itt = be32_of(7),
		.cmd_sn = be32_of(100),
	} };
}

/* What may not change from one request to the next. */
static void test_headers_that_change_are_refused(void **state)
{
	struct rig r;

	for (int change = 0; change <= 6; change++) {
		union iscsi_bhs bhs = request();

		rig_init(&r);
		TALK(&r, { SEC, NAMES, ANSWER, SEC, 0, NULL });
		switch (change) {
		case 0:
			bhs.login.itt = be32_of(8);
			break;
		case 1:
			bhs.login.isid[5] ^= 1;
			break;
		case 2:
			bhs.login.tsih = be16_of(1);
			break;
		case 3:
			bhs.login.cid = be16_of(1);
			break;
		case 4:
			bhs.login.version_min = 1;
			break;
		case 5:
			bhs.login.ahs_words = 1;
			break;
		}
		assert_int_equal(iscsi_login_pdu(&r.l, &bhs, NULL, 0), change == 6 ? ISCSI_LOGIN_ANSWER : ISCSI_LOGIN_REFUSED);
		assert_int_equal(r.l.status, change == 6 ? 0 : change == 4 ? ISCSI_LOGIN_BAD_VERSION :
		                 ISCSI_LOGIN_INITIATOR_ERROR);
		assert_int_equal(be32_get(r.l.answer.bhs.itt), 7);
		rig_fini(&r);
	}
}

static void test_versions(void **state)
{
	struct rig r;
	union iscsi_bhs bhs = request();

	rig_init(&r);
	bhs.login.version_min = 1;
	bhs.login.version_max = 2;
	assert_int_equal(iscsi_login_pdu(&r.l, &bhs, NULL, 0), ISCSI_LOGIN_REFUSED);
	assert_int_equal(be16_get(r.l.answer.bhs.status), ISCSI_LOGIN_BAD_VERSION);
	assert_int_equal(r.l.answer.bhs.version_max, 0);
	rig_fini(&r);
}

/* A stranger that does not begin with a login is not spoken to; in the middle of one it is told. */
static void test_other_pdus_during_login(void **state)
{
	union iscsi_bhs nop = { .nop_out = { .opcode = ISCSI_OP_NOP_OUT, .itt = be32_of(3), .ttt = be32_of(UINT32_MAX) } };
	struct rig r;

	rig_init(&r);
	assert_int_equal(iscsi_login_pdu(&r.l, &nop, NULL, 0), ISCSI_LOGIN_CLOSE);
	assert_true(*r.l.why);
	rig_fini(&r);
	rig_init(&r);
	TALK(&r, { SEC, NAMES, ANSWER, SEC, 0, NULL });
	assert_int_equal(iscsi_login_pdu(&r.l, &nop, NULL, 0), ISCSI_LOGIN_REFUSED);
	assert_int_equal(be16_get(r.l.answer.bhs.status), ISCSI_LOGIN_INVALID_REQUEST);
	rig_fini(&r);
}

static void test_an_existing_session(void **state)
{
	static const uint16_t statuses[] = {
		ISCSI_LOGIN_NO_SESSION, ISCSI_LOGIN_TOO_MANY_CONNECTIONS, ISCSI_LOGIN_CANNOT_INCLUDE, ISCSI_LOGIN_SUCCESS
	};
	static const char text[] = "InitiatorName=iqn.host\0TargetName=iqn.disk";
	struct rig r;

	for (size_t i = 0; i < ARRAY_SIZE(statuses); i++) {
		union iscsi_bhs bhs = request();

		rig_init(&r);
		r.join_status = statuses[i];
		bhs.login.tsih = be16_of(77);
		bhs.login.data_len = be24_of(sizeof(text));
		assert_int_equal(iscsi_login_pdu(&r.l, &bhs, (const uint8_t *)text, sizeof(text)),
		                 statuses[i] ? ISCSI_LOGIN_REFUSED : ISCSI_LOGIN_ANSWER);
		assert_int_equal(be16_get(r.l.answer.bhs.status), statuses[i]);
		assert_int_equal(be16_get(r.l.answer.bhs.tsih), 77);
		rig_fini(&r);
	}
}

/* --- the end --------------------------------------------------------------------------------------------------- */

static void test_a_session_that_cannot_be_admitted_is_refused_in_its_last_answer(void **state)
{
	struct rig r;
	uint32_t stat_sn;

	rig_init(&r);
	TALK(&r, { SEC | TO_FULL, NAMES, DONE, SEC | TO_FULL, 0, NULL });
	stat_sn = be32_get(r.l.answer.bhs.stat_sn);
	iscsi_login_refuse(&r.l, ISCSI_LOGIN_OUT_OF_RESOURCES, "too many sessions");
	assert_int_equal(be16_get(r.l.answer.bhs.status), ISCSI_LOGIN_OUT_OF_RESOURCES);
	assert_int_equal(be32_get(r.l.answer.bhs.stat_sn), stat_sn);
	assert_int_equal(r.l.answer.bhs.flags & T, 0);
	assert_int_equal(r.l.answer.len, 0);
	assert_string_equal(r.l.why, "too many sessions");
	rig_fini(&r);
}

static void test_a_login_may_be_ended_from_outside_at_any_time(void **state)
{
	struct rig r;

	rig_init(&r);
	iscsi_login_refuse(&r.l, ISCSI_LOGIN_UNAVAILABLE, "stopping");
	rig_fini(&r);
	rig_init(&r);
	TALK(&r, { SEC | C, NAMES, ANSWER, SEC, 0, NULL });
	iscsi_login_refuse(&r.l, ISCSI_LOGIN_UNAVAILABLE, "stopping");
	assert_int_equal(be16_get(r.l.answer.bhs.status), ISCSI_LOGIN_UNAVAILABLE);
	rig_fini(&r);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_an_initiator_logs_in_without_authentication),
		cmocka_unit_test(test_defaults_hold_for_what_nobody_mentions),
		cmocka_unit_test(test_security_may_be_left_out_where_it_is_not_required),
		cmocka_unit_test(test_a_discovery_session_names_no_target),
		cmocka_unit_test(test_a_login_takes_as_many_requests_as_it_likes),
		cmocka_unit_test(test_a_login_does_not_take_for_ever),
		cmocka_unit_test(test_sequence_numbers),
		cmocka_unit_test(test_a_text_may_be_cut_anywhere),
		cmocka_unit_test(test_more_text_than_can_be_is_refused),
		cmocka_unit_test(test_a_long_answer_comes_in_pieces),
		cmocka_unit_test(test_what_a_first_request_lacks),
		cmocka_unit_test(test_the_configuration_refuses),
		cmocka_unit_test(test_a_moved_target_says_where_to),
		cmocka_unit_test(test_stages),
		cmocka_unit_test(test_headers_that_change_are_refused),
		cmocka_unit_test(test_versions),
		cmocka_unit_test(test_other_pdus_during_login),
		cmocka_unit_test(test_an_existing_session),
		cmocka_unit_test(test_a_session_that_cannot_be_admitted_is_refused_in_its_last_answer),
		cmocka_unit_test(test_a_login_may_be_ended_from_outside_at_any_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
