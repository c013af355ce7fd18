/* SPDX-License-Identifier: BSD-3-Clause */
/* ctrlr.c: a controller from its socket to its end. Control reactor.
 *
 * As a server it listens, and every front-end that comes is a session. As a client it connects, and when that fails or
 * its session ends it connects again, for ever.
 */
#include <errno.h>

#include "vhost/session.h"

struct vhost_waiter {
	struct list link;
	struct vhost_change *change;
};

static void came(void *arg, struct sock *sock);
static void connect_again(struct timer *t);
static void connected(void *arg, uint32_t events);
static void delete_step(struct vhost_ctrlr *c);

/* --- making ----------------------------------------------------------------------------------------------------- */

int vhost_ctrlr_check(struct vhost *v, const struct vhost_ctrlr_opts *opts, struct err *e)
{
	const char *name = opts->name;

	if (!name[0] || strlen(name) > VHOST_NAME_MAX)
		return err_set(e, -EINVAL, "ctrlr: a controller's name has 1 to %u bytes", VHOST_NAME_MAX);
	if (vhost_ctrlr_find(v, name))
		return err_set(e, -EEXIST, "ctrlr: there is a controller '%s' already; delete it first, or choose another name",
		               name);
	if (v->stopping)
		return err_set(e, -ESHUTDOWN, "the daemon stops");
	return 0;
}

static int set_place(struct vhost_ctrlr *c, const char *cpumask, struct err *e)
{
	uint32_t cpus[CORE_PINS_MAX], count;

	c->place = UINT64_MAX;
	if (!cpumask)
		return 0;
	if (core_parse_cpus("cpumask", cpumask, CORE_PINS_MAX, cpus, &count, e))
		return e->code;
	c->place = core_reactors_on(c->vhost->core, cpus, count);
	if (!c->place)
		return err_set(e, -EINVAL, "cpumask: none of the daemon's cores is among '%s'; it runs on those of its "
		               "option -m", cpumask);
	c->cpumask = base_strdup(cpumask);
	return 0;
}

static char *path_of(const struct vhost *v, const struct vhost_ctrlr_opts *opts)
{
	const char *slash = v->dir[0] && v->dir[strlen(v->dir) - 1] != '/' ? "/" : "";
	char path[512];
	struct text t = text_over(path, sizeof(path));

	if (opts->socket)
		return base_strdup(opts->socket);
	text_add(&t, "%s%s%s", *opts->name == '/' ? "" : v->dir, *opts->name == '/' ? "" : slash, opts->name);
	return base_strdup(path);
}

int vhost_ctrlr_listen(struct vhost_ctrlr *c, struct err *e)
{
	const char *field = c->own_path ? "socket" : "ctrlr"; /* what said the path */
	struct net_addr addr;
	struct err why = { 0 };

	if (net_addr_parse(NET_UNIX, c->path, NULL, &addr, &why))
		return err_set(e, -EINVAL, "%s: %s", field, why.text);
	if (c->client) {
		timer_start(&c->reconnect, 0, connect_again);
		log_info("vhost %s: connects to %s", c->name, c->path);
		return 0;
	}
	c->listener = listener_open(&addr, 0, came, c, &why);
	if (!c->listener)
		return err_set(e, why.code, "%s: %s", field, why.text);
	if (c->vhost->has_group && listener_let_group(c->listener, c->vhost->gid, e)) {
		listener_close(c->listener);
		c->listener = NULL;
		return e->code;
	}
	log_info("vhost %s: listens at %s", c->name, c->path);
	return 0;
}

static void give_up(struct vhost_ctrlr *c)
{
	free(c->path);
	free(c->cpumask);
}

int vhost_ctrlr_start(struct vhost *v, struct vhost_ctrlr *c, const struct vhost_device_ops *ops,
                      const struct vhost_ctrlr_opts *opts, struct err *e)
{
	if (vhost_ctrlr_check(v, opts, e))
		return e->code;
	assert(ops->rings_max <= VHOST_RINGS_MAX && ops->task_bytes >= sizeof(struct vhost_task));
	c->vhost = v;
	c->ops = ops;
	c->client = opts->client;
	c->no_packed = opts->no_packed;
	c->patience_ms = opts->patience_ms ? opts->patience_ms : VHOST_PATIENCE_MS;
	c->own_path = opts->socket;
	text_pad(c->name, sizeof(c->name) - 1, opts->name, 0);
	c->path = path_of(v, opts);
	list_init(&c->sessions);
	list_init(&c->deletions);
	if (set_place(c, opts->cpumask, e) || (!opts->delay && vhost_ctrlr_listen(c, e))) {
		give_up(c);
		return e->code;
	}
	c->stamp = ++v->stamps;
	list_add_tail(&v->ctrlrs, &c->link);
	return 0;
}

