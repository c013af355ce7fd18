/* SPDX-License-Identifier: BSD-3-Clause */
/* ignored.c: what is accepted for SPDK's sake: the table of such methods, and what was given, kept for saving. */
#include "rpc/ignored.h"

#include <strings.h>

#include "base/text.h"
#include "core/log.h"
#include "rpc/core_methods.h"
#include "rpc/params.h"
#include "rpc/registry.h"

/* More than any configuration has; the oldest goes first, so that a program in a loop cannot fill memory. */
#define KEPT_MAX 16384
#define KEPT_BUCKETS 4096u
#define NO_BUCKET UINT32_MAX

/* method                              subsystem     key: calls that differ in it are kept apart
 *                                                               why it has no meaning here */
#define IGNORED_METHODS(X) \
	X(iobuf_set_options,               "iobuf",      NULL,       "buffers have one budget: --memory") \
	X(sock_impl_set_options,           "sock",       "impl_name", "there is one kind of socket, and it tunes itself") \
	X(sock_set_default_impl,           "sock",       NULL,       "there is one kind of socket") \
	X(vmd_enable,                      "vmd",        NULL,       "the kernel looks after VMD") \
	X(fsdev_set_opts,                  "fsdev",     NULL,       "there are no file system devices") \
	X(accel_set_options,               "accel",      NULL,       "there is no acceleration framework") \
	X(accel_assign_opc,                "accel",      "opname",   "there is no acceleration framework") \
	X(accel_set_driver,                "accel",      NULL,       "there is no acceleration framework") \
	X(dsa_scan_accel_module,           "accel",      NULL,       "there is no acceleration framework") \
	X(iaa_scan_accel_module,           "accel",      NULL,       "there is no acceleration framework") \
	X(ioat_scan_accel_module,          "accel",      NULL,       "there is no acceleration framework") \
	X(mlx5_scan_accel_module,          "accel",      NULL,       "there is no acceleration framework") \
	X(dpdk_cryptodev_scan_accel_module, "accel",     NULL,       "there is no acceleration framework") \
	X(dpdk_cryptodev_set_driver,       "accel",      NULL,       "there is no acceleration framework") \
	X(bdev_set_options,                "bdev",       NULL,       "I/O memory has one budget: --memory") \
	X(bdev_raid_set_options,           "bdev",       NULL,       "nothing is rebuilt: there are concat and raid0") \
	X(bdev_iscsi_set_options,          "bdev",       NULL,       "there is no iSCSI initiator yet") \
	X(bdev_nvme_set_hotplug,           "bdev",       NULL,       "there are no local NVMe devices yet") \
	X(bdev_wait_for_examine,           "bdev",       NULL,       "nothing examines disks after their creation") \
	X(iscsi_enable_histogram,          NULL,         NULL,       "see bdev_enable_histogram") \
	X(framework_disable_cpumask_locks, NULL,         NULL,       "cores are not locked") \
	X(framework_enable_cpumask_locks,  NULL,         NULL,       "cores are not locked")

#define IGNORED_ROW(method_name, sub, key_param, why) { #method_name, sub, key_param, why },
static const struct ignored_method {
	const char *name, *subsystem, *key, *why;
} ignored_rows[] = { IGNORED_METHODS(IGNORED_ROW) };

static rpc_handler handle_ignored;

#define IGNORED_RPC(method_name, sub, key_param, why) \
	RPC_METHOD_BARE(#method_name, handle_ignored, .flags = RPC_STARTUP | RPC_RUNTIME | RPC_IGNORES, \
	                .doc = "Accepted for SPDK's sake, without effect: " why ".", .returns = "true"),
static const struct rpc_method ignored_methods[] = { IGNORED_METHODS(IGNORED_RPC) };

static const char *const subsystems[] = { "keyring", "iobuf", "sock", "vmd", "fsdev", "accel", "bdev", "scheduler" };

/* Of those that have a hash in common. */
struct kept_bucket {
	struct list list;           /* of struct kept by same_hash */
	uint64_t version;           /* counts its changes */
};

