/* SPDX-License-Identifier: BSD-3-Clause */
/* nvme_tcp.c: checking received NVMe/TCP PDUs in field order, and filling headers of those sent. */
#include "wire/nvme_tcp.h"

/* FEI of a field: its offset from the start of the PDU. */
#define AT(type, member) ((uint32_t)offsetof(struct nvme_tcp_##type, member))

/* What data follows the header: none; maybe some; the beginning of somebody else's PDU. */
enum follows { NONE, MAY, QUOTE };

enum {
	HDGSTF = NVME_TCP_HDGSTF,
	DDGSTF = NVME_TCP_DDGSTF,
	LAST = NVME_TCP_LAST,
	SUCCESS = NVME_TCP_SUCCESS,
};

struct kind {
	const char *text;
	uint8_t hlen;
	enum nvme_tcp_side side;
	enum follows follows;
	uint8_t flags;
};

#define HLEN_ICREQ sizeof(struct nvme_tcp_icreq)
#define HLEN_ICRESP sizeof(struct nvme_tcp_icresp)
#define HLEN_H2CTERM sizeof(struct nvme_tcp_term)
#define HLEN_C2HTERM sizeof(struct nvme_tcp_term)
#define HLEN_CMD sizeof(struct nvme_tcp_cmd)
#define HLEN_RSP sizeof(struct nvme_tcp_rsp)
#define HLEN_H2CDATA sizeof(struct nvme_tcp_data)
#define HLEN_C2HDATA sizeof(struct nvme_tcp_data)
#define HLEN_R2T sizeof(struct nvme_tcp_r2t)

#define KIND(type, name, text, side, follows, flags) [type] = { text, HLEN_##name, NVME_TCP_##side, follows, flags },
static const struct kind kinds[] = { NVME_TCP_PDUS(KIND) };

static const struct kind *kind_of(uint8_t type);
static uint8_t digests_due(const struct kind *kind, const struct nvme_tcp_hdr *h, const struct nvme_tcp_receiver *r);
static enum nvme_tcp_fes check_data(const struct kind *kind, const struct nvme_tcp_hdr *h,
                                    const struct nvme_tcp_receiver *r, uint32_t *reterr_fei);
static enum nvme_tcp_fes check_icreq(const struct nvme_tcp_icreq *pdu, uint32_t *reterr_fei);
static enum nvme_tcp_fes check_icresp(const struct nvme_tcp_icresp *pdu, uint8_t dgst_asked, uint32_t *reterr_fei);
static enum nvme_tcp_fes check_h2cdata(const struct nvme_tcp_data *pdu, uint32_t *reterr_fei);
static enum nvme_tcp_fes check_c2hdata(const struct nvme_tcp_data *pdu, uint32_t *reterr_fei);
static enum nvme_tcp_fes check_r2t(const struct nvme_tcp_r2t *pdu, uint32_t *reterr_fei);
static enum nvme_tcp_fes check_range(uint16_t cccid, uint32_t offset, uint32_t length,
                                     const struct nvme_tcp_transfer *t, uint32_t *reterr_fei);

static enum nvme_tcp_fes bad_field(uint32_t offset, uint32_t *reterr_fei)
{
	*reterr_fei = offset;
	return NVME_TCP_FES_INVALID_HEADER;
}

static enum nvme_tcp_fes unsupported(uint32_t offset, uint32_t *reterr_fei)
{
	*reterr_fei = offset;
	return NVME_TCP_FES_UNSUPPORTED_PARAMETER;
}

static enum nvme_tcp_fes fatal(enum nvme_tcp_fes fes, uint32_t *reterr_fei)
{
	*reterr_fei = 0;
	return fes;
}

/* --- step 1 ---------------------------------------------------------------------------------------- */

