/* SPDX-License-Identifier: BSD-3-Clause */
/* fused.c: Compare and Write: one operation, sent as two commands that follow each other.
 *
 * The halves find each other when they are parsed, in the order of the queue; they run when both have their data.
 * What fails one fails the other. Both are at most one block (ACWU 0), as in SPDK's target.
 */
#include "nvmf/target.h"

#define FUSE_FIRST 1
#define FUSE_SECOND 2

static void go(struct nvmf_req *first, struct nvmf_req *second);
static void caw_done(struct bdev_io *io);

/* --- parsing: who belongs to whom ----------------------------------------------------------------- */

/* The other half will not come, or has failed. */
static void fail_half(struct nvmf_req *req, uint16_t status)
{
	if (!req->executing)
		req->fused_status = status; /* answered when its data is there */
	else if (!req->finishing)
		nvmf_req_complete(req, status);
}

void nvmf_fused_missing(struct nvmf_qpair *qp)
{
	struct nvmf_req *first = qp->fused_first;

	qp->fused_state = NVMF_FUSED_NONE;
	qp->fused_first = NULL;
	if (first)
		fail_half(first, NVME_SC_FUSED_MISSING | NVME_SC_DNR);
}

void nvmf_fused_part(struct nvmf_req *req)
{
	struct nvmf_qpair *qp = req->qpair;
	struct nvmf_req *other = req->fused;

	if (qp->fused_first == req) {
		qp->fused_first = NULL;
		qp->fused_state = NVMF_FUSED_REFUSED;
	}
	if (!other)
		return;
	req->fused = other->fused = NULL;
	fail_half(other, NVME_SC_FUSED_FAIL | NVME_SC_DNR);
}

static bool parse_first(struct nvmf_req *req)
{
	struct nvmf_qpair *qp = req->qpair;

	qp->fused_state = NVMF_FUSED_REFUSED;
	if (req->cmd.opc != NVME_CMD_COMPARE)
		return nvmf_req_refuse(req, NVME_SC_INVALID_FIELD | NVME_SC_DNR);
	if (!req->handler->parse(req))
		return false;
	if (req->io.count > 1)
		return nvmf_req_refuse(req, NVME_SC_AWU_EXCEEDED | NVME_SC_DNR);
	qp->fused_state = NVMF_FUSED_HALF;
	qp->fused_first = req;
	return true;
}

static bool same_range(const struct nvmf_req *a, const struct nvmf_req *b)
{
	return le32_get(a->cmd.nsid) == le32_get(b->cmd.nsid) && le64_get(a->cmd.rw.slba) == le64_get(b->cmd.rw.slba) &&
	       le16_get(a->cmd.rw.nlb) == le16_get(b->cmd.rw.nlb);
}

static bool parse_second(struct nvmf_req *req)
{
	struct nvmf_qpair *qp = req->qpair;
	struct nvmf_req *first = qp->fused_first;
	enum nvmf_fused state = qp->fused_state;
	bool ok;

	qp->fused_state = NVMF_FUSED_NONE;
	qp->fused_first = NULL;
	if (state == NVMF_FUSED_NONE)
		return nvmf_req_refuse(req, NVME_SC_FUSED_MISSING | NVME_SC_DNR);
	if (state == NVMF_FUSED_REFUSED)
		return nvmf_req_refuse(req, NVME_SC_FUSED_FAIL | NVME_SC_DNR);
	ok = req->cmd.opc == NVME_CMD_WRITE && same_range(first, req)
	     ? req->handler->parse(req) : nvmf_req_refuse(req, NVME_SC_INVALID_FIELD | NVME_SC_DNR);
	if (!ok) {
		fail_half(first, NVME_SC_FUSED_FAIL | NVME_SC_DNR);
		return false;
	}
	req->may_consume = req->may_lend = false;
	req->fused = first;
	first->fused = req;
	return true;
}

bool nvmf_fused_parse(struct nvmf_req *req)
{
	uint8_t fuse = (uint8_t)nvme_flags_fuse(req->cmd.flags);

	if (!(req->handler->flags & NVMF_FUSED) || (fuse != FUSE_FIRST && fuse != FUSE_SECOND))
		return nvmf_req_refuse(req, NVME_SC_INVALID_FIELD | NVME_SC_DNR);
	return fuse == FUSE_FIRST ? parse_first(req) : parse_second(req);
}

/* --- running: when both are there ------------------------------------------------------------------- */

void nvmf_fused_run(struct nvmf_req *req)
{
	struct nvmf_req *other = req->fused;

	if (req->fused_status) {
		nvmf_req_complete(req, req->fused_status);
	} else if (!other || !other->executing) {
		req->parks = true;
	} else {
		req->parks = other->parks = false;
		if (nvme_flags_fuse(req->cmd.flags) == FUSE_FIRST)
			go(req, other);
		else
			go(other, req);
	}
}

static void end_both(struct nvmf_req *first, struct nvmf_req *second, uint16_t status)
{
	first->fused = second->fused = NULL;
	nvmf_req_complete(first, status);
	nvmf_req_complete(second, status ? NVME_SC_FUSED_FAIL | NVME_SC_DNR : NVME_SC_SUCCESS);
}

static struct nvmf_fused_slot *slot_take(struct nvmf_core *nc)
{
	if (!nc->fused_slots)
		nc->fused_slots = base_zalloc(NVMF_FUSED_SLOTS * sizeof(*nc->fused_slots)); /* once a core */
	for (uint32_t i = 0; i < NVMF_FUSED_SLOTS; i++)
		if (!nc->fused_slots[i].req)
			return &nc->fused_slots[i];
	return NULL;
}

static void go(struct nvmf_req *first, struct nvmf_req *second)
{
	struct nvmf_qpair *qp = second->qpair;
	struct nvmf_fused_slot *slot = slot_take(qp->nc);
	uint16_t status = NVME_SC_INVALID_NS | NVME_SC_DNR;
	struct bdev_view *v = nvmf_ns_for_io(qp, le32_get(second->cmd.nsid), &status);
	struct bdev_io *io = &second->io;

	if (!slot || first->iov_count + second->iov_count > (int)ARRAY_SIZE(slot->iovs)) {
		end_both(first, second, NVME_SC_CMD_INTERRUPTED); /* to be sent again */
		return;
	}
	if (!v || !v->ch || v->shift != second->shift) {
		end_both(first, second, status);
		return;
	}
	v->refs++;
	second->ns = v;
	slot->req = second;
	memcpy(slot->iovs, first->iovs, first->iov_count * sizeof(struct iovec));
	memcpy(slot->iovs + first->iov_count, second->iovs, second->iov_count * sizeof(struct iovec));
	io->op = BDEV_COMPARE_AND_WRITE;
	io->iovs = slot->iovs;
	io->iov_count = (uint16_t)(first->iov_count + second->iov_count);
	io->done = caw_done;
	io->lease = qp->lease;
	io->lease_epoch = qp->lease_epoch;
	io->who = &qp->ctrlr->who;
	bdev_submit(v->ch, io);
}

static void caw_done(struct bdev_io *io)
{
	struct nvmf_req *second = container_of(io, struct nvmf_req, io);
	struct nvmf_fused_slot *slot = container_of(io->iovs, struct nvmf_fused_slot, iovs[0]);

	slot->req = NULL;
	bdev_view_put(second->ns);
	second->ns = NULL;
	end_both(second->fused, second, nvmf_status_of(io));
}
