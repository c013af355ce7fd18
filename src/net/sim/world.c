/* SPDX-License-Identifier: BSD-3-Clause */
/* world.c: net_test.c on the simulated network, under some seeds. */
#include "core/sim/fds.h"
#include "net/sim/sim_net.h"
#include "net/test_run.h"

uint32_t world_count(void)
{
	return 10;
}

const char *world_cpus(void)
{
	return "[0-1]";
}

void world_start(uint32_t n)
{
	struct sim_net_opts opts = {
		.latency_ns_min = 1000, .latency_ns_max = 30000, .short_read_percent = 30, .short_write_percent = 30,
	};

	sim_start(n);
	sim_net_start(&opts);
}

void world_end(void)
{
	sim_net_end();
	sim_end();
}

uint32_t world_fds(void)
{
	return sim_fds_open(NULL);
}
