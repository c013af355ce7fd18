/* SPDX-License-Identifier: BSD-3-Clause */
/* nvmf_eyes.h: what the target can tell of its work: counts and times of stages by host, namespace and queue, the
 * errors it answered, and its slow I/Os. For the metrics and the methods that show them. */
#ifndef NVMF_NVMF_EYES_H
#define NVMF_NVMF_EYES_H

#include "nvmf/nvmf.h"

/*   stage    name        what passes meanwhile */
#define NVMF_STAGES(X) \
	X(RECEIVE, "receive",  "the command and its data come in") \
	X(WAIT,    "wait",     "in line for buffers, a turn, a context, a lock or QoS") \
	X(BACKEND, "backend",  "the device works") \
	X(SEND,    "send",     "the answer is handed to the socket")
#define NVMF_STAGE_ENUM(stage, name, doc) NVMF_STAGE_##stage,
enum nvmf_stage { NVMF_STAGES(NVMF_STAGE_ENUM) NVMF_STAGE_COUNT };
const char *nvmf_stage_name(enum nvmf_stage stage);

enum nvmf_kind { NVMF_KIND_READ, NVMF_KIND_WRITE, NVMF_KIND_OTHER, NVMF_KIND_COUNT };
const char *nvmf_kind_name(enum nvmf_kind kind);

/* Bucket i holds what took less than 1024 ns << i; the last one all the rest. */
#define NVMF_STAGE_BUCKETS 24u

struct nvmf_stage_counts {
	uint64_t ios[NVMF_KIND_COUNT], bytes[NVMF_KIND_COUNT];
	uint64_t errors, at_once;     /* at_once: all stages in one pass: in no bucket, but belongs to the first of each */
	struct {
		uint64_t sum_ns, bucket[NVMF_STAGE_BUCKETS];
	} stage[NVMF_STAGE_COUNT];
};
void nvmf_stage_counts_add(struct nvmf_stage_counts *into, const struct nvmf_stage_counts *from);

/* --- what one core has counted; call on that core ---- */

#define NVMF_EYES_HOSTS 64u           /* told apart on a core; the rest is one row */
#define NVMF_EYES_NAMESPACES 256u
#define NVMF_EYES_QUEUES 64u
#define NVMF_EYES_ERRORS 32u
#define NVMF_EYES_OTHERS "(others)"

struct nvmf_eyes_row {
	char host[NVMF_NQN_MAX + 1], nqn[NVMF_NQN_MAX + 1], device[64]; /* those that apply; others are empty */
	uint32_t nsid, cntlid, qid;
	struct nvmf_stage_counts counts;
};

struct nvmf_error_count {
	uint16_t status;              /* code type << 8 | code */
	uint64_t count;
};

struct nvmf_eyes {
	uint32_t index;               /* of the core */
	struct nvmf_eyes_row *hosts, *namespaces, *queues;
	uint32_t host_count, namespace_count, queue_count;
	uint32_t left_out;            /* namespaces and queues beyond the limits */
	struct nvmf_error_count errors[NVMF_EYES_ERRORS];
	uint32_t error_count;
	uint64_t slow_ios, slow_limit_ns;
	uint64_t admin_queues, io_queues, admin_queues_ever, io_queues_ever, admin_commands, io_commands;
};
/* Core: an I/O reactor. Memory: nvmf_eyes_free(), on any core. */
void nvmf_eyes_read(struct nvmf_target *t, struct nvmf_eyes *ret_eyes);
void nvmf_eyes_free(struct nvmf_eyes *eyes);
/* Any core: a transport's counters of a core. */
void nvmf_eyes_transports(struct nvmf_target *t, uint32_t core_index,
                          void (*emit)(void *arg, const char *transport, const char *key, uint64_t v), void *arg);

/* Any core: handshakes of TLS, by how they ended. */
void nvmf_eyes_tls(struct nvmf_target *t, void (*emit)(void *arg, const char *result, uint64_t v), void *arg);

/* Any core: cross-controller resets that hosts asked for: begun; done; not done in time. */
void nvmf_eyes_ccr(struct nvmf_target *t, void (*emit)(void *arg, const char *event, uint64_t v), void *arg);

/* --- slow I/Os ---- */

#define NVMF_SLOW_LIMIT 1u            /* above the limit */
#define NVMF_SLOW_OF_SECOND 2u        /* the slowest of its second */
#define NVMF_SLOW_LOST 4u             /* its connection ended before it was answered */

struct nvmf_slow_io {
	uint64_t at_ns, at_us;        /* when it ended: monotonic, wall clock */
	uint64_t total_ns, stage_ns[NVMF_STAGE_COUNT];
	uint64_t lba, len;            /* len: bytes of data */
	uint64_t number;              /* of its core: 1, 2, ... */
	uint32_t nsid, core;
	uint16_t blocks_1, qid, cid, cntlid, status; /* blocks_1: as the command has it, one less */
	uint8_t opc, why;
	char host[NVMF_NQN_MAX + 1], nqn[NVMF_NQN_MAX + 1], device[64];
};

/* Core: an I/O reactor. The last of its slow I/Os, in no order; returns how many. */
#define NVMF_SLOW_IOS_MAX 128u
uint32_t nvmf_slow_read(struct nvmf_target *t, struct nvmf_slow_io ret_ios[static NVMF_SLOW_IOS_MAX]);
void nvmf_slow_clear(struct nvmf_target *t);
/* Any core. 0: adaptive. */
void nvmf_slow_set_limit(struct nvmf_target *t, uint64_t limit_ns);
uint64_t nvmf_slow_get_limit(const struct nvmf_target *t);

#endif
