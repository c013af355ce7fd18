/* SPDX-License-Identifier: BSD-3-Clause */
/* main.c: gantry-perf: open the controllers, give every worker its share, keep time, report, close.
 *
 * All of this runs on the control reactor; workers answer by message.
 */
#include <stdio.h>
#include <unistd.h>

#include "net/tls.h"
#include "nvme/rdma/rdma.h"
#include "perf/perf.h"
#include "verbs/verbs.h"

/* --- the end, in the order in which it comes about -------------------------------------------- */

static void all_is_over(void *arg)
{
	struct perf *p = arg;

	core_stop(p->core, p->code);
}

static void nothing_left(void *arg)
{
	struct perf *p = arg;

	if (verbs_is_over(p->core, all_is_over, p))
		all_is_over(p);
}

static void ctrlr_closed(void *arg)
{
	struct perf *p = arg;

	if (--p->ctrlrs_closing == 0)
		nvme_host_when_idle(p->host, nothing_left, p);
}

/* --- buffers: where adapters find them, so that nothing has to be copied ---------------------------------- */

static void each_flow(struct perf *p, void (*fn)(struct perf *p, struct perf_flow *f))
{
	for (uint32_t i = 0; i < p->worker_count; i++)
		for (struct perf_flow *f = p->workers[i].flows; f; f = f->next)
			fn(p, f);
}

static void buffers_make(struct perf *p, struct perf_flow *f)
{
	f->buffers.len = p->opts.depth * align_up((size_t)f->ns->wire_bytes, 4096);
	f->buffers.base = base_zalloc_aligned(4096, f->buffers.len);
	mem_region_add(p->core, &f->buffers);
}

static void buffers_free(struct perf *p, struct perf_flow *f)
{
	if (!f->buffers.base)
		return;
	mem_region_remove(p->core, &f->buffers);
	free(f->buffers.base);
}

static void close_ctrlrs(struct perf *p)
{
	each_flow(p, buffers_free);
	p->ctrlrs_closing = p->ctrlrs_open + 1; /* and our own hold */
	if (p->vio) {
		p->ctrlrs_closing++;
		perf_vhost_detach(p, ctrlr_closed);
	}
	for (uint32_t i = 0; i < p->ctrlrs_open; i++)
		nvme_ctrlr_close(p->ctrlrs[i], ctrlr_closed, p);
	ctrlr_closed(p);
}

static void worker_closed(struct msg *m)
{
	struct perf *p = container_of(m, struct perf_worker, msg)->perf;

	if (--p->workers_ready == 0)
		close_ctrlrs(p);
}

static void close_on_core(struct msg *m)
{
	struct perf_worker *w = container_of(m, struct perf_worker, msg);

	perf_worker_close(w);
	msg_send(core_control(w->perf->core), m, worker_closed);
}

static void close_workers(struct perf *p)
{
	p->workers_ready = p->worker_count;
	for (uint32_t i = 0; i < p->worker_count; i++)
		msg_send(p->workers[i].reactor, &p->workers[i].msg, close_on_core);
}

static void judge(struct perf *p)
{
	for (uint32_t i = 0; i < p->worker_count; i++) {
		const struct perf_worker *w = &p->workers[i];

		if (w->err.code) {
			if (!p->stopped) /* otherwise ctrlr_gone() has said why */
				fprintf(stderr, "gantry-perf: %s\n", w->err.text);
			p->code = 1;
		}
		for (const struct perf_flow *f = w->flows; f; f = f->next)
			if (f->counts.errors || f->miscompares)
				p->code = 1;
	}
}

static void worker_finished(struct msg *m)
{
	struct perf *p = container_of(m, struct perf_worker, msg)->perf;

	if (++p->workers_done < p->worker_count)
		return;
	timer_stop(&p->live_timer);
	judge(p);
	perf_report(p);
	close_workers(p);
}

/* --- the run ---------------------------------------------------------------------------------- */

static void live_tick(struct timer *t)
{
	struct perf *p = container_of(t, struct perf, live_timer);

	perf_live_line(p);
	timer_start(t, NS_PER_S, live_tick);
}

