/* SPDX-License-Identifier: BSD-3-Clause */
/* carry_test.c: what is carried arrives as it left, once and whole; or stays as it was; who asked hears of it in any
 * case. */
#include <errno.h>

#include "core/carry.h"
#include "core/rig_test.h"

#define SECRET 0x5ec3e7u

struct thing {
	struct carry move;
	uint32_t secret, in_hand;
	uint32_t asked, stayed, left, arrived, lives;
	struct carry_home home;
	struct reactor *where; /* NULL: between two cores */
	struct timer later;
};
static struct thing thing;
static struct { uint32_t count; int rc[4]; } heard;
static struct msg start_msg;

static struct thing *thing_of(struct carry *c) { return container_of(c, struct thing, move); }

static bool may_leave(struct carry *c)
{
	check(thing_of(c)->where == reactor_self());
	thing_of(c)->asked++;
	return !thing_of(c)->in_hand;
}

static void stay(struct carry *c)
{
	check(!carry_is_wanted(c));
	thing_of(c)->stayed++;
}

static void leave(struct carry *c, struct reactor *to, struct freeze *f)
{
	struct thing *t = thing_of(c);

	check(t->where == reactor_self() && to == rig_last());
	freeze_u32(f, "secret", &t->secret);
	t->secret = 0;
	t->where = NULL;
	t->left++;
	carry_look_soon(c); /* something ends while it is forgotten: that must not reach back for it */
}

static void arrive(struct carry *c, struct freeze *f)
{
	struct thing *t = thing_of(c);

	check(!t->where && reactor_self() == rig_last() && !f->err.code && f->thawing);
	t->where = reactor_self();
	freeze_u32(f, "secret", &t->secret);
	t->arrived++;
}

static void live(struct carry *c)
{
	check(thing_of(c)->where == reactor_self() && !carry_is_wanted(c));
	thing_of(c)->lives++;
}

static struct carry_ops ops = { .what = "a thing", .may_leave = may_leave, .stay = stay, .leave = leave,
	.arrive = arrive, .live = live };

/* The test ends with the answer number `*arg`. */
static void done(void *arg, int rc)
{
	check(reactor_self() == core_reactor(rig.core, 0));
	heard.rc[heard.count++] = rc;
	if (heard.count == *(uint32_t *)arg)
		rig_stop();
}

static uint32_t one = 1, four = 4;

static void on_first_core(void *arg)
{
	thing.where = core_reactor(rig.core, 0);
	msg_send(thing.where, &start_msg, start_msg.fn);
}

static void run(msg_fn *on_core, uint32_t patience_ms)
{
	memset(&heard, 0, sizeof(heard));
	memset(&thing, 0, sizeof(thing));
	thing.secret = SECRET;
	ops.patience_ms = patience_ms;
	start_msg.fn = on_core;
	rig_run(2, CORE_INTERRUPT, on_first_core);
}

static void go(struct msg *m)
{
	carry_start(&thing.move, &ops, rig_last(), true, done, &one);
	check(carry_is_wanted(&thing.move));
}

static void arrives_as_it_left(void **state)
{
	run(go, 60000);
	assert_int_equal(heard.rc[0], 0);
	assert_true(thing.left == 1 && thing.arrived == 1 && thing.lives == 1 && !thing.stayed);
	assert_int_equal(thing.secret, SECRET);
}

static void end_in_hand(struct timer *t)
{
	check(!thing.left);
	thing.in_hand = 0;
	carry_look_soon(&thing.move);
}

static struct {
	struct msg msgs[6], arrive;
	uint32_t read, newest[2]; /* of those sent before it left, and after */
} letters;

static void read_letter(struct msg *m)
{
	uint32_t n = (uint32_t)(m - letters.msgs);

	if (!carry_met(&thing.home, m, read_letter))
		return;
	check(reactor_self() == rig_last() && thing.where == rig_last() && letters.newest[n / 3] == n % 3);
	letters.newest[n / 3]++;
	if (++letters.read == ARRAY_SIZE(letters.msgs))
		rig_stop();
}

static void come(struct msg *m)
{
	thing.where = reactor_self();
	carry_came(&thing.home);
}

/* Some are read at its old core, when it has gone; some reach the new one before it. */
static void send_letters(struct msg *m)
{
	carry_begins(&thing.home, reactor_self());
	for (uint32_t i = 0; i < 3; i++)
		carry_send(&thing.home, &letters.msgs[i], read_letter);
	carry_goes(&thing.home, rig_last());
	thing.where = NULL;
	for (uint32_t i = 3; i < 6; i++)
		carry_send(&thing.home, &letters.msgs[i], read_letter);
	msg_send(rig_last(), &letters.arrive, come);
}

static void messages_follow_it(void **state)
{
	run(send_letters, 60000);
	assert_int_equal(letters.read, ARRAY_SIZE(letters.msgs));
}

static void go_with_work_in_hand(struct msg *m)
{
	thing.in_hand = 1;
	go(m);
	timer_start(&thing.later, NS_PER_MS, end_in_hand);
}

static void waits_for_what_is_in_hand(void **state)
{
	run(go_with_work_in_hand, 60000);
	assert_int_equal(heard.rc[0], 0);
	assert_true(thing.asked >= 2 && thing.left == 1 && thing.lives == 1);
}

static void go_with_endless_work(struct msg *m)
{
	thing.in_hand = 1;
	go(m);
}

static void stays_when_that_takes_too_long(void **state)
{
	run(go_with_endless_work, 1);
	assert_int_equal(heard.rc[0], -EBUSY);
	assert_true(thing.stayed == 1 && !thing.left && thing.secret == SECRET);
}

static void go_in_vain(struct msg *m)
{
	carry_start(&thing.move, &ops, rig_last(), false, done, &four);
	carry_start(&thing.move, &ops, reactor_self(), true, done, &four);
	check(!carry_is_wanted(&thing.move));
	carry_look_soon(&thing.move);
	thing.in_hand = 1;
	carry_start(&thing.move, &ops, rig_last(), true, done, &four);
	carry_start(&thing.move, &ops, rig_last(), true, done, &four);
	carry_cancel(&thing.move);
}

static void is_refused(void **state)
{
	run(go_in_vain, 60000);
	assert_int_equal(heard.rc[0], -ENOTCONN);
	assert_int_equal(heard.rc[1], -EALREADY);
	assert_int_equal(heard.rc[2], -EALREADY); /* the second, while the first waits */
	assert_int_equal(heard.rc[3], -ENOTCONN);
	assert_false(thing.left);
}

static void go_and_end(struct msg *m)
{
	go(m);
	carry_cancel(&thing.move);
	carry_cancel(&thing.move);
	memset(&thing, 0xaa, sizeof(thing)); /* freed */
}

static void may_be_freed_when_cancelled(void **state)
{
	run(go_and_end, 1);
	assert_int_equal(heard.count, 1);
	assert_int_equal(heard.rc[0], -ENOTCONN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(arrives_as_it_left),
		cmocka_unit_test(messages_follow_it),
		cmocka_unit_test(waits_for_what_is_in_hand),
		cmocka_unit_test(stays_when_that_takes_too_long),
		cmocka_unit_test(is_refused),
		cmocka_unit_test(may_be_freed_when_cancelled),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
