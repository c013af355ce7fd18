/* SPDX-License-Identifier: BSD-3-Clause */
/* ring_fuzz.c: any bytes as a guest's memory with a ring in it: what is popped lies there, and no id is out twice.
 *
 * Built twice, for split rings (vq_split_fuzz) and packed ones (vq_packed_fuzz).
 * Input: features, size, how many steps, the steps, then the memory: 16 KiB in three regions, the ring in the first;
 * behind it the in-flight region.
 */
#include "base/fuzz_input.h"
#include "core/freeze.h"
#include "virtio/ring.h"

#ifdef VQ_FUZZ_PACKED
#define FORMAT VIRTIO_BIT(VIRTIO_F_RING_PACKED)
#else
#define FORMAT 0
#endif

#define SIZE_MAX_HERE 32u
#define IOVS 24u
#define GPA 0x40000000ull

struct guest {
	struct vq_region regions[3];
	struct vq_mem *mem;
	struct vq_setup setup;
	struct vq_dev dev;
	struct vq_chain chains[SIZE_MAX_HERE];
	struct iovec iovs[SIZE_MAX_HERE][IOVS];
	uint32_t count;
	uint8_t log_bits[64];
	struct vq_log log;
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Two regions that are neighbours for the guest, and one apart. */
static void memory(struct guest *g, struct fuzz_input *in)
{
	static const uint64_t addrs[] = { GPA, GPA + 4096, GPA + 65536 };
	static const uint32_t lens[] = { 4096, 8192, 4096 };
	uint32_t i;

	for (i = 0; i < 3; i++) {
		g->regions[i] = (struct vq_region){ .addr = addrs[i], .len = lens[i], .user = addrs[i],
			.host = aligned_alloc(64, lens[i]) };
		memset(g->regions[i].host, 0, lens[i]);
		fuzz_bytes(in, g->regions[i].host, lens[i]);
	}
	g->mem = vq_mem_make(g->regions, 3, NULL);
	must(g->mem != NULL);
}

static void check_chain(const struct guest *g, const struct vq_chain *c)
{
	const struct iovec *v;
	uint64_t sum = 0;
	uint32_t i, k;
	bool in = false;

	must(c->id < g->dev.size && (uint32_t)c->out_count + c->in_count <= IOVS);
	for (i = 0; i < g->count; i++)
		must(g->chains[i].id != c->id);
	for (i = 0; i < (uint32_t)c->out_count + c->in_count; i++, in = false) {
		v = &c->iov[i];
		for (k = 0; k < 3; k++)
			in = in || ((uint8_t *)v->iov_base >= g->regions[k].host &&
			            (uint8_t *)v->iov_base + v->iov_len <= g->regions[k].host + g->regions[k].len);
		/* Neighbours for the guest may be so here, too: then one iovec spans them. */
		must(in || g->regions[0].host + g->regions[0].len == g->regions[1].host);
		must(v->iov_len > 0);
		sum += v->iov_len;
	}
	must(sum == (uint64_t)c->out_len + c->in_len);
}

static void pop(struct guest *g)
{
	struct vq_chain *c = &g->chains[g->count];
	bool pending = vq_dev_pending(&g->dev);
	int rc;

	if (g->count == SIZE_MAX_HERE)
		return;
	rc = vq_dev_pop(&g->dev, c, g->iovs[g->count], IOVS);
	must((rc != 0) == pending || g->dev.fault != VQ_OK);
	must((rc < 0) == (g->dev.fault != VQ_OK));
	if (rc <= 0)
		return;
	check_chain(g, c);
	g->count++;
	must(g->dev.in_flight <= g->dev.size);
}

static void push(struct guest *g, uint32_t which)
{
	struct vq_chain c;

	if (g->count == 0)
		return;
	which %= g->count;
	c = g->chains[which];
	vq_dev_push(&g->dev, &c, c.in_len);
	g->chains[which] = g->chains[--g->count];
	/* The iovecs lie at fixed places: move them along. */
	memcpy(g->iovs[which], g->iovs[g->count], sizeof(g->iovs[which]));
	g->chains[which].iov = g->iovs[which];
}

static void move(struct guest *g)
{
	struct vq_setup s = g->setup;
	struct freeze f, thaw;
	struct vq_dev next;

	s.inflight = NULL;
	freeze_init(&f);
	vq_dev_freeze(&f, &g->dev);
	must(vq_dev_init(&next, &s) == VQ_OK);
	freeze_init_thaw(&thaw, f.buf, f.len);
	vq_dev_freeze(&thaw, &next);
	must(freeze_ok(&thaw));
	if (g->setup.inflight)
		vq_dev_thaw_inflight(&next, g->setup.inflight);
	vq_dev_fini(&g->dev);
	g->dev = next;
	freeze_fini(&f);
	freeze_fini(&thaw);
}

/* A step: three bits of what, five of which. */
static void step(struct guest *g, uint8_t op)
{
	switch (op >> 5) {
	case 0: case 1:
		pop(g);
		break;
	case 2:
		push(g, op & 31);
		break;
	case 3:
		vq_dev_publish(&g->dev);
		(void)vq_dev_kick_due(&g->dev);
		break;
	case 4: /* the guest goes on: an available index moves, or a packed entry is available in its next round */
		g->regions[0].host[(op & 31) * 16 + (FORMAT ? 14 : 2)] += FORMAT ? 0x80 : 1;
		g->regions[0].host[(op & 31) * 16 + 15] ^= FORMAT ? 0x80 : 0;
		break;
	case 5:
		if (vq_dev_arm(&g->dev))
			vq_dev_disarm(&g->dev);
		break;
	case 6:
		vq_dev_set_log(&g->dev, op & 1 ? &g->log : NULL);
		break;
	default:
		move(g);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = { data, size };
	struct guest g = { 0 };
	uint8_t head[3] = { 0 }, steps[256];
	size_t count, i, at;

	fuzz_bytes(&in, head, sizeof(head));
	count = fuzz_bytes(&in, steps, head[2]);
	memory(&g, &in);
	g.log = (struct vq_log){ g.log_bits, sizeof(g.log_bits) };
	g.setup = (struct vq_setup){ .mem = g.mem, .size = 1 + head[1] % SIZE_MAX_HERE, .indirect_max = 64,
		.features = FORMAT | (head[0] & 1 ? VIRTIO_BIT(VIRTIO_RING_F_INDIRECT_DESC) : 0) |
		            (head[0] & 2 ? VIRTIO_BIT(VIRTIO_RING_F_EVENT_IDX) : 0) |
		            (head[0] & 4 ? VIRTIO_BIT(VIRTIO_F_IN_ORDER) : 0),
		.base = FORMAT ? VQ_BASE_PACKED : 0 };
	if (!FORMAT) {
		while (!is_pow2(g.setup.size))
			g.setup.size++;
	}
	at = align_up(vq_area_len(VQ_DESC, g.setup.features, g.setup.size), 4);
	count = vq_setup_place(&g.setup, GPA, GPA + at, GPA + 2048) == VQ_OK ? count : 0;
	if (head[0] & 8) {
		g.setup.inflight_len = vq_inflight_len(FORMAT != 0, g.setup.size);
		g.setup.inflight = aligned_alloc(64, g.setup.inflight_len);
		memset(g.setup.inflight, 0, g.setup.inflight_len);
		fuzz_bytes(&in, g.setup.inflight, (uint32_t)g.setup.inflight_len);
	}
	if (vq_dev_init(&g.dev, &g.setup) == VQ_OK) {
		for (i = 0; i < count; i++)
			step(&g, steps[i]);
		(void)vq_dev_base(&g.dev, NULL);
		vq_dev_fini(&g.dev);
	}
	vq_mem_free(g.mem);
	for (i = 0; i < 3; i++)
		free(g.regions[i].host);
	free(g.setup.inflight);
	return 0;
}
