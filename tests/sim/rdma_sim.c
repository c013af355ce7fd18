/* SPDX-License-Identifier: BSD-3-Clause */
/* rdma_sim.c: our NVMe/RDMA hosts against our target over simulated adapters, while these are taken out and put back,
 * ports and links go down, connections are cut or fall silent, receives are not found, posts fail, and completions and
 * rings get lost.
 *
 * Guests, one a host, live one life after the other: a controller, queue pairs on any core, commands. Checked are
 *   - every attempt ends at its deadline, with a sentence;
 *   - every command comes back once, within a bounded time;
 *   - no read is stale, torn, or another block's;
 *   - when the chaos is over, guests connect and commands succeed; nothing gets stuck or is left behind.
 * In some worlds blocks have metadata with protection information: inserted and stripped for hosts that are not told,
 * or that do not want any, or made by hosts themselves; and now and then a byte of what lands changes. It comes back as
 * an error, never as data; what a host sends with wrong information does not land.
 *
 * What only our own code can do wrong with an adapter ends the run by itself (verbs/sim/sim_verbs.h).
 */
#include <errno.h>
#include <stdio.h>

#include "core/mem.h"
#include "daemon.h"
#include "host_md.h"
#include "oracle.h"
#include "rdma_world.h"
#include "seeds.h"

#define QPAIRS_MAX 3u
#define TASKS_MAX 8u
#define LIVES 4u
#define IO_BLOCKS_MAX 70u
#define IO_BLOCKS_LARGE 512u              /* in some worlds: 2 MiB of 4 KiB blocks */
#define TASKS_LARGE 2u
#define SLACK_NS (200 * NS_PER_MS)
#define WORLD_SECONDS 3600u

struct guest;

enum way { WAY_PLAIN, /* no metadata, or nobody tells the host */ WAY_ACT, /* PRACT */ WAY_BEHIND /* with the data */ };

struct task {
	struct nvme_op op;
	struct iovec iovs[3];
	struct guest *g;
	struct qp *qp;
	uint8_t *buf;
	uint8_t *blocks;                          /* of WAY_BEHIND */
	uint8_t opc, way;
	bool spoiled;                             /* by the host: it must not land */
	uint64_t lba, read_began, began_ns;
	uint32_t count, generation;
	bool out;
};

struct qp {
	struct guest *g;
	struct nvme_qpair *qpair;
	struct reactor *reactor;
	uint16_t qid;
	bool ready, dead, closed;
	uint64_t began_ns, ready_ns;
	uint32_t outstanding, task_count;
	struct task tasks[TASKS_MAX];
};

enum guest_state { GUEST_BORN, GUEST_OPENING, GUEST_LIVES, GUEST_CLOSING_QUEUES, GUEST_CLOSING, GUEST_OVER };

struct guest {
	struct world *w;
	struct rdma_host host;
	uint32_t index, lives;
	enum guest_state state;
	struct nvme_path path;
	struct nvme_host_opts opts;
	struct nvme_ctrlr *ctrlr;
	struct nvme_login login;
	bool told, gone, closed, proven;  /* proven: something was done by this life */
	uint64_t began_ns, end_ns, closing_ns;
	uint32_t qp_count, blocks_max, busy_percent; /* how often a command follows another one at once */
	struct qp qps[QPAIRS_MAX];
	uint8_t *memory;
	struct mem_region region;
	struct sim_event next;
};

struct world {
	struct media media;
	struct rdma_target target;
	struct oracle *oracle;
	uint32_t guests, ios_left, ends, good, io_blocks_max, tasks_max;
	struct guest guest[RDMA_HOSTS_MAX];
	struct sim_event chaos;
	uint32_t chaos_left;
	bool calm, peaceful;          /* peaceful: nothing happens to adapters: nothing may go wrong */
	bool unseen;                  /* the target inserts and strips, and hosts are not told */
};

static struct {
	uint64_t worlds, good, corrupted, found, refused; /* with protection information */
} seen;

