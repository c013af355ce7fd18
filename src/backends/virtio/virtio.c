/* SPDX-License-Identifier: BSD-3-Clause */
/* virtio.c: controllers: how they come and go, lose their server and find it again. All of it on the control reactor.
 *
 *     attach -> talk.c -> up -> the socket ends -> lanes fall -> wait -> talk.c -> up ...
 *
 * A controller that was up once keeps its lanes and disks: I/O waits in the lanes while the server is away. The memory
 * shared with the server is made anew for each connection: what an earlier server still does is done elsewhere.
 */
#include <errno.h>
#include <stdio.h>

#include "backends/virtio/virtio_priv.h"
#include "core/log.h"

const char vio_blk_product[] = "VirtioBlk Disk", vio_scsi_product[] = "Virtio SCSI Disk"; /* SPDK's names */

static void free_ctrlr(struct vio_ctrlr *c);
static void fall(struct vio_ctrlr *c);
static void fallen(struct vio_ctrlr *c);
static void again(struct timer *t);
static void waited_enough(struct timer *t);
static void no_more_grace(struct timer *t);
static void end_io(struct vio_ctrlr *c);
static void scan_takes_too_long(struct timer *t);

struct vio *vio_make(struct bdev_registry *reg)
{
	struct vio *v = base_zalloc(sizeof(*v));

	v->reg = reg;
	v->core = bdev_registry_core(reg);
	list_init(&v->ctrlrs);
	return v;
}

void vio_free(struct vio *v)
{
	assert(!v || list_empty(&v->ctrlrs));
	free(v);
}

/* --- coming ------------------------------------------------------------------------------------------------------ */

static struct vio_ctrlr *find(struct vio *v, const char *name)
{
	list_each(l, &v->ctrlrs) {
		struct vio_ctrlr *c = list_entry(l, struct vio_ctrlr, link);

		if (strcmp(c->name, name) == 0)
			return c;
	}
	return NULL;
}

static int check(struct vio *v, const struct vio_opts *o, struct err *e)
{
	uint32_t size = o->queue_size ? o->queue_size : VIO_QUEUE_SIZE_DEFAULT;

	if (strlen(o->name) >= VIO_NAME_MAX)
		return err_set(e, ERR_BAD_PARAM, "name: it is longer than %u characters", VIO_NAME_MAX - 1);
	if (find(v, o->name))
		return err_set(e, -EEXIST, "name: there is a virtio controller '%s' already; bdev_virtio_detach_controller "
		               "takes it away", o->name);
	if (strlen(o->path) >= VIO_PATH_MAX)
		return err_set(e, ERR_BAD_PARAM, "traddr: the path of a socket has at most %u characters", VIO_PATH_MAX - 1);
	if (!is_pow2(size) || size < 4 || size > VIRTQ_SIZE_MAX)
		return err_set(e, ERR_BAD_PARAM, "vq_size: %u is not a power of two from 4 to %u", size, VIRTQ_SIZE_MAX);
	return 0;
}

void vio_attach(struct vio *v, const struct vio_opts *o, vio_attached_fn *done, void *arg)
{
	struct vio_ctrlr *c;
	struct err e = { 0 };

	if (check(v, o, &e) != 0) {
		done(arg, NULL, &e);
		return;
	}
	c = base_zalloc(sizeof(*c));
	c->vio = v;
	c->share_fd = c->news_fd = -1;
	c->opts = *o;
	snprintf(c->name, sizeof(c->name), "%s", o->name);
	snprintf(c->path, sizeof(c->path), "%s", o->path);
	c->opts.name = c->name;
	c->opts.path = c->path;
	if (!c->opts.queue_size)
		c->opts.queue_size = VIO_QUEUE_SIZE_DEFAULT;
	c->attached = done;
	c->attached_arg = arg;
	c->first = o->kind == VIO_SCSI ? VIRTIO_SCSI_REQUESTQ : 0;
	list_init(&c->disks);
	list_add_tail(&v->ctrlrs, &c->link);
	vio_talk(c);
}

void vio_answer(struct vio_ctrlr *c, const struct err *e)
{
	vio_attached_fn *attached = c->attached;

	c->attached = NULL;
	if (attached)
		attached(c->attached_arg, e ? NULL : c, e);
}

