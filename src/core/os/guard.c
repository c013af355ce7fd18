/* SPDX-License-Identifier: BSD-3-Clause */
/* guard.c: tells when a reactor is stuck in one pass, with its backtrace.
 *
 * The guard's thread looks every half of the limit while any reactor is awake. When it finds all asleep it
 * disarms itself and sleeps without a timer, until a reactor that wakes finds it disarmed. `armed` and
 * `waiting` are sequentially consistent on both sides, so that not both can miss the other.
 */
#include <errno.h>
#include <execinfo.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include "base/text.h"
#include "core/log.h"
#include "core/notify.h"
#include "core/os/os.h"

#define FRAMES_MAX 48
#define GUARD_SIGNAL SIGURG /* ignored by default: one that comes too late does no harm */

static void *guard_thread(void *arg);
static void say_backtrace(int signo);

void guard_init(struct guard *g, struct platform *p)
{
	pthread_condattr_t attr;

	g->platform = p;
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_mutex_init(&g->lock, NULL);
	pthread_cond_init(&g->armed_or_stop, &attr);
	pthread_condattr_destroy(&attr);
}

int guard_start(struct guard *g)
{
	struct sigaction sa = { .sa_handler = say_backtrace, .sa_flags = SA_RESTART };
	void *frames[1];
	sigset_t all, old;
	int rc;

	backtrace(frames, 1); /* its first call loads a library, which a signal handler must not */
	sigaction(GUARD_SIGNAL, &sa, NULL);
	atomic_store(&g->armed, true);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	rc = pthread_create(&g->thread, NULL, guard_thread, g);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	g->started = rc == 0;
	return -rc;
}

void guard_stop(struct guard *g)
{
	if (!g->started)
		return;
	pthread_mutex_lock(&g->lock);
	g->stop = true;
	pthread_cond_signal(&g->armed_or_stop);
	pthread_mutex_unlock(&g->lock);
	pthread_join(g->thread, NULL);
}

void guard_arm_slow(struct guard *g)
{
	pthread_mutex_lock(&g->lock);
	atomic_store(&g->armed, true);
	pthread_cond_signal(&g->armed_or_stop);
	pthread_mutex_unlock(&g->lock);
}

/* --- the thread ---------------------------------------------------------------------------------- */

static bool any_awake(struct guard *g);
static void sleep_half_a_limit(struct guard *g);
static void look(struct guard *g, struct reactor *r);

static void *guard_thread(void *arg)
{
	struct guard *g = arg;
	struct core *core = g->platform->core;

	pthread_setname_np(pthread_self(), "stall_guard");
	pthread_mutex_lock(&g->lock);
	while (!g->stop) {
		atomic_store(&g->armed, false);
		if (any_awake(g)) {
			atomic_store(&g->armed, true);
			sleep_half_a_limit(g);
			for (uint32_t i = 0; i <= core->count && !g->stop; i++)
				look(g, core->reactors[i]);
			continue;
		}
		while (!g->stop && !atomic_load(&g->armed))
			pthread_cond_wait(&g->armed_or_stop, &g->lock);
	}
	pthread_mutex_unlock(&g->lock);
	return NULL;
}

static bool any_awake(struct guard *g)
{
	struct core *core = g->platform->core;

	for (uint32_t i = 0; i <= core->count; i++)
		if (!atomic_load(&core->reactors[i]->pr->waiting))
			return true;
	return false;
}

static void sleep_half_a_limit(struct guard *g)
{
	uint64_t until_ns = platform_now_ns() + g->platform->core->opts.stall_ms * NS_PER_MS / 2;
	struct timespec until = { .tv_sec = (time_t)(until_ns / NS_PER_S), .tv_nsec = (long)(until_ns % NS_PER_S) };
	int rc = 0;

	while (!g->stop && rc != ETIMEDOUT)
		rc = pthread_cond_timedwait(&g->armed_or_stop, &g->lock, &until);
}

static void tell(struct reactor *r, uint64_t stuck_ns)
{
	const char *name = __atomic_load_n(&r->running_name, __ATOMIC_RELAXED);
	char duration[32];

	if (!name)
		name = platform_symbol(__atomic_load_n(&r->running_fn, __ATOMIC_RELAXED));
	stat_add(&r->stats.stalls, 1);
	log_warning("%s %u has been in one callback (%s) for %s; its backtrace follows",
	            r->is_control ? "the control reactor," : "reactor", r->index, name ? name : "unnamed",
	            text_duration(stuck_ns, duration));
	notify(r->core, NOTIFY_REACTOR_STALLED, "%s %u: %s: %s", r->is_control ? "control" : "reactor", r->index,
	       name ? name : "unnamed", duration);
	pthread_kill(r->pr->thread, GUARD_SIGNAL);
}

/* Stuck: awake, and in the same pass for as long as the limit. Told once per pass. */
static void look(struct guard *g, struct reactor *r)
{
	struct platform_reactor *pr = r->pr;
	uint64_t seen = stat_get(&r->stats.passes) + stat_get(&pr->waits), now = platform_now_ns();

	if (!pr->guard_since_ns || seen != pr->guard_seen || atomic_load(&pr->waiting)) {
		pr->guard_seen = seen;
		pr->guard_since_ns = now;
		pr->guard_told = false;
	} else if (!pr->guard_told && now - pr->guard_since_ns >= g->platform->core->opts.stall_ms * NS_PER_MS) {
		pr->guard_told = true;
		tell(r, now - pr->guard_since_ns);
	}
}

/* On the stuck thread. */
static void say_backtrace(int signo)
{
	void *frames[FRAMES_MAX];
	int saved = errno, count = backtrace(frames, FRAMES_MAX);

	backtrace_symbols_fd(frames, count, STDERR_FILENO);
	errno = saved;
}
