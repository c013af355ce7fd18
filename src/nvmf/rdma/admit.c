/* SPDX-License-Identifier: BSD-3-Clause */
/* admit.c: who asks to be let in: what it wants is checked, a core is chosen, queues are made there, and only when the
 * core waits for its commands the host is told that it may come. And how what was let in is freed. Control reactor.
 */
#include <errno.h>

#include "nvmf/nvmf.h"
#include "nvmf/rdma/rdma.h"

static void refuse(struct rdma_transport *tr, struct verbs_conn *vc, uint16_t sts, const char *why);
static bool has_too_many(struct rdma_transport *tr, const struct verbs_conn *vc, struct err *e);
static void make_others_go(struct rdma_transport *tr, struct rdma_conn *c);
static struct rdma_home *home_of(struct rdma_dev *d, struct reactor *r, struct err *e);
static struct rdma_conn *conn_make(struct rdma_home *h, struct verbs_conn *vc, const struct rdma_wish *wish,
                                   struct err *e);
static int make_slots(struct rdma_conn *c, struct err *e);
static int make_queues(struct rdma_conn *c, struct err *e);
static void conn_unmake(struct rdma_conn *c);
static void drop(struct rdma_conn *c);
static void on_event(void *arg, enum verbs_conn_event event, const struct verbs_params *p, int rc);

/* --- what it asks for --- */

/* The order of the checks is SPDK's. A queue is as deep as both sides and the adapter can have it; Connect must not ask
 * for more then. */
uint16_t rdma_admit_check(const struct nvmf_transport_opts *opts, const struct verbs_dev_info *info,
                          const struct verbs_params *p, struct rdma_wish *ret_wish)
{
	struct nvme_rdma_cm_req req;
	uint32_t depth;

	if (p->data_len < sizeof(req))
		return NVME_RDMA_CM_INVALID_LEN;
	memcpy(&req, p->data, sizeof(req));
	if (le16_get(req.recfmt) != NVME_RDMA_CM_FMT_1_0)
		return NVME_RDMA_CM_INVALID_RECFMT;
	if (le16_get(req.qid) > opts->max_io_qpairs_per_ctrlr)
		return NVME_RDMA_CM_INVALID_QID;
	if (!le16_get(req.hsqsize))
		return NVME_RDMA_CM_INVALID_HSQSIZE;
	if (le16_get(req.hrqsize) < 2)
		return NVME_RDMA_CM_INVALID_HRQSIZE;
	if (!p->read_serve)
		return NVME_RDMA_CM_INVALID_IRD;
	depth = le16_get(req.qid) ? opts->max_queue_depth : opts->max_aq_depth;
	depth = min_u32(depth, min_u32(le16_get(req.hrqsize), le16_get(req.hsqsize) + 1u));
	depth = min_u32(depth, info->recv_max);
	ret_wish->qid = le16_get(req.qid);
	ret_wish->depth = (uint16_t)depth;
	ret_wish->read_depth = (uint16_t)min_u32(p->read_serve, info->read_depth_max);
	return depth < 2 || !ret_wish->read_depth ? NVME_RDMA_CM_NO_RSC : 0;
}

static const char *status_text(uint16_t sts)
{
	switch (sts) {
#define TEXT_CASE(value, name, text) case value: return text;
	NVME_RDMA_CM_STATUSES(TEXT_CASE)
	default: return "?";
	}
}

static void refuse(struct rdma_transport *tr, struct verbs_conn *vc, uint16_t sts, const char *why)
{
	const struct nvme_rdma_cm_rej rej = { .recfmt = le16_of(NVME_RDMA_CM_FMT_1_0), .sts = le16_of(sts) };
	struct net_addr local, peer;
	char text[NET_ADDR_TEXT_MAX];

	verbs_conn_addrs(vc, &local, &peer);
	tr->rejected++;
	if (log_may(&tr->complaints))
		log_warning("NVMe/RDMA: %s is not let in: %s%s%s", net_addr_text(&peer, text), status_text(sts),
		            why ? ": " : "", why ? why : "");
	verbs_reject(vc, &rej, sizeof(rej));
	verbs_conn_free(vc);
}

