/* SPDX-License-Identifier: BSD-3-Clause */
/* scsi.h: SCSI's codes and layouts: opcodes, statuses, sense, unit attentions, and what transports say about tasks.
 *
 * SPC-5, SBC-4, SAM-5. All integers are big-endian. CDBs are read as bytes, scsi_u16(cdb + 7), as the standards'
 * tables number them.
 */
#ifndef WIRE_SCSI_H
#define WIRE_SCSI_H

#include "wire/layout.h"

/* --- integers at any byte --------------------------------------------------------------------------------- */

static inline uint16_t scsi_u16(const uint8_t *p) { return (uint16_t)(p[0] << 8 | p[1]); }
static inline uint32_t scsi_u24(const uint8_t *p) { return (uint32_t)p[0] << 16 | scsi_u16(p + 1); }
static inline uint32_t scsi_u32(const uint8_t *p) { return (uint32_t)scsi_u16(p) << 16 | scsi_u16(p + 2); }
static inline uint64_t scsi_u64(const uint8_t *p) { return (uint64_t)scsi_u32(p) << 32 | scsi_u32(p + 4); }
static inline void scsi_put16(uint8_t *p, uint16_t v) { p[0] = (uint8_t)(v >> 8); p[1] = (uint8_t)v; }
static inline void scsi_put24(uint8_t *p, uint32_t v) { p[0] = (uint8_t)(v >> 16); scsi_put16(p + 1, (uint16_t)v); }
static inline void scsi_put32(uint8_t *p, uint32_t v)
{
	scsi_put16(p, (uint16_t)(v >> 16));
	scsi_put16(p + 2, (uint16_t)v);
}
static inline void scsi_put64(uint8_t *p, uint64_t v)
{
	scsi_put32(p, (uint32_t)(v >> 32));
	scsi_put32(p + 4, (uint32_t)v);
}

/* --- opcodes ---------------------------------------------------------------------------------------------- */

