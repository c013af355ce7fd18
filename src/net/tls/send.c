/* SPDX-License-Identifier: BSD-3-Clause */
/* send.c: what we send: sealed into a buffer, which is the socket's until the kernel has taken all of it. Nothing more
 * is taken from the caller meanwhile. */
#include <errno.h>

#include "net/tls/inside.h"

#define KEY_RECORDS (1ull << 24)        /* 5.5 */
#define KEY_RECORDS_ALONE (1ull << 32)  /* with a peer that may not know of key updates */
#define RECORD_WORTH 4096u /* rather the next buffer than a smaller record at the end of this one */

static void fill(struct tls *t, struct cursor *from);
static bool write_out(struct tls *t);
static void drop_tx(struct tls *t);
static size_t keep(struct tls *t);

static uint64_t key_records(const struct tls *t)
{
	return likely(!t->key_records) ? t->peer_updates ? KEY_RECORDS : KEY_RECORDS_ALONE : t->key_records;
}

ssize_t tls_send(struct tls *t, const struct iovec *iov, int count)
{
	struct cursor from = cursor_over(iov, count);
	size_t given = from.left, back = 0;

	must(!t->shake && t->core);
	if (unlikely(t->error || t->send_error || t->shut))
		return t->error ? t->error : t->send_error ? t->send_error : -EPIPE;
	if (t->tx && !tls_flush(t))
		return t->send_error ? t->send_error : -EAGAIN;
	while (from.left) {
		if (unlikely(t->update_due || t->out.seq >= key_records(t)))
			tls_send_update(t);
		if (!t->tx)
			t->tx = tx_take(t->core, TX_LARGE);
		fill(t, &from);
		if (write_out(t)) {
			t->tx->at = t->tx->end = 0;
			if (t->tx->size == TX_SMALL)
				drop_tx(t);
			continue;
		}
		if (t->send_error)
			return t->send_error;
		back = keep(t);
		break;
	}
	if (t->tx && t->tx->at == t->tx->end)
		drop_tx(t);
	given -= from.left + back;
	return given || !(from.left + back) ? (ssize_t)given : -EAGAIN;
}

static void fill(struct tls *t, struct cursor *from)
{
	struct tx *tx = t->tx;

	while (from->left) {
		uint32_t room = tx->size - TX_SPARE - tx->end;
		uint32_t len = (uint32_t)min_u64(from->left, PLAIN_MAX);

		if (room < OVERHEAD_BYTES + min_u32(len, RECORD_WORTH))
			break;
		len = min_u32(len, room - OVERHEAD_BYTES);
		tx->end += record_seal(&t->out, REC_DATA, from, len, tx->bytes + tx->end);
	}
}

/* All of it left. */
static bool write_out(struct tls *t)
{
	struct tx *tx = t->tx;
	ssize_t n = sock_raw_send(t->sock, tx->bytes + tx->at, tx->end - tx->at);

	if (n > 0)
		tx->at += (uint32_t)n;
	if (n < 0 && n != -EAGAIN) {
		t->send_error = (int)n;
		drop_tx(t);
		tls_update_wants(t);
		return false;
	}
	return tx->at == tx->end;
}

static void drop_tx(struct tls *t)
{
	if (t->kept_large && t->core) /* one that is detached is not counted */
		t->core->large_kept--;
	t->kept_large = false;
	tx_give(t->core, t->tx);
	t->tx = NULL;
}

/* The rest waits in the socket's buffer. When too many of a core's do, only the record that is under way is kept, and
 * those behind it are taken back, as if they had never been sealed: nobody has seen them, so their nonces are fresh.
 * Returns how much of the caller's was in those. */
static size_t keep(struct tls *t)
{
	struct tx *tx = t->tx, *small;
	uint32_t at = 0;
	size_t back = 0;

	t->kept_large = tx->size == TX_LARGE && t->core->large_kept < TX_LARGE_KEPT_MAX;
	if (t->kept_large)
		t->core->large_kept++;
	if (t->kept_large || tx->size == TX_SMALL) {
		tls_update_wants(t);
		return 0;
	}
	while (at <= tx->at)
		at += HEADER_BYTES + ((uint32_t)tx->bytes[at + 3] << 8 | tx->bytes[at + 4]);
	small = tx_take(t->core, TX_SMALL);
	small->end = at - tx->at;
	memcpy(small->bytes, tx->bytes + tx->at, small->end);
	while (at < tx->end) {
		uint32_t body = (uint32_t)tx->bytes[at + 3] << 8 | tx->bytes[at + 4];

		at += HEADER_BYTES + body;
		back += body - 1 - TAG_BYTES;
		t->out.seq--;
	}
	tx_give(t->core, tx);
	t->tx = small;
	tls_update_wants(t);
	return back;
}

bool tls_flush(struct tls *t)
{
	if (!t->tx)
		return !t->send_error;
	if (!write_out(t)) {
		if (t->tx)
			tls_update_wants(t);
		return false;
	}
	drop_tx(t);
	tls_update_wants(t);
	if (t->shut && !t->shut_below) {
		t->shut_below = true;
		sock_raw_shutdown_send(t->sock);
	}
	return true;
}

/* --- what is no data --- */

/* An alert or a message, behind what waits already. TX_SPARE is for these: each is there once at most. */
void tls_put_control(struct tls *t, uint8_t type, const void *bytes, uint32_t len)
{
	struct iovec iov = { (void *)(uintptr_t)bytes, len };
	struct cursor from = cursor_over(&iov, 1);

	if (t->send_error)
		return;
	if (!t->tx)
		t->tx = tx_take(t->core, TX_SMALL);
	must(t->tx->size - t->tx->end >= OVERHEAD_BYTES + len);
	t->tx->end += record_seal(&t->out, type, &from, len, t->tx->bytes + t->tx->end);
}

/* The peer asked for a key update of ours: one answer to all that it asked for while something was unsent. */
void tls_answer(struct tls *t)
{
	if (!t->update_due || t->tx || t->error || t->shut || t->send_error)
		return;
	tls_send_update(t);
	(void)tls_flush(t);
}

/* What follows is sealed with the next key. */
void tls_send_update(struct tls *t)
{
	static const uint8_t message[] = { HS_KEY_UPDATE, 0, 0, 1, 0 };

	t->update_due = false;
	tls_put_control(t, REC_HANDSHAKE, message, sizeof(message));
	keys_update(&t->out);
}
