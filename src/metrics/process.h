/* SPDX-License-Identifier: BSD-3-Clause */
/* process.h: what the system says of this process. Private to metrics; any thread. */
#ifndef METRICS_PROCESS_H
#define METRICS_PROCESS_H

#include "base/base.h"

uint64_t process_start_s(void); /* since 1970; 0: unknown */
uint64_t process_fds(void);     /* open descriptors */
bool process_pages(uint64_t *ret_virtual, uint64_t *ret_resident); /* false: unknown */

#endif
