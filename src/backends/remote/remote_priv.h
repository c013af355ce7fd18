/* SPDX-License-Identifier: BSD-3-Clause */
/* remote_priv.h: what the parts of the remote back-end share.
 *
 *     control reactor                                   each core
 *     remote       options, turns                       remote_channel   a disk's way in: picks a lane for each I/O
 *     remote_group name, paths, disks, its view  --->   remote_lane      path x core: the I/O queue pair
 *     remote_path  controller, state, timers            remote_io        one I/O: an NVMe command and where it is
 *     remote_disk  a namespace
 *
 * Control tells cores by messages (lanes up, down, replay) and by the *view*, an immutable version: which paths there
 * are, which may be used for which disk, and whether waiting makes sense when none may. Cores tell control by
 * messages of their lanes: a connection ended, an I/O took too long, an ANA status came. Nothing else is shared
 * but counters, which one core writes and anybody may read.
 */
#ifndef BACKENDS_REMOTE_REMOTE_PRIV_H
#define BACKENDS_REMOTE_REMOTE_PRIV_H

#include "backends/remote/remote.h"
#include "bdev/bdev_device.h"
#include "core/version.h"
#include "nvme/nvme.h"

#define REMOTE_PATHS_MAX 16u        /* of one group */
#define REMOTE_NO_PATH 0xffu
#define REMOTE_QUEUE_SIZE 128u      /* entries of an I/O queue */

struct remote;
struct remote_group;
struct remote_path;
struct remote_disk;
struct remote_lane;
struct remote_channel;
struct remote_io;

/* --- options -------------------------------------------------------------------------------------------- */

enum remote_on_timeout { REMOTE_TIMEOUT_NONE, REMOTE_TIMEOUT_RESET, REMOTE_TIMEOUT_ABORT };
enum remote_policy { REMOTE_ACTIVE_PASSIVE, REMOTE_ACTIVE_ACTIVE };
enum remote_selector { REMOTE_ROUND_ROBIN, REMOTE_QUEUE_DEPTH, REMOTE_LATENCY };

/* Of all controllers: bdev_nvme_set_options. Changed on control only while there is no group, so that cores may read
 * it without asking; what may change at any time is said to. */
struct remote_opts {
	enum remote_on_timeout action_on_timeout;
	uint64_t timeout_us, timeout_admin_us;  /* 0: none */
	uint32_t keep_alive_timeout_ms;
	uint32_t connect_timeout_ms;            /* 0: the library's */
	uint32_t ack_timeout_ms;                /* 0: the library's */
	uint32_t cm_timeout_ms;                 /* RDMA; 0: the connect time-out */
	uint32_t io_queue_requests;             /* entries of an I/O queue; 0: REMOTE_QUEUE_SIZE */
	int32_t bdev_retry_count;               /* -1: for ever */
	int32_t ctrlr_loss_timeout_sec;
	uint32_t reconnect_delay_sec, fast_io_fail_timeout_sec;
	uint8_t transport_tos;
	uint8_t ack_exponent;                   /* RDMA's ack_timeout_ms */
	uint32_t auth_hashes, auth_groups;      /* see nvme_host_opts */
	bool disable_auto_failback;
	bool reconnects_grow;                   /* reconnect_delay_sec is where the delay begins */
	bool generate_uuids;
	bool enable_flush;                      /* SPDK's; see remote.md */
	bool write_replay_immediate;            /* a write whose fate is unknown goes out again at once,
		as Linux does */
	bool ccr;                               /* lost controllers are ended by others of their subsystem */
	bool reservations_at_target;            /* of hosts that use a disk; one host at a time */
	bool warm_connections;                  /* cores that have not used a path yet keep a connection to it */
	enum remote_policy policy;
	enum remote_selector selector;
	uint32_t rr_min_io;
};

/* --- counters: one core writes, anybody reads ------------------------------------------------------------- */

typedef _Atomic uint64_t remote_count;
static inline void remote_count_add(remote_count *c, uint64_t n) /* the owner only */
{
	atomic_store_explicit(c, atomic_load_explicit(c, memory_order_relaxed) + n, memory_order_relaxed);
}
static inline uint64_t remote_count_get(const remote_count *c)
{
	return atomic_load_explicit(c, memory_order_relaxed);
}

