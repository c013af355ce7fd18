/* SPDX-License-Identifier: BSD-3-Clause */
/* keys.c: from a traffic secret to a key and an IV, and to the next secret (RFC 8446, 7.1 to 7.3). */
#include <openssl/crypto.h>
#include <openssl/hmac.h>

#include "core/secret.h"
#include "net/tls/inside.h"

#define LABEL_MAX 32u

void tls_psk_wipe(struct tls_psk *psk)
{
	OPENSSL_cleanse(psk, sizeof(*psk));
}

static const EVP_MD *digest(uint8_t hash)
{
	return hash == TLS_SHA384 ? EVP_sha384() : EVP_sha256();
}

uint32_t hash_bytes(uint8_t hash)
{
	return hash == TLS_SHA384 ? 48 : 32;
}

/* One block is enough for all that is asked for: HKDF-Expand is one HMAC then. */
void expand_label(uint8_t hash, const uint8_t *secret, const char *label, uint8_t *to, uint32_t len)
{
	uint8_t info[2 + 1 + LABEL_MAX + 1 + 1], out[EVP_MAX_MD_SIZE];
	uint32_t label_len = (uint32_t)strlen(label), at = 0;
	unsigned int out_len = 0;

	assert(label_len + 6 <= LABEL_MAX);
	assert(len <= hash_bytes(hash));
	info[at++] = 0;
	info[at++] = (uint8_t)len;
	info[at++] = (uint8_t)(6 + label_len);
	memcpy(info + at, "tls13 ", 6);
	at += 6;
	memcpy(info + at, label, label_len);
	at += label_len;
	info[at++] = 0; /* the context's length */
	info[at++] = 1; /* the block's number */
	must(HMAC(digest(hash), secret, (int)hash_bytes(hash), info, at, out, &out_len) && out_len >= len);
	memcpy(to, out, len);
	OPENSSL_cleanse(out, sizeof(out));
}

static void use_secret(struct keys *k)
{
	uint8_t key[32];
	uint32_t key_bytes = k->hash == TLS_SHA384 ? 32 : 16;

	expand_label(k->hash, k->secret, "key", key, key_bytes);
	expand_label(k->hash, k->secret, "iv", k->iv, IV_BYTES);
	k->gcm->key(k->cipher, key, key_bytes, k->seals);
	OPENSSL_cleanse(key, sizeof(key));
	k->seq = 0;
}

void keys_begin(struct keys *k, uint8_t hash, const uint8_t *secret, bool seals)
{
	*k = (struct keys){ .hash = hash, .seals = seals, .gcm = gcm_used() };
	k->cipher = secret_zalloc(k->gcm->bytes + SECRET_MAX + 2 * IV_BYTES);
	k->secret = (uint8_t *)k->cipher + k->gcm->bytes;
	k->iv = k->secret + SECRET_MAX;
	k->nonce = k->iv + IV_BYTES;
	memcpy(k->secret, secret, hash_bytes(hash));
	use_secret(k);
}

void keys_update(struct keys *k)
{
	uint8_t next[SECRET_MAX];

	expand_label(k->hash, k->secret, "traffic upd", next, hash_bytes(k->hash));
	memcpy(k->secret, next, hash_bytes(k->hash));
	OPENSSL_cleanse(next, sizeof(next));
	use_secret(k);
}

void keys_end(struct keys *k)
{
	if (k->gcm)
		k->gcm->end(k->cipher);
	secret_free(k->cipher);
	OPENSSL_cleanse(k, sizeof(*k));
}
