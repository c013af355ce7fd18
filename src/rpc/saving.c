/* SPDX-License-Identifier: BSD-3-Clause */
/* saving.c: the saved configuration, whole or from what has changed since it was saved last.
 *
 * A saver of many objects tells each one's stamp, a number that an object gets anew whenever what is saved of it may
 * have changed, and that no two have in common. Entries are kept by stamp: an object with a stamp that was there last
 * time is not asked, and its entries are the same JSON objects, which are found equal by their addresses. So
 * a change among thousands of objects costs a look at each one's stamp.
 *
 * What was accepted and ignored is merged into entries when they are made: they are kept with the version of the
 * bucket in which that would be found.
 *
 * A stamp that somebody forgot to renew would be a change that is lost: builds with asserts save the whole
 * each time and compare, others every WHOLE_EVERY times, say what differed, and go on with the whole.
 */
#include "rpc/saving.h"

#include "core/log.h"
#include "rpc/ignored.h"
#include "rpc/state_priv.h"

#define BUCKETS 4096u      /* stamps count up: they fill them evenly */
#define WHOLE_EVERY 256u

/* One object's entries. */
struct saved_unit {
	struct list link;      /* in its bucket */
	uint64_t stamp, round;
	uint32_t count;
	struct saved_entry {
		struct json_object *json;
		struct ignored_seen seen;
	} entries[];
};

struct saved_units {
	struct list buckets[BUCKETS];
	uint64_t round;        /* of saving: units of older ones are no more */
	uint32_t count, seen;  /* units; those of this round */
};

static struct json_object *save_config(struct rpc *rpc, bool changes);
static struct json_object *save_subsystem(struct rpc *rpc, const char *name, struct rpc_saver *saver, bool changes);
static void merge_direct(struct rpc_save *save);
static struct saved_unit *find_unit(struct rpc_save *save, uint64_t stamp);
static struct saved_unit *make_unit(struct rpc_save *save, uint64_t stamp, struct json_object *array);
static void unit_free(struct saved_units *units, struct saved_unit *u);
static void sweep(struct saved_units *units);
static void say_difference(struct json_object *whole, struct json_object *changed);

struct json_object *rpc_save_config(struct rpc *rpc)
{
	return save_config(rpc, false);
}

struct json_object *rpc_save_subsystem(struct rpc *rpc, const char *subsystem, struct err *e)
{
	const char *name;

	for (size_t i = 0; (name = rpc_subsystem_name(rpc, i)); i++)
		if (strcmp(name, subsystem) == 0)
			return save_subsystem(rpc, name, registry_find_saver(rpc, name), false);
	err_set(e, ERR_BAD_PARAM, "name: there is no subsystem %.64s; framework_get_subsystems lists them", subsystem);
	return NULL;
}

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

struct json_object *saving_changes(struct rpc *rpc)
{
	struct json_object *changed = save_config(rpc, true), *whole;
	bool compare = rpc->saves++ % WHOLE_EVERY == WHOLE_EVERY - 1;

#ifndef NDEBUG
	compare = true;
#endif
	if (!compare)
		return changed;
	whole = save_config(rpc, false);
	if (json_object_equal(whole, changed)) {
		json_object_put(whole);
		return changed;
	}
	say_difference(whole, changed);
	assert(!"what is saved of an object changed without a new stamp");
	saving_forget(rpc);
	json_object_put(changed);
	return whole;
}

void saving_forget(struct rpc *rpc)
{
	for (size_t i = 0; i < rpc->saver_count; i++) {
		struct saved_units *units = rpc->savers[i].units;

		for (uint32_t b = 0; units && b < BUCKETS; b++)
			list_each_safe(at, &units->buckets[b])
				unit_free(units, list_entry(at, struct saved_unit, link));
		free(units);
		rpc->savers[i].units = NULL;
	}
}

static struct json_object *save_config(struct rpc *rpc, bool changes)
{
	struct json_object *config = json_object_new_object(), *subsystems = json_object_new_array();
	const char *name;

	json_object_object_add(config, "subsystems", subsystems);
	for (size_t i = 0; (name = rpc_subsystem_name(rpc, i)); i++) {
		struct json_object *s = json_object_new_object();

		json_object_object_add(s, "subsystem", json_object_new_string(name));
		json_object_object_add(s, "config", save_subsystem(rpc, name, registry_find_saver(rpc, name), changes));
		json_object_array_add(subsystems, s);
	}
	return config;
}

