/* SPDX-License-Identifier: BSD-3-Clause */
/* host.h: what the host's files share. Private to src/nvme.
 *
 * A queue pair is generic (qpair.c: command ids, what waits, Connect) over a transport of four functions
 * (tcp.c). The transport reports back through the three verbs at the end of qpair's part here.
 */
#ifndef NVME_HOST_H
#define NVME_HOST_H

#include "core/machine.h"
#include "nvme/nvme.h"

#define HOST_RECV_BYTES (256 * KIB)

struct nvme_host {
	struct core *core;
	uint8_t *recv_buf[CORE_REACTORS_MAX + 1]; /* by reactor_index(); made when first used */
};
uint8_t *nvme_host_recv_buf(struct nvme_host *h);

/* --- queue pairs ------------------------------------------------------------------------------ */

#define QPAIR_STATES(X) \
	X(QPAIR, CONNECTING,  "connecting",            TO(QPAIR, NEGOTIATING) | TO(QPAIR, HELD) | TO(QPAIR, DEAD)) \
	X(QPAIR, HELD,        "connected, held",       TO(QPAIR, NEGOTIATING) | TO(QPAIR, DEAD)) \
	X(QPAIR, NEGOTIATING, "waiting for ICResp",    TO(QPAIR, WAITING) | TO(QPAIR, LOGGING_IN) | TO(QPAIR, DEAD)) \
	X(QPAIR, WAITING,     "waiting to be used",    TO(QPAIR, LOGGING_IN) | TO(QPAIR, DEAD)) \
	X(QPAIR, LOGGING_IN,  "waiting for the answer to Connect", TO(QPAIR, READY) | TO(QPAIR, DEAD)) \
	X(QPAIR, READY,       "in use",                TO(QPAIR, DEAD)) \
	X(QPAIR, DEAD,        "ended; all was failed", 0)
enum qpair_state { QPAIR_STATES(MACHINE_ENUM) QPAIR_STATE_COUNT };

struct nvme_transport {
	const char *name;
	struct nvme_qpair *(*make)(void);
	/* Begin to connect to qp->addr; nvme_qpair_connected() or nvme_qpair_broke() follows. */
	int (*connect)(struct nvme_qpair *qp, struct err *e);
	/* Connected: negotiate; nvme_qpair_negotiated() or nvme_qpair_broke() follows. */
	void (*negotiate)(struct nvme_qpair *qp);
	/* qp->cid_count is known: make room for as many commands. Before the first submit(). */
	void (*size)(struct nvme_qpair *qp);
	/* Send a command whose op->cid is set. Never fails: trouble is nvme_qpair_broke(), later. */
	void (*submit)(struct nvme_qpair *qp, struct nvme_op *op);
	/* Let go of the connection; no more reports. The memory is freed by free(). */
	void (*disconnect)(struct nvme_qpair *qp);
	void (*free)(struct nvme_qpair *qp);
};
extern const struct nvme_transport nvme_tcp;

struct nvme_qpair {
	const struct nvme_transport *transport;
	struct nvme_host *host;
	struct nvme_host_opts opts;
	struct net_addr addr, from;
	bool has_from;
	bool hold;                      /* admin queue of a probe: stop once connected */
	bool has_login;                 /* what Connect says is known */
	struct machine machine;
	uint16_t qid, size;             /* entries; size - 1 commands may be outstanding */
	uint16_t cid_count, free_count;
	uint16_t *free_cids;            /* a stack */
	struct nvme_op **ops;           /* by cid; NULL: free */
	uint32_t outstanding;
	uint32_t in_capsule_bytes;      /* data that may go with a command */
	struct queue waiting;           /* no free cid, or not ready yet */
	/* Connect. */
	struct nvme_op connect_op;
	struct nvmf_connect_data connect_data;
	struct iovec connect_iov;
	uint16_t cntlid;                /* given */
	uint64_t began_ns;              /* this step's deadline runs since then */
	struct timer deadline;
	struct err err;                 /* why it died */
	enum nvme_reason reason;
	struct defer fail_defer;        /* failing happens outside of submit */
	void (*held_fn)(struct nvme_qpair *qp, void *arg);
	nvme_qpair_event_fn *ready, *gone;
	void (*timed_out)(struct nvme_qpair *qp, struct nvme_op *op, void *arg);
	void *arg;
	uint32_t held;                  /* callbacks of ours that are running; freed when 0 */
	bool closed;
};

/* Of the admin queue; an I/O queue's comes from its login. `held`, if not NULL, runs once it is connected, and nothing
 * goes on before nvme_qpair_negotiate(). */
struct qpair_start {
	uint16_t qid;
	uint32_t keep_alive_ms;
	void (*held)(struct nvme_qpair *qp, void *arg);
	nvme_qpair_event_fn *ready, *gone;
	void *arg;
};
struct nvme_qpair *nvme_qpair_start(struct nvme_host *h, const struct nvme_transport *tr, const struct nvme_login *l,
                                    const struct qpair_start *start);
void nvme_qpair_negotiate(struct nvme_qpair *qp);

static inline bool nvme_qpair_is_dead(const struct nvme_qpair *qp) { return qp->machine.state == QPAIR_DEAD; }

/* For transports. */
void nvme_qpair_connected(struct nvme_qpair *qp);
void nvme_qpair_negotiated(struct nvme_qpair *qp);
/* The command is over: `cqe` from the wire. False: its cid is not outstanding, the peer is broken. */
bool nvme_qpair_completed(struct nvme_qpair *qp, const struct nvme_cqe *cqe);
struct nvme_op *nvme_qpair_op(struct nvme_qpair *qp, uint16_t cid); /* NULL: not outstanding */
/* The connection ended. Commands are failed later in this pass. */
void nvme_qpair_broke(struct nvme_qpair *qp, enum nvme_reason reason, const struct err *e);
/* Around a transport's loop that calls the above: false when the queue pair was closed meanwhile and is gone. */
static inline void nvme_qpair_hold(struct nvme_qpair *qp) { qp->held++; }
bool nvme_qpair_release(struct nvme_qpair *qp);

#endif
