/* SPDX-License-Identifier: BSD-3-Clause */
/* host_sim.c: the host library alone, against the real target, while the network loses, delays, cuts and partitions,
 * the target dies and comes back, names are slow or unknown, and the host changes its mind at any moment.
 *
 * Guests live one life after the other: open a controller on the control reactor, queue pairs on others, some of them
 * before there is a controller to log in to; submit; and end it, in whatever state it is, disabled first or not.
 * Checked are
 *   - every attempt ends at its deadline, with a reason and a sentence, told once;
 *   - every command comes back once, and within a bounded time when there is an I/O time-out;
 *   - a target that is not heard any more is noticed within the keep-alive time;
 *   - a command that never was `sent` never lands; after a controller was disabled nothing of it lands;
 *   - no read is stale, torn, or another block's; nothing gets stuck or is left behind.
 */
#include <errno.h>
#include <stdio.h>

#include "daemon.h"
#include "far.h"
#include "keyring/keyring.h"
#include "nvme/nvme.h"
#include "oracle.h"
#include "seeds.h"

#define GUESTS_MAX 3u
#define QPAIRS_MAX 3u
#define TASKS_MAX 8u
#define LIVES 4u
#define IO_BLOCKS_MAX 20u
#define GENERATIONS_MAX 65536u
#define SLACK_NS (100 * NS_PER_MS)
#define WORLD_SECONDS 3600u
/* Of "0123456789abcdef0123456789abcdef", and of 32 zeroes, with their checksums. */
#define KEY_BASE64 "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWYOtVl3"
#define OTHER_BASE64 "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAACtVQoZ"

struct guest;

struct task {
	struct nvme_op op;
	struct iovec iov;
	struct guest *g;
	struct qp *qp;
	uint8_t *buf;
	uint8_t opc;
	uint64_t lba, read_began, began_ns;
	uint32_t count, generation;
	bool out;
};

struct qp {
	struct guest *g;
	struct nvme_qpair *qpair;
	struct reactor *reactor;
	uint16_t qid;
	bool warm, logged_in, ready, dead;  /* dead: ready(e) or gone(e) was told */
	uint64_t began_ns, ready_ns;        /* its deadline counts from the first, commands' time-outs from the second */
	uint32_t outstanding;
	struct task tasks[TASKS_MAX];
	uint32_t task_count;
};

/*   state       what it is at */
enum guest_state {
	GUEST_BORN,
	GUEST_OPENING,  /* a controller is being opened */
	GUEST_LIVES,    /* ready: queue pairs are opened, commands flow */
	GUEST_DISABLING,
	GUEST_CLOSING,
	GUEST_OVER,
};

struct guest {
	struct world *w;
	uint32_t index, lives, life;
	enum guest_state state;
	struct nvme_path path;
	struct nvme_host_opts opts;
	struct nvme_ctrlr *ctrlr;
	struct nvme_login login;
	int real;                       /* which of the target's addresses; -1: none of them */
	bool reached, held, proceeding, told, gone, disabled, closed;
	uint64_t began_ns, proceed_ns, end_ns; /* opened; may go on; shall end, whatever it is at */
	uint64_t closing_ns, disabling_ns;
	struct qp qps[QPAIRS_MAX];
	uint32_t qp_count;
	_Atomic uint64_t alive_ns;
	struct sim_event next;
};

/* What became of a write. */
struct fate {
	uint32_t life;
	bool landed, unsent;
};

struct world {
	struct media media;
	struct far far;
	struct oracle *oracle;
	struct core *core;
	struct nvme_host *host;
	struct keyring *keyring;
	struct keyring_key *psk, *other_psk;   /* the target's, and one that is not; NULL: there is no TLS */
	struct reactor *control;
	uint32_t reactors, guests, ios_left, ends;
	struct guest guest[GUESTS_MAX];
	struct fate fates[GENERATIONS_MAX];
	bool fenced[1 + GUESTS_MAX * LIVES];   /* lives of which nothing may land any more */
	struct mute mute;
	struct sim_event chaos;
	uint32_t chaos_left;
	uint64_t lost_since_ns[FAR_ADDRS_MAX]; /* nothing comes from that address since; 0: it may */
};

