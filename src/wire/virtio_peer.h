/* SPDX-License-Identifier: BSD-3-Clause */
/* virtio_peer.h: what virtio_test.c compares with Linux's headers. Theirs are macros of our names: the two cannot be
 * seen by one translation unit, and both expand these lists, each beside its own definitions.
 */
#ifndef WIRE_VIRTIO_PEER_H
#define WIRE_VIRTIO_PEER_H

#include <stddef.h>

struct virtio_fact {
	const char *what;
	unsigned long value;
};

#define VIRTIO_PEER_CODES(X) \
	X(VIRTIO_RING_F_INDIRECT_DESC) X(VIRTIO_RING_F_EVENT_IDX) X(VIRTIO_F_VERSION_1) X(VIRTIO_F_ACCESS_PLATFORM) \
	X(VIRTIO_F_RING_PACKED) X(VIRTIO_F_IN_ORDER) X(VIRTIO_F_ORDER_PLATFORM) X(VIRTIO_F_SR_IOV) \
	X(VIRTIO_F_RING_RESET) X(VIRTIO_F_NOTIFY_ON_EMPTY) X(VIRTIO_CONFIG_S_ACKNOWLEDGE) X(VIRTIO_CONFIG_S_DRIVER) \
	X(VIRTIO_CONFIG_S_DRIVER_OK) X(VIRTIO_CONFIG_S_FEATURES_OK) X(VIRTIO_CONFIG_S_NEEDS_RESET) \
	X(VIRTIO_CONFIG_S_FAILED) X(VIRTIO_ID_BLOCK) X(VIRTIO_ID_SCSI) \
	X(VIRTIO_BLK_F_BARRIER) X(VIRTIO_BLK_F_SIZE_MAX) X(VIRTIO_BLK_F_SEG_MAX) X(VIRTIO_BLK_F_GEOMETRY) \
	X(VIRTIO_BLK_F_RO) X(VIRTIO_BLK_F_BLK_SIZE) X(VIRTIO_BLK_F_SCSI) X(VIRTIO_BLK_F_FLUSH) \
	X(VIRTIO_BLK_F_TOPOLOGY) X(VIRTIO_BLK_F_CONFIG_WCE) X(VIRTIO_BLK_F_MQ) X(VIRTIO_BLK_F_DISCARD) \
	X(VIRTIO_BLK_F_WRITE_ZEROES) X(VIRTIO_BLK_F_SECURE_ERASE) X(VIRTIO_BLK_T_IN) X(VIRTIO_BLK_T_OUT) \
	X(VIRTIO_BLK_T_FLUSH) X(VIRTIO_BLK_T_GET_ID) X(VIRTIO_BLK_T_DISCARD) X(VIRTIO_BLK_T_WRITE_ZEROES) \
	X(VIRTIO_BLK_T_SECURE_ERASE) X(VIRTIO_BLK_S_OK) X(VIRTIO_BLK_S_IOERR) X(VIRTIO_BLK_S_UNSUPP) \
	X(VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP) X(VIRTIO_BLK_ID_BYTES) \
	X(VIRTIO_SCSI_F_INOUT) X(VIRTIO_SCSI_F_HOTPLUG) X(VIRTIO_SCSI_F_CHANGE) X(VIRTIO_SCSI_F_T10_PI) \
	X(VIRTIO_SCSI_S_OK) X(VIRTIO_SCSI_S_OVERRUN) X(VIRTIO_SCSI_S_ABORTED) X(VIRTIO_SCSI_S_BAD_TARGET) \
	X(VIRTIO_SCSI_S_RESET) X(VIRTIO_SCSI_S_BUSY) X(VIRTIO_SCSI_S_TRANSPORT_FAILURE) \
	X(VIRTIO_SCSI_S_TARGET_FAILURE) X(VIRTIO_SCSI_S_NEXUS_FAILURE) X(VIRTIO_SCSI_S_FAILURE) \
	X(VIRTIO_SCSI_S_FUNCTION_SUCCEEDED) X(VIRTIO_SCSI_S_FUNCTION_REJECTED) X(VIRTIO_SCSI_S_INCORRECT_LUN) \
	X(VIRTIO_SCSI_T_TMF) X(VIRTIO_SCSI_T_AN_QUERY) X(VIRTIO_SCSI_T_AN_SUBSCRIBE) \
	X(VIRTIO_SCSI_T_TMF_ABORT_TASK) X(VIRTIO_SCSI_T_TMF_ABORT_TASK_SET) X(VIRTIO_SCSI_T_TMF_CLEAR_ACA) \
	X(VIRTIO_SCSI_T_TMF_CLEAR_TASK_SET) X(VIRTIO_SCSI_T_TMF_I_T_NEXUS_RESET) \
	X(VIRTIO_SCSI_T_TMF_LOGICAL_UNIT_RESET) X(VIRTIO_SCSI_T_TMF_QUERY_TASK) X(VIRTIO_SCSI_T_TMF_QUERY_TASK_SET) \
	X(VIRTIO_SCSI_T_EVENTS_MISSED) X(VIRTIO_SCSI_T_NO_EVENT) X(VIRTIO_SCSI_T_TRANSPORT_RESET) \
	X(VIRTIO_SCSI_T_ASYNC_NOTIFY) X(VIRTIO_SCSI_T_PARAM_CHANGE) X(VIRTIO_SCSI_EVT_RESET_HARD) \
	X(VIRTIO_SCSI_EVT_RESET_RESCAN) X(VIRTIO_SCSI_EVT_RESET_REMOVED) X(VIRTIO_SCSI_S_SIMPLE) \
	X(VIRTIO_SCSI_S_ORDERED) X(VIRTIO_SCSI_S_HEAD) X(VIRTIO_SCSI_S_ACA) X(VIRTIO_SCSI_CDB_DEFAULT_SIZE) \
	X(VIRTIO_SCSI_SENSE_DEFAULT_SIZE)

