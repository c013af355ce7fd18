/* SPDX-License-Identifier: BSD-3-Clause */
/* scsi_priv.h: the layer's insides (private to scsi): devices, logical units, nexuses' seats; and the verbs with which
 * commands are written.
 *
 * Who owns what:
 *   control reactor   devices (struct scsi_target), their LUN maps' next version, logical units' common state, seats
 *   any core          the map's version it has entered, its views of logical units, its nexuses and their tasks
 * A seat is a nexus' place in its device's register, from join to end. Whoever wants something of a nexus on another
 * core sends its seat mail; mail follows the nexus when it moves.
 */
#ifndef SCSI_SCSI_PRIV_H
#define SCSI_SCSI_PRIV_H

#include <errno.h>

#include "base/text.h"
#include "bdev/iov.h"
#include "bdev/reservation.h"
#include "bdev/served.h"
#include "core/carry.h"
#include "core/freeze.h"
#include "core/seq.h"
#include "core/stages.h"
#include "core/version.h"
#include "core/watch.h"
#include "scsi/scsi.h"
#include "scsi/scsi_eyes.h"

/* --- logical units ---------------------------------------------------------------------------------------- */

/* What all nexuses of a logical unit have in common and commands may change: mode pages and the like. Published as part
 * of the map's version; a command sees its core's: scsi_task_state(). */
struct scsi_lu_state {
	bool wce;                          /* write cache enabled */
	bool swp;                          /* software write protect */
	bool d_sense;                      /* descriptor format */
	bool tas;                          /* TASK ABORTED status for who was not asked */
	bool stopped;                      /* START STOP UNIT */
	uint64_t changes;                  /* counts them */
};

/* A device opened for a LUN. What NAA, T10 and UUID designators are made of is its UUID. */
struct scsi_lu {
	struct scsi_target *target;
	uint32_t lun;
	struct bdev_served dev;
};
static inline struct scsi_lu *scsi_lu_of(const struct bdev_view *v)
{
	return container_of(v->served, struct scsi_lu, dev);
}

/* --- devices: their LUN map as versions ------------------------------------------------------------------- */

struct scsi_port {
	uint16_t id, group;
	char name[SCSI_PORT_NAME_MAX + 1];
};
struct scsi_group {                        /* target port group */
	uint16_t id;
	uint8_t state;                         /* enum scsi_alua */
	uint8_t status;                        /* as REPORT TARGET PORT GROUPS: 0 none, 1 explicit, 2 implicit */
};
struct scsi_map_lun {
	struct scsi_lu *lu;                    /* NULL: no such LUN */
	struct scsi_lu_state state;
};

struct scsi_map {
	struct version v;
	struct scsi_target *target;
	bool alua_limited;                     /* some group is in a state that refuses commands */
	uint32_t port_count, group_count;
	struct scsi_port *ports;               /* by id */
	struct scsi_group *groups;             /* by id */
	struct scsi_map_lun luns[SCSI_LUNS_MAX];
	struct list here[CORE_REACTORS_MAX];   /* each core's `maps`, from entering to leaving */
};

struct scsi_target {
	struct scsi *scsi;
	struct list link;
	char name[SCSI_NAME_MAX + 1];
	uint8_t protocol;
	scsi_lun_gone_fn *lun_gone;
	void *lun_gone_arg;
	struct version_slot slot;              /* of struct scsi_map; struct scsi_nexus finds its core's in it */
	struct scsi_map *nothing;              /* what a core has before it entered the first version */
	/* control */
	struct scsi_map *map;                  /* what was published last; NULL: the device goes */
	bool opening[SCSI_LUNS_MAX];           /* LUNs that are being added */
	bool dying, free_sent;
	struct list seats;
	uint32_t seat_count;                   /* those that have not gone, and those on which mail is still out */
	uint32_t works;                        /* changes under way, tells and asks */
	uint32_t busy;                         /* versions, and units that are not closed */
	struct scsi_change *freeing;
	struct version_publish last;
	struct msg free_msg;
	struct list sweeps;                    /* struct scsi_sweep: one after the other */
	struct scsi_sweep *sweeping;
};

/* --- per core --------------------------------------------------------------------------------------------- */

struct scsi_core {
	CACHE_ALIGNED struct scsi *scsi;
	uint32_t index;
	struct list nexuses;
	struct queue done;                     /* struct scsi_task.done_link */
	struct defer done_defer;
	struct watch watch;
	bool watching;
	struct list maps;                      /* versions that this core has entered and not left */
	/* stages.c */
	struct flight flight;
	struct stage_hosts hosts;              /* what nexuses that ended had counted */
	struct stage_errors errors;
};

