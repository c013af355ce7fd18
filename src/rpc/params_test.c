/* SPDX-License-Identifier: BSD-3-Clause */
/* params_test.c: rows keep their promises: what they let through is right, and what they refuse is said well. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "rpc/params.h"

struct host {
	char *nqn;
	struct uuid id;
};

static const struct rpc_param host_rows[] = {
	RPC_PARAM(struct host, nqn, .required = true, .max = 20, .doc = "Its name."),
	RPC_PARAM(struct host, id),
};

struct opts {
	uint16_t port;
	bool fast;
};

static const struct rpc_param opts_rows[] = {
	RPC_PARAM(struct opts, port, .fallback = "4420"),
	RPC_PARAM(struct opts, fast, .fallback = "true"),
	RPC_IGNORED("numa_hint"),
};

struct disk {
	char *name, *kind, *key;
	uint64_t num_blocks;
	uint32_t block_size;
	uint8_t level;
	int32_t offset;
	int64_t delta;
	struct uuid uuid;
	struct rpc_texts tags;
	struct rpc_objects hosts;
	struct opts opts;
	struct json_object *extra;
};

static const char *const kinds[] = { "TCP", "RDMA", NULL };
static const struct rpc_param rows[] = {
	RPC_PARAM(struct disk, name, .alias = "bdev_name", .min = 1, .max = 8),
	RPC_PARAM(struct disk, kind, .choices = kinds, .fallback = "TCP"),
	RPC_PARAM(struct disk, key, .secret = true, .max = 4),
	RPC_PARAM(struct disk, num_blocks, .required = true, .min = 1, .unit = "blocks", .doc = "How large it is."),
	RPC_PARAM(struct disk, block_size, .min = 512, .max = 65536, .multiple_of = 512, .fallback = "4096",
	          .or_plus = "level", .unit = "bytes"),
	RPC_PARAM(struct disk, level),
	RPC_PARAM(struct disk, offset),
	RPC_PARAM(struct disk, delta),
	RPC_PARAM(struct disk, uuid),
	RPC_PARAM(struct disk, tags, .max = 5),
	RPC_PARAM(struct disk, hosts, .params = host_rows, .param_count = ARRAY_SIZE(host_rows),
	          .object_size = sizeof(struct host)),
	RPC_PARAM(struct disk, opts, .params = opts_rows, .param_count = ARRAY_SIZE(opts_rows)),
	RPC_PARAM(struct disk, extra),
	RPC_IGNORED("dif_type"),
};
#define ROWS rows, ARRAY_SIZE(rows)

static int read(const char *text, struct disk *d, struct err *e)
{
	struct json_object *json = json_tokener_parse(text);
	int rc;

	assert_true(json || !*text);
	*d = (struct disk){ 0 };
	*e = (struct err){ 0 };
	rc = rpc_params_from_json(ROWS, json, d, e);
	json_object_put(json);
	return rc;
}

static void refuses(const char *text, const char *sentence)
{
	struct disk d, empty = { 0 };
	struct err e;

	assert_int_equal(read(text, &d, &e), ERR_BAD_PARAM);
	assert_string_equal(e.text, sentence);
	assert_null(d.name); /* nothing is left to free */
	assert_int_equal(d.hosts.count, empty.hosts.count);
}

static void fields_of_every_type_are_filled(void **state)
{
	struct disk d;
	struct err e;

	assert_int_equal(read("{\"name\":\"d0\",\"kind\":\"rdma\",\"num_blocks\":18446744073709551615,\"block_size\":1024,"
	                      "\"level\":255,\"offset\":-2147483648,\"delta\":-9223372036854775808,"
	                      "\"uuid\":\"123e4567-e89b-42d3-a456-426614174000\",\"tags\":[\"a\",\"bc\"],"
	                      "\"hosts\":[{\"nqn\":\"h1\"},{\"nqn\":\"h2\"}],\"opts\":{\"port\":1,\"fast\":false}}",
	                      &d, &e), 0);
	assert_string_equal(d.name, "d0");
	assert_string_equal(d.kind, "RDMA"); /* as the table spells it */
	assert_true(d.num_blocks == UINT64_MAX); /* all 64 bits */
	assert_int_equal(d.block_size, 1024);
	assert_int_equal(d.level, 255);
	assert_true(d.offset == INT32_MIN);
	assert_true(d.delta == INT64_MIN);
	assert_int_equal(d.uuid.b[0], 0x12);
	assert_int_equal(d.tags.count, 2);
	assert_string_equal(d.tags.at[1], "bc");
	assert_int_equal(d.hosts.count, 2);
	assert_string_equal(((struct host *)d.hosts.at)[1].nqn, "h2");
	assert_int_equal(d.opts.port, 1);
	assert_false(d.opts.fast);
	rpc_params_free(ROWS, &d);
}

