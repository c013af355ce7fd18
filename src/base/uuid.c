/* SPDX-License-Identifier: BSD-3-Clause */
/* uuid.c: 8-4-4-4-12 hexadecimal digits and back. */
#include "base/uuid.h"

#include <ctype.h>

static bool dash_follows(int byte) { return byte == 3 || byte == 5 || byte == 7 || byte == 9; }
static int digit_of(char c);

struct uuid uuid_of_name(const char *name)
{
	const unsigned __int128 prime = (unsigned __int128)1 << 88 | 0x13b;
	unsigned __int128 hash = (unsigned __int128)0x6c62272e07bb0142 << 64 | 0x62b821756295c58d;
	struct uuid u;

	for (; *name; name++)
		hash = (hash ^ (uint8_t)*name) * prime;
	for (int i = 15; i >= 0; i--, hash >>= 8)
		u.b[i] = (uint8_t)hash;
	return u;
}

bool uuid_is_null(const struct uuid *u)
{
	return uuid_equal(u, &(struct uuid){ 0 });
}

bool uuid_equal(const struct uuid *a, const struct uuid *b)
{
	return memcmp(a->b, b->b, sizeof(a->b)) == 0;
}

bool uuid_from_text(const char *text, struct uuid *ret_uuid)
{
	struct uuid u;

	for (int i = 0; i < 16; i++) {
		int high = digit_of(text[0]), low = high < 0 ? -1 : digit_of(text[1]);

		if (low < 0)
			return false;
		u.b[i] = (uint8_t)(high << 4 | low);
		text += 2;
		if (dash_follows(i) && *text++ != '-')
			return false;
	}
	if (*text)
		return false;
	*ret_uuid = u;
	return true;
}

const char *uuid_to_text(const struct uuid *u, char buf[static UUID_TEXT_MAX])
{
	char *at = buf;

	for (int i = 0; i < 16; i++) {
		*at++ = "0123456789abcdef"[u->b[i] >> 4];
		*at++ = "0123456789abcdef"[u->b[i] & 15];
		if (dash_follows(i))
			*at++ = '-';
	}
	*at = 0;
	return buf;
}

struct uuid uuid_from_random(const uint8_t random[static 16])
{
	struct uuid u;

	memcpy(u.b, random, sizeof(u.b));
	u.b[6] = (u.b[6] & 0x0f) | 0x40; /* version 4 */
	u.b[8] = (u.b[8] & 0x3f) | 0x80; /* variant of RFC 4122 */
	return u;
}

static int digit_of(char c)
{
	if (isdigit((unsigned char)c))
		return c - '0';
	return isxdigit((unsigned char)c) ? tolower((unsigned char)c) - 'a' + 10 : -1;
}
