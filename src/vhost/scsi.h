/* SPDX-License-Identifier: BSD-3-Clause */
/* scsi.h: a SCSI host device of vhost (private): a controller with up to 256 targets.
 *
 *     scsi.c        the controller and its targets                        control
 *     scsi_hub.c    sessions, and what they have on each core             control, and cores
 *     scsi_io.c     requests                                              a ring's core
 *     scsi_ctl.c    task management                                       cores, by way of control
 *     scsi_event.c  events                                                control, and the event queue's core
 *
 * A guest is one initiator, and a target a SCSI target device (scsi/scsi.h): between them there is one I_T nexus. Its
 * queues run on several cores, and a nexus lives on one; so it has a lane on each core on which the guest has a queue,
 * which the SCSI layer takes for the same nexus where that matters: to reservations, and to what one says of another.
 * A hub is the lanes of a session on one core. It is made for the first queue that comes there, and stays until the
 * guest resets the device or goes away, so that queues can come and go between cores.
 */
#ifndef VHOST_SCSI_H
#define VHOST_SCSI_H

#include "base/text.h"
#include "scsi/scsi.h"
#include "vhost/device.h"

#define VSCSI_EVENTS_MAX 32u           /* that wait for buffers of the driver; what is beyond is missed */
#define VSCSI_NAME_MAX 40u
#define VSCSI_PIECE_BYTES (1u << 20)   /* longer commands go in pieces of so much */

struct vscsi_session;
struct vscsi_tmf;

enum vscsi_target_state {
	VSCSI_COMING,                      /* its LUN is being added */
	VSCSI_HERE,
	VSCSI_GOING,
	VSCSI_AWAY,                        /* its disk went, and may return */
};

/* A target number in use. Control. */
struct vscsi_target {
	struct vscsi *ctrlr;
	struct scsi_target *scsi;          /* NULL: away */
	uint8_t num, state;
	bool stays;                        /* when it has gone the number is kept for its disk ... */
	bool went;                         /* ... which went by itself */
	char bdev_name[256];
	uint32_t beginning;                /* lanes that have not begun yet */
	struct scsi_change change;
	struct vhost_scsi_change *adding;  /* who waits for it */
	struct vhost_change *removing;
	struct err err;
};

struct vscsi {
	struct vhost_ctrlr ctrlr;
	bool started, ended;
	uint32_t target_count;
	struct vscsi_target *targets[VHOST_SCSI_TARGETS_MAX];
};

/* A nexus: a target, as a session has it on a core. Made and freed by control; in between its core's. */
struct vscsi_lane {
	struct scsi_nexus nexus;
	struct vscsi_hub *hub;
	uint8_t num;
	bool came;                         /* its target waits until it has begun */
	uint32_t aborting;                 /* tasks that are ended now are so for good; else it is a reset, and they may be
	                                    * sent again */
	struct msg msg, begun_msg;
};

struct vscsi_hub {
	struct vscsi_session *session;
	struct reactor *on;
	/* control */
	uint32_t rings;                    /* of the session, that are on this core */
	uint32_t pins;                     /* lanes, and messages that are out */
	bool ending;
	struct msg end_msg;
	/* its core: by target number; NULL: none */
	struct vscsi_lane *lanes[VHOST_SCSI_TARGETS_MAX];
};

/* What is to be told to a driver; a message to the event queue's core. */
struct vscsi_event {
	struct msg msg;
	struct list link;
	struct vscsi_session *session;
	uint32_t event, reason;
	uint8_t target, lun;
};

struct vscsi_session {
	struct vhost_session *session;
	struct list link;
	_Atomic uint32_t cdb_size, sense_size;
	/* control */
	uint64_t features;
	int index;                         /* which initiator port of the controller it is; -1: none yet */
	struct vscsi_hub **hubs;           /* by reactor_index() */
	uint32_t ending;                   /* hubs that are */
	struct list openings;              /* struct vscsi_opening: rings that wait for that */
	struct reactor *event_on;          /* where the event queue is; NULL: nowhere */
	bool closing, forget;              /* forget: events are of before a reset */
	_Atomic(struct vscsi_hub *) speaker; /* whose nexuses tell of changes for all of its lanes */
	/* The event queue's core, and control's while it is on none. */
	struct list events;
	uint32_t event_count;
	bool missed;
	struct vhost_ring *event_ring;
};

struct vscsi_task {
	struct vhost_task task;
	struct vhost_cut cut;              /* the data, among the guest's iovecs */
	uint32_t resp_len;                 /* of the answer ahead of the data */
	uint32_t sense_max;
	struct vscsi_tmf *tmf;             /* of a control request: at work for it; NULL: none */
	struct scsi_task scsi;
} CACHE_ALIGNED;

static inline struct vscsi *vscsi_of(const struct vhost_ctrlr *c) { return container_of(c, struct vscsi, ctrlr); }
static inline struct vscsi_lane *vscsi_lane_of(const struct scsi_nexus *n)
{
	return container_of(n, struct vscsi_lane, nexus);
}

/* A LUN of virtio's: bytes 2 to 7 are those of a LUN as SAM has it, from its beginning. */
static inline uint64_t vscsi_lun_of(const uint8_t lun[8])
{
	return be64_get((be64){ { lun[2], lun[3], lun[4], lun[5], lun[6], lun[7], 0, 0 } });
}

/* scsi.c */
extern const struct vhost_device_ops vscsi_ops;
/* A name that stays: of a target device, or of an initiator port. */
void vscsi_name(const struct vhost_ctrlr *c, const char *kind, uint32_t num, char ret_name[static VSCSI_NAME_MAX]);

/* All lanes have begun. */
void vscsi_target_ready(struct vscsi_target *t);

/* scsi_hub.c */
void vscsi_session_open(struct vhost_session *s);
void vscsi_session_close(struct vhost_session *s);
void vscsi_negotiated(struct vhost_session *s, uint64_t features);
void vscsi_ring_open(struct vhost_ring *r);
void vscsi_ring_close(struct vhost_ring *r);
/* A target came, or goes: all sessions of the controller hear of it; those that are at work have its lanes. */
void vscsi_target_came(struct vscsi_target *t);
void vscsi_target_goes(struct vscsi_target *t);
void vscsi_hub_pin(struct vscsi_hub *h);   /* control */
void vscsi_hub_unpin(struct vscsi_hub *h);

/* scsi_io.c */
void vscsi_execute(struct vhost_task *t);
void vscsi_go_on(struct vhost_task *t);
void vscsi_hurry(struct vhost_task *t);
void vscsi_task_done(struct scsi_task *t);

/* scsi_ctl.c */
void vscsi_control(struct vscsi_task *t);
void vscsi_control_hurry(struct vscsi_task *v); /* its queue stops, and has waited for too long */

/* scsi_event.c */
void vscsi_event_add(struct vscsi_session *s, uint32_t event, uint32_t target, uint32_t lun, uint32_t reason);
void vscsi_events_go_on(struct vscsi_session *s); /* the event queue's core: it opened, or has buffers */
void vscsi_events_drop(struct vscsi_session *s);
void vscsi_event_buffers(struct vhost_ring *r);
/* A unit attention was raised on a nexus: its core. */
void vscsi_nexus_event(struct scsi_nexus *n, uint64_t lun, uint8_t asc, uint8_t ascq);

#endif
