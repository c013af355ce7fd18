/* SPDX-License-Identifier: BSD-3-Clause */
/* scsi.h: the SCSI target: devices, logical units, nexuses and tasks. For any transport of SCSI: iSCSI, vhost.
 *
 * A transport knows CDBs as bytes, and data, never opcodes: it takes a command off its wire, is told by
 * scsi_task_parse() which way how much data moves, moves it in its own way, and sends status, sense and residual.
 *
 *     transport                                   this layer
 *     a session begins      scsi_nexus_join()     control: it is entered in its device's register
 *     it arrives on a core  scsi_nexus_begin()    tasks may come
 *     command arrived       scsi_task_parse()     looks up LUN and opcode; says direction and length of data
 *     data is here          scsi_task_execute()   runs it, in order with others as its attribute says
 *                           ops->task_done()      status, sense, data to send
 *     sent                  scsi_task_free()      lent data is given back; the task may be reused
 *     task management       scsi_tmf_start()      m->done() when what it says holds on every core
 *     the session ends      scsi_nexus_end()      aborts; n->ended() when no write of it can land any more
 *
 * Who owns what: the control reactor has devices, their LUN maps and the register of nexuses; a nexus and its
 * tasks belong to the core the transport keeps them on. LUNs have no home core: each core has its own channel of each
 * device in use. What a logical unit has in common for all (mode pages, ALUA states, reservations) is changed on the
 * control reactor and published to the cores as versions.
 *
 * Rules both sides rely on:
 *   scsi_task_parse() leaves nothing behind but what scsi_task_free() undoes.
 *   ops->task_done() comes once for every executed task, in a later phase of the same pass or in a later pass, never
 *   from within a call into this layer; for an aborted task too, with t->aborted set: the transport answers
 *   nothing then, as SAM-5 wants it (or TASK ABORTED, when the control mode page's TAS is set: t->status says so).
 */
#ifndef SCSI_SCSI_H
#define SCSI_SCSI_H

#include "bdev/bdev.h"
#include "wire/scsi.h"

struct scsi;            /* all of it, of one daemon */
struct scsi_target;     /* a SCSI target device */
struct scsi_lu;         /* a logical unit: a device (bdev) in a target's LUN map */
struct scsi_nexus;
struct scsi_task;
struct scsi_opcode;     /* the row an opcode led to */
struct stage_unit;

#define SCSI_LUNS_MAX 256u             /* LUN numbers 0 to 255 of one device */
#define SCSI_PORTS_MAX 256u            /* target ports of one device */
#define SCSI_CDB_MAX 32u
#define SCSI_SENSE_MAX 64u             /* descriptor sense with a few descriptors; fixed format needs 18 */
#define SCSI_NAME_MAX 223u             /* of a device or a port, in bytes: an iSCSI name */
#define SCSI_PORT_NAME_MAX 240u        /* iqn...,t,0x0001 and iqn...,i,0x0123456789ab */

/* --- the layer and its devices: control reactor ----------------------------------------------------------- */

struct scsi *scsi_make(struct core *core, struct bdev_registry *reg);
/* No device and no nexus is left. done: later. */
void scsi_stop(struct scsi *s, void (*done)(void *arg), void *arg);
void scsi_free(struct scsi *s);

/* A change of what all cores see. The caller's memory until done, which runs on the control reactor, later; err says
 * how it went: a sentence. */
struct scsi_change {
	struct err err;
	void (*done)(struct scsi_change *c);
	void *arg;
	uint32_t ret_lun;                  /* of a LUN that was added */
	struct scsi_change_work *work;     /* this layer's */
};

/* A device goes away by itself and its LUN with it (hosts are told): who keeps the configuration hears of it, in the
 * moment in which the LUN is no more on the map. */
