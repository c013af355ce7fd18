/* SPDX-License-Identifier: BSD-3-Clause */
/* remote_paths_rpc.c: how disks use several paths: policies and preferences, which path is in use on which core, and
 * what went over each. */
#include "backends/remote/remote_rpc_priv.h"

#include <errno.h>
#include <stdio.h>

struct name {
	char *name;
};

/* --- bdev_nvme_get_io_paths ------------------------------------------------------------------------------------ */

/* What a core says of one of its channels. */
struct seen {
	char disk[BDEV_NAME_MAX];
	uint8_t current;
	uint16_t open, accessible;      /* bits of paths */
	bool all_current;               /* active_active: all that are best */
	uint16_t best;
};

struct io_paths {
	struct each each;
	struct rpc_call *call;
	struct remote *remote;
	struct remote_group **groups;   /* those there are; they outlive the visit,
		whose messages go before their end's */
	uint32_t group_count;
	const char *name;
	struct { struct seen *at; uint32_t count; } cores[CORE_REACTORS_MAX + 1];
};

static void look_at(const struct remote_channel *c, struct seen *s)
{
	const struct remote_view *v = c->core->view;
	uint32_t core_index = reactor_index(reactor_self()), best = 0;

	*s = (struct seen){ .current = c->current };
	snprintf(s->disk, sizeof(s->disk), "%s", c->disk->bdev.name);
	if (!v || c->disk->index >= v->disk_count || v->disks[c->disk->index].disk != c->disk)
		return;
	s->all_current = v->disks[c->disk->index].policy == REMOTE_ACTIVE_ACTIVE;
	for (uint32_t i = 0; i < REMOTE_PATHS_MAX; i++) {
		uint8_t access = v->disks[c->disk->index].access[i];
		uint16_t bit = (uint16_t)(1u << i);

		if (!v->paths[i])
			continue;
		s->open |= v->paths[i]->lanes[core_index].state == REMOTE_LANE_OPEN_STATE ? bit : 0;
		if (access < REMOTE_ACCESS_NON_OPTIMIZED)
			continue;
		s->accessible |= bit;
		if (!(s->open & bit))
			continue;
		s->best = access > best ? bit : access == best ? s->best | bit : s->best;
		best = max_u32(best, access);
	}
}

static void see_core(struct io_paths *x)
{
	uint32_t core_index = reactor_index(reactor_self()), count = 0;

	for (uint32_t i = 0; i < x->group_count; i++)
		list_each(l, &x->groups[i]->cores[core_index].channels)
			count++;
	x->cores[core_index].at = base_zalloc(count * sizeof(struct seen) + 1);
	for (uint32_t i = 0; i < x->group_count; i++)
		list_each(l, &x->groups[i]->cores[core_index].channels)
			look_at(list_entry(l, struct remote_channel, link),
			        &x->cores[core_index].at[x->cores[core_index].count++]);
}

static void see_on_core(struct each *e)
{
	see_core(container_of(e, struct io_paths, each));
}

static void add_io_path(struct json_object *list, const struct remote_disk *d, const struct remote_path *p,
                        const struct seen *s)
{
	struct json_object *o = json_append_object(list);
	uint16_t bit = (uint16_t)(1u << p->index);

	json_add_text(o, "bdev_name", s->disk);
	json_add_u64(o, "cntlid", remote_path_cntlid(p));
	json_add_bool(o, "current", s->all_current ? s->best & bit : s->current == p->index);
	json_add_bool(o, "connected", s->open & bit);
	json_add_bool(o, "accessible", s->accessible & bit);
	remote_json_trid(json_add_object(o, "transport"), &p->where, false);
	if (d->ns[p->index].ana_state)
		json_add_text(o, "ana_state", remote_ana_name(d->ns[p->index].ana_state));
}

