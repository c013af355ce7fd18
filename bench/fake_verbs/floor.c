/* SPDX-License-Identifier: BSD-3-Clause */
/* floor.c: the least that a target can do under the fake rdma-core: every command is answered from one buffer, by what
 * a chain a poll needs and nothing else. What it takes per command is the fake's own part of any target's figures. */
#include "base/base.h"
#include "wire/nvme.h"
#include "wire/nvme_rdma.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <infiniband/verbs.h>
#include <rdma/rdma_cma.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DEPTH 128u
#define POLL 32u
#define POLLS_BETWEEN_EVENTS 1000u
#define CAPSULE_DATA 4096u
#define BLOCKS 262144u

struct conn;
struct capsule {
	struct conn *conn;
	struct nvme_sqe *sqe;
	struct nvme_cqe cqe;
	struct ibv_sge recv_sges[2], data_sge, cqe_sge;
	struct ibv_recv_wr recv;
	struct ibv_send_wr write, send;
};

struct conn {
	struct rdma_cm_id *id;
	struct capsule capsules[DEPTH];
	struct ibv_send_wr *first, **last;
	struct ibv_recv_wr *first_recv, **last_recv;
};

static struct rdma_event_channel *channel;
static struct ibv_pd *pd;
static struct ibv_cq *cq;
static struct ibv_mr *mr;
static char *memory;                  /* data; then capsules of all connections */
static size_t used;

static void must_be(bool good, const char *what)
{
	if (good)
		return;
	fprintf(stderr, "%s: %s\n", what, strerror(errno));
	exit(1);
}

static void *take(size_t bytes)
{
	void *at = memory + used;

	used += (bytes + 63) / 64 * 64;
	must_be(used < 64 * MIB, "memory");
	return at;
}

static void begin(struct ibv_context *ctx)
{
	pd = ibv_alloc_pd(ctx);
	cq = ibv_create_cq(ctx, 16384, NULL, NULL, 0);
	memory = calloc(64, MIB);
	must_be(pd && cq && memory, "beginning");
	mr = ibv_reg_mr(pd, memory, 64 * MIB, IBV_ACCESS_LOCAL_WRITE);
	used = NVME_IDENTIFY_SIZE;
}

/* --- connections ------------------------------------------------------------------------------------------------ */

static void capsule_init(struct conn *c, struct capsule *cap)
{
	uint32_t key = mr->lkey;

	cap->conn = c;
	cap->sqe = take(sizeof(*cap->sqe));
	cap->recv_sges[0] = (struct ibv_sge){ (uintptr_t)cap->sqe, sizeof(*cap->sqe), key };
	cap->recv_sges[1] = (struct ibv_sge){ (uintptr_t)take(CAPSULE_DATA), CAPSULE_DATA, key };
	cap->recv = (struct ibv_recv_wr){ .wr_id = (uintptr_t)cap, .sg_list = cap->recv_sges, .num_sge = 2 };
	cap->data_sge = (struct ibv_sge){ (uintptr_t)memory, 0, key };
	cap->cqe_sge = (struct ibv_sge){ (uintptr_t)&cap->cqe, sizeof(cap->cqe), 0 };
	cap->write = (struct ibv_send_wr){ .next = &cap->send, .sg_list = &cap->data_sge, .num_sge = 1,
	                                   .opcode = IBV_WR_RDMA_WRITE };
	cap->send = (struct ibv_send_wr){ .sg_list = &cap->cqe_sge, .num_sge = 1, .opcode = IBV_WR_SEND,
	                                  .send_flags = IBV_SEND_SIGNALED | IBV_SEND_INLINE };
}

static void forget_chains(struct conn *c)
{
	c->first = NULL;
	c->last = &c->first;
	c->first_recv = NULL;
	c->last_recv = &c->first_recv;
}

static void post(struct conn *c)
{
	struct ibv_recv_wr *bad_recv;
	struct ibv_send_wr *bad;

	*c->last = NULL;
	*c->last_recv = NULL;
	must_be(!c->first_recv || !ibv_post_recv(c->id->qp, c->first_recv, &bad_recv), "post_recv");
	must_be(!c->first || !ibv_post_send(c->id->qp, c->first, &bad), "post_send");
	forget_chains(c);
}

