/* SPDX-License-Identifier: BSD-3-Clause */
/* test_server.c: the vhost-user server of bdev_virtio's tests: its conversation, its side of the rings, its answers. */
#include <errno.h>

#include "backends/virtio/test_server.h"
#include "wire/scsi.h"
#include "wire/scsi_inquiry.h"
#include "wire/scsi_mode.h"

#define ROUNDS_MAX 400u
#define ROUND_NS (100 * NS_PER_US)

static void forget(struct server *s);

/* --- the conversation -------------------------------------------------------------------------------------------- */

void server_say(struct server *s, const void *bytes, uint32_t len)
{
	struct iovec iov = { (void *)(uintptr_t)bytes, len };
	ssize_t n = s->sock && len ? sock_send(s->sock, &iov, 1) : 0;

	(void)n; /* what does not go is lost: who does not read hears less */
}

static void say(struct server *s, const struct vu_msg *m)
{
	uint8_t bytes[VU_BYTES_MAX];

	server_say(s, bytes, vu_encode(m, bytes));
}

static void take_memory(struct server *s, const struct vu_region *at, int fd)
{
	struct err e = { 0 };

	if (s->share.base)
		return;
	must(!share_map(&s->share, fd, at->offset, at->size, true, &e));
	s->mem = vq_mem_make(&(struct vq_region){ .addr = at->guest, .len = at->size, .host = s->share.base,
	                     .user = at->user }, 1, &e);
	must(s->mem);
}

static void take_bell(struct bell *b, struct vu_msg *m)
{
	struct err e = { 0 };

	bell_close(b);
	must(m->fd_count == 1 && !bell_take(b, m->fds[0], &e));
	m->fds[0] = -1;
}

/* Remember what a message says; the payload of an answer. */
static void hear(struct server *s, struct vu_msg *m, struct vu_msg *reply)
{
	bool of_state = m->kind == VU_PAYLOAD_STATE || m->request == VU_SET_VRING_ADDR;
	uint32_t index = of_state ? m->state.index : (uint32_t)m->u64 & VU_VRING_INDEX_MASK;
	struct server_queue *q = &s->queues[index % SERVER_QUEUES];

	switch (m->request) {
	case VU_GET_FEATURES: reply->u64 = s->features; break;
	case VU_GET_PROTOCOL_FEATURES: reply->u64 = s->protocol; break;
	case VU_GET_QUEUE_NUM: reply->u64 = s->queue_count; break;
	case VU_SET_FEATURES: s->agreed = m->u64; break;
	case VU_SET_PROTOCOL_FEATURES: s->agreed_protocol = m->u64; break;
	case VU_GET_CONFIG:
		reply->config = m->config;
		memcpy(reply->config.data, s->config, sizeof(s->config));
		break;
	case VU_ADD_MEM_REG: take_memory(s, &m->region, m->fds[0]); break;
	case VU_SET_MEM_TABLE: take_memory(s, &m->memory.at[0], m->fds[0]); break;
	case VU_SET_VRING_NUM: q->size = m->state.num; break;
	case VU_SET_VRING_BASE: q->base = m->state.num; break;
	case VU_SET_VRING_ADDR:
		q->addr = m->addr;
		q->placed = true;
		break;
	case VU_SET_VRING_KICK: take_bell(&q->kick, m); break;
	case VU_SET_VRING_CALL: take_bell(&q->call, m); break;
	case VU_SET_VRING_ERR: take_bell(&q->err, m); break;
	default: break;
	}
}

static void hang_up(struct server *s)
{
	if (!s->sock)
		return;
	for (uint32_t i = 0; i < s->rx.fd_count; i++)
		core_fd_close(s->rx.fds[i]);
	sock_close(s->sock);
	s->sock = NULL;
	forget(s);
}

/* True: what it says instead of an answer is said. */
static bool misbehave(struct server *s, struct vu_msg *reply, bool answers)
{
	uint8_t how = s->trouble;

	if (how == SERVER_GOOD)
		return false;
	if (s->skip) {
		s->skip--;
		return false;
	}
	s->trouble = SERVER_GOOD;
	switch (how) {
	case SERVER_NUMBER:
		reply->u64 = 0;
		memcpy(&reply->u64, s->bytes, min_u64(s->bytes_len, 8));
		if (reply->kind == VU_PAYLOAD_CONFIG) /* its offset and size are */
			reply->config.size %= VU_CONFIG_MAX + 1;
		return false;
	case SERVER_OTHER:
		reply->request = s->bytes[0] % VU_REQUEST_END;
		return false;
	case SERVER_TWICE:
		if (answers)
			say(s, reply);
		return false;
	case SERVER_RAW:
		server_say(s, s->bytes, s->bytes_len);
		return true;
	case SERVER_HANGS_UP:
		hang_up(s);
		return true;
	default:
		return true;
	}
}

