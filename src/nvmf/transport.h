/* SPDX-License-Identifier: BSD-3-Clause */
/* transport.h: what the NVMe-oF target asks of a transport, and what a transport asks of the target.
 *
 * A transport knows capsules and data, never opcodes: it takes 64-byte commands off the wire, is told by
 * nvmf_req_parse() which way how much data moves, fetches or sends that data in its own way (in-capsule,
 * R2T, RDMA, PRPs of a memory-based controller), and sends the 16-byte completion.
 *
 *     transport                                   target
 *     qpair appears         nvmf_qpair_init()     not connected: only Connect and property commands pass
 *     command arrived       nvmf_req_parse()      picks the handler; says direction and length of data
 *     data is here          nvmf_req_execute()    runs it
 *                           ops->req_done()       cpl is set; lent or own data to send for a read
 *     sent                  nvmf_req_free()       lent data is given back; the slot may be reused
 *     connection ends       nvmf_qpair_close()    aborts; ops->qpair_closed() when no request is in the target's hands
 *
 * Everything happens on the qpair's own core.
 *
 * Rules both sides rely on:
 *   nvmf_req_parse() leaves nothing behind but what nvmf_req_free() undoes, so that a request can be parsed, dropped
 *   and parsed anew (on another core). It resets every field below `cmd`. PSDT and other command fields are the
 *   target's to check, SGL1 the transport's.
 *   sqhd advances in nvmf_req_finish_cpl(), once per request.
 *   nvmf_qpair_close() lets requests in the target's hands end through ops->req_done() as ever (parked ones too);
 *     the transport frees them and sends nothing.
 *   ops->req_done() and ops->qpair_disconnect() may come at any time outside of calls into the target.
 */
#ifndef NVMF_TRANSPORT_H
#define NVMF_TRANSPORT_H

#include "bdev/bdev.h"
#include "core/carry.h"
#include "core/machine.h"
#include "net/net.h"
#include "wire/nvme.h"

struct nvmf_target;
struct nvmf_ctrlr;
struct nvmf_qpair;
struct nvmf_req;
struct nvmf_transport;
struct nvmf_seat;
struct nvmf_core;
struct nvmf_auth;
struct nvmf_abort;
struct nvmf_handler; /* the row an opcode led to */

enum nvmf_data { NVMF_DATA_NONE, NVMF_DATA_TO_CTRLR, NVMF_DATA_TO_HOST };

/* One command in the target's or the transport's hands; embedded in the transport's own request. Fixed size; slots are
 * made when the connection's queue size is known. */
struct nvmf_req {
	struct nvmf_qpair *qpair;
	const struct nvmf_handler *handler;
	struct nvme_sqe cmd;          /* as it came */
	struct nvme_cqe cpl;          /* status and result; cid, sqhd and sqid are filled by nvmf_req_finish_cpl() */
	/* Set by nvmf_req_parse(). */
	uint8_t data;                 /* enum nvmf_data */
	bool may_lend;                /* no buffers needed if the transport has room for iovecs. TO_HOST: executed with an
	                               * empty array the data is lent; TO_CTRLR: nvmf_req_lend() before the data comes */
	bool may_consume;             /* TO_CTRLR: the device is done with the data when nvmf_req_execute() returns, as a
	                               * rule: the transport may pass memory it will need again soon. When `consumed`
	                               * is not set after all (the waist had to hold the I/O), it keeps that memory
	                               * until req_done() */
	bool parks;                   /* may wait for ever with good reason (AER): not for the watchdog; moves by
	                               * nvmf_req_withdraw() */
	uint32_t data_len;            /* bytes the command moves; for TO_HOST at most */
	uint16_t lend_iovs_max;       /* iovecs that lending may need */
	bool lends_zeroes;            /* TO_HOST and may_lend: mem_zeroes() is what it will be */
	/* Set by the transport before nvmf_req_execute(): the data, or for lent reads an empty array of iov_max. */
	uint16_t iov_count, iov_max;
	struct iovec *iovs;
	/* Set by the target before req_done(). */
	bool lent;                    /* iovs are a device's memory, given back by nvmf_req_free() unless it keeps it */
	bool consumed;                /* TO_CTRLR: after nvmf_req_execute() returned: the data is not needed any more */
	uint32_t sent_len;            /* TO_HOST: bytes to send; 0 with an error status */
	/* The target's. */
	bool executing;               /* linked in the qpair's list */
	bool finishing;               /* its answer is on its way to req_done() */
	bool preempted;               /* aborted by a PREEMPT AND ABORT of another host */
	bool awaited;                 /* somebody waits for its end: await.c */
	uint32_t shape;               /* of blocks, when the command was parsed */
	struct bdev_view *ns;         /* the namespace the command uses: keeps it, and its channel, until given back */
	struct nvmf_req *fused;       /* the other half of a fused pair ... */
	uint16_t fused_status;        /* ... or why there is none: how this one will be answered */
	/* When, for stages.c: nvmf_req_came(), nvmf_req_waited(). Units of 1024 ns. */
	uint32_t began, waited;       /* since it came: executed (or not: NVMF_NOT_BEGUN); thereof in line for room */
	uint64_t came_ns;
	uint16_t at;                  /* commands of several ranges: the one that is being done ... */
	uint64_t at_lba;              /* ... and where it goes */
	struct list link;             /* the qpair's list of executing requests */
	union {
		struct queue_link done_link;  /* the core's queue of answers that are ready */
		struct bdev_view *src;        /* before that: another namespace that is copied from, ... */
		void *own;                    /* ... or the command's */
	};
	struct bdev_io io;
};

