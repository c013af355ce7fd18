/* SPDX-License-Identifier: BSD-3-Clause */
/* connect.c: the Connect command: a queue pair becomes a controller's, or founds one; and Disconnect.
 *
 * The queue pair's core takes the data, the control reactor checks and decides, the answer comes back to the core,
 * which binds the queue pair. The order of the checks and their results are those of SPDK's target where the
 * standard leaves a choice.
 */
#include "core/notify.h"
#include "net/tls.h"
#include "nvmf/target.h"

struct connect {
	struct msg msg;
	struct nvmf_qpair *qp;
	struct nvmf_req *req;
	struct nvmf_connect_data data;
	struct net_addr local, peer;
	uint8_t tls_hash;                 /* 0: not secured */
	char identity[TLS_IDENTITY_MAX + 1];
	uint64_t tls_serial;
	/* the answer */
	uint16_t status;
	struct nvmf_ctrlr *ctrlr;
	struct nvmf_seat *seat;
	bool must_authenticate;
	uint8_t concat;                   /* of the queue pair */
	bool concat_only;
};

static void decide_on_control(struct msg *m);
static void answer_on_core(struct msg *m);

bool nvmf_connect_parse(struct nvmf_req *req)
{
	if (req->qpair->connected)
		return nvmf_req_refuse(req, NVME_SC_CMD_SEQ_ERROR | NVME_SC_DNR);
	return nvmf_req_moves(req, NVMF_DATA_TO_CTRLR, sizeof(struct nvmf_connect_data));
}

void nvmf_connect_run(struct nvmf_req *req)
{
	struct nvmf_qpair *qp = req->qpair;
	const char *identity;
	struct connect *c;

	if (qp->connected || qp->connecting || qp->seat) {
		nvmf_req_complete(req, NVME_SC_CMD_SEQ_ERROR | NVME_SC_DNR);
		return;
	}
	qp->connecting = true;
	c = base_zalloc(sizeof(*c));
	c->qp = qp;
	c->req = req;
	nvmf_iov_read(req, 0, &c->data, sizeof(c->data));
	qp->transport->ops->qpair_addrs(qp, &c->local, &c->peer);
	identity = qp->transport->ops->qpair_identity ? qp->transport->ops->qpair_identity(qp, &c->tls_hash) : NULL;
	c->concat_only = qp->concat_only;
	c->tls_serial = qp->tls_serial;
	if (identity)
		text_pad(c->identity, sizeof(c->identity), identity, 0);
	msg_send(core_control(qp->target->core), &c->msg, decide_on_control);
}

/* --- checks: control ---------------------------------------------------------------------------------- */

static uint16_t bad_param(struct connect *c, uint8_t iattr, size_t offset)
{
	c->req->cpl.iattr = iattr;
	c->req->cpl.ipo = le16_of((uint16_t)offset);
	return NVME_SC_CONNECT_INVALID_PARAM | NVME_SC_DNR;
}
#define BAD_CMD(c, field) bad_param(c, NVME_IATTR_SQE, offsetof(struct nvme_sqe, connect.field))
#define BAD_DATA(c, field) bad_param(c, NVME_IATTR_DATA, offsetof(struct nvmf_connect_data, field))

/* Ends within its field. An empty host NQN passes, as with SPDK, whose tools send one; who is let in is
 * check_access()'s question. */
static bool nqn_ok(const char nqn[static NVME_NQN_FIELD_SIZE])
{
	return memchr(nqn, 0, NVMF_NQN_MAX + 1);
}

static uint16_t check_command(struct connect *c)
{
	const struct nvme_connect *cmd = &c->req->cmd.connect;
	const struct nvmf_transport_opts *opts = &c->qp->transport->opts;
	uint16_t sqsize = le16_get(cmd->sqsize);
	uint32_t entries_max = c->qp->size_max ? c->qp->size_max :
	                       le16_get(cmd->qid) ? opts->max_queue_depth : opts->max_aq_depth;

	if (le16_get(cmd->recfmt))
		return NVME_SC_CONNECT_FORMAT | NVME_SC_DNR;
	if (!sqsize || sqsize >= entries_max)
		return BAD_CMD(c, sqsize);
	if (!nqn_ok(c->data.subsysnqn))
		return BAD_DATA(c, subsysnqn);
	if (!nqn_ok(c->data.hostnqn))
		return BAD_DATA(c, hostnqn);
	return NVME_SC_SUCCESS;
}

