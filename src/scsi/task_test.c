/* SPDX-License-Identifier: BSD-3-Clause */
/* task_test.c: tasks in their order, task management over nexuses and cores, nexuses that come, move and end, LUNs too.
 *
 * LUN 3 is a disk that keeps what it is asked until it is let go.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "bdev/fake_disk_test.h"
#include "scsi/test_rig.h"

#define SLOW 3u

static struct rig rig;
static struct fake_disk slow;
static struct rig_nexus *q, *r; /* on core 0, on core 1 */
static uint8_t out[65536], in[65536];

static void register_slow(void *arg)
{
	must(!bdev_register(rig.reg, &slow.bdev, NULL));
}

static int fresh(void **state)
{
	rig_start(&rig, 7);
	fake_init(&slow, "slow");
	slow.bdev.cache = BDEV_CACHE_VOLATILE;
	slow.bdev.fua = true;
	slow.bdev.native_ops |= BDEV_BIT(FLUSH);
	sim_as(core_control(rig.core), register_slow, NULL);
	must(!rig_add_lun(&rig, "slow", SLOW, false));
	q = rig_join(&rig, 0, "iqn.host-a,i,0x1");
	r = rig_join(&rig, 1, "iqn.host-b,i,0x1");
	memset(out, 0x5a, sizeof(out));
	atomic_store(&slow.holding, true);
	return q && r ? 0 : -1;
}

static void let_go_here(void *arg)
{
	struct bdev_channel *ch = rig.target->map->luns[SLOW].lu->dev.view[*(uint32_t *)arg].ch;

	fake_let_go(ch);
}

/* What the slow disk keeps on a core ends. */
static void let_go(uint32_t core)
{
	sim_as(core_reactor(rig.core, core), let_go_here, &core);
	rig_pass(NS_PER_MS);
}

static void let_all_go(void)
{
	atomic_store(&slow.holding, false);
	for (uint32_t i = 0; i < 3; i++)
		let_go(i);
}

static int over(void **state)
{
	if (rig.target->map->luns[SLOW].lu)
		let_all_go();
	rig_stop(&rig);
	must(slow.destroyed);
	fake_fini(&slow);
	return 0;
}

static struct rig_task *write_slow(struct rig_nexus *n, uint64_t lba, uint8_t attr)
{
	struct rig_cdb c = rig_rw(SCSI_OP_WRITE_10, lba, 1);

	return rig_send(n, SLOW, &c, SCSI_DATA_OUT, out, 512, attr);
}

static uint32_t ready(struct rig_nexus *n, uint32_t lun)
{
	struct rig_cdb c = { .b = { SCSI_OP_TEST_UNIT_READY } };

	return rig_try(n, lun, &c, SCSI_DATA_NONE, NULL, 0);
}

static void end_good(struct rig_task *t)
{
	bool aborted = t->aborted;

	assert_false(aborted);
	assert_int_equal(rig_end(t, NULL), SCSI_GOOD);
}

static void end_aborted(struct rig_task *t, uint8_t status)
{
	struct rig_task copy;

	assert_true(t->done);
	assert_int_equal(rig_end(t, &copy), status);
	assert_true(copy.aborted);
}

/* --- order -- */

static void simple_tasks_do_not_wait_for_each_other(void **state)
{
	struct rig_task *a = write_slow(q, 0, SCSI_ATTR_SIMPLE), *b = write_slow(q, 1, SCSI_ATTR_UNTAGGED);

	assert_int_equal(atomic_load(&slow.held), 2);
	let_go(0);
	end_good(a);
	end_good(b);
}

