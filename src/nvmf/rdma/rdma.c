/* SPDX-License-Identifier: BSD-3-Clause */
/* rdma.c: the transport itself: options, listeners, adapters that come and go, and the end. Control reactor. */
#include <errno.h>

#include "nvmf/nvmf.h"
#include "nvmf/rdma/rdma.h"

static struct nvmf_transport *rdma_make(struct nvmf_target *t, const struct nvmf_transport_opts *opts, struct err *e);
static int rdma_listen(struct nvmf_transport *base, const struct net_addr *addr, struct err *e);
static void rdma_unlisten(struct nvmf_transport *base, const struct net_addr *addr);
static void on_dev_event(struct verbs_watcher *w, struct verbs_dev *vd, enum verbs_dev_event event);
static void dev_came(struct rdma_transport *tr, struct verbs_dev *vd);
static void dev_gone(struct rdma_dev *d);
static void home_lose_on_core(struct msg *m);
static void home_told(struct msg *m);
static void home_end_on_core(struct msg *m);
static void home_ended(struct msg *m);
static void dev_free(struct rdma_dev *d);
static void rdma_stop(struct nvmf_transport *base, void (*done)(void *arg), void *arg);
static void maybe_stopped(struct rdma_transport *tr);
static void stopped(struct msg *m);
static void rdma_free(struct nvmf_transport *base);

const struct nvmf_transport_ops nvmf_rdma_ops = {
	.name = "RDMA",
	.trtype = NVMF_TRTYPE_RDMA,
	.make = rdma_make,
	.stop = rdma_stop,
	.free = rdma_free,
	.listen = rdma_listen,
	.unlisten = rdma_unlisten,
	.req_done = rdma_req_done,
	.req_abort = rdma_req_abort,
	.qpair_disconnect = rdma_conn_disconnect,
	.qpair_closed = rdma_conn_closed,
	.qpair_sized = rdma_conn_sized,
	.qpair_addrs = rdma_conn_addrs,
	/* No qpair_move: a connection's completions come to the completion queue that it began with. */
	.stats = rdma_stats,
	.device_stats = rdma_device_stats,
};

/* --- making --- */

/* Their slots shall leave most of the memory to others. */
static uint32_t strangers_max(struct core *core, const struct nvmf_transport_opts *opts)
{
	uint64_t each = (opts->max_queue_depth + RDMA_SLOTS_MORE) * sizeof(struct rdma_req);
	uint32_t of_address = RDMA_STRANGERS_CTRLRS * (opts->max_io_qpairs_per_ctrlr + 1u);
	struct mem_stats mem;

	mem_get_stats(core, &mem);
	return (uint32_t)max_u64(of_address, min_u64(RDMA_STRANGERS_MAX, mem.charge_bytes_max / 4 / each));
}

static struct nvmf_transport *rdma_make(struct nvmf_target *t, const struct nvmf_transport_opts *opts, struct err *e)
{
	struct core *core = reactor_core(reactor_self());
	struct rdma_transport *tr;
	struct verbs *v;

	v = verbs_get(core, e);
	if (!v)
		return NULL;
	tr = base_zalloc(sizeof(*tr));
	tr->base.ops = &nvmf_rdma_ops;
	tr->base.target = t;
	tr->base.opts = *opts;
	if (!opts->data_timeout_ms)
		tr->base.opts.data_timeout_ms = RDMA_DATA_TIMEOUT_MS;
	tr->base.sgls = NVME_SGLS_KEYED | NVME_SGLS_OFFSET;
	tr->base.msdbd = (uint8_t)max_u32(1, min_u32(RDMA_DESCS_MAX, opts->in_capsule_data_size / sizeof(struct nvme_sgl)));
	tr->core = core;
	tr->verbs = v;
	list_init(&tr->devs);
	list_init(&tr->listeners);
	list_init(&tr->conns);
	nvmf_strangers_init(&tr->strangers, strangers_max(core, opts));
	tr->watcher.event = on_dev_event;
	verbs_watch(v, &tr->watcher);
	return &tr->base;
}

/* --- listening --- */

static int rdma_listen(struct nvmf_transport *base, const struct net_addr *addr, struct err *e)
{
	struct rdma_transport *tr = rdma_of(base);
	struct rdma_listener *l = base_zalloc(sizeof(*l));
	uint32_t backlog = base->opts.acceptor_backlog ? base->opts.acceptor_backlog : RDMA_BACKLOG;

	l->tr = tr;
	l->addr = *addr;
	l->listener = verbs_listen(tr->verbs, addr, backlog, rdma_admit, l, e);
	if (!l->listener) {
		free(l);
		return e && e->code ? e->code : -EIO;
	}
	list_add_tail(&tr->listeners, &l->link);
	return 0;
}

static void rdma_unlisten(struct nvmf_transport *base, const struct net_addr *addr)
{
	list_each_safe(p, &rdma_of(base)->listeners) {
		struct rdma_listener *l = list_entry(p, struct rdma_listener, link);

		if (!net_addr_equal(&l->addr, addr))
			continue;
		verbs_listener_close(l->listener);
		list_del(&l->link);
		free(l);
	}
}

/* --- adapters --- */

