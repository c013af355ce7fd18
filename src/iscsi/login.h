/* SPDX-License-Identifier: BSD-3-Clause */
/* login.h: login and text negotiation of a target, without I/O: PDUs in, answers out.
 *
 *     iscsi_login_init(&conn->login, ...);
 *     for each PDU that arrives before full feature phase, whatever it is:
 *             switch (iscsi_login_pdu(&conn->login, bhs, data, len)) {
 *             case ISCSI_LOGIN_ANSWER:   send login.answer
 *             case ISCSI_LOGIN_DONE:     admit the session: iscsi_login_accept(tsih), or iscsi_login_refuse(status);
 *                                        then send login.answer
 *             case ISCSI_LOGIN_REFUSED:  send login.answer, then close; login.why says why
 *             case ISCSI_LOGIN_CLOSE:    close; login.why
 *             }
 *     iscsi_login_fini(&conn->login);   the parameters are in login.params, names beside them
 *
 * All of it runs on the control reactor, which has the configuration: struct iscsi_login_ops asks it, and it answers
 * at once. Deadlines are the connection's. Digests are never in use during login.
 *
 * A session's text requests in full feature phase are below: struct iscsi_text_nego.
 */
#ifndef ISCSI_LOGIN_H
#define ISCSI_LOGIN_H

#include "core/machine.h"
#include "iscsi/params.h"
#include "iscsi/text.h"
#include "wire/iscsi.h"

struct iscsi_login;
struct iscsi_login_ops;

/* --- authentication -------------------------------------------------------------------------------------------- */

enum iscsi_login_auth {
	ISCSI_AUTH_NONE,                  /* CHAP is not done: who insists on it is refused */
	ISCSI_AUTH_ALLOWED,               /* None or CHAP, as the initiator prefers */
	ISCSI_AUTH_CHAP,                  /* initiators must authenticate */
	ISCSI_AUTH_MUTUAL,                /* ... and must ask us to */
};

#define ISCSI_CHAP_NAME_MAX 255u
#define ISCSI_SECRET_MAX 255u
/* What a user's authentication needs. The engine wipes it after use. */
struct iscsi_login_secret {
	uint32_t len, mutual_len;         /* mutual_len 0: we cannot authenticate ourselves to this user */
	char mutual_name[ISCSI_CHAP_NAME_MAX + 1]; /* CHAP_N of our answer */
	uint8_t secret[ISCSI_SECRET_MAX], mutual_secret[ISCSI_SECRET_MAX];
};

/* CHAP algorithms, by number; also bits of a set: 1 << number. */
enum iscsi_chap_algorithm {
	ISCSI_CHAP_MD5 = 5, ISCSI_CHAP_SHA1 = 6, ISCSI_CHAP_SHA256 = 7, ISCSI_CHAP_SHA3_256 = 8
};
#define ISCSI_CHAP_ALL 0x1e0u
/* Those that OpenSSL has here: MD5 is missing in FIPS mode. Ask once, when the target is made; say what is missing. */
uint32_t iscsi_chap_available(void);
const char *iscsi_chap_name(uint8_t algorithm);

/* --- what the configuration decides ---------------------------------------------------------------------------- */

struct iscsi_login_ops {
	/* The first request is complete: initiator_name, session_type and, for a normal session, target_name are set.
	 * Returns an enum iscsi_login_status; 01xx with l->redirect filled; otherwise l->why may say more. SUCCESS: sets
	 * l->node, auth, chap_algorithms, portal_group_tag, target_alias; may change l->ours and require digests. Names
	 * are as they were sent: compare them without regard to ASCII case. */
	uint16_t (*admit)(void *arg, struct iscsi_login *l);
	/* The user of CHAP_N; false: nobody of that name. */
	bool (*secret)(void *arg, struct iscsi_login *l, const char *user, struct iscsi_login_secret *ret);
	/* TSIH is not 0: the initiator wants into an existing session. NULL: there is none (NO_SESSION). */
	uint16_t (*join)(void *arg, struct iscsi_login *l);
};

/* --- login ----------------------------------------------------------------------------------------------------- */

enum iscsi_login_step { ISCSI_LOGIN_ANSWER, ISCSI_LOGIN_DONE, ISCSI_LOGIN_REFUSED, ISCSI_LOGIN_CLOSE };

#define ISCSI_REDIRECT_MAX 127u
#define ISCSI_WHY_MAX 200u
#define ISCSI_LOGIN_PDUS_MAX 256u            /* requests of one login */

struct iscsi_chap {                          /* chap.h */
	uint8_t state, algorithm, id;
	bool authenticated;                  /* the initiator proved who it is */
	uint8_t challenge_len;
	uint8_t challenge[64];
	char user[ISCSI_CHAP_NAME_MAX + 1];  /* who it is */
};

struct iscsi_login {
	/* Set by the connection before iscsi_login_init(). */
	const struct iscsi_login_ops *ops;
	void *arg;                           /* the connection, for instance: CONF finds portal and addresses by it */
	struct iscsi_params ours;            /* our limits and wishes; admit() may narrow them */
	uint32_t window;                     /* commands: MaxCmdSN of the last answer is ExpCmdSN + window - 1 */