static void message(struct server *s, struct vu_msg *m)
{
	struct vu_msg reply = { 0 };
	struct vu_row row;
	bool answers;

	must(vu_row(VU_REQUEST, m->request, &row)); /* this initiator says nothing that nobody knows */
	if (s->heard_count < SERVER_HEARD)
		s->heard[s->heard_count++] = m->request;
	answers = row.reply != VU_PAYLOAD_NONE || vu_wants_reply(m);
	vu_reply_to(m, row.reply != VU_PAYLOAD_NONE ? (enum vu_payload)row.reply : VU_PAYLOAD_U64, &reply);
	hear(s, m, &reply);
	for (uint32_t i = 0; i < m->fd_count; i++)
		if (m->fds[i] >= 0)
			core_fd_close(m->fds[i]);
	if (!misbehave(s, &reply, answers) && answers)
		say(s, &reply);
}

static void ready(void *arg, uint32_t events)
{
	struct server *s = arg;

	while (s->sock) {
		struct err e = { 0 };
		int fds[VU_FDS_MAX];
		uint32_t room, count = VU_FDS_MAX - s->rx.fd_count;
		void *p = vu_rx_room(&s->rx, &room);
		struct vu_msg m;
		ssize_t n = sock_recv_fds(s->sock, p, room, fds, &count);
		int rc;

		if (n == -EAGAIN)
			return;
		if (n <= 0) {
			hang_up(s);
			return;
		}
		rc = vu_rx_got(&s->rx, (uint32_t)n, fds, count, &m, &e);
		must(rc >= 0);
		if (rc)
			message(s, &m);
	}
}

static void accepted(void *arg, struct sock *sock)
{
	struct server *s = arg;

	hang_up(s);
	must(!sock_attach(sock, ready, s));
	s->sock = sock;
	vu_rx_init(&s->rx, VU_REQUEST);
}

static void hang_up_now(void *arg) { hang_up(arg); }

void server_hang_up(struct server *s)
{
	sim_as(s->on, hang_up_now, s);
}

static void forget(struct server *s)
{
	for (uint32_t i = 0; i < SERVER_QUEUES; i++) {
		struct server_queue *q = &s->queues[i];

		if (q->open)
			vq_dev_fini(&q->dev);
		bell_close(&q->kick);
		bell_close(&q->call);
		bell_close(&q->err);
		*q = (struct server_queue){ 0 };
	}
	vq_mem_free(s->mem);
	s->mem = NULL;
	share_unmap(&s->share);
}

/* --- rings ------------------------------------------------------------------------------------------------------- */

static bool open_queue(struct server *s, struct server_queue *q)
{
	struct vq_setup setup = { .features = s->agreed, .size = q->size, .mem = s->mem, .base = q->base };

	if (q->open || !q->placed || !s->mem || !bell_is_open(&q->kick))
		return q->open;
	must(!vq_setup_place(&setup, q->addr.desc, q->addr.avail, q->addr.used));
	q->open = !vq_dev_init(&q->dev, &setup);
	return q->open;
}

uint32_t server_take(struct server *s, uint32_t queue)
{
	struct server_queue *q = &s->queues[queue % SERVER_QUEUES];

	if (!open_queue(s, q))
		return 0;
	while (q->count < SERVER_HELD) {
		struct server_held *h = &q->held[q->count];

		if (vq_dev_pop(&q->dev, &h->chain, h->iovs, SERVER_IOVS) <= 0)
			break;
		q->count++;
	}
	return q->count;
}

/* Into what it may write; how much of it there was room for. */
static uint32_t put(const struct server_held *h, uint32_t at, const void *bytes, uint32_t len)
{
	const struct iovec *iov = h->iovs + h->chain.out_count;
	const uint8_t *from = bytes;
	uint32_t done = 0;

	for (uint32_t i = 0; i < h->chain.in_count && done < len; i++) {
		uint32_t room = (uint32_t)iov[i].iov_len, n;

		if (at >= room) {
			at -= room;
			continue;
		}
		n = min_u32(room - at, len - done);
		memcpy((uint8_t *)iov[i].iov_base + at, from + done, n);
		done += n;
		at = 0;
	}
	return done;
}

