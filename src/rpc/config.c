/* SPDX-License-Identifier: BSD-3-Clause */
/* config.c: the whole configuration as SPDK writes it, saved and loaded.
 *
 * { "subsystems": [ { "subsystem": "bdev", "config": [ { "method": "bdev_malloc_create", "params": {} }, ... ] } ] }
 *
 * Loading calls one method after the other, in the file's order, and stops at the first error. An entry may be a list
 * of such objects too (SPDK's batches): its elements are called in order like all others.
 */
#include <errno.h>

#include "base/text.h"
#include "core/log.h"
#include "rpc/ignored.h"
#include "rpc/registry.h"
#include "rpc/stream.h"

#define CONFIG_BYTES_MAX (64u << 20)

struct load {
	struct rpc *rpc;
	struct json_object *config, *subsystems;
	enum rpc_load part;
	rpc_loaded_fn *done;
	void *arg;
	size_t subsystem_at, entry_at, batch_at;
	const char *subsystem, *method; /* in `config` */
	const char *skipped;            /* a subsystem whose skipping was said */
	bool stepping, again;           /* a reply that comes at once goes on in the loop, not deeper */
	struct err err;
};

static char *without_comments(const char *text, size_t len);
static struct json_object *parse(const char *text, size_t len, struct err *e);
static void say_where(const char *text, size_t at, const char *what, struct err *e);
static struct json_object *find_subsystems(struct json_object *config, struct err *e);
static void load_step(struct load *l);
static struct json_object *next_entry(struct load *l);
static struct json_object *config_of(struct load *l, struct json_object *subsystem);
static bool wants(struct load *l, struct json_object *entry);
static void load_replied(void *arg, struct json_object *result, const struct err *e);
static void load_end(struct load *l);

/* --- save ----------------------------------------------------------------------------------------------------- */

const char *rpc_subsystem_name(struct rpc *rpc, size_t index)
{
	const char *name;

	/* SPDK's that exist only as ignored methods come first, as there: they configure what the others use. */
	for (size_t i = 0; (name = ignored_subsystem(i)); i++) {
		if (registry_find_saver(rpc, name))
			continue;
		if (index-- == 0)
			return name;
	}
	return index < rpc->saver_count ? rpc->savers[index].subsystem : NULL;
}

struct json_object *rpc_save_subsystem(struct rpc *rpc, const char *subsystem, struct err *e)
{
	struct rpc_saver *saver = registry_find_saver(rpc, subsystem);
	struct json_object *array;
	const char *name = saver ? subsystem : NULL;

	for (size_t i = 0; !name && ignored_subsystem(i); i++)
		if (strcmp(ignored_subsystem(i), subsystem) == 0)
			name = subsystem;
	if (!name) {
		err_set(e, ERR_BAD_PARAM, "name: there is no subsystem %.64s; framework_get_subsystems lists them", subsystem);
		return NULL;
	}
	array = json_object_new_array();
	ignored_save_methods(rpc, subsystem, array);
	if (saver)
		saver->save(saver->ctx, array);
	for (size_t i = 0; i < json_object_array_length(array); i++)
		ignored_merge_params(rpc, json_object_array_get_idx(array, i));
	return array;
}

struct json_object *rpc_save_config(struct rpc *rpc)
{
	struct json_object *config = json_object_new_object(), *subsystems = json_object_new_array();
	const char *name;

	json_object_object_add(config, "subsystems", subsystems);
	for (size_t i = 0; (name = rpc_subsystem_name(rpc, i)); i++) {
		struct json_object *s = json_object_new_object();

		json_object_object_add(s, "subsystem", json_object_new_string(name));
		json_object_object_add(s, "config", rpc_save_subsystem(rpc, name, NULL));
		json_object_array_add(subsystems, s);
	}
	return config;
}

/* --- load ----------------------------------------------------------------------------------------------------- */

void rpc_load_config(struct rpc *rpc, const char *text, size_t len, enum rpc_load part, rpc_loaded_fn *done, void *arg)
{
	struct err e = { 0 };
	struct json_object *config = parse(text, len, &e);

	if (!config) {
		done(arg, &e);
		return;
	}
	rpc_load_json(rpc, config, part, done, arg);
	json_object_put(config);
}

