/* SPDX-License-Identifier: BSD-3-Clause */
/* export_iscsi.c: gantry export over iSCSI: a target node with what it needs, and the lines to type on a host.
 *
 * What exists is used: the first public portal group, an initiator group that lets everybody in. What one call makes
 * is undone when a later part of it fails.
 */
#include <stdio.h>

#include "cli/cli.h"

#define LISTENS_MAX 16
#define TAGS_MAX 65535u

/* What to do, in the order in which it is done. */
struct job {
	struct cli *c;
	struct cli_args *a;
	struct json_object *disk, *nodes, *portal_groups, *initiator_groups;
	char name[256];
	struct cli_address listen[LISTENS_MAX];
	size_t listen_count;
	uint64_t pg_tag, ig_tag, lun;
	bool made_pg, made_ig, made_node, made_map, made_lun;
	struct err e;
};

static int prepare(struct job *j);
static int find_portal_group(struct job *j);
static int find_initiator_group(struct job *j);
static int make_node(struct job *j);
static int add_lun(struct job *j);
static void undo(struct job *j);
static void host_lines(struct cli *c, struct json_object *lines, struct json_object *node);
static void say_lines(struct cli *c, struct json_object *node);

/* By its whole name, or by what follows the daemon's node_base. */
static struct json_object *node_named(struct json_object *nodes, const char *name)
{
	struct json_object *found = list_find(nodes, "name", name);

	for (size_t i = 0; i < list_count(nodes) && !found; i++) {
		const char *whole = field_text(list_at(nodes, i), "name");
		size_t len = strlen(whole), tail = strlen(name);

		if (len > tail && whole[len - tail - 1] == ':' && strcmp(whole + len - tail, name) == 0)
			found = list_at(nodes, i);
	}
	return found;
}

int iscsi_export_disk(struct cli *c, struct cli_args *a)
{
	struct job j = { .c = c, .a = a };
	struct json_object *all = NULL, *now;

	if (prepare(&j) == 0 && (find_portal_group(&j) || find_initiator_group(&j) || make_node(&j) || add_lun(&j)))
		undo(&j);
	if (!j.e.code)
		all = client_call(c, "iscsi_get_target_nodes", NULL, &j.e);
	now = node_named(all, j.name);
	if (now && c->json) {
		struct json_object *lines = json_object_new_array();

		host_lines(c, lines, now);
		json_object_object_add(now, "connect", lines);
		cli_print_json(now);
	} else if (now) {
		printf("Serving %s as %s, LUN %lu.\n", field_text(j.disk, "name"), field_text(now, "name"), j.lun);
		if (!args_has(a, "host"))
			printf("Any host that reaches it may connect; to choose: gantry host add HOST-IQN %s --only\n",
			       field_text(j.disk, "name"));
		say_lines(c, now);
	}
	json_object_put(all);
	json_object_put(j.nodes);
	json_object_put(j.portal_groups);
	json_object_put(j.initiator_groups);
	json_object_put(j.disk);
	return j.e.code ? cli_fail(&j.e) : CLI_OK;
}

/* A disk may be called what a target must not: "_" and others become "-". */
static void name_for(const char *disk, char *ret_name, size_t size)
{
	struct text t = text_over(ret_name, size);

	text_add(&t, CLI_IQN_PREFIX);
	for (; *disk; disk++) {
		char low = (char)(*disk | 0x20);
		bool fits = (low >= 'a' && low <= 'z') || (*disk >= '0' && *disk <= '9') || strchr("-.:", *disk);

		text_add(&t, "%c", !fits ? '-' : *disk >= 'A' && *disk <= 'Z' ? low : *disk);
	}
}

