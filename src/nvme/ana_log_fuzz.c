/* SPDX-License-Identifier: BSD-3-Clause */
/* ana_log_fuzz.c: any bytes as an ANA log: groups within its bounds, or a sentence. */
#include "nvme/nvme.h"

struct page {
	const uint8_t *bytes, *end;
	uint32_t last;
};

static bool check_group(const struct nvme_ana_group *g, void *arg)
{
	struct page *p = arg;

	must((const uint8_t *)g->nsids >= p->bytes && (const uint8_t *)(g->nsids + g->ns_count) <= p->end);
	must(g->id > p->last && g->state < 16);
	p->last = g->id;
	return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct page p = { .bytes = data, .end = data + size };
	struct err e = { 0 };

	if (nvme_ana_log_each(data, size, check_group, &p, &e))
		must(e.code && e.text[0]);
	return 0;
}
