/* SPDX-License-Identifier: BSD-3-Clause */
/* stages_test.c: every nanosecond of a command belongs to one stage, whatever became of it; counts are not lost with
 * their queue; the recorder keeps what is slow and is bounded. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "backends/null/null.h"
#include "nvmf/stages.h"
#include "nvmf/test_rig.h"

static struct rig rig;
static struct rig_qp *admin, *io;
static struct nvmf_eyes eyes;
static struct nvmf_slow_io slow[FLIGHT_IOS_MAX];
static uint32_t slow_count;

static int start(void **state)
{
	uint16_t cntlid;

	rig_start(&rig, 3);
	admin = rig_admin(&rig, 0, &cntlid);
	io = rig_io(&rig, 1, 1, cntlid);
	rig_pass(NS_PER_S);
	return 0;
}

static int stop(void **state)
{
	nvmf_eyes_free(&eyes);
	rig_stop(&rig);
	return 0;
}

/* A command that ends now, and what it did before, in nanoseconds. */
struct past {
	uint64_t receive, wait, held, backend, send;
	uint32_t nsid, len;
	uint16_t status;
	bool never_begun, lost;
};

static void count_one(void *arg)
{
	const struct past *p = arg;
	uint64_t now_ns = reactor_now_ns(), before = p->receive + p->wait, in = p->never_begun ? 0 : p->held + p->backend;
	struct nvmf_req req = { .qpair = &io->qp, .data_len = p->len };

	req.cmd.opc = NVME_CMD_READ;
	req.cmd.nsid = le32_of(p->nsid ? p->nsid : 1);
	req.came_ns = now_ns - before - in - p->send;
	req.waited = (uint32_t)(p->wait >> 10);
	req.io.waited = (uint32_t)(p->held >> 10);
	req.began = p->never_begun ? NVMF_NOT_BEGUN : (uint32_t)(before >> 10);
	nvme_cqe_set_status(&req.cpl, p->status);
	nvmf_stages_count(&req, now_ns - p->send, p->lost);
}

static void read_eyes(void *arg)
{
	nvmf_eyes_free(&eyes);
	nvmf_eyes_read(rig.target, &eyes);
	slow_count = flight_read(&rig.target->cores[1].flight, slow, FLIGHT_IOS_MAX);
}

static const struct stage_counts *counted(struct past p, uint32_t times)
{
	struct reactor *r = core_reactor(rig.core, 1);

	for (uint32_t i = 0; i < times; i++)
		sim_as(r, count_one, &p);
	sim_as(r, read_eyes, NULL);
	assert_true(eyes.stages.host_count == 1 && eyes.stages.queue_count == 1);
	return &eyes.stages.queues[0].counts;
}

#define NSIDS (2 * STAGE_QUEUE_UNITS)
#define UNITS(n) ((n) * 1024ull)

static void time_is_divided(void **state)
{
	const struct past p = { .receive = UNITS(100), .wait = UNITS(20), .held = UNITS(3), .backend = UNITS(500),
	                        .send = UNITS(7), .len = 4096 };
	const struct stage_counts *c = counted(p, 1);

	assert_int_equal(c->stage[STAGE_RECEIVE].sum_ns, p.receive);
	assert_int_equal(c->stage[STAGE_WAIT].sum_ns, p.wait + p.held);
	assert_int_equal(c->stage[STAGE_BACKEND].sum_ns, p.backend);
	assert_int_equal(c->stage[STAGE_SEND].sum_ns, p.send);
	assert_int_equal(c->stage[STAGE_BACKEND].bucket[9], 1); /* 256 to 511 units */
	assert_int_equal(c->ios[STAGE_KIND_READ], 1);
	assert_int_equal(c->bytes[STAGE_KIND_READ], 4096);
	assert_int_equal(c->at_once, 0);
}

static void within_a_pass_it_took_no_time(void **state)
{
	const struct stage_counts *c = counted((struct past){ .len = 512 }, 5);

	assert_int_equal(c->at_once, 5);
	for (uint32_t s = 0; s < STAGE_COUNT; s++)
		assert_int_equal(c->stage[s].sum_ns, 0);
	assert_int_equal(slow_count, 0);
}

static void what_was_refused_or_lost_has_no_back_end(void **state)
{
	const struct past refused = { .receive = UNITS(9), .never_begun = true, .status = NVME_SC_INVALID_FIELD };
	const struct past lost = { .receive = UNITS(2000), .never_begun = true, .lost = true };
	const struct stage_counts *c = counted(refused, 1);

	assert_int_equal(c->errors, 1);
	assert_int_equal(c->stage[STAGE_RECEIVE].sum_ns, refused.receive);
	assert_int_equal(c->stage[STAGE_BACKEND].sum_ns, 0);
	c = counted(lost, 1);
	assert_int_equal(c->errors, 2);
	assert_int_equal(eyes.stages.errors.count, 2);
	assert_true(slow[0].io.why & FLIGHT_LOST || slow[1].io.why & FLIGHT_LOST);
}

static void make_disk(void *arg)
{
	struct bdev *b;

	must(!null_create(rig.reg, &(struct null_opts){ .name = arg, .block_count = 1, .block_size = 4096 }, &b, NULL));
}

