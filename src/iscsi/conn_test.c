/* SPDX-License-Identifier: BSD-3-Clause */
/* conn_test.c: conversations between raw initiators and a whole target with a RAM disk, in the simulator: every size in
 * every framing, with memory that is hard to get, with networks that cut everything, and with initiators that are
 * silent, deaf or gone at any step.
 */
#include "iscsi/conn_rig_test.h"

#include "core/log.h"
#include "core/mem.h"
#include "net/gather.h"

static void write_and_read_all_sizes(uint32_t first_burst)
{
	static const uint32_t sizes[] = { 1, 2, 7, 8, 9, 31, 255, 256, 2048 };

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		uint32_t n = sizes[i], len = n * TEST_BLOCK;

		assert_int_equal(write_blocks(i, n, 0, n), 0);
		check_blocks(i, n, n);
		assert_int_equal(write_blocks(100 + i, n, min_u32(len, 512), n + 1), 0);
		check_blocks(100 + i, n, n + 1);
		assert_int_equal(write_blocks(200 + i, n, min_u32(len, first_burst), n + 2), 0);
		check_blocks(200 + i, n, n + 2);
	}
}

/* The first whole path: all sizes, immediately and by R2T, in every framing an initiator may ask for. */
static void what_is_written_is_read(void **state)
{
	static const char *const ways[] = {
		"", "HeaderDigest=CRC32C\n", "DataDigest=CRC32C\n", DIGESTS, "InitialR2T=No\n",
		"MaxRecvDataSegmentLength=512\nMaxBurstLength=512\nFirstBurstLength=512\n",
		DIGESTS "MaxRecvDataSegmentLength=1000\nMaxBurstLength=2501\nFirstBurstLength=2501\n",
		"MaxOutstandingR2T=16\nMaxBurstLength=8192\nFirstBurstLength=4096\n",
		"MaxRecvDataSegmentLength=16777215\nMaxBurstLength=16777215\nFirstBurstLength=16777215\n",
	};

	for (size_t i = 0; i < ARRAY_SIZE(ways); i++) {
		begin(ways[i]);
		h.piece = i == 5 ? 512 : i & 1 ? 5000 : 65536;
		if (i == 5) {
			assert_int_equal(write_blocks(3, 300, 512, 3), 0);
			check_blocks(3, 300, 3);
		} else {
			write_and_read_all_sizes(i == 6 ? 2501 : 4096);
		}
		assert_int_equal(world_count(&w, "protocol_errors"), 0);
		end();
	}
}

/* Every second time that buffers are asked for there are none. */
static void memory_is_hard_to_get(void **state)
{
	for (uint32_t every = 1; every < 4; every++) {
		begin("InitialR2T=No\nMaxOutstandingR2T=4\nMaxBurstLength=16384\n");
		mem_starve(w.core, every + 1);
		write_and_read_all_sizes(4096);
		mem_starve(w.core, 0);
		end();
	}
}

/* Everything arrives in small pieces, and leaves in small pieces. */
static void networks_that_cut_everything(void **state)
{
	const struct sim_net_opts net = { .latency_ns_min = 1000, .latency_ns_max = 90000, .buffer_bytes = 3000,
	                                  .short_read_percent = 50, .short_write_percent = 50, .chunk_bytes_max = 700 };

	for (uint64_t seed = 1; seed <= 6; seed++) {
		world_start(&w, seed, &net);
		host_ready(&h, &w, "iqn.2026-11.test:one", seed & 1 ? DIGESTS : "MaxRecvDataSegmentLength=900\n");
		for (uint32_t n = 1; n < 300; n += 67) {
			assert_int_equal(write_blocks(n, n, 512, n), 0);
			check_blocks(n, n, n);
		}
		end();
	}
}

/* --- long commands: what moves more than a task may have buffers for at a time --- */

