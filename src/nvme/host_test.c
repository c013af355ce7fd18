/* SPDX-License-Identifier: BSD-3-Clause */
/* host_test.c: the host against a scripted target that behaves well until the test's I/O command comes.
 *
 * Whatever a target does, every command comes back exactly once, and nothing of it is touched afterwards.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/crc32c.h"
#include "core/sim/sim.h"
#include "fabric/fabric.h"
#include "net/sim/sim_net.h"
#include "nvme/nvme.h"

#define TEST_NQN "nqn.2026-01.io.gantry:scripted"
#define BLOCK 512u
#define OPS 8u
#define OP_BYTES (64u * 1024)

/* What the target does with a command of the I/O queue. */
enum manner {
	GOOD, DEAF, SILENT, CLOSES, TERMINATES, TWO_R2TS, R2T_BEYOND, R2T_OF_READ, DATA_OF_NOBODY, DATA_BEYOND, SHORT_DATA,
	NO_DATA, DATA_AFTER_ANSWER, WRONG_DIGEST, ANSWERS_NOBODY, ANSWERS_TWICE, NO_QUEUE, REFUSES, NO_LISTENER, NO_WAY,
};

struct peer {                   /* a connection, as the target has it */
	struct world *w;
	struct sock *sock;
	struct fabric_rx rx;
	struct nvme_tcp_framing tx;
	bool ready, io;
	uint16_t cid;           /* of the write whose data comes */
	uint32_t commands;
};

struct test_op {
	struct nvme_op op;
	struct world *w;
	struct iovec iov;
	uint8_t *buf;
	uint32_t ends;
};

struct world {
	enum manner manner;
	struct core *target_core, *host_core;
	struct listener *listener;
	struct peer peers[4];
	uint32_t peer_count, written, wrong_bytes;
	/* host */
	struct nvme_host_opts opts;
	struct nvme_host *host;
	struct nvme_ctrlr *ctrlr;
	struct nvme_qpair *qp;
	bool ctrlr_ready, qp_ready, closed;
	uint32_t gone;          /* how often the queue pair's end was told */
	struct err err, qp_err;
	struct test_op *ops[OPS];
	uint32_t submitted, ended;
	uint32_t close_at;      /* close the queue pair from within the end of the n-th command */
};

/* --- the target --------------------------------------------------------------------------------------- */

static void say(struct peer *p, const void *bytes, uint32_t len)
{
	struct iovec iov = { (void *)(uintptr_t)bytes, len };

	if (p->sock && len)
		must(sock_send(p->sock, &iov, 1) == (ssize_t)len);
}

static void answer(struct peer *p, uint16_t cid, uint64_t value, uint16_t status)
{
	struct nvme_cqe cqe = { .cid = le16_of(cid) };
	uint8_t at[FABRIC_PUT_MAX];

	cqe.value = le64_of(value);
	nvme_cqe_set_status(&cqe, status);
	say(p, at, fabric_put_rsp(at, &p->tx, &cqe));
}

static void give(struct peer *p, uint16_t cid, const void *data, uint32_t offset, uint32_t len, uint8_t flags,
                 bool wrong)
{
	uint8_t at[FABRIC_PUT_MAX], digest[NVME_TCP_DIGEST_SIZE];

	say(p, at, fabric_put_c2h_data(at, &p->tx, cid, offset, len, flags));
	say(p, data, len);
	if (!p->tx.ddgst || !len)
		return;
	fabric_put_digest(digest, crc32c_update(CRC32C_START, data, len));
	digest[0] ^= wrong;
	say(p, digest, sizeof(digest));
}

/* In one piece: the host sees all of them before it answers the first. */
static void ask(struct peer *p, uint16_t cid, uint32_t offset, uint32_t len, uint32_t times)
{
	uint8_t at[2 * FABRIC_PUT_MAX];
	uint32_t used = 0;

	p->cid = cid;
	while (times--)
		used += fabric_put_r2t(at + used, &p->tx, cid, 7, offset, len);
	say(p, at, used);
}