static void absent_and_null_give_the_fallback(void **state)
{
	struct disk d;
	struct err e;

	assert_int_equal(read("{\"num_blocks\":1,\"block_size\":null,\"opts\":null}", &d, &e), 0);
	assert_int_equal(d.block_size, 4096);
	assert_string_equal(d.kind, "TCP");
	assert_int_equal(d.opts.port, 4420);
	assert_true(d.opts.fast);
	assert_null(d.name);
	rpc_params_free(ROWS, &d);
}

static void numbers_out_of_bounds_are_explained(void **state)
{
	refuses("{\"num_blocks\":0}", "num_blocks: 0 is too small; the least is 1 blocks");
	refuses("{\"num_blocks\":-1}", "num_blocks: -1 is too small; the least is 1 blocks");
	refuses("{\"num_blocks\":1,\"block_size\":513}", "block_size: 513 is not a multiple of 512; the nearest is 512");
	refuses("{\"num_blocks\":1,\"block_size\":131072}", "block_size: 131072 is too large; the most is 65536 bytes");
	refuses("{\"num_blocks\":1,\"level\":256}", "level: 256 is too large; the most is 255");
	refuses("{\"num_blocks\":1,\"offset\":2147483648}", "offset: 2147483648 is too large; the most is 2147483647");
	refuses("{\"num_blocks\":1,\"offset\":-2147483649}", "offset: -2147483649 is too small; the least is -2147483648");
	refuses("{\"num_blocks\":1.5}", "num_blocks: 1.5 does not fit; a whole number is wanted");
	refuses("{\"num_blocks\":\"1\"}", "num_blocks: \"1\" does not fit; a whole number is wanted, without quotes");
}

static void a_number_may_be_more_by_another(void **state)
{
	struct disk d;
	struct err e;

	assert_int_equal(read("{\"num_blocks\":1,\"block_size\":520,\"level\":8}", &d, &e), 0);
	assert_int_equal(d.block_size, 520);
	rpc_params_free(ROWS, &d);
	refuses("{\"num_blocks\":1,\"block_size\":520,\"level\":16}",
	        "block_size: 520 is not a multiple of 512; the nearest is 512");
	refuses("{\"num_blocks\":1,\"block_size\":520,\"level\":\"8\"}",
	        "block_size: 520 is not a multiple of 512; the nearest is 512");
}

static void exponents_are_numbers(void **state)
{
	struct disk d;
	struct err e;

	assert_int_equal(read("{\"num_blocks\":1e6}", &d, &e), 0);
	assert_int_equal(d.num_blocks, 1000000);
	rpc_params_free(ROWS, &d);
}

static void texts_are_bounded(void **state)
{
	refuses("{\"num_blocks\":1,\"name\":\"\"}", "name: \"\" has 0 characters; the least is 1");
	refuses("{\"num_blocks\":1,\"name\":\"123456789\"}", "name: \"123456789\" has 9 characters; the most is 8");
	refuses("{\"num_blocks\":1,\"name\":\"a\\u0000b\"}", "name: the text has a zero byte in it; leave it out");
	refuses("{\"num_blocks\":1,\"kind\":\"FC\"}", "kind: \"FC\" is not one of: TCP, RDMA");
	refuses("{\"num_blocks\":1,\"tags\":[\"a\",\"bcdefg\"]}", "tags[1]: \"bcdefg\" has 6 characters; the most is 5");
	refuses("{\"num_blocks\":1,\"tags\":[\"a\",7]}", "tags[1]: 7 does not fit; text in quotes is wanted");
	refuses("{\"num_blocks\":1,\"uuid\":\"x\"}",
	        "uuid: \"x\" is not a UUID; write 32 hexadecimal digits as in 123e4567-e89b-42d3-a456-426614174000");
}

