/* SPDX-License-Identifier: BSD-3-Clause */
/* stream.c: JSON values out of a stream of bytes, by json-c's incremental tokener.
 *
 * The tokener bounds nesting. Here everything is looked at which it does not: bytes and values are counted (a comma or
 * an opening bracket outside of strings begins at most one more value); single quotes and NaN, which it takes, are
 * refused; so are numbers beyond 64 bits, which it makes smaller without a word, and what is not UTF-8, which it
 * cannot tell from a character cut by the end of a piece.
 */
#include "rpc/stream.h"

#include "rpc/rpc.h"

/* Strict JSON, but another value may follow. */
#define TOKENER_FLAGS (JSON_TOKENER_STRICT | JSON_TOKENER_ALLOW_TRAILING_CHARS)
/* Bytes the tokener is given at once: how far it may get before limits are looked at. */
#define PIECE_BYTES 16384
/* A tokener that held a longer value than this is replaced, for it never gives memory back. */
#define KEEP_BYTES 65536

static void begin_value(struct stream *s);
static const char *look_at(struct stream *s, const char *bytes, size_t len, size_t *ret_at);
static bool number_next(struct stream *s, char c);
static bool utf8_next(struct stream *s, uint8_t c);
static size_t fail(struct stream *s, size_t taken, struct err *e, const char *cause);

void stream_init(struct stream *s)
{
	*s = (struct stream){ .tokener = json_tokener_new_ex(STREAM_DEPTH_MAX), .bytes_max = STREAM_BYTES_MAX,
		.values_max = STREAM_VALUES_MAX };
	must(s->tokener);
	begin_value(s);
}

void stream_fini(struct stream *s)
{
	json_tokener_free(s->tokener);
	s->tokener = NULL;
}

size_t stream_take(struct stream *s, const char *bytes, size_t len, struct json_object **ret_value, struct err *e)
{
	size_t taken = 0;

	assert(!s->bad);
	*ret_value = NULL;
	while (taken < len) {
		size_t piece = min_u64(len - taken, PIECE_BYTES), at;
		struct json_object *value;
		enum json_tokener_error error;
		const char *wrong;

		if (s->bytes == 0 && strchr(" \t\r\n", bytes[taken]) && bytes[taken]) { /* between values: any amount */
			taken++;
			continue;
		}
		value = json_tokener_parse_ex(s->tokener, bytes + taken, (int)piece);
		error = json_tokener_get_error(s->tokener);
		at = json_tokener_get_parse_end(s->tokener);
		if (error == json_tokener_success)
			piece = at;
		s->error_at = s->bytes + at;
		if (error == json_tokener_error_depth)
			return fail(s, taken, e, "it is nested deeper than 31 levels");
		if (error != json_tokener_success && error != json_tokener_continue)
			return fail(s, taken, e, json_tokener_error_desc(error));
		wrong = look_at(s, bytes + taken, piece, &at);
		s->error_at = s->bytes + at;
		s->bytes += piece;
		if (!wrong && error == json_tokener_success && !value)
			wrong = "null is no request";
		if (wrong) {
			json_object_put(value);
			return fail(s, taken, e, wrong);
		}
		taken += piece;
		if (error == json_tokener_success) {
			*ret_value = value;
			begin_value(s);
			return taken;
		}
	}
	return taken;
}

static void begin_value(struct stream *s)
{
	if (s->bytes > KEEP_BYTES) {
		json_tokener_free(s->tokener);
		s->tokener = json_tokener_new_ex(STREAM_DEPTH_MAX);
		must(s->tokener);
	}
	json_tokener_reset(s->tokener);
	json_tokener_set_flags(s->tokener, TOKENER_FLAGS);
	s->bytes = s->values = 0;
	s->in_string = s->escaped = s->negative = s->fraction = false;
	s->digits = 0;
	s->utf8_left = 0;
}

/* Bytes that the tokener has taken. Returns what is wrong with them, and where; NULL: nothing. */
static const char *look_at(struct stream *s, const char *bytes, size_t len, size_t *ret_at)
{
	for (size_t i = 0; i < len; i++) {
		char c = bytes[i];

		*ret_at = i;
		if (!utf8_next(s, (uint8_t)c))
			return "it is not UTF-8";
		if (s->bytes + i >= s->bytes_max)
			return "it is longer than 8 MiB";
		if (s->escaped) {
			s->escaped = false;
		} else if (s->in_string) {
			s->escaped = c == '\\';
			s->in_string = c != '"';
		} else {
			if (!number_next(s, c))
				return "a number needs more than 64 bits";
			if (c == '\'' || c == 'N' || c == 'I')
				return "single quotes, NaN and Infinity are not JSON";
			s->in_string = c == '"';
			s->values += c == ',' || c == '[' || c == '{';
		}
		if (s->values > s->values_max)
			return "it holds more than 262144 values";
	}
	return NULL;
}

/* Digits before a point or exponent, which make a number whole. False: more than 64 bits, or 63 and a sign. */
static bool number_next(struct stream *s, char c)
{
	if (c < '0' || c > '9') {
		s->fraction = c == '.' || c == 'e' || c == 'E' || (s->fraction && (c == '+' || c == '-'));
		s->negative = c == '-';
		s->digits = 0;
		return true;
	}
	if (s->fraction)
		return true;
	if (__builtin_mul_overflow(s->digits, 10, &s->digits) ||
	    __builtin_add_overflow(s->digits, (uint64_t)(c - '0'), &s->digits))
		return false;
	return !s->negative || s->digits <= (uint64_t)INT64_MAX + 1;
}

/* No overlong forms, no surrogates, nothing beyond U+10FFFF: the limits of a character's second byte see to it. */
static bool utf8_next(struct stream *s, uint8_t c)
{
	if (s->utf8_left) {
		if (c < s->utf8_low || c > s->utf8_high)
			return false;
		s->utf8_left--;
		s->utf8_low = 0x80;
		s->utf8_high = 0xbf;
		return true;
	}
	if (c < 0x80)
		return true;
	if (c < 0xc2 || c > 0xf4)
		return false;
	s->utf8_left = c < 0xe0 ? 1 : c < 0xf0 ? 2 : 3;
	s->utf8_low = c == 0xe0 ? 0xa0 : c == 0xf0 ? 0x90 : 0x80;
	s->utf8_high = c == 0xed ? 0x9f : c == 0xf4 ? 0x8f : 0xbf;
	return true;
}

static size_t fail(struct stream *s, size_t taken, struct err *e, const char *cause)
{
	s->bad = true;
	err_set(e, RPC_ERR_PARSE, "Parse error: %s", cause);
	return taken;
}
