/* SPDX-License-Identifier: BSD-3-Clause */
/* target.h: the target's insides (private to nvmf): per-core part, controllers, commands.
 *
 * Who owns what:
 *   control reactor   configuration, portals, rosters; which controllers exist and which queues they have (seats)
 *   admin queue's core  the rest of a controller: properties, features, events, keep-alive timer
 *   any core          its queue pairs and their requests
 * A seat is a queue pair's place in its controller, made by the control reactor at Connect and freed by it after the
 * queue pair said goodbye. Whoever wants something from a queue pair on another core sends its seat mail; mail
 * follows the queue pair when it moves.
 */
#ifndef NVMF_TARGET_H
#define NVMF_TARGET_H

#include <errno.h>

#include "base/text.h"
#include "core/log.h"
#include "core/sched.h"
#include "core/waits.h"
#include "core/seq.h"
#include "core/watch.h"
#include "bdev/reservation.h"
#include "nvmf/config.h"
#include "nvmf/stages.h"

#define NVMF_AERS_MAX 4u          /* AERL + 1 */
#define NVMF_ABORTS_MAX 4u        /* ACL + 1 */
#define NVMF_ERRORS_MAX 64u       /* ELPE + 1 */
#define NVMF_CHANGED_NS_MAX 1024u
#define NVMF_RESV_LOG_MAX 64u         /* reservation notifications that were not read */
#define NVMF_RESV_NOTES_MAX 256u      /* ... on their way to a controller, at once */
#define NVMF_CCR_LIMIT 4u             /* CCRL: cross-controller resets one controller may have in progress */
#define NVMF_CCR_LIMIT_MAX 16u
#define NVMF_CCR_LOG_MAX 32u          /* ... and that its host has not read about, together */
#define NVMF_GONE_MAX 256u            /* controllers of a subsystem that are gone and still known to have been */
#define NVMF_CQT_MS 5000u             /* CQT: what devices may need to end what they have in hand */
#define NVMF_KAS_MS 1000u         /* keep-alive granularity; KAS counts 100 ms */
#define NVMF_DISCOVERY_KATO_MS 120000u
#define NVMF_ASSOCIATION_MS 120000u   /* a disabled controller's connections are kept this long */
#define NVMF_VS NVME_VERSION(2, 0, 0)
#define NVMF_READY_500MS 20u      /* CAP.TO, CRTO: 10 s: a reset waits for I/O of the past to end */
#define NVMF_TEMPERATURE_WARNING 0x0157 /* Kelvin: the standard's recommendation */
#define NVMF_FIRMWARE "0.1"
#define NVMF_NODATA_SHIFT 25u         /* VSL, WZSL: 32 MiB, 65,536 blocks of 512 bytes: more a command cannot name */
#define NVMF_COPY_RANGES_MAX 256u     /* MSRC + 1 */
#define NVMF_COPY_BLOCKS_MAX 65535u   /* MSSRL: of one range */
#define NVMF_COPY_BLOCKS_ALL (NVMF_COPY_BLOCKS_MAX * NVMF_COPY_RANGES_MAX) /* MCL */
#define NVMF_COPY_FORMATS (1u << 0 | 1u << 2) /* OCFS: formats of source ranges */

/* Fused pairs: the last command of a queue was ... */
enum nvmf_fused { NVMF_FUSED_NONE, NVMF_FUSED_HALF /* a first half */, NVMF_FUSED_REFUSED /* one that failed */ };
#define NVMF_FUSED_SLOTS 16u
struct nvmf_fused_slot {
	struct nvmf_fused_slot *next;     /* free ones */
	struct iovec iovs[2 * MEM_IOV_MAX];
};

/* --- per core ------------------------------------------------------------------------------------------ */

struct nvmf_core {
	CACHE_ALIGNED struct nvmf_target *target;
	uint32_t index;
	struct nvmf_subsystem **subs;     /* by id, as this core's version has them */
	struct nvmf_config *config;       /* the version itself */
	struct list qpairs;
	struct list awaits;               /* for commands that end: await.c */
	struct list logs;                 /* struct nvmf_ctrlr.log_link: that keep a discovery log, the oldest first ... */
	size_t log_bytes;                 /* ... together: discovery.c */
	uint64_t last_qpair_id;
	struct queue done;                /* struct nvmf_req.done_link: answers that are ready */
	struct defer done_defer;
	struct watch watch;
	bool watching;
	struct log_limit complaints;      /* about hosts */
	struct flight flight;
	struct stage_hosts hosts;         /* what queue pairs that ended had counted */
	struct stage_errors errors;
	struct nvmf_fused_slot *fused_slots, *fused_free; /* made when first needed */
	struct queue fused_waiting;       /* of second halves, by done_link: for one of them */
	/* Accounts: written by the core, read by anyone: nvmf_count(). */
	uint64_t admin_qpairs, io_qpairs, completed_io, completed_admin;
	_Atomic uint32_t current_admin_qpairs, current_io_qpairs;
};

static inline void nvmf_count(uint64_t *v)
{
	__atomic_store_n(v, __atomic_load_n(v, __ATOMIC_RELAXED) + 1, __ATOMIC_RELAXED);
}
static inline uint64_t nvmf_counted(const uint64_t *v) { return __atomic_load_n(v, __ATOMIC_RELAXED); }