static void let_in(struct rdma_cm_id *id)
{
	struct conn *c = calloc(1, sizeof(*c));
	struct ibv_qp_init_attr attr = { .cap = { .max_send_wr = 2 * DEPTH, .max_recv_wr = DEPTH, .max_send_sge = 1,
		.max_recv_sge = 2, .max_inline_data = 64 }, .qp_type = IBV_QPT_RC };
	struct nvme_rdma_cm_rep rep = { .crqsize = le16_of(DEPTH) };
	struct rdma_conn_param param = { .private_data = &rep, .private_data_len = sizeof(rep), .initiator_depth = 16,
	                                 .rnr_retry_count = 7 };

	if (!pd)
		begin(id->verbs);
	attr.send_cq = attr.recv_cq = cq;
	c->id = id;
	id->context = c;
	must_be(!rdma_create_qp(id, pd, &attr), "create_qp");
	forget_chains(c);
	for (uint32_t i = 0; i < DEPTH; i++) {
		capsule_init(c, &c->capsules[i]);
		*c->last_recv = &c->capsules[i].recv;
		c->last_recv = &c->capsules[i].recv.next;
	}
	post(c);
	must_be(!rdma_accept(id, &param), "accept");
}

static void take_events(void)
{
	struct rdma_cm_event *e;

	while (!rdma_get_cm_event(channel, &e)) {
		enum rdma_cm_event_type type = e->event;
		struct rdma_cm_id *id = e->id;

		rdma_ack_cm_event(e);
		if (type == RDMA_CM_EVENT_CONNECT_REQUEST)
			let_in(id);
		else if (type == RDMA_CM_EVENT_DISCONNECTED)
			exit(0);
	}
}

/* --- commands --------------------------------------------------------------------------------------------------- */

static uint32_t identify(const struct nvme_sqe *sqe)
{
	memset(memory, 0, NVME_IDENTIFY_SIZE);
	if (sqe->identify.cns == NVME_CNS_CTRL) {
		((struct nvme_id_ctrl *)memory)->ioccsz = le32_of((64 + CAPSULE_DATA) / 16);
	} else {
		((struct nvme_id_ns *)memory)->nsze = le64_of(BLOCKS);
		((struct nvme_id_ns *)memory)->lbaf[0].ds = 12;
	}
	return NVME_IDENTIFY_SIZE;
}

/* Bytes that go to the host. Writes that come by their own READ are not done. */
static uint32_t carry_out(const struct nvme_sqe *sqe, struct nvme_cqe *cqe)
{
	*cqe = (struct nvme_cqe){ .cid = sqe->cid };
	if (likely(sqe->opc == NVME_CMD_READ))
		return nvme_sgl_klength(&sqe->sgl1);
	if (sqe->opc == NVME_ADMIN_FABRICS && sqe->fctype == NVME_FABRICS_CONNECT)
		cqe->cntlid = le16_of(1);
	else if (sqe->opc == NVME_ADMIN_FABRICS && sqe->fctype == NVME_FABRICS_PROPERTY_GET)
		cqe->value = le64_of(1); /* CSTS.RDY */
	else if (sqe->opc == NVME_ADMIN_IDENTIFY)
		return identify(sqe);
	return 0;
}

static void answer(struct capsule *cap)
{
	struct conn *c = cap->conn;
	uint32_t len = carry_out(cap->sqe, &cap->cqe);
	const struct nvme_sgl *sgl = &cap->sqe->sgl1;

	cap->data_sge.length = len;
	cap->write.wr.rdma.remote_addr = le64_get(sgl->addr);
	cap->write.wr.rdma.rkey = le32_get(sgl->key);
	*c->last = len ? &cap->write : &cap->send;
	c->last = &cap->send.next;
	*c->last_recv = &cap->recv;
	c->last_recv = &cap->recv.next;
}

static void poll_once(void)
{
	struct ibv_wc wcs[POLL];
	int n = ibv_poll_cq(cq, POLL, wcs);
	struct conn *c = NULL;

	for (int i = 0; i < n; i++) {
		struct capsule *cap = (void *)(uintptr_t)wcs[i].wr_id;

		if (wcs[i].status || wcs[i].opcode != IBV_WC_RECV)
			continue;
		if (c && c != cap->conn)
			post(c);
		c = cap->conn;
		answer(cap);
	}
	if (c)
		post(c);
}

int main(void)
{
	struct sockaddr_in addr = { .sin_family = AF_INET, .sin_port = htons(NVME_RDMA_PORT),
	                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct rdma_cm_id *listener;

	must_be(rdma_get_devices(NULL), "adapters");
	channel = rdma_create_event_channel();
	must_be(channel && !fcntl(channel->fd, F_SETFL, O_NONBLOCK), "channel");
	must_be(!rdma_create_id(channel, &listener, NULL, RDMA_PS_TCP), "listener");
	must_be(!rdma_bind_addr(listener, (struct sockaddr *)&addr) && !rdma_listen(listener, 16), "listen");
	for (uint64_t i = 0;; i++) {
		if (i % POLLS_BETWEEN_EVENTS == 0)
			take_events();
		if (cq)
			poll_once();
	}
}
