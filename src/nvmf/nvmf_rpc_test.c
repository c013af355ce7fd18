/* SPDX-License-Identifier: BSD-3-Clause */
/* nvmf_rpc_test.c: the methods as scripts call them: results have SPDK's shapes, errors name what was wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "bdev/bdev_device.h"
#include "nvmf/nvmf_rpc.h"
#include "nvmf/test_rig.h"
#include "rpc/rpc.h"

#define NQN "nqn.2026-01.io.gantry:made"
static struct rig rig;
static struct rpc *rpc;

struct ask {
	const char *method, *params;
	struct json_object *result;
	struct err err;
	bool done;
};

static void make_rpc(void *arg)
{
	rpc = rpc_make(rig.core);
	nvmf_rpc_add(rpc, rig.target);
	rpc_set_running(rpc, true);
}

static int start(void **state)
{
	rig_start(&rig, 4);
	sim_as(core_control(rig.core), make_rpc, NULL);
	return 0;
}

static void free_rpc(void *arg)
{
	rpc_free(rpc);
}

static int stop(void **state)
{
	sim_as(core_control(rig.core), free_rpc, NULL);
	rig_stop(&rig);
	return 0;
}

static void answered(void *arg, struct json_object *result, const struct err *e)
{
	struct ask *a = arg;

	a->result = result ? json_object_get(result) : NULL;
	if (e)
		a->err = *e;
	a->done = true;
}

static void ask_here(void *arg)
{
	struct ask *a = arg;
	struct json_object *params = a->params ? json_tokener_parse(a->params) : NULL;

	must(!a->params || params);
	rpc_call_inside(rpc, a->method, params, answered, a);
	json_object_put(params);
}

static bool is_answered(void *arg)
{
	return ((struct ask *)arg)->done;
}

static struct ask ask(const char *method, const char *params)
{
	struct ask a = { .method = method, .params = params };

	sim_as(core_control(rig.core), ask_here, &a);
	must(sim_run(is_answered, &a, 10 * NS_PER_S));
	return a;
}

static void expect_ok(const char *method, const char *params)
{
	struct ask a = ask(method, params);

	if (a.err.code)
		fail_msg("%s: %s", method, a.err.text);
	json_object_put(a.result);
}

static void expect_error(const char *method, const char *params, int code, const char *says)
{
	struct ask a = ask(method, params);

	assert_int_equal(a.err.code, code);
	if (!strstr(a.err.text, says))
		fail_msg("%s says: %s", method, a.err.text);
}

static struct json_object *get(struct json_object *o, const char *key)
{
	struct json_object *v = NULL;

	if (!json_object_object_get_ex(o, key, &v))
		fail_msg("no '%s' in %s", key, json_object_to_json_string(o));
	return v;
}

static void a_subsystem_from_making_to_deleting(void **state)
{
	struct ask a;
	struct json_object *s;

	expect_ok("nvmf_create_subsystem", "{\"nqn\":\"" NQN "\",\"serial_number\":\"S1\",\"max_namespaces\":4}");
	a = ask("nvmf_subsystem_add_ns", "{\"nqn\":\"" NQN "\",\"namespace\":{\"bdev_name\":\"spare\",\"nsid\":3,"
	        "\"eui64\":\"0011223344556677\"}}");
	assert_int_equal(json_object_get_int(a.result), 3);
	json_object_put(a.result);
	expect_ok("nvmf_subsystem_add_host", "{\"nqn\":\"" NQN "\",\"host\":\"" RIG_HOST "\"}");
	expect_ok("nvmf_subsystem_allow_any_host", "{\"nqn\":\"" NQN "\",\"allow_any_host\":true}");
	expect_ok("nvmf_subsystem_add_listener", "{\"nqn\":\"" NQN "\",\"listen_address\":{\"trtype\":\"tcp\","
	          "\"adrfam\":\"IPv4\",\"traddr\":\"127.0.0.1\",\"trsvcid\":\"4444\"}}");
	a = ask("nvmf_get_subsystems", "{\"nqn\":\"" NQN "\"}");
	assert_int_equal(json_object_array_length(a.result), 1);
	s = json_object_array_get_idx(a.result, 0);
	assert_string_equal(json_object_get_string(get(s, "subtype")), "NVMe");
	assert_string_equal(json_object_get_string(get(s, "serial_number")), "S1");
	assert_string_equal(json_object_get_string(get(s, "model_number")), "Gantry bdev Controller");
	assert_true(json_object_get_boolean(get(s, "allow_any_host")));
	assert_string_equal(json_object_get_string(get(json_object_array_get_idx(get(s, "namespaces"), 0), "eui64")),
	                    "0011223344556677");
	s = json_object_array_get_idx(get(s, "listen_addresses"), 0);
	assert_string_equal(json_object_get_string(get(s, "trsvcid")), "4444");
	json_object_put(a.result);
	expect_ok("nvmf_subsystem_remove_host", "{\"nqn\":\"" NQN "\",\"host\":\"" RIG_HOST "\"}");
	expect_ok("nvmf_subsystem_remove_ns", "{\"nqn\":\"" NQN "\",\"nsid\":3}");
	expect_ok("nvmf_subsystem_remove_listener", "{\"nqn\":\"" NQN "\",\"listen_address\":{\"trtype\":\"TCP\","
	          "\"adrfam\":\"ipv4\",\"traddr\":\"127.0.0.1\",\"trsvcid\":\"4444\"}}");
	expect_ok("nvmf_delete_subsystem", "{\"nqn\":\"" NQN "\"}");
	expect_error("nvmf_get_subsystems", "{\"nqn\":\"" NQN "\"}", -ENOENT, "nqn: there is no subsystem");
}

static void errors_name_the_field(void **state)
{
	expect_error("nvmf_create_subsystem", "{\"nqn\":\"x\"}", ERR_BAD_PARAM, "nqn: 'x' is not an NQN");
	expect_error("nvmf_create_subsystem", "{\"nqn\":\"" RIG_NQN "\"}", -EEXIST, "exists already");
	expect_error("nvmf_create_subsystem", "{\"nqn\":\"" NQN "\",\"serial_number\":\"123456789012345678901\"}",
	             ERR_BAD_PARAM, "serial_number");
	expect_error("nvmf_create_subsystem", "{\"nqn\":\"" NQN "\",\"tgt_name\":\"other\"}", ERR_BAD_PARAM, "tgt_name");
	expect_error("nvmf_create_transport", "{\"trtype\":\"FC\"}", ERR_BAD_PARAM, "trtype");
	expect_error("nvmf_create_transport", "{\"trtype\":\"TCP\"}", -EEXIST, "exists already");
	expect_error("nvmf_subsystem_add_ns", "{\"nqn\":\"" RIG_NQN "\",\"namespace\":{\"bdev_name\":\"none\"}}", -ENODEV,
	             "bdev_name");
	expect_error("nvmf_subsystem_add_ns", "{\"nqn\":\"" RIG_NQN "\",\"namespace\":{\"bdev_name\":\"spare\","
	             "\"nguid\":\"12\"}}", ERR_BAD_PARAM, "nguid");
	expect_error("nvmf_subsystem_add_listener", "{\"nqn\":\"" RIG_NQN "\",\"listen_address\":{\"trtype\":\"TCP\","
	             "\"traddr\":\"nowhere\"}}", ERR_BAD_PARAM, "listen_address");
	expect_error("nvmf_subsystem_remove_ns", "{\"nqn\":\"" RIG_NQN "\",\"nsid\":31}", -ENOENT, "nsid");
}

static void hosts_are_listed(void **state)
{
	uint16_t cntlid;
	struct ask a;
	struct json_object *o;

	rig_io(&rig, 1, 1, (rig_admin(&rig, 0, &cntlid), cntlid));
	a = ask("nvmf_subsystem_get_controllers", "{\"nqn\":\"" RIG_NQN "\"}");
	o = json_object_array_get_idx(a.result, 0);
	assert_int_equal(json_object_get_int(get(o, "cntlid")), cntlid);
	assert_string_equal(json_object_get_string(get(o, "hostnqn")), RIG_HOST);
	assert_int_equal(json_object_get_int(get(o, "num_io_qpairs")), 1);
	json_object_put(a.result);
	a = ask("nvmf_subsystem_get_qpairs", "{\"nqn\":\"" RIG_NQN "\"}");
	assert_int_equal(json_object_array_length(a.result), 2);
	o = json_object_array_get_idx(a.result, 1);
	assert_int_equal(json_object_get_int(get(o, "qid")), 1);
	assert_string_equal(json_object_get_string(get(o, "thread")), "reactor_1");
	assert_string_equal(json_object_get_string(get(get(o, "peer_address"), "trsvcid")), "50000");
	json_object_put(a.result);
	a = ask("nvmf_get_stats", NULL);
	o = json_object_array_get_idx(get(a.result, "poll_groups"), 0);
	assert_int_equal(json_object_get_int(get(o, "current_admin_qpairs")), 1);
	assert_int_equal(json_object_get_int(get(o, "current_unassociated_qpairs")), 0);
	json_object_put(a.result);
	a = ask("nvmf_get_transports", NULL);
	o = json_object_array_get_idx(a.result, 0);
	assert_int_equal(json_object_get_int(get(o, "kas")), 10); /* as Identify says */
	assert_false(json_object_get_boolean(get(o, "zcopy")));
	json_object_put(a.result);
	expect_ok("nvmf_get_targets", NULL);
	expect_ok("nvmf_discovery_get_referrals", NULL);
	expect_ok("nvmf_subsystem_get_listeners", "{\"nqn\":\"" RIG_NQN "\"}");
}

