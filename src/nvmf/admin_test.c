/* SPDX-License-Identifier: BSD-3-Clause */
/* admin_test.c: Identify, log pages, features, events, discovery: what hosts read, and what they are told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "nvmf/test_rig.h"

#define DNR(status) ((status) | NVME_SC_DNR)
static struct rig rig;
static struct rig_qp *admin;
static uint16_t cntlid;
static uint8_t page[128 * 1024];

static int start(void **state)
{
	rig_start(&rig, 3);
	admin = rig_admin(&rig, 0, &cntlid);
	return 0;
}

static int stop(void **state)
{
	rig_stop(&rig);
	return 0;
}

static uint16_t identify(struct rig_qp *q, uint8_t cns, uint32_t nsid)
{
	struct nvme_sqe sqe = rig_sqe(NVME_ADMIN_IDENTIFY, nsid);

	sqe.identify.cns = cns;
	memset(page, 0xee, 4096);
	return rig_cmd(q, &sqe, page, 4096, NULL);
}

static struct nvme_sqe log_sqe(uint8_t lid, uint64_t offset, uint32_t bytes, bool retain)
{
	struct nvme_sqe sqe = rig_sqe(NVME_ADMIN_GET_LOG_PAGE, NVME_NSID_ALL);

	sqe.get_log_page.lid = lid;
	sqe.get_log_page.lsp_rae = retain ? 0x80 : 0;
	sqe.get_log_page.numdl = le16_of((uint16_t)(bytes / 4 - 1));
	sqe.get_log_page.numdu = le16_of((uint16_t)((bytes / 4 - 1) >> 16));
	sqe.get_log_page.lpo = le64_of(offset);
	return sqe;
}

static uint16_t get_log(struct rig_qp *q, uint8_t lid, uint64_t offset, uint32_t bytes, bool retain)
{
	struct nvme_sqe sqe = log_sqe(lid, offset, bytes, retain);

	return rig_cmd(q, &sqe, page, sizeof(page), NULL);
}

static uint16_t feature(struct rig_qp *q, bool set, uint8_t fid, uint8_t sel_or_save, uint32_t value, uint32_t *ret)
{
	struct nvme_sqe sqe = rig_sqe(set ? NVME_ADMIN_SET_FEATURES : NVME_ADMIN_GET_FEATURES, 0);
	struct nvme_cqe cqe;
	uint16_t status;

	sqe.features.fid = fid;
	sqe.features.sel = set ? 0 : sel_or_save;
	sqe.features.sv = set ? sel_or_save : 0;
	sqe.features.cdw11 = le32_of(value);
	status = rig_cmd(q, &sqe, page, sizeof(page), &cqe);
	if (ret)
		*ret = le32_get(cqe.dw0);
	return status;
}

static struct rig_qp *discovery(uint32_t core)
{
	struct rig_qp *q = rig_open(&rig, core);
	uint16_t id;

	assert_int_equal(rig_connect(q, 0, NVMF_DISCOVERY_NQN, &id), 0);
	assert_int_equal(rig_property_set(q, NVME_REG_CC, RIG_CC_ENABLE), 0);
	return q;
}

static struct rig_req *aer(struct rig_qp *q)
{
	struct nvme_sqe sqe = rig_sqe(NVME_ADMIN_ASYNC_EVENT, 0);

	return rig_send(q, &sqe, NULL, 0);
}

/* --- identify ----------------------------------------------------------------------------------------- */

static void identify_controller(void **state)
{
	struct nvme_id_ctrl *id = (struct nvme_id_ctrl *)page;

	assert_int_equal(identify(admin, NVME_CNS_CTRL, 0), 0);
	assert_memory_equal(id->sn, "00000000000000000000", 20);
	assert_memory_equal(id->mn, "Gantry bdev Controller                  ", 40);
	assert_int_equal(le16_get(id->cntlid), cntlid);
	assert_int_equal(id->mdts, 5);
	assert_int_equal(id->cntrltype, NVME_CNTRLTYPE_IO);
	assert_int_equal(le32_get(id->ver), NVME_VERSION(2, 0, 0));
	assert_string_equal(id->subnqn, RIG_NQN);
	assert_int_equal(id->sqes, 0x66);
	assert_int_equal(id->cqes, 0x44);
	assert_int_equal(le32_get(id->nn), 32);
	assert_int_equal(le32_get(id->ioccsz), (64 + 4096) / 16);
	assert_int_equal(le32_get(id->iorcsz), 1);
	assert_int_equal(le16_get(id->kas), 10);
	assert_int_equal(le32_get(id->sgls) & 3, 1);
	assert_true(le16_get(id->oncs) & NVME_ONCS_RESERVATIONS);
	assert_true(le16_get(id->oncs) & NVME_ONCS_WRITE_ZEROES);
	assert_true(le16_get(id->oncs) & NVME_ONCS_COMPARE);
}

