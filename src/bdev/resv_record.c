/* SPDX-License-Identifier: BSD-3-Clause */
/* resv_record.c: a device's reservation as one line of text, and back. Pure; docs/STATE.md says what it looks like.
 *
 * Fields are separated by one blank. Names are as they are, but for bytes that a field cannot have (blanks, %, control
 * and beyond ASCII), which are %XX; an empty one is a lone %.
 */
#include <inttypes.h>
#include <stdio.h>

#include "base/text.h"
#include "bdev/resv_priv.h"

#define NAME_MAX_BYTES 1024u

/* --- writing --------------------------------------------------------------------------------------------- */

static bool plain(unsigned char c)
{
	return c > ' ' && c < 0x7f && c != '%';
}

static void add_name(struct text *t, const char *s)
{
	text_add(t, s[0] ? " " : " %%");
	for (; *s; s++) {
		if (plain((unsigned char)*s))
			text_add(t, "%c", *s);
		else
			text_add(t, "%%%02x", (unsigned char)*s);
	}
}

char *resv_record_make(const struct resv_parties *p, const struct uuid *uuid, const struct resv_state *s,
                       size_t *ret_len)
{
	char id[UUID_TEXT_MAX], *buf;
	uint32_t holder = s->count;
	size_t cap = 256;
	struct text t;

	for (uint32_t i = 0; i < s->count; i++) {
		const struct resv_party *y = resv_party_of(p, s->who[i].party);

		cap += 256 + 3 * (strlen(y->name) + strlen(y->port) + strlen(y->target));
		if (s->who[i].party == s->holder)
			holder = i;
	}
	buf = base_zalloc(cap);
	t = text_over(buf, cap);
	text_add(&t, "%s %" PRIu32 " %u %" PRIu32 " %" PRIu32, uuid_to_text(uuid, id), s->generation, s->type, holder,
	         s->count);
	for (uint32_t i = 0; i < s->count; i++) {
		const struct resv_registrant *w = &s->who[i];
		const struct resv_party *y = resv_party_of(p, w->party);

		text_add(&t, " %u %016" PRIx64 " 0 %u %s", y->kind, w->key, y->port_id, uuid_to_text(&y->host_id, id));
		add_name(&t, y->name);
		add_name(&t, y->port);
		add_name(&t, y->target);
	}
	*ret_len = strlen(buf);
	return buf;
}

/* --- reading --------------------------------------------------------------------------------------------- */

struct fields {
	const char *at, *end;
	bool bad;
};

/* The next field; empty when there is none. */
static size_t field(struct fields *f, const char **ret)
{
	const char *from = f->at, *blank = f->at < f->end ? memchr(from, ' ', (size_t)(f->end - from)) : NULL;
	const char *to = blank ? blank : f->end;

	*ret = from;
	f->at = blank ? blank + 1 : f->end;
	if (to == from)
		f->bad = true;
	return (size_t)(to - from);
}

static int nibble(char c)
{
	const char *digits = "0123456789abcdef", *at = c ? strchr(digits, c) : NULL;

	return at ? (int)(at - digits) : -1;
}

bool resv_number_read(const char *text, size_t len, uint32_t base, uint64_t max, uint64_t *ret)
{
	uint64_t v = 0;

	for (size_t i = 0; i < len; i++) {
		int digit = nibble(text[i]);

		if (digit < 0 || (uint32_t)digit >= base || v > (UINT64_MAX - (uint32_t)digit) / base)
			return false;
		v = v * base + (uint32_t)digit;
	}
	*ret = v;
	return len && v <= max;
}

static uint64_t number(struct fields *f, uint32_t base, uint64_t max)
{
	const char *from;
	size_t len = field(f, &from);
	uint64_t v = 0;

	if (!resv_number_read(from, len, base, max, &v))
		f->bad = true;
	return f->bad ? 0 : v;
}

static struct uuid uuid(struct fields *f)
{
	char text[UUID_TEXT_MAX] = { 0 };
	struct uuid u = { .b = { 0 } };
	const char *from;
	size_t len = field(f, &from);

	if (len >= sizeof(text)) {
		f->bad = true;
		return u;
	}
	memcpy(text, from, len);
	f->bad |= !uuid_from_text(text, &u);
	return u;
}

static void name(struct fields *f, char to[static NAME_MAX_BYTES])
{
	const char *from;
	size_t len = field(f, &from), n = 0;

	to[0] = 0;
	if (f->bad || (len == 1 && from[0] == '%'))
		return;
	for (size_t i = 0; i < len; i++) {
		int c = (unsigned char)from[i];

		if (c == '%') {
			int high = i + 2 < len ? nibble(from[i + 1]) : -1;
			int low = high >= 0 ? nibble(from[i + 2]) : -1;

			c = low >= 0 ? high << 4 | low : 0;
			i += 2;
		} else if (!plain((unsigned char)c)) {
			c = 0;
		}
		if (!c || n + 1 >= NAME_MAX_BYTES) {
			f->bad = true;
			return;
		}
		to[n++] = (char)c;
	}
	to[n] = 0;
}

bool resv_record_read(const char *text, size_t len, struct resv_record *ret, resv_record_fn *visit, void *arg)
{
	char names[3][NAME_MAX_BYTES];
	struct fields f = { .at = text, .end = text + len };

	ret->uuid = uuid(&f);
	ret->generation = (uint32_t)number(&f, 10, UINT32_MAX);
	ret->type = (uint8_t)number(&f, 10, RESV_TYPE_COUNT - 1);
	ret->holder_at = (uint32_t)number(&f, 10, RESV_REGISTRANTS_MAX);
	ret->count = (uint32_t)number(&f, 10, RESV_REGISTRANTS_MAX);
	if (f.bad)
		return false;
	if (ret->type && !resv_type_is_all(ret->type) ? ret->holder_at >= ret->count : ret->holder_at != ret->count)
		return false;
	if (ret->type && !ret->count)
		return false;
	for (uint32_t i = 0; i < ret->count && !f.bad; i++) {
		struct resv_identity id = { .kind = (enum resv_kind)number(&f, 10, RESV_SCSI_NEXUS) };
		uint64_t key = number(&f, 16, UINT64_MAX);

		number(&f, 10, 1); /* nothing any more */
		id.port_id = (uint16_t)number(&f, 10, UINT16_MAX);
		id.host_id = uuid(&f);
		for (uint32_t n = 0; n < 3; n++)
			name(&f, names[n]);
		id.name = names[0];
		id.port = names[1];
		id.target = names[2];
		f.bad |= !key;
		if (!f.bad && visit)
			visit(arg, &id, key);
	}
	return !f.bad && f.at == f.end;
}
