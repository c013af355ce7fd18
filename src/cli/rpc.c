/* SPDX-License-Identifier: BSD-3-Clause */
/* rpc.c: gantry rpc METHOD key=value ...: any method, with help from the daemon's own description. */
#include <stdio.h>

#include "cli/cli.h"

int rpc_command(struct cli *c, int argc, char **argv)
{
	struct json_object *method = NULL, *params, *result = NULL;
	struct err e = { 0 };

	if (argc < 2) {
		err_set(&e, -1, "gantry rpc: a method is wanted; gantry rpc --list shows all");
		cli_fail(&e);
		return CLI_USAGE;
	}
	if (strcmp(argv[1], "--list") == 0)
		return help_list(c);
	if (strcmp(argv[1], "--help") == 0 || (argc > 2 && strcmp(argv[2], "--help") == 0))
		return help_method(c, argc > 2 ? argv[1] : NULL);
	params = json_object_new_object();
	if (argc > 2) /* without parameters there is nothing to describe */
		method = client_describe(c, argv[1]);
	for (int i = 2; i < argc && !e.code; i++)
		if (values_add(params, field(method, "params"), argv[i], &e))
			break;
	if (!e.code)
		result = client_call(c, argv[1], params, &e);
	else
		e.code = CLIENT_MISTYPED;
	if (result && (c->json || !json_object_is_type(result, json_type_boolean) || !json_object_get_boolean(result)))
		cli_print_json(result);
	json_object_put(result);
	json_object_put(params);
	json_object_put(method);
	return e.code ? cli_fail(&e) : CLI_OK;
}
