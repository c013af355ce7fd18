/* SPDX-License-Identifier: BSD-3-Clause */
/* stages.c: counting I/O commands and the time of their stages, when the last byte of the answer is gone. */
#include "nvmf/stages.h"

#include "nvmf/target.h"

static struct stage_unit *find_counts(struct nvmf_qpair *qp, uint32_t nsid);
static void count_times(struct nvmf_req *req, struct stage_counts *c, uint64_t done_ns, bool lost);
static inline void count_total(struct nvmf_req *req, const uint64_t ns[STAGE_COUNT], uint64_t now_ns, bool lost);
static void count_sending(struct nvmf_req *req, struct stage_counts *c, uint64_t now_ns);
static void times_of(const struct nvmf_req *req, uint64_t done_ns, uint64_t now_ns, uint64_t ns[STAGE_COUNT]);
static struct stage_own *own_of(const struct nvmf_qpair *qp, uint32_t nsid);
static void count_for_ns(const struct nvmf_req *req, enum stage_kind kind);

static inline bool was_answered_at_once(const struct nvmf_req *req, uint64_t done_ns)
{
	return done_ns == req->came_ns && !req->began && !req->waited && !req->io.waited;
}

static inline enum stage_kind kind_of(uint8_t opc)
{
	return opc == NVME_CMD_READ ? STAGE_KIND_READ : opc == NVME_CMD_WRITE ? STAGE_KIND_WRITE : STAGE_KIND_OTHER;
}

void nvmf_stages_count(struct nvmf_req *req, uint64_t done_ns, bool lost)
{
	struct nvmf_qpair *qp = req->qpair;
	enum stage_kind kind = kind_of(req->cmd.opc);
	struct stage_unit *q = qp->stages;
	uint32_t nsid = le32_get(req->cmd.nsid);
	uint16_t status;

	if (unlikely(kind == STAGE_KIND_OTHER && req->cmd.opc == NVME_ADMIN_FABRICS))
		return; /* such as the Connect of this queue */
	if (unlikely(!q || q->unit != nsid)) {
		q = find_counts(qp, nsid);
		if (!q)
			return;
	}
	status = nvme_cqe_status(&req->cpl);
	if (unlikely(status || lost)) {
		q->counts.errors++;
		stage_error_count(&qp->nc->errors, lost ? NVME_SC_ABORT_QUEUE : status & NVME_SC_CODE);
	} else {
		q->counts.ios[kind]++;
		q->counts.bytes[kind] += req->data_len;
		if (unlikely(q->unit == STAGE_UNIT_OTHERS))
			count_for_ns(req, kind);
	}
	if (likely(reactor_now_ns() <= req->came_ns)) /* less: it came on another core */
		q->counts.at_once++;
	else
		count_times(req, &q->counts, done_ns, lost);
}

/* Nearly all: a read or write of the namespace used last that went well, and was answered in the pass in which it came;
 * sent in that pass as well, or, where an adapter says when, a moment later. */
void nvmf_stages_sent(struct nvmf_req *req, uint64_t done_ns, uint64_t now_ns)
{
	struct stage_unit *q = req->qpair->stages;
	uint8_t opc = req->cmd.opc;

	if (unlikely(!q || q->unit != le32_get(req->cmd.nsid) || (opc != NVME_CMD_READ && opc != NVME_CMD_WRITE) ||
	             nvme_cqe_status(&req->cpl) || (now_ns > req->came_ns && !was_answered_at_once(req, done_ns)))) {
		nvmf_stages_count(req, done_ns, false);
		return;
	}
	q->counts.ios[kind_of(opc)]++;
	q->counts.bytes[kind_of(opc)] += req->data_len;
	if (now_ns <= req->came_ns)
		q->counts.at_once++;
	else
		count_sending(req, &q->counts, now_ns);
}

/* Only what exists is told apart: a host cannot make up names. NULL: it is not to be counted. */
static struct stage_unit *find_counts(struct nvmf_qpair *qp, uint32_t nsid)
{
	if (!qp->qid || !qp->ctrlr || !qp->nc)
		return NULL;
	return stage_unit_find(&qp->stages, nvmf_ns_find(qp, nsid) ? nsid : STAGE_UNIT_OTHERS);
}