/* It is known how many queues there are. The first time lanes are made for good. */
static int make_lanes(struct vio_ctrlr *c, struct err *e)
{
	uint32_t cores = core_reactor_count(c->vio->core), lanes = c->opts.queues ? c->opts.queues : cores;

	if (c->lanes && c->first + 1 <= c->queues_offered && c->lane_count <= c->queues_offered)
		return 0;
	if (c->lanes)
		return err_set(e, -ENOTSUP, "the server has %u queues now; it had %u", c->queues_offered, c->lane_count);
	if (c->queues_offered <= c->first)
		return err_set(e, -ENOTSUP, "the server has %u queues; one more than %u is needed", c->queues_offered,
		               c->first);
	lanes = min_u32(min_u32(lanes, cores), c->queues_offered - c->first);
	c->lane_count = c->first + lanes;
	c->lanes = base_zalloc_aligned(CACHE_LINE, c->lane_count * sizeof(c->lanes[0]));
	for (uint32_t i = 0; i < c->lane_count; i++)
		vio_lane_init(&c->lanes[i], c, i, i < c->first ? core_control(c->vio->core)
		                                               : core_reactor(c->vio->core, i - c->first));
	return 0;
}

int vio_place_lanes(struct vio_ctrlr *c, struct err *e)
{
	size_t bytes = 0, at = 0;

	if (make_lanes(c, e) != 0)
		return e->code;
	for (uint32_t i = 0; i < c->lane_count; i++)
		bytes += vio_lane_bytes(c, i);
	if (!mem_charge(c->vio->core, bytes))
		return err_set(e, -ENOMEM, "the memory budget has no %zu KiB for %u queues: fewer of them, or more --memory, "
		               "would do", bytes >> 10, c->lane_count);
	c->charged = bytes;
	c->share_fd = share_make("gantry-virtio", bytes, e);
	if (c->share_fd < 0 || share_map(&c->share, c->share_fd, 0, bytes, true, e) != 0)
		return e->code;
	for (uint32_t i = 0; i < c->lane_count; at += vio_lane_bytes(c, i++))
		if (vio_lane_place(&c->lanes[i], c->share.base + at, e) != 0)
			return e->code;
	return 0;
}

static void unplace_lanes(struct vio_ctrlr *c)
{
	for (uint32_t i = 0; i < c->lane_count; i++)
		vio_lane_unplace(&c->lanes[i]);
	share_unmap(&c->share);
	if (c->share_fd >= 0)
		core_fd_close(c->share_fd);
	c->share_fd = -1;
	mem_uncharge(c->vio->core, c->charged);
	c->charged = 0;
}

static void err_rang(struct bell *b)
{
	struct vio_lane *l = container_of(b, struct vio_lane, err);
	struct err e = { 0 };

	err_set(&e, -EIO, "the server stopped queue %u", l->index);
	vio_lost(l->c, &e);
}

void vio_is_up(struct vio_ctrlr *c)
{
	struct err e = { 0 };

	for (uint32_t i = 0; i < c->lane_count && !e.code; i++)
		if (bell_listen(&c->lanes[i].err, "vhost-user server's errors", err_rang) != 0)
			err_set(&e, -EMFILE, "no descriptor can be listened to");
	c->state = VIO_UP;
	timer_stop(&c->fail_timer);
	for (uint32_t i = 0; i < c->lane_count; i++)
		vio_lane_up(&c->lanes[i]);
	if (e.code || (c->opts.kind == VIO_BLK && vio_blk_up(c, &e) != 0)) {
		vio_lost(c, &e);
		return;
	}
	c->stood = true;
	c->connections++;
	log_notice("virtio: %s: connected to %s, %u queue%s of %u, %s%s", c->name, c->path, c->lane_count - c->first,
	           c->lane_count - c->first == 1 ? "" : "s", c->opts.queue_size,
	           c->features & VIRTIO_BIT(VIRTIO_F_RING_PACKED) ? "packed" : "split",
	           c->connections > 1 ? ", again" : "");
	if (c->opts.kind == VIO_SCSI) {
		timer_start(&c->timer, VIO_TALK_NS, scan_takes_too_long);
		vio_scsi_up(c);
	} else {
		vio_answer(c, NULL);
		vio_news_up(c);
	}
}

static void scan_takes_too_long(struct timer *t)
{
	struct err e = { 0 };

	err_set(&e, -ETIMEDOUT, "the server's targets do not answer within %u s", (unsigned)(VIO_TALK_NS / NS_PER_S));
	vio_lost(container_of(t, struct vio_ctrlr, timer), &e);
}

void vio_scanned(struct vio_ctrlr *c)
{
	if (c->state == VIO_UP)
		timer_stop(&c->timer);
	vio_answer(c, NULL);
}

/* --- losing the server ------------------------------------------------------------------------------------------- */

void vio_lost(struct vio_ctrlr *c, const struct err *why)
{
	if (c->state != VIO_UP && c->state != VIO_TALKING)
		return;
	if (c->stood && c->state == VIO_UP && !c->going)
		log_warning("virtio: %s: %s is lost: %s; I/O waits, the server is looked for every %u s", c->name, c->path,
		            why->text, c->opts.reconnect_delay_sec);
	else
		log_info("virtio: %s: %s", c->name, why->text);
	c->last = *why;
	vio_talk_end(c);
	if (c->attached && !c->opts.patient)
		end_io(c);               /* nothing remains of an attempt that failed */
	fall(c);
}

