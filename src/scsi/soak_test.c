/* SPDX-License-Identifier: BSD-3-Clause */
/* soak_test.c: everything at once, drawn from a seed: nexuses that come, do I/O, move between cores, reset each other
 * and vanish while LUNs come and go and access states change.
 *
 * Whatever happens, every task is answered once, every function too, every nexus ends, and at the end nothing is left.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "bdev/fake_disk_test.h"
#include "core/log.h"
#include "scsi/test_rig.h"

#define SEEDS 60
#define STEPS 1200
#define NEXUSES 8u
#define TASKS 64u
#define TMFS 6u
#define DATA_MAX 65536u
#define SLOW 3u

static struct rig rig;
static struct fake_disk slow;
static struct rig_nexus *nexuses[NEXUSES];
static struct rig_task *tasks[TASKS];
static bool late[TASKS];          /* parsed, and its data has not come */
static struct rig_tmf tmfs[TMFS];
static uint8_t *data[TASKS];
static uint64_t done_count, aborted_count, tmf_count;

static uint32_t draw(uint32_t n)
{
	return (uint32_t)sim_draw(n);
}

static struct rig_nexus *live(uint32_t at)
{
	return nexuses[at] && !nexuses[at]->n.ending ? nexuses[at] : NULL;
}

/* --- the transport's part -- */

static void drop_here(void *arg)
{
	scsi_task_free(arg);
}

static void drop(uint32_t at)
{
	struct rig_task *t = tasks[at];

	sim_as(core_reactor(rig.core, t->q->core_index), drop_here, &t->task);
	late[at] = false;
	t->done = true;
}

static bool has_late_tasks(const struct rig_nexus *q)
{
	for (uint32_t i = 0; i < TASKS; i++)
		if (tasks[i] && late[i] && tasks[i]->q == q)
			return true;
	return false;
}

static bool is_used(const struct rig_nexus *q)
{
	for (uint32_t i = 0; i < TASKS; i++)
		if (tasks[i] && tasks[i]->q == q)
			return true;
	for (uint32_t i = 0; i < TMFS; i++)
		if (tmfs[i].tmf.nexus == &q->n)
			return true;
	return false;
}

static void collect(void)
{
	for (uint32_t i = 0; i < TASKS; i++) {
		if (tasks[i] && late[i] && tasks[i]->q->n.ending)
			drop(i);
		if (!tasks[i] || !tasks[i]->done)
			continue;
		done_count++;
		aborted_count += tasks[i]->aborted;
		rig_end(tasks[i], NULL);
		tasks[i] = NULL;
	}
	for (uint32_t i = 0; i < TMFS; i++) {
		if (!tmfs[i].done)
			continue;
		tmf_count++;
		tmfs[i] = (struct rig_tmf){ 0 };
	}
	for (uint32_t i = 0; i < NEXUSES; i++) {
		if (!nexuses[i] || !nexuses[i]->ended)
			continue;
		assert_false(is_used(nexuses[i])); /* ended with something of it still in the layer's hands */
		assert_true(rig_gone(nexuses[i]));
		nexuses[i] = NULL;
	}
}

/* --- what happens -- */

static void join_one(uint32_t at)
{
	char name[64];

	if (nexuses[at])
		return;
	snprintf(name, sizeof(name), "iqn.host-%u,i,0x1", at);
	nexuses[at] = rig_join(&rig, draw(3), name);
	if (nexuses[at] && at % 2)
		nexuses[at]->n.piece_bytes = 4096; /* most of its commands are long */
}

static struct rig_cdb any_cdb(enum scsi_data *ret_dir)
{
	static const struct { uint8_t opcode, dir; } ops[] = {
		{ SCSI_OP_WRITE_10, SCSI_DATA_OUT }, { SCSI_OP_READ_10, SCSI_DATA_IN }, { SCSI_OP_WRITE_16, SCSI_DATA_OUT },
		{ SCSI_OP_READ_6, SCSI_DATA_IN }, { SCSI_OP_WRITE_10, SCSI_DATA_OUT }, { SCSI_OP_READ_16, SCSI_DATA_IN },
		{ SCSI_OP_VERIFY_10, SCSI_DATA_OUT }, { SCSI_OP_ORWRITE_16, SCSI_DATA_OUT },
		{ SCSI_OP_WRITE_SAME_10, SCSI_DATA_OUT }, { SCSI_OP_WRITE_VERIFY_12, SCSI_DATA_OUT },
		{ SCSI_OP_SYNC_CACHE_10, SCSI_DATA_NONE }, { SCSI_OP_COMPARE_AND_WRITE, SCSI_DATA_OUT },
		{ SCSI_OP_UNMAP, SCSI_DATA_OUT }, { SCSI_OP_TEST_UNIT_READY, SCSI_DATA_NONE },
		{ SCSI_OP_INQUIRY, SCSI_DATA_IN }, { SCSI_OP_REPORT_LUNS, SCSI_DATA_IN },
		{ SCSI_OP_MODE_SELECT_6, SCSI_DATA_OUT },
		{ SCSI_OP_PR_OUT_REGISTER, SCSI_DATA_OUT }, { SCSI_OP_RESERVE_6, SCSI_DATA_NONE },
		{ SCSI_OP_RELEASE_6, SCSI_DATA_NONE },
	};
	uint32_t at = draw(draw(3) ? 10 : ARRAY_SIZE(ops));
	struct rig_cdb c = rig_rw(ops[at].opcode, draw(64), 1 + draw(16));

