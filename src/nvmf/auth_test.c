/* SPDX-License-Identifier: BSD-3-Clause */
/* auth_test.c: authentication on queue pairs, in simulated time: deadlines, moves, keys that change; the host is
 * fabric's. What is said wrongly is tests/proto's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fabric/auth.h"
#include "keyring/keyring.h"
#include "nvmf/test_rig.h"

#define SECRET "DHHC-1:01:ICcuNTxDSlFYX2ZtdHuCiZCXnqWss7rByM/W3eTr8vmMpzdS:"
#define SECRET2 "DHHC-1:02:MDc+RUxTWmFob3Z9hIuSmaCnrrW8w8rR2N/m7fT7AgkQFx4lLDM6QUhPVl1ka3J51wkKvA==:"

static struct rig rig;
static struct keyring *ring;
static struct keyring_key *keys[2];

static int start(void **state)
{
	static const char *const secrets[] = { SECRET, SECRET2 };

	rig_start(&rig, 1);
	ring = keyring_make();
	for (uint32_t i = 0; i < 2; i++) {
		char name[2] = { (char)('0' + i), 0 };

		must(!keyring_add_memory(ring, name, secrets[i], NULL));
		keys[i] = keyring_get(ring, "key", name, NULL);
	}
	must(!rig_remove_host(&rig, RIG_HOST));
	must(!rig_add_host_keys(&rig, RIG_HOST, &(struct nvmf_host_keys){ .key = keys[0], .ctrlr_key = keys[1] }));
	return 0;
}

static int stop(void **state)
{
	rig_stop(&rig);
	for (uint32_t i = 0; i < 2; i++)
		keyring_key_unref(keys[i]);
	keyring_free(ring);
	return 0;
}

/* --- a host ------------------------------------------------------------------------------------------------------ */

struct host {
	struct fabric_auth_host a;
	struct fabric_auth_key key, ctrlr_key;
};

static struct fabric_auth_key key_of(const char *text)
{
	struct fabric_auth_key key;

	must(!fabric_auth_key_parse("k", text, strlen(text), &key, NULL));
	return key;
}

static struct host host_of(uint8_t group, bool mutual)
{
	struct host h = { .key = key_of(SECRET), .ctrlr_key = key_of(SECRET2) };
	struct fabric_auth_opts o = { .hashes = FABRIC_AUTH_ALL_HASHES, .groups = 1u << group, .mutual = mutual,
		.host_nqn = RIG_HOST, .subsystem_nqn = RIG_NQN, .t_id = 3 };

	fabric_auth_host_init(&h.a, &o);
	return h;
}

static struct nvme_sqe auth_sqe(uint8_t fctype, uint32_t len)
{
	struct nvme_sqe sqe = rig_sqe(NVME_ADMIN_FABRICS, 0);

	sqe.fctype = fctype;
	sqe.security = (struct nvme_security){ .spsp0 = 1, .spsp1 = 1, .secp = NVME_AUTH_SECP, .tl = le32_of(len) };
	return sqe;
}

/* One command. False: the host is done. */
static bool host_step(struct host *h, struct rig_qp *q)
{
	uint8_t message[FABRIC_AUTH_MESSAGE_MAX] = { 0 };
	enum fabric_auth_wants wants = fabric_auth_host_wants(&h->a);
	uint32_t len = wants == FABRIC_AUTH_SEND ? fabric_auth_host_give(&h->a, message) : sizeof(message);
	struct nvme_sqe sqe = auth_sqe(wants == FABRIC_AUTH_SEND ? NVME_FABRICS_AUTH_SEND : NVME_FABRICS_AUTH_RECEIVE, len);

	if (wants != FABRIC_AUTH_SEND && wants != FABRIC_AUTH_RECEIVE)
		return false;
	must(!rig_cmd(q, &sqe, message, len, NULL));
	if (wants == FABRIC_AUTH_RECEIVE && fabric_auth_host_take(&h->a, message, len))
		fabric_auth_host_work(&h->a, &h->key, &h->ctrlr_key);
	return true;
}

