/* SPDX-License-Identifier: BSD-3-Clause */
/* test_front.c: the world of vhost's tests, and its front-end. */
#include <errno.h>
#include <stdio.h>

#include "backends/delay/delay.h"
#include "backends/malloc/malloc.h"
#include "vhost/test_front.h"

#define GUEST_BASE 0x100000000ull
#define USER_BASE 0x7f0000000000ull
#define RING_BYTES 65536u
#define SLOT_BYTES (FRONT_DATA + FRONT_HEAD)
#define QUEUE_BYTES (RING_BYTES + FRONT_REQS * SLOT_BYTES)
#define MEMORY_BYTES align_up(FRONT_QUEUES * QUEUE_BYTES, 4096)
#define LONG_NS (100 * NS_PER_S)

static void must_be(const struct err *e)
{
	if (e->code)
		fprintf(stderr, "setting up: %s\n", e->text);
	must(!e->code);
}

/* --- the world ---------------------------------------------------------------------------------------------------- */

static void made(struct vhost_change *c)
{
	must_be(&c->err);
	container_of(c, struct test_world, change)->made = true;
}

static void make_disk(void *arg)
{
	struct test_world *w = arg;
	const struct malloc_opts ram = { .name = w->slow_us ? "ram" : "disk", .block_size = TEST_SECTOR,
		.block_count = TEST_BLOCKS };
	const struct delay_opts slow = { .name = "disk", .base = "ram",
		.latency_us = { w->slow_us, 9 * w->slow_us, 2 * w->slow_us, 20 * w->slow_us } };
	struct bdev *b;

	if (!bdev_find(w->reg, "ram"))
		must(!malloc_create(w->reg, &ram, &b, NULL));
	if (w->slow_us)
		must(!delay_create(w->reg, &slow, NULL));
	w->disk_asked = w->disk_gone = false;
}

void world_make_disk(struct test_world *w)
{
	sim_as(core_control(w->core), make_disk, w);
}

static void first_target_added(struct vhost_change *c)
{
	struct test_world *w = container_of(c, struct test_world, target_change.change);

	must_be(&c->err);
	must(!vhost_scsi_start(world_ctrlr(w), &c->err));
	w->made = true;
}

static void serve_scsi(struct test_world *w)
{
	const struct vhost_ctrlr_opts opts = { .name = "disk", .client = w->client, .delay = true };
	struct err e = { 0 };

	w->scsi = scsi_make(w->core, w->reg);
	vhost_set_scsi(w->vhost, w->scsi);
	must(!vhost_scsi_make(w->vhost, &opts, &e));
	w->target_change.change.done = first_target_added;
	vhost_scsi_add_target(world_ctrlr(w), 0, "disk", &w->target_change);
}

static void serve(void *arg)
{
	struct test_world *w = arg;

	w->reg = bdev_registry_make(w->core);
	make_disk(w);
	w->vhost = vhost_make(w->core, w->reg, "/sim");
	if (w->is_scsi) {
		serve_scsi(w);
		return;
	}
	w->change.done = made;
	vhost_blk_make(w->vhost, &(struct vhost_blk_opts){ .ctrlr = { .name = "disk", .client = w->client },
	               .bdev_name = "disk", .read_only = w->read_only, .num_queues = FRONT_QUEUES }, &w->change);
}

static bool is_true(void *arg)
{
	return *(bool *)arg;
}

void world_start(struct test_world *w, uint64_t seed)
{
	sim_pair_start(seed, NULL, w->cores ? w->cores : 3, 0, &w->core, &w->host_core);
	sim_as(core_control(w->core), serve, w);
	must(sim_run(is_true, &w->made, LONG_NS));
}

static void changed(struct vhost_change *c)
{
	container_of(c, struct test_world, target_change.change)->changing = false;
}

struct targeting {
	struct test_world *w;
	uint32_t num;
	bool add;
};

static void change_target(void *arg)
{
	struct targeting *t = arg;
	struct test_world *w = t->w;
	struct vhost_ctrlr *c = world_ctrlr(w);

	if (w->changing || !c)
		return;
	w->changing = true;
	w->target_change = (struct vhost_scsi_change){ .change.done = changed };
	if (t->add)
		vhost_scsi_add_target(c, (int)t->num, "disk", &w->target_change);
	else
		vhost_scsi_remove_target(c, t->num, &w->target_change.change);
}

