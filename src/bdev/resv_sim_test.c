/* SPDX-License-Identifier: BSD-3-Clause */
/* resv_sim_test.c: hosts of both kinds on all cores that do I/O and reserve, preempt and clear at random, in virtual
 * time, seed by seed. An oracle of its own says who may do what between operations; and when PREEMPT AND ABORT was
 * answered no write of who was preempted may reach the media any more.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>

#include "bdev/bdev_device.h"
#include "bdev/reservation.h"
#include "core/sim/sim.h"

#define BS 512u
#define CORES 3u
#define HOSTS 4u
#define SLOTS 4u
#define OPS_PER_SEED 60u
#define SEEDS 150u

struct slow_io {
	struct timer timer;
	struct bdev_io *io;
};

struct slot {
	struct host *host;
	struct bdev_io io;
	struct iovec iov;
	struct timer timer;
	uint32_t era;                      /* in which it was submitted; 0: none was settled */
};

struct host {
	struct world *world;
	struct bdev_initiator who;
	struct reactor *reactor;
	struct bdev_channel *ch;
	uint32_t number, busy;
	bool stop, fenced;                 /* fenced: preempted, and that was answered */
	uint64_t key;                      /* 0: not registered */
	struct slot slots[SLOTS];
};

struct world {
	struct core *core;
	struct bdev_registry *reg;
	struct bdev disk;
	struct bdev_desc *desc;
	struct host hosts[HOSTS];
	char buffer[2 * BS];
	/* the driver's */
	struct resv_op op;
	uint32_t asker, ops, era;          /* era 0: an operation is under way */
	struct timer timer;
	bool over, destroyed;
	/* the oracle's, after the last operation */
	uint8_t type;
	bool registered[HOSTS], holds[HOSTS];
	/* seen */
	uint32_t checked, refused, fences, answered[RESV_GONE + 1];
};

/* --- the oracle ----------------------------------------------------------------------------------- */

static bool oracle_allows(const struct world *w, uint32_t host, bool writes)
{
	switch (w->type) {
	case RESV_NONE:
		return true;
	case RESV_WE:
		return !writes || w->holds[host];
	case RESV_EA:
		return w->holds[host];
	case RESV_WERO:
	case RESV_WEAR:
		return !writes || w->registered[host];
	default:
		return w->registered[host];
	}
}

/* --- the device: each I/O takes its time ------------------------------------------------------------ */

static void lands(struct timer *t)
{
	struct bdev_io *io = container_of(t, struct slow_io, timer)->io;
	const struct host *h = io->who ? container_of(io->who, struct host, who) : NULL;

	if (h && io->op == BDEV_WRITE && h->fenced)
		fail_msg("a write of host %u lands after the answer that it was preempted", h->number);
	bdev_io_done(io, BDEV_ST_OK);
}

static void disk_submit(struct bdev_channel *ch, struct bdev_io *io)
{
	struct slow_io *s = io->device_ctx;

	s->io = io;
	if (io->op == BDEV_READ) /* compares are equal: the media are zero, and what is written is, too */
		for (uint32_t i = 0; i < io->iov_count; i++)
			memset(io->iovs[i].iov_base, 0, io->iovs[i].iov_len);
	timer_start(&s->timer, sim_draw(200 * NS_PER_US), lands);
}

static void disk_destroy(struct bdev *b)
{
	container_of(b, struct world, disk)->destroyed = true;
	bdev_destroyed(b);
}

static const struct bdev_ops disk_ops = { .submit = disk_submit, .destroy = disk_destroy };

/* --- hosts --------------------------------------------------------------------------------------------- */

static void slot_start(struct slot *s);
static void slot_rested(struct timer *t);

static bool changes(uint8_t op)
{
	return op != BDEV_READ && op != BDEV_COMPARE && op != BDEV_VERIFY;
}

