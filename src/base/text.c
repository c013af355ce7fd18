/* SPDX-License-Identifier: BSD-3-Clause */
/* text.c: building text, and reading the numbers, sizes and names that people type. */
#include "base/text.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>

/* Longer words are not compared; no name of ours comes near. */
#define NEAREST_LEN_MAX 63

static size_t whole_characters(const char *s, size_t len);
static bool parse_digits(const char **s, unsigned base, uint64_t *ret_value);
static bool parse_fraction(const char **s, double *ret_fraction);
static int unit_shift(const char *unit);
static const char *skip_spaces(const char *s);
static unsigned edit_distance(const char *a, const char *b);

void text_add(struct text *t, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	text_vadd(t, fmt, ap);
	va_end(ap);
}

void text_vadd(struct text *t, const char *fmt, va_list ap)
{
	size_t room = t->cap - t->len;
	int len;

	assert(t->len < t->cap);
	if (t->cut)
		return;
	len = vsnprintf(t->buf + t->len, room, fmt, ap);
	assert(len >= 0);
	t->cut = (size_t)len >= room;
	t->len = t->cut ? whole_characters(t->buf, t->cap - 1) : t->len + (size_t)len;
	t->buf[t->len] = 0;
}

void text_end_with(struct text *t, const char *mark)
{
	size_t mark_len = strlen(mark);

	assert(mark_len < t->cap);
	if (t->len + mark_len > t->cap - 1)
		t->len = whole_characters(t->buf, t->cap - 1 - mark_len);
	memcpy(t->buf + t->len, mark, mark_len + 1);
	t->len += mark_len;
}

/* The cut may have gone through a UTF-8 character, and what followed is lost: drop the last one if it is
 * longer than a byte. */
static size_t whole_characters(const char *s, size_t len)
{
	while (len > 0 && ((unsigned char)s[len - 1] & 0xc0) == 0x80)
		len--;
	return len > 0 && (unsigned char)s[len - 1] >= 0xc0 ? len - 1 : len;
}

int text_parse_size(const char *s, uint64_t *ret_bytes, struct err *e)
{
	const char *at = s;
	uint64_t whole, part;
	double fraction = 0;
	bool has_fraction;
	int shift;

	if (!parse_digits(&at, 10, &whole))
		goto bad;
	has_fraction = *at == '.';
	if (has_fraction && !parse_fraction(&at, &fraction))
		goto bad;
	shift = unit_shift(skip_spaces(at));
	if (shift < 0 || (has_fraction && shift == 0))
		goto bad;
	if (whole > UINT64_MAX >> shift)
		return err_set(e, ERR_BAD_PARAM, "\"%s\" is more than 64 bits can count", s);
	/* Less than one unit, even where many nines round up to 1: or the sum might wrap. */
	part = min_u64((uint64_t)(fraction * (double)(1ull << shift)), (1ull << shift) - 1);
	*ret_bytes = (whole << shift) + part;
	return 0;
bad:
	return err_set(e, ERR_BAD_PARAM, "\"%s\" is not a size: write bytes, or a unit as in 64k, 1.5GiB, 2T", s);
}

int text_parse_u64(const char *s, uint64_t *ret_value, struct err *e)
{
	bool hex = s[0] == '0' && (s[1] == 'x' || s[1] == 'X');
	const char *at = hex ? s + 2 : s;
	uint64_t value;

	if (!parse_digits(&at, hex ? 16 : 10, &value) || *at)
		return err_set(e, ERR_BAD_PARAM,
		               "\"%s\" is not a number: write up to 64 bits in decimal or as 0x and hexadecimal", s);
	*ret_value = value;
	return 0;
}

const char *text_size(uint64_t bytes, char buf[static 32])
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
	uint64_t whole = bytes, tenths = 0;
	unsigned unit = 0;

	/* Rounded to tenths of the unit, and never "1024.0". */
	while (whole >= 1024) {
		unsigned shift = 10 * ++unit;
		uint64_t rest = bytes & ((1ull << shift) - 1);

		whole = bytes >> shift;
		tenths = ((rest >> (shift - 10)) * 10 + 512) >> 10;
		whole += tenths / 10;
		tenths %= 10;
	}
	if (tenths)
		snprintf(buf, 32, "%u.%u %s", (unsigned)whole, (unsigned)tenths, units[unit]);
	else
		snprintf(buf, 32, "%u %s", (unsigned)whole, units[unit]);
	return buf;
}

const char *text_duration(uint64_t ns, char buf[static 32])
{
	uint64_t s = ns / NS_PER_S;

	if (ns < NS_PER_US)
		snprintf(buf, 32, "%u ns", (unsigned)ns);
	else if (ns < NS_PER_MS)
		snprintf(buf, 32, "%.4g us", (double)ns / NS_PER_US);
	else if (ns < NS_PER_S)
		snprintf(buf, 32, "%.4g ms", (double)ns / NS_PER_MS);
	else if (s < 60)
		snprintf(buf, 32, "%.4g s", (double)ns / NS_PER_S);
	else if (s < 3600)
		snprintf(buf, 32, "%u min %u s", (unsigned)(s / 60), (unsigned)(s % 60));
	else if (s < 86400)
		snprintf(buf, 32, "%u h %u min", (unsigned)(s / 3600), (unsigned)(s / 60 % 60));
	else
		snprintf(buf, 32, "%u d %u h", (unsigned)(s / 86400), (unsigned)(s / 3600 % 24));
	return buf;
}

