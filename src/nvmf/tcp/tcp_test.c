/* SPDX-License-Identifier: BSD-3-Clause */
/* tcp_test.c: conversations between raw hosts and a whole target with a RAM disk, in the simulator: what a
 * well-behaved host gets, and what each kind of ill-behaved one.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "core/log.h"
#include "core/mem.h"
#include "nvmf/target.h"
#include "nvmf/tcp/tcp.h"
#include "nvmf/tcp/test_world.h"

static struct test_world w;
static struct host admin, io;
static uint16_t cntlid;
static uint8_t out[MEM_IO_BYTES_MAX], in[MEM_IO_BYTES_MAX];

static void fill(uint8_t *p, uint32_t len, uint32_t seed)
{
	for (uint32_t i = 0; i < len; i++)
		p[i] = (uint8_t)(i * 31 + (i >> 9) * 7 + seed);
}

static void begin(uint8_t hpda, uint8_t dgst, const struct nvmf_transport_opts *opts)
{
	world_start(&w, 1, NULL, opts);
	host_ready(&admin, &w, hpda, dgst, 0, &cntlid);
	host_ready(&io, &w, hpda, dgst, 1, &cntlid);
}

static void end(void)
{
	host_close(&io);
	host_close(&admin);
	world_pass(NS_PER_S);
	world_stop(&w);
}

static uint16_t write_blocks(struct host *h, uint64_t lba, uint32_t blocks, bool in_capsule, uint32_t seed)
{
	struct nvme_sqe sqe = host_rw(NVME_CMD_WRITE, lba, blocks);

	fill(out, blocks * TEST_BLOCK, seed);
	return host_run(h, &sqe, out, blocks * TEST_BLOCK, in_capsule, NULL, 0);
}

static uint16_t read_blocks(struct host *h, uint64_t lba, uint32_t blocks)
{
	struct nvme_sqe sqe = host_rw(NVME_CMD_READ, lba, blocks);

	memset(in, 0xee, blocks * TEST_BLOCK);
	return host_run(h, &sqe, NULL, 0, false, in, blocks * TEST_BLOCK);
}

static void check_blocks(struct host *h, uint64_t lba, uint32_t blocks, uint32_t seed)
{
	assert_int_equal(read_blocks(h, lba, blocks), 0);
	fill(out, blocks * TEST_BLOCK, seed);
	assert_memory_equal(out, in, blocks * TEST_BLOCK);
}

/* The first whole path: all sizes, in the capsule and by R2T, in every framing a host may ask for. */
static void what_is_written_is_read(void **state)
{
	static const uint32_t sizes[] = { 1, 2, 7, 8, 9, 31, 255, 256 };
	static const struct { uint8_t hpda, dgst; bool success; } ways[] = {
		{ 0, 0, true }, { 0, 1, true }, { 0, 2, true }, { 0, 3, true }, { 31, 3, true }, { 7, 0, false },
		{ 0, 3, false },
	};

	for (size_t i = 0; i < ARRAY_SIZE(ways); i++) {
		struct nvmf_transport_opts opts = world_opts;

		opts.c2h_success = ways[i].success;
		begin(ways[i].hpda, ways[i].dgst, &opts);
		assert_int_equal(io.framing.hdgst, ways[i].dgst & 1);
		for (size_t s = 0; s < ARRAY_SIZE(sizes); s++) {
			assert_int_equal(write_blocks(&io, 3 + s, sizes[s], sizes[s] <= 8, (uint32_t)s), 0);
			check_blocks(&io, 3 + s, sizes[s], (uint32_t)s);
		}
		end();
	}
}

static void identify_comes_whole(void **state)
{
	struct nvme_sqe sqe = { .opc = NVME_ADMIN_IDENTIFY, .identify.cns = NVME_CNS_CTRL };

	begin(0, 0, NULL);
	assert_int_equal(host_run(&admin, &sqe, NULL, 0, false, in, 4096), 0);
	end();
}

/* --- commands a transport refuses ------------------------------------------------------------------------ */

