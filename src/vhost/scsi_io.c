/* SPDX-License-Identifier: BSD-3-Clause */
/* scsi_io.c: requests of a SCSI host (virtio 1.2, 5.6.6.1), on a ring's core. The CDB is read once into memory of ours;
 * data goes between disk and guest memory with no stop between; what is long goes in pieces (scsi_task_seek()), so that
 * others have their turn. A request without a whole header, or without room for
 * its answer, is no request: its ring stops.
 *
 * Data for which a CDB asks and for which there is no room is OVERRUN, and nothing is done, as in QEMU: virtio has no
 * residual for that. Less than there is room for is the residual.
 */
#include "vhost/scsi.h"
#include "wire/virtio.h"

#define HEADER_BYTES offsetof(struct virtio_scsi_cmd_req, cdb)
#define ANSWER_BYTES offsetof(struct virtio_scsi_cmd_resp, sense)
#define EXTENDED_CDB 0x7fu

static void command(struct vscsi_task *v);
static void run(struct vscsi_task *v, struct vscsi_lane *lane, const struct virtio_scsi_cmd_req *h);
static void finish(struct vscsi_task *v);
static void leave(struct vscsi_task *v);
static void respond(struct vscsi_task *v, enum virtio_scsi_response response);
static void answer(struct vscsi_task *v, struct virtio_scsi_cmd_resp *r, uint32_t sense_len, uint32_t written);

static struct vscsi_task *task_of(struct vhost_task *t) { return container_of(t, struct vscsi_task, task); }

void vscsi_execute(struct vhost_task *t)
{
	if (unlikely(t->ring->index == VIRTIO_SCSI_CONTROLQ))
		vscsi_control(task_of(t));
	else
		command(task_of(t));
}

static void command(struct vscsi_task *v)
{
	struct vhost_task *t = &v->task;
	const struct vscsi_session *s = t->ring->session->device;
	const struct vscsi_hub *hub = t->ring->device;
	uint32_t cdb_size = atomic_load_explicit(&s->cdb_size, memory_order_relaxed);
	uint32_t head = (uint32_t)HEADER_BYTES + cdb_size;
	struct virtio_scsi_cmd_req h = { .lun = { 0 } };

	v->sense_max = atomic_load_explicit(&s->sense_size, memory_order_relaxed);
	v->resp_len = (uint32_t)ANSWER_BYTES + v->sense_max;
	v->cut.count = 0;
	if (unlikely(t->chain.out_len < head || t->chain.in_len < v->resp_len)) {
		vhost_ring_broken(t->ring, "a request without a whole header, or without room for its answer");
		vhost_task_done(t, 0);
		return;
	}
	must(vhost_iovs_read(vhost_task_out(t), t->chain.out_count, 0, &h, min_u32(head, sizeof(h))));
	v->scsi.lu = NULL;
	v->scsi.own = NULL;
	v->scsi.lent = false;
	v->scsi.expected_out = t->chain.out_len - head;
	v->scsi.expected_in = t->chain.in_len - v->resp_len;
	if (unlikely(h.lun[0] != 1 || !hub->lanes[h.lun[1]]))
		respond(v, VIRTIO_SCSI_S_BAD_TARGET);
	else if (unlikely(v->scsi.expected_out && v->scsi.expected_in))
		respond(v, VIRTIO_SCSI_S_FAILURE); /* INOUT was not offered */
	else
		run(v, hub->lanes[h.lun[1]], &h);
}

static uint8_t attr_of(uint8_t attr)
{
	static const uint8_t attrs[] = { [VIRTIO_SCSI_S_SIMPLE] = SCSI_ATTR_SIMPLE,
		[VIRTIO_SCSI_S_ORDERED] = SCSI_ATTR_ORDERED, [VIRTIO_SCSI_S_HEAD] = SCSI_ATTR_HEAD };

	return attr < ARRAY_SIZE(attrs) ? attrs[attr] : SCSI_ATTR_ACA; /* which is refused */
}

/* The data, or its piece that is at hand, is where the guest has it. */
static void place(struct vscsi_task *v)
{
	struct vhost_task *t = &v->task;
	struct scsi_task *s = &v->scsi;
	bool there;

	s->iovs = NULL;
	s->iov_count = s->iov_max = 0;
	if (!s->moves)
		return;
	if (s->data == SCSI_DATA_OUT)
		there = vhost_iovs_cut(&v->cut, vhost_task_out(t), t->chain.out_count,
		                       t->chain.out_len - s->expected_out + s->base, s->moves);
	else
		there = vhost_iovs_cut(&v->cut, vhost_task_in(t), t->chain.in_count, v->resp_len + s->base, s->moves);
	must(there);
	s->iovs = v->cut.iovs;
	s->iov_count = (uint16_t)v->cut.count;
}