static void an_ordered_task_waits_and_holds_back(void **state)
{
	struct rig_task *a = write_slow(q, 0, SCSI_ATTR_SIMPLE), *b = write_slow(q, 1, SCSI_ATTR_ORDERED);
	struct rig_task *c = write_slow(q, 2, SCSI_ATTR_SIMPLE), *head = write_slow(q, 3, SCSI_ATTR_HEAD);
	struct rig_task *other = write_slow(r, 4, SCSI_ATTR_SIMPLE);

	rig_pass(NS_PER_MS);
	assert_int_equal(atomic_load(&slow.held), 3); /* a, head; and another nexus does not care */
	assert_int_equal(ready(q, 0), 0);             /* nor do other LUNs */
	let_go(0);
	assert_true(a->done && head->done && !b->done && !c->done);
	assert_int_equal(atomic_load(&slow.held), 2);
	let_go(0);
	assert_true(b->done && !c->done);
	let_go(0);
	let_go(1);
	end_good(a);
	end_good(b);
	end_good(c);
	end_good(head);
	end_good(other);
	assert_int_equal(q->n.task_count + q->n.ordered + q->n.waiting, 0);
}

static void aca_is_refused(void **state)
{
	struct rig_task *t = write_slow(q, 0, SCSI_ATTR_ACA);

	assert_true(t->refused);
	assert_int_equal(t->key, SCSI_ILLEGAL_REQUEST);
	rig_end(t, NULL);
}

/* --- task management -- */

/* Bits of a byte of a mode page. */
static void set_mode(struct rig_nexus *n, uint8_t page, uint32_t byte, uint8_t mask, bool on)
{
	struct rig_cdb sense = { .b = { SCSI_OP_MODE_SENSE_6, 0x08, page, 0, 64 } };
	struct rig_cdb select = { .b = { SCSI_OP_MODE_SELECT_6, 0x10 } };

	assert_int_equal(rig_try(n, SLOW, &sense, SCSI_DATA_IN, in, 64), 0);
	select.b[4] = (uint8_t)(in[0] + 1);
	in[0] = in[2] = 0;
	in[4 + byte] = (uint8_t)((in[4 + byte] & ~mask) | (on ? mask : 0));
	assert_int_equal(rig_try(n, SLOW, &select, SCSI_DATA_OUT, in, select.b[4]), 0);
}

/* Whether who did not ask is told of what was aborted: it is, in the beginning. */
static void set_tas(struct rig_nexus *n, bool on)
{
	set_mode(n, 0x0a, 5, 0x40, on);
}

static void one_task_is_aborted(void **state)
{
	struct rig_task *a = write_slow(q, 0, SCSI_ATTR_SIMPLE), *b = write_slow(q, 1, SCSI_ATTR_ORDERED);
	struct rig_tmf m;

	assert_int_equal(rig_tmf(q, SCSI_TMF_QUERY_TASK, SLOW, b->task.tag), SCSI_TMF_SUCCEEDED);
	assert_int_equal(rig_tmf(q, SCSI_TMF_ABORT_TASK, SLOW, b->task.tag), SCSI_TMF_COMPLETE);
	end_aborted(b, SCSI_GOOD);
	rig_tmf_start(&m, q, SCSI_TMF_ABORT_TASK, SLOW, a->task.tag);
	rig_pass(NS_PER_S);
	assert_false(m.done); /* the device has it: no answer before it has ended */
	let_go(0);
	assert_true(m.done);
	assert_int_equal(m.tmf.response, SCSI_TMF_COMPLETE);
	end_aborted(a, SCSI_GOOD);
	assert_int_equal(rig_tmf(q, SCSI_TMF_ABORT_TASK, SLOW, 12345), SCSI_TMF_NO_TASK);
	assert_int_equal(rig_tmf(q, SCSI_TMF_QUERY_TASK, SLOW, 12345), SCSI_TMF_COMPLETE);
	assert_int_equal(rig_tmf(q, SCSI_TMF_CLEAR_ACA, SLOW, 0), SCSI_TMF_UNSUPPORTED);
	assert_int_equal(rig_tmf(q, SCSI_TMF_LU_RESET, 99, 0), SCSI_TMF_NO_LUN);
}

