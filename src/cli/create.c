/* SPDX-License-Identifier: BSD-3-Clause */
/* create.c: gantry disk create KIND: every method bdev_KIND_create that the daemon describes is a kind; its rows
 * are the options, and those that are required are words too, in their order.
 *
 * What people would have to compute is done here: a size instead of blocks, a name when one is wanted, paths that the
 * daemon finds wherever it runs. "ram" and "file" are names for the kinds that serve best.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/text.h"
#include "cli/cli.h"

#define KINDS_MAX 128
#define KIND_MAX 64
#define BLOCK_SIZE 4096u /* where none is asked for */

/* Kinds by what they are: the first that this daemon has. */
static const struct {
	const char *name, *kinds[3];
} plain_names[] = {
	{ "ram", { "malloc" } },
	{ "file", { "uring", "aio" } },
};

static struct json_object *method_of_kind(struct cli *c, const char *kind);
static int unknown_kind(struct cli *c, const char *kind, struct err *e);
static bool is_size(struct json_object *row);
static bool is_path(struct json_object *row);
static bool is_word(struct json_object *row);
static int set_words(struct cli_args *a, struct json_object *rows, struct json_object *params, const char **size,
                     struct err *e);
static int set_size(struct json_object *rows, struct json_object *params, const char *size, struct err *e);
static int set_paths(struct json_object *disks, struct json_object *rows, struct json_object *params, const char *size,
                     struct err *e);
static void set_name(struct cli *c, struct json_object *rows, struct json_object *params, const char *kind);
static struct json_object *name_of_new(struct cli *c, struct json_object *before, struct json_object *result);
static void say_made(struct cli *c, struct json_object *result);
static void example_word(struct json_object *row);
static void print_placeholder(struct json_object *row);
static void list_kinds(struct json_object *methods);

int disk_create_describe(struct cli *c, struct cli_args *a, const char *first, struct err *e)
{
	struct json_object *method, *rows;

	if (!first)
		return 0;
	if (!cli_methods(c, e))
		return e->code;
	method = method_of_kind(c, first);
	if (!method)
		return unknown_kind(c, first, e);
	rows = field(method, "params");
	for (size_t i = 0; i < list_count(rows); i++)
		if (strcmp(field_text(list_at(rows, i), "name"), "name") != 0)
			args_add_row(a, field_text(list_at(rows, i), "name"), list_at(rows, i));
	a->about = json_object_get(method);
	return 0;
}

int disk_create(struct cli *c, struct cli_args *a)
{
	struct json_object *rows = field(a->about, "params"), *params = json_object_new_object(), *result = NULL;
	const char *size = args_value(a, "size");
	struct err e = { 0 }, ignored = { 0 };
	struct json_object *before = client_call(c, "bdev_get_bdevs", NULL, &ignored);

	if (args_has(a, "name"))
		json_object_object_add(params, "name", json_object_new_string(args_value(a, "name")));
	if (args_to_params(a, NULL, params, &e) == 0 && set_words(a, rows, params, &size, &e) == 0 &&
	    set_size(rows, params, size, &e) == 0 && set_paths(before, rows, params, size, &e) == 0) {
		set_name(c, rows, params, a->words[0]);
		result = client_call(c, field_text(a->about, "name"), params, &e);
	}
	if (json_object_is_type(result, json_type_boolean))
		result = name_of_new(c, before, result);
	if (result && c->json)
		cli_print_json(result);
	else if (result)
		say_made(c, result);
	json_object_put(before);
	json_object_put(result);
	json_object_put(params);
	return e.code ? cli_fail(&e) : CLI_OK;
}

static struct json_object *method_of_kind(struct cli *c, const char *kind)
{
	char method[KIND_MAX + 16];
	struct json_object *found;

	for (size_t i = 0; i < ARRAY_SIZE(plain_names); i++) {
		for (size_t k = 0; k < ARRAY_SIZE(plain_names[i].kinds) && plain_names[i].kinds[k]; k++) {
			snprintf(method, sizeof(method), "bdev_%s_create", plain_names[i].kinds[k]);
			found = strcmp(plain_names[i].name, kind) == 0 ? cli_method(c, method) : NULL;
			if (found)
				return found;
		}
	}
	if (strlen(kind) >= KIND_MAX)
		return NULL;
	snprintf(method, sizeof(method), "bdev_%s_create", kind);
	return cli_method(c, method);
}

