/* SPDX-License-Identifier: BSD-3-Clause */
/* send.c: commands out, and where the target finds their data.
 *
 * Data that lies in registered memory stays there: it goes with the command if it is to be written and short enough, or
 * the command says with what key the target reads or writes it, in one descriptor or in several behind the command if
 * the target takes so many. Everything else goes through a chunk of the core's. The admin queue's always does: so
 * nothing of a controller that ends has to wait for its connection.
 *
 * What a pass produced is posted together: receives for answers to come first, since they may be used by them.
 */
#include <errno.h>

#include "nvme/rdma/inside.h"

/* --- where the data is ------------------------------------------------------------------------------------------ */

/* A contiguous piece of a command's data. */
struct piece {
	uint8_t *at;
	uint32_t len;
	struct verbs_key key;
};

/* The data as pieces, neighbours joined; 0: more than `max`, or not all in registered memory. */
static uint32_t find_pieces(const struct rdma_qpair *t, const struct nvme_op *op, struct piece *pieces, uint32_t max)
{
	const struct verbs_dev *d = t->link->seat->dev;
	struct op_walk walk = op_walk_over(op);
	uint32_t count = 0;
	struct iovec iov;

	while (op_walk_next(&walk, &iov)) {
		uint8_t *at = iov.iov_base;
		uint32_t len = (uint32_t)iov.iov_len;
		struct piece *last = count ? &pieces[count - 1] : NULL;

		if (last && last->at + last->len == at && verbs_find_key(d, last->at, last->len + len, &last->key)) {
			last->len += len;
			continue;
		}
		if (count == max || !verbs_find_key(d, at, len, &pieces[count].key))
			return 0;
		pieces[count].at = at;
		pieces[count++].len = len;
	}
	return count;
}

static struct nvme_sgl keyed(const void *at, uint32_t len, uint32_t rkey)
{
	return (struct nvme_sgl){
		.addr = le64_of((uintptr_t)at), .klength = { (uint8_t)len, (uint8_t)(len >> 8), (uint8_t)(len >> 16) },
		.key = le32_of(rkey), .id = NVME_SGL_ID(NVME_SGL_KEYED_DATA_BLOCK, NVME_SGL_ADDRESS),
	};
}

static struct nvme_sgl within(uint32_t type, uint32_t len)
{
	return (struct nvme_sgl){ .length = le32_of(len), .id = NVME_SGL_ID(type, NVME_SGL_OFFSET) };
}

static bool goes_along(const struct rdma_qpair *t, const struct nvme_op *op)
{
	return op->data == NVME_OP_TO_CTRLR && op->data_len <= t->qp.in_capsule_bytes;
}

static struct nvme_sqe *capsule_of(const struct rdma_qpair *t, const struct rdma_slot *s)
{
	return (struct nvme_sqe *)rdma_capsule(t->link, (uint16_t)(s - t->slots));
}

static void describe_pieces(struct rdma_qpair *t, struct rdma_slot *s, const struct piece *pieces, uint32_t count)
{
	struct nvme_sqe *cmd = capsule_of(t, s);
	struct nvme_sgl *list = (struct nvme_sgl *)(cmd + 1);

	s->direct = true;
	if (goes_along(t, s->op)) {
		for (uint32_t i = 0; i < count; i++)
			s->sges[s->sge_count++] = (struct verbs_sge){ (uintptr_t)pieces[i].at, pieces[i].len, pieces[i].key.lkey };
		cmd->sgl1 = within(NVME_SGL_DATA_BLOCK, s->op->data_len);
		return;
	}
	if (count == 1) {
		cmd->sgl1 = keyed(pieces[0].at, pieces[0].len, pieces[0].key.rkey);
		return;
	}
	for (uint32_t i = 0; i < count; i++)
		list[i] = keyed(pieces[i].at, pieces[i].len, pieces[i].key.rkey);
	s->sges[0].len += count * (uint32_t)sizeof(list[0]);
	cmd->sgl1 = within(NVME_SGL_LAST_SEGMENT, count * (uint32_t)sizeof(list[0]));
}

