/* SPDX-License-Identifier: BSD-3-Clause */
/* os.h: what the files of verbs/os share: rdma-core's objects beside the common half's records.
 *
 *     verbs.c    which adapters there are, which come and go
 *     dev.c      an adapter: its limits, its events, memory registered with it
 *     cq.c       completion queues, shared receive queues; posting
 *     conn.c     connections and listeners: the connection manager and its events
 *
 * The connection manager has one context per adapter and process, so ours is that one: rdma_get_devices() gives it.
 */
#ifndef VERBS_OS_OS_H
#define VERBS_OS_OS_H

#include <infiniband/verbs.h>
#include <rdma/rdma_cma.h>

#include "verbs/inside.h"

#define SHUT_TEXT 256u

struct os_verbs {
	struct verbs *v;                     /* NULL: closed, a job still has it */
	struct core *core;                   /* then */
	struct rdma_event_channel *channel;
	struct source events;                /* the channel's */
	struct source uevents;               /* what the kernel says of adapters that come and go */
	struct timer retry;
	uint32_t retries;
	struct timer relisten;               /* a listener has no adapter, or not its address yet */
	uint64_t relisten_ns;
	struct job job;                      /* looks for adapters, which opens them */
	bool looking, again;
	struct list strangers;               /* os_conn.link: their adapters are not known yet */
	struct ibv_device **known;           /* the job's: adapters that were open when it began, and NULL; ... */
	struct ibv_context **found;          /* ... all that are, then; ... */
	int rc;
	char shut[SHUT_TEXT], told[SHUT_TEXT]; /* ... names of those that cannot be opened; that the log was told of */
	int shut_rc;
};

struct os_dev {
	struct verbs_dev dev;
	struct ibv_context **held;           /* its context, and NULL: as rdma_free_devices() wants it */
	struct ibv_context *ctx;
	struct ibv_pd *pd;
	struct source async;
	uint64_t ports_up;                   /* a bit each */
	uint32_t cqs_made;
};

struct os_cq {
	struct verbs_cq cq;
	struct ibv_comp_channel *channel;
	struct ibv_cq *ibv;
	struct source bell;
};

struct os_srq {
	struct verbs_srq srq;
	struct ibv_srq *ibv;
};

struct os_conn {
	struct verbs_conn conn;
	struct rdma_cm_id *id;               /* NULL: closed */
	struct ibv_qp *qp;
	uint32_t inline_max;
	uint32_t timeout_ms;
	struct list link;                    /* in `strangers` */
	bool looked;                         /* for its adapter */
	bool established;
	struct defer end;                    /* we disconnected: no need to wait for the other side's consent */
	struct net_addr local, peer;         /* when it is closed */
};

struct os_listener {
	struct verbs_listener listener;
	struct rdma_cm_id *id;               /* NULL: its adapter has gone; it listens again when one comes */
	struct net_addr addr;
	int backlog;
};

static inline struct os_dev *os_dev(const struct verbs_dev *d) { return container_of(d, struct os_dev, dev); }
static inline struct os_cq *os_cq(const struct verbs_cq *q) { return container_of(q, struct os_cq, cq); }
static inline struct os_srq *os_srq(const struct verbs_srq *s) { return container_of(s, struct os_srq, srq); }
static inline struct os_conn *os_conn(const struct verbs_conn *c) { return container_of(c, struct os_conn, conn); }

/* verbs.c */
void os_look_for_devs(struct os_verbs *o);
struct os_dev *os_find_dev(const struct verbs *v, const struct ibv_context *ctx); /* NULL: not known, or lost */

/* dev.c */
/* Takes over the hold of its list when it succeeds. Errors: negative errno; logged. */
int os_dev_open(struct verbs *v, struct ibv_context *ctx) MUST_USE;
void os_dev_stop(struct os_dev *d); /* hear no events any more */

/* conn.c */
void os_on_cm_events(struct source *s, uint32_t events);
/* Those listeners that lost their adapter; and later again, as long as there is one. */
void os_listen_again(struct os_verbs *o);
/* Adapters were looked for: whose was not known before looks again. */
void os_conns_look_again(struct os_verbs *o);
/* Its queue pair failed: the connection is over. */
void os_conn_failed(struct os_conn *c);

#endif
