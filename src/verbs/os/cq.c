/* SPDX-License-Identifier: BSD-3-Clause */
/* cq.c: completion queues, shared receive queues, and posting to queue pairs. */
#include <errno.h>
#include <fcntl.h>
#include <sys/epoll.h>

#include "core/log.h"
#include "verbs/os/os.h"

#define WRS_A_CALL 32u        /* work requests that one call of the adapter's driver takes */
#define SHARED (1ull << 63)   /* in wr_id: a receive of a shared queue. A failed completion does not say what it was */

/* Ours are handed down as they are. */
_Static_assert(sizeof(struct verbs_sge) == sizeof(struct ibv_sge), "size");
_Static_assert(offsetof(struct verbs_sge, len) == offsetof(struct ibv_sge, length), "length");
_Static_assert(offsetof(struct verbs_sge, lkey) == offsetof(struct ibv_sge, lkey), "lkey");

static void on_bell(struct source *s, uint32_t events);
static void say(const struct ibv_wc *from, struct verbs_wc *to);
static enum verbs_status status_of(enum ibv_wc_status status);
static enum verbs_op op_of(enum ibv_wc_opcode opcode);
static void put_wr(const struct os_conn *c, const struct verbs_wr *from, struct ibv_send_wr *to);
static bool fits_inline(const struct os_conn *c, const struct verbs_wr *wr);
static const struct verbs_recv *put_recvs(struct ibv_recv_wr chain[static WRS_A_CALL], const struct verbs_recv *r,
                                          uint64_t mark);

static struct ibv_sge *sges_of(const struct verbs_sge *s) { return (struct ibv_sge *)(uintptr_t)s; }

/* --- completion queues ---------------------------------------------------------------------------- */

/* Each core's interrupts come on another CPU. */
static int next_vector(struct os_dev *d)
{
	return d->ctx->num_comp_vectors > 1 ? (int)(d->cqs_made++ % (uint32_t)d->ctx->num_comp_vectors) : 0;
}

struct verbs_cq *platform_cq_make(struct verbs_dev *dev, uint32_t *entries, struct err *e)
{
	struct os_dev *d = os_dev(dev);
	struct os_cq *q = base_zalloc(sizeof(*q));

	q->channel = ibv_create_comp_channel(d->ctx);
	if (q->channel && !fcntl(q->channel->fd, F_SETFL, fcntl(q->channel->fd, F_GETFL) | O_NONBLOCK))
		q->ibv = ibv_create_cq(d->ctx, (int)*entries, q, q->channel, next_vector(d));
	if (q->ibv) {
		*entries = (uint32_t)q->ibv->cqe;
		return &q->cq;
	}
	err_set(e, errno ? -errno : -EIO, "RDMA: adapter %s gives no completion queue of %u entries: %s", dev->info.name,
	        *entries, strerror(errno));
	if (q->channel)
		ibv_destroy_comp_channel(q->channel);
	free(q);
	return NULL;
}

void platform_cq_destroy(struct verbs_cq *cq)
{
	struct os_cq *q = os_cq(cq);

	assert(!q->bell.reactor);
	if (ibv_destroy_cq(q->ibv))
		log_warning("RDMA: adapter %s: something still uses a completion queue", cq->dev->info.name);
	ibv_destroy_comp_channel(q->channel);
}

void platform_cq_free(struct verbs_cq *q)
{
	free(os_cq(q));
}

int platform_cq_resize(struct verbs_cq *cq, uint32_t entries, uint32_t *ret_entries)
{
	struct os_cq *q = os_cq(cq);
	int rc = ibv_resize_cq(q->ibv, (int)entries);

	if (rc)
		return rc == ENOSYS || rc == EOPNOTSUPP ? -ENOTSUP : -abs(rc);
	*ret_entries = (uint32_t)q->ibv->cqe;
	return 0;
}

int platform_cq_start(struct verbs_cq *cq)
{
	struct os_cq *q = os_cq(cq);

	return source_start(&q->bell, q->channel->fd, EPOLLIN, "rdma completions", on_bell);
}

void platform_cq_stop(struct verbs_cq *cq)
{
	struct source *bell = &os_cq(cq)->bell;

	if (bell->reactor) /* else it has hung up */
		source_stop(bell);
}

