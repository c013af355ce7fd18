/* SPDX-License-Identifier: BSD-3-Clause */
/* guest.c: see guest.h. One message at a time is on its way; what it asks for is answered, or acknowledged. */
#include "guest.h"

#include <errno.h>
#include <stdio.h>

#define HDR_LEN 192u                   /* header and answer of a request, and something between */
#define SCSI_FIRST 2u                  /* queue for requests */

struct say {
	struct list link;
	struct vu_msg m;
	struct guest_queue *q, *kick;
	guest_heard_fn *heard;
};

static void setting_up(struct guest *g, struct guest_queue *q, const struct vu_msg *reply);
static void says_drop(struct guest *g);
static void called(struct bell *b);
static void erred(struct bell *b);

/* --- memory ------------------------------------------------------------------------------------------------------- */

static uint32_t place(uint32_t *at, uint64_t len, uint32_t align)
{
	uint32_t begin = (uint32_t)align_up(*at, align);

	*at = begin + (uint32_t)len;
	return begin;
}

/* Rings first, then what lies where regions may meet. */
static void lay_out(struct guest *g)
{
	uint32_t at = 0;

	for (uint32_t n = 0; n < g->all_count; n++) {
		struct guest_queue *q = &g->queues[n];

		for (int a = 0; a < 3; a++) {
			q->area_len[a] = (uint32_t)vq_area_len((enum vq_area)a, g->wanted, q->size);
			q->area[a] = place(&at, q->area_len[a], sim_chance(50) ? 64 : GUEST_PAGE);
		}
		q->tables_len = q->size * GUEST_TABLE_LEN * (uint32_t)sizeof(struct virtq_desc);
		q->tables = place(&at, q->tables_len, 64);
	}
	g->data_at = place(&at, 0, GUEST_PAGE);
	for (uint32_t n = 0; n < g->all_count; n++)
		for (uint32_t i = 0; i < GUEST_REQS; i++) {
			struct guest_req *r = &g->queues[n].reqs[i];

			r->q = &g->queues[n];
			r->hdr = place(&at, HDR_LEN, 16);
			if (i < GUEST_REQS - GUEST_PLUGGED_REQS)
				r->data = place(&at, GUEST_DATA, sim_chance(50) ? 16 : GUEST_PAGE);
		}
	g->plug_at = place(&at, 0, GUEST_PAGE);
	for (uint32_t n = 0; n < g->all_count; n++)
		for (uint32_t i = GUEST_REQS - GUEST_PLUGGED_REQS; i < GUEST_REQS; i++)
			g->queues[n].reqs[i].data = place(&at, GUEST_DATA, 16);
	g->memory_len = (uint32_t)align_up(at, GUEST_PAGE);
}

static void map(int fd, size_t len, struct share *ret_share)
{
	struct err e = { 0 };

	must(!share_map(ret_share, fd, 0, len, true, &e));
}

static void begin_queue(struct guest_queue *q)
{
	struct guest *g = q->g;
	struct vq_setup setup = { .features = g->features, .size = q->size, .desc = guest_at(g, q->area[VQ_DESC]),
		.driver = guest_at(g, q->area[VQ_DRIVER]), .device = guest_at(g, q->area[VQ_DEVICE]),
		.addr_offset = GUEST_BASE - (uint64_t)(uintptr_t)g->share.base, .tables = guest_at(g, q->tables),
		.table_len = GUEST_TABLE_LEN };

	vq_drv_fini(&q->drv);
	must(!vq_drv_init(&q->drv, &setup));
	q->base = q->drv.packed ? VQ_BASE_PACKED : 0;
	q->born = true;
	q->out = 0;
	for (uint32_t i = 0; i < GUEST_REQS; i++)
		q->reqs[i].out = false;
}

