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
	assert_int_equal(be32_get(r.l.answer.bhs.max_cmd_sn), 163);
	assert_int_equal(be32_get(r.l.answer.bhs.stat_sn) + 1, r.l.stat_sn);
	assert_int_equal(be16_get(r.l.answer.bhs.tsih), 0);
	iscsi_login_accept(&r.l, 9);
	assert_int_equal(be16_get(r.l.answer.bhs.tsih), 9);
	rig_fini(&r);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_an_initiator_logs_in_without_authentication),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
