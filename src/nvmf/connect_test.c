/* SPDX-License-Identifier: BSD-3-Clause */
/* connect_test.c: Connect, properties, keep-alive, and how controllers end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "nvmf/test_rig.h"

static struct rig rig;

static int start(void **state)
{
	rig_start(&rig, 1);
	return 0;
}

static int stop(void **state)
{
	rig_stop(&rig);
	return 0;
}

#define BAD_FIELD (NVME_SC_INVALID_FIELD | NVME_SC_DNR)
#define BAD_PARAM (NVME_SC_CONNECT_INVALID_PARAM | NVME_SC_DNR)

/* A Connect with one thing changed by the caller. */
struct try {
	struct nvme_sqe sqe;
	struct nvmf_connect_data data;
	struct nvme_cqe cqe;
};

static struct try try_of(uint16_t qid, uint16_t cntlid)
{
	struct try t = { .sqe = rig_connect_sqe(qid, 32) };

	rig_connect_data(&t.data, RIG_NQN, RIG_HOST, cntlid);
	return t;
}

static uint16_t try(struct try *t)
{
	struct rig_qp *q = rig_open(&rig, 0);
	uint16_t status = rig_cmd(q, &t->sqe, &t->data, sizeof(t->data), &t->cqe);

	rig_close(q);
	assert_true(rig_gone(q));
	return status;
}

static void assert_bad(const struct try *t, uint8_t iattr, uint16_t ipo)
{
	assert_int_equal(nvme_cqe_status(&t->cqe), BAD_PARAM);
	assert_int_equal(t->cqe.iattr, iattr);
	assert_int_equal(le16_get(t->cqe.ipo), ipo);
}

/* A host finds out which field was wrong from iattr and ipo. */
static void connect_names_the_field_that_is_wrong(void **state)
{
	struct try t = try_of(0, NVME_CNTLID_DYNAMIC);

	t.sqe.connect.sqsize = le16_of(0);
	try(&t);
	assert_bad(&t, 0, 44);
	t = try_of(0, NVME_CNTLID_DYNAMIC);
	t.sqe.connect.sqsize = le16_of(32);
	try(&t);
	assert_bad(&t, 0, 44);
	t = try_of(0, 1);
	try(&t);
	assert_bad(&t, 1, 16);
	t = try_of(0, NVME_CNTLID_DYNAMIC);
	memset(t.data.subsysnqn, 'x', 256);
	try(&t);
	assert_bad(&t, 1, 256);
	t = try_of(0, NVME_CNTLID_DYNAMIC);
	memset(t.data.hostnqn, 'x', 256);
	try(&t);
	assert_bad(&t, 1, 512);
	t = try_of(0, NVME_CNTLID_DYNAMIC);
	text_pad(t.data.subsysnqn, 256, "nqn.2026-01.io.gantry:other", 0);
	try(&t);
	assert_bad(&t, 1, 256);
}

static void connect_of_another_format(void **state)
{
	struct try t = try_of(0, NVME_CNTLID_DYNAMIC);

	t.sqe.connect.recfmt = le16_of(1);
	assert_int_equal(try(&t), NVME_SC_CONNECT_FORMAT | NVME_SC_DNR);
}

static void connect_of_a_host_or_way_not_allowed(void **state)
{
	struct try t = try_of(0, NVME_CNTLID_DYNAMIC);
	struct rig_qp *q;
	uint16_t cntlid;

	text_pad(t.data.hostnqn, 256, "nqn.2026-01.io.gantry:stranger", 0);
	assert_int_equal(try(&t), NVME_SC_CONNECT_INVALID_HOST | NVME_SC_DNR);
	assert_int_equal(rig_allow_any(&rig, true), 0);
	assert_int_equal(try(&t), 0);
	q = rig_open(&rig, 1);
	net_addr_set_port(&q->local, 4421);
	assert_int_equal(rig_connect(q, 0, RIG_NQN, &cntlid), NVME_SC_CONNECT_INVALID_HOST | NVME_SC_DNR);
	assert_int_equal(rig_connect(q, 0, NVMF_DISCOVERY_NQN, &cntlid), 0);
}

