/* SPDX-License-Identifier: BSD-3-Clause */
/* state_rpc.c: the configuration as versions: look at one, compare, exchange, go back. */
#include <errno.h>

#include "rpc/changes.h"
#include "rpc/core_rpc.h"
#include "rpc/ignored.h"
#include "rpc/params.h"
#include "rpc/state_priv.h"

/* --- looking -------------------------------------------------------------------------------------------------- */

struct version_args {
	uint64_t version;
};

static const struct rpc_param get_params[] = {
	RPC_PARAM(struct version_args, version, .doc = "One that is kept (config_get_versions); the present one when "
	        "left out."),
};

static void handle_config_get(struct rpc_call *call, void *args)
{
	struct version_args *a = args;
	struct err e = { 0 };
	struct json_object *config;

	if (rpc_given(call, "version"))
		config = state_config_of(rpc_of(call)->state, a->version, &e);
	else
		config = rpc_save_config(rpc_of(call));
	if (config)
		rpc_reply(call, config);
	else
		rpc_reply_err(call, &e);
}

static void show_version(struct json_object *list, uint64_t version, uint64_t time_us, struct json_object *change)
{
	struct json_object *o = json_append_object(list);

	json_add_u64(o, "version", version);
	json_add_u64(o, "time_us", time_us);
	json_object_object_add(o, "calls", change ? json_object_get(json_object_object_get(change, "calls"))
	                                          : json_object_new_array());
	json_object_object_add(o, "changes", change ? json_object_get(json_object_object_get(change, "what"))
	                                            : json_object_new_array());
}

static void handle_config_get_versions(struct rpc_call *call, void *args)
{
	struct state *s = rpc_of(call)->state;
	struct json_object *list;

	(void)args;
	if (!s->files) {
		rpc_reply_error(call, -ENOENT, "this daemon keeps no versions; start it with --state-dir");
		return;
	}
	list = json_object_new_array();
	if (s->base)
		show_version(list, s->base_version, s->base_time_us, NULL);
	for (uint32_t i = 0; i < s->change_count; i++)
		show_version(list, s->base_version + 1 + i,
		             json_object_get_uint64(json_object_object_get(s->changes[i].json, "time_us")), s->changes[i].json);
	rpc_reply(call, list);
}

static void add_missing(struct rpc *rpc, struct json_object *list)
{
	list_each(at, &rpc->missing) {
		struct missing *m = list_entry(at, struct missing, link);
		struct json_object *o = json_append_object(list);

		json_add_text(o, "subsystem", m->subsystem);
		json_add_text(o, "method", entry_method(m->entry));
		if (entry_params(m->entry))
			json_object_object_add(o, "params", json_object_get(entry_params(m->entry)));
		json_add_text(o, "why", m->why);
	}
}

static void handle_config_get_missing(struct rpc_call *call, void *args)
{
	struct json_object *list = json_object_new_array();

	(void)args;
	add_missing(rpc_of(call), list);
	rpc_reply(call, list);
}

static void handle_config_get_state(struct rpc_call *call, void *args)
{
	struct state *s = rpc_of(call)->state;
	struct json_object *o = json_object_new_object();

	(void)args;
	json_add_text(o, "state_dir", s->files ? s->files->path : "");
	json_add_u64(o, "version", s->version);
	json_add_u64(o, "oldest_version", s->base_version);
	json_add_u64(o, "failures", s->failures);
	json_add_text(o, "error", s->why.code ? s->why.text : "");
	json_add_bool(o, "behind", s->behind);
	add_missing(rpc_of(call), json_add_array(o, "missing"));
	rpc_reply(call, o);
}

/* --- comparing ------------------------------------------------------------------------------------------------ */

struct diff_args {
	uint64_t version;
	struct json_object *config;
};

static const struct rpc_param diff_params[] = {
	RPC_PARAM(struct diff_args, version, .doc = "Show what changed since this version."),
	RPC_PARAM(struct diff_args, config, .doc = "Or what would change with this configuration, as save_config gives "
	        "it."),
};

/* As they may be shown. */
static struct json_object *shown_params(struct rpc *rpc, struct json_object *entry)
{
	struct rpc_entry *found = registry_find(rpc, entry_method(entry));
	struct json_object *copy = NULL;

	json_object_deep_copy(entry_params(entry), &copy, NULL);
	if (found)
		params_hide(found->method->params, found->method->param_count, copy);
	return copy;
}

static struct json_object *items_to_json(struct rpc *rpc, const struct change_items *items, bool to_come)
{
	struct json_object *list = json_object_new_array();

