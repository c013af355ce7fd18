/* SPDX-License-Identifier: BSD-3-Clause */
/* front.c: see front.h. */
#include "front.h"

#include "daemon.h"
#include "world.h"

struct front {
	struct world w;             /* as clients see it */
	struct gateway *g;
};

static void serve(void *arg)
{
	world_serve(&((struct front *)arg)->w);
}

struct front *front_make(struct gateway *g, const char *disk, uint32_t block_size, uint64_t blocks,
                         struct oracle *oracle, uint32_t ios)
{
	struct front *f = base_zalloc(sizeof(*f));
	struct core *hosts = daemon_core_make(sim_chance(50) ? 2 : 1, 0);

	f->g = g;
	f->w = (struct world){ .target_core = g->core, .target_cores = g->reactors, .host_core = hosts, .reg = g->reg,
		                   .serves = disk, .oracle = oracle, .block_size = block_size, .blocks = blocks,
		                   .ios_left = ios };
	f->w.clients = 1 + (uint32_t)sim_draw(WORLD_CLIENTS_MAX);
	f->w.move_permille = sim_chance(50) ? (uint32_t)sim_draw(300) : 0;
	f->w.host = nvme_host_make(f->w.host_core);
	sim_as(core_control(g->core), serve, f);
	return f;
}

bool *front_serves(struct front *f)
{
	return &f->w.serving;
}

void front_begin(struct front *f)
{
	world_clients_make(&f->w);
}

void front_step(struct front *f)
{
	if (f->w.clients_running)
		world_maybe_move(&f->w);
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

bool *front_stopped(struct front *f)
{
	return &f->w.stopped;
}

void front_free(struct front *f)
{
	world_clients_free(&f->w);
	nvme_host_free(f->w.host);
	core_free(f->w.host_core);
	free(f);
}
