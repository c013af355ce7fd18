/* SPDX-License-Identifier: BSD-3-Clause */
/* vhost_rpc.c: vhost's methods, and its part of the saved configuration. Names, parameters and shapes are SPDK's. */
#include "vhost/vhost_rpc.h"

#include <errno.h>

#include "base/text.h"
#include "rpc/state.h"
#include "vhost/vhost_rpc_priv.h"

/* --- changes that take time ------------------------------------------------------------------------------------- */

struct change_call {
	struct vhost_change change;
	struct rpc_call *call;
};

static void change_reply(struct vhost_change *c)
{
	struct change_call *cc = container_of(c, struct change_call, change);

	rpc_reply_rc(cc->call, c->err.code, &c->err);
	free(cc);
}

struct vhost_change *vhost_rpc_change(struct rpc_call *call)
{
	struct change_call *cc = base_zalloc(sizeof(*cc));

	cc->call = call;
	cc->change.done = change_reply;
	return &cc->change;
}

static struct vhost_ctrlr *find(struct rpc_call *call, const char *field, const char *name)
{
	struct vhost_ctrlr *c = vhost_ctrlr_find(rpc_ctx(call), name);

	if (!c)
		rpc_reply_error(call, -ENODEV, "%s: there is no controller '%s'; vhost_get_controllers lists those that exist",
		                field, name);
	return c;
}

struct vhost_ctrlr *vhost_rpc_ctrlr(struct rpc_call *call, const char *name)
{
	return find(call, "ctrlr", name);
}

/* --- making a disk ---------------------------------------------------------------------------------------------- */

struct create_blk {
	char *ctrlr, *dev_name, *cpumask, *transport, *socket;
	bool readonly, packed_ring, client, write_cache;
	uint16_t num_queues;
	uint32_t patience_ms;
};

static const char *const transports[] = { "vhost_user_blk", NULL };

static const struct rpc_param create_blk_params[] = {
#define P(field, ...) RPC_PARAM(struct create_blk, field, __VA_ARGS__)
	NEW_CTRLR_ROW(struct create_blk),
	P(dev_name, .required = true, .doc = "The disk that it shows."),
	P(readonly, .doc = "It cannot be written. At first false."),
	CPUMASK_ROW(struct create_blk),
	PACKED_ROW(struct create_blk),
	PATIENCE_ROW(struct create_blk),
	P(transport, .choices = transports, .doc = "vhost_user_blk is the one there is."),
	P(num_queues, .max = VHOST_RINGS_MAX, .fallback = "0",
	  .doc = "Queues that the disk says it has, for front-ends that leave that to it; 0: all there can be, 128."),
	P(write_cache, .fallback = "true",
	  .doc = "Whether its write cache is on at first. A driver can switch it, and what it chose is saved."),
	SOCKET_ROWS(struct create_blk),
#undef P
	RPC_IGNORED("packed_ring_recovery", .doc = "Requests in flight survive in rings of both kinds."),
};

static void handle_create_blk(struct rpc_call *call, void *args)
{
	const struct create_blk *a = args;
	struct vhost_blk_opts opts = {
		.ctrlr = { .name = a->ctrlr, .cpumask = a->cpumask, .socket = a->socket, .client = a->client,
		           .no_packed = !a->packed_ring, .patience_ms = a->patience_ms },
		.bdev_name = a->dev_name, .read_only = a->readonly, .cache_off = !a->write_cache,
		.num_queues = a->num_queues,
	};

	vhost_blk_make(rpc_ctx(call), &opts, vhost_rpc_change(call));
}

/* --- all kinds -------------------------------------------------------------------------------------------------- */

static const struct rpc_param delete_params[] = { CTRLR_ROW(struct vhost_rpc_ctrlr_args) };

static void handle_delete(struct rpc_call *call, void *args)
{
	const struct vhost_rpc_ctrlr_args *a = args;
	struct vhost_ctrlr *c = vhost_rpc_ctrlr(call, a->ctrlr);

	if (c)
		vhost_ctrlr_delete(c, vhost_rpc_change(call));
}

