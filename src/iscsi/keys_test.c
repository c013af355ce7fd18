/* SPDX-License-Identifier: BSD-3-Clause */
/* keys_test.c: every key of RFC 7143: what is answered, what holds then, and when it may not be said. */
#include "iscsi/keys.h"
#include "iscsi/login_test.h"

/* --- what is answered ------------------------------------------------------------------------------------------ */

struct deal {
	const char *offer, *answer; /* answer NULL: none */
	uint8_t field;              /* of struct iscsi_params, looked at by size; 255: none */
	uint8_t size;
	uint32_t value;
};
#define GETS(member) offsetof(struct iscsi_params, member), sizeof(((struct iscsi_params *)0)->member)
#define NOTHING 255, 0, 0

static uint32_t value_of(const struct iscsi_params *p, uint8_t field, uint8_t size)
{
	uint32_t value = 0;

	memcpy(&value, (const uint8_t *)p + field, size);
	return value;
}

static void talk_deals(const struct deal *deals, size_t count, const char *first, bool discovery)
{
	struct rig r;
	char offer[300], want[300];

	for (size_t i = 0; i < count; i++) {
		const struct deal *d = &deals[i];

		rig_init(&r);
		snprintf(offer, sizeof(offer), "%s%s|", first, d->offer);
		snprintf(want, sizeof(want), "%s%s", d->answer ? d->answer : "", d->answer ? "|" : "");
		assert_int_equal(rig_say(&r, OPN, discovery ? WHO "SessionType=Discovery|" : NAMES), ISCSI_LOGIN_ANSWER);
		assert_int_equal(rig_say(&r, OPN, offer), ISCSI_LOGIN_ANSWER);
		if (!strstr(rig_answer(&r), want))
			print_error("%s: answered %s, not %s\n", offer, rig_answer(&r), want);
		assert_non_null(strstr(rig_answer(&r), want));
		if (!d->answer && !strncmp(d->offer, "MaxRecv", 7))
			assert_string_equal(rig_answer(&r), MRDSL); /* ours: no answer, but another declaration */
		else if (!d->answer)
			assert_null(strchr(rig_answer(&r), '='));
		if (d->size) {
			if (value_of(&r.l.params, d->field, d->size) != d->value)
				print_error("%s: %u\n", offer, value_of(&r.l.params, d->field, d->size));
			assert_int_equal(value_of(&r.l.params, d->field, d->size), d->value);
		}
		rig_fini(&r);
	}
}

