/* SPDX-License-Identifier: BSD-3-Clause */
/* wire_fuzz.c: any bytes as a PDU, for both ends and any framing: what passes the checks can be relied on.
 *
 * Input: one byte of framing and state, one of alignment, eight of the transfer, then the PDU.
 */
#include "wire/nvme_tcp.h"

#define ICD_MAX 8192
#define H2C_MAX 65536

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Copied, so that a read beyond what arrived is a finding. */
static void *arrived(const uint8_t *data, size_t size)
{
	return memcpy(malloc(size), data, size);
}

static void check_reliable(const struct nvme_tcp_hdr *h, const struct nvme_tcp_receiver *r)
{
	uint32_t bytes = nvme_tcp_data_size(h), plen = le32_get(h->plen);

	must(nvme_tcp_hlen(h->type) == h->hlen);
	must(plen >= nvme_tcp_header_size(h));
	must(h->type != NVME_TCP_CMD || bytes <= ICD_MAX);
	must(h->type != NVME_TCP_H2CDATA || bytes <= H2C_MAX);
	must(bytes <= plen);
	if (bytes > 0 && h->type != NVME_TCP_H2CTERM && h->type != NVME_TCP_C2HTERM) {
		must(h->pdo >= nvme_tcp_header_size(h));
		must(h->pdo % r->framing.align_bytes == 0);
		must(h->pdo + bytes + (h->flags & NVME_TCP_DDGSTF ? NVME_TCP_DIGEST_SIZE : 0) == plen);
	}
}

static void check_offset(enum nvme_tcp_fes fes, uint32_t fei)
{
	bool has_offset = fes == NVME_TCP_FES_INVALID_HEADER || fes == NVME_TCP_FES_UNSUPPORTED_PARAMETER;

	must(fes <= NVME_TCP_FES_UNSUPPORTED_PARAMETER);
	must(has_offset ? fei < sizeof(union nvme_tcp_pdu) : fei == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct nvme_tcp_receiver r = { .icd_bytes_max = ICD_MAX, .h2cdata_bytes_max = H2C_MAX };
	struct nvme_tcp_transfer t = { 0 };
	struct nvme_tcp_hdr *h;
	union nvme_tcp_pdu *pdu;
	enum nvme_tcp_fes fes;
	uint32_t fei = 0;

	if (size < 10 + sizeof(*h))
		return 0;
	r.side = data[0] & 1 ? NVME_TCP_HOST : NVME_TCP_CONTROLLER;
	r.ready = data[0] & 2;
	r.framing.hdgst = data[0] & 4;
	r.framing.ddgst = data[0] & 8;
	r.dgst_asked = data[0] >> 4 & 3;
	r.framing.align_bytes = (uint8_t)((data[1] % 32 + 1) * 4);
	memcpy(&t.next, data + 2, 4);
	memcpy(&t.end, data + 6, 4);
	t.next = min_u32(t.next, t.end);
	data += 10;
	size -= 10;

	h = arrived(data, sizeof(*h));
	fes = nvme_tcp_check_common(h, &r, &fei);
	check_offset(fes, fei);
	if (fes == NVME_TCP_FES_NONE)
		check_reliable(h, &r);
	if (fes != NVME_TCP_FES_NONE || size < h->hlen) {
		free(h);
		return 0;
	}

	pdu = arrived(data, h->hlen);
	free(h);
	fei = 0;
	fes = nvme_tcp_check_header(pdu, &r, &fei);
	check_offset(fes, fei);
	if (fes == NVME_TCP_FES_NONE &&
	    (pdu->h.type == NVME_TCP_H2CDATA || pdu->h.type == NVME_TCP_C2HDATA || pdu->h.type == NVME_TCP_R2T)) {
		t.cccid = le16_get(pdu->data.cccid);
		fei = 0;
		fes = nvme_tcp_check_transfer(pdu, &t, &fei);
		check_offset(fes, fei);
		if (fes == NVME_TCP_FES_NONE)
			must((uint64_t)le32_get(pdu->data.datao) + le32_get(pdu->data.datal) <= t.end);
	}
	free(pdu);
	return 0;
}
