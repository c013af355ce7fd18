/* SPDX-License-Identifier: BSD-3-Clause */
/* key_read.c: keys of a keyring as what they are used as; their texts are wiped whatever comes of it. In a job: a file
 * may be on a server that does not answer. */
#include <openssl/crypto.h>

#include "fabric/auth_key.h"
#include "fabric/psk.h"
#include "keyring/keyring.h"

int fabric_auth_key_read(const struct keyring_key *key, struct fabric_auth_key *ret, struct err *e)
{
	char text[KEYRING_SECRET_MAX];
	size_t len;
	int rc = keyring_key_read(key, text, sizeof(text), &len, e);

	if (!rc)
		rc = fabric_auth_key_parse(key->name, text, len, ret, e);
	OPENSSL_cleanse(text, sizeof(text));
	return rc;
}

int fabric_psk_read(const struct keyring_key *key, struct fabric_psk *ret, struct err *e)
{
	char text[KEYRING_SECRET_MAX];
	size_t len;
	int rc = keyring_key_read(key, text, sizeof(text), &len, e);

	if (!rc)
		rc = fabric_psk_parse(key->name, text, len, ret, e);
	OPENSSL_cleanse(text, sizeof(text));
	return rc;
}
