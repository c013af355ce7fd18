/* SPDX-License-Identifier: BSD-3-Clause */
/* qpair_test.c: ways to be connected, reasons not to be, commands that are late or come in pairs, and how much is sent
 * at a time. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "nvme/test_rig.h"

static struct {                 /* what callbacks and hooks saw; zeroed by go() */
	uint32_t commands[16], count, late, reached;
	uint16_t cid;
} saw;

static void go(struct rig *r)
{
	memset(&saw, 0, sizeof(saw));
	rig_begin(r, 7, SIM_NET_ACCEPT);
}

static void go_io(struct rig *r)
{
	memset(&saw, 0, sizeof(saw));
	rig_begin_io(r, 7);
}

static void a_while(uint64_t ms) { sim_run(NULL, NULL, ms * NS_PER_MS); }

static bool is_opcode(const struct rig_peer *p, const struct nvme_sqe *cmd, uint8_t opc)
{
	return p->connected && !p->qid && cmd->opc == opc;
}

/* --- late commands ---------------------------------------------------------------------------------------- */

static bool reads_unanswered(struct rig_peer *p, const struct nvme_sqe *cmd)
{
	if (!p->qid || !p->connected || cmd->opc != NVME_CMD_READ)
		return false;
	saw.cid = le16_get(cmd->cid);
	return true;
}

static void told_late(struct nvme_qpair *qp, struct nvme_op *op, void *arg)
{
	(void)qp;
	(void)op;
	(void)arg;
	saw.late++;
}

static void listen_for_late_io(void *arg) { nvme_qpair_on_timeout(((struct rig *)arg)->qp, told_late); }

static void answer_late(void *arg)
{
	struct rig *r = arg;

	rig_answer(&r->peers[1], saw.cid, 0, NVME_SC_LBA_RANGE);
}

static void a_late_command_is_told_once_and_may_still_end(void **state)
{
	struct rig r = { .hook = reads_unanswered, .opts.io_timeout_ms = 200 };

	go_io(&r);
	rig_on_host(&r, listen_for_late_io);
	rig_on_host(&r, rig_read);
	a_while(150);
	assert_int_equal(saw.late, 0);
	a_while(1000);
	assert_int_equal(saw.late, 1);
	assert_int_equal(r.ended, 0);
	rig_on_target(&r, answer_late);
	a_while(10);
	assert_int_equal(r.ended, 1);
	assert_int_equal(nvme_op_status(&r.ops[0]->op), NVME_SC_LBA_RANGE);
	rig_end(&r);
}

static void a_late_command_ends_its_queue_pair(void **state)
{
	struct rig r = { .hook = reads_unanswered, .opts.io_timeout_ms = 200 };

	go_io(&r);
	rig_on_host(&r, rig_reads);
	a_while(1000);
	assert_int_equal(r.gone, 1);
	assert_int_equal(r.qp_reason, NVME_REASON_IO_TIMEOUT);
	for (uint32_t i = 0; i < 8; i++) /* a queue of four holds three */
		assert_int_equal(r.ops[i]->op.sent, i < 3);
	rig_end(&r);
}

static bool io_unanswered(struct rig_peer *p, const struct nvme_sqe *cmd)
{
	(void)cmd;
	return p->qid && p->connected;
}

static void close_io(void *arg)
{
	struct rig *r = arg;

	rig_bye(&r->peers[1]);
}

/* Nobody can have done a write whose data was never asked for; a read, who knows. */
static void a_write_without_its_data_was_not_done(void **state)
{
	struct rig r = { .hook = io_unanswered };

	go_io(&r);
	rig_on_host(&r, rig_write);
	rig_on_host(&r, rig_read);
	a_while(100);
	rig_on_target(&r, close_io);
	a_while(100);
	assert_int_equal(r.ended, 2);
	assert_false(r.ops[0]->op.sent);
	assert_true(r.ops[1]->op.sent);
	rig_end(&r);
}

/* --- before it is ready ------------------------------------------------------------------------------------- */

static void open_in_parallel(struct nvme_ctrlr *c, void *arg)
{
	struct rig *r = arg;

	saw.reached++;
	must(r->ctrlr == c);
	rig_qp_open(r);                 /* without cntlid */
	must(!nvme_qpair_is_waiting(r->qp));
}

static void open_told(void *arg)
{
	struct rig *r = arg;

	rig_open(r);
	nvme_ctrlr_on_reached(r->ctrlr, open_in_parallel, r);
}

