/* SPDX-License-Identifier: BSD-3-Clause */
/* soak_test.c: everything at once, drawn from a seed: hosts that connect, do I/O, reset, fall silent and vanish while
 * queues move between cores and namespaces, hosts and listeners come and go.
 *
 * Whatever happens, every command is answered once, every queue pair can be freed, and at the end nothing is left.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "nvmf/test_rig.h"

#include "bdev/fake_disk_test.h"

#define SEEDS 60
#define STEPS 1500
#define QPAIRS 15
#define ADMINS 3
#define REQUESTS 64

static struct rig rig;
static struct rig_qp *qps[QPAIRS];
static uint16_t cntlids[QPAIRS];  /* of the controller a queue pair belongs to */
static struct rig_req *reqs[REQUESTS];
static uint8_t *data[REQUESTS];
static uint64_t io_done;          /* of all seeds */
static struct fake_disk failing;  /* nsid 4: fails now and then */

static uint32_t draw(uint32_t n)
{
	return (uint32_t)sim_draw(n);
}

static struct rig_qp *live(uint32_t at)
{
	return qps[at] && !qps[at]->qp.closing ? qps[at] : NULL;
}

/* The first places hold admin queues, the others I/O queues of theirs. */
static void connect_one(uint32_t at)
{
	struct rig_qp *q, *admin = live(at % ADMINS);
	uint16_t qid = 0;

	if (qps[at] || (at >= ADMINS && (!admin || !admin->qp.connected || admin->qp.ctrlr->discovery)))
		return;
	if (at >= ADMINS) {
		qid = (uint16_t)(1 + draw(9));
		cntlids[at] = admin->qp.ctrlr->cntlid;
	}
	q = qps[at] = rig_open(&rig, draw(3));
	if (rig_connect(q, qid, qid || draw(12) ? RIG_NQN : NVMF_DISCOVERY_NQN, &cntlids[at])) {
		if (!q->qp.closing)
			rig_close(q); /* as hosts do */
	} else if (!qid && !q->qp.closing && draw(20)) {
		q->qp.ctrlr->nssr = !q->qp.ctrlr->discovery;
		rig_property_set(q, NVME_REG_CC, RIG_CC_ENABLE);
	}
}

static void collect(void)
{
	for (uint32_t i = 0; i < REQUESTS; i++) {
		if (!reqs[i] || !reqs[i]->done)
			continue;
		free(reqs[i]);
		reqs[i] = NULL;
	}
	for (uint32_t i = 0; i < QPAIRS; i++) {
		bool used = false;

		for (uint32_t k = 0; k < REQUESTS; k++)
			used |= reqs[k] && reqs[k]->q == qps[i];
		if (qps[i] && qps[i]->closed) {
			assert_false(used); /* closed with a command still in the target's hands */
			assert_true(rig_gone(qps[i]));
			qps[i] = NULL;
		}
	}
}

static struct nvme_sqe any_command(const struct rig_qp *q)
{
	static const uint8_t io[] = { NVME_CMD_WRITE, NVME_CMD_READ, NVME_CMD_WRITE, NVME_CMD_READ, NVME_CMD_FLUSH,
	                              NVME_CMD_COMPARE, NVME_CMD_WRITE_ZEROES, NVME_CMD_DSM, NVME_CMD_VERIFY };
	static const uint8_t admin[] = { NVME_ADMIN_IDENTIFY, NVME_ADMIN_KEEP_ALIVE, NVME_ADMIN_ASYNC_EVENT,
	                                 NVME_ADMIN_GET_LOG_PAGE, NVME_ADMIN_ABORT_CMD, NVME_ADMIN_GET_FEATURES };
	static const uint8_t pages[] = { NVME_LOG_CHANGED_NS, NVME_LOG_DISCOVER, NVME_LOG_SMART, NVME_LOG_ERROR };
	struct nvme_sqe sqe;

	if (q->qp.qid) {
		sqe = rig_rw(io[draw(sizeof(io))], 1 + draw(4), draw(64), 1 + draw(32));
		if (sqe.opc == NVME_CMD_DSM)
			sqe.dsm.attributes = le32_of(NVME_DSM_AD);
		if (draw(100) == 0) {
			sqe = rig_sqe(NVME_ADMIN_FABRICS, 0);
			sqe.fctype = NVME_FABRICS_DISCONNECT;
			return sqe;
		}
		if (draw(12) == 0) /* halves of pairs, rarely both */
			sqe.flags |= (uint8_t)(1 + draw(2));
		return sqe;
	}
	sqe = rig_sqe(admin[draw(sizeof(admin))], 1);
	if (sqe.opc == NVME_ADMIN_IDENTIFY)
		sqe.identify.cns = draw(3) ? (uint8_t)draw(4) : (uint8_t)(NVME_CNS_NS_CTRL_LIST + draw(2));
	if (sqe.opc == NVME_ADMIN_GET_LOG_PAGE)
		sqe.get_log_page.lid = pages[draw(sizeof(pages))];
	if (sqe.opc == NVME_ADMIN_ABORT_CMD) {
		sqe.abort.sqid = le16_of((uint16_t)draw(4));
		sqe.abort.cid = le16_of((uint16_t)(le16_get(sqe.cid) - draw(20)));
	}
	return sqe;
}

