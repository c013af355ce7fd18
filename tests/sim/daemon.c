/* SPDX-License-Identifier: BSD-3-Clause */
/* daemon.c: see daemon.h. */
#include "daemon.h"

#include <stdio.h>

#include "core/mem.h"
#include "net/sim/sim_net.h"
#include "seeds.h"

struct core *daemon_core_make(uint32_t reactors, uint64_t memory_bytes)
{
	char cpus[16];
	struct core *core;
	struct err e = { 0 };

	snprintf(cpus, sizeof(cpus), "[0-%u]", reactors - 1);
	core = core_make(&(struct core_opts){ .cpus = cpus, .mode = (enum core_mode)sim_draw(CORE_MODE_COUNT),
	                                      .memory_bytes = memory_bytes }, &e);
	if (!core)
		fprintf(stderr, "%s\n", e.text);
	must(core);
	return core;
}

struct core *daemon_core_make_scarce(uint32_t reactors)
{
	struct core *core = daemon_core_make(reactors, sim_chance(40) ? 16 * MIB : 256 * MIB);

	if (sim_chance(30))
		mem_starve(core, 2 + (uint32_t)sim_draw(6));
	return core;
}

void daemon_net_start(void)
{
	sim_net_start(&(struct sim_net_opts){
		.latency_ns_min = 1000, .latency_ns_max = 1000 + sim_draw(200000),
		.buffer_bytes = (uint32_t)(4096 + sim_draw(128 * KIB)), .short_read_percent = (uint32_t)sim_draw(60),
		.short_write_percent = (uint32_t)sim_draw(60),
		.chunk_bytes_max = sim_chance(30) ? 1 + (uint32_t)sim_draw(3000) : 0 });
}

uint64_t daemon_net_end(void)
{
	if (sim_net_connections())
		seeds_fail("%u connections are left", sim_net_connections());
	seeds_verdict();
	sim_net_end();
	return sim_end();
}

static bool is_over(void *arg)
{
	bool *done = arg;

	return *done || seeds_failed();
}

void daemon_wait(bool *done, uint64_t ns, const char *what)
{
	if (!sim_run(is_over, done, ns))
		seeds_fail("%s", what);
	seeds_verdict();
}

void daemon_check_memory(struct core *core, const char *whose)
{
	struct mem_stats stats;

	mem_get_stats(core, &stats);
	if (stats.in_use_bytes)
		seeds_fail("%llu bytes of %s data buffers were not given back", (unsigned long long)stats.in_use_bytes, whose);
}