struct scsi {
	struct core *core;
	struct bdev_registry *reg;
	struct scsi_core *cores;               /* by reactor_index() */
	uint32_t core_count;
	struct {
		const struct scsi_opcode *rows;    /* those of this opcode, one behind the other */
		uint32_t count;
	} ops[256];
	/* control */
	struct list targets;
	struct resv_listener resv_listener;
	struct list preempted, preempt_waits;  /* struct scsi_leg; struct scsi_preempt_wait */
	uint64_t lus_made;
	struct flights flights;
	scsi_lun_gone_fn *lun_gone;
	void *lun_gone_arg;
	struct each stop_each;
	void (*stopped)(void *arg);
	void *stopped_arg;
};

/* This core's LUN map, as the nexus sees it. */
static inline struct scsi_map *scsi_nexus_map(const struct scsi_nexus *n)
{
	struct version *v = n->target->slot.current[n->core->index];

	return likely(v != NULL) ? container_of(v, struct scsi_map, v) : n->target->nothing;
}
static inline struct scsi_core *scsi_core_here(const struct scsi *s)
{
	return &s->cores[reactor_index(reactor_self())];
}

/* lu.c: control */
struct scsi_lu *scsi_lu_open(struct scsi_target *t, uint32_t lun, const struct scsi_lun_opts *opts, struct err *e);

/* target.c: control */
struct scsi_target *scsi_target_find(const struct scsi *s, const char *name);
/* A copy of the map that was published last, free to change; publish it without waiting for anything. */
struct scsi_map *scsi_map_copy(const struct scsi_target *t);
const struct scsi_port *scsi_map_port(const struct scsi_map *map, uint16_t id); /* any core; NULL: no such port */
void scsi_map_publish(struct scsi_map *map, struct version_publish *p, void (*done)(struct version_publish *p));
void scsi_target_less(struct scsi_target *t);    /* t->busy */
void scsi_target_go_on(struct scsi_target *t);   /* something else that a device that goes may wait for */
void scsi_lu_device_event(struct bdev_desc *desc, enum bdev_event event, void *arg);
struct scsi_lu_state scsi_lu_state_default(const struct scsi_lu *lu);

/* --- commands --------------------------------------------------------------------------------------------- */

/* A row of a table: all there is to say about a command. */
struct scsi_opcode {
	uint8_t opcode;
	int16_t service_action;                /* -1: the opcode has none */
	const char *name;
	uint8_t cdb_len;
	uint8_t usage[16];                     /* bits that are looked at; one that is set outside is an invalid field. The
	                                        * opcode's byte, and the service action's bits, are added where reported */
	uint16_t flags;
	bool (*parse)(struct scsi_task *t);    /* check; say direction and length of data: scsi_task_moves(). NULL: none */
	void (*run)(struct scsi_task *t);      /* answer now, by scsi_task_complete*(), or later */
};
#define SCSI_ROW_NO_LUN       0x001u       /* works without a logical unit: t->lu is NULL then */
#define SCSI_ROW_ANY_TIME     0x002u       /* does not hear of unit attentions */
#define SCSI_ROW_STANDBY      0x004u       /* works through a port in standby */
#define SCSI_ROW_UNAVAILABLE  0x008u       /* ... and unavailable */
#define SCSI_ROW_WRITES       0x010u       /* not on what is write protected */
#define SCSI_ROW_MEDIUM       0x020u       /* not when the unit is stopped */
/* Who else holds a reservation refuses it (SPC-5 and SBC-4 tables): */
#define SCSI_ROW_CONFLICT_READ  0x100u     /* ... when access is exclusive */
#define SCSI_ROW_CONFLICT_WRITE 0x200u     /* ... when access or writing is exclusive */
#define SCSI_ROW_CONFLICT_ANY   0x300u     /* ... of any kind, registered or not (START STOP, some of SPC) */

#define SCSI_ROW_RESERVES     0x400u       /* the reservation itself says whether it is in conflict */
#define SCSI_ROW_DATA         0x800u       /* counted as a read, or with SCSI_ROW_WRITES as a write */

/* A table: each file of commands has one; opcode.c names them all. */
struct scsi_opcode_table {
	const struct scsi_opcode *rows;        /* rows of one opcode lie one behind the other */
	uint32_t count;
};
extern const struct scsi_opcode_table scsi_block_ops;   /* block.c and others: SBC */
extern const struct scsi_opcode_table scsi_primary_ops; /* SPC */
extern const struct scsi_opcode_table scsi_pr_ops;      /* reservations */
/* All rows, in the order of opcodes: for reports. NULL beyond the last. */
const struct scsi_opcode *scsi_opcode_at(const struct scsi *s, uint32_t at);
/* service_action -1: any. NULL: not known. */
const struct scsi_opcode *scsi_opcode_find(const struct scsi *s, uint8_t opcode, int service_action);

