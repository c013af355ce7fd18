/* SPDX-License-Identifier: BSD-3-Clause */
/* virtio_priv.h: what the files of this back-end share.
 *
 * virtio.c    controllers by name; how they come and go; losing a connection and making it again
 * talk.c      the conversation that makes a connection usable, as a table of messages
 * news.c      what the server says by itself: the configuration has changed
 * lane.c      a queue on its core: requests in, answers out, sleeping
 * blk.c       disks of virtio-blk: bdev I/O to requests
 * scsi.c      the same of virtio-scsi
 * scan.c      finding its disks
 * ident.c     who they are
 */
#ifndef BACKENDS_VIRTIO_PRIV_H
#define BACKENDS_VIRTIO_PRIV_H

#include "backends/virtio/virtio.h"
#include "bdev/bdev_device.h"
#include "core/bell.h"
#include "core/look.h"
#include "core/share.h"
#include "net/net.h"
#include "virtio/ring.h"
#include "virtio/vhost_user.h"
#include "wire/virtio.h"

#define VIO_SMALL_BYTES 4096u           /* each request in a queue has a buffer of this size of its own */
#define VIO_LARGE_BYTES (128u << 10)    /* longer ones take one of these; no I/O is longer */
#define VIO_LARGES 32u                  /* per queue */
#define VIO_SLOTS_MAX 256u              /* requests in a queue */
#define VIO_CHAIN 3u                    /* descriptors of a request: header, data, answer */
#define VIO_HEAD_MAX 64u                /* bytes of a request before its data */
#define VIO_ANSWER_MAX 108u             /* and of what the device says of it */
#define VIO_ANSWER_NONE 0xffu           /* the answer's first byte, until the device has written it */
#define VIO_GUEST_BASE (1ull << 20)     /* where the memory we share begins, as descriptors say it */
#define VIO_TALK_NS (10 * NS_PER_S)     /* a server that does not answer within that time is none */
#define VIO_GRACE_NS (5 * NS_PER_S)     /* I/O of a disk that goes is waited for so long */

/* --- requests ------------------------------------------------------------------------------------------------ */

struct vio_lane;
struct vio_req;
typedef void vio_done_fn(struct vio_req *r);

/* One request to the device. Lies in an I/O's context, or in who scans for disks. */
struct vio_req {
	/* Set by who asks. */
	vio_done_fn *done;               /* on the core that asked */
	struct bdev_io *io;              /* NULL: no I/O, but a question of ours */
	const struct iovec *iovs;        /* the data: copied out of, or into */
	uint32_t iov_count, len;
	bool out;                        /* the device reads the data */
	bool waits;                      /* the lane's: in its line */
	bool answer_first;               /* the answer comes before data that the device writes */
	uint8_t head_len, answer_len;
	uint8_t head[VIO_HEAD_MAX];
	/* For done. */
	enum bdev_status status;         /* OK: answer is the device's */
	uint8_t answer[VIO_ANSWER_MAX];
	/* The lane's. */
	struct vio_lane *lane;
	struct reactor *home;
	struct msg msg;
	struct list link;                /* while it waits */
	/* What an I/O of several requests remembers. */
	uint32_t range;
	uint64_t range_at;
	uint32_t tries;
	union {
		struct virtio_blk_discard_write_zeroes segs[8];
		uint8_t list[128];       /* of SCSI's UNMAP */
	};
	struct iovec seg_iov;
};

static inline void vio_req_data(struct vio_req *r, const struct iovec *iovs, uint32_t count, uint32_t len, bool out)
{
	r->iovs = iovs;
	r->iov_count = count;
	r->len = len;
	r->out = out;
}
/* Send it over the calling core's lane, or by way of another core. Then: done, later. */
void vio_submit(struct vio_ctrlr *c, struct vio_req *r);
/* The same over a lane of that core. */
void vio_submit_to(struct vio_lane *l, struct vio_req *r);
/* bdev_ops.abort: of what has not gone out. What the server has it may still do. */
bool vio_abort(struct bdev_channel *ch, struct bdev_io *io);

/* --- lanes --------------------------------------------------------------------------------------------------- */

struct vio_slot {
	struct vio_req *req;             /* NULL: free */
	uint16_t large;                  /* number of its large buffer and 1; 0: none */
	uint16_t next;                   /* free ones */
};

