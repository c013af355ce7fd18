/* SPDX-License-Identifier: BSD-3-Clause */
/* test_rig.c: the world, the transport made of memory, and shorthands for commands. */
#include "nvmf/test_rig.h"

#include "bdev/bdev_device.h"
#include "core/freeze.h"

/* --- a transport made of memory ------------------------------------------------------------------------- */

static struct rig *the_rig(struct nvmf_transport *tr);

struct fake {
	struct nvmf_transport base;
	struct rig *rig;
	void (*stopped)(void *arg);
	void *stopped_arg;
};

static struct rig *the_rig(struct nvmf_transport *tr)
{
	return container_of(tr, struct fake, base)->rig;
}

static struct rig_qp *rig_qp_of(const struct nvmf_qpair *qp)
{
	return container_of(qp, struct rig_qp, qp);
}

static struct nvmf_transport *fake_make(struct nvmf_target *t, const struct nvmf_transport_opts *opts, struct err *e)
{
	struct fake *f = base_zalloc(sizeof(*f));

	f->base.opts = *opts;
	return &f->base;
}

static void fake_stop(struct nvmf_transport *tr, void (*done)(void *arg), void *arg)
{
	done(arg); /* tests close their queue pairs before */
}

static void fake_free(struct nvmf_transport *tr)
{
	free(container_of(tr, struct fake, base));
}

static int fake_listen(struct nvmf_transport *tr, const struct net_addr *addr, struct err *e)
{
	if (net_addr_port(addr) == 666)
		return err_set(e, -EADDRINUSE, "the port is taken");
	the_rig(tr)->listens++;
	return 0;
}

static void fake_unlisten(struct nvmf_transport *tr, const struct net_addr *addr)
{
	the_rig(tr)->listens--;
}

static void take_data(struct rig_req *rq)
{
	struct nvmf_req *req = &rq->req;
	uint32_t at = 0;

	rq->got = req->sent_len;
	rq->was_lent = req->lent;
	for (uint32_t i = 0; i < req->iov_count && at < req->sent_len; i++) {
		uint32_t n = min_u32((uint32_t)req->iovs[i].iov_len, req->sent_len - at);

		memmove(rq->data + at, req->iovs[i].iov_base, n);
		at += n;
	}
	must(at == req->sent_len);
}

static void answered(struct rig_req *rq)
{
	struct nvmf_req *req = &rq->req;

	if (req->data == NVMF_DATA_TO_HOST)
		take_data(rq);
	nvmf_req_finish_cpl(req);
	rq->cqe = req->cpl;
	rq->status = nvme_cqe_status(&req->cpl);
	rq->dw0 = le32_get(req->cpl.dw0);
	nvmf_req_free(req);
	must(!rq->done);
	rq->done = true;
}

static void fake_req_done(struct nvmf_req *req)
{
	answered(container_of(req, struct rig_req, req));
}

static void fake_disconnect(struct nvmf_qpair *qp)
{
	rig_qp_of(qp)->told_to_go = true;
	nvmf_qpair_close(qp);
}

static void fake_closed(struct nvmf_qpair *qp)
{
	rig_qp_of(qp)->closed = true;
}

static void fake_sized(struct nvmf_qpair *qp)
{
	rig_qp_of(qp)->size = qp->size;
}

static void fake_addrs(const struct nvmf_qpair *qp, struct net_addr *ret_local, struct net_addr *ret_peer)
{
	*ret_local = *ret_peer = rig_qp_of(qp)->local;
	net_addr_set_port(ret_peer, 50000);
}

static const struct nvmf_transport_ops fake_ops = {
	.name = "TCP", .trtype = NVMF_TRTYPE_TCP, .make = fake_make, .stop = fake_stop, .free = fake_free,
	.listen = fake_listen, .unlisten = fake_unlisten, .req_done = fake_req_done, .qpair_disconnect = fake_disconnect,
	.qpair_closed = fake_closed, .qpair_sized = fake_sized, .qpair_addrs = fake_addrs,
};