static bool host_proves(struct host *h, struct rig_qp *q)
{
	while (host_step(h, q))
		;
	fabric_auth_host_fini(&h->a);
	return fabric_auth_host_wants(&h->a) == FABRIC_AUTH_GOOD;
}

static bool prove(struct rig_qp *q, uint8_t group, bool mutual)
{
	struct host h = host_of(group, mutual);

	return host_proves(&h, q);
}

static uint16_t identify(struct rig_qp *q)
{
	struct nvme_sqe sqe = rig_sqe(NVME_ADMIN_IDENTIFY, 0);
	uint8_t data[4096];

	sqe.identify.cns = 1;
	return rig_cmd(q, &sqe, data, sizeof(data), NULL);
}

static struct rig_qp *connected_with(uint32_t kato_ms, uint16_t *ret_cntlid)
{
	struct rig_qp *q = rig_open(&rig, 0);
	struct nvme_sqe sqe = rig_connect_sqe(0, 32);
	struct nvmf_connect_data d;
	struct nvme_cqe cqe;

	rig_connect_data(&d, RIG_NQN, RIG_HOST, NVME_CNTLID_DYNAMIC);
	sqe.connect.kato = le32_of(kato_ms);
	assert_int_equal(rig_cmd(q, &sqe, &d, sizeof(d), &cqe), 0);
	assert_int_equal(le16_get(cqe.authreq), NVME_AUTHREQ_ATR);
	*ret_cntlid = le16_get(cqe.cntlid);
	assert_int_equal(identify(q), NVME_SC_AUTH_REQUIRED | NVME_SC_DNR);
	return q;
}

/* Nothing but authentication has a deadline. */
static struct rig_qp *connected(uint16_t *ret_cntlid) { return connected_with(0, ret_cntlid); }

static void end(struct rig_qp *q)
{
	if (!q->told_to_go) /* then it has begun to close */
		rig_close(q);
	assert_true(rig_gone(q));
}

/* --- tests ------------------------------------------------------------------------------------------------------- */

/* Who failed could talk on for ever, and keep the connection that it must not have. */
static void who_failed_gains_no_time_by_talking_on(void **state)
{
	uint16_t cntlid;
	struct rig_qp *q = connected(&cntlid);
	struct host h = host_of(NVMF_DH_NULL, false);
	uint8_t message[16] = { 0 };
	struct nvme_sqe sqe = auth_sqe(NVME_FABRICS_AUTH_SEND, sizeof(message));

	h.key = h.ctrlr_key;
	assert_false(host_proves(&h, q));
	for (uint32_t i = 0; i < 20 && !q->told_to_go; i++) {
		must(!rig_cmd(q, &sqe, message, sizeof(message), NULL));
		rig_pass(10 * NS_PER_MS);
	}
	assert_true(q->told_to_go);
	end(q);
}

/* What a transport says of a descriptor that is wrong. */
static void fail_here(void *arg)
{
	struct nvmf_req req = { .qpair = arg };

	nvmf_req_fail(&req, NVME_SC_SGL_INVALID_DATA | NVME_SC_DNR);
}