static void slot_done(struct bdev_io *io)
{
	struct slot *s = container_of(io, struct slot, io);
	struct host *h = s->host;
	struct world *w = h->world;

	if (s->era && s->era == w->era) { /* nothing has changed since it was submitted */
		bool may = oracle_allows(w, h->number, changes(io->op));

		w->checked++;
		if (may != (io->status == BDEV_ST_OK))
			fail_msg("host %u, %s, type %u: status %s", h->number, bdev_op_name(io->op), w->type,
			         bdev_status_name(io->status));
	}
	w->refused += io->status == BDEV_ST_RESERVED;
	if (io->status != BDEV_ST_OK && io->status != BDEV_ST_RESERVED)
		fail_msg("%s ended with %s", bdev_op_name(io->op), bdev_status_name(io->status));
	timer_start(&s->timer, 1 + sim_draw(20 * NS_PER_US), slot_rested); /* what is refused takes no time by itself */
}

static void slot_rested(struct timer *t)
{
	struct slot *s = container_of(t, struct slot, timer);

	s->host->busy--;
	if (!s->host->stop)
		slot_start(s);
}

static void slot_start(struct slot *s)
{
	static const uint8_t ops[] = { BDEV_READ, BDEV_WRITE, BDEV_WRITE, BDEV_COMPARE_AND_WRITE, BDEV_WRITE_ZEROES,
	                               BDEV_COMPARE };
	struct host *h = s->host;
	struct bdev_io *io = &s->io;
	uint32_t parts;

	io->op = ops[sim_draw(ARRAY_SIZE(ops))];
	parts = io->op == BDEV_WRITE_ZEROES ? 0 : io->op == BDEV_COMPARE_AND_WRITE ? 2 : 1;
	io->lba = sim_draw(8);
	io->count = 1;
	s->iov = (struct iovec){ .iov_base = h->world->buffer, .iov_len = parts * BS };
	io->iovs = &s->iov;
	io->iov_count = parts ? 1 : 0;
	io->done = slot_done;
	io->who = &h->who;
	s->era = h->world->era;
	h->busy++;
	bdev_submit(h->ch, io);
}

static void host_begin(void *arg)
{
	struct host *h = arg;

	h->ch = bdev_channel_get(h->world->desc, NULL);
	for (uint32_t i = 0; i < SLOTS; i++) {
		h->slots[i].host = h;
		slot_start(&h->slots[i]);
	}
}

static void host_end(void *arg)
{
	struct host *h = arg;

	bdev_channel_put(h->ch);
}

/* --- the driver: one operation after the other, each asked by a host on its core --------------------------- */

static void ask(struct world *w);
static void reported(struct resv_op *op);

static void pause_over(struct timer *t)
{
	struct world *w = container_of(t, struct world, timer);

	if (w->ops == OPS_PER_SEED)
		w->over = true;
	else
		ask(w);
}

static struct host *host_of(struct world *w, uint32_t party)
{
	for (uint32_t i = 0; i < HOSTS; i++)
		if (w->hosts[i].who.party == party)
			return &w->hosts[i];
	return NULL;
}

/* The oracle takes over what is said; who was preempted and waited for is fenced from now on. */
static void reported(struct resv_op *op)
{
	struct world *w = container_of(op, struct world, op);
	struct resv_report *r = op->ret_report;
	static uint32_t eras;

	w->type = r->type;
	for (uint32_t i = 0; i < HOSTS; i++) {
		w->registered[i] = w->holds[i] = false;
		w->hosts[i].key = 0;
	}
	for (uint32_t i = 0; i < r->count; i++) {
		struct host *h = host_of(w, r->who[i].party);

		must(h);
		w->registered[h->number] = true;
		w->holds[h->number] = r->who[i].holds;
		h->key = r->who[i].key;
	}
	free(r);
	w->era = ++eras;
	timer_start(&w->timer, 1 + sim_draw(600 * NS_PER_US), pause_over);
}