/* --- the target: control reactor -------------------------------------------------------------------------- */

/* An address a transport listens on, for one or more subsystems. */
struct nvmf_portal {
	struct list link;
	struct nvmf_transport *transport;
	struct net_addr addr;
	bool secure, concat;
	uint32_t refs;
};

/* The controllers of one subsystem. */
struct nvmf_roster {
	struct list ctrlrs;               /* struct nvmf_ctrlr.link */
	uint32_t count;
	uint16_t next_cntlid;
	uint64_t *had_static;             /* [cntlid - min_cntlid]: hash of the host that last had a static controller */
	uint32_t saving;                  /* features of static controllers, by their hosts: on the way */
	uint32_t refs;                    /* subsystem versions, and controllers */
	bool discovery;
	struct list waiters;              /* struct nvmf_roster_wait: until nobody they look for is left */
	struct nvmf_gone *gone;           /* [NVMF_GONE_MAX], round and round; made when first needed */
	uint32_t gone_next;
};
struct nvmf_gone {
	uint64_t cirn;
	uint16_t cntlid;
	uint8_t ciu;
};
struct nvmf_roster_wait {
	struct list link;
	bool (*matches)(struct nvmf_roster_wait *w, struct nvmf_ctrlr *c);
	void (*fn)(struct nvmf_roster_wait *w);
};

/* Only listeners that are like where the host came in are in its discovery log: in these. */
enum { NVMF_FILTER_TRANSPORT = 1, NVMF_FILTER_ADDRESS = 2, NVMF_FILTER_SVCID = 4 };
/* A host (its NQN and id) that has a controller in a subsystem asks for another one. */
enum nvmf_dup_hosts {
	NVMF_DUP_ALLOW,
	NVMF_DUP_PER_LISTENER,            /* one by each listener */
	NVMF_DUP_REFUSE,
	NVMF_DUP_REPLACE,                 /* the older ones go, when the new one is enabled: it has proved who it is */
};

struct nvmf_target {
	struct core *core;
	struct bdev_registry *reg;
	struct version_slot slot;
	struct nvmf_config *config;       /* control's: what was published last */
	struct version_publish first;
	struct nvmf_core *cores;          /* by reactor_index() */
	uint32_t core_count;
	struct sched_place place;              /* of connections that are I/O queues, or may become one */
	bool place_mask_set;              /* over RPC: to be saved */
	struct sched_mover mover;
	uint32_t moves_out;               /* struct nvmf_move */
	const struct nvmf_transport_ops *offered[NVMF_KINDS_MAX];
	struct list transports, portals;
	struct list changes;              /* struct nvmf_change: waiting for their turn */
	struct nvmf_change *changing;     /* the one that builds now (change.c) */
	struct msg changes_msg;
	bool changes_msg_out;
	uint32_t changes_out;             /* not done yet */
	struct list transitions;          /* of ANA states that are on their way (change_access.c) */
	uint32_t ns_alive, ctrlrs_alive, transports_alive;
	uint32_t ns_going;                /* of those alive: their devices go */
	struct resv_listener resv_listener;
	struct log_limit complaints;      /* about hosts */
	uint64_t stamps;                  /* of subsystems */
	void (*discovery_changed)(void *arg); /* its listeners */
	void *discovery_changed_arg;
	void (*ns_gone)(void *arg, const struct nvmf_subsystem *s, const struct nvmf_ns *ns);
	void *ns_gone_arg;
	void (*host_changed)(void *arg);
	void *host_changed_arg;
	uint32_t configs_old;             /* versions that are still being left */
	uint32_t subsystems_max;
	uint32_t ctrlrs_of[NVMF_SUBSYSTEMS_MAX]; /* [id]: while some are left nobody else gets the place */
	/* Connected queue pairs, and controllers (ctrlrs_alive): so many at most (0: as memory allows), refused beyond. */
	uint32_t conns, conns_max, conns_refused, ctrlrs_max, ctrlrs_refused;
	bool limits_set;                  /* over RPC: to be saved */
	bool subsystems_max_set, config_set; /* over RPC: to be saved */
	uint8_t discovery_filters;        /* NVMF_FILTER_*: before connections are made, as the next one */
	uint8_t dup_hosts;                /* enum nvmf_dup_hosts */
	struct flights flights;
	uint16_t crdt[3];                 /* command retry delays: 100 ms */
	_Atomic uint8_t ccr_limit;        /* 0: no cross-controller resets */
	_Atomic uint16_t cqt_ms;
	bool failover_set;                /* both over RPC: to be saved */
	uint64_t ccr_begun, ccr_done, ccr_failed;
	uint32_t auth_hashes, auth_groups; /* permitted: bits, before connections are made */
	bool auth_hashes_set, auth_groups_set; /* over RPC: to be saved */
	struct keyring *keyring;          /* NULL: there is none */
	struct list auth_waiting, auth_working; /* struct nvmf_auth: for its turn to be worked for; that has it */
	uint32_t auth_jobs;               /* as many */
	struct list generated;            /* struct nvmf_generated: keys of TLS, newest last (secure.c) */
	uint32_t generated_count;
	uint64_t host_serial;             /* the last one's: struct nvmf_host */
	uint64_t tls_results[NVMF_TLS_RESULT_COUNT]; /* handshakes by how they ended: nvmf_count() */
	/* stopping (target.c) */
	bool stopping;
	struct seq stop;
	const uint32_t *stop_waits_for;   /* for this count to become 0 */
	struct msg stop_msg;
	bool stop_msg_out;
	struct version_publish last;
	struct each stop_each;
	void (*stopped)(void *arg);
	void *stopped_arg;
};

