/* SPDX-License-Identifier: BSD-3-Clause */
/* vhost.h: disks of virtual machines, served over vhost-user, as the neighbours see them.
 *
 * A controller is a device with a socket, made by a method (vhost_rpc.h) or by a test. A front-end that connects to it
 * (or that it connects to) is a session. What a controller is, a block device or a SCSI host, is its type's: device.h.
 * Control reactor.
 */
#ifndef VHOST_VHOST_H
#define VHOST_VHOST_H

#include "bdev/bdev.h"

#define VHOST_NAME_MAX 255u
#define VHOST_RINGS_MAX 128u              /* of one session */
#define VHOST_DELAY_US_MAX 1000000u       /* of coalescing */
#define VHOST_PATIENCE_MS 30000u          /* as long as what is a block device's in Linux takes to time out */

struct vhost;
struct vhost_ctrlr;

/* `dir`: where sockets are made; NULL or empty: the working directory. */
struct vhost *vhost_make(struct core *core, struct bdev_registry *reg, const char *dir);
/* Members of this group may connect to sockets that are made from now on. */
void vhost_set_group(struct vhost *v, uint32_t gid);
/* What SCSI hosts stand on, which outlives it. Before the first is made. */
struct scsi;
void vhost_set_scsi(struct vhost *v, struct scsi *scsi);
/* `fn` runs when what is to be saved has changed without a call: a driver has switched a disk's cache. */
void vhost_on_changed(struct vhost *v, void (*fn)(void *arg), void *arg);
/* End sessions, close sockets, let disks go; then done, and it is freed. */
void vhost_stop(struct vhost *v, void (*done)(void *arg), void *arg);

struct vhost_ctrlr_opts {
	const char *name;
	const char *cpumask;              /* cores that its queues may be on; NULL: all */
	const char *socket;               /* the path; NULL: the name, in the directory */
	bool client;                      /* connect to it, again and again, instead of listening */
	bool no_packed;                   /* packed rings are not offered */
	uint32_t patience_ms;             /* requests that a queue which stops waits for are aborted then; 0: the default */
	bool delay;                       /* SCSI: nobody can connect yet */
};

/* A change that takes time. The caller's memory until done, which runs once, maybe before the call returns. */
struct vhost_change {
	struct err err;
	void (*done)(struct vhost_change *c);
};

struct vhost_ctrlr *vhost_ctrlr_find(struct vhost *v, const char *name);
/* All of them, in the order in which they were made; NULL: after the last. */
struct vhost_ctrlr *vhost_ctrlr_next(struct vhost *v, struct vhost_ctrlr *c);
struct vhost_ctrlr_info {
	const char *name, *socket, *cpumask; /* cpumask as it was given; NULL: all */
	uint64_t place;                   /* the reactors that are meant */
	uint32_t delay_base_us, iops_threshold, patience_ms;
	bool client, own_socket, no_packed;
	uint64_t stamp;                   /* another one when what is to be saved has changed */
};
void vhost_ctrlr_get(const struct vhost_ctrlr *c, struct vhost_ctrlr_info *ret_info);
struct vhost_queue_info {
	uint32_t index, size, reactor, in_flight; /* in_flight: requests that the device has */
	uint64_t commands, kicks, calls;
	bool stopped;                     /* its driver broke the rules */
};
struct vhost_session_info {
	uint32_t id;
	const char *name;
	uint64_t features;
	uint32_t queues;                  /* that run */
	const struct vhost_queue_info *queue;
};
void vhost_ctrlr_sessions(struct vhost_ctrlr *c, void (*fn)(void *arg, const struct vhost_session_info *i), void *arg);
/* Sessions end, their I/O is waited for, then it is gone. */
void vhost_ctrlr_delete(struct vhost_ctrlr *c, struct vhost_change *change);
/* What all front-ends of a controller have done; `sessions`, `queues`, `in_flight`: there are now. */
struct vhost_counts {
	uint64_t commands, kicks, calls, sessions_ever;
	uint32_t sessions, queues, in_flight;
};
void vhost_ctrlr_count(struct vhost_ctrlr *c, struct vhost_counts *ret_counts);
/* Put a running queue of a session on another core. `pinned`: the scheduler leaves it there. */
void vhost_queue_move(struct vhost_ctrlr *c, uint32_t session, uint32_t queue, struct reactor *to, bool pinned,
                      struct vhost_change *change);
/* From `iops_threshold` requests per second and queue on, interrupts come at most as often as a delay says that is
 * `delay_base_us` at twice the threshold, and grows with the rate. 0: at once. */
int vhost_ctrlr_set_coalescing(struct vhost_ctrlr *c, uint32_t delay_base_us, uint32_t iops_threshold, struct err *e)
	MUST_USE;

/* blk.c: a virtio-blk disk. The texts of `opts` stay until done. */
struct vhost_blk_opts {
	struct vhost_ctrlr_opts ctrlr;
	const char *bdev_name;
	bool read_only;
	bool cache_off;                   /* a driver switched it off, and relies on that */
	uint16_t num_queues;              /* what the disk says it has, for front-ends that do not decide; 0: all */
};
struct vhost_blk_info {
	const char *bdev_name;            /* also of one that is gone */
	bool gone, read_only, cache_off;
	uint16_t num_queues;
};
/* False: it is no such disk. */
bool vhost_blk_get(const struct vhost_ctrlr *c, struct vhost_blk_info *ret_info);
void vhost_blk_make(struct vhost *v, const struct vhost_blk_opts *opts, struct vhost_change *change);

/* scsi.c: a virtio-scsi host, with targets that have one LUN, 0. opts->delay: vhost_scsi_start() follows. */
int vhost_scsi_make(struct vhost *v, const struct vhost_ctrlr_opts *opts, struct err *e) MUST_USE;
int vhost_scsi_start(struct vhost_ctrlr *c, struct err *e) MUST_USE;
struct vhost_scsi_change {
	struct vhost_change change;
	uint32_t ret_num;                 /* of the target that was added */
};
/* num: negative: the first that is free. `bdev_name` is copied. */
void vhost_scsi_add_target(struct vhost_ctrlr *c, int num, const char *bdev_name, struct vhost_scsi_change *change);
/* Its nexuses end, which aborts what is in flight. */
void vhost_scsi_remove_target(struct vhost_ctrlr *c, uint32_t num, struct vhost_change *change);
struct vhost_scsi_info {
	bool started;
};
#define VHOST_SCSI_TARGETS_MAX 256u
struct vhost_scsi_target_info {
	const char *bdev_name;
	bool gone;                        /* its disk went, and may return */
	bool lost;                        /* its disk was deleted, and it goes */
};
/* False: it is no SCSI host, or has no such target. */
bool vhost_scsi_get(const struct vhost_ctrlr *c, struct vhost_scsi_info *ret_info);
bool vhost_scsi_target(const struct vhost_ctrlr *c, uint32_t num, struct vhost_scsi_target_info *ret_info);

#endif
