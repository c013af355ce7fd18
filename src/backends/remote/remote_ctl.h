/* SPDX-License-Identifier: BSD-3-Clause */
/* remote_ctl.h: what the control side's own files share; cores never see it. Control reactor, all of it. */
#ifndef BACKENDS_REMOTE_REMOTE_CTL_H
#define BACKENDS_REMOTE_REMOTE_CTL_H

#include "backends/remote/remote_priv.h"
#include "core/log.h"

#define REMOTE_LIVES_MAX 8u         /* lives of a path whose writes may hang in limbo at once */

/* What is to become of a path, whatever it does at the moment. */
enum remote_want { REMOTE_WANT_UP, REMOTE_WANT_DISABLED, REMOTE_WANT_GONE };

/* Who waits for a path; caller's memory, told once. `e` NULL: as wanted. */
struct remote_path_wait {
	struct list link;
	void (*done)(struct remote_path_wait *w, const struct err *e);
};

/* Which controller a life was one of; ciu 0: one that cannot be named. */
struct remote_instance {
	uint16_t cntlid;
	uint8_t ciu;
	uint64_t cirn;
};

/* A life that has ended and left something in limbo. */
struct remote_life {
	uint32_t life;
	uint64_t due_ns;                /* nothing of it can land any more */
	struct remote_instance who;
	struct remote_fence_ask *ask;   /* a controller is being asked to end it */
	uint32_t tried;                 /* bits: paths whose controllers will not, or say nothing */
	uint64_t look_ns;               /* not asked again before */
};

struct remote_path_ctl {
	struct remote_path *path;
	uint8_t want;                   /* enum remote_want */
	bool early;                     /* lanes were told of an attempt that is not up yet */
	uint64_t granted_ns;            /* when the attempt's time began to count */
	bool standing;                  /* a failed attempt is followed by another; else it was the only one */
	bool was_up, at_once;           /* at_once: the next attempt does not wait */
	bool ana_stale, ns_stale, ccr_stale, fw_stale; /* to be read again when what is being read has come */
	bool take_stale;                /* what is known may make disks now: one that was in the way has gone */
	uint64_t looked_ns;             /* when the last look began */
	struct timer look_soon;         /* what I/O was answered with asks for one, but not again and again */
	struct log_limit said;          /* losses and returns: a path that flaps does not fill the log */
	struct timer take;              /* the namespaces are being gone through, a few at a time */
	uint32_t take_at;
	uint32_t ns_count, usable_count; /* as of the last look */
	uint64_t unusable;              /* which cannot be used, a hash: what was said holds while it is the same */
	bool says_unusable;
	bool looking;                   /* namespaces or ANA states are being read; one at a time */
	bool reading;                   /* `log`, or `revision`, is out; its answer comes in any case */
	uint32_t look_round, log_round; /* what was read for a controller that has gone is of no use */
	void (*ana_done)(struct remote_path *p), (*ana_waits)(struct remote_path *p);
	bool fenced;                    /* the last life ended over a living admin queue: nothing can land now */
	bool hopeless;                  /* fast_io_fail passed, or there will be no attempt: not worth waiting for */
	uint32_t attempts;              /* since it was up last */
	uint64_t up_ns, down_ns;        /* when it came up; since when it is not (0: it is) */
	struct remote_turn turn;
	struct timer delay, expiry, limbo;
	struct list firsts, resets, offs, ends; /* remote_path_wait: next attempt's end; off; gone */
	struct remote_life lives[REMOTE_LIVES_MAX];
	uint32_t life_count;
	struct remote_instance who;     /* the controller that is, or was last, connected */
	struct timer fence;
	struct list asks;               /* remote_fence_ask: not answered yet */
	uint64_t ccr_sent, ccr_done, waited_out; /* lives: asked for; ended so; released when their time was over */
	bool replaying;
	uint32_t replaying_life;
	struct nvme_path *alternates;   /* failover: addresses that take their turn */
	uint32_t alternate_count;
	struct remote_wait unpublished;
	enum nvme_reason reason;
	uint64_t attempts_total, ups_total;
	struct timer ana;               /* the ANA log is being gone through, so many namespaces in a pass */
	uint32_t ana_group, ana_ns;     /* how far: so many groups, and of the next so many namespaces */
	uint32_t ana_at, ana_left;      /* in this pass: at which group; how many namespaces are left of it */
	struct nvme_log_read log;       /* the ANA log, the list of changed namespaces */
	struct nvme_revision_read revision;
	void *page;                     /* what it is read into */
	uint32_t page_len;
	uint8_t multipath;              /* enum remote_multipath: as it was attached */
	bool failed;                    /* what is being closed was an attempt that failed */
	bool ended, freeing;            /* told that it is gone; waits for cores to lose sight of it */
	bool limbo_over;                /* nothing hangs in limbo whatever the time: its disks are gone */
	uint16_t last_cntlid;
	bool had_static, asks_any;      /* any static controller will do: last_cntlid first, and each second time */
	uint32_t kato_ms, cqt_ms;       /* of the last controller */
	bool traffic_based;
	/* remote_keys.c */
	struct remote_rekey *rekey;     /* who waits for its proof; NULL: nobody, or none is on */
	bool proving, prove_again;      /* prove_again: keys changed when it was not up, or by a proof that was on */
	struct keyring_key **old_keys;  /* references that a controller and its queue pairs may still use */
	uint32_t old_key_count;
	bool disabled_too_soon;         /* it says so while commands still run: disabling it is no fence */
};

