/* SPDX-License-Identifier: BSD-3-Clause */
/* test_world.h: a target with a RAM disk in a simulated world, and raw hosts that speak to it byte by byte. */
#ifndef NVMF_TCP_TEST_WORLD_H
#define NVMF_TCP_TEST_WORLD_H

#include "fabric/fabric.h"
#include "net/sim/peer.h"
#include "nvmf/nvmf.h"
#include "nvmf/test_serve.h"

#define TEST_NQN "nqn.2026-01.io.gantry:test"
#define TEST_BLOCK 512u
#define TEST_BLOCKS 4096u
#define HOST_IN_BYTES (4u << 20)

struct test_world {
	struct core *core, *host_core;
	struct bdev_registry *reg;
	struct nvmf_target *target;
	struct nvmf_transport *transport;  /* for the tests' eyes */
	struct nvmf_transport_opts opts;
	bool protected;               /* set before: a second namespace, with protection information; for good */
	struct test_serve serve;
	uint32_t cores;
	bool serving, stopped;
	uint16_t fuzz_cntlid;
};

/* NULL: a plain network, world_opts. w->cores, if set, says how many cores the target has. */
void world_start(struct test_world *w, uint64_t seed, const struct sim_net_opts *net,
                 const struct nvmf_transport_opts *opts);
void world_stop(struct test_world *w);
/* Let the world go on for a while. */
void world_pass(uint64_t ns);
extern const struct nvmf_transport_opts world_opts;

/* A connection as a host has it. */
struct host {
	struct test_world *w;
	struct sim_peer peer;
	struct nvme_tcp_framing framing;
	struct fabric_rx rx;
	uint16_t cid;
};

void host_open(struct host *h, struct test_world *w);
void host_close(struct host *h);
void host_send(struct host *h, const void *bytes, uint32_t len);
/* The next PDU, whole; false: the connection ended, or nothing came within `ns`. Data lies in *ret_data. */
bool host_recv(struct host *h, union nvme_tcp_pdu *ret_pdu, const uint8_t **ret_data, uint32_t *ret_len, uint64_t ns);

/* ICReq and ICResp. */
bool host_hello(struct host *h, uint8_t hpda, uint8_t dgst);
/* A command with its data in the capsule, or none. */
void host_command(struct host *h, struct nvme_sqe *sqe, const void *data, uint32_t len);
/* Send it and wait for its completion; what data came is copied to `to`. Answers R2Ts with `data`. The status. */
uint16_t host_run(struct host *h, struct nvme_sqe *sqe, const void *data, uint32_t len, bool in_capsule, void *to,
                  uint32_t to_len);
void host_h2c_data(struct host *h, uint16_t cid, uint16_t ttag, uint32_t off, const void *data, uint32_t len,
                   bool last);
uint16_t host_connect(struct host *h, uint16_t qid, uint16_t cntlid, uint16_t *ret_cntlid);
/* Hello, Connect and, for an admin queue, enable. */
void host_ready(struct host *h, struct test_world *w, uint8_t hpda, uint8_t dgst, uint16_t qid, uint16_t *cntlid);
struct nvme_sqe host_rw(uint8_t opc, uint64_t lba, uint32_t blocks);

#endif
