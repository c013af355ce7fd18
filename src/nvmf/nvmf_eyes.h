/* SPDX-License-Identifier: BSD-3-Clause */
/* nvmf_eyes.h: what the target can tell of its work: counts and times of stages by host, namespace and queue, the
 * errors it answered, and its slow I/Os. For the metrics and the methods that show them. */
#ifndef NVMF_NVMF_EYES_H
#define NVMF_NVMF_EYES_H

#include "core/stages.h"
#include "nvmf/nvmf.h"

/* --- what one core has counted; call on that core ---- */

struct nvmf_eyes {
	uint32_t index;               /* of the core */
	struct stage_eyes stages;     /* units: namespaces; queues: CNTLID, QID; errors: code type << 8 | code */
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

/* FLIGHT_LOST: its connection ended before it was answered. */
struct nvmf_slow_io {
	struct flight_io io;
	uint64_t lba, len;            /* len: bytes of data */
	uint32_t nsid;
	uint16_t blocks_1, qid, cid, cntlid, status; /* blocks_1: as the command has it, one less */
	uint8_t opc;
	char host[NVMF_NQN_MAX + 1], nqn[NVMF_NQN_MAX + 1], device[64];
};

struct flights *nvmf_flights(struct nvmf_target *t);

#endif