/* --- remote.c ------------------------------------------------------------------------------------------------ */

/* A group or a discovery service has gone: was that the last that remote_stop() waits for? */
void remote_look_stopped(struct remote *r);
void remote_forgot(struct remote *r);
void remote_opts_default(struct remote_opts *ret_opts);

/* --- remote_keys.c ----------------------------------------------------------------------------------------- */

/* Who waits until all paths that are up have proved themselves by new keys; caller's memory. */
struct remote_rekey {
	void (*done)(struct remote_rekey *w);
	struct err err;                 /* the first that failed; code 0: none */
	uint32_t left;
};
/* Other keys for all paths, from now on (NULL: none); those that are up prove themselves by them, and are lost, to come
 * back by their own rules, if they cannot. `w->done` runs once, maybe before this returns. Errors: one is being changed
 * already. */
int remote_group_set_keys(struct remote_group *g, struct keyring_key *key, struct keyring_key *ctrlr_key,
                          struct remote_rekey *w, struct err *e) MUST_USE;
/* The key of that name, a reference; NULL: none was named, or `e` says why not. An error that is there stays. */
struct keyring_key *remote_key_named(const struct remote *r, const char *param, const char *name, struct err *e);
/* References to what is in there; back, once. */
void remote_keys_take(const struct nvme_host_opts *h);
void remote_keys_give(struct nvme_host_opts *h);
/* Of remote_path.c: it came up; its controller is closed; it is freed. */
void remote_keys_up(struct remote_path *p);
void remote_keys_closed(struct remote_path *p);

/* --- remote_turns.c ---------------------------------------------------------------------------------------- */

void remote_turns_init(struct remote_turns *t, uint32_t max);
/* Ask; `granted` runs later. */
void remote_turn_take(struct remote_turns *t, struct remote_turn *turn, bool slow,
                      void (*granted)(struct remote_turn *t));
/* Given back, or not wanted any more; no effect when it has nothing. */
void remote_turn_give(struct remote_turns *t, struct remote_turn *turn);

/* --- remote_group.c ---------------------------------------------------------------------------------------- */

struct remote_group *remote_group_find(struct remote *r, const char *name);
struct remote_group *remote_group_make(struct remote *r, const char *name, const char *subnqn);
/* Something that cores see has changed. */
void remote_group_changed(struct remote_group *g);
/* `w->done` runs when what is true now is what every core sees. */
void remote_group_when_published(struct remote_group *g, struct remote_wait *w);
/* Unregister the disks, end the paths, free it. `w` may be NULL. */
void remote_group_leave(struct remote_group *g, struct remote_wait *w);
/* A path or a disk has gone: frees the group when that was the last. */
void remote_group_look(struct remote_group *g);
/* What a person wants of one namespace's disk; stays while that comes and goes. */
struct remote_wish {
	struct list link;
	uint32_t nsid, rr_min_io;
	bool policy_given;
	uint8_t policy, selector, preferred; /* preferred: path index; REMOTE_NO_PATH: none */
};
struct remote_wish *remote_wish_find(const struct remote_group *g, uint32_t nsid); /* NULL: none */
struct remote_wish *remote_wish_for(struct remote_group *g, uint32_t nsid);        /* made when there is none */
uint32_t remote_group_path_count(const struct remote_group *g); /* those that are going not counted */
const char *remote_policy_name(uint8_t policy);
const char *remote_selector_name(uint8_t selector);

/* --- remote_path.c ------------------------------------------------------------------------------------------ */

