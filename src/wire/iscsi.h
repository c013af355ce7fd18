/* SPDX-License-Identifier: BSD-3-Clause */
/* iscsi.h: iSCSI's PDUs (RFC 7143): layouts, codes, and checks of what an initiator sent.
 *
 * A PDU is a basic header of 48 bytes, additional headers, header digest, data, padding to four bytes, data digest.
 * The basic header is checked when it has arrived whole, before anything of its lengths is believed: fields in the
 * order in which they lie, the first wrong one is named. Additional headers and Data-Out's place in its transfer are
 * checked when they are known. All are pure functions.
 *
 * Reserved bits and fields are not looked at: what a later version puts there is not ours to refuse.
 *
 * Witnesses: Linux (include/scsi/iscsi_proto.h, drivers/target/iscsi), SPDK (include/spdk/iscsi_spec.h), libiscsi.
 */
#ifndef WIRE_ISCSI_H
#define WIRE_ISCSI_H

#include "wire/layout.h"

#define ISCSI_BHS_SIZE 48u
#define ISCSI_DIGEST_SIZE 4u
#define ISCSI_AHS_MAX (255u * 4)           /* bytes of additional headers */
#define ISCSI_SEGMENT_MAX 0xffffffu        /* 24 bits of length */
#define ISCSI_SEGMENT_MIN 512u             /* the least MaxRecvDataSegmentLength, MaxBurstLength, FirstBurstLength */
#define ISCSI_SEGMENT_DEFAULT 8192u        /* MaxRecvDataSegmentLength of who declared none, and during login */
#define ISCSI_TAG_NONE 0xffffffffu         /* no initiator task tag, no target transfer tag */
#define ISCSI_NAME_MAX 223u                /* bytes of an iSCSI name */
#define ISCSI_ALIAS_MAX 255u
#define ISCSI_VERSION 0x00
#define ISCSI_PORT 3260u

/* --- tables ---------------------------------------------------------------------------------------------------- */

/* What an initiator sends. data: DATA: the PDU may have a data segment; AHS: it may have additional headers. */
/*  opcode name      text               may have    in which phase */
#define ISCSI_REQUESTS(X) \
	X(0x00, NOP_OUT,  "NOP-Out",            DATA,       FULL)  \
	X(0x01, COMMAND,  "SCSI Command",       DATA | AHS, FULL)  \
	X(0x02, TMF,      "Task Management",    0,          FULL)  \
	X(0x03, LOGIN,    "Login Request",      DATA,       LOGIN) \
	X(0x04, TEXT,     "Text Request",       DATA,       FULL)  \
	X(0x05, DATA_OUT, "SCSI Data-Out",      DATA,       FULL)  \
	X(0x06, LOGOUT,   "Logout Request",     0,          FULL)  \
	X(0x10, SNACK,    "SNACK Request",      0,          FULL)

/* What a target sends. */
#define ISCSI_ANSWERS(X) \
	X(0x20, NOP_IN,       "NOP-In")                   \
	X(0x21, RESPONSE,     "SCSI Response")            \
	X(0x22, TMF_RSP,      "Task Management Response") \
	X(0x23, LOGIN_RSP,    "Login Response")           \
	X(0x24, TEXT_RSP,     "Text Response")            \
	X(0x25, DATA_IN,      "SCSI Data-In")             \
	X(0x26, LOGOUT_RSP,   "Logout Response")          \
	X(0x31, R2T,          "Ready To Transfer")        \
	X(0x32, ASYNC,        "Asynchronous Message")     \
	X(0x3f, REJECT,       "Reject")

#define ISCSI_ENUM_REQUEST(opcode, name, text, may, phase) ISCSI_OP_##name = opcode,
#define ISCSI_ENUM_ANSWER(opcode, name, text) ISCSI_OP_##name = opcode,
enum iscsi_opcode { ISCSI_REQUESTS(ISCSI_ENUM_REQUEST) ISCSI_ANSWERS(ISCSI_ENUM_ANSWER) };