static void give_up_here(void *arg)
{
	scsi_task_give_up(&((struct rig_task *)arg)->task);
}

static void give_up(struct rig_task *t)
{
	sim_as(core_reactor(rig.core, 0), give_up_here, t);
	rig_pass(NS_PER_MS);
}

/* Its transport may do it anew: so not what the device did, nor what its initiator does not want any more. */
static void what_was_done_is_not_given_up(void **state)
{
	struct rig_task *a = write_slow(q, 0, SCSI_ATTR_SIMPLE), *b = write_slow(q, 1, SCSI_ATTR_SIMPLE);
	struct rig_task *waits = write_slow(q, 2, SCSI_ATTR_ORDERED), copy;
	struct rig_tmf m;

	give_up(waits);
	assert_true(waits->done);
	assert_int_equal(rig_end(waits, &copy), SCSI_GOOD);
	assert_true(copy.aborted && copy.task.given_up);
	give_up(a);
	give_up(b);
	assert_false(a->done || b->done); /* the device has them */
	rig_tmf_start(&m, q, SCSI_TMF_ABORT_TASK, SLOW, b->task.tag);
	rig_pass(NS_PER_MS);
	give_up(b);
	let_go(0);
	assert_true(m.done);
	end_good(a);
	assert_true(b->done);
	assert_int_equal(rig_end(b, &copy), SCSI_GOOD);
	assert_true(copy.aborted && !copy.task.given_up);
}

static void a_task_set_is_aborted_and_later_tasks_wait(void **state)
{
	struct rig_task *a = write_slow(q, 0, SCSI_ATTR_SIMPLE), *b = write_slow(q, 1, SCSI_ATTR_SIMPLE);
	struct rig_task *other = write_slow(r, 2, SCSI_ATTR_SIMPLE), *later, *stale;
	struct rig_cdb c = rig_rw(SCSI_OP_WRITE_10, 3, 1);
	struct rig_tmf m;

	stale = rig_parse(q, SLOW, &c, SCSI_DATA_OUT, out, 512, SCSI_ATTR_SIMPLE);
	rig_tmf_start(&m, q, SCSI_TMF_ABORT_TASK_SET, SLOW, 0);
	later = write_slow(q, 4, SCSI_ATTR_SIMPLE);
	assert_true(scsi_task_is_stale(&stale->task));
	rig_execute(stale);
	rig_pass(NS_PER_MS);
	assert_false(m.done);
	assert_int_equal(atomic_load(&slow.held), 3);
	let_go(0);
	assert_true(m.done && !later->done);
	assert_int_equal(atomic_load(&slow.held), 2); /* it began when the gate was open again */
	let_all_go();
	end_aborted(a, SCSI_GOOD);
	end_aborted(b, SCSI_GOOD);
	end_aborted(stale, SCSI_GOOD);
	end_good(later);
	end_good(other);
	assert_int_equal(ready(r, SLOW), 0);
}

static void a_reset_is_answered_when_nothing_is_left_anywhere(void **state)
{
	struct rig_task *a = write_slow(q, 0, SCSI_ATTR_SIMPLE), *b = write_slow(r, 1, SCSI_ATTR_SIMPLE), *later;
	struct rig_cdb c = rig_rw(SCSI_OP_READ_10, 0, 1);
	struct rig_tmf m;

	rig_tmf_start(&m, q, SCSI_TMF_LU_RESET, SLOW, 0);
	let_go(0);
	rig_pass(NS_PER_S);
	assert_true(a->done && !m.done); /* the other core has not answered */
	later = rig_send(r, 0, &c, SCSI_DATA_IN, in, 512, SCSI_ATTR_SIMPLE);
	let_go(1);
	rig_pass(NS_PER_MS);
	assert_true(m.done && b->done);
	assert_int_equal(m.tmf.response, SCSI_TMF_COMPLETE);
	end_aborted(a, SCSI_GOOD);
	end_aborted(b, SCSI_TASK_ABORTED);
	end_good(later); /* of another unit: the gate held it, nothing else */
	assert_int_equal(ready(q, SLOW), RIG_SENSE(UNIT_ATTENTION, DEVICE_RESET));
	assert_int_equal(ready(r, SLOW), RIG_SENSE(UNIT_ATTENTION, DEVICE_RESET));
	assert_int_equal(ready(r, SLOW), 0);
	assert_int_equal(ready(q, 0), 0);
}