static void check_told(struct guest *g, const char *what, const struct err *e, enum nvme_reason reason,
                       uint64_t began_ns)
{
	uint64_t took_ns = sim_now_ns() - began_ns;

	sim_note(reason);
	if (g->w->peaceful && reason != NVME_REASON_ASKED)
		seeds_fail("guest %u: %s ends, and nothing has happened: %s", g->index, what, e->text);
	if (!e->text[0] || !e->code || reason == NVME_REASON_NONE)
		seeds_fail("guest %u: %s ended without a reason (%s, %d, \"%s\")", g->index, what, nvme_reason_name(reason),
		           e->code, e->text);
	if (began_ns && took_ns > g->opts.connect_timeout_ms * NS_PER_MS + SLACK_NS)
		seeds_fail("guest %u: %s ended %llu ms after it began, its deadline was %u ms: %s", g->index, what,
		           (unsigned long long)(took_ns / NS_PER_MS), g->opts.connect_timeout_ms, e->text);
}

/* --- commands --------------------------------------------------------------------------------- */

static void task_next(struct task *t);

/* What was not what it said it is: of the media, or of the host that spoiled it. */
static bool is_found(struct task *t, uint16_t status)
{
	struct world *w = t->g->w;

	if (status != NVME_SC_GUARD_CHECK || !w->media.pi.type)
		return false;
	if (t->spoiled)
		seen.refused++;
	else if (t->opc == NVME_CMD_READ && w->media.corrupted)
		seen.found++;
	else
		seeds_fail("guest %u: block %llu is said to be wrong, and is not", t->g->index, (unsigned long long)t->lba);
	return true;
}

static void task_verify(struct task *t, uint16_t status)
{
	struct world *w = t->g->w;
	char why[256];

	if (t->spoiled) {
		if (!status)
			seeds_fail("guest %u: block %llu was written, and does not vouch for itself", t->g->index,
			           (unsigned long long)t->lba);
		return;
	}
	if (t->opc == NVME_CMD_READ && t->way == WAY_BEHIND && !status &&
	    !host_md_take(&w->media.pi, t->lba, t->count, t->blocks, t->buf)) {
		if (!w->media.corrupted || le16_get(t->op.cmd.rw.control))
			seeds_fail("guest %u: block %llu does not vouch for itself", t->g->index, (unsigned long long)t->lba);
		seen.found++;
		return;
	}
	if (t->opc == NVME_CMD_READ) {
		if (!status && !oracle_read_end(w->oracle, t->lba, t->count, t->read_began, t->buf, why, sizeof(why)))
			seeds_fail("guest %u: %s", t->g->index, why);
	} else if (t->opc == NVME_CMD_WRITE) {
		oracle_write_end(w->oracle, t->lba, t->count, t->generation, !status);
	}
}

static bool is_peaceful(const struct guest *g) { return g->w->peaceful && g->state == GUEST_LIVES; }

static void task_done(struct nvme_op *op)
{
	struct task *t = container_of(op, struct task, op);
	struct world *w = t->g->w;
	uint16_t status = nvme_op_status(op);

	if (!t->out)
		seeds_fail("guest %u: command %02xh came back twice", t->g->index, op->cmd.opc);
	t->out = false;
	t->qp->outstanding--;
	sim_note((uint64_t)status << 32 | t->lba);
	task_verify(t, status);
	t->g->proven |= !status;
	w->good += !status;
	seen.good += !status && w->media.pi.type;
	if (is_found(t, status))
		status = 0;
	if (status && is_peaceful(t->g))
		seeds_fail("guest %u: command %02xh of block %llu fails, and nothing has happened", t->g->index, t->opc,
		           (unsigned long long)t->lba);
	if (status && status != NVME_SC_HOST_PATH_ERROR && status != NVME_SC_ABORT_QUEUE && status != NVME_SC_ABORT_REQ)
		seeds_fail("guest %u: command %02xh of block %llu: %s", t->g->index, op->cmd.opc, (unsigned long long)t->lba,
		           nvme_status_text(status, false));
	if (!t->qp->dead && t->g->state == GUEST_LIVES && !status && sim_chance(t->g->busy_percent))
		task_next(t);
}

