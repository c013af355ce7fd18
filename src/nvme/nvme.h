/* SPDX-License-Identifier: BSD-3-Clause */
/* nvme.h: the NVMe host: controllers and queue pairs of remote subsystems.
 *
 * Nothing blocks: every verb returns at once and tells later, on the reactor that called it. A controller
 * lives on the reactor that opened it, with its admin queue; its I/O queue pairs live on the reactors that
 * open them, from a `struct nvme_login`, which is a value. A queue pair whose connection ends fails every command it
 * holds, once, with a status that says so (path related, host pathing error), and tells its owner.
 *
 * Commands are the caller's memory: a `struct nvme_op` is embedded in the caller's own request, submitted, and
 * comes back through op->done.
 */
#ifndef NVME_NVME_H
#define NVME_NVME_H

#include <stdatomic.h>
#include <sys/uio.h>

#include "base/uuid.h"
#include "core/core.h"
#include "net/net.h"
#include "wire/nvme.h"
#include "wire/nvme_fabrics.h"

/* --- why something ended -------------------------------------------------------------------------- */

/* Why an attempt or a connection ended: a counter each, by its name, of every path. */
/*        name             in JSON            for people */
#define NVME_REASONS(X) \
	X(NONE,            "none",            "") \
	X(ASKED,           "asked",           "ended on request") \
	X(RESOLVE,         "resolve",         "the name cannot be resolved") \
	X(REFUSED,         "refused",         "nobody listens there") \
	X(UNREACHABLE,     "unreachable",     "no way leads there") \
	X(CONNECT_TIMEOUT, "connect_timeout", "the connection was not established in time") \
	X(LOGIN_TIMEOUT,   "login_timeout",   "connected, but not ready in time") \
	X(LOGIN_REFUSED,   "login_refused",   "the target refused Connect") \
	X(BAD_ANSWER,      "bad_answer",      "an answer that cannot be used, to Identify and the like") \
	X(TLS,             "tls",             "the connection could not be secured, or is not any more") \
	X(PROTOCOL,        "protocol",        "a malformed or unexpected PDU") \
	X(CLOSED,          "closed",          "the target closed the connection") \
	X(RESET,           "reset",           "the connection was reset") \
	X(SILENT,          "silent",          "the network did not acknowledge data in time") \
	X(KEEP_ALIVE,      "keep_alive",      "no answer of any kind for the keep-alive time") \
	X(ADMIN_TIMEOUT,   "admin_timeout",   "an admin command was not answered in time") \
	X(IO_TIMEOUT,      "io_timeout",      "an I/O command was not answered in time") \
	X(FATAL,           "fatal",           "the controller reports a fatal status")
#define NVME_REASON_ENUM(name, key, text) NVME_REASON_##name,
enum nvme_reason { NVME_REASONS(NVME_REASON_ENUM) NVME_REASON_COUNT };
const char *nvme_reason_name(enum nvme_reason reason); /* the key */
const char *nvme_reason_text(enum nvme_reason reason);
/* What a person may look at, as the end of a sentence ("; ..."); or nothing. */
const char *nvme_reason_remedy(enum nvme_reason reason);

/* --- where and how -------------------------------------------------------------------------------- */

/* Where a subsystem is and who we are: SPDK's transport id text,
 * "trtype:TCP adrfam:IPv4 traddr:127.0.0.1 trsvcid:4420 subnqn:nqn... hostnqn:nqn... hostaddr:... ns:1". */
struct nvme_path {
	char trtype[8];
	enum net_family adrfam;
	char traddr[256], trsvcid[16];
	char hostaddr[64], hostsvcid[16]; /* where connections come from; empty: the system's choice */
	char subnqn[224], hostnqn[224];   /* subnqn empty: the discovery subsystem; hostnqn empty: made from a UUID */
	uint32_t nsid;                    /* 0: all */
};
int nvme_path_parse(const char *text, struct nvme_path *ret_path, struct err *e) MUST_USE;
/* Where targets listen when nobody says otherwise. Discovery has a port of its own over TCP only. */
uint16_t nvme_default_port(const char *trtype, bool discovery);

