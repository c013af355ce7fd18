/* SPDX-License-Identifier: BSD-3-Clause */
/* copy.c: Copy: source ranges, one after the other, to one run of blocks. Descriptor format 0, and 2, by which ranges
 * lie in other namespaces of the subsystem; a host says first that it knows that one (Host Behavior Support, CDFE).
 *
 * All ranges are looked at before the first block is copied. QEMU's controller is the witness for what is refused how.
 */
#include "nvmf/io.h"

#define FORMAT_OTHER_NS 2u
_Static_assert(NVMF_COPY_RANGES_MAX == UINT8_MAX + 1, "as many as a command can name");

static uint8_t format_of(const struct nvmf_req *req)
{
	return req->cmd.copy.df_prinfor & 0xf;
}

static bool format_is_known(const struct nvmf_req *req)
{
	const struct nvmf_ctrlr *c = req->qpair->ctrlr;
	uint8_t format = format_of(req);

	if (!(NVMF_COPY_FORMATS & 1u << format))
		return false;
	return format != FORMAT_OTHER_NS ||
	       atomic_load_explicit(&c->copy_formats, memory_order_relaxed) & 1u << FORMAT_OTHER_NS;
}

bool nvmf_copy_parse(struct nvmf_req *req)
{
	const struct nvme_copy *cmd = &req->cmd.copy;
	uint16_t status;
	struct bdev_view *v = nvmf_ns_for_io(req->qpair, le32_get(req->cmd.nsid), &status);

	if (!v)
		return nvmf_req_refuse(req, status);
	if (v->read_only)
		return nvmf_req_refuse(req, NVME_SC_NS_WRITE_PROTECTED | NVME_SC_DNR);
	if (!format_is_known(req))
		return nvmf_req_refuse(req, NVME_SC_INVALID_FIELD | NVME_SC_DNR);
	status = nvmf_pi_check_copy(req, v);
	if (status)
		return nvmf_req_refuse(req, status);
	return nvmf_req_moves(req, NVMF_DATA_TO_CTRLR, (cmd->nr + 1u) * sizeof(struct nvme_copy_range));
}

/* --- a source range --------------------------------------------------------------------------------- */

struct range {
	struct bdev_range range;
	uint32_t nsid;
	bool fast_only;
	struct nvme_copy_range wire;
};

static struct range source_of(const struct nvmf_req *req, uint32_t at)
{
	struct nvme_copy_range r;
	bool elsewhere = format_of(req) == FORMAT_OTHER_NS;

	nvmf_iov_read(req, at * (uint32_t)sizeof(r), &r, sizeof(r));
	return (struct range){ .range = { .lba = le64_get(r.slba), .count = le16_get(r.nlb) + 1ull },
		                .nsid = le32_get(elsewhere ? r.snsid : req->cmd.nsid),
		                .fast_only = elsewhere && le16_get(r.sopt) & NVME_COPY_SOPT_FAST_ONLY, .wire = r };
}

static bool nsid_is_valid(const struct nvmf_req *req, uint32_t nsid)
{
	const struct nvmf_subsystem *s = nvmf_qpair_sub(req->qpair);

	return s && nsid - 1 < s->ns_max;
}

/* The namespace that a range lies in; NULL, and why not. */
static struct bdev_view *view_of(struct nvmf_req *req, const struct range *src, uint16_t *ret_status)
{
	struct bdev_view *v;

	if (src->nsid == le32_get(req->cmd.nsid))
		return req->ns;
	v = nvmf_ns_for_io(req->qpair, src->nsid, ret_status);
	if (v && v->ch)
		return v;
	if (v)
		*ret_status = NVME_SC_NS_NOT_READY;
	else if (*ret_status == (NVME_SC_INVALID_NS | NVME_SC_DNR) && nsid_is_valid(req, src->nsid))
		*ret_status = NVME_SC_INVALID_FIELD | NVME_SC_DNR; /* it could be one and is none */
	return NULL;
}

static bool same_format(const struct bdev_view *a, const struct bdev_view *b)
{
	const struct bdev_info *x = &a->served->info, *y = &b->served->info;

	return a->shape == b->shape && x->block_size == y->block_size && x->md_interleaved == y->md_interleaved;
}

/* Within one device that copies by itself. */
static bool is_fast(const struct bdev_view *from, const struct bdev_view *to)
{
	return bdev_of(from->desc) == bdev_of(to->desc) && to->served->info.native_ops & BDEV_BIT(COPY);
}