void guest_make(struct guest *g)
{
	struct err e = { 0 };

	list_init(&g->says);
	g->inflight_fd = g->log_fd = -1;
	lay_out(g);
	g->fd = share_make("guest", g->memory_len, &e);
	map(g->fd, g->memory_len, &g->share);
	g->own = base_zalloc(g->memory_len / GUEST_PAGE);
	g->copy = base_zalloc(g->memory_len);
	g->plug_was = base_zalloc(g->memory_len - g->plug_at);
	g->unplugging = g->unplugged = false;
	for (uint32_t n = 0; n < g->all_count; n++) {
		struct guest_queue *q = &g->queues[n];

		q->g = g;
		q->side = n < g->queue_count ? SIDE_NONE : (enum guest_side)(SIDE_CONTROL + n - g->queue_count);
		q->index = q->side ? (uint32_t)q->side - SIDE_CONTROL : n + (g->scsi ? SCSI_FIRST : 0);
		must(!bell_make(&q->kick, &e) && !bell_make(&q->call, &e) && !bell_make(&q->err, &e));
		must(!bell_listen(&q->call, "call", called) && !bell_listen(&q->err, "err", erred));
	}
}

static void drop_inflight(struct guest *g)
{
	share_unmap(&g->inflight);
	if (g->inflight_fd >= 0)
		core_fd_close(g->inflight_fd);
	g->inflight_fd = -1;
}

void guest_free(struct guest *g)
{
	guest_hang_up(g);
	guest_log_drop(g);
	for (uint32_t n = 0; n < g->all_count; n++) {
		struct guest_queue *q = &g->queues[n];

		vq_drv_fini(&q->drv);
		bell_close(&q->kick);
		bell_close(&q->call);
		bell_close(&q->err);
		*q = (struct guest_queue){ .size = q->size, .depth = q->depth };
	}
	drop_inflight(g);
	share_unmap(&g->share);
	core_fd_close(g->fd);
	free(g->own);
	free(g->copy);
	free(g->plug_was);
}

void guest_forget(struct guest *g)
{
	drop_inflight(g);
	for (uint32_t n = 0; n < g->all_count; n++)
		g->queues[n].born = false;
}

static void move_share(int *fd, struct share *share)
{
	struct err e = { 0 };
	struct share old = *share;
	int new_fd = share_make("again", old.len, &e);

	map(new_fd, old.len, share);
	memcpy(share->base, old.base, old.len);
	share_unmap(&old);
	core_fd_close(*fd);
	*fd = new_fd;
}

void guest_outlives(struct guest *g)
{
	uint8_t *old = g->share.base;

	move_share(&g->fd, &g->share);
	if (g->inflight_fd >= 0)
		move_share(&g->inflight_fd, &g->inflight);
	for (uint32_t n = 0; n < g->all_count; n++) {
		struct vq_drv *d = &g->queues[n].drv;

		if (!g->queues[n].born)
			continue;
		d->desc = (struct virtq_desc *)(g->share.base + ((uint8_t *)d->desc - old));
		d->driver = g->share.base + ((uint8_t *)d->driver - old);
		d->device = g->share.base + ((uint8_t *)d->device - old);
		if (d->tables)
			d->tables = g->share.base + ((uint8_t *)d->tables - old);
		d->addr_offset = GUEST_BASE - (uint64_t)(uintptr_t)g->share.base;
	}
}

/* --- the socket --------------------------------------------------------------------------------------------------- */

static bool is_answered(const struct guest *g, const struct vu_msg *m)
{
	struct vu_row row;

	return m->request == VU_SET_LOG_BASE || vu_wants_reply(m) ||
	       (vu_row(VU_REQUEST, m->request, &row) && row.reply != VU_PAYLOAD_NONE);
}

static void send_next(struct guest *g);

static void said(struct guest *g, const struct vu_msg *reply)
{
	struct say *s = list_first(&g->says, struct say, link);

	must(s);
	g->asking = false;
	list_del(&s->link);
	g->kicks -= s->kick != NULL;
	if (s->heard)
		s->heard(g, s->q, reply);
	free(s);
	send_next(g);
}

