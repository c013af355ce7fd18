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

struct tls_offer;

#define HOST_RECV_BYTES (256 * KIB)

#define HOST_TRANSPORTS_MAX 4u

struct nvme_host {
	struct core *core;
	struct {
		const struct nvme_transport *transport;
		void *arg;              /* the transport's own */
	} transports[HOST_TRANSPORTS_MAX];
	uint32_t transport_count;
	struct nvme_host_wait wait;     /* nvme_host_when_idle() */
	_Atomic uint32_t jobs;          /* of queue pairs, which are freed after them; and one until somebody waits */
	struct msg jobs_msg;
	/* By reactor_index(); made when first used. */
	uint8_t *recv_buf[CORE_REACTORS_MAX + 1];
	struct lookup_line *lookups[CORE_REACTORS_MAX + 1];
};
uint8_t *nvme_host_recv_buf(struct nvme_host *h);
/* Around a job of a queue pair's, on its core: the end, after which the host is not touched. */
void nvme_host_job_begins(struct nvme_host *h);
void nvme_host_job_ended(struct nvme_host *h);

/* --- queue pairs ------------------------------------------------------------------------------ */

#define QPAIR_STATES(X) \
	X(QPAIR, CONNECTING,  "connecting",            TO(QPAIR, NEGOTIATING) | TO(QPAIR, HELD) | \
	                                               TO(QPAIR, CONNECTING) | \
	                                               TO(QPAIR, WAITING) | TO(QPAIR, SECURING) | \
	                                               TO(QPAIR, DEAD)) \
	X(QPAIR, HELD,        "connected, held",       TO(QPAIR, NEGOTIATING) | TO(QPAIR, SECURING) | \
	                                               TO(QPAIR, DEAD)) \
	X(QPAIR, SECURING,    "shaking hands (TLS)",   TO(QPAIR, NEGOTIATING) | TO(QPAIR, CONNECTING) | \
	                                               TO(QPAIR, DEAD)) \
	X(QPAIR, NEGOTIATING, "waiting for ICResp",    TO(QPAIR, WAITING) | TO(QPAIR, LOGGING_IN) | \
	                                               TO(QPAIR, CONNECTING) | TO(QPAIR, DEAD)) \
	X(QPAIR, WAITING,     "waiting to be used",    TO(QPAIR, LOGGING_IN) | TO(QPAIR, CONNECTING) | \
	                                               TO(QPAIR, DEAD)) \
	X(QPAIR, LOGGING_IN,  "waiting for the answer to Connect", TO(QPAIR, PROVING) | TO(QPAIR, READY) | \
	                                               TO(QPAIR, DEAD)) \
	X(QPAIR, PROVING,     "proving who we are",    TO(QPAIR, READY) | TO(QPAIR, CONNECTING) | TO(QPAIR, DEAD)) \
	X(QPAIR, READY,       "in use",                TO(QPAIR, DEAD)) \
	X(QPAIR, DEAD,        "ended; all was failed", 0)
enum qpair_state { QPAIR_STATES(MACHINE_ENUM) QPAIR_STATE_COUNT };

