/* SPDX-License-Identifier: BSD-3-Clause */
/* session_test.c: JSON-RPC as clients speak it, in bytes: requests cut anywhere or run together, batches, errors,
 * limits. Methods answer at once, or when the test says so. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/text.h"
#include "rpc/session.h"

struct echo {
	char *text;
};

static const struct rpc_param echo_params[] = {
	RPC_PARAM(struct echo, text, .required = true, .doc = "What to say."),
	RPC_IGNORED("volume"),
};

struct fixture {
	struct rpc *rpc;
	struct session s;
	struct rpc_call *held[SESSION_PENDING_MAX + 8];
	size_t held_count, wakes;
};

static void handle_echo(struct rpc_call *call, void *args)
{
	rpc_reply(call, json_object_new_string(((struct echo *)args)->text));
}

static void handle_hold(struct rpc_call *call, void *args)
{
	struct fixture *f = rpc_ctx(call);

	f->held[f->held_count++] = call;
}

static void handle_fail(struct rpc_call *call, void *args)
{
	rpc_reply_error(call, -17, "it exists already");
}

static void handle_nothing(struct rpc_call *call, void *args)
{
	rpc_reply_true(call);
}

static const struct rpc_method methods[] = {
	RPC_METHOD("echo", struct echo, echo_params, handle_echo, .flags = RPC_RUNTIME | RPC_STARTUP, .alias = "say"),
	RPC_METHOD_BARE("hold", handle_hold),
	RPC_METHOD_BARE("fail", handle_fail),
	RPC_METHOD_BARE("begin", handle_nothing, .flags = RPC_STARTUP),
};

static void wake(void *arg)
{
	((struct fixture *)arg)->wakes++;
}

static int setup(void **state)
{
	struct fixture *f = base_zalloc(sizeof(*f));

	f->rpc = rpc_make(NULL);
	rpc_add_methods(f->rpc, methods, ARRAY_SIZE(methods), f);
	rpc_set_running(f->rpc, true);
	session_init(&f->s, f->rpc, wake, f);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	session_fini(&f->s);
	for (size_t i = 0; i < f->held_count; i++)
		if (f->held[i])
			rpc_reply_true(f->held[i]);
	rpc_free(f->rpc);
	free(f);
	return 0;
}

static size_t give(struct fixture *f, const char *text)
{
	size_t taken = session_take(&f->s, text, strlen(text));

	while (session_run(&f->s))
		;
	return taken;
}

static void says(struct fixture *f, const char *expected)
{
	const char *out;
	size_t len = session_output(&f->s, &out);
	char *text = strndup(out ? out : "", len);

	assert_string_equal(text, expected);
	free(text);
	session_sent(&f->s, len);
}

#define ECHO(id, text) "{\"jsonrpc\":\"2.0\",\"id\":" id ",\"method\":\"echo\",\"params\":{\"text\":\"" text "\"}}"
#define ANSWER(id, text) "{\"jsonrpc\":\"2.0\",\"id\":" id ",\"result\":\"" text "\"}"

static void a_request_is_answered_under_its_id(void **state)
{
	give(*state, ECHO("1", "a") ECHO("\"x\"", "b") ECHO("null", "c") " \n" ECHO("-12.34567890123456789012345e-2", "d"));
	says(*state, ANSWER("1", "a") "\n" ANSWER("\"x\"", "b") "\n" ANSWER("null", "c") "\n"
	     ANSWER("-12.34567890123456789012345e-2", "d") "\n");
}

static void a_request_may_come_a_byte_at_a_time(void **state)
{
	static const char text[] = ECHO("18446744073709551615", "\xc3\xa4\xf0\x9f\x98\x80\\\"{[") ECHO("2", "b");
	struct fixture *f = *state;

	for (const char *c = text; *c; c++)
		assert_int_equal(session_take(&f->s, c, 1), 1);
	says(f, ANSWER("18446744073709551615", "\xc3\xa4\xf0\x9f\x98\x80\\\"{[") "\n" ANSWER("2", "b") "\n");
}

static void a_notification_gets_no_answer(void **state)
{
	give(*state, "{\"jsonrpc\":\"2.0\",\"method\":\"echo\",\"params\":{\"text\":\"a\"}}"
	     "{\"jsonrpc\":\"2.0\",\"method\":\"fail\"}");
	says(*state, "");
}

static void the_older_name_works(void **state)
{
	give(*state, "{\"id\":1,\"method\":\"say\",\"params\":{\"text\":\"a\"}}");
	says(*state, ANSWER("1", "a") "\n");
}

static void errors_have_code_and_sentence(void **state)
{
	struct fixture *f = *state;

	give(f, "{\"id\":1,\"method\":\"fail\"}");
	says(f, "{\"jsonrpc\":\"2.0\",\"id\":1,\"error\":{\"code\":-17,\"message\":\"it exists already\"}}\n");
	give(f, "{\"id\":2,\"method\":\"ecko\"}");
	says(f, "{\"jsonrpc\":\"2.0\",\"id\":2,\"error\":{\"code\":-32601,"
	        "\"message\":\"Method not found: ecko; did you mean echo?\"}}\n");
	give(f, "{\"id\":3,\"method\":\"echo\"}");
	says(f, "{\"jsonrpc\":\"2.0\",\"id\":3,\"error\":{\"code\":-32602,"
	        "\"message\":\"text: missing, and required: What to say.\"}}\n");
	give(f, "{\"id\":4,\"method\":\"begin\"}");
	says(f, "{\"jsonrpc\":\"2.0\",\"id\":4,\"error\":{\"code\":-1,\"message\":\"begin: this method may only be called "
	        "before the framework is initialized; start with --wait-for-rpc and call it before "
	        "framework_start_init\"}}\n");
}

static void what_is_no_request_is_invalid(void **state)
{
	static const char *const wrong[] = {
		"7 ", "\"text\"", "{}", "[]", "{\"id\":null}", "{\"method\":5}", "{\"method\":\"echo\",\"params\":3}",
		"{\"jsonrpc\":\"1.0\",\"method\":\"echo\"}", "{\"method\":\"echo\",\"more\":1}",
		"{\"method\":\"echo\",\"id\":[]}",
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		const char *out;
		size_t len;

		give(f, wrong[i]);
		len = session_output(&f->s, &out);
		assert_true(len > 0);
		assert_true(text_starts_with(out, "{\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{\"code\":-32600,"));
		session_sent(&f->s, len);
		assert_false(f->s.closing);
	}
}

static void broken_json_is_said_and_ends_the_session(void **state)
{
	static const char *const broken[] = {
		"{\"a\" 1}", "{\"a\":tru!}", "]", "{'a':1}", "{\"a\":1,}", "{/*x*/\"a\":1}", "\"\xff\"", "\"\xc0\x80\"",
		"null ", "\"\xed\xa0\x80\"",
		"{\"a\":18446744073709551616}", "{\"a\":-9223372036854775809}", "{\"a\":NaN}", "{\"a\":-Infinity}",
	};

	for (size_t i = 0; i < ARRAY_SIZE(broken); i++) {
		struct fixture *f = *state;
		const char *out;

		give(f, broken[i]);
		assert_true(session_output(&f->s, &out) > 0);
		assert_true(text_starts_with(out, "{\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{\"code\":-32700,"));
		assert_true(f->s.closing);
		assert_int_equal(give(f, ECHO("1", "a")), 0);
		teardown(state);
		setup(state);
	}
}

