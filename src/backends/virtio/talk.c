/* SPDX-License-Identifier: BSD-3-Clause */
/* talk.c: the conversation that makes a connection to a vhost-user server usable.
 *
 * A table of messages: what is said, when, and what is made of the answer. Each is sent when the one before it has been
 * answered, or acknowledged where the server acknowledges; so that whatever fails is named. Afterwards a disk's
 * configuration is asked for whenever the server says that it has changed, and nothing else is said: what else comes
 * then, or that the socket ends, loses the connection.
 */
#include <errno.h>

#include "backends/virtio/virtio_priv.h"

/* Of the rings and the protocol; the device's own features are its file's. */
#define FEATURES (VIRTIO_BIT(VIRTIO_F_VERSION_1) | VIRTIO_BIT(VIRTIO_RING_F_EVENT_IDX) | \
                  VIRTIO_BIT(VIRTIO_F_PROTOCOL_FEATURES))
#define PROTOCOL (VU_P_BIT(MQ) | VU_P_BIT(REPLY_ACK) | VU_P_BIT(CONFIG) | VU_P_BIT(CONFIGURE_MEM_SLOTS) | \
                  VU_P_BIT(STATUS))
#define SCSI_FEATURES (VIRTIO_BIT(VIRTIO_SCSI_F_HOTPLUG) | VIRTIO_BIT(VIRTIO_SCSI_F_CHANGE))
#define DRIVER_READY (VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER | VIRTIO_CONFIG_S_FEATURES_OK)

struct step {
	uint32_t request;       /* 0: nothing is said */
	enum vu_protocol_feature needs, unless; /* said only with this one; and without that one */
	bool each_queue;
	void (*say)(struct vio_ctrlr *c, const struct vio_lane *l, struct vu_msg *m);
	int (*heard)(struct vio_ctrlr *c, const struct vu_msg *m, struct err *e); /* or does, when nothing is said */
};

static void say_features(struct vio_ctrlr *c, const struct vio_lane *l, struct vu_msg *m);
static void say_protocol(struct vio_ctrlr *c, const struct vio_lane *l, struct vu_msg *m);
static void say_config(struct vio_ctrlr *c, const struct vio_lane *l, struct vu_msg *m);
static void say_slot(struct vio_ctrlr *c, const struct vio_lane *l, struct vu_msg *m);
static void say_table(struct vio_ctrlr *c, const struct vio_lane *l, struct vu_msg *m);
static void say_num(struct vio_ctrlr *c, const struct vio_lane *l, struct vu_msg *m);
static void say_base(struct vio_ctrlr *c, const struct vio_lane *l, struct vu_msg *m);
static void say_addr(struct vio_ctrlr *c, const struct vio_lane *l, struct vu_msg *m);
static void say_kick(struct vio_ctrlr *c, const struct vio_lane *l, struct vu_msg *m);
static void say_call(struct vio_ctrlr *c, const struct vio_lane *l, struct vu_msg *m);
static void say_err(struct vio_ctrlr *c, const struct vio_lane *l, struct vu_msg *m);
static void say_enable(struct vio_ctrlr *c, const struct vio_lane *l, struct vu_msg *m);
static void say_ready(struct vio_ctrlr *c, const struct vio_lane *l, struct vu_msg *m);
static void say_running(struct vio_ctrlr *c, const struct vio_lane *l, struct vu_msg *m);
static void say_news(struct vio_ctrlr *c, const struct vio_lane *l, struct vu_msg *m);
static int got_features(struct vio_ctrlr *c, const struct vu_msg *m, struct err *e);
static int got_protocol(struct vio_ctrlr *c, const struct vu_msg *m, struct err *e);
static int got_queues(struct vio_ctrlr *c, const struct vu_msg *m, struct err *e);
static int got_config(struct vio_ctrlr *c, const struct vu_msg *m, struct err *e);
static int acknowledges(struct vio_ctrlr *c, const struct vu_msg *m, struct err *e);
static int place(struct vio_ctrlr *c, const struct vu_msg *m, struct err *e);
static int nothing(struct vio_ctrlr *c, const struct vu_msg *m, struct err *e);
static int got_news(struct vio_ctrlr *c, const struct vu_msg *m, struct err *e);