void rdma_admit(void *arg, struct verbs_conn *vc, const struct verbs_params *p)
{
	struct rdma_transport *tr = ((struct rdma_listener *)arg)->tr;
	struct rdma_dev *d = rdma_dev_of(tr, verbs_conn_dev(vc));
	struct err e = { 0 };
	struct rdma_wish wish;
	struct reactor *on;
	struct rdma_home *h;
	struct rdma_conn *c;
	uint16_t sts;

	if (!d || d->gone || tr->stopping) {
		refuse(tr, vc, NVME_RDMA_CM_NO_RSC, tr->stopping ? "the transport stops" : "its adapter goes");
		return;
	}
	sts = rdma_admit_check(&tr->base.opts, verbs_dev_info(d->vd), p, &wish);
	if (sts) {
		refuse(tr, vc, sts, NULL);
		return;
	}
	if (has_too_many(tr, vc, &e)) {
		refuse(tr, vc, NVME_RDMA_CM_NO_RSC, e.text);
		return;
	}
	on = nvmf_target_place_on_node(tr->base.target, verbs_dev_info(d->vd)->numa_node);
	h = home_of(d, on, &e);
	c = h ? conn_make(h, vc, &wish, &e) : NULL;
	if (!c || make_slots(c, &e)) {
		nvmf_target_unplace(tr->base.target, on);
		if (c)
			conn_unmake(c);
		refuse(tr, vc, NVME_RDMA_CM_NO_RSC, e.text);
		rdma_dev_maybe_retire(d);
		return;
	}
	nvmf_stranger_came(&tr->strangers, &c->stranger, &c->peer);
	verbs_conn_set_event(vc, on_event, c);
	log_debug("NVMe/RDMA: a connection comes, queue %u of %u entries; %u are there", wish.qid, wish.depth,
	          tr->conn_count);
	msg_send(on, &c->msg, rdma_conn_arrive);
}

/* Who connects and then says nothing holds a queue pair, and memory, until its time is up: no address all of it. */
static bool has_too_many(struct rdma_transport *tr, const struct verbs_conn *vc, struct err *e)
{
	uint32_t may = RDMA_STRANGERS_CTRLRS * (tr->base.opts.max_io_qpairs_per_ctrlr + 1u), count;
	struct net_addr local, peer;

	verbs_conn_addrs(vc, &local, &peer);
	count = nvmf_strangers_of(&tr->strangers, &peer);
	if (count < may)
		return false;
	err_set(e, -EAGAIN, "%u connections of its address have not said who they are yet", count);
	return true;
}

/* Nor may all of them together. Another goes only for one that has its queues. */
static void make_others_go(struct rdma_transport *tr, struct rdma_conn *c)
{
	struct nvmf_stranger *goes = nvmf_stranger_stays(&tr->strangers, &c->stranger);
	char text[NET_ADDR_TEXT_MAX];
	struct rdma_conn *other;

	if (!goes)
		return;
	other = container_of(goes, struct rdma_conn, stranger);
	if (log_may(&tr->complaints))
		log_warning("NVMe/RDMA: %u connections have not said who they are: one of %s goes for the next",
		            tr->strangers.max, net_addr_text(&other->peer, text));
	if (other->told || !other->vc)
		return;
	other->crowded = true;
	msg_send(other->home->reactor, &other->out_msg, rdma_conn_out_on_core);
}

static struct rdma_home *home_of(struct rdma_dev *d, struct reactor *r, struct err *e)
{
	uint32_t i = reactor_index(r);

	if (!d->homes[i]) {
		d->homes[i] = rdma_home_make(d->tr, d, i, e);
		d->home_count += d->homes[i] != NULL;
	}
	return d->homes[i];
}

/* --- a connection, and its queues --- */

/* Most iovecs of an I/O's buffers: large ones, and a tail of small ones. */
static uint32_t iovs_of(uint32_t bytes)
{
	return bytes / MEM_LARGE_BYTES + min_u32(MEM_IOV_MAX, MEM_LARGE_BYTES / 2 / MEM_SMALL_BYTES);
}

