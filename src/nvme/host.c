/* SPDX-License-Identifier: BSD-3-Clause */
/* host.c: what the controllers of one daemon share. */
#include "nvme/host.h"

struct nvme_host *nvme_host_make(struct core *core)
{
	struct nvme_host *h = base_zalloc(sizeof(*h));

	h->core = core;
	return h;
}

void nvme_host_free(struct nvme_host *h)
{
	for (uint32_t i = 0; i < ARRAY_SIZE(h->recv_buf); i++)
		free(h->recv_buf[i]);
	nvme_host_lookups_free(h);
	free(h);
}

uint8_t *nvme_host_recv_buf(struct nvme_host *h)
{
	uint32_t i = reactor_index(reactor_self());

	if (!h->recv_buf[i])
		h->recv_buf[i] = base_zalloc_aligned(4096, HOST_RECV_BYTES);
	return h->recv_buf[i];
}
