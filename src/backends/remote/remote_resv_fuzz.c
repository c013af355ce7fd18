/* SPDX-License-Identifier: BSD-3-Clause */
/* remote_resv_fuzz.c: any bytes as a Reservation Report: each host once, and no more of them than fit. */
#include "backends/remote/remote_resv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct uuid ours = { { 1 } };
	struct resv_seen *s;
	uint32_t mine = 0;

	if (size < NVME_RESV_STATUS_EXT_SIZE)
		return -1;
	s = remote_resv_seen(data, size, &ours);
	must(s->type < RESV_TYPE_COUNT && s->count <= (size - NVME_RESV_STATUS_EXT_SIZE) / 64);
	for (uint32_t i = 0; i < s->count; i++)
		mine += s->who[i].ours;
	must(mine <= 1);
	free(s);
	return 0;
}
