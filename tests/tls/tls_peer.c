/* SPDX-License-Identifier: BSD-3-Clause */
/* tls_peer.c: one end of a secured connection by src/net/tls, for tests whose other end is OpenSSL's own.
 *
 *     tls_peer server PORT HASH KEY IDENTITY [what]     PORT 0: a free one, which is printed
 *     tls_peer client PORT HASH KEY IDENTITY [what]
 *     tls_peer session HASH KEY                         a session as openssl's -psk_session wants it
 *
 * what: "echo" (the default) sends everything back; "send N" sends N bytes, and then its end. ", update N" limits a
 * key to N records, ", slow" receives 1,000 bytes at a time. It prints a line for each event; the last is the end.
 */
#include <errno.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <stdio.h>

#include "net/tls.h"

#define CHUNK 200000

struct peer {
	struct core *core;
	struct listener *listener;
	struct sock *sock;
	struct net_addr addr;
	struct tls_offer offer;
	bool serves, secured, sends, slow;
	uint64_t total, sent, got, key_limit;
	EVP_MD_CTX *digest;
	uint32_t len, at;
	uint8_t buf[CHUNK];
};

static void say(const char *fmt, ...) PRINTF(1, 2);
static void say(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	fflush(stdout);
}

/* Returns its length. */
static uint32_t parse_hex(const char *text, uint8_t *to, uint32_t max)
{
	uint32_t len = 0;
	unsigned int byte;

	for (; len < max && sscanf(text + 2 * len, "%2x", &byte) == 1; len++)
		to[len] = (uint8_t)byte;
	return len;
}

/* --- the connection --- */

static void ended(struct peer *p, ssize_t how)
{
	uint8_t sum[EVP_MAX_MD_SIZE];
	unsigned int len = 0;

	(void)EVP_DigestFinal_ex(p->digest, sum, &len);
	say("ended %zd got %lu sha256 ", how, (unsigned long)p->got);
	for (unsigned int i = 0; i < len; i++)
		say("%02x", sum[i]);
	say(" why %s\n", sock_tls_why(p->sock) ? sock_tls_why(p->sock) : "-");
	sock_close(p->sock);
	p->sock = NULL;
	core_stop(p->core, 0);
}

/* False: it is over. */
static bool send_on(struct peer *p)
{
	while (p->sends && p->sent < p->total) {
		struct iovec iov = { p->buf, min_u64(CHUNK, p->total - p->sent) };
		ssize_t n;

		for (size_t i = 0; i < iov.iov_len; i++)
			p->buf[i] = (uint8_t)((p->sent + i) * 31 >> 3);
		n = sock_send(p->sock, &iov, 1);
		if (n == -EAGAIN)
			break;
		if (n < 0)
			return ended(p, n), false;
		p->sent += (uint64_t)n;
		if (p->sent == p->total)
			sock_shutdown_send(p->sock);
	}
	if (!p->sends && p->at < p->len) {
		struct iovec iov = { p->buf + p->at, p->len - p->at };
		ssize_t n = sock_send(p->sock, &iov, 1);

		if (n < 0 && n != -EAGAIN)
			return ended(p, n), false;
		p->at += n > 0 ? (uint32_t)n : 0;
	}
	sock_want_write(p->sock, p->sends ? p->sent < p->total : p->at < p->len);
	sock_want_read(p->sock, p->sends || p->at == p->len);
	return true;
}

static void ready(void *arg, uint32_t events)
{
	static uint8_t drop[CHUNK];
	struct peer *p = arg;

	if (!send_on(p))
		return;
	if ((events & SOCK_READABLE) && (p->sends || p->at == p->len)) {
		ssize_t n = sock_recv(p->sock, p->sends ? drop : p->buf, p->slow ? 1000 : CHUNK);

		if (n == -EAGAIN)
			return;
		if (n <= 0) {
			ended(p, n);
			return;
		}
		EVP_DigestUpdate(p->digest, p->sends ? drop : p->buf, (size_t)n);
		p->got += (uint64_t)n;
		p->at = 0;
		p->len = (uint32_t)n;
		send_on(p);
	} else if (events & SOCK_FAILED) {
		ended(p, sock_error(p->sock));
	}
}