static void flush(struct guest *g)
{
	struct say *s = list_first(&g->says, struct say, link);

	if (!s || g->at == g->len)
		return;
	while (g->at < g->len) {
		struct iovec iov = { g->bytes + g->at, g->len - g->at };
		ssize_t n = sock_send_fds(g->sock, &iov, 1, s->m.fds, g->at ? 0 : s->m.fd_count);

		if (n <= 0) {
			sock_want_write(g->sock, true);
			return; /* if it ended, that is read */
		}
		g->at += (uint32_t)n;
	}
	sock_want_write(g->sock, false);
	g->asking = true;
	if (!is_answered(g, &s->m))
		said(g, NULL);
}

static void send_next(struct guest *g)
{
	struct say *s = list_first(&g->says, struct say, link);
	struct vu_row row;

	if (!s || g->asking || g->at < g->len || !g->connected)
		return;
	if ((g->protocol & VU_P_BIT(REPLY_ACK)) && s->m.request != VU_SET_LOG_BASE &&
	    vu_row(VU_REQUEST, s->m.request, &row) && row.reply == VU_PAYLOAD_NONE)
		s->m.flags |= VU_FLAG_NEED_REPLY;
	g->len = vu_encode(&s->m, g->bytes);
	g->at = 0;
	if (s->kick)
		s->kick->kick_waits = false;
	flush(g);
}

bool guest_is_idle(const struct guest *g)
{
	uint32_t count = 0;

	list_each(l, &g->says)
		count++;
	return count == g->kicks;
}

void guest_say(struct guest *g, const struct vu_msg *m, struct guest_queue *q, guest_heard_fn *heard)
{
	struct say *s = base_zalloc(sizeof(*s));

	s->m = *m;
	s->q = q;
	s->heard = heard;
	list_add_tail(&g->says, &s->link);
	send_next(g);
}

void guest_say_raw(struct guest *g, const void *bytes, uint32_t len, const int *fds, uint32_t fd_count)
{
	struct iovec iov = { (void *)(uintptr_t)bytes, len };

	if (g->sock && g->connected && sock_send_fds(g->sock, &iov, 1, fds, fd_count) < 0)
		return; /* it was nonsense anyway */
}

static void says_drop(struct guest *g)
{
	list_each_safe(l, &g->says) {
		list_del(l);
		free(list_entry(l, struct say, link));
	}
	g->asking = false;
	g->len = g->at = g->kicks = 0;
	for (uint32_t n = 0; n < g->all_count; n++)
		g->queues[n].kick_waits = false;
}

static void lost(struct guest *g)
{
	guest_hang_up(g);
	g->ops->lost(g);
}

static void complain(struct guest *g, const char *text, uint32_t request)
{
	char what[120];

	snprintf(what, sizeof(what), "%s %s", vu_name(VU_REQUEST, request), text);
	g->ops->wrong(g, what);
}

static void heard_one(struct guest *g)
{
	struct say *s = list_first(&g->says, struct say, link);

	if (!s || !g->asking || g->reply.request != s->m.request) {
		if (!g->rogue)
			complain(g, "was answered, for which it did not ask", g->reply.request);
	} else if (vu_wants_reply(&s->m) && g->reply.u64 && g->scarce) {
		lost(g);
	} else {
		if (vu_wants_reply(&s->m) && g->reply.u64 && !g->rogue)
			complain(g, "was refused", s->m.request);
		said(g, &g->reply);
	}
}

