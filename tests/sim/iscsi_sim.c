/* SPDX-License-Identifier: BSD-3-Clause */
/* iscsi_sim.c: iSCSI, host to disk: one to five sessions of gantry-perf's initiator at one logical unit, a RAM disk's
 * or one of media that keep I/O back, under a simulated network that delays, cuts into pieces and resets, while
 * sessions are moved between cores in the middle of anything, ended by the administrator, and preempted by the first
 * host, which holds a reservation; with digests and without, whatever is negotiated.
 *
 * Checks that
 *   - no read is stale, torn or another block's, every command is answered, nothing gets stuck or is left behind;
 *   - no write lands after it was answered, nor, when its session was lost, after the host has logged in again;
 *   - no write of a host lands that was out when it was preempted and aborted, until it registers again; one that the
 *     target had taken in by then does not even then;
 *   - a seed replays a run exactly.
 */
#include <stdio.h>

#include "backends/malloc/malloc.h"
#include "daemon.h"
#include "iscsi/config.h"
#include "iscsi/session.h"
#include "media.h"
#include "net/sim/sim_net.h"
#include "oracle.h"
#include "perf/initiator.h"
#include "scsi/scsi.h"
#include "seeds.h"
#include "wire/scsi.h"

#define NODE "iqn.2026-01.io.gantry:sim"
#define CLIENTS_MAX 5u
#define TASKS_MAX 16u
#define HANDS 2u
#define BLOCKS_MAX 40u                  /* of one command */
#define RETRY_NS (20 * NS_PER_MS)
#define SECONDS 600                     /* of virtual time; a run that needs more is stuck */
#define STATUS_LOST 0xffu
#define GENERATIONS_MAX 8192u
#define PR_TYPE 5                       /* write exclusive, registrants only */

enum kind { KIND_READ, KIND_WRITE, KIND_ZEROES, KIND_FLUSH };

/* What may still become of a write. */
struct fate {
	enum fate_state {
		FATE_NONE, FATE_OUT, FATE_LOST, FATE_PREEMPTED, FATE_ABORTED, FATE_ANSWERED, FATE_FENCED
	} state;
	const struct ini_op *op;
	uint32_t client;
	uint64_t sent;                  /* in order of all that was sent */
};

struct task {
	struct ini_op op;
	struct client *client;
	uint8_t *buf;
	enum kind kind;
	uint64_t lba, read_began, sent;
	uint32_t count, generation;
	bool out;
};

struct client {
	struct world *w;
	struct reactor *reactor;
	uint32_t index, task_count, tasks_out;
	struct ini_url url;
	struct ini_opts opts;
	struct ini *ini;
	struct task tasks[TASKS_MAX];
	struct timer retry;
	bool running, over;
	/* Reservations: one command at a time beside the others. */
	struct ini_op pr;
	uint8_t pr_data[24], pr_action;
	uint32_t victim;
	uint64_t pr_sent, registered;
	uint64_t heard;                 /* sent last of what was answered: the target has what came before it */
	uint64_t victim_heard;
	bool pr_out, holds;
};

struct hand {
	struct iscsi_move move;
	struct world *w;
	bool out;
};

struct world {
	uint32_t cores, clients, block_size, blocks, ios_left, cuts_left, cut_percent, move_permille, ends_left;
	struct core *target_core, *host_core;
	struct bdev_registry *reg;
	struct scsi *scsi;
	struct iscsi_target *target;
	struct iscsi_change change;
	struct iscsi_conns_end end;
	struct hand hands[HANDS];
	struct client client[CLIENTS_MAX];
	struct oracle *oracle;
	struct media media;
	struct bdev *disk;
	struct fate fates[GENERATIONS_MAX];
	uint64_t sent;
	uint32_t clients_running;
	bool on_media, reserving;
	bool serving, ending, stopped;
};

static struct {
	uint64_t ios, logins, cuts, moves, ends, preempts, conflicts, held;
} all;

enum { PR_RESERVE = 1, PR_PREEMPT_AND_ABORT = 5, PR_REGISTER = 6 /* and ignore the key there is */ };

static void next(struct task *t);
static void reserve(struct client *c, uint8_t action);
static void connect_now(void *arg);

/* --- commands ---------------------------------------------------------------------------------------------------- */

