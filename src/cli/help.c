/* SPDX-License-Identifier: BSD-3-Clause */
/* help.c: help on methods, from the daemon's description of them; and the noun that finds any help. */
#include <stdio.h>

#include "base/text.h"
#include "cli/cli.h"

static int run_help(struct cli *c, struct cli_args *a);
static void print_example_params(struct json_object *rows, const char *prefix);
static void print_rows(struct json_object *rows, const char *prefix);
static void print_row(struct json_object *row, const char *prefix);

static const struct cli_verb verbs[] = {
	{ NULL, "[NOUN|METHOD] [VERB]", "help on everything, on a noun, on a verb, or on a method of the RPC", run_help,
	  .example = "gantry help disk create\ngantry help bdev_get_bdevs" },
};
const struct cli_noun help_noun = { "help", "this, or help on a noun, a verb or a method", verbs, ARRAY_SIZE(verbs) };

static int run_help(struct cli *c, struct cli_args *a)
{
	const struct cli_noun *noun = a->word_count ? cli_find_noun(a->words[0]) : NULL;
	const struct cli_verb *verb = noun && a->word_count > 1 ? cli_find_verb(noun, a->words[1]) : NULL;

	if (!a->word_count && c->json) {
		struct json_object *all = usage_as_json();

		cli_print_json(all);
		json_object_put(all);
	} else if (!a->word_count) {
		usage_all();
	} else if (!noun && strchr(a->words[0], '_')) {
		return help_method(c, a->words[0]);
	} else if (!noun) {
		const char *names[64];
		size_t count = 0;
		char near[128];

		for (; cli_nouns[count]; count++)
			names[count] = cli_nouns[count]->name;
		return cli_misuse("there is no command \"%s\"%s; gantry --help lists them, gantry rpc --list the methods",
		                  a->words[0], cli_suggest(a->words[0], names, count, near, sizeof(near)));
	} else if (strcmp(noun->name, "rpc") == 0) {
		return help_method(c, NULL);
	} else if (verb) {
		usage_verb(noun, verb, NULL);
	} else {
		usage_noun(noun);
	}
	return CLI_OK;
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
		       "  num_blocks=1M                      a number; units are powers of 1024\n"
		       "  allow_any_host                     a bool alone is true\n"
		       "  hosts=[a,b]                        a list\n"
		       "  listen_address.traddr=127.0.0.1    a member of an object\n"
		       "  namespace='{\"nsid\": 1}'            an object as JSON\n"
		       "  subsystems=@file                   a value from a file of JSON;\n"
		       "                                     @file alone: all parameters\n\n"
		       "Example:\n"
		       "    gantry rpc bdev_get_bdevs name=disk0\n");
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
		printf("\nExample:\n    gantry rpc %s", field_text(d, "name"));
		print_example_params(field(d, "params"), "");
		printf("\n");
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

/* What is required, with values that fit: of their kind, and, for what has a usual value, that one. */
static void print_example_params(struct json_object *rows, const char *prefix)
{
	static const struct {
		const char *name, *value;
	} usual[] = {
		{ "nqn", CLI_NQN_PREFIX "disk0" }, { "trtype", "TCP" }, { "traddr", "127.0.0.1" }, { "cpumask", "0x1" },
		{ "host", "nqn.2014-08.org.nvmexpress:uuid:12345678-1234-1234-1234-123456789abc" },
		{ "filename", "/var/tmp/disk.img" }, { "block_size", "4096" }, { "num_blocks", "262144" }, { "new_size",
				"2048" },
		{ "flag", "all" }, { "subsystems", "@config.json" }, { "sig_name", "SIGTERM" },
	};

	for (size_t i = 0; i < list_count(rows); i++) {
		struct json_object *row = list_at(rows, i), *choices = field(row, "choices");
		const char *name = field_text(row, "name"), *type = field_text(row, "type"), *value = NULL;
		char number[32], within[256];

		if (!field_bool(row, "required"))
			continue;
		if (strcmp(type, "object") == 0) {
			snprintf(within, sizeof(within), "%s%s.", prefix, name);
			print_example_params(field(row, "params"), within);
			continue;
		}
		for (size_t k = 0; k < ARRAY_SIZE(usual); k++)
			if (strcmp(usual[k].name, name) == 0)
				value = usual[k].value;
		snprintf(number, sizeof(number), "%lu", max_u64(field_u64(row, "min"), 1));
		if (!value && list_count(choices))
			value = json_object_get_string(list_at(choices, 0));
		if (!value)
			value = strcmp(type, "bool") == 0 ? "true" : type[0] == 'i' || (type[0] == 'u' && type[1] != 'u') ? number
			                                                                                               : "disk0";
		printf(" %s%s=%s", prefix, name, value);
	}
}

static void print_rows(struct json_object *rows, const char *prefix)
{
	for (size_t i = 0; i < list_count(rows); i++)
		print_row(json_object_array_get_idx(rows, i), prefix);
}

static void print_row(struct json_object *row, const char *prefix)
{
	char name[256];

	snprintf(name, sizeof(name), "%s%s", prefix, field_text(row, "name"));
	help_row(row, name, 2);
	if (list_count(field(row, "params"))) {
		size_t len = strlen(name);

		snprintf(name + len, sizeof(name) - len, "%s", strcmp(field_text(row, "type"), "objects") == 0 ? "[]." : ".");
		print_rows(field(row, "params"), name);
	}
}

void help_row(struct json_object *row, const char *name, size_t indent)
{
	char facts_buf[512], doc_buf[1024];
	struct text facts = text_over(facts_buf, sizeof(facts_buf)), doc = text_over(doc_buf, sizeof(doc_buf));
	struct json_object *choices = field(row, "choices");
	const char *type = field_text(row, "type"), *unit = field_text(row, "unit");

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
	printf("%*s%-28s %s\n", (int)indent, "", name, facts.buf);
	if (field_bool(row, "ignored"))
		text_add(&doc, "Accepted without effect.%s", *field_text(row, "doc") ? " " : "");
	text_add(&doc, "%s", field_text(row, "doc"));
	for (size_t i = 0; i < list_count(choices); i++)
		text_add(&doc, "%s%s", i ? ", " : " One of: ", json_object_get_string(json_object_array_get_idx(choices, i)));
	if (doc.len)
		print_wrapped(doc.buf, indent + 4);
}