	/* What admit() decides. */
	void *node;
	uint8_t auth;                        /* enum iscsi_login_auth */
	uint32_t chap_algorithms;            /* permitted: bits 1 << enum iscsi_chap_algorithm */
	bool need_header_digest, need_data_digest;
	uint16_t portal_group_tag;
	char target_alias[ISCSI_ALIAS_MAX + 1];
	char redirect[ISCSI_REDIRECT_MAX + 1]; /* TargetAddress of 0101, 0102: host[:port][,tag] */

	/* Who came, and what was agreed: valid in admit() as far as known, all of it at DONE. */
	uint8_t session_type;                /* enum iscsi_session_type */
	uint8_t isid[6];
	uint16_t tsih, cid;
	char initiator_name[ISCSI_NAME_MAX + 1], target_name[ISCSI_NAME_MAX + 1];
	struct iscsi_params params;
	struct iscsi_chap chap;              /* .user: empty without authentication */
	uint32_t exp_cmd_sn;                 /* of the first command in full feature phase */
	uint32_t stat_sn;                    /* of the next answer; at DONE: of what follows the last login answer */

	/* The answer, until the next call. */
	struct {
		struct iscsi_login_rsp bhs;
		const uint8_t *data;         /* without padding */
		uint32_t len;
	} answer;
	uint16_t status;                     /* enum iscsi_login_status: REFUSED: what the answer says */
	char why[ISCSI_WHY_MAX];             /* REFUSED, CLOSE: for the log */

	/* The engine's. */
	struct machine machine;
	bool named;                          /* the first request was complete, and admitted */
	bool declared;                       /* our MaxRecvDataSegmentLength was said */
	uint8_t auth_method;
	uint8_t flags;                       /* of the request at hand */
	uint16_t pdus;
	uint32_t itt;
	uint64_t seen, offered;              /* bits of keys: came; we proposed */
	struct iscsi_text_in in;
	struct iscsi_text_out out;
};

/* Zeroes all but what the connection set. */
void iscsi_login_init(struct iscsi_login *l);
/* Core: control. Memory: data is the caller's, used during the call. `len`: of the data segment, at most
 * ISCSI_SEGMENT_DEFAULT. Any PDU: what is no Login Request is answered (or not) as RFC 7143 says. */
enum iscsi_login_step iscsi_login_pdu(struct iscsi_login *l, const union iscsi_bhs *bhs, const uint8_t *data,
                                      uint32_t len);
/* After DONE: the session has its handle, and l->window is what it has; the answer says so. */
void iscsi_login_accept(struct iscsi_login *l, uint16_t tsih);
/* After DONE: it could not be admitted; the answer says so: send it and close. Also for a connection that ends for
 * another reason while a request is unanswered. */
void iscsi_login_refuse(struct iscsi_login *l, uint16_t status, const char *why);
/* Frees and wipes what the engine held; names and parameters stay readable. */
void iscsi_login_fini(struct iscsi_login *l);

/* --- text requests in full feature phase ----------------------------------------------------------------------- */

/* Embedded in a connection; zeroed; holds memory only while a negotiation is going on. Any core. */
struct iscsi_text_nego {
	struct iscsi_params *params;         /* max_send follows MaxRecvDataSegmentLength */
	bool discovery;                      /* SendTargets=All is for discovery sessions */
	char targets[ISCSI_NAME_MAX + 1];    /* TARGETS: which are asked for: "All", a name, or empty: the session's own */
	/* The engine's. */
	bool going, waits;
	uint32_t itt, ttt;
	uint64_t seen, lun;
	uint8_t flags;                       /* of the request at hand */
	struct iscsi_text_in in;
	struct iscsi_text_out out;
	/* The answer: flags, LUN, ITT, TTT are filled; StatSN and the command window are the connection's. */
	struct {
		struct iscsi_text_rsp bhs;
		const uint8_t *data;
		uint32_t len;
	} answer;
	uint8_t reject;                      /* REJECT: enum iscsi_reject_reason */
};

enum iscsi_text_step {
	ISCSI_TEXT_ANSWER,                   /* send n->answer */
	ISCSI_TEXT_TARGETS,                  /* add targets as below, now or later, then iscsi_text_targets_done() */
	ISCSI_TEXT_REJECT,                   /* a Reject PDU with n->reject; the negotiation was forgotten */
};
enum iscsi_text_step iscsi_text_pdu(struct iscsi_text_nego *n, const struct iscsi_text_req *bhs, const uint8_t *data,
                                    uint32_t len);
/* TargetName, then its TargetAddress pairs ("[fe80::1]:3260,1"): as iscsi_send_targets() emits them. */
void iscsi_text_add(struct iscsi_text_nego *n, const char *key, const char *value);
void iscsi_text_targets_done(struct iscsi_text_nego *n); /* n->answer is there */
void iscsi_text_end(struct iscsi_text_nego *n);          /* the connection ends */

#endif
