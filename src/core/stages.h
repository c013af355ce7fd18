/* SPDX-License-Identifier: BSD-3-Clause */
/* stages.h: where the time of commands goes, for targets of any protocol, and which commands were slow.
 *
 *     receive    from the first byte of the command until all its data was there, less
 *     wait       its time in lines: for buffers, for its turn, and in the waist for contexts, locks, QoS
 *     back-end   from execution until the device has answered, less its waits
 *     send       until the last byte of the answer was handed on
 *
 * Time is that of the pass, so that what begins and ends in one pass took none, and costs one count. What is counted
 * for whom is the protocol's: here are counts, what is told apart by name within limits, and the flight recorder: the
 * last slow commands, and the slowest of each second, with the names that they had.
 */
#ifndef CORE_STAGES_H
#define CORE_STAGES_H

#include "base/list.h"
#include "core/core.h"

/*   stage    name        what passes meanwhile */
#define STAGES(X) \
	X(RECEIVE, "receive",  "the command and its data come in") \
	X(WAIT,    "wait",     "in line for buffers, a turn, a context, a lock or QoS") \
	X(BACKEND, "backend",  "the device works") \
	X(SEND,    "send",     "the answer is handed on")
#define STAGE_ENUM(stage, name, doc) STAGE_##stage,
enum stage { STAGES(STAGE_ENUM) STAGE_COUNT };
const char *stage_name(enum stage stage);

enum stage_kind { STAGE_KIND_READ, STAGE_KIND_WRITE, STAGE_KIND_OTHER, STAGE_KIND_COUNT };
const char *stage_kind_name(enum stage_kind kind);

#define STAGE_UNIT_BITS 10u           /* times that protocols keep in 32 bits are in units of 1024 ns */

/* Bucket i holds what took less than 1024 ns << i; the last one all the rest. */
#define STAGE_BUCKETS 24u

struct stage_counts {
	uint64_t ios[STAGE_KIND_COUNT], bytes[STAGE_KIND_COUNT];
	uint64_t errors, at_once;     /* at_once: all stages in one pass: in no bucket, but belongs to the first of each */
	struct {
		uint64_t sum_ns, bucket[STAGE_BUCKETS];
	} stage[STAGE_COUNT];
};
void stage_counts_add(struct stage_counts *into, const struct stage_counts *from);
static inline void stage_time_note(struct stage_counts *c, enum stage stage, uint64_t ns)
{
	uint64_t units = ns >> STAGE_UNIT_BITS;
	uint32_t bucket = units ? 64 - (uint32_t)__builtin_clzll(units) : 0;

	c->stage[stage].sum_ns += ns;
	c->stage[stage].bucket[min_u32(bucket, STAGE_BUCKETS - 1)]++;
}
static inline void stage_times_note(struct stage_counts *c, const uint64_t ns[static STAGE_COUNT])
{
	for (uint32_t s = 0; s < STAGE_COUNT; s++)
		stage_time_note(c, s, ns[s]);
}

/* --- told apart by name, within limits ---- */

#define STAGE_NAME_MAX 223u           /* of a host, of what it came to */
#define STAGE_HOSTS_MAX 64u           /* told apart on a core; the rest is one row */
#define STAGE_UNITS_MAX 256u
#define STAGE_QUEUES_MAX 64u
#define STAGE_ERRORS_MAX 32u
#define STAGE_OTHERS "(others)"

/* Namespaces, LUNs: those that a queue has used, the last one first. */
#define STAGE_QUEUE_UNITS 32u         /* told apart on a queue; the rest is one */
#define STAGE_UNIT_OTHERS UINT32_MAX
struct stage_unit {
	struct stage_unit *next;
	uint32_t unit;
	struct stage_counts counts;
};
/* Made when it is new, and from then on the first. */
struct stage_unit *stage_unit_find(struct stage_unit **first, uint32_t unit);

/* What hosts' queues that ended had counted, on a core. */
struct stage_host {
	struct stage_host *next;
	char name[STAGE_NAME_MAX + 1];
	struct stage_counts counts;
};
struct stage_hosts {
	struct stage_host *first;
	uint32_t count;
};
struct stage_host *stage_host_find(struct stage_hosts *hosts, const char *name);
void stage_hosts_fini(struct stage_hosts *hosts);

/* Errors by what was answered. */
struct stage_error {
	uint32_t code;                /* the protocol's */
	uint64_t count;
};
struct stage_errors {
	struct stage_error at[STAGE_ERRORS_MAX]; /* the last place is everybody's */
	uint32_t count;
};
void stage_error_count(struct stage_errors *e, uint32_t code);