static uint16_t run_with_sgl(uint8_t opc, uint8_t id, uint64_t addr, uint32_t len, uint32_t capsule_len)
{
	struct nvme_sqe sqe = host_rw(opc, 0, 8);
	union nvme_tcp_pdu pdu;

	sqe.sgl1.id = id;
	sqe.sgl1.addr = le64_of(addr);
	sqe.sgl1.length = le32_of(len);
	host_command(&io, &sqe, out, capsule_len);
	if (!host_recv(&io, &pdu, NULL, NULL, NS_PER_S) || pdu.h.type != NVME_TCP_RSP)
		return UINT16_MAX;
	return nvme_cqe_status(&pdu.rsp.cqe) & NVME_SC_CODE;
}

/* Each ends with its status, and the connection goes on. */
static void wrong_sgls_fail_the_command_only(void **state)
{
	const uint8_t offset = NVME_SGL_ID(NVME_SGL_DATA_BLOCK, NVME_SGL_OFFSET);
	const uint8_t transport_id = NVME_SGL_ID(NVME_SGL_TRANSPORT_DATA_BLOCK, NVME_SGL_TRANSPORT);

	begin(0, 0, NULL);
	assert_int_equal(run_with_sgl(NVME_CMD_WRITE, 0x00, 0, 4096, 4096), NVME_SC_SGL_INVALID_TYPE);
	assert_int_equal(run_with_sgl(NVME_CMD_WRITE, 0x40, 0, 4096, 0), NVME_SC_SGL_INVALID_TYPE);
	assert_int_equal(run_with_sgl(NVME_CMD_READ, offset, 0, 4096, 0), NVME_SC_SGL_INVALID_TYPE);
	assert_int_equal(run_with_sgl(NVME_CMD_WRITE, offset, 16, 4096, 4096), NVME_SC_SGL_INVALID_OFFSET);
	assert_int_equal(run_with_sgl(NVME_CMD_WRITE, offset, 0, 512, 512), NVME_SC_SGL_INVALID_DATA);
	assert_int_equal(run_with_sgl(NVME_CMD_WRITE, offset, 0, 4096, 512), NVME_SC_SGL_INVALID_DATA);
	assert_int_equal(run_with_sgl(NVME_CMD_WRITE, offset, 0, 4096, 0), NVME_SC_SGL_INVALID_DATA);
	assert_int_equal(run_with_sgl(NVME_CMD_WRITE, offset, 0, 8192, 8192), NVME_SC_SGL_INVALID_DATA);
	assert_int_equal(run_with_sgl(NVME_CMD_READ, transport_id, 0, 512, 0), NVME_SC_SGL_INVALID_DATA);
	assert_int_equal(run_with_sgl(NVME_CMD_WRITE, transport_id, 0, 512, 0), NVME_SC_SGL_INVALID_DATA);
	assert_int_equal(write_blocks(&io, 0, 8, true, 5), 0);
	check_blocks(&io, 0, 8, 5);
	end();
}

/* A bit that flipped on the way costs the command, not the connection: in the capsule, and by R2T. */
static void wrong_data_digest_fails_the_command_only(void **state)
{
	struct nvme_sqe sqe;
	uint8_t at[FABRIC_PUT_MAX];
	union nvme_tcp_pdu pdu;

	begin(0, NVME_TCP_DGST_DATA, NULL);
	assert_int_equal(write_blocks(&io, 0, 8, true, 1), 0);
	for (int asked = 0; asked < 2; asked++) {
		sqe = host_rw(NVME_CMD_WRITE, 0, 8);
		sqe.sgl1.length = le32_of(4096);
		sqe.sgl1.id = asked ? 0x5a : 0x01;
		sqe.flags = 1 << 6;
		sqe.cid = le16_of(++io.cid);
		host_send(&io, at, fabric_put_cmd(at, &io.framing, &sqe, asked ? 0 : 4096));
		if (asked) {
			assert_true(host_recv(&io, &pdu, NULL, NULL, NS_PER_S));
			assert_int_equal(pdu.h.type, NVME_TCP_R2T);
			host_send(&io, at, fabric_put_h2c_data(at, &io.framing, io.cid, le16_get(pdu.r2t.ttag), 0, 4096,
			                                        NVME_TCP_LAST));
		}
		host_send(&io, out, 4096);
		host_send(&io, "oops", 4);
		assert_true(host_recv(&io, &pdu, NULL, NULL, NS_PER_S));
		assert_int_equal(pdu.h.type, NVME_TCP_RSP);
		assert_int_equal(nvme_cqe_status(&pdu.rsp.cqe), NVME_SC_TRAN_TPORT_ERROR);
	}
	check_blocks(&io, 0, 8, 1);
	end();
}