/* Of one disk over one path on one core: SPDK's io path statistics. */
struct remote_io_stats {
	remote_count reads, writes, unmaps, copies, others;     /* ended well */
	remote_count read_bytes, write_bytes, unmap_bytes, copy_bytes;
	remote_count read_ns, write_ns, unmap_ns, copy_ns;      /* sums of latencies */
	remote_count read_max_ns, write_max_ns, unmap_max_ns, copy_max_ns;
	remote_count read_min_ns, write_min_ns, unmap_min_ns, copy_min_ns;      /* 0: none */
	remote_count errors;                            /* ended with an NVMe status that is not success */
};

/* Of a lane; a row is a counter in bdev_nvme_get_controllers and in the metrics. */
/*   counter         name                 what it counts */
#define REMOTE_LANE_COUNTERS(X) \
	X(SUBMITTED,     "submitted",         "commands handed to the queue pair") \
	X(COMPLETED,     "completed",         "commands answered by the controller") \
	X(ERRORS,        "errors",            "commands answered with an error") \
	X(RETRIED,       "retried",           "I/Os sent again after a status that allows it") \
	X(MOVED,         "moved",             "I/Os sent over another path, or again over this one, after it ended") \
	X(IN_LIMBO,      "limbo",             "writes that waited because they might still have landed") \
	X(TIMED_OUT,     "timed_out",         "commands that took longer than the I/O time-out") \
	X(OPENED,        "opened",            "queue pairs made ready") \
	X(EARLY,         "early",             "connections made before the controller was ready, or kept warm") \
	X(REFUSED,       "refused",           "queue pairs that could not be made while the path was up") \
	X(ENDED,         "ended",             "queue pairs that ended by themselves") \
	X(FORWARDED,     "forwarded",         "I/Os sent by way of another core's queue pair")
#define REMOTE_LANE_ENUM(id, name, text) REMOTE_LANE_##id,
enum remote_lane_counter { REMOTE_LANE_COUNTERS(REMOTE_LANE_ENUM) REMOTE_LANE_COUNTER_COUNT };
const char *remote_lane_counter_name(enum remote_lane_counter c);
const char *remote_lane_counter_text(enum remote_lane_counter c);

/* --- the view: what cores know of a group ----------------------------------------------------------------- */

/* How good a path is for a disk, worst first. */
enum remote_access {
	REMOTE_ACCESS_NONE,             /* the namespace is not there,
		or its ANA state says that it cannot be reached */
	REMOTE_ACCESS_CHANGING,         /* ANA change: it comes back by itself, soon */
	REMOTE_ACCESS_NON_OPTIMIZED,
	REMOTE_ACCESS_OPTIMIZED,
};

struct remote_view_disk {
	struct remote_disk *disk;       /* NULL: no disk has this index now */
	uint8_t policy, selector;       /* enum remote_policy, enum remote_selector */
	uint8_t preferred;              /* path index; REMOTE_NO_PATH: none */
	bool hopeless;                  /* no path, and it is not worth waiting for one: I/O without a path fails */
	uint32_t rr_min_io;
	uint8_t access[REMOTE_PATHS_MAX]; /* enum remote_access; of paths that are not `up` as they were last */
};

struct remote_view {
	struct version version;         /* core/version.h: a core's current one is current_view() */
	struct remote_group *group;
	struct remote_path *paths[REMOTE_PATHS_MAX]; /* by index; NULL: none; stays as long as a view has it */
	bool up[REMOTE_PATHS_MAX];      /* its controller is there: lanes are open or may be opened */
	uint32_t disk_count;
	struct remote_view_disk disks[]; /* by disk->index */
};

/* --- a core's part ------------------------------------------------------------------------------------------ */