struct coalescing {
	char *ctrlr;
	uint32_t delay_base_us, iops_threshold;
};

static const struct rpc_param coalescing_params[] = {
	CTRLR_ROW(struct coalescing),
	RPC_PARAM(struct coalescing, delay_base_us, .required = true, .max = VHOST_DELAY_US_MAX, .unit = "us",
	          .doc = "How long an interrupt may be put off at twice the threshold; more with a higher rate, up to "
	                 "10 ms. 0: never."),
	RPC_PARAM(struct coalescing, iops_threshold, .required = true, .unit = "1/s",
	          .doc = "Up to so many requests of a queue in a second none is put off."),
};

static void handle_set_coalescing(struct rpc_call *call, void *args)
{
	const struct coalescing *a = args;
	struct vhost_ctrlr *c = vhost_rpc_ctrlr(call, a->ctrlr);
	struct err e = { 0 };

	if (c)
		rpc_reply_rc(call, vhost_ctrlr_set_coalescing(c, a->delay_base_us, a->iops_threshold, &e), &e);
}

struct get_controllers {
	char *name;
};

static const struct rpc_param get_params[] = {
	RPC_PARAM(struct get_controllers, name, .doc = "Only this controller."),
};

static void add_session(void *arg, const struct vhost_session_info *i)
{
	struct json_object *o = json_append_object(arg), *queues;
	uint64_t in_flight = 0;

	json_add_u64(o, "vid", i->id);
	json_add_u64(o, "id", i->id);
	json_add_text(o, "name", i->name);
	json_add_bool(o, "started", i->queues > 0);
	json_add_u64(o, "max_queues", i->queues);
	for (uint32_t n = 0; n < i->queues; n++)
		in_flight += i->queue[n].in_flight;
	json_add_u64(o, "inflight_task_cnt", in_flight);
	json_add_u64(o, "features", i->features);
	queues = json_add_array(o, "queues");
	for (uint32_t n = 0; n < i->queues; n++) {
		const struct vhost_queue_info *q = &i->queue[n];
		struct json_object *qo = json_append_object(queues);

		json_add_u64(qo, "queue", q->index);
		json_add_u64(qo, "size", q->size);
		json_add_u64(qo, "reactor", q->reactor);
		json_add_u64(qo, "in_flight", q->in_flight);
		json_add_u64(qo, "commands", q->commands);
		json_add_u64(qo, "kicks", q->kicks);
		json_add_u64(qo, "interrupts", q->calls);
		json_add_bool(qo, "broken", q->stopped);
	}
}

static void add_cpumask(struct json_object *o, struct core *core, uint64_t place)
{
	uint32_t cpus[CORE_REACTORS_MAX], count = 0;
	char *mask, text[512];
	struct text t = text_over(text, sizeof(text));

	for (uint32_t i = 0; i < core_reactor_count(core); i++)
		if (place >> i & 1)
			cpus[count++] = reactor_cpu(core_reactor(core, i));
	mask = core_cpus_mask(cpus, count);
	text_add(&t, "0x%s", mask);
	json_add_text(o, "cpumask", text);
	free(mask);
}

static void add_blk(struct json_object *specific, const struct vhost_blk_info *b)
{
	struct json_object *o = json_add_object(specific, "block");

	json_add_bool(o, "readonly", b->read_only);
	if (b->gone)
		json_object_object_add(o, "bdev", NULL);
	json_add_text(o, b->gone ? "lost_bdev" : "bdev", b->bdev_name);
	json_add_text(o, "transport", transports[0]);
}

