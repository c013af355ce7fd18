/* SPDX-License-Identifier: BSD-3-Clause */
/* qos_rpc.c: bdev_set_qos_limit as SPDK has it, with more limits, and groups of devices that share one set of them. */
#include <errno.h>

#include "bdev/bdev_rpc_priv.h"
#include "bdev/qos.h"
#include "rpc/json.h"
#include "rpc/state.h"

#define MBYTES_MAX (QOS_RATE_MAX / MIB)

/* In the order of enum qos_limit: qos_limit_name() names them. */
struct rates {
	uint64_t rw_ios_per_sec, rw_mbytes_per_sec, r_mbytes_per_sec, w_mbytes_per_sec, r_ios_per_sec, w_ios_per_sec;
};
_Static_assert(sizeof(struct rates) == QOS_LIMIT_COUNT * sizeof(uint64_t), "one for each");

struct set_limit {
	char *name;
	struct rates rates;
	uint64_t burst_ms;
};

#define RATE(field, most, unit_name, text) \
	{ .name = #field, .type = RPC_U64, .offset = offsetof(struct set_limit, rates.field), .size = sizeof(uint64_t), \
	  .max = most, .unit = unit_name, .doc = text }
#define RATES \
	RATE(rw_ios_per_sec, QOS_RATE_MAX, "I/Os", "Reads and writes together; 0: no limit."), \
	RATE(rw_mbytes_per_sec, MBYTES_MAX, "MiB", "Reads and writes together; 0: no limit."), \
	RATE(r_mbytes_per_sec, MBYTES_MAX, "MiB", "Reads; 0: no limit."), \
	RATE(w_mbytes_per_sec, MBYTES_MAX, "MiB", "Writes; 0: no limit."), \
	RATE(r_ios_per_sec, QOS_RATE_MAX, "I/Os", "Reads; 0: no limit."), \
	RATE(w_ios_per_sec, QOS_RATE_MAX, "I/Os", "Writes; 0: no limit."), \
	RPC_PARAM(struct set_limit, burst_ms, .max = QOS_BURST_MS_MAX, .fallback = "20", .unit = "ms", \
	          .doc = "Unused time that is saved up and may be spent at once.")

static const struct rpc_param set_limit_params[] = {
	RPC_PARAM(struct set_limit, name, .required = true, .doc = "Name of the device."),
	RATES,
};

static const struct rpc_param group_limit_params[] = {
	RPC_PARAM(struct set_limit, name, .required = true, .doc = "Name of the group."),
	RATES,
};

struct one_group {
	char *name;
};

static const struct rpc_param one_group_params[] = {
	RPC_PARAM(struct one_group, name, .required = true, .doc = "Name of the group."),
};

struct member {
	char *name, *bdev_name;
};

static const struct rpc_param member_params[] = {
	RPC_PARAM(struct member, name, .required = true, .doc = "Name of the group."),
	RPC_PARAM(struct member, bdev_name, .required = true, .doc = "Name of the device."),
};

/* --- limits ----------------------------------------------------------------------------------------------- */

static uint64_t unit_of(enum qos_limit l)
{
	return qos_limit_in_bytes(l) ? MIB : 1;
}

/* What the call names replaces what was; the rest stays. False: it names nothing. */
static bool merge(struct rpc_call *call, const struct set_limit *a, struct qos_want *want)
{
	const uint64_t *rates = (const uint64_t *)&a->rates;
	bool any = rpc_given(call, "burst_ms");

	if (any)
		want->burst_ms = a->burst_ms;
	for (uint32_t i = 0; i < QOS_LIMIT_COUNT; i++) {
		if (!rpc_given(call, qos_limit_name(i)))
			continue;
		want->rate[i] = rates[i] * unit_of(i);
		any = true;
	}
	return any;
}

static void is_set(void *arg)
{
	rpc_reply_true(arg);
}

static void handle_set_limit(struct rpc_call *call, void *args)
{
	struct set_limit *a = args;
	struct bdev *b = bdev_rpc_find(call, a->name);
	struct qos_want want;

	if (!b)
		return;
	bdev_qos_get(b, &want);
	if (merge(call, a, &want))
		bdev_qos_set(b, &want, is_set, call);
	else
		rpc_reply_error(call, -EINVAL, "no limit is named; rw_ios_per_sec=0 would lift one, for example");
}