static void ready(void *arg, uint32_t events)
{
	struct guest *g = arg;

	if ((events & SOCK_WRITABLE) && !g->connected) {
		g->connected = true;
		sock_want_write(g->sock, false);
		send_next(g);
	} else if (events & SOCK_WRITABLE) {
		flush(g);
	}
	while (g->sock) {
		struct err e = { 0 };
		int fds[VU_FDS_MAX];
		uint32_t room, count = VU_FDS_MAX;
		void *p = vu_rx_room(&g->rx, &room);
		ssize_t n = sock_recv_fds(g->sock, p, room, fds, &count);
		int rc;

		if (n == -EAGAIN)
			return;
		rc = n > 0 ? vu_rx_got(&g->rx, (uint32_t)n, fds, count, &g->reply, &e) : -1;
		if (n > 0 && rc < 0)
			g->ops->wrong(g, e.text);
		if (rc < 0) {
			lost(g);
			return;
		}
		if (!rc)
			continue;
		heard_one(g);
		for (uint32_t i = 0; i < g->reply.fd_count; i++)
			if (g->reply.fds[i] >= 0)
				core_fd_close(g->reply.fds[i]);
		g->reply.fd_count = 0;
	}
}

void guest_hang_up(struct guest *g)
{
	says_drop(g);
	if (g->sock)
		sock_close(g->sock);
	for (uint32_t i = 0; i < g->rx.fd_count; i++)
		core_fd_close(g->rx.fds[i]);
	g->rx.fd_count = 0;
	g->sock = NULL;
	g->connected = g->running = g->logging = g->unplugging = false;
	g->piece_count = 0;
	for (uint32_t n = 0; n < g->all_count; n++)
		g->queues[n].runs = false;
}

bool guest_connect(struct guest *g)
{
	struct net_addr addr;
	struct err e = { 0 };

	must(!g->sock && list_empty(&g->says));
	vu_rx_init(&g->rx, VU_REPLY);
	must(!net_addr_parse(NET_UNIX, g->path, NULL, &addr, &e));
	g->sock = sock_connect(&addr, NULL, NULL, ready, g, &e);
	if (!g->sock)
		return false;
	g->protocol = 0;
	guest_say_none(g, VU_GET_FEATURES, setting_up);
	return true;
}

/* --- setting up --------------------------------------------------------------------------------------------------- */

void guest_say_u64(struct guest *g, uint32_t request, uint64_t v, const struct bell *fd)
{
	struct vu_msg m;

	vu_request(request, VU_PAYLOAD_U64, &m);
	m.u64 = v;
	m.fd_count = fd != NULL;
	m.fds[0] = fd ? bell_fd(fd) : -1;
	guest_say(g, &m, NULL, NULL);
}

void guest_say_none(struct guest *g, uint32_t request, guest_heard_fn *heard)
{
	struct vu_msg m;

	vu_request(request, VU_PAYLOAD_NONE, &m);
	guest_say(g, &m, NULL, heard);
}

static void say_state(struct guest_queue *q, uint32_t request, uint32_t num, guest_heard_fn *heard)
{
	struct vu_msg m;

	vu_request(request, VU_PAYLOAD_STATE, &m);
	m.state = (struct vu_state){ q->index, num };
	guest_say(q->g, &m, q, heard);
}

void guest_say_features(struct guest *g, uint64_t features)
{
	guest_say_u64(g, VU_SET_FEATURES, features, NULL);
}

void guest_say_addr(struct guest_queue *q, uint32_t flags, guest_heard_fn *heard)
{
	struct vu_msg m;

	vu_request(VU_SET_VRING_ADDR, VU_PAYLOAD_ADDR, &m);
	m.addr = (struct vu_addr){ .index = q->index, .flags = flags, .desc = GUEST_USER + q->area[VQ_DESC],
		.avail = GUEST_USER + q->area[VQ_DRIVER], .used = GUEST_USER + q->area[VQ_DEVICE],
		.log = GUEST_BASE + q->area[VQ_DEVICE] };
	guest_say(q->g, &m, q, heard);
}

void guest_say_enable(struct guest_queue *q, bool on)
{
	say_state(q, VU_SET_VRING_ENABLE, on, NULL);
}

static void queue_runs(struct guest *g, struct guest_queue *q, const struct vu_msg *reply)
{
	(void)reply;
	q->runs = true;
	q->stopping = false;
	g->ops->more(q);
}

