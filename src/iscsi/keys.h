/* SPDX-License-Identifier: BSD-3-Clause */
/* keys.h: the keys of RFC 7143, a row each: who may say them, when, and what comes out (private to login and text).
 *
 * A key has one of four fates: it is declared (one side says, nobody answers), negotiated (the initiator offers, the
 * target answers with the result, or the other way round), obsolete (always refused), or unknown (NotUnderstood).
 */
#ifndef ISCSI_KEYS_H
#define ISCSI_KEYS_H

#include "iscsi/params.h"
#include "iscsi/text.h"

/* from: I initiator, T target. in stage: S security, O operational, F full feature phase. of: ALL sessions, or NORMAL
 * ones (in a discovery session it is answered Irrelevant). kind: result function. */
/*  name                       id               from   in stage   of      kind      field, least, most */
#define ISCSI_KEYS(X) \
	X("InitiatorName",          INITIATOR_NAME,  I,     S | O,     ALL,    TEXT,     NO_FIELD, 0, 0) \
	X("InitiatorAlias",         INITIATOR_ALIAS, I,     S | O | F, ALL,    TEXT,     NO_FIELD, 0, 0) \
	X("TargetName",             TARGET_NAME,     I | T, S | O,     ALL,    TEXT,     NO_FIELD, 0, 0) \
	X("TargetAlias",            TARGET_ALIAS,    T,     S | O | F, ALL,    TEXT,     NO_FIELD, 0, 0) \
	X("TargetAddress",          TARGET_ADDRESS,  T,     S | O | F, ALL,    TEXT,     NO_FIELD, 0, 0) \
	X("TargetPortalGroupTag",   PORTAL_GROUP_TAG,T,     S | O,     ALL,    TEXT,     NO_FIELD, 0, 0) \
	X("SessionType",            SESSION_TYPE,    I,     S | O,     ALL,    TEXT,     NO_FIELD, 0, 0) \
	X("SendTargets",            SEND_TARGETS,    I,     F,         ALL,    TEXT,     NO_FIELD, 0, 0) \
	X("AuthMethod",             AUTH_METHOD,     I | T, S,         ALL,    AUTH,     NO_FIELD, 0, 0) \
	X("CHAP_A",                 CHAP_A,          I | T, S,         ALL,    AUTH,     NO_FIELD, 0, 0) \
	X("CHAP_I",                 CHAP_I,          I | T, S,         ALL,    AUTH,     NO_FIELD, 0, 0) \
	X("CHAP_C",                 CHAP_C,          I | T, S,         ALL,    AUTH,     NO_FIELD, 0, 0) \
	X("CHAP_N",                 CHAP_N,          I | T, S,         ALL,    AUTH,     NO_FIELD, 0, 0) \
	X("CHAP_R",                 CHAP_R,          I | T, S,         ALL,    AUTH,     NO_FIELD, 0, 0) \
	X("HeaderDigest",           HEADER_DIGEST,   I | T, O,         ALL,    DIGEST,   header_digest, 0, 0) \
	X("DataDigest",             DATA_DIGEST,     I | T, O,         ALL,    DIGEST,   data_digest, 0, 0) \
	X("MaxRecvDataSegmentLength",MAX_RECV,        I | T, O | F,     ALL,    DECLARED, max_send, 512, 0xffffff) \
	X("MaxConnections",         MAX_CONNECTIONS, I | T, O,         NORMAL, MIN,      max_connections, 1, 65535) \
	X("InitialR2T",             INITIAL_R2T,     I | T, O,         NORMAL, OR,       initial_r2t, 0, 1) \
	X("ImmediateData",          IMMEDIATE_DATA,  I | T, O,         NORMAL, AND,      immediate_data, 0, 1) \
	X("MaxBurstLength",         MAX_BURST,       I | T, O,         NORMAL, MIN,      max_burst, 512, 0xffffff) \
	X("FirstBurstLength",       FIRST_BURST,     I | T, O,         NORMAL, MIN,      first_burst, 512, 0xffffff) \
	X("DefaultTime2Wait",       TIME2WAIT,       I | T, O,         ALL,    MAX,      time2wait, 0, 3600) \
	X("DefaultTime2Retain",     TIME2RETAIN,     I | T, O,         ALL,    MIN,      time2retain, 0, 3600) \
	X("MaxOutstandingR2T",      MAX_R2T,         I | T, O,         NORMAL, MIN,      max_outstanding_r2t, 1, 65535) \
	X("DataPDUInOrder",         DATA_PDU_IN_ORDER,I | T, O,         NORMAL, OR,       data_pdu_in_order, 0, 1) \
	X("DataSequenceInOrder",    DATA_SEQ_IN_ORDER,I | T, O,         NORMAL, OR,       data_sequence_in_order, 0, 1) \
	X("ErrorRecoveryLevel",     RECOVERY_LEVEL,  I | T, O,         ALL,    MIN,      error_recovery_level, 0, 2) \
	X("TaskReporting",          TASK_REPORTING,  I | T, O,         NORMAL, TASKS,    task_reporting, 0, 0) \
	X("iSCSIProtocolLevel",     PROTOCOL_LEVEL,  I | T, O,         NORMAL, MIN,      protocol_level, 0, 31) \
	X("IFMarker",               IF_MARKER,       I | T, O,         ALL,    OBSOLETE, NO_FIELD, 0, 0) \
	X("OFMarker",               OF_MARKER,       I | T, O,         ALL,    OBSOLETE, NO_FIELD, 0, 0) \
	X("IFMarkInt",              IF_MARK_INT,     I | T, O,         ALL,    OBSOLETE, NO_FIELD, 0, 0) \
	X("OFMarkInt",              OF_MARK_INT,     I | T, O,         ALL,    OBSOLETE, NO_FIELD, 0, 0)