static void check_told(struct guest *g, const char *what, const struct err *e, enum nvme_reason reason,
                       uint64_t began_ns)
{
	uint64_t took_ns = sim_now_ns() - began_ns;

	sim_note(reason);
	if (!e->text[0] || !e->code || reason == NVME_REASON_NONE)
		seeds_fail("guest %u: %s ended without a reason (%s, %d, \"%s\")", g->index, what, nvme_reason_name(reason),
		           e->code, e->text);
	if (began_ns && took_ns > g->opts.connect_timeout_ms * NS_PER_MS + SLACK_NS)
		seeds_fail("guest %u: %s ended %llu ms after it began, its deadline was %u ms: %s", g->index, what,
		           (unsigned long long)(took_ns / NS_PER_MS), g->opts.connect_timeout_ms, e->text);
}

/* --- commands --------------------------------------------------------------------------------- */

/* Just before it lands. */
static void lands(void *arg, uint64_t lba, const uint8_t *data)
{
	struct world *w = arg;
	struct fate *f;
	uint32_t generation;

	if (!data)
		return;
	generation = oracle_generation(data);
	must(generation && generation < GENERATIONS_MAX);
	f = &w->fates[generation];
	f->landed = true;
	if (f->unsent)
		seeds_fail("generation %u of block %llu landed: it had come back as never sent", generation,
		           (unsigned long long)lba);
	if (w->fenced[f->life])
		seeds_fail("generation %u of block %llu landed after its controller was disabled", generation,
		           (unsigned long long)lba);
}

static void task_next(struct task *t);

static void task_verify(struct task *t, uint16_t status)
{
	struct world *w = t->g->w;
	struct fate *f = &w->fates[t->generation];
	char why[256];

	if (t->opc == NVME_CMD_READ) {
		if (!status && !oracle_read_end(w->oracle, t->lba, t->count, t->read_began, t->buf, why, sizeof(why)))
			seeds_fail("guest %u: %s", t->g->index, why);
		return;
	}
	if (t->opc == NVME_CMD_FLUSH)
		return;
	oracle_write_end(w->oracle, t->lba, t->count, t->generation, !status);
	if (status != NVME_SC_HOST_PATH_ERROR || t->op.sent || t->opc != NVME_CMD_WRITE)
		return;
	f->unsent = true;
	if (f->landed)
		seeds_fail("guest %u: generation %u comes back as never sent, but it landed", t->g->index, t->generation);
}

static void task_done(struct nvme_op *op)
{
	struct task *t = container_of(op, struct task, op);
	uint16_t status = nvme_op_status(op);

	if (!t->out)
		seeds_fail("guest %u: command %02xh came back twice", t->g->index, op->cmd.opc);
	t->out = false;
	t->qp->outstanding--;
	sim_note((uint64_t)status << 32 | t->lba);
	task_verify(t, status);
	if (status && status != NVME_SC_HOST_PATH_ERROR && status != NVME_SC_ABORT_QUEUE && status != NVME_SC_ABORT_REQ &&
	    status != NVME_SC_ANA_INTERNAL_PATH_ERROR)
		seeds_fail("guest %u: command %02xh of block %llu: %s", t->g->index, op->cmd.opc, (unsigned long long)t->lba,
		           nvme_status_text(status, false));
	if (!t->qp->dead && t->g->state == GUEST_LIVES && !status)
		task_next(t);
}