static const struct step steps[] = {
	/* request                  needs                     unless                    each   say           heard */
	{ VU_GET_FEATURES,          VU_P_NONE,                VU_P_NONE,                false, NULL,         got_features },
	{ VU_GET_PROTOCOL_FEATURES, VU_P_NONE,                VU_P_NONE,                false, NULL,         got_protocol },
	{ VU_SET_PROTOCOL_FEATURES, VU_P_NONE,                VU_P_NONE,                false, say_protocol, NULL },
	{ 0,                        VU_P_REPLY_ACK,           VU_P_NONE,                false, NULL,         acknowledges },
	{ VU_SET_OWNER,             VU_P_NONE,                VU_P_NONE,                false, NULL,         NULL },
	{ VU_GET_QUEUE_NUM,         VU_P_MQ,                  VU_P_NONE,                false, NULL,         got_queues },
	{ VU_SET_FEATURES,          VU_P_NONE,                VU_P_NONE,                false, say_features, NULL },
	{ VU_SET_STATUS,            VU_P_STATUS,              VU_P_NONE,                false, say_ready,    NULL },
	{ VU_SET_BACKEND_REQ_FD,    VU_P_BACKEND_REQ,         VU_P_NONE,                false, say_news,     NULL },
	{ VU_GET_CONFIG,            VU_P_CONFIG,              VU_P_NONE,                false, say_config,   got_config },
	{ 0,                        VU_P_NONE,                VU_P_NONE,                false, NULL,         place },
	{ VU_ADD_MEM_REG,           VU_P_CONFIGURE_MEM_SLOTS, VU_P_NONE,                false, say_slot,     NULL },
	{ VU_SET_MEM_TABLE,         VU_P_NONE,                VU_P_CONFIGURE_MEM_SLOTS, false, say_table,    NULL },
	{ VU_SET_VRING_NUM,         VU_P_NONE,                VU_P_NONE,                true,  say_num,      NULL },
	{ VU_SET_VRING_BASE,        VU_P_NONE,                VU_P_NONE,                true,  say_base,     NULL },
	{ VU_SET_VRING_ADDR,        VU_P_NONE,                VU_P_NONE,                true,  say_addr,     NULL },
	{ VU_SET_VRING_ERR,         VU_P_NONE,                VU_P_NONE,                true,  say_err,      NULL },
	{ VU_SET_VRING_CALL,        VU_P_NONE,                VU_P_NONE,                true,  say_call,     NULL },
	{ VU_SET_VRING_KICK,        VU_P_NONE,                VU_P_NONE,                true,  say_kick,     NULL },
	{ VU_SET_VRING_ENABLE,      VU_P_NONE,                VU_P_NONE,                true,  say_enable,   NULL },
	{ VU_SET_STATUS,            VU_P_STATUS,              VU_P_NONE,                false, say_running,  NULL },
	/* It answers what came before first. */
	{ VU_GET_FEATURES,          VU_P_NONE,                VU_P_REPLY_ACK,           false, NULL,         nothing },
};
static const struct step look = { VU_GET_CONFIG, VU_P_NONE, VU_P_NONE, false, say_config, got_news };

static void ready(void *arg, uint32_t events);
static void too_late(struct timer *t);
static void go_on(struct vio_ctrlr *c);
static void step_done(struct vio_ctrlr *c);
static void all_said(struct vio_ctrlr *c);
static bool send_fds(struct vio_ctrlr *c, const struct vu_msg *m);
static bool send_out(struct vio_ctrlr *c);
static void receive(struct vio_ctrlr *c);

