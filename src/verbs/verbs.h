/* SPDX-License-Identifier: BSD-3-Clause */
/* verbs.h: RDMA adapters, connections between them, and what their queues do. The only way a protocol touches one.
 *
 * verbs/os does it with rdma-core (libibverbs, librdmacm), verbs/sim with simulated adapters; link one of them. Of all
 * that verbs can do this is what NVMe over Fabrics needs: reliable connections made by the connection manager (IP
 * addresses), SEND (with invalidate), RDMA READ and RDMA WRITE, receives of a connection's own or shared.
 *
 *     control reactor   adapters, listeners, connections, their events; whatever asks the system and may take long
 *     an I/O core       its completion queue per adapter; posting to the connections whose completions lie there
 *
 * Nothing blocks on either. A completion queue is looked at by its core as long as it is awake (core/look.h), and its
 * channel wakes it: arm, look again, sleep.
 *
 * Witnesses: rdma-core's manual pages ibv_post_send(3), ibv_poll_cq(3), ibv_req_notify_cq(3), rdma_cm(7),
 * rdma_connect(3), rdma_get_cm_event(3); Linux drivers/infiniband/sw/rxe; SPDK lib/rdma_provider.
 */
#ifndef VERBS_VERBS_H
#define VERBS_VERBS_H

#include "core/core.h"
#include "core/look.h"
#include "net/net.h"

/* --- RDMA of this daemon ------------------------------------------------------------------------------------------ */

struct verbs;
/* Each who needs it gets it, and puts it back; the first get makes it, the last put frees it.
 *
 * Core: control. Errors: NULL with a sentence: no support in this build, in this system, or no adapter (-ENODEV): what
 * is missing, and what to do. An adapter that comes later is seen by verbs that stand. */
struct verbs *verbs_get(struct core *core, struct err *e);
void verbs_put(struct verbs *v);
/* Ending takes a while after the last put: helpers deregister memory. True: nothing of it is left; else `over` runs
 * once that is so. Before the reactors stop. Control. */
bool verbs_is_over(struct core *core, void (*over)(void *arg), void *arg);

/* --- adapters ----------------------------------------------------------------------------------------------------- */

/* What an adapter can do. Limits are plain numbers; 0: cannot. */
struct verbs_dev_info {
	char name[64];               /* "mlx5_0", "rxe0" */
	int numa_node;               /* -1: unknown */
	bool iwarp;
	bool send_invalidate;        /* SEND with invalidate */
	uint32_t conns_max;
	uint32_t send_max, recv_max; /* work requests that a connection may have posted */
	uint32_t sge_max;            /* of a work request */
	uint32_t read_sge_max;       /* of a READ: iWARP's may be 1 */
	uint32_t read_depth_max;     /* RDMA READs that a connection may have under way: begun here ... */
	uint32_t read_serve_max;     /* ... and begun by the other side */
	uint32_t srq_recv_max;       /* of a shared receive queue */
	uint32_t srq_sge_max;
	uint32_t cq_max;             /* entries of a completion queue */
};

/* Lives from its event VERBS_DEV_CAME until verbs_dev_unref() of all who hold it, its hardware maybe shorter. */
struct verbs_dev;
const struct verbs_dev_info *verbs_dev_info(const struct verbs_dev *d);
void verbs_dev_ref(struct verbs_dev *d);   /* control, as all here */
void verbs_dev_unref(struct verbs_dev *d);
/* Is it still there? Any core. What is posted when it is not ends with VERBS_FLUSHED, or fails with -ENODEV. */
bool verbs_dev_is_there(const struct verbs_dev *d);
void verbs_visit_devs(struct verbs *v, void (*visit)(void *arg, struct verbs_dev *d, bool port_up), void *arg);

/* After VERBS_DEV_GONE: free its connections, completion queues, shared receive queues and memory, and let go. */
enum verbs_dev_event { VERBS_DEV_CAME, VERBS_DEV_GONE, VERBS_DEV_PORT_UP, VERBS_DEV_PORT_DOWN };
struct verbs_watcher {
	struct list link;
	void (*event)(struct verbs_watcher *w, struct verbs_dev *d, enum verbs_dev_event event);
};
/* Told of those that are there already, too, before it returns. Control. */
void verbs_watch(struct verbs *v, struct verbs_watcher *w);
void verbs_unwatch(struct verbs *v, struct verbs_watcher *w);

