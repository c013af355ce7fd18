/* SPDX-License-Identifier: BSD-3-Clause */
/* params.c: JSON into structs and back, as the rows say.
 *
 * Reading checks everything a row promises; the first thing that is wrong becomes a sentence that begins with the
 * path of the parameter ("hosts[2].nqn: ..."), quotes the value and says what would be right. A null is as good
 * as absent. Whatever was read before an error is freed again, so that the caller has nothing to undo.
 */
#include "rpc/params.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <strings.h>

#include "base/text.h"

#define KNOWN_NAMES_MAX 64
#define QUOTED_MAX 80

/* Where in the request a value lies; for sentences only. */
struct path {
	const struct path *up;
	const char *name;
	ssize_t index; /* -1: not in a list */
};

struct number {
	bool negative;
	uint64_t magnitude;
};

static int read_rows(const struct rpc_param *rows, size_t count, struct json_object *json, void *args,
                     const struct path *up, struct err *e);
static bool is_more_by(const struct rpc_param *row, struct json_object *v, struct json_object *json);
static int check_known(const struct rpc_param *rows, size_t count, struct json_object *json, const struct path *up,
                       struct err *e);
static int read_fallback(const struct rpc_param *row, void *args, const struct path *at, struct err *e);
static int read_value(const struct rpc_param *row, struct json_object *v, void *field, const struct path *at,
                      struct err *e);
static int read_bool(const struct rpc_param *row, struct json_object *v, bool *field, const struct path *at,
                     struct err *e);
static int read_number(const struct rpc_param *row, struct json_object *v, void *field, const struct path *at,
                       struct err *e);
static int read_text(const struct rpc_param *row, struct json_object *v, char **field, const struct path *at,
                     struct err *e);
static int read_uuid(const struct rpc_param *row, struct json_object *v, struct uuid *field, const struct path *at,
                     struct err *e);
static int read_texts(const struct rpc_param *row, struct json_object *v, struct rpc_texts *field,
                      const struct path *at, struct err *e);
static int read_objects(const struct rpc_param *row, struct json_object *v, struct rpc_objects *field,
                        const struct path *at, struct err *e);
static int wrong_type(const struct rpc_param *row, struct json_object *v, const struct path *at, struct err *e);
static bool number_of(struct json_object *v, struct number *ret_number);
static int check_number(const struct rpc_param *row, struct number n, const struct path *at, struct err *e);
static void store_number(const struct rpc_param *row, struct number n, void *field);
static struct json_object *value_to_json(const struct rpc_param *row, const void *field);
static const char *path_text(const struct path *at, char buf[static 256]);
static const char *quoted(const struct rpc_param *row, struct json_object *v, char buf[static QUOTED_MAX + 8]);

int rpc_params_from_json(const struct rpc_param *params, size_t count, struct json_object *json, void *args,
                         struct err *e)
{
	int rc = read_rows(params, count, json, args, NULL, e);

	if (rc)
		rpc_params_free(params, count, args);
	return rc;
}

struct json_object *rpc_params_to_json(const struct rpc_param *params, size_t count, const void *args)
{
	struct json_object *json = json_object_new_object();

	for (size_t i = 0; i < count; i++) {
		struct json_object *v;

		if (params[i].ignored)
			continue;
		v = value_to_json(&params[i], (const char *)args + params[i].offset);
		if (v)
			json_object_object_add(json, params[i].name, v);
	}
	return json;
}

void rpc_params_free(const struct rpc_param *params, size_t count, void *args)
{
	for (size_t i = 0; i < count; i++) {
		const struct rpc_param *row = &params[i];
		void *field = (char *)args + row->offset;

		if (row->ignored)
			continue;
		if (row->type == RPC_TEXT) {
			char **text = field;

			if (*text && row->secret)
				explicit_bzero(*text, strlen(*text));
			free(*text);
			*text = NULL;
		} else if (row->type == RPC_TEXTS) {
			struct rpc_texts *texts = field;

			for (size_t k = 0; k < texts->count; k++)
				free(texts->at[k]);
			free(texts->at);
			*texts = (struct rpc_texts){ 0 };
		} else if (row->type == RPC_OBJECT) {
			rpc_params_free(row->params, row->param_count, field);
		} else if (row->type == RPC_OBJECTS) {
			struct rpc_objects *objects = field;

			for (size_t k = 0; k < objects->count; k++)
				rpc_params_free(row->params, row->param_count,
				                (char *)objects->at + k * row->object_size);
			free(objects->at);
			*objects = (struct rpc_objects){ 0 };
		}
	}
}

