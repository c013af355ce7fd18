/* SPDX-License-Identifier: BSD-3-Clause */
/* disk.c: gantry disk: which there are, what one is, and its size and end. Which method does it follows from the method
 * that made the disk, as the saved configuration tells it: new kinds need nothing here. */
#include <stdio.h>

#include "base/text.h"
#include "cli/cli.h"

#define NAMES_MAX 256
#define METHOD_MAX 128

static int run_list(struct cli *c, struct cli_args *a);
static int run_show(struct cli *c, struct cli_args *a);
static int run_resize(struct cli *c, struct cli_args *a);
static int run_delete(struct cli *c, struct cli_args *a);
static int run_rescan(struct cli *c, struct cli_args *a);

static const struct cli_option create_options[] = {
	{ "name", "NAME", "Its name; made up from the kind when left out" },
	{ "size", "SIZE", "Its size, as in 512M or 10G; units are powers of 1024. With a file: make the file when there "
	  "is none" },
};
static const struct cli_option delete_options[] = {
	{ "force", NULL, "Even while it is served, or another disk stands on it: they lose it at once" },
};

static const struct cli_verb verbs[] = {
	{ "list", "", "all disks", run_list, .is_default = true, .example = "gantry disk list" },
	{ "show", "DISK", "all about a disk: what it is, who is served it, what it did", run_show,
	  .example = "gantry disk show disk0" },
	{ "create", "KIND [SIZE|PATH|DISK]...", "make a disk of some kind", disk_create, CLI_OPTIONS(create_options),
	  .describe = disk_create_describe, .help_on = disk_create_help,
	  .help = "Kinds everybody needs: ram SIZE, file PATH, null SIZE. gantry disk create KIND --help tells the words "
	          "and options of a kind.",
	  .example = "gantry disk create ram 1G --name disk1" },
	{ "resize", "DISK SIZE", "change the size of a disk", run_resize,
	  .help = "Hosts are told. What lies beyond a smaller size is lost.", .example = "gantry disk resize disk0 2G" },
	{ "delete", "DISK", "remove a disk; the data of a RAM disk are gone, a file stays", run_delete,
	  CLI_OPTIONS(delete_options), .example = "gantry disk delete disk0" },
	{ "rescan", "DISK", "look again how large the file or device behind a disk is", run_rescan,
	  .example = "gantry disk rescan file0" },
};
const struct cli_noun disk_noun = { "disk", "block devices", verbs, ARRAY_SIZE(verbs) };

static void show_use(struct json_object *subsystems, struct json_object *nodes, struct json_object *ctrlrs,
                     const char *name, bool claimed, char *buf, size_t size);
static void show_facts(struct json_object *disk);
static void show_members(struct json_object *object, size_t indent);
static void show_paths(struct json_object *paths);
static void show_fitness(struct cli *c, const char *name);
static void show_exports(struct cli *c, const char *name);
static void show_activity(struct cli *c, const char *name);
static void show_latencies(struct cli *c, const char *name);
static bool is_awaited(struct cli *c, const char *name);
static void delete_and_say(struct cli *c, const char *method, struct json_object *params, struct err *e);
static int derived_method(struct cli *c, const char *disk, const char *verb, char method[static METHOD_MAX],
                          struct json_object **ret_params, struct err *e);

/* --- list, show --- */

static void print_disks(struct cli *c, struct json_object *disks)
{
	struct err ignored = { 0 };
	struct json_object *subsystems = client_call(c, "nvmf_get_subsystems", NULL, &ignored);
	struct json_object *nodes = client_call(c, "iscsi_get_target_nodes", NULL, &ignored);
	struct json_object *ctrlrs = client_call(c, "vhost_get_controllers", NULL, &ignored);
	struct table t;

	table_init(&t, "DISK KIND >SIZE >BLOCK USED_BY");
	for (size_t i = 0; i < list_count(disks); i++) {
		struct json_object *d = list_at(disks, i);
		char size[32], use[512];

		text_size(field_u64(d, "num_blocks") * field_u64(d, "block_size"), size);
		show_use(subsystems, nodes, ctrlrs, field_text(d, "name"), field_bool(d, "claimed"), use, sizeof(use));
		table_cell(&t, "%s", field_text(d, "name"));
		table_cell(&t, "%s", field_text(d, "product_name"));
		table_cell(&t, "%s", size);
		table_cell(&t, "%lu", field_u64(d, "block_size"));
		table_cell(&t, "%s", use);
	}
	table_print(&t);
	json_object_put(subsystems);
	json_object_put(nodes);
	json_object_put(ctrlrs);
}

