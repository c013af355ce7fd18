/* SPDX-License-Identifier: BSD-3-Clause */
/* chap_test.c: who is who: CHAP in all its algorithms, both ways, and whoever tries to get round it.
 *
 * The digests come from Python's hashlib, with the rig's "random" bytes 01 08 0f ... as id (its first byte) and
 * challenge:
 *     hashlib.new(h, bytes([1]) + b"secretsecret" + challenge).hexdigest()           the initiator's CHAP_R
 *     hashlib.new(h, bytes([200]) + b"terces-terce" + theirs).hexdigest()            our CHAP_R
 * with theirs = bytes.fromhex("00112233445566778899aabbccddeeff").
 */
#include "iscsi/chap.h"
#include "iscsi/login_test.h"

#define C16 "01080f161d242b323940474e555c636a"
#define C20 C16 "71787f86"
#define C32 C20 "8d949ba2a9b0b7bec5ccd3da"
#define R5 "e8eadabd8d85ac251baa6b9a62969914"
#define R6 "6b4188c42016d7615f2ab12910e87d9d7480ec8e"
#define R7 "a08fc8970ee5bb4f58d4ead70b5cc0cc98b116cfb06ef4ab71358958d164f761"
#define R8 "9ea4e07062cd5efa2f06b29158b090bd77fe53c915d7ff6dc6174e7b6c329001"
#define THEIRS "CHAP_I=200|CHAP_C=0x00112233445566778899aabbccddeeff|"
#define AUTH NAMES "AuthMethod=CHAP,None|"
#define RIGHT "CHAP_N=host|CHAP_R=0x" R7 "|"

static const struct { const char *a, *challenge, *r, *ours; } rows[] = {
	{ "5", C16, R5, "e699af0eaa88ae18a6b1d1f68b284e36" },
	{ "6", C20, R6, "25e7b276a52c4788f0f09e6d0762664cca3b1b18" },
	{ "7", C32, R7, "af6cf1e3e2eae944f8d2fe75ebd92fee891b79e3cbac1c62c74cc0dd6e8b6b2e" },
	{ "8", C32, R8, "3ce44b7b53cf68647f3902b7e83e22ed651a39fb81c8803c92d7e40211526e1a" },
};

static void begin(struct rig *r, uint8_t auth)
{
	rig_init(r);
	r->auth = auth;
}

/* As far as the challenge. */
static void challenge(struct rig *r, uint8_t auth)
{
	begin(r, auth);
	TALK(r, { SEC, AUTH, ANSWER, SEC, 0, "...AuthMethod=CHAP|" },
	     { SEC, "CHAP_A=7|", ANSWER, SEC, 0, "CHAP_A=7|CHAP_I=1|CHAP_C=0x" C32 "|" });
}

static void test_every_algorithm_one_way_and_both(void **state)
{
	struct rig r;
	char text[500], want[200];

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		for (int mutual = 0; mutual < 2; mutual++) {
			begin(&r, mutual ? ISCSI_AUTH_MUTUAL : ISCSI_AUTH_CHAP);
			TALK(&r, { SEC, AUTH, ANSWER, SEC, 0, TAG "AuthMethod=CHAP|" });
			snprintf(text, sizeof(text), "CHAP_A=%s|", rows[i].a);
			assert_int_equal(rig_say(&r, SEC, text), ISCSI_LOGIN_ANSWER);
			snprintf(want, sizeof(want), "CHAP_A=%s|CHAP_I=1|CHAP_C=0x%s|", rows[i].a, rows[i].challenge);
			assert_string_equal(rig_answer(&r), want);
			assert_false(r.l.chap.authenticated);
			snprintf(text, sizeof(text), "CHAP_N=host|CHAP_R=0x%s|%s", rows[i].r, mutual ? THEIRS : "");
			assert_int_equal(rig_say(&r, SEC | TO_OPN, text), ISCSI_LOGIN_ANSWER);
			snprintf(want, sizeof(want), "CHAP_N=disk|CHAP_R=0x%s|", rows[i].ours);
			assert_string_equal(rig_answer(&r), mutual ? want : "");
			assert_int_equal(r.l.answer.bhs.flags, SEC | TO_OPN);
			assert_true(r.l.chap.authenticated);
			assert_string_equal(r.l.chap.user, "host");
			TALK(&r, { OPN | TO_FULL, "", DONE, OPN | TO_FULL, 0, MRDSL });
			rig_fini(&r);
		}
}

