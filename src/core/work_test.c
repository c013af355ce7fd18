/* SPDX-License-Identifier: BSD-3-Clause */
/* work_test.c: deferred calls, descriptors, pollers and jobs, and where in a pass they run. */
#include <errno.h>
#include <sys/eventfd.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "core/rig_test.h"

static struct msg later;
static void stop_later(struct msg *m) { rig_stop(); }

/* --- deferred calls --------------------------------------------------------------------------------------- */

static struct defer a, b, c, dead;
static struct defer last_a;
static char order[32];
static uint32_t lasts;

static void note(char ch) { strncat(order, (char[]){ ch, 0 }, sizeof(order) - strlen(order) - 1); }
static void defer_c(struct defer *d) { note('c'); }
static void defer_b(struct defer *d) { note('b'); }
static void defer_dead(struct defer *d) { note('!'); }

static void last_fn(struct defer *d)
{
	note('L');
	if (++lasts == 1) {
		defer_run(&c, defer_c);     /* still in this pass */
		defer_last(&last_a, last_fn); /* once per pass: in the next one */
	} else {
		msg_send(reactor_self(), &later, stop_later);
	}
}

static void defer_a(struct defer *d)
{
	note('a');
	defer_run(&b, defer_b);
	defer_run(&b, defer_b); /* scheduled already */
	defer_last(&last_a, last_fn);
}

static void defers_start(void *arg)
{
	order[0] = 0;
	lasts = 0;
	defer_run(&dead, defer_dead);
	defer_run(&a, defer_a);
	defer_cancel(&dead);
	defer_cancel(&dead);
}

static void deferred_calls_run_before_the_end_of_pass(void **state)
{
	rig_run(1, CORE_INTERRUPT, defers_start);
	assert_string_equal(order, "abLcL");
}

/* --- an endless chain does not keep messages away ------------------------------------------------------------ */

static uint32_t chain;
static void chain_fn(struct defer *d)
{
	chain++;
	defer_run(d, chain_fn);
}

static void chain_start(void *arg)
{
	chain = 0;
	defer_run(&a, chain_fn);
	msg_send(reactor_self(), &later, stop_later);
}

static void deferred_calls_have_a_budget(void **state)
{
	rig_run(1, CORE_INTERRUPT, chain_start);
	assert_true(chain > 0);
	a.queued = false;
}

/* --- descriptors ----------------------------------------------------------------------------------------------- */

static struct source first, second;
static int fds[2];
static uint32_t first_ran, second_ran;

static void make_ready(int fd)
{
	uint64_t one = 1;

	check(write(fd, &one, sizeof(one)) == sizeof(one));
}

static void open_two(uint32_t value)
{
	for (int i = 0; i < 2; i++)
		fds[i] = eventfd(value, EFD_NONBLOCK);
	first_ran = second_ran = 0;
}

/* Whoever runs first stops the other one, whose event was collected with its own. */
static void stops_the_other(struct source *s, uint32_t events)
{
	(*(s == &first ? &first_ran : &second_ran))++;
	check(events == EPOLLIN);
	source_stop(s == &first ? &second : &first);
	source_stop(s);
	msg_send(reactor_self(), &later, stop_later);
}

/* Whoever runs first schedules two calls, and so does the other: are those of the first run before it? */
static struct defer hurried_run, hurried_last;
static bool hurries;

static void hurried_run_fn(struct defer *d) { note('r'); }

static void hurried_last_fn(struct defer *d)
{
	note('L');
	if (second_ran)
		msg_send(reactor_self(), &later, stop_later);
}

static void schedules_two(struct source *s, uint32_t events)
{
	(*(first_ran ? &second_ran : &first_ran))++;
	note(second_ran ? '2' : '1');
	source_stop(s);
	defer_run(&hurried_run, hurried_run_fn);
	defer_last(&hurried_last, hurried_last_fn);
	if (hurries)
		defer_hurry();
}

static void hurry_start(void *arg)
{
	order[0] = 0;
	check(source_start(&first, fds[0], EPOLLIN, "first", schedules_two) == 0);
	check(source_start(&second, fds[1], EPOLLIN, "second", schedules_two) == 0);
}

static void who_hurries_is_done_before_the_next_source(void **state)
{
	for (int i = 0; i < 2; i++) {
		hurries = i;
		open_two(1);
		rig_run(1, CORE_INTERRUPT, hurry_start);
		assert_string_equal(order, hurries ? "1rL2rL" : "12rL");
		close(fds[0]);
		close(fds[1]);
	}
}

/* One that has more to do each time would be called once for each source that hurries, and keep others waiting. */
static struct msg next_pass;

static void note_next_pass(struct msg *m) { note('|'); }

static void has_more_fn(struct defer *d)
{
	note('L');
	if (strchr(order, '|'))
		msg_send(reactor_self(), &later, stop_later);
	else
		defer_last(d, has_more_fn);
}

