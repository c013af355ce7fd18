/* SPDX-License-Identifier: BSD-3-Clause */
/* usage.c: help on the tool itself, from the tables of nouns and verbs. */
#include <stdio.h>

#include "base/text.h"
#include "cli/cli.h"

#define WIDTH_READABLE 100
#define OPTION_COLUMN 28

static const char *const global_options[][2] = {
	{ "-s, --socket PATH", "The daemon's socket; else $GANTRY_SOCKET, " CLI_SERVICE_SOCKET " if it is there, "
	  CLI_SOCKET },
	{ "--json", "Results as JSON, for programs" },
	{ "-t, --timeout SECONDS", "How long to wait for an answer; 60 is the default, 0 waits for ever" },
	{ "-?, --help", "Help on this, on a noun or on a verb" },
	{ "-V, --version", "The program's version" },
};

static const char about[] = "Looks after a gantryd, the daemon that serves disks over NVMe/TCP, NVMe/RDMA, iSCSI "
	"and vhost-user: makes disks, exports them to hosts, and shows what they do. Start the daemon with: gantryd";

static const char example[] =
	"gantry disk create ram 1G --name disk0\n"
	"gantry export disk disk0\n"
	"gantry status\n"
	"gantry top --once\n"
	"gantry export remove disk0\n"
	"gantry disk delete disk0\n";

static const char exit_statuses[] = "Exit status: 0 success, 1 the daemon refused (or doctor found a problem), 2 wrong "
	"use, 3 no daemon answers.";

static void print_verbs(const struct cli_noun *noun);
static void print_example(const char *lines);
static void print_pair(const char *left, const char *right, size_t column);
static void print_globals(void);
static struct json_object *verb_as_json(const struct cli_verb *verb);

void usage_all(void)
{
	printf("Usage: gantry [OPTION]... NOUN [VERB] [ARGUMENT]...\n\n");
	print_wrapped(about, 0);
	printf("\n");
	for (size_t i = 0; cli_nouns[i]; i++) {
		const struct cli_noun *n = cli_nouns[i];
		char verbs[256];
		struct text t = text_over(verbs, sizeof(verbs));

		text_add(&t, "%s", n->doc);
		for (size_t v = 0; v < n->verb_count && n->verbs[v].name; v++)
			text_add(&t, "%s%s", v ? ", " : ": ", n->verbs[v].name);
		print_pair(n->name, verbs, 14);
	}
	printf("\n");
	print_globals();
	printf("\ngantry NOUN --help shows a noun's verbs, gantry NOUN VERB --help their arguments.\n");
	print_wrapped(exit_statuses, 0);
	printf("\nFrom nothing to a disk that is served and watched, and back:\n");
	print_example(example);
}

void usage_noun(const struct cli_noun *noun)
{
	if (!noun->verbs[0].name) {
		usage_verb(noun, &noun->verbs[0], NULL);
		return;
	}
	printf("Usage: gantry %s VERB [ARGUMENT]... [OPTION]...\n\n", noun->name);
	print_wrapped(noun->doc, 0);
	printf("\n");
	print_verbs(noun);
	printf("\ngantry %s VERB --help tells more.\n", noun->name);
	for (size_t i = 0; i < noun->verb_count; i++) {
		if (i == 0)
			printf("\nExamples:\n");
		print_example(noun->verbs[i].example);
	}
}

static void print_verbs(const struct cli_noun *noun)
{
	for (size_t i = 0; i < noun->verb_count; i++) {
		const struct cli_verb *v = &noun->verbs[i];
		char left[128], right[512];

		snprintf(left, sizeof(left), "%s%s%s", v->name, *v->args ? " " : "", v->args);
		snprintf(right, sizeof(right), "%s%s", v->doc, v->is_default ? "; the default" : "");
		print_pair(left, right, OPTION_COLUMN);
	}
}

void usage_verb(const struct cli_noun *noun, const struct cli_verb *verb, const struct cli_args *a)
{
	const struct cli_option *options = a ? a->options : verb->options;
	size_t count = a ? a->option_count : verb->option_count;

	printf("Usage: gantry %s%s%s%s%s%s\n\n", noun->name, verb->name ? " " : "", verb->name ? verb->name : "",
	       *verb->args ? " " : "", verb->args, count ? " [OPTION]..." : "");
	print_wrapped(verb->doc, 0);
	if (verb->help) {
		printf("\n");
		print_wrapped(verb->help, 0);
	}
	if (count)
		printf("\n");
	for (size_t i = 0; i < count; i++) {
		char left[128];

		if (options[i].row && field_bool(options[i].row, "ignored"))
			continue; /* accepted, and nothing that a person would look for */
		snprintf(left, sizeof(left), "--%s%s%s", options[i].name, options[i].arg ? " " : "",
		         options[i].arg ? options[i].arg : "");
		for (char *s = left; *s && *s != ' '; s++)
			*s = *s == '_' ? '-' : *s;
		if (options[i].row) {
			help_row(options[i].row, left, 2);
		} else {
			print_pair(left, options[i].doc, OPTION_COLUMN);
		}
	}
	printf("\nExample:\n");
	print_example(verb->example);
}