static void add_ctrlr(struct json_object *list, struct core *core, struct vhost_ctrlr *c)
{
	struct json_object *o = json_append_object(list), *specific;
	struct vhost_ctrlr_info i;
	struct vhost_blk_info b;

	vhost_ctrlr_get(c, &i);
	json_add_text(o, "ctrlr", i.name);
	add_cpumask(o, core, i.place);
	json_add_u64(o, "delay_base_us", i.delay_base_us);
	json_add_u64(o, "iops_threshold", i.iops_threshold);
	json_add_text(o, "socket", i.socket);
	json_add_bool(o, "client", i.client);
	vhost_ctrlr_sessions(c, add_session, json_add_array(o, "sessions"));
	specific = json_add_object(o, "backend_specific");
	if (vhost_blk_get(c, &b))
		add_blk(specific, &b);
	vhost_rpc_scsi_show(specific, c);
}

static void handle_get_controllers(struct rpc_call *call, void *args)
{
	const struct get_controllers *a = args;
	struct core *core = rpc_core(rpc_of(call));
	struct vhost *v = rpc_ctx(call);
	struct vhost_ctrlr *one = NULL;
	struct json_object *list;

	if (a->name && !(one = find(call, "name", a->name)))
		return;
	list = json_object_new_array();
	for (struct vhost_ctrlr *c = vhost_ctrlr_next(v, NULL); c; c = vhost_ctrlr_next(v, c))
		if (!one || c == one)
			add_ctrlr(list, core, c);
	rpc_reply(call, list);
}

/* --- cores ------------------------------------------------------------------------------------------------------- */

struct move_args {
	char *ctrlr;
	uint32_t id, queue, reactor;
	bool pinned;
};

static const struct rpc_param move_params[] = {
	CTRLR_ROW(struct move_args),
	RPC_PARAM(struct move_args, id, .required = true, .doc = "Of the session, as vhost_get_controllers gives it."),
	RPC_PARAM(struct move_args, queue, .required = true, .doc = "The queue's number."),
	RPC_PARAM(struct move_args, reactor, .required = true, .doc = "The core: its number in framework_get_reactors."),
	RPC_PARAM(struct move_args, pinned, .fallback = "true", .doc = "The scheduler leaves it there."),
};

static void handle_move(struct rpc_call *call, void *args)
{
	const struct move_args *a = args;
	struct core *core = rpc_core(rpc_of(call));
	struct vhost_ctrlr *c = vhost_rpc_ctrlr(call, a->ctrlr);
	uint32_t count = core_reactor_count(core);

	if (!c)
		return;
	if (a->reactor >= count)
		rpc_reply_error(call, ERR_BAD_PARAM, "reactor: there is no reactor %u; 0 to %u", a->reactor, count - 1);
	else
		vhost_queue_move(c, a->id, a->queue, core_reactor(core, a->reactor), a->pinned, vhost_rpc_change(call));
}

/* --- SPDK's other transports of virtio-blk: there are none ------------------------------------------------------ */

struct get_transports {
	char *name;
};

static const struct rpc_param transports_params[] = {
	RPC_PARAM(struct get_transports, name, .doc = "Only this transport."),
};

static void handle_get_transports(struct rpc_call *call, void *args)
{
	const struct get_transports *a = args;
	struct json_object *list;

	if (a->name && strcmp(a->name, transports[0])) {
		rpc_reply_error(call, -ENODEV, "name: there is no transport '%s'; there is %s", a->name, transports[0]);
		return;
	}
	list = json_object_new_array();
	json_add_text(json_append_object(list), "name", transports[0]);
	rpc_reply(call, list);
}

/* --- saving ----------------------------------------------------------------------------------------------------- */

struct json_object *vhost_rpc_save_call(struct json_object *array, const char *method)
{
	struct json_object *o = json_append_object(array);

	json_add_text(o, "method", method);
	return json_add_object(o, "params");
}

struct json_object *vhost_rpc_save_create(struct json_object *array, const char *method,
                                          const struct vhost_ctrlr_info *i)
{
	struct json_object *o = vhost_rpc_save_call(array, method);

	json_add_text(o, "ctrlr", i->name);
	if (i->cpumask)
		json_add_text(o, "cpumask", i->cpumask);
	if (i->no_packed)
		json_add_bool(o, "packed_ring", false);
	if (i->patience_ms != VHOST_PATIENCE_MS)
		json_add_u64(o, "patience_ms", i->patience_ms);
	if (i->own_socket)
		json_add_text(o, "socket", i->socket);
	if (i->client)
		json_add_bool(o, "client", true);
	return o;
}

