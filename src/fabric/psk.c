/* SPDX-License-Identifier: BSD-3-Clause */
/* psk.c: configured keys of TLS to and from their text, and what a handshake needs of them. */
#include "fabric/psk.h"

#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <stdio.h>

#include "base/text.h"
#include "core/core.h"
#include "fabric/secret.h"

#define LABEL_MAX 256u
#define INFO_MAX (2 + 2 * LABEL_MAX)

static const struct { const char *digest, *cipher; uint8_t len; } hashes[] = {
	[TLS_SHA256] = { "SHA256", "TLS_AES_128_GCM_SHA256", 32 },
	[TLS_SHA384] = { "SHA384", "TLS_AES_256_GCM_SHA384", 48 },
};

static const struct fabric_secret_form text_form = {
	.prefix = "NVMeTLSkey-1:", .what = "keys of TLS", .made_by = "nvme gen-tls-key", .hashes = "00:, 01: or 02:",
	.last_hash = '2', .max = FABRIC_PSK_MAX,
};

/* --- configured keys --------------------------------------------------------------------------------------------- */

int fabric_psk_parse(const char *name, const char *text, size_t len, struct fabric_psk *ret, struct err *e)
{
	int rc = fabric_secret_parse(&text_form, name, text, len, &ret->hash, ret->secret, &ret->len, e);

	if (rc)
		return rc;
	if (!ret->hash || hashes[ret->hash].len == ret->len)
		return 0;
	rc = err_set(e, -EINVAL, "key '%s' says %02x and has %u bytes; %s has %u", name, ret->hash, ret->len,
	             hashes[ret->hash].digest, hashes[ret->hash].len);
	fabric_psk_wipe(ret);
	return rc;
}

void fabric_psk_make(uint8_t hash, uint8_t cipher, struct fabric_psk *ret)
{
	must(cipher == TLS_SHA256 || cipher == TLS_SHA384);
	must(!hash || hash == cipher);
	ret->hash = hash;
	ret->len = hashes[cipher].len;
	core_random(ret->secret, ret->len);
}

void fabric_psk_print(const struct fabric_psk *psk, char text[static FABRIC_PSK_TEXT_MAX])
{
	fabric_secret_print(&text_form, psk->hash, psk->secret, psk->len, text, FABRIC_PSK_TEXT_MAX);
}

void fabric_psk_wipe(struct fabric_psk *psk) { OPENSSL_cleanse(psk, sizeof(*psk)); }
uint8_t fabric_psk_cipher(const struct fabric_psk *psk) { return psk->len == 48 ? TLS_SHA384 : TLS_SHA256; }

const char *fabric_psk_cipher_name(uint8_t cipher)
{
	return cipher < ARRAY_SIZE(hashes) ? hashes[cipher].cipher : NULL;
}

/* --- derivations ------------------------------------------------------------------------------------------------- */

/* HkdfLabel of RFC 8446, or what libnvme took for it before 1.16. */
static uint32_t hkdf_info(const char *label, const char *context, uint8_t len, bool compat, uint8_t *info)
{
	size_t label_len = strlen(label), context_len = strlen(context);
	uint8_t *at = info;

	*at++ = compat ? len : 0;
	*at++ = compat ? 0 : len;
	if (!compat)
		*at++ = (uint8_t)label_len;
	memcpy(at, label, label_len);
	at += label_len;
	if (!compat)
		*at++ = (uint8_t)context_len;
	memcpy(at, context, context_len);
	return (uint32_t)(at + context_len - info);
}

/* HKDF-Expand-Label(HKDF-Extract(0, key), label, context, as long as the key). */
static bool derive(const struct tls_psk *key, const char *label, const char *context, bool compat, uint8_t *ret)
{
	uint8_t info[INFO_MAX];
	char *digest = (char *)(uintptr_t)hashes[key->hash].digest;      /* these two are read only */
	uint8_t *secret = (uint8_t *)(uintptr_t)key->key;
	OSSL_PARAM params[] = {
		OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0),
		OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, secret, key->len),
		OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, info, 0),
		OSSL_PARAM_END,
	};
	EVP_KDF *kdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
	EVP_KDF_CTX *ctx = kdf ? EVP_KDF_CTX_new(kdf) : NULL;
	bool good;

	params[2].data_size = hkdf_info(label, context, key->len, compat, info);
	good = ctx && EVP_KDF_derive(ctx, ret, key->len, params) == 1;
	EVP_KDF_CTX_free(ctx);
	EVP_KDF_free(kdf);
	return good;
}

bool fabric_psk_retain(const struct fabric_psk *configured, const char *host_nqn, bool compat, struct tls_psk *ret)
{
	struct tls_psk key = { .hash = fabric_psk_cipher(configured), .len = configured->len };
	bool good = true;

	memcpy(key.key, configured->secret, key.len);
	*ret = key;
	if (configured->hash)
		good = strlen(host_nqn) < LABEL_MAX && derive(&key, "tls13 HostNQN", host_nqn, compat, ret->key);
	OPENSSL_cleanse(&key, sizeof(key));
	return good;
}