static int unknown_kind(struct cli *c, const char *kind, struct err *e)
{
	struct json_object *methods = cli_methods(c, e);
	char kinds[KINDS_MAX][KIND_MAX], near[128], all_buf[300];
	struct text all = text_over(all_buf, sizeof(all_buf));
	const char *names[KINDS_MAX];
	size_t count = 0, len;

	for (size_t i = 0; i < ARRAY_SIZE(plain_names); i++)
		if (method_of_kind(c, plain_names[i].name))
			snprintf(kinds[count++], KIND_MAX, "%s", plain_names[i].name);
	for (size_t i = 0; i < list_count(methods) && count < KINDS_MAX; i++) {
		const char *found = disk_kind_of(field_text(list_at(methods, i), "name"), &len);

		if (found && !field_bool(list_at(methods, i), "ignored"))
			snprintf(kinds[count++], KIND_MAX, "%.*s", (int)len, found);
	}
	for (size_t i = 0; i < count; i++) {
		names[i] = kinds[i];
		text_add(&all, "%s%s", i ? ", " : "", kinds[i]);
	}
	return err_set(e, CLIENT_MISTYPED, "there is no kind \"%s\" of disk%s; this daemon has: %s", kind,
	               cli_suggest(kind, names, count, near, sizeof(near)), all_buf);
}

/* --- what was typed, as parameters --- */

static bool is_size(struct json_object *row)
{
	return strcmp(field_text(row, "name"), "num_blocks") == 0;
}

static bool is_path(struct json_object *row)
{
	const char *name = field_text(row, "name");

	return strcmp(field_text(row, "type"), "text") == 0 &&
	       (strcmp(name, "filename") == 0 || strcmp(name, "path") == 0 || strcmp(name, "file") == 0);
}

/* Is the row a word of the command line? */
static bool is_word(struct json_object *row)
{
	const char *name = field_text(row, "name");

	return field_bool(row, "required") && strcmp(name, "name") != 0 && strcmp(name, "block_size") != 0;
}

/* Words fill what is required and was not given as an option. */
static int set_words(struct cli_args *a, struct json_object *rows, struct json_object *params, const char **size,
                     struct err *e)
{
	size_t word = 1;

	for (size_t i = 0; i < list_count(rows); i++) {
		struct json_object *row = list_at(rows, i), *value;
		const char *name = field_text(row, "name");

		if (!is_word(row) || field(params, name) || (is_size(row) && *size))
			continue;
		if (word >= a->word_count)
			return err_set(e, CLIENT_MISTYPED, "%s is missing; gantry disk create %s --help shows how",
			               is_size(row) ? "SIZE" : name, a->words[0]);
		if (is_size(row)) {
			*size = a->words[word++];
			continue;
		}
		if (values_convert(row, name, a->words[word++], &value, e)) {
			e->code = CLIENT_MISTYPED;
			return e->code;
		}
		json_object_object_add(params, name, value);
	}
	if (word < a->word_count && !*size && list_find(rows, "name", "filename"))
		*size = a->words[word++]; /* file PATH SIZE */
	if (word < a->word_count)
		return err_set(e, CLIENT_MISTYPED, "\"%s\" is one word too many; gantry disk create %s --help shows how",
		               a->words[word], a->words[0]);
	return 0;
}

static int set_size(struct json_object *rows, struct json_object *params, const char *size, struct err *e)
{
	uint64_t bytes, block = field_u64(params, "block_size");

	if (!list_find(rows, "name", "num_blocks"))
		return 0;
	if (!block && list_find(rows, "name", "block_size")) {
		block = BLOCK_SIZE;
		json_object_object_add(params, "block_size", json_object_new_uint64(block));
	}
	if (!size)
		return 0;
	if (text_parse_size(size, &bytes, e)) {
		e->code = CLIENT_MISTYPED;
		return e->code;
	}
	if (!block || bytes % block || !bytes)
		return err_set(e, CLIENT_MISTYPED, "%s is %lu bytes, which is not a number of blocks of %lu bytes; round it, "
		               "or choose another --block-size", size, bytes, block);
	json_object_object_add(params, "num_blocks", json_object_new_uint64(bytes / block));
	return 0;
}

/* By any of its names. One that does not begin at the root is meant from the daemon's directory, which is not ours. */
static bool is_same_file(const char *theirs, const char *ours)
{
	struct stat a, b;

	if (strcmp(theirs, ours) == 0)
		return true;
	return *theirs == '/' && stat(theirs, &a) == 0 && stat(ours, &b) == 0 && a.st_dev == b.st_dev &&
	       a.st_ino == b.st_ino;
}

