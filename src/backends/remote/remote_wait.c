/* SPDX-License-Identifier: BSD-3-Clause */
/* remote_wait.c: I/O that waits in a channel: for a path, or for the time at which it is tried again.
 *
 * Who waits for a path is woken by a new view, by a lane that opens, and, when a path had just answered that it cannot,
 * by a timer. Whether waiting makes sense at all is control's to say: the view calls a disk hopeless, and then its
 * line ends.
 */
#include "backends/remote/remote_core.h"
#include "core/waits.h"

#define AVOID_NS (100 * NS_PER_MS)
#define LINE_BUDGET 128u        /* of one visit */
#define WAITS_AT_MOST 4u        /* times fast_io_fail_timeout */
#define LOSSES_AT_ONCE 3u       /* of its connection, before an I/O waits */
#define LOSS_DELAY_NS (100 * NS_PER_MS)
#define LOSS_DELAY_DOUBLES 5u

static const char wait_path_name[] = "path of a remote disk", wait_later_name[] = "retry of a remote disk";

static bool is_hopeless(const struct remote_channel *c)
{
	const struct remote_view_disk *vd = remote_view_disk_of(c);

	return vd && vd->hopeless;
}

/* A path that comes and goes, and serves nothing in between, is never lost for long: control cannot call that
 * hopeless. But nobody waits several times as long as a lost path may keep him waiting; looked at whenever he tries
 * again. */
static bool waited_enough(const struct remote_channel *c, const struct remote_io *r)
{
	const struct remote_view *v = c->core->view;
	uint64_t longest_s = 0;

	for (uint32_t i = 0; v && i < REMOTE_PATHS_MAX; i++) {
		if (!v->paths[i])
			continue;
		if (!v->paths[i]->opts.fast_io_fail_timeout_sec)
			return false;
		longest_s = max_u64(longest_s, v->paths[i]->opts.fast_io_fail_timeout_sec);
	}
	return longest_s && reactor_now_ns() - r->io->began_ns > WAITS_AT_MOST * longest_s * NS_PER_S;
}

void remote_wait_path(struct remote_channel *c, struct remote_io *r)
{
	if (is_hopeless(c) || waited_enough(c, r)) {
		remote_end(r, BDEV_ST_TIMED_OUT);
		return;
	}
	r->place = REMOTE_IN_LINE;
	r->began_ns = reactor_now_ns();
	list_add_tail(&c->line, &r->link);
	wait_began(wait_path_name);
}

static void later_due(struct timer *t)
{
	struct remote_io *r = container_of(t, struct remote_io, timer);

	remote_unwait(r);
	remote_go_again(r->channel, r);
}

void remote_wait_later(struct remote_channel *c, struct remote_io *r, uint64_t delay_ns)
{
	r->place = REMOTE_LATER;
	r->began_ns = reactor_now_ns();
	list_add_tail(&c->later, &r->link);
	wait_began(wait_later_name);
	timer_start(&r->timer, delay_ns, later_due);
}

/* Its connection ended. That one of those that were out is what ends it, each time, is rare, but then it would keep
 * all others from getting on, for it is sent again with them. So who was out several times waits a while, each as long
 * as chance has it. */
void remote_go_after_loss(struct remote_channel *c, struct remote_io *r)
{
	uint32_t more;

	r->losses = (uint8_t)min_u32(r->losses + r->op.sent, UINT8_MAX);
	if (r->losses <= LOSSES_AT_ONCE) {
		remote_go_again(c, r);
		return;
	}
	more = min_u32(r->losses - LOSSES_AT_ONCE - 1u, LOSS_DELAY_DOUBLES);
	remote_wait_later(c, r, core_random_u64() % (LOSS_DELAY_NS << more) + 1);
}

void remote_unwait(struct remote_io *r)
{
	assert(r->place == REMOTE_IN_LINE || r->place == REMOTE_LATER);
	timer_stop(&r->timer);
	list_del(&r->link);
	wait_ended(r->place == REMOTE_LATER ? wait_later_name : wait_path_name, r->began_ns);
	r->place = REMOTE_AT_LANE;
}

static void line_more(struct defer *d)
{
	remote_line_run(container_of(d, struct remote_channel, line_more));
}

/* In order, until one finds no path: it stays at the head, as the oldest. */
void remote_line_run(struct remote_channel *c)
{
	for (uint32_t i = 0; i < LINE_BUDGET && !list_empty(&c->line); i++) {
		struct remote_io *r = list_first(&c->line, struct remote_io, link);

		remote_unwait(r);
		remote_go_again(c, r);
		if (r->place == REMOTE_IN_LINE) {
			list_del(&r->link);
			list_add_head(&c->line, &r->link);
			return;
		}
	}
	if (!list_empty(&c->line))
		defer_run(&c->line_more, line_more);
}

void remote_waiting_end(struct remote_channel *c, enum bdev_status st)
{
	struct list all, *link;

	list_init(&all);
	list_splice(&all, &c->line);
	list_splice(&all, &c->later);
	while ((link = list_pop(&all))) {
		struct remote_io *r = list_entry(link, struct remote_io, link);

		remote_unwait(r);
		remote_end(r, st);
	}
}

/* --- paths that said no ------------------------------------------------------------------------------------- */

static void avoided_long_enough(struct timer *t)
{
	struct remote_channel *c = container_of(t, struct remote_channel, again);

	c->avoid = 0;
	c->lane = NULL;
	remote_line_run(c);
}

void remote_avoid(struct remote_channel *c, uint8_t path)
{
	c->avoid |= (uint16_t)(1u << path);
	c->lane = NULL;
	if (!timer_is_running(&c->again))
		timer_start(&c->again, AVOID_NS, avoided_long_enough);
}

/* --- faults that a person asked for ------------------------------------------------------------------------- */

bool remote_injection_take(struct remote_injection *x)
{
	uint32_t left = atomic_load_explicit(&x->left, memory_order_relaxed);

	while (left)
		if (atomic_compare_exchange_weak(&x->left, &left, left - 1))
			return true;
	return false;
}

static void injected_due(struct timer *t)
{
	struct remote_io *r = container_of(t, struct remote_io, timer);
	struct remote_lane *l = r->lane;

	r->op.sent = false;
	r->op.cpl = (struct nvme_cqe){ 0 };
	l->away--;
	remote_ended(r);
	remote_lane_look_down(l);
}

bool remote_injected(struct remote_lane *l, struct remote_io *r)
{
	struct remote_injection *x = atomic_load_explicit(&l->path->injections, memory_order_acquire);

	while (x && (x->admin || x->opc != r->op.cmd.opc || !remote_injection_take(x)))
		x = x->next;
	if (!x)
		return false;
	r->inject = x->status;
	if (!x->do_not_submit)
		return false;
	r->place = REMOTE_INJECTED;
	l->away++;
	timer_start(&r->timer, x->timeout_us * NS_PER_US, injected_due);
	return true;
}
