/* SPDX-License-Identifier: BSD-3-Clause */
/* sock.h: a socket of the kernel's. Private to net/os. */
#ifndef NET_OS_SOCK_H
#define NET_OS_SOCK_H

#include "net/secure.h"

/* Small: a thousand idle connections have a thousand of them. */
struct sock {
	struct source source;
	struct tls *tls;      /* NULL: plain */
	sock_ready_fn *ready;
	void *arg;
	int error;            /* what failed, as negative errno; kept because the kernel tells it once */
	bool attached;
	bool started;         /* the source is registered; a failed socket nobody reads is not */
	bool connecting;
	bool want_read, want_write;
	bool ended;           /* the peer's end was received: there is nothing to wait for */
	bool failed, reported;
	bool progress;        /* something was received since the last report */
	union {
		sa_family_t family;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	} peer;               /* kept because the kernel forgets it with the connection */
};

/* A sock over a connected descriptor, detached. `peer` may be NULL. */
struct sock *sock_make(int fd, const struct net_addr *peer);
/* What recv() or the like said. */
ssize_t sock_received(struct sock *s, ssize_t got);
/* A close-on-exec, non-blocking socket of the address's family; negative errno with a sentence. */
int sock_open_fd(const struct net_addr *addr, struct err *e);

#endif