struct scsi_lun_gone {
	uint32_t lun;
	const char *bdev_name;
	struct uuid uuid;                  /* the device's */
	bool read_only;
	bool returns;                      /* bdev_returns(): it may be kept for when the device is there again */
};
typedef void scsi_lun_gone_fn(void *arg, struct scsi_target *t, const struct scsi_lun_gone *g);
/* Of all devices that name nobody themselves. */
void scsi_on_lun_gone(struct scsi *s, scsi_lun_gone_fn *fn, void *arg);

struct scsi_target_opts {
	const char *name;                  /* SCSI device name: iqn..., eui..., naa...; stable identifier of VPD 83h */
	uint8_t protocol;                  /* enum scsi_protocol: of its ports */
	scsi_lun_gone_fn *lun_gone;        /* NULL: who asked scsi_on_lun_gone() */
	void *lun_gone_arg;
};
struct scsi_target *scsi_target_make(struct scsi *s, const struct scsi_target_opts *opts, struct err *e);
/* Nexuses are told to go (ops->disconnect), LUNs are closed. */
void scsi_target_free(struct scsi_target *t, struct scsi_change *c);

/* A target port: what a nexus comes in by. `id`: relative target port identifier, 1 to 65535; `group`: its target port
 * group, by default one of its own. */
struct scsi_port_opts {
	uint16_t id, group;
	const char *name;
};
int scsi_target_add_port(struct scsi_target *t, const struct scsi_port_opts *opts, struct err *e);
int scsi_target_remove_port(struct scsi_target *t, uint16_t id, struct err *e);

struct scsi_lun_opts {
	uint32_t lun;                      /* UINT32_MAX: the first free one */
	const char *bdev_name;
	bool read_only;
};
/* Open the device and show it to hosts (unit attention REPORTED LUNS DATA HAS CHANGED). c->ret_lun: which it is. */
void scsi_target_add_lun(struct scsi_target *t, const struct scsi_lun_opts *opts, struct scsi_change *c);
/* Waits for its tasks only: those whose data is still to come, too, for as long as the transport lets them. What waits
 * for something else it gives up (scsi_task_lun_is_gone()). */
void scsi_target_remove_lun(struct scsi_target *t, uint32_t lun, struct scsi_change *c);
/* Asymmetric access of a port group; enum scsi_alua. Hosts are told by unit attentions. */
void scsi_target_set_alua(struct scsi_target *t, uint16_t group, uint8_t state, struct scsi_change *c);
uint8_t scsi_target_alua(const struct scsi_target *t, uint16_t group);

struct scsi_lun_info {
	uint32_t lun;
	const char *bdev_name;             /* stable until the next change */
	bool read_only, gone;              /* gone: its device was removed; the LUN waits for being removed */
	bool lost;                         /* gone, and it was deleted: the LUN does not return */
	bool swp, stopped, uncached;       /* hosts write-protected it, stopped it, switched its cache off */
};
/* False: there is no such LUN. */
bool scsi_target_lun(const struct scsi_target *t, uint32_t lun, struct scsi_lun_info *ret_info);
/* --- nexuses ---------------------------------------------------------------------------------------------- */

struct scsi_nexus_ops {
	/* The nexus' core. */
	void (*task_done)(struct scsi_task *t);
	/* The device goes away, or somebody reset the nexus: end the session. scsi_nexus_end() follows. */
	void (*disconnect)(struct scsi_nexus *n);
	/* Optional: what a transport may tell at once (iSCSI: asynchronous message), while the unit attention waits. */
	void (*event)(struct scsi_nexus *n, uint64_t lun, uint8_t asc, uint8_t ascq);
};

/* What an EXTENDED COPY came to, for RECEIVE COPY STATUS: the last few of a nexus are kept. */
#define SCSI_COPIES_KEPT 4u
struct scsi_copy_result {
	bool used;
	uint8_t list_id, status;
	uint16_t lun, segments;            /* segments: that were done */
	uint32_t kib;
};