/* --- hosts that break the rules ------------------------------------------------------------------------------ */

/* The answer is C2HTermReq; the connection ends when the host closes, or after a time. */
static void expect_term(struct host *h, uint16_t fes, uint32_t fei)
{
	union nvme_tcp_pdu pdu;

	do
		assert_true(host_recv(h, &pdu, NULL, NULL, NS_PER_S));
	while (pdu.h.type != NVME_TCP_C2HTERM);
	assert_int_equal(le16_get(pdu.term.fes), fes);
	assert_int_equal(le32_get(pdu.term.fei), fei);
	assert_false(h->peer.ended);
}

static void bad_pdus_are_answered_by_c2h_term(void **state)
{
	struct host h;
	uint8_t at[2 * FABRIC_PUT_MAX];
	struct nvme_sqe sqe = { .opc = NVME_CMD_FLUSH };
	union nvme_tcp_pdu *p = (union nvme_tcp_pdu *)at;

	world_start(&w, 2, NULL, NULL);
	/* A command before ICReq. */
	host_open(&h, &w);
	host_send(&h, at, fabric_put_cmd(at, &h.framing, &sqe, 0));
	expect_term(&h, NVME_TCP_FES_SEQUENCE, 0);
	host_close(&h);
	/* No such PDU. */
	host_open(&h, &w);
	memset(at, 0, sizeof(at));
	p->h.type = 0x3f;
	host_send(&h, at, 8);
	expect_term(&h, NVME_TCP_FES_INVALID_HEADER, 0);
	host_close(&h);
	/* ICReq of a version to come. */
	host_open(&h, &w);
	fabric_put_icreq(at, 0, 0, 0);
	p->icreq.pfv = le16_of(1);
	host_send(&h, at, 128);
	expect_term(&h, NVME_TCP_FES_UNSUPPORTED_PARAMETER, 8);
	host_close(&h);
	/* ICReq twice. */
	host_open(&h, &w);
	assert_true(host_hello(&h, 0, 0));
	host_send(&h, at, fabric_put_icreq(at, 0, 0, 0));
	expect_term(&h, NVME_TCP_FES_SEQUENCE, 0);
	host_close(&h);
	/* Data nobody asked for. */
	host_open(&h, &w);
	assert_true(host_hello(&h, 0, 0));
	host_h2c_data(&h, 1, 9, 0, out, 512, true);
	expect_term(&h, NVME_TCP_FES_INVALID_HEADER, NVME_TCP_FEI_TTAG);
	host_close(&h);
	/* More in the capsule than any command may have. */
	host_open(&h, &w);
	assert_true(host_hello(&h, 0, 0));
	host_command(&h, &sqe, out, 16384);
	expect_term(&h, NVME_TCP_FES_LIMIT_EXCEEDED, 0);
	host_close(&h);
	world_pass(NS_PER_S);
	assert_int_equal(sim_net_connections(), 0);
	world_stop(&w);
}

static void wrong_header_digest_ends_the_connection(void **state)
{
	uint8_t at[FABRIC_PUT_MAX];
	struct nvme_sqe sqe = { .opc = NVME_CMD_FLUSH };
	uint32_t len;

	begin(0, NVME_TCP_DGST_HEADER, NULL);
	len = fabric_put_cmd(at, &io.framing, &sqe, 0);
	memcpy(at + len - 4, "\1\2\3\4", 4);
	host_send(&io, at, len);
	expect_term(&io, NVME_TCP_FES_HEADER_DIGEST, 0x04030201);
	end();
}