void world_add_target(struct test_world *w, uint32_t num)
{
	sim_as(core_control(w->core), change_target, &(struct targeting){ w, num, true });
}

void world_remove_target(struct test_world *w, uint32_t num)
{
	sim_as(core_control(w->core), change_target, &(struct targeting){ w, num, false });
}

static void unregistered(void *arg, int rc)
{
	((struct test_world *)arg)->disk_gone = true;
}

static void delete_disk(void *arg)
{
	struct test_world *w = arg;

	w->disk_asked = true;
	must(!(w->slow_us ? delay_delete : malloc_delete)(w->reg, "disk", unregistered, w, NULL));
}

static void ram_gone(void *arg, int rc)
{
	((struct test_world *)arg)->ram_gone = true;
}

static void delete_ram(void *arg)
{
	struct test_world *w = arg;

	must(!malloc_delete(w->reg, "ram", ram_gone, w, NULL));
}

void world_delete_disk(struct test_world *w)
{
	sim_as(core_control(w->core), delete_disk, w);
}

static void ctrlr_deleted(struct vhost_change *c)
{
	must_be(&c->err);
	container_of(c, struct test_world, change)->deleted = true;
}

static void delete_ctrlr(void *arg)
{
	struct test_world *w = arg;

	w->change = (struct vhost_change){ .done = ctrlr_deleted };
	vhost_ctrlr_delete(world_ctrlr(w), &w->change);
}

void world_delete_ctrlr(struct test_world *w)
{
	sim_as(core_control(w->core), delete_ctrlr, w);
}

struct vhost_ctrlr *world_ctrlr(struct test_world *w)
{
	return vhost_ctrlr_find(w->vhost, "disk");
}

struct vhost_session_priv *world_session(struct test_world *w)
{
	struct vhost_ctrlr *c = world_ctrlr(w);

	list_each(l, &c->sessions)
		if (!session_priv(list_entry(l, struct vhost_session, link))->ended)
			return session_priv(list_entry(l, struct vhost_session, link));
	return NULL;
}

static void stopped(void *arg)
{
	((struct test_world *)arg)->stopped = true;
}

static void stop(void *arg)
{
	struct test_world *w = arg;

	vhost_stop(w->vhost, stopped, w);
}

static void free_registry(void *arg)
{
	bdev_registry_free(((struct test_world *)arg)->reg);
}

void world_halt(struct test_world *w)
{
	sim_as(core_control(w->core), stop, w);
	must(sim_run(is_true, &w->stopped, LONG_NS));
}

static void scsi_gone(void *arg)
{
	struct test_world *w = arg;

	scsi_free(w->scsi);
	w->scsi_gone = true;
}

static void stop_scsi(void *arg)
{
	struct test_world *w = arg;

	scsi_stop(w->scsi, scsi_gone, w);
}

void world_stop(struct test_world *w)
{
	if (!w->stopped)
		world_halt(w);
	if (w->is_scsi) {
		sim_as(core_control(w->core), stop_scsi, w);
		must(sim_run(is_true, &w->scsi_gone, LONG_NS) && !w->changing);
	}
	if (!w->disk_asked)
		world_delete_disk(w);
	must(sim_run(is_true, &w->disk_gone, LONG_NS));
	if (w->slow_us) {
		sim_as(core_control(w->core), delete_ram, w);
		must(sim_run(is_true, &w->ram_gone, LONG_NS));
	}
	sim_as(core_control(w->core), free_registry, w);
	must(!sim_fds_open(w->core));
	sim_pair_end(w->core, w->host_core);
}

/* --- the socket ------------------------------------------------------------------------------------------------- */

