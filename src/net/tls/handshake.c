/* SPDX-License-Identifier: BSD-3-Clause */
/* handshake.c: OpenSSL shakes hands, over memory; the traffic secrets that it tells are all that is kept.
 *
 * A server looks at the identities offered before OpenSSL chooses a cipher suite, so that the suite is the one that
 * goes with the first identity it knows, in whatever order the client likes suites.
 */
#include <errno.h>
#include <openssl/err.h>

#include "core/secret.h"
#include "net/tls/shake.h"

#define READ_BYTES 16384u
#define SHAKE_BYTES_MAX (128u * 1024) /* of a peer's; OpenSSL's own limits are lower, message by message */
#define GROUPS "X25519:P-256:P-384:ffdhe2048:ffdhe3072:ffdhe4096"
#define GROUPS_PLAIN "X25519:P-256:P-384"

static struct shake *shake_make(struct sock *s, bool serves, tls_done_fn *done, void *arg);
static SSL_CTX *context_make(bool serves);
static void begin_now(struct defer *d);
static void step(struct tls *t);
static bool send_out(struct tls *t);
static int read_in(struct tls *t);
static void succeed(struct tls *t);
static void take_rest(struct tls *t);
static void fail(struct tls *t, int rc);
static int use_psk(SSL *ssl, const EVP_MD *md, const unsigned char **id, size_t *id_len, SSL_SESSION **ret);
static int find_psk(SSL *ssl, const unsigned char *identity, size_t len, SSL_SESSION **ret);
static int look_at_hello(SSL *ssl, int *alert, void *arg);
static void take_secret(const SSL *ssl, const char *line);
static void note_alert(const SSL *ssl, int where, int what);

/* --- begin --- */

void sock_tls_client(struct sock *s, const struct tls_offer *offers, uint32_t count, tls_done_fn *done, void *arg)
{
	struct shake *h = shake_make(s, false, done, arg);

	assert(count && offers[0].psk.len == hash_bytes(offers[0].psk.hash));
	h->psk = offers[0].psk;
	snprintf(h->identity, sizeof(h->identity), "%s", offers[0].identity);
	must(SSL_set_ciphersuites(h->ssl, suite_name(h->psk.hash)));
	SSL_set_connect_state(h->ssl);
}

void sock_tls_server(struct sock *s, tls_find_fn *find, tls_done_fn *done, void *arg)
{
	struct shake *h = shake_make(s, true, done, arg);

	h->find = find;
	SSL_set_accept_state(h->ssl);
}

static struct shake *shake_make(struct sock *s, bool serves, tls_done_fn *done, void *arg)
{
	struct tls *t = tls_make(s);
	struct shake *h = secret_zalloc(sizeof(*h));

	t->core = tls_core_self();
	t->shake = h;
	h->tls = t;
	h->serves = serves;
	h->done = done;
	h->arg = arg;
	if (!t->core->ctx[serves])
		t->core->ctx[serves] = context_make(serves);
	h->ssl = SSL_new(t->core->ctx[serves]);
	h->in = BIO_new(BIO_s_mem());
	h->out = BIO_new(BIO_s_mem());
	must(h->ssl && h->in && h->out);
	BIO_set_mem_eof_return(h->in, -1);
	BIO_set_mem_eof_return(h->out, -1);
	SSL_set_bio(h->ssl, h->in, h->out);
	SSL_set_app_data(h->ssl, h);
	sock_raw_want_read(s, true);
	sock_raw_want_write(s, false);
	defer_run(&t->again, begin_now);
	return h;
}

void sock_tls_find_later(struct sock *s)
{
	must(sock_tls(s)->shake->serves);
	sock_tls(s)->shake->later = true;
}

void sock_tls_found(struct sock *s)
{
	struct tls *t = sock_tls(s);

	must(t->shake && t->shake->later);
	t->shake->later = false;
	sock_raw_want_read(s, true);
	defer_run(&t->again, begin_now);
}

