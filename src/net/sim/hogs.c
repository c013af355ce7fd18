/* SPDX-License-Identifier: BSD-3-Clause */
/* hogs.c: takes all there is, for tests of who waits for it. */
#include "net/sim/hogs.h"

static void hog_waits(void *arg);

static void on_all_cores(struct hogs *h, void (*fn)(void *arg))
{
	for (uint32_t i = 0; i < core_reactor_count(h->core); i++)
		sim_as(core_reactor(h->core, i), fn, &h->hogs[i]);
}

void hogs_begin(struct hogs *h, struct core *core, struct gather_iovs *(*iovs_here)(void))
{
	*h = (struct hogs){ .core = core, .iovs_here = iovs_here };
	h->hogs = base_zalloc(core_reactor_count(core) * sizeof(h->hogs[0]));
	for (uint32_t i = 0; i < core_reactor_count(core); i++)
		h->hogs[i].hogs = h;
}

void hogs_end(struct hogs *h)
{
	hogs_give_all(h);
	free(h->hogs);
}

void hogs_take_budget(struct hogs *h)
{
	for (uint64_t step = 16 * MIB; step >= 64; step /= 2)
		while (mem_charge(h->core, step))
			h->charged += step;
}

/* --- buffers: in line, so that it gets what is kept for the head of the line, too --------------------------------- */

static void hog_has(struct wait *wait)
{
	struct hog *g = container_of(wait, struct hog, wait);

	must(g->buf_count < HOG_BUFS_MAX && mem_take(&g->bufs[g->buf_count], g->len));
	g->buf_count++;
	hog_waits(g);
}

static void hog_waits(void *arg)
{
	struct hog *g = arg;

	g->wait = (struct wait){ 0 };
	mem_wait(&g->wait, g->len, hog_has);
}

static void waits_no_more(void *arg) { mem_wait_cancel(&((struct hog *)arg)->wait); }

void hogs_take_buffers(struct hogs *h)
{
	for (uint32_t len = MEM_IO_BYTES_MAX; len >= 512; len /= 2) {
		for (uint32_t i = 0; i < core_reactor_count(h->core); i++)
			h->hogs[i].len = len;
		on_all_cores(h, hog_waits);
		sim_run(NULL, NULL, NS_PER_MS);
		on_all_cores(h, waits_no_more);
	}
}

static void take_iovs(void *arg)
{
	struct hog *g = arg;
	struct gather_iovs *of = g->hogs->iovs_here();

	while (of && g->iov_count < GATHER_IOV_ARRAYS && (g->iovs[g->iov_count] = gather_iovs_take(of)))
		g->iov_count++;
}

void hogs_take_iovs(struct hogs *h)
{
	on_all_cores(h, take_iovs);
}

/* --- giving ------------------------------------------------------------------------------------------------------- */

static void give_one(void *arg)
{
	struct hog *g = arg;

	if (g->buf_count)
		mem_give(&g->bufs[--g->buf_count]);
	if (g->iov_count)
		gather_iovs_give(g->hogs->iovs_here(), g->iovs[--g->iov_count]);
}

static void give_all(void *arg)
{
	struct hog *g = arg;

	while (g->buf_count || g->iov_count)
		give_one(g);
}

void hogs_give_one(struct hogs *h)
{
	on_all_cores(h, give_one);
}

void hogs_give_all(struct hogs *h)
{
	on_all_cores(h, give_all);
	mem_uncharge(h->core, h->charged);
	h->charged = 0;
}