/* What a unit's queues that have gone had counted on a core: the `own` of a view (bdev/served.h). */
struct stage_own {
	struct stage_counts counts;
	bool counted;                 /* there were any */
	uint64_t other_ios[2], other_bytes[2]; /* reads, writes of queues that do not tell it apart */
};

/* --- the flight recorder, one a core ---- */

#define FLIGHT_SLOW 64u               /* the last slow commands, ... */
#define FLIGHT_SECONDS 60u            /* ... and the slowest of each of the last seconds that had any */
#define FLIGHT_IOS_MAX 128u           /* as many are ever read */
#define FLIGHT_SLOW_MIN_NS (1 * NS_PER_MS) /* adaptive: less is never slow, ... */
#define FLIGHT_SLOW_MEANS 16u         /* ... nor what takes less than so many times the mean */

#define FLIGHT_LIMIT 1u               /* why: above the limit */
#define FLIGHT_OF_SECOND 2u           /* the slowest of its second */
#define FLIGHT_LOST 4u                /* its connection ended before it was answered */
#define FLIGHT_ABORTED 8u             /* it was aborted, and is not answered */

/* A protocol's record begins with this. */
struct flight_io {
	uint64_t at_ns, at_us;        /* when it ended: monotonic, wall clock */
	uint64_t total_ns, stage_ns[STAGE_COUNT]; /* total 0: no record */
	uint64_t number;              /* of its core: 1, 2, ... */
	uint32_t core;
	uint8_t why;
};

struct flight {
	uint64_t limit_ns;            /* slow is what took longer */
	uint64_t mean_ns;             /* of those that took any time, smoothed */
	uint64_t second_ns, worst_ns; /* of this second */
	uint64_t slow_count, second_count; /* ever kept */
	uint64_t numbers;
	/* the protocol's */
	size_t size;                  /* of its record */
	void (*fill)(struct flight_io *io, const void *command); /* what stands behind the head, which is there */
	const _Atomic uint64_t *set_limit_ns; /* 0: adaptive */
	uint8_t *ios;                 /* FLIGHT_SLOW, FLIGHT_SECONDS, the candidate; made with the first */
};
/* Its core: this command took so long. */
void flight_note(struct flight *f, const void *command, const uint64_t stage_ns[static STAGE_COUNT], uint64_t total_ns,
                 uint8_t why);
static inline void flight_look(struct flight *f, const void *command, const uint64_t stage_ns[static STAGE_COUNT],
                               uint64_t total_ns, uint64_t now_ns, uint8_t why)
{
	if (unlikely(total_ns > f->worst_ns || total_ns > f->limit_ns || now_ns - f->second_ns >= NS_PER_S))
		flight_note(f, command, stage_ns, total_ns, why);
	f->mean_ns += (uint64_t)((int64_t)(total_ns - f->mean_ns) / 64);
}
/* Its core: what it keeps, in no order, as records of f->size; returns how many. */
uint32_t flight_read(const struct flight *f, void *ret_ios, uint32_t max);
void flight_clear(struct flight *f);
void flight_fini(struct flight *f);

/* A protocol's, of all cores. */
struct flights {
	struct core *core;
	struct flight *(*of)(struct flights *all, uint32_t core_index); /* of an I/O reactor, to be used on it */
	/* Any core. 0: adaptive. Cores take it over with the next command that is looked at; the present second may go by
	 * the old one. */
	_Atomic uint64_t limit_ns;
};

/* --- what one core tells others ---- */

struct stage_row {
	char host[STAGE_NAME_MAX + 1], target[STAGE_NAME_MAX + 1], device[64]; /* those that apply; others are empty */
	uint32_t unit;                /* namespace, LUN */
	uint32_t a, b;                /* what a queue is known by */
	struct stage_counts counts;
};
struct stage_eyes {
	struct stage_row *hosts, *units, *queues;
	uint32_t host_count, unit_count, queue_count;
	uint32_t left_out;            /* units and queues beyond the limits */
	struct stage_errors errors;
	uint64_t slow_ios, slow_limit_ns;
};
/* Hosts whose queues have gone, errors and the recorder are read; units and living queues are the protocol's to add. */
void stage_eyes_begin(struct stage_eyes *eyes, const struct stage_hosts *hosts, const struct stage_errors *errors,
                      const struct flight *f);
void stage_eyes_free(struct stage_eyes *eyes);
struct stage_row *stage_eyes_host(struct stage_eyes *eyes, const char *name);
struct stage_row *stage_eyes_queue(struct stage_eyes *eyes); /* NULL: beyond the limit, which is counted */
void stage_eyes_add_unit(struct stage_eyes *eyes, const char *target, uint32_t unit, const char *device,
                         const struct stage_counts *counts);
void stage_name_set(char *to, size_t size, const char *from);

#endif
