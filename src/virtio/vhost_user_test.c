/* SPDX-License-Identifier: BSD-3-Clause */
/* vhost_user_test.c: messages survive the way over bytes, in any pieces, and what is no message is refused. */
#include "virtio/vhost_user.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

/* Feed `len` bytes in pieces of `piece`; descriptors come with the first. */
static int feed(struct vu_rx *rx, const uint8_t *bytes, uint32_t len, uint32_t piece, const struct vu_msg *from,
                struct vu_msg *to, struct err *e)
{
	uint32_t at = 0;

	while (at < len) {
		uint32_t room, n;
		void *p = vu_rx_room(rx, &room);
		int rc;

		n = min_u32(min_u32(room, piece), len - at);
		memcpy(p, bytes + at, n);
		rc = vu_rx_got(rx, n, from ? from->fds : NULL, from && !at ? from->fd_count : 0, to, e);
		at += n;
		if (rc)
			return rc;
	}
	return 0;
}

static void there_and_back(enum vu_side side, const struct vu_msg *m)
{
	uint8_t bytes[VU_BYTES_MAX];
	uint32_t len = vu_encode(m, bytes);

	for (uint32_t piece = 1; piece <= len; piece++) {
		struct vu_msg got = { 0 };
		struct err e = { 0 };
		struct vu_rx rx;
		uint8_t again[VU_BYTES_MAX];

		vu_rx_init(&rx, side);
		assert_int_equal(feed(&rx, bytes, len, piece, m, &got, &e), 1);
		assert_int_equal(got.kind, m->kind);
		assert_int_equal(got.fd_count, m->fd_count);
		assert_memory_equal(got.fds, m->fds, m->fd_count * sizeof(int));
		assert_int_equal(vu_encode(&got, again), len);
		assert_memory_equal(again, bytes, len);
		assert_int_equal(rx.have, 0);
		assert_int_equal(rx.fd_count, 0);
	}
}

static void every_request_comes_back(void **state)
{
	for (uint32_t i = 0; i < VU_REQUEST_END; i++) {
		struct vu_msg m;
		struct vu_row row;

		if (!vu_row(VU_REQUEST, i, &row))
			continue;
		memset(&m, 0x5a, sizeof(m));
		vu_request(i, row.request, &m);
		if (row.request == VU_PAYLOAD_MEMORY)
			m.memory.count = 7;
		if (row.request == VU_PAYLOAD_CONFIG) {
			m.config.offset = 12;
			m.config.size = 60;
		}
		m.fd_count = row.fds;
		for (uint32_t f = 0; f < m.fd_count; f++)
			m.fds[f] = 100 + (int)f;
		there_and_back(VU_REQUEST, &m);
	}
}

static void every_reply_comes_back(void **state)
{
	for (uint32_t i = 0; i < VU_REQUEST_END; i++) {
		struct vu_msg from = { .request = i }, m;
		struct vu_row row;

		if (!vu_row(VU_REQUEST, i, &row))
			continue;
		memset(&m, 0x33, sizeof(m));
		vu_reply_to(&from, row.reply == VU_PAYLOAD_NONE ? VU_PAYLOAD_U64 : row.reply, &m);
		if (m.kind == VU_PAYLOAD_OTHER)
			continue;
		if (m.kind == VU_PAYLOAD_CONFIG)
			m.config.offset = 0, m.config.size = 256;
		there_and_back(VU_REPLY, &m);
		m.kind = VU_PAYLOAD_NONE;
		there_and_back(VU_REPLY, &m);
	}
}

static void a_backends_requests_come_back(void **state)
{
	for (uint32_t i = 1; i < VU_B_REQUEST_END; i++) {
		struct vu_msg m;
		struct vu_row row;

		assert_true(vu_row(VU_BACKEND_REQUEST, i, &row));
		memset(&m, 0x11, sizeof(m));
		vu_request(i, row.request, &m);
		there_and_back(VU_BACKEND_REQUEST, &m);
	}
}

