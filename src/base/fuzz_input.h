/* SPDX-License-Identifier: BSD-3-Clause */
/* fuzz_input.h: a fuzz target's input, taken from its beginning on; behind its end there are zeroes, or nothing.
 * For *_fuzz.c only. */
#ifndef BASE_FUZZ_INPUT_H
#define BASE_FUZZ_INPUT_H

#include "base/base.h"

struct fuzz_input {
	const uint8_t *at;
	size_t left;
};

static inline uint8_t fuzz_byte(struct fuzz_input *in)
{
	if (!in->left)
		return 0;
	in->left--;
	return *in->at++;
}

/* Up to `len` of them; how many there were. */
static inline uint32_t fuzz_bytes(struct fuzz_input *in, void *to, uint32_t len)
{
	len = (uint32_t)min_u64(len, in->left);
	memcpy(to, in->at, len);
	in->at += len;
	in->left -= len;
	return len;
}

#endif