static void task_next(struct task *t)
{
	struct world *w = t->g->w;
	uint64_t dice = sim_draw(100);
	uint32_t len;

	if (!w->ios_left || seeds_failed())
		return;
	w->ios_left--;
	t->opc = dice < 40 ? NVME_CMD_READ : dice < 95 ? NVME_CMD_WRITE : NVME_CMD_FLUSH;
	t->count = 1 + (uint32_t)sim_draw(sim_chance(70) ? 3 : IO_BLOCKS_MAX);
	t->lba = sim_draw(w->media.blocks - t->count);
	len = t->opc == NVME_CMD_FLUSH ? 0 : t->count * w->media.block_size;
	t->iov = (struct iovec){ t->buf, len };
	t->op = (struct nvme_op){ .iovs = &t->iov, .iov_count = len ? 1 : 0, .data_len = len, .done = task_done };
	t->op.cmd = nvme_sqe_rw(t->opc, 1, len ? t->lba : 0, len ? t->count : 1);
	t->op.data = t->opc == NVME_CMD_READ ? NVME_OP_TO_HOST : len ? NVME_OP_TO_CTRLR : NVME_OP_NONE;
	if (t->opc == NVME_CMD_READ)
		t->read_began = oracle_read_begin(w->oracle);
	if (t->opc == NVME_CMD_WRITE) {
		t->generation = oracle_write_begin(w->oracle, t->lba, t->count, t->buf);
		must(t->generation < GENERATIONS_MAX);
		w->fates[t->generation].life = t->g->life;
	}
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

	if (qp->dead || qp->ready)
		seeds_fail("guest %u: queue pair %u: told twice", qp->g->index, qp->qid);
	qp->ready = !e;
	qp->ready_ns = sim_now_ns();
	qp->dead = e;
	if (e)
		check_told(qp->g, "connecting a queue pair", e, nvme_qpair_reason(qpair), qp->began_ns);
	else if (sim_now_ns() - qp->began_ns > qp->g->opts.connect_timeout_ms * NS_PER_MS + SLACK_NS)
		seeds_fail("guest %u: queue pair %u: ready after its deadline", qp->g->index, qp->qid);
}

static void qp_submit(struct qp *qp)
{
	for (uint32_t i = 0; i < qp->task_count && !qp->dead; i++)
		if (!qp->tasks[i].out)
			task_next(&qp->tasks[i]);
}

/* On its reactor. Without a login it waits for one. */
static void qp_open(void *arg)
{
	struct qp *qp = arg;

	qp->warm = qp->g->login.cntlid == NVME_CNTLID_DYNAMIC;
	qp->logged_in = !qp->warm;
	qp->ready = qp->dead = false;
	qp->began_ns = sim_now_ns();
	qp->qpair = nvme_qpair_open(qp->g->w->host, &qp->g->login, qp->qid, qp_ready, qp_gone, qp);
	if (qp->logged_in && sim_chance(50))
		qp_submit(qp); /* they wait until it is ready */
}

static void qp_login(void *arg)
{
	struct qp *qp = arg;

	qp->logged_in = true;
	qp->began_ns = sim_now_ns();
	nvme_qpair_login(qp->qpair, &qp->g->login, qp->qid);
}

static void qp_go_on(void *arg)
{
	struct qp *qp = arg;

	if (!qp->outstanding)
		qp_submit(qp);
}

static void qp_give_up(void *arg)
{
	struct qp *qp = arg;
	struct err e = { 0 };

	err_set(&e, -ECANCELED, "given up");
	nvme_qpair_fail(qp->qpair, NVME_REASON_ASKED, &e);
}

static void qp_close(void *arg)
{
	struct qp *qp = arg;

	nvme_qpair_close(qp->qpair);
	qp->qpair = NULL;
	if (qp->outstanding)
		seeds_fail("guest %u: closing a queue pair left %u commands without an answer", qp->g->index, qp->outstanding);
}

static void qp_check(struct qp *qp)
{
	struct guest *g = qp->g;
	uint64_t now = sim_now_ns(), most_ns = g->opts.io_timeout_ms * NS_PER_MS * 3 / 2 + 2 * SLACK_NS;

	if (!qp->qpair)
		return;
	if (!qp->ready && !qp->dead && qp->logged_in &&
	    now > qp->began_ns + g->opts.connect_timeout_ms * NS_PER_MS + SLACK_NS)
		seeds_fail("guest %u: queue pair %u neither ready nor ended at its deadline", g->index, qp->qid);
	if (!g->opts.io_timeout_ms || !qp->ready)
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
	uint64_t held_ns = !g->held ? 0 : min_u64(g->proceed_ns, sim_now_ns()) - g->began_ns;

	if (g->told || g->state == GUEST_CLOSING)
		seeds_fail("guest %u: opening its controller was told wrongly", g->index);
	g->told = true;
	g->gone = e;
	if (e)
		check_told(g, "opening a controller", e, nvme_ctrlr_reason(c), g->began_ns + held_ns);
	else if (nvme_ctrlr_info(c)->ns_count != 1 || nvme_ctrlr_info(c)->ns[0].block_count != g->w->media.blocks)
		seeds_fail("guest %u: the namespace is not what was exported", g->index);
}

