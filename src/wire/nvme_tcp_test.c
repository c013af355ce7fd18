/* SPDX-License-Identifier: BSD-3-Clause */
/* nvme_tcp_test.c: every fault in a received PDU is named by the FES and FEI of its lowest wrong field, and
 * what we fill ourselves passes every check. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "wire/nvme_tcp.h"

enum { TYPE = 0, FLAGS = 1, HLEN = 2, PDO = 3, PLEN = 4 }; /* FEI of the common header's fields */

static struct nvme_tcp_receiver receiver(enum nvme_tcp_side side)
{
	return (struct nvme_tcp_receiver){
		.side = side, .ready = true, .framing = { .align_bytes = 4 },
		.icd_bytes_max = 8192, .h2cdata_bytes_max = 131072,
	};
}

static struct nvme_tcp_hdr header(uint8_t type, uint8_t flags, uint8_t hlen, uint8_t pdo, uint32_t plen)
{
	return (struct nvme_tcp_hdr){ .type = type, .flags = flags, .hlen = hlen, .pdo = pdo, .plen = le32_of(plen) };
}

static void expect_common(struct nvme_tcp_hdr h, const struct nvme_tcp_receiver *r, enum nvme_tcp_fes fes, uint32_t fei)
{
	uint32_t got_fei = 0;

	assert_int_equal(nvme_tcp_check_common(&h, r, &got_fei), fes);
	assert_int_equal(got_fei, fei);
}

static void accept_common(struct nvme_tcp_hdr h, const struct nvme_tcp_receiver *r)
{
	expect_common(h, r, NVME_TCP_FES_NONE, 0);
}

static void refuse_common(struct nvme_tcp_hdr h, const struct nvme_tcp_receiver *r, uint32_t fei)
{
	expect_common(h, r, NVME_TCP_FES_INVALID_HEADER, fei);
}

static void expect_header(const union nvme_tcp_pdu *pdu, const struct nvme_tcp_receiver *r, enum nvme_tcp_fes fes,
                          uint32_t fei)
{
	uint32_t got_fei = 0;

	accept_common(pdu->h, r);
	assert_int_equal(nvme_tcp_check_header(pdu, r, &got_fei), fes);
	assert_int_equal(got_fei, fei);
}

/* ---- step 1 ---- */

static void pdu_type_must_be_one_for_this_side(void **state)
{
	struct nvme_tcp_receiver controller = receiver(NVME_TCP_CONTROLLER), host = receiver(NVME_TCP_HOST);

	for (int type = 0; type < 256; type++) {
		uint8_t hlen = nvme_tcp_hlen((uint8_t)type);
		struct nvme_tcp_hdr h = header((uint8_t)type, 0, hlen, 0, hlen);
		bool to_controller = type == 2 || type == 4 || type == 6;
		bool to_host = type == 3 || type == 5 || type == 7 || type == 9;

		controller.ready = type != NVME_TCP_ICREQ;
		host.ready = type != NVME_TCP_ICRESP;
		if (to_controller || type == NVME_TCP_ICREQ)
			accept_common(h, &controller);
		else
			refuse_common(h, &controller, TYPE);
		if (to_host || type == NVME_TCP_ICRESP)
			accept_common(h, &host);
		else
			refuse_common(h, &host, TYPE);
	}
}

static void initialisation_comes_first_and_once(void **state)
{
	struct nvme_tcp_receiver r = receiver(NVME_TCP_CONTROLLER);

	expect_common(header(NVME_TCP_ICREQ, 0, 128, 0, 128), &r, NVME_TCP_FES_SEQUENCE, 0);
	r.ready = false;
	expect_common(header(NVME_TCP_CMD, 0, 72, 0, 72), &r, NVME_TCP_FES_SEQUENCE, 0);
	expect_common(header(NVME_TCP_H2CDATA, 0, 24, 24, 28), &r, NVME_TCP_FES_SEQUENCE, 0);
	accept_common(header(NVME_TCP_H2CTERM, 0, 24, 0, 24), &r); /* a host may give up at any time */
}