struct keyring_key;
struct nvme_host_opts {
	bool header_digest, data_digest;
	bool probe;                  /* hold once TCP stands: see nvme_ctrlr_on_reached() */
	uint8_t priority;            /* of the sockets' packets, 0 to 6; 0: the system's */
	uint8_t tos;                 /* RDMA: type of service of packets; 0: the system's */
	uint32_t keep_alive_ms;      /* 0: 10000 */
	uint32_t connect_timeout_ms; /* name resolution to ready; 0: 5000 */
	uint32_t ack_timeout_ms;     /* TCP_USER_TIMEOUT; 0: the connect time-out */
	uint8_t ack_exponent;        /* RDMA: 4.096 us << it for each of 8 tries; 0: the system's */
	uint32_t cm_timeout_ms;      /* RDMA: to find the adapter, and the route, each; 0: the connect time-out */
	uint32_t io_timeout_ms;      /* of an I/O command, see nvme_qpair_on_timeout(); 0: none */
	uint32_t admin_timeout_ms;   /* of an admin command, see nvme_ctrlr_on_timeout(); 0: none */
	uint16_t io_queues;          /* how many will be opened; 0: 1 */
	uint16_t io_queue_size;      /* entries; 0: 128; cut to what the controller allows */
	struct uuid hostid;          /* null: random, a new one each time */
	bool is_static;              /* a static controller is asked for, this one or any (NVME_CNTLID_STATIC_ANY) */
	uint16_t static_cntlid;
	/* For targets that want to know who we are; NULL: we cannot say. ctrlr_key: by which they have to say who they are.
	 * The caller's references, until the last queue pair is closed. */
	struct keyring_key *key, *ctrlr_key;
	/* TLS by this key; NULL: connections are in the clear. A reference as those. */
	struct keyring_key *psk;
	struct nvme_generated *generated; /* the library's: the key of TLS that the admin queue's proof made */
	bool psk_old_first;          /* a target that knows version 0 of its identity only: the controller finds out */
	uint32_t auth_hashes, auth_groups; /* permitted: 1 << enum nvmf_dhchap_hash, _group; 0: all */
	/* When anything was received on any queue of this path, by core_clock_ns() of a pass; written by all of them. NULL:
	 * the controller's own. The caller's, until the last queue pair is closed. */
	_Atomic uint64_t *alive_ns;
};

/* --- commands ------------------------------------------------------------------------------------- */

struct nvme_op;
typedef void nvme_op_fn(struct nvme_op *op);

enum nvme_op_data { NVME_OP_NONE, NVME_OP_TO_CTRLR, NVME_OP_TO_HOST };

/* One command. The caller fills the first part; cid and the SGL are the queue pair's. */
struct nvme_op {
	struct nvme_sqe cmd;
	const struct iovec *iovs;  /* data; stays until done */
	uint16_t iov_count;
	uint8_t data;              /* enum nvme_op_data */
	uint32_t data_len;         /* bytes, ... */
	uint32_t iov_at;           /* ... behind so many of the iovecs' that are not this command's */
	nvme_op_fn *done;          /* once, later than submit; cpl is valid */
	struct nvme_cqe cpl;
	/* The queue pair's. */
	struct queue_link link;
	uint64_t began_ns;         /* when it was submitted; kept only when its queue pair has a time-out */
	uint16_t cid;
	/* Failed by the path: it may have been done, or be done still. False: it surely was not, because nothing of it went
	 * out, or nothing of the data that it needs. */
	bool sent;
	bool late;                 /* its time-out was told */
	bool fused;                /* the next one goes with it */
	bool may_be_short;         /* TO_HOST: the target may send less; the rest stays as it is. The caller's */
};
/* An enum nvme_status without its flags; 0: success. */
static inline uint16_t nvme_op_status(const struct nvme_op *op) { return nvme_cqe_status(&op->cpl) & NVME_SC_CODE; }
/* A read, write or the like of `blocks` (1 to 65536) at `lba`; cid and SGL are the queue pair's. */
static inline struct nvme_sqe nvme_sqe_rw(uint8_t opc, uint32_t nsid, uint64_t lba, uint32_t blocks)
{
	struct nvme_sqe cmd = { .opc = opc, .nsid = le32_of(nsid) };

	assert(blocks >= 1 && blocks <= 65536);
	cmd.rw.slba = le64_of(lba);
	cmd.rw.nlb = le16_of((uint16_t)(blocks - 1));
	return cmd;
}

