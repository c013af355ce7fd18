/* SPDX-License-Identifier: BSD-3-Clause */
/* move_test.c: sessions that move between cores while commands go on, long ones too, and what they find there. */
#include "iscsi/conn_rig_test.h"

#include "backends/malloc/malloc.h"
#include "core/log.h"

struct moving {
	struct iscsi_move move;
	uint32_t to, done, moved;
	bool stop;
};
static struct moving moving;

static void ask_to_move(void *arg);

static void move_done(struct iscsi_move *m)
{
	moving.done++;
	moving.moved += !m->err.code;
	if (!moving.stop)
		ask_to_move(NULL);
}

static void find_session(void *arg, const struct iscsi_conn_info *i)
{
	if (i->phase == ISCSI_CONN_NORMAL)
		*(uint32_t *)arg = i->id;
}

static void ask_to_move(void *arg)
{
	uint32_t id = 0;

	iscsi_conns_each(w.target, find_session, &id);
	moving.move = (struct iscsi_move){ .done = move_done };
	moving.to++;
	if (id)
		iscsi_conn_move(w.target, &moving.move, id, core_reactor(w.core, moving.to % w.cores));
}

/* A world in which the one session never stays where it is, from here to moves_end(). */
static void moves_begin(uint64_t seed, bool starve)
{
	const struct sim_net_opts net = { .latency_ns_min = 1000, .latency_ns_max = 90000, .buffer_bytes = 20000,
	                                  .short_read_percent = 50, .short_write_percent = 50, .chunk_bytes_max = 7000 };

	world_start(&w, seed, &net);
	host_ready(&h, &w, "iqn.2026-11.test:one", seed & 1 ? DIGESTS "MaxOutstandingR2T=8\nMaxBurstLength=4096\n" :
	           "InitialR2T=No\n");
	moving = (struct moving){ 0 };
	mem_starve(w.core, starve ? 3 : 0);
	sim_as(core_control(w.core), ask_to_move, NULL);
}

static void moves_end(void)
{
	moving.stop = true;
	world_pass(NS_PER_S);
	mem_starve(w.core, 0);
	assert_true(moving.moved > 10);
	assert_true(world_count(&w, "moved_in") == moving.moved);
	end();
}

static void sessions_move_all_the_time(void **state)
{
	for (uint64_t seed = 1; seed <= 6; seed++) {
		moves_begin(seed, seed & 2);
		for (uint32_t n = 1; n < 600; n += 67) {
			assert_int_equal(write_blocks(n, n, 512, n), 0);
			check_blocks(n, n, n);
		}
		moves_end();
	}
}

/* A session can leave between two pieces, and in the middle of one. */
static void long_commands_move(void **state)
{
	for (uint64_t seed = 1; seed <= 4; seed++) {
		w.piece_bytes = seed & 2 ? 4096 : 16384;
		moves_begin(seed, seed > 2);
		for (uint32_t n = 100; n < 2100; n += 967) {
			assert_int_equal(write_blocks(n, n, 512, n), 0);
			check_blocks(n, n, n);
		}
		moves_end();
	}
}

/* --- a LUN that is another disk meanwhile --- */

#define SWAP_BLOCKS 2048u   /* of each write: three are more than an initiator is asked for at a time */
#define SWAP_WRITES 3u

/* A disk at LUN 1 that goes, and another one that comes there. */
struct swap {
	struct iscsi_change change;
	const char *name;
	bool added, gone;
};

static void swap_added(struct iscsi_change *c)
{
	must(!c->err.code);
	container_of(c, struct swap, change)->added = true;
}

static void swap_add(void *arg)
{
	struct swap *s = arg;
	const struct malloc_opts disk = { .name = s->name, .block_size = TEST_BLOCK, .block_count = TEST_BLOCKS };
	const struct iscsi_lun_spec lun = { .bdev_name = s->name, .lun = 1 };
	struct bdev *b;

	must(!malloc_create(w.reg, &disk, &b, NULL));
	s->change.done = swap_added;
	iscsi_node_add_lun(w.target, TEST_NODE, &lun, &s->change);
}

static void swap_gone(void *arg, int rc)
{
	((struct swap *)arg)->gone = rc == 0;
}

static void swap_delete(void *arg)
{
	must(!malloc_delete(w.reg, ((struct swap *)arg)->name, swap_gone, arg, NULL));
}

static union iscsi_bhs at_lun_1(union iscsi_bhs cmd)
{
	cmd.command.lun = be64_of(1ull << 48);
	return cmd;
}

