/* SPDX-License-Identifier: BSD-3-Clause */
/* rdma.h: the NVMe/RDMA transport of the target (private to nvmf/rdma).
 *
 *     rdma.c   the transport: options, listeners, adapters that come and go, stop        control reactor
 *     admit.c  who asks to be let in: checks, a core, queues; and how a connection is freed    control reactor
 *     home.c   what a core has per adapter: completions, shared receives, watchdog, counters
 *     conn.c   a connection's life on its core: arrival, trouble, goodbye
 *     req.c    a command's life                                                          state machine
 *     sgl.c    what a command's descriptors say, and cutting data into work requests     pure
 *     post.c   all that a connection has to post, in one chain a pass
 *     stats.c  counters, for those who look
 *
 * A command comes into a receive of its connection's, or of one that all connections of a home share. What is copied
 * out of it gives it back at once; data in the capsule keeps it. READs and answers gather on the connection, and one
 * chain at the end of the pass posts them: the adapter copies work requests, so that they are built then, on the core's
 * scratch pad, and a request keeps none.
 *
 * A connection's work requests are credits: a request takes all that it needs when it is its turn, or waits in a line
 * with a name. Completions bring credits back and call who waits; a timer that runs only while somebody waits looks
 * again, so that no waiter can be forgotten whatever does not come.
 *
 * Who ends a connection: its core, by rdma_conn_lose(); told by a completion, the target, a deadline, or the control
 * reactor (VERBS_CONN_ENDED, an adapter that goes). What the adapter may still touch is kept until control has freed
 * the verbs connection:
 *
 *     control   admit ---arrive--> core   begins with its adapter; the queue pair exists
 *     control   make queues <---- core
 *     control   ---- queued ----> core    receives are posted
 *     control   accept <--------- core
 *     control   lost -----------> core    (or the core found out itself)
 *     control   drop <----------- core    forgotten; the target begins to let go
 *     control   ---- dropped ---> core    buffers go back
 *     control   free <----------- core    when the target has let go too
 */
#ifndef NVMF_RDMA_RDMA_H
#define NVMF_RDMA_RDMA_H

#include "bdev/iov.h"
#include "core/log.h"
#include "core/mem.h"
#include "core/trace.h"
#include "core/watch.h"
#include "nvmf/strangers.h"
#include "nvmf/transport.h"
#include "verbs/verbs.h"
#include "wire/nvme_rdma.h"

#define RDMA_DESCS_MAX 16u            /* keyed descriptors of a command: MSDBD */
#define RDMA_SGES_MAX 16u             /* of a work request: more of the adapter's are not used */
#define RDMA_BATCH 64u                /* work requests posted by one call; a command's most are fewer */
#define RDMA_RECVS_A_POST 64u
#define RDMA_SLOTS_MORE (RDMA_BATCH / 2)
#define RDMA_SRQ_DEPTH 4096u          /* unless the options say otherwise ... */
#define RDMA_SRQ_DEPTH_MIN 16u        /* fewer than these are not worth having */
#define RDMA_SRQ_SHARE 2u             /* a part of the memory for what is not data: for all shared receives */
#define RDMA_CQ_ENTRIES 4096u
#define RDMA_BACKLOG 100u
#define RDMA_DATA_TIMEOUT_MS 30000u
#define RDMA_ASKED_BYTES_MAX (2u << 20) /* of one connection: buffers that wait for READs. A host that does not answer
                                         * shall not hold everybody's */
#define RDMA_SHARE_OF_POOL 4u         /* a part of a core's buffers, no less than that: for one connection's reads */
#define RDMA_CONNECT_MS 30000u        /* from the arrival of a connection to a successful Connect ... */
#define RDMA_STRANGERS_CTRLRS 2u      /* ... before which an address may have as many as these have queues: hosts make
                                       * all queues of a controller before the first Connect */
