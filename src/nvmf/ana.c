/* SPDX-License-Identifier: BSD-3-Clause */
/* ana.c: Asymmetric Namespace Access: how good the way is on which a host came, group by group.
 *
 * A state belongs to a listener and a group. A controller has the states of the listener its admin queue came through;
 * namespaces of a group that it does not reach answer I/O with a path error, so that the host takes another way (for
 * which it must be allowed to try again: no DNR).
 *
 * Which namespaces a queue pair may use, by its way and because its host sees them, is worked out once for a version of
 * the subsystem and kept as a bit each: struct nvmf_reach. Subsystems that hide nothing do not even look there.
 */
#include "nvmf/target.h"

static uint8_t state_of(const struct nvmf_ctrlr *c, const struct nvmf_subsystem *s, uint32_t group)
{
	const struct nvmf_listener *l = nvmf_subsystem_way(s, c->transport, &c->listen_addr);

	return l ? l->ana[group - 1].state : NVME_ANA_INACCESSIBLE;
}

static uint16_t status_of(uint8_t state)
{
	switch (state) {
	case NVME_ANA_INACCESSIBLE:
		return NVME_SC_ANA_INACCESSIBLE;
	case NVME_ANA_PERSISTENT_LOSS:
		return NVME_SC_ANA_PERSISTENT_LOSS;
	case NVME_ANA_CHANGE:
		return NVME_SC_ANA_TRANSITION;
	default:
		return NVME_SC_SUCCESS;
	}
}

uint16_t nvmf_ana_status(const struct nvmf_ctrlr *c, const struct nvmf_subsystem *s, uint32_t nsid)
{
	return status_of(state_of(c, s, s->ns_group[nsid - 1]));
}

bool nvmf_ana_reached(const struct nvmf_ctrlr *c, const struct nvmf_subsystem *s, uint32_t nsid)
{
	uint8_t state = state_of(c, s, s->ns_group[nsid - 1]);

	return state != NVME_ANA_INACCESSIBLE && state != NVME_ANA_PERSISTENT_LOSS;
}

void nvmf_reach_look(struct nvmf_qpair *qp, const struct nvmf_subsystem *s)
{
	const struct nvmf_listener *l = nvmf_subsystem_way(s, qp->ctrlr->transport, &qp->ctrlr->listen_addr);
	uint32_t words = s->ns_max / 64 + 1;

	if (qp->reach && qp->reach->words < words) {
		free(qp->reach);
		qp->reach = NULL;
	}
	if (!qp->reach) {
		qp->reach = base_zalloc(sizeof(*qp->reach) + words * sizeof(qp->reach->bits[0]));
		qp->reach->words = words;
	}
	memset(qp->reach->bits, 0, qp->reach->words * sizeof(qp->reach->bits[0]));
	qp->reach->stamp = s->stamp;
	for (uint32_t i = 0; l && i < s->ns_max; i++)
		if (s->ns[i] && !status_of(l->ana[s->ns_group[i] - 1].state) &&
		    nvmf_subsystem_shows(s, i + 1, qp->ctrlr->who.name))
			qp->reach->bits[i / 64] |= 1ull << i % 64;
}

static uint64_t last_change(const struct nvmf_subsystem *s, const struct nvmf_listener *l)
{
	uint64_t last = 0;

	for (uint32_t g = 0; l && g < s->ns_max; g++)
		last = max_u64(last, l->ana[g].changed);
	return last;
}

bool nvmf_ana_changed(const struct nvmf_ctrlr *c, const struct nvmf_subsystem *s)
{
	const struct nvmf_listener *l = nvmf_subsystem_way(s, c->transport, &c->listen_addr);

	return s->ana_reporting && last_change(s, l) > c->change_seen;
}

/* The host's own namespaces: how many each group has. */
static uint32_t *count_groups(const struct nvmf_ctrlr *c, const struct nvmf_subsystem *s)
{
	uint32_t *counts = base_zalloc((s->ns_max + 1) * sizeof(*counts));

	for (uint32_t i = 0; i < s->ns_max; i++)
		if (s->ns[i] && nvmf_subsystem_shows(s, i + 1, c->who.name))
			counts[s->ns_group[i]]++;
	return counts;
}

/* Their numbers, each into its group's descriptor. */
static void fill_groups(const struct nvmf_ctrlr *c, const struct nvmf_subsystem *s,
                        struct nvme_ana_group_desc **descs)
{
	for (uint32_t i = 0; i < s->ns_max; i++) {
		struct nvme_ana_group_desc *d = descs[s->ns_group[i]];
		uint32_t n = d ? le32_get(d->nnsids) : 0;

		if (!d || !s->ns[i] || !nvmf_subsystem_shows(s, i + 1, c->who.name))
			continue;
		d->nsids[n] = le32_of(i + 1);
		d->nnsids = le32_of(n + 1);
	}
}

void *nvmf_ana_log_make(const struct nvmf_ctrlr *c, const struct nvmf_subsystem *s, bool groups_only, size_t *ret_len)
{
	const struct nvmf_listener *l = nvmf_subsystem_way(s, c->transport, &c->listen_addr);
	size_t max = sizeof(struct nvme_ana_log) + s->ns_max * (sizeof(struct nvme_ana_group_desc) + sizeof(le32));
	struct nvme_ana_group_desc **descs = base_zalloc((s->ns_max + 1) * sizeof(struct nvme_ana_group_desc *));
	struct nvme_ana_log *log = base_zalloc(max);
	uint32_t *counts = count_groups(c, s);
	uint8_t *at = (uint8_t *)log->descs;
	uint16_t groups = 0;

	for (uint32_t group = 1; group <= s->ns_max; group++) {
		struct nvme_ana_group_desc *d = (struct nvme_ana_group_desc *)at;

		if (!counts[group])
			continue;
		d->grpid = le32_of(group);
		d->chgcnt = le64_of(l ? l->ana[group - 1].changed : 0);
		d->state = l ? l->ana[group - 1].state : NVME_ANA_INACCESSIBLE;
		descs[group] = d;
		at += sizeof(*d) + (groups_only ? 0 : counts[group] * sizeof(le32));
		groups++;
	}
	if (!groups_only)
		fill_groups(c, s, descs);
	log->chgcnt = le64_of(last_change(s, l));
	log->ngrps = le16_of(groups);
	*ret_len = (size_t)(at - (uint8_t *)log);
	free(counts);
	free(descs);
	return log;
}
