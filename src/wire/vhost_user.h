/* SPDX-License-Identifier: BSD-3-Clause */
/* vhost_user.h: vhost-user's messages: codes, layouts, features, and what a message has to look like.
 *
 * A front-end (a virtual machine monitor) and a back-end (who serves the device) talk over a UNIX socket: a header of
 * 12 bytes, a payload, and descriptors as ancillary data. Numbers are in the machine's byte order, which is little
 * endian on all machines that this is built for. virtio/vhost_user.h turns bytes into messages and back.
 *
 * Witnesses: QEMU (docs/interop/vhost-user.rst, hw/virtio/vhost-user.c), DPDK (lib/vhost/vhost_user.c), rust-vmm.
 */
#ifndef WIRE_VHOST_USER_H
#define WIRE_VHOST_USER_H

#include "wire/layout.h"

#define VU_VERSION 1u
#define VU_FLAG_VERSION_MASK 0x3u
#define VU_FLAG_REPLY 0x4u
#define VU_FLAG_NEED_REPLY 0x8u

#define VU_REGIONS_MAX 32u    /* of one SET_MEM_TABLE; front-ends send up to 8 */
#define VU_SLOTS_MAX 509u     /* regions that there can be with CONFIGURE_MEM_SLOTS; QEMU's own limit */
#define VU_CONFIG_MAX 256u    /* bytes of one GET_CONFIG or SET_CONFIG */
#define VU_FDS_MAX 32u        /* descriptors that come with one message */
#define VU_VRING_FD_NONE 0x100u   /* SET_VRING_KICK, _CALL, _ERR: no descriptor comes with it */
#define VU_VRING_INDEX_MASK 0xffu
#define VU_VRING_LOG 0x1u     /* SET_VRING_ADDR: writes to the used ring are logged */
#define VU_CONFIG_LIVE_MIGRATION 0x1u
enum vu_state_direction { VU_STATE_SAVE, VU_STATE_LOAD };
enum vu_state_phase { VU_STATE_STOPPED };
#define VU_STATE_REFUSED 0x1u      /* answers of the two messages: an error ... */
#define VU_STATE_NO_FD 0x100u      /* ... and no descriptor comes with it: the front-end's is used */

/* Protocol features. */
/*   bit name */
#define VU_PROTOCOL_FEATURES(X) \
	X(0,  MQ) \
	X(1,  LOG_SHMFD) \
	X(2,  RARP) \
	X(3,  REPLY_ACK) \
	X(4,  MTU) \
	X(5,  BACKEND_REQ) \
	X(6,  CROSS_ENDIAN) \
	X(7,  CRYPTO_SESSION) \
	X(8,  PAGEFAULT) \
	X(9,  CONFIG) \
	X(10, BACKEND_SEND_FD) \
	X(11, HOST_NOTIFIER) \
	X(12, INFLIGHT_SHMFD) \
	X(13, RESET_DEVICE) \
	X(14, INBAND_NOTIFICATIONS) \
	X(15, CONFIGURE_MEM_SLOTS) \
	X(16, STATUS) \
	X(17, XEN_MMAP) \
	X(18, SHARED_OBJECT) \
	X(19, DEVICE_STATE)
#define VU_PROTOCOL_FEATURE_ENUM(bit, name) VU_P_##name = bit,
enum vu_protocol_feature { VU_PROTOCOL_FEATURES(VU_PROTOCOL_FEATURE_ENUM) VU_P_COUNT, VU_P_NONE = 63 };
#define VU_P_BIT(name) (1ull << VU_P_##name)

/* What a payload is. */
/*   kind      least bytes, most bytes */
#define VU_PAYLOADS(X) \
	X(NONE,      0,                                 0) \
	X(U64,       8,                                 8) \
	X(STATE,     sizeof(struct vu_wire_state),      sizeof(struct vu_wire_state)) \
	X(ADDR,      sizeof(struct vu_wire_addr),       sizeof(struct vu_wire_addr)) \
	X(MEMORY,    8,                                 8 + VU_REGIONS_MAX * sizeof(struct vu_wire_region)) \
	X(MEM_REG,   8 + sizeof(struct vu_wire_region), 8 + sizeof(struct vu_wire_region)) \
	X(LOG,       8,                                 sizeof(struct vu_wire_log)) \
	X(IOTLB,     sizeof(struct vu_wire_iotlb),      sizeof(struct vu_wire_iotlb)) \
	X(CONFIG,    12,                                12 + VU_CONFIG_MAX) \
	X(AREA,      sizeof(struct vu_wire_area),       sizeof(struct vu_wire_area)) \
	X(INFLIGHT,  20,                                sizeof(struct vu_wire_inflight)) \
	X(TRANSFER,  sizeof(struct vu_wire_transfer),   sizeof(struct vu_wire_transfer)) \
	X(OTHER,     0,                                 VU_PAYLOAD_MAX)
