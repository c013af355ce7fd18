/* SPDX-License-Identifier: BSD-3-Clause */
/* rdma_test.c: conversations between raw hosts and a whole target with a RAM disk over simulated adapters: what a
 * well-behaved host gets, and what each kind of ill-behaved one.
 */
#include "core/log.h"
#include "core/mem.h"
#include "core/waits.h"
#include "nvmf/rdma/rdma.h"
#include "nvmf/rdma/test_two.h"
#include "nvmf/target.h"

static uint16_t write_in_capsule(struct host *h, uint64_t lba, uint32_t blocks, uint32_t at, uint32_t seed)
{
	struct nvme_sqe sqe = host_rw(NVME_CMD_WRITE, lba, blocks);
	uint8_t data[16384] = { 0 };

	host_fill(data + at, blocks * TEST_BLOCK, seed);
	sqe.sgl1 = host_in_capsule(at, blocks * TEST_BLOCK);
	return host_run(h, &sqe, data, at + blocks * TEST_BLOCK);
}

/* The first whole path: all sizes, in the capsule and by key, with shared receives and with own ones. */
static void what_is_written_is_read(void **state)
{
	static const uint32_t sizes[] = { 1, 2, 7, 8, 9, 31, 255, 256, 1001, 2048 };

	for (int no_srq = 0; no_srq < 2; no_srq++) {
		struct nvmf_transport_opts opts = world_opts;

		opts.no_srq = no_srq;
		opts.no_wr_batching = no_srq;
		begin(&opts);
		for (size_t s = 0; s < ARRAY_SIZE(sizes); s++) {
			assert_int_equal(host_write(&io, 3 + s, sizes[s], (uint32_t)s), 0);
			check_blocks(&io, 3 + s, sizes[s], (uint32_t)s);
		}
		assert_int_equal(write_in_capsule(&io, 40, 8, 0, 77), 0);
		check_blocks(&io, 40, 8, 77);
		assert_int_equal(write_in_capsule(&io, 40, 7, 512, 78), 0);
		check_blocks(&io, 40, 7, 78);
		end();
	}
}

static void identify_comes_whole(void **state)
{
	struct nvme_sqe sqe = { .opc = NVME_ADMIN_IDENTIFY, .identify.cns = NVME_CNS_CTRL };
	struct nvme_id_ctrl id;

	begin(NULL);
	sqe.sgl1 = host_keyed(&admin, 0, 4096, false);
	assert_int_equal(host_run(&admin, &sqe, NULL, 0), 0);
	memcpy(&id, admin.data, sizeof(id));
	end();
	assert_int_equal(id.msdbd, 16);
	assert_int_equal(le32_get(id.sgls), NVME_SGLS_SUPPORTED | NVME_SGLS_KEYED | NVME_SGLS_OFFSET);
	assert_int_equal(le32_get(id.ioccsz), (64 + 4096) / 16);
}

/* --- who is let in ------------------------------------------------------------------------------------------- */

static uint16_t rejected_as(uint16_t recfmt, uint16_t qid, uint16_t hrqsize, uint16_t hsqsize, uint8_t serve)
{
	static struct host h;
	uint16_t status;

	host_init(&h, &w, qid, 32);
	h.req.recfmt = le16_of(recfmt);
	h.req.hrqsize = le16_of(hrqsize);
	h.req.hsqsize = le16_of(hsqsize);
	h.params.read_serve = serve;
	status = host_connect_rdma(&h) ? 0 : h.rejected ? h.reject_status : UINT16_MAX;
	host_close(&h);
	world_pass(10 * NS_PER_MS);
	return status;
}

/* A host that is not let in is told why, in the private data, and costs nothing afterwards. */
static void who_is_not_let_in_is_told_why(void **state)
{
	uint16_t got[7];

	world_start(&w, 2, NULL);
	got[0] = rejected_as(0, 1, 128, 127, 16);
	got[1] = rejected_as(1, 1, 128, 127, 16);
	got[2] = rejected_as(0, 9, 128, 127, 16);
	got[3] = rejected_as(0, 1, 128, 0, 16);
	got[4] = rejected_as(0, 1, 1, 127, 16);
	got[5] = rejected_as(0, 1, 128, 127, 0);
	expect_conns(0);
	world_stop(&w);
	assert_int_equal(got[0], 0);
	assert_int_equal(got[1], NVME_RDMA_CM_INVALID_RECFMT);
	assert_int_equal(got[2], NVME_RDMA_CM_INVALID_QID);
	assert_int_equal(got[3], NVME_RDMA_CM_INVALID_HSQSIZE);
	assert_int_equal(got[4], NVME_RDMA_CM_INVALID_HRQSIZE);
	assert_int_equal(got[5], NVME_RDMA_CM_INVALID_IRD);
}

