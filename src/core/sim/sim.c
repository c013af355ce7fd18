/* SPDX-License-Identifier: BSD-3-Clause */
/* sim.c: the simulated machine: whose turn it is, and what time.
 *
 * One step is one decision: among the reactors that could make a pass now, and the world's next event if it is
 * due, the dice choose. Falling asleep is two steps, as it is on a real core: saying so, and looking again (three
 * with lookers: arming them comes first); others run in between. Who sleeps is left alone until something that
 * would end a real wait comes, so a wake-up that the code forgets leaves its simulation stuck. A pass takes a
 * drawn time; when nobody can run, time moves to the next event or timer.
 */
#include "core/sim/machine.h"

#include <stdio.h>

#include "core/trace.h"

#define PASS_NS_MAX 512u       /* what one pass may cost */
#define GATE_PERCENT 25u       /* how often messages from one other reactor are not visible yet */
#define TRACE_OF_A_PASS 256u   /* records looked at; more of one pass are left out */
#define JOB_NS_MAX (20 * NS_PER_MS)
#define SPIN_PERCENT 50u       /* how often an adaptive reactor goes on spinning */

struct sim sim;

static bool can_run(const struct platform_reactor *pr);
static bool event_due(void);
static void run_event(void);
static void run_reactor(struct platform_reactor *pr);
static void end_account(struct platform_reactor *pr);
static void fall_asleep_or_not(struct platform_reactor *pr);
static void pass(struct platform_reactor *pr);
static void doze_off(struct platform_reactor *pr);
static void arm_lookers(struct platform_reactor *pr);
static void note_trace(struct reactor *r);
static enum sim_state idle_state(const struct reactor *r);
static bool move_time(uint64_t until_ns);
static bool end_spinning(void);
static void report_lost_wakes(void);

/* --- beginning and end --- */

void sim_start(uint64_t seed)
{
	must(!sim.on);
	memset(&sim, 0, sizeof(sim));
	sim.on = true;
	sim.now_ns = NS_PER_S; /* zero means "never" to many */
	list_init(&sim.platforms);
	list_init(&sim.reactors);
	list_init(&sim.events);
	list_init(&sim.fds);
	list_init(&sim.mappings);
	sim_dice_seed(seed);
	sim_jobs_take(1, JOB_NS_MAX);
}

uint64_t sim_end(void)
{
	must(sim.on);
	must(list_empty(&sim.platforms)); /* core_free() first */
	while (list_pop(&sim.events))
		;
	sim_fds_close_core(NULL);
	sim.on = false;
	return sim.hash;
}

void sim_after_pass(void (*fn)(struct reactor *r, void *arg), void *arg)
{
	sim.after_pass = fn;
	sim.after_pass_arg = arg;
}

void sim_jobs_take(uint64_t min_ns, uint64_t max_ns)
{
	assert(min_ns <= max_ns);
	sim.job_ns_min = min_ns;
	sim.job_ns_max = max_ns;
}

uint64_t sim_now_ns(void)
{
	return sim.now_ns;
}

/* --- running --- */

bool sim_run(bool (*until)(void *arg), void *arg, uint64_t limit_ns)
{
	uint64_t end_ns = limit_ns > UINT64_MAX - sim.now_ns ? UINT64_MAX : sim.now_ns + limit_ns;

	sim.activity++;
	for (;;) {
		if (until && until(arg))
			return true;
		if (sim.now_ns >= end_ns)
			return false;
		if (!sim_step() && !end_spinning() && !move_time(end_ns))
			return false;
	}
}

bool sim_step(void)
{
	struct platform_reactor *able[SIM_REACTORS_MAX];
	uint64_t count = 0, choice;
	bool due = event_due();

	list_each(l, &sim.reactors) {
		struct platform_reactor *pr = list_entry(l, struct platform_reactor, link);

		if (can_run(pr))
			able[count++] = pr;
	}
	if (count + due == 0)
		return false;
	choice = sim_draw(count + due);
	if (choice == count)
		run_event();
	else
		run_reactor(able[choice]);
	return true;
}

