/* SPDX-License-Identifier: BSD-3-Clause */
/* test_rig.c: the scripted target and the host of test_rig.h. */
#include "nvme/test_rig.h"

#include <errno.h>

#include "base/crc32c.h"

/* --- what the target says --------------------------------------------------------------------------------- */

void rig_say(struct rig_peer *p, const void *bytes, uint32_t len)
{
	struct iovec iov = { (void *)(uintptr_t)bytes, len };

	if (p->sock && len) /* what does not fit is lost: a target that goes too far */
		(void)sock_send(p->sock, &iov, 1);
}

void rig_answer(struct rig_peer *p, uint16_t cid, uint64_t value, uint16_t status)
{
	struct nvme_cqe cqe = { .cid = le16_of(cid) };
	uint8_t at[FABRIC_PUT_MAX];

	cqe.value = le64_of(value);
	nvme_cqe_set_status(&cqe, status);
	rig_say(p, at, fabric_put_rsp(at, &p->tx, &cqe));
}

void rig_give(struct rig_peer *p, uint16_t cid, const void *data, uint32_t offset, uint32_t len, uint8_t flags,
              bool wrong_digest)
{
	uint8_t at[FABRIC_PUT_MAX], digest[NVME_TCP_DIGEST_SIZE];

	rig_say(p, at, fabric_put_c2h_data(at, &p->tx, cid, offset, len, flags));
	rig_say(p, data, len);
	if (!p->tx.ddgst || !len)
		return;
	fabric_put_digest(digest, crc32c_update(CRC32C_START, data, len));
	digest[0] ^= wrong_digest;
	rig_say(p, digest, sizeof(digest));
}

/* In one piece: the host sees all of them before it answers the first. */
void rig_ask(struct rig_peer *p, uint16_t cid, uint32_t offset, uint32_t len, uint32_t times)
{
	uint8_t at[2 * FABRIC_PUT_MAX];
	uint32_t used = 0;

	p->cid = cid;
	while (times--)
		used += fabric_put_r2t(at + used, &p->tx, cid, 7, offset, len);
	rig_say(p, at, used);
}

void rig_bye(struct rig_peer *p)
{
	if (p->sock)
		sock_close(p->sock);
	p->sock = NULL;
}

struct rig_peer *rig_admin(struct rig *r)
{
	for (uint32_t i = 0; i < r->peer_count; i++)
		if (r->peers[i].sock && r->peers[i].connected && !r->peers[i].qid)
			return &r->peers[i];
	return NULL;
}

/* --- what it does with a command -------------------------------------------------------------------------- */

static void list_namespaces(const struct rig *r, uint32_t after, le32 *list)
{
	for (uint32_t i = 0, n = 0; i < r->namespaces && n < 1024; i++)
		if (1 + i * r->stride > after)
			list[n++] = le32_of(1 + i * r->stride);
}

static void identify(struct rig_peer *p, const struct nvme_sqe *cmd)
{
	static uint8_t page[NVME_IDENTIFY_SIZE];
	const struct rig *r = p->rig;
	uint32_t nsid = le32_get(cmd->nsid);

	memset(page, 0, sizeof(page));
	if (cmd->identify.cns == NVME_CNS_CTRL)
		memcpy(page, &r->id, sizeof(page));
	else if (cmd->identify.cns == NVME_CNS_NS_ACTIVE_LIST)
		list_namespaces(r, nsid, (le32 *)page);
	else if (cmd->identify.cns == NVME_CNS_NS)
		memcpy(page, &r->ns, sizeof(page));
	else if (cmd->identify.cns == NVME_CNS_NS_DESC_LIST)
		memcpy(page, r->descs, sizeof(page));
	else if (cmd->identify.cns != NVME_CNS_CSI_CTRL) {
		rig_answer(p, le16_get(cmd->cid), 0, NVME_SC_INVALID_FIELD | NVME_SC_DNR);
		return;
	}
	rig_give(p, le16_get(cmd->cid), page, 0, sizeof(page), RIG_WHOLE, false);
}

static void give_log(struct rig_peer *p, const struct nvme_sqe *cmd)
{
	static uint8_t bytes[64 * 1024];
	struct rig *r = p->rig;
	uint64_t at = le64_get(cmd->get_log_page.lpo), len = nvme_get_log_page_size(&cmd->get_log_page);

	r->log_reads++;
	memset(bytes, 0, sizeof(bytes));
	must(len <= sizeof(bytes));
	if (at < r->log_len)
		memcpy(bytes, r->log + at, min_u64(len, r->log_len - at));
	rig_give(p, le16_get(cmd->cid), bytes, 0, (uint32_t)len, RIG_WHOLE, false);
}

