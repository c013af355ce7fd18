/* SPDX-License-Identifier: BSD-3-Clause */
/* gcm.c: which AES-GCM is used; and OpenSSL's. */
#include "net/tls/gcm.h"

#include <openssl/evp.h>
#include <stdatomic.h>

#include "net/tls.h"

static _Atomic(const struct gcm *) told;

void gcm_use(const struct gcm *gcm) { told = gcm; }

const struct gcm *gcm_used(void)
{
	const struct gcm *gcm = told;

	if (!gcm)
		gcm = gcm_multi_buffer();
	return gcm ? gcm : &gcm_openssl;
}

bool tls_use_cipher_of(const char *library)
{
	const struct gcm *both[] = { &gcm_openssl, gcm_multi_buffer() };

	for (size_t i = 0; i < ARRAY_SIZE(both); i++)
		if (both[i] && !strcmp(both[i]->name, library)) {
			gcm_use(both[i]);
			return true;
		}
	return false;
}

/* --- OpenSSL: its objects lie in memory that dumps leave out, too (memory.c) --- */

struct openssl {
	EVP_CIPHER_CTX *ctx;
	bool seals;
};

static void openssl_key(void *at, const uint8_t *key, size_t key_bytes, bool seals)
{
	struct openssl *o = at;

	if (!o->ctx)
		o->ctx = EVP_CIPHER_CTX_new();
	must(o->ctx);
	o->seals = seals;
	must(EVP_CipherInit_ex(o->ctx, key_bytes == 32 ? EVP_aes_256_gcm() : EVP_aes_128_gcm(), NULL, key, NULL, seals));
}

static void openssl_begin(void *at, const uint8_t *nonce, const uint8_t *header)
{
	struct openssl *o = at;
	int n;

	must(EVP_CipherInit_ex(o->ctx, NULL, NULL, NULL, nonce, o->seals));
	must(EVP_CipherUpdate(o->ctx, NULL, &n, header, GCM_HEADER_BYTES));
}

static void openssl_crypt(void *at, uint8_t *to, const uint8_t *from, size_t len)
{
	struct openssl *o = at;
	int n;

	must(EVP_CipherUpdate(o->ctx, to, &n, from, (int)len) && (size_t)n == len);
}

static void openssl_seal(void *at, uint8_t *ret_tag)
{
	struct openssl *o = at;
	int n;

	must(EVP_CipherFinal_ex(o->ctx, ret_tag, &n));
	must(EVP_CIPHER_CTX_ctrl(o->ctx, EVP_CTRL_AEAD_GET_TAG, GCM_TAG_BYTES, ret_tag));
}

static bool openssl_open(void *at, const uint8_t *tag)
{
	struct openssl *o = at;
	uint8_t copy[GCM_TAG_BYTES]; /* it is given as writable */
	int n;

	memcpy(copy, tag, sizeof(copy));
	return EVP_CIPHER_CTX_ctrl(o->ctx, EVP_CTRL_AEAD_SET_TAG, GCM_TAG_BYTES, copy) &&
	       EVP_CipherFinal_ex(o->ctx, copy, &n) > 0;
}

static void openssl_end(void *at)
{
	struct openssl *o = at;

	EVP_CIPHER_CTX_free(o->ctx);
}

const struct gcm gcm_openssl = {
	"openssl", sizeof(struct openssl), openssl_key, openssl_begin, openssl_crypt, openssl_seal, openssl_open,
	openssl_end,
};