/* --- changes -------------------------------------------------------------------------------------------------- */

struct change_args {
	struct rig *r;
	const char *text;
	struct net_addr addr;
	uint32_t nsid, group, seconds;
	uint8_t state;
	bool flag;
	const struct nvmf_host_keys *keys;
	void (*fn)(struct change_args *a);
};

static void change_done(struct nvmf_change *c)
{
	((struct rig *)c->arg)->changed = true;
}

static bool is_changed(void *arg)
{
	return ((struct rig *)arg)->changed;
}

static void change_here(void *arg)
{
	struct change_args *a = arg;

	a->fn(a);
}

static int change_run(struct rig *r, struct change_args *a, void (*fn)(struct change_args *a))
{
	a->r = r;
	a->fn = fn;
	r->changed = false;
	r->change = (struct nvmf_change){ .target = r->target, .done = change_done, .arg = r };
	sim_as(core_control(r->core), change_here, a);
	must(sim_run(is_changed, r, 100 * NS_PER_S));
	return r->change.err.code;
}

#define CHANGE(name, call) static void name(struct change_args *a) { call; }
CHANGE(do_add_host, nvmf_add_host(&a->r->change, RIG_NQN, a->text))
CHANGE(do_add_host_keys, nvmf_add_host_keys(&a->r->change, RIG_NQN, a->text, a->keys))
CHANGE(do_set_host_keys, nvmf_set_host_keys(&a->r->change, RIG_NQN, a->text, a->keys))
CHANGE(do_remove_host, nvmf_remove_host(&a->r->change, RIG_NQN, a->text))
CHANGE(do_allow_any, nvmf_allow_any_host(&a->r->change, RIG_NQN, a->flag))
CHANGE(do_add_ns, nvmf_add_ns(&a->r->change, RIG_NQN, &(struct nvmf_ns_opts){ .bdev_name = a->text, .nsid = a->nsid }))
CHANGE(do_add_hidden, nvmf_add_ns(&a->r->change, RIG_NQN,
       &(struct nvmf_ns_opts){ .bdev_name = a->text, .nsid = a->nsid, .no_auto_visible = true }))
CHANGE(do_show_ns, nvmf_show_ns(&a->r->change, RIG_NQN, a->nsid, RIG_HOST, a->flag))
CHANGE(do_set_group, nvmf_set_ns_group(&a->r->change, RIG_NQN, a->nsid, a->group))
CHANGE(do_set_ana, nvmf_set_ana_state(&a->r->change, RIG_NQN, "tcp", &a->addr, a->group, a->state, a->seconds))
CHANGE(do_remove_ns, nvmf_remove_ns(&a->r->change, RIG_NQN, a->nsid))
CHANGE(do_add_listener, nvmf_add_listener(&a->r->change, RIG_NQN, "tcp", &a->addr))
CHANGE(do_remove_listener, nvmf_remove_listener(&a->r->change, RIG_NQN, "tcp", &a->addr))
CHANGE(do_add_subsystem, nvmf_add_subsystem(&a->r->change, &(struct nvmf_subsystem_opts){ .nqn = a->text }))
CHANGE(do_remove_subsystem, nvmf_remove_subsystem(&a->r->change, a->text))

int rig_add_host(struct rig *r, const char *host)
{
	return change_run(r, &(struct change_args){ .text = host }, do_add_host);
}

int rig_add_host_keys(struct rig *r, const char *host, const struct nvmf_host_keys *keys)
{
	return change_run(r, &(struct change_args){ .text = host, .keys = keys }, do_add_host_keys);
}

int rig_set_host_keys(struct rig *r, const char *host, const struct nvmf_host_keys *keys)
{
	return change_run(r, &(struct change_args){ .text = host, .keys = keys }, do_set_host_keys);
}

