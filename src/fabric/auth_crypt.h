/* SPDX-License-Identifier: BSD-3-Clause */
/* auth_crypt.h: the arithmetic of DH-HMAC-CHAP over OpenSSL.
 *
 * The formulas are the standard's as Linux (drivers/nvme/common/auth.c) and SPDK (lib/nvme/nvme_auth.c) compute them:
 *
 *     key        HH 00: the secret; otherwise HMAC_HH(secret, NQN of who proves itself || "NVMe-over-Fabrics")
 *     challenge' null group: the challenge; otherwise HMAC(H(g^xy), challenge)
 *     response   HMAC(key, challenge' || seqnum || t_id || sc_c || "HostHost" or "Controller" || NQN 1 || 0 || NQN 2)
 *
 * What touches a Diffie-Hellman group takes up to tens of milliseconds: never on an I/O core.
 */
#ifndef FABRIC_AUTH_CRYPT_H
#define FABRIC_AUTH_CRYPT_H

#include "fabric/auth_key.h"

#define FABRIC_AUTH_HASH_MAX 64u       /* bytes */
#define FABRIC_AUTH_DH_MAX 1024u       /* bytes of a public value */
#define FABRIC_AUTH_ALL_HASHES 0x0eu   /* bits: 1 << enum nvmf_dhchap_hash */
#define FABRIC_AUTH_ALL_GROUPS 0x3fu   /* bits: 1 << enum nvmf_dhchap_group */

/* 0: no such hash. */
uint32_t fabric_auth_hash_len(uint8_t hash);
/* Bytes of a public value; 0: the null group, or none. */
uint32_t fabric_auth_group_len(uint8_t group);
/* "sha256", "ffdhe2048", "null", as SPDK's methods say them; NULL: none. */
const char *fabric_auth_hash_name(uint8_t hash);
const char *fabric_auth_group_name(uint8_t group);
/* -1: no such name. */
int fabric_auth_hash_named(const char *name);
int fabric_auth_group_named(const char *name);

/* Our half of a Diffie-Hellman exchange. */
struct fabric_auth_dh;
/* fabric_auth_group_len() bytes are public. NULL: OpenSSL failed. */
struct fabric_auth_dh *fabric_auth_dh_make(uint8_t group, uint8_t *ret_public);
/* The shared secret, hashed: fabric_auth_hash_len() bytes. False: the other side's value is none of this group. */
bool fabric_auth_dh_meet(struct fabric_auth_dh *dh, uint8_t hash, const uint8_t *peer, uint32_t peer_len,
                         uint8_t *ret_session);
void fabric_auth_dh_free(struct fabric_auth_dh *dh); /* NULL is fine */

/* What a response is made of. */
struct fabric_auth_proof {
	uint8_t hash;
	const uint8_t *session;        /* NULL: null group */
	const uint8_t *challenge;
	uint32_t seqnum;
	uint16_t t_id;
	uint8_t sc_c;
	bool controller;               /* it is the controller that proves itself, to the host */
	const char *host_nqn, *subsystem_nqn;
};
bool fabric_auth_respond(const struct fabric_auth_proof *p, const struct fabric_auth_key *key, uint8_t *ret_response);
/* The generated PSK of secure channel concatenation, HMAC(H(g^xy), C1 || C2): fabric_auth_hash_len() bytes. */
bool fabric_auth_generate(uint8_t hash, const uint8_t *session, const uint8_t *c1, const uint8_t *c2, uint8_t *ret_psk);

#endif
