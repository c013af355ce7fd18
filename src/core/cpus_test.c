/* SPDX-License-Identifier: BSD-3-Clause */
/* cpus_test.c: masks and lists of CPUs as people write them, and what is said when they cannot be read. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/reactor.h"

static void expect(const char *text, uint32_t count, const uint32_t *want)
{
	uint32_t cpus[CORE_REACTORS_MAX], got = 0;
	struct err e = { 0 };

	if (cpus_parse(text, cpus, &got, &e))
		fail_msg("%s", e.text);
	assert_int_equal(got, count);
	assert_memory_equal(cpus, want, count * sizeof(want[0]));
}

static void masks_and_lists(void **state)
{
	expect("0x5", 2, (uint32_t[]){ 0, 2 });
	expect("3", 2, (uint32_t[]){ 0, 1 });
	expect("0x10000000000000000", 1, (uint32_t[]){ 64 });
	expect("[0,2-3]", 3, (uint32_t[]){ 0, 2, 3 });
	expect("0,2-3", 3, (uint32_t[]){ 0, 2, 3 });
	expect("[7]", 1, (uint32_t[]){ 7 });
	expect("3,1,3", 2, (uint32_t[]){ 1, 3 });
}

static void refuse(const char *text, const char *why)
{
	uint32_t cpus[CORE_REACTORS_MAX], got = 99;
	struct err e = { 0 };

	assert_int_equal(cpus_parse(text, cpus, &got, &e), ERR_BAD_PARAM);
	assert_int_equal(got, 99);
	if (!strstr(e.text, why))
		fail_msg("\"%s\" does not say \"%s\"", e.text, why);
}

static void mistakes_are_explained(void **state)
{
	refuse("", "neither a mask");
	refuse("0x", "neither a mask");
	refuse("0xfg", "neither a mask");
	refuse("0", "names no CPU");
	refuse("[0,2", "lacks the closing bracket");
	refuse("[0]x", "goes on with \"x\"");
	refuse("[]", "no CPU number");
	refuse("0,", "no CPU number");
	refuse("3-1", "runs backwards");
	refuse("0-99999", "no CPU number");
	refuse("0-64", "more than 64");
}

static void paces(void **state)
{
	struct pace p = { 0 };
	uint64_t spin = 50 * NS_PER_US, now = 1000;

	/* short gaps: the whole spin is made, and no more */
	pace_idle(&p, now);
	assert_false(pace_may_sleep(&p, now + spin - 1, spin));
	assert_true(pace_may_sleep(&p, now + spin, spin));
	/* gaps of milliseconds: only a token */
	for (int i = 0; i < 40; i++) {
		pace_worked(&p, now += 5 * NS_PER_MS, spin);
		pace_idle(&p, now += 1000);
	}
	assert_true(pace_may_sleep(&p, now + spin / 10, spin));
	/* gaps that fit come back, each with a wake-up's cost in it: soon it spins again */
	for (int i = 0; i < 16; i++) {
		pace_worked(&p, now += 60 * NS_PER_US, spin);
		pace_idle(&p, now += 1000);
	}
	assert_false(pace_may_sleep(&p, now + spin - 1, spin));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(masks_and_lists),
		cmocka_unit_test(mistakes_are_explained),
		cmocka_unit_test(paces),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
