/* SPDX-License-Identifier: BSD-3-Clause */
/* reactor.h: what is inside a reactor and a core. Private to core, core/os and core/sim.
 *
 * core/os calls reactor_loop_once() on a thread per reactor. core/sim has one thread: it asks who has
 * something to do (reactor_has_work, reactor_deadline) and calls reactor_pass(); nothing here sleeps
 * or reads a clock but through platform.h.
 */
#ifndef CORE_REACTOR_H
#define CORE_REACTOR_H

#include "core/core.h"
#include "core/platform.h"

#define REACTOR_RING_SLOTS 1024u  /* messages in flight between one pair; more wait at the sender */
#define REACTOR_DEFER_BUDGET 4096u /* deferred calls of one pass; the next pass comes at once then */

/* First in, first out, linked through the messages. */
struct msg_queue {
	struct mpsc_link *first, **last;
};

/* What one reactor sends to another one: the sender's private side of the receiver's inbox. */
struct outbox {
	uint32_t tail;             /* of the ring, published to the receiver now and then */
	uint32_t unpublished;
	struct msg_queue overflow; /* sent while the ring was full */
};

/* What one reactor receives from another one. */
struct inbox {
	struct spsc ring;
	CACHE_ALIGNED _Atomic uint64_t sampled_ns; /* when a message was sent whose age the receiver shall note */
};

/* Spin or sleep; pace.c's state. */
struct pace {
	uint64_t idle_since_ns;  /* first empty pass since there was work; 0: the last pass had work */
	uint64_t gap_ewma_ns;    /* smoothed length of the gaps between arrivals */
};

struct reactor {
	/* set once */
	struct core *core;
	struct platform_reactor *pr;
	uint32_t index;
	_Atomic uint32_t cpu;                    /* changed by reactor_pin() only */
	bool is_control;

	/* others write */
	CACHE_ALIGNED _Atomic uint32_t sleeping; /* seq_cst with the re-check in reactor_may_sleep() */
	_Atomic uint32_t mode_wanted, mode_asked; /* asked for, and what is done while it is parked */
	_Atomic bool parked;
	CACHE_ALIGNED struct mpsc foreign;       /* messages from threads that are no reactor of this core */
	_Atomic uint64_t foreign_since_ns;       /* when one was sent whose age shall be noted */

	/* own */
	CACHE_ALIGNED uint64_t now_ns;
	enum core_mode mode;
	bool more;                               /* a budget ran out: no sleep before the next pass */
	bool hurry;                              /* what is scheduled runs before the next descriptor's turn */
	uint8_t asked_in_vain;                   /* for descriptors, after a pass with work, when it was to sleep */
	struct inbox *in;                        /* [from]: core->count + 1 of them */
	struct outbox *out;                      /* [to] */
	uint32_t overflows;                      /* how many outboxes have overflow */
	uint64_t out_new[2], out_dirty[2];       /* bit per receiver: something to publish; to look at, whether it sleeps */
	struct msg_queue own;                    /* messages to itself */
	struct mpsc_link *foreign_left;          /* taken from `foreign`, over the budget of a pass */
	struct queue defers, lasts, ends;        /* ends: versions, after the end-of-pass calls */
	struct queue lasts_late;                 /* scheduled while somebody hurried, for the end of this pass */
	struct queue lasts_now;                  /* taken from lasts or ends, to run in this pass */
	struct timer *timers;                    /* root of a pairing heap */
	uint64_t timer_sequence;
	struct list pollers, sources;
	struct poller *poller_running;           /* NULL once it stopped itself */
	uint32_t poller_count, source_count;
	uint32_t looker_count;                   /* looked at */
	bool lookers_doze;                       /* some are in `dozing` */
	struct pace pace;
	uint64_t pass_began_ns, slept_ns;        /* slept_ns: within this pass */
	bool pass_was_busy;

	/* its lookers (look.c), and what it does about descriptors while it has some */
	struct list lookers, dozing, armed;
	struct looker *looker_running;           /* NULL once it stopped itself */
	uint64_t looker_quiet_ns, sources_asked_ns;
	bool sources_found;                      /* when they were asked last */
	uint32_t bell_count;                     /* of the sources */