/* No memory for its queues: NO_RSC, and those that are there live on. */
static void no_resources_is_an_answer(void **state)
{
	static struct host more;

	w.target_adapter.send_max = 8; /* less than one command may need */
	world_start(&w, 3, NULL);
	host_init(&more, &w, 0, 32);
	assert_false(host_connect_rdma(&more));
	assert_int_equal(more.reject_status, NVME_RDMA_CM_NO_RSC);
	host_close(&more);
	expect_conns(0);
	w.target_adapter.send_max = 0;
	world_stop(&w);
}

/* Who connects and says nothing goes, and who asks for more entries than were negotiated is refused. */
static void connect_has_to_come_and_to_fit(void **state)
{
	static struct host h;
	struct nvme_cqe cqe;

	world_start(&w, 4, NULL);
	host_init(&h, &w, 0, 16);
	assert_true(host_connect_rdma(&h));
	assert_int_equal(h.crqsize, 16);
	h.req.hsqsize = le16_of(16);
	assert_int_equal(host_connect(&h, 0, NVME_CNTLID_DYNAMIC, NULL) & NVME_SC_CODE, NVME_SC_CONNECT_INVALID_PARAM);
	assert_false(host_answer(&h, &cqe, 70 * NS_PER_S));
	assert_true(h.ended);
	assert_int_equal(count_of("timed_out"), 1);
	host_close(&h);
	expect_conns(0);
	world_stop(&w);
}

/* One address that connects and says nothing does not have all that there is: it is told so, who is connected stays,
 * and may have more; when the silent ones' time is up it is let in again. */
static void strangers_of_an_address_are_limited(void **state)
{
	enum { MAY = RDMA_STRANGERS_CTRLRS * (2 + 1) };
	static struct host silent[MAY], more, another;
	struct nvmf_transport_opts opts = world_opts;

	opts.max_io_qpairs_per_ctrlr = 2;
	w.small_hosts = true;
	begin(&opts);
	for (uint32_t i = 0; i < MAY; i++) {
		host_init(&silent[i], &w, 0, 32);
		assert_true(host_connect_rdma(&silent[i]));
	}
	host_init(&more, &w, 0, 32);
	assert_false(host_connect_rdma(&more));
	assert_int_equal(more.reject_status, NVME_RDMA_CM_NO_RSC);
	host_close(&more);
	assert_int_equal(count_of("rejected"), 1);
	assert_int_equal(host_write(&io, 0, 8, 1), 0);
	assert_int_equal(host_connect(&silent[0], 0, NVME_CNTLID_DYNAMIC, NULL), 0); /* it was no stranger after all */
	host_ready(&another, &w, 2, &cntlid);
	world_pass(RDMA_CONNECT_MS * NS_PER_MS + NS_PER_S);
	assert_int_equal(count_of("timed_out"), MAY - 1);
	for (uint32_t i = 0; i < MAY; i++) {
		assert_int_equal(silent[i].ended, i > 0);
		host_close(&silent[i]);
	}
	expect_conns(3);
	host_init(&more, &w, 0, 32);
	assert_true(host_connect_rdma(&more));
	host_close(&more);
	host_close(&another);
	w.small_hosts = false;
	end();
}

/* Nor do many addresses have all: when there are too many of all, one goes for the next, and nobody connected. */
static void strangers_of_all_addresses_are_limited(void **state)
{
	enum { MAY = 4 };
	static struct host silent[MAY + 2], another;

	w.small_hosts = true;
	begin(NULL);
	rdma_of(nvmf_target_transport(w.target, "RDMA"))->strangers.max = MAY;
	for (uint32_t i = 0; i < MAY + 2; i++) {
		host_init(&silent[i], &w, 0, 32);
		assert_true(host_connect_rdma(&silent[i]));
	}
	expect_conns(2 + MAY);
	for (uint32_t i = 0; i < MAY + 2; i++)
		assert_int_equal(silent[i].ended, i < 2);
	assert_int_equal(count_of("crowded_out"), 2);
	assert_int_equal(host_write(&io, 0, 8, 1), 0);
	host_ready(&another, &w, 2, &cntlid); /* for a third one of them */
	expect_conns(3 + MAY - 1);
	assert_int_equal(count_of("crowded_out"), 3);
	for (uint32_t i = 0; i < MAY + 2; i++)
		host_close(&silent[i]);
	host_close(&another);
	w.small_hosts = false;
	end();
}

