/* SPDX-License-Identifier: BSD-3-Clause */
/* hub.c: adapters, and what connections of one core and adapter share. All of it on control, but for two messages. */
#include <errno.h>

#include "nvme/rdma/inside.h"

static void adapter_event(struct verbs_watcher *w, struct verbs_dev *d, enum verbs_dev_event event);
static struct rdma_seat *seat_make(struct rdma_hub *hub, struct reactor *home, struct verbs_dev *d, struct err *e);
static void seat_end(struct rdma_seat *s);

/* --- the host's ------------------------------------------------------------------------------------------------ */

void nvme_rdma_add(struct nvme_host *h)
{
	struct rdma_hub *hub = base_zalloc(sizeof(*hub));

	hub->host = h;
	list_init(&hub->links);
	list_init(&hub->seats);
	nvme_host_add_transport(h, &nvme_rdma, hub);
}

struct rdma_hub *nvme_rdma_hub_of(struct nvme_host *h)
{
	return nvme_host_transport_arg(h, &nvme_rdma);
}

struct verbs *nvme_rdma_hub_verbs(struct rdma_hub *hub, struct err *e)
{
	if (hub->verbs)
		return hub->verbs;
	hub->verbs = verbs_get(hub->host->core, e);
	if (!hub->verbs)
		return NULL;
	hub->watcher.event = adapter_event;
	verbs_watch(hub->verbs, &hub->watcher);
	return hub->verbs;
}

/* Links end by themselves: their queue pairs, or nobody any more, end them. */
static void adapter_event(struct verbs_watcher *w, struct verbs_dev *d, enum verbs_dev_event event)
{
	struct rdma_hub *hub = container_of(w, struct rdma_hub, watcher);

	if (event != VERBS_DEV_GONE)
		return;
	list_each_safe(link, &hub->links) {
		struct rdma_link *l = list_entry(link, struct rdma_link, link);

		if (l->seat && l->seat->dev == d)
			nvme_rdma_link_broke(l, NVME_REASON_RESET, -ENODEV, "adapter %s is gone", verbs_dev_info(d)->name);
	}
}

static bool is_idle(const struct rdma_hub *hub)
{
	return list_empty(&hub->links) && list_empty(&hub->seats) && !hub->seats_ending;
}

void nvme_rdma_hub_look_idle(struct rdma_hub *hub)
{
	if (!hub->idle_asked || !is_idle(hub))
		return;
	hub->idle_asked = false;
	if (hub->verbs) {
		verbs_unwatch(hub->verbs, &hub->watcher);
		verbs_put(hub->verbs);
	}
	hub->verbs = NULL;
	nvme_host_idle_now(hub->host);
}

static void hub_idle(struct nvme_host *h, void *arg)
{
	struct rdma_hub *hub = arg;

	(void)h;
	hub->idle_asked = true;
	nvme_rdma_hub_look_idle(hub);
}

static bool hub_can(void *arg, struct err *e)
{
	return nvme_rdma_hub_verbs(arg, e) != NULL;
}

static void hub_free(void *arg)
{
	struct rdma_hub *hub = arg;

	must(is_idle(hub) && !hub->verbs); /* nvme_host_when_idle() was waited for */
	free(hub);
}

/* --- seats ----------------------------------------------------------------------------------------------------- */

static void start_on_core(struct msg *m);
static void started_on_control(struct msg *m);
static void stop_on_core(struct msg *m);
static void stopped_on_control(struct msg *m);

static struct rdma_seat *find_seat(struct rdma_hub *hub, struct reactor *home, struct verbs_dev *d)
{
	list_each(link, &hub->seats) {
		struct rdma_seat *s = list_entry(link, struct rdma_seat, link);

		if (s->home == home && s->dev == d && !(s->ready && s->rc)) /* its core writes rc before */
			return s;
	}
	return NULL;
}

bool nvme_rdma_seat_take(struct rdma_link *l, struct verbs_dev *d, struct err *e)
{
	struct rdma_seat *s = find_seat(l->hub, l->home, d);

	if (!s)
		s = seat_make(l->hub, l->home, d, e);
	if (!s)
		return false;
	s->links++;
	l->seat = s;
	if (s->ready)
		nvme_rdma_link_seated(l);
	else
		list_add_tail(&s->waiting, &l->seat_link);
	return true;
}

/* How much memory for chunks there is. */
static uint32_t charge(struct core *core, struct err *e)
{
	if (mem_charge(core, CHUNKS_BYTES))
		return CHUNKS_BYTES;
	if (mem_charge(core, CHUNKS_BYTES_MIN))
		return CHUNKS_BYTES_MIN;
	err_set(e, -ENOMEM, "RDMA: the memory budget has no %u KiB left for a core's copy buffers; give --memory more",
	        CHUNKS_BYTES_MIN / 1024);
	return 0;
}

static struct rdma_seat *seat_make(struct rdma_hub *hub, struct reactor *home, struct verbs_dev *d, struct err *e)
{
	uint32_t bytes = charge(hub->host->core, e);
	struct rdma_seat *s;

