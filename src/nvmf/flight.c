/* SPDX-License-Identifier: BSD-3-Clause */
/* flight.c: the flight recorder: the last slow I/Os of each core, and the slowest of each second, with names and
 * the time of each stage. Always on: what is fast costs two comparisons, and only when it took longer than a pass.
 *
 * Slow is what takes longer than the limit that was set, or, without one, a multiple of the mean of this core that
 * follows it, but at least a millisecond.
 */
#include "nvmf/stages.h"
#include "nvmf/target.h"

static struct nvmf_slow_io *slow_slot(struct nvmf_flight *f);
static void close_second(struct nvmf_flight *f, uint64_t now_ns);
static void fill(struct nvmf_slow_io *s, const struct nvmf_req *req, const uint64_t stage_ns[NVMF_STAGE_COUNT],
                 uint64_t total_ns);
static void name_in(char *to, size_t size, const char *from);
static void add_once(struct nvmf_slow_io *ios, uint32_t *count, const struct nvmf_slow_io *s);

static inline struct nvmf_slow_io *candidate(struct nvmf_flight *f)
{
	return &f->ios[NVMF_FLIGHT_SLOW + NVMF_FLIGHT_SECONDS];
}
_Static_assert(NVMF_FLIGHT_SLOW + NVMF_FLIGHT_SECONDS + 1 <= NVMF_SLOW_IOS_MAX, "who reads has room for all");

static uint64_t limit_of(const struct nvmf_core *nc)
{
	uint64_t set = atomic_load_explicit(&nc->target->slow_limit_ns, memory_order_relaxed);

	return set ? set : max_u64(NVMF_SLOW_MIN_NS, nc->flight.mean_ns * NVMF_SLOW_MEANS);
}

void nvmf_flight_note(struct nvmf_req *req, const uint64_t stage_ns[static NVMF_STAGE_COUNT], uint64_t total_ns,
                      bool lost)
{
	struct nvmf_core *nc = req->qpair->nc;
	struct nvmf_flight *f = &nc->flight;
	uint64_t now_ns = reactor_now_ns();
	struct nvmf_slow_io *s;

	f->numbers++;
	if (!f->ios)
		f->ios = base_zalloc(NVMF_SLOW_IOS_MAX * sizeof(*f->ios));
	if (now_ns - f->second_ns >= NS_PER_S)
		close_second(f, now_ns);
	f->limit_ns = limit_of(nc);
	if (total_ns > f->worst_ns) {
		f->worst_ns = total_ns;
		s = candidate(f);
		fill(s, req, stage_ns, total_ns);
		s->why = NVMF_SLOW_OF_SECOND | (lost ? NVMF_SLOW_LOST : 0) | (total_ns > f->limit_ns ? NVMF_SLOW_LIMIT : 0);
	}
	if (total_ns > f->limit_ns) {
		s = slow_slot(f);
		fill(s, req, stage_ns, total_ns);
		s->why = NVMF_SLOW_LIMIT | (lost ? NVMF_SLOW_LOST : 0);
	}
}

static struct nvmf_slow_io *slow_slot(struct nvmf_flight *f)
{
	return &f->ios[f->slow_count++ % NVMF_FLIGHT_SLOW];
}

static void close_second(struct nvmf_flight *f, uint64_t now_ns)
{
	if (f->worst_ns)
		f->ios[NVMF_FLIGHT_SLOW + f->second_count++ % NVMF_FLIGHT_SECONDS] = *candidate(f);
	f->worst_ns = 0;
	f->second_ns = now_ns;
	*candidate(f) = (struct nvmf_slow_io){ 0 };
}

static void fill(struct nvmf_slow_io *s, const struct nvmf_req *req, const uint64_t stage_ns[NVMF_STAGE_COUNT],
                 uint64_t total_ns)
{
	const struct nvmf_qpair *qp = req->qpair;
	const struct bdev_view *v = nvmf_ns_find(qp, le32_get(req->cmd.nsid));

	*s = (struct nvmf_slow_io){
		.number = qp->nc->flight.numbers, .at_ns = reactor_now_ns(), .at_us = core_wall_us(), .total_ns = total_ns,
		.lba = le64_get(req->cmd.rw.slba), .len = req->data_len, .blocks_1 = le16_get(req->cmd.rw.nlb),
		.nsid = le32_get(req->cmd.nsid), .core = qp->nc->index, .qid = qp->qid, .cid = le16_get(req->cmd.cid),
		.cntlid = qp->ctrlr->cntlid, .status = nvme_cqe_status(&req->cpl) & NVME_SC_CODE, .opc = req->cmd.opc,
	};
	memcpy(s->stage_ns, stage_ns, sizeof(s->stage_ns));
	name_in(s->host, sizeof(s->host), qp->ctrlr->who.name);
	name_in(s->nqn, sizeof(s->nqn), qp->ctrlr->nqn);
	name_in(s->device, sizeof(s->device), v ? v->served->bdev_name : "");
}

static void name_in(char *to, size_t size, const char *from)
{
	struct text t = text_over(to, size);

	text_add_utf8(&t, from);
}

/* --- reading --- */

uint32_t nvmf_slow_read(struct nvmf_target *t, struct nvmf_slow_io ret_ios[static NVMF_SLOW_IOS_MAX])
{
	struct nvmf_flight *f = &nvmf_core_here(t)->flight;
	uint32_t count = 0;

	if (!f->ios)
		return 0;
	for (uint32_t i = 0; i <= NVMF_FLIGHT_SLOW + NVMF_FLIGHT_SECONDS; i++)
		if (f->ios[i].total_ns)
			add_once(ret_ios, &count, &f->ios[i]);
	return count;
}

/* What was above the limit may have been its second's slowest, too. */
static void add_once(struct nvmf_slow_io *ios, uint32_t *count, const struct nvmf_slow_io *s)
{
	for (uint32_t i = 0; i < *count; i++) {
		if (ios[i].number == s->number) {
			ios[i].why |= s->why;
			return;
		}
	}
	ios[(*count)++] = *s;
}

void nvmf_slow_clear(struct nvmf_target *t)
{
	struct nvmf_flight *f = &nvmf_core_here(t)->flight;

	if (f->ios)
		memset(f->ios, 0, NVMF_SLOW_IOS_MAX * sizeof(*f->ios));
	f->worst_ns = 0;
}

/* Cores take it over with the next command that is looked at; the present second may go by the old one. */
void nvmf_slow_set_limit(struct nvmf_target *t, uint64_t limit_ns)
{
	atomic_store(&t->slow_limit_ns, limit_ns);
}

uint64_t nvmf_slow_get_limit(const struct nvmf_target *t) { return atomic_load(&t->slow_limit_ns); }

void nvmf_flight_fini(struct nvmf_flight *f)
{
	free(f->ios);
	f->ios = NULL;
}