static void add_rates(struct json_object *o, const struct qos_want *want, bool all)
{
	for (uint32_t i = 0; i < QOS_LIMIT_COUNT; i++)
		if (want->rate[i] || (all && i <= QOS_W_BYTES)) /* SPDK's are always there */
			json_add_u64(o, qos_limit_name(i), want->rate[i] / unit_of(i));
	if (want->burst_ms != QOS_BURST_MS)
		json_add_u64(o, "burst_ms", want->burst_ms);
}

struct json_object *bdev_rpc_rate_limits(const struct bdev *b)
{
	struct json_object *o = json_object_new_object();
	struct qos_group *g = qos_group_of(b);
	struct qos_want want;

	bdev_qos_get(b, &want);
	add_rates(o, &want, true);
	if (g)
		json_add_text(o, "qos_group", qos_group_name(g));
	return o;
}

/* --- groups ----------------------------------------------------------------------------------------------- */

static struct qos_group *find_group(struct rpc_call *call, const char *name)
{
	struct bdev_rpc *br = rpc_ctx(call);
	struct err e = { 0 };
	struct qos_group *g = qos_group_find(br->reg, name, &e);

	if (!g)
		rpc_reply_err(call, &e);
	return g;
}

static void handle_group_create(struct rpc_call *call, void *args)
{
	struct bdev_rpc *br = rpc_ctx(call);
	struct set_limit *a = args;
	struct qos_want want = { .burst_ms = QOS_BURST_MS };
	struct err e = { 0 };

	merge(call, a, &want);
	if (qos_group_make(br->reg, a->name, &want, &e))
		rpc_reply_true(call);
	else
		rpc_reply_err(call, &e);
}

static void handle_group_set(struct rpc_call *call, void *args)
{
	struct set_limit *a = args;
	struct qos_group *g = find_group(call, a->name);
	struct qos_want want;

	if (!g)
		return;
	qos_group_get(g, &want);
	if (merge(call, a, &want))
		qos_group_set(g, &want, is_set, call);
	else
		rpc_reply_error(call, -EINVAL, "no limit is named; rw_ios_per_sec=0 would lift one, for example");
}

static void handle_group_delete(struct rpc_call *call, void *args)
{
	struct one_group *a = args;
	struct qos_group *g = find_group(call, a->name);
	struct err e = { 0 };

	if (!g)
		return;
	if (qos_group_free(g, &e) == 0)
		rpc_reply_true(call);
	else
		rpc_reply_err(call, &e);
}

static void change_member(struct rpc_call *call, const struct member *a,
                          int (*change)(struct qos_group *, struct bdev *, qos_done_fn *, void *, struct err *))
{
	struct qos_group *g = find_group(call, a->name);
	struct bdev *b = g ? bdev_rpc_find(call, a->bdev_name) : NULL;
	struct err e = { 0 };

	if (b && change(g, b, is_set, call, &e) != 0)
		rpc_reply_err(call, &e);
}

static void handle_group_add(struct rpc_call *call, void *args)
{
	change_member(call, args, qos_group_join);
}

static void handle_group_remove(struct rpc_call *call, void *args)
{
	change_member(call, args, qos_group_leave);
}

static void handle_get_groups(struct rpc_call *call, void *args)
{
	struct bdev_rpc *br = rpc_ctx(call);
	struct json_object *groups = json_object_new_array();

	for (struct qos_group *g = qos_group_first(br->reg); g; g = qos_group_next(g)) {
		struct json_object *o = json_append_object(groups), *bdevs;
		struct qos_want want;

		qos_group_get(g, &want);
		json_add_text(o, "name", qos_group_name(g));
		add_rates(json_add_object(o, "rate_limits"), &want, true);
		bdevs = json_add_array(o, "bdevs");
		for (struct bdev *b = bdev_first(br->reg); b; b = bdev_next(b))
			if (qos_group_of(b) == g)
				json_object_array_add(bdevs, json_object_new_string(b->name));
	}
	rpc_reply(call, groups);
}

