/* SPDX-License-Identifier: BSD-3-Clause */
/* rdma_test.c: the host over simulated adapters, against a target that does as the test says. Whatever that is, every
 * command comes back exactly once, and its memory is not touched afterwards.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "nvme/rdma/test_rig.h"

#define SEEDS 8u

/* Nothing works without: Connect, Identify, a write, and the same bytes read. */
static void what_was_written_is_read(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= SEEDS; seed++) {
		struct rig r = { 0 };

		rig_begin_io(&r, seed);
		assert_int_equal(r.err.code, 0);
		assert_int_equal(r.qp_err.code, 0);
		rig_on_host(&r, rig_write);
		assert_true(sim_run(rig_all_ended, &r, NS_PER_S));
		rig_on_host(&r, rig_read);
		assert_true(sim_run(rig_all_ended, &r, NS_PER_S));
		assert_int_equal(r.ops[0]->status | r.ops[1]->status, 0);
		assert_int_equal(r.wrong_bytes, 0);
		rig_end(&r);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_was_written_is_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
