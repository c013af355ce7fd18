/* SPDX-License-Identifier: BSD-3-Clause */
/* client.c: one host of the simulation: connects, keeps its queues full of reads, writes and other commands, asks the
 * oracle about every answer, and connects anew when the network or the target took its connection.
 */
#include <stdio.h>

#include "world.h"

#define CLIENT_QPAIRS_MAX 4
#define CLIENT_TASKS_MAX 16
#define CLIENT_IO_BLOCKS_MAX 40
#define CLIENT_RETRY_NS (20 * NS_PER_MS)
#define CLIENT_IO_TIMEOUT_NS (5 * NS_PER_S)

enum kind { KIND_READ, KIND_WRITE, KIND_ZEROES, KIND_FLUSH };

struct task {
	struct nvme_op op;
	struct iovec iov[3];
	struct client *client;
	uint8_t *buf;
	enum kind kind;
	uint64_t lba, read_began;
	uint32_t count, generation;
	bool out, fua;
};

struct client {
	struct world *w;
	struct reactor *reactor;
	uint32_t index, qpair_count, task_count, qpairs_ready, tasks_out;
	struct nvme_path path;
	struct nvme_host_opts opts;
	struct nvme_ctrlr *ctrlr;
	struct nvme_qpair *qpairs[CLIENT_QPAIRS_MAX];
	struct task tasks[CLIENT_TASKS_MAX];
	struct timer retry, io_timeout;
	bool broken, running, over;
	/* of a static controller */
	struct nvme_op admin;
	uint16_t cntlid;
	uint32_t saving;
	bool resetting, of_subsystem;
	uint32_t step, polls;
	uint64_t cc;
	struct timer reset_due, poll;
};

static void client_connect(struct client *c);
static void task_next(struct task *t);
static void reset_starts(struct timer *t);

/* --- an end of a connection ------------------------------------------------------------------- */

static void retry_now(struct timer *t)
{
	client_connect(container_of(t, struct client, retry));
}

static void ctrlr_closed(void *arg)
{
	struct client *c = arg;

	c->ctrlr = NULL;
	if (c->w->ios_left && !seeds_failed()) {
		timer_start(&c->retry, CLIENT_RETRY_NS, retry_now);
		return;
	}
	c->over = true;
	c->w->clients_running--;
}

static void close_qpairs(struct client *c)
{
	for (uint32_t i = 0; i < c->qpair_count; i++) {
		if (c->qpairs[i])
			nvme_qpair_close(c->qpairs[i]);
		c->qpairs[i] = NULL;
	}
	if (c->tasks_out)
		seeds_fail("client %u: closing left %u commands without an answer", c->index, c->tasks_out);
}

/* Close everything; ctrlr_closed() decides what comes then. */
static void client_disconnect(struct client *c)
{
	if (c->broken)
		return;
	c->broken = true;
	c->running = c->resetting = false;
	timer_stop(&c->io_timeout);
	timer_stop(&c->reset_due);
	timer_stop(&c->poll);
	close_qpairs(c);
	nvme_ctrlr_close(c->ctrlr, ctrlr_closed, c);
}

/* As any host has one: a connection gone silent is given up. Answers put it off. */
static void io_timed_out(struct timer *t)
{
	client_disconnect(container_of(t, struct client, io_timeout));
}

/* --- commands --------------------------------------------------------------------------------- */

static void task_verify(struct task *t, bool ok)
{
	struct world *w = t->client->w;
	char why[256];

	switch (t->kind) {
	case KIND_READ:
		if (ok && !oracle_read_end(w->oracle, t->lba, t->count, t->read_began, t->buf, why, sizeof(why)))
			seeds_fail("client %u: %s", t->client->index, why);
		break;
	case KIND_WRITE:
	case KIND_ZEROES:
		oracle_write_end(w->oracle, t->lba, t->count, t->generation, ok);
		if (ok && t->fua)
			oracle_durable(w->oracle, t->lba, t->count, t->generation);
		break;
	case KIND_FLUSH:
		if (ok && w->volatile_disk)
			oracle_flush_end(w->oracle, t->read_began);
		break;
	}
}

