/* SPDX-License-Identifier: BSD-3-Clause */
/* export_vhost.c: gantry export to virtual machines: a vhost controller, and the options that QEMU wants. */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "base/text.h"
#include "cli/doctor.h"

static const char *plural(size_t count)
{
	return count == 1 ? "" : "s";
}

static struct json_object *controllers(struct cli *c)
{
	struct err ignored = { 0 };

	return client_call(c, "vhost_get_controllers", NULL, &ignored);
}

static const char *disk_of(struct json_object *ctrlr)
{
	return field_text(field(field(ctrlr, "backend_specific"), "block"), "bdev");
}

/* "" unless its disk went away. */
static const char *lost_disk_of(struct json_object *ctrlr)
{
	return field_text(field(field(ctrlr, "backend_specific"), "block"), "lost_bdev");
}

/* The target of a SCSI host that a disk is; NULL: none, or it is no such host. */
static struct json_object *target_of(struct json_object *ctrlr, const char *disk)
{
	struct json_object *targets = field(field(ctrlr, "backend_specific"), "scsi");

	for (size_t i = 0; i < list_count(targets); i++)
		if (list_find(field(list_at(targets, i), "luns"), "bdev_name", disk))
			return list_at(targets, i);
	return NULL;
}

struct json_object *vhost_export_of_disk(struct json_object *ctrlrs, const char *disk, size_t *at)
{
	while (*at < list_count(ctrlrs)) {
		struct json_object *ctrlr = list_at(ctrlrs, (*at)++);

		if (strcmp(disk_of(ctrlr), disk) == 0 || target_of(ctrlr, disk))
			return ctrlr;
	}
	return NULL;
}

static const char *read_only(struct json_object *ctrlr)
{
	return field_bool(field(field(ctrlr, "backend_specific"), "block"), "readonly") ? ", read only" : "";
}

/* Its disk, or those of its targets. */
static const char *disks_of(struct json_object *ctrlr, char *buf, size_t size)
{
	struct json_object *targets = field(field(ctrlr, "backend_specific"), "scsi");
	struct text t = text_over(buf, size);

	text_add(&t, "%s", disk_of(ctrlr));
	for (size_t i = 0; i < list_count(targets); i++) {
		struct json_object *lun = list_at(field(list_at(targets, i), "luns"), 0);

		if (lun)
			text_add(&t, "%s%s", t.len ? ", " : "", field_text(lun, "bdev_name"));
	}
	if (t.cut)
		text_end_with(&t, "...");
	return buf;
}

/* By its name; or, one after the other, those of the disk of that name. */
static struct json_object *next(struct json_object *all, const char *name, size_t *at)
{
	struct json_object *named = list_find(all, "ctrlr", name);

	if (!named)
		return vhost_export_of_disk(all, name, at);
	return (*at)++ ? NULL : named;
}

/* A name as QEMU's identifiers are: a letter, then letters, digits, '-', '.' and '_'. */
static const char *qemu_id(const char *name, char *buf, size_t size)
{
	struct text t = text_over(buf, size);

	text_add(&t, "%s", isalpha((unsigned char)*name) ? "" : "vm-");
	for (; *name; name++)
		text_add(&t, "%c", isalnum((unsigned char)*name) || strchr("-._", *name) ? *name : '-');
	return buf;
}

/* A value in one of QEMU's lists: a comma stands there twice. */
static const char *qemu_value(const char *value, char *buf, size_t size)
{
	struct text t = text_over(buf, size);

	for (; *value; value++)
		text_add(&t, "%c%s", *value, *value == ',' ? "," : "");
	return buf;
}

/* Memory that can be shared, the socket, the device. `client`: QEMU listens. */
static void qemu_lines(struct json_object *lines, struct json_object *ctrlr)
{
	char id[256], path[256], line[1024];
	const char *name = qemu_id(field_text(ctrlr, "ctrlr"), id, sizeof(id));
	const char *socket = qemu_value(field_text(ctrlr, "socket"), path, sizeof(path));
	struct text t = text_over(line, sizeof(line));
	bool is_scsi = field(field(ctrlr, "backend_specific"), "scsi") != NULL; /* older QEMUs refuse to reconnect it */

	json_object_array_add(lines, json_object_new_string("-object memory-backend-memfd,id=mem,size=2G,share=on -m 2G "
	                                                    "-numa node,memdev=mem"));
	text_add(&t, "-chardev socket,id=%s,path=%s,%s", name, socket,
	         field_bool(ctrlr, "client") ? "server=on" : is_scsi ? "server=off" : "reconnect=1");
	json_object_array_add(lines, json_object_new_string(line));
	t = text_over(line, sizeof(line));
	if (is_scsi)
		text_add(&t, "-device vhost-user-scsi-pci,chardev=%s,num_queues=4", name);
	else
		text_add(&t, "-device vhost-user-blk-pci,chardev=%s,num-queues=4", name);
	json_object_array_add(lines, json_object_new_string(line));
}