/* A count that stopping may wait for went down. */
void nvmf_target_less(struct nvmf_target *t, uint32_t *count);
struct nvmf_transport *nvmf_target_transport(const struct nvmf_target *t, const char *trtype); /* any case; NULL */
/* Listeners come and go: the first and last one of an address reach the transport. */
int nvmf_portal_take(struct nvmf_target *t, const struct nvmf_listener *l, struct err *e);
void nvmf_portal_give(struct nvmf_target *t, struct nvmf_transport *tr, const struct net_addr *addr);

/* place.c */
void nvmf_place_init(struct nvmf_target *t);
void nvmf_place_stop(struct nvmf_target *t, void (*done)(void *arg), void *arg);
uint64_t nvmf_place_id(struct nvmf_core *nc);                              /* for a new qpair */

/* A device said that it goes away, or has another size. */
void nvmf_change_ns_gone(struct nvmf_ns *ns);
void nvmf_change_ns_resized(struct nvmf_ns *ns);
void nvmf_awaits_look(struct nvmf_core *nc);                               /* one that was waited for ended */
void nvmf_transitions_drop(struct nvmf_target *t);                         /* they will not end any more */

/* --- controllers --------------------------------------------------------------------------------------------- */

/* What a mail asks for. */
#define NVMF_MAIL_DISCONNECT 1u
#define NVMF_MAIL_CONFIG 2u           /* admin queue: compare the configuration with what the host was told */
#define NVMF_MAIL_RESV 4u             /* admin queue: something happened to reservations */
#define NVMF_MAIL_CCR 8u              /* admin queue: a cross-controller reset of its host's has ended */
#define NVMF_MAIL_HEALTH 16u          /* admin queue: a device lost data */
#define NVMF_MAIL_NSSR 32u            /* admin queue: the subsystem is reset */
#define NVMF_MAIL_PREEMPTED 64u       /* I/O queue: its host lost namespaces to a PREEMPT AND ABORT */

/* An event of a reservation, on its way to a controller and in its log. */
struct nvmf_resv_note {
	struct nvmf_resv_note *next;
	uint32_t nsid;
	uint8_t type;                     /* NVME_RESV_NOTIFY_* */
};
struct nvmf_resv_entry {
	uint64_t number;
	uint32_t nsid;
	uint8_t type;
};

struct nvmf_seat {
	struct nvmf_ctrlr *ctrlr;
	uint16_t qid;
	uint32_t epoch;                   /* of the lease, when the queue pair was let in */
	uint16_t size;
	struct net_addr local, peer;
	uint8_t tls_hash;                 /* enum tls_hash; 0: not secured */
	char *tls_identity;               /* control's */
	_Atomic uint32_t auth;            /* written at home: 1, state, hash, group, a byte each; 0: never asked for */
	struct carry_home home;           /* where qp lives */
	struct nvmf_qpair *qp;            /* home's; NULL when it is gone */
	/* control */
	struct list link;
	bool gone, mail_out;
	uint32_t mail_bits, mail_now;     /* to be sent; being read at home */
	struct nvmf_resv_note *notes_now; /* with the mail */
	struct nvmf_resv_note *preempted, *preempted_now; /* an I/O queue's: namespaces; not sent yet, with the mail */
	uint32_t pins;                    /* others' messages that are on their way through it */
	bool moving;                      /* somebody moves it by hand */
	struct msg mail, gone_msg;
};

struct nvmf_stamp {
	CACHE_ALIGNED _Atomic uint64_t ns;
};

/* An Abort on its way to the command's core, waiting there for how that ends, and on its way back. */
struct nvmf_abort {
	struct nvmf_ctrlr *ctrlr;
	struct nvmf_req *req;             /* the Abort command; NULL: free */
	struct nvmf_seat *seat;           /* of another queue; NULL: the admin queue's own */
	uint16_t sqid, cid;
	bool aborted;
	struct nvmf_qpair *qp;            /* on which it waits; NULL: it does not */
	struct nvmf_req *victim;          /* its device was asked */
	struct nvmf_abort *next;          /* of the queue pair */
	struct timer timer;
	struct msg msg;
};

/* What a host said it can do: feature Host Behavior Support. */
struct nvmf_behavior {
	_Atomic uint8_t acre, etdas, lbafee, hdisns;
};

/* What SMART tells of a controller's queues that are gone; their cores add. */
struct nvmf_smart_sum {
	_Atomic uint64_t ios[2], bytes[2], busy_ns;
};

/* An entry of the error log, written by any core: whole when `number` is the same before and after it was read. */
struct nvmf_error {
	_Atomic uint64_t number;
	_Atomic uint64_t words[sizeof(struct nvme_error_log_page) / 8];
};