/* As it lies, if that can be told. Returns how long a chunk the command needs else; 0: none. */
static uint32_t describe(struct rdma_qpair *t, struct rdma_slot *s)
{
	struct nvme_sqe *cmd = capsule_of(t, s);
	struct nvme_op *op = s->op;
	struct piece pieces[RDMA_DESCRIPTORS_MAX];
	uint32_t max, count;

	*cmd = op->cmd;
	cmd->flags = (uint8_t)nvme_flags_with_psdt(cmd->flags, 1);
	s->sges[0] = (struct verbs_sge){ (uintptr_t)cmd, sizeof(*cmd), t->link->mem.lkey };
	s->sge_count = 1;
	s->direct = false;
	if (op->data == NVME_OP_NONE || !op->data_len) {
		cmd->sgl1 = keyed(NULL, 0, 0);
		return 0;
	}
	if (goes_along(t, op))
		max = t->link->sge_max - 1;
	else
		max = min_u32(max_u32(t->qp.descriptors_max, 1), RDMA_DESCRIPTORS_MAX);
	count = t->qp.qid ? find_pieces(t, op, pieces, max) : 0;
	if (!count)
		return op->data_len;
	describe_pieces(t, s, pieces, count);
	return 0;
}

static void copy_in(const struct rdma_slot *s)
{
	struct op_walk walk = op_walk_over(s->op);
	uint8_t *at = s->chunk;
	struct iovec iov;

	while (op_walk_next(&walk, &iov)) {
		memcpy(at, iov.iov_base, iov.iov_len);
		at += iov.iov_len;
	}
}

static void describe_chunk(struct rdma_qpair *t, struct rdma_slot *s, uint8_t *chunk)
{
	struct nvme_sqe *cmd = capsule_of(t, s);
	const struct verbs_mem *m = &t->link->seat->mem;

	s->chunk = chunk;
	s->chunk_len = s->op->data_len;
	t->chunk_bytes += s->chunk_len;
	rdma_count(&t->link->seat->copied, 1);
	rdma_count(&t->link->seat->copied_bytes, s->chunk_len);
	if (s->op->data == NVME_OP_TO_CTRLR)
		copy_in(s);
	if (goes_along(t, s->op)) {
		s->sges[s->sge_count++] = (struct verbs_sge){ (uintptr_t)chunk, s->chunk_len, m->lkey };
		cmd->sgl1 = within(NVME_SGL_DATA_BLOCK, s->chunk_len);
	} else {
		cmd->sgl1 = keyed(chunk, s->chunk_len, m->rkey);
	}
}

/* --- the line --------------------------------------------------------------------------------------------------- */

static void chunk_is_there(struct wait *w);

/* The head of the line is ready to be posted. */
static void line_up(struct rdma_qpair *t, struct rdma_slot *s)
{
	queue_pop(&t->line);
	queue_push(&t->chain, &s->link);
}

/* One command, or two that the target takes as one: they get all they need, or nothing; two such pairs that had half of
 * it each would wait for ever. False: the head of the line waits, or its second half is not there yet. */
static bool advance(struct rdma_qpair *t)
{
	struct rdma_slot *s = container_of(t->line.first, struct rdma_slot, link), *second = NULL;
	struct chunks *chunks = &t->link->seat->chunks;
	uint32_t first_need, need;
	uint8_t *chunk = NULL;

	if (s->op->fused) {
		if (!s->link.next)
			return false;
		second = container_of(s->link.next, struct rdma_slot, link);
	}
	first_need = align_up(describe(t, s), CHUNK_UNIT);
	need = first_need + (second ? describe(t, second) : 0);
	if (need && t->chunk_bytes && t->chunk_bytes + need > RDMA_SHARE_BYTES)
		return false; /* nvme_rdma_line_go(), when some of it came back */
	if (need && !(chunk = chunks_take(chunks, need))) {
		rdma_count(&t->link->seat->waits, 1);
		waitq_add(&chunks->line, &t->wait, need, chunk_is_there);
		return false;
	}
	if (first_need)
		describe_chunk(t, s, chunk);
	if (second && need > first_need)
		describe_chunk(t, second, chunk + first_need);
	line_up(t, s);
	if (second)
		line_up(t, second);
	return true;
}

