/* SPDX-License-Identifier: BSD-3-Clause */
/* conn_rig_test.h: one raw initiator and a whole target with a RAM disk, in the simulator; what is written is read. */
#ifndef ISCSI_CONN_RIG_TEST_H
#define ISCSI_CONN_RIG_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "iscsi/conn.h"
#include "iscsi/test_world.h"

#define DIGESTS "HeaderDigest=CRC32C\nDataDigest=CRC32C\n"

static struct test_world w;
static struct host h;
static uint8_t out[TEST_BLOCKS * TEST_BLOCK], in[TEST_BLOCKS * TEST_BLOCK];

static void fill(uint8_t *p, uint32_t len, uint32_t seed)
{
	for (uint32_t i = 0; i < len; i++)
		p[i] = (uint8_t)(i * 31 + (i >> 9) * 7 + seed);
}

static void begin(const char *keys)
{
	world_start(&w, 1, NULL);
	host_ready(&h, &w, "iqn.2026-11.test:one", keys);
}

static void end(void)
{
	host_close(&h);
	world_pass(NS_PER_S);
	assert_int_equal(sim_net_connections(), 0);
	world_stop(&w);
	memset(&w, 0, sizeof(w));
}

static uint16_t write_blocks(uint32_t lba, uint32_t blocks, uint32_t immediate, uint32_t seed)
{
	const union iscsi_bhs cmd = host_rw(&h, true, lba, blocks);

	fill(out, blocks * TEST_BLOCK, seed);
	return host_run(&h, &cmd, out, blocks * TEST_BLOCK, immediate, NULL, 0);
}

static void check_blocks(uint32_t lba, uint32_t blocks, uint32_t seed)
{
	const union iscsi_bhs cmd = host_rw(&h, false, lba, blocks);

	memset(in, 0xee, blocks * TEST_BLOCK);
	assert_int_equal(host_run(&h, &cmd, NULL, 0, 0, in, blocks * TEST_BLOCK), 0);
	fill(out, blocks * TEST_BLOCK, seed);
	assert_memory_equal(out, in, blocks * TEST_BLOCK);
}

#endif