static void who_did_not_ask_is_told_of_each_task(void **state)
{
	struct rig_cdb c = rig_rw(SCSI_OP_WRITE_10, 3, 1);
	struct rig_task *a, *b, *stale;
	struct rig_tmf m;

	a = write_slow(q, 0, SCSI_ATTR_SIMPLE);
	b = write_slow(r, 1, SCSI_ATTR_SIMPLE);
	stale = rig_parse(r, SLOW, &c, SCSI_DATA_OUT, out, 512, SCSI_ATTR_SIMPLE);
	rig_tmf_start(&m, q, SCSI_TMF_LU_RESET, SLOW, 0);
	rig_pass(NS_PER_MS);
	let_all_go();
	assert_true(m.done);
	rig_execute(stale);
	rig_pass(NS_PER_MS);
	end_aborted(a, SCSI_GOOD);
	end_aborted(b, SCSI_TASK_ABORTED);
	end_aborted(stale, SCSI_TASK_ABORTED);
	assert_int_equal(ready(r, SLOW), RIG_SENSE(UNIT_ATTENTION, DEVICE_RESET));
}

static void clearing_is_of_the_own_task_set(void **state)
{
	struct rig_task *a = write_slow(q, 0, SCSI_ATTR_SIMPLE), *b = write_slow(r, 1, SCSI_ATTR_SIMPLE);
	struct rig_tmf m;

	rig_tmf_start(&m, q, SCSI_TMF_CLEAR_TASK_SET, SLOW, 0);
	rig_pass(NS_PER_MS);
	let_all_go();
	assert_true(m.done);
	end_aborted(a, SCSI_GOOD);
	end_good(b);
	assert_int_equal(ready(q, SLOW), 0);
	assert_int_equal(ready(r, SLOW), 0);
}

static void nobody_is_told_if_the_mode_page_says_so(void **state)
{
	struct rig_task *b;
	struct rig_tmf m;

	set_tas(q, false);
	assert_int_equal(ready(r, SLOW), RIG_SENSE(UNIT_ATTENTION, MODE_PARAMETERS_CHANGED));
	b = write_slow(r, 1, SCSI_ATTR_SIMPLE);
	rig_tmf_start(&m, q, SCSI_TMF_LU_RESET, SLOW, 0);
	rig_pass(NS_PER_MS);
	let_all_go();
	assert_true(m.done);
	end_aborted(b, SCSI_GOOD);
	assert_int_equal(ready(r, SLOW), RIG_SENSE(UNIT_ATTENTION, DEVICE_RESET));
}

static void a_target_reset_means_all(void **state)
{
	struct rig_tmf m[2];

	rig_tmf_start(&m[0], q, SCSI_TMF_TARGET_WARM_RESET, 0, 0);
	rig_tmf_start(&m[1], r, SCSI_TMF_TARGET_WARM_RESET, 0, 0); /* at the same time */
	rig_pass(NS_PER_S);
	assert_true(m[0].done && m[1].done);
	assert_int_equal(ready(q, 0), RIG_SENSE(UNIT_ATTENTION, DEVICE_RESET));
	assert_int_equal(ready(q, 1), RIG_SENSE(UNIT_ATTENTION, DEVICE_RESET));
	assert_int_equal(ready(r, SLOW), RIG_SENSE(UNIT_ATTENTION, DEVICE_RESET));
	assert_int_equal(ready(r, SLOW), 0);
	assert_int_equal(rig_tmf(q, SCSI_TMF_TARGET_COLD_RESET, 0, 0), SCSI_TMF_COMPLETE);
	rig_pass(NS_PER_S);
	assert_true(r->told_to_go && !q->told_to_go);
}

