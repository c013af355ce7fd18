/* SPDX-License-Identifier: BSD-3-Clause */
/* session.h: what the files of vhost share (private).
 *
 *     vhost.c     the register; cores' homes; stopping                  control reactor
 *     ctrlr.c     a controller: its socket, or its connecting; ending   control reactor
 *     session.c   a front-end: bytes, one message after the other       control reactor
 *     message.c   what each message means                               control reactor
 *     memory.c    versions of guest memory; logs                        control reactor
 *     state.c     the device's state, for a machine that moves            control reactor
 *     backend.c   requests of ours to the front-end                     control reactor
 *     queue.c     a ring as control sees it: its setup, starting it, stopping it
 *     ring.c      a ring on its core
 *     move.c      a ring on its way to another core; the scheduler
 *     iov.c       iovecs
 *     blk.c       virtio-blk (blk.h), and blk_io.c, blk_stages.c
 *     scsi.c      virtio-scsi (scsi.h), and scsi_*.c
 *
 * A session does one message at a time. What takes long, because cores have to do something, holds up those behind it,
 * and the end of the session too; nothing else waits for it.
 */
#ifndef VHOST_SESSION_H
#define VHOST_SESSION_H

#include "base/text.h"
#include "core/log.h"
#include "core/mem.h"
#include "core/sched.h"
#include "core/share.h"
#include "core/stages.h"
#include "core/watch.h"
#include "net/net.h"
#include "vhost/device.h"
#include "virtio/vhost_user.h"

#define VHOST_OUT_MAX 4096u            /* bytes of answers that a front-end has not read */
#define VHOST_RECONNECT_MS 1000u
#define VHOST_HURRY_MS 1000u           /* what could not be aborted is tried again */
#define VHOST_MOVE_MS 500u             /* a ring whose I/O takes longer stays where it is */

struct vhost_session_priv;

/* --- guest memory: memory.c ------------------------------------------------------------------------------------ */

/* One mapping; versions count in it. Control. */
struct vhost_region {
	struct vu_region at;
	struct share share;
	struct vhost_session_priv *session;
	struct mem_region region;          /* for who registers memory with a device */
	uint32_t refs;
	uint32_t awaited;                  /* s->await_round: its end is waited for */
};

/* A version: immutable. Views count in it. Control counts, cores read. */
struct vhost_mem {
	struct vhost_session_priv *session;
	uint32_t refs, count;
	struct vq_mem *vq;                 /* as rings look addresses up */
	struct vhost_region *regions[];
};

/* A ring's use of a version, on its core: tasks count in it. */
struct vhost_view {
	struct vhost_mem *mem;
	uint32_t tasks;
	bool old;                          /* no task will begin with it */
	struct msg msg;
};

/* The log of dirty pages; views of cores count in it. Control. */
struct vhost_log {
	struct vhost_session_priv *session;
	struct share share;
	struct vq_log vq;
	uint32_t refs;
};

/* --- a ring: control's part (queue.c), and its core's (ring.c) -------------------------------------------------- */

struct vhost_op;
typedef void vhost_op_fn(struct vhost_op *op);
/* Something for a ring to do on its core, wherever that is; back on control when it is done. */
struct vhost_op {
	struct msg msg;
	struct vhost_ring_priv *ring;
	vhost_op_fn *run;                  /* on the ring's core; ends, at once or later, with vhost_op_end() */
	vhost_op_fn *done;                 /* control */
	int rc;
	enum vq_fault fault;
	struct vhost_session_priv *session;
	union {
		struct bell bell;              /* a new one; the old one comes back */
		struct { struct vhost_view *view; struct vq_setup setup; };
		struct vhost_log *log;         /* a new one, or none; the old one comes back */
		struct { uint32_t base; bool finish, apart; }; /* where it stopped; finish: who goes on there knows that and no
		                                        * more; apart: and it does not tell of all that was left */
		struct vhost_each *each;
		const char *why;
		bool waited_for;               /* it has requests that are */
		struct { uint32_t delay_base_us, iops_threshold; };
		struct { struct reactor *to; struct vhost_change *change; bool pinned; };
	};
};

/* A byte of a file. */
struct vhost_spot { uint64_t file[2], at; };

