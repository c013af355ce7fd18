/* SPDX-License-Identifier: BSD-3-Clause */
/* identity.c: which object an entry of a saved configuration makes, and how it is undone.
 *
 * SPDK names its methods in pairs, and the one that takes away requires what names the object: so both follow from
 * the rows, for methods that are still to come too. What does not follow is in the two tables.
 */
#include "base/text.h"
#include "rpc/changes.h"
#include "rpc/params.h"

static const struct pair {
	const char *makes, *undoes;
} pairs[] = {
	{ "_create", "_delete" }, { "_create", "_destroy" }, { "_add_", "_remove_" }, { "_attach_", "_detach_" },
	{ "_construct_", "_delete_" }, { "_register", "_unregister" }, { "_start_", "_stop_" },
};

/* Where one method undoes several. */
static const struct pair named[] = {
	{ "vhost_create_blk_controller", "vhost_delete_controller" },
	{ "vhost_create_scsi_controller", "vhost_delete_controller" },
	{ "nvmf_publish_mdns_prr", "nvmf_stop_mdns_prr" },
};

/* Methods that set something: of what, and with which value it is as if they had not been called. */
static const struct setter {
	const char *method, *key[4];
	const char *neutral_param, *neutral; /* NULL: the number 0 */
} setters[] = {
	{ "framework_set_mode", { "reactor" }, NULL, NULL },
	{ "nvmf_subsystem_listener_set_ana_state", { "nqn", "listen_address", "anagrpid" }, "ana_state", "optimized" },
	{ "nvmf_subsystem_set_controller_host", { "nqn", "cntlid" }, "host", "" },
	{ "nvmf_subsystem_set_controller_feature", { "nqn", "cntlid", "feature" }, "value", "" },
	{ "bdev_error_inject_error", { "name", "io_type", "offset_blocks", "num_blocks" }, "num", NULL },
	{ "iscsi_portal_group_set_auth", { "tag" }, NULL, NULL },
	{ "iscsi_start_portal_group", { "tag" }, NULL, NULL },
	{ "iscsi_target_node_set_alua_state", { "name", "pg_tag" }, "alua_state", "optimized" },
	{ "iscsi_target_node_set_redirect", { "name", "pg_tag" }, "redirect_host", "" },
	{ "vhost_controller_set_coalescing", { "ctrlr" }, "delay_base_us", NULL },
	{ "sock_impl_set_options", { "impl_name" }, NULL, NULL },
	{ "accel_assign_opc", { "opname" }, NULL, NULL },
};

/* What is made in several parts of one name: what tells them apart, which the undoing method takes too. */
static const struct part {
	const char *method, *key[4];
} parts[] = {
	{ "bdev_nvme_attach_controller", { "traddr", "trsvcid", "hostaddr", "hostsvcid" } },
	{ "nvmf_discovery_add_referral", { "subnqn" } },
};

/* What is taken away by a name that follows from another parameter. */
static const struct derived {
	const char *method, *param, *before, *name;
} derived[] = {
	{ "bdev_error_create", "base_name", "EE_", "name" },
};

/* What is named by a number that others use for something else: what belongs to it, and by which parameter. */
static const struct owner {
	const char *makes, *key, *part, *by;
} owners[] = {
	{ "iscsi_create_auth_group", "tag", "iscsi_auth_group_add_secret", "tag" },
	{ "iscsi_create_portal_group", "tag", "iscsi_portal_group_set_auth", "tag" },
	{ "iscsi_create_portal_group", "tag", "iscsi_start_portal_group", "tag" },
	{ "iscsi_create_portal_group", "tag", "iscsi_target_node_add_pg_ig_maps", "pg_tag" },
	{ "iscsi_create_portal_group", "tag", "iscsi_target_node_set_alua_state", "pg_tag" },
	{ "iscsi_create_portal_group", "tag", "iscsi_target_node_set_redirect", "pg_tag" },
	{ "iscsi_create_initiator_group", "tag", "iscsi_target_node_add_pg_ig_maps", "ig_tag" },
};

static const struct setter *setter_of(const char *method)
{
	for (size_t i = 0; i < ARRAY_SIZE(setters); i++)
		if (strcmp(setters[i].method, method) == 0)
			return &setters[i];
	return NULL;
}

const char *entry_method(struct json_object *entry)
{
	struct json_object *method;

	if (json_object_is_type(entry, json_type_object) && json_object_object_get_ex(entry, "method", &method) &&
	    json_object_is_type(method, json_type_string))
		return json_object_get_string(method);
	return "";
}

struct json_object *entry_params(struct json_object *entry)
{
	struct json_object *params = NULL;

