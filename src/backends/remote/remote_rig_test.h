/* SPDX-License-Identifier: BSD-3-Clause */
/* remote_rig_test.h: the core side alone, in the simulator, between a queue pair and a control side that are the
 * test's.
 *
 * Queue pairs only keep what they are given; the test looks at each command and answers it as it likes. Everything is
 * one thread: rig_as() runs a function as a reactor and lets the world settle.
 */
#ifndef REMOTE_REMOTE_RIG_TEST_H
#define REMOTE_REMOTE_RIG_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

#include "backends/remote/remote_core.h"
#include "core/sim/sim.h"

#define RIG_CORES 2u
#define RIG_PATHS 3u
#define RIG_HELD_MAX 512u
#define RIG_BLOCK 4096u
#define RIG_BLOCKS 100000u

/* The test's queue pair. */
struct nvme_qpair {
	struct rig *rig;
	uint32_t path, core;
	uint16_t qid;
	nvme_qpair_event_fn *ready, *gone;
	void (*timeout)(struct nvme_qpair *qp, struct nvme_op *op, void *arg);
	void *arg;
	bool is_ready, closed;
	bool nameless;                  /* opened before the controller was ready, and not told to log in yet */
	enum nvme_reason reason;
	struct nvme_op *held[RIG_HELD_MAX]; /* what was submitted and not answered, in order */
	uint32_t count;
	struct nvme_qpair *next;
};

struct rig {
	struct core *core;
	struct bdev_registry *reg;
	struct remote remote;
	struct remote_group group;
	struct remote_path paths[RIG_PATHS];
	struct remote_disk disk;
	struct version_publish publish;
	struct nvme_qpair *qpairs;
	struct bdev_desc *desc;
	struct bdev_channel *ch[RIG_CORES + 1];
	bool unregistered, holds_opening;   /* holds_opening: queue pairs become ready when the test says so */
	uint8_t access[RIG_PATHS];
	bool up[RIG_PATHS], hopeless;
	uint8_t preferred;
	struct nvme_ctrlr_info info[RIG_PATHS]; /* as of the next rig_up() */
	uint32_t refused[RIG_PATHS];
	uint32_t downs, replays, troubles[RIG_PATHS], anas, nss, opens, removed, aborts;
	enum nvme_reason reason;
	uint16_t abort_cid;
	uint16_t io_queues;
	struct nvme_op *admin;
};
extern struct rig *rig_now;

struct rig_io {
	struct bdev_io io;
	struct iovec iov[32];
	uint8_t buf[RIG_BLOCK * 4];
	bool done;
	struct rig *rig;
	uint32_t core;
};

void rig_start(struct rig *r);
void rig_start_seed(struct rig *r, uint64_t seed); /* the order in which reactors run */
void rig_stop(struct rig *r);
void rig_settle(struct rig *r);
void rig_time(struct rig *r, uint64_t ns);
/* Path and its lanes; the view. */
void rig_up(struct rig *r, uint32_t path);
void rig_early(struct rig *r, uint32_t path); /* followed by an up or a down */
void rig_down(struct rig *r, uint32_t path);
void rig_replay(struct rig *r, uint32_t path, uint32_t life);
void rig_publish(struct rig *r);
/* The queue pair of a path on a core; NULL: none is open. */
struct nvme_qpair *rig_qpair(struct rig *r, uint32_t path, uint32_t core);
/* What a path's queue pair on core 0 holds: how many commands, and the oldest. */
uint32_t rig_held(struct rig *r, uint32_t path);
struct nvme_op *rig_oldest(struct rig *r, uint32_t path);
void rig_ready(struct rig *r, struct nvme_qpair *qp);
/* Its Connect is refused. */
void rig_refuse(struct rig *r, struct nvme_qpair *qp);
/* The connection ends; `sent`: what it holds had gone out. */
void rig_cut(struct rig *r, struct nvme_qpair *qp, bool sent);
/* Answer the oldest command that it holds. */
void rig_answer(struct rig *r, struct nvme_qpair *qp, uint16_t status);
/* Start an I/O; one that takes data uses the buffer. */
void rig_io(struct rig *r, struct rig_io *io, uint32_t core, enum bdev_op op, uint64_t lba, uint64_t count);
void rig_io_go(struct rig *r, struct rig_io *io, uint32_t core);
static inline bool rig_is_ok(const struct rig_io *io) { return io->done && io->io.status == BDEV_ST_OK; }
bool rig_abort(struct rig *r, struct rig_io *io);
void rig_abort_done(struct rig *r, uint32_t dw0); /* the controller's answer to the Abort */
void rig_as(struct rig *r, uint32_t core, void (*fn)(void *arg), void *arg);

#endif