void vhost_rpc_save_coalescing(struct json_object *array, const struct vhost_ctrlr_info *i)
{
	struct json_object *o;

	if (!i->delay_base_us)
		return;
	o = vhost_rpc_save_call(array, "vhost_controller_set_coalescing");
	json_add_text(o, "ctrlr", i->name);
	json_add_u64(o, "delay_base_us", i->delay_base_us);
	json_add_u64(o, "iops_threshold", i->iops_threshold);
}

static void save_blk(void *arg, struct json_object *array)
{
	const struct vhost_ctrlr *c = arg;
	struct vhost_ctrlr_info i;
	struct vhost_blk_info b;
	struct json_object *o;

	vhost_ctrlr_get(c, &i);
	must(vhost_blk_get(c, &b));
	o = vhost_rpc_save_create(array, "vhost_create_blk_controller", &i);
	json_add_text(o, "dev_name", b.bdev_name);
	json_add_bool(o, "readonly", b.read_only);
	json_add_text(o, "transport", transports[0]);
	if (b.num_queues != VHOST_RINGS_MAX)
		json_add_u64(o, "num_queues", b.num_queues);
	if (b.cache_off)
		json_add_bool(o, "write_cache", false);
	vhost_rpc_save_coalescing(array, &i);
}

static void changed(void *arg)
{
	rpc_state_changed(arg);
}

static void save_blks(void *ctx, struct rpc_save *save)
{
	for (struct vhost_ctrlr *c = vhost_ctrlr_next(ctx, NULL); c; c = vhost_ctrlr_next(ctx, c)) {
		struct vhost_blk_info b;
		struct vhost_ctrlr_info i;

		vhost_ctrlr_get(c, &i);
		if (vhost_blk_get(c, &b))
			rpc_save_object(save, i.stamp, save_blk, c);
	}
}

static const struct rpc_method methods[] = {
	RPC_METHOD("vhost_create_blk_controller", struct create_blk, create_blk_params, handle_create_blk,
		.flags = RPC_RUNTIME, .doc = "Serve a disk to virtual machines as virtio-blk, over vhost-user.",
		.returns = "true"),
	RPC_METHOD("vhost_delete_controller", struct vhost_rpc_ctrlr_args, delete_params, handle_delete,
		.flags = RPC_RUNTIME, .doc = "End a controller's sessions, wait for their I/O, and delete it.",
		.returns = "true"),
	RPC_METHOD("vhost_get_controllers", struct get_controllers, get_params, handle_get_controllers,
		.flags = RPC_RUNTIME | RPC_READS, .doc = "Controllers that there are, and who is connected to them.",
		.returns = "a list of objects"),
	RPC_METHOD("vhost_controller_set_coalescing", struct coalescing, coalescing_params, handle_set_coalescing,
		.flags = RPC_RUNTIME, .doc = "Put interrupts off when a queue is busy.", .returns = "true"),
	RPC_METHOD("vhost_move_queue", struct move_args, move_params, handle_move, .flags = RPC_RUNTIME,
		.doc = "Put a queue of a front-end on another core.", .returns = "true"),
	RPC_METHOD("virtio_blk_get_transports", struct get_transports, transports_params, handle_get_transports,
		.flags = RPC_RUNTIME | RPC_READS, .doc = "Ways to serve virtio-blk that there are.",
		.returns = "a list of objects"),
};

void vhost_rpc_add(struct rpc *rpc, struct vhost *v)
{
	rpc_add_methods(rpc, methods, ARRAY_SIZE(methods), v);
	rpc_add_object_saver(rpc, "vhost_blk", save_blks, v);
	vhost_on_changed(v, changed, rpc);
	vhost_rpc_scsi_add(rpc, v);
	vhost_rpc_slow_add(rpc, v);
}