/* --- saving ----------------------------------------------------------------------------------------------- */

static struct json_object *entry(struct json_object *array, const char *method, const char *name)
{
	struct json_object *e = json_append_object(array), *params;

	json_add_text(e, "method", method);
	params = json_add_object(e, "params");
	json_add_text(params, "name", name);
	return params;
}

static void save_group(void *arg, struct json_object *array)
{
	struct qos_want want;

	qos_group_get(arg, &want);
	add_rates(entry(array, "bdev_qos_group_create", qos_group_name(arg)), &want, false);
}

static void save_device(void *arg, struct json_object *array)
{
	const struct bdev *b = arg;
	struct qos_want want;

	if (bdev_qos_get(b, &want))
		add_rates(entry(array, "bdev_set_qos_limit", b->name), &want, false);
	if (qos_group_of(b))
		json_add_text(entry(array, "bdev_qos_group_add_bdev", qos_group_name(qos_group_of(b))), "bdev_name", b->name);
}

void bdev_rpc_save_qos(struct bdev_rpc *br, struct rpc_save *save)
{
	for (struct qos_group *g = qos_group_first(br->reg); g; g = qos_group_next(g))
		rpc_save_object(save, qos_group_stamp(g), save_group, g);
	for (struct bdev *b = bdev_first(br->reg); b; b = bdev_next(b))
		if (b->qos && !atomic_load(&b->removing))
			rpc_save_object(save, bdev_qos_stamp(b), save_device, b);
}

void bdev_rpc_keep_qos(void *arg, struct bdev *b)
{
	struct bdev_rpc *br = arg;
	struct json_object *entries;
	char uuid[UUID_TEXT_MAX];
	struct err why = { 0 };

	if (!b->returns || !b->qos)
		return;
	err_set(&why, -ENODEV, "block device '%s' has gone; its limits return with it", b->name);
	entries = json_object_new_array();
	save_device(b, entries);
	for (size_t i = 0; i < json_object_array_length(entries); i++)
		rpc_state_keep(br->rpc, "bdev", json_object_array_get_idx(entries, i), uuid_to_text(&b->uuid, uuid), &why);
	json_object_put(entries);
}

static const struct rpc_method methods[] = {
	RPC_METHOD("bdev_set_qos_limit", struct set_limit, set_limit_params, handle_set_limit, .flags = RPC_RUNTIME,
	           .doc = "Limit what a device does in a second; limits that are not named stay.", .returns = "true"),
	RPC_METHOD("bdev_qos_group_create", struct set_limit, group_limit_params, handle_group_create,
	           .flags = RPC_RUNTIME, .doc = "Make a group whose devices share limits.", .returns = "true"),
	RPC_METHOD("bdev_qos_group_set_limit", struct set_limit, group_limit_params, handle_group_set,
	           .flags = RPC_RUNTIME, .doc = "Change a group's limits; those that are not named stay.",
	           .returns = "true"),
	RPC_METHOD("bdev_qos_group_add_bdev", struct member, member_params, handle_group_add, .flags = RPC_RUNTIME,
	           .doc = "Put a device into a group; its own limits hold as well.", .returns = "true"),
	RPC_METHOD("bdev_qos_group_remove_bdev", struct member, member_params, handle_group_remove, .flags = RPC_RUNTIME,
	           .doc = "Take a device out of its group.", .returns = "true"),
	RPC_METHOD("bdev_qos_group_delete", struct one_group, one_group_params, handle_group_delete, .flags = RPC_RUNTIME,
	           .doc = "Delete a group that no device is in.", .returns = "true"),
	RPC_METHOD_BARE("bdev_qos_get_groups", handle_get_groups, .flags = RPC_RUNTIME | RPC_READS,
	                .doc = "List groups.", .returns = "list of groups: name, rate_limits, bdevs"),
};

void bdev_rpc_add_qos(struct bdev_rpc *br)
{
	rpc_add_methods(br->rpc, methods, ARRAY_SIZE(methods), br);
}
