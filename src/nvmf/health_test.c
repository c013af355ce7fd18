/* SPDX-License-Identifier: BSD-3-Clause */
/* health_test.c: SMART, the error log and the write cache over a disk that can fail; resets of the whole subsystem. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "nvmf/test_rig.h"

#include "bdev/fake_disk_test.h"

#define DNR(status) ((status) | NVME_SC_DNR)
#define NSID 5

static struct rig rig;
static struct rig_qp *admin, *io;
static struct fake_disk disk;
static uint16_t cntlid;
static uint8_t page[8192], data[131072];

static void make_disk(void *arg)
{
	struct err e = { 0 };

	fake_init(&disk, "fake");
	disk.bdev.native_ops |= BDEV_BIT(FLUSH);
	disk.bdev.cache = BDEV_CACHE_VOLATILE;
	must(!bdev_register(rig.reg, &disk.bdev, &e));
}

static int start(void **state)
{
	rig_start(&rig, 7);
	sim_as(core_control(rig.core), make_disk, NULL);
	must(!rig_add_ns(&rig, "fake", NSID));
	admin = rig_admin(&rig, 0, &cntlid);
	io = rig_io(&rig, 1, 1, cntlid);
	return 0;
}

static int stop(void **state)
{
	rig_stop(&rig);
	fake_fini(&disk);
	return 0;
}

static uint16_t get_log(uint8_t lid, uint32_t nsid, uint32_t bytes, uint8_t lsp_rae, struct rig_qp *q)
{
	struct nvme_sqe sqe = rig_sqe(NVME_ADMIN_GET_LOG_PAGE, nsid);

	sqe.get_log_page.lid = lid;
	sqe.get_log_page.lsp_rae = lsp_rae;
	sqe.get_log_page.numdl = le16_of((uint16_t)(bytes / 4 - 1));
	memset(page, 0xee, sizeof(page));
	return rig_cmd(q, &sqe, page, sizeof(page), NULL);
}

static const struct nvme_smart_log *smart(uint32_t nsid)
{
	assert_int_equal(get_log(NVME_LOG_SMART, nsid, 512, 0, admin), 0);
	return (const struct nvme_smart_log *)page;
}

static uint64_t low(le128 v)
{
	le64 x;

	memcpy(x.b, v.b, 8);
	return le64_get(x);
}

static uint16_t feature(bool set, uint8_t fid, uint32_t value, uint32_t *ret)
{
	struct nvme_sqe sqe = rig_sqe(set ? NVME_ADMIN_SET_FEATURES : NVME_ADMIN_GET_FEATURES, 0);
	struct nvme_cqe cqe;
	uint16_t status;

	sqe.features.fid = fid;
	sqe.features.cdw11 = le32_of(value);
	status = rig_cmd(admin, &sqe, page, sizeof(page), &cqe);
	if (ret)
		*ret = le32_get(cqe.dw0);
	return status;
}

static uint16_t rw(struct rig_qp *q, uint8_t opc, uint32_t nsid, uint32_t blocks)
{
	struct nvme_sqe sqe = rig_rw(opc, nsid, 0, blocks);

	return rig_cmd(q, &sqe, data, sizeof(data), NULL);
}

struct past {
	struct rig_qp *q;
	uint8_t opc;
	uint32_t nsid, len;
};

static void past_here(void *arg)
{
	const struct past *p = arg;
	struct nvmf_req req = { .qpair = &p->q->qp, .came_ns = reactor_now_ns(), .data_len = p->len };

	req.cmd.opc = p->opc;
	req.cmd.nsid = le32_of(p->nsid);
	nvmf_stages_count(&req, reactor_now_ns(), false);
}

/* What a transport does when an answer is gone. */
static void past(struct rig_qp *q, uint8_t opc, uint32_t nsid, uint32_t len)
{
	sim_as(q->qp.reactor, past_here, &(struct past){ q, opc, nsid, len });
}

/* --- SMART --------------------------------------------------------------------------------------------- */

