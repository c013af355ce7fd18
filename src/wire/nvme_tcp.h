/* SPDX-License-Identifier: BSD-3-Clause */
/* nvme_tcp.h: NVMe/TCP's PDUs: layouts, checks of what came in, and headers for what goes out.
 *
 * A received PDU is checked in three steps, in the order in which a receiver comes to know things: its
 * first eight bytes, its whole header, and the transfer it belongs to. Each step looks at fields in the
 * order in which they lie, because the error to report is that of the lowest wrong one, and returns what
 * goes into the answer: FES, and for FES that have one, FEI. All are pure functions, used by both ends.
 *
 * Witnesses: Linux (include/linux/nvme-tcp.h, drivers/nvme/target/tcp.c), SPDK (lib/nvmf/tcp.c,
 * lib/nvme/nvme_tcp.c), FreeBSD (sys/dev/nvmf/nvmf_tcp.h, lib/libnvmf/nvmf_tcp.c). Where they choose
 * different FES for the same fault, the code says so.
 */
#ifndef WIRE_NVME_TCP_H
#define WIRE_NVME_TCP_H

#include "wire/nvme.h"

#define NVME_TCP_DIGEST_SIZE 4
#define NVME_TCP_PDA_MAX 31             /* HPDA, CPDA: data is aligned to (n + 1) * 4 bytes */
#define NVME_TCP_MAXH2CDATA_MIN 4096
#define NVME_TCP_TERM_DATA_MAX 128      /* bytes of the offending PDU that a TermReq may quote */
#define NVME_TCP_ADMIN_ICD_MAX 8192     /* in-capsule data every controller takes in admin and fabrics commands */

/* --- tables ---------------------------------------------------------------------------------------- */

/* What follows the header: nothing; maybe data; or the beginning of an offending PDU. */
/*  type  name      text            received by follows flags that may be set */
#define NVME_TCP_PDUS(X) \
	X(0x00, ICREQ,    "ICReq",        CONTROLLER, NONE,  0)                                    \
	X(0x01, ICRESP,   "ICResp",       HOST,       NONE,  0)                                    \
	X(0x02, H2CTERM,  "H2CTermReq",   CONTROLLER, QUOTE, 0)                                    \
	X(0x03, C2HTERM,  "C2HTermReq",   HOST,       QUOTE, 0)                                    \
	X(0x04, CMD,      "CapsuleCmd",   CONTROLLER, MAY,   HDGSTF | DDGSTF)                      \
	X(0x05, RSP,      "CapsuleResp",  HOST,       NONE,  HDGSTF)                               \
	X(0x06, H2CDATA,  "H2CData",      CONTROLLER, MAY,   HDGSTF | DDGSTF | LAST)               \
	X(0x07, C2HDATA,  "C2HData",      HOST,       MAY,   HDGSTF | DDGSTF | LAST | SUCCESS)     \
	X(0x09, R2T,      "R2T",          HOST,       NONE,  HDGSTF)

#define NVME_TCP_ENUM_PDU(type, name, text, side, follows, flags) NVME_TCP_##name = type,
enum nvme_tcp_type { NVME_TCP_PDUS(NVME_TCP_ENUM_PDU) };

enum {
	NVME_TCP_HDGSTF = 1 << 0,  /* a header digest follows the header */
	NVME_TCP_DDGSTF = 1 << 1,  /* a data digest follows the data */
	NVME_TCP_LAST = 1 << 2,    /* data: the last PDU of this R2T, or of this command's data to the host */
	NVME_TCP_SUCCESS = 1 << 3, /* data: stands for a successful response as well */
};

/* Fatal error status of a TermReq, and what its FEI holds. */
/*        FES   name                    text                                  FEI */
#define NVME_TCP_FATAL(X) \
	X(0x01, INVALID_HEADER,         "Invalid PDU Header Field",           OFFSET) \
	X(0x02, SEQUENCE,               "PDU Sequence Error",                 NONE)   \
	X(0x03, HEADER_DIGEST,          "Header Digest Error",                DIGEST) \
	X(0x04, OUT_OF_RANGE,           "Data Transfer Out of Range",         NONE)   \
	X(0x05, LIMIT_EXCEEDED,         "Data Transfer or R2T Limit Exceeded", NONE)  \
	X(0x06, UNSUPPORTED_PARAMETER,  "Unsupported Parameter",              OFFSET)