static void save_here(void *arg)
{
	*(struct json_object **)arg = rpc_save_subsystem(rpc, "nvmf", NULL);
}

/* What is saved names everything in an order in which it can be made again. */
static void saved_in_order(void **state)
{
	static const char *const methods[] = {
		"nvmf_create_transport", "nvmf_create_subsystem", "nvmf_subsystem_add_host", "nvmf_subsystem_add_ns",
		"nvmf_subsystem_add_ns", "nvmf_subsystem_add_listener",
	};
	struct json_object *saved;

	sim_as(core_control(rig.core), save_here, &saved);
	assert_int_equal(json_object_array_length(saved), ARRAY_SIZE(methods));
	for (size_t i = 0; i < ARRAY_SIZE(methods); i++)
		assert_string_equal(json_object_get_string(get(json_object_array_get_idx(saved, i), "method")), methods[i]);
	json_object_put(saved);
}

static void make_fleeting(void *arg)
{
	const struct null_opts opts = { .name = "fleeting", .block_count = 1024, .block_size = 512 };

	must(!null_create(rig.reg, &opts, arg, NULL));
}

static void fleeting_went(void *arg, int rc)
{
	*(bool *)arg = rc == 0;
}

static void fleeting_goes(void *arg)
{
	struct bdev *b = bdev_find(rig.reg, "fleeting");

	b->returns = true;
	bdev_unregister(b, fleeting_went, arg);
}