static void ctrlr_reached(struct nvme_ctrlr *c, void *arg)
{
	struct guest *g = arg;

	g->reached = true;
	g->held = g->opts.probe;
	g->proceed_ns = sim_now_ns() + (g->opts.probe ? sim_draw(4 * NS_PER_S) : 0);
	if (!nvme_ctrlr_login(c, &g->login))
		seeds_fail("guest %u: the target was reached, but there is no login", g->index);
}

static void ctrlr_open(void *arg)
{
	struct guest *g = arg;

	g->ctrlr = nvme_ctrlr_open(g->w->host, &g->path, &g->opts, ctrlr_ready, ctrlr_gone, g);
	nvme_ctrlr_on_reached(g->ctrlr, ctrlr_reached, g);
}

static void ctrlr_proceed(void *arg)
{
	struct guest *g = arg;

	nvme_ctrlr_proceed(g->ctrlr);
}

static void ctrlr_disabled(struct nvme_ctrlr *c, const struct err *e, void *arg)
{
	struct guest *g = arg;

	g->disabled = true;
	sim_note(!e);
	if (!e)
		g->w->fenced[g->life] = true;
}

static void ctrlr_disable(void *arg)
{
	struct guest *g = arg;

	nvme_ctrlr_disable(g->ctrlr, ctrlr_disabled, g);
}

static void ctrlr_closed(void *arg)
{
	struct guest *g = arg;

	g->closed = true;
}

static void ctrlr_close(void *arg)
{
	struct guest *g = arg;

	nvme_ctrlr_close(g->ctrlr, ctrlr_closed, g);
}

/* --- a guest's life --------------------------------------------------------------------------- */

static void guest_step(struct sim_event *e);

static void life_begins(struct guest *g)
{
	struct world *w = g->w;
	static const char *const wrong[] = { "10.0.0.9", "10.0.0.8", "nowhere", "slow" };
	char text[256], host[NET_ADDR_TEXT_MAX];
	uint64_t dice = sim_draw(100);

	g->real = dice < 80 ? (int)sim_draw(w->far.addr_count) : dice < 84 ? 0 : -1;
	net_addr_host(&w->far.addrs[g->real > 0], host);
	snprintf(text, sizeof(text), "trtype:TCP adrfam:IPv4 traddr:%s trsvcid:4420 subnqn:" FAR_NQN "%s",
	         dice < 80 ? host : dice < 84 ? "target" : wrong[dice % 4], w->psk ? " hostnqn:" FAR_HOST : "");
	must(!nvme_path_parse(text, &g->path, NULL));
	g->life = 1 + g->index * LIVES + g->lives;
	g->lives--;
	g->opts = (struct nvme_host_opts){
		.header_digest = sim_chance(20), .data_digest = sim_chance(20), .probe = sim_chance(30),
		.keep_alive_ms = 1000 * (1 + (uint32_t)sim_draw(6)), .connect_timeout_ms = 500 + (uint32_t)sim_draw(5000),
		.ack_timeout_ms = sim_chance(50) ? 500 + (uint32_t)sim_draw(20000) : 0,
		.io_timeout_ms = sim_chance(50) ? 500 + (uint32_t)sim_draw(8000) : 0,
		.io_queues = QPAIRS_MAX, .io_queue_size = (uint16_t)(2 + sim_draw(16)), .alive_ns = &g->alive_ns,
	};
	if (w->psk)
		g->opts.psk = sim_chance(85) ? w->psk : sim_chance(50) ? w->other_psk : NULL;
	g->opts.psk_old_first = w->psk && sim_chance(30);
	g->reached = g->held = g->proceeding = g->told = g->gone = g->disabled = g->closed = false;
	g->qp_count = 1 + (uint32_t)sim_draw(QPAIRS_MAX);
	g->began_ns = sim_now_ns();
	g->end_ns = g->began_ns + (sim_chance(30) ? sim_draw(10 * NS_PER_MS) : sim_draw(40 * NS_PER_S));
	g->state = GUEST_OPENING;
	sim_as(w->control, ctrlr_open, g);
}

