/* SPDX-License-Identifier: BSD-3-Clause */
/* sim_verbs_test.c: what can happen to simulated adapters, as verbs tells it: removal, ports, lost completions, rings
 * and packets, peers that end or fall silent. */
#include <errno.h>

#include "net/sim/sim_net.h"
#include "verbs/sim/sim_verbs.h"
#include "verbs/test_pair.h"

#define WAIT_NS (300 * NS_PER_S)

static struct pair pair;
static struct sim_adapter *adapter;
static uint32_t number;
static uint64_t register_max;

/* --- the world ------------------------------------------------------------------------------------ */

void world_args(int argc, char **argv) {}
uint32_t world_count(void) { return 10; }
bool world_is_simulated(void) { return true; }
const char *world_address(void) { return "fd00::7"; }

struct core *world_begin(uint32_t n)
{
	struct err e = { 0 };
	struct core *core;

	sim_start(n + 100);
	sim_net_start(&(struct sim_net_opts){ .latency_ns_min = 1000, .latency_ns_max = 2000 });
	sim_verbs_start(&(struct sim_verbs_opts){ .latency_ns_min = 500, .latency_ns_max = 50000 });
	core = core_make(&(struct core_opts){ .cpus = "[0-1]", .mode = (enum core_mode)(n % CORE_MODE_COUNT) }, &e);
	if (!core)
		fail_msg("%s", e.text);
	adapter = sim_adapter_add(core, &(struct sim_adapter_opts){ .name = "sim0", .address = world_address(),
	                                                            .register_bytes_max = register_max });
	return core;
}

void world_end(struct core *core)
{
	sim_run(NULL, NULL, 5 * NS_PER_S);
	sim_verbs_end();
	core_free(core);
	sim_net_end();
	sim_end();
}

void world_on(struct reactor *r, void (*fn)(void *arg), void *arg) { sim_as(r, fn, arg); }
bool world_wait(bool (*until)(void *arg), void *arg) { return sim_run(until, arg, WAIT_NS); }
void world_pass_ms(uint32_t ms) { sim_run(NULL, NULL, ms * NS_PER_MS); }

static void establish(void)
{
	pair_open(&pair, number, number & 1);
	pair_establish(&pair);
}

static int post(struct end *e, enum verbs_op op, uint32_t at, uint32_t len, uint32_t rkey, void *remote)
{
	struct verbs_sge sge = end_sge(e, at, len);

	return end_post(e, &(struct verbs_wr){ .op = (uint8_t)op, .sges = &sge, .sge_count = 1, .signaled = true,
	                                       .ctx = end_ctx(at), .rkey = rkey, .remote = (uint64_t)(uintptr_t)remote });
}

static int post_send(struct end *e, uint32_t at) { return post(e, VERBS_SEND, at, 64, 0, NULL); }

static void post_recvs(struct end *e, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		assert_int_equal(end_recv(e, i * 64, 64), 0);
}

/* --- adapters ------------------------------------------------------------------------------------- */

/* Whoever held on to a removed adapter would never come back. */
static void removal_ends_connections_and_is_told(void **state)
{
	establish();
	post_recvs(&pair.server, 4);
	sim_adapter_remove(adapter);
	assert_true(end_wait_for(&pair.gone, 1));
	assert_int_equal(pair.client.ended, 1);
	assert_int_equal(pair.server.ended, 1);
	assert_false(verbs_dev_is_there(pair.dev));
	assert_int_equal(post_send(&pair.client, 0), -ENODEV);
	sim_adapter_return(adapter);
	assert_true(end_wait_for(&pair.came, 2));
	pair_close(&pair);
}

static void removal_while_resolving_is_unreachable(void **state)
{
	pair_open(&pair, number, false);
	pair_listen(&pair);
	sim_adapter_remove(adapter);
	pair_connect(&pair);
	assert_int_equal(pair.client.unreachable, 1);
	assert_int_equal(pair.client.rc, -ENODEV);
	pair_close(&pair);
}

static void a_port_that_is_down_for_a_while_stops_nothing(void **state)
{
	establish();
	post_recvs(&pair.server, 4);
	sim_adapter_port(adapter, false);
	assert_true(end_wait_for(&pair.port_down, 1));
	assert_int_equal(post_send(&pair.client, 0), 0);
	world_pass_ms(500);
	assert_int_equal(pair.server.wc_count, 0);
	sim_adapter_port(adapter, true);
	assert_true(end_wait_for(&pair.port_up, 1));
	assert_true(end_wait(&pair.server, 1));
	assert_true(end_wait(&pair.client, 1));
	assert_int_equal(pair.client.wcs[0].status, VERBS_OK);
	pair_disconnect(&pair);
	pair_close(&pair);
}