/*        opcode  service action (-1: none)  name                       text */
#define SCSI_OPCODES(X) \
	X(0x00, -1,   TEST_UNIT_READY,           "TEST UNIT READY") \
	X(0x03, -1,   REQUEST_SENSE,             "REQUEST SENSE") \
	X(0x04, -1,   FORMAT_UNIT,               "FORMAT UNIT") \
	X(0x08, -1,   READ_6,                    "READ (6)") \
	X(0x0a, -1,   WRITE_6,                   "WRITE (6)") \
	X(0x12, -1,   INQUIRY,                   "INQUIRY") \
	X(0x15, -1,   MODE_SELECT_6,             "MODE SELECT (6)") \
	X(0x16, -1,   RESERVE_6,                 "RESERVE (6)") \
	X(0x17, -1,   RELEASE_6,                 "RELEASE (6)") \
	X(0x1a, -1,   MODE_SENSE_6,              "MODE SENSE (6)") \
	X(0x1b, -1,   START_STOP_UNIT,           "START STOP UNIT") \
	X(0x1c, -1,   RECEIVE_DIAGNOSTIC,        "RECEIVE DIAGNOSTIC RESULTS") \
	X(0x1d, -1,   SEND_DIAGNOSTIC,           "SEND DIAGNOSTIC") \
	X(0x1e, -1,   PREVENT_ALLOW_REMOVAL,     "PREVENT ALLOW MEDIUM REMOVAL") \
	X(0x25, -1,   READ_CAPACITY_10,          "READ CAPACITY (10)") \
	X(0x28, -1,   READ_10,                   "READ (10)") \
	X(0x2a, -1,   WRITE_10,                  "WRITE (10)") \
	X(0x2e, -1,   WRITE_VERIFY_10,           "WRITE AND VERIFY (10)") \
	X(0x2f, -1,   VERIFY_10,                 "VERIFY (10)") \
	X(0x34, -1,   PREFETCH_10,               "PRE-FETCH (10)") \
	X(0x35, -1,   SYNC_CACHE_10,             "SYNCHRONIZE CACHE (10)") \
	X(0x37, -1,   READ_DEFECT_10,            "READ DEFECT DATA (10)") \
	X(0x3b, -1,   WRITE_BUFFER,              "WRITE BUFFER") \
	X(0x3c, -1,   READ_BUFFER,               "READ BUFFER") \
	X(0x41, -1,   WRITE_SAME_10,             "WRITE SAME (10)") \
	X(0x42, -1,   UNMAP,                     "UNMAP") \
	X(0x48, -1,   SANITIZE,                  "SANITIZE") \
	X(0x4c, -1,   LOG_SELECT,                "LOG SELECT") \
	X(0x4d, -1,   LOG_SENSE,                 "LOG SENSE") \
	X(0x55, -1,   MODE_SELECT_10,            "MODE SELECT (10)") \
	X(0x56, -1,   RESERVE_10,                "RESERVE (10)") \
	X(0x57, -1,   RELEASE_10,                "RELEASE (10)") \
	X(0x5a, -1,   MODE_SENSE_10,             "MODE SENSE (10)") \
	X(0x5e, 0x00, PR_IN_READ_KEYS,           "PERSISTENT RESERVE IN, READ KEYS") \
	X(0x5e, 0x01, PR_IN_READ_RESERVATION,    "PERSISTENT RESERVE IN, READ RESERVATION") \
	X(0x5e, 0x02, PR_IN_REPORT_CAPABILITIES, "PERSISTENT RESERVE IN, REPORT CAPABILITIES") \
	X(0x5e, 0x03, PR_IN_READ_FULL_STATUS,    "PERSISTENT RESERVE IN, READ FULL STATUS") \
	X(0x5f, 0x00, PR_OUT_REGISTER,           "PERSISTENT RESERVE OUT, REGISTER") \
	X(0x5f, 0x01, PR_OUT_RESERVE,            "PERSISTENT RESERVE OUT, RESERVE") \
	X(0x5f, 0x02, PR_OUT_RELEASE,            "PERSISTENT RESERVE OUT, RELEASE") \
	X(0x5f, 0x03, PR_OUT_CLEAR,              "PERSISTENT RESERVE OUT, CLEAR") \
	X(0x5f, 0x04, PR_OUT_PREEMPT,            "PERSISTENT RESERVE OUT, PREEMPT") \
	X(0x5f, 0x05, PR_OUT_PREEMPT_ABORT,      "PERSISTENT RESERVE OUT, PREEMPT AND ABORT") \
	X(0x5f, 0x06, PR_OUT_REGISTER_IGNORE,    "PERSISTENT RESERVE OUT, REGISTER AND IGNORE EXISTING KEY") \
	X(0x5f, 0x07, PR_OUT_REGISTER_MOVE,      "PERSISTENT RESERVE OUT, REGISTER AND MOVE") \
	X(0x5f, 0x08, PR_OUT_REPLACE_LOST,       "PERSISTENT RESERVE OUT, REPLACE LOST RESERVATION") \
	X(0x83, 0x00, EXTENDED_COPY_LID1,        "EXTENDED COPY (LID1)") \
	X(0x84, 0x00, COPY_STATUS_LID1,          "RECEIVE COPY STATUS (LID1)") \
	X(0x84, 0x01, COPY_DATA_LID1,            "RECEIVE COPY DATA (LID1)") \
	X(0x84, 0x03, COPY_PARAMETERS,           "RECEIVE COPY OPERATING PARAMETERS") \
	X(0x84, 0x04, COPY_FAILURE_LID1,         "RECEIVE COPY FAILURE DETAILS (LID1)") \
	X(0x88, -1,   READ_16,                   "READ (16)") \
	X(0x89, -1,   COMPARE_AND_WRITE,         "COMPARE AND WRITE") \
	X(0x8a, -1,   WRITE_16,                  "WRITE (16)") \
	X(0x8b, -1,   ORWRITE_16,                "ORWRITE (16)") \
	X(0x8e, -1,   WRITE_VERIFY_16,           "WRITE AND VERIFY (16)") \
	X(0x8f, -1,   VERIFY_16,                 "VERIFY (16)") \
	X(0x90, -1,   PREFETCH_16,               "PRE-FETCH (16)") \
	X(0x91, -1,   SYNC_CACHE_16,             "SYNCHRONIZE CACHE (16)") \
	X(0x93, -1,   WRITE_SAME_16,             "WRITE SAME (16)") \
	X(0x9c, -1,   WRITE_ATOMIC_16,           "WRITE ATOMIC (16)") \
	X(0x9e, 0x10, READ_CAPACITY_16,          "READ CAPACITY (16)") \
	X(0x9e, 0x12, GET_LBA_STATUS_16,         "GET LBA STATUS (16)") \
	X(0xa0, -1,   REPORT_LUNS,               "REPORT LUNS") \
	X(0xa3, 0x05, REPORT_IDENTIFYING_INFO,   "REPORT IDENTIFYING INFORMATION") \
	X(0xa3, 0x0a, REPORT_TARGET_GROUPS,      "REPORT TARGET PORT GROUPS") \
	X(0xa3, 0x0c, REPORT_OPCODES,            "REPORT SUPPORTED OPERATION CODES") \
	X(0xa3, 0x0d, REPORT_TMFS,               "REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS") \
	X(0xa3, 0x0f, REPORT_TIMESTAMP,          "REPORT TIMESTAMP") \
	X(0xa4, 0x0a, SET_TARGET_GROUPS,         "SET TARGET PORT GROUPS") \
	X(0xa8, -1,   READ_12,                   "READ (12)") \
	X(0xaa, -1,   WRITE_12,                  "WRITE (12)") \
	X(0xae, -1,   WRITE_VERIFY_12,           "WRITE AND VERIFY (12)") \
	X(0xaf, -1,   VERIFY_12,                 "VERIFY (12)")
