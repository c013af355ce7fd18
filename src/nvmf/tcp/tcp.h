/* SPDX-License-Identifier: BSD-3-Clause */
/* tcp.h: the NVMe/TCP transport of the target (private to nvmf/tcp).
 *
 *     tcp.c    the transport: options, listeners, placement of connections, stop       control reactor
 *     shake.c  handshakes of TLS, before a connection has a core                         control reactor
 *     home.c   what a core has for all of its connections: receive and send buffers, watchdog, counters
 *     conn.c   a connection's life: hello, trouble, goodbye
 *     recv.c   from readiness to whole commands and data                                receive ladder
 *     req.c    a command's life                                                         state machine
 *     send.c   all that a connection has to say, in one sendmsg a pass                  send ladder
 *     move.c   freeze, carry to another core, thaw
 *
 * A pass of a busy core: each readable connection gets one receive into the core's one receive buffer, and all of
 * it is parsed at once; answers gather on the connection, and one sendmsg at the end of the pass, or of a visit
 * that brought several writes, sends them from where they lie. Headers are written when they are sent: what a short
 * send left over is made again, the same bytes, so that no connection keeps headers of its own.
 */
#ifndef NVMF_TCP_TCP_H
#define NVMF_TCP_TCP_H

#include "core/log.h"
#include "core/mem.h"
#include "core/trace.h"
#include "core/watch.h"
#include "fabric/fabric.h"
#include "net/gather.h"
#include "nvmf/strangers.h"
#include "nvmf/transport.h"

#define TCP_FEED_OWED_BYTES 8192u       /* one receive while the host owes data */
#define TCP_MAXH2CDATA (128u * 1024)   /* of one H2CData PDU */
#define TCP_MAXR2T_OF_A_COMMAND 1u     /* one R2T asks for all data of a command: its buffers are held by then */
#define TCP_BATCHES_A_PASS 4u          /* of one connection, before others have their turn */
#define TCP_ASKED_BYTES_MAX (2u << 20) /* of one connection: buffers that wait for the host's data. A host that is
                                        * slow to answer R2Ts shall not hold everybody's */
#define TCP_FIRST_SLOTS 4u             /* before Connect told the queue's size */
#define TCP_SLOTS_CHARGED 16u          /* of those that follow, charged at a time */
#define TCP_NEAR_IOVS 4u               /* lent memory described in the request itself */
#define TCP_HELLO_MS 10000u            /* from accept to ICReq */
#define TCP_SHAKE_MS 10000u            /* from accept to the end of TLS's handshake, the wait for a turn included */
#define TCP_SHAKES_MAX 4096u           /* that have begun, or wait for their turn, or have said nothing yet */
#define TCP_SHAKES_OF_ADDRESS 1024u    /* ... of one address */
#define TCP_SHAKES_AT_ONCE 256u        /* that have begun: each holds some tens of KiB */
#define TCP_SHAKES_AT_ONCE_OF_ADDRESS 64u /* ... of one address */
#define TCP_SHAKE_LOOK_MS 20u          /* until the rest of a first message is looked for, then twice as long ... */
#define TCP_SHAKES_READING 4u          /* whose keys are read at once: helpers are left for others */
#define TCP_CONNECT_MS 60000u          /* from ICReq to a successful Connect */
#define TCP_STRANGERS_MAX 4096u        /* connections before that, of all addresses */
#define TCP_DATA_TIMEOUT_MS 30000u     /* unless the options say otherwise: from R2T to data, between its pieces, and
                                        * until the host reads more of what it is sent */
#define TCP_MOVE_MS 100u               /* a connection that cannot leave its core within this time stays */
#define TCP_LINGER_MS 30000u           /* from C2HTermReq until we close: the transport specification's time */

/* --- one command ----------------------------------------------------------------------------------- */

#define REQ_STATES(X) \
	X(REQ, FREE,      "no command",                      TO(REQ, NEW)) \
	X(REQ, NEW,       "look at the command",             TO(REQ, NEED_ROOM) | TO(REQ, ASK) | TO(REQ, RECEIVE) | \
	                                                     TO(REQ, EXECUTE) | TO(REQ, SEND)) \
	X(REQ, NEED_ROOM, "wait for data buffers or iovecs", TO(REQ, ASK) | TO(REQ, EXECUTE) | TO(REQ, SEND) | \
	                                                     TO(REQ, FREE)) \
	X(REQ, ASK,       "an R2T goes out",                 TO(REQ, RECEIVE) | TO(REQ, FREE)) \
	X(REQ, RECEIVE,   "data comes from the host",        TO(REQ, EXECUTE) | TO(REQ, SEND) | TO(REQ, FREE)) \
	X(REQ, EXECUTE,   "the target has it",               TO(REQ, SEND) | TO(REQ, NEW) | TO(REQ, FREE)) \
	X(REQ, SEND,      "the answer goes out",             TO(REQ, FREE))
