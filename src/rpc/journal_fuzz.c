/* SPDX-License-Identifier: BSD-3-Clause */
/* journal_fuzz.c: any bytes as a state's file: refused with a sentence, or read; never both, and what was read is
 * within what is good. */
#include "rpc/journal.h"

struct seen {
	const char *bytes;
	size_t len;
	uint64_t number, count;
};

static void see(void *arg, const struct journal_record *r)
{
	struct seen *s = arg;

	must(r->text >= s->bytes && r->text + r->len < s->bytes + s->len);
	must((s->count == 0) == (r->kind == JOURNAL_SNAPSHOT));
	must(!s->count || r->number == s->number + 1);
	s->number = r->number;
	s->count++;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct seen seen = { .bytes = (const char *)data, .len = size };
	struct err e = { 0 };
	size_t end = 0;
	int rc = journal_read((const char *)data, size, "state", see, &seen, &end, &e);

	must(rc ? e.code && e.text[0] && !seen.count : !e.code && seen.count && end <= size);
	return 0;
}