/* SCSI_OP_READ_10: the opcode; SCSI_SA_READ_CAPACITY_16: the service action, in the low five bits of byte 1. */
#define SCSI_OP_ENUM(opcode, sa, name, text) SCSI_OP_##name = (opcode), SCSI_SA_##name = (sa),
enum scsi_op { SCSI_OPCODES(SCSI_OP_ENUM) };

#define SCSI_CONTROL_NACA 0x04u        /* last byte of a CDB */

/* --- status and sense ------------------------------------------------------------------------------------- */

enum scsi_status {
	SCSI_GOOD = 0x00, SCSI_CHECK_CONDITION = 0x02, SCSI_CONDITION_MET = 0x04, SCSI_BUSY = 0x08,
	SCSI_RESERVATION_CONFLICT = 0x18, SCSI_TASK_SET_FULL = 0x28, SCSI_ACA_ACTIVE = 0x30, SCSI_TASK_ABORTED = 0x40,
};

enum scsi_key {
	SCSI_NO_SENSE, SCSI_RECOVERED_ERROR, SCSI_NOT_READY, SCSI_MEDIUM_ERROR, SCSI_HARDWARE_ERROR, SCSI_ILLEGAL_REQUEST,
	SCSI_UNIT_ATTENTION, SCSI_DATA_PROTECT, SCSI_BLANK_CHECK, SCSI_VENDOR_KEY, SCSI_COPY_ABORTED,
	SCSI_ABORTED_COMMAND, SCSI_VOLUME_OVERFLOW = 0xd, SCSI_MISCOMPARE, SCSI_COMPLETED,
};

