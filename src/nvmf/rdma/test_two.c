/* SPDX-License-Identifier: BSD-3-Clause */
/* test_two.c: a world with two queues. */
#include "nvmf/rdma/test_two.h"

struct test_world w;
struct host admin, io;
uint16_t cntlid;

void begin(const struct nvmf_transport_opts *opts)
{
	world_start(&w, 1, opts);
	host_ready(&admin, &w, 0, &cntlid);
	host_ready(&io, &w, 1, &cntlid);
}

void end(void)
{
	host_close(&io);
	host_close(&admin);
	world_pass(NS_PER_S);
	world_stop(&w);
}

void check_blocks(struct host *h, uint64_t lba, uint32_t blocks, uint32_t seed)
{
	assert_int_equal(host_read(h, lba, blocks), 0);
	assert_true(host_has(h, blocks, seed));
}

uint64_t count_of(const char *key) { return world_count(&w, key); }
void expect_conns(uint32_t count) { assert_true(world_conns_become(&w, count)); }
void expect_nothing_held(void) { assert_true(world_holds_nothing(&w)); }
bool has_ended(void *arg) { return ((struct host *)arg)->ended; }
