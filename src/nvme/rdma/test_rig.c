/* SPDX-License-Identifier: BSD-3-Clause */
/* test_rig.c: the scripted target and the host of test_rig.h. */
#include "nvme/rdma/test_rig.h"

#include <errno.h>
#include <stdio.h>

/* --- what the target says --------------------------------------------------------------------------------------- */

static struct nvme_sqe *capsule_at(struct rig_peer *p, uint32_t index)
{
	return (struct nvme_sqe *)((uint8_t *)p->mem.base + (size_t)index * RIG_CAPSULE);
}

static struct nvme_cqe *answer_at(struct rig_peer *p, uint32_t index)
{
	return (struct nvme_cqe *)((uint8_t *)p->mem.base + (size_t)RIG_DEPTH * RIG_CAPSULE) + 2 * index;
}

static void post(struct rig_peer *p, const struct verbs_wr *wr)
{
	const struct verbs_wr *bad;

	if (p->conn && !p->broken && verbs_post(p->conn, wr, &bad))
		p->broken = true;
}

static void receive(struct rig_peer *p, uint32_t index)
{
	p->sges[index] = (struct verbs_sge){ (uintptr_t)capsule_at(p, index), RIG_CAPSULE, p->mem.lkey };
	p->recvs[index] = (struct verbs_recv){ .ctx = &p->commands[index], .sges = &p->sges[index], .sge_count = 1 };
	if (!p->broken && verbs_post_recv(p->conn, &p->recvs[index]))
		p->broken = true;
}

void rig_say(struct rig_peer *p, uint32_t index, uint32_t len)
{
	struct verbs_sge sge = { (uintptr_t)answer_at(p, index), len, p->mem.lkey };

	post(p, &(struct verbs_wr){ .ctx = &p->commands[index], .sges = &sge, .sge_count = len ? 1 : 0, .op = VERBS_SEND,
	                            .signaled = true });
	p->answered++;
}

void rig_say_bytes(struct rig_peer *p, uint32_t index, const void *bytes, uint32_t len)
{
	memcpy(answer_at(p, index), bytes, len);
	rig_say(p, index, len);
}

void rig_answer_cid(struct rig_peer *p, uint32_t index, uint16_t cid)
{
	*answer_at(p, index) = (struct nvme_cqe){ .cid = le16_of(cid) };
	rig_say(p, index, sizeof(struct nvme_cqe));
}

void rig_invalidate(struct rig_peer *p, uint32_t index)
{
	struct verbs_sge sge = { (uintptr_t)answer_at(p, index), sizeof(struct nvme_cqe), p->mem.lkey };
	struct rig *r = p->rig;
	uint32_t rkey;

	if (r->key)
		return;
	r->key = sim_key_make(r->host_adapter, r->key_bytes, sizeof(r->key_bytes), &rkey);
	*answer_at(p, index) = (struct nvme_cqe){ .cid = capsule_at(p, index)->cid };
	post(p, &(struct verbs_wr){ .ctx = &p->commands[index], .sges = &sge, .sge_count = 1, .op = VERBS_SEND_INVALIDATE,
	                            .signaled = true, .rkey = rkey });
}

void rig_answer(struct rig_peer *p, uint32_t index, uint64_t value, uint16_t status)
{
	struct nvme_cqe *cqe = answer_at(p, index);

	*cqe = (struct nvme_cqe){ .cid = capsule_at(p, index)->cid };
	cqe->value = le64_of(value);
	nvme_cqe_set_status(cqe, status);
	receive(p, index); /* before the host may send the next */
	rig_say(p, index, sizeof(*cqe));
}

/* --- data ------------------------------------------------------------------------------------------------------- */

static void move_one(struct rig_peer *p, uint32_t index, const struct nvme_sgl *sgl, uint32_t at, bool to_host)
{
	struct verbs_sge sge = { (uintptr_t)p->rig->disk.base + at, nvme_sgl_klength(sgl), p->rig->disk.lkey };

	must(sgl->id == NVME_SGL_ID(NVME_SGL_KEYED_DATA_BLOCK, NVME_SGL_ADDRESS));
	must(at + sge.len <= p->rig->disk.len);
	if (!sge.len)
		return;
	p->commands[index].reads_left += !to_host;
	post(p, &(struct verbs_wr){ .ctx = &p->commands[index], .sges = &sge, .sge_count = 1,
	                            .op = to_host ? VERBS_WRITE : VERBS_READ, .signaled = !to_host,
	                            .rkey = le32_get(sgl->key), .remote = le64_get(sgl->addr) });
}

