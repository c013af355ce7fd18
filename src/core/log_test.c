/* SPDX-License-Identifier: BSD-3-Clause */
/* log_test.c: nobody reads standard error, and everybody goes on; when somebody reads again, what was kept comes, in
 * order, and what was lost is said. */
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <unistd.h>

#include "core/log.h"
#include "core/rig_test.h"

#define LINES 20000u

static int pipe_fds[2], stderr_before;
static struct msg go, back;
static struct timer wait;
static uint32_t seen_control, seen_reactor, lost_said, out_of_order;
static int64_t last_control = -1, last_reactor = -1;

static void take_line(const char *line)
{
	long n;

	if ((line = strstr(line, ": ")) == NULL)
		return;
	if (sscanf(line, ": control %ld", &n) == 1) {
		out_of_order += n <= last_control;
		last_control = n;
		seen_control++;
	} else if (sscanf(line, ": reactor %ld", &n) == 1) {
		out_of_order += n <= last_reactor;
		last_reactor = n;
		seen_reactor++;
	}
	lost_said += strstr(line, "lines of a reactor were lost") != NULL;
}

static void read_what_is_there(void)
{
	static char text[1 << 16];
	static size_t have;
	struct pollfd p = { .fd = pipe_fds[0], .events = POLLIN };
	ssize_t n;

	while (poll(&p, 1, 0) > 0 && (n = read(pipe_fds[0], text + have, sizeof(text) - 1 - have)) > 0) {
		char *line = text, *end;

		have += (size_t)n;
		text[have] = 0;
		while ((end = strchr(line, '\n'))) {
			*end = 0;
			take_line(line);
			line = end + 1;
		}
		have -= (size_t)(line - text);
		memmove(text, line, have);
	}
}

/* What was kept comes without anybody saying anything more. */
static void read_on(struct timer *t)
{
	static uint32_t rounds;

	read_what_is_there();
	if (lost_said >= 2 || ++rounds > 3000)
		rig_stop();
	else
		timer_start(t, 10 * NS_PER_MS, read_on);
}

static void reactor_is_done(struct msg *m) { read_on(&wait); }

static void reactor_speaks(struct msg *m)
{
	for (uint32_t i = 0; i < LINES; i++)
		log_warning("reactor %u of quite a few, so that the pipe is full soon", i);
	msg_send(core_control(rig.core), &back, reactor_is_done);
}

static void start(void *arg)
{
	for (uint32_t i = 0; i < LINES; i++)
		log_warning("control %u of quite a few, so that the pipe is full soon", i);
	msg_send(core_reactor(rig.core, 0), &go, reactor_speaks);
}

static void nobody_waits_for_who_reads(void **state)
{
	assert_int_equal(pipe(pipe_fds), 0);
	stderr_before = dup(STDERR_FILENO);
	dup2(pipe_fds[1], STDERR_FILENO);
	rig_make(&(struct core_opts){ .cpus = rig_cpus(1), .mode = CORE_INTERRUPT, .stall_ms = 60000 });
	rig_end(start);
	read_what_is_there();
	dup2(stderr_before, STDERR_FILENO);
	assert_in_range(seen_control, 10, LINES - 1);
	assert_in_range(seen_reactor, 10, LINES - 1);
	assert_int_equal(out_of_order, 0);
	assert_in_range(lost_said, 2, LINES);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(nobody_waits_for_who_reads) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