void text_pad(void *dst, size_t dst_size, const char *src, char pad)
{
	size_t len = strnlen(src, dst_size);

	memcpy(dst, src, len);
	memset((char *)dst + len, pad, dst_size - len);
}

bool text_starts_with(const char *s, const char *prefix)
{
	return strncmp(s, prefix, strlen(prefix)) == 0;
}

const char *text_nearest(const char *typed, const char *const *names, size_t count)
{
	const char *nearest = NULL;
	unsigned least = 0;

	if (strlen(typed) > NEAREST_LEN_MAX)
		return NULL;
	for (size_t i = 0; i < count; i++) {
		unsigned distance, near = 1 + (unsigned)strlen(names[i]) / 5;

		if (strlen(names[i]) > NEAREST_LEN_MAX)
			continue;
		distance = edit_distance(typed, names[i]);
		if (distance <= near && (!nearest || distance < least)) {
			nearest = names[i];
			least = distance;
		}
	}
	return nearest;
}

/* At least one digit, and no more than fit; *s moves behind them. */
static bool parse_digits(const char **s, unsigned base, uint64_t *ret_value)
{
	const char *at = *s;
	uint64_t value = 0;

	for (; isxdigit((unsigned char)*at); at++) {
		unsigned digit = isdigit((unsigned char)*at) ? (unsigned)(*at - '0')
		                                             : (unsigned)(tolower((unsigned char)*at) - 'a' + 10);

		if (digit >= base)
			break; /* a unit such as B or E */
		if (__builtin_mul_overflow(value, base, &value) || __builtin_add_overflow(value, digit, &value))
			return false;
	}
	if (at == *s)
		return false;
	*s = at;
	*ret_value = value;
	return true;
}

/* ".5": a dot and at least one digit. */
static bool parse_fraction(const char **s, double *ret_fraction)
{
	const char *at = *s + 1;
	double fraction = 0, place = 1;

	assert(**s == '.');
	for (; isdigit((unsigned char)*at); at++)
		fraction += (*at - '0') * (place /= 10);
	if (at == *s + 1)
		return false;
	*s = at;
	*ret_fraction = fraction;
	return true;
}

/* "", "B", "k", "KB", "KiB" and so on up to E; -1 when it is none of these. */
static int unit_shift(const char *unit)
{
	static const char letters[] = "KMGTPE";
	int shift = 0;

	if (*unit) {
		const char *letter = strchr(letters, toupper((unsigned char)*unit));

		if (letter) {
			shift = 10 * (int)(letter - letters + 1);
			unit++;
			if (unit[0] == 'i' && unit[1] == 'B')
				unit++;
		}
		if (*unit == 'B')
			unit++;
	}
	return *unit ? -1 : shift;
}

static const char *skip_spaces(const char *s)
{
	return s + strspn(s, " ");
}

/* Letters to insert, remove or replace to make `a` into `b`, two neighbours in the wrong order counting as one. */
static unsigned edit_distance(const char *a, const char *b)
{
	/* Rows of the usual table: the one being filled, the one before and the one before that. */
	unsigned rows[3][NEAREST_LEN_MAX + 1];
	size_t b_len = strlen(b);

	for (size_t j = 0; j <= b_len; j++)
		rows[0][j] = (unsigned)j;
	for (size_t i = 1; a[i - 1]; i++) {
		unsigned *row = rows[i % 3], *before = rows[(i + 2) % 3], *before2 = rows[(i + 1) % 3];

		row[0] = (unsigned)i;
		for (size_t j = 1; j <= b_len; j++) {
			unsigned best = min_u32(row[j - 1], before[j]) + 1;

			best = min_u32(best, before[j - 1] + (a[i - 1] != b[j - 1]));
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
				best = min_u32(best, before2[j - 2] + 1);
			row[j] = best;
		}
	}
	return rows[strlen(a) % 3][b_len];
}

/* Length of the character at `s`; 0: it is none. Surrogates and overlong forms are none. */
static uint32_t utf8_len(const uint8_t *s)
{
	uint32_t len = s[0] < 0x80 ? 1 : s[0] >= 0xc2 && s[0] < 0xe0 ? 2 : s[0] >= 0xe0 && s[0] < 0xf0 ? 3 :
	               s[0] >= 0xf0 && s[0] < 0xf5 ? 4 : 0;

	for (uint32_t i = 1; i < len; i++)
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] >= 0xa0) || (s[0] == 0xf0 && s[1] < 0x90) ||
	    (s[0] == 0xf4 && s[1] >= 0x90))
		return 0;
	return len;
}

void text_add_utf8(struct text *t, const char *s)
{
	while (*s) {
		uint32_t len = utf8_len((const uint8_t *)s);

		text_add(t, "%.*s", len ? (int)len : 1, len ? s : "?");
		s += len ? len : 1;
	}
}