static bool can_run(const struct platform_reactor *pr)
{
	if (core_stopping(pr->r->core))
		return false;
	switch (pr->state) {
	case SIM_AWAKE:
	case SIM_YAWNS:
	case SIM_DROWSY:
		return true;
	case SIM_SPIN:
		return reactor_has_work(pr->r) || pr->woken || !list_empty(&pr->ready) ||
		       reactor_deadline(pr->r) <= sim.now_ns || (pr->r->looker_count && pr->looked != sim.activity);
	case SIM_ASLEEP:
		return pr->woken || !list_empty(&pr->ready) || pr->sleep_until_ns <= sim.now_ns;
	}
	return false;
}

static void run_reactor(struct platform_reactor *pr)
{
	sim_note(((uint64_t)pr->state << 32) | pr->r->index);
	sim_note(sim.now_ns);
	if (pr->state == SIM_YAWNS) {
		arm_lookers(pr);
		return;
	}
	if (pr->state == SIM_DROWSY) {
		fall_asleep_or_not(pr);
		return;
	}
	if (pr->state == SIM_ASLEEP || pr->state == SIM_SPIN)
		end_account(pr);
	if (pr->state == SIM_ASLEEP)
		reactor_woke(pr->r);
	pass(pr);
}

/* Empty passes are not made here, but the time they would take is not the last pass's. */
static void end_account(struct platform_reactor *pr)
{
	struct reactor *r = pr->r;

	if (!r->pass_began_ns || pr->pass_ended_ns < r->pass_began_ns)
		return;
	stat_add(r->pass_was_busy ? &r->stats.busy_ns : &r->stats.idle_ns, pr->pass_ended_ns - r->pass_began_ns);
	r->pass_began_ns = pr->pass_ended_ns;
	r->pass_was_busy = false;
}

/* The second look. What came since the last pass did not wake anybody unless it saw the flag. */
static void fall_asleep_or_not(struct platform_reactor *pr)
{
	struct reactor *r = pr->r;

	if (msg_pending_sc(r) || atomic_load(&r->mode_wanted) != r->mode || pr->woken || !list_empty(&pr->ready)) {
		atomic_store(&r->sleeping, 0);
		pr->state = SIM_AWAKE;
		return;
	}
	stat_add(&r->stats.sleeps, 1);
	pr->sleep_until_ns = reactor_deadline(r);
	pr->state = SIM_ASLEEP;
}

static void pass(struct platform_reactor *pr)
{
	struct reactor *r = pr->r;
	bool worked;

	pr->state = SIM_AWAKE;
	pr->looked = sim.activity;
	worked = reactor_pass(r);
	sim.activity += worked;
	if (trace_mask)
		note_trace(r);
	sim.now_ns += 1 + sim_draw(PASS_NS_MAX);
	pr->pass_ended_ns = sim.now_ns;
	if (!worked && !reactor_has_work(r) && list_empty(&pr->ready) && reactor_deadline(r) > sim.now_ns)
		pr->state = idle_state(r);
	if (pr->state == SIM_DROWSY)
		doze_off(pr);
	if (sim.after_pass)
		sim.after_pass(r, sim.after_pass_arg);
}

/* As a real one does: arms its lookers, if it has any, then says that it sleeps. */
static void doze_off(struct platform_reactor *pr)
{
	pr->state = pr->r->looker_count ? SIM_YAWNS : SIM_DROWSY;
	if (pr->state == SIM_DROWSY)
		atomic_store(&pr->r->sleeping, 1);
}

static void arm_lookers(struct platform_reactor *pr)
{
	struct reactor *before = reactor_current;

	pr->state = SIM_AWAKE;
	reactor_current = pr->r;
	if (look_may_sleep(pr->r))
		doze_off(pr);
	reactor_current = before;
}

/* Records of this pass: time stands still in it. Where code lies differs from run to run, so that what is the
 * address of a function stays out. */
static void note_trace(struct reactor *r)
{
	struct trace_record records[TRACE_OF_A_PASS];
	struct reactor *before = reactor_current;
	uint32_t count;

	reactor_current = r;
	count = trace_read(records, TRACE_OF_A_PASS);
	reactor_current = before;
	for (uint32_t i = 0; i < count; i++) {
		if (records[i].at_ns != sim.now_ns)
			continue;
		sim_note(records[i].point);
		sim_note(records[i].point == TRACE_MSG_RUN || records[i].point == TRACE_TIMER_RUN ? 0 : records[i].a);
		sim_note(records[i].b);
	}
}

