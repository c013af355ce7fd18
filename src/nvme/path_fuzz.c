/* SPDX-License-Identifier: BSD-3-Clause */
/* path_fuzz.c: any text as a transport id: an answer, never a crash, and what is accepted is usable. */
#include <stdlib.h>

#include "nvme/nvme.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = strndup((const char *)data, size);
	struct err e = { 0 };
	struct nvme_path p;

	if (nvme_path_parse(text, &p, &e)) {
		must(e.code && e.text[0]);
	} else {
		must(p.trtype[0] && p.traddr[0] && p.trsvcid[0] && p.subnqn[0]);
	}
	free(text);
	return 0;
}
