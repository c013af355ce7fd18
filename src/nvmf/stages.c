/* SPDX-License-Identifier: BSD-3-Clause */
/* stages.c: counting I/O commands and the time of their stages, when the last byte of the answer is gone. */
#include "nvmf/stages.h"

#include "nvmf/target.h"

#define UNIT_BITS 10u /* of the times in struct nvmf_req: 1.024 us */

static struct nvmf_queue_counts *find_counts(struct nvmf_qpair *qp, uint32_t nsid);
static void count_times(struct nvmf_req *req, struct nvmf_stage_counts *c, uint64_t done_ns, bool lost);
static inline void count_total(struct nvmf_req *req, const uint64_t ns[NVMF_STAGE_COUNT], uint64_t now_ns, bool lost);
static void count_sending(struct nvmf_req *req, struct nvmf_stage_counts *c, uint64_t now_ns);
static void times_of(const struct nvmf_req *req, uint64_t done_ns, uint64_t now_ns, uint64_t ns[NVMF_STAGE_COUNT]);
static void count_error(struct nvmf_core *nc, uint16_t status);
static struct nvmf_host_counts *host_of(struct nvmf_core *nc, const char *name);
static struct nvmf_ns_own *own_of(const struct nvmf_qpair *qp, uint32_t nsid);
static void count_for_ns(const struct nvmf_req *req, enum nvmf_kind kind);

static inline bool was_answered_at_once(const struct nvmf_req *req, uint64_t done_ns)
{
	return done_ns == req->came_ns && !req->began && !req->waited && !req->io.waited;
}

static inline enum nvmf_kind kind_of(uint8_t opc)
{
	return opc == NVME_CMD_READ ? NVMF_KIND_READ : opc == NVME_CMD_WRITE ? NVMF_KIND_WRITE : NVMF_KIND_OTHER;
}