struct nvmf_ctrlr {
	/* Constant once made; any core. */
	struct nvmf_target *target;
	struct nvmf_transport *transport;
	struct nvmf_roster *roster;
	uint32_t sub_id;
	uint16_t cntlid;
	bool discovery;
	bool nssr;                        /* a host may reset the subsystem */
	bool is_static;
	uint16_t io_queues_max;
	struct bdev_initiator who;        /* host NQN and id */
	char nqn[NVMF_NQN_MAX + 1];       /* of its subsystem */
	struct net_addr listen_addr;      /* where its admin queue came in */
	struct nvmf_stamp *seen;          /* by qid: last traffic */
	/* Written on the admin queue's core, read by any. */
	_Atomic bool ready;               /* I/O and most admin commands are let through */
	_Atomic bool write_through;       /* the host switched volatile write caches off */
	_Atomic uint32_t cc;
	_Atomic uint32_t io_queues;       /* granted by Number of Queues; I/O qids beyond are refused */
	_Atomic uint16_t copy_formats;    /* CDFE: those beyond 1 that the host knows */
	struct bdev_lease lease;
	_Atomic uint8_t ciu;              /* which instance it is; written by control */
	_Atomic uint64_t cirn;
	_Atomic uint64_t ccr_log[NVMF_CCR_LOG_MAX]; /* struct nvme_ccr_log_entry; 0: none */

	/* control */
	struct list link, seats;
	uint32_t seat_count;
	bool dying;                       /* no more queues; all of its own are told to go */
	bool resetting;                   /* I/O queues are told to go; waits for them and for the lease */
	bool revoking;                    /* the lease */
	bool unborn;                      /* no seat yet */
	_Atomic bool arrived;             /* people were told: its host is who it says it is, as far as that is asked */
	struct nvmf_seat **seat_by_qid;
	struct bdev_lease_revoke revoke;
	struct timer quiesce;             /* that lasts longer than CQT promises */
	struct list ccrs, ccr_waits;      /* struct nvmf_ccr: that its host asked for; that wait for its own end */
	struct msg control_msg, home_msg; /* a reset's way there and back */
	struct msg replace_msg;           /* the same, to replace older controllers of its host */
	uint64_t connected_us;
	struct nvmf_resv_note *resv_notes; /* not sent yet, newest first */
	uint32_t resv_note_count;

	/* the admin queue's core */
	struct nvmf_seat *admin_seat;     /* its home is this controller's */
	struct nvmf_qpair *admin_qp;
	uint32_t csts;
	bool replaces;                    /* ... once it is enabled */
	bool resetting_here, shutting_down; /* a reset is on its way; why */
	bool association_ends;            /* disabled or shut down: the timer counts NVMF_ASSOCIATION_MS */
	uint32_t kato_ms, kato_connect_ms;
	struct timer kato;
	uint32_t aer_config, aer_default; /* Asynchronous Event Configuration */
	uint32_t aer_masked;              /* bit per kind of event: told, not read yet */
	uint32_t aer_pending;             /* bit per kind: no request was waiting */
	struct nvmf_req *aers[NVMF_AERS_MAX];
	uint32_t aer_count;
	uint64_t change_seen, genctr_seen;
	struct nvmf_discovery_log *discovery_log; /* the page that is being read; NULL: none */
	size_t discovery_log_len;
	struct list log_link;             /* the core's list, while there is one */
	uint8_t discovery_log_lsp;
	uint64_t *seen_ns;                /* [nsid - 1]: bits: what the host was told that there is */
	uint32_t *changed_ns;             /* list for the log page; made when needed */
	uint32_t changed_ns_count;
	bool changed_ns_all;
	struct nvmf_resv_entry *resv_log; /* a ring; made when needed */
	uint32_t resv_log_from, resv_log_count;
	uint64_t resv_log_pages;          /* there ever were */
	uint8_t *resv_mask;               /* [nsid - 1]: 1 << type; NULL: nothing is masked */
	uint32_t resv_mask_count;
	struct nvmf_abort aborts[NVMF_ABORTS_MAX];
	uint32_t arbitration, power, error_recovery, write_atomic;
	uint16_t *tler;                   /* [nsid - 1]: error recovery of namespaces; made when needed */
	uint32_t tler_count;
	uint16_t temp_over, temp_under;
	struct nvmf_saved saved;
	uint64_t timestamp_ms, timestamp_from_ns;
	bool timestamp_set;
	bool reset_by_nssr;
	struct nvmf_req *nssr_req;        /* on its way to control and back, by the message */
	struct msg nssr_msg;
	uint8_t critical_warning;         /* as the host may have been told of it */
	uint64_t smart_told[2][2], busy_told_ns; /* never less than before */
	struct nvmf_behavior behavior;    /* read by any core */
	struct nvmf_smart_sum smart;
	_Atomic uint64_t media_errors;    /* counted by any core */
	_Atomic bool degraded;            /* a device failed, or lost data; any core */
	/* Any core: errors of the last commands that failed (error_log.c). */
	_Atomic uint64_t error_count;
	struct nvmf_error errors[NVMF_ERRORS_MAX];
};

