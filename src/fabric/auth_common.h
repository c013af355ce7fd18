/* SPDX-License-Identifier: BSD-3-Clause */
/* auth_common.h: what the two ends of DH-HMAC-CHAP do alike (private to fabric). */
#ifndef FABRIC_AUTH_COMMON_H
#define FABRIC_AUTH_COMMON_H

#include "base/text.h"
#include "fabric/auth.h"

/* The first reason stays. */
void fabric_auth_blame(struct fabric_auth_common *c, uint8_t explanation, const char *fmt, ...) PRINTF(3, 4);
void fabric_auth_header(struct nvmf_auth_header *h, uint8_t type, uint8_t id, uint16_t t_id);
uint32_t fabric_auth_put_failure(const struct fabric_auth_common *c, uint8_t id, void *message);
/* Number that is never 0, for a challenge. */
uint32_t fabric_auth_seqnum(void);
void fabric_auth_wipe(struct fabric_auth_common *c);
/* "sha256, sha384": those of a set. */
void fabric_auth_list(struct text *t, uint32_t set, const char *(*name)(uint8_t id));

#endif
