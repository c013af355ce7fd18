/* SPDX-License-Identifier: BSD-3-Clause */
/* secure.c: hosts that come with TLS: the key that goes with an identity, and whom its owner may be. Control reactor.
 *
 * A host whose entry has a key comes by it or not at all: neither SPDK's target nor Linux's refuses it on a listener
 * without TLS, where whoever says its name would be it. Over TLS, a host is who its identity names, at the subsystem
 * that it names: neither of those two compares that with Connect, which lets any host that has a key be any other.
 */
#include <openssl/crypto.h>

#include "fabric/psk.h"
#include "keyring/keyring.h"
#include "nvmf/target.h"

static const char *const names[] = {
#define NAME(result, name, meaning) [NVMF_TLS_##result] = name,
	NVMF_TLS_RESULTS(NAME)
};

const char *nvmf_tls_result_name(uint32_t result) { return names[result]; }

void nvmf_tls_count(struct nvmf_target *t, enum nvmf_tls_result result)
{
	nvmf_count(&t->tls_results[result]);
}

int nvmf_tls_key_read(const struct keyring_key *key, struct fabric_psk *ret, struct err *e)
{
	char text[KEYRING_SECRET_MAX];
	size_t len;
	int rc = keyring_key_read(key, text, sizeof(text), &len, e);

	if (!rc)
		rc = fabric_psk_parse(key->name, text, len, ret, e);
	OPENSSL_cleanse(text, sizeof(text));
	return rc;
}

static const struct nvmf_host *host_of(const struct nvmf_subsystem *s, const char *nqn)
{
	int at = nvmf_subsystem_host_at(s, nqn);

	return at >= 0 && s->hosts[at].psk ? &s->hosts[at] : NULL;
}

/* Both ways of making a key are tried: the digest of version 1 tells which one the host's tools know. */
static enum nvmf_tls_result match(const struct fabric_psk_identity *id, const char *identity,
                                  const struct fabric_psk *key, const char *key_name, struct tls_psk *ret,
                                  struct err *e)
{
	struct fabric_psk_form form = { .version = id->version, .host_nqn = id->host_nqn,
		.subsystem_nqn = id->subsystem_nqn };
	struct tls_offer offer = { 0 };
	bool good = false;

	if (fabric_psk_cipher(key) != id->hash) {
		err_set(e, -EACCES, "the hash differs: host %s has a key for %s, ours, '%s', is for %s", id->host_nqn,
		        fabric_psk_cipher_name(id->hash), key_name, fabric_psk_cipher_name(fabric_psk_cipher(key)));
		return NVMF_TLS_HASH;
	}
	for (int compat = 0; !good && compat <= id->version; compat++) {
		form.compat = compat;
		good = fabric_psk_configured_offer(key, &form, &offer) && !strcmp(offer.identity, identity);
	}
	if (good)
		*ret = offer.psk;
	else
		err_set(e, -EACCES, "the key differs: the digest in the identity of host %s is of another key than '%s'",
		        id->host_nqn, key_name);
	OPENSSL_cleanse(&offer, sizeof(offer));
	return good ? NVMF_TLS_OK : NVMF_TLS_KEY;
}

enum nvmf_tls_result nvmf_tls_find(struct nvmf_target *t, const char *identity, struct tls_psk *ret, struct err *e)
{
	struct fabric_psk_identity id;
	const struct nvmf_subsystem *s;
	const struct nvmf_host *host;
	struct fabric_psk key = { 0 };
	enum nvmf_tls_result result = NVMF_TLS_KEY;

	if (fabric_psk_identity_parse(identity, &id, e))
		return NVMF_TLS_IDENTITY;
	s = nvmf_config_find(t->config, id.subsystem_nqn);
	host = s && !id.generated ? host_of(s, id.host_nqn) : NULL;
	if (!s)
		err_set(e, -ENOENT, "the identity names subsystem %s, which does not exist", id.subsystem_nqn);
	else if (id.generated)
		err_set(e, -ENOENT, "the identity is of a key that authentication generated, and there is none of host %s for "
		        "subsystem %s", id.host_nqn, s->nqn);
	else if (!host)
		err_set(e, -ENOENT, "the identity names host %s, which has no psk for subsystem %s", id.host_nqn, s->nqn);
	if (!host)
		return NVMF_TLS_IDENTITY;
	if (!nvmf_tls_key_read(host->psk, &key, e))
		result = match(&id, identity, &key, host->psk->name, ret, e);
	fabric_psk_wipe(&key);
	return result;
}

bool nvmf_tls_allows(const struct nvmf_subsystem *s, const char *host_nqn, const char *identity, struct err *e)
{
	struct fabric_psk_identity id;

	if (!identity && host_of(s, host_nqn)) {
		err_set(e, -EACCES, "the host has a key of TLS (psk) and came without TLS");
		return false;
	}
	if (!identity)
		return true;
	if (fabric_psk_identity_parse(identity, &id, e))
		return false;
	if (strcmp(id.host_nqn, host_nqn)) {
		err_set(e, -EACCES, "its TLS identity names another host, %s", id.host_nqn);
		return false;
	}
	if (strcmp(id.subsystem_nqn, s->nqn)) {
		err_set(e, -EACCES, "its TLS identity names another subsystem, %s", id.subsystem_nqn);
		return false;
	}
	return true;
}
