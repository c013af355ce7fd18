/* SPDX-License-Identifier: BSD-3-Clause */
/* lane.c: a queue of the device on the core where it lives.
 *
 * All that the device sees is memory made for it: a request's header, its data and its answer are copied there and
 * back. So nothing else of ours is open to the server, nothing has to stay where it is while a server that died may
 * still write, and after a reconnection requests are sent again from what their owners have.
 *
 * Requests wait in one line: for the connection, for a slot, for a large buffer. What was added in a pass is shown to
 * the device once, at its end. Answers are looked for as long as the core is awake; before it sleeps the device is
 * asked to call (core/look.h).
 */
#include <errno.h>

#include "backends/virtio/virtio_priv.h"
#include "bdev/iov.h"

#define CELL_BYTES 256u                 /* header at 0, answer at ANSWER_AT */
#define ANSWER_AT 128u
#define SIDE_SIZE 32u                   /* descriptors of queues that are not for I/O */
#define LOOK_MAX 64u                    /* answers taken in one look */

_Static_assert(VIO_HEAD_MAX <= ANSWER_AT && VIO_ANSWER_MAX <= CELL_BYTES - ANSWER_AT, "fit into a cell");

/* --- memory: control, while the lane is down -------------------------------------------------------------------- */

static uint32_t slots_for(uint32_t size)
{
	return min_u32(max_u32(size / VIO_CHAIN, 1), VIO_SLOTS_MAX);
}

static size_t area_bytes(enum vq_area area, uint64_t features, uint32_t size)
{
	return align_up(vq_area_len(area, features, size), 4096);
}

static size_t rings_bytes(uint64_t features, uint32_t size)
{
	return area_bytes(VQ_DESC, features, size) + area_bytes(VQ_DRIVER, features, size) +
	       area_bytes(VQ_DEVICE, features, size);
}

uint32_t vio_lane_size(const struct vio_ctrlr *c, uint32_t index)
{
	return index < c->first ? min_u32(c->opts.queue_size, SIDE_SIZE) : c->opts.queue_size;
}

size_t vio_lane_bytes(const struct vio_ctrlr *c, uint32_t index)
{
	uint32_t size = vio_lane_size(c, index), slots = slots_for(size);

	return rings_bytes(c->features, size) + align_up((uint64_t)slots * CELL_BYTES, 4096) +
	       (size_t)slots * VIO_SMALL_BYTES + (index < c->first ? 0 : (size_t)VIO_LARGES * VIO_LARGE_BYTES);
}

void vio_lane_init(struct vio_lane *l, struct vio_ctrlr *c, uint32_t index, struct reactor *reactor)
{
	l->c = c;
	l->index = index;
	l->reactor = reactor;
	list_init(&l->waiting);
}

int vio_lane_place(struct vio_lane *l, uint8_t *at, struct err *e)
{
	uint32_t size = vio_lane_size(l->c, l->index);
	uint64_t features = l->c->features;
	enum vq_fault f;

	l->slot_count = slots_for(size);
	l->setup = (struct vq_setup){ .features = features, .size = size,
	                              .addr_offset = VIO_GUEST_BASE - (uintptr_t)l->c->share.base };
	l->setup.desc = at;
	at += area_bytes(VQ_DESC, features, size);
	l->setup.driver = at;
	at += area_bytes(VQ_DRIVER, features, size);
	l->setup.device = at;
	at += area_bytes(VQ_DEVICE, features, size);
	l->cells = at;
	at += align_up((uint64_t)l->slot_count * CELL_BYTES, 4096);
	l->small = at;
	l->large = at + (size_t)l->slot_count * VIO_SMALL_BYTES;
	f = vq_drv_init(&l->drv, &l->setup);
	if (f != VQ_OK)
		return err_set(e, ERR_BAD_PARAM, "vq_size: a queue cannot have %u descriptors: %s", size, vq_fault_text(f));
	l->drv_open = true;
	for (uint32_t i = 0; i < l->slot_count; i++)
		l->slots[i] = (struct vio_slot){ .next = (uint16_t)(i + 1) };
	l->free_slot = 0;
	for (uint32_t i = 0; i < VIO_LARGES; i++)
		l->larges[i] = (uint16_t)(VIO_LARGES - 1 - i);
	l->large_count = l->index < l->c->first ? 0 : VIO_LARGES;
	if (bell_make(&l->kick, e) != 0 || bell_make(&l->call, e) != 0 || bell_make(&l->err, e) != 0)
		return e->code;
	return 0;
}