/* Why a PDU was rejected. */
#define ISCSI_REJECTS(X) \
	X(0x02, DATA_DIGEST,        "Data digest error")                   \
	X(0x03, SNACK,              "SNACK reject")                        \
	X(0x04, PROTOCOL_ERROR,     "Protocol error")                      \
	X(0x05, NOT_SUPPORTED,      "Command not supported")               \
	X(0x06, IMMEDIATE,          "Too many immediate commands")         \
	X(0x07, IN_PROGRESS,        "Task in progress")                    \
	X(0x08, INVALID_DATA_ACK,   "Invalid data ACK")                    \
	X(0x09, INVALID_FIELD,      "Invalid PDU field")                   \
	X(0x0a, LONG_OPERATION,     "Out of resources for a transfer tag") \
	X(0x0b, NEGOTIATION_RESET,  "Negotiation reset")                   \
	X(0x0c, WAITING_FOR_LOGOUT, "Waiting for logout")

#define ISCSI_ENUM_REJECT(code, name, text) ISCSI_REJECT_##name = code,
enum iscsi_reject_reason { ISCSI_REJECT_NONE, ISCSI_REJECTS(ISCSI_ENUM_REJECT) };

/* Login status: class in the high byte, detail in the low one. */
#define ISCSI_LOGIN_STATUSES(X) \
	X(0x0000, SUCCESS,               "success")                         \
	X(0x0101, MOVED_TEMPORARILY,     "target moved temporarily")        \
	X(0x0102, MOVED_PERMANENTLY,     "target moved permanently")        \
	X(0x0200, INITIATOR_ERROR,       "initiator error")                 \
	X(0x0201, AUTH_FAILED,           "authentication failure")          \
	X(0x0202, NOT_AUTHORIZED,        "authorization failure")           \
	X(0x0203, NOT_FOUND,             "target not found")                \
	X(0x0204, REMOVED,               "target removed")                  \
	X(0x0205, BAD_VERSION,           "unsupported version")             \
	X(0x0206, TOO_MANY_CONNECTIONS,  "too many connections")            \
	X(0x0207, MISSING_PARAMETER,     "missing parameter")               \
	X(0x0208, CANNOT_INCLUDE,        "cannot include in session")       \
	X(0x0209, BAD_SESSION_TYPE,      "session type not supported")      \
	X(0x020a, NO_SESSION,            "session does not exist")          \
	X(0x020b, INVALID_REQUEST,       "invalid request during login")    \
	X(0x0300, TARGET_ERROR,          "target error")                    \
	X(0x0301, UNAVAILABLE,           "service unavailable")             \
	X(0x0302, OUT_OF_RESOURCES,      "out of resources")

#define ISCSI_ENUM_LOGIN_STATUS(code, name, text) ISCSI_LOGIN_##name = code,
enum iscsi_login_status { ISCSI_LOGIN_STATUSES(ISCSI_ENUM_LOGIN_STATUS) };

/* Task management functions; from 9 on RFC 7144's, for hosts that negotiated iSCSIProtocolLevel 2. */
#define ISCSI_TMFS(X) \
	X(1,  ABORT_TASK,         "ABORT TASK")         \
	X(2,  ABORT_TASK_SET,     "ABORT TASK SET")     \
	X(3,  CLEAR_ACA,          "CLEAR ACA")          \
	X(4,  CLEAR_TASK_SET,     "CLEAR TASK SET")     \
	X(5,  LU_RESET,           "LOGICAL UNIT RESET") \
	X(6,  TARGET_WARM_RESET,  "TARGET WARM RESET")  \
	X(7,  TARGET_COLD_RESET,  "TARGET COLD RESET")  \
	X(8,  TASK_REASSIGN,      "TASK REASSIGN")      \
	X(9,  QUERY_TASK,         "QUERY TASK")         \
	X(10, QUERY_TASK_SET,     "QUERY TASK SET")     \
	X(11, NEXUS_RESET,        "I_T NEXUS RESET")    \
	X(12, QUERY_ASYNC_EVENT,  "QUERY ASYNCHRONOUS EVENT")