static void secured(void *arg, struct sock *s, const struct err *e)
{
	struct peer *p = arg;

	if (e) {
		say("refused %s\n", e->text);
		sock_close(s);
		core_stop(p->core, 0);
		return;
	}
	say("secured %u %s\n", sock_tls_hash(s), sock_tls_identity(s));
	p->secured = true;
	if (p->key_limit)
		sock_tls_set_key_limit(s, p->key_limit);
	send_on(p);
}

static bool find(void *arg, struct sock *s, const char *identity, struct tls_psk *ret_psk)
{
	struct peer *p = arg;

	*ret_psk = p->offer.psk;
	return !strcmp(identity, p->offer.identity);
}

static void begin_ready(void *arg, uint32_t events)
{
	struct peer *p = arg;

	if (p->secured) {
		ready(p, events);
	} else if (events & SOCK_FAILED) {
		say("refused %s\n", strerror(-sock_error(p->sock)));
		core_stop(p->core, 1);
	} else if (!p->serves) {
		sock_tls_client(p->sock, &p->offer, 1, secured, p);
	}
}

static void accepted(void *arg, struct sock *s)
{
	struct peer *p = arg;

	p->sock = s;
	must(!sock_attach(s, begin_ready, p));
	sock_tls_server(s, find, secured, p);
	listener_close(p->listener);
}

static void start(void *arg)
{
	struct peer *p = arg;
	struct err e = { 0 };

	if (p->serves) {
		p->listener = listener_open(&p->addr, 1, accepted, p, &e);
		if (p->listener) {
			listener_addr(p->listener, &p->addr);
			say("listens %u\n", net_addr_port(&p->addr));
		}
	} else {
		p->sock = sock_connect(&p->addr, NULL, NULL, begin_ready, p, &e);
	}
	if (e.code) {
		say("refused %s\n", e.text);
		core_stop(p->core, 1);
	}
}

/* --- the command line --- */

static int print_session(uint8_t hash, const char *hex)
{
	const unsigned char suite[] = { 0x13, hash };
	SSL_CTX *ctx = SSL_CTX_new(TLS_method());
	SSL *ssl = SSL_new(ctx);
	SSL_SESSION *session = SSL_SESSION_new();
	uint8_t key[TLS_PSK_MAX];

	SSL_SESSION_set1_master_key(session, key, parse_hex(hex, key, sizeof(key)));
	SSL_SESSION_set_cipher(session, SSL_CIPHER_find(ssl, suite));
	SSL_SESSION_set_protocol_version(session, TLS1_3_VERSION);
	PEM_write_SSL_SESSION(stdout, session);
	SSL_SESSION_free(session);
	SSL_free(ssl);
	SSL_CTX_free(ctx);
	return 0;
}

int main(int argc, char **argv)
{
	struct core_opts opts = { .mode = CORE_INTERRUPT };
	struct peer *p;
	const char *what = argc > 6 ? argv[6] : "echo", *update = strstr(what, "update ");
	struct err e = { 0 };
	int rc;

	if (argc == 4 && !strcmp(argv[1], "session"))
		return print_session((uint8_t)atoi(argv[2]), argv[3]);
	p = base_zalloc(sizeof(*p));
	if (argc < 6 || net_addr_parse(NET_IPV4, "127.0.0.1", argv[2], &p->addr, &e)) {
		fprintf(stderr, "tls_peer server|client PORT HASH KEY IDENTITY [WHAT]\n%s\n", e.text);
		return 2;
	}
	p->serves = !strcmp(argv[1], "server");
	p->offer.psk.hash = (uint8_t)atoi(argv[3]);
	p->offer.psk.len = (uint8_t)parse_hex(argv[4], p->offer.psk.key, TLS_PSK_MAX);
	snprintf(p->offer.identity, sizeof(p->offer.identity), "%s", argv[5]);
	p->sends = sscanf(what, "send %lu", (unsigned long *)&p->total) == 1;
	p->slow = strstr(what, "slow");
	if (update)
		p->key_limit = strtoul(update + strlen("update "), NULL, 10);
	p->digest = EVP_MD_CTX_new();
	must(p->digest && EVP_DigestInit_ex(p->digest, EVP_sha256(), NULL));
	p->core = core_make(&opts, &e);
	if (!p->core) {
		fprintf(stderr, "%s\n", e.text);
		return 1;
	}
	rc = core_run(p->core, start, p);
	core_free(p->core);
	EVP_MD_CTX_free(p->digest);
	free(p);
	return rc;
}
