/* SPDX-License-Identifier: BSD-3-Clause */
/* io.c: the commands of I/O queues.
 *
 * Parsing finds the namespace for direction and length of the data; running finds it again, because the data may have
 * been long on its way, and counts itself in the namespace's view until the device, and whoever has lent memory, is
 * done.
 */
#include "nvmf/target.h"

static void read_write_done(struct bdev_io *io);
static void plain_done(struct bdev_io *io);

/* A subsystem that was removed takes its connections along: a path that ends, not a namespace that never was. */
uint16_t nvmf_ns_refused(const struct nvmf_qpair *qp, uint32_t nsid)
{
	const struct nvmf_subsystem *s = nvmf_qpair_sub(qp);
	struct bdev_view *v = nvmf_ns_find(qp, nsid);

	if (!s)
		return NVME_SC_CTRL_PATH_ERROR;
	return v ? nvmf_ana_status(qp->ctrlr, s, nvmf_ns_of(v)) : NVME_SC_INVALID_NS | NVME_SC_DNR;
}

/* --- parsing what reads and writes have in common -------------------------------------------------------- */

#define RW_PI (NVME_RW_PRACT | NVME_RW_PRCHK_REF | NVME_RW_PRCHK_APP | NVME_RW_PRCHK_GUARD | NVME_RW_STC)

/* NULL: refused. */
static inline struct bdev_view *parse_range(struct nvmf_req *req, bool writes)
{
	uint64_t lba = le64_get(req->cmd.rw.slba), count = le16_get(req->cmd.rw.nlb) + 1ull, blocks;
	uint16_t control = le16_get(req->cmd.rw.control), status;
	struct bdev_view *v = nvmf_ns_for_io(req->qpair, le32_get(req->cmd.nsid), &status);

	if (unlikely(!v))
		goto refuse;
	blocks = bdev_block_count(v->desc);
	status = NVME_SC_LBA_RANGE | NVME_SC_DNR;
	if (unlikely(count > blocks || lba > blocks - count))
		goto refuse;
	status = NVME_SC_INVALID_PI | NVME_SC_DNR;
	if (unlikely(control & RW_PI))
		goto refuse;
	status = NVME_SC_NS_WRITE_PROTECTED | NVME_SC_DNR;
	if (unlikely(writes && v->read_only))
		goto refuse;
	req->shift = v->shift;
	req->io.lba = lba;
	req->io.count = count;
	req->io.flags = control & NVME_RW_FUA ? BDEV_IO_FUA : 0;
	return v;
refuse:
	nvmf_req_refuse(req, status);
	return NULL;
}

static inline bool parse_data(struct nvmf_req *req, struct bdev_view *v, enum nvmf_data data)
{
	uint64_t len = req->io.count << v->shift;

	if (unlikely(len > req->qpair->data_len_max))
		return nvmf_req_refuse(req, NVME_SC_INVALID_FIELD | NVME_SC_DNR);
	req->data = (uint8_t)data;
	req->data_len = (uint32_t)len;
	return true;
}

static inline void parse_lending(struct nvmf_req *req, const struct bdev_view *v)
{
	req->may_lend = true;
	req->lend_iovs_max = bdev_view_lend_iovs(v, req->data_len);
}

static bool read_parse(struct nvmf_req *req)
{
	struct bdev_view *v = parse_range(req, false);

	if (unlikely(!v || !parse_data(req, v, NVMF_DATA_TO_HOST)))
		return false;
	req->io.op = BDEV_READ;
	if (v->lends)
		parse_lending(req, v);
	return true;
}

static bool write_parse(struct nvmf_req *req)
{
	struct bdev_view *v = parse_range(req, true);

	if (unlikely(!v || !parse_data(req, v, NVMF_DATA_TO_CTRLR)))
		return false;
	req->io.op = BDEV_WRITE;
	req->may_consume = v->consumes;
	if (v->lends_writes)
		parse_lending(req, v);
	return true;
}

static bool compare_parse(struct nvmf_req *req)
{
	struct bdev_view *v = parse_range(req, false);

	if (!v || !parse_data(req, v, NVMF_DATA_TO_CTRLR))
		return false;
	req->io.op = BDEV_COMPARE;
	return true;
}

static bool without_data(struct nvmf_req *req, bool writes, enum bdev_op op)
{
	if (!parse_range(req, writes))
		return false;
	req->io.op = (uint8_t)op;
	return true;
}

static bool write_zeroes_parse(struct nvmf_req *req)
{
	if (!without_data(req, true, BDEV_WRITE_ZEROES))
		return false;
	if (le16_get(req->cmd.rw.control) & NVME_RW_DEAC)
		req->io.flags |= BDEV_IO_DEALLOCATE;
	return true;
}