static uint64_t property(const struct rig *r, uint32_t reg)
{
	if (reg == NVME_REG_CAP)
		return r->cap;
	if (r->csts)
		return r->csts;
	return nvme_csts_with_shst(nvme_cc_en(r->cc), nvme_cc_shn(r->cc) ? 2 : 0);
}

static void admin_command(struct rig_peer *p, const struct nvme_sqe *cmd)
{
	uint16_t cid = le16_get(cmd->cid);
	struct rig *r = p->rig;

	if (cmd->opc == NVME_ADMIN_IDENTIFY)
		identify(p, cmd);
	else if (cmd->opc == NVME_ADMIN_GET_LOG_PAGE)
		give_log(p, cmd);
	else if (cmd->opc == NVME_ADMIN_ASYNC_EVENT && p->events < ARRAY_SIZE(p->event_cids))
		p->event_cids[p->events++] = cid;
	else if (cmd->opc == NVME_ADMIN_FABRICS && cmd->fctype == NVME_FABRICS_PROPERTY_GET)
		rig_answer(p, cid, property(r, le32_get(cmd->property.ofst)), 0);
	else if (cmd->opc == NVME_ADMIN_FABRICS && cmd->fctype == NVME_FABRICS_PROPERTY_SET) {
		r->cc = (uint32_t)le64_get(cmd->property.value);
		rig_answer(p, cid, 0, 0);
	} else {
		r->keep_alives += cmd->opc == NVME_ADMIN_KEEP_ALIVE;
		rig_answer(p, cid, 0, 0); /* one queue of each kind */
	}
}

static void io_command(struct rig_peer *p, const struct nvme_sqe *cmd)
{
	static const uint8_t zeroes[RIG_OP_BYTES];
	uint16_t cid = le16_get(cmd->cid);
	uint32_t len = (le16_get(cmd->rw.nlb) + 1u) * RIG_BLOCK;

	if (cmd->opc == NVME_CMD_WRITE)
		rig_ask(p, cid, 0, len, 1);
	else if (cmd->opc == NVME_CMD_READ)
		rig_give(p, cid, zeroes, 0, len, RIG_WHOLE, false);
	else
		rig_answer(p, cid, 0, 0);
}

void rig_behave(struct rig_peer *p, const struct nvme_sqe *cmd)
{
	if (cmd->opc == NVME_ADMIN_FABRICS && cmd->fctype == NVME_FABRICS_CONNECT) {
		p->qid = le16_get(cmd->connect.qid);
		p->connected = true;
		rig_answer(p, le16_get(cmd->cid), 1, 0);
	} else if (p->qid) {
		io_command(p, cmd);
	} else {
		admin_command(p, cmd);
	}
}

/* --- how it listens ------------------------------------------------------------------------------------------ */

static void on_command(struct rig_peer *p, const struct nvme_sqe *cmd)
{
	p->commands += p->connected;
	if (!p->rig->hook || !p->rig->hook(p, cmd))
		rig_behave(p, cmd);
}

static void on_header(struct rig_peer *p)
{
	const union nvme_tcp_pdu *pdu = p->rx.pdu;
	uint8_t at[FABRIC_PUT_MAX];

	if (pdu->h.type == NVME_TCP_ICREQ) {
		uint8_t dgst = pdu->icreq.dgst;

		p->rx.as.ready = true;
		p->tx.hdgst = p->rx.as.framing.hdgst = dgst & NVME_TCP_DGST_HEADER;
		p->tx.ddgst = p->rx.as.framing.ddgst = dgst & NVME_TCP_DGST_DATA;
		rig_say(p, at, fabric_put_icresp(at, 0, dgst, 16384));
	} else if (pdu->h.type == NVME_TCP_CMD) {
		on_command(p, &pdu->cmd.sqe);
	} else if (pdu->h.type == NVME_TCP_H2CDATA) {
		p->last_came = pdu->h.flags & NVME_TCP_LAST;
	} else if (pdu->h.type == NVME_TCP_H2CTERM) {
		p->rig->term_fes = le16_get(pdu->term.fes);
	}
}

static void on_written(struct rig_peer *p)
{
	for (uint32_t i = 0; i < p->rx.span_len; i++)
		p->rig->wrong_bytes += p->rx.span[i] != (uint8_t)(p->rig->written++ * 7);
}

static void peer_event(void *arg, uint32_t events)
{
	static uint8_t buf[RIG_OP_BYTES];
	struct rig_peer *p = arg;
	const uint8_t *at = buf;
	enum fabric_rx_event ev;
	ssize_t got = events & SOCK_READABLE ? sock_recv(p->sock, buf, sizeof(buf)) : 0;

	if (got <= 0) {
		if (got != -EAGAIN && (events & (SOCK_READABLE | SOCK_FAILED)))
			rig_bye(p);
		return;
	}
	while (p->sock && !p->rig->deaf && (ev = fabric_rx_next(&p->rx, &at, buf + got)) != FABRIC_RX_MORE) {
		must(ev != FABRIC_RX_BAD);
		if (ev == FABRIC_RX_HEADER)
			on_header(p);
		if (ev == FABRIC_RX_DATA && p->rx.type == NVME_TCP_H2CDATA)
			on_written(p);
		if (ev == FABRIC_RX_END && p->rx.type == NVME_TCP_H2CDATA && p->last_came)
			rig_answer(p, p->cid, 0, 0);
	}
}

