/* SPDX-License-Identifier: BSD-3-Clause */
/* micro_look.c: what a pass of an idle polling reactor costs beside descriptors and lookers, and how long a sleeping
 * one takes to look when its bell rings, against a thread that waits on a bare eventfd.
 *
 *     micro_look [--json]
 *
 * Others may have the CPU meanwhile: the best of many short windows counts; of wake-ups the median.
 */
#include <pthread.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "core/core.h"
#if __has_include("core/look.h") /* to be compiled against an older core, too */
#include "core/bell.h"
#include "core/look.h"
#else
#define NO_LOOKERS
#endif

#define WINDOWS 200u
#define WINDOW_NS (2 * NS_PER_MS)
#define LOOKERS_MAX 100u
#define WAKES 2001u
#define PAUSE_US 300u /* it sleeps by then */

struct pass_case {
	const char *what;
	uint32_t descriptors, lookers;
};
static const struct pass_case cases[] = {
	{ "no descriptor", 0, 0 },
	{ "a descriptor", 1, 0 },
#ifndef NO_LOOKERS
	{ "a looker and its bell", 0, 1 },
	{ "a looker, its bell, a descriptor", 1, 1 },
	{ "100 lookers and their bells", 0, 100 },
#endif
};

static struct core *core;
static bool json;
static struct msg msg;
static struct timer timer;
static uint32_t at, window;
static uint64_t passes, since_ns;
static double best_ns;
static struct source source;
static int fd;

static void print(const char *what, double ns)
{
	printf(json ? "{\"case\": \"%s\", \"ns\": %.1f}\n" : "%-40s %8.1f ns\n", what, ns);
}

/* --- passes: reactor 0 makes them, the control reactor counts ------------------------------------------------ */

static void ignore(struct source *s, uint32_t events) { }

#ifdef NO_LOOKERS
static void lookers_start(uint32_t count) { }
static void lookers_stop(uint32_t count) { }
static void wakes(void) { core_stop(core, 0); }
#else
static struct hears {
	struct looker looker;
	struct bell bell;
} hears[LOOKERS_MAX];

static uint32_t look_at_nothing(struct looker *l) { return 0; }
static bool arm_nothing(struct looker *l) { return false; }
static void disarm_nothing(struct looker *l) { }
static void rang(struct bell *b) { looker_rang(&container_of(b, struct hears, bell)->looker); }

static void lookers_start(uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		hears[i].looker = (struct looker){ .look = look_at_nothing, .arm = arm_nothing, .disarm = disarm_nothing };
		must(bell_make(&hears[i].bell, NULL) == 0);
		must(bell_listen(&hears[i].bell, "bell", rang) == 0);
		looker_start(&hears[i].looker, "looker");
	}
}

static void lookers_stop(uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		looker_stop(&hears[i].looker);
		bell_close(&hears[i].bell);
	}
}
static void wakes(void);
#endif

static void begin_case(void);

static uint64_t passes_now(void)
{
	struct reactor_stats stats;

	reactor_get_stats(core_reactor(core, 0), &stats);
	return stats.passes;
}

static void end_on_control(struct msg *m)
{
	print(cases[at].what, best_ns);
	if (++at < ARRAY_SIZE(cases))
		begin_case();
	else
		wakes();
}

static void end_on_core(struct msg *m)
{
	if (cases[at].descriptors)
		source_stop(&source);
	lookers_stop(cases[at].lookers);
	msg_send(core_control(core), m, end_on_control);
}

static void end_window(struct timer *t)
{
	uint64_t now = core_clock_ns(), more = passes_now() - passes;

	if (more && (double)(now - since_ns) / (double)more < best_ns)
		best_ns = (double)(now - since_ns) / (double)more;
	passes += more;
	since_ns = now;
	if (++window < WINDOWS)
		timer_start(t, WINDOW_NS, end_window);
	else
		msg_send(core_reactor(core, 0), &msg, end_on_core);
}

static void begin_on_control(struct msg *m)
{
	window = 0;
	best_ns = 1e9;
	passes = passes_now();
	since_ns = core_clock_ns();
	timer_start(&timer, WINDOW_NS, end_window);
}

