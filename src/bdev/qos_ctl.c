/* SPDX-License-Identifier: BSD-3-Clause */
/* qos_ctl.c: limits are set, lifted and shared: what the control reactor has to do with them.
 *
 * Rates are words that cores read. What they have taken by the old ones, perhaps for a moment far ahead, must not bind
 * them: a change visits every core, which forgets it; only then, when nobody takes by the old rates any more,
 * are the buckets emptied, and a second visit lets what waits go on by the new ones.
 */
#include "bdev/qos_core.h"

#include <errno.h>
#include <stdio.h>

struct qos_group {
	struct qos_limits limits;
	struct qos_want want;
	struct bdev_registry *reg;
	char name[BDEV_NAME_MAX];
	struct list members;             /* of struct bdev_qos */
	uint64_t saved_stamp;
	uint32_t leaving;                /* devices whose cores may still look at it */
	struct list link;
};

/* Who waits for a visit. */
struct caller {
	struct list link;
	qos_done_fn *done;
	void *arg;
};

static void visit_start(struct bdev_qos *q);
static void visit_on_core(struct each *e);
static void visited(struct each *e);

#define LIMIT_NAME(limit, param, bytes) #param,
#define LIMIT_BYTES(limit, param, bytes) bytes,

const char *qos_limit_name(enum qos_limit l)
{
	static const char *const names[] = { QOS_LIMITS(LIMIT_NAME) };

	return names[l];
}

bool qos_limit_in_bytes(enum qos_limit l)
{
	static const bool bytes[] = { QOS_LIMITS(LIMIT_BYTES) };

	return bytes[l];
}

struct qos_limits *bdev_qos_group_limits(struct qos_group *g)
{
	return g ? &g->limits : NULL;
}

/* --- a device's limiter ----------------------------------------------------------------------------------- */

static void resaved(struct bdev_qos *q)
{
	q->saved_stamp = ++q->bdev->reg->saved_stamps;
}

static struct bdev_qos *qos_of(struct bdev *b)
{
	uint32_t count = core_reactor_count(b->reg->core) + 1;
	struct bdev_qos *q = b->qos;

	if (q)
		return q;
	q = base_zalloc_aligned(CACHE_LINE, sizeof(*q));
	q->bdev = b;
	q->want.burst_ms = QOS_BURST_MS;
	list_init(&q->group_link);
	list_init(&q->callers);
	list_init(&q->next_callers);
	list_init(&q->resets);
	list_init(&q->next_resets);
	q->cores = base_zalloc_aligned(CACHE_LINE, count * sizeof(*q->cores));
	for (uint32_t i = 0; i < count; i++) {
		queue_init(&q->cores[i].resets);
		queue_init(&q->cores[i].resets_next);
		list_init(&q->cores[i].link);
		for (uint8_t dir = 0; dir < QOS_LINES; dir++) {
			q->cores[i].lines[dir] = (struct qos_line){ .core = &b->cores[i], .dir = dir };
			list_init(&q->cores[i].lines[dir].link);
		}
	}
	b->qos = q;
	resaved(q);
	return q;
}

void bdev_qos_free(struct bdev *b)
{
	if (!b->qos)
		return;
	must(!b->qos->visiting);
	list_del(&b->qos->group_link);
	free(b->qos->cores);
	free(b->qos);
	b->qos = NULL;
}

static void limits_store(struct qos_limits *l, const struct qos_want *want)
{
	for (uint32_t i = 0; i < QOS_LIMIT_COUNT; i++)
		atomic_store(&l->bucket[i].rate, want->rate[i]);
	atomic_store(&l->burst_ns, want->burst_ms * NS_PER_MS);
}

/* Nothing is saved up at first. */
static void limits_begin(struct qos_limits *l)
{
	for (uint32_t i = 0; l && i < QOS_LIMIT_COUNT; i++)
		atomic_store(&l->bucket[i].free_at_ns, reactor_now_ns());
}

/* --- visits ----------------------------------------------------------------------------------------------- */

static void visit(struct bdev_qos *q, uint32_t actions, qos_done_fn *done, void *arg)
{
	struct caller *c = base_zalloc(sizeof(*c));

	c->done = done;
	c->arg = arg;
	list_add_tail(&q->next_callers, &c->link);
	q->next_actions |= actions;
	q->bdev->holds++;
	if (!q->visiting)
		visit_start(q);
}

static void visit_start(struct bdev_qos *q)
{
	q->visiting = true;
	q->round = 0;
	q->actions = q->next_actions;
	q->next_actions = 0;
	list_splice(&q->callers, &q->next_callers);
	list_splice(&q->resets, &q->next_resets);
	each_core(&q->each, q->bdev->reg->core, visit_on_core, visited);
}