static struct rdma_conn *conn_make(struct rdma_home *h, struct verbs_conn *vc, const struct rdma_wish *wish,
                                   struct err *e)
{
	const struct verbs_dev_info *info = verbs_dev_info(h->dev->vd);
	struct rdma_transport *tr = h->tr;
	struct rdma_conn *c = base_zalloc(sizeof(*c));
	uint32_t most, usual;

	c->qp.transport = &tr->base;
	c->home = h;
	c->vc = vc;
	c->qid = wish->qid;
	c->depth = wish->depth;
	c->slot_count = (uint16_t)min_u32(UINT16_MAX, c->depth + min_u32(c->depth, RDMA_SLOTS_MORE));
	c->read_depth = wish->read_depth;
	c->sges_max = (uint16_t)max_u32(1, min_u32(info->read_sge_max, RDMA_SGES_MAX));
	/* Room for what each entry's command needs if its memory is described by one key, and for any one command: with
	 * many keys some have to wait. */
	usual = (uint32_t)div_up(iovs_of(tr->base.opts.max_io_size), c->sges_max) + 1;
	most = RDMA_DESCS_MAX + (uint32_t)div_up(min_u32(MEM_IOV_MAX, iovs_of(tr->base.opts.max_io_size)), c->sges_max) + 1;
	c->send_max = c->slot_count * usual;
	if (tr->base.opts.data_wr_pool_size)
		c->send_max = min_u32(c->send_max, tr->base.opts.data_wr_pool_size);
	c->send_max = min_u32(max_u32(c->send_max, most), info->send_max);
	verbs_conn_addrs(vc, &c->local, &c->peer);
	list_add_tail(&tr->conns, &c->all);
	tr->conn_count++;
	h->dev->conns++;
	if (c->send_max < most) { /* a command could wait for ever */
		err_set(e, -ENOSPC, "adapter %s can have %u work requests of a connection, a command may need %u", info->name,
		        c->send_max, most);
		conn_unmake(c);
		return NULL;
	}
	rdma_conn_init(c);
	return c;
}

/* Slots are reserved, and charged; memory is touched as the host uses its queue. */
static int make_slots(struct rdma_conn *c, struct err *e)
{
	uint64_t bytes = (uint64_t)c->slot_count * sizeof(*c->slots);

	if (!mem_charge(c->home->tr->core, bytes))
		return err_set(e, -ENOMEM, "slots for %u commands do not fit into the memory budget; raise --memory", c->depth);
	c->slots_bytes = bytes;
	c->slots = malloc(bytes);
	must(c->slots);
	return 0;
}

static int make_queues(struct rdma_conn *c, struct err *e)
{
	struct rdma_home *h = c->home;
	struct verbs_queues q = {
		.cq = h->cq, .srq = h->srq, .send_max = c->send_max, .recv_max = h->srq ? 0 : c->depth,
		.send_sge_max = c->sges_max, .recv_sge_max = h->tr->base.opts.in_capsule_data_size ? 2 : 1,
		.inline_max = sizeof(struct nvme_cqe),
	};
	int rc = verbs_conn_make_queues(c->vc, &q, e);

	if (rc)
		return rc;
	c->has_queues = true;
	c->answers_inline = q.inline_max >= sizeof(struct nvme_cqe);
	if (h->srq && c->answers_inline)
		return 0;
	return rdma_capsules_make(&c->own, h, c, h->srq ? 0 : c->depth, c->answers_inline ? 0 : c->slot_count, e);
}

/* But its verbs connection. */
static void conn_unmake(struct rdma_conn *c)
{
	struct rdma_transport *tr = c->home->tr;

	rdma_capsules_free(&c->own, c->home);
	mem_uncharge(tr->core, c->slots_bytes + (c->lists ? c->slot_count * sizeof(*c->lists) : 0));
	free(c->lists);
	free(c->slots);
	list_del(&c->all);
	tr->conn_count--;
	c->home->dev->conns--;
	free(c);
}

/* --- its events --- */

