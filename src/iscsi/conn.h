/* SPDX-License-Identifier: BSD-3-Clause */
/* conn.h: connections of the iSCSI target, which are sessions, since each has one (private to iscsi).
 *
 *     session.c   the register on the control reactor: logins, reinstatement, ending, lists          control reactor
 *     conn_login.c  a connection's first phase: login PDUs, discovery sessions                       control reactor
 *     conn.c      a connection's life on a core: arriving, deadlines, goodbye
 *     home.c      what a core has for all of its connections; counters
 *     rx.c        bytes to PDUs
 *     recv.c      from readiness to whole commands and data                                            receive ladder
 *     pdu.c       what is no command: NOP, text, logout, Reject, asynchronous messages
 *     task.c      a command's life                                                                     state machine
 *     tmf.c       task management
 *     send.c      all that a connection has to say, in one sendmsg a pass                              send ladder
 *     move.c      freeze, carry to another core, thaw
 *
 * A connection begins on the control reactor, where the configuration is. When a normal session reaches full feature
 * phase the object goes to a core, with its socket and what was negotiated, and lives there; its login (struct
 * iscsi_login) stays control's, for its names and for text negotiations to come. Both reactors use parts of one
 * object; which, is said below.
 *
 * The data path is NVMe/TCP's (nvmf/tcp/tcp.h): one receive a visit into the core's one buffer, answers gather on the
 * connection, one sendmsg at the end of the pass with headers written there and then. After a short send what is left
 * is made anew, but for the header of the PDU that was begun, which is kept.
 */
#ifndef ISCSI_CONN_H
#define ISCSI_CONN_H

#include "core/carry.h"
#include "core/log.h"
#include "core/machine.h"
#include "core/mem.h"
#include "core/sched.h"
#include "core/watch.h"
#include "iscsi/config.h"
#include "iscsi/login.h"
#include "iscsi/rx.h"
#include "iscsi/session.h"
#include "net/gather.h"
#include "scsi/scsi.h"

#define ISCSI_FEED_OWED_BYTES 8192u      /* one receive while the initiator owes data */
#define ISCSI_BATCHES_A_PASS 4u          /* of one connection, before others have their turn */
#define ISCSI_ASKED_BYTES_MAX (2u << 20) /* of one connection: buffers that wait for the initiator's data */
#define ISCSI_FIRST_SLOTS 4u             /* tasks in the connection itself */
#define ISCSI_IMMEDIATE_SLOTS 8u         /* beyond the command window, for immediate commands */
#define ISCSI_NEAR_IOVS 4u               /* lent memory described in the task itself */
#define ISCSI_SAYS_MAX 64u               /* answers that are no command's, waiting to be sent: then it is not read on */
#define ISCSI_SAY_BYTES_MAX (512u * 1024) /* ... or so many bytes of them */
#define ISCSI_TMFS_MAX 16u               /* at work at a time, of one connection */
#define ISCSI_MOVE_MS 100u               /* a session that cannot leave its core within this time stays */
#define ISCSI_DRAIN_MS 2000u             /* from our last words until we close: the initiator shall */
#define ISCSI_LOGOUT_S 10u               /* from our asking for a logout until the session is ended */
#define ISCSI_SLOTS_BUCKETS 256u         /* initiator task tags */

/* --- one command ------------------------------------------------------------------------------------------------- */