void rig_write_to(struct rig_peer *p, uint32_t index, const struct nvme_sgl *sgl)
{
	move_one(p, index, sgl, 0, true);
}

/* Data of a command at byte `at` of the disk; a write is answered when all has come. */
static void move(struct rig_peer *p, uint32_t index, uint32_t at, bool to_host)
{
	const struct nvme_sqe *cmd = capsule_at(p, index);
	const struct nvme_sgl *sgl = &cmd->sgl1, *list = (const struct nvme_sgl *)(cmd + 1);

	p->commands[index].reads_left = 0;
	if (sgl->id == NVME_SGL_ID(NVME_SGL_DATA_BLOCK, NVME_SGL_OFFSET)) {
		must(!to_host);
		memcpy((uint8_t *)p->rig->disk.base + at, cmd + 1, le32_get(sgl->length));
		p->rig->in_capsule++;
	} else if (sgl->id == NVME_SGL_ID(NVME_SGL_LAST_SEGMENT, NVME_SGL_OFFSET)) {
		for (uint32_t i = 0; i < le32_get(sgl->length) / sizeof(*list); i++) {
			move_one(p, index, &list[i], at, to_host);
			at += nvme_sgl_klength(&list[i]);
		}
		p->rig->lists++;
	} else {
		move_one(p, index, sgl, at, to_host);
		p->rig->keyed++;
	}
	if (!p->commands[index].reads_left)
		rig_answer(p, index, 0, 0);
}

/* A page of ours, from the end of the disk's memory. */
static void give_page(struct rig_peer *p, uint32_t index, const void *page)
{
	uint32_t at = RIG_DISK_BYTES + index * NVME_IDENTIFY_SIZE;

	memcpy((uint8_t *)p->rig->disk.base + at, page, NVME_IDENTIFY_SIZE);
	move(p, index, at, true);
}

/* --- commands --------------------------------------------------------------------------------------------------- */

static void identify(struct rig_peer *p, uint32_t index, const struct nvme_sqe *cmd)
{
	uint8_t page[NVME_IDENTIFY_SIZE] = { 0 };

	if (cmd->identify.cns == NVME_CNS_CTRL)
		memcpy(page, &p->rig->id, sizeof(page));
	else if (cmd->identify.cns == NVME_CNS_NS_ACTIVE_LIST && !le32_get(cmd->nsid))
		*(le32 *)page = le32_of(1);
	else if (cmd->identify.cns == NVME_CNS_NS)
		memcpy(page, &p->rig->ns, sizeof(page));
	give_page(p, index, page);
}

static void admin_command(struct rig_peer *p, uint32_t index, const struct nvme_sqe *cmd)
{
	struct rig *r = p->rig;
	uint64_t value = 0;

	if (cmd->opc == NVME_ADMIN_IDENTIFY) {
		identify(p, index, cmd);
		return;
	}
	if (cmd->opc == NVME_ADMIN_ASYNC_EVENT)
		return;
	if (cmd->opc == NVME_ADMIN_FABRICS && cmd->fctype == NVME_FABRICS_PROPERTY_SET)
		r->cc = (uint32_t)le64_get(cmd->property.value);
	if (cmd->opc == NVME_ADMIN_FABRICS && cmd->fctype == NVME_FABRICS_PROPERTY_GET)
		value = le32_get(cmd->property.ofst) == NVME_REG_CAP ? 127 :
		        nvme_csts_with_shst(nvme_cc_en(r->cc), nvme_cc_shn(r->cc) ? 2 : 0);
	rig_answer(p, index, value, 0);
}

void rig_behave(struct rig_peer *p, uint32_t index, const struct nvme_sqe *cmd)
{
	if (cmd->opc == NVME_ADMIN_FABRICS && cmd->fctype == NVME_FABRICS_CONNECT) {
		p->qid = le16_get(cmd->connect.qid);
		p->connected = true;
		move(p, index, RIG_DISK_BYTES + index * NVME_IDENTIFY_SIZE, false);
	} else if (!p->qid) {
		admin_command(p, index, cmd);
	} else if (cmd->opc == NVME_CMD_READ || cmd->opc == NVME_CMD_WRITE || cmd->opc == NVME_CMD_COMPARE) {
		move(p, index, (uint32_t)le64_get(cmd->rw.slba) * RIG_BLOCK, cmd->opc == NVME_CMD_READ);
	} else {
		rig_answer(p, index, 0, 0);
	}
}