static void a_port_that_stays_down_ends_retries(void **state)
{
	establish();
	post_recvs(&pair.server, 4);
	sim_adapter_port(adapter, false);
	assert_int_equal(post_send(&pair.client, 0), 0);
	assert_true(end_wait(&pair.client, 1));
	assert_int_equal(pair.client.wcs[0].status, VERBS_RETRIES);
	end_disconnect(&pair.client); /* each finds out by itself */
	pair_close(&pair);
}

static struct verbs *hidden;
static uint32_t seen;

static void see(void *arg, struct verbs_dev *d, bool port_up) { seen++; }

static void get_hidden(void *arg)
{
	hidden = verbs_get(arg, NULL);
	must(hidden);
}

static void put_hidden(void *arg)
{
	verbs_visit_devs(hidden, see, NULL);
	verbs_put(hidden);
}

/* An adapter whose buffers cannot be registered is of no use, and is not offered. */
static void buffers_that_cannot_be_registered_hide_the_adapter(void **state)
{
	struct core *core;

	register_max = MIB;
	core = world_begin(number);
	register_max = 0;
	world_on(core_control(core), get_hidden, core);
	world_pass_ms(1000);
	world_on(core_control(core), put_hidden, NULL);
	assert_int_equal(seen, 0);
	world_end(core);
}

/* --- loss ----------------------------------------------------------------------------------------- */

static struct verbs_watcher fickle;

static void put_at_once(struct verbs_watcher *w, struct verbs_dev *d, enum verbs_dev_event event)
{
	seen++;
	verbs_unwatch(hidden, w);
	verbs_put(hidden);
}

static void watch_hidden(void *arg)
{
	get_hidden(arg);
	fickle.event = put_at_once;
	verbs_watch(hidden, &fickle);
}

/* What is put back by whoever is told that it came is freed once, and not before it was left. */
static void who_is_told_may_put_it_back(void **state)
{
	struct core *core = world_begin(number);

	seen = 0;
	world_on(core_control(core), watch_hidden, core);
	world_pass_ms(1000);
	assert_int_equal(seen, 1);
	seen = 0;
	world_end(core);
}

static void a_lost_completion_is_just_that(void **state)
{
	establish();
	post_recvs(&pair.server, 4);
	sim_adapter_lose_completion(adapter, VERBS_SEND, 2);
	for (uint32_t i = 0; i < 3; i++)
		assert_int_equal(post_send(&pair.client, i * 64), 0);
	assert_true(end_wait(&pair.server, 3));
	assert_true(end_wait(&pair.client, 2));
	world_pass_ms(100);
	assert_int_equal(pair.client.wc_count, 2);
	assert_ptr_equal(pair.client.wcs[0].ctx, end_ctx(0));
	assert_ptr_equal(pair.client.wcs[1].ctx, end_ctx(128));
	assert_int_equal(sim_adapter_lost(adapter), 1);
	pair_disconnect(&pair);
	pair_close(&pair);
}

/* I/O would hang until something else happens. */
static void a_lost_ring_is_made_good(void **state)
{
	struct verbs_cq_stats stats[2];

	establish();
	post_recvs(&pair.server, 4);
	assert_int_equal(post_send(&pair.client, 0), 0);
	assert_true(end_wait(&pair.server, 1));
	world_pass_ms(100);
	sim_adapter_lose_ring(adapter, 1);
	assert_int_equal(post_send(&pair.client, 0), 0);
	assert_true(end_wait(&pair.client, 2));
	assert_true(end_wait(&pair.server, 2));
	verbs_cq_get_stats(pair.client.cq, &stats[0]);
	verbs_cq_get_stats(pair.server.cq, &stats[1]);
	assert_int_equal(stats[0].late + stats[1].late, sim_adapter_lost(adapter));
	pair_disconnect(&pair);
	pair_close(&pair);
}

static void a_receive_that_is_not_found_at_first_is_found(void **state)
{
	establish();
	post_recvs(&pair.server, 4);
	sim_adapter_rnr(adapter, 3);
	assert_int_equal(post_send(&pair.client, 0), 0);
	assert_true(end_wait(&pair.server, 1));
	pair_disconnect(&pair);
	pair_close(&pair);
}

static void posts_that_fail_leave_the_rest(void **state)
{
	establish();
	post_recvs(&pair.server, 4);
	sim_adapter_fail_posts(adapter, 2, -ENOMEM);
	assert_int_equal(post_send(&pair.client, 0), 0);
	assert_int_equal(post_send(&pair.client, 64), -ENOMEM);
	sim_adapter_fail_posts(adapter, 0, 0);
	assert_int_equal(post_send(&pair.client, 128), 0);
	assert_true(end_wait(&pair.client, 2));
	assert_ptr_equal(pair.client.wcs[1].ctx, end_ctx(128));
	pair_disconnect(&pair);
	pair_close(&pair);
}

/* --- ends ----------------------------------------------------------------------------------------- */

