/* SPDX-License-Identifier: BSD-3-Clause */
/* recv.c: what a peer sends.
 *
 * With room for much, one large read goes to the core's scratch memory, and whole records are opened from there to
 * where the caller wants them; the part of a record at the end is put by. With room for little, a read goes to the
 * socket's own buffer, and a record that does not fit is opened in place and handed out in parts.
 */
#include <errno.h>

#include "net/tls/inside.h"

#define READS_MAX 8u          /* of one receive; what is left tells itself */
#define LARGE_ROOM (2 * (HEADER_BYTES + BODY_MAX))
#define IN_PLACE_MAX 512u     /* opened where they lie: alerts and messages are as small */
#define UPDATES_MAX 32u       /* without data in between; as many as OpenSSL takes */

static int read_large(struct tls *t, struct cursor *to);
static int read_small(struct tls *t, struct cursor *to);
static int read_result(struct tls *t, ssize_t n, size_t wanted);
static void take_put_by(struct tls *t, struct cursor *to);
static uint32_t take_records(struct tls *t, uint8_t *bytes, uint32_t len, struct cursor *to);
static void take_control(struct tls *t, uint8_t type, struct cursor from, uint32_t len);
static void take_alert(struct tls *t, struct cursor from, uint32_t len);
static void take_handshake(struct tls *t, const uint8_t *bytes, uint32_t len, bool last);
static bool message_ends(struct tls *t, bool ends_record);
static ssize_t result(struct tls *t, size_t got, int rc);

ssize_t tls_recvv(struct tls *t, const struct iovec *iov, int count)
{
	struct cursor to = cursor_over(iov, count);
	size_t room = to.left;
	int rc = 1;

	must(!t->shake && t->core);
	if (t->rx)
		take_put_by(t, &to);
	for (uint32_t i = 0; i < READS_MAX && rc > 0 && to.left && !t->ended && !t->error; i++)
		rc = to.left >= LARGE_ROOM ? read_large(t, &to) : read_small(t, &to);
	if (unlikely(t->update_due))
		tls_answer(t);
	return result(t, room - to.left, rc);
}

/* What came before an end or a failure is the caller's first. */
static ssize_t result(struct tls *t, size_t got, int rc)
{
	if (likely(got)) {
		tls_look_again(t);
		return (ssize_t)got;
	}
	if (t->error || t->ended) {
		t->end_told = true;
		tls_update_wants(t);
		tls_look_again(t);
		return t->error;
	}
	tls_look_again(t);
	return rc < 0 ? rc : -EAGAIN;
}

/* --- reading; 1: there may be more --- */

static int read_large(struct tls *t, struct cursor *to)
{
	uint8_t *bytes = t->core->scratch;
	uint32_t have = t->rx ? t->rx->end - t->rx->at : 0, used, left;
	size_t want = min_u64(RX_AT_ONCE, to->left) - have;
	ssize_t n = sock_raw_recv(t->sock, bytes + have, want);

	if (n <= 0)
		return read_result(t, n, want);
	if (have)
		memcpy(bytes, t->rx->bytes + t->rx->at, have);
	have += (uint32_t)n;
	used = take_records(t, bytes, have, to); /* shorter than what they came as: there is room for all */
	left = t->error || t->ended ? 0 : have - used;
	if (left) {
		if (!t->rx)
			t->rx = rx_take(t->core);
		must(left <= sizeof(t->rx->bytes));
		memcpy(t->rx->bytes, bytes + used, left);
		t->rx->at = 0;
		t->rx->end = left;
	} else if (t->rx) {
		rx_give(t->core, t->rx);
		t->rx = NULL;
	}
	return read_result(t, n, want);
}

static int read_small(struct tls *t, struct cursor *to)
{
	struct rx *rx = t->rx;
	size_t want;
	ssize_t n;

	if (!rx)
		rx = t->rx = rx_take(t->core);
	assert(rx->plain_at == rx->plain_end);
	memmove(rx->bytes, rx->bytes + rx->at, rx->end - rx->at);
	rx->end -= rx->at;
	rx->at = rx->plain_at = rx->plain_end = 0;
	want = sizeof(rx->bytes) - rx->end;
	n = sock_raw_recv(t->sock, rx->bytes + rx->end, want);
	if (n > 0)
		rx->end += (uint32_t)n;
	take_put_by(t, to);
	return read_result(t, n, want);
}

static int read_result(struct tls *t, ssize_t n, size_t wanted)
{
	if (likely(n > 0))
		return (size_t)n == wanted;
	if (n == -EAGAIN)
		return 0;
	if (n)
		return (int)n;
	/* Anybody on the way could have cut it. */
	t->error = -ECONNRESET;
	t->why = "the connection was ended without close_notify";
	return 0;
}

/* --- records --- */

static void take_put_by(struct tls *t, struct cursor *to)
{
	struct rx *rx = t->rx;
	uint32_t part = (uint32_t)min_u64(rx->plain_end - rx->plain_at, to->left);

	cursor_put(to, rx->bytes + rx->plain_at, part);
	rx->plain_at += part;
	if (rx->plain_at < rx->plain_end)
		return;
	rx->at += take_records(t, rx->bytes + rx->at, rx->end - rx->at, to);
	if (rx->plain_at < rx->plain_end || (rx->at < rx->end && !t->error && !t->ended))
		return;
	t->rx = NULL;
	rx_give(t->core, rx);
}

/* All that are whole, as long as there is room. Returns how many bytes they were. A record larger than the room is put
 * by; that happens in the socket's own buffer only. */
