/* SPDX-License-Identifier: BSD-3-Clause */
/* auth.c: the commands AUTHENTICATION SEND and RECEIVE: a queue pair's host proves who it is, by DH-HMAC-CHAP.
 *
 * A queue pair whose host has a key may do nothing else until it has done so, and has NVMF_AUTH_MS for it. Any may do
 * it again at any time; while it does, it goes on as before. Keys are read, and Diffie-Hellman groups are computed in,
 * by a job; the SEND that needs it is answered when that is done. Anybody who reaches the port can ask for that work:
 * there are NVMF_AUTH_JOBS at once, so that helpers are left for others, and hosts of one address wait for each other
 * rather than those of another for them. A failure is told to the host by the next RECEIVE,
 * and to us by the log, and ends the connection a moment later, so that the host can fetch the reason.
 */
#include <openssl/crypto.h>

#include "fabric/auth.h"
#include "keyring/keyring.h"
#include "net/tls.h"
#include "nvmf/target.h"

#define NVMF_AUTH_MS 30000u        /* for one authentication, from its first message or from Connect on */
#define NVMF_AUTH_BUSY_MS 1000u    /* a job that took so long is waited for */
#define NVMF_AUTH_GOODBYE_MS 100u  /* between the reason and the end, as SPDK has it */
#define NVMF_AUTH_JOBS 4u          /* of a target, at once */

struct nvmf_auth {
	struct fabric_auth_ctrlr a;
	struct nvmf_qpair *qp;
	struct nvmf_req *req;          /* the SEND that waits for its work */
	struct msg msg;                /* to the control reactor, and back */
	struct list link;              /* control's: in auth_waiting, then in auth_working */
	_Atomic bool gone;             /* the queue pair closes: its work is of no use */
	struct job job;
	struct keyring_key *key, *ctrlr_key; /* the job's */
	struct err err;                /* of reading them */
	bool told;                     /* why it failed was logged */
	bool ending;                   /* it failed: the timer is the connection's last */
	struct timer timer;
	uint64_t due_ns;
};

static void begin(struct nvmf_auth *auth);
static void arm(struct nvmf_auth *auth, uint64_t ms);
static void due(struct timer *tm);
static void after_message(struct nvmf_auth *auth); /* may free it */
static void work_start(struct nvmf_auth *auth, struct nvmf_req *req);

/* --- a queue pair's machine -------------------------------------------------------------------------------------- */

static void show(const struct nvmf_auth *auth)
{
	const struct fabric_auth_common *c = &auth->a.c;

	if (auth->qp->seat)
		atomic_store(&auth->qp->seat->auth, (uint32_t)(1u << 24 | auth->a.m.state << 16 | c->hash << 8 | c->group));
}

bool nvmf_auth_is_open(const struct nvmf_seat *seat)
{
	uint32_t auth = atomic_load(&seat->auth);

	return auth && (auth >> 16 & 0xff) != FABRIC_AUTH_CTRLR_COMPLETED;
}

static struct nvmf_auth *auth_of(struct nvmf_qpair *qp)
{
	uint8_t state = qp->auth ? qp->auth->a.m.state : FABRIC_AUTH_CTRLR_COMPLETED;

	if (!qp->auth) {
		qp->auth = base_zalloc(sizeof(*qp->auth));
		qp->auth->qp = qp;
	}
	if (state == FABRIC_AUTH_CTRLR_COMPLETED)
		begin(qp->auth);
	return qp->auth;
}

static void begin(struct nvmf_auth *auth)
{
	struct nvmf_target *t = auth->qp->target;

	fabric_auth_ctrlr_fini(&auth->a);
	fabric_auth_ctrlr_init(&auth->a, &(struct fabric_auth_opts){ .hashes = t->auth_hashes, .groups = t->auth_groups,
	                       .host_nqn = auth->qp->ctrlr->who.name, .subsystem_nqn = auth->qp->ctrlr->nqn,
	                       .concat = auth->qp->concat, .only = auth->qp->concat_only });
	auth->told = auth->ending = false;
	auth->err = (struct err){ 0 };
	arm(auth, NVMF_AUTH_MS);
	show(auth);
}

