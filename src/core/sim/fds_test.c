/* SPDX-License-Identifier: BSD-3-Clause */
/* fds_test.c: simulated bells and shared memory: two daemons that share a ring lose no wake-up under any seed, a file
 * that is shortened is told, and what a daemon leaves open is closed. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/bell.h"
#include "core/look.h"
#include "core/share.h"
#include "core/sim/fds.h"

#define SEEDS 300u
#define ROUNDS 200u

/* What lies in the memory: each side writes its index, and whether it wants to be rung at. */
struct shared {
	uint32_t index[2], asked[2];
};

/* One of two equal players: takes what the other gave, and gives it back with one more. */
struct side {
	struct looker looker;
	struct bell mine, other;
	struct share share;
	struct shared *ring;
	struct core *core;
	struct timer pause;
	uint32_t me, seen, rings, answered;
	int fds[3];               /* memory, my bell, the other's; each side's own numbers */
};
static struct side sides[2];
static struct core *cores[2];

static void answer(struct side *s)
{
	s->ring->index[s->me] = s->seen + 1;
	s->answered++;
	if (!s->ring->asked[!s->me])
		return;
	s->rings++;
	bell_ring(&s->other);
}

static void pause_over(struct timer *t) { answer(container_of(t, struct side, pause)); }

static uint32_t side_look(struct looker *l)
{
	struct side *s = container_of(l, struct side, looker);

	if (s->ring->index[!s->me] <= s->seen || timer_is_running(&s->pause))
		return 0;
	s->seen = s->ring->index[!s->me];
	if (s->seen < ROUNDS && sim_chance(30))
		timer_start(&s->pause, sim_draw(100 * NS_PER_US), pause_over);
	else if (s->seen < ROUNDS)
		answer(s);
	return 1;
}

static bool side_arm(struct looker *l)
{
	struct side *s = container_of(l, struct side, looker);

	s->ring->asked[s->me] = 1;
	return s->ring->index[!s->me] > s->seen && !timer_is_running(&s->pause);
}

static void side_disarm(struct looker *l)
{
	struct side *s = container_of(l, struct side, looker);

	s->ring->asked[s->me] = 0;
}

static void side_rang(struct bell *b) { looker_rang(&container_of(b, struct side, mine)->looker); }

static void side_start(void *arg)
{
	struct side *s = arg;
	struct err e = { 0 };

	must(!share_map(&s->share, s->fds[0], 0, sizeof(struct shared), true, &e));
	s->ring = (struct shared *)s->share.base;
	must(!bell_take(&s->mine, s->fds[1], &e));
	must(!bell_take(&s->other, s->fds[2], &e));
	must(!bell_listen(&s->mine, "bell", side_rang));
	s->looker = (struct looker){ .look = side_look, .arm = side_arm, .disarm = side_disarm };
	looker_start(&s->looker, "ring");
	if (!s->me)
		answer(s);
}

/* As two processes have them that were given each other's. */
static void dup_all(void *arg)
{
	struct side *s = arg;

	for (int i = 0; i < 3; i++)
		must((s->fds[i] = core_fd_dup(s->fds[i])) >= 0);
}

static bool all_played(void *arg) { return sides[0].seen >= ROUNDS || sides[1].seen >= ROUNDS; }

static struct core *make(enum core_mode mode)
{
	struct core_opts opts = { .cpus = "[0]", .mode = mode, .memory_bytes = 16 * MIB };
	struct err e = { 0 };
	struct core *core = core_make(&opts, &e);

	if (!core)
		fail_msg("%s", e.text);
	return core;
}

static uint64_t play(uint64_t seed)
{
	struct bell bells[2];
	struct err e = { 0 };
	uint64_t hash;
	bool played;
	int memory;

	sim_start(seed);
	memset(sides, 0, sizeof(sides));
	must(!bell_make(&bells[0], &e) && !bell_make(&bells[1], &e));
	memory = share_make("ring", sizeof(struct shared), &e);
	for (uint32_t i = 0; i < 2; i++) {
		sides[i].me = i;
		sides[i].core = cores[i] = make((enum core_mode)((seed + i * (seed / 3)) % CORE_MODE_COUNT));
		memcpy(sides[i].fds, (int[]){ memory, bell_fd(&bells[i]), bell_fd(&bells[!i]) }, sizeof(sides[i].fds));
		sim_as(core_reactor(cores[i], 0), dup_all, &sides[i]);
	}
	core_fd_close(memory);
	bell_close(&bells[0]);
	bell_close(&bells[1]);
	for (uint32_t i = 0; i < 2; i++)
		sim_as(core_reactor(cores[i], 0), side_start, &sides[i]);
	played = sim_run(all_played, NULL, NS_PER_S);
	sim_note(sides[0].rings + sides[1].rings);
	if (!played)
		fail_msg("seed %llu: stuck at %u and %u", (unsigned long long)seed, sides[0].seen, sides[1].seen);
	assert_int_equal(sim_fds_open(cores[0]), 3);
	core_free(cores[0]);
	assert_int_equal(sim_fds_open(NULL), sim_fds_open(cores[1]));
	core_free(cores[1]);
	assert_int_equal(sim_fds_open(NULL), 0);
	hash = sim_end();
	return hash;
}