static void begin_workers(struct perf *p)
{
	p->began_ns = core_clock_ns();
	for (uint32_t i = 0; i < p->worker_count; i++)
		perf_worker_begin(&p->workers[i], p->began_ns, worker_finished);
	if (!p->opts.quiet && !p->opts.json && isatty(STDERR_FILENO))
		timer_start(&p->live_timer, NS_PER_S, live_tick);
}

static void worker_opened(struct msg *m)
{
	struct perf_worker *w = container_of(m, struct perf_worker, msg);
	struct perf *p = w->perf;

	if (w->err.code) {
		fprintf(stderr, "gantry-perf: %s\n", w->err.text);
		p->code = 1;
	}
	if (++p->workers_ready < p->worker_count)
		return;
	if (p->code)
		close_workers(p);
	else
		begin_workers(p);
}

/* --- who does what ---------------------------------------------------------------------------- */

static void flow_add(struct perf *p, struct perf_worker *w, struct perf_ns *ns, uint32_t first_lane)
{
	struct perf_flow *f = base_zalloc(sizeof(*f));

	f->worker = w;
	f->ns = ns;
	f->first_lane = first_lane;
	f->next = w->flows;
	w->flows = f;
	for (uint32_t i = 0; i < p->worker_count; i++)
		for (struct perf_flow *other = p->workers[i].flows; other; other = other->next)
			if (other->ns == ns)
				f->share++;
	f->share--;
}

/* Every namespace gets a worker and every worker a namespace; with fewer of one kind they take turns. */
static bool share_out(struct perf *p)
{
	uint32_t pairs = max_u32(p->ns_count, p->worker_count);
	uint16_t next_qid[PERF_PATHS_MAX] = { 0 };

	for (uint32_t i = 0; i < pairs; i++) {
		struct perf_ns *ns = &p->ns[i % p->ns_count];
		uint16_t *qid = &next_qid[ns->url ? 0 : ns->ctrlr_index]; /* sessions have numbers of their own, too */

		if (ns->ctrlr && *qid + p->opts.qpairs > nvme_ctrlr_info(ns->ctrlr)->io_queues) {
			fprintf(stderr, "gantry-perf: %s: the controller grants %u I/O queues; -P %u with %u workers needs more\n",
			        ns->name, nvme_ctrlr_info(ns->ctrlr)->io_queues, p->opts.qpairs, p->worker_count);
			return false;
		}
		flow_add(p, &p->workers[i % p->worker_count], ns, (uint16_t)(*qid + 1));
		*qid = (uint16_t)(*qid + p->opts.qpairs);
	}
	for (uint32_t i = 0; i < p->worker_count; i++)
		for (struct perf_flow *f = p->workers[i].flows; f; f = f->next)
			f->shares = (uint32_t)div_up(pairs, p->ns_count);
	return true;
}

bool perf_disk_fits(struct perf *p)
{
	const struct perf_opts *o = &p->opts;
	struct perf_ns *ns = &p->ns[p->ns_count];

	if (o->io_bytes % ns->info.block_size) {
		fprintf(stderr, "gantry-perf: -o %u: %s has blocks of %u bytes\n", o->io_bytes, ns->name, ns->info.block_size);
		return false;
	}
	ns->io_blocks = o->io_bytes / ns->info.block_size;
	ns->io_slots = ns->info.block_count / ns->io_blocks;
	if (!perf_metadata_fit(o, ns))
		return false;
	if (ns->io_slots < (uint64_t)(o->verify ? o->depth * p->worker_count : 1)) {
		fprintf(stderr, "gantry-perf: %s is too small for this run\n", ns->name);
		return false;
	}
	p->ns_count++;
	return true;
}

static bool ns_add(struct perf *p, uint32_t ctrlr_index, const struct nvme_ns_info *info)
{
	const struct nvme_ctrlr *c = p->ctrlrs[ctrlr_index];
	struct perf_ns *ns = &p->ns[p->ns_count];

	snprintf(ns->name, sizeof(ns->name), "%s NSID %u", nvme_ctrlr_info(c)->subnqn, info->nsid);
	ns->ctrlr = c;
	ns->ctrlr_index = ctrlr_index;
	ns->info = *info;
	must(nvme_ctrlr_login(c, &ns->login));
	if (!perf_disk_fits(p))
		return false;
	if (ns->wire_bytes <= nvme_ctrlr_info(c)->max_io_bytes)
		return true;
	fprintf(stderr, "gantry-perf: -o %u: %s takes at most %u bytes a command\n", ns->wire_bytes, ns->name,
	        nvme_ctrlr_info(c)->max_io_bytes);
	return false;
}

