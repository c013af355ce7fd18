/* SPDX-License-Identifier: BSD-3-Clause */
/* session.c: a front-end from its first byte to its end: one message after the other, each answered before the next.
 *
 * A session ends when its socket does: its rings stop, which waits for their I/O (that still reaches the guest, whose
 * memory is there until then), and memory is let go. A new session of the same controller is heard only after that, so
 * that nothing of before can land behind what it writes.
 */
#include "vhost/session.h"

#include <errno.h>

#define MESSAGES_A_PASS 32u

static void ready(void *arg, uint32_t events);
static void hear(struct vhost_session_priv *s);
static void message_done(struct vhost_session_priv *s);
static void answer(struct vhost_session_priv *s, const struct vu_msg *m);
static void flush(struct vhost_session_priv *s);
static void update_reading(struct vhost_session_priv *s);
static void end_soon(struct vhost_session_priv *s);
static void end_step(struct vhost_session_priv *s);
static void be_patient(struct vhost_session_priv *s);
static void patience_over(struct timer *t);

static bool others_end(const struct vhost_ctrlr *c)
{
	list_each(l, &c->sessions)
		if (session_priv(list_entry(l, struct vhost_session, link))->ended)
			return true;
	return false;
}

void vhost_session_start(struct vhost_ctrlr *c, struct sock *sock)
{
	struct vhost_session_priv *s = base_zalloc_aligned(CACHE_LINE, sizeof(*s));
	struct text name = text_over(s->session.name, sizeof(s->session.name));
	int rc;

	s->session.ctrlr = c;
	s->session.priv = s;
	s->session.id = c->last_session++;
	text_add(&name, "%s.%u", c->name, s->session.id);
	text_pad(s->session.who.name, sizeof(s->session.who.name) - 1, c->name, 0);
	s->vhost = c->vhost;
	s->sock = sock;
	s->out_fd = s->state_fd = -1;
	vu_rx_init(&s->rx, VU_REQUEST);
	s->waiting = others_end(c);
	if (s->waiting)
		log_notice("vhost %s: is heard when the requests of the front-end before it have ended", s->session.name);
	list_add_tail(&c->sessions, &s->session.link);
	c->ops->session_open(&s->session);
	rc = sock_attach(sock, ready, s);
	if (rc) {
		vhost_session_end(s, strerror(-rc));
		return;
	}
	log_info("vhost %s: a front-end came", s->session.name);
	update_reading(s);
}

void vhost_session_go_on(struct vhost_session_priv *s)
{
	if (!s->waiting || others_end(s->session.ctrlr))
		return;
	s->waiting = false;
	update_reading(s);
}

/* --- receiving --------------------------------------------------------------------------------------------------- */

static bool listens(const struct vhost_session_priv *s)
{
	return s->sock && !s->busy && !s->waiting && !s->out_len;
}

/* A failure is told once more only to who reads on. One that comes behind a message that takes long must not wait for
 * it: a new session would be heard meanwhile, and start rings that this one still runs. */
static void ready(void *arg, uint32_t events)
{
	struct vhost_session_priv *s = arg;

	if (events & SOCK_WRITABLE)
		flush(s);
	if (events & SOCK_READABLE)
		hear(s);
	if ((events & SOCK_FAILED) && s->sock && !((events & SOCK_READABLE) && listens(s)))
		vhost_session_end(s, "the front-end went away");
}

/* -EAGAIN: nothing more for now. */
static int hear_some(struct vhost_session_priv *s)
{
	struct err e = { 0 };
	int fds[VU_FDS_MAX];
	uint32_t room, count = VU_FDS_MAX - s->rx.fd_count;
	void *p = vu_rx_room(&s->rx, &room);
	ssize_t n = sock_recv_fds(s->sock, p, room, fds, &count);
	int rc;

	if (n == -EAGAIN)
		return -EAGAIN;
	if (n <= 0) {
		vhost_session_end(s, n ? strerror((int)-n) : "the front-end went away");
		return -EAGAIN;
	}
	rc = vu_rx_got(&s->rx, (uint32_t)n, fds, count, &s->msg, &e);
	if (rc < 0)
		vhost_session_end(s, e.text);
	return rc;
}

static void hear(struct vhost_session_priv *s)
{
	for (uint32_t i = 0; i < MESSAGES_A_PASS && listens(s);) {
		int rc = hear_some(s);

		if (rc < 0)
			break;
		if (!rc)
			continue;
		i++;
		s->busy = true;
		s->err = (struct err){ 0 };
		s->waits++;
		vhost_message(s);
		vhost_session_less(s);
		if (s->busy)
			be_patient(s);
	}
	update_reading(s);
}