	if (!bytes)
		return NULL;
	s = base_zalloc(sizeof(*s));
	s->chunk_bytes = bytes;
	s->hub = hub;
	s->home = home;
	s->dev = d;
	list_init(&s->waiting);
	s->cq = verbs_cq_make(d, RDMA_CQ_ENTRIES, e);
	if (!s->cq || verbs_mem_make_remote(&s->mem, d, bytes, e)) {
		if (s->cq)
			verbs_cq_free(s->cq);
		mem_uncharge(hub->host->core, bytes);
		free(s);
		return NULL;
	}
	verbs_dev_ref(d);
	chunks_init(&s->chunks, s->mem.base, bytes);
	list_add_tail(&hub->seats, &s->link);
	msg_send(home, &s->msg, start_on_core);
	return s;
}

static void start_on_core(struct msg *m)
{
	struct rdma_seat *s = container_of(m, struct rdma_seat, msg);

	s->rc = verbs_cq_start(s->cq, nvme_rdma_done, s);
	msg_send(core_control(s->hub->host->core), &s->msg, started_on_control);
}

static void started_on_control(struct msg *m)
{
	struct rdma_seat *s = container_of(m, struct rdma_seat, msg);
	struct list *link;

	s->ready = true;
	s->links++; /* ours, while they are told */
	while ((link = list_pop(&s->waiting))) {
		struct rdma_link *l = list_entry(link, struct rdma_link, seat_link);

		if (s->rc)
			nvme_rdma_link_broke(l, NVME_REASON_UNREACHABLE, s->rc, "the completion queue cannot be used: %s",
			                strerror(-s->rc));
		else
			nvme_rdma_link_seated(l);
	}
	if (--s->links == 0)
		seat_end(s);
}

void nvme_rdma_seat_give(struct rdma_link *l)
{
	struct rdma_seat *s = l->seat;

	if (!s)
		return;
	l->seat = NULL;
	if (--s->links == 0 && s->ready)
		seat_end(s);
}

static void seat_end(struct rdma_seat *s)
{
	list_del(&s->link);
	s->hub->seats_ending++;
	msg_send(s->home, &s->msg, stop_on_core);
}

static void stop_on_core(struct msg *m)
{
	struct rdma_seat *s = container_of(m, struct rdma_seat, msg);

	if (!s->rc)
		verbs_cq_stop(s->cq);
	must(chunks_all_given(&s->chunks) && list_empty(&s->chunks.line.waiters));
	defer_cancel(&s->chunks.line.wake);
	msg_send(core_control(s->hub->host->core), &s->msg, stopped_on_control);
}

static void stopped_on_control(struct msg *m)
{
	struct rdma_seat *s = container_of(m, struct rdma_seat, msg);
	struct rdma_hub *hub = s->hub;

	verbs_cq_free(s->cq);
	verbs_mem_free(&s->mem);
	mem_uncharge(hub->host->core, s->chunk_bytes);
	verbs_dev_unref(s->dev);
	free(s);
	hub->seats_ending--;
	nvme_rdma_hub_look_idle(hub);
}

/* --- statistics ------------------------------------------------------------------------------------------------ */

static void visit_adapters(void *arg, void (*visit)(const struct nvme_adapter_stats *s, void *visit_arg),
                           void *visit_arg)
{
	struct rdma_hub *hub = arg;

	list_each(link, &hub->seats) {
		const struct rdma_seat *s = list_entry(link, const struct rdma_seat, link);
		struct verbs_cq_stats q;

		verbs_cq_get_stats(s->cq, &q);
		visit(&(struct nvme_adapter_stats){
			.name = verbs_dev_info(s->dev)->name, .core = reactor_index(s->home), .qpairs = s->links,
			.polls = q.polls, .busy_polls = q.busy_polls, .completions = q.completions,
			.sends = rdma_count_get(&s->sends), .send_doorbells = rdma_count_get(&s->doorbells),
			.receives = rdma_count_get(&s->receives), .receive_doorbells = rdma_count_get(&s->receive_doorbells),
			.copied = rdma_count_get(&s->copied), .copied_bytes = rdma_count_get(&s->copied_bytes),
			.waits = rdma_count_get(&s->waits), .waiting = rdma_count_get(&s->chunks.line.depth),
		}, visit_arg);
	}
}

/* --- the transport --------------------------------------------------------------------------------------------- */

const struct nvme_transport nvme_rdma = {
	.name = "RDMA",
	.io_bytes_max = CHUNKS_BYTES_MAX,
	.sgls_needed = NVME_SGLS_KEYED,
	.names_queues = true,
	.make = nvme_rdma_make,
	.connect = nvme_rdma_connect,
	.negotiate = nvme_rdma_negotiate,
	.size = nvme_rdma_size,
	.submit = nvme_rdma_submit,
	.disconnect = nvme_rdma_disconnect,
	.free = nvme_rdma_free,
	.idle = hub_idle,
	.host_free = hub_free,
	.can = hub_can,
	.visit_adapters = visit_adapters,
};
