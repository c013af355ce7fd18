/* SPDX-License-Identifier: BSD-3-Clause */
/* state.c: calls are answered when what they changed is lasting.
 *
 * A call that ends waits in `ended`. When nothing is being written, the configuration is saved in memory and compared
 * with the latest version that lasts: the difference, of all calls that have ended by then, is one record. A helper
 * thread writes it; then they are answered. Calls that exchange a whole configuration keep the others waiting, so that
 * no half of it is ever written.
 *
 * What cannot be written is undone; what cannot be undone either is said, and calls are refused until it can be
 * written.
 */
#include "rpc/state.h"

#include <errno.h>

#include "base/text.h"
#include "core/log.h"
#include "rpc/changes.h"
#include "rpc/json.h"
#include "rpc/saving.h"
#include "rpc/state_priv.h"

#define WORDS_MAX 20u

static void state_go(struct state *s);
static defer_fn go_deferred;
static bool make_change(struct state *s, struct json_object *parts);
static struct json_object *change_json(struct state *s, struct json_object *parts);
static void start_write(struct state *s, bool append);
static job_fn write_in_job, write_done;
static void written(struct state *s);
static void not_written(struct state *s);
static rpc_loaded_fn undone;
static void answer_batch(struct state *s, const struct err *instead);
static void begin_held(struct state *s);

struct state *state_make(struct rpc *rpc)
{
	struct state *s = base_zalloc(sizeof(*s));

	s->rpc = rpc;
	s->journal.handle = -1;
	list_init(&s->ended);
	list_init(&s->held);
	list_init(&s->batch);
	list_init(&s->read);
	return s;
}

static void change_free(struct state_change *c)
{
	json_object_put(c->json);
	free(c->text);
	*c = (struct state_change){ 0 };
}

void state_free(struct state *s)
{
	assert(!s->writing && list_empty(&s->ended) && list_empty(&s->held) && list_empty(&s->batch));
	if (s->go.queued)
		defer_cancel(&s->go);
	for (uint32_t i = 0; i < s->change_count; i++)
		change_free(&s->changes[i]);
	free(s->changes);
	json_object_put(s->base);
	json_object_put(s->saved);
	if (s->files)
		journal_close(&s->journal);
	files_free(s->files);
	free(s);
}

/* --- calls ---------------------------------------------------------------------------------------------------- */

bool state_hold(struct rpc_call *call)
{
	struct state *s = call->rpc->state;

	if (call->method->flags & RPC_READS)
		return false;
	if (!s->whole && !s->behind && !s->undoing) {
		if (call->method->flags & RPC_WHOLE)
			s->whole = call;
		return false;
	}
	list_add_tail(&s->held, &call->state_link);
	if (s->behind)
		state_touch(call->rpc); /* perhaps it can be written now */
	return true;
}

bool state_ended(struct rpc_call *call, struct json_object *result, const struct err *e)
{
	struct state *s = call->rpc->state;
	bool kept = s->keeping && !(call->method->flags & RPC_READS);

	if (s->whole == call) {
		s->whole = NULL;
		defer_run(&s->go, go_deferred);
	}
	if (!kept)
		return false;
	call->result = json_object_get(result);
	call->failed = e != NULL;
	if (e)
		call->err = *e;
	list_add_tail(&s->ended, &call->state_link);
	defer_run(&s->go, go_deferred); /* together with all that end in this pass */
	return true;
}

void state_touch(struct rpc *rpc)
{
	struct state *s = rpc->state;

	s->dirty = true;
	defer_run(&s->go, go_deferred);
}

void rpc_state_changed(struct rpc *rpc)
{
	if (!rpc->drained)
		state_touch(rpc);
}

static void go_deferred(struct defer *d)
{
	struct state *s = container_of(d, struct state, go);
	void (*closed)(void *arg) = s->closed;

	if (closed && !s->writing && !s->undoing) {
		s->closed = NULL;
		closed(s->closed_arg);
		return;
	}
	if (!s->whole && !s->behind && !s->undoing)
		begin_held(s);
	state_go(s);
}

