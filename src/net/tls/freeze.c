/* SPDX-License-Identifier: BSD-3-Clause */
/* freeze.c: a secured socket for another process: the secrets, the counters, and what waits in either direction. */
#include <errno.h>
#include <openssl/crypto.h>
#include <stdio.h>

#include "net/tls/inside.h"

/* Thawing: only the secret, its hash and the counter are read; keys_thaw() makes the rest. */
static void freeze_keys(struct freeze *f, struct keys *k, bool seals)
{
	uint8_t secret[SECRET_MAX] = { 0 };
	uint64_t seq = k->seq;
	uint8_t hash = k->hash;

	if (!f->thawing)
		memcpy(secret, k->secret, sizeof(secret));
	freeze_u8(f, "hash", &hash);
	freeze_raw(f, "secret", secret, sizeof(secret));
	freeze_u64(f, "seq", &seq);
	if (f->thawing && !f->err.code && hash != TLS_SHA256 && hash != TLS_SHA384)
		err_set(&f->err, -EINVAL, "a secured socket's hash is %u, which is none", hash);
	if (f->thawing && !f->err.code) {
		keys_begin(k, hash, secret, seals);
		k->seq = seq;
	}
	OPENSSL_cleanse(secret, sizeof(secret));
}

static void freeze_rx(struct freeze *f, struct tls *t)
{
	uint8_t none[1] = { 0 };
	uint32_t plain = t->rx ? t->rx->plain_end - t->rx->plain_at : 0, raw = t->rx ? t->rx->end - t->rx->at : 0;
	struct rx *rx;

	if (!f->thawing) {
		freeze_bytes(f, "opened", plain ? t->rx->bytes + t->rx->plain_at : none, &plain, PLAIN_MAX);
		freeze_bytes(f, "received", raw ? t->rx->bytes + t->rx->at : none, &raw, sizeof(t->rx->bytes));
		return;
	}
	rx = rx_take(NULL);
	freeze_bytes(f, "opened", rx->bytes, &plain, PLAIN_MAX);
	rx->plain_end = rx->at = plain;
	freeze_bytes(f, "received", rx->bytes + plain, &raw, (uint32_t)sizeof(rx->bytes) - plain);
	rx->end = plain + raw;
	if (rx->end)
		t->rx = rx;
	else
		rx_give(NULL, rx);
}

static void freeze_tx(struct freeze *f, struct tls *t)
{
	uint8_t none[1] = { 0 };
	uint32_t len = t->tx ? t->tx->end - t->tx->at : 0;
	struct tx *tx;

	if (!f->thawing) {
		freeze_bytes(f, "unsent", len ? t->tx->bytes + t->tx->at : none, &len, TX_LARGE);
		return;
	}
	tx = tx_take(NULL, TX_LARGE);
	freeze_bytes(f, "unsent", tx->bytes, &len, TX_LARGE);
	tx->end = len;
	if (len)
		t->tx = tx;
	else
		tx_give(NULL, tx);
}

void sock_tls_freeze(struct freeze *f, struct sock *s)
{
	struct tls *t = f->thawing ? tls_make(s) : sock_tls(s);
	char identity[TLS_IDENTITY_MAX + 1] = "";

	must(t && !t->core && !t->shake);
	if (!f->thawing)
		snprintf(identity, sizeof(identity), "%s", t->identity);
	freeze_text(f, "identity", identity, sizeof(identity));
	if (f->thawing)
		t->identity = base_strdup(identity);
	freeze_keys(f, &t->in, false);
	freeze_keys(f, &t->out, true);
	freeze_rx(f, t);
	freeze_tx(f, t);
	freeze_bool(f, "serves", &t->serves);
	freeze_u64(f, "key_records", &t->key_records);
	freeze_bool(f, "ended", &t->ended);
	freeze_bool(f, "end_told", &t->end_told);
	freeze_bool(f, "shut", &t->shut);
	freeze_bool(f, "shut_below", &t->shut_below);
	freeze_bool(f, "update_due", &t->update_due);
	freeze_u8(f, "updates", &t->updates);
	freeze_bool(f, "peer_updates", &t->peer_updates);
	freeze_raw(f, "hs_head", t->hs_head, sizeof(t->hs_head));
	freeze_u8(f, "hs_have", &t->hs_have);
	freeze_u32(f, "hs_left", &t->hs_left);
	if (f->thawing)
		tls_update_wants(t);
}