	if (json_object_is_type(entry, json_type_object))
		json_object_object_get_ex(entry, "params", &params);
	return json_object_is_type(params, json_type_object) ? params : NULL;
}

const struct rpc_method *method_undo(struct rpc *rpc, const struct rpc_method *m)
{
	for (size_t i = 0; i < ARRAY_SIZE(named); i++) {
		struct rpc_entry *entry = strcmp(m->name, named[i].makes) ? NULL : registry_find(rpc, named[i].undoes);

		if (entry)
			return entry->method;
	}
	for (size_t i = 0; i < ARRAY_SIZE(pairs); i++) {
		const char *at = strstr(m->name, pairs[i].makes);
		char name[128];
		struct text t = text_over(name, sizeof(name));
		struct rpc_entry *entry;

		if (!at)
			continue;
		text_add(&t, "%.*s%s%s", (int)(at - m->name), m->name, pairs[i].undoes, at + strlen(pairs[i].makes));
		entry = registry_find(rpc, name);
		if (entry)
			return entry->method;
	}
	return NULL;
}

/* A value by the name of its parameter: at the top, or inside an object ("nsid" of "namespace"). */
static struct json_object *find_value(struct json_object *params, const struct rpc_param *row)
{
	struct json_object *v = params_find(row, params);

	if (v)
		return v;
	json_object_object_foreach(params, name, inner) {
		(void)name;
		if (json_object_is_type(inner, json_type_object) && (v = params_find(row, inner)))
			return v;
	}
	return NULL;
}

static struct json_object *find_named(struct json_object *params, const char *name)
{
	const struct rpc_param row = { .name = name };

	return find_value(params, &row);
}

/* Some say TCP, some tcp. */
static struct json_object *in_one_case(const char *name, struct json_object *v)
{
	struct json_object *copy;

	if (json_object_is_type(v, json_type_object)) {
		copy = json_object_new_object();
		json_object_object_foreach(v, inner_name, inner)
			json_object_object_add(copy, inner_name, in_one_case(inner_name, inner));
		return copy;
	}
	if ((strcmp(name, "trtype") == 0 || strcmp(name, "adrfam") == 0) && json_object_is_type(v, json_type_string)) {
		char lower[32];
		struct text t = text_over(lower, sizeof(lower));

		for (const char *c = json_object_get_string(v); *c && !t.cut; c++)
			text_add(&t, "%c", *c >= 'A' && *c <= 'Z' ? *c + 32 : *c);
		return json_object_new_string(lower);
	}
	return json_object_get(v);
}

static bool add_to_key(struct json_object *key, const char *name, struct json_object *v)
{
	if (v)
		json_object_object_add(key, name, in_one_case(name, v));
	return v != NULL;
}

static void add_part(struct json_object *key, const struct rpc_method *m, struct json_object *params)
{
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		const struct part *p = &parts[i];

		for (size_t k = 0; strcmp(p->method, m->name) == 0 && k < ARRAY_SIZE(p->key) && p->key[k]; k++)
			add_to_key(key, p->key[k], find_named(params, p->key[k]));
	}
}

static bool add_derived(struct json_object *key, const char *name, const struct rpc_method *m,
                        struct json_object *params)
{
	for (size_t i = 0; i < ARRAY_SIZE(derived); i++) {
		const struct derived *d = &derived[i];
		struct json_object *v = find_named(params, d->param);
		char value[256];
		struct text t = text_over(value, sizeof(value));

		if (!v || strcmp(d->method, m->name) != 0 || strcmp(d->name, name) != 0)
			continue;
		text_add(&t, "%s%s", d->before, json_object_get_string(v));
		json_object_object_add(key, name, json_object_new_string(value));
		return true;
	}
	return false;
}

struct json_object *method_key(struct rpc *rpc, const struct rpc_method *m, struct json_object *params)
{
	const struct setter *setter = setter_of(m->name);
	const struct rpc_method *undo = setter ? NULL : method_undo(rpc, m);
	struct json_object *key = json_object_new_object(), *none = params ? NULL : json_object_new_object();
	bool complete = true;

	params = params ? params : none;
	if (setter) {
		for (size_t i = 0; i < ARRAY_SIZE(setter->key) && setter->key[i]; i++)
			add_to_key(key, setter->key[i], find_named(params, setter->key[i])); /* one that is absent means all */
	} else if (undo) {
		for (size_t i = 0; i < undo->param_count; i++)
			if (undo->params[i].required)
				complete &= add_to_key(key, undo->params[i].name, find_value(params, &undo->params[i])) ||
				            add_derived(key, undo->params[i].name, m, params);
		add_part(key, m, params);
	} else {
		/* A setting of some object, or of the daemon as a whole. */
		for (size_t i = 0; i < m->param_count; i++)
			if (m->params[i].required && (strcmp(m->params[i].name, "name") == 0 || strcmp(m->params[i].name,
			        "nqn") == 0))
				complete &= add_to_key(key, m->params[i].name, find_value(params, &m->params[i]));
	}
	json_object_put(none);
	if (complete)
		return key;
	json_object_put(key);
	return NULL;
}

