/* SPDX-License-Identifier: BSD-3-Clause */
/* inside.h: the simulated network's inside. Private to net/sim.
 *
 * A connection is two pipes, one a direction. What is sent lies in its pipe at once and arrives later:
 *
 *     read by the receiver | arrived, readable | in flight | room for the sender
 *     0                 head               arrived        tail            head + size
 *
 * The sender knows of `acked` only, which is `arrived` unless acknowledgements are lost.
 */
#ifndef NET_SIM_INSIDE_H
#define NET_SIM_INSIDE_H

#include "core/sim/fds.h"
#include "net/secure.h"
#include "net/sim/sim_net.h"

struct conn;

/* Bytes up to `end`, and what comes after them. */
struct flight {
	struct list link;
	uint64_t end, at_ns;
	bool fin, reset;
	bool sure;                     /* not even a partition stops it: what cuts a connection is in the middle of it */
};

/* Descriptors that travel with the first of the bytes from `at` to `end`, which were sent together. */
struct parcel {
	struct list link;
	uint64_t at, end;
	uint32_t count;
	struct sim_object *objects[SOCK_FDS_MAX];
};

struct pipe {
	struct conn *conn;
	uint8_t side;                  /* of the sender */
	bool fin_sent, fin_arrived, reset_sent;
	bool given_up;                 /* the sending machine does not know of the connection any more */
	uint8_t *bytes;
	uint32_t size;
	uint64_t head, arrived, tail, acked;
	uint64_t lost_since_ns, again_ns; /* 0: nothing is; how long until it is sent again */
	uint32_t ack_timeout_ms;
	struct list flights, parcels;
	struct sim_event event, ack;
};

enum conn_state { CONN_ASKING, CONN_ANSWERING, CONN_OPEN, CONN_CUT };

struct conn {
	struct list link;              /* sim_net.conns */
	enum conn_state state;
	bool silent;                   /* nothing arrives any more, ... */
	uint64_t stalled_until_ns;     /* ... or not before this */
	int answer;                    /* to the one who connects: 0 or negative errno */
	uint64_t asked_ns, again_ns;   /* first; how long until it is asked again */
	struct sim_event connect;
	struct sock *sock[2];          /* 0: who connected, 1: who accepted; NULL: closed, or not there yet */
	struct pipe pipe[2];           /* [side of the sender] */
	struct net_addr addr[2];
};

struct sock {
	struct conn *conn;
	struct tls *tls;               /* NULL: plain */
	uint8_t side;
	struct list link;              /* listener->queue until it is accepted */
	struct core *core;             /* of the daemon whose it is */
	struct reactor *reactor;       /* NULL: detached */
	sock_ready_fn *ready;
	void *arg;
	struct sim_ready node;
	bool *gone;                    /* set when it is closed from within ready() */
	uint64_t id;                   /* for traces: addresses differ from run to run */
	uint32_t ack_timeout_ms;
	int error;
	bool connecting, connected;    /* connected: still to be told */
	bool want_read, want_write;
	bool ended, failed, reported, progress;
};

struct listener {
	struct list link;              /* sim_net.listeners */
	struct reactor *reactor;
	struct net_addr addr;
	listener_fn *fn;
	void *arg;
	uint32_t backlog, queued;
	struct list queue;             /* socks not accepted yet */
	struct sim_ready node;
	bool *gone;
};

struct link {
	struct net_addr addr;
	struct sim_net_link how;
};

struct name {
	char host[NET_HOST_TEXT_MAX];
	struct net_addr addr;
};

struct sim_net {
	bool on;
	struct sim_net_opts opts;
	struct sim_net_link any;       /* of addresses without a link of their own */
	struct link links[SIM_NET_LINKS_MAX];
	struct name names[SIM_NET_NAMES_MAX];
	uint32_t link_count, name_count;
	struct list conns, listeners;
	uint64_t last_id;
	uint16_t last_port;
};
extern struct sim_net sim_net;

uint64_t net_latency_ns(void);
uint16_t net_free_port(void);
/* What holds for connections to this address now. */
const struct sim_net_link *net_link(const struct net_addr *to);

/* conn.c */
struct conn *conn_make(const struct net_addr *to, const struct net_addr *from);
void conn_free(struct conn *c);
/* Side `side` closes; the connection goes with the last of them. */
void conn_leave(struct conn *c, uint8_t side, bool reset);
/* Both ends will see a reset. */
void conn_cut(struct conn *c);
/* A sender's verbs. */
uint32_t pipe_room(const struct pipe *p);
void pipe_put(struct pipe *p, const void *bytes, uint32_t len);
void pipe_send(struct pipe *p, bool fin, bool reset); /* all that was put so far departs */
void pipe_give_up(struct pipe *p);                    /* and nothing will any more */
void pipe_drop_flights(struct pipe *p);
/* Loss begins or ends: who only waits finds out by asking, now and then. */
void conn_probe(struct conn *c);
/* The receiver's. */
static inline uint32_t pipe_readable(const struct pipe *p) { return (uint32_t)(p->arrived - p->head); }
void pipe_get(struct pipe *p, void *bytes, uint32_t len);

/* fds.c */
/* How much of `len` may be read at once: not beyond what brings descriptors. */
uint32_t parcels_limit(const struct pipe *p, uint32_t len);
/* What came with bytes that were read and nobody wanted is closed; or (all) everything. */
void parcels_drop(struct pipe *p, bool all);
static inline struct pipe *sock_out(const struct sock *s) { return &s->conn->pipe[s->side]; }
static inline struct pipe *sock_in(const struct sock *s) { return &s->conn->pipe[!s->side]; }

/* sock.c */
struct sock *sim_sock_make(struct conn *c, uint8_t side);
void sim_sock_free(struct sock *s);
void sim_sock_fail(struct sock *s, int error);
/* What came with the bytes waits in the pipe's parcels. */
ssize_t sim_sock_recv(struct sock *s, const struct iovec *iov, int count);
/* Something changed that `ready` may have to tell. */
void sim_sock_update(struct sock *s);

/* listener.c */
struct listener *listener_find(const struct net_addr *addr);
/* False when its queue is full. */
bool listener_take(struct listener *l, struct conn *c);

#endif