static void undefined_flags_are_refused(void **state)
{
	struct nvme_tcp_receiver c = receiver(NVME_TCP_CONTROLLER), h = receiver(NVME_TCP_HOST);

	for (int bit = 0; bit < 8; bit++) {
		uint8_t flag = (uint8_t)(1u << bit);

		if (bit != 0)
			c.framing.ddgst = bit == 1;
		c.framing.hdgst = bit == 0;
		if (bit > 1)
			refuse_common(header(NVME_TCP_CMD, flag, 72, 0, 72), &c, FLAGS);
		refuse_common(header(NVME_TCP_H2CTERM, flag, 24, 0, 24), &c, FLAGS);
		if (bit > 2)
			refuse_common(header(NVME_TCP_H2CDATA, flag, 24, 24, 28), &c, FLAGS);
		if (bit > 3)
			refuse_common(header(NVME_TCP_C2HDATA, flag, 24, 24, 28), &h, FLAGS);
		if (bit > 0) {
			refuse_common(header(NVME_TCP_R2T, flag, 24, 0, 24), &h, FLAGS);
			refuse_common(header(NVME_TCP_RSP, flag, 24, 0, 24), &h, FLAGS);
		}
	}
}

static void success_needs_last(void **state)
{
	struct nvme_tcp_receiver r = receiver(NVME_TCP_HOST);

	refuse_common(header(NVME_TCP_C2HDATA, NVME_TCP_SUCCESS, 24, 24, 28), &r, FLAGS);
	accept_common(header(NVME_TCP_C2HDATA, NVME_TCP_SUCCESS | NVME_TCP_LAST, 24, 24, 28), &r);
}

static void digest_flags_must_be_what_was_agreed(void **state)
{
	struct nvme_tcp_receiver r = receiver(NVME_TCP_CONTROLLER);
	const uint8_t both = NVME_TCP_HDGSTF | NVME_TCP_DDGSTF;

	refuse_common(header(NVME_TCP_CMD, NVME_TCP_HDGSTF, 72, 0, 76), &r, FLAGS);
	refuse_common(header(NVME_TCP_H2CDATA, NVME_TCP_DDGSTF, 24, 24, 32), &r, FLAGS);
	r.framing.hdgst = r.framing.ddgst = true;
	refuse_common(header(NVME_TCP_CMD, 0, 72, 0, 72), &r, FLAGS);
	refuse_common(header(NVME_TCP_H2CDATA, NVME_TCP_HDGSTF, 24, 28, 32), &r, FLAGS);
	accept_common(header(NVME_TCP_H2CDATA, both, 24, 28, 36), &r);
	accept_common(header(NVME_TCP_CMD, NVME_TCP_HDGSTF, 72, 0, 76), &r); /* no data, no data digest: Linux, SPDK */
	accept_common(header(NVME_TCP_CMD, both, 72, 0, 76), &r);            /* or the flag all the same */
	accept_common(header(NVME_TCP_H2CTERM, 0, 24, 0, 24), &r);           /* never has digests */
}

static void header_length_is_exact(void **state)
{
	struct nvme_tcp_receiver r = receiver(NVME_TCP_CONTROLLER);

	refuse_common(header(NVME_TCP_CMD, 0, 71, 0, 72), &r, HLEN);
	refuse_common(header(NVME_TCP_CMD, 0, 73, 0, 73), &r, HLEN);
	refuse_common(header(NVME_TCP_H2CTERM, 0, 0, 0, 24), &r, HLEN);
	r.ready = false;
	refuse_common(header(NVME_TCP_ICREQ, 0, 127, 0, 128), &r, HLEN);
}

