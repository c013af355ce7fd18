/* SPDX-License-Identifier: BSD-3-Clause */
/* main.c: gantry: commands for people over the daemon's RPCs: options for all of them, and which one it is. */
#include <locale.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/text.h"
#include "cli/cli.h"

const struct cli_noun *const cli_nouns[] = {
	&disk_noun, &export_noun, &host_noun, &nvme_noun, &config_noun,
	&status_noun, &top_noun, &log_noun, &doctor_noun, &rpc_noun, &completion_noun,
	&help_noun, NULL,
};

#define NAMES_MAX 64

static int take_globals(struct cli *c, int *argc, char **argv);
static int take_global(struct cli *c, int argc, char **argv, int *at);
static int run_noun(struct cli *c, const struct cli_noun *noun, int argc, char **argv);
static int run_verb(struct cli *c, const struct cli_noun *noun, const struct cli_verb *verb, int argc, char **argv);

int main(int argc, char **argv)
{
	struct cli c = { .socket = getenv("GANTRY_SOCKET"), .timeout_s = 60, .fd = -1 };
	const struct cli_noun *noun;
	int status;

	setlocale(LC_CTYPE, "");
	if (!c.socket || !*c.socket)
		c.socket = access(CLI_SERVICE_SOCKET, F_OK) == 0 ? CLI_SERVICE_SOCKET : CLI_SOCKET;
	status = take_globals(&c, &argc, argv);
	if (status >= 0)
		return status;
	if (argc < 2) {
		if (!c.help)
			return cli_misuse("what should be done? gantry --help shows all, for instance: gantry status");
		usage_all();
		return CLI_OK;
	}
	noun = cli_find_noun(argv[1]);
	if (noun) {
		status = run_noun(&c, noun, argc - 2, argv + 2);
	} else {
		const char *names[NAMES_MAX];
		size_t count = 0;
		char near[128];

		for (; cli_nouns[count]; count++)
			names[count] = cli_nouns[count]->name;
		status = cli_misuse("there is no command \"%s\"%s; gantry --help lists them", argv[1],
		                    cli_suggest(argv[1], names, count, near, sizeof(near)));
	}
	json_object_put(c.methods);
	client_close(&c);
	return status;
}

/* The options that mean the same with every command may stand anywhere before "--"; they are taken out. What the
 * process ends with, or -1: go on. */
static int take_globals(struct cli *c, int *argc, char **argv)
{
	int kept = 1;

	for (int i = 1; i < *argc; i++) {
		int at = i, taken;

		if (strcmp(argv[i], "--") == 0) {
			while (++i < *argc)
				argv[kept++] = argv[i];
			break;
		}
		taken = take_global(c, *argc, argv, &at);
		if (taken >= 0)
			return taken;
		if (at == i && taken == -1)
			argv[kept++] = argv[i];
		i = at;
	}
	*argc = kept;
	argv[kept] = NULL;
	return -1;
}

/* -1: it is none of these; -2: taken; else what the process ends with. */
static int take_global(struct cli *c, int argc, char **argv, int *at)
{
	const char *arg = argv[*at], *value = NULL;
	uint64_t seconds;

	if (strcmp(arg, "--json") == 0) {
		c->json = true;
		return -2;
	}
	if (strcmp(arg, "--help") == 0 || strcmp(arg, "-h") == 0 || strcmp(arg, "-?") == 0) {
		c->help = true;
		return -2;
	}
	if (strcmp(arg, "--version") == 0 || strcmp(arg, "-V") == 0) {
		printf("gantry %s\n", GANTRY_VERSION);
		return CLI_OK;
	}
	if (text_starts_with(arg, "--socket=") || text_starts_with(arg, "--timeout="))
		value = strchr(arg, '=') + 1;
	else if (strcmp(arg, "-s") != 0 && strcmp(arg, "--socket") != 0 && strcmp(arg, "-t") != 0 &&
	         strcmp(arg, "--timeout") != 0)
		return -1;
	if (!value && *at + 1 >= argc)
		return cli_misuse("%s: a value is wanted", arg);
	if (!value)
		value = argv[++*at];
	if (text_starts_with(arg, "-s") || text_starts_with(arg, "--s")) {
		c->socket = value;
		return -2;
	}
	if (text_parse_u64(value, &seconds, NULL) || seconds > 1000000)
		return cli_misuse("--timeout: \"%s\" is not a number of seconds", value);
	c->timeout_s = (uint32_t)seconds;
	return -2;
}

const struct cli_noun *cli_find_noun(const char *name)
{
	for (size_t i = 0; cli_nouns[i]; i++)
		if (strcmp(cli_nouns[i]->name, name) == 0)
			return cli_nouns[i];
	return NULL;
}

const struct cli_verb *cli_find_verb(const struct cli_noun *noun, const char *name)
{
	for (size_t i = 0; i < noun->verb_count; i++)
		if (!noun->verbs[i].name || strcmp(noun->verbs[i].name, name) == 0)
			return &noun->verbs[i];
	return NULL;
}