static bool is_true(void *arg)
{
	return *(bool *)arg;
}

/* Of the calls that are saved: those that name the fleeting device. */
static size_t saved_count(void)
{
	struct json_object *saved;
	size_t count = 0;

	sim_as(core_control(rig.core), save_here, &saved);
	for (size_t i = 0; i < json_object_array_length(saved); i++)
		count += !!strstr(json_object_to_json_string(json_object_array_get_idx(saved, i)), "fleeting");
	json_object_put(saved);
	return count;
}

/* At whichever moment of being added the device of a namespace goes, to return later: either who added it is refused
 * and it is forgotten, or it was added, and waits for its device. */
static void a_device_goes_while_its_namespace_is_added(void **state)
{
	uint32_t refused = 0, added = 0;

	for (uint32_t steps = 0; steps < 60; steps++) {
		struct ask add = { .method = "nvmf_subsystem_add_ns", .params = "{\"nqn\":\"" RIG_NQN "\",\"namespace\":"
			"{\"bdev_name\":\"fleeting\",\"nsid\":5}}" };
		struct bdev *b;
		bool went = false;

		sim_as(core_control(rig.core), make_fleeting, &b);
		sim_as(core_control(rig.core), ask_here, &add);
		for (uint32_t i = 0; i < steps && sim_step(); i++)
			;
		sim_as(core_control(rig.core), fleeting_goes, &went);
		assert_true(sim_run(is_true, &went, 10 * NS_PER_S));
		assert_true(sim_run(is_answered, &add, 10 * NS_PER_S));
		json_object_put(add.result);
		assert_true(!add.err.code || add.err.code == -ENODEV);
		assert_int_equal(saved_count(), add.err.code ? 0 : 1);
		added += !add.err.code;
		refused += add.err.code != 0;
		if (!add.err.code)
			expect_ok("nvmf_subsystem_remove_ns", "{\"nqn\":\"" RIG_NQN "\",\"nsid\":5}");
		assert_int_equal(saved_count(), 0);
		assert_int_equal(rig.target->ns_alive, 2);
	}
	assert_true(refused && added);
}

