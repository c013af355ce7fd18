/* SPDX-License-Identifier: BSD-3-Clause */
/* info_test.c: what is there and what is not: pages of Identify, log pages, features and their selections; resets of
 * the subsystem; delays of retries. */
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
static uint8_t page[8192];

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

static uint16_t identify(uint8_t cns, uint32_t nsid, uint16_t cntid, uint8_t csi)
{
	struct nvme_sqe sqe = rig_sqe(NVME_ADMIN_IDENTIFY, nsid);

	sqe.identify.cns = cns;
	sqe.identify.cntid = le16_of(cntid);
	sqe.identify.csi = csi;
	memset(page, 0xee, sizeof(page));
	return rig_cmd(admin, &sqe, page, 4096, NULL);
}

static uint16_t get_log(struct rig_qp *q, uint8_t lid, uint8_t csi, uint8_t ot)
{
	struct nvme_sqe sqe = rig_sqe(NVME_ADMIN_GET_LOG_PAGE, NVME_NSID_ALL);

	sqe.get_log_page.lid = lid;
	sqe.get_log_page.numdl = le16_of(1023);
	sqe.get_log_page.csi = csi;
	sqe.get_log_page.ot = ot;
	memset(page, 0xee, sizeof(page));
	return rig_cmd(q, &sqe, page, 4096, NULL);
}

static uint16_t feature(bool set, uint8_t fid, uint8_t sel, uint32_t nsid, uint32_t value, uint32_t *ret)
{
	struct nvme_sqe sqe = rig_sqe(set ? NVME_ADMIN_SET_FEATURES : NVME_ADMIN_GET_FEATURES, nsid);
	struct nvme_cqe cqe;
	uint16_t status;

	sqe.features.fid = fid;
	sqe.features.sel = set ? 0 : sel;
	sqe.features.cdw11 = le32_of(value);
	status = rig_cmd(admin, &sqe, page, sizeof(page), &cqe);
	if (ret)
		*ret = le32_get(cqe.dw0);
	return status;
}

static uint32_t get(uint8_t fid, uint8_t sel, uint32_t nsid, uint32_t cdw11)
{
	uint32_t v;

	assert_int_equal(feature(false, fid, sel, nsid, cdw11, &v), 0);
	return v;
}

/* --- Identify ------------------------------------------------------------------------------------------- */

static void allocated_namespaces(void **state)
{
	const struct nvme_ns_list *list = (const struct nvme_ns_list *)page;

	for (int csi = 0; csi < 2; csi++) {
		assert_int_equal(identify(csi ? NVME_CNS_CSI_ALLOCATED_NS_LIST : NVME_CNS_ALLOCATED_NS_LIST, 1, 0, 0), 0);
		assert_int_equal(le32_get(list->ns[0]), 2);
		assert_int_equal(le32_get(list->ns[1]), 0);
	}
	assert_int_equal(identify(NVME_CNS_ALLOCATED_NS, 1, 0, 0), 0);
	assert_int_equal(le64_get(((const struct nvme_id_ns *)page)->nsze), RIG_BLOCKS);
	assert_int_equal(identify(NVME_CNS_ALLOCATED_NS, 3, 0, 0), 0);
	assert_int_equal(le64_get(((const struct nvme_id_ns *)page)->nsze), 0);
	assert_int_equal(identify(NVME_CNS_ALLOCATED_NS, 33, 0, 0), DNR(NVME_SC_INVALID_NS));
	assert_int_equal(identify(NVME_CNS_CSI_ID_NS_DATA_STRUCTURE, 1, 0, 0), 0);
	assert_int_equal(identify(NVME_CNS_CSI_ID_NS_DATA_STRUCTURE, 1, 0, NVME_CSI_ZNS), DNR(NVME_SC_INVALID_FIELD));
	assert_int_equal(identify(NVME_CNS_CSI_ALLOCATED_NS_LIST, 0, 0, NVME_CSI_KV), DNR(NVME_SC_INVALID_FIELD));
	assert_int_equal(identify(NVME_CNS_ALLOCATED_NS_LIST, NVME_NSID_ALL, 0, 0), DNR(NVME_SC_INVALID_NS));
}

