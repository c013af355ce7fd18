/* SPDX-License-Identifier: BSD-3-Clause */
/* resv_record_fuzz.c: any bytes as a record of a reservation: refused, or read; and what was read is written and read
 * again as the same. */
#include "bdev/resv_priv.h"

struct seen {
	struct resv_parties *parties;
	struct resv_state state;
	bool nameless;      /* somebody who is another one when read again */
};

static void see(void *arg, const struct resv_identity *id, uint64_t key)
{
	struct seen *s = arg;
	const struct resv_party *y = resv_party_take(s->parties, id);

	must(s->state.count < RESV_REGISTRANTS_MAX && key);
	s->nameless |= resv_party_is_nameless(y);
	s->state.who[s->state.count++] = (struct resv_registrant){ .key = key, .party = y->id };
}

static bool read_it(struct seen *s, const char *text, size_t len, struct resv_record *ret)
{
	if (!resv_record_read(text, len, ret, see, s))
		return false;
	s->state.generation = ret->generation;
	s->state.type = ret->type;
	s->state.holder = ret->holder_at < s->state.count ? s->state.who[ret->holder_at].party : 0;
	return true;
}

static bool all_differ(const struct seen *s)
{
	for (uint32_t i = 0; i < s->state.count; i++)
		for (uint32_t n = 0; n < i; n++)
			if (s->state.who[i].party == s->state.who[n].party)
				return false;
	return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct seen *a = base_zalloc(sizeof(*a)), *b = base_zalloc(sizeof(*b));
	struct resv_record r, again;
	char *text;
	size_t len;

	a->parties = b->parties = resv_parties_make();
	if (read_it(a, (const char *)data, size, &r) && all_differ(a)) {
		text = resv_record_make(a->parties, &r.uuid, &a->state, &len);
		must(read_it(b, text, len, &again));
		must(again.count == r.count && again.holder_at == r.holder_at && again.type == r.type);
		must(a->nameless || memcmp(&a->state, &b->state, sizeof(a->state)) == 0);
		free(text);
	}
	resv_parties_free(a->parties);
	free(a);
	free(b);
	return 0;
}
