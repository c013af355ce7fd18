/* SPDX-License-Identifier: BSD-3-Clause */
/* host_qpair.c: a queue pair of the synthetic host, and its I/O. All with the mutex held. */
#include "host.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- sending ---------------------------------------------------------------------------------------------------- */

static uint32_t data_in_capsule(const struct host_slot *s)
{
	return s->sqe.sgl1.id == NVME_SGL_ID(NVME_SGL_DATA_BLOCK, NVME_SGL_OFFSET) ? le32_get(s->sqe.sgl1.length) : 0;
}

static bool deliver(struct host_qpair *q, struct host_slot *s)
{
	uint32_t in_capsule = data_in_capsule(s);
	struct ibv_sge pieces[2] = {
		{ .addr = (uintptr_t)&s->sqe, .length = sizeof s->sqe },
		{ .addr = (uintptr_t)s->data, .length = in_capsule },
	};

	return fake_qp_deliver(q->qp, pieces, in_capsule ? 2 : 1, NULL);
}

void host_qpair_send(struct host_qpair *q, uint16_t slot)
{
	struct host_slot *s = &q->slots[slot];

	if (q->wait_head == q->wait_tail && deliver(q, s)) {
		s->busy = true;
		q->busy++;
		return;
	}
	q->waiting[q->wait_tail++ % HOST_DEPTH_MAX] = slot;
}

void host_qpair_send_waiting(struct host_qpair *q)
{
	while (q->wait_head != q->wait_tail) {
		struct host_slot *s = &q->slots[q->waiting[q->wait_head % HOST_DEPTH_MAX]];

		if (!deliver(q, s))
			return;
		s->busy = true;
		q->busy++;
		q->wait_head++;
	}
}

struct nvme_sqe *host_qpair_command(struct host_qpair *q, uint8_t opc, uint32_t data_len)
{
	struct host_slot *s = &q->slots[0];

	s->sqe = (struct nvme_sqe){ .opc = opc, .flags = 1 << 6, .sgl1 = {
		.addr = le64_of((uintptr_t)s->data), .klength = { data_len & 0xff, data_len >> 8 & 0xff, data_len >> 16 },
		.key = le32_of(data_len ? q->key : 0), .id = NVME_SGL_ID(NVME_SGL_KEYED_DATA_BLOCK, NVME_SGL_ADDRESS) } };
	return &s->sqe;
}

void host_qpair_connect(struct host_qpair *q)
{
	struct nvmf_connect_data *data = (void *)q->slots[0].data;
	struct nvme_sqe *sqe = host_qpair_command(q, NVME_ADMIN_FABRICS, sizeof *data);

	*data = (struct nvmf_connect_data){ .hostid = "fake_verbs.host", .hostnqn = "nqn.2026-01.io.gantry:fake-verbs" };
	data->cntlid = le16_of(q->qid ? q->host->cntlid : 0xffff);
	snprintf((char *)data->subsysnqn, sizeof data->subsysnqn, "%s", q->host->settings.subnqn);
	sqe->fctype = NVME_FABRICS_CONNECT;
	sqe->connect.qid = le16_of(q->qid);
	sqe->connect.sqsize = le16_of(q->depth);
	host_qpair_send(q, 0);
}

/* --- load ------------------------------------------------------------------------------------------------------- */

static uint64_t random_piece(struct host_qpair *q)
{
	q->random ^= q->random << 13;
	q->random ^= q->random >> 7;
	q->random ^= q->random << 17;
	return (uint64_t)((unsigned __int128)q->random * q->host->pieces >> 64);
}

static void set_data(struct host_qpair *q, struct host_slot *s, bool in_capsule)
{
	uint32_t len = (uint32_t)q->host->settings.bytes;
	uint8_t subtype = q->host->settings.invalidate ? NVME_SGL_INVALIDATE : NVME_SGL_ADDRESS;

	s->sqe.sgl1 = (struct nvme_sgl){ .addr = le64_of((uintptr_t)s->data),
		.klength = { len & 0xff, len >> 8 & 0xff, len >> 16 }, .key = le32_of(q->key),
		.id = NVME_SGL_ID(NVME_SGL_KEYED_DATA_BLOCK, subtype) };
	if (in_capsule)
		s->sqe.sgl1 = (struct nvme_sgl){ .length = le32_of(len),
			.id = NVME_SGL_ID(NVME_SGL_DATA_BLOCK, NVME_SGL_OFFSET) };
}