static void what_hosts_moved_is_counted(void **state)
{
	uint16_t other_id;
	struct rig_qp *other = rig_admin(&rig, 2, &other_id), *other_io = rig_io(&rig, 2, 1, other_id);
	const struct nvme_smart_log *s;

	for (int i = 0; i < 8; i++) /* 1 MiB: 2048 blocks of 512 bytes, three thousands begun */
		past(io, NVME_CMD_WRITE, 1, 131072);
	past(io, NVME_CMD_READ, 1, 512);
	past(io, NVME_CMD_READ, NSID, 512);
	past(other_io, NVME_CMD_READ, 1, 512);
	s = smart(NVME_NSID_ALL);
	assert_int_equal(low(s->data_units_written), 3);
	assert_int_equal(low(s->host_writes), 8);
	assert_int_equal(low(s->data_units_read), 1);
	assert_int_equal(low(s->host_reads), 2); /* another controller's are its own */
	s = smart(1);
	assert_int_equal(low(s->host_reads), 2); /* a namespace's are everybody's */
	assert_int_equal(low(s->host_writes), 8);
	s = smart(2);
	assert_int_equal(low(s->host_reads) | low(s->host_writes), 0);
	rig_close(io);
	assert_true(rig_gone(io));
	rig_pass(NS_PER_MS);
	s = smart(0);
	assert_int_equal(low(s->host_writes), 8); /* a queue that went has not taken them along */
	s = smart(1);
	assert_int_equal(low(s->host_writes), 8);
	assert_int_equal(get_log(NVME_LOG_SMART, 17, 512, 0, admin), DNR(NVME_SC_INVALID_NS));
	assert_int_equal(smart(0)->avail_spare, 100);
	rig_close(other);
}

/* A disk that loses data: told once, until the host has read about it. */
static void lost_data_is_told(void **state)
{
	struct nvme_sqe sqe = rig_sqe(NVME_ADMIN_ASYNC_EVENT, 0);
	struct rig_req *aer = rig_send(admin, &sqe, NULL, 0);
	uint32_t v;

	assert_int_equal(smart(0)->critical_warning, 0);
	assert_int_equal(feature(true, NVME_FEAT_ASYNC_EVENT, NVME_OAES_NS | NVME_SMART_CRIT_DEGRADED, NULL), 0);
	atomic_store(&disk.fail_at, atomic_load(&disk.seen) + 1);
	assert_int_equal(rw(io, NVME_CMD_READ, NSID, 1), NVME_SC_READ_ERROR);
	assert_true(rig_wait(aer, NS_PER_S));
	assert_int_equal(aer->dw0, NVME_AER_SMART_SUBSYSTEM_RELIABILITY);
	rig_end(aer);
	assert_int_equal(smart(0)->critical_warning, NVME_SMART_CRIT_DEGRADED);
	assert_int_equal(low(smart(0)->media_errors), 1);
	aer = rig_send(admin, &sqe, NULL, 0);
	atomic_store(&disk.fail_at, atomic_load(&disk.seen) + 1);
	assert_int_equal(rw(io, NVME_CMD_WRITE, NSID, 1), NVME_SC_WRITE_FAULT);
	rig_pass(NS_PER_MS);
	assert_false(aer->done);
	assert_int_equal(low(smart(0)->media_errors), 2);
	/* Who begins to listen hears of what is so. */
	assert_int_equal(feature(true, NVME_FEAT_ASYNC_EVENT, 0, NULL), 0);
	assert_int_equal(feature(true, NVME_FEAT_ASYNC_EVENT, NVME_SMART_CRIT_DEGRADED, NULL), 0);
	assert_int_equal(rig_end(aer), 0);
	assert_int_equal(feature(true, NVME_FEAT_ASYNC_EVENT, 1 << 9, NULL), DNR(NVME_SC_INVALID_FIELD));
	assert_int_equal(feature(false, NVME_FEAT_ASYNC_EVENT, 0, &v), 0);
	assert_int_equal(v, NVME_SMART_CRIT_DEGRADED);
	/* A reset takes back that it was told. */
	assert_int_equal(rig_property_set(admin, NVME_REG_CC, 0), 0);
	rig_pass(NS_PER_S);
	assert_int_equal(rig_property_set(admin, NVME_REG_CC, RIG_CC_ENABLE), 0);
	aer = rig_send(admin, &sqe, NULL, 0);
	rig_pass(NS_PER_MS);
	assert_false(aer->done);
	assert_int_equal(feature(true, NVME_FEAT_ASYNC_EVENT, NVME_SMART_CRIT_DEGRADED, NULL), 0);
	assert_true(rig_wait(aer, NS_PER_S));
	assert_int_equal(aer->dw0, NVME_AER_SMART_SUBSYSTEM_RELIABILITY);
	assert_int_equal(rig_end(aer), 0);
}

/* --- the error log ---------------------------------------------------------------------------------------- */