/* Cut into pieces at odd places, as a bdev's may be. */
static uint16_t cut(struct task *t, uint32_t len)
{
	uint8_t *from = t->way == WAY_BEHIND ? t->blocks : t->buf;
	uint32_t at = 0;
	uint16_t n = 0;

	for (; n < ARRAY_SIZE(t->iovs) - 1 && len - at > 1 && sim_chance(40); n++) {
		uint32_t part = 1 + (uint32_t)sim_draw(len - at - 1);

		t->iovs[n] = (struct iovec){ from + at, part };
		at += part;
	}
	t->iovs[n++] = (struct iovec){ from + at, len - at };
	return n;
}

static enum way draw_way(const struct world *w)
{
	if (!w->media.pi.type || w->unseen)
		return WAY_PLAIN;
	return w->media.pi.md_size == PI_BYTES && sim_chance(50) ? WAY_ACT : WAY_BEHIND;
}

/* Who looks: the target, or the host itself. */
static void protect(struct task *t)
{
	const struct pi_shape *s = &t->g->w->media.pi;
	uint16_t checks = NVME_RW_PRCHK_GUARD | NVME_RW_PRCHK_APP | (s->type == 3 ? 0 : NVME_RW_PRCHK_REF);

	t->spoiled = false;
	if (t->way == WAY_PLAIN || t->opc == NVME_CMD_FLUSH)
		return;
	t->op.cmd.rw.ilbrt = le32_of(host_md_ref(s, t->lba));
	t->op.cmd.rw.lbat = le16_of(HOST_MD_APP);
	t->op.cmd.rw.lbatm = le16_of(0xffff);
	if (t->way == WAY_ACT || sim_chance(70))
		t->op.cmd.rw.control = le16_of(checks | (t->way == WAY_ACT ? NVME_RW_PRACT : 0));
	if (t->way == WAY_ACT || t->opc != NVME_CMD_WRITE)
		return;
	t->spoiled = le16_get(t->op.cmd.rw.control) && sim_chance(10);
	host_md_make(s, t->lba, t->count, t->buf, t->blocks);
	if (t->spoiled)
		t->blocks[sim_draw(t->count) * (s->block_size + s->md_size) + sim_draw(s->block_size)] ^= 0x10;
}

static void task_next(struct task *t)
{
	struct world *w = t->g->w;
	uint64_t dice = sim_draw(100);
	uint32_t len, each = w->media.block_size;

	if (!w->ios_left || seeds_failed())
		return;
	w->ios_left--;
	t->opc = dice < 45 ? NVME_CMD_READ : dice < 95 ? NVME_CMD_WRITE : NVME_CMD_FLUSH;
	t->count = 1 + (uint32_t)sim_draw(min_u32(t->g->blocks_max, sim_chance(60) ? 3 : UINT32_MAX));
	t->lba = sim_draw(w->media.blocks - t->count);
	t->way = (uint8_t)draw_way(w);
	each += t->way == WAY_BEHIND ? w->media.pi.md_size : 0;
	len = t->opc == NVME_CMD_FLUSH ? 0 : t->count * each;
	t->op = (struct nvme_op){ .iovs = t->iovs, .iov_count = len ? cut(t, len) : 0, .data_len = len, .done = task_done };
	t->op.cmd = nvme_sqe_rw(t->opc, 1, len ? t->lba : 0, len ? t->count : 1);
	t->op.data = t->opc == NVME_CMD_READ ? NVME_OP_TO_HOST : len ? NVME_OP_TO_CTRLR : NVME_OP_NONE;
	if (t->opc == NVME_CMD_READ)
		t->read_began = oracle_read_begin(w->oracle);
	if (t->opc == NVME_CMD_WRITE)
		t->generation = oracle_write_begin(w->oracle, t->lba, t->count, t->buf);
	protect(t);
	if (t->spoiled)
		oracle_write_end(w->oracle, t->lba, t->count, t->generation, false);
	t->out = true;
	t->began_ns = sim_now_ns();
	t->qp->outstanding++;
	nvme_qpair_submit(t->qp->qpair, &t->op);
}