static void on_dev_event(struct verbs_watcher *w, struct verbs_dev *vd, enum verbs_dev_event event)
{
	struct rdma_transport *tr = container_of(w, struct rdma_transport, watcher);
	struct rdma_dev *d = rdma_dev_of(tr, vd);
	const char *name = verbs_dev_info(vd)->name;

	switch (event) {
	case VERBS_DEV_CAME:
		dev_came(tr, vd);
		return;
	case VERBS_DEV_GONE:
		log_notice("NVMe/RDMA: adapter %s is gone", name);
		if (d)
			dev_gone(d);
		return;
	case VERBS_DEV_PORT_UP:
	case VERBS_DEV_PORT_DOWN:
		log_notice("NVMe/RDMA: adapter %s: its port is %s", name, event == VERBS_DEV_PORT_UP ? "up" : "down");
		return;
	}
}

struct rdma_dev *rdma_dev_of(struct rdma_transport *tr, struct verbs_dev *vd)
{
	list_each(l, &tr->devs) {
		struct rdma_dev *d = list_entry(l, struct rdma_dev, link);

		if (d->vd == vd)
			return d;
	}
	return NULL;
}

static void dev_came(struct rdma_transport *tr, struct verbs_dev *vd)
{
	struct rdma_dev *d = base_zalloc(sizeof(*d));

	d->tr = tr;
	d->vd = vd;
	verbs_dev_ref(vd);
	list_add_tail(&tr->devs, &d->link);
	log_info("NVMe/RDMA: adapter %s", verbs_dev_info(vd)->name);
}

/* Lose its connections; when they are freed, what cores have of it; then let it go. */
static void dev_gone(struct rdma_dev *d)
{
	if (d->gone)
		return;
	d->gone = true;
	for (uint32_t i = 0; i < core_reactor_count(d->tr->core); i++) {
		struct rdma_home *h = d->homes[i];

		if (!h)
			continue;
		h->told = true;
		msg_send(h->reactor, &h->msg, home_lose_on_core);
	}
	rdma_dev_maybe_retire(d);
}

static void home_lose_on_core(struct msg *m)
{
	struct rdma_home *h = container_of(m, struct rdma_home, msg);

	h->stopping = true;
	rdma_home_lose_all(h, "its adapter, or the transport, goes");
	msg_send(core_control(h->tr->core), m, home_told);
}

static void home_told(struct msg *m)
{
	struct rdma_home *h = container_of(m, struct rdma_home, msg);

	h->told = false;
	rdma_dev_maybe_retire(h->dev);
}

void rdma_dev_maybe_retire(struct rdma_dev *d)
{
	struct rdma_transport *tr = d->tr;

	if (!d->gone || d->retiring || d->conns)
		return;
	for (uint32_t i = 0; i < core_reactor_count(tr->core); i++)
		if (d->homes[i] && d->homes[i]->told)
			return;
	d->retiring = true;
	for (uint32_t i = 0; i < core_reactor_count(tr->core); i++)
		if (d->homes[i])
			msg_send(d->homes[i]->reactor, &d->homes[i]->msg, home_end_on_core);
	if (!d->home_count)
		dev_free(d);
}

static void home_end_on_core(struct msg *m)
{
	struct rdma_home *h = container_of(m, struct rdma_home, msg);

	rdma_home_end(h);
	msg_send(core_control(h->tr->core), m, home_ended);
}

static void home_ended(struct msg *m)
{
	struct rdma_home *h = container_of(m, struct rdma_home, msg);
	struct rdma_dev *d = h->dev;

	d->homes[reactor_index(h->reactor)] = NULL;
	rdma_home_free(h);
	if (!--d->home_count)
		dev_free(d);
}

static void dev_free(struct rdma_dev *d)
{
	struct rdma_transport *tr = d->tr;

	list_del(&d->link);
	verbs_dev_unref(d->vd);
	free(d);
	maybe_stopped(tr);
}

/* --- stopping: as if all adapters went --- */

static void rdma_stop(struct nvmf_transport *base, void (*done)(void *arg), void *arg)
{
	struct rdma_transport *tr = rdma_of(base);

	assert(!tr->stopping);
	tr->stopping = true;
	tr->stopped = done;
	tr->stopped_arg = arg;
	while (!list_empty(&tr->listeners)) {
		struct net_addr addr = list_first(&tr->listeners, struct rdma_listener, link)->addr; /* it goes with it */

		rdma_unlisten(base, &addr);
	}
	verbs_unwatch(tr->verbs, &tr->watcher);
	list_each_safe(l, &tr->devs)
		dev_gone(list_entry(l, struct rdma_dev, link));
	maybe_stopped(tr);
}

/* By message: who let the last adapter go is still about it, and the transport may be freed by done(). */
static void maybe_stopped(struct rdma_transport *tr)
{
	if (!tr->stopping || tr->stop_msg_out || !list_empty(&tr->devs))
		return;
	tr->stop_msg_out = true;
	msg_send(reactor_self(), &tr->stop_msg, stopped);
}

static void stopped(struct msg *m)
{
	struct rdma_transport *tr = container_of(m, struct rdma_transport, stop_msg);

	tr->stopped(tr->stopped_arg);
}

static void rdma_free(struct nvmf_transport *base)
{
	struct rdma_transport *tr = rdma_of(base);

	assert(!tr->conn_count);
	verbs_put(tr->verbs);
	free(tr);
}