/* A file that is a disk already: two disks of one file change each other's data, unless nobody writes. True: it is
 * none. */
static bool is_free(struct json_object *disks, const char *path, bool read_only, struct err *e)
{
	for (size_t i = 0; i < list_count(disks) && !e->code; i++) {
		struct json_object *about = field(list_at(disks, i), "driver_specific");

		if (!json_object_is_type(about, json_type_object))
			continue;
		json_object_object_foreach(about, kind, facts) {
			if (kind && is_same_file(field_text(facts, "filename"), path) &&
			    !(read_only && field_bool(facts, "readonly")))
				err_set(e, -EEXIST, "%s is the disk %s already; two disks of one file change each other's data",
				        path, field_text(list_at(disks, i), "name"));
		}
	}
	return !e->code;
}

static int make_file(const char *path, const char *size, struct err *e)
{
	uint64_t bytes;
	int fd, error;

	if (text_parse_size(size, &bytes, e)) {
		e->code = CLIENT_MISTYPED;
		return e->code;
	}
	fd = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
	if (fd >= 0 && ftruncate(fd, (off_t)bytes) == 0) {
		close(fd);
		return 0;
	}
	error = errno;
	if (fd >= 0) {
		close(fd);
		unlink(path);
	}
	return err_set(e, -error, "the file %s cannot be made: %s", path, strerror(error));
}

/* It is there afterwards, or has to be made: one that is there has its own size, unless its blocks are counted. */
static int have_file(struct json_object *rows, const char *path, const char *size, struct err *e)
{
	if (access(path, F_OK) < 0 && errno == ENOENT)
		return size ? make_file(path, size, e) :
		              err_set(e, -ENOENT, "there is no file %s; add a size to make it: gantry disk create file %s "
		                      "--size 1G", path, path);
	if (size && !list_find(rows, "name", "num_blocks"))
		return err_set(e, CLIENT_MISTYPED, "%s is there already and keeps its size; leave the size out, or "
		               "change it first: truncate -s %s %s", path, size, path);
	return 0;
}

/* The daemon has its own working directory. A file that is not there is made when its size is known. */
static int set_paths(struct json_object *disks, struct json_object *rows, struct json_object *params, const char *size,
                     struct err *e)
{
	bool read_only = field_bool(params, "readonly");

	for (size_t i = 0; i < list_count(rows); i++) {
		const char *name = field_text(list_at(rows, i), "name"), *given = field_text(params, name);
		char path[PATH_MAX + 1];

		if (!is_path(list_at(rows, i)) || !*given)
			continue;
		if (have_file(rows, given, size, e) || (realpath(given, path) && !is_free(disks, path, read_only, e)))
			return e->code;
		if (realpath(given, path))
			json_object_object_add(params, name, json_object_new_string(path));
	}
	return 0;
}

/* A name that is wanted and was not given: the kind and the first number that is free. */
static void set_name(struct cli *c, struct json_object *rows, struct json_object *params, const char *kind)
{
	struct err e = { 0 };
	struct json_object *all;
	char name[KIND_MAX + 16];

	if (!list_find(rows, "name", "name") || field(params, "name"))
		return;
	all = client_call(c, "bdev_get_bdevs", NULL, &e);
	for (unsigned i = 0;; i++) {
		snprintf(name, sizeof(name), "%s%u", kind, i);
		if (!list_find(all, "name", name))
			break;
	}
	json_object_object_add(params, "name", json_object_new_string(name));
	json_object_put(all);
}

/* A method that only says true: what was not there before is what it made. Takes `result`. */
static struct json_object *name_of_new(struct cli *c, struct json_object *before, struct json_object *result)
{
	struct err e = { 0 };
	struct json_object *now = client_call(c, "bdev_get_bdevs", NULL, &e), *names = json_object_new_array();

	for (size_t i = 0; i < list_count(now); i++)
		if (!list_find(before, "name", field_text(list_at(now, i), "name")))
			json_object_array_add(names, json_object_get(field(list_at(now, i), "name")));
	json_object_put(now);
	if (list_count(names) == 1) {
		json_object_put(result);
		result = json_object_get(list_at(names, 0));
	}
	json_object_put(names);
	return result;
}