#define RDMA_STRANGERS_MAX 1024u      /* ... and all addresses together */
#define RDMA_LINGER_MS 1000u          /* answers that are still to be taken when the target ends a connection */
#define RDMA_SWEEP_MS 50u             /* while somebody waits: look whether one was forgotten */
#define RDMA_CAPSULE_ALIGN 4096u      /* of data in capsules of a page or more: devices like it */
#define RDMA_RNR_FOREVER 7u
#define RDMA_RETRIES 7u               /* without an acknowledgement */

/* --- descriptors (sgl.c) ----------------------------------------------------------------------------- */

/* What a command's descriptors offer. */
struct rdma_sgl {
	const struct nvme_sgl *descs;     /* keyed: in the command, or in its capsule */
	uint8_t count;
	bool in_capsule;                  /* none of these: the data came along, `at` bytes into the capsule's data */
	bool listed;                      /* descs lie in the capsule */
	bool invalidate;                  /* the answer shall invalidate `key` */
	uint32_t key;
	uint32_t at;
};
/* A parsed command that moves data; `data` of the capsule, of which `came` bytes came. 0, or the status that is to be
 * answered. */
uint16_t rdma_sgl_parse(const struct nvmf_req *req, const uint8_t *data, uint32_t came, struct rdma_sgl *ret_sgl);

/* Where a transfer is: in the other side's memory, and in ours. */
struct rdma_cursor {
	const struct nvme_sgl *desc;
	uint32_t descs_left, desc_at;
	struct iov_cursor iov;
};
struct rdma_cursor rdma_cursor_over(const struct rdma_sgl *sgl, const struct iovec *iovs, uint32_t count);
void rdma_cursor_skip(struct rdma_cursor *c, uint32_t bytes);
/* The next work request of at most `bytes`: as much as one remote piece and `sges_max` of ours hold. Fills sges but for
 * their keys, and wr's rkey, remote, sges, sge_count; returns its bytes. */
uint32_t rdma_cursor_next(struct rdma_cursor *c, uint32_t bytes, uint32_t sges_max, struct verbs_sge *sges,
                          struct verbs_wr *wr);
/* Work requests that `bytes` from here on need. */
uint32_t rdma_cursor_count(struct rdma_cursor c, uint32_t bytes, uint32_t sges_max);

/* --- what a completion is about --------------------------------------------------------------------------- */

enum rdma_work_kind { RDMA_WORK_CAPSULE, RDMA_WORK_REQ };
struct rdma_work {
	uint8_t kind;                     /* enum rdma_work_kind */
};

struct rdma_conn;
struct rdma_home;

/* A receive: a command, and the data that comes along. */
struct rdma_capsule {
	struct rdma_work work;
	bool posted;
	uint32_t came;                    /* bytes of data */
	struct rdma_conn *conn;           /* whose receive it is; NULL: shared */
	struct queue_link link;           /* to be posted, or waiting for a slot */
	struct nvme_sqe *sqe;
	uint8_t *data;
	uint64_t since_ns;                /* waiting for a slot */
};

/* Receives and their memory. */
struct rdma_capsules {
	struct verbs_mem mem;             /* sqes, then data; then, of a connection, the answers */
	struct rdma_capsule *all;
	uint32_t count, posted;
	uint32_t data_bytes, stride;
	size_t answers_at;
	uint64_t charged;
	struct queue again;               /* to be posted */
};

/* --- one command ----------------------------------------------------------------------------------- */

