/* SPDX-License-Identifier: BSD-3-Clause */
/* host_iscsi.c: gantry host add and remove for target nodes of iSCSI. A host's name is kept in an initiator group that
 * belongs to that node alone; groups that several nodes use are not changed behind their backs. */
#include <stdio.h>

#include "cli/cli.h"

#define TAGS_MAX 65536u

struct job {
	struct cli *c;
	const char *host, *export;
	struct json_object *nodes, *groups, *node;
	struct err e;
};

static bool is_any_group(struct json_object *group)
{
	struct json_object *names = field(group, "initiators");

	return list_count(names) == 1 && strcmp(json_object_get_string(list_at(names, 0)), "ANY") == 0;
}

static struct json_object *group_of(const struct job *j, uint64_t tag)
{
	for (size_t i = 0; i < list_count(j->groups); i++)
		if (field_u64(list_at(j->groups, i), "tag") == tag)
			return list_at(j->groups, i);
	return NULL;
}

static bool has_name(struct json_object *group, const char *name)
{
	struct json_object *names = field(group, "initiators");

	for (size_t i = 0; i < list_count(names); i++)
		if (strcmp(json_object_get_string(list_at(names, i)), name) == 0)
			return true;
	return false;
}

static bool uses(struct json_object *node, uint64_t ig_tag, uint64_t pg_tag)
{
	struct json_object *maps = field(node, "pg_ig_maps");

	for (size_t i = 0; i < list_count(maps); i++)
		if (field_u64(list_at(maps, i), "ig_tag") == ig_tag &&
		    (!pg_tag || field_u64(list_at(maps, i), "pg_tag") == pg_tag))
			return true;
	return false;
}

/* Another node that uses the group; NULL: none does. */
static const char *other_user(const struct job *j, uint64_t ig_tag)
{
	for (size_t i = 0; i < list_count(j->nodes); i++)
		if (list_at(j->nodes, i) != j->node && uses(list_at(j->nodes, i), ig_tag, 0))
			return field_text(list_at(j->nodes, i), "name");
	return NULL;
}

/* Map the node's portal groups to an initiator group, or take these maps away. */
static int change_maps(struct job *j, bool add, uint64_t ig_tag)
{
	struct json_object *ports = field(j->node, "target_ports"), *params = json_object_new_object();
	struct json_object *maps = json_object_new_array();
	int rc = 0;

	json_object_object_add(params, "name", json_object_get(field(j->node, "name")));
	json_object_object_add(params, "pg_ig_maps", maps);
	for (size_t i = 0; i < list_count(ports); i++) {
		uint64_t pg_tag = field_u64(list_at(ports, i), "pg_tag");
		struct json_object *map;

		if (uses(j->node, ig_tag, pg_tag) == add)
			continue;
		map = json_object_new_object();
		json_object_object_add(map, "pg_tag", json_object_new_uint64(pg_tag));
		json_object_object_add(map, "ig_tag", json_object_new_uint64(ig_tag));
		json_object_array_add(maps, map);
	}
	if (list_count(maps))
		rc = client_do(j->c, add ? "iscsi_target_node_add_pg_ig_maps" : "iscsi_target_node_remove_pg_ig_maps", params,
		               &j->e);
	json_object_put(params);
	return rc;
}

static int change_group(struct job *j, const char *method, uint64_t tag, const char *name, const char *mask)
{
	struct json_object *params = json_object_new_object(), *list;
	int rc;

	json_object_object_add(params, "tag", json_object_new_uint64(tag));
	if (name) {
		list = json_object_new_array();
		json_object_array_add(list, json_object_new_string(name));
		json_object_object_add(params, "initiators", list);
	}
	if (mask) {
		list = json_object_new_array();
		json_object_array_add(list, json_object_new_string(mask));
		json_object_object_add(params, "netmasks", list);
	}
	rc = client_do(j->c, method, params, &j->e);
	json_object_put(params);
	return rc;
}

/* A group with that one name, for this node's portal groups. */
static int add_group(struct job *j, const char *name)
{
	uint64_t tag = 1;

	while (tag < TAGS_MAX && group_of(j, tag))
		tag++;
	if (change_group(j, "iscsi_create_initiator_group", tag, name, "ANY"))
		return j->e.code;
	return change_maps(j, true, tag);
}