enum req_state { REQ_STATES(MACHINE_ENUM) REQ_STATE_COUNT };
extern const struct machine_state tcp_req_states[];

/* Whose memory a request's data lies in. */
enum req_hold {
	HOLD_NOTHING, /* none; or a lent read's, described in `near` */
	HOLD_BUFS,    /* bufs */
	HOLD_NEAR,    /* lent for a write, described in `near` */
	HOLD_IOVS,    /* lent, described in the core's array `held` */
	HOLD_HEAP,    /* near[0]: in-capsule data that came when the pools were dry */
	HOLD_RX,      /* near[0]: within the receive buffer `held` */
};

/* What a request in NEED_ROOM waits for. */
enum req_waits {
	WAITS_BUFFERS,
	WAITS_IOVS,   /* an array of the core's, to describe lent memory */
	WAITS_TURN,   /* its connection's host to answer earlier R2Ts */
};

struct tcp_req {
	struct nvmf_req req;
	union {
		struct mem_bufs bufs;
		struct iovec near[TCP_NEAR_IOVS];
		struct wait wait;     /* for bufs or held: nothing is held then */
	};
	struct queue_link link;       /* in the connection's `out` or `turns`, or among its free slots */
	void *held;
	uint64_t since_ns;            /* when it came into its state, or data came last */
	uint16_t index;               /* slot; its TTAG */
	uint8_t state;                /* enum req_state */
	uint8_t hold;                 /* enum req_hold */
	bool asked;                   /* data comes by R2T, not with the capsule */
	bool charged;                 /* HOLD_HEAP: to the budget */
	bool bad_digest;
	uint8_t waits;                /* NEED_ROOM: enum req_waits */
	bool encoded;                 /* cpl and crc are final */
	bool refused;                 /* cpl says why; its data is still taken in */
	uint32_t received;            /* bytes of data so far */
	uint32_t crc;                 /* of the data to the host */
	uint32_t wire_len;            /* what goes out in this state; set when it is encoded */
};
_Static_assert(sizeof(struct tcp_req) <= 480, "128 of them are reserved for every connection");

/* --- one connection -------------------------------------------------------------------------------- */

#define CONN_STATES(X) \
	X(CONN, HELLO,  "ICReq is awaited",                             TO(CONN, READY) | TO(CONN, TERM) | TO(CONN, LOST)) \
	X(CONN, READY,  "commands pass",                                TO(CONN, TERM) | TO(CONN, LOST)) \
	X(CONN, TERM,   "C2HTermReq goes out; the host shall close",    TO(CONN, LOST)) \
	X(CONN, LOST,   "the socket is closed; the target lets go",     0)
enum conn_state { CONN_STATES(MACHINE_ENUM) CONN_STATE_COUNT };
extern const struct machine_state tcp_conn_states[];

/* Bytes that go out before anything else: ICResp, C2HTermReq, what a moved connection had begun to send. */
struct tcp_raw {
	uint32_t len, at;
	uint8_t bytes[];
};

struct tcp_conn {
	struct nvmf_qpair qp;
	struct tcp_home *home;
	struct sock *sock;            /* NULL: closed */
	uint8_t state;                /* enum conn_state */
	bool blocked;                 /* a send was short: SOCK_WRITABLE will come */
	bool throttled;               /* `throttle` waits for buffers */
	uint64_t tls_serial;          /* told to the qpair when it begins ... */
	bool concat_only;             /* ... this, too */
	bool close_soon;              /* the target asked: when what it said has been sent */
	bool qp_closing, qp_closed;
	uint32_t in_use, executing;   /* slots; those in the target's hands */
	uint64_t blocked_ns;          /* since when `blocked` */
	uint32_t owed;                /* R2Ts not yet answered with all data */
	uint32_t asked_bytes;         /* buffers held for such data, from before the R2T goes out */
	struct queue turns;           /* requests that wait for that to be less */
	struct fabric_rx rx;
	struct nvme_tcp_framing tx;
	struct tcp_req *rx_req;       /* the data being received is its; NULL: thrown away */
	struct tcp_req *span_req;     /* all of its data lies in the feed, in `span` */
	struct iovec span;
	/* Slots: a few of the connection's own, then those of the queue. Touched when first used, last in first out. */
	struct tcp_req *slots;
	uint32_t slot_count, touched; /* TCP_FIRST_SLOTS included */
	uint64_t slots_bytes;         /* charged */
	struct queue_link *free;
	struct queue out;             /* requests in ASK and SEND */
	uint32_t head_sent;           /* bytes of the first of them that are gone */
	struct tcp_raw *raw;
	struct defer flush;
	struct timer timer;           /* hello, data owed, linger: by state */
	struct wait throttle;
	struct list link;             /* the home's connections */
	struct carry move;
	struct defer gone;
	struct msg msg;               /* arrive, gone */
	/* Until its Connect it is on its first core, and may have to go for others. */
	_Atomic bool known;           /* it succeeded; set there, before it may be anywhere else */
	struct msg known_msg;         /* which is told to control */
	struct reactor *on;           /* control's, from here on: its first core */
	struct nvmf_stranger stranger;
	struct msg out_msg;           /* go: there and back */
	bool going, heard, over;      /* out_msg is under way; known_msg came; so did the news of its end */
	struct tcp_req first[TCP_FIRST_SLOTS];
};