/* Has the device a reason to answer so? */
static bool is_fault(struct world *w, uint16_t status)
{
	switch (status & ~NVME_SC_DNR) {
	case NVME_SC_GUARD_CHECK:
	case NVME_SC_REFTAG_CHECK:
		w->guarded++;
		return w->protected;
	case NVME_SC_READ_ERROR:
	case NVME_SC_WRITE_FAULT:
	case NVME_SC_INTERNAL:
	case NVME_SC_CMD_INTERRUPTED:
	case NVME_SC_CAP_EXCEEDED:
		return w->faulty;
	}
	return false;
}

static void task_done(struct nvme_op *op)
{
	struct task *t = container_of(op, struct task, op);
	struct client *c = t->client;
	uint16_t status = nvme_op_status(op);

	must(t->out);
	t->out = false;
	c->tasks_out--;
	if (c->running)
		timer_start(&c->io_timeout, CLIENT_IO_TIMEOUT_NS, io_timed_out);
	task_verify(t, status == NVME_SC_SUCCESS);
	sim_note((uint64_t)status << 32 | t->lba);
	if (status && status != NVME_SC_HOST_PATH_ERROR && status != NVME_SC_ABORT_QUEUE && !is_fault(c->w, status))
		seeds_fail("client %u: command %02xh of LBA %llu, %u blocks: %s", c->index, op->cmd.opc,
		           (unsigned long long)t->lba, t->count, nvme_status_text(status, false));
	if (c->running)
		task_next(t);
}

static void task_choose(struct task *t)
{
	struct world *w = t->client->w;
	uint32_t most = min_u32(nvme_ctrlr_info(t->client->ctrlr)->max_io_bytes / w->block_size, CLIENT_IO_BLOCKS_MAX);
	uint64_t dice = sim_draw(100);

	t->kind = dice < 45 ? KIND_READ : dice < 90 ? KIND_WRITE : dice < 96 ? KIND_ZEROES : KIND_FLUSH;
	t->count = (uint32_t)(sim_chance(70) ? 1 + sim_draw(3) : 1 + sim_draw(most));
	t->lba = sim_draw(w->blocks - t->count);
}

/* The buffer in up to three pieces, as hosts' buffers are. */
static void task_cut_buffer(struct task *t, uint32_t len)
{
	uint32_t at = 0;

	t->op.iov_count = 0;
	for (int i = 0; i < 3 && at < len; i++) {
		uint32_t piece = i == 2 ? len - at : (uint32_t)(1 + sim_draw(len - at));

		t->iov[t->op.iov_count++] = (struct iovec){ t->buf + at, piece };
		at += piece;
	}
}

static void task_submit(struct task *t)
{
	static const uint8_t opcodes[] = { NVME_CMD_READ, NVME_CMD_WRITE, NVME_CMD_WRITE_ZEROES };
	struct client *c = t->client;
	struct world *w = c->w;
	uint32_t len = t->kind == KIND_READ || t->kind == KIND_WRITE ? t->count * w->block_size : 0;

	t->op = (struct nvme_op){ .iovs = t->iov, .data_len = len, .done = task_done };
	t->op.cmd = t->kind == KIND_FLUSH ? nvme_sqe_rw(NVME_CMD_FLUSH, 1, 0, 1)
	                                  : nvme_sqe_rw(opcodes[t->kind], 1, t->lba, t->count);
	t->op.data = t->kind == KIND_READ ? NVME_OP_TO_HOST : t->kind == KIND_WRITE ? NVME_OP_TO_CTRLR : NVME_OP_NONE;
	task_cut_buffer(t, len);
	t->fua = w->volatile_disk && t->kind == KIND_WRITE && sim_chance(15);
	if (t->fua)
		t->op.cmd.rw.control = le16_of(NVME_RW_FUA);
	if (t->kind == KIND_READ || t->kind == KIND_FLUSH)
		t->read_began = oracle_read_begin(w->oracle);
	else if (t->kind == KIND_WRITE)
		t->generation = oracle_write_begin(w->oracle, t->lba, t->count, t->buf);
	else if (t->kind == KIND_ZEROES)
		t->generation = oracle_zeroes_begin(w->oracle, t->lba, t->count);
	t->out = true;
	c->tasks_out++;
	nvme_qpair_submit(c->qpairs[sim_draw(c->qpair_count)], &t->op);
}