/* --- queue pairs ------------------------------------------------------------------------------ */

static void qp_gone(struct nvme_qpair *qpair, const struct err *e, void *arg)
{
	struct qp *qp = arg;

	if (qp->dead || !qp->ready)
		seeds_fail("guest %u: queue pair %u: its end was told wrongly", qp->g->index, qp->qid);
	qp->dead = true;
	check_told(qp->g, "a queue pair", e, nvme_qpair_reason(qpair), 0);
}

static void qp_ready(struct nvme_qpair *qpair, const struct err *e, void *arg)
{
	struct qp *qp = arg;

	qp->ready = !e;
	qp->ready_ns = sim_now_ns();
	qp->dead = e;
	if (e)
		check_told(qp->g, "connecting a queue pair", e, nvme_qpair_reason(qpair), qp->began_ns);
}

static void qp_open(void *arg)
{
	struct qp *qp = arg;

	qp->ready = qp->dead = qp->closed = false;
	qp->began_ns = sim_now_ns();
	qp->qpair = nvme_qpair_open(qp->g->host.host, &qp->g->login, qp->qid, qp_ready, qp_gone, qp);
}

static void qp_go_on(void *arg)
{
	struct qp *qp = arg;

	for (uint32_t i = 0; i < qp->task_count && !qp->dead; i++)
		if (!qp->tasks[i].out)
			task_next(&qp->tasks[i]);
}

static void qp_closed(void *arg)
{
	struct qp *qp = arg;

	qp->closed = true;
	if (qp->outstanding)
		seeds_fail("guest %u: closing a queue pair left %u commands without an answer", qp->g->index, qp->outstanding);
}

static void qp_close(void *arg)
{
	struct qp *qp = arg;

	nvme_qpair_close_then(qp->qpair, qp_closed, qp);
	qp->qpair = NULL;
}

static void qp_check(struct qp *qp)
{
	struct guest *g = qp->g;
	uint64_t now = sim_now_ns(), most_ns = g->opts.io_timeout_ms * NS_PER_MS * 3 / 2 + 2 * SLACK_NS;

	if (!qp->ready && !qp->dead && now > qp->began_ns + g->opts.connect_timeout_ms * NS_PER_MS + SLACK_NS)
		seeds_fail("guest %u: queue pair %u neither ready nor ended at its deadline", g->index, qp->qid);
	if (!qp->ready)
		return;
	for (uint32_t i = 0; i < qp->task_count; i++)
		if (qp->tasks[i].out && now > max_u64(qp->tasks[i].began_ns, qp->ready_ns) + most_ns)
			seeds_fail("guest %u: a command is out for %llu ms, the time-out is %u ms", g->index,
			           (unsigned long long)((now - qp->tasks[i].began_ns) / NS_PER_MS), g->opts.io_timeout_ms);
}

/* --- controllers ------------------------------------------------------------------------------ */

static void ctrlr_gone(struct nvme_ctrlr *c, const struct err *e, void *arg)
{
	struct guest *g = arg;

	if (g->gone || !g->told || g->state == GUEST_CLOSING)
		seeds_fail("guest %u: its controller's end was told wrongly", g->index);
	g->gone = true;
	check_told(g, "a controller", e, nvme_ctrlr_reason(c), 0);
}

static void ctrlr_ready(struct nvme_ctrlr *c, const struct err *e, void *arg)
{
	struct guest *g = arg;

	if (g->told || g->state == GUEST_CLOSING)
		seeds_fail("guest %u: opening its controller was told wrongly", g->index);
	g->told = true;
	g->gone = e;
	if (e)
		check_told(g, "opening a controller", e, nvme_ctrlr_reason(c), g->began_ns);
	else
		g->blocks_max = min_u32(g->w->io_blocks_max,
		                        nvme_ctrlr_info(c)->max_io_bytes / (g->w->media.block_size + g->w->media.pi.md_size));
}