int rig_remove_host(struct rig *r, const char *host)
{
	return change_run(r, &(struct change_args){ .text = host }, do_remove_host);
}

int rig_allow_any(struct rig *r, bool allow)
{
	return change_run(r, &(struct change_args){ .flag = allow }, do_allow_any);
}

int rig_add_ns(struct rig *r, const char *bdev, uint32_t nsid)
{
	return change_run(r, &(struct change_args){ .text = bdev, .nsid = nsid }, do_add_ns);
}

int rig_add_hidden_ns(struct rig *r, const char *bdev, uint32_t nsid)
{
	return change_run(r, &(struct change_args){ .text = bdev, .nsid = nsid }, do_add_hidden);
}

int rig_show_ns(struct rig *r, uint32_t nsid, bool visible)
{
	return change_run(r, &(struct change_args){ .nsid = nsid, .flag = visible }, do_show_ns);
}

int rig_set_ns_group(struct rig *r, uint32_t nsid, uint32_t group)
{
	return change_run(r, &(struct change_args){ .nsid = nsid, .group = group }, do_set_group);
}

int rig_set_ana(struct rig *r, const char *addr, const char *port, uint32_t group, uint8_t state, uint32_t seconds)
{
	struct change_args a = { .group = group, .state = state, .seconds = seconds };

	must(!net_addr_parse(NET_IPV4, addr, port, &a.addr, NULL));
	return change_run(r, &a, do_set_ana);
}

int rig_remove_ns(struct rig *r, uint32_t nsid)
{
	return change_run(r, &(struct change_args){ .nsid = nsid }, do_remove_ns);
}

int rig_add_listener(struct rig *r, const char *addr, const char *port)
{
	struct change_args a = { 0 };

	must(!net_addr_parse(NET_IPV4, addr, port, &a.addr, NULL));
	return change_run(r, &a, do_add_listener);
}

int rig_remove_listener(struct rig *r, const char *addr, const char *port)
{
	struct change_args a = { 0 };

	must(!net_addr_parse(NET_IPV4, addr, port, &a.addr, NULL));
	return change_run(r, &a, do_remove_listener);
}

int rig_add_subsystem(struct rig *r, const char *nqn)
{
	return change_run(r, &(struct change_args){ .text = nqn }, do_add_subsystem);
}

int rig_remove_subsystem(struct rig *r, const char *nqn)
{
	return change_run(r, &(struct change_args){ .text = nqn }, do_remove_subsystem);
}

/* --- the world -------------------------------------------------------------------------------------------------- */

static void do_add_transport(struct change_args *a)
{
	const struct nvmf_transport_opts opts = { .max_queue_depth = 128, .max_io_qpairs_per_ctrlr = 8, .max_aq_depth = 32,
	                                          .in_capsule_data_size = 4096, .max_io_size = 131072 };

	nvmf_add_transport(&a->r->change, &fake_ops, &opts);
}

static void set_up(void *arg)
{
	struct rig *r = arg;
	const struct malloc_opts ram = { .name = "ram", .block_count = RIG_BLOCKS, .block_size = RIG_BLOCK };
	const struct null_opts nul = { .name = "nul", .block_count = 1u << 20, .block_size = 4096 };
	const struct malloc_opts spare = { .name = "spare", .block_count = 64, .block_size = 4096 };
	struct bdev *b;

	r->reg = bdev_registry_make(r->core);
	must(!malloc_create(r->reg, &ram, &b, NULL));
	must(!malloc_create(r->reg, &spare, &b, NULL));
	must(!null_create(r->reg, &nul, &b, NULL));
	r->target = nvmf_target_make(r->core, r->reg);
}