static uint32_t answer_blk(const struct server_held *h)
{
	const uint8_t ok = VIRTIO_BLK_S_OK;

	put(h, h->chain.in_len - 1, &ok, 1);
	return h->chain.in_len;
}

static void inquiry(struct server *s, const struct server_ident *i, const uint8_t *cdb, uint8_t data[64])
{
	if (!(cdb[1] & 1))
		return;
	if (cdb[2] == i->page && i->len) {
		data[1] = i->page;
		data[3] = i->len;
		memcpy(data + 4, i->bytes, min_u32(i->len, sizeof(i->bytes)));
	}
	if (cdb[2] == SCSI_VPD_BLOCK_LIMITS) {
		scsi_put32(data + 20, 4096);
		scsi_put32(data + 24, 4);
	} else if (cdb[2] == SCSI_VPD_PROVISIONING) {
		data[5] = SCSI_LBP5_LBPU;
	}
}

static uint32_t answer_scsi(struct server *s, const struct server_held *h)
{
	struct virtio_scsi_cmd_resp resp = { 0 };
	struct virtio_scsi_cmd_req req = { 0 };
	uint8_t data[64] = { 0 };
	const struct iovec *out = h->iovs;

	if (!h->chain.out_count) /* a buffer for an event */
		return h->chain.in_len;
	memcpy(&req, out[0].iov_base, min_u64(out[0].iov_len, sizeof(req)));
	if (req.lun[1] > 7 || !(s->targets >> req.lun[1] & 1))
		resp.response = VIRTIO_SCSI_S_BAD_TARGET;
	else if (req.cdb[0] == SCSI_OP_INQUIRY)
		inquiry(s, &s->idents[req.lun[1]], req.cdb, data);
	else if (req.cdb[0] == SCSI_OP_READ_CAPACITY_16)
		memcpy(data, s->config + 64, 32);
	else if (req.cdb[0] == SCSI_OP_MODE_SENSE_6)
		memcpy(data, s->config + 96, 24);
	put(h, 0, &resp, sizeof(resp));
	if (req.cdb[0] == SCSI_OP_INQUIRY || req.cdb[0] == SCSI_OP_READ_CAPACITY_16 || req.cdb[0] == SCSI_OP_MODE_SENSE_6)
		put(h, sizeof(resp), data, sizeof(data));
	return h->chain.in_len;
}

struct giving {
	struct server *s;
	struct server_queue *q;
};

static void publish(void *arg)
{
	struct giving *g = arg;

	vq_dev_publish(&g->q->dev);
	if (vq_dev_kick_due(&g->q->dev) && bell_is_open(&g->q->call))
		bell_ring(&g->q->call);
}

void server_give(struct server *s, uint32_t queue, uint32_t n, const void *bytes, uint32_t len, uint32_t written)
{
	struct server_queue *q = &s->queues[queue % SERVER_QUEUES];
	struct giving g = { s, q };
	struct server_held h;
	uint32_t good;

	if (!q->open || !q->count)
		return;
	n %= q->count;
	h = q->held[n];
	q->count--;
	for (uint32_t i = n; i < q->count; i++) {
		q->held[i] = q->held[i + 1];
		q->held[i].chain.iov = q->held[i].iovs;
	}
	good = s->opts.kind == VIO_BLK ? answer_blk(&h) : answer_scsi(s, &h);
	put(&h, 0, bytes, len);
	vq_dev_push(&q->dev, &h.chain, written ? written : good);
	sim_as(s->on, publish, &g);
}

void server_serve(struct server *s)
{
	for (uint32_t round = 0, idle = 0; round < ROUNDS_MAX && idle < 8; round++) {
		idle++;
		for (uint32_t i = 0; i < SERVER_QUEUES; i++) {
			if (s->opts.kind == VIO_SCSI && i < VIRTIO_SCSI_REQUESTQ)
				continue;
			if (server_take(s, i))
				idle = 0;
			while (s->queues[i].count)
				server_give(s, i, 0, NULL, 0, 0);
		}
		server_pass(ROUND_NS);
	}
}

static void ring(void *arg)
{
	const struct bell *b = arg;

	if (bell_is_open(b))
		bell_ring(b);
}

