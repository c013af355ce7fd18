/* SPDX-License-Identifier: BSD-3-Clause */
/* abort_test.c: the Abort command: what it finds, and that what it says of it is true. */
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
static struct rig_qp *admin, *ioq;
static struct fake_disk disk;
static struct bdev_ops ops;
static bool too_late;                     /* the disk says that it will try, and goes on */
static uint8_t data[8192];

/* As bdev_abort() has it: the I/O still ends through done. */
static bool disk_abort(struct bdev_channel *ch, struct bdev_io *io)
{
	struct fake_core *c = bdev_channel_ctx(ch);
	struct queue_link *l = queue_take_all(&c->kept), *next;
	bool found = false;

	for (; l; l = next) {
		next = l->next;
		if (l != &io->link || too_late)
			queue_push(&c->kept, l);
		found |= l == &io->link;
	}
	if (found && !too_late)
		bdev_io_done(io, BDEV_ST_ABORTED);
	return found;
}

static void make_disk(void *arg)
{
	struct err e = { 0 };

	fake_init(&disk, "fake");
	ops = *disk.bdev.ops;
	ops.abort = disk_abort;
	disk.bdev.ops = &ops;
	must(!bdev_register(rig.reg, &disk.bdev, &e));
}

static int start(void **state)
{
	uint16_t cntlid;

	too_late = false;
	rig_start(&rig, 7);
	sim_as(core_control(rig.core), make_disk, NULL);
	must(!rig_add_ns(&rig, "fake", NSID));
	admin = rig_admin(&rig, 0, &cntlid);
	ioq = rig_io(&rig, 1, 1, cntlid);
	return 0;
}

static void let_go_here(void *arg)
{
	fake_let_go(arg);
}

static void let_go(void)
{
	const struct nvmf_core *nc = ioq->qp.nc;
	const struct nvmf_subsystem *s = nc->subs[ioq->qp.sub_id];

	atomic_store(&disk.holding, false);
	sim_as(ioq->qp.reactor, let_go_here, s->ns[NSID - 1]->dev.view[nc->index].ch);
}

static int stop(void **state)
{
	rig_stop(&rig);
	fake_fini(&disk);
	return 0;
}

static struct rig_req *held_write(void)
{
	struct nvme_sqe sqe = rig_rw(NVME_CMD_WRITE, NSID, 8, 1);
	struct rig_req *rq;

	atomic_store(&disk.holding, true);
	rq = rig_send(ioq, &sqe, data, 512);
	rig_pass(NS_PER_MS);
	assert_int_equal(atomic_load(&disk.held), 1);
	return rq;
}

static struct rig_req *abort_of(const struct rig_req *victim, uint16_t sqid)
{
	struct nvme_sqe sqe = rig_sqe(NVME_ADMIN_ABORT_CMD, 0);

	sqe.abort.sqid = le16_of(sqid);
	sqe.abort.cid = victim->req.cmd.cid;
	return rig_send(admin, &sqe, NULL, 0);
}

/* Bit 0 of the answer: not aborted. */
static uint32_t not_aborted(struct rig_req *abort)
{
	assert_true(rig_wait(abort, 10 * NS_PER_S));
	assert_int_equal(abort->status, 0);
	return abort->dw0;
}

static void what_a_device_has_is_aborted(void **state)
{
	struct rig_req *write = held_write(), *abort = abort_of(write, 1);

	assert_int_equal(not_aborted(abort), 0);
	assert_int_equal(rig_end(write), NVME_SC_ABORT_REQ);
	rig_end(abort);
}

/* A host that hears "aborted" of a write that was done would write over something newer, or the other way round. */
static void what_was_done_after_all_is_not_called_aborted(void **state)
{
	struct rig_req *write = held_write(), *abort;

	too_late = true;
	abort = abort_of(write, 1);
	rig_pass(NS_PER_MS);
	assert_false(abort->done);
	let_go();
	assert_int_equal(not_aborted(abort), 1);
	assert_int_equal(rig_end(write), 0);
	rig_end(abort);
}