static void data_offset_is_aligned_and_behind_the_header(void **state)
{
	struct nvme_tcp_receiver r = receiver(NVME_TCP_CONTROLLER);

	refuse_common(header(NVME_TCP_CMD, 0, 72, 68, 1096), &r, PDO);
	refuse_common(header(NVME_TCP_CMD, 0, 72, 0, 1096), &r, PDO);  /* data, but where? */
	refuse_common(header(NVME_TCP_CMD, 0, 72, 73, 1097), &r, PDO);
	refuse_common(header(NVME_TCP_CMD, 0, 72, 80, 76), &r, PDO);   /* beyond the end */
	accept_common(header(NVME_TCP_CMD, 0, 72, 80, 84), &r);
	accept_common(header(NVME_TCP_CMD, 0, 72, 72, 72), &r);        /* points at nothing */
	r.framing.hdgst = true;
	refuse_common(header(NVME_TCP_CMD, NVME_TCP_HDGSTF, 72, 72, 80), &r, PDO);
	r.framing.align_bytes = 128;
	refuse_common(header(NVME_TCP_CMD, NVME_TCP_HDGSTF, 72, 76, 80), &r, PDO);
	accept_common(header(NVME_TCP_CMD, NVME_TCP_HDGSTF, 72, 128, 132), &r);
}

static void data_offset_is_zero_where_reserved(void **state)
{
	struct nvme_tcp_receiver c = receiver(NVME_TCP_CONTROLLER), h = receiver(NVME_TCP_HOST);

	refuse_common(header(NVME_TCP_H2CTERM, 0, 24, 24, 28), &c, PDO);
	refuse_common(header(NVME_TCP_R2T, 0, 24, 24, 24), &h, PDO);
	refuse_common(header(NVME_TCP_RSP, 0, 24, 4, 24), &h, PDO);
	c.ready = false;
	refuse_common(header(NVME_TCP_ICREQ, 0, 128, 128, 128), &c, PDO);
}

static void length_is_exact_where_nothing_follows(void **state)
{
	struct nvme_tcp_receiver c = receiver(NVME_TCP_CONTROLLER), h = receiver(NVME_TCP_HOST);

	refuse_common(header(NVME_TCP_RSP, 0, 24, 0, 28), &h, PLEN);
	refuse_common(header(NVME_TCP_R2T, 0, 24, 0, 23), &h, PLEN);
	h.framing.hdgst = true;
	refuse_common(header(NVME_TCP_R2T, NVME_TCP_HDGSTF, 24, 0, 24), &h, PLEN);
	accept_common(header(NVME_TCP_R2T, NVME_TCP_HDGSTF, 24, 0, 28), &h);
	c.ready = false;
	refuse_common(header(NVME_TCP_ICREQ, 0, 128, 0, 129), &c, PLEN);
	refuse_common(header(NVME_TCP_ICREQ, 0, 128, 0, UINT32_MAX), &c, PLEN);
}

static void length_holds_header_offset_and_digest(void **state)
{
	struct nvme_tcp_receiver r = receiver(NVME_TCP_CONTROLLER);

	refuse_common(header(NVME_TCP_CMD, 0, 72, 0, 71), &r, PLEN);
	refuse_common(header(NVME_TCP_CMD, 0, 72, 72, 8), &r, PLEN);
	refuse_common(header(NVME_TCP_CMD, 0, 72, 0, 0), &r, PLEN);
	r.framing.ddgst = true;
	refuse_common(header(NVME_TCP_H2CDATA, NVME_TCP_DDGSTF, 24, 24, 28), &r, PLEN);
	accept_common(header(NVME_TCP_H2CDATA, NVME_TCP_DDGSTF, 24, 24, 29), &r);
}