#define TASK_STATES(X) \
	X(TASK, FREE,      "no command",                        TO(TASK, NEW)) \
	X(TASK, NEW,       "look at the command",               TO(TASK, NEED_ROOM) | TO(TASK, RECEIVE) | \
	                                                        TO(TASK, ORDER) | TO(TASK, EXECUTE) | TO(TASK, SEND)) \
	X(TASK, NEED_ROOM, "wait for data buffers or iovecs",   TO(TASK, RECEIVE) | TO(TASK, ORDER) | \
	                                                        TO(TASK, EXECUTE) | TO(TASK, FREE)) \
	X(TASK, RECEIVE,   "data comes from the initiator",     TO(TASK, NEED_ROOM) | TO(TASK, ORDER) | \
	                                                        TO(TASK, EXECUTE) | TO(TASK, SEND) | TO(TASK, FREE)) \
	X(TASK, ORDER,     "wait for commands numbered before", TO(TASK, EXECUTE) | TO(TASK, SEND) | \
	                                                        TO(TASK, FREE)) \
	X(TASK, EXECUTE,   "the logical unit has it",           TO(TASK, NEXT) | TO(TASK, SEND) | TO(TASK, FREE)) \
	X(TASK, NEXT,      "the next piece of a long one begins", TO(TASK, NEED_ROOM) | TO(TASK, RECEIVE) | \
	                                                        TO(TASK, EXECUTE) | TO(TASK, SEND) | TO(TASK, FREE)) \
	X(TASK, SEND,      "the answer goes out",               TO(TASK, NEXT) | TO(TASK, FREE))
enum task_state { TASK_STATES(MACHINE_ENUM) TASK_STATE_COUNT };
extern const struct machine_state iscsi_task_states[];

/* Whose memory a task's data lies in. */
enum task_hold {
	HOLD_NOTHING, /* none; or a lent read's, described in `near` */
	HOLD_BUFS,    /* bufs */
	HOLD_NEAR,    /* lent for a write, described in `near` */
	HOLD_IOVS,    /* lent, described in the core's array `held` */
	HOLD_HEAP,    /* near[0]: data unasked for that came when the pools were dry */
	HOLD_RX,      /* near[0]: within the receive buffer `held` */
};

/* What a task in NEED_ROOM waits for. */
enum task_waits { WAITS_BUFFERS, WAITS_IOVS, WAITS_TURN /* its initiator to answer earlier R2Ts */ };

/* What stands in a connection's line to be sent. */
struct iscsi_out {
	struct queue_link link;
	bool is_task, queued;
	bool drafted;                 /* some of it is in the batch */
};

/* How far a task's PDUs have come: of an answer, or of R2Ts. */
struct task_at {
	uint32_t data;                /* offset of the next PDU's data */
	uint32_t sn;                  /* its DataSN or R2TSN */
	bool done;                    /* nothing more follows */
};

struct iscsi_task {
	struct scsi_task scsi;
	union {
		struct mem_bufs bufs;
		struct iovec near[ISCSI_NEAR_IOVS];
		struct wait wait;     /* for bufs or held: nothing is held then */
	};
	struct iscsi_out out;
	struct queue_link link;       /* in the connection's `turns`, or among its free slots */
	void *held;
	uint64_t since_ns;            /* when it came into its state, or data came last */
	uint32_t itt, cmd_sn;
	uint32_t expected;            /* ExpectedDataTransferLength */
	uint16_t index;               /* slot */
	uint8_t state;                /* enum task_state */
	uint8_t hold;                 /* enum task_hold */
	uint8_t waits;                /* NEED_ROOM: enum task_waits */
	uint8_t flags;                /* of the command PDU */
	bool immediate;               /* takes no place in the command window */
	bool in_turn;                 /* all commands numbered before it have come; it is counted in the window */
	bool charged;                 /* HOLD_HEAP: to the budget */
	bool asks;                    /* its data is asked for by R2T, and its buffers are counted */
	bool owes;                    /* an R2T is out, or data is to come unasked */
	bool bad_digest;
	bool refused;                 /* scsi.status says why; its data is still taken in */
	bool numbered;                /* stat_sn is final */
	bool unsolicited;             /* Data-Out without R2T is under way: the command's F bit was not set */
	bool comes;                   /* such data, or data with the command */
	/* Data from the initiator. */
	uint32_t wanted;              /* bytes to be stored: up to the end of its piece, from scsi.base on */
	uint32_t received;            /* bytes stored so far, in earlier pieces too */
	uint32_t offset;              /* of the next Data-Out: beyond `wanted` it is thrown away */
	uint32_t data_sn;             /* of the next Data-Out */
	uint32_t r2t_end;             /* of the R2T that is being answered: offset */
	uint32_t r2t_sn;              /* ... and its number */
	uint16_t r2ts_out;            /* not yet answered in full */
	uint16_t generation;          /* of the slot: a TTAG of the one before is no longer known */
	struct task_at asked;         /* R2Ts sent */
	/* The answer. */
	struct task_at sent;          /* Data-In sent */
	struct task_at draft;         /* either: in the batch that is being put together */
	uint32_t stat_sn;
};