static void test_numbers(void **state)
{
	static const struct deal deals[] = {
		/* the least of both */
		{ "MaxConnections=1", "MaxConnections=1", GETS(max_connections), 1 },
		{ "MaxConnections=65535", "MaxConnections=1", GETS(max_connections), 1 },
		{ "MaxConnections=0", "MaxConnections=Reject", GETS(max_connections), 1 },
		{ "MaxConnections=65536", "MaxConnections=Reject", GETS(max_connections), 1 },
		{ "MaxBurstLength=16777215", "MaxBurstLength=16777215", GETS(max_burst), 16777215 },
		{ "MaxBurstLength=0x200", "MaxBurstLength=512", GETS(max_burst), 512 },
		{ "MaxBurstLength=511", "MaxBurstLength=Reject", GETS(max_burst), 262144 },
		{ "MaxBurstLength=16777216", "MaxBurstLength=Reject", GETS(max_burst), 262144 },
		{ "MaxBurstLength=", "MaxBurstLength=Reject", GETS(max_burst), 262144 },
		{ "MaxBurstLength=Yes", "MaxBurstLength=Reject", GETS(max_burst), 262144 },
		{ "MaxBurstLength=1k", "MaxBurstLength=Reject", GETS(max_burst), 262144 },
		{ "FirstBurstLength=16777215", "FirstBurstLength=262144", GETS(first_burst), 262144 },
		{ "FirstBurstLength=4096", "FirstBurstLength=4096", GETS(first_burst), 4096 },
		{ "FirstBurstLength=1", "FirstBurstLength=Reject", GETS(first_burst), 65536 },
		{ "MaxOutstandingR2T=8", "MaxOutstandingR2T=8", GETS(max_outstanding_r2t), 8 },
		{ "MaxOutstandingR2T=65535", "MaxOutstandingR2T=64", GETS(max_outstanding_r2t), 64 },
		{ "MaxOutstandingR2T=0", "MaxOutstandingR2T=Reject", GETS(max_outstanding_r2t), 1 },
		{ "DefaultTime2Retain=20", "DefaultTime2Retain=0", GETS(time2retain), 0 },
		{ "DefaultTime2Retain=3601", "DefaultTime2Retain=Reject", GETS(time2retain), 20 },
		{ "ErrorRecoveryLevel=2", "ErrorRecoveryLevel=0", GETS(error_recovery_level), 0 },
		{ "ErrorRecoveryLevel=3", "ErrorRecoveryLevel=Reject", GETS(error_recovery_level), 0 },
		{ "iSCSIProtocolLevel=1", "iSCSIProtocolLevel=1", GETS(protocol_level), 1 },
		{ "iSCSIProtocolLevel=2", "iSCSIProtocolLevel=1", GETS(protocol_level), 1 },
		{ "iSCSIProtocolLevel=0", "iSCSIProtocolLevel=0", GETS(protocol_level), 0 },
		{ "iSCSIProtocolLevel=32", "iSCSIProtocolLevel=Reject", GETS(protocol_level), 1 },
		/* the most of both */
		{ "DefaultTime2Wait=0", "DefaultTime2Wait=2", GETS(time2wait), 2 },
		{ "DefaultTime2Wait=3600", "DefaultTime2Wait=3600", GETS(time2wait), 3600 },
		{ "DefaultTime2Wait=-1", "DefaultTime2Wait=Reject", GETS(time2wait), 2 },
		/* declared: no answer */
		{ "MaxRecvDataSegmentLength=512", NULL, GETS(max_send), 512 },
		{ "MaxRecvDataSegmentLength=16777215", NULL, GETS(max_send), 16777215 },
		{ "MaxRecvDataSegmentLength=511", "MaxRecvDataSegmentLength=Reject", GETS(max_send), 8192 },
		{ "MaxRecvDataSegmentLength=16777216", "MaxRecvDataSegmentLength=Reject", GETS(max_send), 8192 },
	};

	talk_deals(deals, ARRAY_SIZE(deals), "", false);
}

static void test_bools(void **state)
{
	static const struct deal deals[] = {
		{ "InitialR2T=No", "InitialR2T=No", GETS(initial_r2t), 0 },
		{ "InitialR2T=Yes", "InitialR2T=Yes", GETS(initial_r2t), 1 },
		{ "InitialR2T=Maybe", "InitialR2T=Reject", GETS(initial_r2t), 1 },
		{ "ImmediateData=Yes", "ImmediateData=Yes", GETS(immediate_data), 1 },
		{ "ImmediateData=No", "ImmediateData=No", GETS(immediate_data), 0 },
		{ "ImmediateData=1", "ImmediateData=Reject", GETS(immediate_data), 1 },
		{ "DataPDUInOrder=No", "DataPDUInOrder=Yes", GETS(data_pdu_in_order), 1 },
		{ "DataPDUInOrder=Yes", "DataPDUInOrder=Yes", GETS(data_pdu_in_order), 1 },
		{ "DataSequenceInOrder=No", "DataSequenceInOrder=Yes", GETS(data_sequence_in_order), 1 },
		{ "DataSequenceInOrder=no", "DataSequenceInOrder=Reject", GETS(data_sequence_in_order), 1 },
	};

	talk_deals(deals, ARRAY_SIZE(deals), "", false);
}

static void test_lists(void **state)
{
	static const struct deal deals[] = {
		{ "HeaderDigest=None", "HeaderDigest=None", GETS(header_digest), 0 },
		{ "HeaderDigest=CRC32C", "HeaderDigest=CRC32C", GETS(header_digest), 1 },
		{ "HeaderDigest=CRC32C,None", "HeaderDigest=CRC32C", GETS(header_digest), 1 },
		{ "HeaderDigest=None,CRC32C", "HeaderDigest=None", GETS(header_digest), 0 },
		{ "HeaderDigest=SHA,CRC32C", "HeaderDigest=CRC32C", GETS(header_digest), 1 },
		{ "HeaderDigest=SHA", "HeaderDigest=Reject", GETS(header_digest), 0 },
		{ "HeaderDigest=", "HeaderDigest=Reject", GETS(header_digest), 0 },
		{ "DataDigest=CRC32C,None", "DataDigest=CRC32C", GETS(data_digest), 1 },
		{ "DataDigest=crc32c,None", "DataDigest=None", GETS(data_digest), 0 },
		{ "TaskReporting=RFC3720", "TaskReporting=RFC3720", GETS(task_reporting), 0 },
		{ "TaskReporting=FastAbort,ResponseFence,RFC3720", "TaskReporting=RFC3720", GETS(task_reporting), 0 },
		{ "TaskReporting=FastAbort", "TaskReporting=Reject", GETS(task_reporting), 0 },
	};

	talk_deals(deals, ARRAY_SIZE(deals), "", false);
}

