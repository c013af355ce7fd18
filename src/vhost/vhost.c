/* SPDX-License-Identifier: BSD-3-Clause */
/* vhost.c: the register of controllers, what a core has for all of its rings, and the end. */
#include "bdev/bdev_device.h"
#include "vhost/session.h"

static void stop_step(struct vhost *v);
static void end_home(struct each *e);
static void homes_ended(struct each *e);
static bool watch_tasks(struct watch *w, uint64_t now_ns, uint64_t limit_ns);

static void device_came(struct bdev_arrival *a, struct bdev *b)
{
	struct vhost *v = container_of(a, struct vhost, arrival);

	list_each(l, &v->ctrlrs) {
		vhost_blk_came(list_entry(l, struct vhost_ctrlr, link), b);
		vhost_scsi_came(list_entry(l, struct vhost_ctrlr, link), b);
	}
}

struct vhost *vhost_make(struct core *core, struct bdev_registry *reg, const char *dir)
{
	struct vhost *v = base_zalloc(sizeof(*v));
	uint32_t cores = core_reactor_count(core);

	v->core = core;
	v->reg = reg;
	v->dir = base_strdup(dir ? dir : "");
	vhost_count_init(v);
	v->homes = base_zalloc_aligned(CACHE_LINE, cores * sizeof(*v->homes));
	for (uint32_t i = 0; i < cores; i++) {
		v->homes[i].vhost = v;
		list_init(&v->homes[i].rings);
		vhost_home_count(&v->homes[i]);
	}
	list_init(&v->ctrlrs);
	sched_place_init(&v->place, core);
	vhost_mover_begin(v);
	bdev_arrival_add(reg, &v->arrival, device_came);
	return v;
}

void vhost_set_group(struct vhost *v, uint32_t gid)
{
	v->has_group = true;
	v->gid = gid;
}

void vhost_set_scsi(struct vhost *v, struct scsi *scsi)
{
	v->scsi = scsi;
}

void vhost_on_changed(struct vhost *v, void (*fn)(void *arg), void *arg)
{
	v->changed = fn;
	v->changed_arg = arg;
}

struct vhost_ctrlr *vhost_ctrlr_find(struct vhost *v, const char *name)
{
	list_each(l, &v->ctrlrs) {
		struct vhost_ctrlr *c = list_entry(l, struct vhost_ctrlr, link);

		if (!strcmp(c->name, name))
			return c;
	}
	return NULL;
}

struct vhost_ctrlr *vhost_ctrlr_next(struct vhost *v, struct vhost_ctrlr *c)
{
	struct list *l = c ? c->link.next : v->ctrlrs.next;

	return l == &v->ctrlrs ? NULL : list_entry(l, struct vhost_ctrlr, link);
}

/* --- cores -------------------------------------------------------------------------------------------------------- */

/* Who asks says which cores. */
struct reactor *vhost_place(struct vhost *v, uint64_t mask)
{
	atomic_store_explicit(&v->place.allowed, mask, memory_order_relaxed);
	return sched_place(&v->place, -1);
}

void vhost_home_begin(struct vhost_home *h)
{
	if (h->begun)
		return;
	h->begun = true;
	watch_start(&h->watch, "vhost", watch_tasks);
}

static bool watch_tasks(struct watch *w, uint64_t now_ns, uint64_t limit_ns)
{
	struct vhost_home *h = container_of(w, struct vhost_home, watch);
	bool any = false;

	list_each(l, &h->rings) {
		struct vhost_ring_priv *r = list_entry(l, struct vhost_ring_priv, link);
		size_t bytes = r->ring.session->ctrlr->ops->task_bytes;

		any |= r->ring.in_flight > 0;
		for (uint32_t i = 0; r->ring.in_flight && i < r->made; i++) {
			const struct vhost_task *t = (const void *)(r->tasks + i * bytes);

			if (t->out && now_ns > t->since_ns && now_ns - t->since_ns > limit_ns)
				watch_report(w, now_ns - t->since_ns, "%s queue %u request %u: its device has it",
				             vhost_ring_name(r), r->ring.index, t->chain.id);
		}
	}
	return any;
}

/* --- stopping --------------------------------------------------------------------------------------------------- */

static void mover_off(void *arg)
{
	struct vhost *v = arg;

	v->mover_gone = true;
	stop_step(v);
}

static void one_deleted(struct vhost_change *c)
{
	free(c);
}

void vhost_stop(struct vhost *v, void (*done)(void *arg), void *arg)
{
	assert(!v->stopping);
	v->stopping = true;
	v->stopped = done;
	v->stopped_arg = arg;
	bdev_arrival_remove(&v->arrival);
	list_each_safe(l, &v->ctrlrs) {
		struct vhost_change *c = base_zalloc(sizeof(*c));

		c->done = one_deleted;
		vhost_ctrlr_delete(list_entry(l, struct vhost_ctrlr, link), c);
	}
	sched_remove_mover(v->core, &v->mover, mover_off, v);
}

void vhost_less(struct vhost *v)
{
	stop_step(v);
}

static void stop_step(struct vhost *v)
{
	if (!v->stopping || !v->mover_gone || !list_empty(&v->ctrlrs) || v->making || v->ending)
		return;
	v->ending = true;
	each_core(&v->each, v->core, end_home, homes_ended);
}

static void end_home(struct each *e)
{
	struct vhost *v = container_of(e, struct vhost, each);
	struct vhost_home *h = &v->homes[reactor_index(reactor_self())];

	assert(list_empty(&h->rings));
	if (h->begun)
		watch_stop(&h->watch);
}

static void homes_ended(struct each *e)
{
	struct vhost *v = container_of(e, struct vhost, each);
	void (*done)(void *arg) = v->stopped;
	void *arg = v->stopped_arg;

	for (uint32_t i = 0; i < core_reactor_count(v->core); i++)
		vhost_home_forget(&v->homes[i]);
	free(v->homes);
	free(v->dir);
	free(v);
	done(arg);
}
