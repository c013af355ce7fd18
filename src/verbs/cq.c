/* SPDX-License-Identifier: BSD-3-Clause */
/* cq.c: completion queues: looked at while their core is awake, and whose a completion is.
 *
 * An interrupt that gets lost must not leave I/O hanging: some time after something was posted or completed, a sleeping
 * queue is looked at once more; not again while nothing happens.
 *
 * Hardware knows a queue pair's number. Connections enter their queue's hash by it before they connect, on its core,
 * and leave it there when they are forgotten, so that no lock is needed; what comes of numbers that are not in it is
 * dropped.
 *
 * What is found when the queue is armed, or a connection forgotten, is kept until it is looked at, at once.
 * (When its queue pair is destroyed, the adapter's driver may clean out what is not polled yet, mlx5's does: with
 * shared receives that nobody else would give back. So it is broken first: then nothing comes that is not polled.)
 */
#include "verbs/inside.h"

#include <errno.h>

#define GUARD_NS NS_PER_S
#define LOOK_MAX (4 * VERBS_POLL_MAX) /* completions of one look */
#define BUCKETS_FIRST 64u

static uint32_t look(struct looker *l);
static bool arm(struct looker *l);
static void disarm(struct looker *l);
static void tell(struct verbs_cq *q, struct verbs_wc *wcs, const uint32_t *qps, uint32_t count);
static void keep(struct verbs_cq *q);
static void make_room(struct verbs_cq *q);
static uint32_t tell_kept(struct verbs_cq *q);
static void drop_kept(struct verbs_cq *q, uint32_t at, uint32_t n);
static struct verbs_conn *find(struct verbs_cq *q, uint32_t qp_num);

/* --- control -------------------------------------------------------------------------------------- */

struct verbs_cq *verbs_cq_make(struct verbs_dev *d, uint32_t entries, struct err *e)
{
	uint32_t ret_entries = min_u32(entries, d->info.cq_max);
	struct verbs_cq *q;

	assert(entries);
	if (!verbs_dev_is_there(d)) {
		err_set(e, -ENODEV, "RDMA: adapter %s is gone", d->info.name);
		return NULL;
	}
	q = platform_cq_make(d, &ret_entries, e);
	if (!q)
		return NULL;
	q->dev = d;
	q->core = d->v->core;
	q->entries = ret_entries;
	q->refs = 1;
	q->bucket_count = BUCKETS_FIRST;
	q->buckets = base_zalloc(BUCKETS_FIRST * sizeof(q->buckets[0]));
	verbs_dev_ref(d);
	return q;
}

void verbs_cq_free(struct verbs_cq *q)
{
	assert(!looker_is_started(&q->looker));
	platform_cq_destroy(q);
	verbs_cq_unref(q);
}

void verbs_cq_unref(struct verbs_cq *q)
{
	struct verbs_dev *d = q->dev;

	assert(q->refs);
	if (--q->refs)
		return;
	free(q->buckets);
	free(q->kept);
	free(q->kept_qps);
	platform_cq_free(q);
	verbs_dev_unref(d);
}

/* Every work request of its connections may be complete and not polled yet: one that overflows is broken. */
int verbs_cq_reserve(struct verbs_cq *q, uint32_t entries, struct err *e)
{
	uint32_t need = q->used + entries, max = q->dev->info.cq_max, have = q->entries;
	int rc;

	if (need > max)
		return err_set(e, -ENOSPC, "RDMA: the completion queue of adapter %s would need %u entries, it can have %u; "
		               "use fewer or shorter queues, or more cores", q->dev->info.name, need, max);
	if (need > q->entries) {
		rc = platform_cq_resize(q, min_u32(max, max_u32(need, 2 * q->entries)), &have);
		if (!rc && have < need)
			rc = -ENOSPC;
		if (rc)
			return err_set(e, rc, "RDMA: the completion queue of adapter %s has %u entries, %u are needed, and it does "
			               "not grow: %s", q->dev->info.name, q->entries, need, strerror(-rc));
		q->entries = have;
	}
	q->used = need;
	return 0;
}

void verbs_cq_unreserve(struct verbs_cq *q, uint32_t entries)
{
	assert(q->used >= entries);
	q->used -= entries;
}

/* --- its core ------------------------------------------------------------------------------------- */

int verbs_cq_start(struct verbs_cq *q, verbs_done_fn *done, void *arg)
{
	int rc;

	assert(done);
	q->done = done;
	q->arg = arg;
	q->looker = (struct looker){ .look = look, .arm = arm, .disarm = disarm };
	rc = platform_cq_start(q);
	if (rc)
		return rc;
	atomic_store(&q->reactor, reactor_self());
	looker_start(&q->looker, "RDMA completions");
	return 0;
}