static struct json_object *save_subsystem(struct rpc *rpc, const char *name, struct rpc_saver *saver, bool changes)
{
	struct rpc_save save = { .array = json_object_new_array(), .rpc = rpc };

	ignored_save_methods(rpc, name, save.array);
	if (saver && saver->save)
		saver->save(saver->ctx, save.array);
	if (saver && saver->save_objects) {
		if (changes && !saver->units) {
			saver->units = base_zalloc(sizeof(*saver->units));
			for (uint32_t i = 0; i < BUCKETS; i++)
				list_init(&saver->units->buckets[i]);
		}
		save.units = changes ? saver->units : NULL;
		if (save.units) {
			save.units->round++;
			save.units->seen = 0;
		}
		saver->save_objects(saver->ctx, &save);
		if (save.units)
			sweep(save.units);
	}
	merge_direct(&save);
	missing_save(rpc, name, save.array);
	return save.array;
}

/* What the saver appended by itself, since the last object that it told. */
static void merge_direct(struct rpc_save *save)
{
	size_t count = json_object_array_length(save->array);

	for (; save->merged < count; save->merged++)
		ignored_merge_params(save->rpc, json_object_array_get_idx(save->array, save->merged), NULL);
}

/* --- objects -------------------------------------------------------------------------------------------------- */

void rpc_save_object(struct rpc_save *save, uint64_t stamp, rpc_save_object_fn *fn, void *arg)
{
	struct saved_unit *u = save->units && stamp ? find_unit(save, stamp) : NULL;

	if (!save->units || !stamp) {
		fn(arg, save->array);
		return;
	}
	if (!u) {
		struct json_object *array = json_object_new_array();

		fn(arg, array);
		u = make_unit(save, stamp, array);
		json_object_put(array);
	}
	u->round = save->units->round;
	save->units->seen++;
	merge_direct(save);
	for (uint32_t i = 0; i < u->count; i++)
		json_object_array_add(save->array, json_object_get(u->entries[i].json));
	save->merged += u->count;
}

struct json_object *rpc_save_array(struct rpc_save *save)
{
	return save->array;
}

/* NULL: there is none, or not any more. */
static struct saved_unit *find_unit(struct rpc_save *save, uint64_t stamp)
{
	list_each(at, &save->units->buckets[stamp % BUCKETS]) {
		struct saved_unit *u = list_entry(at, struct saved_unit, link);

		if (u->stamp != stamp)
			continue;
		assert(u->round < save->units->round); /* no two objects have the same */
		for (uint32_t i = 0; i < u->count; i++) {
			if (!ignored_same(save->rpc, &u->entries[i].seen)) {
				unit_free(save->units, u);
				return NULL;
			}
		}
		return u;
	}
	return NULL;
}

static struct saved_unit *make_unit(struct rpc_save *save, uint64_t stamp, struct json_object *array)
{
	uint32_t count = (uint32_t)json_object_array_length(array);
	struct saved_unit *u = base_zalloc(sizeof(*u) + count * sizeof(u->entries[0]));

	u->stamp = stamp;
	u->count = count;
	for (uint32_t i = 0; i < count; i++) {
		u->entries[i].json = json_object_get(json_object_array_get_idx(array, i));
		ignored_merge_params(save->rpc, u->entries[i].json, &u->entries[i].seen);
	}
	list_add_tail(&save->units->buckets[stamp % BUCKETS], &u->link);
	save->units->count++;
	return u;
}

static void unit_free(struct saved_units *units, struct saved_unit *u)
{
	for (uint32_t i = 0; i < u->count; i++)
		json_object_put(u->entries[i].json);
	list_del(&u->link);
	units->count--;
	free(u);
}

static void sweep(struct saved_units *units)
{
	for (uint32_t b = 0; units->count > units->seen && b < BUCKETS; b++)
		list_each_safe(at, &units->buckets[b])
			if (list_entry(at, struct saved_unit, link)->round != units->round)
				unit_free(units, list_entry(at, struct saved_unit, link));
}

/* --- a defect ------------------------------------------------------------------------------------------------- */

static void say_difference(struct json_object *whole, struct json_object *changed)
{
	struct json_object *parts = changes_parts(changed, whole);

	log_error("state: a change was overlooked, and is kept now; please report this: %s",
	          parts ? json_object_to_json_string_ext(parts, JSON_C_TO_STRING_PLAIN) : "in the order only");
	json_object_put(parts);
}