static int prepare(struct job *j)
{
	const char *name = args_value(j->a, "name");

	for (size_t i = 0; i < j->a->given_count; i++) {
		const struct cli_given *given = &j->a->given[i];

		if (given->option->row || strcmp(given->option->name, "nqn") == 0)
			return err_set(&j->e, CLIENT_MISTYPED, "--%s: is for NVMe/TCP; leave it out with --iscsi",
			               given->option->name);
		if (strcmp(given->option->name, "listen") != 0)
			continue;
		if (j->listen_count == LISTENS_MAX)
			return err_set(&j->e, CLIENT_MISTYPED, "--listen: %u addresses at once are the most", LISTENS_MAX);
		if (cli_parse_address(given->value, CLI_ISCSI_PORT, &j->listen[j->listen_count++], &j->e))
			return j->e.code;
	}
	j->disk = disk_find(j->c, j->a->words[0], &j->e);
	if (!j->disk)
		return j->e.code;
	if (name)
		snprintf(j->name, sizeof(j->name), "%s", name);
	else
		name_for(field_text(j->disk, "name"), j->name, sizeof(j->name));
	j->nodes = client_call(j->c, "iscsi_get_target_nodes", NULL, &j->e);
	if (j->nodes)
		j->portal_groups = client_call(j->c, "iscsi_get_portal_groups", NULL, &j->e);
	if (j->portal_groups)
		j->initiator_groups = client_call(j->c, "iscsi_get_initiator_groups", NULL, &j->e);
	return j->e.code;
}

/* --- groups --- */

static struct json_object *with_tag(struct json_object *groups, uint64_t tag)
{
	for (size_t i = 0; i < list_count(groups); i++)
		if (field_u64(list_at(groups, i), "tag") == tag)
			return list_at(groups, i);
	return NULL;
}

static uint64_t free_tag(struct json_object *groups)
{
	uint64_t tag = 1;

	while (tag < TAGS_MAX && with_tag(groups, tag))
		tag++;
	return tag;
}

/* IPv6 stands in brackets there. */
static void portal_host(const struct cli_address *at, char ret_host[static CLI_ADDRESS_MAX + 2])
{
	snprintf(ret_host, CLI_ADDRESS_MAX + 2, at->is_v6 ? "[%s]" : "%s", at->host);
}

static bool has_portal(struct json_object *group, const struct cli_address *at)
{
	struct json_object *portals = field(group, "portals");
	char host[CLI_ADDRESS_MAX + 2];

	portal_host(at, host);
	for (size_t i = 0; i < list_count(portals); i++)
		if (strcmp(field_text(list_at(portals, i), "host"), host) == 0 &&
		    strcmp(field_text(list_at(portals, i), "port"), at->port) == 0)
			return true;
	return false;
}

static bool has_all_portals(const struct job *j, struct json_object *group)
{
	for (size_t i = 0; i < j->listen_count; i++)
		if (!has_portal(group, &j->listen[i]))
			return false;
	return true;
}

static int find_portal_group(struct job *j)
{
	struct json_object *params, *portals;
	int rc;

	for (size_t i = 0; i < list_count(j->portal_groups); i++) {
		struct json_object *g = list_at(j->portal_groups, i);

		if (field_bool(g, "private") || !has_all_portals(j, g))
			continue;
		j->pg_tag = field_u64(g, "tag");
		return 0;
	}
	if (!j->listen_count && cli_parse_address("127.0.0.1", CLI_ISCSI_PORT, &j->listen[j->listen_count++], &j->e))
		return j->e.code;
	j->pg_tag = free_tag(j->portal_groups);
	params = json_object_new_object();
	portals = json_object_new_array();
	json_object_object_add(params, "tag", json_object_new_uint64(j->pg_tag));
	json_object_object_add(params, "portals", portals);
	for (size_t i = 0; i < j->listen_count; i++) {
		struct json_object *o = json_object_new_object();
		char host[CLI_ADDRESS_MAX + 2];

		portal_host(&j->listen[i], host);
		json_object_object_add(o, "host", json_object_new_string(host));
		json_object_object_add(o, "port", json_object_new_string(j->listen[i].port));
		json_object_array_add(portals, o);
	}
	rc = client_do(j->c, "iscsi_create_portal_group", params, &j->e);
	j->made_pg = rc == 0;
	json_object_put(params);
	return rc;
}

