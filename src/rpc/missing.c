/* SPDX-License-Identifier: BSD-3-Clause */
/* missing.c: entries of a configuration that could not be made yet: a namespace whose device is not there, a device
 * whose
 * file cannot be opened. They are part of what is desired: saved as they are, and tried again when something comes that
 * they name. */
#include "base/text.h"
#include "core/log.h"
#include "rpc/changes.h"
#include "rpc/state_priv.h"

#define MISSING_SAID_MAX 8u

static void missing_drop(struct missing *m);
static void mark_those_that_name(struct rpc *rpc, struct json_object *texts, const char *uuid);
static void retry_deferred(struct defer *d);
static void retry_next(struct rpc *rpc);
static void retried(void *arg, struct json_object *result, const struct err *e);

static bool same_identity(struct rpc *rpc, struct json_object *a, struct json_object *b)
{
	char *of_a = entry_identity(rpc, a), *of_b = entry_identity(rpc, b);
	bool same = of_a && of_b ? strcmp(of_a, of_b) == 0 : json_object_equal(a, b);

	free(of_a);
	free(of_b);
	return same;
}

void rpc_state_keep(struct rpc *rpc, const char *subsystem, struct json_object *entry, const char *uuid,
                    const struct err *why)
{
	if (rpc->drained)
		return;
	missing_keep(rpc, subsystem, entry, why);
	text_pad(list_entry(rpc->missing.prev, struct missing, link)->uuid, UUID_TEXT_MAX - 1, uuid, 0);
	state_touch(rpc);
}

bool rpc_state_forget(struct rpc *rpc, struct json_object *entry)
{
	bool known = missing_forget(rpc, entry);

	if (known)
		state_touch(rpc);
	return known;
}

void missing_keep(struct rpc *rpc, const char *subsystem, struct json_object *entry, const struct err *why)
{
	struct missing *m;

	list_each_safe(at, &rpc->missing) {
		m = list_entry(at, struct missing, link);
		if (same_identity(rpc, m->entry, entry))
			missing_drop(m);
	}
	m = base_zalloc(sizeof(*m));
	m->subsystem = base_strdup(subsystem);
	m->entry = json_object_get(entry);
	text_pad(m->why, sizeof(m->why) - 1, why->text, 0);
	list_add_tail(&rpc->missing, &m->link);
}

static void missing_drop(struct missing *m)
{
	list_del(&m->link);
	json_object_put(m->entry);
	free(m->subsystem);
	free(m);
}

void missing_free(struct rpc *rpc)
{
	list_each_safe(at, &rpc->missing)
		missing_drop(list_entry(at, struct missing, link));
	if (rpc->retry.queued)
		defer_cancel(&rpc->retry);
}

void missing_save(struct rpc *rpc, const char *subsystem, struct json_object *array)
{
	list_each(at, &rpc->missing) {
		struct missing *m = list_entry(at, struct missing, link);

		if (strcmp(m->subsystem, subsystem) == 0)
			json_object_array_add(array, json_object_get(m->entry));
	}
}

void missing_say(struct rpc *rpc)
{
	char buf[900];
	struct text t = text_over(buf, sizeof(buf));
	uint32_t count = 0;

	list_each(at, &rpc->missing) {
		struct missing *m = list_entry(at, struct missing, link);
		char *words = entry_words(rpc, m->entry);

		if (count++ < MISSING_SAID_MAX)
			text_add(&t, "%s%s", count > 1 ? ", " : "", words);
		free(words);
	}
	if (count > MISSING_SAID_MAX)
		text_add(&t, " and %u more", count - MISSING_SAID_MAX);
	if (t.cut)
		text_end_with(&t, "...");
	if (count)
		log_warning("config: %u of its parts cannot be made yet, and wait for what they need: %s; "
		        "config_get_missing says "
		            "why", count, buf);
}

bool missing_forget(struct rpc *rpc, struct json_object *entry)
{
	list_each_safe(at, &rpc->missing) {
		struct missing *m = list_entry(at, struct missing, link);

		if (strcmp(entry_method(m->entry), entry_method(entry)) == 0 && same_identity(rpc, m->entry, entry)) {
			missing_drop(m);
			return true;
		}
	}
	return false;
}

/* --- what calls do to them -------------------------------------------------------------------------------------- */

/* Is it what `undo`, called so, takes away? */
static bool is_undone_by(struct rpc *rpc, struct missing *m, const struct rpc_method *undo, struct json_object *params)
{
	struct rpc_entry *found = registry_find(rpc, entry_method(m->entry));
	char *mine, *theirs;
	bool same;

	if (!found || method_undo(rpc, found->method) != undo)
		return false;
	mine = method_identity(rpc, found->method, entry_params(m->entry));
	theirs = method_identity(rpc, found->method, params);
	same = mine && theirs && strcmp(mine, theirs) == 0;
	free(mine);
	free(theirs);
	return same;
}