void rpc_load_json(struct rpc *rpc, struct json_object *config, enum rpc_load part, rpc_loaded_fn *done, void *arg)
{
	struct err e = { 0 };
	struct json_object *subsystems = find_subsystems(config, &e);
	struct load *l;

	if (e.code) {
		done(arg, &e);
		return;
	}
	l = base_zalloc(sizeof(*l));
	l->rpc = rpc;
	l->config = json_object_get(config);
	l->subsystems = subsystems;
	l->part = part;
	l->done = done;
	l->arg = arg;
	load_step(l);
}

/* Comments become spaces, so that places in the text stay what they are. Returns memory. */
static char *without_comments(const char *text, size_t len)
{
	char *out = base_zalloc(len + 1);
	bool in_string = false;

	memcpy(out, text, len);
	for (size_t i = 0; i < len; i++) {
		size_t end = i;

		if (in_string) {
			if (out[i] == '\\')
				i++;
			else if (out[i] == '"')
				in_string = false;
			continue;
		}
		if (out[i] == '"')
			in_string = true;
		if (out[i] != '/' || i + 1 >= len || (out[i + 1] != '/' && out[i + 1] != '*'))
			continue;
		if (out[i + 1] == '/') {
			while (end < len && out[end] != '\n')
				end++;
		} else {
			for (end = i + 2; end + 1 < len && !(out[end] == '*' && out[end + 1] == '/'); end++)
				;
			end = min_u64(end + 2, len);
		}
		for (; i < end; i++)
			if (out[i] != '\n')
				out[i] = ' ';
		i--;
	}
	return out;
}

static struct json_object *parse(const char *text, size_t len, struct err *e)
{
	struct json_object *json = NULL;
	const char *wrong = NULL;
	struct err broken = { 0 };
	struct stream stream;
	size_t at;
	char *clean;

	if (len > CONFIG_BYTES_MAX) {
		err_set(e, -E2BIG, "the configuration is longer than 64 MiB; that cannot be meant");
		return NULL;
	}
	clean = without_comments(text, len);
	stream_init(&stream);
	stream.bytes_max = stream.values_max = CONFIG_BYTES_MAX;
	at = stream_take(&stream, clean, len, &json, &broken);
	at += strspn(clean + at, " \t\r\n");
	if (broken.code) {
		wrong = broken.text;
		at = strspn(clean, " \t\r\n") + stream.error_at;
	} else if (!json) {
		wrong = "the configuration ends too early; a bracket is missing, perhaps";
	} else if (at < len) {
		wrong = "there is more after the end of the configuration";
	}
	if (wrong) {
		say_where(clean, at, wrong, e);
		json_object_put(json);
		json = NULL;
	}
	stream_fini(&stream);
	free(clean);
	return json;
}

static void say_where(const char *text, size_t at, const char *what, struct err *e)
{
	size_t line = 1, column = 1;

	for (size_t i = 0; i < at && text[i]; i++) {
		column = text[i] == '\n' ? 1 : column + 1;
		line += text[i] == '\n';
	}
	err_set(e, RPC_ERR_PARSE, "line %zu, column %zu: %s", line, column, what);
}

/* NULL without an error: nothing is configured, which SPDK allows. */
static struct json_object *find_subsystems(struct json_object *config, struct err *e)
{
	struct json_object *subsystems;

	if (!json_object_is_type(config, json_type_object)) {
		err_set(e, ERR_BAD_PARAM, "a configuration is an object {\"subsystems\": [...]}");
		return NULL;
	}
	if (!json_object_object_get_ex(config, "subsystems", &subsystems) || !subsystems) {
		log_warning("config: there is no \"subsystems\" in it: nothing is configured");
		return NULL;
	}
	if (!json_object_is_type(subsystems, json_type_array)) {
		err_set(e, ERR_BAD_PARAM, "\"subsystems\" must be a list");
		return NULL;
	}
	return subsystems;
}