enum nvme_tcp_fes nvme_tcp_check_common(const struct nvme_tcp_hdr *h, const struct nvme_tcp_receiver *r,
                                        uint32_t *reterr_fei)
{
	const struct kind *kind = kind_of(h->type);
	bool begins = h->type == NVME_TCP_ICREQ || h->type == NVME_TCP_ICRESP;
	bool ends = h->type == NVME_TCP_H2CTERM || h->type == NVME_TCP_C2HTERM;

	assert(r->framing.align_bytes > 0 && r->framing.align_bytes % 4 == 0);

	if (!kind || kind->side != r->side)
		return bad_field(AT(hdr, type), reterr_fei);
	if (begins ? r->ready : !r->ready && !ends)
		return fatal(NVME_TCP_FES_SEQUENCE, reterr_fei);

	if (h->flags & ~kind->flags)
		return bad_field(AT(hdr, flags), reterr_fei);
	if ((h->flags & (HDGSTF | DDGSTF)) != digests_due(kind, h, r))
		return bad_field(AT(hdr, flags), reterr_fei);
	if ((h->flags & (LAST | SUCCESS)) == SUCCESS)
		return bad_field(AT(hdr, flags), reterr_fei);

	if (h->hlen != kind->hlen)
		return bad_field(AT(hdr, hlen), reterr_fei);

	if (kind->follows == MAY)
		return check_data(kind, h, r, reterr_fei);

	if (h->pdo != 0)
		return bad_field(AT(hdr, pdo), reterr_fei);
	if (le32_get(h->plen) < nvme_tcp_header_size(h))
		return bad_field(AT(hdr, plen), reterr_fei);
	if (le32_get(h->plen) > nvme_tcp_header_size(h) + (kind->follows == QUOTE ? NVME_TCP_TERM_DATA_MAX : 0))
		return bad_field(AT(hdr, plen), reterr_fei);
	return NVME_TCP_FES_NONE;
}

/* The digest flags this PDU must have. A PDU without data has no data digest; but a peer that sets the flag
 * always (FreeBSD takes it so) is not refused for it. */
static uint8_t digests_due(const struct kind *kind, const struct nvme_tcp_hdr *h, const struct nvme_tcp_receiver *r)
{
	uint8_t due = 0;

	if (r->framing.hdgst)
		due |= HDGSTF;
	if (r->framing.ddgst)
		due |= nvme_tcp_has_data(h) ? DDGSTF : h->flags & DDGSTF;
	return due & kind->flags;
}

/* PDO and PLEN where data may follow. Which of the two is wrong when they disagree: PLEN if it does not even
 * hold the header, else PDO, which comes first. */
static enum nvme_tcp_fes check_data(const struct kind *kind, const struct nvme_tcp_hdr *h,
                                    const struct nvme_tcp_receiver *r, uint32_t *reterr_fei)
{
	uint32_t header = nvme_tcp_header_size(h), plen = le32_get(h->plen);
	uint32_t digest = h->flags & DDGSTF ? NVME_TCP_DIGEST_SIZE : 0;
	uint32_t limit = h->type == NVME_TCP_CMD ? r->icd_bytes_max :
	                 h->type == NVME_TCP_H2CDATA ? r->h2cdata_bytes_max : UINT32_MAX;

	assert(kind->follows == MAY);
	if (plen <= header && h->pdo == 0)
		return plen == header ? NVME_TCP_FES_NONE : bad_field(AT(hdr, plen), reterr_fei);

	if (h->pdo < header || h->pdo % r->framing.align_bytes != 0)
		return bad_field(AT(hdr, pdo), reterr_fei);
	if (plen < header)
		return bad_field(AT(hdr, plen), reterr_fei);
	if (h->pdo > plen)
		return bad_field(AT(hdr, pdo), reterr_fei);

	if (plen == header) /* an offset, but nothing there */
		return NVME_TCP_FES_NONE;
	if (plen - h->pdo <= digest)
		return bad_field(AT(hdr, plen), reterr_fei);
	if (plen - h->pdo - digest > limit)
		return fatal(NVME_TCP_FES_LIMIT_EXCEEDED, reterr_fei);
	return NVME_TCP_FES_NONE;
}

/* --- step 2 ---------------------------------------------------------------------------------------- */

enum nvme_tcp_fes nvme_tcp_check_header(const union nvme_tcp_pdu *pdu, const struct nvme_tcp_receiver *r,
                                        uint32_t *reterr_fei)
{
	assert(kind_of(pdu->h.type) && kind_of(pdu->h.type)->side == r->side);

	switch ((enum nvme_tcp_type)pdu->h.type) {
	case NVME_TCP_ICREQ:
		return check_icreq(&pdu->icreq, reterr_fei);
	case NVME_TCP_ICRESP:
		return check_icresp(&pdu->icresp, r->dgst_asked, reterr_fei);
	case NVME_TCP_H2CDATA:
		return check_h2cdata(&pdu->data, reterr_fei);
	case NVME_TCP_C2HDATA:
		return check_c2hdata(&pdu->data, reterr_fei);
	case NVME_TCP_R2T:
		return check_r2t(&pdu->r2t, reterr_fei);
	case NVME_TCP_CMD: /* what a command says is not the transport's */
	case NVME_TCP_RSP:
	case NVME_TCP_H2CTERM: /* an unknown FES ends the connection like a known one */
	case NVME_TCP_C2HTERM:
		break;
	}
	return NVME_TCP_FES_NONE;
}