void vio_lane_unplace(struct vio_lane *l)
{
	bell_close(&l->kick);
	bell_close(&l->call);
	bell_close(&l->err);
	if (l->drv_open)
		vq_drv_fini(&l->drv);
	l->drv_open = false;
}

/* --- requests ------------------------------------------------------------------------------------------------ */

static void take(struct vio_lane *l, struct vio_req *r);
static void taken_on_core(struct msg *m);
static void wait(struct vio_lane *l, struct vio_req *r, void (*add)(struct list *head, struct list *node));
static bool start(struct vio_lane *l, struct vio_req *r);
static void show(struct defer *d);
static void end(struct vio_lane *l, struct vio_req *r, enum bdev_status status);
static void end_at_home(struct msg *m);

void vio_submit(struct vio_ctrlr *c, struct vio_req *r)
{
	uint32_t lanes = c->lane_count - c->first;

	vio_submit_to(&c->lanes[c->first + reactor_index(reactor_self()) % lanes], r);
}

void vio_submit_to(struct vio_lane *l, struct vio_req *r)
{
	r->lane = l;
	r->home = reactor_self();
	r->waits = false;
	if (likely(l->reactor == r->home))
		take(l, r);
	else
		msg_send(l->reactor, &r->msg, taken_on_core);
}

static void taken_on_core(struct msg *m)
{
	struct vio_req *r = container_of(m, struct vio_req, msg);

	take(r->lane, r);
}

static void take(struct vio_lane *l, struct vio_req *r)
{
	if (unlikely(l->gone || (l->failing && !l->up)))
		end(l, r, l->gone ? BDEV_ST_GONE : BDEV_ST_TIMED_OUT);
	else if (!l->up || !list_empty(&l->waiting) || !start(l, r))
		wait(l, r, list_add_tail);
}

static void wait(struct vio_lane *l, struct vio_req *r, void (*add)(struct list *head, struct list *node))
{
	r->waits = true;
	add(&l->waiting, &r->link);
}

static struct vio_req *first_waiting(struct vio_lane *l)
{
	struct vio_req *r = list_first(&l->waiting, struct vio_req, link);

	if (!r)
		return NULL;
	list_del(&r->link);
	r->waits = false;
	return r;
}

/* Another core's lane has it: that says when it has ended. */
bool vio_abort(struct bdev_channel *ch, struct bdev_io *io)
{
	struct vio_req *r = io->device_ctx;

	if (r->lane->reactor != reactor_self() || !r->waits)
		return false;
	list_del(&r->link);
	r->waits = false;
	end(r->lane, r, BDEV_ST_ABORTED);
	return true;
}

static uint8_t *data_of(const struct vio_lane *l, uint32_t slot)
{
	uint32_t large = l->slots[slot].large;

	return large ? l->large + (size_t)(large - 1) * VIO_LARGE_BYTES : l->small + (size_t)slot * VIO_SMALL_BYTES;
}

