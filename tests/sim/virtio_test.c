/* SPDX-License-Identifier: BSD-3-Clause */
/* virtio_test.c: bdev_virtio against vhost in one simulated world: two daemons, their rings in shared memory.
 *
 * Each reactor of the initiator, control too, keeps I/O in flight on blocks of its own and knows what they hold. The
 * server's queues move, its controller goes and comes back, the disk is detached. Checked: every I/O ends once, with
 * the right bytes; none fails unless the disk goes; nothing stays open, charged or in flight.
 */
#include "backends/virtio/virtio.h"
#include "core/log.h"
#include "vhost/test_front.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define CORES 2u
#define WORKERS (CORES + 1)
#define DEPTH 5u
#define JOBS (WORKERS * DEPTH)
#define JOB_BLOCKS (TEST_BLOCKS / JOBS)
#define LONG_NS (200 * NS_PER_S)
#define RECONNECT_NS (NS_PER_S + 100 * NS_PER_MS)

struct job_io {
	struct bdev_io io;
	struct world *w;
	struct bdev_channel *ch;
	struct iovec iovs[3];
	uint64_t first;                  /* block */
	uint8_t holds[JOB_BLOCKS];       /* what each block is full of */
	uint8_t fill;
	bool out, cut;                   /* cut: it does not know any more, until it has written */
	uint8_t data[JOB_BLOCKS * TEST_SECTOR];
};

struct worker {
	struct reactor *on;
	struct bdev_channel *ch;
	struct job_io jobs[DEPTH];
};

struct world {
	struct test_world far;           /* the server */
	struct core *core;
	struct bdev_registry *reg;
	struct vio *vio;
	struct bdev_desc *desc;
	struct vio_opts opts;
	struct worker workers[WORKERS];
	bool answered, refused, detached, going, stopped, enough;
	uint32_t in_flight, left;        /* left: I/Os still to be begun */
	uint64_t done, gone;
};

static bool is_set(void *arg) { return *(bool *)arg; }

/* --- I/O --------------------------------------------------------------------------------------------------------- */

static void next(struct job_io *j);

static void ended(struct bdev_io *io)
{
	struct job_io *j = container_of(io, struct job_io, io);
	struct world *w = j->w;
	uint64_t at = io->lba - j->first;

	must(j->out);
	j->out = false;
	w->in_flight--;
	w->done++;
	if (io->status != BDEV_ST_OK) {
		must(w->going && io->status == BDEV_ST_GONE);
		w->gone++;
		return;
	}
	if (io->op == BDEV_WRITE && io->count == JOB_BLOCKS)
		j->cut = false;
	for (uint64_t i = 0; i < io->count; i++) {
		if (io->op == BDEV_WRITE)
			j->holds[at + i] = j->fill;
		else if (io->op == BDEV_UNMAP || io->op == BDEV_WRITE_ZEROES)
			j->holds[at + i] = 0;
		else if (io->op == BDEV_READ && !j->cut)
			for (uint32_t b = 0; b < TEST_SECTOR; b++)
				must(j->data[i * TEST_SECTOR + b] == j->holds[at + i]);
	}
	next(j);
}

/* In pieces that have nothing to do with blocks. */
static void lay_out(struct job_io *j)
{
	size_t left = j->io.count * TEST_SECTOR, at = 0;
	uint32_t n = 0;

	for (; left && n < 2; n++) {
		size_t len = 1 + sim_draw(left);

		j->iovs[n] = (struct iovec){ j->data + at, len };
		at += len;
		left -= len;
	}
	if (left)
		j->iovs[n++] = (struct iovec){ j->data + at, left };
	j->io.iov_count = (uint16_t)n;
}

static void next(struct job_io *j)
{
	static const uint8_t ops[] = { BDEV_READ, BDEV_READ, BDEV_READ, BDEV_WRITE, BDEV_WRITE, BDEV_WRITE, BDEV_UNMAP,
	                               BDEV_WRITE_ZEROES, BDEV_FLUSH };
	struct world *w = j->w;

	if (w->enough || w->going || !w->left)
		return;
	w->left--;
	j->io.op = ops[sim_draw(ARRAY_SIZE(ops))];
	j->io.lba = j->first + sim_draw(JOB_BLOCKS);
	j->io.count = 1 + sim_draw(j->first + JOB_BLOCKS - j->io.lba);
	j->io.iovs = j->iovs;
	j->io.done = ended;
	j->io.unmap.range_count = 0;
	j->fill = (uint8_t)sim_draw(256);
	j->out = true;
	w->in_flight++;
	if (j->io.op == BDEV_READ || j->io.op == BDEV_WRITE)
		lay_out(j);
	else
		j->io.iov_count = 0;
	memset(j->data, j->io.op == BDEV_WRITE ? j->fill : 0xee, sizeof(j->data));
	bdev_submit(j->ch, &j->io);
}

static void begin_jobs(void *arg)
{
	struct worker *k = arg;

	for (uint32_t i = 0; i < DEPTH; i++)
		next(&k->jobs[i]);
}

