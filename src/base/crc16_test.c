/* SPDX-License-Identifier: BSD-3-Clause */
/* crc16_test.c: however long a piece is, where it begins and what came before: the remainder is that of a division bit
 * by bit, whether or not other memory is fetched meanwhile. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/crc16.h"

#define MAX_BYTES 16384u

static uint8_t data[MAX_BYTES + 64];

static uint16_t slow_crc(uint16_t crc, const uint8_t *at, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		crc ^= (uint16_t)(at[i] << 8);
		for (int bit = 0; bit < 8; bit++)
			crc = (uint16_t)(crc & 0x8000 ? crc << 1 ^ 0x8bb7 : crc << 1);
	}
	return crc;
}

static void any_length_from_anywhere(void **state)
{
	unsigned seed = 1;

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)rand_r(&seed);
	for (size_t len = 2000; len < 2000 + 600; len++)
		assert_int_equal(crc16_update(0, data, len), slow_crc(0, data, len));
	for (int i = 0; i < 500; i++) {
		size_t at = (size_t)rand_r(&seed) % 64, len = (size_t)rand_r(&seed) % MAX_BYTES;
		uint16_t before = (uint16_t)rand_r(&seed);

		assert_int_equal(crc16_update(before, data + at, len), slow_crc(before, data + at, len));
		assert_int_equal(crc16_update_ahead(before, data + at, len, data), slow_crc(before, data + at, len));
	}
}

static void in_pieces_as_in_one(void **state)
{
	for (size_t cut = 0; cut <= 8192; cut += 61)
		assert_int_equal(crc16_update(crc16_update(0, data, cut), data + cut, 8192 - cut), crc16_update(0, data, 8192));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(any_length_from_anywhere),
		cmocka_unit_test(in_pieces_as_in_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
