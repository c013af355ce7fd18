/* SPDX-License-Identifier: BSD-3-Clause */
/* secure.h: the seam between a world's sockets (net/os, net/sim) and TLS, which lies over them. Private to net.
 *
 * A socket with a `struct tls` hands every verb of net.h to the tls_ functions below; those use the socket by its raw
 * verbs. A plain one pays one branch for it.
 */
#ifndef NET_SECURE_H
#define NET_SECURE_H

#include "net/net.h"

struct tls;

/* --- what a world gives: the socket below --- */

struct tls *sock_tls(const struct sock *s);
void sock_set_tls(struct sock *s, struct tls *t);
/* Call the owner's ready(): the socket may be gone afterwards. */
void sock_raw_tell(struct sock *s, uint32_t events);
ssize_t sock_raw_recv(struct sock *s, void *buf, size_t len);
ssize_t sock_raw_send(struct sock *s, const void *buf, size_t len);
void sock_raw_shutdown_send(struct sock *s);
void sock_raw_want_write(struct sock *s, bool want);
void sock_raw_want_read(struct sock *s, bool want);
int sock_raw_error(struct sock *s);
void sock_raw_close(struct sock *s);

/* --- what TLS gives: the socket above --- */

/* What the raw socket has to tell. `s` may be gone afterwards. */
void tls_ready(struct tls *t, uint32_t events);
void tls_attached(struct tls *t);
void tls_detached(struct tls *t);
ssize_t tls_recvv(struct tls *t, const struct iovec *iov, int count);
ssize_t tls_send(struct tls *t, const struct iovec *iov, int count);
void tls_shutdown_send(struct tls *t);
void tls_want_write(struct tls *t, bool want);
void tls_want_read(struct tls *t, bool want);
int tls_error(const struct tls *t);
/* Before the raw socket is closed. False: not yet, something has to leave first; sock_raw_close() is called then. */
bool tls_close(struct tls *t) MUST_USE;
/* The same at once: nothing more is said. */
void tls_free(struct tls *t);
/* The simulator's: the reactor it was attached to is no more. */
void tls_forget(struct tls *t);

#endif
