/* SPDX-License-Identifier: BSD-3-Clause */
/* rdma_world.c: see rdma_world.h. */
#include "rdma_world.h"

#include <stdio.h>

#include "daemon.h"
#include "net/sim/sim_net.h"
#include "nvme/rdma/rdma.h"
#include "seeds.h"

#define LIMIT_NS (600 * NS_PER_S)

void rdma_nets_start(void)
{
	sim_net_start(&(struct sim_net_opts){ .latency_ns_min = 1000, .latency_ns_max = 20000 });
	sim_verbs_start(&(struct sim_verbs_opts){ .check_unchanged = true, .latency_ns_min = 300,
	                                           .latency_ns_max = 1000 + sim_draw(100000),
	                                           .give_up_ns = NS_PER_S + sim_draw(4 * NS_PER_S) });
}

uint64_t rdma_nets_end(void)
{
	if (sim_verbs_conns())
		seeds_fail("%u connections are left", sim_verbs_conns());
	seeds_verdict();
	sim_run(NULL, NULL, 10 * NS_PER_S); /* what is given back by and by */
	sim_verbs_end();
	sim_net_end();
	return sim_end();
}

struct sim_adapter_opts rdma_draw_adapter(const char *name)
{
	return (struct sim_adapter_opts){
		.name = name, .inline_max = sim_chance(50) ? 16 + (uint32_t)sim_draw(200) : 0, .lacks_srq = sim_chance(30),
		.lacks_invalidate = sim_chance(30), .lacks_cq_resize = sim_chance(10),
		.sge_max = sim_chance(50) ? 2 + (uint32_t)sim_draw(6) : 0,
		.read_depth_max = sim_chance(50) ? 1 + (uint32_t)sim_draw(4) : 0,
		.read_serve_max = sim_chance(50) ? 1 + (uint32_t)sim_draw(4) : 0,
	};
}

bool rdma_draw_limits(struct nvmf_transport_opts *opts)
{
	if (sim_chance(50))
		return false;
	if (sim_chance(40))
		opts->data_wr_pool_size = sim_chance(50) ? 1 : 1 + (uint32_t)sim_draw(200);
	if (sim_chance(30))
		opts->max_srq_depth = 1 + (uint32_t)sim_draw(8);
	if (sim_chance(40))
		opts->max_queue_depth = sim_chance(50) ? 2 : 1024;
	if (sim_chance(30))
		opts->in_capsule_data_size = sim_chance(50) ? 0 : 16384;
	if (sim_chance(20))
		opts->max_io_size = 8192;
	opts->in_capsule_data_size = min_u32(opts->in_capsule_data_size, opts->max_io_size);
	return true;
}

/* Small numbers as likely as large ones. */
static uint32_t draw_of_all_sizes(uint32_t min, uint32_t max)
{
	return min + (uint32_t)sim_draw(1 + ((uint64_t)(max - min) >> sim_draw(20)));
}

void rdma_draw_settings(struct nvmf_transport_opts *opts)
{
	opts->data_wr_pool_size = draw_of_all_sizes(0, 65535);
	opts->max_srq_depth = draw_of_all_sizes(16, 65535);
	opts->num_cqe = draw_of_all_sizes(16, 100000);
	opts->max_queue_depth = (uint16_t)draw_of_all_sizes(2, 65535);
	opts->max_aq_depth = draw_of_all_sizes(8, 4096);
	opts->max_io_size = 4096 * draw_of_all_sizes(2, 512);
	opts->in_capsule_data_size = 16 * draw_of_all_sizes(0, min_u32(opts->max_io_size, 32768) / 16);
	opts->no_srq = sim_chance(30);
	opts->no_wr_batching = sim_chance(30);
}

/* --- the target ------------------------------------------------------------------------------- */

/* The transport's, which says whom it has made. */
static struct nvmf_transport_ops ops;
static struct nvmf_transport *made;

static struct nvmf_transport *make(struct nvmf_target *t, const struct nvmf_transport_opts *opts, struct err *e)
{
	return made = nvmf_rdma_ops.make(t, opts, e);
}

static void serves(void *arg)
{
	struct rdma_target *t = arg;

	t->transport = made;
	t->up = true;
}