#define ISCSI_ENUM_KEY(name, id, sender, stage, sessions, kind, field, min, max) ISCSI_KEY_##id,
enum iscsi_key { ISCSI_KEYS(ISCSI_ENUM_KEY) ISCSI_KEY_COUNT };
_Static_assert(ISCSI_KEY_COUNT <= 64, "keys are bits of a word");
#define ISCSI_KEY_BIT(key) (1ull << (key))

/* How a key is treated: by the engine (TEXT, AUTH: nothing here), declared, or by a result function. */
enum iscsi_key_kind { KEY_TEXT, KEY_AUTH, KEY_DECLARED, KEY_MIN, KEY_MAX, KEY_OR, KEY_AND, KEY_DIGEST, KEY_TASKS,
                      KEY_OBSOLETE };
enum { KEY_STAGE_SECURITY = 1 << 0, KEY_STAGE_OPERATIONAL = 1 << 1, KEY_STAGE_FULL = 1 << 2 };

const char *iscsi_key_name(enum iscsi_key key);
enum iscsi_key_kind iscsi_key_kind(enum iscsi_key key);
/* ISCSI_KEY_COUNT: nobody knows it. */
enum iscsi_key iscsi_key_find(const char *name);

/* "None", "Reject", "Irrelevant", "NotUnderstood" as answers; None is a value too. */
bool iscsi_value_is_refusal(const char *value);

/* Is it in order that the initiator says this key in this stage (KEY_STAGE_*)? */
enum iscsi_key_fault { KEY_FINE, KEY_WRONG_SENDER, KEY_WRONG_STAGE };
enum iscsi_key_fault iscsi_key_may(enum iscsi_key key, uint8_t stage);

/* What negotiations of one connection have come to. */
struct iscsi_deal {
	struct iscsi_params *params;       /* results */
	const struct iscsi_params *ours;   /* what we want */
	bool discovery;
	bool need_header_digest, need_data_digest;
	uint64_t offered;                  /* keys that we proposed */
};

/* What the initiator says of a key that is no TEXT and no AUTH: puts the result into params and the answer, if there
 * has to be one, into `out`. */
void iscsi_key_apply(struct iscsi_deal *d, enum iscsi_key key, const char *value, struct iscsi_text_out *out);
/* Is the default of a key that nobody has mentioned (bits in `seen`) not what we can live with? */
bool iscsi_keys_to_propose(const struct iscsi_deal *d, uint64_t seen);
/* Then propose: each key once. */
void iscsi_keys_propose(struct iscsi_deal *d, uint64_t seen, struct iscsi_text_out *out);

#endif
