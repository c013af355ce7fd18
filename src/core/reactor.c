/* SPDX-License-Identifier: BSD-3-Clause */
/* reactor.c: the pass of a reactor, when it sleeps, and what it was awake for.
 *
 * Sleeping loses no wake-up: the reactor says `sleeping` and then looks once more; whoever sends says
 * what he sent and then looks at `sleeping`. All four are sequentially consistent, so at least one of
 * the two sees the other.
 */
#include "core/reactor.h"

_Thread_local struct reactor *reactor_current __attribute__((tls_model("local-exec")));

#define SPIN_LOOKS 8 /* looks for messages between two passes that may cost a system call and read the clock */
#define ASK_SOURCES_NS (2 * NS_PER_US) /* while it looks at memory; a look for ready descriptors is about 0.4 us */
#define ASK_BELLS_NS (20 * NS_PER_US)  /* where they all are bells, whose ringing cost as much */

#define ASKED_IN_VAIN 8u               /* times in a row, and it sleeps without having asked */
#define NO_SLEEP_NS (2 * NS_PER_US)    /* who slept no longer did not sleep */

static bool pass(struct reactor *r, uint64_t timeout_ns);
static uint64_t sleep_ns(struct reactor *r);
static void learn_to_sleep(struct reactor *r, uint64_t timeout_ns, bool worked);
static void spin(struct reactor *r);

bool reactor_pass(struct reactor *r)
{
	return pass(r, 0);
}

void reactor_loop_once(struct reactor *r)
{
	uint64_t timeout_ns = sleep_ns(r);
	bool after_work = r->pass_was_busy, worked;

	r->slept_ns = 0;
	worked = pass(r, timeout_ns);
	if (r->mode == CORE_INTERRUPT) {
		if (after_work)
			learn_to_sleep(r, timeout_ns, worked);
	} else if (!worked && !r->poller_count) {
		spin(r);
	}
}

/* --- one pass ------------------------------------------------------------------------------------ */

static void pass_begin(struct reactor *r);
static uint32_t run_sources(struct reactor *r, uint64_t timeout_ns);
static uint32_t run_pollers(struct reactor *r);
static uint32_t run_deferred(struct reactor *r);
static uint32_t run_defers(struct reactor *r, uint32_t budget);
static uint32_t run_lasts(struct reactor *r, struct queue *q);
static void move_all(struct queue *from, struct queue *to);
static void pass_end(struct reactor *r, bool busy);

static bool pass(struct reactor *r, uint64_t timeout_ns)
{
	struct reactor *outer = reactor_current;
	uint32_t work;

	reactor_current = r;
	pass_begin(r);
	work = msg_run(r);
	msg_publish(r);
	work += run_sources(r, work ? 0 : timeout_ns);
	if (r->timers)
		work += timer_run_due(r);
	if (r->poller_count)
		work += run_pollers(r);
	if (r->looker_count || r->lookers_doze)
		work += look_run(r);
	work += run_deferred(r);
	msg_flush(r);
	pass_end(r, work != 0);
	reactor_current = outer;
	return work != 0;
}

/* The time between the begins of two passes belongs to the first of them. */
static void pass_begin(struct reactor *r)
{
	uint64_t now = platform_now_ns();
	enum core_mode mode;

	if (r->pass_began_ns)
		stat_add(r->pass_was_busy ? &r->stats.busy_ns : &r->stats.idle_ns, now - r->pass_began_ns);
	r->pass_began_ns = r->now_ns = now;
	r->more = r->hurry = false;
	mode = atomic_load_explicit(&r->mode_wanted, memory_order_relaxed);
	if (unlikely(mode != r->mode)) {
		r->mode = mode;
		look_mode_changed(r);
	}
}

