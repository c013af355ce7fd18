/* SPDX-License-Identifier: BSD-3-Clause */
/* text_test.c: key=value texts may be cut anywhere; values are what they say; nothing else is believed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "iscsi/text.h"

/* --- pairs ----------------------------------------------------------------------------------------------------- */

static void test_pairs_are_read_in_order_however_they_were_cut(void **state)
{
	static const char text[] = "InitiatorName=iqn.a\0X#old=1\0\0Empty=\0AuthMethod=CHAP,None";

	for (uint32_t step = 1; step <= sizeof(text); step++) {
		struct iscsi_text_in in = { 0 };
		struct iscsi_text_pair pair;
		uint32_t at = 0;

		for (uint32_t i = 0; i < sizeof(text); i += step)
			assert_true(iscsi_text_gather(&in, text + i, min_u32(step, (uint32_t)sizeof(text) - i)));
		assert_int_equal(iscsi_text_next(&in, &at, &pair), ISCSI_TEXT_PAIR);
		assert_string_equal(pair.key, "InitiatorName");
		assert_string_equal(pair.value, "iqn.a");
		assert_int_equal(iscsi_text_next(&in, &at, &pair), ISCSI_TEXT_PAIR);
		assert_string_equal(pair.key, "X#old");
		assert_int_equal(iscsi_text_next(&in, &at, &pair), ISCSI_TEXT_PAIR);
		assert_string_equal(pair.key, "Empty");
		assert_string_equal(pair.value, "");
		assert_int_equal(iscsi_text_next(&in, &at, &pair), ISCSI_TEXT_PAIR);
		assert_string_equal(pair.value, "CHAP,None");
		assert_int_equal(iscsi_text_next(&in, &at, &pair), ISCSI_TEXT_END);
		iscsi_text_forget(&in);
	}
}

static void test_what_is_no_pair_is_said_to_be_none(void **state)
{
	static const struct { const char *bytes; uint32_t len; } bad[] = {
		{ "NoValue", 8 }, { "=x", 3 }, { "lower=x", 8 }, { "Cut=y", 5 }, { "A b=c", 6 }, { "1A=c", 5 }, { "A#b=c", 6 },
		{ "A234567890123456789012345678901234567890123456789012345678901234=x", 67 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct iscsi_text_in in = { 0 };
		struct iscsi_text_pair pair;
		uint32_t at = 0;

		assert_true(iscsi_text_gather(&in, bad[i].bytes, bad[i].len));
		assert_int_equal(iscsi_text_next(&in, &at, &pair), ISCSI_TEXT_BAD);
		iscsi_text_forget(&in);
	}
}

static void test_a_text_is_bounded(void **state)
{
	struct iscsi_text_in in = { 0 };
	char block[1024] = { 0 };

	for (uint32_t i = 0; i < ISCSI_TEXT_IN_MAX / sizeof(block); i++)
		assert_true(iscsi_text_gather(&in, block, sizeof(block)));
	assert_false(iscsi_text_gather(&in, block, 1));
	assert_true(iscsi_text_gather(&in, block, 0));
	iscsi_text_forget(&in);
}

/* --- values ---------------------------------------------------------------------------------------------------- */

static void test_numbers(void **state)
{
	static const struct { const char *text; bool good; uint64_t value; } numbers[] = {
		{ "0", true, 0 }, { "1", true, 1 }, { "262144", true, 262144 }, { "0x10", true, 16 }, { "0XfF", true, 255 },
		{ "18446744073709551615", true, UINT64_MAX }, { "18446744073709551616", false, 0 },
		{ "0xffffffffffffffff", true, UINT64_MAX }, { "0x10000000000000000", false, 0 },
		{ "", false, 0 }, { "00", false, 0 }, { "010", false, 0 }, { "0x", false, 0 }, { "-1", false, 0 },
		{ "+1", false, 0 }, { " 1", false, 0 }, { "1 ", false, 0 }, { "1k", false, 0 }, { "0xg", false, 0 },
		{ "a", false, 0 }, { "0b1", false, 0 },
	};
	uint64_t from, to, value;

	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
		value = 0;
		assert_int_equal(iscsi_value_number(numbers[i].text, &value), numbers[i].good);
		assert_int_equal(value, numbers[i].value);
	}
	assert_true(iscsi_value_range("512~0x400", &from, &to));
	assert_int_equal(from, 512);
	assert_int_equal(to, 1024);
	assert_false(iscsi_value_range("512", &from, &to));
	assert_false(iscsi_value_range("2~1", &from, &to));
	assert_false(iscsi_value_range("~1", &from, &to));
	assert_false(iscsi_value_range("1~", &from, &to));
}