static void nothing_but_connect_comes_first(void **state)
{
	struct rig_qp *q = rig_open(&rig, 0);
	struct nvme_sqe sqe = rig_sqe(NVME_ADMIN_IDENTIFY, 0);
	uint16_t cntlid;

	assert_int_equal(rig_cmd(q, &sqe, NULL, 0, NULL), NVME_SC_CMD_SEQ_ERROR | NVME_SC_DNR);
	assert_int_equal(rig_property_set(q, NVME_REG_CC, 1), NVME_SC_CMD_SEQ_ERROR | NVME_SC_DNR);
	assert_int_equal(rig_connect(q, 0, RIG_NQN, &cntlid), 0);
	assert_int_equal(rig_connect(q, 0, RIG_NQN, &cntlid), NVME_SC_CMD_SEQ_ERROR | NVME_SC_DNR);
	assert_int_equal(rig_cmd(q, &sqe, NULL, 0, NULL), NVME_SC_CMD_SEQ_ERROR | NVME_SC_DNR); /* not enabled */
	assert_int_equal(q->size, 32);
}

static void io_queues_join_once_and_only_when_enabled(void **state)
{
	struct rig_qp *admin = rig_open(&rig, 0), *q;
	uint16_t cntlid, other = 4711;
	struct try t;

	assert_int_equal(rig_connect(admin, 0, RIG_NQN, &cntlid), 0);
	t = try_of(1, cntlid);
	try(&t);
	assert_bad(&t, 0, 42); /* CC.EN is 0 */
	assert_int_equal(rig_property_set(admin, NVME_REG_CC, RIG_CC_ENABLE), 0);
	q = rig_io(&rig, 1, 1, cntlid);
	assert_int_equal(q->qp.qid, 1);
	t = try_of(1, cntlid);
	assert_int_equal(try(&t), NVME_SC_QID_INVALID | NVME_SC_DNR);
	t = try_of(9, cntlid);
	assert_int_equal(try(&t), NVME_SC_QID_INVALID | NVME_SC_DNR);
	t = try_of(2, other);
	try(&t);
	assert_bad(&t, 1, 16);
	t = try_of(2, cntlid);
	text_pad(t.data.hostnqn, 256, "nqn.2026-01.io.gantry:stranger", 0);
	assert_int_equal(try(&t), NVME_SC_CONNECT_INVALID_HOST | NVME_SC_DNR);
	rig_close(q);
	assert_true(rig_gone(q));
	rig_io(&rig, 2, 1, cntlid); /* the id is free again */
}

/* Ids are not used again at once, nor by two at a time. */
static void controller_ids_differ(void **state)
{
	uint16_t a, b, c;
	struct rig_qp *qa = rig_admin(&rig, 0, &a);

	rig_admin(&rig, 1, &b);
	assert_int_not_equal(a, b);
	rig_close(qa);
	assert_true(rig_gone(qa));
	rig_admin(&rig, 2, &c);
	assert_int_not_equal(c, a);
	assert_int_not_equal(c, b);
}

