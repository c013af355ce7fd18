/* SPDX-License-Identifier: BSD-3-Clause */
/* scan.c: finding the disks behind a virtio-scsi controller, on the control reactor.
 *
 * Each target is asked a few things, one after the other; the first ones it must answer, the others it may. That is
 * done after each connection, and when an event or a unit attention says that something has changed: new disks are
 * registered, those that changed their size are told, those that are not there any more go.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "backends/virtio/virtio_priv.h"
#include "core/log.h"
#include "wire/scsi.h"
#include "wire/scsi_inquiry.h"
#include "wire/scsi_mode.h"

#define SCAN_TARGETS_MAX 256u
#define SCAN_TRIES 8u
#define EVENTS 4u
#define IDENT_BYTES 252u                /* of a page that says who it is: what is longer is not looked at */
#define RANGES_MAX 7u                   /* rows of an UNMAP list that a request has room for */

struct event {
	struct vio_req req;
	struct vio_ctrlr *c;
	bool given;                      /* the device has it, or the lane for the next connection */
};

/* A target, as far as it has answered. */
struct found {
	uint32_t block_size;
	uint64_t block_count;
	uint32_t physical_shift;
	uint32_t unmap_blocks, unmap_rows;
	bool unmaps, write_cache, fua, read_only;
	struct vio_ident ident;
};

struct vio_scan {
	struct vio_ctrlr *c;
	struct vio_req req;
	struct iovec iov;
	uint32_t target, targets, step, tries;
	bool running, again;
	struct found found;
	uint8_t seen[SCAN_TARGETS_MAX / 8];
	uint8_t buf[256];
	struct event events[EVENTS];
};

struct question {
	bool needed;                     /* no answer: no disk */
	uint8_t want;                    /* bytes of answer */
	uint8_t cdb[16];
	bool (*heard)(struct found *f, const uint8_t *buf); /* false: it is no disk */
};

static bool heard_inquiry(struct found *f, const uint8_t *buf);
static bool heard_capacity(struct found *f, const uint8_t *buf);
static bool heard_limits(struct found *f, const uint8_t *buf);
static bool heard_provisioning(struct found *f, const uint8_t *buf);
static bool heard_caching(struct found *f, const uint8_t *buf);
static bool heard_designators(struct found *f, const uint8_t *buf);
static bool heard_serial(struct found *f, const uint8_t *buf);

static const struct question questions[] = {
	/* needed  bytes  CDB                                                               heard */
	{ true,    36,    { SCSI_OP_INQUIRY, [4] = 36 },                                    heard_inquiry },
	{ true,    32,    { SCSI_OP_READ_CAPACITY_16, SCSI_SA_READ_CAPACITY_16, [13] = 32 }, heard_capacity },
	{ false,   64,    { SCSI_OP_INQUIRY, 1, SCSI_VPD_BLOCK_LIMITS, [4] = 64 },          heard_limits },
	{ false,   8,     { SCSI_OP_INQUIRY, 1, SCSI_VPD_PROVISIONING, [4] = 8 },           heard_provisioning },
	/* without block descriptors */
	{ false,   24,    { SCSI_OP_MODE_SENSE_6, 8, SCSI_MODE_CACHING, [4] = 24 },         heard_caching },
	{ false,   IDENT_BYTES, { SCSI_OP_INQUIRY, 1, SCSI_VPD_DEVICE_ID, [4] = IDENT_BYTES }, heard_designators },
	{ false,   IDENT_BYTES, { SCSI_OP_INQUIRY, 1, SCSI_VPD_SERIAL, [4] = IDENT_BYTES },  heard_serial },
};

static void begin(struct vio_scan *s);
static void ask(struct vio_scan *s);
static void heard(struct vio_req *r);
static void next_target(struct vio_scan *s);
static void end(struct vio_scan *s, enum bdev_status status);
static void give_events(struct vio_scan *s);

/* The connection is up: its first disks, or what has become of them. */
void vio_scsi_up(struct vio_ctrlr *c)
{
	struct vio_scan *s = c->scan;
	struct virtio_scsi_config f;

	if (!s) {
		s = c->scan = base_zalloc(sizeof(*s));
		s->c = c;
	}
	memcpy(&f, c->config, sizeof(f));
	s->targets = min_u32(le16_get(f.max_target) + 1u, SCAN_TARGETS_MAX);
	give_events(s);
	vio_scsi_scan(c);
}

void vio_scsi_scan(struct vio_ctrlr *c)
{
	if (!c->scan || c->going)
		return;
	if (c->scan->running)
		c->scan->again = true;
	else
		begin(c->scan);
}

static void look_again(struct msg *m)
{
	struct vio_ctrlr *c = container_of(m, struct vio_ctrlr, look_msg);

	atomic_store(&c->look_sent, false);
	vio_scsi_scan(c);
}

/* The disk stays until the message has arrived: it cannot go before its channel on this core has. */
void vio_scsi_look_again(struct vio_disk *d)
{
	if (!atomic_exchange(&d->c->look_sent, true))
		msg_send(core_control(d->c->vio->core), &d->c->look_msg, look_again);
}

