/* SPDX-License-Identifier: BSD-3-Clause */
/* apply.c: a plan's steps, one after the other; and, when one fails, those before it undone, the last first. */
#include <errno.h>

#include "core/log.h"
#include "rpc/changes.h"
#include "rpc/state.h"

struct apply {
	struct rpc *rpc;
	struct json_object *plan;
	size_t *order;             /* places in the plan: what lacks something is moved behind the others */
	size_t count, at, moved;   /* moved: steps at the end that were tried since one succeeded */
	bool undoing;
	bool stepping, again;
	struct err err;            /* why it was undone */
	uint32_t undo_failed;
	struct json_object *lost;  /* borrowed: what a step lost, which its undoing does not bring back; the last one */
	rpc_loaded_fn *done;
	void *arg;
};

static void apply_step(struct apply *a);
static void step_replied(void *arg, struct json_object *result, const struct err *e);
static bool move_behind(struct apply *a, const struct err *e);
static void apply_end(struct apply *a);
static bool check_steps(struct apply *a);

void plan_apply(struct rpc *rpc, struct json_object *plan, rpc_loaded_fn *done, void *arg)
{
	struct apply *a = base_zalloc(sizeof(*a));

	a->rpc = rpc;
	a->plan = json_object_get(plan);
	a->count = json_object_array_length(plan);
	a->order = base_zalloc((a->count + 1) * sizeof(*a->order));
	for (size_t i = 0; i < a->count; i++)
		a->order[i] = i;
	a->done = done;
	a->arg = arg;
	if (check_steps(a))
		apply_step(a);
	else
		apply_end(a);
}

static struct json_object *step_at(struct apply *a, size_t at)
{
	return json_object_array_get_idx(a->plan, a->order[at]);
}

/* A mistake in a file is found before anything is taken away for it. */
static bool check_steps(struct apply *a)
{
	struct err e = { 0 };

	for (size_t i = 0; i < a->count && !a->err.code; i++) {
		struct json_object *step = step_at(a, i);

		if (*entry_method(step) && registry_check(a->rpc, entry_method(step), entry_params(step), &e))
			err_set(&a->err, e.code, "%.200s: %.250s", json_object_get_string(json_object_object_get(step, "text")),
			        e.text);
	}
	return !a->err.code;
}

/* Forwards at `at`; while undoing, backwards below it. */
static void apply_step(struct apply *a)
{
	a->stepping = true;
	do {
		struct json_object *call, *params = NULL;

		a->again = false;
		if (a->undoing ? a->at == 0 : a->at == a->count) {
			apply_end(a);
			return;
		}
		call = step_at(a, a->undoing ? --a->at : a->at);
		if (a->undoing)
			call = json_object_object_get(call, "undo");
		if (!call || !*entry_method(call)) { /* the effect of another */
			a->at += !a->undoing;
			a->again = true;
			continue;
		}
		params = entry_params(call);
		registry_call(a->rpc, entry_method(call), params, RPC_CALL_NESTED, step_replied, a);
	} while (a->again);
	a->stepping = false;
}

static void step_replied(void *arg, struct json_object *result, const struct err *e)
{
	struct apply *a = arg;

	(void)result;
	if (a->undoing) {
		if (e)
			log_error("config: undoing: %s: %s", json_object_get_string(json_object_object_get(step_at(a, a->at),
			        "text")),
			          e->text);
		a->undo_failed += e != NULL;
	} else if (!e) {
		if (json_object_object_get(step_at(a, a->at), "loses_data"))
			a->lost = json_object_object_get(step_at(a, a->at), "loses");
		a->at++;
		a->moved = 0;
	} else if (!move_behind(a, e)) {
		err_set(&a->err, e->code, "%.200s: %.250s", json_object_get_string(json_object_object_get(step_at(a, a->at),
		        "text")),
		        e->text);
		a->undoing = true;
	}
	if (a->stepping)
		a->again = true;
	else
		apply_step(a);
}

/* A file may name things before it makes them. */
static bool move_behind(struct apply *a, const struct err *e)
{
	size_t this = a->order[a->at];

	if (!load_lacks_something(e) || a->moved >= a->count - a->at)
		return false;
	memmove(&a->order[a->at], &a->order[a->at + 1], (a->count - a->at - 1) * sizeof(*a->order));
	a->order[a->count - 1] = this;
	a->moved++;
	return true;
}

static void apply_end(struct apply *a)
{
	struct err e = { 0 };

	if (a->err.code && a->undo_failed)
		err_set(&e, a->err.code, "%.400s; %u steps could not be undone, the log says which", a->err.text,
		        a->undo_failed);
	else if (a->lost && a->err.code)
		err_set(&e, a->err.code, "%.330s; the configuration is as it was before, but %.120s",
		        a->err.text, json_object_get_string(a->lost));
	else if (a->err.code)
		err_set(&e, a->err.code, "%.440s; everything is as it was before", a->err.text);
	json_object_put(a->plan);
	free(a->order);
	a->done(a->arg, a->err.code ? &e : NULL);
	free(a);
}