void rig_start(struct rig *r, uint64_t seed)
{
	struct err e = { 0 };

	memset(r, 0, sizeof(*r));
	list_init(&r->qpairs);
	sim_start(seed);
	r->core = core_make(&(struct core_opts){ .cpus = "[0-2]", .mode = CORE_INTERRUPT, .memory_bytes = 32 * MIB }, &e);
	must(r->core);
	sim_as(core_control(r->core), set_up, r);
	must(!change_run(r, &(struct change_args){ 0 }, do_add_transport));
	r->fake = nvmf_target_transport(r->target, "tcp");
	container_of(r->fake, struct fake, base)->rig = r;
	must(!rig_add_subsystem(r, RIG_NQN));
	must(!rig_add_host(r, RIG_HOST));
	must(!rig_add_ns(r, "ram", 0));
	must(!rig_add_ns(r, "nul", 0));
	must(!rig_add_listener(r, "127.0.0.1", "4420"));
}

void rig_pass(uint64_t ns)
{
	sim_run(NULL, NULL, ns);
}

static void unregistered(void *arg, int rc);

static void unregister_next(struct rig *r)
{
	struct bdev *b = bdev_first(r->reg);

	if (b) {
		bdev_unregister(b, unregistered, r);
		return;
	}
	bdev_registry_free(r->reg);
	r->stopped = true;
}

static void unregistered(void *arg, int rc)
{
	unregister_next(arg);
}

static void target_stopped(void *arg)
{
	unregister_next(arg);
}

static void stop_here(void *arg)
{
	nvmf_target_stop(((struct rig *)arg)->target, target_stopped, arg);
}

static bool is_stopped(void *arg)
{
	return ((struct rig *)arg)->stopped;
}

void rig_stop(struct rig *r)
{
	list_each_safe(l, &r->qpairs) {
		struct rig_qp *q = list_entry(l, struct rig_qp, link);

		if (!q->qp.closing)
			rig_close(q);
		must(rig_gone(q));
	}
	sim_as(core_control(r->core), stop_here, r);
	must(sim_run(is_stopped, r, 100 * NS_PER_S));
	sim_run(NULL, NULL, NS_PER_S);
	core_free(r->core);
	sim_end();
}

/* --- queue pairs --------------------------------------------------------------------------------- */

static void open_here(void *arg)
{
	struct rig_qp *q = arg;

	nvmf_qpair_init(&q->qp, q->rig->fake);
}

struct rig_qp *rig_open(struct rig *r, uint32_t core)
{
	struct rig_qp *q = base_zalloc_aligned(CACHE_LINE, sizeof(*q));

	q->rig = r;
	must(!net_addr_parse(NET_IPV4, "127.0.0.1", "4420", &q->local, NULL));
	list_add_tail(&r->qpairs, &q->link);
	sched_place_came(&r->target->place, core_reactor(r->core, core));
	sim_as(core_reactor(r->core, core), open_here, q);
	return q;
}

static void close_here(void *arg)
{
	nvmf_qpair_close(&((struct rig_qp *)arg)->qp);
}

void rig_close(struct rig_qp *q)
{
	sim_as(q->qp.reactor, close_here, q);
}

static bool is_closed(void *arg)
{
	return ((struct rig_qp *)arg)->closed;
}

bool rig_gone(struct rig_qp *q)
{
	if (!sim_run(is_closed, q, 10 * NS_PER_S))
		return false;
	list_del(&q->link);
	free(q);
	return true;
}

static void freeze_here(void *arg)
{
	struct rig_qp *q = ((void **)arg)[0];

	nvmf_qpair_freeze(((void **)arg)[1], &q->qp);
}

void rig_move(struct rig_qp *q, uint32_t core)
{
	struct reactor *from = q->qp.reactor, *to = core_reactor(q->rig->core, core);
	struct freeze out, in;

	freeze_init(&out);
	q->qp.reactor = to;
	sim_as(from, freeze_here, (void *[]){ q, &out });
	rig_pass(50 * NS_PER_US); /* what is addressed to it meanwhile has to wait */
	freeze_init_thaw(&in, out.buf, out.len);
	sim_as(to, freeze_here, (void *[]){ q, &in });
	must(freeze_ok(&in));
	freeze_fini(&in);
	freeze_fini(&out);
}

