/* SPDX-License-Identifier: BSD-3-Clause */
/* log.h: lines for people. An error is logged once, where it is dealt with.
 *
 * An I/O reactor never blocks on the log: its lines go through a bounded buffer that the control reactor
 * writes out; what does not fit is counted and said.
 */
#ifndef CORE_LOG_H
#define CORE_LOG_H

#include "base/base.h"

/* level name, SPDK's spelling */
#define LOG_LEVELS(X) X(ERROR) X(WARNING) X(NOTICE) X(INFO) X(DEBUG)
#define LOG_LEVEL_ENUM(name) LOG_##name,
enum log_level { LOG_LEVELS(LOG_LEVEL_ENUM) LOG_LEVEL_COUNT };

void log_line(enum log_level level, const char *fmt, ...) PRINTF(2, 3);
#define log_error(...) log_line(LOG_ERROR, __VA_ARGS__)
#define log_warning(...) log_line(LOG_WARNING, __VA_ARGS__)
#define log_notice(...) log_line(LOG_NOTICE, __VA_ARGS__)
#define log_info(...) log_line(LOG_INFO, __VA_ARGS__)
#define log_debug(...) do { if (unlikely(log_enabled(LOG_DEBUG))) log_line(LOG_DEBUG, __VA_ARGS__); } while (0)

bool log_enabled(enum log_level level);
void log_set_level(enum log_level level);   /* default NOTICE */
enum log_level log_get_level(void);
/* Whether lines begin with the time; they do by default. */
void log_set_timestamps(bool on);
const char *log_level_name(enum log_level level);
bool log_level_parse(const char *name, enum log_level *ret_level); /* any case */
/* Repeated trouble from one place: at most one line a second per `struct log_limit`, with a count. */
struct log_limit {
	uint64_t last_ns, dropped;
};
bool log_may(struct log_limit *l);

#endif
