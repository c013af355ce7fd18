/* SPDX-License-Identifier: BSD-3-Clause */
/* sgl.c: what a command's descriptors say, and data cut into work requests by them. Pure.
 *
 * Statuses are SPDK's where it looks (lib/nvmf/rdma.c), Linux's where it alone does (data in the capsule of a command
 * that reads), the standard's otherwise.
 */
#include "nvmf/rdma/rdma.h"

#define REFUSED(sc) ((uint16_t)((sc) | NVME_SC_DNR))

static uint16_t parse_capsule_data(const struct nvmf_req *req, uint32_t came, struct rdma_sgl *s);
static uint16_t parse_list(const struct nvmf_req *req, const uint8_t *data, uint32_t came, struct rdma_sgl *s);
static uint16_t parse_keyed(const struct nvmf_req *req, struct rdma_sgl *s);
static bool is_keyed(const struct nvme_sgl *d);

uint16_t rdma_sgl_parse(const struct nvmf_req *req, const uint8_t *data, uint32_t came, struct rdma_sgl *ret_sgl)
{
	const struct nvme_sgl *d = &req->cmd.sgl1;

	*ret_sgl = (struct rdma_sgl){ .descs = d, .count = 1 };
	if (likely(is_keyed(d)))
		return parse_keyed(req, ret_sgl);
	if (d->id == NVME_SGL_ID(NVME_SGL_DATA_BLOCK, NVME_SGL_OFFSET))
		return parse_capsule_data(req, came, ret_sgl);
	if (d->id == NVME_SGL_ID(NVME_SGL_LAST_SEGMENT, NVME_SGL_OFFSET))
		return parse_list(req, data, came, ret_sgl);
	return REFUSED(NVME_SC_SGL_INVALID_TYPE);
}

static bool is_keyed(const struct nvme_sgl *d)
{
	return d->id == NVME_SGL_ID(NVME_SGL_KEYED_DATA_BLOCK, NVME_SGL_ADDRESS) ||
	       d->id == NVME_SGL_ID(NVME_SGL_KEYED_DATA_BLOCK, NVME_SGL_INVALIDATE);
}

static uint16_t parse_capsule_data(const struct nvmf_req *req, uint32_t came, struct rdma_sgl *s)
{
	const struct nvme_sgl *d = &req->cmd.sgl1;
	uint64_t at = le64_get(d->addr);
	uint32_t len = le32_get(d->length);

	if (req->data != NVMF_DATA_TO_CTRLR)
		return REFUSED(NVME_SC_INVALID_FIELD);
	if (at > came)
		return REFUSED(NVME_SC_SGL_INVALID_OFFSET);
	if (len > came - at || len < req->data_len)
		return REFUSED(NVME_SC_SGL_INVALID_DATA);
	s->in_capsule = true;
	s->at = (uint32_t)at;
	return NVME_SC_SUCCESS;
}

static uint16_t parse_list(const struct nvmf_req *req, const uint8_t *data, uint32_t came, struct rdma_sgl *s)
{
	const struct nvme_sgl *d = &req->cmd.sgl1;
	uint64_t at = le64_get(d->addr);
	uint32_t len = le32_get(d->length);

	if (at > came)
		return REFUSED(NVME_SC_SGL_INVALID_OFFSET);
	if (!len || len % sizeof(*d) || len > came - at)
		return REFUSED(NVME_SC_SGL_INVALID_LAST);
	if (len / sizeof(*d) > RDMA_DESCS_MAX)
		return REFUSED(NVME_SC_SGL_INVALID_COUNT);
	s->descs = (const struct nvme_sgl *)(data + at);
	s->count = (uint8_t)(len / sizeof(*d));
	s->listed = true;
	return parse_keyed(req, s);
}

/* All have to be of the one kind that can be; the last one that asks for it is invalidated. */
static uint16_t parse_keyed(const struct nvmf_req *req, struct rdma_sgl *s)
{
	uint64_t bytes = 0;

	for (uint32_t i = 0; i < s->count; i++) {
		const struct nvme_sgl *d = &s->descs[i];

		if (unlikely(!is_keyed(d)))
			return REFUSED(NVME_SC_SGL_INVALID_TYPE);
		bytes += nvme_sgl_klength(d);
		if ((d->id & 0xf) != NVME_SGL_INVALIDATE)
			continue;
		s->invalidate = true;
		s->key = le32_get(d->key);
	}
	return bytes < req->data_len ? REFUSED(NVME_SC_SGL_INVALID_DATA) : NVME_SC_SUCCESS;
}

/* --- cutting ------------------------------------------------------------------------------------------------ */

struct rdma_cursor rdma_cursor_over(const struct rdma_sgl *sgl, const struct iovec *iovs, uint32_t count)
{
	return (struct rdma_cursor){ .desc = sgl->descs, .descs_left = sgl->count, .iov = iov_cursor_over(iovs, count) };
}

/* Bytes that are left of a descriptor that has some. */
static uint32_t remote_left(struct rdma_cursor *c)
{
	while (c->desc_at == nvme_sgl_klength(c->desc)) {
		must(c->descs_left > 1);
		c->desc++;
		c->descs_left--;
		c->desc_at = 0;
	}
	return nvme_sgl_klength(c->desc) - c->desc_at;
}

void rdma_cursor_skip(struct rdma_cursor *c, uint32_t bytes)
{
	iov_skip(&c->iov, bytes);
	for (uint32_t n; bytes; bytes -= n) {
		n = min_u32(bytes, remote_left(c));
		c->desc_at += n;
	}
}

uint32_t rdma_cursor_next(struct rdma_cursor *c, uint32_t bytes, uint32_t sges_max, struct verbs_sge *sges,
                          struct verbs_wr *wr)
{
	uint32_t most = min_u32(bytes, remote_left(c)), total = 0, count = 0;

	for (size_t n; total < most && count < sges_max; total += (uint32_t)n) {
		void *at = iov_next(&c->iov, most - total, &n);

		sges[count++] = (struct verbs_sge){ .addr = (uintptr_t)at, .len = (uint32_t)n };
	}
	wr->sges = sges;
	wr->sge_count = (uint8_t)count;
	wr->rkey = le32_get(c->desc->key);
	wr->remote = le64_get(c->desc->addr) + c->desc_at;
	c->desc_at += total;
	return total;
}

uint32_t rdma_cursor_count(struct rdma_cursor c, uint32_t bytes, uint32_t sges_max)
{
	struct verbs_sge sges[RDMA_SGES_MAX];
	struct verbs_wr wr;
	uint32_t count = 0;

	for (; bytes; count++)
		bytes -= rdma_cursor_next(&c, bytes, sges_max, sges, &wr);
	return count;
}