static bool is_only(struct json_object *list, const char *text)
{
	return list_count(list) == 1 && strcmp(json_object_get_string(list_at(list, 0)), text) == 0;
}

static int find_initiator_group(struct job *j)
{
	struct json_object *params, *names, *masks;
	bool any = !args_has(j->a, "host");
	int rc;

	for (size_t i = 0; i < list_count(j->initiator_groups) && any; i++) {
		struct json_object *g = list_at(j->initiator_groups, i);

		if (!is_only(field(g, "initiators"), "ANY") || !is_only(field(g, "netmasks"), "ANY"))
			continue;
		j->ig_tag = field_u64(g, "tag");
		return 0;
	}
	j->ig_tag = free_tag(j->initiator_groups);
	params = json_object_new_object();
	names = json_object_new_array();
	masks = json_object_new_array();
	json_object_object_add(params, "tag", json_object_new_uint64(j->ig_tag));
	json_object_object_add(params, "initiators", names);
	json_object_object_add(params, "netmasks", masks);
	json_object_array_add(masks, json_object_new_string("ANY"));
	if (any)
		json_object_array_add(names, json_object_new_string("ANY"));
	for (size_t i = 0; i < j->a->given_count; i++)
		if (strcmp(j->a->given[i].option->name, "host") == 0)
			json_object_array_add(names, json_object_new_string(j->a->given[i].value));
	rc = client_do(j->c, "iscsi_create_initiator_group", params, &j->e);
	j->made_ig = rc == 0;
	json_object_put(params);
	return rc;
}

/* --- the node and its LUN --- */

static struct json_object *map_params(const struct job *j)
{
	struct json_object *params = json_object_new_object(), *maps = json_object_new_array();
	struct json_object *map = json_object_new_object();

	json_object_object_add(params, "name", json_object_new_string(j->name));
	json_object_object_add(params, "pg_ig_maps", maps);
	json_object_array_add(maps, map);
	json_object_object_add(map, "pg_tag", json_object_new_uint64(j->pg_tag));
	json_object_object_add(map, "ig_tag", json_object_new_uint64(j->ig_tag));
	return params;
}

static bool is_mapped(const struct job *j, struct json_object *node)
{
	struct json_object *maps = field(node, "pg_ig_maps");

	for (size_t i = 0; i < list_count(maps); i++)
		if (field_u64(list_at(maps, i), "pg_tag") == j->pg_tag && field_u64(list_at(maps, i), "ig_tag") == j->ig_tag)
			return true;
	return false;
}

static int make_node(struct job *j)
{
	struct json_object *there = node_named(j->nodes, j->name), *params = map_params(j);
	const char *group = args_value(j->a, "chap-group");
	uint64_t tag = 0;
	int rc = 0;

	if (group && text_parse_u64(group, &tag, NULL)) {
		rc = err_set(&j->e, CLIENT_MISTYPED, "--chap-group: \"%s\" is no number of a group; gantry rpc "
		             "iscsi_get_auth_groups lists them", group);
	} else if (!there) {
		if (group) {
			json_object_object_add(params, "require_chap", json_object_new_boolean(true));
			json_object_object_add(params, "chap_group", json_object_new_uint64(tag));
		}
		rc = client_do(j->c, "iscsi_create_target_node", params, &j->e);
		j->made_node = rc == 0;
	} else if (!is_mapped(j, there)) {
		rc = client_do(j->c, "iscsi_target_node_add_pg_ig_maps", params, &j->e);
		j->made_map = rc == 0;
	}
	json_object_put(params);
	return rc;
}

static int add_lun(struct job *j)
{
	const char *disk = field_text(j->disk, "name");
	struct json_object *there = list_find(field(node_named(j->nodes, j->name), "luns"), "bdev_name", disk);
	struct json_object *result = NULL, *all, *lun;

	if (!there)
		result = client_ask(j->c, &j->e, "iscsi_target_node_add_lun", "name", j->name, "bdev_name", disk, NULL);
	json_object_put(result);
	if (j->e.code)
		return j->e.code;
	j->made_lun = !there;
	all = client_call(j->c, "iscsi_get_target_nodes", NULL, &j->e);
	lun = list_find(field(node_named(all, j->name), "luns"), "bdev_name", disk);
	j->lun = field_u64(lun, "lun_id");
	json_object_put(all);
	return j->e.code;
}