void guest_say_queue(struct guest_queue *q)
{
	say_state(q, VU_SET_VRING_NUM, q->size, NULL);
	say_state(q, VU_SET_VRING_BASE, q->base, NULL);
	guest_say_addr(q, 0, NULL);
	guest_say_u64(q->g, VU_SET_VRING_CALL, q->index, &q->call);
	guest_say_u64(q->g, VU_SET_VRING_ERR, q->index, &q->err);
	if (q->g->in_band)
		say_state(q, VU_VRING_KICK, 0, NULL);
	else
		guest_say_u64(q->g, VU_SET_VRING_KICK, q->index, &q->kick);
	say_state(q, VU_SET_VRING_ENABLE, 1, queue_runs);
}

static void queue_stopped(struct guest *g, struct guest_queue *q, const struct vu_msg *reply)
{
	(void)g;
	q->base = reply->state.num;
	q->runs = false;
	guest_look(q);
}

/* The base is known when that is said. */
static void restart(struct guest *g, struct guest_queue *q, const struct vu_msg *reply)
{
	(void)g, (void)reply;
	guest_say_queue(q);
}

void guest_say_restart(struct guest_queue *q)
{
	struct vu_msg m;

	vu_request(VU_GET_FEATURES, VU_PAYLOAD_NONE, &m);
	guest_say(q->g, &m, q, restart);
}

void guest_say_stop(struct guest_queue *q, guest_heard_fn *heard)
{
	q->stopping = true;
	say_state(q, VU_GET_VRING_BASE, 0, queue_stopped);
	if (heard)
		guest_say_none(q->g, VU_GET_FEATURES, heard);
}

static void told_config(struct guest *g, struct guest_queue *q, const struct vu_msg *reply)
{
	const struct virtio_blk_config *c = (const struct virtio_blk_config *)(const void *)reply->config.data;

	(void)q;
	g->capacity = le64_get(c->capacity);
}

void guest_say_config(struct guest *g)
{
	struct vu_msg m;

	vu_request(VU_GET_CONFIG, VU_PAYLOAD_CONFIG, &m);
	m.config = (struct vu_config){ .size = sizeof(struct virtio_blk_config) };
	guest_say(g, &m, NULL, told_config);
}

static void all_run(struct guest *g, struct guest_queue *q, const struct vu_msg *reply)
{
	(void)q, (void)reply;
	g->running = true;
	g->ops->runs(g);
}

static void say_rest(struct guest *g)
{
	guest_say_memory(g);
	for (uint32_t n = 0; n < g->all_count; n++) {
		struct guest_queue *q = &g->queues[n];

		if (!q->born)
			begin_queue(q);
		else
			q->base = vq_drv_base(&q->drv);
		guest_say_queue(q);
	}
	guest_say_none(g, VU_GET_FEATURES, all_run);
}

static void say_inflight(struct guest *g)
{
	struct vu_msg m;

	vu_request(VU_SET_INFLIGHT_FD, VU_PAYLOAD_INFLIGHT, &m);
	m.inflight = g->inflight_at;
	m.fd_count = 1;
	m.fds[0] = g->inflight_fd;
	guest_say(g, &m, NULL, NULL);
}

static void got_inflight(struct guest *g, struct guest_queue *q, const struct vu_msg *reply)
{
	(void)q;
	if (reply->fd_count != 1) {
		g->ops->wrong(g, "there is no descriptor with the in-flight region");
		return;
	}
	g->inflight_at = reply->inflight;
	g->inflight_fd = reply->fds[0];
	g->reply.fds[0] = -1;
	map(g->inflight_fd, g->inflight_at.size, &g->inflight);
	say_inflight(g);
	say_rest(g);
}