struct json_object *params_find(const struct rpc_param *row, struct json_object *json)
{
	struct json_object *v = NULL;

	if (!json)
		return NULL;
	if (json_object_object_get_ex(json, row->name, &v) && v)
		return v;
	if (row->alias && json_object_object_get_ex(json, row->alias, &v))
		return v;
	return NULL;
}

void params_hide(const struct rpc_param *params, size_t count, struct json_object *json)
{
	for (size_t i = 0; i < count; i++) {
		struct json_object *v = params_find(&params[i], json);

		if (v && params[i].secret)
			json_object_object_add(json, params[i].name, json_object_new_string("***"));
		else if (json_object_is_type(v, json_type_object))
			params_hide(params[i].params, params[i].param_count, v);
		for (size_t k = 0; params[i].type == RPC_OBJECTS && json_object_is_type(v, json_type_array) &&
		     k < json_object_array_length(v); k++)
			params_hide(params[i].params, params[i].param_count, json_object_array_get_idx(v, k));
	}
}

struct json_object *params_ignored(const struct rpc_param *params, size_t count, struct json_object *json)
{
	struct json_object *ignored = NULL;

	for (size_t i = 0; i < count; i++) {
		struct json_object *v = params_find(&params[i], json), *part = NULL;

		if (!v)
			continue;
		if (params[i].ignored)
			part = json_object_get(v);
		else if (params[i].type == RPC_OBJECT && json_object_is_type(v, json_type_object))
			part = params_ignored(params[i].params, params[i].param_count, v);
		if (!part)
			continue;
		if (!ignored)
			ignored = json_object_new_object();
		json_object_object_add(ignored, params[i].name, part);
	}
	return ignored;
}

static int read_rows(const struct rpc_param *rows, size_t count, struct json_object *json, void *args,
                     const struct path *up, struct err *e)
{
	int rc = json ? check_known(rows, count, json, up, e) : 0;

	for (size_t i = 0; i < count && rc == 0; i++) {
		const struct rpc_param *row = &rows[i];
		struct path at = { up, row->name, -1 };
		struct json_object *v = params_find(row, json);
		struct rpc_param relaxed = *row;
		char where[256];

		if (row->ignored)
			continue;
		if (v && row->or_plus && is_more_by(row, v, json))
			relaxed.multiple_of = 0;
		if (v)
			rc = read_value(row->or_plus ? &relaxed : row, v, (char *)args + row->offset, &at, e);
		else if (row->required)
			rc = err_set(e, ERR_BAD_PARAM, "%s: missing, and required: %s", path_text(&at, where),
			             row->doc ? row->doc : "see the method's description");
		else
			rc = read_fallback(row, args, &at, e);
	}
	return rc;
}

/* Is it more than a multiple by what another parameter says? */
static bool is_more_by(const struct rpc_param *row, struct json_object *v, struct json_object *json)
{
	struct number n, other;
	struct json_object *o;

	return json_object_object_get_ex(json, row->or_plus, &o) && number_of(v, &n) && number_of(o, &other) &&
	       n.magnitude % row->multiple_of == other.magnitude;
}

static int check_known(const struct rpc_param *rows, size_t count, struct json_object *json, const struct path *up,
                       struct err *e)
{
	const char *names[KNOWN_NAMES_MAX];
	size_t name_count = 0;

