/* SPDX-License-Identifier: BSD-3-Clause */
/* crc32c_test.c: however long a piece is, where it begins and what came before: the remainder is that of a division bit
 * by bit, whether or not other memory is fetched meanwhile. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/crc32c.h"

#define MAX_BYTES 16384u

static uint8_t data[MAX_BYTES + 64];

static uint32_t slow_crc(uint32_t crc, const uint8_t *at, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		crc ^= at[i];
		for (int bit = 0; bit < 8; bit++)
			crc = crc & 1 ? crc >> 1 ^ 0x82f63b78u : crc >> 1;
	}
	return crc;
}

static void as_the_standards_have_it(void **state)
{
	/* RFC 7143, A.4: 32 bytes of zeroes */
	assert_int_equal(crc32c_finish(crc32c_update(CRC32C_START, data, 32)), 0x8a9136aau);
}

static void any_length_from_anywhere(void **state)
{
	unsigned seed = 1;

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)rand_r(&seed);
	for (int i = 0; i < 1000; i++) {
		size_t at = (size_t)rand_r(&seed) % 64, len = (size_t)rand_r(&seed) % MAX_BYTES;
		uint32_t before = (uint32_t)rand_r(&seed), want;

		if (i % 2)
			len %= 5000;
		want = slow_crc(before, data + at, len);
		assert_int_equal(crc32c_update(before, data + at, len), want);
		assert_int_equal(crc32c_update_ahead(before, data + at, len, NULL), want);
		assert_int_equal(crc32c_update_ahead(before, data + at, len, data), want);
	}
}

static void in_pieces_as_in_one(void **state)
{
	uint32_t whole = crc32c_update(CRC32C_START, data, 8192);

	for (size_t cut = 0; cut <= 8192; cut += 61) {
		const struct iovec two[] = { { data, cut }, { data + cut, 8192 - cut } };

		assert_int_equal(crc32c_update_iov(CRC32C_START, two, 2), whole);
		assert_int_equal(crc32c_update_ahead(crc32c_update_ahead(CRC32C_START, data, cut, data + cut), data + cut,
		                                     8192 - cut, data), whole);
	}
}

/* Nothing is read of what is fetched: it may not be there. */
static void nothing_is_read_ahead(void **state)
{
	assert_int_equal(crc32c_update_ahead(CRC32C_START, data, 8192, (void *)1),
	                 crc32c_update(CRC32C_START, data, 8192));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(as_the_standards_have_it),
		cmocka_unit_test(any_length_from_anywhere),
		cmocka_unit_test(in_pieces_as_in_one),
		cmocka_unit_test(nothing_is_read_ahead),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
