/* SPDX-License-Identifier: BSD-3-Clause */
/* rdma_test.c: conversations between raw hosts and a whole target with a RAM disk over simulated adapters: what a
 * well-behaved host gets, and what each kind of ill-behaved one.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "core/log.h"
#include "core/mem.h"
#include "nvmf/rdma/rdma.h"
#include "nvmf/rdma/test_world.h"
#include "nvmf/target.h"

static struct test_world w;
static struct host admin, io;
static uint16_t cntlid;
static uint8_t pattern[1u << 20];

static void fill(uint8_t *p, uint32_t len, uint32_t seed)
{
	for (uint32_t i = 0; i < len; i++)
		p[i] = (uint8_t)(i * 31 + (i >> 9) * 7 + seed);
}

static void begin(const struct nvmf_transport_opts *opts)
{
	world_start(&w, 1, opts);
	host_ready(&admin, &w, 0, &cntlid);
	host_ready(&io, &w, 1, &cntlid);
}

static void end(void)
{
	host_close(&io);
	host_close(&admin);
	world_pass(NS_PER_S);
	world_stop(&w);
}

/* From and to the host's memory, by its key. */
static uint16_t write_blocks(struct host *h, uint64_t lba, uint32_t blocks, uint32_t seed)
{
	struct nvme_sqe sqe = host_rw(NVME_CMD_WRITE, lba, blocks);

	fill(h->data, blocks * TEST_BLOCK, seed);
	sqe.sgl1 = host_keyed(h, 0, blocks * TEST_BLOCK, false);
	return host_run(h, &sqe, NULL, 0);
}

static uint16_t write_in_capsule(struct host *h, uint64_t lba, uint32_t blocks, uint32_t at, uint32_t seed)
{
	struct nvme_sqe sqe = host_rw(NVME_CMD_WRITE, lba, blocks);
	uint8_t data[16384] = { 0 };

	fill(data + at, blocks * TEST_BLOCK, seed);
	sqe.sgl1 = host_in_capsule(at, blocks * TEST_BLOCK);
	return host_run(h, &sqe, data, at + blocks * TEST_BLOCK);
}

static uint16_t read_blocks(struct host *h, uint64_t lba, uint32_t blocks)
{
	struct nvme_sqe sqe = host_rw(NVME_CMD_READ, lba, blocks);

	memset(h->data, 0xee, blocks * TEST_BLOCK + 4096);
	sqe.sgl1 = host_keyed(h, 0, blocks * TEST_BLOCK, false);
	return host_run(h, &sqe, NULL, 0);
}

static void check_blocks(struct host *h, uint64_t lba, uint32_t blocks, uint32_t seed)
{
	assert_int_equal(read_blocks(h, lba, blocks), 0);
	fill(pattern, blocks * TEST_BLOCK, seed);
	assert_memory_equal(pattern, h->data, blocks * TEST_BLOCK);
	assert_int_equal(h->data[blocks * TEST_BLOCK], 0xee);
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
			assert_int_equal(write_blocks(&io, 3 + s, sizes[s], (uint32_t)s), 0);
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_written_is_read),
		cmocka_unit_test(identify_comes_whole),
	};

	log_set_level(LOG_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