static int run_list(struct cli *c, struct cli_args *a)
{
	struct err e = { 0 };
	struct json_object *disks = client_call(c, "bdev_get_bdevs", NULL, &e);

	return cli_answer(c, disks, &e, "No disks. Make one: gantry disk create ram 1G --name disk0", print_disks);
}

static void show_use(struct json_object *subsystems, struct json_object *nodes, struct json_object *ctrlrs,
                     const char *name, bool claimed, char *buf, size_t size)
{
	struct json_object *ctrlr;
	struct text t = text_over(buf, size);
	size_t at = 0;

	for (size_t i = 0; i < list_count(subsystems); i++)
		if (list_find(field(list_at(subsystems, i), "namespaces"), "bdev_name", name))
			text_add(&t, "%s%s", t.len ? " " : "", field_text(list_at(subsystems, i), "nqn"));
	for (size_t i = 0; i < list_count(nodes); i++)
		if (list_find(field(list_at(nodes, i), "luns"), "bdev_name", name))
			text_add(&t, "%s%s", t.len ? " " : "", field_text(list_at(nodes, i), "name"));
	while ((ctrlr = vhost_export_of_disk(ctrlrs, name, &at)))
		text_add(&t, "%s%s", t.len ? " " : "", field_text(ctrlr, "ctrlr"));
	if (t.cut)
		text_end_with(&t, "...");
	if (!t.len && claimed)
		text_add(&t, "another disk");
}

static int run_show(struct cli *c, struct cli_args *a)
{
	struct err e = { 0 };
	struct json_object *disk = disk_find(c, a->words[0], &e), *reservations, *reservation;

	if (!disk)
		return cli_fail(&e);
	reservations = client_call(c, "bdev_get_reservations", NULL, &e); /* NULL: another daemon, which has none */
	reservation = list_find(reservations, "name", field_text(disk, "name"));
	if (c->json) {
		json_object_object_add(disk, "reservation", json_object_get(reservation));
		cli_print_json(disk);
	} else {
		show_facts(disk);
		show_fitness(c, field_text(disk, "name"));
		show_exports(c, field_text(disk, "name"));
		reservation_show(reservation);
		show_activity(c, field_text(disk, "name"));
	}
	json_object_put(reservations);
	json_object_put(disk);
	return CLI_OK;
}

static void show_facts(struct json_object *disk)
{
	struct json_object *can = field(disk, "supported_io_types");
	char size[32], ops_buf[256];
	struct text ops = text_over(ops_buf, sizeof(ops_buf));

	text_size(field_u64(disk, "num_blocks") * field_u64(disk, "block_size"), size);
	printf("%s: %s, %s in %lu blocks of %lu bytes\n", field_text(disk, "name"), field_text(disk, "product_name"), size,
	       field_u64(disk, "num_blocks"), field_u64(disk, "block_size"));
	printf("  uuid        %s\n", field_text(disk, "uuid"));
	if (field_u64(disk, "md_size"))
		printf("  metadata    %lu bytes a block, %s\n", field_u64(disk, "md_size"),
		       field_bool(disk, "md_interleave") ? "interleaved" : "apart");
	if (can) {
		json_object_object_foreach(can, name, yes)
			if (json_object_get_boolean(yes))
				text_add(&ops, "%s%s", ops.len ? ", " : "", name);
		printf("  can do\n");
		print_wrapped(ops_buf, 14);
	}
	show_members(field(disk, "assigned_rate_limits"), 2);
	show_members(field(disk, "driver_specific"), 2);
}