struct remote_path *remote_path_make(struct remote_group *g, const struct nvme_path *where,
                                     const struct remote_path_opts *opts, bool standing);
void remote_path_begin(struct remote_path *p);
/* Another address for the same path: they take turns. */
void remote_path_add_alternate(struct remote_path *p, const struct nvme_path *where);
void remote_path_remove_alternate(struct remote_path *p, uint32_t at);
void remote_path_drop_address(struct remote_path *p); /* the one in use; there is an alternate */
/* What kept a path that is gone may be over: a log page was read. */
void remote_path_look(struct remote_path *p);
/* The next attempt's end; at once when it is up. */
void remote_path_when_tried(struct remote_path *p, struct remote_path_wait *w);
void remote_path_reset(struct remote_path *p, struct remote_path_wait *w);
void remote_path_enable(struct remote_path *p, struct remote_path_wait *w);
void remote_path_disable(struct remote_path *p, struct remote_path_wait *w);
/* Ends with remote_path_free_now() by itself. `w` may be NULL: told when its connections are closed. */
void remote_path_leave(struct remote_path *p, struct remote_path_wait *w);
/* For remote_asked.c: what is wanted has changed; the times count from then, unless it was lost already; tell all. */
void remote_path_kick(struct remote_path *p, const char *why);
void remote_path_lost_since(struct remote_path *p, uint64_t when_ns);
void remote_path_tell(struct list *waits, const struct err *e);
/* Take back. */
void remote_path_unwait(struct remote_path_wait *w);
/* Is it worth waiting for? */
bool remote_path_may_come(const struct remote_path *p);
bool remote_path_going(const struct remote_path *p);
uint16_t remote_path_cntlid(const struct remote_path *p);
const char *remote_path_spdk_state(const struct remote_path *p); /* "enabled", "reconnect_is_delayed", ... */
/* What "name at address" is called in sentences and logs. */
const char *remote_path_text(const struct remote_path *p, char buf[static 512]);
/* remote_scan.c: the controller's namespaces and ANA states are known. */
void remote_path_scanned(struct remote_path *p);
/* It is asked for them, and answers in time or is lost; or has answered. */
#define REMOTE_LOOK_DEADLINE_S 10u /* until what is asked of a controller that is up was answered */
void remote_path_look_began(struct remote_path *p);
void remote_path_look_ended(struct remote_path *p);

/* --- remote_lives.c ---------------------------------------------------------------------------------------- */

/* The cores have let go of a life: what it left in limbo is released when that is safe. */
void remote_lives_ended(struct remote_path *p);
/* Release what is due, or all when limbo_over; a path that is gone goes on when nothing is left. */
void remote_lives_look(struct remote_path *p);

/* --- remote_fence.c ---------------------------------------------------------------------------------------- */

/* Ask for the end of what is in limbo, as far as somebody can be asked now. */
void remote_fence_look(struct remote_path *p);
void remote_fence_path_up(struct remote_path *via);
/* It is freed: what it has asked for concerns nobody any more. */
void remote_fence_forget(struct remote_path *p);
/* A controller says that a reset is over. */
void remote_fence_told(struct remote_path *via);

/* --- remote_scan.c ------------------------------------------------------------------------------------------- */

/* Read what a controller that has just come up has; remote_path_scanned() follows, maybe at once. */
void remote_scan_begin(struct remote_path *p);
void remote_path_fw_changed(struct remote_path *p); /* it may run other firmware now: look what */
void remote_scan_end(struct remote_path *p); /* the controller goes: no answer is waited for any more */
/* The path has gone: its disks lose it. */
void remote_scan_path_gone(struct remote_path *p);
struct remote_disk *remote_disk_of(const struct bdev *b); /* NULL: of another kind */
struct remote_disk *remote_disk_find(struct remote_group *g, uint32_t nsid);
void remote_disk_unregister(struct remote_disk *d);
extern const char remote_product[];

/* --- remote_resv.c: bdev_ops.resv ------------------------------------------------------------------------------ */

void remote_resv(struct bdev *b, struct resv_op *op);

/* --- remote_ana.c --------------------------------------------------------------------------------------------- */

/* Read the ANA log; `done` runs later with what was learned put into group->disks, or at once when there is none. */
void remote_ana_read(struct remote_path *p, void (*done)(struct remote_path *p));
void remote_ana_end(struct remote_path *p);
const char *remote_ana_name(uint8_t state); /* SPDK's: "optimized", ... */

/* --- remote_attach.c ------------------------------------------------------------------------------------------ */

