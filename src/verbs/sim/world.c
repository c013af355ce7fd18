/* SPDX-License-Identifier: BSD-3-Clause */
/* world.c: verbs_test.c on simulated adapters, under some seeds. */
#include "verbs/test_world.h"

#include "net/sim/sim_net.h"
#include "verbs/sim/sim_verbs.h"

#define WAIT_NS (300 * NS_PER_S)

void world_args(int argc, char **argv) {}
uint32_t world_count(void) { return 10; }
bool world_is_simulated(void) { return true; }
const char *world_address(void) { return "10.0.0.1"; }

struct core *world_begin(uint32_t number)
{
	struct core_opts opts = { .cpus = "[0-1]", .mode = CORE_INTERRUPT };
	struct err e = { 0 };
	struct core *core;

	sim_start(number + 1);
	sim_net_start(&(struct sim_net_opts){ .latency_ns_min = 1000, .latency_ns_max = 2000 });
	sim_verbs_start(NULL);
	core = core_make(&opts, &e);
	if (!core)
		fail_msg("%s", e.text);
	sim_adapter_add(core, &(struct sim_adapter_opts){ .name = "sim0", .address = world_address(),
	                                                  .inline_max = number % 2 ? 64 : 0 });
	return core;
}

void world_end(struct core *core)
{
	sim_run(NULL, NULL, WAIT_NS); /* what is freed by and by */
	sim_verbs_end();
	core_free(core);
	sim_net_end();
	sim_end();
}

void world_on(struct reactor *r, void (*fn)(void *arg), void *arg) { sim_as(r, fn, arg); }
bool world_wait(bool (*until)(void *arg), void *arg) { return sim_run(until, arg, WAIT_NS); }
void world_pass_ms(uint32_t ms) { sim_run(NULL, NULL, ms * NS_PER_MS); }