static void begin_held(struct state *s)
{
	while (!list_empty(&s->held) && !s->whole && !s->behind && !s->undoing) {
		struct rpc_call *call = list_entry(list_pop(&s->held), struct rpc_call, state_link);

		if (call->method->flags & RPC_WHOLE)
			s->whole = call;
		call_begin(call);
	}
}

/* --- from calls to a record ------------------------------------------------------------------------------------- */

static void state_go(struct state *s)
{
	struct json_object *parts;

	if (s->writing || s->whole || s->undoing || s->rpc->retrying || (list_empty(&s->ended) && !s->dirty))
		return;
	s->dirty = false;
	list_splice(&s->batch, &s->ended);
	if (!s->keeping) {
		answer_batch(s, NULL);
		return;
	}
	s->next = saving_changes(s->rpc);
	parts = changes_parts(s->saved, s->next);
	if (!parts && s->saved) {
		json_object_put(s->next);
		s->next = NULL;
		s->behind = false;
		answer_batch(s, NULL);
		begin_held(s);
		return;
	}
	start_write(s, make_change(s, parts));
}

/* True: it can be appended. */
static bool make_change(struct state *s, struct json_object *parts)
{
	if (!s->saved) { /* the first version is a snapshot */
		json_object_put(parts);
		return false;
	}
	s->next_change.json = change_json(s, parts);
	s->next_change.text = base_strdup(json_object_to_json_string_ext(s->next_change.json, JSON_C_TO_STRING_PLAIN));
	s->next_change.len = strlen(s->next_change.text);
	return true;
}

/* The entries that a part took away, or put, as a configuration of their own. */
static void add_slice(struct json_object *to, struct json_object *name, struct json_object *list, uint64_t at,
        uint64_t count)
{
	struct json_object *o = json_append_object(to), *config;

	json_object_object_add(o, "subsystem", json_object_get(name));
	config = json_add_array(o, "config");
	for (uint64_t i = 0; i < count; i++)
		json_object_array_add(config, json_object_get(json_object_array_get_idx(list, at + i)));
}

static void add_words(struct state *s, struct json_object *what, struct json_object *parts)
{
	struct json_object *from = json_object_new_object(), *to = json_object_new_object();
	struct json_object *from_list = json_add_array(from, "subsystems"), *to_list = json_add_array(to, "subsystems");
	struct change_items items;

	for (size_t i = 0; i < json_object_array_length(parts); i++) {
		struct json_object *p = json_object_array_get_idx(parts, i), *name = json_object_object_get(p, "s");
		struct json_object *put = json_object_object_get(p, "put");

		add_slice(from_list, name, config_list(s->saved, json_object_get_string(name)),
		          json_object_get_uint64(json_object_object_get(p, "at")),
		          json_object_get_uint64(json_object_object_get(p, "cut")));
		add_slice(to_list, name, put, 0, json_object_array_length(put));
	}
	items = changes_between(s->rpc, from, to, false);
	for (size_t i = 0; i < items.count && i < WORDS_MAX; i++) {
		char *words = change_words(s->rpc, &items.at[i]);

		json_object_array_add(what, json_object_new_string(words));
		free(words);
	}
	if (items.count > WORDS_MAX) {
		char more[64];
		struct text t = text_over(more, sizeof(more));

		text_add(&t, "and %zu more", items.count - WORDS_MAX);
		json_object_array_add(what, json_object_new_string(more));
	}
	changes_free(&items);
	json_object_put(from);
	json_object_put(to);
}

/* Takes `parts`. */
static struct json_object *change_json(struct state *s, struct json_object *parts)
{
	struct json_object *json = json_object_new_object(), *calls;
	size_t count = 0;

	json_add_u64(json, "time_us", core_wall_us());
	calls = json_add_array(json, "calls");
	list_each(at, &s->batch)
		if (count++ < WORDS_MAX)
			json_object_array_add(calls, json_object_new_string(list_entry(at, struct rpc_call,
			        state_link)->method->name));
	add_words(s, json_add_array(json, "what"), parts);
	json_object_object_add(json, "parts", parts);
	return json;
}

/* --- writing ---------------------------------------------------------------------------------------------------- */

