/* SPDX-License-Identifier: BSD-3-Clause */
/* error_rpc.c: error devices by SPDK's methods, with blocks and statuses of ours. */
#include "backends/error/error_rpc.h"

#include <errno.h>

#include "backends/error/error.h"
#include "rpc/json.h"

struct error_create {
	char *base_name;
	struct uuid uuid;
};

static const struct rpc_param create_params[] = {
	RPC_PARAM(struct error_create, base_name, .required = true, .min = 1, .max = 240,
	          .doc = "The device to stand on; it may come later. The new one is called EE_ and this name."),
	RPC_PARAM(struct error_create, uuid, .doc = "UUID of the new device; follows from its base's when left out."),
};

static void handle_create(struct rpc_call *call, void *args)
{
	const struct error_create *a = args;
	struct error_opts opts = { .base = a->base_name, .uuid = a->uuid };
	struct err e = { 0 };

	rpc_reply_rc(call, error_create(bdev_rpc_registry(rpc_ctx(call)), &opts, &e), &e);
}

struct one_name {
	char *name;
};

static const struct rpc_param one_name_params[] = {
	RPC_PARAM(struct one_name, name, .required = true, .doc = "Name of the error device: EE_ and its base's."),
};

static void handle_delete(struct rpc_call *call, void *args)
{
	const struct one_name *a = args;
	struct err e = { 0 };

	if (error_delete(bdev_rpc_registry(rpc_ctx(call)), a->name, bdev_rpc_deleted, call, &e) != 0)
		rpc_reply_err(call, &e);
}

static void done(void *arg)
{
	rpc_reply_true(arg);
}

static void handle_resume(struct rpc_call *call, void *args)
{
	const struct one_name *a = args;
	struct err e = { 0 };

	if (error_resume(bdev_rpc_registry(rpc_ctx(call)), a->name, done, call, &e) != 0)
		rpc_reply_err(call, &e);
}

/* --- injecting -------------------------------------------------------------------------------------------- */

struct inject {
	char *name, *io_type, *error_type, *status;
	uint32_t nvme_sct, nvme_sc, num;
	uint64_t queue_depth, corrupt_offset, offset_blocks, num_blocks;
	uint8_t corrupt_value;
};

static const char *const io_types[] = { "clear", "read", "write", "unmap", "flush", "all", "write_zeroes", "compare",
                                        "compare_and_write", "copy", "verify", "get_lba_status", NULL };
static const char *const error_types[] = { "failure", "pending", "corrupt_data", "nomem", "nvme_failure", NULL };
#define STATUS_TEXT(status, text) #status,
static const char *const statuses[] = { BDEV_STATUSES(STATUS_TEXT) NULL };

static const struct rpc_param inject_params[] = {
	RPC_PARAM(struct inject, name, .required = true, .doc = "Name of the error device: EE_ and its base's."),
	RPC_PARAM(struct inject, io_type, .required = true, .choices = io_types,
	          .doc = "Which operation; clear takes all rules away."),
	RPC_PARAM(struct inject, error_type, .required = true, .choices = error_types,
	          .doc = "What happens: an error, no answer until it is resumed, a wrong byte, an error to try again "
	                 "after, an error by NVMe's numbers."),
	RPC_PARAM(struct inject, num, .fallback = "1", .unit = "I/Os", .doc = "To how many; 0: to no more."),
	RPC_PARAM(struct inject, queue_depth, .unit = "I/Os",
	          .doc = "Only when so many of the core are with the base."),
	RPC_PARAM(struct inject, corrupt_offset, .unit = "bytes", .doc = "corrupt_data: which byte of the I/O's."),
	RPC_PARAM(struct inject, corrupt_value, .doc = "corrupt_data: what it is XORed with; not 0."),
	RPC_PARAM(struct inject, nvme_sct, .max = 7, .doc = "nvme_failure: status code type."),
	RPC_PARAM(struct inject, nvme_sc, .max = 255, .doc = "nvme_failure: status code."),
	RPC_PARAM(struct inject, status, .choices = statuses, .doc = "failure: how the I/O ends; FAILED when left out."),
	RPC_PARAM(struct inject, offset_blocks, .unit = "blocks",
	          .doc = "With num_blocks: only I/O that touches these blocks."),
	RPC_PARAM(struct inject, num_blocks, .unit = "blocks", .doc = "0: all of the device, and I/O without blocks."),
};