	/* what runs now, for the stall guard; and accounts. Written by the owner, read by anyone (relaxed). */
	CACHE_ALIGNED struct reactor_stats stats;
	void *running_fn;                        /* NULL between callbacks */
	const char *running_name;
	void *longest_fn;
	uint64_t ticks, longest_ticks;           /* ticks: when the running callback began */
	uint64_t cpu_ns, cpu_ticks, look_ticks;  /* CPU time at cpu_ticks; looked at again look_ticks later */
	void *longest_cpu_fn;

	struct mem_pool *mem;                    /* mem.c */
	struct log_buffer *log;                  /* log.c */
	struct trace_ring *trace;                /* trace.c */
	struct watch_list *watch;                /* watch.c */
	uint32_t *pins;                          /* own; NULL: `cpu` alone, control: none */
	uint32_t pin_count;
	struct sched_notice {                    /* sched.c: how busy it is while the scheduler sleeps */
		struct msg msg;
		_Atomic bool out;                /* msg is on its way */
		uint32_t watch;                  /* which nap of the scheduler the rest is about */
		uint64_t since_ns, busy_ns;
	} notice;
	struct waits *waits;                     /* waits.c */
	struct list parts;                       /* reactor_add_part() */
};

struct core {
	struct core_opts opts;                   /* with the defaults filled in; cpus is not kept */
	struct platform *platform;
	uint32_t count;                          /* I/O reactors; reactors[count] is control */
	struct reactor *reactors[CORE_REACTORS_MAX + 1];
	_Atomic bool stopping;
	_Atomic int code;
	void (*start)(void *arg);
	void *start_arg;
	struct msg start_msg;
	struct mem *mem;
	_Atomic uint64_t watch_limit_ns, watch_stuck;
	struct topology topology;
	struct sched *sched;
	_Atomic uint32_t sched_watch;            /* the scheduler sleeps: who becomes busy tells it; 0: it does not */
	_Atomic uint64_t sched_period_ns;
	struct notify_hub *notify;               /* notify.c */
	struct list parts;                       /* core_add_part() */
	struct trace_sharer *trace_sharer;       /* trace.c */
	bool trace_is_shared;                    /* the reactors' rings are the sharer's */
	/* core/sim: may messages from `from` be taken in this pass? NULL: always. */
	bool (*msg_gate)(struct reactor *to, uint32_t from);
};

/* The reactor whose code runs on this thread. core/os sets it once per thread; core/sim around each pass. It lies in a
 * program, not in a library: to say so saves two of three instructions each time, and keeps registers. */
extern _Thread_local struct reactor *reactor_current __attribute__((tls_model("local-exec")));

/* One pass that never waits: messages, descriptors, due timers, pollers, deferred, end of pass, versions.
 * Sets and restores reactor_current. Returns whether there was any work. */
bool reactor_pass(struct reactor *r);
/* Could a pass now do something, due timers apart? */
bool reactor_has_work(const struct reactor *r);
/* Deadline of the earliest timer; UINT64_MAX without one. */
uint64_t reactor_deadline(const struct reactor *r);

/* core/os: one pass, which may sleep as the mode says. */
void reactor_loop_once(struct reactor *r);
/* Called by platform_poll() after it has slept and before it dispatches: reads the clock, is awake again. */
void reactor_woke(struct reactor *r);
/* Called by platform_poll() for each ready descriptor. */
void reactor_source_ready(struct reactor *r, struct source *s, uint32_t events);
/* The same for what is no descriptor: called when the function of what was ready has returned. */
void reactor_source_ran(struct reactor *r);
/* Called by a platform when job->work has returned, from any thread: sends `done` home. */
void reactor_job_worked(struct job *j);
static inline bool core_stopping(struct core *core) { return atomic_load(&core->stopping); }