/* ctrlr.c: the admin queue's core */
void nvmf_ctrlr_begin(struct nvmf_ctrlr *c, struct nvmf_qpair *admin_qp);   /* Connect was answered */
void nvmf_ctrlr_end(struct nvmf_ctrlr *c);                                 /* the admin queue closes */
void nvmf_ctrlr_move(struct nvmf_ctrlr *c, bool leaving);                  /* before and after its queue moves */
bool nvmf_ctrlr_set_cc(struct nvmf_ctrlr *c, uint32_t cc);                 /* false: not a value CC can have */
void nvmf_ctrlr_set_kato(struct nvmf_ctrlr *c, uint32_t kato_ms);
/* As long as a transport counts it; 0: none. */
uint32_t nvmf_kato_of(const struct nvmf_transport_opts *opts, uint32_t kato_ms);
static inline uint16_t nvmf_kas(const struct nvmf_transport_opts *opts)
{
	return opts->kas ? opts->kas : NVMF_KAS_MS / 100;
}
void nvmf_ctrlr_look(struct nvmf_ctrlr *c);                                /* NVMF_MAIL_CONFIG */
void nvmf_ctrlr_reset_done(struct msg *m);
void nvmf_ctrlr_replaced(struct msg *m);
/* aer.c */
enum nvmf_event {
	NVMF_EVENT_NS_CHANGED, NVMF_EVENT_ANA, NVMF_EVENT_DISCOVERY, NVMF_EVENT_RESERVATION, NVMF_EVENT_CCR,
	NVMF_EVENT_HEALTH,
	NVMF_EVENT_COUNT
};
/* OAES, and all that Asynchronous Event Configuration may ask for. */
uint32_t nvmf_events_offered(const struct nvmf_ctrlr *c, const struct nvmf_subsystem *s);
uint32_t nvmf_events_known(const struct nvmf_ctrlr *c, const struct nvmf_subsystem *s);
/* What may be saved of it: with cross-controller resets, which can be switched off and on (nvmf_set_failover). */
uint32_t nvmf_events_saveable(const struct nvmf_subsystem *s);
void nvmf_event_raise(struct nvmf_ctrlr *c, enum nvmf_event ev);
void nvmf_event_read(struct nvmf_ctrlr *c, enum nvmf_event ev);            /* its log page was read */
void nvmf_aer_run(struct nvmf_req *req);
bool nvmf_aer_take(struct nvmf_ctrlr *c, struct nvmf_req *req);            /* off the list; false: not on it */
void nvmf_aer_drop_all(struct nvmf_ctrlr *c);
/* ana.c */
uint16_t nvmf_ana_status(const struct nvmf_ctrlr *c, const struct nvmf_subsystem *s, uint32_t nsid);
bool nvmf_ana_reached(const struct nvmf_ctrlr *c, const struct nvmf_subsystem *s, uint32_t nsid);
/* Which namespaces a queue pair may use, as of a version of its subsystem. */
struct nvmf_reach {
	uint64_t stamp;                   /* the version's */
	uint32_t words;
	uint64_t bits[];                  /* [nsid - 1] */
};
void nvmf_reach_look(struct nvmf_qpair *qp, const struct nvmf_subsystem *s);
static inline bool nvmf_reaches(const struct nvmf_qpair *qp, const struct nvmf_subsystem *s, uint32_t nsid)
{
	const struct nvmf_reach *r = qp->reach;

	return r && r->stamp == s->stamp && (r->bits[(nsid - 1) / 64] >> (nsid - 1) % 64 & 1);
}
bool nvmf_ana_changed(const struct nvmf_ctrlr *c, const struct nvmf_subsystem *s);
void *nvmf_ana_log_make(const struct nvmf_ctrlr *c, const struct nvmf_subsystem *s, bool groups_only, size_t *ret_len);
/* resv.c */
void nvmf_resv_init(struct nvmf_target *t);                                /* control */
void nvmf_resv_fini(struct nvmf_target *t);
void nvmf_resv_ctrlr_fini(struct nvmf_ctrlr *c);                           /* control, when nothing else has it */
void nvmf_resv_noted(struct nvmf_ctrlr *c, struct nvmf_resv_note *notes);  /* frees them; c NULL: nobody reads them */
void nvmf_resv_notes_free(struct nvmf_resv_note *notes);
/* What it has under way on these namespaces is aborted. */
void nvmf_qpair_preempted(struct nvmf_qpair *qp, const struct nvmf_resv_note *notes);
void nvmf_resv_log_make(struct nvmf_ctrlr *c, struct nvme_resv_notification_log *page);
bool nvmf_resv_log_read(struct nvmf_ctrlr *c);                             /* true: that was the last page */
void nvmf_resv_reset(struct nvmf_ctrlr *c);
uint16_t nvmf_resv_mask_set(struct nvmf_req *req, uint32_t mask);
uint16_t nvmf_resv_mask_get(struct nvmf_req *req, uint32_t *ret_mask);
uint16_t nvmf_resv_persist_get(struct nvmf_req *req, uint32_t *ret_value);
void nvmf_resv_persist_set(struct nvmf_req *req, uint32_t value);          /* answers, later */
bool nvmf_resv_register_parse(struct nvmf_req *req);
void nvmf_resv_register_run(struct nvmf_req *req);
bool nvmf_resv_report_parse(struct nvmf_req *req);
void nvmf_resv_report_run(struct nvmf_req *req);
bool nvmf_resv_acquire_parse(struct nvmf_req *req);
void nvmf_resv_acquire_run(struct nvmf_req *req);
bool nvmf_resv_release_parse(struct nvmf_req *req);
void nvmf_resv_release_run(struct nvmf_req *req);
/* ccr.c: cross-controller resets */
void nvmf_ccr_init(struct nvmf_ctrlr *c);                                  /* control, these four */
void nvmf_ccr_renew(struct nvmf_ctrlr *c);                                 /* it was reset: another instance */
void nvmf_ccr_look(struct nvmf_ctrlr *c);                                  /* its lease may have been revoked */
void nvmf_ccr_fini(struct nvmf_ctrlr *c);
/* `page`: of a log page's largest size, zeroed. Returns how much of it there is. */
size_t nvmf_ccr_log_make(struct nvmf_ctrlr *c, struct nvme_ccr_log *page, bool remove);
void nvmf_ccr_reset(struct nvmf_ctrlr *c);
bool nvmf_ccr_parse(struct nvmf_req *req);
void nvmf_ccr_run(struct nvmf_req *req);
/* error_log.c */
void nvmf_error_add(struct nvmf_req *req);                                 /* its status is set; a delay may be added */
/* Before the command is refused: the byte, and bit in it, of the command that is wrong. */
void nvmf_error_at(struct nvmf_req *req, size_t byte, uint32_t bit);
/* smart.c */
uint8_t nvmf_critical_warning(const struct nvmf_ctrlr *c);
void nvmf_health_look(struct nvmf_ctrlr *c, const struct nvmf_subsystem *s);
void nvmf_smart_close(struct nvmf_qpair *qp, const struct stage_counts *counts); /* its core */
bool nvmf_smart_parse(struct nvmf_req *req);
void nvmf_smart_run(struct nvmf_req *req);                                 /* answers, later */
/* protect.c */
bool nvmf_protect_offered(const struct nvmf_target *t);
uint16_t nvmf_protect_check(const struct nvmf_req *req);
uint16_t nvmf_protect_get(struct nvmf_req *req, uint32_t *ret_value);
void nvmf_protect_set(struct nvmf_req *req, uint32_t value);               /* answers, later */
/* static.c: control: which static controller a host gets that asks for `wanted`; its id, or the status and whether
 * that means the field. */
