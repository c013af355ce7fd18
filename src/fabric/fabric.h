/* SPDX-License-Identifier: BSD-3-Clause */
/* fabric.h: NVMe/TCP framing for both ends of a connection: bytes in, PDUs out, and the other way round.
 *
 * No I/O here. A receiver feeds what it got to fabric_rx_next() and is told, piece by piece, what it is; nothing is
 * copied but headers that straddle two feeds. A sender lets fabric_put_*() write headers where it likes and sends its
 * data from where that lies.
 *
 *     while ((event = fabric_rx_next(&rx, &at, end)) != FABRIC_RX_MORE)
 *             switch (event) {
 *             case FABRIC_RX_HEADER:  rx.pdu is a whole, checked header; rx.data_len bytes of data will follow
 *             case FABRIC_RX_DATA:    rx.span, rx.span_len: the next bytes of the data, in the feed
 *             case FABRIC_RX_END:     the data is complete; rx.digest_good
 *             case FABRIC_RX_BAD:     rx.fes, rx.fei: what the other side did wrong; feed no more
 *             }
 *
 * When a feed ends within data, the rest need not pass through a feed: receive it where it belongs, at most
 * fabric_rx_direct_left() bytes, and say so with fabric_rx_direct_took().
 */
#ifndef FABRIC_FABRIC_H
#define FABRIC_FABRIC_H

#include <sys/uio.h>

#include "wire/nvme_tcp.h"

/* --- receiving ------------------------------------------------------------------------------------ */

enum fabric_rx_event { FABRIC_RX_MORE, FABRIC_RX_HEADER, FABRIC_RX_DATA, FABRIC_RX_END, FABRIC_RX_BAD };

struct fabric_rx {
	struct nvme_tcp_receiver as;   /* who we are and what was negotiated; the owner changes it between PDUs, and not
	                                  any more once it is ready */
	/* What the event is about. */
	const union nvme_tcp_pdu *pdu; /* HEADER: until the next call */
	const uint8_t *span;           /* DATA: as long as the feed */
	uint32_t span_len;
	uint32_t data_len, data_left;  /* of the PDU in all; not yet received. From HEADER to END */
	bool digest_good;              /* END */
	uint8_t type;                  /* of the PDU at hand */
	enum nvme_tcp_fes fes;         /* BAD */
	uint32_t fei;
	/* How far we are. */
	uint8_t state;
	uint8_t stash_len;             /* of a header that straddles feeds, or of a data digest */
	uint8_t pad_left;
	bool digest_follows;
	uint32_t crc;                  /* of the data so far */
	uint64_t known;                /* the first eight bytes of the last header that was right */
	uint8_t stash[sizeof(union nvme_tcp_pdu) + NVME_TCP_DIGEST_SIZE];
};

void fabric_rx_init(struct fabric_rx *rx, enum nvme_tcp_side side);
/* The next thing in the feed; *at moves on. MORE: all of it was used up. */
enum fabric_rx_event fabric_rx_next(struct fabric_rx *rx, const uint8_t **at, const uint8_t *end);

/* How many bytes of data may be received beside the feed now; 0: none. */
static inline uint32_t fabric_rx_direct_left(const struct fabric_rx *rx);
/* `len` bytes of data were received to the front of `iovs`. Call fabric_rx_next() then, even with an empty feed. */
void fabric_rx_direct_took(struct fabric_rx *rx, const struct iovec *iovs, uint32_t len);

/* After HEADER or BAD: the TermReq that answers this PDU, into FABRIC_TERM_MAX bytes. Returns its length. The header is
 * quoted as far as it has arrived. */
#define FABRIC_TERM_MAX (sizeof(struct nvme_tcp_term) + NVME_TCP_TERM_DATA_MAX)
uint32_t fabric_put_term(uint8_t *at, const struct fabric_rx *rx, enum nvme_tcp_fes fes, uint32_t fei);

/* --- sending -------------------------------------------------------------------------------------- */

/* Each writes one PDU's header, header digest and padding, at most FABRIC_PUT_MAX bytes, and returns how many. Data and
 * data digest are the caller's to send after it; the header counts them. */
#define FABRIC_PUT_MAX 128u
uint32_t fabric_put_icreq(uint8_t *at, uint8_t hpda, uint8_t dgst, uint32_t maxr2t);
uint32_t fabric_put_icresp(uint8_t *at, uint8_t cpda, uint8_t dgst, uint32_t maxh2cdata);
uint32_t fabric_put_cmd(uint8_t *at, const struct nvme_tcp_framing *f, const struct nvme_sqe *sqe, uint32_t data_len);
uint32_t fabric_put_rsp(uint8_t *at, const struct nvme_tcp_framing *f, const struct nvme_cqe *cqe);
uint32_t fabric_put_r2t(uint8_t *at, const struct nvme_tcp_framing *f, uint16_t cccid, uint16_t ttag, uint32_t offset,
                        uint32_t len);
/* `flags`: NVME_TCP_LAST, NVME_TCP_SUCCESS. */
uint32_t fabric_put_c2h_data(uint8_t *at, const struct nvme_tcp_framing *f, uint16_t cccid, uint32_t offset,
                             uint32_t len, uint8_t flags);
uint32_t fabric_put_h2c_data(uint8_t *at, const struct nvme_tcp_framing *f, uint16_t cccid, uint16_t ttag,
                             uint32_t offset, uint32_t len, uint8_t flags);
/* What follows data where framing has data digests. */
void fabric_put_digest(uint8_t *at, uint32_t crc);
/* `ahead`: what is wanted next, or NULL, comes to the caches meanwhile. */
uint32_t fabric_data_crc(const struct iovec *iovs, uint32_t count, uint32_t len, const void *ahead);
/* (PDA + 1) * 4: the alignment that ICReq's HPDA or ICResp's CPDA asks for. */
static inline uint8_t fabric_align_of(uint8_t pda) { return (uint8_t)((pda + 1) * 4); }

/* --- inline --------------------------------------------------------------------------------------- */

enum fabric_rx_state {
	FABRIC_RX_ON_HEADER, FABRIC_RX_ON_PAD, FABRIC_RX_ON_DATA, FABRIC_RX_ON_DIGEST, FABRIC_RX_ON_NOTHING
};

static inline uint32_t fabric_rx_direct_left(const struct fabric_rx *rx)
{
	return rx->state == FABRIC_RX_ON_DATA ? rx->data_left : 0;
}

#endif
