/* SPDX-License-Identifier: BSD-3-Clause */
/* qos.c: limits on a core: who may go at once, who waits, and until when.
 *
 * A bucket is one atomic word: the time from which the next units can be had. Taking n units moves it by n / rate and
 * returns where it was: the taker may use them from then on, and if that lies ahead it starts a timer for that very
 * moment. So there is nothing to refill and nothing to poll, who takes first goes first, whatever core it is on, and
 * cores that compete get the same. The word never lags behind the clock by more than the burst, which is what an idle
 * device saves up; it also makes up for timers that are late.
 *
 * Where a limit is high a core takes more than the I/O at hand needs, twice as much each time up to its rate's
 * SLICES-th part of a second, and gives back what it has not used in LEASE_NS: cores meet at the word a few
 * thousand times a second at most.
 *
 * What waits holds nothing: no count of changes, no context. It is checked again when it goes on.
 */
#include "bdev/qos_core.h"

#define SLICES 2048u
#define LEASE_NS (2 * NS_PER_MS)

static const uint8_t limits_of[QOS_LINES][QOS_OF_A_LINE] = {
	[QOS_READS] = { QOS_RW_IOS, QOS_R_IOS, QOS_RW_BYTES, QOS_R_BYTES },
	[QOS_WRITES] = { QOS_RW_IOS, QOS_W_IOS, QOS_RW_BYTES, QOS_W_BYTES },
};

#define LIMITED_OPS (BDEV_BIT(READ) | BDEV_BIT(WRITE) | BDEV_BIT(WRITE_ZEROES) | BDEV_BIT(COMPARE) | \
                     BDEV_BIT(VERIFY) | BDEV_BIT(COMPARE_AND_WRITE) | BDEV_BIT(COPY) | BDEV_BIT(PASSTHROUGH))

static void line_pump(struct qos_line *line);
static void line_emptied(struct qos_line *line);

static uint64_t rate_of(const struct qos_bucket *b)
{
	return atomic_load_explicit(&b->rate, memory_order_relaxed);
}

static uint64_t cost_ns(uint64_t units, uint64_t rate)
{
	return (uint64_t)((unsigned __int128)units * NS_PER_S / rate);
}

/* Bytes that move: zeroes that the device writes by itself do not. */
static uint64_t bytes_of(const struct bdev_channel *ch, const struct bdev_io *io)
{
	if (io->op == BDEV_PASSTHROUGH || (io->op == BDEV_WRITE_ZEROES && ch->bdev->native_ops & BDEV_BIT(WRITE_ZEROES)))
		return 0;
	return io->count * ch->block_bytes;
}

/* From when on the units can be used that are taken here. */
static uint64_t bucket_take(struct qos_limits *l, struct qos_bucket *b, uint64_t units, uint64_t rate, uint64_t now_ns)
{
	uint64_t burst_ns = atomic_load_explicit(&l->burst_ns, memory_order_relaxed);
	uint64_t oldest = now_ns > burst_ns ? now_ns - burst_ns : 0, cost = cost_ns(units, rate);
	uint64_t was = atomic_load_explicit(&b->free_at_ns, memory_order_relaxed), from_ns;

	do
		from_ns = max_u64(was, oldest);
	while (!atomic_compare_exchange_weak_explicit(&b->free_at_ns, &was, from_ns + cost, memory_order_relaxed,
	                                              memory_order_relaxed));
	return from_ns;
}

static void lease_give(struct qos_bucket *b, struct qos_lease *lease)
{
	uint64_t rate = rate_of(b);

	if (lease->units && rate) {
		uint64_t cost = cost_ns(lease->units, rate), was = atomic_load_explicit(&b->free_at_ns, memory_order_relaxed);

		while (!atomic_compare_exchange_weak_explicit(&b->free_at_ns, &was, was > cost ? was - cost : 0,
		                                              memory_order_relaxed, memory_order_relaxed))
			;
	}
	*lease = (struct qos_lease){ .units = 0 };
}

/* Enough units for `need`; from when on. */
static uint64_t lease_for(struct qos_limits *l, struct qos_bucket *b, struct qos_lease *lease, uint64_t need,
                          uint64_t rate, uint64_t now_ns)
{
	if (lease->units < need) {
		uint64_t size = max_u64(need, min_u64(2 * lease->size, rate / SLICES));
		uint64_t more = max_u64(need - lease->units, size);

		lease->from_ns = max_u64(lease->from_ns, bucket_take(l, b, more, rate, now_ns));
		lease->units += more;
		lease->size = size;
	}
	lease->until_ns = max_u64(lease->from_ns, now_ns) + LEASE_NS;
	return lease->from_ns;
}

