/* SPDX-License-Identifier: BSD-3-Clause */
/* stream.h: JSON values out of a stream of bytes, cut anywhere. Private to rpc.
 *
 * Clients send requests one after the other, without framing. Each value is bounded: bytes, nesting, and how many
 * values it holds, so that no input can make the parser take much memory.
 */
#ifndef RPC_STREAM_H
#define RPC_STREAM_H

#include <json-c/json.h>

#include "base/err.h"

#define STREAM_BYTES_MAX (8u << 20)    /* of one value */
#define STREAM_VALUES_MAX (256u << 10) /* in one value; json-c takes some 70 bytes for each */
#define STREAM_DEPTH_MAX 32            /* of nesting */

struct stream {
	struct json_tokener *tokener;
	size_t bytes_max, values_max;  /* may be changed after stream_init() */
	size_t bytes, values;          /* of the value being read */
	size_t error_at;               /* where in the value, after an error */
	bool in_string, escaped;
	bool negative, fraction;       /* of a number, with its digits so far */
	uint64_t digits;
	uint8_t utf8_left, utf8_low, utf8_high; /* bytes that a character still needs, and what the next may be */
	bool bad;                      /* an error came: there is no place from which to go on */
};

void stream_init(struct stream *s);
void stream_fini(struct stream *s);

/* Take bytes up to the end of the next value.
 *
 * Then:   returns how many bytes were taken (all of them unless a value ended). *ret_value is the value, the caller's
 *         now, or NULL when more bytes are needed.
 * Errors: sentence in `e` (RPC_ERR_PARSE); the stream stays bad.
 */
size_t stream_take(struct stream *s, const char *bytes, size_t len, struct json_object **ret_value, struct err *e);
#endif
