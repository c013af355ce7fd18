/* SPDX-License-Identifier: BSD-3-Clause */
/* verbs_test.c: what verbs.h promises, of any adapter: simulated ones under seeds, real ones (verbs_os_test ADDRESS,
 * where ADDRESS is an adapter's own). A connection from the adapter to itself has both ends here. */
#include "verbs/test_pair.h"

#include <errno.h>
#include <stdio.h>

static struct pair pair;
static uint32_t number; /* of world_count() */

/* Both kinds of receives. */
static void open_pair(uint32_t n) { pair_open(&pair, number, n & 1); }

static void fill(struct end *e, uint32_t at, uint32_t len, uint32_t seed)
{
	for (uint32_t i = 0; i < len; i++)
		end_at(e, at)[i] = (uint8_t)(seed * 31 + i * 7 + (i >> 8));
}

static bool is_filled(const uint8_t *bytes, uint32_t len, uint32_t seed)
{
	for (uint32_t i = 0; i < len; i++)
		if (bytes[i] != (uint8_t)(seed * 31 + i * 7 + (i >> 8)))
			return false;
	return true;
}

static int post_send(struct end *e, uint32_t at, uint32_t len, bool signaled)
{
	struct verbs_sge sge = end_sge(e, at, len);

	return end_post(e, &(struct verbs_wr){ .op = VERBS_SEND, .sges = &sge, .sge_count = 1, .signaled = signaled,
	                                       .ctx = end_ctx(at) });
}

/* --- connecting ----------------------------------------------------------------------------------- */

/* Hosts and targets would not know each other's queues. */
static void private_data_travels_both_ways(void **state)
{
	open_pair(0);
	pair.client_says.data = "what the host says";
	pair.client_says.data_len = 19;
	pair.server_says.data = "what the target says";
	pair.server_says.data_len = 21;
	pair_establish(&pair);
	assert_true(pair.server.said.data_len >= 19);
	assert_string_equal((char *)pair.server.data, "what the host says");
	assert_true(pair.client.said.data_len >= 21);
	assert_string_equal((char *)pair.client.data, "what the target says");
	assert_int_equal(pair.server.said.read_depth, 4);
	assert_int_equal(pair.server.said.read_serve, 4);
	pair_disconnect(&pair);
	pair_close(&pair);
}

/* A host would not know why. */
static void rejection_carries_data(void **state)
{
	open_pair(0);
	pair.reject = true;
	pair.server_says.data = "no";
	pair.server_says.data_len = 3;
	pair_listen(&pair);
	pair_connect(&pair);
	assert_int_equal(pair.client.rejected, 1);
	assert_true(pair.client.said.data_len >= 3);
	assert_string_equal((char *)pair.client.data, "no");
	pair_close(&pair);
}

static void nobody_listens_is_told(void **state)
{
	open_pair(0);
	must(!net_addr_parse(NET_ANY, world_address(), "9", &pair.addr, NULL));
	pair_connect(&pair);
	assert_int_equal(pair.client.rejected + pair.client.unreachable, 1);
	pair_close(&pair);
}

/* Whoever disconnects, both hear of it once, and everything posted comes back. */
static void disconnecting_flushes(void **state)
{
	uint32_t flushed = 0;

	open_pair(0); /* receives of their own */
	pair_establish(&pair);
	for (uint32_t i = 0; i < 10; i++)
		assert_int_equal(end_recv(&pair.server, i * 64, 64), 0);
	pair_disconnect(&pair);
	assert_true(end_wait(&pair.server, 10));
	for (uint32_t i = 0; i < 10; i++) {
		assert_int_equal(pair.server.wcs[i].status, VERBS_FLUSHED);
		assert_ptr_equal(pair.server.wcs[i].conn, pair.server.conn);
		assert_ptr_equal(pair.server.wcs[i].ctx, end_ctx(i * 64));
		flushed++;
	}
	world_pass_ms(20);
	assert_int_equal(pair.server.ended, 1);
	assert_int_equal(pair.client.ended, 1);
	assert_int_equal(flushed, pair.server.wc_count);
	pair_close(&pair);
}

/* --- sending -------------------------------------------------------------------------------------- */

