/* SPDX-License-Identifier: BSD-3-Clause */
/* cli.h: what the parts of the command line tool share. Private to cli. */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include <json-c/json.h>

#include "base/base.h"
#include "base/err.h"

#define CLI_SOCKET "/var/tmp/spdk.sock"

/* What the process ends with. */
enum { CLI_OK, CLI_REFUSED, CLI_USAGE, CLI_UNREACHABLE };

struct cli {
	const char *socket;
	bool json;             /* --json */
	uint32_t timeout_s;
	int fd;                /* -1: not connected yet */
	struct json_tokener *tokener;
	uint64_t last_id;
};

/* --- client.c: one method after the other over a blocking socket --- */
/* The result, the caller's. NULL: sentence in `e`; its code is the daemon's, or one of these. */
#define CLIENT_UNREACHABLE (-40000)
#define CLIENT_MISTYPED (-40001)
struct json_object *client_call(struct cli *c, const char *method, struct json_object *params, struct err *e);
void client_close(struct cli *c);
/* The description of one method; NULL: the daemon knows none, or does not know the method. */
struct json_object *client_describe(struct cli *c, const char *method);

/* --- values.c: what people type into what the daemon wants --- */
/* Put one "key=value" into `params`; `rows` is the description's list, NULL when there is none. */
int values_add(struct json_object *params, struct json_object *rows, const char *arg, struct err *e) MUST_USE;

/* --- commands: each returns what the process ends with --- */
int status_command(struct cli *c, int argc, char **argv);
int rpc_command(struct cli *c, int argc, char **argv);
int help_command(struct cli *c, int argc, char **argv);
int help_method(struct cli *c, const char *method);
int help_list(struct cli *c);

/* --- shared --- */
int cli_fail(const struct err *e);
void cli_print_json(struct json_object *json);
/* Members that may be missing or of another type: never NULL pointers. */
const char *field_text(struct json_object *o, const char *key);
uint64_t field_u64(struct json_object *o, const char *key);
bool field_bool(struct json_object *o, const char *key);
struct json_object *field(struct json_object *o, const char *key); /* NULL: none */
size_t list_count(struct json_object *array);                            /* 0 for what is no list */
/* Columns of the terminal; SIZE_MAX when output is no terminal. */
size_t cli_width(void);

#endif
