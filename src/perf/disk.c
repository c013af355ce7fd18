/* SPDX-License-Identifier: BSD-3-Clause */
/* disk.c: --disk: the same run inside a daemon, on any of its disks: one call of bdev_perf_start over its RPC socket,
 * reported as our own runs are. Ending us ends the run. */
#include <errno.h>
#include <json-c/json.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "perf/perf.h"

#define SOCKET "/var/tmp/spdk.sock"
#define SERVICE_SOCKET "/run/gantry/rpc.sock"

static struct json_object *request_json(const struct perf_opts *o);
static struct json_object *ask(const char *path, struct json_object *request);
static void report(const struct perf_opts *o, struct json_object *result);

static const char *socket_path(const struct perf_opts *o)
{
	const char *env = getenv("GANTRY_SOCKET");

	if (o->socket)
		return o->socket;
	if (env && *env)
		return env;
	return access(SERVICE_SOCKET, F_OK) == 0 ? SERVICE_SOCKET : SOCKET;
}

static struct json_object *field(struct json_object *o, const char *key)
{
	return json_object_object_get(o, key);
}

static uint64_t number(struct json_object *o, const char *key)
{
	return json_object_get_uint64(field(o, key));
}

int perf_disk_run(const struct perf_opts *o)
{
	struct json_object *request = request_json(o), *answer = ask(socket_path(o), request), *result, *error;
	int code = 1;

	result = field(answer, "result");
	error = field(answer, "error");
	if (result) {
		report(o, result);
		code = number(result, "errors") || number(result, "miscompares");
	} else if (answer) {
		fprintf(stderr, "gantry-perf: %s\n", error ? json_object_get_string(field(error, "message")) : "no result");
	}
	json_object_put(answer);
	json_object_put(request);
	return code;
}

static struct json_object *request_json(const struct perf_opts *o)
{
	struct json_object *request = json_object_new_object(), *p = json_object_new_object();

	json_object_object_add(request, "jsonrpc", json_object_new_string("2.0"));
	json_object_object_add(request, "id", json_object_new_int(1));
	json_object_object_add(request, "method", json_object_new_string("bdev_perf_start"));
	json_object_object_add(request, "params", p);
	json_object_object_add(p, "name", json_object_new_string(o->disk));
	json_object_object_add(p, "rw", json_object_new_string(o->pattern));
	json_object_object_add(p, "rwmixread", json_object_new_int(o->read_percent));
	json_object_object_add(p, "qd", json_object_new_uint64(o->depth));
	json_object_object_add(p, "io_size", json_object_new_uint64(o->io_bytes));
	json_object_object_add(p, "time", json_object_new_uint64(o->time_s));
	json_object_object_add(p, "warmup", json_object_new_uint64(o->warmup_s));
	json_object_object_add(p, "number_ios", json_object_new_uint64(o->io_limit));
	json_object_object_add(p, "verify", json_object_new_boolean(o->verify));
	json_object_object_add(p, "seed", json_object_new_uint64(o->seed));
	if (o->cpus)
		json_object_object_add(p, "cores", json_object_new_string(o->cpus));
	return request;
}

static int connect_to(const char *path)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || strlen(path) >= sizeof(addr.sun_path) || !memcpy(addr.sun_path, path, strlen(path) + 1) ||
	    connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0) {
		fprintf(stderr, "gantry-perf: no daemon answers at %s: %s; name its socket with --socket\n", path,
		        strlen(path) >= sizeof(addr.sun_path) ? "that path is too long" : strerror(errno));
		if (fd >= 0)
			close(fd);
		return -1;
	}
	return fd;
}

/* The answer, the caller's; NULL: said why. The socket is open until then: closing it is what ends the run. */
static struct json_object *ask(const char *path, struct json_object *request)
{
	const char *text = json_object_to_json_string_ext(request, JSON_C_TO_STRING_PLAIN);
	struct json_tokener *tokener = json_tokener_new();
	struct json_object *answer = NULL;
	int fd = connect_to(path);
	char buf[16384];
	ssize_t n = 0;

	if (fd >= 0 && send(fd, text, strlen(text), MSG_NOSIGNAL) != (ssize_t)strlen(text))
		fprintf(stderr, "gantry-perf: the daemon at %s does not listen: %s\n", path, strerror(errno));
	while (fd >= 0 && !answer && (n = recv(fd, buf, sizeof(buf), 0)) > 0)
		answer = json_tokener_parse_ex(tokener, buf, (int)n);
	if (fd >= 0 && !answer)
		fprintf(stderr, "gantry-perf: the daemon at %s ended the conversation: %s\n", path,
		        n < 0 ? strerror(errno) : "no answer came");
	if (fd >= 0)
		close(fd);
	json_tokener_free(tokener);
	return answer;
}

/* --- the report ------------------------------------------------------------------------------- */

static void row(const char *name, struct json_object *o)
{
	struct json_object *us = field(o, "latency_us");

	perf_print_row(name, json_object_get_double(field(o, "iops")), json_object_get_double(field(o, "mib_per_s")),
	               json_object_get_double(field(us, "mean")), json_object_get_double(field(us, "min")),
	               json_object_get_double(field(us, "max")));
}

static void report(const struct perf_opts *o, struct json_object *result)
{
	struct json_object *reactors = field(result, "reactors"), *us = field(result, "latency_us");
	char name[192];

	for (size_t i = 0; i < 2; i++) {
		struct json_object *first = field(result, i ? "first_miscompare" : "first_error");

		if (first)
			fprintf(stderr, "%s: %s\n", o->disk, json_object_get_string(first));
	}
	if (o->json) {
		printf("%s\n", json_object_to_json_string_ext(result, JSON_C_TO_STRING_SPACED |
		                                              JSON_C_TO_STRING_NOSLASHESCAPE));
		return;
	}
	perf_print_title();
	for (size_t i = 0; i < json_object_array_length(reactors); i++) {
		struct json_object *r = json_object_array_get_idx(reactors, i);

		snprintf(name, sizeof(name), "%.44s from core %2u", o->disk, (unsigned)number(r, "cpu"));
		row(name, r);
	}
	row("Total", result);
	for (size_t i = 0; o->latency && perf_percentile_key(i); i++)
		printf("%8s: %10.2f us\n", perf_percentile_key(i), json_object_get_double(field(us, perf_percentile_key(i))));
	if (number(result, "errors") || number(result, "miscompares") || o->verify)
		printf("errors: %llu, miscompares: %llu\n", (unsigned long long)number(result, "errors"),
		       (unsigned long long)number(result, "miscompares"));
}