#define ISCSI_ENUM_TMF(code, name, text) ISCSI_TMF_##name = code,
enum iscsi_tmf_function { ISCSI_TMFS(ISCSI_ENUM_TMF) };

#define ISCSI_TMF_RESPONSES(X) \
	X(0,   COMPLETE,        "function complete")                    \
	X(1,   NO_TASK,         "task does not exist")                  \
	X(2,   NO_LUN,          "LUN does not exist")                   \
	X(3,   ALLEGIANT,       "task still allegiant")                 \
	X(4,   NO_REASSIGN,     "task allegiance reassignment not supported") \
	X(5,   NOT_SUPPORTED,   "function not supported")               \
	X(6,   NOT_AUTHORIZED,  "function authorization failed")        \
	X(7,   SUCCEEDED,       "function succeeded") /* RFC 7144 */    \
	X(255, REJECTED,        "function rejected")

#define ISCSI_ENUM_TMF_RESPONSE(code, name, text) ISCSI_TMF_RSP_##name = code,
enum iscsi_tmf_response { ISCSI_TMF_RESPONSES(ISCSI_ENUM_TMF_RESPONSE) };

enum iscsi_async_event {
	ISCSI_ASYNC_SCSI = 0,                /* sense data in the data segment */
	ISCSI_ASYNC_LOGOUT_REQUEST = 1,      /* param3: seconds until it has to come */
	ISCSI_ASYNC_CONNECTION_DROP = 2,     /* param1: CID; param2, param3: Time2Wait, Time2Retain */
	ISCSI_ASYNC_SESSION_DROP = 3,        /* param2, param3: Time2Wait, Time2Retain */
	ISCSI_ASYNC_NEGOTIATE = 4,           /* param3: seconds until the Text Request has to come */
	ISCSI_ASYNC_TASKS_TERMINATED = 5,    /* of a LUN, FastAbort */
	ISCSI_ASYNC_VENDOR = 255,
};

enum iscsi_logout_reason { ISCSI_LOGOUT_SESSION, ISCSI_LOGOUT_CONNECTION, ISCSI_LOGOUT_RECOVERY };
enum iscsi_logout_response {
	ISCSI_LOGOUT_RSP_CLOSED, ISCSI_LOGOUT_RSP_NO_CID, ISCSI_LOGOUT_RSP_NO_RECOVERY, ISCSI_LOGOUT_RSP_CLEANUP_FAILED
};

enum iscsi_response_code { ISCSI_RESPONSE_COMPLETED = 0, ISCSI_RESPONSE_TARGET_FAILURE = 1 };
enum iscsi_snack_type { ISCSI_SNACK_DATA, ISCSI_SNACK_STATUS, ISCSI_SNACK_DATA_ACK, ISCSI_SNACK_R_DATA };

/* Stages of login: CSG, NSG. */
enum iscsi_stage { ISCSI_STAGE_SECURITY = 0, ISCSI_STAGE_OPERATIONAL = 1, ISCSI_STAGE_FULL_FEATURE = 3 };

enum iscsi_session_type { ISCSI_NORMAL, ISCSI_DISCOVERY };

/* Task attributes; wire values. */
enum iscsi_attr {
	ISCSI_ATTR_UNTAGGED, ISCSI_ATTR_SIMPLE, ISCSI_ATTR_ORDERED, ISCSI_ATTR_HEAD_OF_QUEUE, ISCSI_ATTR_ACA
};

enum {
	ISCSI_OPCODE_MASK = 0x3f,            /* byte 0 */
	ISCSI_IMMEDIATE = 0x40,
	/* Byte 1. */
	ISCSI_FINAL = 0x80,                  /* F; always set where a PDU has no use for it */
	ISCSI_READ = 0x40, ISCSI_WRITE = 0x20, ISCSI_ATTR_MASK = 0x07, /* SCSI Command */
	ISCSI_CONTINUE = 0x40,               /* C: login, text */
	ISCSI_TRANSIT = 0x80,                /* T: login */
	ISCSI_CSG_SHIFT = 2, ISCSI_STAGE_MASK = 0x03,
	ISCSI_ACK = 0x40,                    /* A: Data-In */
	ISCSI_STATUS = 0x01,                 /* S: Data-In */
	ISCSI_OVERFLOW = 0x04, ISCSI_UNDERFLOW = 0x02,         /* SCSI Response, Data-In */
	ISCSI_BIDI_OVERFLOW = 0x10, ISCSI_BIDI_UNDERFLOW = 0x08, /* SCSI Response */
	ISCSI_FUNCTION_MASK = 0x7f,          /* task management function, logout reason */
	ISCSI_SNACK_MASK = 0x0f,
};

