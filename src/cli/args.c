/* SPDX-License-Identifier: BSD-3-Clause */
/* args.c: what was typed after a verb, by the verb's table and by the daemon's rows. */
#include <stdio.h>

#include "base/text.h"
#include "cli/cli.h"

#define OPTIONS_MAX 256

static const char *first_word(int argc, char **argv);
static int take(struct cli_args *a, int argc, char **argv, int *at, struct err *e);
static const struct cli_option *find_option(const struct cli_args *a, const char *name, size_t len);
static int unknown(const struct cli_args *a, const char *name, size_t len, struct err *e);
static int check_words(const struct cli_args *a, struct err *e);
static void give(struct cli_args *a, const struct cli_option *option, const char *value);

int args_parse(struct cli *c, const struct cli_verb *verb, int argc, char **argv, struct cli_args *ret, struct err *e)
{
	*ret = (struct cli_args){ .verb = verb };
	ret->options = base_zalloc(OPTIONS_MAX * sizeof(*ret->options));
	ret->words = base_zalloc((size_t)(argc + 1) * sizeof(*ret->words));
	ret->given = base_zalloc((size_t)(argc + 1) * sizeof(*ret->given));
	for (size_t i = 0; i < verb->option_count; i++)
		ret->options[ret->option_count++] = verb->options[i];
	if (verb->describe && verb->describe(c, ret, first_word(argc, argv), e))
		return e->code;
	for (int i = 0; i < argc; i++) {
		if (verb->raw)
			ret->words[ret->word_count++] = argv[i];
		else if (take(ret, argc, argv, &i, e))
			return e->code;
	}
	return c->help || verb->raw ? 0 : check_words(ret, e);
}

void args_free(struct cli_args *a)
{
	json_object_put(a->about);
	free(a->options);
	free(a->words);
	free(a->given);
	*a = (struct cli_args){ 0 };
}

/* The first word, as far as can be said before the options are known: it comes before them. */
static const char *first_word(int argc, char **argv)
{
	return argc > 0 && argv[0][0] != '-' ? argv[0] : NULL;
}

void args_add_row(struct cli_args *a, const char *name, struct json_object *row)
{
	const char *type = field_text(row, "type");
	bool is_flag = strcmp(type, "bool") == 0;

	if (a->option_count == OPTIONS_MAX || find_option(a, name, strlen(name)))
		return;
	a->options[a->option_count++] = (struct cli_option){ .name = name, .doc = field_text(row, "doc"), .row = row,
		.arg = is_flag ? NULL : strcmp(type, "text") == 0 ? "TEXT" : type[0] == 'u' && type[1] != 'u' ? "N" : "VALUE" };
}

static int take(struct cli_args *a, int argc, char **argv, int *at, struct err *e)
{
	const char *arg = argv[*at], *name, *equals;
	const struct cli_option *option;
	size_t len;

	if (arg[0] != '-' || !arg[1]) {
		equals = strchr(arg, '=');
		/* key=value, as gantry rpc takes it, where the daemon's rows are options */
		option = equals && a->verb->describe ? find_option(a, arg, (size_t)(equals - arg)) : NULL;
		if (option)
			give(a, option, equals + 1);
		else
			a->words[a->word_count++] = arg;
		return 0;
	}
	if (strncmp(arg, "--", 2) != 0)
		return err_set(e, CLIENT_MISTYPED, "there is no option %s; options begin with two dashes, see --help", arg);
	name = arg + 2;
	equals = strchr(name, '=');
	len = equals ? (size_t)(equals - name) : strlen(name);
	option = find_option(a, name, len);
	if (!option)
		return unknown(a, name, len, e);
	if (equals && !option->arg && !option->row)
		return err_set(e, CLIENT_MISTYPED, "--%s takes no value", option->name);
	if (!equals && option->arg && *at + 1 >= argc)
		return err_set(e, CLIENT_MISTYPED, "--%s: a value is wanted: --%s %s", option->name, option->name, option->arg);
	if (equals)
		give(a, option, equals + 1);
	else
		give(a, option, option->arg ? argv[++*at] : NULL);
	return 0;
}