static void queue_pairs_begin(struct guest *g)
{
	for (uint32_t i = 0; i < g->qp_count; i++) {
		struct qp *qp = &g->qps[i];

		qp->qid = (uint16_t)(i + 1);
		qp->reactor = sim_chance(20) ? g->w->control : core_reactor(g->w->core, (uint32_t)sim_draw(g->w->reactors));
		qp->task_count = 1 + (uint32_t)sim_draw(TASKS_MAX);
		sim_as(qp->reactor, qp_open, qp);
	}
}

static void queue_pairs_end(struct guest *g)
{
	for (uint32_t i = 0; i < g->qp_count; i++)
		if (g->qps[i].qpair)
			sim_as(g->qps[i].reactor, qp_close, &g->qps[i]);
}

static void close_all(struct guest *g)
{
	queue_pairs_end(g);
	g->state = GUEST_CLOSING;
	g->closing_ns = sim_now_ns();
	sim_as(g->w->control, ctrlr_close, g);
}

static void life_ends(struct guest *g)
{
	if (g->told && !g->gone && sim_chance(40)) {
		if (sim_chance(50))
			queue_pairs_end(g);
		g->state = GUEST_DISABLING;
		g->disabling_ns = sim_now_ns();
		sim_as(g->w->control, ctrlr_disable, g);
	} else {
		close_all(g);
	}
}

static void on_opening(struct guest *g)
{
	if (g->reached && !g->proceeding && sim_now_ns() >= g->proceed_ns) {
		g->proceeding = true;
		if (sim_chance(40))
			queue_pairs_begin(g); /* in parallel with the admin queue */
		if (g->held)
			sim_as(g->w->control, ctrlr_proceed, g);
	}
	if (!g->held && !g->told && sim_now_ns() > g->began_ns + g->opts.connect_timeout_ms * NS_PER_MS + SLACK_NS)
		seeds_fail("guest %u: its controller is neither ready nor ended at its deadline", g->index);
	if (g->told && !g->gone) {
		if (!sim_chance(20) || g->qps[0].qpair)
			nvme_ctrlr_login(g->ctrlr, &g->login);
		if (!g->qps[0].qpair)
			queue_pairs_begin(g);
		g->state = GUEST_LIVES;
	} else if (g->told || sim_now_ns() > g->end_ns) {
		life_ends(g);
	}
}

/* Nothing is heard: at the latest the keep-alive time after the last that came, and what the network took for it. */
static void check_keep_alive(struct guest *g)
{
	uint64_t since_ns = g->real < 0 ? 0 : g->w->lost_since_ns[g->real], now = sim_now_ns();

	if (since_ns && now > since_ns + g->opts.keep_alive_ms * NS_PER_MS * 3 / 2 + 10 * SLACK_NS)
		seeds_fail("guest %u: nothing was heard for %llu ms, the keep-alive time is %u ms, and the controller goes on",
		           g->index, (unsigned long long)((now - since_ns) / NS_PER_MS), g->opts.keep_alive_ms);
}

static void on_lives(struct guest *g)
{
	bool over = sim_now_ns() > g->end_ns || g->gone || !g->w->ios_left;

	check_keep_alive(g);
	for (uint32_t i = 0; i < g->qp_count; i++) {
		struct qp *qp = &g->qps[i];

		qp_check(qp);
		over |= qp->dead && sim_chance(30);
		if (!qp->qpair || qp->dead)
			continue;
		if (!qp->logged_in && nvme_ctrlr_info(g->ctrlr)->cntlid == g->login.cntlid)
			sim_as(qp->reactor, qp_login, qp);
		else if (!qp->logged_in)
			nvme_ctrlr_login(g->ctrlr, &g->login);
		else if (sim_draw(1000) < 2)
			sim_as(qp->reactor, qp_give_up, qp);
		else
			sim_as(qp->reactor, qp_go_on, qp);
	}
	if (over)
		life_ends(g);
}

static void on_disabling(struct guest *g)
{
	if (g->disabled || g->gone)
		close_all(g);
	else if (sim_now_ns() > g->disabling_ns + g->opts.connect_timeout_ms * NS_PER_MS + SLACK_NS)
		seeds_fail("guest %u: its controller is not disabled, nor is it said why not", g->index);
}