static void a_nexus_reset_is_its_own(void **state)
{
	struct rig_task *a = write_slow(q, 0, SCSI_ATTR_SIMPLE), *b = write_slow(r, 1, SCSI_ATTR_SIMPLE);
	struct rig_tmf m;

	rig_tmf_start(&m, q, SCSI_TMF_NEXUS_RESET, 0, 0);
	let_go(0);
	assert_true(m.done);
	end_aborted(a, SCSI_GOOD);
	assert_int_equal(ready(q, 1), RIG_SENSE(UNIT_ATTENTION, NEXUS_LOSS));
	assert_int_equal(ready(r, 1), 0);
	let_go(1);
	end_good(b);
}

/* --- nexuses -- */

static void a_nexus_ends_when_its_tasks_have(void **state)
{
	struct rig_task *a = write_slow(q, 0, SCSI_ATTR_SIMPLE), *b = write_slow(q, 0, SCSI_ATTR_ORDERED);

	assert_null(rig_join(&rig, 2, "iqn.host-a,i,0x1")); /* it is there */
	rig_end_nexus(q);
	rig_pass(NS_PER_S);
	assert_false(q->ended);
	assert_true(b->done && !a->done);
	let_go(0);
	assert_true(rig_gone(q));
	end_aborted(a, SCSI_GOOD);
	end_aborted(b, SCSI_GOOD);
	q = rig_join(&rig, 2, "iqn.host-a,i,0x1");
	assert_non_null(q);
	assert_int_equal(ready(q, 0), 0);
}

static void a_reset_and_an_end_do_not_wait_for_each_other_forever(void **state)
{
	struct rig_task *b = write_slow(r, 1, SCSI_ATTR_SIMPLE);
	struct rig_tmf m;

	rig_tmf_start(&m, q, SCSI_TMF_LU_RESET, SLOW, 0);
	rig_end_nexus(r);
	rig_pass(NS_PER_MS);
	rig_end_nexus(q); /* the function is still at work */
	rig_pass(NS_PER_MS);
	assert_false(m.done || q->ended || r->ended);
	let_go(1);
	rig_pass(NS_PER_S);
	assert_true(m.done && q->ended && r->ended);
	end_aborted(b, b->status);
}

static void mail_follows_a_nexus_that_moves(void **state)
{
	struct rig_cdb c = rig_rw(SCSI_OP_READ_10, 0, 1);

	for (uint32_t i = 0; i < 6; i++) {
		struct rig_tmf m;

		rig_tmf_start(&m, q, SCSI_TMF_LU_RESET, 0, 0); /* its mail is on the way */
		rig_move(r, i % 3);
		rig_pass(NS_PER_S);
		assert_true(m.done);
		assert_int_equal(rig_try(r, 0, &c, SCSI_DATA_IN, in, 512), RIG_SENSE(UNIT_ATTENTION, DEVICE_RESET));
		assert_int_equal(rig_try(r, 0, &c, SCSI_DATA_IN, in, 512), 0);
		assert_int_equal(ready(q, 0), RIG_SENSE(UNIT_ATTENTION, DEVICE_RESET));
	}
}

static void a_target_that_goes_tells_its_nexuses(void **state)
{
	struct rig_task *a = write_slow(q, 0, SCSI_ATTR_SIMPLE);

	assert_int_equal(rig.target->seat_count, 2);
	let_all_go();
	end_good(a); /* the rest: rig_stop() */
}

/* --- LUNs -- */