#define REQ_STATES(X) \
	X(REQ, FREE,       "no command",                            TO(REQ, NEW)) \
	X(REQ, NEW,        "look at the command",                   TO(REQ, NEED_TURN) | TO(REQ, NEED_ROOM) | \
	                                                            TO(REQ, NEED_READS) | TO(REQ, EXECUTE) | \
	                                                            TO(REQ, NEED_SEND)) \
	X(REQ, NEED_TURN,  "wait for others of its connection",     TO(REQ, NEED_ROOM) | TO(REQ, NEED_READS) | \
	                                                            TO(REQ, EXECUTE) | TO(REQ, NEED_SEND) | \
	                                                            TO(REQ, FREE)) \
	X(REQ, NEED_ROOM,  "wait for data buffers",                 TO(REQ, NEED_READS) | TO(REQ, EXECUTE) | \
	                                                            TO(REQ, NEED_SEND) | TO(REQ, FREE)) \
	X(REQ, NEED_READS, "wait for work requests to READ",        TO(REQ, READ) | TO(REQ, NEED_SEND) | TO(REQ, FREE)) \
	X(REQ, READ,       "data is READ from the host",            TO(REQ, NEED_READS) | TO(REQ, EXECUTE) | \
	                                                            TO(REQ, DEAD)) \
	X(REQ, EXECUTE,    "the target has it",                     TO(REQ, NEED_SEND) | TO(REQ, FREE)) \
	X(REQ, NEED_SEND,  "wait for work requests to answer",      TO(REQ, SEND) | TO(REQ, FREE)) \
	X(REQ, SEND,       "the answer goes out",                   TO(REQ, FREE) | TO(REQ, DEAD)) \
	X(REQ, DEAD,       "the adapter lets go of its buffers",    TO(REQ, FREE))
enum req_state { REQ_STATES(MACHINE_ENUM) REQ_STATE_COUNT };
extern const struct machine_state rdma_req_states[];

/* Names of waits. */
#define RDMA_WAIT_TURN "its host to answer earlier RDMA READs"
#define RDMA_WAIT_SHARE "its host to take what it read before"
#define RDMA_WAIT_READS "RDMA READs"
#define RDMA_WAIT_SEND "the RDMA send queue"
#define RDMA_WAIT_SLOT "RDMA command slots"

/* Buffers that a connection may hold at a time for one direction; one command always may. */
struct rdma_lot {
	uint32_t bytes, max;
	struct waitq line;
};

struct rdma_req {
	struct rdma_work work;
	uint8_t state;                /* enum req_state */
	bool asked;                   /* its data is READ */
	uint16_t index;               /* slot */
	uint16_t wrs;                 /* credits it holds: work requests that are under way, or are to be posted */
	uint16_t reads;               /* of these, READs */
	uint32_t number;              /* of its connection's posts */
	uint32_t moved;               /* bytes that earlier chains READ ... */
	uint32_t moving;              /* ... and this one */
	struct nvmf_req req;
	struct rdma_sgl sgl;
	struct mem_bufs bufs;
	struct iovec one;             /* data that came with the capsule, or that a device lends */
	struct rdma_capsule *capsule; /* it needs what lies there */
	struct rdma_lot *lot;         /* its data counts there */
	struct queue_link link;       /* in the connection's `out` or `posted`, or among its free slots */
	struct wait wait;
	uint64_t since_ns;            /* when it came into its state */
};
_Static_assert(sizeof(struct rdma_req) <= 640, "as many as entries are reserved for every connection");

/* --- one connection -------------------------------------------------------------------------------- */

#define CONN_STATES(X) \
	X(CONN, READY, "commands pass",                          TO(CONN, LAST) | TO(CONN, LOST)) \
	X(CONN, LAST,  "the last answers go out",                TO(CONN, LOST)) \
	X(CONN, LOST,  "the adapter and the target let go",      0)
enum conn_state { CONN_STATES(MACHINE_ENUM) CONN_STATE_COUNT };
extern const struct machine_state rdma_conn_states[];

