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
	X(QPAIR, CONNECTING, "the transport connects and negotiates",  TO(QPAIR, LOGGING_IN) | TO(QPAIR, DEAD)) \
	X(QPAIR, LOGGING_IN, "fabrics Connect is out",                 TO(QPAIR, READY) | TO(QPAIR, DEAD)) \
	X(QPAIR, READY,      "commands flow",                          TO(QPAIR, DEAD)) \
	X(QPAIR, DEAD,       "the connection ended; all was failed",   0)
enum qpair_state { QPAIR_STATES(MACHINE_ENUM) QPAIR_STATE_COUNT };

struct nvme_transport {
	const char *name;
	struct nvme_qpair *(*make)(void);
	/* Begin to connect to qp->addr; nvme_qpair_connected() or nvme_qpair_broke() follows. */
	int (*connect)(struct nvme_qpair *qp, struct err *e);
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
	uint16_t cntlid;                /* in: wanted; out: given */
	struct timer deadline;
	struct err err;                 /* why it died */
	struct defer fail_defer;        /* failing happens outside of submit */
	nvme_qpair_event_fn *ready, *gone;
	void *arg;
	uint32_t held;                  /* callbacks of ours that are running; freed when 0 */
	bool closed;
};

struct qpair_identity {
	const char *subnqn, *hostnqn;
	struct uuid hostid;
	uint16_t cntlid, qid, size;
	uint32_t keep_alive_ms, in_capsule_bytes;
};
struct nvme_qpair *nvme_qpair_start(struct nvme_host *h, const struct nvme_transport *tr, const struct net_addr *addr,
                                    const struct net_addr *from, const struct nvme_host_opts *opts,
                                    const struct qpair_identity *id, nvme_qpair_event_fn *ready,
                                    nvme_qpair_event_fn *gone, void *arg);

static inline bool nvme_qpair_is_dead(const struct nvme_qpair *qp) { return qp->machine.state == QPAIR_DEAD; }

/* For transports. */
void nvme_qpair_connected(struct nvme_qpair *qp);
/* The command is over: `cqe` from the wire. False: its cid is not outstanding, the peer is broken. */
bool nvme_qpair_completed(struct nvme_qpair *qp, const struct nvme_cqe *cqe);
struct nvme_op *nvme_qpair_op(struct nvme_qpair *qp, uint16_t cid); /* NULL: not outstanding */
/* The connection ended. Commands are failed later in this pass. */
void nvme_qpair_broke(struct nvme_qpair *qp, const struct err *e);
/* Around a transport's loop that calls the above: false when the queue pair was closed meanwhile and is gone. */
static inline void nvme_qpair_hold(struct nvme_qpair *qp) { qp->held++; }
bool nvme_qpair_release(struct nvme_qpair *qp);

#endif
