/* SPDX-License-Identifier: BSD-3-Clause */
/* session.c: JSON-RPC 2.0 with one client: values into calls, results into answers.
 *
 * A request whose method has not answered when its client goes stays in memory, without a session, until it does.
 */
#include "rpc/session.h"

#include <stdio.h>

#include "rpc/registry.h"

#define JSON_OUT (JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE)
#define OUT_KEEP_BYTES 65536 /* a larger buffer is given back when it is empty */

/* A list of requests, answered by a list. */
struct batch {
	struct list link;
	struct session *session;
	struct json_object *requests;
	size_t next;
	bool busy;                   /* one of them is in progress */
	struct json_object *answers; /* a list */
	size_t answer_bytes;
};

struct request {
	struct list link;
	struct session *session;     /* NULL: the client went away */
	struct batch *batch;         /* NULL: alone */
	struct json_object *id;      /* with `has_id`; NULL is the JSON null */
	bool has_id;                 /* otherwise a notification: no answer */
};

static void take_value(struct session *s, struct json_object *value);
static void begin_batch(struct session *s, struct json_object *list);
static void run_batch(struct batch *b, uint32_t *budget);
static void end_batch(struct batch *b);
static void begin_request(struct session *s, struct batch *b, struct json_object *json);
static int check_request(struct json_object *json, struct request *req, const char **ret_method,
                         struct json_object **ret_params, struct err *e);
static void request_done(void *arg, struct json_object *result, const struct err *e);
static struct json_object *answer_make(const struct request *req, struct json_object *result, const struct err *e);
static void answer(struct session *s, struct batch *b, struct json_object *json);
static void put_out(struct session *s, const char *bytes, size_t len);

void session_init(struct session *s, struct rpc *rpc, void (*wake)(void *arg), void *arg)
{
	*s = (struct session){ .rpc = rpc, .wake = wake, .arg = arg };
	stream_init(&s->stream);
	list_init(&s->requests);
	list_init(&s->batches);
}

void session_fini(struct session *s)
{
	list_each_safe(at, &s->requests) {
		struct request *req = list_entry(at, struct request, link);

		list_del(&req->link);
		req->session = NULL;
		req->batch = NULL;
	}
	list_each_safe(at, &s->batches) {
		struct batch *b = list_entry(at, struct batch, link);

		list_del(&b->link);
		json_object_put(b->requests);
		json_object_put(b->answers);
		free(b);
	}
	stream_fini(&s->stream);
	free(s->out);
	s->out = NULL;
}

bool session_can_take(const struct session *s)
{
	return !s->closing && s->pending < SESSION_PENDING_MAX && s->out_len - s->out_at < SESSION_OUTPUT_MAX;
}

size_t session_take(struct session *s, const char *bytes, size_t len)
{
	size_t taken = 0;

	while (taken < len && session_can_take(s)) {
		struct json_object *value;
		struct err e = { 0 };

		taken += stream_take(&s->stream, bytes + taken, len - taken, &value, &e);
		if (e.code)
			session_refuse(s, e.code, e.text);
		else if (value)
			take_value(s, value);
	}
	return taken;
}

bool session_run(struct session *s)
{
	uint32_t budget = SESSION_PASS_MAX;

	list_each_safe(at, &s->batches)
		run_batch(list_entry(at, struct batch, link), &budget);
	list_each(at, &s->batches)
		if (!list_entry(at, struct batch, link)->busy)
			return true;
	return false;
}

void session_sent(struct session *s, size_t len)
{
	assert(len <= s->out_len - s->out_at);
	s->out_at += len;
	if (s->out_at < s->out_len)
		return;
	s->out_at = s->out_len = 0;
	if (s->out_cap > OUT_KEEP_BYTES) {
		free(s->out);
		s->out = NULL;
		s->out_cap = 0;
	}
}

void session_refuse(struct session *s, int code, const char *sentence)
{
	struct request nobody = { .has_id = true };
	struct err e = { 0 };

	err_set(&e, code, "%s", sentence);
	answer(s, NULL, answer_make(&nobody, NULL, &e));
	s->closing = true;
}

/* Consumes `value`. */
static void take_value(struct session *s, struct json_object *value)
{
	if (json_object_is_type(value, json_type_array) && json_object_array_length(value) > 0) {
		begin_batch(s, value);
		return;
	}
	begin_request(s, NULL, value); /* an empty list is an invalid request, as the specification says */
	json_object_put(value);
}

static void begin_batch(struct session *s, struct json_object *list)
{
	struct batch *b = base_zalloc(sizeof(*b));

	b->session = s;
	b->requests = list;
	b->answers = json_object_new_array();
	list_add_tail(&s->batches, &b->link);
	s->pending++;
	s->wake(s->arg); /* it runs in session_run(), with its budget */
}

static void run_batch(struct batch *b, uint32_t *budget)
{
	size_t count = json_object_array_length(b->requests);

	while (!b->busy && b->next < count && *budget) {
		b->busy = true; /* until request_done(), which may come at once */
		(*budget)--;
		begin_request(b->session, b, json_object_array_get_idx(b->requests, b->next++));
	}
	if (!b->busy && b->next == count)
		end_batch(b);
}

static void end_batch(struct batch *b)
{
	struct session *s = b->session;

	if (json_object_array_length(b->answers)) { /* only notifications: no answer, not even an empty list */
		size_t len;
		const char *text = json_object_to_json_string_length(b->answers, JSON_OUT, &len);

		put_out(s, text, len);
		put_out(s, "\n", 1);
	}
	list_del(&b->link);
	s->pending--;
	json_object_put(b->requests);
	json_object_put(b->answers);
	free(b);
	s->wake(s->arg);
}

