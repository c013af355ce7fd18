/* SPDX-License-Identifier: BSD-3-Clause */
/* smart.c: the log page SMART / Health Information: what was read and written, by a controller or on a namespace, and
 * how well it is.
 *
 * Queue pairs count on their cores (stages.c): the page is made when somebody asks, by one message to each core. What
 * has no meaning for RAM and other people's disks is zero: there is no sensor, and nothing wears. A device that fails
 * or loses data is real, and told: the first such answer that a controller gave raises an event.
 */
#include "nvmf/target.h"

struct smart {
	struct each each;
	struct nvmf_req *req;
	uint32_t nsid;                    /* 0: the controller's own */
	_Atomic uint64_t ios[2], bytes[2], busy_ns;
};

/* NSID 0 and FFFFFFFFh: the controller; else the namespace, whoever uses it. */
bool nvmf_smart_parse(struct nvmf_req *req)
{
	uint32_t nsid = le32_get(req->cmd.nsid);

	return !nsid || nsid == NVME_NSID_ALL || nvmf_ns_find(req->qpair, nsid) ||
	       nvmf_req_refuse(req, NVME_SC_INVALID_NS | NVME_SC_DNR);
}

/* --- gathering --------------------------------------------------------------------------------------- */

static void add_counts(struct smart *m, const struct stage_counts *c)
{
	for (uint32_t i = 0; i < 2; i++) {
		atomic_fetch_add(&m->ios[i], c->ios[i]);
		atomic_fetch_add(&m->bytes[i], c->bytes[i]);
	}
}

static void at_least(_Atomic uint64_t *v, uint64_t n)
{
	uint64_t old = atomic_load(v);

	while (old < n && !atomic_compare_exchange_weak(v, &old, n))
		;
}

static void count_qpair(struct smart *m, const struct nvmf_qpair *qp)
{
	const struct nvmf_ctrlr *c = m->req->qpair->ctrlr;

	if (!qp->ctrlr || qp->ctrlr->sub_id != c->sub_id || (!m->nsid && qp->ctrlr != c))
		return;
	if (qp->ctrlr == c)
		at_least(&m->busy_ns, qp->busy_ns);
	for (const struct stage_unit *q = qp->stages; q; q = q->next)
		if (!m->nsid || q->unit == m->nsid)
			add_counts(m, &q->counts);
}

static void gather_on_core(struct each *e)
{
	struct smart *m = container_of(e, struct smart, each);
	struct nvmf_core *nc = nvmf_core_here(m->req->qpair->target);
	const struct nvmf_subsystem *s = nc->subs[m->req->qpair->ctrlr->sub_id];
	const struct stage_own *own;

	list_each(l, &nc->qpairs)
		count_qpair(m, list_entry(l, struct nvmf_qpair, link));
	if (!m->nsid || !s || m->nsid > s->ns_max || !s->ns[m->nsid - 1])
		return;
	own = s->ns[m->nsid - 1]->dev.view[nc->index].own;
	if (!own)
		return;
	add_counts(m, &own->counts);
	for (uint32_t i = 0; i < 2; i++) {
		atomic_fetch_add(&m->ios[i], own->other_ios[i]);
		atomic_fetch_add(&m->bytes[i], own->other_bytes[i]);
	}
}

/* --- the page ------------------------------------------------------------------------------------------- */

static uint64_t data_units(uint64_t bytes)
{
	return div_up(bytes, 512 * 1000);
}

/* A queue that is just moving is on no core: what was told once is not taken back. */
static void controller_sums(struct smart *m, struct nvmf_ctrlr *c)
{
	for (uint32_t i = 0; i < 2; i++) {
		c->smart_told[i][0] = max_u64(c->smart_told[i][0], m->ios[i] + atomic_load(&c->smart.ios[i]));
		c->smart_told[i][1] = max_u64(c->smart_told[i][1], m->bytes[i] + atomic_load(&c->smart.bytes[i]));
		atomic_store(&m->ios[i], c->smart_told[i][0]);
		atomic_store(&m->bytes[i], c->smart_told[i][1]);
	}
}

static void gathered(struct each *e)
{
	struct smart *m = container_of(e, struct smart, each);
	struct nvmf_req *req = m->req;
	struct nvmf_ctrlr *c = req->qpair->ctrlr;
	struct nvme_smart_log page = { .avail_spare = 100 };

	if (!m->nsid)
		controller_sums(m, c);
	c->busy_told_ns = max_u64(c->busy_told_ns, max_u64(m->busy_ns, atomic_load(&c->smart.busy_ns)));
	page.critical_warning = nvmf_critical_warning(c);
	page.data_units_read = le128_of(data_units(m->bytes[STAGE_KIND_READ]));
	page.data_units_written = le128_of(data_units(m->bytes[STAGE_KIND_WRITE]));
	page.host_reads = le128_of(m->ios[STAGE_KIND_READ]);
	page.host_writes = le128_of(m->ios[STAGE_KIND_WRITE]);
	page.ctrl_busy_time = le128_of(c->busy_told_ns / (60 * NS_PER_S));
	page.power_cycles = le128_of(1);
	page.power_on_hours = le128_of((core_wall_us() - c->connected_us) / 3600000000ull);
	page.media_errors = le128_of(atomic_load(&c->media_errors));
	page.num_err_log_entries = le128_of(atomic_load(&c->error_count));
	free(m);
	nvmf_log_page_send(req, &page, sizeof(page));
}

void nvmf_smart_run(struct nvmf_req *req)
{
	struct smart *m = base_zalloc(sizeof(*m));
	uint32_t nsid = le32_get(req->cmd.nsid);

	m->req = req;
	m->nsid = nsid == NVME_NSID_ALL ? 0 : nsid;
	each_core(&m->each, req->qpair->target->core, gather_on_core, gathered);
}

/* The queue pair ends, on its core. */
void nvmf_smart_close(struct nvmf_qpair *qp, const struct stage_counts *counts)
{
	struct nvmf_ctrlr *c = qp->ctrlr;

	for (uint32_t i = 0; i < 2; i++) {
		atomic_fetch_add(&c->smart.ios[i], counts->ios[i]);
		atomic_fetch_add(&c->smart.bytes[i], counts->bytes[i]);
	}
	at_least(&c->smart.busy_ns, qp->busy_ns);
}

/* --- health --------------------------------------------------------------------------------------------- */

uint8_t nvmf_critical_warning(const struct nvmf_ctrlr *c)
{
	return atomic_load(&c->degraded) ? NVME_SMART_CRIT_DEGRADED : 0;
}

/* What a host did not want to hear of is told when it does. */
void nvmf_health_look(struct nvmf_ctrlr *c, const struct nvmf_subsystem *s)
{
	uint8_t now = nvmf_critical_warning(c), wanted = now & (uint8_t)c->aer_config;

	if (c->discovery)
		return;
	if (wanted & ~c->critical_warning)
		nvmf_event_raise(c, NVMF_EVENT_HEALTH);
	c->critical_warning = wanted;
}
