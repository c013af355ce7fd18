/* SPDX-License-Identifier: BSD-3-Clause */
/* core.h: reactors and how work reaches them.
 *
 * A `struct core` is one daemon's set of threads: reactors for I/O, numbered from 0, and a control
 * reactor that runs the same loop but never I/O. A reactor owns what was made on it; others send it
 * messages. One pass of a reactor is
 *
 *     messages -> ready file descriptors -> due timers -> pollers -> lookers (core/look.h) -> deferred
 *     calls (until none is left or the budget is spent) -> end-of-pass calls (what gathered output
 *     sends now) -> versions
 *
 * and when a pass found nothing to do the reactor's mode decides: spin, sleep, or spin for a bounded
 * time that follows the observed gap between arrivals and then sleep. Everything that can happen to a
 * reactor wakes it: a message, a file descriptor, a timer. There is no periodic timer.
 *
 * The seam of the simulator runs below this header: core/os implements core/platform.h with threads,
 * epoll and clocks, core/sim with one thread, virtual time and one seed. Link one of them.
 */
#ifndef CORE_CORE_H
#define CORE_CORE_H

#include <stdatomic.h>

#include "base/base.h"
#include "base/err.h"
#include "base/list.h"
#include "base/ring.h"

#define CORE_REACTORS_MAX 64 /* I/O reactors of one daemon; the control reactor comes on top */

struct core;
struct reactor;

enum core_mode {
	CORE_ADAPTIVE,  /* spin a bounded time, then sleep */
	CORE_POLL,      /* never sleep */
	CORE_INTERRUPT, /* sleep at once */
	CORE_MODE_COUNT
};
const char *core_mode_name(enum core_mode mode); /* "adaptive", "poll", "interrupt" */

struct core_opts {
	const char *cpus;             /* "0x5", "[0,2-3]" or "0,2-3": one I/O reactor each; NULL: the first */
	enum core_mode mode;          /* of every I/O reactor at start; the control reactor always sleeps */
	uint64_t memory_bytes;        /* budget of all data buffers and slots; 0: 256 MiB */
	uint32_t spin_us_max;         /* adaptive: longest spin before sleep; 0: 50 */
	uint32_t stall_ms;            /* stall guard's limit; 0: 1000 */
	const char *topology_dir;     /* where memory nodes are told; NULL: the system's. For tests */
};

/* Make the reactors; threads start in core_run().
 * Core: none yet. Memory: freed by core_free(). Errors: sentence in `e`, NULL returned. */
struct core *core_make(const struct core_opts *opts, struct err *e);

/* Start all reactors and run the control reactor on the calling thread until core_stop().
 * `start` runs first, on the control reactor. Returns the code given to core_stop(). */
int core_run(struct core *core, void (*start)(void *arg), void *arg);

/* End core_run(): every reactor finishes its pass and its thread ends. Any thread of the core. */
void core_stop(struct core *core, int code);
void core_free(struct core *core);

/* What a daemon has one of, made by the first of several modules that need it, and found by them by name (static text):
 * embedded in it. Control. */
struct core_part {
	struct list link;
	const char *name;
};
void core_add_part(struct core *core, struct core_part *p, const char *name);
void core_remove_part(struct core *core, struct core_part *p);
struct core_part *core_find_part(const struct core *core, const char *name); /* NULL: nobody added it yet */
/* The same of a reactor: what its objects share (buffers, say), made by the first that needs it. It goes with the
 * reactor, by core_free(), after everything that uses it. Calling reactor only. */
struct reactor_part;
typedef void reactor_part_free_fn(struct reactor_part *p);
struct reactor_part {
	struct list link;
	const char *name;
	reactor_part_free_fn *free;
};
void reactor_add_part(struct reactor_part *p, const char *name, reactor_part_free_fn *free);
struct reactor_part *reactor_find_part(const char *name);

/* The reactor whose thread this is; NULL on a foreign thread. */
struct reactor *reactor_self(void);
struct core *reactor_core(const struct reactor *r);
struct reactor *core_reactor(struct core *core, uint32_t index); /* index < core_reactor_count() */
struct reactor *core_control(struct core *core);
uint32_t core_reactor_count(const struct core *core);            /* I/O reactors, control not counted */
uint32_t reactor_index(const struct reactor *r);                 /* control: core_reactor_count() */
uint32_t reactor_cpu(const struct reactor *r);                   /* the CPU it is pinned to; of several the first */
int reactor_node(const struct reactor *r);                       /* that CPU's memory node; -1: unknown */
int core_cpu_node(const struct core *core, uint32_t cpu);
/* Pin a reactor's thread to other CPUs than those it was started on. Memory it has stays where it is.
 *
 * Core: the reactor itself. Errors: not one of them may be used; nothing has changed. */
