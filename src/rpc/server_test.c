/* SPDX-License-Identifier: BSD-3-Clause */
/* server_test.c: a server and its clients in the simulator: every request is answered once, whatever the network does
 * to the bytes and whenever the clients go. Run for many seeds; SEED=n runs one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/text.h"
#include "core/sim/sim.h"
#include "net/sim/sim_net.h"
#include "rpc/core_methods.h"

#define CLIENTS 12
#define REQUESTS 40
#define SEEDS 60
#define PATH "/sim/rpc.sock"

struct test_client {
	struct sock *sock;
	struct json_tokener *tokener;
	struct text out;
	size_t sent, answers, wanted;
	bool leaves, over, wrong;
	char buf[REQUESTS * 160];
};

static struct world {
	struct core *core;
	struct rpc_host host;
	struct rpc *rpc;
	struct rpc_core_methods *methods;
	struct rpc_server *server;
	struct test_client clients[CLIENTS];
	size_t over;
	struct err err;
} world;

static void client_over(struct test_client *c)
{
	sock_close(c->sock);
	json_tokener_free(c->tokener);
	c->over = true;
	world.over++;
}

/* Answers of batches come as one; each of their members counts. */
static void client_count(struct test_client *c, struct json_object *answer)
{
	bool batch = json_object_is_type(answer, json_type_array);
	size_t count = batch ? json_object_array_length(answer) : 1;

	for (size_t i = 0; i < count; i++)
		c->wrong |= !json_object_object_get_ex(batch ? json_object_array_get_idx(answer, i) : answer, "result", NULL);
	c->answers += count;
	json_object_put(answer);
}

static void client_receive(struct test_client *c)
{
	char buf[512];
	ssize_t n;

	while ((n = sock_recv(c->sock, buf, sizeof(buf))) > 0) {
		for (ssize_t at = 0; at < n;) {
			struct json_object *answer;

			if (buf[at] == '\n') { /* after an answer; the tokener takes it for the beginning of one */
				at++;
				continue;
			}
			answer = json_tokener_parse_ex(c->tokener, buf + at, (int)(n - at));
			at += (ssize_t)json_tokener_get_parse_end(c->tokener);
			if (answer)
				client_count(c, answer);
			else if (json_tokener_get_error(c->tokener) != json_tokener_continue)
				c->wrong = true, at = n;
		}
	}
}

static void client_ready(void *arg, uint32_t events)
{
	struct test_client *c = arg;

	if (c->over)
		return;
	client_receive(c);
	while (c->sent < c->out.len) {
		struct iovec iov = { c->out.buf + c->sent, c->out.len - c->sent };
		ssize_t n = sock_send(c->sock, &iov, 1);

		if (n <= 0)
			break;
		c->sent += (size_t)n;
	}
	sock_want_write(c->sock, c->sent < c->out.len);
	if (c->answers == c->wanted || (c->leaves && c->answers > c->wanted / 2) || (events & SOCK_FAILED))
		client_over(c);
}

static void client_start(struct test_client *c, const struct net_addr *addr)
{
	c->tokener = json_tokener_new();
	c->out = text_over(c->buf, sizeof(c->buf));
	c->leaves = sim_chance(30);
	for (c->wanted = 0; c->wanted < REQUESTS;) {
		bool batch = sim_chance(30);

		text_add(&c->out, "%s{\"id\":1,\"method\":\"%s\"}", batch ? "[" : "",
		         sim_chance(50) ? "gantry_get_wakeups" : "log_get_level");
		c->wanted++;
		if (batch)
			text_add(&c->out, ",{\"id\":2,\"method\":\"thread_get_stats\"},{\"method\":\"log_get_level\"}]");
		c->wanted += batch;
	}
	must(!c->out.cut);
	c->sock = sock_connect(addr, NULL, NULL, client_ready, c, &world.err);
	must(c->sock);
}

static void start(void *arg)
{
	struct net_addr addr;

	world.rpc = rpc_make(world.core);
	world.methods = rpc_add_core_methods(world.rpc, &world.host);
	rpc_set_running(world.rpc, true);
	world.server = rpc_server_open(world.rpc, PATH, &world.err);
	must(world.server);
	must(net_addr_parse(NET_UNIX, PATH, NULL, &addr, &world.err) == 0);
	for (size_t i = 0; i < CLIENTS; i++)
		client_start(&world.clients[i], &addr);
	rpc_server_serve(world.server);
}

static void drained(void *arg)
{
	rpc_server_close(world.server);
	rpc_core_methods_free(world.methods);
	world.methods = NULL;
}

static void stop(void *arg)
{
	rpc_drain(world.rpc, drained, NULL);
}

static bool stopped(void *arg)
{
	return !world.methods;
}

static bool all_over(void *arg)
{
	return world.over == CLIENTS;
}

static void run_seed(uint64_t seed)
{
	static const struct sim_net_opts net = { .latency_ns_min = 1000, .latency_ns_max = 200000, .buffer_bytes = 3000,
		.short_read_percent = 40, .short_write_percent = 40, .chunk_bytes_max = 700 };
	static const struct core_opts opts = { .cpus = "[0-2]" };
	bool done;

	world = (struct world){ .host.version = "0.0.0" };
	sim_start(seed);
	sim_net_start(&net);
	world.core = core_make(&opts, &world.err);
	assert_non_null(world.core);
	sim_as(core_control(world.core), start, NULL);
	done = sim_run(all_over, NULL, 60 * NS_PER_S);
	sim_as(core_control(world.core), stop, NULL);
	assert_true(sim_run(stopped, NULL, NS_PER_S)); /* what was in progress ends, maybe without its client */
	rpc_free(world.rpc);
	core_free(world.core);
	sim_net_end();
	sim_end();
	if (!done)
		print_message("seed %lu: %zu of %d clients are through\n", seed, world.over, CLIENTS);
	assert_true(done);
	for (size_t i = 0; i < CLIENTS; i++) {
		assert_false(world.clients[i].wrong);
		if (!world.clients[i].leaves)
			assert_int_equal(world.clients[i].answers, world.clients[i].wanted);
	}
}

static void every_request_is_answered_once(void **state)
{
	const char *one = getenv("SEED");
	uint64_t seed = 0;

	if (one && text_parse_u64(one, &seed, NULL) == 0) {
		run_seed(seed);
		return;
	}
	for (seed = 1; seed <= SEEDS; seed++)
		run_seed(seed);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(every_request_is_answered_once) };

	return cmocka_run_group_tests_name("server", tests, NULL, NULL);
}
