/* SPDX-License-Identifier: BSD-3-Clause */
/* reservation_test.c: reservations on real reactors: every core goes by them when the answer is there. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "bdev/fake_disk_test.h"
#include "bdev/reservation.h"
#include "bdev/rig_test.h"

#define BS 512u
#define HOSTS 2

static struct rig rig;
static struct fake_disk fake;
static struct bdev_desc *desc;
static struct bdev_channel *chs[3]; /* of reactors 0, 1 and control */
static struct bdev_initiator hosts[HOSTS];
static struct resv_listener listener;
static char buf[4096];
static _Atomic uint32_t heard[HOSTS][3];

static void heard_event(struct resv_listener *l, struct bdev *b, uint32_t party, enum resv_event event)
{
	for (uint32_t i = 0; i < HOSTS; i++)
		if (hosts[i].party == party)
			heard[i][event]++;
}

static void come(void *arg)
{
	*(int *)arg = bdev_register(rig.reg, &fake.bdev, NULL);
	bdev_resv_listen(rig.reg, &listener, heard_event);
	for (uint32_t i = 0; i < HOSTS; i++) {
		struct resv_identity nvme = { .kind = RESV_NVME_HOST, .host_id = { .b = { (uint8_t)(i + 1) } }, .name = "nqn" };
		struct resv_identity scsi = { .kind = RESV_SCSI_NEXUS, .name = "iqn", .port = "iqn,i,1", .target = "iqn.t",
		                              .port_id = 1 };

		bdev_initiator_enter(rig.reg, &hosts[i], i ? &scsi : &nvme);
	}
}

/* A target outside that says yes and has the daemon's registration. */
static struct {
	struct bdev_ops ops;
	struct resv_op *op;
	struct msg msg;
	bool is_used;
} outside;

static void outside_answers(struct msg *m)
{
	struct resv_seen *seen = base_zalloc(sizeof(*seen) + sizeof(seen->who[0]));

	seen->count = 1;
	seen->who[0].key = outside.op->new_key;
	seen->who[0].ours = true;
	outside.op->result = RESV_OK;
	bdev_resv_answered(outside.op, seen);
}

static void outside_asked(struct bdev *b, struct resv_op *op)
{
	outside.op = op;
	msg_send(reactor_self(), &outside.msg, outside_answers);
}

static void begin(void)
{
	int rc = -1;

	memset(heard, 0, sizeof(heard));
	rig_start(&rig, 2);
	fake_init(&fake, "fake");
	if (outside.is_used) {
		outside.ops = *fake.bdev.ops;
		outside.ops.resv = outside_asked;
		fake.bdev.ops = &outside.ops;
		fake.bdev.resv_outside = true;
	}
	rig_on(core_control(rig.core), come, &rc);
	assert_int_equal(rc, 0);
	desc = rig_open(&rig, "fake", true);
	for (uint32_t i = 0; i < 3; i++)
		chs[i] = rig_get(&rig, i, desc);
}

static sem_t gone;
static void unregistered(void *arg, int rc) { sem_post(&gone); }

static void leave(void *arg)
{
	for (uint32_t i = 0; i < HOSTS; i++)
		bdev_initiator_leave(rig.reg, &hosts[i]);
	bdev_resv_unlisten(&listener);
	bdev_unregister(&fake.bdev, unregistered, NULL);
}

static void end(void)
{
	sem_init(&gone, 0, 0);
	for (uint32_t i = 0; i < 3; i++)
		rig_put(&rig, i, chs[i]);
	rig_close(&rig, desc);
	rig_on(core_control(rig.core), leave, NULL);
	sem_wait(&gone);
	rig_stop(&rig);
	fake_fini(&fake);
}

struct ask {
	struct resv_op op;
	uint32_t host;
	sem_t done;
	_Atomic bool answered;
};

static void ask_done(struct resv_op *op)
{
	struct ask *a = container_of(op, struct ask, op);

	a->answered = true;
	sem_post(&a->done);
}

static void ask_here(void *arg)
{
	struct ask *a = arg;

	bdev_resv_do(desc, &hosts[a->host], &a->op, ask_done);
}

static void ask_start(struct ask *a, uint32_t host, enum resv_action action, enum resv_type type, uint64_t key,
                      uint64_t new_key)
{
	*a = (struct ask){ .op = { .action = (uint8_t)action, .type = (uint8_t)type, .key = key, .new_key = new_key },
	                   .host = host };
	sem_init(&a->done, 0, 0);
	rig_on(rig_core(&rig, host), ask_here, a);
}

