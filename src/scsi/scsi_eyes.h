/* SPDX-License-Identifier: BSD-3-Clause */
/* scsi_eyes.h: what the layer can tell of its work, whichever the transport: counts and times of stages by host, LUN
 * and session, what it answered, and its slow commands. For the metrics and the methods that show them. */
#ifndef SCSI_SCSI_EYES_H
#define SCSI_SCSI_EYES_H

#include "core/stages.h"
#include "scsi/scsi.h"

/* What an I/O reactor has counted; on it. Units are LUNs; a queue is a session: `device` tells the initiator's ones
 * apart (iSCSI: ISID), `a` is the target port. Errors: status << 24 | sense key << 16 | ASC << 8 | ASCQ; aborted or
 * lost: as status TASK ABORTED. Memory: stage_eyes_free(), on any core. */
void scsi_eyes_read(struct scsi *s, struct stage_eyes *ret_eyes);

struct scsi_slow_io {
	struct flight_io io;
	uint64_t tag, lba, blocks, bytes; /* lba, blocks: where it has a range */
	uint32_t lun;                 /* UINT32_MAX: none there is */
	uint16_t port;
	bool has_range;
	uint8_t status, key, asc, ascq, cdb_len;
	uint8_t cdb[SCSI_CDB_MAX];
	const char *name;             /* of the command; NULL: none there is */
	char host[SCSI_NAME_MAX + 1], target[SCSI_NAME_MAX + 1], session[32], device[64];
};

struct flights *scsi_flights(struct scsi *s);

#endif
