/* SPDX-License-Identifier: BSD-3-Clause */
/* vhost_user.h: bytes of a vhost-user socket to messages, and back. Both sides; no I/O.
 *
 * A receiver is asked how many bytes it wants, which are never more than what is left of the header or of the payload
 * that it is in: so descriptors that come along belong to the message at hand. It owns them until they are taken.
 */
#ifndef VIRTIO_VHOST_USER_H
#define VIRTIO_VHOST_USER_H

#include "base/err.h"
#include "wire/vhost_user.h"

/* What is said on a socket, seen from who receives it. */
enum vu_side {
	VU_REQUEST,          /* front-end to back-end */
	VU_REPLY,            /* its answers */
	VU_BACKEND_REQUEST,  /* back-end to front-end, on a socket of its own */
	VU_BACKEND_REPLY,
};

struct vu_region { uint64_t guest, size, user, offset; };
struct vu_state { uint32_t index, num; };
struct vu_addr { uint32_t index, flags; uint64_t desc, used, avail, log; };
struct vu_log { uint64_t size, offset; };
struct vu_iotlb { uint64_t iova, size, user; uint8_t perm, type; };
struct vu_config { uint32_t offset, size, flags; uint8_t data[VU_CONFIG_MAX]; };
struct vu_area { uint64_t index, size, offset; };
struct vu_inflight { uint64_t size, offset; uint16_t queues, queue_size; };
struct vu_transfer { uint32_t direction, phase; };

struct vu_msg {
	uint32_t request, flags;
	enum vu_payload kind;
	union {
		uint64_t u64;
		struct vu_state state;
		struct vu_addr addr;
		struct { uint32_t count; struct vu_region at[VU_REGIONS_MAX]; } memory;
		struct vu_region region;
		struct vu_log log;
		struct vu_iotlb iotlb;
		struct vu_config config;
		struct vu_area area;
		struct vu_inflight inflight;
		struct vu_transfer transfer;
	};
	uint32_t fd_count;
	int fds[VU_FDS_MAX];
};

#define VU_BYTES_MAX (sizeof(struct vu_wire_hdr) + VU_PAYLOAD_MAX)

/* Text for people: "SET_MEM_TABLE". Never NULL. */
const char *vu_name(enum vu_side side, uint32_t request);
/* The kind of payload, most descriptors, the protocol feature needed (VU_P_NONE: none). False: no such request. */
struct vu_row { uint8_t request, fds, needs, reply; };
bool vu_row(enum vu_side side, uint32_t request, struct vu_row *ret_row);
static inline bool vu_wants_reply(const struct vu_msg *m) { return m->flags & VU_FLAG_NEED_REPLY; }

/* --- receiving --------------------------------------------------------------------------------------------------- */

struct vu_rx {
	enum vu_side side;
	uint32_t have, want;             /* bytes: in `bytes`, and wanted of header or header and payload */
	uint32_t fd_count;
	int fds[VU_FDS_MAX];
	uint8_t bytes[VU_BYTES_MAX];
};
void vu_rx_init(struct vu_rx *rx, enum vu_side side);
/* Where the next bytes go, and how many at most. */
void *vu_rx_room(struct vu_rx *rx, uint32_t *ret_len);
/* `len` bytes came there, with `count` descriptors (now the receiver's). 1: *ret_msg is a message, and its descriptors
 * are who has it's; 0: more is wanted. Errors: it is not vhost-user: the sentence says what; the socket is good for
 * nothing any more.
 * Descriptors that are left belong to rx->fds: the caller closes them. */
int vu_rx_got(struct vu_rx *rx, uint32_t len, const int *fds, uint32_t count, struct vu_msg *ret_msg, struct err *e);

/* --- sending ------------------------------------------------------------------------------------------------------ */

/* Header and payload into `buf` (VU_BYTES_MAX). Descriptors travel beside it. Returns how many bytes. */
uint32_t vu_encode(const struct vu_msg *m, uint8_t *buf);
/* An answer to `m`, payload to be filled in. */
static inline void vu_reply_to(const struct vu_msg *m, enum vu_payload kind, struct vu_msg *ret_reply)
{
	ret_reply->request = m->request;
	ret_reply->flags = VU_VERSION | VU_FLAG_REPLY;
	ret_reply->kind = kind;
	ret_reply->fd_count = 0;
}
static inline void vu_request(uint32_t request, enum vu_payload kind, struct vu_msg *ret_msg)
{
	ret_msg->request = request;
	ret_msg->flags = VU_VERSION;
	ret_msg->kind = kind;
	ret_msg->fd_count = 0;
}

#endif
