/* SPDX-License-Identifier: BSD-3-Clause */
/* test_rig.c: raw sockets that are two buffers. */
#include <errno.h>

#include "net/tls/test_rig.h"

/* --- the raw socket --- */

struct tls *sock_tls(const struct sock *s) { return s->tls; }
void sock_set_tls(struct sock *s, struct tls *t) { s->tls = t; }
void sock_raw_want_write(struct sock *s, bool want) { s->want_write = want; }
void sock_raw_want_read(struct sock *s, bool want) { s->want_read = want; }
int sock_raw_error(struct sock *s) { return 0; }
void sock_raw_shutdown_send(struct sock *s) { s->shut = true; }

void sock_raw_tell(struct sock *s, uint32_t events)
{
	s->told |= events;
	if (s->ready)
		s->ready(s->arg, events);
}

ssize_t sock_raw_recv(struct sock *s, void *buf, size_t len)
{
	uint32_t n = (uint32_t)min_u64(len, s->in_len - s->in_at);

	if (s->recv_max)
		n = min_u32(n, s->recv_max);
	memcpy(buf, s->in + s->in_at, n);
	s->in_at += n;
	return n || s->peer_ended ? (ssize_t)n : -EAGAIN;
}

ssize_t sock_raw_send(struct sock *s, const void *buf, size_t len)
{
	uint32_t n = (uint32_t)min_u64(len, min_u32(s->room, RIG_BYTES - s->out_len));

	must(!s->shut);
	memcpy(s->out + s->out_len, buf, n);
	s->out_len += n;
	s->room -= n;
	return n ? (ssize_t)n : -EAGAIN;
}

void sock_raw_close(struct sock *s)
{
	if (s->tls)
		tls_free(s->tls);
	s->closed = true;
}

struct sock *rig_sock(void)
{
	struct sock *s = malloc(sizeof(*s));

	must(s);
	memset(s, 0, offsetof(struct sock, in));
	memset(&s->in_at, 0, sizeof(*s) - offsetof(struct sock, in_at));
	s->room = RIG_BYTES;
	s->want_read = true;
	return s;
}

/* --- a world of one reactor --- */

struct core *rig_world(void)
{
	struct core_opts opts = { .cpus = "[0]", .mode = CORE_INTERRUPT };
	struct core *core;

	sim_start(1);
	core = core_make(&opts, NULL);
	must(core);
	return core;
}

void rig_world_end(struct core *core)
{
	core_free(core);
	sim_end();
}

void rig_do(struct rig *r, void (*fn)(void *arg), void *arg)
{
	sim_as(core_reactor(r->core, 0), fn, arg);
}

static const uint8_t secrets[2][SECRET_MAX] = { "what the rig's peer seals with",
	                                        "what the rig's socket seals with" };

static void begin_here(void *arg)
{
	struct rig *r = arg;
	struct tls *t = tls_make(r->sock);

	keys_begin(&t->in, r->in.hash, secrets[0], false);
	keys_begin(&t->out, r->in.hash, secrets[1], true);
	t->serves = r->in.seals;
	t->identity = base_strdup("rig");
	tls_attached(t);
	tls_begin(t);
}

void rig_begin(struct rig *r, struct core *core, uint8_t hash, bool serves)
{
	*r = (struct rig){ .core = core, .sock = rig_sock(), .in = { .hash = hash, .seals = serves } };
	rig_do(r, begin_here, r);
	gcm_use(&gcm_openssl);
	keys_begin(&r->in, hash, secrets[1], false);
	keys_begin(&r->out, hash, secrets[0], true);
	gcm_use(NULL);
}

static void end_here(void *arg)
{
	struct sock *s = arg;

	if (s->tls)
		tls_free(s->tls);
}

void rig_end(struct rig *r)
{
	rig_do(r, end_here, r->sock);
	free(r->sock);
	keys_end(&r->in);
	keys_end(&r->out);
}

/* --- records --- */

void rig_give_raw(struct rig *r, const void *bytes, uint32_t len)
{
	struct sock *s = r->sock;

	if (s->in_at == s->in_len)
		s->in_at = s->in_len = 0;
	len = min_u32(len, RIG_BYTES - s->in_len);
	memcpy(s->in + s->in_len, bytes, len);
	s->in_len += len;
}

/* Sealed as content of another type: what record_seal() adds is the last zero then, or the type itself. */
void rig_give(struct rig *r, uint8_t type, const void *content, uint32_t len, uint32_t pad)
{
	static uint8_t inner[PLAIN_MAX], record[PLAIN_MAX + OVERHEAD_BYTES];
	struct iovec iov = { inner, len };
	struct cursor from;

	must(len + pad <= sizeof(inner));
	if (len)
		memcpy(inner, content, len);
	if (pad) {
		memset(inner + len, 0, pad);
		inner[len] = type;
		iov.iov_len += pad;
		type = 0;
	}
	from = cursor_over(&iov, 1);
	rig_give_raw(r, record, record_seal(&r->out, type, &from, (uint32_t)iov.iov_len, record));
}

bool rig_take(struct rig *r, uint8_t *ret_type, uint8_t *content, uint32_t *ret_len)
{
	struct sock *s = r->sock;
	struct iovec iov = { content, BODY_MAX };
	enum alert alert;
	uint32_t body;

	if (s->out_len - r->out_at < HEADER_BYTES)
		return false;
	body = record_body(s->out + r->out_at, &alert);
	must(body);
	if (s->out_len - r->out_at < HEADER_BYTES + body)
		return false;
	must(record_open(&r->in, s->out + r->out_at, body, cursor_over(&iov, 1), ret_type, ret_len, &alert));
	r->out_at += HEADER_BYTES + body;
	if (r->out_at == s->out_len)
		r->out_at = s->out_len = 0;
	return true;
}

/* --- its owner's calls --- */

struct call {
	struct tls *tls;
	struct iovec iov;
	uint32_t events;
	ssize_t result;
};

static void recv_here(void *arg)
{
	struct call *c = arg;

	c->result = tls_recvv(c->tls, &c->iov, 1);
}

ssize_t rig_recv(struct rig *r, void *buf, size_t len)
{
	struct call c = { .tls = r->sock->tls, .iov = { buf, len } };

	rig_do(r, recv_here, &c);
	return c.result;
}

static void send_here(void *arg)
{
	struct call *c = arg;

	c->result = tls_send(c->tls, &c->iov, 1);
}

ssize_t rig_send(struct rig *r, const void *bytes, size_t len)
{
	struct call c = { .tls = r->sock->tls, .iov = { (void *)(uintptr_t)bytes, len } };

	rig_do(r, send_here, &c);
	return c.result;
}

static void ready_here(void *arg)
{
	struct call *c = arg;

	tls_ready(c->tls, c->events);
}

void rig_ready(struct rig *r, uint32_t events)
{
	struct call c = { .tls = r->sock->tls, .events = events };

	rig_do(r, ready_here, &c);
}

uint32_t rig_pass(struct rig *r)
{
	uint32_t told;

	for (int i = 0; i < 20 && !r->sock->told; i++)
		(void)sim_step();
	told = r->sock->told;
	r->sock->told = 0;
	return told;
}
