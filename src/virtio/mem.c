/* SPDX-License-Identifier: BSD-3-Clause */
/* mem.c: a guest's memory: where its addresses are mapped here; and the log of what was written in it. */
#include <errno.h>
#include <inttypes.h>

#include "virtio/ring.h"

static int by_addr(const void *a, const void *b)
{
	const struct vq_region *x = a, *y = b;

	return x->addr < y->addr ? -1 : x->addr > y->addr;
}

struct vq_mem *vq_mem_make(const struct vq_region *regions, uint32_t count, struct err *e)
{
	/* One more than there are: the hint of an empty memory has something to look at, of length 0. */
	struct vq_mem *mem = base_zalloc(sizeof(*mem) + (count + 1) * sizeof(mem->regions[0]));
	const struct vq_region *r;
	uint32_t i;

	mem->count = count;
	if (count > 0)
		memcpy(mem->regions, regions, count * sizeof(mem->regions[0]));
	qsort(mem->regions, count, sizeof(mem->regions[0]), by_addr);
	for (i = 0; i < count; i++) {
		r = &mem->regions[i];
		if (r->len == 0 || r->addr + r->len - 1 < r->addr || r->user + r->len - 1 < r->user)
			err_set(e, -EINVAL, "memory region at 0x%" PRIx64 ": its length 0x%" PRIx64
			        " is 0 or leads beyond the address space", r->addr, r->len);
		else if (i > 0 && r->addr - r[-1].addr < r[-1].len)
			err_set(e, -EINVAL, "memory region at 0x%" PRIx64 ": the one at 0x%" PRIx64
			        " (length 0x%" PRIx64 ") overlaps it", r->addr, r[-1].addr, r[-1].len);
		else
			continue;
		free(mem);
		return NULL;
	}
	return mem;
}

void vq_mem_free(struct vq_mem *mem)
{
	free(mem);
}

/* The region that holds addr; NULL: none does. */
static const struct vq_region *region_of(const struct vq_mem *mem, uint64_t addr)
{
	uint32_t low = 0, high = mem->count, mid;

	while (low < high) {
		mid = low + (high - low) / 2;
		if (addr < mem->regions[mid].addr)
			high = mid;
		else if (addr - mem->regions[mid].addr >= mem->regions[mid].len)
			low = mid + 1;
		else
			return &mem->regions[mid];
	}
	return NULL;
}

void *vq_mem_find(const struct vq_mem *mem, uint64_t addr, uint64_t len, uint32_t *hint)
{
	const struct vq_region *r = region_of(mem, addr);

	if (!r || len > r->len - (addr - r->addr))
		return NULL;
	*hint = (uint32_t)(r - mem->regions);
	return r->host + (addr - r->addr);
}

void *vq_mem_at_user(const struct vq_mem *mem, uint64_t user, uint64_t len)
{
	const struct vq_region *r;
	uint32_t i;

	for (i = 0; i < mem->count; i++) {
		r = &mem->regions[i];
		if (user - r->user < r->len && len <= r->len - (user - r->user))
			return r->host + (user - r->user);
	}
	return NULL;
}

int vq_mem_iovs(const struct vq_mem *mem, uint64_t addr, uint64_t len, struct iovec *iovs, uint32_t max,
                uint32_t *hint)
{
	const struct vq_region *r = region_of(mem, addr), *end = mem->regions + mem->count;
	uint64_t at, piece;
	int count = 0;
	bool room = true;

	for (; len > 0; addr += piece, len -= piece, r++) {
		at = r && r < end ? addr - r->addr : 0;
		if (!r || r == end || at >= r->len)
			return 0; /* a hole: below the next region addr - r->addr wraps */
		piece = min_u64(len, r->len - at);
		if ((uint32_t)count == max)
			room = false; /* but go on: what is not there is the worse news */
		else
			iovs[count++] = (struct iovec){ r->host + at, piece };
		*hint = (uint32_t)(r - mem->regions);
	}
	return room ? count : -1;
}

/* By where they begin: an iovec ends in the region where it begins. The one hit last is likely to be hit again. */
bool vq_chain_remap(struct vq_chain *c, const struct vq_mem *mem)
{
	const struct vq_region *r = mem->regions, *end = mem->regions + mem->count;
	const struct iovec *v;

	for (v = c->iov; v < c->iov + c->out_count + c->in_count; v++) {
		if (r < end && (uint64_t)((uint8_t *)v->iov_base - r->host) < r->len)
			continue;
		for (r = mem->regions; r < end && (uint64_t)((uint8_t *)v->iov_base - r->host) >= r->len;)
			r++;
		if (r == end)
			return false;
	}
	c->mem = mem;
	return true;
}

uint64_t vq_mem_addr_of(const struct vq_mem *mem, const void *host)
{
	uint64_t at;
	uint32_t i;

	for (i = 0; i < mem->count; i++) {
		at = (uint64_t)(uintptr_t)host - (uint64_t)(uintptr_t)mem->regions[i].host;
		if (at < mem->regions[i].len)
			return mem->regions[i].addr + at;
	}
	return UINT64_MAX;
}

void vq_log_mark(const struct vq_log *log, uint64_t addr, uint64_t len)
{
	uint64_t page, last;

	if (len == 0 || addr + (len - 1) < addr)
		return;
	last = (addr + (len - 1)) / VHOST_LOG_PAGE;
	/* Always a locked write, though most bits are set already: a mere look at the bit could pass the write to the
	 * page, and the front-end takes the bit and copies the page in between. */
	for (page = addr / VHOST_LOG_PAGE; page <= last && page / 8 < log->size_bytes; page++)
		__atomic_fetch_or(&log->base[page / 8], (uint8_t)(1u << page % 8), __ATOMIC_SEQ_CST);
}