static void deep_nesting_is_refused(void **state)
{
	struct fixture *f = *state;
	char text[1001];

	memset(text, '[', 1000);
	text[1000] = 0;
	give(f, text);
	says(f, "{\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{\"code\":-32700,\"message\":\"Parse error: it is nested "
	        "deeper than 31 levels\"}}\n");
}

static void a_request_is_bounded_in_bytes_and_values(void **state)
{
	struct fixture *f = *state;
	char piece[4096];
	size_t given = 0;

	memset(piece, 'x', sizeof(piece));
	give(f, "{\"method\":\"");
	while (session_can_take(&f->s))
		given += session_take(&f->s, piece, sizeof(piece));
	assert_in_range(given, STREAM_BYTES_MAX - 65536, STREAM_BYTES_MAX + 65536);
	says(f, "{\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{\"code\":-32700,\"message\":\"Parse error: it is longer than "
	        "8 MiB\"}}\n");

	teardown(state);
	setup(state);
	f = *state;
	for (size_t i = 0; i < sizeof(piece); i += 2)
		memcpy(piece + i, "1,", 2);
	give(f, "[");
	while (session_can_take(&f->s))
		session_take(&f->s, piece, sizeof(piece));
	says(f, "{\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{\"code\":-32700,\"message\":\"Parse error: it holds more than "
	        "262144 values\"}}\n");
}

static void a_batch_is_answered_by_a_list(void **state)
{
	give(*state, "[" ECHO("1", "a") ",5,{\"method\":\"fail\"},{\"id\":3,\"method\":\"fail\"}]");
	says(*state, "[" ANSWER("1", "a") ",{\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{\"code\":-32600,\"message\":"
	     "\"Invalid request: an object with \\\"method\\\" is wanted\"}},"
	     "{\"jsonrpc\":\"2.0\",\"id\":3,\"error\":{\"code\":-17,\"message\":"
	        "\"it exists already\"}}]\n");
}