static void messages_arrive_in_order(void **state)
{
	for (uint32_t shared = 0; shared < 2; shared++) {
		struct end *to = &pair.server, *from = &pair.client;

		open_pair(shared);
		pair_establish(&pair);
		for (uint32_t i = 0; i < 32; i++)
			assert_int_equal(end_recv(to, i * 4096, 4096), 0);
		for (uint32_t i = 0; i < 32; i++) {
			fill(from, i * 4096, 1 + i * 100, i);
			assert_int_equal(post_send(from, i * 4096, 1 + i * 100, true), 0);
		}
		assert_true(end_wait(to, 32));
		assert_true(end_wait(from, 32));
		for (uint32_t i = 0; i < 32; i++) {
			assert_int_equal(to->wcs[i].status, VERBS_OK);
			assert_int_equal(to->wcs[i].op, VERBS_RECV);
			assert_int_equal(to->wcs[i].len, 1 + i * 100);
			assert_ptr_equal(to->wcs[i].ctx, end_ctx(i * 4096));
			assert_ptr_equal(to->wcs[i].conn, to->conn);
			assert_true(is_filled(end_at(to, i * 4096), 1 + i * 100, i));
			assert_int_equal(from->wcs[i].op, VERBS_SEND);
			assert_int_equal(from->wcs[i].status, VERBS_OK);
			assert_ptr_equal(from->wcs[i].ctx, end_ctx(i * 4096));
			assert_ptr_equal(verbs_conn_arg(from->wcs[i].conn), from);
		}
		pair_disconnect(&pair);
		pair_close(&pair);
	}
}

/* What is sent inline is the caller's again when it was posted, whatever its key. */
static void inline_data_is_copied(void **state)
{
	struct verbs_sge sge;

	open_pair(0);
	pair.inline_max = 16;
	pair_establish(&pair);
	assert_int_equal(end_recv(&pair.server, 0, 64), 0);
	fill(&pair.client, 0, 16, 5);
	sge = end_sge(&pair.client, 0, 16);
	assert_int_equal(end_post(&pair.client, &(struct verbs_wr){ .op = VERBS_SEND, .sges = &sge, .sge_count = 1,
	                                                             .signaled = true }), 0);
	assert_true(end_wait(&pair.server, 1));
	assert_true(is_filled(end_at(&pair.server, 0), 16, 5));
	pair_disconnect(&pair);
	pair_close(&pair);
}

static void a_message_too_long_breaks_the_connection(void **state)
{
	open_pair(0);
	pair_establish(&pair);
	assert_int_equal(end_recv(&pair.server, 0, 100), 0);
	assert_int_equal(post_send(&pair.client, 0, 101, true), 0);
	assert_true(end_wait(&pair.client, 1));
	assert_true(end_wait(&pair.server, 1));
	if (world_is_simulated()) { /* soft RoCE has other words for it */
		assert_int_equal(pair.client.wcs[0].status, VERBS_REMOTE_INVALID);
		assert_int_equal(pair.server.wcs[0].status, VERBS_LENGTH);
	}
	assert_int_not_equal(pair.client.wcs[0].status, VERBS_OK);
	assert_int_not_equal(pair.server.wcs[0].status, VERBS_OK);
	pair_disconnect(&pair);
	pair_close(&pair);
}

/* Who has no patience is told that nobody posted a receive. */
static void no_receive_is_told_after_the_retries(void **state)
{
	open_pair(0);
	pair.client_says.rnr_retries = pair.server_says.rnr_retries = 1;
	pair_establish(&pair);
	assert_int_equal(post_send(&pair.client, 0, 64, true), 0);
	assert_true(end_wait(&pair.client, 1));
	assert_int_equal(pair.client.wcs[0].status, VERBS_NO_RECEIVE);
	pair_disconnect(&pair);
	pair_close(&pair);
}

/* And who has, waits for it. */
static void a_receive_that_comes_late_is_used(void **state)
{
	open_pair(0);
	pair_establish(&pair);
	fill(&pair.client, 0, 64, 3);
	assert_int_equal(post_send(&pair.client, 0, 64, true), 0);
	world_pass_ms(5);
	assert_int_equal(end_recv(&pair.server, 0, 64), 0);
	assert_true(end_wait(&pair.server, 1));
	assert_true(end_wait(&pair.client, 1));
	assert_int_equal(pair.client.wcs[0].status, VERBS_OK);
	assert_true(is_filled(end_at(&pair.server, 0), 64, 3));
	pair_disconnect(&pair);
	pair_close(&pair);
}