/* An adapter whose completion queues do not grow has room for what num_cqe says, also where receives are shared: hosts
 * would be refused, and no option help. */
static void a_completion_queue_that_does_not_grow(void **state)
{
	enum { HOSTS = 20 };
	static const uint32_t entries[] = { 100, 32768, UINT32_MAX }; /* the last: as many as it can have */
	static struct host hosts[HOSTS];
	struct nvmf_transport_opts opts = world_opts;
	uint32_t let_in[ARRAY_SIZE(entries)] = { 0 };

	opts.max_io_qpairs_per_ctrlr = HOSTS;
	for (size_t n = 0; n < ARRAY_SIZE(entries); n++) {
		opts.num_cqe = entries[n];
		w = (struct test_world){ .cores = 1, .small_hosts = true, .target_adapter = { .lacks_cq_resize = true } };
		begin(&opts);
		for (uint32_t i = 0; i < HOSTS; i++) {
			host_init(&hosts[i], &w, (uint16_t)(1 + i), 128);
			let_in[n] += host_connect_rdma(&hosts[i]);
		}
		for (uint32_t i = 0; i < HOSTS; i++)
			host_close(&hosts[i]);
		end();
	}
	w = (struct test_world){ 0 };
	assert_in_range(let_in[0], 1, HOSTS - 1);
	assert_int_equal(let_in[1], HOSTS);
	assert_int_equal(let_in[2], HOSTS);
}

/* --- descriptors --------------------------------------------------------------------------------------------- */

static uint16_t run_with(uint8_t opc, struct nvme_sgl sgl, uint32_t capsule_len)
{
	static const uint8_t zeros[8192];
	struct nvme_sqe sqe = host_rw(opc, 0, 8);

	sqe.sgl1 = sgl;
	return host_run(&io, &sqe, zeros, capsule_len) & NVME_SC_CODE;
}

static struct nvme_sgl with_id(struct nvme_sgl s, uint8_t id)
{
	s.id = id;
	return s;
}

/* Each ends with its status, and the connection goes on. */
static void wrong_sgls_fail_the_command_only(void **state)
{
	begin(NULL);
	assert_int_equal(run_with(NVME_CMD_WRITE, host_in_capsule(0, 4096), 4096), 0);
	assert_int_equal(run_with(NVME_CMD_WRITE, host_in_capsule(0, 4096), 512), NVME_SC_SGL_INVALID_DATA);
	assert_int_equal(run_with(NVME_CMD_WRITE, host_in_capsule(0, 512), 512), NVME_SC_SGL_INVALID_DATA);
	assert_int_equal(run_with(NVME_CMD_WRITE, host_in_capsule(5000, 4096), 4096), NVME_SC_SGL_INVALID_OFFSET);
	assert_int_equal(run_with(NVME_CMD_READ, host_in_capsule(0, 4096), 4096), NVME_SC_INVALID_FIELD);
	assert_int_equal(run_with(NVME_CMD_READ, host_keyed(&io, 0, 512, false), 0), NVME_SC_SGL_INVALID_DATA);
	assert_int_equal(run_with(NVME_CMD_WRITE, host_keyed(&io, 0, 4095, false), 0), NVME_SC_SGL_INVALID_DATA);
	assert_int_equal(run_with(NVME_CMD_WRITE, with_id(host_keyed(&io, 0, 4096, false), 0x5a), 0),
	                 NVME_SC_SGL_INVALID_TYPE);
	assert_int_equal(run_with(NVME_CMD_WRITE, with_id(host_in_capsule(0, 4096), 0x00), 4096), NVME_SC_SGL_INVALID_TYPE);
	assert_int_equal(run_with(NVME_CMD_WRITE, host_list(0, 17), 272), NVME_SC_SGL_INVALID_COUNT);
	assert_int_equal(run_with(NVME_CMD_WRITE, host_list(0, 2), 31), NVME_SC_SGL_INVALID_LAST);
	assert_int_equal(run_with(NVME_CMD_WRITE, host_list(0, 2), 32), NVME_SC_SGL_INVALID_TYPE); /* zeros */
	assert_int_equal(host_write(&io, 0, 8, 5), 0);
	check_blocks(&io, 0, 8, 5);
	expect_nothing_held();
	end();
}