#define WHOLE (NVME_TCP_LAST | NVME_TCP_SUCCESS)

static void identify(struct peer *p, const struct nvme_sqe *cmd)
{
	static union {
		uint8_t bytes[NVME_IDENTIFY_SIZE];
		struct nvme_id_ctrl ctrl;
		struct nvme_id_ns ns;
		le32 list[1024];
	} page;

	memset(&page, 0, sizeof(page));
	if (cmd->identify.cns == NVME_CNS_CTRL) {
		page.ctrl.cntrltype = 1;
		page.ctrl.mdts = 5;
		page.ctrl.ioccsz = le32_of(4);
	} else if (cmd->identify.cns == NVME_CNS_NS_ACTIVE_LIST) {
		page.list[0] = le32_of(1);
	} else {
		page.ns.nsze = le64_of(4096);
		page.ns.lbaf[0].ds = 9;
	}
	give(p, le16_get(cmd->cid), &page, 0, sizeof(page), WHOLE, false);
}

static void admin_command(struct peer *p, const struct nvme_sqe *cmd)
{
	uint16_t cid = le16_get(cmd->cid);
	uint32_t reg = le32_get(cmd->property.ofst);

	if (cmd->opc == NVME_ADMIN_IDENTIFY)
		identify(p, cmd);
	else if (cmd->opc == NVME_ADMIN_SET_FEATURES)
		answer(p, cid, 0, 0); /* one queue of each kind */
	else if (cmd->opc != NVME_ADMIN_FABRICS || cmd->fctype == NVME_FABRICS_PROPERTY_SET)
		answer(p, cid, 0, 0);
	else if (cmd->fctype == NVME_FABRICS_CONNECT)
		answer(p, cid, 1, 0);
	else if (reg == NVME_REG_CAP)
		answer(p, cid, p->w->manner == NO_QUEUE ? 0 : 127, 0);
	else
		answer(p, cid, 1, 0); /* ready; or shut down, the deadline will see to it */
}

static void bye(struct peer *p)
{
	sock_close(p->sock);
	p->sock = NULL;
}

static void misbehave(struct peer *p, const struct nvme_sqe *cmd)
{
	static const uint8_t zeroes[OP_BYTES];
	uint16_t cid = le16_get(cmd->cid);
	uint32_t len = (le16_get(cmd->rw.nlb) + 1u) * BLOCK;
	uint8_t term[FABRIC_TERM_MAX];

	switch (p->w->manner) {
	case GOOD:
		if (cmd->opc == NVME_CMD_WRITE)
			ask(p, cid, 0, len, 1);
		else
			give(p, cid, zeroes, 0, len, WHOLE, false);
		break;
	case CLOSES:
		bye(p);
		break;
	case TERMINATES:
		say(p, term, fabric_put_term(term, &p->rx, NVME_TCP_FES_SEQUENCE, 0));
		break;
	case TWO_R2TS:
		ask(p, cid, 0, 4096, 2); /* each is one H2CData */
		break;
	case R2T_BEYOND:
		ask(p, cid, len + 4096, 4096, 1);
		break;
	case R2T_OF_READ:
		ask(p, cid, 0, len, 1);
		break;
	case DATA_OF_NOBODY:
		give(p, 99, zeroes, 0, len, WHOLE, false);
		break;
	case DATA_BEYOND:
		give(p, cid, zeroes, 0, len - BLOCK, 0, false);
		give(p, cid, zeroes, len - BLOCK, 2 * BLOCK, WHOLE, false);
		break;
	case SHORT_DATA:
		give(p, cid, zeroes, 0, len - BLOCK, WHOLE, false);
		break;
	case NO_DATA:
		give(p, cid, zeroes, 0, 0, WHOLE, false);
		break;
	case DATA_AFTER_ANSWER:
		give(p, cid, zeroes, 0, len, WHOLE, false);
		give(p, cid, zeroes, 0, len, WHOLE, false);
		break;
	case WRONG_DIGEST:
		give(p, cid, zeroes, 0, len, WHOLE, p->commands == 1);
		break;
	case ANSWERS_NOBODY:
		answer(p, 99, 0, 0);
		break;
	case ANSWERS_TWICE:
		answer(p, cid, 0, NVME_SC_LBA_RANGE);
		answer(p, cid, 0, NVME_SC_LBA_RANGE);
		break;
	case REFUSES:
		answer(p, cid, 0, NVME_SC_LBA_RANGE);
		break;
	default: /* silent */
		break;
	}
}