/* What a peer may make us buffer is bounded before a byte of it is read. */
static void data_beyond_the_limit_is_refused(void **state)
{
	struct nvme_tcp_receiver r = receiver(NVME_TCP_CONTROLLER);

	accept_common(header(NVME_TCP_CMD, 0, 72, 72, 72 + 8192), &r);
	expect_common(header(NVME_TCP_CMD, 0, 72, 72, 72 + 8193), &r, NVME_TCP_FES_LIMIT_EXCEEDED, 0);
	expect_common(header(NVME_TCP_CMD, 0, 72, 72, UINT32_MAX), &r, NVME_TCP_FES_LIMIT_EXCEEDED, 0);
	accept_common(header(NVME_TCP_H2CDATA, 0, 24, 24, 24 + 131072), &r);
	expect_common(header(NVME_TCP_H2CDATA, 0, 24, 24, 24 + 131073), &r, NVME_TCP_FES_LIMIT_EXCEEDED, 0);
	r.framing.ddgst = true; /* the digest does not count */
	accept_common(header(NVME_TCP_CMD, NVME_TCP_DDGSTF, 72, 72, 72 + 8192 + 4), &r);
	expect_common(header(NVME_TCP_CMD, NVME_TCP_DDGSTF, 72, 72, 72 + 8193 + 4), &r, NVME_TCP_FES_LIMIT_EXCEEDED, 0);
	r.framing.ddgst = false;
	r.icd_bytes_max = 0;
	expect_common(header(NVME_TCP_CMD, 0, 72, 72, 73), &r, NVME_TCP_FES_LIMIT_EXCEEDED, 0);
}

static void termination_quotes_at_most_128_bytes(void **state)
{
	struct nvme_tcp_receiver r = receiver(NVME_TCP_CONTROLLER);

	accept_common(header(NVME_TCP_H2CTERM, 0, 24, 0, 24 + 128), &r);
	refuse_common(header(NVME_TCP_H2CTERM, 0, 24, 0, 24 + 129), &r, PLEN);
	refuse_common(header(NVME_TCP_H2CTERM, 0, 24, 0, 23), &r, PLEN);
}

static void lowest_wrong_field_is_named(void **state)
{
	struct nvme_tcp_receiver r = receiver(NVME_TCP_CONTROLLER);

	refuse_common(header(0xff, 0xff, 0xff, 0xff, UINT32_MAX), &r, TYPE);
	refuse_common(header(NVME_TCP_CMD, 0xff, 0xff, 0xff, UINT32_MAX), &r, FLAGS);
	refuse_common(header(NVME_TCP_CMD, 0, 0xff, 0xff, UINT32_MAX), &r, HLEN);
	refuse_common(header(NVME_TCP_CMD, 0, 72, 0xff, UINT32_MAX), &r, PDO);
	refuse_common(header(NVME_TCP_CMD, 0, 72, 72, 71), &r, PLEN);
}

/* ---- step 2 ---- */

static union nvme_tcp_pdu icreq(void)
{
	return (union nvme_tcp_pdu){ .icreq = { .h = header(NVME_TCP_ICREQ, 0, 128, 0, 128) } };
}

static void initialisation_request_is_checked(void **state)
{
	struct nvme_tcp_receiver r = receiver(NVME_TCP_CONTROLLER);
	union nvme_tcp_pdu pdu = icreq();

	r.ready = false;
	pdu.icreq.hpda = 31;
	pdu.icreq.dgst = 3;
	pdu.icreq.maxr2t = le32_of(UINT32_MAX);
	memset(pdu.icreq.rsvd16, 0xff, sizeof(pdu.icreq.rsvd16)); /* reserved: not looked at */
	expect_header(&pdu, &r, NVME_TCP_FES_NONE, 0);

	pdu.icreq.dgst = 4;
	expect_header(&pdu, &r, NVME_TCP_FES_INVALID_HEADER, 11);
	pdu.icreq.hpda = 32;
	expect_header(&pdu, &r, NVME_TCP_FES_INVALID_HEADER, 10);
	pdu.icreq.pfv = le16_of(1);
	expect_header(&pdu, &r, NVME_TCP_FES_UNSUPPORTED_PARAMETER, 8);
}

