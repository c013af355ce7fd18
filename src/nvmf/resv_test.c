/* SPDX-License-Identifier: BSD-3-Clause */
/* resv_test.c: reservations over NVMe: two hosts, the four commands, what conflicts, who is told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "bdev/bdev_device.h"
#include "nvmf/test_rig.h"

#define DNR(status) ((status) | NVME_SC_DNR)
#define CONFLICT DNR(NVME_SC_RESERVATION_CONFLICT)
#define BAD DNR(NVME_SC_INVALID_FIELD)
#define HOSTS 2

static struct rig rig;
static struct rig_qp *admins[HOSTS], *ios[HOSTS];
static uint16_t cntlids[HOSTS];
static uint8_t page[4096], data[RIG_BLOCK];

static uint16_t connect_as(struct rig_qp *q, uint8_t host, uint16_t qid, uint16_t *cntlid)
{
	struct nvme_sqe sqe = rig_connect_sqe(qid, 32);
	struct nvmf_connect_data d;
	struct nvme_cqe cqe;
	uint16_t status;

	rig_connect_data(&d, RIG_NQN, RIG_HOST, qid ? *cntlid : NVME_CNTLID_DYNAMIC);
	d.hostid[0] = host;
	status = rig_cmd(q, &sqe, &d, sizeof(d), &cqe);
	if (!status && !qid)
		*cntlid = le16_get(cqe.cntlid);
	return status;
}

static void host_comes(uint32_t i)
{
	admins[i] = rig_open(&rig, 0);
	assert_int_equal(connect_as(admins[i], (uint8_t)(i + 1), 0, &cntlids[i]), 0);
	assert_int_equal(rig_property_set(admins[i], NVME_REG_CC, RIG_CC_ENABLE), 0);
	ios[i] = rig_open(&rig, 1);
	assert_int_equal(connect_as(ios[i], (uint8_t)(i + 1), 1, &cntlids[i]), 0);
}

static int start(void **state)
{
	rig_start(&rig, 2);
	for (uint32_t i = 0; i < HOSTS; i++)
		host_comes(i);
	return 0;
}

static int stop(void **state)
{
	rig_stop(&rig);
	return 0;
}

static uint16_t resv(uint32_t host, uint8_t opc, uint8_t action, uint8_t rtype, uint64_t key, uint64_t key2)
{
	struct nvme_sqe sqe = rig_sqe(opc, 1);
	struct nvme_resv_keys keys = { .crkey = le64_of(key), .nrkey = le64_of(key2) };

	sqe.resv.action = action;
	sqe.resv.rtype = rtype;
	return rig_cmd(ios[host], &sqe, &keys, sizeof(keys), NULL);
}

static uint16_t reg(uint32_t host, uint8_t action, uint64_t key, uint64_t new_key)
{
	return resv(host, NVME_CMD_RESV_REGISTER, action, 0, key, new_key);
}

static uint16_t acquire(uint32_t host, uint8_t action, uint8_t rtype, uint64_t key, uint64_t victim)
{
	return resv(host, NVME_CMD_RESV_ACQUIRE, action, rtype, key, victim);
}

static uint16_t release(uint32_t host, uint8_t action, uint8_t rtype, uint64_t key)
{
	return resv(host, NVME_CMD_RESV_RELEASE, action, rtype, key, 0);
}

static uint16_t io(uint32_t host, uint8_t opc)
{
	struct nvme_sqe sqe = rig_rw(opc, 1, 0, 1);
	bool moves = opc == NVME_CMD_READ || opc == NVME_CMD_WRITE || opc == NVME_CMD_COMPARE;

	if (opc == NVME_CMD_FLUSH)
		sqe = rig_sqe(opc, 1);
	return rig_cmd(ios[host], &sqe, moves ? data : NULL, moves ? sizeof(data) : 0, NULL);
}

static uint16_t dsm_hint(uint32_t host)
{
	struct nvme_sqe sqe = rig_sqe(NVME_CMD_DSM, 1);
	struct nvme_dsm_range range = { .nlb = le32_of(1) };

	return rig_cmd(ios[host], &sqe, &range, sizeof(range), NULL);
}

static uint16_t report(uint32_t host, bool eds, uint32_t len)
{
	struct nvme_sqe sqe = rig_sqe(NVME_CMD_RESV_REPORT, 1);

	sqe.resv_report.numd = le32_of(len / 4 - 1);
	sqe.resv_report.eds = eds;
	memset(page, 0xee, sizeof(page));
	return rig_cmd(ios[host], &sqe, page, len, NULL);
}

static const struct nvme_registered_ctrl_ext *entry(uint32_t at)
{
	return (const struct nvme_registered_ctrl_ext *)(page + NVME_RESV_STATUS_EXT_SIZE) + at;
}

static void fields_are_checked(void **state)
{
	assert_int_equal(reg(0, 3, 0, 1), BAD);
	assert_int_equal(reg(0, NVME_RREGA_REGISTER, 0, 0), BAD);
	assert_int_equal(acquire(0, 3, NVME_RESV_WE, 0, 0), BAD);
	assert_int_equal(acquire(0, NVME_RACQA_ACQUIRE | 8, NVME_RESV_WE, 0, 0), BAD); /* IEKEY */
	assert_int_equal(acquire(0, NVME_RACQA_ACQUIRE, 0, 0, 0), BAD);
	assert_int_equal(acquire(0, NVME_RACQA_ACQUIRE, 7, 0, 0), BAD);
	assert_int_equal(release(0, 2, NVME_RESV_WE, 0), BAD);
	assert_int_equal(report(0, false, 512), DNR(NVME_SC_HOSTID_FORMAT));
	assert_int_equal(report(0, true, 16), 0); /* as much as was asked for */
}

