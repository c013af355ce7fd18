/* SPDX-License-Identifier: BSD-3-Clause */
/* micro_tls.c: what a byte costs a core that sends it, and one that receives it, over plain and secured sockets.
 *
 *     micro_tls [--cpus LIST] [--seconds N] [--bytes N] [--hash 1|2] [--cipher openssl|multi-buffer]
 *
 * One connection through the loopback, from the first CPU to the second. A message is 24 bytes and N bytes that lie
 * elsewhere, as an answer of NVMe/TCP does; the receiver takes up to 256 KiB at once. Plain and secured take turns, by
 * each library that has the cipher, or by the one that is named.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>

#include "net/tls.h"

#define ROUNDS 6u
#define BATCH 8u          /* messages in one send */
#define RECEIVE (256u * 1024)
#define WARM_NS (200 * NS_PER_MS)

/* What takes turns. */
static const char *const ways[] = { "plain", "openssl", "multi-buffer" };
#define WAYS ARRAY_SIZE(ways)

struct side {
	struct msg msg;
	struct bench *bench;
	struct sock *sock;
	struct reactor *on;
	struct reactor_stats before, after;
};

struct bench {
	struct core *core;
	struct listener *listener;
	struct net_addr addr;
	struct side from, to;
	struct timer timer;
	struct tls_offer offer;
	const char *cipher;    /* NULL: each */
	double seconds, cost[WAYS][2];
	uint32_t bytes, round, way, parts;
	uint64_t received, received_before, began_ns;
	size_t at;             /* what went of the present batch */
	uint8_t *data, *in, head[24];
};

static void side_closed(struct msg *m);
static void next_round(struct bench *b);

/* --- sending: the whole of a batch, then it begins anew --- */

static void send_on(struct bench *b)
{
	struct iovec iov[2 * BATCH], *first = iov;
	size_t skip = b->at;
	int count = 2 * BATCH;
	ssize_t n;

	for (uint32_t i = 0; i < BATCH; i++) {
		iov[2 * i] = (struct iovec){ b->head, sizeof(b->head) };
		iov[2 * i + 1] = (struct iovec){ b->data + (size_t)i * b->bytes, b->bytes };
	}
	while (skip >= first->iov_len) {
		skip -= first->iov_len;
		first++;
		count--;
	}
	first->iov_base = (uint8_t *)first->iov_base + skip;
	first->iov_len -= skip;
	n = sock_send(b->from.sock, first, count);
	if (n > 0)
		b->at = (b->at + (size_t)n) % ((size_t)BATCH * (b->bytes + sizeof(b->head)));
	else /* the receiver may have been closed first */
		must(n == -EAGAIN || n == -ECONNRESET || n == -EPIPE);
}

static void from_secured(void *arg, struct sock *s, const struct err *e)
{
	must(!e);
	sock_want_write(s, true);
}

static void from_ready(void *arg, uint32_t events)
{
	struct bench *b = arg;

	if (b->way && !sock_tls_hash(b->from.sock)) {
		sock_tls_client(b->from.sock, &b->offer, 1, from_secured, b);
		return;
	}
	sock_want_write(b->from.sock, true);
	if (events & SOCK_WRITABLE)
		send_on(b);
}

static void from_begin(struct msg *m)
{
	struct bench *b = container_of(m, struct bench, from.msg);

	b->at = 0;
	b->from.sock = sock_connect(&b->addr, NULL, NULL, from_ready, b, NULL);
	must(b->from.sock);
}

/* --- receiving --- */

static void to_ready(void *arg, uint32_t events)
{
	struct bench *b = arg;
	ssize_t n = sock_recv(b->to.sock, b->in, RECEIVE);

	must(n >= 0 || n == -EAGAIN || n == -ECONNRESET);
	if (n > 0)
		__atomic_store_n(&b->received, b->received + (uint64_t)n, __ATOMIC_RELAXED);
}

static bool find(void *arg, struct sock *s, const char *identity, struct tls_psk *ret_psk)
{
	struct bench *b = arg;

	*ret_psk = b->offer.psk;
	return true;
}

static void to_secured(void *arg, struct sock *s, const struct err *e)
{
	must(!e);
}

static void to_begin(struct msg *m)
{
	struct bench *b = container_of(m, struct bench, to.msg);

	must(!sock_attach(b->to.sock, to_ready, b));
	if (b->way)
		sock_tls_server(b->to.sock, find, to_secured, b);
}

/* --- rounds: on the control reactor --- */

static void accepted(void *arg, struct sock *s)
{
	struct bench *b = arg;

	b->to.sock = s;
	listener_close(b->listener);
	msg_send(b->to.on, &b->to.msg, to_begin);
}

static void close_side(struct msg *m)
{
	struct side *s = container_of(m, struct side, msg);

	sock_reset(s->sock);
	msg_send(core_control(s->bench->core), &s->msg, side_closed);
}

static void side_closed(struct msg *m)
{
	struct bench *b = container_of(m, struct side, msg)->bench;

	if (!--b->parts)
		next_round(b);
}

