/* SPDX-License-Identifier: BSD-3-Clause */
/* worker.c: one reactor's part of a load.
 *
 * Every task runs the same circle: choose, submit, done, account, again, until the time is over or the worker is
 * stopped; when verifying it then reads back its stripe. Latency is measured with a clock read at each end of an I/O,
 * as gantry-perf does.
 */
#include "base/pattern.h"
#include "base/random.h"
#include "load/load.h"

static void tasks_make(struct load_worker *w);
static void task_next(struct load_task *t, uint64_t now_ns);
static void task_done(struct bdev_io *io);

static bool is_stopping(const struct load_worker *w)
{
	return atomic_load_explicit(&w->load->stopping, memory_order_relaxed);
}

/* --- beginning and ending --------------------------------------------------------------------- */

void load_worker_begin(struct msg *m)
{
	struct load_worker *w = container_of(m, struct load_worker, msg);
	const struct load_opts *o = &w->load->opts;
	uint64_t now_ns = core_clock_ns();

	w->ch = is_stopping(w) ? NULL : bdev_channel_get(w->load->desc, &w->err);
	if (!w->ch) {
		msg_send(core_control(w->load->core), m, load_worker_finished);
		return;
	}
	tasks_make(w);
	w->measure_from_ns = now_ns + o->warmup_s * NS_PER_S;
	w->end_ns = o->time_s ? w->measure_from_ns + o->time_s * NS_PER_S : UINT64_MAX;
	w->running = o->depth;
	for (uint32_t i = 0; i < o->depth; i++)
		task_next(&w->tasks[i], now_ns);
}

static void tasks_make(struct load_worker *w)
{
	const struct load *l = w->load;
	uint64_t stripes = (uint64_t)l->worker_count * l->opts.depth;

	w->tasks = base_zalloc(l->opts.depth * sizeof(*w->tasks));
	for (uint32_t i = 0; i < l->opts.depth; i++) {
		struct load_task *t = &w->tasks[i];

		t->worker = w;
		t->buf = base_zalloc_aligned(4096, align_up(l->opts.io_bytes, 4096));
		if (!l->opts.verify)
			continue;
		t->stripe_count = min_u64(l->slots / stripes, 65536);
		t->stripe_first = ((uint64_t)w->share * l->opts.depth + i) * t->stripe_count;
		t->generations = base_zalloc(t->stripe_count * sizeof(*t->generations));
	}
}

static void worker_end(struct load_worker *w, uint64_t now_ns)
{
	if (!w->ended_ns)
		w->ended_ns = now_ns;
	bdev_channel_put(w->ch);
	msg_send(core_control(w->load->core), &w->msg, load_worker_finished);
}

void load_worker_fini(struct load_worker *w)
{
	for (uint32_t i = 0; i < w->load->opts.depth && w->tasks; i++) {
		free(w->tasks[i].buf);
		free(w->tasks[i].generations);
	}
	free(w->tasks);
}

/* --- one I/O after the other ------------------------------------------------------------------ */

static uint64_t choose_slot(struct load_task *t)
{
	struct load_worker *w = t->worker;
	bool random = w->load->opts.random;

	if (t->generations)
		return t->stripe_first + (random ? random_below(&w->random_state, t->stripe_count)
		                                 : t->check_at++ % t->stripe_count);
	return random ? random_below(&w->random_state, w->load->slots) : w->next_slot++ % w->load->slots;
}

static bool choose_read(struct load_worker *w)
{
	uint8_t percent = w->load->opts.read_percent;

	return percent == 100 || (percent && random_below(&w->random_state, 100) < percent);
}

static uint32_t *task_generation(struct load_task *t)
{
	return &t->generations[t->slot - t->stripe_first];
}

static void task_submit(struct load_task *t, uint64_t now_ns)
{
	const struct load *l = t->worker->load;

	if (t->generations && !t->is_read)
		pattern_fill(t->buf, l->opts.io_bytes, t->slot, ++*task_generation(t));
	t->iov = (struct iovec){ t->buf, l->opts.io_bytes };
	t->io.op = t->is_read ? BDEV_READ : BDEV_WRITE;
	t->io.iovs = &t->iov;
	t->io.iov_count = 1;
	t->io.lba = t->slot * l->io_blocks;
	t->io.count = l->io_blocks;
	t->io.done = task_done;
	t->began_ns = now_ns;
	t->worker->issued++;
	bdev_submit(t->worker->ch, &t->io);
}

/* The final pass of a verifying load: the next slot of the stripe that was ever written. */
static bool task_check_next(struct load_task *t, uint64_t now_ns)
{
	if (!t->checking) {
		t->checking = true;
		t->check_at = 0;
		if (!t->worker->ended_ns)
			t->worker->ended_ns = now_ns;
	}
	while (t->check_at < t->stripe_count && !t->generations[t->check_at])
		t->check_at++;
	if (t->check_at == t->stripe_count)
		return false;
	t->slot = t->stripe_first + t->check_at++;
	t->is_read = true;
	task_submit(t, now_ns);
	return true;
}

static void task_next(struct load_task *t, uint64_t now_ns)
{
	struct load_worker *w = t->worker;
	uint64_t limit = w->load->opts.io_limit;

	if (now_ns >= w->end_ns || is_stopping(w) || (limit && w->issued >= limit) || t->checking) {
		if ((is_stopping(w) || !t->generations || !task_check_next(t, now_ns)) && --w->running == 0)
			worker_end(w, now_ns);
		return;
	}
	t->slot = choose_slot(t);
	t->is_read = choose_read(w);
	task_submit(t, now_ns);
}

static void task_verify(struct load_task *t)
{
	struct load_worker *w = t->worker;
	uint32_t generation = *task_generation(t), len = w->load->opts.io_bytes;
	size_t at = generation ? pattern_check(t->buf, len, t->slot, generation) : len;

	if (at < len && w->miscompares++ == 0) {
		w->first_miscompare_lba = t->slot * w->load->io_blocks;
		w->first_miscompare_at = at;
	}
}

static void task_done(struct bdev_io *io)
{
	struct load_task *t = container_of(io, struct load_task, io);
	struct load_worker *w = t->worker;
	uint64_t now_ns = core_clock_ns();

	if (io->status != BDEV_ST_OK) {
		if (w->errors++ == 0) {
			w->first_error = io->status;
			w->first_error_lba = io->lba;
		}
	} else {
		if (t->is_read && t->generations)
			task_verify(t);
		if (now_ns >= w->measure_from_ns && !t->checking)
			hist_add(&w->hist, now_ns - t->began_ns);
	}
	task_next(t, now_ns);
}
