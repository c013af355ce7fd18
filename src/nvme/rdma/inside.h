/* SPDX-License-Identifier: BSD-3-Clause */
/* inside.h: what the host's files for RDMA share. Private to src/nvme/rdma.
 *
 *     hub.c     control: adapters, what connections of one core and adapter share (a seat), the end of it all
 *     link.c    control: one connection, from the address to its death; and its messages to and from its queue pair
 *     rdma.c    a queue pair's core: the transport of host.h
 *     send.c    commands out: where their data is
 *     done.c    completions: answers in
 *     chunks.c  contiguous buffers for data that cannot be told of as it lies
 *
 * A queue pair has a link, and lets go of it when its connection ends. The link outlives it: control destroys the
 * connection, then nothing can touch the memory of commands or the buffers any more, and the core hears that. Nothing
 * of this waits for the other side.
 */
#ifndef NVME_RDMA_INSIDE_H
#define NVME_RDMA_INSIDE_H

#include "core/watch.h"
#include "nvme/host.h"
#include "nvme/rdma/chunks.h"
#include "nvme/rdma/rdma.h"
#include "verbs/verbs.h"
#include "wire/nvme_rdma.h"

#define RDMA_DESCRIPTORS_MAX 16u    /* of one command that we send */
#define RDMA_SGES_MAX 5u            /* pieces of a SEND: the command, and data that goes with it */
#define RDMA_POST_MAX 32u           /* commands of one doorbell */
#define RDMA_INLINE_BYTES 64u       /* a command alone */
#define RDMA_SHARE_BYTES (1u << 20) /* of the chunks: what a queue may have, or one command; dead targets leave some */
#define RDMA_CQ_ENTRIES 256u        /* to begin with */

/* --- hub.c: control ------------------------------------------------------------------------------------------- */

struct rdma_link;

struct rdma_hub {
	struct nvme_host *host;
	struct verbs *verbs;            /* NULL: not needed yet, or there is none */
	struct verbs_watcher watcher;
	struct list links, seats;
	uint32_t seats_ending;
	bool idle_asked;
};
extern const struct nvme_transport nvme_rdma;

/* A core and an adapter. The queue is started there before the first connection has it, and stopped after the last. */
struct rdma_seat {
	struct list link;               /* hub->seats */
	struct rdma_hub *hub;
	struct reactor *home;
	struct verbs_dev *dev;
	struct verbs_cq *cq;
	struct verbs_mem mem;           /* of the chunks */
	uint32_t chunk_bytes, links;    /* links: that use it */
	bool ready, ending;
	struct list waiting;            /* rdma_link.seat_link: until it is ready */
	struct msg msg;
	int rc;                         /* of starting */
	/* The core's. */
	struct chunks chunks;
	uint64_t sends, doorbells, receives, receive_doorbells, copied, copied_bytes, waits;
};

struct rdma_hub *nvme_rdma_hub_of(struct nvme_host *h);
/* NULL: none in this system. */
struct verbs *nvme_rdma_hub_verbs(struct rdma_hub *hub, struct err *e);
/* nvme_rdma_link_seated() follows when it is ready; false, with a sentence: it cannot be. */
bool nvme_rdma_seat_take(struct rdma_link *l, struct verbs_dev *d, struct err *e);
void nvme_rdma_seat_give(struct rdma_link *l);
void nvme_rdma_hub_look_idle(struct rdma_hub *hub);

/* --- link.c --------------------------------------------------------------------------------------------------- */

#define LINK_STATES(X) \
	X(LINK, BEGIN,   "beginning",                            TO(LINK, RESOLVE) | TO(LINK, OVER)) \
	X(LINK, RESOLVE, "looking for the adapter and the route", TO(LINK, SEAT) | TO(LINK, OVER)) \
	X(LINK, SEAT,    "starting the completion queue",        TO(LINK, CONNECT) | TO(LINK, OVER)) \
	X(LINK, CONNECT, "waiting to be accepted",               TO(LINK, UP) | TO(LINK, OVER)) \
	X(LINK, UP,      "connected",                            TO(LINK, OVER)) \
	X(LINK, OVER,    "ended",                                0)
enum link_state { LINK_STATES(MACHINE_ENUM) LINK_STATE_COUNT };

struct rdma_qpair;

/* A receive, for an answer. */
struct rdma_recv {
	struct verbs_recv recv;
	struct verbs_sge sge;
};

/* What one outstanding command has under way; by slot. */
struct rdma_slot {
	struct queue_link link;         /* in the line, then in the chain to be posted */
	struct nvme_op *op;
	uint8_t *chunk;                 /* its data goes through it; NULL: it does not */
	uint32_t chunk_len;
	uint8_t sge_count;
	bool direct;                    /* the adapters move its data from or to its owner's memory */
	bool posted, sent, answered;    /* sent: its SEND is complete */
	uint64_t began_ns;              /* when it was submitted */
	struct nvme_cqe answer;         /* answered, and not sent yet */
	struct verbs_sge sges[RDMA_SGES_MAX];
};