static void accepted(void *arg, struct sock *s)
{
	struct rig *r = arg;
	struct rig_peer *p = &r->peers[r->peer_count++];

	must(r->peer_count <= ARRAY_SIZE(r->peers));
	*p = (struct rig_peer){ .rig = r, .sock = s, .tx.align_bytes = 4 };
	fabric_rx_init(&p->rx, NVME_TCP_CONTROLLER);
	p->rx.as.icd_bytes_max = 2 * MIB; /* whatever a test lets it claim */
	p->rx.as.h2cdata_bytes_max = 16384;
	must(!sock_attach(s, peer_event, p));
}

static void target_open(void *arg)
{
	struct rig *r = arg;
	struct net_addr addr;

	must(!net_addr_parse(NET_IPV4, "127.0.0.1", "4420", &addr, NULL));
	r->listener = listener_open(&addr, 0, accepted, r, NULL);
	must(r->listener);
}

static void target_close(void *arg)
{
	struct rig *r = arg;

	listener_close(r->listener);
	for (uint32_t i = 0; i < r->peer_count; i++)
		rig_bye(&r->peers[i]);
}

/* --- the host ------------------------------------------------------------------------------------------------ */

static void ctrlr_ready(struct nvme_ctrlr *c, const struct err *e, void *arg)
{
	struct rig *r = arg;

	(void)c;
	r->ctrlr_ready = true;
	if (e)
		r->err = *e;
}

static void ctrlr_gone(struct nvme_ctrlr *c, const struct err *e, void *arg)
{
	struct rig *r = arg;

	(void)c;
	r->ctrlr_gone++;
	r->err = *e;
}

void rig_open(void *arg)
{
	struct rig *r = arg;

	r->ctrlr = nvme_ctrlr_open(r->host, &r->path, &r->opts, ctrlr_ready, ctrlr_gone, r);
}

static void qp_ready(struct nvme_qpair *qp, const struct err *e, void *arg)
{
	struct rig *r = arg;

	r->qp_ready = true;
	r->qp_reason = nvme_qpair_reason(qp);
	if (e)
		r->qp_err = *e;
}

static void qp_gone(struct nvme_qpair *qp, const struct err *e, void *arg)
{
	struct rig *r = arg;

	r->gone++;
	r->qp_reason = nvme_qpair_reason(qp);
	r->qp_err = *e;
}

void rig_qp_open(void *arg)
{
	struct rig *r = arg;
	struct nvme_login login;

	must(nvme_ctrlr_login(r->ctrlr, &login));
	r->qp = nvme_qpair_open(r->host, &login, 1, qp_ready, qp_gone, r);
}

#define SKIPPED 0x5a

/* What ended is freed at once, and all of it after a close: sanitizers see who touches it still. */
static void op_done(struct nvme_op *op)
{
	struct rig_op *t = container_of(op, struct rig_op, op);
	struct rig *r = t->rig;

	t->ends++;
	for (uint32_t i = 0; i < RIG_OP_SKIP; i++)
		must(t->buf[i] == SKIPPED);
	if (++r->ended == r->close_at) {
		nvme_qpair_close(r->qp);
		r->qp = NULL;
		must(r->ended == r->submitted);
	}
	free(t->buf);
	t->buf = NULL;
}

struct rig_op *rig_op_make(struct rig *r, uint8_t opc, uint32_t len)
{
	struct rig_op *t = base_zalloc(sizeof(*t));

	must(r->submitted < RIG_OPS);
	r->ops[r->submitted++] = t;
	t->rig = r;
	t->buf = base_zalloc(RIG_OP_SKIP + len);
	memset(t->buf, SKIPPED, RIG_OP_SKIP);
	for (uint32_t i = 0; i < len; i++)
		t->buf[RIG_OP_SKIP + i] = (uint8_t)(i * 7);
	t->iovs[0] = (struct iovec){ t->buf, RIG_OP_SKIP - 8 };
	t->iovs[1] = (struct iovec){ t->buf + RIG_OP_SKIP - 8, len + 8 };
	t->op.cmd = nvme_sqe_rw(opc, 1, 0, len / RIG_BLOCK);
	t->op.iovs = t->iovs;
	t->op.iov_count = 2;
	t->op.data = opc == NVME_CMD_READ ? NVME_OP_TO_HOST : NVME_OP_TO_CTRLR;
	t->op.iov_at = RIG_OP_SKIP;     /* what lies before is not its own */
	t->op.data_len = len;
	t->op.done = op_done;
	return t;
}

