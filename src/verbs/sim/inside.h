/* SPDX-License-Identifier: BSD-3-Clause */
/* inside.h: the inside of simulated adapters. Private to verbs/sim.
 *
 *     adapter.c   adapters as machines have them, registered memory, faults
 *     cm.c        the connection manager: who finds whom, and what each is told
 *     queue.c     completion queues, receives, posting
 *     wire.c      what becomes of work requests
 */
#ifndef VERBS_SIM_INSIDE_H
#define VERBS_SIM_INSIDE_H

#include "verbs/inside.h"
#include "verbs/sim/sim_verbs.h"

#define SIM_SGES_MAX 64u

/* A loud end: our own code is wrong. */
__attribute__((noreturn)) void sim_verbs_fault(const char *fmt, ...) PRINTF(1, 2);

struct sim_mr {
	struct list link;            /* adapter->mrs */
	struct sim_adapter *adapter;
	uint8_t *base;
	size_t len;
	uint32_t key;                /* lkey and rkey */
	bool local, remote, invalid; /* may be used for our own work requests; for the other side's */
	bool may_invalidate;
};

struct sim_adapter {
	struct list link;            /* sim_verbs.adapters */
	struct core *core;
	struct verbs_dev_info info;
	struct net_addr addr;        /* port 0 */
	uint32_t inline_max;
	bool lacks_cq_resize;
	bool here, port_up, lost_to, lost_from;
	uint64_t delay_ns, slow_ns_max, bytes_max, bytes;
	struct list mrs, devs, conns; /* conns: sim_conn.adapter_link */
	uint32_t lose_completion, lose_ring, rnr, fail_posts, posts, fail_receives, receives, lost;
	uint8_t lose_op;
	int fail_rc;
};

/* An adapter as one opening of verbs has it. */
struct sim_dev {
	struct verbs_dev dev;
	struct list link;            /* adapter->devs */
	struct sim_adapter *adapter; /* NULL: it was removed since */
};

/* verbs->os: what the connection manager has to tell on this control reactor. */
struct sim_channel {
	struct list link;            /* sim_verbs.channels */
	struct verbs *v;
	struct list events;          /* cm_event */
	struct sim_ready ready;
	bool *gone;
};

struct sim_cqe {
	struct verbs_wc wc;
	uint32_t qp;
	struct sim_conn *sender;     /* of a send queue's; NULL: a receive, or it was closed */
	uint64_t index;              /* of the work request */
};

struct sim_cq {
	struct verbs_cq cq;
	struct sim_adapter *adapter;
	uint32_t id;
	struct sim_cqe *cqes;        /* a ring */
	uint32_t size, head, count;
	uint32_t late;               /* of these: they come right after the next poll */
	struct sim_event tick;
	bool armed, listening, dead;
	struct reactor *reactor;
	struct sim_ready ready;
};

struct sim_recv {
	struct list link;
	void *ctx;
	uint8_t sge_count;
	struct verbs_sge sges[];
};

struct sim_srq {
	struct verbs_srq srq;
	struct list recvs;
	uint32_t count;
};

/* A work request of a send queue. */
struct sim_wqe {
	struct list link;            /* one of its connection's lists */
	uint64_t index, at_ns, since_ns;
	void *ctx;
	uint8_t op, sge_count, status;
	bool signaled, fence, is_inline;
	uint32_t rkey, len, rnr_tries;
	uint64_t remote;
	uint8_t *bytes;              /* inline: what it carries; READ: what was read */
	uint64_t sum;                /* of what was sent or written, when it was */
	struct verbs_sge sges[];
};

/*   name           meaning: of a queue pair */
#define SIM_QP_STATES(X) \
	X(NONE,         "not made, or destroyed") \
	X(MADE,         "receives may be posted") \
	X(READY,        "sends, too") \
	X(BROKEN,       "everything posted is flushed")
#define SIM_QP_ENUM(name, meaning) SIM_QP_##name,
enum sim_qp_state { SIM_QP_STATES(SIM_QP_ENUM) };

/*   name           meaning: of the connection manager */
#define SIM_CM_STATES(X) \
	X(IDLE,         "resolving, or nothing yet") \
	X(ASKING,       "a request is on its way, or a reply") \
	X(ASKED,        "the other side's request is here") \
	X(REPLIED,      "accepted; the other side has not said yet that it knows") \
	X(OPEN,         "established") \
	X(REFUSED,      "its rejection is on its way") \
	X(ENDING,       "disconnecting") \
	X(OVER,         "")
