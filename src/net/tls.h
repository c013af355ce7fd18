/* SPDX-License-Identifier: BSD-3-Clause */
/* tls.h: a socket secured by TLS 1.3 with a pre-shared key. Once it is, all verbs of net.h carry its plain bytes.
 *
 *     sock = sock_connect(...)                   or accepted, and attached
 *     sock_tls_client(sock, offers, ...)         shakes hands on the sock's reactor
 *     done(arg, sock, NULL)                      secured: sock_recv(), sock_send(), sock_detach() ... as ever
 *
 * OpenSSL shakes hands (TLS 1.3 only, psk_dhe_ke, AES-GCM); the records after that are ours, over a library's
 * cipher (net/tls/gcm.h): so what a secured socket is, is two traffic secrets and two counters, and it moves
 * between cores like any other, and to another process by sock_tls_freeze(). Sending encrypts from the caller's
 * iovecs into memory that the socket takes while something is unsent; receiving decrypts into the caller's memory
 * where a whole record fits.
 *
 * A peer that breaks the protocol hears the alert that RFC 8446 names, and the socket fails with -EBADMSG; one that
 * sends such an alert ends it with -ECONNABORTED. An end of the stream without close_notify is -ECONNRESET (an attacker
 * may have cut it), one with it is the peer's end. KeyUpdate is honoured, and sent (see
 * sock_tls_set_key_limit()); session tickets are neither sent nor used.
 *
 * What was sent is sealed and lies in the socket until the kernel took it, at most some 64 KiB: more is refused
 * (-EAGAIN) until then, and the socket sends it by itself, also after its owner has closed it (unless it
 * was detached then).
 */
#ifndef NET_TLS_H
#define NET_TLS_H

#include "core/freeze.h"
#include "net/net.h"

#define TLS_PSK_MAX 48u
#define TLS_IDENTITY_MAX 521u /* NVMe/TCP's longest: two NQNs of 223, a digest of 64, 11 more */

/* By the hash that goes with it. */
enum tls_hash { TLS_SHA256 = 1 /* TLS_AES_128_GCM_SHA256 */, TLS_SHA384 = 2 /* TLS_AES_256_GCM_SHA384 */ };

/* A secret: wiped by whoever holds one (tls_psk_wipe()). */
struct tls_psk {
	uint8_t hash;                 /* enum tls_hash */
	uint8_t len;
	uint8_t key[TLS_PSK_MAX];
};
void tls_psk_wipe(struct tls_psk *psk);
/* Before anything of OpenSSL is used: its objects, which have keys, shall be in no core dump. False: too late. */
bool tls_keep_from_dumps(void);
/* For measurements: whose cipher seals and opens the records of sockets that are secured from now on, "openssl" or
 * "multi-buffer" (net/tls/gcm.h); the fastest when nobody says. Any thread. False: it is not there. */
bool tls_use_cipher_of(const char *library);

struct tls_offer {
	char identity[TLS_IDENTITY_MAX + 1];
	struct tls_psk psk;
};

/* How it went, once, never from within the call: NULL, or a sentence that says what differs where that can be known
 * (identity unknown, key differs, no common hash); the caller then closes the socket. */
typedef void tls_done_fn(void *arg, struct sock *s, const struct err *e);
/* The key that goes with an identity a client offers; false: unknown. `identity` ends with a NUL. */
typedef bool tls_find_fn(void *arg, struct sock *s, const char *identity, struct tls_psk *ret_psk);
/* From within it: it is not known yet. What is returned does not count; it is asked again after sock_tls_found(), about
 * every identity that is offered. Between the two the peer is not heard. */
void sock_tls_find_later(struct sock *s);
void sock_tls_found(struct sock *s);

/* The socket is attached to the calling reactor, and until done() only sock_close() and sock_reset() may be called on
 * it (and end it: no done()). How long it may take is the caller's timer's. The offers are copied; OpenSSL offers one
 * external key at a time, so the first is the one offered, and who has another tries it over another connection. After
 * done() reading is wanted and writing is not, whatever was wanted before. */
void sock_tls_client(struct sock *s, const struct tls_offer *offers, uint32_t count, tls_done_fn *done, void *arg);
void sock_tls_server(struct sock *s, tls_find_fn *find, tls_done_fn *done, void *arg);

/* For a server that waits before it shakes hands: are these the whole of what a client says first, or no such thing?
 * Of TLS_HELLO_MAX bytes what is not whole never will be for us. */
#define TLS_HELLO_MAX 16384u
bool tls_hello_is_whole(const uint8_t *bytes, size_t len);

/* The identity that was agreed on; NULL: not secured. */
const char *sock_tls_identity(const struct sock *s);
/* enum tls_hash; 0: not secured. */
uint8_t sock_tls_hash(const struct sock *s);
/* Why a secured socket failed with an error of TLS's, for a log: static text, or the alert that its peer sent. NULL: it
 * has not. */
const char *sock_tls_why(const struct sock *s);
/* A KeyUpdate is sent after that many records; 0: never. Unless told otherwise 2^24 (RFC 8446, 5.5) where the peer has
 * sent one itself, so that it is known to follow one, else 2^32: Linux's NVMe/TCP (its host and its target, to 2026 at
 * least) loses the connection by a KeyUpdate, which 2^24 records of 4 KiB would bring about every few minutes. */
void sock_tls_set_key_limit(struct sock *s, uint64_t records);
/* The state of a secured socket that is detached, with what waits in either direction: for another process. Thawing
 * makes `s`, a detached socket over the inherited descriptor, a secured one. The frozen bytes are secrets. */
void sock_tls_freeze(struct freeze *f, struct sock *s);

#endif
