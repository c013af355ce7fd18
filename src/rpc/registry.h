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
	rpc_save_fn *save;
	void *ctx;
};

struct rpc {
	struct core *core;
	struct rpc_entry *entries;      /* sorted by name */
	size_t entry_count;
	struct rpc_saver *savers;       /* in the order in which they were added */
	size_t saver_count;
	struct list calls;              /* begun, not answered */
	struct list kept;               /* ignored.c: what was accepted and ignored, ... */
	struct json_object *said;       /* ... and what of it the log has said */
	struct list drain_hooks;
	void (*drained)(void *arg);     /* set: draining */
	void *drained_arg;
	bool running;
	void (*on_running)(void *arg);  /* framework_wait_init's callers */
	void *on_running_arg;
};

struct rpc_call {
	struct list link;
	struct rpc *rpc;
	const struct rpc_method *method;
	void *ctx, *args;
	struct json_object *params;     /* NULL: none were given */
	struct json_object *ignored;    /* those of them that have no meaning here */
	rpc_inside_fn *done;
	void *arg;
};

struct rpc_entry *registry_find(struct rpc *rpc, const char *name);
/* The sentence for a name that is none. */
void registry_unknown(struct rpc *rpc, const char *name, struct err *e);
struct rpc_saver *registry_find_saver(struct rpc *rpc, const char *subsystem);
/* Does the present state allow the method? */
bool registry_allows(const struct rpc *rpc, const struct rpc_method *m);
uint32_t method_states(const struct rpc_method *m);

#endif