static uint16_t check_security(struct connect *c, const struct nvmf_subsystem *s)
{
	const struct nvmf_listener *way = nvmf_subsystem_way(s, c->qp->transport, &c->local);
	char at[NET_ADDR_TEXT_MAX];
	struct err e = { 0 };

	if (c->concat_only ? !way || !way->concat : way && way->secure && !c->tls_hash)
		err_set(&e, -EACCES, "the listener there is for hosts that come with TLS");
	else if (c->concat_only && le16_get(c->req->cmd.connect.qid))
		err_set(&e, -EACCES, "an I/O queue came without TLS to a listener that is for TLS (nvme connect --concat)");
	else if (c->concat_only && !nvmf_subsystem_wants_proof(s, c->data.hostnqn))
		err_set(&e, -EACCES, "the host came without TLS, and has no dhchap_key here by which it could get a key");
	else if (nvmf_tls_allows(c->qp->target, s, c->data.hostnqn, c->tls_hash ? c->identity : NULL, c->tls_serial,
	                         &e))
		return NVME_SC_SUCCESS;
	if (log_may(&c->qp->target->complaints))
		log_warning("host %s may not use subsystem %s through %s: %s", c->data.hostnqn, s->nqn,
		            net_addr_text(&c->local, at), e.text);
	return NVME_SC_CONNECT_INVALID_HOST | NVME_SC_DNR;
}

static uint16_t check_access(struct connect *c, struct nvmf_subsystem *s)
{
	char at[NET_ADDR_TEXT_MAX];

	if (!s)
		return BAD_DATA(c, subsysnqn);
	if (!nvmf_subsystem_allows_host(s, c->data.hostnqn)) {
		if (log_may(&c->qp->target->complaints))
			log_warning("host %s may not use subsystem %s: nvmf_subsystem_add_host allows it", c->data.hostnqn,
			            s->nqn);
		return NVME_SC_CONNECT_INVALID_HOST | NVME_SC_DNR;
	}
	if (s->id != NVMF_DISCOVERY_ID && !nvmf_subsystem_listens(s, c->qp->transport, &c->local)) {
		if (log_may(&c->qp->target->complaints))
			log_warning("subsystem %s does not listen on %s, where host %s asked for it", s->nqn,
			            net_addr_text(&c->local, at), c->data.hostnqn);
		return NVME_SC_CONNECT_INVALID_HOST | NVME_SC_DNR;
	}
	return check_security(c, s);
}

void nvmf_replace_duplicates(struct nvmf_target *t)
{
	t->dup_hosts = NVMF_DUP_REPLACE;
}

/* Who has not proved yet to be it keeps nobody out. */
static bool same_host(const struct connect *c, const struct nvmf_ctrlr *ctrlr)
{
	return !ctrlr->dying && ctrlr->seat_by_qid[0] && !nvmf_auth_is_open(ctrlr->seat_by_qid[0]) &&
	       !strcmp(ctrlr->who.name, c->data.hostnqn) &&
	       !memcmp(ctrlr->who.host_id.b, c->data.hostid, sizeof(c->data.hostid));
}

/* The host has controllers here already: worth another try when they are gone. */
static uint16_t check_duplicates(struct connect *c, struct nvmf_subsystem *s)
{
	enum nvmf_dup_hosts policy = c->qp->target->dup_hosts;
	const struct nvmf_listener *way = nvmf_subsystem_way(s, c->qp->transport, &c->local);

	list_each(l, &s->roster->ctrlrs) {
		const struct nvmf_ctrlr *ctrlr = list_entry(l, const struct nvmf_ctrlr, link);

		if (!same_host(c, ctrlr) || (policy == NVMF_DUP_PER_LISTENER &&
		        nvmf_subsystem_way(s, ctrlr->transport, &ctrlr->listen_addr) != way))
			continue;
		if (log_may(&c->qp->target->complaints))
			log_warning("host %s has controller %u of %s already, and is refused another one (dup_host_policy)",
			            c->data.hostnqn, ctrlr->cntlid, s->nqn);
		return NVME_SC_CONNECT_CTRL_BUSY;
	}
	return NVME_SC_SUCCESS;
}