static void task_next(struct task *t)
{
	struct client *c = t->client;

	if (c->w->ios_left == 0 || seeds_failed()) {
		if (c->tasks_out == 0)
			client_disconnect(c);
		return;
	}
	c->w->ios_left--;
	task_choose(t);
	task_submit(t);
}

/* --- connecting ------------------------------------------------------------------------------- */

static void qpair_gone(struct nvme_qpair *qp, const struct err *e, void *arg)
{
	struct client *c = arg;

	(void)qp;
	(void)e;
	if (!c->resetting) /* then it has to */
		client_disconnect(c);
}

static void qpair_ready(struct nvme_qpair *qp, const struct err *e, void *arg)
{
	struct client *c = arg;

	(void)qp;
	if (e) {
		client_disconnect(c);
		return;
	}
	if (++c->qpairs_ready < c->qpair_count)
		return;
	c->running = true;
	timer_start(&c->io_timeout, CLIENT_IO_TIMEOUT_NS, io_timed_out);
	if (c->w->statics && sim_chance(40))
		timer_start(&c->reset_due, sim_draw(20 * NS_PER_MS), reset_starts);
	for (uint32_t i = 0; i < c->task_count && c->running; i++)
		task_next(&c->tasks[i]);
}

static void ctrlr_gone(struct nvme_ctrlr *ctrlr, const struct err *e, void *arg)
{
	(void)ctrlr;
	(void)e;
	client_disconnect(arg);
}

static void open_qpairs(struct client *c)
{
	struct nvme_login login;

	must(nvme_ctrlr_login(c->ctrlr, &login));
	c->qpairs_ready = 0;
	for (uint16_t i = 0; i < c->qpair_count; i++)
		c->qpairs[i] = nvme_qpair_open(c->w->host, &login, (uint16_t)(i + 1), qpair_ready, qpair_gone, c);
}

/* --- a static controller: what was saved is there, and something else is saved -------------------- */

static void get_feature(struct client *c, uint8_t sel, nvme_op_fn *done)
{
	c->admin = (struct nvme_op){ .done = done };
	c->admin.cmd.opc = NVME_ADMIN_GET_FEATURES;
	c->admin.cmd.features.fid = NVME_FEAT_TEMP_THRESH;
	c->admin.cmd.features.sel = sel;
	nvme_ctrlr_submit_admin(c->ctrlr, &c->admin);
}

static void set_feature(struct client *c, uint32_t value, bool save, nvme_op_fn *done)
{
	c->admin = (struct nvme_op){ .done = done };
	c->admin.cmd.opc = NVME_ADMIN_SET_FEATURES;
	c->admin.cmd.features.fid = NVME_FEAT_TEMP_THRESH;
	c->admin.cmd.features.sv = save ? 0x80 : 0;
	c->admin.cmd.features.cdw11 = le32_of(value);
	nvme_ctrlr_submit_admin(c->ctrlr, &c->admin);
}

static void feature_saved(struct nvme_op *op)
{
	struct client *c = container_of(op, struct client, admin);

	sim_note(nvme_op_status(op));
	if (!nvme_op_status(op) && c->saving > c->w->saved[c->cntlid])
		c->w->saved[c->cntlid] = c->saving;
	c->w->saves += !nvme_op_status(op);
	if (c->broken)
		return;
	if (nvme_op_status(op))
		client_disconnect(c);
	else if (sim_chance(30))
		reset_starts(&c->reset_due);
	else
		open_qpairs(c);
}