/* What the front-end said of a ring. Control. */
struct vhost_queue {
	uint16_t size;
	uint32_t base;
	bool base_set, base_told;          /* told: the front-end said it, or was told, since the ring last ran */
	bool was_reset;                    /* by a status of 0: a base that it does not get to know is none */
	struct vu_addr addr;
	struct vhost_spot spot;            /* of its used ring, while it runs */
	bool asked_base;                   /* GET_VRING_BASE waits for it to stop */
	bool has_addr, kicked;             /* kicked: a kick descriptor, none (to be polled), or a kick came */
	bool enabled, polled;
	bool running;                      /* on a core, or about to */
	bool stopping;                     /* told to stop */
	bool broken;                       /* told to be */
	bool apart;                        /* it stopped, and only the in-flight region tells of some requests */
	bool unplaced;                     /* stopped because its memory was taken away: it may come back */
	bool call_wanted, err_wanted;      /* in band: to be told */
};

/* How far its device is: RING_IDLE: control has all of it. */
enum vhost_ring_state { RING_IDLE, RING_OPENING, RING_OPEN, RING_CLOSING, RING_CLOSED };

struct vhost_ring_priv {
	struct vhost_ring ring;
	struct vhost_queue queue;
	uint64_t charged;                  /* to the memory budget, while it runs */
	struct carry_home at;              /* the core that has it, or will have it in a moment */
	_Atomic bool call_told, broken_told; /* the messages are on their way to control */
	struct msg call_msg, broken_msg;
	const char *broken_why;
	uint64_t broken_value;             /* what was wrong, and where; both 0: that says it all */
	uint32_t broken_at;

	/* Its core. */
	CACHE_ALIGNED struct looker looker;
	struct vq_dev vq;
	struct vhost_home *home;
	struct vhost_task *free;
	struct vhost_task *longs, **longs_end; /* that go on, in their turn */
	struct msg longs_msg;
	struct vhost_view *view;
	struct defer flush;
	struct bell kick, call, err;       /* control's while it does not run */
	bool broken, polled, in_band, takes, pinned;
	bool hurries;                      /* it stops, and what is out was aborted */
	bool notify;                       /* the driver is to be told, and was not yet */
	uint8_t state;                     /* enum vhost_ring_state */
	struct vq_setup setup;             /* what vq was made of */
	uint8_t *tasks;
	struct iovec *iovs;                /* theirs */
	uint32_t made;                     /* tasks that were ever used */
	struct list link;                  /* in its home */
	struct vhost_op *starting, *stopping;
	struct vhost_log *log;
	struct carry carry;
	uint64_t work, id;                 /* for the scheduler: ticks spent */
	uint32_t moved_round;
	/* coalescing */
	uint32_t delay_base_us, iops_threshold, requests;
	uint64_t window_ns, delay_ns, told_ns;
	struct timer later;
	uint64_t kicks, calls, commands;
};
#define ring_priv(r) ((r)->priv)

/* Its core writes, control reads for people. */
#define vhost_count(p, n) __atomic_store_n(p, *(p) + (n), __ATOMIC_RELAXED)

/* --- a session --------------------------------------------------------------------------------------------------- */

struct vhost_session_priv {
	struct vhost_session session;
	struct vhost *vhost;
	struct sock *sock;                 /* NULL: lost, or given up */
	struct vu_rx rx;
	struct vu_msg msg, reply;          /* at hand */
	struct err err;                    /* of it */
	uint32_t waits;                    /* ops, views that are out for it */
	uint32_t await_round, awaited;     /* the message at hand waits for the end of so many regions */
	bool busy, ended, ending, told, waiting; /* waiting: an older session of the controller is still ending */
	uint8_t out[VHOST_OUT_MAX];
	uint32_t out_len;
	int out_fd;                        /* that goes with `out`; -1: none */
	uint64_t protocol;                 /* protocol features */
	bool has_protocol;
	bool resets;                       /* the message at hand resets the device */
	uint8_t status;
	struct vhost_mem *mem;             /* the current version */
	uint32_t mems;                     /* versions that there are */
	struct vhost_log *log;
	struct share inflight;
	struct vu_inflight inflight_at;
	struct sock *backend;              /* requests of ours */
	struct vu_rx backend_rx;
	bool config_news;                  /* to be told */
	struct vhost_ring_priv *call_out;  /* an in-band call of it was not answered yet */
	struct vhost_ring_priv *rings[VHOST_RINGS_MAX];
	uint32_t running;                  /* rings */
	struct msg end_msg;
	int state_fd;                      /* the state of a device that is to come; -1: none */
	bool state_good;                   /* it was saved, or loaded */
	struct timer patience;             /* runs while queues that stop are waited for */
	bool hurried, hurry_told;
	uint64_t hurried_ns;               /* since when */
	uint32_t hurrying, hurried_queues; /* queues asked that have not answered; that have something to end */
};
#define session_priv(s) ((s)->priv)

/* --- the register ------------------------------------------------------------------------------------------------- */