static void pass_end(struct reactor *r, bool busy)
{
	uint32_t watch;

	__atomic_store_n(&r->running_fn, NULL, __ATOMIC_RELAXED);
	stat_add(&r->stats.passes, 1);
	if (busy) {
		stat_add(&r->stats.busy_passes, 1);
		watch = atomic_load_explicit(&r->core->sched_watch, memory_order_relaxed);
		if (unlikely(watch))
			sched_notice(r, watch);
		pace_worked(&r->pace, r->now_ns, r->core->opts.spin_us_max * NS_PER_US);
	} else {
		pace_idle(&r->pace, r->now_ns);
	}
	r->pass_was_busy = busy;
}

/* Asking for ready descriptors is a system call. A reactor that looks at memory anyway does not make it in each pass,
 * but often enough for those who wait for a descriptor. */
static bool sources_are_due(const struct reactor *r)
{
	bool only_bells = r->bell_count && r->source_count == r->bell_count;

	return r->sources_found || r->now_ns - r->sources_asked_ns >= (only_bells ? ASK_BELLS_NS : ASK_SOURCES_NS);
}

static uint32_t ask_sources(struct reactor *r)
{
	uint32_t count;

	if (likely(!r->looker_count))
		return platform_poll(r->pr, 0);
	if (!sources_are_due(r)) {
		stat_add(&r->stats.asks_saved, 1);
		return 0;
	}
	r->sources_asked_ns = r->now_ns;
	count = platform_poll(r->pr, 0);
	r->sources_found = count != 0;
	return count;
}

/* Dispatch ready descriptors; with a timeout, sleep for them or for anything else. */
static uint32_t run_sources(struct reactor *r, uint64_t timeout_ns)
{
	uint32_t count, messages;

	if (!timeout_ns || r->mode == CORE_POLL) /* it may have been told so since the time was reckoned */
		return ask_sources(r);
	if (r->looker_count && !look_may_sleep(r))
		return platform_poll(r->pr, 0);
	atomic_store(&r->sleeping, 1);
	if (msg_pending_sc(r) || atomic_load(&r->mode_wanted) != r->mode || core_stopping(r->core)) {
		atomic_store(&r->sleeping, 0);
		return msg_run(r) + platform_poll(r->pr, 0);
	}
	stat_add(&r->stats.sleeps, 1);
	count = platform_poll(r->pr, timeout_ns);
	messages = msg_run(r);
	if (count)
		stat_add(&r->stats.wakes_fd, 1);
	else if (messages)
		stat_add(&r->stats.wakes_message, 1);
	else if (reactor_deadline(r) <= r->now_ns)
		stat_add(&r->stats.wakes_timer, 1);
	return count + messages;
}

void reactor_woke(struct reactor *r)
{
	uint64_t now = platform_now_ns();

	atomic_store_explicit(&r->sleeping, 0, memory_order_relaxed);
	r->slept_ns = now - r->pass_began_ns;
	stat_add(&r->stats.sleep_ns, r->slept_ns);
	r->pass_began_ns = r->now_ns = now;
}

void reactor_source_ready(struct reactor *r, struct source *s, uint32_t events)
{
	const char *name = s->name; /* the callback may free the source */
	source_fn *fn = s->fn;

	calls_begin(r);
	call_runs(r, (void *)fn, name);
	stat_add(&r->stats.fd_events, 1);
	fn(s, events);
	call_ran(r, (void *)fn, name);
	msg_publish(r);
	reactor_source_ran(r);
}

/* Not the `ends`: versions change when the pass ends. What is scheduled by what runs here waits for that, too: who has
 * more to do each time has one turn here, however many hurry. */
void reactor_source_ran(struct reactor *r)
{
	uint32_t count;

	if (likely(!r->hurry))
		return;
	count = run_defers(r, REACTOR_DEFER_BUDGET);
	count += run_lasts(r, &r->lasts);
	move_all(&r->lasts, &r->lasts_late);
	r->hurry = false;
	stat_add(&r->stats.defers, count);
}