static void every_type_keeps_out_whom_it_should(void **state)
{
	static const struct { uint8_t type; bool stranger_reads, registrant_reads, registrant_writes; } rows[] = {
		{ NVME_RESV_WE, true, true, false }, { NVME_RESV_EA, false, false, false },
		{ NVME_RESV_WERO, true, true, true }, { NVME_RESV_EARO, false, true, true },
		{ NVME_RESV_WEAR, true, true, true }, { NVME_RESV_EAAR, false, true, true },
	};
	static const uint8_t reads[] = { NVME_CMD_READ, NVME_CMD_VERIFY };
	static const uint8_t writes[] = { NVME_CMD_WRITE, NVME_CMD_FLUSH, NVME_CMD_WRITE_ZEROES };

	assert_int_equal(reg(0, NVME_RREGA_REGISTER, 0, 0xa), 0);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		assert_int_equal(acquire(0, NVME_RACQA_ACQUIRE, rows[i].type, 0xa, 0), 0);
		for (uint32_t registered = 0; registered < 2; registered++) {
			bool r = registered ? rows[i].registrant_reads : rows[i].stranger_reads;
			bool w = registered && rows[i].registrant_writes;

			if (registered)
				assert_int_equal(reg(1, NVME_RREGA_REGISTER, 0, 0xb), 0);
			for (size_t n = 0; n < ARRAY_SIZE(reads); n++) {
				assert_int_equal(io(0, reads[n]), 0);
				assert_int_equal(io(1, reads[n]), r ? 0 : CONFLICT);
			}
			for (size_t n = 0; n < ARRAY_SIZE(writes); n++) {
				assert_int_equal(io(0, writes[n]), 0);
				assert_int_equal(io(1, writes[n]), w ? 0 : CONFLICT);
			}
			assert_int_equal(dsm_hint(0), 0);
			assert_int_equal(dsm_hint(1), w ? 0 : CONFLICT);
		}
		assert_int_equal(acquire(1, NVME_RACQA_ACQUIRE, rows[i].type, 0xb, 0),
		                 rows[i].type >= NVME_RESV_WEAR ? 0 : CONFLICT);
		assert_int_equal(reg(1, NVME_RREGA_UNREGISTER, 0xb, 0), 0);
		assert_int_equal(release(0, NVME_RRELA_RELEASE, rows[i].type, 0xa), 0);
		assert_int_equal(io(1, NVME_CMD_WRITE), 0);
	}
}

