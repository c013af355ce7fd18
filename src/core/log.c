/* SPDX-License-Identifier: BSD-3-Clause */
/* log.c: lines to standard error, by way of a buffer of each reactor that control writes out.
 *
 * Nobody waits for who reads standard error: what it does not take stays in the buffers, and is written when it takes
 * more; what does not fit into them is counted and said. A thread that is no reactor's waits a moment.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

#include "base/text.h"
#include "core/log.h"
#include "core/reactor.h"

#define LINE_MAX_BYTES 1024
#define WAIT_MS 100 /* for standard error, of threads that are no reactor's */
#define BUFFER_BYTES 32768u /* of one reactor's lines on their way; a power of two */

/* One producer, its reactor; one consumer, control. */
struct log_buffer {
	struct msg msg;
	_Atomic bool sent;              /* msg is on its way */
	_Atomic uint32_t head, tail;
	_Atomic uint64_t dropped;       /* lines that did not fit */
	bool known;                     /* to control, which owns the rest */
	struct log_buffer *next;        /* control's: the first one that is known; of the others: the next */
	struct source full;             /* control's: standard error takes no more at present */
	bool waits;
	char bytes[BUFFER_BYTES];
};

static _Atomic int level_now = LOG_NOTICE;
static _Atomic uint64_t flags_now;
_Atomic bool log_debugging;
static _Atomic bool timestamps = true;
static const char *const level_names[] = {
#define LOG_LEVEL_NAME(name) #name,
	LOG_LEVELS(LOG_LEVEL_NAME)
};

static void write_line(enum log_level level, const char *fmt, va_list ap) PRINTF(2, 0);
static bool wants_debug(const char *file);
static size_t line_make(char *line, size_t size, enum log_level level, const char *fmt, va_list ap) PRINTF(4, 0);
static void buffer_add(struct reactor *r, const char *line, size_t len);

void log_line(enum log_level level, const char *fmt, ...)
{
	va_list ap;

	if (!log_enabled(level))
		return;
	va_start(ap, fmt);
	write_line(level, fmt, ap);
	va_end(ap);
}

void log_debug_line(const char *file, const char *fmt, ...)
{
	va_list ap;

	if (!wants_debug(file))
		return;
	va_start(ap, fmt);
	write_line(LOG_DEBUG, fmt, ap);
	va_end(ap);
}

static void write_line(enum log_level level, const char *fmt, va_list ap)
{
	struct reactor *r = reactor_current;
	char line[LINE_MAX_BYTES];
	size_t len = line_make(line, sizeof(line), level, fmt, ap);

	if (r && !platform_log_direct())
		buffer_add(r, line, len);
	else
		platform_log(line, len, WAIT_MS);
}

static size_t line_make(char *line, size_t size, enum log_level level, const char *fmt, va_list ap)
{
	uint64_t us = platform_wall_us();
	time_t seconds = (time_t)(us / 1000000);
	struct text t = text_over(line, size - 1); /* room for the newline */
	struct tm tm;

	gmtime_r(&seconds, &tm);
	if (atomic_load_explicit(&timestamps, memory_order_relaxed))
		text_add(&t, "[%04d-%02d-%02dT%02d:%02d:%02d.%06uZ] ", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour,
		         tm.tm_min, tm.tm_sec, (unsigned)(us % 1000000));
	text_add(&t, "%s: ", level_names[level]);
	text_vadd(&t, fmt, ap);
	if (t.cut)
		text_end_with(&t, "...");
	line[t.len] = '\n';
	return t.len + 1;
}

static size_t PRINTF(4, 5) make(char *line, size_t size, enum log_level level, const char *fmt, ...)
{
	va_list ap;
	size_t len;

	va_start(ap, fmt);
	len = line_make(line, size, level, fmt, ap);
	va_end(ap);
	return len;
}

/* --- the buffer of an I/O reactor ---------------------------------------------------------------- */

static void drain_on_control(struct msg *m);
static void drain_all(struct core *core);
static bool drain(struct log_buffer *b, int wait_ms);
static void wait_for_stderr(struct reactor *control);
static void takes_more(struct source *s, uint32_t events);

static size_t lost_line(char *line, size_t size, uint64_t lost)
{
	return make(line, size, LOG_WARNING, "%llu lines of a reactor were lost: they came faster than they could be "
	            "written", (unsigned long long)lost);
}

static struct log_buffer *buffer_of(struct reactor *r)
{
	return r->log ? r->log : (r->log = base_zalloc(sizeof(*r->log)));
}

static void buffer_add(struct reactor *r, const char *line, size_t len)
{
	struct log_buffer *b = buffer_of(r);
	uint32_t tail = atomic_load_explicit(&b->tail, memory_order_relaxed);

	if (BUFFER_BYTES - (tail - atomic_load_explicit(&b->head, memory_order_acquire)) < len) {
		atomic_fetch_add(&b->dropped, 1);
	} else {
		for (size_t i = 0; i < len; i++)
			b->bytes[(tail + i) % BUFFER_BYTES] = line[i];
		atomic_store_explicit(&b->tail, tail + (uint32_t)len, memory_order_release);
	}
	if (r->is_control)
		drain_all(r->core);
	else if (!atomic_exchange(&b->sent, true))
		msg_send(core_control(r->core), &b->msg, drain_on_control);
}