static void verify(struct task *t, bool ok)
{
	struct world *w = t->client->w;
	struct fate *f = &w->fates[t->generation];
	char why[256];

	switch (t->kind) {
	case KIND_READ:
		if (ok && t->op.got != t->op.len)
			seeds_fail("client %u: a read of %u bytes ended well with %u", t->client->index, t->op.len, t->op.got);
		if (ok && !oracle_read_end(w->oracle, t->lba, t->count, t->read_began, t->buf, why, sizeof(why)))
			seeds_fail("client %u: %s", t->client->index, why);
		break;
	case KIND_WRITE:
	case KIND_ZEROES:
		oracle_write_end(w->oracle, t->lba, t->count, t->generation, ok);
		if (f->state != FATE_FENCED && t->op.status != STATUS_LOST)
			f->state = FATE_ANSWERED;
		else if (f->state == FATE_OUT || f->state == FATE_ABORTED)
			f->state = FATE_LOST;
		break;
	case KIND_FLUSH:
		break;
	}
}

/* Just when it lands. */
static void lands(void *arg, uint64_t lba, const uint8_t *data)
{
	struct world *w = arg;
	const struct fate *f;
	uint32_t generation;

	if (!data)
		return;
	generation = oracle_generation(data);
	must(generation && generation < GENERATIONS_MAX);
	f = &w->fates[generation];
	if (f->state == FATE_ABORTED && f->op->tries)
		return; /* a unit attention was told instead, and it was sent anew */
	if (f->state != FATE_OUT && f->state != FATE_LOST)
		seeds_fail("a write of client %u lands at block %llu %s", f->client, (unsigned long long)lba,
		           f->state == FATE_FENCED ? "after its host had logged in again" :
		           f->state != FATE_ANSWERED ? "after its host was preempted" : "after its answer");
}

/* Writes of a client that may still land, and were sent before `sent`: now they have another state. */
static void change_fates(struct world *w, uint32_t client, uint64_t sent, enum fate_state to)
{
	for (uint32_t n = 0; n < GENERATIONS_MAX; n++) {
		struct fate *f = &w->fates[n];

		if (f->client == client && f->sent < sent &&
		    (f->state == FATE_OUT || f->state == FATE_LOST || f->state == FATE_PREEMPTED))
			f->state = to;
	}
}

/* A session that is new has a unit attention for each LUN, which is told once; nothing else may go wrong. */
static bool is_explained(const struct world *w, const struct ini_op *op)
{
	if (w->reserving && (op->status == SCSI_RESERVATION_CONFLICT || op->status == SCSI_TASK_ABORTED))
		return true;
	return op->status == STATUS_LOST || op->status == SCSI_TASK_SET_FULL || op->status == SCSI_BUSY ||
	       (op->status == SCSI_CHECK_CONDITION && op->key == SCSI_UNIT_ATTENTION);
}

static void done(struct ini_op *op)
{
	struct task *t = container_of(op, struct task, op);
	struct client *c = t->client;
	char buf[80];

	must(t->out);
	t->out = false;
	c->tasks_out--;
	all.ios++;
	if (op->status != STATUS_LOST && t->sent > c->heard)
		c->heard = t->sent;
	verify(t, op->status == SCSI_GOOD);
	sim_note((uint64_t)op->status << 32 | t->lba);
	if (op->status && !is_explained(c->w, op))
		seeds_fail("client %u: command %02xh of LBA %llu, %u blocks: %s", c->index, op->cdb[0],
		           (unsigned long long)t->lba, t->count, ini_op_text(op, buf));
	if (op->status == SCSI_RESERVATION_CONFLICT) {
		all.conflicts++;
		if (c->running)
			reserve(c, PR_REGISTER);
	}
	if (c->running)
		next(t);
}

static void choose(struct task *t)
{
	struct world *w = t->client->w;
	uint64_t dice = sim_draw(100);

	t->kind = dice < 45 ? KIND_READ : dice < 90 ? KIND_WRITE : dice < 96 ? KIND_ZEROES : KIND_FLUSH;
	t->count = (uint32_t)(sim_chance(70) ? 1 + sim_draw(3) : 1 + sim_draw(BLOCKS_MAX));
	t->lba = sim_draw(w->blocks - t->count);
}

