/* SPDX-License-Identifier: BSD-3-Clause */
/* remote_rig_test.c: the test's queue pairs, control side, and disk. */
#include "backends/remote/remote_rig_test.h"

#include <errno.h>

struct rig *rig_now;

/* --- what stands for src/nvme ------------------------------------------------------------------------------- */

struct nvme_qpair *nvme_qpair_open(struct nvme_host *h, const struct nvme_login *l, uint16_t qid,
                                   nvme_qpair_event_fn *ready, nvme_qpair_event_fn *gone, void *arg)
{
	struct nvme_qpair *qp = base_zalloc(sizeof(*qp));
	struct remote_lane *lane = arg;

	(void)h;
	must(l->cntlid == NVME_CNTLID_DYNAMIC || (qid >= 1 && qid <= l->io_queues));
	*qp = (struct nvme_qpair){ .rig = rig_now, .path = lane->path->index, .core = lane->core_index, .qid = qid,
		                   .ready = ready, .gone = gone, .arg = arg, .next = rig_now->qpairs };
	qp->nameless = l->cntlid == NVME_CNTLID_DYNAMIC;
	rig_now->qpairs = qp;
	return qp;
}

void nvme_qpair_login(struct nvme_qpair *qp, const struct nvme_login *l, uint16_t qid)
{
	must(qp->nameless && l->cntlid != NVME_CNTLID_DYNAMIC && qid >= 1 && qid <= l->io_queues);
	qp->nameless = false;
	qp->qid = qid;
}

const char *net_addr_text(const struct net_addr *addr, char buf[static NET_ADDR_TEXT_MAX])
{
	(void)addr;
	snprintf(buf, NET_ADDR_TEXT_MAX, "10.0.0.1:4420");
	return buf;
}

void nvme_qpair_on_timeout(struct nvme_qpair *qp, void (*fn)(struct nvme_qpair *qp, struct nvme_op *op, void *arg))
{
	qp->timeout = fn;
}

void nvme_qpair_set_keys(struct nvme_qpair *qp, struct keyring_key *key, struct keyring_key *ctrlr_key)
{
	(void)qp, (void)key, (void)ctrlr_key;
}

void nvme_qpair_authenticate(struct nvme_qpair *qp, nvme_qpair_event_fn *done, void *arg)
{
	done(qp, NULL, arg);
}

uint16_t nvme_qpair_id(const struct nvme_qpair *qp)
{
	return qp->qid;
}

enum nvme_reason nvme_qpair_reason(const struct nvme_qpair *qp)
{
	return qp->reason;
}

void nvme_qpair_submit(struct nvme_qpair *qp, struct nvme_op *op)
{
	must(!qp->closed && qp->count < RIG_HELD_MAX);
	must(reactor_index(reactor_self()) == qp->core);
	op->sent = true;
	op->cid = (uint16_t)qp->count;
	qp->held[qp->count++] = op;
}

void nvme_qpair_submit_fused(struct nvme_qpair *qp, struct nvme_op *first, struct nvme_op *second)
{
	nvme_qpair_submit(qp, first);
	nvme_qpair_submit(qp, second);
}

static void answer(struct nvme_qpair *qp, uint16_t status)
{
	struct nvme_op *op = qp->held[0];

	must(qp->count);
	memmove(qp->held, qp->held + 1, --qp->count * sizeof(qp->held[0]));
	op->cpl = (struct nvme_cqe){ .dw0 = le32_of(0x1234) };
	nvme_cqe_set_status(&op->cpl, status);
	op->done(op);
}

static void fail_held(struct nvme_qpair *qp)
{
	while (qp->count)
		answer(qp, NVME_SC_HOST_PATH_ERROR);
}

void nvme_qpair_fail(struct nvme_qpair *qp, enum nvme_reason reason, const struct err *e)
{
	(void)e;
	if (qp->reason == NVME_REASON_NONE)
		qp->reason = reason;
}

void nvme_qpair_close(struct nvme_qpair *qp)
{
	struct nvme_qpair **at = &qp->rig->qpairs;

	qp->closed = true;
	fail_held(qp);
	while (*at != qp)
		at = &(*at)->next;
	*at = qp->next;
	free(qp);
}