static void luns_come_and_go(void **state)
{
	uint32_t changed = RIG_SENSE(UNIT_ATTENTION, REPORTED_LUNS_CHANGED);
	struct rig_task *a = write_slow(q, 0, SCSI_ATTR_SIMPLE);

	assert_int_equal(rig_add_lun(&rig, "nul", 5, false), 0);
	assert_int_equal(rig_add_lun(&rig, "nul", 5, false), -EEXIST);
	assert_int_equal(rig_add_lun(&rig, "none", 6, false), -ENODEV);
	assert_int_equal(ready(q, 5), changed);
	assert_int_equal(ready(q, 5), 0);
	assert_int_equal(ready(r, 0), changed);
	assert_int_equal(rig_remove_lun(&rig, 5), 0);
	assert_int_equal(rig_remove_lun(&rig, 5), -ENOENT);
	assert_int_equal(ready(q, 5), RIG_SENSE(ILLEGAL_REQUEST, LUN_NOT_SUPPORTED));
	assert_int_equal(ready(q, 0), changed);
	assert_true(q->events >= 2);
	let_go(0);
	end_good(a);
}

static void a_device_that_goes_takes_its_lun_along(void **state)
{
	rig_unregister(&rig, "big");
	assert_true(rig_run_until(&rig.changed));
	assert_int_equal(rig.gone_count, 1);
	assert_int_equal(rig.gone_lun, 1);
	assert_int_equal(ready(q, 1), RIG_SENSE(ILLEGAL_REQUEST, LUN_NOT_SUPPORTED));
	assert_int_equal(ready(q, 0), RIG_SENSE(UNIT_ATTENTION, REPORTED_LUNS_CHANGED));
}

/* Who keeps the configuration: it believes in a LUN from the answer to adding it until it hears that the LUN went. */
struct keeper {
	struct scsi_change change;
	bool added, gone;
	uint32_t gone_before;             /* rig.gone_count when it was added */
};

static void keeper_added(struct scsi_change *c)
{
	struct keeper *k = container_of(c, struct keeper, change);

	k->added = true;
	k->gone_before = rig.gone_count;
}

static void keeper_unregistered(void *arg, int rc)
{
	((struct keeper *)arg)->gone = rc == 0;
}

static void keeper_add(void *arg)
{
	const struct null_opts opts = { .name = "fleeting", .block_count = 1024, .block_size = 512 };
	const struct scsi_lun_opts lun = { .lun = 5, .bdev_name = "fleeting" };
	struct keeper *k = arg;
	struct bdev *b;

	must(!null_create(rig.reg, &opts, &b, NULL));
	k->change.done = keeper_added;
	scsi_target_add_lun(rig.target, &lun, &k->change);
}

static void keeper_unregister(void *arg)
{
	bdev_unregister(bdev_find(rig.reg, "fleeting"), keeper_unregistered, arg);
}

/* At whichever moment of being added the device goes: nobody is left with a LUN of it. It was, and then it was in the
 * daemon's configuration for ever. */
static void a_device_goes_while_its_lun_is_added(void **state)
{
	struct scsi_lun_info info;
	uint32_t refused = 0, taken = 0, after_map = 0;

	for (uint32_t steps = 0; steps < 60; steps++) {
		struct keeper k = { 0 };
		uint32_t before = rig.gone_count;

		sim_as(core_control(rig.core), keeper_add, &k);
		for (uint32_t i = 0; i < steps && sim_step(); i++)
			;
		after_map += !k.added && scsi_target_lun(rig.target, 5, &info);
		sim_as(core_control(rig.core), keeper_unregister, &k);
		assert_true(rig_run_until(&k.gone));
		assert_true(rig_run_until(&k.added));
		assert_false(scsi_target_lun(rig.target, 5, &info));
		if (k.change.err.code)
			refused++;
		else
			taken += rig.gone_count - k.gone_before;
		assert_true(k.change.err.code == -ENODEV || rig.gone_count == k.gone_before + 1);
		assert_in_range(rig.gone_count - before, 0, 1);
	}
	assert_true(refused && taken && after_map);
}