static void on_command(struct peer *p, const struct nvme_sqe *cmd)
{
	if (cmd->opc == NVME_ADMIN_FABRICS && cmd->fctype == NVME_FABRICS_CONNECT)
		p->io = le16_get(cmd->connect.qid);
	else if (p->io) {
		p->commands++;
		misbehave(p, cmd);
		return;
	}
	admin_command(p, cmd);
}

static void on_header(struct peer *p)
{
	const union nvme_tcp_pdu *pdu = p->rx.pdu;
	uint8_t at[FABRIC_PUT_MAX];

	if (pdu->h.type == NVME_TCP_ICREQ) {
		uint8_t dgst = pdu->icreq.dgst;

		p->rx.as.ready = true;
		p->tx.hdgst = p->rx.as.framing.hdgst = dgst & NVME_TCP_DGST_HEADER;
		p->tx.ddgst = p->rx.as.framing.ddgst = dgst & NVME_TCP_DGST_DATA;
		say(p, at, fabric_put_icresp(at, 0, dgst, 16384));
	} else if (pdu->h.type == NVME_TCP_CMD) {
		on_command(p, &pdu->cmd.sqe);
	} else if (pdu->h.type == NVME_TCP_H2CDATA) {
		p->ready = pdu->h.flags & NVME_TCP_LAST;
	}
}

static void on_written(struct peer *p)
{
	for (uint32_t i = 0; i < p->rx.span_len; i++)
		p->w->wrong_bytes += p->rx.span[i] != (uint8_t)(p->w->written++ * 7);
}

static void peer_event(void *arg, uint32_t events)
{
	static uint8_t buf[OP_BYTES];
	struct peer *p = arg;
	const uint8_t *at = buf;
	enum fabric_rx_event ev;
	ssize_t got = events & SOCK_READABLE ? sock_recv(p->sock, buf, sizeof(buf)) : 0;

	if (got <= 0) {
		if (got != -EAGAIN && (events & (SOCK_READABLE | SOCK_FAILED)))
			bye(p);
		return;
	}
	while (p->sock && p->w->manner != DEAF && (ev = fabric_rx_next(&p->rx, &at, buf + got)) != FABRIC_RX_MORE) {
		must(ev != FABRIC_RX_BAD);
		if (ev == FABRIC_RX_HEADER)
			on_header(p);
		if (ev == FABRIC_RX_DATA && p->rx.type == NVME_TCP_H2CDATA)
			on_written(p);
		if (ev == FABRIC_RX_END && p->rx.type == NVME_TCP_H2CDATA && p->ready)
			answer(p, p->cid, 0, 0);
	}
}

static void accepted(void *arg, struct sock *s)
{
	struct world *w = arg;
	struct peer *p = &w->peers[w->peer_count++];

	must(w->peer_count <= ARRAY_SIZE(w->peers));
	*p = (struct peer){ .w = w, .sock = s, .tx.align_bytes = 4 };
	fabric_rx_init(&p->rx, NVME_TCP_CONTROLLER);
	p->rx.as.icd_bytes_max = 8192;
	p->rx.as.h2cdata_bytes_max = 16384;
	must(!sock_attach(s, peer_event, p));
}

static void target_open(void *arg)
{
	struct world *w = arg;
	struct net_addr addr;

	must(!net_addr_parse(NET_IPV4, "127.0.0.1", "4420", &addr, NULL));
	w->listener = listener_open(&addr, 0, accepted, w, NULL);
	must(w->listener);
}

static void target_close(void *arg)
{
	struct world *w = arg;

	listener_close(w->listener);
	for (uint32_t i = 0; i < w->peer_count; i++)
		if (w->peers[i].sock)
			bye(&w->peers[i]);
}