void nvme_qpair_close_then(struct nvme_qpair *qp, void (*closed)(void *arg), void *arg)
{
	nvme_qpair_close(qp);
	closed(arg);
}

const struct nvme_ctrlr_info *nvme_ctrlr_info(const struct nvme_ctrlr *c)
{
	return &rig_now->info[((const struct remote_path *)c)->index];
}

void nvme_ctrlr_submit_admin(struct nvme_ctrlr *c, struct nvme_op *op)
{
	(void)c;
	must(op->cmd.opc == NVME_ADMIN_ABORT_CMD && reactor_is_control(reactor_self()));
	rig_now->aborts++;
	rig_now->abort_cid = le16_get(op->cmd.abort.cid);
	rig_now->admin = op;
}

/* --- what stands for the control side ----------------------------------------------------------------------- */

void remote_path_trouble(struct remote_path *p, enum nvme_reason reason, const struct err *e)
{
	must(reactor_is_control(reactor_self()));
	(void)e;
	rig_now->troubles[p->index]++;
	rig_now->reason = reason;
}

void remote_path_lane_refused(struct remote_path *p, enum nvme_reason reason, const struct err *e)
{
	must(reactor_is_control(reactor_self()));
	(void)e;
	rig_now->refused[p->index]++;
	rig_now->reason = reason;
}

void remote_path_lane_opened(struct remote_path *p)
{
	(void)p;
	rig_now->opens++;
}

void remote_path_ana_changed(struct remote_path *p)
{
	(void)p;
	rig_now->anas++;
}

void remote_path_ns_changed(struct remote_path *p)
{
	(void)p;
	rig_now->nss++;
}

void remote_disk_removed(struct remote_disk *d)
{
	(void)d;
	rig_now->removed++;
}

static void is_down(struct remote_path *p)
{
	(void)p;
	rig_now->downs++;
}

static void is_replayed(struct remote_path *p)
{
	(void)p;
	rig_now->replays++;
}

static void free_view(struct version *v)
{
	free(container_of(v, struct remote_view, version));
}

static void publish_here(void *arg)
{
	struct rig *r = arg;
	struct remote_view *v = base_zalloc(sizeof(*v) + sizeof(v->disks[0]));
	struct remote_view_disk *d = &v->disks[0];

	v->group = &r->group;
	v->disk_count = 1;
	*d = (struct remote_view_disk){ .disk = &r->disk, .policy = r->disk.policy, .selector = r->disk.selector,
		                        .preferred = r->preferred, .hopeless = r->hopeless, .rr_min_io = r->disk.rr_min_io };
	for (uint32_t i = 0; i < RIG_PATHS; i++) {
		v->paths[i] = &r->paths[i];
		v->up[i] = r->up[i];
		d->access[i] = r->access[i];
	}
	version_publish(&r->group.views, &r->publish, &v->version, NULL);
	remote_view_enter(&v->version, RIG_CORES);
}

static void publish_none(void *arg)
{
	struct rig *r = arg;

	version_publish(&r->group.views, &r->publish, NULL, NULL);
}

/* --- running ------------------------------------------------------------------------------------------------ */

void rig_as(struct rig *r, uint32_t core, void (*fn)(void *arg), void *arg)
{
	sim_as(core < RIG_CORES ? core_reactor(r->core, core) : core_control(r->core), fn, arg);
}

static void make_ready(void *arg)
{
	struct nvme_qpair *qp = arg;

	qp->is_ready = true;
	qp->ready(qp, NULL, qp->arg);
}

static bool never(void *arg)
{
	(void)arg;
	return false;
}

void rig_settle(struct rig *r)
{
	bool more = true;

	while (more) {
		sim_run(never, NULL, NS_PER_MS);
		more = false;
		for (struct nvme_qpair *qp = r->qpairs; qp && !more && !r->holds_opening; qp = qp->next)
			if (!qp->is_ready && !qp->reason && !qp->nameless) {
				rig_as(r, qp->core, make_ready, qp);
				more = true;
			}
	}
}

void rig_ready(struct rig *r, struct nvme_qpair *qp)
{
	rig_as(r, qp->core, make_ready, qp);
	rig_settle(r);
}

