/* SPDX-License-Identifier: BSD-3-Clause */
/* log.h: lines for people. An error is logged once, where it is dealt with.
 *
 * An I/O reactor never blocks on the log: its lines go through a bounded buffer that the control reactor
 * writes out; what does not fit is counted and said.
 */
#ifndef CORE_LOG_H
#define CORE_LOG_H

#include <stdatomic.h>

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
#define log_debug(...) do { if (unlikely(log_debugs())) log_debug_line(__FILE__, __VA_ARGS__); } while (0)

/* Debug lines of parts: a flag's are those of the files below its path, but for what a longer path names. Where they
 * stand for the same as SPDK's, names are SPDK's. */
/*   flag           path below src/ */
#define LOG_FLAGS(X) \
	X(reactor,         "core/") \
	X(thread,          "core/") \
	X(scheduler,       "core/sched") \
	X(steps,           "core/seq.c") \
	X(sock,            "net/") \
	X(rpc,             "rpc/") \
	X(bdev,            "bdev/") \
	X(aio,             "backends/aio/") \
	X(bdev_uring,      "backends/uring/") \
	X(bdev_file,       "backends/file/") \
	X(bdev_malloc,     "backends/malloc/") \
	X(bdev_null,       "backends/null/") \
	X(bdev_nvme,       "backends/remote/") \
	X(bdev_raid,       "backends/raid/") \
	X(virtio,          "backends/virtio/") \
	X(bdev_powercut,   "backends/powercut/") \
	X(vbdev_delay,     "backends/delay/") \
	X(vbdev_error,     "backends/error/") \
	X(vbdev_gpt,       "backends/gpt/") \
	X(vbdev_passthru,  "backends/passthru/") \
	X(vbdev_split,     "backends/split/") \
	X(nvme,            "nvme/") \
	X(nvmf,            "nvmf/") \
	X(nvmf_tcp,        "nvmf/tcp/") \
	X(rdma,            "nvmf/rdma/") \
	X(scsi,            "scsi/") \
	X(iscsi,           "iscsi/") \
	X(metrics,         "metrics/") \
	X(app,             "app/")
#define LOG_FLAG_ENUM(flag, path) LOG_FLAG_##flag,
enum log_flag { LOG_FLAGS(LOG_FLAG_ENUM) LOG_FLAG_COUNT };
_Static_assert(LOG_FLAG_COUNT < 64, "a bit each");
#define LOG_FLAGS_ALL UINT64_MAX
const char *log_flag_name(enum log_flag f);
/* Bits: of one, or all for "all"; 0: there is none of that name. */
uint64_t log_flag_parse(const char *name);
/* While any is set only they say which debug lines are written; else the level does. */
void log_set_flags(uint64_t flags);
uint64_t log_get_flags(void);

extern _Atomic bool log_debugging;          /* some debug lines are written */
static inline bool log_debugs(void) { return atomic_load_explicit(&log_debugging, memory_order_relaxed); }
void log_debug_line(const char *file, const char *fmt, ...) PRINTF(2, 3);

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