static void submit(struct task *t)
{
	struct world *w = t->client->w;

	ini_op_rw(&t->op, t->kind == KIND_WRITE, t->lba, t->count);
	switch (t->kind) {
	case KIND_READ:
		t->read_began = oracle_read_begin(w->oracle);
		t->op.len = t->count * w->block_size;
		break;
	case KIND_WRITE:
		t->generation = oracle_write_begin(w->oracle, t->lba, t->count, t->buf);
		t->op.len = t->count * w->block_size;
		break;
	case KIND_ZEROES:
		t->generation = oracle_zeroes_begin(w->oracle, t->lba, t->count);
		t->op.cdb[0] = SCSI_OP_WRITE_SAME_16;
		t->op.is_write = true;
		t->op.len = w->block_size;
		memset(t->buf, 0, w->block_size);
		break;
	case KIND_FLUSH:
		t->op.cdb[0] = SCSI_OP_SYNC_CACHE_16;
		break;
	}
	t->sent = ++w->sent;
	if (t->kind == KIND_WRITE || t->kind == KIND_ZEROES) {
		must(t->generation < GENERATIONS_MAX);
		w->fates[t->generation] = (struct fate){ FATE_OUT, &t->op, t->client->index, t->sent };
	}
	t->op.data = t->buf;
	t->op.done = done;
	t->out = true;
	t->client->tasks_out++;
	ini_submit(t->client->ini, &t->op);
}

/* --- reservations: the first client holds one, and throws the others out ----------------------------------------- */

static uint64_t key_of(uint32_t client)
{
	return client + 1;
}

/* Who registers anew may write again; also what was on its way, and not yet at the target, when it was preempted. That
 * it was there is known when something that was sent after it has been answered. */
static void reserved(struct ini_op *op)
{
	struct client *c = container_of(op, struct client, pr);
	char buf[80];

	c->pr_out = false;
	if (op->status && !is_explained(c->w, op))
		seeds_fail("client %u: PERSISTENT RESERVE OUT, action %u: %s", c->index, c->pr_action, ini_op_text(op, buf));
	if (!c->running)
		return;
	if (op->status == SCSI_CHECK_CONDITION) {
		reserve(c, c->pr_action);
	} else if (op->status == SCSI_GOOD && c->pr_action == PR_REGISTER && c->index == 0) {
		reserve(c, PR_RESERVE);
	} else if (op->status == SCSI_GOOD && c->pr_action == PR_RESERVE) {
		c->holds = true;
	} else if (op->status == SCSI_GOOD && c->pr_action == PR_PREEMPT_AND_ABORT) {
		all.preempts++;
		change_fates(c->w, c->victim, c->victim_heard, FATE_ABORTED);
		if (c->w->client[c->victim].registered < c->pr_sent)
			change_fates(c->w, c->victim, c->pr_sent, FATE_PREEMPTED);
	}
}

static void reserve(struct client *c, uint8_t action)
{
	be64 own = be64_of(action == PR_REGISTER ? 0 : key_of(c->index));
	be64 other = be64_of(action == PR_REGISTER ? key_of(c->index) : action == PR_RESERVE ? 0 : key_of(c->victim));

	if (c->pr_out)
		return;
	c->pr_out = true;
	c->pr_action = action;
	c->pr_sent = ++c->w->sent;
	c->victim_heard = c->w->client[c->victim].heard;
	if (action == PR_REGISTER) {
		c->registered = c->pr_sent;
		change_fates(c->w, c->index, c->pr_sent, FATE_LOST);
	}
	memset(c->pr_data, 0, sizeof(c->pr_data));
	memcpy(c->pr_data, &own, sizeof(own));
	memcpy(c->pr_data + 8, &other, sizeof(other));
	c->pr = (struct ini_op){ .cdb = { SCSI_OP_PR_OUT_REGISTER, action, action == PR_REGISTER ? 0 : PR_TYPE },
	                         .is_write = true, .data = c->pr_data, .len = sizeof(c->pr_data), .done = reserved };
	c->pr.cdb[8] = sizeof(c->pr_data);
	ini_submit(c->ini, &c->pr);
}

static void maybe_preempt(struct client *c)
{
	if (!c->holds || c->pr_out || c->w->clients < 2 || !sim_chance(5))
		return;
	c->victim = 1 + (uint32_t)sim_draw(c->w->clients - 1);
	reserve(c, PR_PREEMPT_AND_ABORT);
}

/* --- clients ----------------------------------------------------------------------------------------------------- */

