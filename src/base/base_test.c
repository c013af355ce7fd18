/* SPDX-License-Identifier: BSD-3-Clause */
/* base_test.c: the words of base do what their headers promise. Rings with threads: see ring_test.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/base.h"
#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/err.h"
#include "base/hist.h"
#include "base/list.h"
#include "base/random.h"
#include "base/text.h"
#include "base/uuid.h"

/* Repeatable and well spread; tests need no more. */
static uint64_t next_random(uint64_t *state)
{
	*state = *state * 6364136223846793005ull + 1442695040888963407ull;
	return *state >> 11 ^ *state << 29;
}

/* ---- base.h ---- */

static void rounding_survives_the_largest_values(void **state)
{
	assert_int_equal(align_up(1, 4096), 4096);
	assert_int_equal(align_up(4096, 4096), 4096);
	assert_int_equal(div_up(UINT64_MAX, 2), 1ull << 63);
	assert_true(is_pow2(1ull << 63));
	assert_false(is_pow2(0));
	assert_false(is_pow2(6));
}

/* A seed that was printed once is to repeat the same load in years to come. */
static void random_numbers_are_splitmix64s(void **state)
{
	uint64_t random = 1234567;

	assert_true(random_next(&random) == 6457827717110365317ull);
	assert_true(random_next(&random) == 3203168211198807973ull);
	assert_true(random_next(&random) == 9817491932198370423ull);
}

static void random_numbers_stay_below(void **state)
{
	uint64_t random = 1, seen = 0;

	for (uint32_t i = 0; i < 1000; i++)
		seen |= 1ull << random_below(&random, 7);
	assert_int_equal(seen, 0x7f);
	assert_int_equal(random_below(&random, 1), 0);
}

static void memory_is_zeroed_and_aligned(void **state)
{
	uint8_t *p = base_zalloc_aligned(4096, 10000);

	assert_int_equal((uintptr_t)p % 4096, 0);
	for (int i = 0; i < 10000; i++)
		assert_int_equal(p[i], 0);
	free(p);
	p = base_zalloc(0); /* not NULL, or the caller would take it for a failure */
	assert_non_null(p);
	free(p);
}

/* ---- bytes.h ---- */

static void wire_integers_lie_in_their_own_order(void **state)
{
	struct { uint8_t odd; le32 little; be32 big; be16 port; le64 lba; } s;

	assert_int_equal(sizeof(s), 1 + 4 + 4 + 2 + 8); /* alignment 1: no holes */
	s.little = le32_of(0x01020304);
	s.big = be32_of(0x01020304);
	assert_memory_equal(&s.little, "\x04\x03\x02\x01", 4);
	assert_memory_equal(&s.big, "\x01\x02\x03\x04", 4);
	assert_int_equal(le32_get(s.little), 0x01020304);
	assert_int_equal(be32_get(s.big), 0x01020304);
	assert_int_equal(be16_get(be16_of(4420)), 4420);
	assert_int_equal(le64_get(le64_of(UINT64_MAX - 1)), UINT64_MAX - 1);
}

/* ---- crc32c.h ---- */

static uint32_t crc_of(const void *data, size_t len)
{
	return crc32c_finish(crc32c_update(CRC32C_START, data, len));
}

/* A host refuses every PDU if this is wrong. The vectors are those of RFC 3720, B.4. */
static void crc32c_matches_the_published_vectors(void **state)
{
	uint8_t data[32];

	memset(data, 0, sizeof(data));
	assert_int_equal(crc_of(data, sizeof(data)), 0x8a9136aa);
	memset(data, 0xff, sizeof(data));
	assert_int_equal(crc_of(data, sizeof(data)), 0x62a8ab43);
	for (uint8_t i = 0; i < 32; i++)
		data[i] = i;
	assert_int_equal(crc_of(data, sizeof(data)), 0x46dd794e);
	assert_int_equal(crc_of("123456789", 9), 0xe3069283);
	assert_int_equal(crc_of("", 0), 0);
}

