/* SPDX-License-Identifier: BSD-3-Clause */
/* status.c: how a device's answer is said in NVMe: the one place. */
#include "nvmf/target.h"

#define FINAL NVME_SC_DNR /* a retry cannot help */

static const uint16_t statuses[BDEV_STATUS_COUNT] = {
	[BDEV_ST_OK]              = NVME_SC_SUCCESS,
	[BDEV_ST_BAD_RANGE]       = NVME_SC_LBA_RANGE | FINAL,
	[BDEV_ST_BAD_FIELD]       = NVME_SC_INVALID_FIELD | FINAL,
	[BDEV_ST_UNSUPPORTED]     = NVME_SC_INVALID_OPCODE | FINAL,
	[BDEV_ST_WRITE_PROTECTED] = NVME_SC_NS_WRITE_PROTECTED | FINAL,
	[BDEV_ST_MISCOMPARE]      = NVME_SC_COMPARE_FAILED | FINAL,
	[BDEV_ST_MEDIA_ERROR]     = NVME_SC_READ_ERROR,
	[BDEV_ST_GUARD_CHECK]     = NVME_SC_GUARD_CHECK | FINAL,
	[BDEV_ST_APPTAG_CHECK]    = NVME_SC_APPTAG_CHECK | FINAL,
	[BDEV_ST_REFTAG_CHECK]    = NVME_SC_REFTAG_CHECK | FINAL,
	[BDEV_ST_RESERVED]        = NVME_SC_RESERVATION_CONFLICT | FINAL,
	[BDEV_ST_FENCED]          = NVME_SC_ABORT_QUEUE,
	[BDEV_ST_ABORTED]         = NVME_SC_ABORT_REQ,
	[BDEV_ST_GONE]            = NVME_SC_INVALID_NS | FINAL,
	[BDEV_ST_SRC_GONE]        = NVME_SC_INTERNAL | FINAL, /* the namespace that was named is there */
	[BDEV_ST_NO_SPACE]        = NVME_SC_CAP_EXCEEDED | FINAL,
	[BDEV_ST_BUSY]            = NVME_SC_CMD_INTERRUPTED,
	[BDEV_ST_FAILED]          = NVME_SC_INTERNAL | FINAL,
	[BDEV_ST_TIMED_OUT]       = NVME_SC_INTERNAL,
};

uint16_t nvmf_status_of(const struct bdev_io *io)
{
	bool reads = io->op == BDEV_READ || io->op == BDEV_COMPARE || io->op == BDEV_VERIFY;

	assert(io->status < BDEV_STATUS_COUNT);
	if (io->status == BDEV_ST_ABORTED && container_of(io, struct nvmf_req, io)->preempted)
		return NVME_SC_CMD_ABORTED_PREEMPT; /* sent again it is answered as what it is now: a conflict */
	if (io->status == BDEV_ST_MEDIA_ERROR && !reads)
		return NVME_SC_WRITE_FAULT;
	return statuses[io->status];
}
