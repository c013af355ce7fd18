/* SPDX-License-Identifier: BSD-3-Clause */
/* tls_test.c: what tls.h promises, over the kernel and over the simulated network alike: ours on both ends. */
#include "net/test_run.h"

#include <errno.h>
#include <stdio.h>

#include "net/secure.h"
#include "net/tls.h"

#define CHUNK 150000
#define SMALL 131072 /* socket buffers */

static uint8_t pattern(uint64_t at)
{
	return (uint8_t)((at * 2654435761u) >> 13);
}

/* --- two ends: a client sends a pattern, a server sends it back --- */

struct end {
	struct msg msg;
	struct sock *sock;
	uint32_t on, move_every, since_move, moves, thaws, piece;
	bool secured, over, thaw;
	int error;
	struct err err;
	char identity[64], why[128];
	uint8_t hash;
};

struct pair {
	struct end c, s;
	struct listener *listener;
	struct net_addr to;
	struct tls_offer offer;
	struct tls_psk known;
	char known_identity[64];
	uint64_t key_limit, total, sent, got, bad, server_got;
	bool half_close, until_end, server_plain, client_plain;
	ssize_t end;
	uint32_t len, at;       /* of what the server has to send back */
	bool server_ended;
	uint32_t finds;
	uint8_t out[CHUNK], in[CHUNK], back[CHUNK];
};

static void client_ready(void *arg, uint32_t events);
static void server_ready(void *arg, uint32_t events);

static void end_over(struct pair *p, struct end *e)
{
	if (e->over)
		return;
	e->over = true;
	if (!e->error)
		e->error = sock_error(e->sock);
	if (sock_tls_why(e->sock))
		snprintf(e->why, sizeof(e->why), "%s", sock_tls_why(e->sock));
	sock_close(e->sock);
	part_ended();
}

/* As another process would take it over: only what was frozen is known of it afterwards. */
static void freeze_and_thaw(struct end *e)
{
	struct freeze out, in;

	freeze_init(&out);
	sock_tls_freeze(&out, e->sock);
	tls_free(sock_tls(e->sock));
	freeze_init_thaw(&in, out.buf, out.len);
	sock_tls_freeze(&in, e->sock);
	must(freeze_ok(&in));
	freeze_fini(&out);
	e->thaws++;
	sock_want_write(e->sock, true); /* as its owner in the other process would */
}

static void arrive(struct end *e, sock_ready_fn *ready, struct pair *p)
{
	if (e->thaw && e->secured)
		freeze_and_thaw(e);
	if (sock_attach(e->sock, ready, p))
		core_stop(run.core, -EINVAL);
}

static bool moves_now(struct end *e, msg_fn *arrived)
{
	if (!e->move_every || e->since_move < e->move_every)
		return false;
	e->moves++;
	e->since_move = 0;
	e->on = !e->on;
	sock_detach(e->sock);
	msg_send(core_reactor(run.core, e->on), &e->msg, arrived);
	return true;
}

/* --- the client --- */

static void client_arrives(struct msg *m)
{
	struct pair *p = container_of(m, struct pair, c.msg);

	arrive(&p->c, client_ready, p);
}

static void client_send(struct pair *p)
{
	while (p->sent < p->total) {
		size_t len = min_u64(p->c.piece ? p->c.piece : CHUNK, p->total - p->sent);
		struct iovec iov[3] = { { p->out, len / 3 }, { p->out + len / 3, 0 }, { p->out + len / 3, len - len / 3 } };
		ssize_t n;

		for (uint64_t i = 0; i < len; i++)
			p->out[i] = pattern(p->sent + i);
		n = sock_send(p->c.sock, iov, 3);
		if (n <= 0) {
			if (n != -EAGAIN)
				p->c.error = (int)n;
			break;
		}
		memset(p->out, 0xee, len); /* it was taken, or will be given again */
		p->sent += (uint64_t)n;
		p->c.since_move += (uint32_t)n;
	}
	sock_want_write(p->c.sock, p->sent < p->total);
	if (p->sent == p->total && p->half_close) {
		p->half_close = false;
		sock_shutdown_send(p->c.sock);
	}
}

