/* SPDX-License-Identifier: BSD-3-Clause */
/* world.c: building the simulated world and taking it down, with a look at what was left behind. */
#include "world.h"

#include <stdarg.h>
#include <stdio.h>

#include "core/mem.h"

void world_fail(struct world *w, const char *fmt, ...)
{
	va_list ap;

	if (w->failed)
		return;
	w->failed = true;
	va_start(ap, fmt);
	vsnprintf(w->why, sizeof(w->why), fmt, ap);
	va_end(ap);
}

void world_verdict(const struct world *w)
{
	if (w->failed)
		fprintf(stderr, "seed %llu: %s\n", (unsigned long long)w->seed, w->why);
	must(!w->failed);
}

/* --- the target, one change after the other --------------------------------------------------- */

static void serve_step(struct nvmf_change *c)
{
	struct world *w = c->arg;
	struct net_addr addr;

	if (c->err.code) {
		world_fail(w, "setting up: %s", c->err.text);
		return;
	}
	must(!net_addr_parse(NET_IPV4, "127.0.0.1", "4420", &addr, NULL));
	switch (w->step++) {
	case 0:
		nvmf_add_transport(c, &nvmf_tcp_ops, &(struct nvmf_transport_opts){
			.in_capsule_data_size = (uint32_t)(sim_draw(3) * 4096), .max_io_size = 131072,
			.max_queue_depth = 128, .max_io_qpairs_per_ctrlr = 8, .max_aq_depth = 32,
			.c2h_success = sim_chance(70) });
		break;
	case 1:
		nvmf_add_subsystem(c, &(struct nvmf_subsystem_opts){ .nqn = WORLD_NQN, .allow_any_host = true });
		break;
	case 2:
		nvmf_add_ns(c, WORLD_NQN, &(struct nvmf_ns_opts){ .bdev_name = w->serves });
		break;
	case 3:
		nvmf_add_listener(c, WORLD_NQN, "TCP", &addr);
		break;
	default:
		w->serving = true;
	}
}

static void serve(void *arg)
{
	struct world *w = arg;
	struct malloc_opts opts = { .name = "disk", .block_size = w->block_size, .block_count = w->blocks };
	struct err e = { 0 };
	struct bdev *b;

	w->reg = bdev_registry_make(w->target_core);
	if (malloc_create(w->reg, &opts, &b, &e))
		world_fail(w, "%s", e.text);
	if (w->stack)
		w->serves = w->stack(w);
	w->target = nvmf_target_make(w->target_core, w->reg);
	w->change = (struct nvmf_change){ .target = w->target, .done = serve_step, .arg = w };
	serve_step(&w->change);
}

static bool is_serving(void *arg)
{
	struct world *w = arg;

	return w->serving || w->failed;
}

static struct core *make_core(uint32_t reactors, uint64_t memory)
{
	char cpus[16];
	struct core *core;
	struct err e = { 0 };

	snprintf(cpus, sizeof(cpus), "[0-%u]", reactors - 1);
	core = core_make(&(struct core_opts){ .cpus = cpus, .mode = (enum core_mode)sim_draw(CORE_MODE_COUNT),
	                                      .memory_bytes = memory }, &e);
	if (!core)
		fprintf(stderr, "%s\n", e.text);
	must(core);
	return core;
}

void world_start(struct world *w, uint64_t seed)
{
	world_start_over(w, seed, NULL);
}

void world_start_over(struct world *w, uint64_t seed, const char *(*stack)(struct world *w))
{
	*w = (struct world){ .seed = seed, .serves = "disk", .stack = stack };
	sim_start(seed);
	sim_net_start(&(struct sim_net_opts){
		.latency_ns_min = 1000, .latency_ns_max = 1000 + sim_draw(200000),
		.buffer_bytes = (uint32_t)(4096 + sim_draw(128 * KIB)), .short_read_percent = (uint32_t)sim_draw(60),
		.short_write_percent = (uint32_t)sim_draw(60),
		.chunk_bytes_max = sim_chance(30) ? 1 + (uint32_t)sim_draw(3000) : 0 });
	w->target_cores = 1 + (uint32_t)sim_draw(3);
	w->clients = 1 + (uint32_t)sim_draw(WORLD_CLIENTS_MAX);
	w->block_size = sim_chance(50) ? 4096 : sim_chance(50) ? 512 : 8192;
	w->blocks = 64 + (uint32_t)sim_draw(192);
	w->ios_left = 200 + (uint32_t)sim_draw(400);
	w->cut_percent = sim_chance(50) ? (uint32_t)sim_draw(8) : 0;
	w->move_permille = sim_chance(50) ? (uint32_t)sim_draw(100) : 0;
	w->target_core = make_core(w->target_cores, sim_chance(40) ? 16 * MIB : 256 * MIB);
	if (sim_chance(30))
		mem_starve(w->target_core, 2 + (uint32_t)sim_draw(6));
	w->host_core = make_core(1 + (uint32_t)sim_draw(2), 0);
	w->oracle = oracle_make(w->blocks, w->block_size);
	sim_as(core_control(w->target_core), serve, w);
	if (!sim_run(is_serving, w, 10 * NS_PER_S))
		world_fail(w, "the target does not come up");
	world_verdict(w);
	w->host = nvme_host_make(w->host_core);
}

/* --- the end ---------------------------------------------------------------------------------- */

static void unregistered(void *arg, int rc)
{
	struct world *w = arg;

	(void)rc;
	w->stopped = true;
}

static void target_stopped(void *arg)
{
	struct world *w = arg;
	struct err e = { 0 };

	if (malloc_delete(w->reg, "disk", unregistered, w, &e))
		world_fail(w, "%s", e.text);
}

static void stop_target(void *arg)
{
	struct world *w = arg;

	nvmf_target_stop(w->target, target_stopped, w);
}

static bool is_stopped(void *arg)
{
	struct world *w = arg;

	return w->stopped;
}

static void look_for_leaks(struct world *w)
{
	struct mem_stats stats;

	mem_get_stats(w->target_core, &stats);
	if (stats.in_use_bytes)
		world_fail(w, "%llu bytes of data buffers were not given back", (unsigned long long)stats.in_use_bytes);
	if (sim_net_connections())
		world_fail(w, "%u connections are left", sim_net_connections());
}

uint64_t world_end(struct world *w)
{
	sim_as(core_control(w->target_core), stop_target, w);
	if (!sim_run(is_stopped, w, 60 * NS_PER_S))
		world_fail(w, "the target does not stop");
	bdev_registry_free(w->reg);
	look_for_leaks(w);
	world_verdict(w);
	nvme_host_free(w->host);
	oracle_free(w->oracle);
	core_free(w->host_core);
	core_free(w->target_core);
	sim_net_end();
	return sim_end();
}