/* --- controllers ---------------------------------------------------------------------------------- */

struct nvme_host;  /* what controllers of one daemon share: transports, a receive buffer per core */
struct nvme_transport;
struct nvme_ctrlr;
struct nvme_qpair;

/* Knows TCP; others are added to it (nvme/rdma/rdma.h). */
struct nvme_host *nvme_host_make(struct core *core);
/* All controllers and queue pairs were closed: `done` runs when nothing of theirs is left, maybe before this returns;
 * then it may be freed. Only proofs (keys), and a transport whose connections end on another core than theirs, leave
 * anything: without them this may be left out. Control. */
struct nvme_host_wait { void (*done)(void *arg); void *arg; uint32_t left; };
void nvme_host_when_idle(struct nvme_host *h, void (*done)(void *arg), void *arg);
void nvme_host_free(struct nvme_host *h);
/* Has this machine what a transport needs? False, with a sentence: what is missing. Control. */
bool nvme_host_can(struct nvme_host *h, const char *trtype, struct err *e);
/* What connections over RDMA have done on a core with an adapter, since the first of those that are there. */
struct nvme_adapter_stats {
	const char *name;
	uint32_t core, qpairs;
	uint64_t polls, busy_polls, completions; /* of the completion queue */
	uint64_t sends, send_doorbells, receives, receive_doorbells;
	uint64_t copied, copied_bytes;           /* commands whose data went through buffers of ours; how much that was */
	uint64_t waits, waiting;                 /* for such a buffer; now */
};
/* Control. */
void nvme_host_visit_adapters(struct nvme_host *h, void (*visit)(const struct nvme_adapter_stats *s, void *arg),
                              void *arg);

/* Counts and sizes are plain numbers here, never 0's based; 0: not told or no limit. */
struct nvme_ns_info {
	uint32_t nsid, block_size, md_size;
	uint64_t block_count;
	bool usable;                 /* false: refused (status), or its format is none we can use: no size, or odd blocks */
	uint16_t status;             /* what Identify was answered */
	uint8_t nsfeat, nmic, nsattr, dlfeat, rescap, flbas, dps, csi;
	uint32_t ana_group;          /* 0: none */
	uint16_t io_boundary_blocks; /* noiob */
	uint32_t write_granularity_blocks, write_alignment_blocks;     /* npwg, npwa */
	uint32_t discard_granularity_blocks, discard_alignment_blocks; /* npdg, npda */
	uint32_t optimal_write_blocks;                                 /* nows */
	uint32_t copy_range_blocks_max;                                /* mssrl */
	uint32_t copy_blocks_max;                                      /* mcl */
	uint32_t copy_ranges_max;                                      /* msrc */
	uint32_t atomic_write_blocks, atomic_compare_blocks;           /* nawupf, nacwu; the controller's where 0 ... */
	uint32_t atomic_boundary_blocks;                               /* ... across which nothing is; 0: none */
	bool has_uuid, has_nguid, has_eui64;
	struct uuid uuid;
	uint8_t nguid[16], eui64[8];
};

/* What opening a controller learned. Constant but for the namespaces, which nvme_ctrlr_scan() reads anew. */
struct nvme_ctrlr_info {
	uint16_t cntlid, io_queues, io_queue_size; /* io_queues: 0 if `discovery`, which any target may claim to be */
	uint32_t max_io_bytes;       /* from MDTS; UINT32_MAX: no limit */
	uint32_t in_capsule_bytes;   /* of I/O queues */
	uint32_t descriptors_max;    /* of data, behind an I/O command; 0: one, in the command */
	char serial[21], model[41], firmware[9], subnqn[224];
	bool discovery;
	uint16_t vid, ssvid, oncs, oacs, fuses, kas_100ms, crdt_100ms[3], cqt_ms;
	uint8_t ciu, ccrl;           /* which instance of its id it is, with cirn; resets of others it takes on: 0: none */
	uint64_t cirn;
	uint8_t ieee[3], cmic, cntrltype, vwc, anacap, anatt_s, lpa, aerl, mdts, frmw, fwug;
	uint32_t version, oaes, ctratt, sgls, ana_groups_max, ana_groups; /* anagrpmax, nanagrpid */
	uint32_t namespaces_max;                                          /* nn */
	uint32_t atomic_write_blocks, atomic_compare_blocks;              /* awupf, acwu */
	uint32_t keep_alive_ms;      /* what Connect asked for */
	/* Limits of single commands; 0: none told. */
	uint32_t verify_bytes_max, zeroes_bytes_max, uncorrectable_bytes_max;   /* vsl, wzsl, wusl */
	uint32_t discard_ranges_max, discard_range_blocks_max;                  /* dmrl, dmrsl */
	uint64_t discard_blocks_max;                                            /* dmsl */
	uint32_t ns_count;
	const struct nvme_ns_info *ns; /* in the order of their ids */
};

