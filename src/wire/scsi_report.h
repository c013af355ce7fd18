/* SPDX-License-Identifier: BSD-3-Clause */
/* scsi_report.h: what the REPORT commands and LOG SENSE return, and EXTENDED COPY's parameter list. */
#ifndef WIRE_SCSI_REPORT_H
#define WIRE_SCSI_REPORT_H

#include "wire/layout.h"

/* --- REPORT LUNS --------------------------------------------------------------------------------------- */

struct scsi_report_luns {
	be32 length;             /* of the LUNs */
	be32 rsvd4;
	be64 luns[];
};
WIRE_SIZE(struct scsi_report_luns, 8);
enum scsi_select_report {
	SCSI_SELECT_LUNS = 0x00, SCSI_SELECT_WELL_KNOWN = 0x01, SCSI_SELECT_ALL = 0x02,
	SCSI_SELECT_ADMINISTRATIVE = 0x10, SCSI_SELECT_NON_ADMINISTRATIVE = 0x11, SCSI_SELECT_CONGLOMERATE = 0x12,
};
#define SCSI_LUN_REPORT_LUNS 0xc101000000000000ull /* the well-known logical unit, as on the wire */

/* --- REPORT SUPPORTED OPERATION CODES, ... TASK MANAGEMENT FUNCTIONS ----------------------------------- */

enum scsi_rsoc_options { SCSI_RSOC_ALL = 0, SCSI_RSOC_OPCODE = 1, SCSI_RSOC_SERVICE_ACTION = 2, SCSI_RSOC_EITHER = 3 };
struct scsi_rsoc_command {
	uint8_t opcode;
	uint8_t rsvd1;
	be16 service_action;
	uint8_t rsvd4;
	uint8_t flags;
	be16 cdb_length;
};
WIRE_SIZE(struct scsi_rsoc_command, 8);
enum { SCSI_RSOC_SERVACTV = 1 << 0, SCSI_RSOC_CTDP = 1 << 1 };
struct scsi_rsoc_one {
	uint8_t rsvd0;
	uint8_t support;         /* CTDP in bit 7 */
	be16 cdb_length;
	uint8_t usage[];
};
WIRE_SIZE(struct scsi_rsoc_one, 4);
enum { SCSI_SUPPORT_NONE = 1, SCSI_SUPPORT_STANDARD = 3, SCSI_SUPPORT_CTDP = 1 << 7 };
struct scsi_rsoc_timeouts {
	be16 length;
	uint8_t rsvd2;
	uint8_t command_specific;
	be32 nominal_s, recommended_s; /* 0: not said */
};
WIRE_SIZE(struct scsi_rsoc_timeouts, 12);

struct scsi_rstmf {
	uint8_t functions0, functions1;
	uint8_t rsvd2;
	uint8_t additional_length;
};
WIRE_SIZE(struct scsi_rstmf, 4);
struct scsi_rstmf_extended {
	struct scsi_rstmf h;
	uint8_t tmftmov, rsvd5;
	uint8_t timeouts_valid[2];
	be32 long_timeout, short_timeout; /* 100 ms */
};
WIRE_SIZE(struct scsi_rstmf_extended, 16);
enum {
	SCSI_RSTMF0_ABORT_TASK = 1 << 7, SCSI_RSTMF0_ABORT_TASK_SET = 1 << 6, SCSI_RSTMF0_CLEAR_ACA = 1 << 5,
	SCSI_RSTMF0_CLEAR_TASK_SET = 1 << 4, SCSI_RSTMF0_LU_RESET = 1 << 3, SCSI_RSTMF0_QUERY_TASK = 1 << 2,
	SCSI_RSTMF0_TARGET_RESET = 1 << 1,
	SCSI_RSTMF1_QUERY_EVENT = 1 << 2, SCSI_RSTMF1_QUERY_TASK_SET = 1 << 1, SCSI_RSTMF1_NEXUS_RESET = 1 << 0,
};

/* --- target port groups -------------------------------------------------------------------------------- */

struct scsi_rtpg_extended {
	be32 length;
	uint8_t format;          /* 001b << 4 */
	uint8_t transition_s;
	uint8_t rsvd6[2];
};
WIRE_SIZE(struct scsi_rtpg_extended, 8);
struct scsi_rtpg_group {
	uint8_t state;           /* PREF, enum scsi_alua */
	uint8_t supported;
	be16 group;
	uint8_t rsvd4;
	uint8_t status_code;
	uint8_t vendor;
	uint8_t port_count;
};
WIRE_SIZE(struct scsi_rtpg_group, 8);
struct scsi_rtpg_port {
	be16 rsvd0, relative_id;
};
WIRE_SIZE(struct scsi_rtpg_port, 4);
enum {
	SCSI_RTPG_T_SUP = 1 << 7, SCSI_RTPG_O_SUP = 1 << 6, SCSI_RTPG_LBD_SUP = 1 << 4, SCSI_RTPG_U_SUP = 1 << 3,
	SCSI_RTPG_S_SUP = 1 << 2, SCSI_RTPG_AN_SUP = 1 << 1, SCSI_RTPG_AO_SUP = 1 << 0, SCSI_RTPG_PREF = 1 << 7,
};
enum { SCSI_RTPG_STATUS_NONE = 0, SCSI_RTPG_STATUS_EXPLICIT = 1, SCSI_RTPG_STATUS_IMPLICIT = 2 };
struct scsi_stpg_group {
	uint8_t state;
	uint8_t rsvd1;
	be16 group;
};
WIRE_SIZE(struct scsi_stpg_group, 4);