static void time_is_over(struct sim_event *e) { (void)e; }

void rig_time(struct rig *r, uint64_t ns)
{
	struct sim_event end = { 0 }; /* so that time passes although nobody has anything to do */

	sim_event_at(&end, sim_now_ns() + ns, time_is_over);
	sim_run(never, NULL, ns);
	sim_event_cancel(&end);
	rig_settle(r);
}

void rig_publish(struct rig *r)
{
	rig_as(r, RIG_CORES, publish_here, r);
	rig_settle(r);
}

static void up_here(void *arg)
{
	struct remote_path *p = arg;
	struct nvme_login login = { .io_queues = rig_now->io_queues, .cntlid = 1 };

	p->life++;
	p->state = REMOTE_PATH_UP;
	remote_lanes_up(p, &login);
}

void rig_up(struct rig *r, uint32_t path)
{
	rig_as(r, RIG_CORES, up_here, &r->paths[path]);
	r->up[path] = true;
	rig_publish(r);
}

static void early_here(void *arg)
{
	struct nvme_login login = { .cntlid = NVME_CNTLID_DYNAMIC, .opts.io_queues = rig_now->io_queues };

	remote_lanes_early(arg, &login);
}

void rig_early(struct rig *r, uint32_t path)
{
	rig_as(r, RIG_CORES, early_here, &r->paths[path]);
	rig_settle(r);
}

static void down_here(void *arg)
{
	struct remote_path *p = arg;

	p->state = REMOTE_PATH_DRAINING;
	remote_lanes_down(p, is_down);
}

void rig_down(struct rig *r, uint32_t path)
{
	rig_as(r, RIG_CORES, down_here, &r->paths[path]);
	r->up[path] = false;
	rig_publish(r);
}

struct replay {
	struct remote_path *path;
	uint32_t life;
};

static void replay_here(void *arg)
{
	struct replay *x = arg;

	remote_lanes_replay(x->path, x->life, is_replayed);
}

void rig_replay(struct rig *r, uint32_t path, uint32_t life)
{
	struct replay x = { &r->paths[path], life };

	rig_as(r, RIG_CORES, replay_here, &x);
	rig_settle(r);
}

struct nvme_qpair *rig_qpair(struct rig *r, uint32_t path, uint32_t core)
{
	for (struct nvme_qpair *qp = r->qpairs; qp; qp = qp->next)
		if (qp->path == path && qp->core == core)
			return qp;
	return NULL;
}

struct cut {
	struct nvme_qpair *qp;
	bool sent;
	enum nvme_reason reason;
};

static void cut_here(void *arg)
{
	struct cut *x = arg;
	struct nvme_qpair *qp = x->qp;
	struct err e = { 0 };

	err_set(&e, -ECONNRESET, "cut");
	qp->reason = x->reason;
	for (uint32_t i = 0; i < qp->count; i++)
		qp->held[i]->sent = x->sent;
	fail_held(qp);
	if (qp->is_ready)
		qp->gone(qp, &e, qp->arg);
	else
		qp->ready(qp, &e, qp->arg);
}

void rig_cut(struct rig *r, struct nvme_qpair *qp, bool sent)
{
	struct cut x = { qp, sent, NVME_REASON_RESET };

	rig_as(r, qp->core, cut_here, &x);
	rig_settle(r);
}

void rig_refuse(struct rig *r, struct nvme_qpair *qp)
{
	struct cut x = { qp, false, NVME_REASON_LOGIN_REFUSED };

	must(!qp->is_ready && !qp->nameless);
	rig_as(r, qp->core, cut_here, &x);
	rig_settle(r);
}

struct answer {
	struct nvme_qpair *qp;
	uint16_t status;
};

static void answer_here(void *arg)
{
	struct answer *x = arg;

	answer(x->qp, x->status);
}

void rig_answer(struct rig *r, struct nvme_qpair *qp, uint16_t status)
{
	struct answer x = { qp, status };

	must(qp && qp->count);
	rig_as(r, qp->core, answer_here, &x);
	rig_settle(r);
}