/* Embedded in the transport's session. Zeroed before join. */
struct scsi_nexus {
	const struct scsi_nexus_ops *ops;
	struct scsi_target *target;
	struct bdev_initiator who;         /* set by the transport: the initiator's name; join makes host_id of the port */
	char initiator_port[SCSI_PORT_NAME_MAX + 1]; /* set by the transport: TransportID's name with ISID */
	uint16_t port;                     /* set by the transport: relative id of the target port it came in by */
	const void *lanes;                 /* set by the transport: nexuses of one initiator port and target port that have
	                                    * the same are one nexus, whose tasks are on several cores; each keeps its own
	                                    * order, and hears unit attentions for itself. NULL: it is alone */
	uint32_t piece_bytes;              /* set by the transport: what moves more does so in pieces of so many bytes, a
	                                    * power of two (scsi_task_seek()). 0: it has room for any command's data */
	/* This layer's. */
	struct reactor *reactor;           /* where it lives */
	struct scsi_core *core;            /* NULL: between two cores, or not begun */
	struct scsi_seat *seat;            /* its entry in the register, control's */
	struct bdev_lease lease;
	uint32_t lease_epoch;
	struct list link;                  /* core's */
	struct list tasks;                 /* executed and not done, in order */
	uint32_t task_count;               /* as many, and task management at work: it does not move, nor end, before 0 */
	uint32_t ordered, waiting;         /* of them with attribute ORDERED; that have not begun */
	uint32_t gates;                    /* task management functions at work: executed tasks wait */
	struct scsi_attention *attentions; /* [LUN]: unit attentions that wait */
	uint32_t attention_count;          /* LUNs on which some wait */
	struct list legs;                  /* struct scsi_leg: task management that waits for tasks to end */
	bool ending, revoked, told;
	void (*ended)(struct scsi_nexus *n);
	struct defer defer;
	struct scsi_copy_result copies[SCSI_COPIES_KEPT];
	uint8_t copy_next;
	struct stage_unit *stages;         /* of the LUN used last, then others: stages.c */
};

/* Control. The device may be going: -ENODEV. A nexus of the same initiator port and target port must have ended before
 * (session reinstatement is the transport's to begin), but for another of its lanes: -EEXIST. */
int scsi_nexus_join(struct scsi_nexus *n, struct scsi_target *t, const struct scsi_nexus_ops *ops, struct err *e);
/* Its core, once, before the first task. */
void scsi_nexus_begin(struct scsi_nexus *n);
/* Its core, or control when it has not begun: no more tasks. Those it has are aborted (ops->task_done() comes for them
 * as ever); the lease is revoked; `ended` runs on the same core, later, when nothing of it can land any more and the
 * register has forgotten it. Parsed tasks that were not executed are the transport's to free, before `ended`. */
void scsi_nexus_end(struct scsi_nexus *n, void (*ended)(struct scsi_nexus *n));
/* State for freeze/thaw between cores: on the old core when n->task_count is 0 and no parsed task is left, then on the
 * new one. `to`: the new one; thawing: NULL. */
struct freeze;
void scsi_nexus_freeze(struct freeze *f, struct scsi_nexus *n, struct reactor *to);

/* --- tasks ------------------------------------------------------------------------------------------------ */

enum scsi_data { SCSI_DATA_NONE, SCSI_DATA_OUT /* to the device */, SCSI_DATA_IN /* to the initiator */ };