/* Takes the key. */
static char *identity_text(const struct rpc_method *m, struct json_object *key)
{
	const char *text;
	size_t size;
	char *identity;

	if (!key)
		return NULL;
	text = json_object_to_json_string_ext(key, JSON_C_TO_STRING_PLAIN);
	size = strlen(m->name) + strlen(text) + 2;
	identity = base_zalloc(size);
	memcpy(identity, m->name, strlen(m->name));
	identity[strlen(m->name)] = ' ';
	memcpy(identity + strlen(m->name) + 1, text, strlen(text));
	json_object_put(key);
	return identity;
}

char *method_identity(struct rpc *rpc, const struct rpc_method *m, struct json_object *params)
{
	return identity_text(m, method_key(rpc, m, params));
}

/* However deep it is. */
static struct json_object *find_inside(struct json_object *v, const char *name)
{
	struct json_object *found = NULL;

	if (json_object_is_type(v, json_type_object)) {
		json_object_object_foreach(v, inner_name, inner)
			if ((found = strcmp(inner_name, name) == 0 ? inner : find_inside(inner, name)))
				return found;
	} else if (json_object_is_type(v, json_type_array)) {
		for (size_t i = 0; i < json_object_array_length(v) && !found; i++)
			found = find_inside(json_object_array_get_idx(v, i), name);
	}
	return found;
}

char *whole_identity(struct rpc *rpc, const struct rpc_method *makes, struct json_object *entry)
{
	bool owned = false;

	for (size_t i = 0; i < ARRAY_SIZE(owners); i++) {
		struct json_object *v, *key;

		if (strcmp(owners[i].makes, makes->name) != 0)
			continue;
		owned = true;
		v = strcmp(owners[i].part, entry_method(entry)) == 0 ? find_inside(entry_params(entry), owners[i].by) : NULL;
		if (!v)
			continue;
		key = json_object_new_object();
		json_object_object_add(key, owners[i].key, json_object_get(v));
		return identity_text(makes, key);
	}
	return owned ? NULL : method_identity(rpc, makes, entry_params(entry));
}

char *entry_identity(struct rpc *rpc, struct json_object *entry)
{
	struct rpc_entry *found = registry_find(rpc, entry_method(entry));

	return found ? method_identity(rpc, found->method, entry_params(entry)) : NULL;
}

static void add_words(struct text *t, struct json_object *v)
{
	if (json_object_is_type(v, json_type_object)) {
		json_object_object_foreach(v, name, inner) {
			if (json_object_object_length(v) < 2 || (strcmp(name, "trtype") != 0 && strcmp(name, "adrfam") != 0))
				add_words(t, inner);
		}
	} else if (v) {
		text_add(t, " %s", json_object_get_string(v));
	}
}

char *entry_words(struct rpc *rpc, struct json_object *entry)
{
	struct rpc_entry *found = registry_find(rpc, entry_method(entry));
	struct json_object *key = found ? method_key(rpc, found->method, entry_params(entry)) : NULL;
	char buf[512];
	struct text t = text_over(buf, sizeof(buf));

	text_add(&t, "%s", entry_method(entry));
	add_words(&t, key);
	if (t.cut)
		text_end_with(&t, "...");
	json_object_put(key);
	return base_strdup(buf);
}

struct json_object *entry_neutral(struct json_object *entry)
{
	const struct setter *setter = setter_of(entry_method(entry));
	struct json_object *params = NULL;

	if (!setter || !setter->neutral_param)
		return NULL;
	json_object_deep_copy(entry_params(entry), &params, NULL);
	json_object_object_add(params, setter->neutral_param,
	                       setter->neutral ? json_object_new_string(setter->neutral) : json_object_new_uint64(0));
	return params;
}

void json_each_text(struct json_object *v, void (*visit)(void *arg, const char *text), void *arg)
{
	switch (json_object_get_type(v)) {
	case json_type_string:
		visit(arg, json_object_get_string(v));
		break;
	case json_type_object: {
		json_object_object_foreach(v, name, inner) {
			(void)name;
			json_each_text(inner, visit, arg);
		}
		break;
	}
	case json_type_array:
		for (size_t i = 0; i < json_object_array_length(v); i++)
			json_each_text(json_object_array_get_idx(v, i), visit, arg);
		break;
	default:
		break;
	}
}