/* Pieces of all sizes that a target of this one may be told, by all ways, with memory that is hard to get. */
static void long_commands_go_in_pieces(void **state)
{
	static const char *const ways[] = {
		"", "InitialR2T=No\n", "ImmediateData=No\n", DIGESTS "MaxRecvDataSegmentLength=1000\nMaxBurstLength=2501\n",
		"MaxOutstandingR2T=16\nMaxBurstLength=8192\nInitialR2T=No\n",
	};

	for (uint32_t way = 0; way < 2 * ARRAY_SIZE(ways); way++) {
		uint32_t immediate = ways[way / 2][0] == 'I' && ways[way / 2][1] == 'm' ? 0 : 512;

		w.piece_bytes = 512u << way % 6;
		w.memory_bytes = way % 3 ? 0 : 16 * MIB;
		begin(ways[way / 2]);
		mem_starve(w.core, way % 2 ? 2 + way % 4 : 0);
		for (uint32_t n = 1; n < 900; n = n * 2 + 1) {
			assert_int_equal(write_blocks(n, n, immediate, n), 0);
			check_blocks(n, n, n);
		}
		mem_starve(w.core, 0);
		end();
	}
}

static struct mem_stats memory_of_target(void)
{
	struct mem_stats s;

	mem_get_stats(w.core, &s);
	return s;
}

/* A disk of its own size at once: no more memory than for one piece of it. */
static void as_long_as_can_be(void **state)
{
	for (int starved = 0; starved < 2; starved++) {
		begin("MaxRecvDataSegmentLength=262144\nMaxBurstLength=16776192\n");
		mem_starve(w.core, starved ? 2 : 0);
		assert_int_equal(write_blocks(0, TEST_BLOCKS, 4096, 5), 0);
		check_blocks(0, TEST_BLOCKS, 5);
		check_blocks(3, 2049, 5 + 3 * (512 * 31 + 7));
		assert_true(memory_of_target().in_use_bytes_max <= MEM_IO_BYTES_MAX);
		assert_int_equal(memory_of_target().in_use_bytes, 0);
		mem_starve(w.core, 0);
		end();
	}
}

/* What the initiator offers says how much moves, of a long command too. */
static void long_residuals(void **state)
{
	union iscsi_bhs cmd, b;
	uint32_t got = 0;

	w.piece_bytes = 4096;
	begin("");
	assert_int_equal(write_blocks(0, 100, 0, 1), 0);
	cmd = host_rw(&h, false, 0, 100);
	cmd.command.expected_len = be32_of(20000); /* not of whole blocks */
	cmd.command.itt = be32_of(77);
	cmd.command.cmd_sn = be32_of(h.cmd_sn++);
	host_send_pdu(&h, &cmd, NULL, 0);
	do {
		assert_true(host_recv(&h, &b, NULL, NULL, NS_PER_S));
		assert_int_equal(b.h.opcode, ISCSI_OP_DATA_IN);
		got += be24_get(b.h.data_len);
	} while (!(b.data_in.flags & ISCSI_STATUS));
	assert_int_equal(got, 20000);
	assert_true(b.data_in.flags & ISCSI_OVERFLOW);
	assert_int_equal(be32_get(b.data_in.residual), 100 * TEST_BLOCK - 20000);
	cmd = host_rw(&h, true, 0, 100);
	cmd.command.expected_len = be32_of(20000);
	fill(out, sizeof(out), 9);
	assert_int_equal(host_run(&h, &cmd, out, 20000, 0, NULL, 0), 0);
	check_blocks(0, 20000 / TEST_BLOCK, 9);
	end();
}

static void send_abort(uint32_t itt, uint32_t cmd_sn)
{
	const union iscsi_bhs b = { .tmf = {
		.opcode = ISCSI_OP_TMF | ISCSI_IMMEDIATE, .function = ISCSI_FINAL | ISCSI_TMF_ABORT_TASK, .itt = be32_of(500),
		.ref_task_tag = be32_of(itt), .cmd_sn = be32_of(h.cmd_sn), .ref_cmd_sn = be32_of(cmd_sn),
	} };

	host_send_pdu(&h, &b, NULL, 0);
}