const char *iscsi_opcode_text(uint8_t opcode);        /* of either side; "reserved" when there is none */
const char *iscsi_reject_text(uint8_t reason);
const char *iscsi_login_status_text(uint16_t status);
const char *iscsi_tmf_text(uint8_t function);
const char *iscsi_tmf_response_text(uint8_t response);

/* --- layouts --------------------------------------------------------------------------------------------------- */

struct iscsi_hdr {                    /* what all have in common */
	uint8_t opcode;               /* with ISCSI_IMMEDIATE */
	uint8_t flags;
	uint8_t specific2[2];
	uint8_t ahs_words;            /* additional headers, in units of four bytes */
	be24 data_len;                /* without padding */
	be64 lun;                     /* or what the kind says */
	be32 itt;
	uint8_t specific20[28];
};

struct iscsi_nop_out {
	uint8_t opcode, flags, rsvd2[2], ahs_words;
	be24 data_len;
	be64 lun;
	be32 itt;                     /* ISCSI_TAG_NONE: no answer is wanted */
	be32 ttt;                     /* of the NOP-In it answers */
	be32 cmd_sn, exp_stat_sn;
	uint8_t rsvd32[16];
};

struct iscsi_nop_in {
	uint8_t opcode, flags, rsvd2[2], ahs_words;
	be24 data_len;
	be64 lun;
	be32 itt, ttt, stat_sn, exp_cmd_sn, max_cmd_sn;
	uint8_t rsvd36[12];
};

struct iscsi_command {
	uint8_t opcode, flags, rsvd2[2], ahs_words;
	be24 data_len;
	be64 lun;
	be32 itt, expected_len, cmd_sn, exp_stat_sn;
	uint8_t cdb[16];
};

struct iscsi_response {
	uint8_t opcode, flags, response, status, ahs_words;
	be24 data_len;                /* be16 length of the sense data, sense data, response data */
	be16 status_qualifier;        /* iSCSIProtocolLevel 2 */
	uint8_t rsvd10[6];
	be32 itt, snack_tag, stat_sn, exp_cmd_sn, max_cmd_sn, exp_data_sn, bidi_residual, residual;
};

struct iscsi_tmf {
	uint8_t opcode, function, rsvd2[2], ahs_words; /* function: with ISCSI_FINAL */
	be24 data_len;
	be64 lun;
	be32 itt, ref_task_tag, cmd_sn, exp_stat_sn, ref_cmd_sn, exp_data_sn;
	uint8_t rsvd40[8];
};

struct iscsi_tmf_rsp {
	uint8_t opcode, flags, response, rsvd3, ahs_words;
	be24 data_len;
	uint8_t rsvd8[8];
	be32 itt, rsvd20, stat_sn, exp_cmd_sn, max_cmd_sn;
	uint8_t rsvd36[12];
};

struct iscsi_data_out {
	uint8_t opcode, flags, rsvd2[2], ahs_words;
	be24 data_len;
	be64 lun;
	be32 itt, ttt, rsvd24, exp_stat_sn, rsvd32, data_sn, offset, rsvd44;
};

struct iscsi_data_in {
	uint8_t opcode, flags, rsvd2, status, ahs_words;
	be24 data_len;
	be64 lun;
	be32 itt, ttt, stat_sn, exp_cmd_sn, max_cmd_sn, data_sn, offset, residual;
};

