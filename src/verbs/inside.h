/* SPDX-License-Identifier: BSD-3-Clause */
/* inside.h: the line between what verbs does everywhere (verbs.c, mem.c, cq.c, conn.c) and what a platform does:
 * verbs/os with rdma-core, verbs/sim with simulated adapters. Private to verbs.
 *
 * The common half keeps adapters, registered memory, who watches, connections and their places in completion queues; it
 * says when an event is told. A platform embeds each of its records here in one of its own, as the first member:
 *
 *     struct os_dev { struct verbs_dev dev; struct ibv_context *ctx; ... };
 *
 * and calls up, always on the control reactor: verbs_dev_add() .. verbs_listener_told(). It implements, beside the
 * platform_ functions below, the three that post, as verbs.h says: verbs_post(), verbs_post_recv(), verbs_srq_post().
 */
#ifndef VERBS_INSIDE_H
#define VERBS_INSIDE_H

#include "core/mem.h"
#include "core/version.h"
#include "verbs/verbs.h"

#define VERBS_DATA_MAX 256u      /* private data that may come: InfiniBand has up to 196 bytes of it */

struct verbs_table;
struct verbs_mr;

struct verbs {
	struct core_part part;
	struct core *core;
	uint32_t users;
	bool going;                  /* nobody has it any more; freed with its last adapter */
	struct list devs;            /* that are there or not freed yet */
	struct list watchers, listeners;
	struct mem_hook hook;
	struct list regions;         /* verbs_region */
	void *os;                    /* the platform's; NULL: closed */
};

/* --- adapters --- */

struct verbs_dev {
	/* The platform's, set before verbs_dev_add(). */
	struct verbs_dev_info info;
	bool port_up;
	/* Common; control only but for `there`, and the slot's pointers. */
	struct verbs *v;
	struct list link;            /* v->devs */
	_Atomic bool there;
	bool told;                   /* CAME was */
	bool lost;                   /* verbs_dev_lost() */
	bool unusable;               /* buffers could not be registered: never told */
	uint32_t refs;
	struct list conns;           /* verbs_conn.dev_link */
	struct list mrs;             /* verbs_mr */
	uint32_t mrs_of_buffers;     /* of those, that are still being registered */
	struct version_slot slot;    /* verbs_table: registered regions by address */
	struct version_publish publish;
	bool publishing, changed;    /* changed: mrs are not as the newest table says */
	bool ending;
	uint32_t tables;             /* not freed yet */
};

/* Control. It is there from now on; watchers are told when its memory is registered. `d` zeroed but for its info. */
void verbs_dev_add(struct verbs *v, struct verbs_dev *d);
/* It is gone, or can not be used any more. */
void verbs_dev_lost(struct verbs_dev *d);
void verbs_dev_port(struct verbs_dev *d, bool up);

/* --- what the common half asks of a platform: all --- */

/* Look for adapters, calling verbs_dev_add() for each, and for those to come. It sets v->os to something. Errors:
 * -ENODEV with a sentence: what is missing, and what to do. */
int platform_verbs_open(struct verbs *v, struct err *e) MUST_USE;
/* What is left of verbs that were put back, a platform's jobs too, holds off the end of RDMA, verbs_is_over(). */
void verbs_end_begins(struct core *core);
void verbs_end_is_over(struct core *core);
/* No adapter is told any more. Those that there are stay until they are freed. */
void platform_verbs_close(struct verbs *v);
/* Nobody uses it any more, no memory is registered with it: close and free. Control. */
void platform_dev_free(struct verbs_dev *d);

/* Register memory, for local use or the other side's as well. Helper threads and control: may block. Errors: negative
 * errno. *ret_mr is the platform's. */
int platform_mr_make(struct verbs_dev *d, void *base, size_t len, bool remote, struct verbs_key *ret_key,
                     void **ret_mr) MUST_USE;
void platform_mr_free(struct verbs_dev *d, void *mr);

/* --- completion queues --- */

