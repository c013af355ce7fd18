/* SPDX-License-Identifier: BSD-3-Clause */
/* test_rig.h: a host and a scripted target with a simulated adapter each. For tests of src/nvme/rdma.
 *
 * The target behaves well until its script says otherwise; all of it lives on its control reactor. The host's
 * controller lives on its control reactor, the I/O queue pair on its reactor 0.
 */
#ifndef NVME_RDMA_TEST_RIG_H
#define NVME_RDMA_TEST_RIG_H

#include "core/mem.h"
#include "core/sim/sim.h"
#include "net/sim/sim_net.h"
#include "nvme/rdma/rdma.h"
#include "verbs/sim/sim_verbs.h"
#include "wire/nvme_rdma.h"

#define RIG_NQN "nqn.2026-01.io.gantry:scripted"
#define RIG_BLOCK 512u
#define RIG_DISK_BYTES (4u << 20)
#define RIG_DEPTH 64u
#define RIG_CAPSULE (64u + 4096u)
#define RIG_OPS 256u
#define RIG_PEERS 16u

enum rig_accept { RIG_ACCEPT, RIG_REJECT, RIG_IGNORE, RIG_ACCEPT_FORMAT, RIG_ACCEPT_AND_CLOSE };

struct rig;
struct rig_command {            /* one that came, by receive */
	struct rig_peer *peer;
	struct timer later;
	uint32_t index, reads_left;
};
struct rig_peer {               /* a connection, as the target has it */
	struct rig *rig;
	struct verbs_conn *conn;
	struct verbs_mem mem;   /* capsules, then answers */
	struct rig_command commands[RIG_DEPTH];
	struct verbs_recv recvs[RIG_DEPTH];
	struct verbs_sge sges[RIG_DEPTH];
	struct nvme_rdma_cm_req req;
	uint32_t came, answered; /* commands after Connect; answers sent */
	uint16_t qid;
	bool connected, broken;
};

struct rig_op {
	struct nvme_op op;
	struct rig *rig;
	struct mem_bufs bufs;   /* registered memory, or: */
	uint8_t *heap;
	struct iovec iov;
	uint32_t seed, ends;
	bool check;             /* a read: what was written with `seed` */
	uint16_t status;
	bool sent;
};

struct rig {
	struct core *target_core, *host_core;
	struct sim_adapter *target_adapter, *host_adapter;
	struct sim_adapter_opts host_has;
	/* The target. */
	enum rig_accept accept, accept_io;
	uint16_t reject_sts, crqsize;
	bool (*hook)(struct rig_peer *p, uint32_t index, const struct nvme_sqe *cmd); /* true: it was dealt with */
	struct verbs *v;
	struct verbs_dev *dev;
	struct verbs_watcher watcher;
	struct verbs_listener *listener;
	struct verbs_cq *cq;
	struct verbs_mem disk;
	struct rig_peer *peers[RIG_PEERS];
	uint32_t peer_count, keyed, lists, in_capsule; /* how data was told of */
	uint32_t cc;
	struct nvme_id_ctrl id;
	struct nvme_id_ns ns;
	struct sim_key *key;    /* of rig_invalidate() */
	uint8_t key_bytes[4096];
	/* The host. */
	const char *traddr, *trsvcid; /* instead of the target's */
	uint64_t memory_bytes;  /* of the host; 0: 64 MiB */
	bool no_wait;           /* rig_begin() does not wait for the controller */
	struct nvme_path path;
	struct nvme_host_opts opts;
	struct nvme_host *host;
	struct nvme_ctrlr *ctrlr;
	struct nvme_qpair *qp;
	bool ctrlr_ready, qp_ready, closed, qp_closed, idle;
	uint32_t gone, ctrlr_gone;
	struct err err, qp_err;
	enum nvme_reason reason, qp_reason;
	struct rig_op *ops[RIG_OPS];
	uint32_t submitted, ended, wrong_bytes, op_bytes;
	bool ended_by_us;       /* the connection: there is no other reason for commands to fail */
	uint32_t too_early;     /* commands that came back when it still stood */
	bool op_heap;           /* memory that is not registered */
	uint32_t op_skip;       /* bytes of the iovecs before a command's data */
};

/* Until the controller is ready or failed. */
void rig_begin(struct rig *r, uint64_t seed);
/* And an I/O queue pair, until it is ready or failed. */
void rig_begin_io(struct rig *r, uint64_t seed);
void rig_end(struct rig *r);
void rig_on_host(struct rig *r, void (*fn)(void *arg));    /* reactor 0 */
void rig_on_control(struct rig *r, void (*fn)(void *arg)); /* the host's */
void rig_on_target(struct rig *r, void (*fn)(void *arg));

/* The target's voice. */
void rig_answer(struct rig_peer *p, uint32_t index, uint64_t value, uint16_t status);
void rig_answer_cid(struct rig_peer *p, uint32_t index, uint16_t cid);
void rig_say(struct rig_peer *p, uint32_t index, uint32_t len); /* of the capsule's answer place, `len` bytes */
void rig_say_bytes(struct rig_peer *p, uint32_t index, const void *bytes, uint32_t len); /* up to two answers' */
void rig_write_to(struct rig_peer *p, uint32_t index, const struct nvme_sgl *sgl);
void rig_invalidate(struct rig_peer *p, uint32_t index); /* answers, and invalidates a key of the host's */
/* After up to a few hundred microseconds. */
void rig_behave_later(struct rig_peer *p, uint32_t index);
void rig_behave(struct rig_peer *p, uint32_t index, const struct nvme_sqe *cmd);
struct rig_peer *rig_io_peer(struct rig *r); /* NULL: none */

/* The host's; for rig_on_host(). */
void rig_qp_open(void *rig);
void rig_qp_close(void *rig);
void rig_read(void *rig);  /* of op_bytes, of what was written before */
void rig_write(void *rig);
struct rig_op *rig_op_make(struct rig *r, uint8_t opc, uint32_t len, uint64_t lba);

bool rig_is_ready(void *rig);
bool rig_is_qp_ready(void *rig);
bool rig_is_qp_closed(void *rig);
bool rig_all_ended(void *rig);
bool rig_is_gone(void *rig);       /* the queue pair's end was told */
bool rig_has_err(void *rig);       /* the controller's */

#endif