#define NVME_TCP_ENUM_FES(fes, name, text, fei) NVME_TCP_FES_##name = fes,
enum nvme_tcp_fes { NVME_TCP_FES_NONE, NVME_TCP_FATAL(NVME_TCP_ENUM_FES) };

const char *nvme_tcp_type_name(uint8_t type); /* "reserved" when there is none */
const char *nvme_tcp_fes_text(uint16_t fes);

/* --- layouts --------------------------------------------------------------------------------------- */

struct nvme_tcp_hdr {
	uint8_t type;
	uint8_t flags;
	uint8_t hlen; /* of the header without its digest */
	uint8_t pdo;  /* where data begins; 0 when there is none */
	le32 plen;    /* all of the PDU */
};
WIRE_SIZE(struct nvme_tcp_hdr, 8);

enum { NVME_TCP_DGST_HEADER = 1 << 0, NVME_TCP_DGST_DATA = 1 << 1 };

struct nvme_tcp_icreq {
	struct nvme_tcp_hdr h;
	le16 pfv;
	uint8_t hpda;
	uint8_t dgst;
	le32 maxr2t; /* 0's based */
	uint8_t rsvd16[112];
};
WIRE_SIZE(struct nvme_tcp_icreq, 128);
WIRE_AT(struct nvme_tcp_icreq, maxr2t, 12);

struct nvme_tcp_icresp {
	struct nvme_tcp_hdr h;
	le16 pfv;
	uint8_t cpda;
	uint8_t dgst;
	le32 maxh2cdata;
	uint8_t rsvd16[112];
};
WIRE_SIZE(struct nvme_tcp_icresp, 128);
WIRE_AT(struct nvme_tcp_icresp, maxh2cdata, 12);

struct nvme_tcp_term { /* H2CTermReq, C2HTermReq; the beginning of the offending PDU follows */
	struct nvme_tcp_hdr h;
	le16 fes;
	le32 fei;
	uint8_t rsvd14[10];
};
WIRE_SIZE(struct nvme_tcp_term, 24);
WIRE_AT(struct nvme_tcp_term, fei, 10);

struct nvme_tcp_cmd { /* CapsuleCmd */
	struct nvme_tcp_hdr h;
	struct nvme_sqe sqe;
};
WIRE_SIZE(struct nvme_tcp_cmd, 72);

struct nvme_tcp_rsp { /* CapsuleResp */
	struct nvme_tcp_hdr h;
	struct nvme_cqe cqe;
};
WIRE_SIZE(struct nvme_tcp_rsp, 24);

struct nvme_tcp_data { /* H2CData, C2HData */
	struct nvme_tcp_hdr h;
	le16 cccid;
	le16 ttag; /* H2CData only */
	le32 datao;
	le32 datal;
	uint8_t rsvd20[4];
};
WIRE_SIZE(struct nvme_tcp_data, 24);
WIRE_AT(struct nvme_tcp_data, datal, 16);

struct nvme_tcp_r2t {
	struct nvme_tcp_hdr h;
	le16 cccid;
	le16 ttag;
	le32 r2to;
	le32 r2tl;
	uint8_t rsvd20[4];
};
WIRE_SIZE(struct nvme_tcp_r2t, 24);
WIRE_AT(struct nvme_tcp_r2t, r2tl, 16);

union nvme_tcp_pdu { /* the longest header there is */
	struct nvme_tcp_hdr h;
	struct nvme_tcp_icreq icreq;
	struct nvme_tcp_icresp icresp;
	struct nvme_tcp_term term;
	struct nvme_tcp_cmd cmd;
	struct nvme_tcp_rsp rsp;
	struct nvme_tcp_data data;
	struct nvme_tcp_r2t r2t;
};
WIRE_SIZE(union nvme_tcp_pdu, 128);

/* Header lengths by type; 0 for types that do not exist. */
uint8_t nvme_tcp_hlen(uint8_t type);

/* --- receiving ------------------------------------------------------------------------------------- */

enum nvme_tcp_side { NVME_TCP_CONTROLLER, NVME_TCP_HOST };

/* What one direction of a connection has agreed on. */
struct nvme_tcp_framing {
	bool hdgst, ddgst;
	uint8_t align_bytes; /* data begins at a multiple of this: the receiver's (PDA + 1) * 4 */
};

