/* SPDX-License-Identifier: BSD-3-Clause */
/* clock.c: clocks, the cheap counter for measuring callbacks, and randomness. */
#include <errno.h>
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

/* How fast the counter runs, measured once between the first call and a millisecond later or more; until then
 * as if it ran at 1 GHz times a ratio taken from the short time known. */
uint64_t platform_ticks_to_ns(uint64_t ticks)
{
	static _Atomic uint64_t first_ticks, first_ns, ratio_q32;
	uint64_t q = atomic_load(&ratio_q32), since_ticks, since_ns;

	if (!q) {
		uint64_t now_ticks = platform_ticks(), now_ns = platform_now_ns(), none = 0;

		if (atomic_compare_exchange_strong(&first_ticks, &none, now_ticks)) {
			atomic_store(&first_ns, now_ns);
			return ticks / 2;
		}
		since_ticks = now_ticks - atomic_load(&first_ticks);
		since_ns = now_ns - atomic_load(&first_ns);
		if (!since_ticks || !atomic_load(&first_ns))
			return ticks / 2;
		q = (uint64_t)(((unsigned __int128)since_ns << 32) / since_ticks);
		if (since_ns >= NS_PER_MS)
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
