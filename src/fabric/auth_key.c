/* SPDX-License-Identifier: BSD-3-Clause */
/* auth_key.c: secrets to and from their text. */
#include "fabric/auth_key.h"

#include <ctype.h>
#include <errno.h>
#include <isa-l/crc.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdio.h>

#include "core/core.h"
#include "fabric/auth_crypt.h"
#include "wire/nvme_fabrics.h"

#define PREFIX "DHHC-1:"
#define CRC_SIZE 4u
#define BASE64_MAX 92u /* of 64 bytes and the CRC */

static int decode(const char *name, const char *base64, size_t len, struct fabric_auth_key *ret, struct err *e);

static bool is_base64(char c)
{
	return isalnum((unsigned char)c) || c == '+' || c == '/';
}

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
	return decode(name, text + head + 3, len - head - 4, ret, e);
}

static int decode(const char *name, const char *base64, size_t len, struct fabric_auth_key *ret, struct err *e)
{
	uint8_t bytes[BASE64_MAX / 4 * 3];
	size_t pads = 0, got;
	uint32_t crc;
	int rc = 0;

	if (len != 48 && len != 72 && len != BASE64_MAX)
		return err_set(e, -EINVAL, "key '%s' holds %zu characters of base64; secrets of 32, 48 and 64 bytes have "
		               "48, 72 and 92", name, len);
	while (pads < 2 && base64[len - pads - 1] == '=')
		pads++;
	for (size_t i = 0; i < len - pads; i++)
		if (!is_base64(base64[i]))
			return err_set(e, -EINVAL, "key '%s': character %zu of its base64 is not one of base64's", name, i + 1);
	if (EVP_DecodeBlock(bytes, (const uint8_t *)base64, (int)len) < 0)
		rc = err_set(e, -EINVAL, "key '%s' is not valid base64", name);
	got = len / 4 * 3 - pads;
	if (!rc && got != 32 + CRC_SIZE && got != 48 + CRC_SIZE && got != 64 + CRC_SIZE)
		rc = err_set(e, -EINVAL, "key '%s' has a secret of %zu bytes; 32, 48 and 64 are possible", name,
		             got - CRC_SIZE);
	if (!rc) {
		ret->len = (uint8_t)(got - CRC_SIZE);
		crc = crc32_gzip_refl(0, bytes, ret->len);
		memcpy(ret->secret, bytes, ret->len);
		if (memcmp(&crc, bytes + ret->len, sizeof(crc)))
			rc = err_set(e, -EINVAL, "key '%s' has a wrong checksum: a character was mistyped", name);
	}
	if (rc)
		fabric_auth_key_wipe(ret);
	OPENSSL_cleanse(bytes, sizeof(bytes));
	return rc;
}

void fabric_auth_key_make(uint8_t hash, struct fabric_auth_key *ret)
{
	ret->hash = hash;
	ret->len = (uint8_t)max_u32(fabric_auth_hash_len(hash), 32);
	core_random(ret->secret, ret->len);
}

void fabric_auth_key_print(const struct fabric_auth_key *key, char text[static FABRIC_AUTH_TEXT_MAX])
{
	uint8_t bytes[FABRIC_AUTH_SECRET_MAX + CRC_SIZE];
	char base64[BASE64_MAX + 1];
	uint32_t crc = crc32_gzip_refl(0, key->secret, key->len);

	memcpy(bytes, key->secret, key->len);
	memcpy(bytes + key->len, &crc, sizeof(crc));
	EVP_EncodeBlock((uint8_t *)base64, bytes, key->len + (int)CRC_SIZE);
	snprintf(text, FABRIC_AUTH_TEXT_MAX, PREFIX "%02x:%s:", key->hash, base64);
	OPENSSL_cleanse(bytes, sizeof(bytes));
	OPENSSL_cleanse(base64, sizeof(base64));
}

void fabric_auth_key_wipe(struct fabric_auth_key *key)
{
	OPENSSL_cleanse(key, sizeof(*key));
}
