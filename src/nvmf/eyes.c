/* SPDX-License-Identifier: BSD-3-Clause */
/* eyes.c: copies of what one core of the target has counted, with names, bounded. */
#include "nvmf/nvmf_eyes.h"

#include "nvmf/stages.h"
#include "nvmf/target.h"

static void read_queues(struct nvmf_core *nc, struct stage_eyes *eyes);
static void read_namespaces(struct nvmf_core *nc, struct stage_eyes *eyes);

void nvmf_eyes_read(struct nvmf_target *t, struct nvmf_eyes *eyes)
{
	struct nvmf_core *nc = nvmf_core_here(t);

	memset(eyes, 0, sizeof(*eyes));
	eyes->index = nc->index;
	stage_eyes_begin(&eyes->stages, &nc->hosts, &nc->errors, &nc->flight);
	read_queues(nc, &eyes->stages);
	read_namespaces(nc, &eyes->stages);
	eyes->admin_queues = atomic_load_explicit(&nc->current_admin_qpairs, memory_order_relaxed);
	eyes->io_queues = atomic_load_explicit(&nc->current_io_qpairs, memory_order_relaxed);
	eyes->admin_queues_ever = nvmf_counted(&nc->admin_qpairs);
	eyes->io_queues_ever = nvmf_counted(&nc->io_qpairs);
	eyes->admin_commands = nvmf_counted(&nc->completed_admin);
	eyes->io_commands = nvmf_counted(&nc->completed_io);
}

void nvmf_eyes_free(struct nvmf_eyes *eyes)
{
	stage_eyes_free(&eyes->stages);
	memset(eyes, 0, sizeof(*eyes));
}

static void read_queues(struct nvmf_core *nc, struct stage_eyes *eyes)
{
	list_each(l, &nc->qpairs) {
		const struct nvmf_qpair *qp = list_entry(l, struct nvmf_qpair, link);
		struct stage_row *row;

		if (!qp->stages || !qp->ctrlr)
			continue;
		row = stage_eyes_queue(eyes);
		if (row) {
			stage_name_set(row->host, sizeof(row->host), qp->ctrlr->who.name);
			stage_name_set(row->target, sizeof(row->target), qp->ctrlr->nqn);
			row->a = qp->ctrlr->cntlid;
			row->b = qp->qid;
		}
		for (const struct stage_unit *q = qp->stages; q; q = q->next) {
			const struct bdev_view *v = nvmf_ns_find(qp, q->unit);

			if (row)
				stage_counts_add(&row->counts, &q->counts);
			stage_counts_add(&stage_eyes_host(eyes, qp->ctrlr->who.name)->counts, &q->counts);
			stage_eyes_add_unit(eyes, qp->ctrlr->nqn, q->unit, v ? v->served->bdev_name : STAGE_OTHERS, &q->counts);
		}
	}
}

/* Of queue pairs that have gone. */
static void read_namespaces(struct nvmf_core *nc, struct stage_eyes *eyes)
{
	for (uint32_t i = 0; i < NVMF_SUBSYSTEMS_MAX; i++) {
		const struct nvmf_subsystem *s = nc->subs[i];

		for (uint32_t n = 0; s && n < s->ns_max; n++) {
			const struct stage_own *own = s->ns[n] ? s->ns[n]->dev.view[nc->index].own : NULL;

			if (own && own->counted)
				stage_eyes_add_unit(eyes, s->nqn, s->ns[n]->nsid, s->ns[n]->dev.bdev_name, &own->counts);
		}
	}
}

/* --- transports --- */

struct passing {
	void (*emit)(void *arg, const char *transport, const char *key, uint64_t v);
	void *arg;
	const char *name;
};

static void pass_on(void *arg, const char *key, uint64_t v)
{
	const struct passing *p = arg;

	p->emit(p->arg, p->name, key, v);
}

void nvmf_eyes_transports(struct nvmf_target *t, uint32_t core_index,
                          void (*emit)(void *arg, const char *transport, const char *key, uint64_t v), void *arg)
{
	list_each(l, &t->transports) {
		struct nvmf_transport *tr = list_entry(l, struct nvmf_transport, link);
		struct passing p = { .emit = emit, .arg = arg, .name = tr->ops->name };

		if (tr->ops->stats)
			tr->ops->stats(tr, core_index, pass_on, &p);
	}
}

void nvmf_eyes_tls(struct nvmf_target *t, void (*emit)(void *arg, const char *result, uint64_t v), void *arg)
{
	for (uint32_t i = 0; i < NVMF_TLS_RESULT_COUNT; i++)
		emit(arg, nvmf_tls_result_name(i), nvmf_counted(&t->tls_results[i]));
}

void nvmf_eyes_ccr(struct nvmf_target *t, void (*emit)(void *arg, const char *event, uint64_t v), void *arg)
{
	emit(arg, "begun", nvmf_counted(&t->ccr_begun));
	emit(arg, "done", nvmf_counted(&t->ccr_done));
	emit(arg, "failed", nvmf_counted(&t->ccr_failed));
}