/* A stranger that knows the names would keep a host's controller alive that has died, or fill its error log. */
static void a_strangers_queue_is_none_of_the_controllers(void **state)
{
	uint16_t cntlid;
	struct rig_qp *q = connected_with(5000, &cntlid), *io;
	struct nvme_sqe read = rig_rw(NVME_CMD_READ, 1, 0, 1), log = rig_sqe(NVME_ADMIN_GET_LOG_PAGE, 0);
	struct nvme_error_log_page errors;
	uint8_t block[RIG_BLOCK];
	uint32_t s = 0;

	assert_true(prove(q, NVMF_DH_NULL, false));
	assert_int_equal(rig_property_set(q, NVME_REG_CC, RIG_CC_ENABLE), 0);
	io = rig_open(&rig, 1);
	assert_int_equal(rig_connect(io, 1, RIG_NQN, &cntlid), 0);
	assert_int_equal(rig_cmd(io, &read, block, sizeof(block), NULL), NVME_SC_AUTH_REQUIRED | NVME_SC_DNR);
	sim_as(core_reactor(rig.core, 1), fail_here, &io->qp);
	log.get_log_page.lid = NVME_LOG_ERROR;
	log.get_log_page.numdl = le16_of(sizeof(errors) / 4 - 1);
	assert_int_equal(rig_cmd(q, &log, &errors, sizeof(errors), NULL), 0);
	assert_int_equal(le64_get(errors.error_count), 0);
	for (; s < 20 && !q->told_to_go; s++) {
		assert_int_equal(rig_cmd(io, &read, block, sizeof(block), NULL), NVME_SC_AUTH_REQUIRED | NVME_SC_DNR);
		rig_pass(NS_PER_S);
	}
	assert_true(q->told_to_go);
	end(io);
	end(q);
}

/* A host would give up its queue for good because a stranger was faster. */
static void a_place_that_a_stranger_holds_is_free_again(void **state)
{
	uint16_t cntlid;
	struct rig_qp *q = connected(&cntlid), *stranger, *io;

	assert_true(prove(q, NVMF_DH_NULL, false));
	assert_int_equal(rig_property_set(q, NVME_REG_CC, RIG_CC_ENABLE), 0);
	stranger = rig_open(&rig, 1);
	assert_int_equal(rig_connect(stranger, 1, RIG_NQN, &cntlid), 0);
	io = rig_open(&rig, 1);
	assert_int_equal(rig_connect(io, 1, RIG_NQN, &cntlid), NVME_SC_QID_INVALID);
	rig_pass(31 * NS_PER_S);
	assert_true(stranger->told_to_go);
	end(stranger);
	assert_int_equal(rig_connect(io, 1, RIG_NQN, &cntlid), 0);
	assert_true(prove(io, NVMF_DH_NULL, false));
	stranger = rig_open(&rig, 1);
	assert_int_equal(rig_connect(stranger, 1, RIG_NQN, &cntlid), NVME_SC_QID_INVALID | NVME_SC_DNR);
	end(stranger);
	end(io);
	end(q);
}

/* Strangers would take every helper, and name resolution, files and adapters would wait for them; or work that waits
 * for its turn would be used after its queue's end. */
static void many_at_once_take_turns(void **state)
{
	enum { MANY = 12 };
	struct rig_qp *q[MANY];
	struct rig_req *rq[MANY];
	uint8_t messages[MANY][FABRIC_AUTH_MESSAGE_MAX];
	struct host h[MANY];
	uint16_t cntlid;

	for (uint32_t i = 0; i < MANY; i++) {
		q[i] = connected(&cntlid);
		h[i] = host_of(NVMF_DH_2048, false);
	}
	for (uint32_t i = 0; i < MANY; i++) {
		uint32_t len = fabric_auth_host_give(&h[i].a, messages[i]);
		struct nvme_sqe sqe = auth_sqe(NVME_FABRICS_AUTH_SEND, len);

		rq[i] = rig_send(q[i], &sqe, messages[i], len);
	}
	for (uint32_t i = 0; i < MANY; i += 2)
		rig_close(q[i]);
	for (uint32_t i = 0; i < MANY; i++) {
		assert_true(rig_wait(rq[i], NS_PER_S));
		rig_end(rq[i]);
		if (i % 2) {
			assert_true(host_proves(&h[i], q[i]));
			end(q[i]);
		} else {
			assert_true(rig_gone(q[i]));
			fabric_auth_host_fini(&h[i].a);
		}
	}
}