static void on_closing(struct guest *g)
{
	if (!g->closed && sim_now_ns() > g->closing_ns + g->opts.connect_timeout_ms * NS_PER_MS + SLACK_NS)
		seeds_fail("guest %u: its controller is not closed within the connect time-out", g->index);
	if (!g->closed)
		return;
	g->ctrlr = NULL;
	g->state = g->lives && g->w->ios_left ? GUEST_BORN : GUEST_OVER;
	g->w->ends += g->state == GUEST_OVER;
}

/* Now and then, outside of all reactors. */
static void guest_step(struct sim_event *e)
{
	struct guest *g = container_of(e, struct guest, next);

	switch (g->state) {
	case GUEST_BORN: life_begins(g); break;
	case GUEST_OPENING: on_opening(g); break;
	case GUEST_LIVES: on_lives(g); break;
	case GUEST_DISABLING: on_disabling(g); break;
	case GUEST_CLOSING: on_closing(g); break;
	case GUEST_OVER: return;
	}
	sim_event_at(&g->next, sim_now_ns() + 1 + sim_draw(sim_chance(50) ? 200 * NS_PER_US : 50 * NS_PER_MS), guest_step);
}

/* --- what goes wrong -------------------------------------------------------------------------- */

static void lost_or_not(struct world *w)
{
	for (uint32_t n = 0; n < w->far.addr_count; n++) {
		if (w->far.state == FAR_UP && !w->far.links[n].lost_from)
			w->lost_since_ns[n] = 0;
		else if (!w->lost_since_ns[n])
			w->lost_since_ns[n] = sim_now_ns();
	}
}

static void chaos(struct sim_event *e)
{
	struct world *w = container_of(e, struct world, chaos);
	struct sim_net_link well = { 0 }, link = w->chaos_left ? far_draw_link(300 * NS_PER_MS) : well;
	uint64_t dice = sim_draw(100);
	uint32_t n = (uint32_t)sim_draw(w->far.addr_count);

	w->chaos_left -= w->chaos_left > 0;
	sim_note(dice);
	if (w->far.state == FAR_DOWN)
		far_start(&w->far);
	else if (!w->chaos_left)
		for (n = 0; n < w->far.addr_count; n++)
			far_link(&w->far, n, &well);
	else if (dice < 15 && w->far.state == FAR_UP)
		far_die(&w->far);
	else if (dice < 28 && sim_net_connections())
		sim_net_cut((uint32_t)sim_draw(sim_net_connections()), sim_chance(30));
	else if (dice < 35 && sim_net_connections())
		sim_net_stall_to(NULL, (uint32_t)sim_draw(sim_net_connections()), sim_draw(15 * NS_PER_S));
	else if (dice < 45)
		sim_net_reset_link(&w->far.addrs[n]);
	else if (dice < 50)
		sim_jobs_take(1, 1 + sim_draw(6 * NS_PER_S));
	else
		far_link(&w->far, n, &link);
	lost_or_not(w);
	sim_event_at(e, sim_now_ns() + 1 + sim_draw(sim_chance(50) ? 20 * NS_PER_MS : 8 * NS_PER_S), chaos);
}

/* A cut at any step. */
static void maybe_cut(struct reactor *r, void *arg)
{
	struct world *w = arg;

	if (w->chaos_left && sim_draw(20000) < 3 && sim_net_connections())
		sim_net_cut((uint32_t)sim_draw(sim_net_connections()), sim_chance(30));
	lost_or_not(w);
}

/* --- the world -------------------------------------------------------------------------------- */

static bool far_is(void *arg)
{
	struct world *w = arg;

	return w->far.state == FAR_UP || w->far.state == FAR_DOWN;
}

static bool is_over(void *arg)
{
	struct world *w = arg;

	return seeds_failed() || w->ends == w->guests;
}

static void guest_init(struct world *w, uint32_t index)
{
	struct guest *g = &w->guest[index];

	g->w = w;
	g->index = index;
	g->lives = 1 + (uint32_t)sim_draw(LIVES - 1);
	for (uint32_t i = 0; i < QPAIRS_MAX; i++) {
		g->qps[i].g = g;
		for (uint32_t k = 0; k < TASKS_MAX; k++) {
			g->qps[i].tasks[k].g = g;
			g->qps[i].tasks[k].qp = &g->qps[i];
			g->qps[i].tasks[k].buf = base_zalloc((size_t)IO_BLOCKS_MAX * w->media.block_size);
		}
	}
	sim_event_at(&g->next, sim_now_ns() + 1 + sim_draw(NS_PER_S), guest_step);
}

