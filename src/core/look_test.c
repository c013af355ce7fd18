/* SPDX-License-Identifier: BSD-3-Clause */
/* look_test.c: who publishes and rings only when he is asked to is always heard; a reactor with lookers sleeps all the
 * same, and does not ask for descriptors in every pass; idle ones cost nothing; bells are heard where they should. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "core/bell.h"
#include "core/look.h"
#include "core/rig_test.h"

#define ROUNDS_MAX 300000u
#define RACE_NS (1000 * NS_PER_MS) /* the slow machine makes fewer rounds */
#define ROUNDS_MIN 200u
#define LOST_NS (30 * NS_PER_S)

/* A ring with one number in it: published by one side, taken by the other; `asked` is the event index. */
static struct shared {
	CACHE_ALIGNED _Atomic uint64_t published;
	CACHE_ALIGNED _Atomic uint64_t taken;
	CACHE_ALIGNED _Atomic bool asked;
} ring;

static struct looker looker;
static struct bell bell;
static struct reactor_stats stats;
static struct msg go, end;
static uint64_t last_looks;

static uint32_t ring_look(struct looker *l)
{
	uint64_t published = atomic_load(&ring.published), taken = atomic_load(&ring.taken);

	check(!l->armed);
	if (published != taken)
		atomic_store(&ring.taken, published);
	return published != taken;
}

static bool ring_arm(struct looker *l)
{
	atomic_store(&ring.asked, true);
	return atomic_load(&ring.published) != atomic_load(&ring.taken);
}

static void ring_disarm(struct looker *l) { atomic_store(&ring.asked, false); }
static void bell_rang(struct bell *b) { looker_rang(&looker); }

static void ring_start(void)
{
	memset(&ring, 0, sizeof(ring));
	looker = (struct looker){ .look = ring_look, .arm = ring_arm, .disarm = ring_disarm };
	check(bell_make(&bell, NULL) == 0);
	check(bell_listen(&bell, "bell", bell_rang) == 0);
	looker_start(&looker, "ring");
}

static void ring_stop_on_core(struct msg *m)
{
	reactor_get_stats(reactor_self(), &stats);
	last_looks = looker.looks;
	looker_stop(&looker);
	looker_stop(&looker); /* does no harm */
	bell_close(&bell);
	rig_stop();
}

/* --- the race of arming and publishing ----------------------------------------------------------------- */

static pthread_t guest;
static uint64_t rounds, rings;
static bool lost, switching;

/* Publishes a few times when the reactor may be looking, arming, about to sleep or asleep, then waits until all was
 * taken: it never helps out. */
static void *guest_run(void *arg)
{
	uint64_t began = core_clock_ns(), published = 0;
	uint32_t dice = 1;

	for (rounds = 0; rounds < ROUNDS_MAX && !lost; rounds++) {
		uint64_t since = core_clock_ns();

		if (rounds >= ROUNDS_MIN && since - began > RACE_NS)
			break;
		if (switching && rounds % 8 == 0)
			reactor_set_mode(rig_last(), (enum core_mode)((dice >> 9) % CORE_MODE_COUNT));
		do {
			dice = dice * 1103515245 + 12345;
			for (volatile uint32_t i = 0; i < dice >> 18 >> (dice >> 14 & 7); i++)
				;
			atomic_store(&ring.published, ++published);
			if (atomic_load(&ring.asked)) {
				rings++;
				bell_ring(&bell);
			}
		} while (dice >> 12 & 3);
		for (uint32_t spins = 0; atomic_load(&ring.taken) != published && !lost; spins++) {
			lost = core_clock_ns() - since > LOST_NS;
			if (spins > 1000)
				sched_yield(); /* the CPU may be the reactor's after all */
		}
	}
	msg_send(rig_last(), &end, ring_stop_on_core);
	return NULL;
}

static void guest_begin(struct msg *m) { check(pthread_create(&guest, NULL, guest_run, NULL) == 0); }

/* From the control reactor's thread, which is not pinned: it shall not run on the reactor's CPU. */
static void race_on_core(struct msg *m)
{
	ring_start();
	msg_send(core_control(rig.core), &end, guest_begin);
}

static void race_start(void *arg) { msg_send(rig_last(), &go, race_on_core); }