/* What was asked for and never answered may have been saved, too. */
static void feature_read(struct nvme_op *op)
{
	struct client *c = container_of(op, struct client, admin);
	struct world *w = c->w;
	uint32_t value = le32_get(op->cpl.dw0);

	if (c->broken)
		return;
	if (nvme_op_status(op)) {
		client_disconnect(c);
		return;
	}
	if (w->saved[c->cntlid] && (value < w->saved[c->cntlid] || value > w->saved_last))
		seeds_fail("client %u: controller %u has %u saved, and %u was the last that a host was told of", c->index,
		           c->cntlid, value, w->saved[c->cntlid]);
	w->recalled += w->saved[c->cntlid] != 0;
	c->saving = ++w->saved_last;
	set_feature(c, c->saving, true, feature_saved);
}

/* --- a reset: what was saved stays, nothing that is older lands ----------------------------------- */

#define NOT_SAVED 0xfff0u
#define NSSR_VALUE 0x4e564d65u /* "NVMe" */
#define POLL_NS (100 * NS_PER_US)
#define POLLS_MAX 10000u

static void reset_answered(struct nvme_op *op);

static void property(struct client *c, uint8_t type, enum nvme_property offset, uint64_t value)
{
	c->admin = (struct nvme_op){ .done = reset_answered };
	c->admin.cmd.opc = NVME_ADMIN_FABRICS;
	c->admin.cmd.fctype = type;
	c->admin.cmd.property.ofst = le32_of(offset);
	c->admin.cmd.property.value = le64_of(value);
	nvme_ctrlr_submit_admin(c->ctrlr, &c->admin);
}

static void reset_starts(struct timer *t)
{
	struct client *c = container_of(t, struct client, reset_due);

	c->running = false;
	timer_stop(&c->io_timeout);
	c->resetting = true;
	c->of_subsystem = sim_chance(25);
	c->step = c->polls = 0;
	set_feature(c, NOT_SAVED, false, reset_answered);
}

static void ask_csts(struct timer *t)
{
	property(container_of(t, struct client, poll), NVME_FABRICS_PROPERTY_GET, NVME_REG_CSTS, 0);
}

/* Whoever else resets the subsystem meanwhile disables it again. */
static void ask_again(struct client *c)
{
	c->step--;
	if (c->polls++ < POLLS_MAX)
		timer_start(&c->poll, POLL_NS, ask_csts);
	else
		client_disconnect(c);
}

static void disabled(struct client *c, uint32_t csts)
{
	if (c->of_subsystem && !nvme_csts_nssro(csts))
		seeds_fail("client %u: its controller does not tell that the subsystem was reset", c->index);
	for (uint32_t i = 0; i < c->task_count; i++) {
		const struct task *t = &c->tasks[i];

		if (t->generation && (t->kind == KIND_WRITE || t->kind == KIND_ZEROES))
			oracle_fence(c->w->oracle, t->lba, t->count, t->generation);
	}
	property(c, NVME_FABRICS_PROPERTY_SET, NVME_REG_CSTS, nvme_csts_with_nssro(0, 1)); /* seen */
}

static void reset_over(struct client *c, uint32_t value)
{
	if (value != c->saving)
		seeds_fail("client %u: after a reset controller %u has %u, and %u was saved", c->index, c->cntlid, value,
		           c->saving);
	c->w->resets[c->of_subsystem]++;
	close_qpairs(c);
	c->resetting = false;
	open_qpairs(c);
}

static void reset_answered(struct nvme_op *op)
{
	struct client *c = container_of(op, struct client, admin);
	uint32_t value = le32_get(op->cpl.dw0);

	if (c->broken)
		return;
	if (nvme_op_status(op)) {
		client_disconnect(c);
		return;
	}
	switch (c->step++) {
	case 0:
		property(c, NVME_FABRICS_PROPERTY_GET, NVME_REG_CC, 0);
		break;
	case 1:
		c->cc = value;
		if (c->of_subsystem)
			property(c, NVME_FABRICS_PROPERTY_SET, NVME_REG_NSSR, NSSR_VALUE);
		else
			property(c, NVME_FABRICS_PROPERTY_SET, NVME_REG_CC, nvme_cc_with_en(c->cc, 0));
		break;
	case 2:
		ask_csts(&c->poll);
		break;
	case 3:
		if (nvme_csts_rdy(value))
			ask_again(c);
		else
			disabled(c, value);
		break;
	case 4:
		property(c, NVME_FABRICS_PROPERTY_SET, NVME_REG_CC, nvme_cc_with_en(c->cc, 1));
		break;
	case 5:
		ask_csts(&c->poll);
		break;
	case 6:
		if (nvme_csts_rdy(value))
			get_feature(c, NVME_FEAT_SEL_CURRENT, reset_answered);
		else
			ask_again(c);
		break;
	default:
		reset_over(c, value);
	}
}