uint32_t rig_held(struct rig *r, uint32_t path)
{
	struct nvme_qpair *qp = rig_qpair(r, path, 0);

	return qp ? qp->count : 0;
}

struct nvme_op *rig_oldest(struct rig *r, uint32_t path)
{
	struct nvme_qpair *qp = rig_qpair(r, path, 0);

	must(qp && qp->count);
	return qp->held[0];
}

/* --- I/O ---------------------------------------------------------------------------------------------------- */

static void io_done(struct bdev_io *b)
{
	struct rig_io *io = container_of(b, struct rig_io, io);

	must(!io->done);
	io->done = true;
}

static void submit_here(void *arg)
{
	struct rig_io *io = arg;

	bdev_submit(io->rig->ch[io->core], &io->io);
}

void rig_io_go(struct rig *r, struct rig_io *io, uint32_t core)
{
	io->rig = r;
	io->core = core;
	io->done = false;
	io->io.done = io_done;
	rig_as(r, core, submit_here, io);
	rig_settle(r);
}

void rig_io(struct rig *r, struct rig_io *io, uint32_t core, enum bdev_op op, uint64_t lba, uint64_t count)
{
	size_t len = count * RIG_BLOCK * (op == BDEV_COMPARE_AND_WRITE ? 2 : 1);
	bool data = op == BDEV_READ || op == BDEV_WRITE || op == BDEV_COMPARE || op == BDEV_COMPARE_AND_WRITE;

	memset(io, 0, sizeof(*io));
	io->io.op = (uint8_t)op;
	io->io.lba = lba;
	io->io.count = count;
	io->io.iovs = io->iov;
	if (data) {
		must(len <= sizeof(io->buf));
		io->iov[0] = (struct iovec){ io->buf, len };
		io->io.iov_count = 1;
	}
	rig_io_go(r, io, core);
}

struct abort {
	struct rig_io *io;
	bool asked;
};

static void abort_here(void *arg)
{
	struct abort *x = arg;

	x->asked = bdev_abort(x->io->rig->ch[x->io->core], &x->io->io);
}

bool rig_abort(struct rig *r, struct rig_io *io)
{
	struct abort x = { .io = io };

	rig_as(r, io->core, abort_here, &x);
	rig_settle(r);
	return x.asked;
}

static void abort_done_here(void *arg)
{
	struct nvme_op *op = arg;

	op->done(op);
}

void rig_abort_done(struct rig *r, uint32_t dw0)
{
	r->admin->cpl = (struct nvme_cqe){ .dw0 = le32_of(dw0) };
	rig_as(r, RIG_CORES, abort_done_here, r->admin);
	rig_settle(r);
}

/* --- coming and going --------------------------------------------------------------------------------------- */

static void disk_destroy(struct bdev *b)
{
	free(container_of(b, struct remote_disk, bdev)->stats);
	bdev_destroyed(b);
}

static const struct bdev_ops disk_ops = {
	.channel_open = remote_channel_open, .channel_close = remote_channel_close, .submit = remote_submit,
	.abort = remote_abort, .remove = remote_disk_remove, .destroy = disk_destroy,
};

static void heard(struct bdev_desc *desc, enum bdev_event event, void *arg)
{
	(void)desc;
	((struct rig *)arg)->unregistered |= event == BDEV_EVENT_REMOVE;
}

static void make_disk(struct rig *r)
{
	struct nvme_ctrlr_info info = { .max_io_bytes = 4 * RIG_BLOCK, .vwc = NVME_VWC_PRESENT, .oncs = 0x1ff, .fuses = 1,
		                        .discard_ranges_max = 4, .zeroes_bytes_max = RIG_BLOCK };
	struct nvme_ns_info ns = { .nsid = 7, .block_size = RIG_BLOCK, .block_count = RIG_BLOCKS,
		                   .copy_range_blocks_max = 1, .copy_blocks_max = 8, .atomic_compare_blocks = 1 };
	struct remote_disk *d = &r->disk;

	d->group = &r->group;
	d->nsid = 7;
	d->bdev.ops = &disk_ops;
	d->bdev.product = "test";
	d->bdev.block_size = RIG_BLOCK;
	d->bdev.block_count = RIG_BLOCKS;
	snprintf(d->bdev.name, sizeof(d->bdev.name), "disk");
	d->stats = base_zalloc((RIG_CORES + 1) * sizeof(*d->stats));
	remote_disk_shape(d, &info, &ns);
	must(bdev_register(r->reg, &d->bdev, NULL) == 0);
	r->desc = bdev_open(r->reg, "disk", true, "test", heard, r, NULL);
	must(r->desc);
}