	for (size_t i = 0; i < count && name_count < KNOWN_NAMES_MAX; i++)
		names[name_count++] = rows[i].name;
	json_object_object_foreach(json, key, value) {
		const struct rpc_param *row = NULL;
		struct path at = { up, key, -1 };
		const char *nearest;
		char where[256], known[256];
		struct text list = text_over(known, sizeof(known));

		(void)value;
		for (size_t i = 0; i < count && !row; i++)
			if (strcmp(key, rows[i].name) == 0 || (rows[i].alias && strcmp(key, rows[i].alias) == 0))
				row = &rows[i];
		if (row && strcmp(key, row->name) != 0 && json_object_object_get(json, row->name))
			return err_set(e, ERR_BAD_PARAM, "%s: an older name of %s, which is given too; give only %s",
			               path_text(&at, where), row->name, row->name);
		if (row)
			continue;
		nearest = text_nearest(key, names, name_count);
		for (size_t i = 0; i < name_count; i++)
			text_add(&list, "%s%s", i ? ", " : "", names[i]);
		if (list.cut)
			text_end_with(&list, " ...");
		if (nearest)
			return err_set(e, ERR_BAD_PARAM, "%s: no such parameter; did you mean %s?", path_text(&at, where),
			               nearest);
		return err_set(e, ERR_BAD_PARAM, "%s: no such parameter; %s%s", path_text(&at, where),
		               count ? "there are: " : "there are none", list.buf);
	}
	return 0;
}

/* Fallbacks are text in a table of ours: what does not fit its row is our mistake. */
static int read_fallback(const struct rpc_param *row, void *args, const struct path *at, struct err *e)
{
	struct json_object *v;
	int rc;

	if (row->type == RPC_OBJECT)
		return read_rows(row->params, row->param_count, NULL, (char *)args + row->offset, at, e);
	if (!row->fallback)
		return 0;
	if (row->type == RPC_TEXT || row->type == RPC_UUID)
		v = json_object_new_string(row->fallback);
	else
		v = json_tokener_parse(row->fallback);
	assert(v);
	rc = read_value(row, v, (char *)args + row->offset, at, e);
	assert(rc == 0);
	json_object_put(v);
	return rc;
}

static int read_value(const struct rpc_param *row, struct json_object *v, void *field, const struct path *at,
                      struct err *e)
{
	switch (row->type) {
	case RPC_BOOL:
		return read_bool(row, v, field, at, e);
	case RPC_U8: case RPC_U16: case RPC_U32: case RPC_U64: case RPC_I32: case RPC_I64:
		return read_number(row, v, field, at, e);
	case RPC_TEXT:
		return read_text(row, v, field, at, e);
	case RPC_UUID:
		return read_uuid(row, v, field, at, e);
	case RPC_TEXTS:
		return read_texts(row, v, field, at, e);
	case RPC_OBJECT:
		if (!json_object_is_type(v, json_type_object))
			return wrong_type(row, v, at, e);
		return read_rows(row->params, row->param_count, v, field, at, e);
	case RPC_OBJECTS:
		return read_objects(row, v, field, at, e);
	case RPC_JSON:
		*(struct json_object **)field = v;
		return 0;
	}
	must(!"a row's type is in the enum");
	return -EINVAL;
}

static int read_bool(const struct rpc_param *row, struct json_object *v, bool *field, const struct path *at,
                     struct err *e)
{
	if (!json_object_is_type(v, json_type_boolean))
		return wrong_type(row, v, at, e);
	*field = json_object_get_boolean(v);
	return 0;
}

static int read_number(const struct rpc_param *row, struct json_object *v, void *field, const struct path *at,
                       struct err *e)
{
	struct number n;
	int rc;

	if (!number_of(v, &n))
		return wrong_type(row, v, at, e);
	rc = check_number(row, n, at, e);
	if (rc == 0)
		store_number(row, n, field);
	return rc;
}