/* One thing to write back. */
struct kept {
	struct list link;
	struct list same_hash;      /* in its bucket of rpc->kept_index */
	struct kept_bucket *bucket;
	const struct rpc_method *method;
	bool whole;                 /* the method with all it was given; else parameters of an object */
	struct json_object *key;    /* whole: the key's value; else an object of the naming parameters */
	struct json_object *value;  /* whole: the parameters; else the ignored ones */
};

static bool say_once(struct rpc *rpc, const char *method, const char *param);
static const struct ignored_method *row_of(const struct rpc_method *m);
static struct json_object *object_key(const struct rpc_param *rows, size_t count, struct json_object *params);
static bool names_same_object(struct json_object *key, struct json_object *params);
static void keep(struct rpc *rpc, const struct kept *k);
static uint32_t hash_of(const struct rpc_method *m, struct json_object *key);
static void kept_free(struct rpc *rpc, struct kept *k);
static void merge(struct json_object *into, struct json_object *from);
static void merge_kept(struct kept_bucket *b, const struct rpc_method *m, struct json_object *params);

void rpc_add_ignored_methods(struct rpc *rpc)
{
	for (size_t i = 0; i < ARRAY_SIZE(ignored_methods); i++)
		if (!registry_find(rpc, ignored_methods[i].name)) /* a module that gives it a meaning wins */
			rpc_add_methods(rpc, &ignored_methods[i], 1, NULL);
}

const char *ignored_subsystem(size_t index)
{
	return index < ARRAY_SIZE(subsystems) ? subsystems[index] : NULL;
}

static void handle_ignored(struct rpc_call *call, void *args)
{
	const struct ignored_method *row = row_of(rpc_method_of(call));
	struct json_object *params = rpc_given_params(call), *key = NULL;

	(void)args;
	if (say_once(rpc_of(call), row->name, ""))
		log_notice("rpc: %s is accepted and has no effect: %s", row->name, row->why);
	if (row->key && params)
		key = json_object_object_get(params, row->key);
	keep(rpc_of(call), &(struct kept){ .method = rpc_method_of(call), .whole = true, .key = json_object_get(key),
		.value = json_object_get(params) });
	rpc_reply_true(call);
}

/* What is off is as it was asked for: SPDK's client gives many such. */
static bool asks_for_something(struct json_object *v)
{
	return json_object_get_type(v) != json_type_boolean || json_object_get_boolean(v);
}

static void say_rows(struct rpc *rpc, const struct rpc_method *m, const struct rpc_param *rows, size_t count,
                     struct json_object *ignored, const char *inside)
{
	for (size_t i = 0; i < count; i++) {
		struct json_object *v = params_find(&rows[i], ignored);
		char path[256];
		struct text t = text_over(path, sizeof(path));

		text_add(&t, "%s%s%s", inside, *inside ? "." : "", rows[i].name);
		if (v && !rows[i].ignored)
			say_rows(rpc, m, rows[i].params, rows[i].param_count, v, path);
		else if (v && asks_for_something(v) && say_once(rpc, m->name, path))
			log_notice("rpc: %s: %s is accepted and has no effect here", m->name, path);
	}
}

void ignored_say_params(struct rpc *rpc, const struct rpc_method *m, struct json_object *ignored)
{
	say_rows(rpc, m, m->params, m->param_count, ignored, "");
}

void ignored_keep_params(struct rpc *rpc, const struct rpc_method *m, struct json_object *params,
                         struct json_object *ignored)
{
	struct json_object *key;

	if (m->flags & RPC_READS)
		return;
	key = object_key(m->params, m->param_count, params);
	if (key)
		keep(rpc, &(struct kept){ .method = m, .key = key, .value = json_object_get(ignored) });
}