static void client_ready(void *arg, uint32_t events)
{
	struct pair *p = arg;
	struct iovec iov[2] = { { p->in, 777 }, { p->in + 1000, p->c.piece ? 7 : CHUNK - 1000 } };

	if (events & SOCK_WRITABLE)
		client_send(p);
	if (events & SOCK_READABLE) {
		p->end = sock_recvv(p->c.sock, iov, 2);
		for (ssize_t i = 0; i < p->end; i++)
			p->bad += p->in[i < 777 ? i : i - 777 + 1000] != pattern(p->got + (uint64_t)i);
		if (p->end > 0)
			p->got += (uint64_t)p->end;
		if (p->end < 0 && p->end != -EAGAIN)
			p->c.error = (int)p->end;
	}
	if (p->end == 0 || (p->end < 0 && p->end != -EAGAIN) || ((events & SOCK_FAILED) && !(events & SOCK_READABLE)) ||
	    (p->got == p->total && !p->until_end))
		end_over(p, &p->c);
	else /* a failure, too, comes again while there is progress */
		moves_now(&p->c, client_arrives);
}

static void client_done(void *arg, struct sock *s, const struct err *e)
{
	struct pair *p = arg;

	if (e) {
		p->c.err = *e;
		end_over(p, &p->c);
		return;
	}
	p->c.secured = true;
	p->c.hash = sock_tls_hash(s);
	snprintf(p->c.identity, sizeof(p->c.identity), "%s", sock_tls_identity(s));
	if (p->key_limit)
		sock_tls_set_key_limit(s, p->key_limit);
	client_send(p);
}

static void client_connected(void *arg, uint32_t events)
{
	struct pair *p = arg;

	if (p->client_plain) {
		static char bytes[] = "\0\0plain bytes of a peer without TLS";
		struct iovec iov = { bytes, sizeof(bytes) };

		if (events & SOCK_WRITABLE)
			(void)sock_send(p->c.sock, &iov, 1);
		if ((events & SOCK_READABLE) && sock_recv(p->c.sock, p->in, CHUNK) == -EAGAIN)
			return;
		if (events & (SOCK_READABLE | SOCK_FAILED))
			end_over(p, &p->c);
		return;
	}
	if (p->c.secured)
		client_ready(p, events);
	else if (events & SOCK_FAILED)
		end_over(p, &p->c);
	else
		sock_tls_client(p->c.sock, &p->offer, 1, client_done, p);
}

static void client_begin(struct msg *m)
{
	struct pair *p = container_of(m, struct pair, c.msg);
	struct sock_opts opts = { .send_buffer = SMALL, .recv_buffer = SMALL };

	p->end = -EAGAIN;
	p->c.sock = sock_connect(&p->to, NULL, &opts, client_connected, p, &p->c.err);
	if (!p->c.sock)
		core_stop(run.core, -EINVAL);
}

/* --- the server --- */

static void server_arrives(struct msg *m)
{
	struct pair *p = container_of(m, struct pair, s.msg);

	arrive(&p->s, server_ready, p);
}

static void server_ready(void *arg, uint32_t events)
{
	struct pair *p = arg;
	struct end *e = &p->s;

	if (p->at == p->len && (events & (SOCK_READABLE | SOCK_FAILED))) {
		ssize_t n = sock_recv(e->sock, p->back, e->piece ? e->piece : CHUNK);

		p->at = p->len = 0;
		if (n > 0)
			p->len = (uint32_t)n;
		else if (n != -EAGAIN)
			p->server_ended = true;
		if (n < 0 && n != -EAGAIN)
			e->error = (int)n;
		p->server_got += p->len;
		e->since_move += p->len;
	}
	if (p->at < p->len) {
		struct iovec iov = { p->back + p->at, p->len - p->at };
		ssize_t n = sock_send(e->sock, &iov, 1);

		if (n > 0)
			memset(p->back + p->at, 0xdd, (size_t)n);
		p->at += n > 0 ? (uint32_t)n : 0;
		p->server_ended |= n < 0 && n != -EAGAIN;
	}
	sock_want_read(e->sock, p->at == p->len);
	sock_want_write(e->sock, p->at < p->len);
	if (p->server_ended || ((events & SOCK_FAILED) && !(events & SOCK_READABLE)))
		end_over(p, e);
	else
		moves_now(e, server_arrives);
}