/* `e` is NULL when it is ready to use; otherwise the attempt ended at its deadline or sooner and the controller must
 * be closed. Called once; a controller that dies later calls `gone`. */
typedef void nvme_ctrlr_ready_fn(struct nvme_ctrlr *c, const struct err *e, void *arg);
typedef void nvme_ctrlr_gone_fn(struct nvme_ctrlr *c, const struct err *e, void *arg);

/* Core: any; it becomes the controller's. Memory: path and opts are copied. Then: `ready`. */
struct nvme_ctrlr *nvme_ctrlr_open(struct nvme_host *h, const struct nvme_path *path,
                                   const struct nvme_host_opts *opts, nvme_ctrlr_ready_fn *ready,
                                   nvme_ctrlr_gone_fn *gone, void *arg);
/* Shut the controller down (CC.SHN, waited for a bounded time) and free it. Its I/O queue pairs were closed before.
 * One that is not ready, or gone, is freed at once: `done` runs before this returns. */
void nvme_ctrlr_close(struct nvme_ctrlr *c, void (*done)(void *arg), void *arg);
const struct nvme_ctrlr_info *nvme_ctrlr_info(const struct nvme_ctrlr *c);
/* Why it ended; valid in ready(e != NULL), in gone, and from then on. */
enum nvme_reason nvme_ctrlr_reason(const struct nvme_ctrlr *c);

/* `fn` runs once, when the target is reached: its address is known, and nvme_ctrlr_login() has an answer. With
 * opts.probe this is not before the admin queue's TCP connection stands, and the controller holds there, its deadline
 * too, until nvme_ctrlr_proceed(). To be called right after opening. */
void nvme_ctrlr_on_reached(struct nvme_ctrlr *c, void (*fn)(struct nvme_ctrlr *c, void *arg), void *arg);
void nvme_ctrlr_proceed(struct nvme_ctrlr *c);

/* On the controller's reactor, once it is ready. */
void nvme_ctrlr_submit_admin(struct nvme_ctrlr *c, struct nvme_op *op);
/* An admin command of nvme_ctrlr_submit_admin() is older than opts.admin_timeout_ms; once each. Without a function the
 * controller ends with NVME_REASON_ADMIN_TIMEOUT. */
void nvme_ctrlr_on_timeout(struct nvme_ctrlr *c, void (*fn)(struct nvme_ctrlr *c, struct nvme_op *op, void *arg),
                           void *arg);
/* Give it up as if it had ended by itself: `ready` or `gone` follows. */
void nvme_ctrlr_fail(struct nvme_ctrlr *c, enum nvme_reason reason, const struct err *e);

/* Read the list of namespaces, and each, anew into the info. One at a time; ready controllers only. An error leaves
 * the info as it was. `done` does not run when the controller is gone before: it is told by `gone`. */
typedef void nvme_ctrlr_done_fn(struct nvme_ctrlr *c, const struct err *e, void *arg);
void nvme_ctrlr_scan(struct nvme_ctrlr *c, nvme_ctrlr_done_fn *done, void *arg);

/* CC.EN = 0, until CSTS.RDY = 0 was seen: nothing of its queues can change data any more, if the target is right
 * (Linux's does not wait for its I/O). It can only be closed then; `gone` is not called afterwards. `e`: it could not
 * be disabled within the connect time-out, or is gone. */