/* What comes until the abort is answered: bytes, or R2Ts; the command itself is not answered. */
static uint32_t until_aborted(void)
{
	uint32_t came = 0;
	union iscsi_bhs b;

	while (host_recv(&h, &b, NULL, NULL, NS_PER_S) && b.h.opcode != ISCSI_OP_TMF_RSP) {
		assert_true(b.h.opcode == ISCSI_OP_DATA_IN || b.h.opcode == ISCSI_OP_R2T);
		assert_true(b.h.opcode == ISCSI_OP_R2T || !(b.data_in.flags & ISCSI_STATUS));
		came += b.h.opcode == ISCSI_OP_R2T ? 1 : be24_get(b.h.data_len);
	}
	assert_int_equal(b.h.opcode, ISCSI_OP_TMF_RSP);
	assert_int_equal(b.tmf_rsp.response, ISCSI_TMF_RSP_COMPLETE);
	return came;
}

/* At any of its pieces, whoever has it then: the target, or the initiator, who does not read, or sends no data. */
static void long_commands_are_aborted(void **state)
{
	const struct sim_net_opts net = { .latency_ns_min = 1000, .latency_ns_max = 30000, .buffer_bytes = 9000 };
	union iscsi_bhs b, cmd;

	for (uint32_t n = 0; n < 16; n++) {
		bool write = n & 1;

		w.piece_bytes = 4096;
		world_start(&w, n + 1, &net);
		host_ready(&h, &w, "iqn.2026-11.test:one", "");
		cmd = host_rw(&h, write, 0, 4000);
		cmd.command.itt = be32_of(77);
		cmd.command.cmd_sn = be32_of(h.cmd_sn++);
		host_send_pdu(&h, &cmd, NULL, 0);
		for (uint32_t i = 0; i < n / 2; i++) {
			assert_true(host_recv(&h, &b, NULL, NULL, NS_PER_S));
			if (write)
				host_data_out(&h, 77, be32_get(b.r2t.ttt), 0, be32_get(b.r2t.offset), out, 4096, true);
		}
		world_pass(n * 10000);
		send_abort(77, h.cmd_sn - 1);
		assert_true(until_aborted() < (write ? 3 : 4000 * TEST_BLOCK));
		assert_int_equal(write_blocks(0, 100, 0, n), 0);
		check_blocks(0, 100, n);
		end();
	}
}

/* --- many at once ------------------------------------------------------------------------------------------------ */

/* All of the window at once, reads and writes; answers carry what they are to carry. */
static void a_window_full(void **state)
{
	uint8_t seen[32] = { 0 };
	uint32_t stat_sn, answers = 0;
	union iscsi_bhs b;

	begin("");
	stat_sn = h.exp_stat_sn;
	for (uint32_t i = 0; i < 32; i++) {
		union iscsi_bhs cmd = host_rw(&h, i & 1, i * 16, 16);

		cmd.command.itt = be32_of(1000 + i);
		cmd.command.cmd_sn = be32_of(h.cmd_sn++);
		host_send_pdu(&h, &cmd, out, i & 1 ? 16 * TEST_BLOCK : 0);
	}
	while (answers < 32 && host_recv(&h, &b, NULL, NULL, NS_PER_S)) {
		if (b.h.opcode == ISCSI_OP_DATA_IN && !(b.data_in.flags & ISCSI_STATUS))
			continue;
		if (answers)
			assert_int_equal(be32_get(b.nop_in.stat_sn), stat_sn + 1);
		stat_sn = be32_get(b.nop_in.stat_sn);
		seen[be32_get(b.h.itt) - 1000]++;
		answers++;
		assert_int_equal(be32_get(b.nop_in.max_cmd_sn), h.cmd_sn + answers - 1); /* a place more with each */
	}
	for (uint32_t i = 0; i < 32; i++)
		assert_int_equal(seen[i], 1);
	end();
}