	*ret_dir = ops[at].dir;
	switch (ops[at].opcode) {
	case SCSI_OP_VERIFY_10:
		c.b[1] = (uint8_t)(draw(4) << 1);
		break;
	case SCSI_OP_COMPARE_AND_WRITE:
		c = (struct rig_cdb){ .b = { SCSI_OP_COMPARE_AND_WRITE, [13] = 1 } };
		break;
	case SCSI_OP_UNMAP:
		c = (struct rig_cdb){ .b = { SCSI_OP_UNMAP, [8] = 40 } };
		break;
	case SCSI_OP_INQUIRY:
	case SCSI_OP_MODE_SELECT_6:
		c = (struct rig_cdb){ .b = { ops[at].opcode, ops[at].opcode == SCSI_OP_INQUIRY ? 0 : 0x10, 0, 0, 36 } };
		break;
	case SCSI_OP_REPORT_LUNS:
		c = (struct rig_cdb){ .b = { SCSI_OP_REPORT_LUNS, [9] = 64 } };
		break;
	case SCSI_OP_PR_OUT_REGISTER: /* register, reserve, release, clear, preempt, preempt and abort, ... */
		c = (struct rig_cdb){ .b = { SCSI_OP_PR_OUT_REGISTER, (uint8_t)draw(7), 1, [8] = 24 } };
		break;
	case SCSI_OP_TEST_UNIT_READY:
	case SCSI_OP_RESERVE_6:
	case SCSI_OP_RELEASE_6:
		c = (struct rig_cdb){ .b = { ops[at].opcode } };
		break;
	default:
		break;
	}
	return c;
}

static void fill(uint8_t *d, const struct rig_cdb *c)
{
	memset(d, (int)draw(4), 1024);
	if (c->b[0] == SCSI_OP_UNMAP) {
		scsi_put16(d + 2, 32);
		scsi_put64(d + 8, draw(64));
		scsi_put32(d + 16, draw(16));
	}
	if (c->b[0] == SCSI_OP_PR_OUT_REGISTER) { /* few keys, so that they meet */
		memset(d, 0, 24);
		d[7] = (uint8_t)draw(3);
		d[15] = (uint8_t)draw(3);
	}
}

static uint32_t any_len(const struct rig_cdb *c)
{
	uint32_t len = 512 * draw(17);

	switch (c->b[0]) {
	case SCSI_OP_UNMAP:
		return 40;
	case SCSI_OP_PR_OUT_REGISTER:
		return 24;
	case SCSI_OP_WRITE_SAME_10:
		return 512;
	case SCSI_OP_COMPARE_AND_WRITE:
		return 1024;
	default:
		return draw(4) ? 8192 : len;
	}
}

static void send_one(void)
{
	static const uint8_t attrs[] = { SCSI_ATTR_SIMPLE, SCSI_ATTR_SIMPLE, SCSI_ATTR_SIMPLE, SCSI_ATTR_UNTAGGED,
		SCSI_ATTR_ORDERED, SCSI_ATTR_HEAD };
	struct rig_nexus *q = live(draw(NEXUSES));
	enum scsi_data dir;
	struct rig_cdb c;
	uint32_t at = 0;

	while (at < TASKS && tasks[at])
		at++;
	if (!q || at == TASKS)
		return;
	c = any_cdb(&dir);
	fill(data[at], &c);
	rig.no_lending = draw(3) == 0;
	tasks[at] = rig_parse(q, draw(6), &c, dir, data[at], dir == SCSI_DATA_NONE ? 0 : any_len(&c),
	                      attrs[draw(ARRAY_SIZE(attrs))]);
	late[at] = !tasks[at]->refused;
	if (late[at] && draw(4)) {
		late[at] = false;
		rig_execute(tasks[at]);
	}
}

static void execute_late(void)
{
	uint32_t at = draw(TASKS);

	if (!tasks[at] || !late[at])
		return;
	if (draw(8) == 0) {
		drop(at);
		return;
	}
	late[at] = false;
	rig_execute(tasks[at]);
}

