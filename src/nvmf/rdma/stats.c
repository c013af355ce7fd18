/* SPDX-License-Identifier: BSD-3-Clause */
/* stats.c: counters of a core's homes, for control; SPDK's names (nvmf_rdma_poll_group_dump_stat) first. */
#include "nvmf/rdma/rdma.h"

static void add_home(struct rdma_counters *sum, const struct rdma_home *h)
{
#define ADD(key, meaning) sum->key += __atomic_load_n(&h->counters.key, __ATOMIC_RELAXED);
	RDMA_COUNTERS(ADD)
}

/* Of all adapters that the core uses. */
void rdma_stats(struct nvmf_transport *base, uint32_t core_index, void (*emit)(void *arg, const char *key, uint64_t v),
                void *arg)
{
	struct rdma_counters sum = { 0 };

	list_each(l, &rdma_of(base)->devs) {
		const struct rdma_home *h = list_entry(l, struct rdma_dev, link)->homes[core_index];

		if (h)
			add_home(&sum, h);
	}
#define EMIT(key, meaning) emit(arg, #key, sum.key);
	RDMA_COUNTERS(EMIT)
	if (core_index)
		return;
	emit(arg, "rejected", rdma_of(base)->rejected); /* before they had a core */
}

void rdma_device_stats(struct nvmf_transport *base, uint32_t core_index, void (*device)(void *arg, const char *name),
                       void (*emit)(void *arg, const char *key, uint64_t v), void *arg)
{
	list_each(l, &rdma_of(base)->devs) {
		const struct rdma_dev *d = list_entry(l, struct rdma_dev, link);
		const struct rdma_home *h = d->homes[core_index];
		struct rdma_counters sum = { 0 };
		struct verbs_cq_stats cq;

		if (!h)
			continue;
		add_home(&sum, h);
		verbs_cq_get_stats(h->cq, &cq);
		device(arg, verbs_dev_info(d->vd)->name);
		emit(arg, "polls", cq.polls);
		emit(arg, "idle_polls", cq.polls - cq.busy_polls);
		emit(arg, "completions", cq.completions);
		emit(arg, "wakes", cq.wakes);
		RDMA_COUNTERS(EMIT)
	}
}