/* --- a scan ------------------------------------------------------------------------------------------------------ */

static void begin(struct vio_scan *s)
{
	s->running = true;
	s->again = false;
	s->target = 0;
	s->step = s->tries = 0;
	memset(s->seen, 0, sizeof(s->seen));
	s->found = (struct found){ 0 };
	s->c->disk_count++;              /* it stays until the scan has ended */
	ask(s);
}

static void ask(struct vio_scan *s)
{
	const struct question *q = &questions[s->step];

	memset(s->buf, 0, sizeof(s->buf));
	s->iov = (struct iovec){ s->buf, q->want };
	vio_scsi_head(&s->req, (uint8_t)s->target, q->cdb, sizeof(q->cdb));
	s->req.io = NULL;
	vio_req_data(&s->req, &s->iov, 1, q->want, false);
	s->req.done = heard;
	vio_submit(s->c, &s->req);
}

static void heard(struct vio_req *r)
{
	struct vio_scan *s = container_of(r, struct vio_scan, req);
	const struct question *q = &questions[s->step];
	struct vio_scsi_answer a;

	if (r->status != BDEV_ST_OK) {
		end(s, r->status);
		return;
	}
	vio_scsi_answer(r, &a);
	if (vio_scsi_again(&a) && s->tries++ < SCAN_TRIES) {
		ask(s);
		return;
	}
	s->tries = 0;
	a.residual = min_u32(a.residual, q->want); /* bytes that it did not write */
	memset(s->buf + q->want - a.residual, 0, a.residual);
	if (a.response != VIRTIO_SCSI_S_OK || a.status != SCSI_GOOD || !q->heard(&s->found, s->buf)) {
		if (q->needed) {
			next_target(s);
			return;
		}
	}
	if (++s->step < ARRAY_SIZE(questions)) {
		ask(s);
		return;
	}
	s->seen[s->target / 8] |= (uint8_t)(1u << s->target % 8);
	next_target(s);
}

static bool heard_inquiry(struct found *f, const uint8_t *buf)
{
	return buf[0] == 0; /* there, and a disk */
}

static bool heard_capacity(struct found *f, const uint8_t *buf)
{
	f->block_count = scsi_u64(buf) + 1;
	f->block_size = scsi_u32(buf + 8);
	f->physical_shift = buf[13] & 0xf;
	return f->block_count && is_pow2(f->block_size) && f->block_size >= 512 && f->block_size <= 65536;
}

static bool heard_limits(struct found *f, const uint8_t *buf)
{
	f->unmap_blocks = scsi_u32(buf + 20);
	f->unmap_rows = scsi_u32(buf + 24);
	return true;
}

static bool heard_provisioning(struct found *f, const uint8_t *buf)
{
	f->unmaps = buf[5] & SCSI_LBP5_LBPU;
	return true;
}

static bool heard_caching(struct found *f, const uint8_t *buf)
{
	f->read_only = buf[2] & SCSI_MODE_WP;
	f->fua = buf[2] & SCSI_MODE_DPOFUA;
	f->write_cache = (buf[4] & SCSI_MODE_CODE) == SCSI_MODE_CACHING && (buf[6] & 4);
	return true;
}

static bool heard_designators(struct found *f, const uint8_t *buf)
{
	vio_ident_designators(&f->ident, buf, IDENT_BYTES);
	return true;
}

static bool heard_serial(struct found *f, const uint8_t *buf)
{
	vio_ident_serial(&f->ident, buf, IDENT_BYTES);
	return true;
}

/* --- what it found ----------------------------------------------------------------------------------------------- */

/* `going`: the one that is on its way out. */
static struct vio_disk *disk_of(struct vio_ctrlr *c, uint32_t target, bool going)
{
	list_each(l, &c->disks) {
		struct vio_disk *d = list_entry(l, struct vio_disk, link);

		if (d->target == target && atomic_load(&d->bdev.removing) == going)
			return d;
	}
	return NULL;
}

/* Another device may have its UUID: the same unit by another way, perhaps, or what this very daemon serves. */
static void choose_uuid(struct vio_ctrlr *c, struct vio_disk *d)
{
	char text[UUID_TEXT_MAX];
	bool own = d->ident.rank >= VIO_IDENT_WORLDWIDE;

	d->bdev.uuid = own ? d->ident.mark : vio_ident_here(&d->ident, c, d->target);
	if (!own || !bdev_find(c->vio->reg, uuid_to_text(&d->ident.mark, text)))
		return;
	d->bdev.uuid = vio_ident_here(&d->ident, c, d->target);
	log_notice("virtio: %s: another device has its UUID %s (the same unit, perhaps); it gets one of its own",
	           d->bdev.name, text);
}