#define NVMF_NOT_BEGUN UINT32_MAX

struct stage_unit;
struct nvmf_qpair {
	struct nvmf_transport *transport;
	struct nvmf_target *target;
	struct nvmf_ctrlr *ctrlr;     /* NULL until Connect succeeded */
	struct reactor *reactor;
	uint16_t qid;
	uint16_t size;                /* entries, from Connect; the transport's initial depth before */
	uint16_t size_max;            /* more than the transport made room for is refused; 0: as its options say */
	uint16_t sqhd;
	bool connected, closing, flow_control_off;
	bool masked;                  /* some commands are refused: masked_oncs */
	bool served;                  /* connected, and authenticated where its host has to be: commands pass */
	uint8_t concat;               /* enum nvmf_auth_sc that its host may ask for when it authenticates; ... */
	uint64_t tls_serial;          /* of the host's entry whose key it shook hands by */
	bool concat_only;             /* ... or has to: on a listener for TLS, without TLS */
	bool connecting;              /* the control reactor decides on its Connect */
	struct list executing;        /* requests in the target's hands */
	uint32_t executing_count;     /* as many, and what else has to end before the qpair may close */
	struct list link;             /* the core's list of qpairs */
	struct nvmf_abort *aborts;    /* that wait for how a command of its ends */
	const struct nvmf_req *wrong_req; /* the command that is being refused, ... */
	uint16_t wrong_at;            /* ... and what is wrong with it: byte, bit << 8 */
	struct nvmf_core *nc;         /* the target on this core */
	uint32_t sub_id;              /* the controller's subsystem */
	uint32_t data_len_max;        /* MDTS, bytes */
	uint8_t fused_state;          /* enum nvmf_fused: what the next command has to be */
	struct nvmf_req *fused_first; /* waits for the second half of its pair to be parsed */
	/* Of any traffic; the controller's keep-alive reads it from its own core. Points into the controller once
	 * connected. */
	_Atomic uint64_t *last_seen;
	_Atomic uint64_t last_seen_unconnected;
	struct bdev_lease *lease;     /* the controller's */
	uint32_t lease_epoch;
	struct nvmf_seat *seat;       /* its place in the controller's register; NULL until connected */
	struct nvmf_reach *reach;     /* which namespaces it may use; NULL: not looked yet */
	struct nvmf_auth *auth;       /* made when its host begins to prove who it is, or has to */
	struct defer closed;
	bool counted;                 /* in the target's places */
	uint64_t busy_ns, busy_until_ns; /* with a command at work */
	struct stage_unit *stages; /* of the namespace used last, then others: stages.h */
	/* For the scheduler (place.c). */
	uint64_t id;                  /* never used again for another one */
	uint64_t work;                /* since it was last asked: ticks of its core, by nvmf_qpair_worked(), and commands */
	uint32_t moved_round;         /* of the scheduler */
	bool pinned;                  /* put there by hand: the scheduler leaves it */
};

struct nvmf_transport_opts {
	uint16_t max_queue_depth;          /* entries of an I/O queue: default 128 */
	uint16_t max_io_qpairs_per_ctrlr;  /* default 127 */
	uint32_t in_capsule_data_size;     /* default 4096 */
	uint32_t max_io_size;              /* default 131072: MDTS */
	uint32_t io_unit_size;             /* these two are told and saved; no meaning here */
	uint32_t num_shared_buffers;
	uint32_t max_aq_depth;             /* default 128 */
	uint32_t abort_timeout_sec;
	uint32_t ack_timeout_ms;
	bool c2h_success;                  /* C2HData with the SUCCESS flag: default true */
	bool dif_insert_or_strip;
	uint32_t data_timeout_ms;          /* a host silent after R2T, or deaf, loses its connection: default 30000 */
	uint32_t sock_priority;
	uint16_t kas;                      /* granularity of keep-alive, 100 ms; 0: 10 */
	uint32_t min_kato_ms;              /* a shorter keep-alive timeout is made as long */
	uint16_t masked_oncs, masked_fuses; /* bits of Identify's fields: what is refused though it could be done */
	/* RDMA */
	uint32_t max_srq_depth;            /* entries of a shared receive queue; 0: 4096 */
	uint32_t num_cqe;                  /* entries a completion queue begins with; 0: 4096 */
	uint32_t acceptor_backlog;         /* 0: 100 */
	uint32_t data_wr_pool_size;        /* work requests of a connection at most; 0: as its depth can need */
	bool no_srq;                       /* no shared receive queues even where there are some */
	bool no_wr_batching;               /* post each work request by itself */
};