void verbs_cq_stop(struct verbs_cq *q)
{
	if (!looker_is_started(&q->looker))
		return;
	timer_stop(&q->guard);
	looker_stop(&q->looker);
	platform_cq_stop(q);
	q->kept_count = 0;
}

static void count(_Atomic uint64_t *v, uint64_t n)
{
	atomic_store_explicit(v, atomic_load_explicit(v, memory_order_relaxed) + n, memory_order_relaxed);
}

void verbs_cq_get_stats(const struct verbs_cq *q, struct verbs_cq_stats *ret_stats)
{
	*ret_stats = (struct verbs_cq_stats){
		.polls = atomic_load_explicit(&q->stats.polls, memory_order_relaxed),
		.busy_polls = atomic_load_explicit(&q->stats.busy_polls, memory_order_relaxed),
		.completions = atomic_load_explicit(&q->stats.completions, memory_order_relaxed),
		.wakes = atomic_load_explicit(&q->stats.wakes, memory_order_relaxed),
		.late = atomic_load_explicit(&q->stats.late, memory_order_relaxed),
	};
}

static uint32_t poll(struct verbs_cq *q, struct verbs_wc *wcs, uint32_t *qps)
{
	uint32_t found = platform_cq_poll(q, wcs, qps);

	assert(found <= VERBS_POLL_MAX);
	count(&q->stats.polls, 1);
	count(&q->stats.busy_polls, found != 0);
	count(&q->stats.completions, found);
	return found;
}

static uint32_t look(struct looker *l)
{
	struct verbs_cq *q = container_of(l, struct verbs_cq, looker);
	struct verbs_wc wcs[VERBS_POLL_MAX];
	uint32_t qps[VERBS_POLL_MAX], work = 0, found;

	if (unlikely(q->kept_count))
		work += tell_kept(q);
	do {
		if (unlikely(!looker_is_started(l) || q->kept_count))
			break; /* stopped, or a connection was forgotten, from within */
		found = poll(q, wcs, qps);
		work += found;
		if (found)
			tell(q, wcs, qps, found);
	} while (found == VERBS_POLL_MAX && work < LOOK_MAX);
	if (unlikely(q->guarding)) {
		count(&q->stats.late, work != 0);
		q->guarding = false;
	}
	q->expects |= work != 0;
	return work;
}

static void guard(struct timer *t)
{
	struct verbs_cq *q = container_of(t, struct verbs_cq, guard);

	q->guarding = q->looker.armed; /* else it is looked at anyway */
	looker_rang(&q->looker);
}

static bool arm(struct looker *l)
{
	struct verbs_cq *q = container_of(l, struct verbs_cq, looker);

	platform_cq_request_notify(q);
	keep(q);
	if (q->kept_count)
		return true;
	if (q->expects && !timer_is_running(&q->guard)) {
		q->expects = false;
		timer_start(&q->guard, GUARD_NS, guard);
	}
	return false;
}

/* Awake: a ring that comes now is of no harm. */
static void disarm(struct looker *l)
{
}

void verbs_cq_rang(struct verbs_cq *q)
{
	count(&q->stats.wakes, 1);
	q->guarding = false;
	if (looker_is_started(&q->looker))
		looker_rang(&q->looker);
}

/* Whose each is; those of nobody are dropped, but for receives that others share. */
static void tell(struct verbs_cq *q, struct verbs_wc *wcs, const uint32_t *qps, uint32_t found)
{
	uint32_t told = 0;

	for (uint32_t i = 0; i < found; i++) {
		struct verbs_conn *c = find(q, qps[i] & ~VERBS_QP_SHARED);

		if (unlikely(!c && !(qps[i] & VERBS_QP_SHARED)))
			continue;
		if (unlikely(told != i))
			wcs[told] = wcs[i];
		wcs[told].conn = c;
		if (unlikely(!c))
			wcs[told].status = VERBS_FLUSHED;
		told++;
	}
	if (told)
		q->done(q->arg, wcs, told);
}

/* --- what is kept --------------------------------------------------------------------------------- */

/* All there is. As many as the queue has entries, at most. */
static void keep(struct verbs_cq *q)
{
	uint32_t found;

	do {
		if (q->kept_count + VERBS_POLL_MAX > q->kept_room)
			make_room(q);
		found = poll(q, q->kept + q->kept_count, q->kept_qps + q->kept_count);
		q->kept_count += found;
	} while (found == VERBS_POLL_MAX);
}

