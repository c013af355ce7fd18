/* SPDX-License-Identifier: BSD-3-Clause */
/* test_world.c: building it, and the raw host's few verbs. */
#include "backends/malloc/malloc.h"
#include "backends/null/null.h"
#include "core/log.h"
#include "core/mem.h"
#include "nvmf/rdma/rdma.h"
#include "nvmf/rdma/test_world.h"
#include "nvmf/target.h"

const struct nvmf_transport_opts world_opts = {
	.max_queue_depth = 128, .max_io_qpairs_per_ctrlr = 8, .in_capsule_data_size = 4096, .max_io_size = 1u << 20,
	.max_aq_depth = 32, .data_timeout_ms = 3000, .max_srq_depth = 256,
};

/* --- the target --- */

static void serves(void *arg) { ((struct test_world *)arg)->serving = true; }

static void serve(void *arg)
{
	struct test_world *w = arg;
	const struct malloc_opts opts = { .name = "disk", .block_size = TEST_BLOCK, .block_count = TEST_BLOCKS,
	                                  .md_size = w->md.size, .md_interleaved = w->md.size && !w->md.apart,
	                                  .dif_type = w->md.dif_type, .dif_is_head_of_md = w->md.head };
	const struct null_opts zeroes = { .name = "zeroes", .block_size = TEST_BLOCK, .block_count = TEST_BLOCKS,
	                                  .md_size = w->md.size, .dif_type = w->md.dif_type,
	                                  .dif_is_head_of_md = w->md.head };
	struct bdev *b;

	w->reg = bdev_registry_make(w->core);
	must(!malloc_create(w->reg, &opts, &b, NULL));
	must(!null_create(w->reg, &zeroes, &b, NULL));
	w->target = nvmf_target_make(w->core, w->reg);
	w->serve = (struct test_serve){ .target = w->target, .ops = &nvmf_rdma_ops, .opts = &w->opts, .nqn = TEST_NQN,
	                                .disks = { "disk", "zeroes" }, .done = serves, .arg = w };
	must(!net_addr_parse(NET_IPV4, TEST_ADDRESS, "4420", &w->serve.listen, NULL));
	test_serve(&w->serve);
}

static bool is_serving(void *arg)
{
	return ((struct test_world *)arg)->serving;
}

/* --- the hosts' machine --- */

static void host_done(void *arg, const struct verbs_wc *wcs, uint32_t count);

static void on_dev(struct verbs_watcher *watcher, struct verbs_dev *d, enum verbs_dev_event event)
{
	struct test_world *w = container_of(watcher, struct test_world, watcher);

	if (event != VERBS_DEV_CAME || w->dev)
		return;
	w->dev = d;
	verbs_dev_ref(d);
	w->cq = verbs_cq_make(d, 1024, NULL);
	must(w->cq);
}

static void hosts_begin(void *arg)
{
	struct test_world *w = arg;

	w->verbs = verbs_get(w->host_core, NULL);
	must(w->verbs);
	w->watcher.event = on_dev;
	verbs_watch(w->verbs, &w->watcher);
}

static bool has_cq(void *arg) { return ((struct test_world *)arg)->cq; }

static void start_cq(void *arg)
{
	struct test_world *w = arg;

	must(!verbs_cq_start(w->cq, host_done, w));
}

static void stop_cq(void *arg) { verbs_cq_stop(((struct test_world *)arg)->cq); }

static void hosts_end(void *arg)
{
	struct test_world *w = arg;

	verbs_unwatch(w->verbs, &w->watcher);
	verbs_cq_free(w->cq);
	verbs_dev_unref(w->dev);
	verbs_put(w->verbs);
}

void world_start(struct test_world *w, uint64_t seed, const struct nvmf_transport_opts *opts)
{
	struct test_world had = *w;

	memset(w, 0, sizeof(*w));
	w->cores = had.cores ? had.cores : 2;
	w->memory_bytes = had.memory_bytes;
	w->small_hosts = had.small_hosts;
	w->md = had.md;
	w->target_adapter = had.target_adapter;
	w->peer_adapter = had.peer_adapter;
	w->wire = had.wire;
	w->target_adapter.name = "sim0";
	w->target_adapter.address = TEST_ADDRESS;
	w->peer_adapter.name = "sim1";
	w->peer_adapter.address = HOST_ADDRESS;
	w->opts = opts ? *opts : world_opts;
	sim_pair_start(seed, NULL, w->cores, w->memory_bytes, &w->core, &w->host_core);
	sim_verbs_start(&w->wire);
	w->adapter = sim_adapter_add(w->core, &w->target_adapter);
	w->host_adapter = sim_adapter_add(w->host_core, &w->peer_adapter);
	sim_as(core_control(w->core), serve, w);
	must(sim_run(is_serving, w, 10 * NS_PER_S));
	sim_as(core_control(w->host_core), hosts_begin, w);
	must(sim_run(has_cq, w, 10 * NS_PER_S));
	sim_as(core_reactor(w->host_core, 0), start_cq, w);
}