/* Pieces of the host's memory in the order of a list, with holes between them. */
static void lists_scatter_and_gather(void **state)
{
	static uint8_t linear[64 * TEST_BLOCK];
	struct nvme_sgl list[16];
	struct nvme_sqe sqe;

	begin(NULL);
	for (uint32_t i = 0; i < 16; i++)
		list[i] = host_keyed(&io, (15 - i) * 8192, 4 * TEST_BLOCK, false);
	host_fill(linear, sizeof(linear), 9);
	for (uint32_t i = 0; i < 16; i++)
		memcpy(io.data + (15 - i) * 8192, linear + i * 4 * TEST_BLOCK, 4 * TEST_BLOCK);
	sqe = host_rw(NVME_CMD_WRITE, 100, 64);
	sqe.sgl1 = host_list(16, 16);
	{
		uint8_t capsule[16 + sizeof(list)] = { 0 };

		memcpy(capsule + 16, list, sizeof(list));
		assert_int_equal(host_run(&io, &sqe, capsule, sizeof(capsule)), 0);
	}
	check_blocks(&io, 100, 64, 9);
	memset(io.data, 0xee, 200000);
	sqe = host_rw(NVME_CMD_READ, 100, 64);
	sqe.sgl1 = host_list(0, 16);
	assert_int_equal(host_run(&io, &sqe, list, sizeof(list)), 0);
	for (uint32_t i = 0; i < 16; i++) {
		assert_memory_equal(io.data + (15 - i) * 8192, linear + i * 4 * TEST_BLOCK, 4 * TEST_BLOCK);
		assert_int_equal(io.data[(15 - i) * 8192 + 4 * TEST_BLOCK], 0xee);
	}
	assert_int_equal(count_of("listed"), 2);
	expect_nothing_held();
	end();
}

/* The answer takes the key away, if that was asked for and the adapter can. */
static void keys_are_invalidated_when_asked(void **state)
{
	for (int lacks = 0; lacks < 2; lacks++) {
		struct nvme_sqe sqe = host_rw(NVME_CMD_READ, 0, 8);

		w.target_adapter.lacks_invalidate = lacks;
		begin(NULL);
		sqe.sgl1 = host_keyed(&io, 0, 4096, true);
		assert_int_equal(host_run(&io, &sqe, NULL, 0), 0);
		assert_int_equal(io.invalidated[io.answers_read - 1], lacks ? 0 : io.rkey);
		assert_int_equal(sim_key_is_valid(io.key), lacks);
		w.target_adapter.lacks_invalidate = false;
		end();
	}
}

/* --- waits --------------------------------------------------------------------------------------------------- */

/* Many at once, of which each may wait for something: all are answered, and with the right data. */
static void run_many(struct host *h, uint32_t count, uint32_t blocks)
{
	struct nvme_cqe cqe;
	uint32_t room = HOST_DATA / (blocks * TEST_BLOCK);

	host_fill(h->data, HOST_DATA, 3);
	for (uint32_t i = 0; i < count; i++) {
		struct nvme_sqe sqe = host_rw(NVME_CMD_WRITE, (i % room) * blocks, blocks);

		sqe.sgl1 = host_keyed(h, (i % room) * blocks * TEST_BLOCK, blocks * TEST_BLOCK, false);
		host_command(h, &sqe, NULL, 0);
	}
	for (uint32_t i = 0; i < count; i++) {
		assert_true(host_answer(h, &cqe, 100 * NS_PER_S));
		assert_int_equal(nvme_cqe_status(&cqe), 0);
	}
	memset(h->data, 0, HOST_DATA);
	for (uint32_t i = 0; i < count; i++) {
		struct nvme_sqe sqe = host_rw(NVME_CMD_READ, (i % room) * blocks, blocks);

		sqe.sgl1 = host_keyed(h, (i % room) * blocks * TEST_BLOCK, blocks * TEST_BLOCK, false);
		host_command(h, &sqe, NULL, 0);
	}
	for (uint32_t i = 0; i < count; i++) {
		assert_true(host_answer(h, &cqe, 100 * NS_PER_S));
		assert_int_equal(nvme_cqe_status(&cqe), 0);
	}
	for (uint32_t i = 0; i < min_u32(count, room) * blocks * TEST_BLOCK; i++)
		assert_int_equal(h->data[i], (uint8_t)(i * 31 + (i >> 9) * 7 + 3));
}

/* The smallest adapter that will do: one piece of memory a work request, one READ at a time, room for one command's
 * work requests. Everything waits for everything, and everything goes on. */