/* base64(HMAC(PSK, "HOSTNQN SUBNQN NVMe-over-Fabrics")) */
static bool digest(const struct tls_psk *psk, const struct fabric_psk_form *form, char *ret)
{
	char message[2 * NVME_NQN_FIELD_SIZE + 32];
	uint8_t mac[FABRIC_PSK_MAX];
	size_t len = 0;
	int n = snprintf(message, sizeof(message), "%s %s NVMe-over-Fabrics", form->host_nqn, form->subsystem_nqn);

	if (!EVP_Q_mac(NULL, "HMAC", NULL, hashes[psk->hash].digest, NULL, psk->key, psk->len, (uint8_t *)message,
	               (size_t)n, mac, sizeof(mac), &len) || len != psk->len)
		return false;
	EVP_EncodeBlock((uint8_t *)ret, mac, (int)len);
	return true;
}

static bool names_fit(const struct fabric_psk_form *form)
{
	size_t host = strlen(form->host_nqn), subsystem = strlen(form->subsystem_nqn);

	if (host > NVME_NQN_LEN_MAX || subsystem > NVME_NQN_LEN_MAX)
		return false;
	return form->version || strlen("NVMe0R01  ") + host + subsystem < LABEL_MAX;
}

bool fabric_psk_offer(const struct tls_psk *psk, const struct fabric_psk_form *form, struct tls_offer *ret)
{
	char sum[FABRIC_PSK_DIGEST_MAX + 1] = "", context[FABRIC_PSK_DIGEST_MAX + 8];
	struct text t = text_over(ret->identity, sizeof(ret->identity));

	must(form->version <= 1);
	if (!names_fit(form) || (form->version && !digest(psk, form, sum)))
		return false;
	text_add(&t, "NVMe%u%c%02u %s %s", form->version, form->generated ? 'G' : 'R', psk->hash, form->host_nqn,
	         form->subsystem_nqn);
	if (form->version)
		text_add(&t, " %s", sum);
	if (t.cut)
		return false;
	snprintf(context, sizeof(context), "%02u %s", psk->hash, sum);
	ret->psk.hash = psk->hash;
	ret->psk.len = psk->len;
	return derive(psk, "tls13 nvme-tls-psk", form->version ? context : ret->identity, form->compat, ret->psk.key);
}

bool fabric_psk_configured_offer(const struct fabric_psk *configured, const struct fabric_psk_form *form,
                                 struct tls_offer *ret)
{
	struct tls_psk retained;
	bool good = fabric_psk_retain(configured, form->host_nqn, form->compat, &retained) &&
	            fabric_psk_offer(&retained, form, ret);

	OPENSSL_cleanse(&retained, sizeof(retained));
	return good;
}

/* --- identities -------------------------------------------------------------------------------------------------- */

/* The next word; NULL: there is none, or it is too long. */
static const char *word(const char *at, char *ret, size_t max)
{
	size_t len = strcspn(at, " ");

	if (!len || len > max)
		return NULL;
	memcpy(ret, at, len);
	ret[len] = 0;
	return at + len;
}

int fabric_psk_identity_parse(const char *text, struct fabric_psk_identity *ret, struct err *e)
{
	const char *at = text + strlen("NVMe0R01 ");

	*ret = (struct fabric_psk_identity){ 0 };
	if (strncmp(text, "NVMe", 4))
		return err_set(e, -EINVAL, "the identity is none of NVMe/TCP's: it does not begin with NVMe");
	if (text[4] != '0' && text[4] != '1')
		return err_set(e, -EINVAL, "the identity is of a version other than 0 and 1");
	if (text[5] != 'R' && text[5] != 'G')
		return err_set(e, -EINVAL, "the identity's key is neither R, retained, nor G, generated");
	if (text[6] != '0' || (text[7] != '1' && text[7] != '2') || text[8] != ' ')
		return err_set(e, -EINVAL, "the identity's hash is neither 01, SHA-256, nor 02, SHA-384");
	ret->version = (uint8_t)(text[4] - '0');
	ret->generated = text[5] == 'G';
	ret->hash = (uint8_t)(text[7] - '0');
	at = word(at, ret->host_nqn, NVME_NQN_LEN_MAX);
	if (at && *at)
		at = word(at + 1, ret->subsystem_nqn, NVME_NQN_LEN_MAX);
	if (!at || !ret->subsystem_nqn[0])
		return err_set(e, -EINVAL, "the identity does not name a host and a subsystem");
	if (ret->version && *at)
		at = word(at + 1, ret->digest, FABRIC_PSK_DIGEST_MAX);
	if (!at || *at || (ret->version && strlen(ret->digest) != (ret->hash == TLS_SHA256 ? 44u : 64u)))
		return err_set(e, -EINVAL, "the identity does not end where one of version %u does", ret->version);
	return 0;
}