/* Whole numbers; "1e3" is one, "1.5" and what a double cannot hold exactly are none. */
static bool number_of(struct json_object *v, struct number *ret_number)
{
	if (json_object_is_type(v, json_type_int)) {
		int64_t i = json_object_get_int64(v);

		ret_number->negative = i < 0;
		ret_number->magnitude = i < 0 ? (uint64_t)0 - (uint64_t)i : json_object_get_uint64(v);
		return true;
	}
	if (json_object_is_type(v, json_type_double)) {
		double d = json_object_get_double(v);

		if (!(fabs(d) < 9007199254740992.0) || d != (double)(int64_t)d)
			return false;
		ret_number->negative = d < 0;
		ret_number->magnitude = (uint64_t)fabs(d);
		return true;
	}
	return false;
}

uint64_t params_number_max(const struct rpc_param *row)
{
	static const uint64_t type_max[] = {
		[RPC_U8] = UINT8_MAX, [RPC_U16] = UINT16_MAX, [RPC_U32] = UINT32_MAX, [RPC_U64] = UINT64_MAX,
		[RPC_I32] = INT32_MAX, [RPC_I64] = INT64_MAX,
	};

	assert(row->type >= RPC_U8 && row->type <= RPC_I64);
	return row->max ? row->max : type_max[row->type];
}

static int check_number(const struct rpc_param *row, struct number n, const struct path *at, struct err *e)
{
	uint64_t most = params_number_max(row);
	bool is_signed = row->type == RPC_I32 || row->type == RPC_I64;
	const char *sign = n.negative ? "-" : "", *unit = row->unit ? row->unit : "", *space = *unit ? " " : "";
	char where[256];

	if (n.negative && n.magnitude) {
		uint64_t least = row->type == RPC_I32 ? (uint64_t)INT32_MAX + 1 : (uint64_t)INT64_MAX + 1;

		if (!is_signed || n.magnitude > least)
			return err_set(e, ERR_BAD_PARAM, "%s: -%" PRIu64 " is too small; the least is %s%" PRIu64 "%s%s",
			               path_text(at, where), n.magnitude, is_signed ? "-" : "",
			               is_signed ? least : row->min, space, unit);
		return 0;
	}
	if (n.magnitude < row->min)
		return err_set(e, ERR_BAD_PARAM, "%s: %s%" PRIu64 " is too small; the least is %" PRIu64 "%s%s",
		               path_text(at, where), sign, n.magnitude, row->min, space, unit);
	if (n.magnitude > most)
		return err_set(e, ERR_BAD_PARAM, "%s: %" PRIu64 " is too large; the most is %" PRIu64 "%s%s",
		               path_text(at, where), n.magnitude, most, space, unit);
	if (row->multiple_of && n.magnitude % row->multiple_of) {
		uint64_t below = n.magnitude - n.magnitude % row->multiple_of;

		return err_set(e, ERR_BAD_PARAM, "%s: %" PRIu64 " is not a multiple of %" PRIu64 "; the nearest is %" PRIu64,
		               path_text(at, where), n.magnitude, row->multiple_of,
		               below >= max_u64(row->min, 1) ? below : below + row->multiple_of);
	}
	return 0;
}

static void store_number(const struct rpc_param *row, struct number n, void *field)
{
	uint64_t v = n.negative ? (uint64_t)0 - n.magnitude : n.magnitude;

	switch (row->size) {
	case 1:
		*(uint8_t *)field = (uint8_t)v;
		break;
	case 2:
		*(uint16_t *)field = (uint16_t)v;
		break;
	case 4:
		*(uint32_t *)field = (uint32_t)v;
		break;
	default:
		assert(row->size == 8);
		*(uint64_t *)field = v;
		break;
	}
}

static int read_text(const struct rpc_param *row, struct json_object *v, char **field, const struct path *at,
                     struct err *e)
{
	const char *text;
	size_t len;
	char where[256], value[QUOTED_MAX + 8], list_buf[256];
	struct text list = text_over(list_buf, sizeof(list_buf));