/* The next group of the node from `*at` on; NULL: no more. */
static struct json_object *next_group(const struct job *j, size_t *at)
{
	while (*at < list_count(j->groups)) {
		struct json_object *g = list_at(j->groups, (*at)++);

		if (uses(j->node, field_u64(g, "tag"), 0))
			return g;
	}
	return NULL;
}

static int shut_out_any(struct job *j)
{
	struct json_object *g;
	size_t at = 0;

	while (!j->e.code && (g = next_group(j, &at)))
		if (is_any_group(g))
			change_maps(j, false, field_u64(g, "tag"));
	return j->e.code;
}

static int let_in(struct job *j)
{
	struct json_object *g, *own = NULL;
	bool any = strcmp(j->host, "any") == 0;
	size_t at = 0;

	for (size_t i = 0; any && i < list_count(j->groups); i++)
		if (is_any_group(list_at(j->groups, i)))
			return change_maps(j, true, field_u64(list_at(j->groups, i), "tag"));
	while (!any && (g = next_group(j, &at))) {
		if (has_name(g, j->host))
			return 0;
		if (!own && !is_any_group(g) && !other_user(j, field_u64(g, "tag")))
			own = g;
	}
	if (own)
		return change_group(j, "iscsi_initiator_group_add_initiators", field_u64(own, "tag"), j->host, NULL);
	return add_group(j, any ? "ANY" : j->host);
}

static int shut_out_from(struct job *j, struct json_object *group)
{
	uint64_t tag = field_u64(group, "tag");
	const char *other = other_user(j, tag);

	if (other)
		return err_set(&j->e, -16, "%s is in initiator group %lu, which %s uses too; to take it out for all: gantry "
		               "rpc iscsi_initiator_group_remove_initiators tag=%lu initiators=[%s]", j->host, tag, other, tag,
		               j->host);
	if (list_count(field(group, "initiators")) == 1) /* and the maps with it */
		return change_group(j, "iscsi_delete_initiator_group", tag, NULL, NULL);
	return change_group(j, "iscsi_initiator_group_remove_initiators", tag, j->host, NULL);
}

static int shut_out(struct job *j)
{
	struct json_object *g;
	bool found = false;
	size_t at = 0;

	if (strcmp(j->host, "any") == 0)
		return shut_out_any(j);
	while (!j->e.code && (g = next_group(j, &at))) {
		if (!has_name(g, j->host))
			continue;
		found = true;
		shut_out_from(j, g);
	}
	if (!found)
		err_set(&j->e, -2, "%s was not added to %s; gantry host list shows who was", j->host, j->export);
	return j->e.code;
}

static bool lets_any_in(const struct job *j)
{
	struct json_object *g;
	size_t at = 0;

	while ((g = next_group(j, &at)))
		if (is_any_group(g))
			return true;
	return false;
}

bool iscsi_host_change(struct cli *c, const char *host, const char *export, bool add, bool only, struct err *e)
{
	struct job j = { .c = c, .host = host, .export = export };
	struct err ignored = { 0 };

	j.nodes = client_call(c, "iscsi_get_target_nodes", NULL, &ignored);
	j.groups = client_call(c, "iscsi_get_initiator_groups", NULL, &ignored);
	j.node = iscsi_export_find(j.nodes, export);
	if (j.node && add && !list_count(field(j.node, "target_ports")))
		err_set(&j.e, -2, "%s is served nowhere; first: gantry export disk DISK --iscsi --name %s --listen "
		        "ADDRESS:PORT",
		        field_text(j.node, "name"), field_text(j.node, "name"));
	else if (j.node && add)
		(void)(let_in(&j) || (only && shut_out_any(&j)));
	else if (j.node)
		shut_out(&j);
	if (j.node && !j.e.code && strcmp(host, "any") != 0 && !only && lets_any_in(&j) && !c->json)
		printf("Any host may connect still; to let in only those that were added: gantry host remove any %s\n", export);
	*e = j.e;
	json_object_put(j.nodes);
	json_object_put(j.groups);
	return j.node != NULL;
}