static void namespaces_of_a_queue_are_told_apart_up_to_a_limit(void **state)
{
	uint64_t sum = 0;
	char name[16];

	/* all that the subsystem has room for; the others do not exist */
	for (uint32_t nsid = 3; nsid <= STAGE_QUEUE_UNITS; nsid++) {
		struct text t = text_over(name, sizeof(name));

		text_add(&t, "nul%u", nsid);
		sim_as(core_control(rig.core), make_disk, name);
		assert_int_equal(rig_add_ns(&rig, name, nsid), 0);
	}
	for (uint32_t nsid = 1; nsid <= NSIDS; nsid++)
		counted((struct past){ .nsid = nsid }, 2);
	assert_int_equal(eyes.stages.unit_count, STAGE_QUEUE_UNITS);
	for (uint32_t i = 0; i < eyes.stages.unit_count; i++)
		sum += eyes.stages.units[i].counts.ios[STAGE_KIND_READ];
	assert_int_equal(sum, 2 * NSIDS);
	assert_int_equal(eyes.stages.queues[0].counts.ios[STAGE_KIND_READ], sum);
	assert_int_equal(eyes.stages.hosts[0].counts.ios[STAGE_KIND_READ], sum);
}

/* Else their number had no limit over time, in the metrics of who collects them. */
static void what_does_not_exist_is_not_told_apart(void **state)
{
	counted((struct past){ .nsid = 1 }, 1);
	for (uint32_t i = 0; i < 1000; i++)
		counted((struct past){ .nsid = 1000 + i * 7919, .status = NVME_SC_INVALID_FIELD }, 1);
	assert_int_equal(eyes.stages.unit_count, 2);
	assert_int_equal(eyes.stages.queues[0].counts.errors, 1000);
}

/* The core that it moved to may have begun its pass before the one where it came. */
static void count_ahead(void *arg)
{
	struct nvmf_req req = { .qpair = &io->qp, .came_ns = reactor_now_ns() + 5, .began = NVMF_NOT_BEGUN };

	req.cmd.opc = NVME_CMD_READ;
	req.cmd.nsid = le32_of(1);
	nvmf_stages_count(&req, reactor_now_ns(), false);
	req.came_ns = reactor_now_ns() - 100;
	nvmf_stages_count(&req, reactor_now_ns() + 5, false);
}

static void no_time_is_negative(void **state)
{
	sim_as(core_reactor(rig.core, 1), count_ahead, NULL);
	sim_as(core_reactor(rig.core, 1), read_eyes, NULL);
	assert_int_equal(eyes.stages.queues[0].counts.at_once, 1);
	for (uint32_t s = 0; s < STAGE_COUNT; s++)
		assert_true(eyes.stages.queues[0].counts.stage[s].sum_ns <= 100);
}

static void close_it(void *arg) { nvmf_stages_close(&io->qp); }

static void counts_outlive_their_queue(void **state)
{
	counted((struct past){ .len = 512 }, 3);
	sim_as(core_reactor(rig.core, 1), close_it, NULL);
	sim_as(core_reactor(rig.core, 1), read_eyes, NULL);
	assert_int_equal(eyes.stages.queue_count, 0);
	assert_int_equal(eyes.stages.hosts[0].counts.ios[STAGE_KIND_READ], 3);
	assert_string_equal(eyes.stages.hosts[0].host, RIG_HOST);
	assert_int_equal(eyes.stages.units[0].counts.ios[STAGE_KIND_READ], 3);
	counted((struct past){ .len = 512 }, 2);
	assert_int_equal(eyes.stages.hosts[0].counts.ios[STAGE_KIND_READ], 5);
}

static void the_recorder_is_bounded_and_keeps_the_slowest(void **state)
{
	uint64_t worst = 0;

	atomic_store(&nvmf_flights(rig.target)->limit_ns, NS_PER_MS);
	counted((struct past){ .backend = UNITS(100000) }, 1);
	counted((struct past){ .backend = UNITS(2000) }, 1000);
	assert_true(slow_count <= FLIGHT_IOS_MAX);
	assert_true(slow_count >= FLIGHT_SLOW);
	for (uint32_t i = 0; i < slow_count; i++)
		worst = max_u64(worst, slow[i].io.stage_ns[STAGE_BACKEND]);
	assert_int_equal(worst, UNITS(100000));
	assert_int_equal(eyes.stages.slow_ios, 1001);
}

#define IN_A_RIG(test) cmocka_unit_test_setup_teardown(test, start, stop)
int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_A_RIG(time_is_divided),
		IN_A_RIG(within_a_pass_it_took_no_time),
		IN_A_RIG(what_was_refused_or_lost_has_no_back_end),
		IN_A_RIG(namespaces_of_a_queue_are_told_apart_up_to_a_limit),
		IN_A_RIG(what_does_not_exist_is_not_told_apart),
		IN_A_RIG(no_time_is_negative),
		IN_A_RIG(counts_outlive_their_queue),
		IN_A_RIG(the_recorder_is_bounded_and_keeps_the_slowest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
