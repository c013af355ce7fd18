/* SPDX-License-Identifier: BSD-3-Clause */
/* journal_test.c: what was acknowledged is there after a crash at any step, and damage is never taken for a crash.
 *
 * A run appends changes and writes anew now and then, over simulated files that end everything at one step; each
 * step is tried, with the process killed and with the power cut. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

#include "core/sim/files.h"
#include "rpc/journal.h"

#define CHANGES 12
#define ANEW_EVERY 5
#define SEEDS 20

struct seen {
	uint64_t last, count;
	bool bad;
};

/* The text of a change follows from its number; some are longer than sectors. */
static size_t text_of(uint64_t number, char *to, size_t size)
{
	int n = snprintf(to, size, "{\"n\":%lu,\"fill\":\"", (unsigned long)number);

	for (uint64_t i = 0; i < number % 4 * 700; i++)
		to[n++] = (char)('a' + (number + i) % 26);
	n += snprintf(to + n, size - (size_t)n, "\"}");
	return (size_t)n;
}

static void see(void *arg, const struct journal_record *r)
{
	struct seen *s = arg;
	char text[4096];
	size_t len = text_of(r->number, text, sizeof(text));

	s->bad |= r->len != len || memcmp(r->text, text, len) != 0;
	s->last = r->number;
	s->count++;
}

static int write_one(struct journal *j, uint64_t first, uint64_t number, bool anew)
{
	static char text[CHANGES + 2][4096];
	struct journal_record records[CHANGES + 2];
	struct err e = { 0 };
	size_t n = 0;

	if (!anew) {
		records[0] = (struct journal_record){ JOURNAL_CHANGE, number, text[0], text_of(number, text[0], 4096) };
		return journal_append(j, &records[0], &e);
	}
	for (uint64_t v = first; v <= number; v++, n++)
		records[n] = (struct journal_record){ v == first ? JOURNAL_SNAPSHOT : JOURNAL_CHANGE, v, text[n],
			text_of(v, text[n], 4096) };
	return journal_write_anew(j, records, n, &e);
}

/* Until everything ends; the number of the last version that was acknowledged. */
static uint64_t run(struct files *f, uint64_t from)
{
	struct seen seen = { 0 };
	struct journal j;
	struct err e = { 0 };
	uint64_t acknowledged = from;

	if (journal_open(&j, f, see, &seen, &e))
		return from;
	for (uint64_t v = from + 1; v <= CHANGES; v++) {
		if (write_one(&j, v > 3 ? v - 3 : 1, v, j.handle < 0 || j.unsure || v % ANEW_EVERY == 0))
			break;
		acknowledged = v;
	}
	journal_close(&j);
	return acknowledged;
}

static void crash_at_every_step(void **state)
{
	struct files *f = files_sim_make(1);
	uint64_t steps;

	assert_int_equal(run(f, 0), CHANGES);
	steps = files_sim_steps(f);
	files_free(f);
	assert_true(steps > 3 * CHANGES / 2);
	for (uint64_t cut = 0; cut < steps; cut++) {
		for (uint64_t seed = 0; seed < SEEDS; seed++) {
			enum files_crash how = seed % 2 ? FILES_POWER_CUT : FILES_KILLED;
			struct files *files = files_sim_make(seed + 1);
			struct seen seen = { 0 };
			struct journal j;
			struct err e = { 0 };
			uint64_t acknowledged;

			files_sim_cut(files, cut);
			acknowledged = run(files, 0);
			files_sim_crash(files, how);
			if (journal_open(&j, files, see, &seen, &e))
				fail_msg("step %lu, seed %lu: %s", (unsigned long)cut, (unsigned long)seed, e.text);
			journal_close(&j);
			assert_false(seen.bad);
			assert_true(seen.last == acknowledged || seen.last == acknowledged + 1);
			files_sim_crash(files, FILES_KILLED); /* unlocks */
			assert_int_equal(run(files, seen.last), CHANGES); /* and it goes on from there */
			files_free(files);
		}
	}
}