static void receive(struct front *f)
{
	while (f->sock) {
		struct err e = { 0 };
		int fds[VU_FDS_MAX];
		uint32_t room, count = VU_FDS_MAX;
		void *p = vu_rx_room(&f->rx, &room);
		ssize_t n = sock_recv_fds(f->sock, p, room, fds, &count);
		int rc;

		if (n == -EAGAIN)
			return;
		if (n <= 0) {
			sock_close(f->sock);
			f->sock = NULL;
			f->ended = true;
			return;
		}
		rc = vu_rx_got(&f->rx, (uint32_t)n, fds, count, &f->reply, &e);
		must_be(&e);
		f->replies += rc;
	}
}

static void front_ready(void *arg, uint32_t events)
{
	struct front *f = arg;

	if (events & SOCK_WRITABLE)
		f->connected = true;
	receive(f);
}

static void accepted(void *arg, struct sock *s)
{
	struct front *f = arg;

	must(!f->sock && !sock_attach(s, front_ready, f));
	f->sock = s;
	f->connected = true;
}

static void open_now(void *arg)
{
	struct front *f = arg;
	struct net_addr addr;
	struct err e = { 0 };

	vu_rx_init(&f->rx, VU_REPLY);
	must(!net_addr_parse(NET_UNIX, TEST_PATH, NULL, &addr, &e));
	if (f->w->client && !f->listener)
		f->listener = listener_open(&addr, 0, accepted, f, &e);
	else if (!f->w->client)
		f->sock = sock_connect(&addr, NULL, NULL, front_ready, f, &e);
	must_be(&e);
}

static void connect_now(struct front *f)
{
	f->connected = f->ended = false;
	sim_as(f->on, open_now, f);
	must(sim_run(is_true, &f->connected, LONG_NS));
}

struct sending {
	struct front *f;
	const struct vu_msg *m;
};

static void send_now(void *arg)
{
	struct sending *s = arg;
	uint8_t bytes[VU_BYTES_MAX];
	uint32_t len = vu_encode(s->m, bytes), at = 0;

	while (s->f->sock && at < len) {
		struct iovec iov = { bytes + at, len - at };
		ssize_t n = sock_send_fds(s->f->sock, &iov, 1, s->m->fds, at ? 0 : s->m->fd_count);

		must(n > 0 || n != -EAGAIN);
		if (n < 0)
			return;
		at += (uint32_t)n;
	}
}

struct raw {
	struct front *f;
	const void *bytes;
	uint32_t len;
	const int *fds;
	uint32_t fd_count;
};

static void send_raw(void *arg)
{
	struct raw *r = arg;
	struct iovec iov = { (void *)(uintptr_t)r->bytes, r->len };
	ssize_t n = 0;

	if (r->f->sock && r->len)
		n = sock_send_fds(r->f->sock, &iov, 1, r->fds, r->fd_count);
	(void)n; /* what is not taken is lost: it is nonsense anyway */
}

void front_send_raw(struct front *f, const void *bytes, uint32_t len, const int *fds, uint32_t fd_count)
{
	sim_as(f->on, send_raw, &(struct raw){ f, bytes, len, fds, fd_count });
}

static void kick_now(void *arg)
{
	bell_ring(&((struct front_queue *)arg)->kick);
}

void front_kick(struct front_queue *q)
{
	sim_as(q->front->on, kick_now, q);
}

void front_send(struct front *f, const struct vu_msg *m)
{
	sim_as(f->on, send_now, &(struct sending){ f, m });
}

struct waiting {
	struct front *f;
	uint32_t replies;
};

static bool answered(void *arg)
{
	const struct waiting *w = arg;

	return w->f->ended || w->f->replies != w->replies;
}

bool front_ask(struct front *f, const struct vu_msg *m, struct vu_msg *ret_reply)
{
	struct waiting w = { f, f->replies };

	front_send(f, m);
	must(sim_run(answered, &w, LONG_NS));
	if (f->replies == w.replies)
		return false;
	must(f->reply.request == m->request);
	*ret_reply = f->reply;
	return true;
}

uint64_t front_get(struct front *f, uint32_t request)
{
	struct vu_msg m, reply;

	vu_request(request, VU_PAYLOAD_NONE, &m);
	must(front_ask(f, &m, &reply) && reply.kind == VU_PAYLOAD_U64);
	return reply.u64;
}