static void a_small_adapter_is_only_slower(void **state)
{
	static uint64_t reads, sends, turns, split;

	w.target_adapter.sge_max = 2;
	w.target_adapter.send_max = 29;
	w.target_adapter.read_depth_max = 1;
	begin(NULL);
	run_many(&io, 100, 256);
	reads = count_of("pending_rdma_read");
	sends = count_of("pending_rdma_write") + count_of("pending_rdma_send");
	turns = count_of("pending_turn");
	split = count_of("split_reads");
	expect_nothing_held();
	w.target_adapter.sge_max = w.target_adapter.send_max = w.target_adapter.read_depth_max = 0;
	end();
	assert_true(reads > 50);
	assert_true(sends > 50);
	assert_true(turns > 50);
	assert_true(split == 0);
}

struct account {
	const char *name;
	uint64_t waits, alarms;
	bool over;                    /* none waits now */
};

static void look_at_account(void *arg)
{
	struct wait_account accounts[WAITS_NAMES_MAX];
	struct account *a = arg;
	uint32_t count = waits_get(accounts);

	for (uint32_t i = 0; i < count; i++) {
		if (strcmp(accounts[i].name, a->name))
			continue;
		a->waits += accounts[i].waits;
		a->alarms += accounts[i].alarms;
		a->over &= !accounts[i].waiting;
	}
}

static struct account account_of(const char *name)
{
	struct account a = { .name = name, .over = true };

	for (uint32_t i = 0; i < core_reactor_count(w.core); i++)
		sim_as(core_reactor(w.core, i), look_at_account, &a);
	return a;
}

/* Each reason to wait is a name that metrics have, counts what nvmf_get_stats tells, is an alarm when it goes on. */
static void every_wait_has_an_account(void **state)
{
	static const struct row {
		const char *name, *counter;
	} rows[] = { { RDMA_WAIT_TURN, "pending_turn" }, { RDMA_WAIT_READS, "pending_rdma_read" },
		         { RDMA_WAIT_SEND, "pending_rdma_write" },
		         { "data buffers", "pending_data_buffer" } };
	struct account got[ARRAY_SIZE(rows)];
	uint64_t counted[ARRAY_SIZE(rows)];

	w.target_adapter.sge_max = 2;
	w.target_adapter.send_max = 29;
	w.target_adapter.read_depth_max = 1;
	w.cores = 1;
	begin(NULL);
	mem_starve(w.core, 3);
	sim_adapter_slow(w.adapter, 5 * NS_PER_MS);
	for (uint64_t until = sim_now_ns() + 13 * NS_PER_S; sim_now_ns() < until;) {
		run_many(&io, 100, 256);
		io.answer_count = io.answers_read = 0; /* all were read */
	}
	sim_adapter_slow(w.adapter, 0);
	mem_starve(w.core, 0);
	world_pass(NS_PER_S); /* completions of the last answers */
	expect_nothing_held();
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		got[i] = account_of(rows[i].name);
		counted[i] = count_of(rows[i].counter);
	}
	w.target_adapter.sge_max = w.target_adapter.send_max = w.target_adapter.read_depth_max = 0;
	w.cores = 0;
	end();
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		print_message("%s: %llu, %llu alarms\n", rows[i].name, (unsigned long long)got[i].waits,
		              (unsigned long long)got[i].alarms);
		assert_true(got[i].over);
		assert_true(counted[i] && got[i].waits);
		assert_true(got[i].alarms > 0);
	}
}

/* A host has answers before their completions are here, which come for many at once: what it sends then waits for a
 * slot, says so, and is answered. */
static void who_is_ahead_of_completions_waits_for_a_slot(void **state)
{
	enum { COMMANDS = 2000 };
	struct nvme_sqe sqe = host_rw(NVME_CMD_FLUSH, 0, 1);
	struct nvme_cqe cqe;
	uint32_t sent = 0, answered = 0;

	begin(NULL);
	sim_adapter_slow(w.adapter, NS_PER_MS);
	while (answered < COMMANDS) {
		for (; sent < COMMANDS && sent < answered + 127; sent++) {
			host_command(&io, &sqe, NULL, 0);
			if (io.rc)
				break; /* its own send queue is full */
		}
		assert_true(host_answer(&io, &cqe, 100 * NS_PER_S));
		assert_int_equal(nvme_cqe_status(&cqe), 0);
		answered++;
	}
	sim_adapter_slow(w.adapter, 0);
	world_pass(NS_PER_S);
	assert_true(count_of("pending_free_request") > 0);
	assert_true(account_of(RDMA_WAIT_SLOT).waits == count_of("pending_free_request"));
	assert_true(account_of(RDMA_WAIT_SLOT).over);
	expect_nothing_held();
	end();
}

