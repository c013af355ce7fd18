/* SPDX-License-Identifier: BSD-3-Clause */
/* keyring_rpc.c: methods for keys. Names, parameters and results are SPDK's. */
#include "keyring/keyring_rpc.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "base/text.h"
#include "core/secret.h"
#include "keyring/keyring.h"
#include "rpc/json.h"
#include "rpc/rpc.h"
#include "rpc/state.h"

struct keyring_rpc {
	struct keyring *k;
	struct keyring_maker maker;
	struct list files;                /* struct file_work: what is made or deleted now */
};

/* A file that a job makes or deletes. No other one may, nor may a key be given it. */
struct file_work {
	struct list link;
	const char *path;
	bool goes;
};

static struct keyring *ring_of(const struct rpc_call *call)
{
	return ((struct keyring_rpc *)rpc_ctx(call))->k;
}

static const struct file_work *work_on(const struct keyring_rpc *kr, const char *path)
{
	list_each(l, &kr->files) {
		const struct file_work *w = list_entry(l, const struct file_work, link);

		if (!strcmp(w->path, path))
			return w;
	}
	return NULL;
}

static void work_begin(struct keyring_rpc *kr, struct file_work *w, const char *path, bool goes)
{
	w->path = path;
	w->goes = goes;
	list_add_tail(&kr->files, &w->link);
}

static int check_free(const struct keyring_rpc *kr, const char *path, struct err *e)
{
	const struct file_work *w = work_on(kr, path);

	return w ? err_set(e, -EBUSY, "path: '%s' is being %s by another call; try again", path,
	                   w->goes ? "deleted" : "made") : 0;
}

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

	if (!a->rc && !check_free(rpc_ctx(a->call), a->args->path, &a->err) &&
	    !keyring_add_file(ring_of(a->call), a->args->name, a->args->path, &a->err))
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

	if (keyring_remove(ring_of(call), ((struct file_key *)args)->name, &e))
		rpc_reply_err(call, &e);
	else
		rpc_reply_true(call);
}

/* --- new ones ---------------------------------------------------------------------------------------------------- */

static const char *const key_kinds[] = { "dhchap", "tls", NULL };
static const char *const key_hashes[] = { "none", "sha256", "sha384", "sha512", NULL };

struct new_key {
	char *name, *kind, *hash, *path;
};

static const struct rpc_param make_params[] = {
	RPC_PARAM(struct new_key, name, .required = true, .doc = "Name of the key, by which others refer to it."),
	RPC_PARAM(struct new_key, kind, .required = true, .choices = key_kinds,
	          .doc = "dhchap: to prove who one is; tls: to secure connections."),
	RPC_PARAM(struct new_key, hash, .choices = key_hashes, .fallback = "sha256",
	          .doc = "What the key is bound to its host's name by, and how long it is; none: not bound."),
	RPC_PARAM(struct new_key, path,
	          .doc = "Its file, from the root; not there yet. Beside the state (--state-dir), in keys, when left out."),
};

/* secret_zalloc()'s */
struct make_call {
	struct job job;
	struct file_work work;
	struct rpc_call *call;
	const struct new_key *args;
	struct err err;
	char path[1024], text[KEYRING_TEXT_MAX];
};