static void log_in(void *arg)
{
	struct rig *r = arg;
	struct nvme_login login;

	must(nvme_ctrlr_login(r->ctrlr, &login) && login.cntlid != NVME_CNTLID_DYNAMIC);
	nvme_qpair_login(r->qp, &login, 1);
}

static void queue_pairs_connect_beside_the_controller(void **state)
{
	struct rig r = { .hold_open = true };

	go(&r);
	rig_on_host(&r, open_told);
	assert_true(sim_run(rig_is_ready, &r, NS_PER_S));
	a_while(2000);                  /* it may wait for long */
	assert_int_equal(saw.reached, 1);
	assert_false(r.qp_ready);
	assert_true(nvme_qpair_is_waiting(r.qp));
	rig_on_host(&r, rig_read);      /* commands wait as well */
	rig_on_host(&r, log_in);
	assert_true(sim_run(rig_all_ended, &r, NS_PER_S));
	assert_int_equal(nvme_op_status(&r.ops[0]->op), 0);
	assert_true(r.qp_ready && !r.qp_err.code);
	rig_end(&r);
}

static void close_all_peers(void *arg)
{
	struct rig *r = arg;

	for (uint32_t i = 0; i < r->peer_count; i++)
		if (!r->peers[i].connected)
			rig_bye(&r->peers[i]);
}

static void a_spare_that_is_closed_is_told(void **state)
{
	struct rig r = { .hold_open = true };

	go(&r);
	rig_on_host(&r, open_told);
	assert_true(sim_run(rig_is_ready, &r, NS_PER_S));
	a_while(100);
	rig_on_host(&r, rig_read);
	rig_on_target(&r, close_all_peers);
	a_while(100);
	assert_true(r.qp_ready);
	assert_int_equal(r.qp_reason, NVME_REASON_CLOSED);
	assert_int_equal(r.ended, 1);
	assert_false(r.ops[0]->op.sent);
	rig_on_host(&r, log_in);        /* too late; nothing comes of it */
	a_while(100);
	assert_int_equal(r.gone, 0);
	rig_end(&r);
}

static void only_say(struct nvme_ctrlr *c, void *arg)
{
	(void)c;
	(void)arg;
	saw.reached++;
}

static void open_probing(void *arg)
{
	struct rig *r = arg;

	rig_open(r);
	nvme_ctrlr_on_reached(r->ctrlr, only_say, r);
}

static void proceed(void *arg) { nvme_ctrlr_proceed(((struct rig *)arg)->ctrlr); }

static void a_probe_holds_once_it_is_connected(void **state)
{
	struct rig r = { .hold_open = true, .opts.probe = true };

	go(&r);
	rig_on_host(&r, open_probing);
	a_while(5000);                  /* its deadline holds as well */
	assert_int_equal(saw.reached, 1);
	assert_false(r.ctrlr_ready);
	rig_on_host(&r, proceed);
	assert_true(sim_run(rig_is_ready, &r, NS_PER_S));
	assert_int_equal(r.err.code, 0);
	rig_end(&r);
}

static void close_when_reached(struct nvme_ctrlr *c, void *arg)
{
	(void)c;
	saw.reached++;
	rig_close(arg);
}

static void open_closing(void *arg)
{
	struct rig *r = arg;

	rig_open(r);
	nvme_ctrlr_on_reached(r->ctrlr, close_when_reached, r);
}

static void closing_when_reached(void **state)
{
	for (int probe = 0; probe < 2; probe++) {
		struct rig r = { .hold_open = true, .opts.probe = probe };

		go(&r);
		rig_on_host(&r, open_closing);
		assert_true(sim_run(rig_is_closed, &r, NS_PER_S));
		assert_int_equal(saw.reached, 1);
		rig_end(&r);
	}
}

/* --- reasons ------------------------------------------------------------------------------------------------ */

static bool refuses_connect(struct rig_peer *p, const struct nvme_sqe *cmd)
{
	if (cmd->opc != NVME_ADMIN_FABRICS || cmd->fctype != NVME_FABRICS_CONNECT)
		return false;
	rig_answer(p, le16_get(cmd->cid), 0, NVME_SC_CONNECT_INVALID_HOST);
	return true;
}

static bool refuses_identify(struct rig_peer *p, const struct nvme_sqe *cmd)
{
	if (!is_opcode(p, cmd, NVME_ADMIN_IDENTIFY))
		return false;
	rig_answer(p, le16_get(cmd->cid), 0, NVME_SC_INTERNAL);
	return true;
}