uint64_t front_tell(struct front *f, struct vu_msg *m)
{
	struct vu_msg reply;

	m->flags |= VU_FLAG_NEED_REPLY;
	return front_ask(f, m, &reply) ? reply.u64 : 1;
}

/* --- its memory and queues -------------------------------------------------------------------------------------- */

static void collect(struct front_queue *q)
{
	uint32_t written;
	void *token;
	int rc;

	while ((rc = vq_drv_get(&q->drv, &token, &written)) > 0) {
		struct front_req *r = token;

		must(r->out);
		r->out = false;
		r->written = written;
		r->status = r->hdr[16];
		q->out--;
		q->front->done++;
		q->front->failed += r->status != 0;
	}
	must(!rc);
}

static void called(struct bell *b)
{
	struct front_queue *q = container_of(b, struct front_queue, call);

	q->calls++;
	if (q->front->deaf)
		return;
	vq_drv_disarm(&q->drv);
	do
		collect(q);
	while (vq_drv_arm(&q->drv));
}

static void errored(struct bell *b)
{
	container_of(b, struct front_queue, err)->stalled = true;
}

static void make_queue(struct front *f, uint32_t index)
{
	struct front_queue *q = &f->queues[index];
	struct vq_setup setup = { .features = f->features, .size = FRONT_SIZE };
	struct err e = { 0 };
	size_t at = index * QUEUE_BYTES;

	q->front = f;
	q->index = index;
	q->ring = f->share.base;
	for (int a = 0; a < 3; a++) {
		q->area[a] = align_up(at, 64);
		at = q->area[a] + vq_area_len((enum vq_area)a, f->features, FRONT_SIZE);
	}
	must(at <= index * QUEUE_BYTES + RING_BYTES);
	memset(f->share.base + index * QUEUE_BYTES, 0, RING_BYTES);
	setup.desc = q->ring + q->area[VQ_DESC];
	setup.driver = q->ring + q->area[VQ_DRIVER];
	setup.device = q->ring + q->area[VQ_DEVICE];
	setup.addr_offset = GUEST_BASE - (uint64_t)(uintptr_t)f->share.base;
	must(!vq_drv_init(&q->drv, &setup));
	q->base = f->features & VIRTIO_BIT(VIRTIO_F_RING_PACKED) ? VQ_BASE_PACKED : 0;
	must(!bell_make(&q->kick, &e) && !bell_make(&q->call, &e) && !bell_make(&q->err, &e));
	must(!bell_listen(&q->call, "call", called) && !bell_listen(&q->err, "err", errored));
	for (uint32_t i = 0; i < FRONT_REQS; i++) {
		q->reqs[i].hdr = f->share.base + index * QUEUE_BYTES + RING_BYTES + i * SLOT_BYTES;
		q->reqs[i].data = q->reqs[i].hdr + FRONT_HEAD;
	}
}

static void make_now(void *arg)
{
	struct front *f = arg;
	struct err e = { 0 };

	f->fd = share_make("guest", MEMORY_BYTES, &e);
	must_be(&e);
	must(!share_map(&f->share, f->fd, 0, MEMORY_BYTES, true, &e));
	for (uint32_t i = 0; i < FRONT_QUEUES; i++)
		make_queue(f, i);
}

void front_open(struct front *f, struct test_world *w, uint64_t features, uint64_t protocol)
{
	memset(f, 0, sizeof(*f));
	f->w = w;
	f->on = core_reactor(w->host_core, 0);
	f->features = features | VIRTIO_BIT(VIRTIO_F_VERSION_1) | VIRTIO_BIT(VIRTIO_F_PROTOCOL_FEATURES);
	f->protocol = protocol | VU_P_BIT(REPLY_ACK) | VU_P_BIT(MQ) | VU_P_BIT(CONFIG);
	sim_as(f->on, make_now, f);
	connect_now(f);
}

static void hang_up_now(void *arg)
{
	struct front *f = arg;

	if (f->sock)
		sock_close(f->sock);
	f->sock = NULL;
}

void front_reopen(struct front *f)
{
	sim_as(f->on, hang_up_now, f);
	connect_now(f);
	for (uint32_t i = 0; i < FRONT_QUEUES; i++)
		f->queues[i].running = false;
}