static void ctrlr_ready(struct nvme_ctrlr *ctrlr, const struct err *e, void *arg)
{
	struct client *c = arg;
	const struct nvme_ctrlr_info *info = nvme_ctrlr_info(ctrlr);

	if (e) {
		c->w->refused++;
		client_disconnect(c);
		return;
	}
	if (c->w->statics && info->ns_count == 1 && info->ns[0].status) { /* another host reset the subsystem meanwhile */
		client_disconnect(c);
		return;
	}
	if (info->ns_count != 1 || info->ns[0].block_size != c->w->block_size || info->ns[0].block_count != c->w->blocks)
		seeds_fail("client %u: the namespace is not what was exported", c->index);
	if (!c->w->statics) {
		open_qpairs(c);
		return;
	}
	c->cntlid = info->cntlid;
	if (!c->cntlid || c->cntlid > WORLD_CLIENTS_MAX || (c->cntlid == 1 && c->index) ||
	    (c->opts.static_cntlid <= WORLD_CLIENTS_MAX && c->cntlid != c->opts.static_cntlid))
		seeds_fail("client %u: it has controller %u and asked for %04Xh", c->index, c->cntlid, c->opts.static_cntlid);
	else
		get_feature(c, NVME_FEAT_SEL_SAVED, feature_read);
}

static void client_connect(struct client *c)
{
	c->broken = false;
	c->ctrlr = nvme_ctrlr_open(c->w->host, &c->path, &c->opts, ctrlr_ready, ctrlr_gone, c);
}

static void connect_first(void *arg)
{
	client_connect(arg);
}

struct client *client_make(struct world *w, uint32_t index)
{
	struct client *c = base_zalloc(sizeof(*c));

	c->w = w;
	c->index = index;
	c->reactor = core_reactor(w->host_core, index % core_reactor_count(w->host_core));
	must(!nvme_path_parse("trtype:TCP traddr:127.0.0.1 trsvcid:4420 subnqn:" WORLD_NQN, &c->path, NULL));
	c->qpair_count = 1 + (uint32_t)sim_draw(CLIENT_QPAIRS_MAX);
	c->task_count = 1 + (uint32_t)sim_draw(CLIENT_TASKS_MAX);
	c->opts = (struct nvme_host_opts){
		.header_digest = sim_chance(30), .data_digest = sim_chance(30), .io_queues = (uint16_t)c->qpair_count,
		.io_queue_size = (uint16_t)(2 + sim_draw(20)), .keep_alive_ms = 2000, .connect_timeout_ms = 3000,
	};
	if (w->statics) {
		snprintf(c->path.hostnqn, sizeof(c->path.hostnqn), WORLD_HOST_NQN, index);
		c->opts.hostid.b[0] = (uint8_t)(index + 1);
		c->opts.is_static = true;
		c->opts.static_cntlid = !index || sim_chance(50) ? (uint16_t)(index + 1) : NVME_CNTLID_STATIC_ANY;
	}
	for (uint32_t i = 0; i < c->task_count; i++) {
		c->tasks[i].client = c;
		c->tasks[i].buf = base_zalloc((size_t)CLIENT_IO_BLOCKS_MAX * w->block_size);
	}
	sim_as(c->reactor, connect_first, c);
	return c;
}

void client_free(struct client *c)
{
	must(c->over);
	for (uint32_t i = 0; i < c->task_count; i++)
		free(c->tasks[i].buf);
	free(c);
}
