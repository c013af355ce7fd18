/* SPDX-License-Identifier: BSD-3-Clause */
/* auth_crypt.c: hashes, keyed hashes and groups by OpenSSL's names.
 *
 * The private half of an exchange is drawn by OpenSSL itself: its generator knows how long it has to be for each group.
 */
#include "fabric/auth_crypt.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/dh.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>

#include "wire/nvme_fabrics.h"

static const struct { const char *name; uint32_t len; } hashes[] = {
	[NVMF_HASH_SHA256] = { "sha256", 32 },
	[NVMF_HASH_SHA384] = { "sha384", 48 },
	[NVMF_HASH_SHA512] = { "sha512", 64 },
};
static const struct { const char *name; uint32_t len; } groups[] = {
	[NVMF_DH_NULL] = { "null", 0 },
	[NVMF_DH_2048] = { "ffdhe2048", 256 },
	[NVMF_DH_3072] = { "ffdhe3072", 384 },
	[NVMF_DH_4096] = { "ffdhe4096", 512 },
	[NVMF_DH_6144] = { "ffdhe6144", 768 },
	[NVMF_DH_8192] = { "ffdhe8192", 1024 },
};

uint32_t fabric_auth_hash_len(uint8_t hash) { return hash < ARRAY_SIZE(hashes) ? hashes[hash].len : 0; }
uint32_t fabric_auth_group_len(uint8_t group) { return group < ARRAY_SIZE(groups) ? groups[group].len : 0; }
const char *fabric_auth_hash_name(uint8_t hash) { return hash < ARRAY_SIZE(hashes) ? hashes[hash].name : NULL; }
const char *fabric_auth_group_name(uint8_t group) { return group < ARRAY_SIZE(groups) ? groups[group].name : NULL; }

int fabric_auth_hash_named(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(hashes); i++)
		if (hashes[i].name && !strcmp(hashes[i].name, name))
			return (int)i;
	return -1;
}

int fabric_auth_group_named(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(groups); i++)
		if (!strcmp(groups[i].name, name))
			return (int)i;
	return -1;
}

/* --- keyed hashes ------------------------------------------------------------------------------------------------ */

static EVP_MAC_CTX *hmac_begin(uint8_t hash, const uint8_t *key, size_t len)
{
	EVP_MAC *mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
	EVP_MAC_CTX *ctx = mac ? EVP_MAC_CTX_new(mac) : NULL;
	char *name = (char *)(uintptr_t)hashes[hash].name; /* is read only */
	OSSL_PARAM params[] = { OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, name, 0), OSSL_PARAM_END };

	EVP_MAC_free(mac);
	if (ctx && EVP_MAC_init(ctx, key, len, params) == 1)
		return ctx;
	EVP_MAC_CTX_free(ctx);
	return NULL;
}

static bool hmac_end(EVP_MAC_CTX *ctx, uint8_t *ret, uint32_t len)
{
	size_t got = 0;
	bool good = EVP_MAC_final(ctx, ret, &got, len) == 1 && got == len;

	EVP_MAC_CTX_free(ctx);
	return good;
}

/* 0: it failed. */
static uint32_t transform(const struct fabric_auth_key *key, const char *nqn, uint8_t *ret)
{
	static const char label[] = "NVMe-over-Fabrics";
	EVP_MAC_CTX *ctx;

	if (key->hash == NVMF_HASH_NONE) {
		memcpy(ret, key->secret, key->len);
		return key->len;
	}
	ctx = hmac_begin(key->hash, key->secret, key->len);
	if (!ctx)
		return 0;
	EVP_MAC_update(ctx, (const uint8_t *)nqn, strlen(nqn));
	EVP_MAC_update(ctx, (const uint8_t *)label, strlen(label));
	return hmac_end(ctx, ret, hashes[key->hash].len) ? hashes[key->hash].len : 0;
}

static bool augment(const struct fabric_auth_proof *p, uint8_t *ret)
{
	uint32_t len = hashes[p->hash].len;
	EVP_MAC_CTX *ctx;

	if (!p->session) {
		memcpy(ret, p->challenge, len);
		return true;
	}
	ctx = hmac_begin(p->hash, p->session, len);
	if (!ctx)
		return false;
	EVP_MAC_update(ctx, p->challenge, len);
	return hmac_end(ctx, ret, len);
}

bool fabric_auth_respond(const struct fabric_auth_proof *p, const struct fabric_auth_key *key, uint8_t *ret_response)
{
	const char *first = p->controller ? p->subsystem_nqn : p->host_nqn;
	const char *second = p->controller ? p->host_nqn : p->subsystem_nqn;
	const char *role = p->controller ? "Controller" : "HostHost";
	uint8_t k[FABRIC_AUTH_HASH_MAX], c[FABRIC_AUTH_HASH_MAX];
	le32 seqnum = le32_of(p->seqnum);
	le16 t_id = le16_of(p->t_id);
	uint32_t len = transform(key, first, k);
	EVP_MAC_CTX *ctx = len && augment(p, c) ? hmac_begin(p->hash, k, len) : NULL;

	OPENSSL_cleanse(k, sizeof(k));
	if (!ctx)
		return false;
	EVP_MAC_update(ctx, c, hashes[p->hash].len);
	EVP_MAC_update(ctx, seqnum.b, sizeof(seqnum));
	EVP_MAC_update(ctx, t_id.b, sizeof(t_id));
	EVP_MAC_update(ctx, &p->sc_c, 1);
	EVP_MAC_update(ctx, (const uint8_t *)role, strlen(role));
	EVP_MAC_update(ctx, (const uint8_t *)first, strlen(first) + 1);
	EVP_MAC_update(ctx, (const uint8_t *)second, strlen(second));
	return hmac_end(ctx, ret_response, hashes[p->hash].len);
}

