/* SPDX-License-Identifier: BSD-3-Clause */
/* dsm.c: Dataset Management: ranges are deallocated one after the other; all else that it says are hints, which are
 * heard and forgotten. */
#include "nvmf/io.h"

bool nvmf_dsm_parse(struct nvmf_req *req)
{
	uint16_t status;
	struct bdev_view *v = nvmf_ns_for_io(req->qpair, le32_get(req->cmd.nsid), &status);

	if (!v)
		return nvmf_req_refuse(req, status);
	if (v->read_only && (le32_get(req->cmd.dsm.attributes) & NVME_DSM_AD))
		return nvmf_req_refuse(req, NVME_SC_NS_WRITE_PROTECTED | NVME_SC_DNR);
	return nvmf_req_moves(req, NVMF_DATA_TO_CTRLR, (req->cmd.dsm.nr + 1u) * sizeof(struct nvme_dsm_range));
}

static struct bdev_range range_of(const struct nvmf_req *req, uint32_t at)
{
	struct nvme_dsm_range r;

	nvmf_iov_read(req, at * (uint32_t)sizeof(r), &r, sizeof(r));
	return (struct bdev_range){ .lba = le64_get(r.slba), .count = le32_get(r.nlb) };
}

static uint16_t check_ranges(const struct nvmf_req *req)
{
	for (uint32_t at = 0; at <= req->cmd.dsm.nr; at++) {
		struct bdev_range r = range_of(req, at);
		uint16_t status = nvmf_check_range(req->ns, &r);

		if (status)
			return status;
	}
	return NVME_SC_SUCCESS;
}

/* What is beyond the subsystem's limit stays: as SPDK, for deallocation is a hint. */
static uint32_t limit(const struct nvmf_req *req)
{
	const struct nvmf_subsystem *s = nvmf_qpair_sub(req->qpair);

	return s && s->dmrsl ? s->dmrsl : UINT32_MAX;
}

/* False: there is none left that is not empty. */
static bool submit_next(struct nvmf_req *req)
{
	while (req->at <= req->cmd.dsm.nr) {
		struct bdev_range r = range_of(req, req->at++);

		if (!r.count)
			continue;
		req->io.lba = r.lba;
		req->io.count = min_u64(r.count, limit(req));
		bdev_submit(req->ns->ch, &req->io);
		return true;
	}
	return false;
}

static void range_done(struct bdev_io *io)
{
	struct nvmf_req *req = container_of(io, struct nvmf_req, io);

	if (io->status != BDEV_ST_OK)
		nvmf_io_end(req, nvmf_status_of(io));
	else if (!submit_next(req))
		nvmf_io_end(req, NVME_SC_SUCCESS);
}

/* Deallocation is a hint, too: a device that cannot has heard it. */
static bool deallocates(const struct nvmf_req *req)
{
	return le32_get(req->cmd.dsm.attributes) & NVME_DSM_AD && bdev_can(&req->ns->served->info, BDEV_UNMAP);
}

void nvmf_dsm_run(struct nvmf_req *req)
{
	struct bdev_io *io = &req->io;
	uint16_t status;

	if (!nvmf_io_begin(req, range_done))
		return;
	status = check_ranges(req);
	/* As a whole: hints have no I/O, and ranges may be empty. */
	if (bdev_resv_refuses(req->ns->ch, &req->qpair->ctrlr->who, RESV_WRITE))
		status = NVME_SC_RESERVATION_CONFLICT | NVME_SC_DNR;
	io->op = BDEV_UNMAP;
	io->flags = 0;
	io->iov_count = 0;
	io->unmap.ranges = NULL;
	io->unmap.range_count = 0;
	req->at = 0;
	if (status || !deallocates(req) || !submit_next(req))
		nvmf_req_complete(req, status);
}