/* --- memory ------------------------------------------------------------------------------------------------------- */

/* Registered memory: all regions of mem_hook that are ours alone (the buffers of mem_take(); not a guest's memory) are,
 * with every adapter, as long as they exist; on the helper pool, not at once. An adapter's VERBS_DEV_CAME comes after
 * the buffers are. */
struct verbs_key {
	uint32_t lkey; /* for our own work requests */
	uint32_t rkey; /* for the other side's: remote read and write */
};
/* The keys of the bytes [at, at + len), which one registered piece contains. False: none does; use buffers that are
 * registered. Any core; O(log regions). What it found is valid while the memory's region exists. */
bool verbs_find_key(const struct verbs_dev *d, const void *at, size_t len, struct verbs_key *ret_key);

/* Memory of one's own, for capsules: zeroed, page aligned, registered for local use. Control. NULL with a sentence
 * (locked memory limit: RLIMIT_MEMLOCK). */
struct verbs_mem {
	void *base;
	size_t len;
	uint32_t lkey, rkey;
	struct verbs_dev *dev;       /* this and mr: inside */
	void *mr;
};
int verbs_mem_make(struct verbs_mem *m, struct verbs_dev *d, size_t len, struct err *e) MUST_USE;
/* The same, for data that the other side may be told to read or write: with rkey. */
int verbs_mem_make_remote(struct verbs_mem *m, struct verbs_dev *d, size_t len, struct err *e) MUST_USE;
void verbs_mem_free(struct verbs_mem *m);

/* --- work requests and completions -------------------------------------------------------------------------------- */

struct verbs_sge {
	uint64_t addr;
	uint32_t len, lkey;
};

enum verbs_op { VERBS_SEND, VERBS_SEND_INVALIDATE, VERBS_WRITE, VERBS_READ, VERBS_RECV };

/* Something to send, read or write. Copied when it is posted: only the data has to stay. */
struct verbs_wr {
	struct verbs_wr *next;       /* posted together with it, in order; NULL: the last */
	void *ctx;                   /* comes back with the completion */
	const struct verbs_sge *sges;
	uint8_t sge_count;
	uint8_t op;                  /* enum verbs_op, but RECV */
	bool signaled;               /* false: completes without a word, unless it fails. It is known to be done when a
	                              * later one of the same connection that is signaled completes. */
	bool fence;                  /* begins after all READs before it are complete */
	uint32_t rkey;               /* WRITE, READ: the other side's; SEND_INVALIDATE: which key to invalidate */
	uint64_t remote;             /* WRITE, READ: its address */
};

/*        name             for people */
#define VERBS_STATUSES(X) \
	X(OK,              "done") \
	X(FLUSHED,         "the connection ended before it") \
	X(LENGTH,          "longer than the memory for it") \
	X(LOCAL_KEY,       "our own memory is not registered so") \
	X(REMOTE_KEY,      "the other side's memory is not registered so") \
	X(REMOTE_INVALID,  "the other side takes no such request") \
	X(REMOTE_BROKEN,   "the other side cannot do it") \
	X(RETRIES,         "the other side does not answer") \
	X(NO_RECEIVE,      "the other side had no receive posted") \
	X(OTHER,           "a fault of the adapter")
#define VERBS_STATUS_ENUM(name, text) VERBS_##name,
enum verbs_status { VERBS_STATUSES(VERBS_STATUS_ENUM) VERBS_STATUS_COUNT };
const char *verbs_status_text(enum verbs_status s);

/* A completion. When `status` is not OK, only ctx, conn and status say something. */
struct verbs_conn;
struct verbs_wc {
	void *ctx;
	struct verbs_conn *conn;     /* NULL: a shared receive that a forgotten connection had used up; status FLUSHED */
	uint32_t len;                /* RECV: bytes that came */
	uint8_t op;                  /* enum verbs_op */
	uint8_t status;              /* enum verbs_status */
	bool invalidated;            /* RECV: the other side invalidated ... */
	uint32_t key;                /* ... this key */
};

/* --- completion queues -------------------------------------------------------------------------------------------- */