static void say_lines(struct json_object *ctrlr)
{
	struct json_object *lines = json_object_new_array();

	qemu_lines(lines, ctrlr);
	printf("Options for QEMU, whose memory has to be shared; write your own size and number of queues:\n");
	for (size_t i = 0; i < list_count(lines); i++)
		printf("  %s\n", json_object_get_string(list_at(lines, i)));
	json_object_put(lines);
}

/* One that shows this disk by this name already will do. */
static int make(struct cli *c, const char *name, const char *disk, struct err *e)
{
	struct json_object *all = client_call(c, "vhost_get_controllers", NULL, e), *ctrlr = list_find(all, "ctrlr", name);
	struct json_object *params = json_object_new_object();
	int rc = e->code;

	json_object_object_add(params, "ctrlr", json_object_new_string(name));
	json_object_object_add(params, "dev_name", json_object_new_string(disk));
	if (!e->code && (!ctrlr || strcmp(disk_of(ctrlr), disk) != 0))
		rc = client_do(c, "vhost_create_blk_controller", params, e);
	json_object_put(params);
	json_object_put(all);
	return rc;
}

static int export_disk(struct cli *c, struct cli_args *a);

/* What is meant for other ways of serving would be lost without a word. */
static const struct cli_option *stranger(struct cli_args *a)
{
	for (size_t i = 0; i < a->given_count; i++)
		if (strcmp(a->given[i].option->name, "vhost") != 0 && strcmp(a->given[i].option->name, "name") != 0)
			return a->given[i].option;
	return NULL;
}

int vhost_export_disk(struct cli *c, struct cli_args *a)
{
	const struct cli_option *other = stranger(a);

	if (other)
		return cli_misuse("--vhost makes a socket for virtual machines of this machine; with it there is --name, and "
		                  "no --%s", other->name);
	return export_disk(c, a);
}

static int export_disk(struct cli *c, struct cli_args *a)
{
	struct err e = { 0 };
	struct json_object *disk = disk_find(c, a->words[0], &e), *all = NULL, *ctrlr;
	const char *name = args_has(a, "name") ? args_value(a, "name") : field_text(disk, "name");

	if (!e.code && !make(c, name, field_text(disk, "name"), &e))
		all = client_call(c, "vhost_get_controllers", NULL, &e);
	ctrlr = list_find(all, "ctrlr", name);
	if (ctrlr && c->json) {
		struct json_object *lines = json_object_new_array();

		qemu_lines(lines, ctrlr);
		json_object_object_add(ctrlr, "connect", lines);
		cli_print_json(ctrlr);
	} else if (ctrlr) {
		printf("Serving %s to virtual machines at %s.\n", field_text(disk, "name"), field_text(ctrlr, "socket"));
		say_lines(ctrlr);
	}
	json_object_put(all);
	json_object_put(disk);
	return e.code ? cli_fail(&e) : CLI_OK;
}

bool vhost_export_exists(struct cli *c, const char *name)
{
	struct json_object *all = controllers(c);
	size_t at = 0;
	bool found = next(all, name, &at) != NULL;

	json_object_put(all);
	return found;
}

void vhost_export_rows(struct cli *c, struct table *t)
{
	struct json_object *all = controllers(c);

	for (size_t i = 0; i < list_count(all); i++) {
		struct json_object *ctrlr = list_at(all, i);
		char disks[256];

		table_cell(t, "%s", field_text(ctrlr, "ctrlr"));
		table_cell(t, "%s", disks_of(ctrlr, disks, sizeof(disks)));
		table_cell(t, "%s", field_text(ctrlr, "socket"));
		table_cell(t, "any");
		table_cell(t, "%zu", list_count(field(ctrlr, "sessions")));
	}
	json_object_put(all);
}

void vhost_export_add_json(struct cli *c, struct json_object *array)
{
	struct json_object *all = controllers(c);

	for (size_t i = 0; i < list_count(all); i++)
		json_object_array_add(array, json_object_get(list_at(all, i)));
	json_object_put(all);
}