/* Who knows other programs types other words. `typed` itself: none that this noun has. */
static const char *by_another_word(const struct cli_noun *noun, const char *typed)
{
	static const struct { const char *typed, *meant; } words[] = {
		{ "remove", "delete" }, { "rm", "delete" }, { "del", "delete" }, { "destroy", "delete" },
		{ "delete", "remove" }, { "rm", "remove" }, { "del", "remove" }, { "remove", "detach" }, { "delete", "detach" },
		{ "ls", "list" }, { "get", "show" }, { "info", "show" }, { "add", "create" }, { "new", "create" },
		{ "make", "create" }, { "add", "disk" }, { "create", "disk" }, { "create", "add" }, { "connect", "attach" },
		{ "add", "attach" }, { "disconnect", "detach" }, { "load", "apply" }, { "save", "show" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (strcmp(words[i].typed, typed) == 0 && cli_find_verb(noun, words[i].meant))
			return words[i].meant;
	return typed;
}

static int run_noun(struct cli *c, const struct cli_noun *noun, int argc, char **argv)
{
	const struct cli_verb *verb = NULL;
	const char *names[NAMES_MAX];
	char near[128];

	if (!noun->verbs[0].name)
		return run_verb(c, noun, &noun->verbs[0], argc, argv);
	if (argc > 0 && argv[0][0] != '-') {
		verb = cli_find_verb(noun, argv[0]);
		if (verb)
			return run_verb(c, noun, verb, argc - 1, argv + 1);
		for (size_t i = 0; i < noun->verb_count; i++)
			names[i] = noun->verbs[i].name;
		return cli_misuse("there is no \"%s %s\"%s; gantry %s --help lists what there is", noun->name, argv[0],
		                  cli_suggest(by_another_word(noun, argv[0]), names, noun->verb_count, near, sizeof(near)),
		                  noun->name);
	}
	if (c->help) {
		usage_noun(noun);
		return CLI_OK;
	}
	for (size_t i = 0; i < noun->verb_count; i++)
		if (noun->verbs[i].is_default)
			return run_verb(c, noun, &noun->verbs[i], argc, argv);
	return cli_misuse("what about the %s? gantry %s --help lists what there is", noun->name, noun->name);
}

static int run_verb(struct cli *c, const struct cli_noun *noun, const struct cli_verb *verb, int argc, char **argv)
{
	struct cli_args a;
	struct err e = { 0 };
	int status = CLI_OK;
	const char *first = argc > 0 && argv[0][0] != '-' ? argv[0] : NULL;

	if (args_parse(c, verb, argc, argv, &a, &e) && !c->help)
		status = cli_fail(&e);
	else if (!c->help)
		status = verb->run(c, &a);
	else if (!verb->help_on || !verb->help_on(c, &a, first))
		usage_verb(noun, verb, &a);
	args_free(&a);
	return status;
}

/* --- shared --------------------------------------------------------------------------------------------------- */

int cli_fail(const struct err *e)
{
	fflush(stdout);
	fprintf(stderr, "gantry: %s\n", e->text);
	if (e->code == CLIENT_UNREACHABLE)
		return CLI_UNREACHABLE;
	return e->code == CLIENT_MISTYPED ? CLI_USAGE : CLI_REFUSED;
}

int cli_misuse(const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "gantry: ");
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, "\n");
	return CLI_USAGE;
}

const char *cli_suggest(const char *typed, const char *const *names, size_t count, char *buf, size_t size)
{
	const char *nearest = text_nearest(typed, names, count);

	for (size_t i = 0; i < count && !nearest && strlen(typed) >= 3; i++)
		if (text_starts_with(names[i], typed))
			nearest = names[i];
	buf[0] = 0;
	if (nearest)
		snprintf(buf, size, ", did you mean %s?", nearest);
	return buf;
}

void cli_print_json(struct json_object *json)
{
	if (json_object_is_type(json, json_type_string) && isatty(STDOUT_FILENO))
		printf("%s\n", json_object_get_string(json));
	else
		printf("%s\n", json_object_to_json_string_ext(json, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_SPACED |
		                                              JSON_C_TO_STRING_NOSLASHESCAPE));
}

int cli_answer(struct cli *c, struct json_object *answer, const struct err *e, const char *none,
               void (*print)(struct cli *c, struct json_object *answer))
{
	if (!answer)
		return cli_fail(e);
	if (c->json)
		cli_print_json(answer);
	else if (none && !list_count(answer))
		printf("%s\n", none);
	else if (print)
		print(c, answer);
	json_object_put(answer);
	return CLI_OK;
}

void cli_print_lines(const char *title, struct json_object *lines)
{
	if (list_count(lines))
		printf("%s\n", title);
	for (size_t i = 0; i < list_count(lines); i++)
		printf("    %s\n", json_object_get_string(list_at(lines, i)));
	json_object_put(lines);
}

struct json_object *field(struct json_object *o, const char *key)
{
	struct json_object *v = NULL;

	if (json_object_is_type(o, json_type_object))
		json_object_object_get_ex(o, key, &v);
	return v;
}

const char *field_text(struct json_object *o, const char *key)
{
	struct json_object *v = field(o, key);

	return v ? json_object_get_string(v) : "";
}

uint64_t field_u64(struct json_object *o, const char *key)
{
	return json_object_get_uint64(field(o, key));
}

bool field_bool(struct json_object *o, const char *key)
{
	return json_object_get_boolean(field(o, key));
}

size_t list_count(struct json_object *array)
{
	return json_object_is_type(array, json_type_array) ? json_object_array_length(array) : 0;
}

struct json_object *list_at(struct json_object *array, size_t i)
{
	return json_object_array_get_idx(array, i);
}

struct json_object *list_find(struct json_object *array, const char *key, const char *text)
{
	for (size_t i = 0; i < list_count(array); i++)
		if (strcmp(field_text(list_at(array, i), key), text) == 0)
			return list_at(array, i);
	return NULL;
}

size_t cli_width(void)
{
	struct winsize w;

	if (isatty(STDOUT_FILENO) && ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col)
		return w.ws_col;
	return SIZE_MAX;
}