static void is_later(struct timer *t)
{
	struct rig_command *c = container_of(t, struct rig_command, later);

	if (!c->peer->broken)
		rig_behave(c->peer, c->index, capsule_at(c->peer, c->index));
}

void rig_behave_later(struct rig_peer *p, uint32_t index)
{
	timer_start(&p->commands[index].later, core_random_u64() % (200 * NS_PER_US), is_later);
}

static void done(void *arg, const struct verbs_wc *wcs, uint32_t count)
{
	(void)arg;
	for (uint32_t i = 0; i < count; i++) {
		struct rig_command *c = wcs[i].ctx;
		struct rig_peer *p = verbs_conn_arg(wcs[i].conn);
		const struct nvme_sqe *cmd;

		if (wcs[i].status != VERBS_OK) {
			p->broken = true;
			continue;
		}
		cmd = capsule_at(p, c->index);
		if (wcs[i].op == VERBS_READ && --c->reads_left == 0)
			rig_answer(p, c->index, p->connected && p->came == 0, 0); /* Connect gives controller id 1 */
		if (wcs[i].op != VERBS_RECV)
			continue;
		p->came += p->connected;
		if (!p->rig->hook || !p->rig->hook(p, c->index, cmd))
			rig_behave(p, c->index, cmd);
	}
}

/* --- connections ------------------------------------------------------------------------------------------------ */

static void conn_event(void *arg, enum verbs_conn_event event, const struct verbs_params *params, int rc)
{
	struct rig_peer *p = arg;

	(void)params, (void)rc;
	if (event == VERBS_CONN_ESTABLISHED &&
	    (le16_get(p->req.qid) ? p->rig->accept_io : p->rig->accept) == RIG_ACCEPT_AND_CLOSE)
		verbs_disconnect(p->conn);
	else if (event != VERBS_CONN_ESTABLISHED)
		p->broken = true;
}

static void make_queues(struct rig_peer *p)
{
	struct verbs_queues q = { .cq = p->rig->cq, .send_max = 4 * RIG_DEPTH, .recv_max = 2 * RIG_DEPTH, .send_sge_max = 1,
		                  .recv_sge_max = 1 };

	must(!verbs_conn_make_queues(p->conn, &q, NULL));
	must(!verbs_mem_make(&p->mem, p->rig->dev, RIG_DEPTH * (RIG_CAPSULE + 2 * sizeof(struct nvme_cqe)), NULL));
	for (uint32_t i = 0; i < RIG_DEPTH; i++) {
		p->commands[i] = (struct rig_command){ .peer = p, .index = i };
		receive(p, i);
	}
}

static void asked(void *arg, struct verbs_conn *c, const struct verbs_params *params)
{
	struct rig *r = arg;
	struct rig_peer *p = r->peers[r->peer_count++] = base_zalloc(sizeof(*p));
	struct nvme_rdma_cm_rep rep = { .crqsize = le16_of(r->crqsize) };
	struct nvme_rdma_cm_rej rej = { .sts = le16_of(r->reject_sts) };
	enum rig_accept how;

	must(r->peer_count <= RIG_PEERS && params->data_len >= sizeof(p->req));
	memcpy(&p->req, params->data, sizeof(p->req));
	p->rig = r;
	p->conn = c;
	how = le16_get(p->req.qid) ? r->accept_io : r->accept;
	verbs_conn_set_event(c, conn_event, p);
	if (how == RIG_IGNORE)
		return;
	if (how == RIG_REJECT) {
		verbs_reject(c, &rej, sizeof(rej));
		return;
	}
	if (how == RIG_ACCEPT_FORMAT)
		rep.recfmt = le16_of(7);
	make_queues(p);
	must(!verbs_accept(c, &(struct verbs_params){ .data = &rep, .data_len = sizeof(rep), .read_depth = 16, .retries = 7,
	                                              .rnr_retries = 7 }));
}