/*       ours                  theirs */
#define VIRTIO_PEER_RENAMED(X) \
	X(VIRTQ_DESC_F_NEXT,         VRING_DESC_F_NEXT)               X(VIRTQ_DESC_F_WRITE,    VRING_DESC_F_WRITE) \
	X(VIRTQ_DESC_F_INDIRECT,     VRING_DESC_F_INDIRECT) \
	X(VIRTQ_DESC_F_AVAIL,        1 << VRING_PACKED_DESC_F_AVAIL) \
	X(VIRTQ_DESC_F_USED,         1 << VRING_PACKED_DESC_F_USED) \
	X(VIRTQ_AVAIL_F_NO_INTERRUPT, VRING_AVAIL_F_NO_INTERRUPT)     X(VIRTQ_USED_F_NO_NOTIFY, VRING_USED_F_NO_NOTIFY) \
	X(RING_EVENT_FLAGS_ENABLE,   VRING_PACKED_EVENT_FLAG_ENABLE) \
	X(RING_EVENT_FLAGS_DISABLE,  VRING_PACKED_EVENT_FLAG_DISABLE) \
	X(RING_EVENT_FLAGS_DESC,     VRING_PACKED_EVENT_FLAG_DESC) \
	X(RING_EVENT_WRAP_SHIFT,     VRING_PACKED_EVENT_F_WRAP_CTR) \
	X(VIRTQ_AVAIL_ALIGN,         VRING_AVAIL_ALIGN_SIZE)          X(VIRTQ_USED_ALIGN,      VRING_USED_ALIGN_SIZE) \
	X(VIRTQ_DESC_ALIGN,          VRING_DESC_ALIGN_SIZE)

/*      type (ours, theirs)                   fields */
#define VIRTIO_PEER_RING_FIELDS(X) \
	X(virtq_desc, vring_desc, addr) X(virtq_desc, vring_desc, len) X(virtq_desc, vring_desc, flags) \
	X(virtq_desc, vring_desc, next) X(virtq_avail, vring_avail, flags) X(virtq_avail, vring_avail, idx) \
	X(virtq_used_elem, vring_used_elem, id) X(virtq_used_elem, vring_used_elem, len) \
	X(virtq_used, vring_used, flags) X(virtq_used, vring_used, idx) \
	X(pvirtq_desc, vring_packed_desc, addr) X(pvirtq_desc, vring_packed_desc, len) \
	X(pvirtq_desc, vring_packed_desc, id) X(pvirtq_desc, vring_packed_desc, flags)
