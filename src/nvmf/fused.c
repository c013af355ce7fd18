/* SPDX-License-Identifier: BSD-3-Clause */
/* fused.c: Compare and Write: one operation, sent as two commands that follow each other.
 *
 * The halves find each other when they are parsed, in the order of the queue; they run when both have their data.
 * What fails one fails the other. They may be as long as the device writes as one (NACWU), across no boundary of it
 * (NABSN). The device wants both halves' data in one array: there are some of these on each core, and pairs wait for
 * them in line.
 */
#include "nvmf/io.h"

#define FUSE_FIRST 1
#define FUSE_SECOND 2

#define WAIT_NAME "fused pair"
#define SLOT_IOVS ((int)ARRAY_SIZE(((struct nvmf_fused_slot *)NULL)->iovs)) /* of more no transport gives */

static void go(struct nvmf_req *first, struct nvmf_req *second);
static void unpark(struct nvmf_req *req);
static void caw_done(struct bdev_io *io);

/* --- parsing: who belongs to whom ----------------------------------------------------------------- */

/* The other half will not come, or has failed. */
static void fail_half(struct nvmf_req *req, uint16_t status)
{
	if (!req->executing) {
		req->fused_status = status; /* answered when its data is there */
	} else if (!req->finishing) {
		nvmf_fused_leave(req);
		nvmf_req_complete(req, status);
	}
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

static bool is_atomic(const struct nvmf_req *req)
{
	const struct bdev_view *v = nvmf_ns_find(req->qpair, le32_get(req->cmd.nsid)); /* parsing has found it */
	const struct bdev_info *info = v ? &v->served->info : NULL;
	uint64_t lba = req->io.lba, count = req->io.count, boundary = info ? info->atomic_boundary_blocks : 0;

	return info && count <= info->atomic_caw_blocks && (!boundary || lba / boundary == (lba + count - 1) / boundary);
}

static bool parse_first(struct nvmf_req *req)
{
	struct nvmf_qpair *qp = req->qpair;

	qp->fused_state = NVMF_FUSED_REFUSED;
	if (req->cmd.opc != NVME_CMD_COMPARE || qp->transport->opts.masked_fuses & NVME_FUSES_COMPARE_AND_WRITE)
		return nvmf_req_refuse(req, NVME_SC_INVALID_FIELD | NVME_SC_DNR);
	if (!req->handler->parse(req))
		return false;
	if (!is_atomic(req))
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

/* It waits for the other half, or both do for a slot. */
static void park(struct nvmf_req *req)
{
	req->parks = true;
}

static void unpark(struct nvmf_req *req)
{
	req->parks = false;
}

void nvmf_fused_run(struct nvmf_req *req)
{
	struct nvmf_req *other = req->fused;

	if (req->fused_status) {
		nvmf_req_complete(req, req->fused_status);
	} else if (!other || !other->executing) {
		park(req);
	} else {
		unpark(other);
		if (nvme_flags_fuse(req->cmd.flags) == FUSE_FIRST)
			go(req, other);
		else
			go(other, req);
	}
}

struct nvmf_req *nvmf_fused_io(struct nvmf_req *req)
{
	struct nvmf_req *other = req->fused;

	if (req->io.active)
		return req;
	return other && other->io.active ? other : NULL;
}

static void end_both(struct nvmf_req *first, struct nvmf_req *second, uint16_t status)
{
	first->fused = second->fused = NULL;
	nvmf_req_complete(first, status);
	nvmf_req_complete(second, status ? NVME_SC_FUSED_FAIL | NVME_SC_DNR : NVME_SC_SUCCESS);
}

static void make_slots(struct nvmf_core *nc)
{
	nc->fused_slots = base_zalloc(NVMF_FUSED_SLOTS * sizeof(*nc->fused_slots));
	for (uint32_t i = 0; i < NVMF_FUSED_SLOTS; i++) {
		nc->fused_slots[i].next = nc->fused_free;
		nc->fused_free = &nc->fused_slots[i];
	}
}

static void submit(struct nvmf_req *first, struct nvmf_req *second, struct nvmf_fused_slot *slot);

/* Who finds none waits behind those that do. */
static void go(struct nvmf_req *first, struct nvmf_req *second)
{
	struct nvmf_core *nc = second->qpair->nc;
	struct nvmf_fused_slot *slot;

	if (!nc->fused_slots)
		make_slots(nc);
	slot = nc->fused_free;
	if (!slot) {
		park(first);
		park(second);
		queue_push(&nc->fused_waiting, &second->done_link);
		wait_began(WAIT_NAME);
		return;
	}
	nc->fused_free = slot->next;
	submit(first, second, slot);
}

static void slot_give(struct nvmf_core *nc, struct nvmf_fused_slot *slot)
{
	slot->next = nc->fused_free;
	nc->fused_free = slot;
}

static void wait_ends(struct nvmf_req *second)
{
	wait_ended(WAIT_NAME, second->io.began_ns);
	second->io.waited += (uint32_t)((reactor_now_ns() - second->io.began_ns) >> 10);
}

static void serve_waiting(struct nvmf_core *nc)
{
	struct queue_link *l;

	while (nc->fused_free && (l = queue_pop(&nc->fused_waiting))) {
		struct nvmf_req *second = container_of(l, struct nvmf_req, done_link);

		wait_ends(second);
		unpark(second);
		unpark(second->fused);
		go(second->fused, second);
	}
}

void nvmf_fused_leave(struct nvmf_req *req)
{
	struct nvmf_req *second = nvme_flags_fuse(req->cmd.flags) == FUSE_SECOND ? req : req->fused;
	struct queue *waiting = &req->qpair->nc->fused_waiting;

	unpark(req);
	if (second && second->executing && !second->finishing && queue_remove(waiting, &second->done_link))
		wait_ends(second);
}

static void submit(struct nvmf_req *first, struct nvmf_req *second, struct nvmf_fused_slot *slot)
{
	struct nvmf_qpair *qp = second->qpair;
	uint16_t status = NVME_SC_INVALID_NS | NVME_SC_DNR;
	struct bdev_view *v = nvmf_ns_for_io(qp, le32_get(second->cmd.nsid), &status);
	struct bdev_io *io = &second->io;

	if (v && v->md_size && !nvmf_pi_fuse(first, second)) {
		status = NVME_SC_INVALID_FIELD | NVME_SC_DNR;
		v = NULL;
	}
	if (v && v->read_only) {
		status = NVME_SC_NS_WRITE_PROTECTED | NVME_SC_DNR;
		v = NULL;
	}
	if (!v || !v->ch || v->shape != second->shape || first->iov_count + second->iov_count > SLOT_IOVS) {
		slot_give(qp->nc, slot);
		end_both(first, second, status);
		return;
	}
	v->refs++;
	second->ns = v;
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
	struct nvmf_core *nc = second->qpair->nc;
	struct nvmf_fused_slot *slot = container_of(io->iovs, struct nvmf_fused_slot, iovs[0]);

	bdev_view_put(second->ns);
	second->ns = NULL;
	end_both(second->fused, second, nvmf_status_of(io));
	slot_give(nc, slot);
	serve_waiting(nc);
}
