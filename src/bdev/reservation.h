/* SPDX-License-Identifier: BSD-3-Clause */
/* reservation.h: persistent reservations of a device: one object for all protocols. SPC-5 5.14, NVMe base 8.19.
 *
 * Who may register is a *party*: an NVMe host, by its host identifier, or a SCSI I_T nexus, by initiator port and
 * target port. The control reactor knows all parties of the daemon and numbers them; whoever sends I/O for one has the
 * number in its bdev_initiator. A device's state (who is registered with which key, who holds a reservation of which
 * type) is the control reactor's. What I/O has to know of it is an immutable view that every core of the device looks
 * at: the type, the holder's number, and a bit per party that is registered. So a check is a comparison and a bit, and
 * who has no reservation on a device pays nothing: a view is a reason for the long way (bdev_waist.h), NULL without.
 *
 *     any core   bdev_resv_do()      asks
 *     control    resv_change()       decides, on a copy of the state: pure
 *     helper     resv_store_*()      the record is lasting, if it persists (or did)
 *     each core  view exchanged      from here on I/O is judged by the new one
 *     each core  barrier             PREEMPT AND ABORT: until all that was begun before has ended
 *     control    listeners           protocols tell those who lost something
 *     asker      op->done()
 *
 * The check is made when a whole I/O is dispatched, after all waiting in the waist and before anything of it reaches
 * the device or is cut in pieces. What passed it before a reservation was made is carried out; PREEMPT AND ABORT is
 * answered when nothing of that is left: locks are taken and given back (locks.h), which wait for all that changes the
 * device and was begun before, while others go on. That is narrower than revoking leases, which belong to a controller
 * or nexus and all devices that it uses, and as strong.
 *
 * A device may have its target decide (resv_outside): then ops->resv does each operation there, the state here is what
 * the target's report says of this daemon, and one party at a time is behind that.
 *
 * Devices that stand on others have reservations of their own; the devices below them are claimed and not served.
 * I/O of the daemon itself (who == NULL) is not subject to reservations.
 */
#ifndef BDEV_RESERVATION_H
#define BDEV_RESERVATION_H

#include "bdev/bdev.h"

#define RESV_REGISTRANTS_MAX 1024u /* of one device; more are answered with NO_ROOM */
#define RESV_OTHERS_MAX 256u       /* parties that one operation names beside its own */

struct files;

/* --- the rule: pure (resv_rule.c) ------------------------------------------------------------------------ */

/*   type          name                                   SPC  NVMe */
#define RESV_TYPES(X) \
	X(NONE,       "none",                                 0,   0) \
	X(WE,         "write exclusive",                      1,   1) \
	X(EA,         "exclusive access",                     3,   2) \
	X(WERO,       "write exclusive, registrants only",    5,   3) \
	X(EARO,       "exclusive access, registrants only",   6,   4) \
	X(WEAR,       "write exclusive, all registrants",     7,   5) \
	X(EAAR,       "exclusive access, all registrants",    8,   6)
#define RESV_TYPE_ENUM(type, name, spc, nvme) RESV_##type,
enum resv_type { RESV_TYPES(RESV_TYPE_ENUM) RESV_TYPE_COUNT };
const char *resv_type_name(enum resv_type t);
uint8_t resv_type_to_spc(enum resv_type t);
uint8_t resv_type_to_nvme(enum resv_type t);
enum resv_type resv_type_from_spc(uint8_t code);  /* RESV_TYPE_COUNT: there is no such type */
enum resv_type resv_type_from_nvme(uint8_t code);
static inline bool resv_type_is_all(enum resv_type t) { return t == RESV_WEAR || t == RESV_EAAR; }

/* What a command is to a reservation. */
enum resv_class {
	RESV_ALWAYS, /* never in conflict: INQUIRY, REPORT LUNS, REQUEST SENSE, Reservation Report */
	RESV_INFO,   /* in conflict with RESERVE of SPC-2 only: TEST UNIT READY, READ CAPACITY, PERSISTENT RESERVE IN */
	RESV_READ,   /* what exclusive access keeps others from: reads, compares, MODE SENSE */
	RESV_WRITE,  /* what changes data or the device: writes, flushes, MODE SELECT */
};
enum resv_relation { RESV_STRANGER, RESV_REGISTRANT, RESV_HOLDER /* of -all registrants every registrant */ };
bool resv_conflicts(enum resv_type t, enum resv_relation who, enum resv_class class);