static void initialisation_response_is_checked(void **state)
{
	struct nvme_tcp_receiver r = receiver(NVME_TCP_HOST);
	union nvme_tcp_pdu pdu = { .icresp = { .h = header(NVME_TCP_ICRESP, 0, 128, 0, 128) } };

	r.ready = false;
	r.dgst_asked = NVME_TCP_DGST_HEADER;
	pdu.icresp.maxh2cdata = le32_of(4096);
	pdu.icresp.dgst = NVME_TCP_DGST_HEADER;
	pdu.icresp.cpda = 31;
	expect_header(&pdu, &r, NVME_TCP_FES_NONE, 0);

	pdu.icresp.maxh2cdata = le32_of(4095);
	expect_header(&pdu, &r, NVME_TCP_FES_INVALID_HEADER, 12);
	pdu.icresp.maxh2cdata = le32_of(4098);
	expect_header(&pdu, &r, NVME_TCP_FES_INVALID_HEADER, 12);
	pdu.icresp.dgst = NVME_TCP_DGST_HEADER | NVME_TCP_DGST_DATA; /* not asked for */
	expect_header(&pdu, &r, NVME_TCP_FES_UNSUPPORTED_PARAMETER, 11);
	pdu.icresp.dgst = 0x80;
	expect_header(&pdu, &r, NVME_TCP_FES_INVALID_HEADER, 11);
	pdu.icresp.cpda = 32;
	expect_header(&pdu, &r, NVME_TCP_FES_INVALID_HEADER, 10);
	pdu.icresp.pfv = le16_of(7);
	expect_header(&pdu, &r, NVME_TCP_FES_UNSUPPORTED_PARAMETER, 8);
}

static union nvme_tcp_pdu data_pdu(enum nvme_tcp_type type, uint8_t flags, uint32_t offset, uint32_t length)
{
	union nvme_tcp_pdu pdu = { .data = {
		.h = header((uint8_t)type, flags, 24, 24, 24 + length),
		.cccid = le16_of(5), .datao = le32_of(offset), .datal = le32_of(length),
	} };

	return pdu;
}

static void data_length_says_what_the_header_said(void **state)
{
	struct nvme_tcp_receiver c = receiver(NVME_TCP_CONTROLLER), h = receiver(NVME_TCP_HOST);
	union nvme_tcp_pdu pdu = data_pdu(NVME_TCP_H2CDATA, 0, 0, 4096);

	expect_header(&pdu, &c, NVME_TCP_FES_NONE, 0);
	pdu.data.datal = le32_of(4100);
	expect_header(&pdu, &c, NVME_TCP_FES_INVALID_HEADER, 16);
	pdu = data_pdu(NVME_TCP_H2CDATA, 0, 0, 0);
	expect_header(&pdu, &c, NVME_TCP_FES_INVALID_HEADER, 16);

	pdu = data_pdu(NVME_TCP_C2HDATA, 0, 0, 0);
	expect_header(&pdu, &h, NVME_TCP_FES_NONE, 0);
	pdu.data.datal = le32_of(4);
	expect_header(&pdu, &h, NVME_TCP_FES_INVALID_HEADER, 16);
}

static void r2t_for_nothing_is_refused(void **state)
{
	struct nvme_tcp_receiver r = receiver(NVME_TCP_HOST);
	union nvme_tcp_pdu pdu = { .r2t = { .h = header(NVME_TCP_R2T, 0, 24, 0, 24), .r2tl = le32_of(1) } };

	expect_header(&pdu, &r, NVME_TCP_FES_NONE, 0);
	pdu.r2t.r2tl = le32_of(0);
	expect_header(&pdu, &r, NVME_TCP_FES_INVALID_HEADER, 16);
}

/* ---- step 3 ---- */

static void expect_transfer(union nvme_tcp_pdu pdu, uint32_t next, uint32_t end, enum nvme_tcp_fes fes, uint32_t fei)
{
	struct nvme_tcp_transfer t = { .cccid = 5, .next = next, .end = end };
	uint32_t got_fei = 0;

	assert_int_equal(nvme_tcp_check_transfer(&pdu, &t, &got_fei), fes);
	assert_int_equal(got_fei, fei);
}

