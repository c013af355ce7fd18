/* SPDX-License-Identifier: BSD-3-Clause */
/* stream.c: JSON values out of a stream of bytes, by json-c's incremental tokener.
 *
 * The tokener bounds nesting; bytes and values are counted here: a comma or an opening bracket outside of strings
 * begins at most one more value. UTF-8 is checked here, too: the tokener's check takes a character that is cut by the
 * end of a piece for a broken one.
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
static bool look_at(struct stream *s, const char *bytes, size_t len);
static bool utf8_next(struct stream *s, uint8_t c);
static size_t fail(struct stream *s, size_t taken, struct err *e, const char *cause, const char *remedy);
static bool is_space(char c);

void stream_init(struct stream *s)
{
	*s = (struct stream){ .tokener = json_tokener_new_ex(STREAM_DEPTH_MAX) };
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
		size_t piece = min_u64(len - taken, PIECE_BYTES);
		struct json_object *value;
		enum json_tokener_error error;

		if (s->bytes == 0 && is_space(bytes[taken])) { /* between values there may be any amount */
			taken++;
			continue;
		}
		value = json_tokener_parse_ex(s->tokener, bytes + taken, (int)piece);
		error = json_tokener_get_error(s->tokener);
		if (error == json_tokener_success)
			piece = json_tokener_get_parse_end(s->tokener);
		else if (error == json_tokener_error_depth)
			return fail(s, taken, e, "the request is nested deeper than 31 levels", "no method needs so many");
		else if (error != json_tokener_continue)
			return fail(s, taken, e, json_tokener_error_desc(error), "send strict JSON");
		s->bytes += piece;
		if (s->bytes > STREAM_BYTES_MAX || !look_at(s, bytes + taken, piece) || s->values > STREAM_VALUES_MAX) {
			json_object_put(value);
			return s->bytes > STREAM_BYTES_MAX
			     ? fail(s, taken, e, "the request is longer than 8 MiB", "send several smaller ones")
			     : s->values > STREAM_VALUES_MAX
			     ? fail(s, taken, e, "the request holds more than 262144 values", "send several smaller ones")
			     : fail(s, taken, e, "the request is not UTF-8", "send strict JSON");
		}
		taken += piece;
		if (error == json_tokener_continue)
			continue;
		if (!value)
			return fail(s, taken, e, "null is no request", "send an object or a list of objects");
		*ret_value = value;
		begin_value(s);
		return taken;
	}
	return taken;
}

bool stream_is_inside(const struct stream *s)
{
	return s->bytes > 0;
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
	s->in_string = s->escaped = false;
	s->utf8_left = 0;
}

/* Count values in bytes the tokener has taken. False: not UTF-8. */
static bool look_at(struct stream *s, const char *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		char c = bytes[i];

		if (!utf8_next(s, (uint8_t)c))
			return false;
		if (s->escaped)
			s->escaped = false;
		else if (s->in_string && c == '\\')
			s->escaped = true;
		else if (c == '"')
			s->in_string = !s->in_string;
		else if (!s->in_string && (c == ',' || c == '[' || c == '{'))
			s->values++;
	}
	return true;
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

static size_t fail(struct stream *s, size_t taken, struct err *e, const char *cause, const char *remedy)
{
	s->bad = true;
	err_set(e, RPC_ERR_PARSE, "Parse error: %s; %s", cause, remedy);
	return taken;
}

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}