static void a_report_lists_controllers(void **state)
{
	const struct nvme_resv_status *s = (const struct nvme_resv_status *)page;

	assert_int_equal(reg(0, NVME_RREGA_REGISTER, 0, 0xa), 0);
	assert_int_equal(reg(1, NVME_RREGA_REGISTER, 0, 0xb), 0);
	assert_int_equal(acquire(1, NVME_RACQA_ACQUIRE, NVME_RESV_EARO, 0xb, 0), 0);
	assert_int_equal(report(0, true, 512), 0);
	assert_int_equal(le32_get(s->gen), 2);
	assert_int_equal(s->rtype, NVME_RESV_EARO);
	assert_int_equal(le16_get(s->regctl), 2);
	assert_int_equal(s->ptpls, 0);
	for (uint32_t i = 0; i < 2; i++) {
		assert_int_equal(le16_get(entry(i)->cntlid), cntlids[i]);
		assert_int_equal(entry(i)->rcsts, i);
		assert_int_equal(entry(i)->hostid[0], i + 1);
		assert_int_equal(le64_get(entry(i)->rkey), 0xa + i);
	}
	rig_close(ios[1]);
	rig_close(admins[1]);
	assert_true(rig_gone(ios[1]) && rig_gone(admins[1]));
	assert_int_equal(report(0, true, 512), 0); /* it is still registered, and has no controller */
	assert_int_equal(le16_get(s->regctl), 2);
	assert_int_equal(le16_get(entry(1)->cntlid), 0xffff);
	host_comes(1);
	assert_int_equal(io(0, NVME_CMD_WRITE), 0);
	assert_int_equal(release(1, NVME_RRELA_CLEAR, 0, 0xb), 0); /* known by its identifier again */
}

static struct nvme_resv_notification_log *note(uint32_t host)
{
	struct nvme_sqe sqe = rig_sqe(NVME_ADMIN_GET_LOG_PAGE, NVME_NSID_ALL);

	sqe.get_log_page.lid = NVME_LOG_RESERVATION;
	sqe.get_log_page.numdl = le16_of(64 / 4 - 1);
	must(rig_cmd(admins[host], &sqe, page, 64, NULL) == 0);
	return (struct nvme_resv_notification_log *)page;
}

static struct rig_req *aer(uint32_t host)
{
	struct nvme_sqe sqe = rig_sqe(NVME_ADMIN_ASYNC_EVENT, 0);

	return rig_send(admins[host], &sqe, NULL, 0);
}

static void who_lost_something_is_told(void **state)
{
	struct rig_req *event = aer(1);

	assert_int_equal(reg(0, NVME_RREGA_REGISTER, 0, 0xa), 0);
	assert_int_equal(reg(1, NVME_RREGA_REGISTER, 0, 0xb), 0);
	assert_int_equal(acquire(1, NVME_RACQA_ACQUIRE, NVME_RESV_WE, 0xb, 0), 0);
	assert_int_equal(note(1)->rnlpt, NVME_RESV_NOTIFY_EMPTY);
	assert_int_equal(acquire(0, NVME_RACQA_PREEMPT_AND_ABORT, NVME_RESV_WERO, 0xa, 0xb), 0);
	assert_true(rig_wait(event, NS_PER_S));
	assert_int_equal(event->dw0, 6 | NVME_LOG_RESERVATION << 16);
	rig_end(event);
	assert_int_equal(reg(1, NVME_RREGA_REGISTER, 0, 0xb), 0);
	assert_int_equal(release(0, NVME_RRELA_RELEASE, NVME_RESV_WERO, 0xa), 0);
	assert_int_equal(release(0, NVME_RRELA_CLEAR, 0, 0xa), 0);
	rig_pass(NS_PER_MS);
	assert_int_equal(note(1)->rnlpt, NVME_RESV_NOTIFY_REGISTRATION_PREEMPTED);
	assert_int_equal(((struct nvme_resv_notification_log *)page)->nalp, 2);
	assert_int_equal(le32_get(((struct nvme_resv_notification_log *)page)->nsid), 1);
	assert_int_equal(le64_get(((struct nvme_resv_notification_log *)page)->lpc), 1);
	assert_int_equal(note(1)->rnlpt, NVME_RESV_NOTIFY_RESERVATION_RELEASED);
	assert_int_equal(note(1)->rnlpt, NVME_RESV_NOTIFY_RESERVATION_PREEMPTED);
	assert_int_equal(note(1)->rnlpt, NVME_RESV_NOTIFY_EMPTY);
	assert_int_equal(note(0)->rnlpt, NVME_RESV_NOTIFY_EMPTY); /* who did it is not told */
}

