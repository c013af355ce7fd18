/* SPDX-License-Identifier: BSD-3-Clause */
/* gateway.c: see gateway.h. */
#include "gateway.h"

#include <stdarg.h>
#include <stdio.h>

#include "core/sim/sim.h"
#include "daemon.h"

/* --- the daemon ------------------------------------------------------------------------------- */

static void begin(void *arg)
{
	struct gateway *g = arg;

	g->reg = bdev_registry_make(g->core);
	g->rpc = rpc_make(g->core);
	g->br = bdev_rpc_make(g->rpc, g->reg);
	remote_rpc_init(&g->remote, g->br);
	rpc_set_running(g->rpc, true);
}

void gateway_make(struct gateway *g, uint32_t reactors)
{
	*g = (struct gateway){ .reactors = reactors };
	g->core = daemon_core_make(reactors, 0);
	sim_as(core_control(g->core), begin, g);
}

static void stopped(void *arg)
{
	struct gateway *g = arg;

	g->stopped = true;
}

static void stop(void *arg)
{
	struct gateway *g = arg;

	remote_rpc_stop(&g->remote, stopped, g);
}

void gateway_stop(struct gateway *g)
{
	sim_as(core_control(g->core), stop, g);
}

static void end(void *arg)
{
	struct gateway *g = arg;

	remote_rpc_fini(&g->remote);
	bdev_rpc_free(g->br);
	rpc_free(g->rpc);
	bdev_registry_free(g->reg);
}

void gateway_free(struct gateway *g)
{
	sim_as(core_control(g->core), end, g);
	core_free(g->core);
}

static void answered(void *arg, struct json_object *result, const struct err *e)
{
	struct gateway_call *c = arg;

	must(c->out);
	c->out = false;
	c->err = e ? *e : (struct err){ 0 };
	sim_note((uint64_t)c->err.code);
}

static void call(void *arg)
{
	struct gateway_call *c = arg;
	struct json_object *params = json_tokener_parse(c->params);

	must(params);
	rpc_call_inside(c->g->rpc, c->method, params, answered, c);
	json_object_put(params);
}

void gateway_call(struct gateway *g, struct gateway_call *c, const char *method, const char *fmt, ...)
{
	va_list ap;

	must(!c->out);
	*c = (struct gateway_call){ .g = g, .method = method, .out = true, .began_ns = sim_now_ns() };
	va_start(ap, fmt);
	must(vsnprintf(c->params, sizeof(c->params), fmt, ap) < (int)sizeof(c->params));
	va_end(ap);
	sim_as(core_control(g->core), call, c);
}

/* --- one I/O ---------------------------------------------------------------------------------- */

static void task_done(struct bdev_io *io)
{
	struct load_task *t = container_of(io, struct load_task, io);
	struct load *l = t->worker->load;
	bool ok = io->status == BDEV_ST_OK;

	must(t->out); /* once */
	t->out = false;
	t->worker->out--;
	l->ended++;
	l->failed += !ok;
	sim_note((uint64_t)io->status << 32 | io->lba);
	if (io->op == BDEV_WRITE || io->op == BDEV_WRITE_ZEROES || io->op == BDEV_UNMAP)
		oracle_write_end(l->oracle, io->lba, (uint32_t)io->count, t->generation, ok);
	l->done(l->arg, t);
}

static void cut_buffer(struct load_task *t, uint32_t len)
{
	uint32_t at = 0;

	t->io.iov_count = 0;
	for (int i = 0; i < 3 && at < len; i++) {
		uint32_t piece = i == 2 ? len - at : (uint32_t)(1 + sim_draw(len - at));

		t->iov[t->io.iov_count++] = (struct iovec){ t->buf + at, piece };
		at += piece;
	}
}

static void task_submit(struct load_task *t)
{
	struct load *l = t->worker->load;
	uint64_t dice = sim_draw(100), blocks = min_u64(l->blocks_max, bdev_block_count(l->desc));
	enum bdev_op op = dice < 40 ? BDEV_READ : dice < 88 ? BDEV_WRITE : dice < 92 ? BDEV_WRITE_ZEROES :
	                  dice < 95 ? BDEV_UNMAP : BDEV_FLUSH;
	uint32_t count = 1 + (uint32_t)sim_draw(sim_chance(70) ? 3 : l->largest);

	l->ios_left--;
	t->io.op = (uint8_t)op;
	t->io.count = min_u64(count, blocks);
	t->io.lba = sim_draw(blocks - t->io.count + 1);
	t->io.flags = 0;
	t->io.iovs = t->iov;
	t->io.done = task_done;
	t->io.iov_count = 0;
	t->io.unmap.range_count = 0;
	if (op == BDEV_FLUSH)
		t->io.lba = t->io.count = 0;
	if (op == BDEV_READ || op == BDEV_WRITE)
		cut_buffer(t, (uint32_t)t->io.count * l->block_size);
	if (op == BDEV_READ)
		t->read_began = oracle_read_begin(l->oracle);
	else if (op == BDEV_WRITE)
		t->generation = oracle_write_begin(l->oracle, t->io.lba, (uint32_t)t->io.count, t->buf);
	else if (op != BDEV_FLUSH)
		t->generation = oracle_zeroes_begin(l->oracle, t->io.lba, (uint32_t)t->io.count);
	t->out = true;
	t->aborted = false;
	t->began_ns = sim_now_ns();
	t->worker->out++;
	bdev_submit(t->worker->ch, &t->io);
}