static void load_step(struct load *l)
{
	l->stepping = true;
	do {
		struct json_object *entry = l->err.code ? NULL : next_entry(l), *params = NULL;

		l->again = false;
		if (!entry) {
			load_end(l);
			return;
		}
		if (!wants(l, entry)) {
			l->again = true;
			continue;
		}
		json_object_object_get_ex(entry, "params", &params);
		rpc_call_inside(l->rpc, l->method, params, load_replied, l);
	} while (l->again);
	l->stepping = false;
}

/* The next object with a method; NULL at the end, or with l->err. Sets l->subsystem. */
static struct json_object *next_entry(struct load *l)
{
	size_t count = l->subsystems ? json_object_array_length(l->subsystems) : 0;

	for (; l->subsystem_at < count; l->subsystem_at++, l->entry_at = 0) {
		struct json_object *config = config_of(l, json_object_array_get_idx(l->subsystems, l->subsystem_at));

		if (l->err.code)
			return NULL;
		while (config && l->entry_at < json_object_array_length(config)) {
			struct json_object *entry = json_object_array_get_idx(config, l->entry_at);

			if (!json_object_is_type(entry, json_type_array)) {
				l->entry_at++;
				return entry;
			}
			if (l->batch_at < json_object_array_length(entry))
				return json_object_array_get_idx(entry, l->batch_at++);
			l->batch_at = 0;
			l->entry_at++;
		}
	}
	return NULL;
}

/* A subsystem's list of entries; NULL: none, or l->err. */
static struct json_object *config_of(struct load *l, struct json_object *subsystem)
{
	struct json_object *name, *config = NULL;

	if (!json_object_is_type(subsystem, json_type_object) ||
	    !json_object_object_get_ex(subsystem, "subsystem", &name) || !json_object_is_type(name, json_type_string)) {
		err_set(&l->err, ERR_BAD_PARAM, "subsystems[%zu]: an object with \"subsystem\": \"name\" is wanted",
		        l->subsystem_at);
		return NULL;
	}
	l->subsystem = json_object_get_string(name);
	json_object_object_get_ex(subsystem, "config", &config);
	if (!config || json_object_is_type(config, json_type_array))
		return config;
	err_set(&l->err, ERR_BAD_PARAM, "subsystem %s: \"config\" must be a list or null", l->subsystem);
	return NULL;
}

/* Is the entry for this round? Sets l->method, or l->err when it is wrong. */
static bool wants(struct load *l, struct json_object *entry)
{
	struct json_object *method;
	struct rpc_entry *found;
	uint32_t states;

	if (!json_object_is_type(entry, json_type_object) || !json_object_object_get_ex(entry, "method", &method) ||
	    !json_object_is_type(method, json_type_string)) {
		err_set(&l->err, ERR_BAD_PARAM, "subsystem %s: an entry is not an object with \"method\": \"name\"",
		        l->subsystem);
		return false;
	}
	l->method = json_object_get_string(method);
	found = registry_find(l->rpc, l->method);
	if (!found) {
		/* A file made for a program with more in it may be used here; but a mistake in a name is one. */
		if (registry_find_saver(l->rpc, l->subsystem))
			return true;
		if (l->part != RPC_LOAD_RUNTIME && (!l->skipped || strcmp(l->skipped, l->subsystem) != 0))
			log_notice("config: subsystem %s does not exist here; %s and what follows it there is skipped",
			           l->subsystem, l->method);
		l->skipped = l->subsystem;
		return false;
	}
	states = method_states(found->method);
	if (l->part == RPC_LOAD_STARTUP)
		return states & RPC_STARTUP;
	if (l->part == RPC_LOAD_RUNTIME)
		return !(states & RPC_STARTUP);
	return true;
}

static void load_replied(void *arg, struct json_object *result, const struct err *e)
{
	struct load *l = arg;

	(void)result;
	if (e)
		err_set(&l->err, e->code, "subsystem %s: %s: %s", l->subsystem, l->method, e->text);
	if (l->stepping)
		l->again = true;
	else
		load_step(l);
}

static void load_end(struct load *l)
{
	struct err e = l->err;
	rpc_loaded_fn *done = l->done;
	void *arg = l->arg;

	json_object_put(l->config);
	free(l);
	done(arg, e.code ? &e : NULL);
}