struct rdma_link {
	/* Set when it begins. */
	struct rdma_hub *hub;
	struct reactor *home;
	struct net_addr to, from;
	bool has_from;
	uint16_t qid, size, slot_count, cntlid;
	uint32_t capsule_bytes, timeout_ms;
	uint8_t tos, ack_exponent;
	/* Control's; the core reads the first five while the link is up. */
	struct rdma_seat *seat;
	struct verbs_conn *conn;
	struct verbs_mem mem;           /* capsules, then answers */
	uint32_t sge_max, inline_bytes;
	struct rdma_recv *recvs;        /* [size] */
	struct list link, seat_link;    /* hub->links, seat->waiting */
	struct machine machine;
	/* What is told to the core. */
	uint16_t crqsize;               /* 0: not said */
	enum nvme_reason reason;
	struct err err;
	struct msg begin_msg, end_msg, up_msg, broke_msg, dead_msg, free_msg;
	/* The core's. */
	struct rdma_qpair *owner;       /* NULL: it let go */
	bool up, ended;
	struct rdma_slot *slots;        /* chunks of theirs go back when it is dead */
};

/* The queue pair's core. */
void nvme_rdma_link_begin(struct rdma_link *l);
/* No event or completion of it is told any more; rdma_link_dead() follows. */
void nvme_rdma_link_end(struct rdma_link *l);
/* Control. */
void nvme_rdma_link_seated(struct rdma_link *l);
void nvme_rdma_link_broke(struct rdma_link *l, enum nvme_reason reason, int code, const char *fmt, ...) PRINTF(4, 5);

/* --- rdma.c, send.c, done.c: the queue pair's core ------------------------------------------------------------- */

struct rdma_qpair {
	struct nvme_qpair qp;
	struct rdma_link *link;         /* NULL: none, or dead */
	struct rdma_slot *slots;
	struct queue line;              /* slots that wait for a chunk, and those behind them */
	struct queue chain;             /* slots to be posted when the pass ends */
	struct wait wait;               /* of the head of the line */
	struct defer post_defer;
	struct watch watch;             /* while it is connected */
	uint32_t direct_out;            /* posted, and in their owners' memory */
	uint32_t chunk_bytes;           /* held */
	uint16_t *ring;                 /* slots whose SENDs are not known to be complete, in their order */
	uint32_t ring_mask, ring_first, ring_next;
	struct verbs_recv *recvs_first, **recvs_last; /* to be posted when the pass ends */
};

static inline struct rdma_qpair *rdma_of(struct nvme_qpair *qp)
{
	return container_of(qp, struct rdma_qpair, qp);
}

/* Counters: one writer, the core; any reader. */
static inline void rdma_count(uint64_t *v, uint64_t n)
{
	__atomic_store_n(v, __atomic_load_n(v, __ATOMIC_RELAXED) + n, __ATOMIC_RELAXED);
}
static inline uint64_t rdma_count_get(const uint64_t *v) { return __atomic_load_n(v, __ATOMIC_RELAXED); }

/* The connection is given up: `fmt` goes on after queue and address. */
void nvme_rdma_broke(struct rdma_qpair *t, enum nvme_reason reason, int code, const char *fmt, ...) PRINTF(4, 5);
#define rdma_bad(t, ...) nvme_rdma_broke(t, NVME_REASON_PROTOCOL, -EPROTO, __VA_ARGS__)
/* rdma.c, for the transport's table. */
struct nvme_qpair *nvme_rdma_make(struct nvme_host *h);
int nvme_rdma_connect(struct nvme_qpair *qp, struct err *e);
void nvme_rdma_negotiate(struct nvme_qpair *qp);
void nvme_rdma_size(struct nvme_qpair *qp);
bool nvme_rdma_disconnect(struct nvme_qpair *qp);
void nvme_rdma_free(struct nvme_qpair *qp);
/* ... and for link.c. */
void nvme_rdma_link_is_up(struct rdma_link *l);
void nvme_rdma_link_is_broken(struct rdma_link *l);
/* Its memory is nobody's any more. */
void nvme_rdma_link_is_dead(struct rdma_link *l);

/* send.c */
void nvme_rdma_submit(struct nvme_qpair *qp, struct nvme_op *op);
void nvme_rdma_post_gathered(struct defer *d);
void nvme_rdma_post_soon(struct rdma_qpair *t);
void nvme_rdma_line_go(struct rdma_qpair *t);
/* What waits does not any more. */
void nvme_rdma_line_end(struct rdma_qpair *t);
/* done.c */
verbs_done_fn nvme_rdma_done;

static inline uint8_t *rdma_capsule(const struct rdma_link *l, uint16_t slot)
{
	return (uint8_t *)l->mem.base + (size_t)slot * l->capsule_bytes;
}

#endif