static void fell_without_lanes(struct msg *m)
{
	fallen(container_of(m, struct vio_ctrlr, fell_msg));
}

/* Every lane is asked to come down, also one that is: after its answer no message of control's is on its way. */
static void fall(struct vio_ctrlr *c)
{
	c->state = VIO_FALLING;
	c->down_left = c->lane_count;
	for (uint32_t i = 0; i < c->lane_count; i++)
		vio_lane_down(&c->lanes[i]);
	if (!c->lane_count)
		msg_send(reactor_self(), &c->fell_msg, fell_without_lanes);
}

void vio_lane_fell(struct vio_lane *l)
{
	if (--l->c->down_left == 0)
		fallen(l->c);
}

/* No core uses what was shared any more. */
static void fallen(struct vio_ctrlr *c)
{
	struct err why = c->last;

	unplace_lanes(c);
	if (c->gone_behind) {
		c->gone_behind = false;
		fall(c);
		return;
	}
	if (c->attached && c->opts.patient && !c->going)
		log_warning("virtio: %s: %s is not there yet (%s); it is tried every %u s", c->name, c->path, why.text,
		            c->opts.reconnect_delay_sec);
	if (c->attached && !c->opts.patient)
		vio_answer(c, &why);
	if (c->going) {
		c->state = VIO_ENDED;
		if (!c->disk_count)
			free_ctrlr(c);
		return;
	}
	c->state = VIO_WAITING;
	timer_start(&c->timer, max_u32(c->opts.reconnect_delay_sec, 1) * NS_PER_S, again);
	if (c->stood && c->opts.fast_io_fail_timeout_sec && !timer_is_running(&c->fail_timer))
		timer_start(&c->fail_timer, c->opts.fast_io_fail_timeout_sec * NS_PER_S, waited_enough);
	vio_answer(c, NULL);
}

static void again(struct timer *t)
{
	vio_talk(container_of(t, struct vio_ctrlr, timer));
}

static void waited_enough(struct timer *t)
{
	struct vio_ctrlr *c = container_of(t, struct vio_ctrlr, fail_timer);

	log_error("virtio: %s: %s has been away for %u s: I/O fails until it is back (%s)", c->name, c->path,
	          c->opts.fast_io_fail_timeout_sec, c->last.text);
	for (uint32_t i = 0; i < c->lane_count; i++)
		vio_lane_fail(&c->lanes[i]);
}

/* --- disks ------------------------------------------------------------------------------------------------------- */

int vio_disk_add(struct vio_ctrlr *c, struct vio_disk *d, struct err *e)
{
	d->c = c;
	if (bdev_register(c->vio->reg, &d->bdev, e) != 0) {
		free(d);
		return e->code;
	}
	c->disk_count++;
	list_add_tail(&c->disks, &d->link);
	return 0;
}

static void end_io(struct vio_ctrlr *c)
{
	if (c->going)
		return;
	c->going = true;
	c->gone_behind = c->state == VIO_FALLING;
	timer_stop(&c->fail_timer);
	for (uint32_t i = 0; i < c->lane_count; i++)
		vio_lane_gone(&c->lanes[i]);
}

/* I/O that waits for a server ends now; what the server has it may answer, but not for long. */
void vio_disk_remove(struct bdev *b)
{
	struct vio_disk *d = container_of(b, struct vio_disk, bdev);
	struct vio_ctrlr *c = d->c;

	if (d->unplugged)
		return; /* its server answers */
	end_io(c);
	if (!timer_is_running(&c->grace_timer))
		timer_start(&c->grace_timer, VIO_GRACE_NS, no_more_grace);
}

static void leave(struct vio_ctrlr *c)
{
	struct err e = { 0 };

	err_set(&e, -ESHUTDOWN, "the controller is detached");
	timer_stop(&c->grace_timer);
	if (c->state == VIO_WAITING) {
		timer_stop(&c->timer);
		fall(c);
	} else {
		vio_lost(c, &e);
	}
}

static void no_more_grace(struct timer *t)
{
	struct vio_ctrlr *c = container_of(t, struct vio_ctrlr, grace_timer);

	end_io(c);
	leave(c);
}

void vio_disk_destroy(struct bdev *b)
{
	struct vio_disk *d = container_of(b, struct vio_disk, bdev);
	struct vio_ctrlr *c = d->c;

	list_del(&d->link);
	bdev_destroyed(b);
	if (d->back)
		vio_scsi_scan(c);
	free(d);
	vio_put(c);
}

void vio_put(struct vio_ctrlr *c)
{
	if (--c->disk_count || !c->going)
		return;
	if (c->state == VIO_ENDED)
		free_ctrlr(c);
	else
		leave(c); /* and then it is freed */
}