static void identify_namespaces(void **state)
{
	struct nvme_id_ns *id = (struct nvme_id_ns *)page;
	struct nvme_ns_list *list = (struct nvme_ns_list *)page;

	assert_int_equal(identify(admin, NVME_CNS_NS, 1), 0);
	assert_int_equal(le64_get(id->nsze), RIG_BLOCKS);
	assert_int_equal(id->lbaf[0].ds, 9);
	assert_int_equal(id->nmic, NVME_NMIC_SHARED);
	assert_int_equal(identify(admin, NVME_CNS_NS, 2), 0);
	assert_int_equal(id->lbaf[0].ds, 12);
	assert_int_equal(identify(admin, NVME_CNS_NS, 3), 0); /* inactive: zeroes */
	assert_int_equal(le64_get(id->nsze) | id->lbaf[0].ds, 0);
	assert_int_equal(identify(admin, NVME_CNS_NS, 33), DNR(NVME_SC_INVALID_NS));
	assert_int_equal(identify(admin, NVME_CNS_NS, NVME_NSID_ALL), DNR(NVME_SC_INVALID_NS));
	assert_int_equal(identify(admin, NVME_CNS_NS_ACTIVE_LIST, 0), 0);
	assert_int_equal(le32_get(list->ns[0]), 1);
	assert_int_equal(le32_get(list->ns[1]), 2);
	assert_int_equal(le32_get(list->ns[2]), 0);
	assert_int_equal(identify(admin, NVME_CNS_NS_ACTIVE_LIST, 1), 0);
	assert_int_equal(le32_get(list->ns[0]), 2);
	assert_int_equal(identify(admin, NVME_CNS_NS_ACTIVE_LIST, 0xfffffffe), DNR(NVME_SC_INVALID_NS));
	assert_int_equal(identify(admin, NVME_CNS_NS_DESC_LIST, 1), 0);
	assert_int_equal(page[0], NVME_NIDT_NGUID);
	assert_int_equal(page[20], NVME_NIDT_UUID);
	assert_int_equal(page[40], NVME_NIDT_CSI);
	assert_int_equal(identify(admin, NVME_CNS_NS_DESC_LIST, 9), DNR(NVME_SC_INVALID_NS));
	assert_int_equal(identify(admin, NVME_CNS_CSI_NS, 1), 0);
	assert_int_equal(identify(admin, NVME_CNS_CSI_CTRL, 0), 0);
	assert_int_equal(identify(admin, NVME_CNS_CSI_INDEPENDENT_ID_NS, 1), 0);
	assert_int_equal(identify(admin, 0x77, 0), DNR(NVME_SC_INVALID_FIELD));
}

/* --- log pages --------------------------------------------------------------------------------------------- */

static void error_log(void **state)
{
	struct nvme_error_log_page *e = (struct nvme_error_log_page *)page;
	struct rig_qp *io = rig_io(&rig, 2, 1, cntlid);
	struct nvme_sqe bad = rig_rw(NVME_CMD_READ, 1, RIG_BLOCKS, 1), worse = rig_sqe(0xc5, 0);

	assert_int_equal(rig_cmd(admin, &worse, NULL, 0, NULL), DNR(NVME_SC_INVALID_OPCODE));
	rig_cmd(io, &bad, page, 512, NULL);
	assert_int_equal(get_log(admin, NVME_LOG_ERROR, 0, 192, false), 0);
	assert_int_equal(le64_get(e[0].error_count), 2);
	assert_int_equal(le16_get(e[0].sqid), 1);
	assert_int_equal(le16_get(e[0].status_field) >> 1, DNR(NVME_SC_LBA_RANGE));
	assert_int_equal(le64_get(e[0].lba), RIG_BLOCKS);
	assert_int_equal(le64_get(e[1].error_count), 1);
	assert_int_equal(le16_get(e[1].cmdid), le16_get(worse.cid));
	assert_int_equal(le64_get(e[2].error_count), 0);
}

