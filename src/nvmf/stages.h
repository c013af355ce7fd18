/* SPDX-License-Identifier: BSD-3-Clause */
/* stages.h: where the time of I/O commands goes, and which were slow (private to nvmf; nvmf_eyes.h tells others).
 *
 *     receive    from the first byte of the command until all its data was there, less
 *     wait       its time in lines: for buffers, for its turn, and in the waist for contexts, locks, QoS
 *     back-end   from execution until the device has answered, less its waits
 *     send       until the last byte of the answer was handed to the socket
 *
 * Time is that of the pass, so that what begins and ends in one pass took none, and costs one count. Each queue pair
 * has counts for each namespace it used, made with the first command and touched on its core only: the sums over
 * namespaces, queues or hosts are made when somebody asks. When a queue pair ends its counts become its host's and its
 * namespaces'. Slow commands go to the flight recorder, see flight.c.
 */
#ifndef NVMF_STAGES_H
#define NVMF_STAGES_H

#include "nvmf/nvmf_eyes.h"

#define NVMF_FLIGHT_SLOW 64u          /* of a core: the last slow commands, ... */
#define NVMF_FLIGHT_SECONDS 60u       /* ... and the slowest of each of the last seconds that had any */
#define NVMF_SLOW_MIN_NS (1 * NS_PER_MS)  /* adaptive: less is never slow, ... */
#define NVMF_SLOW_MEANS 16u               /* ... nor what takes less than so many times the mean */

struct nvmf_flight {
	uint64_t limit_ns;            /* slow is what took longer */
	uint64_t mean_ns;             /* of those that took any time, smoothed */
	uint64_t second_ns, worst_ns; /* of this second */
	uint64_t slow_count, second_count; /* ever kept */
	uint64_t numbers;
	struct nvmf_slow_io *ios;     /* NVMF_FLIGHT_SLOW, NVMF_FLIGHT_SECONDS, the candidate; made with the first */
};

struct nvmf_host_counts {
	struct nvmf_host_counts *next;
	char name[NVMF_NQN_MAX + 1];
	struct nvmf_stage_counts counts;
};

#define NVMF_QUEUE_NAMESPACES 32u     /* told apart on a queue pair; the rest is one */
#define NVMF_NSID_OTHERS UINT32_MAX

struct nvmf_queue_counts {
	struct nvmf_queue_counts *next;
	uint32_t nsid;
	struct nvmf_stage_counts counts;
};

/* What a core keeps of a namespace: the `own` of its view. */
struct nvmf_ns_own {
	struct nvmf_stage_counts counts;  /* of queue pairs that are gone, ... */
	bool counted;                     /* ... if there were any */
	uint64_t other_ios[2], other_bytes[2]; /* reads, writes of queue pairs that do not tell it apart */
};

struct nvmf_core;

/* The queue pair ends, or the view goes. */
void nvmf_stages_close(struct nvmf_qpair *qp);
void nvmf_stages_fini(struct nvmf_core *nc);

/* flight.c: it took long enough to be looked at. */
void nvmf_flight_note(struct nvmf_req *req, const uint64_t stage_ns[static NVMF_STAGE_COUNT], uint64_t total_ns,
                      bool lost);
static inline bool nvmf_flight_may_note(const struct nvmf_flight *f, uint64_t total_ns, uint64_t now_ns)
{
	return total_ns > f->worst_ns || total_ns > f->limit_ns || now_ns - f->second_ns >= NS_PER_S;
}
void nvmf_flight_fini(struct nvmf_flight *f);

#endif