struct vhost_home {
	CACHE_ALIGNED struct vhost *vhost;
	bool begun;
	struct list rings;
	struct watch watch;
	/* of requests of virtio-blk: blk_stages.c */
	struct stage_hosts hosts;
	struct stage_errors errors;
	struct flight flight;
};

struct vhost {
	struct core *core;
	struct bdev_registry *reg;
	struct scsi *scsi;                 /* NULL: there are no SCSI hosts */
	char *dir;
	bool has_group;
	uint32_t gid;                      /* whose members may connect */
	struct list ctrlrs;
	struct vhost_home *homes;          /* by reactor_index() */
	struct flights flights;
	uint32_t making;                   /* controllers that are not there yet */
	struct sched_place place;          /* counts rings */
	uint64_t stamps;
	void (*changed)(void *arg);
	void *changed_arg;
	_Atomic uint64_t ring_ids;
	struct sched_mover mover;
	struct bdev_arrival arrival;
	bool stopping, mover_gone, ending;
	void (*stopped)(void *arg);
	void *stopped_arg;
	struct each each;
};

/* vhost.c */
void vhost_less(struct vhost *v);                                  /* a controller is gone */
struct reactor *vhost_place(struct vhost *v, uint64_t mask);       /* the least loaded core, which counts it */
void vhost_home_begin(struct vhost_home *h);

/* blk_stages.c */
void vhost_count_init(struct vhost *v);
void vhost_home_count(struct vhost_home *h);                       /* from its making on */
void vhost_home_forget(struct vhost_home *h);

/* blk.c: a device came: is it the disk of this one? */
void vhost_blk_came(struct vhost_ctrlr *c, const struct bdev *came);
/* scsi.c: the same */
void vhost_scsi_came(struct vhost_ctrlr *c, const struct bdev *came);

/* ctrlr.c */
void vhost_ctrlr_session_gone(struct vhost_ctrlr *c);              /* one of its sessions was freed, or ended */

/* session.c */
void vhost_session_start(struct vhost_ctrlr *c, struct sock *s);
void vhost_session_end(struct vhost_session_priv *s, const char *why);
void vhost_session_go_on(struct vhost_session_priv *s);            /* nothing older is ending any more */
void vhost_session_hurried(struct vhost_session_priv *s, uint32_t queues);
void vhost_session_less(struct vhost_session_priv *s);             /* one of s->waits has ended */
void vhost_session_mem_gone(struct vhost_session_priv *s);         /* a version was freed */
void vhost_session_need_reset(struct vhost_session_priv *s);

/* message.c: the message at hand. It may leave s->waits above 0, then it is done when they have ended. */
void vhost_message(struct vhost_session_priv *s);
void vhost_message_ended(struct vhost_session_priv *s);            /* ... before it is answered */

/* state.c: what is handed over; to take it, or say why not (and it has no effect). */
#define VHOST_STATE_BYTES 272u
void vhost_state_get(const struct vhost_session_priv *s, uint8_t ret_bytes[static VHOST_STATE_BYTES]);
bool vhost_state_set(struct vhost_session_priv *s, const void *bytes, size_t len, struct err *e);
/* SET_DEVICE_STATE_FD (takes over fd), CHECK_DEVICE_STATE: false: why not. */
bool vhost_state_transfer(struct vhost_session_priv *s, const struct vu_transfer *t, int fd, struct err *e);
bool vhost_state_check(struct vhost_session_priv *s, struct err *e);
void vhost_state_close(struct vhost_session_priv *s);

/* memory.c */
struct vhost_mem *vhost_mem_make(struct vhost_session_priv *s, uint32_t room);
void vhost_session_watch_inflight(struct vhost_session_priv *s);   /* its rings break when that is gone */
void vhost_mem_unref(struct vhost_mem *m);
/* Mapped, or the one that is mapped already, if it is the same. */
struct vhost_region *vhost_region_map(struct vhost_session_priv *s, const struct vu_region *at, int fd, struct err *e);
/* A copy of the current one, with room for that many regions. */
struct vhost_mem *vhost_mem_copy(struct vhost_session_priv *s, uint32_t room);
void vhost_mem_drop(struct vhost_mem *m, uint32_t region);
/* Where a byte is that the front-end has at `user`, whoever maps it. Zeroes: it is nowhere. */
struct vhost_spot vhost_mem_spot(const struct vhost_mem *m, uint64_t user);
/* The message at hand waits no longer: `e` says why. What it took away goes when it is used no more. */
void vhost_mem_give_up(struct vhost_session_priv *s, struct err *e);
/* The version made of those, which is the current one from now on, and the rings'. Takes over `m`. `e` with an error:
 * lets it go. */
