/* SPDX-License-Identifier: BSD-3-Clause */
/* export_vhost.c: gantry export to virtual machines: a vhost controller, and the options that QEMU wants. */
#include <stdio.h>

#include "base/text.h"
#include "cli/cli.h"

static struct json_object *controllers(struct cli *c)
{
	struct err ignored = { 0 };

	return client_call(c, "vhost_get_controllers", NULL, &ignored);
}

static const char *disk_of(struct json_object *ctrlr)
{
	return field_text(field(field(ctrlr, "backend_specific"), "block"), "bdev");
}

struct json_object *vhost_export_of_disk(struct json_object *ctrlrs, const char *disk)
{
	for (size_t i = 0; i < list_count(ctrlrs); i++)
		if (strcmp(disk_of(list_at(ctrlrs, i)), disk) == 0)
			return list_at(ctrlrs, i);
	return NULL;
}

/* By its name, or its disk's. */
static struct json_object *find(struct json_object *all, const char *name)
{
	struct json_object *found = list_find(all, "ctrlr", name);

	return found ? found : vhost_export_of_disk(all, name);
}

/* Memory that can be shared, the socket, the device. `client`: QEMU listens. */
static void qemu_lines(struct json_object *lines, struct json_object *ctrlr)
{
	const char *name = field_text(ctrlr, "ctrlr"), *socket = field_text(ctrlr, "socket");
	char line[1024];
	struct text t = text_over(line, sizeof(line));

	json_object_array_add(lines, json_object_new_string("-object memory-backend-memfd,id=mem,size=2G,share=on -m 2G "
	                                                    "-numa node,memdev=mem"));
	text_add(&t, "-chardev socket,id=%s,path=%s,%s", name, socket,
	         field_bool(ctrlr, "client") ? "server=on" : "reconnect=1");
	json_object_array_add(lines, json_object_new_string(line));
	t = text_over(line, sizeof(line));
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

int vhost_export_disk(struct cli *c, struct cli_args *a)
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

void vhost_export_rows(struct cli *c, struct table *t)
{
	struct json_object *all = controllers(c);

	for (size_t i = 0; i < list_count(all); i++) {
		struct json_object *ctrlr = list_at(all, i);

		table_cell(t, "%s", field_text(ctrlr, "ctrlr"));
		table_cell(t, "%s", disk_of(ctrlr));
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

bool vhost_export_show(struct cli *c, const char *name)
{
	struct json_object *all = controllers(c), *ctrlr = find(all, name);

	if (ctrlr && c->json) {
		cli_print_json(ctrlr);
	} else if (ctrlr) {
		printf("%s\n  socket      %s\n  disk        %s\n  connected   %zu\n", field_text(ctrlr, "ctrlr"),
		       field_text(ctrlr, "socket"), disk_of(ctrlr), list_count(field(ctrlr, "sessions")));
		say_lines(ctrlr);
	}
	json_object_put(all);
	return ctrlr != NULL;
}

bool vhost_export_remove(struct cli *c, const char *name, struct err *e)
{
	struct json_object *all = controllers(c), *ctrlr = find(all, name), *params;
	bool found = ctrlr != NULL;

	if (found) {
		params = json_object_new_object();
		json_object_object_add(params, "ctrlr", json_object_new_string(field_text(ctrlr, "ctrlr")));
		if (client_do(c, "vhost_delete_controller", params, e) == 0 && !c->json)
			printf("%s is gone\n", field_text(ctrlr, "ctrlr"));
		json_object_put(params);
	}
	json_object_put(all);
	return found;
}