/* Each poller once: the list turns round, so that any may stop itself or another one meanwhile. */
static uint32_t run_pollers(struct reactor *r)
{
	uint32_t work = 0, found;

	calls_begin(r);
	for (uint32_t i = r->poller_count; i && !list_empty(&r->pollers); i--) {
		struct poller *p = list_entry(list_pop(&r->pollers), struct poller, link);
		poller_fn *fn = p->fn;
		const char *name = p->name;

		list_add_tail(&r->pollers, &p->link);
		p->runs++;
		r->poller_running = p;
		call_runs(r, (void *)fn, name);
		found = fn(p);
		call_ran(r, (void *)fn, name);
		if (found && r->poller_running == p)
			p->busy_runs++;
		work += found;
	}
	r->poller_running = NULL;
	stat_add(&r->stats.polls_busy, work != 0);
	return work;
}

static void run_defer(struct reactor *r, struct queue_link *l)
{
	struct defer *d = container_of(l, struct defer, link);
	defer_fn *fn = d->fn;

	d->queued = false;
	call_runs(r, (void *)fn, NULL);
	fn(d);
	call_ran(r, (void *)fn, NULL);
}

static uint32_t run_defers(struct reactor *r, uint32_t budget)
{
	struct queue_link *l;
	uint32_t count = 0;

	while (count < budget && (l = queue_pop(&r->defers))) {
		run_defer(r, l);
		count++;
	}
	return count;
}

/* As many as were there at the start: what is queued meanwhile is for the next pass. */
static uint32_t run_lasts(struct reactor *r, struct queue *q)
{
	struct queue_link *l;
	uint32_t count = 0;

	if (queue_empty(q))
		return 0;
	r->lasts_now = *q;
	queue_init(q);
	for (; (l = queue_pop(&r->lasts_now)); count++)
		run_defer(r, l);
	return count;
}

static void move_all(struct queue *from, struct queue *to)
{
	struct queue_link *l;

	while ((l = queue_pop(from)))
		queue_push(to, l);
}

/* Deferred calls, end-of-pass calls, the deferred calls those made, and versions. */
static uint32_t run_deferred(struct reactor *r)
{
	uint32_t defers = 0, lasts = 0;

	move_all(&r->lasts_late, &r->lasts);
	if (queue_empty(&r->defers) && queue_empty(&r->lasts) && queue_empty(&r->ends))
		return 0;
	calls_begin(r);
	defers = run_defers(r, REACTOR_DEFER_BUDGET);
	lasts = run_lasts(r, &r->lasts);
	if (lasts)
		defers += run_defers(r, REACTOR_DEFER_BUDGET - min_u32(defers, REACTOR_DEFER_BUDGET - 1));
	lasts += run_lasts(r, &r->ends);
	r->more = !queue_empty(&r->defers) || !queue_empty(&r->lasts) || !queue_empty(&r->ends);
	stat_add(&r->stats.defers, defers + lasts);
	return defers + lasts;
}

/* --- spin or sleep ------------------------------------------------------------------------------- */

/* How long the next pass may sleep: 0 for not at all. */
static uint64_t sleep_ns(struct reactor *r)
{
	uint64_t deadline, now_ns;

	if (r->more || r->poller_count || r->overflows || r->mode == CORE_POLL)
		return 0;
	if (r->pass_was_busy && (r->mode != CORE_INTERRUPT || r->looker_count || r->asked_in_vain < ASKED_IN_VAIN))
		return 0;
	if (r->mode == CORE_ADAPTIVE && !pace_may_sleep(&r->pace, r->now_ns, r->core->opts.spin_us_max * NS_PER_US))
		return 0;
	if (!r->timers)
		return UINT64_MAX;
	deadline = r->timers->deadline_ns;
	now_ns = r->pass_was_busy ? platform_now_ns() : r->now_ns; /* what it did may have taken long */
	return deadline > now_ns ? deadline - now_ns : 0;
}

/* After a pass with work it is asked once more what there is before it says that it sleeps, because who sends messages
 * then has to wake it. One that serves a request at a time never finds anything: it saves that system call and pass. */
static void learn_to_sleep(struct reactor *r, uint64_t timeout_ns, bool worked)
{
	if (!timeout_ns)
		r->asked_in_vain = (uint8_t)(worked ? 0 : min_u32(r->asked_in_vain + 1u, ASKED_IN_VAIN));
	else if (r->slept_ns < NO_SLEEP_NS)
		r->asked_in_vain = 0;
}