static void properties(void **state)
{
	struct rig_qp *q = rig_open(&rig, 0);
	struct nvme_sqe sqe = rig_sqe(NVME_ADMIN_FABRICS, 0);
	uint16_t cntlid;
	uint64_t cap;

	assert_int_equal(rig_connect(q, 0, RIG_NQN, &cntlid), 0);
	cap = rig_property_get(q, NVME_REG_CAP, true);
	assert_int_equal(nvme_cap_mqes(cap), 127);
	assert_int_equal(nvme_cap_cqr(cap), 1);
	assert_int_equal(nvme_cap_css(cap), 1);
	assert_int_equal(nvme_cap_crms(cap), 1);
	assert_int_equal(nvme_cap_to(cap), nvme_crto_crwmt(rig_property_get(q, NVME_REG_CRTO, false)));
	assert_int_equal(nvme_cap_nssrs(cap), 0);
	assert_int_equal(rig_property_set(q, NVME_REG_NSSR, 0x4e564d65), BAD_FIELD);
	assert_int_equal(rig_property_get(q, NVME_REG_VS, false), NVME_VERSION(2, 0, 0));
	assert_int_equal(rig_property_get(q, NVME_REG_CSTS, false), 0);
	assert_int_equal(rig_property_set(q, NVME_REG_CC, RIG_CC_ENABLE), 0);
	assert_int_equal(rig_property_get(q, NVME_REG_CSTS, false), 1);
	assert_int_equal(rig_property_get(q, NVME_REG_CC, false), RIG_CC_ENABLE);
	assert_int_equal(rig_property_set(q, NVME_REG_CSTS, 0), 0); /* nothing in it can be set */
	assert_int_equal(rig_property_get(q, NVME_REG_CSTS, false), 1);
	assert_int_equal(rig_property_set(q, NVME_REG_VS, 0), BAD_FIELD);
	assert_int_equal(rig_property_set(q, NVME_REG_CC, RIG_CC_ENABLE | 1 << 7), BAD_FIELD);
	sqe.fctype = NVME_FABRICS_PROPERTY_GET;
	sqe.property.ofst = le32_of(NVME_REG_VS);
	sqe.property.attrib = 1;
	assert_int_equal(rig_cmd(q, &sqe, NULL, 0, NULL), NVME_SC_INVALID_FIELD);
	sqe.property.attrib = 0;
	sqe.property.ofst = le32_of(0x1000);
	assert_int_equal(rig_cmd(q, &sqe, NULL, 0, NULL), NVME_SC_INVALID_FIELD);
	sqe.fctype = NVME_FABRICS_DISCONNECT;
	sqe.property.ofst = le32_of(0);
	assert_int_equal(rig_cmd(q, &sqe, NULL, 0, NULL), NVME_SC_DISCONNECT_INVALID_QTYPE | NVME_SC_DNR);
	sqe.fctype = 9;
	assert_int_equal(rig_cmd(q, &sqe, NULL, 0, NULL), NVME_SC_INVALID_OPCODE | NVME_SC_DNR);
}

/* One queue goes, its controller and the others stay; its number may be used again. */
static void queues_disconnect(void **state)
{
	uint16_t cntlid;
	struct rig_qp *admin = rig_admin(&rig, 0, &cntlid), *first = rig_io(&rig, 1, 1, cntlid);
	struct rig_qp *second = rig_io(&rig, 2, 2, cntlid);
	struct nvme_sqe sqe = rig_sqe(NVME_ADMIN_FABRICS, 0);

	sqe.fctype = NVME_FABRICS_DISCONNECT;
	sqe.disconnect.recfmt = le16_of(1);
	assert_int_equal(rig_cmd(first, &sqe, NULL, 0, NULL), NVME_SC_CONNECT_FORMAT | NVME_SC_DNR);
	sqe.disconnect.recfmt = le16_of(0);
	assert_int_equal(rig_cmd(first, &sqe, NULL, 0, NULL), 0);
	assert_true(rig_gone(first));
	rig_pass(NS_PER_MS);
	assert_false(second->told_to_go || admin->told_to_go);
	rig_io(&rig, 0, 1, cntlid);
}

/* CSTS says that a reset or shutdown is over when the I/O queues are gone and the lease is revoked; not before. */
static void reset_and_shutdown(void **state)
{
	uint16_t cntlid;
	struct rig_qp *admin = rig_admin(&rig, 0, &cntlid), *io = rig_io(&rig, 1, 1, cntlid);
	uint32_t epoch = bdev_lease_epoch(&admin->qp.ctrlr->lease);

	assert_int_equal(rig_property_set(admin, NVME_REG_CC, 0), 0);
	assert_true(rig_gone(io));
	rig_pass(NS_PER_MS);
	assert_int_equal(rig_property_get(admin, NVME_REG_CSTS, false), 0);
	assert_int_not_equal(bdev_lease_epoch(&admin->qp.ctrlr->lease), epoch);
	assert_int_equal(rig_property_set(admin, NVME_REG_CC, RIG_CC_ENABLE), 0);
	assert_int_equal(rig_property_get(admin, NVME_REG_CSTS, false), 1);
	assert_int_equal(admin->qp.ctrlr->aer_config, NVME_OAES_NS);
	io = rig_io(&rig, 2, 1, cntlid);
	assert_int_equal(rig_property_set(admin, NVME_REG_CC, RIG_CC_ENABLE | 1 << 14), 0);
	assert_true(rig_gone(io));
	rig_pass(NS_PER_MS);
	assert_int_equal(nvme_csts_shst(rig_property_get(admin, NVME_REG_CSTS, false)), 2);
}

