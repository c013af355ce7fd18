/* SPDX-License-Identifier: BSD-3-Clause */
/* pattern.h: bytes that say which slot, generation and word they are, for loads that check what they read. */
#ifndef BASE_PATTERN_H
#define BASE_PATTERN_H

#include "base/base.h"

/* `len`: a multiple of 8. */
void pattern_fill(void *buf, size_t len, uint64_t slot, uint32_t generation);
/* Offset of the first byte that differs; len when none does. */
size_t pattern_check(const void *buf, size_t len, uint64_t slot, uint32_t generation);

#endif
