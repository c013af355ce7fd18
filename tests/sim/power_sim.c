/* SPDX-License-Identifier: BSD-3-Clause */
/* power_sim.c: a host writes and flushes a disk that loses power at any moment; it connects anew and looks.
 *
 * Tasks write, flush, write with FUA and read, each within blocks of its own, over several queues and cores. At a
 * random moment the plug is pulled: commands end with an error, or come when the power is back; the host lets all of
 * them end, closes its connections, opens new ones and reads everything. Every block must then be no older than what a
 * flush or FUA that was answered had covered, no newer than what was written last, whole, and one that was
 * written there. Then it goes on.
 */
#include <stdio.h>

#include "backends/delay/delay.h"
#include "backends/powercut/powercut.h"
#include "world.h"

#define QPAIRS 3u
#define TASKS_MAX 8u
#define IO_BLOCKS_MAX 12u
#define CUTS 5u
#define RECONNECT_NS (5 * NS_PER_MS)

struct host;
struct block {
	uint32_t durable, acked, newest;  /* generations: at least; read before a cut; at most */
	uint32_t *written, count, room;   /* all that were written there */
};

struct task {
	struct nvme_op op;
	struct iovec iov;
	struct host *h;
	uint8_t *buf;
	uint32_t first, blocks;           /* its own */
	uint32_t lba, count, generation, cuts;
	bool fua;
	uint32_t *seen;                   /* FLUSH: what was acked when it began */
};

struct host {
	struct world w;
	struct reactor *reactor;
	struct nvme_path path;
	struct nvme_ctrlr *ctrlr;
	struct nvme_qpair *qpairs[QPAIRS];
	uint32_t ready, task_count, out, generation, look_at;
	struct task tasks[TASKS_MAX];
	struct task looker;
	struct block *blocks;
	struct timer again;
	struct powercut_cut_opts cut;
	uint32_t cuts, cut_permille, lost;
	bool running, looking, closing, cutting /* or mending */, dark, over;
};

static void host_connect(struct host *h);
static void task_next(struct task *t);
static void look_next(struct host *h);
static void maybe_close(struct host *h);

/* --- the power -------------------------------------------------------------------------------- */

static void was_cut(void *arg, const struct powercut_cut_result *r)
{
	struct host *h = arg;

	h->lost += r->blocks_lost;
	sim_note(r->blocks_kept);
	h->cutting = false;
	h->dark = h->cut.stay_off;
}

static void pull(void *arg)
{
	struct host *h = arg;
	struct err e = { 0 };

	h->cut = (struct powercut_cut_opts){ .mode = (uint32_t)sim_draw(3), .stay_off = sim_chance(30) };
	if (powercut_trigger(h->w.reg, "power", &h->cut, was_cut, h, &e) != 0)
		seeds_fail("%s", e.text);
}

static void is_back(void *arg, const struct powercut_cut_result *r)
{
	struct host *h = arg;

	h->cutting = h->dark = false;
}

static void put_in(void *arg)
{
	struct host *h = arg;
	struct err e = { 0 };

	if (powercut_power_on(h->w.reg, "power", is_back, h, &e) != 0)
		seeds_fail("%s", e.text);
}

/* After any pass. The host knows of it as a machine does that has the same plug: it begins nothing more. Power that
 * stays off comes back when the host has let go. */
static void maybe_pull(struct reactor *r, void *arg)
{
	struct host *h = arg;

	if (h->dark && !h->ctrlr && !h->cutting) {
		h->cutting = true;
		sim_as(core_control(h->w.target_core), put_in, h);
	}
	if (!h->running || h->cuts == CUTS || h->cutting || sim_draw(1000) >= h->cut_permille)
		return;
	h->cuts++;
	h->cutting = true;
	h->running = false;
	sim_as(core_control(h->w.target_core), pull, h);
}

/* --- what a block may hold -------------------------------------------------------------------- */

static uint64_t word_of(uint32_t generation, uint32_t lba)
{
	return (uint64_t)generation << 32 | lba * 2654435761u;
}