/* Losing the admin queue takes the controller's other queues along. */
static void admin_queue_lost(void **state)
{
	uint16_t cntlid;
	struct rig_qp *admin = rig_admin(&rig, 0, &cntlid), *io = rig_io(&rig, 1, 3, cntlid);

	rig_close(admin);
	assert_true(rig_gone(admin));
	assert_true(rig_gone(io));
	rig_pass(NS_PER_MS);
	assert_int_equal(rig.target->ctrlrs_alive, 0);
}

/* Two Connects at once on one queue: the second is out of sequence, though the first is not answered yet. Both
 * would found a controller, and the queue could belong to one only. */
static void connect_while_connecting(void **state)
{
	struct rig_qp *q = rig_open(&rig, 0);
	struct try t = try_of(0, NVME_CNTLID_DYNAMIC);
	struct rig_req *first = rig_send(q, &t.sqe, &t.data, sizeof(t.data));
	struct rig_req *second = rig_send(q, &t.sqe, &t.data, sizeof(t.data));

	assert_true(rig_wait(first, NS_PER_MS) && rig_wait(second, NS_PER_MS));
	assert_int_equal(rig_end(first), NVME_SC_SUCCESS);
	assert_int_equal(rig_end(second), NVME_SC_CMD_SEQ_ERROR | NVME_SC_DNR);
	assert_int_equal(rig.target->ctrlrs_alive, 1);
	rig_close(q);
	assert_true(rig_gone(q));
}

/* The connection may go while the control reactor decides on its Connect. */
static void connection_lost_in_connect(void **state)
{
	for (uint32_t steps = 0; steps < 12; steps++) {
		struct rig_qp *q = rig_open(&rig, 0);
		struct try t = try_of(0, NVME_CNTLID_DYNAMIC);
		struct rig_req *rq = rig_send(q, &t.sqe, &t.data, sizeof(t.data));

		for (uint32_t i = 0; i < steps; i++)
			sim_step();
		rig_close(q);
		assert_true(rig_gone(q));
		rig_end(rq);
		rig_pass(NS_PER_MS);
		assert_int_equal(rig.target->ctrlrs_alive, 0);
	}
}

/* A silent host loses its controller; one whose I/O queue speaks on another core does not. */
static void keep_alive(void **state)
{
	uint16_t cntlid;
	struct rig_qp *admin = rig_admin(&rig, 0, &cntlid), *io = rig_io(&rig, 1, 1, cntlid);
	struct nvme_sqe flush = rig_sqe(NVME_CMD_FLUSH, 1), alive = rig_sqe(NVME_ADMIN_KEEP_ALIVE, 0);

	for (int i = 0; i < 5; i++) {
		rig_pass(4 * NS_PER_S);
		assert_int_equal(rig_cmd(io, &flush, NULL, 0, NULL), 0);
		assert_false(admin->told_to_go);
	}
	rig_pass(4 * NS_PER_S);
	assert_int_equal(rig_cmd(admin, &alive, NULL, 0, NULL), 0);
	rig_pass(4 * NS_PER_S);
	assert_false(admin->told_to_go);
	rig_pass(2 * NS_PER_S);
	assert_true(admin->told_to_go && admin->closed && io->closed);
}

/* Moving a queue pair takes its timer and what is addressed to it along. */
static void moving(void **state)
{
	uint16_t cntlid;
	struct rig_qp *admin = rig_admin(&rig, 0, &cntlid), *io = rig_io(&rig, 1, 1, cntlid);
	struct nvme_sqe flush = rig_sqe(NVME_CMD_FLUSH, 1);

	rig_move(io, 2);
	assert_int_equal(rig_cmd(io, &flush, NULL, 0, NULL), 0);
	rig_move(admin, 1);
	assert_int_equal(rig_remove_ns(&rig, 2), 0);
	rig_pass(6 * NS_PER_S);
	assert_true(admin->closed && io->closed);
}