static int path_for(const struct keyring_maker *maker, const struct new_key *a, char *path, size_t size, struct err *e)
{
	bool plain = a->name[0] != '.';

	for (const char *c = a->name; *c; c++)
		plain &= (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || (*c >= '0' && *c <= '9') || strchr("._-", *c);
	if (!a->path && !maker->dir)
		return err_set(e, -EINVAL, "path: the daemon has no directory of its own for keys (--state-dir); say where the "
		               "key is to lie");
	if (!a->path && !plain)
		return err_set(e, -EINVAL, "name: '%s' is no file's name; choose one of letters, digits, '.', '_' and '-', or "
		               "say where the key is to lie (path)", a->name);
	if ((size_t)snprintf(path, size, "%s%s%s", a->path ? a->path : maker->dir, a->path ? "" : "/",
	                     a->path ? "" : a->name) >= size)
		return err_set(e, -EINVAL, "path: it is too long");
	return 0;
}

static void make_in_job(struct job *j)
{
	struct make_call *m = container_of(j, struct make_call, job);

	if (!keyring_file_make(m->path, m->text, &m->err) && keyring_file_check(m->path, &m->err)) {
		struct err ignored = { 0 };

		(void)!keyring_file_delete(m->path, &ignored);
	}
}

/* The name may be taken by now: then the file stays where it is, with a key that nobody knows. */
static void made(struct job *j)
{
	struct make_call *m = container_of(j, struct make_call, job);
	struct json_object *o;

	list_del(&m->work.link);
	if (m->err.code || keyring_add_file(ring_of(m->call), m->args->name, m->path, &m->err)) {
		rpc_reply_err(m->call, &m->err);
	} else {
		rpc_state_arrived(rpc_of(m->call), m->args->name, "");
		o = json_object_new_object();
		json_add_text(o, "name", m->args->name);
		json_add_text(o, "path", m->path);
		rpc_reply(m->call, o);
	}
	secret_free(m);
}

static void handle_make(struct rpc_call *call, void *args)
{
	struct keyring_rpc *kr = rpc_ctx(call);
	struct make_call *m = secret_zalloc(sizeof(*m));

	m->call = call;
	m->args = args;
	if (keyring_check_new_name(kr->k, m->args->name, &m->err) ||
	    path_for(&kr->maker, m->args, m->path, sizeof(m->path), &m->err) || check_free(kr, m->path, &m->err) ||
	    kr->maker.make(m->args->kind, m->args->hash, m->text, &m->err)) {
		rpc_reply_err(call, &m->err);
		secret_free(m);
	} else {
		work_begin(kr, &m->work, m->path, false);
		job_start(&m->job, make_in_job, made);
	}
}

/* --- gone with their files ---------------------------------------------------------------------------------------- */

struct delete_key {
	char *name;
	/* the call's own */
	struct job job;
	struct file_work work;
	struct rpc_call *call;
	struct err err, unknown;       /* unknown: that no key has the name */
	char path[1024];
};

static const struct rpc_param delete_params[] = {
	RPC_PARAM(struct delete_key, name, .required = true, .doc = "Name of the key."),
};

static void delete_in_job(struct job *j)
{
	struct delete_key *d = container_of(j, struct delete_key, job);

	if (d->unknown.code && access(d->path, F_OK))
		d->err = d->unknown;
	else
		(void)!keyring_file_delete(d->path, &d->err);
}

static void deleted(struct job *j)
{
	struct delete_key *d = container_of(j, struct delete_key, job);

	list_del(&d->work.link);
	rpc_lasted(d->call, &d->err);
}

/* Is it a file that was made here? */
static bool is_own(const char *dir, const struct keyring_key *key)
{
	return dir && key->kind == KEYRING_FILE && text_starts_with(key->path, dir) && key->path[strlen(dir)] == '/' &&
	       !strchr(key->path + strlen(dir) + 1, '/');
}

/* A key that lies there, by whatever name. NULL: none but `but`. */
static const struct keyring_key *user_of(struct keyring *k, const char *path, const struct keyring_key *but)
{
	const struct keyring_key *key;

	for (uint32_t n = 0; (key = keyring_at(k, n)); n++)
		if (key != but && key->kind == KEYRING_FILE && strcmp(key->path, path) == 0)
			return key;
	return NULL;
}

/* That there is no such key lasts: after a crash nobody misses its file. */
static void name_is_gone(struct rpc_call *call, void *arg)
{
	struct keyring_rpc *kr = rpc_ctx(call);
	struct delete_key *d = arg;
	const struct keyring_key *user = user_of(kr->k, d->path, NULL);

	if (user) {
		err_set(&d->err, -EBUSY, "name: '%s' is no key any more, but its file is that of '%s' now, and stays", d->name,
		        user->name);
	} else if (!check_free(kr, d->path, &d->err)) {
		work_begin(kr, &d->work, d->path, true);
		job_start(&d->job, delete_in_job, deleted);
		return;
	}
	rpc_lasted(call, &d->err);
}

static void handle_delete(struct rpc_call *call, void *args)
{
	const struct keyring_rpc *kr = rpc_ctx(call);
	struct delete_key *d = args;
	struct keyring_key *key = keyring_get(kr->k, "name", d->name, &d->unknown);
	const struct keyring_key *user;

	d->call = call;
	if (!key) { /* a call that was cut off by a crash has left its file: then it is to be gone now */
		if (!kr->maker.dir || path_for(&kr->maker, &(struct new_key){ .name = d->name }, d->path, sizeof(d->path),
		                               &(struct err){ 0 }) || user_of(kr->k, d->path, NULL))
			d->err = d->unknown;
	} else if (!is_own(kr->maker.dir, key)) {
		err_set(&d->err, -EPERM, "name: '%s' was not made by this daemon for itself (keyring_make_key); take its name "
		        "away with keyring_file_remove_key, and delete its file yourself", d->name);
	} else if ((user = user_of(kr->k, key->path, key))) {
		err_set(&d->err, -EBUSY, "name: the file of '%s' is that of '%s', too; take the name away with "
		        "keyring_file_remove_key", d->name, user->name);
	} else {
		snprintf(d->path, sizeof(d->path), "%s", key->path);
	}
	keyring_key_unref(key);
	if (d->err.code || (key && keyring_remove_unused(kr->k, d->name, &d->err))) {
		rpc_reply_err(call, &d->err);
		return;
	}
	rpc_when_lasting(call, name_is_gone, d);
	rpc_reply_true(call);
}

/* --- all --------------------------------------------------------------------------------------------------------- */

static const char *const kinds[] = { [KEYRING_FILE] = "keyring_file", [KEYRING_LINUX] = "linux",
	[KEYRING_MEMORY] = "memory" };

static void handle_get(struct rpc_call *call, void *args)
{
	struct json_object *array = json_object_new_array();
	struct keyring_key *key;

	for (uint32_t n = 0; (key = keyring_at(ring_of(call), n)); n++) {
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

	if (keyring_use_linux(ring_of(call), ((struct linux_options *)args)->enable, &e))
		rpc_reply_err(call, &e);
	else
		rpc_reply_true(call);
}

/* --- saving ------------------------------------------------------------------------------------------------------ */

/* What was removed and is still held is saved, too: what names it could not be made without it. */
static void save(void *ctx, struct json_object *array)
{
	struct keyring *k = ((struct keyring_rpc *)ctx)->k;
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
	RPC_METHOD("keyring_make_key", struct new_key, make_params, handle_make, .flags = RPC_RUNTIME,
	           .returns = "{name, path}",
	           .doc = "Make a new secret, write it into a file that nobody else can read, and give it a name. The "
	                  "secret is told nowhere else."),
	RPC_METHOD("keyring_delete_key", struct delete_key, delete_params, handle_delete, .flags = RPC_RUNTIME,
	           .returns = "true",
	           .doc = "Take away the name of a key that was made here and that nobody uses, and delete its file."),
	RPC_METHOD_BARE("keyring_get_keys", handle_get, .flags = RPC_RUNTIME | RPC_READS, .returns = "array of keys",
	                .doc = "List the keys, never their secrets."),
	RPC_METHOD("keyring_linux_set_options", struct linux_options, linux_params, handle_linux, .flags = RPC_STARTUP,
	           .returns = "true", .doc = "Allow keys of the kernel's keyring."),
};

struct keyring_rpc *keyring_rpc_add(struct rpc *rpc, struct keyring *k, const struct keyring_maker *maker)
{
	struct keyring_rpc *kr = base_zalloc(sizeof(*kr));

	kr->k = k;
	kr->maker = *maker;
	list_init(&kr->files);
	rpc_add_methods(rpc, methods, ARRAY_SIZE(methods), kr);
	rpc_add_saver(rpc, "keyring", save, kr);
	return kr;
}

void keyring_rpc_free(struct keyring_rpc *kr)
{
	free(kr);
}