static void controllers_in_order(void **state)
{
	const struct nvme_ctrl_list *list = (const struct nvme_ctrl_list *)page;
	uint16_t ids[3] = { cntlid };
	struct rig_qp *gone = rig_admin(&rig, 1, &ids[1]);

	rig_admin(&rig, 2, &ids[2]);
	assert_int_equal(identify(NVME_CNS_CTRL_LIST, 0, 0, 0), 0);
	assert_int_equal(le16_get(list->num), 3);
	for (int i = 0; i < 3; i++)
		assert_int_equal(le16_get(list->identifier[i]), ids[i]);
	assert_int_equal(le16_get(list->identifier[3]), 0);
	assert_int_equal(identify(NVME_CNS_CTRL_LIST, 0, ids[1], 0), 0); /* that one, and what follows */
	assert_int_equal(le16_get(list->num), 2);
	assert_int_equal(le16_get(list->identifier[0]), ids[1]);
	assert_int_equal(identify(NVME_CNS_CTRL_LIST, 0, 0xffff, 0), 0);
	assert_int_equal(le16_get(list->num), 0);
	rig_close(gone);
	assert_true(rig_gone(gone));
	rig_pass(NS_PER_MS);
	assert_int_equal(identify(NVME_CNS_NS_CTRL_LIST, 1, 0, 0), 0);
	assert_int_equal(le16_get(list->num), 2);
	assert_int_equal(le16_get(list->identifier[1]), ids[2]);
	assert_int_equal(identify(NVME_CNS_NS_CTRL_LIST, 3, 0, 0), 0); /* no such namespace: attached to none */
	assert_int_equal(le16_get(list->num), 0);
	assert_int_equal(identify(NVME_CNS_NS_CTRL_LIST, 0, 0, 0), DNR(NVME_SC_INVALID_NS));
	assert_int_equal(identify(NVME_CNS_NS_CTRL_LIST, 33, 0, 0), DNR(NVME_SC_INVALID_NS));
	assert_int_equal(identify(NVME_CNS_NS_CTRL_LIST, NVME_NSID_ALL, 0, 0), DNR(NVME_SC_INVALID_NS));
}

/* Of what is not announced nothing may come but a refusal. */
static void other_pages_are_refused(void **state)
{
	static const uint8_t there[] = { 0x00, 0x01, 0x02, 0x03, 0x05, 0x06, 0x07, 0x08, 0x10, 0x11, 0x12, 0x13, 0x1a, 0x1b,
		0x1c };

	for (uint32_t cns = 0; cns < 256; cns++) {
		uint16_t status = identify((uint8_t)cns, 1, 0xffff, 0);

		if (memchr(there, (int)cns, sizeof(there)))
			assert_int_equal(status, 0);
		else
			assert_int_equal(status, DNR(NVME_SC_INVALID_FIELD));
	}
}

static void controller_fields(void **state)
{
	const struct nvme_id_ctrl *id = (const struct nvme_id_ctrl *)page;

	assert_int_equal(identify(NVME_CNS_CTRL, 0, 0, 0), 0);
	assert_int_equal(id->lpa, NVME_LPA_SMART_PER_NS | NVME_LPA_CMD_EFFECTS | NVME_LPA_EXTENDED |
	                 NVME_LPA_LI0_LI5_LI12_LI13);
	assert_int_equal(id->elpe, NVMF_ERRORS_MAX - 1);
	assert_true(le16_get(id->oncs) & NVME_ONCS_TIMESTAMP && le16_get(id->oncs) & NVME_ONCS_SAVE_FEATURES);
	assert_int_equal(le32_get(id->rtd3e), 10000000);
	assert_int_equal(le16_get(id->oacs) & ~NVME_OACS_LBA_STATUS, 0);
	assert_int_equal(id->sanicap.b[0] | le16_get(id->nsetidmax) | le16_get(id->endgidmax), 0);
	assert_int_equal(le32_get(id->hmpre) | le16_get(id->hctma) | le32_get(id->pels) | id->apsta | id->fcatt, 0);
	assert_int_equal(le32_get(id->ctratt) & ~(NVME_CTRATT_HOSTID_128 | NVME_CTRATT_TBKAS | NVME_CTRATT_ELBAS), 0);
}

/* --- log pages ------------------------------------------------------------------------------------------- */

