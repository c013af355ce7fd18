/* SPDX-License-Identifier: BSD-3-Clause */
/* plan.c: from one configuration to another by the fewest calls.
 *
 * What has to go, or to be made again, takes along what stands on it: what belongs to it (a subsystem's namespaces) and
 * what names it (the namespace of a disk). The order is: what is new and touches nothing that goes; then what goes, the
 * last made first; then what is made again or had to wait. So a mistake in what is new is found before anything is
 * taken away.
 */
#include <errno.h>
#include <inttypes.h>

#include "base/text.h"
#include "rpc/changes.h"
#include "rpc/json.h"

/* Settings of what exists that have a method of their own. */
static const struct shortcut {
	const char *makes, *param;         /* an entry of this method that differs in this parameter only: ... */
	const char *method, *named_by, *as; /* ... call that */
	const char *times;                  /* a parameter that multiplies it, ... */
	uint64_t per;                       /* ... in units of this */
} shortcuts[] = {
	{ "nvmf_create_subsystem", "allow_any_host", "nvmf_subsystem_allow_any_host", "nqn", "allow_any_host", NULL, 0 },
	{ "bdev_malloc_create", "num_blocks", "bdev_malloc_resize", "name", "new_size", "block_size", MIB },
	{ "bdev_null_create", "num_blocks", "bdev_null_resize", "name", "new_size", "block_size", MIB },
};

struct planned {
	struct json_object *entry;
	const char *subsystem;
	char *identity;
	bool gone;                 /* taken away, perhaps to be made again */
	struct json_object *again; /* the entry to make afterwards; NULL: none */
};

struct plan {
	struct rpc *rpc;
	struct json_object *from, *to;
	struct change_items items;
	struct planned *old;       /* every entry of `from`, in its order */
	size_t old_count;
	struct json_object *gone_identities, *gone_names, *gone_texts; /* sets; names: of devices that go */
	struct json_object *gone_methods;
	struct json_object *steps;
};

static void collect_old(struct plan *p);
static int settle_changes(struct plan *p, struct err *e);
static void mark_gone(struct plan *p, struct planned *old);
static void spread(struct plan *p);
static bool belongs_to_gone(struct plan *p, struct json_object *entry, const char *identity, bool by_itself);
static void plan_adds(struct plan *p, bool late);
static int plan_removes(struct plan *p, struct err *e);
static struct json_object *add_step(struct plan *p, const char *action, char *text, const char *method,
                                    struct json_object *params);
static void plan_free(struct plan *p);

struct json_object *plan_make(struct rpc *rpc, struct json_object *from, struct json_object *to, struct err *e)
{
	struct plan p = { .rpc = rpc, .from = from, .to = to, .items = changes_between(rpc, from, to, true) };
	struct json_object *steps;

	p.steps = json_object_new_array();
	p.gone_identities = json_object_new_object();
	p.gone_names = json_object_new_object();
	p.gone_texts = json_object_new_object();
	p.gone_methods = json_object_new_object();
	collect_old(&p);
	if (settle_changes(&p, e) == 0) {
		struct json_object *changes = p.steps;

		spread(&p);
		p.steps = json_object_new_array();
		plan_adds(&p, false);
		for (size_t i = 0; i < json_object_array_length(changes); i++)
			json_object_array_add(p.steps, json_object_get(json_object_array_get_idx(changes, i)));
		json_object_put(changes);
		if (plan_removes(&p, e) == 0)
			plan_adds(&p, true);
	}
	steps = json_object_get(p.steps);
	plan_free(&p);
	if (!e->code)
		return steps;
	json_object_put(steps);
	return NULL;
}

static void plan_free(struct plan *p)
{
	for (size_t i = 0; i < p->old_count; i++)
		free(p->old[i].identity);
	free(p->old);
	changes_free(&p->items);
	json_object_put(p->steps);
	json_object_put(p->gone_identities);
	json_object_put(p->gone_names);
	json_object_put(p->gone_texts);
	json_object_put(p->gone_methods);
}