/* A host with the right keys would not be served; or its I/O queue without a proof of its own would. */
static void each_queue_is_served_after_its_proof(void **state)
{
	uint16_t cntlid;
	struct rig_qp *admin = connected(&cntlid), *io;
	struct nvme_sqe read = rig_rw(NVME_CMD_READ, 1, 0, 1);
	uint8_t block[RIG_BLOCK];

	assert_true(prove(admin, NVMF_DH_2048, true));
	assert_int_equal(rig_property_set(admin, NVME_REG_CC, RIG_CC_ENABLE), 0);
	assert_int_equal(identify(admin), 0);
	io = rig_open(&rig, 1);
	assert_int_equal(rig_connect(io, 1, RIG_NQN, &cntlid), 0);
	assert_int_equal(rig_cmd(io, &read, block, sizeof(block), NULL), NVME_SC_AUTH_REQUIRED | NVME_SC_DNR);
	assert_true(prove(io, NVMF_DH_NULL, false));
	assert_int_equal(rig_cmd(io, &read, block, sizeof(block), NULL), 0);
	end(io);
	end(admin);
}

/* Connections that never prove anything would add up. */
static void who_does_not_prove_it_in_time_is_disconnected(void **state)
{
	for (uint32_t steps = 0; steps <= 3; steps++) {
		uint16_t cntlid;
		struct rig_qp *q = connected(&cntlid);
		struct host h = host_of(NVMF_DH_NULL, false);

		rig_pass(20 * NS_PER_S);
		for (uint32_t i = 0; i < steps; i++)
			assert_true(host_step(&h, q));
		rig_pass(5 * NS_PER_S);
		assert_false(q->told_to_go);
		rig_pass(6 * NS_PER_S);
		assert_true(q->told_to_go);
		fabric_auth_host_fini(&h.a);
		end(q);
	}
}

/* A host that computes for long (Linux's, in a group of 8192 bits) sends no keep-alive meanwhile. */
static void keep_alive_counts_after_the_proof(void **state)
{
	uint16_t cntlid;
	struct rig_qp *q = connected_with(5000, &cntlid);
	struct host h = host_of(NVMF_DH_NULL, false);

	assert_true(host_step(&h, q) && host_step(&h, q));
	rig_pass(20 * NS_PER_S);
	assert_false(q->told_to_go);
	assert_true(host_proves(&h, q));
	assert_int_equal(rig_property_set(q, NVME_REG_CC, RIG_CC_ENABLE), 0);
	rig_pass(4 * NS_PER_S);
	assert_int_equal(identify(q), 0);
	rig_pass(11 * NS_PER_S);
	assert_true(q->told_to_go);
	end(q);
}

/* A queue that is at work would be lost because of a proof that nobody needed. */
static void a_second_proof_that_is_not_finished_does_no_harm(void **state)
{
	uint16_t cntlid;
	struct rig_qp *q = connected(&cntlid);
	struct host h = host_of(NVMF_DH_2048, true);

	assert_true(prove(q, NVMF_DH_NULL, false));
	assert_int_equal(rig_property_set(q, NVME_REG_CC, RIG_CC_ENABLE), 0);
	assert_true(host_step(&h, q) && host_step(&h, q));
	rig_pass(31 * NS_PER_S);
	assert_false(q->told_to_go);
	assert_int_equal(identify(q), 0);
	fabric_auth_host_fini(&h.a);
	assert_true(prove(q, NVMF_DH_2048, true));
	assert_int_equal(identify(q), 0);
	end(q);
}

/* A connection that the scheduler moves would forget how far it was, or that it has a deadline. */
static void a_conversation_goes_on_on_another_core(void **state)
{
	uint16_t cntlid;
	struct rig_qp *q = connected(&cntlid);
	struct host h = host_of(NVMF_DH_2048, true);

	for (uint32_t core = 1; host_step(&h, q); core = !core)
		rig_move(q, core);
	fabric_auth_host_fini(&h.a);
	assert_int_equal(fabric_auth_host_wants(&h.a), FABRIC_AUTH_GOOD);
	assert_int_equal(rig_property_set(q, NVME_REG_CC, RIG_CC_ENABLE), 0);
	rig_move(q, 0);
	assert_int_equal(identify(q), 0);
	rig_pass(60 * NS_PER_S);
	assert_false(q->told_to_go);
	end(q);

	q = connected(&cntlid);
	rig_move(q, 1);
	rig_pass(31 * NS_PER_S);
	assert_true(q->told_to_go);
	end(q);
}