/* Of the dynamic model there is nothing to choose: *ret_cntlid 0. */
static uint16_t choose_ctrlr(struct connect *c, const struct nvmf_subsystem *s, uint16_t *ret_cntlid)
{
	struct nvmf_static_wish w = {
		.wanted = le16_get(c->data.cntlid), .host_nqn = c->data.hostnqn, .host_id = c->data.hostid,
		.replaces = c->qp->target->dup_hosts == NVMF_DUP_REPLACE,
	};
	uint16_t status;

	if (!s->is_static)
		return w.wanted == NVME_CNTLID_DYNAMIC ? NVME_SC_SUCCESS : BAD_DATA(c, cntlid);
	status = nvmf_static_choose(s, &w);
	if (w.bad_field)
		status = BAD_DATA(c, cntlid);
	if (status && log_may(&c->qp->target->complaints))
		log_warning("host %s is refused a static controller of %s (%u to %u; it asked for %04Xh): status %03Xh",
		            c->data.hostnqn, s->nqn, s->min_cntlid, s->max_cntlid, w.wanted, status & NVME_SC_CODE);
	*ret_cntlid = w.cntlid;
	return status;
}

static uint16_t found_ctrlr(struct connect *c, struct nvmf_subsystem *s)
{
	enum nvmf_dup_hosts policy = s->discovery ? NVMF_DUP_ALLOW : c->qp->target->dup_hosts;
	struct nvmf_ctrlr *ctrlr;
	uint32_t kato_ms = nvmf_kato_of(&c->qp->transport->opts, le32_get(c->req->cmd.connect.kato));
	uint16_t cntlid = 0, status = choose_ctrlr(c, s, &cntlid);

	if (status)
		return status;
	if ((policy == NVMF_DUP_REFUSE || policy == NVMF_DUP_PER_LISTENER) && check_duplicates(c, s))
		return NVME_SC_CONNECT_CTRL_BUSY;
	ctrlr = c->qp->target->stopping ? NULL : nvmf_ctrlr_make(s, c->qp, &c->local, cntlid);
	if (!ctrlr)
		return NVME_SC_CONNECT_CTRL_BUSY;
	memcpy(ctrlr->who.name, c->data.hostnqn, sizeof(ctrlr->who.name) - 1);
	memcpy(ctrlr->who.host_id.b, c->data.hostid, sizeof(ctrlr->who.host_id.b));
	if (!s->discovery) {
		struct resv_identity id = { .kind = RESV_NVME_HOST, .host_id = ctrlr->who.host_id, .name = ctrlr->who.name };

		if (uuid_is_null(&id.host_id)) { /* no host that is known at another controller */
			id.target = s->nqn;
			id.port_id = ctrlr->cntlid;
		}
		bdev_initiator_enter(c->qp->target->reg, &ctrlr->who, &id);
	}
	ctrlr->kato_ms = kato_ms;
	ctrlr->nssr = s->nssr;
	/* A discovery controller without keep-alive is not persistent: it gets no events, and goes when it falls
	 * silent. */
	ctrlr->aer_default = s->discovery ? (kato_ms ? NVME_OAES_DISCOVERY : 0)
	                                  : NVME_OAES_NS | (s->ana_reporting ? NVME_OAES_ANA : 0);
	if (nvmf_subsystem_static(s, ctrlr->cntlid))
		ctrlr->saved = nvmf_subsystem_static(s, ctrlr->cntlid)->saved;
	if (s->discovery && !kato_ms)
		ctrlr->kato_ms = NVMF_DISCOVERY_KATO_MS;
	ctrlr->kato_connect_ms = ctrlr->kato_ms;
	c->ctrlr = ctrlr;
	c->seat = nvmf_seat_make(ctrlr, c->qp, 0);
	ctrlr->replaces = policy == NVMF_DUP_REPLACE;
	return NVME_SC_SUCCESS;
}

/* After the proof, where one is asked for: a stranger has not arrived. */
void nvmf_ctrlr_arrived(struct nvmf_ctrlr *c)
{
	if (atomic_exchange(&c->arrived, true))
		return;
	notify(c->target->core, NOTIFY_HOST_CONNECTED, "%s %s", c->who.name, c->nqn);
	log_info("host %s connected to %s as controller %u", c->who.name, c->nqn, c->cntlid);
}