void nvme_ctrlr_disable(struct nvme_ctrlr *c, nvme_ctrlr_done_fn *done, void *arg);

/* Asynchronous events: as many requests as the controller allows, at most 4, are kept out from the first call on.
 * Reading the log page (without `retain`) is what lets the controller tell of the next of its kind. */
typedef void nvme_event_fn(struct nvme_ctrlr *c, uint8_t type, uint8_t info, uint8_t log_page, void *arg);
void nvme_ctrlr_on_event(struct nvme_ctrlr *c, nvme_event_fn *fn, void *arg);

/* --- log pages ------------------------------------------------------------------------------------ */

/* One reading of a log page, in as many commands as it takes. */
struct nvme_log_read {
	uint8_t lid, lsp;
	bool retain;                /* the event that pointed to it is not acknowledged */
	uint32_t nsid;              /* 0: none */
	uint64_t offset;            /* multiple of 4 */
	void *buf;                  /* stays until done */
	uint32_t len;               /* multiple of 4 */
	void (*done)(struct nvme_log_read *r);
	void *arg;
	struct err err;             /* code 0: all of it was read */
	uint16_t status;            /* of the command that failed */
	/* ours */
	struct nvme_ctrlr *ctrlr;
	struct nvme_op op;
	struct iovec iov;
	uint32_t got;
};
/* Then: r->done, once, later; also when the controller goes meanwhile. */
void nvme_ctrlr_get_log(struct nvme_ctrlr *c, struct nvme_log_read *r);

/* --- firmware -------------------------------------------------------------------------------------- */

/* One image, sent in pieces that the controller takes, and committed. */
struct nvme_firmware {
	uint8_t action;             /* enum nvme_fw_action */
	uint8_t slot;               /* 0: the controller chooses */
	const void *image;          /* stays until done; not for NVME_FW_ENABLE */
	uint32_t len;
	void (*done)(struct nvme_firmware *f);
	struct err err;             /* code 0: it is committed */
	bool wants_reset;           /* a reset of the controller makes it the one that runs */
	uint32_t sent;              /* bytes that the controller has taken; changes meanwhile */
	bool committing;
	bool no_more;               /* yours, meanwhile: what is on its way is the last; nothing is committed after it */
	/* ours */
	struct nvme_ctrlr *ctrlr;
	struct nvme_op op;
	struct iovec iov;
};
/* Does the controller take such a thing? Without len (0): as far as can be told before there is an image. */
int nvme_firmware_check(const struct nvme_ctrlr_info *info, const struct nvme_firmware *f, struct err *e) MUST_USE;
/* Core: the controller's; ready, and checked. Then: f->done, once, later; also when the controller goes meanwhile.
 * Nobody else should send an image to the subsystem at that time: controllers may share what they are sent to. */
void nvme_ctrlr_update_firmware(struct nvme_ctrlr *c, struct nvme_firmware *f);

/* What runs may change without a reset. */
struct nvme_revision_read {
	void *page;                 /* NVME_IDENTIFY_SIZE bytes, until done */
	void (*done)(struct nvme_revision_read *r);
	void *arg;
	/* ours */
	struct nvme_ctrlr *ctrlr;
	struct nvme_op op;
	struct iovec iov;
};
/* Identify the controller again, for nvme_ctrlr_info()->firmware alone; it stays as it is if there is no answer.
 * Core: the controller's; ready. Then: r->done, once, later; also when the controller goes meanwhile. */
void nvme_ctrlr_read_revision(struct nvme_ctrlr *c, struct nvme_revision_read *r);

/* The groups of an ANA log page, in its order. False from `fn` ends it. Errors: it is not one; a sentence. */
struct nvme_ana_group {
	uint32_t id, ns_count;
	uint64_t change_count;
	uint8_t state;              /* enum nvme_ana_state */
	const le32 *nsids;          /* in the page */
};
int nvme_ana_log_each(const void *page, size_t len, bool (*fn)(const struct nvme_ana_group *g, void *arg), void *arg,
                      struct err *e) MUST_USE;
/* Bytes a controller's ANA log may need. */
#define NVME_ANA_LOG_BYTES_MAX (1 * MIB)
uint32_t nvme_ana_log_bytes_max(const struct nvme_ctrlr_info *info);

