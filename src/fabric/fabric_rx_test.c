/* SPDX-License-Identifier: BSD-3-Clause */
/* fabric_rx_test.c: what is put comes out again, however the stream is cut, and the first wrong field is named.
 *
 * If cutting mattered, a connection would break under load or with a slow peer only.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/crc32c.h"
#include "base/text.h"
#include "fabric/fabric.h"

#define STREAM_MAX 65536

struct stream {
	uint8_t bytes[STREAM_MAX];
	uint32_t len;
};

/* What a receiver saw, as text: equal texts, equal stories. */
struct story {
	char buf[8192];
	struct text t;
	uint32_t crc;
	uint32_t data;
};

static void add_data(struct stream *s, const struct nvme_tcp_framing *f, uint32_t len, uint8_t seed)
{
	uint8_t *at = s->bytes + s->len;

	for (uint32_t i = 0; i < len; i++)
		at[i] = (uint8_t)(seed + i * 7);
	s->len += len;
	if (f->ddgst && len) {
		fabric_put_digest(s->bytes + s->len, crc32c_update(CRC32C_START, at, len));
		s->len += NVME_TCP_DIGEST_SIZE;
	}
}

static void add_cmd(struct stream *s, const struct nvme_tcp_framing *f, uint16_t cid, uint32_t len)
{
	struct nvme_sqe sqe = { .opc = NVME_CMD_WRITE, .cid = le16_of(cid) };

	s->len += fabric_put_cmd(s->bytes + s->len, f, &sqe, len);
	add_data(s, f, len, (uint8_t)cid);
}

static void add_h2c(struct stream *s, const struct nvme_tcp_framing *f, uint16_t cid, uint32_t off, uint32_t len)
{
	s->len += fabric_put_h2c_data(s->bytes + s->len, f, cid, 3, off, len, NVME_TCP_LAST);
	add_data(s, f, len, (uint8_t)cid);
}

static void make_stream(struct stream *s, const struct nvme_tcp_framing *f)
{
	s->len = 0;
	add_cmd(s, f, 1, 0);
	add_cmd(s, f, 2, 512);
	add_h2c(s, f, 3, 0, 700);
	add_cmd(s, f, 4, 1);
	add_h2c(s, f, 5, 512, 4);
	add_cmd(s, f, 6, 0);
}

static void tell(struct story *st, struct fabric_rx *rx, enum fabric_rx_event ev)
{
	switch (ev) {
	case FABRIC_RX_HEADER:
		text_add(&st->t, "%s %u;", nvme_tcp_type_name(rx->type), rx->data_len);
		if (rx->type == NVME_TCP_CMD)
			text_add(&st->t, "cid %u;", le16_get(rx->pdu->cmd.sqe.cid));
		st->crc = CRC32C_START;
		st->data = 0;
		break;
	case FABRIC_RX_DATA:
		st->crc = crc32c_update(st->crc, rx->span, rx->span_len);
		st->data += rx->span_len;
		break;
	case FABRIC_RX_END:
		text_add(&st->t, "%s %u %08x;", rx->digest_good ? "good" : "wrong", st->data, st->crc);
		break;
	case FABRIC_RX_BAD:
		text_add(&st->t, "bad %u %u;", rx->fes, rx->fei);
		break;
	case FABRIC_RX_MORE:
		break;
	}
}

static void feed(struct story *st, struct fabric_rx *rx, const uint8_t *at, size_t len)
{
	const uint8_t *end = at + len;
	enum fabric_rx_event ev;

	while ((ev = fabric_rx_next(rx, &at, end)) != FABRIC_RX_MORE)
		tell(st, rx, ev);
	assert_ptr_equal(at, end);
}

static void begin(struct story *st, struct fabric_rx *rx, const struct nvme_tcp_framing *f)
{
	st->t = text_over(st->buf, sizeof(st->buf));
	fabric_rx_init(rx, NVME_TCP_CONTROLLER);
	rx->as.ready = true;
	rx->as.framing = *f;
	rx->as.icd_bytes_max = 8192;
	rx->as.h2cdata_bytes_max = 131072;
}

static const struct nvme_tcp_framing framings[] = {
	{ false, false, 4 }, { true, false, 4 }, { false, true, 4 }, { true, true, 4 }, { true, true, 128 },
	{ false, false, 16 },
};