static void collect_old(struct plan *p)
{
	struct json_object *subsystems = json_object_object_get(p->from, "subsystems");

	for (size_t i = 0; i < json_object_array_length(subsystems); i++) {
		struct json_object *s = json_object_array_get_idx(subsystems, i);
		const char *name = json_object_get_string(json_object_object_get(s, "subsystem"));
		struct json_object *list = json_object_object_get(s, "config");
		size_t count = json_object_array_length(list);

		p->old = reallocarray(p->old, p->old_count + count + 1, sizeof(*p->old));
		must(p->old);
		for (size_t k = 0; k < count; k++) {
			struct json_object *entry = json_object_array_get_idx(list, k);

			p->old[p->old_count++] = (struct planned){ .entry = entry, .subsystem = name,
				.identity = entry_identity(p->rpc, entry) };
		}
	}
}

static struct planned *old_of(struct plan *p, struct json_object *entry)
{
	for (size_t i = 0; i < p->old_count; i++)
		if (p->old[i].entry == entry)
			return &p->old[i];
	must(!"an entry of the present configuration");
	return NULL;
}

/* --- changes of what stays ---------------------------------------------------------------------------------------- */

static struct json_object *call_of(const char *method, struct json_object *params)
{
	struct json_object *call = json_object_new_object();

	json_add_text(call, "method", method);
	if (params)
		json_object_object_add(call, "params", params);
	return call;
}

/* The one parameter in which they differ; NULL: there are none or several. */
static const char *only_difference(struct json_object *from, struct json_object *to)
{
	const char *only = NULL;

	json_object_object_foreach(entry_params(to), name, v) {
		struct json_object *was = NULL;

		if (json_object_object_get_ex(entry_params(from), name, &was) && json_object_equal(v, was))
			continue;
		if (!was && (!v || (json_object_is_type(v, json_type_boolean) && !json_object_get_boolean(v))))
			continue;
		if (only)
			return NULL;
		only = name;
	}
	return only;
}

static struct json_object *shortcut_params(const struct shortcut *s, struct json_object *entry)
{
	struct json_object *params = entry_params(entry), *name = json_object_object_get(params, s->named_by);
	struct json_object *v = json_object_object_get(params, s->param), *result;
	uint64_t value = json_object_get_uint64(v), times;

	if (!name || !v)
		return NULL;
	if (s->times) {
		times = json_object_get_uint64(json_object_object_get(params, s->times));
		if (!times || value > UINT64_MAX / times || value * times % s->per)
			return NULL;
		value = value * times / s->per;
	}
	result = json_object_new_object();
	json_object_object_add(result, s->named_by, json_object_get(name));
	json_object_object_add(result, s->as, s->times ? json_object_new_uint64(value) : json_object_get(v));
	return result;
}

/* `to` with what it does not say taken from `from`. */
static struct json_object *completed(struct json_object *from, struct json_object *to)
{
	struct json_object *params = NULL, *was = entry_params(from);

	if (!entry_params(to) || json_object_deep_copy(entry_params(to), &params, NULL))
		params = json_object_new_object();
	if (was) {
		json_object_object_foreach(was, name, v) {
			if (!json_object_object_get_ex(params, name, NULL))
				json_object_object_add(params, name, json_object_get(v));
		}
	}
	return params;
}

/* The call that does it in place, and the one that undoes it: the caller's. NULL: there is none. */
static const char *shortcut_for(const struct change_item *item, struct json_object **ret_params,
                                struct json_object **ret_undo)
{
	const char *only = item->verb == CHANGE_CHANGE ? only_difference(item->from, item->to) : NULL;

	for (size_t i = 0; only && i < ARRAY_SIZE(shortcuts); i++) {
		const struct shortcut *s = &shortcuts[i];
		struct json_object *whole, *params, *undo;

		if (strcmp(s->makes, entry_method(item->to)) != 0 || strcmp(s->param, only) != 0)
			continue;
		whole = call_of(s->makes, completed(item->from, item->to));
		params = shortcut_params(s, whole);
		undo = shortcut_params(s, item->from);
		json_object_put(whole);
		if (params && undo) {
			*ret_params = params;
			*ret_undo = call_of(s->method, undo);
			return s->method;
		}
		json_object_put(params);
		json_object_put(undo);
	}
	return NULL;
}