#define VERBS_POLL_MAX 32u /* completions told in one call */

/* The completions of a core and an adapter. */
struct verbs_cq;
/* Begin to be told: `done` runs on the calling reactor with up to VERBS_POLL_MAX completions, in their order; some
 * may be of connections that were closed within it: skip those of yours that you know to be. `entries` is where it
 * begins; it grows with its connections, as far as the adapter goes.
 *
 * Core: control makes and frees it, when it is stopped and no connection uses it; its own core starts and stops it. */
typedef void verbs_done_fn(void *arg, const struct verbs_wc *wcs, uint32_t count);
struct verbs_cq *verbs_cq_make(struct verbs_dev *d, uint32_t entries, struct err *e);
void verbs_cq_free(struct verbs_cq *q);
int verbs_cq_start(struct verbs_cq *q, verbs_done_fn *done, void *arg) MUST_USE;
void verbs_cq_stop(struct verbs_cq *q);
/* For "why awake", statistics. Any core. */
struct verbs_cq_stats {
	uint64_t polls, busy_polls, completions, wakes;
	uint64_t late; /* looks that nobody rang for, and that found something: rings may get lost */
};
void verbs_cq_get_stats(const struct verbs_cq *q, struct verbs_cq_stats *ret_stats);

/* Receives for all connections of a core and an adapter. Made and freed by control; used by its core. */
struct verbs_srq;
struct verbs_srq *verbs_srq_make(struct verbs_dev *d, uint32_t entries, uint32_t sges, struct err *e);
void verbs_srq_free(struct verbs_srq *s);

/* A receive: where the next message goes. The memory stays until its completion. */
struct verbs_recv {
	struct verbs_recv *next;
	void *ctx;
	const struct verbs_sge *sges;
	uint8_t sge_count;
};
/* Negative errno: -ENOMEM, more than fits; -ENODEV. None of the chain from the failing one on was posted. */
int verbs_srq_post(struct verbs_srq *s, const struct verbs_recv *r) MUST_USE;

/* --- connections: control ----------------------------------------------------------------------------------------- */

#define VERBS_PRIVATE_MAX 56u /* bytes of private data that every way of connecting carries */

/* What either side says when it connects. */
struct verbs_params {
	const void *data;            /* private; the callee's while it runs */
	uint8_t data_len;
	uint8_t read_depth;          /* READs we may begin (initiator_depth); cut to what the adapter can */
	uint8_t read_serve;          /* READs of the other side that we serve (responder_resources). 0 of who accepts: the
	                              * other side may not WRITE into our memory either, whatever keys it guesses */
	uint8_t retries;             /* 0 to 7: how often to send again without an acknowledgement */
	uint8_t rnr_retries;         /* 0 to 6, 7: for ever: how often to send again when no receive was posted */
	bool flow_control;
};

enum verbs_conn_event {
	VERBS_CONN_RESOLVED,         /* who connects: adapter and route are known; make the queues, then connect */
	VERBS_CONN_ESTABLISHED,      /* `p`: what the other side said, for who connected */
	VERBS_CONN_REJECTED,         /* `p`: why */
	VERBS_CONN_UNREACHABLE,      /* before ESTABLISHED: no way, or no answer; `rc` */
	VERBS_CONN_ENDED,            /* after ESTABLISHED: by the other side, or trouble of the adapter. Once. Its work
	                              * requests end with FLUSHED, all, unless the adapter is gone */
};
/* `p` is valid during the call; NULL unless said. `rc`: negative errno: UNREACHABLE. It may be freed within. */
typedef void verbs_conn_fn(void *arg, enum verbs_conn_event event, const struct verbs_params *p, int rc);

/* What a connection is to have. */
struct verbs_queues {
	struct verbs_cq *cq;         /* of the core that will use it */
	struct verbs_srq *srq;       /* NULL: receives of its own */
	uint32_t send_max, recv_max; /* work requests posted at a time; recv_max 0 with a shared queue */
	uint32_t send_sge_max, recv_sge_max;
	uint32_t inline_max;         /* bytes that SENDs may carry in the work request; in: wished, out: what there is. So
	                              * small a SEND needs no lkey, and its memory only until it is posted */
};