static void refused(enum vu_side side, uint32_t request, uint32_t flags, uint32_t size, const void *payload,
                    uint32_t fds)
{
	uint8_t bytes[8192] = { 0 };
	struct vu_wire_hdr h = { le32_of(request), le32_of(flags), le32_of(size) };
	struct vu_msg got, with = { .fd_count = fds };
	struct err e = { 0 };
	struct vu_rx rx;

	memcpy(bytes, &h, sizeof(h));
	if (payload)
		memcpy(bytes + sizeof(h), payload, size);
	vu_rx_init(&rx, side);
	assert_true(feed(&rx, bytes, (uint32_t)sizeof(h) + size, 4096, &with, &got, &e) < 0);
	assert_true(e.code < 0 && e.text[0]);
	assert_int_equal(rx.fd_count, fds); /* still to be closed */
}

/* Lengths that a front-end says bound loops and copies here. */
static void what_is_no_message_is_refused(void **state)
{
	const le32 many[2] = { le32_of(VU_REGIONS_MAX + 1) }, two[2] = { le32_of(2) };
	struct vu_wire_config c = { .offset = le32_of(200), .size = le32_of(100) };
	struct vu_wire_config wrap = { .offset = le32_of(0xffffffff), .size = le32_of(2) };

	refused(VU_REQUEST, VU_SET_FEATURES, 0, 8, NULL, 0);                   /* version */
	refused(VU_REQUEST, VU_SET_FEATURES, 2, 8, NULL, 0);
	refused(VU_REQUEST, VU_SET_FEATURES, VU_VERSION | VU_FLAG_REPLY, 8, NULL, 0);
	refused(VU_REPLY, VU_GET_FEATURES, VU_VERSION, 8, NULL, 0);
	refused(VU_REQUEST, VU_SET_FEATURES, VU_VERSION, 4, NULL, 0);
	refused(VU_REQUEST, VU_SET_FEATURES, VU_VERSION, 9, NULL, 0);
	refused(VU_REQUEST, VU_SET_FEATURES, VU_VERSION, 8, NULL, 1);          /* no descriptor belongs to it */
	refused(VU_REQUEST, VU_SET_VRING_KICK, VU_VERSION, 8, NULL, 2);
	refused(VU_REQUEST, VU_GET_FEATURES, VU_VERSION, VU_PAYLOAD_MAX + 1, NULL, 0);
	refused(VU_REQUEST, VU_SET_MEM_TABLE, VU_VERSION, 8, many, 0);
	refused(VU_REQUEST, VU_SET_MEM_TABLE, VU_VERSION, 8, two, 2);
	refused(VU_REQUEST, VU_GET_CONFIG, VU_VERSION, 12, &c, 0);
	refused(VU_REQUEST, VU_SET_CONFIG, VU_VERSION, 12, &wrap, 0);
	refused(VU_REQUEST, VU_SET_CONFIG, VU_VERSION, 12, &(struct vu_wire_config){ .size = le32_of(1) }, 0);
}

/* QEMU of some day may ask what is not known yet: the message is understood as far as its length. */
static void an_unknown_request_is_a_message(void **state)
{
	uint8_t bytes[64] = { 0 };
	struct vu_wire_hdr h = { le32_of(4711), le32_of(VU_VERSION | VU_FLAG_NEED_REPLY), le32_of(5) };
	struct vu_msg got;
	struct err e = { 0 };
	struct vu_rx rx;

	memcpy(bytes, &h, sizeof(h));
	vu_rx_init(&rx, VU_REQUEST);
	assert_int_equal(feed(&rx, bytes, sizeof(h) + 5, 64, NULL, &got, &e), 1);
	assert_int_equal(got.kind, VU_PAYLOAD_OTHER);
	assert_true(vu_wants_reply(&got));
	assert_string_equal(vu_name(VU_REQUEST, got.request), "unknown request");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_request_comes_back),
		cmocka_unit_test(every_reply_comes_back),
		cmocka_unit_test(a_backends_requests_come_back),
		cmocka_unit_test(what_is_no_message_is_refused),
		cmocka_unit_test(an_unknown_request_is_a_message),
	};

	return cmocka_run_group_tests_name("vhost-user messages", tests, NULL, NULL);
}