struct iscsi_r2t {
	uint8_t opcode, flags, rsvd2[2], ahs_words;
	be24 data_len;
	be64 lun;
	be32 itt, ttt, stat_sn, exp_cmd_sn, max_cmd_sn, r2t_sn, offset, desired_len;
};

struct iscsi_async {
	uint8_t opcode, flags, rsvd2[2], ahs_words;
	be24 data_len;
	be64 lun;
	be32 itt, rsvd20, stat_sn, exp_cmd_sn, max_cmd_sn; /* itt: ISCSI_TAG_NONE */
	uint8_t event, vendor_code;
	be16 param1, param2, param3;
	uint8_t rsvd44[4];
};

struct iscsi_text_req {
	uint8_t opcode, flags, rsvd2[2], ahs_words;
	be24 data_len;
	be64 lun;
	be32 itt, ttt, cmd_sn, exp_stat_sn;
	uint8_t rsvd32[16];
};

struct iscsi_text_rsp {
	uint8_t opcode, flags, rsvd2[2], ahs_words;
	be24 data_len;
	be64 lun;
	be32 itt, ttt, stat_sn, exp_cmd_sn, max_cmd_sn;
	uint8_t rsvd36[12];
};

struct iscsi_login_req {
	uint8_t opcode, flags, version_max, version_min, ahs_words;
	be24 data_len;
	uint8_t isid[6];
	be16 tsih;
	be32 itt;
	be16 cid;
	uint8_t rsvd22[2];
	be32 cmd_sn, exp_stat_sn;
	uint8_t rsvd32[16];
};

struct iscsi_login_rsp {
	uint8_t opcode, flags, version_max, version_active, ahs_words;
	be24 data_len;
	uint8_t isid[6];
	be16 tsih;
	be32 itt, rsvd20, stat_sn, exp_cmd_sn, max_cmd_sn;
	be16 status;                  /* enum iscsi_login_status: class and detail */
	uint8_t rsvd38[10];
};

struct iscsi_logout_req {
	uint8_t opcode, reason, rsvd2[2], ahs_words; /* reason: with ISCSI_FINAL */
	be24 data_len;
	uint8_t rsvd8[8];
	be32 itt;
	be16 cid;
	uint8_t rsvd22[2];
	be32 cmd_sn, exp_stat_sn;
	uint8_t rsvd32[16];
};

struct iscsi_logout_rsp {
	uint8_t opcode, flags, response, rsvd3, ahs_words;
	be24 data_len;
	uint8_t rsvd8[8];
	be32 itt, rsvd20, stat_sn, exp_cmd_sn, max_cmd_sn, rsvd36;
	be16 time2wait, time2retain;
	uint8_t rsvd44[4];
};

struct iscsi_snack {
	uint8_t opcode, type, rsvd2[2], ahs_words; /* type: with ISCSI_FINAL */
	be24 data_len;
	be64 lun;
	be32 itt, tag, rsvd24, exp_stat_sn;
	uint8_t rsvd32[8];
	be32 begin, run_len;
};

struct iscsi_reject {                 /* the rejected header follows as data */
	uint8_t opcode, flags, reason, rsvd3, ahs_words;
	be24 data_len;
	uint8_t rsvd8[8];
	be32 itt, rsvd20, stat_sn, exp_cmd_sn, max_cmd_sn, data_sn; /* itt: ISCSI_TAG_NONE */
	uint8_t rsvd40[8];
};

union iscsi_bhs {                     /* the 48 bytes, whatever they are */
	struct iscsi_hdr h;
	struct iscsi_nop_out nop_out;
	struct iscsi_nop_in nop_in;
	struct iscsi_command command;
	struct iscsi_response response;
	struct iscsi_tmf tmf;
	struct iscsi_tmf_rsp tmf_rsp;
	struct iscsi_data_out data_out;
	struct iscsi_data_in data_in;
	struct iscsi_r2t r2t;
	struct iscsi_async async;
	struct iscsi_text_req text;
	struct iscsi_text_rsp text_rsp;
	struct iscsi_login_req login;
	struct iscsi_login_rsp login_rsp;
	struct iscsi_logout_req logout;
	struct iscsi_logout_rsp logout_rsp;
	struct iscsi_snack snack;
	struct iscsi_reject reject;
};
WIRE_SIZE(union iscsi_bhs, ISCSI_BHS_SIZE);

