/* SPDX-License-Identifier: BSD-3-Clause */
/* vhost_user_fuzz.c: any bytes on a vhost-user socket: what becomes a message says the same when it is sent again.
 *
 * Input: a byte: whose side (two bits), how large pieces are (the rest); bytes of the socket, where 0xfe ahead of a
 * piece brings a descriptor along.
 */
#include "virtio/vhost_user.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(enum vu_side side, const struct vu_msg *m)
{
	uint8_t bytes[VU_BYTES_MAX], again[VU_BYTES_MAX];
	uint32_t len = vu_encode(m, bytes), at = 0;
	struct vu_msg back;
	struct err e = { 0 };
	struct vu_rx rx;
	int rc = 0;

	must(*vu_name(side, m->request));
	if (m->kind == VU_PAYLOAD_OTHER)
		return;
	vu_rx_init(&rx, side);
	while (at < len) {
		uint32_t room;
		void *p = vu_rx_room(&rx, &room);

		must(!rc && room <= len - at);
		memcpy(p, bytes + at, room);
		at += room;
		rc = vu_rx_got(&rx, room, NULL, 0, &back, &e);
	}
	must(rc == 1 && back.kind == m->kind);
	must(vu_encode(&back, again) == len && !memcmp(again, bytes, len));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	enum vu_side side = size ? data[0] & 3 : 0;
	uint32_t piece = size ? (data[0] >> 2) + 1 : 1;
	struct vu_rx *rx = malloc(sizeof(*rx));
	size_t at = 1;

	must(rx);
	vu_rx_init(rx, side);
	while (at < size) {
		struct vu_msg m;
		struct err e = { 0 };
		uint32_t room, n, fds = 0;
		int fd = 7, rc;
		void *p = vu_rx_room(rx, &room);

		if (data[at] == 0xfe && rx->fd_count < VU_FDS_MAX) {
			fds = 1;
			at++;
		}
		n = min_u32(min_u32(room, piece), (uint32_t)(size - at));
		if (!n)
			break;
		memcpy(p, data + at, n);
		at += n;
		rc = vu_rx_got(rx, n, &fd, fds, &m, &e);
		must((rc < 0) == (e.code < 0));
		if (rc < 0)
			break;
		if (rc)
			check(side, &m);
	}
	free(rx);
	return 0;
}