static void close_now(struct timer *timer)
{
	struct client *c = container_of(timer, struct client, retry);

	if (c->tasks_out)
		seeds_fail("client %u: the end of a session left %u commands without an answer", c->index, c->tasks_out);
	ini_close(c->ini);
	c->ini = NULL;
	c->pr_out = false;
	if (c->w->ios_left && !seeds_failed()) {
		connect_now(c);
		return;
	}
	c->over = true;
	c->w->clients_running--;
}

/* Not from within what is to be closed. */
static void close_soon(struct client *c, uint64_t ns)
{
	c->running = false;
	timer_start(&c->retry, ns, close_now);
}

static void gone(struct ini *i, const struct err *e, void *arg)
{
	close_soon(arg, RETRY_NS);
}

static void next(struct task *t)
{
	struct client *c = t->client;

	if (c->w->ios_left == 0 || seeds_failed()) {
		if (c->tasks_out == 0)
			close_soon(c, 0);
		return;
	}
	c->w->ios_left--;
	maybe_preempt(c);
	choose(t);
	submit(t);
}

static void ready(struct ini *i, const struct err *e, void *arg)
{
	struct client *c = arg;
	struct world *w = c->w;

	if (e) {
		close_soon(c, RETRY_NS);
		return;
	}
	all.logins++;
	if (ini_get_info(i)->block_count != w->blocks || ini_get_info(i)->block_size != w->block_size)
		seeds_fail("client %u: the unit is not what was exported", c->index);
	change_fates(w, c->index, UINT64_MAX, FATE_FENCED);
	c->running = true;
	if (w->reserving)
		reserve(c, PR_REGISTER);
	for (uint32_t n = 0; n < c->task_count && c->running; n++)
		next(&c->tasks[n]);
}

static void connect_now(void *arg)
{
	struct client *c = arg;

	c->ini = ini_open(&c->url, &c->opts, ready, gone, c);
}

static void client_begin(struct world *w, uint32_t index)
{
	struct client *c = &w->client[index];

	c->w = w;
	c->index = index;
	c->reactor = core_reactor(w->host_core, index % core_reactor_count(w->host_core));
	must(!ini_url_parse("iscsi://127.0.0.1:3260/" NODE "/0", &c->url, NULL));
	c->opts = (struct ini_opts){ .header_digest = sim_chance(30), .data_digest = sim_chance(30),
	                             .io_timeout_ms = 5000, .number = index };
	c->task_count = 1 + (uint32_t)sim_draw(TASKS_MAX);
	for (uint32_t n = 0; n < c->task_count; n++) {
		c->tasks[n].client = c;
		c->tasks[n].buf = base_zalloc((size_t)BLOCKS_MAX * w->block_size);
	}
	sim_as(c->reactor, connect_now, c);
}

static void client_end(struct client *c)
{
	must(c->over);
	for (uint32_t n = 0; n < c->task_count; n++)
		free(c->tasks[n].buf);
}

/* --- troubles ---------------------------------------------------------------------------------------------------- */

static void move_done(struct iscsi_move *m)
{
	struct hand *h = container_of(m, struct hand, move);

	h->out = false;
	all.moves += !m->err.code;
}

struct pick {
	uint32_t left, id;
};

static void pick_one(void *arg, const struct iscsi_conn_info *i)
{
	struct pick *p = arg;

	if (i->phase == ISCSI_CONN_NORMAL && p->left-- == 0)
		p->id = i->id;
}

static void move_one(void *arg)
{
	struct hand *h = arg;
	struct core *core = h->w->target_core;
	struct pick p = { (uint32_t)sim_draw(h->w->clients), 0 };

	iscsi_conns_each(h->w->target, pick_one, &p);
	if (!p.id)
		return;
	h->out = true;
	h->move = (struct iscsi_move){ .done = move_done, .pinned = sim_chance(30) };
	iscsi_conn_move(h->w->target, &h->move, p.id, core_reactor(core, (uint32_t)sim_draw(h->w->cores)));
}

static bool is_unlucky(struct iscsi_conns_end *e, const struct iscsi_conn_info *i)
{
	return i->id % 2;
}

static void ended(struct iscsi_conns_end *e)
{
	container_of(e, struct world, end)->ending = false;
}

static void end_some(void *arg)
{
	struct world *w = arg;

	w->ending = true;
	all.ends++;
	w->end = (struct iscsi_conns_end){ .matches = is_unlucky, .done = ended };
	iscsi_conns_end(w->target, &w->end);
}

