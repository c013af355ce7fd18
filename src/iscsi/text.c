/* SPDX-License-Identifier: BSD-3-Clause */
/* text.c: key=value pairs and their values: gathering, reading, writing. */
#include <stdarg.h>
#include <stdio.h>

#include "iscsi/text.h"

#define TEXT_FIRST 1024u

/* Memory that held secrets is not left behind; a compiler may drop a memset before free. */
static void wipe(void *at, size_t len)
{
	explicit_bzero(at, len);
}

/* More room, at least `need` bytes in all. By hand, not realloc(): what moves is wiped where it was. */
static void grow(char **bytes, uint32_t *cap, uint32_t len, uint32_t need)
{
	uint32_t more = *cap ? *cap : TEXT_FIRST;
	char *to;

	while (more < need)
		more *= 2;
	if (more == *cap)
		return;
	to = base_zalloc(more);
	if (*bytes) {
		memcpy(to, *bytes, len);
		wipe(*bytes, *cap);
		free(*bytes);
	}
	*bytes = to;
	*cap = more;
}

/* --- what came in ---------------------------------------------------------------------------------------------- */

bool iscsi_text_gather(struct iscsi_text_in *in, const void *data, uint32_t len)
{
	assert(in->len <= ISCSI_TEXT_IN_MAX);
	if (len > ISCSI_TEXT_IN_MAX - in->len)
		return false;
	if (len == 0)
		return true;
	grow(&in->bytes, &in->cap, in->len, in->len + len);
	memcpy(in->bytes + in->len, data, len);
	in->len += len;
	return true;
}

static bool is_label_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '.' || c == '-' || c == '+' || c == '@' || c == '_';
}

/* RFC 7143 6.1: a standard-label, or X# and one (public extension keys of RFC 3720). They begin with a capital letter,
 * but for iSCSIProtocolLevel. */
static bool is_key(const char *s, size_t len)
{
	if (len == 0 || len > ISCSI_KEY_MAX || !((s[0] >= 'A' && s[0] <= 'Z') || s[0] == 'i'))
		return false;
	for (size_t i = 1; i < len; i++)
		if (!is_label_char(s[i]) && !(i == 1 && s[0] == 'X' && s[1] == '#'))
			return false;
	return true;
}

/* NULs beyond the one that ends a pair are skipped: some initiators count their padding. */
enum iscsi_text_event iscsi_text_next(struct iscsi_text_in *in, uint32_t *at, struct iscsi_text_pair *ret)
{
	char *pair, *end, *equals;

	while (*at < in->len && !in->bytes[*at])
		++*at;
	if (*at == in->len)
		return ISCSI_TEXT_END;
	pair = in->bytes + *at;
	end = memchr(pair, 0, in->len - *at);
	if (!end)
		return ISCSI_TEXT_BAD;
	equals = memchr(pair, '=', (size_t)(end - pair));
	if (!equals || !is_key(pair, (size_t)(equals - pair)))
		return ISCSI_TEXT_BAD;
	*equals = 0;
	*ret = (struct iscsi_text_pair){ .key = pair, .value = equals + 1 };
	*at = (uint32_t)(end + 1 - in->bytes);
	return ISCSI_TEXT_PAIR;
}

void iscsi_text_forget(struct iscsi_text_in *in)
{
	if (in->bytes)
		wipe(in->bytes, in->cap);
	free(in->bytes);
	*in = (struct iscsi_text_in){ 0 };
}

/* --- values ---------------------------------------------------------------------------------------------------- */

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

static bool has_prefix(const char *s, char letter)
{
	return s[0] == '0' && (s[1] == letter || s[1] == letter - 'a' + 'A');
}

/* A number of which `len` characters are meant. */
static bool number(const char *s, size_t len, uint64_t *ret)
{
	bool hex = len > 2 && has_prefix(s, 'x');
	uint64_t base = hex ? 16 : 10, v = 0;

	if (len == 0 || (!hex && len > 1 && s[0] == '0'))
		return false;
	for (size_t i = hex ? 2 : 0; i < len; i++) {
		int digit = hex_digit(s[i]);

		if (digit < 0 || (uint64_t)digit >= base || v > (UINT64_MAX - (uint64_t)digit) / base)
			return false;
		v = v * base + (uint64_t)digit;
	}
	*ret = v;
	return true;
}

bool iscsi_value_number(const char *s, uint64_t *ret)
{
	return number(s, strlen(s), ret);
}

bool iscsi_value_range(const char *s, uint64_t *ret_from, uint64_t *ret_to)
{
	const char *tilde = strchr(s, '~');
	uint64_t from, to;

	if (!tilde || !number(s, (size_t)(tilde - s), &from) || !number(tilde + 1, strlen(tilde + 1), &to) || from > to)
		return false;
	*ret_from = from;
	*ret_to = to;
	return true;
}

bool iscsi_value_bool(const char *s, bool *ret)
{
	if (strcmp(s, "Yes") && strcmp(s, "No"))
		return false;
	*ret = s[0] == 'Y';
	return true;
}

/* An odd number of digits: the first one is half a byte. */
static bool from_hex(const char *s, uint8_t *buf, uint32_t cap, uint32_t *ret_len)
{
	size_t digits = strlen(s), len = div_up(digits, 2);
	uint32_t value = 0;

	if (digits == 0 || len > cap)
		return false;
	for (size_t i = 0; i < digits; i++) {
		int digit = hex_digit(s[i]);

		if (digit < 0)
			return false;
		value = value << 4 | (uint32_t)digit;
		if ((digits - i) % 2 == 1)
			buf[len - 1 - (digits - i) / 2] = (uint8_t)value;
	}
	*ret_len = (uint32_t)len;
	return true;
}