static uint64_t pattern_of(const struct host_qpair *q, const struct host_slot *s)
{
	return ((uint64_t)q->qid << 48 | (uint64_t)(s - q->slots) << 32 | s->turn / 2) * 0x9e3779b97f4a7c15u;
}

/* Verify: a slot writes a piece of its own, and reads it back into other bytes. */
static void next_to_verify(struct host_qpair *q, struct host_slot *s)
{
	const struct host_settings *set = &q->host->settings;
	bool is_read = s->turn % 2, fits = set->in_capsule && set->bytes <= q->host->icd_max;
	uint64_t *words = (uint64_t *)s->data, slot = (uint64_t)(s - q->slots);
	uint64_t piece = ((slot * set->qpairs + q->qid - 1) + (uint64_t)(s->turn / 2) * 7 * set->depth * set->qpairs) %
	                 (q->host->pieces - q->host->pieces % (set->depth * set->qpairs));

	s->sqe.opc = is_read ? NVME_CMD_READ : NVME_CMD_WRITE;
	s->sqe.rw.slba = le64_of(piece * (set->bytes / q->host->block_size));
	for (size_t i = 0; i < set->bytes / sizeof *words; i++)
		words[i] = is_read ? 0 : pattern_of(q, s) + i;
	set_data(q, s, !is_read && fits && s->turn / 2 % 2);
}

static void verify(struct host_qpair *q, struct host_slot *s)
{
	const uint64_t *words = (const uint64_t *)s->data;

	for (size_t i = 0; s->turn % 2 && i < q->host->settings.bytes / sizeof *words; i++) {
		if (words[i] == pattern_of(q, s) + i)
			continue;
		host_failed(q->host, "a read gave other bytes than were written", 0);
		break;
	}
	s->turn++;
}

/* What stays the same from one command of a slot to the next. */
static void prepare(struct host_qpair *q, struct host_slot *s, bool writes)
{
	const struct host *h = q->host;
	bool in_capsule = writes && h->settings.in_capsule && h->settings.bytes <= h->icd_max;

	s->sqe = (struct nvme_sqe){ .opc = writes ? NVME_CMD_WRITE : NVME_CMD_READ, .flags = 1 << 6,
		.cid = le16_of((uint16_t)(s - q->slots)), .nsid = le32_of(1) };
	s->sqe.rw.nlb = le16_of((uint16_t)(h->settings.bytes / h->block_size - 1));
	set_data(q, s, in_capsule);
}

static void choose(struct host_qpair *q, struct host_slot *s)
{
	struct host *h = q->host;

	if (unlikely(h->filled < h->pieces)) {
		if (!s->fills)
			prepare(q, s, true);
		s->fills = true;
		s->sqe.rw.slba = le64_of(h->filled++ * (h->settings.bytes / h->block_size));
		return;
	}
	if (unlikely(s->fills))
		prepare(q, s, h->settings.workload == HOST_WRITE);
	s->fills = false;
	if (h->settings.workload == HOST_VERIFY)
		next_to_verify(q, s);
	else
		s->sqe.rw.slba = le64_of(random_piece(q) * (h->settings.bytes / h->block_size));
}

void host_qpair_begin_load(struct host_qpair *q)
{
	for (uint16_t i = 0; i < q->depth; i++) {
		prepare(q, &q->slots[i], q->host->settings.workload == HOST_WRITE);
		choose(q, &q->slots[i]);
		host_qpair_send(q, i);
	}
}

static void next(struct host_qpair *q, uint16_t slot)
{
	choose(q, &q->slots[slot]);
	if (unlikely(q->host->settings.pause_us))
		q->waiting[q->wait_tail++ % HOST_DEPTH_MAX] = slot; /* host.c sends them */
	else
		host_qpair_send(q, slot);
}

/* --- answers ---------------------------------------------------------------------------------------------------- */

static void answered_load(struct host_qpair *q, uint16_t slot, uint16_t status)
{
	struct host *h = q->host;

	q->done += !q->slots[slot].fills;
	if (unlikely(status))
		host_failed(h, "a command failed", status);
	if (h->settings.workload == HOST_VERIFY && !q->slots[slot].fills)
		verify(q, &q->slots[slot]);
	if (unlikely(h->settings.commands && q->done >= h->settings.commands && !h->ending)) {
		h->ending = true;
		host_changed();
	}
	if (likely(!h->ending))
		next(q, slot);
	else if (!q->busy)
		host_changed();
}