struct nvmf_static_wish {
	uint16_t wanted, cntlid;
	const char *host_nqn;
	const uint8_t *host_id;
	bool replaces; /* it may have what it has already: the older one goes once the newer one is enabled */
	bool bad_field;
};
#define NVMF_STATIC_COPIES_MAX 8u /* of one controller, at once: who says a host's name has to end somewhere */
/* A bit for each that has a host, from min_cntlid on. */
void nvmf_static_taken(const struct nvmf_subsystem *s, uint64_t taken[static NVMF_STATICS_MAX / 64]);
uint16_t nvmf_static_choose(const struct nvmf_subsystem *s, struct nvmf_static_wish *w);
/* The admin queue's core: is what hosts save of this controller kept? And keep it: answers, later. */
bool nvmf_static_saves(const struct nvmf_ctrlr *c);
void nvmf_static_save(struct nvmf_req *req, enum nvmf_saved_feature feature, uint32_t value);
extern const char *const nvmf_saved_names[NVMF_SAVED_COUNT + 1];
extern const uint32_t nvmf_saved_max[NVMF_SAVED_COUNT];
/* write_cache.c */
void nvmf_write_cache_set(struct nvmf_req *req, uint32_t value);           /* answers, later */
/* abort.c */
void nvmf_abort_victim_done(struct nvmf_req *req);                         /* some Abort waits on its queue pair */
/* Newest first; returns how many. */
uint32_t nvmf_error_list(struct nvmf_ctrlr *c, struct nvme_error_log_page *ret_entries, uint32_t max);

/* --- the register: control reactor (registry.c) ----------------------------------------------------------------- */

struct nvmf_roster *nvmf_roster_make(struct nvmf_target *t, bool discovery);
void nvmf_roster_unref(struct nvmf_target *t, struct nvmf_roster *r);
/* Tell every controller that matches to go. */
void nvmf_roster_disconnect(struct nvmf_roster *r, struct nvmf_roster_wait *w);
/* fn runs, now or later, when no controller that matches is left. */
void nvmf_roster_wait_gone(struct nvmf_roster *r, struct nvmf_roster_wait *w);
void nvmf_ctrlr_disconnect(struct nvmf_ctrlr *c);
void nvmf_seat_tell(struct nvmf_seat *s, uint32_t bits);
/* From a queue pair's core: mail for the queue pair itself (NVMF_MAIL_DISCONNECT), or else its admin queue. */
void nvmf_qpair_mail(struct nvmf_qpair *qp, uint32_t bits);
void nvmf_roster_tell(struct nvmf_roster *r, uint32_t bits);               /* every admin queue */
void nvmf_seat_leave(struct nvmf_seat *s);                                 /* home: the qpair is gone */
/* A message through a seat reached a core: the right one, and the queue pair is there, or gone? If not, it follows. */
static inline bool nvmf_seat_here(struct nvmf_seat *s, struct msg *m, msg_fn *fn)
{
	return carry_met(&s->home, m, fn);
}
void nvmf_seat_unpin(struct nvmf_seat *s);                                 /* after pins++ */
void nvmf_ctrlr_reset_on_control(struct msg *m);
void nvmf_ctrlr_replace_on_control(struct msg *m);
/* Its host is in: people are told, once. Any core. */
void nvmf_ctrlr_arrived(struct nvmf_ctrlr *c);
/* `cntlid`: of a static controller; 0: any that is free. NULL: none is. */
struct nvmf_ctrlr *nvmf_ctrlr_make(struct nvmf_subsystem *s, struct nvmf_qpair *qp, const struct net_addr *local,
                                   uint16_t cntlid);