static void answered(struct resv_op *op)
{
	struct world *w = container_of(op, struct world, op);
	bool aborts = op->action == RESV_PREEMPT_ABORT && op->result == RESV_OK;
	uint64_t victim = op->new_key;

	w->answered[op->result]++;
	if (aborts && (op->type == RESV_EA || op->type == RESV_WE || op->type == RESV_EARO) && w->type != RESV_NONE &&
	    !resv_type_is_all(w->type)) {
		bool takes = false;

		for (uint32_t i = 0; i < HOSTS; i++)
			takes |= w->holds[i] && w->hosts[i].key == victim;
		for (uint32_t i = 0; takes && i < HOSTS; i++) {
			bool gone = i != w->asker && w->hosts[i].key == victim;

			w->hosts[i].fenced = gone;
			w->fences += gone;
		}
	}
	*op = (struct resv_op){ .action = RESV_REPORT };
	bdev_resv_do(w->desc, &w->hosts[w->asker].who, op, reported);
}

static uint64_t any_key(struct world *w)
{
	uint32_t from = (uint32_t)sim_draw(HOSTS);

	for (uint32_t i = 0; i < HOSTS; i++)
		if (w->hosts[(from + i) % HOSTS].key && (from + i) % HOSTS != w->asker)
			return w->hosts[(from + i) % HOSTS].key;
	return sim_draw(5);
}

static void ask_here(struct world *w)
{
	static const uint8_t actions[] = { RESV_REGISTER_IGNORE, RESV_NVME_REGISTER, RESV_RESERVE, RESV_RESERVE,
	                                   RESV_RELEASE, RESV_CLEAR, RESV_PREEMPT, RESV_PREEMPT_ABORT,
	                                   RESV_PREEMPT_ABORT, RESV_PREEMPT_ABORT };
	struct host *h = &w->hosts[w->asker];
	struct resv_op *op = &w->op;

	*op = (struct resv_op){ .action = actions[sim_draw(ARRAY_SIZE(actions))], .key = h->key };
	op->type = (uint8_t)(1 + sim_draw(RESV_TYPE_COUNT - 1));
	if (!h->key && sim_chance(80)) /* mostly what may succeed */
		op->action = RESV_REGISTER_IGNORE;
	else if (h->key && !w->type && sim_chance(80))
		op->action = RESV_RESERVE;
	if (op->action == RESV_RELEASE && sim_chance(80))
		op->type = w->type ? w->type : RESV_WE;
	op->new_key = op->action == RESV_PREEMPT || op->action == RESV_PREEMPT_ABORT
	              ? (resv_type_is_all(w->type) && sim_chance(50) ? 0 : any_key(w))
	              : sim_chance(10) ? 0 : 1 + w->asker;
	w->ops++;
	w->era = 0;
	for (uint32_t i = 0; i < HOSTS; i++)
		w->hosts[i].fenced = false;
	bdev_resv_do(w->desc, &h->who, op, answered);
}

struct go {
	struct msg msg;
	struct world *w;
};

static void go_here(struct msg *m)
{
	struct go *g = container_of(m, struct go, msg);

	ask_here(g->w);
	free(g);
}

static void ask(struct world *w)
{
	struct go *g = base_zalloc(sizeof(*g));

	g->w = w;
	w->asker = (uint32_t)sim_draw(HOSTS);
	msg_send(w->hosts[w->asker].reactor, &g->msg, go_here);
}

static void driver_begin(void *arg)
{
	ask(arg);
}

/* --- the world ---------------------------------------------------------------------------------------------- */