static void show(struct json_object *ctrlr)
{
	char disks[2048];

	if (!*disks_of(ctrlr, disks, sizeof(disks)))
		snprintf(disks, sizeof(disks), "%s%s", lost_disk_of(ctrlr), *lost_disk_of(ctrlr) ? ", GONE" : "none");
	printf("%s\n  socket      %s\n  disk        %s%s\n  connected   %zu\n", field_text(ctrlr, "ctrlr"),
	       field_text(ctrlr, "socket"), disks, read_only(ctrlr),
	       list_count(field(ctrlr, "sessions")));
	say_lines(ctrlr);
}

bool vhost_export_show(struct cli *c, const char *name)
{
	struct json_object *all = controllers(c), *ctrlr;
	bool found = false;
	size_t at = 0;

	while ((ctrlr = next(all, name, &at))) {
		if (c->json)
			cli_print_json(ctrlr);
		else
			show(ctrlr);
		found = true;
	}
	json_object_put(all);
	return found;
}

/* Of a disk among others of a SCSI host only that one: the others stay. */
static void remove_one(struct cli *c, struct json_object *ctrlr, const char *name, struct err *e)
{
	struct json_object *target = strcmp(field_text(ctrlr, "ctrlr"), name) ? target_of(ctrlr, name) : NULL;
	struct json_object *params = json_object_new_object();

	json_object_object_add(params, "ctrlr", json_object_new_string(field_text(ctrlr, "ctrlr")));
	if (target)
		json_object_object_add(params, "scsi_target_num", json_object_new_uint64(field_u64(target, "scsi_dev_num")));
	if (client_do(c, target ? "vhost_scsi_controller_remove_target" : "vhost_delete_controller", params, e) == 0 &&
	    !c->json && target)
		printf("%s is no more a target of %s\n", name, field_text(ctrlr, "ctrlr"));
	else if (!e->code && !c->json)
		printf("%s is gone\n", field_text(ctrlr, "ctrlr"));
	json_object_put(params);
}

bool vhost_export_remove(struct cli *c, const char *name, struct err *e)
{
	struct json_object *all = controllers(c), *ctrlr;
	struct err why = { 0 };
	bool found = false;
	size_t at = 0;

	while (!why.code && (ctrlr = next(all, name, &at))) {
		remove_one(c, ctrlr, name, &why);
		found = true;
	}
	if (why.code)
		*e = why;
	json_object_put(all);
	return found;
}

/* --- for gantry host, top, the status page and doctor --- */

/* "reactor_0, reactor_1", each once. */
static void add_cores(struct json_object *host, struct json_object *queues)
{
	char cores[512];
	struct text t = text_over(cores, sizeof(cores));
	uint64_t seen = 0;

	for (size_t i = 0; i < list_count(queues); i++) {
		uint64_t core = field_u64(list_at(queues, i), "reactor");

		if (core < 64 && !(seen >> core & 1))
			text_add(&t, "%sreactor_%lu", seen ? ", " : "", core);
		seen |= 1ull << (core & 63);
	}
	json_object_object_add(host, "cores", json_object_new_string(cores));
}

/* A front-end has no name but its session's. */
void vhost_add_hosts(struct cli *c, struct json_object *into)
{
	struct json_object *all = controllers(c);

	for (size_t i = 0; i < list_count(all); i++) {
		struct json_object *ctrlr = list_at(all, i), *sessions = field(ctrlr, "sessions");

		for (size_t k = 0; k < list_count(sessions); k++) {
			struct json_object *s = list_at(sessions, k), *queues = field(s, "queues");
			struct json_object *h = host_entry(into, field_text(s, "name"), field_text(ctrlr, "ctrlr"));

			json_object_object_add(h, "from", json_object_new_string(CLI_FROM_VHOST));
			json_object_object_add(h, "controllers", json_object_new_uint64(1));
			json_object_object_add(h, "queues", json_object_new_uint64(list_count(queues)));
			add_cores(h, queues);
		}
	}
	json_object_put(all);
}

static void show_disks(struct json_object *ctrlr, void (*line)(const char *fmt, ...))
{
	struct json_object *targets = field(field(ctrlr, "backend_specific"), "scsi");

	if (!targets)
		line("  disk       %s%s%s%s", disk_of(ctrlr), lost_disk_of(ctrlr), *disk_of(ctrlr) ? "" : ", GONE",
		     read_only(ctrlr));
	for (size_t i = 0; i < list_count(targets); i++) {
		struct json_object *t = list_at(targets, i);

		const char *disk = field_text(list_at(field(t, "luns"), 0), "bdev_name");

		line("  target     %lu: %s%s%s", field_u64(t, "scsi_dev_num"), disk, field_text(t, "lost_bdev"),
		     *disk ? "" : ", GONE");
	}
}