/* A PFV we do not know: FreeBSD says UNSUPPORTED_PARAMETER, which fits its name; SPDK INVALID_HEADER. */
static enum nvme_tcp_fes check_icreq(const struct nvme_tcp_icreq *pdu, uint32_t *reterr_fei)
{
	if (le16_get(pdu->pfv) != 0)
		return unsupported(AT(icreq, pfv), reterr_fei);
	if (pdu->hpda > NVME_TCP_PDA_MAX)
		return bad_field(AT(icreq, hpda), reterr_fei);
	if (pdu->dgst & ~(NVME_TCP_DGST_HEADER | NVME_TCP_DGST_DATA))
		return bad_field(AT(icreq, dgst), reterr_fei);
	return NVME_TCP_FES_NONE;
}

static enum nvme_tcp_fes check_icresp(const struct nvme_tcp_icresp *pdu, uint8_t dgst_asked, uint32_t *reterr_fei)
{
	uint32_t maxh2cdata = le32_get(pdu->maxh2cdata);

	if (le16_get(pdu->pfv) != 0)
		return unsupported(AT(icresp, pfv), reterr_fei);
	if (pdu->cpda > NVME_TCP_PDA_MAX)
		return bad_field(AT(icresp, cpda), reterr_fei);
	if (pdu->dgst & ~(NVME_TCP_DGST_HEADER | NVME_TCP_DGST_DATA))
		return bad_field(AT(icresp, dgst), reterr_fei);
	if (pdu->dgst & ~dgst_asked)
		return unsupported(AT(icresp, dgst), reterr_fei);
	if (maxh2cdata < NVME_TCP_MAXH2CDATA_MIN || maxh2cdata % 4 != 0)
		return bad_field(AT(icresp, maxh2cdata), reterr_fei);
	return NVME_TCP_FES_NONE;
}

/* DATAL says again what PLEN and PDO said. Data to a controller must get it further, as with Linux: a
 * stream of empty PDUs would keep a transfer waiting for ever. */
static enum nvme_tcp_fes check_h2cdata(const struct nvme_tcp_data *pdu, uint32_t *reterr_fei)
{
	if (le32_get(pdu->datal) == 0 || le32_get(pdu->datal) != nvme_tcp_data_size(&pdu->h))
		return bad_field(AT(data, datal), reterr_fei);
	return NVME_TCP_FES_NONE;
}

static enum nvme_tcp_fes check_c2hdata(const struct nvme_tcp_data *pdu, uint32_t *reterr_fei)
{
	if (le32_get(pdu->datal) != nvme_tcp_data_size(&pdu->h))
		return bad_field(AT(data, datal), reterr_fei);
	return NVME_TCP_FES_NONE;
}

static enum nvme_tcp_fes check_r2t(const struct nvme_tcp_r2t *pdu, uint32_t *reterr_fei)
{
	if (le32_get(pdu->r2tl) == 0)
		return bad_field(AT(r2t, r2tl), reterr_fei);
	return NVME_TCP_FES_NONE;
}

/* --- step 3 ---------------------------------------------------------------------------------------- */

enum nvme_tcp_fes nvme_tcp_check_transfer(const union nvme_tcp_pdu *pdu, const struct nvme_tcp_transfer *t,
                                          uint32_t *reterr_fei)
{
	const struct nvme_tcp_data *data = &pdu->data;
	uint32_t offset = le32_get(data->datao), length = le32_get(data->datal);
	enum nvme_tcp_fes fes;

	_Static_assert(offsetof(struct nvme_tcp_r2t, r2to) == offsetof(struct nvme_tcp_data, datao) &&
	               offsetof(struct nvme_tcp_r2t, r2tl) == offsetof(struct nvme_tcp_data, datal),
	               "R2T and data PDUs say in the same place what they are about");
	assert(t->next <= t->end);
	assert(pdu->h.type == NVME_TCP_H2CDATA || pdu->h.type == NVME_TCP_C2HDATA || pdu->h.type == NVME_TCP_R2T);

	fes = check_range(le16_get(data->cccid), offset, length, t, reterr_fei);
	if (fes != NVME_TCP_FES_NONE)
		return fes;

	/* LAST closes what an R2T asked for, neither earlier nor later. To a host it says less: the CQE or SUCCESS
	 * ends a command, and a controller may have less to send than was asked for. */
	if (pdu->h.type == NVME_TCP_H2CDATA && !(pdu->h.flags & LAST) != (offset + length != t->end))
		return fatal(NVME_TCP_FES_SEQUENCE, reterr_fei);
	return NVME_TCP_FES_NONE;
}

