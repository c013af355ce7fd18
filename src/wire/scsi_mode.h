/* SPDX-License-Identifier: BSD-3-Clause */
/* scsi_mode.h: mode parameters: headers, block descriptors, pages. */
#ifndef WIRE_SCSI_MODE_H
#define WIRE_SCSI_MODE_H

#include "wire/layout.h"

struct scsi_mode_header6 {
	uint8_t length;          /* of what follows it; reserved in MODE SELECT */
	uint8_t medium_type;
	uint8_t device_specific;
	uint8_t descriptor_length;
};
WIRE_SIZE(struct scsi_mode_header6, 4);
struct scsi_mode_header10 {
	be16 length;
	uint8_t medium_type;
	uint8_t device_specific;
	uint8_t longlba;
	uint8_t rsvd5;
	be16 descriptor_length;
};
WIRE_SIZE(struct scsi_mode_header10, 8);
enum { SCSI_MODE_DPOFUA = 1 << 4, SCSI_MODE_WP = 1 << 7 }; /* device_specific of disks */
enum { SCSI_MODE_LONGLBA = 1 << 0 };

struct scsi_mode_block_short {
	be32 blocks;
	uint8_t rsvd4;
	be24 block_size;
};
WIRE_SIZE(struct scsi_mode_block_short, 8);
struct scsi_mode_block_long {
	be64 blocks;
	be32 rsvd8;
	be32 block_size;
};
WIRE_SIZE(struct scsi_mode_block_long, 16);

/* The first bytes of a page, without and with a subpage. */
struct scsi_mode_page {
	uint8_t code;            /* PS, SPF, page code */
	uint8_t length;
};
struct scsi_mode_subpage {
	uint8_t code, subpage;
	be16 length;
};
enum { SCSI_MODE_PS = 1 << 7, SCSI_MODE_SPF = 1 << 6, SCSI_MODE_CODE = 0x3f };
enum scsi_mode_code {
	SCSI_MODE_ERROR_RECOVERY = 0x01,
	SCSI_MODE_DISCONNECT = 0x02,
	SCSI_MODE_CACHING = 0x08,
	SCSI_MODE_CONTROL = 0x0a,
	SCSI_MODE_EXCEPTIONS = 0x1c,
	SCSI_MODE_ALL = 0x3f,
	SCSI_MODE_SUBPAGE_EXTENSION = 0x01, /* of the control page */
	SCSI_MODE_SUBPAGE_ALL = 0xff,
};
enum scsi_page_control { SCSI_PC_CURRENT, SCSI_PC_CHANGEABLE, SCSI_PC_DEFAULT, SCSI_PC_SAVED };

struct scsi_mode_error_recovery {
	struct scsi_mode_page h;
	uint8_t flags2;          /* AWRE, ARRE, ... DCR */
	uint8_t read_retries;
	uint8_t rsvd4[3];
	uint8_t flags7;
	uint8_t write_retries;
	uint8_t rsvd9;
	be16 recovery_ms;
};
WIRE_SIZE(struct scsi_mode_error_recovery, 12);
enum { SCSI_RER2_ARRE = 1 << 6, SCSI_RER2_AWRE = 1 << 7 };

struct scsi_mode_disconnect {
	struct scsi_mode_page h;
	uint8_t buffer_full, buffer_empty;
	be16 inactivity_limit, disconnect_limit, connect_limit, burst_max;
	uint8_t flags12;
	uint8_t rsvd13;
	be16 first_burst;
};
WIRE_SIZE(struct scsi_mode_disconnect, 16);

struct scsi_mode_caching {
	struct scsi_mode_page h;
	uint8_t flags2;
	uint8_t retention;
	be16 prefetch_disable, prefetch_min, prefetch_max, prefetch_ceiling;
	uint8_t flags12;
	uint8_t segments;
	be16 segment_size;
	uint8_t rsvd16[4];
};
WIRE_SIZE(struct scsi_mode_caching, 20);
enum { SCSI_CACHING2_RCD = 1 << 0, SCSI_CACHING2_WCE = 1 << 2 };
enum { SCSI_CACHING12_DRA = 1 << 5 };

struct scsi_mode_control {
	struct scsi_mode_page h;
	uint8_t flags2;          /* TST << 5, TMF_ONLY, DPICZ, D_SENSE, GLTSD, RLEC */
	uint8_t flags3;          /* queue algorithm modifier << 4, NUAR, QERR << 1 */
	uint8_t flags4;          /* RAC, UA_INTLCK << 4, SWP */
	uint8_t flags5;          /* ATO, TAS, ATMPE, RWWP, autoload */
	uint8_t rsvd6[2];
	be16 busy_timeout, self_test_seconds;
};
WIRE_SIZE(struct scsi_mode_control, 12);
enum { SCSI_CONTROL2_TST = 7 << 5, SCSI_CONTROL2_TST_NEXUS = 1 << 5, SCSI_CONTROL2_D_SENSE = 1 << 2,
	SCSI_CONTROL2_GLTSD = 1 << 1 };
enum { SCSI_CONTROL3_REORDER = 1 << 4, SCSI_CONTROL3_QERR = 3 << 1, SCSI_CONTROL3_QERR_SHIFT = 1 };
enum { SCSI_CONTROL4_SWP = 1 << 3, SCSI_CONTROL4_UA_INTLCK = 3 << 4, SCSI_CONTROL4_UA_INTLCK_SHIFT = 4 };
enum { SCSI_CONTROL5_TAS = 1 << 6 };

struct scsi_mode_control_ext {
	struct scsi_mode_subpage h;
	uint8_t flags4;          /* TCMOS, SCSIP, IALUAE */
	uint8_t priority;
	uint8_t sense_length_max;
	uint8_t rsvd7[25];
};
WIRE_SIZE(struct scsi_mode_control_ext, 32);
enum { SCSI_CONTROL_EXT4_IALUAE = 1 << 0 };

struct scsi_mode_exceptions {
	struct scsi_mode_page h;
	uint8_t flags2;
	uint8_t mrie;
	be32 interval, report_count;
};
WIRE_SIZE(struct scsi_mode_exceptions, 12);
enum { SCSI_EXCEPTIONS2_DEXCPT = 1 << 3 };

#endif
