/* SPDX-License-Identifier: BSD-3-Clause */
/* reservation.c: by whom a disk is reserved: why a host does not get at it. */
#include <stdio.h>

#include "base/text.h"
#include "cli/cli.h"

#define SHOWN_MAX 8 /* of who is registered */

static bool is_reserved(struct json_object *reservation);
static size_t holders(struct json_object *registrants, struct json_object **ret_first);
static void show_registrants(struct json_object *registrants, bool holds, size_t *shown);
static void show_one(struct json_object *who, bool holds);
static const char *name_of(struct json_object *who);
static const char *many(size_t count);

void reservation_show(struct json_object *reservation)
{
	struct json_object *registrants = field(reservation, "registrants");
	size_t count = list_count(registrants), shown = 0;

	if (!reservation)
		return;
	if (is_reserved(reservation))
		printf("  reserved    %s%s\n", field_text(reservation, "type"),
		       field_bool(reservation, "persists") ? "; survives a restart" : "");
	else
		printf("  reserved    by nobody; %zu host%s registered\n", count, many(count));
	if (field(reservation, "holder")) /* RESERVE of SPC-2 registers nobody */
		show_one(field(reservation, "holder"), true);
	show_registrants(registrants, true, &shown);
	show_registrants(registrants, false, &shown);
	if (shown < count)
		printf("  and         %zu more\n", count - shown);
}

static void show_registrants(struct json_object *registrants, bool holds, size_t *shown)
{
	for (size_t i = 0; i < list_count(registrants) && *shown < SHOWN_MAX; i++) {
		struct json_object *who = list_at(registrants, i);

		if (field_bool(who, "holds") != holds)
			continue;
		show_one(who, holds);
		*shown += 1;
	}
}

/* Names of hosts are long: on lines of their own, whole where they fit. */
static void show_one(struct json_object *who, bool holds)
{
	const char *key = field_text(who, "key");
	size_t width = cli_width();
	char buf[512];
	struct text name = text_over(buf, sizeof(buf));

	text_add_cut(&name, name_of(who), width > 24 ? width - 4 : 20);
	printf("  %s  %s%s%s\n    %s\n", holds ? "held by   " : "registered",
	       strcmp(field_text(who, "kind"), "nvme") == 0 ? "NVMe host" : "SCSI initiator", *key ? ", key " : "", key,
	       buf);
}

void reservation_show_status(struct json_object *reservation, void (*line)(const char *fmt, ...))
{
	struct json_object *registrants = field(reservation, "registrants"), *first;
	size_t count = list_count(registrants), held = holders(registrants, &first);

	if (!is_reserved(reservation))
		return; /* what somebody may do later binds nobody now */
	if (count)
		line("  reserved  %s; %zu host%s registered", field_text(reservation, "type"), count, many(count));
	else
		line("  reserved  %s", field_text(reservation, "type"));
	if (held > 1)
		line("  held by   all of them");
	else
		line("  held by   %s", name_of(held ? first : field(reservation, "holder")));
}

static bool is_reserved(struct json_object *reservation)
{
	const char *type = field_text(reservation, "type");

	return *type && strcmp(type, "none") != 0;
}

static size_t holders(struct json_object *registrants, struct json_object **ret_first)
{
	size_t held = 0;

	*ret_first = NULL;
	for (size_t i = 0; i < list_count(registrants); i++) {
		struct json_object *who = list_at(registrants, i);

		if (field_bool(who, "holds") && held++ == 0)
			*ret_first = who;
	}
	return held;
}

/* An initiator may have several ports. */
static const char *name_of(struct json_object *who)
{
	const char *port = field_text(who, "initiator_port");

	return *port ? port : field_text(who, "name");
}

static const char *many(size_t count)
{
	return count == 1 ? " is" : "s are";
}
