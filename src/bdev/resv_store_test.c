/* SPDX-License-Identifier: BSD-3-Clause */
/* resv_store_test.c: reservations that survive: the machine crashes at every step of writing them, and files are
 * damaged. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "bdev/resv_priv.h"
#include "core/sim/files.h"
#include "core/sim/sim.h"

#define DEVICES 3u
#define WRITES 24u
#define SEEDS 4u

struct world {
	struct core *core;
	struct bdev_registry *reg;
	struct files *files;
	struct err err;
	bool open, done;
	int rc;
	uint32_t write;                    /* the one that is being done; from 1 */
	uint32_t acknowledged[DEVICES];    /* its number, per device; 0: none */
};

static struct uuid uuid_of(uint32_t device)
{
	return (struct uuid){ .b = { (uint8_t)(device + 1) } };
}

/* What write number n leaves of its device. Every fifth takes it away. */
static void state_of(struct world *w, uint32_t n, struct resv_state *s)
{
	char name[200];

	memset(s, 0, sizeof(*s));
	if (n % 5 == 0)
		return;
	memset(name, 'a' + (int)(n % 26), sizeof(name) - 1);
	name[sizeof(name) - 1] = 0;
	s->persists = true;
	s->generation = n;
	s->type = (uint8_t)(RESV_WE + n % 4);
	s->count = 1 + n % 3;
	for (uint32_t i = 0; i < s->count; i++) {
		struct resv_identity id = { .kind = RESV_SCSI_NEXUS, .port_id = (uint16_t)i, .name = name, .port = name,
		                            .target = "t" };

		s->who[i] = (struct resv_registrant){ .key = n + i, .party = resv_party_take(w->reg->parties, &id)->id };
	}
	s->holder = s->who[n % s->count].party;
}

static void opened(void *arg, const struct err *e)
{
	struct world *w = arg;

	w->open = true;
	if (e)
		w->err = *e;
}

static void open_here(void *arg)
{
	struct world *w = arg;

	w->reg = bdev_registry_make(w->core);
	bdev_resv_store_open(w->reg, w->files, opened, w);
}

static bool is_true(void *arg)
{
	return *(bool *)arg;
}

static void world_start(struct world *w, struct files *files)
{
	struct core_opts opts = { .cpus = "0x1", .mode = CORE_INTERRUPT };
	struct err e = { 0 };

	memset(w, 0, sizeof(*w));
	sim_start(7);
	w->files = files;
	w->core = core_make(&opts, &e);
	must(w->core);
	sim_as(core_control(w->core), open_here, w);
	must(sim_run(is_true, &w->open, NS_PER_S));
}

static void close_here(void *arg)
{
	struct world *w = arg;

	bdev_registry_free(w->reg);
}

static void world_stop(struct world *w)
{
	sim_as(core_control(w->core), close_here, w);
	core_free(w->core);
	sim_end();
}

static void written(void *arg, int rc)
{
	struct world *w = arg;

	w->rc = rc;
	w->done = true;
}

static void write_here(void *arg)
{
	struct world *w = arg;
	struct resv_state *s = base_zalloc(sizeof(*s));
	struct uuid uuid = uuid_of(w->write % DEVICES);

	state_of(w, w->write, s);
	resv_store_write(w->reg, &uuid, s, written, w);
	free(s);
}

/* Until one fails. */
static void write_all(struct world *w)
{
	for (w->write = 1; w->write <= WRITES; w->write++) {
		w->done = false;
		sim_as(core_control(w->core), write_here, w);
		must(sim_run(is_true, &w->done, NS_PER_S));
		if (w->rc)
			return;
		w->acknowledged[w->write % DEVICES] = w->write;
	}
}

struct look {
	struct world *w;
	uint32_t device, number;
	bool there, as_written;
};

static void look_here(void *arg)
{
	struct look *l = arg;
	struct resv_state *s = base_zalloc(sizeof(*s)), *wanted = base_zalloc(sizeof(*s));
	struct uuid uuid = uuid_of(l->device);

	l->there = resv_store_find(l->w->reg, &uuid, s);
	l->number = l->there ? s->generation : 0;
	if (l->there) {
		state_of(l->w, l->number, wanted);
		l->as_written = s->type == wanted->type && s->count == wanted->count && s->holder == wanted->holder &&
		                s->persists && s->who[0].key == wanted->who[0].key;
	}
	free(s);
	free(wanted);
}

static bool fits(uint32_t found, uint32_t write)
{
	return found == (write % 5 ? write : 0);
}

/* What was acknowledged is there, or what was being written; whole in any case. */
static void check(struct world *w, const struct world *before)
{
	for (uint32_t d = 0; d < DEVICES; d++) {
		struct look l = { .w = w, .device = d };
		bool next = before->write <= WRITES && before->write % DEVICES == d;

		sim_as(core_control(w->core), look_here, &l);
		assert_true(fits(l.number, before->acknowledged[d]) || (next && fits(l.number, before->write)));
		assert_true(!l.there || l.as_written);
	}
}

