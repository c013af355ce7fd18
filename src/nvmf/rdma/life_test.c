/* SPDX-License-Identifier: BSD-3-Clause */
/* life_test.c: what ends connections over simulated adapters, in whatever state their commands are: lost completions,
 * adapters that go and return, either side, the target's own end. Nothing may stay behind.
 */
#include <errno.h>

#include "core/log.h"
#include "core/mem.h"
#include "core/watch.h"
#include "nvmf/rdma/rdma.h"
#include "nvmf/rdma/test_two.h"
#include "nvmf/target.h"

/* --- trouble of adapters ------------------------------------------------------------------------------------- */

static uint64_t stuck(void) { return watch_stuck_count(w.core); }
static bool is_stuck(void *arg) { return stuck() > *(uint64_t *)arg; }

/* A completion that never comes is named, with its queue, while others go on. An answer's is made up for by the next
 * one that is told; without a READ nothing goes on, and in the end its connection goes. */
static void a_lost_completion_is_named(void **state)
{
	static const enum verbs_op ops[] = { VERBS_READ, VERBS_SEND };

	for (int i = 0; i < 2; i++) {
		struct nvme_sqe sqe = host_rw(NVME_CMD_WRITE, 0, 8);
		uint64_t before;
		struct nvme_cqe cqe;

		world_start(&w, 1, NULL);
		watch_set_limit(w.core, NS_PER_S);
		host_ready(&admin, &w, 0, &cntlid);
		host_ready(&io, &w, 1, &cntlid);
		world_pass(NS_PER_MS); /* all that was answered is told */
		before = stuck();
		sim_adapter_lose_completion(w.adapter, ops[i], 1);
		sqe.sgl1 = host_keyed(&io, 0, 4096, false);
		host_command(&io, &sqe, NULL, 0);
		assert_true(sim_run(is_stuck, &before, 2 * NS_PER_S));
		assert_int_equal(host_answer(&io, &cqe, 0), i == 1);
		assert_false(io.ended);
		sqe = (struct nvme_sqe){ .opc = NVME_ADMIN_KEEP_ALIVE };
		assert_int_equal(host_run(&admin, &sqe, NULL, 0), 0);
		assert_int_equal(host_write(&io, 50, 8, 4), 0);
		assert_int_equal(sim_run(has_ended, &io, 10 * NS_PER_S), i == 0);
		expect_conns(i == 0 ? 1 : 2);
		expect_nothing_held();
		end();
	}
}

/* A host that fell silent with all it could have outstanding: others have the buffers, and receives, and do not wait
 * for it; not even if its commands' descriptors lie in the receives that all share. */
static void dead_host_stalls_nobody(bool listed)
{
	static struct host dead;
	struct nvmf_transport_opts opts = world_opts;
	uint64_t before;

	w.cores = 1;
	w.memory_bytes = 30u << 20;
	opts.max_srq_depth = 128;
	begin(&opts);
	host_ready(&dead, &w, 2, &cntlid);
	for (uint32_t i = 0; i < 128; i++) {
		struct nvme_sqe sqe = host_rw(i % 8 ? NVME_CMD_READ : NVME_CMD_WRITE, 0, 2048);

		const struct nvme_sgl list[] = { host_keyed(&dead, 0, 4096, false), host_keyed(&dead, 4096, 1u << 20, false) };

		sqe.sgl1 = listed ? host_list(0, 2) : host_keyed(&dead, 0, 1u << 20, false);
		host_command(&dead, &sqe, list, listed ? sizeof(list) : 0);
	}
	world_pass(100 * NS_PER_US); /* they are all at the target, and a few may be answered */
	assert_true(dead.answer_count < 30);
	assert_int_equal(world_receives_held(&w), 0);
	sim_adapter_cut(w.adapter, sim_adapter_conns(w.adapter) - 1, true);
	before = sim_now_ns();
	for (uint32_t i = 0; i < 50; i++) {
		assert_int_equal(host_write(&io, 0, 2048, i), 0);
		check_blocks(&io, 0, 2048, i);
	}
	assert_true(sim_now_ns() - before < 2 * NS_PER_S); /* before anybody gave the dead one up */
	expect_conns(2);
	host_close(&dead);
	expect_nothing_held();
	w.cores = 0;
	w.memory_bytes = 0;
	end();
}