static void send_one(void)
{
	struct rig_qp *q = live(draw(6) ? ADMINS + draw(QPAIRS - ADMINS) : draw(ADMINS));
	struct nvme_sqe sqe;
	uint32_t at = 0;

	while (at < REQUESTS && reqs[at])
		at++;
	if (!q || at == REQUESTS)
		return;
	sqe = any_command(q);
	reqs[at] = rig_send(q, &sqe, data[at], RIG_DATA_MAX);
}

static bool idle(const struct rig_qp *q)
{
	return list_empty(&q->qp.executing);
}

static void change_one(void)
{
	switch (draw(12)) {
	case 0:
		rig_add_ns(&rig, "spare", 3);
		break;
	case 8:
		rig_add_hidden_ns(&rig, "spare", 3);
		break;
	case 9:
		rig_show_ns(&rig, 3, draw(3));
		break;
	case 10:
		rig_set_ns_group(&rig, 1 + draw(4), 1 + draw(4));
		break;
	case 11: /* mostly a way that is good */
		rig_set_ana(&rig, "127.0.0.1", "4420", draw(5), (uint8_t)(draw(4) ? NVME_ANA_OPTIMIZED : 1 + draw(4)), draw(3));
		break;
	case 1:
		rig_remove_ns(&rig, 3);
		break;
	case 2:
		rig_remove_ns(&rig, 1);
		break;
	case 3:
		rig_add_ns(&rig, "ram", 1);
		break;
	case 4:
		if (draw(8) == 0)
			rig_remove_host(&rig, RIG_HOST);
		rig_add_host(&rig, RIG_HOST);
		break;
	case 5:
		if (draw(8) == 0)
			rig_remove_listener(&rig, "127.0.0.1", "4420");
		rig_add_listener(&rig, "127.0.0.1", "4420");
		break;
	case 6:
		rig_add_listener(&rig, "127.0.0.1", "4433");
		break;
	default:
		rig_remove_listener(&rig, "127.0.0.1", "4433");
	}
}

static void act(void)
{
	uint32_t at = draw(QPAIRS), what = draw(100);
	struct rig_qp *q = live(at);

	if (what < 30)
		connect_one(at);
	else if (what < 65)
		for (uint32_t n = 1 + draw(12); n; n--)
			send_one();
	else if (what < 75 && q && idle(q))
		rig_move(q, draw(3));
	else if (what < 78 && q && draw(6) == 0)
		rig_close(q);
	else if (what < 81 && q && q->qp.connected && !q->qp.qid && draw(4) == 0)
		rig_property_set(q, NVME_REG_CC, draw(2) ? 0 : RIG_CC_ENABLE | 1 << 14);
	else if (what < 84 && q && q->qp.connected && !q->qp.qid)
		rig_property_set(q, NVME_REG_CC, RIG_CC_ENABLE);
	else if (what < 85 && q && q->qp.connected && !q->qp.qid && draw(10) == 0)
		rig_property_set(q, NVME_REG_NSSR, 0x4e564d65);
	else if (what < 86)
		atomic_store(&failing.fail_at, atomic_load(&failing.seen) + 1 + draw(20));
	else if (what < 88)
		change_one();
	else if (what < 98)
		for (uint32_t n = draw(20); n; n--)
			sim_step();
	else if (draw(8) == 0)
		rig_pass(draw(4000) * NS_PER_MS);
}

static void make_disk(void *arg)
{
	struct err e = { 0 };

	fake_init(&failing, "failing");
	must(!bdev_register(rig.reg, &failing.bdev, &e));
}

static void one_seed(uint64_t seed)
{
	rig_start(&rig, seed);
	rig.target->config->subs[1]->ana_reporting = true; /* nobody has seen it yet; versions to come are copies */
	log_set_level(LOG_ERROR);
	sim_as(core_control(rig.core), make_disk, NULL);
	must(!rig_add_ns(&rig, "failing", 4));
	for (uint32_t i = 0; i < STEPS; i++) {
		act();
		collect();
	}
	for (uint32_t i = 0; i < QPAIRS; i++)
		if (live(i))
			rig_close(qps[i]);
	for (uint32_t i = 0; i < REQUESTS; i++) {
		if (reqs[i])
			rig_end(reqs[i]);
		reqs[i] = NULL;
	}
	for (uint32_t i = 0; i < QPAIRS; i++) {
		if (qps[i])
			assert_true(rig_gone(qps[i]));
		qps[i] = NULL;
	}
	rig_pass(NS_PER_MS);
	for (uint32_t i = 0; i < rig.target->core_count; i++)
		io_done += rig.target->cores[i].completed_io;
	assert_int_equal(rig.target->ctrlrs_alive, 0);
	rig_stop(&rig);
	fake_fini(&failing);
}

static void soak(void **state)
{
	const char *from = getenv("NVMF_SOAK_SEED"); /* as many from this one on */
	uint64_t first = from ? strtoull(from, NULL, 0) : 1;

	for (uint32_t i = 0; i < REQUESTS; i++)
		data[i] = calloc(1, RIG_DATA_MAX);
	for (uint64_t seed = first; seed < first + SEEDS; seed++)
		one_seed(seed);
	assert_true(io_done > SEEDS * STEPS / 4); /* the seeds have not become idle */
	for (uint32_t i = 0; i < REQUESTS; i++)
		free(data[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(soak) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
