/* SPDX-License-Identifier: BSD-3-Clause */
/* world.c: building the simulated world and taking it down, with a look at what was left behind. */
#include "world.h"

#include "bdev/reservation.h"
#include "core/sim/files.h"
#include "daemon.h"

/* --- the target, one change after the other --------------------------------------------------- */

static void serve_step(struct nvmf_change *c)
{
	struct world *w = c->arg;
	struct net_addr addr;

	if (c->err.code) {
		seeds_fail("setting up: %s", c->err.text);
		return;
	}
	must(!net_addr_parse(NET_IPV4, "127.0.0.1", "4420", &addr, NULL));
	switch (w->step++) {
	case 0:
		nvmf_add_transport(c, &nvmf_tcp_ops, &(struct nvmf_transport_opts){
			.in_capsule_data_size = (uint32_t)(sim_draw(3) * 4096), .max_io_size = 131072,
			.max_queue_depth = 128, .max_io_qpairs_per_ctrlr = 8, .max_aq_depth = 32,
			.c2h_success = sim_chance(70), .dif_insert_or_strip = w->protected });
		break;
	case 1:
		nvmf_add_subsystem(c, &(struct nvmf_subsystem_opts){ .nqn = WORLD_NQN, .allow_any_host = true,
			.is_static = w->statics, .enable_nssr = w->statics, .min_cntlid = w->statics,
			.max_cntlid = w->statics ? WORLD_CLIENTS_MAX : 0 });
		break;
	case 2:
		nvmf_add_ns(c, WORLD_NQN, &(struct nvmf_ns_opts){ .bdev_name = w->serves });
		break;
	case 3:
		nvmf_add_listener(c, WORLD_NQN, "TCP", &addr);
		break;
	case 4:
		if (w->statics) /* one is the first host's alone */
			nvmf_set_ctrlr_host(c, WORLD_NQN, 1, "nqn.2026-01.io.gantry:host0");
		else
			w->serving = true;
		break;
	default:
		w->serving = true;
	}
}

void world_serve(struct world *w)
{
	w->target = nvmf_target_make(w->target_core, w->reg);
	if (w->replaces)
		nvmf_replace_duplicates(w->target);
	w->change = (struct nvmf_change){ .target = w->target, .done = serve_step, .arg = w };
	serve_step(&w->change);
}

static void build_disk(struct world *w)
{
	struct malloc_opts opts = { .name = "disk", .block_size = w->block_size, .block_count = w->blocks };
	struct err e = { 0 };
	struct bdev *b;

	if (w->protected) {
		opts.md_size = sim_chance(50) ? 8 : 16;
		opts.md_interleaved = sim_chance(70);
		opts.dif_type = (uint8_t)(1 + sim_draw(3));
		opts.dif_is_head_of_md = sim_chance(30);
	}
	if (malloc_create(w->reg, &opts, &b, &e))
		seeds_fail("%s", e.text);
	if (w->stack)
		w->serves = w->stack(w);
	world_serve(w);
}

static void store_opened(void *arg, const struct err *e)
{
	must(!e || !e->code);
	build_disk(arg);
}

static void build(void *arg)
{
	struct world *w = arg;

	w->reg = bdev_registry_make(w->target_core);
	if (w->files)
		bdev_resv_store_open(w->reg, w->files, store_opened, w);
	else
		build_disk(w);
}