static enum resv_result ask_wait(struct ask *a)
{
	while (sem_wait(&a->done) != 0)
		;
	sem_destroy(&a->done);
	return a->op.result;
}

static enum resv_result ask(uint32_t host, enum resv_action action, enum resv_type type, uint64_t key, uint64_t new_key)
{
	struct ask a;

	ask_start(&a, host, action, type, key, new_key);
	return ask_wait(&a);
}

static void io_init(struct rig_io *io, uint32_t host, uint32_t core, enum bdev_op op, uint64_t lba)
{
	rig_io_init(io, chs[core], op, lba, op == BDEV_FLUSH ? FAKE_BLOCKS : 1, op == BDEV_FLUSH ? NULL : buf,
	            op == BDEV_FLUSH ? 0 : BS);
	io->io.who = host < HOSTS ? &hosts[host] : NULL;
}

static enum bdev_status io(uint32_t host, uint32_t core, enum bdev_op op)
{
	struct rig_io i;

	io_init(&i, host, core, op, 0);
	return rig_io_run(&rig, core, &i);
}

static void may(uint32_t host, bool read, bool write)
{
	for (uint32_t core = 0; core < 3; core++) {
		assert_int_equal(io(host, core, BDEV_READ), read ? BDEV_ST_OK : BDEV_ST_RESERVED);
		assert_int_equal(io(host, core, BDEV_WRITE), write ? BDEV_ST_OK : BDEV_ST_RESERVED);
		assert_int_equal(io(host, core, BDEV_WRITE_ZEROES), write ? BDEV_ST_OK : BDEV_ST_RESERVED);
		assert_int_equal(io(host, core, BDEV_COMPARE), read ? BDEV_ST_OK : BDEV_ST_RESERVED);
	}
}

/* A core that has not heard would let a write through that the answer promised to keep out. */
static void every_core_keeps_to_it_when_it_is_answered(void **state)
{
	begin();
	memset(buf, 0, sizeof(buf));
	may(0, true, true);
	may(1, true, true);
	assert_int_equal(ask(0, RESV_NVME_REGISTER, 0, 0, 5), RESV_OK);
	may(1, true, true); /* a registration is no reservation */
	assert_int_equal(ask(0, RESV_RESERVE, RESV_WE, 5, 0), RESV_OK);
	may(0, true, true);
	may(1, true, false);
	may(HOSTS, true, true); /* the daemon's own */
	assert_int_equal(ask(1, RESV_REGISTER, 0, 0, 6), RESV_OK);
	may(1, true, false);
	assert_int_equal(ask(0, RESV_PREEMPT, RESV_EARO, 5, 5), RESV_OK);
	may(1, true, true);
	assert_int_equal(heard[1][RESV_EVENT_RESERVATION_RELEASED], 1);
	assert_int_equal(ask(1, RESV_REGISTER, 0, 6, 0), RESV_OK);
	may(1, false, false);
	assert_int_equal(ask(0, RESV_CLEAR, 0, 5, 0), RESV_OK);
	may(1, true, true);
	end();
}

static struct bdev_initiator nameless;

static void nameless_comes(void *arg)
{
	struct resv_identity id = { .kind = RESV_NVME_HOST, .name = "nqn", .target = "nqn.sub", .port_id = 1 };

	bdev_initiator_enter(rig.reg, &nameless, &id);
}

static void nameless_goes(void *arg)
{
	bdev_initiator_leave(rig.reg, &nameless);
}

static void nameless_asks(void *arg)
{
	struct ask *a = arg;

	bdev_resv_do(desc, &nameless, &a->op, ask_done);
}

static enum resv_result nameless_ask(enum resv_action action, uint64_t key, uint64_t new_key)
{
	struct ask a = { .op = { .action = (uint8_t)action, .type = RESV_EA, .key = key, .new_key = new_key } };

	sem_init(&a.done, 0, 0);
	rig_on(rig_core(&rig, 0), nameless_asks, &a);
	return ask_wait(&a);
}

/* NVMe base, Host Identifier: 0h is a different host after each controller level reset. The number of a controller that
 * went is given to the next who comes, whoever that is. */