static void unregistered(void *arg, int rc)
{
	struct test_world *w = arg;

	bdev_registry_free(w->reg);
	w->stopped = true;
}

static void zeroes_deleted(void *arg, int rc)
{
	must(!malloc_delete(((struct test_world *)arg)->reg, "disk", unregistered, arg, NULL));
}

static void target_stopped(void *arg)
{
	must(!null_delete(((struct test_world *)arg)->reg, "zeroes", zeroes_deleted, arg, NULL));
}

static void stop(void *arg)
{
	nvmf_target_stop(((struct test_world *)arg)->target, target_stopped, arg);
}

static bool is_stopped(void *arg)
{
	return ((struct test_world *)arg)->stopped;
}

void world_stop(struct test_world *w)
{
	world_stop_target(w);
	world_end(w);
}

void world_stop_target(struct test_world *w)
{
	sim_as(core_control(w->core), stop, w);
	must(sim_run(is_stopped, w, 100 * NS_PER_S));
}

void world_end(struct test_world *w)
{
	sim_as(core_reactor(w->host_core, 0), stop_cq, w);
	sim_as(core_control(w->host_core), hosts_end, w);
	world_pass(NS_PER_S);
	sim_pair_end(w->core, w->host_core);
	sim_verbs_end();
}

void world_pass(uint64_t ns)
{
	sim_run(NULL, NULL, ns);
}

/* --- eyes --- */

static struct rdma_transport *transport_of(struct test_world *w)
{
	return rdma_of(nvmf_target_transport(w->target, "RDMA"));
}

struct asked {
	struct test_world *w;
	const char *key;
	uint64_t sum;
};

static void add_if(void *arg, const char *key, uint64_t v)
{
	struct asked *a = arg;

	if (strcmp(a->key, key) == 0)
		a->sum += v;
}

static void ask(void *arg)
{
	struct test_world *w = ((struct asked *)arg)->w;

	for (uint32_t i = 0; i < core_reactor_count(w->core); i++)
		rdma_stats(&transport_of(w)->base, i, add_if, arg);
}

uint64_t world_count(struct test_world *w, const char *key)
{
	struct asked a = { .w = w, .key = key };

	sim_as(core_control(w->core), ask, &a);
	return a.sum;
}

uint32_t world_conns(struct test_world *w) { return transport_of(w)->conn_count; }

struct wanted {
	struct test_world *w;
	uint32_t conns;
};

static bool has_conns(void *arg)
{
	const struct wanted *want = arg;

	return world_conns(want->w) == want->conns;
}

bool world_conns_become(struct test_world *w, uint32_t count)
{
	struct wanted want = { w, count };

	return sim_run(has_conns, &want, 20 * NS_PER_S);
}

uint32_t world_receives_held(struct test_world *w)
{
	uint32_t held = 0;

	list_each(l, &transport_of(w)->devs) {
		struct rdma_home **homes = list_entry(l, struct rdma_dev, link)->homes;

		for (uint32_t i = 0; i < core_reactor_count(w->core); i++)
			held += homes[i] ? homes[i]->shared.count - homes[i]->shared.posted : 0;
	}
	return held;
}

bool world_holds_nothing(struct test_world *w)
{
	struct mem_stats m;
	bool waiting = false;

	world_pass(NS_PER_MS); /* an answer's own completion comes after it */
	mem_get_stats(w->core, &m);
	list_each(l, &transport_of(w)->devs) {
		struct rdma_home **homes = list_entry(l, struct rdma_dev, link)->homes;

		for (uint32_t i = 0; i < core_reactor_count(w->core); i++)
			waiting |= homes[i] && homes[i]->waiting;
	}
	return !waiting && !world_receives_held(w) && !m.in_use_bytes && !m.waiting && !world_count(w, "remembered");
}