static inline struct tcp_conn *conn_of(struct nvmf_qpair *qp) { return container_of(qp, struct tcp_conn, qp); }
static inline struct tcp_conn *req_conn(struct tcp_req *r) { return conn_of(r->req.qpair); }
static inline struct tcp_req *req_of(struct nvmf_req *req) { return container_of(req, struct tcp_req, req); }
static inline struct tcp_req *conn_req(struct tcp_conn *c, uint32_t index)
{
	return index < TCP_FIRST_SLOTS ? &c->first[index] : &c->slots[index - TCP_FIRST_SLOTS];
}
static inline bool conn_is_live(const struct tcp_conn *c) { return c->state <= CONN_READY; }

/* conn.c */
struct tcp_transport;
struct tcp_conn *tcp_conn_make(struct tcp_transport *tr, struct sock *s);     /* control */
void tcp_conn_arrive(struct msg *m);                                         /* c->msg, on its first core */
void tcp_conn_hello(struct tcp_conn *c, const struct nvme_tcp_icreq *icreq);
/* What the other side did cannot be gone on with: answer C2HTermReq about the PDU at hand, then it shall close. */
void tcp_conn_terminate(struct tcp_conn *c, enum nvme_tcp_fes fes, uint32_t fei);
/* Close now; `why` for the log at debug level. */
void tcp_conn_lose(struct tcp_conn *c, const char *why);
void tcp_conn_owes_data(struct tcp_conn *c);    /* an R2T went out: its deadline runs */
void tcp_conn_is_blocked(struct tcp_conn *c);   /* the host has to read: its deadline runs */
void tcp_conn_start_timer(struct tcp_conn *c);  /* by its state */
void tcp_conn_update_reading(struct tcp_conn *c); /* what decides whether to read on has changed */
void tcp_conn_raw(struct tcp_conn *c, const void *bytes, uint32_t len);       /* append */
void tcp_conn_sized(struct nvmf_qpair *qp);
void tcp_conn_charge_slots(struct tcp_conn *c);                            /* before it touches the next ones */
void tcp_conn_disconnect(struct nvmf_qpair *qp);
void tcp_conn_closed(struct nvmf_qpair *qp);
void tcp_conn_addrs(const struct nvmf_qpair *qp, struct net_addr *ret_local, struct net_addr *ret_peer);

const char *tcp_conn_identity(const struct nvmf_qpair *qp, uint8_t *ret_hash);

/* shake.c: control */
void tcp_shakes_init(struct tcp_transport *tr);
void tcp_shake_begin(struct tcp_transport *tr, struct sock *s, bool plain_too); /* takes the socket */
void tcp_shakes_end(struct tcp_transport *tr);
void tcp_maybe_stopped(struct tcp_transport *tr);                            /* tcp.c: one thing less is waited for */
/* tcp.c: a connection begins. `tls_serial`: nvmf_tls_find()'s; `concat_only`: without TLS, where that is for secure
 * concatenation alone. */
void tcp_take(struct tcp_transport *tr, struct sock *s, uint64_t tls_serial, bool concat_only);

/* recv.c */
void tcp_conn_ready(void *arg, uint32_t events);                              /* sock_ready_fn */

/* req.c */
struct tcp_req *tcp_req_take(struct tcp_conn *c);                             /* NULL: the host overran its queue */
void tcp_req_run(struct tcp_req *r);                                         /* until it waits */
void tcp_req_received(struct tcp_req *r);                                    /* RECEIVE: all data is here */
/* Memory for in-capsule data, at any price. False: beyond the budget. */
bool tcp_req_hold_capsule(struct tcp_req *r);
void tcp_req_use_span(struct tcp_req *r, const struct iovec *span);          /* its data is here */
void tcp_req_done(struct nvmf_req *req);                                     /* the target's answer */
/* What it had in the out queue is gone; now_ns: of the pass, which a batch reads once. */
void tcp_req_sent(struct tcp_req *r, uint64_t now_ns);
void tcp_req_end(struct tcp_req *r);
bool tcp_req_abort(struct nvmf_qpair *qp, uint16_t cid);                      /* one that is here, not the target's */
void tcp_req_end_all(struct tcp_conn *c);                                    /* but those in the target's hands */
void tcp_req_wait_cancel(struct tcp_req *r);                                 /* NEED_ROOM */
void tcp_req_slot_init(struct tcp_conn *c, uint32_t index);