/* False: there is no room now. */
static bool start(struct vio_lane *l, struct vio_req *r)
{
	uint32_t slot = l->free_slot, outs = 0, count = 0;
	bool is_large = r->len > VIO_SMALL_BYTES;
	uint8_t *cell = l->cells + (size_t)slot * CELL_BYTES, *data;
	struct iovec iovs[VIO_CHAIN], answer = { cell + ANSWER_AT, r->answer_len };
	struct iov_cursor from;

	assert(r->len <= VIO_LARGE_BYTES);
	if (slot == l->slot_count || (is_large && !l->large_count) || unlikely(l->drv.fault != VQ_OK))
		return false; /* a ring that broke takes nothing until there is the next connection's */
	if (r->io && !bdev_io_may_land(r->io)) {
		end(l, r, BDEV_ST_FENCED);
		return true;
	}
	l->free_slot = l->slots[slot].next;
	l->slots[slot].req = r;
	l->slots[slot].large = is_large ? (uint16_t)(l->larges[--l->large_count] + 1) : 0;
	data = data_of(l, slot);
	memcpy(cell, r->head, r->head_len);
	memset(cell + ANSWER_AT, VIO_ANSWER_NONE, r->answer_len);
	if (r->head_len)
		iovs[count++] = (struct iovec){ cell, r->head_len };
	if (r->len && r->out) {
		from = iov_cursor_over(r->iovs, r->iov_count);
		iov_copy_out(data, &from, r->len);
		iovs[count++] = (struct iovec){ data, r->len };
	}
	outs = count;
	if (r->answer_first)
		iovs[count++] = answer;
	if (r->len && !r->out)
		iovs[count++] = (struct iovec){ data, r->len };
	if (!r->answer_first)
		iovs[count++] = answer;
	must(vq_drv_add(&l->drv, iovs, outs, count - outs, &l->slots[slot]));
	l->in_flight++;
	defer_run(&l->later, show);
	return true;
}

static void show(struct defer *d)
{
	struct vio_lane *l = container_of(d, struct vio_lane, later);

	vq_drv_publish(&l->drv);
	if (vq_drv_kick_due(&l->drv))
		bell_ring(&l->kick);
}

static void start_waiting(struct vio_lane *l)
{
	struct vio_req *r;

	while ((r = first_waiting(l))) /* taken first: who is answered at once may be sent anew from within */
		if (!start(l, r)) {
			wait(l, r, list_add_head);
			return;
		}
}

/* The slot is free again; what the device wrote is with the request. */
static struct vio_req *empty_slot(struct vio_lane *l, struct vio_slot *s)
{
	uint32_t slot = (uint32_t)(s - l->slots);
	struct vio_req *r = s->req;

	if (s->large)
		l->larges[l->large_count++] = (uint16_t)(s->large - 1);
	s->req = NULL;
	s->next = l->free_slot;
	l->free_slot = (uint16_t)slot;
	l->in_flight--;
	return r;
}

static void answered(struct vio_lane *l, struct vio_slot *s)
{
	uint32_t slot = (uint32_t)(s - l->slots);
	struct vio_req *r = s->req;
	struct iov_cursor to;

	memcpy(r->answer, l->cells + (size_t)slot * CELL_BYTES + ANSWER_AT, r->answer_len);
	if (r->len && !r->out) {
		to = iov_cursor_over(r->iovs, r->iov_count);
		iov_copy_in(&to, data_of(l, slot), r->len);
	}
	empty_slot(l, s);
	end(l, r, BDEV_ST_OK);
}

static void end(struct vio_lane *l, struct vio_req *r, enum bdev_status status)
{
	r->status = status;
	if (likely(r->home == l->reactor))
		r->done(r);
	else
		msg_send(r->home, &r->msg, end_at_home);
}

static void end_at_home(struct msg *m)
{
	struct vio_req *r = container_of(m, struct vio_req, msg);

	r->done(r);
}

/* --- looking, and sleeping --------------------------------------------------------------------------------------- */

static void fault_on_control(struct msg *m)
{
	struct vio_lane *l = container_of(m, struct vio_lane, fault_msg);
	struct err e = { 0 };

	err_set(&e, -EPROTO, "queue %u: the server answers what cannot be: %s (0x%llx)", l->index,
	        vq_fault_text(l->drv.fault), (unsigned long long)l->drv.fault_value);
	vio_lost(l->c, &e);
}