struct verbs_cq {
	/* Common. */
	struct verbs_dev *dev;
	struct core *core;
	uint32_t entries, used;      /* control: as many as there are; as may be needed */
	uint32_t refs;               /* control: itself, and connections whose places here are not empty yet */
	_Atomic(struct reactor *) reactor; /* that started it */
	/* Its core's. */
	struct looker looker;
	verbs_done_fn *done;
	void *arg;
	struct verbs_conn **buckets; /* by queue pair number */
	uint32_t bucket_count, conn_count;
	struct verbs_conn *last;     /* found last */
	struct verbs_wc *kept;       /* found when it was armed, or a connection forgotten; `conn` not set yet */
	uint32_t *kept_qps;
	uint32_t kept_count, kept_room;
	struct timer guard;          /* looks once more some time after there was something, in case a ring was lost */
	bool expects;                /* something was posted, or completed, since the guard was started; posting sets it */
	bool guarding;               /* the guard made it look */
	struct { _Atomic uint64_t polls, busy_polls, completions, wakes, late; } stats;
};

/* Zeroed but for the platform's part. `entries` in: what is asked for; out: as many as there are. NULL, sentence. */
struct verbs_cq *platform_cq_make(struct verbs_dev *d, uint32_t *entries, struct err *e);
/* No connection uses it: its hardware goes. Control. */
void platform_cq_destroy(struct verbs_cq *q);
/* The memory: after it, maybe later. Control. */
void platform_cq_free(struct verbs_cq *q);
/* Control, while its core polls it. Errors: negative errno, -ENOTSUP. */
int platform_cq_resize(struct verbs_cq *q, uint32_t entries, uint32_t *ret_entries) MUST_USE;
/* Hear its channel on the calling reactor, its core: verbs_cq_rang() when it rings; and not any more. */
int platform_cq_start(struct verbs_cq *q) MUST_USE;
void platform_cq_stop(struct verbs_cq *q);
void verbs_cq_rang(struct verbs_cq *q);
/* Its core. Up to VERBS_POLL_MAX completions: everything but `conn`, and for each the number of its queue pair; with
 * VERBS_QP_SHARED for a receive of a shared queue, whatever became of it: those come back to their owner even when
 * their connection is forgotten. (A failed completion of ibverbs does not say what it was: mark their wr_id.) */
#define VERBS_QP_SHARED 0x80000000u
uint32_t platform_cq_poll(struct verbs_cq *q, struct verbs_wc *wcs, uint32_t *qps);
/* Let the channel ring once for the next completion that comes from now on. */
void platform_cq_request_notify(struct verbs_cq *q);

struct verbs_srq {
	struct verbs_dev *dev;
	uint32_t entries, sges;
	struct verbs_cq *cq;         /* in whose entries its receives are counted */
};
/* NULL, sentence. Control. */
struct verbs_srq *platform_srq_make(struct verbs_dev *d, uint32_t entries, uint32_t sges, struct err *e);
void platform_srq_free(struct verbs_srq *s);

/* --- connections --- */

/*        name          meaning */
#define VERBS_CONN_STATES(X) \
	X(RESOLVING,    "the platform looks for adapter and route") \
	X(HELD,         "RESOLVED, or its request, is told when the adapter's memory is registered") \
	X(IDLE,         "resolved, or asks to be let in: ours to connect, accept, reject") \
	X(MEETING,      "its core is told of it; then the platform connects or accepts") \
	X(CONNECTING,   "the platform does") \
	X(ESTABLISHED,  "") \
	X(OVER,         "no event follows any more")
#define VERBS_CONN_STATE_ENUM(name, meaning) VERBS_CONN_IS_##name,
enum verbs_conn_state { VERBS_CONN_STATES(VERBS_CONN_STATE_ENUM) };

struct verbs_conn {
	/* Common; control. */
	struct verbs *v;
	struct verbs_dev *dev;       /* NULL: not known yet */
	struct list dev_link;        /* dev->conns */
	enum verbs_conn_state state;
	bool asked;                  /* it came by a listener: accepted, not connected */
	bool away, freed;            /* `msg` is on its way to its core and back; verbs_conn_free() */
	struct verbs_listener *listener; /* HELD requests: whose */
	verbs_conn_fn *event;
	void *arg;
	struct verbs_cq *cq;
	struct verbs_srq *srq;
	uint32_t cq_entries;         /* of cq, that are kept for it */
	struct verbs_params params;  /* while HELD or MEETING; data is in `data` */
	uint8_t data[VERBS_DATA_MAX];
	struct msg msg;              /* to its core and back */
	/* Set by the platform before platform_conn_make_queues() returns. */
	uint32_t qp_num;
	/* Its core's. */
	struct verbs_conn *hash_next;
	bool here;                   /* in cq->buckets */
	bool left;                   /* verbs_conn_forget() */
};

