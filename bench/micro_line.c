/* SPDX-License-Identifier: BSD-3-Clause */
/* micro_line.c: how far two CPUs are from each other: the round trip of a cache line that both write in turn. On a
 * virtual machine the host moves CPUs, and that changes within seconds; what goes through a socket of the loopback
 * changes with it, by a factor of two. Run it while something else is measured, to know which of the two that was.
 *
 *     micro_line CPU CPU
 *
 * Prints nanoseconds: of many short windows the tenth best in a hundred, since in the worse ones others had a CPU.
 */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>

#include "base/base.h"

#define WINDOWS 400u
#define ROUNDS 50u /* of a window */

static struct {
	_Alignas(128) atomic_uint turn; /* odd: the other's */
} line;
static uint64_t took_ns[WINDOWS];

static void pin(uint32_t cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	must(sched_setaffinity(0, sizeof(set), &set) == 0);
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

static void *answer(void *arg)
{
	pin(*(uint32_t *)arg);
	for (uint32_t i = 0; i < WINDOWS * ROUNDS; i++) {
		while (atomic_load(&line.turn) != 2 * i + 1)
			;
		atomic_store(&line.turn, 2 * i + 2);
	}
	return NULL;
}

static int by_size(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

int main(int argc, char **argv)
{
	uint32_t cpus[2];
	pthread_t thread;

	if (argc != 3 || sscanf(argv[1], "%u", &cpus[0]) != 1 || sscanf(argv[2], "%u", &cpus[1]) != 1 ||
	    cpus[0] == cpus[1]) {
		fprintf(stderr, "usage: micro_line CPU ANOTHER-CPU\n");
		return 2;
	}
	pin(cpus[0]);
	must(pthread_create(&thread, NULL, answer, &cpus[1]) == 0);
	for (uint32_t w = 0; w < WINDOWS; w++) {
		uint64_t began = now_ns();

		for (uint32_t i = w * ROUNDS; i < (w + 1) * ROUNDS; i++) {
			atomic_store(&line.turn, 2 * i + 1);
			while (atomic_load(&line.turn) != 2 * i + 2)
				;
		}
		took_ns[w] = (now_ns() - began) / ROUNDS;
	}
	pthread_join(thread, NULL);
	qsort(took_ns, WINDOWS, sizeof(took_ns[0]), by_size);
	printf("%llu\n", (unsigned long long)took_ns[WINDOWS / 10]);
	return 0;
}
