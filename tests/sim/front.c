/* SPDX-License-Identifier: BSD-3-Clause */
/* front.c: see front.h. */
#include "front.h"

#include "world.h"

struct front {
	struct world w;             /* as clients see it */
	struct gateway *g;
};

static void serve_step(struct nvmf_change *c)
{
	struct front *f = container_of(c, struct front, w.change);
	struct net_addr addr;

	if (c->err.code) {
		world_fail(&f->w, "exporting: %s", c->err.text);
		return;
	}
	must(!net_addr_parse(NET_IPV4, "127.0.0.1", "4420", &addr, NULL));
	switch (f->w.step++) {
	case 0:
		nvmf_add_transport(c, &nvmf_tcp_ops, &(struct nvmf_transport_opts){
			.in_capsule_data_size = (uint32_t)(sim_draw(3) * 4096), .max_io_size = 131072, .max_queue_depth = 128,
			.max_io_qpairs_per_ctrlr = 8, .max_aq_depth = 32, .c2h_success = sim_chance(70) });
		break;
	case 1:
		nvmf_add_subsystem(c, &(struct nvmf_subsystem_opts){ .nqn = WORLD_NQN, .allow_any_host = true });
		break;
	case 2:
		nvmf_add_ns(c, WORLD_NQN, &(struct nvmf_ns_opts){ .bdev_name = f->w.serves });
		break;
	case 3:
		nvmf_add_listener(c, WORLD_NQN, "TCP", &addr);
		break;
	default:
		f->w.serving = true;
	}
}

static void serve(void *arg)
{
	struct front *f = arg;

	f->w.target = nvmf_target_make(f->g->core, f->g->reg);
	f->w.change = (struct nvmf_change){ .target = f->w.target, .done = serve_step };
	serve_step(&f->w.change);
}

struct front *front_make(struct gateway *g, const char *disk, uint32_t block_size, uint64_t blocks,
                         struct oracle *oracle, uint32_t ios)
{
	struct front *f = base_zalloc(sizeof(*f));
	struct core_opts opts = { .cpus = sim_chance(50) ? "[0-1]" : "[0]",
		                      .mode = (enum core_mode)sim_draw(CORE_MODE_COUNT) };

	f->g = g;
	f->w = (struct world){ .target_core = g->core, .target_cores = g->reactors, .serves = disk, .oracle = oracle,
		                   .block_size = block_size, .blocks = blocks, .ios_left = ios };
	f->w.clients = 1 + (uint32_t)sim_draw(WORLD_CLIENTS_MAX);
	f->w.move_permille = sim_chance(50) ? (uint32_t)sim_draw(300) : 0;
	f->w.host_core = core_make(&opts, NULL);
	must(f->w.host_core);
	f->w.host = nvme_host_make(f->w.host_core);
	sim_as(core_control(g->core), serve, f);
	return f;
}

bool front_serves(const struct front *f)
{
	return f->w.serving || f->w.failed;
}

void front_begin(struct front *f)
{
	f->w.clients_running = f->w.clients;
	for (uint32_t i = 0; i < f->w.clients; i++)
		f->w.client[i] = client_make(&f->w, i);
}

/* --- moves ------------------------------------------------------------------------------------ */

static void moved(void *arg, int rc)
{
	((struct front *)arg)->w.moves += rc == 0;
}

static void move_one(void *arg)
{
	struct front *f = arg;
	struct nvmf_qpair *qp = nvmf_target_qpair(f->w.target, (uint32_t)sim_draw(6));

	if (qp)
		qp->transport->ops->qpair_move(qp, core_reactor(f->g->core, (uint32_t)sim_draw(f->g->reactors)), moved, f);
}

void front_step(struct front *f)
{
	if (f->g->reactors > 1 && f->w.clients_running && sim_draw(1000) < f->w.move_permille)
		sim_as(core_reactor(f->g->core, (uint32_t)sim_draw(f->g->reactors)), move_one, f);
}

/* --- the end ---------------------------------------------------------------------------------- */

uint32_t front_ios_left(const struct front *f)
{
	return f->w.ios_left;
}

bool front_over(const struct front *f)
{
	return f->w.clients_running == 0;
}

const char *front_failure(const struct front *f)
{
	return f->w.failed ? f->w.why : NULL;
}

static void stopped(void *arg)
{
	struct front *f = arg;

	f->w.stopped = true;
}

static void stop(void *arg)
{
	struct front *f = arg;

	nvmf_target_stop(f->w.target, stopped, f);
}

void front_stop(struct front *f)
{
	sim_as(core_control(f->g->core), stop, f);
}

bool front_stopped(const struct front *f)
{
	return f->w.stopped;
}

void front_free(struct front *f)
{
	for (uint32_t i = 0; i < f->w.clients; i++)
		client_free(f->w.client[i]);
	nvme_host_free(f->w.host);
	core_free(f->w.host_core);
	free(f);
}
