/* SPDX-License-Identifier: BSD-3-Clause */
/* virtio.h: virtio 1.2: virtqueues, split and packed, the block and SCSI devices; and vhost-user's in-flight regions.
 *
 * Names are the field's (virtio 1.2, csd01; docs/interop/vhost-user.rst for what a reconnection needs). Section
 * numbers are those of the virtio specification. What is checked of a ring is in src/virtio.
 *
 * Witnesses: Linux (include/uapi/linux/virtio_*.h), which virtio_test.c compares with.
 */
#ifndef WIRE_VIRTIO_H
#define WIRE_VIRTIO_H

#include "wire/layout.h"

#define VIRTIO_BIT(f) (1ull << (f))   /* a feature bit as a mask */

/* --- features and status (2.1, 2.2, 6) --- */

#define VIRTIO_FEATURES(X) \
	X(24, F_NOTIFY_ON_EMPTY,     "legacy: interrupt when the queue runs empty")              \
	X(26, F_LOG_ALL,             "vhost: log all writes to guest memory")                    \
	X(28, RING_F_INDIRECT_DESC,  "descriptors may lead to tables of descriptors")            \
	X(29, RING_F_EVENT_IDX,      "each side says at which index it wants to hear")           \
	X(30, F_PROTOCOL_FEATURES,   "vhost-user: protocol features are negotiated")             \
	X(32, F_VERSION_1,           "virtio 1.0 or later")                                      \
	X(33, F_ACCESS_PLATFORM,     "addresses are translated by the platform (IOMMU)")         \
	X(34, F_RING_PACKED,         "packed virtqueues")                                        \
	X(35, F_IN_ORDER,            "buffers are used in the order in which they came")         \
	X(36, F_ORDER_PLATFORM,      "memory is ordered as the platform says")                   \
	X(37, F_SR_IOV,              "single root I/O virtualisation")                           \
	X(38, F_NOTIFICATION_DATA,   "notifications carry data")                                 \
	X(40, F_RING_RESET,          "queues can be reset one by one")
#define VIRTIO_ENUM_FEATURE(bit, name, text) VIRTIO_##name = bit,
enum virtio_feature { VIRTIO_FEATURES(VIRTIO_ENUM_FEATURE) };

enum virtio_status {
	VIRTIO_CONFIG_S_ACKNOWLEDGE = 1, VIRTIO_CONFIG_S_DRIVER = 2, VIRTIO_CONFIG_S_DRIVER_OK = 4,
	VIRTIO_CONFIG_S_FEATURES_OK = 8, VIRTIO_CONFIG_S_NEEDS_RESET = 0x40, VIRTIO_CONFIG_S_FAILED = 0x80,
};
enum virtio_id { VIRTIO_ID_BLOCK = 2, VIRTIO_ID_SCSI = 8 };

/* --- split virtqueues (2.7) --- */

#define VIRTQ_SIZE_MAX 32768u         /* of both formats; split ones are a power of two */
#define VIRTQ_DESC_ALIGN 16u
#define VIRTQ_AVAIL_ALIGN 2u
#define VIRTQ_USED_ALIGN 4u

enum virtq_desc_flags {
	VIRTQ_DESC_F_NEXT = 1, VIRTQ_DESC_F_WRITE = 2, VIRTQ_DESC_F_INDIRECT = 4,
	VIRTQ_DESC_F_AVAIL = 1 << 7, VIRTQ_DESC_F_USED = 1 << 15, /* packed ones only */
};
struct virtq_desc {
	le64 addr;
	le32 len;
	le16 flags;
	le16 next;
};
WIRE_SIZE(struct virtq_desc, 16);
WIRE_AT(struct virtq_desc, flags, 12);

enum { VIRTQ_AVAIL_F_NO_INTERRUPT = 1, VIRTQ_USED_F_NO_NOTIFY = 1 };
struct virtq_avail {
	le16 flags;
	le16 idx;
	le16 ring[];              /* of the queue's size; behind it, with EVENT_IDX: le16 used_event */
};
WIRE_SIZE(struct virtq_avail, 4);
struct virtq_used_elem {
	le32 id;                  /* head of the chain that was used */
	le32 len;                 /* bytes written into its device-writable part */
};
WIRE_SIZE(struct virtq_used_elem, 8);
struct virtq_used {
	le16 flags;
	le16 idx;
	struct virtq_used_elem ring[]; /* behind it, with EVENT_IDX: le16 avail_event */
};
WIRE_SIZE(struct virtq_used, 4);

/* --- packed virtqueues (2.8) --- */

struct pvirtq_desc {
	le64 addr;
	le32 len;
	le16 id;
	le16 flags;
};
WIRE_SIZE(struct pvirtq_desc, 16);
WIRE_AT(struct pvirtq_desc, flags, 14);

