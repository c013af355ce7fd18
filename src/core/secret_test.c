/* SPDX-License-Identifier: BSD-3-Clause */
/* secret_test.c: where secrets lie. That no dump of a daemon has one: tests/proto/test_secrets.py. */
#include <linux/capability.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/secret.h"

/* A sanitizer's mlock() does nothing. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED true
#elif defined(__has_feature)
#define SANITIZED (__has_feature(address_sanitizer) || __has_feature(thread_sanitizer))
#else
#define SANITIZED false
#endif

/* What users have: who may lock without a limit would never come to it. */
static void lock_as_users_may(void)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct has[_LINUX_CAPABILITY_U32S_3];
	struct rlimit limit;

	must(!syscall(SYS_capget, &head, has));
	has[0].effective &= ~(1u << CAP_IPC_LOCK);
	must(!syscall(SYS_capset, &head, has));
	must(!getrlimit(RLIMIT_MEMLOCK, &limit));
	limit.rlim_cur = min_u64(limit.rlim_max, 8 << 20);
	must(!setrlimit(RLIMIT_MEMLOCK, &limit));
}

/* The flags that the kernel has for the mapping of `p`; false: there is none. */
static bool flags_of(const void *p, char *flags, size_t size)
{
	FILE *f = fopen("/proc/self/smaps", "r");
	unsigned long long from, to;
	char line[512];
	bool in = false, found = false;

	assert_non_null(f);
	while (!found && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%llx-%llx ", &from, &to) == 2)
			in = (uintptr_t)p >= from && (uintptr_t)p < to;
		found = in && !strncmp(line, "VmFlags:", 8);
	}
	fclose(f);
	snprintf(flags, size, "%s", line);
	return found;
}

static bool may_lock(size_t bytes)
{
	struct rlimit limit;

	getrlimit(RLIMIT_MEMLOCK, &limit);
	return limit.rlim_cur >= bytes && !SANITIZED;
}

/* A core dump, or the swap, would have our keys. */
static void secrets_are_kept_from_dumps_and_swap(void **state)
{
	char flags[512];
	char *p = secret_strdup("DHHC-1:00:secret:");

	assert_string_equal(p, "DHHC-1:00:secret:");
	assert_true(flags_of(p, flags, sizeof(flags)));
	assert_non_null(strstr(flags, " dd"));
	if (may_lock(65536))
		assert_non_null(strstr(flags, " lo"));
	secret_free(p);
	secret_free(NULL);
}

/* Who may lock nothing could use no keys. */
static void without_leave_to_lock_it_goes_on(void **state)
{
	struct rlimit was, none = { 0, 0 };
	char flags[512];
	uint8_t *p;

	getrlimit(RLIMIT_MEMLOCK, &was);
	none.rlim_max = was.rlim_max;
	setrlimit(RLIMIT_MEMLOCK, &none);
	p = secret_zalloc(20000);
	setrlimit(RLIMIT_MEMLOCK, &was);
	for (size_t i = 0; i < 20000; i++)
		assert_int_equal(p[i], 0);
	memset(p, 1, 20000);
	assert_int_equal((uintptr_t)p % 64, 0);
	assert_true(flags_of(p, flags, sizeof(flags)));
	assert_null(strstr(flags, " lo"));
	secret_free(p);
}

/* One connection's would be another's, or be found by it; and with a page for each, thousands of connections would have
 * more mappings, and lock more memory, than a process may. */
static void small_ones_have_room_of_their_own(void **state)
{
	static const uint32_t sizes[] = { 48, 1280 };
	static uint8_t *p[1000];

	for (uint32_t round = 0; round < 4; round++) {
		uint32_t bytes = sizes[round % 2], apart = 0;

		for (uint32_t i = 0; i < 1000; i++) {
			p[i] = secret_zalloc(bytes);
			for (uint32_t at = 0; at < bytes; at++)
				assert_int_equal(p[i][at], 0);
			memset(p[i], (int)i, bytes);
			apart += i && (uintptr_t)p[i] / 16384 != (uintptr_t)p[i - 1] / 16384;
		}
		assert_true(apart < 250);
		for (uint32_t i = 0; i < 1000; i++) {
			for (uint32_t at = 0; at < bytes; at++)
				assert_int_equal(p[i][at], (uint8_t)i);
			secret_free(p[i]);
		}
	}
}