struct rdma_conn {
	struct nvmf_qpair qp;
	struct rdma_home *home;
	struct verbs_conn *vc;        /* control frees it; its core posts to it unless it is LOST */
	/* Constant once made. */
	uint16_t qid;                 /* the host says so, before Connect */
	uint16_t depth;               /* commands that may be unanswered */
	uint16_t slot_count;          /* more: a host knows of an answer before its completion comes here */
	uint16_t read_depth;          /* READs that may be under way */
	uint16_t sges_max;
	uint32_t send_max;            /* work requests that may be under way */
	bool answers_inline;
	struct net_addr local, peer;
	struct rdma_capsules own;     /* receives, if they are not shared; answers, if they are not inline */
	struct rdma_req *slots;
	uint64_t slots_bytes;         /* charged */
	struct nvme_sgl (*lists)[RDMA_DESCS_MAX]; /* by slot: of commands that came in shared receives; its core makes it */
	/* Its core. */
	uint8_t state;                /* enum conn_state */
	bool queued;                  /* it has queues to post to, and to forget */
	bool known;                   /* its Connect succeeded */
	bool qp_closed, dropped;
	uint32_t touched, in_use, executing;
	uint32_t unanswered;          /* commands that came and whose answer was not posted */
	uint32_t sending;             /* answers whose completion has not come */
	uint32_t credits, reads_free;
	struct rdma_lot asked, shown; /* data that is to be READ; that is read, and written to the host */
	struct queue_link *free;
	struct queue out;             /* requests in READ and SEND that are to be posted */
	struct queue posted;          /* requests in SEND that were, in order */
	uint32_t posts;               /* requests posted ever: their numbers */
	struct queue early;           /* capsules that wait for a slot */
	struct waitq readers, senders;
	struct defer flush, gone;
	struct timer timer;
	struct list link;             /* the home's */
	/* Control's. */
	struct list all;              /* the transport's */
	struct nvmf_stranger stranger; /* until its Connect succeeds */
	bool has_queues, met;         /* its core knows that it has */
	bool accepted, told, dropping;
	bool crowded;                 /* there are too many strangers: its core was asked to end it */
	struct msg msg;               /* arrive, make queues, queued, accept; connected */
	struct msg lost_msg, drop_msg, out_msg;
};

static inline struct rdma_conn *conn_of(struct nvmf_qpair *qp) { return container_of(qp, struct rdma_conn, qp); }
static inline struct rdma_conn *req_conn(struct rdma_req *r) { return conn_of(r->req.qpair); }
static inline struct rdma_req *req_of(struct nvmf_req *req) { return container_of(req, struct rdma_req, req); }
static inline bool conn_is_live(const struct rdma_conn *c) { return c->state != CONN_LOST; }

/* conn.c: its core */
void rdma_conn_init(struct rdma_conn *c);                                    /* control: lines and lists */
void rdma_conn_arrive(struct msg *m);                                        /* c->msg */
void rdma_conn_queued_on_core(struct msg *m);                                /* c->msg */
void rdma_conn_lost_on_core(struct msg *m);                                  /* c->lost_msg: control was told */
void rdma_conn_out_on_core(struct msg *m);                                   /* c->out_msg: it goes for the next */
void rdma_conn_dropped_on_core(struct msg *m);                               /* c->drop_msg: vc is freed */
/* It ends now; `why` for the log at debug level. */
void rdma_conn_lose(struct rdma_conn *c, const char *why);
/* A work request failed: of a request, or a receive. */
void rdma_conn_failed(struct rdma_conn *c, uint8_t status, const char *what);
void rdma_conn_capsule(struct rdma_conn *c, struct rdma_capsule *cap);        /* a command came */
void rdma_conn_slot_free(struct rdma_conn *c);                               /* who waits for one */
void rdma_conn_sent(struct rdma_conn *c);                                    /* an answer is with the host */
void rdma_conn_sized(struct nvmf_qpair *qp);
void rdma_conn_disconnect(struct nvmf_qpair *qp);
void rdma_conn_closed(struct nvmf_qpair *qp);
void rdma_conn_addrs(const struct nvmf_qpair *qp, struct net_addr *ret_local, struct net_addr *ret_peer);
/* A receive is not needed any more: it is posted again. */
void rdma_capsule_done(struct rdma_home *h, struct rdma_capsule *cap);

