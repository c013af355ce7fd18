/* SPDX-License-Identifier: BSD-3-Clause */
/* values.c: "key=value" as people type it, into JSON of the type that the daemon's description names.
 *
 *     name=disk0            text as it is            num_blocks=1M      numbers, with a unit if liked
 *     allow_any_host        a bool alone is true     hosts=[a,b]        a list, or hosts='["a","b"]'
 *     listen_address.traddr=127.0.0.1                a member of an object
 *     namespace='{"bdev_name":"disk0"}'              or all of it as JSON
 *     subsystems=@file      the value is in a file   @file              so are all parameters
 *
 * Without a description (another program's server) what is JSON is JSON, and the rest is text.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <strings.h>

#include "base/text.h"
#include "cli/cli.h"

static struct json_object *find_row(struct json_object *rows, const char *name, size_t len);
static int add_file(struct json_object *params, const char *path, struct err *e);
static int convert_number(bool may_be_negative, const char *key, const char *text, struct json_object **ret,
                          struct err *e);
static int convert_bool(const char *key, const char *text, struct json_object **ret, struct err *e);
static struct json_object *convert_list(const char *text);
static struct json_object *convert_json(const char *text);

int values_add(struct json_object *params, struct json_object *rows, const char *arg, struct err *e)
{
	const char *equals = strchr(arg, '='), *key = arg;
	struct json_object *into = params, *row = NULL, *value = NULL;
	char *last;
	int rc;

	if (arg[0] == '@')
		return add_file(params, arg + 1, e);
	if (arg[0] == '-' || arg[0] == '=')
		return err_set(e, -EINVAL, "\"%s\" is not a parameter; write key=value", arg);
	if (!equals)
		equals = arg + strlen(arg);
	/* Each part before a dot is an object; it is made when it is first named. */
	for (;;) {
		size_t len = strcspn(key, ".=");
		struct json_object *object = NULL;
		char name[256];

		row = find_row(rows, key, len);
		if (key + len >= equals)
			break;
		if (len >= sizeof(name))
			return err_set(e, -EINVAL, "\"%.40s...\" is longer than any parameter's name", arg);
		memcpy(name, key, len);
		name[len] = 0;
		if (!json_object_object_get_ex(into, name, &object)) {
			object = json_object_new_object();
			json_object_object_add(into, name, object);
		}
		if (!json_object_is_type(object, json_type_object))
			return err_set(e, -EINVAL, "%s: %s was given as a whole already", arg, name);
		into = object;
		rows = field(row, "params");
		key += len + 1;
	}
	last = strndup(key, (size_t)(equals - key));
	must(last);
	if (*equals)
		rc = values_convert(row, last, equals + 1, &value, e);
	else if (!row || strcmp(field_text(row, "type"), "bool") == 0)
		value = json_object_new_boolean(true), rc = 0;
	else
		rc = err_set(e, -EINVAL, "%s: a value is wanted: %s=...", last, arg);
	if (rc == 0)
		json_object_object_add(into, last, value);
	free(last);
	return rc;
}

static struct json_object *find_row(struct json_object *rows, const char *name, size_t len)
{
	for (size_t i = 0; i < list_count(rows); i++) {
		struct json_object *row = json_object_array_get_idx(rows, i);
		const char *own = field_text(row, "name"), *alias = field_text(row, "alias");

		if ((strlen(own) == len && memcmp(own, name, len) == 0) ||
		    (len && strlen(alias) == len && memcmp(alias, name, len) == 0))
			return row;
	}
	return NULL;
}

/* "line 3, column 5: ..."; a text that ends too early is wrong where it ends. */
static void say_where(struct err *e, const char *path, const char *text, size_t at, enum json_tokener_error error)
{
	unsigned line = 1, column = 1;

	for (size_t i = 0; i < at; i++) {
		line += text[i] == '\n';
		column = text[i] == '\n' ? 1 : column + 1;
	}
	err_set(e, CLIENT_MISTYPED, "%s cannot be read as JSON: line %u, column %u: %s", path, line, column,
	        error == json_tokener_success ? "null is nothing to work with" :
	        error == json_tokener_continue || error == json_tokener_error_parse_eof ?
	        "it ends too early; a bracket is missing, perhaps" : json_tokener_error_desc(error));
}

struct json_object *values_of_file(const char *path, struct err *e)
{
	FILE *f = fopen(path, "re");
	struct json_tokener *tokener = json_tokener_new();
	struct json_object *json = NULL;
	char *text = NULL;
	size_t size = 0;
	ssize_t n = f ? getdelim(&text, &size, 0, f) : -1;

