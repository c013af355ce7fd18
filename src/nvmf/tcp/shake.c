/* SPDX-License-Identifier: BSD-3-Clause */
/* shake.c: handshakes of TLS. Control reactor: it carries no I/O, so that a storm of them costs no host its latency.
 *
 * A connection that came to a secure listener has TCP_SHAKE_MS; then it goes to its core as any other does, and nothing
 * there knows more of TLS than that the socket has an identity. One address has a part of the places in which hands are
 * shaken; whose turn it is goes round the addresses, and who waits costs no more than a socket.
 *
 * Nobody takes such a place before all of its first message is there: what it answers to that needs the key, so that
 * who has none is done with at once, and who is silent, from however many addresses, keeps nobody waiting. When there
 * are too many sockets the one that has been silent for longest goes.
 */
#include <errno.h>
#include <openssl/crypto.h>
#include <stdio.h>

#include "core/secret.h"
#include "keyring/keyring.h"
#include "net/tls.h"
#include "nvmf/tcp/tcp.h"

/* An address: where handshakes come from. */
struct shaker {
	struct list link;
	struct net_addr peer;         /* its port is the first one's */
	struct list silent;           /* struct shake */
	struct list waiting;
	struct list shaking;
	uint32_t count, begun;
};

#define IDENTITIES_MAX 3u             /* that are looked for by reading a key */

struct answer {
	char identity[TLS_IDENTITY_MAX + 1];
	enum nvmf_tls_result result;
	uint64_t serial;
	struct tls_psk psk;
	struct err why;
};

struct shake {
	struct list link;
	struct tcp_transport *tr;
	struct shaker *from;
	struct sock *sock;
	struct timer timer;
	bool silent, begun;
	struct list silent_link;      /* of all addresses */
	struct timer look;            /* a part of its first message is there: for the rest */
	uint32_t look_ms;
	bool plain_too;               /* it may be none of TLS: the first byte tells */
	enum nvmf_tls_result result;  /* of looking for the key; NVMF_TLS_PEER: it was not asked for */
	struct err why;
	uint64_t serial;              /* of the host's entry whose key was found */
	/* What was read, for each identity that is offered: it is asked for again. */
	struct answer *answers;       /* [IDENTITIES_MAX], of core/secret.h */
	uint32_t answer_count;
	struct keyring_key *key;      /* the last answer is to be made of it ... */
	struct list read_link;        /* ... when it is its turn to be read */
	struct job job;
	bool reading;                 /* the job runs, and has the key */
	bool over;                    /* freed when the job is done */
};

static struct shaker *shaker_of(struct tcp_transport *tr, const struct net_addr *peer);
static bool has_place(struct tcp_transport *tr, const struct shaker *from);
static void shaker_maybe_gone(struct shaker *from);
static void refuse(struct tcp_transport *tr, struct sock *s, const struct net_addr *peer);
static void said(void *arg, uint32_t events);
static void look_again(struct timer *t);
static void begin_next(struct tcp_transport *tr);
static void begin(struct shake *k);
static bool find(void *arg, struct sock *s, const char *identity, struct tls_psk *ret_psk);
static void done(void *arg, struct sock *s, const struct err *e);
static void due(struct timer *t);
static void end(struct shake *k, enum nvmf_tls_result result);
static void shake_free(struct shake *k);
static void read_next(struct tcp_transport *tr);
static void read_in_job(struct job *j);
static void was_read(struct job *j);

void tcp_shakes_init(struct tcp_transport *tr)
{
	list_init(&tr->shakers);
	list_init(&tr->silent);
	list_init(&tr->to_read);
}