/* --- going ------------------------------------------------------------------------------------------------------- */

static void unregistered(void *arg, int rc)
{
}

static void detach(struct vio_ctrlr *c)
{
	if (!timer_is_running(&c->grace_timer)) /* also without disks: a scan may wait for a server that is silent */
		timer_start(&c->grace_timer, VIO_GRACE_NS, no_more_grace);
	c->disk_count++; /* the last disk may go at once, and the controller with it: not under our feet */
	list_each_safe(l, &c->disks) {
		struct bdev *b = &list_entry(l, struct vio_disk, link)->bdev;

		if (!atomic_load(&b->removing))
			bdev_unregister(b, unregistered, NULL);
	}
	end_io(c);
	vio_put(c);
}

int vio_detach(struct vio *v, const char *name, void (*done)(void *arg, int rc), void *arg, struct err *e)
{
	struct vio_ctrlr *c = find(v, name);

	if (!c)
		return err_set(e, -ENODEV, "name: there is no virtio controller '%s'; bdev_get_bdevs and "
		               "bdev_virtio_scsi_get_devices tell of those that exist", name);
	if (c->going || c->detached)
		return err_set(e, -EBUSY, "name: virtio controller '%s' is being detached already; it is gone when that is "
		               "answered", name);
	c->detached = done;
	c->detached_arg = arg;
	detach(c);
	return 0;
}

void vio_ending(struct vio *v)
{
	list_each(l, &v->ctrlrs)
		timer_start(&list_entry(l, struct vio_ctrlr, link)->grace_timer, VIO_GRACE_NS, no_more_grace);
}

void vio_stop(struct vio *v, void (*done)(void *arg), void *arg)
{
	list_each_safe(l, &v->ctrlrs) {
		struct vio_ctrlr *c = list_entry(l, struct vio_ctrlr, link);

		if (!c->detached)
			detach(c);
	}
	if (list_empty(&v->ctrlrs)) {
		done(arg);
		return;
	}
	v->stopped = done;
	v->stopped_arg = arg;
}

static void free_ctrlr(struct vio_ctrlr *c)
{
	struct vio *v = c->vio;
	void (*detached)(void *arg, int rc) = c->detached;
	void *arg = c->detached_arg;
	struct err e = { 0 };

	assert(c->share_fd < 0 && !c->sock && list_empty(&c->disks));
	if (c->attached) {
		err_set(&e, -ECANCELED, "the controller was detached before it was up");
		vio_answer(c, &e);
	}
	timer_stop(&c->timer);
	timer_stop(&c->fail_timer);
	timer_stop(&c->grace_timer);
	list_del(&c->link);
	free(c->lanes);
	free(c->scan);
	free(c);
	if (detached)
		detached(arg, 0);
	if (v->stopped && list_empty(&v->ctrlrs)) {
		void (*stopped)(void *arg) = v->stopped;

		v->stopped = NULL;
		stopped(v->stopped_arg);
	}
}

/* --- looking at them --------------------------------------------------------------------------------------------- */

void vio_facts_of(const struct vio_ctrlr *c, struct vio_facts *ret_facts)
{
	static const char *const states[] = {
#define STATE_TEXT(state, text) [VIO_##state] = text,
		VIO_STATES(STATE_TEXT)
	};
	uint64_t requeued = 0;

	for (uint32_t i = 0; i < c->lane_count; i++)
		requeued += atomic_load_explicit(&c->lanes[i].requeued, memory_order_relaxed);
	*ret_facts = (struct vio_facts){
		.name = c->name, .path = c->path, .state = states[c->state], .kind = c->opts.kind,
		.packed = c->features & VIRTIO_BIT(VIRTIO_F_RING_PACKED), .queues = c->lane_count - c->first,
		.queue_size = c->opts.queue_size, .opts = c->opts, .features = c->features, .protocol = c->protocol,
		.reconnects = c->connections ? c->connections - 1 : 0, .requeued = requeued,
	};
}

struct vio_ctrlr *vio_next(struct vio *v, struct vio_ctrlr *c)
{
	struct list *l = c ? c->link.next : v->ctrlrs.next;

	return l == &v->ctrlrs ? NULL : list_entry(l, struct vio_ctrlr, link);
}

void vio_each_disk(struct vio_ctrlr *c, void (*fn)(void *arg, struct bdev *b), void *arg)
{
	list_each_safe(l, &c->disks)
		fn(arg, &list_entry(l, struct vio_disk, link)->bdev);
}

struct vio_ctrlr *vio_ctrlr_of(const struct bdev *b)
{
	return b->ops->destroy == vio_disk_destroy ? container_of(b, const struct vio_disk, bdev)->c : NULL;
}
