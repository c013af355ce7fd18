/* SPDX-License-Identifier: BSD-3-Clause */
/* resv_store_fuzz.c: any bytes as the file of reservations: refused with a sentence, or read up to where an append was
 * torn; and what was read is all good when nothing follows it. */
#include "bdev/resv_priv.h"

struct seen {
	const char *bytes;
	size_t len;
	uint64_t count;
};

static void see(void *arg, const struct resv_record *r, const char *text, size_t len)
{
	struct seen *s = arg;

	must(text > s->bytes && text + len < s->bytes + s->len);
	must(r->count <= RESV_REGISTRANTS_MAX);
	s->count++;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct seen seen = { .bytes = (const char *)data, .len = size }, again = seen;
	struct err e = { 0 };
	size_t end = 0, end_again = 0;
	int rc = resv_lines_read((const char *)data, size, "state", see, &seen, &end, &e);

	must(rc ? e.code && e.text[0] : !e.code && end <= size);
	if (rc)
		return 0;
	must(resv_lines_read((const char *)data, end, "state", see, &again, &end_again, &e) == 0);
	must(end_again == end && again.count == seen.count);
	return 0;
}