static void undo_one(struct job *j, bool made, const char *method, struct json_object *params)
{
	struct err ignored = { 0 };

	if (made && client_do(j->c, method, params, &ignored))
		fprintf(stderr, "gantry: and what was made could not be removed: %s: %s\n", method, ignored.text);
	json_object_put(params);
}

static struct json_object *tag_params(uint64_t tag)
{
	struct json_object *params = json_object_new_object();

	json_object_object_add(params, "tag", json_object_new_uint64(tag));
	return params;
}

static void undo(struct job *j)
{
	undo_one(j, j->made_map, "iscsi_target_node_remove_pg_ig_maps", map_params(j));
	if (j->made_node) {
		struct json_object *params = json_object_new_object();

		json_object_object_add(params, "name", json_object_new_string(j->name));
		undo_one(j, true, "iscsi_delete_target_node", params);
	}
	undo_one(j, j->made_ig, "iscsi_delete_initiator_group", tag_params(j->ig_tag));
	undo_one(j, j->made_pg, "iscsi_delete_portal_group", tag_params(j->pg_tag));
}

/* --- what to type on a host --- */

static void add_line(struct json_object *lines, const char *fmt, ...) PRINTF(2, 3);
static void add_line(struct json_object *lines, const char *fmt, ...)
{
	char buf[1024];
	struct text t = text_over(buf, sizeof(buf));
	va_list ap;

	va_start(ap, fmt);
	text_vadd(&t, fmt, ap);
	va_end(ap);
	json_object_array_add(lines, json_object_new_string(buf));
}

/* "10.0.0.1:3260", as a host reaches it. */
static void portal_text(struct json_object *portal, char *ret_text, size_t size)
{
	const char *host = field_text(portal, "host");
	char bare[CLI_ADDRESS_MAX], reached[CLI_ADDRESS_MAX];

	snprintf(bare, sizeof(bare), "%.*s", (int)strcspn(host + (*host == '['), "]"), host + (*host == '['));
	cli_reachable(bare, reached);
	snprintf(ret_text, size, strchr(reached, ':') ? "[%s]:%s" : "%s:%s", reached, field_text(portal, "port"));
}

/* A user of the group, for the lines; secrets are not told. */
static void user_of(struct cli *c, uint64_t group, char *ret_user, size_t size)
{
	struct err ignored = { 0 };
	struct json_object *groups = client_call(c, "iscsi_get_auth_groups", NULL, &ignored);
	const char *user = field_text(list_at(field(with_tag(groups, group), "secrets"), 0), "user");

	snprintf(ret_user, size, "%s", *user ? user : "USER");
	json_object_put(groups);
}

static void chap_lines(struct cli *c, struct json_object *lines, struct json_object *node, const char *portal)
{
	const char *name = field_text(node, "name");
	char user[256];

	user_of(c, field_u64(node, "chap_group"), user, sizeof(user));
	add_line(lines, "iscsiadm -m node -T %s -p %s -o update -n node.session.auth.authmethod -v CHAP", name, portal);
	add_line(lines, "iscsiadm -m node -T %s -p %s -o update -n node.session.auth.username -v %s", name, portal, user);
	add_line(lines, "iscsiadm -m node -T %s -p %s -o update -n node.session.auth.password -v SECRET", name, portal);
	if (!field_bool(node, "mutual_chap"))
		return;
	add_line(lines, "iscsiadm -m node -T %s -p %s -o update -n node.session.auth.username_in -v MUSER", name,
	         portal);
	add_line(lines, "iscsiadm -m node -T %s -p %s -o update -n node.session.auth.password_in -v MSECRET", name,
	         portal);
}

