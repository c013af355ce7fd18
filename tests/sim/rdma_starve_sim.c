/* SPDX-License-Identifier: BSD-3-Clause */
/* rdma_starve_sim.c: progress of NVMe/RDMA, where others stop: 64 queue pairs that each want 4 or 8 MiB at a time from
 * a target whose cores have buffers for one I/O beside the reserve, and send queues and READ depths as small as
 * adapters have them; and a completion that never comes, which the watchdog has to name while keep-alive goes on as if
 * nothing were. And cores that sleep when nobody wants anything.
 *
 * The disk's bytes follow from their place, and writes leave them as they are: what lands is checked, and what is read.
 * Nobody waits longer than all that are before him need.
 */
#include <stdio.h>

#include "core/mem.h"
#include "core/watch.h"
#include "daemon.h"
#include "rdma_world.h"
#include "seeds.h"

#define HOSTS 4u
#define QPAIRS_A_HOST 16u
#define TASKS 4u                      /* of 1 or 2 MiB: what a queue pair has outstanding */
#define IO_BYTES (2u << 20)
#define BLOCK 4096u
#define DISK_BLOCKS 4096u
#define BUDGET_A_CORE (4000 * KIB)    /* of --memory: a core gets little more than the reserve, one I/O of 2 MiB */
#define AGE_NS_MAX (60 * NS_PER_S)    /* far more than 256 I/Os, one after the other, take */
#define WATCH_NS (2 * NS_PER_S)
#define PATIENCE_NS (WATCH_NS + DATA_TIMEOUT_MS * NS_PER_MS) /* then the target ends a connection that hangs */
#define DATA_TIMEOUT_MS 20000u
#define READ_STAGE "data is READ from the host"
#define SEND_STAGE "the answer goes out"

struct task {
	struct nvme_op op;
	struct iovec iov;
	struct qp *qp;
	uint64_t lba, began_ns;
	uint32_t blocks;
	bool out, reads;
};

struct qp {
	struct member *m;
	struct nvme_qpair *qpair;
	struct reactor *reactor;
	uint16_t qid;
	bool ready, closed, gone, loses; /* loses: a completion; it may end */
	uint32_t done, reading;
	uint8_t *into;                /* where the one that reads does */
	struct task tasks[TASKS];
};

struct member {
	struct world *w;
	struct rdma_host host;
	struct nvme_path path;
	struct nvme_host_opts opts;
	struct nvme_ctrlr *ctrlr;
	struct nvme_login login;
	bool ready, gone, closed;
	uint8_t *memory;              /* the disk's bytes, then what is read into */
	struct mem_region region;
	uint32_t qp_count;
	struct qp qps[QPAIRS_A_HOST];
};

struct world {
	struct media media;
	struct rdma_target target;
	uint32_t members, blocks_max, io_bytes;
	struct member member[HOSTS];
	uint32_t ios_left, out, wants;   /* wants: I/Os of each queue pair at least */
	bool flows, only_writes, limited; /* limited: by other settings, so that buffers may suffice */
	bool set;                        /* ... of any kind, all at once */
	uint64_t oldest_ns;
};

static uint8_t byte_at(uint64_t at) { return (uint8_t)(at * 131 + (at >> 9) * 17 + (at >> 17)); }

static void lands(void *arg, uint64_t lba, const uint8_t *data)
{
	must(data);
	for (uint32_t i = 0; i < BLOCK; i += 61)
		if (data[i] != byte_at(lba * BLOCK + i))
			seeds_fail("block %llu: what landed is not what was written", (unsigned long long)lba);
}

/* --- commands --------------------------------------------------------------------------------- */

static void task_next(struct task *t);

static void task_done(struct nvme_op *op)
{
	struct task *t = container_of(op, struct task, op);
	struct qp *qp = t->qp;
	struct world *w = qp->m->w;
	uint16_t status = nvme_op_status(op);

	must(t->out);
	t->out = false;
	w->out--;
	if (status && !qp->loses)
		seeds_fail("queue pair %u: %s", qp->qid, nvme_status_text(status, false));
	for (uint32_t i = 0; t->reads && i < t->blocks * BLOCK; i += 509)
		if (qp->into[i] != byte_at(t->lba * BLOCK + i))
			seeds_fail("queue pair %u: byte %u of what was read at block %llu is wrong", qp->qid, i,
			           (unsigned long long)t->lba);
	qp->reading -= t->reads;
	qp->done++;
	task_next(t);
}

