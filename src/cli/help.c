/* SPDX-License-Identifier: BSD-3-Clause */
/* help.c: help on methods, from the daemon's description of them. */
#include <stdio.h>

#include "base/text.h"
#include "cli/cli.h"

static void print_wrapped(const char *text, size_t indent);
static void print_rows(struct json_object *rows, const char *prefix);
static void print_row(struct json_object *row, const char *prefix);

int help_command(struct cli *c, int argc, char **argv)
{
	if (argc > 1 && strcmp(argv[1], "rpc") == 0)
		return help_method(c, NULL);
	return help_method(c, argv[1]);
}

int help_method(struct cli *c, const char *method)
{
	struct json_object *m, *params;
	struct err e = { 0 };

	if (!method) {
		printf("Usage: gantry rpc METHOD [key=value]...\n"
		       "       gantry rpc --list             all methods\n"
		       "       gantry rpc METHOD --help      its parameters\n\n"
		       "  name=disk0                         text\n"
		       "  num_blocks=1M                      a number; units as in 64k, 1.5GiB are powers of 1024\n"
		       "  allow_any_host                     a bool alone is true\n"
		       "  hosts=[a,b]                        a list\n"
		       "  listen_address.traddr=127.0.0.1    a member of an object\n"
		       "  namespace='{\"nsid\": 1}'            an object as JSON\n"
		       "  subsystems=@file                   a value from a file of JSON; @file alone: all parameters\n");
		return CLI_OK;
	}
	params = json_object_new_object();
	json_object_object_add(params, "method", json_object_new_string(method));
	m = client_call(c, "rpc_describe", params, &e);
	json_object_put(params);
	if (!m)
		return cli_fail(&e);
	if (c->json) {
		cli_print_json(json_object_array_get_idx(field(m, "methods"), 0));
	} else if (list_count(field(m, "methods"))) {
		struct json_object *d = json_object_array_get_idx(field(m, "methods"), 0);

		printf("%s", field_text(d, "name"));
		if (*field_text(d, "alias"))
			printf(" (older name: %s)", field_text(d, "alias"));
		printf("\n");
		print_wrapped(field_text(d, "doc"), 2);
		if (list_count(field(d, "params"))) {
			printf("\nParameters\n");
			print_rows(field(d, "params"), "");
		}
		printf("\nResult\n");
		print_wrapped(field_text(d, "returns"), 2);
	}
	json_object_put(m);
	return CLI_OK;
}

int help_list(struct cli *c)
{
	struct err e = { 0 };
	struct json_object *all = client_call(c, "rpc_describe", NULL, &e), *methods = field(all, "methods");
	size_t widest = 0;

	if (!all)
		return cli_fail(&e);
	for (size_t i = 0; i < list_count(methods); i++)
		widest = max_u64(widest, strlen(field_text(json_object_array_get_idx(methods, i), "name")));
	if (c->json)
		cli_print_json(methods);
	for (size_t i = 0; i < list_count(methods) && !c->json; i++) {
		struct json_object *m = json_object_array_get_idx(methods, i);
		size_t room = cli_width();

		room = room == SIZE_MAX ? 4096 : room > widest + 3 ? room - widest - 3 : 1;
		if (!field_bool(m, "ignored"))
			printf("%-*s  %.*s\n", (int)widest, field_text(m, "name"), (int)room, field_text(m, "doc"));
	}
	json_object_put(all);
	return CLI_OK;
}

static void print_rows(struct json_object *rows, const char *prefix)
{
	for (size_t i = 0; i < list_count(rows); i++)
		print_row(json_object_array_get_idx(rows, i), prefix);
}

static void print_row(struct json_object *row, const char *prefix)
{
	char name[256], facts_buf[512], doc_buf[1024];
	struct text facts = text_over(facts_buf, sizeof(facts_buf)), doc = text_over(doc_buf, sizeof(doc_buf));
	struct json_object *choices = field(row, "choices");
	const char *type = field_text(row, "type"), *unit = field_text(row, "unit");

	snprintf(name, sizeof(name), "%s%s", prefix, field_text(row, "name"));
	text_add(&facts, "%s", type);
	if (*unit)
		text_add(&facts, ", %s", unit);
	if (field_bool(row, "required"))
		text_add(&facts, ", required");
	if (*field_text(row, "default"))
		text_add(&facts, ", default %s", field_text(row, "default"));
	if (field(row, "min"))
		text_add(&facts, ", from %lu", field_u64(row, "min"));
	if (field(row, "max") && field_u64(row, "max") < UINT32_MAX && field_u64(row, "max") != UINT16_MAX)
		text_add(&facts, "%s to %lu", field(row, "min") ? "" : ", up", field_u64(row, "max"));
	if (field(row, "multiple_of"))
		text_add(&facts, ", a multiple of %lu", field_u64(row, "multiple_of"));
	if (*field_text(row, "alias"))
		text_add(&facts, ", older name %s", field_text(row, "alias"));
	printf("  %-28s %s\n", name, facts.buf);
	if (field_bool(row, "ignored"))
		text_add(&doc, "Accepted without effect.%s", *field_text(row, "doc") ? " " : "");
	text_add(&doc, "%s", field_text(row, "doc"));
	for (size_t i = 0; i < list_count(choices); i++)
		text_add(&doc, "%s%s", i ? ", " : " One of: ", json_object_get_string(json_object_array_get_idx(choices, i)));
	if (doc.len)
		print_wrapped(doc.buf, 6);
	if (list_count(field(row, "params"))) {
		size_t len = strlen(name);

		snprintf(name + len, sizeof(name) - len, "%s", strcmp(type, "objects") == 0 ? "[]." : ".");
		print_rows(field(row, "params"), name);
	}
}

/* At spaces, indented, as wide as the terminal but not wider than is good to read. */
static void print_wrapped(const char *text, size_t indent)
{
	size_t width = min_u64(cli_width(), 100);

	width = width > indent + 20 ? width - indent : 20;
	while (*text) {
		size_t len = strlen(text);

		if (len > width) {
			len = width;
			while (len && text[len] != ' ')
				len--;
			if (!len)
				len = strcspn(text, " ");
		}
		printf("%*s%.*s\n", (int)indent, "", (int)len, text);
		text += len;
		text += strspn(text, " ");
	}
}
