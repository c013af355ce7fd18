/* SPDX-License-Identifier: BSD-3-Clause */
/* remote_core.h: what the core side's own files share; control never looks at it.
 *
 * The way of an I/O:  remote_submit   makes the command             remote_io.c, remote_cmd.c
 *                     remote_go       a lane is chosen, or a line   remote_io.c, remote_select.c
 *                     remote_lane_run its queue pair, or another core's   remote_lane.c, remote_forward.c
 *                     remote_ended    answered, or failed with its path   remote_io.c
 *                     remote_end      told to the waist
 */
#ifndef BACKENDS_REMOTE_REMOTE_CORE_H
#define BACKENDS_REMOTE_REMOTE_CORE_H

#include "backends/remote/remote_priv.h"

/* --- remote_status.c: what to do with a status -------------------------------------------------------------- */

enum remote_verdict {
	REMOTE_FINAL,           /* that is the answer */
	REMOTE_AGAIN,           /* the same may well work now */
	REMOTE_AGAIN_LATER,     /* ... after a while */
	REMOTE_OTHER_PATH,      /* this path cannot, another may */
	REMOTE_OTHER_ANA,       /* the same, and access states have changed */
};
struct remote_status_row {
	uint8_t status;         /* enum bdev_status, when it is the end of it */
	uint8_t verdict;        /* without DNR; with it all are final */
	bool ns_changed;        /* control looks at the namespaces */
};
/* `status`: an enum nvme_status without flags, of an I/O command. */
const struct remote_status_row *remote_status_of(uint16_t status);

/* --- remote_cmd.c: commands --------------------------------------------------------------------------------- */

/* Everything but plain reads and writes: the command that is next, from r->at on. BDEV_ST_OK: r->op is ready.
 * Anything else ends the I/O. *ret_nothing: nothing is left to do. */
enum bdev_status remote_make_command(struct remote_channel *c, struct remote_io *r, bool *ret_nothing);
/* A read, write or comparison: of what is left of it, from r->at on, as much as one command of `bytes_max` carries.
 * False: not a block. */
bool remote_make_part(struct remote_channel *c, struct remote_io *r, uint32_t bytes_max);
/* The command of a read or write of `count` blocks, the first of which is `at` blocks into the I/O. */
static inline struct nvme_sqe remote_rw_cmd(const struct remote_channel *c, const struct bdev_io *io, uint64_t at,
                                            uint32_t count)
{
	struct nvme_sqe cmd = nvme_sqe_rw(io->op == BDEV_WRITE ? NVME_CMD_WRITE : NVME_CMD_READ, c->disk->nsid,
	                                  io->lba + at, count);

	if (unlikely(io->flags & BDEV_IO_FUA))
		cmd.rw.control = le16_of(NVME_RW_FUA);
	if (unlikely(c->disk->prchk)) {
		cmd.rw.control = le16_of(c->disk->prchk | (io->flags & BDEV_IO_FUA ? NVME_RW_FUA : 0));
		/* of type 2 it is what the I/O says, if it does */
		cmd.rw.ilbrt = le32_of((io->flags & BDEV_IO_PRCHK_REFTAG ? io->ref_tag : (uint32_t)io->lba) + (uint32_t)at);
	}
	return cmd;
}
static inline bool remote_is_fused(const struct remote_io *r) { return r->io->op == BDEV_COMPARE_AND_WRITE; }

/* --- remote_io.c -------------------------------------------------------------------------------------------- */

static inline bool remote_is_removed(const struct remote_channel *c)
{
	return atomic_load_explicit(&c->disk->bdev.removing, memory_order_relaxed);
}
/* To a lane, or in line for one. */
void remote_go(struct remote_channel *c, struct remote_io *r);
/* The same for one that has been out or waited: its lease is looked at first. */
void remote_go_again(struct remote_channel *c, struct remote_io *r);
void remote_go_after_loss(struct remote_channel *c, struct remote_io *r); /* its connection ended while it was out */
/* An I/O's only command: no half of a fused pair, no command of a person's. */
bool remote_op_is_whole(const struct nvme_op *op);
/* Hand the command to a queue pair of the calling core; `done` runs when it, or both halves of a pair, came back. */
void remote_hand_over(struct remote_io *r, struct nvme_qpair *qp, nvme_op_fn *done);
/* It came back to the I/O's own core. */
void remote_ended(struct remote_io *r);
void remote_end(struct remote_io *r, enum bdev_status st);

/* --- remote_wait.c: what waits in a channel, and the injected ----------------------------------------------- */

