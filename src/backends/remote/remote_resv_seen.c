/* SPDX-License-Identifier: BSD-3-Clause */
/* remote_resv_seen.c: what a Reservation Report says; pure. */
#include "backends/remote/remote_resv.h"

/* One entry a controller: those of a host are alike. Any bytes may come. */
struct resv_seen *remote_resv_seen(const uint8_t *page, size_t len, const struct uuid *ours)
{
	const struct nvme_resv_status *head = (const void *)page;
	const struct nvme_registered_ctrl_ext *entries = (const void *)(page + NVME_RESV_STATUS_EXT_SIZE);
	uint32_t most = (uint32_t)((len - NVME_RESV_STATUS_EXT_SIZE) / sizeof(*entries));
	uint32_t count = min_u32(le16_get(head->regctl), most);
	struct resv_seen *s = base_zalloc(sizeof(*s) + count * sizeof(s->who[0]));
	enum resv_type type = resv_type_from_nvme(head->rtype);

	s->generation = le32_get(head->gen);
	s->type = (uint8_t)(type == RESV_TYPE_COUNT ? RESV_NONE : type);
	s->persists = head->ptpls & 1;
	for (uint32_t i = 0; i < count; i++) {
		struct uuid host;
		uint32_t k = 0;

		memcpy(host.b, entries[i].hostid, sizeof(host.b));
		while (k < s->count && !uuid_equal(&s->who[k].host_id, &host))
			k++;
		s->who[k].key = le64_get(entries[i].rkey);
		s->who[k].host_id = host;
		s->who[k].holds |= entries[i].rcsts & 1;
		s->who[k].ours = uuid_equal(&host, ours);
		s->count += k == s->count;
	}
	return s;
}