	for (size_t i = 0; i < items->count; i++) {
		const struct change_item *item = &items->at[i];
		struct json_object *entry = item->to ? item->to : item->from, *o = json_append_object(list);
		char *words = change_words(rpc, item);

		json_add_text(o, "action", change_verb_name(item->verb));
		json_add_text(o, "subsystem", item->subsystem);
		json_add_text(o, "method", entry_method(entry));
		if (entry_params(entry))
			json_object_object_add(o, "params", shown_params(rpc, entry));
		json_add_text(o, "text", words);
		free(words);
		if (to_come)
			change_add_loss(item, o);
	}
	return list;
}

/* A configuration somebody gave: NULL with a sentence when it is none. */
static bool is_config(struct json_object *config, struct err *e)
{
	struct json_object *subsystems;

	if (!json_object_is_type(config, json_type_object) || !json_object_object_get_ex(config, "subsystems",
	        &subsystems) ||
	    !json_object_is_type(subsystems, json_type_array)) {
		err_set(e, ERR_BAD_PARAM, "config: an object {\"subsystems\": [...]} is wanted, as save_config gives it");
		return false;
	}
	for (size_t i = 0; i < json_object_array_length(subsystems); i++) {
		struct json_object *s = json_object_array_get_idx(subsystems, i), *name, *list;

		if (!json_object_is_type(s, json_type_object) || !json_object_object_get_ex(s, "subsystem", &name) ||
		    !json_object_is_type(name, json_type_string)) {
			err_set(e, ERR_BAD_PARAM, "config: subsystems[%zu]: an object with \"subsystem\": \"name\" is wanted", i);
			return false;
		}
		if (json_object_object_get_ex(s, "config", &list) && list && !json_object_is_type(list, json_type_array)) {
			err_set(e, ERR_BAD_PARAM, "config: subsystem %s: \"config\" must be a list or null",
			        json_object_get_string(name));
			return false;
		}
	}
	return true;
}

static void handle_config_diff(struct rpc_call *call, void *args)
{
	struct diff_args *a = args;
	struct rpc *rpc = rpc_of(call);
	struct json_object *now, *other;
	struct change_items items;
	struct err e = { 0 };

	if (rpc_given(call, "version") == (a->config != NULL)) {
		rpc_reply_error(call, ERR_BAD_PARAM, "version, config: one of the two is wanted");
		return;
	}
	other = a->config ? json_object_get(a->config) : state_config_of(rpc->state, a->version, &e);
	if (e.code || !is_config(other, &e)) {
		json_object_put(other);
		rpc_reply_err(call, &e);
		return;
	}
	now = rpc_save_config(rpc);
	items = changes_between(rpc, a->config ? now : other, a->config ? other : now, a->config != NULL);
	rpc_reply(call, items_to_json(rpc, &items, a->config != NULL));
	changes_free(&items);
	json_object_put(now);
	json_object_put(other);
}

/* --- exchanging ----------------------------------------------------------------------------------------------- */

struct apply_args {
	struct json_object *config;
	uint64_t version;
	bool dry_run;
};

static const struct rpc_param apply_params[] = {
	RPC_PARAM(struct apply_args, config, .required = true,
	          .doc = "As save_config gives it. Subsystems and parameters that it does not name stay as they are."),
	RPC_PARAM(struct apply_args, dry_run, .doc = "Only say what would be done."),
};
static const struct rpc_param rollback_params[] = {
	RPC_PARAM(struct apply_args, version, .required = true, .doc = "One that is kept; config_get_versions lists them."),
	RPC_PARAM(struct apply_args, dry_run, .doc = "Only say what would be done."),
};

struct exchange {
	struct rpc_call *call;
	struct json_object *plan;
};

/* What was done, in words. */
static struct json_object *shown(struct json_object *plan)
{
	struct json_object *list = json_object_new_array();

	for (size_t i = 0; i < json_object_array_length(plan); i++) {
		struct json_object *step = json_object_array_get_idx(plan, i), *o = json_append_object(list), *v;

		json_object_object_add(o, "action", json_object_get(json_object_object_get(step, "action")));
		json_object_object_add(o, "text", json_object_get(json_object_object_get(step, "text")));
		if (json_object_object_get_ex(step, "method", &v))
			json_object_object_add(o, "method", json_object_get(v));
		if (json_object_object_get_ex(step, "loses_data", &v))
			json_object_object_add(o, "loses_data", json_object_get(v));
		if (json_object_object_get_ex(step, "loses", &v))
			json_object_object_add(o, "loses", json_object_get(v));
	}
	return list;
}

static void exchanged(void *arg, const struct err *e)
{
	struct exchange *x = arg;

	if (e)
		rpc_reply_err(x->call, e);
	else
		rpc_reply(x->call, shown(x->plan));
	json_object_put(x->plan);
	free(x);
}

