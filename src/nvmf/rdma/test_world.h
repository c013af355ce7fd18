/* SPDX-License-Identifier: BSD-3-Clause */
/* test_world.h: a target with a RAM disk (namespace 1) and a null disk (2) behind a simulated adapter, and raw hosts
 * behind another one, which post what they like. */
#ifndef NVMF_RDMA_TEST_WORLD_H
#define NVMF_RDMA_TEST_WORLD_H

#include "net/sim/peer.h"
#include "nvmf/nvmf.h"
#include "nvmf/test_serve.h"
#include "verbs/sim/sim_verbs.h"
#include "wire/nvme_rdma.h"

#define TEST_NQN "nqn.2026-01.io.gantry:test"
#define TEST_BLOCK 512u
#define TEST_BLOCKS 16384u
#define TEST_ADDRESS "10.0.0.1"
#define HOST_ADDRESS "10.0.0.2"
#define HOST_CAPSULE (64u + 16384u)
#define HOST_SLOTS 192u                /* capsules and receives of a host */
#define HOST_DATA (4u << 20)           /* memory that the target may be given */
#define HOST_ANSWERS 4096u

struct test_world {
	struct core *core, *host_core;
	struct sim_adapter *adapter, *host_adapter;
	struct bdev_registry *reg;
	struct nvmf_target *target;
	struct nvmf_transport *transport;  /* for the tests' eyes */
	struct nvmf_transport_opts opts;
	struct sim_adapter_opts target_adapter, peer_adapter; /* before world_start(), if set: name */
	struct sim_verbs_opts wire;        /* the same */
	struct test_serve serve;
	uint32_t cores;
	uint64_t memory_bytes;
	bool small_hosts;                  /* there are many: little memory each */
	struct test_md {                   /* of both disks' blocks */
		uint32_t size;             /* 0: none */
		uint8_t dif_type;
		bool apart, head;          /* apart: the RAM disk's are not behind its data; head: protection is in front */
	} md;
	bool serving, stopped;
	/* the hosts' */
	struct verbs *verbs;
	struct verbs_watcher watcher;
	struct verbs_dev *dev;
	struct verbs_cq *cq;
	bool host_ready, host_stopped;
};

extern const struct nvmf_transport_opts world_opts;
/* NULL: world_opts. w->cores, memory_bytes and the adapters' options count if they are set. */
void world_start(struct test_world *w, uint64_t seed, const struct nvmf_transport_opts *opts);
/* Hosts are closed. Takes everything down; nothing may be left. */
void world_stop(struct test_world *w);
void world_stop_target(struct test_world *w);
void world_end(struct test_world *w);
void world_pass(uint64_t ns);
/* A counter of the transport, of all cores; its connections; until there are so many; what is to be so when nobody does
 * anything: no buffer is held, nobody waits, every shared receive is posted. */
uint64_t world_count(struct test_world *w, const char *key);
uint32_t world_conns(struct test_world *w);
bool world_conns_become(struct test_world *w, uint32_t count);
bool world_holds_nothing(struct test_world *w);
uint32_t world_receives_held(struct test_world *w); /* shared ones that are not posted */

struct host {
	struct test_world *w;
	struct verbs_conn *vc;
	struct verbs_mem mem;             /* capsules, then receives */
	struct sim_key *key;              /* of `data` */
	uint8_t *data;
	uint32_t slots, data_len, rkey;
	struct verbs_params params;       /* of verbs_connect() */
	struct nvme_rdma_cm_req req;
	bool resolved, established, rejected, unreachable, ended, closed, no_receives;
	uint16_t reject_status, crqsize;
	uint16_t cid;
	uint32_t sent, send_failures;
	uint8_t last_failure;
	struct nvme_cqe answers[HOST_ANSWERS];
	uint32_t invalidated[HOST_ANSWERS];
	uint32_t answer_count, answers_read;
	/* of what is being posted */
	const void *bytes;
	uint32_t len;
	int rc;
};

/* Connect: with what a good host says, unless h->req and h->params are changed between the two. True: established. */
void host_init(struct host *h, struct test_world *w, uint16_t qid, uint16_t entries);
bool host_connect_rdma(struct host *h);
void host_begin_rdma(struct host *h);                      /* and does not wait */
void host_close(struct host *h);

/* Descriptors. */
struct nvme_sgl host_keyed(const struct host *h, uint32_t at, uint32_t len, bool invalidate);
struct nvme_sgl host_in_capsule(uint32_t at, uint32_t len);
struct nvme_sgl host_list(uint32_t at, uint32_t count);

/* Post a capsule: the command as it is, but for cid and flags, and data behind it. */
void host_command(struct host *h, struct nvme_sqe *sqe, const void *data, uint32_t len);
void host_raw(struct host *h, const void *bytes, uint32_t len);
/* The next answer; false: none within `ns`. */
bool host_answer(struct host *h, struct nvme_cqe *ret_cqe, uint64_t ns);
/* Both: its status; UINT16_MAX: none came. */
uint16_t host_run(struct host *h, struct nvme_sqe *sqe, const void *data, uint32_t len);
void host_begin_connect(struct host *h, uint16_t qid, uint16_t cntlid);
uint16_t host_connect(struct host *h, uint16_t qid, uint16_t cntlid, uint16_t *ret_cntlid);
/* Connected and, for an admin queue, enabled. */
void host_ready(struct host *h, struct test_world *w, uint16_t qid, uint16_t *cntlid);
/* A pattern, from and to the host's memory by its key; is it there, and nothing behind it? */
void host_fill(uint8_t *p, uint32_t len, uint32_t seed);
uint16_t host_write(struct host *h, uint64_t lba, uint32_t blocks, uint32_t seed);
uint16_t host_read(struct host *h, uint64_t lba, uint32_t blocks);
bool host_has(const struct host *h, uint32_t blocks, uint32_t seed);
struct nvme_sqe host_rw(uint8_t opc, uint64_t lba, uint32_t blocks);

#endif