static bool take_shortcut(struct plan *p, const struct change_item *item)
{
	struct json_object *params, *undo, *step;
	const char *method = shortcut_for(item, &params, &undo);

	if (!method)
		return false;
	step = add_step(p, "change", change_words(p->rpc, item), method, params);
	json_object_object_add(step, "undo", undo);
	change_add_loss(item, step);
	return true;
}

static uint64_t number_in(struct json_object *params, const char *name)
{
	return json_object_get_uint64(json_object_object_get(params, name));
}

static void add_bytes(struct text *t, uint64_t bytes)
{
	static const char *const units[] = { "bytes", "KiB", "MiB", "GiB" };
	size_t unit = 0;

	for (; unit + 1 < ARRAY_SIZE(units) && bytes && bytes % 1024 == 0; unit++)
		bytes /= 1024;
	text_add(t, "%" PRIu64 " %s", bytes, units[unit]);
}

void change_add_loss(const struct change_item *item, struct json_object *to)
{
	struct json_object *params, *undo, *from = entry_params(item->from);
	uint64_t blocks, after, block;
	char buf[400];
	struct text t = text_over(buf, sizeof(buf));

	if (item->verb == CHANGE_ADD || strcmp(entry_method(item->from), "bdev_malloc_create") != 0)
		return;
	blocks = number_in(from, "num_blocks");
	block = number_in(from, "block_size");
	if (shortcut_for(item, &params, &undo)) {
		json_object_put(params);
		json_object_put(undo);
		after = number_in(entry_params(item->to), "num_blocks");
		if (after >= blocks)
			return;
		text_add(&t, "the last ");
		add_bytes(&t, (blocks - after) * block);
		text_add(&t, " of RAM disk %s are lost, from block %" PRIu64 " on", json_object_get_string(
		         json_object_object_get(from, "name")), after);
	} else {
		text_add(&t, "what is in the ");
		add_bytes(&t, blocks * block);
		text_add(&t, " of RAM disk %s is lost%s", json_object_get_string(json_object_object_get(from, "name")),
		         item->verb == CHANGE_CHANGE ? ": it is made anew" : "");
	}
	json_add_bool(to, "loses_data", true);
	json_add_text(to, "loses", buf);
}

static int not_while_running(struct plan *p, struct json_object *entry, const char *why, struct err *e)
{
	char *words = entry_words(p->rpc, entry);

	err_set(e, -EBUSY, "%.200s %s; stop the daemon and begin with the new configuration", words, why);
	free(words);
	return e->code;
}

/* What is changed in place becomes a step; the rest goes, and is made again. */
static int settle_changes(struct plan *p, struct err *e)
{
	for (size_t i = 0; i < p->items.count; i++) {
		const struct change_item *item = &p->items.at[i];
		struct json_object *entry = item->verb == CHANGE_REMOVE ? item->from : item->to, *step;
		struct rpc_entry *found = registry_find(p->rpc, entry_method(entry));

		if (!found && item->verb == CHANGE_REMOVE) {
			mark_gone(p, old_of(p, item->from)); /* it waits for a method that is not here */
			continue;
		}
		if (!found) {
			registry_unknown(p->rpc, entry_method(entry), e);
			return e->code;
		}
		if (!(method_states(found->method) & RPC_RUNTIME))
			return not_while_running(p, entry, "cannot be changed while the daemon runs", e);
		if (item->verb == CHANGE_ADD)
			continue;
		if (item->verb == CHANGE_REMOVE) {
			mark_gone(p, old_of(p, item->from));
			continue;
		}
		if (take_shortcut(p, item))
			continue;
		if (method_undo(p->rpc, found->method)) {
			struct planned *old = old_of(p, item->from);

			mark_gone(p, old);
			old->again = item->to;
			continue;
		}
		if (strstr(found->method->name, "create"))
			return not_while_running(p, entry, "exists with other options, which cannot be changed", e);
		step = add_step(p, "change", change_words(p->rpc, item), entry_method(item->to), completed(item->from,
		        item->to));
		json_object_object_add(step, "undo", json_object_get(item->from));
	}
	return 0;
}