static void print_globals(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(global_options); i++)
		print_pair(global_options[i][0], global_options[i][1], OPTION_COLUMN);
}

static void print_example(const char *lines)
{
	while (lines && *lines) {
		size_t len = strcspn(lines, "\n");

		printf("    %.*s\n", (int)len, lines);
		lines += len;
		lines += *lines == '\n';
	}
}

/* "  left      right", the right part wrapped beside it. */
static void print_pair(const char *left, const char *right, size_t column)
{
	size_t at = 2 + text_columns(left);

	printf("  %s", left);
	if (at + 2 > column)
		printf("\n%*s", (int)column, "");
	else
		printf("%*s", (int)(column - at), "");
	print_beside(right, column);
}

void print_beside(const char *right, size_t column)
{
	size_t width = cli_width() == SIZE_MAX ? 80 : min_u64(cli_width(), WIDTH_READABLE);
	bool is_first = true;

	width = width > column + 20 ? width - column : 20;
	while (*right) {
		size_t len = strlen(right);

		if (len > width) {
			len = width;
			while (len && right[len] != ' ')
				len--;
			if (!len)
				len = strcspn(right, " ");
		}
		printf("%*s%.*s\n", is_first ? 0 : (int)column, "", (int)len, right);
		right += len;
		right += strspn(right, " ");
		is_first = false;
	}
}

/* At spaces, indented, as wide as the terminal but not wider than is good to read. */
void print_wrapped(const char *text, size_t indent)
{
	size_t width = cli_width() == SIZE_MAX ? 80 : min_u64(cli_width(), WIDTH_READABLE);

	width = width > indent + 20 ? width - indent : 20;
	while (*text) {
		size_t line = strcspn(text, "\n"), len = line;

		if (len > width) {
			len = width;
			while (len && text[len] != ' ')
				len--;
			if (!len)
				len = strcspn(text, " ");
		}
		printf("%*s%.*s\n", len ? (int)indent : 0, "", (int)len, text);
		text += len;
		if (*text == '\n')
			text++;
		else
			text += strspn(text, " ");
	}
}

/* --- for the man page --- */

struct json_object *usage_as_json(void)
{
	struct json_object *o = json_object_new_object(), *nouns = json_object_new_array();
	struct json_object *globals = json_object_new_array();

	for (size_t i = 0; i < ARRAY_SIZE(global_options); i++) {
		struct json_object *g = json_object_new_object();

		json_object_object_add(g, "option", json_object_new_string(global_options[i][0]));
		json_object_object_add(g, "doc", json_object_new_string(global_options[i][1]));
		json_object_array_add(globals, g);
	}
	for (size_t i = 0; cli_nouns[i]; i++) {
		struct json_object *n = json_object_new_object(), *verbs = json_object_new_array();

		json_object_object_add(n, "name", json_object_new_string(cli_nouns[i]->name));
		json_object_object_add(n, "doc", json_object_new_string(cli_nouns[i]->doc));
		for (size_t v = 0; v < cli_nouns[i]->verb_count; v++)
			json_object_array_add(verbs, verb_as_json(&cli_nouns[i]->verbs[v]));
		json_object_object_add(n, "verbs", verbs);
		json_object_array_add(nouns, n);
	}
	json_object_object_add(o, "doc", json_object_new_string(about));
	json_object_object_add(o, "options", globals);
	json_object_object_add(o, "nouns", nouns);
	json_object_object_add(o, "status", json_object_new_string(exit_statuses));
	json_object_object_add(o, "example", json_object_new_string(example));
	return o;
}

static struct json_object *verb_as_json(const struct cli_verb *verb)
{
	struct json_object *v = json_object_new_object(), *options = json_object_new_array();

	json_object_object_add(v, "name", json_object_new_string(verb->name ? verb->name : ""));
	json_object_object_add(v, "args", json_object_new_string(verb->args));
	json_object_object_add(v, "doc", json_object_new_string(verb->doc));
	json_object_object_add(v, "help", json_object_new_string(verb->help ? verb->help : ""));
	json_object_object_add(v, "example", json_object_new_string(verb->example));
	json_object_object_add(v, "default", json_object_new_boolean(verb->is_default));
	for (size_t i = 0; i < verb->option_count; i++) {
		struct json_object *o = json_object_new_object();

		json_object_object_add(o, "name", json_object_new_string(verb->options[i].name));
		json_object_object_add(o, "arg", json_object_new_string(verb->options[i].arg ? verb->options[i].arg : ""));
		json_object_object_add(o, "doc", json_object_new_string(verb->options[i].doc));
		json_object_array_add(options, o);
	}
	json_object_object_add(v, "options", options);
	return v;
}