static void portal_lines(struct cli *c, struct json_object *lines, struct json_object *node,
                         struct json_object *portals)
{
	for (size_t i = 0; i < list_count(portals); i++) {
		char portal[CLI_ADDRESS_MAX + 16];

		portal_text(list_at(portals, i), portal, sizeof(portal));
		add_line(lines, "iscsiadm -m discovery -t sendtargets -p %s", portal);
		if (field_bool(node, "require_chap"))
			chap_lines(c, lines, node, portal);
		add_line(lines, "iscsiadm -m node -T %s -p %s --login", field_text(node, "name"), portal);
	}
}

/* The groups that it is mapped to, each once. */
static void host_lines(struct cli *c, struct json_object *lines, struct json_object *node)
{
	struct err ignored = { 0 };
	struct json_object *groups = client_call(c, "iscsi_get_portal_groups", NULL, &ignored);
	struct json_object *ports = field(node, "target_ports");

	for (size_t i = 0; i < list_count(ports); i++) {
		struct json_object *g = with_tag(groups, field_u64(list_at(ports, i), "pg_tag"));

		if (g && !field_bool(g, "private"))
			portal_lines(c, lines, node, field(g, "portals"));
	}
	json_object_put(groups);
}

static void say_lines(struct cli *c, struct json_object *node)
{
	struct json_object *lines = json_object_new_array();

	host_lines(c, lines, node);
	cli_print_lines("On the host, as root, with open-iscsi installed:", lines);
}

/* --- list, show, remove --- */

static size_t sessions_of(struct json_object *conns, const char *node)
{
	size_t count = 0;

	for (size_t i = 0; i < list_count(conns); i++)
		count += strcmp(field_text(list_at(conns, i), "target_name"), node) == 0;
	return count;
}

struct listing {
	struct json_object *nodes, *portal_groups, *initiator_groups, *conns;
};

/* What the daemon does not have is empty. */
static struct listing take(struct cli *c)
{
	struct err ignored = { 0 };
	struct listing l = { .nodes = client_call(c, "iscsi_get_target_nodes", NULL, &ignored) };

	if (list_count(l.nodes)) {
		l.portal_groups = client_call(c, "iscsi_get_portal_groups", NULL, &ignored);
		l.initiator_groups = client_call(c, "iscsi_get_initiator_groups", NULL, &ignored);
		l.conns = client_call(c, "iscsi_get_connections", NULL, &ignored);
	}
	return l;
}

static void put(struct listing *l)
{
	json_object_put(l->nodes);
	json_object_put(l->portal_groups);
	json_object_put(l->initiator_groups);
	json_object_put(l->conns);
}

/* What the groups have under `key` that `tags` name by `tag`: one list, to be put. */
static struct json_object *of_groups(struct json_object *groups, struct json_object *tags, const char *tag,
                                     const char *key)
{
	struct json_object *all = json_object_new_array();

	for (size_t i = 0; i < list_count(tags); i++) {
		struct json_object *list = field(with_tag(groups, field_u64(list_at(tags, i), tag)), key);

		for (size_t k = 0; k < list_count(list); k++)
			json_object_array_add(all, json_object_get(list_at(list, k)));
	}
	return all;
}

static struct json_object *initiators_of(const struct listing *l, struct json_object *node)
{
	return of_groups(l->initiator_groups, field(node, "pg_ig_maps"), "ig_tag", "initiators");
}

/* One after the other with blanks between; each tag's once. */
static void join_portals(const struct listing *l, struct json_object *node, struct text *t)
{
	struct json_object *portals = of_groups(l->portal_groups, field(node, "target_ports"), "pg_tag", "portals");

	for (size_t i = 0; i < list_count(portals); i++)
		text_add(t, "%s%s:%s", t->len ? " " : "", field_text(list_at(portals, i), "host"),
		         field_text(list_at(portals, i), "port"));
	json_object_put(portals);
}

static void join_initiators(const struct listing *l, struct json_object *node, struct text *t)
{
	struct json_object *names = initiators_of(l, node);

	for (size_t i = 0; i < list_count(names); i++) {
		const char *name = json_object_get_string(list_at(names, i));

		if (!strstr(t->buf, name))
			text_add(t, "%s%s", t->len ? " " : "", name);
	}
	json_object_put(names);
}