/* Data in answer to an R2T: beyond it, out of order, of another command, LAST too early. */
static void data_that_does_not_fit_its_r2t(void **state)
{
	static const struct {
		uint16_t cid_off, ttag_off;
		uint32_t off, len;
		bool last;
		uint16_t fes;
		uint32_t fei;
	} cases[] = {
		{ 0, 0, 8192 - 512, 1024, true, NVME_TCP_FES_OUT_OF_RANGE, 0 },
		{ 0, 0, 512, 512, false, NVME_TCP_FES_SEQUENCE, 0 },
		{ 1, 0, 0, 8192, true, NVME_TCP_FES_INVALID_HEADER, NVME_TCP_FEI_CCCID },
		{ 0, 1, 0, 8192, true, NVME_TCP_FES_INVALID_HEADER, NVME_TCP_FEI_TTAG },
		{ 0, 0, 0, 512, true, NVME_TCP_FES_SEQUENCE, 0 },
		{ 0, 0, 0, 8192, false, NVME_TCP_FES_SEQUENCE, 0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct nvme_sqe sqe = host_rw(NVME_CMD_WRITE, 0, 16);
		union nvme_tcp_pdu pdu;

		begin(0, 0, NULL);
		sqe.sgl1.length = le32_of(8192);
		sqe.sgl1.id = 0x5a;
		host_command(&io, &sqe, NULL, 0);
		assert_true(host_recv(&io, &pdu, NULL, NULL, NS_PER_S));
		assert_int_equal(pdu.h.type, NVME_TCP_R2T);
		assert_int_equal(le32_get(pdu.r2t.r2tl), 8192);
		host_h2c_data(&io, (uint16_t)(io.cid + cases[i].cid_off),
		              (uint16_t)(le16_get(pdu.r2t.ttag) + cases[i].ttag_off), cases[i].off, out, cases[i].len,
		              cases[i].last);
		expect_term(&io, cases[i].fes, cases[i].fei);
		end();
	}
}

/* A host that neither sends data after R2T nor anything else loses its connection, buffers are free again. (Of what
 * does not begin with a page the disk lends none.) */
static void silence_after_r2t_ends_the_connection(void **state)
{
	struct nvme_sqe sqe = host_rw(NVME_CMD_WRITE, 1, 256);
	struct mem_stats m;
	union nvme_tcp_pdu pdu;

	begin(0, 0, NULL);
	sqe.sgl1.length = le32_of(131072);
	sqe.sgl1.id = 0x5a;
	host_command(&io, &sqe, NULL, 0);
	assert_true(host_recv(&io, &pdu, NULL, NULL, NS_PER_S));
	mem_get_stats(w.core, &m);
	assert_int_not_equal(m.in_use_bytes, 0);
	world_pass(2 * NS_PER_S);
	assert_false(io.peer.ended);
	/* A piece of data moves the deadline. */
	host_h2c_data(&io, io.cid, le16_get(pdu.r2t.ttag), 0, out, 512, false);
	world_pass(2 * NS_PER_S);
	assert_false(io.peer.ended);
	world_pass(2 * NS_PER_S);
	assert_true(io.peer.ended);
	mem_get_stats(w.core, &m);
	assert_int_equal(m.in_use_bytes, 0);
	end();
}

static void silence_after_accept_ends_the_connection(void **state)
{
	struct host h;

	world_start(&w, 3, NULL, NULL);
	host_open(&h, &w);
	world_pass(9 * NS_PER_S);
	assert_false(h.peer.ended);
	world_pass(2 * NS_PER_S);
	assert_true(h.peer.ended);
	host_close(&h);
	world_stop(&w);
}

/* Connections that say nothing would take the sockets of those that do: when there are too many one goes for the next,
 * the oldest, and no queue that is connected. */
static void too_many_that_say_nothing(void **state)
{
	enum { MAY = 3 };
	static struct host silent[MAY + 2], more;
	struct nvme_sqe sqe = host_rw(NVME_CMD_FLUSH, 0, 1);
	struct tcp_transport *tr;
	uint64_t went = 0;

	begin(0, 0, NULL);
	tr = tcp_of(nvmf_target_transport(w.target, "TCP"));
	tr->strangers.max = MAY;
	for (uint32_t i = 0; i < MAY + 2; i++) {
		host_open(&silent[i], &w);
		assert_true(i % 2 || host_hello(&silent[i], 0, 0));
	}
	host_ready(&more, &w, 0, 0, 2, &cntlid);
	world_pass(100 * NS_PER_MS);
	for (uint32_t i = 0; i < MAY + 2; i++) {
		assert_int_equal(silent[i].peer.ended, i < MAY);
		host_close(&silent[i]);
	}
	assert_int_equal(host_run(&io, &sqe, NULL, 0, false, NULL, 0), 0);
	assert_int_equal(host_run(&more, &sqe, NULL, 0, false, NULL, 0), 0);
	for (uint32_t i = 0; i < core_reactor_count(w.core); i++)
		went += tr->homes[i].counters.crowded_out;
	assert_int_equal(went, MAY);
	assert_int_equal(tr->strangers.crowded_out, MAY);
	host_close(&more);
	world_pass(100 * NS_PER_MS);
	assert_int_equal(tr->strangers.count, 0);
	end();
}

/* More commands than the queue holds: nobody could tell their answers apart. */
static void overrun_queue_ends_the_connection(void **state)
{
	struct nvme_sqe sqe;

	begin(0, 0, NULL);
	for (uint32_t i = 0; i < 129; i++) {
		sqe = host_rw(NVME_CMD_WRITE, 0, 256); /* each waits for its data */
		sqe.sgl1.length = le32_of(131072);
		sqe.sgl1.id = 0x5a;
		host_command(&io, &sqe, NULL, 0);
	}
	expect_term(&io, NVME_TCP_FES_SEQUENCE, 0);
	end();
}

/* A host that does not close after C2HTermReq is closed after the standard's time. */
static void the_host_has_30_seconds_to_close(void **state)
{
	struct host h;

	world_start(&w, 4, NULL, NULL);
	host_open(&h, &w);
	host_send(&h, "\x3f\0\0\0\0\0\0\0", 8);
	expect_term(&h, NVME_TCP_FES_INVALID_HEADER, 0);
	world_pass(29 * NS_PER_S);
	assert_false(h.peer.ended);
	world_pass(2 * NS_PER_S);
	assert_true(h.peer.ended);
	host_close(&h);
	world_stop(&w);
}

/* --- under pressure --------------------------------------------------------------------------------------------- */

/* Queue full of large writes and a host that answers R2Ts late: buffers run out, everybody gets through in turn. */
static void writes_wait_for_buffers_and_pass(void **state)
{
	struct nvmf_transport_opts opts = world_opts;
	struct nvme_sqe sqe;
	union nvme_tcp_pdu pdu;
	uint32_t done = 0;

	opts.max_io_size = 1u << 20;
	begin(0, 0, &opts);
	fill(out, 1u << 20, 77);
	for (uint32_t i = 0; i < 100; i++) {
		sqe = host_rw(NVME_CMD_WRITE, 1, 2048);
		sqe.sgl1.length = le32_of(1u << 20);
		sqe.sgl1.id = 0x5a;
		host_command(&io, &sqe, NULL, 0);
	}
	while (done < 100) {
		assert_true(host_recv(&io, &pdu, NULL, NULL, 5 * NS_PER_S));
		if (pdu.h.type == NVME_TCP_RSP) {
			assert_int_equal(nvme_cqe_status(&pdu.rsp.cqe), 0);
			done++;
			continue;
		}
		assert_int_equal(pdu.h.type, NVME_TCP_R2T);
		for (uint32_t off = 0; off < 1u << 20; off += 131072)
			host_h2c_data(&io, le16_get(pdu.r2t.cccid), le16_get(pdu.r2t.ttag), off, out + off, 131072,
			              off + 131072 == 1u << 20);
	}
	check_blocks(&io, 1, 2048, 77);
	end();
}

#define COUNT(key) ({ \
	uint64_t count_ = 0; \
	for (uint32_t i_ = 0; i_ < w.cores; i_++) \
		count_ += tcp_of(nvmf_target_transport(w.target, "TCP"))->homes[i_].counters.key; \
	count_; \
})