struct scsi_task {
	/* Set by the transport before scsi_task_parse(). */
	struct scsi_nexus *nexus;
	uint64_t lun;                      /* the eight bytes as on the wire, big-endian value */
	uint64_t tag;                      /* iSCSI: the initiator task tag */
	uint8_t cdb[SCSI_CDB_MAX];
	uint8_t cdb_len;                   /* 16; more with an extended CDB */
	uint8_t attr;                      /* enum scsi_attr */
	uint32_t expected_out, expected_in; /* bytes the initiator is ready to move */
	/* Set by scsi_task_parse(). */
	uint8_t data;                      /* enum scsi_data: what the CDB moves */
	bool may_lend;                     /* no buffers needed if the transport has room for iovecs: as nvmf/transport.h */
	bool may_consume;
	uint32_t data_len;                 /* bytes the CDB moves; IN: at most. More than expected: only as much is moved */
	uint32_t moves;                    /* OUT: min(data_len, expected_out), what the transport fetches; the rest of what
	                                    * the initiator offers is dropped. IN: what it has buffers for when it does not
	                                    * lend: as much of data_len as covers expected_in, in whole blocks */
	uint32_t whole, base;              /* a long command, of which `moves` is a piece: bytes of all of them (0: it is
	                                    * not long), and where this one begins */
	uint16_t lend_iovs_max;
	/* Set by the transport before scsi_task_execute(): the data, or for lent reads an empty array of iov_max. */
	uint16_t iov_count, iov_max;
	struct iovec *iovs;
	/* Set before task_done(). */
	uint8_t status;                    /* enum scsi_status */
	bool aborted;                      /* by task management or reset: see above; or given up */
	bool given_up;                     /* with aborted: that is all why, and the device did not do it */
	bool lent, consumed;
	bool more;                         /* of a long command a piece went well that is not the last */
	uint32_t sent_len;                 /* IN: bytes that are there to be sent; may be with CHECK CONDITION too. Of a
	                                    * long command: of the piece */
	uint32_t full_len;                 /* bytes the command moved or would have moved: with expected_* the residual */
	uint8_t sense_len;                 /* CHECK CONDITION */
	uint8_t sense[SCSI_SENSE_MAX];
	/* This layer's. */
	const struct scsi_opcode *op;      /* NULL: no such command */
	struct bdev_view *lu;              /* NULL: no such LUN. Keeps it, and its channel, until scsi_task_free() */
	uint8_t state;                     /* enum scsi_task_state */
	bool tell_aborted;                 /* aborted, and its initiator is to hear of it: TASK ABORTED */
	uint8_t shift;                     /* of a block, when it was parsed */
	uint16_t unit;                     /* LUN number; SCSI_LUNS_MAX: none there can be */
	uint16_t at;                       /* commands of several steps: the one that is being done ... */
	uint32_t epoch;                    /* of its LUN's task set when it was parsed */
	uint64_t at_lba;                   /* ... and where it goes */
	void *own;                         /* an opcode's own memory; scsi_task_free() frees it ... */
	uint32_t own_bytes;                /* ... and gives as much back to the budget */
	uint64_t came_ns;                  /* for stages.c: scsi_task_came() */
	uint64_t paused_ns;                /* of a long one: its last piece ended */
	uint32_t began, waited, away;      /* units of 1024 ns: since it came; in lines; out of the back-end */
	struct list link;
	struct queue_link done_link;
	struct bdev_io io;
};

/* Look at the command. False: status and sense are set already and there is nothing to fetch; send them (after the
 * initiator's immediate data was dropped). */
bool scsi_task_parse(struct scsi_task *t);
/* OUT and may_lend, parsed, not yet executed: memory of the device's own to receive the data in (nvmf_req_lend()). */
bool scsi_task_lend(struct scsi_task *t);
void scsi_task_execute(struct scsi_task *t);
/* A command that moves more than the transport has room for (nexus->piece_bytes) is executed piece by piece: t->whole
 * is set, and after a piece that ended with t->more, when its data was sent or is not needed any more, the transport
 * has the next one by seeking to t->base + t->moves. What was lent is given back; the task is as after
 * scsi_task_parse(): `moves`, may_lend and lend_iovs_max are the piece's, it may be lent to, executed, failed or freed,
 * and task management means it as any that was parsed before. The end of the last piece, or of one that fails, is the
 * command's. False: as scsi_task_parse()'s; the disk has shrunk. Between two pieces a nexus can be frozen: parse and
 * seek again after thawing (when t->whole is more than t->base: else it is not the disk it was). */
bool scsi_task_seek(struct scsi_task *t, uint32_t base);
/* Between two pieces no list has it: its nexus stays until the next one was executed, or the task freed. Once each. */
static inline void scsi_nexus_hold(struct scsi_nexus *n) { n->task_count++; }
void scsi_nexus_let_go(struct scsi_nexus *n);
/* Between two pieces, it is aborted: when it is executed again it ends at once, through task_done(). Until then it is
 * stale. */