static void what_was_acknowledged_survives_a_crash_at_any_step(void **state)
{
	struct files *f = files_sim_make(1);
	struct world w, again;
	uint64_t steps;

	world_start(&w, f);
	write_all(&w);
	world_stop(&w);
	steps = files_sim_steps(f);
	files_free(f);
	assert_int_equal(w.rc, 0);
	for (uint64_t cut = 0; cut < steps; cut++) {
		for (uint64_t seed = 0; seed < SEEDS; seed++) {
			f = files_sim_make(seed + 1);
			files_sim_cut(f, cut);
			world_start(&w, f);
			if (!w.err.code)
				write_all(&w);
			world_stop(&w);
			files_sim_crash(f, seed % 2 ? FILES_POWER_CUT : FILES_KILLED);
			world_start(&again, f);
			if (again.err.code)
				fail_msg("step %lu, seed %lu: %s", (unsigned long)cut, (unsigned long)seed, again.err.text);
			check(&again, &w);
			write_all(&again); /* and it goes on */
			assert_int_equal(again.rc, 0);
			world_stop(&again);
			files_free(f);
		}
	}
}

/* A full disk refuses changes; what is there stays as it is. */
static void a_write_that_fails_changes_nothing(void **state)
{
	struct files *f = files_sim_make(1);
	struct world w, again;

	world_start(&w, f);
	write_all(&w);
	files_sim_fail(f, -ENOSPC);
	w.done = false;
	w.write = 1;
	sim_as(core_control(w.core), write_here, &w);
	must(sim_run(is_true, &w.done, NS_PER_S));
	assert_int_equal(w.rc, -ENOSPC);
	files_sim_fail(f, 0);
	w.write = WRITES + 1;
	check(&w, &w);
	write_all(&w);
	assert_int_equal(w.rc, 0);
	world_stop(&w);
	world_start(&again, f);
	w.write = WRITES + 1;
	check(&again, &w);
	world_stop(&again);
	files_free(f);
}

/* A cluster that registers and unregisters for years would fill the disk. */
static void the_file_does_not_grow_for_ever(void **state)
{
	struct files *f = files_sim_make(1);
	struct world w, again;
	size_t len;

	world_start(&w, f);
	for (uint32_t turn = 0; turn < 40; turn++)
		write_all(&w);
	assert_int_equal(w.rc, 0);
	files_sim_bytes(f, "reservations", &len);
	assert_true(len > 16384 && len < 100000); /* of 40 * 24 records of 700 bytes and more */
	w.write = WRITES + 1;
	world_stop(&w);
	world_start(&again, f);
	check(&again, &w);
	world_stop(&again);
	files_free(f);
}

static void write_nameless(void *arg)
{
	struct resv_identity none = { .kind = RESV_NVME_HOST, .name = "nqn", .target = "nqn.sub", .port_id = 1 };
	struct resv_identity known = none;
	struct resv_state *s = base_zalloc(sizeof(*s));
	struct uuid uuid = uuid_of(0);
	struct world *w = arg;

	known.host_id.b[0] = 1;
	*s = (struct resv_state){ .persists = true, .generation = 2, .type = RESV_EA, .count = 2 };
	s->who[0] = (struct resv_registrant){ .key = 1, .party = resv_party_take(w->reg->parties, &none)->id };
	s->who[1] = (struct resv_registrant){ .key = 2, .party = resv_party_take(w->reg->parties, &known)->id };
	s->holder = s->who[0].party;
	resv_store_write(w->reg, &uuid, s, written, w);
	free(s);
}

static void find_nameless(void *arg)
{
	struct resv_state *s = base_zalloc(sizeof(*s));
	struct uuid uuid = uuid_of(0);
	struct world *w = arg;

	w->done = resv_store_find(w->reg, &uuid, s) && s->count == 1 && s->who[0].key == 2 && s->type == RESV_NONE &&
	          !s->holder;
	free(s);
}

/* Its controller went with the daemon: nobody could ever release what it held. */
static void a_host_without_identifier_does_not_survive(void **state)
{
	struct files *f = files_sim_make(1);
	struct world w;

	world_start(&w, f);
	sim_as(core_control(w.core), write_nameless, &w);
	must(sim_run(is_true, &w.done, NS_PER_S));
	assert_int_equal(w.rc, 0);
	world_stop(&w);
	world_start(&w, f);
	sim_as(core_control(w.core), find_nameless, &w);
	assert_true(w.done);
	world_stop(&w);
	files_free(f);
}

/* Somebody may rely on a reservation: a file that is wrong is no empty one. */
static void damage_is_found(void **state)
{
	struct files *f = files_sim_make(1);
	struct world w;
	size_t len;
	char *bytes;

	world_start(&w, f);
	write_all(&w);
	world_stop(&w);
	bytes = files_sim_bytes(f, "reservations", &len);
	for (size_t n = 0; n <= len / 7; n++) {
		size_t i = n < len / 7 ? n * 7 : len - 1; /* the last newline too */

		bytes[i] ^= 4;
		world_start(&w, f);
		assert_int_not_equal(w.err.code, 0);
		assert_non_null(strstr(w.err.text, "reservations"));
		world_stop(&w);
		bytes[i] ^= 4;
	}
	world_start(&w, f);
	assert_int_equal(w.err.code, 0);
	world_stop(&w);
	files_free(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_was_acknowledged_survives_a_crash_at_any_step),
		cmocka_unit_test(a_write_that_fails_changes_nothing),
		cmocka_unit_test(the_file_does_not_grow_for_ever),
		cmocka_unit_test(a_host_without_identifier_does_not_survive),
		cmocka_unit_test(damage_is_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
