/* SPDX-License-Identifier: BSD-3-Clause */
/* lba_status.c: Get LBA Status: blocks that are known to be lost: those that a host declared uncorrectable, on devices
 * that remember that. There is nothing else to be found by scanning them. libnvme's types are the witness for the
 * layout.
 */
#include "nvmf/io.h"

enum { ATYPE_SCAN = 0x10, ATYPE_TRACKED = 0x11 };
enum { CMPC_FULL = 1, CMPC_RANGE = 2 };

struct lba_list {
	uint64_t lba, end;                /* still to be looked at */
	uint32_t count, max;
	struct nvme_lba_status *page;
};

static void run_done(struct bdev_io *io);

bool nvmf_lba_status_parse(struct nvmf_req *req)
{
	const struct nvme_get_lba_status *cmd = &req->cmd.get_lba_status;
	uint64_t len = (le32_get(cmd->mndw) + 1ull) * 4;
	uint16_t status;
	struct bdev_view *v = nvmf_ns_for_io(req->qpair, le32_get(req->cmd.nsid), &status);

	if (!v)
		return nvmf_req_refuse(req, status);
	if (!v->served->info.knows_bad)
		return nvmf_req_refuse(req, NVME_SC_INVALID_FIELD | NVME_SC_DNR);
	if ((cmd->atype != ATYPE_SCAN && cmd->atype != ATYPE_TRACKED) || len > req->qpair->data_len_max ||
	    len < sizeof(struct nvme_lba_status))
		return nvmf_req_refuse(req, NVME_SC_INVALID_FIELD | NVME_SC_DNR);
	if (le64_get(cmd->slba) >= bdev_block_count(v->desc))
		return nvmf_req_refuse(req, NVME_SC_LBA_RANGE | NVME_SC_DNR);
	return nvmf_req_moves(req, NVMF_DATA_TO_HOST, (uint32_t)len);
}

static void submit(struct nvmf_req *req, const struct lba_list *l)
{
	req->io.op = BDEV_GET_LBA_STATUS;
	req->io.flags = 0;
	req->io.iov_count = 0;
	req->io.lba = l->lba;
	req->io.count = l->end - l->lba;
	req->io.lba_status.of_bad = true;
	bdev_submit(req->ns->ch, &req->io);
}

void nvmf_lba_status_run(struct nvmf_req *req)
{
	uint64_t lba = le64_get(req->cmd.get_lba_status.slba), count = le16_get(req->cmd.get_lba_status.rl), blocks;
	struct lba_list *l;

	if (!nvmf_io_begin(req, run_done))
		return;
	blocks = bdev_block_count(req->ns->desc);
	if (lba >= blocks) {
		nvmf_req_complete(req, NVME_SC_LBA_RANGE | NVME_SC_DNR);
		return;
	}
	l = base_zalloc(sizeof(*l));
	l->page = base_zalloc(req->data_len);
	l->max = (uint32_t)((req->data_len - sizeof(*l->page)) / sizeof(struct nvme_lba_status_desc));
	l->lba = lba;
	l->end = count ? lba + min_u64(count, blocks - lba) : blocks;
	req->own = l;
	submit(req, l);
}

static void end(struct nvmf_req *req, struct lba_list *l, uint16_t status)
{
	l->page->nlsd = le32_of(l->count);
	l->page->cmpc = l->lba == l->end ? CMPC_RANGE : CMPC_FULL;
	if (status)
		nvmf_req_complete(req, status);
	else
		nvmf_req_complete_data(req, l->page, req->data_len);
	free(l->page);
	free(l);
}

/* A run may have come in parts. */
static void add(struct lba_list *l, uint64_t lba, uint64_t count)
{
	struct nvme_lba_status_desc *last = l->count ? &l->page->descs[l->count - 1] : NULL;

	if (last && le64_get(last->dslba) + le32_get(last->nlb) == lba && le32_get(last->nlb) + count <= UINT32_MAX)
		last->nlb = le32_of((uint32_t)(le32_get(last->nlb) + count));
	else
		l->page->descs[l->count++] = (struct nvme_lba_status_desc){ .dslba = le64_of(lba),
			                                                    .nlb = le32_of((uint32_t)count) };
}

static void run_done(struct bdev_io *io)
{
	struct nvmf_req *req = container_of(io, struct nvmf_req, io);
	struct lba_list *l = req->own;
	uint64_t count = io->lba_status.ret_blocks;
	bool full = io->lba_status.ret_bad && l->count == l->max;

	if (io->status != BDEV_ST_OK || full) {
		end(req, l, nvmf_status_of(io));
		return;
	}
	if (io->lba_status.ret_bad)
		add(l, l->lba, count);
	l->lba += count;
	if (l->lba < l->end)
		submit(req, l);
	else
		end(req, l, NVME_SC_SUCCESS);
}