void remote_wait_path(struct remote_channel *c, struct remote_io *r);
void remote_wait_later(struct remote_channel *c, struct remote_io *r, uint64_t delay_ns);
/* Out of the list it waits in. */
void remote_unwait(struct remote_io *r);
/* Everyone in line looks again. */
void remote_line_run(struct remote_channel *c);
/* The path answered that it cannot: not again before some time has passed. */
void remote_avoid(struct remote_channel *c, uint8_t path);
/* End what waits for a path or for its time. */
void remote_waiting_end(struct remote_channel *c, enum bdev_status st);
/* True: a fault was asked for, and has taken the I/O. */
bool remote_injected(struct remote_lane *l, struct remote_io *r);

/* --- remote_select.c ---------------------------------------------------------------------------------------- */

/* NULL: none can be used now. */
struct remote_lane *remote_choose(struct remote_channel *c);
const struct remote_view_disk *remote_view_disk_of(const struct remote_channel *c); /* NULL: not in the view */

/* --- remote_lane.c ------------------------------------------------------------------------------------------ */

static inline struct remote_group_core *remote_core_of(const struct remote_lane *l)
{
	return &l->path->group->cores[l->core_index];
}
/* Lanes from there on have no queue of their own. */
static inline uint32_t remote_lane_queues(const struct remote_lane *l) { return max_u32(1, l->path->login.io_queues); }
static inline bool remote_lane_usable(const struct remote_lane *l) { return l->state == REMOTE_LANE_OPEN_STATE; }
struct reactor *remote_lane_reactor(const struct remote_lane *l);
/* Somebody wants it now. It stays open until control takes the path down: a target may still know a queue whose
 * connection has just been closed, and would refuse it. */
void remote_lane_want(struct remote_lane *l);
/* An I/O came back failed by the connection. */
void remote_lane_lost(struct remote_lane *l);
/* No channel of this core's goes this way any more. */
void remote_lane_forget(struct remote_lane *l);
void remote_lane_news(struct remote_lane *l, uint32_t news);
#define REMOTE_NEWS_TROUBLE 0x1u
#define REMOTE_NEWS_OPENED  0x2u
#define REMOTE_NEWS_ANA     0x4u
#define REMOTE_NEWS_NS      0x8u
#define REMOTE_NEWS_REFUSED 0x10u
void remote_lane_set_state(struct remote_lane *l, enum remote_lane_state public);
void remote_lane_opened(struct remote_lane *l); /* by its queue pair, or by `via` */
void remote_lane_trouble(struct remote_lane *l, enum nvme_reason reason, const struct err *e);
/* What a queue pair that is made now needs: the path's, with the keys of now. */
struct nvme_login remote_lane_login(const struct remote_lane *l);
/* A new queue pair, of this core, with the callbacks of this lane. */
struct nvme_qpair *remote_lane_connect(struct remote_lane *l, const struct nvme_login *login);
/* Ask the controller to end a command early. False: another one is being asked for. */
bool remote_lane_abort(struct remote_lane *l, uint16_t cid, bool late);
/* On the core of its queue pair: one that took too long is over. */
static inline void remote_late_ended(struct remote_io *r)
{
	if (unlikely(r->timed_out))
		list_del(&r->link);
}
/* Nothing is away any more: a lane that is to go down may be. */
void remote_lane_look_down(struct remote_lane *l);

/* --- remote_next.c: the queue pair that a lane will have ------------------------------------------------------ */

void remote_next_early(struct msg *m);
/* An up: what was made early may be kept. */
void remote_next_up(struct remote_lane *l);
void remote_next_close(struct remote_lane *l);
/* True: there is one, and it logs in as the lane's. */
bool remote_next_take(struct remote_lane *l, const struct nvme_login *login);
/* `next` is ready, or has ended. */
void remote_next_told(struct remote_lane *l, const struct err *e);
/* The lane's own could not be made: another core's is used for now. */
void remote_lane_refused(struct remote_lane *l, enum nvme_reason reason, const struct err *e);
/* Does `via` still take anything? Else another one is looked for. */
void remote_lane_look_via(struct remote_lane *l);

/* --- remote_forward.c --------------------------------------------------------------------------------------- */

void remote_forward(struct remote_lane *l, struct remote_io *r);
bool remote_op_is_forwarded(const struct nvme_op *op);
/* A new life: who came early goes on. */
void remote_early_go(struct remote_lane *via);

/* --- remote_limbo.c ----------------------------------------------------------------------------------------- */

/* A command that went out and whose connection ended: true when that must not be simply repeated now; taken. */
bool remote_limbo_takes(struct remote_io *r);
/* Those of the lane that went out in that life, or before, cannot land any more. */
void remote_limbo_release(struct remote_lane *l, uint32_t life);
/* End those of the channel. */
void remote_limbo_end(struct remote_channel *c, enum bdev_status st);

#endif