bool fabric_auth_generate(uint8_t hash, const uint8_t *session, const uint8_t *c1, const uint8_t *c2, uint8_t *ret_psk)
{
	uint32_t len = hashes[hash].len;
	EVP_MAC_CTX *ctx = hmac_begin(hash, session, len);

	if (!ctx)
		return false;
	EVP_MAC_update(ctx, c1, len);
	EVP_MAC_update(ctx, c2, len);
	return hmac_end(ctx, ret_psk, len);
}

/* --- Diffie and Hellman ------------------------------------------------------------------------------------------ */

struct fabric_auth_dh {
	uint8_t group;
	EVP_PKEY *pair;
};

static EVP_PKEY *pair_make(uint8_t group)
{
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "DH", NULL);
	char *name = (char *)(uintptr_t)groups[group].name; /* is read only */
	OSSL_PARAM params[] = { OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, name, 0), OSSL_PARAM_END };
	EVP_PKEY *pair = NULL;

	if (ctx && EVP_PKEY_keygen_init(ctx) == 1 && EVP_PKEY_CTX_set_params(ctx, params) == 1)
		EVP_PKEY_generate(ctx, &pair);
	EVP_PKEY_CTX_free(ctx);
	return pair;
}

struct fabric_auth_dh *fabric_auth_dh_make(uint8_t group, uint8_t *ret_public)
{
	EVP_PKEY *pair = pair_make(group);
	struct fabric_auth_dh *dh;
	BIGNUM *public = NULL;
	bool good = pair && EVP_PKEY_get_bn_param(pair, OSSL_PKEY_PARAM_PUB_KEY, &public) == 1 &&
	            BN_bn2binpad(public, ret_public, (int)groups[group].len) == (int)groups[group].len;

	BN_free(public);
	if (!good) {
		EVP_PKEY_free(pair);
		return NULL;
	}
	dh = base_zalloc(sizeof(*dh));
	dh->group = group;
	dh->pair = pair;
	return dh;
}

static EVP_PKEY *peer_make(uint8_t group, const uint8_t *peer, uint32_t len)
{
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "DH", NULL);
	OSSL_PARAM_BLD *bld = OSSL_PARAM_BLD_new();
	BIGNUM *public = BN_bin2bn(peer, (int)len, NULL);
	OSSL_PARAM *params = NULL;
	EVP_PKEY *key = NULL;

	if (ctx && bld && public && OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_PUB_KEY, public) == 1 &&
	    OSSL_PARAM_BLD_push_utf8_string(bld, OSSL_PKEY_PARAM_GROUP_NAME, groups[group].name, 0) == 1)
		params = OSSL_PARAM_BLD_to_param(bld);
	if (params && EVP_PKEY_fromdata_init(ctx) == 1)
		EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_PUBLIC_KEY, params);
	OSSL_PARAM_free(params);
	OSSL_PARAM_BLD_free(bld);
	BN_free(public);
	EVP_PKEY_CTX_free(ctx);
	return key;
}

/* set_peer checks the value: 0, 1 and p - 1, which would make the secret known to all, and what is not of the group's
 * order are refused. */
static bool derive(EVP_PKEY *pair, EVP_PKEY *peer, uint8_t *ret, uint32_t len)
{
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(pair, NULL);
	size_t got = len;
	bool good = ctx && EVP_PKEY_derive_init(ctx) == 1 && EVP_PKEY_CTX_set_dh_pad(ctx, 1) > 0 &&
	            EVP_PKEY_derive_set_peer(ctx, peer) == 1 && EVP_PKEY_derive(ctx, ret, &got) == 1 && got == len;

	EVP_PKEY_CTX_free(ctx);
	return good;
}

static bool digest(uint8_t hash, const uint8_t *bytes, uint32_t len, uint8_t *ret)
{
	EVP_MD *md = EVP_MD_fetch(NULL, hashes[hash].name, NULL);
	bool good = md && EVP_Digest(bytes, len, ret, NULL, md, NULL) == 1;

	EVP_MD_free(md);
	return good;
}

bool fabric_auth_dh_meet(struct fabric_auth_dh *dh, uint8_t hash, const uint8_t *peer, uint32_t peer_len,
                         uint8_t *ret_session)
{
	uint32_t len = groups[dh->group].len;
	uint8_t shared[FABRIC_AUTH_DH_MAX];
	EVP_PKEY *key = peer_len && peer_len <= len ? peer_make(dh->group, peer, peer_len) : NULL;
	bool good = key && derive(dh->pair, key, shared, len) && digest(hash, shared, len, ret_session);

	OPENSSL_cleanse(shared, sizeof(shared));
	EVP_PKEY_free(key);
	return good;
}

void fabric_auth_dh_free(struct fabric_auth_dh *dh)
{
	if (!dh)
		return;
	EVP_PKEY_free(dh->pair);
	free(dh);
}
