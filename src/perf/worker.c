/* SPDX-License-Identifier: BSD-3-Clause */
/* worker.c: one reactor's load: its queue pairs, its tasks, its counters.
 *
 * Every task runs the same circle: choose, (wait for its turn,) submit, done, account, again, until the time
 * is over or the worker is stopped; with --verify it then reads back its stripe. Latency is measured with
 * a clock read at each end of an I/O, not with the pass's time, which would hide what a pass costs.
 */
#include <stdio.h>

#include "base/pattern.h"
#include "base/random.h"
#include "perf/perf.h"

static void task_next(struct perf_task *t, uint64_t now_ns);

/* --- opening ---------------------------------------------------------------------------------- */

static void worker_say(struct perf_worker *w, msg_fn *fn)
{
	msg_send(core_control(w->perf->core), &w->msg, fn);
}

static void lane_opened(struct perf_worker *w)
{
	if (--w->lanes_opening == 0)
		worker_say(w, w->opened);
}

void perf_lane_opened(struct perf_flow *f)
{
	lane_opened(f->worker);
}

static void task_init(struct perf_task *t, struct perf_flow *flow, uint32_t index)
{
	const struct perf_opts *o = &flow->worker->perf->opts;
	uint64_t stripes = (uint64_t)flow->shares * flow->task_count;

	t->flow = flow;
	t->buf = (uint8_t *)flow->buffers.base + (size_t)index * align_up(flow->ns->wire_bytes, 4096);
	t->iov = (struct iovec){ t->buf, flow->ns->wire_bytes };
	if (o->verify) {
		t->stripe_count = min_u64(flow->ns->io_slots / stripes, 65536);
		t->stripe_first = ((uint64_t)flow->share * flow->task_count + index) * t->stripe_count;
		t->generations = base_zalloc(t->stripe_count * sizeof(*t->generations));
	}
}

static void flow_open(struct perf_flow *flow)
{
	const struct perf_opts *o = &flow->worker->perf->opts;

	flow->task_count = o->depth;
	flow->tasks = base_zalloc(flow->task_count * sizeof(*flow->tasks));
	flow->hist = base_zalloc(sizeof(*flow->hist));
	queue_init(&flow->paced);
	perf_lanes_open(flow);
	for (uint32_t i = 0; i < flow->task_count; i++)
		task_init(&flow->tasks[i], flow, i);
}

static void open_on_core(struct msg *m)
{
	struct perf_worker *w = container_of(m, struct perf_worker, msg);

	w->lanes_opening = 1; /* our own hold */
	for (struct perf_flow *f = w->flows; f; f = f->next) {
		w->lanes_opening += w->perf->opts.qpairs;
		flow_open(f);
	}
	lane_opened(w);
}

void perf_worker_open(struct perf_worker *w, msg_fn *opened)
{
	w->opened = opened;
	msg_send(w->reactor, &w->msg, open_on_core);
}

/* --- running ---------------------------------------------------------------------------------- */

static void begin_on_core(struct msg *m)
{
	struct perf_worker *w = container_of(m, struct perf_worker, msg);
	uint64_t now_ns = core_clock_ns();

	w->flows_running = 1;
	for (struct perf_flow *f = w->flows; f; f = f->next) {
		w->flows_running++;
		f->running = f->task_count;
		f->next_due_ns = now_ns;
		for (uint32_t i = 0; i < f->task_count; i++)
			task_next(&f->tasks[i], now_ns);
	}
	if (--w->flows_running == 0)
		worker_say(w, w->finished);
}

void perf_worker_begin(struct perf_worker *w, uint64_t begin_ns, msg_fn *finished)
{
	const struct perf_opts *o = &w->perf->opts;

	w->finished = finished;
	w->measure_from_ns = begin_ns + o->warmup_s * NS_PER_S;
	w->end_ns = o->time_s ? w->measure_from_ns + o->time_s * NS_PER_S : UINT64_MAX;
	msg_send(w->reactor, &w->msg, begin_on_core);
}

static void stop_on_core(struct msg *m)
{
	struct perf_worker *w = container_of(m, struct perf_worker, stop_msg);

	w->stopping = true;
	for (struct perf_flow *f = w->flows; f; f = f->next)
		perf_lanes_fail(f, &w->stop_err);
}

void perf_worker_stop(struct perf_worker *w, const struct err *e)
{
	w->stop_err = *e;
	msg_send(w->reactor, &w->stop_msg, stop_on_core);
}

static bool worker_is_over(const struct perf_worker *w, uint64_t now_ns)
{
	return now_ns >= w->end_ns || w->stopping;
}

static uint64_t choose_slot(struct perf_task *t)
{
	struct perf_flow *f = t->flow;
	bool random = f->worker->perf->opts.random;

	if (t->generations)
		return t->stripe_first + (random ? random_below(&f->worker->random_state, t->stripe_count)
		                                 : t->check_at++ % t->stripe_count);
	return random ? random_below(&f->worker->random_state, f->ns->io_slots) : f->next_slot++ % f->ns->io_slots;
}

