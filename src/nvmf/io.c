/* SPDX-License-Identifier: BSD-3-Clause */
/* io.c: the commands of I/O queues.
 *
 * Parsing finds the namespace for direction and length of the data; running finds it again, because the data may have
 * been long on its way, and counts itself in the namespace's view until the device, and whoever has lent memory, is
 * done.
 */
#include "nvmf/io.h"

static void read_write_done(struct bdev_io *io);
static void plain_done(struct bdev_io *io);
static void flush_all(struct nvmf_req *req);
static bool flush_one(struct nvmf_req *req);
static void flush_next(struct bdev_io *io);
static void finish(struct nvmf_req *req, uint16_t status);

/* A subsystem that was removed takes its connections along: a path that ends, not a namespace that never was. */
uint16_t nvmf_ns_refused(struct nvmf_qpair *qp, uint32_t nsid)
{
	const struct nvmf_subsystem *s = nvmf_qpair_sub(qp);
	struct bdev_view *v = nvmf_ns_find(qp, nsid);

	if (!s)
		return NVME_SC_CTRL_PATH_ERROR;
	if (v && (!qp->reach || qp->reach->stamp != s->stamp))
		nvmf_reach_look(qp, s);
	return v ? nvmf_ana_status(qp->ctrlr, s, nsid) : NVME_SC_INVALID_NS | NVME_SC_DNR;
}

/* --- parsing what reads and writes have in common -------------------------------------------------------- */

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
	if (unlikely(control & NVMF_RW_PI) && !v->md_size)
		goto refuse;
	status = NVME_SC_NS_WRITE_PROTECTED | NVME_SC_DNR;
	if (unlikely(writes && v->read_only))
		goto refuse;
	status = NVME_SC_INVALID_FIELD | NVME_SC_DNR;
	if (unlikely(writes && control & NVME_RW_DTYPE)) /* no directive is offered: neither streams nor placement */
		goto refuse;
	req->shape = v->shape;
	req->io.lba = lba;
	req->io.count = count;
	req->io.flags = control & NVME_RW_FUA ? BDEV_IO_FUA : 0;
	if (writes && unlikely(atomic_load_explicit(&req->qpair->ctrlr->write_through, memory_order_relaxed)))
		req->io.flags = BDEV_IO_FUA;
	return v;
refuse:
	nvmf_req_refuse(req, status);
	return NULL;
}

static inline bool parse_data(struct nvmf_req *req, struct bdev_view *v, enum nvmf_data data)
{
	uint64_t len = req->io.count << v->shift;

	if (unlikely(v->md_size) && !nvmf_pi_parse(req, v, &len))
		return false;
	if (unlikely(len > req->qpair->data_len_max))
		return nvmf_req_refuse(req, NVME_SC_INVALID_FIELD | NVME_SC_DNR);
	req->data = (uint8_t)data;
	req->data_len = (uint32_t)len;
	return true;
}

static inline void parse_lending(struct nvmf_req *req, const struct bdev_view *v)
{
	req->may_lend = !(req->io.flags & BDEV_IO_PLAIN); /* a device lends what it has */
	req->lends_zeroes = v->lends_zeroes;
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
	struct bdev_view *v = parse_range(req, writes);

	if (!v || (v->md_size && !nvmf_pi_parse(req, v, NULL)))
		return false;
	req->io.op = (uint8_t)op;
	return true;
}

/* Those whose length is limited. */
static bool within_limit(struct nvmf_req *req, uint32_t shift)
{
	return req->io.count << bdev_shape_shift(req->shape) <= 1ull << shift ||
	       nvmf_req_refuse(req, NVME_SC_INVALID_FIELD | NVME_SC_DNR);
}

static bool write_zeroes_parse(struct nvmf_req *req)
{
	if (!without_data(req, true, BDEV_WRITE_ZEROES) || !within_limit(req, nvmf_qpair_sub(req->qpair)->wzsl + 12u))
		return false;
	if (le16_get(req->cmd.rw.control) & NVME_RW_DEAC)
		req->io.flags |= BDEV_IO_DEALLOCATE;
	return true;
}

static bool verify_parse(struct nvmf_req *req)
{
	return without_data(req, false, BDEV_VERIFY) && within_limit(req, NVMF_NODATA_SHIFT);
}

static bool write_uncor_parse(struct nvmf_req *req)
{
	return without_data(req, true, BDEV_WRITE_UNCORRECTABLE);
}

static bool flush_parse(struct nvmf_req *req)
{
	uint16_t status;

	if (le32_get(req->cmd.nsid) != NVME_NSID_ALL &&
	    !nvmf_ns_for_io(req->qpair, le32_get(req->cmd.nsid), &status))
		return nvmf_req_refuse(req, status);
	return true;
}

/* --- running ------------------------------------------------------------------------------------------------ */

