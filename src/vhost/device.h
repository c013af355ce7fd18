/* SPDX-License-Identifier: BSD-3-Clause */
/* device.h: what a kind of device is to vhost: a table of functions; and what it may call.
 *
 *     control    session_open()                  a front-end is there
 *     control    features(), config(), ...       it asks what there is
 *     a core     ring_open()                     a queue starts on this core: channels, nexuses
 *     that core  execute(task) ... vhost_task_done(task, bytes)
 *     that core  ring_close()                    it stops, or moves to another core: no task of it is out any more
 *     control    session_close()                 the front-end is gone, and none of its queues is on a core
 *
 * A task is a chain of descriptors, checked and translated: readable iovecs first, then writable ones. Its memory is
 * the guest's, which can change it at any time: what is decided by is read once, into memory of ours.
 */
#ifndef VHOST_DEVICE_H
#define VHOST_DEVICE_H

#include "core/bell.h"
#include "core/carry.h"
#include "core/log.h"
#include "core/look.h"
#include "vhost/vhost.h"
#include "virtio/ring.h"
#include "wire/vhost_user.h"

#define VHOST_RING_SIZE_MAX 1024u
#define VHOST_SEG_MAX 126u     /* what devices say; a chain has two more descriptors, for what goes before and after */
#define VHOST_IOVS_MAX 144u    /* of one chain: some descriptors may lie across two regions of memory */

struct stage_counts;
struct vhost_session;
struct vhost_ring;

/* The beginning of every device's task. */
struct vhost_task {
	struct vhost_ring *ring;
	struct vhost_task *next;          /* the ring's: free ones, and those that go on */
	struct vhost_view *view;          /* of guest memory, that the addresses are of */
	struct vq_chain chain;            /* iovs: out_count readable ones, then the writable ones */
	uint64_t since_ns;
	bool out;                         /* between execute and done */
	struct iovec *iovs;               /* room for VHOST_IOVS_MAX */
};

struct vhost_device_ops {
	const char *type;                 /* "block", "scsi" */
	uint32_t task_bytes;              /* of a task, which begins with struct vhost_task */
	uint32_t rings_max;               /* queues that a front-end may have */

	/* --- control reactor --- */
	/* Feature bits of this type that are offered now; those of rings and of vhost are added to them. */
	uint64_t (*features)(struct vhost_ctrlr *c);
	/* The configuration space as it is now, for `s` (NULL: whoever). */
	void (*config)(struct vhost_ctrlr *c, struct vhost_session *s, uint8_t ret_config[VU_CONFIG_MAX]);
	/* The driver writes to it; `live`: it is a migration's, and says what the device had. Errors: it may not. */
	int (*config_write)(struct vhost_session *s, uint32_t offset, const uint8_t *data, uint32_t len, bool live,
	                    struct err *e);
	/* A front-end came, or went; `s->device` is yours. Gone: call vhost_session_closed(). */
	void (*session_open)(struct vhost_session *s);
	void (*session_close)(struct vhost_session *s);
	/* Features were negotiated, again maybe, or the device was reset (no feature). No queue runs. */
	void (*negotiated)(struct vhost_session *s, uint64_t features);
	/* The controller goes, no session is left: let go what it has, then vhost_ctrlr_ended(). */
	void (*end)(struct vhost_ctrlr *c);
	void (*free)(struct vhost_ctrlr *c);

	/* --- the ring's core --- */
	/* It begins here; call vhost_ring_opened(), at once or later. */
	void (*ring_open)(struct vhost_ring *r);
	/* It ends here, no task is out; call vhost_ring_closed(), at once or later. */
	void (*ring_close)(struct vhost_ring *r);
	/* One chain. vhost_task_done() at once or later, on this core. */
	void (*execute)(struct vhost_task *t);
	/* Its next piece, after vhost_task_go_on(). NULL: it has none. */
	void (*go_on)(struct vhost_task *t);
	/* Its front-end has waited for too long: end one that is out soon, if the disk lets you. Asked again if not. */
	void (*hurry)(struct vhost_task *t);
	/* A queue from which the device takes buffers itself when it has something to say, by vhost_ring_take(); buffers
	 * that wait are told by filled(). Both NULL: there is none. */
	bool (*takes)(uint32_t ring_index);
	void (*filled)(struct vhost_ring *r);
};

/* --- what a device type embeds and calls -------------------------------------------------------------------------- */

struct vhost_ctrlr {
	struct list link;
	struct vhost *vhost;
	const struct vhost_device_ops *ops;
	char name[VHOST_NAME_MAX + 1];
	char *path, *cpumask;             /* as they were given; cpumask NULL: all */
	bool own_path, client, no_packed;
	uint64_t place;                   /* where its rings may be: a bit per reactor */
	uint32_t delay_base_us, iops_threshold, patience_ms;
	uint64_t stamp;                   /* of what is saved */
	/* control: ctrlr.c */
	struct listener *listener;
	struct sock *connecting;
	struct timer reconnect;
	uint32_t last_session;
	struct vhost_counts ended;        /* of queues that are gone */
	struct list sessions;
	struct log_limit complaints;      /* about its front-ends */
	bool deleting, ending;
	struct list deletions;            /* struct vhost_waiter */
};