static void make_room(struct verbs_cq *q)
{
	uint32_t room = q->kept_room ? 2 * q->kept_room : VERBS_POLL_MAX;
	struct verbs_wc *kept = base_zalloc(room * sizeof(kept[0]));
	uint32_t *qps = base_zalloc(room * sizeof(qps[0]));

	for (uint32_t i = 0; i < q->kept_count; i++) {
		kept[i] = q->kept[i];
		qps[i] = q->kept_qps[i];
	}
	free(q->kept);
	free(q->kept_qps);
	q->kept = kept;
	q->kept_qps = qps;
	q->kept_room = room;
}

/* Others may be kept meanwhile, after them. */
static uint32_t tell_kept(struct verbs_cq *q)
{
	struct verbs_wc wcs[VERBS_POLL_MAX];
	uint32_t qps[VERBS_POLL_MAX], work = 0, left = q->kept_count;

	while (left && looker_is_started(&q->looker)) {
		uint32_t part = min_u32(min_u32(left, q->kept_count), VERBS_POLL_MAX);

		memcpy(wcs, q->kept, part * sizeof(wcs[0]));
		memcpy(qps, q->kept_qps, part * sizeof(qps[0]));
		drop_kept(q, 0, part);
		tell(q, wcs, qps, part);
		left -= part;
		left = min_u32(left, q->kept_count);
		work += part;
	}
	return work;
}

static void drop_kept(struct verbs_cq *q, uint32_t at, uint32_t n)
{
	q->kept_count -= n;
	memmove(q->kept + at, q->kept + at + n, (q->kept_count - at) * sizeof(q->kept[0]));
	memmove(q->kept_qps + at, q->kept_qps + at + n, (q->kept_count - at) * sizeof(q->kept_qps[0]));
}

/* It will not be known by its number any more, which another may get. */
static void keep_without(struct verbs_cq *q, uint32_t qp_num)
{
	keep(q);
	for (uint32_t i = 0; i < q->kept_count;) {
		if (q->kept_qps[i] == (qp_num | VERBS_QP_SHARED))
			q->kept_qps[i++] = UINT32_MAX;
		else if (q->kept_qps[i] == qp_num)
			drop_kept(q, i, 1);
		else
			i++;
	}
	if (q->kept_count)
		looker_rang(&q->looker);
}

/* --- whose it is ---------------------------------------------------------------------------------- */

static struct verbs_conn **bucket(struct verbs_cq *q, uint32_t qp_num)
{
	return &q->buckets[(qp_num * 2654435761u >> 7) & (q->bucket_count - 1)];
}

static struct verbs_conn *find(struct verbs_cq *q, uint32_t qp_num)
{
	struct verbs_conn *c = q->last;

	if (likely(c && c->qp_num == qp_num))
		return c;
	for (c = *bucket(q, qp_num); c && c->qp_num != qp_num; c = c->hash_next)
		;
	if (likely(c))
		q->last = c;
	return c;
}

static void put_in(struct verbs_cq *q, struct verbs_conn *c)
{
	struct verbs_conn **b = bucket(q, c->qp_num);

	c->hash_next = *b;
	*b = c;
}

static void grow(struct verbs_cq *q)
{
	struct verbs_conn **old = q->buckets;
	uint32_t old_count = q->bucket_count;

	q->bucket_count *= 2;
	q->buckets = base_zalloc(q->bucket_count * sizeof(q->buckets[0]));
	for (uint32_t i = 0; i < old_count; i++)
		for (struct verbs_conn *c = old[i], *next; c; c = next) {
			next = c->hash_next;
			put_in(q, c);
		}
	free(old);
}

void verbs_cq_enter(struct verbs_cq *q, struct verbs_conn *c)
{
	assert(!c->here);
	if (c->left)
		return;
	if (q->conn_count++ == q->bucket_count)
		grow(q);
	put_in(q, c);
	c->here = true;
}

void verbs_cq_leave(struct verbs_cq *q, struct verbs_conn *c)
{
	struct verbs_conn **at = bucket(q, c->qp_num);

	c->left = true;
	if (!c->here)
		return;
	while (*at != c)
		at = &(*at)->hash_next;
	*at = c->hash_next;
	c->here = false;
	q->conn_count--;
	if (q->last == c)
		q->last = NULL;
	if (c->srq)
		platform_conn_break(c);
	if (looker_is_started(&q->looker))
		keep_without(q, c->qp_num);
}