static int base64_digit(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* RFC 4648: groups of four characters; the last one padded by '='. */
static bool from_base64(const char *s, uint8_t *buf, uint32_t cap, uint32_t *ret_len)
{
	size_t chars = strlen(s), pad = 0, len;
	uint32_t bits = 0, at = 0;

	while (pad < 2 && pad < chars && s[chars - 1 - pad] == '=')
		pad++;
	if (chars == 0 || chars % 4 != 0)
		return false;
	len = chars / 4 * 3 - pad;
	if (len > cap)
		return false;
	for (size_t i = 0; i < chars; i++) {
		int digit = i < chars - pad ? base64_digit(s[i]) : 0;

		if (digit < 0)
			return false;
		bits = bits << 6 | (uint32_t)digit;
		if (i % 4 != 3)
			continue;
		for (int shift = 16; shift >= 0; shift -= 8)
			if (at < len)
				buf[at++] = (uint8_t)(bits >> shift);
			else if (bits >> shift & 0xff)
				return false;
		bits = 0;
	}
	*ret_len = (uint32_t)len;
	return true;
}

bool iscsi_value_binary(const char *s, uint8_t *buf, uint32_t cap, uint32_t *ret_len)
{
	if (has_prefix(s, 'x'))
		return from_hex(s + 2, buf, cap, ret_len);
	if (has_prefix(s, 'b'))
		return from_base64(s + 2, buf, cap, ret_len);
	return false;
}

const char *iscsi_value_item(const char **at, uint32_t *ret_len)
{
	const char *item = *at;
	size_t len;

	if (!item)
		return NULL;
	len = strcspn(item, ",");
	*ret_len = (uint32_t)len;
	*at = item[len] ? item + len + 1 : NULL;
	return item;
}

bool iscsi_value_list_has(const char *list, const char *word)
{
	uint32_t len;

	for (const char *item; (item = iscsi_value_item(&list, &len));)
		if (len == strlen(word) && !memcmp(item, word, len))
			return true;
	return false;
}

/* Bytes of the character at `s`; 0: none that UTF-8 has. */
static uint32_t utf8_size(const uint8_t *s)
{
	uint32_t size = s[0] < 0x80 ? 1 : s[0] >= 0xc2 && s[0] < 0xe0 ? 2 : s[0] >= 0xe0 && s[0] < 0xf0 ? 3 :
	                s[0] >= 0xf0 && s[0] < 0xf5 ? 4 : 0;

	for (uint32_t i = 1; i < size; i++)
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	return size;
}

bool iscsi_value_is_name(const char *s)
{
	const uint8_t *at = (const uint8_t *)s;
	uint32_t size;

	if (!*s || strlen(s) > 223)
		return false;
	for (; *at; at += size) {
		size = utf8_size(at);
		if (!size || *at <= ' ' || *at == 0x7f || *at == ',')
			return false;
	}
	return true;
}

/* --- what goes out --------------------------------------------------------------------------------------------- */

/* Room for `len` more bytes; false: too much, and nothing more is added. */
static bool room(struct iscsi_text_out *out, size_t len)
{
	if (out->cut || len > ISCSI_TEXT_OUT_MAX - out->len) {
		out->cut = true;
		return false;
	}
	grow(&out->bytes, &out->cap, out->len, out->len + (uint32_t)len);
	return true;
}

void iscsi_text_put(struct iscsi_text_out *out, const char *key, const char *fmt, ...)
{
	va_list ap;
	int len;

	va_start(ap, fmt);
	len = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	assert(len >= 0);
	if (len < 0 || !room(out, strlen(key) + 1 + (size_t)len + 1))
		return;
	memcpy(out->bytes + out->len, key, strlen(key));
	out->len += (uint32_t)strlen(key);
	out->bytes[out->len++] = '=';
	va_start(ap, fmt);
	vsnprintf(out->bytes + out->len, (size_t)len + 1, fmt, ap);
	va_end(ap);
	out->len += (uint32_t)len + 1;
}

void iscsi_text_put_number(struct iscsi_text_out *out, const char *key, uint64_t value)
{
	iscsi_text_put(out, key, "%llu", (unsigned long long)value);
}

void iscsi_text_put_binary(struct iscsi_text_out *out, const char *key, const uint8_t *bytes, uint32_t len)
{
	char hex[2 * ISCSI_BINARY_MAX + 1];

	assert(len <= ISCSI_BINARY_MAX);
	for (uint32_t i = 0; i < len; i++)
		snprintf(hex + 2 * i, 3, "%02x", bytes[i]);
	hex[2 * len] = 0;
	iscsi_text_put(out, key, "0x%s", hex);
	wipe(hex, sizeof(hex));
}

const uint8_t *iscsi_text_take(struct iscsi_text_out *out, uint32_t max, uint32_t *ret_len)
{
	const uint8_t *piece = out->bytes ? (const uint8_t *)out->bytes + out->sent : NULL;

	*ret_len = min_u32(max, iscsi_text_left(out));
	out->sent += *ret_len;
	return piece;
}

void iscsi_text_forget_out(struct iscsi_text_out *out)
{
	if (out->bytes)
		wipe(out->bytes, out->cap);
	free(out->bytes);
	*out = (struct iscsi_text_out){ 0 };
}
