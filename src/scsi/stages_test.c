/* SPDX-License-Identifier: BSD-3-Clause */
/* stages_test.c: every nanosecond of a SCSI command belongs to one stage, whatever became of it and however many pieces
 * it had; counts are not lost with their nexus, or when it moves; the recorder keeps what is slow and is bounded. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "scsi/test_rig.h"

#define NAME "iqn.host-a"
#define UNITS(n) ((n) * 1024ull)

static struct rig rig;
static struct rig_nexus *q;
static struct stage_eyes eyes;
static struct scsi_slow_io slow[FLIGHT_IOS_MAX];
static uint32_t slow_count;
static uint8_t buffer[65536];

static int start(void **state)
{
	rig_start(&rig, 3);
	must(!rig_add_lun(&rig, "ram", 5, false));
	q = rig_join(&rig, 1, NAME ",i,0x1");
	rig_pass(NS_PER_S);
	return 0;
}

static int stop(void **state)
{
	stage_eyes_free(&eyes);
	rig_stop(&rig);
	return 0;
}

/* A command that ends now, and what it did before, in nanoseconds. `away`: between its pieces. */
struct past {
	uint64_t receive, wait, held, backend, away, send;
	uint32_t base, len;
	uint8_t status, data;
	bool never_begun, lost, aborted, no_lun;
};

static const struct scsi_opcode *row_of(uint8_t opcode) { return scsi_opcode_find(rig.scsi, opcode, -1); }

static void count_one(void *arg)
{
	const struct past *p = arg;
	uint64_t now_ns = reactor_now_ns(), before = p->receive + p->wait;
	uint64_t in = p->never_begun ? 0 : p->held + p->backend + p->away;
	struct scsi_task t = { .nexus = &q->n, .moves = p->len, .base = p->base, .status = p->status,
		.data = p->data ? p->data : SCSI_DATA_IN, .unit = 5, .state = SCSI_TASK_DONE };

	t.op = row_of(t.data == SCSI_DATA_OUT ? SCSI_OP_WRITE_10 : SCSI_OP_READ_10);
	t.lu = p->no_lun ? NULL : &scsi_nexus_map(&q->n)->luns[5].lu->dev.view[1];
	scsi_task_came(&t, now_ns - before - in - p->send);
	t.waited = (uint32_t)(p->wait >> STAGE_UNIT_BITS);
	t.io.waited = (uint32_t)(p->held >> STAGE_UNIT_BITS);
	t.away = (uint32_t)((before + p->away) >> STAGE_UNIT_BITS);
	if (p->never_begun)
		t.state = SCSI_TASK_PARSED;
	if (p->lost)
		scsi_task_lost(&t, now_ns - p->send, p->aborted);
	else
		scsi_task_sent(&t, now_ns - p->send, now_ns);
}

static void read_eyes(void *arg)
{
	stage_eyes_free(&eyes);
	scsi_eyes_read(rig.scsi, &eyes);
	slow_count = flight_read(&rig.scsi->cores[reactor_index(reactor_self())].flight, slow, FLIGHT_IOS_MAX);
}

static const struct stage_counts *counted(struct past p, uint32_t times)
{
	struct reactor *r = core_reactor(rig.core, 1);

	for (uint32_t i = 0; i < times; i++)
		sim_as(r, count_one, &p);
	sim_as(r, read_eyes, NULL);
	assert_true(eyes.host_count == 1 && eyes.queue_count == 1);
	return &eyes.queues[0].counts;
}

static void time_is_divided(void **state)
{
	const struct past p = { .receive = UNITS(100), .wait = UNITS(20), .held = UNITS(3), .backend = UNITS(500),
	                        .send = UNITS(7), .len = 4096, .data = SCSI_DATA_OUT };
	const struct stage_counts *c = counted(p, 1);

	assert_int_equal(c->stage[STAGE_RECEIVE].sum_ns, p.receive);
	assert_int_equal(c->stage[STAGE_WAIT].sum_ns, p.wait + p.held);
	assert_int_equal(c->stage[STAGE_BACKEND].sum_ns, p.backend);
	assert_int_equal(c->stage[STAGE_SEND].sum_ns, p.send);
	assert_int_equal(c->stage[STAGE_BACKEND].bucket[9], 1); /* 256 to 511 units */
	assert_int_equal(c->ios[STAGE_KIND_WRITE], 1);
	assert_int_equal(c->bytes[STAGE_KIND_WRITE], 4096);
	assert_int_equal(c->at_once, 0);
}

/* What a host takes its time for is not the device's. */
static void between_pieces_data_moves(void **state)
{
	struct past p = { .receive = UNITS(10), .backend = UNITS(500), .away = UNITS(900), .send = UNITS(7),
	                  .base = 1 << 20, .len = 4096, .data = SCSI_DATA_OUT };
	const struct stage_counts *c = counted(p, 1);

	assert_int_equal(c->stage[STAGE_RECEIVE].sum_ns, p.receive + p.away);
	assert_int_equal(c->stage[STAGE_BACKEND].sum_ns, p.backend);
	assert_int_equal(c->bytes[STAGE_KIND_WRITE], (1 << 20) + 4096);
	p.receive = 0;
	p.data = SCSI_DATA_IN;
	c = counted(p, 1);
	assert_int_equal(c->stage[STAGE_SEND].sum_ns, 2 * p.send + p.away);
	assert_int_equal(c->stage[STAGE_BACKEND].sum_ns, 2 * p.backend);
	assert_int_equal(c->bytes[STAGE_KIND_READ], (1 << 20) + 4096);
}

