/* SPDX-License-Identifier: BSD-3-Clause */
/* client.c: JSON-RPC 2.0 over the daemon's UNIX socket, one request at a time. */
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "cli/cli.h"

static int client_connect(struct cli *c, struct err *e);
static int explain(struct cli *c, int error, struct err *e);
static int send_all(struct cli *c, const char *text, size_t len, struct err *e);
static struct json_object *receive(struct cli *c, struct err *e);
static struct json_object *result_of(struct json_object *answer, struct err *e);

struct json_object *client_call(struct cli *c, const char *method, struct json_object *params, struct err *e)
{
	struct json_object *request, *answer = NULL, *result = NULL;
	const char *text;
	size_t len;

	if (c->fd < 0 && client_connect(c, e))
		return NULL;
	request = json_object_new_object();
	json_object_object_add(request, "jsonrpc", json_object_new_string("2.0"));
	json_object_object_add(request, "id", json_object_new_uint64(++c->last_id));
	json_object_object_add(request, "method", json_object_new_string(method));
	if (params && json_object_object_length(params))
		json_object_object_add(request, "params", json_object_get(params));
	text = json_object_to_json_string_length(request, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE, &len);
	if (send_all(c, text, len, e) == 0)
		answer = receive(c, e);
	if (answer)
		result = result_of(answer, e);
	else
		client_close(c); /* an answer that comes too late is not the next request's */
	json_object_put(answer);
	json_object_put(request);
	return result;
}

struct json_object *client_ask(struct cli *c, struct err *e, const char *method, ...)
{
	struct json_object *params = json_object_new_object(), *result;
	const char *key;
	va_list ap;

	va_start(ap, method);
	while ((key = va_arg(ap, const char *)) != NULL)
		json_object_object_add(params, key, json_object_new_string(va_arg(ap, const char *)));
	va_end(ap);
	result = client_call(c, method, params, e);
	json_object_put(params);
	return result;
}

int client_do(struct cli *c, const char *method, struct json_object *params, struct err *e)
{
	struct err mine = { 0 };
	struct json_object *result = client_call(c, method, params, &mine);

	json_object_put(result);
	return result ? 0 : err_set(e, mine.code, "%s", mine.text);
}

void client_close(struct cli *c)
{
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
	if (c->tokener)
		json_tokener_free(c->tokener);
	c->tokener = NULL;
}

struct json_object *client_describe(struct cli *c, const char *method)
{
	struct json_object *params = json_object_new_object(), *all, *described = NULL;
	struct err e = { 0 };

	json_object_object_add(params, "method", json_object_new_string(method));
	all = client_call(c, "rpc_describe", params, &e);
	if (list_count(field(all, "methods")) == 1)
		described = json_object_get(json_object_array_get_idx(field(all, "methods"), 0));
	json_object_put(all);
	json_object_put(params);
	return described;
}

struct json_object *cli_methods(struct cli *c, struct err *e)
{
	if (!c->methods)
		c->methods = client_call(c, "rpc_describe", NULL, e);
	return c->methods ? field(c->methods, "methods") : NULL;
}

struct json_object *cli_method(struct cli *c, const char *name)
{
	struct err e = { 0 };

	return list_find(cli_methods(c, &e), "name", name);
}

static int client_connect(struct cli *c, struct err *e)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd;

	if (strlen(c->socket) >= sizeof(addr.sun_path))
		return err_set(e, CLIENT_UNREACHABLE, "the socket's path is longer than %zu characters: %s",
		               sizeof(addr.sun_path) - 1, c->socket);
	memcpy(addr.sun_path, c->socket, strlen(c->socket) + 1);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return err_set(e, CLIENT_UNREACHABLE, "no socket can be made: %s", strerror(errno));
	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0) {
		int rc = explain(c, errno, e);

		close(fd);
		return rc;
	}
	c->fd = fd;
	c->tokener = json_tokener_new();
	must(c->tokener);
	return 0;
}

static int explain(struct cli *c, int error, struct err *e)
{
	bool usual = strcmp(c->socket, CLI_SOCKET) == 0;

	if (error == ENOENT || error == ECONNREFUSED)
		return err_set(e, CLIENT_UNREACHABLE, "no daemon answers at %s (%s); start one with: gantryd%s%s, or name "
		               "another socket with -s", c->socket,
		               error == ENOENT ? "there is no such socket" : "nobody listens",
		               usual ? "" : " -r ", usual ? "" : c->socket);
	if (error == EACCES)
		return err_set(e, CLIENT_UNREACHABLE, "the socket %s belongs to another user; become that one, for instance "
		               "with sudo", c->socket);
	return err_set(e, CLIENT_UNREACHABLE, "the socket %s cannot be reached: %s", c->socket, strerror(error));
}

static int send_all(struct cli *c, const char *text, size_t len, struct err *e)
{
	while (len) {
		ssize_t n = send(c->fd, text, len, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_set(e, CLIENT_UNREACHABLE, "the daemon at %s closed the connection: %s", c->socket,
			               strerror(errno));
		text += n;
		len -= (size_t)n;
	}
	return 0;
}

static struct json_object *receive(struct cli *c, struct err *e)
{
	char buf[65536];

	json_tokener_reset(c->tokener);
	for (;;) {
		struct pollfd p = { .fd = c->fd, .events = POLLIN };
		struct json_object *answer;
		ssize_t n;
		int ready = poll(&p, 1, c->timeout_s ? (int)c->timeout_s * 1000 : -1);

		if (ready < 0 && errno == EINTR)
			continue;
		if (ready == 0) {
			err_set(e, CLIENT_UNREACHABLE, "the daemon at %s has not answered for %u s; wait longer with -t", c->socket,
			        c->timeout_s);
			return NULL;
		}
		n = recv(c->fd, buf, sizeof(buf), 0);
		if (n <= 0) {
			err_set(e, CLIENT_UNREACHABLE, "the daemon at %s ended before it answered%s%s", c->socket,
			        n < 0 ? ": " : "", n < 0 ? strerror(errno) : "");
			return NULL;
		}
		answer = json_tokener_parse_ex(c->tokener, buf, (int)n);
		if (answer)
			return answer; /* one request, one answer: nothing else follows */
		if (json_tokener_get_error(c->tokener) != json_tokener_continue) {
			err_set(e, CLIENT_UNREACHABLE, "what answers at %s is no JSON-RPC server: %s", c->socket,
			        json_tokener_error_desc(json_tokener_get_error(c->tokener)));
			return NULL;
		}
	}
}

static struct json_object *result_of(struct json_object *answer, struct err *e)
{
	struct json_object *error = field(answer, "error"), *result = NULL;

	if (error) {
		const char *message = field_text(error, "message");

		err_set(e, json_object_get_int(field(error, "code")) ? json_object_get_int(field(error, "code")) : -1,
		        "%s", *message ? message : "the daemon refused, without a reason");
		return NULL;
	}
	if (!json_object_object_get_ex(answer, "result", &result))
		err_set(e, CLIENT_UNREACHABLE, "the answer has neither result nor error");
	else if (!result)
		return json_object_new_object(); /* null: success, and nothing to tell */
	return json_object_get(result);
}