enum pvirtq_event_flags { RING_EVENT_FLAGS_ENABLE = 0, RING_EVENT_FLAGS_DISABLE = 1, RING_EVENT_FLAGS_DESC = 2 };
#define RING_EVENT_WRAP_SHIFT 15
struct pvirtq_event_suppress {
	le16 desc;                /* offset in the ring; wrap counter in bit 15 */
	le16 flags;
};
WIRE_SIZE(struct pvirtq_event_suppress, 4);

/* --- block device (5.2) --- */

#define VIRTIO_BLK_FEATURES(X) \
	X(0,  BARRIER,      "legacy: barriers")                     \
	X(1,  SIZE_MAX,     "size_max: the longest segment")        \
	X(2,  SEG_MAX,      "seg_max: segments of a request")       \
	X(4,  GEOMETRY,     "legacy geometry")                      \
	X(5,  RO,           "read-only")                            \
	X(6,  BLK_SIZE,     "blk_size: size of a logical block")    \
	X(7,  SCSI,         "legacy: SCSI commands")                \
	X(9,  FLUSH,        "the FLUSH command")                    \
	X(10, TOPOLOGY,     "physical blocks and best sizes")       \
	X(11, CONFIG_WCE,   "the write cache can be switched")      \
	X(12, MQ,           "num_queues: several request queues")   \
	X(13, DISCARD,      "the DISCARD command")                  \
	X(14, WRITE_ZEROES, "the WRITE ZEROES command")             \
	X(15, LIFETIME,     "the GET LIFETIME command")             \
	X(16, SECURE_ERASE, "the SECURE ERASE command")
#define VIRTIO_BLK_ENUM_FEATURE(bit, name, text) VIRTIO_BLK_F_##name = bit,
enum virtio_blk_feature { VIRTIO_BLK_FEATURES(VIRTIO_BLK_ENUM_FEATURE) };

#define VIRTIO_BLK_SECTOR 512u
#define VIRTIO_BLK_ID_BYTES 20u

struct virtio_blk_config {
	le64 capacity;            /* in sectors of 512 bytes, as all below that say sectors */
	le32 size_max;
	le32 seg_max;
	struct {
		le16 cylinders;
		uint8_t heads;
		uint8_t sectors;
	} geometry;
	le32 blk_size;            /* bytes */
	uint8_t physical_block_exp;
	uint8_t alignment_offset; /* in logical blocks, as the two below */
	le16 min_io_size;
	le32 opt_io_size;
	uint8_t wce;              /* 1: write back. The one field that a driver may write */
	uint8_t unused0;
	le16 num_queues;
	le32 max_discard_sectors;
	le32 max_discard_seg;
	le32 discard_sector_alignment;
	le32 max_write_zeroes_sectors;
	le32 max_write_zeroes_seg;
	uint8_t write_zeroes_may_unmap;
	uint8_t unused1[3];
	le32 max_secure_erase_sectors;
	le32 max_secure_erase_seg;
	le32 secure_erase_sector_alignment;
};
WIRE_SIZE(struct virtio_blk_config, 72);
WIRE_AT(struct virtio_blk_config, blk_size, 20);
WIRE_AT(struct virtio_blk_config, wce, 32);
WIRE_AT(struct virtio_blk_config, num_queues, 34);
WIRE_AT(struct virtio_blk_config, max_write_zeroes_sectors, 48);
WIRE_AT(struct virtio_blk_config, max_secure_erase_sectors, 60);

#define VIRTIO_BLK_TYPES(X) \
	X(0,  IN,           "read")         \
	X(1,  OUT,          "write")        \
	X(4,  FLUSH,        "flush")        \
	X(8,  GET_ID,       "get id")       \
	X(10, GET_LIFETIME, "get lifetime") \
	X(11, DISCARD,      "discard")      \
	X(13, WRITE_ZEROES, "write zeroes") \
	X(14, SECURE_ERASE, "secure erase")
#define VIRTIO_BLK_ENUM_TYPE(code, name, text) VIRTIO_BLK_T_##name = code,
enum virtio_blk_type { VIRTIO_BLK_TYPES(VIRTIO_BLK_ENUM_TYPE) };

/* A request: this header, read by the device; data; one byte of status, written by it. */
struct virtio_blk_outhdr {
	le32 type;
	le32 ioprio;              /* reserved */
	le64 sector;
};
WIRE_SIZE(struct virtio_blk_outhdr, 16);
enum virtio_blk_status { VIRTIO_BLK_S_OK = 0, VIRTIO_BLK_S_IOERR = 1, VIRTIO_BLK_S_UNSUPP = 2 };

enum { VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP = 1 };
struct virtio_blk_discard_write_zeroes {
	le64 sector;
	le32 num_sectors;
	le32 flags;               /* must be 0 but for UNMAP of WRITE ZEROES */
};
WIRE_SIZE(struct virtio_blk_discard_write_zeroes, 16);