static void say_none(const struct nvme_ctrlr_info *info, const struct nvme_path *path)
{
	fprintf(stderr, "gantry-perf: %s at %s port %s has no namespace%s for us\n", info->subnqn, path->traddr,
	        path->trsvcid, path->nsid ? " of that id" : "");
	for (uint32_t i = 0; i < info->ns_count; i++)
		if (info->ns[i].status)
			fprintf(stderr, "gantry-perf: to Identify namespace %u the target answered '%s'\n", info->ns[i].nsid,
			        nvme_status_text(info->ns[i].status, false));
}

static bool collect_namespaces(struct perf *p)
{
	uint32_t most = 0;

	for (uint32_t i = 0; i < p->ctrlrs_open; i++)
		most += nvme_ctrlr_info(p->ctrlrs[i])->ns_count;
	p->ns = base_zalloc((most + 1) * sizeof(*p->ns));
	for (uint32_t i = 0; i < p->ctrlrs_open; i++) {
		const struct nvme_ctrlr_info *info = nvme_ctrlr_info(p->ctrlrs[i]);
		uint32_t wanted = p->opts.paths[i].nsid, before = p->ns_count;

		for (uint32_t n = 0; n < info->ns_count; n++)
			if (info->ns[n].usable && (!wanted || wanted == info->ns[n].nsid) && !ns_add(p, i, &info->ns[n]))
				return false;
		if (p->ns_count == before) {
			say_none(info, &p->opts.paths[i]);
			return false;
		}
	}
	return true;
}

/* All that is to be used is in p->ns. */
static void open_workers(struct perf *p)
{
	if (p->code || !share_out(p)) {
		p->code = 1;
		close_ctrlrs(p);
		return;
	}
	each_flow(p, buffers_make);
	for (uint32_t i = 0; i < p->worker_count; i++)
		perf_worker_open(&p->workers[i], worker_opened);
}

static void all_ready(struct perf *p)
{
	if (!p->code && !collect_namespaces(p))
		p->code = 1;
	open_workers(p);
}

static void ctrlr_ready(struct nvme_ctrlr *c, const struct err *e, void *arg)
{
	struct perf *p = arg;

	(void)c;
	if (e) {
		fprintf(stderr, "gantry-perf: %s\n", e->text);
		p->code = 1;
	}
	if (++p->ctrlrs_ready == p->opts.path_count)
		all_ready(p);
}

static void ctrlr_gone(struct nvme_ctrlr *c, const struct err *e, void *arg)
{
	struct perf *p = arg;

	(void)c;
	fprintf(stderr, "gantry-perf: %s\n", e->text);
	p->code = 1;
	for (uint32_t i = 0; i < p->worker_count && !p->stopped; i++)
		perf_worker_stop(&p->workers[i], e);
	p->stopped = true;
}

/* --- logical units: each is asked for its size first, by a session that ends then ------------------------- */

static void all_probed(struct msg *m)
{
	struct perf *p = container_of(m, struct perf, probed_msg);

	p->ns = base_zalloc((p->opts.url_count + 1) * sizeof(*p->ns));
	for (uint32_t i = 0; i < p->opts.url_count && !p->code; i++) {
		struct perf_ns *ns = &p->ns[i];

		ns->url = &p->opts.urls[i];
		ns->info.block_size = ini_get_info(p->probes[i])->block_size;
		ns->info.block_count = ini_get_info(p->probes[i])->block_count;
		snprintf(ns->name, sizeof(ns->name), "%s LUN %u", ns->url->target, ns->url->lun);
		p->code = perf_disk_fits(p) ? 0 : 1;
	}
	for (uint32_t i = 0; i < p->opts.url_count; i++)
		ini_close(p->probes[i]);
	if (p->code || !share_out(p)) {
		core_stop(p->core, 1);
		return;
	}
	each_flow(p, buffers_make);
	for (uint32_t i = 0; i < p->worker_count; i++)
		perf_worker_open(&p->workers[i], worker_opened);
}