/* A host that hears DNR gives an I/O up, though another path would take it. */
static void io_of_a_lost_controller_may_be_retried(void **state)
{
	struct nvme_sqe flush = rig_sqe(NVME_CMD_FLUSH, 1);
	uint16_t cntlid;
	struct rig_qp *admin = rig_admin(&rig, 0, &cntlid), *io = rig_io(&rig, 1, 1, cntlid);
	struct rig_req *rq;

	rig_close(admin);
	rq = rig_send(io, &flush, NULL, 0); /* before it is told to go */
	assert_int_equal(rig_end(rq), NVME_SC_ABORT_QUEUE);
	assert_true(rig_gone(admin));
	assert_true(rig_gone(io));
}

/* Mail that comes between two cores is not lost. */
static void told_to_go_while_moving(void **state)
{
	uint16_t cntlid;
	struct rig_qp *admin = rig_admin(&rig, 0, &cntlid), *io = rig_io(&rig, 1, 1, cntlid);

	rig_close(admin);
	rig_move(io, 2);
	assert_true(rig_gone(admin));
	assert_true(rig_gone(io));
}

static void host_removed(void **state)
{
	uint16_t cntlid;
	struct rig_qp *admin = rig_admin(&rig, 0, &cntlid), *io = rig_io(&rig, 1, 1, cntlid);

	assert_int_equal(rig_remove_host(&rig, RIG_HOST), 0);
	assert_true(admin->closed && io->closed);
	assert_int_equal(rig_remove_host(&rig, RIG_HOST), -ENOENT);
}

static void subsystem_removed(void **state)
{
	uint16_t cntlid;
	struct rig_qp *admin = rig_admin(&rig, 0, &cntlid), *io = rig_io(&rig, 1, 1, cntlid);

	assert_int_equal(rig_remove_subsystem(&rig, RIG_NQN), 0);
	assert_true(admin->closed && io->closed);
	assert_int_equal(rig.listens, 0);
	assert_int_equal(rig.target->ns_alive, 0);
	assert_int_equal(rig_add_subsystem(&rig, RIG_NQN), 0);
	assert_int_equal(rig_add_ns(&rig, "ram", 0), 0);
}

static struct nvmf_change removal;
static bool is_removed;

static void removal_done(struct nvmf_change *c)
{
	is_removed = true;
}

static void begin_removal(void *arg)
{
	removal = (struct nvmf_change){ .target = rig.target, .done = removal_done };
	nvmf_remove_subsystem(&removal, RIG_NQN);
}

static bool removal_is_done(void *arg)
{
	return is_removed;
}

static void unpin_here(void *arg)
{
	nvmf_qpair_unpin(arg);
}

/* Its queue pairs would be served what another one has. */
static void a_place_is_not_taken_while_controllers_of_a_removed_subsystem_are_left(void **state)
{
	uint32_t id = nvmf_config_find(rig.target->config, RIG_NQN)->id;
	uint16_t cntlid;
	struct rig_qp *admin = rig_admin(&rig, 0, &cntlid);

	is_removed = false;
	nvmf_qpair_pin(&admin->qp); /* something of it takes its time */
	sim_as(core_control(rig.core), begin_removal, NULL);
	assert_int_equal(rig_add_subsystem(&rig, RIG_NQN "2"), 0);
	assert_false(is_removed);
	assert_int_not_equal(nvmf_config_find(rig.target->config, RIG_NQN "2")->id, id);
	sim_as(core_reactor(rig.core, 0), unpin_here, &admin->qp);
	assert_true(sim_run(removal_is_done, NULL, 10 * NS_PER_S));
	assert_int_equal(rig_add_subsystem(&rig, RIG_NQN "3"), 0);
	assert_int_equal(nvmf_config_find(rig.target->config, RIG_NQN "3")->id, id);
}

