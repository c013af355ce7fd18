/* SPDX-License-Identifier: BSD-3-Clause */
/* tcp_rx.c: cut a byte stream into headers, spans of data and verdicts.
 *
 * A header is looked at where it lies when the feed holds all of it, which is the rule; otherwise it is gathered in the
 * stash. Its first eight bytes are checked as soon as they are there: a PDU that cannot be right is never waited for.
 */
#include "base/crc32c.h"
#include "fabric/fabric.h"

static enum fabric_rx_event on_header(struct fabric_rx *rx, const uint8_t **at, const uint8_t *end);
static enum nvme_tcp_fes check_common(struct fabric_rx *rx, const struct nvme_tcp_hdr *h);
static bool gather(struct fabric_rx *rx, uint32_t want, const uint8_t **at, const uint8_t *end);
static enum fabric_rx_event check_header(struct fabric_rx *rx, const union nvme_tcp_pdu *pdu);
static bool header_digest_good(struct fabric_rx *rx, const union nvme_tcp_pdu *pdu);
static void begin_data(struct fabric_rx *rx, const struct nvme_tcp_hdr *h);
static void skip_pad(struct fabric_rx *rx, const uint8_t **at, const uint8_t *end);
static enum fabric_rx_event on_data(struct fabric_rx *rx, const uint8_t **at, const uint8_t *end);
static enum fabric_rx_event on_digest(struct fabric_rx *rx, const uint8_t **at, const uint8_t *end);
static enum fabric_rx_event bad(struct fabric_rx *rx, const union nvme_tcp_pdu *pdu, uint8_t len,
                                enum nvme_tcp_fes fes);

void fabric_rx_init(struct fabric_rx *rx, enum nvme_tcp_side side)
{
	memset(rx, 0, sizeof(*rx));
	rx->as.side = side;
	rx->as.framing.align_bytes = 4;
	rx->state = FABRIC_RX_ON_HEADER;
}

enum fabric_rx_event fabric_rx_next(struct fabric_rx *rx, const uint8_t **at, const uint8_t *end)
{
	switch ((enum fabric_rx_state)rx->state) {
	case FABRIC_RX_ON_HEADER:
		return on_header(rx, at, end);
	case FABRIC_RX_ON_PAD:
		skip_pad(rx, at, end);
		if (rx->pad_left)
			return FABRIC_RX_MORE;
		rx->state = FABRIC_RX_ON_DATA;
		__attribute__((fallthrough));
	case FABRIC_RX_ON_DATA:
		return on_data(rx, at, end);
	case FABRIC_RX_ON_DIGEST:
		return on_digest(rx, at, end);
	case FABRIC_RX_ON_NOTHING:
		break;
	}
	*at = end;
	return FABRIC_RX_MORE;
}

/* --- header --- */

static enum fabric_rx_event on_header(struct fabric_rx *rx, const uint8_t **at, const uint8_t *end)
{
	const union nvme_tcp_pdu *pdu = (const union nvme_tcp_pdu *)*at;
	size_t there = (size_t)(end - *at);
	enum nvme_tcp_fes fes;

	if (likely(!rx->stash_len && there >= sizeof(pdu->h))) {
		fes = check_common(rx, &pdu->h);
		if (unlikely(fes))
			return bad(rx, pdu, sizeof(pdu->h), fes);
		if (likely(there >= nvme_tcp_header_size(&pdu->h))) {
			*at += nvme_tcp_header_size(&pdu->h);
			return check_header(rx, pdu);
		}
	}
	pdu = (const union nvme_tcp_pdu *)rx->stash;
	if (rx->stash_len < sizeof(pdu->h)) {
		if (!gather(rx, sizeof(pdu->h), at, end))
			return FABRIC_RX_MORE;
		fes = nvme_tcp_check_common(&pdu->h, &rx->as, &rx->fei);
		if (fes)
			return bad(rx, pdu, sizeof(pdu->h), fes);
	}
	if (!gather(rx, nvme_tcp_header_size(&pdu->h), at, end))
		return FABRIC_RX_MORE;
	return check_header(rx, pdu);
}

/* A host's commands of one kind begin alike, and what was right stays right: 5 % of a write's instructions. */
static enum nvme_tcp_fes check_common(struct fabric_rx *rx, const struct nvme_tcp_hdr *h)
{
	enum nvme_tcp_fes fes;
	uint64_t bytes;

	_Static_assert(sizeof(*h) == sizeof(bytes), "");
	memcpy(&bytes, h, sizeof(bytes));
	if (likely(bytes == rx->known && bytes)) /* zeroes are known to nobody */
		return NVME_TCP_FES_NONE;
	fes = nvme_tcp_check_common(h, &rx->as, &rx->fei);
	if (!fes && rx->as.ready)
		rx->known = bytes;
	return fes;
}

/* Have `want` bytes in the stash. */
static bool gather(struct fabric_rx *rx, uint32_t want, const uint8_t **at, const uint8_t *end)
{
	size_t len = min_u64(want - rx->stash_len, (size_t)(end - *at));

	assert(want <= sizeof(rx->stash) && rx->stash_len <= want);
	if (len) { /* an empty feed may be NULL */
		memcpy(rx->stash + rx->stash_len, *at, len);
		rx->stash_len = (uint8_t)(rx->stash_len + len);
		*at += len;
	}
	return rx->stash_len == want;
}

