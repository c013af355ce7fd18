/* SPDX-License-Identifier: BSD-3-Clause */
/* chap.h: CHAP as RFC 7143 12.1.3 has it, the target's side (private to login).
 *
 *     initiator            target
 *     CHAP_A=7,5           CHAP_A=7 CHAP_I=.. CHAP_C=0x..       the strongest that both have; challenge at random
 *     CHAP_N CHAP_R        (authenticated)                      R = hash(I, secret, C)
 *      + CHAP_I CHAP_C      + CHAP_N CHAP_R                     mutual: we answer the initiator's challenge
 */
#ifndef ISCSI_CHAP_H
#define ISCSI_CHAP_H

#include "iscsi/login.h"

#define ISCSI_CHAP_DIGEST_MAX 32u

/* What came of CHAP's keys in one step; NULL: not said. */
struct iscsi_chap_said {
	const char *a, *i, *c, *n, *r;
};

/* AuthMethod=CHAP was chosen: the initiator goes on with CHAP_A. */
void iscsi_chap_begin(struct iscsi_chap *chap);
/* A step; puts answers. Returns SUCCESS, or the status with which the login ends; l->why then says why. */
uint16_t iscsi_chap_step(struct iscsi_login *l, const struct iscsi_chap_said *said, struct iscsi_text_out *out);
/* hash(id, secret, challenge); returns its length; 0: OpenSSL does not have the algorithm. */
uint32_t iscsi_chap_response(uint8_t algorithm, uint8_t id, const uint8_t *secret, uint32_t secret_len,
                             const uint8_t *challenge, uint32_t challenge_len,
                             uint8_t ret[static ISCSI_CHAP_DIGEST_MAX]);

#endif
