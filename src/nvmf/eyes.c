/* SPDX-License-Identifier: BSD-3-Clause */
/* eyes.c: copies of what one core of the target has counted, with names, bounded. */
#include "nvmf/nvmf_eyes.h"

#include "nvmf/stages.h"
#include "nvmf/target.h"

static void read_hosts(struct nvmf_core *nc, struct nvmf_eyes *eyes);
static void read_queues(struct nvmf_core *nc, struct nvmf_eyes *eyes);
static void read_namespaces(struct nvmf_core *nc, struct nvmf_eyes *eyes);
static struct nvmf_eyes_row *host_row(struct nvmf_eyes *eyes, const char *name);
static void row_of_ns(struct nvmf_eyes *eyes, const char *nqn, uint32_t nsid, const char *device,
                      const struct nvmf_stage_counts *counts);
static void set_name(char *to, size_t size, const char *from);

void nvmf_eyes_read(struct nvmf_target *t, struct nvmf_eyes *eyes)
{
	struct nvmf_core *nc = nvmf_core_here(t);

	memset(eyes, 0, sizeof(*eyes));
	eyes->index = nc->index;
	eyes->hosts = base_zalloc((NVMF_EYES_HOSTS + 1) * sizeof(*eyes->hosts));
	eyes->queues = base_zalloc(NVMF_EYES_QUEUES * sizeof(*eyes->queues));
	eyes->namespaces = base_zalloc(NVMF_EYES_NAMESPACES * sizeof(*eyes->namespaces));
	read_hosts(nc, eyes);
	read_queues(nc, eyes);
	read_namespaces(nc, eyes);
	eyes->error_count = nc->error_count;
	for (uint32_t i = 0; i < nc->error_count; i++)
		eyes->errors[i] = nc->errors[i];
	eyes->slow_ios = nc->flight.slow_count;
	eyes->slow_limit_ns = nc->flight.limit_ns;
	eyes->admin_queues = atomic_load_explicit(&nc->current_admin_qpairs, memory_order_relaxed);
	eyes->io_queues = atomic_load_explicit(&nc->current_io_qpairs, memory_order_relaxed);
	eyes->admin_queues_ever = nvmf_counted(&nc->admin_qpairs);
	eyes->io_queues_ever = nvmf_counted(&nc->io_qpairs);
	eyes->admin_commands = nvmf_counted(&nc->completed_admin);
	eyes->io_commands = nvmf_counted(&nc->completed_io);
}

void nvmf_eyes_free(struct nvmf_eyes *eyes)
{
	free(eyes->hosts);
	free(eyes->queues);
	free(eyes->namespaces);
	memset(eyes, 0, sizeof(*eyes));
}

/* Of those that have gone; read_queues() adds the living. */
static void read_hosts(struct nvmf_core *nc, struct nvmf_eyes *eyes)
{
	for (const struct nvmf_host_counts *h = nc->hosts; h; h = h->next)
		nvmf_stage_counts_add(&host_row(eyes, h->name)->counts, &h->counts);
}

static void read_queues(struct nvmf_core *nc, struct nvmf_eyes *eyes)
{
	list_each(l, &nc->qpairs) {
		const struct nvmf_qpair *qp = list_entry(l, struct nvmf_qpair, link);
		struct nvmf_eyes_row *row = NULL;

		if (!qp->stages || !qp->ctrlr)
			continue;
		if (eyes->queue_count < NVMF_EYES_QUEUES) {
			row = &eyes->queues[eyes->queue_count++];
			set_name(row->host, sizeof(row->host), qp->ctrlr->who.name);
			set_name(row->nqn, sizeof(row->nqn), qp->ctrlr->nqn);
			row->cntlid = qp->ctrlr->cntlid;
			row->qid = qp->qid;
		} else {
			eyes->left_out++;
		}
		for (const struct nvmf_queue_counts *q = qp->stages; q; q = q->next) {
			const struct bdev_view *v = nvmf_ns_find(qp, q->nsid);

			if (row)
				nvmf_stage_counts_add(&row->counts, &q->counts);
			nvmf_stage_counts_add(&host_row(eyes, qp->ctrlr->who.name)->counts, &q->counts);
			row_of_ns(eyes, qp->ctrlr->nqn, q->nsid, v ? v->served->bdev_name : NVMF_EYES_OTHERS, &q->counts);
		}
	}
}

/* Beyond the limit it is only said that there are more. */
static void row_of_ns(struct nvmf_eyes *eyes, const char *nqn, uint32_t nsid, const char *device,
                      const struct nvmf_stage_counts *counts)
{
	struct nvmf_eyes_row *row = eyes->namespaces;
	uint32_t i = 0;

	for (; i < eyes->namespace_count; i++, row++)
		if (row->nsid == nsid && strcmp(row->nqn, nqn) == 0)
			break;
	if (i == NVMF_EYES_NAMESPACES) {
		eyes->left_out++;
		return;
	}
	if (i == eyes->namespace_count) {
		eyes->namespace_count++;
		set_name(row->nqn, sizeof(row->nqn), nqn);
		set_name(row->device, sizeof(row->device), device);
		row->nsid = nsid;
	}
	nvmf_stage_counts_add(&row->counts, counts);
}

/* Of queue pairs that have gone. */
static void read_namespaces(struct nvmf_core *nc, struct nvmf_eyes *eyes)
{
	for (uint32_t i = 0; i < NVMF_SUBSYSTEMS_MAX; i++) {
		const struct nvmf_subsystem *s = nc->subs[i];

		for (uint32_t n = 0; s && n < s->ns_max; n++) {
			const struct nvmf_ns_own *own = s->ns[n] ? s->ns[n]->dev.view[nc->index].own : NULL;

			if (own && own->counted)
				row_of_ns(eyes, s->nqn, s->ns[n]->nsid, s->ns[n]->dev.bdev_name, &own->counts);
		}
	}
}

/* One row more than are told apart: it takes the rest. */
static struct nvmf_eyes_row *host_row(struct nvmf_eyes *eyes, const char *name)
{
	struct nvmf_eyes_row *row;

	for (uint32_t i = 0; i < eyes->host_count; i++)
		if (strcmp(eyes->hosts[i].host, name) == 0)
			return &eyes->hosts[i];
	if (eyes->host_count > NVMF_EYES_HOSTS)
		return &eyes->hosts[NVMF_EYES_HOSTS];
	row = &eyes->hosts[eyes->host_count];
	set_name(row->host, sizeof(row->host), eyes->host_count++ == NVMF_EYES_HOSTS ? NVMF_EYES_OTHERS : name);
	return row;
}

static void set_name(char *to, size_t size, const char *from)
{
	struct text t = text_over(to, size);

	text_add_utf8(&t, from);
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
