/* SPDX-License-Identifier: BSD-3-Clause */
/* fake.h: what the two halves of the fake rdma-core share. See README.md beside it for what it is for.
 *
 * One adapter, "fake0", inside the process that loads libibverbs.so.1 and librdmacm.so.1 of here instead of the real
 * ones. Work requests are carried out while they are posted. The other side of a queue pair is another queue pair of
 * the process, or a synthetic NVMe host (host.c). Written from the headers of rdma-core and its manual pages.
 *
 * All state is under one mutex, taken once a call of the library, not once a work request.
 */
#ifndef FAKE_VERBS_FAKE_H
#define FAKE_VERBS_FAKE_H

#include "base/base.h"
#include "base/list.h"

#include <errno.h>
#include <infiniband/verbs.h>
#include <pthread.h>
#include <time.h>

#define FAKE_SGE_MAX 32
#define FAKE_WR_MAX 16384
#define FAKE_CQE_MAX 262143
#define FAKE_READ_DEPTH_MAX 128
#define FAKE_INLINE_MAX 512
#define FAKE_VENDOR 0xfa4e

#define FAKE_EXPORT __attribute__((visibility("default")))

extern FAKE_EXPORT pthread_mutex_t fake_mutex;
extern FAKE_EXPORT struct verbs_context fake_context;

/* Time spent within the library, by the clock: what is left of a command's time is the target's own. A call that takes
 * so long did not run all the while: it is counted only. */
#define FAKE_TICKS_MAX (1u << 18)
extern FAKE_EXPORT uint64_t fake_began, fake_inside, fake_calls, fake_long_calls;

static inline uint64_t fake_ticks(void)
{
#ifdef __x86_64__
	return __builtin_ia32_rdtsc();
#else
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
#endif
}

static inline void fake_lock(void)
{
	uint64_t began = fake_ticks();

	pthread_mutex_lock(&fake_mutex);
	fake_began = began;
}

static inline void fake_unlock(void)
{
	uint64_t took = fake_ticks() - fake_began;

	if (took < FAKE_TICKS_MAX)
		fake_inside += took;
	else
		fake_long_calls++;
	fake_calls++;
	pthread_mutex_unlock(&fake_mutex);
}