#define VU_PAYLOAD_ENUM(kind, least, most) VU_PAYLOAD_##kind,
enum vu_payload { VU_PAYLOADS(VU_PAYLOAD_ENUM) VU_PAYLOAD_COUNT };
#define VU_PAYLOAD_MAX 2048u  /* of any message that is taken */

/* What a front-end asks. fds: how many descriptors may come with it; needs: the protocol feature without which it must
 * not be sent; reply: what it is always answered with (others only when NEED_REPLY asks for it). OTHER: not
 * for disks. */
/*   id  name                  request   fds              needs                 reply */
#define VU_REQUESTS(X) \
	X(1,  GET_FEATURES,          NONE,     0,               NONE,                 U64) \
	X(2,  SET_FEATURES,          U64,      0,               NONE,                 NONE) \
	X(3,  SET_OWNER,             NONE,     0,               NONE,                 NONE) \
	X(4,  RESET_OWNER,           NONE,     0,               NONE,                 NONE) \
	X(5,  SET_MEM_TABLE,         MEMORY,   VU_REGIONS_MAX,  NONE,                 NONE) \
	X(6,  SET_LOG_BASE,          LOG,      1,               NONE,                 NONE) \
	X(7,  SET_LOG_FD,            NONE,     1,               NONE,                 NONE) \
	X(8,  SET_VRING_NUM,         STATE,    0,               NONE,                 NONE) \
	X(9,  SET_VRING_ADDR,        ADDR,     0,               NONE,                 NONE) \
	X(10, SET_VRING_BASE,        STATE,    0,               NONE,                 NONE) \
	X(11, GET_VRING_BASE,        STATE,    0,               NONE,                 STATE) \
	X(12, SET_VRING_KICK,        U64,      1,               NONE,                 NONE) \
	X(13, SET_VRING_CALL,        U64,      1,               NONE,                 NONE) \
	X(14, SET_VRING_ERR,         U64,      1,               NONE,                 NONE) \
	X(15, GET_PROTOCOL_FEATURES, NONE,     0,               NONE,                 U64) \
	X(16, SET_PROTOCOL_FEATURES, U64,      0,               NONE,                 NONE) \
	X(17, GET_QUEUE_NUM,         NONE,     0,               MQ,                   U64) \
	X(18, SET_VRING_ENABLE,      STATE,    0,               NONE,                 NONE) \
	X(19, SEND_RARP,             OTHER,    0,               RARP,                 NONE) \
	X(20, NET_SET_MTU,           OTHER,    0,               MTU,                  NONE) \
	X(21, SET_BACKEND_REQ_FD,    NONE,     1,               BACKEND_REQ,          NONE) \
	X(22, IOTLB_MSG,             IOTLB,    0,               NONE,                 U64) \
	X(23, SET_VRING_ENDIAN,      STATE,    0,               CROSS_ENDIAN,         NONE) \
	X(24, GET_CONFIG,            CONFIG,   0,               CONFIG,               CONFIG) \
	X(25, SET_CONFIG,            CONFIG,   0,               CONFIG,               NONE) \
	X(26, CREATE_CRYPTO_SESSION, OTHER,    0,               CRYPTO_SESSION,       OTHER) \
	X(27, CLOSE_CRYPTO_SESSION,  OTHER,    0,               CRYPTO_SESSION,       NONE) \
	X(28, POSTCOPY_ADVISE,       NONE,     0,               PAGEFAULT,            U64) \
	X(29, POSTCOPY_LISTEN,       NONE,     0,               PAGEFAULT,            NONE) \
	X(30, POSTCOPY_END,          NONE,     0,               PAGEFAULT,            U64) \
	X(31, GET_INFLIGHT_FD,       INFLIGHT, 0,               INFLIGHT_SHMFD,       INFLIGHT) \
	X(32, SET_INFLIGHT_FD,       INFLIGHT, 1,               INFLIGHT_SHMFD,       NONE) \
	X(33, GPU_SET_SOCKET,        OTHER,    1,               NONE,                 NONE) \
	X(34, RESET_DEVICE,          NONE,     0,               RESET_DEVICE,         NONE) \
	X(35, VRING_KICK,            STATE,    0,               INBAND_NOTIFICATIONS, NONE) \
	X(36, GET_MAX_MEM_SLOTS,     NONE,     0,               CONFIGURE_MEM_SLOTS,  U64) \
	X(37, ADD_MEM_REG,           MEM_REG,  1,               CONFIGURE_MEM_SLOTS,  NONE) \
	X(38, REM_MEM_REG,           MEM_REG,  1,               CONFIGURE_MEM_SLOTS,  NONE) \
	X(39, SET_STATUS,            U64,      0,               STATUS,               NONE) \
	X(40, GET_STATUS,            NONE,     0,               STATUS,               U64) \
	X(41, GET_SHARED_OBJECT,     OTHER,    0,               SHARED_OBJECT,        OTHER) \
	X(42, SET_DEVICE_STATE_FD,   TRANSFER, 1,               DEVICE_STATE,         U64) \
	X(43, CHECK_DEVICE_STATE,    NONE,     0,               DEVICE_STATE,         U64)

