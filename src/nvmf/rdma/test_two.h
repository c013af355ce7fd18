/* SPDX-License-Identifier: BSD-3-Clause */
/* test_two.h: the world that most conversations are in: one target, a host with one controller, an admin queue and an
 * I/O queue. Asserts with cmocka. */
#ifndef NVMF_RDMA_TEST_TWO_H
#define NVMF_RDMA_TEST_TWO_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "nvmf/rdma/test_world.h"

extern struct test_world w;
extern struct host admin, io;
extern uint16_t cntlid;

/* NULL: world_opts. */
void begin(const struct nvmf_transport_opts *opts);
void end(void);
void check_blocks(struct host *h, uint64_t lba, uint32_t blocks, uint32_t seed);
uint64_t count_of(const char *key);
/* Until only so many are left. */
void expect_conns(uint32_t count);
void expect_nothing_held(void);
bool has_ended(void *arg);

#endif
