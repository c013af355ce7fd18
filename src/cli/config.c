/* SPDX-License-Identifier: BSD-3-Clause */
/* config.c: gantry config: the configuration and its versions: show, compare, exchange, go back. */
#include <errno.h>
#include <stdio.h>
#include <time.h>

#include "cli/cli.h"

static int run_show(struct cli *c, struct cli_args *a);
static int run_versions(struct cli *c, struct cli_args *a);
static int run_diff(struct cli *c, struct cli_args *a);
static int run_apply(struct cli *c, struct cli_args *a);
static int run_rollback(struct cli *c, struct cli_args *a);

static const struct cli_option dry_options[] = {
	{ "dry-run", NULL, "Only say what would be done" },
};
static const struct cli_verb verbs[] = {
	{ "show", "[VERSION]", "the configuration, as a file for gantryd -c", run_show, .is_default = true,
	  .example = "gantry config show > gantry.json" },
	{ "versions", "", "the versions that the state directory keeps, and what changed", run_versions,
	  .example = "gantry config versions" },
	{ "diff", "FILE|VERSION", "what a file would change, or what has changed since a version", run_diff,
	  .example = "gantry config diff gantry.json\ngantry config diff 12" },
	{ "apply", "FILE", "make the configuration like the file, all or nothing", run_apply, CLI_OPTIONS(dry_options),
	  .example = "gantry config apply gantry.json --dry-run" },
	{ "rollback", "VERSION", "go back to a version, all of it or nothing", run_rollback, CLI_OPTIONS(dry_options),
	  .example = "gantry config rollback 12" },
};
const struct cli_noun config_noun = { "config", "what the daemon is to be, and how that changed", verbs,
	ARRAY_SIZE(verbs) };

/* Calls and frees params. NULL: told. */
static struct json_object *call(struct cli *c, const char *method, struct json_object *params, int *status)
{
	struct err e = { 0 };
	struct json_object *result = client_call(c, method, params, &e);

	json_object_put(params);
	*status = result ? CLI_OK : cli_fail(&e);
	return result;
}

static struct json_object *with(const char *key, struct json_object *v)
{
	struct json_object *params = json_object_new_object();

	json_object_object_add(params, key, v);
	return params;
}

/* NULL with a sentence. */
static struct json_object *version_params(const char *word, struct err *e)
{
	uint64_t version;

	if (text_parse_u64(word, &version, NULL) == 0)
		return with("version", json_object_new_uint64(version));
	err_set(e, CLIENT_MISTYPED, "\"%s\" is no version; gantry config versions lists them", word);
	return NULL;
}

static struct json_object *file_params(const char *path, struct err *e)
{
	struct json_object *config = values_of_file(path, e);

	return config ? with("config", config) : NULL;
}

static int print_texts(struct cli *c, struct json_object *list, const char *none)
{
	if (c->json) {
		cli_print_json(list);
	} else {
		if (!list_count(list))
			printf("%s\n", none);
		for (size_t i = 0; i < list_count(list); i++) {
			const char *loses = field_text(list_at(list, i), "loses");

			printf("%s%s%s%s\n", field_text(list_at(list, i), "text"), *loses ? " (" : "", loses, *loses ? ")" : "");
		}
	}
	json_object_put(list);
	return CLI_OK;
}

static int run_show(struct cli *c, struct cli_args *a)
{
	struct json_object *params = NULL, *config;
	struct err e = { 0 };
	int status;

	if (a->word_count && !(params = version_params(a->words[0], &e)))
		return cli_fail(&e);
	config = call(c, "config_get", params, &status);
	if (config)
		cli_print_json(config);
	json_object_put(config);
	return status;
}

static int run_versions(struct cli *c, struct cli_args *a)
{
	int status;
	struct json_object *list = call(c, "config_get_versions", NULL, &status);

	if (list && c->json) {
		cli_print_json(list);
	} else {
		for (size_t i = 0; i < list_count(list); i++) {
			struct json_object *v = list_at(list, i), *changes = field(v, "changes");
			time_t when = (time_t)(field_u64(v, "time_us") / 1000000);
			char text[64] = "";
			struct tm tm;

			strftime(text, sizeof(text), "%F %T", localtime_r(&when, &tm));
			printf("%6lu  %s  %s\n", field_u64(v, "version"), text,
			       list_count(changes) ? json_object_get_string(list_at(changes, 0)) : "the oldest that is kept");
			for (size_t k = 1; k < list_count(changes); k++)
				printf("%29s%s\n", "", json_object_get_string(list_at(changes, k)));
		}
	}
	json_object_put(list);
	return status;
}

static int run_diff(struct cli *c, struct cli_args *a)
{
	struct json_object *params, *list;
	struct err e = { 0 };
	uint64_t version;
	int status;

	if (text_parse_u64(a->words[0], &version, NULL) == 0)
		params = version_params(a->words[0], &e);
	else
		params = file_params(a->words[0], &e);
	if (!params)
		return cli_fail(&e);
	list = call(c, "config_diff", params, &status);
	return list ? print_texts(c, list, "No difference") : status;
}

static int exchange(struct cli *c, struct cli_args *a, const char *method, struct json_object *params)
{
	struct json_object *list;
	int status;

	if (args_has(a, "dry-run"))
		json_object_object_add(params, "dry_run", json_object_new_boolean(true));
	list = call(c, method, params, &status);
	return list ? print_texts(c, list, "Nothing to do") : status;
}

static int run_apply(struct cli *c, struct cli_args *a)
{
	struct err e = { 0 };
	struct json_object *params = file_params(a->words[0], &e);

	return params ? exchange(c, a, "config_apply", params) : cli_fail(&e);
}

static int run_rollback(struct cli *c, struct cli_args *a)
{
	struct err e = { 0 };
	struct json_object *params = version_params(a->words[0], &e);

	return params ? exchange(c, a, "config_rollback", params) : cli_fail(&e);
}