/* --- work requests without a word ----------------------------------------------------------------- */

/* A completion tells of all before it; their places are free again then, not before. */
static void unsignaled_requests_end_with_a_signaled_one(void **state)
{
	struct end *e = &pair.client;

	open_pair(1);
	pair.send_max = 8;
	pair_establish(&pair);
	for (uint32_t round = 0; round < 10; round++) {
		for (uint32_t i = 0; i < 8; i++)
			assert_int_equal(end_recv(&pair.server, i * 64, 64), 0);
		for (uint32_t i = 0; i < 8; i++)
			assert_int_equal(post_send(e, i * 64, 64, i == 7), 0);
		assert_true(end_wait(e, round + 1));
		assert_ptr_equal(e->wcs[round].ctx, end_ctx(7 * 64));
		assert_true(end_wait(&pair.server, 8 * (round + 1)));
	}
	assert_int_equal(e->wc_count, 10);
	pair_disconnect(&pair);
	pair_close(&pair);
}

static void a_chain_is_posted_until_it_is_full(void **state)
{
	struct verbs_wr wrs[100];
	struct verbs_sge sge;
	uint32_t fit;

	open_pair(0);
	pair.send_max = 16;
	pair_establish(&pair);
	sge = end_sge(&pair.client, 0, 8);
	for (uint32_t i = 0; i < 100; i++)
		wrs[i] = (struct verbs_wr){ .op = VERBS_SEND, .sges = &sge, .sge_count = 1, .signaled = true, .ctx = end_ctx(i),
		                            .next = i < 99 ? &wrs[i + 1] : NULL };
	for (uint32_t i = 0; i < END_DEPTH; i++)
		assert_int_equal(end_recv(&pair.server, i * 64, 64), 0);
	assert_int_equal(end_post(&pair.client, wrs), -ENOMEM);
	assert_true(end_wait(&pair.client, 16));
	do {
		fit = pair.client.wc_count;
		world_pass_ms(100);
	} while (fit != pair.client.wc_count);
	assert_true(fit <= END_DEPTH); /* hardware may have more than was asked for, or be done with some meanwhile */
	for (uint32_t i = 0; i < fit; i++)
		assert_ptr_equal(pair.client.wcs[i].ctx, end_ctx(i));
	assert_true(end_wait(&pair.server, fit));
	pair_disconnect(&pair);
	pair_close(&pair);
}

/* --- reading and writing -------------------------------------------------------------------------- */

struct bufs {
	struct mem_bufs bufs;
	uint32_t len;
	struct verbs_key key;
	bool found, beyond;
};

static void take_bufs(void *arg)
{
	struct bufs *b = arg;
	struct iovec *iov;

	must(mem_take(&b->bufs, b->len));
	iov = mem_iov(&b->bufs);
	b->found = verbs_find_key(pair.dev, iov[0].iov_base, iov[0].iov_len, &b->key);
	b->beyond = verbs_find_key(pair.dev, iov[0].iov_base, 1ull << 40, &b->key);
}

static void give_bufs(void *arg)
{
	struct bufs *b = arg;

	mem_give(&b->bufs);
}

/* Bytes of a buffer, one after the other, from or to the memory of an end. */
static void move_bytes(struct bufs *b, uint8_t *at, bool to_bufs)
{
	for (uint32_t i = 0; i < b->bufs.count; i++) {
		struct iovec *iov = &mem_iov(&b->bufs)[i];

		memcpy(to_bufs ? iov->iov_base : at, to_bufs ? at : iov->iov_base, iov->iov_len);
		at += iov->iov_len;
	}
}