static void add_core(struct json_object *groups, const struct io_paths *x, uint32_t core)
{
	struct json_object *o = json_append_object(groups), *list;
	char name[32] = "control";

	if (core < core_reactor_count(x->remote->core))
		snprintf(name, sizeof(name), "reactor_%u", core);
	json_add_text(o, "thread", name);
	list = json_add_array(o, "io_paths");
	for (uint32_t i = 0; i < x->cores[core].count; i++) {
		const struct seen *s = &x->cores[core].at[i];
		struct bdev *b = bdev_find(x->remote->reg, s->disk);
		struct remote_disk *d = b ? remote_disk_of(b) : NULL;

		if (!d || (x->name && strcmp(x->name, s->disk) != 0))
			continue;
		for (uint32_t k = 0; k < REMOTE_PATHS_MAX; k++)
			if (d->group->paths[k] && d->ns[k].present)
				add_io_path(list, d, d->group->paths[k], s);
	}
}

static void seen_all(struct each *e)
{
	struct io_paths *x = container_of(e, struct io_paths, each);
	struct json_object *result = json_object_new_object(), *groups = json_add_array(result, "poll_groups");

	for (uint32_t i = 0; i < remote_core_count(x->remote); i++) {
		if (i < core_reactor_count(x->remote->core) || x->cores[i].count)
			add_core(groups, x, i);
		free(x->cores[i].at);
	}
	rpc_reply(x->call, result);
	free(x->groups);
	free(x);
}

static void handle_io_paths(struct rpc_call *call, void *args)
{
	struct remote_rpc *rr = rpc_ctx(call);
	const struct name *a = args;
	struct io_paths *x;

	if (a->name && !remote_rpc_disk(call, "name", a->name))
		return;
	x = base_zalloc(sizeof(*x));
	x->call = call;
	x->remote = rr->remote;
	x->name = a->name;
	list_each(l, &rr->remote->groups)
		x->group_count++;
	x->groups = base_zalloc(x->group_count * sizeof(*x->groups) + 1);
	x->group_count = 0;
	list_each(l, &rr->remote->groups)
		if (!list_entry(l, struct remote_group, link)->ending) /* has no channels, and may go before the visit */
			x->groups[x->group_count++] = list_entry(l, struct remote_group, link);
	see_core(x);
	each_core(&x->each, rr->remote->core, see_on_core, seen_all);
}

static const struct rpc_param io_paths_params[] = {
	RPC_PARAM(struct name, name, .doc = "Only of this disk."),
};

/* --- policies and preferences ---------------------------------------------------------------------------------- */

struct policy {
	char *name, *policy, *selector;
	uint32_t rr_min_io;
};

static const char *const policies[] = { "active_passive", "active_active", NULL };
static const char *const selectors[] = { "round_robin", "queue_depth", "latency", NULL };

static const struct rpc_param policy_params[] = {
	RPC_PARAM(struct policy, name, .required = true, .doc = "Name of the disk."),
	RPC_PARAM(struct policy, policy, .required = true, .choices = policies,
	          .doc = "active_passive: one path at a time, the preferred or best; active_active: all that are "
		"best."),
	RPC_PARAM(struct policy, selector, .choices = selectors,
	          .doc = "With active_active: in turn, the one with the fewest I/Os, or the one that will answer "
		"first."),
	RPC_PARAM(struct policy, rr_min_io, .min = 1, .fallback = "1", .unit = "I/Os",
	          .doc = "How many go over a path before the next one's turn, with round_robin."),
};

/* Answers when every core does as it was told. */
struct telling {
	struct remote_wait wait;
	struct rpc_call *call;
};

static void told(struct remote_wait *w)
{
	struct telling *t = container_of(w, struct telling, wait);

	rpc_reply_true(t->call);
	free(t);
}

static void tell_cores(struct remote_group *g, struct rpc_call *call)
{
	struct telling *t = base_zalloc(sizeof(*t));

	t->call = call;
	t->wait.done = told;
	remote_group_when_published(g, &t->wait);
}

static void handle_policy(struct rpc_call *call, void *args)
{
	const struct policy *a = args;
	struct remote_disk *d = remote_rpc_disk(call, "name", a->name);
	struct remote_wish *wish;
	uint8_t policy, selector;
	struct err e = { 0 };

	if (!d)
		return;
	if (remote_policy_from(a->policy, a->selector, &policy, &selector, &e) != 0) {
		rpc_reply_err(call, &e);
		return;
	}
	wish = remote_wish_for(d->group, d->nsid);
	wish->policy_given = true;
	wish->policy = d->policy = policy;
	wish->selector = d->selector = selector;
	wish->rr_min_io = d->rr_min_io = a->rr_min_io;
	tell_cores(d->group, call);
}

