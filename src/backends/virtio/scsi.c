/* SPDX-License-Identifier: BSD-3-Clause */
/* scsi.c: disks behind a virtio-scsi controller, one for LUN 0 of each target: I/O to commands.
 *
 * A unit attention tells of something that has happened: the command is sent again, and if it was the capacity, or what
 * targets there are, the controller is scanned again (scan.c).
 */
#include <errno.h>

#include "backends/virtio/virtio_priv.h"
#include "wire/scsi.h"

#define TRIES_MAX 8u                    /* of a command that unit attentions and resets keep from being done */
#define UNMAP_HEADER 8u
#define UNMAP_ROW 16u

static void submit(struct bdev_channel *ch, struct bdev_io *io);

const struct bdev_ops vio_scsi_ops = {
	.submit = submit,
	.abort = vio_abort,
	.remove = vio_disk_remove,
	.destroy = vio_disk_destroy,
};

/* --- commands ------------------------------------------------------------------------------------------------- */

void vio_scsi_head(struct vio_req *r, uint8_t target, const uint8_t *cdb, uint32_t len)
{
	struct virtio_scsi_cmd_req h = { .lun = { 1, target, 0x40 }, .tag = le64_of((uint64_t)(uintptr_t)r) };

	assert(len <= sizeof(h.cdb));
	memcpy(h.cdb, cdb, len);
	memcpy(r->head, &h, sizeof(h));
	r->head_len = sizeof(h);
	r->answer_len = sizeof(struct virtio_scsi_cmd_resp);
	r->answer_first = true;
}

void vio_scsi_answer(const struct vio_req *r, struct vio_scsi_answer *ret_answer)
{
	struct vio_scsi_answer a = { .key = SCSI_NO_SENSE };
	struct virtio_scsi_cmd_resp resp;

	memcpy(&resp, r->answer, sizeof(resp));
	a.response = resp.response;
	a.status = resp.status;
	a.residual = le32_get(resp.resid);
	if (a.status == SCSI_CHECK_CONDITION && le32_get(resp.sense_len) >= 4) {
		bool desc = (resp.sense[0] & 0x7f) >= SCSI_SENSE_DESC;

		a.key = resp.sense[desc ? 1 : 2] & 0xf;
		a.asc = scsi_u16(resp.sense + (desc ? 2 : 12));
	}
	*ret_answer = a;
}

static enum bdev_status status_of_sense(const struct vio_scsi_answer *a)
{
	switch (a->key) {
	case SCSI_RECOVERED_ERROR:
		return BDEV_ST_OK;
	case SCSI_NOT_READY:
		return BDEV_ST_BUSY;
	case SCSI_ILLEGAL_REQUEST:
		return a->asc == SCSI_ASC_LBA_OUT_OF_RANGE ? BDEV_ST_BAD_RANGE
		       : a->asc == SCSI_ASC_INVALID_OPCODE ? BDEV_ST_UNSUPPORTED
		       : a->asc == SCSI_ASC_LUN_NOT_SUPPORTED ? BDEV_ST_GONE : BDEV_ST_BAD_FIELD;
	case SCSI_DATA_PROTECT:
		return a->asc == SCSI_ASC_SPACE_ALLOCATION_FAILED ? BDEV_ST_NO_SPACE : BDEV_ST_WRITE_PROTECTED;
	case SCSI_ABORTED_COMMAND:
		return BDEV_ST_ABORTED;
	case SCSI_MISCOMPARE:
		return BDEV_ST_MISCOMPARE;
	default:
		return BDEV_ST_MEDIA_ERROR;
	}
}

static enum bdev_status status_of(const struct vio_scsi_answer *a)
{
	switch (a->response) {
	case VIRTIO_SCSI_S_OK:
	case VIRTIO_SCSI_S_OVERRUN:
		break;
	case VIRTIO_SCSI_S_BAD_TARGET:
	case VIRTIO_SCSI_S_INCORRECT_LUN:
		return BDEV_ST_GONE;
	case VIRTIO_SCSI_S_ABORTED:
		return BDEV_ST_ABORTED;
	case VIRTIO_SCSI_S_BUSY:
		return BDEV_ST_BUSY;
	default:
		return BDEV_ST_MEDIA_ERROR;
	}
	switch (a->status) {
	case SCSI_GOOD:
	case SCSI_CONDITION_MET:
		return a->residual ? BDEV_ST_MEDIA_ERROR : BDEV_ST_OK;
	case SCSI_CHECK_CONDITION:
		return status_of_sense(a);
	case SCSI_BUSY:
	case SCSI_TASK_SET_FULL:
		return BDEV_ST_BUSY;
	case SCSI_RESERVATION_CONFLICT:
		return BDEV_ST_RESERVED;
	default:
		return BDEV_ST_ABORTED;
	}
}