static void fails_with(struct rig *r, enum sim_net_connect connect, enum nvme_reason reason, const char *words)
{
	memset(&saw, 0, sizeof(saw));
	rig_begin(r, 3, connect);
	assert_true(r->ctrlr_ready);
	assert_int_equal(nvme_ctrlr_reason(r->ctrlr), reason);
	if (!strstr(r->err.text, words) || !strstr(r->err.text, RIG_NQN) || !strstr(r->err.text, "while: "))
		fail_msg("%s", r->err.text);
	rig_end(r);
}

static void every_failure_has_its_reason(void **state)
{
	struct rig nobody = { 0 }, hole = { 0 }, deaf = { .deaf = true }, refused = { .hook = refuses_connect },
	           bad = { .hook = refuses_identify }, fatal = { .csts = 2 }, unready = { .csts = 4 }, name = { 0 };

	fails_with(&nobody, SIM_NET_REFUSE, NVME_REASON_REFUSED, "refused");
	fails_with(&hole, SIM_NET_BLACK_HOLE, NVME_REASON_CONNECT_TIMEOUT, "not done within 500 ms");
	fails_with(&deaf, SIM_NET_ACCEPT, NVME_REASON_LOGIN_TIMEOUT, "within 500 ms");
	fails_with(&refused, SIM_NET_ACCEPT, NVME_REASON_LOGIN_REFUSED, "refused Connect");
	fails_with(&bad, SIM_NET_ACCEPT, NVME_REASON_BAD_ANSWER, "Identify controller");
	fails_with(&fatal, SIM_NET_ACCEPT, NVME_REASON_FATAL, "fatal");
	fails_with(&unready, SIM_NET_ACCEPT, NVME_REASON_LOGIN_TIMEOUT, "RDY");
	must(!nvme_path_parse("trtype:TCP traddr:no.such.name trsvcid:4420 subnqn:" RIG_NQN, &name.path, NULL));
	fails_with(&name, SIM_NET_ACCEPT, NVME_REASON_RESOLVE, "no.such.name");
}

static struct nvme_ctrlr *askers[20];
static uint32_t asked, closed_askers;

static void asker_ready(struct nvme_ctrlr *c, const struct err *e, void *arg)
{
	(void)c;
	(void)arg;
	must(e);
	asked++;
}

static void open_askers(void *arg)
{
	struct rig *r = arg;
	struct nvme_path path;

	must(!nvme_path_parse("trtype:TCP traddr:slow.name trsvcid:4420 subnqn:" RIG_NQN, &path, NULL));
	for (uint32_t i = 0; i < ARRAY_SIZE(askers); i++)
		askers[i] = nvme_ctrlr_open(r->host, &path, &r->opts, asker_ready, NULL, r);
}

static void asker_closed(void *arg)
{
	(void)arg;
	closed_askers++;
}

static void close_askers(void *arg)
{
	for (uint32_t i = 0; i < ARRAY_SIZE(askers); i++)
		nvme_ctrlr_close(askers[i], asker_closed, arg);
}

/* A dead name server holds up those who need it, until their deadline, and not those who don't. */
static void slow_names_are_waited_for_in_line(void **state)
{
	struct rig r = { .hold_open = true };

	asked = closed_askers = 0;
	go(&r);
	sim_jobs_take(3 * NS_PER_S, 4 * NS_PER_S);
	rig_on_host(&r, open_askers);
	rig_on_host(&r, rig_open);
	assert_true(sim_run(rig_is_ready, &r, NS_PER_S));
	assert_int_equal(r.err.code, 0);
	a_while(1000);
	assert_int_equal(asked, ARRAY_SIZE(askers));
	rig_on_host(&r, close_askers);
	assert_int_equal(closed_askers, ARRAY_SIZE(askers));
	a_while(10 * 1000);             /* those that ran come back to nobody */
	rig_end(&r);
}

/* --- fused -------------------------------------------------------------------------------------------------- */

static bool notes_fused(struct rig_peer *p, const struct nvme_sqe *cmd)
{
	if (!p->qid || !p->connected)
		return false;
	saw.commands[saw.count++] = cmd->opc | (uint32_t)nvme_flags_fuse(cmd->flags) << 8;
	if (cmd->opc == NVME_CMD_COMPARE || nvme_flags_fuse(cmd->flags)) {
		rig_answer(p, le16_get(cmd->cid), 0, 0);
		return true;
	}
	return false;
}