static void exchange(struct rpc_call *call, struct json_object *config, bool dry_run)
{
	struct rpc *rpc = rpc_of(call);
	struct json_object *now = rpc_save_config(rpc), *plan;
	struct exchange *x;
	struct err e = { 0 };

	plan = plan_make(rpc, now, config, &e);
	json_object_put(now);
	if (!plan) {
		rpc_reply_err(call, &e);
	} else if (dry_run) {
		rpc_reply(call, shown(plan));
		json_object_put(plan);
	} else {
		x = base_zalloc(sizeof(*x));
		x->call = call;
		x->plan = plan;
		plan_apply(rpc, plan, exchanged, x);
	}
}

static void handle_config_apply(struct rpc_call *call, void *args)
{
	struct apply_args *a = args;
	struct err e = { 0 };

	if (is_config(a->config, &e))
		exchange(call, a->config, a->dry_run);
	else
		rpc_reply_err(call, &e);
}

static void handle_config_rollback(struct rpc_call *call, void *args)
{
	struct apply_args *a = args;
	struct err e = { 0 };
	struct json_object *config = state_config_of(rpc_of(call)->state, a->version, &e);

	if (config)
		exchange(call, config, a->dry_run);
	else
		rpc_reply_err(call, &e);
	json_object_put(config);
}

/* --- forgetting ----------------------------------------------------------------------------------------------- */

struct forget_args {
	char *method;
	struct json_object *params;
};

static const struct rpc_param forget_params[] = {
	RPC_PARAM(struct forget_args, method, .required = true, .doc = "The method, as config_get_missing shows it."),
	RPC_PARAM(struct forget_args, params, .doc = "Its parameters."),
};

static void handle_config_forget(struct rpc_call *call, void *args)
{
	struct forget_args *a = args;
	struct rpc *rpc = rpc_of(call);
	struct rpc_entry *found = registry_find(rpc, a->method);
	struct json_object *entry = json_object_new_object();
	bool forgot;

	json_add_text(entry, "method", a->method);
	if (a->params)
		json_object_object_add(entry, "params", json_object_get(a->params));
	forgot = missing_forget(rpc, entry);
	forgot |= found && found->method->flags & RPC_IGNORES && ignored_forget_method(rpc, found->method, a->params);
	json_object_put(entry);
	if (forgot)
		rpc_reply_true(call);
	else
		rpc_reply_error(call, -ENOENT, "method: no such call waits, or is kept without effect; config_get_missing "
		        "lists those "
		                "that wait");
}

static const struct rpc_method methods[] = {
	RPC_METHOD("config_get", struct version_args, get_params, handle_config_get, .flags = RPC_RUNTIME | RPC_READS,
		.doc = "A version of the configuration, as save_config gives it.",
		.returns = "{subsystems: [{subsystem, config: [{method, params}]}]}"),
	RPC_METHOD_BARE("config_get_versions", handle_config_get_versions, .flags = RPC_RUNTIME | RPC_READS,
		.doc = "The versions that the state directory keeps, the oldest first.",
		.returns = "[{version, time_us, calls: [...], changes: [...]}]"),
	RPC_METHOD_BARE("config_get_missing", handle_config_get_missing, .flags = RPC_RUNTIME | RPC_READS,
		.doc = "What is configured and cannot be made yet, and why.", .returns = "[{subsystem, method, params, why}]"),
	RPC_METHOD_BARE("config_get_state", handle_config_get_state, .flags = RPC_STARTUP | RPC_RUNTIME | RPC_READS,
		.doc = "How the configuration is kept.",
		.returns = "{state_dir, version, oldest_version, failures, error, behind, missing: [...]}"),
	RPC_METHOD("config_diff", struct diff_args, diff_params, handle_config_diff, .flags = RPC_RUNTIME | RPC_READS,
		.doc = "Compare the present configuration with a version, or with one that is given.",
		.returns = "[{action, subsystem, method, params, text, loses_data, loses}]"),
	RPC_METHOD("config_apply", struct apply_args, apply_params, handle_config_apply, .flags = RPC_RUNTIME | RPC_WHOLE,
		.doc = "Make the configuration like this one, by the fewest changes; all of them, or none.",
		.returns = "[{action, text, method, loses_data, loses}]: what was done"),
	RPC_METHOD("config_rollback", struct apply_args, rollback_params, handle_config_rollback,
		.flags = RPC_RUNTIME | RPC_WHOLE, .doc = "Go back to a version, by the fewest changes; all of them, or none.",
		.returns = "[{action, text, method, loses_data, loses}]: what was done"),
	RPC_METHOD("config_forget", struct forget_args, forget_params, handle_config_forget, .flags = RPC_RUNTIME,
		.doc = "Give up a call that waits for what is missing, or one that was kept without effect.",
		        .returns = "true"),
};

void state_rpc_add(struct rpc_core_methods *m)
{
	rpc_add_methods(m->rpc, methods, ARRAY_SIZE(methods), m);
}
