/* SPDX-License-Identifier: BSD-3-Clause */
/* keyring_test.c: names, references, and which files are taken for keys. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "keyring/keyring.h"

static char dir[64];

static int make_dir(void **state)
{
	snprintf(dir, sizeof(dir), "/tmp/keyring-test-XXXXXX");
	return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
	return rmdir(dir);
}

static const char *file(const char *name, mode_t mode, size_t len)
{
	static char path[128];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "w");
	assert_non_null(f);
	for (size_t i = 0; i < len; i++)
		fputc("secret"[i % 6], f);
	fclose(f);
	assert_int_equal(chmod(path, mode), 0);
	return path;
}

static void expect_refused(const char *path, int code, const char *says)
{
	struct err e = { 0 };

	assert_int_equal(keyring_file_check(path, &e), code);
	if (!strstr(e.text, says))
		fail_msg("'%s' instead of '%s'", e.text, says);
}

/* Secrets that anybody can read would be used as if they were secret. */
static void files_that_others_can_use_are_refused(void **state)
{
	static const mode_t bad[] = { 0644, 0640, 0604, 0660, 0620, 0602, 0610 }, good[] = { 0600, 0400, 0700 };
	struct err e = { 0 };

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		expect_refused(file("k", bad[i], 6), -EPERM, "chmod 0600 or 0400");
	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		assert_int_equal(keyring_file_check(file("k", good[i], 6), &e), 0);
	expect_refused(file("k", 0600, KEYRING_SECRET_MAX + 1), -EINVAL, "no key has more");
	unlink(file("k", 0600, 6));
	expect_refused("k", -EPERM, "from the root");
	expect_refused(dir, -EINVAL, "not a regular file");
	expect_refused("/nowhere/k", -ENOENT, "No such file");
}

/* The daemon would hang on a pipe for ever. */
static void a_pipe_is_not_waited_for(void **state)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/pipe", dir);
	assert_int_equal(mkfifo(path, 0600), 0);
	expect_refused(path, -EINVAL, "not a regular file");
	unlink(path);
}

/* A file that was exchanged would go on as the old key, or one that others may read by now would go on at all. */
static void a_key_is_read_when_it_is_used(void **state)
{
	struct keyring *k = keyring_make();
	struct err e = { 0 };
	struct keyring_key *key;
	char buf[KEYRING_SECRET_MAX];
	size_t len = 0;

	assert_int_equal(keyring_add_file(k, "a", file("k", 0600, 6), &e), 0);
	key = keyring_get(k, "key", ":a", &e);
	assert_non_null(key);
	assert_int_equal(keyring_key_read(key, buf, sizeof(buf), &len, &e), 0);
	assert_int_equal(len, 6);
	assert_memory_equal(buf, "secret", 6);
	file("k", 0600, 9);
	assert_int_equal(keyring_key_read(key, buf, sizeof(buf), &len, &e), 0);
	assert_int_equal(len, 9);
	file("k", 0644, 9);
	assert_int_equal(keyring_key_read(key, buf, sizeof(buf), &len, &e), -EPERM);
	unlink(key->path);
	keyring_key_unref(key);
	keyring_free(k);
}

/* A host's key would vanish under it, or a configuration could not be loaded again. */
static void a_removed_key_stays_for_who_holds_it(void **state)
{
	struct keyring *k = keyring_make();
	struct err e = { 0 };
	struct keyring_key *held;
	char buf[KEYRING_SECRET_MAX];
	size_t len = 0;

	assert_int_equal(keyring_add_memory(k, "a", "one", &e), 0);
	assert_int_equal(keyring_add_memory(k, "a", "two", &e), -EEXIST);
	e = (struct err){ 0 };
	held = keyring_get(k, "key", "a", &e);
	assert_int_equal(keyring_remove(k, "a", &e), 0);
	assert_null(keyring_get(k, "dhchap_key", "a", &e));
	assert_int_equal(e.code, -ENOENT);
	assert_non_null(strstr(e.text, "dhchap_key: there is no key 'a'"));
	assert_ptr_equal(keyring_at(k, 0), held);
	assert_true(held->removed);
	assert_true(keyring_is_last_of_name(k, held));
	assert_int_equal(keyring_key_read(held, buf, sizeof(buf), &len, &e), 0);
	assert_memory_equal(buf, "one", 3);
	e = (struct err){ 0 };
	assert_int_equal(keyring_add_memory(k, "a", "two", &e), 0);
	assert_false(keyring_is_last_of_name(k, held));
	keyring_key_unref(held);
	assert_false(keyring_at(k, 0)->removed);
	assert_null(keyring_at(k, 1));
	assert_int_equal(keyring_remove(k, "b", &e), -ENOKEY);
	keyring_free(k);
}

static void names_are_checked(void **state)
{
	struct keyring *k = keyring_make();
	char name[KEYRING_NAME_MAX + 2];

	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = 0;
	assert_int_equal(keyring_add_memory(k, "", "x", &(struct err){ 0 }), -EINVAL);
	assert_int_equal(keyring_add_memory(k, ":", "x", &(struct err){ 0 }), -EINVAL);
	assert_int_equal(keyring_add_memory(k, "ring:a", "x", &(struct err){ 0 }), -EINVAL);
	assert_int_equal(keyring_add_memory(k, name, "x", &(struct err){ 0 }), -EINVAL);
	assert_int_equal(keyring_add_memory(k, name + 1, "x", &(struct err){ 0 }), 0);
	keyring_free(k);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(files_that_others_can_use_are_refused),
		cmocka_unit_test(a_pipe_is_not_waited_for),
		cmocka_unit_test(a_key_is_read_when_it_is_used),
		cmocka_unit_test(a_removed_key_stays_for_who_holds_it),
		cmocka_unit_test(names_are_checked),
	};

	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