/* --- a host's connection: its control reactor --- */

static void post_receives(struct host *h, uint32_t from, uint32_t count)
{
	for (uint32_t i = from; i < from + count; i++) {
		uint64_t at = (uintptr_t)h->mem.base + (uint64_t)h->slots * HOST_CAPSULE + i * sizeof(struct nvme_cqe);
		const struct verbs_sge sge = { at, sizeof(struct nvme_cqe), h->mem.lkey };
		const struct verbs_recv r = { .ctx = (void *)(uintptr_t)at, .sges = &sge, .sge_count = 1 };

		must(!verbs_post_recv(h->vc, &r) || h->ended);
	}
}

static void resolved(struct host *h)
{
	struct verbs_queues q = { .cq = h->w->cq, .send_max = h->slots, .recv_max = h->slots, .send_sge_max = 1,
	                          .recv_sge_max = 1 };

	h->resolved = true;
	must(!verbs_conn_make_queues(h->vc, &q, NULL));
	if (!h->no_receives)
		post_receives(h, 0, h->slots - 1);
	must(!verbs_connect(h->vc, &h->params));
}

static void on_conn(void *arg, enum verbs_conn_event event, const struct verbs_params *p, int rc)
{
	struct host *h = arg;

	switch (event) {
	case VERBS_CONN_RESOLVED:
		resolved(h);
		return;
	case VERBS_CONN_ESTABLISHED:
		must(p->data_len >= sizeof(struct nvme_rdma_cm_rep));
		h->crqsize = le16_get(((const struct nvme_rdma_cm_rep *)p->data)->crqsize);
		h->established = true;
		return;
	case VERBS_CONN_REJECTED:
		if (p && p->data_len >= sizeof(struct nvme_rdma_cm_rej))
			h->reject_status = le16_get(((const struct nvme_rdma_cm_rej *)p->data)->sts);
		h->rejected = true;
		return;
	case VERBS_CONN_UNREACHABLE:
		h->unreachable = true;
		return;
	case VERBS_CONN_ENDED:
		h->ended = true;
		return;
	}
}

void host_init(struct host *h, struct test_world *w, uint16_t qid, uint16_t entries)
{
	memset(h, 0, sizeof(*h));
	h->w = w;
	h->req.qid = le16_of(qid);
	h->req.hrqsize = le16_of(entries);
	h->req.hsqsize = le16_of((uint16_t)(entries - 1));
	h->params = (struct verbs_params){ .data = &h->req, .data_len = sizeof(h->req), .read_serve = 16, .retries = 7,
	                                   .rnr_retries = 7 };
	h->slots = w->small_hosts ? 16 : HOST_SLOTS;
	h->data_len = w->small_hosts ? HOST_DATA / 4 : HOST_DATA;
	h->data = aligned_alloc(4096, h->data_len);
	must(h->data);
	memset(h->data, 0xee, h->data_len);
}

static void begin(void *arg)
{
	struct host *h = arg;
	struct net_addr to;

	must(!net_addr_parse(NET_IPV4, TEST_ADDRESS, "4420", &to, NULL));
	must(!verbs_mem_make(&h->mem, h->w->dev, (uint64_t)h->slots * (HOST_CAPSULE + sizeof(struct nvme_cqe)), NULL));
	h->key = sim_key_make(h->w->host_adapter, h->data, h->data_len, &h->rkey);
	h->vc = verbs_resolve(h->w->verbs, &to, NULL, 2000, on_conn, h, NULL);
	must(h->vc);
}

static bool is_settled(void *arg)
{
	const struct host *h = arg;

	return h->established || h->rejected || h->unreachable;
}

void host_begin_rdma(struct host *h) { sim_as(core_control(h->w->host_core), begin, h); }

bool host_connect_rdma(struct host *h)
{
	host_begin_rdma(h);
	sim_run(is_settled, h, 10 * NS_PER_S);
	return h->established;
}

static void forget(void *arg)
{
	struct host *h = arg;

	if (h->resolved)
		verbs_conn_forget(h->vc);
}

static void finish(void *arg)
{
	struct host *h = arg;

	verbs_disconnect(h->vc);
	verbs_conn_free(h->vc);
	verbs_mem_free(&h->mem);
	sim_key_free(h->key);
}