/* Beyond the transfer: OUT_OF_RANGE; within it, but not the next byte: SEQUENCE, as FreeBSD has it (SPDK says
 * OUT_OF_RANGE of data to the controller, INVALID_HEADER of data to the host). */
static enum nvme_tcp_fes check_range(uint16_t cccid, uint32_t offset, uint32_t length,
                                     const struct nvme_tcp_transfer *t, uint32_t *reterr_fei)
{
	if (cccid != t->cccid)
		return bad_field(AT(data, cccid), reterr_fei);
	if (offset > t->end || length > t->end - offset) /* not offset + length: that may wrap */
		return fatal(NVME_TCP_FES_OUT_OF_RANGE, reterr_fei);
	if (offset != t->next)
		return fatal(NVME_TCP_FES_SEQUENCE, reterr_fei);
	return NVME_TCP_FES_NONE;
}

/* --- sending --------------------------------------------------------------------------------------- */

void nvme_tcp_fill_common(struct nvme_tcp_hdr *h, enum nvme_tcp_type type, uint8_t flags,
                          const struct nvme_tcp_framing *framing, uint32_t data_bytes)
{
	const struct kind *kind = &kinds[type];
	uint32_t plen;

	assert(kind_of((uint8_t)type));
	assert(!(flags & ~(kind->flags & (LAST | SUCCESS))));
	assert(kind->follows != NONE || data_bytes == 0);

	if (framing->hdgst)
		flags |= HDGSTF & kind->flags;
	if (framing->ddgst && data_bytes > 0)
		flags |= DDGSTF & kind->flags;
	*h = (struct nvme_tcp_hdr){ .type = (uint8_t)type, .flags = flags, .hlen = kind->hlen };
	plen = nvme_tcp_header_size(h);
	if (kind->follows == MAY && data_bytes > 0) {
		plen = (uint32_t)div_up(plen, framing->align_bytes) * framing->align_bytes;
		h->pdo = (uint8_t)plen;
	}
	plen += data_bytes;
	if (flags & DDGSTF)
		plen += NVME_TCP_DIGEST_SIZE;
	h->plen = le32_of(plen);
}

uint32_t nvme_tcp_fill_term(struct nvme_tcp_term *term, enum nvme_tcp_side side, enum nvme_tcp_fes fes,
                            uint32_t fei, uint32_t bytes)
{
	static const struct nvme_tcp_framing bare = { .align_bytes = 4 };
	uint32_t quoted = min_u32(bytes, NVME_TCP_TERM_DATA_MAX);

	*term = (struct nvme_tcp_term){ .fes = le16_of((uint16_t)fes), .fei = le32_of(fei) };
	nvme_tcp_fill_common(&term->h, side == NVME_TCP_CONTROLLER ? NVME_TCP_C2HTERM : NVME_TCP_H2CTERM, 0, &bare, quoted);
	return quoted;
}

/* --- names ----------------------------------------------------------------------------------------- */

static const struct kind *kind_of(uint8_t type)
{
	return type < ARRAY_SIZE(kinds) && kinds[type].hlen ? &kinds[type] : NULL;
}

uint8_t nvme_tcp_hlen(uint8_t type)
{
	return kind_of(type) ? kind_of(type)->hlen : 0;
}

const char *nvme_tcp_type_name(uint8_t type)
{
	return kind_of(type) ? kind_of(type)->text : "reserved";
}

#define CASE_FES(fes, name, text, fei) case fes: return text;

const char *nvme_tcp_fes_text(uint16_t fes)
{
	switch (fes) { NVME_TCP_FATAL(CASE_FES) }
	return "reserved";
}
