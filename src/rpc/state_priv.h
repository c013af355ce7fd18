/* SPDX-License-Identifier: BSD-3-Clause */
/* state_priv.h: what the files of the lasting configuration share. Private to rpc. */
#ifndef RPC_STATE_PRIV_H
#define RPC_STATE_PRIV_H

#include "rpc/journal.h"
#include "rpc/registry.h"
#include "rpc/state.h"

#define STATE_VERSIONS_KEPT 100u       /* at least; twice as many before the file is written anew */
#define STATE_BYTES_KEPT (8u << 20)    /* of changes; older ones are given up first */

/* One version after the first that is kept. */
struct state_change {
	struct json_object *json; /* {time_us, calls, what, parts} */
	char *text;
	size_t len;
};

struct state {
	struct rpc *rpc;
	struct files *files;           /* NULL: nothing is kept */
	struct journal journal;
	bool keeping;                  /* rpc_state_begin() was called */
	struct json_object *base, *saved; /* the oldest version that is kept, and the latest */
	uint64_t base_version, version;   /* 0: none yet */
	uint64_t base_time_us;
	struct state_change *changes;  /* from base to saved */
	uint32_t change_count;
	size_t change_bytes;

	struct list ended;             /* calls that ended and wait for what they changed to last */
	struct list held;              /* calls that have not begun: until a whole configuration was exchanged, or kept */
	struct rpc_call *whole;        /* the call that exchanges it */
	bool dirty;                    /* something changed by itself */
	bool undoing;                  /* what could not be kept */
	bool behind;                   /* what is in force could not be kept nor undone */
	uint64_t failures;             /* of writing */

	bool writing, anew;            /* anew: with the next write */
	struct list batch;             /* of the write in progress */
	struct json_object *next;
	struct state_change next_change;
	struct journal_record *records; /* what the job writes */
	char *base_text;
	size_t record_count;
	struct job job;
	struct err job_err, why;       /* of the job; of the first failure since it worked */
	struct list read;              /* records, by the job that opens */
	struct defer go;
	rpc_loaded_fn *opened, *begun;
	void *opened_arg, *begun_arg;
	void (*closed)(void *arg);
	void *closed_arg;
};

/* --- for methods.c --- */
struct state *state_make(struct rpc *rpc);
void state_free(struct state *s);
/* True: the call is held; call_begin() will be called, or call_finish() with an error. */
bool state_hold(struct rpc_call *call);
/* True: the call is kept; call_finish() will be called. Takes a reference to `result`. */
bool state_ended(struct rpc_call *call, struct json_object *result, const struct err *e);
/* Something changed the configuration without a call. */
void state_touch(struct rpc *rpc);
/* The configuration of a version that is kept; the caller's. NULL with a sentence. */
struct json_object *state_config_of(struct state *s, uint64_t version, struct err *e);

/* --- missing.c: entries that could not be made yet --- */
struct missing {
	struct list link;
	char *subsystem;
	struct json_object *entry;
	char why[ERR_TEXT_MAX];
	char uuid[UUID_TEXT_MAX]; /* of the only device it can be made on; empty: of any that it names */
	bool marked;
};
/* Keep an entry, in place of one with the same identity. */
void missing_keep(struct rpc *rpc, const char *subsystem, struct json_object *entry, const struct err *why);
void missing_save(struct rpc *rpc, const char *subsystem, struct json_object *array);
/* One line about all of them. */
void missing_say(struct rpc *rpc);
/* A call ended: what it made or took away is missed no more. True: it took away what was missing, and so has not
 * failed. */
bool missing_ended(struct rpc_call *call, struct json_object *result, const struct err *e);
/* After a load that was patient: what it waited for may have come meanwhile. */
void missing_retry(struct rpc *rpc);
bool missing_forget(struct rpc *rpc, struct json_object *entry);
void missing_free(struct rpc *rpc);

#endif