static struct bdev_core *core_here(struct bdev_qos *q)
{
	return &q->bdev->cores[reactor_index(reactor_self())];
}

static void visit_on_core(struct each *e)
{
	struct bdev_qos *q = container_of(e, struct bdev_qos, each);

	bdev_qos_visit_here(core_here(q), q->actions);
}

static void reset_goes_on(struct msg *m)
{
	struct bdev_qos_core *c = container_of(m, struct bdev_qos_core, msg);
	struct queue_link *l = queue_take_all(&c->resets), *next;

	if (!queue_empty(&c->resets_next)) {
		struct bdev_core *core = c->lines[0].core;
		struct queue_link *later = queue_take_all(&c->resets_next), *after;

		for (; later; later = after) {
			after = later->next;
			queue_push(&c->resets, later);
		}
		msg_send(core_control(core->bdev->reg->core), &c->msg, bdev_qos_reset_on_control);
	} else {
		c->resetting = false;
	}
	for (; l; l = next) {
		struct bdev_io *io = container_of(l, struct bdev_io, link);

		next = l->next;
		bdev_admit_again(io->ch, io);
	}
}

static void tell_callers(struct bdev_qos *q)
{
	struct bdev *b = q->bdev;
	struct list now, *pos;

	list_init(&now);
	list_splice(&now, &q->callers);
	while ((pos = list_pop(&q->resets)))
		msg_send(list_entry(pos, struct bdev_qos_core, link)->lines[0].core->reactor,
		         &list_entry(pos, struct bdev_qos_core, link)->msg, reset_goes_on);
	q->visiting = false;
	if (q->next_actions)
		visit_start(q);
	while ((pos = list_pop(&now))) {
		struct caller *c = list_entry(pos, struct caller, link);

		if (c->done)
			c->done(c->arg);
		free(c);
		b->holds--;
	}
	bdev_try_destroy(b);
}

static void visited(struct each *e)
{
	struct bdev_qos *q = container_of(e, struct bdev_qos, each);

	bdev_qos_visit_here(core_here(q), q->actions); /* control's own share */
	if (q->actions & QOS_VISIT_LIMITS && q->round++ == 0) {
		limits_begin(&q->own);
		limits_begin(bdev_qos_group_limits(q->group));
		each_core(&q->each, q->bdev->reg->core, visit_on_core, visited);
		return;
	}
	tell_callers(q);
}

void bdev_qos_reset_on_control(struct msg *m)
{
	struct bdev_qos_core *c = container_of(m, struct bdev_qos_core, msg);
	struct bdev_qos *q = c->lines[0].core->bdev->qos;

	list_add_tail(&q->next_resets, &c->link);
	visit(q, QOS_VISIT_ABORT, NULL, NULL);
}

void bdev_qos_removing(struct bdev *b)
{
	if (b->qos)
		visit(b->qos, QOS_VISIT_GO, NULL, NULL);
}

/* --- limits ----------------------------------------------------------------------------------------------- */

void bdev_qos_set(struct bdev *b, const struct qos_want *want, qos_done_fn *done, void *arg)
{
	struct bdev_qos *q = qos_of(b);

	q->want = *want;
	resaved(q);
	limits_store(&q->own, want);
	visit(q, QOS_VISIT_LIMITS, done, arg);
}

static bool limits_anything(const struct qos_want *want)
{
	uint64_t any = 0;

	for (uint32_t i = 0; i < QOS_LIMIT_COUNT; i++)
		any |= want->rate[i];
	return any != 0;
}

bool bdev_qos_get(const struct bdev *b, struct qos_want *ret_want)
{
	*ret_want = b->qos ? b->qos->want : (struct qos_want){ .burst_ms = QOS_BURST_MS };
	return limits_anything(ret_want);
}

/* --- groups ----------------------------------------------------------------------------------------------- */

static struct qos_group *find(struct bdev_registry *reg, const char *name)
{
	list_each(l, &reg->qos_groups) {
		struct qos_group *g = list_entry(l, struct qos_group, link);

		if (strcmp(g->name, name) == 0)
			return g;
	}
	return NULL;
}

struct qos_group *qos_group_find(struct bdev_registry *reg, const char *name, struct err *e)
{
	struct qos_group *g = find(reg, name);

	if (!g)
		err_set(e, -ENODEV, "there is no QoS group '%s'; bdev_qos_get_groups lists those there are", name);
	return g;
}

struct qos_group *qos_group_make(struct bdev_registry *reg, const char *name, const struct qos_want *want,
                                 struct err *e)
{
	struct qos_group *g;