/* --- coming and going -------------------------------------------------------------------------- */

static void event(struct bdev_desc *desc, enum bdev_event e, void *arg)
{
	struct load *l = arg;

	if (e == BDEV_EVENT_REMOVE)
		l->removing = true;
}

static void open_disk(void *arg)
{
	struct load *l = arg;

	l->desc = bdev_open(l->g->reg, l->disk, true, "load", event, l, NULL);
	l->removing = false;
}

static void close_disk(void *arg)
{
	struct load *l = arg;

	bdev_close(l->desc);
	l->desc = NULL;
}

static void on_worker(void *arg)
{
	struct load_worker *w = arg;
	struct load *l = w->load;

	if (!w->ch && !l->removing && !w->rests)
		w->ch = bdev_channel_get(l->desc, NULL);
	if (!w->ch)
		return;
	for (uint32_t i = 0; i < w->tasks && l->ios_left && !l->removing && !w->rests; i++)
		if (!w->task[i].out && sim_chance(70))
			task_submit(&w->task[i]);
	if (!w->out && (l->removing || w->rests)) {
		bdev_channel_put(w->ch);
		w->ch = NULL;
	}
}

void load_step(struct load *l)
{
	bool idle = true;

	if (!l->desc)
		sim_as(core_control(l->g->core), open_disk, l);
	if (!l->desc)
		return;
	for (uint32_t i = 0; i < l->workers; i++) {
		if (sim_draw(1000) < 5)
			l->worker[i].rests = !l->worker[i].rests;
		sim_as(l->worker[i].reactor, on_worker, &l->worker[i]);
		idle &= !l->worker[i].ch;
	}
	if (idle && l->removing)
		sim_as(core_control(l->g->core), close_disk, l);
}

static void abort_on_worker(void *arg)
{
	struct load_task *t = arg;

	t->aborted = true;
	bdev_abort(t->worker->ch, &t->io);
}

void load_abort_one(struct load *l)
{
	struct load_worker *w = &l->worker[sim_draw(l->workers)];
	struct load_task *t = &w->task[sim_draw(w->tasks)];

	if (t->out)
		sim_as(w->reactor, abort_on_worker, t);
}

uint32_t load_out(const struct load *l)
{
	uint32_t out = 0;

	for (uint32_t i = 0; i < l->workers; i++)
		out += l->worker[i].out;
	return out;
}

const char *load_text(const struct load_task *t, char buf[static 128])
{
	snprintf(buf, 128, "%s of blocks %llu+%llu, generation %u, out for %llu ms: %s", bdev_op_name(t->io.op),
	         (unsigned long long)t->io.lba, (unsigned long long)t->io.count, t->generation,
	         (unsigned long long)((sim_now_ns() - t->began_ns) / NS_PER_MS), bdev_status_name(t->io.status));
	return buf;
}

/* On each I/O core, or some of them; several may share one. */
void load_init(struct load *l, struct gateway *g, const char *disk, uint32_t block_size, uint64_t blocks,
               struct oracle *oracle)
{
	*l = (struct load){ .g = g, .disk = disk, .block_size = block_size, .blocks_max = blocks, .oracle = oracle,
		                .largest = LOAD_BLOCKS_MAX, .workers = 1 + (uint32_t)sim_draw(4) };
	for (uint32_t i = 0; i < l->workers; i++) {
		struct load_worker *w = &l->worker[i];

		w->load = l;
		w->reactor = sim_chance(10) ? core_control(g->core) : core_reactor(g->core, i % g->reactors);
		w->tasks = 1 + (uint32_t)sim_draw(LOAD_TASKS);
		for (uint32_t k = 0; k < LOAD_TASKS; k++) {
			w->task[k].worker = w;
			w->task[k].buf = base_zalloc((size_t)LOAD_BLOCKS_MAX * block_size);
		}
	}
}

void load_fini(struct load *l)
{
	for (uint32_t i = 0; i < l->workers; i++)
		for (uint32_t k = 0; k < LOAD_TASKS; k++)
			free(l->worker[i].task[k].buf);
}