static size_t broken_queues(struct json_object *session)
{
	struct json_object *queues = field(session, "queues");
	size_t count = 0;

	for (size_t i = 0; i < list_count(queues); i++)
		count += field_bool(list_at(queues, i), "broken");
	return count;
}

void vhost_show_status(struct cli *c, void (*line)(const char *fmt, ...))
{
	struct json_object *all = controllers(c);

	if (list_count(all))
		line("\nVHOST CONTROLLER");
	for (size_t i = 0; i < list_count(all); i++) {
		struct json_object *ctrlr = list_at(all, i), *sessions = field(ctrlr, "sessions");

		line("%s", field_text(ctrlr, "ctrlr"));
		line("  %s %s", field_bool(ctrlr, "client") ? "connects  " : "listens   ", field_text(ctrlr, "socket"));
		show_disks(ctrlr, line);
		for (size_t k = 0; k < list_count(sessions); k++) {
			struct json_object *s = list_at(sessions, k), *host = json_object_new_object();
			struct json_object *queues = field(s, "queues");

			add_cores(host, queues);
			if (list_count(queues))
				line("  connected  %s, %zu queue%s on %s%s", field_text(s, "name"), list_count(queues),
				     plural(list_count(queues)), field_text(host, "cores"), broken_queues(s) ? ", SOME STOPPED" : "");
			else
				line("  connected  %s, no driver yet", field_text(s, "name"));
			json_object_put(host);
		}
	}
	json_object_put(all);
}

/* NULL: all are there. */
static struct json_object *lost_target_of(struct json_object *ctrlr)
{
	struct json_object *targets = field(field(ctrlr, "backend_specific"), "scsi");

	for (size_t i = 0; i < list_count(targets); i++)
		if (*field_text(list_at(targets, i), "lost_bdev"))
			return list_at(targets, i);
	return NULL;
}

/* What would keep a machine from its disk. True: there was something. */
static bool look_at_ctrlr(struct doctor *d, struct json_object *ctrlr)
{
	struct json_object *specific = field(ctrlr, "backend_specific"), *sessions = field(ctrlr, "sessions");
	const char *name = field_text(ctrlr, "ctrlr"), *socket = field_text(ctrlr, "socket");
	size_t broken = 0;
	char fix[600];

	for (size_t i = 0; i < list_count(sessions); i++)
		broken += broken_queues(list_at(sessions, i));
	if (field(specific, "block") && !*disk_of(ctrlr))
		doctor_say(d, "vhost", DOCTOR_PROBLEM, NULL, "%s has lost its disk %s: requests end with errors until a "
		           "disk of that name is there again", name, lost_disk_of(ctrlr));
	else if (!field_bool(ctrlr, "client") && *socket == '/' && access(socket, F_OK) < 0)
		doctor_say(d, "vhost", DOCTOR_PROBLEM, NULL, "%s: its socket %s cannot be found from here (%s): no machine can "
		           "connect; remove the export and make it again", name, socket, strerror(errno));
	else if (broken)
		doctor_say(d, "vhost", DOCTOR_WARNING, NULL, "%s: %zu queue%s stopped, because the driver broke "
		           "the rules; the daemon's log says how, and a reset of the device starts queues again", name, broken,
		           plural(broken));
	else if (field(specific, "scsi") && !list_count(field(specific, "scsi"))) {
		snprintf(fix, sizeof(fix), "gantry rpc vhost_scsi_controller_add_target ctrlr=%s scsi_target_num=0 "
		         "bdev_name=DISK", name);
		doctor_say(d, "vhost", DOCTOR_WARNING, fix, "%s has no target: machines find nothing there", name);
	} else if (lost_target_of(ctrlr))
		doctor_say(d, "vhost", DOCTOR_WARNING, NULL, "%s: target %lu is away with its disk %s, and comes back with it",
		           name, field_u64(lost_target_of(ctrlr), "scsi_dev_num"),
		           field_text(lost_target_of(ctrlr), "lost_bdev"));
	else
		return false;
	return true;
}

void doctor_vhost(struct doctor *d)
{
	struct json_object *all = d->unreachable.code ? NULL : controllers(d->c);
	bool any = false;

	for (size_t i = 0; i < list_count(all); i++)
		any = look_at_ctrlr(d, list_at(all, i)) || any;
	if (list_count(all) && !any)
		doctor_say(d, "vhost", DOCTOR_OK, NULL, "%zu controller%s, with disk and socket", list_count(all),
		           plural(list_count(all)));
	json_object_put(all);
}