/* --- I/O queue pairs ------------------------------------------------------------------------------ */

/* All that a core needs to open I/O queue pairs of a controller; a value: copied into a message. */
struct nvme_login {
	const struct nvme_transport *transport;
	struct net_addr addr, from;
	bool has_from;
	struct nvme_host_opts opts;
	char subnqn[224], hostnqn[224];
	struct uuid hostid;
	uint16_t cntlid;            /* NVME_CNTLID_DYNAMIC: not known yet, nor the rest */
	uint16_t size;              /* entries */
	uint16_t io_queues;
	uint32_t in_capsule_bytes, descriptors_max;
};
/* False: the address is not known yet. cntlid is NVME_CNTLID_DYNAMIC until the controller is ready. */
bool nvme_ctrlr_login(const struct nvme_ctrlr *c, struct nvme_login *ret_login);

typedef void nvme_qpair_event_fn(struct nvme_qpair *qp, const struct err *e, void *arg);
/* An I/O queue pair on the calling reactor; qid from 1 to io_queues, each once. `ready` is called once: it is ready, or
 * has ended before (`e`); `gone` once if it ends by itself after that. Commands may be submitted at once.
 *
 * With cntlid NVME_CNTLID_DYNAMIC it connects and negotiates within the connect time-out, and then waits for
 * nvme_qpair_login(): made in parallel with the admin queue, or kept as a warm spare. qid is not looked at then. */
struct nvme_qpair *nvme_qpair_open(struct nvme_host *h, const struct nvme_login *l, uint16_t qid,
                                   nvme_qpair_event_fn *ready, nvme_qpair_event_fn *gone, void *arg);
/* To one opened without cntlid, once, also while it still connects. Within `l`'s connect time-out from now, then. */
void nvme_qpair_login(struct nvme_qpair *qp, const struct nvme_login *l, uint16_t qid);
/* Negotiated, and nothing but nvme_qpair_login() is missing. */
bool nvme_qpair_is_waiting(const struct nvme_qpair *qp);
/* Fail what is outstanding and free. Allowed within its own callbacks. Over TCP each `done` runs before this returns.
 * Over RDMA the target may still write into the memory of what was sent: that comes back a moment later, as soon as
 * this machine's end of the connection is destroyed; no target can hold that up. */
void nvme_qpair_close(struct nvme_qpair *qp);
/* The same; `closed` runs when all came back, maybe before this returns. */
void nvme_qpair_close_then(struct nvme_qpair *qp, void (*closed)(void *arg), void *arg);
/* Its connection is given up, as if it had ended by itself: what is outstanding fails (see nvme_qpair_close()), and
 * then `ready` or `gone` follows. */
void nvme_qpair_fail(struct nvme_qpair *qp, enum nvme_reason reason, const struct err *e);
/* Why it ended; NVME_REASON_NONE: it has not. */
enum nvme_reason nvme_qpair_reason(const struct nvme_qpair *qp);
/* Submit; more than the queue holds wait inside, in order. */
void nvme_qpair_submit(struct nvme_qpair *qp, struct nvme_op *op);
/* Two that the controller takes as one, as compare and write. Each comes back by itself; from a queue of two entries,
 * which cannot hold them, with NVME_SC_FUSED_MISSING. */
void nvme_qpair_submit_fused(struct nvme_qpair *qp, struct nvme_op *first, struct nvme_op *second);
/* A command is older than opts.io_timeout_ms; once each, it stays outstanding. Without a function the queue pair ends
 * with NVME_REASON_IO_TIMEOUT. `fn` may close or fail the queue pair. */
void nvme_qpair_on_timeout(struct nvme_qpair *qp, void (*fn)(struct nvme_qpair *qp, struct nvme_op *op, void *arg));
uint32_t nvme_qpair_outstanding(const struct nvme_qpair *qp); /* at the target; what waits inside is not counted */

/* --- keys that change ----------------------------------------------------------------------------- */

