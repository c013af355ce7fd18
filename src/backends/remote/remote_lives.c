/* SPDX-License-Identifier: BSD-3-Clause */
/* remote_lives.c: when may writes of a path's ended life go out again?
 *
 * Cores keep in limbo what was sent and not answered when a life ended. It is released at once when nothing of that
 * life can land any more; else when the time is over in which it might. Several lives may wait, each for its own
 * time.
 */
#include "backends/remote/remote_ctl.h"

static void limbo_due(struct timer *t);
static void replayed(struct remote_path *p);

/* How long a target may go on with what it got from a host that it does not hear any more: the keep-alive time until
 * it can know, once more with traffic based keep alive (it may have looked just before), and once until it has acted,
 * and then what it says it needs to quiesce its commands. */
static uint64_t safe_after_ns(const struct remote_path *p)
{
	return (uint64_t)p->ctl->kato_ms * (p->ctl->traffic_based ? 3 : 2) * NS_PER_MS + p->ctl->cqt_ms * NS_PER_MS;
}

void remote_lives_ended(struct remote_path *p)
{
	struct remote_path_ctl *ctl = p->ctl;
	bool at_once = ctl->fenced || p->group->remote->opts.write_replay_immediate;
	uint64_t due_ns = reactor_now_ns() + (at_once ? 0 : safe_after_ns(p));
	struct remote_instance who = ctl->who;

	if (!p->left_in_limbo && !ctl->replaying) { /* nor of an older life */
		ctl->life_count = 0;
		timer_stop(&ctl->limbo);
		return;
	}
	/* A fence is of this life's controller only: older lives were other controllers' of the target, and keep
	 * their time. */
	if (ctl->life_count == REMOTE_LIVES_MAX) { /* the newest two together, when both are safe */
		due_ns = max_u64(due_ns, ctl->lives[--ctl->life_count].due_ns);
		who = (struct remote_instance){ 0 };
	}
	ctl->lives[ctl->life_count++] = (struct remote_life){ .life = p->life, .due_ns = due_ns, .who = who };
	remote_lives_look(p);
	remote_fence_look(p);
}

static void limbo_due(struct timer *t)
{
	container_of(t, struct remote_path_ctl, limbo)->waited_out++;
	remote_lives_look(container_of(t, struct remote_path_ctl, limbo)->path);
}

/* Release the lives that are due, newest first: that releases the older ones with it. */
void remote_lives_look(struct remote_path *p)
{
	struct remote_path_ctl *ctl = p->ctl;
	uint64_t now = reactor_now_ns();
	uint32_t due = 0, life = 0;

	if (ctl->replaying)
		return;
	/* A group that goes has no disks any more, or takes them their I/O: nothing is in limbo. */
	while (due < ctl->life_count && (ctl->lives[due].due_ns <= now || ctl->limbo_over))
		life = ctl->lives[due++].life;
	if (due) {
		ctl->life_count -= due;
		memmove(ctl->lives, ctl->lives + due, ctl->life_count * sizeof(ctl->lives[0]));
		ctl->replaying = true;
		timer_stop(&ctl->limbo);
		remote_lanes_replay(p, life, replayed);
	} else if (ctl->life_count) {
		timer_start(&ctl->limbo, ctl->lives[0].due_ns - now, limbo_due);
	} else if (p->state == REMOTE_PATH_GONE) {
		remote_path_look(p);
	}
}

static void replayed(struct remote_path *p)
{
	p->ctl->replaying = false;
	remote_lives_look(p);
}
