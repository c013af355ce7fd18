/* SPDX-License-Identifier: BSD-3-Clause */
/* prove.c: a queue pair whose target wants to know who we are: DH-HMAC-CHAP, between Connect and READY, and again when
 * somebody asks for that (keys have changed).
 *
 * Messages go in commands of the queue pair's own, one at a time; keys are read, and groups computed in, by a job, for
 * which the queue pair is held. The deadline of the login covers all of it; another proof has one of its own.
 *
 * Where the target asks for a secure channel (Connect's ASCR), the admin queue's proof makes a key of TLS: it comes
 * back over a new connection by that key, and so do the I/O queues.
 */
#include <errno.h>
#include <openssl/crypto.h>

#include "fabric/auth.h"
#include "keyring/keyring.h"
#include "nvme/host.h"

struct nvme_proof {
	struct nvme_qpair *qp;
	struct fabric_auth_host a;
	struct nvme_op op;
	struct iovec iov;
	struct job job;
	struct keyring_key *key, *ctrlr_key; /* references: a job may outlive the path that had them */
	struct err err;                 /* of reading keys */
	bool asked;                     /* `op` was submitted, and may wait for others */
	nvme_qpair_event_fn *done;      /* of another proof; NULL: the first, or it was told */
	void *arg;
	uint8_t message[FABRIC_AUTH_MESSAGE_MAX];
};

static void next(struct nvme_proof *p);
static void command_done(struct nvme_op *op);
static void work_in_job(struct job *j);
static void work_done(struct job *j);

static struct nvme_proof *proof_make(struct nvme_qpair *qp, bool concat)
{
	const struct nvme_host_opts *o = &qp->opts;
	struct nvme_proof *p = base_zalloc(sizeof(*p));

	assert(o->key && !qp->proof);
	qp->proof = p;
	p->qp = qp;
	p->key = keyring_key_ref(o->key);
	p->ctrlr_key = keyring_key_ref(o->ctrlr_key);
	fabric_auth_host_init(&p->a, &(struct fabric_auth_opts){
		.hashes = o->auth_hashes ? o->auth_hashes : FABRIC_AUTH_ALL_HASHES,
		.groups = o->auth_groups ? o->auth_groups : FABRIC_AUTH_ALL_GROUPS,
		.host_nqn = qp->connect_data.hostnqn, .subsystem_nqn = qp->connect_data.subsysnqn,
		.mutual = o->ctrlr_key != NULL, .concat = concat ? NVMF_AUTH_NEW_TLS_PSK : 0,
		.t_id = (uint16_t)core_random_u64() });
	return p;
}

void nvme_proof_start(struct nvme_qpair *qp, bool concat)
{
	next(proof_make(qp, concat));
}

void nvme_proof_free(struct nvme_qpair *qp)
{
	if (!qp->proof)
		return;
	fabric_auth_host_fini(&qp->proof->a);
	keyring_key_unref(qp->proof->key);
	keyring_key_unref(qp->proof->ctrlr_key);
	free(qp->proof);
	qp->proof = NULL;
}

/* The queue pair may be gone when it returns. */
static void tell_again(struct nvme_proof *p, const struct err *e)
{
	nvme_qpair_event_fn *done = p->done;

	p->done = NULL;
	if (done)
		done(p->qp, e, p->arg);
}

static void say(const struct nvme_proof *p, const char *why, struct err *ret_e)
{
	const struct nvme_qpair *qp = p->qp;
	char addr[NET_ADDR_TEXT_MAX];

	err_set(ret_e, -EACCES, "queue %u to %s: authentication as %s failed: %s%s%s", qp->qid,
	        net_addr_text(&qp->addr, addr), qp->connect_data.hostnqn, why, p->err.code ? ": " : "", p->err.text);
}

bool nvme_proof_blames(const struct nvme_qpair *qp, struct err *ret_e)
{
	if (!qp->proof || !*qp->proof->a.c.why)
		return false;
	say(qp->proof, qp->proof->a.c.why, ret_e);
	return true;
}

static void failed(struct nvme_proof *p, const char *why)
{
	struct err e = { 0 };

	say(p, why, &e);
	nvme_qpair_broke(p->qp, NVME_REASON_LOGIN_REFUSED, &e);
	tell_again(p, &e);
}

/* It has made a key of TLS: back with that, over a new connection. */
static void back_with_tls(struct nvme_proof *p)
{
	struct nvme_qpair *qp = p->qp;
	struct nvme_generated *g = nvme_generated_make(qp, p->a.c.hash, p->a.c.hash_len, p->a.psk);

	fabric_auth_host_fini(&p->a);
	if (!g) {
		failed(p, "OpenSSL failed to make a key of TLS");
		return;
	}
	nvme_generated_unref(qp->generated);
	qp->generated = g;
	nvme_qpair_connect_again(qp);
}

static void proved(struct nvme_proof *p)
{
	if (p->a.c.opts.concat) {
		back_with_tls(p);
		return;
	}
	fabric_auth_host_fini(&p->a);
	if (!p->done) {
		nvme_qpair_proved(p->qp);
		return;
	}
	timer_stop(&p->qp->deadline);
	tell_again(p, NULL);
}