static SSL_CTX *context_make(bool serves)
{
	SSL_CTX *ctx = SSL_CTX_new(serves ? TLS_server_method() : TLS_client_method());

	must(ctx && SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION));
	must(SSL_CTX_set_max_proto_version(ctx, TLS1_3_VERSION));
	must(SSL_CTX_set_ciphersuites(ctx, "TLS_AES_256_GCM_SHA384:TLS_AES_128_GCM_SHA256"));
	/* A crypto policy may have taken the finite fields away. */
	must(SSL_CTX_set1_groups_list(ctx, GROUPS) || SSL_CTX_set1_groups_list(ctx, GROUPS_PLAIN));
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
	SSL_CTX_clear_options(ctx, SSL_OP_ENABLE_MIDDLEBOX_COMPAT);
	(void)SSL_CTX_set_num_tickets(ctx, 0);
	/* No certificate is trusted: a peer that has one and not the key is refused. */
	SSL_CTX_set_verify(ctx, serves ? SSL_VERIFY_NONE : SSL_VERIFY_PEER, NULL);
	SSL_CTX_set_keylog_callback(ctx, take_secret);
	SSL_CTX_set_info_callback(ctx, note_alert);
	if (serves) {
		SSL_CTX_set_client_hello_cb(ctx, look_at_hello, NULL);
		SSL_CTX_set_psk_find_session_callback(ctx, find_psk);
	} else {
		SSL_CTX_set_psk_use_session_callback(ctx, use_psk);
	}
	return ctx;
}

void shake_free(struct tls *t)
{
	struct shake *h = t->shake;

	t->shake = NULL;
	SSL_free(h->ssl); /* and the memory BIOs */
	secret_free(h);
}

/* --- messages to and fro --- */

static void begin_now(struct defer *d)
{
	step(container_of(d, struct tls, again));
}

void shake_ready(struct tls *t, uint32_t events)
{
	if (events & SOCK_FAILED && !(events & SOCK_READABLE)) {
		fail(t, sock_raw_error(t->sock) ? sock_raw_error(t->sock) : -ECONNRESET);
		return;
	}
	step(t);
}

static void step(struct tls *t)
{
	struct shake *h = t->shake;
	int rc = 0;

	while (!h->later) {
		ERR_clear_error();
		rc = SSL_do_handshake(h->ssl);
		(void)send_out(t); /* if that fails, the alert that says why may be there to read */
		if (rc == 1 && !h->send_error) {
			succeed(t);
			return;
		}
		if (rc != 1 && SSL_get_error(h->ssl, rc) == SSL_ERROR_WANT_CLIENT_HELLO_CB) {
			sock_raw_want_read(t->sock, false);
			return;
		}
		if (rc != 1 && SSL_get_error(h->ssl, rc) != SSL_ERROR_WANT_READ) {
			fail(t, 0);
			return;
		}
		rc = read_in(t);
		if (rc == -EAGAIN && !h->send_error)
			return;
		if (rc) {
			fail(t, rc == -EAGAIN ? h->send_error : rc);
			return;
		}
	}
}

/* True: nothing waits. */
static bool send_out(struct tls *t)
{
	struct shake *h = t->shake;
	char gone[1024], *bytes;
	long len;

	while ((len = BIO_get_mem_data(h->out, &bytes)) > 0) {
		ssize_t n = sock_raw_send(t->sock, bytes, (size_t)len);

		if (n < 0 && n != -EAGAIN)
			h->send_error = (int)n;
		if (n <= 0)
			break;
		while (n > 0)
			n -= BIO_read(h->out, gone, (int)min_u64(sizeof(gone), (uint64_t)n));
	}
	sock_raw_want_write(t->sock, len > 0);
	return len <= 0;
}

/* 0: something came. */
static int read_in(struct tls *t)
{
	struct shake *h = t->shake;
	uint8_t bytes[READ_BYTES];
	ssize_t n = sock_raw_recv(t->sock, bytes, sizeof(bytes));

	if (n < 0)
		return (int)n;
	if (n == 0) {
		h->peer_ended = true;
		return -ECONNRESET;
	}
	/* Whoever speaks plainly is told apart by the first byte: a record of the handshake, or an alert. */
	if (!h->received)
		h->first = bytes[0];
	h->not_tls = h->first != REC_HANDSHAKE && h->first != REC_ALERT;
	h->received += (uint32_t)n;
	if (h->not_tls || h->received > SHAKE_BYTES_MAX)
		return -EPROTO;
	must(BIO_write(h->in, bytes, (int)n) == n);
	return 0;
}