static void no_wake_up_is_lost_between_two_daemons(void **state)
{
	uint64_t rings = 0;

	for (uint64_t seed = 0; seed < SEEDS; seed++) {
		uint64_t hash = play(seed);

		rings += sides[0].rings + sides[1].rings;
		if (seed < 10)
			assert_int_equal(play(seed), hash);
	}
	assert_in_range(rings, SEEDS, SEEDS * 2 * ROUNDS);
}

/* --- memory that goes ---------------------------------------------------------------------------------------- */

static struct share shares[3];
static int file;
static uint32_t told;

static void share_broke(struct share *s)
{
	assert_ptr_equal(reactor_self(), core_reactor(cores[0], 0));
	told++;
	share_unmap(s);
}

static void never_told(struct share *s) { fail(); }

static void shares_start(void *arg)
{
	struct err e = { 0 };

	file = share_make("file", 8192, &e);
	assert_int_equal(share_map(&shares[0], file, 0, 8192, true, &e), 0);
	assert_int_equal(share_map(&shares[1], file, 0, 100, true, &e), 0);
	assert_int_equal(share_map(&shares[2], file, 5000, 100, true, &e), 0);
	assert_int_equal(share_map(&(struct share){ 0 }, file, 8192, 1, true, &e), -ERANGE);
	share_on_broken(&shares[0], reactor_self(), share_broke);
	share_on_broken(&shares[1], reactor_self(), never_told);
	share_on_broken(&shares[2], reactor_self(), never_told);
	memset(shares[0].base, 1, 8192);
}

static void shorten(void *arg)
{
	sim_share_truncate(file, 4096);
	share_unmap(&shares[2]); /* the message is on its way */
}

static void nobody_touches(void *arg)
{
	share_unmap(&shares[1]);
	core_fd_close(file);
}

static void shortened_file_is_told(void **state)
{
	sim_start(1);
	told = 0;
	cores[0] = make(CORE_INTERRUPT);
	sim_as(core_reactor(cores[0], 0), shares_start, NULL);
	sim_run(NULL, NULL, NS_PER_S);
	sim_as(core_reactor(cores[0], 0), shorten, NULL);
	sim_run(NULL, NULL, NS_PER_S);
	assert_int_equal(told, 1);
	assert_false(share_is_broken(&shares[1]));
	assert_int_equal(shares[1].base[99], 1);
	assert_int_equal(share_size(file), 4096);
	sim_as(core_reactor(cores[0], 0), nobody_touches, NULL);
	assert_int_equal(sim_fds_open(NULL), 0);
	core_free(cores[0]);
	sim_end();
}

/* --- lookers and virtual time --------------------------------------------------------------------------------- */

static uint32_t idle_look(struct looker *l) { return 0; }
static bool idle_arm(struct looker *l) { return false; }
static void idle_disarm(struct looker *l) { }
static struct looker idle = { .look = idle_look, .arm = idle_arm, .disarm = idle_disarm };
static struct timer hour;
static bool over;

static void hour_over(struct timer *t)
{
	over = true;
	looker_stop(&idle);
}

static void idle_start(void *arg)
{
	over = false;
	looker_start(&idle, "idle");
	timer_start(&hour, 3600 * NS_PER_S, hour_over);
}

static bool is_over(void *arg) { return over; }

/* An hour passes at once, also for a reactor that never sleeps. */
static void lookers_do_not_hold_time_up(void **state)
{
	for (enum core_mode mode = 0; mode < CORE_MODE_COUNT; mode++) {
		struct reactor_stats stats;

		sim_start(2);
		cores[0] = make(mode);
		sim_as(core_reactor(cores[0], 0), idle_start, NULL);
		assert_true(sim_run(is_over, NULL, 7200 * NS_PER_S));
		reactor_get_stats(core_reactor(cores[0], 0), &stats);
		assert_in_range(stats.passes, 1, 100);
		core_free(cores[0]);
		sim_end();
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_wake_up_is_lost_between_two_daemons),
		cmocka_unit_test(shortened_file_is_told),
		cmocka_unit_test(lookers_do_not_hold_time_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