/* --- what goes ---------------------------------------------------------------------------------------------------- */

static void set_add(void *arg, const char *text)
{
	json_object_object_add(arg, text, NULL);
}

static bool set_has(struct json_object *set, const char *text)
{
	return json_object_object_get_ex(set, text, NULL);
}

static void mark_gone(struct plan *p, struct planned *old)
{
	struct json_object *params = entry_params(old->entry);
	struct rpc_entry *found = registry_find(p->rpc, entry_method(old->entry));
	struct json_object *key = found ? method_key(p->rpc, found->method, params) : NULL;
	struct json_object *name = params ? json_object_object_get(params, "name") : NULL;

	if (!name && key) /* it follows from what is given */
		name = json_object_object_get(key, "name");
	old->gone = true;
	if (old->identity)
		set_add(p->gone_identities, old->identity);
	if (found)
		set_add(p->gone_methods, found->method->name);
	if (name && strstr(entry_method(old->entry), "_create"))
		set_add(p->gone_names, json_object_get_string(name));
	else if (name && strstr(entry_method(old->entry), "_attach"))
		set_add(p->gone_names, json_object_get_string(name));
	json_each_text(params, set_add, p->gone_texts);
	json_object_put(key);
}

struct asked {
	struct json_object *set;
	bool has;
};

/* "disk0" names disk0, and so do its parts "disk0p1" and "disk0n1". */
static void ask_name(void *arg, const char *text)
{
	struct asked *a = arg;
	size_t len = strlen(text), base = len;
	char name[256];
	struct text t = text_over(name, sizeof(name));

	a->has |= set_has(a->set, text);
	while (base && text[base - 1] >= '0' && text[base - 1] <= '9')
		base--;
	if (a->has || base == len || base < 2 || !strchr("pns", text[base - 1]))
		return;
	text_add(&t, "%.*s", (int)(base - 1), text);
	a->has = set_has(a->set, name);
}

static void ask_text(void *arg, const char *text)
{
	struct asked *a = arg;

	a->has |= set_has(a->set, text);
}

static bool names_gone(struct plan *p, struct json_object *entry)
{
	struct asked a = { .set = p->gone_names };

	json_each_text(entry_params(entry), ask_name, &a);
	return a.has;
}

/* Does what belongs to it go with it? A transport has to be left first. */
static bool takes_along(const char *method)
{
	return strcmp(method, "nvmf_create_transport") != 0;
}

/* Is it a part of something that goes, so that it goes too; `by_itself`: without being asked to? */
static bool belongs_to_gone(struct plan *p, struct json_object *entry, const char *identity, bool by_itself)
{
	json_object_object_foreach(p->gone_methods, name, unused) {
		struct rpc_entry *found = registry_find(p->rpc, name);
		char *whole;
		bool part;

		(void)unused;
		if (!found || !method_undo(p->rpc, found->method) || strcmp(name, entry_method(entry)) == 0 ||
		    (by_itself && !takes_along(name)))
			continue;
		whole = whole_identity(p->rpc, found->method, entry);
		part = whole && set_has(p->gone_identities, whole) && (!identity || strcmp(whole, identity) != 0);
		free(whole);
		if (part)
			return true;
	}
	return false;
}

static void spread(struct plan *p)
{
	struct json_object *changed = json_object_new_object(); /* entries that are to become others in place: stay so */
	bool again = json_object_object_length(p->gone_identities) > 0;

	while (again) {
		again = false;
		for (size_t i = 0; i < p->old_count; i++) {
			struct planned *old = &p->old[i];

			if (old->gone || !(names_gone(p, old->entry) || belongs_to_gone(p, old->entry, old->identity, false)))
				continue;
			mark_gone(p, old);
			old->again = old->entry;
			again = true;
		}
	}
	json_object_put(changed);
}