struct nvme_transport {
	const char *name;               /* trtype */
	uint32_t admin_in_capsule_bytes; /* data that may go with a command of the admin queue */
	uint32_t io_bytes_max;          /* of one command; 0: no limit */
	uint32_t sgls_needed;           /* of the controller's SGLS, which then says, too, whether commands carry data */
	/* The connection itself says which queue it is to be: it is made when that is known, and WAITING is before it. */
	bool names_queues;
	struct nvme_qpair *(*make)(struct nvme_host *h);
	/* Begin to connect to qp->addr; nvme_qpair_connected() or nvme_qpair_broke() follows. */
	int (*connect)(struct nvme_qpair *qp, struct err *e);
	/* Connected: shake hands (TLS) by this key; the offer stays until nvme_qpair_secured() follows. NULL: cannot. */
	void (*secure)(struct nvme_qpair *qp, const struct tls_offer *offer);
	/* Connected: negotiate; nvme_qpair_negotiated() or nvme_qpair_broke() follows. */
	void (*negotiate)(struct nvme_qpair *qp);
	/* qp->slot_count is known: make room for as many commands. Before the first submit(); with names_queues before
	 * connect(). */
	void (*size)(struct nvme_qpair *qp);
	/* Send a command whose op->cid is set. Never fails: trouble is nvme_qpair_broke(), later. */
	void (*submit)(struct nvme_qpair *qp, struct nvme_op *op);
	/* Let go of the connection; no more reports. The memory is freed by free().
	 *
	 * False: the target may still read or write memory of commands that were sent, so that they must not come back to
	 * their owners yet. nvme_qpair_let_go() follows, when it cannot any more; that takes no answer of the other side
	 * and no time-out, only what this machine does by itself. */
	bool (*disconnect)(struct nvme_qpair *qp) MUST_USE;
	void (*free)(struct nvme_qpair *qp);
	/* Of the host as a whole; NULL: nothing. `idle`: tell when what queue pairs left is gone: nvme_host_idle_now(),
	 * later or at once. Control. */
	void (*idle)(struct nvme_host *h, void *arg);
	void (*host_free)(void *arg);
	bool (*can)(void *arg, struct err *e);
	void (*visit_adapters)(void *arg, void (*visit)(const struct nvme_adapter_stats *s, void *visit_arg),
	                       void *visit_arg);
};
extern const struct nvme_transport nvme_tcp;
/* Core: control, before controllers are opened. Memory: `arg` is the transport's. */
void nvme_host_add_transport(struct nvme_host *h, const struct nvme_transport *tr, void *arg);
/* NULL: this program has none of that name. In any case of letters; empty: TCP. */
const struct nvme_transport *nvme_host_find_transport(const struct nvme_host *h, const char *trtype);
void *nvme_host_transport_arg(const struct nvme_host *h, const struct nvme_transport *tr);
void nvme_host_idle_now(struct nvme_host *h);

struct nvme_qpair {
	const struct nvme_transport *transport;
	struct nvme_host *host;
	struct nvme_host_opts opts;
	struct net_addr addr, from;
	bool has_from;
	bool has_login;                 /* what Connect says is known */
	uint8_t reserved;               /* the last slots, for who submits with them by name */
	struct machine machine;
	uint16_t qid, size;             /* entries; size - 1 commands may be outstanding */
	uint16_t slot_count, free_count;
	uint16_t usable;                /* slots without the reserved ones, and those that nvme_qpair_cut() took */
	uint16_t slot_mask, generation; /* a cid: its slot, and above that a number that changes with each command */
	uint16_t *free_slots;           /* a stack */
	struct nvme_op **ops;           /* by slot; NULL: free */
	uint32_t outstanding;
	uint32_t in_capsule_bytes;      /* data that may go with a command */
	uint32_t descriptors_max;       /* see nvme_ctrlr_info */
	struct queue waiting;           /* no free cid, or not ready yet */
	struct queue refused;           /* fused, and the queue holds one command at a time: to be failed */
	/* Connect. */
	struct nvme_op connect_op;
	struct nvmf_connect_data connect_data;
	struct iovec connect_iov;
	uint16_t cntlid;                /* given */
	struct nvme_proof *proof;       /* PROVING, and after it */
	struct nvme_shake *shake;       /* SECURING */
	struct nvme_generated *generated; /* a reference: TLS by this key; NULL: there is none, or none yet */
	uint8_t psk_version;            /* of the identity that is offered, or was taken */
	struct timer deadline;
	struct err err;                 /* why it died */
	/* Time-outs of commands: looked for when the oldest may be over. */
	struct timer timeout_timer;
	uint64_t timeout_ns;            /* 0: none */
	uint64_t alive_told_ns;         /* when opts.alive_ns was written last */
	enum nvme_reason reason;
	struct defer fail_defer;        /* failing happens outside of submit */
	void (*held_fn)(struct nvme_qpair *qp, void *arg);
	nvme_qpair_event_fn *ready, *gone;
	void (*timed_out)(struct nvme_qpair *qp, struct nvme_op *op, void *arg);
	void *arg;
	uint32_t held;                  /* callbacks of ours that are running; freed when 0 */
	bool closed;
	bool lingers;                   /* disconnected, and its commands' memory is not safe yet */
	void (*closed_fn)(void *arg);   /* all came back, after it was closed */
	void *closed_arg;
};