/* Anything else to be sent, or bytes that had begun to go out. From the heap: none of it comes with every command. */
struct iscsi_say {
	struct iscsi_out out;
	bool raw;                     /* `bytes` are what goes out, as they are */
	bool takes_stat_sn;           /* ours advances */
	bool numbered, drafted;
	bool as_it_is;                /* a login response: its engine numbered it */
	bool closes;                  /* when it was sent nothing more is */
	uint32_t stat_sn;
	union iscsi_bhs bhs;
	uint32_t len;                 /* of bytes */
	uint8_t bytes[];              /* the data segment, without padding */
};

/* --- one connection ---------------------------------------------------------------------------------------------- */

#define CONN_STATES(X) \
	X(CONN, LOGIN,     "a login goes on",                          TO(CONN, ADMIT) | TO(CONN, DISCOVERY) | \
	                                                               TO(CONN, DRAIN) | TO(CONN, LOST)) \
	X(CONN, ADMIT,     "an older session of its initiator ends",   TO(CONN, CARRIED) | TO(CONN, DRAIN) | \
	                                                               TO(CONN, LOST)) \
	X(CONN, DISCOVERY, "a discovery session, on control",          TO(CONN, DRAIN) | TO(CONN, LOST)) \
	X(CONN, CARRIED,   "on its way to its first core",             TO(CONN, READY)) \
	X(CONN, READY,     "commands pass",                            TO(CONN, DRAIN) | TO(CONN, LOST)) \
	X(CONN, DRAIN,     "all is said; the initiator shall close",   TO(CONN, LOST)) \
	X(CONN, LOST,      "the socket is closed; tasks end",          0)
enum conn_state { CONN_STATES(MACHINE_ENUM) CONN_STATE_COUNT };
extern const struct machine_state iscsi_conn_states[];

/* What control asks a session for. */
#define ORDER_END 1u                  /* end it: say so, then close */
#define ORDER_REPLACED 2u             /* close it: its initiator logged in anew */
#define ORDER_ASK_LOGOUT 4u           /* asynchronous message; ended when no logout comes */

struct iscsi_text_job;
struct iscsi_later;
struct meant;