void rdma_conn_queue_on_control(struct msg *m)
{
	struct rdma_conn *c = container_of(m, struct rdma_conn, msg);
	struct err e = { 0 };

	if (make_queues(c, &e)) {
		if (log_may(&conn_tr(c)->complaints))
			log_warning("NVMe/RDMA: a connection is not let in: %s", e.text);
		rdma_conn_tell_lost(c);
	} else if (!c->told) {
		make_others_go(conn_tr(c), c);
	}
	if (c->has_queues)
		msg_send(c->home->reactor, m, rdma_conn_queued_on_core);
}

/* Of the first try, so that all together take no less than `ms`. */
uint8_t rdma_ack_exponent(uint32_t ms)
{
	uint8_t exponent = 1;

	while (exponent < VERBS_ACK_EXPONENT_MAX && (VERBS_ACK_NS << exponent) * (RDMA_RETRIES + 1) < ms * NS_PER_MS)
		exponent++;
	return exponent;
}

void rdma_conn_accept_on_control(struct msg *m)
{
	struct rdma_conn *c = container_of(m, struct rdma_conn, msg);
	const struct nvme_rdma_cm_rep rep = { .recfmt = le16_of(NVME_RDMA_CM_FMT_1_0), .crqsize = le16_of(c->depth) };
	const struct verbs_params p = { .data = &rep, .data_len = sizeof(rep), .read_depth = (uint8_t)c->read_depth,
	                                .retries = RDMA_RETRIES, .rnr_retries = RDMA_RNR_FOREVER, .flow_control = true };

	c->met = true;
	if (c->dropping) {
		drop(c);
		return;
	}
	if (c->told || c->crowded)
		return;
	c->accepted = true;
	if (conn_tr(c)->base.opts.ack_timeout_ms)
		verbs_conn_set_ack_timeout(c->vc, rdma_ack_exponent(conn_tr(c)->base.opts.ack_timeout_ms));
	if (verbs_accept(c->vc, &p))
		rdma_conn_tell_lost(c);
}

void rdma_conn_connected_on_control(struct msg *m)
{
	struct rdma_conn *c = container_of(m, struct rdma_conn, msg);

	nvmf_stranger_connected(&conn_tr(c)->strangers, &c->stranger);
}

static void on_event(void *arg, enum verbs_conn_event event, const struct verbs_params *p, int rc)
{
	struct rdma_conn *c = arg;

	(void)p;
	(void)rc;
	switch (event) {
	case VERBS_CONN_ESTABLISHED:
	case VERBS_CONN_RESOLVED:
		return; /* its commands say so */
	case VERBS_CONN_REJECTED:
	case VERBS_CONN_UNREACHABLE:
	case VERBS_CONN_ENDED:
		rdma_conn_tell_lost(c);
	}
}

void rdma_conn_tell_lost(struct rdma_conn *c)
{
	if (c->told || !c->vc)
		return;
	c->told = true;
	msg_send(c->home->reactor, &c->lost_msg, rdma_conn_lost_on_core);
}

/* --- letting go --- */

void rdma_conn_drop_on_control(struct msg *m)
{
	struct rdma_conn *c = container_of(m, struct rdma_conn, drop_msg);

	c->dropping = true;
	if (!c->has_queues || c->met) /* else its core does not know yet what to forget */
		drop(c);
}

static void drop(struct rdma_conn *c)
{
	const struct nvme_rdma_cm_rej rej = { .recfmt = le16_of(NVME_RDMA_CM_FMT_1_0),
	                                      .sts = le16_of(NVME_RDMA_CM_NO_RSC) };

	if (c->accepted) {
		verbs_disconnect(c->vc);
	} else {
		conn_tr(c)->rejected++;
		verbs_reject(c->vc, &rej, sizeof(rej));
	}
	verbs_conn_free(c->vc);
	c->vc = NULL;
	msg_send(c->home->reactor, &c->drop_msg, rdma_conn_dropped_on_core);
}

void rdma_conn_free_on_control(struct msg *m)
{
	struct rdma_conn *c = container_of(m, struct rdma_conn, drop_msg);
	struct rdma_dev *d = c->home->dev;

	nvmf_stranger_gone(&conn_tr(c)->strangers, &c->stranger);
	conn_unmake(c);
	rdma_dev_maybe_retire(d);
}