static uint64_t lent_writes(void) { return COUNT(lent_writes); }

/* So many reads at once, again and again: how often were they answered before other connections had their turn? What is
 * sent at once may come in two pieces. */
static uint64_t answered_early(uint32_t reads)
{
	struct nvme_sqe sqe = host_rw(NVME_CMD_READ, 0, 1);
	uint8_t bytes[GATHER_ANSWERED_EARLY * FABRIC_PUT_MAX];
	uint64_t before = COUNT(answered_early);
	union nvme_tcp_pdu pdu;

	sqe.flags = 1 << 6;
	sqe.sgl1.length = le32_of(TEST_BLOCK);
	sqe.sgl1.id = 0x5a;
	for (uint32_t n = 0; n < 16; n++) {
		uint32_t len = 0;

		for (uint32_t i = 0; i < reads; i++) {
			sqe.cid = le16_of(++io.cid);
			len += fabric_put_cmd(bytes + len, &io.framing, &sqe, 0);
		}
		host_send(&io, bytes, len);
		for (uint32_t i = 0; i < reads; i++) {
			assert_true(host_recv(&io, &pdu, NULL, NULL, NS_PER_S));
			assert_int_equal(pdu.h.type, NVME_TCP_C2HDATA);
		}
	}
	return COUNT(answered_early) - before;
}