	if (!json_object_is_type(v, json_type_string))
		return wrong_type(row, v, at, e);
	text = json_object_get_string(v);
	len = (size_t)json_object_get_string_len(v);
	if (strlen(text) != len)
		return err_set(e, ERR_BAD_PARAM, "%s: the text has a zero byte in it; leave it out", path_text(at, where));
	if (len < row->min || (row->max && len > row->max))
		return err_set(e, ERR_BAD_PARAM, "%s: %s has %zu characters; %s %" PRIu64, path_text(at, where),
		               quoted(row, v, value), len, len < row->min ? "the least is" : "the most is",
		               len < row->min ? row->min : row->max);
	if (!row->choices) {
		*field = base_strdup(text);
		return 0;
	}
	for (const char *const *c = row->choices; *c; c++) {
		if (strcasecmp(*c, text) == 0) {
			*field = base_strdup(*c); /* spelt as in the table, so that handlers need not care */
			return 0;
		}
		text_add(&list, "%s%s", c == row->choices ? "" : ", ", *c);
	}
	return err_set(e, ERR_BAD_PARAM, "%s: %s is not one of: %s", path_text(at, where), quoted(row, v, value),
	               list.buf);
}

static int read_uuid(const struct rpc_param *row, struct json_object *v, struct uuid *field, const struct path *at,
                     struct err *e)
{
	char where[256], value[QUOTED_MAX + 8];

	if (!json_object_is_type(v, json_type_string))
		return wrong_type(row, v, at, e);
	if (!uuid_from_text(json_object_get_string(v), field))
		return err_set(e, ERR_BAD_PARAM,
		               "%s: %s is not a UUID; write 32 hexadecimal digits as in 123e4567-e89b-42d3-a456-426614174000",
		               path_text(at, where), quoted(row, v, value));
	return 0;
}

static int read_texts(const struct rpc_param *row, struct json_object *v, struct rpc_texts *field,
                      const struct path *at, struct err *e)
{
	size_t count;

	if (!json_object_is_type(v, json_type_array))
		return wrong_type(row, v, at, e);
	count = json_object_array_length(v);
	field->at = base_zalloc(count * sizeof(char *));
	for (size_t i = 0; i < count; i++) {
		struct path item = { at->up, at->name, (ssize_t)i };
		struct json_object *value = json_object_array_get_idx(v, i);
		int rc = read_text(row, value, &field->at[i], &item, e);

		if (rc)
			return rc;
		field->count = i + 1;
	}
	return 0;
}

static int read_objects(const struct rpc_param *row, struct json_object *v, struct rpc_objects *field,
                        const struct path *at, struct err *e)
{
	size_t count;

	if (!json_object_is_type(v, json_type_array))
		return wrong_type(row, v, at, e);
	count = json_object_array_length(v);
	field->at = base_zalloc(count * row->object_size);
	for (size_t i = 0; i < count; i++) {
		struct path item = { at->up, at->name, (ssize_t)i };
		struct json_object *value = json_object_array_get_idx(v, i);
		int rc;

		field->count = i + 1; /* what a failure leaves half read is freed with the rest */
		if (!json_object_is_type(value, json_type_object))
			return wrong_type(row, value, &item, e);
		rc = read_rows(row->params, row->param_count, value, (char *)field->at + i * row->object_size, &item, e);
		if (rc)
			return rc;
	}
	return 0;
}

const char *params_type_name(enum rpc_type type)
{
	static const char *const names[] = {
		[RPC_BOOL] = "bool", [RPC_U8] = "u8", [RPC_U16] = "u16", [RPC_U32] = "u32", [RPC_U64] = "u64",
		[RPC_I32] = "i32", [RPC_I64] = "i64", [RPC_TEXT] = "text", [RPC_UUID] = "uuid", [RPC_TEXTS] = "texts",
		[RPC_OBJECT] = "object", [RPC_OBJECTS] = "objects", [RPC_JSON] = "json",
	};

	return names[type];
}

