/* SPDX-License-Identifier: BSD-3-Clause */
/* remote_status.c: what an NVMe status means for an I/O: how it ends, or whether and where it is tried again. The one
 * place; nvmf/status.c is the opposite direction.
 *
 * A controller that answered a command is done with it, so that none of these needs a fence before it is repeated.
 */
#include "backends/remote/remote_core.h"

#define ROW(sc, st, verdict, ns) [NVME_SC_##sc] = { BDEV_ST_##st, REMOTE_##verdict, ns }

/*  status                         the I/O ends as   without DNR    the namespaces changed */
static const struct remote_status_row rows[NVME_SC_CODE + 1] = {
	ROW(SUCCESS,                   OK,               FINAL,         false),
	ROW(INVALID_OPCODE,            UNSUPPORTED,      FINAL,         false),
	ROW(INVALID_FIELD,             BAD_FIELD,        FINAL,         false),
	ROW(CMDID_CONFLICT,            MEDIA_ERROR,      AGAIN,         false),
	ROW(DATA_XFER_ERROR,           MEDIA_ERROR,      AGAIN,         false),
	ROW(POWER_LOSS,                MEDIA_ERROR,      OTHER_PATH,    false),
	ROW(INTERNAL,                  MEDIA_ERROR,      AGAIN,         false),
	ROW(ABORT_REQ,                 ABORTED,          AGAIN,         false), /* of our own wish: remote_ended() */
	ROW(ABORT_QUEUE,               ABORTED,          OTHER_PATH,    false), /* the controller gives its queues up */
	ROW(FUSED_FAIL,                MISCOMPARE,       FINAL,         false), /* the other half says why */
	ROW(FUSED_MISSING,             UNSUPPORTED,      FINAL,         false),
	ROW(INVALID_NS,                GONE,             OTHER_PATH,    true),
	ROW(CMD_SEQ_ERROR,             BAD_FIELD,        FINAL,         false),
	ROW(SGL_INVALID_LAST,          BAD_FIELD,        FINAL,         false),
	ROW(SGL_INVALID_COUNT,         BAD_FIELD,        FINAL,         false),
	ROW(SGL_INVALID_DATA,          BAD_FIELD,        FINAL,         false),
	ROW(SGL_INVALID_METADATA,      BAD_FIELD,        FINAL,         false),
	ROW(SGL_INVALID_TYPE,          BAD_FIELD,        FINAL,         false),
	ROW(SGL_INVALID_OFFSET,        BAD_FIELD,        FINAL,         false),
	ROW(SGL_INVALID_GRANULARITY,   BAD_FIELD,        FINAL,         false),
	ROW(AWU_EXCEEDED,              BAD_FIELD,        FINAL,         false),
	ROW(OP_DENIED,                 WRITE_PROTECTED,  FINAL,         false),
	ROW(KAT_EXPIRED,               TIMED_OUT,        OTHER_PATH,    false),
	ROW(CMD_ABORTED_PREEMPT,       RESERVED,         FINAL,         false),
	ROW(SANITIZE_FAILED,           MEDIA_ERROR,      FINAL,         false),
	ROW(SANITIZE_IN_PROGRESS,      BUSY,             AGAIN_LATER,   false),
	ROW(NS_WRITE_PROTECTED,        WRITE_PROTECTED,  FINAL,         false),
	ROW(CMD_INTERRUPTED,           BUSY,             AGAIN_LATER,   false),
	ROW(TRAN_TPORT_ERROR,          MEDIA_ERROR,      AGAIN,         false),
	ROW(PROHIBITED_BY_CMD_AND_FEAT, WRITE_PROTECTED, FINAL,         false),
	ROW(LBA_RANGE,                 BAD_RANGE,        FINAL,         true),
	ROW(CAP_EXCEEDED,              NO_SPACE,         FINAL,         false),
	ROW(NS_NOT_READY,              BUSY,             AGAIN_LATER,   false),
	ROW(RESERVATION_CONFLICT,      RESERVED,         FINAL,         false),
	ROW(FORMAT_IN_PROGRESS,        BUSY,             AGAIN_LATER,   false),
	ROW(BAD_ATTRIBUTES,            BAD_FIELD,        FINAL,         false),
	ROW(INVALID_PI,                BAD_FIELD,        FINAL,         false),
	ROW(READ_ONLY,                 WRITE_PROTECTED,  FINAL,         false),
	ROW(CMD_SIZE_LIMIT_EXCEEDED,   BAD_FIELD,        FINAL,         false),
	ROW(WRITE_FAULT,               MEDIA_ERROR,      AGAIN,         false),
	ROW(READ_ERROR,                MEDIA_ERROR,      AGAIN,         false),
	ROW(GUARD_CHECK,               GUARD_CHECK,      FINAL,         false),
	ROW(APPTAG_CHECK,              APPTAG_CHECK,     FINAL,         false),
	ROW(REFTAG_CHECK,              REFTAG_CHECK,     FINAL,         false),
	ROW(COMPARE_FAILED,            MISCOMPARE,       FINAL,         false),
	ROW(ACCESS_DENIED,             WRITE_PROTECTED,  FINAL,         false),
	ROW(UNWRITTEN_BLOCK,           MEDIA_ERROR,      FINAL,         false),
	ROW(STORAGE_TAG_CHECK,         REFTAG_CHECK,     FINAL,         false),
	ROW(ANA_INTERNAL_PATH_ERROR,   TIMED_OUT,        OTHER_PATH,    false),
	ROW(ANA_PERSISTENT_LOSS,       GONE,             OTHER_ANA,     false),
	ROW(ANA_INACCESSIBLE,          TIMED_OUT,        OTHER_ANA,     false),
	ROW(ANA_TRANSITION,            TIMED_OUT,        OTHER_ANA,     false),
	ROW(CTRL_PATH_ERROR,           TIMED_OUT,        OTHER_PATH,    false),
	ROW(HOST_PATH_ERROR,           TIMED_OUT,        OTHER_PATH,    false),
	ROW(CMD_ABORTED_BY_HOST,       TIMED_OUT,        OTHER_PATH,    false),
};

/* What the table does not know, vendors' statuses too, may pass or not; it ends as an error of the media. */
const struct remote_status_row *remote_status_of(uint16_t status)
{
	static const struct remote_status_row unknown = { BDEV_ST_MEDIA_ERROR, REMOTE_AGAIN, false };
	const struct remote_status_row *row = &rows[status & NVME_SC_CODE];

	return row->status == BDEV_ST_OK && status & NVME_SC_CODE ? &unknown : row;
}