static void update_reading(struct vhost_session_priv *s)
{
	if (s->sock)
		sock_want_read(s->sock, listens(s));
}

void vhost_session_less(struct vhost_session_priv *s)
{
	assert(s->waits > 0);
	if (--s->waits)
		return;
	if (s->busy)
		message_done(s);
	else if (s->ending)
		end_step(s);
}

/* --- answering --------------------------------------------------------------------------------------------------- */

static void close_fds(struct vu_msg *m)
{
	for (uint32_t i = 0; i < m->fd_count; i++)
		if (m->fds[i] >= 0)
			core_fd_close(m->fds[i]);
	m->fd_count = 0;
}

/* What has no answer of its own is acknowledged if that was asked for. What fails without an answer that could say so
 * ends the session: the front-end believes in something that is not so. */
static void message_done(struct vhost_session_priv *s)
{
	const char *name = vu_name(VU_REQUEST, s->msg.request);
	bool ack = vu_wants_reply(&s->msg) && vhost_has_protocol(s, VU_P_REPLY_ACK);
	struct vu_row row = { .reply = VU_PAYLOAD_NONE };

	s->busy = false;
	timer_stop(&s->patience);
	vhost_message_ended(s);
	close_fds(&s->msg);
	if (s->err.code && log_may(&s->session.ctrlr->complaints))
		log_error("vhost %s: %s: %s", s->session.name, name, s->err.text);
	if (vu_row(VU_REQUEST, s->msg.request, &row) && s->msg.request == VU_SET_LOG_BASE)
		row.reply = VU_PAYLOAD_LOG;
	if (row.reply != VU_PAYLOAD_NONE && !s->err.code)
		answer(s, &s->reply);
	else if (ack && row.reply == VU_PAYLOAD_NONE) {
		vu_reply_to(&s->msg, VU_PAYLOAD_U64, &s->reply);
		s->reply.u64 = s->err.code != 0;
		answer(s, &s->reply);
	} else if (s->err.code)
		vhost_session_end(s, "a message that cannot be fulfilled, and no way to say so");
	if (s->ended)
		end_soon(s);
	else
		update_reading(s);
}

static void answer(struct vhost_session_priv *s, const struct vu_msg *m)
{
	assert(!s->out_len && m->fd_count <= 1);
	s->out_fd = m->fd_count ? m->fds[0] : -1;
	if (!s->sock) {
		if (s->out_fd >= 0)
			core_fd_close(s->out_fd);
		s->out_fd = -1;
		return;
	}
	s->out_len = vu_encode(m, s->out);
	flush(s);
}

static void flush(struct vhost_session_priv *s)
{
	struct iovec iov = { s->out, s->out_len };
	ssize_t n;

	if (!s->out_len || !s->sock)
		return;
	n = sock_send_fds(s->sock, &iov, 1, &s->out_fd, s->out_fd >= 0);
	if (n < 0 && n != -EAGAIN) {
		vhost_session_end(s, strerror((int)-n));
		return;
	}
	if (n > 0) {
		if (s->out_fd >= 0)
			core_fd_close(s->out_fd);
		s->out_fd = -1;
		s->out_len -= (uint32_t)n;
		memmove(s->out, s->out + n, s->out_len);
	}
	sock_want_write(s->sock, s->out_len > 0);
	if (!s->out_len)
		update_reading(s);
}

/* --- waiting ----------------------------------------------------------------------------------------------------
 * A front-end does nothing while it waits, for its machine's other devices neither: not for ever for one disk. */

static void be_patient(struct vhost_session_priv *s)
{
	s->hurried = s->hurry_told = false;
	timer_start(&s->patience, s->session.ctrlr->patience_ms * NS_PER_MS, patience_over);
}

/* Again and again: what is on its way somewhere cannot be aborted then. */
static void patience_over(struct timer *t)
{
	struct vhost_session_priv *s = container_of(t, struct vhost_session_priv, patience);
	uint64_t patience_ns = s->session.ctrlr->patience_ms * NS_PER_MS, now_ns = reactor_now_ns();
	bool queues;

	if (s->awaited && s->hurried && now_ns - s->hurried_ns >= patience_ns) {
		timer_start(&s->patience, VHOST_HURRY_MS * NS_PER_MS, patience_over);
		vhost_mem_give_up(s, &s->err);
		return;
	}
	queues = vhost_queues_hurry(s);
	if (!s->hurried)
		s->hurried_ns = now_ns;
	s->hurried |= queues;
	timer_start(&s->patience, VHOST_HURRY_MS * NS_PER_MS, patience_over);
}