static void all_begin(struct world *w)
{
	w->enough = false;
	w->left = 3000;
	for (uint32_t i = 0; i < WORKERS; i++)
		sim_as(w->workers[i].on, begin_jobs, &w->workers[i]);
}

static bool nothing_in_flight(void *arg) { return !((struct world *)arg)->in_flight; }

/* No job is stuck; a reconnection takes a second. */
static void all_end(struct world *w)
{
	w->enough = true;
	must(sim_run(nothing_in_flight, w, LONG_NS));
}

/* --- the world --------------------------------------------------------------------------------------------------- */

static void attached(void *arg, struct vio_ctrlr *c, const struct err *e)
{
	struct world *w = arg;

	w->answered = true;
	w->refused = !c;
}

static void make(void *arg)
{
	struct world *w = arg;

	w->reg = bdev_registry_make(w->core);
	w->vio = vio_make(w->reg);
}

static void attach(void *arg)
{
	struct world *w = arg;

	w->answered = w->going = w->detached = false;
	vio_attach(w->vio, &w->opts, attached, w);
}

static void close_channel(void *arg)
{
	struct worker *k = arg;

	bdev_channel_put(k->ch);
	k->ch = NULL;
}

static void disk_event(struct bdev_desc *desc, enum bdev_event event, void *arg)
{
	if (event == BDEV_EVENT_REMOVE)
		((struct world *)arg)->going = true;
}

static void open_disk(void *arg)
{
	struct world *w = arg;

	w->desc = bdev_open(w->reg, "v0", true, "test", disk_event, w, NULL);
	must(w->desc && bdev_block_count(w->desc) == TEST_BLOCKS);
}

static void open_channel(void *arg)
{
	struct worker *k = arg;

	k->ch = bdev_channel_get(k->jobs[0].w->desc, NULL);
	must(k->ch);
	for (uint32_t i = 0; i < DEPTH; i++)
		k->jobs[i].ch = k->ch;
}

static void open_all(struct world *w)
{
	sim_as(core_control(w->core), open_disk, w);
	for (uint32_t i = 0; i < WORKERS; i++)
		sim_as(w->workers[i].on, open_channel, &w->workers[i]);
}

static void close_disk(void *arg) { bdev_close(((struct world *)arg)->desc); }

static void close_all(struct world *w)
{
	must(sim_run(nothing_in_flight, w, LONG_NS));
	for (uint32_t i = 0; i < WORKERS; i++)
		sim_as(w->workers[i].on, close_channel, &w->workers[i]);
	sim_as(core_control(w->core), close_disk, w);
}

static struct world *begin(uint64_t seed)
{
	static const uint32_t sizes[] = { 4, 8, 16, 64 };
	struct core_opts opts = { .cpus = "[0-1]", .memory_bytes = 64 * MIB, .mode = CORE_ADAPTIVE };
	struct world *w = base_zalloc(sizeof(*w));

	w->far.cores = 1 + (uint32_t)(seed % 3);
	world_start(&w->far, seed);
	opts.mode = sim_chance(50) ? CORE_ADAPTIVE : CORE_INTERRUPT; /* polling for virtual seconds takes real ones */
	w->core = core_make(&opts, NULL);
	must(w->core);
	w->opts = (struct vio_opts){ .name = "v0", .path = TEST_PATH, .queues = (uint32_t)sim_draw(3),
	                             .queue_size = sizes[sim_draw(ARRAY_SIZE(sizes))], .packed = sim_chance(50),
	                             .reconnect_delay_sec = 1 };
	for (uint32_t i = 0; i < WORKERS; i++) {
		w->workers[i].on = i < CORES ? core_reactor(w->core, i) : core_control(w->core);
		for (uint32_t n = 0; n < DEPTH; n++) {
			w->workers[i].jobs[n].w = w;
			w->workers[i].jobs[n].first = (uint64_t)(i * DEPTH + n) * JOB_BLOCKS;
		}
	}
	sim_as(core_control(w->core), make, w);
	sim_as(core_control(w->core), attach, w);
	must(sim_run(is_set, &w->answered, LONG_NS) && !w->refused);
	open_all(w);
	return w;
}

static void went(void *arg) { ((struct world *)arg)->stopped = true; }
static void stop(void *arg) { vio_stop(((struct world *)arg)->vio, went, arg); }

static void unmake(void *arg)
{
	struct world *w = arg;

	vio_free(w->vio);
	bdev_registry_free(w->reg);
}

/* Of all seeds of a test: it would prove nothing if these never happened. */
static uint64_t requeued, cut_off, reconnects;

static void finish(struct world *w)
{
	struct vio_facts f;
	struct mem_stats m;

	vio_facts_of(vio_next(w->vio, NULL), &f);
	requeued += f.requeued;
	reconnects += f.reconnects;
	cut_off += w->gone;

	sim_as(core_control(w->core), stop, w);
	must(sim_run(is_set, &w->stopped, LONG_NS));
	sim_as(core_control(w->core), unmake, w);
	must(!sim_fds_open(w->core));
	mem_get_stats(w->core, &m);
	must(!m.charged_bytes && !m.in_use_bytes);
	sim_run(NULL, NULL, NS_PER_S);
	core_free(w->core);
	world_stop(&w->far);
	free(w);
}