static void race(enum core_mode mode)
{
	struct core_opts opts = { .cpus = rig_cpus(1), .mode = mode, .spin_us_max = 1, .stall_ms = 60000 };
	int code;

	rings = 0;
	rig_make(&opts);
	code = core_run(rig.core, race_start, NULL);
	pthread_join(guest, NULL); /* it may not have left msg_send() yet */
	core_free(rig.core);
	assert_int_equal(code + (int)rig.trouble, 0);
	if (lost)
		fail_msg("%s: a wake-up was lost in round %llu", core_mode_name(mode), (unsigned long long)rounds);
	print_message("%s: %llu rounds, %llu rings, %llu sleeps, %llu arms, %llu in vain\n", core_mode_name(mode),
	              (unsigned long long)rounds, (unsigned long long)rings, (unsigned long long)stats.sleeps,
	              (unsigned long long)stats.arms, (unsigned long long)stats.arms_in_vain);
}

static void no_wake_up_is_lost(void **state)
{
	race(CORE_INTERRUPT);
	assert_true(rings);
	race(CORE_ADAPTIVE);
	assert_true(rings);
}

static void switching_modes_loses_none(void **state)
{
	switching = true;
	race(CORE_POLL);
	switching = false;
	assert_true(rings);
	assert_true(stats.sleeps);
}

/* Nobody has to ring then. */
static void poll_mode_arms_nobody(void **state)
{
	race(CORE_POLL);
	assert_int_equal(rings, 0);
	assert_int_equal(stats.arms, 0);
}

/* --- a busy reactor: quiet ones are armed, and looked at again when their bell rings ---------------------- */

static struct poller poller;
static uint64_t looks_when_armed, polls;
static bool was_armed, rang;

static uint32_t busy(struct poller *p)
{
	polls++;
	if (!was_armed && looker.armed) {
		was_armed = true;
		looks_when_armed = looker.looks;
		polls = 0;
	} else if (was_armed && !rang && polls > 1000) {
		check(looker.looks == looks_when_armed);
		rang = true;
		atomic_fetch_add(&ring.published, 1);
		check(atomic_load(&ring.asked));
		bell_ring(&bell);
		polls = 0;
	} else if (rang && atomic_load(&ring.taken) == 1) {
		check(looker.rings == 1);
		check(!atomic_load(&ring.asked));
		rang = was_armed = false;
		poller_stop(p);
		ring_stop_on_core(NULL);
	}
	return 1;
}

static void quiet_on_core(struct msg *m)
{
	was_armed = rang = false;
	ring_start();
	poller_start(&poller, "busy", busy);
}

static void quiet_start(void *arg) { msg_send(rig_last(), &go, quiet_on_core); }

static void quiet_looker_of_a_busy_reactor_is_armed(void **state)
{
	rig_run(1, CORE_ADAPTIVE, quiet_start);
	rig_run(1, CORE_INTERRUPT, quiet_start);
}

/* --- descriptors, while lookers find work in every pass ------------------------------------------------- */

#define BUSY_LOOKS 100000u
#define OTHERS 20u

static struct source other;
static int other_fd;
static uint32_t others;

static void other_ready(struct source *s, uint32_t events)
{
	uint64_t value;

	check(read(s->fd, &value, sizeof(value)) == sizeof(value));
	others++;
}

static uint32_t look_busy(struct looker *l)
{
	uint64_t one = 1;

	if (l->looks == BUSY_LOOKS && others == OTHERS) {
		reactor_get_stats(reactor_self(), &stats);
		source_stop(&other);
		close(other_fd);
		ring_stop_on_core(NULL);
	} else if (l->looks % (BUSY_LOOKS / OTHERS / 2) == 0 && l->looks / (BUSY_LOOKS / OTHERS / 2) == 2 * others + 1) {
		check(write(other_fd, &one, sizeof(one)) == sizeof(one));
	} else if (l->looks == BUSY_LOOKS) {
		check(!"a descriptor was forgotten");
		ring_stop_on_core(NULL);
	}
	return 1;
}

static void saving_on_core(struct msg *m)
{
	others = 0;
	other_fd = eventfd(0, EFD_NONBLOCK);
	ring_start();
	looker.look = look_busy;
	check(source_start(&other, other_fd, 1, "other", other_ready) == 0);
}

static void saving_start(void *arg) { msg_send(rig_last(), &go, saving_on_core); }

/* Most passes are made without a system call, and no descriptor is forgotten. */
static void descriptors_are_asked_for_now_and_then(void **state)
{
	uint64_t asked;

	rig_run(1, CORE_INTERRUPT, saving_start);
	asked = stats.passes - stats.asks_saved;
	assert_int_equal(others, OTHERS);
	assert_in_range(asked, 0, stats.busy_ns / (2 * NS_PER_US) + 3 * OTHERS + 10);
	print_message("asked in %llu of %llu passes\n", (unsigned long long)asked, (unsigned long long)stats.passes);
}

