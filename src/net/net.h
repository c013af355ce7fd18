/* SPDX-License-Identifier: BSD-3-Clause */
/* net.h: addresses, listeners and byte-stream sockets. The only way any protocol touches a network.
 *
 * net/os implements sockets over the kernel, net/sim over a simulated network; link one of them.
 * tls.h makes a socket a secured one, behind the same verbs.
 *
 * Everything is readiness driven and never blocks: a socket calls `ready` on its reactor when there may
 * be something to receive, when an earlier short send may go on, or when it failed; receiving and
 * sending happen straight from the caller's memory, with no copy kept. A socket belongs to one reactor
 * at a time: sock_detach() on the old one, sock_attach() on the new.
 */
#ifndef NET_NET_H
#define NET_NET_H

#include <netinet/in.h>
#include <sys/uio.h>
#include <sys/un.h>

#include "core/core.h"

enum net_family { NET_ANY, NET_IPV4, NET_IPV6, NET_UNIX };

struct net_addr {
	union {
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
		struct sockaddr_un un;
	};
	socklen_t len;
};

#define NET_ADDR_TEXT_MAX 128 /* "[2001:db8::1]:4420", "/run/gantry.sock" */
#define NET_HOST_TEXT_MAX 110

/* Numeric address and port, or a path for NET_UNIX. Never asks a name server; see net_resolve(). */
int net_addr_parse(enum net_family family, const char *host, const char *service, struct net_addr *ret_addr,
                   struct err *e) MUST_USE;
enum net_family net_addr_family(const struct net_addr *a);
const char *net_addr_text(const struct net_addr *a, char buf[static NET_ADDR_TEXT_MAX]);
/* Host and port apart, as NVMe's traddr and trsvcid want them. */
const char *net_addr_host(const struct net_addr *a, char buf[static NET_ADDR_TEXT_MAX]);
/* The same for other machines: without the interface of a link-local address ("fe80::1%eth0"), which is ours. */
const char *net_addr_host_abroad(const struct net_addr *a, char buf[static NET_ADDR_TEXT_MAX]);
/* Link-local, and does not say by which interface: it can be shown, but not listened on or connected to. */
bool net_addr_lacks_interface(const struct net_addr *a);
#define NET_LACKS_INTERFACE "a link-local address needs its interface, as in fe80::1%%eth0 (ip -6 addr shows both)"
uint16_t net_addr_port(const struct net_addr *a);
void net_addr_set_port(struct net_addr *a, uint16_t port);
bool net_addr_equal(const struct net_addr *a, const struct net_addr *b);
/* The same IP address, whatever the ports. */
bool net_addr_same_host(const struct net_addr *a, const struct net_addr *b);
/* Does a listener on `a` take connections to `b`? Equal, or `a` is the wildcard of that family and port. */
bool net_addr_covers(const struct net_addr *a, const struct net_addr *b);

/* Resolve a name on the helper pool. Caller's memory; `done` runs on the calling reactor; err.code says how it went. */
struct net_resolve {
	struct job job;
	enum net_family family;
	char host[256], service[16];
	struct net_addr addr;
	struct err err;
	void (*done)(struct net_resolve *r);
};
void net_resolve(struct net_resolve *r, enum net_family family, const char *host, const char *service,
                 void (*done)(struct net_resolve *r));

/* --- sockets ------------------------------------------------------------------------------------- */

#define SOCK_READABLE 1u /* receive until -EAGAIN or your budget; called again in the next pass if data is left */
#define SOCK_WRITABLE 2u /* after a short send (sock_want_write) */
#define SOCK_FAILED 4u   /* error or hang-up, told once; with SOCK_READABLE while what came before it is being read.
                          * A peer that ends only its direction has not failed: sock_recv() gives 0, once, and that
                          * ends SOCK_READABLE. */

struct sock;
typedef void sock_ready_fn(void *arg, uint32_t events);

struct sock_opts {
	uint32_t send_buffer, recv_buffer;    /* bytes; 0: the system's */
	/* What was sent has to be acknowledged within that time (TCP_USER_TIMEOUT), and a peer from which nothing comes is
	 * asked about as often (SO_KEEPALIVE): else who only waits for answers would not find out. 0: none. */
	uint32_t ack_timeout_ms;
	uint8_t priority;
};

/* Begin to connect. Attached to the calling reactor; `ready` gets SOCK_WRITABLE once when connected, SOCK_FAILED
 * (sock_error() tells) when not. `from` may be NULL. NULL with a sentence when it cannot even begin. */
struct sock *sock_connect(const struct net_addr *to, const struct net_addr *from, const struct sock_opts *opts,
                          sock_ready_fn *ready, void *arg, struct err *e);