/* Of the admin queue; an I/O queue's comes from its login. `held`, if not NULL, runs once it is connected, and nothing
 * goes on before nvme_qpair_negotiate(). */
struct qpair_start {
	uint32_t keep_alive_ms;
	uint8_t reserved;               /* slots kept for nvme_qpair_submit_reserved() */
	void (*held)(struct nvme_qpair *qp, void *arg);
	nvme_qpair_event_fn *ready, *gone;
	void *arg;
};
struct nvme_qpair *nvme_qpair_start(struct nvme_host *h, const struct nvme_login *l, const struct qpair_start *start);
void nvme_qpair_negotiate(struct nvme_qpair *qp);
/* With the n-th reserved slot, which is free; never waits, has no time-out. READY only. */
void nvme_qpair_submit_reserved(struct nvme_qpair *qp, struct nvme_op *op, uint8_t n);

/* qpair.c: into the transport, with a free command id; and those that wait, as far as there are free ones. */
void qpair_submit_now(struct nvme_qpair *qp, struct nvme_op *op);
/* A command of the queue pair's own: before those that wait for a command id, and without a time-out. */
void qpair_submit_first(struct nvme_qpair *qp, struct nvme_op *op);
void qpair_submit_waiting(struct nvme_qpair *qp);

/* A walk over a command's data, for transports that move it at once. */
struct op_walk {
	const struct iovec *next, *end;
	uint32_t skip, left;
};
static inline struct op_walk op_walk_over(const struct nvme_op *op)
{
	return (struct op_walk){ op->iovs, op->iovs + op->iov_count, op->iov_at, op->data_len };
}
/* The next contiguous piece; false: that was all. */
static inline bool op_walk_next(struct op_walk *w, struct iovec *ret_iov)
{
	for (; w->left && w->next < w->end; w->next++) {
		if (w->skip >= w->next->iov_len) {
			w->skip -= (uint32_t)w->next->iov_len;
			continue;
		}
		ret_iov->iov_base = (uint8_t *)w->next->iov_base + w->skip;
		ret_iov->iov_len = min_u64(w->next->iov_len - w->skip, w->left);
		w->left -= (uint32_t)ret_iov->iov_len;
		w->skip = 0;
		w->next++;
		return true;
	}
	return false;
}

static inline bool nvme_qpair_is_dead(const struct nvme_qpair *qp) { return qp->machine.state == QPAIR_DEAD; }

/* prove.c. nvme_qpair_proved() follows, or nvme_qpair_broke(). */
void nvme_proof_start(struct nvme_qpair *qp, bool concat);
void nvme_proof_free(struct nvme_qpair *qp);
/* A proof has found what is wrong: why the queue pair ends, even if its target closes the connection at once. */
bool nvme_proof_blames(const struct nvme_qpair *qp, struct err *ret_e);
void nvme_qpair_proved(struct nvme_qpair *qp);

/* secure.c: NEGOTIATING follows, or the end, or nvme_qpair_connect_again(). */
void nvme_secure_start(struct nvme_qpair *qp);
void nvme_secure_free(struct nvme_qpair *qp);
void nvme_qpair_connect_again(struct nvme_qpair *qp);
/* A key of TLS that a proof made (secure concatenation), good for all queues of its controller. Any core. */
struct nvme_generated *nvme_generated_make(const struct nvme_qpair *qp, uint8_t hash, uint8_t len, const uint8_t *psk);
struct nvme_generated *nvme_generated_ref(struct nvme_generated *g); /* NULL is fine, for both */
void nvme_generated_unref(struct nvme_generated *g);