void iscsi_export_rows(struct cli *c, struct table *table)
{
	struct listing l = take(c);

	for (size_t i = 0; i < list_count(l.nodes); i++) {
		struct json_object *node = list_at(l.nodes, i), *luns = field(node, "luns");
		char disks[1024], portals[1024], hosts[1024];
		struct text d = text_over(disks, sizeof(disks)), p = text_over(portals, sizeof(portals));
		struct text h = text_over(hosts, sizeof(hosts));

		for (size_t k = 0; k < list_count(luns); k++)
			text_add(&d, "%s%s", k ? " " : "", field_text(list_at(luns, k), "bdev_name"));
		join_portals(&l, node, &p);
		join_initiators(&l, node, &h);
		table_cell(table, "%s", field_text(node, "name"));
		table_cell(table, "%s", disks);
		table_cell(table, "%s", portals);
		table_cell(table, "%s", strcmp(hosts, "ANY") == 0 ? "any" : hosts);
		table_cell(table, "%zu", sessions_of(l.conns, field_text(node, "name")));
	}
	put(&l);
}

void iscsi_export_add_json(struct cli *c, struct json_object *array)
{
	struct err ignored = { 0 };
	struct json_object *nodes = client_call(c, "iscsi_get_target_nodes", NULL, &ignored);

	for (size_t i = 0; i < list_count(nodes); i++)
		json_object_array_add(array, json_object_get(list_at(nodes, i)));
	json_object_put(nodes);
}

struct json_object *iscsi_export_find(struct json_object *nodes, const char *name)
{
	struct json_object *found = node_named(nodes, name);

	for (size_t i = 0; i < list_count(nodes) && !found; i++)
		if (list_find(field(list_at(nodes, i), "luns"), "bdev_name", name))
			found = list_at(nodes, i);
	return found;
}

struct json_object *iscsi_export_of_disk(struct json_object *nodes, const char *disk, struct json_object **ret_lun)
{
	for (size_t i = 0; i < list_count(nodes); i++) {
		*ret_lun = list_find(field(list_at(nodes, i), "luns"), "bdev_name", disk);
		if (*ret_lun)
			return list_at(nodes, i);
	}
	*ret_lun = NULL;
	return NULL;
}

static void show_sessions(const struct listing *l, const char *node)
{
	for (size_t i = 0; i < list_count(l->conns); i++) {
		struct json_object *o = list_at(l->conns, i);

		if (strcmp(field_text(o, "target_name"), node) == 0)
			printf("  connected   %s from %s, on %s\n", field_text(o, "initiator_name"),
			       field_text(o, "initiator_addr"), field_text(o, "thread_name"));
	}
}

bool iscsi_export_show(struct cli *c, const char *name)
{
	struct listing l = take(c);
	struct json_object *node = iscsi_export_find(l.nodes, name), *luns = field(node, "luns");
	char portals[1024], hosts[1024];
	struct text p = text_over(portals, sizeof(portals)), h = text_over(hosts, sizeof(hosts));

	if (node && c->json) {
		cli_print_json(node);
	} else if (node) {
		join_portals(&l, node, &p);
		join_initiators(&l, node, &h);
		printf("%s\n  listens     %s\n  allows      %s%s\n", field_text(node, "name"), portals,
		       strcmp(hosts, "ANY") == 0 ? "any host" : hosts, field_bool(node, "require_chap") ? ", by CHAP" : "");
		for (size_t i = 0; i < list_count(luns); i++)
			printf("  LUN         %lu: %s\n", field_u64(list_at(luns, i), "lun_id"),
			       field_text(list_at(luns, i), "bdev_name"));
		show_sessions(&l, field_text(node, "name"));
		say_lines(c, node);
	}
	put(&l);
	return node != NULL;
}