/* Every place to cut in two; the second part by direct receive where that is allowed. */
static void cut_anywhere(void **state)
{
	static struct stream s;
	static struct story whole, cut;
	struct fabric_rx rx;

	for (size_t f = 0; f < ARRAY_SIZE(framings); f++) {
		make_stream(&s, &framings[f]);
		begin(&whole, &rx, &framings[f]);
		feed(&whole, &rx, s.bytes, s.len);
		assert_int_equal(rx.state, FABRIC_RX_ON_HEADER);
		assert_non_null(strstr(whole.buf, "good 700"));
		assert_null(strstr(whole.buf, "wrong"));
		for (uint32_t at = 0; at <= s.len; at++) {
			/* Copies of exact size, so that ASan sees one byte too many. */
			uint8_t *one = malloc(at + 1), *two = malloc(s.len - at + 1), beside[1024];
			uint32_t direct, rest = s.len - at;

			memcpy(one, s.bytes, at);
			memcpy(two, s.bytes + at, rest);
			begin(&cut, &rx, &framings[f]);
			feed(&cut, &rx, one, at);
			direct = fabric_rx_direct_left(&rx);
			if (at & 1 && direct) {
				struct iovec iov[2] = { { beside, direct / 2 }, { beside + direct / 2, direct - direct / 2 } };

				memcpy(beside, two, direct);
				fabric_rx_direct_took(&rx, iov, direct);
				cut.crc = crc32c_update(cut.crc, beside, direct);
				cut.data += direct;
				feed(&cut, &rx, two + direct, rest - direct);
			} else {
				feed(&cut, &rx, two, rest);
			}
			assert_string_equal(whole.buf, cut.buf);
			free(one);
			free(two);
		}
	}
}

static void byte_by_byte(void **state)
{
	static struct stream s;
	static struct story whole, cut;
	struct fabric_rx rx;

	for (size_t f = 0; f < ARRAY_SIZE(framings); f++) {
		make_stream(&s, &framings[f]);
		begin(&whole, &rx, &framings[f]);
		feed(&whole, &rx, s.bytes, s.len);
		begin(&cut, &rx, &framings[f]);
		for (uint32_t i = 0; i < s.len; i++)
			feed(&cut, &rx, s.bytes + i, 1);
		assert_string_equal(whole.buf, cut.buf);
	}
}

/* A wrong data digest is told at END and the stream goes on: only that command fails. */
static void wrong_data_digest_is_told_and_survived(void **state)
{
	static struct stream s;
	static struct story st;
	struct fabric_rx rx;

	s.len = 0;
	add_cmd(&s, &framings[3], 1, 512);
	s.bytes[100] ^= 1;
	add_cmd(&s, &framings[3], 2, 512);
	begin(&st, &rx, &framings[3]);
	feed(&st, &rx, s.bytes, s.len);
	assert_non_null(strstr(st.buf, "wrong 512"));
	assert_non_null(strstr(st.buf, "cid 2;good 512"));
}

/* FEI is the digest that came, and the answer quotes the header. */
static void wrong_header_digest_ends_it(void **state)
{
	static struct stream s;
	static struct story st;
	struct fabric_rx rx;
	uint8_t term[FABRIC_TERM_MAX];
	struct nvme_tcp_term t;

	s.len = 0;
	add_cmd(&s, &framings[1], 1, 0);
	s.bytes[72] ^= 0xff;
	begin(&st, &rx, &framings[1]);
	feed(&st, &rx, s.bytes, s.len);
	assert_int_equal(rx.fes, NVME_TCP_FES_HEADER_DIGEST);
	assert_memory_equal(&rx.fei, s.bytes + 72, 4);
	assert_int_equal(fabric_put_term(term, &rx, rx.fes, rx.fei), sizeof(t) + 72);
	memcpy(&t, term, sizeof(t));
	assert_int_equal(t.h.type, NVME_TCP_C2HTERM);
	assert_int_equal(le16_get(t.fes), NVME_TCP_FES_HEADER_DIGEST);
	assert_memory_equal(term + sizeof(t), s.bytes, 72);
	/* Whatever follows is not looked at. */
	feed(&st, &rx, s.bytes, s.len);
	assert_int_equal(rx.fes, NVME_TCP_FES_HEADER_DIGEST);
}

