/* SPDX-License-Identifier: BSD-3-Clause */
/* text.h: text built in a buffer that cannot overflow, and the few parsers people's values need. */
#ifndef BASE_TEXT_H
#define BASE_TEXT_H

#include <stdarg.h>

#include "base/base.h"
#include "base/err.h"

/* A bounded buffer; always NUL terminated; `cut` says that something did not fit, and that nothing more is
 * added. A cut falls between characters, so that UTF-8 stays valid. */
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
/* Bytes from elsewhere: what is no UTF-8 becomes '?'. */
void text_add_utf8(struct text *t, const char *s);
void text_vadd(struct text *t, const char *fmt, va_list ap) PRINTF(2, 0);
/* Make room at the end for `mark`, such as "...", and add it: shows a reader that text is missing. */
void text_end_with(struct text *t, const char *mark);

/* "4096", "64k", "1.5GiB", "10 MB": a size in bytes; every unit is a power of 1024. A unit's fraction is cut
 * to whole bytes. Errors: ERR_BAD_PARAM with a sentence that quotes the value. */
int text_parse_size(const char *s, uint64_t *ret_bytes, struct err *e) MUST_USE;
/* Decimal, 0x hexadecimal; the whole string. Errors: as above. */
int text_parse_u64(const char *s, uint64_t *ret_value, struct err *e) MUST_USE;
/* 1536 -> "1.5 KiB"; returns buf. text_parse_size() reads it back. */
const char *text_size(uint64_t bytes, char buf[static 32]);
/* 1500000 -> "1.5 ms", 7500 s -> "2 h 5 min"; returns buf. */
const char *text_duration(uint64_t ns, char buf[static 32]);
/* Copy at most dst_size bytes and fill the rest with `pad`; NVMe's fixed-size fields. */
void text_pad(void *dst, size_t dst_size, const char *src, char pad);
bool text_starts_with(const char *s, const char *prefix);
/* The name in `names` nearest to what was typed, for "did you mean"; NULL when none is near. */
const char *text_nearest(const char *typed, const char *const *names, size_t count);

#endif
