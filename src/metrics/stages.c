/* SPDX-License-Identifier: BSD-3-Clause */
/* stages.c: I/O commands by host, by namespace or LUN, by queue or session, with the time of their stages; what they
 * were answered, and how many were slow. Of NVMe, SCSI and virtio-blk alike: a host is a host, whichever it speaks (a
 * virtual machine's is its controller). What is told apart by name is bounded, see metrics.h, and added up over the
 * cores first. */
#include "metrics/format.h"

enum of { OF_HOST, OF_NAMESPACE, OF_QUEUE, OF_LUN, OF_SESSION, OF_VM_QUEUE };

/* Rows of all cores as one. */
struct merged {
	enum of of;
	struct stage_row *at;
	uint32_t count, max;
	bool any_others;                /* they lie at [max], and come last */
};

/* --- rows of cores --- */

/* The sessions of a multi-queue host are on several cores. */
static bool same(enum of of, const struct stage_row *a, const struct stage_row *b)
{
	return a->unit == b->unit && a->a == b->a && a->b == b->b && strcmp(a->host, b->host) == 0 &&
	       strcmp(a->target, b->target) == 0 && (of != OF_SESSION || strcmp(a->device, b->device) == 0);
}

static bool is_others(const struct stage_row *row)
{
	return strcmp(row->host, STAGE_OTHERS) == 0;
}

/* What there is no place for, and what a core has put together already, is one row, the last. */
static void merge(struct merged *all, const struct stage_row *rows_of_core, uint32_t count)
{
	for (uint32_t n = 0; n < count; n++) {
		const struct stage_row *row = &rows_of_core[n];
		uint32_t i = is_others(row) ? all->max : 0;

		while (i < all->count && !same(all->of, &all->at[i], row))
			i++;
		if (i < all->count) {
			stage_counts_add(&all->at[i].counts, &row->counts);
		} else if (i < all->max) {
			all->at[all->count++] = *row;
		} else {
			stage_counts_add(&all->at[all->max].counts, &row->counts);
			all->any_others = true;
		}
	}
}

/* No label of the others is that of one of them. */
static void merge_end(struct merged *all)
{
	struct stage_row *others = &all->at[all->max];

	if (!all->any_others)
		return;
	memcpy(others->host, STAGE_OTHERS, sizeof(STAGE_OTHERS));
	memcpy(others->target, STAGE_OTHERS, sizeof(STAGE_OTHERS));
	memcpy(others->device, STAGE_OTHERS, sizeof(STAGE_OTHERS));
	all->at[all->count++] = *others;
}

static struct merged merged_make(enum of of, uint32_t max)
{
	return (struct merged){ .of = of, .at = base_zalloc((max + 1) * sizeof(struct stage_row)), .max = max };
}

/* --- a row's lines --- */

static void who_is(struct labels *l, enum of of, const struct stage_row *row)
{
	labels_init(l);
	if (of != OF_NAMESPACE && of != OF_LUN)
		label(l, "host", row->host);
	if (of == OF_HOST)
		return;
	if (of == OF_VM_QUEUE) {
		label(l, "bdev", row->device);
		label_u64(l, "session", row->a);
		label_u64(l, "queue", row->b);
		return;
	}
	label(l, of == OF_LUN || of == OF_SESSION ? "target" : "subsystem", row->target);
	if (of == OF_NAMESPACE || of == OF_LUN) {
		label_u64(l, of == OF_LUN ? "lun" : "nsid", row->unit);
		label(l, "bdev", row->device);
	} else if (of == OF_SESSION) {
		label(l, "session", row->device);
		label_u64(l, "port", row->a);
	} else {
		label_u64(l, "cntlid", row->a);
		label_u64(l, "qid", row->b);
	}
}

static void by_kind(FILE *f, enum metric m, const struct labels *who, const uint64_t v[STAGE_KIND_COUNT])
{
	for (uint32_t k = 0; k < STAGE_KIND_COUNT; k++) {
		struct labels l;

		labels_init(&l);
		text_add(&l.t, "%s", who->buf);
		label(&l, "op", stage_kind_name(k));
		put(f, m, &l, v[k]);
	}
}