/* A queue, and the core it lives on. Control fills in what a connection brings while the lane is down. */
struct vio_lane {
	struct vio_ctrlr *c;
	struct reactor *reactor;
	uint32_t index;                  /* of the device's queue */
	/* Made for each connection. */
	struct vq_setup setup;
	struct vq_drv drv;
	bool drv_open;
	struct bell kick, call, err;
	uint8_t *cells, *small, *large;  /* shared with the device */
	/* The core's. */
	bool up, failing, gone;          /* failing: the server is away for too long; gone: the disk goes */
	bool fault_sent;
	struct looker looker;
	struct defer later;              /* what was added is shown to the device once a pass */
	struct list waiting;             /* for the connection, a slot, or a large buffer */
	struct vio_slot slots[VIO_SLOTS_MAX];
	uint32_t slot_count, in_flight;
	uint16_t free_slot;
	uint16_t larges[VIO_LARGES];
	uint32_t large_count;            /* free ones */
	_Atomic uint64_t requeued;
	/* Messages of control's, and answers. */
	struct msg up_msg, down_msg, fail_msg, gone_msg, fault_msg;
};

/* Descriptors of a lane's queue, the bytes of shared memory that it takes, and its place there: control, the lane is
 * down. */
uint32_t vio_lane_size(const struct vio_ctrlr *c, uint32_t index);
size_t vio_lane_bytes(const struct vio_ctrlr *c, uint32_t index);
int vio_lane_place(struct vio_lane *l, uint8_t *at, struct err *e) MUST_USE;
void vio_lane_unplace(struct vio_lane *l);
void vio_lane_init(struct vio_lane *l, struct vio_ctrlr *c, uint32_t index, struct reactor *reactor);
/* Control's orders, carried out on the lane's core, in that order. vio_lane_fell() answers the second. */
void vio_lane_up(struct vio_lane *l);
void vio_lane_down(struct vio_lane *l);
void vio_lane_fail(struct vio_lane *l);  /* what waits, or comes while it is down, ends with TIMED_OUT */
void vio_lane_gone(struct vio_lane *l);  /* the same for good, with GONE */

/* --- controllers --------------------------------------------------------------------------------------------- */

#define VIO_STATES(X) \
	X(TALKING, "connecting") \
	X(UP,      "up") \
	X(FALLING, "disconnecting") \
	X(WAITING, "waiting") \
	X(ENDED,   "ended")
#define VIO_STATE_ENUM(state, text) VIO_##state,
enum vio_state { VIO_STATES(VIO_STATE_ENUM) };

/* Who a logical unit says that it is, and how good that is. */
enum vio_ident_rank { VIO_IDENT_NONE, VIO_IDENT_SERIAL, VIO_IDENT_LOCAL, VIO_IDENT_WORLDWIDE, VIO_IDENT_UUID };
struct vio_ident {
	struct uuid mark;                /* the same for the same unit; from WORLDWIDE on nobody else's: its disk's UUID */
	enum vio_ident_rank rank;
};

struct vio_disk {
	struct bdev bdev;
	struct vio_ctrlr *c;
	struct list link;                /* the controller's */
	uint8_t target;                  /* SCSI */
	bool unplugged;                  /* it alone goes, not its controller */
	bool back;                       /* its target is there again: a scan adds it when this one is gone */
	struct vio_ident ident;
	uint32_t seg_max;                /* ranges of one unmap request */
	uint32_t range_blocks_max;       /* blocks of one of them */
};

struct vio_ctrlr {
	struct vio *vio;
	struct list link;
	char name[VIO_NAME_MAX], path[VIO_PATH_MAX];
	struct vio_opts opts;
	enum vio_state state;
	vio_attached_fn *attached;       /* who waits for the first attempt */
	void *attached_arg;
	void (*detached)(void *arg, int rc);
	void *detached_arg;
	bool going;                      /* it is to end */
	bool stood;                      /* it was up once: its lanes are there for good */
	struct err last;                 /* why it is not up */

	/* The conversation. */
	struct sock *sock;
	struct vu_rx rx;
	uint8_t out[VU_BYTES_MAX];
	uint32_t out_len, out_at;
	uint32_t step, round;            /* which message; of which queue */
	bool awaiting, acks, looks;      /* looks: the configuration was asked for once more */
	struct sock *news;               /* the server's own messages; NULL: it can say none */
	int news_fd;                     /* the end that it is given; -1: it has it, or there is none */
	struct vu_rx news_rx;
	bool is_news;                    /* the configuration has changed, and was not asked for since */
	uint64_t features, protocol;
	uint32_t queues_offered;
	uint8_t config[VU_CONFIG_MAX];
	struct timer timer;              /* ends a conversation that leads nowhere; or begins the next one */
	struct timer fail_timer, grace_timer;