static void run(struct vscsi_task *v, struct vscsi_lane *lane, const struct virtio_scsi_cmd_req *h)
{
	struct scsi_task *s = &v->scsi;

	s->nexus = &lane->nexus;
	s->lun = vscsi_lun_of(h->lun);
	s->tag = le64_get(h->tag);
	memcpy(s->cdb, h->cdb, sizeof(s->cdb));
	s->cdb_len = h->cdb[0] == EXTENDED_CDB ? sizeof(s->cdb) : 16;
	s->attr = attr_of(h->task_attr);
	scsi_task_came(s, reactor_now_ns());
	if (unlikely(!scsi_task_parse(s))) {
		finish(v);
		return;
	}
	if (unlikely(s->data_len > (s->data == SCSI_DATA_OUT ? s->expected_out : s->expected_in))) {
		respond(v, VIRTIO_SCSI_S_OVERRUN);
		return;
	}
	place(v);
	scsi_task_execute(s);
}

/* The piece before it is done. */
void vscsi_go_on(struct vhost_task *t)
{
	struct vscsi_task *v = task_of(t);
	struct scsi_nexus *n = v->scsi.nexus;

	vhost_iovs_mend(&v->cut);
	if (scsi_task_seek(&v->scsi, v->scsi.base + v->scsi.moves)) {
		place(v);
		scsi_task_execute(&v->scsi);
	} else {
		finish(v);
	}
	scsi_nexus_let_go(n);
}

/* What task management has aborted is not to be done later. */
void vscsi_hurry(struct vhost_task *t)
{
	struct vscsi_task *v = task_of(t);

	if (t->ring->index == VIRTIO_SCSI_CONTROLQ)
		vscsi_control_hurry(v);
	else if (t->ring->index != VIRTIO_SCSI_EVENTQ)
		scsi_task_give_up(&v->scsi);
}

/* --- the answer --------------------------------------------------------------------------------------------------- */

void vscsi_task_done(struct scsi_task *s)
{
	struct vscsi_task *v = container_of(s, struct vscsi_task, scsi);

	if (unlikely(s->status != SCSI_GOOD))
		vhost_iovs_touch(v->cut.iovs, v->cut.count);
	if (unlikely(s->more)) {
		scsi_nexus_hold(s->nexus); /* its target may go meanwhile */
		vhost_task_go_on(&v->task);
	} else if (unlikely(s->given_up) && vhost_task_may_be_left(&v->task)) {
		leave(v);
	} else if (unlikely(s->aborted && s->status != SCSI_TASK_ABORTED)) {
		scsi_task_lost(s, reactor_now_ns(), !s->nexus->ending);
		respond(v, vscsi_lane_of(s->nexus)->aborting ? VIRTIO_SCSI_S_ABORTED : VIRTIO_SCSI_S_RESET);
	} else {
		finish(v);
	}
}

static void leave(struct vscsi_task *v)
{
	vhost_iovs_mend(&v->cut);
	scsi_task_lost(&v->scsi, reactor_now_ns(), true);
	scsi_task_free(&v->scsi);
	vhost_task_leave(&v->task);
}

static void finish(struct vscsi_task *v)
{
	const struct scsi_task *s = &v->scsi;
	uint32_t sent = s->base + s->sent_len, moved = s->data == SCSI_DATA_OUT ? s->full_len : sent;
	uint32_t sense_len = min_u32(s->sense_len, v->sense_max);
	struct virtio_scsi_cmd_resp r = {
		.sense_len = le32_of(sense_len),
		.resid = le32_of(s->expected_out + s->expected_in - min_u32(moved, s->expected_out + s->expected_in)),
		.status = s->status,
		.response = VIRTIO_SCSI_S_OK,
	};

	memcpy(r.sense, s->sense, sense_len);
	scsi_task_sent(&v->scsi, reactor_now_ns(), reactor_now_ns());
	answer(v, &r, sense_len, s->status == SCSI_GOOD ? v->resp_len + sent : v->task.chain.in_len);
}

/* It came to nothing. */
static void respond(struct vscsi_task *v, enum virtio_scsi_response response)
{
	struct virtio_scsi_cmd_resp r = {
		.resid = le32_of(v->scsi.expected_out + v->scsi.expected_in), .response = (uint8_t)response,
	};

	answer(v, &r, 0, v->task.chain.in_len);
}

static void answer(struct vscsi_task *v, struct virtio_scsi_cmd_resp *r, uint32_t sense_len, uint32_t written)
{
	struct vhost_task *t = &v->task;

	vhost_iovs_mend(&v->cut);
	scsi_task_free(&v->scsi);
	must(vhost_iovs_write(vhost_task_in(t), t->chain.in_count, 0, r, (uint32_t)ANSWER_BYTES + sense_len));
	vhost_task_done(t, written);
}