WIRE_SIZE(struct iscsi_hdr, ISCSI_BHS_SIZE);
WIRE_AT(struct iscsi_hdr, data_len, 5);
WIRE_AT(struct iscsi_hdr, itt, 16);
WIRE_SIZE(struct iscsi_nop_out, ISCSI_BHS_SIZE);
WIRE_AT(struct iscsi_nop_out, exp_stat_sn, 28);
WIRE_SIZE(struct iscsi_nop_in, ISCSI_BHS_SIZE);
WIRE_AT(struct iscsi_nop_in, max_cmd_sn, 32);
WIRE_SIZE(struct iscsi_command, ISCSI_BHS_SIZE);
WIRE_AT(struct iscsi_command, expected_len, 20);
WIRE_AT(struct iscsi_command, cdb, 32);
WIRE_SIZE(struct iscsi_response, ISCSI_BHS_SIZE);
WIRE_AT(struct iscsi_response, stat_sn, 24);
WIRE_AT(struct iscsi_response, residual, 44);
WIRE_SIZE(struct iscsi_tmf, ISCSI_BHS_SIZE);
WIRE_AT(struct iscsi_tmf, ref_cmd_sn, 32);
WIRE_SIZE(struct iscsi_tmf_rsp, ISCSI_BHS_SIZE);
WIRE_AT(struct iscsi_tmf_rsp, stat_sn, 24);
WIRE_SIZE(struct iscsi_data_out, ISCSI_BHS_SIZE);
WIRE_AT(struct iscsi_data_out, data_sn, 36);
WIRE_AT(struct iscsi_data_out, offset, 40);
WIRE_SIZE(struct iscsi_data_in, ISCSI_BHS_SIZE);
WIRE_AT(struct iscsi_data_in, data_sn, 36);
WIRE_AT(struct iscsi_data_in, residual, 44);
WIRE_SIZE(struct iscsi_r2t, ISCSI_BHS_SIZE);
WIRE_AT(struct iscsi_r2t, desired_len, 44);
WIRE_SIZE(struct iscsi_async, ISCSI_BHS_SIZE);
WIRE_AT(struct iscsi_async, event, 36);
WIRE_AT(struct iscsi_async, param3, 42);
WIRE_SIZE(struct iscsi_text_req, ISCSI_BHS_SIZE);
WIRE_AT(struct iscsi_text_req, ttt, 20);
WIRE_SIZE(struct iscsi_text_rsp, ISCSI_BHS_SIZE);
WIRE_AT(struct iscsi_text_rsp, max_cmd_sn, 32);
WIRE_SIZE(struct iscsi_login_req, ISCSI_BHS_SIZE);
WIRE_AT(struct iscsi_login_req, tsih, 14);
WIRE_AT(struct iscsi_login_req, cid, 20);
WIRE_AT(struct iscsi_login_req, exp_stat_sn, 28);
WIRE_SIZE(struct iscsi_login_rsp, ISCSI_BHS_SIZE);
WIRE_AT(struct iscsi_login_rsp, stat_sn, 24);
WIRE_AT(struct iscsi_login_rsp, status, 36);
WIRE_SIZE(struct iscsi_logout_req, ISCSI_BHS_SIZE);
WIRE_AT(struct iscsi_logout_req, cid, 20);
WIRE_SIZE(struct iscsi_logout_rsp, ISCSI_BHS_SIZE);
WIRE_AT(struct iscsi_logout_rsp, time2wait, 40);
WIRE_SIZE(struct iscsi_snack, ISCSI_BHS_SIZE);
WIRE_AT(struct iscsi_snack, begin, 40);
WIRE_SIZE(struct iscsi_reject, ISCSI_BHS_SIZE);
WIRE_AT(struct iscsi_reject, data_sn, 36);