/* RFC 7143 13.25, 6.2. */
static void test_keys_that_are_not_negotiated(void **state)
{
	static const struct deal deals[] = {
		{ "IFMarker=No", "IFMarker=Reject", NOTHING }, { "OFMarker=Yes", "OFMarker=Reject", NOTHING },
		{ "IFMarkInt=2048~8192", "IFMarkInt=Reject", NOTHING }, { "OFMarkInt=2048", "OFMarkInt=Reject", NOTHING },
		{ "X-com.example.key=1", "X-com.example.key=NotUnderstood", NOTHING },
		{ "X#Key=1", "X#Key=NotUnderstood", NOTHING },
		{ "Kerberos=1", "Kerberos=NotUnderstood", NOTHING },
		{ "RDMAExtensions=Yes", "RDMAExtensions=NotUnderstood", NOTHING },
		{ "X-com.example.key=NotUnderstood", NULL, NOTHING },
		{ "TargetAlias=NotUnderstood", NULL, NOTHING },
		{ "InitiatorAlias=My host", NULL, NOTHING },
	};

	talk_deals(deals, ARRAY_SIZE(deals), "", false);
}

static void test_keys_that_say_nothing_in_a_discovery_session(void **state)
{
	static const struct deal deals[] = {
		{ "MaxConnections=1", "MaxConnections=Irrelevant", GETS(max_connections), 1 },
		{ "InitialR2T=No", "InitialR2T=Irrelevant", GETS(initial_r2t), 1 },
		{ "ImmediateData=No", "ImmediateData=Irrelevant", GETS(immediate_data), 1 },
		{ "MaxBurstLength=512", "MaxBurstLength=Irrelevant", GETS(max_burst), 262144 },
		{ "FirstBurstLength=512", "FirstBurstLength=Irrelevant", GETS(first_burst), 65536 },
		{ "MaxOutstandingR2T=8", "MaxOutstandingR2T=Irrelevant", GETS(max_outstanding_r2t), 1 },
		{ "DataPDUInOrder=Yes", "DataPDUInOrder=Irrelevant", NOTHING },
		{ "DataSequenceInOrder=Yes", "DataSequenceInOrder=Irrelevant", NOTHING },
		{ "TaskReporting=RFC3720", "TaskReporting=Irrelevant", NOTHING },
		{ "iSCSIProtocolLevel=1", "iSCSIProtocolLevel=Irrelevant", NOTHING },
		{ "HeaderDigest=CRC32C", "HeaderDigest=CRC32C", GETS(header_digest), 1 },
		{ "DefaultTime2Wait=5", "DefaultTime2Wait=5", GETS(time2wait), 5 },
		{ "MaxRecvDataSegmentLength=4096", NULL, GETS(max_send), 4096 },
	};

	talk_deals(deals, ARRAY_SIZE(deals), "", true);
}

/* FirstBurstLength depends on three others, in whatever order they come. */
static void test_first_burst(void **state)
{
	static const struct deal none[] = {
		{ "FirstBurstLength=4096", "FirstBurstLength=Irrelevant", GETS(first_burst), 65536 },
	};
	static const struct deal some[] = {
		{ "FirstBurstLength=4096", "FirstBurstLength=4096", GETS(first_burst), 4096 },
	};
	static const struct deal less[] = {
		{ "FirstBurstLength=65536", "FirstBurstLength=1024", GETS(first_burst), 1024 },
	};
	static const struct deal late[] = {
		{ "FirstBurstLength=4096|InitialR2T=Yes|ImmediateData=No", "FirstBurstLength=Irrelevant",
		  GETS(first_burst), 65536 },
		{ "FirstBurstLength=4096|MaxBurstLength=512", "FirstBurstLength=512", GETS(first_burst), 512 },
	};

	talk_deals(none, 1, "InitialR2T=Yes|ImmediateData=No|", false);
	talk_deals(some, 1, "InitialR2T=No|ImmediateData=No|", false);
	talk_deals(some, 1, "InitialR2T=Yes|ImmediateData=Yes|", false);
	talk_deals(less, 1, "MaxBurstLength=1024|", false);
	talk_deals(late, ARRAY_SIZE(late), "", false);
}