/* For transports. */
/* `e`: the handshake failed; the connection may be given up within. */
void nvme_qpair_secured(struct nvme_qpair *qp, const struct err *e);
void nvme_qpair_connected(struct nvme_qpair *qp);
void nvme_qpair_negotiated(struct nvme_qpair *qp);
/* The command is over: `cqe` from the wire. False: its cid is not outstanding, the peer is broken. */
bool nvme_qpair_completed(struct nvme_qpair *qp, const struct nvme_cqe *cqe);
struct nvme_op *nvme_qpair_op(struct nvme_qpair *qp, uint16_t cid); /* NULL: not outstanding */
static inline uint16_t nvme_qpair_slot(const struct nvme_qpair *qp, uint16_t cid) { return cid & qp->slot_mask; }
/* The connection ended. Commands are failed later in this pass, or after nvme_qpair_let_go(). */
void nvme_qpair_broke(struct nvme_qpair *qp, enum nvme_reason reason, const struct err *e);
/* disconnect() was false, and nobody touches the memory of its commands any more: they are failed, now or later in this
 * pass. The queue pair may be gone when it returns. */
void nvme_qpair_let_go(struct nvme_qpair *qp);
/* Before the first command: the target's queue has no more than so many entries. Connect must not ask for more then.
 * False: they are too few to be used. */
bool nvme_qpair_cut(struct nvme_qpair *qp, uint32_t entries);
/* Around a transport's loop that calls the above: false when the queue pair was closed meanwhile and is gone. */
static inline void nvme_qpair_hold(struct nvme_qpair *qp) { qp->held++; }
bool nvme_qpair_release(struct nvme_qpair *qp);
/* Something was received. Others share the stamp: it is written now and then only. */
#define QPAIR_ALIVE_GRAIN_NS (20 * NS_PER_MS)
static inline void nvme_qpair_alive(struct nvme_qpair *qp)
{
	uint64_t now_ns = reactor_now_ns();

	if (now_ns - qp->alive_told_ns < QPAIR_ALIVE_GRAIN_NS || !qp->opts.alive_ns)
		return;
	qp->alive_told_ns = now_ns;
	atomic_store_explicit(qp->opts.alive_ns, now_ns, memory_order_relaxed);
}

/* --- controllers ------------------------------------------------------------------------------ */

#define CTRLR_ADMIN_QUEUE_SIZE 32
#define CTRLR_EVENTS_MAX 4
#define CTRLR_CID_KEEP_ALIVE 0  /* of the reserved ones */
#define CTRLR_CID_STATE 1
#define CTRLR_CID_EVENT 2       /* and up */
#define CTRLR_CIDS_RESERVED (CTRLR_CID_EVENT + CTRLR_EVENTS_MAX)
#define CTRLR_NAMESPACES_MAX 65536 /* a list that goes on is refused */

