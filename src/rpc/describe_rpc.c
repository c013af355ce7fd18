/* SPDX-License-Identifier: BSD-3-Clause */
/* describe_rpc.c: what can be called: the rows as JSON, from which the command line tool makes options and help and the
 * reference manual is written. */
#include <stdio.h>

#include "rpc/core_rpc.h"
#include "rpc/params.h"
#include "rpc/registry.h"

static struct json_object *describe_method(const struct rpc_method *m);
static struct json_object *describe_rows(const struct rpc_param *rows, size_t count);
static struct json_object *describe_row(const struct rpc_param *row);

struct get_methods {
	bool current, include_aliases;
};

static const struct rpc_param get_methods_params[] = {
	RPC_PARAM(struct get_methods, current,         .doc = "Only those that may be called now."),
	RPC_PARAM(struct get_methods, include_aliases, .doc = "Older names too."),
};

static void handle_rpc_get_methods(struct rpc_call *call, void *args)
{
	struct get_methods *a = args;
	struct rpc *rpc = rpc_of(call);
	struct json_object *result = json_object_new_array();

	for (size_t i = 0; i < rpc->entry_count; i++) {
		const struct rpc_entry *entry = &rpc->entries[i];

		if (entry->is_alias && !a->include_aliases)
			continue;
		if (a->current && !registry_allows(rpc, entry->method))
			continue;
		json_object_array_add(result, json_object_new_string(entry->name));
	}
	rpc_reply(call, result);
}

struct describe {
	char *method;
};

static const struct rpc_param describe_params[] = {
	RPC_PARAM(struct describe, method, .doc = "Only this method."),
};

static void handle_rpc_describe(struct rpc_call *call, void *args)
{
	struct describe *a = args;
	struct rpc *rpc = rpc_of(call);
	struct json_object *result, *array;

	if (a->method && !registry_find(rpc, a->method)) {
		struct err e = { 0 };

		registry_unknown(rpc, a->method, &e);
		rpc_reply_err(call, &e);
		return;
	}
	result = json_object_new_object();
	array = json_add_array(result, "methods");
	for (size_t i = 0; i < rpc->entry_count; i++) {
		const struct rpc_entry *entry = &rpc->entries[i];

		if (a->method ? strcmp(a->method, entry->name) == 0 : !entry->is_alias)
			json_object_array_add(array, describe_method(entry->method));
	}
	rpc_reply(call, result);
}

static struct json_object *describe_method(const struct rpc_method *m)
{
	struct json_object *o = json_object_new_object(), *states;

	json_add_text(o, "name", m->name);
	if (m->alias)
		json_add_text(o, "alias", m->alias);
	json_add_text(o, "doc", m->doc ? m->doc : "");
	json_add_text(o, "returns", m->returns ? m->returns : "true");
	states = json_add_array(o, "states");
	if (method_states(m) & RPC_STARTUP)
		json_object_array_add(states, json_object_new_string("startup"));
	if (method_states(m) & RPC_RUNTIME)
		json_object_array_add(states, json_object_new_string("runtime"));
	json_add_bool(o, "reads", m->flags & RPC_READS);
	json_add_bool(o, "ignored", m->flags & RPC_IGNORES);
	json_object_object_add(o, "params", describe_rows(m->params, m->param_count));
	return o;
}

static struct json_object *describe_rows(const struct rpc_param *rows, size_t count)
{
	struct json_object *array = json_object_new_array();

	for (size_t i = 0; i < count; i++)
		json_object_array_add(array, describe_row(&rows[i]));
	return array;
}

static struct json_object *describe_row(const struct rpc_param *row)
{
	struct json_object *o = json_object_new_object();
	bool is_number = row->type >= RPC_U8 && row->type <= RPC_I64;

	json_add_text(o, "name", row->name);
	json_add_text(o, "type", params_type_name(row->type));
	json_add_text(o, "doc", row->doc ? row->doc : "");
	json_add_bool(o, "required", row->required);
	if (row->ignored)
		json_add_bool(o, "ignored", true);
	if (row->alias)
		json_add_text(o, "alias", row->alias);
	if (row->fallback)
		json_add_text(o, "default", row->fallback);
	if (row->unit)
		json_add_text(o, "unit", row->unit);
	if (row->min)
		json_add_u64(o, "min", row->min);
	if (is_number)
		json_add_u64(o, "max", params_number_max(row));
	else if (row->max)
		json_add_u64(o, "max", row->max);
	if (row->multiple_of)
		json_add_u64(o, "multiple_of", row->multiple_of);
	if (row->secret)
		json_add_bool(o, "secret", true);
	if (row->choices) {
		struct json_object *choices = json_add_array(o, "choices");

		for (const char *const *c = row->choices; *c; c++)
			json_object_array_add(choices, json_object_new_string(*c));
	}
	if (row->params)
		json_object_object_add(o, "params", describe_rows(row->params, row->param_count));
	return o;
}

static void handle_spdk_get_version(struct rpc_call *call, void *args)
{
	struct rpc_core_methods *m = rpc_ctx(call);
	struct json_object *result = json_object_new_object(), *fields;
	char version[64];

	snprintf(version, sizeof(version), "Gantry v%s", m->host->version);
	json_add_text(result, "version", version);
	fields = json_add_object(result, "fields");
	json_add_u64(fields, "major", m->host->version_numbers[0]);
	json_add_u64(fields, "minor", m->host->version_numbers[1]);
	json_add_u64(fields, "patch", m->host->version_numbers[2]);
	json_add_text(fields, "suffix", "");
	rpc_reply(call, result);
}

#define ALWAYS (RPC_STARTUP | RPC_RUNTIME | RPC_READS)
static const struct rpc_method methods[] = {
	RPC_METHOD("rpc_get_methods", struct get_methods, get_methods_params, handle_rpc_get_methods, .flags = ALWAYS,
		.alias = "get_rpc_methods", .doc = "The names of all methods.", .returns = "[\"name\", ...]"),
	RPC_METHOD("rpc_describe", struct describe, describe_params, handle_rpc_describe, .flags = ALWAYS,
		.doc = "Methods with their parameters: types, limits, defaults and what they mean.",
		.returns = "{methods: [{name, alias, doc, returns, states, reads, ignored, params: [{name, type, ...}]}]}"),
	RPC_METHOD_BARE("spdk_get_version", handle_spdk_get_version, .flags = ALWAYS, .alias = "get_spdk_version",
		.doc = "The daemon's version.", .returns = "{version, fields: {major, minor, patch, suffix}}"),
};

void describe_rpc_add(struct rpc_core_methods *m)
{
	rpc_add_methods(m->rpc, methods, ARRAY_SIZE(methods), m);
}