void vio_talk(struct vio_ctrlr *c)
{
	struct sock_opts opts = { 0 };
	struct net_addr addr;
	struct err e = { 0 };

	c->state = VIO_TALKING;
	c->step = c->round = c->out_len = c->out_at = 0;
	c->awaiting = c->acks = c->looks = false;
	c->protocol = c->features = 0;
	c->queues_offered = 1;
	vu_rx_init(&c->rx, VU_REPLY);
	if (net_addr_parse(NET_UNIX, c->path, "", &addr, &e) == 0)
		c->sock = sock_connect(&addr, NULL, &opts, ready, c, &e);
	if (!c->sock) {
		vio_lost(c, &e);
		return;
	}
	timer_start(&c->timer, VIO_TALK_NS, too_late);
}

void vio_talk_end(struct vio_ctrlr *c)
{
	timer_stop(&c->timer);
	vio_news_close(c);
	if (!c->sock)
		return;
	for (uint32_t i = 0; i < c->rx.fd_count; i++)
		core_fd_close(c->rx.fds[i]);
	c->rx.fd_count = 0;
	sock_close(c->sock);
	c->sock = NULL;
}

static const struct step *at_hand(const struct vio_ctrlr *c)
{
	return c->step < ARRAY_SIZE(steps) ? &steps[c->step] : c->looks ? &look : NULL;
}

static const char *where(const struct vio_ctrlr *c)
{
	const struct step *s = at_hand(c);

	return s ? vu_name(VU_REQUEST, s->request) : "rest";
}

static void too_late(struct timer *t)
{
	struct vio_ctrlr *c = container_of(t, struct vio_ctrlr, timer);
	struct err e = { 0 };

	err_set(&e, -ETIMEDOUT, "the server does not answer %s within %u s", where(c),
	        (unsigned)(VIO_TALK_NS / NS_PER_S));
	vio_lost(c, &e);
}

static void ready(void *arg, uint32_t events)
{
	struct vio_ctrlr *c = arg;
	struct err e = { 0 };
	int rc;

	if (events & SOCK_READABLE) {
		receive(c);
	} else if (events & SOCK_FAILED) {
		rc = sock_error(c->sock);
		err_set(&e, rc ? rc : -ECONNRESET, "traddr: %s: %s; a vhost-user server has to listen there", c->path,
		        strerror(rc ? -rc : ECONNRESET));
		vio_lost(c, &e);
	} else if (events & SOCK_WRITABLE) {
		if (!c->out_len)
			go_on(c); /* it is connected */
		else if (send_out(c) && !c->awaiting)
			step_done(c);
	}
}

/* --- saying ----------------------------------------------------------------------------------------------------- */

static bool next_step(struct vio_ctrlr *c)
{
	if (steps[c->step].each_queue && ++c->round < c->lane_count)
		return true;
	c->round = 0;
	return ++c->step < ARRAY_SIZE(steps);
}

static bool is_due(const struct vio_ctrlr *c, const struct step *s)
{
	return (s->needs == VU_P_NONE || (c->protocol >> s->needs & 1)) &&
	       (s->unless == VU_P_NONE || !(c->protocol >> s->unless & 1));
}

/* Compose a message; what is awaited afterwards. */
static void say(struct vio_ctrlr *c, const struct step *s, struct vu_msg *m)
{
	struct vu_row row;

	must(vu_row(VU_REQUEST, s->request, &row));
	vu_request(s->request, row.request, m);
	if (s->say)
		s->say(c, s->each_queue ? &c->lanes[c->round] : NULL, m);
	c->awaiting = row.reply != VU_PAYLOAD_NONE;
	if (!c->awaiting && c->acks) {
		m->flags |= VU_FLAG_NEED_REPLY;
		c->awaiting = true;
	}
}