static void on_bell(struct source *s, uint32_t events)
{
	struct os_cq *q = container_of(s, struct os_cq, bell);
	unsigned int rings = 0;
	struct ibv_cq *ibv;
	void *ctx;

	while (!ibv_get_cq_event(q->channel, &ibv, &ctx))
		rings++;
	if (!rings) { /* it is gone: nothing rings any more */
		if (events & (EPOLLERR | EPOLLHUP))
			source_stop(s);
		return;
	}
	ibv_ack_cq_events(q->ibv, rings);
	verbs_cq_rang(&q->cq);
}

void platform_cq_request_notify(struct verbs_cq *cq)
{
	int rc = ibv_req_notify_cq(os_cq(cq)->ibv, 0);

	if (unlikely(rc) && verbs_dev_is_there(cq->dev))
		log_error("RDMA: adapter %s rings no bell: %s", cq->dev->info.name, strerror(abs(rc)));
}

uint32_t platform_cq_poll(struct verbs_cq *cq, struct verbs_wc *wcs, uint32_t *qps)
{
	struct ibv_wc found[VERBS_POLL_MAX];
	int count = ibv_poll_cq(os_cq(cq)->ibv, (int)VERBS_POLL_MAX, found);

	if (unlikely(count < 0))
		return 0;
	for (int i = 0; i < count; i++) {
		say(&found[i], &wcs[i]);
		qps[i] = found[i].qp_num | (found[i].wr_id & SHARED ? VERBS_QP_SHARED : 0);
	}
	return (uint32_t)count;
}

static void say(const struct ibv_wc *from, struct verbs_wc *to)
{
	*to = (struct verbs_wc){ .ctx = (void *)(uintptr_t)(from->wr_id & ~SHARED), .op = VERBS_RECV };
	if (unlikely(from->status != IBV_WC_SUCCESS)) {
		to->status = (uint8_t)status_of(from->status);
		return;
	}
	to->op = (uint8_t)op_of(from->opcode);
	if (to->op != VERBS_RECV)
		return;
	if (unlikely(from->opcode != IBV_WC_RECV))
		return; /* a WRITE with a number used it up: nothing lies in its memory */
	to->len = from->byte_len;
	to->invalidated = from->wc_flags & IBV_WC_WITH_INV;
	to->key = to->invalidated ? from->invalidated_rkey : 0;
}

static enum verbs_op op_of(enum ibv_wc_opcode opcode)
{
	switch (opcode) {
	case IBV_WC_RDMA_WRITE:
		return VERBS_WRITE;
	case IBV_WC_RDMA_READ:
		return VERBS_READ;
	case IBV_WC_SEND:
		return VERBS_SEND;
	default:
		return VERBS_RECV;
	}
}

static enum verbs_status status_of(enum ibv_wc_status status)
{
	switch (status) {
	case IBV_WC_SUCCESS:
		return VERBS_OK;
	case IBV_WC_WR_FLUSH_ERR:
		return VERBS_FLUSHED;
	case IBV_WC_LOC_LEN_ERR:
		return VERBS_LENGTH;
	case IBV_WC_LOC_PROT_ERR:
	case IBV_WC_LOC_ACCESS_ERR:
		return VERBS_LOCAL_KEY;
	case IBV_WC_REM_ACCESS_ERR:
		return VERBS_REMOTE_KEY;
	case IBV_WC_REM_INV_REQ_ERR:
		return VERBS_REMOTE_INVALID;
	case IBV_WC_REM_OP_ERR:
	case IBV_WC_REM_ABORT_ERR:
		return VERBS_REMOTE_BROKEN;
	case IBV_WC_RETRY_EXC_ERR:
	case IBV_WC_RESP_TIMEOUT_ERR:
		return VERBS_RETRIES;
	case IBV_WC_RNR_RETRY_EXC_ERR:
		return VERBS_NO_RECEIVE;
	default:
		return VERBS_OTHER;
	}
}

/* --- posting -------------------------------------------------------------------------------------- */

int verbs_post(struct verbs_conn *conn, const struct verbs_wr *wr, const struct verbs_wr **ret_bad)
{
	struct os_conn *c = os_conn(conn);
	struct ibv_send_wr chain[WRS_A_CALL], *bad = NULL;

	conn->cq->expects = true;
	while (wr) {
		const struct verbs_wr *first = wr;
		uint32_t count = 0;
		int rc;

		for (; wr && count < WRS_A_CALL; wr = wr->next, count++) {
			put_wr(c, wr, &chain[count]);
			chain[count].next = &chain[count + 1];
		}
		chain[count - 1].next = NULL;
		rc = ibv_post_send(c->qp, chain, &bad);
		if (likely(!rc))
			continue;
		for (struct ibv_send_wr *i = chain; bad && i != bad; i++)
			first = first->next;
		*ret_bad = first;
		return -abs(rc);
	}
	return 0;
}

