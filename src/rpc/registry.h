/* SPDX-License-Identifier: BSD-3-Clause */
/* registry.h: what a daemon's methods hang off. Private to rpc. */
#ifndef RPC_REGISTRY_H
#define RPC_REGISTRY_H

#include "rpc/rpc.h"

/* A name that can be called: a method's own or its older one. */
struct rpc_entry {
	const char *name;
	const struct rpc_method *method;
	void *ctx;
	bool is_alias, said; /* said: the log told that it is an older name */
};

struct rpc_saver {
	const char *subsystem;
	rpc_save_fn *save;              /* one of the two */
	rpc_save_objects_fn *save_objects;
	void *ctx;
	struct saved_units *units;      /* saving.c: what its objects gave last time */
};

struct rpc {
	struct core *core;
	struct rpc_entry *entries;      /* sorted by name */
	size_t entry_count;
	struct rpc_saver *savers;       /* in the order in which they were added */
	size_t saver_count;
	struct list calls;              /* begun, not answered */
	struct list kept;               /* ignored.c: what was accepted and ignored, ... */
	struct kept_bucket *kept_index; /* ... found by a hash, KEPT_BUCKETS of them or NULL, ... */
	uint32_t kept_count;
	struct json_object *said;       /* ... and what of it the log has said */
	struct list drain_hooks;
	void (*drained)(void *arg);     /* set: draining */
	void *drained_arg;
	struct state *state;            /* what lasts: state_priv.h */
	uint64_t saves;                 /* of changes: saving.c */
	struct list missing;            /* entries that could not be made yet: missing.c */
	struct json_object *retrying;   /* the one of them that is being tried again */
	struct defer retry;
	uint32_t loading;               /* patient loads that go on: they try again themselves */
	bool running;
	void (*on_running)(void *arg);  /* framework_wait_init's callers */
	void *on_running_arg;
};

/* Where a call comes from: nested ones are parts of another call, which answers for all that they change. */
enum rpc_call_kind { RPC_CALL_OUTSIDE, RPC_CALL_NESTED, RPC_CALL_RETRY };

struct rpc_call {
	struct list link, state_link;
	enum rpc_call_kind kind;
	bool handling, answered;        /* its handler runs; it was answered meanwhile: freed when that returns */
	bool failed;                    /* with `err`: how it ended, until that is lasting */
	struct err err;
	struct json_object *result;
	void (*lasting)(struct rpc_call *call, void *lasting_arg); /* rpc_when_lasting(); NULL: nothing */
	void *lasting_arg;
	struct rpc *rpc;
	const struct rpc_method *method;
	void *ctx, *args;
	struct json_object *params;     /* NULL: none were given */
	struct json_object *ignored;    /* those of them that have no meaning here */
	rpc_inside_fn *done;
	void *arg;
};

void registry_call(struct rpc *rpc, const char *method, struct json_object *params, enum rpc_call_kind kind,
                   rpc_inside_fn *done, void *arg);
/* Would its parameters be taken? Nothing is called. */
int registry_check(struct rpc *rpc, const char *method, struct json_object *params, struct err *e) MUST_USE;
/* For state.c: run a call's handler; give a call's answer. */
void call_begin(struct rpc_call *call);
void call_finish(struct rpc_call *call, struct json_object *result, const struct err *e);
/* Did it fail because something is not there, so that it may go later? */
bool load_lacks_something(const struct err *e);

struct rpc_entry *registry_find(struct rpc *rpc, const char *name);
/* The sentence for a name that is none. */
void registry_unknown(struct rpc *rpc, const char *name, struct err *e);
struct rpc_saver *registry_find_saver(struct rpc *rpc, const char *subsystem);
/* Does the present state allow the method? */
bool registry_allows(const struct rpc *rpc, const struct rpc_method *m);
uint32_t method_states(const struct rpc_method *m);

#endif