static void submit_fused(void *arg)
{
	struct rig *r = arg;
	struct rig_op *first, *second;

	rig_read(r);
	rig_read(r);                    /* of three entries one is left: the pair waits */
	first = rig_op_make(r, NVME_CMD_COMPARE, 8 * RIG_BLOCK);
	second = rig_op_make(r, NVME_CMD_WRITE, 8 * RIG_BLOCK);
	nvme_qpair_submit_fused(r->qp, &first->op, &second->op);
	rig_read(r);
}

static void fused_commands_are_sent_together(void **state)
{
	struct rig r = { .hook = notes_fused };

	go_io(&r);
	rig_on_host(&r, submit_fused);
	assert_true(sim_run(rig_all_ended, &r, NS_PER_S));
	assert_int_equal(saw.count, 5);
	assert_int_equal(saw.commands[0], NVME_CMD_READ);
	assert_int_equal(saw.commands[1], NVME_CMD_READ);
	assert_int_equal(saw.commands[2], NVME_CMD_COMPARE | 1 << 8);
	assert_int_equal(saw.commands[3], NVME_CMD_WRITE | 2 << 8);
	assert_int_equal(saw.commands[4], NVME_CMD_READ);
	rig_end(&r);
}

static void a_queue_of_one_command_refuses_fused_ones(void **state)
{
	struct rig r = { .opts.io_queue_size = 2, .hook = notes_fused };

	go_io(&r);
	rig_on_host(&r, submit_fused);
	assert_true(sim_run(rig_all_ended, &r, NS_PER_S));
	assert_int_equal(saw.count, 3);
	for (uint32_t i = 0; i < 5; i++)
		assert_int_equal(nvme_op_status(&r.ops[i]->op), i == 2 || i == 3 ? NVME_SC_FUSED_MISSING : 0);
	rig_end(&r);
}

/* --- sending ------------------------------------------------------------------------------------------------ */

#define MANY_WRITES 12u

static size_t most_sent;               /* with one call */

ssize_t __real_sock_send(struct sock *s, const struct iovec *iov, int count);
ssize_t __wrap_sock_send(struct sock *s, const struct iovec *iov, int count);
ssize_t __wrap_sock_send(struct sock *s, const struct iovec *iov, int count)
{
	size_t sum = 0;

	for (int i = 0; i < count; i++)
		sum += iov[i].iov_len;
	most_sent = max_u64(most_sent, sum);
	return __real_sock_send(s, iov, count);
}

static bool answers_writes(struct rig_peer *p, const struct nvme_sqe *cmd)
{
	if (!p->qid || !p->connected || cmd->opc != NVME_CMD_WRITE)
		return false;
	rig_answer(p, le16_get(cmd->cid), 0, 0);
	return true;
}

static void submit_many(void *arg)
{
	for (uint32_t i = 0; i < MANY_WRITES; i++)
		rig_write(arg);
}

/* A send of all that is there takes its core longer than others want to wait. The rest goes on by itself. */
static void a_send_is_bounded(void **state)
{
	struct rig r = { .id.ioccsz = le32_of((64 + RIG_OP_BYTES) / 16), .opts.io_queue_size = 2 * MANY_WRITES,
	                 .hook = answers_writes };

	go_io(&r);
	most_sent = 0;
	rig_on_host(&r, submit_many);
	assert_true(sim_run(rig_all_ended, &r, NS_PER_S));
	assert_int_equal(r.ended, MANY_WRITES);
	assert_in_range(most_sent, 512 * KIB, 512 * KIB + 128);
	rig_end(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_late_command_is_told_once_and_may_still_end),
		cmocka_unit_test(a_late_command_ends_its_queue_pair),
		cmocka_unit_test(a_write_without_its_data_was_not_done),
		cmocka_unit_test(queue_pairs_connect_beside_the_controller),
		cmocka_unit_test(a_spare_that_is_closed_is_told),
		cmocka_unit_test(a_probe_holds_once_it_is_connected),
		cmocka_unit_test(closing_when_reached),
		cmocka_unit_test(every_failure_has_its_reason),
		cmocka_unit_test(slow_names_are_waited_for_in_line),
		cmocka_unit_test(fused_commands_are_sent_together),
		cmocka_unit_test(a_queue_of_one_command_refuses_fused_ones),
		cmocka_unit_test(a_send_is_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