static void put_wr(const struct os_conn *c, const struct verbs_wr *from, struct ibv_send_wr *to)
{
	static const enum ibv_wr_opcode opcodes[] = {
		[VERBS_SEND] = IBV_WR_SEND, [VERBS_SEND_INVALIDATE] = IBV_WR_SEND_WITH_INV,
		[VERBS_WRITE] = IBV_WR_RDMA_WRITE, [VERBS_READ] = IBV_WR_RDMA_READ,
	};

	assert(from->op < ARRAY_SIZE(opcodes));
	to->wr_id = (uintptr_t)from->ctx;
	to->sg_list = sges_of(from->sges);
	to->num_sge = from->sge_count;
	to->opcode = opcodes[from->op];
	to->send_flags = (from->signaled ? IBV_SEND_SIGNALED : 0u) | (from->fence ? IBV_SEND_FENCE : 0u);
	if (from->op == VERBS_WRITE || from->op == VERBS_READ) {
		to->wr.rdma.remote_addr = from->remote;
		to->wr.rdma.rkey = from->rkey;
		return;
	}
	to->invalidate_rkey = from->rkey;
	if (fits_inline(c, from))
		to->send_flags |= IBV_SEND_INLINE;
}

static bool fits_inline(const struct os_conn *c, const struct verbs_wr *wr)
{
	uint64_t len = 0;

	if (likely(wr->sge_count == 1))
		return wr->sges->len && wr->sges->len <= c->inline_max;
	for (uint32_t i = 0; i < wr->sge_count; i++)
		len += wr->sges[i].len;
	return len && len <= c->inline_max;
}

int verbs_post_recv(struct verbs_conn *conn, const struct verbs_recv *r)
{
	struct ibv_recv_wr chain[WRS_A_CALL], *bad;

	while (r) {
		int rc;

		r = put_recvs(chain, r, 0);
		rc = ibv_post_recv(os_conn(conn)->qp, chain, &bad);
		if (unlikely(rc))
			return -abs(rc);
	}
	return 0;
}

/* As many as one call takes; those that are left. */
static const struct verbs_recv *put_recvs(struct ibv_recv_wr chain[static WRS_A_CALL], const struct verbs_recv *r,
                                          uint64_t mark)
{
	uint32_t count = 0;

	for (; r && count < WRS_A_CALL; r = r->next, count++)
		chain[count] = (struct ibv_recv_wr){ .wr_id = (uintptr_t)r->ctx | mark, .next = &chain[count + 1],
		                                     .sg_list = sges_of(r->sges), .num_sge = r->sge_count };
	chain[count - 1].next = NULL;
	return r;
}

/* --- shared receive queues ------------------------------------------------------------------------- */

struct verbs_srq *platform_srq_make(struct verbs_dev *dev, uint32_t entries, uint32_t sges, struct err *e)
{
	struct os_srq *s = base_zalloc(sizeof(*s));
	struct ibv_srq_init_attr attr = { .srq_context = s, .attr = { .max_wr = entries, .max_sge = sges } };
	struct ibv_srq *ibv = ibv_create_srq(os_dev(dev)->pd, &attr);

	if (!ibv) {
		err_set(e, errno ? -errno : -EIO, "RDMA: adapter %s gives no shared receive queue of %u entries: %s",
		        dev->info.name, entries, strerror(errno));
		free(s);
		return NULL;
	}
	s->ibv = ibv;
	return &s->srq;
}

void platform_srq_free(struct verbs_srq *srq)
{
	struct os_srq *s = os_srq(srq);

	if (ibv_destroy_srq(s->ibv))
		log_warning("RDMA: adapter %s: something still uses a shared receive queue", srq->dev->info.name);
	free(s);
}

int verbs_srq_post(struct verbs_srq *srq, const struct verbs_recv *r)
{
	struct ibv_recv_wr chain[WRS_A_CALL], *bad;

	while (r) {
		int rc;

		r = put_recvs(chain, r, SHARED);
		rc = ibv_post_srq_recv(os_srq(srq)->ibv, chain, &bad);
		if (unlikely(rc))
			return -abs(rc);
	}
	return 0;
}