/* The pool of work requests as small as it can be set: answers wait for it, say so, and come. */
static void a_small_pool_is_only_slower(void **state)
{
	uint64_t waits[2];

	for (uint32_t i = 0; i < 2; i++) {
		struct nvmf_transport_opts opts = world_opts;

		opts.data_wr_pool_size = i ? 1 : 4095;
		begin(&opts);
		run_many(&io, 120, 8);
		waits[i] = count_of("pending_rdma_write") + count_of("pending_rdma_send");
		expect_nothing_held();
		end();
	}
	assert_int_equal(waits[0], 0);
	assert_true(waits[1] > 50);
}

/* Several READs a command, more than there may be at a time. */
static void long_lists_are_read_in_parts(void **state)
{
	struct nvme_sgl list[16];
	struct nvme_sqe sqe = host_rw(NVME_CMD_WRITE, 100, 16);

	w.target_adapter.read_depth_max = 3;
	begin(NULL);
	host_fill(io.data, 16 * TEST_BLOCK, 21);
	for (uint32_t i = 0; i < 16; i++)
		list[i] = host_keyed(&io, i * TEST_BLOCK, TEST_BLOCK, false);
	sqe.sgl1 = host_list(0, 16);
	for (uint32_t i = 0; i < 40; i++)
		host_command(&io, &sqe, list, sizeof(list));
	for (uint32_t i = 0; i < 40; i++) {
		struct nvme_cqe cqe;

		assert_true(host_answer(&io, &cqe, 10 * NS_PER_S));
		assert_int_equal(nvme_cqe_status(&cqe), 0);
	}
	check_blocks(&io, 100, 16, 21);
	assert_true(count_of("split_reads") > 30);
	expect_nothing_held();
	w.target_adapter.read_depth_max = 0;
	end();
}

/* Buffers for little more than one I/O of the largest size, for 64 queue pairs that have eight of these outstanding
 * each, and go on asking: who waits gets its turn, of all queue pairs alike. */
static void a_starved_budget_makes_progress(void **state)
{
	static struct host hosts[64];
	struct nvmf_transport_opts opts = world_opts;
	uint32_t answered[64] = { 0 }, total = 0, least = UINT32_MAX;
	uint64_t waited;

	opts.max_srq_depth = 64;
	opts.max_io_qpairs_per_ctrlr = 64;
	w.memory_bytes = 48u << 20;
	w.cores = 1;
	w.small_hosts = true;
	world_start(&w, 7, &opts);
	host_ready(&admin, &w, 0, &cntlid);
	for (uint16_t i = 0; i < 64; i++)
		host_ready(&hosts[i], &w, (uint16_t)(i + 1), &cntlid);
	for (uint32_t round = 0; round < 5; round++) {
		for (uint32_t i = 0; i < 64; i++)
			while (hosts[i].sent < hosts[i].answer_count + 8) {
				uint8_t opc = hosts[i].sent % 2 ? NVME_CMD_READ : NVME_CMD_WRITE;
				struct nvme_sqe sqe = host_rw(opc, 2048 * (i % 8), 2048);

				sqe.sgl1 = host_keyed(&hosts[i], 0, 1u << 20, false);
				host_command(&hosts[i], &sqe, NULL, 0);
			}
		world_pass(NS_PER_MS);
	}
	for (uint32_t i = 0; i < 64; i++) {
		assert_false(hosts[i].ended);
		answered[i] = hosts[i].answer_count;
		total += answered[i];
		least = min_u32(least, answered[i]);
	}
	waited = count_of("pending_data_buffer");
	assert_int_equal(count_of("remembered"), 0);
	for (uint32_t i = 0; i < 64; i++)
		host_close(&hosts[i]);
	expect_conns(1);
	expect_nothing_held();
	host_close(&admin);
	world_pass(NS_PER_S);
	w.memory_bytes = 0;
	w.cores = 0;
	w.small_hosts = false;
	world_stop(&w);
	assert_true(total > 300);
	assert_true(least > total / 64 / 2);
	assert_true(waited > 300);
}

/* A device that has nothing but zeroes lends those that all have: no buffer is taken for them, and so none is waited
 * for; what is longer than they are is filled in. */
