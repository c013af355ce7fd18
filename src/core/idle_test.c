/* SPDX-License-Identifier: BSD-3-Clause */
/* idle_test.c: a core with nothing to do uses no wake-ups at all, lookers or not; what is told about a stuck one. */
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "core/bell.h"
#include "core/log.h"
#include "core/look.h"
#include "core/rig_test.h"
#include "core/watch.h"

#define LOOK_MS 300

/* ThreadSanitizer has a thread of its own that wakes now and then. */
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define SWITCHES_MAX 100
#endif
#endif
#if defined(__SANITIZE_THREAD__)
#define SWITCHES_MAX 100
#endif
#ifndef SWITCHES_MAX
#define SWITCHES_MAX 2
#endif

static pthread_t observer;
static uint64_t passes_more, switches_more;
static uint32_t idle_tries;

static uint64_t passes_all(void)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i <= core_reactor_count(rig.core); i++) {
		struct reactor *r = i < core_reactor_count(rig.core) ? core_reactor(rig.core, i) : core_control(rig.core);
		struct reactor_stats s;

		reactor_get_stats(r, &s);
		sum += s.passes;
	}
	return sum;
}

static uint64_t switches(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return (uint64_t)u.ru_nvcsw;
}

/* On each reactor, and nothing ever happens to it. */
static struct quiet {
	struct looker looker;
	struct bell bell;
	struct msg msg;
	atomic_bool asked;
} quiet[CORE_REACTORS_MAX + 1];

/* Wait until all sleep, the guard too, and then look for a while. The observer's own sleep is one switch. Beside other
 * work it may come before a reactor has begun. */
static void *observe(void *arg)
{
	do {
		uint64_t passes, before;

		usleep(100000);
		passes = passes_all();
		before = switches();
		usleep(LOOK_MS * 1000);
		passes_more = passes_all() - passes;
		switches_more = switches() - before;
	} while ((passes_more || switches_more > SWITCHES_MAX || !quiet[0].asked) && ++idle_tries < 50);
	core_stop(rig.core, 0);
	return NULL;
}

static uint32_t quiet_look(struct looker *l) { return 0; }
static bool quiet_arm(struct looker *l)
{
	container_of(l, struct quiet, looker)->asked = true;
	return false;
}
static void quiet_disarm(struct looker *l) { container_of(l, struct quiet, looker)->asked = false; }
static void quiet_rang(struct bell *b) { looker_rang(&container_of(b, struct quiet, bell)->looker); }

static void quiet_on_core(struct msg *m)
{
	struct quiet *q = container_of(m, struct quiet, msg);

	q->looker = (struct looker){ .look = quiet_look, .arm = quiet_arm, .disarm = quiet_disarm };
	check(bell_make(&q->bell, NULL) == 0);
	check(bell_listen(&q->bell, "bell", quiet_rang) == 0);
	looker_start(&q->looker, "quiet");
}

static void idle_start(void *arg)
{
	for (uint32_t i = 0; i < core_reactor_count(rig.core); i++)
		msg_send(core_reactor(rig.core, i), &quiet[i].msg, quiet_on_core);
	quiet_on_core(&quiet[core_reactor_count(rig.core)].msg);
	check(pthread_create(&observer, NULL, observe, NULL) == 0);
}

static void idle_core_uses_no_wakeups(void **state)
{
	static const enum core_mode modes[] = { CORE_INTERRUPT, CORE_ADAPTIVE };

	for (uint32_t i = 0; i < ARRAY_SIZE(modes); i++) {
		struct core_opts opts = { .cpus = rig_cpus(2), .mode = modes[i], .stall_ms = 20 };
		int code;

		idle_tries = 0;
		quiet[0].asked = false;
		rig_make(&opts);
		code = core_run(rig.core, idle_start, NULL);
		pthread_join(observer, NULL);
		core_free(rig.core);
		assert_int_equal(code, 0);
		assert_int_equal(passes_more, 0);
		assert_in_range(switches_more, 0, SWITCHES_MAX);
		assert_true(quiet[0].asked && quiet[0].looker.armed);
	}
}

/* --- one thing at a time ----------------------------------------------------------------------------------------- */

#define DROPS 400u

