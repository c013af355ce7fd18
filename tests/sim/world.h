/* SPDX-License-Identifier: BSD-3-Clause */
/* world.h: one simulated world: a target daemon with a RAM disk, hosts that use it, a network between them. */
#ifndef TESTS_SIM_WORLD_H
#define TESTS_SIM_WORLD_H

#include "backends/malloc/malloc.h"
#include "net/sim/sim_net.h"
#include "nvme/nvme.h"
#include "nvmf/nvmf.h"
#include "oracle.h"
#include "seeds.h"

#define WORLD_NQN "nqn.2026-01.io.gantry:sim"
#define WORLD_CLIENTS_MAX 4
#define WORLD_HOST_NQN "nqn.2026-01.io.gantry:host%u"
#define WORLD_SECONDS 600 /* of virtual time; a run that needs more is stuck */

struct world {
	/* drawn */
	uint32_t target_cores, clients, block_size, blocks, ios_left, cuts_left, cut_percent, move_permille;
	/* the target */
	struct core *target_core;
	struct bdev_registry *reg;
	struct nvmf_target *target;
	struct nvmf_change change;
	const char *(*stack)(struct world *w);
	bool faulty;                    /* its device may fail commands */
	bool protected;                 /* it has protection information, which hosts do not see */
	uint64_t guarded;               /* commands that failed for it */
	bool volatile_disk;             /* it may lose what was not flushed: oracle_power_cut() */
	bool statics, replaces;         /* its controllers are static ones; dup_host_policy */
	struct files *files;            /* ... and what hosts save of them lasts */
	uint32_t saved_last;            /* hosts save ever larger values; the last one */
	uint32_t saved[WORLD_CLIENTS_MAX + 1], saves, refused, recalled; /* by controller: what a host was told is saved */
	uint32_t resets[2];             /* that hosts saw to their end: by CC.EN, of the whole subsystem */
	const char *serves;             /* the device that is exported: "disk", or what stands on it */
	uint32_t step;
	bool serving, stopped;
	/* the hosts */
	struct core *host_core;
	struct nvme_host *host;
	struct client *client[WORLD_CLIENTS_MAX];
	uint32_t clients_running;
	struct oracle *oracle;
	uint64_t moves;
};

/* Make everything from the seed; runs until the target serves. */
void world_start(struct world *w, uint64_t seed);
/* The same; `stack` puts a device over "disk" on the target's control reactor and tells its name, which is exported. */
void world_start_over(struct world *w, uint64_t seed, const char *(*stack)(struct world *w));
/* The same; the disk has protection information, inserted and stripped by the target. */
void world_start_protected(struct world *w, uint64_t seed, const char *(*stack)(struct world *w));
/* The same; hosts ask for static controllers, by number or for any, and save features. */
void world_start_static(struct world *w, uint64_t seed);
/* Export w->serves, of w->reg. Core: the target's control reactor. Then: w->serving. */
void world_serve(struct world *w);
/* Clients that share w->ios_left; when they are over, each takes itself off w->clients_running. */
void world_clients_make(struct world *w);
void world_clients_free(struct world *w);
/* Make them, and run until they are over, or something fails. `after_pass` stays on. */
void world_run_clients(struct world *w, void (*after_pass)(struct reactor *r, void *arg), void *arg);
/* Now and then one of the target's connections, frozen wherever it is, goes on on another core. */
void world_maybe_move(struct world *w);
/* Take it down and check that nothing is left; returns the run's hash. */
uint64_t world_end(struct world *w);

/* client.c: one host with a controller and some queues, on one reactor of the host core. */
struct client *client_make(struct world *w, uint32_t index);
void client_free(struct client *c);

#endif