static void forget_oldest(struct state *s)
{
	struct state_change *c = &s->changes[0];
	struct json_object *next = changes_apply(s->base, json_object_object_get(c->json, "parts"));

	must(next); /* it fitted when it was made or read */
	json_object_put(s->base);
	s->base = next;
	s->base_version++;
	s->base_time_us = json_object_get_uint64(json_object_object_get(c->json, "time_us"));
	s->change_bytes -= c->len;
	change_free(c);
	s->change_count--;
	memmove(&s->changes[0], &s->changes[1], s->change_count * sizeof(*s->changes));
}

/* When twice as much is there as is kept, older versions go, and the file is written anew. */
static void trim(struct state *s)
{
	if (s->change_count < 2 * STATE_VERSIONS_KEPT && s->change_bytes < 2 * STATE_BYTES_KEPT)
		return;
	while (s->change_count > STATE_VERSIONS_KEPT || (s->change_count && s->change_bytes > STATE_BYTES_KEPT))
		forget_oldest(s);
	s->anew = true;
}

static char *snapshot_text(struct json_object *config, uint64_t time_us)
{
	struct json_object *json = json_object_new_object();
	char *text;

	json_add_u64(json, "time_us", time_us);
	json_object_object_add(json, "config", json_object_get(config));
	text = base_strdup(json_object_to_json_string_ext(json, JSON_C_TO_STRING_PLAIN));
	json_object_put(json);
	return text;
}

static void start_write(struct state *s, bool append)
{
	size_t n = 0;

	trim(s);
	s->anew |= s->journal.unsure || s->journal.handle < 0;
	s->records = base_zalloc((s->change_count + 2) * sizeof(*s->records));
	if (s->anew) {
		s->base_text = append ? snapshot_text(s->base, s->base_time_us) : snapshot_text(s->next, core_wall_us());
		s->records[n++] = (struct journal_record){ JOURNAL_SNAPSHOT, append ? s->base_version : 1, s->base_text,
			strlen(s->base_text) };
		for (uint32_t i = 0; append && i < s->change_count; i++)
			s->records[n++] = (struct journal_record){ JOURNAL_CHANGE, s->base_version + 1 + i, s->changes[i].text,
				s->changes[i].len };
	}
	if (append)
		s->records[n++] = (struct journal_record){ JOURNAL_CHANGE, s->version + 1, s->next_change.text,
			s->next_change.len };
	s->record_count = n;
	s->job_err = (struct err){ 0 };
	s->writing = true;
	job_start(&s->job, write_in_job, write_done);
}

static void write_in_job(struct job *j)
{
	struct state *s = container_of(j, struct state, job);
	int rc;

	if (s->anew)
		rc = journal_write_anew(&s->journal, s->records, s->record_count, &s->job_err);
	else
		rc = journal_append(&s->journal, &s->records[0], &s->job_err);
	must(!rc == !s->job_err.code);
}

static void write_done(struct job *j)
{
	struct state *s = container_of(j, struct state, job);

	s->writing = false;
	free(s->records);
	free(s->base_text);
	s->records = NULL;
	s->base_text = NULL;
	if (s->job_err.code)
		not_written(s);
	else
		written(s);
	defer_run(&s->go, go_deferred);
}

static void add_change(struct state *s, struct state_change *c)
{
	s->changes = reallocarray(s->changes, s->change_count + 1, sizeof(*s->changes));
	must(s->changes);
	s->changes[s->change_count++] = *c;
	s->change_bytes += c->len;
	*c = (struct state_change){ 0 };
}

static void written(struct state *s)
{
	rpc_loaded_fn *begun = s->begun;

	if (s->next_change.json) {
		add_change(s, &s->next_change);
	} else {
		s->base = json_object_get(s->next);
		s->base_version = 1;
		s->base_time_us = core_wall_us();
	}
	if (s->why.code)
		log_notice("state: %s can be written again", s->files->path);
	s->why = (struct err){ 0 };
	json_object_put(s->saved);
	s->saved = s->next;
	s->next = NULL;
	s->version = s->base_version + s->change_count;
	s->anew = s->behind = false;
	answer_batch(s, NULL);
	s->begun = NULL;
	if (begun)
		begun(s->begun_arg, NULL);
	begin_held(s);
}

/* --- when it cannot be written ------------------------------------------------------------------------------------ */

