/* SPDX-License-Identifier: BSD-3-Clause */
/* record.c: one record (RFC 8446, 5): sealed from where the content lies, opened to where it is wanted. */
#include "net/tls/inside.h"

void cursor_put(struct cursor *c, const uint8_t *bytes, size_t len)
{
	while (len) {
		struct iovec piece = cursor_next(c, len);

		memcpy(piece.iov_base, bytes, piece.iov_len);
		bytes += piece.iov_len;
		len -= piece.iov_len;
	}
}

/* The nonce of the next record, and the header, which is authenticated with it. */
static void begin(struct keys *k, const uint8_t *header)
{
	memcpy(k->nonce, k->iv, IV_BYTES);
	for (int i = 0; i < 8; i++)
		k->nonce[11 - i] ^= (uint8_t)(k->seq >> (8 * i));
	k->gcm->begin(k->cipher, k->nonce, header);
	k->seq++;
}

uint32_t record_seal(struct keys *k, uint8_t type, struct cursor *from, uint32_t len, uint8_t *to)
{
	uint32_t body = len + 1 + TAG_BYTES, left = len;
	uint8_t *at = to + HEADER_BYTES;

	assert(len <= PLAIN_MAX && from->left >= len);
	to[0] = REC_DATA;
	to[1] = to[2] = 3;
	to[3] = (uint8_t)(body >> 8);
	to[4] = (uint8_t)body;
	begin(k, to);
	while (left) {
		struct iovec piece = cursor_next(from, left);

		k->gcm->crypt(k->cipher, at, piece.iov_base, piece.iov_len);
		at += piece.iov_len;
		left -= (uint32_t)piece.iov_len;
	}
	k->gcm->crypt(k->cipher, at, &type, 1);
	k->gcm->seal(k->cipher, at + 1);
	return HEADER_BYTES + body;
}

uint32_t record_body(const uint8_t *header, enum alert *ret_alert)
{
	uint32_t body = (uint32_t)header[3] << 8 | header[4];

	if (header[0] != REC_DATA) {
		*ret_alert = ALERT_UNEXPECTED_MESSAGE;
		return 0;
	}
	if (body > BODY_MAX) {
		*ret_alert = ALERT_RECORD_OVERFLOW;
		return 0;
	}
	if (body < TAG_BYTES + 1) {
		*ret_alert = ALERT_BAD_RECORD_MAC;
		return 0;
	}
	return body;
}

static uint8_t byte_at(struct cursor c, uint32_t at)
{
	while (at >= c.iov->iov_len - c.at) {
		at -= (uint32_t)(c.iov->iov_len - c.at);
		c.iov++;
		c.at = 0;
	}
	return ((const uint8_t *)c.iov->iov_base)[c.at + at];
}

bool record_open(struct keys *k, const uint8_t *record, uint32_t body, struct cursor to, uint8_t *ret_type,
                 uint32_t *ret_len, enum alert *ret_alert)
{
	uint32_t len = body - TAG_BYTES - 1, left = len;
	const uint8_t *from = record + HEADER_BYTES;
	struct cursor begun = to;
	uint8_t type;

	assert(to.left >= len);
	begin(k, record);
	while (left) {
		struct iovec piece = cursor_next(&to, left);

		k->gcm->crypt(k->cipher, piece.iov_base, from, piece.iov_len);
		from += piece.iov_len;
		left -= (uint32_t)piece.iov_len;
	}
	k->gcm->crypt(k->cipher, &type, from, 1);
	*ret_alert = ALERT_BAD_RECORD_MAC;
	if (!k->gcm->open(k->cipher, from + 1))
		return false;
	while (!type && len) /* padding */
		type = byte_at(begun, --len);
	*ret_alert = !type ? ALERT_UNEXPECTED_MESSAGE : ALERT_RECORD_OVERFLOW;
	if (!type || len > PLAIN_MAX)
		return false;
	*ret_type = type;
	*ret_len = len;
	return true;
}
