/* SPDX-License-Identifier: BSD-3-Clause */
/* methods.c: the methods of one daemon by name, and one call from request to reply.
 *
 * A call is checked in the order in which a person would look for the mistake: is there such a method, may it be
 * called now, are its parameters right. Then its handler runs; its one reply ends the call.
 */
#include <errno.h>
#include <stdio.h>

#include "base/text.h"
#include "core/log.h"
#include "rpc/absent.h"
#include "rpc/ignored.h"
#include "rpc/params.h"
#include "rpc/registry.h"
#include "rpc/saving.h"
#include "rpc/state_priv.h"

static void add_entry(struct rpc *rpc, const char *name, const struct rpc_method *m, void *ctx);
static void check_rows(const struct rpc_param *rows, size_t count);
static int entry_order(const void *a, const void *b);
static struct rpc_entry *find_allowed(struct rpc *rpc, const char *name, struct err *e);
static struct rpc_call *call_make(struct rpc *rpc, const struct rpc_entry *entry, struct json_object *params);
static void call_free(struct rpc_call *call);
static int read_params(struct rpc_call *call, struct err *e);
static void call_ended(struct rpc_call *call, struct json_object *result, const struct err *e);
static void check_drained(struct rpc *rpc);
static void drained_already(void *arg);

struct rpc *rpc_make(struct core *core)
{
	struct rpc *rpc = base_zalloc(sizeof(*rpc));

	rpc->core = core;
	list_init(&rpc->calls);
	list_init(&rpc->kept);
	list_init(&rpc->missing);
	rpc->state = state_make(rpc);
	list_init(&rpc->drain_hooks);
	rpc->said = json_object_new_object();
	return rpc;
}

void rpc_free(struct rpc *rpc)
{
	if (!rpc)
		return;
	assert(list_empty(&rpc->calls)); /* modules answer what they hold before they are gone */
	missing_free(rpc);
	state_free(rpc->state);
	ignored_forget(rpc);
	saving_forget(rpc);
	free(rpc->entries);
	free(rpc->savers);
	free(rpc);
}

void rpc_add_methods(struct rpc *rpc, const struct rpc_method *methods, size_t count, void *ctx)
{
	for (size_t i = 0; i < count; i++) {
		check_rows(methods[i].params, methods[i].param_count);
		add_entry(rpc, methods[i].name, &methods[i], ctx);
		if (methods[i].alias)
			add_entry(rpc, methods[i].alias, &methods[i], ctx);
	}
	qsort(rpc->entries, rpc->entry_count, sizeof(*rpc->entries), entry_order);
	for (size_t i = 1; i < rpc->entry_count; i++)
		must(strcmp(rpc->entries[i - 1].name, rpc->entries[i].name) != 0);
}

void rpc_add_saver(struct rpc *rpc, const char *subsystem, rpc_save_fn *save, void *ctx)
{
	assert(!registry_find_saver(rpc, subsystem));
	rpc->savers = reallocarray(rpc->savers, rpc->saver_count + 1, sizeof(*rpc->savers));
	must(rpc->savers);
	rpc->savers[rpc->saver_count++] = (struct rpc_saver){ .subsystem = subsystem, .save = save, .ctx = ctx };
}

void rpc_add_object_saver(struct rpc *rpc, const char *subsystem, rpc_save_objects_fn *save, void *ctx)
{
	rpc_add_saver(rpc, subsystem, NULL, ctx);
	rpc->savers[rpc->saver_count - 1].save_objects = save;
}

void rpc_set_running(struct rpc *rpc, bool running)
{
	rpc->running = running;
	if (running && rpc->on_running)
		rpc->on_running(rpc->on_running_arg);
}

void rpc_on_running(struct rpc *rpc, void (*fn)(void *arg), void *arg)
{
	rpc->on_running = fn;
	rpc->on_running_arg = arg;
}

bool rpc_is_running(const struct rpc *rpc)
{
	return rpc->running;
}

