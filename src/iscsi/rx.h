/* SPDX-License-Identifier: BSD-3-Clause */
/* rx.h: iSCSI framing: bytes in, PDUs out. No I/O.
 *
 *     while ((event = iscsi_rx_next(&rx, &at, end)) != ISCSI_RX_MORE)
 *             switch (event) {
 *             case ISCSI_RX_HEADER: rx.bhs, rx.ahs: whole headers whose digest was right; rx.data_len bytes will follow
 *             case ISCSI_RX_DATA:   rx.span, rx.span_len: the next bytes of the data, in the feed
 *             case ISCSI_RX_END:    the PDU is complete; rx.digest_good. After every header, with data or without
 *             case ISCSI_RX_BAD:    the header's digest is wrong: nothing after it can be told apart
 *             }
 *
 * Lengths are checked by who gets the header (iscsi_check_header()). When a feed ends within data, the rest need not
 * pass through a feed: receive it where it belongs, at most iscsi_rx_direct_left() bytes, and say so with
 * iscsi_rx_direct_took().
 */
#ifndef ISCSI_RX_H
#define ISCSI_RX_H

#include <sys/uio.h>

#include "wire/iscsi.h"

enum iscsi_rx_event { ISCSI_RX_MORE, ISCSI_RX_HEADER, ISCSI_RX_DATA, ISCSI_RX_END, ISCSI_RX_BAD };
enum iscsi_rx_state { ISCSI_RX_ON_HEADER, ISCSI_RX_ON_DATA, ISCSI_RX_ON_TAIL, ISCSI_RX_ON_END, ISCSI_RX_ON_NOTHING };

struct iscsi_rx {
	bool header_digest, data_digest; /* the owner changes them between PDUs */
	/* What the event is about. */
	const union iscsi_bhs *bhs;      /* HEADER, BAD: until the next call */
	const uint8_t *ahs;              /* iscsi_ahs_len() bytes */
	const uint8_t *span;             /* DATA: as long as the feed */
	uint32_t span_len;
	uint32_t data_len, data_left;    /* of the PDU in all; not yet received. From HEADER to END */
	bool digest_good;                /* END */
	/* How far we are. */
	uint8_t state;
	uint8_t tail_len;                /* padding, and data digest */
	uint16_t stash_len;              /* of headers that straddle feeds, or of the tail */
	uint32_t crc;                    /* of the data so far */
	uint8_t stash[ISCSI_BHS_SIZE + ISCSI_AHS_MAX + ISCSI_DIGEST_SIZE];
};

void iscsi_rx_init(struct iscsi_rx *rx);
/* The next thing in the feed; *at moves on. MORE: all of it was used up. */
enum iscsi_rx_event iscsi_rx_next(struct iscsi_rx *rx, const uint8_t **at, const uint8_t *end);
/* How many bytes of data may be received beside the feed now; 0: none. */
static inline uint32_t iscsi_rx_direct_left(const struct iscsi_rx *rx)
{
	return rx->state == ISCSI_RX_ON_DATA ? rx->data_left : 0;
}
/* `len` bytes of data were received to the front of `iovs`. Call iscsi_rx_next() then, even with an empty feed. */
void iscsi_rx_direct_took(struct iscsi_rx *rx, const struct iovec *iovs, uint32_t len);

#endif