/* The table a transport is; about ten functions. */
struct nvmf_transport_ops {
	const char *name;                  /* "TCP" */
	uint8_t trtype;
	struct nvmf_transport *(*make)(struct nvmf_target *t, const struct nvmf_transport_opts *opts, struct err *e);
	void (*stop)(struct nvmf_transport *tr, void (*done)(void *arg), void *arg); /* close all, then done */
	void (*free)(struct nvmf_transport *tr);
	/* Control reactor. */
	int (*listen)(struct nvmf_transport *tr, const struct net_addr *addr, struct err *e);
	void (*unlisten)(struct nvmf_transport *tr, const struct net_addr *addr);
	/* The same for hosts that begin with TLS, or, with `concat`, with either. NULL: it has none. */
	int (*listen_secure)(struct nvmf_transport *tr, const struct net_addr *addr, bool concat, struct err *e);
	/* The qpair's core. */
	void (*req_done)(struct nvmf_req *req);                /* send the answer */
	void (*qpair_disconnect)(struct nvmf_qpair *qp);       /* the target wants it gone: nvmf_qpair_close() follows */
	void (*qpair_closed)(struct nvmf_qpair *qp);           /* answer to nvmf_qpair_close(): free it */
	void (*qpair_sized)(struct nvmf_qpair *qp);            /* Connect told qp->size: make the slots. */
	void (*qpair_addrs)(const struct nvmf_qpair *qp, struct net_addr *ret_local, struct net_addr *ret_peer);
	/* Of TLS, and enum tls_hash; NULL: not secured. NULL: none ever is. */
	const char *(*qpair_identity)(const struct nvmf_qpair *qp, uint8_t *ret_hash);
	/* A command of the qpair that it has and the target has not yet, waiting for room or for its data: to be answered
	 * with NVME_SC_ABORT_REQ, now or when its data has come. False: it has none of that CID. NULL: it cannot. */
	bool (*req_abort)(struct nvmf_qpair *qp, uint16_t cid);
	/* Give the qpair to another reactor. The same struct nvmf_qpair goes on living there; requests end where they
	 * began. done runs on the calling core, later. NULL: its qpairs stay where they are. */
	void (*qpair_move)(struct nvmf_qpair *qp, struct reactor *to, carry_done_fn *done, void *arg);
	void (*stats)(struct nvmf_transport *tr, uint32_t core_index, void (*emit)(void *arg, const char *key, uint64_t v),
	              void *arg);
	/* The same for each adapter that the core uses; `device` begins one. NULL: it has none. */
	void (*device_stats)(struct nvmf_transport *tr, uint32_t core_index,
	                     void (*device)(void *arg, const char *name),
	                     void (*emit)(void *arg, const char *key, uint64_t v), void *arg);
};

struct nvmf_transport {
	const struct nvmf_transport_ops *ops;
	struct nvmf_target *target;
	struct nvmf_transport_opts opts;
	/* For Identify, set by make(). */
	uint32_t sgls;                     /* NVME_SGLS_*: descriptors it takes */
	uint8_t msdbd;                     /* data descriptors of a command */
	struct list link;
	/* control */
	uint32_t ctrlrs;                   /* controllers that came by it */
	void (*left)(void *arg);           /* it is being removed: the last one went */
	void *left_arg;
};

/* --- the target's verbs for transports ------------------------------------------------------------------------ */

void nvmf_qpair_init(struct nvmf_qpair *qp, struct nvmf_transport *tr);
/* The command's first bytes came; it waited for room since then. */
static inline void nvmf_req_came(struct nvmf_req *req, uint64_t now_ns)
{
	req->came_ns = now_ns;
	req->began = NVMF_NOT_BEGUN;
	req->waited = 0;
}
static inline void nvmf_req_waited(struct nvmf_req *req, uint64_t since_ns)
{
	req->waited += (uint32_t)((reactor_now_ns() - since_ns) >> 10);
}
/* The last byte of the answer, which req_done() brought at `done_ns`, was handed on; or, lost, never will be. Before
 * nvmf_req_free(). */