static void start_here(void *arg)
{
	struct rig *r = arg;
	struct remote_group *g = &r->group;

	r->reg = bdev_registry_make(r->core);
	r->remote.core = r->core;
	r->remote.reg = r->reg;
	r->remote.opts = (struct remote_opts){ .bdev_retry_count = 2, .timeout_us = 1 };
	g->remote = &r->remote;
	g->cores = base_zalloc_aligned(CACHE_LINE, (RIG_CORES + 1) * sizeof(*g->cores));
	version_slot_init(&g->views, r->core);
	g->views.enter = remote_view_enter;
	g->views.free = free_view;
	remote_group_cores_init(g);
	for (uint32_t i = 0; i < RIG_PATHS; i++) {
		struct remote_path *p = &r->paths[i];

		p->group = g;
		p->index = (uint8_t)i;
		p->ctrlr = (struct nvme_ctrlr *)p; /* never looked at but by nvme_ctrlr_info() */
		r->info[i] = (struct nvme_ctrlr_info){ .crdt_100ms = { 1, 20, 300 }, .max_io_bytes = 4 * RIG_BLOCK };
		p->lanes = base_zalloc_aligned(CACHE_LINE, (RIG_CORES + 1) * sizeof(*p->lanes));
		g->paths[i] = p;
		r->access[i] = REMOTE_ACCESS_OPTIMIZED;
		remote_lanes_init(p);
	}
	make_disk(r);
}

static void open_here(void *arg)
{
	struct rig *r = arg;

	r->ch[reactor_index(reactor_self())] = bdev_channel_get(r->desc, NULL);
}

void rig_start(struct rig *r)
{
	rig_start_seed(r, 1);
}

void rig_start_seed(struct rig *r, uint64_t seed)
{
	memset(r, 0, sizeof(*r));
	rig_now = r;
	r->io_queues = RIG_CORES + 1;
	r->preferred = REMOTE_NO_PATH;
	sim_start(seed);
	r->core = core_make(&(struct core_opts){ .cpus = "[0-1]", .mode = CORE_INTERRUPT }, NULL);
	must(r->core);
	rig_as(r, RIG_CORES, start_here, r);
	for (uint32_t i = 0; i < RIG_CORES; i++)
		rig_as(r, i, open_here, r);
	rig_publish(r);
}

static void close_here(void *arg)
{
	struct rig *r = arg;

	bdev_channel_put(r->ch[reactor_index(reactor_self())]);
}

static void unregister_here(void *arg)
{
	struct rig *r = arg;

	if (!r->unregistered)
		bdev_unregister(&r->disk.bdev, NULL, NULL);
	bdev_close(r->desc);
}

static void end_here(void *arg)
{
	struct rig *r = arg;

	for (uint32_t i = 0; i < RIG_PATHS; i++) {
		remote_lanes_fini(&r->paths[i]);
		free(r->paths[i].lanes);
	}
	remote_group_cores_fini(&r->group);
	free(r->group.cores);
	bdev_registry_free(r->reg);
}

void rig_stop(struct rig *r)
{
	for (uint32_t i = 0; i < RIG_PATHS; i++)
		if (r->up[i])
			rig_down(r, i);
	for (uint32_t i = 0; i < RIG_CORES; i++)
		rig_as(r, i, close_here, r);
	for (uint32_t i = 0; i <= RIG_CORES; i++)
		free(atomic_load(&r->disk.stats[i]));
	rig_as(r, RIG_CORES, unregister_here, r);
	rig_settle(r);
	rig_as(r, RIG_CORES, publish_none, r);
	rig_settle(r);
	must(!r->qpairs);
	rig_as(r, RIG_CORES, end_here, r);
	core_free(r->core);
	sim_end();
}