static void troubles(struct reactor *r, void *arg)
{
	struct world *w = arg;
	struct hand *h = &w->hands[sim_draw(HANDS)];
	struct reactor *control = core_control(w->target_core);

	if (!h->out && w->cores > 1 && sim_draw(1000) < w->move_permille)
		sim_as(control, move_one, h);
	if (!w->ending && w->ends_left && sim_draw(5000) == 0) {
		w->ends_left--;
		sim_as(control, end_some, w);
	}
	if (w->cuts_left && sim_net_connections() && sim_draw(2000) < w->cut_percent) {
		w->cuts_left--;
		all.cuts++;
		sim_net_cut((uint32_t)sim_draw(sim_net_connections()), sim_chance(20));
	}
}

/* --- the target -------------------------------------------------------------------------------------------------- */

static void node_is_there(struct iscsi_change *c)
{
	struct world *w = container_of(c, struct world, change);

	if (c->err.code)
		seeds_fail("setting up: %s", c->err.text);
	w->serving = true;
}

static void draw_options(struct iscsi_options *o, const struct world *w)
{
	o->data_timeout_ms = 3000;
	o->login_timeout_ms = 2000;
	o->nop_in_interval_s = 5;
	o->nop_timeout_s = 5;
	o->initial_r2t = sim_chance(40);
	o->immediate_data = sim_chance(70);
	o->max_outstanding_r2t = 1 + (uint32_t)sim_draw(16);
	o->max_recv_data_segment_length = sim_chance(30) ? 512 + (uint32_t)sim_draw(8192) : 262144;
	o->max_burst_length = sim_chance(30) ? 512 + (uint32_t)sim_draw(65536) : 16777212;
	o->first_burst_length = sim_chance(30) ? 512 + (uint32_t)sim_draw(16384) : 262144;
	if (o->first_burst_length > o->max_burst_length)
		o->first_burst_length = o->max_burst_length;
	if (w->blocks % 2) /* long commands: no draw of their own, so that other seeds are what they were */
		o->piece_bytes = w->block_size << w->blocks / 2 % 4;
}

static void serve(void *arg)
{
	struct world *w = arg;
	const struct malloc_opts disk = { .name = "disk", .block_size = w->block_size, .block_count = w->blocks };
	const struct iscsi_portal_spec portal = { "127.0.0.1", "3260" };
	const char *const any = "ANY";
	const struct iscsi_initiators everybody = { &any, &any, 1, 1 };
	const struct iscsi_map_pair pair = { 1, 1 };
	const struct iscsi_lun_spec lun = { .bdev_name = "disk", .lun = 0 };
	const struct uuid uuid = { .b = { 1, 2, 3, 4, 5, 6, 0x40, 8, 0x80, 1 } };
	struct err e = { 0 };

	w->reg = bdev_registry_make(w->target_core);
	if (w->on_media)
		w->disk = media_export(&w->media, w->reg, "disk", &uuid);
	else
		must(!malloc_create(w->reg, &disk, &w->disk, &e));
	w->scsi = scsi_make(w->target_core, w->reg);
	w->target = iscsi_target_make(w->target_core, w->reg, w->scsi);
	draw_options(&w->target->options, w);
	if (iscsi_portal_group_add(w->target, 1, &portal, 1, false, false, &e) ||
	    iscsi_initiator_group_add(w->target, 1, &everybody, &e))
		seeds_fail("setting up: %s", e.text);
	w->change.done = node_is_there;
	iscsi_node_add(w->target, &(struct iscsi_node_opts){ .name = NODE, .pairs = &pair, .pair_count = 1, .luns = &lun,
	               .lun_count = 1, .queue_depth = 1 + (uint32_t)sim_draw(32) }, &w->change);
}