/* False: it has not gone out wholly, or the connection was lost. */
static bool say_it(struct vio_ctrlr *c, const struct step *s)
{
	struct vu_msg m;

	say(c, s, &m);
	c->out_len = vu_encode(&m, c->out);
	c->out_at = 0;
	return (!m.fd_count || send_fds(c, &m)) && send_out(c);
}

/* Until something has to be waited for. */
static void go_on(struct vio_ctrlr *c)
{
	const struct step *s;
	struct err e = { 0 };

	do {
		s = &steps[c->step];
		if (!is_due(c, s))
			continue;
		if (!s->request) {
			if (s->heard(c, NULL, &e) != 0) {
				vio_lost(c, &e);
				return;
			}
			continue;
		}
		if (!say_it(c, s) || c->awaiting)
			return;
	} while (next_step(c));
	all_said(c);
}

static void all_said(struct vio_ctrlr *c)
{
	timer_stop(&c->timer);
	vio_is_up(c);
}

void vio_talk_look(struct vio_ctrlr *c)
{
	assert(c->state == VIO_UP && !c->looks);
	c->looks = true;
	c->is_news = false;
	timer_start(&c->timer, VIO_TALK_NS, too_late);
	say_it(c, &look);
}

static void step_done(struct vio_ctrlr *c)
{
	if (next_step(c))
		go_on(c);
	else
		all_said(c);
}

static void cannot_send(struct vio_ctrlr *c, ssize_t rc)
{
	struct err e = { 0 };

	err_set(&e, rc ? (int)rc : -EPIPE, "%s cannot be sent: %s", where(c), strerror(rc ? (int)-rc : EPIPE));
	vio_lost(c, &e);
}

/* With the first bytes of a message. A server whose socket is full of messages as small as these does not read. */
static bool send_fds(struct vio_ctrlr *c, const struct vu_msg *m)
{
	struct iovec iov = { c->out, c->out_len };
	ssize_t n = sock_send_fds(c->sock, &iov, 1, m->fds, m->fd_count);

	if (n <= 0) {
		cannot_send(c, n);
		return false;
	}
	c->out_at = (uint32_t)n;
	return true;
}

/* False: the rest goes later, or the connection was lost. */
static bool send_out(struct vio_ctrlr *c)
{
	struct iovec iov;
	ssize_t n;

	while (c->out_at < c->out_len) {
		iov = (struct iovec){ c->out + c->out_at, c->out_len - c->out_at };
		n = sock_send(c->sock, &iov, 1);
		if (n == -EAGAIN) {
			sock_want_write(c->sock, true);
			return false;
		}
		if (n <= 0) {
			cannot_send(c, n);
			return false;
		}
		c->out_at += (uint32_t)n;
	}
	sock_want_write(c->sock, false);
	return true;
}

/* --- hearing ---------------------------------------------------------------------------------------------------- */

static int heard(struct vio_ctrlr *c, const struct vu_msg *m, struct err *e);

static void receive(struct vio_ctrlr *c)
{
	struct sock *s = c->sock;
	int fds[VU_FDS_MAX];
	struct err e = { 0 }, why = { 0 };
	struct vu_msg m;
	uint32_t count, room;
	void *to;
	ssize_t n;
	int rc;

	do {
		to = vu_rx_room(&c->rx, &room);
		count = VU_FDS_MAX - c->rx.fd_count;
		n = sock_recv_fds(s, to, room, fds, &count);
		if (n == -EAGAIN)
			return;
		if (n <= 0) {
			err_set(&e, n ? (int)n : -ECONNRESET, n ? "%s: %s" : "the server ended the connection at %s%s", where(c),
			        n ? strerror((int)-n) : "");
			vio_lost(c, &e);
			return;
		}
		rc = vu_rx_got(&c->rx, (uint32_t)n, fds, count, &m, &why);
		if (rc < 0)
			err_set(&e, rc, "what is at %s does not speak vhost-user: %s", c->path, why.text);
		if (rc > 0) {
			for (uint32_t i = 0; i < m.fd_count; i++)
				core_fd_close(m.fds[i]);
			rc = heard(c, &m, &e);
		}
		if (rc < 0) {
			vio_lost(c, &e);
			return;
		}
	} while (c->sock == s);
}