struct core *rpc_core(const struct rpc *rpc)
{
	return rpc->core;
}

struct rpc_entry *registry_find(struct rpc *rpc, const char *name)
{
	struct rpc_entry key = { .name = name };

	return rpc->entry_count ? bsearch(&key, rpc->entries, rpc->entry_count, sizeof(key), entry_order) : NULL;
}

struct rpc_saver *registry_find_saver(struct rpc *rpc, const char *subsystem)
{
	for (size_t i = 0; i < rpc->saver_count; i++)
		if (strcmp(rpc->savers[i].subsystem, subsystem) == 0)
			return &rpc->savers[i];
	return NULL;
}

uint32_t method_states(const struct rpc_method *m)
{
	uint32_t states = m->flags & (RPC_STARTUP | RPC_RUNTIME);

	return states ? states : RPC_RUNTIME;
}

bool registry_allows(const struct rpc *rpc, const struct rpc_method *m)
{
	return method_states(m) & (rpc->running ? RPC_RUNTIME : RPC_STARTUP);
}

static void add_entry(struct rpc *rpc, const char *name, const struct rpc_method *m, void *ctx)
{
	rpc->entries = reallocarray(rpc->entries, rpc->entry_count + 1, sizeof(*rpc->entries));
	must(rpc->entries);
	rpc->entries[rpc->entry_count++] = (struct rpc_entry){ .name = name, .method = m, .ctx = ctx,
		.is_alias = name != m->name };
}

/* A row and its field must agree; what _Generic could not know is asserted here, at start. */
static void check_rows(const struct rpc_param *rows, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const struct rpc_param *row = &rows[i];

		assert(row->name);
		if (row->ignored)
			continue;
		assert(row->type != RPC_TEXT || row->size == sizeof(char *));
		assert(row->type != RPC_OBJECT || row->params);
		assert(row->type != RPC_OBJECTS || (row->params && row->object_size));
		assert(!row->required || !row->fallback);
		assert(row->type != RPC_JSON || !row->fallback);
		if (row->params)
			check_rows(row->params, row->param_count);
	}
}

static int entry_order(const void *a, const void *b)
{
	return strcmp(((const struct rpc_entry *)a)->name, ((const struct rpc_entry *)b)->name);
}

void rpc_on_drain(struct rpc *rpc, struct rpc_drain_hook *h)
{
	list_add_tail(&rpc->drain_hooks, &h->link);
}

void rpc_drain(struct rpc *rpc, void (*done)(void *arg), void *arg)
{
	assert(!rpc->drained);
	rpc->drained = done;
	rpc->drained_arg = arg;
	list_each_safe(at, &rpc->drain_hooks) {
		struct rpc_drain_hook *h = list_entry(at, struct rpc_drain_hook, link);

		h->fn(h);
	}
	check_drained(rpc);
}

static void check_drained(struct rpc *rpc)
{
	void (*done)(void *arg) = rpc->drained;

	if (!done || !list_empty(&rpc->calls))
		return;
	rpc->drained = drained_already;
	if (done != drained_already)
		done(rpc->drained_arg);
}

static void drained_already(void *arg)
{
}

/* --- one call ------------------------------------------------------------------------------------------- */

void rpc_call_inside(struct rpc *rpc, const char *method, struct json_object *params, rpc_inside_fn *done, void *arg)
{
	registry_call(rpc, method, params, RPC_CALL_OUTSIDE, done, arg);
}

void registry_call(struct rpc *rpc, const char *method, struct json_object *params, enum rpc_call_kind kind,
                   rpc_inside_fn *done, void *arg)
{
	struct err e = { 0 };
	struct rpc_entry *entry = find_allowed(rpc, method, &e);
	struct rpc_call *call;

	if (!entry) {
		done(arg, NULL, &e);
		return;
	}
	call = call_make(rpc, entry, params);
	call->done = done;
	call->arg = arg;
	call->kind = kind;
	if (read_params(call, &e))
		call_finish(call, NULL, &e);
	else if (kind != RPC_CALL_OUTSIDE || !state_hold(call))
		call_begin(call);
}