/* IO's; CTL makes the array zeroed with the path (cores + 1, control last) and calls remote_lanes_init(). */
#define REMOTE_LANE_STATES(X) \
	X(CLOSED,  "no connection, none wanted") \
	X(OPENING, "being connected") \
	X(OPEN,    "takes commands") \
	X(BY_ANOTHER, "takes commands, and sends them by way of another core") /* public only: OPEN with `via` */ \
	X(REFUSED, "its queue pair could not be made; tried again") /* public only, until another way is found */ \
	X(ENDED,   "its connection ended; control has been told")
#define REMOTE_LANE_STATE_ENUM(id, text) REMOTE_LANE_##id##_STATE,
enum remote_lane_state { REMOTE_LANE_STATES(REMOTE_LANE_STATE_ENUM) };

/* One path on one core; all of it is that core's, but for what is said to be control's. */
struct remote_lane {
	CACHE_ALIGNED struct remote_path *path;
	struct nvme_qpair *qp;          /* NULL: none, or it goes by `via` */
	struct remote_lane *via;        /* another core's, when there are fewer queues than cores, or ours is refused */
	struct nvme_qpair *next;        /* not in use yet: made early, kept warm, or tried again; NULL: none */
	bool told_early;                /* of an attempt that is not up yet */
	bool next_logs_in;              /* when ready, it is the lane's */
	bool from_next, refused_told;   /* qp's connection was made before it was wanted; control was told */
	uint8_t refusals;               /* in a row */
	struct timer retry;
	struct msg early_msg;
	enum nvme_reason refused_reason;
	struct err refused_err;         /* control's to read once it was told, until this life ends */
	uint8_t core_index, state;      /* enum remote_lane_state */
	_Atomic uint8_t public_state;   /* the state, for whoever reads */
	bool up;                        /* control has said so, and not taken it back */
	bool troubled;                  /* control was told in this life */
	bool down_asked;                /* answered when nothing is away, and its queue pair is closed */
	bool closing;                   /* a queue pair that was closed still has commands */
	uint32_t life;                  /* of the path, as of the last up */
	uint32_t io_bytes_max;          /* of one command, in this life; reads and writes that are larger go in parts */
	uint32_t away;                  /* I/Os at `via`, or on their way there or back; or with an injected fault */
	remote_count outstanding;       /* now */
	remote_count counts[REMOTE_LANE_COUNTER_COUNT];
	uint64_t latency_ns, chosen_ns; /* moving average; when it was chosen last, for the latency selector */
	uint32_t in_limbo, down_limbo;  /* I/Os in channels' limbo that went this way; the same when a down was answered */
	struct list early;              /* remote_io.link: of other cores,
		which heard of a new life before this one did */
	/* From control and back as the answer; each at most once under way. */
	struct msg up_msg, down_msg, replay_msg, prove_msg;
	/* To control. The message is under way while `news` is not 0. */
	struct msg news_msg, abort_msg;
	_Atomic uint32_t news;
	enum nvme_reason reason;        /* of the trouble told */
	struct err err;
	struct list late;               /* remote_io.link: out for too long, and to be aborted */
	/* One NVMe Abort at a time; control's while busy. */
	_Atomic bool abort_busy;
	uint16_t abort_cid, abort_qid;
	struct timer aborted;           /* what was aborted is to be answered until then */
	bool abort_late, abort_failed;  /* late: because it took too long; if that fails the path is reset */
	struct nvme_op abort_op;
	/* Keys that were changed in this life: those in path->login are out of date. The path's references. */
	bool keyed;
	struct keyring_key *key, *ctrlr_key;
	struct err prove_err;           /* control's once prove_msg is back; code 0: it went well */
};

/* Of a group, one for each core, control last; CTL makes the array zeroed and calls remote_group_cores_init(). */
struct remote_group_core {
	CACHE_ALIGNED struct remote_group *group;
	struct list channels;           /* remote_channel.link: all disks of the group on this core */
	struct remote_view *view;       /* the current one; not looked at without a channel */
};

