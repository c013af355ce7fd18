/* SPDX-License-Identifier: BSD-3-Clause */
/* write_cache.c: the feature Volatile Write Cache. Devices keep their caches; a host that switches them off for its
 * controller has its writes put on media before they are answered, and first, what was written before. */
#include "nvmf/target.h"

static void flush_next(struct nvmf_req *req);

static void flushed(struct bdev_io *io)
{
	struct nvmf_req *req = container_of(io, struct nvmf_req, io);

	bdev_view_put(req->ns);
	req->ns = NULL;
	if (io->status == BDEV_ST_OK || io->status == BDEV_ST_GONE) {
		flush_next(req);
		return;
	}
	atomic_store(&req->qpair->ctrlr->write_through, false);
	nvmf_req_complete(req, nvmf_status_of(io));
}

/* req->at: namespaces that are done. */
static void flush_next(struct nvmf_req *req)
{
	const struct nvmf_subsystem *s = nvmf_qpair_sub(req->qpair);

	while (s && req->at < s->ns_max) {
		struct nvmf_ns *ns = s->ns[req->at++];
		struct bdev_view *v = ns ? &ns->dev.view[req->qpair->nc->index] : NULL;

		if (!v || !v->ch || ns->dev.info.cache != BDEV_CACHE_VOLATILE)
			continue;
		v->refs++;
		req->ns = v;
		req->io.op = BDEV_FLUSH;
		req->io.flags = 0;
		req->io.iov_count = 0;
		req->io.lba = 0;
		req->io.count = bdev_block_count(v->desc);
		req->io.done = flushed;
		req->io.lease = req->qpair->lease;
		req->io.lease_epoch = req->qpair->lease_epoch;
		req->io.who = &req->qpair->ctrlr->who;
		bdev_submit(v->ch, &req->io);
		return;
	}
	nvmf_req_complete(req, NVME_SC_SUCCESS);
}

void nvmf_write_cache_set(struct nvmf_req *req, uint32_t value)
{
	atomic_store(&req->qpair->ctrlr->write_through, !(value & 1));
	req->at = 0;
	if (value & 1)
		nvmf_req_complete(req, NVME_SC_SUCCESS);
	else
		flush_next(req);
}
