/* SPDX-License-Identifier: BSD-3-Clause */
/* ana_log.c: the groups of an asymmetric namespace access log page. Any bytes may come. */
#include <errno.h>

#include "nvme/nvme.h"

int nvme_ana_log_each(const void *page, size_t len, bool (*fn)(const struct nvme_ana_group *g, void *arg), void *arg,
                      struct err *e)
{
	const struct nvme_ana_log *log = page;
	size_t at = sizeof(*log);
	uint32_t last = 0;

	if (len < sizeof(*log))
		return err_set(e, -EPROTO, "an ANA log of %zu bytes has no header", len);
	for (uint32_t i = 0; i < le16_get(log->ngrps); i++) {
		const struct nvme_ana_group_desc *d = (const void *)((const uint8_t *)page + at);
		struct nvme_ana_group g;

		if (len - at < sizeof(*d))
			return err_set(e, -EPROTO, "the ANA log ends within group %u of %u", i + 1, le16_get(log->ngrps));
		g = (struct nvme_ana_group){ .id = le32_get(d->grpid), .ns_count = le32_get(d->nnsids),
			                     .change_count = le64_get(d->chgcnt), .state = d->state & 0xf, .nsids = d->nsids };
		at += sizeof(*d);
		if (g.ns_count > (len - at) / sizeof(le32))
			return err_set(e, -EPROTO, "the ANA log ends within the %u namespaces of group %u", g.ns_count,
			               g.id);
		if (g.id <= last)
			return err_set(e, -EPROTO, "the groups of the ANA log do not ascend: %u follows %u", g.id, last);
		at += g.ns_count * sizeof(le32);
		last = g.id;
		if (!fn(&g, arg))
			return 0;
	}
	return 0;
}

uint32_t nvme_ana_log_bytes_max(const struct nvme_ctrlr_info *info)
{
	uint64_t bytes = sizeof(struct nvme_ana_log) +
	                 (uint64_t)info->ana_groups * sizeof(struct nvme_ana_group_desc) +
	                 (uint64_t)max_u32(info->ns_count, info->namespaces_max) * sizeof(le32);

	return (uint32_t)min_u64(align_up(bytes, 4), NVME_ANA_LOG_BYTES_MAX);
}