static void zeroes_take_no_buffers(void **state)
{
	static const uint32_t blocks[] = { 1, 8, MEM_ZEROES_BYTES / TEST_BLOCK, 2048 };
	static const uint8_t zeroes[1 << 20];
	struct nvme_sgl list[2];
	struct nvme_sqe sqe;

	begin(NULL);
	mem_starve(w.core, 1); /* who takes buffers has to wait first */
	for (size_t i = 0; i < ARRAY_SIZE(blocks); i++) {
		memset(io.data, 0xee, HOST_DATA);
		sqe = host_rw(NVME_CMD_READ, i, blocks[i]);
		sqe.nsid = le32_of(2);
		sqe.sgl1 = host_keyed(&io, 0, blocks[i] * TEST_BLOCK, false);
		assert_int_equal(host_run(&io, &sqe, NULL, 0), 0);
		assert_memory_equal(io.data, zeroes, blocks[i] * TEST_BLOCK);
		assert_int_equal(io.data[blocks[i] * TEST_BLOCK], 0xee);
		assert_int_equal(count_of("pending_data_buffer"), blocks[i] * TEST_BLOCK > MEM_ZEROES_BYTES);
	}
	memset(io.data, 0xee, HOST_DATA);
	list[0] = host_keyed(&io, 8192, 3 * TEST_BLOCK, false);
	list[1] = host_keyed(&io, 0, 5 * TEST_BLOCK, false);
	sqe = host_rw(NVME_CMD_READ, 0, 8);
	sqe.nsid = le32_of(2);
	sqe.sgl1 = host_list(0, 2);
	assert_int_equal(host_run(&io, &sqe, list, sizeof(list)), 0);
	assert_memory_equal(io.data + 8192, zeroes, 3 * TEST_BLOCK);
	assert_memory_equal(io.data, zeroes, 5 * TEST_BLOCK);
	assert_int_equal(io.data[5 * TEST_BLOCK], 0xee);
	assert_int_equal(count_of("pending_data_buffer"), 1);
	mem_starve(w.core, 0);
	expect_nothing_held();
	end();
}

/* The last of more than a connection may have asked for, aborted while it waits for its turn: its answer comes before
 * theirs, and its place in the line is gone. */
static void what_waits_is_aborted(void **state)
{
	static struct host io_host;
	struct nvme_sqe sqe = host_rw(NVME_CMD_WRITE, 0, 2048), abort = { .opc = NVME_ADMIN_ABORT_CMD };
	struct nvme_cqe cqe;

	w.cores = 1;
	world_start(&w, 9, NULL);
	host_ready(&admin, &w, 0, &cntlid);
	host_ready(&io_host, &w, 1, &cntlid);
	for (uint32_t i = 0; i < 12; i++) {
		sqe.sgl1 = host_keyed(&io_host, 0, 1u << 20, false);
		host_command(&io_host, &sqe, NULL, 0);
	}
	for (uint32_t i = 0; i < 10000 && count_of("pending_turn") < 10; i++)
		world_pass(NS_PER_US);
	assert_int_equal(count_of("pending_turn"), 10); /* two were asked for */
	abort.abort.sqid = le16_of(1);
	abort.abort.cid = sqe.cid;
	abort.sgl1 = host_in_capsule(0, 0);
	host_command(&admin, &abort, NULL, 0);
	assert_true(host_answer(&admin, &cqe, NS_PER_S));
	assert_int_equal(nvme_cqe_status(&cqe) | le32_get(cqe.dw0), 0);
	for (uint32_t i = 0; i < 12; i++) {
		assert_true(host_answer(&io_host, &cqe, 100 * NS_PER_S));
		assert_int_equal(nvme_cqe_status(&cqe), le16_get(cqe.cid) == le16_get(sqe.cid) ? NVME_SC_ABORT_REQ : 0);
		if (i == 11)
			assert_int_not_equal(le16_get(cqe.cid), le16_get(sqe.cid));
	}
	expect_nothing_held();
	host_close(&io_host);
	host_close(&admin);
	world_pass(NS_PER_S);
	w.cores = 0;
	world_stop(&w);
}

/* Fewer shared receives than hosts have commands: they are sent again until there is one. */
static void dry_shared_receives_are_only_slower(void **state)
{
	static struct host hosts[4];
	struct nvmf_transport_opts opts = world_opts;
	struct nvme_cqe cqe;

	opts.max_srq_depth = 64;
	w.cores = 1;
	world_start(&w, 8, &opts);
	host_ready(&admin, &w, 0, &cntlid);
	for (uint16_t i = 0; i < 4; i++)
		host_ready(&hosts[i], &w, (uint16_t)(i + 1), &cntlid);
	mem_starve(w.core, 3);
	for (uint32_t n = 0; n < 120; n++)
		for (uint32_t i = 0; i < 4; i++) {
			struct nvme_sqe sqe = host_rw(NVME_CMD_WRITE, 8 * n, 8);

			sqe.sgl1 = host_in_capsule(0, 4096);
			host_command(&hosts[i], &sqe, hosts[i].data, 4096);
		}
	for (uint32_t n = 0; n < 120; n++)
		for (uint32_t i = 0; i < 4; i++) {
			assert_true(host_answer(&hosts[i], &cqe, 100 * NS_PER_S));
			assert_int_equal(nvme_cqe_status(&cqe), 0);
		}
	mem_starve(w.core, 0);
	expect_nothing_held();
	for (uint32_t i = 0; i < 4; i++)
		host_close(&hosts[i]);
	host_close(&admin);
	world_pass(NS_PER_S);
	w.cores = 0;
	world_stop(&w);
}

