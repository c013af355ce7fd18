/* SPDX-License-Identifier: BSD-3-Clause */
/* rdma_world.h: a target behind a simulated RDMA adapter, and hosts' machines with one each: built and taken down.
 */
#ifndef TESTS_SIM_RDMA_WORLD_H
#define TESTS_SIM_RDMA_WORLD_H

#include "media.h"
#include "nvme/nvme.h"
#include "nvmf/nvmf.h"
#include "nvmf/test_serve.h"
#include "verbs/sim/sim_verbs.h"

#define RDMA_NQN "nqn.2026-01.io.gantry:far"
#define RDMA_HOSTS_MAX 4u

struct rdma_target {
	struct core *core;
	struct sim_adapter *adapter;
	struct media *media;
	struct nvmf_transport_opts opts;
	struct bdev_registry *reg;
	struct bdev *disk;
	struct nvmf_target *target;
	struct nvmf_transport *transport;
	struct test_serve serve;
	bool up, down;
};

struct rdma_host {
	struct core *core;
	struct sim_adapter *adapter;
	struct nvme_host *host;
	struct mem_region *region;       /* of the guests' data, if it is registered */
	bool idle;
};

/* After sim_start(): networks. */
void rdma_nets_start(void);
/* Nothing may be left. */
uint64_t rdma_nets_end(void);

/* Set the rest before: core, media, opts. Address 10.0.0.1. Up when this returns. */
void rdma_target_start(struct rdma_target *t, const struct sim_adapter_opts *adapter);
void rdma_target_stop(struct rdma_target *t);
/* A counter of its transport, over all cores. */
uint64_t rdma_target_count(struct rdma_target *t, const char *key);

/* Set core before. Address 10.0.1.<n + 1>. */
void rdma_host_start(struct rdma_host *h, uint32_t n, const struct sim_adapter_opts *adapter);
/* All controllers and queue pairs were closed. */
void rdma_host_stop(struct rdma_host *h);
void rdma_path(struct nvme_path *ret_path);

/* Of pools as small, and queues as short or deep, as anybody may set them: half of the worlds have some of these.
 * True: this one does. */
bool rdma_draw_limits(struct nvmf_transport_opts *opts);

/* The same, but of all that can be set, and as far as the method's parameters go. */
void rdma_draw_settings(struct nvmf_transport_opts *opts);

/* An adapter as some are: few pieces of memory, no shared receives, no inline data ... */
struct sim_adapter_opts rdma_draw_adapter(const char *name);

#endif