struct prefer {
	char *name, *traddr, *trsvcid;
	uint16_t cntlid;
};

static const struct rpc_param prefer_params[] = {
	RPC_PARAM(struct prefer, name, .required = true, .doc = "Name of the disk."),
	RPC_PARAM(struct prefer, cntlid, .doc = "The path whose controller has this id now; or name it by its "
	          "address."),
	RPC_PARAM(struct prefer, traddr, .doc = "Address of the target, as it was given when the path was attached."),
	RPC_PARAM(struct prefer, trsvcid, .doc = "Port."),
};

static struct remote_path *find_path(const struct remote_group *g, const struct prefer *a)
{
	for (uint32_t i = 0; i < REMOTE_PATHS_MAX; i++) {
		struct remote_path *p = g->paths[i];

		if (!p || remote_path_going(p) || (a->cntlid && remote_path_cntlid(p) != a->cntlid) ||
		    (a->traddr && strcmp(a->traddr, p->where.traddr) != 0) ||
		    (a->trsvcid && strcmp(a->trsvcid, p->where.trsvcid) != 0))
			continue;
		return p;
	}
	return NULL;
}

static void handle_prefer(struct rpc_call *call, void *args)
{
	const struct prefer *a = args;
	struct remote_disk *d = remote_rpc_disk(call, "name", a->name);
	struct remote_path *p;

	if (!d)
		return;
	if (!a->cntlid && !a->traddr) {
		rpc_reply_error(call, ERR_BAD_PARAM, "cntlid: which path? cntlid or traddr and trsvcid say that");
		return;
	}
	p = find_path(d->group, a);
	if (!p) {
		rpc_reply_error(call, -ENODEV, "%s has no path like that; bdev_nvme_get_controllers lists its paths",
		                d->group->name);
		return;
	}
	remote_wish_for(d->group, d->nsid)->preferred = p->index;
	d->preferred = p->index;
	tell_cores(d->group, call);
}

static void save_wish(const struct remote_group *g, const struct remote_wish *w, struct json_object *array)
{
	const struct remote_path *p = w->preferred < REMOTE_PATHS_MAX ? g->paths[w->preferred] : NULL;
	struct json_object *entry, *params;
	char name[BDEV_NAME_MAX];

	snprintf(name, sizeof(name), "%sn%u", g->name, w->nsid);
	if (w->policy_given) {
		entry = json_append_object(array);
		json_add_text(entry, "method", "bdev_nvme_set_multipath_policy");
		params = json_add_object(entry, "params");
		json_add_text(params, "name", name);
		remote_json_policy(params, w->policy, w->selector, "rr_min_io", w->rr_min_io);
	}
	if (p && !remote_path_going(p)) {
		entry = json_append_object(array);
		json_add_text(entry, "method", "bdev_nvme_set_preferred_path");
		params = json_add_object(entry, "params");
		json_add_text(params, "name", name);
		json_add_text(params, "traddr", p->where.traddr);
		json_add_text(params, "trsvcid", p->where.trsvcid);
	}
}

void remote_paths_rpc_save(struct remote_rpc *rr, struct json_object *array)
{
	list_each(l, &rr->remote->groups) {
		const struct remote_group *g = list_entry(l, struct remote_group, link);

		if (g->leaving)
			continue;
		list_each(w, &g->wishes)
			save_wish(g, list_entry(w, struct remote_wish, link), array);
	}
}

/* --- counters ------------------------------------------------------------------------------------------------ */