static void test_bools_and_lists(void **state)
{
	const char *list = "a,,bc", *item;
	uint32_t len;
	bool b;

	assert_true(iscsi_value_bool("Yes", &b) && b);
	assert_true(iscsi_value_bool("No", &b) && !b);
	assert_false(iscsi_value_bool("yes", &b));
	assert_false(iscsi_value_bool("", &b));
	assert_true(iscsi_value_list_has("7,5", "5"));
	assert_false(iscsi_value_list_has("75", "5"));
	assert_false(iscsi_value_list_has("7,55", "5"));
	item = iscsi_value_item(&list, &len);
	assert_true(len == 1 && *item == 'a');
	item = iscsi_value_item(&list, &len);
	assert_true(len == 0);
	item = iscsi_value_item(&list, &len);
	assert_true(len == 2 && !memcmp(item, "bc", 2));
	assert_null(iscsi_value_item(&list, &len));
}

static void test_binary_values(void **state)
{
	static const struct { const char *text; int len; const char *bytes; } values[] = {
		{ "0x00ff", 2, "\x00\xff" }, { "0XaBc", 2, "\x0a\xbc" }, { "0x1", 1, "\x01" },
		{ "0bAAEC", 3, "\x00\x01\x02" }, { "0BAAE=", 2, "\x00\x01" }, { "0bAA==", 1, "\x00" },
		{ "0b+/+/", 3, "\xfb\xff\xbf" },
		{ "0x", -1, "" }, { "0b", -1, "" }, { "0xzz", -1, "" }, { "0bAAE", -1, "" }, { "0bA===", -1, "" },
		{ "0bAA=A", -1, "" }, { "0bAB==", -1, "" }, { "12", -1, "" }, { "", -1, "" }, { "0b!AAA", -1, "" },
		{ "0x0011223344556677889900112233445566", -1, "" }, /* 17 bytes */
		{ "0x00112233445566778899001122334455", 16,
		  "\x00\x11\x22\x33\x44\x55\x66\x77\x88\x99\x00\x11\x22\x33\x44\x55" },
		{ "0bAAAAAAAAAAAAAAAAAAAAAAA=", -1, "" }, /* 17 bytes */
	};
	uint8_t bytes[16];
	uint32_t len;

	for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
		len = 99;
		assert_int_equal(iscsi_value_binary(values[i].text, bytes, sizeof(bytes), &len), values[i].len >= 0);
		if (values[i].len < 0)
			continue;
		assert_int_equal(len, values[i].len);
		assert_memory_equal(bytes, values[i].bytes, len);
	}
}

static void test_names(void **state)
{
	char name[225];

	memset(name, 'a', sizeof(name));
	name[223] = 0;
	assert_true(iscsi_value_is_name(name));
	name[223] = 'a';
	name[224] = 0;
	assert_false(iscsi_value_is_name(name));
	assert_true(iscsi_value_is_name("iqn.2016-06.io.gantry:disk1"));
	assert_true(iscsi_value_is_name("iqn.2016-06.io:\xc3\xa4"));
	assert_false(iscsi_value_is_name(""));
	assert_false(iscsi_value_is_name("iqn.a b"));
	assert_false(iscsi_value_is_name("iqn.a,b"));
	assert_false(iscsi_value_is_name("iqn.\x01"));
	assert_false(iscsi_value_is_name("iqn.\xc3"));
	assert_false(iscsi_value_is_name("iqn.\xff"));
}

/* --- answers --------------------------------------------------------------------------------------------------- */

static void test_answers_are_given_out_in_pieces(void **state)
{
	static const char all[] = "MaxBurstLength=512\0CHAP_C=0x00ff\0TargetAddress=[::1]:3260,1";
	static const uint8_t bytes[] = { 0, 255 };
	struct iscsi_text_out out = { 0 };
	char got[sizeof(all)];
	uint32_t len = 0, piece;

	iscsi_text_put_number(&out, "MaxBurstLength", 512);
	iscsi_text_put_binary(&out, "CHAP_C", bytes, 2);
	iscsi_text_put(&out, "TargetAddress", "%s,%u", "[::1]:3260", 1);
	assert_int_equal(iscsi_text_left(&out), sizeof(all));
	while (iscsi_text_left(&out) > 0) {
		const uint8_t *at = iscsi_text_take(&out, 7, &piece);

		memcpy(got + len, at, piece);
		len += piece;
	}
	assert_int_equal(len, sizeof(all));
	assert_memory_equal(got, all, len);
	iscsi_text_forget_out(&out);
}

static void test_an_answer_stops_growing(void **state)
{
	struct iscsi_text_out out = { 0 };
	static char value[65536];

	memset(value, 'x', sizeof(value) - 1);
	for (int i = 0; i < 300; i++)
		iscsi_text_put(&out, "TargetName", "%s", value);
	assert_true(out.cut);
	assert_true(out.len <= ISCSI_TEXT_OUT_MAX);
	iscsi_text_forget_out(&out);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pairs_are_read_in_order_however_they_were_cut),
		cmocka_unit_test(test_what_is_no_pair_is_said_to_be_none),
		cmocka_unit_test(test_a_text_is_bounded),
		cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_bools_and_lists),
		cmocka_unit_test(test_binary_values),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_answers_are_given_out_in_pieces),
		cmocka_unit_test(test_an_answer_stops_growing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