/* --- commands ------------------------------------------------------------------------------------ */

/* Data in three pieces of odd sizes, so that nobody takes one iovec for granted; devices want blocks whole. */
static void give_buffers(struct rig_req *rq)
{
	struct nvmf_req *req = &rq->req;
	uint32_t len = req->data_len, cut = len > 1024 ? 512 : len;

	req->iovs = rq->iovs;
	rq->iovs[0] = (struct iovec){ rq->data, cut };
	rq->iovs[1] = (struct iovec){ rq->data + cut, len - cut };
	req->iov_count = len > cut ? 2 : 1;
}

/* A device's memory instead of buffers, for a read's data or a write's. */
static bool lent(struct rig_req *rq)
{
	struct nvmf_req *req = &rq->req;
	uint32_t at = 0;

	if (!req->may_lend || rq->q->rig->no_lending || req->lend_iovs_max > ARRAY_SIZE(rq->iovs))
		return false;
	req->iovs = rq->iovs;
	req->iov_max = ARRAY_SIZE(rq->iovs);
	if (req->data == NVMF_DATA_TO_HOST)
		return true;
	if (!nvmf_req_lend(req))
		return false;
	rq->write_lent = true;
	for (uint32_t i = 0; i < req->iov_count; at += (uint32_t)req->iovs[i++].iov_len)
		memcpy(req->iovs[i].iov_base, rq->data + at, req->iovs[i].iov_len);
	must(at == req->data_len);
	return true;
}

static void send_here(void *arg)
{
	struct rig_req *rq = arg;
	struct nvmf_req *req = &rq->req;

	nvmf_qpair_seen(req->qpair);
	if (!nvmf_req_parse(req)) {
		rq->refused = true;
		answered(rq);
		return;
	}
	if (req->data != NVMF_DATA_NONE && req->data_len > rq->len) {
		nvmf_req_fail(req, NVME_SC_SGL_INVALID_DATA | NVME_SC_DNR);
		answered(rq);
		return;
	}
	if (!lent(rq) && req->data != NVMF_DATA_NONE)
		give_buffers(rq);
	if (!rq->q->rig->data_is_late)
		nvmf_req_execute(req);
}

static void execute_here(void *arg)
{
	nvmf_req_execute(&((struct rig_req *)arg)->req);
}

void rig_data_came(struct rig_req *rq)
{
	sim_as(rq->q->qp.reactor, execute_here, rq);
}

static void drop_here(void *arg)
{
	answered(arg);
}

void rig_data_lost(struct rig_req *rq)
{
	sim_as(rq->q->qp.reactor, drop_here, rq);
}

struct rig_req *rig_send(struct rig_qp *q, const struct nvme_sqe *sqe, void *data, uint32_t len)
{
	struct rig_req *rq = base_zalloc(sizeof(*rq));

	rq->q = q;
	rq->req.qpair = &q->qp;
	rq->req.cmd = *sqe;
	rq->data = data;
	rq->len = len;
	sim_as(q->qp.reactor, send_here, rq);
	return rq;
}

static bool is_done(void *arg)
{
	return ((struct rig_req *)arg)->done;
}

bool rig_wait(struct rig_req *rq, uint64_t ns)
{
	return sim_run(is_done, rq, ns);
}

uint16_t rig_end(struct rig_req *rq)
{
	uint16_t status;

	must(rig_wait(rq, 60 * NS_PER_S));
	status = rq->status;
	free(rq);
	return status;
}

uint16_t rig_cmd(struct rig_qp *q, const struct nvme_sqe *sqe, void *data, uint32_t len, struct nvme_cqe *ret_cqe)
{
	struct rig_req *rq = rig_send(q, sqe, data, len);

	must(rig_wait(rq, 60 * NS_PER_S));
	if (ret_cqe)
		*ret_cqe = rq->cqe;
	return rig_end(rq);
}