static void begin_transition(void *arg)
{
	struct net_addr addr;

	must(!net_addr_parse(NET_IPV4, "127.0.0.1", "4420", &addr, NULL));
	removal = (struct nvmf_change){ .target = rig.target, .done = removal_done };
	nvmf_set_ana_state(&removal, RIG_NQN, "tcp", &addr, 1, NVME_ANA_INACCESSIBLE, 1);
}

static bool is_published(void *arg)
{
	return rig.target->config->change > *(uint64_t *)arg;
}

/* Its timer would come to a target that is no more. */
static void a_transition_that_is_just_published_when_the_target_stops_does_not_begin(void **state)
{
	uint64_t change = rig.target->config->change;

	is_removed = false;
	nvmf_config_find(rig.target->config, RIG_NQN)->ana_reporting = true; /* versions to come are copies */
	sim_as(core_control(rig.core), begin_transition, NULL);
	assert_true(sim_run(is_published, &change, NS_PER_S));
	assert_false(is_removed);
	/* stop() follows */
}

static void listener_removed(void **state)
{
	uint16_t cntlid;
	struct rig_qp *admin = rig_admin(&rig, 0, &cntlid);

	assert_int_equal(rig_add_listener(&rig, "127.0.0.2", "4420"), 0);
	assert_int_equal(rig_add_listener(&rig, "127.0.0.2", "4420"), 0);
	assert_int_equal(rig.listens, 2);
	assert_int_equal(rig_add_listener(&rig, "127.0.0.2", "666"), -EADDRINUSE);
	assert_int_equal(rig_remove_listener(&rig, "127.0.0.2", "4420"), 0);
	assert_false(admin->told_to_go);
	assert_int_equal(rig_remove_listener(&rig, "127.0.0.1", "4420"), 0);
	assert_true(admin->closed);
	assert_int_equal(rig.listens, 0);
	assert_int_equal(rig_remove_listener(&rig, "127.0.0.1", "4420"), -ENOENT);
}

static void names_are_checked(void **state)
{
	assert_int_equal(rig_add_subsystem(&rig, "nonsense"), ERR_BAD_PARAM);
	assert_int_equal(rig_add_subsystem(&rig, "nqn.2026-01.io.gantry"), ERR_BAD_PARAM);
	assert_int_equal(rig_add_subsystem(&rig, "nqn.2014-08.org.nvmexpress:uuid:zzz"), ERR_BAD_PARAM);
	assert_int_equal(rig_add_subsystem(&rig, RIG_NQN), -EEXIST);
	assert_int_equal(rig_add_ns(&rig, "nobody", 0), -ENODEV);
	assert_int_equal(rig_add_ns(&rig, "ram", 0), -EPERM);
	assert_int_equal(rig_add_ns(&rig, "spare", 33), ERR_BAD_PARAM);
	assert_int_equal(rig_add_ns(&rig, "spare", 1), -EEXIST);
	assert_int_equal(rig_add_ns(&rig, "spare", 5), 0);
	assert_int_equal(rig.change.nsid, 5);
	assert_int_equal(rig_remove_ns(&rig, 6), -ENOENT);
	assert_int_equal(rig_add_host(&rig, RIG_HOST), -EEXIST);
	assert_int_equal(rig_remove_subsystem(&rig, NVMF_DISCOVERY_NQN), -ENOENT);
}

#define T(name) cmocka_unit_test_setup_teardown(name, start, stop)
int main(void)
{
	const struct CMUnitTest tests[] = {
		T(connect_names_the_field_that_is_wrong), T(connect_of_another_format), T(connect_of_a_host_or_way_not_allowed),
		T(nothing_but_connect_comes_first), T(io_queues_join_once_and_only_when_enabled), T(controller_ids_differ),
		T(properties), T(queues_disconnect), T(reset_and_shutdown), T(admin_queue_lost), T(connect_while_connecting),
		T(connection_lost_in_connect), T(keep_alive),
		T(moving), T(io_of_a_lost_controller_may_be_retried), T(told_to_go_while_moving), T(host_removed),
		T(subsystem_removed),
		T(a_place_is_not_taken_while_controllers_of_a_removed_subsystem_are_left),
		T(a_transition_that_is_just_published_when_the_target_stops_does_not_begin),
		T(listener_removed), T(names_are_checked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