/* Additional headers follow each other, each padded to four bytes. */
struct iscsi_ahs {
	be16 len;                     /* of what follows the type */
	uint8_t type;                 /* enum iscsi_ahs_type */
	uint8_t specific;             /* counted by len */
};
WIRE_SIZE(struct iscsi_ahs, 4);
enum iscsi_ahs_type { ISCSI_AHS_EXTENDED_CDB = 1, ISCSI_AHS_BIDI_READ_LEN = 2 };

static inline uint8_t iscsi_opcode(const struct iscsi_hdr *h) { return h->opcode & ISCSI_OPCODE_MASK; }
static inline bool iscsi_is_immediate(const struct iscsi_hdr *h) { return h->opcode & ISCSI_IMMEDIATE; }
static inline uint32_t iscsi_ahs_len(const struct iscsi_hdr *h) { return h->ahs_words * 4u; }
static inline uint32_t iscsi_data_len(const struct iscsi_hdr *h) { return be24_get(h->data_len); }
/* Bytes of padding behind `len` bytes of data. */
static inline uint32_t iscsi_pad(uint32_t len) { return -len & 3; }
/* Headers with their digest: what arrives before data. */
static inline uint32_t iscsi_header_size(const struct iscsi_hdr *h, bool digest)
{
	return ISCSI_BHS_SIZE + iscsi_ahs_len(h) + (digest ? ISCSI_DIGEST_SIZE : 0);
}
static inline uint8_t iscsi_csg(uint8_t flags) { return flags >> ISCSI_CSG_SHIFT & ISCSI_STAGE_MASK; }
static inline uint8_t iscsi_nsg(uint8_t flags) { return flags & ISCSI_STAGE_MASK; }

/* Serial numbers (CmdSN, StatSN): a comes before b; they are at most 2^31 - 1 apart. */
static inline bool iscsi_sn_before(uint32_t a, uint32_t b) { return (int32_t)(a - b) < 0; }

/* --- receiving ------------------------------------------------------------------------------------------------- */

/* What a target knows before a PDU comes. */
struct iscsi_receiver {
	bool full_feature;            /* else login */
	bool immediate_data, initial_r2t; /* as negotiated */
	uint32_t data_max;            /* its MaxRecvDataSegmentLength */
	uint32_t first_burst;
};

/* What is wrong with a PDU. */
struct iscsi_fault {
	uint8_t reason;               /* enum iscsi_reject_reason */
	uint8_t at;                   /* offset of the field in the header, or in the additional headers */
	const char *what;             /* field and fault, in a few words */
};

/* The 48 bytes have arrived (and the digest, if any, was right). True: opcode is one that a target gets, allowed in
 * this phase; lengths are within limits; fields have values that exist. */
bool iscsi_check_header(const union iscsi_bhs *bhs, const struct iscsi_receiver *r,
                        struct iscsi_fault *reterr) MUST_USE;

/* A command's additional headers have arrived: `len` bytes, iscsi_ahs_len(). */
struct iscsi_command_ahs {
	const uint8_t *cdb_rest;      /* what follows the first 16 bytes of the CDB */
	uint32_t cdb_rest_len;
	bool has_read_len;
	uint32_t read_len;            /* bidirectional: bytes expected to be read */
};
bool iscsi_check_ahs(const uint8_t *ahs, uint32_t len, struct iscsi_command_ahs *ret,
                     struct iscsi_fault *reterr) MUST_USE;

/* The part of a command's data that may come next: of an R2T (with its tag), or unsolicited (ISCSI_TAG_NONE). */
struct iscsi_transfer {
	uint32_t ttt;
	uint64_t lun;
	uint32_t data_sn;             /* of the next Data-Out */
	uint32_t next, end;           /* offsets in the command's data; unsolicited: end is as far as it may go */
	bool may_end_early;           /* unsolicited: the initiator decides how much it sends */
};
/* A Data-Out whose task was found; after iscsi_check_header(). */
bool iscsi_check_data_out(const struct iscsi_data_out *pdu, const struct iscsi_transfer *t,
                          struct iscsi_fault *reterr) MUST_USE;

#endif