/* Parts of the pass, in their own files; each returns how much it did. */
uint32_t msg_run(struct reactor *r);
/* Any thread: how many wait, and since when. */
void msg_waiting(const struct reactor *r, uint64_t now_ns, uint64_t *ret_depth, uint64_t *ret_age_ns);
void msg_publish(struct reactor *r);          /* let receivers see what was sent so far: at the end of a phase */
void msg_flush(struct reactor *r);            /* end of pass: overflow too, and wake who sleeps */
bool msg_pending(const struct reactor *r);    /* cheap look, for spinning */
bool msg_pending_sc(struct reactor *r);       /* sequentially consistent, after `sleeping` was set */
void msg_init(struct reactor *r);
void msg_fini(struct reactor *r);
uint32_t timer_run_due(struct reactor *r);
uint32_t look_run(struct reactor *r);
/* Before it says that it sleeps: arms all; false: one of them has found something. */
bool look_may_sleep(struct reactor *r);
void look_mode_changed(struct reactor *r);
/* From a signal's handler, on any thread: the message stays until it ran. */
void msg_send_from_signal(struct reactor *to, struct msg *m, msg_fn *fn);
/* After the end-of-pass calls of this pass. */
void defer_end(struct defer *d, defer_fn *fn);

/* Spin or sleep (pace.c). A pass found work, or none. */
void pace_worked(struct pace *p, uint64_t now_ns, uint64_t spin_ns_max);
void pace_idle(struct pace *p, uint64_t now_ns);
/* Has it been idle for long enough to sleep? */
bool pace_may_sleep(const struct pace *p, uint64_t now_ns, uint64_t spin_ns_max);

/* "0x5", "5": a mask in hexadecimal; "[0,2-3]", "0,2-3": a list. In the order of their numbers, without
 * repetition; fills up to CORE_REACTORS_MAX (cpus.c). */
int cpus_parse(const char *text, uint32_t *ret_cpus, uint32_t *ret_count, struct err *e) MUST_USE;

void core_prefer_node(struct core *core, int node); /* no effect where there is one node */
int mem_init(struct core *core, struct err *e);
void mem_fini(struct core *core);
void log_core_fini(struct reactor *r);
void trace_fini(struct reactor *r);
void watch_fini(struct reactor *r);
void sched_fini(struct core *core);
void sched_notice(struct reactor *r, uint32_t watch);
void waits_fini(struct reactor *r);
void notify_init(struct core *core);
void notify_fini(struct core *core);

/* Accounts: one writer, any reader. */
static inline void stat_add(uint64_t *v, uint64_t n)
{
	__atomic_store_n(v, __atomic_load_n(v, __ATOMIC_RELAXED) + n, __ATOMIC_RELAXED);
}
static inline void stat_max(uint64_t *v, uint64_t n)
{
	if (n > __atomic_load_n(v, __ATOMIC_RELAXED))
		__atomic_store_n(v, n, __ATOMIC_RELAXED);
}
static inline uint64_t stat_get(const uint64_t *v) { return __atomic_load_n(v, __ATOMIC_RELAXED); }

/* Around every callback: what runs, for the stall guard; how long it took, for the account. A phase begins with
 * calls_begin(); the end of one callback is the begin of the next one. */
void call_was_longest(struct reactor *r, void *fn, const char *name, uint64_t ticks);
/* A callback that took `ticks` has ended, or (fn NULL) one is about to begin. */
void call_cpu_look(struct reactor *r, void *fn, const char *name, uint64_t ticks);
static inline void calls_begin(struct reactor *r)
{
	r->ticks = platform_ticks();
	if (unlikely(r->ticks - r->cpu_ticks >= r->look_ticks))
		call_cpu_look(r, NULL, NULL, 0);
}
static inline void call_runs(struct reactor *r, void *fn, const char *name)
{
	__atomic_store_n(&r->running_fn, fn, __ATOMIC_RELAXED);
	__atomic_store_n(&r->running_name, name, __ATOMIC_RELAXED);
}
static inline void call_ran(struct reactor *r, void *fn, const char *name)
{
	uint64_t now = platform_ticks(), ticks = now - r->ticks;

	r->ticks = now;
	if (unlikely(ticks > r->longest_ticks))
		call_was_longest(r, fn, name, ticks);
	if (unlikely(now - r->cpu_ticks >= r->look_ticks))
		call_cpu_look(r, fn, name, ticks);
}

static inline void msg_queue_init(struct msg_queue *q) { q->first = NULL; q->last = &q->first; }
static inline void msg_queue_push(struct msg_queue *q, struct msg *m)
{
	m->link.next = NULL;
	*q->last = &m->link;
	q->last = &m->link.next;
}

#endif