void server_call(struct server *s, uint32_t queue, bool err)
{
	struct server_queue *q = &s->queues[queue % SERVER_QUEUES];

	sim_as(s->on, ring, err ? &q->err : &q->call);
}

/* --- the world --------------------------------------------------------------------------------------------------- */

void server_blk_config(struct server *s, uint64_t sectors, uint32_t block_size)
{
	struct virtio_blk_config f = { .capacity = le64_of(sectors), .blk_size = le32_of(block_size), .wce = 1,
		.max_discard_sectors = le32_of(256), .max_discard_seg = le32_of(4),
		.max_write_zeroes_sectors = le32_of(256), .max_write_zeroes_seg = le32_of(1) };

	memset(s->config, 0, sizeof(s->config));
	memcpy(s->config, &f, sizeof(f));
}

void server_scsi_config(struct server *s, uint64_t blocks, uint32_t block_size)
{
	struct virtio_scsi_config f = { .num_queues = le32_of(SERVER_QUEUES - VIRTIO_SCSI_REQUESTQ),
		.max_target = le16_of(1), .event_info_size = le32_of(sizeof(struct virtio_scsi_event)) };

	memset(s->config, 0, sizeof(s->config));
	memcpy(s->config, &f, sizeof(f));
	scsi_put64(s->config + 64, blocks - 1);
	scsi_put32(s->config + 72, block_size);
	memcpy(s->config + 96, (uint8_t[]){ 23, 0, SCSI_MODE_DPOFUA, 0, SCSI_MODE_CACHING, 18, 4 }, 7);
}

static void listen_now(void *arg)
{
	struct server *s = arg;
	struct net_addr addr;
	struct err e = { 0 };

	must(!net_addr_parse(NET_UNIX, SERVER_PATH, NULL, &addr, &e));
	s->listener = listener_open(&addr, 0, accepted, s, &e);
	must(s->listener);
}

static void make(void *arg)
{
	struct server *s = arg;

	s->reg = bdev_registry_make(s->core);
	s->vio = vio_make(s->reg);
}

void server_start(struct server *s, uint64_t seed, const struct sim_net_opts *net, uint32_t cores)
{
	memset(s, 0, sizeof(*s));
	sim_pair_start(seed, net, cores, 0, &s->core, &s->host_core);
	s->on = core_reactor(s->host_core, 0);
	s->features = SERVER_FEATURES | VIRTIO_BIT(VIRTIO_BLK_F_FLUSH) | VIRTIO_BIT(VIRTIO_BLK_F_BLK_SIZE) |
	              VIRTIO_BIT(VIRTIO_BLK_F_DISCARD) | VIRTIO_BIT(VIRTIO_BLK_F_WRITE_ZEROES);
	s->protocol = SERVER_PROTOCOL;
	s->queue_count = SERVER_QUEUES;
	s->opts = (struct vio_opts){ .name = "v0", .path = SERVER_PATH, .queue_size = 16, .reconnect_delay_sec = 1 };
	server_blk_config(s, SERVER_SECTORS, 512);
	sim_as(s->on, listen_now, s);
	sim_as(core_control(s->core), make, s);
}

static void attached(void *arg, struct vio_ctrlr *c, const struct err *e)
{
	struct server *s = arg;

	must(!s->answered);
	s->answered = true;
	s->refused = !c;
	if (e)
		s->why = *e;
}

static void attach_now(void *arg)
{
	struct server *s = arg;

	s->answered = s->refused = false;
	vio_attach(s->vio, &s->opts, attached, s);
}

void server_attach(struct server *s)
{
	sim_as(core_control(s->core), attach_now, s);
}

static void stopped(void *arg) { ((struct server *)arg)->stopped = true; }
static void stop_now(void *arg) { vio_stop(((struct server *)arg)->vio, stopped, arg); }
static bool is_stopped(void *arg) { return ((struct server *)arg)->stopped; }

static void unmake(void *arg)
{
	struct server *s = arg;

	vio_free(s->vio);
	bdev_registry_free(s->reg);
}

static void close_now(void *arg)
{
	struct server *s = arg;

	hang_up(s);
	listener_close(s->listener);
}

void server_stop(struct server *s)
{
	sim_as(core_control(s->core), stop_now, s);
	must(sim_run(is_stopped, s, SERVER_LONG_NS));
	sim_as(core_control(s->core), unmake, s);
	sim_as(s->on, close_now, s);
	must(!sim_fds_open(s->core) && !sim_fds_open(s->host_core));
	sim_pair_end(s->core, s->host_core);
}