static void cpu_relax(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

static void spin(struct reactor *r)
{
	int looks = r->looker_count ? 1 : SPIN_LOOKS; /* a look at memory is in the pass itself */

	for (int i = 0; i < looks && !msg_pending(r); i++)
		cpu_relax();
}

bool reactor_has_work(const struct reactor *r)
{
	return msg_pending(r) || r->poller_count || r->overflows || r->out_dirty[0] || r->out_dirty[1] ||
	       !queue_empty(&r->defers) || !queue_empty(&r->lasts) || !queue_empty(&r->ends);
}

uint64_t reactor_deadline(const struct reactor *r)
{
	return r->timers ? r->timers->deadline_ns : UINT64_MAX;
}

/* --- what others ask ----------------------------------------------------------------------------- */

struct reactor *reactor_self(void) { return reactor_current; }
struct core *reactor_core(const struct reactor *r) { return r->core; }
uint32_t reactor_index(const struct reactor *r) { return r->index; }
uint32_t reactor_cpu(const struct reactor *r) { return atomic_load_explicit(&r->cpu, memory_order_relaxed); }
int reactor_node(const struct reactor *r) { return core_cpu_node(r->core, reactor_cpu(r)); }

int core_cpu_node(const struct core *core, uint32_t cpu)
{
	return cpu < TOPOLOGY_CPUS_MAX ? core->topology.node_of[cpu] : -1;
}

int reactor_pin(const uint32_t *cpus, uint32_t count)
{
	struct reactor *r = reactor_current;
	int rc = platform_pin(r->pr, cpus, count);

	if (rc)
		return rc;
	free(r->pins);
	r->pins = base_zalloc(count * sizeof(*r->pins));
	memcpy(r->pins, cpus, count * sizeof(*r->pins));
	r->pin_count = count;
	atomic_store(&r->cpu, cpus[0]);
	return 0;
}

uint32_t reactor_pins(uint32_t *ret_cpus)
{
	struct reactor *r = reactor_current;

	for (uint32_t i = 0; i < r->pin_count; i++)
		ret_cpus[i] = r->pins[i];
	if (!r->pin_count && !r->is_control)
		ret_cpus[0] = reactor_cpu(r);
	return r->pin_count ? r->pin_count : !r->is_control;
}

bool reactor_is_control(const struct reactor *r) { return r->is_control; }

uint64_t reactor_now_ns(void)
{
	assert(reactor_current);
	return reactor_current->now_ns;
}

uint64_t core_clock_ns(void) { return platform_now_ns(); }
uint64_t core_call_ticks(void) { return platform_ticks() - reactor_current->ticks; }
uint64_t core_wall_us(void) { return platform_wall_us(); }
void core_random(void *buf, size_t len) { platform_random(buf, len); }

uint64_t core_random_u64(void)
{
	uint64_t v;

	platform_random(&v, sizeof(v));
	return v;
}

static void mode_update(struct reactor *r)
{
	uint32_t mode = atomic_load(&r->parked) ? CORE_INTERRUPT : atomic_load(&r->mode_asked);

	if (atomic_exchange(&r->mode_wanted, mode) != mode && atomic_load(&r->sleeping))
		platform_wake(r->pr);
}

/* The control reactor always sleeps. */
void reactor_set_mode(struct reactor *r, enum core_mode mode)
{
	assert(mode < CORE_MODE_COUNT);
	if (r->is_control)
		return;
	atomic_store(&r->mode_asked, mode);
	mode_update(r);
}

/* Who nothing lives on sleeps at once, whatever its mode. */
void reactor_park(struct reactor *r, bool parked)
{
	atomic_store(&r->parked, parked);
	mode_update(r);
}

enum core_mode reactor_mode(const struct reactor *r)
{
	return atomic_load_explicit(&r->mode_asked, memory_order_relaxed);
}

bool reactor_is_parked(const struct reactor *r)
{
	return atomic_load_explicit(&r->parked, memory_order_relaxed);
}

const char *core_mode_name(enum core_mode mode)
{
	static const char *const names[CORE_MODE_COUNT] = { "adaptive", "poll", "interrupt" };

	return names[mode];
}

void call_was_longest(struct reactor *r, void *fn, const char *name, uint64_t ticks)
{
	r->longest_ticks = ticks;
	__atomic_store_n(&r->longest_fn, fn, __ATOMIC_RELAXED);
	__atomic_store_n(&r->stats.longest_name, name, __ATOMIC_RELAXED);
	__atomic_store_n(&r->stats.longest_ns, platform_ticks_to_ns(ticks), __ATOMIC_RELAXED);
}

/* The CPU clock is a system call, too dear for every callback. So it is read a quarter of a millisecond after the last
 * reading at the soonest, where one callback ends and the next begins: whatever takes longer than that has a reading at
 * its end, and one not long before it began. What it used is no more than what was used between the two, nor than it
 * took by the other clock, which others may have had the CPU for. */
#define LOOK_NS (250 * NS_PER_US)

void call_cpu_look(struct reactor *r, void *fn, const char *name, uint64_t ticks)
{
	uint64_t cpu_ns = platform_thread_cpu_ns(r->pr), used_ns;
	uint64_t look_ns = platform_ticks_to_ns(r->look_ticks);

	used_ns = min_u64(cpu_ns - r->cpu_ns, platform_ticks_to_ns(ticks));
	r->cpu_ns = cpu_ns;
	r->cpu_ticks = r->ticks;
	if (look_ns < LOOK_NS / 2)
		r->look_ticks = 2 * r->look_ticks + 1;
	else if (look_ns > LOOK_NS)
		r->look_ticks /= 2;
	if (!fn || used_ns <= r->stats.longest_cpu_ns)
		return;
	__atomic_store_n(&r->longest_cpu_fn, fn, __ATOMIC_RELAXED);
	__atomic_store_n(&r->stats.longest_cpu_name, name, __ATOMIC_RELAXED);
	__atomic_store_n(&r->stats.longest_cpu_ns, used_ns, __ATOMIC_RELAXED);
}

static const char *name_of_call(const char *const *name, void *const *fn)
{
	const char *known = __atomic_load_n(name, __ATOMIC_RELAXED);

	return known ? known : platform_symbol(__atomic_load_n(fn, __ATOMIC_RELAXED));
}

void reactor_get_stats(struct reactor *r, struct reactor_stats *ret_stats)
{
	struct reactor_stats *s = &r->stats, *out = ret_stats;

#define COPY(field) out->field = stat_get(&s->field)
	COPY(passes); COPY(busy_passes); COPY(busy_ns); COPY(idle_ns); COPY(sleep_ns); COPY(sleeps);
	COPY(wakes_message); COPY(wakes_fd); COPY(wakes_timer);
	COPY(messages); COPY(fd_events); COPY(timers); COPY(polls_busy); COPY(defers);
	COPY(looks_busy); COPY(arms); COPY(arms_in_vain); COPY(asks_saved);
	COPY(message_depth_max); COPY(message_age_max_ns); COPY(longest_ns); COPY(longest_cpu_ns); COPY(stalls);
#undef COPY
	msg_waiting(r, platform_now_ns(), &out->message_depth, &out->message_age_ns);
	out->longest_name = name_of_call(&s->longest_name, &r->longest_fn);
	out->longest_cpu_name = name_of_call(&s->longest_cpu_name, &r->longest_cpu_fn);
	out->cpu_ns = platform_thread_cpu_ns(r->pr);
}

void reactor_visit_pollers(void (*visit)(const struct poller *p, void *arg), void *arg)
{
	list_each(l, &reactor_current->pollers)
		visit(list_entry(l, struct poller, link), arg);
}

void reactor_visit_sources(void (*visit)(const struct source *s, void *arg), void *arg)
{
	list_each(l, &reactor_current->sources)
		visit(list_entry(l, struct source, link), arg);
}
