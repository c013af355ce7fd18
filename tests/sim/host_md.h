/* SPDX-License-Identifier: BSD-3-Clause */
/* host_md.h: blocks with metadata, and protection information in them, as a host makes and checks them itself. */
#ifndef TESTS_SIM_HOST_MD_H
#define TESTS_SIM_HOST_MD_H

#include "bdev/pi.h"

#define HOST_MD_APP 0x1dafu            /* the application tag of all blocks */

/* The reference tag that a command of type 1, 2 or 3 begins with. */
static inline uint32_t host_md_ref(const struct pi_shape *s, uint64_t lba) { return s->type == 3 ? 0 : (uint32_t)lba; }

/* `count` blocks of `plain` to `blocks`, each followed by its metadata. */
void host_md_make(const struct pi_shape *s, uint64_t lba, uint32_t count, const uint8_t *plain, uint8_t *blocks);
/* And back. False: one of them does not vouch for itself. */
bool host_md_take(const struct pi_shape *s, uint64_t lba, uint32_t count, const uint8_t *blocks, uint8_t *plain);

#endif