int registry_check(struct rpc *rpc, const char *method, struct json_object *params, struct err *e)
{
	struct rpc_entry *entry = find_allowed(rpc, method, e);
	const struct rpc_method *m = entry ? entry->method : NULL;
	void *args;
	int rc;

	if (!entry)
		return e->code;
	if (m->flags & RPC_IGNORES || (params && !json_object_is_type(params, json_type_object)))
		return 0; /* the call says what is wrong */
	args = base_zalloc(m->args_size);
	rc = rpc_params_from_json(m->params, m->param_count, params, args, e);
	rpc_params_free(m->params, m->param_count, args);
	free(args);
	return rc;
}

void call_begin(struct rpc_call *call)
{
	log_debug("rpc: %s", call->method->name);
	call->handling = true;
	call->method->handler(call, call->args);
	call->handling = false;
	if (call->answered)
		call_free(call);
}

static struct rpc_entry *find_allowed(struct rpc *rpc, const char *name, struct err *e)
{
	struct rpc_entry *entry = registry_find(rpc, name);

	if (rpc->drained) {
		err_set(e, -ESHUTDOWN, "the daemon is stopping");
		return NULL;
	}
	if (!entry) {
		registry_unknown(rpc, name, e);
		return NULL;
	}
	if (entry->is_alias && !entry->said) {
		entry->said = true;
		log_warning("rpc: %s is an older name; %s is the present one", name, entry->method->name);
	}
	if (registry_allows(rpc, entry->method))
		return entry;
	if (rpc->running)
		err_set(e, RPC_ERR_STATE, "%s: this method may only be called before the framework is initialized; "
		        "start with --wait-for-rpc and call it before framework_start_init", name);
	else
		err_set(e, RPC_ERR_STATE, "%s: this method may only be called after the framework is initialized; "
		        "call framework_start_init first", name);
	return NULL;
}

void registry_unknown(struct rpc *rpc, const char *name, struct err *e)
{
	const char **names = base_zalloc(rpc->entry_count * sizeof(*names));
	const char *nearest, *absent = absent_because(name);
	char buf[64];
	struct text shown = text_over(buf, sizeof(buf));

	text_add(&shown, "%s", name); /* as much of it as fits: anything may have been sent */
	for (size_t i = 0; i < rpc->entry_count; i++)
		names[i] = rpc->entries[i].name;
	nearest = text_nearest(name, names, rpc->entry_count);
	free(names);
	if (absent)
		err_set(e, RPC_ERR_METHOD, "Method not found: %s: %s", shown.buf, absent);
	else if (nearest)
		err_set(e, RPC_ERR_METHOD, "Method not found: %s; did you mean %s?", shown.buf, nearest);
	else
		err_set(e, RPC_ERR_METHOD, "Method not found: %s; rpc_get_methods lists all there are", shown.buf);
}

static struct rpc_call *call_make(struct rpc *rpc, const struct rpc_entry *entry, struct json_object *params)
{
	struct rpc_call *call = base_zalloc(sizeof(*call));

	call->rpc = rpc;
	call->method = entry->method;
	call->ctx = entry->ctx;
	call->params = json_object_get(params);
	call->args = base_zalloc(entry->method->args_size);
	list_add_tail(&rpc->calls, &call->link);
	return call;
}

static int read_params(struct rpc_call *call, struct err *e)
{
	const struct rpc_method *m = call->method;
	int rc;

	if (call->params && !json_object_is_type(call->params, json_type_object))
		return err_set(e, ERR_BAD_PARAM, "Invalid parameters: %s takes them by name, as an object {\"name\": value}",
		               m->name);
	if (m->flags & RPC_IGNORES)
		return 0;
	rc = rpc_params_from_json(m->params, m->param_count, call->params, call->args, e);
	if (rc == 0)
		call->ignored = params_ignored(m->params, m->param_count, call->params);
	if (call->ignored)
		ignored_say_params(call->rpc, m, call->ignored);
	return rc;
}

