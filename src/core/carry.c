/* SPDX-License-Identifier: BSD-3-Clause */
/* carry.c: the way of a connection or ring from one core to another. */
#include <errno.h>

#include "core/carry.h"
#include "core/log.h"

struct carrying {
	struct msg msg;
	struct carry *carry;
	const struct carry_ops *ops;
	struct reactor *to, *asked_by;
	struct freeze freeze;
	struct timer patience;
	carry_done_fn *done;
	void *arg;
	int rc;
};

static void end(struct carrying *m, int rc);
static void ended(struct msg *msg);
static void stay(struct timer *t);
static void arrive(struct msg *msg);

void carry_start(struct carry *c, const struct carry_ops *ops, struct reactor *to, bool lives, carry_done_fn *done,
                 void *arg)
{
	struct carrying *m = base_zalloc(sizeof(*m));

	assert(!reactor_is_control(to));
	m->carry = c;
	m->ops = ops;
	m->asked_by = reactor_self();
	m->to = to;
	m->done = done;
	m->arg = arg;
	if (!lives || c->now || to == m->asked_by) {
		end(m, lives ? -EALREADY : -ENOTCONN);
		return;
	}
	c->now = m;
	timer_start(&m->patience, ops->patience_ms * NS_PER_MS, stay);
	carry_look_soon(c);
}

void carry_cancel(struct carry *c)
{
	struct carrying *m = c->now;

	if (!m)
		return;
	c->now = NULL;
	defer_cancel(&c->look);
	timer_stop(&m->patience);
	end(m, -ENOTCONN);
}

static void stay(struct timer *t)
{
	struct carrying *m = container_of(t, struct carrying, patience);
	struct carry *c = m->carry;

	c->now = NULL;
	defer_cancel(&c->look);
	end(m, -EBUSY);
	m->ops->stay(c);
}

static void end(struct carrying *m, int rc)
{
	m->rc = rc;
	msg_send(m->asked_by, &m->msg, ended);
}

static void ended(struct msg *msg)
{
	struct carrying *m = container_of(msg, struct carrying, msg);

	m->done(m->arg, m->rc);
	free(m);
}

void carry_look(struct defer *d)
{
	struct carry *c = container_of(d, struct carry, look);
	struct carrying *m = c->now;

	if (!m->ops->may_leave(c))
		return;
	timer_stop(&m->patience);
	freeze_init(&m->freeze);
	m->ops->leave(c, m->to, &m->freeze);
	must(!m->freeze.err.code);
	defer_cancel(d);
	msg_send(m->to, &m->msg, arrive);
}

static void arrive(struct msg *msg)
{
	struct carrying *m = container_of(msg, struct carrying, msg);
	const struct carry_ops *ops = m->ops;
	struct carry *c = m->carry;
	struct freeze f;

	freeze_init_thaw(&f, m->freeze.buf, m->freeze.len);
	ops->arrive(c, &f);
	if (f.err.code)
		log_error("%s that moves: %s", ops->what, f.err.text);
	must(freeze_ok(&f) && c->now == m);
	freeze_fini(&m->freeze);
	c->now = NULL;
	end(m, 0);
	ops->live(c);
}

bool carry_met(struct carry_home *h, struct msg *m, msg_fn *fn)
{
	if (carry_at(h) != reactor_self())
		carry_send(h, m, fn);
	else if (!h->here)
		msg_chain_add(&h->early, m, fn);
	else
		return true;
	return false;
}

void carry_explain(const char *what, int rc, struct err *e)
{
	if (rc == -EBUSY)
		err_set(e, rc, "%s stays: a device took too long to answer what it has in hand; try again", what);
	else if (rc == -ENOTSUP)
		err_set(e, rc, "%s cannot move: its adapter's completions come to the core where it began", what);
	else if (rc == -EALREADY)
		err_set(e, -EBUSY, "%s is being moved by the scheduler; try again", what);
	else if (rc)
		err_set(e, rc, "%s went away meanwhile", what);
}