int reactor_pin(const uint32_t *cpus, uint32_t count) MUST_USE;
/* The CPUs it is pinned to; 0: none, it runs anywhere. Fills up to CORE_PINS_MAX. Calling reactor only. */
#define CORE_PINS_MAX 1024u
uint32_t reactor_pins(uint32_t *ret_cpus);
bool reactor_is_control(const struct reactor *r);

/* CPUs that a person named, as "0x5" or "5", a mask in hexadecimal, or as "[0,2-3]" or "0,2-3", a list; and as SPDK
 * writes them: a mask without 0x (heap). In the order of their numbers. Errors: about `field`. */
int core_parse_cpus(const char *field, const char *text, uint32_t max, uint32_t *ret_cpus, uint32_t *ret_count,
                    struct err *e) MUST_USE;
char *core_cpus_mask(const uint32_t *cpus, uint32_t count);
/* The I/O reactors on these CPUs, a bit each. */
uint64_t core_reactors_on(struct core *core, const uint32_t *cpus, uint32_t count);

/* Time of the current pass, monotonic; read once a pass. Only for the calling reactor. */
uint64_t reactor_now_ns(void);
/* Read the clock now: for measuring, not for deciding. */
uint64_t core_clock_ns(void);
/* How long the callback that runs has been running, in ticks of some length: to share a core's time out. */
uint64_t core_call_ticks(void);
/* Wall clock, microseconds since 1970. */
uint64_t core_wall_us(void);
/* Randomness of the whole daemon comes from here. */
void core_random(void *buf, size_t len);
uint64_t core_random_u64(void);

/* --- messages ------------------------------------------------------------------------------------
 * Embedded in the object that sends it; nothing is allocated, sending cannot fail. Order between one
 * pair of reactors is kept. A message must not be sent again before its function has been called. */
struct msg;
typedef void msg_fn(struct msg *m);
struct msg {
	struct mpsc_link link;
	msg_fn *fn;
};

/* Run m->fn on `to`, in a later pass. Any thread, foreign ones too; to the calling reactor as well. */
void msg_send(struct reactor *to, struct msg *m, msg_fn *fn);

/* Messages for one receiver, published together: one access to what others look at, and one wake-up. Zeroed is empty;
 * whoever sends it finds it empty again. */
struct msg_chain {
	struct mpsc_link *newest, *oldest;
	uint32_t count;
};
static inline void msg_chain_add(struct msg_chain *c, struct msg *m, msg_fn *fn)
{
	m->fn = fn;
	m->link.next = c->newest;
	c->newest = &m->link;
	if (!c->count++)
		c->oldest = &m->link;
}
void msg_send_chain(struct reactor *to, struct msg_chain *c);

/* Run `on_core` on every I/O reactor, then `done` on the calling one. */
struct each;
typedef void each_fn(struct each *e);
struct each {
	struct msg msgs[CORE_REACTORS_MAX];
	struct msg done_msg;
	struct reactor *from;
	_Atomic uint32_t left;
	each_fn *on_core, *done;
};
void each_core(struct each *e, struct core *core, each_fn *on_core, each_fn *done);

/* --- receivers -----------------------------------------------------------------------------------
 * Where messages of foreign threads arrive, for code that has threads of its own (a client library, say) and shall not
 * care: on a reactor, as with msg_send(); or on a dedicated thread, where functions may block, reactor_self() is NULL,
 * and nothing is polled. Order between one sender and one receiver is kept. */
struct receiver;
/* `on` NULL: a thread named `name`. Core: control. Errors: no thread could be had. */
struct receiver *receiver_make(struct core *core, struct reactor *on, const char *name, struct err *e);
/* Nobody sends any more. What was sent has been run when it returns, if it has a thread; a reactor runs it later.
 * Before core_free(). */
void receiver_free(struct receiver *r);
void receiver_send(struct receiver *r, struct msg *m, msg_fn *fn);
void receiver_send_chain(struct receiver *r, struct msg_chain *c);
struct receiver_stats {
	uint64_t messages, wakes, depth_max, age_max_ns; /* of a reactor: all of its messages */
};
void receiver_get_stats(struct receiver *r, struct receiver_stats *ret_stats);

/* --- deferred calls ------------------------------------------------------------------------------
 * Later in the same pass of the calling reactor. Scheduling one that is scheduled already does nothing. */
struct defer;
typedef void defer_fn(struct defer *d);
struct defer {
	struct queue_link link;
	defer_fn *fn;
	bool queued;
};
void defer_run(struct defer *d, defer_fn *fn);  /* in the deferred phase */
void defer_last(struct defer *d, defer_fn *fn); /* in the end-of-pass phase, once per pass */
void defer_cancel(struct defer *d);             /* its object goes; no effect when it is not scheduled */
/* For who is called for a ready descriptor and has scheduled much: all of it, the end-of-pass calls too, runs when it
 * returns, before the next descriptor has its turn; end-of-pass calls that those schedule wait for the pass's end. */
