/* SPDX-License-Identifier: BSD-3-Clause */
/* rpc.c: gantry rpc METHOD key=value ...: any method, with help from the daemon's own description. */
#include <stdio.h>

#include "cli/cli.h"

static int run_rpc(struct cli *c, struct cli_args *a);
static bool help_on_method(struct cli *c, struct cli_args *a, const char *first);

static const struct cli_verb verbs[] = {
	{ NULL, "METHOD [key=value]...", "call any method; --list shows them", run_rpc, .raw = true,
	  .help_on = help_on_method,
	  .example = "gantry rpc --list\ngantry rpc bdev_get_bdevs --help\ngantry rpc bdev_get_bdevs name=disk0" },
};
const struct cli_noun rpc_noun = { "rpc", "call any method: gantry rpc METHOD [key=value]...; gantry rpc --list "
                                   "shows all", verbs,
                                   ARRAY_SIZE(verbs) };

static bool help_on_method(struct cli *c, struct cli_args *a, const char *first)
{
	help_method(c, first);
	return true;
}

static int run_rpc(struct cli *c, struct cli_args *a)
{
	struct json_object *method = NULL, *params, *result = NULL;
	struct err e = { 0 };

	if (!a->word_count)
		return cli_misuse("gantry rpc: a method is wanted; gantry rpc --list shows all");
	if (strcmp(a->words[0], "--list") == 0)
		return help_list(c);
	params = json_object_new_object();
	if (a->word_count > 1) /* without parameters there is nothing to describe */
		method = client_describe(c, a->words[0]);
	for (size_t i = 1; i < a->word_count && !e.code; i++)
		if (values_add(params, field(method, "params"), a->words[i], &e))
			break;
	if (!e.code)
		result = client_call(c, a->words[0], params, &e);
	else
		e.code = CLIENT_MISTYPED;
	if (result && (c->json || !json_object_is_type(result, json_type_boolean) || !json_object_get_boolean(result)))
		cli_print_json(result);
	json_object_put(result);
	json_object_put(params);
	json_object_put(method);
	return e.code ? cli_fail(&e) : CLI_OK;
}