/* Who connects begins here: VERBS_CONN_RESOLVED, or UNREACHABLE, follows; `timeout_ms` for each of its two steps.
 * `from` may be NULL. NULL with a sentence when it cannot even begin. */
struct verbs_conn *verbs_resolve(struct verbs *v, const struct net_addr *to, const struct net_addr *from,
                                 uint32_t timeout_ms, verbs_conn_fn *event, void *arg, struct err *e);
/* The type of service (IP) that its packets carry: right after verbs_resolve(). Where the system cannot, no effect. */
void verbs_conn_set_tos(struct verbs_conn *c, uint8_t tos);
/* How long it waits for an acknowledgement before it sends again, as often as `retries` says: 4.096 us << exponent (1
 * to 31; adapters may take up to four times as long). Right after verbs_resolve(), or before verbs_accept(); else the
 * connection manager's. Where the system cannot, no effect. */
#define VERBS_ACK_EXPONENT_MAX 31u
#define VERBS_ACK_NS 4096ull
void verbs_conn_set_ack_timeout(struct verbs_conn *c, uint8_t exponent);
/* One that asks to be let in (listeners): whose events they are from now on. */
void verbs_conn_set_event(struct verbs_conn *c, verbs_conn_fn *event, void *arg);
/* Make its queues: after RESOLVED, or before verbs_accept(). Errors: sentence. */
int verbs_conn_make_queues(struct verbs_conn *c, struct verbs_queues *q, struct err *e) MUST_USE;
/* Receives may be posted before this, by control, too. Errors: negative errno; it can only be freed then. */
int verbs_connect(struct verbs_conn *c, const struct verbs_params *p) MUST_USE;
int verbs_accept(struct verbs_conn *c, const struct verbs_params *p) MUST_USE;
/* Instead of accepting; then free it. */
void verbs_reject(struct verbs_conn *c, const void *data, uint8_t len);
/* End it: the other side hears of it, what is posted ends with FLUSHED. VERBS_CONN_ENDED follows if it was established
 * and has not. Any time, any number of times. */
void verbs_disconnect(struct verbs_conn *c);
/* No event any more. Its core said verbs_conn_forget() before, if it has queues. What is posted is given up: its memory
 * is the caller's when this returns. */
void verbs_conn_free(struct verbs_conn *c);

struct verbs_dev *verbs_conn_dev(const struct verbs_conn *c); /* known from RESOLVED, or request, on */
void verbs_conn_addrs(const struct verbs_conn *c, struct net_addr *ret_local, struct net_addr *ret_peer);
void *verbs_conn_arg(const struct verbs_conn *c);             /* any core: for who gets a completion */

struct verbs_listener;
/* Someone wants to connect to us; `c` is the callee's: set its event, accept or reject. `p`: what it said: read_depth
 * is how many READs it can begin, read_serve how many of ours it serves. */
typedef void verbs_listener_fn(void *arg, struct verbs_conn *c, const struct verbs_params *p);
/* The address has to be one of an adapter, or the wildcard (all adapters, those to come too). Port 0: a free one. It
 * outlives the adapter of its address: when that comes back it listens again. */
struct verbs_listener *verbs_listen(struct verbs *v, const struct net_addr *addr, uint32_t backlog,
                                    verbs_listener_fn *fn, void *arg, struct err *e);
void verbs_listener_addr(const struct verbs_listener *l, struct net_addr *ret_addr);
void verbs_listener_close(struct verbs_listener *l);

/* --- connections: the core of their completion queue -------------------------------------------------------------- */

/* Negative errno: -ENOMEM: more than fits; -ENODEV, -EINVAL: it is broken. Those of the chain before *ret_bad were
 * posted and will complete; it and those after were not. */
int verbs_post(struct verbs_conn *c, const struct verbs_wr *wr, const struct verbs_wr **ret_bad) MUST_USE;
/* For queues without `srq`; errors as verbs_srq_post(). */
int verbs_post_recv(struct verbs_conn *c, const struct verbs_recv *r) MUST_USE;
/* No completion of it is told any more, not even those found already; but that shared receives which it used up are
 * told, now or later, with `conn` NULL and FLUSHED: they are not its own, and come back. One with shared receives takes
 * no message from now on. Before control frees it. */
void verbs_conn_forget(struct verbs_conn *c);

#endif