	/* What is shared with the server. */
	struct share share;
	int share_fd;                    /* -1: none */
	uint64_t charged;

	struct vio_lane *lanes;          /* `first` of them are not for I/O (SCSI's control and events) */
	uint32_t lane_count, first, down_left;
	struct msg fell_msg;
	bool gone_behind;                /* lanes were told that it goes after they were asked to come down: they are asked
	                                  * once more, so that nothing is on its way to them when they are freed */

	struct list disks;
	uint32_t disk_count;             /* registered, or on their way out */
	uint64_t connections;
	struct vio_scan *scan;           /* SCSI: looks for disks */
	struct msg look_msg;             /* somebody's command heard that something changed */
	_Atomic bool look_sent;
};

struct vio {
	struct bdev_registry *reg;
	struct core *core;
	struct list ctrlrs;
	void (*stopped)(void *arg);
	void *stopped_arg;
};

/* talk.c: connect and talk until it is up (vio_is_up) or fails (vio_lost). */
void vio_talk(struct vio_ctrlr *c);
void vio_talk_end(struct vio_ctrlr *c);
/* Up, and the configuration is to be looked at again. */
void vio_talk_look(struct vio_ctrlr *c);
/* news.c */
bool vio_news_open(struct vio_ctrlr *c);
void vio_news_close(struct vio_ctrlr *c);
/* All was said: what was heard meanwhile. */
void vio_news_up(struct vio_ctrlr *c);
/* virtio.c */
void vio_is_up(struct vio_ctrlr *c);
void vio_lost(struct vio_ctrlr *c, const struct err *why);
void vio_lane_fell(struct vio_lane *l);   /* control */
int vio_place_lanes(struct vio_ctrlr *c, struct err *e) MUST_USE; /* when it is known how many there are */
/* Register a disk; the waist then has it. Errors: it is freed. */
int vio_disk_add(struct vio_ctrlr *c, struct vio_disk *d, struct err *e) MUST_USE;
/* The first attempt has ended: whoever attached hears of it. */
void vio_answer(struct vio_ctrlr *c, const struct err *e);
void vio_disk_remove(struct bdev *b);     /* bdev_ops of both kinds */
void vio_disk_destroy(struct bdev *b);

void vio_put(struct vio_ctrlr *c);        /* one that held it, as a disk does, does not any more */

/* blk.c: features wanted beside the rings'; what the device is, from its configuration: the first time, and again after
 * each reconnection. */
uint64_t vio_blk_features(void);
/* Features that say that a device is a disk: a SCSI host's end before them. */
#define VIO_BLK_ONLY (VIRTIO_BIT(VIRTIO_F_NOTIFY_ON_EMPTY) - VIRTIO_BIT(VIRTIO_BLK_F_GEOMETRY))
int vio_blk_up(struct vio_ctrlr *c, struct err *e) MUST_USE;
/* As many ranges of an unmap, or pieces of them, as go into the next request, each by `put`; false: none are left. */
typedef void vio_range_fn(const struct vio_disk *d, struct vio_req *r, uint32_t at, uint64_t lba, uint32_t count);
bool vio_next_ranges(const struct vio_disk *d, struct vio_req *r, vio_range_fn *put);

/* scsi.c */
struct vio_scsi_answer {
	uint8_t response, status, key;
	uint16_t asc;
	uint32_t residual;
};
extern const struct bdev_ops vio_scsi_ops;
void vio_scsi_head(struct vio_req *r, uint8_t target, const uint8_t *cdb, uint32_t len);
void vio_scsi_answer(const struct vio_req *r, struct vio_scsi_answer *ret_answer);
bool vio_scsi_again(const struct vio_scsi_answer *a); /* it was not done: ask again */
/* scan.c. The first ends in vio_scanned(). */
void vio_scsi_up(struct vio_ctrlr *c);
void vio_scsi_scan(struct vio_ctrlr *c);
void vio_scsi_look_again(struct vio_disk *d); /* any core, with an I/O of the disk in progress */
void vio_scanned(struct vio_ctrlr *c);        /* virtio.c */
/* ident.c: pages 83h and 80h, the second if the first said nothing; a UUID for who has none of its own. */
void vio_ident_designators(struct vio_ident *id, const uint8_t *page, uint32_t room);
void vio_ident_serial(struct vio_ident *id, const uint8_t *page, uint32_t room);
struct uuid vio_ident_here(const struct vio_ident *id, const struct vio_ctrlr *c, uint32_t target);

#endif