static bool find(void *arg, struct sock *s, const char *identity, struct tls_psk *ret_psk)
{
	struct pair *p = arg;

	p->finds++;
	*ret_psk = p->known;
	return !strcmp(identity, p->known_identity);
}

static void server_done(void *arg, struct sock *s, const struct err *e)
{
	struct pair *p = arg;

	if (e) {
		p->s.err = *e;
		end_over(p, &p->s);
		return;
	}
	p->s.secured = true;
	p->s.hash = sock_tls_hash(s);
	snprintf(p->s.identity, sizeof(p->s.identity), "%s", sock_tls_identity(s));
	if (p->key_limit)
		sock_tls_set_key_limit(s, p->key_limit);
}

static void server_begin(struct msg *m)
{
	struct pair *p = container_of(m, struct pair, s.msg);

	arrive(&p->s, server_ready, p);
	if (!p->server_plain)
		sock_tls_server(p->s.sock, find, server_done, p);
}

static void server_accepts(void *arg, struct sock *sock)
{
	struct pair *p = arg;
	struct sock_opts opts = { .send_buffer = SMALL, .recv_buffer = SMALL };

	p->s.sock = sock;
	sock_set_opts(sock, &opts);
	listener_close(p->listener);
	msg_send(core_reactor(run.core, p->s.on), &p->s.msg, server_begin);
}

static void pair_start(void *arg)
{
	struct pair *p = arg;
	struct net_addr any = loopback();

	p->listener = listener_open(&any, 16, server_accepts, p, &p->s.err);
	if (!p->listener) {
		core_stop(run.core, p->s.err.code);
		return;
	}
	listener_addr(p->listener, &p->to);
	msg_send(core_reactor(run.core, 0), &p->c.msg, client_begin);
}

static struct pair *pair_make(uint8_t hash)
{
	struct pair *p = base_zalloc(sizeof(*p));

	p->s.on = 1;
	p->known.hash = hash;
	p->known.len = hash == TLS_SHA384 ? 48 : 32;
	for (uint8_t i = 0; i < p->known.len; i++)
		p->known.key[i] = (uint8_t)(7 * i + 1);
	p->offer.psk = p->known;
	snprintf(p->known_identity, sizeof(p->known_identity), "NVMe0R01 nqn.host nqn.target");
	snprintf(p->offer.identity, sizeof(p->offer.identity), "%s", p->known_identity);
	return p;
}

static void run_pair(struct pair *p)
{
	assert_int_equal(run_core(pair_start, p, 2), 0);
}

static void echo_is_right(const struct pair *p)
{
	if (p->c.err.code || p->s.err.code || p->c.error)
		print_error("%s / %s / %d %s / %s\n", p->c.err.text, p->s.err.text, p->c.error, p->c.why, p->s.why);
	assert_true(p->c.secured && p->s.secured);
	assert_int_equal(p->c.hash, p->known.hash);
	assert_int_equal(p->s.hash, p->known.hash);
	assert_string_equal(p->c.identity, p->known_identity);
	assert_string_equal(p->s.identity, p->known_identity);
	assert_int_equal(p->got, p->total);
	assert_int_equal(p->bad, 0);
	assert_int_equal(p->c.error, 0);
}

/* --- tests: streams --- */

static void echo_with_either_hash(void **state)
{
	for (uint8_t hash = TLS_SHA256; hash <= TLS_SHA384; hash++) {
		struct pair *p = pair_make(hash);

		p->total = 4 * MIB;
		run_pair(p);
		echo_is_right(p);
		free(p);
	}
}

/* Records that do not fit the caller's memory, and little ones. */
static void echo_in_small_pieces(void **state)
{
	struct pair *p = pair_make(TLS_SHA256);

	p->total = 300000;
	p->c.piece = 1001;
	p->s.piece = 333;
	run_pair(p);
	echo_is_right(p);
	free(p);
}

static void large_sends_are_received_in_small_pieces(void **state)
{
	struct pair *p = pair_make(TLS_SHA384);

	p->total = MIB;
	p->s.piece = 5000;
	run_pair(p);
	echo_is_right(p);
	free(p);
}