struct iscsi_conn {
	struct scsi_nexus nexus;
	struct iscsi_home *home;      /* of the core it lives on; of control during login. NULL: between two */
	struct sock *sock;            /* NULL: closed */
	uint8_t state;                /* enum conn_state */
	bool blocked;                 /* a send was short: SOCK_WRITABLE will come */
	bool throttled;               /* `throttle` waits for buffers */
	bool talks;                   /* too many says wait: not read */
	bool unheard;                 /* not read for either: it may be saying that it lives */
	bool close_soon;              /* when what it has to say is sent */
	bool nexus_on, nexus_ending, nexus_over;
	bool leaving;                 /* its end was announced, and counted */
	bool logged_out;              /* it is not read on */
	struct iscsi_say *farewell;   /* the answer to Logout: sent when no task is left, and the nexus is over */
	bool aborted_asked;           /* a task was aborted whose R2T was out: data for it may still come */
	struct iscsi_params params;   /* as negotiated; of its core */
	struct iscsi_receiver as;
	struct iscsi_rx rx;
	union iscsi_bhs rx_bhs;       /* of the PDU whose data comes */
	struct iscsi_task *rx_task;   /* the data being received is its; NULL: rx_buf's, or thrown away */
	struct iscsi_task *span_task; /* all of its data lies in the feed, in `span` */
	struct iovec span;
	uint8_t *rx_buf;              /* data of a PDU that is no command's */
	uint32_t rx_buf_len;
	uint64_t heard_ns;            /* anything */
	uint64_t blocked_ns;          /* since when `blocked` */
	/* The command window. */
	uint32_t exp_cmd_sn, depth;
	uint32_t window_used;         /* slots of commands that are not immediate, and in turn */
	uint32_t stat_sn;
	uint32_t held;                /* commands that came ahead of others: not in turn */
	struct iscsi_later *later;    /* PDUs that are no commands and did so */
	uint32_t later_bytes;         /* their data */
	uint64_t gap_ns;              /* since when the first that is missing is; while any came ahead */
	bool held_go_on;              /* some of them are in turn now, and begin when the PDU at hand has come */
	uint8_t skipped[ISCSI_QUEUE_DEPTH_MAX / 8]; /* CmdSNs ahead that need not be waited for: ended, or will not come */
	/* Slots. */
	uint32_t in_use, executing;   /* slots; those in the SCSI layer's hands */
	struct iscsi_task *slots;
	uint32_t slot_count, touched;
	uint64_t slots_bytes;         /* charged */
	struct queue_link *free;
	uint16_t *tag_next;           /* by slot: the next one of its bucket */
	uint16_t tag_first[ISCSI_SLOTS_BUCKETS]; /* slot + 1; 0: none */
	uint32_t owed;                /* tasks whose data is to come */
	uint32_t asked_bytes;         /* buffers held for such data, from before the R2T goes out */
	struct queue turns;           /* tasks that wait for that to be less */
	/* Sending. */
	struct queue out;             /* struct iscsi_out */
	uint32_t says;                /* of them */
	uint32_t say_bytes;
	uint32_t head_sent;           /* bytes of the PDU at the head of the line that are gone ... */
	uint8_t head[ISCSI_BHS_SIZE + ISCSI_DIGEST_SIZE]; /* ... and its header, as it went */
	uint32_t batch_max;           /* MaxCmdSN as far as the batch has come */
	struct defer flush;
	struct timer timer;           /* data owed, deaf peer, ping, drain: by state */
	struct wait throttle;
	struct list link;             /* the home's connections */
	uint32_t tmfs;                /* task management functions at work */
	uint32_t texts;               /* text requests at control */
	uint32_t ping_ttt;            /* of our NOP-In; ISCSI_TAG_NONE: none is out */
	uint64_t ping_ns;
	uint64_t logout_by_ns;        /* asked to log out; 0: not */
	struct carry move;
	struct defer admit;
	struct defer gone;
	/* For the scheduler. */
	uint64_t id, work;
	uint32_t moved_round;
	bool pinned;
	/* Numbers that control reads while they count. */
	_Atomic uint64_t pdus_in, pdus_out, bytes_in, bytes_out, commands_in;

	/* --- control's, but for what is said --- */
	struct iscsi_conns *conns;            /* constant */
	struct carry_home where;
	struct list entry;                    /* in the register */
	struct iscsi_login login;
	struct iscsi_text_nego text;
	struct iscsi_visitor visitor;
	uint64_t since_us;
	struct iscsi_node *node;              /* counted, when the session was admitted */
	struct meant *meant;                  /* ends that wait for it (session.c) */
	bool told_to_go;
	uint16_t tsih;
	bool counted;                         /* in the load of a core */
	bool is_gone;                         /* from its core; freed when no order is out */
	uint32_t orders, orders_now;          /* to be sent; being read there */
	bool order_out;
	struct msg order_msg, carry_msg, gone_msg;
	struct iscsi_move *hand;              /* moved by hand */
	struct msg hand_msg;
	struct reactor *hand_to;
	bool hand_was_pinned;
	int hand_rc;
	struct iscsi_task first[ISCSI_FIRST_SLOTS];
};

static inline struct iscsi_conn *conn_of(struct scsi_nexus *n) { return container_of(n, struct iscsi_conn, nexus); }
static inline struct iscsi_conn *task_conn(struct iscsi_task *t) { return conn_of(t->scsi.nexus); }
static inline struct iscsi_task *task_of(struct scsi_task *t) { return container_of(t, struct iscsi_task, scsi); }
static inline struct iscsi_task *conn_task(struct iscsi_conn *c, uint32_t index)
{
	return index < ISCSI_FIRST_SLOTS ? &c->first[index] : &c->slots[index - ISCSI_FIRST_SLOTS];
}
static inline bool conn_is_live(const struct iscsi_conn *c) { return c->state < CONN_DRAIN; }
static inline uint32_t conn_max_cmd_sn(const struct iscsi_conn *c)
{
	return c->exp_cmd_sn + (c->depth - c->window_used) - 1;
}

