/* SPDX-License-Identifier: BSD-3-Clause */
/* http.c: the HTTP server: libmicrohttpd on a thread of its own, which sleeps while nobody asks.
 *
 * A request waits, suspended, while a message goes to the control reactor and the text is made; then the reactor lets
 * it go on. Nothing is shared but the request itself, which is one side's or the other's. Memory, time and number of
 * connections are bounded, so that no peer can hold more than METRICS_SCRAPES_MAX of them, nor for long.
 *
 * The library measures silence. Who sends or takes a byte now and then is ended by a timer of the control reactor's,
 * through a descriptor of its own of the same socket, which stays what it is whenever the library closes the other.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <microhttpd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/log.h"
#include "metrics/gather.h"

struct metrics_http {
	struct metrics *m;
	struct MHD_Daemon *daemon;
	_Atomic uint32_t out;           /* requests on their way to control and back; one more until it stops */
	_Atomic bool stopping, ending;
	_Atomic uint32_t peers;         /* connections that control has not heard the end of; one more until it stops */
	struct msg end_msg;
};

/* A connection; the control reactor's between two messages. */
struct peer {
	struct msg come_msg, gone_msg;
	struct timer timer;
	struct metrics_http *http;
	int fd;                         /* its own; -1: there was none to be had */
	_Atomic uint64_t since_ns;      /* its present request began not before that */
};

/* One request. */
struct scrape {
	struct msg msg;
	struct metrics_ask ask;
	struct metrics_http *http;
	struct MHD_Connection *conn;
	struct metrics_text *text;
	bool asked;
};

static enum MHD_Result on_request(void *cls, struct MHD_Connection *conn, const char *url, const char *method,
                                  const char *version, const char *data, size_t *data_len, void **at);
static void on_peer(void *cls, struct MHD_Connection *conn, void **at, enum MHD_ConnectionNotificationCode what);
static void peer_came(struct msg *m);
static void peer_gone(struct msg *m);
static void peer_less(struct metrics_http *h);
static enum MHD_Result answer(struct MHD_Connection *conn, unsigned status, const char *type, const char *text);
static enum MHD_Result answer_metrics(struct scrape *s);
static void on_end(void *cls, struct MHD_Connection *conn, void **at, enum MHD_RequestTerminationCode why);
static void ask_on_control(struct msg *m);
static void text_is_there(struct metrics_ask *a, struct metrics_text *text);
static void go_on(struct scrape *s);
static bool out_was_last(struct metrics_http *h);
static void end_on_control(struct msg *m);
static void end(struct metrics_http *h);

struct metrics_http *metrics_http_start(struct metrics *m, const char *host, uint16_t port, struct err *e)
{
	struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_port = htons(port) };
	struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
	bool is_v4 = inet_pton(AF_INET, host, &v4.sin_addr) == 1;
	struct metrics_http *h;

	if (!is_v4 && inet_pton(AF_INET6, host, &v6.sin6_addr) != 1) {
		err_set(e, ERR_BAD_PARAM, "address: \"%s\" is neither an IPv4 nor an IPv6 address", host);
		return NULL;
	}
	h = base_zalloc(sizeof(*h));
	h->m = m;
	atomic_init(&h->out, 1);
	atomic_init(&h->peers, 1);
	errno = 0;
	h->daemon = MHD_start_daemon(MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME |
		(is_v4 ? 0 : MHD_USE_IPv6), port, NULL, NULL, on_request, h,
		MHD_OPTION_SOCK_ADDR, is_v4 ? (struct sockaddr *)&v4 : (struct sockaddr *)&v6,
		MHD_OPTION_CONNECTION_LIMIT, METRICS_SCRAPES_MAX,
		MHD_OPTION_CONNECTION_TIMEOUT, METRICS_HTTP_TIMEOUT_S,
		MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)METRICS_HTTP_MEMORY,
		MHD_OPTION_NOTIFY_CONNECTION, on_peer, h,
		MHD_OPTION_NOTIFY_COMPLETED, on_end, NULL, MHD_OPTION_END);
	if (!h->daemon) {
		err_set(e, errno ? -errno : -EIO, "metrics cannot be served at %s port %u: %s", host, port,
		        errno ? strerror(errno) : "the HTTP server did not start");
		free(h);
		return NULL;
	}
	m->servers++;
	log_notice("metrics: http://%s%s%s:%u/metrics", is_v4 ? "" : "[", host, is_v4 ? "" : "]",
	           MHD_get_daemon_info(h->daemon, MHD_DAEMON_INFO_BIND_PORT)->port);
	return h;
}

/* --- the server's thread --- */

static enum MHD_Result on_request(void *cls, struct MHD_Connection *conn, const char *url, const char *method,
                                  const char *version, const char *data, size_t *data_len, void **at)
{
	struct metrics_http *h = cls;
	struct scrape *s = *at;

	if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0)
		return answer(conn, MHD_HTTP_METHOD_NOT_ALLOWED, "text/plain", "only GET\n");
	if (strcmp(url, "/metrics") != 0)
		return strcmp(url, "/") == 0 ? answer(conn, MHD_HTTP_OK, "text/plain", "gantryd: see /metrics\n")
		                             : answer(conn, MHD_HTTP_NOT_FOUND, "text/plain", "see /metrics\n");
	if (s && s->asked)
		return answer_metrics(s);
	if (!s) {
		s = *at = base_zalloc(sizeof(*s));
		s->http = h;
		s->conn = conn;
	}
	if (*data_len) { /* a GET with a body: thrown away */
		*data_len = 0;
		return MHD_YES;
	}
	s->asked = true;
	atomic_fetch_add(&h->out, 1);
	if (atomic_load(&h->stopping)) { /* control may have counted on this one to end it */
		if (out_was_last(h))
			msg_send(core_control(h->m->core), &h->end_msg, end_on_control);
		return answer_metrics(s);
	}
	MHD_suspend_connection(conn);
	msg_send(core_control(h->m->core), &s->msg, ask_on_control);
	return MHD_YES;
}

