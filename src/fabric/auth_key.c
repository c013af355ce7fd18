/* SPDX-License-Identifier: BSD-3-Clause */
/* auth_key.c: secrets to and from their text. */
#include "fabric/auth_key.h"

#include <ctype.h>
#include <errno.h>
#include <openssl/crypto.h>
#include <stdio.h>

#include "core/core.h"
#include "fabric/auth_crypt.h"
#include "fabric/secret.h"
#include "wire/nvme_fabrics.h"

#define PREFIX "DHHC-1:"

int fabric_auth_key_parse(const char *name, const char *text, size_t len, struct fabric_auth_key *ret, struct err *e)
{
	size_t head = strlen(PREFIX);

	while (len && isspace((unsigned char)text[len - 1]))
		len--;
	if (len < head || memcmp(text, PREFIX, head))
		return err_set(e, -EINVAL, "key '%s' does not begin with " PREFIX ", as secrets of DH-HMAC-CHAP do; "
		               "nvme gen-dhchap-key makes one", name);
	if (len < head + 3 || text[head] != '0' || text[head + 1] < '0' || text[head + 1] > '3' || text[head + 2] != ':')
		return err_set(e, -EINVAL, "key '%s': " PREFIX " is not followed by 00:, 01:, 02: or 03:, which says how the "
		               "secret is transformed", name);
	if (text[len - 1] != ':' || len == head + 3)
		return err_set(e, -EINVAL, "key '%s' does not end with a colon: is it cut off?", name);
	ret->hash = (uint8_t)(text[head + 1] - '0');
	return fabric_secret_decode(name, text + head + 3, len - head - 4, FABRIC_AUTH_SECRET_MAX, ret->secret, &ret->len,
	                            e);
}

void fabric_auth_key_make(uint8_t hash, struct fabric_auth_key *ret)
{
	ret->hash = hash;
	ret->len = (uint8_t)max_u32(fabric_auth_hash_len(hash), 32);
	core_random(ret->secret, ret->len);
}

void fabric_auth_key_print(const struct fabric_auth_key *key, char text[static FABRIC_AUTH_TEXT_MAX])
{
	char base64[FABRIC_SECRET_BASE64_MAX + 1];

	fabric_secret_encode(key->secret, key->len, base64);
	snprintf(text, FABRIC_AUTH_TEXT_MAX, PREFIX "%02x:%s:", key->hash, base64);
	OPENSSL_cleanse(base64, sizeof(base64));
}

void fabric_auth_key_wipe(struct fabric_auth_key *key)
{
	OPENSSL_cleanse(key, sizeof(*key));
}