static void guest_fini(struct guest *g)
{
	for (uint32_t i = 0; i < QPAIRS_MAX; i++)
		for (uint32_t k = 0; k < TASKS_MAX; k++)
			free(g->qps[i].tasks[k].buf);
}

/* The target listens for TLS only, and asks for the first of them. */
static void make_keys(struct world *w)
{
	struct err e = { 0 };

	w->keyring = keyring_make();
	must(!keyring_add_memory(w->keyring, "psk", "NVMeTLSkey-1:01:" KEY_BASE64 ":", &e));
	must(!keyring_add_memory(w->keyring, "other", "NVMeTLSkey-1:01:" OTHER_BASE64 ":", &e));
	w->far.psk = w->psk = keyring_get(w->keyring, "psk", "psk", &e);
	w->other_psk = keyring_get(w->keyring, "psk", "other", &e);
}

static void world_begin(struct world *w)
{
	sim_net_start(&(struct sim_net_opts){
		.latency_ns_min = 1000, .latency_ns_max = 1000 + sim_draw(300000),
		.buffer_bytes = (uint32_t)(4096 + sim_draw(128 * KIB)), .short_read_percent = (uint32_t)sim_draw(60),
		.short_write_percent = (uint32_t)sim_draw(60) });
	w->reactors = 1 + (uint32_t)sim_draw(3);
	w->guests = 1 + (uint32_t)sim_draw(GUESTS_MAX);
	w->ios_left = 100 + (uint32_t)sim_draw(600);
	w->chaos_left = (uint32_t)sim_draw(40);
	media_init(&w->media, 64, 64, sim_chance(50) ? 4096 : 512);
	w->media.hold_percent = sim_chance(50) ? (uint32_t)sim_draw(30) : 0;
	w->media.hold_ns_max = NS_PER_MS + sim_draw(3 * NS_PER_S);
	w->media.lands = lands;
	w->media.arg = w;
	w->oracle = oracle_make(w->media.blocks, w->media.block_size);
	far_make(&w->far, &w->media, 0, 2, 1 + (uint32_t)sim_draw(2));
	if (sim_chance(30))
		make_keys(w);
	far_start(&w->far);
	must(sim_run(far_is, w, 10 * NS_PER_S));
	sim_net_set_name("target", &w->far.addrs[0]);
	sim_net_set_name("slow", &w->far.addrs[1]);
	w->core = daemon_core_make(w->reactors, 0);
	w->control = core_control(w->core);
	w->host = nvme_host_make(w->core);
	mute_make(&w->mute, w->control, "10.0.0.9");
}

static uint64_t world_end(struct world *w)
{
	sim_event_cancel(&w->chaos);
	sim_run(NULL, NULL, 10 * NS_PER_S); /* names that were asked for are answered */
	if (w->far.state == FAR_DOWN)
		far_start(&w->far);
	must(sim_run(far_is, w, 10 * NS_PER_S));
	if (w->far.state == FAR_UP)
		far_stop(&w->far);
	if (!sim_run(far_is, w, 600 * NS_PER_S))
		seeds_fail("the target does not stop");
	daemon_check_memory(w->far.core, "the target's");
	seeds_verdict();
	mute_free(&w->mute);
	far_free(&w->far);
	nvme_host_free(w->host);
	core_free(w->core);
	keyring_key_unref(w->psk);
	keyring_key_unref(w->other_psk);
	keyring_free(w->keyring);
	sim_net_end();
	oracle_free(w->oracle);
	media_fini(&w->media);
	for (uint32_t i = 0; i < w->guests; i++)
		guest_fini(&w->guest[i]);
	return sim_end();
}

static uint64_t run(uint64_t seed)
{
	struct world *w = base_zalloc(sizeof(*w));
	uint64_t hash;

	sim_start(seed);
	world_begin(w);
	for (uint32_t i = 0; i < w->guests; i++)
		guest_init(w, i);
	sim_event_at(&w->chaos, sim_now_ns() + sim_draw(NS_PER_S), chaos);
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
	return seeds_main(argc, argv, 60, run);
}