void vhost_ctrlr_resaved(struct vhost_ctrlr *c)
{
	c->stamp = ++c->vhost->stamps;
}

/* --- sessions --------------------------------------------------------------------------------------------------- */

static void came(void *arg, struct sock *sock)
{
	vhost_session_start(arg, sock);
}

static void connect_later(struct vhost_ctrlr *c)
{
	if (c->client && !c->deleting && !c->connecting && !timer_is_running(&c->reconnect))
		timer_start(&c->reconnect, VHOST_RECONNECT_MS * NS_PER_MS, connect_again);
}

static void connect_again(struct timer *t)
{
	struct vhost_ctrlr *c = container_of(t, struct vhost_ctrlr, reconnect);
	struct net_addr addr;
	struct err e = { 0 };

	must(!net_addr_parse(NET_UNIX, c->path, NULL, &addr, &e));
	c->connecting = sock_connect(&addr, NULL, NULL, connected, c, &e);
	if (!c->connecting)
		connect_later(c);
}

static void connected(void *arg, uint32_t events)
{
	struct vhost_ctrlr *c = arg;
	struct sock *sock = c->connecting;

	c->connecting = NULL;
	if ((events & SOCK_FAILED) || !(events & SOCK_WRITABLE)) {
		sock_close(sock);
		connect_later(c);
		return;
	}
	sock_detach(sock);
	vhost_session_start(c, sock);
}

/* One has ended, or is gone altogether: others may have waited for that. */
void vhost_ctrlr_session_gone(struct vhost_ctrlr *c)
{
	bool any = false;

	list_each(l, &c->sessions) {
		struct vhost_session_priv *s = session_priv(list_entry(l, struct vhost_session, link));

		any |= !s->ended;
		vhost_session_go_on(s);
	}
	if (!any)
		connect_later(c);
	delete_step(c);
}

void vhost_ctrlr_config_changed(struct vhost_ctrlr *c)
{
	list_each(l, &c->sessions)
		vhost_backend_config_changed(session_priv(list_entry(l, struct vhost_session, link)));
}

void vhost_ctrlr_get(const struct vhost_ctrlr *c, struct vhost_ctrlr_info *ret_info)
{
	*ret_info = (struct vhost_ctrlr_info){ .name = c->name, .socket = c->path, .cpumask = c->cpumask, .place = c->place,
		.delay_base_us = c->delay_base_us, .iops_threshold = c->iops_threshold,
		.patience_ms = c->patience_ms, .client = c->client,
		.own_socket = c->own_path, .no_packed = c->no_packed, .stamp = c->stamp };
}

/* Counters are their cores': a value may be a pass old. */
static void queue_info(struct vhost_ring_priv *r, struct vhost_queue_info *ret_info)
{
	*ret_info = (struct vhost_queue_info){ .index = r->ring.index, .size = r->queue.size,
		.reactor = reactor_index(carry_at(&r->at)),
		.in_flight = __atomic_load_n(&r->ring.in_flight, __ATOMIC_RELAXED),
		.commands = __atomic_load_n(&r->commands, __ATOMIC_RELAXED),
		.kicks = __atomic_load_n(&r->kicks, __ATOMIC_RELAXED),
		.calls = __atomic_load_n(&r->calls, __ATOMIC_RELAXED),
		.stopped = r->queue.broken };
}

void vhost_ctrlr_sessions(struct vhost_ctrlr *c, void (*fn)(void *arg, const struct vhost_session_info *i), void *arg)
{
	list_each(l, &c->sessions) {
		const struct vhost_session *s = list_entry(l, struct vhost_session, link);
		struct vhost_queue_info queue[VHOST_RINGS_MAX];
		struct vhost_session_info info = { .id = s->id, .name = s->name, .features = s->features, .queue = queue };

		for (uint32_t i = 0; i < VHOST_RINGS_MAX; i++)
			if (vhost_running(session_priv(s), i))
				queue_info(session_priv(s)->rings[i], &queue[info.queues++]);
		fn(arg, &info);
	}
}