static void add_sums(struct json_object *o, const struct remote_disk *d, uint32_t path)
{
	enum { SUM, LEAST, MOST };
	static const struct { const char *name; size_t at; uint8_t how; } rows[] = {
		{ "bytes_read", offsetof(struct remote_io_stats, read_bytes) },
		{ "num_read_ops", offsetof(struct remote_io_stats, reads) },
		{ "bytes_written", offsetof(struct remote_io_stats, write_bytes) },
		{ "num_write_ops", offsetof(struct remote_io_stats, writes) },
		{ "bytes_unmapped", offsetof(struct remote_io_stats, unmap_bytes) },
		{ "num_unmap_ops", offsetof(struct remote_io_stats, unmaps) },
		{ "bytes_copied", offsetof(struct remote_io_stats, copy_bytes) },
		{ "num_copy_ops", offsetof(struct remote_io_stats, copies) },
		{ "read_latency_ticks", offsetof(struct remote_io_stats, read_ns) },
		{ "max_read_latency_ticks", offsetof(struct remote_io_stats, read_max_ns), MOST },
		{ "min_read_latency_ticks", offsetof(struct remote_io_stats, read_min_ns), LEAST },
		{ "write_latency_ticks", offsetof(struct remote_io_stats, write_ns) },
		{ "max_write_latency_ticks", offsetof(struct remote_io_stats, write_max_ns), MOST },
		{ "min_write_latency_ticks", offsetof(struct remote_io_stats, write_min_ns), LEAST },
		{ "unmap_latency_ticks", offsetof(struct remote_io_stats, unmap_ns) },
		{ "max_unmap_latency_ticks", offsetof(struct remote_io_stats, unmap_max_ns), MOST },
		{ "min_unmap_latency_ticks", offsetof(struct remote_io_stats, unmap_min_ns), LEAST },
		{ "copy_latency_ticks", offsetof(struct remote_io_stats, copy_ns) },
		{ "max_copy_latency_ticks", offsetof(struct remote_io_stats, copy_max_ns), MOST },
		{ "min_copy_latency_ticks", offsetof(struct remote_io_stats, copy_min_ns), LEAST },
		{ "num_other_ops", offsetof(struct remote_io_stats, others) },
		{ "num_errors", offsetof(struct remote_io_stats, errors) },
	};

	for (size_t k = 0; k < ARRAY_SIZE(rows); k++) {
		uint64_t sum = 0;

		for (uint32_t core = 0; core < remote_core_count(d->group->remote); core++) {
			const struct remote_io_stats *s = atomic_load(&d->stats[core]);
			uint64_t v = s ? remote_count_get((const void *)((const char *)&s[path] + rows[k].at)) : 0;

			if (rows[k].how == SUM)
				sum += v;
			else if (rows[k].how == MOST)
				sum = max_u64(sum, v);
			else if (v)
				sum = sum ? min_u64(sum, v) : v;
		}
		json_add_u64(o, rows[k].name, sum);
	}
}

static void handle_iostat(struct rpc_call *call, void *args)
{
	const struct name *a = args;
	struct remote_disk *d = remote_rpc_disk(call, "name", a->name);
	struct json_object *result, *list, *o;

	if (!d)
		return;
	result = json_object_new_object();
	json_add_text(result, "name", d->bdev.name);
	list = json_add_array(result, "stats");
	for (uint32_t i = 0; i < REMOTE_PATHS_MAX; i++) {
		const struct remote_path *p = d->group->paths[i];

		if (!p)
			continue;
		o = json_append_object(list);
		remote_json_trid(json_add_object(o, "trid"), &p->where, true);
		add_sums(json_add_object(o, "stat"), d, i);
	}
	rpc_reply(call, result);
}

static const struct rpc_param iostat_params[] = {
	RPC_PARAM(struct name, name, .required = true, .doc = "Name of the disk."),
};

static void add_transport(struct json_object *o, const struct remote *r, uint32_t core)
{
	uint64_t sent = 0, ended = 0;
	struct reactor_stats stats;

	list_each(l, &r->groups) {
		const struct remote_group *g = list_entry(l, struct remote_group, link);

		for (uint32_t i = 0; i < REMOTE_PATHS_MAX; i++) {
			if (!g->paths[i])
				continue;
			sent += remote_count_get(&g->paths[i]->lanes[core].counts[REMOTE_LANE_SUBMITTED]);
			ended += remote_count_get(&g->paths[i]->lanes[core].counts[REMOTE_LANE_COMPLETED]);
		}
	}
	reactor_get_stats(core_reactor(r->core, core), &stats);
	json_add_text(o, "trname", "TCP");
	json_add_u64(o, "polls", stats.passes);
	json_add_u64(o, "idle_polls", stats.passes - stats.busy_passes);
	json_add_u64(o, "socket_completions", stats.fd_events);
	json_add_u64(o, "nvme_completions", ended);
	json_add_u64(o, "queued_requests", 0);
	json_add_u64(o, "submitted_requests", sent);
}

