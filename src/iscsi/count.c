/* SPDX-License-Identifier: BSD-3-Clause */
/* count.c: what metrics read. Control reactor. */
#include "iscsi/session.h"

void iscsi_target_count(struct iscsi_target *t, void (*fn)(void *arg, const char *node, const struct iscsi_counts *c),
                        void *arg)
{
	list_each(l, &t->nodes) {
		const struct iscsi_node *n = list_entry(l, struct iscsi_node, link);
		struct iscsi_counts counts;

		if (n->gone || n->coming)
			continue;
		iscsi_conns_count(n, &counts);
		fn(arg, n->name, &counts);
	}
}

void iscsi_target_stats(struct iscsi_target *t, uint32_t core_index,
                        void (*emit)(void *arg, const char *key, uint64_t v), void *arg)
{
	iscsi_conns_stats(t->conns, core_index, emit, arg);
}
