/* SPDX-License-Identifier: BSD-3-Clause */
/* resv_priv.h: what the files of reservations share. Private to bdev. */
#ifndef BDEV_RESV_PRIV_H
#define BDEV_RESV_PRIV_H

#include "bdev/bdev_waist.h"
#include "bdev/reservation.h"

/* --- the state of a device, and how an operation changes it: pure (resv_change.c) ------------------------ */

struct resv_registrant {
	uint64_t key;
	uint32_t party;
};
struct resv_state {
	uint32_t generation;
	uint8_t type;                   /* enum resv_type */
	bool persists;
	uint32_t holder;                /* party; of -all registrants, and without a reservation: 0 */
	uint32_t spc2;                  /* who holds it by RESERVE of SPC-2; 0: nobody */
	uint32_t count;
	struct resv_registrant who[RESV_REGISTRANTS_MAX]; /* in order of registration */
};

struct resv_told {
	uint32_t party;
	uint8_t event;
};
struct resv_outcome {
	bool changed;
	bool aborts;                    /* somebody's I/O that was begun must have ended before the answer */
	uint32_t told_count;
	struct resv_told told[RESV_REGISTRANTS_MAX];
};
/* `s` is undefined after an error. op->party and op->other_parties say who. */
enum resv_result resv_change(struct resv_state *s, const struct resv_op *op, struct resv_outcome *ret);
struct resv_registrant *resv_find(struct resv_state *s, uint32_t party);
static inline bool resv_holds(const struct resv_state *s, const struct resv_registrant *r)
{
	return s->type != RESV_NONE && (resv_type_is_all(s->type) || s->holder == r->party);
}
static inline bool resv_is_empty(const struct resv_state *s)
{
	return !s->count && !s->spc2 && !s->persists;
}

/* --- parties (resv_party.c) ------------------------------------------------------------------------------ */

struct resv_party {
	struct list link;               /* of its bucket */
	uint32_t id;                    /* from 1 */
	uint32_t users;                 /* controllers and nexuses */
	uint32_t refs;                  /* users, and states that name it */
	uint8_t kind;
	uint16_t port_id;
	struct uuid host_id;
	char *name, *port, *target;
};
#define RESV_BUCKETS 1024u
struct resv_parties {
	struct list buckets[RESV_BUCKETS];
	struct resv_party **by_id;      /* [id]; 0 is nobody */
	uint32_t cap, free_from;
};
struct resv_parties *resv_parties_make(void);
void resv_parties_free(struct resv_parties *p);
/* An NVMe host that cannot be known again: what it has ends with its controller. */
static inline bool resv_party_is_nameless(const struct resv_party *y)
{
	return y->kind == RESV_NVME_HOST && uuid_is_null(&y->host_id);
}
/* Counted. */
struct resv_party *resv_party_take(struct resv_parties *p, const struct resv_identity *id);
void resv_party_ref(struct resv_parties *p, uint32_t id);
void resv_party_unref(struct resv_parties *p, uint32_t id);
static inline struct resv_party *resv_party_of(const struct resv_parties *p, uint32_t id) { return p->by_id[id]; }

/* --- what cores see -------------------------------------------------------------------------------------- */

struct resv_view {
	uint8_t type;
	bool persists;
	uint32_t holder, spc2;
	uint32_t parties;               /* bits there are */
	uint64_t registered[];
};

struct bdev_resv {
	struct bdev *bdev;
	struct resv_state *state;
	struct resv_view *view;         /* what cores look at, or will when the visit is over */
	struct list ops;                /* waiting; the first is being done */
	/* of that */
	struct resv_state *next;
	struct resv_outcome *outcome;
	struct resv_view *next_view;
	struct each each;
	struct bdev_lock *lock;
	struct resv_write *write;
};

/* --- the store (resv_store.c) ---------------------------------------------------------------------------- */

struct resv_store;
/* A device came: its record, if there is one. Takes references of parties. */
bool resv_store_find(struct bdev_registry *reg, const struct uuid *uuid, struct resv_state *ret_state);
/* Make what `s` says lasting, or that there is nothing any more. done: later, on control; rc negative: it is not. */
struct resv_write;
struct resv_write *resv_store_write(struct bdev_registry *reg, const struct uuid *uuid, const struct resv_state *s,
                                    void (*done)(void *arg, int rc), void *arg);
/* Records as text: pure. One record without its frame: see docs/STATE.md. Heap. */
char *resv_record_make(const struct resv_parties *p, const struct uuid *uuid, const struct resv_state *s,
                       size_t *ret_len);
/* Digits and nothing else, in base 10 or 16 (small letters), of at most `max`. */
bool resv_number_read(const char *text, size_t len, uint32_t base, uint64_t max, uint64_t *ret);
/* Check and read one. `visit` is called for each registrant after the state itself; strings are the record's. */
struct resv_record {
	struct uuid uuid;
	uint32_t generation, count, holder_at; /* holder_at: UINT32_MAX: none */
	uint8_t type;
};
typedef void resv_record_fn(void *arg, const struct resv_identity *id, uint64_t key);
bool resv_record_read(const char *text, size_t len, struct resv_record *ret, resv_record_fn *visit, void *arg);
/* resv_store.c: the lines of a file, in order; pure. *ret_end: where an append that was torn begins, or the end.
 * Errors: damage, another format; lines before it were told. `path`: for the sentence. */
int resv_lines_read(const char *bytes, size_t len, const char *path,
                    void (*line)(void *arg, const struct resv_record *r, const char *text, size_t len), void *arg,
                    size_t *ret_end, struct err *e) MUST_USE;

/* reservation.c */
void bdev_resv_arrived(struct bdev *b);  /* registration: a record may wait for it */
void bdev_resv_free(struct bdev *b);

#endif