/* Whether an operation is one that a disk fails at. */
static uint32_t ops_of(const char *io_type)
{
	uint32_t all = BDEV_BIT(READ) | BDEV_BIT(WRITE) | BDEV_BIT(UNMAP) | BDEV_BIT(FLUSH) | BDEV_BIT(WRITE_ZEROES) |
	               BDEV_BIT(COMPARE) | BDEV_BIT(COMPARE_AND_WRITE) | BDEV_BIT(COPY) | BDEV_BIT(VERIFY);

	for (uint32_t op = 0; op < BDEV_OP_COUNT; op++)
		if (strcmp(bdev_op_name((enum bdev_op)op), io_type) == 0)
			return 1u << op;
	return all;
}

static enum bdev_status status_of_name(const char *name)
{
	for (uint32_t st = 0; name && st < BDEV_STATUS_COUNT; st++)
		if (strcmp(bdev_status_name((enum bdev_status)st), name) == 0)
			return (enum bdev_status)st;
	return BDEV_ST_FAILED;
}

/* NVMe's numbers that a device here can mean. */
static int status_of_nvme(uint32_t sct, uint32_t sc, enum bdev_status *ret_status, struct err *e)
{
	static const struct { uint8_t sct, sc, status; } known[] = {
		{ 0, 0x06, BDEV_ST_FAILED }, { 0, 0x07, BDEV_ST_ABORTED }, { 0, 0x20, BDEV_ST_WRITE_PROTECTED },
		{ 0, 0x80, BDEV_ST_BAD_RANGE }, { 0, 0x81, BDEV_ST_NO_SPACE }, { 0, 0x82, BDEV_ST_BUSY },
		{ 0, 0x83, BDEV_ST_RESERVED }, { 2, 0x80, BDEV_ST_MEDIA_ERROR }, { 2, 0x81, BDEV_ST_MEDIA_ERROR },
		{ 2, 0x82, BDEV_ST_GUARD_CHECK }, { 2, 0x83, BDEV_ST_APPTAG_CHECK }, { 2, 0x84, BDEV_ST_REFTAG_CHECK },
		{ 2, 0x85, BDEV_ST_MISCOMPARE },
	};

	for (uint32_t i = 0; i < ARRAY_SIZE(known); i++) {
		if (known[i].sct == sct && known[i].sc == sc) {
			*ret_status = (enum bdev_status)known[i].status;
			return 0;
		}
	}
	return err_set(e, -EINVAL, "nvme_sct, nvme_sc: no device here ends an I/O with %u/0x%02x; use failure with one of "
	               "the statuses", sct, sc);
}

/* --- one call */
static int rule_of(const struct inject *a, struct error_rule_opts *ret_rule, struct err *e)
{
	bool nvme = strcmp(a->error_type, "nvme_failure") == 0, corrupts = strcmp(a->error_type, "corrupt_data") == 0;
	struct error_rule_opts rule = {
		.ops = ops_of(a->io_type), .num = a->num, .queue_depth = a->queue_depth, .lba = a->offset_blocks,
		.count = a->num_blocks, .corrupt_offset = a->corrupt_offset, .corrupt_value = a->corrupt_value,
		.kind = ERROR_STATUS, .status = status_of_name(a->status),
	};

	if (a->status && strcmp(a->error_type, "failure") != 0)
		return err_set(e, -EINVAL, "status: has a meaning with error_type failure only");
	if (a->status && rule.status == BDEV_ST_OK)
		return err_set(e, -EINVAL, "status: OK is no failure");
	if (nvme != (a->nvme_sct || a->nvme_sc))
		return err_set(e, -EINVAL, "nvme_sct, nvme_sc: belong to error_type nvme_failure, and that needs them");
	if (a->offset_blocks && !a->num_blocks)
		return err_set(e, -EINVAL, "offset_blocks: say with num_blocks how many blocks are meant");
	if (a->num_blocks && a->num_blocks > UINT64_MAX - a->offset_blocks)
		return err_set(e, -EINVAL, "num_blocks: %llu blocks from block %llu on are more than can be counted",
		               (unsigned long long)a->num_blocks, (unsigned long long)a->offset_blocks);
	if (nvme && status_of_nvme(a->nvme_sct, a->nvme_sc, &rule.status, e) != 0)
		return -EINVAL;
	if (strcmp(a->error_type, "nomem") == 0)
		rule.status = BDEV_ST_BUSY;
	else if (strcmp(a->error_type, "pending") == 0)
		rule.kind = ERROR_PENDING;
	else if (corrupts)
		rule.kind = ERROR_CORRUPT;
	if (corrupts && strcmp(a->io_type, "all") == 0)
		rule.ops = BDEV_BIT(READ) | BDEV_BIT(WRITE);
	*ret_rule = rule;
	return 0;
}