/* What the back-end tells of itself; numbers that are 0 tell nothing. */
static void show_members(struct json_object *object, size_t indent)
{
	if (!json_object_is_type(object, json_type_object))
		return;
	json_object_object_foreach(object, key, value) {
		const char *text = value ? json_object_get_string(value) : "none";

		if (json_object_is_type(value, json_type_object)) {
			printf("%*s%s\n", (int)indent, "", key);
			show_members(value, indent + 2);
		} else if (list_count(value) && field(list_at(value, 0), "trid")) {
			show_paths(value);
		} else if (strcmp(text, "0") != 0) {
			printf("%*s%-*s ", (int)indent, "", (int)(13 - min_u64(indent, 6)), key);
			print_beside(text, max_u64(14, indent + strlen(key) + 1));
		}
	}
}

/* Of a remote disk: where it is, by each way that leads there. */
static void show_paths(struct json_object *paths)
{
	for (size_t i = 0; i < list_count(paths); i++) {
		struct json_object *path = list_at(paths, i), *trid = field(path, "trid");
		char text[512];

		snprintf(text, sizeof(text), "%s port %s, namespace %lu of %s", field_text(trid, "traddr"),
		         field_text(trid, "trsvcid"), field_u64(field(path, "ns_data"), "id"), field_text(trid, "subnqn"));
		printf("  path        ");
		print_beside(text, 14);
	}
}

/* What it is good for: what a flush means. */
static void show_fitness(struct cli *c, const char *name)
{
	struct err e = { 0 };
	struct json_object *all = cli_method(c, "bdev_get_fitness") ? client_call(c, "bdev_get_fitness", NULL, &e) : NULL;
	struct json_object *f = list_find(all, "name", name);

	if (*field_text(f, "flush_reaches"))
		printf("  a flush     reaches %s\n", field_text(f, "flush_reaches"));
	if (field_bool(f, "read_only"))
		printf("  read-only   yes\n");
	json_object_put(all);
}

/* Objects of `all` that have it in their list `of`. */
static size_t show_exports_of(struct json_object *all, const char *id, const char *of, const char *unit,
                              const char *unit_id, const char *name)
{
	size_t count = 0;

	for (size_t i = 0; i < list_count(all); i++) {
		struct json_object *units = field(list_at(all, i), of);

		for (size_t n = 0; n < list_count(units); n++) {
			if (strcmp(field_text(list_at(units, n), "bdev_name"), name) != 0)
				continue;
			printf("  served as   %s, %s %lu\n", field_text(list_at(all, i), id), unit,
			       field_u64(list_at(units, n), unit_id));
			count++;
		}
	}
	return count;
}

static void show_exports(struct cli *c, const char *name)
{
	struct err e = { 0 };
	struct json_object *subsystems = client_call(c, "nvmf_get_subsystems", NULL, &e);
	struct json_object *nodes = client_call(c, "iscsi_get_target_nodes", NULL, &e);
	struct json_object *ctrlrs = client_call(c, "vhost_get_controllers", NULL, &e);
	struct json_object *ctrlr;
	size_t at = 0, served = show_exports_of(subsystems, "nqn", "namespaces", "namespace", "nsid", name);

	served += show_exports_of(nodes, "name", "luns", "LUN", "lun_id", name);
	for (; (ctrlr = vhost_export_of_disk(ctrlrs, name, &at)); served++)
		printf("  served as   %s, to virtual machines\n", field_text(ctrlr, "ctrlr"));
	if (!served)
		printf("  served      to nobody; serve it: gantry export disk %s\n", name);
	json_object_put(subsystems);
	json_object_put(nodes);
	json_object_put(ctrlrs);
}

static void show_activity(struct cli *c, const char *name)
{
	struct json_object *params = json_object_new_object(), *names = json_object_new_array(), *stat, *s;
	struct err e = { 0 };
	char read[32], written[32];

	json_object_array_add(names, json_object_new_string(name));
	json_object_object_add(params, "names", names);
	stat = client_call(c, "bdev_get_iostat", params, &e);
	s = list_at(field(stat, "bdevs"), 0);
	if (s) {
		text_size(field_u64(s, "bytes_read"), read);
		text_size(field_u64(s, "bytes_written"), written);
		printf("  read        %lu times, %s\n  written     %lu times, %s\n", field_u64(s, "num_read_ops"), read,
		       field_u64(s, "num_write_ops"), written);
	}
	json_object_put(stat);
	json_object_put(params);
	show_latencies(c, name);
}

