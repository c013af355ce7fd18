/* SPDX-License-Identifier: BSD-3-Clause */
/* world.c: net_test.c on the kernel. */
#include "net/test_run.h"

#include <dirent.h>
#include <sched.h>

#include "base/text.h"

uint32_t world_count(void) { return 1; }
void world_start(uint32_t n) { }
void world_end(void) { }

/* This one is among them each time. */
uint32_t world_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	uint32_t count = 0;

	while (dir && readdir(dir))
		count++;
	if (dir)
		closedir(dir);
	return count;
}

/* Whichever this process may use: a container or taskset may have taken the first ones away. */
const char *world_cpus(void)
{
	static char list[32];
	struct text t = text_over(list, sizeof(list));
	uint32_t count = 0;
	cpu_set_t allowed;

	CPU_ZERO(&allowed);
	if (sched_getaffinity(0, sizeof(allowed), &allowed))
		return NULL;
	for (int cpu = 0; cpu < CPU_SETSIZE && count < 2; cpu++)
		if (CPU_ISSET(cpu, &allowed))
			text_add(&t, count++ ? "%d]" : "[%d,", cpu);
	return count == 2 ? list : NULL;
}
