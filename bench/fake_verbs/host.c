/* SPDX-License-Identifier: BSD-3-Clause */
/* host.c: the synthetic host's thread: connects when somebody listens, tells once a second how fast it goes, ends. */
#include "host.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define RETRY_MS 100u  /* until it calls again who let it down: the target may not have its namespace yet */
#define TELL_MS 1000u
#define DRAIN_MS 2000u
#define FILL_LOOK_MS 20u

static struct host *host;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;

struct figures {
	uint64_t done, cpu_ns, ticks, inside, calls, long_calls;
	struct timespec at;
};

/* --- settings --------------------------------------------------------------------------------------------------- */

static uint64_t number(const char *name, uint64_t standard, uint64_t least, uint64_t most)
{
	char full[64];
	const char *text;
	uint64_t value;

	snprintf(full, sizeof full, "FAKE_VERBS_%s", name);
	text = getenv(full);
	value = text ? strtoull(text, NULL, 0) : standard;
	if (value < least || value > most)
		fake_fault("%s=%s: from %" PRIu64 " to %" PRIu64, full, text ? text : "", least, most);
	return value;
}

void host_settings_read(struct host_settings *s)
{
	static const char *const workloads[] = { "read", "write", "verify" };
	const char *workload = getenv("FAKE_VERBS_WORKLOAD");

	s->subnqn = getenv("FAKE_VERBS_HOST");
	s->report = getenv("FAKE_VERBS_REPORT");
	for (size_t i = 0; workload && i < ARRAY_SIZE(workloads); i++) {
		if (!strcmp(workload, workloads[i]))
			s->workload = (enum host_workload)i;
	}
#define HOST_READ_NUMBER(name, field, standard, least, most) s->field = number(#name, standard, least, most);
	HOST_NUMBERS(HOST_READ_NUMBER)
}

/* --- figures ---------------------------------------------------------------------------------------------------- */

/* CPU time of the threads that serve the I/O queues, each once. */
static void add_threads(const struct host *h, struct figures *f)
{
	for (uint32_t i = 0; i < h->settings.qpairs; i++) {
		bool again = false;
		struct timespec t;

		for (uint32_t k = 0; k < i; k++)
			again |= h->io[k].cpu_known && h->io[k].cpu == h->io[i].cpu;
		if (again || !h->io[i].cpu_known || clock_gettime(h->io[i].cpu, &t))
			continue;
		f->cpu_ns += (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
	}
}

static struct figures figures_now(const struct host *h)
{
	struct figures f = { .ticks = fake_ticks(), .inside = fake_inside, .calls = fake_calls,
	                     .long_calls = fake_long_calls };

	add_threads(h, &f);
	for (uint32_t i = 0; i < h->settings.qpairs; i++)
		f.done += h->io[i].done;
	clock_gettime(CLOCK_MONOTONIC, &f.at);
	return f;
}

static double seconds_between(const struct timespec *a, const struct timespec *b)
{
	return (double)(b->tv_sec - a->tv_sec) + (double)(b->tv_nsec - a->tv_nsec) / 1e9;
}

/* CPU time within the library; calls that were interrupted took as long as others, for all that is known. */
static double inside_ns(const struct figures *from, const struct figures *to, double seconds)
{
	double calls = (double)(to->calls - from->calls), cut = (double)(to->long_calls - from->long_calls);
	double ticks_a_ns = (double)(to->ticks - from->ticks) / (seconds * 1e9);

	return calls > cut ? (double)(to->inside - from->inside) / ticks_a_ns * calls / (calls - cut) : 0;
}

/* As text for people, as JSON for FAKE_VERBS_REPORT. */
static void tell(const struct host *h, const struct figures *from, const struct figures *to, FILE *f, bool json)
{
	double seconds = seconds_between(&from->at, &to->at), done = (double)(to->done - from->done);
	double ns = done ? seconds * 1e9 / done : 0, cpu = done ? (double)(to->cpu_ns - from->cpu_ns) / done : 0;
	double own = done ? cpu - inside_ns(from, to, seconds) / done : 0;

	fprintf(f, json ? "{\"commands\": %.0f, \"seconds\": %.3f, \"iops\": %.0f, \"ns\": %.1f, \"cpu_ns\": %.1f, "
	        "\"own_ns\": %.1f, \"errors\": %" PRIu64 "}\n" : "fake_verbs: %.0f commands in %.2f s: %.0f a second, %.1f "
	        "ns each, %.1f ns of CPU, %.1f of these the target's own, %" PRIu64 " errors\n", done, seconds,
	        seconds > 0 ? done / seconds : 0, ns, cpu, own, h->errors);
	fflush(f);
}

static void report(const struct host *h, const struct figures *from, const struct figures *to)
{
	char path[4096];
	FILE *f;

	if (!h->settings.report)
		return;
	snprintf(path, sizeof path, "%s.new", h->settings.report);
	f = fopen(path, "w");
	if (!f)
		fake_fault("%s: %s", path, strerror(errno));
	tell(h, from, to, f, true);
	fclose(f);
	if (rename(path, h->settings.report))
		fake_fault("%s: %s", h->settings.report, strerror(errno));
}

void host_failed(struct host *h, const char *what, unsigned int status)
{
	if (what && h->errors++ < 10)
		fprintf(stderr, "fake_verbs: %s, status 0x%x\n", what, status);
	if (!h->loading)
		h->admin.state = HOST_OVER;
	host_changed();
}

/* --- the thread ------------------------------------------------------------------------------------------------- */

void host_changed(void) { pthread_cond_signal(&changed); }

static void sleep_us(uint64_t us)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	t.tv_nsec += (long)(us % 1000000 * 1000);
	t.tv_sec += (time_t)(us / 1000000) + t.tv_nsec / 1000000000;
	t.tv_nsec %= 1000000000;
	pthread_cond_timedwait(&changed, &fake_mutex, &t);
}