static void submit(struct rig *r, uint8_t opc, uint32_t len)
{
	nvme_qpair_submit(r->qp, &rig_op_make(r, opc, len)->op);
}

void rig_read(void *rig) { submit(rig, NVME_CMD_READ, 8 * RIG_BLOCK); }
void rig_write(void *rig) { submit(rig, NVME_CMD_WRITE, RIG_OP_BYTES); }

void rig_reads(void *rig)
{
	for (uint32_t i = 0; i < 8; i++)
		rig_read(rig);
}

static void ctrlr_closed(void *arg)
{
	((struct rig *)arg)->closed = true;
}

void rig_close(void *arg)
{
	struct rig *r = arg;

	if (r->qp)
		nvme_qpair_close(r->qp);
	r->qp = NULL;
	nvme_ctrlr_close(r->ctrlr, ctrlr_closed, r);
}

/* --- the world ------------------------------------------------------------------------------------------------ */

bool rig_is_ready(void *rig) { return ((struct rig *)rig)->ctrlr_ready; }
bool rig_is_qp_ready(void *rig) { return ((struct rig *)rig)->qp_ready; }
bool rig_is_closed(void *rig) { return ((struct rig *)rig)->closed; }
bool rig_all_ended(void *rig) { return ((struct rig *)rig)->ended == ((struct rig *)rig)->submitted; }
bool rig_has_err(void *rig) { return ((struct rig *)rig)->err.code; }

void rig_on_host(struct rig *r, void (*fn)(void *arg))
{
	sim_as(core_reactor(r->host_core, 0), fn, r);
}

void rig_on_target(struct rig *r, void (*fn)(void *arg))
{
	sim_as(core_control(r->target_core), fn, r);
}

static void set_defaults(struct rig *r)
{
	if (!r->path.trtype[0])
		must(!nvme_path_parse("trtype:TCP traddr:127.0.0.1 trsvcid:4420 subnqn:" RIG_NQN, &r->path, NULL));
	r->opts.connect_timeout_ms = r->opts.connect_timeout_ms ? r->opts.connect_timeout_ms : 500;
	r->opts.io_queue_size = r->opts.io_queue_size ? r->opts.io_queue_size : 4;
	r->cap = r->cap ? r->cap : 127;
	r->namespaces = r->namespaces ? r->namespaces : 1;
	r->stride = r->stride ? r->stride : 1;
	r->id.cntrltype = NVME_CNTRLTYPE_IO;
	r->id.mdts = 5;
	r->ns.nsze = r->ns.ncap = le64_of(4096);
	r->ns.lbaf[0].ds = 9;
}

void rig_begin(struct rig *r, uint64_t seed, enum sim_net_connect connect)
{
	const struct sim_net_opts net = { .latency_ns_min = 1000, .latency_ns_max = 2000, .buffer_bytes = 512 * 1024 };
	const struct core_opts one = { .cpus = "[0]", .mode = CORE_INTERRUPT, .memory_bytes = 64 * MIB };

	set_defaults(r);
	sim_start(seed);
	sim_net_start(&net);
	r->target_core = core_make(&one, NULL);
	r->host_core = core_make(&one, NULL);
	must(r->target_core && r->host_core);
	sim_net_set_connect(connect);
	rig_on_target(r, target_open);
	r->host = nvme_host_make(r->host_core);
	if (r->hold_open)
		return;
	rig_on_host(r, rig_open);
	sim_run(rig_is_ready, r, 10 * NS_PER_S);
}

void rig_begin_io(struct rig *r, uint64_t seed)
{
	rig_begin(r, seed, SIM_NET_ACCEPT);
	must(r->ctrlr_ready && !r->err.code);
	rig_on_host(r, rig_qp_open);
	must(sim_run(rig_is_qp_ready, r, NS_PER_S) && !r->qp_err.code);
}

void rig_end(struct rig *r)
{
	if (!r->closed) {
		rig_on_host(r, rig_close);
		must(sim_run(rig_is_closed, r, 10 * NS_PER_S));
	}
	rig_on_target(r, target_close);
	sim_run(NULL, NULL, 10 * NS_PER_MS); /* what was put off to the end of a pass */
	nvme_host_free(r->host);
	for (uint32_t i = 0; i < r->submitted; i++) {
		must(r->ops[i]->ends == 1);
		free(r->ops[i]->buf);
		free(r->ops[i]);
	}
	core_free(r->host_core);
	core_free(r->target_core);
	sim_net_end();
	sim_end();
}