static void serve(void *arg)
{
	struct rdma_target *t = arg;
	struct uuid uuid = { .b = { 1, 2, 3, 4, 5, 6, 0x40, 8, 0x80 } };

	t->reg = bdev_registry_make(t->core);
	t->disk = media_export(t->media, t->reg, "far", &uuid);
	t->target = nvmf_target_make(t->core, t->reg);
	ops = nvmf_rdma_ops;
	ops.make = make;
	t->serve = (struct test_serve){ .target = t->target, .ops = &ops, .opts = &t->opts, .nqn = RDMA_NQN,
	                                .disks = { "far" }, .done = serves, .arg = t };
	must(!net_addr_parse(NET_IPV4, "10.0.0.1", "4420", &t->serve.listen, NULL));
	test_serve(&t->serve);
}

void rdma_target_start(struct rdma_target *t, const struct sim_adapter_opts *adapter)
{
	struct sim_adapter_opts opts = *adapter;

	opts.address = "10.0.0.1";
	t->adapter = sim_adapter_add(t->core, &opts);
	sim_as(core_control(t->core), serve, t);
	daemon_wait(&t->up, 10 * NS_PER_S, "the target does not come up");
}

static void unregistered(void *arg, int rc)
{
	struct rdma_target *t = arg;

	must(rc == 0);
	bdev_registry_free(t->reg);
	t->down = true;
}

static void stopped(void *arg)
{
	struct rdma_target *t = arg;

	bdev_unregister(t->disk, unregistered, t);
}

static void stop(void *arg)
{
	struct rdma_target *t = arg;

	nvmf_target_stop(t->target, stopped, t);
}

void rdma_target_stop(struct rdma_target *t)
{
	if (rdma_target_count(t, "remembered"))
		seeds_fail("%llu who waited were not called when they could go on, and a timer had to find them",
		           (unsigned long long)rdma_target_count(t, "remembered"));
	sim_as(core_control(t->core), stop, t);
	daemon_wait(&t->down, LIMIT_NS, "the target does not stop");
	daemon_check_memory(t->core, "the target's");
}

struct asked {
	struct rdma_target *t;
	const char *key;
	uint64_t sum;
};

static void emit(void *arg, const char *key, uint64_t v)
{
	struct asked *a = arg;

	if (!strcmp(key, a->key))
		a->sum += v;
}

static void ask(void *arg)
{
	struct asked *a = arg;

	for (uint32_t i = 0; i < core_reactor_count(a->t->core); i++)
		ops.stats(a->t->transport, i, emit, a);
}

uint64_t rdma_target_count(struct rdma_target *t, const char *key)
{
	struct asked a = { .t = t, .key = key };

	sim_as(core_control(t->core), ask, &a);
	return a.sum;
}

/* --- hosts ------------------------------------------------------------------------------------ */

static void host_begin(void *arg)
{
	struct rdma_host *h = arg;

	h->host = nvme_host_make(h->core);
	nvme_rdma_add(h->host);
}

void rdma_host_start(struct rdma_host *h, uint32_t n, const struct sim_adapter_opts *adapter)
{
	struct sim_adapter_opts opts = *adapter;
	char address[24];

	snprintf(address, sizeof(address), "10.0.1.%u", n + 1);
	opts.address = address;
	h->adapter = sim_adapter_add(h->core, &opts);
	sim_as(core_control(h->core), host_begin, h);
}

static void is_idle(void *arg)
{
	struct rdma_host *h = arg;

	h->idle = true;
}

static void ask_idle(void *arg)
{
	struct rdma_host *h = arg;

	nvme_host_when_idle(h->host, is_idle, h);
}

static void host_end(void *arg)
{
	struct rdma_host *h = arg;

	nvme_host_free(h->host);
}

void rdma_host_stop(struct rdma_host *h)
{
	sim_as(core_control(h->core), ask_idle, h);
	daemon_wait(&h->idle, LIMIT_NS, "a host's connections do not end");
	sim_as(core_control(h->core), host_end, h);
	daemon_check_memory(h->core, "a host's");
}

void rdma_path(struct nvme_path *ret_path)
{
	must(!nvme_path_parse("trtype:RDMA adrfam:IPv4 traddr:10.0.0.1 trsvcid:4420 subnqn:" RDMA_NQN, ret_path, NULL));
}
