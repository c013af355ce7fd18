/* SPDX-License-Identifier: BSD-3-Clause */
/* watch.h: the stuck-I/O watchdog.
 *
 * What holds I/O registers a watch on its reactor: a function that names every request older than a
 * limit and the stage in which it waits. The watchdog asks only while something is outstanding (no
 * periodic timer while idle): who starts an I/O when none was outstanding arms it.
 */
#ifndef CORE_WATCH_H
#define CORE_WATCH_H

#include "core/core.h"

/* Until watch_set_limit(). A Linux host gives up after 30 s and disconnects; then there is nothing left to be named. */
#define WATCH_LIMIT_NS (10 * NS_PER_S)

struct watch;
/* Say each overdue request through watch_report(); return true while anything is outstanding. */
typedef bool watch_fn(struct watch *w, uint64_t now_ns, uint64_t limit_ns);
struct watch {
	struct list link;
	watch_fn *fn;
	const char *name;
	bool armed;
};
void watch_start(struct watch *w, const char *name, watch_fn *fn); /* calling reactor */
void watch_stop(struct watch *w);
/* Cheap: call when an I/O starts. */
void watch_arm_slow(struct watch *w);
static inline void watch_arm(struct watch *w) { if (unlikely(!w->armed)) watch_arm_slow(w); }
/* From within watch_fn: one count, kept for the RPC; the first of a look are in the log and among the notifications. */
void watch_report(struct watch *w, uint64_t age_ns, const char *fmt, ...) PRINTF(3, 4);
void watch_set_limit(struct core *core, uint64_t limit_ns);
uint64_t watch_get_limit(struct core *core);
uint64_t watch_stuck_count(struct core *core);
/* The last reports of the calling reactor, oldest first. */
struct watch_note {
	uint64_t at_ns, age_ns;
	const char *watch;
	char text[192];
};
void watch_visit_notes(void (*visit)(const struct watch_note *n, void *arg), void *arg);

#endif
