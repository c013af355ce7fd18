/* SPDX-License-Identifier: BSD-3-Clause */
/* text.h: text built in a buffer that cannot overflow, and the few parsers people's values need. */
#ifndef BASE_TEXT_H
#define BASE_TEXT_H

#include <stdarg.h>

#include "base/base.h"
#include "base/err.h"

/* A bounded buffer; always NUL terminated; `cut` says that something did not fit. */
struct text {
	char *buf;
	size_t len, cap;
	bool cut;
};

static inline struct text text_over(char *buf, size_t cap)
{
	buf[0] = 0;
	return (struct text){ .buf = buf, .cap = cap };
}

void text_add(struct text *t, const char *fmt, ...) PRINTF(2, 3);
void text_vadd(struct text *t, const char *fmt, va_list ap) PRINTF(2, 0);

/* "4096", "64k", "1.5GiB", "10M": a size in bytes. Errors: sentence in `e`, negative errno. */
int text_parse_size(const char *s, uint64_t *ret_bytes, struct err *e) MUST_USE;
/* Decimal, 0x hexadecimal; the whole string. */
int text_parse_u64(const char *s, uint64_t *ret_value, struct err *e) MUST_USE;
/* "1536" -> "1.5 KiB"; returns buf. */
const char *text_size(uint64_t bytes, char buf[static 32]);
/* "1500000" -> "1.5 ms"; returns buf. */
const char *text_duration(uint64_t ns, char buf[static 32]);
/* Copy at most dst_size bytes and fill the rest with `pad`; NVMe's fixed-size fields. */
void text_pad(void *dst, size_t dst_size, const char *src, char pad);
bool text_starts_with(const char *s, const char *prefix);
/* The name in `names` nearest to what was typed, for "did you mean"; NULL when none is near. */
const char *text_nearest(const char *typed, const char *const *names, size_t count);

#endif
