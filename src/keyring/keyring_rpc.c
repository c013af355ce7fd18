/* SPDX-License-Identifier: BSD-3-Clause */
/* keyring_rpc.c: methods for keys. Names, parameters and results are SPDK's. */
#include "keyring/keyring_rpc.h"

#include "keyring/keyring.h"
#include "rpc/json.h"
#include "rpc/rpc.h"
#include "rpc/state.h"

/* --- files ------------------------------------------------------------------------------------------------------- */

struct file_key {
	char *name, *path;
};

static const struct rpc_param add_params[] = {
	RPC_PARAM(struct file_key, name, .required = true, .doc = "Name of the key, by which others refer to it."),
	RPC_PARAM(struct file_key, path, .required = true,
	          .doc = "Its file, from the root: a regular file of the daemon's user, mode 0600 or 0400. It is read each "
	                 "time the key is used."),
};

/* A file is looked at in a job: it may be on a server that does not answer. */
struct add_call {
	struct job job;
	struct rpc_call *call;
	const struct file_key *args;
	int rc;
	struct err err;
};

static void check_in_job(struct job *j)
{
	struct add_call *a = container_of(j, struct add_call, job);

	a->rc = keyring_file_check(a->args->path, &a->err);
}

static void checked(struct job *j)
{
	struct add_call *a = container_of(j, struct add_call, job);

	if (!a->rc && !keyring_add_file(rpc_ctx(a->call), a->args->name, a->args->path, &a->err))
		rpc_state_arrived(rpc_of(a->call), a->args->name, "");
	rpc_reply_rc(a->call, a->err.code, &a->err);
	free(a);
}

static void handle_add(struct rpc_call *call, void *args)
{
	struct add_call *a = base_zalloc(sizeof(*a));

	a->call = call;
	a->args = args;
	job_start(&a->job, check_in_job, checked);
}

static const struct rpc_param remove_params[] = {
	RPC_PARAM(struct file_key, name, .required = true, .doc = "Name of the key."),
};

static void handle_remove(struct rpc_call *call, void *args)
{
	struct err e = { 0 };

	if (keyring_remove(rpc_ctx(call), ((struct file_key *)args)->name, &e))
		rpc_reply_err(call, &e);
	else
		rpc_reply_true(call);
}

/* --- all --------------------------------------------------------------------------------------------------------- */

static const char *const kinds[] = { [KEYRING_FILE] = "keyring_file", [KEYRING_LINUX] = "linux",
	[KEYRING_MEMORY] = "memory" };

static void handle_get(struct rpc_call *call, void *args)
{
	struct json_object *array = json_object_new_array();
	struct keyring_key *key;

	for (uint32_t n = 0; (key = keyring_at(rpc_ctx(call), n)); n++) {
		struct json_object *o = json_append_object(array);

		json_add_text(o, "name", key->name);
		json_add_text(o, "module", kinds[key->kind]);
		json_add_bool(o, "removed", key->removed);
		json_add_bool(o, "probed", key->kind == KEYRING_LINUX);
		json_add_u64(o, "refcnt", key->refs - key->removed); /* the ring itself holds what it has not removed */
		if (key->kind == KEYRING_FILE)
			json_add_text(o, "path", key->path);
		if (key->kind == KEYRING_LINUX)
			json_add_u64(o, "sn", (uint32_t)key->serial);
	}
	rpc_reply(call, array);
}

struct linux_options {
	bool enable;
};

static const struct rpc_param linux_params[] = {
	RPC_PARAM(struct linux_options, enable,
	          .doc = "Look for keys that have no file by their name in the kernel's keyring (type user, this "
	                 "session's)."),
};

static void handle_linux(struct rpc_call *call, void *args)
{
	struct err e = { 0 };

	if (keyring_use_linux(rpc_ctx(call), ((struct linux_options *)args)->enable, &e))
		rpc_reply_err(call, &e);
	else
		rpc_reply_true(call);
}

/* --- saving ------------------------------------------------------------------------------------------------------ */

/* What was removed and is still held is saved, too: what names it could not be made without it. */
static void save(void *ctx, struct json_object *array)
{
	struct keyring *k = ctx;
	struct keyring_key *key;

	if (keyring_uses_linux(k)) {
		struct json_object *o = json_append_object(array);

		json_add_text(o, "method", "keyring_linux_set_options");
		json_add_bool(json_add_object(o, "params"), "enable", true);
	}
	for (uint32_t n = 0; (key = keyring_at(k, n)); n++) {
		struct json_object *o, *params;

		if (key->kind != KEYRING_FILE || !keyring_is_last_of_name(k, key))
			continue;
		o = json_append_object(array);
		json_add_text(o, "method", "keyring_file_add_key");
		params = json_add_object(o, "params");
		json_add_text(params, "name", key->name);
		json_add_text(params, "path", key->path);
	}
}

static const struct rpc_method methods[] = {
	RPC_METHOD("keyring_file_add_key", struct file_key, add_params, handle_add, .flags = RPC_RUNTIME,
	           .returns = "true", .doc = "Give a key that lies in a file a name."),
	RPC_METHOD("keyring_file_remove_key", struct file_key, remove_params, handle_remove, .flags = RPC_RUNTIME,
	           .returns = "true", .doc = "Take a key's name away; whoever uses it keeps it."),
	RPC_METHOD_BARE("keyring_get_keys", handle_get, .flags = RPC_RUNTIME | RPC_READS, .returns = "array of keys",
	                .doc = "List the keys, never their secrets."),
	RPC_METHOD("keyring_linux_set_options", struct linux_options, linux_params, handle_linux, .flags = RPC_STARTUP,
	           .returns = "true", .doc = "Allow keys of the kernel's keyring."),
};

void keyring_rpc_add(struct rpc *rpc, struct keyring *k)
{
	rpc_add_methods(rpc, methods, ARRAY_SIZE(methods), k);
	rpc_add_saver(rpc, "keyring", save, k);
}