static void adapter_event(struct verbs_watcher *w, struct verbs_dev *d, enum verbs_dev_event event)
{
	struct rig *r = container_of(w, struct rig, watcher);

	if (event == VERBS_DEV_CAME)
		r->dev = d;
}

static bool target_has_adapter(void *arg) { return ((struct rig *)arg)->dev; }

static void target_look(void *arg)
{
	struct rig *r = arg;

	r->v = verbs_get(r->target_core, NULL);
	must(r->v);
	r->watcher.event = adapter_event;
	verbs_watch(r->v, &r->watcher);
}

static void target_open(void *arg)
{
	struct rig *r = arg;
	struct net_addr addr;

	r->cq = verbs_cq_make(r->dev, 1024, NULL);
	must(r->cq && !verbs_cq_start(r->cq, done, r));
	must(!verbs_mem_make(&r->disk, r->dev, RIG_DISK_BYTES + RIG_DEPTH * NVME_IDENTIFY_SIZE, NULL));
	must(!net_addr_parse(NET_IPV4, "10.0.0.2", "4420", &addr, NULL));
	r->listener = verbs_listen(r->v, &addr, 0, asked, r, NULL);
	must(r->listener);
}

static void target_close(void *arg)
{
	struct rig *r = arg;

	verbs_listener_close(r->listener);
	for (uint32_t i = 0; i < r->peer_count; i++) {
		struct rig_peer *p = r->peers[i];

		for (uint32_t n = 0; n < RIG_DEPTH; n++)
			timer_stop(&p->commands[n].later);
		if (p->mem.base)
			verbs_conn_forget(p->conn);
		verbs_conn_free(p->conn);
		verbs_mem_free(&p->mem);
		free(p);
	}
	if (r->key)
		sim_key_free(r->key);
	verbs_cq_stop(r->cq);
	verbs_cq_free(r->cq);
	verbs_mem_free(&r->disk);
	verbs_unwatch(r->v, &r->watcher);
	verbs_put(r->v);
}

struct rig_peer *rig_io_peer(struct rig *r)
{
	for (uint32_t i = r->peer_count; i--;)
		if (le16_get(r->peers[i]->req.qid))
			return r->peers[i];
	return NULL;
}

/* --- the host --------------------------------------------------------------------------------------------------- */

static void ctrlr_ready(struct nvme_ctrlr *c, const struct err *e, void *arg)
{
	struct rig *r = arg;

	r->ctrlr_ready = true;
	r->reason = nvme_ctrlr_reason(c);
	if (e)
		r->err = *e;
}

static void ctrlr_gone(struct nvme_ctrlr *c, const struct err *e, void *arg)
{
	struct rig *r = arg;

	r->ctrlr_gone++;
	r->reason = nvme_ctrlr_reason(c);
	r->err = *e;
}

static void open_ctrlr(void *arg)
{
	struct rig *r = arg;

	r->host = nvme_host_make(r->host_core);
	nvme_rdma_add(r->host);
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
	must(r->ended == r->submitted); /* all came back before */
}

void rig_qp_open(void *arg)
{
	struct rig *r = arg;
	struct nvme_login login;

	must(nvme_ctrlr_login(r->ctrlr, &login));
	r->qp = nvme_qpair_open(r->host, &login, 1, qp_ready, qp_gone, r);
}

static void qp_closed(void *arg)
{
	struct rig *r = arg;

	r->qp_closed = true;
	must(r->ended == r->submitted);
}

void rig_qp_close(void *arg)
{
	struct rig *r = arg;
	struct nvme_qpair *qp = r->qp;

	r->qp = NULL;
	if (qp)
		nvme_qpair_close_then(qp, qp_closed, r);
	else
		r->qp_closed = true;
}

static uint8_t byte_of(uint32_t seed, uint32_t at)
{
	return (uint8_t)(seed * 31 + at * 7 + at / 256);
}

#define SKIPPED 0x5a

static void each_byte(struct rig_op *t, bool check)
{
	uint32_t skip = t->op.iov_at, at = 0;

	for (uint16_t i = 0; i < t->op.iov_count; i++) {
		uint8_t *bytes = t->op.iovs[i].iov_base;

		for (size_t n = 0; n < t->op.iovs[i].iov_len; n++) {
			if (skip) {
				skip--;
				t->rig->wrong_bytes += bytes[n] != SKIPPED;
				continue;
			}
			if (check)
				t->rig->wrong_bytes += bytes[n] != byte_of(t->seed, at);
			else
				bytes[n] = byte_of(t->seed, at);
			at++;
		}
	}
}