static void say_made(struct cli *c, struct json_object *result)
{
	struct json_object *list = json_object_is_type(result, json_type_array) ? result : NULL;

	for (size_t i = 0; i < (list ? list_count(list) : 1); i++) {
		const char *name = json_object_get_string(list ? list_at(list, i) : result);
		struct err e = { 0 };
		struct json_object *disk = disk_find(c, name, &e);
		char size[32];

		if (!disk) {
			printf("Made; it is there when what it stands on is.\n");
			return;
		}
		printf("%s: %s, %s, blocks of %lu bytes\n", name, field_text(disk, "product_name"),
		       text_size(field_u64(disk, "num_blocks") * field_u64(disk, "block_size"), size),
		       field_u64(disk, "block_size"));
		if (i == 0)
			printf("Serve it: gantry export disk %s\n", name);
		json_object_put(disk);
	}
}

/* --- help --- */

bool disk_create_help(struct cli *c, struct cli_args *a, const char *first)
{
	struct err e = { 0 };
	struct json_object *rows = field(a->about, "params"), *methods = cli_methods(c, &e);

	if (!first || !a->about) {
		usage_verb(&disk_noun, a->verb, a);
		if (methods)
			list_kinds(methods);
		else
			printf("\nWhich kinds there are is the daemon's to say: %s\n", e.text);
		return true;
	}
	printf("Usage: gantry disk create %s", first);
	for (size_t i = 0; i < list_count(rows); i++)
		if (is_word(list_at(rows, i)))
			print_placeholder(list_at(rows, i));
	if (list_find(rows, "name", "filename"))
		printf(" [SIZE]");
	printf(" [OPTION]...\n\n%s\n\n", field_text(a->about, "doc"));
	if (list_find(rows, "name", "name"))
		printf("  --name NAME\n      %s\n", a->verb->options[0].doc);
	for (size_t i = 0; i < list_count(rows); i++) {
		struct json_object *row = list_at(rows, i);
		char option[96];

		if (field_bool(row, "ignored") || strcmp(field_text(row, "name"), "name") == 0)
			continue;
		if (is_size(row)) {
			printf("  --size SIZE\n      As in 512M or 10G; instead of --num-blocks.\n");
			continue;
		}
		snprintf(option, sizeof(option), "--%s", field_text(row, "name"));
		for (char *s = option; *s; s++)
			*s = *s == '_' ? '-' : *s;
		help_row(row, option, 2);
	}
	printf("\nExample:\n    gantry disk create %s", first);
	for (size_t i = 0; i < list_count(rows); i++)
		if (is_word(list_at(rows, i)))
			example_word(list_at(rows, i));
	printf("%s\n", list_find(rows, "name", "filename") ? " --size 1G" : "");
	return true;
}

/* Something that fits a row. */
static void example_word(struct json_object *row)
{
	if (is_size(row))
		printf(" 1G");
	else if (is_path(row))
		printf(" /var/tmp/disk.img");
	else if (list_count(field(row, "choices")))
		printf(" %s", json_object_get_string(list_at(field(row, "choices"), 0)));
	else if (strstr(field_text(row, "name"), "base"))
		printf(" disk0");
	else if (strcmp(field_text(row, "type"), "text") == 0)
		print_placeholder(row);
	else
		printf(" %lu", max_u64(field_u64(row, "min"), 1));
}

static void print_placeholder(struct json_object *row)
{
	putchar(' ');
	for (const char *s = is_size(row) ? "SIZE" : field_text(row, "name"); *s; s++)
		putchar(*s >= 'a' && *s <= 'z' ? *s - 'a' + 'A' : *s);
}

static void list_kinds(struct json_object *methods)
{
	struct table t;
	size_t len;

	printf("\nThis daemon's kinds:\n");
	table_init(&t, "KIND WHAT_IT_DOES");
	for (size_t i = 0; i < list_count(methods); i++) {
		const char *kind = disk_kind_of(field_text(list_at(methods, i), "name"), &len);
		const char *plain = "";

		if (!kind || field_bool(list_at(methods, i), "ignored"))
			continue;
		for (size_t k = 0; k < ARRAY_SIZE(plain_names); k++)
			if (strlen(plain_names[k].kinds[0]) == len && memcmp(plain_names[k].kinds[0], kind, len) == 0)
				plain = plain_names[k].name;
		if (*plain)
			table_cell(&t, "%s, %.*s", plain, (int)len, kind);
		else
			table_cell(&t, "%.*s", (int)len, kind);
		table_cell(&t, "%s", field_text(list_at(methods, i), "doc"));
	}
	table_print(&t);
}