void nvmf_stages_count(struct nvmf_req *req, uint64_t done_ns, bool lost);
/* The same for what was answered and is not lost; now_ns: of the pass, which a batch reads once. */
void nvmf_stages_sent(struct nvmf_req *req, uint64_t done_ns, uint64_t now_ns);
/* Look at the command: choose the handler, the data's direction and length. False: cpl already holds an error
 * status and there is nothing to fetch (the transport must still drop in-capsule data). SGLs are the transport's to
 * check: it compares what the SGL offers with req->data_len. */
bool nvmf_req_parse(struct nvmf_req *req);
/* Run it; ops->req_done(req) is called exactly once, later, never from within. */
void nvmf_req_execute(struct nvmf_req *req);
/* TO_CTRLR and may_lend, parsed, not yet executed: have memory of the device's own to receive the data in. Fills the
 * array at req->iovs (room for iov_max, at least lend_iovs_max) and iov_count; the array has to stay until
 * nvmf_req_free(), or until `consumed` is set. False: there is none; buffers of the transport's will do. */
bool nvmf_req_lend(struct nvmf_req *req);
/* Fill in the completion's cid, sqid, sqhd just before it is sent. */
void nvmf_req_finish_cpl(struct nvmf_req *req);
/* A status for trouble the transport found (bad SGL, digest error): sets cpl; the transport then sends it. */
void nvmf_req_fail(struct nvmf_req *req, uint16_t status); /* enum nvme_status, flags too */
/* Take a parked request (req->parks, executing) back unfinished: req_done() will not come for it. The transport moves
 * with its qpair and executes the command anew on its new core. False: too late, req_done() is on its way. */
bool nvmf_req_withdraw(struct nvmf_req *req);
/* After the answer was sent, or can never be: gives lent data back. */
void nvmf_req_free(struct nvmf_req *req);
/* The connection is gone. The lease is revoked for what it still had on the media's side; when no request is executing
 * any more, ops->qpair_closed(qp) is called, later, never from within. */
void nvmf_qpair_close(struct nvmf_qpair *qp);
/* Any bytes arrived: feeds keep-alive. Cheap. */
static inline void nvmf_qpair_seen(struct nvmf_qpair *qp)
{
	atomic_store_explicit(qp->last_seen, reactor_now_ns(), memory_order_relaxed);
}
/* At the end of a transport's callback for this qpair: what it cost. */
static inline void nvmf_qpair_worked(struct nvmf_qpair *qp) { qp->work += core_call_ticks(); }
/* Which core a new connection should live on: the least loaded. Counts it there; nvmf_qpair_init() takes the count
 * over, and who does not get that far gives it back. */
struct reactor *nvmf_target_place(struct nvmf_target *t, struct sock *s);
struct reactor *nvmf_target_place_on_node(struct nvmf_target *t, int node); /* of its adapter; -1: unknown */
void nvmf_target_unplace(struct nvmf_target *t, struct reactor *r);

/* How a handshake of TLS ended.
 *    result    name         what it means */
#define NVMF_TLS_RESULTS(X) \
	X(OK,       "ok",        "secured") \
	X(IDENTITY, "identity",  "the identity names no host or subsystem that has a key here") \
	X(HASH,     "hash",      "its hash is not that of the key") \
	X(KEY,      "key",       "the key differs, has no cipher suite in common, or ours cannot be read") \
	X(PEER,     "peer",      "the host did not speak TLS 1.3 with a pre-shared key, or hung up") \
	X(TIMEOUT,  "timeout",   "the host was silent, or no turn came, until the deadline") \
	X(CROWD,    "crowd",     "too many at once")
#define NVMF_TLS_ENUM(result, name, meaning) NVMF_TLS_##result,
enum nvmf_tls_result { NVMF_TLS_RESULTS(NVMF_TLS_ENUM) NVMF_TLS_RESULT_COUNT };
struct tls_psk;
struct keyring_key;
/* The key that goes with an identity; wipe it. Not NVMF_TLS_OK: a sentence says what differs. Control reactor; with
 * *ret_key set, a reference, there is none in memory: nvmf_tls_read() in a job has it. The serial is the queue pair's
 * tls_serial. */
enum nvmf_tls_result nvmf_tls_find(struct nvmf_target *t, const char *identity, struct keyring_key **ret_key,
                                   uint64_t *ret_serial, struct tls_psk *ret_psk, struct err *e);
enum nvmf_tls_result nvmf_tls_read(const struct keyring_key *key, const char *identity, struct tls_psk *ret_psk,
                                   struct err *e);
void nvmf_tls_count(struct nvmf_target *t, enum nvmf_tls_result result);

/* State of a qpair, and of its controller link, for freeze/thaw between cores; run on the old (when no request is in
 * the target's hands, and qp->reactor already names the new one), then on the new core, with the same qp. What is
 * addressed to the qpair meanwhile waits or follows it. A qpair that is closing does not move. */
struct freeze;
void nvmf_qpair_freeze(struct freeze *f, struct nvmf_qpair *qp);

#endif