static void task_next(struct task *t)
{
	struct qp *qp = t->qp;
	struct world *w = qp->m->w;
	uint32_t len;

	if (!w->flows || (!w->ios_left && qp->done >= w->wants) || seeds_failed())
		return;
	w->ios_left -= w->ios_left > 0;
	t->blocks = sim_chance(80) ? w->blocks_max : 1 + (uint32_t)sim_draw(w->blocks_max);
	t->lba = sim_draw(DISK_BLOCKS - t->blocks + 1);
	len = t->blocks * BLOCK;
	t->reads = !w->only_writes && !qp->reading && sim_chance(50);
	qp->reading += t->reads;
	if (t->reads)
		memset(qp->into, 0xee, len);
	t->iov = (struct iovec){ t->reads ? qp->into : qp->m->memory + t->lba * BLOCK, len };
	t->op = (struct nvme_op){ .iovs = &t->iov, .iov_count = 1, .data_len = len, .done = task_done,
	                          .data = t->reads ? NVME_OP_TO_HOST : NVME_OP_TO_CTRLR,
	                          .cmd = nvme_sqe_rw(t->reads ? NVME_CMD_READ : NVME_CMD_WRITE, 1, t->lba, t->blocks) };
	t->out = true;
	t->began_ns = sim_now_ns();
	w->out++;
	nvme_qpair_submit(qp->qpair, &t->op);
}

static void qp_flow(void *arg)
{
	struct qp *qp = arg;

	for (uint32_t i = 0; i < TASKS; i++)
		if (!qp->tasks[i].out)
			task_next(&qp->tasks[i]);
}

static void qp_one(void *arg) { task_next(&((struct qp *)arg)->tasks[0]); }

/* --- connections ------------------------------------------------------------------------------ */

static void qp_gone(struct nvme_qpair *qpair, const struct err *e, void *arg)
{
	struct qp *qp = arg;

	qp->gone = true;
	if (!qp->loses)
		seeds_fail("queue pair %u ends: %s", qp->qid, e->text);
}

static void qp_ready(struct nvme_qpair *qpair, const struct err *e, void *arg)
{
	struct qp *qp = arg;

	if (e)
		seeds_fail("queue pair %u: %s", qp->qid, e->text);
	qp->ready = true;
}

static void qp_open(void *arg)
{
	struct qp *qp = arg;

	qp->qpair = nvme_qpair_open(qp->m->host.host, &qp->m->login, qp->qid, qp_ready, qp_gone, qp);
}

static void qp_closed(void *arg) { ((struct qp *)arg)->closed = true; }

static void qp_close(void *arg)
{
	struct qp *qp = arg;

	nvme_qpair_close_then(qp->qpair, qp_closed, qp);
}

static void ctrlr_ready(struct nvme_ctrlr *c, const struct err *e, void *arg)
{
	struct member *m = arg;

	if (e)
		seeds_fail("a controller is not ready: %s", e->text);
	m->ready = true;
	if (!e)
		m->w->blocks_max = min_u32(m->w->io_bytes, nvme_ctrlr_info(c)->max_io_bytes) / BLOCK;
}

static void ctrlr_gone(struct nvme_ctrlr *c, const struct err *e, void *arg)
{
	((struct member *)arg)->gone = true;
	seeds_fail("a controller is gone: %s", e->text);
}

static void ctrlr_open(void *arg)
{
	struct member *m = arg;

	m->ctrlr = nvme_ctrlr_open(m->host.host, &m->path, &m->opts, ctrlr_ready, ctrlr_gone, m);
}

static void ctrlr_closed(void *arg) { ((struct member *)arg)->closed = true; }

static void ctrlr_close(void *arg)
{
	struct member *m = arg;

	nvme_ctrlr_close(m->ctrlr, ctrlr_closed, m);
}

static void add_region(void *arg)
{
	struct member *m = arg;

	mem_region_add(m->host.core, &m->region);
}

static void remove_region(void *arg)
{
	struct member *m = arg;

	mem_region_remove(m->host.core, &m->region);
}