static struct files *written(size_t *ret_len, char **ret_bytes)
{
	struct files *f = files_sim_make(1);

	run(f, 0);
	*ret_bytes = files_sim_bytes(f, JOURNAL_FILE, ret_len);
	return f;
}

static void every_flipped_bit_is_found(void **state)
{
	size_t len, end;
	char *bytes;
	struct files *f = written(&len, &bytes);

	for (size_t i = 0; i < len; i++) {
		for (int bit = 0; bit < 8; bit++) {
			struct seen seen = { 0 };
			struct err e = { 0 };

			bytes[i] ^= (char)(1 << bit);
			if (bytes[i]) /* a zero is what a crash leaves */
				assert_true(journal_read(bytes, len, "state", see, &seen, &end, &e) < 0 && seen.count == 0 &&
				        e.text[0]);
			bytes[i] ^= (char)(1 << bit);
		}
	}
	files_free(f);
}

static void every_cut_gives_whole_records(void **state)
{
	size_t len, end;
	char *bytes;
	struct files *f = written(&len, &bytes);

	for (size_t cut = 0; cut < len; cut++) {
		struct seen seen = { 0 };
		struct err e = { 0 };
		int rc = journal_read(bytes, cut, "state", see, &seen, &end, &e);

		assert_true(rc < 0 ? seen.count == 0 : !seen.bad && seen.count >= 1 && end <= cut);
	}
	files_free(f);
}

static void sentences(void **state)
{
	struct files *f;
	struct journal j, other;
	struct err e = { 0 };
	struct seen seen = { 0 };
	size_t len, end;
	char *bytes;

	assert_true(journal_read("gantry-state 2\n", 15, "/d/state", see, &seen, &end, &e) < 0);
	assert_non_null(strstr(e.text, "newer version"));
	e = (struct err){ 0 };
	assert_true(journal_read("{}", 2, "/d/state", see, &seen, &end, &e) < 0);
	assert_non_null(strstr(e.text, "does not begin"));
	e = (struct err){ 0 };
	f = written(&len, &bytes);
	bytes[len - 30] ^= 1;
	assert_true(journal_read(bytes, len, "/d/state", see, &seen, &end, &e) < 0);
	assert_non_null(strstr(e.text, "/d/state is damaged at byte"));
	assert_non_null(strstr(e.text, "truncate -s"));
	bytes[len - 30] ^= 1;
	e = (struct err){ 0 };
	files_sim_crash(f, FILES_KILLED);
	assert_int_equal(journal_open(&j, f, see, &seen, &e), 0);
	assert_true(journal_open(&other, f, see, &seen, &e) < 0);
	assert_non_null(strstr(e.text, "in use by process 1"));
	journal_close(&j);
	files_free(f);
}

static void a_full_disk_loses_nothing(void **state)
{
	struct files *f = files_sim_make(3);
	struct seen seen = { 0 };
	struct journal j;
	struct err e = { 0 };

	assert_int_equal(journal_open(&j, f, see, &seen, &e), 0);
	assert_int_equal(write_one(&j, 1, 1, true), 0);
	assert_int_equal(write_one(&j, 1, 2, false), 0);
	files_sim_fail(f, -28);
	assert_int_equal(write_one(&j, 1, 3, false), -28);
	assert_true(j.unsure);
	assert_int_equal(write_one(&j, 1, 3, true), -28);
	files_sim_fail(f, 0);
	assert_int_equal(write_one(&j, 1, 3, true), 0);
	journal_close(&j);
	files_sim_crash(f, FILES_POWER_CUT);
	assert_int_equal(journal_open(&j, f, see, &seen, &e), 0);
	assert_int_equal(seen.last, 3);
	assert_false(seen.bad);
	journal_close(&j);
	files_free(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(crash_at_every_step), cmocka_unit_test(every_flipped_bit_is_found),
		cmocka_unit_test(every_cut_gives_whole_records), cmocka_unit_test(sentences),
		cmocka_unit_test(a_full_disk_loses_nothing),
	};

	return cmocka_run_group_tests_name("journal", tests, NULL, NULL);
}