/* A disk on a core: the bdev channel's context. */
struct remote_channel {
	struct remote_lane *lane;       /* where I/O goes; NULL: to be chosen */
	struct remote_disk *disk;
	struct remote_io_stats *stats;  /* [REMOTE_PATHS_MAX]: disk->stats[core index] */
	uint32_t block_bytes;           /* of the data iovecs */
	uint8_t current;                /* index of the path used last; REMOTE_NO_PATH: none */
	uint8_t preferred;              /* as of the view */
	bool latency;                   /* latencies are averaged */
	uint16_t avoid;                 /* bits of paths that just said no; until `again` */
	uint32_t turns;                 /* I/Os before the next choice; or since the last probe */
	struct timer again;
	struct list line;               /* remote_io.link: there is no path */
	struct defer line_more;         /* there are more than one visit deals with */
	struct list later;              /* remote_io.link: they try again when their time comes */
	struct list limbo;              /* remote_io.link: nobody knows whether they landed, or may land still */
	struct list link;               /* in remote_group_core.channels */
	struct remote_group_core *core;
};

/* One I/O; the device context of the waist, so not cleared between users. */
enum remote_place { REMOTE_AT_LANE, REMOTE_IN_LINE, REMOTE_LATER, REMOTE_IN_LIMBO, REMOTE_INJECTED };
#define REMOTE_RANGES 16u               /* of one Dataset Management command */
struct remote_io {
	struct nvme_op op;
	struct bdev_io *io;
	struct remote_channel *channel;
	struct remote_lane *lane;       /* of the I/O's own core */
	struct remote_lane *via;        /* the other core's that it was given to; NULL: it went from here */
	uint64_t began_ns;              /* at its lane; in its line */
	uint8_t place;                  /* enum remote_place */
	bool more;                      /* another command may follow */
	bool aborted;                   /* by the user: it ends as soon as that is safe */
	bool timed_out, asked;          /* timed_out: in its lane's list `late`; asked: its Abort went out */
	uint8_t halves;                 /* of a fused pair that are still out */
	uint16_t inject;                /* the status to answer with, whatever came; 0: none */
	uint32_t retries, refusals;     /* after a status that allows it; by paths */
	uint8_t losses;                 /* connections that ended while it was out */
	uint32_t life;                  /* of the path, when it was sent */
	uint64_t at;                    /* of several commands: ranges or blocks that are done */
	uint64_t step;                  /* ... and of the one that is out */
	struct list link;
	struct msg msg;                 /* to another core's lane and back */
	struct timer timer;
	struct iovec iov;
	union {
		struct nvme_dsm_range ranges[REMOTE_RANGES];
		struct nvme_copy_range copy;
		struct {
			struct nvme_op second;
			nvme_op_fn *both;
			bool compared;  /* with success: whether the write was done nobody knows, when it failed */
		} fused;
	};
};

/* --- control's part ------------------------------------------------------------------------------------------ */

/* Attempts to log in that run at once are limited, and those whose last try ended in silence may have only half. */
struct remote_turn {
	struct list link;
	struct timer timer;
	struct remote_turns *of;
	bool waits, has, slow;
	void (*granted)(struct remote_turn *t);
};
struct remote_turns {
	uint32_t max, has, has_slow;
	struct list waiting, waiting_slow;
	struct msg again;
	bool again_sent;
	uint64_t waits;                 /* that had to wait, ever */
};

/* A fault that a person asked for (bdev_nvme_add_error_injection). Rows are only added, and go with their path: cores
 * walk the list without asking. `left` 0: no effect. */
struct remote_injection {
	struct remote_injection *next;
	bool admin, do_not_submit;
	uint8_t opc;
	uint16_t status;                /* enum nvme_status, DNR included */
	uint64_t timeout_us;
	_Atomic uint32_t left;
};
/* Any core: one of what is left; false: there was none. remote_wait.c. */
bool remote_injection_take(struct remote_injection *x);

/*   state        meaning */
#define REMOTE_PATH_STATES(X) \
	X(IDLE,       "made, nothing tried yet") \
	X(REACHING,   "looks up the address and connects the first socket") \
	X(TURN,       "connected; waits for its turn to log in") \
	X(CONNECTING, "logs in and identifies the controller") \
	X(SCANNING,   "the controller is ready; its namespaces and ANA states are read") \
	X(UP,         "in use") \
	X(DRAINING,   "no longer usable; cores let go of it") \
	X(CLOSING,    "the controller is shut down") \
	X(DELAY,      "waits before it connects again") \
	X(FAILED,     "gave up; a reset tries again") \
	X(DISABLED,   "switched off by a person") \
	X(GONE,       "no more attempts: it is being removed")
