/* SPDX-License-Identifier: BSD-3-Clause */
/* secret.h: PREFIX:HH:base64(secret || its CRC-32): as both kinds of NVMe's keys are written (private to fabric). */
#ifndef FABRIC_SECRET_H
#define FABRIC_SECRET_H

#include "base/err.h"

/* A kind of keys. */
struct fabric_secret_form {
	const char *prefix;          /* with its colon */
	const char *what, *made_by;  /* for sentences: "keys of TLS", "nvme gen-tls-key" */
	const char *hashes;          /* what HH may be, for sentences */
	char last_hash;              /* HH is 00 to 0 and this */
	uint8_t max;                 /* bytes of a secret: 32 or 48, and 64 where this is 64 */
};

/* White space at the end is passed over. `name`: of the key, for the sentence; no byte of the secret is quoted. */
int fabric_secret_parse(const struct fabric_secret_form *form, const char *name, const char *text, size_t len,
                        uint8_t *ret_hash, uint8_t *ret, uint8_t *ret_len, struct err *e) MUST_USE;
void fabric_secret_print(const struct fabric_secret_form *form, uint8_t hash, const uint8_t *secret, uint8_t len,
                         char *text, size_t text_size);

#endif