/* --- the host ------------------------------------------------------------------------------------------- */

static void ctrlr_ready(struct nvme_ctrlr *c, const struct err *e, void *arg)
{
	struct world *w = arg;

	(void)c;
	w->ctrlr_ready = true;
	if (e)
		w->err = *e;
}

static void ctrlr_gone(struct nvme_ctrlr *c, const struct err *e, void *arg)
{
	(void)c;
	((struct world *)arg)->err = *e;
}

static void host_open(void *arg)
{
	struct world *w = arg;
	struct nvme_path path;

	must(!nvme_path_parse("trtype:TCP traddr:127.0.0.1 trsvcid:4420 subnqn:" TEST_NQN, &path, NULL));
	w->host = nvme_host_make(w->host_core);
	w->ctrlr = nvme_ctrlr_open(w->host, &path, &w->opts, ctrlr_ready, ctrlr_gone, w);
}

static void qp_ready(struct nvme_qpair *qp, const struct err *e, void *arg)
{
	struct world *w = arg;

	(void)qp;
	w->qp_ready = true;
	if (e)
		w->qp_err = *e;
}

static void qp_gone(struct nvme_qpair *qp, const struct err *e, void *arg)
{
	struct world *w = arg;

	(void)qp;
	w->gone++;
	w->qp_err = *e;
}

static void qp_open(void *arg)
{
	struct world *w = arg;
	struct nvme_login login;

	must(nvme_ctrlr_login(w->ctrlr, &login));
	w->qp = nvme_qpair_open(w->host, &login, 1, qp_ready, qp_gone, w);
}

/* What ended is freed at once, and all of it after a close: sanitizers see who touches it still. */
static void op_done(struct nvme_op *op)
{
	struct test_op *t = container_of(op, struct test_op, op);
	struct world *w = t->w;

	t->ends++;
	if (++w->ended == w->close_at) {
		nvme_qpair_close(w->qp);
		w->qp = NULL;
		must(w->ended == w->submitted);
	}
	free(t->buf);
	t->buf = NULL;
}

static void op_submit(struct world *w, uint8_t opc, uint32_t len)
{
	struct test_op *t = calloc(1, sizeof(*t));

	w->ops[w->submitted++] = t;
	t->w = w;
	t->buf = malloc(len);
	for (uint32_t i = 0; i < len; i++)
		t->buf[i] = (uint8_t)(i * 7);
	t->iov = (struct iovec){ t->buf, len };
	t->op.cmd = nvme_sqe_rw(opc, 1, 0, len / BLOCK);
	t->op.iovs = &t->iov;
	t->op.iov_count = 1;
	t->op.data = opc == NVME_CMD_READ ? NVME_OP_TO_HOST : NVME_OP_TO_CTRLR;
	t->op.data_len = len;
	t->op.done = op_done;
	nvme_qpair_submit(w->qp, &t->op);
}

static void submit_read(void *arg) { op_submit(arg, NVME_CMD_READ, 8 * BLOCK); }
static void submit_write(void *arg) { op_submit(arg, NVME_CMD_WRITE, OP_BYTES); }

static void submit_reads(void *arg)
{
	for (uint32_t i = 0; i < OPS; i++)
		submit_read(arg);
}

static void ctrlr_closed(void *arg)
{
	((struct world *)arg)->closed = true;
}

static void host_close(void *arg)
{
	struct world *w = arg;

	if (w->qp)
		nvme_qpair_close(w->qp);
	w->qp = NULL;
	nvme_ctrlr_close(w->ctrlr, ctrlr_closed, w);
}

/* --- the world --------------------------------------------------------------------------------------------- */

static bool is_ctrlr_ready(void *arg) { return ((struct world *)arg)->ctrlr_ready; }
static bool is_qp_ready(void *arg) { return ((struct world *)arg)->qp_ready; }
static bool is_closed(void *arg) { return ((struct world *)arg)->closed; }
static bool all_ended(void *arg) { return ((struct world *)arg)->ended == ((struct world *)arg)->submitted; }