/* READ or WRITE all of the server's buffers: a request for each. */
static void transfer(struct bufs *b, enum verbs_op op)
{
	struct verbs_wr wrs[MEM_IOV_MAX];
	struct verbs_sge sges[MEM_IOV_MAX];
	uint32_t count = b->bufs.count, before = pair.client.wc_count;

	for (uint32_t i = 0, at = 0; i < count; i++) {
		struct iovec *iov = &mem_iov(&b->bufs)[i];
		bool last = i == count - 1;

		sges[i] = end_sge(&pair.client, at, (uint32_t)iov->iov_len);
		wrs[i] = (struct verbs_wr){ .op = (uint8_t)op, .sges = &sges[i], .sge_count = 1, .signaled = last,
		                            .rkey = b->key.rkey, .remote = (uint64_t)(uintptr_t)iov->iov_base,
		                            .next = last ? NULL : &wrs[i + 1] };
		at += (uint32_t)iov->iov_len;
	}
	assert_int_equal(end_post(&pair.client, wrs), 0);
	assert_true(end_wait(&pair.client, before + 1));
	assert_int_equal(pair.client.wcs[before].status, VERBS_OK);
	assert_int_equal(pair.client.wcs[before].op, op);
}

/* Data would be wrong, or in the wrong place. */
static void reads_and_writes_of_all_sizes(void **state)
{
	static const uint32_t sizes[] = { 1, 511, 4096, 65536, 100000, MEM_IO_BYTES_MAX };

	open_pair(0);
	pair_establish(&pair);
	for (uint32_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct bufs b = { .len = sizes[i] };

		world_on(pair.server.reactor, take_bufs, &b);
		assert_true(b.found);
		assert_false(b.beyond);
		fill(&pair.client, 0, b.len, i);
		transfer(&b, VERBS_WRITE);
		memset(end_at(&pair.server, 0), 0, b.len);
		move_bytes(&b, end_at(&pair.server, 0), false);
		assert_true(is_filled(end_at(&pair.server, 0), b.len, i));
		fill(&pair.server, 0, b.len, i + 50);
		move_bytes(&b, end_at(&pair.server, 0), true);
		transfer(&b, VERBS_READ);
		assert_true(is_filled(end_at(&pair.client, 0), b.len, i + 50));
		world_on(pair.server.reactor, give_bufs, &b);
	}
	pair_disconnect(&pair);
	pair_close(&pair);
}

/* A write before a message is there when the message is: what a target's answers rest on. */
static void what_was_written_is_there_when_a_later_message_is(void **state)
{
	struct bufs b = { .len = 4096 };
	struct verbs_sge sges[2];
	struct verbs_wr wrs[2];

	open_pair(1);
	pair_establish(&pair);
	world_on(pair.server.reactor, take_bufs, &b);
	assert_true(b.found);
	for (uint32_t i = 0; i < 20; i++) {
		assert_int_equal(end_recv(&pair.server, 0, 64), 0);
		fill(&pair.client, 0, 4096, i);
		sges[0] = end_sge(&pair.client, 0, 4096);
		sges[1] = end_sge(&pair.client, 8192, 16);
		wrs[1] = (struct verbs_wr){ .op = VERBS_SEND, .sges = &sges[1], .sge_count = 1, .signaled = true };
		wrs[0] = (struct verbs_wr){ .op = VERBS_WRITE, .sges = sges, .sge_count = 1, .next = &wrs[1],
		                            .rkey = b.key.rkey,
		                            .remote = (uint64_t)(uintptr_t)mem_iov(&b.bufs)->iov_base };
		assert_int_equal(end_post(&pair.client, wrs), 0);
		assert_true(end_wait(&pair.server, i + 1));
		assert_true(is_filled(mem_iov(&b.bufs)->iov_base, 4096, i));
		assert_true(end_wait(&pair.client, i + 1));
	}
	world_on(pair.server.reactor, give_bufs, &b);
	pair_disconnect(&pair);
	pair_close(&pair);
}

/* A host with a wrong key must not get at memory. */
static void a_wrong_key_is_refused(void **state)
{
	static const struct { enum verbs_op op; int32_t off; } rows[] = {
		{ VERBS_READ, 0 }, { VERBS_WRITE, 0 },
	};

	for (uint32_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct verbs_sge sge;

		open_pair(0);
		pair_establish(&pair);
		sge = end_sge(&pair.client, 0, 4096);
		/* memory of its own is for local use */
		assert_int_equal(end_post(&pair.client, &(struct verbs_wr){
			.op = (uint8_t)rows[i].op, .sges = &sge, .sge_count = 1, .signaled = true, .rkey = pair.server.mem.lkey,
			.remote = (uint64_t)(uintptr_t)end_at(&pair.server, 0) }), 0);
		assert_true(end_wait(&pair.client, 1));
		assert_int_equal(pair.client.wcs[0].status, VERBS_REMOTE_KEY);
		pair_disconnect(&pair);
		pair_close(&pair);
	}
}

