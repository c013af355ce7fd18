/* SPDX-License-Identifier: BSD-3-Clause */
/* secure.c: a queue pair over TLS: its key is read, and made into what is offered, by a job, for which the queue pair
 * is held; then the transport's connection shakes hands.
 *
 * One identity can be offered a connection. The newer form goes first, as Linux has it (nvme_tls_psk_prio in
 * drivers/nvme/common/keyring.c); a target that refuses it is tried once more with the older one, which is all that
 * SPDK's knows, over a new connection, within the same deadline. Which one it was is told to the queues that follow.
 */
#include <errno.h>
#include <openssl/crypto.h>

#include "core/secret.h"
#include "fabric/psk.h"
#include "keyring/keyring.h"
#include "nvme/host.h"

#define FORMS 2u                    /* of an identity: versions 1 and 0 */

/* secret_zalloc()'s */
struct nvme_shake {
	struct nvme_qpair *qp;
	struct keyring_key *psk;        /* a reference: a job may outlive the path that had it */
	struct job job;
	struct err err;                 /* of reading it; then of the identity that was refused */
	uint32_t tried;                 /* identities that were refused */
	bool offered[FORMS];            /* which of them there are: names may be too long for the older one */
	struct tls_offer offers[FORMS]; /* by version */
};

/* secret_zalloc()'s */
struct nvme_generated {
	_Atomic uint32_t refs;
	struct tls_offer offer;
};

static void make_in_job(struct job *j);
static void made(struct job *j);

void nvme_secure_start(struct nvme_qpair *qp)
{
	struct nvme_shake *k = qp->shake;

	if (qp->generated) {
		qp->transport->secure(qp, &qp->generated->offer);
		return;
	}
	if (k) { /* a new connection, because the last one's identity was refused */
		qp->transport->secure(qp, &k->offers[qp->psk_version]);
		return;
	}
	k = qp->shake = secret_zalloc(sizeof(*k));
	k->qp = qp;
	k->psk = keyring_key_ref(qp->opts.psk);
	nvme_qpair_hold(qp);
	nvme_host_job_begins(qp->host);
	job_start(&k->job, make_in_job, made);
}

void nvme_secure_free(struct nvme_qpair *qp)
{
	if (!qp->shake)
		return;
	keyring_key_unref(qp->shake->psk);
	secret_free(qp->shake);
	qp->shake = NULL;
}

/* --- what is offered ------------------------------------------------------------------------------------------- */

static void make_in_job(struct job *j)
{
	struct nvme_shake *k = container_of(j, struct nvme_shake, job);
	struct fabric_psk psk = { 0 };

	if (!fabric_psk_read(k->psk, &psk, &k->err)) {
		for (uint8_t version = 0; version < FORMS; version++) {
			const struct fabric_psk_form form = { .version = version,
				.host_nqn = k->qp->connect_data.hostnqn, .subsystem_nqn = k->qp->connect_data.subsysnqn };

			k->offered[version] = fabric_psk_configured_offer(&psk, &form, &k->offers[version]);
		}
		if (!k->offered[0] && !k->offered[1])
			err_set(&k->err, -EIO, "OpenSSL failed to make a key of TLS");
	}
	fabric_psk_wipe(&psk);
	OPENSSL_thread_stop();
}

static void broke(struct nvme_qpair *qp, const struct err *why)
{
	const char *key = qp->shake ? qp->shake->psk->name : "that our proof made";
	char addr[NET_ADDR_TEXT_MAX];
	struct err e = { 0 };

	err_set(&e, why->code, "queue %u to %s: TLS as %s by key '%s': %s", qp->qid, net_addr_text(&qp->addr, addr),
	        qp->connect_data.hostnqn, key, why->text);
	nvme_secure_free(qp);
	nvme_qpair_broke(qp, NVME_REASON_TLS, &e);
}

static void made(struct job *j)
{
	struct nvme_shake *k = container_of(j, struct nvme_shake, job);
	struct nvme_qpair *qp = k->qp;
	struct nvme_host *h = qp->host;

	if (nvme_qpair_is_dead(qp)) {
		nvme_qpair_release(qp);
	} else if (k->err.code) {
		nvme_qpair_release(qp);
		broke(qp, &k->err);
	} else {
		nvme_qpair_release(qp);
		qp->psk_version = k->offered[1] && !(qp->opts.psk_old_first && k->offered[0]);
		qp->transport->secure(qp, &k->offers[qp->psk_version]);
	}
	nvme_host_job_ended(h);
}

/* --- how it went ----------------------------------------------------------------------------------------------- */

void nvme_qpair_secured(struct nvme_qpair *qp, const struct err *e)
{
	struct nvme_shake *k = qp->shake;
	uint8_t other = !qp->psk_version;

	if (e && qp->generated) {
		broke(qp, e);
	} else if (!e && qp->generated) {
		machine_goto(&qp->machine, QPAIR_NEGOTIATING);
		qp->transport->negotiate(qp);
	} else if (!e) {
		qp->opts.psk_old_first = qp->psk_version == 0;
		nvme_secure_free(qp);
		machine_goto(&qp->machine, QPAIR_NEGOTIATING);
		qp->transport->negotiate(qp);
	} else if (++k->tried < FORMS && k->offered[other]) {
		k->err = *e;
		qp->psk_version = other;
		nvme_qpair_connect_again(qp);
	} else {
		broke(qp, qp->psk_version && k->err.code ? &k->err : e); /* the older one's says whether it is the key */
	}
}

/* --- keys that proofs make ------------------------------------------------------------------------------------- */

struct nvme_generated *nvme_generated_make(const struct nvme_qpair *qp, uint8_t hash, uint8_t len, const uint8_t *psk)
{
	const struct fabric_psk_form form = { .version = 1, .generated = true, .host_nqn = qp->connect_data.hostnqn,
		.subsystem_nqn = qp->connect_data.subsysnqn };
	struct nvme_generated *g = secret_zalloc(sizeof(*g));
	struct tls_psk key = { .hash = hash == NVMF_HASH_SHA384 ? TLS_SHA384 : TLS_SHA256, .len = len };
	bool good;

	memcpy(key.key, psk, min_u32(len, sizeof(key.key)));
	good = fabric_psk_offer(&key, &form, &g->offer);
	OPENSSL_cleanse(&key, sizeof(key));
	atomic_store(&g->refs, 1);
	if (good)
		return g;
	secret_free(g);
	return NULL;
}

struct nvme_generated *nvme_generated_ref(struct nvme_generated *g)
{
	if (g)
		atomic_fetch_add(&g->refs, 1);
	return g;
}

void nvme_generated_unref(struct nvme_generated *g)
{
	if (g && atomic_fetch_sub(&g->refs, 1) == 1)
		secret_free(g);
}
