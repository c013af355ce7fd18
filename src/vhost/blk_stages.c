/* SPDX-License-Identifier: BSD-3-Clause */
/* blk_stages.c: counting requests of virtio-blk and the time of their stages (core/stages.h), and what the flight
 * recorder keeps of them.
 *
 * Each queue has counts, made when it comes to a core and touched there only; when it ends, or leaves, they become its
 * controller's on that core. A request is all there when it is taken, and gone when it is back in its ring: what is
 * neither the device's nor in its lines is what passes between two pieces of a long one, `receive` of a write and
 * `send` of a read.
 */
#include "vhost/blk.h"
#include "vhost/session.h"
#include "vhost/vhost_eyes.h"
#include "wire/virtio.h"

static const char *type_name(uint32_t type)
{
	switch (type) {
	case VIRTIO_BLK_T_IN:
		return "read";
	case VIRTIO_BLK_T_OUT:
		return "write";
	case VIRTIO_BLK_T_FLUSH:
		return "flush";
	case VIRTIO_BLK_T_GET_ID:
		return "get_id";
	case VIRTIO_BLK_T_DISCARD:
		return "discard";
	case VIRTIO_BLK_T_WRITE_ZEROES:
		return "write_zeroes";
	default:
		return NULL;
	}
}

const char *vhost_status_name(uint32_t status)
{
	switch (status) {
	case VIRTIO_BLK_S_OK:
		return "ok";
	case VIRTIO_BLK_S_UNSUPP:
		return "unsupported";
	case VHOST_LEFT:
		return "left for later";
	default:
		return "io error";
	}
}

static struct vhost_home *home_of(const struct vhost_ring *r) { return ring_priv(r)->home; }

/* --- a request --- */

static void times_of(const struct blk_task *b, uint64_t now_ns, uint64_t ns[STAGE_COUNT])
{
	uint64_t left = now_ns - b->task.since_ns, between = min_u64(b->between_ns, left), waited;

	left -= between;
	waited = min_u64((uint64_t)b->io.waited << STAGE_UNIT_BITS, left);
	ns[STAGE_RECEIVE] = b->type == VIRTIO_BLK_T_OUT ? between : 0;
	ns[STAGE_WAIT] = waited;
	ns[STAGE_BACKEND] = left - waited;
	ns[STAGE_SEND] = b->type == VIRTIO_BLK_T_OUT ? 0 : between;
}

static enum stage_kind kind_of(const struct blk_task *b)
{
	return b->type == VIRTIO_BLK_T_IN ? STAGE_KIND_READ :
	       b->type == VIRTIO_BLK_T_OUT ? STAGE_KIND_WRITE : STAGE_KIND_OTHER;
}

void blk_count_slow(struct blk_task *b, uint32_t status)
{
	struct stage_counts *c = b->task.ring->counts;
	struct vhost_home *home = home_of(b->task.ring);
	uint64_t now_ns = reactor_now_ns(), ns[STAGE_COUNT];

	b->end = (uint8_t)status;
	if (unlikely(status)) {
		c->errors++;
		stage_error_count(&home->errors, status);
	} else {
		c->ios[kind_of(b)]++;
		c->bytes[kind_of(b)] += b->bytes;
	}
	if (now_ns <= b->task.since_ns) {
		c->at_once++;
		return;
	}
	times_of(b, now_ns, ns);
	stage_times_note(c, ns);
	flight_look(&home->flight, b, ns, now_ns - b->task.since_ns, now_ns, status == VHOST_LEFT ? FLIGHT_ABORTED : 0);
}

/* --- a queue, a core --- */

void blk_stages_open(struct vhost_ring *r)
{
	r->counts = base_zalloc(sizeof(*r->counts));
}

void blk_stages_close(struct vhost_ring *r)
{
	stage_counts_add(&stage_host_find(&home_of(r)->hosts, r->session->who.name)->counts, r->counts);
	free(r->counts);
	r->counts = NULL;
}

static void fill(struct flight_io *io, const void *command)
{
	struct vhost_slow_io *s = container_of(io, struct vhost_slow_io, io);
	const struct blk_task *b = command;
	const struct vhost_ring *r = b->task.ring;

	s->sector = b->sector;
	s->bytes = b->bytes;
	s->type = b->type;
	s->session = r->session->id;
	s->queue = (uint16_t)r->index;
	s->id = b->task.chain.id;
	s->name = type_name(b->type);
	s->has_sector = b->type == VIRTIO_BLK_T_IN || b->type == VIRTIO_BLK_T_OUT;
	s->status = b->end;
	stage_name_set(s->ctrlr, sizeof(s->ctrlr), r->session->who.name);
	stage_name_set(s->device, sizeof(s->device), blk_of(r->session->ctrlr)->bdev_name);
}

static struct flight *flight_of(struct flights *all, uint32_t core_index)
{
	return &container_of(all, struct vhost, flights)->homes[core_index].flight;
}

void vhost_count_init(struct vhost *v) { v->flights = (struct flights){ .core = v->core, .of = flight_of }; }

void vhost_home_count(struct vhost_home *h)
{
	h->flight.size = sizeof(struct vhost_slow_io);
	h->flight.fill = fill;
	h->flight.set_limit_ns = &h->vhost->flights.limit_ns;
}

void vhost_home_forget(struct vhost_home *h)
{
	stage_hosts_fini(&h->hosts);
	flight_fini(&h->flight);
}

/* --- what others are told --- */

void vhost_eyes_read(struct vhost *v, struct stage_eyes *ret)
{
	struct vhost_home *h = &v->homes[reactor_index(reactor_self())];

	stage_eyes_begin(ret, &h->hosts, &h->errors, &h->flight);
	list_each(l, &h->rings) {
		const struct vhost_ring *r = &list_entry(l, struct vhost_ring_priv, link)->ring;
		struct stage_row *row;

		if (!r->counts)
			continue;
		stage_counts_add(&stage_eyes_host(ret, r->session->who.name)->counts, r->counts);
		row = stage_eyes_queue(ret);
		if (!row)
			continue;
		stage_name_set(row->host, sizeof(row->host), r->session->who.name);
		stage_name_set(row->device, sizeof(row->device), blk_of(r->session->ctrlr)->bdev_name);
		row->a = r->session->id;
		row->b = r->index;
		row->counts = *r->counts;
	}
}

struct flights *vhost_flights(struct vhost *v) { return &v->flights; }