static void ctrlr_open(void *arg)
{
	struct guest *g = arg;

	g->ctrlr = nvme_ctrlr_open(g->host.host, &g->path, &g->opts, ctrlr_ready, ctrlr_gone, g);
}

static void ctrlr_closed(void *arg) { ((struct guest *)arg)->closed = true; }

static void ctrlr_close(void *arg)
{
	struct guest *g = arg;

	nvme_ctrlr_close(g->ctrlr, ctrlr_closed, g);
}

/* --- a guest's life --------------------------------------------------------------------------- */

static void life_begins(struct guest *g)
{
	rdma_path(&g->path);
	g->opts = (struct nvme_host_opts){
		.keep_alive_ms = 1000 * (1 + (uint32_t)sim_draw(6)), .connect_timeout_ms = 1000 + (uint32_t)sim_draw(5000),
		.io_timeout_ms = 1000 + (uint32_t)sim_draw(8000), .io_queues = QPAIRS_MAX,
		.io_queue_size = (uint16_t)(2 + sim_draw(16)),
	};
	g->told = g->gone = g->closed = g->proven = false;
	g->busy_percent = sim_chance(30) ? 95 : (uint32_t)sim_draw(40);
	g->qp_count = 1 + (uint32_t)sim_draw(QPAIRS_MAX);
	g->began_ns = sim_now_ns();
	g->end_ns = g->began_ns + (sim_chance(20) ? sim_draw(10 * NS_PER_MS) : sim_draw(40 * NS_PER_S));
	g->lives -= g->lives > 0;
	g->state = GUEST_OPENING;
	sim_as(core_control(g->host.core), ctrlr_open, g);
}

static void queues_end(struct guest *g)
{
	g->state = GUEST_CLOSING_QUEUES;
	g->closing_ns = sim_now_ns();
	for (uint32_t i = 0; i < g->qp_count; i++)
		if (g->qps[i].qpair)
			sim_as(g->qps[i].reactor, qp_close, &g->qps[i]);
		else
			g->qps[i].closed = true;
}

static void on_opening(struct guest *g)
{
	if (!g->told && sim_now_ns() > g->began_ns + g->opts.connect_timeout_ms * NS_PER_MS + SLACK_NS)
		seeds_fail("guest %u: its controller is neither ready nor ended at its deadline", g->index);
	if (!g->told || g->gone) {
		if (g->gone || (sim_now_ns() > g->end_ns && !g->w->calm))
			queues_end(g);
		return;
	}
	must(nvme_ctrlr_login(g->ctrlr, &g->login));
	for (uint32_t i = 0; i < g->qp_count; i++) {
		struct qp *qp = &g->qps[i];

		qp->qid = (uint16_t)(i + 1);
		qp->reactor = core_reactor(g->host.core, (uint32_t)sim_draw(core_reactor_count(g->host.core)));
		qp->task_count = 1 + (uint32_t)sim_draw(g->w->tasks_max);
		sim_as(qp->reactor, qp_open, qp);
	}
	g->state = GUEST_LIVES;
}

static void on_lives(struct guest *g)
{
	bool over = g->gone || !g->w->ios_left || (sim_now_ns() > g->end_ns && !(g->w->calm && !g->proven));

	for (uint32_t i = 0; i < g->qp_count; i++) {
		struct qp *qp = &g->qps[i];

		qp_check(qp);
		over |= qp->dead && sim_chance(30);
		if (qp->ready && !qp->dead)
			sim_as(qp->reactor, qp_go_on, qp);
	}
	if (over)
		queues_end(g);
}

static void on_closing_queues(struct guest *g)
{
	for (uint32_t i = 0; i < g->qp_count; i++)
		if (!g->qps[i].closed) {
			if (sim_now_ns() > g->closing_ns + NS_PER_S)
				seeds_fail("guest %u: a queue pair does not close", g->index);
			return;
		}
	g->state = GUEST_CLOSING;
	g->closing_ns = sim_now_ns();
	sim_as(core_control(g->host.core), ctrlr_close, g);
}