void ignored_merge_params(struct rpc *rpc, struct json_object *entry, struct ignored_seen *ret_seen)
{
	struct json_object *method, *params, *key;
	struct rpc_entry *found;
	uint32_t hash;

	if (ret_seen)
		ret_seen->bucket = NO_BUCKET;
	if ((!rpc->kept_count && !ret_seen) || !json_object_object_get_ex(entry, "method", &method) ||
	    !json_object_object_get_ex(entry, "params", &params))
		return;
	found = registry_find(rpc, json_object_get_string(method));
	key = found ? object_key(found->method->params, found->method->param_count, params) : NULL;
	if (!key)
		return;
	hash = hash_of(found->method, key);
	if (ret_seen)
		*ret_seen = (struct ignored_seen){ hash, rpc->kept_index ? rpc->kept_index[hash].version : 0 };
	if (rpc->kept_index)
		merge_kept(&rpc->kept_index[hash], found->method, params);
	json_object_put(key);
}

static void merge_kept(struct kept_bucket *b, const struct rpc_method *m, struct json_object *params)
{
	list_each(at, &b->list) {
		struct kept *k = list_entry(at, struct kept, same_hash);

		if (!k->whole && k->method == m && names_same_object(k->key, params))
			merge(params, k->value);
	}
}

bool ignored_same(const struct rpc *rpc, const struct ignored_seen *seen)
{
	if (seen->bucket == NO_BUCKET)
		return true;
	return seen->version == (rpc->kept_index ? rpc->kept_index[seen->bucket].version : 0);
}

static bool is_empty(struct json_object *v)
{
	return json_object_is_type(v, json_type_object) && json_object_object_length(v) == 0;
}

void ignored_save_methods(struct rpc *rpc, const char *subsystem, struct json_object *array)
{
	list_each(at, &rpc->kept) {
		struct kept *k = list_entry(at, struct kept, link);
		struct json_object *entry;

		if (!k->whole || !row_of(k->method)->subsystem || strcmp(row_of(k->method)->subsystem, subsystem) != 0)
			continue;
		entry = json_object_new_object();
		json_object_object_add(entry, "method", json_object_new_string(k->method->name));
		if (k->value && !is_empty(k->value)) /* SPDK's methods without parameters do not take an empty object */
			json_object_object_add(entry, "params", json_object_get(k->value));
		json_object_array_add(array, entry);
	}
}

bool ignored_forget_method(struct rpc *rpc, const struct rpc_method *m, struct json_object *params)
{
	list_each_safe(at, &rpc->kept) {
		struct kept *k = list_entry(at, struct kept, link);

		if (k->whole && k->method == m && (json_object_equal(k->value, params) || (!params && is_empty(k->value)))) {
			kept_free(rpc, k);
			return true;
		}
	}
	return false;
}

struct json_object *ignored_given(struct rpc *rpc, const char *method, const char *key)
{
	list_each(at, &rpc->kept) {
		struct kept *k = list_entry(at, struct kept, link);

		if (k->whole && strcmp(k->method->name, method) == 0 &&
		    (!key || (k->key && strcmp(json_object_get_string(k->key), key) == 0)))
			return k->value;
	}
	return NULL;
}

void ignored_forget(struct rpc *rpc)
{
	list_each_safe(at, &rpc->kept)
		kept_free(rpc, list_entry(at, struct kept, link));
	free(rpc->kept_index);
	rpc->kept_index = NULL;
	json_object_put(rpc->said);
	rpc->said = NULL;
}

/* There are as many as rows: bounded. */
static bool say_once(struct rpc *rpc, const char *method, const char *param)
{
	char name[256];
	struct text t = text_over(name, sizeof(name));

	text_add(&t, "%s.%s", method, param);
	if (json_object_object_get_ex(rpc->said, name, NULL))
		return false;
	json_object_object_add(rpc->said, name, NULL);
	return true;
}

static const struct ignored_method *row_of(const struct rpc_method *m)
{
	return &ignored_rows[m - ignored_methods];
}

/* The parameters that name the object: the required ones, and "name"; inside objects too. NULL: the name was made
 * up here, so that nothing given would find it again. */
static struct json_object *object_key(const struct rpc_param *rows, size_t count, struct json_object *params)
{
	struct json_object *key = json_object_new_object();