#define REMOTE_PATH_STATE_ENUM(id, text) REMOTE_PATH_##id,
enum remote_path_state { REMOTE_PATH_STATES(REMOTE_PATH_STATE_ENUM) REMOTE_PATH_STATE_COUNT };
const char *remote_path_state_name(enum remote_path_state s);

struct remote_group {
	struct remote *remote;
	struct list link;               /* in remote->groups */
	char name[128], subnqn[224];    /* subnqn: of its first path */
	uint64_t number;                /* no other group of this daemon has, or had, it */
	struct remote_path *paths[REMOTE_PATHS_MAX]; /* by index: a slot is used again when its path went */
	struct list disks;              /* remote_disk.link */
	struct remote_disk **by_nsid;   /* the same, by number: CTL's */
	uint8_t *index_used;            /* [disk_slots]: CTL's */
	uint32_t disk_count;
	struct list wishes;             /* CTL's: remote_wish.link */
	uint32_t disk_slots;            /* view->disks has that many */
	struct version_slot views;      /* struct remote_view */
	struct remote_group_core *cores;
	/* CTL's */
	uint8_t policy, selector;       /* of disks for which nobody said otherwise */
	uint32_t rr_min_io;
	bool policy_given;              /* for its first path, to be saved with it */
	uint16_t prchk;                 /* its first path's */
	bool discovered;                /* by a discovery service: it saves itself */
	bool forgotten;                 /* a path of it was given up: that is to last */
	struct version_publish publish;
	bool publishing, dirty;
	uint32_t views_alive;
	struct list published, published_now; /* remote_wait: for the next publication, for this one */
	struct defer publish_later;
	bool leaving, ending, freed;    /* ending: the last view is taken away */
	struct timer peace, letting_go;
	struct list leavers;            /* remote_wait: for its end */
	struct msg freed_msg;
};

/* Who waits for something of a group or path; caller's memory. */
struct remote_wait {
	struct list link;
	void (*done)(struct remote_wait *w);
};

struct remote_path_opts {
	struct nvme_host_opts host;
	int32_t ctrlr_loss_timeout_sec; /* -1: never given up */
	uint32_t reconnect_delay_sec, fast_io_fail_timeout_sec;
	bool reconnects_grow;           /* the delay doubles up to REMOTE_DELAY_MAX_SEC: when it was not given */
	uint16_t num_io_queues;         /* 0: one a core */
	uint8_t times_given;            /* which of the three were: bits 0, 1, 2 */
	bool connect_timeout_given;
	uint16_t prchk;                 /* NVME_RW_PRCHK_*: what controllers shall check in reads and writes */
};
#define REMOTE_DELAY_MAX_SEC 16u

struct remote_path {
	struct remote_group *group;
	uint8_t index;                  /* in group->paths */
	uint8_t state;                  /* enum remote_path_state; control only */
	struct nvme_path where;
	struct remote_path_opts opts;
	struct nvme_ctrlr *ctrlr;       /* NULL: none */
	uint32_t life;                  /* counted up by CTL just before remote_lanes_up(); control only */
	struct remote_lane *lanes;      /* cores + 1 */
	_Atomic uint64_t alive_ns;      /* last sign of life on any queue; nvme_login points to it */
	_Atomic(struct remote_injection *) injections;
	uint64_t reasons[NVME_REASON_COUNT]; /* how attempts and connections ended */
	struct err last_err;            /* why it is not up; code 0: it is */
	/* CTL's, private to remote_path.c and its kin */
	struct remote_path_ctl *ctl;
	/* IO's: what was said to the lanes; they read the first three while they are up, the rest is control's. */
	struct nvme_login login, early_login;
	uint32_t told_life, rest_ms;    /* rest_ms: what is left of the attempt's time, for who logs in at once */
	uint16_t crdt_100ms[3];
	uint32_t io_bytes_max;          /* of one command */
	uint32_t replay_life, downs_left, replays_left;
	uint32_t left_in_limbo;         /* I/Os, when the last down was done */
	uint32_t proofs_left;
	struct err prove_err;           /* the first that failed */
	void (*down_done)(struct remote_path *p), (*replay_done)(struct remote_path *p);
	void (*prove_done)(struct remote_path *p);
};