static int heard(struct vio_ctrlr *c, const struct vu_msg *m, struct err *e)
{
	const struct step *s = at_hand(c);
	struct vu_row row;

	if (!s || !c->awaiting || m->request != s->request)
		return err_set(e, -EPROTO, "the server answers %s when %s is at hand", vu_name(VU_REPLY, m->request),
		               where(c));
	must(vu_row(VU_REQUEST, s->request, &row));
	if (row.reply == VU_PAYLOAD_NONE && (m->kind != VU_PAYLOAD_U64 || m->u64 != 0))
		return err_set(e, -EPROTO, "the server refuses %s", where(c));
	if (row.reply != VU_PAYLOAD_NONE && m->kind != (enum vu_payload)row.reply)
		return err_set(e, -EPROTO, "the server has no answer to %s", where(c));
	c->awaiting = false;
	if (row.reply != VU_PAYLOAD_NONE && s->heard && s->heard(c, m, e) != 0)
		return e->code;
	if (s != &look)
		step_done(c);
	return 0;
}

static int got_features(struct vio_ctrlr *c, const struct vu_msg *m, struct err *e)
{
	uint64_t wanted = FEATURES;

	wanted |= c->opts.kind == VIO_BLK ? vio_blk_features() : SCSI_FEATURES;
	if (c->opts.packed)
		wanted |= VIRTIO_BIT(VIRTIO_F_RING_PACKED);
	c->features = m->u64 & wanted;
	if (c->opts.kind == VIO_SCSI && (m->u64 & VIO_BLK_ONLY))
		return err_set(e, ERR_BAD_PARAM, "dev_type: scsi, but the server's device is a disk (virtio-blk); attach it "
		               "with dev_type blk");
	if (!(c->features & VIRTIO_BIT(VIRTIO_F_VERSION_1)))
		return err_set(e, -ENOTSUP, "the server's device is not of virtio 1.0 or later");
	if (!(c->features & VIRTIO_BIT(VIRTIO_F_PROTOCOL_FEATURES)))
		return err_set(e, -ENOTSUP, "the server negotiates no protocol features: its device's size cannot be asked "
		               "for");
	return 0;
}

static int got_protocol(struct vio_ctrlr *c, const struct vu_msg *m, struct err *e)
{
	c->protocol = m->u64 & PROTOCOL;
	/* A SCSI host says what is new through its event queue. */
	if (c->opts.kind == VIO_BLK && (m->u64 & VU_P_BIT(BACKEND_REQ)) && vio_news_open(c))
		c->protocol |= VU_P_BIT(BACKEND_REQ);
	if (!(c->protocol & VU_P_BIT(CONFIG)))
		return err_set(e, -ENOTSUP, "the server lacks the protocol feature CONFIG: its device's size cannot be asked "
		               "for");
	return 0;
}

static int acknowledges(struct vio_ctrlr *c, const struct vu_msg *m, struct err *e)
{
	c->acks = true;
	return 0;
}

static int got_queues(struct vio_ctrlr *c, const struct vu_msg *m, struct err *e)
{
	c->queues_offered = (uint32_t)min_u64(m->u64, UINT16_MAX);
	if (!c->queues_offered)
		return err_set(e, -EPROTO, "the server's device has no queues");
	return 0;
}

static int got_config(struct vio_ctrlr *c, const struct vu_msg *m, struct err *e)
{
	memcpy(c->config, m->config.data, sizeof(c->config));
	return 0;
}

static int place(struct vio_ctrlr *c, const struct vu_msg *m, struct err *e)
{
	return vio_place_lanes(c, e);
}

static int nothing(struct vio_ctrlr *c, const struct vu_msg *m, struct err *e)
{
	return 0;
}

