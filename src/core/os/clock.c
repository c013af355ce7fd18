/* SPDX-License-Identifier: BSD-3-Clause */
/* clock.c: clocks, the cheap counter for measuring callbacks, and randomness. */
#include <errno.h>
#include <pthread.h>
#include <sys/random.h>
#include <time.h>

#include "core/os/os.h"

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

uint64_t platform_now_ns(void) { return clock_ns(CLOCK_MONOTONIC); }
uint64_t platform_wall_us(void) { return clock_ns(CLOCK_REALTIME) / NS_PER_US; }

/* CPU time of a reactor's thread; 0 while it does not run. */
uint64_t platform_thread_cpu_ns(struct platform_reactor *pr)
{
	return atomic_load(&pr->has_clock) ? clock_ns(pr->cpu_clock) : 0;
}

uint64_t platform_ticks(void)
{
#if defined(__x86_64__)
	return __builtin_ia32_rdtsc();
#elif defined(__aarch64__)
	uint64_t v;

	__asm__ volatile("mrs %0, cntvct_el0" : "=r"(v));
	return v;
#else
	return platform_now_ns();
#endif
}

/* Where measuring the counter began: one pair for all threads, read before any of them takes another one. */
static uint64_t first_ticks, first_ns;
static pthread_once_t first_once = PTHREAD_ONCE_INIT;

static void first_look(void)
{
	first_ticks = platform_ticks();
	first_ns = platform_now_ns();
}

/* How fast the counter runs, measured once between the first call and a millisecond later or more; until then
 * as if it ran at 2 GHz. */
uint64_t platform_ticks_to_ns(uint64_t ticks)
{
	static _Atomic uint64_t ratio_q32;
	uint64_t q = atomic_load(&ratio_q32);

	if (!q) {
		uint64_t since_ticks, since_ns;

		pthread_once(&first_once, first_look);
		since_ticks = platform_ticks() - first_ticks;
		since_ns = platform_now_ns() - first_ns;
		if (since_ns < NS_PER_MS || !since_ticks)
			return ticks / 2;
		q = (uint64_t)(((unsigned __int128)since_ns << 32) / since_ticks);
		atomic_store(&ratio_q32, q);
	}
	return (uint64_t)(((unsigned __int128)ticks * q) >> 32);
}

void platform_random(void *buf, size_t len)
{
	for (size_t at = 0; at < len;) {
		ssize_t n = getrandom((char *)buf + at, len - at, 0);

		must(n >= 0 || errno == EINTR);
		if (n > 0)
			at += (size_t)n;
	}
}