static void a_cut_connection_ends_at_both_sides(void **state)
{
	establish();
	post_recvs(&pair.server, 4);
	assert_int_equal(sim_verbs_conns(), 1);
	sim_verbs_cut(0, false);
	assert_true(end_wait_for(&pair.client.ended, 1));
	assert_true(end_wait_for(&pair.server.ended, 1));
	assert_int_equal(sim_verbs_conns(), 0);
	pair_close(&pair);
}

static void a_silent_one_is_found_out_by_who_sends(void **state)
{
	establish();
	post_recvs(&pair.server, 4);
	sim_verbs_cut(0, true);
	world_pass_ms(60000);
	assert_int_equal(pair.client.ended + pair.server.ended, 0);
	assert_int_equal(post_send(&pair.client, 0), 0);
	assert_true(end_wait(&pair.client, 1));
	assert_int_equal(pair.client.wcs[0].status, VERBS_RETRIES);
	end_disconnect(&pair.client);
	pair_close(&pair);
}

static void free_client(void *arg)
{
	verbs_conn_free(pair.client.conn);
	pair.client.conn = NULL;
}

static void forget_client(void *arg) { verbs_conn_forget(pair.client.conn); }

/* A process that ends takes its connections along; its system tells the other side. */
static void who_frees_a_connection_ends_it(void **state)
{
	establish();
	assert_int_equal(post_send(&pair.client, 0), 0); /* for which there is no receive */
	world_on(pair.client.reactor, forget_client, NULL);
	world_on(core_control(pair.core), free_client, NULL);
	assert_true(end_wait_for(&pair.server.ended, 1));
	assert_int_equal(pair.client.wc_count, 0);
	pair_close(&pair);
}

static void a_black_hole_is_unreachable_in_time(void **state)
{
	pair_open(&pair, number, false);
	pair_listen(&pair);
	sim_adapter_link(adapter, true, false, 0);
	pair_connect(&pair);
	assert_int_equal(pair.client.unreachable, 1);
	assert_int_equal(pair.client.rc, -ETIMEDOUT);
	sim_adapter_link(adapter, false, false, 0);
	pair_close(&pair);
}

/* --- a kernel's keys ------------------------------------------------------------------------------ */

static void a_key_is_invalidated_once(void **state)
{
	static uint8_t memory[4096];
	struct verbs_sge sge;
	struct sim_key *k;
	uint32_t rkey;

	establish();
	post_recvs(&pair.server, 4);
	k = sim_key_make(adapter, memory, sizeof(memory), &rkey);
	memset(end_at(&pair.client, 0), 7, 4096);
	assert_int_equal(post(&pair.client, VERBS_WRITE, 0, 4096, rkey, memory), 0);
	assert_true(end_wait(&pair.client, 1));
	assert_int_equal(memory[4095], 7);
	sge = end_sge(&pair.client, 0, 16);
	assert_int_equal(end_post(&pair.client, &(struct verbs_wr){ .op = VERBS_SEND_INVALIDATE, .sges = &sge,
	                                                             .sge_count = 1, .signaled = true, .rkey = rkey }), 0);
	assert_true(end_wait(&pair.server, 1));
	assert_true(pair.server.wcs[0].invalidated);
	assert_int_equal(pair.server.wcs[0].key, rkey);
	assert_false(sim_key_is_valid(k));
	assert_true(end_wait(&pair.client, 2));
	assert_int_equal(post(&pair.client, VERBS_WRITE, 0, 4096, rkey, memory), 0);
	assert_true(end_wait(&pair.client, 3));
	assert_int_equal(pair.client.wcs[2].status, VERBS_REMOTE_KEY);
	sim_key_free(k);
	pair_disconnect(&pair);
	pair_close(&pair);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(removal_ends_connections_and_is_told),
		cmocka_unit_test(removal_while_resolving_is_unreachable),
		cmocka_unit_test(a_port_that_is_down_for_a_while_stops_nothing),
		cmocka_unit_test(a_port_that_stays_down_ends_retries),
		cmocka_unit_test(buffers_that_cannot_be_registered_hide_the_adapter),
		cmocka_unit_test(who_is_told_may_put_it_back),
		cmocka_unit_test(a_lost_completion_is_just_that),
		cmocka_unit_test(a_lost_ring_is_made_good),
		cmocka_unit_test(a_receive_that_is_not_found_at_first_is_found),
		cmocka_unit_test(posts_that_fail_leave_the_rest),
		cmocka_unit_test(a_cut_connection_ends_at_both_sides),
		cmocka_unit_test(a_silent_one_is_found_out_by_who_sends),
		cmocka_unit_test(who_frees_a_connection_ends_it),
		cmocka_unit_test(a_black_hole_is_unreachable_in_time),
		cmocka_unit_test(a_key_is_invalidated_once),
	};
	int failed = 0;

	for (number = 0; number < world_count(); number++)
		failed += cmocka_run_group_tests(tests, NULL, NULL);
	return failed;
}