	if (!f || ferror(f))
		err_set(e, CLIENT_MISTYPED, "%s cannot be read: %s", path, strerror(errno));
	else if (n <= 0 || strspn(text, " \t\r\n") == (size_t)n)
		err_set(e, CLIENT_MISTYPED, "%s is empty", path);
	else if (n >= INT_MAX || !tokener)
		err_set(e, CLIENT_MISTYPED, "%s is too large", path);
	else if (!(json = json_tokener_parse_ex(tokener, text, (int)n + 1))) /* with the zero: it ends there */
		say_where(e, path, text, min_u64(json_tokener_get_parse_end(tokener), (uint64_t)n),
		          json_tokener_get_error(tokener));
	if (tokener)
		json_tokener_free(tokener);
	if (f)
		fclose(f);
	free(text);
	return json;
}

static int add_file(struct json_object *params, const char *path, struct err *e)
{
	struct json_object *json = values_of_file(path, e);

	if (!json)
		return e->code;
	if (!json_object_is_type(json, json_type_object)) {
		json_object_put(json);
		return err_set(e, -EINVAL, "@%s: it must be an object {\"parameter\": value}", path);
	}
	json_object_object_foreach(json, key, value)
		json_object_object_add(params, key, json_object_get(value));
	json_object_put(json);
	return 0;
}

int values_convert(struct json_object *row, const char *key, const char *text, struct json_object **ret, struct err *e)
{
	const char *type = field_text(row, "type");

	if (text[0] == '@' && strcmp(type, "text") != 0) {
		*ret = values_of_file(text + 1, e);
		return *ret ? 0 : e->code;
	}
	if (strcmp(type, "text") == 0 || strcmp(type, "uuid") == 0) {
		*ret = json_object_new_string(text);
		return 0;
	}
	if (strcmp(type, "bool") == 0)
		return convert_bool(key, text, ret, e);
	if (type[0] == 'u' || type[0] == 'i')
		return convert_number(type[0] == 'i', key, text, ret, e);
	if (strcmp(type, "texts") == 0) {
		*ret = convert_list(text);
		return 0;
	}
	*ret = convert_json(text);
	if (*ret || (strcmp(type, "object") != 0 && strcmp(type, "objects") != 0)) {
		if (!*ret)
			*ret = json_object_new_string(text);
		return 0;
	}
	return err_set(e, -EINVAL, "%s: \"%s\" is not JSON; write %s, or %s.member=value", key, text,
	               strcmp(type, "object") == 0 ? "{\"member\": value}" : "[{\"member\": value}]", key);
}

static int convert_number(bool may_be_negative, const char *key, const char *text, struct json_object **ret,
                          struct err *e)
{
	bool negative = may_be_negative && text[0] == '-';
	struct err wrong = { 0 };
	uint64_t v;

	if (!may_be_negative && text[0] == '-' && !text_parse_u64(text + 1, &v, NULL))
		return err_set(e, -EINVAL, "%s: %s is negative; 0 and more can be given", key, text);
	if (text_parse_u64(text + negative, &v, NULL) && text_parse_size(text + negative, &v, &wrong))
		return err_set(e, -EINVAL, "%s: %s", key, wrong.text);
	if (negative && v > (uint64_t)INT64_MAX + 1)
		return err_set(e, -EINVAL, "%s: %s is below what 64 bits can count", key, text);
	*ret = negative ? json_object_new_int64((int64_t)(0 - v)) : json_object_new_uint64(v);
	return 0;
}

static int convert_bool(const char *key, const char *text, struct json_object **ret, struct err *e)
{
	static const char *const yes[] = { "true", "yes", "on", "1" }, *const no[] = { "false", "no", "off", "0" };

	for (size_t i = 0; i < ARRAY_SIZE(yes); i++) {
		if (strcasecmp(text, yes[i]) && strcasecmp(text, no[i]))
			continue;
		*ret = json_object_new_boolean(strcasecmp(text, yes[i]) == 0);
		return 0;
	}
	return err_set(e, -EINVAL, "%s: \"%s\" is neither true nor false", key, text);
}

/* JSON, or texts between commas, with or without brackets. */
static struct json_object *convert_list(const char *text)
{
	struct json_object *list = convert_json(text);
	size_t len = strlen(text);

	if (json_object_is_type(list, json_type_array))
		return list;
	json_object_put(list);
	list = json_object_new_array();
	if (len >= 2 && text[0] == '[' && text[len - 1] == ']') {
		text++;
		len -= 2;
	}
	while (len) {
		const char *comma = memchr(text, ',', len);
		size_t part = comma ? (size_t)(comma - text) : len;

		json_object_array_add(list, json_object_new_string_len(text, (int)part));
		part += comma != NULL;
		text += part;
		len -= part;
	}
	return list;
}

/* NULL: it is not JSON, or null. */
static struct json_object *convert_json(const char *text)
{
	struct json_tokener *tokener = json_tokener_new();
	struct json_object *json;

	must(tokener);
	json_tokener_set_flags(tokener, JSON_TOKENER_STRICT);
	json = json_tokener_parse_ex(tokener, text, (int)strlen(text) + 1);
	json_tokener_free(tokener);
	return json;
}