/* What a receiver knows before a PDU comes. */
struct nvme_tcp_receiver {
	enum nvme_tcp_side side;        /* its own */
	bool ready;                     /* ICReq and ICResp have been exchanged */
	struct nvme_tcp_framing framing;
	uint8_t dgst_asked;             /* host: the digests its ICReq asked for */
	uint32_t icd_bytes_max;         /* controller: in-capsule data of one command */
	uint32_t h2cdata_bytes_max;     /* controller: its MAXH2CDATA */
};

/* The part of a command's data that may come next. */
struct nvme_tcp_transfer {
	uint16_t cccid;
	uint32_t next, end; /* H2CData: of the R2T; C2HData: of the command's data; R2T: of what is not asked for yet */
};

/* Step 1: the first eight bytes have arrived. Afterwards nvme_tcp_header_size(), nvme_tcp_data_size() and
 * PLEN can be trusted to be within limits.
 *
 * A TermReq must not be answered with a TermReq: close, whatever the check says of it.
 * `reterr_fei` is set when the FES has an offset, and to 0 when it has none. */
enum nvme_tcp_fes nvme_tcp_check_common(const struct nvme_tcp_hdr *h, const struct nvme_tcp_receiver *r,
                                        uint32_t *reterr_fei) MUST_USE;

/* Step 2: HLEN bytes have arrived (and the header digest, if any, was right). After step 1. */
enum nvme_tcp_fes nvme_tcp_check_header(const union nvme_tcp_pdu *pdu, const struct nvme_tcp_receiver *r,
                                        uint32_t *reterr_fei) MUST_USE;

/* Step 3, data PDUs and R2T: the transfer has been looked up. After step 2. A TTAG or CCCID that belongs to
 * none is INVALID_HEADER at NVME_TCP_FEI_TTAG or NVME_TCP_FEI_CCCID. */
enum nvme_tcp_fes nvme_tcp_check_transfer(const union nvme_tcp_pdu *pdu, const struct nvme_tcp_transfer *t,
                                          uint32_t *reterr_fei) MUST_USE;
#define NVME_TCP_FEI_CCCID ((uint32_t)offsetof(struct nvme_tcp_data, cccid))
#define NVME_TCP_FEI_TTAG ((uint32_t)offsetof(struct nvme_tcp_data, ttag))

static inline uint32_t nvme_tcp_hdgst_size(const struct nvme_tcp_hdr *h)
{
	return h->flags & NVME_TCP_HDGSTF ? NVME_TCP_DIGEST_SIZE : 0;
}

/* Header and header digest: what must have arrived before step 2. */
static inline uint32_t nvme_tcp_header_size(const struct nvme_tcp_hdr *h)
{
	return h->hlen + nvme_tcp_hdgst_size(h);
}

static inline bool nvme_tcp_has_data(const struct nvme_tcp_hdr *h)
{
	return le32_get(h->plen) > nvme_tcp_header_size(h);
}

/* Data without padding and digest. After step 1. */
static inline uint32_t nvme_tcp_data_size(const struct nvme_tcp_hdr *h)
{
	if (!nvme_tcp_has_data(h))
		return 0;
	return le32_get(h->plen) - h->pdo - (h->flags & NVME_TCP_DDGSTF ? NVME_TCP_DIGEST_SIZE : 0);
}

/* --- sending --------------------------------------------------------------------------------------- */

/* Fill the common header of a PDU that carries `data_bytes`. `flags`: LAST and SUCCESS; the digests' come from
 * `framing`. Where there is data it begins at h->pdo: what lies between the header (and its digest) and that
 * is padding, to be sent as zeroes. */
void nvme_tcp_fill_common(struct nvme_tcp_hdr *h, enum nvme_tcp_type type, uint8_t flags,
                          const struct nvme_tcp_framing *framing, uint32_t data_bytes);

/* The TermReq that `side` sends about a PDU of which `bytes` have arrived. Returns how many of those to send
 * behind it, as they came. */
uint32_t nvme_tcp_fill_term(struct nvme_tcp_term *term, enum nvme_tcp_side side, enum nvme_tcp_fes fes,
                            uint32_t fei, uint32_t bytes);

#endif