/* Its memory is given back at once, and may not be touched then: sanitizers see who does. */
static void op_done(struct nvme_op *op)
{
	struct rig_op *t = container_of(op, struct rig_op, op);

	t->ends++;
	t->rig->ended++;
	t->status = nvme_op_status(op);
	t->sent = op->sent;
	/* The target could still write into it. */
	t->rig->too_early += t->rig->ended_by_us && t->sent && t->status == NVME_SC_HOST_PATH_ERROR && !t->heap &&
	                     sim_adapter_conns(t->rig->host_adapter) > 1;
	if (t->check && !t->status)
		each_byte(t, true);
	mem_give(&t->bufs);
	free(t->heap);
	t->heap = NULL;
}

/* What lies before the command's data is somebody else's. */
static void skipped(struct rig_op *t)
{
	uint32_t left = t->op.iov_at;

	for (uint16_t i = 0; left; i++) {
		uint32_t len = min_u32(left, (uint32_t)t->op.iovs[i].iov_len);

		memset(t->op.iovs[i].iov_base, SKIPPED, len);
		left -= len;
	}
}

struct rig_op *rig_op_make(struct rig *r, uint8_t opc, uint32_t len, uint64_t lba)
{
	struct rig_op *t = base_zalloc(sizeof(*t));

	must(r->submitted < RIG_OPS);
	r->ops[r->submitted++] = t;
	t->rig = r;
	t->seed = (uint32_t)lba + 1;
	if (r->op_heap) {
		t->heap = base_zalloc(r->op_skip + len);
		t->iov = (struct iovec){ t->heap, r->op_skip + len };
		t->op.iovs = &t->iov;
		t->op.iov_count = 1;
	} else {
		must(mem_take(&t->bufs, r->op_skip + len));
		t->op.iovs = mem_iov(&t->bufs);
		t->op.iov_count = (uint16_t)t->bufs.count;
	}
	t->op.cmd = nvme_sqe_rw(opc, 1, lba, len / RIG_BLOCK);
	t->op.data = opc == NVME_CMD_READ ? NVME_OP_TO_HOST : NVME_OP_TO_CTRLR;
	t->op.iov_at = r->op_skip;
	skipped(t);
	t->op.data_len = len;
	t->op.done = op_done;
	t->check = opc == NVME_CMD_READ;
	if (!t->check)
		each_byte(t, false);
	return t;
}

static void submit(struct rig *r, uint8_t opc)
{
	nvme_qpair_submit(r->qp, &rig_op_make(r, opc, r->op_bytes, 0)->op);
}

void rig_read(void *rig) { submit(rig, NVME_CMD_READ); }
void rig_write(void *rig) { submit(rig, NVME_CMD_WRITE); }

static void ctrlr_closed(void *arg)
{
	((struct rig *)arg)->closed = true;
}

static void close_ctrlr(void *arg)
{
	struct rig *r = arg;

	nvme_ctrlr_close(r->ctrlr, ctrlr_closed, r);
}

static void nothing_left(void *arg)
{
	struct rig *r = arg;

	nvme_host_free(r->host);
	r->idle = true;
}

static void wait_idle(void *arg)
{
	struct rig *r = arg;

	nvme_host_when_idle(r->host, nothing_left, r);
}

/* --- the world -------------------------------------------------------------------------------------------------- */

bool rig_is_ready(void *rig) { return ((struct rig *)rig)->ctrlr_ready; }
bool rig_is_qp_ready(void *rig) { return ((struct rig *)rig)->qp_ready; }
bool rig_is_qp_closed(void *rig) { return ((struct rig *)rig)->qp_closed; }
bool rig_all_ended(void *rig) { return ((struct rig *)rig)->ended == ((struct rig *)rig)->submitted; }
bool rig_is_gone(void *rig) { return ((struct rig *)rig)->gone; }
bool rig_has_err(void *rig) { return ((struct rig *)rig)->err.code; }
static bool is_closed(void *rig) { return ((struct rig *)rig)->closed; }
static bool is_idle(void *rig) { return ((struct rig *)rig)->idle; }