static void h2c_data_beyond_r2t(void **state)
{
	expect_transfer(data_pdu(NVME_TCP_H2CDATA, NVME_TCP_LAST, 4096, 4096), 4096, 8192, NVME_TCP_FES_NONE, 0);
	expect_transfer(data_pdu(NVME_TCP_H2CDATA, NVME_TCP_LAST, 4096, 4097), 4096, 8192, NVME_TCP_FES_OUT_OF_RANGE, 0);
	expect_transfer(data_pdu(NVME_TCP_H2CDATA, 0, 8193, 1), 4096, 8192, NVME_TCP_FES_OUT_OF_RANGE, 0);
	expect_transfer(data_pdu(NVME_TCP_H2CDATA, 0, UINT32_MAX, 4096), 4096, 8192, NVME_TCP_FES_OUT_OF_RANGE, 0);
	expect_transfer(data_pdu(NVME_TCP_H2CDATA, 0, 4096, UINT32_MAX - 4095), 4096, 8192, NVME_TCP_FES_OUT_OF_RANGE, 0);
}

static void h2c_data_out_of_order(void **state)
{
	expect_transfer(data_pdu(NVME_TCP_H2CDATA, 0, 0, 512), 512, 8192, NVME_TCP_FES_SEQUENCE, 0);
	expect_transfer(data_pdu(NVME_TCP_H2CDATA, 0, 1024, 512), 512, 8192, NVME_TCP_FES_SEQUENCE, 0);
}

static void h2c_last_flag_must_end_the_r2t(void **state)
{
	expect_transfer(data_pdu(NVME_TCP_H2CDATA, 0, 0, 512), 0, 512, NVME_TCP_FES_SEQUENCE, 0);
	expect_transfer(data_pdu(NVME_TCP_H2CDATA, NVME_TCP_LAST, 0, 512), 0, 1024, NVME_TCP_FES_SEQUENCE, 0);
	expect_transfer(data_pdu(NVME_TCP_H2CDATA, 0, 0, 512), 0, 1024, NVME_TCP_FES_NONE, 0);
}

static void data_of_another_command_is_refused(void **state)
{
	union nvme_tcp_pdu pdu = data_pdu(NVME_TCP_H2CDATA, 0, 0, 512);

	pdu.data.cccid = le16_of(6);
	expect_transfer(pdu, 0, 1024, NVME_TCP_FES_INVALID_HEADER, NVME_TCP_FEI_CCCID);
}

static void c2h_data_may_end_early_but_not_late(void **state)
{
	expect_transfer(data_pdu(NVME_TCP_C2HDATA, NVME_TCP_LAST, 0, 512), 0, 4096, NVME_TCP_FES_NONE, 0);
	expect_transfer(data_pdu(NVME_TCP_C2HDATA, NVME_TCP_LAST, 4096, 0), 4096, 4096, NVME_TCP_FES_NONE, 0);
	expect_transfer(data_pdu(NVME_TCP_C2HDATA, 0, 0, 8192), 0, 4096, NVME_TCP_FES_OUT_OF_RANGE, 0);
	expect_transfer(data_pdu(NVME_TCP_C2HDATA, 0, 512, 512), 0, 4096, NVME_TCP_FES_SEQUENCE, 0);
}

static void r2t_beyond_the_command(void **state)
{
	union nvme_tcp_pdu pdu = { .r2t = { .h = header(NVME_TCP_R2T, 0, 24, 0, 24), .cccid = le16_of(5) } };

	pdu.r2t.r2to = le32_of(4096);
	pdu.r2t.r2tl = le32_of(4096);
	expect_transfer(pdu, 4096, 8192, NVME_TCP_FES_NONE, 0);
	expect_transfer(pdu, 0, 8192, NVME_TCP_FES_SEQUENCE, 0);
	expect_transfer(pdu, 4096, 8191, NVME_TCP_FES_OUT_OF_RANGE, 0);
}

/* ---- sending ---- */

