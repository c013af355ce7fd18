/* SPDX-License-Identifier: BSD-3-Clause */
/* room_test.c: what waits for room that others have, and is woken when they give it back. */
#include "iscsi/conn_rig_test.h"

#include "net/sim/hogs.h"

#define LONG_BLOCKS 256u

static struct hogs hogs;

static struct gather_iovs *iovs_here(void)
{
	struct iscsi_home *home = iscsi_home_self(w.target->conns);

	return home->begun ? &home->iovs : NULL;
}

static void begin_hogs(void)
{
	assert_int_equal(write_blocks(0, LONG_BLOCKS + 8, 0, 1), 0);
	hogs_begin(&hogs, w.core, iovs_here);
	hogs_take_budget(&hogs);
}

static void send_command(bool write, uint32_t lba, uint32_t blocks)
{
	union iscsi_bhs b = host_rw(&h, write, lba, blocks);

	b.command.itt = be32_of(++h.itt);
	b.command.cmd_sn = be32_of(h.cmd_sn++);
	host_send_pdu(&h, &b, out, write ? blocks * TEST_BLOCK : 0);
	world_pass(NS_PER_MS);
}

static uint32_t answers(void)
{
	union iscsi_bhs b;
	uint32_t n = 0;

	while (host_recv(&h, &b, NULL, NULL, 10 * NS_PER_MS)) {
		bool data = b.h.opcode == ISCSI_OP_DATA_IN;

		assert_true(data || b.h.opcode == ISCSI_OP_RESPONSE);
		assert_int_equal(data ? 0 : b.response.status, 0);
		n += !data || (b.data_in.flags & ISCSI_STATUS);
	}
	return n;
}

/* Reads that find no room to describe what is lent wait, and one after the other is woken by what is given back. */
static void reads_wait_for_iovecs_and_pass(void **state)
{
	begin("");
	begin_hogs();
	hogs_take_iovs(&hogs);
	for (uint32_t i = 0; i < 3; i++)
		send_command(false, i, LONG_BLOCKS);
	assert_int_equal(answers(), 0);
	hogs_give_one(&hogs);
	assert_int_equal(answers(), 3);
	hogs_end(&hogs);
	check_blocks(0, LONG_BLOCKS, 1);
	end();
}

/* Who sends data for which there is no memory is read on when there is some: what he sends next waits. */
static void a_connection_beyond_the_budget_is_read_when_there_are_buffers(void **state)
{
	/* Data comes in pieces: it cannot stay where it was received. */
	const struct sim_net_opts net = { .latency_ns_min = 1000, .latency_ns_max = 2000, .buffer_bytes = 256 * 1024,
	                                  .chunk_bytes_max = 300 };
	uint32_t early;

	world_start(&w, 1, &net);
	host_ready(&h, &w, "iqn.2026-11.test:one", DIGESTS);
	begin_hogs();
	hogs_take_buffers(&hogs);
	for (uint32_t i = 0; i < 8; i++)
		send_command(true, i, 1);
	early = answers();
	assert_true(early < 8);
	hogs_give_all(&hogs);
	assert_int_equal(early + answers(), 8);
	hogs_end(&hogs);
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_wait_for_iovecs_and_pass),
		cmocka_unit_test(a_connection_beyond_the_budget_is_read_when_there_are_buffers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