static void crc32c_of_pieces_is_that_of_the_whole(void **state)
{
	uint8_t data[1000];
	uint64_t seed = 1;

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)next_random(&seed);
	for (size_t cut = 0; cut <= sizeof(data); cut += 37) {
		struct iovec iov[] = { { data, cut }, { data + cut, 0 }, { data + cut, sizeof(data) - cut } };
		uint32_t crc = crc32c_update_iov(CRC32C_START, iov, 3);

		assert_int_equal(crc32c_finish(crc), crc_of(data, sizeof(data)));
	}
}

/* ---- err.h ---- */

static void first_error_stays(void **state)
{
	struct err e = { 0 };

	assert_int_equal(err_set(&e, -2, "%s does not exist", "/dev/none"), -2);
	assert_int_equal(err_set(&e, -5, "later"), -5);
	assert_int_equal(e.code, -2);
	assert_string_equal(e.text, "/dev/none does not exist");
	assert_int_equal(err_set(NULL, -5, "nobody listens"), -5);
}

static void error_quoting_anything_stays_one_valid_line(void **state)
{
	struct err e = { 0 };
	char typed[2 * ERR_TEXT_MAX + 1];

	err_set(&e, ERR_BAD_PARAM, "name: \"a\nb\x1b[2J\" is taken");
	assert_string_equal(e.text, "name: \"a b [2J\" is taken");

	for (size_t i = 0; i < ERR_TEXT_MAX; i++)
		memcpy(typed + 2 * i, "\xc3\xa9", 2);
	typed[2 * ERR_TEXT_MAX] = 0;
	for (size_t skip = 0; skip < 4; skip += 2) {
		e.code = 0;
		err_set(&e, ERR_BAD_PARAM, "%s%s", skip ? "x" : "", typed + skip);
		assert_string_equal(e.text + strlen(e.text) - 5, "\xc3\xa9...");
	}
}

/* ---- hist.h ---- */

static void every_value_falls_into_a_bucket_near_it(void **state)
{
	uint64_t seed = 7;

	for (uint32_t i = 0; i < HIST_BUCKETS; i++)
		assert_int_equal(hist_bucket_of(hist_bucket_floor(i)), i);
	for (int i = 0; i < 100000; i++) {
		uint64_t v = next_random(&seed) >> (next_random(&seed) % 64);
		uint64_t floor = hist_bucket_floor(hist_bucket_of(v));

		assert_true(floor <= v);
		assert_true(v - floor <= v / 64);
	}
	assert_int_equal(hist_bucket_of(UINT64_MAX), HIST_BUCKETS - 1);
}

static void percentiles_are_within_precision(void **state)
{
	static const double percents[] = { 0.1, 1, 50, 90, 99, 99.9, 99.99 };
	struct hist *h = base_zalloc(sizeof(*h));

	assert_int_equal(hist_percentile(h, 50), 0);
	for (uint64_t v = 1; v <= 100000; v++)
		hist_add(h, v * 1000);
	for (size_t i = 0; i < ARRAY_SIZE(percents); i++) {
		double exact = percents[i] / 100 * 100000 * 1000;
		double got = (double)hist_percentile(h, percents[i]);

		assert_true(got >= exact && got <= exact * 1.016);
	}
	assert_int_equal(hist_percentile(h, 100), 100000 * 1000);
	assert_int_equal(hist_mean(h), 50000500);
	free(h);
}

static void merged_histograms_equal_one_that_saw_all(void **state)
{
	struct hist *a = base_zalloc(sizeof(*a)), *b = base_zalloc(sizeof(*b)), *all = base_zalloc(sizeof(*all));
	uint64_t seed = 3;

	hist_merge(b, a); /* nothing into nothing */
	for (int i = 0; i < 1000; i++) {
		uint64_t v = next_random(&seed) % 1000000;

		hist_add(i % 3 ? a : b, v);
		hist_add(all, v);
	}
	hist_merge(a, b);
	assert_memory_equal(a, all, sizeof(*all));
	memset(b, 0, sizeof(*b));
	hist_merge(b, all); /* min of an empty one is not 0 */
	assert_memory_equal(b, all, sizeof(*all));
	free(a);
	free(b);
	free(all);
}

/* ---- list.h ---- */

struct item {
	int id;
	struct list link;
	struct queue_link in_queue;
};