bool vio_scsi_again(const struct vio_scsi_answer *a)
{
	return a->response == VIRTIO_SCSI_S_RESET ||
	       (a->status == SCSI_CHECK_CONDITION && a->key == SCSI_UNIT_ATTENTION);
}

/* --- I/O --------------------------------------------------------------------------------------------------------- */

static void answered(struct vio_req *r);

static void range(const struct vio_disk *d, struct vio_req *r, uint32_t at, uint64_t lba, uint32_t count)
{
	uint32_t bytes = UNMAP_HEADER + (at + 1) * UNMAP_ROW;
	uint8_t cdb[10] = { SCSI_OP_UNMAP }, *row = r->list + bytes - UNMAP_ROW;

	memset(row, 0, UNMAP_ROW);
	scsi_put64(row, lba);
	scsi_put32(row + 8, count);
	memset(r->list, 0, UNMAP_HEADER);
	scsi_put16(r->list, (uint16_t)(bytes - 2));
	scsi_put16(r->list + 2, (uint16_t)(bytes - UNMAP_HEADER));
	scsi_put16(cdb + 7, (uint16_t)bytes);
	vio_scsi_head(r, d->target, cdb, sizeof(cdb));
	r->seg_iov = (struct iovec){ r->list, bytes };
	vio_req_data(r, &r->seg_iov, 1, bytes, true);
}

static void submit(struct bdev_channel *ch, struct bdev_io *io)
{
	struct vio_disk *d = container_of(bdev_channel_bdev(ch), struct vio_disk, bdev);
	struct vio_req *r = io->device_ctx;
	uint8_t cdb[16] = { io->op == BDEV_READ ? SCSI_OP_READ_16 : SCSI_OP_WRITE_16 };

	r->io = io;
	r->done = answered;
	r->tries = 0;
	switch (io->op) {
	case BDEV_READ:
	case BDEV_WRITE:
		cdb[1] = io->flags & BDEV_IO_FUA ? 8 : 0;
		scsi_put64(cdb + 2, io->lba);
		scsi_put32(cdb + 10, (uint32_t)io->count);
		vio_scsi_head(r, d->target, cdb, sizeof(cdb));
		vio_req_data(r, io->iovs, io->iov_count, (uint32_t)(io->count * d->bdev.block_size), io->op == BDEV_WRITE);
		break;
	case BDEV_FLUSH:
		cdb[0] = SCSI_OP_SYNC_CACHE_16;
		vio_scsi_head(r, d->target, cdb, sizeof(cdb));
		vio_req_data(r, NULL, 0, 0, false);
		break;
	default:
		assert(io->op == BDEV_UNMAP);
		r->range = 0;
		r->range_at = 0;
		if (!vio_next_ranges(d, r, range)) {
			bdev_io_done(io, BDEV_ST_OK);
			return;
		}
	}
	vio_submit(d->c, r);
}

static void answered(struct vio_req *r)
{
	struct bdev_io *io = r->io;
	struct vio_disk *d = container_of(bdev_channel_bdev(io->ch), struct vio_disk, bdev);
	enum bdev_status status = r->status;
	struct vio_scsi_answer a;

	if (status == BDEV_ST_OK) {
		vio_scsi_answer(r, &a);
		if (unlikely(vio_scsi_again(&a)) && r->tries++ < TRIES_MAX) {
			if (a.asc == SCSI_ASC_CAPACITY_CHANGED || a.asc == SCSI_ASC_REPORTED_LUNS_CHANGED ||
			    a.asc == SCSI_ASC_INQUIRY_CHANGED)
				vio_scsi_look_again(d);
			if (!atomic_load_explicit(&d->bdev.removing, memory_order_relaxed)) {
				vio_submit(d->c, r);
				return;
			}
			a.response = VIRTIO_SCSI_S_BAD_TARGET; /* its number may be another one's now */
		}
		status = status_of(&a);
	}
	if (unlikely(io->op == BDEV_UNMAP) && status == BDEV_ST_OK && vio_next_ranges(d, r, range))
		vio_submit(d->c, r);
	else
		bdev_io_done(io, status);
}