void tcp_shake_begin(struct tcp_transport *tr, struct sock *s, bool plain_too)
{
	struct net_addr peer;
	struct shaker *from;
	struct shake *k;

	sock_peer_addr(s, &peer);
	from = shaker_of(tr, &peer);
	from->count++; /* it stays while others make room */
	if (!has_place(tr, from)) {
		refuse(tr, s, &peer);
		from->count--;
		shaker_maybe_gone(from);
		return;
	}
	k = base_zalloc(sizeof(*k));
	k->tr = tr;
	k->from = from;
	k->sock = s;
	k->plain_too = plain_too;
	k->result = NVMF_TLS_PEER;
	tr->shakes++;
	k->silent = true;
	k->look_ms = TCP_SHAKE_LOOK_MS;
	list_add_tail(&from->silent, &k->link);
	list_add_tail(&tr->silent, &k->silent_link);
	timer_start(&k->timer, TCP_SHAKE_MS * NS_PER_MS, due);
	if (sock_attach(s, said, k))
		end(k, NVMF_TLS_PEER);
}

static struct shaker *shaker_of(struct tcp_transport *tr, const struct net_addr *peer)
{
	struct shaker *from;

	list_each(l, &tr->shakers)
		if (net_addr_same_host(&list_entry(l, struct shaker, link)->peer, peer))
			return list_entry(l, struct shaker, link);
	from = base_zalloc(sizeof(*from));
	from->peer = *peer;
	list_init(&from->silent);
	list_init(&from->waiting);
	list_init(&from->shaking);
	list_add_tail(&tr->shakers, &from->link);
	return from;
}

/* When all places are taken, who has been silent for longest goes: a host speaks at once, so that it takes thousands a
 * round trip to push one out. When nobody is silent, the address that has most of them gives up the one that came last,
 * for an address that has fewer. */
static bool has_place(struct tcp_transport *tr, const struct shaker *from)
{
	const struct shaker *most = from;

	if (from->count > TCP_SHAKES_OF_ADDRESS)
		return false;
	if (tr->shakes < TCP_SHAKES_MAX)
		return true;
	if (!list_empty(&tr->silent)) {
		end(list_entry(tr->silent.next, struct shake, silent_link), NVMF_TLS_CROWD);
		return true;
	}
	list_each(l, &tr->shakers) {
		const struct shaker *of = list_entry(l, struct shaker, link);

		if (of->count > most->count && !list_empty(&of->waiting))
			most = of;
	}
	if (most->count <= from->count)
		return false;
	end(list_entry(most->waiting.prev, struct shake, link), NVMF_TLS_CROWD);
	return true;
}

static void refuse(struct tcp_transport *tr, struct sock *s, const struct net_addr *peer)
{
	char text[NET_ADDR_TEXT_MAX];

	nvmf_tls_count(tr->base.target, NVMF_TLS_CROWD);
	if (log_may(&tr->complaints))
		log_warning("NVMe/TCP: %s: too many connections wait for TLS, %u in all: closing it",
		            net_addr_text(peer, text), tr->shakes);
	sock_close(s);
}

/* --- the first message --- */

static void get_in_line(struct shake *k)
{
	struct shaker *from = k->from;

	timer_stop(&k->look);
	sock_detach(k->sock); /* nothing is to be done about it before its turn */
	k->silent = false;
	list_del(&k->silent_link);
	list_del(&k->link);
	list_add_tail(&from->waiting, &k->link);
	begin_next(k->tr);
}

/* What is there stays to be received, and would be reported again and again: so who says only a part is not listened to
 * for a while. */
static void said(void *arg, uint32_t events)
{
	struct shake *k = arg;
	uint8_t first[TLS_HELLO_MAX];
	ssize_t n = sock_peek(k->sock, first, sizeof(first));

	if (n == -EAGAIN && !(events & SOCK_FAILED))
		return;
	if (n <= 0 || tls_hello_is_whole(first, (size_t)n)) {
		get_in_line(k);
		return;
	}
	sock_want_read(k->sock, false);
	timer_start(&k->look, k->look_ms * NS_PER_MS, look_again);
	k->look_ms *= 2;
}

static void look_again(struct timer *t)
{
	sock_want_read(container_of(t, struct shake, look)->sock, true);
}

/* --- turns --- */

