/* SPDX-License-Identifier: BSD-3-Clause */
/* locks.c: range locks with one owner core.
 *
 * The owner, reactor 0, keeps the locks that are held and those that wait for them. To grant one it visits every core:
 * the core adds the range to its own list, which makes I/Os that change these blocks wait there (those
 * that find the list empty look at one flag), and answers when the changes that had begun before have
 * ended. Like leases it counts them in two phases, so that others, which go on, do not delay the answer. Giving a
 * lock back visits every core again. Each list is touched on its own core only; everything else is messages.
 */
#include "bdev/locks.h"

struct bdev_locks {
	struct list held, waiting;
};

static void arrived_at_owner(struct msg *m);
static void engage(struct bdev_lock *l);
static void engaged_on_core(struct msg *m);
static void turn(struct bdev_core *core);
static void drained_at_owner(struct msg *m);
static void given_at_owner(struct msg *m);
static void disengaged_on_core(struct msg *m);
static void gone_at_owner(struct msg *m);
static void back_at_asker(struct msg *m);

void bdev_locks_make(struct bdev *b)
{
	b->locks = base_zalloc(sizeof(*b->locks));
	list_init(&b->locks->held);
	list_init(&b->locks->waiting);
}

void bdev_locks_free(struct bdev *b)
{
	must(list_empty(&b->locks->held) && list_empty(&b->locks->waiting));
	free(b->locks);
}

static struct reactor *owner(const struct bdev_lock *l)
{
	return l->bdev->cores[0].reactor;
}

static struct bdev_core *core_here(const struct bdev_lock *l)
{
	return &l->bdev->cores[reactor_index(reactor_self())];
}

static void visit_cores(struct bdev_lock *l, msg_fn *fn)
{
	uint32_t cores = core_reactor_count(l->bdev->reg->core) + 1;

	l->cores_left = cores;
	for (uint32_t i = 0; i < cores; i++)
		msg_send(l->bdev->cores[i].reactor, &l->core[i].msg, fn);
}

static struct bdev_lock *lock_of(struct msg *m)
{
	return container_of(m, struct bdev_lock_core, msg)->lock;
}

static bool overlap(uint64_t a, uint64_t a_count, uint64_t b, uint64_t b_count)
{
	return a < b ? b - a < a_count : a - b < b_count;
}

/* --- taking ----------------------------------------------------------------------------------------------- */

void bdev_lock_take(struct bdev_lock *l, struct bdev *b, uint64_t lba, uint64_t count, bdev_lock_fn *next)
{
	l->bdev = b;
	l->lba = lba;
	l->count = count;
	l->next = next;
	l->from = reactor_self();
	for (uint32_t i = 0; i < ARRAY_SIZE(l->core); i++)
		l->core[i].lock = l;
	msg_send(owner(l), &l->msg, arrived_at_owner);
}

/* Does a lock before `l` in the list, or all of it, stand in l's way? */
static bool stands_in_way(struct list *head, const struct bdev_lock *l)
{
	list_each(pos, head) {
		struct bdev_lock *other = list_entry(pos, struct bdev_lock, link);

		if (other == l)
			return false;
		if (overlap(other->lba, other->count, l->lba, l->count))
			return true;
	}
	return false;
}

static void arrived_at_owner(struct msg *m)
{
	struct bdev_lock *l = container_of(m, struct bdev_lock, msg);
	struct bdev_locks *all = l->bdev->locks;

	if (stands_in_way(&all->held, l) || stands_in_way(&all->waiting, l))
		list_add_tail(&all->waiting, &l->link);
	else
		engage(l);
}

static void engage(struct bdev_lock *l)
{
	list_add_tail(&l->bdev->locks->held, &l->link);
	visit_cores(l, engaged_on_core);
}

static void engaged_on_core(struct msg *m)
{
	struct bdev_lock *l = lock_of(m);
	struct bdev_core *core = core_here(l);

	list_add_tail(&core->locks, &l->core[core->index].link);
	core->locked = true;
	list_add_tail(&core->to_drain, &l->core[core->index].drain_link);
	if (list_empty(&core->draining))
		turn(core);
}