/* When an I/O at the head of its line may go. Its units are there then, and taken off by spend(). */
static uint64_t may_go_at(struct qos_line *line, struct bdev_qos_core *q, const struct bdev_channel *ch,
                          const struct bdev_io *io, uint64_t now_ns)
{
	uint64_t at_ns = 0;

	for (uint32_t s = 0; s < QOS_SETS; s++) {
		struct qos_limits *l = q->sets[s];

		for (uint32_t i = 0; l && i < QOS_OF_A_LINE; i++) {
			enum qos_limit limit = limits_of[line->dir][i];
			uint64_t need = qos_limit_in_bytes(limit) ? bytes_of(ch, io) : 1;
			uint64_t rate = rate_of(&l->bucket[limit]);

			if (rate && need)
				at_ns = max_u64(at_ns, lease_for(l, &l->bucket[limit], &line->leases[s][i], need, rate, now_ns));
		}
	}
	return at_ns;
}

static void spend(struct qos_line *line, struct bdev_qos_core *q, const struct bdev_channel *ch, struct bdev_io *io)
{
	for (uint32_t s = 0; s < QOS_SETS; s++)
		for (uint32_t i = 0; q->sets[s] && i < QOS_OF_A_LINE; i++) {
			enum qos_limit limit = limits_of[line->dir][i];
			uint64_t need = qos_limit_in_bytes(limit) ? bytes_of(ch, io) : 1;

			line->leases[s][i].units -= min_u64(line->leases[s][i].units, need);
		}
	io->waist |= WAIST_PAID;
}

/* Nobody waits: what was taken and not used goes back, all of it or what is old. */
static void leases_return(struct qos_line *line, struct bdev_qos_core *q, uint64_t before_ns)
{
	for (uint32_t s = 0; s < QOS_SETS; s++)
		for (uint32_t i = 0; q->sets[s] && i < QOS_OF_A_LINE; i++) {
			struct qos_lease *lease = &line->leases[s][i];

			if (lease->size && lease->until_ns < before_ns)
				lease_give(&q->sets[s]->bucket[limits_of[line->dir][i]], lease);
		}
}

/* --- in bdev_dispatch() ----------------------------------------------------------------------------------- */

static void line_time(struct timer *t)
{
	line_pump(container_of(t, struct qos_line, timer));
}

static void line_add(struct qos_line *line, struct bdev_io *io)
{
	struct bdev_core *core = line->core;

	bdev_unadmit(io);
	if (!line->first)
		list_add_tail(&core->bdev->reg->throttled[core->index], &line->link);
	if (io->lease)
		io->lease->core[core->index].throttled = &core->bdev->reg->throttled[core->index];
	io->waist |= WAIST_THROTTLED;
	io->device_ctx = line->last;
	io->link.next = NULL;
	if (line->last)
		line->last->link.next = &io->link;
	else
		line->first = io;
	line->last = io;
	line->waits++;
	if (++line->depth > line->depth_max)
		line->depth_max = line->depth;
}

static void reset_waits(struct bdev_core *core, struct bdev_qos_core *q, struct bdev_io *io)
{
	io->waist |= WAIST_PAID;
	bdev_qos_visit_here(core, QOS_VISIT_ABORT);
	if (q->resetting) {
		queue_push(&q->resets_next, &io->link);
		return;
	}
	q->resetting = true;
	queue_push(&q->resets, &io->link);
	msg_send(core_control(core->bdev->reg->core), &q->msg, bdev_qos_reset_on_control);
}

bool bdev_qos_holds(struct bdev_channel *ch, struct bdev_io *io)
{
	struct bdev_core *core = ch->core;
	struct bdev_qos_core *q = core->qos;
	struct qos_line *line;
	uint64_t now_ns = reactor_now_ns(), at_ns;

	if (io->waist & WAIST_PAID)
		return false;
	if (io->op == BDEV_RESET) {
		reset_waits(core, q, io);
		return true;
	}
	if (!(LIMITED_OPS & 1u << io->op))
		return false;
	line = &q->lines[qos_line_of(io->op)];
	if (!line->first) {
		leases_return(line, q, now_ns);
		at_ns = may_go_at(line, q, ch, io, now_ns);
		if (at_ns <= now_ns) {
			spend(line, q, ch, io);
			return false;
		}
		timer_start(&line->timer, at_ns - now_ns, line_time);
	}
	line_add(line, io);
	return true;
}