static bool all_io_are(const struct host *h, enum host_state state)
{
	for (uint32_t i = 0; i < h->settings.qpairs; i++) {
		if (h->io[i].state != state)
			return false;
	}
	return true;
}

static bool one_is_over(const struct host *h)
{
	bool over = h->admin.state == HOST_OVER;

	for (uint32_t i = 0; i < h->settings.qpairs; i++)
		over |= h->io[i].state == HOST_OVER;
	return over;
}

static void hang_up(struct host *h)
{
	for (uint32_t i = 0; i < h->settings.qpairs; i++) {
		cm_hang_up(&h->io[i].caller);
		h->io[i].state = HOST_IDLE;
	}
	cm_hang_up(&h->admin.caller);
	h->admin.state = HOST_IDLE;
}

/* Until all queue pairs are connected: one step. */
static void connect_more(struct host *h)
{
	if (one_is_over(h)) {
		hang_up(h);
		sleep_us(RETRY_MS * 1000);
	}
	if (!h->listener) {
		sleep_us(TELL_MS * 1000);
		return;
	}
	if (h->admin.state == HOST_IDLE) {
		h->step = 0;
		host_qpair_call(&h->admin);
	}
	for (uint32_t i = 0; i < h->settings.qpairs && h->admin.state == HOST_READY; i++) {
		if (h->io[i].state == HOST_IDLE)
			host_qpair_call(&h->io[i]);
	}
	sleep_us(RETRY_MS * 1000);
}

static bool is_busy(const struct host *h)
{
	bool busy = false;

	for (uint32_t i = 0; i < h->settings.qpairs; i++)
		busy |= h->io[i].busy && h->io[i].qp;
	return busy;
}

static void wait_a_turn(struct host *h)
{
	if (!h->settings.pause_us) {
		sleep_us(TELL_MS * 1000);
		return;
	}
	sleep_us(h->settings.pause_us);
	for (uint32_t i = 0; i < h->settings.qpairs; i++) {
		if (h->io[i].qp)
			host_qpair_send_waiting(&h->io[i]);
	}
}

/* Commands flow on the target's threads; here time passes. */
static void load(struct host *h)
{
	struct figures begin, last, now;

	h->loading = true;
	for (uint32_t i = 0; i < h->settings.qpairs; i++)
		host_qpair_begin_load(&h->io[i]);
	while (h->filled < h->pieces && !one_is_over(h))
		sleep_us(FILL_LOOK_MS * 1000);
	fake_copies = h->settings.copies;
	begin = last = now = figures_now(h);
	while (!h->ending && !one_is_over(h)) {
		wait_a_turn(h);
		now = figures_now(h);
		if (h->settings.seconds && seconds_between(&begin.at, &now.at) >= (double)h->settings.seconds)
			h->ending = true;
		if (seconds_between(&last.at, &now.at) * 1000 < TELL_MS)
			continue;
		tell(h, &last, &now, stderr, false);
		last = now;
	}
	if (!h->ending)
		h->errors++; /* a connection was lost */
	h->ending = true;
	fputs("fake_verbs: the load ended: ", stderr);
	tell(h, &begin, &now, stderr, false);
	for (uint32_t i = 0; i < DRAIN_MS && is_busy(h); i++)
		sleep_us(1000);
	if (is_busy(h))
		h->errors++;
	hang_up(h);
	report(h, &begin, &now);
}

static void *run(void *arg)
{
	struct host *h = arg;
	bool ends;

	fake_lock();
	while (!all_io_are(h, HOST_READY))
		connect_more(h);
	load(h);
	h->ended = true;
	ends = h->settings.ends_process;
	fake_unlock();
	if (ends)
		kill(getpid(), SIGTERM);
	return NULL;
}

/* --- listeners -------------------------------------------------------------------------------------------------- */

static void begin(void)
{
	size_t stride, admin_stride = 4096;
	pthread_t thread;

	host = calloc(1, sizeof *host);
	if (!host)
		fake_fault("no memory for the host");
	host_settings_read(&host->settings);
	if (!host->settings.subnqn)
		return;
	stride = (host->settings.bytes + 4095) / 4096 * 4096;
	host_qpair_init(&host->admin, host, 0, HOST_ADMIN_DEPTH - 1, admin_stride);
	for (uint16_t i = 0; i < host->settings.qpairs; i++)
		host_qpair_init(&host->io[i], host, (uint16_t)(i + 1), (uint16_t)host->settings.depth, stride);
	if (pthread_create(&thread, NULL, run, host))
		fake_fault("no thread for the host");
	pthread_detach(thread);
}

void host_listener_came(struct rdma_cm_id *listener)
{
	if (!host)
		begin();
	if (!host->listener)
		host->listener = listener;
	host_changed();
}

void host_listener_gone(struct rdma_cm_id *listener)
{
	if (host && host->listener == listener)
		host->listener = NULL;
}