static void log_page_offsets(void **state)
{
	assert_int_equal(get_log(admin, NVME_LOG_FW_SLOT, 0, 512, false), 0);
	assert_int_equal(page[0], 1);
	assert_memory_equal(page + 8, "0.1     ", 8);
	assert_int_equal(get_log(admin, NVME_LOG_FW_SLOT, 8, 1024, false), 0);
	assert_memory_equal(page, "0.1     ", 8);
	assert_int_equal(page[1000], 0); /* beyond the page */
	assert_int_equal(get_log(admin, NVME_LOG_FW_SLOT, 516, 4, false), DNR(NVME_SC_INVALID_FIELD));
	assert_int_equal(get_log(admin, NVME_LOG_FW_SLOT, 2, 4, false), DNR(NVME_SC_INVALID_FIELD));
	assert_int_equal(get_log(admin, NVME_LOG_PERSISTENT_EVENT, 0, 64, false), DNR(NVME_SC_INVALID_LOG_PAGE));
	assert_int_equal(get_log(admin, NVME_LOG_SMART, 0, 512, false), 0);
	assert_int_equal(get_log(admin, NVME_LOG_CMD_EFFECTS, 0, 4096, false), 0);
	assert_int_equal(((le32 *)page)[NVME_ADMIN_IDENTIFY].b[0], 1);
	assert_int_equal(page[NVME_ADMIN_FORMAT_NVM * 4], 0);
	assert_int_equal(page[1024 + NVME_CMD_WRITE * 4], 3);
}

/* --- features ------------------------------------------------------------------------------------------------- */

static void features(void **state)
{
	uint32_t v;

	assert_int_equal(feature(admin, true, NVME_FEAT_NUM_QUEUES, 0, 3 << 16 | 3, &v), 0);
	assert_int_equal(v, 3 << 16 | 3);
	assert_int_equal(feature(admin, true, NVME_FEAT_NUM_QUEUES, 0, 63 << 16 | 63, &v), 0);
	assert_int_equal(v, 7 << 16 | 7);
	assert_int_equal(feature(admin, true, NVME_FEAT_NUM_QUEUES, 0, 0xffff, NULL), DNR(NVME_SC_INVALID_FIELD));
	rig_io(&rig, 1, 1, cntlid);
	assert_int_equal(feature(admin, true, NVME_FEAT_NUM_QUEUES, 0, 0, NULL), DNR(NVME_SC_CMD_SEQ_ERROR));
	assert_int_equal(feature(admin, true, NVME_FEAT_KATO, 0, 7001, NULL), 0);
	assert_int_equal(feature(admin, false, NVME_FEAT_KATO, 0, 0, &v), 0);
	assert_int_equal(v, 8000);
	assert_int_equal(feature(admin, true, NVME_FEAT_KATO, 0, 0, NULL), DNR(NVME_SC_KAT_INVALID));
	assert_int_equal(feature(admin, true, NVME_FEAT_KATO, 0x80, 1000, NULL), DNR(NVME_SC_FEATURE_NOT_SAVEABLE));
	assert_int_equal(feature(admin, false, NVME_FEAT_KATO, 3, 0, &v), 0);
	assert_int_equal(v, 4);
	assert_int_equal(feature(admin, false, NVME_FEAT_HOST_ID, 0, 1, NULL), 0);
	assert_int_equal(page[0], 7);
	assert_int_equal(feature(admin, false, NVME_FEAT_HOST_ID, 0, 0, NULL), DNR(NVME_SC_HOSTID_FORMAT));
	assert_int_equal(feature(admin, true, NVME_FEAT_HOST_ID, 0, 1, NULL), DNR(NVME_SC_CMD_SEQ_ERROR));
	assert_int_equal(feature(admin, true, NVME_FEAT_POWER_MGMT, 0, 1, NULL), DNR(NVME_SC_INVALID_FIELD));
	assert_int_equal(feature(admin, true, NVME_FEAT_AUTO_PST, 0, 1, NULL), DNR(NVME_SC_INVALID_FIELD));
	assert_int_equal(feature(admin, true, NVME_FEAT_VOLATILE_WC, 0, 0, NULL), DNR(NVME_SC_INVALID_FIELD));
	assert_int_equal(feature(admin, true, NVME_FEAT_ARBITRATION, 0, 0x01020307, NULL), 0);
	assert_int_equal(feature(admin, false, NVME_FEAT_ARBITRATION, 0, 0, &v), 0);
	assert_int_equal(v, 0x01020307);
	assert_int_equal(feature(admin, false, NVME_FEAT_ARBITRATION, 1, 0, &v), 0);
	assert_int_equal(v, 0);
}