/* Of a static one that is being replaced there are several: the latest that is enabled is meant. */
static struct nvmf_ctrlr *find_ctrlr(struct nvmf_subsystem *s, uint16_t cntlid)
{
	struct nvmf_ctrlr *found = NULL;

	list_each(l, &s->roster->ctrlrs) {
		struct nvmf_ctrlr *c = list_entry(l, struct nvmf_ctrlr, link);

		if (c->cntlid == cntlid && (!found || (!c->dying && atomic_load(&c->ready))))
			found = c;
	}
	return found;
}

static uint16_t join_ctrlr(struct connect *c, struct nvmf_subsystem *s)
{
	struct nvmf_ctrlr *ctrlr = find_ctrlr(s, le16_get(c->data.cntlid));
	uint16_t qid = le16_get(c->req->cmd.connect.qid);

	if (!ctrlr)
		return BAD_DATA(c, cntlid);
	if (strcmp(ctrlr->who.name, c->data.hostnqn))
		return BAD_DATA(c, hostnqn);
	if (memcmp(ctrlr->who.host_id.b, c->data.hostid, sizeof(c->data.hostid)))
		return BAD_DATA(c, hostid);
	if (ctrlr->discovery || ctrlr->dying || ctrlr->resetting || !atomic_load(&ctrlr->ready))
		return BAD_CMD(c, qid);
	if (ctrlr->transport != c->qp->transport || nvme_cc_iosqes(atomic_load(&ctrlr->cc)) != 6 ||
	    nvme_cc_iocqes(atomic_load(&ctrlr->cc)) != 4)
		return BAD_CMD(c, qid);
	if (qid > atomic_load(&ctrlr->io_queues))
		return NVME_SC_QID_INVALID | NVME_SC_DNR;
	if (ctrlr->seat_by_qid[qid]) /* a stranger may hold it, who has to go soon: then it is worth another try */
		return NVME_SC_QID_INVALID | (nvmf_auth_is_open(ctrlr->seat_by_qid[qid]) ? 0 : NVME_SC_DNR);
	c->ctrlr = ctrlr;
	c->seat = nvmf_seat_make(ctrlr, c->qp, qid);
	return NVME_SC_SUCCESS;
}

/* What was set over RPC; it may be worth another try when others have gone. */
static uint16_t check_limits(struct connect *c)
{
	struct nvmf_target *t = c->qp->target;
	bool admin = !le16_get(c->req->cmd.connect.qid), full = t->conns_max && t->conns >= t->conns_max;
	bool many = admin && t->ctrlrs_max && t->ctrlrs_alive >= t->ctrlrs_max;

	if (!full && !many)
		return NVME_SC_SUCCESS;
	t->conns_refused += full;
	t->ctrlrs_refused += many && !full;
	if (log_may(&t->complaints))
		log_warning("host %s is refused a connection to %s: there are %u %s, as many as nvmf_set_limits allows",
		            c->data.hostnqn, c->data.subsysnqn, full ? t->conns : t->ctrlrs_alive,
		            full ? "connections" : "controllers");
	return NVME_SC_CONNECT_CTRL_BUSY;
}

static void decide_on_control(struct msg *m)
{
	struct connect *c = container_of(m, struct connect, msg);
	struct nvmf_subsystem *s = NULL;

	c->status = check_command(c);
	if (!c->status) {
		s = nvmf_config_find(c->qp->target->config, c->data.subsysnqn);
		c->status = check_access(c, s);
	}
	if (!c->status)
		c->status = check_limits(c);
	if (!c->status)
		c->status = le16_get(c->req->cmd.connect.qid) ? join_ctrlr(c, s) : found_ctrlr(c, s);
	log_debug("nvmf: connect of %.*s to queue %u of %.*s: status %03xh", (int)sizeof(c->data.hostnqn), c->data.hostnqn,
	          le16_get(c->req->cmd.connect.qid), (int)sizeof(c->data.subsysnqn), c->data.subsysnqn, c->status);
	if (c->seat) {
		c->must_authenticate = nvmf_subsystem_wants_proof(s, c->data.hostnqn) &&
		                       !(c->tls_hash && nvmf_tls_is_generated(c->identity)); /* it has just proved it */
		c->concat = c->concat_only ? NVMF_AUTH_NEW_TLS_PSK :
		            c->tls_hash && nvmf_tls_is_generated(c->identity) ? NVMF_AUTH_REPLACE_TLS_PSK : 0;
		if (!c->must_authenticate)
			nvmf_ctrlr_arrived(c->ctrlr);
		c->seat->size = (uint16_t)(le16_get(c->req->cmd.connect.sqsize) + 1);
		c->seat->tls_hash = c->tls_hash;
		c->seat->tls_identity = c->tls_hash ? base_strdup(c->identity) : NULL;
		c->seat->local = c->local;
		c->seat->peer = c->peer;
	}
	msg_send(c->qp->reactor, m, answer_on_core);
}