void nvmf_auth_require(struct nvmf_qpair *qp)
{
	assert(qp->connected && !qp->served);
	(void)auth_of(qp);
}

void nvmf_auth_stop(struct nvmf_qpair *qp)
{
	if (!qp->auth)
		return;
	atomic_store(&qp->auth->gone, true);
	timer_stop(&qp->auth->timer);
}

void nvmf_auth_free(struct nvmf_qpair *qp)
{
	if (!qp->auth)
		return;
	assert(!qp->auth->req);
	timer_stop(&qp->auth->timer);
	fabric_auth_ctrlr_fini(&qp->auth->a);
	free(qp->auth);
	qp->auth = NULL;
}

void nvmf_auth_move(struct nvmf_qpair *qp, bool leaving)
{
	struct nvmf_auth *auth = qp->auth;
	uint64_t now = reactor_now_ns();

	if (!auth || !auth->due_ns)
		return;
	if (leaving)
		timer_stop(&auth->timer);
	else
		timer_start(&auth->timer, auth->due_ns > now ? auth->due_ns - now : 0, due);
}

/* --- deadlines --------------------------------------------------------------------------------------------------- */

static void arm(struct nvmf_auth *auth, uint64_t ms)
{
	auth->due_ns = reactor_now_ns() + ms * NS_PER_MS;
	timer_start(&auth->timer, ms * NS_PER_MS, due);
}

static void disarm(struct nvmf_auth *auth)
{
	auth->due_ns = 0;
	timer_stop(&auth->timer);
}

static void due(struct timer *tm)
{
	struct nvmf_auth *auth = container_of(tm, struct nvmf_auth, timer);
	struct nvmf_qpair *qp = auth->qp;
	bool failed = auth->a.m.state == FABRIC_AUTH_CTRLR_ERROR;

	auth->due_ns = 0;
	if (auth->req) {
		arm(auth, NVMF_AUTH_BUSY_MS);
		return;
	}
	if (!failed && log_may(&qp->nc->complaints))
		log_warning("host %s, subsystem %s, queue %u: not authenticated after %u s, in state %s%s", qp->ctrlr->who.name,
		            qp->ctrlr->nqn, qp->qid, NVMF_AUTH_MS / 1000, fabric_auth_ctrlr_state_name(auth->a.m.state),
		            qp->served ? "; it was before, and goes on" : ": disconnecting");
	if (!failed && qp->served)
		nvmf_auth_free(qp); /* nothing has become worse than it was */
	else if (!qp->closing)
		qp->transport->ops->qpair_disconnect(qp);
}

/* --- commands ---------------------------------------------------------------------------------------------------- */

bool nvmf_auth_parse(struct nvmf_req *req)
{
	const struct nvme_security *cmd = &req->cmd.security;
	bool sends = req->cmd.fctype == NVME_FABRICS_AUTH_SEND;
	uint32_t len = le32_get(cmd->tl);

	if (cmd->secp != NVME_AUTH_SECP || cmd->spsp0 != 1 || cmd->spsp1 != 1 || !len || len > FABRIC_AUTH_MESSAGE_MAX)
		return nvmf_req_refuse(req, NVME_SC_INVALID_FIELD | NVME_SC_DNR);
	return nvmf_req_moves(req, sends ? NVMF_DATA_TO_CTRLR : NVMF_DATA_TO_HOST, len);
}

/* One message at a time: while its work is done, there is nothing to send or to fetch. */
static struct nvmf_auth *idle_auth(struct nvmf_req *req)
{
	struct nvmf_auth *auth = auth_of(req->qpair);

	if (!auth->req)
		return auth;
	nvmf_req_complete(req, NVME_SC_CMD_SEQ_ERROR | NVME_SC_DNR);
	return NULL;
}