static bool choose_read(struct perf_worker *w)
{
	uint8_t percent = w->perf->opts.read_percent;

	return percent == 100 || (percent && random_below(&w->random_state, 100) < percent);
}

static uint32_t *task_generation(struct perf_task *t)
{
	return &t->generations[t->slot - t->stripe_first];
}

static void task_submit(struct perf_task *t, uint64_t now_ns)
{
	if (t->generations && !t->is_read)
		pattern_fill(t->buf, t->iov.iov_len, t->slot, ++*task_generation(t));
	t->began_ns = now_ns;
	t->flow->issued++;
	perf_lane_submit(t);
}

static void task_end(struct perf_task *t, uint64_t now_ns)
{
	struct perf_worker *w = t->flow->worker;

	if (--t->flow->running == 0 && --w->flows_running == 0) {
		if (!w->ended_ns)
			w->ended_ns = now_ns;
		worker_say(w, w->finished);
	}
}

/* The final pass of --verify: the next slot of the stripe that was ever written. */
static bool task_check_next(struct perf_task *t, uint64_t now_ns)
{
	if (!t->checking) {
		t->checking = true;
		t->check_at = 0;
		if (!t->flow->worker->ended_ns)
			t->flow->worker->ended_ns = now_ns;
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

static void paced_go(struct timer *timer)
{
	struct perf_flow *f = container_of(timer, struct perf_flow, pace_timer);
	uint64_t now_ns = core_clock_ns();
	struct queue_link *l;

	while ((f->next_due_ns <= now_ns || worker_is_over(f->worker, now_ns)) && (l = queue_pop(&f->paced)))
		task_next(container_of(l, struct perf_task, link), now_ns);
	if (!queue_empty(&f->paced))
		timer_start(&f->pace_timer, f->next_due_ns - now_ns, paced_go);
}

/* With --rate: is it this task's turn? Otherwise it waits for the timer. */
static bool task_may_go(struct perf_task *t, uint64_t now_ns)
{
	struct perf_flow *f = t->flow;
	uint64_t rate = f->worker->perf->opts.rate;

	if (!rate)
		return true;
	if (f->next_due_ns <= now_ns) {
		f->next_due_ns += NS_PER_S / rate;
		return true;
	}
	queue_push(&f->paced, &t->link);
	if (!timer_is_running(&f->pace_timer))
		timer_start(&f->pace_timer, f->next_due_ns - now_ns, paced_go);
	return false;
}

static void task_next(struct perf_task *t, uint64_t now_ns)
{
	struct perf_flow *f = t->flow;
	uint64_t limit = f->worker->perf->opts.io_limit;

	if (worker_is_over(f->worker, now_ns) || (limit && f->issued >= limit) || t->checking) {
		bool broken = f->worker->err.code;

		if (broken || !t->generations || !task_check_next(t, now_ns))
			task_end(t, now_ns);
		return;
	}
	if (!task_may_go(t, now_ns))
		return;
	t->slot = choose_slot(t);
	t->is_read = choose_read(f->worker);
	task_submit(t, now_ns);
}

static void task_verify(struct perf_task *t)
{
	struct perf_flow *f = t->flow;
	uint32_t generation = *task_generation(t);
	size_t at;

	if (!generation)
		return;
	at = pattern_check(t->buf, t->iov.iov_len, t->slot, generation);
	if (at == t->iov.iov_len)
		return;
	if (f->miscompares++ == 0)
		fprintf(stderr, "%s: LBA %llu: byte %zu is not what was written last (write %u of this place)\n",
		        f->ns->name, (unsigned long long)(t->slot * f->ns->io_blocks), at, generation);
}

void perf_task_done(struct perf_task *t, const char *failure)
{
	struct perf_flow *f = t->flow;
	struct perf_worker *w = f->worker;
	uint64_t now_ns = core_clock_ns();

	if (failure) {
		if (f->counts.errors++ == 0 && !w->err.code)
			fprintf(stderr, "%s: %s at LBA %llu failed: %s\n", f->ns->name, t->is_read ? "read" : "write",
			        (unsigned long long)(t->slot * f->ns->io_blocks), failure);
	} else {
		if (t->is_read && t->generations)
			task_verify(t);
		if (now_ns >= w->measure_from_ns && !t->checking) {
			f->measured_ios++;
			hist_add(f->hist, now_ns - t->began_ns);
		}
		atomic_store_explicit(&f->counts.ios, f->counts.ios + 1, memory_order_relaxed);
	}
	task_next(t, now_ns);
}

/* --- closing ---------------------------------------------------------------------------------- */

void perf_worker_close(struct perf_worker *w)
{
	struct perf_flow *next;

	for (struct perf_flow *f = w->flows; f; f = next) {
		next = f->next;
		perf_lanes_close(f);
		for (uint32_t i = 0; i < f->task_count; i++) {
			free(f->tasks[i].generations);
		}
		free(f->tasks);
		f->task_count = 0;
	}
}