static void manage_one(struct rig_nexus *q)
{
	static const uint8_t functions[] = { SCSI_TMF_ABORT_TASK, SCSI_TMF_ABORT_TASK_SET, SCSI_TMF_CLEAR_TASK_SET,
		SCSI_TMF_LU_RESET, SCSI_TMF_ABORT_TASK, SCSI_TMF_LU_RESET, SCSI_TMF_NEXUS_RESET, SCSI_TMF_QUERY_TASK_SET,
		SCSI_TMF_TARGET_WARM_RESET, SCSI_TMF_TARGET_COLD_RESET };
	uint32_t at = draw(TMFS), of = draw(TASKS), f = draw(ARRAY_SIZE(functions));

	if (tmfs[at].tmf.nexus || (functions[f] == SCSI_TMF_TARGET_COLD_RESET && draw(6)))
		return;
	rig_tmf_start(&tmfs[at], q, functions[f], draw(6), tasks[of] ? tasks[of]->task.tag : 0);
}

static void let_go_here(void *arg)
{
	fake_let_go(rig.target->map->luns[SLOW].lu->dev.view[*(uint32_t *)arg].ch);
}

static void let_go(uint32_t core)
{
	sim_as(core_reactor(rig.core, core), let_go_here, &core);
}

static void change_one(void)
{
	static const uint8_t states[] = { SCSI_ALUA_OPTIMIZED, SCSI_ALUA_NONOPTIMIZED, SCSI_ALUA_STANDBY,
		SCSI_ALUA_UNAVAILABLE };

	atomic_store(&slow.holding, false); /* a change may wait for tasks, and these for the slow disk */
	for (uint32_t i = 0; i < 3; i++)
		let_go(i);
	for (uint32_t i = 0; i < TASKS; i++)
		if (tasks[i] && late[i])
			drop(i);
	switch (draw(6)) {
	case 0:
		rig_add_lun(&rig, "nul", 4, draw(2));
		break;
	case 1:
		rig_remove_lun(&rig, 4);
		break;
	case 2:
		rig_remove_lun(&rig, 2);
		break;
	case 3:
		rig_add_lun(&rig, "ram", 2, true);
		break;
	case 4:
		rig_resize(&rig, "nul", (1 + draw(3)) << 20);
		break;
	default:
		rig_set_alua(&rig, 1, states[draw(draw(4) ? 2 : 4)]);
	}
}

static void act(void)
{
	uint32_t at = draw(NEXUSES), what = draw(100);
	struct rig_nexus *q = live(at);

	if (what < 12)
		join_one(at);
	else if (what < 50)
		for (uint32_t n = 1 + draw(10); n; n--)
			send_one();
	else if (what < 58)
		execute_late();
	else if (what < 66 && q && !q->n.task_count && !has_late_tasks(q))
		rig_move(q, draw(3));
	else if (what < 74 && q)
		manage_one(q);
	else if (what < 76 && q && draw(3) == 0)
		rig_end_nexus(q);
	else if (what < 78)
		change_one();
	else if (what < 84)
		atomic_store(&slow.holding, draw(2));
	else if (what < 88)
		let_go(draw(3));
	else if (what < 98)
		for (uint32_t n = draw(30); n; n--)
			sim_step();
	else
		rig_pass(draw(100) * NS_PER_MS);
}

/* --- seeds -- */

static void register_slow(void *arg)
{
	must(!bdev_register(rig.reg, &slow.bdev, NULL));
}

static void begin(uint64_t seed)
{
	rig_start(&rig, seed);
	log_set_level(LOG_ERROR);
	fake_init(&slow, "slow");
	sim_as(core_control(rig.core), register_slow, NULL);
	must(!rig_add_lun(&rig, "slow", SLOW, false));
}

static void end(void)
{
	atomic_store(&slow.holding, false);
	for (uint32_t i = 0; i < 3; i++)
		let_go(i);
	for (uint32_t i = 0; i < TASKS; i++)
		if (tasks[i] && late[i])
			drop(i);
	for (uint32_t i = 0; i < NEXUSES; i++)
		if (live(i) && draw(2))
			rig_end_nexus(nexuses[i]);
	rig_pass(20 * NS_PER_S);
	collect();
	for (uint32_t i = 0; i < TASKS; i++)
		assert_null(tasks[i]);
	for (uint32_t i = 0; i < TMFS; i++)
		assert_null(tmfs[i].tmf.nexus);
	rig_stop(&rig); /* the other nexuses are told to go */
	memset(nexuses, 0, sizeof(nexuses));
	assert_true(slow.destroyed);
	fake_fini(&slow);
}

static void soak(void **state)
{
	const char *from = getenv("SCSI_SOAK_SEED"); /* as many from this one on */
	uint64_t first = from ? strtoull(from, NULL, 0) : 1;

	for (uint32_t i = 0; i < TASKS; i++)
		data[i] = calloc(1, DATA_MAX);
	for (uint64_t seed = first; seed < first + SEEDS; seed++) {
		begin(seed);
		for (uint32_t i = 0; i < STEPS; i++) {
			act();
			collect();
		}
		end();
	}
	assert_true(done_count > SEEDS * STEPS); /* the seeds have not become idle */
	assert_true(aborted_count > SEEDS && tmf_count > SEEDS);
	for (uint32_t i = 0; i < TASKS; i++)
		free(data[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(soak) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