struct remote_ns {                      /* what control knows of one namespace over one path */
	bool present;
	uint8_t access;                 /* enum remote_access */
	uint8_t ana_state;              /* enum nvme_ana_state; 0: none was told */
	const char *differs;            /* why this path is not used, as was said last; NULL: it is */
	uint32_t anagrpid;
	uint32_t io_bytes_max;          /* of one command of its controller, as of the last look */
};

struct remote_disk {
	struct bdev bdev;
	struct remote_group *group;
	struct list link;               /* in group->disks */
	uint32_t nsid, index;           /* index: in view->disks */
	uint16_t prchk;                 /* of its group, as far as its protection information has it */
	struct nvme_ns_info info;       /* as of the last scan; constant for cores but for block_count */
	uint32_t one_act_blocks;        /* a command must be able to carry so many: an atomic write, or one block */
	struct remote_ns ns[REMOTE_PATHS_MAX];
	uint8_t policy, selector, preferred;
	uint32_t rr_min_io;
	bool policy_given, preferred_given;
	/* [cores + 1], each [REMOTE_PATHS_MAX]: made by the core that opens the first channel, freed with the disk.
	 * */
	_Atomic(struct remote_io_stats *) *stats;
	/* Of single commands; set by remote_disk_shape(). UINT32_MAX: no limit. */
	uint32_t zeroes_blocks_max, verify_blocks_max, uncorrectable_blocks_max, copy_blocks_max;
	uint32_t discard_ranges_max, discard_blocks_max, compare_blocks_max; /* the last: compare and write */
	struct each remove;             /* IO's: remote_disk_remove() */
	/* CTL's */
	bool hopeless;                  /* the namespace has been out of reach over every path for too long */
	bool going, gone;               /* being unregistered; not in views any more */
	bool destroyed, removed;        /* no user has it; remote_disk_remove() has been everywhere */
	uint64_t lost_ns;               /* since when no path reaches it; 0: one does */
	struct timer reach;             /* until that is for too long */
	struct remote_wait unpublished;
};

struct remote {
	struct bdev_registry *reg;
	struct core *core;
	struct nvme_host *host;
	struct keyring *keyring;        /* NULL: there is none */
	struct remote_opts opts;
	struct list groups;
	uint64_t last_group;            /* its number */
	struct remote_turns turns;
	/* CTL's */
	char hostnqn[224];              /* for who gives none */
	struct list discoveries;
	void (*forgot)(void *arg);      /* something that is saved has gone by itself; NULL: nobody wants to know */
	void *forgot_arg;
	bool stopping, stopped;
	void (*stop_done)(void *arg);
	void *stop_arg;
	struct msg stop_msg;
};

static inline uint32_t remote_core_count(const struct remote *r) /* with control */
{
	return core_reactor_count(r->core) + 1;
}

/* --- seam, implemented by IO: control calls ------------------------------------------------------------------- */

/* The arrays were made zeroed. */
void remote_group_cores_init(struct remote_group *g);
void remote_group_cores_fini(struct remote_group *g);
void remote_lanes_init(struct remote_path *p);
void remote_lanes_fini(struct remote_path *p); /* every lane is closed, nothing is in limbo */

/* The controller is ready: cores that have channels of the group open queue pairs, others when the first comes.
 * Alternates strictly with remote_lanes_down(), whose `done` has run.
 * Core: control. Memory: `login` is copied. */
void remote_lanes_up(struct remote_path *p, const struct nvme_login *login); /* sends p->life, p->rest_ms along */
/* The controller is being logged in to: cores that have channels of the group, or all with warm_connections, may make
 * the connections that they will need. Before an up, once; remote_lanes_down() instead of that
 * up takes it back. Core: control. Memory: `login` is copied. */