static void on_closing(struct guest *g)
{
	struct world *w = g->w;

	if (!g->closed && sim_now_ns() > g->closing_ns + g->opts.connect_timeout_ms * NS_PER_MS + SLACK_NS)
		seeds_fail("guest %u: its controller is not closed within the connect time-out", g->index);
	if (!g->closed)
		return;
	g->ctrlr = NULL;
	/* the last life has to be a good one */
	g->state = w->ios_left && (g->lives || !(w->calm && g->proven)) ? GUEST_BORN : GUEST_OVER;
	w->ends += g->state == GUEST_OVER;
}

static void guest_step(struct sim_event *e)
{
	struct guest *g = container_of(e, struct guest, next);

	switch (g->state) {
	case GUEST_BORN: life_begins(g); break;
	case GUEST_OPENING: on_opening(g); break;
	case GUEST_LIVES: on_lives(g); break;
	case GUEST_CLOSING_QUEUES: on_closing_queues(g); break;
	case GUEST_CLOSING: on_closing(g); break;
	case GUEST_OVER: return;
	}
	sim_event_at(&g->next, sim_now_ns() + 1 + sim_draw(sim_chance(30) ? 200 * NS_PER_US : 80 * NS_PER_MS), guest_step);
}

/* --- what goes wrong -------------------------------------------------------------------------- */

struct sick {
	struct sim_adapter *adapter;
	bool out, port_down, link_down;
};

static struct sick sicks[1 + RDMA_HOSTS_MAX];

static void heal(struct sick *s)
{
	if (s->out)
		sim_adapter_return(s->adapter);
	if (s->port_down)
		sim_adapter_port(s->adapter, true);
	sim_adapter_link(s->adapter, false, false, 0);
	sim_adapter_fail_posts(s->adapter, 0, 0);
	sim_adapter_slow(s->adapter, 0);
	sim_adapter_lose_completion(s->adapter, 0, 0);
	sim_adapter_lose_ring(s->adapter, 0);
	sim_adapter_rnr(s->adapter, 0);
	*s = (struct sick){ .adapter = s->adapter };
}

static void hurt(struct sick *s)
{
	uint32_t conns = sim_adapter_conns(s->adapter);

	switch (sim_draw(13)) {
	case 0:
		if (!s->out && !s->port_down) {
			s->out = true;
			sim_adapter_remove(s->adapter);
		}
		break;
	case 1:
		if (!s->out && !s->port_down) {
			s->port_down = true;
			sim_adapter_port(s->adapter, false);
		}
		break;
	case 2: sim_adapter_link(s->adapter, sim_chance(60), sim_chance(60), sim_draw(10 * NS_PER_MS)); break;
	case 3: sim_adapter_rnr(s->adapter, 1 + (uint32_t)sim_draw(20)); break;
	case 4: sim_adapter_lose_ring(s->adapter, 1 + (uint32_t)sim_draw(20)); break;
	case 5:
		sim_adapter_lose_completion(s->adapter, (enum verbs_op)sim_draw(VERBS_RECV + 1), 1 + (uint32_t)sim_draw(20));
		break;
	case 6:
		sim_adapter_fail_posts(s->adapter, 2 + (uint32_t)sim_draw(50), sim_chance(50) ? -ENOMEM : -EINVAL);
		break;
	case 7: sim_adapter_slow(s->adapter, sim_draw(5 * NS_PER_MS)); break;
	default:
		if (conns)
			sim_adapter_cut(s->adapter, (uint32_t)sim_draw(conns), sim_chance(40));
	}
}

static void chaos(struct sim_event *e)
{
	struct world *w = container_of(e, struct world, chaos);
	struct sick *s = &sicks[sim_chance(50) ? 0 : 1 + sim_draw(w->guests)];

	if (w->chaos_left && w->chaos_left--) {
		if (sim_chance(40))
			heal(s);
		else
			hurt(s);
		sim_event_at(e, sim_now_ns() + 1 + sim_draw(sim_chance(70) ? 60 * NS_PER_MS : 2 * NS_PER_S), chaos);
		return;
	}
	for (uint32_t i = 0; i <= w->guests; i++)
		heal(&sicks[i]);
	w->calm = true;
}