/* Named by a disk among others: only its LUN goes. */
bool iscsi_export_remove(struct cli *c, const char *name, struct err *e)
{
	struct listing l = take(c);
	struct json_object *node = iscsi_export_find(l.nodes, name), *luns = field(node, "luns"), *params;
	struct json_object *lun = list_find(luns, "bdev_name", name);

	if (!node) {
		put(&l);
		return false;
	}
	params = json_object_new_object();
	json_object_object_add(params, "name", json_object_new_string(field_text(node, "name")));
	if (lun && list_count(luns) > 1) {
		json_object_object_add(params, "lun_id", json_object_new_uint64(field_u64(lun, "lun_id")));
		if (client_do(c, "iscsi_target_node_remove_lun", params, e) == 0 && !c->json)
			printf("%s serves %s no more\n", field_text(node, "name"), name);
	} else if (client_do(c, "iscsi_delete_target_node", params, e) == 0 && !c->json) {
		printf("%s is gone\n", field_text(node, "name"));
	}
	json_object_put(params);
	put(&l);
	return true;
}

/* --- for gantry host, top and the status page --- */

static void add_allowed(const struct listing *l, struct json_object *node, struct json_object *into)
{
	struct json_object *names = initiators_of(l, node);

	for (size_t i = 0; i < list_count(names); i++) {
		const char *name = json_object_get_string(list_at(names, i));

		if (*name != '!')
			json_object_object_add(host_entry(into, strcmp(name, "ANY") == 0 ? "any" : name, field_text(node, "name")),
			                       "allowed", json_object_new_boolean(true));
	}
	json_object_put(names);
}

void iscsi_add_hosts(struct cli *c, struct json_object *into)
{
	struct listing l = take(c);

	for (size_t i = 0; i < list_count(l.nodes); i++)
		add_allowed(&l, list_at(l.nodes, i), into);
	for (size_t i = 0; i < list_count(l.conns); i++) {
		struct json_object *o = list_at(l.conns, i), *h;
		const char *node = field_text(o, "target_name"), *core = field_text(o, "thread_name"), *cores;
		char more[512];

		if (!*node || strcmp(field_text(o, "state"), "running") != 0)
			continue;
		h = host_entry(into, field_text(o, "initiator_name"), node);
		cores = field_text(h, "cores");
		json_object_object_add(h, "from", json_object_new_string(field_text(o, "initiator_addr")));
		json_object_object_add(h, "controllers", json_object_new_uint64(field_u64(h, "controllers") + 1));
		json_object_object_add(h, "queues", json_object_new_uint64(field_u64(h, "queues") + 1));
		snprintf(more, sizeof(more), "%s%s%s", cores, *cores ? ", " : "", core);
		if (!strstr(cores, core))
			json_object_object_add(h, "cores", json_object_new_string(more));
	}
	put(&l);
}

void iscsi_show_status(struct cli *c, void (*line)(const char *fmt, ...))
{
	struct listing l = take(c);

	if (list_count(l.nodes))
		line("\nTARGET NODE");
	for (size_t i = 0; i < list_count(l.nodes); i++) {
		struct json_object *node = list_at(l.nodes, i), *luns = field(node, "luns");
		const char *name = field_text(node, "name");
		char portals[1024], hosts[1024];
		struct text p = text_over(portals, sizeof(portals)), h = text_over(hosts, sizeof(hosts));

		join_portals(&l, node, &p);
		join_initiators(&l, node, &h);
		line("%s", name);
		line("  listens    iSCSI %s", portals);
		for (size_t k = 0; k < list_count(luns); k++)
			line("  LUN        %lu: %s", field_u64(list_at(luns, k), "lun_id"),
			     field_text(list_at(luns, k), "bdev_name"));
		line("  allows     %s%s", strcmp(hosts, "ANY") == 0 ? "any host" : hosts,
		     field_bool(node, "require_chap") ? ", by CHAP" : "");
		for (size_t k = 0; k < list_count(l.conns); k++)
			if (strcmp(field_text(list_at(l.conns, k), "target_name"), name) == 0)
				line("  connected  %s, %s", field_text(list_at(l.conns, k), "initiator_name"),
				     field_text(list_at(l.conns, k), "thread_name"));
	}
	put(&l);
}