static void several_commands_of_a_visit_are_answered_early(void **state)
{
	begin(0, 0, NULL);
	assert_int_equal(answered_early(GATHER_ANSWERED_EARLY - 1), 0);
	assert_in_range(answered_early(GATHER_ANSWERED_EARLY), 1, 16);
	end();
}

/* Data of a write that fits the disk's pages is received in those, with every digest, however it is cut; and what
 * does not come whole was never there. */
static void writes_are_received_in_pages_of_the_disk(void **state)
{
	const struct sim_net_opts net = {
		.latency_ns_min = 1000, .latency_ns_max = 50000, .buffer_bytes = 20000,
		.short_read_percent = 50, .short_write_percent = 50, .chunk_bytes_max = 3000,
	};
	union nvme_tcp_pdu pdu;
	struct mem_stats m;

	for (uint8_t dgst = 0; dgst < 4; dgst++) {
		uint64_t before;
		struct nvme_sqe sqe = host_rw(NVME_CMD_WRITE, 64, 256);

		world_start(&w, 5u + dgst, &net, NULL);
		host_ready(&admin, &w, 0, dgst, 0, &cntlid);
		host_ready(&io, &w, 0, dgst, 1, &cntlid);
		before = lent_writes();
		for (uint32_t i = 0; i < 8; i++) {
			assert_int_equal(write_blocks(&io, 64, 16 + i * 24, false, i), 0);
			check_blocks(&io, 64, 16 + i * 24, i);
		}
		assert_int_equal(lent_writes() - before, 8);
		/* The host goes away in the middle. */
		sqe.sgl1.length = le32_of(131072);
		sqe.sgl1.id = 0x5a;
		host_command(&io, &sqe, NULL, 0);
		do
			assert_true(host_recv(&io, &pdu, NULL, NULL, NS_PER_S));
		while (pdu.h.type != NVME_TCP_R2T);
		assert_int_equal(lent_writes() - before, 9);
		mem_get_stats(w.core, &m);
		assert_int_equal(m.in_use_bytes, 0);
		fill(out, 131072, 99);
		host_h2c_data(&io, io.cid, le16_get(pdu.r2t.ttag), 0, out, 65536, false);
		world_pass(NS_PER_MS * 100);
		host_close(&io);
		world_pass(NS_PER_MS * 100);
		host_ready(&io, &w, 0, dgst, 1, &cntlid);
		check_blocks(&io, 64, 16 + 7 * 24, 7);
		end();
	}
}

/* A host that asks for much and sends nothing holds a bounded part of the buffers: others go on. */
static void a_silent_host_does_not_hold_all_buffers(void **state)
{
	struct mem_stats m;

	begin(0, 0, NULL);
	for (uint32_t i = 0; i < 31; i++) {
		struct nvme_sqe sqe = host_rw(NVME_CMD_WRITE, 1, 256);

		sqe.sgl1.length = le32_of(131072);
		sqe.sgl1.id = 0x5a;
		host_command(&io, &sqe, NULL, 0);
	}
	world_pass(10 * NS_PER_MS);
	mem_get_stats(w.core, &m);
	assert_in_range(m.in_use_bytes, 1u << 20, TCP_ASKED_BYTES_MAX + (64u << 10));
	end();
}