static int got_news(struct vio_ctrlr *c, const struct vu_msg *m, struct err *e)
{
	c->looks = false;
	timer_stop(&c->timer);
	if (got_config(c, m, e) != 0 || vio_blk_up(c, e) != 0)
		return e->code;
	vio_news_up(c);
	return 0;
}

/* --- the words --------------------------------------------------------------------------------------------------- */

static void say_features(struct vio_ctrlr *c, const struct vio_lane *l, struct vu_msg *m)
{
	m->u64 = c->features;
}

static void say_protocol(struct vio_ctrlr *c, const struct vio_lane *l, struct vu_msg *m)
{
	m->u64 = c->protocol;
}

static void say_ready(struct vio_ctrlr *c, const struct vio_lane *l, struct vu_msg *m)
{
	m->u64 = DRIVER_READY;
}

static void say_news(struct vio_ctrlr *c, const struct vio_lane *l, struct vu_msg *m)
{
	m->fds[m->fd_count++] = c->news_fd;
}

static void say_running(struct vio_ctrlr *c, const struct vio_lane *l, struct vu_msg *m)
{
	m->u64 = DRIVER_READY | VIRTIO_CONFIG_S_DRIVER_OK;
}

static void say_config(struct vio_ctrlr *c, const struct vio_lane *l, struct vu_msg *m)
{
	memset(&m->config, 0, sizeof(m->config));
	/* What all servers have; some refuse to tell more than they know. */
	m->config.size = c->opts.kind == VIO_BLK ? offsetof(struct virtio_blk_config, max_secure_erase_sectors)
	                                         : sizeof(struct virtio_scsi_config);
}

static struct vu_region region_of(const struct vio_ctrlr *c)
{
	return (struct vu_region){ .guest = VIO_GUEST_BASE, .size = c->share.len,
	                           .user = (uint64_t)(uintptr_t)c->share.base };
}

static void say_slot(struct vio_ctrlr *c, const struct vio_lane *l, struct vu_msg *m)
{
	m->region = region_of(c);
	m->fds[m->fd_count++] = c->share_fd;
}

static void say_table(struct vio_ctrlr *c, const struct vio_lane *l, struct vu_msg *m)
{
	m->memory.count = 1;
	m->memory.at[0] = region_of(c);
	m->fds[m->fd_count++] = c->share_fd;
}

static void say_num(struct vio_ctrlr *c, const struct vio_lane *l, struct vu_msg *m)
{
	m->state = (struct vu_state){ l->index, l->setup.size };
}

static void say_base(struct vio_ctrlr *c, const struct vio_lane *l, struct vu_msg *m)
{
	m->state = (struct vu_state){ l->index, vq_drv_base(&l->drv) };
}

static void say_addr(struct vio_ctrlr *c, const struct vio_lane *l, struct vu_msg *m)
{
	m->addr = (struct vu_addr){ .index = l->index, .desc = (uint64_t)(uintptr_t)l->setup.desc,
	                            .used = (uint64_t)(uintptr_t)l->setup.device,
	                            .avail = (uint64_t)(uintptr_t)l->setup.driver };
}

static void say_bell(const struct vio_lane *l, const struct bell *b, struct vu_msg *m)
{
	m->u64 = l->index;
	m->fds[m->fd_count++] = bell_fd(b);
}

static void say_kick(struct vio_ctrlr *c, const struct vio_lane *l, struct vu_msg *m)
{
	say_bell(l, &l->kick, m);
}

static void say_call(struct vio_ctrlr *c, const struct vio_lane *l, struct vu_msg *m)
{
	say_bell(l, &l->call, m);
}

static void say_err(struct vio_ctrlr *c, const struct vio_lane *l, struct vu_msg *m)
{
	say_bell(l, &l->err, m);
}

static void say_enable(struct vio_ctrlr *c, const struct vio_lane *l, struct vu_msg *m)
{
	m->state = (struct vu_state){ l->index, 1 };
}