/* So many reads at once, again and again: how often were they answered before other connections had their turn? What is
 * sent at once may come in two pieces. */
static uint64_t answered_early(uint32_t reads)
{
	union iscsi_bhs cmds[GATHER_ANSWERED_EARLY], b;
	uint64_t before = world_count(&w, "answered_early");

	for (uint32_t n = 0; n < 16; n++) {
		for (uint32_t i = 0; i < reads; i++) {
			cmds[i] = host_rw(&h, false, i, 1);
			cmds[i].command.itt = cmds[i].command.cmd_sn = be32_of(h.cmd_sn++);
		}
		host_send(&h, cmds, reads * ISCSI_BHS_SIZE);
		for (uint32_t i = 0; i < reads; i++) {
			assert_true(host_recv(&h, &b, NULL, NULL, NS_PER_S));
			assert_int_equal(b.h.opcode, ISCSI_OP_DATA_IN);
		}
	}
	return world_count(&w, "answered_early") - before;
}

static void several_commands_of_a_visit_are_answered_early(void **state)
{
	begin("");
	assert_int_equal(answered_early(GATHER_ANSWERED_EARLY - 1), 0);
	assert_in_range(answered_early(GATHER_ANSWERED_EARLY), 1, 16);
	end();
}

static void send_ping(uint32_t cmd_sn, const char *data)
{
	const union iscsi_bhs b = { .nop_out = { .opcode = ISCSI_OP_NOP_OUT, .flags = ISCSI_FINAL, .itt = be32_of(cmd_sn),
	                                         .ttt = be32_of(ISCSI_TAG_NONE), .cmd_sn = be32_of(cmd_sn) } };

	host_send_pdu(&h, &b, data, (uint32_t)strlen(data));
}

static void send_read(uint32_t cmd_sn)
{
	union iscsi_bhs b = host_rw(&h, false, 0, 1);

	b.command.itt = be32_of(cmd_sn);
	b.command.cmd_sn = be32_of(cmd_sn);
	host_send_pdu(&h, &b, NULL, 0);
}

/* What comes ahead of its turn is dealt with in its turn, commands or not; twice the same only once. */
static void ahead_of_their_turn(void **state)
{
	const uint8_t *data;
	union iscsi_bhs b;
	uint32_t sn, len;

	begin("");
	sn = h.cmd_sn;
	send_ping(sn + 3, "third");
	send_read(sn + 2);
	send_ping(sn + 1, "first");
	send_ping(sn + 3, "again");
	world_pass(NS_PER_MS);
	assert_false(host_recv(&h, &b, NULL, NULL, NS_PER_MS));
	send_read(sn);
	for (uint32_t n = 0, pings = 0; n < 4; n++) {
		assert_true(host_recv(&h, &b, &data, &len, NS_PER_S));
		if (b.h.opcode == ISCSI_OP_NOP_IN)
			assert_memory_equal(data, pings++ ? "third" : "first", 5);
		else
			assert_int_equal(b.h.opcode, ISCSI_OP_DATA_IN);
		assert_true(n < 3 || pings == 2);
	}
	assert_int_equal(be32_get(b.nop_in.exp_cmd_sn), sn + 4);
	assert_false(host_recv(&h, &b, NULL, NULL, NS_PER_MS));
	assert_int_equal(world_count(&w, "ignored"), 1);
	end();
}

static void send_logout(uint32_t cmd_sn)
{
	const union iscsi_bhs b = { .logout = { .opcode = ISCSI_OP_LOGOUT, .reason = ISCSI_FINAL | ISCSI_LOGOUT_SESSION,
	                                        .itt = be32_of(cmd_sn), .cmd_sn = be32_of(cmd_sn) } };

	host_send_pdu(&h, &b, NULL, 0);
}