/* --- stopping from within -------------------------------------------------------------------------------- */

static struct looker many[4];
static uint32_t many_looks, many_arms, many_left;

static void many_stop(struct looker *l)
{
	looker_stop(l);
	if (--many_left == 0)
		rig_stop();
}

static uint32_t many_look(struct looker *l)
{
	check(looker_is_started(l));
	if (++many_looks == 10) {
		many_stop(l); /* itself */
		many_stop(&many[(l - many + 1) % 4]); /* and its neighbour, whose turn is next */
		return 1;
	}
	return many_looks < 10;
}

static bool many_arm(struct looker *l)
{
	if (++many_arms < 5)
		return true;
	many_stop(l);
	return true;
}

static void many_disarm(struct looker *l) { check(looker_is_started(l)); }

static void many_on_core(struct msg *m)
{
	many_looks = many_arms = 0;
	many_left = 4;
	for (uint32_t i = 0; i < 4; i++) {
		many[i] = (struct looker){ .look = many_look, .arm = many_arm, .disarm = many_disarm };
		looker_start(&many[i], "many");
	}
}

static void many_start(void *arg) { msg_send(rig_last(), &go, many_on_core); }

static void lookers_stop_from_within(void **state)
{
	rig_run(1, CORE_INTERRUPT, many_start);
	rig_run(1, CORE_ADAPTIVE, many_start);
	assert_int_equal(many_left, 0);
}

/* --- bells ------------------------------------------------------------------------------------------------ */

static uint32_t heard;
static struct bell taken;

static void heard_there(struct bell *b)
{
	heard++;
	bell_close(b);
	bell_close(b); /* does no harm */
	rig_stop();
}

static void listen_there(struct msg *m) { check(bell_listen(&bell, "bell", heard_there) == 0); }

/* Rung before anybody listened; heard here; rung again, and heard where it is listened to next. */
static void heard_here(struct bell *b)
{
	heard++;
	bell_unlisten(b);
	bell_ring(b);
	bell_ring(b);
	msg_send(core_control(rig.core), &end, listen_there);
}

static void bells_on_core(struct msg *m)
{
	uint64_t most = UINT64_MAX - 1;
	int fd;

	heard = 0;
	check(bell_make(&bell, NULL) == 0);
	fd = dup(bell_fd(&bell));
	check(write(fd, &most, sizeof(most)) == sizeof(most)); /* full */
	check(bell_take(&taken, fd, NULL) == 0);
	bell_ring(&taken);
	bell_close(&taken);
	check(bell_listen(&bell, "bell", heard_here) == 0);
}

static void bells_start(void *arg) { msg_send(rig_last(), &go, bells_on_core); }

static void bell_is_heard_by_who_listens(void **state)
{
	rig_run(1, CORE_INTERRUPT, bells_start);
	assert_int_equal(heard, 2);
}

/* Ringing a file or a pipe might block or write to somebody's disk. */
static void only_an_eventfd_is_a_bell(void **state)
{
	struct err e = { 0 };
	struct bell b;
	int fds[2];

	assert_int_equal(pipe(fds), 0);
	assert_int_equal(bell_take(&b, fds[1], &e), -EINVAL);
	assert_int_equal(fcntl(fds[1], F_GETFD), -1); /* closed */
	assert_int_equal(bell_take(&b, open("/dev/null", O_RDWR), &e), -EINVAL);
	assert_int_equal(bell_take(&b, -1, &e), -EINVAL);
	assert_false(bell_is_open(&b));
	assert_int_equal(bell_fd(&b), -1);
	bell_close(&b);
	close(fds[0]);
	assert_int_equal(bell_take(&b, eventfd(0, 0), &e), 0);
	assert_true(fcntl(bell_fd(&b), F_GETFL) & O_NONBLOCK);
	bell_close(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_wake_up_is_lost),
		cmocka_unit_test(switching_modes_loses_none),
		cmocka_unit_test(poll_mode_arms_nobody),
		cmocka_unit_test(quiet_looker_of_a_busy_reactor_is_armed),
		cmocka_unit_test(descriptors_are_asked_for_now_and_then),
		cmocka_unit_test(lookers_stop_from_within),
		cmocka_unit_test(bell_is_heard_by_who_listens),
		cmocka_unit_test(only_an_eventfd_is_a_bell),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
