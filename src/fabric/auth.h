/* SPDX-License-Identifier: BSD-3-Clause */
/* auth.h: DH-HMAC-CHAP, both ends, as machines over messages: one struct is one transaction of one queue.
 *
 * No I/O, no clock. Who owns a machine brings it what AUTHENTICATION SEND and RECEIVE carry, and does the heavy part,
 * which reads keys and computes in a Diffie-Hellman group, wherever waiting is no harm:
 *
 *     controller                                         host
 *     SEND     fabric_auth_ctrlr_take(): true: work      to SEND      fabric_auth_host_give()
 *     work     fabric_auth_ctrlr_work(), then answer     to RECEIVE   fabric_auth_host_take(): true: work
 *     RECEIVE  fabric_auth_ctrlr_give()                  work         fabric_auth_host_work()
 *
 * A machine is left alone while its work runs. Witnesses: Linux's host and target (drivers/nvme/host/auth.c,
 * target/fabrics-cmd-auth.c) and SPDK's (lib/nvmf/auth.c, lib/nvme/nvme_auth.c).
 */
#ifndef FABRIC_AUTH_H
#define FABRIC_AUTH_H

#include "core/machine.h"
#include "fabric/auth_crypt.h"
#include "wire/nvme_fabrics.h"

#define FABRIC_AUTH_MESSAGE_MAX 4096u  /* no message of ours is longer, and none that makes sense */
#define FABRIC_AUTH_WHY_MAX 256u

#define FABRIC_AUTH_CTRLR_STATES(X) \
	X(FABRIC_AUTH_CTRLR, NEGOTIATE, "the host's offer is awaited",          TO(FABRIC_AUTH_CTRLR, CHALLENGE) | \
	  TO(FABRIC_AUTH_CTRLR, FAILURE1)) \
	X(FABRIC_AUTH_CTRLR, CHALLENGE, "the host may fetch the challenge",     TO(FABRIC_AUTH_CTRLR, REPLY) | \
	  TO(FABRIC_AUTH_CTRLR, FAILURE1)) \
	X(FABRIC_AUTH_CTRLR, REPLY,     "its response is awaited",              TO(FABRIC_AUTH_CTRLR, SUCCESS1) | \
	  TO(FABRIC_AUTH_CTRLR, ERROR) | TO(FABRIC_AUTH_CTRLR, FAILURE1)) \
	X(FABRIC_AUTH_CTRLR, SUCCESS1,  "the host may fetch the verdict",       TO(FABRIC_AUTH_CTRLR, COMPLETED) | \
	  TO(FABRIC_AUTH_CTRLR, SUCCESS2) | TO(FABRIC_AUTH_CTRLR, FAILURE1)) \
	X(FABRIC_AUTH_CTRLR, SUCCESS2,  "the host's own verdict is awaited",    TO(FABRIC_AUTH_CTRLR, COMPLETED) | \
	  TO(FABRIC_AUTH_CTRLR, ERROR) | TO(FABRIC_AUTH_CTRLR, FAILURE1)) \
	X(FABRIC_AUTH_CTRLR, FAILURE1,  "the host may fetch why it failed",     TO(FABRIC_AUTH_CTRLR, ERROR)) \
	X(FABRIC_AUTH_CTRLR, COMPLETED, "the host is who it says it is",        0) \
	X(FABRIC_AUTH_CTRLR, ERROR,     "it failed, and both sides know",       0)
enum fabric_auth_ctrlr_state { FABRIC_AUTH_CTRLR_STATES(MACHINE_ENUM) FABRIC_AUTH_CTRLR_STATE_COUNT };

#define FABRIC_AUTH_HOST_STATES(X) \
	X(FABRIC_AUTH_HOST, NEGOTIATE, "our offer is to be sent",         TO(FABRIC_AUTH_HOST, CHALLENGE)) \
	X(FABRIC_AUTH_HOST, CHALLENGE, "the challenge is to be fetched",  TO(FABRIC_AUTH_HOST, REPLY) | \
	  TO(FABRIC_AUTH_HOST, FAILURE2) | TO(FABRIC_AUTH_HOST, ERROR)) \
	X(FABRIC_AUTH_HOST, REPLY,     "our response is to be sent",      TO(FABRIC_AUTH_HOST, SUCCESS1) | \
	  TO(FABRIC_AUTH_HOST, FAILURE2)) \
	X(FABRIC_AUTH_HOST, SUCCESS1,  "the verdict is to be fetched",    TO(FABRIC_AUTH_HOST, COMPLETED) | \
	  TO(FABRIC_AUTH_HOST, SUCCESS2) | TO(FABRIC_AUTH_HOST, FAILURE2) | TO(FABRIC_AUTH_HOST, ERROR)) \
	X(FABRIC_AUTH_HOST, SUCCESS2,  "our verdict is to be sent",       TO(FABRIC_AUTH_HOST, COMPLETED)) \
	X(FABRIC_AUTH_HOST, FAILURE2,  "why it failed is to be sent",     TO(FABRIC_AUTH_HOST, ERROR)) \
	X(FABRIC_AUTH_HOST, COMPLETED, "both are who they say they are",  0) \
	X(FABRIC_AUTH_HOST, ERROR,     "it failed",                       0)