static void begin_request(struct session *s, struct batch *b, struct json_object *json)
{
	struct request *req = base_zalloc(sizeof(*req));
	struct json_object *params = NULL;
	const char *method = NULL;
	struct err e = { 0 };

	req->session = s;
	req->batch = b;
	list_add_tail(&s->requests, &req->link);
	if (!b)
		s->pending++;
	if (check_request(json, req, &method, &params, &e)) {
		request_done(req, NULL, &e);
	} else if (b && b->answer_bytes > SESSION_BATCH_OUTPUT_MAX) {
		err_set(&e, RPC_ERR_INTERNAL, "%s: not run: the answers of this batch are larger than 32 MiB already; "
		        "send smaller batches", method);
		request_done(req, NULL, &e);
	} else {
		rpc_call_inside(s->rpc, method, params, request_done, req);
	}
}

/* Fills in req->id as far as it can be told, so that even a wrong request is answered under its id. */
static int check_request(struct json_object *json, struct request *req, const char **ret_method,
                         struct json_object **ret_params, struct err *e)
{
	struct json_object *id, *v;
	int rc = 0;

	req->has_id = true; /* what is not a request is answered, with a null id */
	if (!json_object_is_type(json, json_type_object))
		return err_set(e, RPC_ERR_REQUEST, "Invalid request: an object with \"method\" is wanted");
	if (json_object_object_get_ex(json, "id", &id)) {
		if (id && !json_object_is_type(id, json_type_string) && !json_object_is_type(id, json_type_int) &&
		    !json_object_is_type(id, json_type_double))
			return err_set(e, RPC_ERR_REQUEST, "Invalid request: \"id\" must be a string, a number or null");
		req->id = json_object_get(id);
	} else {
		req->has_id = false;
	}
	if (json_object_object_get_ex(json, "jsonrpc", &v) &&
	    (!json_object_is_type(v, json_type_string) || strcmp(json_object_get_string(v), "2.0") != 0))
		rc = err_set(e, RPC_ERR_REQUEST, "Invalid request: \"jsonrpc\" must be \"2.0\"");
	if (json_object_object_get_ex(json, "params", &v) && v && !json_object_is_type(v, json_type_object) &&
	    !json_object_is_type(v, json_type_array))
		rc = err_set(e, RPC_ERR_REQUEST, "Invalid request: \"params\" must be an object");
	*ret_params = v;
	if (json_object_object_get_ex(json, "method", &v) && json_object_is_type(v, json_type_string))
		*ret_method = json_object_get_string(v);
	else
		rc = err_set(e, RPC_ERR_REQUEST, "Invalid request: \"method\" is missing or not a string");
	json_object_object_foreach(json, key, value) {
		(void)value;
		if (strcmp(key, "jsonrpc") && strcmp(key, "id") && strcmp(key, "method") && strcmp(key, "params"))
			rc = err_set(e, RPC_ERR_REQUEST, "Invalid request: it may have jsonrpc, id, method and params only");
	}
	req->has_id |= rc != 0;
	return rc;
}

static void request_done(void *arg, struct json_object *result, const struct err *e)
{
	struct request *req = arg;
	struct session *s = req->session;

	list_del(&req->link);
	if (s && req->has_id)
		answer(s, req->batch, answer_make(req, result, e));
	if (s && req->batch)
		req->batch->busy = false;
	else if (s)
		s->pending--;
	json_object_put(req->id);
	free(req);
	if (s)
		s->wake(s->arg);
}

static struct json_object *answer_make(const struct request *req, struct json_object *result, const struct err *e)
{
	struct json_object *json = json_object_new_object();

	json_object_object_add(json, "jsonrpc", json_object_new_string("2.0"));
	json_object_object_add(json, "id", json_object_get(req->id));
	if (e) {
		struct json_object *error = json_object_new_object();

		json_object_object_add(error, "code", json_object_new_int(e->code));
		json_object_object_add(error, "message", json_object_new_string(e->text));
		json_object_object_add(json, "error", error);
	} else {
		json_object_object_add(json, "result", json_object_get(result));
	}
	return json;
}

bool rpc_is_heard(const struct rpc_call *call)
{
	return call->done != request_done || ((const struct request *)call->arg)->session;
}

/* Consumes `json`. */
static void answer(struct session *s, struct batch *b, struct json_object *json)
{
	size_t len;
	const char *text = json_object_to_json_string_length(json, JSON_OUT, &len);

	if (b) {
		b->answer_bytes += len;
		json_object_array_add(b->answers, json);
		return;
	}
	put_out(s, text, len);
	put_out(s, "\n", 1);
	json_object_put(json);
}

static void put_out(struct session *s, const char *bytes, size_t len)
{
	if (s->out_at && s->out_len + len > s->out_cap) {
		memmove(s->out, s->out + s->out_at, s->out_len - s->out_at);
		s->out_len -= s->out_at;
		s->out_at = 0;
	}
	if (s->out_len + len > s->out_cap) {
		s->out_cap = max_u64(max_u64(2 * s->out_cap, s->out_len + len), 4096);
		s->out = realloc(s->out, s->out_cap);
		must(s->out);
	}
	memcpy(s->out + s->out_len, bytes, len);
	s->out_len += len;
}
