/* SPDX-License-Identifier: BSD-3-Clause */
/* test_front.h: vhost with a RAM disk in a simulated world, and a front-end with a driver that speaks to it. */
#ifndef VHOST_TEST_FRONT_H
#define VHOST_TEST_FRONT_H

#include "core/sim/fds.h"
#include "net/sim/peer.h"
#include "scsi/scsi.h"
#include "vhost/session.h"

#define TEST_PATH "/sim/disk"
#define TEST_BLOCKS 256u
#define TEST_SECTOR 512u
#define FRONT_QUEUES 3u
#define FRONT_SIZE 32u                 /* of a queue */
#define FRONT_REQS 10u                 /* of a queue at a time */
#define FRONT_DATA 4096u               /* of a request, at most */
#define FRONT_HEAD 64u                 /* of what goes before it */

struct test_world {
	struct core *core, *host_core;
	struct bdev_registry *reg;
	struct vhost *vhost;
	struct vhost_change change;
	struct scsi *scsi;
	struct vhost_scsi_change target_change;
	uint32_t cores;
	uint32_t slow_us;                  /* how long reads take, writes twice as long; 0: no time */
	bool client, read_only, is_scsi;   /* is_scsi: a host whose target 0 is the disk; its first two queues are others */
	bool made, stopped, deleted, disk_asked, disk_gone, ram_gone, scsi_gone, changing;
};

void world_start(struct test_world *w, uint64_t seed);
void world_halt(struct test_world *w); /* vhost only */
void world_stop(struct test_world *w);
static inline void world_pass(uint64_t ns) { sim_run(NULL, NULL, ns); }
struct vhost_ctrlr *world_ctrlr(struct test_world *w);
/* The session of a front-end that is there; NULL: none. */
struct vhost_session_priv *world_session(struct test_world *w);
void world_delete_ctrlr(struct test_world *w); /* begin: w->deleted */
void world_make_disk(struct test_world *w);    /* again */
void world_delete_disk(struct test_world *w);  /* begin: w->disk_gone */
/* Of a SCSI host: begin: w->changing. No effect while there is another change. Both may be refused. */
void world_add_target(struct test_world *w, uint32_t num);
void world_remove_target(struct test_world *w, uint32_t num);

struct front_req {
	bool out;                          /* with the device */
	uint8_t status;
	uint32_t type, len;
	uint64_t sector;
	uint8_t *hdr, *data;               /* in shared memory: 16 bytes and one of status; data */
	uint32_t written;
};

struct front_queue {
	struct front *front;
	uint32_t index;
	struct vq_drv drv;
	struct bell kick, call, err;
	uint8_t *ring;                     /* its three parts */
	size_t area[3];                    /* offsets of them */
	uint32_t base, calls, out;
	bool running, stalled;             /* stalled: its error bell rang */
	struct front_req reqs[FRONT_REQS];
};

struct front {
	struct test_world *w;
	struct reactor *on;
	struct sock *sock;
	struct listener *listener;         /* of a world whose controller is the client */
	struct vu_rx rx;
	struct vu_msg reply;
	uint32_t replies;
	bool connected, ended;
	bool deaf;                         /* does not look into its rings */
	uint64_t features, protocol, offered;
	int fd;                            /* of the memory */
	struct share share;
	struct front_queue queues[FRONT_QUEUES];
	uint32_t done, failed;
};

/* Connect, or wait to be connected to; nothing is said yet. `features` and `protocol`: wanted. */
void front_open(struct front *f, struct test_world *w, uint64_t features, uint64_t protocol);
void front_close(struct front *f);
/* Again, with the memory and rings there are. */
void front_reopen(struct front *f);
/* Negotiate, give memory, start all queues. */
void front_start(struct front *f);
void front_queue_start(struct front_queue *q);
uint64_t front_queue_place(struct front_queue *q); /* SET_VRING_ADDR, acknowledged */
void front_queue_stop(struct front_queue *q); /* GET_VRING_BASE, answered */
/* Send; fds stay the caller's. */
void front_send(struct front *f, const struct vu_msg *m);
void front_send_raw(struct front *f, const void *bytes, uint32_t len, const int *fds, uint32_t fd_count);
void front_kick(struct front_queue *q);
/* Send, and wait for what comes back. False: the connection ended. */
bool front_ask(struct front *f, const struct vu_msg *m, struct vu_msg *ret_reply);
uint64_t front_get(struct front *f, uint32_t request); /* a number */
/* With NEED_REPLY: what was acknowledged. */
uint64_t front_tell(struct front *f, struct vu_msg *m);
uint64_t front_give_memory(struct front *f);
uint64_t front_region(struct front *f, uint32_t request); /* ADD_MEM_REG or REM_MEM_REG of all there is */

/* NULL: there is no room. Kicks if that is asked for. */
struct front_req *front_submit(struct front_queue *q, uint32_t type, uint64_t sector, uint32_t len, uint8_t fill);
/* Any request: `head`, `out_len` bytes (as they lie in its data), and room for `in_len` behind them. */
struct front_req *front_submit_bytes(struct front_queue *q, const void *head, uint32_t head_len, uint32_t out_len,
                                     uint32_t in_len);
/* Nothing is out any more; false: not within a long time. */
bool front_drain(struct front *f);

#endif