/* What waits opened, what waits sealed, and a record of which a part came: all move. */
static void moves_between_reactors_under_traffic(void **state)
{
	for (int thaw = 0; thaw < 2; thaw++) {
		struct pair *p = pair_make(TLS_SHA256);

		p->total = 2 * MIB;
		p->c.move_every = 70000;
		p->s.move_every = 10000;
		p->s.piece = 3001;
		p->c.thaw = p->s.thaw = thaw;
		run_pair(p);
		echo_is_right(p);
		assert_true(p->s.moves > 20);
		assert_true(p->c.moves > 5);
		assert_int_equal(p->s.thaws, thaw ? p->s.moves : 0);
		free(p);
	}
}

static void keys_are_updated_in_both_directions(void **state)
{
	struct pair *p = pair_make(TLS_SHA384);

	p->total = 4 * MIB;
	p->key_limit = 5;
	p->s.move_every = 100000;
	p->s.thaw = true;
	run_pair(p);
	echo_is_right(p);
	free(p);
}

/* The client's end must not cut the answer; the server's end is told by close_notify. */
static void half_close_keeps_the_answer(void **state)
{
	struct pair *p = pair_make(TLS_SHA256);

	p->total = 100000;
	p->half_close = p->until_end = true;
	run_pair(p);
	assert_int_equal(p->got, p->total);
	assert_int_equal(p->bad, 0);
	assert_int_equal(p->c.error, 0);
	assert_int_equal(p->end, 0);
	free(p);
}

/* --- tests: refusals --- */

static void both_fail(struct pair *p, const char *client, const char *server)
{
	run_pair(p);
	assert_false(p->c.secured || p->s.secured);
	if (client && !strstr(p->c.err.text, client))
		fail_msg("the client said: %s", p->c.err.text);
	if (server && !strstr(p->s.err.text, server))
		fail_msg("the server said: %s", p->s.err.text);
	free(p);
}

static void unknown_identity_is_named(void **state)
{
	struct pair *p = pair_make(TLS_SHA256);

	memcpy(strstr(p->offer.identity, "host"), "else", 4);
	both_fail(p, "does not know the identity 'NVMe0R01 nqn.else nqn.target'",
	          "identity is unknown that the peer offers: 'NVMe0R01 nqn.else nqn.target'");
}

static void another_key_is_told_from_an_unknown_one(void **state)
{
	struct pair *p = pair_make(TLS_SHA384);

	p->offer.psk.key[47] ^= 1;
	both_fail(p, "differs from ours", "key of identity 'NVMe0R01 nqn.host nqn.target' differs");
}

static void another_hash_is_told_from_another_key(void **state)
{
	struct pair *p = pair_make(TLS_SHA384);

	p->offer.psk.hash = TLS_SHA256;
	p->offer.psk.len = 32;
	both_fail(p, "not with TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384, which goes with the hash");
}

static void plain_client_is_told(void **state)
{
	struct pair *p = pair_make(TLS_SHA256);

	p->client_plain = true;
	both_fail(p, NULL, "no TLS (it begins with 00)");
}

static void plain_server_is_told(void **state)
{
	struct pair *p = pair_make(TLS_SHA256);

	p->server_plain = true; /* sends the ClientHello back */
	p->total = 100;
	both_fail(p, "handshake failed", NULL);
}

/* --- all of them, in this world --- */

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(echo_with_either_hash),
		cmocka_unit_test(echo_in_small_pieces),
		cmocka_unit_test(large_sends_are_received_in_small_pieces),
		cmocka_unit_test(moves_between_reactors_under_traffic),
		cmocka_unit_test(keys_are_updated_in_both_directions),
		cmocka_unit_test(half_close_keeps_the_answer),
		cmocka_unit_test(unknown_identity_is_named),
		cmocka_unit_test(another_key_is_told_from_an_unknown_one),
		cmocka_unit_test(another_hash_is_told_from_another_key),
		cmocka_unit_test(plain_client_is_told),
		cmocka_unit_test(plain_server_is_told),
	};
	int failed = 0;

	if (!world_cpus())
		return TEST_SKIPPED;
	for (uint32_t n = 0; n < world_count(); n++) {
		world_number = n;
		failed += cmocka_run_group_tests(tests, NULL, NULL);
	}
	return failed;
}