static void start(struct world *w, uint64_t seed)
{
	sim_start(seed);
	daemon_net_start();
	w->target_cores = 1 + (uint32_t)sim_draw(3);
	w->clients = 1 + (uint32_t)sim_draw(WORLD_CLIENTS_MAX);
	w->block_size = sim_chance(50) ? 4096 : sim_chance(50) ? 512 : 8192;
	w->blocks = 64 + (uint32_t)sim_draw(192);
	w->ios_left = 200 + (uint32_t)sim_draw(400);
	w->cut_percent = sim_chance(50) ? (uint32_t)sim_draw(8) : 0;
	w->move_permille = sim_chance(50) ? (uint32_t)sim_draw(100) : 0;
	if (w->statics) {
		w->replaces = sim_chance(50);
		w->files = files_sim_make(seed);
	}
	w->target_core = daemon_core_make_scarce(w->target_cores);
	w->host_core = daemon_core_make(1 + (uint32_t)sim_draw(2), 0);
	w->oracle = oracle_make(w->blocks, w->block_size);
	sim_as(core_control(w->target_core), build, w);
	daemon_wait(&w->serving, 10 * NS_PER_S, "the target does not come up");
	w->host = nvme_host_make(w->host_core);
}

void world_start(struct world *w, uint64_t seed)
{
	world_start_over(w, seed, NULL);
}

void world_start_over(struct world *w, uint64_t seed, const char *(*stack)(struct world *w))
{
	*w = (struct world){ .serves = "disk", .stack = stack };
	start(w, seed);
}

void world_start_protected(struct world *w, uint64_t seed, const char *(*stack)(struct world *w))
{
	*w = (struct world){ .serves = "disk", .stack = stack, .protected = true };
	start(w, seed);
}

void world_start_static(struct world *w, uint64_t seed)
{
	*w = (struct world){ .serves = "disk", .statics = true };
	start(w, seed);
}

/* --- the clients' time ------------------------------------------------------------------------ */

void world_clients_make(struct world *w)
{
	w->clients_running = w->clients;
	for (uint32_t i = 0; i < w->clients; i++)
		w->client[i] = client_make(w, i);
}

static bool is_over(void *arg)
{
	struct world *w = arg;

	return seeds_failed() || w->clients_running == 0;
}

void world_run_clients(struct world *w, void (*after_pass)(struct reactor *r, void *arg), void *arg)
{
	sim_after_pass(after_pass, arg);
	world_clients_make(w);
	if (!sim_run(is_over, w, WORLD_SECONDS * NS_PER_S))
		seeds_fail("stuck: %u clients have not ended, %u I/Os were left", w->clients_running, w->ios_left);
}

static void moved(void *arg, int rc)
{
	((struct world *)arg)->moves += rc == 0;
}

/* One of the core's connections, frozen wherever it is, goes on somewhere else. */
static void move_one(void *arg)
{
	struct world *w = arg;
	struct nvmf_qpair *qp = nvmf_target_qpair(w->target, (uint32_t)sim_draw(6));

	if (qp)
		qp->transport->ops->qpair_move(qp, core_reactor(w->target_core, (uint32_t)sim_draw(w->target_cores)), moved, w);
}

void world_maybe_move(struct world *w)
{
	if (w->target_cores > 1 && sim_draw(1000) < w->move_permille)
		sim_as(core_reactor(w->target_core, (uint32_t)sim_draw(w->target_cores)), move_one, w);
}

void world_clients_free(struct world *w)
{
	for (uint32_t i = 0; i < w->clients; i++)
		client_free(w->client[i]);
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

	if (w->files)
		bdev_resv_store_close(w->reg);
	if (malloc_delete(w->reg, "disk", unregistered, w, &e))
		seeds_fail("%s", e.text);
}

static void stop_target(void *arg)
{
	struct world *w = arg;

	nvmf_target_stop(w->target, target_stopped, w);
}

uint64_t world_end(struct world *w)
{
	sim_as(core_control(w->target_core), stop_target, w);
	daemon_wait(&w->stopped, 60 * NS_PER_S, "the target does not stop");
	bdev_registry_free(w->reg);
	daemon_check_memory(w->target_core, "the target's");
	seeds_verdict();
	files_free(w->files);
	nvme_host_free(w->host);
	oracle_free(w->oracle);
	core_free(w->host_core);
	core_free(w->target_core);
	return daemon_net_end();
}
