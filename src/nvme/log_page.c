/* SPDX-License-Identifier: BSD-3-Clause */
/* log_page.c: reading a log page of a controller in pieces it can take. */
#include <errno.h>

#include "nvme/nvme.h"

#define LOG_PIECE_MAX (64 * KIB)

static void piece_read(struct nvme_op *op);

static void read_piece(struct nvme_log_read *r)
{
	uint32_t most = min_u32(nvme_ctrlr_info(r->ctrlr)->max_io_bytes, LOG_PIECE_MAX);
	uint32_t len = min_u32(r->len - r->got, most), numd = len / 4 - 1;
	bool last = r->got + len == r->len;
	struct nvme_sqe cmd = { .opc = NVME_ADMIN_GET_LOG_PAGE, .nsid = le32_of(r->nsid) };

	cmd.get_log_page.lid = r->lid;
	cmd.get_log_page.lsp_rae = (uint8_t)((r->lsp & 0x7f) | (r->retain || !last ? 0x80 : 0));
	cmd.get_log_page.numdl = le16_of((uint16_t)numd);
	cmd.get_log_page.numdu = le16_of((uint16_t)(numd >> 16));
	cmd.get_log_page.lpo = le64_of(r->offset + r->got);
	r->iov = (struct iovec){ (uint8_t *)r->buf + r->got, len };
	r->op = (struct nvme_op){ .cmd = cmd, .iovs = &r->iov, .iov_count = 1, .data = NVME_OP_TO_HOST, .data_len = len,
		                  .done = piece_read };
	nvme_ctrlr_submit_admin(r->ctrlr, &r->op);
}

static void piece_read(struct nvme_op *op)
{
	struct nvme_log_read *r = container_of(op, struct nvme_log_read, op);

	r->status = nvme_op_status(op);
	r->got += op->data_len;
	if (r->status)
		err_set(&r->err, -EIO, "log page %02xh (%s) cannot be read: %s", r->lid, nvme_log_name(r->lid),
		        nvme_status_text(r->status, false));
	if (r->err.code || r->got == r->len)
		r->done(r);
	else
		read_piece(r);
}

void nvme_ctrlr_get_log(struct nvme_ctrlr *c, struct nvme_log_read *r)
{
	assert(r->len && r->len % 4 == 0 && r->offset % 4 == 0);
	r->ctrlr = c;
	r->got = 0;
	r->err = (struct err){ 0 };
	memset(r->buf, 0, r->len);
	read_piece(r);
}
