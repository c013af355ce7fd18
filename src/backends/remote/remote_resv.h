/* SPDX-License-Identifier: BSD-3-Clause */
/* remote_resv.h: reports of reservations, read. */
#ifndef BACKENDS_REMOTE_REMOTE_RESV_H
#define BACKENDS_REMOTE_REMOTE_RESV_H

#include "bdev/reservation.h"
#include "wire/nvme.h"

/* A page with extended entries, of NVME_RESV_STATUS_EXT_SIZE bytes at least; any bytes may come. Heap, the caller's. */
struct resv_seen *remote_resv_seen(const uint8_t *page, size_t len, const struct uuid *ours);

#endif