static void on_host(struct world *w, void (*fn)(void *arg))
{
	sim_as(core_reactor(w->host_core, 0), fn, w);
}

static void begin(struct world *w, enum manner manner)
{
	const struct sim_net_opts net = { .latency_ns_min = 1000, .latency_ns_max = 2000, .buffer_bytes = 512 * 1024 };
	const struct core_opts one = { .cpus = "[0]", .mode = CORE_INTERRUPT, .memory_bytes = 64 * MIB };

	w->manner = manner;
	w->opts.connect_timeout_ms = 500;
	w->opts.io_queue_size = w->opts.io_queue_size ? w->opts.io_queue_size : 4;
	sim_start(1 + manner);
	sim_net_start(&net);
	w->target_core = core_make(&one, NULL);
	w->host_core = core_make(&one, NULL);
	must(w->target_core && w->host_core);
	sim_net_set_connect(manner == NO_LISTENER ? SIM_NET_REFUSE :
	                    manner == NO_WAY ? SIM_NET_BLACK_HOLE : SIM_NET_ACCEPT);
	sim_as(core_control(w->target_core), target_open, w);
	on_host(w, host_open);
	sim_run(is_ctrlr_ready, w, 10 * NS_PER_S);
}

static void begin_io(struct world *w, enum manner manner)
{
	begin(w, manner);
	must(w->ctrlr_ready && !w->err.code);
	on_host(w, qp_open);
	must(sim_run(is_qp_ready, w, NS_PER_S) && !w->qp_err.code);
}

static void end(struct world *w)
{
	on_host(w, host_close);
	assert_true(sim_run(is_closed, w, 10 * NS_PER_S));
	sim_as(core_control(w->target_core), target_close, w);
	sim_run(NULL, NULL, 10 * NS_PER_MS); /* what was put off to the end of a pass */
	nvme_host_free(w->host);
	for (uint32_t i = 0; i < w->submitted; i++) {
		assert_int_equal(w->ops[i]->ends, 1);
		free(w->ops[i]->buf);
		free(w->ops[i]);
	}
	core_free(w->host_core);
	core_free(w->target_core);
	sim_net_end();
	sim_end();
}

/* One command, whose queue pair ends with these words. */
static void ends_with(enum manner manner, void (*submit)(void *arg), const char *words)
{
	struct world w = { 0 };

	begin_io(&w, manner);
	on_host(&w, submit);
	assert_true(sim_run(all_ended, &w, NS_PER_S));
	sim_run(NULL, NULL, 10 * NS_PER_MS);
	assert_int_equal(w.gone, 1);
	if (!strstr(w.qp_err.text, words))
		fail_msg("%s", w.qp_err.text);
	assert_int_equal(nvme_op_status(&w.ops[0]->op), NVME_SC_HOST_PATH_ERROR);
	end(&w);
}

/* --- tests --------------------------------------------------------------------------------------------------- */

static void a_good_target_is_served(void **state)
{
	struct world w = { .opts = { .header_digest = true, .data_digest = true } };

	begin_io(&w, GOOD);
	assert_int_equal(nvme_ctrlr_info(w.ctrlr)->ns_count, 1);
	on_host(&w, submit_write); /* longer than one H2CData may be */
	assert_true(sim_run(all_ended, &w, NS_PER_S));
	assert_int_equal(w.written, OP_BYTES);
	assert_int_equal(w.wrong_bytes, 0);
	on_host(&w, submit_read);
	assert_true(sim_run(all_ended, &w, NS_PER_S));
	assert_int_equal(nvme_op_status(&w.ops[0]->op), 0);
	assert_int_equal(nvme_op_status(&w.ops[1]->op), 0);
	assert_int_equal(w.gone, 0);
	end(&w);
}

