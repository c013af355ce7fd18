/* SPDX-License-Identifier: BSD-3-Clause */
/* remote_turns.c: how many controllers log in at once.
 *
 * A target that comes back finds all its hosts at the door; a few at a time are done sooner than all together.
 * Waiting for a SYN to be answered costs nothing and takes no turn. A turn is for those who get on: after a while it is
 * over, and the attempt goes on without one. Whoever ended in silence the last time (`slow`) may have only half of the
 * turns. So mute peers cannot hold up the others.
 */
#include "backends/remote/remote_ctl.h"

/* A login takes a few milliseconds where the target is well. */
#define TURN_NS (100 * NS_PER_MS)

static void grant_some(struct msg *m);
static void turn_over(struct timer *t);

void remote_turns_init(struct remote_turns *t, uint32_t max)
{
	*t = (struct remote_turns){ .max = max };
	list_init(&t->waiting);
	list_init(&t->waiting_slow);
}

/* Later, by message: nobody is called back from within his own call. */
static void look_again(struct remote_turns *t)
{
	if (t->again_sent)
		return;
	t->again_sent = true;
	msg_send(reactor_self(), &t->again, grant_some);
}

void remote_turn_take(struct remote_turns *t, struct remote_turn *turn, bool slow,
                      void (*granted)(struct remote_turn *t))
{
	assert(!turn->waits && !turn->has);
	turn->waits = true;
	turn->slow = slow;
	turn->granted = granted;
	list_add_tail(slow ? &t->waiting_slow : &t->waiting, &turn->link);
	t->waits += t->has == t->max;
	look_again(t);
}

void remote_turn_give(struct remote_turns *t, struct remote_turn *turn)
{
	if (turn->waits) {
		list_del(&turn->link);
		turn->waits = false;
	} else if (turn->has) {
		timer_stop(&turn->timer);
		turn->has = false;
		t->has--;
		t->has_slow -= turn->slow;
		look_again(t);
	}
}

static struct remote_turn *next_turn(struct remote_turns *t)
{
	struct list *l = list_pop(&t->waiting);

	if (!l && t->has_slow < t->max / 2)
		l = list_pop(&t->waiting_slow);
	return l ? list_entry(l, struct remote_turn, link) : NULL;
}

static void grant_some(struct msg *m)
{
	struct remote_turns *t = container_of(m, struct remote_turns, again);
	struct remote_turn *turn;

	t->again_sent = false;
	while (t->has < t->max && (turn = next_turn(t))) {
		turn->waits = false;
		turn->has = true;
		t->has++;
		t->has_slow += turn->slow;
		turn->of = t;
		timer_start(&turn->timer, TURN_NS, turn_over);
		turn->granted(turn);
	}
}

static void turn_over(struct timer *timer)
{
	struct remote_turn *turn = container_of(timer, struct remote_turn, timer);

	remote_turn_give(turn->of, turn);
}