static int drops[2];
static atomic_uint fell;
static struct source gutter;
static struct msg listen_msg;
static uint64_t passes_dripping;
static void (*with_the_last)(void);     /* what else its callback does */
static uint64_t sleeps_then, sleeps_after;
static struct timer overdue;

static uint64_t sleeps_here(void)
{
	struct reactor_stats s;

	reactor_get_stats(reactor_self(), &s);
	return s.sleeps;
}

static void drop_fell(struct source *s, uint32_t events)
{
	char c;

	check(read(s->fd, &c, 1) == 1);
	if (with_the_last && atomic_load(&fell) == DROPS - 1) {
		with_the_last();
		sleeps_then = sleeps_here();
	}
	atomic_fetch_add(&fell, 1);
}

static void stop_listening(struct msg *m)
{
	if (with_the_last && !sleeps_after)
		sleeps_after = sleeps_here();
	timer_stop(&overdue);
	source_stop(&gutter);
	pthread_join(observer, NULL); /* it rings our bell after this message is there, and must not find it gone */
	rig_stop();
}

static void becomes_due(void);
static void goes_to_poll_mode(void);

/* After the last one it has been asked not to sleep. */
static bool polls(uint32_t drop)
{
	return drop == DROPS - 1 && with_the_last == goes_to_poll_mode;
}

/* The next one when it has gone to sleep after the last. */
static void *drip(void *arg)
{
	struct reactor_stats s;
	uint64_t sleeps, passes;

	reactor_get_stats(core_reactor(rig.core, 0), &s);
	passes = s.passes;
	for (uint32_t i = 0; i < DROPS; i++) {
		sleeps = s.sleeps;
		check(write(drops[1], "", 1) == 1);
		do {
			usleep(200);
			reactor_get_stats(core_reactor(rig.core, 0), &s);
		} while (atomic_load(&fell) != i + 1 || (s.sleeps == sleeps && !polls(i)));
	}
	passes_dripping = s.passes - passes;
	msg_send(core_reactor(rig.core, 0), &listen_msg, stop_listening);
	return NULL;
}

static void listen_on_core(struct msg *m)
{
	check(source_start(&gutter, drops[0], EPOLLIN, "gutter", drop_fell) == 0);
	check(pthread_create(&observer, NULL, drip, NULL) == 0);
}

static void drip_start(void *arg) { msg_send(core_reactor(rig.core, 0), &listen_msg, listen_on_core); }

static void let_drip(void (*last)(void))
{
	fell = 0;
	with_the_last = last;
	sleeps_then = sleeps_after = 0;
	assert_int_equal(pipe(drops), 0);
	rig_run(1, CORE_INTERRUPT, drip_start);
	close(drops[0]);
	close(drops[1]);
}

/* Each pass that finds nothing is a system call, for every I/O of a host that has one out. */
static void a_pass_for_each_event_is_enough(void **state)
{
	let_drip(NULL);
	assert_in_range(passes_dripping, DROPS - 1, DROPS + DROPS / 2);
}

static void came_due(struct timer *t) { sleeps_after = sleeps_here(); }

static void becomes_due(void)
{
	timer_start(&overdue, NS_PER_MS, came_due);
	while (core_clock_ns() - reactor_now_ns() <= NS_PER_MS)
		;
}

/* Would break: a timer waits once more for as long as the pass took before which its time was reckoned. */
static void what_became_due_meanwhile_is_not_slept_over(void **state)
{
	let_drip(becomes_due);
	assert_int_equal(sleeps_after, sleeps_then);
}

static void goes_to_poll_mode(void) { reactor_set_mode(reactor_self(), CORE_POLL); }

/* Would break: who is to poll sleeps until something comes, because it was to sleep when it was told. */
static void who_is_told_to_poll_does_not_sleep_first(void **state)
{
	let_drip(goes_to_poll_mode);
	assert_int_equal(sleeps_after, sleeps_then);
}

/* --- a stuck reactor --------------------------------------------------------------------------------------------- */

static struct msg stuck, asked;
static struct reactor_stats stats;

static void ask(struct msg *m)
{
	reactor_get_stats(core_reactor(rig.core, 0), &stats);
	rig_stop();
}

static void get_stuck(struct msg *m)
{
	uint64_t until = core_clock_ns() + 400 * NS_PER_MS;

	while (core_clock_ns() < until)
		;
	msg_send(core_control(rig.core), &asked, ask);
}