/* --- events ----------------------------------------------------------------------------------------------------- */

/* One event for any number of changes until the host has read the list. */
static void namespace_changes_are_told(void **state)
{
	struct rig_req *first = aer(admin), *second = aer(admin);
	struct nvme_ns_list *list = (struct nvme_ns_list *)page;

	assert_int_equal(rig_add_ns(&rig, "spare", 9), 0);
	assert_true(rig_wait(second, NS_PER_S));
	assert_int_equal(second->dw0, NVME_AER_NOTICE_NS_CHANGED);
	assert_int_equal(rig_end(second), 0);
	assert_int_equal(rig_remove_ns(&rig, 2), 0);
	rig_pass(NS_PER_MS);
	assert_false(first->done); /* masked */
	assert_int_equal(get_log(admin, NVME_LOG_CHANGED_NS, 0, 4096, true), 0);
	assert_int_equal(le32_get(list->ns[0]), 2);
	assert_int_equal(le32_get(list->ns[1]), 9);
	assert_int_equal(le32_get(list->ns[2]), 0);
	assert_int_equal(get_log(admin, NVME_LOG_CHANGED_NS, 0, 4096, false), 0);
	assert_int_equal(get_log(admin, NVME_LOG_CHANGED_NS, 0, 4096, false), 0);
	assert_int_equal(le32_get(list->ns[0]), 0);
	assert_int_equal(rig_remove_ns(&rig, 9), 0);
	assert_true(rig_wait(first, NS_PER_S));
	assert_int_equal(rig_end(first), 0);
	assert_int_equal(rig_add_ns(&rig, "spare", 9), 0);
	assert_int_equal(get_log(admin, NVME_LOG_CHANGED_NS, 0, 4096, false), 0);
	assert_int_equal(rig_remove_ns(&rig, 9), 0); /* nobody waits: kept */
	rig_pass(NS_PER_MS);
	assert_int_equal(rig_end(aer(admin)), 0);
}

static void resized(void *arg, const struct err *e)
{
	must(!e);
}

static void resize_here(void *arg)
{
	malloc_resize(rig.reg, "ram", RIG_BLOCKS * 2, resized, NULL);
}

static void resize_is_told(void **state)
{
	struct rig_req *rq = aer(admin);
	struct nvme_id_ns *id = (struct nvme_id_ns *)page;

	sim_as(core_control(rig.core), resize_here, NULL);
	assert_true(rig_wait(rq, NS_PER_S));
	assert_int_equal(rig_end(rq), 0);
	assert_int_equal(get_log(admin, NVME_LOG_CHANGED_NS, 0, 4, false), 0);
	assert_int_equal(page[0], 1);
	assert_int_equal(identify(admin, NVME_CNS_NS, 1), 0);
	assert_int_equal(le64_get(id->nsze), RIG_BLOCKS * 2);
}

static void event_requests_have_a_limit_and_an_end(void **state)
{
	struct rig_req *rq[NVMF_AERS_MAX];
	struct nvme_sqe sqe = rig_sqe(NVME_ADMIN_ABORT_CMD, 0);
	struct nvme_cqe cqe;

	for (uint32_t i = 0; i < NVMF_AERS_MAX; i++)
		rq[i] = aer(admin);
	assert_int_equal(rig_end(aer(admin)), DNR(NVME_SC_ASYNC_LIMIT));
	sqe.abort.cid = rq[2]->req.cmd.cid;
	assert_int_equal(rig_cmd(admin, &sqe, NULL, 0, &cqe), 0);
	assert_int_equal(le32_get(cqe.dw0), 0);
	assert_int_equal(rig_end(rq[2]), NVME_SC_ABORT_REQ);
	rig_close(admin);
	assert_true(rig_gone(admin));
	for (uint32_t i = 0; i < NVMF_AERS_MAX; i++)
		if (i != 2)
			assert_int_equal(rig_end(rq[i]), NVME_SC_ABORT_QUEUE);
}