static void close_now(void *arg)
{
	struct front *f = arg;

	hang_up_now(f);
	if (f->listener)
		listener_close(f->listener);
	for (uint32_t i = 0; i < FRONT_QUEUES; i++) {
		struct front_queue *q = &f->queues[i];

		bell_close(&q->kick);
		bell_close(&q->call);
		bell_close(&q->err);
		vq_drv_fini(&q->drv);
	}
	share_unmap(&f->share);
	core_fd_close(f->fd);
}

void front_close(struct front *f)
{
	sim_as(f->on, close_now, f);
}

uint64_t front_region(struct front *f, uint32_t request)
{
	struct vu_msg m;

	vu_request(request, VU_PAYLOAD_MEM_REG, &m);
	m.region = (struct vu_region){ GUEST_BASE, MEMORY_BYTES, USER_BASE, 0 };
	m.fd_count = request == VU_ADD_MEM_REG;
	m.fds[0] = f->fd;
	return front_tell(f, &m);
}

uint64_t front_give_memory(struct front *f)
{
	struct vu_msg m;

	vu_request(VU_SET_MEM_TABLE, VU_PAYLOAD_MEMORY, &m);
	m.memory.count = 1;
	m.memory.at[0] = (struct vu_region){ GUEST_BASE, MEMORY_BYTES, USER_BASE, 0 };
	m.fd_count = 1;
	m.fds[0] = f->fd;
	return front_tell(f, &m);
}

static void must_tell_u64(struct front *f, uint32_t request, uint64_t v, const struct bell *fd)
{
	struct vu_msg m;

	vu_request(request, VU_PAYLOAD_U64, &m);
	m.u64 = v;
	m.fd_count = fd != NULL;
	m.fds[0] = fd ? bell_fd(fd) : -1;
	must(!front_tell(f, &m));
}

static void must_tell_state(struct front *f, uint32_t request, uint32_t index, uint32_t num)
{
	struct vu_msg m;

	vu_request(request, VU_PAYLOAD_STATE, &m);
	m.state = (struct vu_state){ index, num };
	must(!front_tell(f, &m));
}

uint64_t front_queue_place(struct front_queue *q)
{
	struct vu_msg m;

	vu_request(VU_SET_VRING_ADDR, VU_PAYLOAD_ADDR, &m);
	m.addr = (struct vu_addr){ .index = q->index, .desc = USER_BASE + q->area[VQ_DESC],
		.avail = USER_BASE + q->area[VQ_DRIVER], .used = USER_BASE + q->area[VQ_DEVICE] };
	return front_tell(q->front, &m);
}

void front_queue_start(struct front_queue *q)
{
	struct front *f = q->front;
	bool in_band = f->protocol & VU_P_BIT(INBAND_NOTIFICATIONS);

	must_tell_state(f, VU_SET_VRING_NUM, q->index, FRONT_SIZE);
	must_tell_state(f, VU_SET_VRING_BASE, q->index, q->base);
	must(!front_queue_place(q));
	if (!in_band) {
		must_tell_u64(f, VU_SET_VRING_CALL, q->index, &q->call);
		must_tell_u64(f, VU_SET_VRING_KICK, q->index, &q->kick);
	}
	must_tell_u64(f, VU_SET_VRING_ERR, q->index, &q->err);
	must_tell_state(f, VU_SET_VRING_ENABLE, q->index, 1);
	if (in_band)
		must_tell_state(f, VU_VRING_KICK, q->index, 0);
	q->running = true;
}

void front_queue_stop(struct front_queue *q)
{
	struct vu_msg m, reply;

	vu_request(VU_GET_VRING_BASE, VU_PAYLOAD_STATE, &m);
	m.state = (struct vu_state){ q->index, 0 };
	must(front_ask(q->front, &m, &reply) && reply.kind == VU_PAYLOAD_STATE && reply.state.index == q->index);
	q->base = reply.state.num;
	q->running = false;
}