/* --- hosts that break the rules ------------------------------------------------------------------------------- */

static void expect_end(struct host *h)
{
	assert_true(sim_run(has_ended, h, 10 * NS_PER_S));
	expect_conns(1);
	/* The other one does not notice. */
	assert_int_equal(admin.ended, false);
	host_close(h);
	host_ready(h, &w, 1, &cntlid);
}

static void what_cannot_be_answered_ends_the_connection(void **state)
{
	struct nvme_sqe sqe = host_rw(NVME_CMD_WRITE, 0, 8);
	uint8_t half[63] = { 0 }, long_one[64 + 4096 + 1] = { 0 };

	begin(NULL);
	host_raw(&io, half, sizeof(half));
	expect_end(&io);
	host_raw(&io, long_one, sizeof(long_one)); /* longer than a receive */
	expect_end(&io);
	sqe.sgl1 = host_keyed(&io, HOST_DATA - 512, 4096, false); /* not all of it is the host's */
	host_command(&io, &sqe, NULL, 0);
	expect_end(&io);
	sqe = host_rw(NVME_CMD_READ, 0, 8);
	sqe.sgl1 = host_keyed(&io, 0, 4096, false);
	sqe.sgl1.key = le32_of(io.rkey + 1000);
	host_command(&io, &sqe, NULL, 0);
	expect_end(&io);
	assert_int_equal(count_of("failed"), 3);
	assert_int_equal(count_of("broken_rules"), 1);
	end();
}

/* More commands than its queue has entries: none of them can be answered, since what the target READs is lost. */
static void a_host_that_overruns_its_queue_goes(void **state)
{
	begin(NULL);
	sim_adapter_link(w.adapter, false, true, 0);
	for (uint32_t i = 0; i < 128; i++) {
		struct nvme_sqe sqe = host_rw(NVME_CMD_WRITE, 0, 8);

		sqe.sgl1 = host_keyed(&io, 0, 4096, false);
		host_command(&io, &sqe, NULL, 0);
	}
	world_pass(2 * NS_PER_MS);
	assert_int_equal(count_of("broken_rules"), 0);
	{
		struct nvme_sqe sqe = host_rw(NVME_CMD_WRITE, 0, 8);

		sqe.sgl1 = host_keyed(&io, 0, 4096, false);
		host_command(&io, &sqe, NULL, 0);
	}
	world_pass(2 * NS_PER_MS);
	sim_adapter_link(w.adapter, false, false, 0);
	assert_int_equal(count_of("broken_rules"), 1);
	expect_conns(1);
	expect_nothing_held();
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_written_is_read),
		cmocka_unit_test(identify_comes_whole),
		cmocka_unit_test(who_is_not_let_in_is_told_why),
		cmocka_unit_test(no_resources_is_an_answer),
		cmocka_unit_test(connect_has_to_come_and_to_fit),
		cmocka_unit_test(strangers_of_an_address_are_limited),
		cmocka_unit_test(strangers_of_all_addresses_are_limited),
		cmocka_unit_test(a_completion_queue_that_does_not_grow),
		cmocka_unit_test(wrong_sgls_fail_the_command_only),
		cmocka_unit_test(lists_scatter_and_gather),
		cmocka_unit_test(keys_are_invalidated_when_asked),
		cmocka_unit_test(a_small_adapter_is_only_slower),
		cmocka_unit_test(every_wait_has_an_account),
		cmocka_unit_test(who_is_ahead_of_completions_waits_for_a_slot),
		cmocka_unit_test(a_small_pool_is_only_slower),
		cmocka_unit_test(long_lists_are_read_in_parts),
		cmocka_unit_test(a_starved_budget_makes_progress),
		cmocka_unit_test(zeroes_take_no_buffers),
		cmocka_unit_test(what_waits_is_aborted),
		cmocka_unit_test(dry_shared_receives_are_only_slower),
		cmocka_unit_test(what_cannot_be_answered_ends_the_connection),
		cmocka_unit_test(a_host_that_overruns_its_queue_goes),
	};

	log_set_level(LOG_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
