/* SPDX-License-Identifier: BSD-3-Clause */
/* iov.c: headers out of a guest's iovecs and into them, and the data between. A guest may cut a request into
 * descriptors wherever it likes. */
#include "vhost/device.h"

static uint64_t copy(const struct iovec *iovs, uint32_t count, uint32_t at, uint8_t *buf, uint32_t len, bool write)
{
	uint32_t done = 0;

	for (uint32_t i = 0; i < count && done < len; i++) {
		size_t have = iovs[i].iov_len;
		uint32_t n;

		if (at >= have) {
			at -= (uint32_t)have;
			continue;
		}
		n = (uint32_t)min_u64(have - at, len - done);
		if (write)
			memcpy((uint8_t *)iovs[i].iov_base + at, buf + done, n);
		else
			memcpy(buf + done, (uint8_t *)iovs[i].iov_base + at, n);
		done += n;
		at = 0;
	}
	return done;
}

bool vhost_iovs_read(const struct iovec *iovs, uint32_t count, uint32_t at, void *buf, uint32_t len)
{
	return copy(iovs, count, at, buf, len, false) == len;
}

bool vhost_iovs_write(const struct iovec *iovs, uint32_t count, uint32_t at, const void *buf, uint32_t len)
{
	return copy(iovs, count, at, (uint8_t *)(uintptr_t)buf, len, true) == len;
}

bool vhost_iovs_cut(struct vhost_cut *cut, struct iovec *iovs, uint32_t count, uint32_t at, uint32_t len)
{
	struct iovec *end = iovs + count, *v = iovs;

	*cut = (struct vhost_cut){ 0 };
	if (!len)
		return true;
	for (; v < end && at >= v->iov_len; v++)
		at -= (uint32_t)v->iov_len;
	if (v == end)
		return false;
	cut->iovs = v;
	cut->first = *v;
	v->iov_base = (uint8_t *)v->iov_base + at;
	v->iov_len -= at;
	for (; v < end && len > v->iov_len; v++)
		len -= (uint32_t)v->iov_len;
	if (v == end) {
		*cut->iovs = cut->first;
		return false;
	}
	cut->count = (uint32_t)(v - cut->iovs) + 1;
	cut->last = cut->count > 1 ? *v : cut->first;
	v->iov_len = len;
	return true;
}

void vhost_iovs_mend(struct vhost_cut *cut)
{
	if (!cut->count)
		return;
	cut->iovs[cut->count - 1] = cut->last;
	cut->iovs[0] = cut->first;
	cut->count = 0;
}

void vhost_iovs_touch(const struct iovec *iovs, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		const volatile uint8_t *p = iovs[i].iov_base;

		if (iovs[i].iov_len) {
			(void)p[0];
			(void)p[iovs[i].iov_len - 1];
		}
	}
}
