/* SPDX-License-Identifier: BSD-3-Clause */
/* micro_wake.c: the machine's bare eventfd round trip: what waking a thread on another CPU, and being woken by it,
 * takes when both sleep in between. What a sleeping device's I/O is measured against.
 *
 *     micro_wake CPU CPU [ROUNDS]
 *
 * Prints the median in microseconds.
 */
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/base.h"

#define ROUNDS_MAX 10000u
#define PAUSE_US 2000u /* both sleep by then */

static int there, back;
static uint32_t rounds = 500;
static uint64_t took_ns[ROUNDS_MAX];

static void pin(uint32_t cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	must(sched_setaffinity(0, sizeof(set), &set) == 0);
}

static void ring(int fd)
{
	uint64_t one = 1;

	must(write(fd, &one, sizeof(one)) == (ssize_t)sizeof(one));
}

static void hear(int fd)
{
	uint64_t value;

	must(read(fd, &value, sizeof(value)) == (ssize_t)sizeof(value));
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

static void *answer(void *cpu)
{
	pin((uint32_t)(uintptr_t)cpu);
	for (uint32_t i = 0; i < rounds; i++) {
		hear(there);
		ring(back);
	}
	return NULL;
}

static int compare(const void *a, const void *b)
{
	return *(const uint64_t *)a < *(const uint64_t *)b ? -1 : *(const uint64_t *)a > *(const uint64_t *)b;
}

int main(int argc, char **argv)
{
	pthread_t other;

	if (argc < 3) {
		fprintf(stderr, "micro_wake CPU CPU [ROUNDS]\n");
		return 2;
	}
	if (argc > 3)
		rounds = min_u32((uint32_t)atoi(argv[3]), ROUNDS_MAX);
	there = eventfd(0, EFD_CLOEXEC);
	back = eventfd(0, EFD_CLOEXEC);
	must(there >= 0 && back >= 0);
	must(pthread_create(&other, NULL, answer, (void *)(uintptr_t)atoi(argv[1])) == 0);
	pin((uint32_t)atoi(argv[2]));
	for (uint32_t i = 0; i < rounds; i++) {
		uint64_t began;

		usleep(PAUSE_US);
		began = now_ns();
		ring(there);
		hear(back);
		took_ns[i] = now_ns() - began;
	}
	pthread_join(other, NULL);
	qsort(took_ns, rounds, sizeof(*took_ns), compare);
	printf("%.2f\n", (double)took_ns[rounds / 2] / 1000);
	return 0;
}