/* The first answer: an older session has ended, and what it did is in the rings. */
static void told_features(struct guest *g, struct guest_queue *q, const struct vu_msg *reply)
{
	uint32_t size = 0;
	struct vu_msg m;

	(void)q;
	g->protocol = g->wanted_protocol & reply->u64;
	g->in_band = g->protocol & VU_P_BIT(INBAND_NOTIFICATIONS);
	vu_request(VU_SET_PROTOCOL_FEATURES, VU_PAYLOAD_U64, &m);
	m.u64 = g->protocol;
	guest_say(g, &m, NULL, NULL);
	guest_say_none(g, VU_SET_OWNER, NULL);
	guest_say_features(g, g->features);
	if (g->protocol & VU_P_BIT(CONFIG))
		guest_say_config(g);
	if (!(g->protocol & VU_P_BIT(INFLIGHT_SHMFD))) {
		say_rest(g);
		return;
	}
	if (g->inflight_fd >= 0) {
		say_inflight(g);
		say_rest(g);
		return;
	}
	for (uint32_t n = 0; n < g->all_count; n++)
		size = max_u32(size, g->queues[n].size);
	vu_request(VU_GET_INFLIGHT_FD, VU_PAYLOAD_INFLIGHT, &m);
	m.inflight = (struct vu_inflight){ .queues = (uint16_t)(g->queues[g->queue_count - 1].index + 1),
		.queue_size = (uint16_t)size };
	guest_say(g, &m, NULL, got_inflight);
}

static void setting_up(struct guest *g, struct guest_queue *q, const struct vu_msg *reply)
{
	(void)q;
	for (uint32_t n = 0; n < g->all_count; n++)
		if (g->queues[n].born)
			guest_look(&g->queues[n]);
	if (g->features && (g->features & ~reply->u64))
		g->ops->wrong(g, "features that were there are not offered any more");
	if (!g->features)
		g->features = g->wanted & reply->u64;
	guest_say_none(g, VU_GET_PROTOCOL_FEATURES, told_features);
}

void guest_say_setup(struct guest *g)
{
	guest_say_none(g, VU_GET_FEATURES, setting_up);
}

/* --- requests ----------------------------------------------------------------------------------------------------- */

static void wrote(struct guest *g, uint32_t at, uint32_t len)
{
	if (g->logging && len)
		for (uint32_t page = at / GUEST_PAGE; page <= (at + len - 1) / GUEST_PAGE; page++)
			g->own[page] = 1;
}

static void driver_wrote(struct guest_queue *q)
{
	wrote(q->g, q->area[VQ_DRIVER], q->area_len[VQ_DRIVER]);
}

static void collect(struct guest_queue *q)
{
	uint32_t written;
	void *token;
	int rc;

	while ((rc = vq_drv_get(&q->drv, &token, &written)) > 0) {
		struct guest_req *r = token;

		must(r->out && r->q == q);
		r->out = false;
		r->written = written;
		q->out--;
		q->g->ops->used(r);
	}
	if (rc && !q->g->rogue)
		q->g->ops->wrong(q->g, vq_fault_text(q->drv.fault));
}

void guest_look(struct guest_queue *q)
{
	if (!q->born)
		return;
	vq_drv_disarm(&q->drv);
	do
		collect(q);
	while (!q->drv.fault && vq_drv_arm(&q->drv));
	driver_wrote(q);
	if (q->runs)
		q->g->ops->more(q);
}

static void called(struct bell *b)
{
	guest_look(container_of(b, struct guest_queue, call));
}

static void erred(struct bell *b)
{
	struct guest_queue *q = container_of(b, struct guest_queue, err);

	if (!q->g->rogue)
		q->g->ops->wrong(q->g, "the device says that a ring is broken");
}

/* Some bytes in one piece, or in some. */
static uint32_t cut(struct guest *g, struct iovec *iov, uint32_t at, uint32_t len)
{
	uint32_t n = 0;

	while (len) {
		uint32_t part = n < 4 && sim_chance(30) ? 1 + (uint32_t)sim_draw(len) : len;

		iov[n++] = (struct iovec){ guest_at(g, at), part };
		at += part;
		len -= part;
	}
	return n;
}

