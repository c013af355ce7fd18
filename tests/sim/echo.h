/* SPDX-License-Identifier: BSD-3-Clause */
/* echo.h: a server that sends everything back and moves its connections between reactors at any moment, and clients
 * that begin again after a failure. Every byte that comes back must be the right one. Both are plain, or both secured
 * by TLS.
 */
#ifndef TESTS_SIM_ECHO_H
#define TESTS_SIM_ECHO_H

#include "core/core.h"
#include "net/net.h"
#include "net/tls.h"

/* What both ends know. */
struct echo_world {
	bool peaceful;                   /* nothing is done to connections: none may fail */
	bool secured;
	uint32_t ack_timeout_ms;         /* 0: none */
	uint32_t buf_bytes;              /* moved at a time, at most */
	uint64_t server_patience_ns, client_patience_ns; /* until a connection on which nothing happens is given up */
};

struct echo_server {
	const struct echo_world *world;
	struct core *core;               /* of two reactors */
	uint32_t move_percent;           /* after what is done for a connection */
	tls_find_fn *find;               /* keys, where it is secured */
	uint32_t served;                 /* connections that are there */
};

struct echo_client {
	const struct echo_world *world;
	struct net_addr to;
	struct tls_offer offer;          /* its key, where it is secured */
	uint32_t index, total;           /* bytes to be sent, and to come back */
	/* Its own. */
	struct sock *sock;
	struct timer patience, again;
	uint32_t sent, got, attempts;
	bool secured, done;
};

/* What a listener calls; `arg` is the struct echo_server. */
void echo_accept(void *arg, struct sock *s);

/* On the client's reactor; `arg` is the struct echo_client. It goes on until it is `done`. */
void echo_client_start(void *arg);

#endif