static void member_start(struct world *w, uint32_t index, uint32_t qp_count)
{
	struct member *m = &w->member[index];
	struct sim_adapter_opts adapter = rdma_draw_adapter("host");
	size_t len = (size_t)DISK_BLOCKS * BLOCK + (size_t)qp_count * IO_BYTES;

	m->w = w;
	m->qp_count = qp_count;
	m->memory = base_zalloc_aligned(4096, len);
	for (size_t i = 0; i < (size_t)DISK_BLOCKS * BLOCK; i++)
		m->memory[i] = byte_at(i);
	m->host.core = daemon_core_make(1 + (uint32_t)sim_draw(2), 0);
	rdma_host_start(&m->host, index, &adapter);
	if (sim_chance(50)) {
		m->region = (struct mem_region){ .base = m->memory, .len = len };
		sim_as(core_control(m->host.core), add_region, m);
	}
	rdma_path(&m->path);
	m->opts = (struct nvme_host_opts){ .keep_alive_ms = 5000, .connect_timeout_ms = 30000, .io_queues = QPAIRS_A_HOST,
	                                   .io_queue_size = 1 + TASKS };
	sim_as(core_control(m->host.core), ctrlr_open, m);
	daemon_wait(&m->ready, 40 * NS_PER_S, "a controller is not opened");
	must(nvme_ctrlr_login(m->ctrlr, &m->login));
	for (uint32_t i = 0; i < qp_count; i++) {
		struct qp *qp = &m->qps[i];

		qp->m = m;
		qp->qid = (uint16_t)(i + 1);
		qp->reactor = core_reactor(m->host.core, i % core_reactor_count(m->host.core));
		qp->into = m->memory + (size_t)DISK_BLOCKS * BLOCK + (size_t)i * IO_BYTES;
		for (uint32_t k = 0; k < TASKS; k++)
			qp->tasks[k].qp = qp;
		sim_as(qp->reactor, qp_open, qp);
		daemon_wait(&qp->ready, 40 * NS_PER_S, "a queue pair is not opened");
	}
}

static void member_stop(struct member *m)
{
	for (uint32_t i = 0; i < m->qp_count; i++) {
		sim_as(m->qps[i].reactor, qp_close, &m->qps[i]);
		daemon_wait(&m->qps[i].closed, 10 * NS_PER_S, "a queue pair is not closed");
	}
	sim_as(core_control(m->host.core), ctrlr_close, m);
	daemon_wait(&m->closed, 40 * NS_PER_S, "a controller is not closed");
	rdma_host_stop(&m->host);
	if (m->region.len)
		sim_as(core_control(m->host.core), remove_region, m);
}

/* --- the world -------------------------------------------------------------------------------- */

static void world_start(struct world *w, uint32_t cores, uint64_t memory, uint32_t members, uint32_t qpairs)
{
	struct sim_adapter_opts adapter;

	rdma_nets_start();
	w->io_bytes = sim_chance(50) ? IO_BYTES : IO_BYTES / 2;
	adapter = rdma_draw_adapter("target");
	media_init(&w->media, DISK_BLOCKS, DISK_BLOCKS, BLOCK);
	for (size_t i = 0; i < (size_t)DISK_BLOCKS * BLOCK; i++)
		w->media.bytes[i] = byte_at(i);
	w->media.lands = lands;
	w->target.media = &w->media;
	w->target.core = daemon_core_make(cores, memory);
	watch_set_limit(w->target.core, WATCH_NS);
	w->target.opts = (struct nvmf_transport_opts){
		.in_capsule_data_size = sim_chance(50) ? 4096 : 0, .max_io_size = w->io_bytes, .max_queue_depth = 16,
		.max_io_qpairs_per_ctrlr = QPAIRS_A_HOST, .max_aq_depth = 32, .data_timeout_ms = DATA_TIMEOUT_MS,
		.no_srq = sim_chance(30), .no_wr_batching = sim_chance(20), .max_srq_depth = 128,
		.num_cqe = (uint32_t)sim_draw(100),
	};
	w->limited = w->set || rdma_draw_limits(&w->target.opts);
	if (w->set)
		rdma_draw_settings(&w->target.opts);
	if (adapter.lacks_cq_resize)
		w->target.opts.num_cqe = 32768; /* where it is all that there can be */
	if (w->target.opts.no_srq || adapter.lacks_srq) /* own receives of more would not fit into the budget */
		w->target.opts.in_capsule_data_size = min_u32(w->target.opts.in_capsule_data_size, BLOCK);
	rdma_target_start(&w->target, &adapter);
	w->members = members;
	for (uint32_t i = 0; i < members; i++)
		member_start(w, i, qpairs);
	seeds_verdict();
}