struct vhost_session {
	struct list link;
	struct vhost_ctrlr *ctrlr;
	uint32_t id;
	char name[VHOST_NAME_MAX + 16];   /* of the controller, and its number */
	void *device;                     /* the device type's */
	uint64_t features;                /* negotiated; rings' cores read it */
	struct bdev_initiator who;        /* as whom its I/O goes: to reservations a stranger */
	struct vhost_session_priv *priv;  /* session.h */
};

/* A virtqueue, on its core while it runs. What a device may look at. */
struct vhost_ring {
	struct vhost_session *session;
	uint32_t index;
	uint32_t in_flight;               /* tasks that are out */
	void *device;                     /* the device type's, between ring_open and ring_closed */
	struct stage_counts *counts;      /* the same */
	struct vhost_ring_priv *priv;     /* session.h */
};

/* What can be said against it before anything is made. */
int vhost_ctrlr_check(struct vhost *v, const struct vhost_ctrlr_opts *opts, struct err *e) MUST_USE;
/* Fill in what all types have in common and begin to serve. Control. On failure nothing is left, ops->free() was not
 * called. `c` zeroed but for what is the type's. */
int vhost_ctrlr_start(struct vhost *v, struct vhost_ctrlr *c, const struct vhost_device_ops *ops,
                      const struct vhost_ctrlr_opts *opts, struct err *e) MUST_USE;
/* One that was started with opts->delay. */
int vhost_ctrlr_listen(struct vhost_ctrlr *c, struct err *e) MUST_USE;
void vhost_ctrlr_ended(struct vhost_ctrlr *c);
void vhost_ctrlr_resaved(struct vhost_ctrlr *c);
/* The configuration space has changed: all front-ends are told that can be. */
void vhost_ctrlr_config_changed(struct vhost_ctrlr *c);
void vhost_session_closed(struct vhost_session *s);

/* Run `fn` for each ring that is open on a core, there, one message each; then `done` here. Memory: `each` is the
 * caller's until done. Control. Rings that open meanwhile are not visited: change first what ring_open() looks at. */
struct vhost_each {
	void (*fn)(struct vhost_ring *r, void *arg);
	void (*done)(struct vhost_each *e);
	void *arg;
	uint32_t left;
};
void vhost_each_ring(struct vhost_ctrlr *c, struct vhost_each *e);

void vhost_ring_opened(struct vhost_ring *r);
void vhost_ring_closed(struct vhost_ring *r);
/* The guest broke the rules of the device, not only of this request: the ring stops. `why`: static text. */
void vhost_ring_broken(struct vhost_ring *r, const char *why);
/* A buffer of a queue that the device takes from; NULL: there is none now. End it by vhost_task_done(). */
struct vhost_task *vhost_ring_take(struct vhost_ring *r);

/* A long one goes on in a later pass: one of a ring's does in each. */
void vhost_task_go_on(struct vhost_task *t);
/* Whether one that waits for that, on the calling core, is one of those. */
bool vhost_longs_have(struct vhost_session *s, bool (*is)(struct vhost_task *t, const void *arg), const void *arg);
/* `written`: bytes at the beginning of the writable part. */
void vhost_task_done(struct vhost_task *t, uint32_t written);
/* One that was not done, because of hurry(), may be left in flight, for who starts the queue next to do: when there is
 * a region that tells of it, and the machine does not move. False: answer it with an error. */
bool vhost_task_may_be_left(const struct vhost_task *t);
void vhost_task_leave(struct vhost_task *t);

static inline struct iovec *vhost_task_out(struct vhost_task *t) { return t->iovs; }
static inline struct iovec *vhost_task_in(struct vhost_task *t) { return t->iovs + t->chain.out_count; }

/* Bytes `at` to `at + len` of iovecs, for headers: false: there are not as many. */
bool vhost_iovs_read(const struct iovec *iovs, uint32_t count, uint32_t at, void *buf, uint32_t len);
bool vhost_iovs_write(const struct iovec *iovs, uint32_t count, uint32_t at, const void *buf, uint32_t len);
/* Bytes `at` to `at + len` of iovecs, in place: the first is shortened in front, the last behind. To be mended before
 * the task is done: what was written is logged by them. False: they are not all there; nothing is cut. */
struct vhost_cut {
	struct iovec *iovs;
	uint32_t count;
	struct iovec first, last;         /* as they were */
};
bool vhost_iovs_cut(struct vhost_cut *cut, struct iovec *iovs, uint32_t count, uint32_t at, uint32_t len) MUST_USE;
void vhost_iovs_mend(struct vhost_cut *cut);
/* I/O with them failed: is the memory still there? The kernel does not say so; touching it does (core/share.h). */
void vhost_iovs_touch(const struct iovec *iovs, uint32_t count);

#endif
