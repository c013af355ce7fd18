/* SPDX-License-Identifier: BSD-3-Clause */
/* reason.c: why connections end, in words. */
#include "nvme/nvme.h"

#define REASON_ROW(name, key, text) [NVME_REASON_##name] = { key, text },
static const struct { const char *name, *text; } reasons[] = { NVME_REASONS(REASON_ROW) };

const char *nvme_reason_name(enum nvme_reason reason)
{
	assert(reason < NVME_REASON_COUNT);
	return reasons[reason].name;
}

const char *nvme_reason_text(enum nvme_reason reason)
{
	assert(reason < NVME_REASON_COUNT);
	return reasons[reason].text;
}