/* An initiator that lives, and answers pings, but never sends a command before those that it sent. */
static void a_gap_that_stays(void **state)
{
	union iscsi_bhs ping = { .nop_out = { .opcode = ISCSI_OP_NOP_OUT | ISCSI_IMMEDIATE, .flags = ISCSI_FINAL,
	                                      .itt = be32_of(ISCSI_TAG_NONE), .ttt = be32_of(ISCSI_TAG_NONE) } };

	for (uint32_t way = 0; way < 3; way++) {
		uint32_t seconds = 0;

		begin("");
		if (way != 1)
			send_read(h.cmd_sn + 1);
		if (way != 0)
			send_ping(h.cmd_sn + 2, "later");
		for (; !h.peer.ended && seconds < 20; seconds++) {
			host_send_pdu(&h, &ping, NULL, 0);
			world_pass(NS_PER_S);
			if (way == 2 && seconds == 1)
				send_read(h.cmd_sn); /* the first gap is none any more */
			if (way == 2 && seconds == 2)
				send_ping(h.cmd_sn + 4, "later still");
		}
		assert_true(h.peer.ended);
		assert_in_range(seconds, way == 2 ? 6 : 3, way == 2 ? 7 : 4);
		assert_int_equal(world_count(&w, "timed_out"), 1);
		end();
	}
}

/* Who says that nothing more comes says so of what is missing, too. */
static void a_logout_ahead_of_its_turn(void **state)
{
	union iscsi_bhs b;

	begin("");
	send_read(h.cmd_sn + 1);
	send_logout(h.cmd_sn + 2);
	assert_true(host_recv(&h, &b, NULL, NULL, NS_PER_S));
	assert_int_equal(b.h.opcode, ISCSI_OP_LOGOUT_RSP);
	assert_int_equal(b.logout_rsp.response, ISCSI_LOGOUT_RSP_CLOSED);
	assert_false(host_recv(&h, &b, NULL, NULL, NS_PER_S));
	assert_true(h.peer.ended);
	end();
}

struct removal {
	struct iscsi_change change;
	bool done;
};

static void lun_is_removed(struct iscsi_change *c)
{
	must(!c->err.code);
	container_of(c, struct removal, change)->done = true;
}

static void remove_lun(void *arg)
{
	struct removal *r = arg;

	r->change.done = lun_is_removed;
	iscsi_node_remove_lun(w.target, TEST_NODE, 0, &r->change);
}

/* A LUN that goes does not wait for commands before which one is missing; they are answered in their turn. */
static void a_lun_goes_while_commands_wait_for_their_turn(void **state)
{
	union iscsi_bhs cmd, b;
	struct removal removal = { 0 };
	uint32_t sn;

	begin("");
	sn = h.cmd_sn;
	send_read(sn + 1);
	cmd = host_rw(&h, true, 0, 16);
	cmd.command.itt = cmd.command.cmd_sn = be32_of(sn + 2);
	host_send_pdu(&h, &cmd, out, 16 * TEST_BLOCK);
	world_pass(NS_PER_MS);
	sim_as(core_control(w.core), remove_lun, &removal);
	world_pass(100 * NS_PER_MS);
	assert_true(removal.done);
	send_ping(sn, "first");
	for (uint32_t answers = 0; answers < 2;) {
		assert_true(host_recv(&h, &b, NULL, NULL, NS_PER_S));
		if (b.h.opcode != ISCSI_OP_RESPONSE)
			continue;
		assert_int_equal(b.response.status, 0x02); /* CHECK CONDITION */
		answers++;
	}
	end();
}

/* One that ends within such a state leaves nothing behind. */
static void gone_while_others_wait(void **state)
{
	begin("");
	send_ping(h.cmd_sn + 3, "third");
	send_read(h.cmd_sn + 2);
	world_pass(NS_PER_MS);
	end();
}