static enum MHD_Result answer(struct MHD_Connection *conn, unsigned status, const char *type, const char *text)
{
	struct MHD_Response *r = MHD_create_response_from_buffer(strlen(text), (void *)(uintptr_t)text,
	                                                         MHD_RESPMEM_MUST_COPY);
	enum MHD_Result result;

	if (!r)
		return MHD_NO;
	MHD_add_response_header(r, MHD_HTTP_HEADER_CONTENT_TYPE, type);
	if (status == MHD_HTTP_METHOD_NOT_ALLOWED)
		MHD_add_response_header(r, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
	result = MHD_queue_response(conn, status, r);
	MHD_destroy_response(r);
	return result;
}

/* The text stays until on_end(). */
static enum MHD_Result answer_metrics(struct scrape *s)
{
	struct MHD_Response *r;
	enum MHD_Result result;

	if (!s->text)
		return answer(s->conn, MHD_HTTP_SERVICE_UNAVAILABLE, "text/plain", "the daemon stops\n");
	r = MHD_create_response_from_buffer(s->text->len, s->text->bytes, MHD_RESPMEM_PERSISTENT);
	if (!r)
		return MHD_NO;
	MHD_add_response_header(r, MHD_HTTP_HEADER_CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8");
	result = MHD_queue_response(s->conn, MHD_HTTP_OK, r);
	MHD_destroy_response(r);
	return result;
}

static void on_peer(void *cls, struct MHD_Connection *conn, void **at, enum MHD_ConnectionNotificationCode what)
{
	struct metrics_http *h = cls;
	struct reactor *control = core_control(h->m->core);
	struct peer *p = *at;

	if (what == MHD_CONNECTION_NOTIFY_CLOSED) {
		if (p)
			msg_send(control, &p->gone_msg, peer_gone);
		return;
	}
	p = *at = base_zalloc(sizeof(*p));
	p->http = h;
	p->fd = fcntl(MHD_get_connection_info(conn, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd, F_DUPFD_CLOEXEC, 0);
	atomic_init(&p->since_ns, core_clock_ns());
	atomic_fetch_add(&h->peers, 1);
	msg_send(control, &p->come_msg, peer_came);
}

static void on_end(void *cls, struct MHD_Connection *conn, void **at, enum MHD_RequestTerminationCode why)
{
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(conn, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
	struct peer *p = info ? info->socket_context : NULL;
	struct scrape *s = *at;

	if (p)
		atomic_store(&p->since_ns, core_clock_ns()); /* another may follow */
	if (!s)
		return;
	metrics_text_unref(s->text);
	free(s);
	*at = NULL;
}

/* --- control --- */

static void peer_time(struct timer *t)
{
	struct peer *p = container_of(t, struct peer, timer);
	uint64_t until_ns = atomic_load(&p->since_ns) + METRICS_HTTP_TIMEOUT_S * NS_PER_S, now_ns = core_clock_ns();

	if (until_ns > now_ns)
		timer_start(&p->timer, until_ns - now_ns, peer_time);
	else if (p->fd >= 0)
		shutdown(p->fd, SHUT_RDWR); /* the library finds it closed */
}

static void peer_came(struct msg *m)
{
	struct peer *p = container_of(m, struct peer, come_msg);

	timer_start(&p->timer, METRICS_HTTP_TIMEOUT_S * NS_PER_S, peer_time);
}

static void peer_gone(struct msg *m)
{
	struct peer *p = container_of(m, struct peer, gone_msg);
	struct metrics_http *h = p->http;

	timer_stop(&p->timer);
	if (p->fd >= 0)
		close(p->fd);
	free(p);
	peer_less(h);
}

static void ask_on_control(struct msg *m)
{
	struct scrape *s = container_of(m, struct scrape, msg);

	if (atomic_load(&s->http->stopping))
		go_on(s);
	else
		metrics_ask(s->http->m, &s->ask, text_is_there);
}

static void text_is_there(struct metrics_ask *a, struct metrics_text *text)
{
	struct scrape *s = container_of(a, struct scrape, ask);

	s->text = text;
	go_on(s);
}

/* It is the other thread's again, and may be gone at once. */
static void go_on(struct scrape *s)
{
	struct metrics_http *h = s->http;

	MHD_resume_connection(s->conn);
	if (out_was_last(h))
		end(h);
}

/* Requests that wait are answered first. */
void metrics_http_stop(struct metrics_http *h)
{
	atomic_store(&h->stopping, true);
	if (out_was_last(h))
		end(h);
}

/* Both threads ask: true for one of them, once. */
static bool out_was_last(struct metrics_http *h)
{
	return atomic_fetch_sub(&h->out, 1) == 1 && !atomic_exchange(&h->ending, true);
}

static void end_on_control(struct msg *m)
{
	end(container_of(m, struct metrics_http, end_msg));
}

/* Joins the thread: it waits for nothing but its sockets. */
static void end(struct metrics_http *h)
{
	MHD_stop_daemon(h->daemon);
	peer_less(h);
}

static void peer_less(struct metrics_http *h)
{
	struct metrics *m = h->m;

	if (atomic_fetch_sub(&h->peers, 1) != 1)
		return;
	free(h);
	m->servers--;
	metrics_maybe_stopped(m);
}
