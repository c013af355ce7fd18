/* SPDX-License-Identifier: BSD-3-Clause */
/* uuid.h: UUIDs as text and bytes. Random bytes come from the caller: core owns randomness. */
#ifndef BASE_UUID_H
#define BASE_UUID_H

#include "base/base.h"

struct uuid {
	uint8_t b[16];
};

#define UUID_TEXT_MAX 37

bool uuid_is_null(const struct uuid *u);
bool uuid_equal(const struct uuid *a, const struct uuid *b);
/* False when the text is not a UUID. */
bool uuid_from_text(const char *text, struct uuid *ret_uuid) MUST_USE;
const char *uuid_to_text(const struct uuid *u, char buf[static UUID_TEXT_MAX]);
/* Version 4 from 16 random bytes. */
struct uuid uuid_from_random(const uint8_t random[static 16]);
/* 128 bits that stand for a name among others (FNV-1a); no protection from who looks for two that are alike. */
struct uuid uuid_of_name(const char *name);

#endif