void scsi_task_abort_between(struct scsi_task *t);
/* Trouble that the transport found (a digest, data that did not come): sets status and sense; it is not executed. */
void scsi_task_fail(struct scsi_task *t, uint8_t key, uint8_t asc, uint8_t ascq);
/* Parsed, not executed yet, and aborted meanwhile by task management: its data need not come. Execute it all the same:
 * it ends at once, through task_done(). */
bool scsi_task_is_stale(const struct scsi_task *t);
/* Parsed, not executed yet, and its LUN was removed meanwhile, which waits for it: it may fail and be freed before its
 * turn. ops->event() tells when to ask. */
bool scsi_task_lun_is_gone(const struct scsi_task *t);
/* When, for the stages of its time (core/stages.h): its first bytes came, before scsi_task_parse(); it waited for room
 * or its turn since then; the last byte of the answer, which task_done() brought at `done_ns`, was handed on (now_ns:
 * of the pass), or never will be: one of the two, before scsi_task_free(). A task that moves to another core takes
 * `came_ns`, `paused_ns`, `waited` and `away` along. */
static inline void scsi_task_came(struct scsi_task *t, uint64_t now_ns)
{
	t->came_ns = now_ns;
	t->began = t->waited = t->away = 0;
}
static inline void scsi_task_waited(struct scsi_task *t, uint64_t since_ns)
{
	t->waited += (uint32_t)((reactor_now_ns() - since_ns) >> 10);
}
void scsi_task_sent(struct scsi_task *t, uint64_t done_ns, uint64_t now_ns);
void scsi_task_lost(struct scsi_task *t, uint64_t done_ns, bool aborted /* else its session ended */);
/* One that is executed has taken too long for its transport: it ends soon, aborted, if its device can end it; ask again
 * if it does not. What the device does all the same has its own end. */
void scsi_task_give_up(struct scsi_task *t);
/* After the answer was sent, or can never be. Twice is as good as once. */
void scsi_task_free(struct scsi_task *t);

/* --- task management -------------------------------------------------------------------------------------- */

enum scsi_tmf_function {
	SCSI_TMF_ABORT_TASK, SCSI_TMF_ABORT_TASK_SET, SCSI_TMF_CLEAR_TASK_SET, SCSI_TMF_CLEAR_ACA,
	SCSI_TMF_LU_RESET, SCSI_TMF_TARGET_WARM_RESET, SCSI_TMF_TARGET_COLD_RESET, SCSI_TMF_NEXUS_RESET,
	SCSI_TMF_QUERY_TASK, SCSI_TMF_QUERY_TASK_SET,
};
enum scsi_tmf_response {
	SCSI_TMF_COMPLETE, SCSI_TMF_SUCCEEDED /* query: it is there */, SCSI_TMF_NO_TASK, SCSI_TMF_NO_LUN,
	SCSI_TMF_UNSUPPORTED, SCSI_TMF_REJECTED,
};
/* In two phases for what concerns other nexuses: every core gates the nexuses that are meant, aborts their tasks and
 * acknowledges when they have ended; then unit attentions are raised, the gates open, and done runs. Tasks of this
 * nexus that were parsed before scsi_tmf_start() are meant, executed or not (scsi_task_is_stale()); those that are
 * parsed after it are not, and wait behind the gate. ABORT TASK and QUERY TASK look at executed tasks only: what waits
 * for its data is the transport's. After TARGET COLD RESET every nexus is told to go. */
struct scsi_tmf {
	struct scsi_nexus *nexus;
	uint8_t function, response;
	uint64_t lun, tag;
	void (*done)(struct scsi_tmf *m);
	struct scsi_tmf_work *work;
};
/* The nexus' core. Memory: `m` yours until done, which runs on the same core (where the nexus lives then), later. */
void scsi_tmf_start(struct scsi_tmf *m);

#endif