static uint16_t feature(uint32_t host, bool set, uint8_t fid, uint32_t nsid, uint32_t value, uint32_t *ret)
{
	struct nvme_sqe sqe = rig_sqe(set ? NVME_ADMIN_SET_FEATURES : NVME_ADMIN_GET_FEATURES, nsid);
	struct nvme_cqe cqe = { 0 };
	uint16_t status;

	sqe.features.fid = fid;
	sqe.features.cdw11 = le32_of(value);
	status = rig_cmd(admins[host], &sqe, NULL, 0, &cqe);
	if (ret)
		*ret = le32_get(cqe.dw0);
	return status;
}

static void what_is_masked_is_not_told(void **state)
{
	uint32_t v;

	assert_int_equal(feature(1, true, NVME_FEAT_RESV_MASK, 3, 2, NULL), DNR(NVME_SC_INVALID_NS));
	assert_int_equal(feature(1, true, NVME_FEAT_RESV_MASK, 1, 1 << NVME_RESV_NOTIFY_REGISTRATION_PREEMPTED, NULL), 0);
	assert_int_equal(feature(1, false, NVME_FEAT_RESV_MASK, 1, 0, &v), 0);
	assert_int_equal(v, 2);
	assert_int_equal(feature(1, false, NVME_FEAT_RESV_MASK, 2, 0, &v), 0);
	assert_int_equal(v, 0);
	assert_int_equal(reg(0, NVME_RREGA_REGISTER, 0, 0xa), 0);
	assert_int_equal(reg(1, NVME_RREGA_REGISTER, 0, 0xb), 0);
	assert_int_equal(acquire(0, NVME_RACQA_PREEMPT, NVME_RESV_WE, 0xa, 0xb), 0);
	rig_pass(NS_PER_MS);
	assert_int_equal(note(1)->rnlpt, NVME_RESV_NOTIFY_EMPTY);
}

static void persistence_needs_a_directory(void **state)
{
	struct nvme_sqe sqe = rig_sqe(NVME_CMD_RESV_REGISTER, 1);
	struct nvme_resv_keys keys = { .nrkey = le64_of(5) };
	uint32_t v;

	sqe.resv.cptpl = NVME_CPTPL_PERSIST << 6;
	assert_int_equal(rig_cmd(ios[0], &sqe, &keys, sizeof(keys), NULL), BAD);
	sqe.resv.cptpl = 1 << 6;
	assert_int_equal(rig_cmd(ios[0], &sqe, &keys, sizeof(keys), NULL), BAD);
	sqe.resv.cptpl = NVME_CPTPL_CLEAR << 6;
	assert_int_equal(rig_cmd(ios[0], &sqe, &keys, sizeof(keys), NULL), 0);
	assert_int_equal(feature(0, true, NVME_FEAT_RESV_PERSIST, 1, 1, NULL), BAD);
	assert_int_equal(feature(0, true, NVME_FEAT_RESV_PERSIST, 1, 0, NULL), 0);
	assert_int_equal(feature(0, true, NVME_FEAT_RESV_PERSIST, NVME_NSID_ALL, 0, NULL), 0);
	assert_int_equal(feature(0, true, NVME_FEAT_RESV_PERSIST, 3, 0, NULL), DNR(NVME_SC_INVALID_NS));
	assert_int_equal(feature(0, false, NVME_FEAT_RESV_PERSIST, 1, 0, &v), 0);
	assert_int_equal(v, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(fields_are_checked, start, stop),
		cmocka_unit_test_setup_teardown(every_type_keeps_out_whom_it_should, start, stop),
		cmocka_unit_test_setup_teardown(a_report_lists_controllers, start, stop),
		cmocka_unit_test_setup_teardown(who_lost_something_is_told, start, stop),
		cmocka_unit_test_setup_teardown(what_is_masked_is_not_told, start, stop),
		cmocka_unit_test_setup_teardown(persistence_needs_a_directory, start, stop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