/* send.c */
void tcp_send_soon(struct tcp_conn *c);
void tcp_send_flush(struct defer *d);
/* Turn what is queued, or only what has begun to go out, into bytes of c->raw; those requests' part is done. */
void tcp_send_to_raw(struct tcp_conn *c, bool all);

/* move.c */
bool tcp_conn_has_halves(struct tcp_conn *c);       /* of fused pairs: it stays for them, and reads on */
void tcp_conn_move(struct nvmf_qpair *qp, struct reactor *to, carry_done_fn *done, void *arg);

/* --- one core ------------------------------------------------------------------------------------------ */

/*        key                  meaning */
#define TCP_COUNTERS(X) \
	X(recvs,               "receive calls") \
	X(recv_bytes,          "bytes received") \
	X(sends,               "send calls") \
	X(sent_bytes,          "bytes sent") \
	X(short_sends,         "sends that could not finish") \
	X(capsules,            "commands received") \
	X(r2ts,                "R2Ts sent") \
	X(h2c_pdus,            "H2CData PDUs received") \
	X(direct_bytes,        "bytes received straight into requests' buffers") \
	X(lent_writes,         "writes received in memory of their device") \
	X(in_place_writes,     "writes executed from the receive buffer") \
	X(answered_early,      "receives whose commands were answered before the next connection's turn") \
	X(rx_pinned,           "receive buffers a device kept for a while") \
	X(capsules_on_heap,    "in-capsule writes that found no pool buffer") \
	X(room_waits,          "commands that waited for buffers or iovecs") \
	X(data_digest_errors,  "commands failed for a wrong data digest") \
	X(terminated,          "connections ended by C2HTermReq") \
	X(timed_out,           "connections ended for silence") \
	X(crowded_out,         "connections ended before their Connect, for others of which there were too many") \
	X(connections,         "connections taken") \
	X(moved_in,            "connections moved to this core")
#define TCP_COUNTER_FIELD(key, meaning) uint64_t key;
struct tcp_counters {
	TCP_COUNTERS(TCP_COUNTER_FIELD)
};
/* One writer; any core may read. */
#define tcp_count(home, key, n) \
	__atomic_store_n(&(home)->counters.key, (home)->counters.key + (n), __ATOMIC_RELAXED)

struct tcp_home {
	CACHE_ALIGNED struct tcp_transport *tr;
	struct gather_rxs rxs;
	bool begun, stopping;
	struct gather_batch *batch;
	struct gather_iovs iovs;
	struct list conns;
	struct watch watch;
	struct log_limit complaints;  /* about hosts */
	struct tcp_counters counters;
};

void tcp_home_begin(struct tcp_home *h);        /* its core; the first time */
void tcp_home_end(struct tcp_home *h);          /* its core; no connection is left */

/* --- the transport -------------------------------------------------------------------------------------- */

struct tcp_transport {
	struct nvmf_transport base;
	struct core *core;
	struct tcp_home *homes;       /* by reactor_index() */
	uint32_t iovs_per_array;
	uint32_t icd_bytes_max;       /* of any command: admin and fabrics commands' included */
	/* control */
	struct list listeners;
	uint32_t conns;               /* made and not yet freed */
	struct nvmf_strangers strangers;
	struct list shakers;          /* struct shaker: addresses whose connections shake hands, in turns */
	uint32_t shakes, shaking;     /* all; those that have begun */
	struct list silent;           /* struct shake: that have not said who they are yet, the oldest first */
	struct list to_read;          /* struct shake: its key is to be read */
	uint32_t reading;             /* jobs that read one: waited for */
	struct log_limit complaints;  /* about these */
	bool stopping, told;
	struct each each;
	void (*stopped)(void *arg);
	void *stopped_arg;
};

struct tcp_listener {
	struct list link;
	struct tcp_transport *tr;
	struct listener *listener;
	bool secure, concat;
	struct net_addr addr;         /* as it was asked for */
};

static inline struct tcp_transport *tcp_of(struct nvmf_transport *tr)
{
	return container_of(tr, struct tcp_transport, base);
}
static inline struct tcp_home *tcp_home_self(struct tcp_transport *tr)
{
	return &tr->homes[reactor_index(reactor_self())];
}
void tcp_conn_is_known(struct tcp_transport *tr, struct tcp_conn *c); /* its core: Connect succeeded */
void tcp_conn_gone(struct tcp_transport *tr, struct tcp_conn *c); /* its core: nothing uses it any more */

#endif