static void a_host_without_identifier_leaves_nothing_behind(void **state)
{
	struct ask a;

	begin();
	rig_on(core_control(rig.core), nameless_comes, NULL);
	assert_int_equal(nameless_ask(RESV_NVME_REGISTER, 0, 7), RESV_OK);
	assert_int_equal(nameless_ask(RESV_RESERVE, 7, 0), RESV_OK);
	may(0, false, false);
	rig_on(core_control(rig.core), nameless_goes, NULL);
	rig_on(core_control(rig.core), nameless_comes, NULL);
	ask_start(&a, 0, RESV_REPORT, 0, 0, 0); /* behind what its end began */
	assert_int_equal(ask_wait(&a), RESV_OK);
	assert_int_equal(a.op.ret_report->count, 0);
	assert_int_equal(a.op.ret_report->type, RESV_NONE);
	free(a.op.ret_report);
	assert_int_equal(nameless_ask(RESV_RESERVE, 7, 0), RESV_CONFLICT); /* another one */
	may(0, true, true);
	rig_on(core_control(rig.core), nameless_goes, NULL);
	end();
}

/* What a target outside has of such a host nobody can take back but who comes next: it must be let. */
static void nor_does_it_keep_others_from_a_target_outside(void **state)
{
	outside.is_used = true;
	begin();
	rig_on(core_control(rig.core), nameless_comes, NULL);
	assert_int_equal(nameless_ask(RESV_NVME_REGISTER, 0, 7), RESV_OK);
	assert_int_equal(ask(0, RESV_NVME_REGISTER, 0, 0, 5), RESV_CONFLICT);
	rig_on(core_control(rig.core), nameless_goes, NULL);
	assert_int_equal(ask(0, RESV_NVME_REGISTER, 0, 0, 5), RESV_OK);
	assert_int_equal(ask(1, RESV_NVME_REGISTER, 0, 0, 6), RESV_CONFLICT); /* now it is this one's */
	outside.is_used = false;
	end();
}

static void spc2_keeps_everybody_else_out_until_its_nexus_ends(void **state)
{
	begin();
	assert_int_equal(ask(1, RESV_SPC2_RESERVE, 0, 0, 0), RESV_OK);
	may(0, false, false);
	may(1, true, true);
	assert_int_equal(ask(0, RESV_NVME_REGISTER, 0, 0, 5), RESV_CONFLICT);
	end(); /* leave() drops it */
}

static void nexus_ends(void *arg)
{
	bdev_initiator_leave(rig.reg, &hosts[1]);
}

static void what_spc2_reserved_ends_with_its_nexus(void **state)
{
	struct ask a;

	begin();
	assert_int_equal(ask(1, RESV_SPC2_RESERVE, 0, 0, 0), RESV_OK);
	may(0, false, false);
	rig_on(core_control(rig.core), nexus_ends, NULL);
	ask_start(&a, 0, RESV_REPORT, 0, 0, 0); /* behind it in line */
	assert_int_equal(ask_wait(&a), RESV_OK);
	assert_false(a.op.ret_report->spc2);
	free(a.op.ret_report);
	may(0, true, true);
	end();
}

/* The answer to PREEMPT AND ABORT means that the preempted host's writes are all over. */
static void preempt_and_abort_waits_for_what_was_begun(void **state)
{
	struct rig_io old[3];
	struct ask a;

	begin();
	assert_int_equal(ask(0, RESV_NVME_REGISTER, 0, 0, 5), RESV_OK);
	assert_int_equal(ask(1, RESV_REGISTER, 0, 0, 6), RESV_OK);
	assert_int_equal(ask(1, RESV_RESERVE, RESV_WE, 6, 0), RESV_OK);
	fake.holding = true;
	for (uint32_t i = 0; i < 3; i++) {
		io_init(&old[i], 1, i, BDEV_WRITE, i);
		rig_io_start(&rig, i, &old[i]);
	}
	ask_start(&a, 0, RESV_PREEMPT_ABORT, RESV_WE, 5, 6);
	rig_settle(&rig);
	assert_false(a.answered);
	fake.holding = false;
	assert_int_equal(io(0, 0, BDEV_WRITE), BDEV_ST_OK); /* the others go on meanwhile */
	assert_int_equal(io(HOSTS, 1, BDEV_WRITE), BDEV_ST_OK);
	for (uint32_t i = 0; i < 3; i++) {
		assert_false(a.answered);
		rig_on(rig_core(&rig, i), fake_let_go, chs[i]);
		assert_int_equal(rig_io_wait(&old[i]), BDEV_ST_OK);
		rig_settle(&rig);
	}
	fake.holding = false;
	assert_int_equal(ask_wait(&a), RESV_OK);
	assert_int_equal(heard[1][RESV_EVENT_REGISTRATION_PREEMPTED], 1);
	may(1, true, false);
	may(0, true, true);
	end();
}