	for (size_t i = 0; i < count; i++) {
		const struct rpc_param *row = &rows[i];
		bool is_name = strcmp(row->name, "name") == 0;
		struct json_object *v = params_find(row, params), *part;

		if (!v && is_name) {
			json_object_put(key);
			return NULL;
		}
		if (!v || row->ignored || !(row->required || is_name))
			continue;
		part = row->type == RPC_OBJECT ? object_key(row->params, row->param_count, v) : json_object_get(v);
		if (part)
			json_object_object_add(key, row->name, part);
	}
	return key;
}

/* Texts of choices are saved as the table spells them: case does not count. */
static bool names_same_object(struct json_object *key, struct json_object *params)
{
	json_object_object_foreach(key, name, value) {
		struct json_object *other;
		bool same;

		if (!json_object_object_get_ex(params, name, &other))
			return false;
		if (json_object_is_type(value, json_type_object))
			same = names_same_object(value, other);
		else if (json_object_is_type(value, json_type_string))
			same = strcasecmp(json_object_get_string(value), json_object_get_string(other)) == 0;
		else
			same = json_object_equal(value, other);
		if (!same)
			return false;
	}
	return true;
}

/* Case does not count, as in names_same_object(). */
static uint32_t hash_of(const struct rpc_method *m, struct json_object *key)
{
	const char *text = key ? json_object_to_json_string_ext(key, JSON_C_TO_STRING_PLAIN) : "";
	uint32_t hash = 2166136261u; /* FNV-1a */

	for (const char *c = m->name; *c; c++)
		hash = (hash ^ (uint8_t)*c) * 16777619u;
	for (const char *c = text; *c; c++)
		hash = (hash ^ (uint8_t)(*c >= 'A' && *c <= 'Z' ? *c + 32 : *c)) * 16777619u;
	return hash % KEPT_BUCKETS;
}

static void make_index(struct rpc *rpc)
{
	rpc->kept_index = base_zalloc(KEPT_BUCKETS * sizeof(*rpc->kept_index));
	for (size_t i = 0; i < KEPT_BUCKETS; i++)
		list_init(&rpc->kept_index[i].list);
}

/* Takes the references in `k`. The latest of one key stays, in its place in the order. */
static void keep(struct rpc *rpc, const struct kept *k)
{
	struct kept *mine = NULL;
	struct kept_bucket *bucket;

	if (!rpc->kept_index)
		make_index(rpc);
	bucket = &rpc->kept_index[hash_of(k->method, k->key)];
	list_each(at, &bucket->list) {
		struct kept *old = list_entry(at, struct kept, same_hash);

		if (old->method == k->method && old->whole == k->whole && json_object_equal(old->key, k->key))
			mine = old;
	}
	if (mine) {
		json_object_put(mine->key);
		json_object_put(mine->value);
	} else {
		if (rpc->kept_count >= KEPT_MAX)
			kept_free(rpc, list_entry(rpc->kept.next, struct kept, link));
		mine = base_zalloc(sizeof(*mine));
		list_add_tail(&rpc->kept, &mine->link);
		list_add_tail(&bucket->list, &mine->same_hash);
		mine->bucket = bucket;
		rpc->kept_count++;
	}
	bucket->version++;
	mine->method = k->method;
	mine->whole = k->whole;
	mine->key = k->key;
	mine->value = k->value;
}

static void kept_free(struct rpc *rpc, struct kept *k)
{
	list_del(&k->link);
	list_del(&k->same_hash);
	k->bucket->version++;
	rpc->kept_count--;
	json_object_put(k->key);
	json_object_put(k->value);
	free(k);
}

/* What the object says itself wins. */
static void merge(struct json_object *into, struct json_object *from)
{
	json_object_object_foreach(from, name, value) {
		struct json_object *mine = NULL;

		if (!json_object_object_get_ex(into, name, &mine))
			json_object_object_add(into, name, json_object_get(value));
		else if (json_object_is_type(mine, json_type_object) && json_object_is_type(value, json_type_object))
			merge(mine, value);
	}
}