/* A cut at any step. */
static void maybe_cut(struct reactor *r, void *arg)
{
	struct world *w = arg;

	if (w->chaos_left && sim_draw(20000) < 2 && sim_verbs_conns())
		sim_verbs_cut((uint32_t)sim_draw(sim_verbs_conns()), sim_chance(30));
}

/* --- the world -------------------------------------------------------------------------------- */

static void add_region(void *arg)
{
	struct guest *g = arg;

	mem_region_add(g->host.core, &g->region);
}

static void remove_region(void *arg)
{
	struct guest *g = arg;

	mem_region_remove(g->host.core, &g->region);
}

static void guest_init(struct world *w, uint32_t index)
{
	struct guest *g = &w->guest[index];
	struct sim_adapter_opts adapter = rdma_draw_adapter("host");
	size_t each = (size_t)w->io_blocks_max * w->media.block_size;
	size_t more = w->media.pi.md_size ? (size_t)w->io_blocks_max * (w->media.block_size + w->media.pi.md_size) : 0;
	size_t len = QPAIRS_MAX * w->tasks_max * (each + more);

	g->w = w;
	g->index = index;
	g->lives = 1 + (uint32_t)sim_draw(LIVES);
	g->memory = base_zalloc_aligned(4096, align_up(len, 4096));
	for (uint32_t i = 0; i < QPAIRS_MAX; i++) {
		g->qps[i].g = g;
		for (uint32_t k = 0; k < w->tasks_max; k++) {
			g->qps[i].tasks[k].g = g;
			g->qps[i].tasks[k].qp = &g->qps[i];
			g->qps[i].tasks[k].buf = g->memory + (i * w->tasks_max + k) * (each + more);
			g->qps[i].tasks[k].blocks = g->qps[i].tasks[k].buf + each;
		}
	}
	g->host.core = daemon_core_make(1 + (uint32_t)sim_draw(3), 0);
	rdma_host_start(&g->host, index, &adapter);
	if (sim_chance(50)) { /* registered: no copies */
		g->region = (struct mem_region){ .base = g->memory, .len = align_up(len, 4096) };
		sim_as(core_control(g->host.core), add_region, g);
	}
	sicks[1 + index] = (struct sick){ .adapter = g->host.adapter };
	sim_event_at(&g->next, sim_now_ns() + 1 + sim_draw(100 * NS_PER_MS), guest_step);
}