/* --- the queue pair's core -------------------------------------------------------------------------------- */

static void bind_qpair(struct connect *c)
{
	struct nvmf_qpair *qp = c->qp;
	struct nvmf_ctrlr *ctrlr = c->ctrlr;
	const struct nvme_connect *cmd = &c->req->cmd.connect;

	assert(!qp->seat && qp->reactor == reactor_self());
	qp->ctrlr = ctrlr;
	qp->seat = c->seat;
	qp->sub_id = ctrlr->sub_id;
	qp->qid = c->seat->qid;
	qp->size = (uint16_t)(le16_get(cmd->sqsize) + 1);
	qp->flow_control_off = cmd->cattr & NVME_CATTR_DISABLE_SQFLOW;
	if (!qp->qid || !c->must_authenticate) /* otherwise a stranger would keep the controller alive */
		qp->last_seen = &ctrlr->seen[qp->qid].ns;
	qp->busy_ns = atomic_load(&ctrlr->smart.busy_ns); /* it goes on where others ended */
	qp->lease = &ctrlr->lease;
	qp->lease_epoch = c->seat->epoch;
	nvmf_qpair_seen(qp);
	if (qp->closing) /* its connection went while the control reactor decided: closing gives the seat back */
		return;
	qp->connected = true;
	if (qp->qid) {
		nvmf_count(&qp->nc->io_qpairs);
		atomic_fetch_add_explicit(&qp->nc->current_io_qpairs, 1, memory_order_relaxed);
	} else {
		/* It does next to nothing: its place is an I/O queue's to take. */
		nvmf_target_unplace(qp->target, qp->reactor);
		qp->counted = false;
		nvmf_count(&qp->nc->admin_qpairs);
		atomic_fetch_add_explicit(&qp->nc->current_admin_qpairs, 1, memory_order_relaxed);
		nvmf_ctrlr_begin(ctrlr, qp);
	}
	qp->served = !c->must_authenticate;
	qp->concat = qp->qid ? 0 : c->concat;
	if (c->must_authenticate)
		nvmf_auth_require(qp);
	qp->transport->ops->qpair_sized(qp);
}

static void answer_on_core(struct msg *m)
{
	struct connect *c = container_of(m, struct connect, msg);
	struct nvmf_req *req = c->req;
	uint16_t status = c->status;

	assert(c->qp->connecting);
	c->qp->connecting = false;
	if (!status) {
		bind_qpair(c);
		req->cpl.cntlid = le16_of(c->ctrlr->cntlid);
		req->cpl.authreq = le16_of((c->must_authenticate ? NVME_AUTHREQ_ATR : 0) |
		                           (c->concat_only ? NVME_AUTHREQ_ASCR : 0));
	}
	free(c);
	nvmf_req_complete(req, status);
}

/* --- Disconnect: an I/O queue goes by itself ----------------------------------------------------------------- */

bool nvmf_disconnect_parse(struct nvmf_req *req)
{
	if (!req->qpair->qid)
		return nvmf_req_refuse(req, NVME_SC_DISCONNECT_INVALID_QTYPE | NVME_SC_DNR);
	if (le16_get(req->cmd.disconnect.recfmt))
		return nvmf_req_refuse(req, NVME_SC_CONNECT_FORMAT | NVME_SC_DNR);
	return true;
}

/* The answer goes out, then the connection is closed: what the host had not waited for is aborted. */
void nvmf_disconnect_run(struct nvmf_req *req)
{
	nvmf_req_complete(req, NVME_SC_SUCCESS);
	nvmf_qpair_mail(req->qpair, NVMF_MAIL_DISCONNECT);
}