static void withdraw_here(void *arg)
{
	void **v = arg;

	*(bool *)v[1] = nvmf_req_withdraw(v[0]);
}

static void again_here(void *arg)
{
	must(nvmf_req_parse(arg));
	nvmf_req_execute(arg);
}

/* An event request moves with its queue: taken back on the old core, begun anew on the new one. */
static void event_request_moves(void **state)
{
	struct rig_req *rq = aer(admin);
	bool withdrawn;

	sim_as(admin->qp.reactor, withdraw_here, (void *[]){ &rq->req, &withdrawn });
	assert_true(withdrawn);
	rig_move(admin, 2);
	assert_int_equal(rig_remove_ns(&rig, 2), 0);
	rig_pass(NS_PER_MS);
	assert_false(rq->done);
	sim_as(admin->qp.reactor, again_here, &rq->req);
	assert_int_equal(rig_end(rq), 0);
}

/* --- discovery ----------------------------------------------------------------------------------- */

static void discovery_log(void **state)
{
	struct rig_qp *q = discovery(1);
	struct nvmf_discovery_log *log = (struct nvmf_discovery_log *)page;
	struct nvme_id_ctrl *id = (struct nvme_id_ctrl *)page;
	uint64_t genctr;

	assert_int_equal(identify(q, NVME_CNS_CTRL, 0), 0);
	assert_int_equal(id->cntrltype, NVME_CNTRLTYPE_DISCOVERY);
	assert_int_equal(identify(q, NVME_CNS_NS, 1), DNR(NVME_SC_INVALID_FIELD));
	assert_int_equal(get_log(q, NVME_LOG_DISCOVER, 0, 1024, false), 0);
	assert_int_equal(le64_get(log->numrec), 1);
	genctr = le64_get(log->genctr);
	assert_int_equal(get_log(q, NVME_LOG_DISCOVER, 0, 2048, false), 0);
	assert_string_equal(log->entries[0].subnqn, RIG_NQN);
	assert_memory_equal(log->entries[0].traddr, "127.0.0.1 ", 10);
	assert_memory_equal(log->entries[0].trsvcid, "4420 ", 5);
	assert_int_equal(log->entries[0].trtype, NVMF_TRTYPE_TCP);
	assert_int_equal(log->entries[0].adrfam, NVMF_ADRFAM_IP4);
	assert_int_equal(log->entries[0].subtype, NVMF_SUBTYPE_NVME);
	assert_int_equal(le16_get(log->entries[0].cntlid), 0xffff);
	assert_int_equal(rig_add_listener(&rig, "0.0.0.0", "4430"), 0);
	assert_int_equal(get_log(q, NVME_LOG_DISCOVER, 0, 3072, false), 0);
	assert_int_equal(le64_get(log->numrec), 2);
	assert_true(le64_get(log->genctr) > genctr);
	assert_memory_equal(log->entries[1].traddr, "127.0.0.1 ", 10); /* the wildcard, as this host reached us */
	assert_memory_equal(log->entries[1].trsvcid, "4430 ", 5);
	assert_int_equal(rig_remove_host(&rig, RIG_HOST), 0);
	assert_int_equal(get_log(q, NVME_LOG_DISCOVER, 0, 1024, false), 0);
	assert_int_equal(le64_get(log->numrec), 0); /* not for this host any more */
	assert_false(q->told_to_go);
}

struct referral {
	struct nvmf_change change;
	struct nvmf_referral_opts opts;
	bool done;
};

static void referral_done(struct nvmf_change *c)
{
	container_of(c, struct referral, change)->done = true;
}

static void add_referral(void *arg)
{
	struct referral *r = arg;

	r->change = (struct nvmf_change){ .target = rig.target, .done = referral_done };
	nvmf_add_referral(&r->change, &r->opts);
}

static bool referral_is_done(void *arg)
{
	return ((struct referral *)arg)->done;
}