/* In-capsule data is taken even when not one buffer is to be had. */
static void capsules_pass_without_buffers(void **state)
{
	begin(0, NVME_TCP_DGST_DATA, NULL);
	mem_starve(w.core, 2);
	for (uint32_t i = 0; i < 50; i++) {
		assert_int_equal(write_blocks(&io, i, 1 + i % 8, true, i), 0);
		assert_int_equal(write_blocks(&io, 100, 1 + i * 3, false, i), 0);
		check_blocks(&io, i, 1 + i % 8, i);
		check_blocks(&io, 100, 1 + i * 3, i);
	}
	mem_starve(w.core, 0);
	end();
}

/* A thousand idle connections: what they cost. */
static void idle_connections_are_small_and_asleep(void **state)
{
	struct reactor_stats before, after;
	static struct host hosts[64];

	assert_true(sizeof(struct tcp_conn) <= 4096);
	begin(0, 0, NULL);
	for (uint32_t i = 0; i < ARRAY_SIZE(hosts); i++) {
		host_open(&hosts[i], &w);
		assert_true(host_hello(&hosts[i], 0, 0));
		assert_int_equal(host_connect(&hosts[i], 0, NVME_CNTLID_DYNAMIC, NULL), 0);
	}
	world_pass(100 * NS_PER_MS);
	reactor_get_stats(core_reactor(w.core, 0), &before);
	world_pass(100 * NS_PER_MS);
	reactor_get_stats(core_reactor(w.core, 0), &after);
	assert_in_range(after.passes - before.passes, 0, 4);
	for (uint32_t i = 0; i < ARRAY_SIZE(hosts); i++)
		host_close(&hosts[i]);
	end();
}

/* --- moving ------------------------------------------------------------------------------------------ */

static uint32_t moves_done, move_percent;

static void moved(void *arg, int rc)
{
	moves_done += rc == 0;
}

/* After any pass of a target's core any of its connections may have to go. */
static void move_some_here(void *arg)
{
	struct tcp_home *h = tcp_home_self(tcp_of(w.transport));

	if (!h->begun)
		return;
	list_each_safe(l, &h->conns) {
		struct tcp_conn *c = list_entry(l, struct tcp_conn, link);

		if (sim_chance(move_percent))
			tcp_conn_move(&c->qp, core_reactor(w.core, (uint32_t)sim_draw(w.cores)), moved, NULL);
	}
}

static void move_some(struct reactor *r, void *arg)
{
	if (reactor_core(r) == w.core && !reactor_is_control(r) && w.serving && !w.stopped)
		sim_as(r, move_some_here, NULL);
}

static void find_transport(void *arg);

static void a_connection_may_move_after_any_step(void **state)
{
	for (uint32_t seed = 1; seed <= 12; seed++) {
		const struct sim_net_opts net = {
			.latency_ns_min = 1000, .latency_ns_max = 50000, .buffer_bytes = 20000,
			.short_read_percent = 50, .short_write_percent = 50, .chunk_bytes_max = 3000,
		};
		struct nvme_sqe aer = { .opc = NVME_ADMIN_ASYNC_EVENT };

		moves_done = 0;
		move_percent = seed % 3 ? 20 : 2;
		w.cores = 3;
		world_start(&w, seed, &net, NULL);
		find_transport(NULL);
		sim_after_pass(move_some, NULL);
		host_ready(&admin, &w, 3, seed & 3, 0, &cntlid);
		host_ready(&io, &w, 3, seed & 3, 1, &cntlid);
		host_command(&admin, &aer, NULL, 0);
		for (uint32_t i = 0; i < 12; i++) {
			assert_int_equal(write_blocks(&io, i * 8, 8, true, i), 0);
			assert_int_equal(write_blocks(&io, 200, i % 2 ? 100 + i : 64 + 8 * i, false, i), 0); /* lent or not */
			check_blocks(&io, i * 8, 8, i);
			check_blocks(&io, 200, i % 2 ? 100 + i : 64 + 8 * i, i);
		}
		assert_in_range(moves_done, 10, 1u << 20);
		sim_after_pass(NULL, NULL);
		end();
		w.cores = 2;
	}
}