/* Page 00h and Get Log Page agree about each of 256. */
static void supported_pages(void **state)
{
	uint32_t said[256];

	assert_int_equal(get_log(admin, NVME_LOG_SUPPORTED_LOG_PAGES, 0, 0), 0);
	for (uint32_t lid = 0; lid < 256; lid++)
		said[lid] = le32_get(((const struct nvme_supported_log_pages *)page)->lid_support[lid]);
	assert_int_equal(said[NVME_LOG_SMART], NVME_LID_SUPPORTED);
	assert_int_equal(said[NVME_LOG_ANA], 0); /* the subsystem does not report it */
	assert_int_equal(said[NVME_LOG_DISCOVER], 0);
	for (uint32_t lid = 0; lid < 256; lid++) {
		uint16_t status = get_log(admin, (uint8_t)lid, 0, 0);

		assert_int_equal(status, said[lid] ? 0 : DNR(NVME_SC_INVALID_LOG_PAGE));
		if (said[lid])
			assert_int_equal(get_log(admin, (uint8_t)lid, 0, 0x80), DNR(NVME_SC_INVALID_FIELD)); /* by entries */
	}
	assert_int_equal(get_log(admin, NVME_LOG_CMD_EFFECTS, NVME_CSI_ZNS, 0), DNR(NVME_SC_INVALID_LOG_PAGE));
	assert_int_equal(get_log(admin, NVME_LOG_MI_CMD_SUPPORTED_EFFECTS, 0, 0), 0);
	for (int i = 0; i < 4096; i++)
		assert_int_equal(page[i], 0);
}

static void discovery_controllers_say_so_too(void **state)
{
	const struct nvme_supported_log_pages *log = (const struct nvme_supported_log_pages *)page;
	const struct nvme_fid_supported_effects_log *fids = (const struct nvme_fid_supported_effects_log *)page;
	const struct nvme_cmd_effects_log *effects = (const struct nvme_cmd_effects_log *)page;
	struct rig_qp *q = rig_open(&rig, 1);
	uint16_t id;

	assert_int_equal(rig_connect(q, 0, NVMF_DISCOVERY_NQN, &id), 0);
	assert_int_equal(rig_property_set(q, NVME_REG_CC, RIG_CC_ENABLE), 0);
	assert_int_equal(get_log(q, NVME_LOG_SUPPORTED_LOG_PAGES, 0, 0), 0);
	assert_int_equal(le32_get(log->lid_support[NVME_LOG_DISCOVER]) & 0xffff, NVME_LID_SUPPORTED);
	assert_int_equal(le32_get(log->lid_support[NVME_LOG_SMART]), 0);
	assert_int_equal(get_log(q, NVME_LOG_FID_SUPPORTED_EFFECTS, 0, 0), 0);
	assert_int_equal(le32_get(fids->fid_support[NVME_FEAT_KATO]) & 1, 1);
	assert_int_equal(le32_get(fids->fid_support[NVME_FEAT_NUM_QUEUES]), 0);
	assert_int_equal(get_log(q, NVME_LOG_CMD_EFFECTS, 0, 0), 0);
	assert_int_equal(le32_get(effects->acs[NVME_ADMIN_IDENTIFY]) & 1, 1);
	assert_int_equal(le32_get(effects->iocs[NVME_CMD_READ]), 0);
}

/* --- features ------------------------------------------------------------------------------------------- */

/* Page 12h and Get Features agree about each of 256. */
static void supported_features(void **state)
{
	uint32_t said[256];

	assert_int_equal(get_log(admin, NVME_LOG_FID_SUPPORTED_EFFECTS, 0, 0), 0);
	for (uint32_t fid = 0; fid < 256; fid++)
		said[fid] = le32_get(((const struct nvme_fid_supported_effects_log *)page)->fid_support[fid]);
	assert_int_equal(said[NVME_FEAT_KATO], NVME_FID_SUPPORTED | NVME_SCOPE_CTRL);
	assert_int_equal(said[NVME_FEAT_ERR_RECOVERY], NVME_FID_SUPPORTED | NVME_SCOPE_NS);
	assert_int_equal(said[NVME_FEAT_VOLATILE_WC], 0); /* no cache to switch */
	for (uint32_t fid = 0; fid < 256; fid++) {
		for (uint8_t sel = 0; sel < 4; sel++)
			assert_int_equal(feature(false, (uint8_t)fid, sel, 1, fid == NVME_FEAT_HOST_ID, NULL),
			                 said[fid] ? 0 : DNR(NVME_SC_INVALID_FIELD));
		assert_int_equal(feature(false, (uint8_t)fid, 4, 1, 0, NULL), DNR(NVME_SC_INVALID_FIELD));
	}
}