static void drain_on_control(struct msg *m)
{
	struct log_buffer *b = container_of(m, struct log_buffer, msg);

	atomic_store(&b->sent, false); /* from here on it may be sent again, for what comes after the drain */
	if (!b->known) {
		struct log_buffer *own = buffer_of(reactor_current);

		b->known = true;
		b->next = own->next;
		own->next = b;
	}
	drain_all(reactor_current->core);
}

/* Control's first: that is how it has always been read. */
static void drain_all(struct core *core)
{
	struct reactor *control = core_control(core);

	if (buffer_of(control)->waits)
		return;
	for (struct log_buffer *b = control->log; b; b = b->next) {
		if (drain(b, 0))
			continue;
		wait_for_stderr(control);
		return;
	}
}

/* False: it does not take all. */
static bool drain(struct log_buffer *b, int wait_ms)
{
	uint32_t head = atomic_load_explicit(&b->head, memory_order_relaxed);
	uint32_t tail = atomic_load_explicit(&b->tail, memory_order_acquire);
	uint64_t dropped;
	char line[256];

	while (head != tail) {
		uint32_t at = head % BUFFER_BYTES, len = min_u32(tail - head, BUFFER_BYTES - at);
		size_t n = platform_log(&b->bytes[at], len, wait_ms);

		head += (uint32_t)n;
		atomic_store_explicit(&b->head, head, memory_order_release);
		if (n < len)
			return false;
	}
	dropped = atomic_exchange(&b->dropped, 0);
	if (dropped) {
		size_t len = lost_line(line, sizeof(line), dropped);

		if (!platform_log(line, len, wait_ms))
			atomic_fetch_add(&b->dropped, dropped);
	}
	return true;
}

static void wait_for_stderr(struct reactor *control)
{
	struct log_buffer *b = control->log;

	b->waits = platform_log_wait(&b->full, takes_more) == 0;
}

static void takes_more(struct source *s, uint32_t events)
{
	container_of(s, struct log_buffer, full)->waits = false;
	source_stop(s);
	drain_all(reactor_current->core);
}

void log_core_fini(struct reactor *r)
{
	if (r->log)
		drain(r->log, WAIT_MS);
	free(r->log);
}

/* --- flags --------------------------------------------------------------------------------------- */

#define LOG_FLAG_ROW(flag, path) { #flag, path },
static const struct { const char *name, *path; } flags[] = { LOG_FLAGS(LOG_FLAG_ROW) };

static bool wants_debug(const char *file)
{
	uint64_t on = atomic_load_explicit(&flags_now, memory_order_relaxed), mine = 0;
	const char *src = strstr(file, "src/");
	size_t longest = 0;

	if (!on || on == LOG_FLAGS_ALL)
		return on || log_enabled(LOG_DEBUG);
	for (uint32_t f = 0; src && f < LOG_FLAG_COUNT; f++) {
		size_t len = strlen(flags[f].path);

		if (len < longest || strncmp(src + 4, flags[f].path, len) != 0)
			continue;
		mine = (len > longest ? 0 : mine) | 1ull << f;
		longest = len;
	}
	return on & mine;
}

const char *log_flag_name(enum log_flag f) { return flags[f].name; }

uint64_t log_flag_parse(const char *name)
{
	for (uint32_t f = 0; f < LOG_FLAG_COUNT; f++)
		if (strcasecmp(name, flags[f].name) == 0)
			return 1ull << f;
	return strcasecmp(name, "all") == 0 ? LOG_FLAGS_ALL : 0;
}

static void debugging_set(void)
{
	atomic_store(&log_debugging, atomic_load(&flags_now) || log_enabled(LOG_DEBUG));
}

void log_set_flags(uint64_t on)
{
	atomic_store(&flags_now, on);
	debugging_set();
}

uint64_t log_get_flags(void) { return atomic_load(&flags_now); }

/* --- levels -------------------------------------------------------------------------------------- */

bool log_enabled(enum log_level level)
{
	return (int)level <= atomic_load_explicit(&level_now, memory_order_relaxed);
}

void log_set_timestamps(bool on) { atomic_store(&timestamps, on); }

void log_set_level(enum log_level level)
{
	atomic_store(&level_now, level);
	debugging_set();
}

enum log_level log_get_level(void) { return (enum log_level)atomic_load(&level_now); }
const char *log_level_name(enum log_level level) { return level_names[level]; }

bool log_level_parse(const char *name, enum log_level *ret_level)
{
	for (int i = 0; i < LOG_LEVEL_COUNT; i++) {
		if (strcasecmp(name, level_names[i]) == 0) {
			*ret_level = (enum log_level)i;
			return true;
		}
	}
	return false;
}

bool log_may(struct log_limit *l)
{
	uint64_t now = reactor_current ? reactor_current->now_ns : platform_now_ns();

	if (l->last_ns && now - l->last_ns < NS_PER_S) {
		l->dropped++;
		return false;
	}
	if (l->dropped)
		log_notice("%llu lines like the next one were left out", (unsigned long long)l->dropped);
	l->last_ns = now ? now : 1;
	l->dropped = 0;
	return true;
}