static void list_keeps_order_and_forgets_what_left(void **state)
{
	struct list a, b;
	struct item items[4] = { { .id = 0 }, { .id = 1 }, { .id = 2 }, { .id = 3 } };
	int expected = 0;

	list_init(&a);
	list_init(&b);
	assert_null(list_first(&a, struct item, link));
	assert_false(list_linked(&items[0].link)); /* zeroed is unlinked */
	list_add_tail(&b, &items[2].link);
	list_add_tail(&b, &items[3].link);
	list_add_head(&a, &items[1].link);
	list_add_head(&a, &items[0].link);
	list_splice(&a, &b);
	list_splice(&a, &b); /* from an empty list: nothing */
	assert_true(list_empty(&b));
	list_each(l, &a)
		assert_int_equal(list_entry(l, struct item, link)->id, expected++);
	assert_int_equal(expected, 4);

	list_del(&items[1].link);
	list_del(&items[1].link); /* does no harm */
	assert_false(list_linked(&items[1].link));
	list_each_safe(l, &a)
		list_del(l);
	assert_null(list_pop(&a));
}

static void queue_is_first_in_first_out(void **state)
{
	struct queue q;
	struct item items[3] = { { .id = 0 }, { .id = 1 }, { .id = 2 } };

	queue_init(&q);
	assert_null(queue_pop(&q));
	for (int round = 0; round < 2; round++) { /* used again after running empty */
		for (int i = 0; i < 3; i++)
			queue_push(&q, &items[i].in_queue);
		for (int i = 0; i < 3; i++)
			assert_ptr_equal(queue_pop(&q), &items[i].in_queue);
		assert_true(queue_empty(&q));
	}
	queue_push(&q, &items[0].in_queue);
	queue_push(&q, &items[1].in_queue);
	assert_ptr_equal(queue_take_all(&q), &items[0].in_queue);
	assert_ptr_equal(items[0].in_queue.next, &items[1].in_queue);
	assert_null(items[1].in_queue.next);
	assert_true(queue_empty(&q));
}

/* ---- text.h ---- */

static void text_is_cut_never_overrun(void **state)
{
	char buf[9] = "########";
	struct text t = text_over(buf, 8);

	text_add(&t, "%s", "1234");
	text_add(&t, "%d", 567);
	assert_false(t.cut);
	assert_string_equal(buf, "1234567");
	text_add(&t, "8");
	assert_true(t.cut);
	text_end_with(&t, "..");
	text_add(&t, "not added after a cut");
	assert_string_equal(buf, "12345..");
	assert_int_equal(t.len, 7);
	assert_int_equal(buf[8], 0);
}

static void text_cut_falls_between_characters(void **state)
{
	char buf[8];

	for (size_t cap = 2; cap <= sizeof(buf); cap++) {
		struct text t = text_over(buf, cap);

		text_add(&t, "a\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac");
		assert_true(t.cut);
		assert_int_equal((t.len - 1) % 3, 0);
		assert_int_equal(strlen(buf), t.len);
	}
}

static void sizes_people_type_are_understood(void **state)
{
	static const struct { const char *typed; uint64_t bytes; } good[] = {
		{ "0", 0 }, { "4096", 4096 }, { "64k", 65536 }, { "64K", 65536 }, { "64KB", 65536 },
		{ "64 KiB", 65536 }, { "512B", 512 }, { "10M", 10 * MIB }, { "1.5GiB", GIB + GIB / 2 },
		{ "2T", 2048 * GIB }, { "0.1G", 107374182 }, { "15E", 15ull << 60 },
		{ "18446744073709551615", UINT64_MAX }, { "15.99999999999999999999E", UINT64_MAX },
	};
	static const char *const bad[] = {
		"", " ", "k", "-1", "+1", "1.5", "1.", "1.k", ".5G", "1KB2", "1Ki", "10 Q", "1e3", "0x10", "4096 bytes",
		"16E", "18446744073709551616", "99999999999999999999999",
	};
	uint64_t bytes;

	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		struct err e = { 0 };

		assert_int_equal(text_parse_size(good[i].typed, &bytes, &e), 0);
		assert_int_equal(bytes, good[i].bytes);
		assert_int_equal(e.code, 0);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct err e = { 0 };

		bytes = 77;
		assert_int_equal(text_parse_size(bad[i], &bytes, &e), ERR_BAD_PARAM);
		assert_int_equal(bytes, 77); /* ret_ only on success */
		assert_true(strstr(e.text, bad[i]) != NULL);
	}
}

