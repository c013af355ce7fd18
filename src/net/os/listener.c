/* SPDX-License-Identifier: BSD-3-Clause */
/* listener.c: taking connections from the kernel, at most a budget of them a pass.
 *
 * When the process has no descriptor left, accepting pauses for a while: the queue would keep the level up
 * and the reactor busy. It is said once, until the queue has been emptied again.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/log.h"
#include "net/os/sock.h"
#include "net/os/unix_path.h"

#define ACCEPTS_A_PASS 32
#define PAUSE_NS (100 * NS_PER_MS)

struct listener {
	struct source source;
	struct timer pause;
	struct unix_path path;
	listener_fn *fn;
	void *arg;
	bool *gone;      /* set when fn closes the listener it is called for */
	bool said;       /* the pause */
	struct net_addr addr;
};

static struct listener *start(struct listener *l, int fd, listener_fn *fn, void *arg, struct err *e);
static int listen_tcp(int fd, const struct net_addr *addr, int backlog, struct err *e);
static int bind_failed(const struct net_addr *addr, int error, struct err *e);
static void on_events(struct source *source, uint32_t events);
static void accept_failed(struct listener *l, int error);
static void resume(struct timer *t);

struct listener *listener_open(const struct net_addr *addr, uint32_t backlog, listener_fn *fn, void *arg, struct err *e)
{
	int fd = sock_open_fd(addr, e), rc;
	struct listener *l;

	if (fd < 0)
		return NULL;
	l = base_zalloc(sizeof(*l));
	backlog = min_u32(backlog ? backlog : SOMAXCONN, INT32_MAX);
	if (net_addr_family(addr) == NET_UNIX)
		rc = unix_path_listen(&l->path, fd, addr, (int)backlog, e);
	else
		rc = listen_tcp(fd, addr, (int)backlog, e);
	if (!rc)
		return start(l, fd, fn, arg, e);
	close(fd);
	free(l);
	return NULL;
}

struct listener *listener_adopt(int fd, listener_fn *fn, void *arg, struct err *e)
{
	int listens = 0, flags = fcntl(fd, F_GETFL);
	socklen_t len = sizeof(listens);

	if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &len) || !listens || flags < 0 ||
	    fcntl(fd, F_SETFL, flags | O_NONBLOCK)) {
		err_set(e, -ENOTSOCK, "descriptor %d is not a socket that listens", fd);
		close(fd);
		return NULL;
	}
	return start(base_zalloc(sizeof(struct listener)), fd, fn, arg, e);
}

static struct listener *start(struct listener *l, int fd, listener_fn *fn, void *arg, struct err *e)
{
	int rc;

	l->fn = fn;
	l->arg = arg;
	l->addr.len = sizeof(l->addr.un);
	(void)getsockname(fd, &l->addr.any, &l->addr.len);
	rc = source_start(&l->source, fd, EPOLLIN, "listener", on_events);
	if (!rc)
		return l;
	err_set(e, rc, "the listening socket cannot be watched: %s", strerror(-rc));
	unix_path_remove(&l->path);
	close(fd);
	free(l);
	return NULL;
}

/* [::] is for IPv6 only, so that it and 0.0.0.0 can be listened on side by side, as two listeners. */
static int listen_tcp(int fd, const struct net_addr *addr, int backlog, struct err *e)
{
	int on = 1;

	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (net_addr_family(addr) == NET_IPV6)
		(void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
	if (bind(fd, &addr->any, addr->len) || listen(fd, backlog))
		return bind_failed(addr, errno, e);
	return 0;
}

static int bind_failed(const struct net_addr *addr, int error, struct err *e)
{
	char text[NET_ADDR_TEXT_MAX], host[NET_ADDR_TEXT_MAX];

	net_addr_text(addr, text);
	net_addr_host(addr, host);
	if (error == EADDRINUSE)
		return err_set(e, -error, "cannot listen on %s: the port is taken by another socket; choose another port "
		               "or stop who has it (ss -ltnp tells)", text);
	if (error == EADDRNOTAVAIL)
		return err_set(e, -error, "cannot listen on %s: this machine has no interface with the address %s", text, host);
	if (error == EINVAL && net_addr_lacks_interface(addr))
		return err_set(e, -error, "cannot listen on %s: " NET_LACKS_INTERFACE, text);
	if (error == EACCES)
		return err_set(e, -error, "cannot listen on %s: ports below 1024 need the capability CAP_NET_BIND_SERVICE",
		               text);
	return err_set(e, -error, "cannot listen on %s: %s", text, strerror(error));
}

int listener_let_group(struct listener *l, uint32_t gid, struct err *e)
{
	return unix_path_let_group(&l->path, gid, e);
}

void listener_close(struct listener *l)
{
	if (l->gone)
		*l->gone = true;
	timer_stop(&l->pause);
	source_stop(&l->source);
	unix_path_remove(&l->path);
	close(l->source.fd);
	free(l);
}

void listener_addr(const struct listener *l, struct net_addr *ret_addr)
{
	*ret_addr = l->addr;
}

static void on_events(struct source *source, uint32_t events)
{
	struct listener *l = container_of(source, struct listener, source);
	bool gone = false;

	l->gone = &gone;
	for (uint32_t i = 0; i < ACCEPTS_A_PASS && !gone; i++) {
		struct net_addr peer = { .len = sizeof(peer.un) };
		int fd = accept4(source->fd, &peer.any, &peer.len, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (fd < 0) {
			accept_failed(l, errno);
			break;
		}
		/* TCP_NODELAY comes from the listening socket. */
		l->fn(l->arg, sock_make(fd, &peer));
	}
	if (!gone)
		l->gone = NULL;
}

static void accept_failed(struct listener *l, int error)
{
	char text[NET_ADDR_TEXT_MAX];

	switch (error) {
	case EAGAIN:
		l->said = false;
		return;
	case EINTR: /* errors of the one connection, which is gone already; the level calls for the next */
	case ECONNABORTED:
	case EPERM:
	case EPROTO:
	case ENOPROTOOPT:
	case ENETDOWN:
	case ENETUNREACH:
	case EHOSTDOWN:
	case EHOSTUNREACH:
		return;
	default: /* EMFILE, ENFILE, ENOBUFS, ENOMEM and what may last: trying again at once would only spin */
		if (!l->said)
			log_warning("%s: connections have to wait: %s%s", net_addr_text(&l->addr, text), strerror(error),
			            error == EMFILE ? "; raise the limit of open files (ulimit -n)" : "");
		l->said = true;
		source_change(&l->source, 0);
		timer_start(&l->pause, PAUSE_NS, resume);
		return;
	}
}

static void resume(struct timer *t)
{
	struct listener *l = container_of(t, struct listener, pause);

	source_change(&l->source, EPOLLIN);
}
