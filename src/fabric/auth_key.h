/* SPDX-License-Identifier: BSD-3-Clause */
/* auth_key.h: secrets of DH-HMAC-CHAP as people and nvme-cli write them: DHHC-1:HH:base64(secret, CRC-32):
 *
 * HH says how the secret becomes a key: 00 as it is, 01 to 03 by HMAC with SHA-256, 384 or 512 over the NQN of the one
 * who proves itself. Whoever holds one of these structs wipes it with fabric_auth_key_wipe(). No sentence quotes a
 * secret's bytes.
 */
#ifndef FABRIC_AUTH_KEY_H
#define FABRIC_AUTH_KEY_H

#include "base/err.h"

#define FABRIC_AUTH_SECRET_MAX 64u
#define FABRIC_AUTH_TEXT_MAX 128u     /* of a printed secret, with its NUL */

struct fabric_auth_key {
	uint8_t hash;                 /* enum nvmf_dhchap_hash: how it is transformed */
	uint8_t len;                  /* 32, 48 or 64 */
	uint8_t secret[FABRIC_AUTH_SECRET_MAX];
};

/* White space at the end is passed over, as files have it. `name`: of the key, for the sentence. */
int fabric_auth_key_parse(const char *name, const char *text, size_t len, struct fabric_auth_key *ret, struct err *e)
	MUST_USE;
/* Of a keyring: in a job. */
struct keyring_key;
int fabric_auth_key_read(const struct keyring_key *key, struct fabric_auth_key *ret, struct err *e) MUST_USE;
/* A new secret as long as `hash` is; 32 bytes for one that is used as it is. */
void fabric_auth_key_make(uint8_t hash, struct fabric_auth_key *ret);
void fabric_auth_key_print(const struct fabric_auth_key *key, char text[static FABRIC_AUTH_TEXT_MAX]);
void fabric_auth_key_wipe(struct fabric_auth_key *key);

#endif
