/* SPDX-License-Identifier: BSD-3-Clause */
/* remote_show_rpc.c: what there is and how it is: controllers with their counters; and switching them. */
#include "backends/remote/remote_rpc_priv.h"

#include <errno.h>
#include <stdio.h>

/* --- bdev_nvme_get_controllers ------------------------------------------------------------------------------- */

struct name {
	char *name;
};

static const struct rpc_param get_params[] = {
	RPC_PARAM(struct name, name, .doc = "Only this controller."),
};

static void add_counters(struct json_object *o, const struct remote_path *p)
{
	struct json_object *io = json_add_object(o, "io"), *reasons = json_add_object(o, "ended_by");
	uint32_t cores = remote_core_count(p->group->remote), connected = 0;
	uint64_t outstanding = 0;

	for (uint32_t k = 0; k < REMOTE_LANE_COUNTER_COUNT; k++) {
		uint64_t sum = 0;

		for (uint32_t core = 0; core < cores; core++)
			sum += remote_count_get(&p->lanes[core].counts[k]);
		json_add_u64(io, remote_lane_counter_name(k), sum);
	}
	for (uint32_t core = 0; core < cores; core++) {
		outstanding += remote_count_get(&p->lanes[core].outstanding);
		connected += atomic_load(&p->lanes[core].public_state) == REMOTE_LANE_OPEN_STATE;
	}
	json_add_u64(io, "outstanding", outstanding);
	json_add_u64(o, "queues", connected);
	json_add_u64(o, "attempts", p->ctl->attempts_total);
	json_add_u64(o, "connected", p->ctl->ups_total);
	for (uint32_t k = NVME_REASON_ASKED; k < NVME_REASON_COUNT; k++)
		if (p->reasons[k])
			json_add_u64(reasons, nvme_reason_name(k), p->reasons[k]);
}

static void add_fence(struct json_object *o, const struct remote_path *p)
{
	const struct remote_path_ctl *ctl = p->ctl;
	uint64_t now = reactor_now_ns(), due = ctl->life_count ? ctl->lives[ctl->life_count - 1].due_ns : 0;
	struct json_object *f = json_add_object(o, "fence");
	char text[160];

	json_add_u64(f, "ccr_sent", ctl->ccr_sent);
	json_add_u64(f, "ccr_done", ctl->ccr_done);
	json_add_u64(f, "waited_out", ctl->waited_out);
	if (due <= now)
		return;
	snprintf(text, sizeof(text), "writes of a connection that was lost wait until they cannot land any more: %s%llu ms",
	         !list_empty(&ctl->asks) ? "another path's controller is asked to reset theirs; at most " : "for ",
	         (unsigned long long)((due - now) / NS_PER_MS));
	json_add_text(f, "waits", text);
	json_add_u64(f, "waits_ms", (due - now) / NS_PER_MS);
}

static void add_path(struct json_object *o, const struct remote_path *p)
{
	struct json_object *host, *list;

	json_add_text(o, "state", remote_path_spdk_state(p));
	remote_json_trid(json_add_object(o, "trid"), &p->where, true);
	if (p->ctl->alternate_count) {
		list = json_add_array(o, "alternate_trids");
		for (uint32_t i = 0; i < p->ctl->alternate_count; i++)
			remote_json_trid(json_append_object(list), &p->ctl->alternates[i], true);
	}
	json_add_u64(o, "cntlid", remote_path_cntlid(p));
	host = json_add_object(o, "host");
	json_add_text(host, "nqn", p->where.hostnqn);
	json_add_text(host, "addr", p->where.hostaddr);
	json_add_text(host, "svcid", p->where.hostsvcid);
	json_add_bool(host, "no_shn_notification", false);
	json_add_text(o, "doing", remote_path_state_name(p->state));
	if (p->last_err.code)
		json_add_text(o, "why", p->last_err.text);
	json_add_bool(o, "io_waits", remote_path_may_come(p));
	if (p->state == REMOTE_PATH_UP && !p->ctl->usable_count)
		json_add_text(o, "note", p->ctl->ns_count ? "it has no namespace that can be used; the log says why" :
		                                            "it has no namespace for this host");
	add_fence(o, p);
	add_counters(o, p);
}

static void add_group(struct json_object *array, const struct remote_rpc *rr, const struct remote_group *g)
{
	struct json_object *o = json_append_object(array), *list;

	json_add_text(o, "name", g->name);
	remote_json_firmware(rr, g, o);
	list = json_add_array(o, "ctrlrs");
	for (uint32_t i = 0; i < REMOTE_PATHS_MAX; i++)
		if (g->paths[i])
			add_path(json_append_object(list), g->paths[i]);
}