static void write_begins(struct task *t)
{
	struct host *h = t->h;
	uint64_t *at = (uint64_t *)t->buf;

	t->generation = ++h->generation;
	for (uint32_t i = 0; i < t->count; i++) {
		struct block *b = &h->blocks[t->lba + i];

		if (b->count == b->room) {
			b->room = b->room ? 2 * b->room : 8;
			b->written = realloc(b->written, b->room * sizeof(*b->written));
		}
		b->written[b->count++] = b->newest = t->generation;
		for (uint32_t k = 0; k < h->w.block_size; k += 8)
			*at++ = word_of(t->generation, t->lba + i);
	}
}

static void write_ended(struct task *t)
{
	for (uint32_t i = 0; i < t->count; i++) {
		struct block *b = &t->h->blocks[t->lba + i];

		b->acked = t->generation;
		if (t->fua)
			b->durable = t->generation;
	}
}

static bool was_written(const struct block *b, uint32_t generation)
{
	for (uint32_t i = 0; i < b->count; i++)
		if (b->written[i] == generation)
			return true;
	return generation == 0;
}

/* The block's generation, when it is one at all. */
static uint32_t generation_in(struct host *h, const uint8_t *buf, uint32_t lba)
{
	uint64_t first, word;

	memcpy(&first, buf, 8);
	for (uint32_t k = 8; k < h->w.block_size; k += 8) {
		memcpy(&word, buf + k, 8);
		if (word != first)
			seeds_fail("block %u is torn at byte %u: generations %u and %u", lba, k, (uint32_t)(first >> 32),
			           (uint32_t)(word >> 32));
	}
	if (first && first != word_of((uint32_t)(first >> 32), lba))
		seeds_fail("block %u holds another block's data", lba);
	if (!was_written(&h->blocks[lba], (uint32_t)(first >> 32)))
		seeds_fail("block %u has generation %u, which was never written there", lba, (uint32_t)(first >> 32));
	return (uint32_t)(first >> 32);
}

/* `exactly`: nothing but the last that was answered can be there. */
static void check_blocks(struct task *t, bool exactly)
{
	struct host *h = t->h;

	for (uint32_t i = 0; i < t->count; i++) {
		struct block *b = &h->blocks[t->lba + i];
		uint32_t g = generation_in(h, t->buf + (size_t)i * h->w.block_size, t->lba + i);
		uint32_t least = exactly ? b->acked : b->durable;

		if (g < least || g > b->newest)
			seeds_fail("block %u has generation %u; %u to %u are possible%s", t->lba + i, g, least, b->newest,
			           exactly ? "" : " after a power cut");
		if (h->looking)
			b->acked = g;
	}
}

/* --- commands --------------------------------------------------------------------------------- */

/* One that was under way when the plug was pulled may have come to the disk when the power was back. */
static void flush_ended(struct task *t)
{
	struct host *h = t->h;

	if (t->cuts != h->cuts)
		return;
	for (uint32_t i = 0; i < h->w.blocks; i++)
		h->blocks[i].durable = max_u32(h->blocks[i].durable, t->seen[i]);
}

static void task_done(struct nvme_op *op)
{
	struct task *t = container_of(op, struct task, op);
	struct host *h = t->h;
	uint16_t status = nvme_op_status(op);

	h->out--;
	sim_note((uint64_t)status << 32 | t->lba);
	if (status && t->cuts == h->cuts)
		seeds_fail("command %02xh of block %u failed with power on: %s", op->cmd.opc, t->lba,
		           nvme_status_text(status, false));
	if (status == NVME_SC_SUCCESS && op->cmd.opc == NVME_CMD_READ)
		check_blocks(t, t->cuts == h->cuts);
	else if (status == NVME_SC_SUCCESS && op->cmd.opc == NVME_CMD_WRITE)
		write_ended(t);
	else if (status == NVME_SC_SUCCESS)
		flush_ended(t);
	if (h->running && !seeds_failed())
		task_next(t);
	else
		maybe_close(h);
}

static void submit(struct task *t, uint8_t opc, nvme_op_fn *done)
{
	struct host *h = t->h;
	uint32_t len = opc == NVME_CMD_FLUSH ? 0 : t->count * h->w.block_size;

	t->iov = (struct iovec){ t->buf, len };
	t->op = (struct nvme_op){ .iovs = &t->iov, .iov_count = len ? 1 : 0, .data_len = len, .done = done };
	t->op.cmd = opc == NVME_CMD_FLUSH ? nvme_sqe_rw(opc, 1, 0, 1) : nvme_sqe_rw(opc, 1, t->lba, t->count);
	t->op.cmd.rw.control = le16_of(t->fua ? NVME_RW_FUA : 0);
	t->op.data = opc == NVME_CMD_READ ? NVME_OP_TO_HOST : opc == NVME_CMD_WRITE ? NVME_OP_TO_CTRLR : NVME_OP_NONE;
	t->cuts = h->cuts;
	h->out++;
	nvme_qpair_submit(h->qpairs[sim_draw(QPAIRS)], &t->op);
}