/* --- initiators that are gone, silent, deaf ---------------------------------------------------------------------- */

/* A conversation that owes everything to both sides. */
static void owe_everything(void)
{
	for (uint32_t i = 0; i < 8; i++) {
		union iscsi_bhs cmd = host_rw(&h, i & 1, i * 256, 256);

		cmd.command.itt = be32_of(++h.itt);
		cmd.command.cmd_sn = be32_of(h.cmd_sn++);
		host_send_pdu(&h, &cmd, out, i == 3 ? 1000 : 0);
	}
}

static void gone_at_any_time(void **state)
{
	for (uint64_t after_ns = 0; after_ns < 300 * NS_PER_US; after_ns += 7 * NS_PER_US) {
		begin("");
		owe_everything();
		world_pass(after_ns);
		host_close(&h);
		world_pass(10 * NS_PER_MS);
		assert_int_equal(sim_net_connections(), 0);
		world_stop(&w);
		memset(&w, 0, sizeof(w));
	}
}

static void stopped_at_any_time(void **state)
{
	for (uint64_t after_ns = 0; after_ns < 300 * NS_PER_US; after_ns += 11 * NS_PER_US) {
		begin(DIGESTS);
		owe_everything();
		world_pass(after_ns);
		world_stop(&w);
		free(h.peer.in);
		free(h.peer.out);
		memset(&w, 0, sizeof(w));
	}
}

static void silent_after_r2t(void **state)
{
	union iscsi_bhs b;

	begin("");
	owe_everything();
	while (host_recv(&h, &b, NULL, NULL, 20 * NS_PER_S))
		;
	assert_true(h.peer.ended);
	assert_int_equal(world_count(&w, "timed_out"), 1);
	end();
}

/* A command says that data follows unasked, and it does not; or not all of it. */
static void silent_before_its_data(void **state)
{
	for (uint32_t some = 0; some < 2; some++) {
		union iscsi_bhs cmd;

		begin("InitialR2T=No\n");
		cmd = host_rw(&h, true, 0, 16);
		cmd.command.flags &= (uint8_t)~ISCSI_FINAL;
		cmd.command.itt = be32_of(++h.itt);
		cmd.command.cmd_sn = be32_of(h.cmd_sn++);
		host_send_pdu(&h, &cmd, out, some ? 512 : 0);
		world_pass(4 * NS_PER_S);
		assert_true(h.peer.ended);
		assert_int_equal(world_count(&w, "timed_out"), 1);
		end();
	}
}

static void deaf(void **state)
{
	begin("");
	for (uint32_t i = 0; i < 31; i++) {
		union iscsi_bhs cmd = host_rw(&h, false, i, 2048);

		cmd.command.itt = be32_of(++h.itt);
		cmd.command.cmd_sn = be32_of(h.cmd_sn++);
		host_send_pdu(&h, &cmd, NULL, 0);
	}
	sim_net_cut(0, true);
	world_pass(20 * NS_PER_S);
	assert_int_equal(world_count(&w, "timed_out"), 1);
	end();
}

/* A ping a while, as long as they are answered; then the end. */
static void nobody_answers(void **state)
{
	union iscsi_bhs b;
	uint32_t pings = 0;

	begin("");
	while (pings < 3 && host_recv(&h, &b, NULL, NULL, 20 * NS_PER_S)) {
		union iscsi_bhs nop = { .nop_out = { .opcode = ISCSI_OP_NOP_OUT | ISCSI_IMMEDIATE, .flags = ISCSI_FINAL,
		                                     .itt = be32_of(ISCSI_TAG_NONE), .ttt = b.nop_in.ttt } };

		assert_int_equal(b.h.opcode, ISCSI_OP_NOP_IN);
		host_send_pdu(&h, &nop, NULL, 0);
		pings++;
	}
	assert_int_equal(pings, 3);
	assert_true(host_recv(&h, &b, NULL, NULL, 20 * NS_PER_S));
	assert_false(host_recv(&h, &b, NULL, NULL, 20 * NS_PER_S));
	assert_true(h.peer.ended);
	end();
}

