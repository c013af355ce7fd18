/* SPDX-License-Identifier: BSD-3-Clause */
/* host.h: the synthetic NVMe host: who it is, its queue pairs, and what it was told to do. */
#ifndef FAKE_VERBS_HOST_H
#define FAKE_VERBS_HOST_H

#include "cm.h"
#include "wire/nvme.h"
#include "wire/nvme_rdma.h"

#include <time.h>

#define HOST_QPAIRS_MAX 64u
#define HOST_DEPTH_MAX 1024u
#define HOST_BYTES_MAX (2u << 20)
#define HOST_ADMIN_DEPTH 32u

/* Of the environment; the names are FAKE_VERBS_<NAME>.
 *
 *        NAME        field         default  least  most            what */
#define HOST_NUMBERS(X) \
	X(QD,         depth,           127,    1, HOST_DEPTH_MAX - 1)  /* commands outstanding in a queue pair */ \
	X(QPAIRS,     qpairs,            1,    1, HOST_QPAIRS_MAX)     /* I/O queue pairs */ \
	X(BYTES,      bytes,          4096,  512, HOST_BYTES_MAX)      /* of a command */ \
	X(SECONDS,    seconds,           0,    0, 1000000)             /* 0: for ever */ \
	X(COMMANDS,   commands,          0,    0, UINT64_MAX)          /* 0: without end */ \
	X(COPY,       copies,            1,    0, 1)                   /* bytes of READ and WRITE, under load */ \
	X(FILL,       fills,             0,    0, 1)                   /* first write all of the namespace, once */ \
	X(PAUSE_US,   pause_us,          0,    0, 1000000)             /* between answers and the next commands */ \
	X(ICD,        in_capsule,        1,    0, 1)                   /* writes that fit go in the capsule */ \
	X(INVALIDATE, invalidate,        0,    0, 1)                   /* ask for SEND with invalidate */ \
	X(EXIT,       ends_process,      0,    0, 1)                   /* SIGTERM to ourselves at the end */

enum host_workload { HOST_READ, HOST_WRITE, HOST_VERIFY };

struct host_settings {
	const char *subnqn;      /* FAKE_VERBS_HOST; NULL: no host */
	const char *report;      /* FAKE_VERBS_REPORT: a file for the figures */
	enum host_workload workload; /* FAKE_VERBS_WORKLOAD: read, write, verify */
#define HOST_FIELD(name, field, standard, least, most) uint64_t field;
	HOST_NUMBERS(HOST_FIELD)
};
void host_settings_read(struct host_settings *s);

/* A command's place: its identifier is the index. */
struct host_slot {
	struct nvme_sqe sqe;
	char *data;
	bool busy, fills;
	uint32_t turn;           /* verify: odd: written, to be read */
};

enum host_state { HOST_IDLE, HOST_CALLS, HOST_CONNECTS, HOST_READY, HOST_OVER };

struct host;
struct host_qpair {
	struct cm_caller caller;
	struct fake_peer peer;
	struct host *host;
	struct fake_qp *qp;
	enum host_state state;
	uint16_t qid, depth;
	struct host_slot *slots;
	uint16_t *waiting;       /* slots to be sent, when there are receives: a ring of HOST_DEPTH_MAX */
	uint16_t wait_head, wait_tail;
	uint32_t busy;
	char *data;
	uint32_t key;            /* of `data` */
	size_t stride;           /* bytes of a slot's */
	uint64_t done;
	uint64_t random;
	clockid_t cpu;           /* of the thread that serves it */
	bool cpu_known;
};

struct host {
	struct host_settings settings;
	struct rdma_cm_id *listener;
	struct host_qpair admin, io[HOST_QPAIRS_MAX];
	int step;                /* of the admin queue's beginning: host_admin.c */
	uint16_t cntlid;
	uint32_t icd_max;        /* bytes of data in a capsule */
	uint32_t block_size;
	uint64_t pieces;         /* of `bytes`, of the namespace */
	uint64_t filled;         /* of these, before the load */
	uint64_t errors;
	bool loading, ending, ended;
};

/* host_qpair.c: queue pairs and the I/O they carry. */
void host_qpair_init(struct host_qpair *q, struct host *h, uint16_t qid, uint16_t depth, size_t stride);
void host_qpair_call(struct host_qpair *q);
/* Send what is in the slot; when there is no receive, as soon as there is one. */
void host_qpair_send(struct host_qpair *q, uint16_t slot);
void host_qpair_send_waiting(struct host_qpair *q);
/* The connection's first command. */
void host_qpair_connect(struct host_qpair *q);
/* An empty command in slot 0 with so many bytes of data. */
struct nvme_sqe *host_qpair_command(struct host_qpair *q, uint8_t opc, uint32_t data_len);
void host_qpair_begin_load(struct host_qpair *q);

/* host_admin.c */
void host_admin_answer(struct host *h, const struct nvme_cqe *cqe);

/* host.c */
void host_changed(void);         /* wake its thread */
void host_failed(struct host *h, const char *what, unsigned int status);

#endif
