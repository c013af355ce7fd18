/* SPDX-License-Identifier: BSD-3-Clause */
/* auth_key.c: secrets to and from their text. */
#include "fabric/auth_key.h"

#include <openssl/crypto.h>

#include "core/core.h"
#include "fabric/auth_crypt.h"
#include "fabric/secret.h"
#include "wire/nvme_fabrics.h"

static const struct fabric_secret_form text_form = {
	.prefix = "DHHC-1:", .what = "secrets of DH-HMAC-CHAP", .made_by = "nvme gen-dhchap-key",
	.hashes = "00:, 01:, 02: or 03:", .last_hash = '3', .max = FABRIC_AUTH_SECRET_MAX,
};

int fabric_auth_key_parse(const char *name, const char *text, size_t len, struct fabric_auth_key *ret, struct err *e)
{
	return fabric_secret_parse(&text_form, name, text, len, &ret->hash, ret->secret, &ret->len, e);
}

void fabric_auth_key_make(uint8_t hash, struct fabric_auth_key *ret)
{
	ret->hash = hash;
	ret->len = (uint8_t)max_u32(fabric_auth_hash_len(hash), 32);
	core_random(ret->secret, ret->len);
}

void fabric_auth_key_print(const struct fabric_auth_key *key, char text[static FABRIC_AUTH_TEXT_MAX])
{
	fabric_secret_print(&text_form, key->hash, key->secret, key->len, text, FABRIC_AUTH_TEXT_MAX);
}

void fabric_auth_key_wipe(struct fabric_auth_key *key)
{
	OPENSSL_cleanse(key, sizeof(*key));
}