static void a_second_r2t_ends_it(void **state) { ends_with(TWO_R2TS, submit_write, "not answered yet"); }
static void an_r2t_beyond_the_data_ends_it(void **state) { ends_with(R2T_BEYOND, submit_write, "does not fit"); }
static void an_r2t_for_a_read_ends_it(void **state) { ends_with(R2T_OF_READ, submit_read, "none under way"); }
static void data_of_no_command_ends_it(void **state) { ends_with(DATA_OF_NOBODY, submit_read, "none under way"); }
static void data_beyond_the_buffer_ends_it(void **state) { ends_with(DATA_BEYOND, submit_read, "does not fit"); }
static void short_data_ends_it(void **state) { ends_with(SHORT_DATA, submit_read, "after 3584 of 4096"); }
static void success_without_data_ends_it(void **state) { ends_with(NO_DATA, submit_read, "after 0 of 4096"); }
static void an_answer_to_no_command_ends_it(void **state) { ends_with(ANSWERS_NOBODY, submit_read, "not outstanding"); }
static void a_term_req_ends_it(void **state) { ends_with(TERMINATES, submit_read, "the target ended the connection"); }
static void a_closing_target_ends_it(void **state) { ends_with(CLOSES, submit_read, "closed"); }

static void data_after_the_answer_ends_it(void **state)
{
	struct world w = { 0 };

	begin_io(&w, DATA_AFTER_ANSWER);
	on_host(&w, submit_read);
	sim_run(NULL, NULL, 10 * NS_PER_MS);
	assert_int_equal(nvme_op_status(&w.ops[0]->op), 0);
	assert_int_equal(w.gone, 1);
	end(&w);
}

static void a_second_answer_ends_it(void **state)
{
	struct world w = { 0 };

	begin_io(&w, ANSWERS_TWICE);
	on_host(&w, submit_read);
	sim_run(NULL, NULL, 10 * NS_PER_MS);
	assert_int_equal(nvme_op_status(&w.ops[0]->op), NVME_SC_LBA_RANGE);
	assert_int_equal(w.gone, 1);
	end(&w);
}

static void a_refused_command_fails_alone(void **state)
{
	struct world w = { 0 };

	begin_io(&w, REFUSES);
	on_host(&w, submit_write);
	assert_true(sim_run(all_ended, &w, NS_PER_S));
	assert_int_equal(nvme_op_status(&w.ops[0]->op), NVME_SC_LBA_RANGE);
	assert_int_equal(w.gone, 0);
	end(&w);
}

static void a_wrong_data_digest_fails_its_command_only(void **state)
{
	struct world w = { .opts = { .data_digest = true } };

	begin_io(&w, WRONG_DIGEST);
	on_host(&w, submit_read);
	on_host(&w, submit_read);
	assert_true(sim_run(all_ended, &w, NS_PER_S));
	assert_int_equal(nvme_op_status(&w.ops[0]->op), NVME_SC_TRAN_TPORT_ERROR);
	assert_int_equal(nvme_op_status(&w.ops[1]->op), 0);
	assert_int_equal(w.gone, 0);
	end(&w);
}

/* A controller that is never ready says why, once. */
static void opening_fails(enum manner manner, int code)
{
	struct world w = { 0 };

	begin(&w, manner);
	assert_true(w.ctrlr_ready);
	assert_int_equal(w.err.code, code);
	end(&w);
}

static void a_target_that_says_nothing_meets_the_deadline(void **state) { opening_fails(DEAF, -ETIMEDOUT); }
static void a_connect_without_answer_meets_the_deadline(void **state) { opening_fails(NO_WAY, -ETIMEDOUT); }
static void a_refused_connect_is_told(void **state) { opening_fails(NO_LISTENER, -ECONNREFUSED); }
static void a_queue_of_one_entry_is_refused(void **state) { opening_fails(NO_QUEUE, -EPROTO); }

static bool has_err(void *arg) { return ((struct world *)arg)->err.code; }

/* What waits on I/O queues meanwhile is its owner's to end. */
static void an_unanswered_keep_alive_ends_the_controller(void **state)
{
	struct world w = { .opts = { .keep_alive_ms = 2000 } };

	begin_io(&w, SILENT);
	on_host(&w, submit_read);
	sim_run(NULL, NULL, 10 * NS_PER_S); /* while it is answered */
	assert_int_equal(w.err.code, 0);
	w.manner = DEAF;
	assert_true(sim_run(has_err, &w, 4 * NS_PER_S));
	assert_int_equal(w.err.code, -ETIMEDOUT);
	assert_int_equal(w.ended, 0);
	end(&w);
}