/* conn_login.c: control (login.c is the engine) */
struct iscsi_conn *iscsi_conn_make(struct iscsi_conns *cs, struct iscsi_portal *p, struct sock *s);
void iscsi_conn_login_pdu(struct iscsi_conn *c);              /* rx_bhs, rx_buf: a login PDU, or what came instead */
void iscsi_conn_admit_go_on(struct iscsi_conn *c);            /* ADMIT: an older session has ended */
struct iscsi_say *iscsi_text_answer(struct iscsi_conn *c, const struct iscsi_text_req *bhs, const uint8_t *data,
                                    uint32_t len);            /* any session: what to answer */

/* conn.c */
const char *iscsi_conn_name(const struct iscsi_conn *c);      /* for the log: the initiator's name */
void iscsi_conn_set_state(struct iscsi_conn *c, enum conn_state state);
void iscsi_conn_arrive(struct msg *m);                        /* c->carry_msg, on its first core */
bool iscsi_conn_settle(struct iscsi_conn *c);                 /* it is here: go on. False: it was lost */
/* What the other side did cannot be gone on with: Reject the PDU at hand, then close. */
void iscsi_conn_break(struct iscsi_conn *c, uint8_t reason, const char *why);
/* Say `last`, if any, then leave the closing to the initiator for a while. */
void iscsi_conn_drain(struct iscsi_conn *c, struct iscsi_say *last);
void iscsi_conn_end(struct iscsi_conn *c, const char *why);   /* we end it: told by an asynchronous message */
/* Close now; `why` for the log at debug level. */
void iscsi_conn_lose(struct iscsi_conn *c, const char *why);
void iscsi_conn_log_out(struct iscsi_conn *c, struct iscsi_say *farewell); /* when no task is left */
void iscsi_conn_last_task(struct iscsi_conn *c);              /* ... which is now */
void iscsi_conn_less(struct iscsi_conn *c);   /* c->tmfs or c->texts are fewer: it may log out, move, or go */
void iscsi_conn_maybe_gone(struct iscsi_conn *c);
void iscsi_conn_said_all(struct iscsi_conn *c);               /* and shall close now */
void iscsi_conn_disconnect(struct scsi_nexus *n);             /* scsi_nexus_ops */
void iscsi_conn_owes_data(struct iscsi_conn *c);              /* an R2T went out: its deadline runs */
void iscsi_conn_has_gap(struct iscsi_conn *c);                /* commands are missing: their deadline runs */
void iscsi_conn_is_blocked(struct iscsi_conn *c);             /* the initiator has to read: its deadline runs */
void iscsi_conn_start_timer(struct iscsi_conn *c);            /* by its state */
void iscsi_conn_update_reading(struct iscsi_conn *c);         /* what decides whether to read on has changed */
void iscsi_conn_order(struct iscsi_conn *c, uint32_t bits);   /* control: ORDER_ */
/* Is `c` here? Otherwise `m` follows it and will run `fn` there. */
static inline bool iscsi_conn_here(struct iscsi_conn *c, struct msg *m, msg_fn *fn)
{
	return carry_met(&c->where, m, fn);
}
static inline void iscsi_conn_worked(struct iscsi_conn *c) { c->work += core_call_ticks(); }

/* recv.c */
void iscsi_conn_ready(void *arg, uint32_t events);            /* sock_ready_fn */