static void begin(struct world *w, uint64_t seed)
{
	*w = (struct world){ 0 };
	sim_start(seed);
	daemon_net_start();
	w->cores = 1 + (uint32_t)sim_draw(3);
	w->clients = 1 + (uint32_t)sim_draw(CLIENTS_MAX);
	w->block_size = sim_chance(50) ? 4096 : 512;
	w->blocks = 64 + (uint32_t)sim_draw(192);
	w->ios_left = 200 + (uint32_t)sim_draw(400);
	w->cuts_left = 10;
	w->cut_percent = sim_chance(50) ? (uint32_t)sim_draw(8) : 0;
	w->move_permille = sim_chance(50) ? (uint32_t)sim_draw(100) : 0;
	w->ends_left = sim_chance(30) ? 3 : 0;
	w->reserving = sim_chance(40);
	w->on_media = sim_chance(50);
	media_init(&w->media, w->blocks, w->blocks, w->block_size);
	w->media.lands = lands;
	w->media.arg = w;
	w->media.hold_percent = sim_chance(70) ? (uint32_t)sim_draw(20) : 0;
	w->media.hold_ns_max = 1 + sim_draw(200 * NS_PER_MS);
	w->target_core = daemon_core_make_scarce(w->cores);
	w->host_core = daemon_core_make(1 + (uint32_t)sim_draw(2), 0);
	w->oracle = oracle_make(w->blocks, w->block_size);
	for (uint32_t i = 0; i < HANDS; i++)
		w->hands[i].w = w;
	sim_as(core_control(w->target_core), serve, w);
	daemon_wait(&w->serving, 10 * NS_PER_S, "the target does not come up");
}

/* --- the end ----------------------------------------------------------------------------------------------------- */

static void disk_gone(void *arg, int rc)
{
	((struct world *)arg)->stopped = true;
}

static void scsi_gone(void *arg)
{
	struct world *w = arg;

	scsi_free(w->scsi);
	if (w->on_media)
		bdev_unregister(w->disk, disk_gone, w);
	else
		must(!malloc_delete(w->reg, "disk", disk_gone, w, NULL));
}

static void iscsi_gone(void *arg)
{
	struct world *w = arg;

	scsi_stop(w->scsi, scsi_gone, w);
}

static void stop(void *arg)
{
	struct world *w = arg;

	iscsi_target_stop(w->target, iscsi_gone, w);
}

static bool is_calm(void *arg)
{
	struct world *w = arg;

	return !w->ending && !w->hands[0].out && !w->hands[1].out;
}

static uint64_t end(struct world *w)
{
	if (!sim_run(is_calm, w, 30 * NS_PER_S))
		seeds_fail("a move, or the end of sessions, does not end");
	sim_as(core_control(w->target_core), stop, w);
	daemon_wait(&w->stopped, 60 * NS_PER_S, "the target does not stop");
	bdev_registry_free(w->reg);
	daemon_check_memory(w->target_core, "the target's");
	seeds_verdict();
	all.held += w->media.held;
	media_fini(&w->media);
	oracle_free(w->oracle);
	core_free(w->host_core);
	core_free(w->target_core);
	return daemon_net_end();
}

/* --- the scenario ------------------------------------------------------------------------------------------------ */

static bool is_over(void *arg)
{
	struct world *w = arg;

	return seeds_failed() || w->clients_running == 0;
}

static uint64_t run(uint64_t seed)
{
	static struct world w;

	begin(&w, seed);
	w.clients_running = w.clients;
	sim_after_pass(troubles, &w);
	for (uint32_t i = 0; i < w.clients; i++)
		client_begin(&w, i);
	if (!sim_run(is_over, &w, SECONDS * NS_PER_S))
		seeds_fail("stuck: %u clients have not ended, %u I/Os were left", w.clients_running, w.ios_left);
	sim_after_pass(NULL, NULL);
	seeds_verdict();
	for (uint32_t i = 0; i < w.clients; i++)
		client_end(&w.client[i]);
	return end(&w);
}

int main(int argc, char **argv)
{
	int rc = seeds_main(argc, argv, 60, run);

	printf("%llu commands, %llu held; %llu logins; %llu cuts; %llu moves; %llu times sessions were ended; "
	       "%llu preempted, %llu conflicts\n", (unsigned long long)all.ios, (unsigned long long)all.held,
	       (unsigned long long)all.logins, (unsigned long long)all.cuts, (unsigned long long)all.moves,
	       (unsigned long long)all.ends, (unsigned long long)all.preempts, (unsigned long long)all.conflicts);
	if (!rc && argc == 1 && (all.ios < 10000 || all.cuts < 50 || all.moves < 100 || all.ends < 10 ||
	                         all.preempts < 20 || all.conflicts < 20 || all.held < 100)) {
		fprintf(stderr, "too little happened for this to prove anything\n");
		return 1;
	}
	return rc;
}