/* Can it be read, and is it a secret of DH-HMAC-CHAP? Core: any thread that may wait. */
int nvme_key_check(const struct keyring_key *key, struct err *e) MUST_USE;
/* "sha256", "ffdhe2048": the bit for nvme_host_opts; 0: there is none of that name. */
uint32_t nvme_auth_hash_bit(const char *name);
uint32_t nvme_auth_group_bit(const char *name);
/* From now on these; references of the caller's, as those in nvme_host_opts. Of a controller: for what it proves from
 * now on, and in what nvme_ctrlr_login() tells. */
void nvme_qpair_set_keys(struct nvme_qpair *qp, struct keyring_key *key, struct keyring_key *ctrlr_key);
void nvme_ctrlr_set_keys(struct nvme_ctrlr *c, struct keyring_key *key, struct keyring_key *ctrlr_key);
/* Prove who we are once more, by the keys that are set now; commands go on meanwhile. Of a queue pair that is ready, of
 * a controller's admin queue; one at a time. `done` runs once, later. `e`: it failed, within the connect time-out, or
 * the queue pair ended before; it has ended in any case then, and `gone` follows. */
void nvme_qpair_authenticate(struct nvme_qpair *qp, nvme_qpair_event_fn *done, void *arg);
void nvme_ctrlr_authenticate(struct nvme_ctrlr *c, nvme_qpair_event_fn *done, void *arg);
uint16_t nvme_qpair_id(const struct nvme_qpair *qp);

/* --- discovery logs: discovery_log.c parses, discovery.c reads -------------------------------- */

#define NVME_DISCOVERY_ENTRIES_MAX 4096 /* a log that claims more is refused */

/* One place where a subsystem is, as the log has it. Texts are printable ASCII without padding. */
struct nvme_discovery_entry {
	uint8_t trtype, adrfam, subtype;   /* enum nvmf_trtype, nvmf_adrfam, nvmf_subtype: any value may come */
	uint8_t treq, sectype;             /* sectype: of TCP; 0 otherwise */
	uint16_t portid, cntlid, asqsz, eflags;
	char trsvcid[33], subnqn[224], traddr[257];
};

/* False: its texts are none, and nothing should be done with it. */
bool nvme_discovery_entry_parse(const struct nvmf_disc_log_entry *bytes, struct nvme_discovery_entry *ret_entry)
	MUST_USE;
int nvme_discovery_header_parse(const struct nvmf_discovery_log *bytes, uint64_t *ret_genctr, uint32_t *ret_count,
                                struct err *e) MUST_USE;
/* How to get there; hostnqn and hostaddr of `ret_path` stay as they were, its traddr says where the log came from.
 * Fails when this host has no such transport, or the entry no address. */
int nvme_discovery_entry_path(const struct nvme_discovery_entry *entry, struct nvme_path *ret_path, struct err *e)
	MUST_USE;
/* As nvme-cli says them: "tcp", "ipv4", "nvme subsystem"; "unrecognized" otherwise. */
const char *nvme_discovery_trtype_text(uint8_t trtype);
const char *nvme_discovery_adrfam_text(uint8_t adrfam);
const char *nvme_discovery_subtype_text(uint8_t subtype);
const char *nvme_discovery_treq_text(uint8_t treq);

/* Reading the whole log of a discovery controller that is ready, in pieces, again from the start while it changes. */
struct nvme_discovery;
typedef void nvme_discovery_fn(struct nvme_discovery *d);
struct nvme_discovery {
	/* the outcome, valid from `done` until nvme_discovery_fini() */
	struct err err;                    /* code 0: it was read */
	uint64_t genctr;
	uint32_t count, left_out;          /* entries; those whose texts could not be read */
	struct nvme_discovery_entry *entries;
	void *arg;                         /* the caller's */
	/* discovery.c's */
	struct nvme_ctrlr *ctrlr;
	nvme_discovery_fn *done;
	struct nvme_op op;
	struct iovec iov;
	uint8_t *piece;
	uint32_t records, at, tries;       /* entries in the log; those that were read */
};
/* Core: the controller's. Memory: `d` is the caller's until done, and fini'ed afterwards. Then: `done`, once; closing
 * the controller ends it (with an error, at the latest within the close). It clears the discovery log's asynchronous
 * event when all was read. */
void nvme_discovery_read(struct nvme_discovery *d, struct nvme_ctrlr *c, nvme_discovery_fn *done);
void nvme_discovery_fini(struct nvme_discovery *d);

#endif