/* --- and how it ended --- */

static void succeed(struct tls *t)
{
	struct shake *h = t->shake;
	tls_done_fn *done = h->done;
	void *arg = h->arg;

	if (!SSL_session_reused(h->ssl) || h->secrets != 3 || SSL_has_pending(h->ssl)) {
		fail(t, -EPROTO);
		return;
	}
	t->identity = base_strdup(h->identity);
	t->serves = h->serves;
	keys_begin(&t->in, h->psk.hash, h->secret[!h->serves], false);
	keys_begin(&t->out, h->psk.hash, h->secret[h->serves], true);
	take_rest(t);
	shake_free(t);
	tls_begin(t);
	done(arg, t->sock, NULL);
}

/* What came behind the handshake, and what of it is still to be sent. */
static void take_rest(struct tls *t)
{
	char *bytes;
	long len = BIO_get_mem_data(t->shake->in, &bytes);

	if (len > 0) {
		t->rx = rx_take(t->core);
		must((size_t)len <= sizeof(t->rx->bytes)); /* of one read */
		memcpy(t->rx->bytes, bytes, (size_t)len);
		t->rx->end = (uint32_t)len;
	}
	len = BIO_get_mem_data(t->shake->out, &bytes);
	if (len > 0) {
		t->tx = tx_take(t->core, TX_SMALL);
		must(len <= TX_SMALL - TX_SPARE); /* a Finished, and little besides */
		memcpy(t->tx->bytes, bytes, (size_t)len);
		t->tx->end = (uint32_t)len;
	}
}

static void fail(struct tls *t, int rc)
{
	struct shake *h = t->shake;
	tls_done_fn *done = h->done;
	struct err e = { 0 };
	void *arg = h->arg;

	h->rc = rc;
	shake_why(h, &e);
	ERR_clear_error();
	t->error = e.code;
	t->end_told = t->failure_told = true; /* by done() */
	sock_raw_want_read(t->sock, false);
	sock_raw_want_write(t->sock, false);
	defer_cancel(&t->again);
	shake_free(t);
	done(arg, t->sock, &e);
}

/* --- what OpenSSL asks and tells --- */

const char *suite_name(uint8_t hash)
{
	return hash == TLS_SHA384 ? "TLS_AES_256_GCM_SHA384" : "TLS_AES_128_GCM_SHA256";
}

static uint8_t suite_byte(uint8_t hash)
{
	return hash == TLS_SHA384 ? 0x02 : 0x01; /* 0x13, and this: B.4 */
}

static SSL_SESSION *session_of(SSL *ssl, const struct tls_psk *psk)
{
	const unsigned char suite[] = { 0x13, suite_byte(psk->hash) };
	SSL_SESSION *session = SSL_SESSION_new();

	must(session && SSL_SESSION_set1_master_key(session, psk->key, psk->len) &&
	     SSL_SESSION_set_cipher(session, SSL_CIPHER_find(ssl, suite)) &&
	     SSL_SESSION_set_protocol_version(session, TLS1_3_VERSION));
	return session;
}

static int use_psk(SSL *ssl, const EVP_MD *md, const unsigned char **id, size_t *id_len, SSL_SESSION **ret)
{
	struct shake *h = SSL_get_app_data(ssl);

	*id = (const unsigned char *)h->identity;
	*id_len = strlen(h->identity);
	*ret = session_of(ssl, &h->psk);
	return 1;
}

static bool next_u16(const unsigned char **at, size_t *left, uint32_t *ret)
{
	if (*left < 2)
		return false;
	*ret = (uint32_t)(*at)[0] << 8 | (*at)[1];
	*at += 2;
	*left -= 2;
	return true;
}

static bool offers_suite(SSL *ssl, uint8_t hash)
{
	const unsigned char *suites;
	size_t len = SSL_client_hello_get0_ciphers(ssl, &suites);

	for (size_t i = 0; i + 1 < len; i += 2)
		if (suites[i] == 0x13 && suites[i + 1] == suite_byte(hash))
			return true;
	return false;
}