static void a_batch_of_notifications_gets_no_answer(void **state)
{
	give(*state, "[{\"method\":\"fail\"},{\"method\":\"fail\"}]");
	says(*state, "");
}

static void a_batch_runs_in_order_and_waits(void **state)
{
	struct fixture *f = *state;

	give(f, "[{\"id\":1,\"method\":\"hold\"}," ECHO("2", "b") "]" ECHO("3", "c"));
	says(f, ANSWER("3", "c") "\n"); /* others do not wait for it */
	assert_int_equal(f->held_count, 1);
	rpc_reply_true(f->held[0]);
	f->held[0] = NULL;
	while (session_run(&f->s))
		;
	says(f, "[{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":true}," ANSWER("2", "b") "]\n");
	assert_int_equal(f->s.pending, 0);
}

static void a_long_batch_takes_several_passes(void **state)
{
	struct fixture *f = *state;
	char buf[32768];
	struct text text = text_over(buf, sizeof(buf));
	size_t passes = 1;

	for (int i = 0; i < 1000; i++)
		text_add(&text, "%s{\"method\":\"fail\"}", i ? "," : "[");
	text_add(&text, "]");
	session_take(&f->s, text.buf, text.len);
	while (session_run(&f->s))
		passes++;
	assert_int_equal(passes, div_up(1000, SESSION_PASS_MAX));
	assert_int_equal(f->s.pending, 0);
}

static void too_many_requests_in_progress_are_not_taken(void **state)
{
	static const char request[] = "{\"id\":1,\"method\":\"hold\"}";
	struct fixture *f = *state;

	for (int i = 0; i < SESSION_PENDING_MAX; i++)
		assert_int_equal(give(f, request), strlen(request));
	assert_int_equal(give(f, request), 0);
	rpc_reply_true(f->held[5]);
	f->held[5] = NULL;
	assert_int_equal(give(f, request), strlen(request));
}

static void a_client_that_does_not_read_is_not_taken_from(void **state)
{
	struct fixture *f = *state;
	static const char begin[] = "{\"id\":1,\"method\":\"echo\",\"params\":{\"text\":\"", end[] = "\"}}";
	char *big = base_zalloc(SESSION_OUTPUT_MAX + 200);
	const char *out;

	memset(big, 'y', SESSION_OUTPUT_MAX + 100);
	memcpy(big, begin, strlen(begin));
	memcpy(big + SESSION_OUTPUT_MAX + 100, end, strlen(end));
	assert_int_equal(give(f, big), strlen(big));
	assert_int_equal(give(f, ECHO("2", "b")), 0);
	session_sent(&f->s, session_output(&f->s, &out));
	assert_int_equal(give(f, ECHO("2", "b")), strlen(ECHO("2", "b")));
	says(f, ANSWER("2", "b") "\n");
	assert_true(f->s.out_cap < SESSION_OUTPUT_MAX); /* memory was given back */
	free(big);
}

static void an_answer_that_comes_after_the_client_left_is_dropped(void **state)
{
	struct fixture *f = *state;

	give(f, "{\"id\":1,\"method\":\"hold\"}[{\"id\":1,\"method\":\"hold\"}," ECHO("2", "b") "]");
	session_fini(&f->s);
	assert_int_equal(f->held_count, 2);
	rpc_reply_true(f->held[0]);
	rpc_reply_true(f->held[1]);
	f->held_count = 0;
	session_init(&f->s, f->rpc, wake, f);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		CASE(a_request_is_answered_under_its_id),
		CASE(a_request_may_come_a_byte_at_a_time),
		CASE(a_notification_gets_no_answer),
		CASE(the_older_name_works),
		CASE(errors_have_code_and_sentence),
		CASE(what_is_no_request_is_invalid),
		CASE(broken_json_is_said_and_ends_the_session),
		CASE(deep_nesting_is_refused),
		CASE(a_request_is_bounded_in_bytes_and_values),
		CASE(a_batch_is_answered_by_a_list),
		CASE(a_batch_of_notifications_gets_no_answer),
		CASE(a_batch_runs_in_order_and_waits),
		CASE(a_long_batch_takes_several_passes),
		CASE(too_many_requests_in_progress_are_not_taken),
		CASE(a_client_that_does_not_read_is_not_taken_from),
		CASE(an_answer_that_comes_after_the_client_left_is_dropped),
	};

	return cmocka_run_group_tests_name("session", tests, NULL, NULL);
}