static const struct cli_option *find_option(const struct cli_args *a, const char *name, size_t len)
{
	char typed[128];

	if (len >= sizeof(typed))
		return NULL;
	memcpy(typed, name, len);
	typed[len] = 0;
	for (size_t i = 0; i < a->option_count; i++) {
		const struct cli_option *o = &a->options[i];

		if (cli_same_name(o->name, typed) || (o->row && cli_same_name(field_text(o->row, "alias"), typed)))
			return o;
	}
	return NULL;
}

static int unknown(const struct cli_args *a, const char *name, size_t len, struct err *e)
{
	const char *names[OPTIONS_MAX];
	char typed[128], near[160];

	snprintf(typed, sizeof(typed), "%.*s", (int)min_u64(len, 100), name);
	for (size_t i = 0; i < a->option_count; i++)
		names[i] = a->options[i].name;
	return err_set(e, CLIENT_MISTYPED, "there is no option --%s%s; --help lists them", typed,
	               cli_suggest(typed, names, a->option_count, near, sizeof(near)));
}

static void give(struct cli_args *a, const struct cli_option *option, const char *value)
{
	a->given[a->given_count++] = (struct cli_given){ option, value };
}

static int check_words(const struct cli_args *a, struct err *e)
{
	const char *at = a->verb->args, *word;
	size_t seen = 0, len;
	bool wanted, many, unlimited = false;

	while ((len = cli_next_word(&at, &word, &wanted, &many)) > 0) {
		if (seen >= a->word_count && wanted)
			return err_set(e, CLIENT_MISTYPED, "%.*s is missing; --help shows how", (int)len, word);
		unlimited = unlimited || many;
		seen++;
	}
	if (a->word_count > seen && !unlimited)
		return err_set(e, CLIENT_MISTYPED, "\"%s\" is one word too many; --help shows how", a->words[seen]);
	return 0;
}

size_t cli_next_word(const char **at, const char **ret_word, bool *ret_wanted, bool *ret_many)
{
	const char *s = *at + strspn(*at, " ");
	size_t len = strcspn(s, " ");

	*at = s + len;
	*ret_wanted = *s != '[';
	*ret_many = len > 3 && memcmp(s + len - 3, "...", 3) == 0;
	*ret_word = s + (*s == '[');
	return strcspn(*ret_word, " ].");
}

const char *args_value(const struct cli_args *a, const char *option)
{
	for (size_t i = a->given_count; i > 0; i--)
		if (cli_same_name(a->given[i - 1].option->name, option))
			return a->given[i - 1].value;
	return NULL;
}

bool args_has(const struct cli_args *a, const char *option)
{
	for (size_t i = 0; i < a->given_count; i++)
		if (cli_same_name(a->given[i].option->name, option))
			return true;
	return false;
}

int args_to_params(const struct cli_args *a, struct json_object *rows, struct json_object *params, struct err *e)
{
	for (size_t i = 0; i < a->given_count; i++) {
		const struct cli_given *g = &a->given[i];
		struct json_object *row = g->option->row, *value;

		if (!row || (rows && list_find(rows, "name", field_text(row, "name")) != row))
			continue;
		if (values_convert(row, g->option->name, g->value ? g->value : "true", &value, e)) {
			e->code = CLIENT_MISTYPED;
			return e->code;
		}
		json_object_object_add(params, field_text(row, "name"), value);
	}
	return 0;
}

bool cli_same_name(const char *a, const char *b)
{
	if (!*a || !*b)
		return false;
	for (; *a && *b; a++, b++)
		if (*a != *b && !((*a == '-' || *a == '_') && (*b == '-' || *b == '_')))
			return false;
	return *a == *b;
}
