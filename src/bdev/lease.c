/* SPDX-License-Identifier: BSD-3-Clause */
/* lease.c: revoke what an initiator began, and answer when none of it can land.
 *
 * Revoking advances the epoch: from then on an I/O of an older one is refused wherever it is looked at. What a device
 * already has must end first. Every core counts the I/Os of a lease in two phases; a revocation visits
 * every core, turns the phase there and waits until the count of the phase before is zero, so that I/O of the new
 * epoch, which goes on, never delays the answer. Revocations that meet on one core while it drains take the next turn
 * together. Everything of a core is touched on that core only.
 */
#include "bdev/bdev_waist.h"

static void revoke_on_core(struct msg *m);
static void turn(struct bdev_lease *l, uint32_t core_index);
static void answer(struct bdev_lease_revoke *r);
static void answered(struct msg *m);

void bdev_lease_init(struct bdev_lease *l)
{
	memset(l, 0, sizeof(*l));
	atomic_init(&l->epoch, 1);
}

void bdev_lease_revoke(struct core *core, struct bdev_lease *l, struct bdev_lease_revoke *r,
                       void (*done)(struct bdev_lease_revoke *r))
{
	uint32_t cores = core_reactor_count(core) + 1;

	memset(r, 0, sizeof(*r));
	r->lease = l;
	r->done = done;
	r->from = reactor_self();
	atomic_store(&r->cores_left, cores);
	atomic_fetch_add(&l->epoch, 1);
	for (uint32_t i = 0; i + 1 < cores; i++)
		msg_send(core_reactor(core, i), &r->msgs[i], revoke_on_core);
	msg_send(core_control(core), &r->msgs[cores - 1], revoke_on_core);
}

static void revoke_on_core(struct msg *m)
{
	uint32_t index = reactor_index(reactor_self());
	struct bdev_lease_revoke *r = container_of(m - index, struct bdev_lease_revoke, msgs);
	struct bdev_lease *l = r->lease;

	r->next[index] = l->core[index].queued;
	l->core[index].queued = r;
	if (l->core[index].throttled) /* before the turn: its answer may be the last that the lease waits for */
		bdev_qos_revoked(l->core[index].throttled, l);
	if (!l->core[index].draining)
		turn(l, index);
}

/* All that wait for a turn get this one. */
static void turn(struct bdev_lease *l, uint32_t core_index)
{
	uint8_t before = l->core[core_index].phase;

	assert(l->core[core_index].in_flight[!before] == 0);
	l->core[core_index].draining = l->core[core_index].queued;
	l->core[core_index].queued = NULL;
	l->core[core_index].phase = !before;
	if (l->core[core_index].in_flight[before] == 0)
		bdev_lease_leave(l, core_index, before);
}

/* An I/O of the lease ended (its count is taken off here unless it is zero already: a turn that had nothing to
 * wait for). */
void bdev_lease_leave(struct bdev_lease *l, uint32_t core_index, uint8_t phase)
{
	struct bdev_lease_revoke *r, *next;

	if (l->core[core_index].in_flight[phase])
		l->core[core_index].in_flight[phase]--;
	if (likely(l->core[core_index].in_flight[phase] || phase == l->core[core_index].phase))
		return;
	r = l->core[core_index].draining;
	l->core[core_index].draining = NULL;
	if (l->core[core_index].queued)
		turn(l, core_index);
	/* The lease may be freed by whom the last answer reaches. */
	for (; r; r = next) {
		next = r->next[core_index];
		answer(r);
	}
}

static void answer(struct bdev_lease_revoke *r)
{
	struct reactor *from = r->from;

	if (atomic_fetch_sub(&r->cores_left, 1) == 1)
		msg_send(from, &r->done_msg, answered);
}

static void answered(struct msg *m)
{
	struct bdev_lease_revoke *r = container_of(m, struct bdev_lease_revoke, done_msg);

	r->done(r);
}