/* A host that guesses a target's keys must not get at memory: its target gave none away. */
static void who_serves_no_reads_is_shut(void **state)
{
	struct bufs b = { .len = 4096 };
	struct verbs_sge sge;

	open_pair(0);
	pair.server_says.read_serve = 0;
	pair_establish(&pair);
	world_on(pair.server.reactor, take_bufs, &b);
	assert_true(b.found);
	memset(mem_iov(&b.bufs)->iov_base, 0, 64);
	fill(&pair.client, 0, 64, 7);
	sge = end_sge(&pair.client, 0, 64);
	assert_int_equal(end_post(&pair.client, &(struct verbs_wr){
		.op = VERBS_WRITE, .sges = &sge, .sge_count = 1, .signaled = true, .rkey = b.key.rkey,
		.remote = (uint64_t)(uintptr_t)mem_iov(&b.bufs)->iov_base }), 0);
	assert_true(end_wait(&pair.client, 1));
	assert_int_not_equal(pair.client.wcs[0].status, VERBS_OK);
	assert_false(is_filled(mem_iov(&b.bufs)->iov_base, 64, 7));
	pair_disconnect(&pair);
	world_on(pair.server.reactor, give_bufs, &b);
	pair_close(&pair);
}

/* More READs than the depth wait in the send queue; all are done. */
static void more_reads_than_the_depth_wait(void **state)
{
	struct bufs b = { .len = 65536 };
	struct verbs_wr wrs[32];
	struct verbs_sge sges[32];

	open_pair(0);
	pair.client_says.read_depth = 2;
	pair_establish(&pair);
	world_on(pair.server.reactor, take_bufs, &b);
	assert_true(b.found);
	fill(&pair.server, 0, 65536, 9);
	move_bytes(&b, end_at(&pair.server, 0), true);
	for (uint32_t i = 0; i < 32; i++) {
		sges[i] = end_sge(&pair.client, i * 2048, 2048);
		wrs[i] = (struct verbs_wr){ .op = VERBS_READ, .sges = &sges[i], .sge_count = 1, .signaled = i % 4 == 3,
		                            .rkey = b.key.rkey, .next = i < 31 ? &wrs[i + 1] : NULL, .fence = i % 5 == 4,
		                            .remote = (uint64_t)(uintptr_t)mem_iov(&b.bufs)->iov_base + i * 2048 };
	}
	assert_int_equal(end_post(&pair.client, wrs), 0);
	assert_true(end_wait(&pair.client, 8));
	assert_true(is_filled(end_at(&pair.client, 0), 65536, 9));
	world_on(pair.server.reactor, give_bufs, &b);
	pair_disconnect(&pair);
	pair_close(&pair);
}

/* --- sleeping ------------------------------------------------------------------------------------- */

/* Both ends sleep between messages: each has to be woken by the other's, every time. */
static void no_completion_is_slept_through(void **state)
{
	uint32_t rounds = world_is_simulated() ? 300 : 2000;
	struct verbs_cq_stats stats;

	open_pair(number);
	pair_establish(&pair);
	for (uint32_t i = 0; i < 4; i++) {
		assert_int_equal(end_recv(&pair.server, i * 64, 64), 0);
		assert_int_equal(end_recv(&pair.client, i * 64, 64), 0);
	}
	pair.server.echo = pair.client.echo = rounds;
	assert_int_equal(post_send(&pair.client, 8192, 64, true), 0);
	if (!end_wait(&pair.server, 2 * rounds))
		fail_msg("stopped after %u and %u completions", pair.server.wc_count, pair.client.wc_count);
	assert_int_equal(pair.server.echo, 0);
	assert_true(end_wait(&pair.client, 2 * rounds));
	verbs_cq_get_stats(pair.server.cq, &stats);
	assert_true(stats.late == 0 || !world_is_simulated()); /* real time may do both at once */
	pair_disconnect(&pair);
	pair_close(&pair);
}