enum remote_multipath { REMOTE_MULTIPATH, REMOTE_FAILOVER, REMOTE_SINGLE };

struct remote_attach_opts {
	const char *name;
	struct nvme_path where;
	struct remote_path_opts path;
	enum remote_multipath multipath;
	bool standing;                  /* it stays although the first attempt fails: a configuration is loaded */
	bool discovered;                /* by a discovery service, which saves it */
	bool policy_given;
	uint8_t policy, selector;
	uint32_t rr_min_io;
	uint32_t max_bdevs;
};
struct uuid remote_hostid(const struct nvme_path *where);
/* Errors: the name is taken, the path is there already, another subsystem. */
struct remote_path *remote_attach(struct remote *r, const struct remote_attach_opts *opts, struct err *e);

struct remote_detach_opts {
	const char *name;
	struct nvme_path where;         /* empty fields: any */
	bool has_adrfam;
};
/* All paths that match, and the group with its last. `w->done` when their connections are closed and, with the last,
 * the disks are gone. Errors: -ENODEV. */
int remote_detach(struct remote *r, const struct remote_detach_opts *opts, struct remote_wait *w,
                  struct err *e) MUST_USE;
/* SPDK's rules between the three; `given` in sentences. */
int remote_check_times(int32_t loss, uint32_t delay, uint32_t fast_fail, struct err *e) MUST_USE;

/* --- remote_discovery.c --------------------------------------------------------------------------------------- */

#define REMOTE_REFERRALS_MAX 16u

/*   state        meaning */
#define REMOTE_DISCOVERY_STATES(X) \
	X(CONNECTING, "connects to the discovery controller") \
	X(READING,    "reads the log") \
	X(WATCHING,   "waits to be told of a change") \
	X(CLOSING,    "the connection is closed") \
	X(DELAY,      "waits before it connects again")
#define REMOTE_DISCOVERY_STATE_ENUM(id, text) REMOTE_DISCOVERY_##id,
enum remote_discovery_state { REMOTE_DISCOVERY_STATES(REMOTE_DISCOVERY_STATE_ENUM) };

struct remote_discovery_wait {
	void (*done)(struct remote_discovery_wait *w, const struct err *e);
};

/* One entry of the log, attached as a path of the group `name`. */
struct remote_found {
	struct list link;
	struct remote_discovery *of;
	struct nvme_path where;
	uint32_t hash;                  /* of where */
	char name[128];
	bool listed, waits;             /* waits: `tried` is out */
	bool secured;                   /* over TLS */
	uint16_t cntlid;                /* of a static controller; NVME_CNTLID_STATIC_ANY, _DYNAMIC */
	struct remote_path_wait tried;
};

struct remote_discovery {
	struct list link;               /* in remote->discoveries */
	struct remote *remote;
	char name[128];
	struct nvme_path where;
	struct remote_path_opts path;   /* of what is attached; host: of the discovery controller too */
	uint8_t state;                  /* enum remote_discovery_state */
	bool wait_for_attach, standing;
	bool stale, stopping, ended, deadline_given;
	struct nvme_ctrlr *ctrlr;
	struct nvme_discovery log;
	bool taking;                    /* the log has been read, and is being gone through */
	struct timer take;
	uint32_t take_at;
	struct list found;              /* remote_found.link */
	struct nvme_path referrals[REMOTE_REFERRALS_MAX];
	uint32_t referral_count, next_number, attempts, attaching, detaching;
	struct timer delay, deadline;
	struct err err, attach_err;     /* why it is not connected; the first attach that failed */
	struct remote_discovery_wait *starter, *stopper;
	struct msg freed_msg;
};

struct remote_discovery_opts {
	const char *name;
	struct nvme_path where;
	struct remote_path_opts path;
	bool wait_for_attach, standing;
};
struct remote_discovery *remote_discovery_find(struct remote *r, const char *name);
/* Errors: the name or the place is taken. */
struct remote_discovery *remote_discovery_start(struct remote *r, const struct remote_discovery_opts *o, struct err *e);
/* `w` is told once when all that the first log lists has been attached; or that it cannot: at the time-out, or
 * without one (0) at the first thing that fails. Right after starting. */
void remote_discovery_when_started(struct remote_discovery *d, uint64_t timeout_ms, struct remote_discovery_wait *w);
/* Detach what it found, and end. Once. `w` may be NULL. */
void remote_discovery_stop(struct remote_discovery *d, struct remote_discovery_wait *w);
const char *remote_discovery_state_name(const struct remote_discovery *d);

#endif
