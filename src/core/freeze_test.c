/* SPDX-License-Identifier: BSD-3-Clause */
/* freeze_test.c: what was frozen thaws to the same; anything else is an error with the name of the field. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/freeze.h"

struct thing {
	bool flag;
	uint8_t small;
	uint16_t port;
	uint32_t count;
	uint64_t big;
	uint8_t key[7];
	uint8_t stash[16];
	uint32_t stash_len;
	char name[12];
};

static void thing_freeze(struct freeze *f, struct thing *t)
{
	freeze_bool(f, "flag", &t->flag);
	freeze_u8(f, "small", &t->small);
	freeze_u16(f, "port", &t->port);
	freeze_u32(f, "count", &t->count);
	freeze_u64(f, "big", &t->big);
	freeze_raw(f, "key", t->key, sizeof(t->key));
	freeze_bytes(f, "stash", t->stash, &t->stash_len, sizeof(t->stash));
	freeze_text(f, "name", t->name, sizeof(t->name));
}

static const struct thing sample = {
	.flag = true, .small = 0xfe, .port = 4420, .count = 0xdeadbeef, .big = UINT64_MAX - 1, .key = "secret",
	.stash = "0123456789", .stash_len = 10, .name = "eleven char",
};

static void thaws_to_the_same(void **state)
{
	struct thing in = sample, out = { 0 };
	struct freeze f, t;

	freeze_init(&f);
	thing_freeze(&f, &in);
	assert_true(freeze_ok(&f));
	freeze_init_thaw(&t, f.buf, f.len);
	thing_freeze(&t, &out);
	assert_true(freeze_ok(&t));
	assert_memory_equal(out.stash, in.stash, in.stash_len);
	assert_string_equal(out.name, in.name);
	assert_memory_equal(out.key, in.key, sizeof(in.key));
	assert_true(out.flag == in.flag && out.small == in.small && out.port == in.port && out.count == in.count);
	assert_true(out.big == in.big);
	freeze_fini(&t);
	freeze_fini(&f);
}

/* The stream comes from another process: a cut one must be refused wherever it was cut. */
static void cut_anywhere_is_an_error(void **state)
{
	struct thing in = sample, out;
	struct freeze f, t;

	freeze_init(&f);
	thing_freeze(&f, &in);
	for (size_t len = 0; len < f.len; len++) {
		uint8_t *copy = malloc(len ? len : 1); /* of exact size, for AddressSanitizer */

		memcpy(copy, f.buf, len);
		memset(&out, 0, sizeof(out));
		freeze_init_thaw(&t, copy, len);
		thing_freeze(&t, &out);
		assert_false(freeze_ok(&t));
		freeze_fini(&t);
		free(copy);
	}
	freeze_fini(&f);
}

static void wrong_field_is_named(void **state)
{
	uint32_t v = 1;
	uint8_t shorter;
	bool flag;
	struct freeze f, t;

	freeze_init(&f);
	freeze_u32(&f, "apples", &v);
	freeze_init_thaw(&t, f.buf, f.len);
	freeze_u32(&t, "pears", &v);
	assert_false(freeze_ok(&t));
	assert_non_null(strstr(t.err.text, "\"pears\" is expected but \"apples\" is there"));
	freeze_init_thaw(&t, f.buf, f.len);
	freeze_u8(&t, "apples", &shorter);
	assert_non_null(strstr(t.err.text, "\"apples\" has 4 bytes where 1 to 1 are expected"));
	freeze_init_thaw(&t, f.buf, f.len);
	assert_false(freeze_ok(&t)); /* not all was read */
	freeze_fini(&f);
	freeze_init(&f);
	shorter = 2;
	freeze_u8(&f, "flag", &shorter);
	freeze_init_thaw(&t, f.buf, f.len);
	freeze_bool(&t, "flag", &flag);
	assert_non_null(strstr(t.err.text, "\"flag\" is 2"));
	freeze_fini(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(thaws_to_the_same),
		cmocka_unit_test(cut_anywhere_is_an_error),
		cmocka_unit_test(wrong_field_is_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
