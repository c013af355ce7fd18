/* SPDX-License-Identifier: BSD-3-Clause */
/* remote_next.c: the queue pair that a lane will have: its connection made early, or kept warm, or tried again after it
 * could not be made.
 *
 * Early: while control logs in on the admin queue, cores that will need a queue connect and negotiate, so that one
 * round trip is left when the controller is ready. Warm (an option): a core that has not used the path keeps such a
 * connection.
 *
 * Refused: a target may grant a queue and not take it, or not now. That is no reason to take down a path whose other
 * queues work: the lane goes by another core's, and is tried again, after a second, two, ... a minute. Only when no
 * core's could be made the path is in trouble. Each lane publishes that it was refused before it looks at the others,
 * so of several that are refused at once the last one sees it.
 */
#include "backends/remote/remote_core.h"

#include <errno.h>

#define RETRY_FIRST_NS NS_PER_S
#define RETRY_DOUBLES 6u            /* up to about a minute */

static void retry_due(struct timer *t);
static void look_for_another(struct remote_lane *l);

/* --- early and warm ----------------------------------------------------------------------------------------- */

static bool keeps_warm(const struct remote_lane *l)
{
	return l->path->group->remote->opts.warm_connections;
}

static void make_next(struct remote_lane *l, const struct nvme_login *login)
{
	struct nvme_login nameless = *login;

	nameless.cntlid = NVME_CNTLID_DYNAMIC;
	l->next_logs_in = false;
	remote_count_add(&l->counts[REMOTE_LANE_EARLY], 1);
	l->next = remote_lane_connect(l, &nameless);
}

void remote_next_early(struct msg *m)
{
	struct remote_lane *l = container_of(m, struct remote_lane, early_msg);
	const struct nvme_login *login = &l->path->early_login;

	assert(!l->up && !l->told_early && !l->next);
	l->told_early = true;
	if (l->core_index < login->opts.io_queues && (keeps_warm(l) || !list_empty(&remote_core_of(l)->channels)))
		make_next(l, login);
}

void remote_next_up(struct remote_lane *l)
{
	bool keep = keeps_warm(l) && l->state == REMOTE_LANE_CLOSED_STATE && l->core_index < remote_lane_queues(l);
	struct nvme_login login;

	l->told_early = false;
	if (!keep) {
		remote_next_close(l);
	} else if (!l->next) {
		login = remote_lane_login(l);
		make_next(l, &login);
	}
}

void remote_next_close(struct remote_lane *l)
{
	struct nvme_qpair *qp = l->next;

	timer_stop(&l->retry);
	l->next = NULL;
	if (qp)
		nvme_qpair_close(qp);
}

bool remote_next_take(struct remote_lane *l, const struct nvme_login *login)
{
	timer_stop(&l->retry);
	if (!l->next)
		return false;
	l->qp = l->next;
	l->next = NULL;
	l->from_next = true;
	nvme_qpair_login(l->qp, login, (uint16_t)(l->core_index + 1));
	return true;
}

/* --- refused ------------------------------------------------------------------------------------------------ */

static void try_later(struct remote_lane *l)
{
	uint64_t delay_ns = RETRY_FIRST_NS << min_u32(l->refusals, RETRY_DOUBLES);

	if (l->refusals < UINT8_MAX)
		l->refusals++;
	timer_start(&l->retry, delay_ns - delay_ns / 4 + core_random_u64() % (delay_ns / 2), retry_due);
}

void remote_next_told(struct remote_lane *l, const struct err *e)
{
	struct nvme_qpair *qp = l->next;

	l->next = NULL;
	if (e || (l->next_logs_in && l->state != REMOTE_LANE_OPEN_STATE)) {
		if (e && l->next_logs_in)
			remote_count_add(&l->counts[REMOTE_LANE_REFUSED], 1);
		if (l->up)
			try_later(l);
		nvme_qpair_close(qp);
		return;
	}
	/* What is with the other core comes home from there. */
	assert(l->next_logs_in && !l->qp);
	l->qp = qp;
	l->via = NULL;
	l->refusals = 0;
	remote_count_add(&l->counts[REMOTE_LANE_OPENED], 1);
	remote_lane_news(l, REMOTE_NEWS_OPENED);
	remote_lane_opened(l);
}

/* Warm: another one. Refused: the real one. */
static void retry_due(struct timer *t)
{
	struct remote_lane *l = container_of(t, struct remote_lane, retry);
	struct nvme_login login = remote_lane_login(l);

	assert(l->up && !l->next);
	if (l->state == REMOTE_LANE_CLOSED_STATE) {
		make_next(l, &login);
	} else if (l->via && l->state == REMOTE_LANE_OPEN_STATE) {
		l->next_logs_in = true;
		l->next = remote_lane_connect(l, &login);
	}
}

void remote_lane_refused(struct remote_lane *l, enum nvme_reason reason, const struct err *e)
{
	assert(l->state == REMOTE_LANE_REFUSED_STATE);
	remote_count_add(&l->counts[REMOTE_LANE_REFUSED], 1);
	if (!l->refused_told) {
		l->refused_told = true;
		l->refused_reason = reason;
		l->refused_err = *e;
		remote_lane_news(l, REMOTE_NEWS_REFUSED);
	}
	try_later(l);
	look_for_another(l);
}

/* How good another core's queue pair is to go by. One that is not there yet is opened by the first that goes there; not
 * for a target that says nothing, so that what takes a time-out takes one. */
static uint32_t worth(const struct remote_lane *l, const struct remote_lane *other)
{
	if (other == l || other->core_index >= remote_lane_queues(l))
		return 0;
	switch ((enum remote_lane_state)atomic_load(&other->public_state)) {
	case REMOTE_LANE_OPEN_STATE:    return 3;
	case REMOTE_LANE_OPENING_STATE: return 2;
	case REMOTE_LANE_CLOSED_STATE:  return l->refused_reason == NVME_REASON_LOGIN_REFUSED;
	default:                        return 0;
	}
}

/* Beginning with the next core, so that several do not all go by the same. */
static void look_for_another(struct remote_lane *l)
{
	uint32_t count = remote_core_count(l->path->group->remote), best = 0;
	struct remote_lane *found = NULL;
	struct err e = l->refused_err;

	for (uint32_t i = 1; i < count; i++) {
		struct remote_lane *other = &l->path->lanes[(l->core_index + i) % count];
		uint32_t is = worth(l, other);

		if (is > best) {
			best = is;
			found = other;
		}
	}
	if (found) {
		l->via = found;
		remote_lane_opened(l);
		return;
	}
	remote_lane_set_state(l, REMOTE_LANE_ENDED_STATE);
	remote_lane_forget(l);
	remote_next_close(l);
	remote_lane_trouble(l, l->refused_reason, &e);
}

/* The other core's was refused too, and goes by a third. */
void remote_lane_look_via(struct remote_lane *l)
{
	uint8_t state;

	if (!l->via || l->state != REMOTE_LANE_OPEN_STATE)
		return;
	state = atomic_load_explicit(&l->via->public_state, memory_order_relaxed);
	if (likely(state != REMOTE_LANE_REFUSED_STATE && state != REMOTE_LANE_BY_ANOTHER_STATE))
		return;
	if (!l->refused_told) { /* one that never had a queue of its own */
		l->refused_reason = NVME_REASON_LOGIN_REFUSED;
		err_set(&l->refused_err, -ECONNREFUSED, "%s: none of its I/O queues can be used", l->path->group->name);
	}
	look_for_another(l);
}