/* req.c */
struct rdma_req *rdma_req_take(struct rdma_conn *c);                         /* NULL: all slots are in use */
void rdma_req_run(struct rdma_req *r);                                      /* until it waits */
void rdma_req_done(struct nvmf_req *req);                                   /* the target's answer */
bool rdma_req_abort(struct nvmf_qpair *qp, uint16_t cid);                   /* one that waits here */
void rdma_req_completed(struct rdma_req *r);                                /* it is, and what was posted before */
void rdma_req_end_all(struct rdma_conn *c);                                 /* but those in the target's hands */
void rdma_req_end_dead(struct rdma_conn *c);                                /* the adapter has let go */
uint32_t rdma_req_data_to_send(const struct rdma_req *r);
bool rdma_readers_ready(struct waitq *q, uint32_t need);
bool rdma_senders_ready(struct waitq *q, uint32_t need);
bool rdma_lot_ready(struct waitq *q, uint32_t need);

/* post.c */
void rdma_post_soon(struct rdma_conn *c);
bool rdma_post_own(struct rdma_conn *c);                                     /* its receives; false: it was lost */
void rdma_post_shared(struct rdma_home *h);                                  /* receives that came back */
void rdma_post_shared_soon(struct rdma_home *h);

/* --- one core and adapter ------------------------------------------------------------------------------ */

/* SPDK's names first.  key                  meaning */
#define RDMA_COUNTERS(X) \
	X(requests,              "commands received") \
	X(request_latency,       "nanoseconds from a command's arrival to its answer's completion, summed up") \
	X(pending_free_request,  "commands that waited for a slot") \
	X(pending_rdma_read,     "commands that waited for work requests to READ") \
	X(pending_rdma_write,    "answers with data that waited for work requests") \
	X(pending_rdma_send,     "answers without data that waited for work requests") \
	X(total_send_wrs,        "work requests posted: READs, WRITEs, SENDs") \
	X(send_doorbell_updates, "calls that posted them") \
	X(total_recv_wrs,        "receives posted") \
	X(recv_doorbell_updates, "calls that posted them") \
	X(pending_data_buffer,   "commands that waited for data buffers") \
	X(pending_turn,          "commands that waited for earlier data of their connection") \
	X(in_capsule,            "writes whose data came along") \
	X(listed,                "commands with a list of descriptors") \
	X(split_reads,           "commands whose READs went out in several chains") \
	X(invalidations,         "answers that invalidated a key") \
	X(shared_dry,            "times the shared receive queue had no receive left") \
	X(remembered,            "waiting commands that the timer found able to go on: always 0") \
	X(failed,                "connections ended by a failed work request") \
	X(broken_rules,          "connections ended because the host broke the rules") \
	X(timed_out,             "connections ended for silence") \
	X(crowded_out,           "connections without a Connect ended for the next, as there were too many") \
	X(connections,           "connections taken")
#define RDMA_COUNTER_FIELD(key, meaning) uint64_t key;
struct rdma_counters {
	RDMA_COUNTERS(RDMA_COUNTER_FIELD)
};
/* One writer; any core may read. */
#define rdma_count(home, key, n) \
	__atomic_store_n(&(home)->counters.key, (home)->counters.key + (n), __ATOMIC_RELAXED)

struct rdma_dev;
struct rdma_transport;

struct rdma_home {
	/* Constant once made. */
	struct rdma_transport *tr;
	struct rdma_dev *dev;
	struct reactor *reactor;
	struct verbs_cq *cq;
	struct verbs_srq *srq;        /* NULL: connections have receives of their own */
	struct rdma_capsules shared;
	/* Its core's. */
	bool begun, stopping;
	struct list conns;
	struct rdma_known {               /* all of it has one key */
		uintptr_t at;
		size_t len;               /* 0: it has not */
		uint32_t lkey;
	} buffers, zeroes;                /* of mem_take(); mem_zeroes() */
	struct defer flush;
	struct watch watch;
	struct timer sweep;
	uint32_t waiting;             /* requests and capsules that wait for something of their connection */
	struct log_limit complaints;  /* about hosts */
	struct rdma_counters counters;
	/* What is posted is put together here. */
	struct verbs_wr wrs[RDMA_BATCH];
	struct verbs_sge sges[RDMA_BATCH * RDMA_SGES_MAX];
	/* Control's. */
	struct msg msg;               /* lose all, end */
	bool told;                    /* the first of them is under way */
};