struct nvmf_seat *nvmf_seat_make(struct nvmf_ctrlr *c, struct nvmf_qpair *qp, uint16_t qid);

/* --- authentication (auth.c): the queue pair's core --------------------------------------------------- */

bool nvmf_auth_is_open(const struct nvmf_seat *seat);                      /* begun and not given; any core */
void nvmf_auth_require(struct nvmf_qpair *qp);                             /* it is connected, and not served before */
void nvmf_auth_stop(struct nvmf_qpair *qp);                                /* it closes */
void nvmf_auth_free(struct nvmf_qpair *qp);
void nvmf_auth_move(struct nvmf_qpair *qp, bool leaving);
bool nvmf_auth_parse(struct nvmf_req *req);
void nvmf_auth_send_run(struct nvmf_req *req);
void nvmf_auth_receive_run(struct nvmf_req *req);

/* --- TLS (secure.c): control -------------------------------------------------------------------------- */

/* Who has shaken hands as `identity` (NULL: nobody), by the key of the entry `serial`, may be that host of that
 * subsystem. False, and why not. */
bool nvmf_tls_allows(struct nvmf_target *t, const struct nvmf_subsystem *s, const char *host_nqn, const char *identity,
                     uint64_t serial, struct err *e);
bool nvmf_tls_is_generated(const char *identity);
/* A key that a proof generated. Any core. */
void nvmf_tls_keep(struct nvmf_target *t, const char *host_nqn, const char *nqn, const struct tls_psk *psk);
/* After a change: those whose hosts prove nothing any more, and those of a host whose secret is another now (NULL:
 * none). Otherwise who had the old secret would have a key for as long as the daemon runs. */
void nvmf_tls_forget(struct nvmf_target *t, const char *host_nqn, const char *nqn);
void nvmf_tls_init(struct nvmf_target *t);
void nvmf_tls_fini(struct nvmf_target *t);
const char *nvmf_tls_result_name(uint32_t result);

/* --- commands ------------------------------------------------------------------------------------ */

/* A row of a command table. `parse` checks and says what data moves; `run` answers now, by nvmf_req_complete(), or
 * later. */
struct nvmf_handler {
	const char *name;
	bool (*parse)(struct nvmf_req *req);
	void (*run)(struct nvmf_req *req);
	uint8_t flags;
	uint32_t effects;                 /* of the log page Commands Supported and Effects; CSUPP is implied */
};
#define NVMF_ON_DISCOVERY 1u          /* discovery controllers have it too */
#define NVMF_ALWAYS 2u                /* also while the controller is not enabled */
#define NVMF_FUSED 4u                 /* may be half of a fused pair */

const struct nvmf_handler *nvmf_admin_handler(uint8_t opc);   /* NULL: no such command */
const struct nvmf_handler *nvmf_io_handler(uint8_t opc);
bool nvmf_io_masked(const struct nvmf_transport_opts *opts, uint8_t opc);      /* refused by masked_oncs */
const struct nvmf_handler *nvmf_fabrics_handler(uint8_t fctype);

/* Say what a command moves; parse functions end with it. */
bool nvmf_req_moves(struct nvmf_req *req, enum nvmf_data data, uint32_t len);
/* parse functions: refuse. Returns false. */
bool nvmf_req_refuse(struct nvmf_req *req, uint16_t status);
/* run functions: the answer, later in this pass. */
void nvmf_req_complete(struct nvmf_req *req, uint16_t status);
/* The same for a command whose data goes out: copy from a flat buffer. */
void nvmf_req_complete_data(struct nvmf_req *req, const void *data, uint32_t len);
/* From the callback of something asynchronous: hand it to the transport at once. */
void nvmf_req_finish(struct nvmf_req *req);
void nvmf_iov_read(const struct nvmf_req *req, uint32_t offset, void *to, uint32_t len);
void nvmf_iov_write(struct nvmf_req *req, uint32_t offset, const void *from, uint32_t len);
void nvmf_iov_zero(struct nvmf_req *req, uint32_t offset, uint32_t len);
uint16_t nvmf_status_of(const struct bdev_io *io);
/* The qpair cannot close before as many unpins. */
static inline void nvmf_qpair_pin(struct nvmf_qpair *qp) { qp->executing_count++; }
void nvmf_qpair_unpin(struct nvmf_qpair *qp);
/* See whether a command is there that can be ended early, and do it, or have it done by the device. */
enum nvmf_aborted { NVMF_ABORT_NOT, NVMF_ABORT_DONE, NVMF_ABORT_ASKED };
enum nvmf_aborted nvmf_qpair_abort(struct nvmf_qpair *qp, uint16_t cid, struct nvmf_req **ret_victim);