struct virtio_blk_lifetime {
	le16 pre_eol_info;        /* 0: not known; 1 normal, 2 warning (80 % of the reserve), 3 urgent (90 %) */
	le16 device_lifetime_est_typ_a, device_lifetime_est_typ_b;
};
WIRE_SIZE(struct virtio_blk_lifetime, 6);

/* --- SCSI host device (5.6) --- */

#define VIRTIO_SCSI_FEATURES(X) \
	X(0, INOUT,   "a request may read and write")   \
	X(1, HOTPLUG, "targets come and go")            \
	X(2, CHANGE,  "logical units' parameters change") \
	X(3, T10_PI,  "protection information")
#define VIRTIO_SCSI_ENUM_FEATURE(bit, name, text) VIRTIO_SCSI_F_##name = bit,
enum virtio_scsi_feature { VIRTIO_SCSI_FEATURES(VIRTIO_SCSI_ENUM_FEATURE) };

enum virtio_scsi_queue { VIRTIO_SCSI_CONTROLQ, VIRTIO_SCSI_EVENTQ, VIRTIO_SCSI_REQUESTQ };
#define VIRTIO_SCSI_CDB_DEFAULT_SIZE 32u
#define VIRTIO_SCSI_SENSE_DEFAULT_SIZE 96u

struct virtio_scsi_config {
	le32 num_queues;          /* request queues */
	le32 seg_max;
	le32 max_sectors;
	le32 cmd_per_lun;
	le32 event_info_size;
	le32 sense_size, cdb_size; /* the two that a driver may write */
	le16 max_channel;
	le16 max_target;
	le32 max_lun;
};
WIRE_SIZE(struct virtio_scsi_config, 36);
WIRE_AT(struct virtio_scsi_config, max_lun, 32);

/* Eight bytes of LUN: 1, target, two of single-level LUN (flat space, 0x4000 | lun), four of zero. */
struct virtio_scsi_cmd_req {
	uint8_t lun[8];
	le64 tag;
	uint8_t task_attr;
	uint8_t prio;
	uint8_t crn;
	uint8_t cdb[VIRTIO_SCSI_CDB_DEFAULT_SIZE]; /* of cdb_size; then the data that the device reads */
};
WIRE_SIZE(struct virtio_scsi_cmd_req, 51);
struct virtio_scsi_cmd_req_pi {
	uint8_t lun[8];
	le64 tag;
	uint8_t task_attr;
	uint8_t prio;
	uint8_t crn;
	le32 pi_bytesout;
	le32 pi_bytesin;
	uint8_t cdb[VIRTIO_SCSI_CDB_DEFAULT_SIZE];
};
WIRE_SIZE(struct virtio_scsi_cmd_req_pi, 59);
struct virtio_scsi_cmd_resp {
	le32 sense_len;
	le32 resid;
	le16 status_qualifier;
	uint8_t status;
	uint8_t response;
	uint8_t sense[VIRTIO_SCSI_SENSE_DEFAULT_SIZE]; /* of sense_size; then the data that the device writes */
};
WIRE_SIZE(struct virtio_scsi_cmd_resp, 108);
WIRE_AT(struct virtio_scsi_cmd_resp, response, 11);

enum virtio_scsi_task_attr {
	VIRTIO_SCSI_S_SIMPLE = 0, VIRTIO_SCSI_S_ORDERED = 1, VIRTIO_SCSI_S_HEAD = 2, VIRTIO_SCSI_S_ACA = 3,
};
#define VIRTIO_SCSI_RESPONSES(X) \
	X(0,  OK,                 "completed; status says how")       \
	X(1,  OVERRUN,            "the CDB wants more data than there are buffers") \
	X(2,  ABORTED,            "aborted")                          \
	X(3,  BAD_TARGET,         "no such target")                   \
	X(4,  RESET,              "cancelled by a reset")             \
	X(5,  BUSY,               "busy, try again")                  \
	X(6,  TRANSPORT_FAILURE,  "the transport failed")             \
	X(7,  TARGET_FAILURE,     "the target failed for good")       \
	X(8,  NEXUS_FAILURE,      "the nexus failed; another path may do") \
	X(9,  FAILURE,            "failed")                           \
	X(10, FUNCTION_SUCCEEDED, "function succeeded")               \
	X(11, FUNCTION_REJECTED,  "function rejected")                \
	X(12, INCORRECT_LUN,      "no such logical unit")
#define VIRTIO_SCSI_ENUM_RESPONSE(code, name, text) VIRTIO_SCSI_S_##name = code,
enum virtio_scsi_response { VIRTIO_SCSI_RESPONSES(VIRTIO_SCSI_ENUM_RESPONSE) };