/* The I/O queue, to the other core. */
static void move_io_here(void *arg)
{
	struct tcp_home *h = tcp_home_self(tcp_of(w.transport));

	if (!h->begun)
		return;
	list_each_safe(l, &h->conns) {
		struct tcp_conn *c = list_entry(l, struct tcp_conn, link);

		if (c->qp.qid && !moves_done && !carry_is_wanted(&c->move))
			tcp_conn_move(&c->qp, core_reactor(w.core, !reactor_index(reactor_self())), moved, NULL);
	}
}

static void move_io(void)
{
	moves_done = 0;
	for (uint32_t i = 0; i < 2; i++) {
		sim_as(core_reactor(w.core, i), move_io_here, NULL);
		world_pass(NS_PER_MS);
	}
	assert_int_equal(moves_done, 1);
}

static void ns_changed(struct nvmf_change *c)
{
	must(!c->err.code);
	*(bool *)c->arg = true;
}

static void ns_goes(void *arg)
{
	nvmf_remove_ns(arg, TEST_NQN, 1);
}

static void ns_comes(void *arg)
{
	nvmf_add_ns(arg, TEST_NQN, &(struct nvmf_ns_opts){ .bdev_name = "disk", .nsid = 1 });
}

static void change_ns(void (*how)(void *arg))
{
	bool done = false;
	struct nvmf_change c = { .target = w.target, .done = ns_changed, .arg = &done };

	sim_as(core_control(w.core), how, &c);
	world_pass(10 * NS_PER_MS);
	assert_true(done);
}

/* A write that was refused where it arrived, because its namespace was not there, is refused when it goes on to where
 * the namespace is there again: it was answered as if it had been done. */
static void what_was_refused_stays_so(void **state)
{
	struct nvme_sqe sqe = host_rw(NVME_CMD_WRITE, 1, 16); /* in no lent page, which would keep it */
	union nvme_tcp_pdu pdu;

	begin(0, 0, NULL);
	find_transport(NULL);
	sqe.sgl1.length = le32_of(8192);
	sqe.sgl1.id = 0x5a;
	host_command(&io, &sqe, NULL, 0);
	assert_true(host_recv(&io, &pdu, NULL, NULL, NS_PER_S));
	assert_int_equal(pdu.h.type, NVME_TCP_R2T);
	change_ns(ns_goes);
	move_io();
	change_ns(ns_comes);
	move_io();
	host_h2c_data(&io, io.cid, le16_get(pdu.r2t.ttag), 0, out, 8192, true);
	assert_true(host_recv(&io, &pdu, NULL, NULL, NS_PER_S));
	assert_int_equal(pdu.h.type, NVME_TCP_RSP);
	assert_int_equal(nvme_cqe_status(&pdu.rsp.cqe), NVME_SC_INVALID_NS | NVME_SC_DNR);
	end();
}

static void find_transport(void *arg)
{
	w.transport = nvmf_target_transport(w.target, "TCP");
	must(w.transport);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_written_is_read),
		cmocka_unit_test(identify_comes_whole),
		cmocka_unit_test(wrong_sgls_fail_the_command_only),
		cmocka_unit_test(wrong_data_digest_fails_the_command_only),
		cmocka_unit_test(bad_pdus_are_answered_by_c2h_term),
		cmocka_unit_test(wrong_header_digest_ends_the_connection),
		cmocka_unit_test(data_that_does_not_fit_its_r2t),
		cmocka_unit_test(silence_after_r2t_ends_the_connection),
		cmocka_unit_test(silence_after_accept_ends_the_connection),
		cmocka_unit_test(too_many_that_say_nothing),
		cmocka_unit_test(overrun_queue_ends_the_connection),
		cmocka_unit_test(the_host_has_30_seconds_to_close),
		cmocka_unit_test(writes_wait_for_buffers_and_pass),
		cmocka_unit_test(writes_are_received_in_pages_of_the_disk),
		cmocka_unit_test(a_silent_host_does_not_hold_all_buffers),
		cmocka_unit_test(capsules_pass_without_buffers),
		cmocka_unit_test(several_commands_of_a_visit_are_answered_early),
		cmocka_unit_test(idle_connections_are_small_and_asleep),
		cmocka_unit_test(a_connection_may_move_after_any_step),
		cmocka_unit_test(what_was_refused_stays_so),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