#define ADDRESS "\"listen_address\":{\"trtype\":\"TCP\",\"traddr\":\"127.0.0.1\",\"trsvcid\":\"4420\"}"

/* A host is told that its way has become worse, reads how, and gets path errors instead of data. */
static void ana_states(void **state)
{
	static uint8_t page[4096];
	struct nvme_sqe aer = rig_sqe(NVME_ADMIN_ASYNC_EVENT, 0), get = rig_sqe(NVME_ADMIN_GET_LOG_PAGE, NVME_NSID_ALL),
	                read = rig_rw(NVME_CMD_READ, 1, 0, 1);
	struct nvme_ana_log *log = (struct nvme_ana_log *)page;
	struct rig_qp *admin, *io;
	struct rig_req *rq;
	uint16_t cntlid;

	expect_error("nvmf_subsystem_listener_set_ana_state", "{\"nqn\":\"" RIG_NQN "\"," ADDRESS ","
	             "\"ana_state\":\"optimized\"}", ERR_BAD_PARAM, "ana_reporting");
	expect_ok("nvmf_create_subsystem", "{\"nqn\":\"" NQN "\",\"allow_any_host\":true,\"ana_reporting\":true}");
	expect_ok("nvmf_subsystem_add_ns", "{\"nqn\":\"" NQN "\",\"namespace\":{\"bdev_name\":\"spare\","
	          "\"anagrpid\":2}}");
	expect_ok("nvmf_subsystem_add_listener", "{\"nqn\":\"" NQN "\"," ADDRESS "}");
	admin = rig_open(&rig, 0);
	io = rig_open(&rig, 1);
	assert_int_equal(rig_connect(admin, 0, NQN, &cntlid), 0);
	assert_int_equal(rig_property_set(admin, NVME_REG_CC, RIG_CC_ENABLE), 0);
	assert_int_equal(rig_connect(io, 1, NQN, &cntlid), 0);
	assert_int_equal(rig_cmd(io, &read, page, 4096, NULL), 0);
	rq = rig_send(admin, &aer, NULL, 0);
	expect_ok("nvmf_subsystem_listener_set_ana_state", "{\"nqn\":\"" NQN "\"," ADDRESS ",\"anagrpid\":2,"
	          "\"ana_state\":\"inaccessible\"}");
	assert_true(rig_wait(rq, NS_PER_S));
	assert_int_equal(rq->dw0, NVME_AER_NOTICE_ANA);
	assert_int_equal(rig_end(rq), 0);
	get.get_log_page.lid = NVME_LOG_ANA;
	get.get_log_page.numdl = le16_of(1023);
	assert_int_equal(rig_cmd(admin, &get, page, sizeof(page), NULL), 0);
	assert_int_equal(le16_get(log->ngrps), 1);
	assert_int_equal(le32_get(log->descs[0].grpid), 2);
	assert_int_equal(log->descs[0].state, NVME_ANA_INACCESSIBLE);
	assert_int_equal(le32_get(log->descs[0].nsids[0]), 1);
	assert_int_equal(rig_cmd(io, &read, page, 4096, NULL), NVME_SC_ANA_INACCESSIBLE);
	expect_ok("nvmf_subsystem_listener_set_ana_state", "{\"nqn\":\"" NQN "\"," ADDRESS ","
	          "\"ana_state\":\"non_optimized\"}");
	assert_int_equal(rig_cmd(io, &read, page, 4096, NULL), 0);
	expect_ok("nvmf_subsystem_get_listeners", "{\"nqn\":\"" NQN "\"}");
}

#define T(name) cmocka_unit_test_setup_teardown(name, start, stop)
int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_subsystem_from_making_to_deleting), T(errors_name_the_field), T(hosts_are_listed), T(saved_in_order),
		T(a_device_goes_while_its_namespace_is_added), T(ana_states),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