/* SPDK's names; theirs of one poll group and adapter. */
struct adapters_of {
	uint32_t core;
	struct json_object *group, *devices; /* NULL: none yet */
};

static void add_adapter(const struct nvme_adapter_stats *s, void *arg)
{
	struct adapters_of *of = arg;
	struct json_object *o;

	if (s->core != of->core)
		return;
	if (!of->devices) {
		o = json_append_object(of->group);
		json_add_text(o, "trname", "RDMA");
		of->devices = json_add_array(o, "devices");
	}
	o = json_append_object(of->devices);
	json_add_text(o, "dev_name", s->name);
	json_add_u64(o, "polls", s->polls);
	json_add_u64(o, "idle_polls", s->polls - s->busy_polls);
	json_add_u64(o, "completions", s->completions);
	json_add_u64(o, "queued_requests", s->waiting);
	json_add_u64(o, "total_send_wrs", s->sends);
	json_add_u64(o, "send_doorbell_updates", s->send_doorbells);
	json_add_u64(o, "total_recv_wrs", s->receives);
	json_add_u64(o, "recv_doorbell_updates", s->receive_doorbells);
	json_add_u64(o, "copied_requests", s->copied);
	json_add_u64(o, "copied_bytes", s->copied_bytes);
	json_add_u64(o, "buffer_waits", s->waits);
}

static void handle_transport(struct rpc_call *call, void *args)
{
	const struct remote_rpc *rr = rpc_ctx(call);
	struct json_object *result = json_object_new_object(), *groups = json_add_array(result, "poll_groups");

	for (uint32_t core = 0; core < core_reactor_count(rr->remote->core); core++) {
		struct json_object *o = json_append_object(groups);
		struct adapters_of of = { .core = core };
		char name[32];

		snprintf(name, sizeof(name), "reactor_%u", core);
		json_add_text(o, "thread", name);
		of.group = json_add_array(o, "transports");
		add_transport(json_append_object(of.group), rr->remote, core);
		nvme_host_visit_adapters(rr->remote->host, add_adapter, &of);
	}
	rpc_reply(call, result);
}

/* --- all ----------------------------------------------------------------------------------------------------- */

static const struct rpc_method methods[] = {
	RPC_METHOD("bdev_nvme_get_io_paths", struct name, io_paths_params, handle_io_paths,
	           .flags = RPC_RUNTIME | RPC_READS, .doc = "The paths of disks, as each core that uses them has them.",
	           .returns = "{poll_groups: [{thread, io_paths: [...]}]}"),
	RPC_METHOD("bdev_nvme_set_multipath_policy", struct policy, policy_params, handle_policy, .flags = RPC_RUNTIME,
	           .doc = "How a disk uses its paths.", .returns = "true"),
	RPC_METHOD("bdev_nvme_set_preferred_path", struct prefer, prefer_params, handle_prefer, .flags = RPC_RUNTIME,
	           .doc = "The path to take as long as it works, with active_passive.", .returns = "true"),
	RPC_METHOD("bdev_nvme_get_path_iostat", struct name, iostat_params, handle_iostat,
	           .flags = RPC_RUNTIME | RPC_READS, .doc = "What went over each path of a disk; ticks are "
		"nanoseconds.",
	           .returns = "{name, stats: [{trid, stat}]}"),
	RPC_METHOD_BARE("bdev_nvme_get_transport_statistics", handle_transport, .flags = RPC_RUNTIME | RPC_READS,
	                .doc = "What each core sent to controllers and had from them; polls are its passes.",
	                .returns = "{poll_groups: [{thread, transports: [...]}]}"),
};

void remote_paths_rpc_add(struct remote_rpc *rr)
{
	rpc_add_methods(bdev_rpc_of(rr->br), methods, ARRAY_SIZE(methods), rr);
}