/* The header, and how long the answer is. */
static uint32_t write_header(struct guest_req *r, uint32_t *ret_len)
{
	struct guest *g = r->q->g;
	struct virtio_blk_outhdr h = { .type = le32_of(r->type), .sector = le64_of(r->lba) };
	struct virtio_scsi_cmd_req c = { .lun = { 1, 0, 0x40 }, .tag = le64_of(r->hdr) };

	memcpy(c.cdb, r->cdb, sizeof(c.cdb));
	*ret_len = g->scsi ? sizeof(c) : sizeof(h);
	memcpy(guest_at(g, r->hdr), g->scsi ? (const void *)&c : &h, *ret_len);
	memset(guest_at(g, r->hdr + GUEST_ANSWER_AT), 0xff, HDR_LEN - GUEST_ANSWER_AT);
	wrote(g, r->hdr, HDR_LEN);
	wrote(g, r->data, r->len);
	return g->scsi ? sizeof(struct virtio_scsi_cmd_resp) : 1;
}

/* A ring that was stopped would start by it. */
void guest_kick(struct guest_queue *q)
{
	struct guest *g = q->g;
	struct say *s;

	if (!g->in_band) {
		bell_ring(&q->kick);
		return;
	}
	if (!g->connected || q->stopping || q->kick_waits)
		return;
	s = base_zalloc(sizeof(*s));
	vu_request(VU_VRING_KICK, VU_PAYLOAD_STATE, &s->m);
	s->m.state = (struct vu_state){ q->index, 0 };
	s->kick = q;
	q->kick_waits = true;
	g->kicks++;
	list_add_tail(&g->says, &s->link);
	send_next(g);
}

static bool submit_iovs(struct guest_req *r, const struct iovec *iov, uint32_t out, uint32_t in);

bool guest_submit_bytes(struct guest_req *r, uint32_t out, uint32_t in)
{
	struct guest *g = r->q->g;
	struct iovec iov[2] = { { guest_at(g, r->hdr), out }, { guest_at(g, r->hdr + GUEST_ANSWER_AT), in } };

	wrote(g, r->hdr, HDR_LEN);
	return submit_iovs(r, out ? iov : iov + 1, out != 0, in != 0);
}

bool guest_submit(struct guest_req *r)
{
	struct guest_queue *q = r->q;
	struct guest *g = q->g;
	bool in = r->type == VIRTIO_BLK_T_IN || r->type == VIRTIO_BLK_T_GET_ID;
	uint32_t len, answer = write_header(r, &len), out, all;
	struct iovec iov[GUEST_TABLE_LEN];

	out = all = cut(g, iov, r->hdr, len);
	if (!in)
		all = out += cut(g, iov + out, r->data, r->len);
	if (g->scsi)
		all += cut(g, iov + all, r->hdr + GUEST_ANSWER_AT, answer);
	if (in)
		all += cut(g, iov + all, r->data, r->len);
	if (!g->scsi)
		all += cut(g, iov + all, r->hdr + GUEST_ANSWER_AT, answer);
	return submit_iovs(r, iov, out, all - out);
}

static bool submit_iovs(struct guest_req *r, const struct iovec *iov, uint32_t out, uint32_t in)
{
	struct guest_queue *q = r->q;
	struct guest *g = q->g;

	if (!vq_drv_add(&q->drv, iov, out, in, r))
		return false;
	vq_drv_publish(&q->drv);
	wrote(g, q->area[VQ_DESC], q->area_len[VQ_DESC]);
	wrote(g, q->tables, q->tables_len);
	driver_wrote(q);
	r->out = true;
	q->out++;
	if (vq_drv_kick_due(&q->drv))
		guest_kick(q);
	return true;
}

void guest_new_bell(struct guest_queue *q, struct bell *b)
{
	bell_fn *rang = b->listening ? b->rang : NULL;
	struct err e = { 0 };

	bell_close(b);
	must(!bell_make(b, &e));
	must(!rang || !bell_listen(b, "another", rang));
	guest_say_u64(q->g, b == &q->kick ? VU_SET_VRING_KICK : b == &q->call ? VU_SET_VRING_CALL : VU_SET_VRING_ERR,
	              q->index, b);
}