static void a_dead_host_stalls_nobody(void **state)
{
	dead_host_stalls_nobody(false);
	dead_host_stalls_nobody(true);
}

/* A host that has fallen silent is given up when what was sent to it was not acknowledged for so long. */
static void a_silent_host_goes_after_the_ack_timeout(void **state)
{
	static const struct { uint32_t ack_ms, least_ms, most_ms; } rows[] = { { 0, 2900, 3500 }, { 100, 100, 300 } };

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct nvmf_transport_opts opts = world_opts;
		struct nvme_sqe sqe = host_rw(NVME_CMD_READ, 0, 8);
		uint64_t began;

		opts.ack_timeout_ms = rows[i].ack_ms;
		begin(&opts);
		sqe.sgl1 = host_keyed(&io, 0, 4096, false);
		began = sim_now_ns();
		host_command(&io, &sqe, NULL, 0);
		sim_adapter_link(w.adapter, false, true, 0); /* nothing it sends arrives */
		world_pass((rows[i].least_ms - 1) * NS_PER_MS);
		assert_int_equal(world_conns(&w), 2);
		while (world_conns(&w) == 2 && sim_now_ns() < began + 20 * NS_PER_S)
			world_pass(NS_PER_MS);
		assert_true(sim_now_ns() - began < rows[i].most_ms * NS_PER_MS);
		sim_adapter_link(w.adapter, false, false, 0);
		end();
	}
}

/* Everything in flight ends with its adapter; when that is back, hosts may come again. */
static void an_adapter_goes_and_returns(void **state)
{
	for (uint32_t seed = 0; seed < 20; seed++) {
		struct nvme_sqe sqe;

		world_start(&w, 100 + seed, NULL);
		host_ready(&admin, &w, 0, &cntlid);
		host_ready(&io, &w, 1, &cntlid);
		for (uint32_t i = 0; i < 60; i++) {
			sqe = host_rw(i % 2 ? NVME_CMD_READ : NVME_CMD_WRITE, 0, 8 << i % 8);
			sqe.sgl1 = host_keyed(&io, 0, (8u << i % 8) * TEST_BLOCK, false);
			host_command(&io, &sqe, NULL, 0);
		}
		world_pass(seed * 3 * NS_PER_US);
		sim_adapter_remove(w.adapter);
		expect_conns(0);
		host_close(&io);
		host_close(&admin);
		world_pass(NS_PER_S);
		expect_nothing_held();
		sim_adapter_return(w.adapter);
		world_pass(NS_PER_S);
		host_ready(&admin, &w, 0, &cntlid);
		host_ready(&io, &w, 1, &cntlid);
		assert_int_equal(host_write(&io, 0, 8, seed), 0);
		check_blocks(&io, 0, 8, seed);
		end();
	}
}

/* --- ends in each state -------------------------------------------------------------------------------------- */

static void start_some(struct host *h, uint32_t seed)
{
	for (uint32_t i = 0; i < 40; i++) {
		uint32_t blocks = 1 + (seed * 7 + i * 13) % 300;
		struct nvme_sqe sqe = host_rw((seed + i) % 2 ? NVME_CMD_READ : NVME_CMD_WRITE, i, blocks);

		sqe.sgl1 = host_keyed(h, 0, blocks * TEST_BLOCK, false);
		if (i % 5 == 4 && blocks <= 8) {
			sqe.opc = NVME_CMD_WRITE;
			sqe.sgl1 = host_in_capsule(0, blocks * TEST_BLOCK);
			host_command(h, &sqe, h->data, blocks * TEST_BLOCK);
		} else {
			host_command(h, &sqe, NULL, 0);
		}
	}
}

