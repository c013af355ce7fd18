/* SPDX-License-Identifier: BSD-3-Clause */
/* shake.h: a handshake that is under way. Private to net/tls. */
#ifndef NET_TLS_SHAKE_H
#define NET_TLS_SHAKE_H

#include <stdio.h>

#include "net/tls/inside.h"

struct shake {
	struct tls *tls;
	SSL *ssl;
	BIO *in, *out;
	bool serves;
	tls_find_fn *find;
	tls_done_fn *done;
	void *arg;
	struct tls_psk psk;                       /* that is offered, or was found */
	char identity[TLS_IDENTITY_MAX + 1];
	uint8_t secret[2][SECRET_MAX];            /* the client's, the server's */
	uint8_t secrets;                          /* a bit for each that was told */
	uint32_t received;
	int send_error;
	bool later;                               /* the owner will say when it knows the key */

	/* for the sentence that says what went wrong */
	int rc;                                   /* of the socket */
	char offered[TLS_IDENTITY_MAX + 1];       /* the first identity, in printable characters */
	uint8_t first;                            /* byte that came */
	uint8_t alert_got;
	bool got_alert, sent_alert;
	bool said_hello, no_psk, known, has_suite;
	bool not_tls, peer_ended;
};
const char *suite_name(uint8_t hash);
/* why.c: OpenSSL's queue of errors is read, too. */
void shake_why(const struct shake *h, struct err *e);

#endif