/* --- LOG SENSE ----------------------------------------------------------------------------------------- */

struct scsi_log_header {
	uint8_t code;            /* DS, SPF, page code */
	uint8_t subpage;
	be16 length;
};
WIRE_SIZE(struct scsi_log_header, 4);
enum { SCSI_LOG_DS = 1 << 7, SCSI_LOG_SPF = 1 << 6, SCSI_LOG_CODE = 0x3f };
enum scsi_log_code {
	SCSI_LOG_SUPPORTED = 0x00,
	SCSI_LOG_STATISTICS = 0x19,
	SCSI_LOG_EXCEPTIONS = 0x2f,
	SCSI_LOG_SUBPAGE_ALL = 0xff,
};
struct scsi_log_parameter {
	be16 code;
	uint8_t control;
	uint8_t length;
};
WIRE_SIZE(struct scsi_log_parameter, 4);
enum { SCSI_LOG_FORMAT_BINARY = 3, SCSI_LOG_FORMAT_COUNTER = 0 };
struct scsi_log_exceptions {
	struct scsi_log_parameter h;
	uint8_t asc, ascq, temperature, vendor;
};
WIRE_SIZE(struct scsi_log_exceptions, 8);
enum { SCSI_LOG_STATISTICS_ACCESS = 1, SCSI_LOG_STATISTICS_INTERVAL = 3 };
struct scsi_log_access {
	struct scsi_log_parameter h;
	be64 reads, writes;
	be64 blocks_received, blocks_sent;
	be64 read_intervals, write_intervals;   /* the time that they took */
	be64 weighted_commands, weighted_intervals;
};
WIRE_SIZE(struct scsi_log_access, 68);
struct scsi_log_interval {
	struct scsi_log_parameter h;
	be32 exponent, integer;  /* integer * 10^-exponent seconds */
};
WIRE_SIZE(struct scsi_log_interval, 12);

/* --- EXTENDED COPY ------------------------------------------------------------------------------------- */

struct scsi_xcopy_lid1 {
	uint8_t list_id;
	uint8_t flags;           /* STR, list id usage << 3, priority */
	be16 cscd_length;
	uint8_t rsvd4[4];
	be32 segments_length;
	be32 inline_length;
};
WIRE_SIZE(struct scsi_xcopy_lid1, 16);
enum { SCSI_XCOPY_ID_USAGE = 3 << 3, SCSI_XCOPY_ID_RESERVED = 1 << 3, SCSI_XCOPY_ID_DISCARD = 2 << 3,
	SCSI_XCOPY_ID_NONE = 3 << 3 };

struct scsi_xcopy_cscd {
	uint8_t type;
	uint8_t flags;           /* LU id type << 6, NUL, device type */
	be16 initiator_port;
	uint8_t code_set, designator_type, rsvd6, designator_length;
	uint8_t designator[20];
	uint8_t pad;
	be24 block_size;
};
WIRE_SIZE(struct scsi_xcopy_cscd, 32);
enum { SCSI_XCOPY_CSCD_ID = 0xe4 };
enum { SCSI_XCOPY_CSCD_SELF = 0xffff }; /* "copy target descriptor": the logical unit that was asked */

struct scsi_xcopy_segment {
	uint8_t type;
	uint8_t flags;           /* DC, CAT */
	be16 length;             /* of what follows it */
	be16 src, dst;           /* indices of CSCD descriptors */
};
WIRE_SIZE(struct scsi_xcopy_segment, 8);
struct scsi_xcopy_b2b {
	struct scsi_xcopy_segment h;
	be16 rsvd8, blocks;
	be64 src_lba, dst_lba;
};
WIRE_SIZE(struct scsi_xcopy_b2b, 28);
struct scsi_xcopy_b2b_offset {
	struct scsi_xcopy_segment h;
	be32 bytes;
	be64 src_lba, dst_lba;
	be16 src_offset, dst_offset;
};
WIRE_SIZE(struct scsi_xcopy_b2b_offset, 32);
enum scsi_xcopy_segment_type { SCSI_XCOPY_B2B = 0x02, SCSI_XCOPY_B2B_OFFSET = 0x0a };
enum { SCSI_XCOPY_DC = 1 << 1 };

/* RECEIVE COPY OPERATING PARAMETERS; the descriptor codes follow. */
struct scsi_copy_parameters {
	be32 length;             /* of what follows it */
	uint8_t snlid;
	uint8_t rsvd5[3];
	be16 cscd_max, segments_max;
	be32 list_length_max;
	be32 segment_length_max;
	be32 inline_length_max;
	be32 held_data_limit;
	be32 stream_length_max;
	be16 rsvd32, copies_total;
	uint8_t copies_max;
	uint8_t segment_granularity, inline_granularity, held_data_granularity; /* log2 */
	uint8_t rsvd40[3];
	uint8_t codes_length;
	uint8_t codes[];
};
WIRE_SIZE(struct scsi_copy_parameters, 44);
struct scsi_copy_status_lid1 {
	be32 length;
	uint8_t status;          /* HDD, copy manager status */
	be16 segments;
	uint8_t units;
	be32 transferred;
};
WIRE_SIZE(struct scsi_copy_status_lid1, 12);
enum { SCSI_COPY_IN_PROGRESS = 0, SCSI_COPY_DONE = 1, SCSI_COPY_FAILED = 2 };
enum { SCSI_COPY_UNITS_BYTES = 0, SCSI_COPY_UNITS_KIB = 1 };

#endif