static void a_secret_is_not_repeated(void **state)
{
	refuses("{\"num_blocks\":1,\"key\":\"hunter2\"}", "key: the value has 7 characters; the most is 4");
	refuses("{\"num_blocks\":1,\"key\":{\"a\":1}}", "key: the value does not fit; text in quotes is wanted");
}

static void missing_and_unknown_parameters_are_named(void **state)
{
	refuses("{}", "num_blocks: missing, and required: How large it is.");
	refuses("{\"num_block\":1}", "num_block: no such parameter; did you mean num_blocks?");
	refuses("{\"zzzzzz\":1}", "zzzzzz: no such parameter; there are: name, kind, key, num_blocks, block_size, level, "
	        "offset, delta, uuid, tags, hosts, opts, extra, dif_type");
	refuses("{\"num_blocks\":1,\"hosts\":[{\"nqn\":\"a\"},{\"nqm\":\"b\"}]}",
	        "hosts[1].nqm: no such parameter; did you mean nqn?");
	refuses("{\"num_blocks\":1,\"hosts\":[{\"nqn\":\"a\"},{}]}", "hosts[1].nqn: missing, and required: Its name.");
	refuses("{\"num_blocks\":1,\"hosts\":[3]}", "hosts[0]: 3 does not fit; an object {...} is wanted");
	refuses("{\"num_blocks\":1,\"opts\":{\"port\":65536}}", "opts.port: 65536 is too large; the most is 65535");
}

static void an_older_name_is_accepted_alone(void **state)
{
	struct disk d;
	struct err e;

	assert_int_equal(read("{\"num_blocks\":1,\"bdev_name\":\"old\"}", &d, &e), 0);
	assert_string_equal(d.name, "old");
	rpc_params_free(ROWS, &d);
	refuses("{\"num_blocks\":1,\"name\":\"a\",\"bdev_name\":\"b\"}",
	        "bdev_name: an older name of name, which is given too; give only name");
}

static void what_is_ignored_is_found(void **state)
{
	struct json_object *json =
		json_tokener_parse("{\"num_blocks\":1,\"dif_type\":3,\"opts\":{\"numa_hint\":[1],\"port\":2}}");
	struct json_object *ignored = params_ignored(ROWS, json);

	assert_string_equal(json_object_to_json_string_ext(ignored, JSON_C_TO_STRING_PLAIN),
	                    "{\"opts\":{\"numa_hint\":[1]},\"dif_type\":3}");
	json_object_put(ignored);
	json_object_put(json);
}

static void what_was_read_is_written_and_read_again(void **state)
{
	static const char text[] = "{\"name\":\"d\",\"kind\":\"TCP\",\"num_blocks\":18446744073709551615,"
		"\"block_size\":512,"
		"\"offset\":-5,\"uuid\":\"123e4567-e89b-42d3-a456-426614174000\",\"tags\":[\"x\"],\"hosts\":[{\"nqn\":\"h\"}],"
		"\"opts\":{\"port\":0,\"fast\":true}}";
	struct json_object *json;
	struct disk d, again = { 0 };
	struct err e;

	assert_int_equal(read(text, &d, &e), 0);
	json = rpc_params_to_json(ROWS, &d);
	assert_string_equal(json_object_to_json_string_ext(json, JSON_C_TO_STRING_PLAIN), text);
	assert_int_equal(rpc_params_from_json(ROWS, json, &again, &e), 0);
	assert_string_equal(again.name, d.name);
	rpc_params_free(ROWS, &again);
	rpc_params_free(ROWS, &d);
	json_object_put(json);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fields_of_every_type_are_filled),
		cmocka_unit_test(absent_and_null_give_the_fallback),
		cmocka_unit_test(numbers_out_of_bounds_are_explained),
		cmocka_unit_test(a_number_may_be_more_by_another),
		cmocka_unit_test(exponents_are_numbers),
		cmocka_unit_test(texts_are_bounded),
		cmocka_unit_test(a_secret_is_not_repeated),
		cmocka_unit_test(missing_and_unknown_parameters_are_named),
		cmocka_unit_test(an_older_name_is_accepted_alone),
		cmocka_unit_test(what_is_ignored_is_found),
		cmocka_unit_test(what_was_read_is_written_and_read_again),
	};

	return cmocka_run_group_tests_name("params", tests, NULL, NULL);
}
