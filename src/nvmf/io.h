/* SPDX-License-Identifier: BSD-3-Clause */
/* io.h: what the I/O commands' files share. Private to nvmf. */
#ifndef NVMF_IO_H
#define NVMF_IO_H

#include "nvmf/target.h"

#define NVMF_RW_PI (NVME_RW_PRACT | NVME_RW_PRCHK_REF | NVME_RW_PRCHK_APP | NVME_RW_PRCHK_GUARD | NVME_RW_STC)

/* Does it change blocks? Deallocation does, its hints do not. */
static inline bool nvmf_io_writes(const struct nvmf_req *req)
{
	if (req->cmd.opc == NVME_CMD_DSM)
		return le32_get(req->cmd.dsm.attributes) & NVME_DSM_AD;
	return req->handler->effects & NVME_CMD_EFFECTS_LBCC;
}

/* Find the namespace anew, and keep it; the I/O gets what all of them have. False: answered. */
static inline bool nvmf_io_begin(struct nvmf_req *req, bdev_done_fn *done)
{
	struct nvmf_qpair *qp = req->qpair;
	uint16_t status = NVME_SC_NS_NOT_READY;
	struct bdev_view *v = nvmf_ns_for_io(qp, le32_get(req->cmd.nsid), &status);

	if (unlikely(!v || !v->ch)) {
		nvmf_req_complete(req, status);
		return false;
	}
	if (unlikely(v->read_only) && nvmf_io_writes(req)) { /* since it was parsed */
		nvmf_req_complete(req, NVME_SC_NS_WRITE_PROTECTED | NVME_SC_DNR);
		return false;
	}
	if (likely(!req->ns)) {
		v->refs++;
		req->ns = v;
	} else if (unlikely(v != req->ns)) {
		nvmf_req_complete(req, NVME_SC_INVALID_NS); /* what has lent the memory is another device by now */
		return false;
	}
	req->io.done = done;
	req->io.lease = qp->lease;
	req->io.lease_epoch = qp->lease_epoch;
	req->io.who = &qp->ctrlr->who;
	return true;
}

/* From done: the answer of a command without data to send. */
void nvmf_io_end(struct nvmf_req *req, uint16_t status);
/* Is it within the namespace? */
static inline uint16_t nvmf_check_range(const struct bdev_view *v, const struct bdev_range *r)
{
	uint64_t blocks = bdev_block_count(v->desc);

	return r->count > blocks || r->lba > blocks - r->count ? NVME_SC_LBA_RANGE | NVME_SC_DNR : NVME_SC_SUCCESS;
}

/* pi.c: of a namespace with metadata */
/* What PRINFO and the tags ask for goes into the I/O; len: how many bytes its data has. False: refused. */
bool nvmf_pi_parse(struct nvmf_req *req, const struct bdev_view *v, uint64_t *len);
/* Both halves were parsed: what the first one asks for goes to the second, whose I/O it is. False: not together. */
bool nvmf_pi_fuse(const struct nvmf_req *first, struct nvmf_req *second);
/* Copy: is what it asks for possible with the destination; of a source range; then what goes into its I/O. */
uint16_t nvmf_pi_check_copy(const struct nvmf_req *req, const struct bdev_view *v);
uint16_t nvmf_pi_check_source(const struct nvmf_req *req, const struct bdev_view *v, uint64_t lba, uint32_t ref_tag);
void nvmf_pi_copy(struct nvmf_req *req, const struct nvme_copy_range *r);

/* dsm.c, copy.c */
bool nvmf_dsm_parse(struct nvmf_req *req);
void nvmf_dsm_run(struct nvmf_req *req);
bool nvmf_copy_parse(struct nvmf_req *req);
void nvmf_copy_run(struct nvmf_req *req);

/* lba_status.c */
bool nvmf_lba_status_parse(struct nvmf_req *req);
void nvmf_lba_status_run(struct nvmf_req *req);

#endif