/* --- what may not be said -------------------------------------------------------------------------------------- */

static void test_a_key_comes_once(void **state)
{
	static const char *const keys[] = {
		"InitiatorAlias=a|", "InitialR2T=Yes|", "MaxRecvDataSegmentLength=512|", "HeaderDigest=None|",
		"MaxBurstLength=512|", "IFMarker=No|", "DefaultTime2Wait=2|",
	};
	struct rig r;
	char twice[200];

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		rig_init(&r);
		snprintf(twice, sizeof(twice), NAMES "%s%s", keys[i], keys[i]);
		assert_int_equal(rig_say(&r, OPN, twice), ISCSI_LOGIN_REFUSED);
		assert_int_equal(r.l.status, ISCSI_LOGIN_INITIATOR_ERROR);
		rig_fini(&r);
		rig_init(&r);
		assert_int_equal(rig_say(&r, OPN, NAMES), ISCSI_LOGIN_ANSWER);
		assert_int_equal(rig_say(&r, OPN, keys[i]), ISCSI_LOGIN_ANSWER);
		assert_int_equal(rig_say(&r, OPN, keys[i]), ISCSI_LOGIN_REFUSED);
		assert_int_equal(r.l.status, ISCSI_LOGIN_INITIATOR_ERROR);
		rig_fini(&r);
	}
}

static void test_a_key_has_its_stage_and_its_speaker(void **state)
{
	static const struct turn turns[] = {
		{ SEC, NAMES "InitialR2T=Yes|", REFUSED(INITIATOR_ERROR) },
		{ SEC, NAMES "MaxRecvDataSegmentLength=512|", REFUSED(INITIATOR_ERROR) },
		{ SEC, NAMES "HeaderDigest=None|", REFUSED(INITIATOR_ERROR) },
		{ OPN, NAMES "AuthMethod=None|", REFUSED(INITIATOR_ERROR) },
		{ OPN, NAMES "CHAP_A=5|", REFUSED(INITIATOR_ERROR) },
		{ OPN, NAMES "SendTargets=All|", REFUSED(INITIATOR_ERROR) },
		{ OPN, NAMES "TargetAlias=x|", REFUSED(INITIATOR_ERROR) },
		{ OPN, NAMES "TargetPortalGroupTag=1|", REFUSED(INITIATOR_ERROR) },
		{ SEC, NAMES "TargetAddress=::1|", REFUSED(INITIATOR_ERROR) },
	};
	struct rig r;

	for (size_t i = 0; i < ARRAY_SIZE(turns); i++) {
		rig_init(&r);
		rig_turn(&r, &turns[i], __func__);
		rig_fini(&r);
	}
	rig_init(&r); /* names belong to the first request */
	TALK(&r, { SEC, WHO "SessionType=Discovery|", ANSWER, SEC, 0, NULL },
	     { SEC, "TargetName=iqn.disk|", REFUSED(INITIATOR_ERROR) });
	rig_fini(&r);
}

/* --- what we propose ------------------------------------------------------------------------------------------- */

/* The configuration is stricter than RFC 7143's defaults, and the initiator has not said a word. */
static void test_we_propose_what_the_defaults_would_do_wrong(void **state)
{
	struct rig r;

	rig_init(&r);
	r.l.ours.initial_r2t = true;
	r.l.ours.immediate_data = false;
	r.l.ours.max_burst = 65536;
	r.l.ours.first_burst = 32768;
	TALK(&r, { OPN | TO_FULL, NAMES, ANSWER, OPN, 0, TAG MRDSL "ImmediateData=No|MaxBurstLength=65536|" },
	     { OPN | TO_FULL, "ImmediateData=No|MaxBurstLength=4096|", DONE, OPN | TO_FULL, 0, "" });
	assert_int_equal(r.l.params.max_burst, 4096);
	assert_false(r.l.params.immediate_data);
	rig_fini(&r);

	rig_init(&r); /* one who only listens */
	r.l.ours.max_burst = 4096;
	r.l.ours.first_burst = 32768;
	TALK(&r, { OPN | TO_FULL, NAMES, ANSWER, OPN, 0, TAG MRDSL "MaxBurstLength=4096|FirstBurstLength=4096|" },
	     { OPN | TO_FULL, "", DONE, OPN | TO_FULL, 0, "" });
	assert_int_equal(r.l.params.max_burst, 4096);
	assert_int_equal(r.l.params.first_burst, 4096);
	rig_fini(&r);

	rig_init(&r); /* who answers twice */
	r.l.ours.max_burst = 65536;
	r.l.ours.first_burst = 65536;
	TALK(&r, { OPN | TO_FULL, NAMES, ANSWER, OPN, 0, TAG MRDSL "MaxBurstLength=65536|" },
	     { OPN, "MaxBurstLength=65536|", ANSWER, OPN, 0, "" },
	     { OPN | TO_FULL, "MaxBurstLength=65536|", REFUSED(INITIATOR_ERROR) });
	rig_fini(&r);

	rig_init(&r); /* from security straight to full feature phase: not before we had our say */
	r.l.ours.immediate_data = false;
	TALK(&r, { SEC | TO_FULL, NAMES, ANSWER, SEC | TO_OPN, 0, TAG },
	     { OPN | TO_FULL, "", ANSWER, OPN, 0, MRDSL "ImmediateData=No|" },
	     { OPN | TO_FULL, "ImmediateData=No|", DONE, OPN | TO_FULL, 0, "" });
	rig_fini(&r);
}