static void answered_connect(struct host_qpair *q, uint16_t status)
{
	if (status) {
		host_failed(q->host, "Connect of an I/O queue failed", status);
		return;
	}
	q->state = HOST_READY;
	host_changed();
}

/* The response's capsule is one piece, as everybody sends it. */
static void message(struct fake_peer *p, const struct ibv_sge *from, uint32_t count)
{
	struct host_qpair *q = container_of(p, struct host_qpair, peer);
	const struct nvme_cqe *cqe = (const void *)(uintptr_t)from[0].addr;
	uint16_t cid, status;

	if (count != 1 || from[0].length != sizeof *cqe)
		fake_fault("a response of %u pieces, the first of %u bytes", count, from[0].length);
	cid = le16_get(cqe->cid);
	status = le16_get(cqe->status) >> 1;
	if (cid >= q->depth || !q->slots[cid].busy)
		fake_fault("queue %u: a response to command %u, which is not outstanding", q->qid, cid);
	q->slots[cid].busy = false;
	q->busy--;
	if (likely(q->host->loading && q->qid))
		answered_load(q, cid, status);
	else if (q->qid)
		answered_connect(q, status);
	else
		host_admin_answer(q->host, cqe);
	if (unlikely(!q->cpu_known))
		q->cpu_known = !pthread_getcpuclockid(pthread_self(), &q->cpu);
}

static void room(struct fake_peer *p)
{
	struct host_qpair *q = container_of(p, struct host_qpair, peer);

	if (!q->host->settings.pause_us || !q->host->loading)
		host_qpair_send_waiting(q);
}

static void peer_ended(struct fake_peer *p)
{
	struct host_qpair *q = container_of(p, struct host_qpair, peer);

	q->qp = NULL;
	q->state = HOST_OVER;
	host_changed();
}

/* --- connecting ------------------------------------------------------------------------------------------------- */

static void accepted(struct cm_caller *c, struct fake_qp *qp)
{
	struct host_qpair *q = container_of(c, struct host_qpair, caller);

	q->qp = qp;
	q->state = HOST_CONNECTS;
	fake_qp_connect(qp, NULL, &q->peer, 7);
	host_qpair_connect(q);
}

static void caller_ended(struct cm_caller *c)
{
	struct host_qpair *q = container_of(c, struct host_qpair, caller);

	q->state = HOST_OVER;
	host_changed();
}

void host_qpair_init(struct host_qpair *q, struct host *h, uint16_t qid, uint16_t depth, size_t stride)
{
	static const struct cm_caller_ops ops = { .accepted = accepted, .ended = caller_ended };

	q->caller.ops = &ops;
	q->peer = (struct fake_peer){ .message = message, .room = room, .ended = peer_ended };
	q->host = h;
	q->qid = qid;
	q->depth = depth;
	q->stride = stride;
	q->random = 0x853c49e6748fea9bu + qid;
	q->slots = calloc(depth, sizeof *q->slots);
	q->waiting = calloc(HOST_DEPTH_MAX, sizeof *q->waiting);
	q->data = aligned_alloc(4096, depth * stride);
	if (!q->slots || !q->waiting || !q->data)
		fake_fault("no memory for the host's queue pair");
	memset(q->data, 0, depth * stride);
	q->key = fake_mr_add(q->data, depth * stride);
	for (uint16_t i = 0; i < depth; i++)
		q->slots[i].data = q->data + i * stride;
}

/* As Linux does: it begins no READs, and serves so many. */
void host_qpair_call(struct host_qpair *q)
{
	struct nvme_rdma_cm_req req = { .qid = le16_of(q->qid), .hrqsize = le16_of((uint16_t)(q->depth + 1)),
	                                .hsqsize = le16_of(q->depth), .cntlid = le16_of(q->qid ? q->host->cntlid : 0) };

	q->state = HOST_CALLS;
	q->busy = 0;
	q->wait_head = q->wait_tail = 0;
	for (uint16_t i = 0; i < q->depth; i++)
		q->slots[i].busy = false;
	cm_call(q->host->listener, &q->caller, &req, sizeof req, FAKE_READ_DEPTH_MAX);
}