/* Wherever its commands are when a connection ends, by either side or on the way, nothing of it stays, and another one
 * goes on. */
static void a_connection_ends_anywhere(void **state)
{
	for (uint32_t seed = 1; seed <= 4; seed++) {
		struct nvmf_transport_opts opts = world_opts;

		opts.no_srq = seed % 2;
		w.target_adapter.read_depth_max = 2;
		world_start(&w, seed, &opts);
		host_ready(&admin, &w, 0, &cntlid);
		host_ready(&io, &w, 1, &cntlid);
		for (uint32_t i = 0; i < 80; i++) {
			if (i % 4 == 3)
				mem_starve(w.core, 2);
			start_some(&io, i);
			world_pass(i * 1300);
			if (i % 3 == 0) {
				while (sim_verbs_conns())
					sim_verbs_cut(0, false);
				expect_conns(0);
				host_close(&io);
				host_close(&admin);
				host_ready(&admin, &w, 0, &cntlid);
				host_ready(&io, &w, 1, &cntlid);
			} else {
				host_close(&io);
				expect_conns(1);
				host_ready(&io, &w, 1, &cntlid);
			}
			mem_starve(w.core, 0);
			assert_int_equal(host_write(&io, 7, 8, i), 0);
			check_blocks(&io, 7, 8, i);
			expect_nothing_held();
		}
		assert_int_equal(count_of("shared_dry"), 0);
		w.target_adapter.read_depth_max = 0;
		end();
	}
}

/* What the system refuses to post, whatever it is, ends that connection and nothing else; rings that get lost, receives
 * that are not found at first and an adapter that takes its time only make things slower. */
static void trouble_with_posting_ends_connections_only(void **state)
{
	for (uint32_t seed = 1; seed <= 12; seed++) {
		struct nvmf_transport_opts opts = world_opts;
		uint32_t lost = 0;

		opts.no_srq = seed % 3 == 0;
		world_start(&w, seed, &opts);
		host_ready(&admin, &w, 0, &cntlid);
		host_ready(&io, &w, 1, &cntlid);
		for (uint32_t i = 0; i < 40; i++) {
			sim_adapter_slow(w.adapter, i % 5 * 3000);
			sim_adapter_rnr(w.adapter, i % 3);
			sim_adapter_lose_ring(w.adapter, i % 4);
			sim_adapter_fail_posts(w.adapter, i % 4 == 2 ? 5 : 0, i % 8 == 2 ? -ENOMEM : -EINVAL);
			start_some(&io, i);
			world_pass(i % 4 == 2 ? 20 * NS_PER_MS : i * 3000);
			sim_adapter_fail_posts(w.adapter, 0, 0);
			sim_adapter_lose_ring(w.adapter, 0);
			lost += io.ended;
			host_close(&io);
			if (admin.ended) {
				host_close(&admin);
				assert_true(world_conns_become(&w, 0));
				host_ready(&admin, &w, 0, &cntlid);
			}
			expect_conns(1);
			host_ready(&io, &w, 1, &cntlid);
			assert_int_equal(host_write(&io, 7, 8, i), 0);
			check_blocks(&io, 7, 8, i);
			expect_nothing_held();
		}
		sim_adapter_slow(w.adapter, 0);
		end();
		assert_true(lost >= 5);
	}
}

static uint64_t charge_all(void)
{
	uint64_t all = 0;

	for (uint64_t bytes = 1u << 30; bytes >= 64; bytes /= 2)
		while (mem_charge(w.core, bytes))
			all += bytes;
	return all;
}

