/* SPDX-License-Identifier: BSD-3-Clause */
/* secret.c: secrets with a checksum, to and from their text. */
#include "fabric/secret.h"

#include <ctype.h>
#include <errno.h>
#include <isa-l/crc.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdio.h>

#define CRC_SIZE 4u
#define LARGEST 64u
#define BASE64_MAX 92u /* of 64 bytes and the CRC */

static bool is_base64(char c)
{
	return isalnum((unsigned char)c) || c == '+' || c == '/';
}

static int decode(const char *name, const char *base64, size_t len, uint8_t max, uint8_t *ret, uint8_t *ret_len,
                  struct err *e)
{
	const char *lengths = max < LARGEST ? "32 and 48 bytes have 48 and 72" : "32, 48 and 64 bytes have 48, 72 and 92";
	uint8_t bytes[BASE64_MAX / 4 * 3];
	size_t pads = 0, got;
	uint32_t crc;
	int rc = 0;

	if (len != 48 && len != 72 && (len != BASE64_MAX || max < LARGEST))
		return err_set(e, -EINVAL, "key '%s' holds %zu characters of base64; secrets of %s", name, len, lengths);
	while (pads < 2 && base64[len - pads - 1] == '=')
		pads++;
	for (size_t i = 0; i < len - pads; i++)
		if (!is_base64(base64[i]))
			return err_set(e, -EINVAL, "key '%s': character %zu of its base64 is not one of base64's", name, i + 1);
	if (EVP_DecodeBlock(bytes, (const uint8_t *)base64, (int)len) < 0)
		rc = err_set(e, -EINVAL, "key '%s' is not valid base64", name);
	got = len / 4 * 3 - pads - CRC_SIZE;
	if (!rc && ((got != 32 && got != 48 && got != LARGEST) || got > max))
		rc = err_set(e, -EINVAL, "key '%s' has a secret of %zu bytes; 32%s possible", name, got,
		             max < LARGEST ? " and 48 are" : ", 48 and 64 are");
	if (!rc) {
		crc = crc32_gzip_refl(0, bytes, got);
		if (memcmp(&crc, bytes + got, sizeof(crc)))
			rc = err_set(e, -EINVAL, "key '%s' has a wrong checksum: a character was mistyped", name);
	}
	if (!rc) {
		*ret_len = (uint8_t)got;
		memcpy(ret, bytes, got);
	}
	OPENSSL_cleanse(bytes, sizeof(bytes));
	return rc;
}

int fabric_secret_parse(const struct fabric_secret_form *form, const char *name, const char *text, size_t len,
                        uint8_t *ret_hash, uint8_t *ret, uint8_t *ret_len, struct err *e)
{
	size_t head = strlen(form->prefix);

	while (len && isspace((unsigned char)text[len - 1]))
		len--;
	if (len < head || memcmp(text, form->prefix, head))
		return err_set(e, -EINVAL, "key '%s' does not begin with %s, as %s do; %s makes one", name, form->prefix,
		               form->what, form->made_by);
	text += head;
	len -= head;
	if (len < 3 || text[0] != '0' || text[1] < '0' || text[1] > form->last_hash || text[2] != ':')
		return err_set(e, -EINVAL, "key '%s': %s is not followed by %s, which says how it is transformed", name,
		               form->prefix, form->hashes);
	if (len == 3 || text[len - 1] != ':')
		return err_set(e, -EINVAL, "key '%s' does not end with a colon: is it cut off?", name);
	*ret_hash = (uint8_t)(text[1] - '0');
	return decode(name, text + 3, len - 4, form->max, ret, ret_len, e);
}

static void encode(const uint8_t *secret, uint8_t len, char base64[static BASE64_MAX + 1])
{
	uint8_t bytes[LARGEST + CRC_SIZE];
	uint32_t crc = crc32_gzip_refl(0, secret, len);

	memcpy(bytes, secret, len);
	memcpy(bytes + len, &crc, sizeof(crc));
	EVP_EncodeBlock((uint8_t *)base64, bytes, len + (int)CRC_SIZE);
	OPENSSL_cleanse(bytes, sizeof(bytes));
}

void fabric_secret_print(const struct fabric_secret_form *form, uint8_t hash, const uint8_t *secret, uint8_t len,
                         char *text, size_t text_size)
{
	char base64[BASE64_MAX + 1];

	encode(secret, len, base64);
	snprintf(text, text_size, "%s%02x:%s:", form->prefix, hash, base64);
	OPENSSL_cleanse(base64, sizeof(base64));
}
