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

const char *nvme_reason_remedy(enum nvme_reason reason)
{
	switch (reason) {
	case NVME_REASON_REFUSED: return "; does a target listen at that address and port?";
	case NVME_REASON_CONNECT_TIMEOUT: return "; is the address right, and does no firewall drop what is sent there?";
	case NVME_REASON_UNREACHABLE: return "; ip route get ADDRESS shows the way to it";
	default: return "";
	}
}