/* Every `step`th edge is shown; buckets add up. */
static void histogram(FILE *f, enum metric m, const struct labels *who, const struct stage_counts *c, uint32_t step)
{
	const char *metric = metrics_rows[m].name;

	for (uint32_t s = 0; s < STAGE_COUNT; s++) {
		const char *stage = stage_name(s);
		uint64_t sum = c->at_once, sum_ns = c->stage[s].sum_ns;

		for (uint32_t i = 0; i < STAGE_BUCKETS; i++) {
			uint64_t edge_ns = 1024ull << i;

			sum += c->stage[s].bucket[i];
			if (i + 1 < STAGE_BUCKETS && i % step == 0)
				fprintf(f, "%s_bucket{%s,stage=\"%s\",le=\"%llu.%09llu\"} %llu\n", metric, who->buf, stage,
				        (unsigned long long)(edge_ns / NS_PER_S), (unsigned long long)(edge_ns % NS_PER_S),
				        (unsigned long long)sum);
		}
		fprintf(f, "%s_bucket{%s,stage=\"%s\",le=\"+Inf\"} %llu\n", metric, who->buf, stage, (unsigned long long)sum);
		fprintf(f, "%s_sum{%s,stage=\"%s\"} %llu.%09llu\n", metric, who->buf, stage,
		        (unsigned long long)(sum_ns / NS_PER_S), (unsigned long long)(sum_ns % NS_PER_S));
		fprintf(f, "%s_count{%s,stage=\"%s\"} %llu\n", metric, who->buf, stage, (unsigned long long)sum);
	}
}

/* METRIC_COUNT: such rows do not have it. */
struct metrics_of {
	enum metric ios, bytes, bad, stage;
	uint32_t step;
};

static void counted(FILE *f, const struct merged *all, struct metrics_of of)
{
	struct labels l;

	for (enum metric m = of.ios; m <= of.stage; m++) {
		head(f, m);
		for (uint32_t i = 0; i < all->count; i++) {
			const struct stage_counts *c = &all->at[i].counts;

			who_is(&l, all->of, &all->at[i]);
			if (m == of.ios)
				by_kind(f, m, &l, c->ios);
			else if (m == of.stage)
				histogram(f, m, &l, c, of.step);
			else if (m == of.bytes)
				by_kind(f, m, &l, c->bytes);
			else if (m == of.bad)
				put(f, m, &l, c->errors);
		}
	}
}

/* --- hosts, units, queues --- */

static void hosts(FILE *f, const struct gathering *g)
{
	struct merged all = merged_make(OF_HOST, METRICS_HOSTS_MAX);

	for (uint32_t i = 0; i < g->core_count; i++) {
		merge(&all, g->cores[i].nvmf.stages.hosts, g->cores[i].nvmf.stages.host_count);
		merge(&all, g->cores[i].scsi.hosts, g->cores[i].scsi.host_count);
		merge(&all, g->cores[i].vhost.hosts, g->cores[i].vhost.host_count);
	}
	merge_end(&all);
	counted(f, &all,
	        (struct metrics_of){ METRIC_HOST_IOS, METRIC_HOST_BYTES, METRIC_HOST_ERRORS, METRIC_HOST_STAGE, 1 });
	free(all.at);
}

static void units(FILE *f, const struct gathering *g, enum of of, struct metrics_of metrics)
{
	struct merged all = merged_make(of, METRICS_NAMESPACES_MAX);

	for (uint32_t i = 0; i < g->core_count; i++) {
		const struct stage_eyes *eyes = of == OF_LUN ? &g->cores[i].scsi : &g->cores[i].nvmf.stages;

		merge(&all, eyes->units, eyes->unit_count);
	}
	merge_end(&all);
	counted(f, &all, metrics);
	free(all.at);
}

/* Returns how many there was no place for. */
static uint64_t queues(FILE *f, const struct gathering *g, enum of of, enum metric ios, enum metric stage)
{
	struct merged all = merged_make(of, METRICS_QUEUES_MAX);
	uint64_t left_out = 0;

	for (uint32_t i = 0; i < g->core_count; i++) {
		const struct stage_eyes *eyes = of == OF_VM_QUEUE ? &g->cores[i].vhost :
		                                of == OF_SESSION ? &g->cores[i].scsi : &g->cores[i].nvmf.stages;

		left_out += eyes->left_out;
		for (uint32_t n = 0; n < eyes->queue_count; n++) {
			all.any_others = false;
			merge(&all, &eyes->queues[n], 1);
			left_out += all.any_others;
		}
	}
	counted(f, &all, (struct metrics_of){ ios, METRIC_COUNT, METRIC_COUNT, stage, 3 });
	free(all.at);
	return left_out;
}

