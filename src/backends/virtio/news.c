/* SPDX-License-Identifier: BSD-3-Clause */
/* news.c: what a server says by itself, through a socket that it is given for that: that its configuration has changed,
 * which is all there is for a disk; the configuration is then asked for again. A server that says more, or nonsense,
 * is not heard any more until the next connection; its disk goes on. */
#include <errno.h>

#include "backends/virtio/virtio_priv.h"
#include "core/log.h"

#define MESSAGES_A_PASS 32u

static void ready(void *arg, uint32_t events);
static bool hear(struct vio_ctrlr *c, const struct vu_msg *m);

bool vio_news_open(struct vio_ctrlr *c)
{
	struct err e = { 0 };

	assert(!c->news && c->news_fd < 0);
	c->is_news = false;
	c->news = sock_pair(&c->news_fd, &e);
	if (!c->news) {
		log_debug("virtio: %s: the server cannot say when its disk changes: %s", c->name, e.text);
		return false;
	}
	vu_rx_init(&c->news_rx, VU_BACKEND_REQUEST);
	if (sock_attach(c->news, ready, c) == 0)
		return true;
	vio_news_close(c);
	return false;
}

void vio_news_close(struct vio_ctrlr *c)
{
	if (c->news) {
		for (uint32_t i = 0; i < c->news_rx.fd_count; i++)
			core_fd_close(c->news_rx.fds[i]);
		c->news_rx.fd_count = 0;
		sock_close(c->news);
	}
	c->news = NULL;
	if (c->news_fd >= 0)
		core_fd_close(c->news_fd);
	c->news_fd = -1;
	c->is_news = false;
}

/* The server has its end: that it closes it is seen when we have no other. */
void vio_news_up(struct vio_ctrlr *c)
{
	if (c->news_fd >= 0)
		core_fd_close(c->news_fd);
	c->news_fd = -1;
	if (c->is_news && !c->looks && c->state == VIO_UP)
		vio_talk_look(c);
}

static void no_more(struct vio_ctrlr *c, const char *why)
{
	log_info("virtio: %s: the server's own messages end: %s", c->name, why);
	vio_news_close(c);
}

static void ready(void *arg, uint32_t events)
{
	struct vio_ctrlr *c = arg;
	struct err e = { 0 };

	for (uint32_t i = 0; i < MESSAGES_A_PASS && c->news; i++) {
		uint32_t room, count = VU_FDS_MAX - c->news_rx.fd_count;
		int fds[VU_FDS_MAX];
		void *p = vu_rx_room(&c->news_rx, &room);
		ssize_t n = sock_recv_fds(c->news, p, room, fds, &count);
		struct vu_msg m;
		int rc;

		if (n == -EAGAIN)
			return;
		if (n <= 0) {
			no_more(c, n ? strerror((int)-n) : "it closed the socket");
			return;
		}
		rc = vu_rx_got(&c->news_rx, (uint32_t)n, fds, count, &m, &e);
		for (uint32_t f = 0; rc > 0 && f < m.fd_count; f++)
			core_fd_close(m.fds[f]);
		if (rc < 0 || (rc > 0 && !hear(c, &m))) {
			no_more(c, e.code ? e.text : "it does not read its answers");
			return;
		}
	}
}

static bool answer(struct vio_ctrlr *c, const struct vu_msg *m, uint64_t refused)
{
	uint8_t bytes[VU_BYTES_MAX];
	struct vu_msg reply;
	struct iovec iov = { bytes, 0 };

	vu_reply_to(m, VU_PAYLOAD_U64, &reply);
	reply.u64 = refused;
	iov.iov_len = vu_encode(&reply, bytes);
	return sock_send(c->news, &iov, 1) == (ssize_t)iov.iov_len;
}

/* What changes while it is asked for is asked for again. False: the socket is good for nothing. */
static bool hear(struct vio_ctrlr *c, const struct vu_msg *m)
{
	bool is_news = m->request == VU_B_CONFIG_CHANGE;

	if (vu_wants_reply(m) && (c->protocol & VU_P_BIT(REPLY_ACK)) && !answer(c, m, !is_news))
		return false;
	c->is_news |= is_news;
	if (is_news && c->state == VIO_UP)
		vio_news_up(c);
	return true;
}