/* Another namespace may answer to the same nsid by now: its blocks may be of another size. */
static inline bool same_blocks(struct nvmf_req *req)
{
	if (likely(req->ns->shape == req->shape))
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
	if (unlikely(!v || !v->ch || v->shape != req->shape))
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

	if (unlikely(!nvmf_io_begin(req, read_write_done) || !same_blocks(req)))
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
	if (!nvmf_io_begin(req, plain_done) || !same_blocks(req))
		return;
	req->io.iov_count = 0;
	bdev_submit(req->ns->ch, &req->io);
}

static void flush_submit(struct nvmf_req *req)
{
	req->io.op = BDEV_FLUSH;
	req->io.flags = 0;
	req->io.iov_count = 0;
	req->io.lba = 0;
	req->io.count = bdev_block_count(req->ns->desc);
	bdev_submit(req->ns->ch, &req->io);
}

static void flush_run(struct nvmf_req *req)
{
	if (le32_get(req->cmd.nsid) == NVME_NSID_ALL)
		flush_all(req);
	else if (nvmf_io_begin(req, plain_done))
		flush_submit(req);
}

/* Every namespace that this controller can use, one after the other; the first error is told when all were tried. */
static void flush_all(struct nvmf_req *req)
{
	req->io.lease = req->qpair->lease;
	req->io.lease_epoch = req->qpair->lease_epoch;
	req->io.who = &req->qpair->ctrlr->who;
	req->io.done = flush_next;
	req->at = 0;
	if (!flush_one(req))
		nvmf_req_complete(req, NVME_SC_SUCCESS);
}

/* False: there is none left. */
static bool flush_one(struct nvmf_req *req)
{
	const struct nvmf_subsystem *s = nvmf_qpair_sub(req->qpair);
	uint16_t status;

	while (s && req->at < s->ns_max) {
		struct bdev_view *v = nvmf_ns_for_io(req->qpair, ++req->at, &status);

		if (!v || !v->ch)
			continue;
		v->refs++;
		req->ns = v;
		flush_submit(req);
		return true;
	}
	return false;
}

static void flush_next(struct bdev_io *io)
{
	struct nvmf_req *req = container_of(io, struct nvmf_req, io);

	if (!nvme_cqe_status(&req->cpl))
		nvme_cqe_set_status(&req->cpl, nvmf_status_of(io));
	bdev_view_put(req->ns);
	req->ns = NULL;
	if (!flush_one(req))
		finish(req, nvme_cqe_status(&req->cpl));
}

static void finish(struct nvmf_req *req, uint16_t status)
{
	nvme_cqe_set_status(&req->cpl, status);
	if (status)
		nvmf_error_add(req);
	nvmf_req_finish(req);
}

void nvmf_io_end(struct nvmf_req *req, uint16_t status)
{
	bdev_view_put(req->ns);
	req->ns = NULL;
	finish(req, status);
}

static void plain_done(struct bdev_io *io)
{
	nvmf_io_end(container_of(io, struct nvmf_req, io), nvmf_status_of(io));
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
	[NVME_CMD_DSM]          = { "Dataset Management",  nvmf_dsm_parse,          nvmf_dsm_run,         0,          W },
	[NVME_CMD_VERIFY]       = { "Verify",              verify_parse,       no_data_run,     0,          0 },
	[NVME_CMD_RESV_REGISTER] = { "Reservation Register", nvmf_resv_register_parse, nvmf_resv_register_run, 0, 0 },
	[NVME_CMD_RESV_REPORT]  = { "Reservation Report",  nvmf_resv_report_parse,  nvmf_resv_report_run,  0, 0 },
	[NVME_CMD_RESV_ACQUIRE] = { "Reservation Acquire", nvmf_resv_acquire_parse, nvmf_resv_acquire_run, 0, 0 },
	[NVME_CMD_RESV_RELEASE] = { "Reservation Release", nvmf_resv_release_parse, nvmf_resv_release_run, 0, 0 },
	[NVME_CMD_COPY]         = { "Copy",                nvmf_copy_parse,         nvmf_copy_run,        0,          W },
};
#undef W

const struct nvmf_handler *nvmf_io_handler(uint8_t opc)
{
	return likely(io_handlers[opc].run != NULL) ? &io_handlers[opc] : NULL;
}

bool nvmf_io_masked(const struct nvmf_transport_opts *opts, uint8_t opc)
{
	switch (opc) {
	case NVME_CMD_COMPARE:
		return opts->masked_oncs & NVME_ONCS_COMPARE;
	case NVME_CMD_DSM:
		return opts->masked_oncs & NVME_ONCS_DSM;
	case NVME_CMD_WRITE_ZEROES:
		return opts->masked_oncs & NVME_ONCS_WRITE_ZEROES;
	case NVME_CMD_COPY:
		return opts->masked_oncs & NVME_ONCS_COPY;
	case NVME_CMD_RESV_REGISTER:
	case NVME_CMD_RESV_REPORT:
	case NVME_CMD_RESV_ACQUIRE:
	case NVME_CMD_RESV_RELEASE:
		return opts->masked_oncs & NVME_ONCS_RESERVATIONS;
	default:
		return false;
	}
}