/* One of the identities that the client offers: the first that is known and has its cipher suite is taken. */
static bool consider(struct shake *h, const unsigned char *identity, uint32_t len)
{
	char text[TLS_IDENTITY_MAX + 1];
	struct tls_psk psk = { 0 };

	if (!h->offered[0]) {
		memcpy(h->offered, identity, min_u32(len, sizeof(h->offered) - 1));
		for (char *c = h->offered; *c; c++)
			*c = *c < ' ' || *c > '~' ? '?' : *c;
	}
	if (len > TLS_IDENTITY_MAX || memchr(identity, 0, len))
		return false;
	memcpy(text, identity, len);
	text[len] = '\0';
	if (!h->find(h->arg, h->tls->sock, text, &psk) || h->later)
		return false;
	assert(psk.len == hash_bytes(psk.hash));
	memcpy(h->identity, text, len + 1);
	h->known = true;
	h->psk = psk;
	tls_psk_wipe(&psk);
	h->has_suite = offers_suite(h->ssl, h->psk.hash);
	return h->has_suite;
}

/* The extension pre_shared_key (4.2.11). OpenSSL parses it again, and more strictly. */
static int look_at_hello(SSL *ssl, int *alert, void *arg)
{
	struct shake *h = SSL_get_app_data(ssl);
	const unsigned char *at;
	size_t left;
	uint32_t all, len;

	h->said_hello = true;
	h->offered[0] = h->identity[0] = '\0';
	h->known = h->has_suite = false;
	if (!SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_supported_versions, &at, &left))
		return SSL_CLIENT_HELLO_SUCCESS; /* none of 1.3: OpenSSL refuses */
	if (!SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_psk, &at, &left)) {
		*alert = ALERT_HANDSHAKE_FAILURE;
		return h->no_psk = true, SSL_CLIENT_HELLO_ERROR;
	}
	*alert = ALERT_DECODE_ERROR;
	if (!next_u16(&at, &left, &all) || all > left)
		return SSL_CLIENT_HELLO_ERROR;
	for (left = all; left;) {
		if (!next_u16(&at, &left, &len) || len + 4 > left || !len)
			return SSL_CLIENT_HELLO_ERROR;
		if (consider(h, at, len)) {
			must(SSL_set_ciphersuites(ssl, suite_name(h->psk.hash)));
			return SSL_CLIENT_HELLO_SUCCESS;
		}
		if (h->later)
			return SSL_CLIENT_HELLO_RETRY;
		at += len + 4;
		left -= len + 4;
	}
	*alert = h->known ? ALERT_HANDSHAKE_FAILURE : ALERT_UNKNOWN_PSK_IDENTITY;
	return SSL_CLIENT_HELLO_ERROR;
}

static int find_psk(SSL *ssl, const unsigned char *identity, size_t len, SSL_SESSION **ret)
{
	struct shake *h = SSL_get_app_data(ssl);

	*ret = NULL;
	if (len == strlen(h->identity) && !memcmp(identity, h->identity, len))
		*ret = session_of(ssl, &h->psk);
	return 1;
}

static uint8_t hex_digit(char c)
{
	return (uint8_t)(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
}

/* "<which> <the client's random> <secret>", in hexadecimal. */
static void take_secret(const SSL *ssl, const char *line)
{
	static const char *const which[] = { "CLIENT_TRAFFIC_SECRET_0 ", "SERVER_TRAFFIC_SECRET_0 " };
	struct shake *h = SSL_get_app_data(ssl);

	for (int i = 0; i < 2; i++) {
		const char *hex = strrchr(line, ' ') + 1;

		if (strncmp(line, which[i], strlen(which[i])) || strlen(hex) != 2 * hash_bytes(h->psk.hash))
			continue;
		for (uint32_t at = 0; at < hash_bytes(h->psk.hash); at++)
			h->secret[i][at] = (uint8_t)(hex_digit(hex[2 * at]) << 4 | hex_digit(hex[2 * at + 1]));
		h->secrets |= 1u << i;
	}
}

static void note_alert(const SSL *ssl, int where, int what)
{
	struct shake *h = SSL_get_app_data(ssl);

	if (!(where & SSL_CB_ALERT))
		return;
	if (where & SSL_CB_READ)
		h->alert_got = (uint8_t)what, h->got_alert = true;
	else
		h->sent_alert = true;
}