static void task_next(struct task *t)
{
	struct host *h = t->h;
	uint64_t dice = sim_draw(100);

	if (!h->w.ios_left) {
		h->running = false;
		maybe_close(h);
		return;
	}
	h->w.ios_left--;
	t->count = 1 + (uint32_t)sim_draw(min_u32(IO_BLOCKS_MAX, t->blocks));
	t->lba = t->first + (uint32_t)sim_draw(t->blocks - t->count + 1);
	t->fua = dice < 70 && sim_chance(10);
	if (dice < 50)
		write_begins(t);
	if (dice >= 90)
		for (uint32_t i = 0; i < h->w.blocks; i++)
			t->seen[i] = h->blocks[i].acked;
	if (dice >= 90)
		t->fua = false;
	submit(t, dice < 50 ? NVME_CMD_WRITE : dice < 90 ? NVME_CMD_READ : NVME_CMD_FLUSH, task_done);
}

/* --- after a cut: look at everything ---------------------------------------------------------- */

static void go_on(struct host *h)
{
	h->looking = false;
	h->running = true;
	for (uint32_t i = 0; i < h->task_count && h->running; i++)
		task_next(&h->tasks[i]);
}

/* What was seen is flushed: it cannot become something else any more. */
static void flushed(struct nvme_op *op)
{
	struct host *h = container_of(op, struct task, op)->h;

	h->out--;
	if (nvme_op_status(op))
		seeds_fail("a flush failed with power on");
	for (uint32_t i = 0; i < h->w.blocks; i++)
		h->blocks[i].durable = h->blocks[i].newest = h->blocks[i].acked;
	go_on(h);
}

static void looked(struct nvme_op *op)
{
	struct task *t = container_of(op, struct task, op);
	struct host *h = t->h;

	h->out--;
	if (nvme_op_status(op))
		seeds_fail("a read failed with power on: %s", nvme_status_text(nvme_op_status(op), false));
	else
		check_blocks(t, false);
	h->look_at += t->count;
	look_next(h);
}

static void look_next(struct host *h)
{
	struct task *t = &h->looker;

	t->fua = false;
	if (seeds_failed()) {
		h->looking = false;
		maybe_close(h);
	} else if (h->look_at == h->w.blocks) {
		submit(t, NVME_CMD_FLUSH, flushed);
	} else {
		t->lba = h->look_at;
		t->count = min_u32(IO_BLOCKS_MAX, h->w.blocks - h->look_at);
		submit(t, NVME_CMD_READ, looked);
	}
}

/* --- connections ------------------------------------------------------------------------------ */

static void again(struct timer *t)
{
	struct host *h = container_of(t, struct host, again);

	if (h->cutting || h->dark)
		timer_start(&h->again, RECONNECT_NS, again);
	else
		host_connect(h);
}

static void closed(void *arg)
{
	struct host *h = arg;

	h->ctrlr = NULL;
	h->over = !h->w.ios_left || seeds_failed();
	if (!h->over)
		timer_start(&h->again, RECONNECT_NS, again);
}

static void maybe_close(struct host *h)
{
	if (h->out || h->running || h->looking || h->closing)
		return;
	h->closing = true;
	for (uint32_t i = 0; i < QPAIRS; i++)
		nvme_qpair_close(h->qpairs[i]);
	nvme_ctrlr_close(h->ctrlr, closed, h);
}

static void lost_it(struct host *h, const struct err *e)
{
	seeds_fail("the connection went: %s", e ? e->text : "closed");
}

static void qpair_gone(struct nvme_qpair *qp, const struct err *e, void *arg) { lost_it(arg, e); }
static void ctrlr_gone(struct nvme_ctrlr *c, const struct err *e, void *arg) { lost_it(arg, e); }