static void count_times(struct nvmf_req *req, struct stage_counts *c, uint64_t done_ns, bool lost)
{
	/* It may have come on a core whose pass began later than this one. */
	uint64_t now_ns = max_u64(reactor_now_ns(), req->came_ns);
	uint64_t ns[STAGE_COUNT];

	times_of(req, done_ns, now_ns, ns);
	stage_times_note(c, ns);
	count_total(req, ns, now_ns, lost);
}

static void count_sending(struct nvmf_req *req, struct stage_counts *c, uint64_t now_ns)
{
	uint64_t ns[STAGE_COUNT] = { [STAGE_SEND] = now_ns - req->came_ns };

	c->stage[STAGE_RECEIVE].bucket[0]++;
	c->stage[STAGE_WAIT].bucket[0]++;
	c->stage[STAGE_BACKEND].bucket[0]++;
	stage_time_note(c, STAGE_SEND, ns[STAGE_SEND]);
	count_total(req, ns, now_ns, false);
}

/* With any command at work, as far as those that ended tell: they end in the order of time. */
static inline void count_busy(struct nvmf_qpair *qp, uint64_t from_ns, uint64_t now_ns)
{
	from_ns = max_u64(from_ns, qp->busy_until_ns);
	if (now_ns > from_ns) {
		qp->busy_ns += now_ns - from_ns;
		qp->busy_until_ns = now_ns;
	}
}

static inline void count_total(struct nvmf_req *req, const uint64_t ns[STAGE_COUNT], uint64_t now_ns, bool lost)
{
	flight_look(&req->qpair->nc->flight, req, ns, now_ns - req->came_ns, now_ns, lost ? FLIGHT_LOST : 0);
	count_busy(req->qpair, req->came_ns, now_ns);
}

/* What was never executed has no back-end's time; what was not answered is still in it, or was never. */
static void times_of(const struct nvmf_req *req, uint64_t done_ns, uint64_t now_ns, uint64_t ns[STAGE_COUNT])
{
	uint64_t waited = (uint64_t)req->waited << STAGE_UNIT_BITS, held = (uint64_t)req->io.waited << STAGE_UNIT_BITS;
	uint64_t until = min_u64(max_u64(done_ns, req->came_ns), now_ns);
	uint64_t began = req->began == NVMF_NOT_BEGUN ? until : req->came_ns + ((uint64_t)req->began << STAGE_UNIT_BITS);
	uint64_t worked;

	began = min_u64(began, until);
	waited = min_u64(waited, began - req->came_ns);
	worked = until - began;
	held = min_u64(held, worked);
	ns[STAGE_RECEIVE] = began - req->came_ns - waited;
	ns[STAGE_WAIT] = waited + held;
	ns[STAGE_BACKEND] = worked - held;
	ns[STAGE_SEND] = now_ns - until;
}

/* --- ends --- */

void nvmf_stages_close(struct nvmf_qpair *qp)
{
	while (qp->stages) {
		struct stage_unit *q = qp->stages;
		struct stage_own *own = qp->ctrlr ? own_of(qp, q->unit) : NULL;

		if (qp->ctrlr) {
			stage_counts_add(&stage_host_find(&qp->nc->hosts, qp->ctrlr->who.name)->counts, &q->counts);
			nvmf_smart_close(qp, &q->counts);
		}
		if (own) {
			own->counted = true;
			stage_counts_add(&own->counts, &q->counts);
		}
		qp->stages = q->next;
		free(q);
	}
}

static struct stage_own *own_of(const struct nvmf_qpair *qp, uint32_t nsid)
{
	struct bdev_view *v = nvmf_ns_find(qp, nsid);

	if (v && !v->own)
		v->own = base_zalloc(sizeof(struct stage_own));
	return v ? v->own : NULL;
}

static void count_for_ns(const struct nvmf_req *req, enum stage_kind kind)
{
	struct stage_own *own = own_of(req->qpair, le32_get(req->cmd.nsid));

	if (!own || kind > STAGE_KIND_WRITE)
		return;
	own->other_ios[kind]++;
	own->other_bytes[kind] += req->data_len;
}

void nvmf_stages_fini(struct nvmf_core *nc)
{
	stage_hosts_fini(&nc->hosts);
	flight_fini(&nc->flight);
}
