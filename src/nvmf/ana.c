/* SPDX-License-Identifier: BSD-3-Clause */
/* ana.c: Asymmetric Namespace Access: how good the way is on which a host came, group by group.
 *
 * A state belongs to a listener and a group. A controller has the states of the listener its admin queue came through;
 * namespaces of a group that it does not reach answer I/O with a path error, so that the host takes another way.
 */
#include "nvmf/target.h"

static uint8_t state_of(const struct nvmf_ctrlr *c, const struct nvmf_subsystem *s, uint32_t group)
{
	const struct nvmf_listener *l = nvmf_subsystem_way(s, c->transport, &c->listen_addr);

	return l ? l->ana[group - 1] : NVME_ANA_INACCESSIBLE;
}

uint16_t nvmf_ana_status(const struct nvmf_ctrlr *c, const struct nvmf_subsystem *s, const struct nvmf_ns *ns)
{
	switch (state_of(c, s, ns->anagrpid)) {
	case NVME_ANA_INACCESSIBLE:
		return NVME_SC_ANA_INACCESSIBLE;
	case NVME_ANA_PERSISTENT_LOSS:
		return NVME_SC_ANA_PERSISTENT_LOSS | NVME_SC_DNR;
	case NVME_ANA_CHANGE:
		return NVME_SC_ANA_TRANSITION;
	default:
		return NVME_SC_SUCCESS;
	}
}

bool nvmf_ana_changed(const struct nvmf_ctrlr *c, const struct nvmf_subsystem *s)
{
	const struct nvmf_listener *l = nvmf_subsystem_way(s, c->transport, &c->listen_addr);

	return s->ana_reporting && l && l->ana_changed > c->change_seen;
}

static uint32_t ns_of_group(const struct nvmf_subsystem *s, uint32_t group, le32 *ret_nsids)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < s->ns_max; i++) {
		if (!s->ns[i] || s->ns[i]->anagrpid != group)
			continue;
		if (ret_nsids)
			ret_nsids[count] = le32_of(i + 1);
		count++;
	}
	return count;
}

void *nvmf_ana_log_make(const struct nvmf_ctrlr *c, const struct nvmf_subsystem *s, bool groups_only, size_t *ret_len)
{
	const struct nvmf_listener *l = nvmf_subsystem_way(s, c->transport, &c->listen_addr);
	size_t max = sizeof(struct nvme_ana_log) + s->ns_max * (sizeof(struct nvme_ana_group_desc) + sizeof(le32));
	struct nvme_ana_log *log = base_zalloc(max);
	uint8_t *at = (uint8_t *)log->descs;
	uint16_t groups = 0;

	for (uint32_t group = 1; group <= s->ns_max; group++) {
		struct nvme_ana_group_desc *d = (struct nvme_ana_group_desc *)at;
		uint32_t count = ns_of_group(s, group, NULL);

		if (!count)
			continue;
		d->grpid = le32_of(group);
		d->chgcnt = le64_of(l ? l->ana_changed : 0);
		d->state = state_of(c, s, group);
		if (!groups_only)
			d->nnsids = le32_of(ns_of_group(s, group, d->nsids));
		at += sizeof(*d) + (groups_only ? 0 : count * sizeof(le32));
		groups++;
	}
	log->chgcnt = le64_of(l ? l->ana_changed : 0);
	log->ngrps = le16_of(groups);
	*ret_len = (size_t)(at - (uint8_t *)log);
	return log;
}