/* Additional sense code and qualifier, as one number: ASC in the high byte. */
/*        code    name                            text */
#define SCSI_ASCS(X) \
	X(0x0000, NONE,                           "no additional sense information") \
	X(0x0016, OPERATION_IN_PROGRESS,          "operation in progress") \
	X(0x0402, INIT_COMMAND_REQUIRED,          "not ready, initializing command required") \
	X(0x040a, ALUA_TRANSITION,                "not ready, asymmetric access state transition") \
	X(0x040b, ALUA_STANDBY,                   "not ready, target port in standby state") \
	X(0x040c, ALUA_UNAVAILABLE,               "not ready, target port in unavailable state") \
	X(0x0412, OFFLINE,                        "not ready, offline") \
	X(0x0c00, WRITE_ERROR,                    "write error") \
	X(0x0c0c, UNEXPECTED_UNSOLICITED_DATA,    "write error, unexpected unsolicited data") \
	X(0x0c0d, NOT_ENOUGH_UNSOLICITED_DATA,    "write error, not enough unsolicited data") \
	X(0x0d00, COPY_ERROR,                     "error detected by third party temporary initiator") \
	X(0x0d02, COPY_TARGET_NOT_REACHABLE,      "copy target device not reachable") \
	X(0x0d04, COPY_TARGET_UNDERRUN,           "copy target device data underrun") \
	X(0x0e03, INVALID_FIELD_IN_CIU,           "invalid field in command information unit") \
	X(0x1001, GUARD_CHECK,                    "logical block guard check failed") \
	X(0x1002, APPTAG_CHECK,                   "logical block application tag check failed") \
	X(0x1003, REFTAG_CHECK,                   "logical block reference tag check failed") \
	X(0x1100, READ_ERROR,                     "unrecovered read error") \
	X(0x1a00, PARAMETER_LIST_LENGTH,          "parameter list length error") \
	X(0x1d00, MISCOMPARE_DURING_VERIFY,       "miscompare during verify operation") \
	X(0x2000, INVALID_OPCODE,                 "invalid command operation code") \
	X(0x2100, LBA_OUT_OF_RANGE,               "logical block address out of range") \
	X(0x2400, INVALID_FIELD_IN_CDB,           "invalid field in CDB") \
	X(0x2500, LUN_NOT_SUPPORTED,              "logical unit not supported") \
	X(0x2600, INVALID_FIELD_IN_PARAMETERS,    "invalid field in parameter list") \
	X(0x2604, INVALID_RELEASE,                "invalid release of persistent reservation") \
	X(0x2606, TOO_MANY_TARGET_DESCRIPTORS,    "too many target descriptors") \
	X(0x2607, UNSUPPORTED_TARGET_DESCRIPTOR,  "unsupported target descriptor type code") \
	X(0x2608, TOO_MANY_SEGMENT_DESCRIPTORS,   "too many segment descriptors") \
	X(0x2609, UNSUPPORTED_SEGMENT_DESCRIPTOR, "unsupported segment descriptor type code") \
	X(0x260a, UNEXPECTED_INEXACT_SEGMENT,     "unexpected inexact segment") \
	X(0x260b, INLINE_DATA_LENGTH,             "inline data length exceeded") \
	X(0x260c, COPY_INVALID_OPERATION,         "invalid operation for copy source or destination") \
	X(0x2700, WRITE_PROTECTED,                "write protected") \
	X(0x2702, SOFTWARE_WRITE_PROTECTED,       "logical unit software write protected") \
	X(0x2707, SPACE_ALLOCATION_FAILED,        "space allocation failed write protect") \
	X(0x2900, POWER_ON,                       "power on, reset, or bus device reset occurred") \
	X(0x2901, POWER_ON_OCCURRED,              "power on occurred") \
	X(0x2902, BUS_RESET,                      "SCSI bus reset occurred") \
	X(0x2903, DEVICE_RESET,                   "bus device reset function occurred") \
	X(0x2907, NEXUS_LOSS,                     "I_T nexus loss occurred") \
	X(0x2a01, MODE_PARAMETERS_CHANGED,        "mode parameters changed") \
	X(0x2a03, RESERVATIONS_PREEMPTED,         "reservations preempted") \
	X(0x2a04, RESERVATIONS_RELEASED,          "reservations released") \
	X(0x2a05, REGISTRATIONS_PREEMPTED,        "registrations preempted") \
	X(0x2a06, ALUA_CHANGED,                   "asymmetric access state changed") \
	X(0x2a07, ALUA_IMPLICIT_FAILED,           "implicit asymmetric access state transition failed") \
	X(0x2a09, CAPACITY_CHANGED,               "capacity data has changed") \
	X(0x2a10, TIMESTAMP_CHANGED,              "timestamp changed") \
	X(0x2c00, COMMAND_SEQUENCE,               "command sequence error") \
	X(0x2e02, COMMAND_TIMEOUT,                "command timeout during processing") \
	X(0x2f00, COMMANDS_CLEARED,               "commands cleared by another initiator") \
	X(0x3900, SAVING_NOT_SUPPORTED,           "saving parameters not supported") \
	X(0x3a00, MEDIUM_NOT_PRESENT,             "medium not present") \
	X(0x3f03, INQUIRY_CHANGED,                "INQUIRY data has changed") \
	X(0x3f0e, REPORTED_LUNS_CHANGED,          "reported LUNs data has changed") \
	X(0x4400, INTERNAL_FAILURE,               "internal target failure") \
	X(0x4705, PROTOCOL_CRC,                   "protocol service CRC error") \
	X(0x4b00, DATA_PHASE,                     "data phase error") \
	X(0x5300, LOAD_EJECT_FAILED,              "media load or eject failed") \
	X(0x5302, REMOVAL_PREVENTED,              "medium removal prevented") \
	X(0x5500, SYSTEM_RESOURCE,                "system resource failure") \
	X(0x5503, INSUFFICIENT_RESOURCES,         "insufficient resources") \
	X(0x5504, INSUFFICIENT_REGISTRATIONS,     "insufficient registration resources") \
	X(0x670a, SET_GROUPS_FAILED,              "set target port groups command failed")
