/* SPDX-License-Identifier: BSD-3-Clause */
/* key_text.c: a new key of either kind, as its file has it: without a newline, which SPDK's TLS keys must not have. */
#include "fabric/key_text.h"

#include <errno.h>
#include <openssl/crypto.h>

#include "fabric/auth_crypt.h"
#include "fabric/psk.h"

static int dhchap(const char *hash, char *text, struct err *e)
{
	struct fabric_auth_key key = { 0 };
	int id = strcmp(hash, "none") ? fabric_auth_hash_named(hash) : 0;

	if (id < 0)
		return err_set(e, -EINVAL, "hash: there is no '%s' for a key of DH-HMAC-CHAP; none, sha256, sha384 and sha512 "
		               "are possible", hash);
	fabric_auth_key_make((uint8_t)id, &key);
	fabric_auth_key_print(&key, text);
	fabric_auth_key_wipe(&key);
	return 0;
}

/* As nvme gen-tls-key: a key of SHA-384 is longer; one that is used as it is has the shorter length. */
static int tls(const char *hash, char *text, struct err *e)
{
	bool none = !strcmp(hash, "none"), long_one = !strcmp(hash, "sha384");
	uint8_t cipher = long_one ? TLS_SHA384 : TLS_SHA256;
	struct fabric_psk psk = { 0 };

	if (!none && !long_one && strcmp(hash, "sha256"))
		return err_set(e, -EINVAL, "hash: there is no '%s' for a key of TLS; none, sha256 and sha384 are possible",
		               hash);
	fabric_psk_make(none ? 0 : cipher, cipher, &psk);
	fabric_psk_print(&psk, text);
	fabric_psk_wipe(&psk);
	return 0;
}

int fabric_key_make(const char *kind, const char *hash, char text[static FABRIC_KEY_TEXT_MAX], struct err *e)
{
	return strcmp(kind, "tls") ? dhchap(hash, text, e) : tls(hash, text, e);
}
