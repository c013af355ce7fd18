/* SPDX-License-Identifier: BSD-3-Clause */
/* params.h: what the rest of rpc needs to know of rows beyond rpc.h. Private to rpc. */
#ifndef RPC_PARAMS_H
#define RPC_PARAMS_H

#include "rpc/rpc.h"

/* The value given for a row, by its name or its older one; NULL when absent or null. Borrowed. */
struct json_object *params_find(const struct rpc_param *row, struct json_object *json);
/* What was given for rows marked ignored, inside objects too, as a new object; NULL: nothing. */
struct json_object *params_ignored(const struct rpc_param *params, size_t count, struct json_object *json);
/* Replace what rows marked secret have, inside objects and lists too. */
void params_hide(const struct rpc_param *params, size_t count, struct json_object *json);
/* "u64", "text", ...: the words of rpc_describe. */
const char *params_type_name(enum rpc_type type);
/* The largest number a row takes. */
uint64_t params_number_max(const struct rpc_param *row);

#endif
