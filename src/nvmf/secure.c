/* SPDX-License-Identifier: BSD-3-Clause */
/* secure.c: hosts that come with TLS: the key that goes with an identity, and whom its owner may be. Control reactor.
 *
 * A host whose entry has a key comes by it or not at all: neither SPDK's target nor Linux's refuses it on a listener
 * without TLS, where whoever says its name would be it. Over TLS, a host is who its identity names, at the subsystem
 * that it names: neither of those two compares that with Connect, which lets any host that has a key be any other.
 */
#include <openssl/crypto.h>

#include "core/secret.h"
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

/* --- keys that proofs generated ---------------------------------------------------------------------------------- */

#define GENERATED_MAX 1024u
#define GENERATED_OF_PAIR 32u        /* of a host and a subsystem: paths that it has, and attempts */

struct nvmf_generated {
	struct msg msg;
	struct list link;
	struct nvmf_target *target;
	char host_nqn[NVMF_NQN_MAX + 1], nqn[NVMF_NQN_MAX + 1];
	struct tls_offer offer;
};

void nvmf_tls_init(struct nvmf_target *t) { list_init(&t->generated); }

static void forget(struct nvmf_target *t, struct nvmf_generated *g)
{
	list_del(&g->link);
	t->generated_count--;
	secret_free(g);
}

void nvmf_tls_fini(struct nvmf_target *t)
{
	while (!list_empty(&t->generated))
		forget(t, list_first(&t->generated, struct nvmf_generated, link));
}

/* The oldest of a pair of names, or of all, makes room. */
static void make_room(struct nvmf_target *t, const char *host_nqn, const char *nqn)
{
	struct nvmf_generated *oldest = NULL;
	uint32_t count = 0;

	list_each(l, &t->generated) {
		struct nvmf_generated *g = list_entry(l, struct nvmf_generated, link);

		if (strcmp(g->host_nqn, host_nqn) || strcmp(g->nqn, nqn))
			continue;
		oldest = oldest ? oldest : g;
		count++;
	}
	if (count < GENERATED_OF_PAIR)
		oldest = t->generated_count == GENERATED_MAX ? list_first(&t->generated, struct nvmf_generated, link) : NULL;
	if (oldest)
		forget(t, oldest);
}

static bool is_wanted(const struct nvmf_generated *g)
{
	const struct nvmf_subsystem *s = nvmf_config_find(g->target->config, g->nqn);

	return s && nvmf_subsystem_wants_proof(s, g->host_nqn);
}

void nvmf_tls_forget(struct nvmf_target *t, const char *host_nqn, const char *nqn)
{
	list_each_safe(l, &t->generated) {
		struct nvmf_generated *g = list_entry(l, struct nvmf_generated, link);

		if (!is_wanted(g) || (host_nqn && !strcmp(g->host_nqn, host_nqn) && !strcmp(g->nqn, nqn)))
			forget(t, g);
	}
}

static void keep_on_control(struct msg *m)
{
	struct nvmf_generated *g = container_of(m, struct nvmf_generated, msg);

	if (!is_wanted(g)) { /* its host was removed meanwhile */
		secret_free(g);
		return;
	}
	make_room(g->target, g->host_nqn, g->nqn);
	g->target->generated_count++;
	list_add_tail(&g->target->generated, &g->link);
}

void nvmf_tls_keep(struct nvmf_target *t, const char *host_nqn, const char *nqn, const struct tls_psk *psk)
{
	struct nvmf_generated *g = secret_zalloc(sizeof(*g));
	struct fabric_psk_form form = { .version = 1, .generated = true, .host_nqn = g->host_nqn, .subsystem_nqn = g->nqn };

	g->target = t;
	text_pad(g->host_nqn, sizeof(g->host_nqn) - 1, host_nqn, 0);
	text_pad(g->nqn, sizeof(g->nqn) - 1, nqn, 0);
	if (fabric_psk_offer(psk, &form, &g->offer))
		msg_send(core_control(t->core), &g->msg, keep_on_control);
	else
		secret_free(g);
}

static enum nvmf_tls_result find_generated(struct nvmf_target *t, const struct nvmf_subsystem *s, const char *identity,
                                           const struct fabric_psk_identity *id, struct tls_psk *ret, struct err *e)
{
	list_each(l, &t->generated) {
		const struct nvmf_generated *g = list_entry(l, struct nvmf_generated, link);

		if (strcmp(g->offer.identity, identity) || !nvmf_subsystem_wants_proof(s, id->host_nqn))
			continue;
		*ret = g->offer.psk;
		return NVMF_TLS_OK;
	}
	err_set(e, -ENOENT, "the identity is of a key that authentication generated, and there is none like it of host %s "
	        "for subsystem %s", id->host_nqn, s->nqn);
	return NVMF_TLS_IDENTITY;
}

bool nvmf_tls_is_generated(const char *identity)
{
	struct fabric_psk_identity id;

	return !fabric_psk_identity_parse(identity, &id, NULL) && id.generated;
}

/* --- who may ----------------------------------------------------------------------------------------------------- */

enum nvmf_tls_result nvmf_tls_find(struct nvmf_target *t, const char *identity, struct keyring_key **ret_key,
                                   uint64_t *ret_serial, struct tls_psk *ret, struct err *e)
{
	struct fabric_psk_identity id;
	const struct nvmf_subsystem *s;
	const struct nvmf_host *host;

	*ret_key = NULL;
	*ret_serial = 0;
	if (fabric_psk_identity_parse(identity, &id, e))
		return NVMF_TLS_IDENTITY;
	s = nvmf_config_find(t->config, id.subsystem_nqn);
	if (s && id.generated)
		return find_generated(t, s, identity, &id, ret, e);
	host = s ? host_of(s, id.host_nqn) : NULL;
	if (!s)
		err_set(e, -ENOENT, "the identity names subsystem %s, which does not exist", id.subsystem_nqn);
	else if (!host)
		err_set(e, -ENOENT, "the identity names host %s, which has no psk for subsystem %s", id.host_nqn, s->nqn);
	else
		*ret_key = keyring_key_ref(host->psk), *ret_serial = host->serial;
	return host ? NVMF_TLS_OK : NVMF_TLS_IDENTITY;
}

enum nvmf_tls_result nvmf_tls_read(const struct keyring_key *key, const char *identity, struct tls_psk *ret,
                                   struct err *e)
{
	enum nvmf_tls_result result = NVMF_TLS_KEY;
	struct fabric_psk_identity id;
	struct fabric_psk psk = { 0 };

	if (!fabric_psk_identity_parse(identity, &id, e) && !fabric_psk_read(key, &psk, e))
		result = match(&id, identity, &psk, key->name, ret, e);
	fabric_psk_wipe(&psk);
	return result;
}

/* What it shook hands by may have been taken away since. */
static bool is_good_still(struct nvmf_target *t, const struct nvmf_subsystem *s, const char *identity,
                          const struct fabric_psk_identity *id, uint64_t serial, struct err *e)
{
	const struct nvmf_host *host = host_of(s, id->host_nqn);
	struct tls_psk psk = { 0 };
	bool good = id->generated ? find_generated(t, s, identity, id, &psk, e) == NVMF_TLS_OK :
	            host && host->serial == serial;

	tls_psk_wipe(&psk);
	if (!good && !id->generated)
		err_set(e, -EACCES, "it was removed after it had shaken hands");
	return good;
}

bool nvmf_tls_allows(struct nvmf_target *t, const struct nvmf_subsystem *s, const char *host_nqn, const char *identity,
                     uint64_t serial, struct err *e)
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
	return is_good_still(t, s, identity, &id, serial, e);
}