static void numbers_people_type_are_understood(void **state)
{
	static const char *const bad[] = { "", "0x", "x1", "1 ", " 1", "-1", "1.0", "0xg", "18446744073709551616" };
	uint64_t value;

	assert_int_equal(text_parse_u64("18446744073709551615", &value, NULL), 0);
	assert_int_equal(value, UINT64_MAX);
	assert_int_equal(text_parse_u64("0xFfffFfffFfffFfff", &value, NULL), 0);
	assert_int_equal(value, UINT64_MAX);
	assert_int_equal(text_parse_u64("010", &value, NULL), 0); /* nobody means octal */
	assert_int_equal(value, 10);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(text_parse_u64(bad[i], &value, NULL), ERR_BAD_PARAM);
}

static void sizes_and_durations_read_well(void **state)
{
	static const struct { uint64_t bytes; const char *text; } sizes[] = {
		{ 0, "0 B" }, { 1023, "1023 B" }, { 1024, "1 KiB" }, { 1536, "1.5 KiB" }, { MIB - 1, "1 MiB" },
		{ 10 * GIB, "10 GiB" }, { UINT64_MAX, "16 EiB" },
	};
	static const struct { uint64_t ns; const char *text; } durations[] = {
		{ 0, "0 ns" }, { 999, "999 ns" }, { 1000, "1 us" }, { 1500, "1.5 us" }, { NS_PER_MS, "1 ms" },
		{ 1500000, "1.5 ms" }, { NS_PER_S, "1 s" }, { 59 * NS_PER_S, "59 s" }, { 60 * NS_PER_S, "1 min 0 s" },
		{ 61 * NS_PER_S, "1 min 1 s" }, { 3600 * NS_PER_S, "1 h 0 min" }, { 7500 * NS_PER_S, "2 h 5 min" },
		{ 86400 * NS_PER_S, "1 d 0 h" }, { 100000 * NS_PER_S, "1 d 3 h" },
	};
	char buf[32];

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++)
		assert_string_equal(text_size(sizes[i].bytes, buf), sizes[i].text);
	for (size_t i = 0; i < ARRAY_SIZE(durations); i++)
		assert_string_equal(text_duration(durations[i].ns, buf), durations[i].text);
}

static void fixed_fields_are_padded_without_terminator(void **state)
{
	char field[8];

	text_pad(field, sizeof(field), "abc", ' ');
	assert_memory_equal(field, "abc     ", 8);
	text_pad(field, sizeof(field), "abcdefghij", ' ');
	assert_memory_equal(field, "abcdefgh", 8);
}

static void slip_of_the_finger_finds_the_name_meant(void **state)
{
	static const char *const names[] = { "bdev_malloc_create", "bdev_malloc_delete", "num_blocks", "name" };

	assert_string_equal(text_nearest("bdev_malloc_craete", names, ARRAY_SIZE(names)), "bdev_malloc_create");
	assert_string_equal(text_nearest("nam", names, ARRAY_SIZE(names)), "name");
	assert_string_equal(text_nearest("numblocks", names, ARRAY_SIZE(names)), "num_blocks");
	assert_string_equal(text_nearest("anme", names, ARRAY_SIZE(names)), "name"); /* one slip, not two */
	assert_null(text_nearest("trtype", names, ARRAY_SIZE(names)));
	assert_null(text_nearest("", names, ARRAY_SIZE(names)));
	assert_null(text_nearest("name", NULL, 0));
}

static void names_of_any_length_are_compared_safely(void **state)
{
	char longest[64], too_long[65];
	const char *names[2] = { too_long, longest };

	memset(longest, 'a', 63);
	longest[63] = 0;
	memset(too_long, 'a', 64);
	too_long[64] = 0;
	assert_ptr_equal(text_nearest(longest, names, 2), longest);
	assert_null(text_nearest(too_long, names, 2));
}