/* What a back-end asks, over the socket of SET_BACKEND_REQ_FD. */
#define VU_BACKEND_REQUESTS(X) \
	X(1,  IOTLB_MISS,            IOTLB,    0,               NONE,                 NONE) \
	X(2,  CONFIG_CHANGE,         NONE,     0,               CONFIG,               NONE) \
	X(3,  VRING_HOST_NOTIFIER,   AREA,     1,               HOST_NOTIFIER,        NONE) \
	X(4,  VRING_CALL,            STATE,    0,               INBAND_NOTIFICATIONS, NONE) \
	X(5,  VRING_ERR,             STATE,    0,               INBAND_NOTIFICATIONS, NONE)

#define VU_REQUEST_ENUM(id, name, request, fds, needs, reply) VU_##name = id,
#define VU_BACKEND_REQUEST_ENUM(id, name, request, fds, needs, reply) VU_B_##name = id,
enum vu_request { VU_REQUESTS(VU_REQUEST_ENUM) VU_REQUEST_END };
enum vu_backend_request { VU_BACKEND_REQUESTS(VU_BACKEND_REQUEST_ENUM) VU_B_REQUEST_END };

/* --- layouts ----------------------------------------------------------------------------------------------------- */

struct vu_wire_hdr { le32 request, flags, size; };
WIRE_SIZE(struct vu_wire_hdr, 12);
struct vu_wire_state { le32 index, num; };
WIRE_SIZE(struct vu_wire_state, 8);
struct vu_wire_addr { le32 index, flags; le64 desc, used, avail, log; };
WIRE_SIZE(struct vu_wire_addr, 40);
struct vu_wire_region { le64 guest, size, user, offset; };
WIRE_SIZE(struct vu_wire_region, 32);
struct vu_wire_log { le64 size, offset; };
WIRE_SIZE(struct vu_wire_log, 16);
struct vu_wire_iotlb { le64 iova, size, user; uint8_t perm, type, pad[6]; };
WIRE_SIZE(struct vu_wire_iotlb, 32);
struct vu_wire_config { le32 offset, size, flags; uint8_t data[VU_CONFIG_MAX]; };
WIRE_SIZE(struct vu_wire_config, 268);
struct vu_wire_area { le64 index, size, offset; };
WIRE_SIZE(struct vu_wire_area, 24);
struct vu_wire_inflight { le64 size, offset; le16 queues, queue_size; uint8_t pad[4]; /* some leave it out */ };
WIRE_SIZE(struct vu_wire_inflight, 24);
struct vu_wire_transfer { le32 direction, phase; };
WIRE_SIZE(struct vu_wire_transfer, 8);

#endif
