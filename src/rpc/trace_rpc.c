/* SPDX-License-Identifier: BSD-3-Clause */
/* trace_rpc.c: trace points on and off, by group and bit, in SPDK's shapes. gantry-trace reads what they record. */
#include <errno.h>
#include <stdio.h>
#include <strings.h>

#include "core/trace.h"
#include "rpc/core_rpc.h"

struct group {
	char *name;
};
static const struct rpc_param group_params[] = {
	RPC_PARAM(struct group, name, .required = true, .doc = "Name of the group: thread, sock, nvmf_tcp, bdev; or all."),
};

struct group_mask {
	char *name;
	uint64_t tpoint_mask;
};
static const struct rpc_param group_mask_params[] = {
	RPC_PARAM(struct group_mask, name, .required = true, .doc = "Name of the group."),
	RPC_PARAM(struct group_mask, tpoint_mask, .required = true, .doc = "Bit per point of the group."),
};

/* Bits of trace_mask; 0: answered. */
static uint64_t points_of(struct rpc_call *call, const char *name, uint64_t bits)
{
	uint64_t found = 0;
	bool known = false;

	for (uint32_t i = 0; i < TRACE_POINT_COUNT; i++) {
		struct trace_point_info info = trace_point_info(i);

		if (strcmp(name, "all") != 0 && strcasecmp(name, trace_group_name(info.group)) != 0)
			continue;
		known = true;
		if (bits >> info.bit & 1)
			found |= 1ull << i;
	}
	if (!known)
		rpc_reply_error(call, ERR_BAD_PARAM, "name: there is no trace group '%s'; "
		                "trace_get_tpoint_group_mask lists them", name);
	else if (!found)
		rpc_reply_error(call, ERR_BAD_PARAM, "tpoint_mask: group %s has none of these points", name);
	return found;
}

static void change(struct rpc_call *call, const char *name, uint64_t bits, bool on)
{
	uint64_t points = points_of(call, name, bits);
	struct err e = { 0 };

	if (!points)
		return;
	rpc_reply_rc(call, trace_enable(rpc_core(rpc_of(call)), on ? points : 0, on ? 0 : points, &e), &e);
}

static void handle_enable_group(struct rpc_call *call, void *args)
{
	change(call, ((struct group *)args)->name, UINT64_MAX, true);
}

static void handle_disable_group(struct rpc_call *call, void *args)
{
	change(call, ((struct group *)args)->name, UINT64_MAX, false);
}

static void handle_set_mask(struct rpc_call *call, void *args)
{
	const struct group_mask *a = args;

	change(call, a->name, a->tpoint_mask, true);
}

static void handle_clear_mask(struct rpc_call *call, void *args)
{
	const struct group_mask *a = args;

	change(call, a->name, a->tpoint_mask, false);
}

static void add_hex(struct json_object *o, const char *key, uint64_t v)
{
	char text[20];

	snprintf(text, sizeof(text), "0x%llx", (unsigned long long)v);
	json_add_text(o, key, text);
}

/* Of a group: its points that are on, by their bits. */
static uint64_t bits_on(enum trace_group group, struct json_object *points)
{
	uint64_t mask = atomic_load(&trace_mask), bits = 0;

	for (uint32_t i = 0; i < TRACE_POINT_COUNT; i++) {
		struct trace_point_info info = trace_point_info(i);
		struct json_object *o;

		if (info.group != group)
			continue;
		bits |= (mask >> i & 1) << info.bit;
		if (!points)
			continue;
		o = json_append_object(points);
		json_add_text(o, "name", info.name);
		json_add_u64(o, "tpoint_id", info.bit);
		json_add_bool(o, "enabled", mask >> i & 1);
	}
	return bits;
}

static uint64_t groups_on(void)
{
	uint64_t groups = 0;

	for (enum trace_group g = 0; g < TRACE_GROUP_COUNT; g++)
		if (atomic_load(&trace_mask) & trace_group_points(g))
			groups |= 1ull << g;
	return groups;
}

static void handle_get_group_mask(struct rpc_call *call, void *args)
{
	struct json_object *result = json_object_new_object();

	add_hex(result, "tpoint_group_mask", groups_on());
	for (enum trace_group g = 0; g < TRACE_GROUP_COUNT; g++) {
		struct json_object *o = json_add_object(result, trace_group_name(g)), *points = json_object_new_array();
		uint64_t bits = bits_on(g, points);

		json_add_bool(o, "enabled", bits != 0);
		add_hex(o, "mask", 1ull << g);
		add_hex(o, "tpoint_mask", bits);
		json_object_object_add(o, "tpoints", points);
	}
	rpc_reply(call, result);
}

static void handle_get_info(struct rpc_call *call, void *args)
{
	struct trace_sharer *s = trace_sharer_of(rpc_core(rpc_of(call)));
	struct json_object *result = json_object_new_object();

	json_add_text(result, "tpoint_shm_path", s ? s->path : "");
	add_hex(result, "tpoint_group_mask", groups_on());
	for (enum trace_group g = 0; g < TRACE_GROUP_COUNT; g++) {
		struct json_object *o = json_add_object(result, trace_group_name(g));

		add_hex(o, "mask", 1ull << g);
		add_hex(o, "tpoint_mask", bits_on(g, NULL));
	}
	rpc_reply(call, result);
}

#define BOTH (RPC_STARTUP | RPC_RUNTIME)
static const struct rpc_method methods[] = {
	RPC_METHOD("trace_enable_tpoint_group", struct group, group_params, handle_enable_group, .flags = BOTH,
		.doc = "Record what happens at a group of trace points.", .returns = "true"),
	RPC_METHOD("trace_disable_tpoint_group", struct group, group_params, handle_disable_group, .flags = BOTH,
		.doc = "Record it no more.", .returns = "true"),
	RPC_METHOD("trace_set_tpoint_mask", struct group_mask, group_mask_params, handle_set_mask, .flags = BOTH,
		.doc = "Switch single points of a group on.", .returns = "true"),
	RPC_METHOD("trace_clear_tpoint_mask", struct group_mask, group_mask_params, handle_clear_mask, .flags = BOTH,
		.doc = "Switch single points of a group off.", .returns = "true"),
	RPC_METHOD_BARE("trace_get_tpoint_group_mask", handle_get_group_mask, .flags = BOTH | RPC_READS,
		.doc = "The groups, their points, and which are on.",
		.returns = "{tpoint_group_mask, GROUP: {enabled, mask, tpoint_mask, tpoints: [{name, tpoint_id, enabled}]}}"),
	RPC_METHOD_BARE("trace_get_info", handle_get_info, .flags = BOTH | RPC_READS,
		.doc = "Which points are on, and the file of shared memory that gantry-trace reads; it is made when the first "
		"point is switched on.",
		.returns = "{tpoint_shm_path, tpoint_group_mask, GROUP: {mask, tpoint_mask}}"),
};

void trace_rpc_add(struct rpc_core_methods *m)
{
	rpc_add_methods(m->rpc, methods, ARRAY_SIZE(methods), m);
}