/* Does it belong to what `undo`, called so, has taken away: a namespace to its subsystem? */
static bool belonged_to(struct rpc *rpc, struct missing *m, const struct rpc_method *undo, struct json_object *params)
{
	for (size_t i = 0; i < rpc->entry_count; i++) {
		const struct rpc_method *makes = rpc->entries[i].method;
		char *mine, *theirs;
		bool same;

		if (method_undo(rpc, makes) != undo)
			continue;
		mine = whole_identity(rpc, makes, m->entry);
		theirs = method_identity(rpc, makes, params);
		same = mine && theirs && strcmp(mine, theirs) == 0;
		free(mine);
		free(theirs);
		if (same)
			return true;
	}
	return false;
}

static void collect_text(void *arg, const char *text)
{
	json_object_object_add(arg, text, NULL);
}

bool missing_ended(struct rpc_call *call, struct json_object *result, const struct err *e)
{
	struct rpc *rpc = call->rpc;
	struct json_object *made, *texts;
	bool dropped = false;

	if (list_empty(&rpc->missing) || call->method->flags & RPC_READS || call->kind == RPC_CALL_RETRY ||
	    (e && !load_lacks_something(e)))
		return false;
	made = json_object_new_object();
	json_object_object_add(made, "method", json_object_new_string(call->method->name));
	json_object_object_add(made, "params", json_object_get(call->params));
	list_each_safe(at, &rpc->missing) {
		struct missing *m = list_entry(at, struct missing, link);

		if (is_undone_by(rpc, m, call->method, call->params)) {
			missing_drop(m);
			dropped = true;
		} else if (!e && ((strcmp(entry_method(m->entry), call->method->name) == 0 &&
		                   same_identity(rpc, m->entry, made)) || belonged_to(rpc, m, call->method, call->params))) {
			missing_drop(m);
		}
	}
	json_object_put(made);
	if (!e) {
		texts = json_object_new_object();
		json_each_text(call->params, collect_text, texts);
		json_each_text(result, collect_text, texts);
		mark_those_that_name(rpc, texts, NULL);
		json_object_put(texts);
	}
	return e && dropped;
}

/* --- trying again ------------------------------------------------------------------------------------------------- */

void rpc_state_arrived(struct rpc *rpc, const char *name, const char *uuid)
{
	struct json_object *texts;

	if (list_empty(&rpc->missing))
		return;
	texts = json_object_new_object();
	collect_text(texts, name);
	mark_those_that_name(rpc, texts, uuid);
	json_object_put(texts);
}

struct looking {
	struct json_object *texts;
	bool found;
};

static void look(void *arg, const char *text)
{
	struct looking *l = arg;

	l->found |= json_object_object_get_ex(l->texts, text, NULL);
}

/* `uuid`: of the device that came; NULL: a call ended. */
static void mark_those_that_name(struct rpc *rpc, struct json_object *texts, const char *uuid)
{
	list_each(at, &rpc->missing) {
		struct missing *m = list_entry(at, struct missing, link);
		struct looking l = { .texts = texts };

		if (m->uuid[0] && (!uuid || strcmp(m->uuid, uuid) != 0))
			continue;
		json_each_text(entry_params(m->entry), look, &l);
		if (!l.found)
			continue;
		m->marked = true;
		defer_run(&rpc->retry, retry_deferred);
	}
}

static void retry_deferred(struct defer *d)
{
	struct rpc *rpc = container_of(d, struct rpc, retry);

	if (!rpc->retrying && !rpc->loading)
		retry_next(rpc);
}

void missing_retry(struct rpc *rpc)
{
	defer_run(&rpc->retry, retry_deferred);
}

static void retry_next(struct rpc *rpc)
{
	list_each(at, &rpc->missing) {
		struct missing *m = list_entry(at, struct missing, link);

		if (!m->marked)
			continue;
		m->marked = false;
		rpc->retrying = json_object_get(m->entry);
		registry_call(rpc, entry_method(m->entry), entry_params(m->entry), RPC_CALL_RETRY, retried, rpc);
		return;
	}
	state_touch(rpc);
}

static void retried(void *arg, struct json_object *result, const struct err *e)
{
	struct rpc *rpc = arg;
	char *words = entry_words(rpc, rpc->retrying);
	struct json_object *made = json_object_get(entry_params(rpc->retrying));

	list_each_safe(at, &rpc->missing) {
		struct missing *m = list_entry(at, struct missing, link);

		if (m->entry != rpc->retrying)
			continue;
		if (e)
			text_pad(m->why, sizeof(m->why) - 1, e->text, 0);
		else
			missing_drop(m);
	}
	if (e)
		log_info("config: %s: still waits: %s", words, e->text);
	else
		log_notice("config: %s: what it waited for is there", words);
	free(words);
	json_object_put(rpc->retrying);
	rpc->retrying = NULL;
	if (!e) {
		struct json_object *texts = json_object_new_object();

		json_each_text(result, collect_text, texts);
		json_each_text(made, collect_text, texts);
		mark_those_that_name(rpc, texts, NULL);
		json_object_put(texts);
	}
	json_object_put(made);
	defer_run(&rpc->retry, retry_deferred);
}