/* The first address in line that waits and has places left goes to the end of the line. NULL: there is none. */
static struct shake *next_of(struct tcp_transport *tr)
{
	list_each(l, &tr->shakers) {
		struct shaker *from = list_entry(l, struct shaker, link);

		if (list_empty(&from->waiting) || from->begun == TCP_SHAKES_AT_ONCE_OF_ADDRESS)
			continue;
		list_del(&from->link);
		list_add_tail(&tr->shakers, &from->link);
		return list_first(&from->waiting, struct shake, link);
	}
	return NULL;
}

static void begin_next(struct tcp_transport *tr)
{
	struct shake *k;

	while (tr->shaking < TCP_SHAKES_AT_ONCE && (k = next_of(tr)))
		begin(k);
}

/* The socket's events are TLS's until it is done; before that, there may be something to decide by. An ICReq's type is
 * 0; a ClientHello begins with 22, and what is neither hears why from TLS. */
static void ready(void *arg, uint32_t events)
{
	struct shake *k = arg;
	struct tcp_transport *tr = k->tr;
	struct sock *s = k->sock;
	uint8_t first;
	ssize_t n = k->plain_too ? sock_peek(s, &first, 1) : -EAGAIN;

	if (n == -EAGAIN)
		return;
	if (n != 1 || first != NVME_TCP_ICREQ) {
		k->plain_too = false;
		sock_tls_server(s, find, done, k);
		return;
	}
	sock_detach(s);
	k->sock = NULL;
	end(k, NVMF_TLS_RESULT_COUNT);
	tcp_take(tr, s, 0, true);
	begin_next(tr);
}

static void begin(struct shake *k)
{
	k->begun = true;
	k->tr->shaking++;
	k->from->begun++;
	list_del(&k->link);
	list_add_tail(&k->from->shaking, &k->link);
	trace(TLS, k->tr->shaking, k->tr->shakes);
	if (sock_attach(k->sock, ready, k))
		end(k, NVMF_TLS_PEER);
	else if (!k->plain_too)
		sock_tls_server(k->sock, find, done, k);
}

/* --- the handshake --- */

static bool find(void *arg, struct sock *s, const char *identity, struct tls_psk *ret_psk)
{
	struct shake *k = arg;
	struct answer *a = k->answers;

	for (; a && a < k->answers + k->answer_count; a++) {
		if (strcmp(a->identity, identity))
			continue;
		k->result = a->result;
		k->why = a->why;
		k->serial = a->serial;
		*ret_psk = a->psk;
		return a->result == NVMF_TLS_OK;
	}
	k->why = (struct err){ 0 };
	k->result = nvmf_tls_find(k->tr->base.target, identity, &k->key, &k->serial, ret_psk, &k->why);
	if (!k->key)
		return k->result == NVMF_TLS_OK;
	if (k->answer_count == IDENTITIES_MAX) {
		keyring_key_unref(k->key);
		k->key = NULL;
		k->result = NVMF_TLS_IDENTITY;
		err_set(&k->why, -EACCES, "the host offers more than %u identities", IDENTITIES_MAX);
		return false;
	}
	if (!k->answers)
		a = k->answers = secret_zalloc(IDENTITIES_MAX * sizeof(*a));
	snprintf(a->identity, sizeof(a->identity), "%s", identity);
	a->serial = k->serial;
	k->answer_count++;
	sock_tls_find_later(s);
	list_add_tail(&k->tr->to_read, &k->read_link);
	read_next(k->tr);
	return false;
}

static void read_next(struct tcp_transport *tr)
{
	while (tr->reading < TCP_SHAKES_READING && !list_empty(&tr->to_read)) {
		struct shake *k = list_first(&tr->to_read, struct shake, read_link);

		list_del(&k->read_link);
		k->reading = true;
		tr->reading++;
		job_start(&k->job, read_in_job, was_read);
	}
}

