/* SPDX-License-Identifier: BSD-3-Clause */
/* log.c: lines to standard error; an I/O reactor's lines through a buffer that control writes out. */
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
#define BUFFER_BYTES 32768u /* of one reactor's lines on their way; a power of two */

/* One producer, its reactor; one consumer, control. */
struct log_buffer {
	struct msg msg;
	_Atomic bool sent;              /* msg is on its way */
	_Atomic uint32_t head, tail;
	_Atomic uint64_t dropped;       /* lines that did not fit */
	char bytes[BUFFER_BYTES];
};

static _Atomic int level_now = LOG_NOTICE;
static const char *const level_names[] = {
#define LOG_LEVEL_NAME(name) #name,
	LOG_LEVELS(LOG_LEVEL_NAME)
};

static size_t line_make(char *line, size_t size, enum log_level level, const char *fmt, va_list ap) PRINTF(4, 0);
static void write_out(const char *line, size_t len);
static void buffer_add(struct reactor *r, const char *line, size_t len);

void log_line(enum log_level level, const char *fmt, ...)
{
	struct reactor *r = reactor_current;
	char line[LINE_MAX_BYTES];
	va_list ap;
	size_t len;

	if (!log_enabled(level))
		return;
	va_start(ap, fmt);
	len = line_make(line, sizeof(line), level, fmt, ap);
	va_end(ap);
	if (r && !r->is_control)
		buffer_add(r, line, len);
	else
		write_out(line, len);
}

static size_t line_make(char *line, size_t size, enum log_level level, const char *fmt, va_list ap)
{
	uint64_t us = platform_wall_us();
	time_t seconds = (time_t)(us / 1000000);
	struct text t = text_over(line, size - 1); /* room for the newline */
	struct tm tm;

	gmtime_r(&seconds, &tm);
	text_add(&t, "[%04d-%02d-%02dT%02d:%02d:%02d.%06uZ] %s: ", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday,
	         tm.tm_hour, tm.tm_min, tm.tm_sec, (unsigned)(us % 1000000), level_names[level]);
	text_vadd(&t, fmt, ap);
	if (t.cut)
		text_end_with(&t, "...");
	line[t.len] = '\n';
	return t.len + 1;
}

static void write_out(const char *line, size_t len)
{
	while (len) {
		ssize_t n = write(STDERR_FILENO, line, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return; /* nobody reads; there is nowhere to say so */
		line += n;
		len -= (size_t)n;
	}
}

/* --- the buffer of an I/O reactor ---------------------------------------------------------------- */

static void drain_on_control(struct msg *m);

static void buffer_add(struct reactor *r, const char *line, size_t len)
{
	struct log_buffer *b = r->log ? r->log : (r->log = base_zalloc(sizeof(*b)));
	uint32_t tail = atomic_load_explicit(&b->tail, memory_order_relaxed);

	if (BUFFER_BYTES - (tail - atomic_load_explicit(&b->head, memory_order_acquire)) < len) {
		atomic_fetch_add(&b->dropped, 1);
	} else {
		for (size_t i = 0; i < len; i++)
			b->bytes[(tail + i) % BUFFER_BYTES] = line[i];
		atomic_store_explicit(&b->tail, tail + (uint32_t)len, memory_order_release);
	}
	if (!atomic_exchange(&b->sent, true))
		msg_send(core_control(r->core), &b->msg, drain_on_control);
}

static void drain(struct log_buffer *b)
{
	uint32_t head = atomic_load_explicit(&b->head, memory_order_relaxed);
	uint32_t tail = atomic_load_explicit(&b->tail, memory_order_acquire);
	uint64_t dropped = atomic_exchange(&b->dropped, 0);

	while (head != tail) {
		uint32_t at = head % BUFFER_BYTES, len = min_u32(tail - head, BUFFER_BYTES - at);

		write_out(&b->bytes[at], len);
		head += len;
		atomic_store_explicit(&b->head, head, memory_order_release);
	}
	if (dropped)
		log_warning("%llu lines of a reactor were lost: they came faster than they could be written",
		            (unsigned long long)dropped);
}

static void drain_on_control(struct msg *m)
{
	struct log_buffer *b = container_of(m, struct log_buffer, msg);

	atomic_store(&b->sent, false); /* from here on it may be sent again, for what comes after the drain */
	drain(b);
}

void log_core_fini(struct reactor *r)
{
	if (r->log)
		drain(r->log);
	free(r->log);
}

/* --- levels -------------------------------------------------------------------------------------- */

bool log_enabled(enum log_level level)
{
	return (int)level <= atomic_load_explicit(&level_now, memory_order_relaxed);
}

void log_set_level(enum log_level level) { atomic_store(&level_now, level); }
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