static void world_open(void *arg)
{
	struct world *w = arg;

	w->reg = bdev_registry_make(w->core);
	w->disk = (struct bdev){ .ops = &disk_ops, .name = "disk", .product = "Disk", .block_size = BS, .block_count = 1000,
		.native_ops = BDEV_BIT(READ) | BDEV_BIT(WRITE), .io_ctx_bytes = sizeof(struct slow_io) };
	must(bdev_register(w->reg, &w->disk, NULL) == 0);
	w->desc = bdev_open(w->reg, "disk", true, "test", NULL, NULL, NULL);
	for (uint32_t i = 0; i < HOSTS; i++) {
		struct host *h = &w->hosts[i];
		char port[8];
		struct resv_identity id = { .kind = i % 2 ? RESV_SCSI_NEXUS : RESV_NVME_HOST, .port = port, .target = "t",
		                            .host_id = { .b = { (uint8_t)(i + 1) } } };

		snprintf(port, sizeof(port), "%u", i);
		h->world = w;
		h->number = i;
		h->reactor = core_reactor(w->core, i % CORES);
		bdev_initiator_enter(w->reg, &h->who, &id);
	}
}

static void unregistered(void *arg, int rc) {}

static void world_close(void *arg)
{
	struct world *w = arg;

	for (uint32_t i = 0; i < HOSTS; i++)
		bdev_initiator_leave(w->reg, &w->hosts[i].who);
	bdev_close(w->desc);
	bdev_unregister(&w->disk, unregistered, NULL);
}

static void world_free(void *arg)
{
	bdev_registry_free(((struct world *)arg)->reg);
}

static bool is_over(void *arg)
{
	return ((struct world *)arg)->over;
}

static bool all_rest(void *arg)
{
	struct world *w = arg;
	uint32_t busy = 0;

	for (uint32_t i = 0; i < HOSTS; i++)
		busy += w->hosts[i].busy;
	return !busy;
}

struct sums {
	uint32_t checked, refused, fences, answered[RESV_GONE + 1];
};

static void run_seed(uint64_t seed, struct sums *sums)
{
	struct core_opts opts = { .cpus = "[0-2]", .mode = CORE_INTERRUPT, .memory_bytes = 16 * MIB };
	struct world *w = base_zalloc_aligned(CACHE_LINE, sizeof(*w));

	sim_start(seed);
	w->core = core_make(&opts, NULL);
	sim_as(core_control(w->core), world_open, w);
	for (uint32_t i = 0; i < HOSTS; i++)
		sim_as(w->hosts[i].reactor, host_begin, &w->hosts[i]);
	sim_as(core_control(w->core), driver_begin, w);
	if (!sim_run(is_over, w, 10 * NS_PER_S))
		fail_msg("seed %lu: operation %u was not answered", (unsigned long)seed, w->ops);
	for (uint32_t i = 0; i < HOSTS; i++)
		w->hosts[i].stop = true;
	must(sim_run(all_rest, w, 10 * NS_PER_S));
	for (uint32_t i = 0; i < HOSTS; i++)
		sim_as(w->hosts[i].reactor, host_end, &w->hosts[i]);
	sim_as(core_control(w->core), world_close, w);
	sim_run(NULL, NULL, NS_PER_S);
	must(w->destroyed);
	sim_as(core_control(w->core), world_free, w);
	core_free(w->core);
	sim_end();
	sums->checked += w->checked;
	sums->refused += w->refused;
	sums->fences += w->fences;
	for (uint32_t i = 0; i <= RESV_GONE; i++)
		sums->answered[i] += w->answered[i];
	free(w);
}

static void hosts_keep_to_what_is_reserved(void **state)
{
	struct sums s = { 0 };

	for (uint64_t seed = 1; seed <= SEEDS; seed++)
		run_seed(seed, &s);
	print_message("%u I/Os checked, %u refused, %u fenced; operations: %u done, %u in conflict\n", s.checked, s.refused,
	              s.fences, s.answered[RESV_OK], s.answered[RESV_CONFLICT]);
	assert_true(s.checked > 10000 && s.refused > 1000 && s.fences > 100); /* or nothing was tried */
	assert_true(s.answered[RESV_OK] > 1000 && s.answered[RESV_CONFLICT] > 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hosts_keep_to_what_is_reserved),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