/* Eight bytes are enough to refuse a PDU: it would be waited for in vain. */
static void impossible_pdu_is_refused_at_once(void **state)
{
	const struct nvme_tcp_hdr h = { .type = NVME_TCP_CMD, .hlen = 73, .plen = le32_of(73) };
	static struct story st;
	struct fabric_rx rx;
	uint8_t term[FABRIC_TERM_MAX];

	for (size_t cut = 0; cut < sizeof(h); cut++) {
		begin(&st, &rx, &framings[0]);
		feed(&st, &rx, (const uint8_t *)&h, cut);
		assert_int_equal(rx.fes, NVME_TCP_FES_NONE);
		feed(&st, &rx, (const uint8_t *)&h + cut, sizeof(h) - cut);
		assert_int_equal(rx.fes, NVME_TCP_FES_INVALID_HEADER);
		assert_int_equal(rx.fei, 2);
		assert_int_equal(fabric_put_term(term, &rx, rx.fes, rx.fei), sizeof(struct nvme_tcp_term) + sizeof(h));
	}
}

/* Headers that begin as the one before did are not checked again: what differs in one bit, or is nothing at all, is. */
static void one_right_header_excuses_no_other(void **state)
{
	for (size_t f = 0; f < ARRAY_SIZE(framings); f++) {
		static struct stream s;
		static struct story one, other;
		uint32_t len;

		s.len = 0;
		add_cmd(&s, &framings[f], 1, 512);
		len = s.len;
		for (uint32_t bit = 0; bit <= 64; bit++) {
			struct fabric_rx after, fresh;
			uint8_t wrong[STREAM_MAX] = { 0 };

			if (bit < 64) {
				memcpy(wrong, s.bytes, len);
				wrong[bit / 8] ^= (uint8_t)(1 << bit % 8);
			}
			begin(&one, &fresh, &framings[f]);
			feed(&one, &fresh, wrong, len);
			begin(&other, &after, &framings[f]);
			feed(&other, &after, s.bytes, len);
			other.t = text_over(other.buf, sizeof(other.buf));
			feed(&other, &after, wrong, len);
			assert_string_equal(one.buf, other.buf);
			assert_true(after.fes == fresh.fes && after.fei == fresh.fei && after.state == fresh.state);
		}
	}
}

/* The same bytes mean something else once the connection is ready. */
static void an_icreq_is_right_once(void **state)
{
	static struct story st;
	struct fabric_rx rx;
	uint8_t icreq[FABRIC_PUT_MAX];
	uint32_t len = fabric_put_icreq(icreq, 0, 0, 0);

	begin(&st, &rx, &framings[0]);
	rx.as.ready = false;
	feed(&st, &rx, icreq, len);
	assert_int_equal(rx.fes, NVME_TCP_FES_NONE);
	rx.as.ready = true;
	feed(&st, &rx, icreq, len);
	assert_int_equal(rx.fes, NVME_TCP_FES_SEQUENCE);
}

/* Host's side: what a controller puts comes out. */
static void a_host_reads_answers(void **state)
{
	static struct stream s;
	static struct story st;
	const struct nvme_cqe cqe = { .cid = le16_of(9) };

	for (size_t f = 0; f < ARRAY_SIZE(framings); f++) {
		struct fabric_rx rx;

		s.len = 0;
		s.len += fabric_put_rsp(s.bytes + s.len, &framings[f], &cqe);
		s.len += fabric_put_r2t(s.bytes + s.len, &framings[f], 1, 2, 0, 4096);
		s.len += fabric_put_c2h_data(s.bytes + s.len, &framings[f], 1, 0, 512, NVME_TCP_LAST | NVME_TCP_SUCCESS);
		add_data(&s, &framings[f], 512, 1);
		begin(&st, &rx, &framings[f]);
		rx.as.side = NVME_TCP_HOST;
		feed(&st, &rx, s.bytes, s.len);
		assert_string_equal(st.t.buf + strlen("CapsuleResp 0;R2T 0;C2HData 512;good 512 ") + 8, ";");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(cut_anywhere),
		cmocka_unit_test(byte_by_byte),
		cmocka_unit_test(wrong_data_digest_is_told_and_survived),
		cmocka_unit_test(wrong_header_digest_ends_it),
		cmocka_unit_test(impossible_pdu_is_refused_at_once),
		cmocka_unit_test(one_right_header_excuses_no_other),
		cmocka_unit_test(an_icreq_is_right_once),
		cmocka_unit_test(a_host_reads_answers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
