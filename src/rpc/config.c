/* SPDX-License-Identifier: BSD-3-Clause */
/* config.c: the whole configuration as SPDK writes it, loaded; saving.c saves it.
 *
 * { "subsystems": [ { "subsystem": "bdev", "config": [ { "method": "bdev_malloc_create", "params": {} }, ... ] } ] }
 *
 * Loading calls one method after the other, in the file's order, and stops at the first error. An entry may be a list
 * of such objects too (SPDK's batches): its elements are called in order like all others.
 */
#include <errno.h>

#include "base/text.h"
#include "core/log.h"
#include "rpc/changes.h"
#include "rpc/state_priv.h"
#include "rpc/stream.h"

#define CONFIG_BYTES_MAX (64u << 20)

/* One method to call. */
struct load_item {
	const char *subsystem;      /* in `config`, as the entry */
	struct json_object *entry;
};

struct load {
	struct rpc *rpc;
	struct json_object *config, *subsystems;
	enum rpc_load part;
	bool patient, state;        /* RPC_LOAD_PATIENT, RPC_LOAD_STATE */
	rpc_loaded_fn *done;
	void *arg;
	struct load_item *items;
	size_t count, at;
	size_t late;                /* items that failed in this round, moved to the front */
	struct err late_err;        /* of the first of them */
	const char *skipped;        /* a subsystem whose skipping was said */
	const char *passed;         /* the first method that the present state does not allow, ... */
	size_t passed_count;        /* ... and how many there are */
	bool stepping, again;       /* a reply that comes at once goes on in the loop, not deeper */
	struct err err;
};

static char *without_comments(const char *text, size_t len);
static void say_where(const char *text, size_t at, const char *what, struct err *e);
static struct json_object *find_subsystems(struct json_object *config, bool first, struct err *e);
static void collect_items(struct load *l);
static void collect_list(struct load *l, const char *subsystem, struct json_object *list);
static bool wants(struct load *l, const char *subsystem, struct json_object *entry);
static void load_step(struct load *l);
static bool next_round(struct load *l);
static rpc_inside_fn load_replied;
static void load_end(struct load *l);

/* --- load ----------------------------------------------------------------------------------------------------- */

void rpc_load_config(struct rpc *rpc, const char *text, size_t len, uint32_t part, rpc_loaded_fn *done, void *arg)
{
	struct err e = { 0 };
	struct json_object *config = rpc_parse_config(text, len, &e);

	if (!config) {
		done(arg, &e);
		return;
	}
	rpc_load_json(rpc, config, part, done, arg);
	json_object_put(config);
}