enum fabric_auth_host_state { FABRIC_AUTH_HOST_STATES(MACHINE_ENUM) FABRIC_AUTH_HOST_STATE_COUNT };

struct fabric_auth_opts {
	uint32_t hashes, groups;       /* permitted: 1 << enum nvmf_dhchap_hash, _group */
	const char *host_nqn, *subsystem_nqn; /* the owner's, as long as the machine lives */
	bool mutual;                   /* host: the controller has to prove itself too */
	uint8_t concat;                /* enum nvmf_auth_sc that the host may ask for (host: asks for), and that generates a
	                                * key of TLS; 0: none. `only`: controller: it has to */
	bool only;
	uint16_t t_id;                 /* host: of the transaction */
};

/* What both ends keep of a transaction. */
struct fabric_auth_common {
	struct fabric_auth_opts opts;
	uint16_t t_id;
	uint8_t hash, group, hash_len;
	bool working;                  /* its work is to be done, or is being done */
	uint8_t failure;               /* enum nvmf_auth_explanation; 0: none yet */
	char why[FABRIC_AUTH_WHY_MAX]; /* what differed, for the log; names no key's bytes */
	struct fabric_auth_dh *dh;
	uint32_t seqnum, peer_seqnum;  /* with our challenge; with theirs */
	uint16_t peer_len;             /* of peer */
	uint8_t challenge[FABRIC_AUTH_HASH_MAX];      /* ours */
	uint8_t peer_challenge[FABRIC_AUTH_HASH_MAX]; /* theirs */
	uint8_t response[FABRIC_AUTH_HASH_MAX];       /* ours */
	uint8_t peer_response[FABRIC_AUTH_HASH_MAX];  /* theirs; host: the one that is expected */
	uint8_t public[FABRIC_AUTH_DH_MAX], peer[FABRIC_AUTH_DH_MAX];
};

/* --- the controller's end ---------------------------------------------------------------------------------------- */

struct fabric_auth_ctrlr {
	struct machine m;
	struct fabric_auth_common c;
	bool mutual;                   /* the host asked for a proof */
	uint8_t sc_c;                  /* what it asked for */
	uint8_t psk[FABRIC_AUTH_HASH_MAX]; /* generated; hash_len bytes, once it is completed */
};

void fabric_auth_ctrlr_init(struct fabric_auth_ctrlr *a, const struct fabric_auth_opts *opts);
/* A message of the host's. True: fabric_auth_ctrlr_work() has to run before the command is answered. Whatever was wrong
 * with it is what the host fetches next. */
bool fabric_auth_ctrlr_take(struct fabric_auth_ctrlr *a, const void *message, uint32_t len);
/* Core: any thread that may wait. `key`: the host's; `ctrlr_key`: ours. NULL: there is none, or it cannot be read. */
void fabric_auth_ctrlr_work(struct fabric_auth_ctrlr *a, const struct fabric_auth_key *key,
                            const struct fabric_auth_key *ctrlr_key);
/* What the host fetches, at most `room` bytes. Returns its length; 0: nothing fits. */
uint32_t fabric_auth_ctrlr_give(struct fabric_auth_ctrlr *a, void *message, uint32_t room);
void fabric_auth_ctrlr_fini(struct fabric_auth_ctrlr *a);
const char *fabric_auth_ctrlr_state_name(uint8_t state); /* as SPDK's nvmf_subsystem_get_qpairs has it */

/* --- the host's end ---------------------------------------------------------------------------------------------- */

enum fabric_auth_wants { FABRIC_AUTH_SEND, FABRIC_AUTH_RECEIVE, FABRIC_AUTH_GOOD, FABRIC_AUTH_BAD };

struct fabric_auth_host {
	struct machine m;
	struct fabric_auth_common c;
	uint8_t psk[FABRIC_AUTH_HASH_MAX]; /* opts.concat: generated; hash_len bytes, once it is completed */
};

void fabric_auth_host_init(struct fabric_auth_host *a, const struct fabric_auth_opts *opts);
/* What has to happen next. */
enum fabric_auth_wants fabric_auth_host_wants(const struct fabric_auth_host *a);
/* The message to send. FABRIC_AUTH_MESSAGE_MAX bytes of room. */
uint32_t fabric_auth_host_give(struct fabric_auth_host *a, void *message);
/* A message of the controller's. True: fabric_auth_host_work() has to run next. */
bool fabric_auth_host_take(struct fabric_auth_host *a, const void *message, uint32_t len);
void fabric_auth_host_work(struct fabric_auth_host *a, const struct fabric_auth_key *key,
                           const struct fabric_auth_key *ctrlr_key);
void fabric_auth_host_fini(struct fabric_auth_host *a);

/* "hash function not usable": what a failure's explanation means. */
const char *fabric_auth_failure_text(uint8_t explanation);

#endif
