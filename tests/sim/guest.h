/* SPDX-License-Identifier: BSD-3-Clause */
/* guest.h: a simulated front-end of vhost-user-blk or -scsi: its memory, its queues and what it says on its socket.
 * What it reads and writes is load.h's. */
#ifndef TESTS_SIM_GUEST_H
#define TESTS_SIM_GUEST_H

#include "core/bell.h"
#include "core/share.h"
#include "core/sim/sim.h"
#include "net/net.h"
#include "virtio/ring.h"
#include "virtio/vhost_user.h"

#define GUEST_QUEUES_MAX 4u
#define GUEST_PIECES_MAX 5u            /* regions that its memory is cut into */
#define GUEST_PLUGGED_REQS 3u          /* of a queue, whose data lies in memory that can be unplugged */
#define GUEST_SIDES 2u                 /* queues of a SCSI guest that are not for I/O */
#define GUEST_REQS 12u                 /* of a queue at a time */
#define GUEST_DATA 16384u              /* of a request */
#define GUEST_PAGE 4096u
#define GUEST_TABLE_LEN 24u
#define GUEST_BASE 0x10000000ull       /* where the guest has its memory */
#define GUEST_USER 0x7f0000000000ull   /* where the front-end has it */

struct guest;
struct guest_queue;

struct guest_req {
	struct guest_queue *q;
	bool out, must_end;                /* must_end: before the task management that is on its way */
	uint32_t disturbs;                 /* of its guest when it went */
	uint32_t type, count, generation, len, written;
	uint64_t lba, began;
	uint8_t cdb[VIRTIO_SCSI_CDB_DEFAULT_SIZE]; /* SCSI's */
	uint32_t hdr, data;                /* in guest memory: the request's header, and room for the answer; data */
};

struct guest_queue {
	struct guest *g;
	enum guest_side { SIDE_NONE, SIDE_CONTROL, SIDE_EVENT } side;
	uint32_t index, size, base, depth;
	uint32_t area[3], area_len[3], tables, tables_len; /* in guest memory */
	struct vq_drv drv;
	struct bell kick, call, err;
	bool born, runs, stopping;
	bool kick_waits;                   /* in band: it is to be said already */
	uint32_t out;
	struct guest_req reqs[GUEST_REQS];
};

struct guest_ops {
	void (*used)(struct guest_req *r);             /* it came back */
	void (*more)(struct guest_queue *q);           /* there may be room in its ring */
	void (*runs)(struct guest *g);                 /* set up: all queues run */
	void (*lost)(struct guest *g);                 /* its socket ended, and not by its own doing */
	void (*wrong)(struct guest *g, const char *what);
};

typedef void guest_heard_fn(struct guest *g, struct guest_queue *q, const struct vu_msg *reply);

struct guest {
	const struct guest_ops *ops;
	struct reactor *on;
	uint32_t index, queue_count, all_count; /* queues for I/O come first */
	bool scsi;
	char path[32];
	uint64_t wanted, wanted_protocol;  /* features */
	bool rogue;                        /* nothing that it sees is wrong */
	bool scarce;                       /* it may be refused something; it comes again, then */

	struct sock *sock;
	bool connected, running;
	struct vu_rx rx;
	struct vu_msg reply;
	struct list says;                  /* to be said, the first one maybe was */
	bool asking;                       /* ... and its answer is waited for */
	uint32_t kicks;                    /* of those to be said */
	uint8_t bytes[VU_BYTES_MAX];
	uint32_t len, at;

	uint64_t features, protocol, capacity; /* capacity: of its disk, in sectors, as it was told last */
	int fd, inflight_fd;               /* -1: none */
	struct share share, inflight;
	struct vu_inflight inflight_at;
	uint32_t memory_len, data_at;
	uint32_t plug_at;                  /* from here on it can be unplugged, when no request has its data there */
	bool unplugging, unplugged;
	uint8_t *plug_was;                 /* what was there then: nobody writes to it any more */
	bool in_band;                      /* kicks are messages */
	struct guest_piece { uint32_t at, len; } pieces[GUEST_PIECES_MAX]; /* as the device has them, region by region */
	uint32_t piece_count;
	struct guest_queue queues[GUEST_QUEUES_MAX + GUEST_SIDES];

	/* A migration: pages that the driver wrote to, those that the device did, and the memory that arrives. */
	int log_fd;
	struct share log;
	uint8_t *own, *copy;
	bool logging;
	uint64_t pages_copied;
};

/* Memory, bells and rings. Its reactor's, as all below. */
void guest_make(struct guest *g);
void guest_free(struct guest *g);
bool guest_connect(struct guest *g);           /* and all until it runs */
void guest_hang_up(struct guest *g);
bool guest_is_idle(const struct guest *g);     /* but for kicks */

/* What it says; `heard` when that was answered or, without an answer, sent. */
void guest_say(struct guest *g, const struct vu_msg *m, struct guest_queue *q, guest_heard_fn *heard);
void guest_say_u64(struct guest *g, uint32_t request, uint64_t v, const struct bell *fd);
void guest_say_none(struct guest *g, uint32_t request, guest_heard_fn *heard);
void guest_say_memory(struct guest *g);        /* again; a table is in other pieces each time */
void guest_drop_memory(struct guest *g);       /* with all queues stopped: region by region, to be given anew */
/* What can be unplugged: not used from now on, and taken away when it is not in use; or given again. */
void guest_unplug(struct guest *g);
void guest_plug(struct guest *g);
void guest_say_queue(struct guest_queue *q);   /* start it, at q->base */
void guest_say_restart(struct guest_queue *q); /* where it will have stopped */
void guest_say_setup(struct guest *g);         /* all from the features on */
void guest_say_addr(struct guest_queue *q, uint32_t flags, guest_heard_fn *heard);
void guest_say_stop(struct guest_queue *q, guest_heard_fn *heard);
void guest_say_enable(struct guest_queue *q, bool on);
void guest_say_config(struct guest *g);        /* asks for it: g->capacity */
void guest_say_features(struct guest *g, uint64_t features);
void guest_say_raw(struct guest *g, const void *bytes, uint32_t len, const int *fds, uint32_t fd_count);

/* Rings as new: what was in them is forgotten, and nothing is in flight. */
void guest_forget(struct guest *g);
void guest_new_bell(struct guest_queue *q, struct bell *b);
void guest_kick(struct guest_queue *q);
/* What a process sees that is killed now and started again: its old memory is the dead one's, this is a copy. */
void guest_outlives(struct guest *g);
void guest_look(struct guest_queue *q);        /* into the ring, as when it was called */
bool guest_submit(struct guest_req *r);
/* What is at r->hdr, and room for an answer; either may be nothing. */
bool guest_submit_bytes(struct guest_req *r, uint32_t out, uint32_t in);
static inline bool guest_may_use(const struct guest *g, const struct guest_req *r)
{
	return r->data < g->plug_at || !(g->unplugging || g->unplugged);
}
#define GUEST_ANSWER_AT 64u            /* of a request, behind its header */
static inline uint8_t *guest_at(const struct guest *g, uint32_t at) { return g->share.base + at; }

/* A migration begins when `begun` is called; guest_copy() takes over pages that differ; after the last one, with all
 * queues stopped, nothing may. */
void guest_log_begin(struct guest *g, guest_heard_fn *begun);
void guest_copy(struct guest *g);
void guest_log_end(struct guest *g);
void guest_log_drop(struct guest *g);

#endif