void defer_hurry(void);

/* --- timers --------------------------------------------------------------------------------------
 * Intrusive; equal deadlines run in the order in which they were started. Calling reactor only. */
struct timer;
typedef void timer_fn(struct timer *t);
struct timer {
	uint64_t deadline_ns, sequence;
	timer_fn *fn;
	struct timer *child, *next, *prev; /* a pairing heap's links */
	bool running;
};
void timer_start(struct timer *t, uint64_t delay_ns, timer_fn *fn); /* starts anew when running */
void timer_stop(struct timer *t);                                   /* no effect when not running */
static inline bool timer_is_running(const struct timer *t) { return t->running; }

/* --- file descriptors ----------------------------------------------------------------------------
 * Level triggered: a function that leaves work behind is called again in the next pass. net/ and
 * back-ends use these; engines never do. Calling reactor only. */
struct source;
typedef void source_fn(struct source *s, uint32_t events);
struct source {
	int fd;
	uint32_t events;       /* EPOLLIN, EPOLLOUT, ... as asked for */
	source_fn *fn;
	const char *name;      /* for "why awake": what kind of thing this is; static text */
	struct reactor *reactor;
	struct list link;
};
int source_start(struct source *s, int fd, uint32_t events, const char *name, source_fn *fn) MUST_USE;
void source_change(struct source *s, uint32_t events);
/* After return s->fn is not called again, also when its event was already collected in this pass. */
void source_stop(struct source *s);

/* --- pollers -------------------------------------------------------------------------------------
 * For a device that can only be polled: a defect with a name, shown by thread_get_pollers. A started
 * poller keeps its reactor awake in every mode. Returns how much work it did. */
struct poller;
typedef uint32_t poller_fn(struct poller *p);
struct poller {
	poller_fn *fn;
	const char *name;
	uint64_t runs, busy_runs;
	struct list link;
};
void poller_start(struct poller *p, const char *name, poller_fn *fn);
void poller_stop(struct poller *p);

/* --- jobs ----------------------------------------------------------------------------------------
 * What may block (name resolution, open, fallocate, key files) runs on a helper thread; `done` runs
 * on the reactor that started it. The simulator runs jobs after a delay it draws. */
struct job;
typedef void job_fn(struct job *j);
struct job {
	struct msg msg;
	struct queue_link link;
	struct reactor *from;
	job_fn *work, *done;
};
void job_start(struct job *j, job_fn *work, job_fn *done);

/* --- modes and accounts --------------------------------------------------------------------------*/
void reactor_set_mode(struct reactor *r, enum core_mode mode); /* any thread; at the next pass */
enum core_mode reactor_mode(const struct reactor *r);
/* Let it sleep at once whatever its mode, and end that again: for who knows that nothing lives on it. Control. */
void reactor_park(struct reactor *r, bool parked);
bool reactor_is_parked(const struct reactor *r);

/* Why a reactor was awake. Read from any thread; values may be a pass old. */
struct reactor_stats {
	uint64_t passes, busy_passes;          /* passes in all; passes that found work */
	uint64_t busy_ns, idle_ns, sleep_ns;   /* time in busy passes, in empty ones, asleep */
	uint64_t sleeps;                       /* times it went to sleep */
	uint64_t wakes_message, wakes_fd, wakes_timer; /* what ended those sleeps */
	uint64_t messages, fd_events, timers, polls_busy, defers;
	uint64_t looks_busy;                   /* passes in which lookers (core/look.h) found work */
	uint64_t arms, arms_in_vain;           /* lookers armed; of those, something was there after all */
	uint64_t asks_saved;                   /* passes that did not ask for ready descriptors, because lookers look */
	uint64_t message_depth;                /* messages of other reactors that wait now; foreign ones count as one */
	uint64_t message_depth_max;            /* high-water mark of what one sender, or all foreign ones, had waiting */
	uint64_t message_age_ns;               /* how long the oldest that waits now has waited (sampled) */
	uint64_t message_age_max_ns;           /* oldest message ever seen when taken (sampled) */
	uint64_t longest_ns;                   /* longest single callback */
	const char *longest_name;              /* its name; static text or a resolved symbol */
	uint64_t longest_cpu_ns;               /* the most CPU time of its thread that one used; up to 0.25 ms too much */
	const char *longest_cpu_name;
	uint64_t stalls;                       /* times the stall guard had to speak */
	uint64_t cpu_ns;                       /* CPU time of its thread */
};
void reactor_get_stats(struct reactor *r, struct reactor_stats *ret_stats);

/* List a reactor's pollers and sources by name, on that reactor: for thread_get_pollers and "why awake". */
void reactor_visit_pollers(void (*visit)(const struct poller *p, void *arg), void *arg);
void reactor_visit_sources(void (*visit)(const struct source *s, void *arg), void *arg);

#endif