static void left_out(FILE *f, const char *kind, uint64_t n)
{
	struct labels l;

	labels_init(&l);
	label(&l, "kind", kind);
	put(f, METRIC_LEFT_OUT, &l, n);
}

/* --- errors, slow commands --- */

static void nvmf_error(struct labels *l, uint32_t code)
{
	label_u64(l, "sct", code >> 8 & 7);
	label_u64(l, "sc", code & 0xff);
}

static void scsi_error(struct labels *l, uint32_t code)
{
	char asc[8];
	struct text t = text_over(asc, sizeof(asc));

	label_u64(l, "status", code >> 24);
	label_u64(l, "key", code >> 16 & 0xff);
	text_add(&t, "%02x/%02x", code >> 8 & 0xff, code & 0xff);
	label(l, "asc", asc);
}

static void vhost_error(struct labels *l, uint32_t code)
{
	label(l, "status", vhost_status_name(code));
}

static void errors(FILE *f, const struct gathering *g, enum metric m)
{
	struct labels l;
	char name[16];

	head(f, m);
	for (uint32_t i = 0; i + 1 < g->core_count; i++) {
		const struct gathered_core *c = &g->cores[i];
		const struct stage_errors *e = m == METRIC_ERRORS ? &c->nvmf.stages.errors :
		                               m == METRIC_SCSI_ERRORS ? &c->scsi.errors : &c->vhost.errors;

		for (uint32_t n = 0; n < e->count; n++) {
			labels_init(&l);
			label(&l, "core", core_name(&g->cores[i], name));
			(m == METRIC_ERRORS ? nvmf_error : m == METRIC_SCSI_ERRORS ? scsi_error : vhost_error)(&l, e->at[n].code);
			put(f, m, &l, e->at[n].count);
		}
	}
}

static void slow(FILE *f, const struct gathering *g, enum metric ios, enum metric limit)
{
	struct labels l;
	char name[16];

	for (enum metric m = ios; m <= limit; m++) {
		head(f, m);
		for (uint32_t i = 0; i + 1 < g->core_count; i++) {
			const struct gathered_core *c = &g->cores[i];
			const struct stage_eyes *eyes = ios == METRIC_SLOW ? &c->nvmf.stages :
			                                ios == METRIC_SCSI_SLOW ? &c->scsi : &c->vhost;

			labels_init(&l);
			label(&l, "core", core_name(&g->cores[i], name));
			if (m == ios)
				put(f, m, &l, eyes->slow_ios);
			else
				put_seconds(f, m, &l, eyes->slow_limit_ns);
		}
	}
}

void metrics_stages(FILE *f, const struct gathering *g)
{
	uint64_t of_nvmf = 0, of_scsi = 0, of_vhost = 0;

	hosts(f, g);
	if (g->m->nvmf) {
		errors(f, g, METRIC_ERRORS);
		slow(f, g, METRIC_SLOW, METRIC_SLOW_LIMIT);
		units(f, g, OF_NAMESPACE,
		      (struct metrics_of){ METRIC_NS_IOS, METRIC_NS_BYTES, METRIC_NS_ERRORS, METRIC_NS_STAGE, 1 });
		of_nvmf = queues(f, g, OF_QUEUE, METRIC_QUEUE_IOS, METRIC_QUEUE_STAGE);
	}
	if (g->m->scsi) {
		errors(f, g, METRIC_SCSI_ERRORS);
		slow(f, g, METRIC_SCSI_SLOW, METRIC_SCSI_SLOW_LIMIT);
		units(f, g, OF_LUN,
		      (struct metrics_of){ METRIC_LUN_IOS, METRIC_LUN_BYTES, METRIC_LUN_ERRORS, METRIC_LUN_STAGE, 1 });
		of_scsi = queues(f, g, OF_SESSION, METRIC_SESSION_IOS, METRIC_SESSION_STAGE);
	}
	if (g->m->vhost) {
		errors(f, g, METRIC_VM_ERRORS);
		slow(f, g, METRIC_VM_SLOW, METRIC_VM_SLOW_LIMIT);
		of_vhost = queues(f, g, OF_VM_QUEUE, METRIC_VM_QUEUE_IOS, METRIC_VM_QUEUE_STAGE);
	}
	head(f, METRIC_LEFT_OUT);
	left_out(f, "queues and namespaces", of_nvmf);
	left_out(f, "sessions and LUNs", of_scsi);
	left_out(f, "virtio-blk queues", of_vhost);
	left_out(f, "devices", g->devices.left_out);
}