static uint64_t world_end(struct world *w)
{
	uint64_t hash;

	for (uint32_t i = 0; i < w->members; i++)
		member_stop(&w->member[i]);
	rdma_target_stop(&w->target);
	sim_run(NULL, NULL, 10 * NS_PER_S);
	for (uint32_t i = 0; i < w->members; i++) {
		core_free(w->member[i].host.core);
		free(w->member[i].memory);
	}
	core_free(w->target.core);
	hash = rdma_nets_end();
	media_fini(&w->media);
	free(w);
	return hash;
}

static void each_qp(struct world *w, void (*fn)(void *arg))
{
	for (uint32_t i = 0; i < w->members; i++)
		for (uint32_t k = 0; k < w->member[i].qp_count; k++)
			sim_as(w->member[i].qps[k].reactor, fn, &w->member[i].qps[k]);
}

/* --- starving --------------------------------------------------------------------------------- */

static bool all_done(void *arg)
{
	struct world *w = arg;

	for (uint32_t i = 0; i < w->members; i++)
		for (uint32_t k = 0; k < w->member[i].qp_count * TASKS; k++) {
			const struct task *t = &w->member[i].qps[k / TASKS].tasks[k % TASKS];

			if (t->out && sim_now_ns() - t->began_ns > AGE_NS_MAX)
				seeds_fail("a command of queue pair %u has waited for a minute", t->qp->qid);
		}
	return seeds_failed() || (!w->out && !w->ios_left);
}

/* A pool that runs dry, and a line that is only looked at when something else completes: there it would stop. Of
 * settings that nobody thought of as well. */
static uint64_t starve(bool set)
{
	struct world *w = base_zalloc(sizeof(*w));
	uint32_t cores = 1 + (uint32_t)sim_draw(3);
	struct mem_stats stats;

	w->set = set;
	world_start(w, cores, BUDGET_A_CORE * (cores + 1), HOSTS, QPAIRS_A_HOST);
	w->wants = 3;
	w->ios_left = 300 + (uint32_t)sim_draw(200);
	w->flows = true;
	each_qp(w, qp_flow);
	if (!sim_run(all_done, w, 3600 * NS_PER_S))
		seeds_fail("nothing moves any more: %u commands are out, %u are still to come", w->out, w->ios_left);
	mem_get_stats(w->target.core, &stats);
	if (!stats.waits && !w->limited)
		seeds_fail("nobody had to wait for buffers: this proves nothing");
	seeds_verdict();
	return world_end(w);
}

/* --- a completion that never comes ------------------------------------------------------------ */

struct found {
	uint16_t qid;
	const char *stage;
	uint32_t count;
	uint64_t age_ns;
};

static void look_at_note(const struct watch_note *n, void *arg)
{
	struct found *f = arg;
	char queue[32];

	snprintf(queue, sizeof(queue), "queue %u ", f->qid);
	if (!strstr(n->text, queue) || !strstr(n->text, f->stage))
		return;
	f->count++;
	f->age_ns = max_u64(f->age_ns, n->age_ns);
}

static void visit_notes(void *arg) { watch_visit_notes(look_at_note, arg); }

static bool is_named(void *arg)
{
	struct world *w = arg;

	return seeds_failed() || watch_stuck_count(w->target.core);
}

static bool is_quiet(void *arg)
{
	struct world *w = arg;

	return seeds_failed() || !w->out;
}

