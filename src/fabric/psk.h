/* SPDX-License-Identifier: BSD-3-Clause */
/* psk.h: the keys of NVMe/TCP's TLS: from what people configure to what is offered and looked for in a handshake.
 *
 *     configured PSK   NVMeTLSkey-1:HH:base64(secret, CRC-32):        fabric_psk_parse(), _make(), _print()
 *     retained PSK     HH 00: the same; otherwise by HKDF over the host's NQN         fabric_psk_retain()
 *     TLS PSK          by HKDF over the identity (version 0) or its digest (1)        fabric_psk_offer()
 *
 * A key of 32 bytes goes with SHA-256 and TLS_AES_128_GCM_SHA256, one of 48 with SHA-384 and TLS_AES_256_GCM_SHA384.
 * An identity names how a key was made, who uses it, and with whom:
 *
 *     NVMe0R01 HOSTNQN SUBNQN           version 0; R: retained, G: generated (by DH-HMAC-CHAP, secure concatenation)
 *     NVMe1R02 HOSTNQN SUBNQN DIGEST    version 1: tells keys of one pair of names apart
 *
 * The formulas are those of Linux (drivers/nvme/common/auth.c), SPDK (nvme_tcp.h) and libnvme from 1.16 on (nvme-cli
 * 2.16). Before that libnvme wrote HKDF's label without its length bytes and the key's length in the other byte order:
 * other keys from the same text, which no peer but the same libnvme could use. That is `compat` here, as nvme-cli has
 * it; the digest of a version 1 identity tells which of the two a host has, a version 0 identity does not.
 *
 * Whoever holds one of these structs wipes it. No sentence quotes a secret's bytes.
 */
#ifndef FABRIC_PSK_H
#define FABRIC_PSK_H

#include "net/tls.h"
#include "wire/nvme.h"

#define FABRIC_PSK_MAX 48u
#define FABRIC_PSK_TEXT_MAX 128u     /* of a printed key, with its NUL */
#define FABRIC_PSK_DIGEST_MAX 64u    /* characters */

/* As it is configured. */
struct fabric_psk {
	uint8_t hash;                /* how it becomes a retained one: 0: it is one; enum tls_hash */
	uint8_t len;                 /* 32 or 48 */
	uint8_t secret[FABRIC_PSK_MAX];
};

/* White space at the end is passed over, as files have it. `name`: of the key, for the sentence. */
int fabric_psk_parse(const char *name, const char *text, size_t len, struct fabric_psk *ret, struct err *e) MUST_USE;
/* Of a keyring: in a job. */
struct keyring_key;
int fabric_psk_read(const struct keyring_key *key, struct fabric_psk *ret, struct err *e) MUST_USE;
/* A new key; `cipher` (enum tls_hash) says how long it is, `hash` how it is used: 0 or the same. */
void fabric_psk_make(uint8_t hash, uint8_t cipher, struct fabric_psk *ret);
void fabric_psk_print(const struct fabric_psk *psk, char text[static FABRIC_PSK_TEXT_MAX]);
void fabric_psk_wipe(struct fabric_psk *psk);
/* The hash, and so the cipher suite, that goes with a key: enum tls_hash. */
uint8_t fabric_psk_cipher(const struct fabric_psk *psk);
/* "TLS_AES_128_GCM_SHA256"; NULL: none. */
const char *fabric_psk_cipher_name(uint8_t cipher);

/* How an identity and its key are made. */
struct fabric_psk_form {
	uint8_t version;             /* 0 or 1 */
	bool generated;              /* by authentication: secure concatenation */
	bool compat;                 /* as libnvme before 1.16 */
	const char *host_nqn, *subsystem_nqn;
};

/* False: OpenSSL failed. */
bool fabric_psk_retain(const struct fabric_psk *configured, const char *host_nqn, bool compat, struct tls_psk *ret);
/* The identity and the key of TLS, from a retained or a generated PSK. False: OpenSSL failed, or the names are too
 * long: version 0 has room for 245 characters of both. */
bool fabric_psk_offer(const struct tls_psk *psk, const struct fabric_psk_form *form, struct tls_offer *ret);
/* Both at once. Wipe it: OPENSSL_cleanse(). */
bool fabric_psk_configured_offer(const struct fabric_psk *configured, const struct fabric_psk_form *form,
                                 struct tls_offer *ret);

/* What an identity says. */
struct fabric_psk_identity {
	uint8_t version;
	uint8_t hash;                /* enum tls_hash */
	bool generated;
	char host_nqn[NVME_NQN_LEN_MAX + 1], subsystem_nqn[NVME_NQN_LEN_MAX + 1];
	char digest[FABRIC_PSK_DIGEST_MAX + 1]; /* version 1; else empty */
};
/* Errors: -EINVAL: none of NVMe's. */
int fabric_psk_identity_parse(const char *text, struct fabric_psk_identity *ret, struct err *e) MUST_USE;

#endif