static void a_wrong_key_ends_the_connection(void **state)
{
	uint16_t cntlid;
	struct rig_qp *q = connected(&cntlid);
	struct host h = host_of(NVMF_DH_2048, false);

	h.key = h.ctrlr_key;
	assert_false(host_proves(&h, q));
	assert_int_equal(h.a.c.failure, NVMF_AUTH_EXPL_FAILED);
	assert_int_equal(identify(q), NVME_SC_AUTH_REQUIRED | NVME_SC_DNR);
	rig_pass(NS_PER_S);
	assert_true(q->told_to_go);
	end(q);
}

/* The old key would go on to open the door, or those inside would be thrown out. */
static void keys_change_for_proofs_to_come(void **state)
{
	struct nvmf_host_keys second = { .key = keys[1], .set_key = true };
	uint16_t cntlid;
	struct rig_qp *q = connected(&cntlid), *r;
	struct host h = host_of(NVMF_DH_NULL, false);

	assert_true(prove(q, NVMF_DH_NULL, false));
	assert_int_equal(rig_property_set(q, NVME_REG_CC, RIG_CC_ENABLE), 0);
	assert_int_equal(rig_set_host_keys(&rig, RIG_HOST, &second), 0);
	assert_int_equal(identify(q), 0);
	r = connected(&cntlid);
	assert_false(prove(r, NVMF_DH_NULL, false));
	end(r);
	r = connected(&cntlid);
	h.key = h.ctrlr_key;
	assert_true(host_proves(&h, r));
	end(r);
	end(q);
	assert_int_equal(rig_set_host_keys(&rig, "nqn.2026-01.io.gantry:nobody", &second), -ENOENT);
}

/* A job would write into a queue pair that is gone. */
static void a_queue_that_closes_waits_for_its_work(void **state)
{
	for (uint32_t us = 0; us < 2000; us += 100) {
		uint16_t cntlid;
		struct rig_qp *q = connected(&cntlid);
		struct host h = host_of(NVMF_DH_2048, false);
		uint8_t message[FABRIC_AUTH_MESSAGE_MAX];
		uint32_t len = fabric_auth_host_give(&h.a, message);
		struct nvme_sqe sqe = auth_sqe(NVME_FABRICS_AUTH_SEND, len);
		struct rig_req *rq = rig_send(q, &sqe, message, len);

		rig_pass(us * NS_PER_US);
		rig_close(q);
		assert_true(rig_wait(rq, NS_PER_S));
		rig_end(rq);
		assert_true(rig_gone(q));
		fabric_auth_host_fini(&h.a);
	}
}

int main(void)
{
#define T(test) cmocka_unit_test_setup_teardown(test, start, stop)
	const struct CMUnitTest tests[] = {
		T(each_queue_is_served_after_its_proof),
		T(who_failed_gains_no_time_by_talking_on),
		T(a_strangers_queue_is_none_of_the_controllers),
		T(a_place_that_a_stranger_holds_is_free_again),
		T(many_at_once_take_turns),
		T(who_does_not_prove_it_in_time_is_disconnected),
		T(keep_alive_counts_after_the_proof),
		T(a_second_proof_that_is_not_finished_does_no_harm),
		T(a_conversation_goes_on_on_another_core),
		T(a_wrong_key_ends_the_connection),
		T(keys_change_for_proofs_to_come),
		T(a_queue_that_closes_waits_for_its_work),
	};
#undef T

	return cmocka_run_group_tests(tests, NULL, NULL);
}