enum virtio_scsi_ctrl_type { VIRTIO_SCSI_T_TMF = 0, VIRTIO_SCSI_T_AN_QUERY = 1, VIRTIO_SCSI_T_AN_SUBSCRIBE = 2 };
#define VIRTIO_SCSI_TMFS(X) \
	X(0, ABORT_TASK,         "abort task")         \
	X(1, ABORT_TASK_SET,     "abort task set")     \
	X(2, CLEAR_ACA,          "clear ACA")          \
	X(3, CLEAR_TASK_SET,     "clear task set")     \
	X(4, I_T_NEXUS_RESET,    "I_T nexus reset")    \
	X(5, LOGICAL_UNIT_RESET, "logical unit reset") \
	X(6, QUERY_TASK,         "query task")         \
	X(7, QUERY_TASK_SET,     "query task set")
#define VIRTIO_SCSI_ENUM_TMF(code, name, text) VIRTIO_SCSI_T_TMF_##name = code,
enum virtio_scsi_tmf { VIRTIO_SCSI_TMFS(VIRTIO_SCSI_ENUM_TMF) };
struct virtio_scsi_ctrl_tmf_req {
	le32 type;
	le32 subtype;
	uint8_t lun[8];
	le64 tag;
};
WIRE_SIZE(struct virtio_scsi_ctrl_tmf_req, 24);
struct virtio_scsi_ctrl_tmf_resp { uint8_t response; };
WIRE_SIZE(struct virtio_scsi_ctrl_tmf_resp, 1);
struct virtio_scsi_ctrl_an_req {
	le32 type;
	uint8_t lun[8];
	le32 event_requested;
};
WIRE_SIZE(struct virtio_scsi_ctrl_an_req, 16);
struct virtio_scsi_ctrl_an_resp {
	le32 event_actual;
	uint8_t response;
};
WIRE_SIZE(struct virtio_scsi_ctrl_an_resp, 5);

#define VIRTIO_SCSI_T_EVENTS_MISSED 0x80000000u
enum virtio_scsi_event_type {
	VIRTIO_SCSI_T_NO_EVENT = 0, VIRTIO_SCSI_T_TRANSPORT_RESET = 1, VIRTIO_SCSI_T_ASYNC_NOTIFY = 2,
	VIRTIO_SCSI_T_PARAM_CHANGE = 3,
};
enum virtio_scsi_event_reset {
	VIRTIO_SCSI_EVT_RESET_HARD = 0, VIRTIO_SCSI_EVT_RESET_RESCAN = 1, VIRTIO_SCSI_EVT_RESET_REMOVED = 2,
};
struct virtio_scsi_event {
	le32 event;
	uint8_t lun[8];
	le32 reason;              /* of TRANSPORT_RESET: above; of PARAM_CHANGE: ASC, and ASCQ in bits 8 to 15 */
};
WIRE_SIZE(struct virtio_scsi_event, 16);

/* --- vhost-user: what is in flight, in memory that outlives the back-end --- */

#define VIRTQ_INFLIGHT_VERSION 1u
#define VIRTQ_INFLIGHT_ALIGN 64u      /* of a queue's region: not in the text, but what all back-ends do */

struct virtq_inflight_desc {
	uint8_t inflight;
	uint8_t padding[5];
	le16 next;                /* the last batch: who was used before */
	le64 counter;             /* when it was taken */
};
WIRE_SIZE(struct virtq_inflight_desc, 16);
WIRE_AT(struct virtq_inflight_desc, counter, 8);
struct virtq_inflight {
	le64 features;
	le16 version;             /* 0: nobody used this region yet */
	le16 desc_num;
	le16 last_batch_head;
	le16 used_idx;
	struct virtq_inflight_desc desc[];
};
WIRE_SIZE(struct virtq_inflight, 16);

struct pvirtq_inflight_desc {
	uint8_t inflight;
	uint8_t padding;
	le16 next;
	le16 last;                /* of a head: the last entry of its list, */
	le16 num;                 /* and how many there are */
	le64 counter;
	le16 id;
	le16 flags;
	le32 len;
	le64 addr;
};
WIRE_SIZE(struct pvirtq_inflight_desc, 32);
WIRE_AT(struct pvirtq_inflight_desc, addr, 24);
struct pvirtq_inflight {
	le64 features;
	le16 version;
	le16 desc_num;
	le16 free_head, old_free_head;
	le16 used_idx, old_used_idx;
	uint8_t used_wrap_counter, old_used_wrap_counter;
	uint8_t padding[10];      /* 7 in the text, and what aligns the next */
	struct pvirtq_inflight_desc desc[];
};
WIRE_SIZE(struct pvirtq_inflight, 32);
WIRE_AT(struct pvirtq_inflight, used_wrap_counter, 20);

#endif