/* --- going on --------------------------------------------------------------------------------------------- */

static struct bdev_io *line_next(const struct bdev_io *io)
{
	return io->link.next ? container_of(io->link.next, struct bdev_io, link) : NULL;
}

/* From wherever it is: aborting one of thousands costs no more than aborting the only one. */
static void line_take(struct qos_line *line, struct bdev_io *io)
{
	struct bdev_io *before = io->device_ctx, *after = line_next(io);

	if (before)
		before->link.next = io->link.next;
	else
		line->first = after;
	if (after)
		after->device_ctx = before;
	else
		line->last = before;
	io->waist &= (uint16_t)~WAIST_THROTTLED;
	line->depth--;
	bdev_waited(io);
}

/* The head goes when its time has come; all do when the device goes, and hear that. */
static void line_pump(struct qos_line *line)
{
	struct bdev_qos_core *q = line->core->qos;
	uint64_t now_ns = reactor_now_ns();

	while (line->first) {
		struct bdev_io *io = line->first;
		bool goes = atomic_load_explicit(&line->core->bdev->removing, memory_order_relaxed);
		uint64_t at_ns = goes ? 0 : may_go_at(line, q, io->ch, io, now_ns);

		if (at_ns > now_ns) {
			timer_start(&line->timer, at_ns - now_ns, line_time);
			return;
		}
		spend(line, q, io->ch, io);
		line_take(line, io);
		if (!line->first)
			line_emptied(line);
		bdev_admit_again(io->ch, io);
	}
}

static void line_emptied(struct qos_line *line)
{
	timer_stop(&line->timer);
	list_del(&line->link);
}

static void line_end_one(struct qos_line *line, struct bdev_io *io, enum bdev_status st)
{
	line_take(line, io);
	bdev_io_end(io, st);
	if (line->first)
		return;
	line_emptied(line);
	leases_return(line, line->core->qos, UINT64_MAX);
}

/* End those that `ends` chooses; the others keep their order. */
static void line_end(struct qos_line *line, bool (*ends)(const struct bdev_io *io, const void *arg), const void *arg,
                     enum bdev_status st)
{
	for (struct bdev_io *io = line->first, *next; io; io = next) {
		next = line_next(io);
		if (ends(io, arg))
			line_end_one(line, io, st);
	}
}

static bool is_any(const struct bdev_io *io, const void *arg)
{
	return true;
}

static bool is_revoked(const struct bdev_io *io, const void *arg)
{
	return io->lease == arg && !bdev_io_may_land(io);
}

void bdev_qos_abort(struct bdev_io *io)
{
	line_end_one(&io->ch->core->qos->lines[qos_line_of(io->op)], io, BDEV_ST_ABORTED);
}

void bdev_qos_revoked(struct list *throttled, const struct bdev_lease *l)
{
	list_each_safe(pos, throttled)
		line_end(list_entry(pos, struct qos_line, link), is_revoked, l, BDEV_ST_FENCED);
}

/* --- control's visits ------------------------------------------------------------------------------------- */

static struct qos_limits *set_of(struct bdev_qos *q, uint32_t set)
{
	struct qos_limits *l = set == QOS_OWN ? &q->own : bdev_qos_group_limits(q->group);

	for (uint32_t i = 0; l && i < QOS_LIMIT_COUNT; i++)
		if (rate_of(&l->bucket[i]))
			return l;
	return NULL;
}

void bdev_qos_visit_here(struct bdev_core *core, uint32_t actions)
{
	struct bdev_qos *qos = core->bdev->qos;
	struct bdev_qos_core *q = &qos->cores[core->index];

	core->qos = q;
	if (actions & QOS_VISIT_LIMITS) {
		for (uint32_t i = 0; i < QOS_SETS; i++)
			q->sets[i] = set_of(qos, i);
		for (uint32_t i = 0; i < QOS_LINES; i++)
			memset(q->lines[i].leases, 0, sizeof(q->lines[i].leases));
		bdev_core_long_way(core, LONG_QOS, q->sets[QOS_OWN] || q->sets[QOS_GROUP]);
	}
	for (uint32_t i = 0; i < QOS_LINES; i++) {
		if (actions & QOS_VISIT_ABORT)
			line_end(&q->lines[i], is_any, NULL, BDEV_ST_ABORTED);
		line_pump(&q->lines[i]);
	}
}