static void probe_ready(struct ini *i, const struct err *e, void *arg)
{
	struct perf *p = arg;

	(void)i;
	if (e) {
		fprintf(stderr, "gantry-perf: %s\n", e->text);
		p->code = 1;
	}
	if (--p->probes_open == 0)
		msg_send(core_control(p->core), &p->probed_msg, all_probed);
}

static void probe_gone(struct ini *i, const struct err *e, void *arg)
{
	(void)i, (void)e, (void)arg; /* it has said all that was asked */
}

static void start(void *arg)
{
	struct perf *p = arg;
	uint32_t urls = p->probes_open = p->opts.url_count;

	if (p->opts.vhost_count) {
		perf_vhost_attach(p, open_workers);
		return;
	}
	for (uint32_t i = 0; i < urls; i++)
		p->probes[i] = ini_open(&p->opts.urls[i], &(struct ini_opts){ .io_timeout_ms = 30000 }, probe_ready,
		                        probe_gone, p);
	p->ctrlrs_open = p->opts.path_count;
	for (uint32_t i = 0; i < p->opts.path_count; i++)
		p->ctrlrs[i] = nvme_ctrlr_open(p->host, &p->opts.paths[i], &p->opts.host, ctrlr_ready, ctrlr_gone, p);
}

static void perf_init(struct perf *p)
{
	p->host = nvme_host_make(p->core);
	nvme_rdma_add(p->host);
	p->worker_count = core_reactor_count(p->core);
	p->workers = base_zalloc(p->worker_count * sizeof(*p->workers));
	p->opts.host.io_queues = (uint16_t)min_u32(p->worker_count * p->opts.qpairs * PERF_QUEUES_PER_QPAIR, 65535);
	for (uint32_t i = 0; i < p->worker_count; i++) {
		p->workers[i].perf = p;
		p->workers[i].reactor = core_reactor(p->core, i);
		p->workers[i].random_state = p->opts.seed * 1000003 + i;
	}
}

static void perf_fini(struct perf *p)
{
	for (uint32_t i = 0; i < p->worker_count; i++) {
		for (struct perf_flow *f = p->workers[i].flows, *next; f; f = next) {
			next = f->next;
			free(f->hist);
			free(f);
		}
	}
	free(p->workers);
	free(p->ns);
	perf_vhost_free(p);
	nvme_host_free(p->host);
	core_free(p->core);
}

/* Adapters are told of all memory for buffers at the start, which makes it resident; and little of it is used here. */
static uint64_t memory_bytes(const struct perf_opts *o)
{
	uint32_t cpus[CORE_REACTORS_MAX], count = 1;
	bool rdma = false;

	for (uint32_t i = 0; i < o->path_count; i++)
		rdma |= strcmp(o->paths[i].trtype, "RDMA") == 0;
	if (!rdma || (o->cpus && core_parse_cpus("-c", o->cpus, CORE_REACTORS_MAX, cpus, &count, NULL)))
		return 0;
	return (count + 1) * 16 * MIB;
}

int main(int argc, char **argv)
{
	struct perf p = { 0 };
	struct err e = { 0 };
	int code;

	(void)tls_keep_from_dumps();
	if (perf_opts_parse(argc, argv, &p.opts))
		return 2;
	if (p.opts.disk)
		return perf_disk_run(&p.opts);
	p.core = core_make(&(struct core_opts){ .cpus = p.opts.cpus, .mode = p.opts.mode,
	                                          .memory_bytes = memory_bytes(&p.opts) }, &e);
	if (!p.core) {
		fprintf(stderr, "gantry-perf: %s\n", e.text);
		return 2;
	}
	perf_init(&p);
	code = perf_keys_take(&p) ? core_run(p.core, start, &p) : 2;
	perf_fini(&p);
	perf_keys_give(&p);
	return code;
}