void remote_lanes_early(struct remote_path *p, const struct nvme_login *login);
/* The path's keys (opts.host) are others now: each core takes them, and proves again who we are where it has a queue
 * pair. Core: control; one call at a time. Then: `done`, with p->prove_err. */
void remote_lanes_prove(struct remote_path *p, void (*done)(struct remote_path *p));
/* Every core takes its I/O off this path (to another one, to wait, into limbo) and closes its queue pair.
 * Core: control. Then: `done` runs there when all have; only then the controller is closed. */
void remote_lanes_down(struct remote_path *p, void (*done)(struct remote_path *p));
/* Nothing that was sent in the life `life` of the path, or before, can land any more: what hangs in limbo since then
 * may go out again, over any path. A life begins with remote_lanes_up(), for which path->life was counted up, and
 * which tells it to the lanes; what they put into limbo carries it. Core: control; one call at a time. Then: `done`
 * when no limbo that old is left in its lanes. */
void remote_lanes_replay(struct remote_path *p, uint32_t life, void (*done)(struct remote_path *p));

/* version_slot's `enter` of group->views: the calling core is about to use this view. Looks again at what waits.
 * Called on each I/O core by version.c, and on control by remote_group_publish(). */
void remote_view_enter(struct version *v, uint32_t core_index);

/* Rows of bdev_ops; the rest are CTL's. */
int remote_channel_open(struct bdev_channel *ch, struct err *e);
void remote_channel_close(struct bdev_channel *ch);
void remote_submit(struct bdev_channel *ch, struct bdev_io *io);
bool remote_abort(struct bdev_channel *ch, struct bdev_io *io);
/* The operations that are implemented: a disk has those of them that its namespace has too. */
extern const uint32_t remote_ops_supported;
/* bdev_ops.remove: end with GONE what waits or hangs in limbo for this disk, on every core. Core: control.
 * Then: remote_disk_removed() runs once on control, later; the disk's memory must stay until then. */
void remote_disk_remove(struct bdev *b);
/* What one command to this controller may carry. */
uint32_t remote_io_bytes_max(const struct nvme_ctrlr_info *ctrlr);
/* What a disk can do, from what a controller and a namespace say: native_ops, cache, fua, limits of I/O and of single
 * commands, channel and I/O context sizes, into disk->bdev and disk. Not names, sizes or identity. Core: control. */
void remote_disk_shape(struct remote_disk *d, const struct nvme_ctrlr_info *ctrlr, const struct nvme_ns_info *ns);

/* Connect the calling core's lane unless it is; l->qp takes commands at once, and is NULL when it goes by another's. */
void remote_lane_want(struct remote_lane *l);

/* --- seam, implemented by CTL: IO calls on control (from its lanes' messages), unless said otherwise ----------- */

/* A lane of the path ended by itself, an I/O took too long, or the like: `reason` counts, `e` is for people. The path
 * is taken down and comes back by its own rules. Once is enough; more do no harm, also of an earlier life. */
void remote_path_trouble(struct remote_path *p, enum nvme_reason reason, const struct err *e);
/* A lane of a path that is up could not be opened. It goes by another core's, and is tried again. */
void remote_path_lane_refused(struct remote_path *p, enum nvme_reason reason, const struct err *e);
/* A lane is open: control may tell that a path really works. */
void remote_path_lane_opened(struct remote_path *p);
/* An I/O was answered with an ANA status: read the log again. */
void remote_path_ana_changed(struct remote_path *p);
/* An I/O was answered with Invalid Namespace or the like: look at the namespaces again. */
void remote_path_ns_changed(struct remote_path *p);
/* remote_disk_remove() has been everywhere. */
void remote_disk_removed(struct remote_disk *d);

/* Any core: its current view; NULL when the group has gone from it. */
static inline struct remote_view *remote_view_of(struct remote_group *g, uint32_t core_index)
{
	struct version *v = g->views.current[core_index];

	return v ? container_of(v, struct remote_view, version) : NULL;
}

#endif