void nvmf_auth_send_run(struct nvmf_req *req)
{
	struct nvmf_auth *auth = idle_auth(req);
	uint8_t message[FABRIC_AUTH_MESSAGE_MAX];

	if (!auth)
		return;
	nvmf_iov_read(req, 0, message, req->data_len);
	if (fabric_auth_ctrlr_take(&auth->a, message, req->data_len)) {
		work_start(auth, req);
		return;
	}
	after_message(auth);
	nvmf_req_complete(req, NVME_SC_SUCCESS);
}

void nvmf_auth_receive_run(struct nvmf_req *req)
{
	struct nvmf_auth *auth = idle_auth(req);
	uint8_t message[FABRIC_AUTH_MESSAGE_MAX];
	uint32_t len;

	if (!auth)
		return;
	len = fabric_auth_ctrlr_give(&auth->a, message, req->data_len);
	after_message(auth);
	if (len)
		nvmf_req_complete_data(req, message, len);
	else
		nvmf_req_complete(req, NVME_SC_INVALID_FIELD | NVME_SC_DNR);
}

static void say_failure(struct nvmf_auth *auth)
{
	struct nvmf_qpair *qp = auth->qp;

	auth->told = true;
	if (log_may(&qp->nc->complaints))
		log_warning("host %s, subsystem %s, queue %u: not authenticated: %s%s%s", qp->ctrlr->who.name, qp->ctrlr->nqn,
		            qp->qid, auth->a.c.why, auth->err.code ? ": " : "", auth->err.text);
}

/* From now on its commands keep the controller alive, too: a stranger's queue does not. */
static void serve(struct nvmf_qpair *qp)
{
	qp->served = true;
	qp->last_seen = &qp->ctrlr->seen[qp->qid].ns;
	nvmf_qpair_seen(qp);
	if (!qp->qid)
		nvmf_ctrlr_arrived(qp->ctrlr);
}

/* Before the host can come back with it: what it waits for has not been sent yet. */
static void keep_psk(const struct nvmf_auth *auth)
{
	struct tls_psk psk = { .hash = auth->a.c.hash == NVMF_HASH_SHA384 ? TLS_SHA384 : TLS_SHA256,
		.len = auth->a.c.hash_len };

	memcpy(psk.key, auth->a.psk, psk.len);
	nvmf_tls_keep(auth->qp->target, auth->qp->ctrlr->who.name, auth->qp->ctrlr->nqn, &psk);
	OPENSSL_cleanse(&psk, sizeof(psk));
}

static void after_message(struct nvmf_auth *auth)
{
	struct nvmf_qpair *qp = auth->qp;
	const struct fabric_auth_common *c = &auth->a.c;

	show(auth);
	if (c->failure && !auth->told)
		say_failure(auth);
	if (auth->a.m.state == FABRIC_AUTH_CTRLR_ERROR && !auth->ending) {
		auth->ending = true; /* once: whoever goes on talking gains no time by it */
		arm(auth, NVMF_AUTH_GOODBYE_MS);
	}
	if (auth->a.m.state != FABRIC_AUTH_CTRLR_COMPLETED || !auth->due_ns)
		return;
	disarm(auth);
	if (auth->a.sc_c)
		keep_psk(auth);
	serve(qp);
	log_info("host %s, subsystem %s, queue %u: authenticated %s by %s, %s%s", qp->ctrlr->who.name, qp->ctrlr->nqn,
	         qp->qid, auth->a.mutual ? "both ways" : "one way", fabric_auth_hash_name(c->hash),
	         fabric_auth_group_name(c->group), auth->a.sc_c ? "; that made a key of TLS" : "");
	nvmf_auth_free(qp); /* thousands of queues: what is proved needs no room */
}

/* --- work: by turns, in a job ------------------------------------------------------------------------------------ */

