/* SPDX-License-Identifier: BSD-3-Clause */
/* state.c: the state of a device whose machine moves, through a pipe of the front-end's: what it was set up with is the
 * front-end's to know, what its driver has chosen since is in its configuration space. So that is the state. It fits
 * into a pipe, and one that is to be loaded is there when the front-end asks whether it was. Control reactor. */
#include <errno.h>

#include "vhost/session.h"

#define STATE_MAGIC 0x53445647u        /* "GVDS" */
#define STATE_VERSION 1u

struct state {
	le32 magic, version;
	char type[8];                      /* of device */
	uint8_t config[VU_CONFIG_MAX];
};
WIRE_SIZE(struct state, VHOST_STATE_BYTES);

static void fill_in(const struct vhost_session_priv *s, struct state *st)
{
	struct vhost_ctrlr *c = s->session.ctrlr;

	*st = (struct state){ .magic = le32_of(STATE_MAGIC), .version = le32_of(STATE_VERSION) };
	text_pad(st->type, sizeof(st->type), c->ops->type, 0);
	c->ops->config(c, (struct vhost_session *)&s->session, st->config);
}

void vhost_state_get(const struct vhost_session_priv *s, uint8_t ret_bytes[static VHOST_STATE_BYTES])
{
	struct state st;

	fill_in(s, &st);
	memcpy(ret_bytes, &st, sizeof(st));
}

bool vhost_state_set(struct vhost_session_priv *s, const void *bytes, size_t len, struct err *e)
{
	struct state st, own;

	fill_in(s, &own);
	memcpy(&st, bytes, min_u64(len, sizeof(st)));
	if (len != sizeof(st))
		err_set(e, -EIO, "the state is not there, or has not %zu bytes", sizeof(st));
	else if (memcmp(&st, &own, offsetof(struct state, config)))
		err_set(e, -EINVAL, "this is not the state of a %s device of Gantry, version %u", s->session.ctrlr->ops->type,
		        STATE_VERSION);
	else
		s->session.ctrlr->ops->config_write(&s->session, 0, st.config, sizeof(st.config), true, e);
	return !e->code;
}

static bool save(struct vhost_session_priv *s, int fd, struct err *e)
{
	uint8_t bytes[VHOST_STATE_BYTES];
	ssize_t n;

	vhost_state_get(s, bytes);
	n = core_fd_write(fd, bytes, sizeof(bytes));
	core_fd_close(fd); /* its end says that this was all */
	if (n == (ssize_t)sizeof(bytes))
		return true;
	err_set(e, -EIO, "%zu bytes of state cannot be written: %s", sizeof(bytes), n < 0 ? strerror((int)-n) : "no room");
	return false;
}

static bool load(struct vhost_session_priv *s, struct err *e)
{
	uint8_t bytes[VHOST_STATE_BYTES + 1]; /* one too many is seen */
	ssize_t n = core_fd_read(s->state_fd, bytes, sizeof(bytes)), more = -1;

	if (n == VHOST_STATE_BYTES)
		more = core_fd_read(s->state_fd, bytes + n, 1); /* 0: its end; else more is to come, or may be */
	return vhost_state_set(s, bytes, more == 0 ? (size_t)n : 0, e);
}

/* Some requests of a queue that stopped are noted in the in-flight region only: without it they would be lost. */
static bool is_apart(const struct vhost_session_priv *s)
{
	for (uint32_t i = 0; i < VHOST_RINGS_MAX; i++)
		if (s->rings[i] && s->rings[i]->queue.apart)
			return true;
	return false;
}

bool vhost_state_transfer(struct vhost_session_priv *s, const struct vu_transfer *t, int fd, struct err *e)
{
	vhost_state_close(s);
	s->state_good = false;
	if (t->phase != VU_STATE_STOPPED || t->direction > VU_STATE_LOAD)
		err_set(e, -EINVAL, "direction %u, phase %u: not known", t->direction, t->phase);
	else if (s->running)
		err_set(e, -EBUSY, "%u queues run", s->running);
	else if (t->direction == VU_STATE_SAVE && is_apart(s))
		err_set(e, -EBUSY, "requests that the disk did not answer are left in the in-flight region, among others that "
		        "are done: a machine that moves without it would lose them; let it go on here until they are done");
	if (e->code) {
		core_fd_close(fd);
		return false;
	}
	if (t->direction == VU_STATE_SAVE)
		s->state_good = save(s, fd, e);
	else
		s->state_fd = fd;
	return !e->code;
}

bool vhost_state_check(struct vhost_session_priv *s, struct err *e)
{
	if (s->state_fd >= 0)
		s->state_good = load(s, e);
	else if (!s->state_good)
		err_set(e, -EIO, "no state was saved or loaded");
	vhost_state_close(s);
	return s->state_good;
}

void vhost_state_close(struct vhost_session_priv *s)
{
	if (s->state_fd >= 0)
		core_fd_close(s->state_fd);
	s->state_fd = -1;
}