static void test_the_strongest_algorithm_that_both_have(void **state)
{
	static const struct { const char *list; uint32_t permitted; const char *chosen; } offers[] = {
		{ "5,6,7,8", ISCSI_CHAP_ALL, "8" }, { "5,7", ISCSI_CHAP_ALL, "7" }, { "5,6", ISCSI_CHAP_ALL, "6" },
		{ "5", ISCSI_CHAP_ALL, "5" }, { "8,5", 1u << 5, "5" }, { "99,7,x", ISCSI_CHAP_ALL, "7" },
		{ "5", 1u << 7, NULL }, { "", ISCSI_CHAP_ALL, NULL }, { "9", ISCSI_CHAP_ALL, NULL },
		{ "05", ISCSI_CHAP_ALL, NULL },
	};
	struct rig r;
	char text[40];

	for (size_t i = 0; i < ARRAY_SIZE(offers); i++) {
		begin(&r, ISCSI_AUTH_CHAP);
		r.chap_algorithms = offers[i].permitted;
		TALK(&r, { SEC, AUTH, ANSWER, SEC, 0, NULL });
		snprintf(text, sizeof(text), "CHAP_A=%s|", offers[i].list);
		if (offers[i].chosen) {
			assert_int_equal(rig_say(&r, SEC, text), ISCSI_LOGIN_ANSWER);
			snprintf(text, sizeof(text), "CHAP_A=%s|", offers[i].chosen);
			assert_memory_equal(rig_answer(&r), text, strlen(text));
		} else {
			assert_int_equal(rig_say(&r, SEC, text), ISCSI_LOGIN_REFUSED);
			assert_int_equal(r.l.status, ISCSI_LOGIN_AUTH_FAILED);
		}
		rig_fini(&r);
	}
	assert_int_equal(iscsi_chap_available() & ~(1u << 5), ISCSI_CHAP_ALL & ~(1u << 5));
}

static void test_methods(void **state)
{
	static const struct { uint8_t auth; struct turn turn; } methods[] = {
		{ ISCSI_AUTH_NONE, { SEC, NAMES "AuthMethod=CHAP,None|", ANSWER, SEC, 0, "...AuthMethod=None|" } },
		{ ISCSI_AUTH_NONE, { SEC, NAMES "AuthMethod=CHAP|", REFUSED(AUTH_FAILED) } },
		{ ISCSI_AUTH_NONE, { SEC, NAMES "AuthMethod=KRB5|", REFUSED(AUTH_FAILED) } },
		{ ISCSI_AUTH_ALLOWED, { SEC, NAMES "AuthMethod=CHAP,None|", ANSWER, SEC, 0, "...AuthMethod=CHAP|" } },
		{ ISCSI_AUTH_ALLOWED, { SEC, NAMES "AuthMethod=None,CHAP|", ANSWER, SEC, 0, "...AuthMethod=None|" } },
		{ ISCSI_AUTH_ALLOWED, { SEC | TO_FULL, NAMES, DONE, SEC | TO_FULL, 0, TAG } },
		{ ISCSI_AUTH_CHAP, { SEC, NAMES "AuthMethod=None,CHAP|", ANSWER, SEC, 0, "...AuthMethod=CHAP|" } },
		{ ISCSI_AUTH_CHAP, { SEC, NAMES "AuthMethod=KRB5,SRP,CHAP|", ANSWER, SEC, 0, "...AuthMethod=CHAP|" } },
		{ ISCSI_AUTH_CHAP, { SEC, NAMES "AuthMethod=None|", REFUSED(AUTH_FAILED) } },
		{ ISCSI_AUTH_CHAP, { SEC, NAMES "AuthMethod=|", REFUSED(AUTH_FAILED) } },
		{ ISCSI_AUTH_CHAP, { SEC, NAMES, ANSWER, SEC, 0, TAG } },
		{ ISCSI_AUTH_CHAP, { SEC | TO_OPN, NAMES, REFUSED(AUTH_FAILED) } },
		{ ISCSI_AUTH_CHAP, { SEC | TO_FULL, NAMES, REFUSED(AUTH_FAILED) } },
		{ ISCSI_AUTH_CHAP, { OPN | TO_FULL, NAMES, REFUSED(AUTH_FAILED) } },
		{ ISCSI_AUTH_CHAP, { OPN, NAMES, REFUSED(AUTH_FAILED) } },
		{ ISCSI_AUTH_MUTUAL, { SEC, NAMES "AuthMethod=None|", REFUSED(AUTH_FAILED) } },
		{ ISCSI_AUTH_CHAP, { SEC, WHO "SessionType=Discovery|AuthMethod=None|", REFUSED(AUTH_FAILED) } },
		{ ISCSI_AUTH_CHAP, { SEC, WHO "SessionType=Discovery|AuthMethod=CHAP|", ANSWER, SEC, 0,
		                       "AuthMethod=CHAP|" } },
	};
	struct rig r;

	for (size_t i = 0; i < ARRAY_SIZE(methods); i++) {
		begin(&r, methods[i].auth);
		rig_turn(&r, &methods[i].turn, __func__);
		rig_fini(&r);
	}
}

