/* SPDX-License-Identifier: BSD-3-Clause */
/* path_test.c: transport ids as people write them. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "nvme/nvme.h"

/* Scripts written for SPDK would not reach their target. */
static void path_is_spdk_s_transport_id(void **state)
{
	struct nvme_path p;
	struct err e = { 0 };

	(void)state;
	assert_int_equal(nvme_path_parse("trtype:TCP adrfam:IPv4 traddr:127.0.0.1 trsvcid:4421 "
	                                 "subnqn:nqn.2016-06.io.spdk:cnode1 hostnqn:nqn.a:b ns:3", &p, &e), 0);
	assert_string_equal(p.trtype, "TCP");
	assert_int_equal(p.adrfam, NET_IPV4);
	assert_string_equal(p.traddr, "127.0.0.1");
	assert_string_equal(p.trsvcid, "4421");
	assert_string_equal(p.subnqn, "nqn.2016-06.io.spdk:cnode1"); /* only the first colon separates */
	assert_string_equal(p.hostnqn, "nqn.a:b");
	assert_int_equal(p.nsid, 3);
}

/* A path without a subsystem would connect to nothing instead of discovery. */
static void path_without_subsystem_is_discovery(void **state)
{
	struct nvme_path p;

	(void)state;
	assert_int_equal(nvme_path_parse("trtype:tcp traddr:::1", &p, NULL), 0);
	assert_string_equal(p.subnqn, NVME_DISCOVERY_NQN);
	assert_string_equal(p.trsvcid, "8009");
	assert_string_equal(p.traddr, "::1");
	assert_int_equal(nvme_path_parse("trtype:rdma traddr:::1", &p, NULL), 0);
	assert_string_equal(p.trtype, "RDMA");
	assert_string_equal(p.trsvcid, "4420"); /* which has no port for discovery */
}

/* A mistake would be answered with "invalid argument", or not at all. */
static void path_errors_name_the_field(void **state)
{
	static const struct { const char *text, *word; } bad[] = {
		{ "", "trtype" }, { "trtype:TCP", "traddr" }, { "trtype:FC traddr:1", "FC" },
		{ "trtype:TCP traddr:1 adrfam:IB", "adrfam" }, { "trtype:TCP traddr:1 colour:red", "colour" },
		{ "trtype:TCP traddr:1 trsvcid:12345678901234567890", "trsvcid" }, { "nonsense", "nonsense" },
		{ "trtype:TCP traddr:1 ns:x", "x" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct nvme_path p;
		struct err e = { 0 };

		assert_int_not_equal(nvme_path_parse(bad[i].text, &p, &e), 0);
		assert_non_null(strstr(e.text, bad[i].word));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(path_is_spdk_s_transport_id),
		cmocka_unit_test(path_without_subsystem_is_discovery),
		cmocka_unit_test(path_errors_name_the_field),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