void vhost_session_hurried(struct vhost_session_priv *s, uint32_t queues)
{
	if (!queues || s->hurry_told)
		return;
	s->hurry_told = true;
	log_warning("vhost %s: %s waits for requests of %u queue%s, which its disk has had for more than %u ms: they "
	            "are aborted", s->session.name,
	            s->busy ? vu_name(VU_REQUEST, s->msg.request) : "the front-end's end", queues,
	            queues == 1 ? "" : "s", s->session.ctrlr->patience_ms);
}

/* --- ending ------------------------------------------------------------------------------------------------------- */

/* Its end may be told after the next one has come: as long as that runs no queue it can still wait. */
static void hold_newer(struct vhost_session_priv *ended)
{
	list_each(l, &ended->session.ctrlr->sessions) {
		struct vhost_session_priv *s = session_priv(list_entry(l, struct vhost_session, link));

		if (s->session.id <= ended->session.id || s->ended || s->running)
			continue;
		s->waiting = true;
		update_reading(s);
	}
}

void vhost_session_end(struct vhost_session_priv *s, const char *why)
{
	if (s->ended)
		return;
	log_info("vhost %s: ends: %s", s->session.name, why);
	s->ended = true;
	if (s->sock)
		sock_close(s->sock);
	s->sock = NULL;
	for (uint32_t i = 0; i < s->rx.fd_count; i++)
		core_fd_close(s->rx.fds[i]);
	s->rx.fd_count = 0;
	if (s->out_fd >= 0)
		core_fd_close(s->out_fd);
	s->out_fd = -1;
	s->out_len = 0;
	vhost_backend_close(s);
	hold_newer(s);
	vhost_ctrlr_session_gone(s->session.ctrlr);
	if (!s->busy)
		end_soon(s);
}

static void end_now(struct msg *m)
{
	struct vhost_session_priv *s = container_of(m, struct vhost_session_priv, end_msg);

	s->ending = true;
	s->waits++;
	be_patient(s);
	vhost_queues_stop(s);
	if (s->mem) {
		vhost_mem_unref(s->mem);
		s->mem = NULL;
	}
	vhost_session_less(s);
}

/* Later: who ends it may be in the middle of something of it. */
static void end_soon(struct vhost_session_priv *s)
{
	if (s->told)
		return;
	s->told = true;
	msg_send(reactor_self(), &s->end_msg, end_now);
}

static void end_later(struct msg *m)
{
	end_step(container_of(m, struct vhost_session_priv, end_msg));
}

/* A ring that moved may have told us something from the core that it left: that may come behind its end. */
static bool is_being_told(const struct vhost_session_priv *s)
{
	for (uint32_t i = 0; i < VHOST_RINGS_MAX; i++)
		if (s->rings[i] && (atomic_load(&s->rings[i]->call_told) || atomic_load(&s->rings[i]->broken_told)))
			return true;
	return false;
}

static void end_step(struct vhost_session_priv *s)
{
	if (s->mems)
		return; /* some core still leaves a version; it calls again */
	if (is_being_told(s)) {
		msg_send(reactor_self(), &s->end_msg, end_later);
		return;
	}
	if (s->log)
		vhost_log_unref(s->log);
	s->log = NULL;
	share_unmap(&s->inflight);
	vhost_state_close(s);
	for (uint32_t i = 0; i < VHOST_RINGS_MAX; i++)
		if (s->rings[i])
			vhost_queue_free(s->rings[i]);
	s->ending = false;
	timer_stop(&s->patience);
	s->session.ctrlr->ops->session_close(&s->session);
}

/* All of its memory is gone, and nothing else is waited for. */
void vhost_session_mem_gone(struct vhost_session_priv *s)
{
	if (s->ending && !s->waits && !s->busy)
		end_step(s);
}

/* A ring stopped because its driver broke the rules: drivers look at the status, when it is told that way. */
void vhost_session_need_reset(struct vhost_session_priv *s)
{
	if (!vhost_has_protocol(s, VU_P_STATUS) || (s->status & VIRTIO_CONFIG_S_NEEDS_RESET))
		return;
	s->status |= VIRTIO_CONFIG_S_NEEDS_RESET;
	vhost_backend_config_changed(s);
}

static void free_session(struct msg *m)
{
	struct vhost_session_priv *s = container_of(m, struct vhost_session_priv, end_msg);
	struct vhost_ctrlr *c = s->session.ctrlr;

	list_del(&s->session.link);
	free(s);
	vhost_ctrlr_session_gone(c);
}

void vhost_session_closed(struct vhost_session *session)
{
	struct vhost_session_priv *s = session_priv(session);

	log_info("vhost %s: is gone", s->session.name);
	msg_send(reactor_self(), &s->end_msg, free_session);
}