void nvme_rdma_line_go(struct rdma_qpair *t)
{
	while (!queue_empty(&t->line) && !list_linked(&t->wait.link) && advance(t))
		nvme_rdma_post_soon(t);
}

static void chunk_is_there(struct wait *w)
{
	nvme_rdma_line_go(container_of(w, struct rdma_qpair, wait));
}

void nvme_rdma_line_end(struct rdma_qpair *t)
{
	if (t->link->up) /* else the seat is control's still, and nothing was sent */
		waitq_remove(&t->link->seat->chunks.line, &t->wait);
	queue_init(&t->line);
	queue_init(&t->chain);
	t->recvs_first = NULL;
	t->recvs_last = &t->recvs_first;
}

void nvme_rdma_submit(struct nvme_qpair *qp, struct nvme_op *op)
{
	struct rdma_qpair *t = rdma_of(qp);
	struct rdma_slot *s = &t->slots[nvme_qpair_slot(qp, op->cid)];

	assert(op->data_len <= (op->fused ? CHUNKS_BYTES_MAX / 2 : CHUNKS_BYTES_MAX) || op->data == NVME_OP_NONE);
	watch_arm(&t->watch);
	s->op = op;
	s->began_ns = reactor_now_ns();
	s->chunk = NULL;
	s->posted = s->sent = s->answered = s->direct = false;
	queue_push(&t->line, &s->link);
	nvme_rdma_line_go(t);
}

/* --- posting ---------------------------------------------------------------------------------------------------- */

void nvme_rdma_post_soon(struct rdma_qpair *t)
{
	defer_last(&t->post_defer, nvme_rdma_post_gathered);
}

static bool post_receives(struct rdma_qpair *t)
{
	int rc;

	if (!t->recvs_first)
		return true;
	*t->recvs_last = NULL;
	rc = verbs_post_recv(t->link->conn, t->recvs_first);
	t->recvs_first = NULL;
	t->recvs_last = &t->recvs_first;
	rdma_count(&t->link->seat->receive_doorbells, 1);
	if (rc)
		nvme_rdma_broke(t, NVME_REASON_RESET, rc, "receives cannot be posted: %s", strerror(-rc));
	return !rc;
}

static void is_posted(struct rdma_qpair *t, struct rdma_slot *s)
{
	s->posted = true;
	s->op->sent = true;
	t->direct_out += s->direct;
	t->ring[t->ring_next++ & t->ring_mask] = (uint16_t)(s - t->slots);
}

/* One doorbell. Only the last SEND of it is told: those before it are complete, then, too. */
static bool post_batch(struct rdma_qpair *t)
{
	struct verbs_wr wrs[RDMA_POST_MAX];
	const struct verbs_wr *bad = NULL;
	uint32_t count = 0;
	int rc;

	for (struct queue_link *l = t->chain.first; l && count < RDMA_POST_MAX; l = l->next, count++) {
		struct rdma_slot *s = container_of(l, struct rdma_slot, link);

		wrs[count] = (struct verbs_wr){ .next = &wrs[count + 1], .ctx = s, .sges = s->sges, .sge_count = s->sge_count,
			                        .op = VERBS_SEND };
	}
	wrs[count - 1].next = NULL;
	wrs[count - 1].signaled = true;
	rc = verbs_post(t->link->conn, wrs, &bad);
	rdma_count(&t->link->seat->doorbells, 1);
	rdma_count(&t->link->seat->sends, count);
	for (uint32_t i = 0; i < count && (!rc || &wrs[i] != bad); i++)
		is_posted(t, container_of(queue_pop(&t->chain), struct rdma_slot, link));
	if (rc)
		nvme_rdma_broke(t, NVME_REASON_RESET, rc, "commands cannot be posted: %s", strerror(-rc));
	return !rc;
}

void nvme_rdma_post_gathered(struct defer *d)
{
	struct rdma_qpair *t = container_of(d, struct rdma_qpair, post_defer);

	if (!t->link || t->link->ended || !post_receives(t))
		return;
	while (!queue_empty(&t->chain) && post_batch(t))
		;
}