static void selections(void **state)
{
	assert_int_equal(feature(true, NVME_FEAT_TEMP_THRESH, 0, 0, 300, NULL), 0);
	assert_int_equal(feature(true, NVME_FEAT_TEMP_THRESH, 0, 0, 1 << 20 | 200, NULL), 0);
	assert_int_equal(get(NVME_FEAT_TEMP_THRESH, 0, 0, 0), 300);
	assert_int_equal(get(NVME_FEAT_TEMP_THRESH, 0, 0, 1 << 20), 200);
	for (uint8_t sel = 1; sel < 3; sel++) { /* what is not saved is as it was by default */
		assert_int_equal(get(NVME_FEAT_TEMP_THRESH, sel, 0, 0), 0x157);
		assert_int_equal(get(NVME_FEAT_TEMP_THRESH, sel, 0, 1 << 20), 0);
		assert_int_equal(get(NVME_FEAT_NUM_QUEUES, sel, 0, 0), 7 << 16 | 7);
		assert_int_equal(get(NVME_FEAT_ASYNC_EVENT, sel, 0, 0), get(NVME_FEAT_ASYNC_EVENT, 0, 0, 0));
	}
	assert_int_equal(feature(true, NVME_FEAT_TEMP_THRESH, 0, 0, 15 << 16 | 310, NULL), 0); /* all sensors */
	assert_int_equal(feature(true, NVME_FEAT_TEMP_THRESH, 0, 0, 1 << 16, NULL), DNR(NVME_SC_INVALID_FIELD));
	assert_int_equal(feature(false, NVME_FEAT_TEMP_THRESH, 0, 0, 1 << 16, NULL), DNR(NVME_SC_INVALID_FIELD));
	assert_int_equal(feature(false, NVME_FEAT_TEMP_THRESH, 0, 0, 2 << 20, NULL), DNR(NVME_SC_INVALID_FIELD));
	assert_int_equal(feature(true, NVME_FEAT_KATO, 0, 1, 1000, NULL), DNR(NVME_SC_FEATURE_NOT_PER_NS));
	assert_int_equal(get(NVME_FEAT_ERR_RECOVERY, 3, 0, 0), 4 | 2);
	assert_int_equal(feature(true, NVME_FEAT_ERR_RECOVERY, 0, 2, 7, NULL), 0);
	assert_int_equal(get(NVME_FEAT_ERR_RECOVERY, 0, 2, 0), 7);
	assert_int_equal(get(NVME_FEAT_ERR_RECOVERY, 0, 1, 0), 0);
	assert_int_equal(feature(true, NVME_FEAT_ERR_RECOVERY, 0, NVME_NSID_ALL, 9, NULL), 0);
	assert_int_equal(get(NVME_FEAT_ERR_RECOVERY, 0, 2, 0), 9);
	/* DULBE */
	assert_int_equal(feature(true, NVME_FEAT_ERR_RECOVERY, 0, 2, 1 << 16, NULL), DNR(NVME_SC_INVALID_FIELD));
	assert_int_equal(feature(false, NVME_FEAT_ERR_RECOVERY, 0, 9, 0, NULL), DNR(NVME_SC_INVALID_NS));
}

static uint64_t timestamp(uint8_t *ret_attr)
{
	le64 ms = { { 0 } };

	assert_int_equal(feature(false, NVME_FEAT_TIMESTAMP, 0, 0, 0, NULL), 0);
	memcpy(ms.b, page, 6);
	*ret_attr = page[6];
	return le64_get(ms);
}

static void timestamps_go_on(void **state)
{
	le64 ms = le64_of(0x0123456789abull);
	uint8_t attr;

	rig_pass(50 * NS_PER_MS);
	assert_in_range(timestamp(&attr), 40, 5000);
	assert_int_equal(attr, NVME_TIMESTAMP_OF_RESET);
	memcpy(page, ms.b, 8);
	assert_int_equal(feature(true, NVME_FEAT_TIMESTAMP, 0, 0, 0, NULL), 0);
	rig_pass(100 * NS_PER_MS);
	assert_in_range(timestamp(&attr) - le64_get(ms), 99, 5000);
	assert_int_equal(attr, NVME_TIMESTAMP_OF_HOST);
	assert_int_equal(rig_property_set(admin, NVME_REG_CC, 0), 0);
	rig_pass(10 * NS_PER_MS);
	assert_int_equal(rig_property_set(admin, NVME_REG_CC, RIG_CC_ENABLE), 0);
	assert_in_range(timestamp(&attr), 0, 5000);
	assert_int_equal(attr, NVME_TIMESTAMP_OF_RESET);
}

/* --- the whole subsystem is reset --------------------------------------------------------------------------- */

static void set_nssr(void *arg)
{
	((struct nvmf_ctrlr *)arg)->nssr = true; /* as subsystems have it that are made so */
}