static void hosts_hear_of_a_new_size(void **state)
{
	struct rig_cdb c = rig_rw(SCSI_OP_READ_10, 1u << 20, 1);

	assert_int_equal(rig_add_lun(&rig, "nul", 5, false), 0);
	assert_int_equal(ready(q, 5), RIG_SENSE(UNIT_ATTENTION, REPORTED_LUNS_CHANGED));
	assert_int_equal(rig_try(q, 5, &c, SCSI_DATA_IN, in, 512), RIG_SENSE(ILLEGAL_REQUEST, LBA_OUT_OF_RANGE));
	rig_resize(&rig, "nul", 1u << 21);
	assert_int_equal(ready(q, 5), RIG_SENSE(UNIT_ATTENTION, CAPACITY_CHANGED));
	assert_int_equal(ready(q, 5), 0);
	assert_int_equal(rig_try(q, 5, &c, SCSI_DATA_IN, in, 512), 0);
}

static void access_states_refuse(void **state)
{
	struct rig_cdb c = rig_rw(SCSI_OP_READ_10, 0, 1), inquiry = { .b = { SCSI_OP_INQUIRY, 0, 0, 0, 36 } };

	assert_int_equal(rig_set_alua(&rig, 1, SCSI_ALUA_STANDBY), 0);
	assert_int_equal(rig_set_alua(&rig, 9, SCSI_ALUA_STANDBY), -ENOENT);
	assert_int_equal(ready(q, 0), RIG_SENSE(UNIT_ATTENTION, ALUA_CHANGED));
	assert_int_equal(rig_try(q, 0, &c, SCSI_DATA_IN, in, 512), RIG_SENSE(NOT_READY, ALUA_STANDBY));
	assert_int_equal(rig_try(q, 0, &inquiry, SCSI_DATA_IN, in, 36), 0);
	assert_int_equal(rig_set_alua(&rig, 1, SCSI_ALUA_UNAVAILABLE), 0);
	assert_int_equal(ready(q, 0), RIG_SENSE(UNIT_ATTENTION, ALUA_CHANGED));
	assert_int_equal(rig_try(q, 0, &c, SCSI_DATA_IN, in, 512), RIG_SENSE(NOT_READY, ALUA_UNAVAILABLE));
	assert_int_equal(rig_set_alua(&rig, 1, SCSI_ALUA_NONOPTIMIZED), 0);
	assert_int_equal(ready(q, 0), RIG_SENSE(UNIT_ATTENTION, ALUA_CHANGED));
	assert_int_equal(rig_try(q, 0, &c, SCSI_DATA_IN, in, 512), 0);
}

static void a_media_error_says_where(void **state)
{
	struct rig_cdb c = rig_rw(SCSI_OP_READ_10, 77, 1);
	struct rig_task t;

	atomic_store(&slow.holding, false);
	atomic_store(&slow.fail_at, atomic_load(&slow.seen) + 1);
	assert_int_equal(rig_cmd(q, SLOW, &c, SCSI_DATA_IN, in, 512, &t), SCSI_CHECK_CONDITION);
	assert_int_equal(t.key, SCSI_MEDIUM_ERROR);
	assert_int_equal(t.asc, SCSI_ASC_READ_ERROR);
	assert_int_equal(scsi_u32(t.sense + 3), 77);
}