static double cost(const struct side *s, uint64_t bytes)
{
	return (double)(s->after.cpu_ns - s->before.cpu_ns) / (double)bytes;
}

static void measured(struct timer *t)
{
	struct bench *b = container_of(t, struct bench, timer);
	uint64_t bytes = __atomic_load_n(&b->received, __ATOMIC_RELAXED) - b->received_before;

	reactor_get_stats(b->from.on, &b->from.after);
	reactor_get_stats(b->to.on, &b->to.after);
	printf("%-12s %6.2f GB/s   sender %6.1f ns/KiB   receiver %6.1f ns/KiB\n", ways[b->way],
	       (double)bytes / (double)(core_clock_ns() - b->began_ns), 1024 * cost(&b->from, bytes),
	       1024 * cost(&b->to, bytes));
	b->cost[b->way][0] += cost(&b->from, bytes);
	b->cost[b->way][1] += cost(&b->to, bytes);
	b->parts = 2;
	msg_send(b->from.on, &b->from.msg, close_side);
	msg_send(b->to.on, &b->to.msg, close_side);
}

static void warm(struct timer *t)
{
	struct bench *b = container_of(t, struct bench, timer);
	uint64_t received = __atomic_load_n(&b->received, __ATOMIC_RELAXED);

	if (received == b->received_before) { /* on a busy machine it still shakes hands */
		timer_start(&b->timer, WARM_NS, warm);
		return;
	}
	reactor_get_stats(b->from.on, &b->from.before);
	reactor_get_stats(b->to.on, &b->to.before);
	b->received_before = received;
	b->began_ns = core_clock_ns();
	timer_start(&b->timer, (uint64_t)(b->seconds * NS_PER_S), measured);
}

static bool take_way(const struct bench *b, uint32_t way)
{
	return !way || ((!b->cipher || !strcmp(b->cipher, ways[way])) && tls_use_cipher_of(ways[way]));
}

static void report(const struct bench *b)
{
	for (uint32_t i = 1; i < WAYS; i++)
		if (b->cost[i][0] > 0)
			printf("plain / %s: sender %.2f, receiver %.2f\n", ways[i], b->cost[0][0] / b->cost[i][0],
			       b->cost[0][1] / b->cost[i][1]);
}

static void next_round(struct bench *b)
{
	struct err e = { 0 };

	do
		b->way = b->round++ % WAYS;
	while (!take_way(b, b->way));
	if (b->round > WAYS * ROUNDS) {
		report(b);
		core_stop(b->core, 0);
		return;
	}
	must(!net_addr_parse(NET_IPV4, "127.0.0.1", "0", &b->addr, &e));
	b->listener = listener_open(&b->addr, 1, accepted, b, &e);
	must(b->listener);
	listener_addr(b->listener, &b->addr);
	msg_send(b->from.on, &b->from.msg, from_begin);
	b->received_before = __atomic_load_n(&b->received, __ATOMIC_RELAXED);
	timer_start(&b->timer, WARM_NS, warm);
}

static void start(void *arg)
{
	next_round(arg);
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "cpus", required_argument, NULL, 'c' }, { "seconds", required_argument, NULL, 's' },
		{ "bytes", required_argument, NULL, 'b' }, { "hash", required_argument, NULL, 'h' },
		{ "cipher", required_argument, NULL, 'l' }, { 0 }
	};
	struct bench *b = base_zalloc(sizeof(*b));
	struct core_opts opts = { .cpus = "[0,1]", .mode = CORE_INTERRUPT };
	struct err e = { 0 };
	int c, rc;

	b->seconds = 0.5;
	b->bytes = 131072;
	b->offer.psk.hash = TLS_SHA256;
	snprintf(b->offer.identity, sizeof(b->offer.identity), "bench");
	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == 'c')
			opts.cpus = optarg;
		else if (c == 's')
			b->seconds = atof(optarg);
		else if (c == 'b')
			b->bytes = (uint32_t)atoi(optarg);
		else if (c == 'h')
			b->offer.psk.hash = (uint8_t)atoi(optarg);
		else if (c == 'l')
			b->cipher = optarg;
		else
			return 2;
	}
	if (b->cipher && !tls_use_cipher_of(b->cipher)) {
		fprintf(stderr, "%s: this build or this machine does not have it\n", b->cipher);
		return 1;
	}
	b->offer.psk.len = b->offer.psk.hash == TLS_SHA384 ? 48 : 32;
	b->data = base_zalloc((size_t)BATCH * b->bytes);
	memset(b->data, 0x5a, (size_t)BATCH * b->bytes);
	b->in = base_zalloc(RECEIVE);
	b->core = core_make(&opts, &e);
	if (!b->core || core_reactor_count(b->core) < 2) {
		fprintf(stderr, "%s\n", b->core ? "two CPUs are needed" : e.text);
		return 1;
	}
	b->from.bench = b->to.bench = b;
	b->from.on = core_reactor(b->core, 0);
	b->to.on = core_reactor(b->core, 1);
	rc = core_run(b->core, start, b);
	core_free(b->core);
	free(b->data);
	free(b->in);
	free(b);
	return rc;
}
