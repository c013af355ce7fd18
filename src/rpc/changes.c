/* SPDX-License-Identifier: BSD-3-Clause */
/* changes.c: two configurations compared: as parts that were exchanged, for the journal; and as items, for people. */
#include "rpc/changes.h"

#include <strings.h>

#include "base/text.h"
#include "rpc/json.h"

static struct json_object *part_of(const char *subsystem, struct json_object *from, struct json_object *to);
static struct json_object *with_part(struct json_object *config, struct json_object *part);
static void add_item(struct change_items *items, struct change_item item);
static void compare_lists(struct rpc *rpc, const char *subsystem, struct json_object *from, struct json_object *to,
                          bool loosely, struct change_items *items);
static bool says_the_same(struct json_object *says, struct json_object *is);
static bool is_nothing(struct json_object *v);

static size_t list_len(struct json_object *list)
{
	return json_object_is_type(list, json_type_array) ? json_object_array_length(list) : 0;
}

static struct json_object *subsystems_of(struct json_object *config)
{
	struct json_object *list = NULL;

	if (json_object_is_type(config, json_type_object))
		json_object_object_get_ex(config, "subsystems", &list);
	return json_object_is_type(list, json_type_array) ? list : NULL;
}

static const char *subsystem_name(struct json_object *s)
{
	struct json_object *name;

	if (json_object_is_type(s, json_type_object) && json_object_object_get_ex(s, "subsystem", &name) && name)
		return json_object_get_string(name);
	return "";
}

struct json_object *config_list(struct json_object *config, const char *subsystem)
{
	struct json_object *subsystems = subsystems_of(config), *list;

	for (size_t i = 0; i < list_len(subsystems); i++) {
		struct json_object *s = json_object_array_get_idx(subsystems, i);

		if (strcmp(subsystem_name(s), subsystem) == 0 && json_object_object_get_ex(s, "config", &list))
			return json_object_is_type(list, json_type_array) ? list : NULL;
	}
	return NULL;
}

/* --- parts -------------------------------------------------------------------------------------------------------- */

struct json_object *changes_parts(struct json_object *from, struct json_object *to)
{
	struct json_object *parts = NULL, *subsystems = subsystems_of(to);

	for (size_t i = 0; i < list_len(subsystems); i++) {
		const char *name = subsystem_name(json_object_array_get_idx(subsystems, i));
		struct json_object *part = part_of(name, config_list(from, name), config_list(to, name));

		if (!part)
			continue;
		parts = parts ? parts : json_object_new_array();
		json_object_array_add(parts, part);
	}
	/* What only an older version had. */
	subsystems = subsystems_of(from);
	for (size_t i = 0; i < list_len(subsystems); i++) {
		const char *name = subsystem_name(json_object_array_get_idx(subsystems, i));
		struct json_object *part = config_list(to, name) ? NULL : part_of(name, config_list(from, name), NULL);

		if (!part)
			continue;
		parts = parts ? parts : json_object_new_array();
		json_object_array_add(parts, part);
	}
	return parts;
}

/* All between the first and the last entry that differ: changes come one at a time, and mostly in one place. */
static struct json_object *part_of(const char *subsystem, struct json_object *from, struct json_object *to)
{
	size_t before = list_len(from), after = list_len(to), head = 0, tail = 0;
	struct json_object *part, *put;

	while (head < before && head < after &&
	       json_object_equal(json_object_array_get_idx(from, head), json_object_array_get_idx(to, head)))
		head++;
	while (tail < before - head && tail < after - head &&
	       json_object_equal(json_object_array_get_idx(from, before - 1 - tail),
	                         json_object_array_get_idx(to, after - 1 - tail)))
		tail++;
	if (head + tail == before && head + tail == after)
		return NULL;
	part = json_object_new_object();
	json_add_text(part, "s", subsystem);
	json_add_u64(part, "at", head);
	json_add_u64(part, "cut", before - head - tail);
	put = json_add_array(part, "put");
	for (size_t i = head; i < after - tail; i++)
		json_object_array_add(put, json_object_get(json_object_array_get_idx(to, i)));
	return part;
}

struct json_object *changes_apply(struct json_object *from, struct json_object *parts)
{
	struct json_object *config = json_object_get(from);

	for (size_t i = 0; config && i < list_len(parts); i++) {
		struct json_object *next = with_part(config, json_object_array_get_idx(parts, i));

		json_object_put(config);
		config = next;
	}
	return config;
}

static uint64_t number(struct json_object *o, const char *name)
{
	struct json_object *v;

	return json_object_object_get_ex(o, name, &v) && json_object_is_type(v, json_type_int) ? json_object_get_uint64(v)
	                                                                                         : UINT64_MAX;
}