void host_close(struct host *h)
{
	if (h->vc) {
		sim_as(core_reactor(h->w->host_core, 0), forget, h);
		sim_as(core_control(h->w->host_core), finish, h);
	}
	h->vc = NULL;
	free(h->data);
	h->data = NULL;
}

/* --- its core --- */

static void host_done(void *arg, const struct verbs_wc *wcs, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		struct host *h = verbs_conn_arg(wcs[i].conn);
		uint64_t receives = (uintptr_t)h->mem.base + (uint64_t)h->slots * HOST_CAPSULE;
		uint64_t at = (uintptr_t)wcs[i].ctx;

		if (wcs[i].status) {
			h->send_failures++;
			h->last_failure = wcs[i].status;
			continue;
		}
		if (at < receives)
			continue; /* a SEND */
		must(wcs[i].len == sizeof(struct nvme_cqe) && h->answer_count < HOST_ANSWERS);
		memcpy(&h->answers[h->answer_count], wcs[i].ctx, sizeof(struct nvme_cqe));
		h->invalidated[h->answer_count++] = wcs[i].invalidated ? wcs[i].key : 0;
		post_receives(h, (uint32_t)((at - receives) / sizeof(struct nvme_cqe)), 1);
	}
}

static void post(void *arg)
{
	struct host *h = arg;
	uint8_t *at = (uint8_t *)h->mem.base + (uint64_t)(h->sent++ % h->slots) * HOST_CAPSULE;
	const struct verbs_sge sge = { (uintptr_t)at, h->len, h->mem.lkey };
	const struct verbs_wr wr = { .ctx = at, .sges = &sge, .sge_count = 1, .op = VERBS_SEND, .signaled = true }, *bad;

	must(h->len <= HOST_CAPSULE);
	memcpy(at, h->bytes, h->len);
	h->rc = verbs_post(h->vc, &wr, &bad);
}

void host_raw(struct host *h, const void *bytes, uint32_t len)
{
	h->bytes = bytes;
	h->len = len;
	sim_as(core_reactor(h->w->host_core, 0), post, h);
}

void host_command(struct host *h, struct nvme_sqe *sqe, const void *data, uint32_t len)
{
	uint8_t capsule[HOST_CAPSULE];

	must(len <= HOST_CAPSULE - sizeof(*sqe));
	sqe->flags = 1 << 6;
	sqe->cid = le16_of(++h->cid);
	memcpy(capsule, sqe, sizeof(*sqe));
	if (len)
		memcpy(capsule + sizeof(*sqe), data, len);
	host_raw(h, capsule, (uint32_t)sizeof(*sqe) + len);
}

static bool has_answer(void *arg)
{
	const struct host *h = arg;

	return h->answer_count > h->answers_read || h->ended;
}

bool host_answer(struct host *h, struct nvme_cqe *ret_cqe, uint64_t ns)
{
	sim_run(has_answer, h, ns);
	if (h->answer_count == h->answers_read)
		return false;
	*ret_cqe = h->answers[h->answers_read++];
	return true;
}

uint16_t host_run(struct host *h, struct nvme_sqe *sqe, const void *data, uint32_t len)
{
	struct nvme_cqe cqe;

	host_command(h, sqe, data, len);
	if (!host_answer(h, &cqe, 20 * NS_PER_S))
		return UINT16_MAX;
	must(le16_get(cqe.cid) == h->cid);
	return nvme_cqe_status(&cqe);
}

/* --- descriptors, and setting up --- */

struct nvme_sgl host_keyed(const struct host *h, uint32_t at, uint32_t len, bool invalidate)
{
	struct nvme_sgl s = { .addr = le64_of((uintptr_t)h->data + at), .key = le32_of(h->rkey),
	                      .klength = { (uint8_t)len, (uint8_t)(len >> 8), (uint8_t)(len >> 16) } };

	s.id = NVME_SGL_ID(NVME_SGL_KEYED_DATA_BLOCK, invalidate ? NVME_SGL_INVALIDATE : NVME_SGL_ADDRESS);
	return s;
}

struct nvme_sgl host_in_capsule(uint32_t at, uint32_t len)
{
	struct nvme_sgl s = { .addr = le64_of(at), .length = le32_of(len) };