/* --- parties: control reactor ---------------------------------------------------------------------------- */

enum resv_kind { RESV_NVME_HOST, RESV_SCSI_NEXUS };
/* NVMe: host_id alone says who it is, and `name` is the NQN; a host without an identifier (zero) is a party of its own,
 * `target` (its subsystem) and `port_id` (its controller) say where, and what it has ends when it leaves. SCSI: `port`
 * (the TransportID's name, with ISID), the `target` device and the relative target port `port_id` do. */
struct resv_identity {
	enum resv_kind kind;
	uint16_t port_id;
	struct uuid host_id;
	const char *name, *port, *target;  /* NULL as empty */
};
/* Say who sends I/O: who->party is set, constant until leave. Before the first I/O, and after the last one. What SPC-2
 * reserved, and what a host without an identifier has, ends with the last user of a party. */
void bdev_initiator_enter(struct bdev_registry *reg, struct bdev_initiator *who, const struct resv_identity *id);
void bdev_initiator_leave(struct bdev_registry *reg, struct bdev_initiator *who);

/* --- operations ------------------------------------------------------------------------------------------ */

enum resv_action {
	RESV_REPORT,             /* ret_report: what there is */
	RESV_REGISTER,           /* SPC-5: `key` is the present one (0: not registered); new_key 0: unregister */
	RESV_REGISTER_IGNORE,    /* the same whatever the present key is */
	RESV_REGISTER_MOVE,      /* to others[0] with new_key; flag UNREGISTER */
	RESV_NVME_REGISTER,      /* NVMe's actions: new_key, if not registered with another */
	RESV_NVME_UNREGISTER,
	RESV_NVME_REPLACE,
	RESV_RESERVE,
	RESV_RELEASE,
	RESV_CLEAR,
	RESV_PREEMPT,            /* new_key: whose registrations go */
	RESV_PREEMPT_ABORT,
	RESV_SET_PERSIST,        /* the flag alone (NVMe: feature 83h) */
	RESV_SPC2_RESERVE,
	RESV_SPC2_RELEASE,
	RESV_SPC2_RESET,         /* a logical unit reset: whoever holds it */
};

#define RESV_F_ANY_KEY    0x01u /* NVME_*: IEKEY */
#define RESV_F_PERSIST    0x02u /* of what registers: the state is to survive power loss from now on, ... */
#define RESV_F_VOLATILE   0x04u /* ... or not any more; neither: as it was */
#define RESV_F_UNREGISTER 0x08u /* REGISTER_MOVE: UNREG */
#define RESV_F_ALL_PORTS  0x10u /* REGISTER*: others[] are the asker's nexuses by the other ports */
#define RESV_F_FOR_OTHERS 0x20u /* REGISTER: others[] are other initiators' too; only for who comes new */

enum resv_result {
	RESV_OK,
	RESV_CONFLICT,
	RESV_BAD_FIELD,    /* a parameter: key 0, a nexus moved to itself, preempting nobody */
	RESV_BAD_RELEASE,  /* the holder releases another type than is reserved */
	RESV_NO_PERSIST,   /* nothing persists here: there is no --state-dir */
	RESV_NO_ROOM,      /* RESV_REGISTRANTS_MAX, or no room for the record */
	RESV_GONE,         /* the device is going */
};

/* What there is, as RESV_REPORT gives it: one heap object, the asker's to free(). */
struct resv_reported {
	uint64_t key;
	uint32_t party;
	bool holds;
	uint8_t kind;
	uint16_t port_id;
	struct uuid host_id;
	const char *name, *port, *target; /* within the report */
};

