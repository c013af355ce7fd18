/* SPDX-License-Identifier: BSD-3-Clause */
/* nvme_rdma.h: what NVMe over RDMA says in the private data of the connection manager. Capsules themselves are plain:
 * a 64-byte command and data behind it, a 16-byte completion.
 *
 * Witnesses: Linux include/linux/nvme-rdma.h, drivers/nvme/target/rdma.c; SPDK include/spdk/nvmf_spec.h.
 */
#ifndef WIRE_NVME_RDMA_H
#define WIRE_NVME_RDMA_H

#include "wire/nvme.h"

#define NVME_RDMA_PORT 4420
#define NVME_RDMA_CM_FMT_1_0 0

/* Of rdma_connect(). Sizes are entries, as Connect's sqsize not 0's based in hrqsize, 0's based in hsqsize. */
struct nvme_rdma_cm_req {
	le16 recfmt;
	le16 qid;
	le16 hrqsize;  /* receives the host posts */
	le16 hsqsize;  /* commands it may send */
	le16 cntlid;   /* reserved by format 1.0 before 1.1; an I/O queue's controller */
	uint8_t rsvd[22];
};
WIRE_SIZE(struct nvme_rdma_cm_req, 32);

/* Of rdma_accept(). */
struct nvme_rdma_cm_rep {
	le16 recfmt;
	le16 crqsize;  /* receives the controller posts */
	uint8_t rsvd[28];
};
WIRE_SIZE(struct nvme_rdma_cm_rep, 32);

/* Of rdma_reject(). */
struct nvme_rdma_cm_rej {
	le16 recfmt;
	le16 sts;      /* enum nvme_rdma_cm_status */
};
WIRE_SIZE(struct nvme_rdma_cm_rej, 4);

/*        value name             for people */
#define NVME_RDMA_CM_STATUSES(X) \
	X(0x01, INVALID_LEN,     "invalid private data length") \
	X(0x02, INVALID_RECFMT,  "invalid record format") \
	X(0x03, INVALID_QID,     "invalid queue identifier") \
	X(0x04, INVALID_HSQSIZE, "invalid host send queue size") \
	X(0x05, INVALID_HRQSIZE, "invalid host receive queue size") \
	X(0x06, NO_RSC,          "no resources") \
	X(0x07, INVALID_IRD,     "invalid responder resources") \
	X(0x08, INVALID_ORD,     "invalid initiator depth") \
	X(0x09, INVALID_CNTLID,  "invalid controller identifier")
#define NVME_RDMA_CM_ENUM(value, name, text) NVME_RDMA_CM_##name = value,
enum nvme_rdma_cm_status { NVME_RDMA_CM_STATUSES(NVME_RDMA_CM_ENUM) };

#endif
