/* SPDX-License-Identifier: BSD-3-Clause */
/* test_rig.h: a guest's memory with a ring in it, seen by a driver and a device, for tests and fuzz targets.
 *
 * Memory: the ring's parts, the indirect tables, the in-flight region (not the guest's, but shared too), then data.
 */
#ifndef VIRTIO_TEST_RIG_H
#define VIRTIO_TEST_RIG_H

#include <sys/mman.h>
#include <unistd.h>

#include "virtio/ring.h"

#define RIG_GPA 0x100000000ull       /* where the guest has it */
#define RIG_USER 0x7f0000000000ull   /* where the front-end has it */
#define RIG_TABLE_LEN 16u

struct rig {
	uint8_t *mem;            /* the driver's view, and the device's unless it is scattered */
	size_t len;
	uint32_t size;
	uint64_t features;
	size_t desc, driver, device, tables, inflight, data; /* offsets */
	struct vq_mem *map;
	uint8_t *pieces[8];      /* scattered: where the device has them */
	size_t piece_len;
	uint32_t piece_count;
};

static inline bool rig_packed(const struct rig *r) { return r->features & VIRTIO_BIT(VIRTIO_F_RING_PACKED); }

static inline size_t rig_place(size_t *at, size_t len, size_t align)
{
	size_t place = align_up(*at, align);

	*at = place + len;
	return place;
}

/* `mem` NULL: ask for the length. */
static inline size_t rig_layout(struct rig *r, uint64_t features, uint32_t size, size_t data_len)
{
	size_t at = 0;

	r->features = features;
	r->size = size;
	r->desc = rig_place(&at, vq_area_len(VQ_DESC, features, size), 16);
	r->driver = rig_place(&at, vq_area_len(VQ_DRIVER, features, size), 64);
	r->device = rig_place(&at, vq_area_len(VQ_DEVICE, features, size), 64);
	r->tables = rig_place(&at, size * RIG_TABLE_LEN * sizeof(struct virtq_desc), 4096);
	r->inflight = rig_place(&at, vq_inflight_len(rig_packed(r), size), 64);
	r->data = rig_place(&at, data_len, 4096);
	r->len = align_up(at, 8 * 4096);
	return r->len;
}

/* The device's version of the memory: `count` regions, one behind the other for the guest. */
static inline void rig_map(struct rig *r, uint32_t count, uint8_t *const *hosts)
{
	struct vq_region regions[8];
	uint32_t i;

	for (i = 0; i < count; i++)
		regions[i] = (struct vq_region){ .addr = RIG_GPA + i * (r->len / count), .len = r->len / count,
			.user = RIG_USER + i * (r->len / count), .host = hosts[i] };
	r->map = vq_mem_make(regions, count, NULL);
	must(r->map != NULL);
}

/* One mapping for both sides. */
static inline void rig_init(struct rig *r, uint64_t features, uint32_t size, size_t data_len)
{
	*r = (struct rig){ 0 };
	r->mem = mmap(NULL, rig_layout(r, features, size, data_len), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
	              -1, 0);
	must(r->mem != MAP_FAILED);
	rig_map(r, 1, &r->mem);
	vq_inflight_format(r->mem + r->inflight, rig_packed(r), size);
}

/* The device sees it in pieces that lie elsewhere, the first of them holding the ring. */
static inline void rig_init_scattered(struct rig *r, uint64_t features, uint32_t size, size_t data_len)
{
	size_t first, i;
	int fd = memfd_create("rig", MFD_CLOEXEC);

	*r = (struct rig){ 0 };
	must(fd >= 0 && ftruncate(fd, (off_t)rig_layout(r, features, size, data_len)) == 0);
	r->mem = mmap(NULL, r->len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	must(r->mem != MAP_FAILED);
	first = r->len / 8;
	r->piece_count = r->tables <= first ? 8 : r->tables <= 4 * first ? 2 : 1;
	r->piece_len = r->len / r->piece_count;
	for (i = r->piece_count; i-- > 0;) { /* from the last on: in the other order, mostly */
		r->pieces[i] = mmap(NULL, r->piece_len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)(i * r->piece_len));
		must(r->pieces[i] != MAP_FAILED);
	}
	close(fd);
	rig_map(r, r->piece_count, r->pieces);
	vq_inflight_format(r->mem + r->inflight, rig_packed(r), size);
}

static inline void rig_fini(struct rig *r)
{
	uint32_t i;

	vq_mem_free(r->map);
	for (i = 0; i < r->piece_count; i++)
		munmap(r->pieces[i], r->piece_len);
	munmap(r->mem, r->len);
}

static inline struct vq_setup rig_driver(const struct rig *r)
{
	return (struct vq_setup){ .features = r->features, .size = r->size, .desc = r->mem + r->desc,
		.driver = r->mem + r->driver, .device = r->mem + r->device,
		.addr_offset = RIG_GPA - (uint64_t)(uintptr_t)r->mem, .tables = r->mem + r->tables,
		.table_len = RIG_TABLE_LEN };
}

static inline struct vq_setup rig_device(const struct rig *r, bool inflight)
{
	struct vq_setup s = { .features = r->features, .size = r->size, .mem = r->map,
		.base = rig_packed(r) ? VQ_BASE_PACKED : 0 };

	must(vq_setup_place(&s, RIG_USER + r->desc, RIG_USER + r->driver, RIG_USER + r->device) == VQ_OK);
	if (inflight) {
		s.inflight = r->mem + r->inflight;
		s.inflight_len = vq_inflight_len(rig_packed(r), r->size);
	}
	return s;
}

/* Repeatable numbers (xorshift). */
static inline uint64_t rig_random(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed;
}
static inline uint32_t rig_below(uint64_t *seed, uint32_t n) { return (uint32_t)(rig_random(seed) >> 20) % n; }

#endif