#define SCSI_ASC_ENUM(code, name, text) SCSI_ASC_##name = (code),
enum scsi_asc { SCSI_ASCS(SCSI_ASC_ENUM) };

/* Fixed format, 18 bytes. */
struct scsi_sense_fixed {
	uint8_t code;                      /* 70h: current; | 80h: information is valid */
	uint8_t obsolete;
	uint8_t key;                       /* | flags 20h: ILI, 40h: EOM, 80h: FILEMARK */
	be32 information;
	uint8_t additional_len;            /* 10: of what follows */
	be32 command_specific;
	uint8_t asc, ascq, fru;
	uint8_t key_specific[3];           /* SCSI_SKS_* */
};
WIRE_SIZE(struct scsi_sense_fixed, 18);
WIRE_AT(struct scsi_sense_fixed, asc, 12);

/* Descriptor format: header, then descriptors of type and length. */
struct scsi_sense_desc {
	uint8_t code;                      /* 72h: current */
	uint8_t key, asc, ascq, flags, reserved[2];
	uint8_t additional_len;
};
WIRE_SIZE(struct scsi_sense_desc, 8);
struct scsi_sense_information {
	uint8_t type, additional_len;      /* 00h, 0Ah */
	uint8_t valid;                     /* 80h */
	uint8_t reserved;
	be64 information;
};
WIRE_SIZE(struct scsi_sense_information, 12);
struct scsi_sense_command_specific {
	uint8_t type, additional_len;      /* 01h, 0Ah */
	uint8_t reserved[2];
	be64 information;
};
WIRE_SIZE(struct scsi_sense_command_specific, 12);
struct scsi_sense_key_specific {
	uint8_t type, additional_len;      /* 02h, 06h */
	uint8_t reserved[2];
	uint8_t key_specific[3];
	uint8_t reserved2;
};
WIRE_SIZE(struct scsi_sense_key_specific, 8);
#define SCSI_SENSE_FIXED 0x70u
#define SCSI_SENSE_DESC 0x72u
#define SCSI_SENSE_VALID 0x80u
#define SCSI_SKS_VALID 0x80u           /* first byte of key_specific */
#define SCSI_SKS_CDB 0x40u             /* the field pointer points into the CDB, not into the parameter list */
#define SCSI_SKS_BIT 0x08u             /* the low three bits say which bit */

/* --- tasks ------------------------------------------------------------------------------------------------ */

/* As in iSCSI's ATTR field. */
enum scsi_attr { SCSI_ATTR_UNTAGGED, SCSI_ATTR_SIMPLE, SCSI_ATTR_ORDERED, SCSI_ATTR_HEAD, SCSI_ATTR_ACA };

/* Protocol identifiers of SPC. */
enum scsi_protocol { SCSI_PROTOCOL_FCP = 0, SCSI_PROTOCOL_SRP = 4, SCSI_PROTOCOL_ISCSI = 5, SCSI_PROTOCOL_SAS = 6,
	SCSI_PROTOCOL_NONE = 0xf };

/* Asymmetric access states. */
enum scsi_alua {
	SCSI_ALUA_OPTIMIZED, SCSI_ALUA_NONOPTIMIZED, SCSI_ALUA_STANDBY, SCSI_ALUA_UNAVAILABLE, SCSI_ALUA_OFFLINE = 0xe,
	SCSI_ALUA_TRANSITIONING = 0xf,
};

/* --- LUNs: eight bytes on the wire, here one number ------------------------------------------------------- */

/* A single-level LUN; UINT32_MAX: of a form that no device of ours has. */
static inline uint32_t scsi_lun_number(uint64_t lun)
{
	uint32_t first = (uint32_t)(lun >> 48);

	if (lun << 16)
		return UINT32_MAX;
	if (first >> 14 == 0)              /* peripheral device, bus 0 */
		return first & 0x3f00 ? UINT32_MAX : first;
	return first >> 14 == 1 ? first & 0x3fff : UINT32_MAX; /* flat space */
}

static inline uint64_t scsi_lun_wire(uint32_t number)
{
	return (uint64_t)(number < 256 ? number : 0x4000 | number) << 48;
}

#endif