static inline struct nvmf_core *nvmf_core_here(struct nvmf_target *t)
{
	return &t->cores[reactor_index(reactor_self())];
}
/* This core's idea of the controller's subsystem; NULL: it was removed. */
static inline struct nvmf_subsystem *nvmf_qpair_sub(const struct nvmf_qpair *qp) { return qp->nc->subs[qp->sub_id]; }

/* One that is hidden from the host is not there. */
static inline struct bdev_view *nvmf_ns_find(const struct nvmf_qpair *qp, uint32_t nsid)
{
	const struct nvmf_subsystem *s = nvmf_qpair_sub(qp);
	struct nvmf_ns *ns;

	if (unlikely(!s || nsid - 1 >= s->ns_max))
		return NULL;
	ns = s->ns[nsid - 1];
	if (unlikely(!ns || (s->limited && !nvmf_subsystem_shows(s, nsid, qp->ctrlr->who.name))))
		return NULL;
	return &ns->dev.view[qp->nc->index];
}

/* fused.c */
bool nvmf_fused_parse(struct nvmf_req *req);                                /* one half */
void nvmf_fused_run(struct nvmf_req *req);
void nvmf_fused_missing(struct nvmf_qpair *qp);                            /* what follows is no second half */
void nvmf_fused_part(struct nvmf_req *req);                                /* a half leaves before it was executed */
void nvmf_fused_leave(struct nvmf_req *req);                               /* ... or while it waits to be submitted */
struct nvmf_req *nvmf_fused_io(struct nvmf_req *req);                      /* whose I/O does both; NULL: none yet */

/* For commands that use the media: NULL, and why not. */
uint16_t nvmf_ns_refused(struct nvmf_qpair *qp, uint32_t nsid);
static inline struct bdev_view *nvmf_ns_for_io(struct nvmf_qpair *qp, uint32_t nsid, uint16_t *ret_status)
{
	const struct nvmf_subsystem *s = nvmf_qpair_sub(qp);

	if (likely(s && nsid - 1 < s->ns_max && s->ns[nsid - 1] &&
	           (!s->limited || nvmf_reaches(qp, s, nsid))))
		return &s->ns[nsid - 1]->dev.view[qp->nc->index];
	*ret_status = nvmf_ns_refused(qp, nsid);
	return *ret_status ? NULL : nvmf_ns_find(qp, nsid);
}

bool nvmf_connect_parse(struct nvmf_req *req);
void nvmf_connect_run(struct nvmf_req *req);
bool nvmf_disconnect_parse(struct nvmf_req *req);
void nvmf_disconnect_run(struct nvmf_req *req);
bool nvmf_property_parse(struct nvmf_req *req);
void nvmf_property_get_run(struct nvmf_req *req);
void nvmf_property_set_run(struct nvmf_req *req);
bool nvmf_identify_parse(struct nvmf_req *req);
void nvmf_identify_run(struct nvmf_req *req);
bool nvmf_log_page_parse(struct nvmf_req *req);
/* The part of a page that was asked for, and what reading it means for its event. */
void nvmf_log_page_send(struct nvmf_req *req, const void *page, size_t len);
void nvmf_log_page_run(struct nvmf_req *req);
/* lists.c: pages of ids; the last is about controllers and answers later. */
uint16_t nvmf_list_ns(struct nvmf_req *req, const struct nvmf_subsystem *s, void *page);
uint16_t nvmf_list_ns_csi(struct nvmf_req *req, const struct nvmf_subsystem *s, void *page);
uint16_t nvmf_list_allocated(struct nvmf_req *req, const struct nvmf_subsystem *s, void *page);
uint16_t nvmf_list_allocated_csi(struct nvmf_req *req, const struct nvmf_subsystem *s, void *page);
void nvmf_list_ctrlrs_run(struct nvmf_req *req, const struct nvmf_subsystem *s);
/* features.c */
void nvmf_features_list(const struct nvmf_ctrlr *c, const struct nvmf_subsystem *s, le32 ret_effects[static 256]);
bool nvmf_set_features_parse(struct nvmf_req *req);
void nvmf_set_features_run(struct nvmf_req *req);
bool nvmf_get_features_parse(struct nvmf_req *req);
void nvmf_get_features_run(struct nvmf_req *req);
bool nvmf_aer_parse(struct nvmf_req *req);
void nvmf_abort_run(struct nvmf_req *req);
/* discovery.c: the discovery log page as this controller's host may see it, on its admin core. What is read from the
 * beginning is made anew; later parts are of the same page, which the controller keeps. */
#define NVMF_DISCOVERY_LOGS_BYTES (8u << 20) /* that a core keeps; one log may be more */
#define NVMF_DISCOVERY_LSP (NVMF_DISC_EXTENDED | NVMF_DISC_PORT_LOCAL) /* what a host may ask for */
const void *nvmf_discovery_log_read(struct nvmf_ctrlr *c, uint64_t offset, uint8_t lsp, size_t *ret_len);
void nvmf_discovery_log_drop(struct nvmf_ctrlr *c);
void nvmf_discovery_log_move(struct nvmf_ctrlr *c, bool leaving);

uint64_t nvmf_cap(const struct nvmf_ctrlr *c);
void nvmf_ctrlr_nssr(struct nvmf_ctrlr *c);                                /* NVMF_MAIL_NSSR */
void nvmf_nssr_on_control(struct msg *m);

#endif