/* --- verbs: parse (each returns what parse shall return) --- */
bool scsi_task_moves(struct scsi_task *t, enum scsi_data data, uint32_t len);
/* Sets status and sense; asc_ascq: enum scsi_asc. Returns false. Also from run, with scsi_task_complete() after it. */
bool scsi_task_refuse(struct scsi_task *t, uint8_t key, uint16_t asc_ascq);
/* INVALID FIELD IN CDB, or IN PARAMETER LIST, with the field pointer; bit -1: the byte as a whole. Returns false. */
bool scsi_task_bad_field(struct scsi_task *t, uint16_t byte, int bit, bool in_cdb);

/* --- verbs: run; the answer comes later in the pass --- */
/* With t->status and sense as they are: GOOD, unless it was refused. */
void scsi_task_complete(struct scsi_task *t);
/* GOOD with data: as much of it as fits into what was asked for (t->data_len). */
void scsi_task_complete_data(struct scsi_task *t, const void *data, uint32_t len);
/* CHECK CONDITION. */
void scsi_task_sense(struct scsi_task *t, uint8_t key, uint16_t asc_ascq);
void scsi_task_bad_param(struct scsi_task *t, uint16_t byte, int bit);
/* There is more of a parameter list than its header. False: answered, as less came than was said, or as nothing is to
 * be done. */
bool scsi_task_has_list(struct scsi_task *t, uint32_t header_bytes);
/* From a device's or another core's answer: hand it to the transport at once. */
void scsi_task_finish(struct scsi_task *t);
/* t->own: zeroed memory, aligned as devices like it, within the memory budget. NULL: there is none; answered BUSY. */
void *scsi_task_own(struct scsi_task *t, size_t bytes);
/* Gather OUT data: `len` bytes from `offset`; zeroes beyond what came (t->moves). */
void scsi_task_read_params(const struct scsi_task *t, uint32_t offset, void *to, uint32_t len);
/* The INFORMATION field of the sense that was just set. */
void scsi_task_set_information(struct scsi_task *t, uint64_t information);
/* COMMAND-SPECIFIC INFORMATION, in either format. */
void scsi_task_set_command_specific(struct scsi_task *t, uint32_t information);
/* How a device's answer is said in SCSI: status and sense; the one place. True: it went well. */
bool scsi_task_set_io_status(struct scsi_task *t, const struct bdev_io *io);

/* This core's idea of what the unit's nexuses have in common. The LU may be gone meanwhile: its last state. */
const struct scsi_lu_state *scsi_task_state(const struct scsi_task *t);
static inline struct scsi *scsi_task_scsi(const struct scsi_task *t) { return t->nexus->target->scsi; }

/* --- unit attentions --- */
#define SCSI_ATTENTIONS_MAX 6u
struct scsi_attention {                    /* of one LUN and nexus; its core's */
	uint16_t asc[SCSI_ATTENTIONS_MAX];     /* in the order in which they are told */
	uint8_t count;
	uint32_t epoch;                        /* tasks that were parsed in an older one have been aborted ... */
	bool tell_stale;                       /* ... and their initiator is told */
};
/* The nexus' core: take the first that waits; false: none. For REQUEST SENSE. */
bool scsi_attention_take(struct scsi_nexus *n, uint32_t lun, uint16_t *ret_asc);
void scsi_attention_raise(struct scsi_nexus *n, uint32_t lun, uint16_t asc_ascq);
/* REPORTED LUNS DATA HAS CHANGED was heard, by REPORT LUNS: it waits on no LUN any more. */
void scsi_attention_drop(struct scsi_nexus *n, uint16_t asc_ascq);

/* Raise one on nexuses of a device: control; `done` runs there, later, when all have it. */
struct scsi_tell {
	struct scsi_target *target;
	uint32_t lun;                          /* UINT32_MAX: every LUN the nexus knows */
	uint16_t asc_ascq;
	const struct scsi_seat *except;        /* who asked for what changed; may be NULL */
	bool (*means)(struct scsi_tell *tell, const struct scsi_seat *s); /* NULL: all */
	void (*done)(struct scsi_tell *tell);  /* NULL: the tell is freed instead */
	void *arg;
	uint32_t left;
	struct msg msg;
};
void scsi_tell(struct scsi_tell *tell);
/* scsi_target_set_alua(), as a command of that nexus asks: all the others hear of it. */
void scsi_target_set_alua_by(const struct scsi_seat *by, uint16_t group, uint8_t state, struct scsi_change *c);