/* The keys of a library's objects would be in dumps, or its memory another one's. */
static void a_heap_is_kept_from_dumps(void **state)
{
	static uint8_t *p[2000];
	uint64_t had = 0;
	char flags[512];

	assert_null(secret_heap_alloc(0));
	assert_null(secret_heap_alloc(SIZE_MAX - 8));
	assert_null(secret_heap_realloc(NULL, 0));
	secret_heap_free(NULL);
	for (uint32_t round = 0; round < 3; round++) {
		for (uint32_t i = 0; i < 2000; i++) { /* up to 80 KB: beyond the largest size */
			size_t bytes = 1 + i * 40;

			p[i] = secret_heap_alloc(bytes);
			assert_non_null(p[i]);
			assert_int_equal((uintptr_t)p[i] % 16, 0);
			memset(p[i], (int)i, bytes);
		}
		assert_true(flags_of(p[0], flags, sizeof(flags)) && strstr(flags, " dd"));
		assert_true(flags_of(p[1999], flags, sizeof(flags)) && strstr(flags, " dd"));
		for (uint32_t i = 0; i < 2000; i++) {
			size_t bytes = 1 + i * 40;

			p[i] = secret_heap_realloc(p[i], bytes + 3000);
			memset(p[i] + bytes, (int)i, 3000);
			for (size_t at = 0; at < bytes + 3000; at += 61)
				assert_int_equal(p[i][at], (uint8_t)i);
			p[i] = secret_heap_realloc(p[i], 1);
			assert_int_equal(*p[i], (uint8_t)i);
			secret_heap_free(p[i]);
		}
		if (round == 1)
			had = secret_heap_bytes();
	}
	assert_true(secret_heap_bytes() == had); /* what was given back is used again */
	p[0] = secret_heap_alloc(100);
	memset(p[0], 0x55, 100);
	secret_heap_free(p[0]);
	for (size_t at = 16; at < 100; at++) /* where it is linked before */
		assert_int_equal(p[0][at], 0); /* wiped; it is there still, for the next one */
}

/* The swap would have the keys of a library's objects, and those of all that come after there were more than may be
 * locked; what thousands of connections took would be had for ever. */
static void a_heap_is_locked_and_given_back(void **state)
{
	static void *p[20000];
	uint64_t before = secret_heap_bytes();
	char flags[512];

	for (uint32_t round = 0; round < 2; round++) {
		for (uint32_t i = 0; i < 20000; i++)
			p[i] = secret_heap_alloc(40 + i % 1000);
		assert_true(secret_heap_bytes() > before + (8 << 20));
		if (may_lock(4 << 20)) {
			assert_true(flags_of(p[0], flags, sizeof(flags)));
			assert_non_null(strstr(flags, " lo"));
		}
		for (uint32_t i = round; i < 20000; i += 2) /* in an order in which no chunk is empty until near the end */
			secret_heap_free(p[i]);
		assert_true(secret_heap_bytes() > before + (8 << 20));
		for (uint32_t i = !round; i < 20000; i += 2)
			secret_heap_free(p[i]);
		assert_true(secret_heap_bytes() <= before + (1 << 20));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(secrets_are_kept_from_dumps_and_swap),
		cmocka_unit_test(without_leave_to_lock_it_goes_on),
		cmocka_unit_test(small_ones_have_room_of_their_own),
		cmocka_unit_test(a_heap_is_kept_from_dumps),
		cmocka_unit_test(a_heap_is_locked_and_given_back),
	};

	lock_as_users_may();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