/* --- tests ------------------------------------------------------------------------------------------------------- */

static void what_is_written_is_read(void **state)
{
	for (uint64_t seed = 0; seed < 24; seed++) {
		struct world *w = begin(seed);

		for (uint32_t i = 0; i < 4; i++) {
			all_begin(w);
			world_pass(5 * NS_PER_MS);
			all_end(w);
			world_pass(5 * NS_PER_MS); /* all asleep */
		}
		assert_true(w->done > 4 * JOBS);
		close_all(w);
		finish(w);
	}
}

struct going {
	struct vhost_ring_priv *r;
	struct reactor *to;
};

static void moved(void *arg, int rc)
{
}

static void move(void *arg)
{
	struct going *g = arg;

	if (g->r->at.here && g->r->state == RING_OPEN && !g->r->stopping && !carry_is_wanted(&g->r->carry))
		vhost_ring_carry(g->r, g->to, moved, NULL);
}

/* The server's queues change cores while both sides sleep and wake: no I/O waits for a kick that went elsewhere. */
static void servers_queues_move(void **state)
{
	for (uint64_t seed = 0; seed < 12; seed++) {
		struct world *w = begin(seed);

		all_begin(w);
		for (uint32_t i = 0; i < 40; i++) {
			struct vhost_session_priv *s = world_session(&w->far);
			struct vhost_ring_priv *r = s->rings[0];
			struct going g = { r, core_reactor(w->far.core, (uint32_t)sim_draw(w->far.cores)) };

			if (r && r->queue.running && r->state != RING_IDLE)
				sim_as(carry_at(&r->at), move, &g);
			world_pass(sim_draw(300 * NS_PER_US));
		}
		all_end(w);
		close_all(w);
		finish(w);
	}
}

static void remade(struct vhost_change *c)
{
	must(!c->err.code);
	container_of(c, struct test_world, change)->made = true;
}

static void remake(void *arg)
{
	struct test_world *far = arg;

	far->made = far->deleted = false;
	far->change = (struct vhost_change){ .done = remade };
	vhost_blk_make(far->vhost, &(struct vhost_blk_opts){ .ctrlr = { .name = "disk" }, .bdev_name = "disk",
	               .num_queues = FRONT_QUEUES }, &far->change);
}

static void server_goes_away(struct world *w)
{
	w->far.deleted = false;
	world_delete_ctrlr(&w->far);
	must(sim_run(is_set, &w->far.deleted, LONG_NS));
}

static void server_comes_back(struct world *w)
{
	sim_as(core_control(w->far.core), remake, &w->far);
	must(sim_run(is_set, &w->far.made, LONG_NS));
}

/* I/O waits, is sent again, and none of it fails, is lost or reads what is older than what was written. */
static void server_goes_and_comes_back(void **state)
{
	for (uint64_t seed = 0; seed < 16; seed++) {
		struct world *w = begin(seed);

		for (uint32_t i = 0; i < 4; i++) {
			all_begin(w);
			world_pass(sim_draw(NS_PER_MS / 2));
			server_goes_away(w);
			world_pass(sim_draw(3 * NS_PER_S));
			server_comes_back(w);
			world_pass(sim_draw(RECONNECT_NS));
			all_end(w);
		}
		close_all(w);
		finish(w);
	}
	assert_true(requeued > 10);
	assert_true(reconnects > 40);
}

static void detach_done(void *arg, int rc) { ((struct world *)arg)->detached = true; }
static void detach(void *arg) { must(!vio_detach(((struct world *)arg)->vio, "v0", detach_done, arg, NULL)); }

/* Whether the server is there or not, and at any moment of looking for it. */
static void detached_under_io(void **state)
{
	for (uint64_t seed = 0; seed < 24; seed++) {
		struct world *w = begin(seed);
		bool away = false;

		for (uint32_t i = 0; i < 3; i++) {
			all_begin(w);
			world_pass(sim_draw(NS_PER_MS / 2));
			away = sim_chance(60);
			if (away)
				server_goes_away(w);
			world_pass(sim_draw(away ? 2 * NS_PER_S : NS_PER_MS));
			if (away && sim_chance(50)) {
				server_comes_back(w);
				away = false;
			}
			sim_as(core_control(w->core), detach, w);
			close_all(w);
			must(sim_run(is_set, &w->detached, LONG_NS));
			if (away)
				server_comes_back(w);
			for (uint32_t k = 0; k < WORKERS; k++)  /* what was cut off may be there or not */
				for (uint32_t n = 0; n < DEPTH; n++)
					w->workers[k].jobs[n].cut = true;
			sim_as(core_control(w->core), attach, w);
			must(sim_run(is_set, &w->answered, LONG_NS) && !w->refused);
			open_all(w);
		}
		close_all(w);
		finish(w);
	}
	assert_true(cut_off > 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_written_is_read),
		cmocka_unit_test(servers_queues_move),
		cmocka_unit_test(server_goes_and_comes_back),
		cmocka_unit_test(detached_under_io),
	};

	log_set_level(LOG_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
