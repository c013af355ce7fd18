/* SPDX-License-Identifier: BSD-3-Clause */
/* ccr_test.c: cross-controller resets of controllers whose commands a disk keeps: for long, for ever. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "bdev/bdev_device.h"
#include "nvmf/test_rig.h"

#define KEPT_MAX 8u
#define NSID 7u

static struct rig rig;
static struct bdev disk;
static struct bdev_io *kept[KEPT_MAX];
static uint32_t kept_count;
static bool keeps, gone;
static struct rig_qp *source;
static uint16_t source_id;
static uint8_t page[4096], data[4096];

/* --- a disk that does nothing until it is told ----------------------------------------------------------------- */

static void keep(struct bdev_channel *ch, struct bdev_io *io)
{
	if (keeps)
		kept[kept_count++] = io;
	else
		bdev_io_done(io, BDEV_ST_OK);
}

static bool will_not(struct bdev_channel *ch, struct bdev_io *io)
{
	return false;
}

static void disk_destroy(struct bdev *b)
{
	bdev_destroyed(b);
}

static const struct bdev_ops disk_ops = { .submit = keep, .abort = will_not, .destroy = disk_destroy };

static void disk_make(void *arg)
{
	disk = (struct bdev){ .ops = &disk_ops, .product = "Keeper", .sleeps = "test", .name = "keeper",
		                  .block_size = RIG_BLOCK, .block_count = RIG_BLOCKS, .cache = BDEV_CACHE_NONE,
		                  .native_ops = BDEV_BIT(READ) | BDEV_BIT(WRITE) | BDEV_BIT(FLUSH) };
	must(bdev_register(rig.reg, &disk, NULL) == 0);
}

static void disk_gone(void *arg, int rc)
{
	gone = true;
}

static void disk_unmake(void *arg)
{
	bdev_unregister(&disk, disk_gone, NULL);
}

static void end_kept(void *arg)
{
	while (kept_count)
		bdev_io_done(kept[--kept_count], BDEV_ST_OK);
}

static void disk_goes_on(void)
{
	keeps = false;
	sim_as(core_reactor(rig.core, 1), end_kept, NULL);
	rig_pass(NS_PER_MS);
}

static int start(void **state)
{
	rig_start(&rig, 3);
	sim_as(core_control(rig.core), disk_make, NULL);
	must(rig_add_ns(&rig, "keeper", NSID) == 0);
	source = rig_admin(&rig, 0, &source_id);
	keeps = false;
	return 0;
}

static int stop(void **state)
{
	disk_goes_on();
	must(rig_remove_ns(&rig, NSID) == 0);
	sim_as(core_control(rig.core), disk_unmake, NULL);
	rig_pass(NS_PER_MS);
	must(gone);
	gone = false;
	rig_stop(&rig);
	return 0;
}

/* --- controllers ------------------------------------------------------------------------------------------------ */

struct lost {
	struct rig_qp *admin, *io;
	struct rig_req *write;
	struct nvme_sqe reset;
};

/* One whose write the disk has. */
static struct lost lose(void)
{
	struct nvme_sqe write = rig_rw(NVME_CMD_WRITE, NSID, 0, 1);
	uint16_t cntlid;
	struct lost l = { .reset = rig_sqe(NVME_ADMIN_CROSS_CTRL_RESET, 0) };

	l.admin = rig_admin(&rig, 0, &cntlid);
	l.io = rig_io(&rig, 1, 1, cntlid);
	l.reset.ccr.icid = le16_of(cntlid);
	l.reset.ccr.ciu = l.admin->qp.ctrlr->ciu;
	l.reset.ccr.cirn = le64_of(l.admin->qp.ctrlr->cirn);
	keeps = true;
	l.write = rig_send(l.io, &write, data, RIG_BLOCK);
	rig_pass(NS_PER_MS);
	assert_int_equal(kept_count, 1);
	return l;
}

static void forget(struct lost *l)
{
	assert_true(rig_wait(l->write, NS_PER_S));
	rig_end(l->write);
	assert_true(rig_gone(l->admin) && rig_gone(l->io));
}

static uint16_t reset(const struct lost *l, uint32_t *ret_dw0)
{
	struct nvme_cqe cqe;
	uint16_t status = rig_cmd(source, &l->reset, NULL, 0, &cqe);

	*ret_dw0 = le32_get(cqe.dw0);
	return status;
}

static const struct nvme_ccr_log *read_log(bool remove)
{
	struct nvme_sqe sqe = rig_sqe(NVME_ADMIN_GET_LOG_PAGE, NVME_NSID_ALL);

	sqe.get_log_page.lid = NVME_LOG_CROSS_CTRL_RESET;
	sqe.get_log_page.lsp_rae = remove ? NVME_LOG_CCR_LSP_RMC : 0;
	sqe.get_log_page.numdl = le16_of(sizeof(page) / 4 - 1);
	assert_int_equal(rig_cmd(source, &sqe, page, sizeof(page), NULL), 0);
	return (const struct nvme_ccr_log *)page;
}