static bool verify_parse(struct nvmf_req *req)
{
	return without_data(req, false, BDEV_VERIFY);
}

static bool write_uncor_parse(struct nvmf_req *req)
{
	return without_data(req, true, BDEV_WRITE_UNCORRECTABLE);
}

static bool flush_parse(struct nvmf_req *req)
{
	uint16_t status;

	if (!nvmf_ns_for_io(req->qpair, le32_get(req->cmd.nsid), &status))
		return nvmf_req_refuse(req, status);
	return true;
}

/* --- running ------------------------------------------------------------------------------------------------ */

/* Find the namespace anew, and keep it. False: answered. */
static inline bool begin(struct nvmf_req *req, bdev_done_fn *done)
{
	struct nvmf_qpair *qp = req->qpair;
	uint16_t status = NVME_SC_NS_NOT_READY;
	struct bdev_view *v = nvmf_ns_for_io(qp, le32_get(req->cmd.nsid), &status);

	if (unlikely(!v || !v->ch)) {
		nvmf_req_complete(req, status);
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

/* Another namespace may answer to the same nsid by now: its blocks may be of another size. */
static inline bool same_blocks(struct nvmf_req *req)
{
	if (likely(req->ns->shift == req->shift))
		return true;
	nvmf_req_complete(req, NVME_SC_INVALID_NS);
	return false;
}

/* The device stays as long as its memory is here: the view is counted from now on. */
bool nvmf_req_lend(struct nvmf_req *req)
{
	uint16_t status;
	struct bdev_view *v = nvmf_ns_for_io(req->qpair, le32_get(req->cmd.nsid), &status);

	assert(req->may_lend && req->data == NVMF_DATA_TO_CTRLR && !req->ns && req->iov_max >= req->lend_iovs_max);
	if (unlikely(!v || !v->ch || v->shift != req->shift))
		return false;
	req->io.iovs = req->iovs;
	req->io.iov_max = req->iov_max;
	if (!bdev_write_lend(v->ch, &req->io))
		return false;
	v->refs++;
	req->ns = v;
	req->lent = true;
	req->iov_count = req->io.iov_count;
	return true;
}

static void read_write_run(struct nvmf_req *req)
{
	struct bdev_io *io = &req->io;

	if (unlikely(!begin(req, read_write_done) || !same_blocks(req)))
		return;
	io->iovs = req->iovs;
	io->iov_count = req->iov_count;
	io->iov_max = req->iov_max;
	if (req->data == NVMF_DATA_TO_HOST && !req->iov_count) {
		assert(req->may_lend && req->iov_max >= req->lend_iovs_max);
		io->flags |= BDEV_IO_LEND;
	}
	bdev_submit(req->ns->ch, io);
	req->consumed = io->consumed;
}

static void read_write_done(struct bdev_io *io)
{
	struct nvmf_req *req = container_of(io, struct nvmf_req, io);

	req->lent = io->lent;
	if (likely(io->status == BDEV_ST_OK)) {
		req->iov_count = io->iov_count;
		req->sent_len = req->data == NVMF_DATA_TO_HOST ? req->data_len : 0;
	} else {
		nvme_cqe_set_status(&req->cpl, nvmf_status_of(io));
		nvmf_error_add(req);
	}
	if (!req->lent) { /* lent memory keeps the device open: nvmf_req_free() lets go of it */
		bdev_view_put(req->ns);
		req->ns = NULL;
	}
	nvmf_req_finish(req);
}

static void no_data_run(struct nvmf_req *req)
{
	if (!begin(req, plain_done) || !same_blocks(req))
		return;
	req->io.iov_count = 0;
	bdev_submit(req->ns->ch, &req->io);
}

static void flush_run(struct nvmf_req *req)
{
	if (!begin(req, plain_done))
		return;
	req->io.op = BDEV_FLUSH;
	req->io.flags = 0;
	req->io.iov_count = 0;
	req->io.lba = 0;
	req->io.count = bdev_block_count(req->ns->desc);
	bdev_submit(req->ns->ch, &req->io);
}

static void end(struct nvmf_req *req, uint16_t status)
{
	nvme_cqe_set_status(&req->cpl, status);
	if (status)
		nvmf_error_add(req);
	bdev_view_put(req->ns);
	req->ns = NULL;
	nvmf_req_finish(req);
}

static void plain_done(struct bdev_io *io)
{
	end(container_of(io, struct nvmf_req, io), nvmf_status_of(io));
}

/* --- commands of several ranges: one after the other ------------------------------------------------------------ */

static bool dsm_parse(struct nvmf_req *req)
{
	uint16_t status;
	struct bdev_view *v = nvmf_ns_for_io(req->qpair, le32_get(req->cmd.nsid), &status);

	if (!v)
		return nvmf_req_refuse(req, status);
	if (v->read_only && (le32_get(req->cmd.dsm.attributes) & NVME_DSM_AD))
		return nvmf_req_refuse(req, NVME_SC_NS_WRITE_PROTECTED | NVME_SC_DNR);
	return nvmf_req_moves(req, NVMF_DATA_TO_CTRLR, (req->cmd.dsm.nr + 1u) * sizeof(struct nvme_dsm_range));
}

static struct bdev_range dsm_range(const struct nvmf_req *req, uint32_t at)
{
	struct nvme_dsm_range r;

	nvmf_iov_read(req, at * (uint32_t)sizeof(r), &r, sizeof(r));
	return (struct bdev_range){ .lba = le64_get(r.slba), .count = le32_get(r.nlb) };
}

static uint16_t check_range(const struct nvmf_req *req, const struct bdev_range *r)
{
	uint64_t blocks = bdev_block_count(req->ns->desc);

	return r->count > blocks || r->lba > blocks - r->count ? NVME_SC_LBA_RANGE | NVME_SC_DNR : NVME_SC_SUCCESS;
}

static void dsm_next(struct bdev_io *io)
{
	struct nvmf_req *req = container_of(io, struct nvmf_req, io);
	struct bdev_range r;

	if (io->status != BDEV_ST_OK) {
		end(req, nvmf_status_of(io));
		return;
	}
	while (req->at <= req->cmd.dsm.nr) {
		r = dsm_range(req, req->at++);
		if (!r.count)
			continue;
		io->lba = r.lba;
		io->count = r.count;
		bdev_submit(req->ns->ch, io);
		return;
	}
	end(req, NVME_SC_SUCCESS);
}

/* Hints that nothing is done about are heard and forgotten. */
static void dsm_run(struct nvmf_req *req)
{
	struct bdev_io *io = &req->io;
	struct bdev_range r = { 0 };
	uint32_t at = 0;

	if (!begin(req, dsm_next))
		return;
	/* As a whole: hints have no I/O, and ranges may be empty. */
	if (bdev_resv_refuses(req->ns->ch, &req->qpair->ctrlr->who, RESV_WRITE)) {
		nvmf_req_complete(req, NVME_SC_RESERVATION_CONFLICT | NVME_SC_DNR);
		return;
	}
	for (; at <= req->cmd.dsm.nr; at++) {
		uint16_t status;

		r = dsm_range(req, at);
		status = check_range(req, &r);
		if (status) {
			nvmf_req_complete(req, status);
			return;
		}
	}
	io->op = BDEV_UNMAP;
	io->flags = 0;
	io->iov_count = 0;
	io->unmap.ranges = NULL;
	io->unmap.range_count = 0;
	for (req->at = 0; le32_get(req->cmd.dsm.attributes) & NVME_DSM_AD && req->at <= req->cmd.dsm.nr;) {
		r = dsm_range(req, req->at++);
		if (r.count) {
			io->lba = r.lba;
			io->count = r.count;
			bdev_submit(req->ns->ch, io);
			return;
		}
	}
	nvmf_req_complete(req, NVME_SC_SUCCESS);
}

static bool copy_parse(struct nvmf_req *req)
{
	const struct nvme_copy *cmd = &req->cmd.copy;
	uint16_t status;
	struct bdev_view *v = nvmf_ns_for_io(req->qpair, le32_get(req->cmd.nsid), &status);

	if (!v)
		return nvmf_req_refuse(req, status);
	if (v->read_only)
		return nvmf_req_refuse(req, NVME_SC_NS_WRITE_PROTECTED | NVME_SC_DNR);
	if (cmd->df_prinfor & 0xf)
		return nvmf_req_refuse(req, NVME_SC_INVALID_FIELD | NVME_SC_DNR);
	if ((cmd->df_prinfor >> 4) || (le16_get(cmd->control) & RW_PI))
		return nvmf_req_refuse(req, NVME_SC_INVALID_PI | NVME_SC_DNR);
	if (cmd->nr >= NVMF_COPY_RANGES_MAX)
		return nvmf_req_refuse(req, NVME_SC_CMD_SIZE_LIMIT_EXCEEDED | NVME_SC_DNR);
	return nvmf_req_moves(req, NVMF_DATA_TO_CTRLR, (cmd->nr + 1u) * sizeof(struct nvme_copy_range));
}

static struct bdev_range copy_range(const struct nvmf_req *req, uint32_t at)
{
	struct nvme_copy_range r;

	nvmf_iov_read(req, at * (uint32_t)sizeof(r), &r, sizeof(r));
	return (struct bdev_range){ .lba = le64_get(r.slba), .count = le16_get(r.nlb) + 1ull };
}

static uint16_t check_copy(const struct nvmf_req *req)
{
	struct bdev_range to = { .lba = le64_get(req->cmd.copy.sdlba) };

	for (uint32_t at = 0; at <= req->cmd.copy.nr; at++) {
		struct bdev_range from = copy_range(req, at);
		uint16_t status = check_range(req, &from);

		if (status)
			return status;
		if (from.count > NVMF_COPY_BLOCKS_MAX)
			return NVME_SC_CMD_SIZE_LIMIT_EXCEEDED | NVME_SC_DNR;
		to.count += from.count;
	}
	return check_range(req, &to);
}

static void copy_submit(struct nvmf_req *req)
{
	struct bdev_range from = copy_range(req, req->at);

	req->io.lba = req->at_lba;
	req->io.count = from.count;
	req->io.copy.src_lba = from.lba;
	bdev_submit(req->ns->ch, &req->io);
}

static void copy_next(struct bdev_io *io)
{
	struct nvmf_req *req = container_of(io, struct nvmf_req, io);

	if (io->status != BDEV_ST_OK) {
		req->cpl.dw0 = le32_of(req->at); /* the first range that was not copied */
		end(req, nvmf_status_of(io));
		return;
	}
	req->at_lba += io->count;
	if (++req->at > req->cmd.copy.nr)
		end(req, NVME_SC_SUCCESS);
	else
		copy_submit(req);
}

static void copy_run(struct nvmf_req *req)
{
	uint16_t status;

	if (!begin(req, copy_next))
		return;
	status = check_copy(req);
	if (status) {
		nvmf_req_complete(req, status);
		return;
	}
	req->io.op = BDEV_COPY;
	req->io.flags = le16_get(req->cmd.copy.control) & NVME_RW_FUA ? BDEV_IO_FUA : 0;
	req->io.iov_count = 0;
	req->at = 0;
	req->at_lba = le64_get(req->cmd.copy.sdlba);
	copy_submit(req);
}

/* --- the table ----------------------------------------------------------------------------------- */

#define W NVME_CMD_EFFECTS_LBCC
static const struct nvmf_handler io_handlers[256] = {
	/*                         name                   parse               run              flags       effects */
	[NVME_CMD_FLUSH]        = { "Flush",               flush_parse,        flush_run,       0,          0 },
	[NVME_CMD_WRITE]        = { "Write",               write_parse,        read_write_run,  NVMF_FUSED, W },
	[NVME_CMD_READ]         = { "Read",                read_parse,         read_write_run,  0,          0 },
	[NVME_CMD_WRITE_UNCOR]  = { "Write Uncorrectable", write_uncor_parse,  no_data_run,     0,          W },
	[NVME_CMD_COMPARE]      = { "Compare",             compare_parse,      read_write_run,  NVMF_FUSED, 0 },
	[NVME_CMD_WRITE_ZEROES] = { "Write Zeroes",        write_zeroes_parse, no_data_run,     0,          W },
	[NVME_CMD_DSM]          = { "Dataset Management",  dsm_parse,          dsm_run,         0,          W },
	[NVME_CMD_VERIFY]       = { "Verify",              verify_parse,       no_data_run,     0,          0 },
	[NVME_CMD_RESV_REGISTER] = { "Reservation Register", nvmf_resv_register_parse, nvmf_resv_register_run, 0, 0 },
	[NVME_CMD_RESV_REPORT]  = { "Reservation Report",  nvmf_resv_report_parse,  nvmf_resv_report_run,  0, 0 },
	[NVME_CMD_RESV_ACQUIRE] = { "Reservation Acquire", nvmf_resv_acquire_parse, nvmf_resv_acquire_run, 0, 0 },
	[NVME_CMD_RESV_RELEASE] = { "Reservation Release", nvmf_resv_release_parse, nvmf_resv_release_run, 0, 0 },
	[NVME_CMD_COPY]         = { "Copy",                copy_parse,         copy_run,        0,          W },
};
#undef W

const struct nvmf_handler *nvmf_io_handler(uint8_t opc)
{
	return likely(io_handlers[opc].run != NULL) ? &io_handlers[opc] : NULL;
}