static bool overlap(const struct bdev_range *a, const struct bdev_range *b)
{
	return a->lba < b->lba + b->count && b->lba < a->lba + a->count;
}

static uint16_t check_source(struct nvmf_req *req, const struct range *src, const struct bdev_range *to)
{
	uint16_t status = NVME_SC_SUCCESS;
	const struct bdev_view *v = view_of(req, src, &status);

	if (!v)
		return status;
	if (!same_format(v, req->ns))
		return NVME_SC_INCOMPATIBLE_NS | NVME_SC_DNR;
	if (src->range.count > NVMF_COPY_BLOCKS_MAX)
		return NVME_SC_CMD_SIZE_LIMIT_EXCEEDED | NVME_SC_DNR;
	status = nvmf_check_range(v, &src->range);
	if (!status)
		status = nvmf_pi_check_source(req, v, src->range.lba, le32_get(src->wire.eilbrt));
	if (status)
		return status;
	if (format_of(req) == FORMAT_OTHER_NS && v == req->ns && overlap(&src->range, to))
		return NVME_SC_OVERLAPPING_IO_RANGE | NVME_SC_DNR;
	return src->fast_only && !is_fast(v, req->ns) ? NVME_SC_FAST_COPY_NOT_POSSIBLE | NVME_SC_DNR : NVME_SC_SUCCESS;
}

static uint16_t check(struct nvmf_req *req)
{
	struct bdev_range to = { .lba = le64_get(req->cmd.copy.sdlba) };
	uint16_t status;

	for (uint32_t at = 0; at <= req->cmd.copy.nr; at++)
		to.count += source_of(req, at).range.count;
	if (to.count > NVMF_COPY_BLOCKS_ALL)
		return NVME_SC_CMD_SIZE_LIMIT_EXCEEDED | NVME_SC_DNR;
	status = nvmf_check_range(req->ns, &to);
	for (uint32_t at = 0; at <= req->cmd.copy.nr && !status; at++) {
		struct range src = source_of(req, at);

		status = check_source(req, &src, &to);
	}
	return status;
}

/* --- running ------------------------------------------------------------------------------------------ */

static void range_done(struct bdev_io *io);
static void fail(struct nvmf_req *req, uint16_t status, void (*answer)(struct nvmf_req *req, uint16_t status));

/* Not 0: not begun. A namespace may have gone since all of them were looked at. */
static uint16_t submit(struct nvmf_req *req)
{
	struct range src = source_of(req, req->at);
	uint16_t status = NVME_SC_SUCCESS;
	struct bdev_view *v = view_of(req, &src, &status);
	struct bdev_io *io = &req->io;

	if (!v)
		return status;
	io->flags = le16_get(req->cmd.copy.control) & NVME_RW_FUA || atomic_load(&req->qpair->ctrlr->write_through)
	            ? BDEV_IO_FUA : 0;
	io->lba = req->at_lba;
	io->count = src.range.count;
	io->copy.src_lba = src.range.lba;
	if (req->ns->md_size)
		nvmf_pi_copy(req, &src.wire);
	if (v != req->ns) {
		v->refs++;
		req->src = v;
		io->flags |= BDEV_IO_SRC;
		io->copy.src = v->ch;
	}
	bdev_submit(req->ns->ch, io);
	return NVME_SC_SUCCESS;
}

void nvmf_copy_run(struct nvmf_req *req)
{
	uint16_t status;

	if (!nvmf_io_begin(req, range_done))
		return;
	req->io.op = BDEV_COPY;
	req->io.iov_count = 0;
	req->src = NULL;
	req->at = 0;
	req->at_lba = le64_get(req->cmd.copy.sdlba);
	status = check(req);
	if (!status)
		status = submit(req);
	if (status)
		fail(req, status, nvmf_req_complete);
}

/* With the first range that was not copied. */
static void fail(struct nvmf_req *req, uint16_t status, void (*answer)(struct nvmf_req *req, uint16_t status))
{
	req->cpl.dw0 = le32_of(req->at);
	answer(req, status);
}

static void range_done(struct bdev_io *io)
{
	struct nvmf_req *req = container_of(io, struct nvmf_req, io);
	uint16_t status = nvmf_status_of(io);

	if (req->src)
		bdev_view_put(req->src);
	req->src = NULL;
	if (!status) {
		req->at_lba += io->count;
		if (++req->at > req->cmd.copy.nr) {
			nvmf_io_end(req, NVME_SC_SUCCESS);
			return;
		}
		status = submit(req);
	}
	if (status)
		fail(req, status, nvmf_io_end);
}
