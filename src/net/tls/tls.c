/* SPDX-License-Identifier: BSD-3-Clause */
/* tls.c: the verbs of a secured socket that are neither receiving nor sending, and when its owner is called. */
#include <errno.h>
#include <openssl/crypto.h>

#include "net/tls/inside.h"

static void again_now(struct defer *d);

/* --- coming and going --- */

struct tls *tls_make(struct sock *s)
{
	struct tls *t = base_zalloc(sizeof(*t));

	must(!sock_tls(s));
	t->sock = s;
	t->want_read = true;
	sock_set_tls(s, t);
	return t;
}

void tls_begin(struct tls *t)
{
	tls_update_wants(t);
	tls_look_again(t);
}

void tls_attached(struct tls *t)
{
	t->core = tls_core_self();
	if (t->kept_large)
		t->core->large_kept++;
	t->failure_told = false;
	tls_look_again(t);
}

void tls_detached(struct tls *t)
{
	must(!t->shake);
	defer_cancel(&t->again);
	if (t->kept_large)
		t->core->large_kept--;
	t->core = NULL;
}

bool tls_close(struct tls *t)
{
	if (linger_begin(t))
		return false;
	tls_free(t);
	return true;
}

void tls_free(struct tls *t)
{
	sock_set_tls(t->sock, NULL);
	if (t->core)
		defer_cancel(&t->again);
	if (t->linger)
		linger_end(t);
	if (t->core && t->kept_large)
		t->core->large_kept--;
	if (t->shake)
		shake_free(t);
	if (t->rx)
		rx_give(t->core, t->rx);
	if (t->tx)
		tx_give(t->core, t->tx);
	keys_end(&t->in);
	keys_end(&t->out);
	free(t->identity);
	OPENSSL_cleanse(t, sizeof(*t));
	free(t);
}

void tls_forget(struct tls *t)
{
	t->core = NULL;
	t->again.queued = false;
}

/* --- when the owner is called --- */

void tls_update_wants(struct tls *t)
{
	if (t->shake)
		return;
	sock_raw_want_read(t->sock, t->want_read && !t->ended && !t->error && !t->linger);
	sock_raw_want_write(t->sock, t->want_write || t->tx);
}

bool tls_has_more(const struct tls *t)
{
	const struct rx *rx = t->rx;
	enum alert alert = 0;
	uint32_t body;

	if (!t->want_read || t->shake)
		return false;
	if ((t->error || t->ended) && !t->end_told)
		return true;
	if (!rx || t->error || t->ended)
		return rx && rx->plain_at < rx->plain_end;
	if (rx->plain_at < rx->plain_end)
		return true;
	if (rx->end - rx->at < HEADER_BYTES)
		return false;
	body = record_body(rx->bytes + rx->at, &alert);
	return !body || rx->end - rx->at >= HEADER_BYTES + body;
}

static bool has_failed(const struct tls *t)
{
	return t->error && t->end_told && !t->failure_told;
}

void tls_look_again(struct tls *t)
{
	if (unlikely(tls_has_more(t) || has_failed(t)))
		defer_last(&t->again, again_now);
	else if (t->again.queued)
		defer_cancel(&t->again);
}

static void again_now(struct defer *d)
{
	struct tls *t = container_of(d, struct tls, again);
	uint32_t events = 0;

	if (tls_has_more(t)) {
		events |= SOCK_READABLE;
		defer_last(&t->again, again_now); /* each pass, until it was received */
	}
	if (has_failed(t)) {
		events |= SOCK_FAILED;
		t->failure_told = true;
	}
	if (events)
		sock_raw_tell(t->sock, events);
}

void tls_ready(struct tls *t, uint32_t events)
{
	uint32_t tell = events & SOCK_FAILED;

	if (unlikely(t->shake)) {
		shake_ready(t, events);
		return;
	}
	if (unlikely(t->linger)) {
		linger_ready(t, events);
		return;
	}
	if (t->want_read && ((events & SOCK_READABLE) || (tell && tls_has_more(t))))
		tell |= SOCK_READABLE;
	if (events & SOCK_WRITABLE) {
		(void)tls_flush(t);
		tls_answer(t);
		if (t->want_write && !t->tx)
			tell |= SOCK_WRITABLE;
	}
	if (tell)
		sock_raw_tell(t->sock, tell);
}

void tls_want_read(struct tls *t, bool want)
{
	t->want_read = want;
	tls_update_wants(t);
	if (t->core)
		tls_look_again(t);
}

void tls_want_write(struct tls *t, bool want)
{
	t->want_write = want;
	tls_update_wants(t);
}

/* --- ends --- */

void tls_shutdown_send(struct tls *t)
{
	static const uint8_t alert[] = { 1, ALERT_CLOSE_NOTIFY };

	if (t->shut || t->error || t->shake)
		return;
	t->shut = true;
	tls_put_control(t, REC_ALERT, alert, sizeof(alert));
	(void)tls_flush(t);
}

void tls_fatal(struct tls *t, enum alert alert, const char *why)
{
	uint8_t bytes[] = { 2, alert };

	if (t->error)
		return;
	t->why = why;
	if (!t->shut) {
		tls_put_control(t, REC_ALERT, bytes, sizeof(bytes));
		(void)tls_flush(t);
	}
	t->error = -EBADMSG;
	tls_update_wants(t);
}

int tls_error(const struct tls *t)
{
	return t->error ? t->error : t->send_error;
}

/* --- asking --- */

const char *sock_tls_identity(const struct sock *s)
{
	const struct tls *t = sock_tls(s);

	return t && !t->shake ? t->identity : NULL;
}

uint8_t sock_tls_hash(const struct sock *s)
{
	const struct tls *t = sock_tls(s);

	return t && !t->shake ? t->in.hash : 0;
}

const char *sock_tls_why(const struct sock *s)
{
	const struct tls *t = sock_tls(s);

	return t ? t->why : NULL;
}

void sock_tls_set_key_limit(struct sock *s, uint64_t records)
{
	must(sock_tls(s));
	sock_tls(s)->key_records = records ? records : UINT64_MAX;
}
