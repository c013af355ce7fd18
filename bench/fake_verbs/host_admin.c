/* SPDX-License-Identifier: BSD-3-Clause */
/* host_admin.c: what the synthetic host does on its admin queue before it makes I/O queues: one command at a time.
 * With the mutex held. */
#include "host.h"

#include <string.h>

enum { CONNECT, ENABLE, WAIT_READY, IDENTIFY_CTRL, IDENTIFY_NS, QUEUES, READY };

static void property(struct host *h, uint8_t fctype, uint32_t offset, uint64_t value)
{
	struct nvme_sqe *sqe = host_qpair_command(&h->admin, NVME_ADMIN_FABRICS, 0);

	sqe->fctype = fctype;
	sqe->property.ofst = le32_of(offset);
	sqe->property.value = le64_of(value);
}

static void identify(struct host *h, uint8_t cns, uint32_t nsid)
{
	struct nvme_sqe *sqe = host_qpair_command(&h->admin, NVME_ADMIN_IDENTIFY, NVME_IDENTIFY_SIZE);

	sqe->nsid = le32_of(nsid);
	sqe->identify.cns = cns;
}

static void queues(struct host *h)
{
	struct nvme_sqe *sqe = host_qpair_command(&h->admin, NVME_ADMIN_SET_FEATURES, 0);
	uint32_t count = (uint32_t)h->settings.qpairs - 1;

	sqe->features.fid = NVME_FEAT_NUM_QUEUES;
	sqe->features.cdw11 = le32_of(count << 16 | count);
}

static void send_step(struct host *h)
{
	switch (h->step) {
	case ENABLE:
		property(h, NVME_FABRICS_PROPERTY_SET, NVME_REG_CC,
		         nvme_cc_with_en(nvme_cc_with_iosqes(nvme_cc_with_iocqes(0, 4), 6), 1));
		break;
	case WAIT_READY:
		property(h, NVME_FABRICS_PROPERTY_GET, NVME_REG_CSTS, 0);
		break;
	case IDENTIFY_CTRL:
		identify(h, NVME_CNS_CTRL, 0);
		break;
	case IDENTIFY_NS:
		identify(h, NVME_CNS_NS, 1);
		break;
	case QUEUES:
		queues(h);
		break;
	default:
		h->admin.state = HOST_READY;
		host_changed();
		return;
	}
	host_qpair_send(&h->admin, 0);
}

static bool take_ns(struct host *h, const struct nvme_id_ns *ns)
{
	uint64_t of_a_piece;

	h->block_size = 1u << ns->lbaf[ns->flbas & 0xf].ds;
	of_a_piece = h->settings.bytes / h->block_size;
	h->pieces = of_a_piece ? le64_get(ns->nsze) / of_a_piece : 0;
	h->filled = h->settings.fills ? 0 : h->pieces;
	return of_a_piece && h->settings.bytes % h->block_size == 0 &&
	       h->pieces >= h->settings.depth * h->settings.qpairs;
}

/* False: what it says is of no use. */
static bool take(struct host *h, const struct nvme_cqe *cqe)
{
	const void *data = h->admin.slots[0].data;

	if (h->step == CONNECT)
		h->cntlid = le16_get(cqe->cntlid);
	else if (h->step == IDENTIFY_CTRL)
		h->icd_max = le32_get(((const struct nvme_id_ctrl *)data)->ioccsz) * 16 - (uint32_t)sizeof(struct nvme_sqe);
	else if (h->step == IDENTIFY_NS)
		return take_ns(h, data);
	return true;
}

void host_admin_answer(struct host *h, const struct nvme_cqe *cqe)
{
	uint16_t status = le16_get(cqe->status) >> 1;

	if (status) {
		host_failed(h, h->step == CONNECT ? NULL : "an admin command failed", status);
		return;
	}
	if (!take(h, cqe)) {
		host_failed(h, NULL, 0); /* the target may not have it yet */
		return;
	}
	if (h->step != WAIT_READY || nvme_csts_rdy(le32_get(cqe->dw0)))
		h->step++;
	send_step(h);
}