static void qpair_ready(struct nvme_qpair *qp, const struct err *e, void *arg)
{
	struct host *h = arg;

	if (e) {
		lost_it(h, e);
	} else if (++h->ready == QPAIRS) {
		h->looking = true;
		h->look_at = 0;
		look_next(h);
	}
}

static void ctrlr_ready(struct nvme_ctrlr *ctrlr, const struct err *e, void *arg)
{
	struct host *h = arg;
	struct nvme_login login;

	if (e) {
		lost_it(h, e);
		return;
	}
	must(nvme_ctrlr_login(ctrlr, &login));
	h->ready = 0;
	for (uint16_t i = 0; i < QPAIRS; i++)
		h->qpairs[i] = nvme_qpair_open(h->w.host, &login, (uint16_t)(i + 1), qpair_ready, qpair_gone, h);
}

static void host_connect(struct host *h)
{
	struct nvme_host_opts opts = { .io_queues = QPAIRS, .io_queue_size = 32, .keep_alive_ms = 5000,
	                               .connect_timeout_ms = 5000 };

	h->closing = false;
	h->ctrlr = nvme_ctrlr_open(h->w.host, &h->path, &opts, ctrlr_ready, ctrlr_gone, h);
}

static void connect_first(void *arg)
{
	host_connect(arg);
}

/* --- the scenario ----------------------------------------------------------------------------- */

/* Media that take their time, mostly: so that things happen meanwhile. */
static const char *stack(struct world *w)
{
	struct delay_opts slow = { .name = "slow", .base = "disk", .latency_us = { 20, 200, 50, 500 } };
	struct powercut_opts opts = { .name = "power", .base = sim_chance(70) ? "slow" : "disk",
	                              .cache_blocks = 8 + (uint32_t)sim_draw(100) };
	struct err e = { 0 };

	if (powercut_create(w->reg, &opts, &e) != 0) /* its base may come later */
		seeds_fail("%s", e.text);
	if (strcmp(opts.base, "slow") == 0 && delay_create(w->reg, &slow, &e) != 0)
		seeds_fail("%s", e.text);
	return "power";
}

static void task_init(struct host *h, struct task *t, uint32_t first, uint32_t blocks)
{
	t->h = h;
	t->first = first;
	t->blocks = blocks;
	t->buf = base_zalloc((size_t)IO_BLOCKS_MAX * h->w.block_size);
	t->seen = base_zalloc(h->w.blocks * sizeof(*t->seen));
}

static void task_fini(struct task *t)
{
	free(t->buf);
	free(t->seen);
}

static bool is_over(void *arg)
{
	struct host *h = arg;

	return h->over || seeds_failed();
}

static uint64_t run(uint64_t seed)
{
	struct host *h = base_zalloc(sizeof(*h));
	uint32_t each;
	uint64_t hash;

	world_start_over(&h->w, seed, stack);
	must(!nvme_path_parse("trtype:TCP traddr:127.0.0.1 trsvcid:4420 subnqn:" WORLD_NQN, &h->path, NULL));
	h->reactor = core_reactor(h->w.host_core, 0);
	h->blocks = base_zalloc(h->w.blocks * sizeof(*h->blocks));
	h->task_count = 1 + (uint32_t)sim_draw(TASKS_MAX);
	h->cut_permille = 1 + (uint32_t)sim_draw(20);
	each = h->w.blocks / h->task_count;
	for (uint32_t i = 0; i < h->task_count; i++)
		task_init(h, &h->tasks[i], i * each, each);
	task_init(h, &h->looker, 0, h->w.blocks);
	sim_after_pass(maybe_pull, h);
	sim_as(h->reactor, connect_first, h);
	if (!sim_run(is_over, h, WORLD_SECONDS * NS_PER_S))
		seeds_fail("stuck: %u commands are out, %u I/Os were left", h->out, h->w.ios_left);
	sim_after_pass(NULL, NULL);
	seeds_verdict();
	hash = world_end(&h->w);
	for (uint32_t i = 0; i < h->task_count; i++)
		task_fini(&h->tasks[i]);
	task_fini(&h->looker);
	for (uint32_t i = 0; i < h->w.blocks; i++)
		free(h->blocks[i].written);
	free(h->blocks);
	free(h);
	return hash;
}

int main(int argc, char **argv)
{
	return seeds_main(argc, argv, 120, run);
}