static void add(struct vio_ctrlr *c, uint32_t target, const struct found *f)
{
	struct vio_disk *d = base_zalloc(sizeof(*d));
	bool unmaps = f->unmaps && f->unmap_blocks && f->unmap_rows;
	struct err e = { 0 };

	d->target = (uint8_t)target;
	d->ident = f->ident;
	d->seg_max = min_u32(f->unmap_rows, RANGES_MAX);
	d->range_blocks_max = f->unmap_blocks;
	d->bdev = (struct bdev){
		.ops = &vio_scsi_ops,
		.product = vio_scsi_product,
		.block_size = f->block_size,
		.physical_block_size = f->physical_shift ? f->block_size << f->physical_shift : 0,
		.block_count = f->block_count,
		.native_ops = BDEV_BIT(READ) | BDEV_BIT(WRITE) | BDEV_BIT(FLUSH) | (unmaps ? BDEV_BIT(UNMAP) : 0),
		.read_only = f->read_only,
		.thin = unmaps,
		.fua = f->fua,
		.cache = f->write_cache ? BDEV_CACHE_VOLATILE : BDEV_CACHE_NONE,
		.max_io_blocks = VIO_LARGE_BYTES / f->block_size,
		.io_ctx_bytes = sizeof(struct vio_req),
		.sleeps = "eventfd",
	};
	snprintf(d->bdev.name, sizeof(d->bdev.name), "%st%u", c->name, target);
	choose_uuid(c, d);
	if (vio_disk_add(c, d, &e) != 0)
		log_error("virtio: %s: target %u: %s", c->name, target, e.text);
}

static void unplugged(void *arg, int rc)
{
}

static void unplug(struct vio_disk *d, bool back)
{
	d->unplugged = true;
	d->back = back;
	bdev_unregister(&d->bdev, unplugged, NULL);
}

/* What different pages say is not compared: one of them was not answered. */
static bool is_same(const struct vio_ident *a, const struct vio_ident *b)
{
	bool comparable = a->rank && b->rank && (a->rank == VIO_IDENT_SERIAL) == (b->rank == VIO_IDENT_SERIAL);

	return !comparable || uuid_equal(&a->mark, &b->mark);
}

/* Who uses the old one does not know the new one's bytes. */
static bool is_another(const struct vio_disk *d, const struct found *f)
{
	return f->block_size != d->bdev.block_size || !is_same(&f->ident, &d->ident);
}

static void refresh(struct vio_ctrlr *c, struct vio_disk *d, const struct found *f)
{
	struct err e = { 0 };

	if (is_another(d, f)) {
		log_notice("virtio: %s: target %u has another disk now", c->name, d->target);
		unplug(d, true);
	} else if (f->block_count != atomic_load(&d->bdev.block_count) && bdev_resize(&d->bdev, f->block_count, &e) != 0) {
		log_error("virtio: %s: %s", d->bdev.name, e.text);
	}
}

/* One that is on its way out has the name until its users have closed it. */
static void found(struct vio_scan *s)
{
	struct vio_disk *d = disk_of(s->c, s->target, false), *going = disk_of(s->c, s->target, true);

	if (d)
		refresh(s->c, d, &s->found);
	else if (going)
		going->back = true;
	else
		add(s->c, s->target, &s->found);
}

static void next_target(struct vio_scan *s)
{
	if (s->c->going) {
		end(s, BDEV_ST_GONE);
		return;
	}
	if (s->seen[s->target / 8] >> s->target % 8 & 1)
		found(s);
	s->step = 0;
	s->found = (struct found){ 0 };
	if (++s->target < s->targets)
		ask(s);
	else
		end(s, BDEV_ST_OK);
}

static void remove_unseen(struct vio_scan *s)
{
	struct vio_ctrlr *c = s->c;

	list_each_safe(l, &c->disks) {
		struct vio_disk *d = list_entry(l, struct vio_disk, link);

		if (s->seen[d->target / 8] >> d->target % 8 & 1 || atomic_load(&d->bdev.removing))
			continue;
		log_notice("virtio: %s: target %u is not there any more", c->name, d->target);
		unplug(d, false);
	}
}

static void end(struct vio_scan *s, enum bdev_status status)
{
	struct vio_ctrlr *c = s->c;

	s->running = false;
	if (status == BDEV_ST_OK) {
		remove_unseen(s);
		vio_scanned(c);
		if (s->again && !c->going)
			begin(s);
	}
	vio_put(c);
}

/* --- events ----------------------------------------------------------------------------------------------------- */

static void give(struct event *v);

static void event(struct vio_req *r)
{
	struct event *v = container_of(r, struct event, req);

	v->given = false;
	if (r->status != BDEV_ST_OK)
		return;
	vio_scsi_scan(v->c);
	give(v);
}

static void give(struct event *v)
{
	v->given = true;
	v->req.done = event;
	v->req.answer_first = true;
	v->req.answer_len = sizeof(struct virtio_scsi_event);
	vio_submit_to(&v->c->lanes[VIRTIO_SCSI_EVENTQ], &v->req);
}

/* Buffers for them wait in the lane, also from one connection to the next. */
static void give_events(struct vio_scan *s)
{
	for (uint32_t i = 0; i < EVENTS; i++)
		if (!s->events[i].given) {
			s->events[i].c = s->c;
			give(&s->events[i]);
		}
}
