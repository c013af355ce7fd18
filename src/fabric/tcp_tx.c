/* SPDX-License-Identifier: BSD-3-Clause */
/* tcp_tx.c: write the headers of PDUs. */
#include "base/crc32c.h"
#include "fabric/fabric.h"

static const struct nvme_tcp_framing bare = { .align_bytes = 4 };

static uint32_t finish(uint8_t *at, const struct nvme_tcp_hdr *h);
static uint32_t put_data(uint8_t *at, enum nvme_tcp_type type, const struct nvme_tcp_framing *f,
                         const struct nvme_tcp_data *data, uint32_t len, uint8_t flags);

uint32_t fabric_put_icreq(uint8_t *at, uint8_t hpda, uint8_t dgst, uint32_t maxr2t)
{
	struct nvme_tcp_icreq *p = (struct nvme_tcp_icreq *)at;

	*p = (struct nvme_tcp_icreq){ .hpda = hpda, .dgst = dgst, .maxr2t = le32_of(maxr2t) };
	nvme_tcp_fill_common(&p->h, NVME_TCP_ICREQ, 0, &bare, 0);
	return sizeof(*p);
}

uint32_t fabric_put_icresp(uint8_t *at, uint8_t cpda, uint8_t dgst, uint32_t maxh2cdata)
{
	struct nvme_tcp_icresp *p = (struct nvme_tcp_icresp *)at;

	*p = (struct nvme_tcp_icresp){ .cpda = cpda, .dgst = dgst, .maxh2cdata = le32_of(maxh2cdata) };
	nvme_tcp_fill_common(&p->h, NVME_TCP_ICRESP, 0, &bare, 0);
	return sizeof(*p);
}

uint32_t fabric_put_cmd(uint8_t *at, const struct nvme_tcp_framing *f, const struct nvme_sqe *sqe, uint32_t data_len)
{
	struct nvme_tcp_cmd *p = (struct nvme_tcp_cmd *)at;

	nvme_tcp_fill_common(&p->h, NVME_TCP_CMD, 0, f, data_len);
	p->sqe = *sqe;
	return finish(at, &p->h);
}

uint32_t fabric_put_rsp(uint8_t *at, const struct nvme_tcp_framing *f, const struct nvme_cqe *cqe)
{
	struct nvme_tcp_rsp *p = (struct nvme_tcp_rsp *)at;

	nvme_tcp_fill_common(&p->h, NVME_TCP_RSP, 0, f, 0);
	p->cqe = *cqe;
	return finish(at, &p->h);
}

uint32_t fabric_put_r2t(uint8_t *at, const struct nvme_tcp_framing *f, uint16_t cccid, uint16_t ttag, uint32_t offset,
                        uint32_t len)
{
	struct nvme_tcp_r2t *p = (struct nvme_tcp_r2t *)at;

	*p = (struct nvme_tcp_r2t){ .cccid = le16_of(cccid), .ttag = le16_of(ttag), .r2to = le32_of(offset),
	                            .r2tl = le32_of(len) };
	nvme_tcp_fill_common(&p->h, NVME_TCP_R2T, 0, f, 0);
	return finish(at, &p->h);
}

uint32_t fabric_put_c2h_data(uint8_t *at, const struct nvme_tcp_framing *f, uint16_t cccid, uint32_t offset,
                             uint32_t len, uint8_t flags)
{
	const struct nvme_tcp_data data = { .cccid = le16_of(cccid), .datao = le32_of(offset), .datal = le32_of(len) };

	return put_data(at, NVME_TCP_C2HDATA, f, &data, len, flags);
}

uint32_t fabric_put_h2c_data(uint8_t *at, const struct nvme_tcp_framing *f, uint16_t cccid, uint16_t ttag,
                             uint32_t offset, uint32_t len, uint8_t flags)
{
	const struct nvme_tcp_data data = { .cccid = le16_of(cccid), .ttag = le16_of(ttag), .datao = le32_of(offset),
	                                    .datal = le32_of(len) };

	return put_data(at, NVME_TCP_H2CDATA, f, &data, len, flags);
}

static uint32_t put_data(uint8_t *at, enum nvme_tcp_type type, const struct nvme_tcp_framing *f,
                         const struct nvme_tcp_data *data, uint32_t len, uint8_t flags)
{
	struct nvme_tcp_data *p = (struct nvme_tcp_data *)at;

	*p = *data;
	nvme_tcp_fill_common(&p->h, type, flags, f, len);
	return finish(at, &p->h);
}

/* Header digest, and zeroes up to where data begins. */
static uint32_t finish(uint8_t *at, const struct nvme_tcp_hdr *h)
{
	uint32_t len = h->hlen;

	if (h->flags & NVME_TCP_HDGSTF) {
		fabric_put_digest(at + len, crc32c_update(CRC32C_START, at, len));
		len += NVME_TCP_DIGEST_SIZE;
	}
	if (h->pdo > len) {
		memset(at + len, 0, h->pdo - len);
		len = h->pdo;
	}
	return len;
}

void fabric_put_digest(uint8_t *at, uint32_t crc)
{
	le32 digest = le32_of(crc32c_finish(crc));

	memcpy(at, &digest, sizeof(digest));
}

uint32_t fabric_data_crc(const struct iovec *iovs, uint32_t count, uint32_t len, const void *ahead)
{
	uint32_t crc = CRC32C_START;

	for (uint32_t i = 0; len; i++) {
		uint32_t n = (uint32_t)min_u64(iovs[i].iov_len, len);

		assert(i < count);
		len -= n;
		crc = crc32c_update_ahead(crc, iovs[i].iov_base, n, len ? iovs[i + 1].iov_base : ahead);
	}
	return crc;
}
