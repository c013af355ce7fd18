/* SPDX-License-Identifier: BSD-3-Clause */
/* secret.h: base64(secret || its CRC-32), as both kinds of NVMe's keys are written (private to fabric). */
#ifndef FABRIC_SECRET_H
#define FABRIC_SECRET_H

#include "base/err.h"

#define FABRIC_SECRET_BASE64_MAX 92u /* of 64 bytes and the CRC */

/* Secrets of 32, 48 and 64 bytes, but at most `max`. `name`: of the key, for the sentence; no byte of it is quoted. */
int fabric_secret_decode(const char *name, const char *base64, size_t len, uint8_t max, uint8_t *ret, uint8_t *ret_len,
                         struct err *e) MUST_USE;
void fabric_secret_encode(const uint8_t *secret, uint8_t len, char base64[static FABRIC_SECRET_BASE64_MAX + 1]);

#endif
