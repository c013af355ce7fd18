/* SPDX-License-Identifier: BSD-3-Clause */
/* pi_sim.c: a disk that changes bytes on their way to the media, and protection information that finds it.
 *
 * Hosts see plain blocks; the target makes tuples and checks them. Whatever a read returns is what path_sim.c allows:
 * bytes that changed come as an error, never as data. Connections move and are cut meanwhile.
 */
#include <errno.h>
#include <stdio.h>

#include "backends/error/error.h"
#include "world.h"

struct play {
	struct world world;
	struct error_rule_opts rule;
	uint32_t corrupt_permille;
	bool injecting, over;
};

static struct {
	uint64_t injected, found;
} all;

static void injected(void *arg)
{
	((struct play *)arg)->injecting = false;
}

/* Within the data of an I/O's first block: a tag that changes is another matter. Of writes only: blocks that nobody
 * wrote have tuples that say so, and nothing finds what happens to them on the way back. */
static void inject(void *arg)
{
	struct play *p = arg;
	struct world *w = &p->world;
	struct err e = { 0 };
	int rc;

	p->rule = (struct error_rule_opts){
		.ops = BDEV_BIT(WRITE), .kind = ERROR_CORRUPT, .num = 1 + (uint32_t)sim_draw(2),
		.corrupt_offset = sim_draw(w->block_size), .corrupt_value = (uint8_t)(1 + sim_draw(255)) };
	all.injected++;
	rc = error_inject(w->reg, "EE_disk", &p->rule, injected, p, &e);
	if (rc == -ENOSPC)
		rc = error_clear(w->reg, "EE_disk", injected, p, &e);
	if (rc != 0)
		seeds_fail("%s", e.text);
}

static void troubles(struct reactor *r, void *arg)
{
	struct play *p = arg;
	struct world *w = &p->world;

	(void)r;
	world_maybe_move(w);
	if (w->cuts_left && sim_net_connections() && sim_draw(2000) < w->cut_percent) {
		w->cuts_left--;
		sim_net_cut((uint32_t)sim_draw(sim_net_connections()), sim_chance(20));
	}
	if (p->injecting || p->over || sim_draw(1000) >= p->corrupt_permille)
		return;
	p->injecting = true;
	sim_as(core_control(w->target_core), inject, p);
}

static const char *stack(struct world *w)
{
	struct error_opts o = { .base = "disk" };
	struct err e = { 0 };

	if (error_create(w->reg, &o, &e) != 0)
		seeds_fail("%s", e.text);
	return "EE_disk";
}

static bool is_calm(void *arg)
{
	return !((struct play *)arg)->injecting;
}

static void nothing(void *arg)
{
}

static uint64_t run(uint64_t seed)
{
	struct play p = { 0 };
	struct world *w = &p.world;

	world_start_protected(w, seed, stack);
	w->faulty = true;
	w->cuts_left = 10;
	p.corrupt_permille = 1 + (uint32_t)sim_draw(20);
	world_run_clients(w, troubles, &p);
	p.over = true;
	for (uint32_t i = 0; i < 1000 && !is_calm(&p); i++) {
		sim_as(core_control(w->target_core), nothing, NULL);
		sim_run(is_calm, &p, 10 * NS_PER_MS);
	}
	sim_after_pass(NULL, NULL);
	all.found += w->guarded;
	seeds_verdict();
	world_clients_free(w);
	return world_end(w);
}

int main(int argc, char **argv)
{
	int rc = seeds_main(argc, argv, 40, run);

	printf("%llu times bytes were to change, %llu commands found it\n", (unsigned long long)all.injected,
	       (unsigned long long)all.found);
	if (!rc && argc == 1 && all.found < 50) {
		fprintf(stderr, "too little happened for this to prove anything\n");
		return 1;
	}
	return rc;
}