static void test_required_digests(void **state)
{
	struct rig r;

	rig_init(&r);
	r.need_header_digest = r.need_data_digest = true;
	TALK(&r, { OPN | TO_FULL, NAMES "HeaderDigest=None,CRC32C|DataDigest=CRC32C|", DONE, OPN | TO_FULL, 0,
	           TAG "HeaderDigest=CRC32C|DataDigest=CRC32C|" MRDSL });
	rig_fini(&r);
	rig_init(&r);
	r.need_header_digest = true;
	TALK(&r, { OPN, NAMES "HeaderDigest=None|", ANSWER, OPN, 0, "...HeaderDigest=Reject|" },
	     { OPN | TO_FULL, "", REFUSED(INITIATOR_ERROR) });
	rig_fini(&r);
	rig_init(&r);
	r.need_data_digest = true;
	TALK(&r, { OPN | TO_FULL, NAMES, ANSWER, OPN, 0, "...DataDigest=CRC32C|" },
	     { OPN | TO_FULL, "DataDigest=CRC32C|", DONE, OPN | TO_FULL, 0, "" });
	assert_true(r.l.params.data_digest);
	rig_fini(&r);
	for (int i = 0; i < 3; i++) {
		static const char *const noes[] = { "DataDigest=None|", "DataDigest=Reject|", "DataDigest=NotUnderstood|" };

		rig_init(&r);
		r.need_data_digest = true;
		assert_int_equal(rig_say(&r, OPN | TO_FULL, NAMES), ISCSI_LOGIN_ANSWER);
		assert_int_equal(rig_say(&r, OPN | TO_FULL, noes[i]), ISCSI_LOGIN_REFUSED);
		rig_fini(&r);
	}
}

/* Whether digests are permitted at all. */
static void test_digests_that_are_not_ours(void **state)
{
	struct rig r;

	rig_init(&r);
	r.l.ours.header_digest = r.l.ours.data_digest = false;
	TALK(&r, { OPN, NAMES "HeaderDigest=CRC32C,None|DataDigest=CRC32C|", ANSWER, OPN, 0,
	           "...HeaderDigest=None|DataDigest=Reject|" });
	assert_false(r.l.params.header_digest || r.l.params.data_digest);
	rig_fini(&r);
}

static void test_rows(void **state)
{
	for (enum iscsi_key k = 0; k < ISCSI_KEY_COUNT; k++)
		assert_int_equal(iscsi_key_find(iscsi_key_name(k)), k);
	assert_int_equal(iscsi_key_find("initialr2t"), ISCSI_KEY_COUNT);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_bools),
		cmocka_unit_test(test_lists),
		cmocka_unit_test(test_keys_that_are_not_negotiated),
		cmocka_unit_test(test_keys_that_say_nothing_in_a_discovery_session),
		cmocka_unit_test(test_first_burst),
		cmocka_unit_test(test_a_key_comes_once),
		cmocka_unit_test(test_a_key_has_its_stage_and_its_speaker),
		cmocka_unit_test(test_we_propose_what_the_defaults_would_do_wrong),
		cmocka_unit_test(test_required_digests),
		cmocka_unit_test(test_digests_that_are_not_ours),
		cmocka_unit_test(test_rows),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