static void lose(struct world *w, struct qp *qp, enum verbs_op op, const char *stage)
{
	struct found f = { .qid = qp->qid, .stage = stage };
	uint64_t began_ns = sim_now_ns();

	w->flows = w->only_writes = true;
	w->wants = qp->done + 1;
	qp->loses = true;
	sim_adapter_lose_completion(w->target.adapter, op, 1);
	sim_as(qp->reactor, qp_one, qp);
	w->flows = false;
	if (!sim_run(is_named, w, 2 * WATCH_NS + NS_PER_S))
		seeds_fail("the watchdog does not name a request that waits for a lost completion");
	seeds_verdict();
	if (sim_now_ns() - began_ns < WATCH_NS)
		seeds_fail("the watchdog speaks before its limit");
	for (uint32_t i = 0; i < core_reactor_count(w->target.core); i++)
		sim_as(core_reactor(w->target.core, i), visit_notes, &f);
	if (!f.count || f.age_ns < WATCH_NS || f.age_ns > 2 * WATCH_NS + NS_PER_S)
		seeds_fail("the watchdog tells queue %u, \"%s\" %u times, age %llu ms", qp->qid, stage, f.count,
		           (unsigned long long)(f.age_ns / NS_PER_MS));
	if (qp->gone)
		seeds_fail("the connection of a lost completion ends before anybody could look at it");
	sim_run(NULL, NULL, 2 * PATIENCE_NS); /* keep-alives are answered meanwhile: ctrlr_gone() else */
	if (!qp->gone || sim_adapter_lost(w->target.adapter) != 1)
		seeds_fail("the connection of a lost completion goes on for ever (%u were lost)",
		           sim_adapter_lost(w->target.adapter));
	seeds_verdict();
}

static uint64_t lost_completion(uint64_t seed)
{
	struct world *w = base_zalloc(sizeof(*w));
	struct qp *qp;

	world_start(w, 1 + (uint32_t)sim_draw(3), 0, 1, 1 + (uint32_t)sim_draw(4));
	qp = &w->member[0].qps[sim_draw(w->member[0].qp_count)];
	w->flows = true;
	w->ios_left = 20;
	each_qp(w, qp_flow);
	must(sim_run(is_quiet, w, 600 * NS_PER_S));
	sim_run(NULL, NULL, NS_PER_S);
	if (sim_chance(50))
		lose(w, qp, VERBS_READ, READ_STAGE);
	else
		lose(w, qp, VERBS_SEND, SEND_STAGE);
	return world_end(w);
}

/* --- nothing to do ---------------------------------------------------------------------------- */

/* Cores that are awake more than a few times in an hour. */
static uint32_t restless(struct core *core)
{
	uint64_t passes[CORE_REACTORS_MAX];
	struct reactor_stats stats;
	uint32_t n = 0;

	for (uint32_t i = 0; i < core_reactor_count(core); i++) {
		reactor_get_stats(core_reactor(core, i), &stats);
		passes[i] = stats.passes;
	}
	sim_run(NULL, NULL, 3600 * NS_PER_S);
	for (uint32_t i = 0; i < core_reactor_count(core); i++) {
		reactor_get_stats(core_reactor(core, i), &stats);
		n += stats.passes - passes[i] > 10;
	}
	return n;
}

/* Connections that stand cost nothing but keep-alives: on the host's control reactor, and on one core of the target. */
static uint64_t idle(uint64_t seed)
{
	struct world *w = base_zalloc(sizeof(*w));
	struct core *host;

	world_start(w, 3, 0, 1, 4);
	w->flows = true;
	w->ios_left = 50;
	each_qp(w, qp_flow);
	must(sim_run(is_quiet, w, 600 * NS_PER_S));
	sim_run(NULL, NULL, 60 * NS_PER_S);
	host = w->member[0].host.core;
	if (reactor_mode(core_reactor(host, 0)) != CORE_POLL && restless(host))
		seeds_fail("cores of a host that does nothing are awake");
	if (reactor_mode(core_reactor(w->target.core, 0)) != CORE_POLL && restless(w->target.core) > 1)
		seeds_fail("cores of a target that nobody asks are awake");
	seeds_verdict();
	return world_end(w);
}

static uint64_t run(uint64_t seed)
{
	uint64_t dice;

	sim_start(seed);
	dice = sim_draw(100);
	return dice < 45 ? starve(dice < 20) : dice < 85 ? lost_completion(seed) : idle(seed);
}

int main(int argc, char **argv)
{
	return seeds_main(argc, argv, 20, run);
}