/* An idle connection must cost nothing: no pass, no timer. */
static void who_waits_sleeps(void **state)
{
	struct reactor_stats before[2], after;

	open_pair(1);
	pair_establish(&pair);
	world_pass_ms(50);
	for (uint32_t i = 0; i < 2; i++)
		reactor_get_stats(core_reactor(pair.core, i), &before[i]);
	world_pass_ms(world_is_simulated() ? 3600 * 1000 : 300);
	for (uint32_t i = 0; i < 2; i++) {
		reactor_get_stats(core_reactor(pair.core, i), &after);
		assert_true(after.passes - before[i].passes <= 3);
	}
	pair_disconnect(&pair);
	pair_close(&pair);
}

/* --- memory --------------------------------------------------------------------------------------- */

static uint8_t around[3 << 16] __attribute__((aligned(65536)));
static uint8_t *const region_memory = around + (1 << 16);
static struct mem_region region;

static void add_region(void *arg)
{
	region = (struct mem_region){ .base = region_memory, .len = 1 << 16, .shared = arg != NULL };
	mem_region_add(pair.core, &region);
}

static void remove_region(void *arg) { mem_region_remove(pair.core, &region); }

struct find {
	const void *at;
	size_t len;
	_Atomic bool found;
	struct verbs_key key;
};

static void find_on_core(void *arg)
{
	struct find *f = arg;

	f->found = verbs_find_key(pair.dev, f->at, f->len, &f->key);
}

static bool finds(uint32_t reactor, const void *at, size_t len)
{
	struct find f = { .at = at, .len = len };

	world_on(core_reactor(pair.core, reactor), find_on_core, &f);
	return f.found;
}

/* Memory is registered while it exists, from end to end, and not beyond. */
static void regions_are_found_while_they_exist(void **state)
{
	open_pair(0);
	assert_false(finds(0, region_memory, 1));
	for (uint32_t round = 0; round < 3; round++) {
		world_on(core_control(pair.core), add_region, NULL);
		for (uint32_t tries = 0; tries < 1000 && !(finds(0, region_memory, 1) && finds(1, region_memory, 1)); tries++)
			world_pass_ms(10);
		for (uint32_t i = 0; i < 2; i++) {
			assert_true(finds(i, region_memory, 1 << 16));
			assert_true(finds(i, region_memory + 65535, 1));
			assert_false(finds(i, region_memory + 65535, 2));
			assert_false(finds(i, region_memory + 65536, 1));
			assert_false(finds(i, region_memory - 1, 1));
			assert_false(finds(i, &pair, sizeof(pair)));
		}
		world_on(core_control(pair.core), remove_region, NULL);
		assert_false(finds(0, region_memory, 1)); /* at once: something else may lie there now */
		assert_false(finds(1, region_memory, 1));
	}
	/* one that a guest has too, which a balloon may take pages from: not at all */
	world_on(core_control(pair.core), add_region, &pair);
	world_pass_ms(50);
	assert_false(finds(0, region_memory, 1));
	world_on(core_control(pair.core), remove_region, NULL);
	/* and one that goes before it is registered */
	world_on(core_control(pair.core), add_region, NULL);
	world_on(core_control(pair.core), remove_region, NULL);
	world_pass_ms(50);
	assert_false(finds(0, region_memory, 1));
	pair_close(&pair);
}

/* --- closing -------------------------------------------------------------------------------------- */

static void forget_server(void *arg)
{
	verbs_conn_forget(pair.server.conn);
}