/* Of disks that keep histograms. */
static void show_latencies(struct cli *c, const char *name)
{
	struct err e = { 0 };
	struct json_object *kept, *list;
	char mean[32], p99[32], most[32];

	if (!cli_method(c, "bdev_get_latencies"))
		return;
	kept = client_ask(c, &e, "bdev_get_latencies", "name", name, NULL);
	list = field(kept, "latencies");
	for (size_t i = 0; i < list_count(list); i++) {
		struct json_object *l = list_at(list, i);

		printf("  %-11s %s mean, 99 %% within %s, at most %s\n", field_text(l, "operation"),
		       text_duration(field_u64(l, "mean_ns"), mean), text_duration(field_u64(l, "p99_ns"), p99),
		       text_duration(field_u64(l, "max_ns"), most));
	}
	json_object_put(kept);
}

/* --- what is done with one --- */

static int run_resize(struct cli *c, struct cli_args *a)
{
	struct err e = { 0 };
	struct json_object *disk = disk_find(c, a->words[0], &e), *params = NULL, *rows, *row = NULL;
	char method[METHOD_MAX], size[32];
	uint64_t bytes = 0, unit = 1;
	const char *said;

	if (!disk)
		return cli_fail(&e);
	if (text_parse_size(a->words[1], &bytes, &e))
		e.code = CLIENT_MISTYPED;
	else if (derived_method(c, field_text(disk, "name"), "resize", method, &params, &e) == 0) {
		rows = field(cli_method(c, method), "params");
		for (size_t i = 0; i < list_count(rows) && !row; i++)
			if (strstr(field_text(list_at(rows, i), "name"), "size"))
				row = list_at(rows, i);
		said = field_text(row, "unit");
		unit = strcmp(said, "MiB") == 0 ? MIB : strcmp(said, "blocks") == 0 ? field_u64(disk, "block_size") : 1;
		if (bytes % unit) {
			err_set(&e, CLIENT_MISTYPED, "%s is not a multiple of %s", a->words[1], text_size(unit, size));
		} else {
			json_object_object_add(params, field_text(row, "name"), json_object_new_uint64(bytes / unit));
			if (client_do(c, method, params, &e) == 0 && !c->json)
				printf("%s has %s now\n", field_text(disk, "name"), text_size(bytes, size));
		}
	}
	json_object_put(params);
	json_object_put(disk);
	return e.code ? cli_fail(&e) : CLI_OK;
}

static int run_delete(struct cli *c, struct cli_args *a)
{
	struct err e = { 0 }, ignored = { 0 };
	struct json_object *disk = disk_find(c, a->words[0], &e), *params = NULL, *subsystems, *export, *ns;
	struct json_object *nodes, *node, *lun, *ctrlrs, *ctrlr;
	char method[METHOD_MAX];
	const char *name;
	size_t at = 0;

	if (!disk && is_awaited(c, a->words[0]))
		e.code = 0;
	else if (!disk)
		return cli_fail(&e);
	name = disk ? field_text(disk, "name") : a->words[0];
	subsystems = client_call(c, "nvmf_get_subsystems", NULL, &ignored);
	export = export_of_disk(subsystems, name, &ns);
	nodes = client_call(c, "iscsi_get_target_nodes", NULL, &ignored);
	node = iscsi_export_of_disk(nodes, name, &lun);
	ctrlrs = client_call(c, "vhost_get_controllers", NULL, &ignored);
	ctrlr = vhost_export_of_disk(ctrlrs, name, &at);
	if ((export || node || ctrlr) && !args_has(a, "force"))
		err_set(&e, -16, "%s is served as %s; first: gantry export remove %s (or --force)", name,
		        export ? field_text(export, "nqn") : node ? field_text(node, "name") : field_text(ctrlr, "ctrlr"),
		        name);
	else if (!export && !node && !ctrlr && field_bool(disk, "claimed") && !args_has(a, "force"))
		err_set(&e, -16, "another disk stands on %s; delete that one first (or --force); gantry disk list shows "
		        "all", name);
	else if (derived_method(c, name, "delete", method, &params, &e) == 0)
		delete_and_say(c, method, params, &e);
	json_object_put(subsystems);
	json_object_put(nodes);
	json_object_put(ctrlrs);
	json_object_put(params);
	json_object_put(disk);
	return e.code ? cli_fail(&e) : CLI_OK;
}