static struct json_object *exchanged(struct json_object *list, struct json_object *part)
{
	struct json_object *result, *put = NULL;
	uint64_t at = number(part, "at"), cut = number(part, "cut");

	if (!json_object_object_get_ex(part, "put", &put) || at > list_len(list) || cut > list_len(list) - at)
		return NULL;
	result = json_object_new_array();
	for (size_t i = 0; i < at; i++)
		json_object_array_add(result, json_object_get(json_object_array_get_idx(list, i)));
	for (size_t i = 0; i < list_len(put); i++)
		json_object_array_add(result, json_object_get(json_object_array_get_idx(put, i)));
	for (size_t i = at + cut; i < list_len(list); i++)
		json_object_array_add(result, json_object_get(json_object_array_get_idx(list, i)));
	return result;
}

static struct json_object *subsystem_with(const char *name, struct json_object *list)
{
	struct json_object *s = json_object_new_object();

	json_add_text(s, "subsystem", name);
	json_object_object_add(s, "config", list);
	return s;
}

static struct json_object *with_part(struct json_object *config, struct json_object *part)
{
	struct json_object *name_json, *result, *copies, *subsystems = subsystems_of(config), *list;
	const char *name;
	bool found = false;

	if (!json_object_is_type(part, json_type_object) || !json_object_object_get_ex(part, "s", &name_json) ||
	    !json_object_is_type(name_json, json_type_string))
		return NULL;
	name = json_object_get_string(name_json);
	list = exchanged(config_list(config, name), part);
	if (!list)
		return NULL;
	result = json_object_new_object();
	copies = json_add_array(result, "subsystems");
	for (size_t i = 0; i < list_len(subsystems); i++) {
		struct json_object *s = json_object_array_get_idx(subsystems, i);
		bool this = strcmp(subsystem_name(s), name) == 0 && !found;

		found |= this;
		json_object_array_add(copies, this ? subsystem_with(name, list) : json_object_get(s));
	}
	if (!found)
		json_object_array_add(copies, subsystem_with(name, list));
	return result;
}

/* --- items -------------------------------------------------------------------------------------------------------- */

const char *change_verb_name(enum change_verb verb)
{
	static const char *const names[] = { "add", "remove", "change" };

	return names[verb];
}

struct change_items changes_between(struct rpc *rpc, struct json_object *from, struct json_object *to, bool loosely)
{
	struct json_object *lists[] = { subsystems_of(from), subsystems_of(to) };
	struct change_items items = { 0 };

	for (size_t i = 0; i < list_len(lists[0]); i++) {
		const char *name = subsystem_name(json_object_array_get_idx(lists[0], i));
		struct json_object *after = config_list(to, name);

		if (after || !loosely)
			compare_lists(rpc, name, config_list(from, name), after, loosely, &items);
	}
	for (size_t i = 0; i < list_len(lists[1]); i++) {
		const char *name = subsystem_name(json_object_array_get_idx(lists[1], i));

		if (!config_list(from, name))
			compare_lists(rpc, name, NULL, config_list(to, name), loosely, &items);
	}
	return items;
}

void changes_free(struct change_items *items)
{
	free(items->at);
	*items = (struct change_items){ 0 };
}

static void add_item(struct change_items *items, struct change_item item)
{
	if ((items->count & (items->count + 1)) == 0) { /* full at 0, 1, 3, 7, ... */
		items->at = reallocarray(items->at, 2 * items->count + 1, sizeof(*items->at));
		must(items->at);
	}
	items->at[items->count++] = item;
}

static bool same_entry(struct json_object *from, struct json_object *to, bool loosely)
{
	struct json_object *params = entry_params(to);

	if (!loosely)
		return json_object_equal(from, to);
	return strcmp(entry_method(from), entry_method(to)) == 0 && (!params || says_the_same(params, entry_params(from)));
}

/* Index of `from` by identity: identity -> place. Equal ones: the first. */
static struct json_object *index_of(struct rpc *rpc, struct json_object *list)
{
	struct json_object *index = json_object_new_object();

	for (size_t i = 0; i < list_len(list); i++) {
		char *identity = entry_identity(rpc, json_object_array_get_idx(list, i));

		if (identity && !json_object_object_get_ex(index, identity, NULL))
			json_object_object_add(index, identity, json_object_new_uint64(i));
		free(identity);
	}
	return index;
}

/* Where in `from` is what `entry` makes? SIZE_MAX: nowhere. */
static size_t find_in(struct rpc *rpc, struct json_object *from, struct json_object *index, const bool *used,
                      struct json_object *entry, bool loosely)
{
	char *identity = entry_identity(rpc, entry);
	struct json_object *place;
	size_t at = SIZE_MAX;