void rig_on_host(struct rig *r, void (*fn)(void *arg)) { sim_as(core_reactor(r->host_core, 0), fn, r); }
void rig_on_control(struct rig *r, void (*fn)(void *arg)) { sim_as(core_control(r->host_core), fn, r); }
void rig_on_target(struct rig *r, void (*fn)(void *arg)) { sim_as(core_control(r->target_core), fn, r); }

static void set_defaults(struct rig *r)
{
	must(!nvme_path_parse("trtype:RDMA traddr:10.0.0.2 trsvcid:4420 subnqn:" RIG_NQN, &r->path, NULL));
	r->opts.connect_timeout_ms = r->opts.connect_timeout_ms ? r->opts.connect_timeout_ms : 500;
	r->opts.io_queue_size = r->opts.io_queue_size ? r->opts.io_queue_size : 33;
	if (r->traddr)
		snprintf(r->path.traddr, sizeof(r->path.traddr), "%s", r->traddr);
	if (r->trsvcid)
		snprintf(r->path.trsvcid, sizeof(r->path.trsvcid), "%s", r->trsvcid);
	r->id.cntrltype = NVME_CNTRLTYPE_IO;
	if (!le32_get(r->id.sgls))
		r->id.sgls = le32_of(NVME_SGLS_SUPPORTED | NVME_SGLS_KEYED | NVME_SGLS_OFFSET);
	if (!le32_get(r->id.ioccsz))
		r->id.ioccsz = le32_of(RIG_CAPSULE / 16);
	if (!r->id.msdbd)
		r->id.msdbd = 1;
	r->ns.nsze = r->ns.ncap = le64_of(RIG_DISK_BYTES / RIG_BLOCK);
	r->ns.lbaf[0].ds = 9;
	r->op_bytes = r->op_bytes ? r->op_bytes : 8192;
	r->host_has.name = "host0";
	r->host_has.address = "10.0.0.1";
}

void rig_begin(struct rig *r, uint64_t seed)
{
	struct core_opts one = { .cpus = "[0]", .mode = CORE_INTERRUPT, .memory_bytes = 64 * MIB };

	set_defaults(r);
	sim_start(seed);
	sim_net_start(&(struct sim_net_opts){ .latency_ns_min = 1000, .latency_ns_max = 2000 });
	sim_verbs_start(NULL);
	r->target_core = core_make(&one, NULL);
	if (r->memory_bytes)
		one.memory_bytes = r->memory_bytes;
	r->host_core = core_make(&one, NULL);
	must(r->target_core && r->host_core);
	r->target_adapter = sim_adapter_add(r->target_core, &(struct sim_adapter_opts){ .name = "target0",
	                                                                                  .address = "10.0.0.2" });
	r->host_adapter = sim_adapter_add(r->host_core, &r->host_has);
	rig_on_target(r, target_look);
	must(sim_run(target_has_adapter, r, NS_PER_S));
	rig_on_target(r, target_open);
	rig_on_control(r, open_ctrlr);
	if (!r->no_wait)
		must(sim_run(rig_is_ready, r, 10 * NS_PER_S));
}

void rig_begin_io(struct rig *r, uint64_t seed)
{
	rig_begin(r, seed);
	must(r->ctrlr_ready && !r->err.code);
	rig_on_host(r, rig_qp_open);
	sim_run(rig_is_qp_ready, r, 10 * NS_PER_S);
}

void rig_end(struct rig *r)
{
	rig_on_host(r, rig_qp_close);
	must(sim_run(rig_is_qp_closed, r, 10 * NS_PER_S));
	rig_on_control(r, close_ctrlr);
	must(sim_run(is_closed, r, 10 * NS_PER_S));
	rig_on_control(r, wait_idle);
	must(sim_run(is_idle, r, 10 * NS_PER_S));
	rig_on_target(r, target_close);
	sim_run(NULL, NULL, 100 * NS_PER_MS); /* what is freed by and by */
	for (uint32_t i = 0; i < r->submitted; i++) {
		must(r->ops[i]->ends == 1);
		free(r->ops[i]);
	}
	sim_verbs_end();
	core_free(r->host_core);
	core_free(r->target_core);
	sim_net_end();
	sim_end();
}
