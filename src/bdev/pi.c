/* SPDX-License-Identifier: BSD-3-Clause */
/* pi.c: protection information, made and checked over iovecs that may cut blocks and tuples anywhere. */
#include "bdev/pi.h"

#include "base/bytes.h"
#include "base/crc16.h"

struct wire_tuple {
	be16 guard, app;
	be32 ref;
};
_Static_assert(sizeof(struct wire_tuple) == PI_BYTES, "");

struct pi_tuple pi_tuple_read(const void *at)
{
	struct wire_tuple w;

	memcpy(&w, at, sizeof(w));
	return (struct pi_tuple){ .guard = be16_get(w.guard), .app = be16_get(w.app), .ref = be32_get(w.ref) };
}

void pi_tuple_write(void *at, struct pi_tuple t)
{
	struct wire_tuple w = { .guard = be16_of(t.guard), .app = be16_of(t.app), .ref = be32_of(t.ref) };

	memcpy(at, &w, sizeof(w));
}

static uint16_t crc_over(uint16_t crc, struct iov_cursor *c, size_t len, const void *ahead)
{
	for (size_t n; len; len -= n) {
		const void *p = iov_next(c, len, &n);

		crc = crc16_update_ahead(crc, p, n, ahead);
		ahead = NULL;
	}
	return crc;
}

/* Of the data, and of the metadata before the tuple. */
static inline uint16_t guard_of(const struct pi_shape *s, struct iov_cursor *data, struct iov_cursor *md,
                                const void *ahead)
{
	uint16_t guard = crc_over(0, data, s->block_size, ahead);

	return pi_at(s) ? crc_over(guard, md, pi_at(s), NULL) : guard;
}

void pi_generate(const struct pi_shape *s, struct iov_cursor data, struct iov_cursor *md, uint64_t count,
                 struct bdev_tags tags)
{
	struct iov_cursor *with = md ? md : &data;
	uint32_t rest = s->md_size - pi_at(s) - PI_BYTES;

	for (uint64_t i = 0; i < count; i++) {
		struct pi_tuple t = { .app = tags.app, .ref = pi_ref_after(s, tags.ref, i) };
		uint8_t bytes[PI_BYTES];

		t.guard = guard_of(s, &data, with, NULL);
		pi_tuple_write(bytes, t);
		iov_copy_in(with, bytes, sizeof(bytes));
		iov_skip(with, rest);
	}
}

static bool is_escaped(const struct pi_shape *s, const struct pi_tuple *t)
{
	return t->app == PI_APP_ESCAPE && (s->type != 3 || t->ref == PI_REF_ESCAPE);
}

static enum bdev_status check_tags(const struct pi_shape *s, const struct pi_tuple *t, const struct bdev_tags *tags,
                                   uint32_t ref, uint32_t checks)
{
	if (checks & BDEV_IO_PRCHK_APPTAG && (t->app ^ tags->app) & tags->mask)
		return BDEV_ST_APPTAG_CHECK;
	if (checks & BDEV_IO_PRCHK_REFTAG && s->type != 3 && t->ref != ref)
		return BDEV_ST_REFTAG_CHECK;
	return BDEV_ST_OK;
}

/* Where the block `bytes` further begins. */
static const void *block_after(struct iov_cursor data, size_t bytes)
{
	size_t n;

	iov_skip(&data, bytes);
	return iov_next(&data, 1, &n);
}

enum bdev_status pi_verify(const struct pi_shape *s, struct iov_cursor data, struct iov_cursor *md, uint64_t count,
                           struct bdev_tags tags, uint32_t checks, const void *then)
{
	struct iov_cursor *with = md ? md : &data;
	uint32_t rest = s->md_size - pi_at(s) - PI_BYTES;
	size_t stride = s->block_size + (md ? 0 : s->md_size);
	bool guarded = checks & BDEV_IO_PRCHK_GUARD;

	for (uint64_t i = 0; i < count; i++) {
		enum bdev_status st;
		uint8_t bytes[PI_BYTES];
		struct pi_tuple t;
		uint16_t guard = 0;

		if (guarded) {
			guard = guard_of(s, &data, with, i + 1 < count ? block_after(data, stride) : then);
		} else {
			iov_skip(&data, s->block_size);
			iov_skip(with, pi_at(s));
		}
		iov_copy_out(bytes, with, sizeof(bytes));
		iov_skip(with, rest);
		t = pi_tuple_read(bytes);
		if (is_escaped(s, &t))
			continue;
		if (guarded && t.guard != guard)
			return BDEV_ST_GUARD_CHECK;
		st = check_tags(s, &t, &tags, pi_ref_after(s, tags.ref, i), checks);
		if (st != BDEV_ST_OK)
			return st;
	}
	return BDEV_ST_OK;
}