	if (identity) {
		if (json_object_object_get_ex(index, identity, &place) && !used[json_object_get_uint64(place)])
			at = json_object_get_uint64(place);
		free(identity);
		return at;
	}
	for (size_t i = 0; i < list_len(from); i++) /* it does not say which: any that it would do for */
		if (!used[i] && same_entry(json_object_array_get_idx(from, i), entry, loosely))
			return i;
	return SIZE_MAX;
}

static void compare_lists(struct rpc *rpc, const char *subsystem, struct json_object *from, struct json_object *to,
                          bool loosely, struct change_items *items)
{
	struct json_object *index = index_of(rpc, from);
	bool *used = base_zalloc(list_len(from) + 1);

	for (size_t i = 0; i < list_len(to); i++) {
		struct json_object *entry = json_object_array_get_idx(to, i), *was;
		size_t at = find_in(rpc, from, index, used, entry, loosely);

		if (!*entry_method(entry))
			continue;
		if (at == SIZE_MAX) {
			add_item(items, (struct change_item){ CHANGE_ADD, subsystem, NULL, entry });
			continue;
		}
		used[at] = true;
		was = json_object_array_get_idx(from, at);
		if (!same_entry(was, entry, loosely))
			add_item(items, (struct change_item){ CHANGE_CHANGE, subsystem, was, entry });
	}
	for (size_t i = 0; i < list_len(from); i++)
		if (!used[i])
			add_item(items, (struct change_item){ CHANGE_REMOVE, subsystem, json_object_array_get_idx(from, i), NULL });
	free(used);
	json_object_put(index);
}

/* Is everything so that somebody says? What is not said, and what says that something is not there, is the same. */
static bool says_the_same(struct json_object *says, struct json_object *is)
{
	if (!is)
		return is_nothing(says);
	if (json_object_is_type(says, json_type_object) && json_object_is_type(is, json_type_object)) {
		json_object_object_foreach(says, name, v) {
			struct json_object *mine = NULL;

			json_object_object_get_ex(is, name, &mine);
			if (strcmp(name, "tgt_name") != 0 && !says_the_same(v, mine))
				return false;
		}
		return true;
	}
	if (json_object_is_type(says, json_type_string) && json_object_is_type(is, json_type_string))
		return strcasecmp(json_object_get_string(says), json_object_get_string(is)) == 0;
	return json_object_equal(says, is) || (!says && is_nothing(is));
}

static bool is_nothing(struct json_object *v)
{
	switch (json_object_get_type(v)) {
	case json_type_null:
		return true;
	case json_type_boolean:
		return !json_object_get_boolean(v);
	case json_type_int:
		return json_object_get_int64(v) == 0;
	case json_type_string:
		return json_object_get_string_len(v) == 0;
	case json_type_object:
		return json_object_object_length(v) == 0;
	default:
		return list_len(v) == 0;
	}
}

/* --- words -------------------------------------------------------------------------------------------------------- */

static bool is_secret(const struct rpc_entry *found, const char *name)
{
	for (size_t i = 0; found && i < found->method->param_count; i++)
		if (found->method->params[i].secret && strcmp(found->method->params[i].name, name) == 0)
			return true;
	return false;
}

static void add_differences(struct text *t, const struct rpc_entry *found, struct json_object *from,
                            struct json_object *to, bool *first)
{
	if (!to || !from)
		return;
	json_object_object_foreach(to, name, v) {
		struct json_object *was = NULL;

		json_object_object_get_ex(from, name, &was);
		if (says_the_same(v, was))
			continue;
		if (json_object_is_type(v, json_type_object) && json_object_is_type(was, json_type_object)) {
			add_differences(t, found, was, v, first);
			continue;
		}
		if (is_secret(found, name))
			text_add(t, "%s %s", *first ? ":" : ",", name);
		else
			text_add(t, "%s %s %s -> %s", *first ? ":" : ",", name, was ? json_object_get_string(was) : "nothing",
			         v ? json_object_get_string(v) : "nothing");
		*first = false;
	}
}

char *change_words(struct rpc *rpc, const struct change_item *item)
{
	char *name = entry_words(rpc, item->verb == CHANGE_ADD ? item->to : item->from), buf[1024];
	struct text t = text_over(buf, sizeof(buf));
	bool first = true;

	text_add(&t, "%s %s", change_verb_name(item->verb), name);
	if (item->verb == CHANGE_CHANGE)
		add_differences(&t, registry_find(rpc, entry_method(item->from)), entry_params(item->from),
		                entry_params(item->to), &first);
	if (t.cut)
		text_end_with(&t, "...");
	free(name);
	return base_strdup(buf);
}