/* pdu.c */
enum cmd_sn { CMD_SN_NEXT, CMD_SN_AHEAD, CMD_SN_IGNORE };
/* A CmdSN came. NEXT: it is counted; AHEAD: others have to come before; IGNORE: drop the PDU. */
enum cmd_sn iscsi_cmd_sn_came(struct iscsi_conn *c, const struct iscsi_hdr *h, uint32_t cmd_sn);
/* Within the window, and no PDU of that number has come. */
bool iscsi_cmd_sn_is_missing(struct iscsi_conn *c, uint32_t cmd_sn);
void iscsi_cmd_sn_skip(struct iscsi_conn *c, uint32_t cmd_sn); /* it is missing, and will not come */
void iscsi_held_go_on(struct iscsi_conn *c);                  /* c->held_go_on, when the PDU at hand was dealt with */
void iscsi_later_end(struct iscsi_conn *c);
void iscsi_conn_pdu(struct iscsi_conn *c);                    /* c->rx_bhs, c->rx_buf: complete; no command, no data */
struct iscsi_say *iscsi_say_make(uint8_t opcode, const void *data, uint32_t len);
void iscsi_say(struct iscsi_conn *c, struct iscsi_say *s);
void iscsi_say_end(struct iscsi_conn *c, struct iscsi_say *s);
void iscsi_conn_reject(struct iscsi_conn *c, uint8_t reason);  /* the PDU at hand */
void iscsi_conn_ping(struct iscsi_conn *c);
void iscsi_conn_tell(struct iscsi_conn *c, uint8_t event, uint16_t seconds);
void iscsi_conn_event(struct scsi_nexus *n, uint64_t lun, uint8_t asc, uint8_t ascq); /* scsi_nexus_ops */

/* task.c */
struct iscsi_task *iscsi_task_take(struct iscsi_conn *c, bool immediate, bool in_turn); /* NULL: there is no slot */
void iscsi_task_tag(struct iscsi_task *t, uint32_t itt);      /* it can be found by */
struct iscsi_task *iscsi_task_find(struct iscsi_conn *c, uint32_t itt);
void iscsi_task_run(struct iscsi_task *t);                    /* until it waits */
void iscsi_task_sequence_end(struct iscsi_task *t);           /* RECEIVE: an R2T's data is here, or all unsolicited */
/* Memory for data that comes unasked, at any price. False: beyond the budget. */
bool iscsi_task_hold(struct iscsi_task *t);
void iscsi_task_use_span(struct iscsi_task *t, const struct iovec *span); /* its data is here */
void iscsi_task_done(struct scsi_task *t);                    /* scsi_nexus_ops */
void iscsi_task_r2t_sent(struct iscsi_task *t, uint64_t now_ns);
void iscsi_task_end(struct iscsi_task *t);
void iscsi_task_in_turn(struct iscsi_task *t);                /* ORDER: those before it have come */
/* Not in the SCSI layer's hands. True: its LUN was removed, which is the answer by now. */
bool iscsi_task_lost_lun(struct iscsi_task *t);
void iscsi_tasks_leave_luns(struct iscsi_conn *c);            /* ORDER: they keep no LUN that was removed */
void iscsi_task_piece_over(struct iscsi_task *t);             /* of a long command: NEXT, to be run */
void iscsi_tasks_next(struct iscsi_conn *c);                  /* NEXT: it does not move any more */
/* It waits for something that need not come, or has pieces to come: it can be ended here. */
static inline bool iscsi_task_waits(const struct iscsi_task *t)
{
	return t->state == TASK_NEED_ROOM || t->state == TASK_RECEIVE || t->state == TASK_ORDER ||
	       t->state == TASK_NEXT || (t->state == TASK_SEND && t->scsi.more);
}
/* Bytes of its piece, and of them those that came. */
static inline uint32_t iscsi_task_room(const struct iscsi_task *t) { return t->wanted - t->scsi.base; }
static inline uint32_t iscsi_task_here(const struct iscsi_task *t) { return t->received - t->scsi.base; }
void iscsi_task_drop(struct iscsi_task *t);                   /* ... aborted, no answer */
void iscsi_task_end_all(struct iscsi_conn *c);                /* but those in the SCSI layer's hands */
void iscsi_task_wait_cancel(struct iscsi_task *t);            /* NEED_ROOM */
void iscsi_task_slot_init(struct iscsi_conn *c, uint32_t index);
/* The end of the R2T that begins at `from`. */
static inline uint32_t iscsi_r2t_end(const struct iscsi_conn *c, const struct iscsi_task *t, uint32_t from)
{
	return from + min_u32(t->wanted - from, c->params.max_burst);
}
static inline uint32_t iscsi_task_ttt(const struct iscsi_task *t, uint32_t r2t_sn)
{
	return (uint32_t)(t->generation & 0x7f) << 24 | (r2t_sn & 0xff) << 16 | t->index;
}

