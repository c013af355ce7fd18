/* SPDX-License-Identifier: BSD-3-Clause */
/* home.c: what a core has for all of its connections together. Made with its first connection. */
#include "iscsi/conn.h"

static bool watch_tasks(struct watch *w, uint64_t now_ns, uint64_t limit_ns);
static void watch_one(struct watch *w, struct iscsi_conn *c, struct iscsi_task *t, uint64_t age_ns);

void iscsi_home_begin(struct iscsi_home *h)
{
	if (h->begun)
		return;
	h->begun = true;
	gather_rxs_begin(&h->rxs);
	/* A read that begins and ends within pages. */
	gather_iovs_begin(&h->iovs, h->conns->core, MEM_IO_BYTES_MAX / MEM_SMALL_BYTES + 2);
	h->batch = malloc(sizeof(*h->batch));
	must(h->batch);
	watch_start(&h->watch, "iSCSI", watch_tasks);
}

void iscsi_home_end(struct iscsi_home *h)
{
	if (!h->begun)
		return;
	assert(list_empty(&h->list));
	watch_stop(&h->watch);
	free(h->batch);
	gather_rxs_end(&h->rxs);
	gather_iovs_end(&h->iovs);
	h->begun = false;
}

/* What is in the SCSI layer's hands it watches itself. */
static bool watch_tasks(struct watch *w, uint64_t now_ns, uint64_t limit_ns)
{
	struct iscsi_home *h = container_of(w, struct iscsi_home, watch);
	bool any = false;

	list_each(l, &h->list) {
		struct iscsi_conn *c = list_entry(l, struct iscsi_conn, link);

		for (uint32_t i = 0; c->in_use > c->executing && i < c->touched; i++) {
			struct iscsi_task *t = conn_task(c, i);

			if (t->state == TASK_FREE || t->state == TASK_EXECUTE)
				continue;
			any = true;
			if (now_ns > t->since_ns && now_ns - t->since_ns > limit_ns)
				watch_one(w, c, t, now_ns - t->since_ns);
		}
	}
	return any;
}

static void watch_one(struct watch *w, struct iscsi_conn *c, struct iscsi_task *t, uint64_t age_ns)
{
	watch_report(w, age_ns, "%s task %08x opcode %02xh: %s (%u of %u bytes came%s)", iscsi_conn_name(c), t->itt,
	             t->scsi.cdb[0], iscsi_task_states[t->state].meaning, t->received, t->wanted,
	             c->blocked ? "; the initiator does not read" : "");
}
