/* SPDX-License-Identifier: BSD-3-Clause */
/* backend.c: what the back-end says to the front-end by itself, over the socket that it was given for that: the
 * configuration has changed; and notifications in band. Control reactor. */
#include <errno.h>

#include "vhost/session.h"

static void ready(void *arg, uint32_t events);
static void say_news(struct vhost_session_priv *s);

void vhost_backend_set(struct vhost_session_priv *s, int fd, struct err *e)
{
	int rc;

	vhost_backend_close(s);
	s->backend = sock_from_fd(fd, e);
	if (!s->backend) {
		core_fd_close(fd);
		return;
	}
	vu_rx_init(&s->backend_rx, VU_BACKEND_REPLY);
	rc = sock_attach(s->backend, ready, s);
	if (rc) {
		sock_close(s->backend);
		s->backend = NULL;
		err_set(e, rc, "the socket for requests of ours does not work: %s", strerror(-rc));
		return;
	}
	say_news(s);
}

/* Whether a call that was not answered was heard nobody knows: it is made again, where that can be. */
void vhost_backend_close(struct vhost_session_priv *s)
{
	if (s->backend)
		sock_close(s->backend);
	s->backend = NULL;
	if (s->call_out)
		s->call_out->queue.call_wanted = true;
	s->call_out = NULL;
}

/* False: not now. A front-end that does not read has its news kept, one of each kind; they go when there is room. */
static bool say(struct vhost_session_priv *s, const struct vu_msg *m)
{
	uint8_t bytes[VU_BYTES_MAX];
	struct iovec iov = { bytes, vu_encode(m, bytes) };
	ssize_t n;

	if (!s->backend)
		return false;
	n = sock_send(s->backend, &iov, 1);
	if (n == (ssize_t)iov.iov_len)
		return true;
	if (n == -EAGAIN) {
		sock_want_write(s->backend, true);
		return false;
	}
	log_warning("vhost %s: %s cannot be told: %s", s->session.name, vu_name(VU_BACKEND_REQUEST, m->request),
	            n < 0 ? strerror((int)-n) : "it was taken in part");
	vhost_backend_close(s);
	return false;
}

static bool say_of_ring(struct vhost_ring_priv *r, uint32_t request, bool need_reply)
{
	struct vu_msg m;

	vu_request(request, VU_PAYLOAD_STATE, &m);
	m.flags |= need_reply ? VU_FLAG_NEED_REPLY : 0;
	m.state = (struct vu_state){ r->ring.index, 0 };
	return say(session_priv(r->ring.session), &m);
}

/* One call at a time for all rings is on its way: the answer says that the next may go. */
static bool say_what_ring_wants(struct vhost_session_priv *s, struct vhost_ring_priv *r)
{
	if (r->queue.err_wanted) {
		if (!say_of_ring(r, VU_B_VRING_ERR, false))
			return false;
		r->queue.err_wanted = false;
	}
	if (r->queue.call_wanted && !s->call_out) {
		if (!say_of_ring(r, VU_B_VRING_CALL, true))
			return false;
		r->queue.call_wanted = false;
		s->call_out = r;
	}
	return true;
}

static void say_news(struct vhost_session_priv *s)
{
	struct vu_msg m;

	if (s->config_news) {
		vu_request(VU_B_CONFIG_CHANGE, VU_PAYLOAD_NONE, &m);
		if (!say(s, &m))
			return;
		s->config_news = false;
	}
	for (uint32_t i = 0; i < VHOST_RINGS_MAX; i++)
		if (s->rings[i] && !say_what_ring_wants(s, s->rings[i]))
			return;
}

/* Who has given no channel yet asks for all of the configuration when it starts. */
void vhost_backend_config_changed(struct vhost_session_priv *s)
{
	s->config_news = s->backend && vhost_has_protocol(s, VU_P_CONFIG);
	say_news(s);
}

void vhost_backend_call(struct msg *m)
{
	struct vhost_ring_priv *r = container_of(m, struct vhost_ring_priv, call_msg);

	atomic_store(&r->call_told, false);
	r->queue.call_wanted = true;
	say_news(session_priv(r->ring.session));
}

void vhost_backend_err(struct vhost_ring_priv *r)
{
	r->queue.err_wanted = true;
	say_news(session_priv(r->ring.session));
}

static void ready(void *arg, uint32_t events)
{
	struct vhost_session_priv *s = arg;
	struct err e = { 0 };

	if (events & SOCK_WRITABLE) {
		sock_want_write(s->backend, false);
		say_news(s);
	}
	for (uint32_t i = 0; i < 32 && s->backend; i++) {
		uint32_t room;
		void *p = vu_rx_room(&s->backend_rx, &room);
		ssize_t n = sock_recv(s->backend, p, room);
		struct vu_msg m;
		int rc;

		if (n == -EAGAIN)
			return;
		rc = n > 0 ? vu_rx_got(&s->backend_rx, (uint32_t)n, NULL, 0, &m, &e) : -ENOTCONN;
		if (rc < 0) {
			log_info("vhost %s: the socket for requests of ours ends: %s", s->session.name,
			         e.code ? e.text : n < 0 ? strerror((int)-n) : "closed");
			vhost_backend_close(s);
			return;
		}
		if (rc && m.request == VU_B_VRING_CALL) {
			s->call_out = NULL;
			say_news(s);
		}
	}
}