static void prefix_is_told_from_its_neighbours(void **state)
{
	assert_true(text_starts_with("trtype:TCP", "trtype:"));
	assert_true(text_starts_with("x", ""));
	assert_false(text_starts_with("trt", "trtype:"));
	assert_false(text_starts_with("traddr:1", "trtype:"));
}

/* ---- uuid.h ---- */

/* Of the vectors of FNV's authors. */
static void names_have_numbers(void **state)
{
	struct uuid u = uuid_of_name("");
	char buf[UUID_TEXT_MAX];

	assert_string_equal(uuid_to_text(&u, buf), "6c62272e-07bb-0142-62b8-21756295c58d");
	u = uuid_of_name("a");
	assert_string_equal(uuid_to_text(&u, buf), "d228cb69-6f1a-8caf-7891-2b704e4a8964");
}

static void uuid_survives_text_and_back(void **state)
{
	static const char *const bad[] = {
		"", "123e4567-e89b-42d3-a456-42661417400", "123e4567-e89b-42d3-a456-4266141740000",
		"123e4567e89b42d3a456426614174000", "123e4567-e89b-42d3-a456-42661417400g", "{123e4567}",
	};
	struct uuid u;
	char buf[UUID_TEXT_MAX];

	assert_true(uuid_from_text("123E4567-e89b-42d3-a456-426614174000", &u));
	assert_int_equal(u.b[0], 0x12);
	assert_int_equal(u.b[15], 0x00);
	assert_string_equal(uuid_to_text(&u, buf), "123e4567-e89b-42d3-a456-426614174000");
	assert_false(uuid_is_null(&u));
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_false(uuid_from_text(bad[i], &u));
	assert_true(uuid_from_text("00000000-0000-0000-0000-000000000000", &u));
	assert_true(uuid_is_null(&u));
}

static void random_uuid_says_version_4(void **state)
{
	uint8_t random[16];
	struct uuid u;
	char buf[UUID_TEXT_MAX];

	memset(random, 0xff, sizeof(random));
	u = uuid_from_random(random);
	assert_string_equal(uuid_to_text(&u, buf), "ffffffff-ffff-4fff-bfff-ffffffffffff");
	assert_true(uuid_equal(&u, &u));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rounding_survives_the_largest_values),
		cmocka_unit_test(random_numbers_are_splitmix64s),
		cmocka_unit_test(random_numbers_stay_below),
		cmocka_unit_test(memory_is_zeroed_and_aligned),
		cmocka_unit_test(wire_integers_lie_in_their_own_order),
		cmocka_unit_test(crc32c_matches_the_published_vectors),
		cmocka_unit_test(crc32c_of_pieces_is_that_of_the_whole),
		cmocka_unit_test(first_error_stays),
		cmocka_unit_test(error_quoting_anything_stays_one_valid_line),
		cmocka_unit_test(every_value_falls_into_a_bucket_near_it),
		cmocka_unit_test(percentiles_are_within_precision),
		cmocka_unit_test(merged_histograms_equal_one_that_saw_all),
		cmocka_unit_test(list_keeps_order_and_forgets_what_left),
		cmocka_unit_test(queue_is_first_in_first_out),
		cmocka_unit_test(text_is_cut_never_overrun),
		cmocka_unit_test(text_cut_falls_between_characters),
		cmocka_unit_test(sizes_people_type_are_understood),
		cmocka_unit_test(numbers_people_type_are_understood),
		cmocka_unit_test(sizes_and_durations_read_well),
		cmocka_unit_test(fixed_fields_are_padded_without_terminator),
		cmocka_unit_test(slip_of_the_finger_finds_the_name_meant),
		cmocka_unit_test(names_of_any_length_are_compared_safely),
		cmocka_unit_test(prefix_is_told_from_its_neighbours),
		cmocka_unit_test(uuid_survives_text_and_back),
		cmocka_unit_test(names_have_numbers),
		cmocka_unit_test(random_uuid_says_version_4),
	};

	return cmocka_run_group_tests_name("base", tests, NULL, NULL);
}