static void next(struct nvme_proof *p)
{
	enum fabric_auth_wants wants = fabric_auth_host_wants(&p->a);
	bool sends = wants == FABRIC_AUTH_SEND;
	uint32_t len = sends ? fabric_auth_host_give(&p->a, p->message) : sizeof(p->message);

	if (wants == FABRIC_AUTH_GOOD) {
		proved(p);
		return;
	}
	if (wants == FABRIC_AUTH_BAD) {
		failed(p, p->a.c.why);
		return;
	}
	if (!sends)
		memset(p->message, 0, sizeof(p->message)); /* targets may send as much as they have to say only */
	p->iov = (struct iovec){ p->message, len };
	p->op = (struct nvme_op){ .iovs = &p->iov, .iov_count = 1, .data = sends ? NVME_OP_TO_CTRLR : NVME_OP_TO_HOST,
		.data_len = len, .done = command_done, .may_be_short = !sends };
	p->op.cmd.opc = NVME_ADMIN_FABRICS;
	p->op.cmd.fctype = sends ? NVME_FABRICS_AUTH_SEND : NVME_FABRICS_AUTH_RECEIVE;
	p->op.cmd.security = (struct nvme_security){ .spsp0 = 1, .spsp1 = 1, .secp = NVME_AUTH_SECP, .tl = le32_of(len) };
	p->asked = true;
	qpair_submit_first(p->qp, &p->op);
}

/* The queue pair ended meanwhile. */
static void ended(struct nvme_proof *p)
{
	struct err e = p->qp->err;

	if (!e.code)
		err_set(&e, -ECANCELED, "queue %u was closed while it proved again who we are", p->qp->qid);
	tell_again(p, &e);
}

static void command_done(struct nvme_op *op)
{
	struct nvme_proof *p = container_of(op, struct nvme_proof, op);
	uint16_t status = nvme_op_status(op);

	p->asked = false;
	if (nvme_qpair_is_dead(p->qp)) {
		ended(p);
		return;
	}
	if (status) {
		failed(p, nvme_status_text(status, true));
	} else if (op->data == NVME_OP_TO_HOST && fabric_auth_host_take(&p->a, p->message, op->data_len)) {
		nvme_qpair_hold(p->qp);
		nvme_host_job_begins(p->qp->host);
		job_start(&p->job, work_in_job, work_done);
	} else {
		next(p);
	}
}

static void work_in_job(struct job *j)
{
	struct nvme_proof *p = container_of(j, struct nvme_proof, job);
	struct fabric_auth_key key = { 0 }, ctrlr_key = { 0 };
	bool has = p->key && !fabric_auth_key_read(p->key, &key, &p->err);
	bool has_ctrlr = p->ctrlr_key && !fabric_auth_key_read(p->ctrlr_key, &ctrlr_key, &p->err);

	fabric_auth_host_work(&p->a, has ? &key : NULL, has_ctrlr ? &ctrlr_key : NULL);
	fabric_auth_key_wipe(&key);
	fabric_auth_key_wipe(&ctrlr_key);
	OPENSSL_thread_stop();
}

static void work_done(struct job *j)
{
	struct nvme_proof *p = container_of(j, struct nvme_proof, job);
	struct nvme_qpair *qp = p->qp;
	struct nvme_host *h = qp->host;
	bool over = nvme_qpair_is_dead(qp);

	if (over)
		ended(p);
	if (nvme_qpair_release(qp) && !over)
		next(p);
	nvme_host_job_ended(h);
}

/* --- once more --------------------------------------------------------------------------------------------------- */

int nvme_key_check(const struct keyring_key *key, struct err *e)
{
	struct fabric_auth_key secret = { 0 };
	int rc = key ? fabric_auth_key_read(key, &secret, e) : 0;

	fabric_auth_key_wipe(&secret);
	return rc;
}

uint32_t nvme_auth_hash_bit(const char *name)
{
	int id = fabric_auth_hash_named(name);

	return id < 0 ? 0 : 1u << id;
}

uint32_t nvme_auth_group_bit(const char *name)
{
	int id = fabric_auth_group_named(name);

	return id < 0 ? 0 : 1u << id;
}

void nvme_qpair_set_keys(struct nvme_qpair *qp, struct keyring_key *key, struct keyring_key *ctrlr_key)
{
	qp->opts.key = key;
	qp->opts.ctrlr_key = ctrlr_key;
}

/* A command that waits for others has its time still to come. */
static void again_too_long(struct timer *t)
{
	struct nvme_qpair *qp = container_of(t, struct nvme_qpair, deadline);
	struct nvme_proof *p = qp->proof;

	if (p->asked && nvme_qpair_op(qp, p->op.cid) != &p->op)
		timer_start(t, qp->opts.connect_timeout_ms * NS_PER_MS, again_too_long);
	else
		failed(p, "the target did not answer in time");
}

void nvme_qpair_authenticate(struct nvme_qpair *qp, nvme_qpair_event_fn *done, void *arg)
{
	struct nvme_proof *p;

	assert(!qp->closed && (!qp->proof || !qp->proof->done));
	nvme_proof_free(qp);
	p = proof_make(qp, false);
	p->done = done;
	p->arg = arg;
	if (qp->machine.state == QPAIR_READY)
		timer_start(&qp->deadline, qp->opts.connect_timeout_ms * NS_PER_MS, again_too_long);
	next(p);
}