struct resv_report {
	uint32_t generation, count;
	uint8_t type;      /* enum resv_type */
	bool persists;     /* is on */
	bool spc2;         /* RESERVE of SPC-2 holds it, nothing else is there */
	struct resv_reported spc2_holder;
	struct resv_reported who[];
};

/* What a target outside has, as a device saw it that passes operations on. Heap; bdev_resv_answered() frees it. */
struct resv_seen {
	uint32_t generation, count;
	uint8_t type;      /* enum resv_type */
	bool persists;
	struct {
		uint64_t key;
		struct uuid host_id;
		bool holds, ours; /* ours: the daemon's own registration */
	} who[];
};

struct resv_op;
typedef void resv_done_fn(struct resv_op *op);
struct resv_op {
	/* Set by the asker. */
	uint8_t action, type, flags;
	uint64_t key, new_key;             /* the asker's own; the other one */
	const struct resv_identity *others; /* stay until done */
	uint32_t other_count;
	/* Set before done. */
	uint8_t result;                    /* enum resv_result */
	struct resv_report *ret_report;
	/* The object's. */
	struct bdev *bdev;
	struct bdev_desc *desc;
	uint32_t party;
	uint32_t *other_parties;
	struct reactor *from;
	resv_done_fn *done;
	struct msg msg;
	struct list link;
};
/* Core: any. Memory: `op` and what it points at are yours until done; `desc` stays open. Then: done runs once, on this
 * core, later, when every core goes by the new state and it is lasting if it is to be. */
void bdev_resv_do(struct bdev_desc *desc, const struct bdev_initiator *who, struct resv_op *op, resv_done_fn *done);

/* For bdev_ops.resv: op->result is set; `seen` if that is OK. Control reactor. */
void bdev_resv_answered(struct resv_op *op, struct resv_seen *seen);

/* Control: the same as RESV_REPORT, at once; the caller's to free(). */
struct resv_report *bdev_resv_report(const struct bdev *b);
/* May a command of this class that is no I/O be carried out for `who`, as this core sees it now? */
bool bdev_resv_refuses(struct bdev_channel *ch, const struct bdev_initiator *who, enum resv_class class);
/* As this core sees it: does what is registered survive power loss? */
bool bdev_resv_persists(struct bdev_channel *ch);
/* Can anything on this daemon's devices? */
bool bdev_resv_can_persist(const struct bdev_registry *reg);

/* --- events: control reactor ----------------------------------------------------------------------------- */

enum resv_event {
	RESV_EVENT_REGISTRATION_PREEMPTED, /* those whose registrations went */
	RESV_EVENT_RESERVATION_PREEMPTED,  /* a reservation was cleared together with the registrations */
	RESV_EVENT_RESERVATION_RELEASED,   /* other registrants: they may be let in now */
};
/* Every event of every device, before the operation that made it is answered. `party` is who is to be told. */
struct resv_listener {
	struct list link;
	bool aborts;       /* for the moment of the call: by PREEMPT AND ABORT; what waits of `party` is not to be done */
	void (*fn)(struct resv_listener *l, struct bdev *b, uint32_t party, enum resv_event event);
	/* PREEMPT AND ABORT: the new state is in force, and what `party` has under way is waited for: abort it, soon.
	 * NULL: it is only waited for. */
	void (*abort)(struct resv_listener *l, struct bdev *b, uint32_t party);
};
void bdev_resv_listen(struct bdev_registry *reg, struct resv_listener *l,
                      void (*fn)(struct resv_listener *l, struct bdev *b, uint32_t party, enum resv_event event));
void bdev_resv_unlisten(struct resv_listener *l);

/* --- what survives (resv_store.c): control reactor ------------------------------------------------------- */

/* Read the records in `files`, which stays its owner's and open until bdev_resv_store_close(). Before any device
 * comes: a device finds its record by its UUID when it is registered. Errors: damage; nobody should start over that. */
typedef void resv_store_fn(void *arg, const struct err *e);
void bdev_resv_store_open(struct bdev_registry *reg, struct files *files, resv_store_fn *done, void *arg);
/* No operation runs any more. */
void bdev_resv_store_close(struct bdev_registry *reg);

#endif