static void stuck_start(void *arg) { msg_send(core_reactor(rig.core, 0), &stuck, get_stuck); }

static void stuck_reactor_is_told_and_named(void **state)
{
	struct core_opts opts = { .cpus = rig_cpus(1), .mode = CORE_INTERRUPT, .stall_ms = 50 };

	rig_make(&opts);
	rig_end(stuck_start);
	assert_int_equal(stats.stalls, 1);
}

/* A callback's time is known when it has ended: the question comes from the next one. */
static struct msg next;
static void ask_next(struct msg *m) { msg_send(core_control(rig.core), &asked, ask); }

static void busy_100_ms(struct msg *m)
{
	uint64_t until = core_clock_ns() + 100 * NS_PER_MS;

	while (core_clock_ns() < until)
		;
	msg_send(reactor_self(), &next, ask_next);
}

static void named_start(void *arg) { msg_send(core_reactor(rig.core, 0), &stuck, busy_100_ms); }

static void longest_callback_is_kept_by_name(void **state)
{
	rig_run(1, CORE_INTERRUPT, named_start);
	assert_true(stats.longest_ns >= 99 * NS_PER_MS);
	assert_string_equal(stats.longest_name, "busy_100_ms");
}

/* Asleep within a callback is time by the clock, not of the CPU. */
static void sleepy_20_ms(struct msg *m)
{
	struct timespec t = { .tv_nsec = 20 * NS_PER_MS };

	nanosleep(&t, NULL);
	msg_send(reactor_self(), &next, ask_next);
}

static void sleepy_start(void *arg) { msg_send(core_reactor(rig.core, 0), &stuck, sleepy_20_ms); }

static void cpu_time_of_callbacks_is_kept(void **state)
{
	rig_run(1, CORE_INTERRUPT, sleepy_start);
	assert_true(stats.longest_ns >= 20 * NS_PER_MS);
	assert_true(stats.longest_cpu_ns < 5 * NS_PER_MS);
	rig_run(1, CORE_INTERRUPT, named_start);
	assert_true(stats.longest_cpu_ns >= NS_PER_MS && stats.longest_cpu_ns <= stats.longest_ns);
	assert_string_equal(stats.longest_cpu_name, "busy_100_ms");
}

/* --- stuck I/O ---------------------------------------------------------------------------------------------------- */

static struct watch watch;
static uint32_t looks, notes;

static void count_note(const struct watch_note *n, void *arg) { notes += strcmp(n->text, "request 7 in READ") == 0; }

/* Outstanding for three looks, overdue in the second; then nothing is, and the timer rests. */
static bool watch_look(struct watch *w, uint64_t now_ns, uint64_t limit_ns)
{
	if (++looks == 2)
		watch_report(w, 2 * limit_ns, "request %d in %s", 7, "READ");
	return looks < 3;
}

static void watch_end(struct timer *t)
{
	check(!watch.armed && watch_stuck_count(rig.core) == 1);
	watch_visit_notes(count_note, NULL);
	watch_stop(&watch);
	rig_stop();
}

static void watch_begin(void *arg)
{
	static struct timer t;

	watch_set_limit(rig.core, 20 * NS_PER_MS);
	watch_start(&watch, "test", watch_look);
	watch_arm(&watch);
	watch_arm(&watch);
	timer_start(&t, 200 * NS_PER_MS, watch_end);
}

static void stuck_io_is_reported_while_outstanding(void **state)
{
	rig_run(1, CORE_INTERRUPT, watch_begin);
	assert_int_equal(looks, 3);
	assert_int_equal(notes, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(idle_core_uses_no_wakeups),
		cmocka_unit_test(a_pass_for_each_event_is_enough),
		cmocka_unit_test(what_became_due_meanwhile_is_not_slept_over),
		cmocka_unit_test(who_is_told_to_poll_does_not_sleep_first),
		cmocka_unit_test(stuck_reactor_is_told_and_named),
		cmocka_unit_test(longest_callback_is_kept_by_name),
		cmocka_unit_test(cpu_time_of_callbacks_is_kept),
		cmocka_unit_test(stuck_io_is_reported_while_outstanding),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
