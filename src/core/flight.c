/* SPDX-License-Identifier: BSD-3-Clause */
/* flight.c: the flight recorder: the last slow I/Os of each core, and the slowest of each second, with names and
 * the time of each stage. Always on: what is fast costs two comparisons, and only when it took longer than a pass.
 *
 * Slow is what takes longer than the limit that was set, or, without one, a multiple of the mean of this core that
 * follows it, but at least a millisecond.
 */
#include "core/stages.h"

#define PLACES (FLIGHT_SLOW + FLIGHT_SECONDS + 1) /* the last: this second's candidate */

static void close_second(struct flight *f, uint64_t now_ns);

static struct flight_io *at(const struct flight *f, uint64_t place)
{
	return (struct flight_io *)(void *)(f->ios + place * f->size);
}
_Static_assert(PLACES <= FLIGHT_IOS_MAX, "who reads has room for all");

static uint64_t limit_of(const struct flight *f)
{
	uint64_t set = atomic_load_explicit(f->set_limit_ns, memory_order_relaxed);

	return set ? set : max_u64(FLIGHT_SLOW_MIN_NS, f->mean_ns * FLIGHT_SLOW_MEANS);
}

static void keep(struct flight *f, struct flight_io *io, const void *command, const uint64_t stage_ns[STAGE_COUNT],
                 uint64_t total_ns, uint8_t why)
{
	memset(io, 0, f->size);
	*io = (struct flight_io){ .number = f->numbers, .at_ns = reactor_now_ns(), .at_us = core_wall_us(),
		.total_ns = total_ns, .core = reactor_index(reactor_self()), .why = why };
	memcpy(io->stage_ns, stage_ns, sizeof(io->stage_ns));
	f->fill(io, command);
}

void flight_note(struct flight *f, const void *command, const uint64_t stage_ns[static STAGE_COUNT], uint64_t total_ns,
                 uint8_t why)
{
	uint64_t now_ns = reactor_now_ns();

	f->numbers++;
	if (!f->ios)
		f->ios = base_zalloc(PLACES * f->size);
	if (now_ns - f->second_ns >= NS_PER_S)
		close_second(f, now_ns);
	f->limit_ns = limit_of(f);
	why |= total_ns > f->limit_ns ? FLIGHT_LIMIT : 0;
	if (total_ns > f->worst_ns) {
		f->worst_ns = total_ns;
		keep(f, at(f, PLACES - 1), command, stage_ns, total_ns, why | FLIGHT_OF_SECOND);
	}
	if (why & FLIGHT_LIMIT)
		keep(f, at(f, f->slow_count++ % FLIGHT_SLOW), command, stage_ns, total_ns, why);
}

static void close_second(struct flight *f, uint64_t now_ns)
{
	if (f->worst_ns)
		memcpy(at(f, FLIGHT_SLOW + f->second_count++ % FLIGHT_SECONDS), at(f, PLACES - 1), f->size);
	f->worst_ns = 0;
	f->second_ns = now_ns;
	memset(at(f, PLACES - 1), 0, f->size);
}

/* --- reading --- */

/* What was above the limit may have been its second's slowest, too. */
static void add_once(const struct flight *f, uint8_t *ios, uint32_t *count, const struct flight_io *io)
{
	for (uint32_t i = 0; i < *count; i++) {
		struct flight_io *there = (struct flight_io *)(void *)(ios + i * f->size);

		if (there->number == io->number) {
			there->why |= io->why;
			return;
		}
	}
	memcpy(ios + (*count)++ * f->size, io, f->size);
}

uint32_t flight_read(const struct flight *f, void *ret_ios, uint32_t max)
{
	uint32_t count = 0;

	for (uint32_t i = 0; f->ios && i < PLACES && count < max; i++)
		if (at(f, i)->total_ns)
			add_once(f, ret_ios, &count, at(f, i));
	return count;
}

void flight_clear(struct flight *f)
{
	if (f->ios)
		memset(f->ios, 0, PLACES * f->size);
	f->worst_ns = 0;
}

void flight_fini(struct flight *f)
{
	free(f->ios);
	f->ios = NULL;
}