/* tmf.c */
void iscsi_conn_tmf(struct iscsi_conn *c, const struct iscsi_tmf *pdu);

/* send.c */
void iscsi_send_soon(struct iscsi_conn *c);
void iscsi_send_flush(struct defer *d);
void iscsi_send_push(struct iscsi_conn *c, struct iscsi_out *o);
/* Take it out of the line; what had begun to go out of it goes. */
void iscsi_send_remove(struct iscsi_conn *c, struct iscsi_out *o);
void iscsi_send_forget(struct iscsi_conn *c);                 /* all of it */
void iscsi_send_drop_tasks(struct iscsi_conn *c);             /* what is tasks' */
/* Turn all that is queued, or only the PDU that has begun to go out, into raw bytes; those tasks' part is done. */
void iscsi_send_to_raw(struct iscsi_conn *c, bool all);

/* move.c */
void iscsi_conn_carry(struct iscsi_conn *c, struct reactor *to, carry_done_fn *done, void *arg);

/* --- one core, and the register ---------------------------------------------------------------------------------- */

struct iscsi_home {
	CACHE_ALIGNED struct iscsi_conns *conns;
	bool begun, stopping;
	struct gather_rxs rxs;
	struct gather_batch *batch;
	struct gather_iovs iovs;
	struct list list;             /* connections */
	struct watch watch;
	struct log_limit complaints;  /* about initiators */
	struct iscsi_counters counters;
};
/* One writer; any core may read. */
#define iscsi_count(home, key, n) \
	__atomic_store_n(&(home)->counters.key, (home)->counters.key + (n), __ATOMIC_RELAXED)
#define iscsi_note(field, n) \
	atomic_store_explicit(field, atomic_load_explicit(field, memory_order_relaxed) + (n), memory_order_relaxed)

struct iscsi_conns {
	struct iscsi_target *target;
	struct core *core;
	struct iscsi_home *homes;     /* by reactor_index(); the last is control's */
	uint32_t core_count;
	struct sched_place place;
	struct sched_mover mover;
	/* Constant while anybody is connected but for changes of the options; read by cores. */
	_Atomic uint32_t data_timeout_ms, nop_interval_ms, nop_timeout_ms;
	/* control */
	struct list entries;          /* struct iscsi_conn, all of them */
	uint32_t entry_count;
	uint32_t last_id;
	uint16_t last_tsih;
	bool stopping, told;
	struct each each;
	void (*stopped)(void *arg);
	void *stopped_arg;
};

void iscsi_home_begin(struct iscsi_home *h);            /* its core; the first time */
void iscsi_home_end(struct iscsi_home *h);              /* its core; no connection is left */
static inline struct iscsi_home *iscsi_home_self(struct iscsi_conns *cs)
{
	return &cs->homes[reactor_index(reactor_self())];
}

/* session.c */
struct iscsi_conn *iscsi_conns_find(struct iscsi_conns *cs, uint64_t id);
void iscsi_conn_unheld(struct iscsi_conn *c);           /* nobody moves it by hand any more: freed if it is gone */
void iscsi_orders_back(struct msg *m);                  /* c->order_msg */
void iscsi_conn_gone(struct iscsi_conn *c);             /* its core: nothing uses it there any more */
/* Older sessions of the same initiator port and target port: told to end. True: there are some. */
bool iscsi_conns_reinstate(struct iscsi_conn *c);
/* `wanted`, if nobody has it; 0: any. */
uint16_t iscsi_conns_tsih(struct iscsi_conns *cs, uint16_t wanted);

#endif