/* T is not granted before the proof. */
static void test_nobody_leaves_security_unproven(void **state)
{
	struct rig r;

	begin(&r, ISCSI_AUTH_CHAP);
	TALK(&r, { SEC | TO_FULL, AUTH, ANSWER, SEC, 0, "...AuthMethod=CHAP|" },
	     { SEC | TO_FULL, "", ANSWER, SEC, 0, "" },
	     { SEC | TO_FULL, "CHAP_A=7|", ANSWER, SEC, 0, "...CHAP_A=7|" },
	     { SEC | TO_FULL, "", ANSWER, SEC, 0, "" },
	     { SEC, RIGHT, ANSWER, SEC, 0, "" },
	     { SEC | TO_FULL, "", DONE, SEC | TO_FULL, 0, "" });
	rig_fini(&r);
	begin(&r, ISCSI_AUTH_ALLOWED); /* who chose CHAP has to go through with it */
	TALK(&r, { SEC | TO_FULL, AUTH, ANSWER, SEC, 0, "...AuthMethod=CHAP|" },
	     { SEC | TO_FULL, "", ANSWER, SEC, 0, "" });
	rig_fini(&r);
}

static void test_wrong_proofs(void **state)
{
	static const struct turn turns[] = {
		{ SEC | TO_OPN, "CHAP_N=host|CHAP_R=0x" R8 "|", REFUSED(AUTH_FAILED), "" },
		{ SEC | TO_OPN, "CHAP_N=guest|CHAP_R=0x" R7 "|", REFUSED(AUTH_FAILED), "" },
		{ SEC | TO_OPN, "CHAP_N=|CHAP_R=0x" R7 "|", REFUSED(AUTH_FAILED), "" },
		{ SEC | TO_OPN, "CHAP_N=host|CHAP_R=0x" R5 "|", REFUSED(AUTH_FAILED), "" }, /* too short */
		{ SEC | TO_OPN, "CHAP_N=host|CHAP_R=0x" R7 "00|", REFUSED(AUTH_FAILED), "" },
		{ SEC | TO_OPN, "CHAP_N=host|CHAP_R=|", REFUSED(AUTH_FAILED), "" },
		{ SEC | TO_OPN, "CHAP_N=host|CHAP_R=0x|", REFUSED(AUTH_FAILED), "" },
		{ SEC | TO_OPN, "CHAP_N=host|CHAP_R=Yes|", REFUSED(AUTH_FAILED), "" },
		{ SEC | TO_OPN, "CHAP_N=host|", REFUSED(INITIATOR_ERROR), "" },
		{ SEC | TO_OPN, "CHAP_R=0x" R7 "|", REFUSED(INITIATOR_ERROR), "" },
		{ SEC | TO_OPN, "CHAP_A=5|", REFUSED(INITIATOR_ERROR), "" },
		{ SEC | TO_OPN, "AuthMethod=None|", REFUSED(INITIATOR_ERROR), "" }, /* came twice */
		{ SEC | TO_OPN, RIGHT "CHAP_I=1|", REFUSED(INITIATOR_ERROR), "" },
		{ SEC | TO_OPN, RIGHT "CHAP_C=0x00|", REFUSED(INITIATOR_ERROR), "" },
		{ SEC | TO_OPN, RIGHT "CHAP_I=256|CHAP_C=0x00|", REFUSED(INITIATOR_ERROR), "" },
		{ SEC | TO_OPN, RIGHT "CHAP_I=1|CHAP_C=0x|", REFUSED(INITIATOR_ERROR), "" },
		{ SEC | TO_OPN, RIGHT "CHAP_I=1|CHAP_C=0x" C32 "|", REFUSED(AUTH_FAILED), "" }, /* our own challenge */
		{ SEC | TO_OPN, "CHAP_N=host|CHAP_R=0x" R8 "|" THEIRS, REFUSED(AUTH_FAILED), "" }, /* is not answered */
		{ SEC | TO_OPN, "CHAP_N=host|CHAP_R=0boI/Ilw7lu09Y1OrXC1zAzJixFs+wbvSrcTWJWNFk92E=|", ANSWER,
		  SEC | TO_OPN, 0, "" },
		{ SEC | TO_OPN, "CHAP_N=host|CHAP_R=0XA08FC8970EE5BB4F58D4EAD70B5CC0CC98B116CFB06EF4AB71358958D164F761|",
		  ANSWER, SEC | TO_OPN, 0, "" },
	};
	struct rig r;

	for (size_t i = 0; i < ARRAY_SIZE(turns); i++) {
		challenge(&r, ISCSI_AUTH_CHAP);
		rig_turn(&r, &turns[i], __func__);
		assert_int_equal(r.l.chap.authenticated, turns[i].status == 0);
		rig_fini(&r);
	}
}

