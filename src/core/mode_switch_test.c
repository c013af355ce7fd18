/* SPDX-License-Identifier: BSD-3-Clause */
/* mode_switch_test.c: switching modes while messages and descriptors are busy loses nothing. */
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "core/rig_test.h"

#define TRIPS 20000u
#define FD_ROUNDS 2000u

static struct msg ball, end, fd_end;
static struct source source;
static int fd;
static uint32_t trips, fd_rounds, ended;
static pthread_t switcher;
static _Atomic bool over;

static void ended_on_control(struct msg *m)
{
	if (++ended < 2)
		return;
	atomic_store(&over, true);
	rig_stop();
}

static void ball_on_core(struct msg *m)
{
	if (++trips == TRIPS)
		msg_send(core_control(rig.core), &end, ended_on_control);
	else
		msg_send(reactor_self() == rig_last() ? core_reactor(rig.core, 0) : rig_last(), m, ball_on_core);
}

static void make_ready(struct job *j)
{
	uint64_t one = 1;

	check(write(fd, &one, sizeof(one)) == sizeof(one));
}

/* The event comes before or after its job's end; the next one is raised when both have come. */
static struct job job;
static uint32_t came;

static void job_done(struct job *j);

static void next_event(void)
{
	if (++came % 2)
		return;
	if (fd_rounds == FD_ROUNDS) {
		source_stop(&source);
		msg_send(core_control(rig.core), &fd_end, ended_on_control);
		return;
	}
	job_start(&job, make_ready, job_done);
}

static void job_done(struct job *j) { next_event(); }

/* Each event is raised by another thread, when the reactor may be about to sleep. */
static void fd_ready(struct source *s, uint32_t events)
{
	uint64_t value;

	check(read(fd, &value, sizeof(value)) == sizeof(value));
	fd_rounds++;
	next_event();
}

static void source_on_core(struct msg *m)
{
	check(source_start(&source, fd, EPOLLIN, "test", fd_ready) == 0);
	job_start(&job, make_ready, job_done);
}

static void *switch_modes(void *arg)
{
	uint32_t n = 1;

	while (!atomic_load(&over)) {
		n = n * 1103515245 + 12345;
		reactor_set_mode(core_reactor(rig.core, (n >> 16) % core_reactor_count(rig.core)),
		                 (enum core_mode)((n >> 20) % CORE_MODE_COUNT));
		usleep(n >> 24);
	}
	return NULL;
}

static void switch_start(void *arg)
{
	static struct msg m;

	check(pthread_create(&switcher, NULL, switch_modes, NULL) == 0);
	msg_send(rig_last(), &ball, ball_on_core);
	msg_send(core_reactor(rig.core, 0), &m, source_on_core);
}

static void switching_modes_loses_nothing(void **state)
{
	struct core_opts opts = { .cpus = rig_cpus(2), .mode = CORE_INTERRUPT, .stall_ms = 60000 };
	int code;

	fd = eventfd(0, EFD_NONBLOCK);
	rig_make(&opts);
	code = core_run(rig.core, switch_start, NULL);
	pthread_join(switcher, NULL); /* it sets modes until the end */
	core_free(rig.core);
	close(fd);
	assert_int_equal(code + (int)rig.trouble, 0);
	assert_int_equal(trips, TRIPS);
	assert_int_equal(fd_rounds, FD_ROUNDS);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(switching_modes_loses_nothing) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