static bool loses_data(struct json_object *plan)
{
	for (size_t i = 0; i < json_object_array_length(plan); i++) {
		struct json_object *step = json_object_array_get_idx(plan, i);

		/* A RAM disk that was deleted can be made again, but not what it held. */
		if (strcmp(entry_method(step), "bdev_malloc_create") == 0)
			return true;
	}
	return false;
}

static void not_written(struct state *s)
{
	rpc_loaded_fn *begun = s->begun;
	struct json_object *plan;
	struct err e = { 0 };

	s->failures++;
	if (!s->why.code)
		log_error("state: %s; changes are undone or refused until it can be written", s->job_err.text);
	s->why = s->job_err;
	change_free(&s->next_change);
	if (begun) {
		s->begun = NULL;
		s->keeping = false;
		json_object_put(s->next);
		s->next = NULL;
		answer_batch(s, NULL);
		begun(s->begun_arg, &s->why);
		return;
	}
	s->undoing = true;
	plan = s->closed ? NULL : plan_make(s->rpc, s->next, s->saved, &e);
	json_object_put(s->next);
	s->next = NULL;
	if (!plan || loses_data(plan)) {
		json_object_put(plan);
		err_set(&e, -EIO, "what it made or took away cannot be made or taken away again");
		undone(s, &e);
		return;
	}
	plan_apply(s->rpc, plan, undone, s);
	json_object_put(plan);
}

static void undone(void *arg, const struct err *failed)
{
	struct state *s = arg;
	struct err e = { 0 };

	if (failed)
		err_set(&e, s->why.code, "done, but it does not last: it will be gone after a restart, unless %.100s can be "
		        "written "
		        "before that: %.200s. Make room there; the next change writes this one too", s->files->path,
		                s->why.text);
	else
		err_set(&e, s->why.code, "not done: it could not be made to last, and was undone: %.250s; make room there, "
		        "and try "
		        "again", s->why.text);
	s->undoing = false;
	s->behind = failed != NULL;
	answer_batch(s, &e);
	if (s->behind) { /* who came meanwhile is refused before anything is done */
		e = (struct err){ 0 };
		err_set(&e, s->why.code, "not done, for it could not be made to last: %.300s; make room there, and try again",
		        s->why.text);
		while (!list_empty(&s->held)) {
			struct rpc_call *call = list_entry(list_pop(&s->held), struct rpc_call, state_link);

			if (s->whole == call)
				s->whole = NULL;
			call_finish(call, NULL, &e);
		}
	}
	defer_run(&s->go, go_deferred);
}

/* `instead`: an error for those that would have been told that it is done. */
static void answer_batch(struct state *s, const struct err *instead)
{
	struct list batch;

	list_init(&batch);
	list_splice(&batch, &s->batch);
	while (!list_empty(&batch)) {
		struct rpc_call *call = list_entry(list_pop(&batch), struct rpc_call, state_link);
		struct json_object *result = call->result;
		struct err e = call->err;
		bool failed = call->failed;

		if (!failed && instead) {
			e = *instead;
			failed = true;
		}
		call_finish(call, failed ? NULL : result, failed ? &e : NULL);
		json_object_put(result);
	}
}

/* --- the daemon's life ---------------------------------------------------------------------------------------- */

struct read_record {
	struct list link;
	struct journal_record r;
	char *text;
};

static void keep_record(void *arg, const struct journal_record *r)
{
	struct state *s = arg;
	struct read_record *rr = base_zalloc(sizeof(*rr));

	rr->r = *r;
	rr->text = base_zalloc(r->len + 1);
	memcpy(rr->text, r->text, r->len);
	list_add_tail(&s->read, &rr->link);
}

static void open_in_job(struct job *j)
{
	struct state *s = container_of(j, struct state, job);
	int rc = journal_open(&s->journal, s->files, keep_record, s, &s->job_err);

	must(!rc == !s->job_err.code);
}