struct nvme_sqe rig_sqe(uint8_t opc, uint32_t nsid)
{
	static uint16_t cid;

	return (struct nvme_sqe){ .opc = opc, .flags = 1 << 6, .nsid = le32_of(nsid), .cid = le16_of(++cid) };
}

struct nvme_sqe rig_rw(uint8_t opc, uint32_t nsid, uint64_t lba, uint32_t blocks)
{
	struct nvme_sqe sqe = rig_sqe(opc, nsid);

	sqe.rw.slba = le64_of(lba);
	sqe.rw.nlb = le16_of((uint16_t)(blocks - 1));
	return sqe;
}

struct nvme_sqe rig_connect_sqe(uint16_t qid, uint16_t entries)
{
	struct nvme_sqe sqe = rig_sqe(NVME_ADMIN_FABRICS, 0);

	sqe.fctype = NVME_FABRICS_CONNECT;
	sqe.connect.qid = le16_of(qid);
	sqe.connect.sqsize = le16_of((uint16_t)(entries - 1));
	sqe.connect.kato = le32_of(5000);
	return sqe;
}

void rig_connect_data(struct nvmf_connect_data *d, const char *subnqn, const char *host, uint16_t cntlid)
{
	memset(d, 0, sizeof(*d));
	d->cntlid = le16_of(cntlid);
	d->hostid[0] = 7;
	text_pad(d->subsysnqn, sizeof(d->subsysnqn), subnqn, 0);
	text_pad(d->hostnqn, sizeof(d->hostnqn), host, 0);
}

uint16_t rig_connect(struct rig_qp *q, uint16_t qid, const char *subnqn, uint16_t *cntlid)
{
	struct nvme_sqe sqe = rig_connect_sqe(qid, 32);
	struct nvmf_connect_data d;
	struct nvme_cqe cqe;
	uint16_t status;

	rig_connect_data(&d, subnqn, RIG_HOST, qid ? *cntlid : NVME_CNTLID_DYNAMIC);
	status = rig_cmd(q, &sqe, &d, sizeof(d), &cqe);
	if (!status && !qid)
		*cntlid = le16_get(cqe.cntlid);
	return status;
}

uint16_t rig_property_set(struct rig_qp *q, uint32_t offset, uint64_t value)
{
	struct nvme_sqe sqe = rig_sqe(NVME_ADMIN_FABRICS, 0);

	sqe.fctype = NVME_FABRICS_PROPERTY_SET;
	sqe.property.ofst = le32_of(offset);
	sqe.property.value = le64_of(value);
	return rig_cmd(q, &sqe, NULL, 0, NULL);
}

uint64_t rig_property_get(struct rig_qp *q, uint32_t offset, bool eight)
{
	struct nvme_sqe sqe = rig_sqe(NVME_ADMIN_FABRICS, 0);
	struct nvme_cqe cqe;

	sqe.fctype = NVME_FABRICS_PROPERTY_GET;
	sqe.property.attrib = eight;
	sqe.property.ofst = le32_of(offset);
	must(!rig_cmd(q, &sqe, NULL, 0, &cqe));
	return le64_get(cqe.value);
}

struct rig_qp *rig_admin(struct rig *r, uint32_t core, uint16_t *ret_cntlid)
{
	struct rig_qp *q = rig_open(r, core);

	must(!rig_connect(q, 0, RIG_NQN, ret_cntlid));
	must(!rig_property_set(q, NVME_REG_CC, RIG_CC_ENABLE));
	return q;
}

struct rig_qp *rig_io(struct rig *r, uint32_t core, uint16_t qid, uint16_t cntlid)
{
	struct rig_qp *q = rig_open(r, core);

	must(!rig_connect(q, qid, RIG_NQN, &cntlid));
	return q;
}
