/* SPDX-License-Identifier: BSD-3-Clause */
/* remote.c: the back-end as a whole: its options, its end. */
#include "backends/remote/remote_ctl.h"

#include <stdio.h>

#define TURNS_MAX 16u

static void look_later(struct msg *m);

#define COUNTER_NAME(id, name, text) name,
#define COUNTER_TEXT(id, name, text) text,
static const char *const counter_names[] = { REMOTE_LANE_COUNTERS(COUNTER_NAME) };
static const char *const counter_texts[] = { REMOTE_LANE_COUNTERS(COUNTER_TEXT) };

const char *remote_lane_counter_name(enum remote_lane_counter c)
{
	return counter_names[c];
}

const char *remote_lane_counter_text(enum remote_lane_counter c)
{
	return counter_texts[c];
}

/* What differs from SPDK's: a lost target is looked for without end, and I/O does not wait for it without end. */
void remote_opts_default(struct remote_opts *ret_opts)
{
	*ret_opts = (struct remote_opts){
		.keep_alive_timeout_ms = 10000, .bdev_retry_count = 3, .ctrlr_loss_timeout_sec = -1,
		.reconnect_delay_sec = 2, .fast_io_fail_timeout_sec = 30, .reconnects_grow = true, .rr_min_io = 1,
		.ccr = true,
	};
}

/* Who we are for targets when nobody says it: one name for all that this daemon attaches. */
static void name_host(struct remote *r)
{
	uint8_t random[16];
	char text[UUID_TEXT_MAX];
	struct uuid u;

	core_random(random, sizeof(random));
	u = uuid_from_random(random);
	snprintf(r->hostnqn, sizeof(r->hostnqn), "nqn.2014-08.org.nvmexpress:uuid:%s", uuid_to_text(&u, text));
}

struct remote *remote_make(struct bdev_registry *reg)
{
	struct remote *r = base_zalloc(sizeof(*r));

	r->reg = reg;
	r->core = bdev_registry_core(reg);
	r->host = nvme_host_make(r->core);
	remote_opts_default(&r->opts);
	name_host(r);
	list_init(&r->groups);
	list_init(&r->discoveries);
	remote_turns_init(&r->turns, TURNS_MAX);
	return r;
}

/* --- counters ----------------------------------------------------------------------------------------------- */

static void count_path(const struct remote_path *p, void (*fn)(const struct remote_path_counts *c, void *arg),
                       void *arg)
{
	struct remote_count_row ends[NVME_REASON_COUNT], io[REMOTE_LANE_COUNTER_COUNT + 3];
	struct remote_path_counts c = {
		.name = p->group->name, .traddr = p->where.traddr, .trsvcid = p->where.trsvcid,
		.up = p->state == REMOTE_PATH_UP, .attempts = p->ctl->attempts_total, .connected = p->ctl->ups_total,
		.ends = ends, .io = io, .io_count = REMOTE_LANE_COUNTER_COUNT,
	};

	for (uint32_t i = NVME_REASON_NONE + 1; i < NVME_REASON_COUNT; i++)
		ends[c.end_count++] = (struct remote_count_row){ nvme_reason_name(i), p->reasons[i] };
	for (uint32_t i = 0; i < REMOTE_LANE_COUNTER_COUNT; i++) {
		io[i] = (struct remote_count_row){ remote_lane_counter_name(i), 0 };
		for (uint32_t core = 0; core < remote_core_count(p->group->remote); core++)
			io[i].value += remote_count_get(&p->lanes[core].counts[i]);
	}
	io[c.io_count++] = (struct remote_count_row){ "ccr_sent", p->ctl->ccr_sent };
	io[c.io_count++] = (struct remote_count_row){ "ccr_done", p->ctl->ccr_done };
	io[c.io_count++] = (struct remote_count_row){ "waited_out", p->ctl->waited_out };
	for (uint32_t core = 0; core < remote_core_count(p->group->remote); core++)
		c.outstanding += remote_count_get(&p->lanes[core].outstanding);
	fn(&c, arg);
}

void remote_each_path(struct remote *r, void (*fn)(const struct remote_path_counts *c, void *arg), void *arg)
{
	list_each(l, &r->groups) {
		const struct remote_group *g = list_entry(l, struct remote_group, link);

		for (uint32_t i = 0; i < REMOTE_PATHS_MAX; i++)
			if (g->paths[i])
				count_path(g->paths[i], fn, arg);
	}
}

void remote_forgot(struct remote *r)
{
	if (r->forgot)
		r->forgot(r->forgot_arg);
}

/* --- the end ------------------------------------------------------------------------------------------------ */

void remote_stop(struct remote *r, void (*done)(void *arg), void *arg)
{
	r->stopping = true;
	r->stop_done = done;
	r->stop_arg = arg;
	list_each_safe(l, &r->discoveries) {
		struct remote_discovery *d = list_entry(l, struct remote_discovery, link);

		if (!d->stopping)
			remote_discovery_stop(d, NULL);
	}
	list_each_safe(l, &r->groups)
		remote_group_leave(list_entry(l, struct remote_group, link), NULL);
	remote_look_stopped(r);
}

/* By message: whoever goes last is still about it. */
void remote_look_stopped(struct remote *r)
{
	if (!r->stopping || r->stopped || !list_empty(&r->groups) || !list_empty(&r->discoveries))
		return;
	r->stopped = true;
	msg_send(reactor_self(), &r->stop_msg, look_later);
}

/* What queue pairs left behind goes by itself. */
static void look_later(struct msg *m)
{
	struct remote *r = container_of(m, struct remote, stop_msg);

	nvme_host_when_idle(r->host, r->stop_done, r->stop_arg);
}

void remote_free(struct remote *r)
{
	if (!r)
		return;
	must(list_empty(&r->groups) && list_empty(&r->discoveries));
	nvme_host_free(r->host);
	free(r);
}