static void fail_qp(void *arg)
{
	struct world *w = arg;
	struct err e = { 0 };

	err_set(&e, -EIO, "given up");
	nvme_qpair_fail(w->qp, NVME_REASON_ASKED, &e);
	nvme_qpair_fail(w->qp, NVME_REASON_ASKED, &e);
}

static void a_queue_pair_that_is_given_up_ends_like_others(void **state)
{
	struct world w = { 0 };

	begin_io(&w, SILENT);
	on_host(&w, submit_reads);
	on_host(&w, fail_qp);
	assert_true(sim_run(all_ended, &w, NS_PER_S));
	sim_run(NULL, NULL, 10 * NS_PER_MS);
	assert_int_equal(w.gone, 1);
	assert_string_equal(w.qp_err.text, "given up");
	end(&w);
}

/* More commands than the queue holds: those that wait inside end like the others. */
static void all_commands_end_once(void **state)
{
	struct world w = { 0 };

	begin_io(&w, CLOSES);
	on_host(&w, submit_reads);
	assert_true(sim_run(all_ended, &w, NS_PER_S));
	sim_run(NULL, NULL, 10 * NS_PER_MS);
	assert_int_equal(w.ended, OPS);
	assert_int_equal(w.gone, 1);
	end(&w);
}

/* From within the end of an outstanding one, of one that waits, of the last: nothing is told of the end then. */
static void closing_from_within_an_end(void **state)
{
	for (uint32_t at = 1; at <= OPS; at++) {
		struct world w = { .close_at = at };

		begin_io(&w, at % 2 ? CLOSES : REFUSES);
		on_host(&w, submit_reads);
		assert_true(sim_run(all_ended, &w, NS_PER_S));
		sim_run(NULL, NULL, 10 * NS_PER_MS);
		assert_null(w.qp);
		assert_int_equal(w.gone, 0);
		end(&w);
	}
}

static void closing_fails_what_is_outstanding(void **state)
{
	struct world w = { 0 };

	begin_io(&w, SILENT);
	on_host(&w, submit_reads);
	sim_run(NULL, NULL, 10 * NS_PER_MS);
	assert_int_equal(w.ended, 0);
	end(&w);
	assert_int_equal(w.ended, OPS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_good_target_is_served),
		cmocka_unit_test(a_second_r2t_ends_it),
		cmocka_unit_test(an_r2t_beyond_the_data_ends_it),
		cmocka_unit_test(an_r2t_for_a_read_ends_it),
		cmocka_unit_test(data_of_no_command_ends_it),
		cmocka_unit_test(data_beyond_the_buffer_ends_it),
		cmocka_unit_test(short_data_ends_it),
		cmocka_unit_test(success_without_data_ends_it),
		cmocka_unit_test(data_after_the_answer_ends_it),
		cmocka_unit_test(an_answer_to_no_command_ends_it),
		cmocka_unit_test(a_second_answer_ends_it),
		cmocka_unit_test(a_term_req_ends_it),
		cmocka_unit_test(a_closing_target_ends_it),
		cmocka_unit_test(a_refused_command_fails_alone),
		cmocka_unit_test(a_wrong_data_digest_fails_its_command_only),
		cmocka_unit_test(a_target_that_says_nothing_meets_the_deadline),
		cmocka_unit_test(a_connect_without_answer_meets_the_deadline),
		cmocka_unit_test(a_refused_connect_is_told),
		cmocka_unit_test(a_queue_of_one_entry_is_refused),
		cmocka_unit_test(an_unanswered_keep_alive_ends_the_controller),
		cmocka_unit_test(a_queue_pair_that_is_given_up_ends_like_others),
		cmocka_unit_test(all_commands_end_once),
		cmocka_unit_test(closing_from_within_an_end),
		cmocka_unit_test(closing_fails_what_is_outstanding),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