/* --- asking control --- */
/* What a command needs of the control reactor. Allocated by scsi_task_ask(), as t->own, freed with the task.
 * on_control answers by scsi_ask_answer(), there and then or later; `answered` runs on the task's core and
 * completes it. */
struct scsi_ask {
	struct msg msg;
	struct scsi_task *task;                /* stays where it is: its LU is counted, its nexus neither moves nor ends */
	struct scsi_lu *lu;                    /* NULL without a LUN */
	struct scsi_seat *seat;
	void (*on_control)(struct scsi_ask *a);
	void (*answered)(struct scsi_ask *a);
	void (*changed)(struct scsi_ask *a);   /* scsi_ask_change()'s */
	struct scsi_lu_state state;            /* control: before on_control, a copy of what was published last */
	struct version_publish publish;
	struct scsi_tell tell;
	uint32_t result;                       /* the asker's own */
};
/* Zeroed memory of `size` bytes, a struct scsi_ask in front. Then fill in, and scsi_ask_send(). */
void *scsi_task_ask(struct scsi_task *t, size_t size);
void scsi_ask_send(struct scsi_ask *a, void (*on_control)(struct scsi_ask *a), void (*answered)(struct scsi_ask *a));
/* Control: publish a->state as the LU's, raise `asc_ascq` on all other nexuses (0: none), then a->changed(a), here. */
void scsi_ask_change(struct scsi_ask *a, uint16_t asc_ascq, void (*changed)(struct scsi_ask *a));
void scsi_ask_answer(struct scsi_ask *a);

/* --- block limits: what VPD page B0 says, and the block commands hold hosts to --- */
#define SCSI_TRANSFER_BYTES_MAX (32u << 20) /* 65536 blocks of 512 bytes: as many as hosts try at most */
#define SCSI_ATOMIC_BYTES_MAX (1u << 20) /* of a command that goes in no pieces; the optimal length of others */
#define SCSI_UNMAP_DESCS_MAX 256u
#define SCSI_NODATA_BLOCKS_MAX (1u << 20)  /* of one descriptor of UNMAP, of WRITE SAME */
struct scsi_limits {
	uint32_t transfer_blocks_max;          /* MAXIMUM TRANSFER LENGTH */
	uint32_t transfer_blocks_optimal;      /* what is longer goes in pieces */
	uint16_t granularity;                  /* OPTIMAL TRANSFER LENGTH GRANULARITY, blocks */
	uint32_t unmap_blocks_max, unmap_descs_max; /* 0: UNMAP does not work */
	uint32_t unmap_granularity;            /* blocks; 0: not told */
	uint64_t write_same_blocks_max;
	uint8_t caw_blocks_max;                /* MAXIMUM COMPARE AND WRITE LENGTH; 0: does not work */
	bool unmaps;                           /* LBPU, LBPWS, LBPWS10 of page B2; LBPME of READ CAPACITY (16) */
	bool reads_zeroes;                     /* LBPRZ: unmapped blocks read as zeroes */
	uint8_t physical_exponent;             /* log2 of logical blocks per physical block */
};
void scsi_block_limits(const struct scsi_lu *lu, struct scsi_limits *ret);

/* --- the register: control -------------------------------------------------------------------------------- */

struct scsi_mail;
struct scsi_seat {
	struct scsi_target *target;
	struct list link;                      /* target->seats */
	char initiator_port[SCSI_PORT_NAME_MAX + 1];
	char initiator[sizeof(((struct bdev_initiator *)0)->name)];
	uint32_t party;                        /* whom reservations know it as */
	uint16_t port;
	const void *lanes;                     /* as the nexus says */
	struct carry_home home;                /* where the nexus lives */
	/* control */
	bool begun, gone, disconnecting;
	uint32_t pins;                         /* mail that is out, and what else keeps it after the nexus has ended */
	struct list unsent;                    /* struct scsi_mail: until the nexus has begun */
	struct msg begun_msg, gone_msg;
	/* home's */
	struct scsi_nexus *nexus;              /* NULL: it has ended */
	struct scsi_nexus *leaving;            /* ... and waits to be forgotten */
	struct bdev_lease_revoke revoke;
};

/* A letter to a nexus: control -> its core -> control. at_home runs where the nexus lives (n NULL: it has ended) and
 * sends it back by scsi_mail_back(), now or later; `back` runs on control. */