void vhost_ctrlr_count(struct vhost_ctrlr *c, struct vhost_counts *ret_counts)
{
	*ret_counts = c->ended;
	ret_counts->sessions_ever = c->last_session;
	list_each(l, &c->sessions) {
		const struct vhost_session_priv *s = session_priv(list_entry(l, struct vhost_session, link));

		ret_counts->sessions++;
		ret_counts->queues += s->running;
		for (uint32_t i = 0; i < VHOST_RINGS_MAX; i++) {
			if (!s->rings[i])
				continue;
			ret_counts->in_flight += __atomic_load_n(&s->rings[i]->ring.in_flight, __ATOMIC_RELAXED);
			vhost_queue_count(s->rings[i], ret_counts);
		}
	}
}

/* --- all rings -------------------------------------------------------------------------------------------------- */

static void visited(struct vhost_op *op)
{
	struct vhost_each *e = op->each;

	if (!--e->left)
		e->done(e);
}

static void visit_session(struct vhost_session_priv *s, struct vhost_each *e)
{
	for (uint32_t i = 0; i < VHOST_RINGS_MAX; i++) {
		struct vhost_ring_priv *r = vhost_running(s, i);
		struct vhost_op *op;

		if (!r)
			continue;
		op = vhost_op_make(r, vhost_ring_visit_op, visited);
		op->each = e;
		e->left++;
		vhost_op_send(op);
	}
}

void vhost_each_ring(struct vhost_ctrlr *c, struct vhost_each *e)
{
	e->left = 1;
	list_each(l, &c->sessions)
		visit_session(session_priv(list_entry(l, struct vhost_session, link)), e);
	if (!--e->left)
		e->done(e);
}

static void set_coalescing(struct vhost_session_priv *s, uint32_t delay_base_us, uint32_t iops_threshold)
{
	for (uint32_t i = 0; i < VHOST_RINGS_MAX; i++) {
		struct vhost_ring_priv *r = vhost_running(s, i);
		struct vhost_op *op;

		if (!r)
			continue;
		op = vhost_op_make(r, vhost_ring_coalescing_op, NULL);
		op->delay_base_us = delay_base_us;
		op->iops_threshold = iops_threshold;
		vhost_op_send(op);
	}
}

int vhost_ctrlr_set_coalescing(struct vhost_ctrlr *c, uint32_t delay_base_us, uint32_t iops_threshold, struct err *e)
{
	if (delay_base_us > VHOST_DELAY_US_MAX)
		return err_set(e, -EINVAL, "delay_base_us: %u is more than %u, a second", delay_base_us, VHOST_DELAY_US_MAX);
	c->delay_base_us = delay_base_us;
	c->iops_threshold = iops_threshold;
	vhost_ctrlr_resaved(c);
	list_each(l, &c->sessions)
		set_coalescing(session_priv(list_entry(l, struct vhost_session, link)), delay_base_us, iops_threshold);
	return 0;
}

/* --- ending ----------------------------------------------------------------------------------------------------- */

void vhost_ctrlr_delete(struct vhost_ctrlr *c, struct vhost_change *change)
{
	struct vhost_waiter *w = base_zalloc(sizeof(*w));

	w->change = change;
	list_add_tail(&c->deletions, &w->link);
	if (c->deleting)
		return;
	c->deleting = true;
	if (c->listener)
		listener_close(c->listener);
	c->listener = NULL;
	if (c->connecting)
		sock_close(c->connecting);
	c->connecting = NULL;
	timer_stop(&c->reconnect);
	list_each_safe(l, &c->sessions)
		vhost_session_end(session_priv(list_entry(l, struct vhost_session, link)), "its controller is deleted");
	delete_step(c);
}

static void delete_step(struct vhost_ctrlr *c)
{
	if (!c->deleting || c->ending || !list_empty(&c->sessions))
		return;
	c->ending = true;
	c->ops->end(c);
}

void vhost_ctrlr_ended(struct vhost_ctrlr *c)
{
	struct vhost *v = c->vhost;
	struct list waiters;
	struct list *l;

	log_info("vhost %s: deleted", c->name);
	list_init(&waiters);
	list_splice(&waiters, &c->deletions);
	list_del(&c->link);
	give_up(c);
	c->ops->free(c);
	while ((l = list_pop(&waiters))) {
		struct vhost_waiter *w = list_entry(l, struct vhost_waiter, link);
		struct vhost_change *change = w->change;

		free(w);
		change->done(change);
	}
	vhost_less(v);
}
