/* SPDX-License-Identifier: BSD-3-Clause */
/* rx.c: cut a byte stream into headers, spans of data and verdicts.
 *
 * Headers are looked at where they lie when the feed holds all of them, which is the rule; otherwise they are gathered
 * in the stash, as are the few bytes behind the data.
 */
#include "iscsi/rx.h"

#include "base/crc32c.h"

static enum iscsi_rx_event on_header(struct iscsi_rx *rx, const uint8_t **at, const uint8_t *end);
static bool gather(struct iscsi_rx *rx, uint32_t want, const uint8_t **at, const uint8_t *end);
static enum iscsi_rx_event whole_header(struct iscsi_rx *rx, const uint8_t *bytes);
static enum iscsi_rx_event on_data(struct iscsi_rx *rx, const uint8_t **at, const uint8_t *end);
static enum iscsi_rx_event on_tail(struct iscsi_rx *rx, const uint8_t **at, const uint8_t *end);

void iscsi_rx_init(struct iscsi_rx *rx)
{
	memset(rx, 0, offsetof(struct iscsi_rx, stash));
}

enum iscsi_rx_event iscsi_rx_next(struct iscsi_rx *rx, const uint8_t **at, const uint8_t *end)
{
	switch ((enum iscsi_rx_state)rx->state) {
	case ISCSI_RX_ON_HEADER:
		return on_header(rx, at, end);
	case ISCSI_RX_ON_DATA:
		return on_data(rx, at, end);
	case ISCSI_RX_ON_TAIL:
		return on_tail(rx, at, end);
	case ISCSI_RX_ON_END:
		rx->state = ISCSI_RX_ON_HEADER;
		return ISCSI_RX_END;
	case ISCSI_RX_ON_NOTHING:
		break;
	}
	*at = end;
	return ISCSI_RX_MORE;
}

/* --- headers --- */

static enum iscsi_rx_event on_header(struct iscsi_rx *rx, const uint8_t **at, const uint8_t *end)
{
	size_t there = (size_t)(end - *at);
	uint32_t size;

	if (likely(!rx->stash_len && there >= ISCSI_BHS_SIZE)) {
		const uint8_t *bytes = *at;

		size = iscsi_header_size((const struct iscsi_hdr *)bytes, rx->header_digest);
		if (likely(there >= size)) {
			*at += size;
			return whole_header(rx, bytes);
		}
	}
	if (rx->stash_len < ISCSI_BHS_SIZE && !gather(rx, ISCSI_BHS_SIZE, at, end))
		return ISCSI_RX_MORE;
	size = iscsi_header_size((const struct iscsi_hdr *)rx->stash, rx->header_digest);
	if (!gather(rx, size, at, end))
		return ISCSI_RX_MORE;
	rx->stash_len = 0;
	return whole_header(rx, rx->stash);
}

/* Have `want` bytes in the stash. */
static bool gather(struct iscsi_rx *rx, uint32_t want, const uint8_t **at, const uint8_t *end)
{
	size_t len = min_u64(want - rx->stash_len, (size_t)(end - *at));

	assert(want <= sizeof(rx->stash) && rx->stash_len <= want);
	if (len) { /* an empty feed may be NULL */
		memcpy(rx->stash + rx->stash_len, *at, len);
		rx->stash_len = (uint16_t)(rx->stash_len + len);
		*at += len;
	}
	return rx->stash_len == want;
}

/* The digest goes as its bytes come out of the register, least significant first: as CRC-32C everywhere. */
static uint32_t digest_at(const uint8_t *bytes)
{
	le32 digest;

	memcpy(&digest, bytes, sizeof(digest));
	return le32_get(digest);
}

static enum iscsi_rx_event whole_header(struct iscsi_rx *rx, const uint8_t *bytes)
{
	const struct iscsi_hdr *h = (const struct iscsi_hdr *)bytes;
	uint32_t len = ISCSI_BHS_SIZE + iscsi_ahs_len(h);

	rx->bhs = (const union iscsi_bhs *)bytes;
	rx->ahs = bytes + ISCSI_BHS_SIZE;
	if (rx->header_digest &&
	    unlikely(crc32c_finish(crc32c_update(CRC32C_START, bytes, len)) != digest_at(bytes + len))) {
		rx->state = ISCSI_RX_ON_NOTHING;
		return ISCSI_RX_BAD;
	}
	rx->data_len = rx->data_left = iscsi_data_len(h);
	rx->digest_good = true;
	rx->state = ISCSI_RX_ON_END;
	if (!rx->data_len)
		return ISCSI_RX_HEADER;
	rx->tail_len = (uint8_t)(iscsi_pad(rx->data_len) + (rx->data_digest ? ISCSI_DIGEST_SIZE : 0));
	rx->crc = CRC32C_START;
	rx->state = ISCSI_RX_ON_DATA;
	return ISCSI_RX_HEADER;
}

/* --- data --- */

static enum iscsi_rx_event on_data(struct iscsi_rx *rx, const uint8_t **at, const uint8_t *end)
{
	uint32_t len = (uint32_t)min_u64(rx->data_left, (size_t)(end - *at));

	if (len) {
		rx->span = *at;
		rx->span_len = len;
		*at += len;
		rx->data_left -= len;
		if (rx->data_digest)
			rx->crc = crc32c_update(rx->crc, rx->span, len);
		return ISCSI_RX_DATA;
	}
	if (rx->data_left)
		return ISCSI_RX_MORE;
	rx->state = ISCSI_RX_ON_TAIL;
	return on_tail(rx, at, end);
}

/* Padding counts in the digest. */
static enum iscsi_rx_event on_tail(struct iscsi_rx *rx, const uint8_t **at, const uint8_t *end)
{
	uint32_t pad = iscsi_pad(rx->data_len);

	if (rx->tail_len && !gather(rx, rx->tail_len, at, end))
		return ISCSI_RX_MORE;
	if (rx->data_digest) {
		rx->crc = crc32c_update(rx->crc, rx->stash, pad);
		rx->digest_good = crc32c_finish(rx->crc) == digest_at(rx->stash + pad);
	}
	rx->stash_len = 0;
	rx->state = ISCSI_RX_ON_HEADER;
	return ISCSI_RX_END;
}

void iscsi_rx_direct_took(struct iscsi_rx *rx, const struct iovec *iovs, uint32_t len)
{
	assert(len <= iscsi_rx_direct_left(rx));
	rx->data_left -= len;
	if (!rx->data_digest)
		return;
	for (uint32_t n; len; len -= n, iovs++) {
		n = (uint32_t)min_u64(iovs->iov_len, len);
		rx->crc = crc32c_update(rx->crc, iovs->iov_base, n);
	}
}