/* Files are not read on a reactor. */
static void read_in_job(struct job *j)
{
	struct shake *k = container_of(j, struct shake, job);
	struct answer *a = &k->answers[k->answer_count - 1];

	a->result = nvmf_tls_read(k->key, a->identity, &a->psk, &a->why);
	OPENSSL_thread_stop(); /* helpers come and go: nothing of OpenSSL's is left in one */
}

static void was_read(struct job *j)
{
	struct shake *k = container_of(j, struct shake, job);
	struct tcp_transport *tr = k->tr;

	keyring_key_unref(k->key);
	k->key = NULL;
	k->reading = false;
	tr->reading--;
	if (k->over)
		shake_free(k);
	else
		sock_tls_found(k->sock);
	read_next(tr);
	tcp_maybe_stopped(tr);
}

static void done(void *arg, struct sock *s, const struct err *e)
{
	struct shake *k = arg;
	struct tcp_transport *tr = k->tr;
	uint64_t serial = k->serial;
	char text[NET_ADDR_TEXT_MAX];

	if (!e) {
		sock_detach(s);
		k->sock = NULL;
		end(k, NVMF_TLS_OK);
		tcp_take(tr, s, serial, false);
		begin_next(tr);
		return;
	}
	if (k->result == NVMF_TLS_OK) /* a key was found, and does not fit */
		k->result = e->code == -EACCES ? NVMF_TLS_KEY : NVMF_TLS_PEER;
	if (log_may(&tr->complaints))
		log_warning("NVMe/TCP: %s: no TLS: %s", net_addr_text(&k->from->peer, text),
		            k->why.code ? k->why.text : e->text);
	end(k, k->result);
	begin_next(tr);
}

static void due(struct timer *t)
{
	struct shake *k = container_of(t, struct shake, timer);
	struct tcp_transport *tr = k->tr;
	char text[NET_ADDR_TEXT_MAX];

	if (log_may(&tr->complaints))
		log_warning("NVMe/TCP: %s: no TLS: %s %u s: closing it", net_addr_text(&k->from->peer, text),
		            k->begun || k->silent ? "the host did not finish its handshake in"
		                                  : "no turn came for its handshake in",
		            TCP_SHAKE_MS / 1000);
	end(k, NVMF_TLS_TIMEOUT);
	begin_next(tr);
}

/* Frees it, and closes the socket unless that was taken over. */
static void end(struct shake *k, enum nvmf_tls_result result)
{
	struct tcp_transport *tr = k->tr;
	struct shaker *from = k->from;

	if (!tr->stopping && result < NVMF_TLS_RESULT_COUNT)
		nvmf_tls_count(tr->base.target, result);
	if (k->sock)
		sock_close(k->sock);
	timer_stop(&k->timer);
	timer_stop(&k->look);
	list_del(&k->link);
	if (k->silent)
		list_del(&k->silent_link);
	tr->shakes--;
	from->count--;
	if (k->begun) {
		tr->shaking--;
		from->begun--;
	}
	k->over = true;
	if (k->key && !k->reading) {
		list_del(&k->read_link);
		keyring_key_unref(k->key);
	}
	if (!k->reading)
		shake_free(k);
	shaker_maybe_gone(from);
}

static void shaker_maybe_gone(struct shaker *from)
{
	if (from->count)
		return;
	list_del(&from->link);
	free(from);
}

static void shake_free(struct shake *k)
{
	secret_free(k->answers);
	free(k);
}

static void close_all(struct list *of)
{
	list_each_safe(l, of) {
		struct shake *k = list_entry(l, struct shake, link);
		bool last = k->from->count == 1;

		end(k, NVMF_TLS_PEER);
		if (last)
			return;
	}
}

void tcp_shakes_end(struct tcp_transport *tr)
{
	while (!list_empty(&tr->shakers)) {
		struct shaker *from = list_first(&tr->shakers, struct shaker, link);

		close_all(list_empty(&from->silent) ? list_empty(&from->waiting) ? &from->shaking : &from->waiting
		                                    : &from->silent);
	}
}