#define VIRTIO_PEER_FIELDS(X) \
	X(virtio_blk_config, capacity) X(virtio_blk_config, size_max) X(virtio_blk_config, seg_max) \
	X(virtio_blk_config, geometry) X(virtio_blk_config, blk_size) X(virtio_blk_config, physical_block_exp) \
	X(virtio_blk_config, alignment_offset) X(virtio_blk_config, min_io_size) X(virtio_blk_config, opt_io_size) \
	X(virtio_blk_config, wce) X(virtio_blk_config, num_queues) X(virtio_blk_config, max_discard_sectors) \
	X(virtio_blk_config, max_discard_seg) X(virtio_blk_config, discard_sector_alignment) \
	X(virtio_blk_config, max_write_zeroes_sectors) X(virtio_blk_config, max_write_zeroes_seg) \
	X(virtio_blk_config, write_zeroes_may_unmap) X(virtio_blk_outhdr, type) X(virtio_blk_outhdr, ioprio) \
	X(virtio_blk_outhdr, sector) X(virtio_blk_discard_write_zeroes, sector) \
	X(virtio_blk_discard_write_zeroes, num_sectors) X(virtio_blk_discard_write_zeroes, flags) \
	X(virtio_scsi_config, num_queues) X(virtio_scsi_config, seg_max) X(virtio_scsi_config, max_sectors) \
	X(virtio_scsi_config, cmd_per_lun) X(virtio_scsi_config, event_info_size) X(virtio_scsi_config, sense_size) \
	X(virtio_scsi_config, cdb_size) X(virtio_scsi_config, max_channel) X(virtio_scsi_config, max_target) \
	X(virtio_scsi_config, max_lun) X(virtio_scsi_cmd_req, lun) X(virtio_scsi_cmd_req, tag) \
	X(virtio_scsi_cmd_req, task_attr) X(virtio_scsi_cmd_req, prio) X(virtio_scsi_cmd_req, crn) \
	X(virtio_scsi_cmd_req, cdb) X(virtio_scsi_cmd_req_pi, pi_bytesout) X(virtio_scsi_cmd_req_pi, pi_bytesin) \
	X(virtio_scsi_cmd_req_pi, cdb) X(virtio_scsi_cmd_resp, sense_len) X(virtio_scsi_cmd_resp, resid) \
	X(virtio_scsi_cmd_resp, status_qualifier) X(virtio_scsi_cmd_resp, status) X(virtio_scsi_cmd_resp, response) \
	X(virtio_scsi_cmd_resp, sense) X(virtio_scsi_ctrl_tmf_req, type) X(virtio_scsi_ctrl_tmf_req, subtype) \
	X(virtio_scsi_ctrl_tmf_req, lun) X(virtio_scsi_ctrl_tmf_req, tag) X(virtio_scsi_ctrl_an_req, type) \
	X(virtio_scsi_ctrl_an_req, lun) X(virtio_scsi_ctrl_an_req, event_requested) \
	X(virtio_scsi_ctrl_an_resp, event_actual) X(virtio_scsi_ctrl_an_resp, response) X(virtio_scsi_event, event) \
	X(virtio_scsi_event, lun) X(virtio_scsi_event, reason)

#define VIRTIO_PEER_CODE(name) { #name, (unsigned long)(name) },
#define VIRTIO_PEER_AT(type, field) { #type "." #field, offsetof(struct type, field) },
#define VIRTIO_PEER_LEN(type, field) { #type "." #field " length", sizeof(((struct type *)0)->field) },

extern const struct virtio_fact virtio_peer_facts[];
extern const size_t virtio_peer_fact_count;

#endif