static void until_ready(void)
{
	const union iscsi_bhs ready = { .command = { .opcode = ISCSI_OP_COMMAND, .flags = ISCSI_FINAL } };
	const union iscsi_bhs ready_1 = at_lun_1(ready);

	world_pass(NS_PER_MS);
	for (uint32_t i = 0; i < 8; i++)
		if (host_run(&h, &ready, NULL, 0, 0, NULL, 0) == 0 && host_run(&h, &ready_1, NULL, 0, 0, NULL, 0) == 0)
			return;
	fail();
}

static void move_once(void)
{
	uint32_t before = (uint32_t)world_count(&w, "moved_in");

	moving = (struct moving){ .stop = true };
	for (uint32_t i = 0; i < 2 && world_count(&w, "moved_in") == before; i++) {
		sim_as(core_control(w.core), ask_to_move, NULL);
		world_pass(200 * NS_PER_MS);
	}
	assert_int_equal(world_count(&w, "moved_in"), before + 1);
}

/* Give what is asked for until so many commands are answered; none of them well. */
static void all_refused(const union iscsi_bhs *first_r2ts, uint32_t r2ts, uint32_t answers)
{
	union iscsi_bhs b;

	for (uint32_t i = 0; i < r2ts; i++)
		host_answer_r2t(&h, &first_r2ts[i].r2t, out);
	while (answers) {
		assert_true(host_recv(&h, &b, NULL, NULL, NS_PER_S));
		if (b.h.opcode == ISCSI_OP_R2T)
			host_answer_r2t(&h, &b.r2t, out);
		if (b.h.opcode != ISCSI_OP_RESPONSE)
			continue;
		assert_int_equal(b.response.status, 0x02); /* CHECK CONDITION */
		answers--;
	}
}

/* Commands to a disk that went are not carried out on the one that has its LUN by then: their session moves while
 * some wait for their data, and others for their turn to ask for it. */
static void a_lun_is_another_one_after_a_move(void **state)
{
	struct swap a = { .name = "a" }, b = { .name = "b" };
	union iscsi_bhs cmd, r2ts[SWAP_WRITES];
	uint32_t asked = 0;

	for (uint32_t piece = 0; piece <= 65536; piece += 65536) {
		a = (struct swap){ .name = "a" };
		b = (struct swap){ .name = "b" };
		asked = 0;
		w.piece_bytes = piece;
		begin("MaxRecvDataSegmentLength=1048576\nMaxBurstLength=1048576\n");
		sim_as(core_control(w.core), swap_add, &a);
		world_pass(NS_PER_MS);
		until_ready();
		fill(out, SWAP_BLOCKS * TEST_BLOCK, 3);
		for (uint32_t i = 0; i < SWAP_WRITES; i++) {
			cmd = at_lun_1(host_rw(&h, true, 0, SWAP_BLOCKS));
			cmd.command.itt = be32_of(1000 + i);
			cmd.command.cmd_sn = be32_of(h.cmd_sn++);
			host_send_pdu(&h, &cmd, NULL, 0);
		}
		while (asked < SWAP_WRITES && host_recv(&h, &r2ts[asked], NULL, NULL, 10 * NS_PER_MS))
			asked += r2ts[asked].h.opcode == ISCSI_OP_R2T;
		assert_int_equal(asked, piece ? 3 : 2);
		sim_as(core_control(w.core), swap_delete, &a);
		world_pass(NS_PER_MS);
		assert_false(a.gone); /* as long as it is written to */
		sim_as(core_control(w.core), swap_add, &b);
		world_pass(NS_PER_MS);
		assert_true(b.added);
		until_ready();
		move_once();
		h.lun = 1ull << 48;
		all_refused(r2ts, asked, SWAP_WRITES);
		assert_true(a.gone);
		cmd = at_lun_1(host_rw(&h, false, 0, SWAP_BLOCKS));
		memset(in, 0xee, SWAP_BLOCKS * TEST_BLOCK);
		assert_int_equal(host_run(&h, &cmd, NULL, 0, 0, in, SWAP_BLOCKS * TEST_BLOCK), 0);
		memset(out, 0, SWAP_BLOCKS * TEST_BLOCK);
		assert_memory_equal(in, out, SWAP_BLOCKS * TEST_BLOCK);
		sim_as(core_control(w.core), swap_delete, &b);
		world_pass(NS_PER_MS);
		assert_true(b.gone);
		end();
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sessions_move_all_the_time), cmocka_unit_test(long_commands_move),
		cmocka_unit_test(a_lun_is_another_one_after_a_move),
	};

	log_set_level(LOG_ERROR);
	return cmocka_run_group_tests_name("iscsi_move", tests, NULL, NULL);
}