static void hurries_one_that_has_more(struct source *s, uint32_t events)
{
	note('s');
	source_stop(s);
	if (!order[1]) {
		defer_last(&hurried_last, has_more_fn);
		msg_send(reactor_self(), &next_pass, note_next_pass);
	}
	defer_hurry();
}

static void more_start(void *arg)
{
	order[0] = 0;
	check(source_start(&first, fds[0], EPOLLIN, "first", hurries_one_that_has_more) == 0);
	check(source_start(&second, fds[1], EPOLLIN, "second", hurries_one_that_has_more) == 0);
}

static void who_has_more_waits_for_the_end_of_the_pass(void **state)
{
	open_two(1);
	rig_run(1, CORE_INTERRUPT, more_start);
	assert_string_equal(order, "sLsL|L");
	close(fds[0]);
	close(fds[1]);
}

static void stop_start(void *arg)
{
	check(source_start(&first, fds[0], EPOLLIN, "first", stops_the_other) == 0);
	check(source_start(&second, fds[1], EPOLLIN, "second", stops_the_other) == 0);
	check(source_start(&(struct source){ 0 }, -1, EPOLLIN, "none", stops_the_other) == -EBADF);
}

static void stopped_source_is_silent_in_the_same_pass(void **state)
{
	open_two(1);
	rig_run(1, CORE_INTERRUPT, stop_start);
	assert_int_equal(first_ran + second_ran, 1);
	close(fds[0]);
	close(fds[1]);
}

/* `first` never reads what makes it ready: it is called again, and once per pass; `second` and messages go on. */
static void greedy(struct source *s, uint32_t events) { first_ran++; }

static void patient(struct source *s, uint32_t events)
{
	uint64_t value;

	check(read(s->fd, &value, sizeof(value)) == sizeof(value));
	if (++second_ran == 100) {
		source_stop(&first);
		source_change(s, 0);
		make_ready(s->fd); /* not asked for any more */
		source_stop(s);
		rig_stop();
		return;
	}
	make_ready(s->fd);
}

static void greedy_start(void *arg)
{
	check(source_start(&first, fds[0], EPOLLIN, "greedy", greedy) == 0);
	check(source_start(&second, fds[1], EPOLLIN, "patient", patient) == 0);
}

static void busy_source_starves_nobody(void **state)
{
	open_two(1);
	rig_run(1, CORE_INTERRUPT, greedy_start);
	assert_int_equal(second_ran, 100);
	assert_in_range(first_ran, 99, 101);
	close(fds[0]);
	close(fds[1]);
}

/* --- pollers --------------------------------------------------------------------------------------------------- */

static struct poller one, two;
static uint32_t polls;

static uint32_t poll_two(struct poller *p) { return 0; }
static uint32_t poll_one(struct poller *p)
{
	if (++polls == 1000) {
		poller_stop(&two);
		poller_stop(p);
		rig_stop();
	}
	return 0;
}

static void count_poller(const struct poller *p, void *arg) { (*(uint32_t *)arg)++; }

static void pollers_start(void *arg)
{
	uint32_t count = 0;

	poller_start(&one, "one", poll_one);
	poller_start(&two, "two", poll_two);
	reactor_visit_pollers(count_poller, &count);
	check(count == 2);
}

/* On control, which otherwise always sleeps. */
static void poller_keeps_its_reactor_awake(void **state)
{
	polls = 0;
	rig_run(1, CORE_INTERRUPT, pollers_start);
	assert_int_equal(polls, 1000);
}

/* --- jobs ------------------------------------------------------------------------------------------------------- */

#define JOBS 40u

static struct job jobs[JOBS];
static _Atomic uint32_t worked;
static uint32_t jobs_done;

static void job_work(struct job *j)
{
	check(reactor_self() == NULL);
	usleep(1000);
	atomic_fetch_add(&worked, 1);
}

static void job_done(struct job *j)
{
	check(reactor_self() == j->from);
	if (++jobs_done == JOBS)
		rig_stop();
}

static void jobs_start(void *arg)
{
	for (uint32_t i = 0; i < JOBS; i++)
		job_start(&jobs[i], job_work, job_done);
}

static void jobs_work_elsewhere_and_come_home(void **state)
{
	jobs_done = 0;
	rig_run(1, CORE_INTERRUPT, jobs_start);
	assert_int_equal(worked, JOBS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(deferred_calls_run_before_the_end_of_pass),
		cmocka_unit_test(deferred_calls_have_a_budget),
		cmocka_unit_test(stopped_source_is_silent_in_the_same_pass),
		cmocka_unit_test(who_hurries_is_done_before_the_next_source),
		cmocka_unit_test(who_has_more_waits_for_the_end_of_the_pass),
		cmocka_unit_test(busy_source_starves_nobody),
		cmocka_unit_test(poller_keeps_its_reactor_awake),
		cmocka_unit_test(jobs_work_elsewhere_and_come_home),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