void rpc_load_json(struct rpc *rpc, struct json_object *config, uint32_t part, rpc_loaded_fn *done, void *arg)
{
	struct err e = { 0 };
	bool second = (part & ~(RPC_LOAD_PATIENT | RPC_LOAD_STATE)) == RPC_LOAD_RUNTIME; /* a file, once more */
	struct json_object *subsystems = find_subsystems(config, !second, &e);
	struct load *l;

	if (e.code) {
		done(arg, &e);
		return;
	}
	l = base_zalloc(sizeof(*l));
	l->rpc = rpc;
	l->config = json_object_get(config);
	l->subsystems = subsystems;
	l->part = (enum rpc_load)(part & ~(RPC_LOAD_PATIENT | RPC_LOAD_STATE));
	l->patient = part & RPC_LOAD_PATIENT;
	l->state = part & RPC_LOAD_STATE;
	l->done = done;
	l->arg = arg;
	rpc->loading += l->patient || l->state;
	collect_items(l);
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

struct json_object *rpc_parse_config(const char *text, size_t len, struct err *e)
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
static struct json_object *find_subsystems(struct json_object *config, bool first, struct err *e)
{
	struct json_object *subsystems;

	if (!json_object_is_type(config, json_type_object)) {
		err_set(e, ERR_BAD_PARAM, "a configuration is an object {\"subsystems\": [...]}");
		return NULL;
	}
	if (!json_object_object_get_ex(config, "subsystems", &subsystems) || !subsystems) {
		if (first)
			log_warning("config: there is no \"subsystems\" in it: nothing is configured");
		return NULL;
	}
	if (!json_object_is_type(subsystems, json_type_array)) {
		err_set(e, ERR_BAD_PARAM, "\"subsystems\" must be a list");
		return NULL;
	}
	return subsystems;
}

/* --- what is to be called ------------------------------------------------------------------------------------ */

static void collect_items(struct load *l)
{
	size_t count = l->subsystems ? json_object_array_length(l->subsystems) : 0;

	for (size_t i = 0; i < count && !l->err.code; i++) {
		struct json_object *s = json_object_array_get_idx(l->subsystems, i), *name, *config = NULL;

		if (!json_object_is_type(s, json_type_object) || !json_object_object_get_ex(s, "subsystem", &name) ||
		    !json_object_is_type(name, json_type_string)) {
			err_set(&l->err, ERR_BAD_PARAM, "subsystems[%zu]: an object with \"subsystem\": \"name\" is wanted", i);
			return;
		}
		json_object_object_get_ex(s, "config", &config);
		if (config && !json_object_is_type(config, json_type_array))
			err_set(&l->err, ERR_BAD_PARAM, "subsystem %s: \"config\" must be a list or null",
			        json_object_get_string(name));
		else if (config)
			collect_list(l, json_object_get_string(name), config);
	}
}

static void collect_list(struct load *l, const char *subsystem, struct json_object *list)
{
	size_t count = json_object_array_length(list);

	for (size_t i = 0; i < count && !l->err.code; i++) {
		struct json_object *entry = json_object_array_get_idx(list, i);

		if (json_object_is_type(entry, json_type_array)) { /* SPDK's batches */
			if (entry != list)
				collect_list(l, subsystem, entry);
			continue;
		}
		if (!wants(l, subsystem, entry))
			continue;
		if ((l->count & (l->count - 1)) == 0) { /* full at 0, 1, 2, 4, ... */
			l->items = reallocarray(l->items, l->count ? 2 * l->count : 1, sizeof(*l->items));
			must(l->items);
		}
		l->items[l->count++] = (struct load_item){ subsystem, entry };
	}
}

/* Is the entry for this round? Sets l->err when it is wrong. */
static bool wants(struct load *l, const char *subsystem, struct json_object *entry)
{
	struct rpc_entry *found;
	uint32_t states;

	if (!*entry_method(entry)) {
		err_set(&l->err, ERR_BAD_PARAM, "subsystem %s: an entry is not an object with \"method\": \"name\"", subsystem);
		return false;
	}
	found = registry_find(l->rpc, entry_method(entry));
	if (!found) {
		/* A file made for a program with more in it may be used here; but a mistake in a name is one. */
		if (registry_find_saver(l->rpc, subsystem))
			return true;
		if (l->part != RPC_LOAD_RUNTIME && (!l->skipped || strcmp(l->skipped, subsystem) != 0))
			log_notice("config: subsystem %s does not exist here; %s and what follows it there is skipped",
			           subsystem, entry_method(entry));
		l->skipped = subsystem;
		return false;
	}
	states = method_states(found->method);
	if (l->part == RPC_LOAD_STARTUP)
		return states & RPC_STARTUP;
	if (l->part == RPC_LOAD_RUNTIME)
		return !(states & RPC_STARTUP);
	if (l->part == RPC_LOAD_ALLOWED && !registry_allows(l->rpc, found->method)) {
		if (!l->passed_count++)
			l->passed = found->method->name;
		return false;
	}
	return true;
}

/* --- calling ---------------------------------------------------------------------------------------------------- */

static void load_step(struct load *l)
{
	l->stepping = true;
	do {
		struct json_object *entry, *params = NULL;

		l->again = false;
		if (l->err.code || (l->at == l->count && !next_round(l))) {
			load_end(l);
			return;
		}
		entry = l->items[l->at].entry;
		json_object_object_get_ex(entry, "params", &params);
		registry_call(l->rpc, entry_method(entry), params, RPC_CALL_NESTED, load_replied, l);
	} while (l->again);
	l->stepping = false;
}

bool load_lacks_something(const struct err *e)
{
	return e->code == -ENODEV || e->code == -ENOENT || e->code == -ENXIO;
}

static void load_replied(void *arg, struct json_object *result, const struct err *e)
{
	struct load *l = arg;
	struct load_item item = l->items[l->at++];

	(void)result;
	if (e && (l->state || load_lacks_something(e))) {
		if (!l->late)
			l->late_err = (struct err){ 0 };
		err_set(&l->late_err, e->code, "subsystem %s: %s: %s", item.subsystem, entry_method(item.entry), e->text);
		l->items[l->late++] = item;
		if (l->patient || l->state)
			missing_keep(l->rpc, item.subsystem, item.entry, e); /* until it goes, maybe in the next round */
	} else if (e) {
		err_set(&l->err, e->code, "subsystem %s: %s: %s", item.subsystem, entry_method(item.entry), e->text);
	}
	if (l->stepping)
		l->again = true;
	else
		load_step(l);
}

/* Those that failed once more, as long as that makes them fewer. False: there is nothing more to do. */
static bool next_round(struct load *l)
{
	bool some_went = l->late < l->count;

	l->count = l->late;
	if (!l->count || !some_went) {
		if (l->count && !l->patient && !l->state)
			l->err = l->late_err;
		return false;
	}
	l->at = l->late = 0;
	return true;
}

static void load_end(struct load *l)
{
	struct err e = l->err;
	rpc_loaded_fn *done = l->done;
	void *arg = l->arg;

	if (!e.code && l->part == RPC_LOAD_RUNTIME)
		missing_say(l->rpc);
	if (!e.code && l->passed_count)
		log_notice("config: %zu calls (the first is %s) are left out: %s", l->passed_count, l->passed, l->rpc->running
		           ? "they may only be made before framework_start_init" : "load it again after framework_start_init");
	if (l->patient || l->state) {
		l->rpc->loading--;
		if (!e.code && !list_empty(&l->rpc->missing))
			missing_retry(l->rpc);
	}
	json_object_put(l->config);
	free(l->items);
	free(l);
	done(arg, e.code ? &e : NULL);
}