static void test_mutual(void **state)
{
	struct rig r;

	challenge(&r, ISCSI_AUTH_MUTUAL); /* required, and not asked for */
	TALK(&r, { SEC | TO_OPN, RIGHT, REFUSED(AUTH_FAILED) });
	rig_fini(&r);
	challenge(&r, ISCSI_AUTH_CHAP); /* asked for, and not configured */
	r.one_way = true;
	TALK(&r, { SEC | TO_OPN, RIGHT THEIRS, REFUSED(AUTH_FAILED) });
	rig_fini(&r);
	challenge(&r, ISCSI_AUTH_CHAP); /* one secret for both directions */
	r.same_secrets = true;
	TALK(&r, { SEC | TO_OPN, RIGHT THEIRS, REFUSED(AUTH_FAILED) });
	rig_fini(&r);
}

static void test_chap_out_of_order(void **state)
{
	struct rig r;

	begin(&r, ISCSI_AUTH_CHAP);
	TALK(&r, { SEC, NAMES "CHAP_A=5|", REFUSED(INITIATOR_ERROR) });
	rig_fini(&r);
	begin(&r, ISCSI_AUTH_NONE);
	TALK(&r, { SEC, NAMES "AuthMethod=None|CHAP_A=5|", REFUSED(INITIATOR_ERROR) });
	rig_fini(&r);
	begin(&r, ISCSI_AUTH_CHAP);
	TALK(&r, { SEC, AUTH, ANSWER, SEC, 0, NULL }, { SEC, RIGHT, REFUSED(INITIATOR_ERROR) });
	rig_fini(&r);
	begin(&r, ISCSI_AUTH_CHAP);
	TALK(&r, { SEC, AUTH, ANSWER, SEC, 0, NULL }, { SEC, "CHAP_A=7|" RIGHT, REFUSED(INITIATOR_ERROR) });
	rig_fini(&r);
	begin(&r, ISCSI_AUTH_CHAP); /* in one go: some initiators do */
	TALK(&r, { SEC, AUTH "CHAP_A=7|", ANSWER, SEC, 0, TAG "AuthMethod=CHAP|CHAP_A=7|CHAP_I=1|CHAP_C=0x" C32 "|" },
	     { SEC | TO_OPN, RIGHT, ANSWER, SEC | TO_OPN, 0, "" });
	rig_fini(&r);
	challenge(&r, ISCSI_AUTH_CHAP); /* a second proof */
	TALK(&r, { SEC, RIGHT, ANSWER, SEC, 0, "" }, { SEC, RIGHT, REFUSED(INITIATOR_ERROR) });
	rig_fini(&r);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_algorithm_one_way_and_both),
		cmocka_unit_test(test_the_strongest_algorithm_that_both_have),
		cmocka_unit_test(test_methods),
		cmocka_unit_test(test_nobody_leaves_security_unproven),
		cmocka_unit_test(test_wrong_proofs),
		cmocka_unit_test(test_mutual),
		cmocka_unit_test(test_chap_out_of_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