struct scsi_mail {
	struct msg msg;
	struct list link;                      /* the seat's `unsent` */
	struct scsi_seat *seat;
	void (*at_home)(struct scsi_mail *m, struct scsi_nexus *n);
	void (*back)(struct scsi_mail *m);
};
void scsi_mail_send(struct scsi_mail *m, struct scsi_seat *s);
void scsi_mail_back(struct scsi_mail *m);
/* Two seats of one I_T nexus: it hears nothing of what it did itself, on whichever core. */
static inline bool scsi_seat_same(const struct scsi_seat *a, const struct scsi_seat *b)
{
	return a == b || (a && b && a->lanes && a->lanes == b->lanes && a->target == b->target);
}
void scsi_seat_disconnect(struct scsi_seat *s); /* ops->disconnect() */
void scsi_seat_pin(struct scsi_seat *s);
void scsi_seat_unpin(struct scsi_seat *s);

/* --- sweeps: aborting tasks of many nexuses, in two phases (tmf.c); control ------------------------------- */

/* Of tasks that a sweep means: those of one LUN (UINT32_MAX: of all), of the nexuses that `means` says. */
struct scsi_leg;
struct scsi_sweep {
	struct list link;
	struct scsi_target *target;
	uint32_t lun;
	const struct scsi_seat *from;          /* who asked: a nexus whose tasks are aborted without TASK ABORTED */
	bool (*means)(const struct scsi_sweep *w, const struct scsi_seat *s); /* NULL: all */
	uint16_t asc_ascq;                     /* unit attention to raise; 0: none */
	bool gated;                            /* who asked has its gate closed and its tasks aborted already */
	void (*swept)(struct scsi_sweep *w);   /* optional, between the phases: ends with scsi_sweep_go_on() */
	void (*done)(struct scsi_sweep *w);    /* all gates are open again */
	void *arg;
	/* tmf.c's */
	struct msg msg;
	struct list legs;
	uint32_t left;
	struct version_publish publish;
};
void scsi_reset_state(struct scsi_sweep *w);   /* for `swept`: ask.c */
void scsi_reset_less(struct scsi_sweep *w);    /* ... one of what it waits for is done */
/* They take turns. `w`: yours until done. */
void scsi_sweep(struct scsi_sweep *w);
void scsi_sweep_go_on(struct scsi_sweep *w);

/* PREEMPT AND ABORT (tmf.c): whose registration with a device went has its tasks aborted, executed or not, but for
 * those that are about reservations themselves: who preempts each other would wait for each other. Control. */
void scsi_preempt(struct scsi_target *t, uint32_t lun, const struct bdev *b, uint32_t party);
/* Until none of those that began before, with `b`, is left; `fn` maybe before the call returns. */
struct scsi_preempt_wait {
	struct list link;
	const struct bdev *bdev;
	void (*fn)(struct scsi_preempt_wait *w);
};
void scsi_preempt_wait(struct scsi *s, struct scsi_preempt_wait *w);

/* --- the engine's own: a nexus' core ---------------------------------------------------------------------- */

enum scsi_task_state { SCSI_TASK_PARSED, SCSI_TASK_WAITS, SCSI_TASK_RUNS, SCSI_TASK_DONE };

/* task.c */
void scsi_task_abort(struct scsi_task *t, bool tell);     /* executed, not DONE: it ends soon */
void scsi_tasks_start(struct scsi_nexus *n);             /* those that waited and need not any more */
/* stages.c */
void scsi_task_began_late(struct scsi_task *t, uint64_t now_ns); /* not in the pass in which it came */
void scsi_stages_close(struct scsi_nexus *n);            /* its core: the nexus ends, or leaves it */
void scsi_stages_fini(struct scsi_core *c);
uint32_t scsi_task_error_code(const struct scsi_task *t); /* as scsi_eyes.h says */
const char *scsi_session_of(const struct scsi_nexus *n);
/* flight.c */
void scsi_flights_init(struct scsi *s);
void scsi_flight_init(struct scsi_core *c);
/* tmf.c */
void scsi_legs_task_ended(struct scsi_nexus *n);
/* nexus.c */
void scsi_nexus_go_on(struct scsi_nexus *n);             /* a task ended: it may wait for that to end itself */
/* Of a LUN; of those there cannot be, one of their own. */
static inline struct scsi_attention *scsi_nexus_attention(const struct scsi_nexus *n, uint32_t lun)
{
	return &n->attentions[min_u32(lun, SCSI_LUNS_MAX)];
}

#endif