	s.id = NVME_SGL_ID(NVME_SGL_DATA_BLOCK, NVME_SGL_OFFSET);
	return s;
}

struct nvme_sgl host_list(uint32_t at, uint32_t count)
{
	struct nvme_sgl s = { .addr = le64_of(at), .length = le32_of(count * (uint32_t)sizeof(s)) };

	s.id = NVME_SGL_ID(NVME_SGL_LAST_SEGMENT, NVME_SGL_OFFSET);
	return s;
}

void host_begin_connect(struct host *h, uint16_t qid, uint16_t cntlid)
{
	struct nvmf_connect_data d = { .cntlid = le16_of(cntlid), .subsysnqn = TEST_NQN,
	                               .hostnqn = "nqn.2026-01.io.gantry:host" };
	struct nvme_sqe sqe = { .opc = NVME_ADMIN_FABRICS, .fctype = NVME_FABRICS_CONNECT };

	memset(d.hostid, 7, sizeof(d.hostid));
	sqe.connect.qid = le16_of(qid);
	sqe.connect.sqsize = h->req.hsqsize;
	sqe.sgl1 = host_in_capsule(0, sizeof(d));
	host_command(h, &sqe, &d, sizeof(d));
}

uint16_t host_connect(struct host *h, uint16_t qid, uint16_t cntlid, uint16_t *ret_cntlid)
{
	struct nvme_cqe cqe;

	host_begin_connect(h, qid, cntlid);
	if (!host_answer(h, &cqe, 5 * NS_PER_S))
		return UINT16_MAX;
	if (!nvme_cqe_status(&cqe) && ret_cntlid)
		*ret_cntlid = le16_get(cqe.cntlid);
	return nvme_cqe_status(&cqe);
}

void host_ready(struct host *h, struct test_world *w, uint16_t qid, uint16_t *cntlid)
{
	struct nvme_sqe sqe = { .opc = NVME_ADMIN_FABRICS, .fctype = NVME_FABRICS_PROPERTY_SET };

	host_init(h, w, qid, qid ? 128 : 32);
	must(host_connect_rdma(h));
	must(!host_connect(h, qid, qid ? *cntlid : NVME_CNTLID_DYNAMIC, cntlid));
	if (qid)
		return;
	sqe.property.ofst = le32_of(NVME_REG_CC);
	sqe.property.value = le64_of(nvme_cc_with_iosqes(nvme_cc_with_iocqes(nvme_cc_with_en(0, 1), 4), 6));
	must(!host_run(h, &sqe, NULL, 0));
	world_pass(10 * NS_PER_MS);
}

struct nvme_sqe host_rw(uint8_t opc, uint64_t lba, uint32_t blocks)
{
	struct nvme_sqe sqe = { .opc = opc, .nsid = le32_of(1) };

	sqe.rw.slba = le64_of(lba);
	sqe.rw.nlb = le16_of((uint16_t)(blocks - 1));
	return sqe;
}

/* --- blocks --- */

void host_fill(uint8_t *p, uint32_t len, uint32_t seed)
{
	for (uint32_t i = 0; i < len; i++)
		p[i] = (uint8_t)(i * 31 + (i >> 9) * 7 + seed);
}

uint16_t host_write(struct host *h, uint64_t lba, uint32_t blocks, uint32_t seed)
{
	struct nvme_sqe sqe = host_rw(NVME_CMD_WRITE, lba, blocks);

	host_fill(h->data, blocks * TEST_BLOCK, seed);
	sqe.sgl1 = host_keyed(h, 0, blocks * TEST_BLOCK, false);
	return host_run(h, &sqe, NULL, 0);
}

uint16_t host_read(struct host *h, uint64_t lba, uint32_t blocks)
{
	struct nvme_sqe sqe = host_rw(NVME_CMD_READ, lba, blocks);

	memset(h->data, 0xee, blocks * TEST_BLOCK + 4096);
	sqe.sgl1 = host_keyed(h, 0, blocks * TEST_BLOCK, false);
	return host_run(h, &sqe, NULL, 0);
}

bool host_has(const struct host *h, uint32_t blocks, uint32_t seed)
{
	static uint8_t pattern[HOST_DATA];

	host_fill(pattern, blocks * TEST_BLOCK, seed);
	return !memcmp(pattern, h->data, blocks * TEST_BLOCK) && h->data[blocks * TEST_BLOCK] == 0xee;
}
