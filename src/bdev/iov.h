/* SPDX-License-Identifier: BSD-3-Clause */
/* iov.h: a cursor over iovecs: copy, compare, fill and cut without indices in the caller. */
#ifndef BDEV_IOV_H
#define BDEV_IOV_H

#include <sys/uio.h>

#include "base/stream.h"

struct iov_cursor {
	const struct iovec *iov;
	uint32_t left;   /* iovecs, the current one included */
	size_t at;       /* bytes into the current one */
};

static inline struct iov_cursor iov_cursor_over(const struct iovec *iovs, uint32_t count)
{
	return (struct iov_cursor){ .iov = iovs, .left = count };
}

static inline uint64_t iov_bytes(const struct iovec *iovs, uint32_t count)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < count; i++)
		sum += iovs[i].iov_len;
	return sum;
}

/* The next contiguous piece of at most `max` bytes, and step over it. There must be one. */
static inline void *iov_next(struct iov_cursor *c, size_t max, size_t *ret_len)
{
	void *p;
	size_t len;

	while (c->at == c->iov->iov_len) {
		must(c->left > 1);
		c->iov++;
		c->left--;
		c->at = 0;
	}
	p = (char *)c->iov->iov_base + c->at;
	len = c->iov->iov_len - c->at;
	if (len > max)
		len = max;
	c->at += len;
	*ret_len = len;
	return p;
}

/* Where iov_next() would begin, or NULL at the end. */
static inline const void *iov_peek(const struct iov_cursor *c)
{
	if (c->at < c->iov->iov_len)
		return (const char *)c->iov->iov_base + c->at;
	return c->left > 1 ? c->iov[1].iov_base : NULL;
}

static inline void iov_skip(struct iov_cursor *c, size_t len)
{
	for (size_t n; len; len -= n)
		iov_next(c, len, &n);
}

static inline void iov_copy_in(struct iov_cursor *to, const void *from, size_t len)
{
	for (size_t n; len; len -= n, from = (const char *)from + n) {
		void *p = iov_next(to, len, &n);

		memcpy(p, from, n);
	}
}

static inline void iov_copy_out(void *to, struct iov_cursor *from, size_t len)
{
	for (size_t n; len; len -= n, to = (char *)to + n) {
		const void *p = iov_next(from, len, &n);

		memcpy(to, p, n);
	}
}

/* Past the caches: stream_done() comes before others may look. */
static inline void iov_stream_out(void *to, struct iov_cursor *from, size_t len)
{
	for (size_t n; len; len -= n, to = (char *)to + n) {
		const void *p = iov_next(from, len, &n);

		stream_copy(to, p, n);
	}
}

static inline void iov_zero(struct iov_cursor *to, size_t len)
{
	for (size_t n; len; len -= n) {
		void *p = iov_next(to, len, &n);

		memset(p, 0, n);
	}
}

/* How many bytes are equal from here on; `len` when all are. */
static inline size_t iov_equal(struct iov_cursor *c, const void *with, size_t len)
{
	const char *w = with;
	size_t done = 0;

	for (size_t n; done < len; done += n) {
		const char *p = iov_next(c, len - done, &n);

		if (memcmp(p, w + done, n) == 0)
			continue;
		for (size_t i = 0; i < n; i++)
			if (p[i] != w[done + i])
				return done + i;
	}
	return len;
}

/* Describe the next `len` bytes, or those of them that `max` iovecs can describe, in `out`, stepping over them. Returns
 * the number of iovecs. */
static inline uint32_t iov_some(struct iov_cursor *c, size_t len, struct iovec *out, uint32_t max, size_t *ret_len)
{
	size_t left = len;
	uint32_t used = 0;

	for (size_t n; left && used < max; left -= n) {
		out[used].iov_base = iov_next(c, left, &n);
		out[used++].iov_len = n;
	}
	*ret_len = len - left;
	return used;
}

/* The same for all of them: 0 when they do not fit in `max`, and then the cursor has not moved. */
static inline uint32_t iov_slice(struct iov_cursor *c, size_t len, struct iovec *out, uint32_t max)
{
	struct iov_cursor before = *c;
	size_t described;
	uint32_t used = iov_some(c, len, out, max, &described);

	if (described == len)
		return used;
	*c = before;
	return 0;
}

#endif