/* One that was made and waits for what it stands on. */
static bool is_awaited(struct cli *c, const char *name)
{
	struct json_object *origin = disk_origin(c, name);
	bool is = strcmp(field_text(field(origin, "params"), "name"), name) == 0;

	json_object_put(origin);
	return is;
}

/* More than one may go: what a split made goes together. */
static void delete_and_say(struct cli *c, const char *method, struct json_object *params, struct err *e)
{
	struct err ignored = { 0 };
	struct json_object *before = client_call(c, "bdev_get_bdevs", NULL, &ignored), *after;

	if (client_do(c, method, params, e) == 0 && !c->json) {
		after = client_call(c, "bdev_get_bdevs", NULL, &ignored);
		for (size_t i = 0; i < list_count(before) && after; i++) {
			const char *name = field_text(list_at(before, i), "name");

			if (!list_find(after, "name", name))
				printf("%s is gone\n", name);
		}
		if (list_count(before) == list_count(after))
			printf("It is not waited for any more\n");
		json_object_put(after);
	}
	json_object_put(before);
}

static int run_rescan(struct cli *c, struct cli_args *a)
{
	struct err e = { 0 };
	struct json_object *disk = disk_find(c, a->words[0], &e), *params = NULL;
	char method[METHOD_MAX], size[32];

	if (!disk)
		return cli_fail(&e);
	if (derived_method(c, field_text(disk, "name"), "rescan", method, &params, &e) == 0 &&
	    client_do(c, method, params, &e) == 0) {
		struct json_object *now = disk_find(c, a->words[0], &e);

		if (now && !c->json)
			printf("%s has %s\n", field_text(now, "name"),
			       text_size(field_u64(now, "num_blocks") * field_u64(now, "block_size"), size));
		json_object_put(now);
	}
	json_object_put(params);
	json_object_put(disk);
	return e.code ? cli_fail(&e) : CLI_OK;
}

static bool is_remote(struct cli *c, const char *name)
{
	struct err ignored = { 0 };
	struct json_object *disk = disk_find(c, name, &ignored);
	bool remote = field(field(disk, "driver_specific"), "nvme");

	json_object_put(disk);
	return remote;
}

/* A file's size is the file's, that of a RAM disk is the daemon's. */
static const char *instead(struct cli *c, const char *kind, size_t len, const char *verb)
{
	bool rescan = strcmp(verb, "rescan") == 0;
	char method[METHOD_MAX];

	snprintf(method, sizeof(method), "bdev_%.*s_%s", (int)min_u64(len, 64), kind, rescan ? "resize" : "rescan");
	if (strcmp(verb, "delete") == 0 || !cli_method(c, method))
		return "gantry rpc --list shows what there is";
	return rescan ? "its size is changed by gantry disk resize" :
	       "change the size of its file (truncate -s) or device, then: gantry disk rescan";
}

/* bdev_KIND_create made it, bdev_KIND_`verb` is wanted: its name, and those of its parameters that say which disk. */
static int derived_method(struct cli *c, const char *disk, const char *verb, char method[static METHOD_MAX],
                          struct json_object **ret_params, struct err *e)
{
	struct json_object *origin = disk_origin(c, disk), *made = field(origin, "params"), *rows, *params;
	size_t len = 0;
	const char *kind = disk_kind_of(field_text(origin, "method"), &len);

