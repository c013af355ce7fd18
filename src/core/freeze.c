/* SPDX-License-Identifier: BSD-3-Clause */
/* freeze.c: a stream of records: length of the name (one byte), name, length of the value (four), value. */
#include "core/freeze.h"

#include <errno.h>

#include "base/bytes.h"

#define NAME_MAX_BYTES 255

void freeze_init(struct freeze *f)
{
	*f = (struct freeze){ 0 };
}

void freeze_init_thaw(struct freeze *f, const void *buf, size_t len)
{
	*f = (struct freeze){ .thawing = true, .buf = (uint8_t *)(uintptr_t)buf, .len = len };
}

void freeze_fini(struct freeze *f)
{
	if (!f->thawing)
		free(f->buf);
	*f = (struct freeze){ 0 };
}

bool freeze_ok(const struct freeze *f)
{
	return !f->err.code && (!f->thawing || f->at == f->len);
}

/* --- one record ---------------------------------------------------------------------------------- */

static void append(struct freeze *f, const void *data, size_t len)
{
	if (f->cap - f->len < len) {
		size_t cap = f->cap * 2 + len + 256;
		uint8_t *buf = realloc(f->buf, cap);

		if (!buf) {
			err_set(&f->err, -ENOMEM, "no memory for %zu bytes of frozen state", cap);
			return;
		}
		f->buf = buf;
		f->cap = cap;
	}
	if (len)
		memcpy(f->buf + f->len, data, len);
	f->len += len;
}

static void put(struct freeze *f, const char *name, const void *data, uint32_t len)
{
	uint8_t name_len = (uint8_t)strlen(name);
	le32 value_len = le32_of(len);

	assert(strlen(name) <= NAME_MAX_BYTES);
	append(f, &name_len, 1);
	append(f, name, name_len);
	append(f, &value_len, sizeof(value_len));
	append(f, data, len);
}

/* The next record's name and value; false at the end, or when the stream is cut. */
static bool peek(const struct freeze *f, const char **ret_name, uint32_t *ret_name_len, uint32_t *ret_len,
                 size_t *ret_at)
{
	size_t at = f->at;
	uint32_t name_len, len;
	le32 value_len;

	if (f->len - at < 1)
		return false;
	name_len = f->buf[at++];
	if (f->len - at < name_len + sizeof(value_len))
		return false;
	memcpy(&value_len, f->buf + at + name_len, sizeof(value_len));
	len = le32_get(value_len);
	if (f->len - at - name_len - sizeof(value_len) < len)
		return false;
	*ret_name = (const char *)f->buf + at;
	*ret_name_len = name_len;
	*ret_len = len;
	*ret_at = at + name_len + sizeof(value_len);
	return true;
}

static bool is_next(const struct freeze *f, const char *name, uint32_t *ret_len, size_t *ret_at)
{
	const char *found;
	uint32_t found_len;

	return peek(f, &found, &found_len, ret_len, ret_at) && found_len == strlen(name) && !memcmp(found, name, found_len);
}

static void say_unexpected(struct freeze *f, const char *name)
{
	const char *found;
	uint32_t found_len, len;
	size_t at;

	if (peek(f, &found, &found_len, &len, &at))
		err_set(&f->err, -EPROTO, "frozen state: \"%s\" is expected but \"%.*s\" is there; it was written by another "
		        "version", name, (int)found_len, found);
	else
		err_set(&f->err, -EPROTO, "frozen state: it ends where \"%s\" is expected", name);
}

/* Read a value of `min` to `max` bytes. */
static bool get(struct freeze *f, const char *name, void *data, uint32_t min, uint32_t max, uint32_t *ret_len)
{
	uint32_t len;
	size_t at;

	if (!is_next(f, name, &len, &at)) {
		say_unexpected(f, name);
		return false;
	}
	if (len < min || len > max) {
		err_set(&f->err, -EPROTO, "frozen state: \"%s\" has %u bytes where %u to %u are expected", name, len, min, max);
		return false;
	}
	if (len)
		memcpy(data, f->buf + at, len);
	f->at = at + len;
	*ret_len = len;
	return true;
}

/* --- values -------------------------------------------------------------------------------------- */

void freeze_raw(struct freeze *f, const char *name, void *data, size_t len)
{
	uint32_t got;

	if (f->err.code)
		return;
	if (f->thawing)
		(void)get(f, name, data, (uint32_t)len, (uint32_t)len, &got);
	else
		put(f, name, data, (uint32_t)len);
}

void freeze_bytes(struct freeze *f, const char *name, void *data, uint32_t *len, uint32_t max)
{
	uint32_t got;

	if (f->err.code)
		return;
	assert(f->thawing || *len <= max);
	if (!f->thawing)
		put(f, name, data, *len);
	else if (get(f, name, data, 0, max, &got))
		*len = got;
}

void freeze_text(struct freeze *f, const char *name, char *text, size_t size)
{
	uint32_t len = f->thawing ? 0 : (uint32_t)strnlen(text, size - 1);

	freeze_bytes(f, name, text, &len, (uint32_t)size - 1);
	if (f->thawing && !f->err.code)
		text[len] = 0;
}

void freeze_u8(struct freeze *f, const char *name, uint8_t *v) { freeze_raw(f, name, v, sizeof(*v)); }

#define FREEZE_UINT(bits) \
	void freeze_u##bits(struct freeze *f, const char *name, uint##bits##_t *v) \
	{ \
		le##bits wire = le##bits##_of(*v); \
		freeze_raw(f, name, &wire, sizeof(wire)); \
		if (f->thawing && !f->err.code) \
			*v = le##bits##_get(wire); \
	}
FREEZE_UINT(16)
FREEZE_UINT(32)
FREEZE_UINT(64)

void freeze_bool(struct freeze *f, const char *name, bool *v)
{
	uint8_t b = f->thawing ? 0 : *v;

	freeze_u8(f, name, &b);
	if (!f->thawing || f->err.code)
		return;
	if (b > 1)
		err_set(&f->err, -EPROTO, "frozen state: \"%s\" is %u where 0 or 1 is expected", name, b);
	else
		*v = b;
}