static void begin_on_core(struct msg *m)
{
	if (cases[at].descriptors)
		must(source_start(&source, fd, EPOLLIN, "idle", ignore) == 0);
	lookers_start(cases[at].lookers);
	msg_send(core_control(core), m, begin_on_control);
}

static void begin_case(void)
{
	msg_send(core_reactor(core, 0), &msg, begin_on_core);
}

/* --- wake-ups ------------------------------------------------------------------------------------------------- */

#ifndef NO_LOOKERS
static struct ring {
	CACHE_ALIGNED _Atomic uint32_t published;
	CACHE_ALIGNED _Atomic uint32_t taken;
} ring;
static uint64_t took_ns[WAKES];
static pthread_t guest, bare;
static int bare_fd;

static int compare(const void *a, const void *b)
{
	return *(const uint64_t *)a < *(const uint64_t *)b ? -1 : *(const uint64_t *)a > *(const uint64_t *)b;
}

static uint32_t take(struct looker *l)
{
	uint32_t published = atomic_load(&ring.published);

	if (published == atomic_load(&ring.taken))
		return 0;
	atomic_store(&ring.taken, published);
	return 1;
}

static bool arm_ring(struct looker *l) { return atomic_load(&ring.published) != atomic_load(&ring.taken); }

static void *bare_run(void *arg)
{
	uint64_t value;

	while (atomic_load(&ring.published) < WAKES)
		if (read(bare_fd, &value, sizeof(value)) == (ssize_t)sizeof(value))
			atomic_store(&ring.taken, atomic_load(&ring.published));
	return NULL;
}

/* Who is rung at sleeps each time. */
static void time_wakes(const char *what, void (*wake)(void))
{
	atomic_store(&ring.published, 0);
	atomic_store(&ring.taken, 0);
	for (uint32_t i = 1; i <= WAKES; i++) {
		uint64_t began;

		usleep(PAUSE_US);
		began = core_clock_ns();
		atomic_store(&ring.published, i);
		wake();
		while (atomic_load(&ring.taken) != i)
			;
		took_ns[i - 1] = core_clock_ns() - began;
	}
	qsort(took_ns, WAKES, sizeof(*took_ns), compare);
	print(what, (double)took_ns[WAKES / 2]);
}

static void ring_bell(void) { bell_ring(&hears[0].bell); }

static void write_bare(void)
{
	uint64_t one = 1;

	must(write(bare_fd, &one, sizeof(one)) == (ssize_t)sizeof(one));
}

static void *guest_run(void *arg)
{
	time_wakes("bare eventfd, until its thread saw it", write_bare);
	pthread_join(bare, NULL);
	time_wakes("bell, until a sleeping reactor looked", ring_bell);
	core_stop(core, 0);
	return NULL;
}

static void begin_wakes(struct msg *m) { must(pthread_create(&guest, NULL, guest_run, NULL) == 0); }

/* A thread made here runs on this CPU: the bare one shall, the one that rings shall not. */
static void wakes_on_core(struct msg *m)
{
	lookers_start(1);
	hears[0].looker.look = take;
	hears[0].looker.arm = arm_ring;
	bare_fd = eventfd(0, 0);
	must(pthread_create(&bare, NULL, bare_run, NULL) == 0);
	msg_send(core_control(core), m, begin_wakes);
}

static void wakes(void)
{
	reactor_set_mode(core_reactor(core, 0), CORE_INTERRUPT);
	msg_send(core_reactor(core, 0), &msg, wakes_on_core);
}
#endif

static void start(void *arg) { begin_case(); }

int main(int argc, char **argv)
{
	struct core_opts opts = { .mode = CORE_POLL };
	struct err e = { 0 };
	int rc;

	json = argc > 1 && strcmp(argv[1], "--json") == 0;
	fd = eventfd(0, EFD_NONBLOCK);
	core = core_make(&opts, &e);
	if (!core) {
		fprintf(stderr, "micro_look: %s\n", e.text);
		return 2;
	}
	rc = core_run(core, start, NULL);
#ifndef NO_LOOKERS
	pthread_join(guest, NULL);
#endif
	core_free(core);
	return rc;
}