/* For accepted and inherited sockets; sock_connect() does it for its own. */
void sock_set_opts(struct sock *s, const struct sock_opts *opts);
/* Close at once and free. Any unsent bytes the system took are still delivered, unless `reset`. */
void sock_close(struct sock *s);
void sock_reset(struct sock *s);
/* No more sending; the peer sees the end after the bytes sent so far. */
void sock_shutdown_send(struct sock *s);

/* Bytes received (0: the peer ended), or -EAGAIN, -ECONNRESET, ... */
ssize_t sock_recv(struct sock *s, void *buf, size_t len);
ssize_t sock_recvv(struct sock *s, const struct iovec *iov, int count);
/* The same, of a plain socket, and the bytes stay to be received: who decides by them who is to receive them. */
ssize_t sock_peek(struct sock *s, void *buf, size_t len);
/* Bytes taken, maybe fewer than given, or -EAGAIN, -EPIPE, ... At most SOCK_IOV_MAX iovecs. */
#define SOCK_IOV_MAX 1024
ssize_t sock_send(struct sock *s, const struct iovec *iov, int count);
/* NET_UNIX: descriptors that travel with bytes. Who receives by sock_recv() throws them away.
 *
 * sock_send_fds() sends them with the first byte taken: all of them when it returns more than 0, else none. They stay
 * the caller's. At least a byte; up to SOCK_FDS_MAX.
 *
 * sock_recv_fds() is sock_recv(), and hands out those that came with its bytes: close-on-exec, now the caller's. *count
 * in: room in `fds`; out: how many. When there were more, or the process may not have so many, all are closed,
 * *count is 0 and the result is -EMSGSIZE or -EMFILE; the bytes are lost as well, so close the connection. It does not
 * read beyond bytes that brought descriptors, but may begin before them: read message by message, and those that come
 * with any byte of a message are that message's. */
#define SOCK_FDS_MAX 32u
ssize_t sock_send_fds(struct sock *s, const struct iovec *iov, int count, const int *fds, uint32_t fd_count);
ssize_t sock_recv_fds(struct sock *s, void *buf, size_t len, int *fds, uint32_t *count);
/* Ask for SOCK_WRITABLE (after a short send), or no more. */
void sock_want_write(struct sock *s, bool want);
/* Stop or go on reporting SOCK_READABLE: a connection without room for more commands. */
void sock_want_read(struct sock *s, bool want);

/* Leave this reactor; no callback afterwards. */
void sock_detach(struct sock *s);
/* Join the calling reactor; data that already waits is reported. Errors: negative errno. */
int sock_attach(struct sock *s, sock_ready_fn *ready, void *arg) MUST_USE;

int sock_error(struct sock *s); /* pending error as negative errno; 0: none */
void sock_local_addr(const struct sock *s, struct net_addr *ret_addr);
void sock_peer_addr(const struct sock *s, struct net_addr *ret_addr);
/* The CPU that last handled this socket's packets, for placement; -1 when unknown. */
int sock_incoming_cpu(const struct sock *s);
/* NET_UNIX: who is at the other end; false when unknown. */
bool sock_peer_cred(const struct sock *s, uint32_t *ret_uid, uint32_t *ret_pid);
/* For hot upgrade: the descriptor, which stays the socket's; -1 in the simulator. */
int sock_fd(const struct sock *s);
/* A sock over an inherited descriptor, detached. */
struct sock *sock_from_fd(int fd, struct err *e);
/* Two that are connected (NET_UNIX): ours, detached, and a descriptor of the other end to hand over: the caller's. NULL
 * with a sentence: no descriptors are left; or, in the simulator, always. */
struct sock *sock_pair(int *ret_fd, struct err *e);

/* --- listeners ------------------------------------------------------------------------------------ */

struct listener;
/* A new connection: not attached; the callee now owns it (give it to a reactor, or close it). */
typedef void listener_fn(void *arg, struct sock *s);

/* Listen on the calling reactor; a limited number of accepts a pass. Port 0 takes a free one (listener_addr()
 * tells); backlog 0 the system's largest. NET_UNIX: mode 0600; a path another process listens on is an error that
 * names it, a dead one is replaced. */
struct listener *listener_open(const struct net_addr *addr, uint32_t backlog, listener_fn *fn, void *arg,
                               struct err *e);
/* The same over a socket that listens already and is not ours to remove: what a service manager hands over. It is taken
 * in any case. Not in the simulator. */
struct listener *listener_adopt(int fd, listener_fn *fn, void *arg, struct err *e);
/* NET_UNIX: members of a group may connect, too (mode 0660). Errors: sentence, errno: who is no member cannot give. */
int listener_let_group(struct listener *l, uint32_t gid, struct err *e) MUST_USE;
void listener_close(struct listener *l);
void listener_addr(const struct listener *l, struct net_addr *ret_addr);

#endif