static void take_record(struct state *s, struct read_record *rr, struct err *e)
{
	struct json_object *json = json_tokener_parse(rr->text), *config, *next;
	struct state_change change = { .json = json, .text = rr->text, .len = rr->r.len };

	if (rr->r.kind == JOURNAL_SNAPSHOT && json_object_object_get_ex(json, "config", &config)) {
		s->base = json_object_get(config);
		s->saved = json_object_get(config);
		s->base_version = s->version = rr->r.number;
		s->base_time_us = json_object_get_uint64(json_object_object_get(json, "time_us"));
		json_object_put(json);
		free(rr->text);
		return;
	}
	next = rr->r.kind == JOURNAL_CHANGE && json_object_is_type(json, json_type_object)
	       ? changes_apply(s->saved, json_object_object_get(json, "parts")) : NULL;
	if (!next) {
		err_set(e, -EBADMSG, "%s/" JOURNAL_FILE ": version %lu is whole, but does not fit what comes before it. "
		        "Bring back a copy, or begin with an empty directory", s->files->path, (unsigned long)rr->r.number);
		json_object_put(json);
		free(rr->text);
		return;
	}
	json_object_put(s->saved);
	s->saved = next;
	s->version = rr->r.number;
	add_change(s, &change);
}

static void open_done(struct job *j)
{
	struct state *s = container_of(j, struct state, job);
	struct err e = s->job_err;

	s->writing = false;
	while (!list_empty(&s->read)) {
		struct read_record *rr = list_entry(list_pop(&s->read), struct read_record, link);

		if (e.code)
			free(rr->text);
		else
			take_record(s, rr, &e);
		free(rr);
	}
	if (s->journal.cut_bytes)
		log_warning("state: %s/" JOURNAL_FILE " ended in %lu bytes of a change that was never acknowledged; they "
		        "are cut off",
		            s->files->path, (unsigned long)s->journal.cut_bytes);
	if (s->closed)
		defer_run(&s->go, go_deferred);
	else
		s->opened(s->opened_arg, e.code ? &e : NULL);
}

void rpc_state_open(struct rpc *rpc, struct files *files, rpc_loaded_fn *done, void *arg)
{
	struct state *s = rpc->state;

	assert(!s->files);
	s->files = files;
	s->opened = done;
	s->opened_arg = arg;
	s->writing = true;
	job_start(&s->job, open_in_job, open_done);
}

struct json_object *rpc_state_config(struct rpc *rpc)
{
	return rpc->state->saved;
}

uint64_t rpc_state_version(struct rpc *rpc)
{
	return rpc->state->version;
}

void rpc_state_begin(struct rpc *rpc, rpc_loaded_fn *done, void *arg)
{
	struct state *s = rpc->state;
	struct json_object *now, *parts;

	if (!s->files) {
		done(arg, NULL);
		return;
	}
	s->keeping = true;
	if (s->saved) {
		now = saving_changes(rpc);
		parts = changes_parts(s->saved, now);
		if (!parts) {
			json_object_put(s->saved);
			s->saved = now; /* the same, and what changes next shares entries with it */
			done(arg, NULL);
			return;
		}
		json_object_put(now);
		json_object_put(parts);
	}
	s->begun = done;
	s->begun_arg = arg;
	state_touch(rpc);
}

void rpc_state_close(struct rpc *rpc, void (*done)(void *arg), void *arg)
{
	struct state *s = rpc->state;

	s->keeping = false;
	if (!s->writing && !s->undoing) {
		done(arg);
		return;
	}
	s->closed = done;
	s->closed_arg = arg;
}

struct json_object *state_config_of(struct state *s, uint64_t version, struct err *e)
{
	struct json_object *config;

	if (!s->files) {
		err_set(e, -ENOENT, "version: this daemon keeps no versions; start it with --state-dir");
		return NULL;
	}
	if (version < s->base_version || version > s->version || !s->version) {
		err_set(e, -ENOENT, "version: there is no version %lu; those from %lu to %lu are kept", (unsigned long)version,
		        (unsigned long)s->base_version, (unsigned long)s->version);
		return NULL;
	}
	config = json_object_get(s->base);
	for (uint64_t v = s->base_version; v < version; v++) {
		struct json_object *parts = json_object_object_get(s->changes[v - s->base_version].json, "parts");
		struct json_object *next = changes_apply(config, parts);

		json_object_put(config);
		config = next;
		must(config);
	}
	return config;
}