static void world_begin(struct world *w)
{
	struct sim_adapter_opts adapter;
	bool large;

	rdma_nets_start();
	adapter = rdma_draw_adapter("target");
	w->guests = 1 + (uint32_t)sim_draw(RDMA_HOSTS_MAX - 1);
	w->ios_left = 200 + (uint32_t)sim_draw(1200);
	w->chaos_left = sim_chance(75) ? 1 + (uint32_t)sim_draw(40) : 0;
	w->peaceful = !w->chaos_left;
	large = sim_chance(15);
	w->io_blocks_max = large ? IO_BLOCKS_LARGE : IO_BLOCKS_MAX;
	w->tasks_max = large ? TASKS_LARGE : TASKS_MAX;
	if (large)
		w->ios_left /= 4;
	media_init(&w->media, large ? 1024 : 256, large ? 1024 : 256, large || sim_chance(50) ? 4096 : 512);
	w->media.hold_percent = sim_chance(50) ? (uint32_t)sim_draw(30) : 0;
	w->media.hold_ns_max = NS_PER_MS + sim_draw(400 * NS_PER_MS);
	if (sim_chance(30)) {
		media_protect(&w->media, 8u << (sim_chance(70) ? 0 : sim_draw(4)), (uint8_t)(1 + sim_draw(3)), sim_chance(30));
		w->media.corrupt_permille = sim_chance(50) ? 1 + (uint32_t)sim_draw(50) : 0;
		w->unseen = sim_chance(40);
		seen.worlds++;
	}
	w->oracle = oracle_make(w->media.blocks, w->media.block_size);
	w->target.media = &w->media;
	w->target.core = w->peaceful ? daemon_core_make(1 + (uint32_t)sim_draw(3), 0) /* nobody may be refused */
	                             : daemon_core_make_scarce(1 + (uint32_t)sim_draw(3));
	w->target.opts = (struct nvmf_transport_opts){
		.in_capsule_data_size = (uint32_t)(sim_draw(4) * 4096),
		.max_io_size = large ? 2u << 20 : sim_chance(50) ? 131072 : 1u << 20,
		.max_queue_depth = (uint16_t)(4 + sim_draw(128)), .max_io_qpairs_per_ctrlr = 8, .max_aq_depth = 32,
		.dif_insert_or_strip = w->unseen,
		.data_timeout_ms = 1000 + (uint32_t)sim_draw(5000), .no_srq = sim_chance(20), .no_wr_batching = sim_chance(20),
		.max_srq_depth = sim_chance(50) ? 64 + (uint32_t)sim_draw(200) : 0,
		.num_cqe = adapter.lacks_cq_resize ? 32768 : (uint32_t)sim_draw(100),
	};
	rdma_draw_limits(&w->target.opts);
	rdma_target_start(&w->target, &adapter);
	sicks[0] = (struct sick){ .adapter = w->target.adapter };
}

static uint64_t world_end(struct world *w)
{
	uint64_t hash;

	sim_event_cancel(&w->chaos);
	for (uint32_t i = 0; i <= w->guests; i++)
		heal(&sicks[i]);
	for (uint32_t i = 0; i < w->guests; i++) {
		struct guest *g = &w->guest[i];

		rdma_host_stop(&g->host);
		if (g->region.len)
			sim_as(core_control(g->host.core), remove_region, g);
	}
	rdma_target_stop(&w->target);
	sim_run(NULL, NULL, 10 * NS_PER_S);
	for (uint32_t i = 0; i < w->guests; i++)
		free(w->guest[i].memory);
	hash = 0;
	for (uint32_t i = 0; i < w->guests; i++)
		core_free(w->guest[i].host.core);
	core_free(w->target.core);
	hash = rdma_nets_end();
	oracle_free(w->oracle);
	seen.corrupted += w->media.corrupted;
	media_fini(&w->media);
	return hash;
}

static bool is_over(void *arg)
{
	struct world *w = arg;

	return seeds_failed() || w->ends == w->guests;
}

static uint64_t run(uint64_t seed)
{
	struct world *w = base_zalloc(sizeof(*w));
	uint64_t hash;

	sim_start(seed);
	world_begin(w);
	for (uint32_t i = 0; i < w->guests; i++)
		guest_init(w, i);
	sim_event_at(&w->chaos, sim_now_ns() + sim_draw(100 * NS_PER_MS), chaos);
	sim_after_pass(maybe_cut, w);
	if (!sim_run(is_over, w, WORLD_SECONDS * NS_PER_S))
		seeds_fail("stuck: %u of %u guests have ended, %u I/Os were left", w->ends, w->guests, w->ios_left);
	sim_after_pass(NULL, NULL);
	seeds_verdict();
	hash = world_end(w);
	free(w);
	return hash;
}

int main(int argc, char **argv)
{
	int rc = seeds_main(argc, argv, 40, run);

	printf("%llu worlds with protection information: %llu commands, %llu bytes changed and were found %llu times, "
	       "%llu writes refused\n", (unsigned long long)seen.worlds, (unsigned long long)seen.good,
	       (unsigned long long)seen.corrupted, (unsigned long long)seen.found, (unsigned long long)seen.refused);
	if (!rc && argc == 1 && (!seen.found || !seen.refused)) {
		fprintf(stderr, "too little happened for this to prove anything\n");
		return 1;
	}
	return rc;
}