static void work_waits(struct msg *m);
static void work_in_job(struct job *j);
static void job_done(struct job *j);
static void work_done(struct msg *m);

static void work_start(struct nvmf_auth *auth, struct nvmf_req *req)
{
	const struct nvmf_subsystem *s = nvmf_qpair_sub(req->qpair);
	int at = s ? nvmf_subsystem_host_at(s, req->qpair->ctrlr->who.name) : -1;

	auth->req = req;
	auth->key = at < 0 ? NULL : keyring_key_ref(s->hosts[at].key);
	auth->ctrlr_key = at < 0 ? NULL : keyring_key_ref(s->hosts[at].ctrlr_key);
	msg_send(core_control(req->qpair->target->core), &auth->msg, work_waits);
}

/* The first of an address that none is worked for now; otherwise the first. NULL: nobody waits. */
static struct nvmf_auth *next_of(struct nvmf_target *t)
{
	list_each(l, &t->auth_waiting) {
		struct nvmf_auth *auth = list_entry(l, struct nvmf_auth, link);
		bool has_its_turn = false;

		list_each(w, &t->auth_working)
			has_its_turn |= net_addr_same_host(&list_entry(w, struct nvmf_auth, link)->qp->seat->peer,
			                                   &auth->qp->seat->peer);
		if (!has_its_turn)
			return auth;
	}
	return list_first(&t->auth_waiting, struct nvmf_auth, link);
}

static void work_next(struct nvmf_target *t)
{
	struct nvmf_auth *auth;

	while (t->auth_jobs < NVMF_AUTH_JOBS && (auth = next_of(t))) {
		list_del(&auth->link);
		list_add_tail(&t->auth_working, &auth->link);
		t->auth_jobs++;
		job_start(&auth->job, work_in_job, job_done);
	}
}

/* A queue pair neither moves nor goes while a request of its is executed. */
static void work_waits(struct msg *m)
{
	struct nvmf_auth *auth = container_of(m, struct nvmf_auth, msg);

	list_add_tail(&auth->qp->target->auth_waiting, &auth->link);
	work_next(auth->qp->target);
}

static void job_done(struct job *j)
{
	struct nvmf_auth *auth = container_of(j, struct nvmf_auth, job);
	struct nvmf_target *t = auth->qp->target;

	list_del(&auth->link);
	t->auth_jobs--;
	msg_send(auth->qp->reactor, &auth->msg, work_done);
	work_next(t);
}

static void work_in_job(struct job *j)
{
	struct nvmf_auth *auth = container_of(j, struct nvmf_auth, job);
	struct fabric_auth_key key = { 0 }, ctrlr_key = { 0 };
	bool gone = atomic_load(&auth->gone), needs = !gone && auth->a.m.state == FABRIC_AUTH_CTRLR_REPLY;
	bool has = needs && auth->key && !fabric_auth_key_read(auth->key, &key, &auth->err);
	bool has_ctrlr = needs && auth->ctrlr_key && !fabric_auth_key_read(auth->ctrlr_key, &ctrlr_key, &auth->err);

	if (gone)
		return; /* those behind it do not wait for what nobody will fetch */
	fabric_auth_ctrlr_work(&auth->a, has ? &key : NULL, has_ctrlr ? &ctrlr_key : NULL);
	fabric_auth_key_wipe(&key);
	fabric_auth_key_wipe(&ctrlr_key);
	OPENSSL_thread_stop(); /* helpers come and go: nothing of its random generator is left in one */
}

static void work_done(struct msg *m)
{
	struct nvmf_auth *auth = container_of(m, struct nvmf_auth, msg);
	struct nvmf_req *req = auth->req;

	keyring_key_unref(auth->key);
	keyring_key_unref(auth->ctrlr_key);
	auth->key = auth->ctrlr_key = NULL;
	auth->req = NULL;
	if (!auth->qp->closing)
		after_message(auth);
	nvmf_req_complete(req, NVME_SC_SUCCESS);
}