static void errors_say_where(void **state)
{
	const struct nvme_error_log_page *e = (const struct nvme_error_log_page *)page;
	struct nvme_sqe sqe = rig_sqe(NVME_ADMIN_IDENTIFY, 3);

	sqe.identify.cns = 0x17;
	assert_int_equal(rig_cmd(admin, &sqe, page, 4096, NULL), DNR(NVME_SC_INVALID_FIELD));
	assert_int_equal(feature(true, NVME_FEAT_NUM_QUEUES, 0, NULL), DNR(NVME_SC_CMD_SEQ_ERROR));
	assert_int_equal(rw(io, NVME_CMD_READ, 9, 1), DNR(NVME_SC_INVALID_NS));
	for (uint32_t i = 0; i < NVMF_ERRORS_MAX; i++)
		rw(io, NVME_CMD_READ, 9, 1);
	assert_int_equal(get_log(NVME_LOG_ERROR, NVME_NSID_ALL, NVMF_ERRORS_MAX * 64, 0, admin), 0);
	assert_int_equal(le64_get(e[0].error_count), NVMF_ERRORS_MAX + 3);
	for (uint32_t i = 0; i < NVMF_ERRORS_MAX; i++) {
		assert_int_equal(le64_get(e[i].error_count), NVMF_ERRORS_MAX + 3 - i); /* the newest, none missing */
		assert_int_equal(le16_get(e[i].parm_error_location), 4); /* NSID */
		assert_int_equal(le16_get(e[i].sqid), 1);
		assert_int_equal(le32_get(e[i].nsid), 9);
		assert_int_equal(e[i].trtype, NVMF_TRTYPE_TCP);
	}
	sqe.identify.cns = 0x17;
	assert_int_equal(rig_cmd(admin, &sqe, page, 4096, NULL), DNR(NVME_SC_INVALID_FIELD));
	assert_int_equal(get_log(NVME_LOG_ERROR, NVME_NSID_ALL, 64, 0, admin), 0);
	assert_int_equal(le16_get(e[0].parm_error_location), 40);
	assert_int_equal(le16_get(e[0].status_field) >> 1, DNR(NVME_SC_INVALID_FIELD));
	assert_int_equal(le32_get(e[0].nsid), 3);
}

/* --- the write cache ------------------------------------------------------------------------------------ */

static bool asked(uint8_t op, uint32_t from)
{
	for (uint32_t i = from; i < disk.logged; i++)
		if (disk.log[i].op == op)
			return true;
	return false;
}

static void writes_are_put_through(void **state)
{
	uint32_t v, from = disk.logged;

	assert_int_equal(feature(false, NVME_FEAT_VOLATILE_WC, 0, &v), 0);
	assert_int_equal(v, 1);
	assert_int_equal(rw(io, NVME_CMD_WRITE, NSID, 1), 0);
	assert_false(asked(BDEV_FLUSH, from));
	assert_int_equal(feature(true, NVME_FEAT_VOLATILE_WC, 0, NULL), 0);
	assert_true(asked(BDEV_FLUSH, from)); /* what was written before */
	assert_int_equal(feature(false, NVME_FEAT_VOLATILE_WC, 0, &v), 0);
	assert_int_equal(v, 0);
	from = disk.logged;
	assert_int_equal(rw(io, NVME_CMD_WRITE, NSID, 1), 0);
	assert_true(asked(BDEV_FLUSH, from)); /* a disk without FUA */
	assert_int_equal(feature(true, NVME_FEAT_VOLATILE_WC, 1, NULL), 0);
	from = disk.logged;
	assert_int_equal(rw(io, NVME_CMD_WRITE, NSID, 1), 0);
	assert_false(asked(BDEV_FLUSH, from));
	/* A flush that fails leaves it to the host to ask again. */
	atomic_store(&disk.fail_at, atomic_load(&disk.seen) + 1);
	assert_int_equal(feature(true, NVME_FEAT_VOLATILE_WC, 0, NULL), NVME_SC_WRITE_FAULT);
	assert_int_equal(rig_remove_ns(&rig, NSID), 0);
	assert_int_equal(feature(false, NVME_FEAT_VOLATILE_WC, 0, NULL), DNR(NVME_SC_INVALID_FIELD)); /* there is none */
	assert_int_equal(feature(true, NVME_FEAT_VOLATILE_WC, 0, NULL), DNR(NVME_SC_INVALID_FIELD));
}

#define T(name) cmocka_unit_test_setup_teardown(name, start, stop)
int main(void)
{
	const struct CMUnitTest tests[] = {
		T(what_hosts_moved_is_counted), T(lost_data_is_told), T(errors_say_where), T(writes_are_put_through),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