static uint32_t take_records(struct tls *t, uint8_t *bytes, uint32_t len, struct cursor *to)
{
	uint32_t at = 0;

	while (len - at >= HEADER_BYTES && to->left && !t->error && !t->ended) {
		uint8_t *record = bytes + at, type = 0;
		enum alert alert = 0;
		uint32_t body = record_body(record, &alert), content = body - TAG_BYTES - 1, got = 0;
		struct iovec own = { record + HEADER_BYTES, content };
		bool direct = content > IN_PLACE_MAX && content <= to->left;
		struct cursor into;

		if (body && len - at < HEADER_BYTES + body)
			break;
		at += HEADER_BYTES + body;
		into = direct ? *to : cursor_over(&own, 1);
		if (!body || !record_open(&t->in, record, body, into, &type, &got, &alert)) {
			tls_fatal(t, alert, "it sent a record that is damaged, or not allowed");
			break;
		}
		if (unlikely(type != REC_DATA)) {
			take_control(t, type, into, got);
			continue;
		}
		if (unlikely(t->hs_have)) {
			tls_fatal(t, ALERT_UNEXPECTED_MESSAGE, "it sent data within a handshake message");
			break;
		}
		t->updates = 0;
		if (direct) {
			for (uint32_t left = got; left;)
				left -= (uint32_t)cursor_next(to, left).iov_len;
			continue;
		}
		if (got <= to->left) {
			cursor_put(to, own.iov_base, got);
			continue;
		}
		must(t->rx && record >= t->rx->bytes && record < t->rx->bytes + sizeof(t->rx->bytes));
		t->rx->plain_at = (uint32_t)(record + HEADER_BYTES - t->rx->bytes);
		t->rx->plain_end = t->rx->plain_at + got;
		got = (uint32_t)to->left;
		cursor_put(to, own.iov_base, got);
		t->rx->plain_at += got;
		break;
	}
	return at;
}

/* --- what is no data --- */

static void take_control(struct tls *t, uint8_t type, struct cursor from, uint32_t len)
{
	if (type == REC_ALERT) {
		take_alert(t, from, len);
	} else if (type == REC_HANDSHAKE && len) {
		while (len && !t->error) {
			struct iovec piece = cursor_next(&from, len);

			len -= (uint32_t)piece.iov_len;
			take_handshake(t, piece.iov_base, (uint32_t)piece.iov_len, !len);
		}
	} else {
		tls_fatal(t, ALERT_UNEXPECTED_MESSAGE, "it sent a record of a kind that is not allowed");
	}
}

static void take_alert(struct tls *t, struct cursor from, uint32_t len)
{
	uint8_t bytes[2];

	if (t->hs_have) {
		tls_fatal(t, ALERT_UNEXPECTED_MESSAGE, "it sent an alert within a handshake message");
		return;
	}
	if (len != sizeof(bytes)) {
		tls_fatal(t, ALERT_DECODE_ERROR, "it sent an alert of a wrong length");
		return;
	}
	for (uint32_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = *(const uint8_t *)cursor_next(&from, 1).iov_base;
	if (bytes[1] == ALERT_CLOSE_NOTIFY) {
		t->ended = true;
	} else if (bytes[1] != ALERT_USER_CANCELED) {
		t->error = -ECONNABORTED;
		t->why = alert_name(bytes[1]);
	}
}

static uint32_t message_len(const struct tls *t)
{
	return (uint32_t)t->hs_head[1] << 16 | (uint32_t)t->hs_head[2] << 8 | t->hs_head[3];
}

/* `last`: these bytes end their record. */
static void take_handshake(struct tls *t, const uint8_t *bytes, uint32_t len, bool last)
{
	for (uint32_t at = 0; at < len && !t->error;) {
		uint32_t part;

		if (t->hs_have < 4) {
			t->hs_head[t->hs_have++] = bytes[at++];
			if (t->hs_have == 4)
				t->hs_left = message_len(t);
			if (t->hs_have < 4 || t->hs_left)
				continue;
		} else {
			part = min_u32(t->hs_left, len - at);
			t->hs_head[4] = bytes[at];
			at += part;
			t->hs_left -= part;
			if (t->hs_left)
				continue;
		}
		t->hs_have = 0;
		if (!message_ends(t, last && at == len))
			return;
	}
}

/* A message is whole: hs_head has its type, its length, and for the short ones its last byte. */
static bool message_ends(struct tls *t, bool ends_record)
{
	uint32_t len = message_len(t);

	if (t->hs_head[0] == HS_TICKET && !t->serves)
		return true; /* of no use to us */
	if (t->hs_head[0] != HS_KEY_UPDATE) {
		tls_fatal(t, ALERT_UNEXPECTED_MESSAGE, "it sent a handshake message after the handshake");
		return false;
	}
	if (len != 1) {
		tls_fatal(t, ALERT_DECODE_ERROR, "it sent a key update of a wrong length");
		return false;
	}
	if (t->hs_head[4] > 1) {
		tls_fatal(t, ALERT_ILLEGAL_PARAMETER, "it sent a key update that asks for an unknown thing");
		return false;
	}
	if (!ends_record || ++t->updates > UPDATES_MAX) {
		tls_fatal(t, ALERT_UNEXPECTED_MESSAGE, "it sent a key update where none is allowed, or too many");
		return false;
	}
	keys_update(&t->in);
	t->peer_updates = true;
	t->update_due |= t->hs_head[4] == 1;
	return true;
}
