/* SPDX-License-Identifier: BSD-3-Clause */
/* test_rig.h: a host in a simulated world, and a scripted target that behaves well until its script says otherwise.
 * For tests of src/nvme.
 */
#ifndef NVME_TEST_RIG_H
#define NVME_TEST_RIG_H

#include "core/sim/sim.h"
#include "fabric/fabric.h"
#include "net/sim/sim_net.h"
#include "nvme/nvme.h"

#define RIG_NQN "nqn.2026-01.io.gantry:scripted"
#define RIG_BLOCK 512u
#define RIG_OPS 32u
#define RIG_OP_BYTES (64u * 1024)
#define RIG_OP_SKIP 100u        /* bytes of its memory before a command's data */
#define RIG_PEERS 8u
#define RIG_WHOLE (NVME_TCP_LAST | NVME_TCP_SUCCESS)

struct rig;

struct rig_peer {               /* a connection, as the target has it */
	struct rig *rig;
	struct sock *sock;
	struct fabric_rx rx;
	struct nvme_tcp_framing tx;
	bool last_came;         /* of the write whose data comes */
	uint16_t qid;
	bool connected;
	uint16_t cid;           /* of that write */
	uint32_t commands;      /* after Connect */
	uint16_t event_cids[8]; /* of asynchronous event requests */
	uint32_t events;
};

struct rig_op {
	struct nvme_op op;
	struct rig *rig;
	struct iovec iovs[2];
	uint8_t *buf;
	uint32_t ends;
};

struct rig {
	struct core *target_core, *host_core;
	/* The target. */
	bool deaf;              /* takes connections, reads nothing */
	bool (*hook)(struct rig_peer *p, const struct nvme_sqe *cmd); /* true: it was dealt with */
	struct listener *listener;
	struct rig_peer peers[RIG_PEERS];
	uint32_t peer_count, written, wrong_bytes;
	uint16_t term_fes;              /* of the last H2CTermReq */
	uint64_t cap;
	uint32_t cc, csts;      /* csts: instead of what follows from cc, when not 0 */
	uint32_t namespaces, stride; /* ids 1, 1 + stride, ... */
	struct nvme_id_ctrl id;
	struct nvme_id_ns ns;
	uint8_t descs[NVME_IDENTIFY_SIZE];
	const uint8_t *log;
	uint32_t log_len, log_reads, keep_alives;
	/* The host. */
	struct nvme_path path;
	struct nvme_host_opts opts;
	struct nvme_host *host;
	struct nvme_ctrlr *ctrlr;
	struct nvme_qpair *qp;
	bool hold_open;         /* do not open the controller in rig_begin() */
	bool ctrlr_ready, qp_ready, closed;
	uint32_t gone;          /* how often the queue pair's end was told */
	uint32_t ctrlr_gone;
	struct err err, qp_err;
	enum nvme_reason qp_reason;
	struct rig_op *ops[RIG_OPS];
	uint32_t submitted, ended;
	uint32_t close_at;      /* close the queue pair from within the end of the n-th command */
};

/* The world: `seed` and how connects go. Until the controller is ready or failed. */
void rig_begin(struct rig *r, uint64_t seed, enum sim_net_connect connect);
/* And an I/O queue pair. */
void rig_begin_io(struct rig *r, uint64_t seed);
void rig_end(struct rig *r);
void rig_on_host(struct rig *r, void (*fn)(void *arg));
void rig_on_target(struct rig *r, void (*fn)(void *arg));

/* The target's voice. */
void rig_say(struct rig_peer *p, const void *bytes, uint32_t len);
void rig_answer(struct rig_peer *p, uint16_t cid, uint64_t value, uint16_t status);
void rig_give(struct rig_peer *p, uint16_t cid, const void *data, uint32_t offset, uint32_t len, uint8_t flags,
              bool wrong_digest);
void rig_ask(struct rig_peer *p, uint16_t cid, uint32_t offset, uint32_t len, uint32_t times);
void rig_bye(struct rig_peer *p);
/* What a good target does with it. */
void rig_behave(struct rig_peer *p, const struct nvme_sqe *cmd);
/* Its admin queue; NULL: none stands. */
struct rig_peer *rig_admin(struct rig *r);

/* The host's; for rig_on_host(). */
void rig_open(void *rig);
void rig_qp_open(void *rig);
void rig_close(void *rig);
void rig_read(void *rig);
void rig_write(void *rig);
void rig_reads(void *rig); /* eight */
struct rig_op *rig_op_make(struct rig *r, uint8_t opc, uint32_t len); /* to be submitted once */

/* For sim_run(). */
bool rig_is_ready(void *rig);
bool rig_is_qp_ready(void *rig);
bool rig_is_closed(void *rig);
bool rig_all_ended(void *rig);
bool rig_has_err(void *rig);

#endif
