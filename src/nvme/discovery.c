/* SPDX-License-Identifier: BSD-3-Clause */
/* discovery.c: the discovery log of a remote discovery controller, read whole.
 *
 * Header, entries in pieces, header again: when the generation counter changed in between, from the start. No more is
 * asked for than the header says is there, since Linux's target answers longer reads with what lies behind its log.
 * Only the last read lets go of the asynchronous event, so that a change in between is told.
 */
#include <errno.h>

#include "nvme/nvme.h"

#define DISCOVERY_PIECE_ENTRIES 16u
#define DISCOVERY_TRIES 16 /* of a log that changes all the time */

static void header_read(struct nvme_op *op);
static void entries_read(struct nvme_op *op);
static void header_read_again(struct nvme_op *op);

static void read_end(struct nvme_discovery *d)
{
	free(d->piece);
	d->piece = NULL;
	if (d->err.code)
		nvme_discovery_fini(d);
	d->done(d);
}

static void read_piece(struct nvme_discovery *d, uint64_t offset, uint32_t len, bool last, nvme_op_fn *done)
{
	struct nvme_sqe cmd = { .opc = NVME_ADMIN_GET_LOG_PAGE };
	uint32_t numd = len / 4 - 1;

	cmd.get_log_page.lid = NVME_LOG_DISCOVER;
	cmd.get_log_page.lsp_rae = last ? 0 : 0x80;
	cmd.get_log_page.numdl = le16_of((uint16_t)numd);
	cmd.get_log_page.numdu = le16_of((uint16_t)(numd >> 16));
	cmd.get_log_page.lpo = le64_of(offset);
	memset(d->piece, 0, len);
	d->iov = (struct iovec){ d->piece, len };
	d->op = (struct nvme_op){ .cmd = cmd, .iovs = &d->iov, .iov_count = 1, .data = NVME_OP_TO_HOST, .data_len = len,
		                  .done = done };
	nvme_ctrlr_submit_admin(d->ctrlr, &d->op);
}

static void read_from_start(struct nvme_discovery *d)
{
	nvme_discovery_fini(d);
	d->at = 0;
	read_piece(d, 0, sizeof(struct nvmf_discovery_log), false, header_read);
}

void nvme_discovery_read(struct nvme_discovery *d, struct nvme_ctrlr *c, nvme_discovery_fn *done)
{
	void *arg = d->arg;

	*d = (struct nvme_discovery){ .ctrlr = c, .done = done, .arg = arg };
	d->piece = base_zalloc(DISCOVERY_PIECE_ENTRIES * sizeof(struct nvmf_disc_log_entry));
	read_from_start(d);
}

static bool read_failed(struct nvme_discovery *d)
{
	uint16_t status = nvme_op_status(&d->op);

	if (!status)
		return false;
	err_set(&d->err, -EIO, "the discovery log cannot be read: %s", nvme_status_text(status, false));
	read_end(d);
	return true;
}

static void read_next(struct nvme_discovery *d)
{
	uint32_t most = nvme_ctrlr_info(d->ctrlr)->max_io_bytes / sizeof(struct nvmf_disc_log_entry);
	uint32_t n = min_u32(min_u32(d->records - d->at, DISCOVERY_PIECE_ENTRIES), most);

	if (d->at == d->records)
		read_piece(d, 0, sizeof(struct nvmf_discovery_log), true, header_read_again);
	else
		read_piece(d, sizeof(struct nvmf_discovery_log) + (uint64_t)d->at * sizeof(struct nvmf_disc_log_entry),
		           n * (uint32_t)sizeof(struct nvmf_disc_log_entry), false, entries_read);
}

static void header_read(struct nvme_op *op)
{
	struct nvme_discovery *d = container_of(op, struct nvme_discovery, op);

	if (read_failed(d))
		return;
	if (nvme_discovery_header_parse((const void *)d->piece, &d->genctr, &d->records, &d->err)) {
		read_end(d);
		return;
	}
	d->entries = base_zalloc((d->records + 1) * sizeof(*d->entries));
	read_next(d);
}

static void entries_read(struct nvme_op *op)
{
	struct nvme_discovery *d = container_of(op, struct nvme_discovery, op);
	const struct nvmf_disc_log_entry *entries = (const void *)d->piece;

	if (read_failed(d))
		return;
	for (uint32_t i = 0; i < op->data_len / sizeof(*entries); i++, d->at++) {
		if (nvme_discovery_entry_parse(&entries[i], &d->entries[d->count]))
			d->count++;
		else
			d->left_out++;
	}
	read_next(d);
}

static void header_read_again(struct nvme_op *op)
{
	struct nvme_discovery *d = container_of(op, struct nvme_discovery, op);
	const struct nvmf_discovery_log *header = (const void *)d->piece;

	if (read_failed(d))
		return;
	if (le64_get(header->genctr) == d->genctr) {
		read_end(d);
	} else if (++d->tries < DISCOVERY_TRIES) {
		read_from_start(d);
	} else {
		err_set(&d->err, -EAGAIN, "the discovery log changed %d times while it was read", DISCOVERY_TRIES);
		read_end(d);
	}
}

void nvme_discovery_fini(struct nvme_discovery *d)
{
	free(d->entries);
	d->entries = NULL;
	d->count = d->left_out = 0;
}