/* When there is no memory for lists their receives go back when they are answered. */
static void start_listed_reads(struct host *h)
{
	const struct nvme_sgl list[] = { host_keyed(h, 0, 8 * TEST_BLOCK, false), host_keyed(h, 8192, TEST_BLOCK, false) };
	struct nvme_sqe sqe = host_rw(NVME_CMD_READ, 0, 9);

	sqe.sgl1 = host_list(0, 2);
	for (uint32_t i = 0; i < 8; i++)
		host_command(h, &sqe, list, sizeof(list));
}

/* Shared receives that are not taken end the connections of their core: nothing is posted to these any more, and who
 * connects next is served. A receive that the adapter has in spite of what it said is no silent end of a command. */
static void trouble_with_shared_receives_ends_connections(void **state)
{
	for (uint32_t seed = 1; seed <= 12; seed++) {
		struct nvmf_transport_opts opts = world_opts;

		opts.max_srq_depth = 1024;
		world_start(&w, seed, &opts);
		host_ready(&admin, &w, 0, &cntlid);
		host_ready(&io, &w, 1, &cntlid);
		for (uint32_t i = 0; i < 4; i++) {
			uint64_t charged = i % 2 ? 0 : charge_all();

			if (i % 2)
				start_some(&io, i);
			else
				start_listed_reads(&io);
			sim_adapter_fail_receives(w.adapter, 2 + i % 4);
			world_pass(20 * NS_PER_MS);
			sim_adapter_fail_receives(w.adapter, 0);
			mem_uncharge(w.core, charged);
			assert_true(sim_run(has_ended, &io, 2 * NS_PER_S));
			host_close(&io);
			host_close(&admin);
			expect_conns(0);
			host_ready(&admin, &w, 0, &cntlid);
			host_ready(&io, &w, 1, &cntlid);
			assert_int_equal(host_write(&io, 7, 8, i), 0);
			check_blocks(&io, 7, 8, i);
		}
		for (uint32_t i = 0; i < 2 * opts.max_srq_depth && seed <= 4; i++)
			assert_int_equal(host_write(&io, 7, 1, i), 0);
		end();
	}
}

/* The target stops under load. */
static void the_target_stops_at_any_time(void **state)
{
	for (uint32_t i = 0; i < 40; i++) {
		begin(NULL);
		start_some(&io, i);
		world_pass(i * 2500);
		world_stop_target(&w);
		host_close(&io);
		host_close(&admin);
		world_end(&w);
	}
}

static struct nvmf_change remove_transport;
static bool removed;
static void transport_removed(struct nvmf_change *c) { removed = true; }
static bool is_removed(void *arg) { return removed; }

static void do_remove(void *arg)
{
	struct net_addr addr;

	must(!net_addr_parse(NET_IPV4, TEST_ADDRESS, "4420", &addr, NULL));
	removed = false;
	remove_transport = (struct nvmf_change){ .target = w.target, .done = transport_removed };
	if (arg)
		nvmf_remove_transport(&remove_transport, "RDMA");
	else
		nvmf_remove_listener(&remove_transport, TEST_NQN, "RDMA", &addr);
}

/* With an adapter that nobody ever used. */
static void a_transport_is_removed(void **state)
{
	world_start(&w, 9, NULL);
	sim_as(core_control(w.core), do_remove, NULL);
	assert_true(sim_run(is_removed, NULL, 10 * NS_PER_S));
	sim_as(core_control(w.core), do_remove, &w);
	assert_true(sim_run(is_removed, NULL, 10 * NS_PER_S));
	world_stop(&w);
	assert_int_equal(remove_transport.err.code, 0);
}

/* --- a queue pair stays where it is ---------------------------------------------------------------------------- */

static struct nvmf_move move;
static bool moved_flag;
static void moved(struct nvmf_move *m) { moved_flag = true; }
static bool is_moved(void *arg) { return moved_flag; }

static void do_move(void *arg)
{
	move = (struct nvmf_move){ .target = w.target, .done = moved };
	nvmf_move_qpair(&move, TEST_NQN, cntlid, 1, core_reactor(w.core, *(uint32_t *)arg), true);
}

