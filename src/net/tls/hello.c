/* SPDX-License-Identifier: BSD-3-Clause */
/* hello.c: is what a client says first there as a whole? Looked at before anything is spent on it. */
#include "net/tls.h"

#define RECORD_HEADER 5u
#define RECORD_HANDSHAKE 22u
#define MESSAGE_HEADER 4u

bool tls_hello_is_whole(const uint8_t *bytes, size_t len)
{
	uint8_t header[MESSAGE_HEADER];
	size_t got = 0;               /* of the first message, in however many records */

	for (size_t at = 0; at < len;) {
		size_t there, here;

		if (bytes[at] != RECORD_HANDSHAKE)
			return true;          /* no hello: waiting would not make it one */
		if (len - at < RECORD_HEADER)
			return false;
		there = (size_t)(bytes[at + 3] << 8 | bytes[at + 4]);
		at += RECORD_HEADER;
		here = min_u64(there, len - at);
		for (size_t i = 0; i < here && got + i < MESSAGE_HEADER; i++)
			header[got + i] = bytes[at + i];
		got += here;
		if (got >= MESSAGE_HEADER &&
		    got - MESSAGE_HEADER >= ((size_t)header[1] << 16 | (size_t)header[2] << 8 | header[3]))
			return true;
		at += here;
		if (here < there)
			return false;
	}
	return false;
}