/* The handler has answered. From outside, it is told when what was changed lasts. */
static void call_ended(struct rpc_call *call, struct json_object *result, const struct err *e)
{
	bool was_missing = missing_ended(call, result, e);
	struct json_object *yes = was_missing ? json_object_new_boolean(true) : NULL;

	e = was_missing ? NULL : e;
	result = was_missing ? yes : result;
	if (!e && call->ignored)
		ignored_keep_params(call->rpc, call->method, call->params, call->ignored);
	if (call->kind != RPC_CALL_OUTSIDE || !state_ended(call, result, e))
		call_finish(call, result, e);
	json_object_put(yes);
}

void call_finish(struct rpc_call *call, struct json_object *result, const struct err *e)
{
	struct rpc *rpc = call->rpc;
	void (*lasting)(struct rpc_call *call, void *lasting_arg) = call->lasting;

	call->lasting = NULL;
	if (lasting && !e) {
		call->result = json_object_get(result);
		lasting(call, call->lasting_arg);
		return;
	}
	list_del(&call->link);
	call->done(call->arg, result, e);
	if (call->handling)
		call->answered = true;
	else
		call_free(call);
	check_drained(rpc);
}

static void call_free(struct rpc_call *call)
{
	rpc_params_free(call->method->params, call->method->param_count, call->args);
	free(call->args);
	json_object_put(call->ignored);
	json_object_put(call->params);
	free(call);
}

void rpc_when_lasting(struct rpc_call *call, void (*fn)(struct rpc_call *call, void *arg), void *arg)
{
	call->lasting = fn;
	call->lasting_arg = arg;
}

void rpc_lasted(struct rpc_call *call, const struct err *e)
{
	struct json_object *result = call->result;

	call_finish(call, e->code ? NULL : result, e->code ? e : NULL);
	json_object_put(result);
}

/* --- in a handler --------------------------------------------------------------------------------------- */

void *rpc_ctx(const struct rpc_call *call)
{
	return call->ctx;
}

struct rpc *rpc_of(const struct rpc_call *call)
{
	return call->rpc;
}

const struct rpc_method *rpc_method_of(const struct rpc_call *call)
{
	return call->method;
}

struct json_object *rpc_given_params(const struct rpc_call *call)
{
	return call->params;
}

bool rpc_given(const struct rpc_call *call, const char *param)
{
	for (size_t i = 0; i < call->method->param_count; i++)
		if (strcmp(call->method->params[i].name, param) == 0)
			return params_find(&call->method->params[i], call->params) != NULL;
	assert(!"the method has a row of that name");
	return false;
}

bool rpc_is_loading(const struct rpc_call *call)
{
	return call->kind != RPC_CALL_OUTSIDE;
}

void rpc_reply(struct rpc_call *call, struct json_object *result)
{
	call_ended(call, result, NULL);
	json_object_put(result);
}

void rpc_reply_true(struct rpc_call *call)
{
	rpc_reply(call, json_object_new_boolean(true));
}

void rpc_reply_err(struct rpc_call *call, const struct err *e)
{
	assert(e->code);
	call_ended(call, NULL, e);
}

void rpc_reply_rc(struct rpc_call *call, int rc, const struct err *e)
{
	if (rc)
		rpc_reply_err(call, e);
	else
		rpc_reply_true(call);
}

void rpc_reply_error(struct rpc_call *call, int code, const char *fmt, ...)
{
	struct err e = { 0 };
	char sentence[ERR_TEXT_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(sentence, sizeof(sentence), fmt, ap);
	va_end(ap);
	err_set(&e, code, "%s", sentence);
	rpc_reply_err(call, &e);
}