/* What is made once; before the context is given to anyone. */
FAKE_EXPORT void fake_begin(void);
/* A use of the library that the real one would hang or corrupt on. */
_Noreturn FAKE_EXPORT void fake_fault(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* --- memory ----------------------------------------------------------------------------------------------------- */

/* The bytes `addr` of a registered region, or NULL. `access`: which of its rights are needed. */
FAKE_EXPORT void *fake_mr_at(uint32_t key, uint64_t addr, uint32_t len, int access);
/* Registered for the synthetic host, with the mutex held. */
FAKE_EXPORT uint32_t fake_mr_add(void *addr, size_t len);

/* --- completion queues ------------------------------------------------------------------------------------------ */

struct fake_qp;
struct fake_cqe {
	uint64_t wr_id;
	struct fake_qp *qp; /* NULL: it was destroyed */
	uint32_t len, key;
	uint32_t send_done; /* of the send queue: all before it are done, too */
	uint8_t status, opcode;
	bool invalidated;
};

struct fake_channel {
	struct ibv_comp_channel channel;
	struct list rang;   /* of fake_cq */
};

struct fake_cq {
	struct ibv_cq cq;
	struct fake_cqe *ring;
	uint32_t mask, head, tail, limit;
	bool armed, overrun;
	struct list link;   /* in the channel's */
	uint32_t rings;     /* not yet got */
	uint32_t told, acked;
};

void fake_cq_push(struct fake_cq *q, const struct fake_cqe *e);
void fake_cq_forget(struct fake_cq *q, const struct fake_qp *qp);
int fake_cq_poll(struct ibv_cq *cq, int n, struct ibv_wc *wc);
int fake_cq_arm(struct ibv_cq *cq, int solicited_only);

/* --- receives --------------------------------------------------------------------------------------------------- */

struct fake_recv {
	uint64_t wr_id;
	uint32_t sge_count;
	struct ibv_sge *sges;
};

struct fake_rq {
	struct fake_recv *ring;
	struct ibv_sge *sges;
	uint32_t mask, head, tail, limit, sge_max;
};

struct fake_srq {
	struct ibv_srq srq;
	struct fake_rq rq;
	struct list qps;    /* that receive from it */
};

bool fake_rq_init(struct fake_rq *q, uint32_t entries, uint32_t sges);
void fake_rq_fini(struct fake_rq *q);
static inline bool fake_rq_is_empty(const struct fake_rq *q) { return q->head == q->tail; }
int fake_rq_post(struct fake_rq *q, struct ibv_recv_wr *wr, struct ibv_recv_wr **bad);

/* --- queue pairs ------------------------------------------------------------------------------------------------ */

/* The other side, when it is no queue pair. Called with the mutex held. */
struct fake_peer {
	/* A message arrived; `from` are its pieces. */
	void (*message)(struct fake_peer *p, const struct ibv_sge *from, uint32_t count);
	/* There are receives again. */
	void (*room)(struct fake_peer *p);
	/* The connection ended. */
	void (*ended)(struct fake_peer *p);
};

struct fake_qp {
	struct ibv_qp qp;
	struct fake_rq own, *rq;      /* rq: own, or the shared one */
	struct fake_qp *other;        /* either of these when connected */
	struct fake_peer *peer;
	uint32_t send_max, send_sge_max, inline_max;
	uint32_t sent, send_done;     /* work requests: posted; known to be done */
	bool sig_all;
	bool shut;                    /* the other side may not READ or WRITE our memory */
	uint8_t rnr_retries;
	bool last_told;               /* that no receive of a shared queue will come */
	struct list stalled;          /* struct stalled: SENDs that met no receive, and what came after */
	struct list link, srq_link;
};

static inline struct fake_qp *fake_qp_of(struct ibv_qp *qp) { return container_of(qp, struct fake_qp, qp); }

int fake_post_send(struct ibv_qp *qp, struct ibv_send_wr *wr, struct ibv_send_wr **bad);
int fake_post_recv(struct ibv_qp *qp, struct ibv_recv_wr *wr, struct ibv_recv_wr **bad);
int fake_post_srq_recv(struct ibv_srq *srq, struct ibv_recv_wr *wr, struct ibv_recv_wr **bad);
/* With the mutex held: receives were posted, try again what waited for them. */
FAKE_EXPORT void fake_qp_room(struct fake_qp *qp);
void fake_qp_drop_stalled(struct fake_qp *qp);
void fake_qp_flush_receives(struct fake_qp *qp);

/* A message to the queue pair: takes a receive and completes it. False: none is posted. */
FAKE_EXPORT bool fake_qp_deliver(struct fake_qp *qp, const struct ibv_sge *from, uint32_t count, const uint32_t *inv);
/* Ready to send and receive, with that other side. */
FAKE_EXPORT void fake_qp_connect(struct fake_qp *qp, struct fake_qp *other, struct fake_peer *peer,
                                 uint8_t rnr_retries);
/* What is posted and not done ends; what is posted from now on, too. */
FAKE_EXPORT void fake_qp_fail(struct fake_qp *qp);
FAKE_EXPORT struct ibv_qp *fake_qp_make(struct ibv_pd *pd, struct ibv_qp_init_attr *attr);

/* An asynchronous event of the adapter, with the mutex held. */
FAKE_EXPORT void fake_async(enum ibv_event_type type, void *of);
void fake_async_forget(const void *of);
FAKE_EXPORT int fake_eventfd(void);
FAKE_EXPORT void fake_eventfd_add(int fd);
/* 0, or -1 with errno: EAGAIN when the descriptor does not block. Not with the mutex held. */
FAKE_EXPORT int fake_eventfd_take(int fd);

/* Are bytes of RDMA READ and WRITE copied? */
extern FAKE_EXPORT bool fake_copies;

#endif