static void a_queue_pair_does_not_move(void **state)
{
	uint32_t refused = 0;

	begin(NULL);
	for (uint32_t core = 0; core < 2; core++) {
		moved_flag = false;
		sim_as(core_control(w.core), do_move, &core);
		assert_true(sim_run(is_moved, NULL, NS_PER_S));
		refused += move.err.code == -ENOTSUP;
	}
	assert_int_equal(host_write(&io, 0, 8, 1), 0);
	end();
	assert_int_equal(refused, 1);
}

/* --- strangers ---------------------------------------------------------------------------------------------- */

static bool is_resolved(void *arg) { return ((struct host *)arg)->resolved; }

/* A host would be told that it is connected, and be ended for a newcomer before control has heard of it. */
static void who_is_just_connected_is_no_stranger(void **state)
{
	enum { TIMES = 60 };
	static struct host first, next;
	uint32_t stayed = 0;
	struct nvme_cqe cqe;
	bool connected;

	/* What control has to decide of both comes within a few microseconds, in either order. */
	w.wire = (struct sim_verbs_opts){ .latency_ns_min = 1000, .latency_ns_max = 1000 };
	for (uint32_t seed = 1; seed <= TIMES; seed++) {
		world_start(&w, seed, NULL);
		rdma_of(nvmf_target_transport(w.target, "RDMA"))->strangers.max = 1;
		host_init(&first, &w, 0, 32);
		host_init(&next, &w, 0, 32);
		assert_true(host_connect_rdma(&first));
		host_begin_rdma(&next);
		assert_true(sim_run(is_resolved, &next, NS_PER_S));
		world_pass(seed * 100);
		host_begin_connect(&first, 0, NVME_CNTLID_DYNAMIC);
		connected = host_answer(&first, &cqe, NS_PER_S);
		assert_true(!connected || !nvme_cqe_status(&cqe));
		world_pass(100 * NS_PER_MS);
		assert_true(next.established && !next.ended);
		assert_int_equal(first.ended, !connected);
		assert_int_equal(count_of("crowded_out"), !connected);
		stayed += connected;
		host_close(&first);
		host_close(&next);
		world_pass(NS_PER_S);
		world_stop(&w);
	}
	w = (struct test_world){ 0 };
	assert_in_range(stayed, 1, TIMES - 1); /* otherwise nothing was tried */
}

/* Nobody goes for one that is refused. */
static void a_refused_one_crowds_nobody_out(void **state)
{
	static struct host silent, more;
	uint64_t taken = 0;

	w.small_hosts = true;
	begin(NULL);
	rdma_of(nvmf_target_transport(w.target, "RDMA"))->strangers.max = 1;
	host_init(&silent, &w, 0, 32);
	assert_true(host_connect_rdma(&silent));
	while (mem_charge(w.core, 4096))
		taken += 4096;
	host_init(&more, &w, 0, 32);
	assert_false(host_connect_rdma(&more));
	assert_int_equal(more.reject_status, NVME_RDMA_CM_NO_RSC);
	mem_uncharge(w.core, taken);
	world_pass(100 * NS_PER_MS);
	assert_false(silent.ended);
	assert_int_equal(count_of("crowded_out"), 0);
	host_close(&more);
	host_close(&silent);
	w.small_hosts = false;
	end();
}

/* Nor for one whose queue pair cannot be made, which is known later. */
static void one_without_queues_crowds_nobody_out(void **state)
{
	static struct host silent, more;
	struct nvmf_transport_opts opts = world_opts;

	w.target_adapter.lacks_cq_resize = true;
	w.small_hosts = true;
	w.cores = 1;
	opts.no_srq = true;
	opts.num_cqe = 1300; /* room for one large queue, not for two */
	begin(&opts);
	rdma_of(nvmf_target_transport(w.target, "RDMA"))->strangers.max = 1;
	host_init(&silent, &w, 0, 32);
	assert_true(host_connect_rdma(&silent));
	host_init(&more, &w, 1, 128);
	assert_false(host_connect_rdma(&more));
	assert_int_equal(more.reject_status, NVME_RDMA_CM_NO_RSC);
	world_pass(100 * NS_PER_MS);
	assert_false(silent.ended);
	assert_int_equal(count_of("crowded_out"), 0);
	host_close(&more);
	host_close(&silent);
	end();
	w = (struct test_world){ 0 };
}