/* Meanings end the sentence "... (while: ...)". */
#define CTRLR_STATES(X) \
	X(CTRLR, RESOLVE,      "looking up the address",             TO(CTRLR, CONNECT) | TO(CTRLR, FAILED)) \
	X(CTRLR, CONNECT,      "connecting the admin queue",         TO(CTRLR, READ_CAP) | TO(CTRLR, FAILED)) \
	X(CTRLR, READ_CAP,     "reading CAP",                        TO(CTRLR, ENABLE) | TO(CTRLR, FAILED)) \
	X(CTRLR, ENABLE,       "setting CC.EN",                      TO(CTRLR, WAIT_READY) | TO(CTRLR, FAILED)) \
	X(CTRLR, WAIT_READY,   "reading CSTS until RDY",             TO(CTRLR, IDENTIFY) | TO(CTRLR, FAILED)) \
	X(CTRLR, IDENTIFY,     "Identify controller",                TO(CTRLR, SET_EVENTS) | TO(CTRLR, FAILED)) \
	X(CTRLR, SET_EVENTS,   "Set Features: asynchronous events",  TO(CTRLR, LIMITS) | TO(CTRLR, READY) | \
	                                                             TO(CTRLR, FAILED)) \
	X(CTRLR, LIMITS,       "Identify controller, command set",   TO(CTRLR, SET_BEHAVIOR) | TO(CTRLR, FAILED)) \
	X(CTRLR, SET_BEHAVIOR, "Set Features: host behavior",        TO(CTRLR, SET_QUEUES) | TO(CTRLR, FAILED)) \
	X(CTRLR, SET_QUEUES,   "Set Features: number of queues",     TO(CTRLR, SCAN) | TO(CTRLR, FAILED)) \
	X(CTRLR, SCAN,         "reading the namespaces",             TO(CTRLR, READY) | TO(CTRLR, FAILED)) \
	X(CTRLR, READY,        "in use",                             TO(CTRLR, SHUTDOWN) | TO(CTRLR, DISABLE) | \
	                                                             TO(CTRLR, FAILED)) \
	X(CTRLR, DISABLE,      "clearing CC.EN",                     TO(CTRLR, WAIT_IDLE) | TO(CTRLR, FAILED)) \
	X(CTRLR, WAIT_IDLE,    "reading CSTS until RDY is 0",        TO(CTRLR, DISABLED) | TO(CTRLR, FAILED)) \
	X(CTRLR, DISABLED,     "disabled",                           TO(CTRLR, FAILED)) \
	X(CTRLR, SHUTDOWN,     "setting CC.SHN",                     TO(CTRLR, WAIT_SHUT) | TO(CTRLR, FAILED)) \
	X(CTRLR, WAIT_SHUT,    "reading CSTS until SHST says complete", TO(CTRLR, FAILED)) \
	X(CTRLR, FAILED,       "over",                               0)
enum ctrlr_state { CTRLR_STATES(MACHINE_ENUM) CTRLR_STATE_COUNT };

/* ctrlr_scan.c: the namespaces of one reading, until they replace those before. */
struct ctrlr_scan {
	struct nvme_op op;
	struct iovec iov;
	bool running, out;              /* out: its command is, and `page` has to stay */
	uint8_t *page;
	uint32_t *nsids;
	struct nvme_ns_info *ns;
	uint32_t nsid_count, ns_count, at;
	const char *step;               /* what it is at, for the sentence */
	struct timer deadline;
	nvme_ctrlr_done_fn *done;
	void *arg;
};

/* ctrlr_event.c */
struct ctrlr_event_slot {
	struct nvme_op op;
	struct nvme_ctrlr *ctrlr;
	bool out, refused;
};
struct ctrlr_events {
	nvme_event_fn *fn;
	void *arg;
	struct ctrlr_event_slot slots[CTRLR_EVENTS_MAX];
	uint32_t burst;                 /* events since burst_ns */
	uint64_t burst_ns;
	struct timer pause;
};

struct nvme_ctrlr {
	struct nvme_host *host;
	struct nvme_path path;
	struct nvme_host_opts opts;
	struct nvme_ctrlr_info info;
	struct nvme_login login;        /* what our I/O queue pairs need */
	struct machine machine;
	bool asked;                     /* the state's command is out or answered */
	bool optional;                  /* it may be refused */
	bool told;                      /* `ready` was called */
	struct lookup *lookup;
	struct nvme_qpair *admin;
	struct nvme_op op;              /* of the state machine */
	struct iovec iov;
	uint8_t *page;                  /* 4 KiB for it */
	uint64_t cap, began_ns;
	uint32_t polls_left;
	struct timer deadline, poll_timer;
	struct nvme_ns_info *ns;        /* info.ns */
	struct ctrlr_scan scan;
	struct ctrlr_events events;
	/* Keep alive. */
	struct nvme_op keep_alive_op;
	struct timer keep_alive_timer;
	bool keep_alive_out;
	uint64_t keep_alive_sent_ns;
	_Atomic uint64_t alive_ns;      /* where opts has none */
	/* Who is told. */
	struct err err;
	enum nvme_reason reason;
	bool *gone_flag;                /* set when it is freed within a callback of ours */
	void (*reached)(struct nvme_ctrlr *c, void *arg);
	void *reached_arg;
	nvme_ctrlr_ready_fn *ready;
	nvme_ctrlr_gone_fn *gone;
	void *arg;
	void (*timed_out)(struct nvme_ctrlr *c, struct nvme_op *op, void *arg);
	void *timed_out_arg;
	nvme_ctrlr_done_fn *disabled;
	void *disabled_arg;
	void (*closed)(void *arg);
	void *closed_arg;
};