static uint32_t look(struct looker *lk)
{
	struct vio_lane *l = container_of(lk, struct vio_lane, looker);
	struct vio_ctrlr *c = l->c;
	uint32_t n = 0, written;
	void *token;
	int rc = 0;

	while (n < LOOK_MAX && (rc = vq_drv_get(&l->drv, &token, &written)) > 0) {
		answered(l, token);
		n++;
	}
	if (unlikely(rc < 0) && !l->fault_sent) {
		l->fault_sent = true;
		msg_send(core_control(c->vio->core), &l->fault_msg, fault_on_control);
	}
	if (n && l->up && !list_empty(&l->waiting))
		start_waiting(l);
	return n;
}

static bool arm(struct looker *lk)
{
	struct vio_lane *l = container_of(lk, struct vio_lane, looker);

	return !l->fault_sent && vq_drv_arm(&l->drv);
}

static void disarm(struct looker *lk)
{
	vq_drv_disarm(&container_of(lk, struct vio_lane, looker)->drv);
}

static void called(struct bell *b)
{
	looker_rang(&container_of(b, struct vio_lane, call)->looker);
}

/* --- control's orders --------------------------------------------------------------------------------------------- */

static void up_on_core(struct msg *m)
{
	struct vio_lane *l = container_of(m, struct vio_lane, up_msg);

	l->looker.look = look;
	l->looker.arm = arm;
	l->looker.disarm = disarm;
	l->fault_sent = l->failing = false;
	if (bell_listen(&l->call, "vhost-user server", called) != 0) {
		l->fault_sent = true; /* it cannot be woken: control takes the connection down again */
		msg_send(core_control(l->c->vio->core), &l->fault_msg, fault_on_control);
		return;
	}
	l->up = true;
	looker_start(&l->looker, "virtio queue");
	start_waiting(l);
}

void vio_lane_up(struct vio_lane *l)
{
	msg_send(l->reactor, &l->up_msg, up_on_core);
}

static void end_waiting(struct vio_lane *l, enum bdev_status status)
{
	struct list ended;
	struct list *link;

	list_init(&ended);
	list_splice(&ended, &l->waiting);
	list_each(w, &ended)
		list_entry(w, struct vio_req, link)->waits = false;
	while ((link = list_pop(&ended)))
		end(l, list_entry(link, struct vio_req, link), status);
}

static void fell_on_control(struct msg *m)
{
	vio_lane_fell(container_of(m, struct vio_lane, down_msg));
}

/* Answers that are there count; what has none goes to the head of the line, to be sent again. What is asked for
 * meanwhile waits: a server that answers whatever it finds cannot keep the core here for longer than it has requests.
 */
static void down_on_core(struct msg *m)
{
	struct vio_lane *l = container_of(m, struct vio_lane, down_msg);

	if (l->up) {
		l->up = false;
		while (!l->fault_sent && look(&l->looker))
			;
		looker_stop(&l->looker);
		bell_unlisten(&l->call);
		defer_cancel(&l->later);
		for (uint32_t i = 0; i < l->slot_count; i++)
			if (l->slots[i].req) {
				wait(l, empty_slot(l, &l->slots[i]), list_add_head);
				atomic_fetch_add_explicit(&l->requeued, 1, memory_order_relaxed);
			}
		if (l->gone)
			end_waiting(l, BDEV_ST_GONE);
	}
	msg_send(core_control(l->c->vio->core), &l->down_msg, fell_on_control);
}

void vio_lane_down(struct vio_lane *l)
{
	msg_send(l->reactor, &l->down_msg, down_on_core);
}

static void fail_on_core(struct msg *m)
{
	struct vio_lane *l = container_of(m, struct vio_lane, fail_msg);

	if (l->up)
		return;
	l->failing = true;
	end_waiting(l, BDEV_ST_TIMED_OUT);
}

void vio_lane_fail(struct vio_lane *l)
{
	msg_send(l->reactor, &l->fail_msg, fail_on_core);
}

static void gone_on_core(struct msg *m)
{
	struct vio_lane *l = container_of(m, struct vio_lane, gone_msg);

	l->gone = true;
	end_waiting(l, BDEV_ST_GONE);
}

void vio_lane_gone(struct vio_lane *l)
{
	msg_send(l->reactor, &l->gone_msg, gone_on_core);
}