static void stay_for(uint32_t seconds)
{
	struct nvme_sqe sqe = rig_sqe(NVME_ADMIN_KEEP_ALIVE, 0);

	while (seconds--) {
		rig_pass(NS_PER_S);
		assert_int_equal(rig_cmd(source, &sqe, NULL, 0, NULL), 0);
	}
}

/* --- tests ------------------------------------------------------------------------------------------------------ */

/* A reset that never ends would be waited for without end, or be said to have succeeded. */
static void disk_that_keeps_it_for_ever(void **state)
{
	struct nvme_sqe aer = rig_sqe(NVME_ADMIN_ASYNC_EVENT, 0), wanted = rig_sqe(NVME_ADMIN_SET_FEATURES, 0);
	struct lost l = lose();
	struct rig_req *told;
	uint32_t dw0;

	wanted.features.fid = NVME_FEAT_ASYNC_EVENT;
	wanted.features.cdw11 = le32_of(NVME_OAES_CCR);
	assert_int_equal(rig_cmd(source, &wanted, NULL, 0, NULL), 0);
	told = rig_send(source, &aer, NULL, 0);
	assert_int_equal(reset(&l, &dw0), NVME_SC_SUCCESS);
	assert_int_equal(dw0, 0);
	assert_int_equal(le16_get(read_log(false)->ne), 1);
	assert_int_equal(read_log(true)->entries[0].ccrs, NVME_CCRS_IN_PROGRESS);
	stay_for(50);
	assert_false(told->done);
	assert_int_equal(reset(&l, &dw0), NVME_SC_CCR_IN_PROGRESS);
	stay_for(20);
	assert_true(rig_wait(told, NS_PER_MS));
	assert_int_equal(told->dw0, NVME_AER_NOTICE_CCR_COMPLETED);
	rig_end(told);
	assert_int_equal(read_log(true)->entries[0].ccrs, NVME_CCRS_FAILED);
	assert_int_equal(le16_get(read_log(false)->ne), 0);
	assert_int_equal(reset(&l, &dw0), NVME_SC_SUCCESS); /* once more, from the beginning */
	assert_int_equal(dw0, 0);
	disk_goes_on();
	forget(&l);
	assert_int_equal(read_log(true)->entries[0].ccrs, NVME_CCRS_SUCCESS);
	assert_int_equal(reset(&l, &dw0), NVME_SC_SUCCESS);
	assert_int_equal(dw0, 1);
}

/* A log that its host does not read would grow without end. */
static void log_page_is_full(void **state)
{
	struct lost l;
	uint32_t dw0;

	for (uint32_t i = 0; i < NVMF_CCR_LOG_MAX; i++) {
		l = lose();
		assert_int_equal(reset(&l, &dw0), NVME_SC_SUCCESS);
		assert_int_equal(dw0, 0);
		disk_goes_on();
		forget(&l);
	}
	assert_int_equal(le16_get(read_log(false)->ne), NVMF_CCR_LOG_MAX);
	l = lose();
	assert_int_equal(reset(&l, &dw0), NVME_SC_CCR_LOG_FULL);
	assert_false(l.admin->told_to_go);
	assert_int_equal(le16_get(read_log(true)->ne), NVMF_CCR_LOG_MAX);
	assert_int_equal(le16_get(read_log(false)->ne), 0);
	assert_int_equal(reset(&l, &dw0), NVME_SC_SUCCESS);
	disk_goes_on();
	forget(&l);
}

/* A disk that is merely slow would cost an event and a log page. */
static void answered_when_the_disk_is_done(void **state)
{
	struct lost l = lose();
	struct rig_req *asked = rig_send(source, &l.reset, NULL, 0);

	rig_pass(NS_PER_MS);
	assert_false(asked->done);
	disk_goes_on();
	assert_true(rig_wait(asked, NS_PER_MS));
	assert_int_equal(asked->dw0, 1);
	assert_int_equal(rig_end(asked), NVME_SC_SUCCESS);
	forget(&l);
	assert_int_equal(le16_get(read_log(false)->ne), 0);
}

/* Its connection goes at any moment: nothing of it may be left. */
static void who_asked_goes(void **state)
{
	for (uint32_t ms = 0; ms < 1200; ms += 150) {
		struct lost l = lose();
		struct rig_req *asked = rig_send(source, &l.reset, NULL, 0);

		rig_pass(ms * NS_PER_MS);
		rig_close(source);
		assert_true(rig_wait(asked, NS_PER_S));
		rig_end(asked);
		assert_true(rig_gone(source));
		disk_goes_on();
		forget(&l);
		rig_pass(NS_PER_MS);
		assert_int_equal(rig.target->ctrlrs_alive, 0);
		source = rig_admin(&rig, 0, &source_id);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(disk_that_keeps_it_for_ever, start, stop),
		cmocka_unit_test_setup_teardown(log_page_is_full, start, stop),
		cmocka_unit_test_setup_teardown(answered_when_the_disk_is_done, start, stop),
		cmocka_unit_test_setup_teardown(who_asked_goes, start, stop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