static void an_abort_does_not_wait_for_ever(void **state)
{
	struct rig_req *write = held_write(), *abort;

	too_late = true;
	abort = abort_of(write, 1);
	assert_int_equal(not_aborted(abort), 1); /* after abort_timeout_sec */
	assert_false(write->done);
	let_go();
	assert_int_equal(rig_end(write), 0);
	rig_end(abort);
}

static void aborts_have_a_limit_and_are_not_aborted(void **state)
{
	struct rig_req *write = held_write(), *abort[NVMF_ABORTS_MAX], *more;

	too_late = true;
	for (uint32_t i = 0; i < NVMF_ABORTS_MAX; i++)
		abort[i] = abort_of(write, 1);
	rig_pass(NS_PER_MS);
	more = abort_of(write, 1);
	assert_int_equal(rig_end(more), NVME_SC_ABORT_LIMIT);
	let_go();
	for (uint32_t i = 0; i < NVMF_ABORTS_MAX; i++) {
		assert_int_equal(not_aborted(abort[i]), 1);
		rig_end(abort[i]);
	}
	rig_end(write);
	write = held_write();
	abort[0] = abort_of(write, 1);
	abort[1] = abort_of(abort[0], 0); /* of an Abort */
	assert_int_equal(not_aborted(abort[1]), 1);
	assert_int_equal(rig_end(abort[1]), 0);
	let_go();
	rig_end(abort[0]);
	rig_end(write);
}

static void a_queue_that_ends_ends_the_wait(void **state)
{
	struct rig_req *write = held_write(), *abort;

	too_late = true;
	abort = abort_of(write, 1);
	rig_pass(NS_PER_MS);
	rig_close(ioq);
	let_go();
	assert_int_equal(not_aborted(abort), 1);
	rig_end(abort);
	assert_true(rig_gone(ioq));
	rig_end(write);
}

static struct rig_req *half(uint32_t which, uint8_t opc)
{
	struct nvme_sqe sqe = rig_rw(opc, 1, 5, 1);

	sqe.flags |= (uint8_t)which;
	return rig_send(ioq, &sqe, data + 512 * which, 512);
}

/* The half that waits for the other one is answered, and takes that one along. */
static void half_of_a_pair(void **state)
{
	struct rig_req *first = half(1, NVME_CMD_COMPARE), *second, *abort;

	rig_pass(NS_PER_MS);
	abort = abort_of(first, 1);
	assert_int_equal(not_aborted(abort), 0);
	assert_int_equal(rig_end(first), NVME_SC_ABORT_REQ);
	rig_end(abort);
	second = half(2, NVME_CMD_WRITE);
	assert_int_equal(rig_end(second), DNR(NVME_SC_FUSED_FAIL));
	first = half(1, NVME_CMD_COMPARE); /* and the queue is as before */
	second = half(2, NVME_CMD_WRITE);
	assert_int_equal(rig_end(first), 0);
	assert_int_equal(rig_end(second), 0);
}

/* What the transport has, it is asked for: of the admin queue, too. */
static void events_are_aborted(void **state)
{
	struct nvme_sqe sqe = rig_sqe(NVME_ADMIN_ASYNC_EVENT, 0);
	struct rig_req *event = rig_send(admin, &sqe, NULL, 0), *abort;

	rig_pass(NS_PER_MS);
	abort = abort_of(event, 0);
	assert_int_equal(not_aborted(abort), 0);
	assert_int_equal(rig_end(event), NVME_SC_ABORT_REQ);
	rig_end(abort);
}

#define T(name) cmocka_unit_test_setup_teardown(name, start, stop)
int main(void)
{
	const struct CMUnitTest tests[] = {
		T(what_a_device_has_is_aborted), T(what_was_done_after_all_is_not_called_aborted),
		T(an_abort_does_not_wait_for_ever), T(aborts_have_a_limit_and_are_not_aborted),
		T(a_queue_that_ends_ends_the_wait), T(half_of_a_pair), T(events_are_aborted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