static enum fabric_rx_event check_header(struct fabric_rx *rx, const union nvme_tcp_pdu *pdu)
{
	enum nvme_tcp_fes fes;

	rx->pdu = pdu;
	rx->type = pdu->h.type;
	if ((pdu->h.flags & NVME_TCP_HDGSTF) && unlikely(!header_digest_good(rx, pdu)))
		return bad(rx, pdu, pdu->h.hlen, NVME_TCP_FES_HEADER_DIGEST);
	fes = nvme_tcp_check_header(pdu, &rx->as, &rx->fei);
	if (unlikely(fes))
		return bad(rx, pdu, pdu->h.hlen, fes);
	rx->stash_len = 0;
	begin_data(rx, &pdu->h);
	return FABRIC_RX_HEADER;
}

static bool header_digest_good(struct fabric_rx *rx, const union nvme_tcp_pdu *pdu)
{
	le32 digest;

	memcpy(&digest, (const uint8_t *)pdu + pdu->h.hlen, sizeof(digest));
	rx->fei = le32_get(digest); /* what came goes back, should it be wrong */
	return crc32c_finish(crc32c_update(CRC32C_START, pdu, pdu->h.hlen)) == rx->fei;
}

static void begin_data(struct fabric_rx *rx, const struct nvme_tcp_hdr *h)
{
	rx->data_len = rx->data_left = nvme_tcp_data_size(h);
	rx->digest_good = true;
	if (!rx->data_len) {
		rx->state = FABRIC_RX_ON_HEADER;
		return;
	}
	rx->digest_follows = h->flags & NVME_TCP_DDGSTF;
	rx->crc = CRC32C_START;
	/* A TermReq's quotation follows its header at once, and has no PDO. */
	rx->pad_left = h->pdo ? (uint8_t)(h->pdo - nvme_tcp_header_size(h)) : 0;
	rx->state = rx->pad_left ? FABRIC_RX_ON_PAD : FABRIC_RX_ON_DATA;
}

/* --- data --- */

static void skip_pad(struct fabric_rx *rx, const uint8_t **at, const uint8_t *end)
{
	size_t len = min_u64(rx->pad_left, (size_t)(end - *at));

	rx->pad_left = (uint8_t)(rx->pad_left - len);
	*at += len;
}

static enum fabric_rx_event on_data(struct fabric_rx *rx, const uint8_t **at, const uint8_t *end)
{
	uint32_t len = (uint32_t)min_u64(rx->data_left, (size_t)(end - *at));

	if (len) {
		rx->span = *at;
		rx->span_len = len;
		*at += len;
		rx->data_left -= len;
		if (rx->digest_follows)
			rx->crc = crc32c_update(rx->crc, rx->span, len);
		return FABRIC_RX_DATA;
	}
	if (rx->data_left)
		return FABRIC_RX_MORE;
	if (rx->digest_follows) {
		rx->state = FABRIC_RX_ON_DIGEST;
		return on_digest(rx, at, end);
	}
	rx->state = FABRIC_RX_ON_HEADER;
	return FABRIC_RX_END;
}

static enum fabric_rx_event on_digest(struct fabric_rx *rx, const uint8_t **at, const uint8_t *end)
{
	le32 digest;

	if (!gather(rx, NVME_TCP_DIGEST_SIZE, at, end))
		return FABRIC_RX_MORE;
	memcpy(&digest, rx->stash, sizeof(digest));
	rx->digest_good = crc32c_finish(rx->crc) == le32_get(digest);
	rx->stash_len = 0;
	rx->state = FABRIC_RX_ON_HEADER;
	return FABRIC_RX_END;
}

void fabric_rx_direct_took(struct fabric_rx *rx, const struct iovec *iovs, uint32_t len)
{
	assert(len <= fabric_rx_direct_left(rx));
	rx->data_left -= len;
	if (!rx->digest_follows)
		return;
	for (uint32_t n; len; len -= n, iovs++) {
		n = (uint32_t)min_u64(iovs->iov_len, len);
		rx->crc = crc32c_update(rx->crc, iovs->iov_base, n);
	}
}

/* --- trouble --- */

/* Keep what was looked at of the header, to be quoted. */
static enum fabric_rx_event bad(struct fabric_rx *rx, const union nvme_tcp_pdu *pdu, uint8_t len,
                                enum nvme_tcp_fes fes)
{
	rx->fes = fes;
	rx->type = pdu->h.type;
	if ((const uint8_t *)pdu != rx->stash)
		memmove(rx->stash, pdu, len);
	rx->stash_len = len;
	rx->pdu = (const union nvme_tcp_pdu *)rx->stash;
	rx->state = FABRIC_RX_ON_NOTHING;
	return FABRIC_RX_BAD;
}

uint32_t fabric_put_term(uint8_t *at, const struct fabric_rx *rx, enum nvme_tcp_fes fes, uint32_t fei)
{
	uint32_t have = rx->state == FABRIC_RX_ON_NOTHING ? rx->stash_len : rx->pdu->h.hlen;
	struct nvme_tcp_term term;
	uint32_t quoted = nvme_tcp_fill_term(&term, rx->as.side, fes, fei, have);

	memcpy(at, &term, sizeof(term));
	memcpy(at + sizeof(term), rx->pdu, quoted);
	return (uint32_t)sizeof(term) + quoted;
}