static void hear(void *arg)
{
	sock_want_read(h.peer.sock, *(bool *)arg);
}

/* It reads slowly, so that too many answers wait and it is not read; pings that it cannot answer prove nothing. */
static void unheard(void **state)
{
	const struct sim_net_opts net = { .latency_ns_min = NS_PER_MS, .latency_ns_max = NS_PER_MS, .buffer_bytes = 3000 };
	bool yes = true, no = false;
	union iscsi_bhs b;
	uint32_t answers = 0;

	world_start(&w, 1, &net);
	w.target->options.nop_in_interval_s = 1;
	w.target->options.nop_timeout_s = 1;
	host_ready(&h, &w, "iqn.2026-11.test:one", "");
	memset(out, 'p', 500);
	out[500] = 0;
	for (uint32_t i = 0; i < 120; i++)
		send_ping(h.cmd_sn++, (const char *)out);
	for (uint32_t i = 0; i < 6; i++) {
		sim_as(core_reactor(w.host_core, 0), hear, &no);
		world_pass(NS_PER_S);
		sim_as(core_reactor(w.host_core, 0), hear, &yes);
		world_pass(3 * NS_PER_MS);
	}
	while (answers < 120 && host_recv(&h, &b, NULL, NULL, NS_PER_S))
		answers += b.h.opcode == ISCSI_OP_NOP_IN && be32_get(b.nop_in.itt) != ISCSI_TAG_NONE;
	assert_int_equal(answers, 120);
	assert_int_equal(world_count(&w, "timed_out"), 0);
	end();
}

static void no_login(void **state)
{
	world_start(&w, 1, NULL);
	host_open(&h, &w);
	world_pass(5 * NS_PER_S);
	assert_true(h.peer.ended);
	end();
}

/* The same initiator port logs in again: what the old session had in hand ends before the new one begins. */
static void reinstated(void **state)
{
	struct host old;

	begin("");
	for (uint32_t i = 0; i < 10; i++) {
		owe_everything();
		old = h;
		host_ready(&h, &w, "iqn.2026-11.test:one", "");
		assert_int_equal(write_blocks(i, 8, 4096, i), 0);
		check_blocks(i, 8, i);
		host_close(&old);
	}
	assert_int_equal(world_count(&w, "logins"), 11);
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_written_is_read), cmocka_unit_test(memory_is_hard_to_get),
		cmocka_unit_test(networks_that_cut_everything),
		cmocka_unit_test(several_commands_of_a_visit_are_answered_early),
		cmocka_unit_test(a_window_full), cmocka_unit_test(gone_at_any_time), cmocka_unit_test(stopped_at_any_time),
		cmocka_unit_test(ahead_of_their_turn), cmocka_unit_test(gone_while_others_wait),
		cmocka_unit_test(a_gap_that_stays), cmocka_unit_test(a_logout_ahead_of_its_turn),
		cmocka_unit_test(a_lun_goes_while_commands_wait_for_their_turn),
		cmocka_unit_test(long_commands_go_in_pieces), cmocka_unit_test(as_long_as_can_be),
		cmocka_unit_test(long_residuals), cmocka_unit_test(long_commands_are_aborted),
		cmocka_unit_test(silent_after_r2t), cmocka_unit_test(silent_before_its_data), cmocka_unit_test(deaf),
		cmocka_unit_test(nobody_answers),
		cmocka_unit_test(unheard),
		cmocka_unit_test(no_login), cmocka_unit_test(reinstated),
	};

	log_set_level(LOG_ERROR);
	return cmocka_run_group_tests_name("iscsi_conn", tests, NULL, NULL);
}