	if (!name[0] || strlen(name) >= sizeof(g->name)) {
		err_set(e, -EINVAL, "name: a QoS group's has 1 to %zu characters", sizeof(g->name) - 1);
		return NULL;
	}
	if (find(reg, name)) {
		err_set(e, -EEXIST, "name: there is a QoS group '%s' already", name);
		return NULL;
	}
	g = base_zalloc_aligned(CACHE_LINE, sizeof(*g));
	g->reg = reg;
	snprintf(g->name, sizeof(g->name), "%s", name);
	list_init(&g->members);
	list_add_tail(&reg->qos_groups, &g->link);
	g->want = *want;
	g->saved_stamp = ++reg->saved_stamps;
	limits_store(&g->limits, want);
	limits_begin(&g->limits);
	return g;
}

/* Every member is visited, then the caller hears of it. */
struct group_change {
	uint32_t left;
	qos_done_fn *done;
	void *arg;
};

static void member_changed(void *arg)
{
	struct group_change *c = arg;

	if (--c->left)
		return;
	c->done(c->arg);
	free(c);
}

void qos_group_set(struct qos_group *g, const struct qos_want *want, qos_done_fn *done, void *arg)
{
	struct group_change *c = base_zalloc(sizeof(*c));

	c->left = 1;
	c->done = done;
	c->arg = arg;
	g->want = *want;
	g->saved_stamp = ++g->reg->saved_stamps;
	limits_store(&g->limits, want);
	list_each(l, &g->members) {
		c->left++;
		visit(list_entry(l, struct bdev_qos, group_link), QOS_VISIT_LIMITS, member_changed, c);
	}
	member_changed(c);
}

void qos_group_get(const struct qos_group *g, struct qos_want *ret_want)
{
	*ret_want = g->want;
}

const char *qos_group_name(const struct qos_group *g)
{
	return g->name;
}

int qos_group_join(struct qos_group *g, struct bdev *b, qos_done_fn *done, void *arg, struct err *e)
{
	struct bdev_qos *q = qos_of(b);

	if (q->group)
		return err_set(e, -EBUSY, "block device '%s' is in QoS group '%s'; take it out first", b->name,
		               q->group->name);
	q->group = g;
	resaved(q);
	list_add_tail(&g->members, &q->group_link);
	visit(q, QOS_VISIT_LIMITS, done, arg);
	return 0;
}

/* Cores may look at the group's limits until they were visited. */
struct leaving {
	struct qos_group *group;
	qos_done_fn *done;
	void *arg;
};

static void left(void *arg)
{
	struct leaving *l = arg;

	l->group->leaving--;
	l->done(l->arg);
	free(l);
}

int qos_group_leave(struct qos_group *g, struct bdev *b, qos_done_fn *done, void *arg, struct err *e)
{
	struct bdev_qos *q = b->qos;
	struct leaving *l;

	if (!q || q->group != g)
		return err_set(e, -ENODEV, "block device '%s' is not in QoS group '%s'", b->name, g->name);
	l = base_zalloc(sizeof(*l));
	*l = (struct leaving){ .group = g, .done = done, .arg = arg };
	q->group = NULL;
	resaved(q);
	list_del(&q->group_link);
	g->leaving++;
	visit(q, QOS_VISIT_LIMITS, left, l);
	return 0;
}

struct qos_group *qos_group_of(const struct bdev *b)
{
	return b->qos ? b->qos->group : NULL;
}

int qos_group_free(struct qos_group *g, struct err *e)
{
	if (!list_empty(&g->members))
		return err_set(e, -EBUSY, "QoS group '%s' has block devices in it, such as '%s'; take them out first", g->name,
		               list_first(&g->members, struct bdev_qos, group_link)->bdev->name);
	if (g->leaving)
		return err_set(e, -EBUSY, "a block device is leaving QoS group '%s'; try again", g->name);
	list_del(&g->link);
	free(g);
	return 0;
}

uint64_t qos_group_stamp(const struct qos_group *g)
{
	return g->saved_stamp;
}

uint64_t bdev_qos_stamp(const struct bdev *b)
{
	return b->qos->saved_stamp;
}

struct qos_group *qos_group_first(struct bdev_registry *reg)
{
	return list_first(&reg->qos_groups, struct qos_group, link);
}

struct qos_group *qos_group_next(struct qos_group *g)
{
	return g->link.next == &g->reg->qos_groups ? NULL : list_entry(g->link.next, struct qos_group, link);
}

/* The registry goes, and no device is left. */
void bdev_qos_groups_free(struct bdev_registry *reg)
{
	list_each_safe(l, &reg->qos_groups)
		free(list_entry(l, struct qos_group, link));
}