#define CTRLR_CC nvme_cc_with_iosqes(nvme_cc_with_iocqes(0, 4), 6) /* entries of 64 and 16 bytes; not enabled */

/* ctrlr.c */
enum step ctrlr_goto(struct nvme_ctrlr *c, enum ctrlr_state state);
void ctrlr_run(struct nvme_ctrlr *c);
void ctrlr_deadline_start(struct nvme_ctrlr *c);
const char *ctrlr_state_text(const struct nvme_ctrlr *c);
/* The look-up is over: on to the connection. It may be closed within. */
void ctrlr_resolved(struct nvme_ctrlr *c, const struct net_addr *addr, const struct err *e);
/* lookup.c: ctrlr_resolved() follows, maybe at once. */
void ctrlr_lookup_start(struct nvme_ctrlr *c);
void ctrlr_lookup_forget(struct nvme_ctrlr *c);
void nvme_host_lookups_free(struct nvme_host *h);
/* ctrlr_ask.c: the state machine's commands. */
enum step ctrlr_ask(struct nvme_ctrlr *c, const struct nvme_sqe *cmd, enum nvme_op_data data, uint32_t len);
enum step ctrlr_ask_property(struct nvme_ctrlr *c, enum nvme_property offset, bool wide);
enum step ctrlr_ask_to_set(struct nvme_ctrlr *c, enum nvme_property offset, uint64_t value);
enum step ctrlr_ask_csts_later(struct nvme_ctrlr *c);
struct nvme_sqe ctrlr_identify(enum nvme_cns cns, uint32_t nsid);
/* ctrlr_end.c: the states at the end, and how it ends. */
void ctrlr_fail(struct nvme_ctrlr *c, enum nvme_reason reason, int code, const char *fmt, ...) PRINTF(4, 5);
enum step ctrlr_on_SHUTDOWN(struct nvme_ctrlr *c);
enum step ctrlr_on_WAIT_SHUT(struct nvme_ctrlr *c);
enum step ctrlr_on_DISABLE(struct nvme_ctrlr *c);
enum step ctrlr_on_WAIT_IDLE(struct nvme_ctrlr *c);
/* ctrlr_keep_alive.c */
void ctrlr_keep_alive_begin(struct nvme_ctrlr *c);
/* ctrlr_event.c: once it is ready, if someone listens. */
void ctrlr_events_begin(struct nvme_ctrlr *c);
void ctrlr_events_end(struct nvme_ctrlr *c);
/* ctrlr_scan.c */
void ctrlr_scan_begin(struct nvme_ctrlr *c, nvme_ctrlr_done_fn *done, void *arg);
void ctrlr_scan_end(struct nvme_ctrlr *c);

/* identify.c: what pages of Identify say; pure. Any bytes may come. */
void nvme_learn_revision(struct nvme_ctrlr_info *info, const struct nvme_id_ctrl *id);
void nvme_learn_ctrl(struct nvme_ctrlr_info *info, const struct nvme_id_ctrl *id, uint64_t cap);
void nvme_learn_limits(struct nvme_ctrlr_info *info, const struct nvme_id_ctrl_nvm *id, uint64_t cap);
void nvme_learn_ns(struct nvme_ns_info *ns, const struct nvme_id_ns *id);
void nvme_learn_ns_descs(struct nvme_ns_info *ns, const uint8_t page[static NVME_IDENTIFY_SIZE]);
/* Append a page's ids to `nsids`, of which there are *count already. False: they do not ascend, or are too many. */
bool nvme_learn_ns_list(uint32_t *nsids, uint32_t *count, uint32_t most, const le32 page[static 1024], bool *ret_more);

#endif