static int wrong_type(const struct rpc_param *row, struct json_object *v, const struct path *at, struct err *e)
{
	static const char *const wanted[] = {
		[RPC_BOOL] = "true or false",
		[RPC_U8] = "a whole number", [RPC_U16] = "a whole number", [RPC_U32] = "a whole number",
		[RPC_U64] = "a whole number", [RPC_I32] = "a whole number", [RPC_I64] = "a whole number",
		[RPC_TEXT] = "text in quotes", [RPC_UUID] = "a UUID in quotes", [RPC_TEXTS] = "a list of texts",
		[RPC_OBJECT] = "an object {...}", [RPC_OBJECTS] = "a list of objects [{...}]", [RPC_JSON] = "JSON",
	};
	enum rpc_type type = row->type;
	char where[256], value[QUOTED_MAX + 8];
	bool quoted_wrongly = json_object_is_type(v, json_type_string) && type <= RPC_I64;

	if (at->index >= 0)
		type = type == RPC_TEXTS ? RPC_TEXT : RPC_OBJECT;
	return err_set(e, ERR_BAD_PARAM, "%s: %s does not fit; %s is wanted%s", path_text(at, where),
	               quoted(row, v, value), wanted[type], quoted_wrongly ? ", without quotes" : "");
}

/* NULL: absence says the same, so nothing need be written. */
static struct json_object *value_to_json(const struct rpc_param *row, const void *field)
{
	const struct rpc_texts *texts = field;
	const struct rpc_objects *objects = field;
	struct json_object *v;
	uint64_t n = 0;
	int64_t i = 0;
	char text[UUID_TEXT_MAX];

	switch (row->type) {
	case RPC_BOOL:
		if (!*(const bool *)field && !row->fallback && !row->required)
			return NULL;
		return json_object_new_boolean(*(const bool *)field);
	case RPC_U8: case RPC_U16: case RPC_U32: case RPC_U64:
		memcpy(&n, field, row->size); /* little endian, as everything this runs on */
		return n || row->fallback || row->required ? json_object_new_uint64(n) : NULL;
	case RPC_I32: case RPC_I64:
		i = row->size == 4 ? *(const int32_t *)field : *(const int64_t *)field;
		return i || row->fallback || row->required ? json_object_new_int64(i) : NULL;
	case RPC_TEXT:
		return *(char *const *)field ? json_object_new_string(*(char *const *)field) : NULL;
	case RPC_UUID:
		return uuid_is_null(field) ? NULL : json_object_new_string(uuid_to_text(field, text));
	case RPC_TEXTS:
		if (!texts->count)
			return NULL;
		v = json_object_new_array();
		for (size_t k = 0; k < texts->count; k++)
			json_object_array_add(v, json_object_new_string(texts->at[k]));
		return v;
	case RPC_OBJECT:
		v = rpc_params_to_json(row->params, row->param_count, field);
		if (json_object_object_length(v))
			return v;
		json_object_put(v);
		return NULL;
	case RPC_OBJECTS:
		if (!objects->count)
			return NULL;
		v = json_object_new_array();
		for (size_t k = 0; k < objects->count; k++)
			json_object_array_add(v, rpc_params_to_json(row->params, row->param_count,
			                                            (const char *)objects->at + k * row->object_size));
		return v;
	case RPC_JSON:
		return json_object_get(*(struct json_object *const *)field);
	}
	return NULL;
}

static void path_add(struct text *t, const struct path *at)
{
	if (at->up) {
		path_add(t, at->up);
		text_add(t, ".");
	}
	text_add(t, "%s", at->name);
	if (at->index >= 0)
		text_add(t, "[%zd]", at->index);
}

static const char *path_text(const struct path *at, char buf[static 256])
{
	struct text t = text_over(buf, 256);

	path_add(&t, at);
	if (t.cut)
		text_end_with(&t, "...");
	return buf;
}

static const char *quoted(const struct rpc_param *row, struct json_object *v, char buf[static QUOTED_MAX + 8])
{
	struct text t = text_over(buf, QUOTED_MAX);

	if (row->secret)
		text_add(&t, "the value");
	else
		text_add(&t, "%s", json_object_to_json_string_ext(v, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
	if (t.cut)
		text_end_with(&t, "...");
	return buf;
}
