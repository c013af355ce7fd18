/* SPDX-License-Identifier: BSD-3-Clause */
/* pattern_test.c: whatever is not what was written last is seen, and where. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/pattern.h"

#define LEN 4096u

static void what_was_written_is_right(void **state)
{
	uint8_t buf[LEN];

	pattern_fill(buf, LEN, 7, 3);
	assert_int_equal(pattern_check(buf, LEN, 7, 3), LEN);
}

static void stale_and_foreign_data_is_wrong(void **state)
{
	uint8_t buf[LEN];

	pattern_fill(buf, LEN, 7, 3);
	assert_true(pattern_check(buf, LEN, 7, 4) < 8);
	assert_true(pattern_check(buf, LEN, 8, 3) < 8);
	memset(buf, 0, LEN);
	assert_true(pattern_check(buf, LEN, 0, 1) < 8);
}

static void torn_and_shifted_data_is_wrong_where_it_begins(void **state)
{
	uint8_t old[LEN], buf[LEN];

	pattern_fill(old, LEN, 7, 2);
	pattern_fill(buf, LEN, 7, 3);
	memcpy(buf + 512, old + 512, LEN - 512);
	assert_in_range(pattern_check(buf, LEN, 7, 3), 512, 519);
	pattern_fill(buf, LEN, 7, 3);
	memmove(buf, buf + 8, LEN - 8);
	assert_true(pattern_check(buf, LEN, 7, 3) < 8);
}

static void one_wrong_byte_is_found(void **state)
{
	uint8_t buf[LEN];

	for (size_t at = 0; at < LEN; at += 61) {
		pattern_fill(buf, LEN, at, 1);
		buf[at] ^= 0x10;
		assert_int_equal(pattern_check(buf, LEN, at, 1), at);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_was_written_is_right),
		cmocka_unit_test(stale_and_foreign_data_is_wrong),
		cmocka_unit_test(torn_and_shifted_data_is_wrong_where_it_begins),
		cmocka_unit_test(one_wrong_byte_is_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