void nvmf_stages_count(struct nvmf_req *req, uint64_t done_ns, bool lost)
{
	struct nvmf_qpair *qp = req->qpair;
	enum nvmf_kind kind = kind_of(req->cmd.opc);
	struct nvmf_queue_counts *q = qp->stages;
	uint32_t nsid = le32_get(req->cmd.nsid);
	uint16_t status;

	if (unlikely(kind == NVMF_KIND_OTHER && req->cmd.opc == NVME_ADMIN_FABRICS))
		return; /* such as the Connect of this queue */
	if (unlikely(!q || q->nsid != nsid)) {
		q = find_counts(qp, nsid);
		if (!q)
			return;
	}
	status = nvme_cqe_status(&req->cpl);
	if (unlikely(status || lost)) {
		q->counts.errors++;
		count_error(qp->nc, lost ? NVME_SC_ABORT_QUEUE : status & NVME_SC_CODE);
	} else {
		q->counts.ios[kind]++;
		q->counts.bytes[kind] += req->data_len;
		if (unlikely(q->nsid == NVMF_NSID_OTHERS))
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
	struct nvmf_queue_counts *q = req->qpair->stages;
	uint8_t opc = req->cmd.opc;

	if (unlikely(!q || q->nsid != le32_get(req->cmd.nsid) || (opc != NVME_CMD_READ && opc != NVME_CMD_WRITE) ||
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

/* The one used last comes first. Memory comes when somebody works: an idle connection shall stay small. Only what
 * exists is told apart: a host cannot make up names. NULL: it is not to be counted. */
static struct nvmf_queue_counts *find_counts(struct nvmf_qpair *qp, uint32_t nsid)
{
	struct nvmf_queue_counts **at = &qp->stages, *q;
	uint32_t count = 0;

	if (!qp->qid || !qp->ctrlr || !qp->nc)
		return NULL;
	if (!nvmf_ns_find(qp, nsid))
		nsid = NVMF_NSID_OTHERS;
	for (; *at && (*at)->nsid != nsid; at = &(*at)->next)
		if (++count == NVMF_QUEUE_NAMESPACES)
			return find_counts(qp, NVMF_NSID_OTHERS);
	q = *at;
	if (q) {
		*at = q->next;
	} else {
		q = base_zalloc(sizeof(*q));
		q->nsid = count == NVMF_QUEUE_NAMESPACES - 1 ? NVMF_NSID_OTHERS : nsid;
	}
	q->next = qp->stages;
	qp->stages = q;
	return q;
}

static inline void add_time(struct nvmf_stage_counts *c, enum nvmf_stage stage, uint64_t ns)
{
	uint64_t units = ns >> UNIT_BITS;
	uint32_t bucket = units ? 64 - (uint32_t)__builtin_clzll(units) : 0;

	c->stage[stage].sum_ns += ns;
	c->stage[stage].bucket[min_u32(bucket, NVMF_STAGE_BUCKETS - 1)]++;
}

static void count_times(struct nvmf_req *req, struct nvmf_stage_counts *c, uint64_t done_ns, bool lost)
{
	/* It may have come on a core whose pass began later than this one. */
	uint64_t now_ns = max_u64(reactor_now_ns(), req->came_ns);
	uint64_t ns[NVMF_STAGE_COUNT];

	times_of(req, done_ns, now_ns, ns);
	for (uint32_t i = 0; i < NVMF_STAGE_COUNT; i++)
		add_time(c, i, ns[i]);
	count_total(req, ns, now_ns, lost);
}

static void count_sending(struct nvmf_req *req, struct nvmf_stage_counts *c, uint64_t now_ns)
{
	uint64_t ns[NVMF_STAGE_COUNT] = { [NVMF_STAGE_SEND] = now_ns - req->came_ns };

	c->stage[NVMF_STAGE_RECEIVE].bucket[0]++;
	c->stage[NVMF_STAGE_WAIT].bucket[0]++;
	c->stage[NVMF_STAGE_BACKEND].bucket[0]++;
	add_time(c, NVMF_STAGE_SEND, ns[NVMF_STAGE_SEND]);
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

static inline void count_total(struct nvmf_req *req, const uint64_t ns[NVMF_STAGE_COUNT], uint64_t now_ns, bool lost)
{
	struct nvmf_flight *f = &req->qpair->nc->flight;
	uint64_t total_ns = now_ns - req->came_ns;

	if (unlikely(nvmf_flight_may_note(f, total_ns, now_ns)))
		nvmf_flight_note(req, ns, total_ns, lost);
	f->mean_ns += (uint64_t)((int64_t)(total_ns - f->mean_ns) / 64);
	count_busy(req->qpair, req->came_ns, now_ns);
}

/* What was never executed has no back-end's time; what was not answered is still in it, or was never. */
static void times_of(const struct nvmf_req *req, uint64_t done_ns, uint64_t now_ns, uint64_t ns[NVMF_STAGE_COUNT])
{
	uint64_t waited = (uint64_t)req->waited << UNIT_BITS, held = (uint64_t)req->io.waited << UNIT_BITS;
	uint64_t until = min_u64(max_u64(done_ns, req->came_ns), now_ns);
	uint64_t began = req->began == NVMF_NOT_BEGUN ? until : req->came_ns + ((uint64_t)req->began << UNIT_BITS);
	uint64_t worked;

	began = min_u64(began, until);
	waited = min_u64(waited, began - req->came_ns);
	worked = until - began;
	held = min_u64(held, worked);
	ns[NVMF_STAGE_RECEIVE] = began - req->came_ns - waited;
	ns[NVMF_STAGE_WAIT] = waited + held;
	ns[NVMF_STAGE_BACKEND] = worked - held;
	ns[NVMF_STAGE_SEND] = now_ns - until;
}

static void count_error(struct nvmf_core *nc, uint16_t status)
{
	uint32_t i = 0;

	while (i < nc->error_count && nc->errors[i].status != status)
		i++;
	if (i == nc->error_count) {
		if (i == NVMF_EYES_ERRORS) {
			i--; /* the last place is everybody's */
		} else {
			nc->errors[i].status = status;
			nc->error_count++;
		}
	}
	nc->errors[i].count++;
}

/* --- ends --- */

void nvmf_stages_close(struct nvmf_qpair *qp)
{
	while (qp->stages) {
		struct nvmf_queue_counts *q = qp->stages;
		struct nvmf_ns_own *own = qp->ctrlr ? own_of(qp, q->nsid) : NULL;

		if (qp->ctrlr) {
			nvmf_stage_counts_add(&host_of(qp->nc, qp->ctrlr->who.name)->counts, &q->counts);
			nvmf_smart_close(qp, &q->counts);
		}
		if (own) {
			own->counted = true;
			nvmf_stage_counts_add(&own->counts, &q->counts);
		}
		qp->stages = q->next;
		free(q);
	}
}

static struct nvmf_ns_own *own_of(const struct nvmf_qpair *qp, uint32_t nsid)
{
	struct bdev_view *v = nvmf_ns_find(qp, nsid);

	if (v && !v->own)
		v->own = base_zalloc(sizeof(struct nvmf_ns_own));
	return v ? v->own : NULL;
}

static void count_for_ns(const struct nvmf_req *req, enum nvmf_kind kind)
{
	struct nvmf_ns_own *own = own_of(req->qpair, le32_get(req->cmd.nsid));

	if (!own || kind > NVMF_KIND_WRITE)
		return;
	own->other_ios[kind]++;
	own->other_bytes[kind] += req->data_len;
}

/* The last of them stands for all that came when there were many. */
static struct nvmf_host_counts *host_of(struct nvmf_core *nc, const char *name)
{
	struct nvmf_host_counts *h = nc->hosts;
	struct text t;

	for (; h; h = h->next)
		if (strcmp(h->name, name) == 0)
			return h;
	if (nc->host_count == NVMF_EYES_HOSTS) {
		for (h = nc->hosts; strcmp(h->name, NVMF_EYES_OTHERS) != 0; h = h->next)
			;
		return h;
	}
	if (++nc->host_count == NVMF_EYES_HOSTS)
		name = NVMF_EYES_OTHERS;
	h = base_zalloc(sizeof(*h));
	t = text_over(h->name, sizeof(h->name));
	text_add(&t, "%s", name);
	h->next = nc->hosts;
	nc->hosts = h;
	return h;
}

void nvmf_stages_fini(struct nvmf_core *nc)
{
	while (nc->hosts) {
		struct nvmf_host_counts *h = nc->hosts;

		nc->hosts = h->next;
		free(h);
	}
	nvmf_flight_fini(&nc->flight);
}

void nvmf_stage_counts_add(struct nvmf_stage_counts *into, const struct nvmf_stage_counts *from)
{
	for (uint32_t i = 0; i < NVMF_KIND_COUNT; i++) {
		into->ios[i] += from->ios[i];
		into->bytes[i] += from->bytes[i];
	}
	into->errors += from->errors;
	into->at_once += from->at_once;
	for (uint32_t s = 0; s < NVMF_STAGE_COUNT; s++) {
		into->stage[s].sum_ns += from->stage[s].sum_ns;
		for (uint32_t i = 0; i < NVMF_STAGE_BUCKETS; i++)
			into->stage[s].bucket[i] += from->stage[s].bucket[i];
	}
}

const char *nvmf_stage_name(enum nvmf_stage stage)
{
#define STAGE_NAME(id, name, doc) name,
	static const char *const names[] = { NVMF_STAGES(STAGE_NAME) };

	return stage < NVMF_STAGE_COUNT ? names[stage] : "unknown";
}

const char *nvmf_kind_name(enum nvmf_kind kind)
{
	static const char *const names[] = { "read", "write", "other" };

	return kind < NVMF_KIND_COUNT ? names[kind] : "unknown";
}
