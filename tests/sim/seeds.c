/* SPDX-License-Identifier: BSD-3-Clause */
/* seeds.c: run a scenario of the simulator under many seeds, and one again. */
#include "seeds.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "base/text.h"
#include "core/log.h"

#define TWICE_EVERY 8u

/* For the signal handler, which has nothing else to find them by. */
static const char *program;
static volatile sig_atomic_t seed_high, seed_low;

/* Of the run that is on: the process ends with the first that has one. */
static char failure[800];

static void say_seed(int signal);
static bool take_number(const char *text, uint64_t *ret_value);

int seeds_main(int argc, char **argv, uint64_t count, seeds_fn *scenario)
{
	uint64_t first = 1, differ = 0, last = 0;

	program = argv[0];
	if (argc == 3 && !strcmp(argv[1], "--seed") && take_number(argv[2], &first))
		count = 1;
	else if (argc != 1 && !(argc >= 3 && !strcmp(argv[1], "--seeds") && take_number(argv[2], &count) &&
	                        (argc == 3 || (argc == 5 && !strcmp(argv[3], "--from") && take_number(argv[4], &first)))))
		return fprintf(stderr, "usage: %s [--seeds COUNT [--from SEED] | --seed SEED]\n", argv[0]), 2;
	log_set_level(argc == 3 && !strcmp(argv[1], "--seed") ? LOG_DEBUG : LOG_ERROR);
	signal(SIGABRT, say_seed);
	for (uint64_t seed = first; seed < first + count; seed++) {
		uint64_t hash;

		seed_high = (sig_atomic_t)(seed >> 31);
		seed_low = (sig_atomic_t)(seed & INT32_MAX);
		hash = scenario(seed);
		if (seed > first && hash != last)
			differ++;
		last = hash;
		if (seed % TWICE_EVERY == 1 && scenario(seed) != hash) {
			fprintf(stderr, "seed %llu does not replay: something does not come from it\n", (unsigned long long)seed);
			return 1;
		}
	}
	if (count > 1 && differ == 0) {
		fprintf(stderr, "all seeds took the same course: nothing comes from them\n");
		return 1;
	}
	printf("%llu seeds\n", (unsigned long long)count);
	return 0;
}

static bool take_number(const char *text, uint64_t *ret_value)
{
	return !text_parse_u64(text, ret_value, NULL);
}

/* must() and assert() end here. */
static void say_seed(int signal_number)
{
	uint64_t seed = ((uint64_t)seed_high << 31) | (uint64_t)seed_low;
	char line[256];
	int len = snprintf(line, sizeof(line), "run it again: %s --seed %llu\n", program, (unsigned long long)seed);
	ssize_t n = write(STDERR_FILENO, line, (size_t)len);

	(void)n;
	signal(SIGABRT, SIG_DFL);
}

/* --- the verdict ------------------------------------------------------------------------------ */

void seeds_fail(const char *fmt, ...)
{
	va_list ap;

	if (seeds_failed())
		return;
	va_start(ap, fmt);
	vsnprintf(failure, sizeof(failure), fmt, ap);
	va_end(ap);
}

bool seeds_failed(void)
{
	return failure[0];
}

void seeds_verdict(void)
{
	if (seeds_failed())
		fprintf(stderr, "at %.6f s: %s\n", (double)sim_now_ns() / NS_PER_S, failure);
	must(!seeds_failed());
}