/* A platform begins a record, its memory zeroed, and names the adapter as soon as it knows it. */
void verbs_conn_init(struct verbs_conn *c, struct verbs *v);
void verbs_conn_set_dev(struct verbs_conn *c, struct verbs_dev *d);
/* Control: something happened; maybe it is told now. It may be freed when this returns. The platform need not care in
 * which state it was: what makes no sense any more is dropped. `p->data` may be up to VERBS_DATA_MAX bytes. */
void verbs_conn_told(struct verbs_conn *c, enum verbs_conn_event event, const struct verbs_params *p, int rc);

/* NULL with a sentence when it cannot even begin. Then, later, verbs_conn_told(RESOLVED or UNREACHABLE). */
struct verbs_conn *platform_resolve(struct verbs *v, const struct net_addr *to, const struct net_addr *from,
                                    uint32_t timeout_ms, struct err *e);
/* c->cq, c->srq are set; limits were checked against the adapter's. q->inline_max: out. */
int platform_conn_make_queues(struct verbs_conn *c, struct verbs_queues *q, struct err *e) MUST_USE;
/* Depths are within the adapter's limits. Errors: negative errno. */
int platform_connect(struct verbs_conn *c, const struct verbs_params *p) MUST_USE;
int platform_accept(struct verbs_conn *c, const struct verbs_params *p) MUST_USE;
void platform_reject(struct verbs_conn *c, const void *data, uint8_t len);
void platform_conn_set_tos(struct verbs_conn *c, uint8_t tos);
void platform_conn_set_ack_timeout(struct verbs_conn *c, uint8_t exponent);
/* Any number of times; also for those that were never established. */
void platform_disconnect(struct verbs_conn *c);
/* Its core forgets it: it must not use up shared receives any more. */
void platform_conn_break(struct verbs_conn *c);
/* Destroy the queue pair and all that could call us; the record stays. The memory of what is posted is free then. */
void platform_conn_close(struct verbs_conn *c);
void platform_conn_free(struct verbs_conn *c);
void platform_conn_addrs(const struct verbs_conn *c, struct net_addr *ret_local, struct net_addr *ret_peer);

struct verbs_listener {
	struct verbs *v;
	struct list link;            /* v->listeners */
	verbs_listener_fn *fn;
	void *arg;
};
struct verbs_listener *platform_listen(struct verbs *v, const struct net_addr *addr, uint32_t backlog, struct err *e);
void platform_listener_addr(const struct verbs_listener *l, struct net_addr *ret_addr);
/* Close and free. */
void platform_listener_close(struct verbs_listener *l);
/* Someone asks to be let in: `c` was initialised, and has its adapter. It may be freed when this returns. */
void verbs_listener_told(struct verbs_listener *l, struct verbs_conn *c, const struct verbs_params *p);

/* --- between the common files --- */

/* mem.c */
void verbs_mem_begin(struct verbs *v);
void verbs_mem_end(struct verbs *v);
void verbs_mem_dev_add(struct verbs_dev *d);   /* register all regions with it */
void verbs_mem_dev_end(struct verbs_dev *d);   /* deregister; then verbs_dev_ended() */
/* verbs.c */
void verbs_dev_usable(struct verbs_dev *d);    /* buffers are registered and every core knows */
void verbs_dev_unusable(struct verbs_dev *d);  /* they cannot be */
void verbs_dev_ended(struct verbs_dev *d);
/* cq.c: a connection's place in its queue */
int verbs_cq_reserve(struct verbs_cq *q, uint32_t entries, struct err *e) MUST_USE;
void verbs_cq_unreserve(struct verbs_cq *q, uint32_t entries);
void verbs_cq_unref(struct verbs_cq *q);
void verbs_cq_enter(struct verbs_cq *q, struct verbs_conn *c);
void verbs_cq_leave(struct verbs_cq *q, struct verbs_conn *c);
/* conn.c */
void verbs_conns_dev_usable(struct verbs_dev *d);
void verbs_conns_dev_lost(struct verbs_dev *d);

#endif