static void subsystem_reset(void **state)
{
	struct nvme_sqe aer = rig_sqe(NVME_ADMIN_ASYNC_EVENT, 0);
	uint16_t other_id;
	struct rig_qp *io = rig_io(&rig, 1, 1, cntlid), *other = rig_admin(&rig, 2, &other_id);
	struct rig_qp *other_io = rig_io(&rig, 0, 1, other_id);
	struct rig_req *event = rig_send(other, &aer, NULL, 0);

	sim_as(admin->qp.reactor, set_nssr, admin->qp.ctrlr);
	assert_true(nvme_cap_nssrs(rig_property_get(admin, NVME_REG_CAP, true)));
	assert_int_equal(rig_property_set(admin, NVME_REG_NSSR, 1), 0); /* not the word */
	rig_pass(NS_PER_MS);
	assert_false(io->told_to_go);
	assert_int_equal(rig_property_set(admin, NVME_REG_NSSR, 0x4e564d65), 0);
	rig_pass(10 * NS_PER_MS);
	assert_true(io->told_to_go && other_io->told_to_go);
	assert_int_equal(rig_end(event), NVME_SC_ABORT_QUEUE);
	assert_true(rig_gone(io) && rig_gone(other_io));
	rig_pass(10 * NS_PER_MS);
	for (int i = 0; i < 2; i++) {
		struct rig_qp *q = i ? other : admin;

		assert_false(q->told_to_go);
		assert_int_equal(rig_property_get(q, NVME_REG_CC, false), 0);
		assert_int_equal(rig_property_get(q, NVME_REG_CSTS, false), nvme_csts_with_nssro(0, 1));
		assert_int_equal(rig_property_set(q, NVME_REG_CC, RIG_CC_ENABLE), 0);
		assert_int_equal(rig_property_get(q, NVME_REG_CSTS, false), nvme_csts_with_nssro(1, 1));
		assert_int_equal(rig_property_set(q, NVME_REG_CSTS, nvme_csts_with_nssro(0, 1)), 0); /* seen */
		assert_int_equal(rig_property_get(q, NVME_REG_CSTS, false), 1);
	}
	rig_io(&rig, 1, 1, cntlid);
}

/* --- delays of retries ------------------------------------------------------------------------------------ */

static void retry_later(void *arg)
{
	struct nvmf_req req = { .qpair = &admin->qp };

	nvme_cqe_set_status(&req.cpl, *(uint16_t *)arg);
	nvmf_error_add(&req);
	*(uint16_t *)arg = nvme_cqe_status(&req.cpl);
}

static uint16_t delayed(uint16_t status)
{
	sim_as(admin->qp.reactor, retry_later, &status);
	return status;
}

static void retries_are_delayed(void **state)
{
	rig.target->crdt[0] = 5;
	assert_int_equal(delayed(NVME_SC_CMD_INTERRUPTED), NVME_SC_CMD_INTERRUPTED); /* the host does not know of it */
	memset(page, 0, 512);
	page[0] = 1;
	assert_int_equal(feature(true, NVME_FEAT_HOST_BEHAVIOR, 0, 0, 0, NULL), 0);
	assert_int_equal(delayed(NVME_SC_CMD_INTERRUPTED), NVME_SC_CMD_INTERRUPTED | 1 << 11);
	assert_int_equal(delayed(NVME_SC_NS_NOT_READY), NVME_SC_NS_NOT_READY | 1 << 11);
	assert_int_equal(delayed(DNR(NVME_SC_INTERNAL)), DNR(NVME_SC_INTERNAL));
	assert_int_equal(delayed(NVME_SC_ANA_INACCESSIBLE), NVME_SC_ANA_INACCESSIBLE); /* another way is better */
	rig.target->crdt[1] = 6;
	rig.target->crdt[2] = 7;
	assert_int_equal(delayed(NVME_SC_NS_NOT_READY), NVME_SC_NS_NOT_READY | 2 << 11);
	assert_int_equal(delayed(NVME_SC_INTERNAL), NVME_SC_INTERNAL | 3 << 11);
	page[0] = 2;
	assert_int_equal(feature(true, NVME_FEAT_HOST_BEHAVIOR, 0, 0, 0, NULL), DNR(NVME_SC_INVALID_FIELD));
}

#define T(name) cmocka_unit_test_setup_teardown(name, start, stop)
int main(void)
{
	const struct CMUnitTest tests[] = {
		T(allocated_namespaces), T(controllers_in_order), T(other_pages_are_refused), T(controller_fields),
		T(supported_pages), T(discovery_controllers_say_so_too), T(supported_features), T(selections),
		T(timestamps_go_on), T(subsystem_reset), T(retries_are_delayed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
