/* SPDX-License-Identifier: BSD-3-Clause */
/* nvme.h: the NVMe host: controllers and queue pairs of remote subsystems.
 *
 * Nothing blocks: every verb returns at once and tells later, on the reactor that called it. A controller
 * lives on the reactor that opened it, with its admin queue; its I/O queue pairs live on the reactors that
 * open them. A queue pair whose connection ends fails every command it holds, once, with a status that says so
 * (path related, host pathing error), and tells its owner.
 *
 * Commands are the caller's memory: a `struct nvme_op` is embedded in the caller's own request, submitted, and
 * comes back through op->done.
 */
#ifndef NVME_NVME_H
#define NVME_NVME_H

#include <sys/uio.h>

#include "base/uuid.h"
#include "core/core.h"
#include "net/net.h"
#include "wire/nvme.h"
#include "wire/nvme_fabrics.h"

/* Where a subsystem is and who we are: SPDK's transport id text,
 * "trtype:TCP adrfam:IPv4 traddr:127.0.0.1 trsvcid:4420 subnqn:nqn... hostnqn:nqn... hostaddr:... ns:1". */
struct nvme_path {
	char trtype[8];
	enum net_family adrfam;
	char traddr[256], trsvcid[16], hostaddr[64];
	char subnqn[224], hostnqn[224]; /* subnqn empty: the discovery subsystem; hostnqn empty: made from a UUID */
	uint32_t nsid;                  /* 0: all */
};
int nvme_path_parse(const char *text, struct nvme_path *ret_path, struct err *e) MUST_USE;

struct nvme_host_opts {
	bool header_digest, data_digest;
	uint32_t keep_alive_ms;      /* 0: 10000 */
	uint32_t connect_timeout_ms; /* name resolution to ready; 0: 5000 */
	uint32_t ack_timeout_ms;     /* TCP_USER_TIMEOUT; 0: the connect time-out */
	uint16_t io_queues;          /* how many will be opened; 0: 1 */
	uint16_t io_queue_size;      /* entries; 0: 128; cut to what the controller allows */
};

struct nvme_op;
typedef void nvme_op_fn(struct nvme_op *op);

enum nvme_op_data { NVME_OP_NONE, NVME_OP_TO_CTRLR, NVME_OP_TO_HOST };

/* One command. The caller fills the first part; cid and the SGL are the queue pair's. */
struct nvme_op {
	struct nvme_sqe cmd;
	const struct iovec *iovs;  /* data; stays until done */
	uint16_t iov_count;
	uint8_t data;              /* enum nvme_op_data */
	uint32_t data_len;         /* bytes */
	nvme_op_fn *done;          /* once, later than submit; cpl is valid */
	struct nvme_cqe cpl;
	/* the queue pair's */
	struct queue_link link;
	uint16_t cid;
};
/* An enum nvme_status without its flags; 0: success. */
static inline uint16_t nvme_op_status(const struct nvme_op *op) { return nvme_cqe_status(&op->cpl) & NVME_SC_CODE; }
/* A read, write or the like of `blocks` (1 to 65536) at `lba`; cid and SGL are the queue pair's. */
struct nvme_sqe nvme_sqe_rw(uint8_t opc, uint32_t nsid, uint64_t lba, uint32_t blocks);

struct nvme_host;  /* what controllers of one daemon share: a receive buffer per core */
struct nvme_ctrlr;
struct nvme_qpair;

struct nvme_host *nvme_host_make(struct core *core);
void nvme_host_free(struct nvme_host *h); /* all controllers were closed */

#define NVME_HOST_NAMESPACES_MAX 64 /* looked at when a controller is opened */

struct nvme_ns_info {
	uint32_t nsid, block_size, md_size;
	uint64_t block_count;
};

/* What opening a controller learned; constant while it is open. */
struct nvme_ctrlr_info {
	uint16_t cntlid, io_queues, io_queue_size;
	uint32_t max_io_bytes;       /* from MDTS; UINT32_MAX: no limit */
	uint32_t in_capsule_bytes;   /* of I/O queues */
	char serial[21], model[41], firmware[9], subnqn[224];
	bool discovery;
	uint32_t ns_count;
	struct nvme_ns_info ns[NVME_HOST_NAMESPACES_MAX];
};

/* `e` is NULL when it is ready to use; otherwise the attempt ended at its deadline or sooner and the controller must
 * be closed. Called once; a controller that dies later calls `gone`. */
typedef void nvme_ctrlr_ready_fn(struct nvme_ctrlr *c, const struct err *e, void *arg);
typedef void nvme_ctrlr_gone_fn(struct nvme_ctrlr *c, const struct err *e, void *arg);

/* Core: any; it becomes the controller's. Memory: path and opts are copied. Then: `ready`. */
struct nvme_ctrlr *nvme_ctrlr_open(struct nvme_host *h, const struct nvme_path *path,
                                   const struct nvme_host_opts *opts, nvme_ctrlr_ready_fn *ready,
                                   nvme_ctrlr_gone_fn *gone, void *arg);
/* Shut the controller down (CC.SHN, waited for a bounded time) and free it. Its I/O queue pairs were closed before. */
void nvme_ctrlr_close(struct nvme_ctrlr *c, void (*done)(void *arg), void *arg);
const struct nvme_ctrlr_info *nvme_ctrlr_info(const struct nvme_ctrlr *c);
/* On the controller's reactor. */
void nvme_ctrlr_submit_admin(struct nvme_ctrlr *c, struct nvme_op *op);

typedef void nvme_qpair_event_fn(struct nvme_qpair *qp, const struct err *e, void *arg);
/* An I/O queue pair on the calling reactor; qid from 1 to info->io_queues, each once. `ready` as above; `gone`
 * once if it ends by itself after that. The controller stays open and unchanged meanwhile. */
struct nvme_qpair *nvme_qpair_open(const struct nvme_ctrlr *c, uint16_t qid, nvme_qpair_event_fn *ready,
                                   nvme_qpair_event_fn *gone, void *arg);
/* Fail what is outstanding (their `done` runs before this returns) and free. Allowed within its own callbacks. */
void nvme_qpair_close(struct nvme_qpair *qp);
/* Its connection is given up, as if it had ended by itself: `ready` or `gone` follows; what is outstanding fails. */
void nvme_qpair_fail(struct nvme_qpair *qp, const struct err *e);
/* Submit; more than the queue holds wait inside, in order. */
void nvme_qpair_submit(struct nvme_qpair *qp, struct nvme_op *op);
uint32_t nvme_qpair_outstanding(const struct nvme_qpair *qp);

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
/* How to get there; hostnqn and hostaddr of `ret_path` stay as they were. Fails when this host has no such transport,
 * or the entry no address. */
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