static int plan_removes(struct plan *p, struct err *e)
{
	for (size_t i = p->old_count; i-- > 0;) {
		struct planned *old = &p->old[i];
		struct rpc_entry *found = registry_find(p->rpc, entry_method(old->entry));
		const struct rpc_method *undo = found ? method_undo(p->rpc, found->method) : NULL;
		struct json_object *key = NULL, *step, *neutral;
		struct change_item item = { CHANGE_REMOVE, old->subsystem, old->entry, NULL };

		if (!old->gone)
			continue;
		if (belongs_to_gone(p, old->entry, old->identity, true)) {
			step = add_step(p, "remove", change_words(p->rpc, &item), NULL, NULL);
		} else if (undo && (key = method_key(p->rpc, found->method, entry_params(old->entry)))) {
			step = add_step(p, "remove", change_words(p->rpc, &item), undo->name, key);
		} else if ((neutral = entry_neutral(old->entry))) {
			step = add_step(p, "remove", change_words(p->rpc, &item), entry_method(old->entry), neutral);
		} else if (!found || found->method->flags & RPC_IGNORES) {
			step = add_step(p, "remove", change_words(p->rpc, &item), "config_forget", json_object_get(old->entry));
		} else {
			return not_while_running(p, old->entry, "cannot be taken back while the daemon runs", e);
		}
		json_object_object_add(step, "undo", json_object_get(old->entry));
		change_add_loss(&item, step);
	}
	return 0;
}

/* --- what comes --------------------------------------------------------------------------------------------------- */

static void plan_one_add(struct plan *p, const char *subsystem, struct json_object *entry, bool again)
{
	struct change_item item = { CHANGE_ADD, subsystem, NULL, entry };
	struct rpc_entry *found = registry_find(p->rpc, entry_method(entry));
	const struct rpc_method *undo = found ? method_undo(p->rpc, found->method) : NULL;
	struct json_object *key = undo ? method_key(p->rpc, found->method, entry_params(entry)) : NULL, *step;
	char *words = change_words(p->rpc, &item);

	step = add_step(p, again ? "add again" : "add", words, entry_method(entry), json_object_get(entry_params(entry)));
	if (key)
		json_object_object_add(step, "undo", call_of(undo->name, key));
	else if (found && found->method->flags & RPC_IGNORES)
		json_object_object_add(step, "undo", call_of("config_forget", json_object_get(entry)));
}

/* Does what goes touch it? */
static bool is_late(struct plan *p, struct json_object *entry)
{
	struct asked a = { .set = p->gone_texts };

	json_each_text(entry_params(entry), ask_text, &a);
	return a.has;
}

static void plan_adds(struct plan *p, bool late)
{
	for (size_t i = 0; late && i < p->old_count; i++)
		if (p->old[i].again) {
			struct json_object *again = p->old[i].again;
			struct json_object *whole = call_of(entry_method(again), completed(p->old[i].entry, again));

			plan_one_add(p, p->old[i].subsystem, whole, true);
			json_object_put(whole);
		}
	for (size_t i = 0; i < p->items.count; i++) {
		const struct change_item *item = &p->items.at[i];

		if (item->verb == CHANGE_ADD && is_late(p, item->to) == late)
			plan_one_add(p, item->subsystem, item->to, false);
	}
}

/* Takes text and params. */
static struct json_object *add_step(struct plan *p, const char *action, char *text, const char *method,
                                    struct json_object *params)
{
	struct json_object *step = json_append_object(p->steps);

	json_add_text(step, "action", action);
	json_add_text(step, "text", text);
	free(text);
	if (method)
		json_add_text(step, "method", method);
	if (params)
		json_object_object_add(step, "params", params);
	return step;
}