static void within_a_pass_it_took_no_time(void **state)
{
	const struct stage_counts *c = counted((struct past){ .len = 512 }, 5);

	assert_int_equal(c->at_once, 5);
	assert_int_equal(c->ios[STAGE_KIND_READ], 5);
	for (uint32_t s = 0; s < STAGE_COUNT; s++)
		assert_int_equal(c->stage[s].sum_ns, 0);
	assert_int_equal(slow_count, 0);
}

static void what_was_refused_lost_or_aborted_has_no_back_end(void **state)
{
	const struct past refused = { .receive = UNITS(9), .never_begun = true, .status = SCSI_RESERVATION_CONFLICT };
	const struct past lost = { .receive = UNITS(2000), .never_begun = true, .lost = true };
	const struct past aborted = { .backend = UNITS(4000), .lost = true, .aborted = true };
	const struct stage_counts *c = counted(refused, 1);
	uint8_t whys = 0;

	assert_int_equal(c->errors, 1);
	assert_int_equal(c->stage[STAGE_RECEIVE].sum_ns, refused.receive);
	assert_int_equal(c->stage[STAGE_BACKEND].sum_ns, 0);
	counted(lost, 1);
	c = counted(aborted, 1);
	assert_int_equal(c->errors, 3);
	assert_int_equal(eyes.errors.count, 2);
	assert_int_equal(eyes.errors.at[0].code, SCSI_RESERVATION_CONFLICT << 24);
	for (uint32_t i = 0; i < slow_count; i++)
		whys |= slow[i].io.why;
	assert_int_equal(whys & (FLIGHT_LOST | FLIGHT_ABORTED), FLIGHT_LOST | FLIGHT_ABORTED);
}

/* LUNs that do not exist would be told apart without limit. */
static void what_does_not_exist_is_not_told_apart(void **state)
{
	struct rig_cdb cdb = rig_rw(SCSI_OP_READ_10, 0, 1);

	for (uint32_t lun = 6; lun < 50; lun++)
		assert_int_equal(rig_try(q, lun, &cdb, SCSI_DATA_IN, buffer, 512),
		                 RIG_SENSE(ILLEGAL_REQUEST, LUN_NOT_SUPPORTED));
	counted((struct past){ .len = 512, .no_lun = true, .status = SCSI_BUSY }, 1);
	counted((struct past){ .len = 512 }, 1);
	assert_int_equal(eyes.unit_count, 2);
}

static void counts_outlive_their_nexus_and_its_moves(void **state)
{
	counted((struct past){ .len = 512 }, 3);
	rig_move(q, 0);
	sim_as(core_reactor(rig.core, 1), read_eyes, NULL);
	assert_int_equal(eyes.queue_count, 0);
	assert_int_equal(eyes.hosts[0].counts.ios[STAGE_KIND_READ], 3);
	assert_string_equal(eyes.units[0].target, RIG_NAME);
	assert_int_equal(eyes.units[0].unit, 5);
	assert_int_equal(eyes.units[0].counts.ios[STAGE_KIND_READ], 3);
	rig_end_nexus(q);
	assert_true(rig_gone(q));
	sim_as(core_reactor(rig.core, 1), read_eyes, NULL);
	assert_int_equal(eyes.hosts[0].counts.ios[STAGE_KIND_READ], 3);
	assert_true(!rig_remove_lun(&rig, 5));
	rig_pass(NS_PER_MS);
	sim_as(core_reactor(rig.core, 1), read_eyes, NULL);
	assert_int_equal(eyes.unit_count, 0);
	assert_int_equal(eyes.hosts[0].counts.ios[STAGE_KIND_READ], 3);
}

static void the_recorder_is_bounded_and_keeps_the_slowest(void **state)
{
	uint64_t worst = 0;

	atomic_store(&scsi_flights(rig.scsi)->limit_ns, NS_PER_MS);
	counted((struct past){ .backend = UNITS(100000) }, 1);
	counted((struct past){ .backend = UNITS(2000) }, 1000);
	assert_true(slow_count <= FLIGHT_IOS_MAX);
	assert_true(slow_count >= FLIGHT_SLOW);
	for (uint32_t i = 0; i < slow_count; i++)
		worst = max_u64(worst, slow[i].io.stage_ns[STAGE_BACKEND]);
	assert_int_equal(worst, UNITS(100000));
	assert_int_equal(eyes.slow_ios, 1001);
	assert_string_equal(slow[0].device, "ram");
	assert_string_equal(slow[0].host, NAME ",i,0x1"); /* in this rig the port's name is the initiator's */
}

#define IN_A_RIG(test) cmocka_unit_test_setup_teardown(test, start, stop)
int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_A_RIG(time_is_divided),
		IN_A_RIG(between_pieces_data_moves),
		IN_A_RIG(within_a_pass_it_took_no_time),
		IN_A_RIG(what_was_refused_lost_or_aborted_has_no_back_end),
		IN_A_RIG(what_does_not_exist_is_not_told_apart),
		IN_A_RIG(counts_outlive_their_nexus_and_its_moves),
		IN_A_RIG(the_recorder_is_bounded_and_keeps_the_slowest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