/* No completion of a connection that is being freed reaches anybody, but shared receives are given back. */
static void a_forgotten_connection_is_silent(void **state)
{
	uint32_t used, before;

	open_pair(0);
	pair_establish(&pair);
	for (uint32_t i = 0; i < 5; i++)
		assert_int_equal(end_recv(&pair.server, i * 64, 64), 0);
	world_on(pair.server.reactor, forget_server, NULL);
	pair_disconnect(&pair);
	world_pass_ms(50);
	assert_int_equal(pair.server.wc_count, 0);
	pair_close(&pair);

	open_pair(1);
	if (!pair.server.srq) {
		pair_close(&pair);
		return;
	}
	pair_establish(&pair);
	for (uint32_t i = 0; i < 5; i++)
		assert_int_equal(end_recv(&pair.server, i * 64, 64), 0);
	for (uint32_t i = 0; i < 2; i++)
		assert_int_equal(post_send(&pair.client, 0, 64, true), 0);
	world_on(pair.server.reactor, forget_server, NULL);
	assert_int_equal(post_send(&pair.client, 0, 64, true), 0);
	pair_free_conns(&pair);
	world_pass_ms(50);
	used = pair.server.wc_count;
	assert_true(used <= 2);

	/* the others are there for the next */
	pair.client.established = pair.server.established = 0;
	pair_connect(&pair);
	assert_int_equal(pair.client.established, 1);
	before = pair.client.wc_count;
	for (uint32_t i = used; i < 5; i++)
		assert_int_equal(post_send(&pair.client, i * 64, 64, true), 0);
	assert_true(end_wait(&pair.client, before + 5 - used));
	for (uint32_t i = used; i < 5; i++)
		assert_int_equal(pair.client.wcs[before + i - used].status, VERBS_OK);
	assert_true(end_wait(&pair.server, 5));
	pair_free_conns(&pair);
	pair_close(&pair);
}

/* A queue of completions begins small and grows with its connections: this has more work requests than it had. */
static void completion_queues_grow(void **state)
{
	open_pair(0);
	pair.send_max = 500;
	pair_establish(&pair);
	for (uint32_t i = 0; i < END_DEPTH; i++)
		assert_int_equal(end_recv(&pair.server, i * 64, 64), 0);
	for (uint32_t i = 0; i < END_DEPTH; i++)
		assert_int_equal(post_send(&pair.client, i * 64, 64, true), 0);
	assert_true(end_wait(&pair.client, END_DEPTH));
	assert_true(end_wait(&pair.server, END_DEPTH));
	pair_disconnect(&pair);
	pair_close(&pair);
}

static void put_and_get(void *arg)
{
	struct err e = { 0 };
	struct verbs *v = verbs_get(pair.core, &e);

	must(v == pair.v);
	verbs_put(v);
}

/* There is one of it, for all who need it. */
static void there_is_one_of_it(void **state)
{
	open_pair(0);
	world_on(core_control(pair.core), put_and_get, NULL);
	assert_int_equal(pair.came, 1);
	assert_string_equal(verbs_status_text(VERBS_RETRIES), "the other side does not answer");
	pair_close(&pair);
}

static void get_and_put(void *arg)
{
	struct verbs *v = verbs_get(arg, NULL);

	must(v);
	verbs_put(v);
}

/* Its adapters are still being looked for: who waits for the end of RDMA waits for that. */
static void it_may_be_put_back_at_once(void **state)
{
	struct core *core = world_begin(number);

	world_on(core_control(core), get_and_put, core);
	world_end(core);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(there_is_one_of_it),
		cmocka_unit_test(it_may_be_put_back_at_once),
		cmocka_unit_test(private_data_travels_both_ways),
		cmocka_unit_test(rejection_carries_data),
		cmocka_unit_test(nobody_listens_is_told),
		cmocka_unit_test(disconnecting_flushes),
		cmocka_unit_test(messages_arrive_in_order),
		cmocka_unit_test(inline_data_is_copied),
		cmocka_unit_test(a_message_too_long_breaks_the_connection),
		cmocka_unit_test(no_receive_is_told_after_the_retries),
		cmocka_unit_test(a_receive_that_comes_late_is_used),
		cmocka_unit_test(unsignaled_requests_end_with_a_signaled_one),
		cmocka_unit_test(a_chain_is_posted_until_it_is_full),
		cmocka_unit_test(reads_and_writes_of_all_sizes),
		cmocka_unit_test(what_was_written_is_there_when_a_later_message_is),
		cmocka_unit_test(a_wrong_key_is_refused),
		cmocka_unit_test(who_serves_no_reads_is_shut),
		cmocka_unit_test(more_reads_than_the_depth_wait),
		cmocka_unit_test(no_completion_is_slept_through),
		cmocka_unit_test(who_waits_sleeps),
		cmocka_unit_test(regions_are_found_while_they_exist),
		cmocka_unit_test(a_forgotten_connection_is_silent),
		cmocka_unit_test(completion_queues_grow),
	};
	int failed = 0;

	world_args(argc, argv);
	for (number = 0; number < world_count(); number++)
		failed += cmocka_run_group_tests(tests, NULL, NULL);
	return failed;
}