	method[0] = 0;
	if (kind)
		snprintf(method, METHOD_MAX, "bdev_%.*s_%s", (int)min_u64(len, 64), kind, verb);
	if (!kind || !cli_method(c, method)) {
		if (kind)
			err_set(e, -95, "a disk of the kind %.*s cannot %s; %s", (int)len, kind, verb, instead(c, kind, len, verb));
		else if (is_remote(c, disk))
			err_set(e, -95, "%s is a disk of a remote target: its size is what that says, and gantry nvme detach "
			        "takes it away", disk);
		else
			err_set(e, -95, "no bdev_..._create made %s, so what could %s it is not known; gantry rpc --list shows the "
			        "methods", disk, verb);
		json_object_put(origin);
		return e->code;
	}
	params = json_object_new_object();
	rows = field(cli_method(c, method), "params");
	for (size_t i = 0; i < list_count(rows); i++) {
		const char *row = field_text(list_at(rows, i), "name");

		if (!field_bool(list_at(rows, i), "required") || strstr(row, "size"))
			continue;
		if (strcmp(row, "name") != 0 && field(made, row))
			json_object_object_add(params, row, json_object_get(field(made, row)));
		else
			json_object_object_add(params, row, json_object_new_string(disk));
	}
	json_object_put(origin);
	*ret_params = params;
	return 0;
}

/* --- for others --- */

struct json_object *disk_find(struct cli *c, const char *name, struct err *e)
{
	struct err mine = { 0 }, ignored = { 0 };
	struct json_object *found = client_ask(c, &mine, "bdev_get_bdevs", "name", name, NULL), *disk, *all;
	const char *names[NAMES_MAX];
	size_t count = 0;
	char near[160];

	if (found) {
		disk = json_object_get(list_at(found, 0));
		json_object_put(found);
		return disk;
	}
	if (mine.code == CLIENT_UNREACHABLE) {
		*e = mine;
		return NULL;
	}
	all = client_call(c, "bdev_get_bdevs", NULL, &ignored);
	for (; count < list_count(all) && count < NAMES_MAX; count++)
		names[count] = field_text(list_at(all, count), "name");
	err_set(e, -19, "there is no disk \"%s\"%s; gantry disk list shows %s", name,
	        cli_suggest(name, names, count, near, sizeof(near)), count ? "all" : "that there are none");
	json_object_put(all);
	return NULL;
}

const char *disk_kind_of(const char *method, size_t *ret_len)
{
	size_t len = strlen(method);

	if (!text_starts_with(method, "bdev_") || len <= strlen("bdev__create") ||
	    strcmp(method + len - strlen("_create"), "_create") != 0)
		return NULL;
	*ret_len = len - strlen("bdev__create");
	if (strcmp(method + len - strlen("_group_create"), "_group_create") == 0)
		return NULL; /* of disks that are there */
	return method + strlen("bdev_");
}

/* Does this call make the disk? By its name; or what it makes is named after what it is made on: sdap0, EE_sda. */
static int likeness(struct json_object *params, const char *disk)
{
	int best = 0;

	if (strcmp(field_text(params, "name"), disk) == 0)
		return 3;
	json_object_object_foreach(params, key, value) {
		const char *text = json_object_is_type(value, json_type_string) ? json_object_get_string(value) : "";
		const char *at = *text ? strstr(disk, text) : NULL;

		if (strstr(key, "base") && at && at > disk)
			best = 2; /* EE_base */
		else if (strstr(key, "base") && at == disk && strlen(text) < strlen(disk))
			best = best > 1 ? best : 1; /* basep0 */
	}
	return field(params, "name") ? 0 : best;
}

struct json_object *disk_origin(struct cli *c, const char *name)
{
	struct err e = { 0 };
	struct json_object *calls = client_ask(c, &e, "framework_get_config", "name", "bdev", NULL), *best = NULL;
	int most = 0;

	for (size_t i = 0; i < list_count(calls); i++) {
		struct json_object *call = list_at(calls, i);
		size_t len;
		int like;

		if (!disk_kind_of(field_text(call, "method"), &len))
			continue;
		like = likeness(field(call, "params"), name);
		if (like > most) {
			most = like;
			best = call;
		}
	}
	json_object_get(best);
	json_object_put(calls);
	return best;
}