static void handle_inject(struct rpc_call *call, void *args)
{
	struct bdev_registry *reg = bdev_rpc_registry(rpc_ctx(call));
	const struct inject *a = args;
	struct error_rule_opts rule;
	struct err e = { 0 };
	int rc;

	if (strcmp(a->io_type, "clear") == 0)
		rc = error_clear(reg, a->name, done, call, &e);
	else if ((rc = rule_of(a, &rule, &e)) == 0)
		rc = error_inject(reg, a->name, &rule, done, call, &e);
	if (rc != 0)
		rpc_reply_err(call, &e);
}

/* --- all -------------------------------------------------------------------------------------------------- */

static void params(const struct bdev_order *o, struct json_object *json)
{
	struct error_opts opts;
	char uuid[UUID_TEXT_MAX];

	error_get_opts(o, &opts);
	json_add_text(json, "base_name", opts.base);
	if (!uuid_is_null(&opts.uuid))
		json_add_text(json, "uuid", uuid_to_text(&opts.uuid, uuid));
}

static struct json_object *add_inject(struct json_object *array, const struct bdev_order *o,
                                      const struct error_rule_opts *r, const char *io_type, uint32_t num)
{
	struct json_object *entry = json_append_object(array), *params;

	json_add_text(entry, "method", "bdev_error_inject_error");
	params = json_add_object(entry, "params");
	json_add_text(params, "name", o->name);
	json_add_text(params, "io_type", io_type);
	json_add_text(params, "error_type", r->kind == ERROR_PENDING ? "pending" :
	                                    r->kind == ERROR_CORRUPT ? "corrupt_data" : "failure");
	json_add_u64(params, "num", num);
	if (r->count) {
		json_add_u64(params, "offset_blocks", r->lba);
		json_add_u64(params, "num_blocks", r->count);
	}
	return params;
}

/* As it was given; or, where others have taken some operations of it, what is not its own taken off again. */
static void save_rule(struct json_object *array, const struct bdev_order *o, const struct error_rule_opts *r)
{
	uint32_t all = r->kind == ERROR_CORRUPT ? BDEV_BIT(READ) | BDEV_BIT(WRITE) : ops_of("all");
	bool one = !(r->ops & (r->ops - 1));
	const char *io_type = one ? bdev_op_name((enum bdev_op)__builtin_ctz(r->ops)) : "all";
	struct json_object *params = add_inject(array, o, r, io_type, r->num);

	if (r->kind == ERROR_STATUS)
		json_add_text(params, "status", bdev_status_name(r->status));
	if (r->queue_depth)
		json_add_u64(params, "queue_depth", r->queue_depth);
	if (r->kind == ERROR_CORRUPT) {
		json_add_u64(params, "corrupt_offset", r->corrupt_offset);
		json_add_u64(params, "corrupt_value", r->corrupt_value);
	}
	for (uint32_t op = 0; !one && op < BDEV_OP_COUNT; op++) {
		if (!((all & ~r->ops) & 1u << op))
			continue;
		params = add_inject(array, o, r, bdev_op_name((enum bdev_op)op), 0);
		if (r->kind == ERROR_CORRUPT)
			json_add_u64(params, "corrupt_value", r->corrupt_value);
	}
}

static void save_rules(const struct bdev_order *o, struct json_object *array)
{
	struct error_rule_opts r;

	for (uint32_t at = 0; error_get_rule(o, at, &r); at++)
		save_rule(array, o, &r);
}

static const struct rpc_method methods[] = {
	RPC_METHOD("bdev_error_create", struct error_create, create_params, handle_create, .flags = RPC_RUNTIME,
	           .doc = "Make a device that fails on demand.", .returns = "true"),
	RPC_METHOD("bdev_error_delete", struct one_name, one_name_params, handle_delete, .flags = RPC_RUNTIME,
	           .doc = "Remove an error device.", .returns = "true"),
	RPC_METHOD("bdev_error_inject_error", struct inject, inject_params, handle_inject, .flags = RPC_RUNTIME,
	           .doc = "Let I/O that comes to an error device from now on fail. A rule takes the place of those about "
	                  "the same operation and the same blocks.", .returns = "true"),
	RPC_METHOD("bdev_error_resume_pending", struct one_name, one_name_params, handle_resume, .flags = RPC_RUNTIME,
	           .doc = "Let the I/O that an error device keeps go on, and keep no more.", .returns = "true"),
};

void error_rpc_add(struct bdev_rpc *br, struct bdev_rpc_order_kind *kind)
{
	*kind = (struct bdev_rpc_order_kind){ .ops = &error_order_ops, .method = "bdev_error_create", .params = params,
	                                      .more = save_rules /* they are used up by themselves: not stamped */ };
	bdev_rpc_add_order_kind(br, kind);
	rpc_add_methods(bdev_rpc_of(br), methods, ARRAY_SIZE(methods), br);
}