static void handle_get(struct rpc_call *call, void *args)
{
	struct remote_rpc *rr = rpc_ctx(call);
	const struct name *a = args;
	bool named = a->name;
	struct remote_group *g = named ? remote_rpc_group(call, a->name) : NULL;
	struct json_object *array;

	if (named && !g)
		return; /* it was answered, and `a` is gone with it */
	array = json_object_new_array();
	if (g)
		add_group(array, rr, g);
	else
		list_each(l, &rr->remote->groups)
			add_group(array, rr, list_entry(l, struct remote_group, link));
	rpc_reply(call, array);
}

/* --- reset, enable, disable ---------------------------------------------------------------------------------- */

struct one {
	char *name;
	uint16_t cntlid;
};

static const struct rpc_param one_params[] = {
	RPC_PARAM(struct one, name, .required = true, .doc = "Name of the controller."),
	RPC_PARAM(struct one, cntlid, .doc = "Only the path whose controller has this id; all paths when left out."),
};

typedef void path_verb(struct remote_path *p, struct remote_path_wait *w);

/* A call that does something with several paths, and ends with the first error. */
struct several {
	struct rpc_call *call;
	uint32_t left;
	struct err err;
	struct several_one {
		struct remote_path_wait wait;
		struct several *of;
	} each[REMOTE_PATHS_MAX];
};

static void several_end(struct several *s)
{
	if (--s->left)
		return;
	if (s->err.code)
		rpc_reply_err(s->call, &s->err);
	else
		rpc_reply_true(s->call);
	free(s);
}

static void one_done(struct remote_path_wait *w, const struct err *e)
{
	struct several *s = container_of(w, struct several_one, wait)->of;

	if (e && !s->err.code)
		s->err = *e;
	several_end(s);
}

static void do_with_paths(struct rpc_call *call, const struct one *a, path_verb *verb)
{
	struct remote_group *g = remote_rpc_group(call, a->name);
	struct several *s;
	uint32_t found = 0;

	if (!g)
		return;
	s = base_zalloc(sizeof(*s));
	s->call = call;
	s->left = 1;
	for (uint32_t i = 0; i < REMOTE_PATHS_MAX; i++) {
		struct remote_path *p = g->paths[i];

		if (!p || remote_path_going(p) || (a->cntlid && remote_path_cntlid(p) != a->cntlid))
			continue;
		found++;
		s->left++;
		s->each[i].of = s;
		s->each[i].wait.done = one_done;
		verb(p, &s->each[i].wait);
	}
	if (!found)
		err_set(&s->err, -ENODEV, "cntlid: %s has no path with controller %u; bdev_nvme_get_controllers "
		        "lists them",
		        g->name, a->cntlid);
	several_end(s);
}

static void handle_reset(struct rpc_call *call, void *args)
{
	do_with_paths(call, args, remote_path_reset);
}

static void handle_enable(struct rpc_call *call, void *args)
{
	do_with_paths(call, args, remote_path_enable);
}

static void handle_disable(struct rpc_call *call, void *args)
{
	do_with_paths(call, args, remote_path_disable);
}

static const struct rpc_method methods[] = {
	RPC_METHOD("bdev_nvme_get_controllers", struct name, get_params, handle_get, .flags = RPC_RUNTIME | RPC_READS,
	           .doc = "List attached controllers, each with its paths, what they do, and counters.",
	           .returns = "list of controllers"),
	RPC_METHOD("bdev_nvme_reset_controller", struct one, one_params, handle_reset, .flags = RPC_RUNTIME,
	           .doc = "Disconnect and connect again; tries at once when it is lost.", .returns = "true"),
	RPC_METHOD("bdev_nvme_enable_controller", struct one, one_params, handle_enable, .flags = RPC_RUNTIME,
	           .doc = "Connect what was disabled.", .returns = "true"),
	RPC_METHOD("bdev_nvme_disable_controller", struct one, one_params, handle_disable, .flags = RPC_RUNTIME,
	           .doc = "Disconnect until it is enabled or reset; its I/O goes over other paths or fails.",
	           .returns = "true"),
};

void remote_show_rpc_add(struct remote_rpc *rr)
{
	rpc_add_methods(bdev_rpc_of(rr->br), methods, ARRAY_SIZE(methods), rr);
}