/* All that came since the last turn get this one: changes begin in the other phase, and those of this one run out. */
static void turn(struct bdev_core *core)
{
	uint8_t before = core->phase;

	assert(core->changes[!before] == 0);
	list_splice(&core->draining, &core->to_drain);
	core->phase = !before;
	if (core->changes[before] == 0)
		bdev_locks_drained(core);
}

void bdev_locks_drained(struct bdev_core *core)
{
	struct list *pos;

	while ((pos = list_pop(&core->draining))) {
		struct bdev_lock_core *c = list_entry(pos, struct bdev_lock_core, drain_link);

		msg_send(owner(c->lock), &c->msg, drained_at_owner);
	}
	if (!list_empty(&core->to_drain))
		turn(core);
}

static void drained_at_owner(struct msg *m)
{
	struct bdev_lock *l = lock_of(m);

	if (--l->cores_left == 0)
		msg_send(l->from, &l->msg, back_at_asker);
}

static void back_at_asker(struct msg *m)
{
	struct bdev_lock *l = container_of(m, struct bdev_lock, msg);

	l->next(l);
}

/* --- waiting ---------------------------------------------------------------------------------------------- */

static bool lock_covers(const struct bdev_lock *l, const struct bdev_io *io)
{
	if (io->op == BDEV_PASSTHROUGH)
		return true; /* nobody here knows what it changes */
	if (io->op != BDEV_UNMAP || !io->unmap.range_count)
		return overlap(l->lba, l->count, io->lba, io->count);
	for (uint32_t i = 0; i < io->unmap.range_count; i++)
		if (io->unmap.ranges[i].count &&
		    overlap(l->lba, l->count, io->unmap.ranges[i].lba, io->unmap.ranges[i].count))
			return true;
	return false;
}

bool bdev_locks_block(struct bdev_core *core, struct bdev_io *io)
{
	list_each(pos, &core->locks) {
		struct bdev_lock_core *c = list_entry(pos, struct bdev_lock_core, link);

		if (!lock_covers(c->lock, io))
			continue;
		queue_push(&core->blocked, &io->link);
		bdev_wait_begins("range locks");
		return true;
	}
	return false;
}

/* --- giving back ------------------------------------------------------------------------------------------ */

void bdev_lock_give(struct bdev_lock *l, bdev_lock_fn *next)
{
	l->next = next;
	msg_send(owner(l), &l->msg, given_at_owner);
}

static void given_at_owner(struct msg *m)
{
	visit_cores(container_of(m, struct bdev_lock, msg), disengaged_on_core);
}

static void disengaged_on_core(struct msg *m)
{
	struct bdev_lock *l = lock_of(m);
	struct bdev_core *core = core_here(l);
	struct queue_link *pos = queue_take_all(&core->blocked);

	list_del(&l->core[core->index].link);
	core->locked = !list_empty(&core->locks);
	while (pos) { /* those that another lock covers queue up again, in the same order */
		struct bdev_io *io = container_of(pos, struct bdev_io, link);

		pos = pos->next;
		bdev_wait_ends("range locks", io);
		bdev_admit_again(io->ch, io);
	}
	msg_send(owner(l), &l->core[core->index].msg, gone_at_owner);
}

/* Those that waited for this one go on, unless one before them stands in their way. */
static void grant_waiting(struct bdev_locks *all)
{
	list_each_safe(pos, &all->waiting) {
		struct bdev_lock *l = list_entry(pos, struct bdev_lock, link);

		if (stands_in_way(&all->held, l) || stands_in_way(&all->waiting, l))
			continue;
		list_del(&l->link);
		engage(l);
	}
}

static void gone_at_owner(struct msg *m)
{
	struct bdev_lock *l = lock_of(m);

	if (--l->cores_left)
		return;
	list_del(&l->link);
	grant_waiting(l->bdev->locks);
	msg_send(l->from, &l->msg, back_at_asker);
}