static void sense_is_of_the_format_that_is_asked_for(void **state)
{
	struct rig_cdb c = rig_rw(SCSI_OP_READ_16, 77, 1);
	struct rig_task t;

	atomic_store(&slow.holding, false);
	set_mode(q, 0x0a, 2, 0x04, true); /* D_SENSE */
	c.b[1] = 0x40;
	assert_int_equal(rig_cmd(q, SLOW, &c, SCSI_DATA_IN, in, 512, &t), SCSI_CHECK_CONDITION);
	assert_int_equal(t.sense[0], SCSI_SENSE_DESC);
	assert_int_equal(t.sense_len, 8 + t.sense[7]);
	assert_int_equal(t.asc, SCSI_ASC_INVALID_FIELD_IN_CDB);
	assert_int_equal(t.sense[8], 0x02);
	assert_int_equal(t.sense[12], SCSI_SKS_VALID | SCSI_SKS_CDB | SCSI_SKS_BIT | 6);
	assert_int_equal(scsi_u16(t.sense + 13), 1);
	c.b[1] = 0;
	atomic_store(&slow.fail_at, atomic_load(&slow.seen) + 1);
	assert_int_equal(rig_cmd(q, SLOW, &c, SCSI_DATA_IN, in, 512, &t), SCSI_CHECK_CONDITION);
	assert_int_equal(t.key, SCSI_MEDIUM_ERROR);
	assert_int_equal(t.sense[8], 0x00);
	assert_int_equal(t.sense[10], SCSI_SENSE_VALID);
	assert_int_equal(scsi_u64(t.sense + 12), 77);
}

static uint8_t last_flags(void)
{
	return slow.log[slow.logged - 1].flags;
}

static void a_cache_that_is_off_is_written_through(void **state)
{
	struct rig_cdb fua = rig_rw(SCSI_OP_WRITE_10, 0, 1);

	atomic_store(&slow.holding, false);
	end_good(write_slow(q, 0, SCSI_ATTR_SIMPLE));
	assert_false(last_flags() & BDEV_IO_FUA);
	fua.b[1] = 0x08;
	assert_int_equal(rig_try(q, SLOW, &fua, SCSI_DATA_OUT, out, 512), 0);
	assert_true(last_flags() & BDEV_IO_FUA);
	set_mode(q, 0x08, 2, 0x04, false); /* WCE */
	end_good(write_slow(q, 0, SCSI_ATTR_SIMPLE));
	assert_true(last_flags() & BDEV_IO_FUA);
	assert_int_equal(ready(r, SLOW), RIG_SENSE(UNIT_ATTENTION, MODE_PARAMETERS_CHANGED));
	assert_int_equal(rig_tmf(r, SCSI_TMF_LU_RESET, SLOW, 0), SCSI_TMF_COMPLETE); /* as in the beginning */
	assert_int_equal(ready(q, SLOW), RIG_SENSE(UNIT_ATTENTION, DEVICE_RESET));
	end_good(write_slow(q, 0, SCSI_ATTR_SIMPLE));
	assert_false(last_flags() & BDEV_IO_FUA);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fresh, over)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(simple_tasks_do_not_wait_for_each_other),
		TEST(an_ordered_task_waits_and_holds_back),
		TEST(aca_is_refused),
		TEST(one_task_is_aborted),
		TEST(what_was_done_is_not_given_up),
		TEST(a_task_set_is_aborted_and_later_tasks_wait),
		TEST(a_reset_is_answered_when_nothing_is_left_anywhere),
		TEST(who_did_not_ask_is_told_of_each_task),
		TEST(clearing_is_of_the_own_task_set),
		TEST(nobody_is_told_if_the_mode_page_says_so),
		TEST(a_target_reset_means_all),
		TEST(a_nexus_reset_is_its_own),
		TEST(a_nexus_ends_when_its_tasks_have),
		TEST(a_reset_and_an_end_do_not_wait_for_each_other_forever),
		TEST(mail_follows_a_nexus_that_moves),
		TEST(a_target_that_goes_tells_its_nexuses),
		TEST(luns_come_and_go),
		TEST(a_device_that_goes_takes_its_lun_along),
		TEST(a_device_goes_while_its_lun_is_added),
		TEST(hosts_hear_of_a_new_size),
		TEST(access_states_refuse),
		TEST(a_media_error_says_where),
		TEST(sense_is_of_the_format_that_is_asked_for),
		TEST(a_cache_that_is_off_is_written_through),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