static enum sim_state idle_state(const struct reactor *r)
{
	if (r->is_control || r->mode == CORE_INTERRUPT)
		return SIM_DROWSY;
	return r->mode == CORE_POLL || sim_chance(SPIN_PERCENT) ? SIM_SPIN : SIM_DROWSY;
}

bool sim_message_gate(struct reactor *to, uint32_t from)
{
	return !sim_chance(GATE_PERCENT);
}

void sim_as(struct reactor *r, void (*fn)(void *arg), void *arg)
{
	struct reactor *before = reactor_current;
	struct platform_reactor *pr = r->pr;

	if (pr->state == SIM_ASLEEP || pr->state == SIM_DROWSY)
		reactor_woke(r);
	pr->state = SIM_AWAKE; /* what it sends leaves at the end of its next pass */
	r->now_ns = sim.now_ns;
	reactor_current = r;
	fn(arg);
	sim.activity++;
	reactor_current = before;
}

/* --- time --- */

/* Nobody can run. An adaptive reactor does not spin for ever: it goes to sleep before time moves. */
static bool end_spinning(void)
{
	bool any = false;

	list_each(l, &sim.reactors) {
		struct platform_reactor *pr = list_entry(l, struct platform_reactor, link);

		if (pr->state != SIM_SPIN || pr->r->mode != CORE_ADAPTIVE || core_stopping(pr->r->core))
			continue;
		doze_off(pr);
		any = true;
	}
	return any;
}

/* To the next thing that will happen, but not past `until_ns`. False when nothing ever will. */
static bool move_time(uint64_t until_ns)
{
	uint64_t next = UINT64_MAX;
	struct sim_event *e = list_first(&sim.events, struct sim_event, link);

	report_lost_wakes();
	if (e)
		next = e->at_ns;
	list_each(l, &sim.reactors) {
		struct platform_reactor *pr = list_entry(l, struct platform_reactor, link);

		if (!core_stopping(pr->r->core))
			next = min_u64(next, pr->state == SIM_ASLEEP ? pr->sleep_until_ns : reactor_deadline(pr->r));
	}
	if (next == UINT64_MAX)
		return false;
	sim.now_ns = max_u64(sim.now_ns, min_u64(next, until_ns));
	return true;
}

/* A real daemon would hang here, or until some timer saves it. */
static void report_lost_wakes(void)
{
	list_each(l, &sim.reactors) {
		struct platform_reactor *pr = list_entry(l, struct platform_reactor, link);

		if (pr->state == SIM_ASLEEP && !pr->lost_said && !core_stopping(pr->r->core) && reactor_has_work(pr->r)) {
			pr->lost_said = true;
			fprintf(stderr, "sim: reactor %u sleeps while work waits for it: a wake-up was lost\n", pr->r->index);
		}
	}
}

/* --- events of the world --- */

/* In order of time; of equal ones in order of asking. */
void sim_event_at(struct sim_event *e, uint64_t at_ns, void (*fn)(struct sim_event *e))
{
	struct list *after;

	sim_event_cancel(e); /* it may have been the last */
	after = sim.events.prev;
	e->at_ns = at_ns;
	e->sequence = ++sim.event_sequence;
	e->fn = fn;
	while (after != &sim.events && list_entry(after, struct sim_event, link)->at_ns > at_ns)
		after = after->prev;
	list_insert(after, &e->link);
}

void sim_event_cancel(struct sim_event *e)
{
	if (list_linked(&e->link))
		list_del(&e->link);
}

static bool event_due(void)
{
	struct sim_event *e = list_first(&sim.events, struct sim_event, link);

	return e && e->at_ns <= sim.now_ns;
}

static void run_event(void)
{
	struct sim_event *e = list_entry(sim.events.next, struct sim_event, link);

	list_del(&e->link);
	sim_note(e->sequence);
	sim_note(sim.now_ns);
	sim.activity++;
	e->fn(e);
}

/* --- ready sockets --- */

/* A real wait reports descriptors in an order of its own. */
void sim_ready_add(struct reactor *r, struct sim_ready *s, void (*fn)(struct sim_ready *s))
{
	if (s->queued)
		return;
	s->queued = true;
	s->fn = fn;
	if (sim_chance(50))
		list_add_tail(&r->pr->ready, &s->link);
	else
		list_add_head(&r->pr->ready, &s->link);
}

void sim_ready_cancel(struct sim_ready *s)
{
	if (s->queued)
		list_del(&s->link);
	s->queued = false;
}