#define SIM_CM_ENUM(name, meaning) SIM_CM_##name,
enum sim_cm_state { SIM_CM_STATES(SIM_CM_ENUM) };

struct sim_conn {
	struct verbs_conn conn;
	uint64_t id;
	struct list link;            /* sim_verbs.conns */
	struct list adapter_link;
	struct sim_adapter *adapter; /* NULL: not known yet, or removed */
	struct sim_adapter *far;     /* the other side's; stays when that is gone */
	struct net_addr from, to;
	/* connection manager */
	enum sim_cm_state cm;
	bool active, silent, closed; /* closed: only the record is left */
	struct sim_conn *peer;       /* NULL: nobody yet, or it closed */
	struct sim_event cm_event;   /* what the manager does next for it */
	uint64_t deadline_ns;
	struct verbs_params params;  /* said when connecting or accepting */
	uint8_t data[VERBS_DATA_MAX];
	uint32_t timeout_ms;
	/* queue pair */
	enum sim_qp_state qp;
	uint32_t read_depth, read_serve, send_max, recv_max, send_sge_max, recv_sge_max, inline_max;
	uint8_t rnr_retries;
	uint64_t ack_ns;             /* 0: all of them together take give_up_ns */
	struct list queued, flying, back; /* sim_wqe: not begun; on their way to the peer; executed there */
	uint64_t posted, freed;      /* work requests in all; of those, their places are free again */
	uint32_t reads_out, recv_count;
	uint64_t fly_ns, back_ns;    /* the last one's time: in order */
	struct list recvs;
	struct sim_event fly, answer, flush;
};

struct sim_verbs {
	bool on;
	struct sim_verbs_opts opts;
	struct list adapters, channels, conns, listeners;
	uint64_t last_id;
	uint32_t last_qp, last_key, last_port, cqs, srqs;
};
extern struct sim_verbs sim_verbs;

/* adapter.c */
void sim_dev_make(struct verbs *v, struct sim_adapter *a);
struct sim_adapter *sim_adapter_of(const struct verbs_dev *d); /* NULL: removed since */
/* By key; NULL: no such, or these bytes are not in it, or it may not be used so. */
struct sim_mr *sim_mr_find(const struct sim_adapter *a, uint32_t key, uint64_t at, uint64_t len, bool remote);
uint64_t sim_latency_ns(const struct sim_adapter *a, const struct sim_adapter *b);
/* Does something sent from one to the other get lost now? */
bool sim_is_lost(const struct sim_adapter *from, const struct sim_adapter *to);
static inline struct sim_conn *sim_conn_of(const struct verbs_conn *c)
{
	return (struct sim_conn *)(uintptr_t)c;
}

/* cm.c */
/*   name        what the control reactor is told */
#define CM_EVENTS(X) \
	X(CONN,      "of a connection: verbs_conn_told()") \
	X(ASKED,     "someone asks to be let in") \
	X(CAME,      "an adapter") \
	X(LOST,      "an adapter") \
	X(PORT,      "an adapter's")
#define CM_EVENT_ENUM(name, what) CM_##name,
enum cm_kind { CM_EVENTS(CM_EVENT_ENUM) };
void sim_tell_dev(struct sim_dev *d, enum cm_kind kind);
void sim_tell_adapter(struct sim_channel *ch, struct sim_adapter *a); /* it came */
void sim_untell_dev(const struct sim_dev *d);                          /* events of it that nobody heard yet */
void sim_conn_adapter_gone(struct sim_conn *c);
void sim_conn_cut(struct sim_conn *c, bool silent);

/* queue.c */
void sim_cq_push(struct sim_cq *q, const struct sim_cqe *cqe);
void sim_cq_forget_sender(struct sim_cq *q, struct sim_conn *c, bool clean);
struct sim_recv *sim_recv_take(struct sim_conn *c);

/* wire.c */
void sim_wire_init(struct sim_conn *c);
void sim_wire_pump(struct sim_conn *c);   /* begin what may begin */
void sim_wire_break(struct sim_conn *c);  /* everything is flushed, soon */
void sim_wire_close(struct sim_conn *c);  /* at once, without a word */
bool sim_wire_lost(const struct sim_conn *c, const struct sim_conn *peer);

#endif
