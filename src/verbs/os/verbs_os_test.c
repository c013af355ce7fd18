/* SPDX-License-Identifier: BSD-3-Clause */
/* verbs_os_test.c: a system that has no RDMA adapter, or a build that cannot use one. What needs an adapter is in
 * verbs_test.c, which a guest with soft RoCE runs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>

#include "verbs/verbs.h"

static struct {
	struct core *core;
	struct verbs *v, *again;
	struct err e;
} t;

static void start(void *arg)
{
	t.v = verbs_get(t.core, &t.e);
	if (t.v) {
		t.again = verbs_get(t.core, NULL);
		verbs_put(t.again);
		verbs_put(t.v);
	}
	core_stop(t.core, 0);
}

/* Whoever asks for RDMA would be told nothing, or the daemon would not start. */
static void without_an_adapter_a_sentence_says_what_is_missing(void **state)
{
	t.core = core_make(&(struct core_opts){ 0 }, &t.e);
	assert_non_null(t.core);
	assert_int_equal(core_run(t.core, start, NULL), 0);
	core_free(t.core);
	if (t.v) {
		assert_ptr_equal(t.v, t.again);
		skip(); /* it has one */
	}
	assert_int_equal(t.e.code, -ENODEV);
	assert_non_null(strstr(t.e.text, "RDMA"));
	assert_true(strstr(t.e.text, "rdma link") || strstr(t.e.text, "libibverbs-dev") || strstr(t.e.text, "rdma_ucm"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_an_adapter_a_sentence_says_what_is_missing),
	};

	return cmocka_run_group_tests_name("verbs_os", tests, NULL, NULL);
}