/* --- little of everything ------------------------------------------------------------------------------------ */

/* A core with little memory and an adapter that has few receives would refuse all hosts. */
static void few_shared_receives_are_better_than_none(void **state)
{
	enum { ADAPTER_HAS = 100, LEFT = 80 * (64 + 4096) };
	struct nvmf_transport_opts opts = world_opts;
	const struct rdma_dev *d;
	uint64_t taken = 0;

	w.cores = 1;
	w.target_adapter.srq_recv_max = ADAPTER_HAS;
	opts.max_srq_depth = 0;
	world_start(&w, 1, &opts);
	while (mem_charge(w.core, 4096))
		taken += 4096;
	mem_uncharge(w.core, LEFT);
	host_ready(&admin, &w, 0, &cntlid);
	d = list_first(&rdma_of(nvmf_target_transport(w.target, "RDMA"))->devs, struct rdma_dev, link);
	must(d && d->homes[0]);
	assert_int_equal(d->homes[0]->shared.count, ADAPTER_HAS / 2);
	mem_uncharge(w.core, taken - LEFT);
	host_close(&admin);
	world_pass(NS_PER_S);
	world_stop(&w);
	w = (struct test_world){ 0 };
}

/* The first cores would take all memory for their receives, and who comes to others, or later, be refused. */
static void shared_receives_leave_memory_to_others(void **state)
{
	enum { QUEUES = 8 };
	static struct host more[QUEUES];
	struct nvmf_transport_opts opts = world_opts;
	struct mem_stats mem;

	w.cores = 4;
	w.memory_bytes = 32u << 20;
	w.small_hosts = true;
	opts.max_srq_depth = 65535;
	opts.in_capsule_data_size = 8192;
	world_start(&w, 1, &opts);
	host_ready(&admin, &w, 0, &cntlid);
	for (uint32_t i = 0; i < QUEUES; i++)
		host_ready(&more[i], &w, (uint16_t)(1 + i), &cntlid);
	mem_get_stats(w.core, &mem);
	assert_in_range(mem.charged_bytes, mem.charge_bytes_max / 3, mem.charge_bytes_max / 4 * 3);
	for (uint32_t i = 0; i < QUEUES; i++)
		host_close(&more[i]);
	host_close(&admin);
	world_pass(NS_PER_S);
	world_stop(&w);
	w = (struct test_world){ 0 };
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_lost_completion_is_named),
		cmocka_unit_test(a_dead_host_stalls_nobody),
		cmocka_unit_test(a_silent_host_goes_after_the_ack_timeout),
		cmocka_unit_test(an_adapter_goes_and_returns),
		cmocka_unit_test(a_connection_ends_anywhere),
		cmocka_unit_test(trouble_with_posting_ends_connections_only),
		cmocka_unit_test(trouble_with_shared_receives_ends_connections),
		cmocka_unit_test(the_target_stops_at_any_time),
		cmocka_unit_test(a_transport_is_removed),
		cmocka_unit_test(a_queue_pair_does_not_move),
		cmocka_unit_test(who_is_just_connected_is_no_stranger),
		cmocka_unit_test(a_refused_one_crowds_nobody_out),
		cmocka_unit_test(one_without_queues_crowds_nobody_out),
		cmocka_unit_test(few_shared_receives_are_better_than_none),
		cmocka_unit_test(shared_receives_leave_memory_to_others),
	};

	log_set_level(LOG_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