void vhost_mem_publish(struct vhost_session_priv *s, struct vhost_mem *m, struct err *e);
struct vhost_view *vhost_view_make(struct vhost_mem *m);
void vhost_view_left(struct vhost_view *v);                        /* its core: no task is out */
void vhost_log_set(struct vhost_session_priv *s, const struct vu_log *at, int fd, struct err *e);
void vhost_log_unref(struct vhost_log *l);

/* queue.c */
/* All of its rings stop with an error. `why`: static text. */
void vhost_session_break(struct vhost_session_priv *s, const char *why);
struct vhost_ring_priv *vhost_queue_get(struct vhost_session_priv *s, uint32_t index, struct err *e);
/* Are the addresses in guest memory? */
bool vhost_queue_placed(const struct vhost_ring_priv *r, const struct vu_addr *a);
/* Start it if all is there that it takes. */
void vhost_queue_start(struct vhost_ring_priv *r);
void vhost_queue_stop(struct vhost_ring_priv *r);
void vhost_queues_stop(struct vhost_session_priv *s);
/* They have stopped. At once, or when they start and the front-end has not come to know them? */
void vhost_queues_forget_bases(struct vhost_session_priv *s, bool at_once);
/* Those that stop, and, when the message at hand waits for memory, those that may use it: end what is waited for; then
 * vhost_session_hurried() is told how many queues had such. False: there are none to be asked. */
bool vhost_queues_hurry(struct vhost_session_priv *s);
void vhost_queue_restart(struct vhost_ring_priv *r);               /* with what was said meanwhile */
void vhost_queue_remap(struct vhost_ring_priv *r);                 /* there is a new version of memory */
void vhost_queue_relog(struct vhost_ring_priv *r);
void vhost_queues_relog(struct vhost_session_priv *s);
/* Another bell: `run` puts it where it belongs; taken over. */
void vhost_queue_bell(struct vhost_ring_priv *r, vhost_op_fn *run, struct bell *bell);
void vhost_queue_free(struct vhost_ring_priv *r);
void vhost_queue_count(const struct vhost_ring_priv *r, struct vhost_counts *counts);
/* `done` NULL: nothing more. What it brings is filled in before it is sent. */
struct vhost_op *vhost_op_make(struct vhost_ring_priv *r, vhost_op_fn *run, vhost_op_fn *done);
void vhost_op_send(struct vhost_op *op);                           /* its session waits for it; then it is freed */

/* ring.c: on its core */
vhost_op_fn vhost_ring_start_op, vhost_ring_stop_op, vhost_ring_remap_op, vhost_ring_log_op, vhost_ring_kick_op,
	vhost_ring_call_op, vhost_ring_err_op, vhost_ring_break_op, vhost_ring_kicked_op, vhost_ring_coalescing_op,
	vhost_ring_visit_op, vhost_ring_hurry_op, vhost_ring_hurry_old_op;
void vhost_op_end(struct vhost_op *op);
void vhost_ring_enter(struct vhost_ring_priv *r);                  /* it belongs to the calling core from now on */
void vhost_ring_leave(struct vhost_ring_priv *r);
void vhost_ring_silence(struct vhost_ring_priv *r);                /* nothing new is taken */
void vhost_ring_go_on(struct vhost_ring_priv *r);                  /* look and hear again, if it may */
void vhost_ring_close(struct vhost_ring_priv *r);                  /* no task is out: let the device leave this core */

/* move.c */
void vhost_mover_begin(struct vhost *v);
void vhost_ring_carry(struct vhost_ring_priv *r, struct reactor *to, carry_done_fn *done, void *arg);

/* backend.c */
void vhost_backend_set(struct vhost_session_priv *s, int fd, struct err *e);
void vhost_backend_config_changed(struct vhost_session_priv *s);
msg_fn vhost_backend_call;                                         /* in band: r->call_msg */
void vhost_backend_err(struct vhost_ring_priv *r);
void vhost_backend_close(struct vhost_session_priv *s);

static inline const char *vhost_ring_name(const struct vhost_ring_priv *r) { return r->ring.session->name; }
static inline bool vhost_has_protocol(const struct vhost_session_priv *s, enum vu_protocol_feature f)
{
	return s->protocol >> f & 1;
}
static inline bool vhost_is_packed(const struct vhost_session_priv *s)
{
	return s->session.features & VIRTIO_BIT(VIRTIO_F_RING_PACKED);
}
/* NULL: it does not run. Control. */
static inline struct vhost_ring_priv *vhost_running(const struct vhost_session_priv *s, uint32_t index)
{
	struct vhost_ring_priv *r = index < VHOST_RINGS_MAX ? s->rings[index] : NULL;

	return r && r->queue.running ? r : NULL;
}

#endif