/* Control. NULL with a sentence. */
struct rdma_home *rdma_home_make(struct rdma_transport *tr, struct rdma_dev *dev, uint32_t core_index, struct err *e);
void rdma_home_free(struct rdma_home *h);
int rdma_capsules_make(struct rdma_capsules *s, struct rdma_home *h, struct rdma_conn *owner, uint32_t count,
                       uint32_t answers, struct err *e) MUST_USE;
void rdma_capsules_free(struct rdma_capsules *s, struct rdma_home *h);
/* Its core. */
int rdma_home_begin(struct rdma_home *h) MUST_USE;
void rdma_home_end(struct rdma_home *h);
void rdma_home_lose_all(struct rdma_home *h, const char *why);
void rdma_home_waits(struct rdma_home *h);                                   /* one more waits */
uint32_t rdma_home_lkey(struct rdma_home *h, const void *at, size_t len);

/* --- the transport: control --------------------------------------------------------------------------------- */

/* An adapter, from VERBS_DEV_CAME on. */
struct rdma_dev {
	struct list link;
	struct rdma_transport *tr;
	struct verbs_dev *vd;
	bool gone, retiring;
	uint32_t conns, home_count;
	struct rdma_home *homes[CORE_REACTORS_MAX]; /* made when first needed */
};

struct rdma_transport {
	struct nvmf_transport base;
	struct core *core;
	struct verbs *verbs;
	struct verbs_watcher watcher;
	struct list devs, listeners, conns;
	uint32_t conn_count;
	struct nvmf_strangers strangers;
	uint64_t rejected;            /* connections */
	struct log_limit complaints;
	bool stopping;
	void (*stopped)(void *arg);
	void *stopped_arg;
	struct msg stop_msg;
	bool stop_msg_out;
};

struct rdma_listener {
	struct list link;
	struct rdma_transport *tr;
	struct verbs_listener *listener;
	struct net_addr addr;         /* as it was asked for */
};

static inline struct rdma_transport *rdma_of(struct nvmf_transport *tr)
{
	return container_of(tr, struct rdma_transport, base);
}
static inline struct rdma_transport *conn_tr(const struct rdma_conn *c) { return rdma_of(c->qp.transport); }
struct rdma_dev *rdma_dev_of(struct rdma_transport *tr, struct verbs_dev *vd);
void rdma_dev_maybe_retire(struct rdma_dev *d);                              /* its last connection went */

/* admit.c */
struct rdma_wish {
	uint16_t qid, depth, read_depth;
};
/* What a host asks for, against what there may be. 0, or why not: enum nvme_rdma_cm_status. */
uint16_t rdma_admit_check(const struct nvmf_transport_opts *opts, const struct verbs_dev_info *info,
                          const struct verbs_params *p, struct rdma_wish *ret_wish);
uint8_t rdma_ack_exponent(uint32_t ms);
void rdma_admit(void *arg, struct verbs_conn *vc, const struct verbs_params *p); /* verbs_listener_fn */
void rdma_conn_queue_on_control(struct msg *m);                              /* c->msg */
void rdma_conn_accept_on_control(struct msg *m);                             /* c->msg */
void rdma_conn_connected_on_control(struct msg *m);                          /* c->msg: its Connect succeeded */
void rdma_conn_drop_on_control(struct msg *m);                               /* c->drop_msg */
void rdma_conn_free_on_control(struct msg *m);                               /* c->drop_msg, at last */
void rdma_conn_tell_lost(struct rdma_conn *c);

/* stats.c */
void rdma_stats(struct nvmf_transport *base, uint32_t core_index, void (*emit)(void *arg, const char *key, uint64_t v),
                void *arg);
void rdma_device_stats(struct nvmf_transport *base, uint32_t core_index, void (*device)(void *arg, const char *name),
                       void (*emit)(void *arg, const char *key, uint64_t v), void *arg);

#endif
