/* SPDX-License-Identifier: BSD-3-Clause */
/* json.h: shorthands for who builds results out of JSON objects. What is added belongs to what it was added to. */
#ifndef RPC_JSON_H
#define RPC_JSON_H

#include <json-c/json.h>

#include "base/base.h"

static inline void json_add_u64(struct json_object *o, const char *key, uint64_t v)
{
	json_object_object_add(o, key, json_object_new_uint64(v));
}
static inline void json_add_text(struct json_object *o, const char *key, const char *v)
{
	json_object_object_add(o, key, json_object_new_string(v));
}
static inline void json_add_bool(struct json_object *o, const char *key, bool v)
{
	json_object_object_add(o, key, json_object_new_boolean(v));
}
static inline struct json_object *json_add_object(struct json_object *o, const char *key)
{
	struct json_object *v = json_object_new_object();

	json_object_object_add(o, key, v);
	return v;
}
static inline struct json_object *json_add_array(struct json_object *o, const char *key)
{
	struct json_object *v = json_object_new_array();

	json_object_object_add(o, key, v);
	return v;
}
static inline struct json_object *json_append_object(struct json_object *array)
{
	struct json_object *v = json_object_new_object();

	json_object_array_add(array, v);
	return v;
}

#endif