/* Hosts that begin to read a log, never end, and take all memory. */
static void logs_that_are_kept_are_bounded(void **state)
{
	struct nvmf_core *nc = &rig.target->cores[1];
	struct rig_qp *qs[40];

	for (uint16_t i = 0; i < 256; i++) {
		struct referral r = { .opts = { .trtype = NVMF_TRTYPE_TCP, .all_hosts = true } };

		assert_int_equal(net_addr_parse(NET_IPV4, "192.0.2.1", "4420", &r.opts.addr, &(struct err){ 0 }), 0);
		net_addr_set_port(&r.opts.addr, (uint16_t)(1000 + i));
		sim_as(core_control(rig.core), add_referral, &r);
		assert_true(sim_run(referral_is_done, &r, NS_PER_S));
		assert_int_equal(r.change.err.code, 0);
	}
	for (size_t i = 0; i < ARRAY_SIZE(qs); i++) {
		qs[i] = discovery(1);
		assert_int_equal(get_log(qs[i], NVME_LOG_DISCOVER, 0, 1024, false), 0);
	}
	assert_in_range(nc->log_bytes, NVMF_DISCOVERY_LOGS_BYTES / 2, NVMF_DISCOVERY_LOGS_BYTES);
	assert_null(qs[0]->qp.ctrlr->discovery_log);
	assert_int_equal(get_log(qs[0], NVME_LOG_DISCOVER, 256 * 1024, 1024, false), 0); /* its host goes on nevertheless */
	assert_memory_equal(page, (&(uint8_t[]){ NVMF_TRTYPE_TCP }), 1);
	rig_move(qs[39], 0);
	assert_non_null(qs[39]->qp.ctrlr->discovery_log); /* it comes along */
	assert_int_equal(get_log(qs[39], NVME_LOG_DISCOVER, 256 * 1024, 1024, false), 0);
	for (size_t i = 0; i < ARRAY_SIZE(qs); i++) {
		rig_close(qs[i]);
		assert_true(rig_gone(qs[i]));
	}
	assert_int_equal(nc->log_bytes + rig.target->cores[0].log_bytes, 0);
}

static void discovery_changes_are_told(void **state)
{
	struct rig_qp *q = discovery(2);
	struct rig_req *rq = aer(q);

	assert_int_equal(rig_add_ns(&rig, "spare", 0), 0);
	rig_pass(NS_PER_MS);
	assert_false(rq->done); /* namespaces are not in its log */
	assert_int_equal(rig_add_listener(&rig, "127.0.0.1", "4431"), 0);
	assert_true(rig_wait(rq, NS_PER_S));
	assert_int_equal(rq->dw0, (int)NVME_AER_NOTICE_DISC_CHANGED);
	assert_int_equal(rig_end(rq), 0);
}

static void discovery_has_few_commands(void **state)
{
	struct rig_qp *q = discovery(0);
	struct nvme_sqe alive = rig_sqe(NVME_ADMIN_KEEP_ALIVE, 0);

	assert_int_equal(rig_cmd(q, &alive, NULL, 0, NULL), 0);
	assert_int_equal(get_log(q, NVME_LOG_SMART, 0, 512, false), DNR(NVME_SC_INVALID_LOG_PAGE));
	assert_int_equal(feature(q, true, NVME_FEAT_NUM_QUEUES, 0, 0, NULL), DNR(NVME_SC_INVALID_FIELD));
	assert_int_equal(feature(q, true, NVME_FEAT_ASYNC_EVENT, 0, NVME_OAES_DISCOVERY, NULL), 0);
}

static void unknown_commands(void **state)
{
	static const uint8_t opcodes[] = {
		NVME_ADMIN_DELETE_SQ, NVME_ADMIN_CREATE_SQ, NVME_ADMIN_NS_MGMT, NVME_ADMIN_FORMAT_NVM, NVME_ADMIN_FW_DOWNLOAD,
		NVME_ADMIN_SECURITY_RECV, NVME_ADMIN_DEV_SELF_TEST, 0xc0,
	};

	for (size_t i = 0; i < sizeof(opcodes); i++) {
		struct nvme_sqe sqe = rig_sqe(opcodes[i], 0);

		assert_int_equal(rig_cmd(admin, &sqe, page, sizeof(page), NULL), DNR(NVME_SC_INVALID_OPCODE));
	}
}

#define T(name) cmocka_unit_test_setup_teardown(name, start, stop)
int main(void)
{
	const struct CMUnitTest tests[] = {
		T(identify_controller), T(identify_namespaces), T(error_log), T(log_page_offsets), T(features),
		T(namespace_changes_are_told), T(resize_is_told), T(event_requests_have_a_limit_and_an_end),
		T(event_request_moves),
		T(discovery_log), T(logs_that_are_kept_are_bounded),
		T(discovery_changes_are_told), T(discovery_has_few_commands), T(unknown_commands),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