static void a_report_says_who_there_is(void **state)
{
	struct ask a;

	begin();
	assert_int_equal(ask(0, RESV_NVME_REGISTER, 0, 0, 5), RESV_OK);
	assert_int_equal(ask(1, RESV_REGISTER, 0, 0, 6), RESV_OK);
	assert_int_equal(ask(1, RESV_RESERVE, RESV_EARO, 6, 0), RESV_OK);
	ask_start(&a, 0, RESV_REPORT, 0, 0, 0);
	assert_int_equal(ask_wait(&a), RESV_OK);
	assert_int_equal(a.op.ret_report->count, 2);
	assert_int_equal(a.op.ret_report->generation, 2);
	assert_int_equal(a.op.ret_report->type, RESV_EARO);
	assert_string_equal(a.op.ret_report->who[0].name, "nqn");
	assert_false(a.op.ret_report->who[0].holds);
	assert_string_equal(a.op.ret_report->who[1].port, "iqn,i,1");
	assert_string_equal(a.op.ret_report->who[1].target, "iqn.t");
	assert_true(a.op.ret_report->who[1].holds);
	free(a.op.ret_report);
	end();
}

static void nothing_persists_without_a_store(void **state)
{
	struct ask a;

	begin();
	a = (struct ask){ .op = { .action = RESV_REGISTER, .new_key = 7, .flags = RESV_F_PERSIST }, .host = 1 };
	sem_init(&a.done, 0, 0);
	rig_on(rig_core(&rig, 1), ask_here, &a);
	assert_int_equal(ask_wait(&a), RESV_NO_PERSIST);
	assert_int_equal(ask(1, RESV_RESERVE, RESV_WE, 7, 0), RESV_CONFLICT);
	end();
}

struct served {
	struct bdev_desc *first, *second, *twice, *writer;
	struct err err;
};

static void serve(void *arg)
{
	struct served *s = arg;

	s->first = bdev_open_served(rig.reg, "fake", true, "one", NULL, NULL, &s->err);
	s->second = bdev_open_served(rig.reg, "fake", true, "two", NULL, NULL, &s->err);
	s->twice = bdev_open_served(rig.reg, "fake", true, "two", NULL, NULL, &s->err);
	s->writer = bdev_open(rig.reg, "fake", true, "somebody", NULL, NULL, NULL);
	bdev_close(s->first);
	if (!s->writer)
		s->writer = bdev_open(rig.reg, "fake", true, "somebody", NULL, NULL, NULL);
	bdev_close(s->second);
}

static void those_who_serve_share_a_claim(void **state)
{
	struct served s = { 0 };

	begin();
	for (uint32_t i = 0; i < 3; i++)
		rig_put(&rig, i, chs[i]);
	rig_close(&rig, desc);
	rig_on(core_control(rig.core), serve, &s);
	assert_non_null(s.first);
	assert_non_null(s.second);
	assert_null(s.twice);
	assert_null(s.writer);
	assert_non_null(strstr(s.err.text, "claimed by one"));
	desc = rig_open(&rig, "fake", true); /* the claim has gone with the last of them */
	assert_non_null(desc);
	for (uint32_t i = 0; i < 3; i++)
		chs[i] = rig_get(&rig, i, desc);
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_core_keeps_to_it_when_it_is_answered),
		cmocka_unit_test(a_host_without_identifier_leaves_nothing_behind),
		cmocka_unit_test(nor_does_it_keep_others_from_a_target_outside),
		cmocka_unit_test(spc2_keeps_everybody_else_out_until_its_nexus_ends),
		cmocka_unit_test(what_spc2_reserved_ends_with_its_nexus),
		cmocka_unit_test(preempt_and_abort_waits_for_what_was_begun),
		cmocka_unit_test(a_report_says_who_there_is),
		cmocka_unit_test(nothing_persists_without_a_store),
		cmocka_unit_test(those_who_serve_share_a_claim),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