/* Both ends are ours in half of the installations: they must agree for every framing. */
static void what_we_send_we_accept(void **state)
{
	static const struct { enum nvme_tcp_type type; uint8_t flags; bool data; } kinds[] = {
		{ NVME_TCP_ICREQ, 0, false }, { NVME_TCP_ICRESP, 0, false }, { NVME_TCP_CMD, 0, true },
		{ NVME_TCP_RSP, 0, false }, { NVME_TCP_H2CDATA, NVME_TCP_LAST, true }, { NVME_TCP_R2T, 0, false },
		{ NVME_TCP_C2HDATA, NVME_TCP_LAST | NVME_TCP_SUCCESS, true },
	};

	for (uint32_t i = 0; i < ARRAY_SIZE(kinds) * 2 * 2 * 32 * 2; i++) {
		uint32_t at = i % ARRAY_SIZE(kinds), how = i / ARRAY_SIZE(kinds);
		enum nvme_tcp_type type = kinds[at].type;
		struct nvme_tcp_receiver r = receiver(type % 2 ? NVME_TCP_HOST : NVME_TCP_CONTROLLER);
		uint32_t bytes = kinds[at].data && how & 4 ? 4096 : 0;
		struct nvme_tcp_hdr h;

		r.ready = type > NVME_TCP_ICRESP;
		r.framing.hdgst = how & 1;
		r.framing.ddgst = how & 2;
		r.framing.align_bytes = (uint8_t)((how / 8 + 1) * 4);
		nvme_tcp_fill_common(&h, type, kinds[at].flags, &r.framing, bytes);
		accept_common(h, &r);
		assert_int_equal(nvme_tcp_data_size(&h), bytes);
		assert_int_equal(nvme_tcp_hlen((uint8_t)type), h.hlen);
		if (bytes)
			assert_true(h.pdo - nvme_tcp_header_size(&h) < r.framing.align_bytes);
	}
}

static void termination_says_why_and_quotes(void **state)
{
	struct nvme_tcp_receiver r = receiver(NVME_TCP_HOST);
	struct nvme_tcp_term term;

	assert_int_equal(nvme_tcp_fill_term(&term, NVME_TCP_CONTROLLER, NVME_TCP_FES_INVALID_HEADER, 2, 72), 72);
	accept_common(term.h, &r);
	assert_int_equal(le32_get(term.h.plen), 24 + 72);
	assert_memory_equal((uint8_t *)&term + 8, "\x01\x00\x02\x00\x00\x00", 6); /* FEI is not aligned */
	assert_int_equal(nvme_tcp_fill_term(&term, NVME_TCP_HOST, NVME_TCP_FES_SEQUENCE, 0, 5000), 128);
	assert_int_equal(term.h.type, NVME_TCP_H2CTERM);
	assert_int_equal(le32_get(term.h.plen), 24 + 128);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pdu_type_must_be_one_for_this_side),
		cmocka_unit_test(initialisation_comes_first_and_once),
		cmocka_unit_test(undefined_flags_are_refused),
		cmocka_unit_test(success_needs_last),
		cmocka_unit_test(digest_flags_must_be_what_was_agreed),
		cmocka_unit_test(header_length_is_exact),
		cmocka_unit_test(data_offset_is_aligned_and_behind_the_header),
		cmocka_unit_test(data_offset_is_zero_where_reserved),
		cmocka_unit_test(length_is_exact_where_nothing_follows),
		cmocka_unit_test(length_holds_header_offset_and_digest),
		cmocka_unit_test(data_beyond_the_limit_is_refused),
		cmocka_unit_test(termination_quotes_at_most_128_bytes),
		cmocka_unit_test(lowest_wrong_field_is_named),
		cmocka_unit_test(initialisation_request_is_checked),
		cmocka_unit_test(initialisation_response_is_checked),
		cmocka_unit_test(data_length_says_what_the_header_said),
		cmocka_unit_test(r2t_for_nothing_is_refused),
		cmocka_unit_test(h2c_data_beyond_r2t),
		cmocka_unit_test(h2c_data_out_of_order),
		cmocka_unit_test(h2c_last_flag_must_end_the_r2t),
		cmocka_unit_test(data_of_another_command_is_refused),
		cmocka_unit_test(c2h_data_may_end_early_but_not_late),
		cmocka_unit_test(r2t_beyond_the_command),
		cmocka_unit_test(what_we_send_we_accept),
		cmocka_unit_test(termination_says_why_and_quotes),
	};

	return cmocka_run_group_tests_name("nvme_tcp", tests, NULL, NULL);
}
