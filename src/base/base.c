/* SPDX-License-Identifier: BSD-3-Clause */
/* base.c: what happens when a must() fails or memory ends: one sentence, then the end of the process. */
#include "base/base.h"

#include <stdarg.h>
#include <stdio.h>

/* Written in one piece and unbuffered, so that it is not lost or mixed with another thread's. */
__attribute__((noreturn, cold, format(printf, 1, 2))) static void die(const char *fmt, ...);

void base_must_failed(const char *cond, const char *file, int line, const char *func)
{
	die("gantry: %s:%d: %s: must(%s) does not hold; stopping before data is harmed\n", file, line, func, cond);
}

void *base_zalloc(size_t size)
{
	void *p = calloc(1, size ? size : 1);

	if (!p)
		die("gantry: out of memory: %zu bytes more were needed\n", size);
	return p;
}

void *base_zalloc_aligned(size_t align, size_t size)
{
	void *p;

	assert(is_pow2(align));
	if (align < sizeof(void *))
		align = sizeof(void *);
	if (posix_memalign(&p, align, size ? size : 1) != 0)
		die("gantry: out of memory: %zu bytes more were needed\n", size);
	return memset(p, 0, size);
}

char *base_strdup(const char *s)
{
	size_t size = strlen(s) + 1;

	return memcpy(base_zalloc(size), s, size);
}

static void die(const char *fmt, ...)
{
	char line[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	fputs(line, stderr);
	fflush(stderr);
	abort();
}