void front_start(struct front *f)
{
	f->offered = front_get(f, VU_GET_FEATURES);
	must((f->features & ~f->offered) == 0);
	f->protocol &= front_get(f, VU_GET_PROTOCOL_FEATURES);
	{
		struct vu_msg m;

		vu_request(VU_SET_PROTOCOL_FEATURES, VU_PAYLOAD_U64, &m);
		m.u64 = f->protocol;
		front_send(f, &m);
	}
	must_tell_u64(f, VU_SET_FEATURES, f->features, NULL);
	must(!front_give_memory(f));
	for (uint32_t i = 0; i < FRONT_QUEUES; i++)
		front_queue_start(&f->queues[i]);
}

/* --- requests --------------------------------------------------------------------------------------------------- */

struct submitting {
	struct front_queue *q;
	struct front_req *r;
	uint32_t head_len, out_len, in_len;
};

static void submit_iovs(struct front_queue *q, struct front_req *r, const struct iovec *iov, uint32_t out, uint32_t in)
{
	if (q->out == 0)
		must(!vq_drv_arm(&q->drv) || q->front->deaf);
	must(vq_drv_add(&q->drv, iov, out, in, r));
	vq_drv_publish(&q->drv);
	r->out = true;
	q->out++;
	if (vq_drv_kick_due(&q->drv))
		bell_ring(&q->kick);
}

static void submit_now(void *arg)
{
	struct submitting *s = arg;
	struct front_req *r = s->r;
	bool in = r->type == VIRTIO_BLK_T_IN;
	struct iovec iov[3] = { { r->hdr, 16 } };
	uint32_t out = 1;

	if (r->type == VIRTIO_BLK_T_OUT)
		iov[out++] = (struct iovec){ r->data, r->len };
	if (in)
		iov[out] = (struct iovec){ r->data, r->len };
	iov[out + in] = (struct iovec){ r->hdr + 16, 1 };
	submit_iovs(s->q, r, iov, out, 1 + in);
}

static void submit_bytes_now(void *arg)
{
	struct submitting *s = arg;
	struct iovec iov[3];
	uint32_t n = 0, out;

	if (s->head_len)
		iov[n++] = (struct iovec){ s->r->hdr, s->head_len };
	if (s->out_len)
		iov[n++] = (struct iovec){ s->r->data, s->out_len };
	out = n;
	if (s->in_len)
		iov[n++] = (struct iovec){ s->r->data + s->out_len, s->in_len };
	submit_iovs(s->q, s->r, iov, out, n - out);
}

struct front_req *front_submit(struct front_queue *q, uint32_t type, uint64_t sector, uint32_t len, uint8_t fill)
{
	struct virtio_blk_outhdr h = { .type = le32_of(type), .sector = le64_of(sector) };

	for (uint32_t i = 0; i < FRONT_REQS; i++) {
		struct front_req *r = &q->reqs[i];

		if (r->out)
			continue;
		r->type = type;
		r->len = len;
		r->sector = sector;
		memcpy(r->hdr, &h, sizeof(h));
		r->hdr[16] = 0xff;
		memset(r->data, fill, len);
		sim_as(q->front->on, submit_now, &(struct submitting){ .q = q, .r = r });
		return r;
	}
	return NULL;
}

struct front_req *front_submit_bytes(struct front_queue *q, const void *head, uint32_t head_len, uint32_t out_len,
                                     uint32_t in_len)
{
	struct submitting s = { .q = q, .head_len = head_len, .out_len = out_len, .in_len = in_len };

	must(head_len <= FRONT_HEAD && out_len + in_len <= FRONT_DATA);
	for (uint32_t i = 0; i < FRONT_REQS && head_len + out_len + in_len; i++) {
		s.r = &q->reqs[i];
		if (s.r->out)
			continue;
		memcpy(s.r->hdr, head, head_len);
		sim_as(q->front->on, submit_bytes_now, &s);
		return s.r;
	}
	return NULL;
}

static bool drained(void *arg)
{
	struct front *f = arg;
	bool any = false;

	for (uint32_t i = 0; i < FRONT_QUEUES; i++)
		any |= f->queues[i].out > 0;
	return !any;
}

bool front_drain(struct front *f)
{
	return sim_run(drained, f, LONG_NS);
}
