/* SPDX-License-Identifier: BSD-3-Clause */
/* room_test.c: what waits for room that others have, and is woken when they give it back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "net/sim/hogs.h"
#include "nvmf/target.h"
#include "nvmf/tcp/tcp.h"
#include "nvmf/tcp/test_world.h"

#define LONG_BLOCKS 256u

static struct test_world w;
static struct host admin, io;
static struct hogs hogs;

static struct gather_iovs *iovs_here(void)
{
	struct tcp_home *home = tcp_home_self(tcp_of(w.transport));

	return home->begun ? &home->iovs : NULL;
}

/* Capsules come in pieces: their data cannot stay where it was received. */
static void begin(uint8_t dgst)
{
	const struct sim_net_opts net = { .latency_ns_min = 1000, .latency_ns_max = 2000, .buffer_bytes = 256 * 1024,
	                                  .chunk_bytes_max = 300 };
	uint16_t cntlid;

	world_start(&w, 1, &net, NULL);
	w.transport = nvmf_target_transport(w.target, "TCP");
	host_ready(&admin, &w, 0, dgst, 0, &cntlid);
	host_ready(&io, &w, 0, dgst, 1, &cntlid);
	hogs_begin(&hogs, w.core, iovs_here);
	hogs_take_budget(&hogs);
}

static void end(void)
{
	hogs_end(&hogs);
	host_close(&io);
	host_close(&admin);
	world_pass(NS_PER_S);
	world_stop(&w);
}

static uint32_t answers(void)
{
	union nvme_tcp_pdu pdu;
	uint32_t n = 0;

	while (host_recv(&io, &pdu, NULL, NULL, 10 * NS_PER_MS)) {
		assert_true(pdu.h.type == NVME_TCP_RSP || pdu.h.type == NVME_TCP_C2HDATA);
		assert_true(pdu.h.type != NVME_TCP_RSP || !nvme_cqe_status(&pdu.rsp.cqe));
		n += pdu.h.type == NVME_TCP_RSP || (pdu.h.flags & NVME_TCP_SUCCESS);
	}
	return n;
}

/* Reads that find no room to describe what is lent wait, and one after the other is woken by what is given back. */
static void reads_wait_for_iovecs_and_pass(void **state)
{
	begin(0);
	hogs_take_iovs(&hogs);
	for (uint32_t i = 0; i < 3; i++) {
		struct nvme_sqe sqe = host_rw(NVME_CMD_READ, i, LONG_BLOCKS);

		sqe.sgl1.length = le32_of(LONG_BLOCKS * TEST_BLOCK);
		sqe.sgl1.id = NVME_SGL_ID(NVME_SGL_TRANSPORT_DATA_BLOCK, NVME_SGL_TRANSPORT);
		host_command(&io, &sqe, NULL, 0);
	}
	assert_int_equal(answers(), 0);
	hogs_give_one(&hogs);
	assert_int_equal(answers(), 3);
	end();
}

/* Who sends data for which there is no memory is read on when there is some: what he sends next waits. */
static void a_connection_beyond_the_budget_is_read_when_there_are_buffers(void **state)
{
	static uint8_t data[TEST_BLOCK];
	uint32_t early;

	begin(NVME_TCP_DGST_DATA);
	hogs_take_buffers(&hogs);
	for (uint32_t i = 0; i < 8; i++) {
		struct nvme_sqe sqe = host_rw(NVME_CMD_WRITE, i, 1);

		sqe.sgl1.length = le32_of(TEST_BLOCK);
		sqe.sgl1.id = NVME_SGL_ID(NVME_SGL_DATA_BLOCK, NVME_SGL_OFFSET);
		host_command(&io, &sqe, data, TEST_BLOCK);
		world_pass(NS_PER_MS);
	}
	early = answers();
	assert_true(early < 8);
	hogs_give_all(&hogs);
	assert_int_equal(early + answers(), 8);
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
