/* SPDX-License-Identifier: BSD-3-Clause */
/* vhost_eyes.h: what vhost can tell of requests of virtio-blk: counts and times of stages by controller and queue, what
 * they came to, and the slow ones. For the metrics and the methods that show them. Those of SCSI hosts are the SCSI
 * layer's to tell (scsi/scsi_eyes.h). */
#ifndef VHOST_VHOST_EYES_H
#define VHOST_VHOST_EYES_H

#include "core/stages.h"
#include "vhost/vhost.h"

/* What an I/O reactor has counted; on it. A host is a controller, by its name; a queue has its device, the session's
 * number (`a`) and its own (`b`). Errors: virtio's status; aborted, and left for later: VHOST_LEFT. Memory:
 * stage_eyes_free(), on any core. */
#define VHOST_LEFT 0x100u
const char *vhost_status_name(uint32_t status);
void vhost_eyes_read(struct vhost *v, struct stage_eyes *ret_eyes);

struct vhost_slow_io {
	struct flight_io io;
	uint64_t sector, bytes;       /* sector: of 512 bytes, where it has any */
	uint32_t type, session;
	uint16_t queue, id;
	bool has_sector;
	uint8_t status;
	const char *name;             /* of the type; NULL: none there is */
	char ctrlr[STAGE_NAME_MAX + 1], device[64];
};

struct flights *vhost_flights(struct vhost *v);

#endif
