/* SPDX-License-Identifier: BSD-3-Clause */
/* nvmf_get_rpc.c: methods that tell what the target is. Shapes are SPDK's. */
#include <strings.h>

#include "fabric/auth.h"
#include "fabric/psk.h"
#include "nvmf/nvmf_rpc_priv.h"

struct tgt_args {
	char *tgt_name;
};
static const struct rpc_param tgt_params[] = {
	RPC_PARAM(struct tgt_args, tgt_name, .doc = "Name of the target: nvmf_tgt."),
};

struct nqn_args {
	char *nqn, *tgt_name;
};
static const struct rpc_param nqn_params[] = {
	RPC_PARAM(struct nqn_args, nqn, .required = true, .doc = "NQN of the subsystem."),
	RPC_PARAM(struct nqn_args, tgt_name, .doc = "Name of the target: nvmf_tgt."),
};

/* NULL: answered. */
static struct nvmf_subsystem *find_subsystem(struct rpc_call *call, const struct nqn_args *a)
{
	struct nvmf_target *t = rpc_ctx(call);
	struct nvmf_subsystem *s;

	if (!nvmf_rpc_target_ok(call, a->tgt_name))
		return NULL;
	s = nvmf_config_find(t->config, a->nqn);
	if (!s)
		rpc_reply_error(call, -ENOENT, "nqn: there is no subsystem '%s'; leave it out to see all", a->nqn);
	return s;
}

/* --- nvmf_get_subsystems ------------------------------------------------------------------------------------ */

static void show_ns(struct json_object *array, const struct nvmf_subsystem *s, const struct nvmf_ns *ns)
{
	struct json_object *o = json_append_object(array);

	json_add_u64(o, "nsid", ns->nsid);
	json_add_text(o, "bdev_name", ns->dev.bdev_name);
	json_add_text(o, "name", ns->dev.bdev_name);
	nvmf_tell_ns_ids(o, ns);
	if (ns->dev.info.read_only)
		json_add_bool(o, "read_only", true);
	if (atomic_load(&ns->protected))
		json_add_bool(o, "write_protected", true);
	if (s->ana_reporting)
		json_add_u64(o, "anagrpid", s->ns_group[ns->nsid - 1]);
	nvmf_tell_ns_hosts(o, s, ns->nsid);
}

static void show_subsystem(struct json_object *array, const struct nvmf_subsystem *s)
{
	struct json_object *o = json_append_object(array), *list;

	json_add_text(o, "nqn", s->nqn);
	json_add_text(o, "subtype", s->discovery ? "Discovery" : "NVMe");
	list = json_add_array(o, "listen_addresses");
	for (uint32_t i = 0; i < s->listener_count; i++)
		nvmf_tell_address(json_append_object(list), s->listeners[i].transport, &s->listeners[i].addr);
	json_add_bool(o, "allow_any_host", s->allow_any_host);
	list = json_add_array(o, "hosts");
	for (uint32_t i = 0; i < s->host_count; i++)
		nvmf_tell_host(json_append_object(list), "nqn", &s->hosts[i]);
	if (s->discovery)
		return;
	json_add_text(o, "serial_number", s->serial);
	json_add_text(o, "model_number", s->model);
	if (s->admin_label[0])
		json_add_text(o, "admin_label", s->admin_label);
	json_add_u64(o, "max_namespaces", s->ns_max);
	json_add_u64(o, "min_cntlid", s->min_cntlid);
	json_add_u64(o, "max_cntlid", s->max_cntlid);
	if (s->is_static)
		nvmf_show_statics(o, s);
	json_add_bool(o, "passthrough", false);
	json_add_u64(o, "dmrsl", s->dmrsl);
	json_add_u64(o, "wzsl", s->wzsl);
	list = json_add_array(o, "namespaces");
	for (uint32_t i = 0; i < s->ns_max; i++)
		if (s->ns[i])
			show_ns(list, s, s->ns[i]);
}

static const struct rpc_param get_subsystems_params[] = {
	RPC_PARAM(struct nqn_args, nqn, .doc = "NQN of the subsystem; all when left out."),
	RPC_PARAM(struct nqn_args, tgt_name, .doc = "Name of the target: nvmf_tgt."),
};

static void handle_get_subsystems(struct rpc_call *call, void *args)
{
	const struct nqn_args *a = args;
	struct nvmf_target *t = rpc_ctx(call);
	struct nvmf_subsystem *only = NULL;
	struct json_object *result;

	if (a->nqn && !(only = find_subsystem(call, a)))
		return;
	if (!a->nqn && !nvmf_rpc_target_ok(call, a->tgt_name))
		return;
	result = json_object_new_array();
	for (uint32_t i = 0; i < NVMF_SUBSYSTEMS_MAX; i++)
		if (t->config->subs[i] && (!only || only == t->config->subs[i]))
			show_subsystem(result, t->config->subs[i]);
	rpc_reply(call, result);
}

/* --- nvmf_subsystem_get_* ------------------------------------------------------------------------------------- */

static void add_tls(struct json_object *o, const struct nvmf_seat *seat)
{
	struct json_object *tls = seat->tls_hash ? json_add_object(o, "tls") : NULL;

	if (!tls)
		return;
	json_add_text(tls, "identity", seat->tls_identity);
	json_add_text(tls, "cipher", fabric_psk_cipher_name(seat->tls_hash));
}

static void handle_get_controllers(struct rpc_call *call, void *args)
{
	struct nvmf_subsystem *s = find_subsystem(call, args);
	struct json_object *result;

	if (!s)
		return;
	result = json_object_new_array();
	list_each(l, &s->roster->ctrlrs) {
		struct nvmf_ctrlr *c = list_entry(l, struct nvmf_ctrlr, link);
		struct json_object *o = json_append_object(result);
		char uuid[UUID_TEXT_MAX];
		uint32_t queues = 0;

		list_each(q, &c->seats)
			queues += list_entry(q, struct nvmf_seat, link)->qid != 0;
		json_add_u64(o, "cntlid", c->cntlid);
		json_add_text(o, "cntrltype", c->discovery ? "discovery" : "io");
		json_add_text(o, "hostnqn", c->who.name);
		json_add_text(o, "hostid", uuid_to_text(&c->who.host_id, uuid));
		json_add_u64(o, "num_io_qpairs", queues);
		if (c->seat_by_qid[0])
			add_tls(o, c->seat_by_qid[0]);
	}
	rpc_reply(call, result);
}

static void show_qpair(struct json_object *array, const struct nvmf_ctrlr *c, struct nvmf_seat *seat)
{
	struct json_object *o = json_append_object(array);
	uint32_t auth = atomic_load(&seat->auth);
	char thread[32];
	struct text t = text_over(thread, sizeof(thread));

	text_add(&t, "reactor_%u", reactor_index(carry_at(&seat->home)));
	json_add_u64(o, "cntlid", c->cntlid);
	json_add_u64(o, "qid", seat->qid);
	json_add_text(o, "state", c->dying ? "deactivating" : "enabled");
	json_add_text(o, "thread", thread);
	json_add_text(o, "hostnqn", c->who.name);
	json_add_u64(o, "size", seat->size);
	nvmf_tell_address(json_add_object(o, "listen_address"), c->transport, &seat->local);
	nvmf_tell_address(json_add_object(o, "peer_address"), c->transport, &seat->peer);
	add_tls(o, seat);
	if (auth) {
		struct json_object *a = json_add_object(o, "auth");

		json_add_text(a, "state", fabric_auth_ctrlr_state_name(auth >> 16 & 0xff));
		json_add_text(a, "digest", auth >> 8 & 0xff ? fabric_auth_hash_name(auth >> 8 & 0xff) : "unknown");
		json_add_text(a, "dhgroup", auth >> 8 & 0xff ? fabric_auth_group_name(auth & 0xff) : "unknown");
	}
}

static void handle_get_qpairs(struct rpc_call *call, void *args)
{
	struct nvmf_subsystem *s = find_subsystem(call, args);
	struct json_object *result;

	if (!s)
		return;
	result = json_object_new_array();
	list_each(l, &s->roster->ctrlrs) {
		struct nvmf_ctrlr *c = list_entry(l, struct nvmf_ctrlr, link);

		list_each(q, &c->seats)
			show_qpair(result, c, list_entry(q, struct nvmf_seat, link));
	}
	rpc_reply(call, result);
}

static void show_ana_states(struct json_object *array, const struct nvmf_subsystem *s, const struct nvmf_listener *l)
{
	for (uint32_t g = 0; g < s->ns_max; g++) {
		struct json_object *o = json_append_object(array);

		json_add_u64(o, "ana_group", g + 1);
		json_add_text(o, "ana_state", nvmf_rpc_ana_name(l->ana[g].state));
		if (l->ana[g].state != l->ana[g].to)
			json_add_text(o, "ana_state_to", nvmf_rpc_ana_name(l->ana[g].to));
	}
}

static void handle_get_listeners(struct rpc_call *call, void *args)
{
	struct nvmf_subsystem *s = find_subsystem(call, args);
	struct json_object *result;

	if (!s)
		return;
	result = json_object_new_array();
	for (uint32_t i = 0; i < s->listener_count; i++) {
		struct json_object *o = json_append_object(result);

		nvmf_tell_address(json_add_object(o, "address"), s->listeners[i].transport, &s->listeners[i].addr);
		json_add_bool(o, "secure_channel", s->listeners[i].secure);
		if (s->listeners[i].concat)
			json_add_bool(o, "concatenation", true);
		if (s->ana_reporting)
			show_ana_states(json_add_array(o, "ana_states"), s, &s->listeners[i]);
	}
	rpc_reply(call, result);
}

/* --- nvmf_get_transports ------------------------------------------------------------------------- */

/* Beside what is saved, what SPDK's clients look for: as it is here, whatever was asked for. */
static void show_transport(struct json_object *o, const struct nvmf_transport *tr)
{
	nvmf_tell_transport_opts(o, tr);
	json_add_u64(o, "iobuf_small_cache_size", 0);
	json_add_u64(o, "iobuf_large_cache_size", 0);
	json_add_bool(o, "zcopy", false);
	if (tr->ops->trtype != NVMF_TRTYPE_RDMA)
		json_add_u64(o, "data_wr_pool_size", 0);
	json_add_bool(o, "disable_command_passthru", true);
}

struct get_transports {
	char *trtype, *tgt_name;
};
static const struct rpc_param get_transports_params[] = {
	RPC_PARAM(struct get_transports, trtype, .doc = "Only this transport."),
	RPC_PARAM(struct get_transports, tgt_name, .doc = "Name of the target: nvmf_tgt."),
};

static void handle_get_transports(struct rpc_call *call, void *args)
{
	const struct get_transports *a = args;
	struct nvmf_target *t = rpc_ctx(call);
	struct json_object *result;

	if (!nvmf_rpc_target_ok(call, a->tgt_name))
		return;
	if (a->trtype && !nvmf_target_transport(t, a->trtype)) {
		rpc_reply_error(call, -ENODEV, "trtype: there is no transport '%s'; nvmf_create_transport makes it", a->trtype);
		return;
	}
	result = json_object_new_array();
	list_each(l, &t->transports) {
		struct nvmf_transport *tr = list_entry(l, struct nvmf_transport, link);

		if (!a->trtype || !strcasecmp(a->trtype, tr->ops->name))
			show_transport(json_append_object(result), tr);
	}
	rpc_reply(call, result);
}

/* --- nvmf_get_stats ------------------------------------------------------------------------------ */

static void emit_stat(void *arg, const char *key, uint64_t v)
{
	json_add_u64(arg, key, v);
}

/* An object of an array; the values that follow are its. */
struct devices_out {
	struct json_object *array, *device;
};

static void begin_device(void *arg, const char *name)
{
	struct devices_out *o = arg;

	o->device = json_append_object(o->array);
	json_add_text(o->device, "name", name);
}

static void emit_device_stat(void *arg, const char *key, uint64_t v)
{
	json_add_u64(((struct devices_out *)arg)->device, key, v);
}

/* Connections that no Connect command has made queues yet. The counters are read one by one while they move. */
static uint32_t unassociated(uint32_t connections, const struct nvmf_core *nc)
{
	uint32_t queues = atomic_load(&nc->current_io_qpairs);

	return connections > queues ? connections - queues : 0;
}

static void show_core(struct json_object *array, struct nvmf_target *t, uint32_t index)
{
	const struct nvmf_core *nc = &t->cores[index];
	struct json_object *o = json_append_object(array), *list;
	uint32_t connections = atomic_load(&t->place.count[index]);
	char name[32];
	struct text text = text_over(name, sizeof(name));

	text_add(&text, "reactor_%u", index);
	json_add_text(o, "name", name);
	json_add_u64(o, "admin_qpairs", nvmf_counted(&nc->admin_qpairs));
	json_add_u64(o, "io_qpairs", nvmf_counted(&nc->io_qpairs));
	json_add_u64(o, "current_admin_qpairs", atomic_load(&nc->current_admin_qpairs));
	json_add_u64(o, "current_io_qpairs", atomic_load(&nc->current_io_qpairs));
	json_add_u64(o, "current_unassociated_qpairs", unassociated(connections, nc));
	json_add_u64(o, "current_connections", connections + atomic_load(&nc->current_admin_qpairs));
	json_add_u64(o, "pending_bdev_io", 0); /* nothing waits here for a device: the waist has its own waits */
	json_add_u64(o, "completed_nvme_io", nvmf_counted(&nc->completed_io));
	json_add_u64(o, "completed_nvme_admin", nvmf_counted(&nc->completed_admin));
	list = json_add_array(o, "transports");
	list_each(l, &t->transports) {
		struct nvmf_transport *tr = list_entry(l, struct nvmf_transport, link);
		struct json_object *to = json_append_object(list);

		json_add_text(to, "trtype", tr->ops->name);
		if (tr->ops->stats)
			tr->ops->stats(tr, index, emit_stat, to);
		if (tr->ops->device_stats) {
			struct devices_out out = { .array = json_add_array(to, "devices") };

			tr->ops->device_stats(tr, index, begin_device, emit_device_stat, &out);
		}
	}
}

static void handle_get_stats(struct rpc_call *call, void *args)
{
	const struct tgt_args *a = args;
	struct nvmf_target *t = rpc_ctx(call);
	struct json_object *result, *groups, *shakes;

	if (!nvmf_rpc_target_ok(call, a->tgt_name))
		return;
	result = json_object_new_object();
	json_add_u64(result, "tick_rate", NS_PER_S);
	groups = json_add_array(result, "poll_groups");
	for (uint32_t i = 0; i < t->core_count; i++)
		show_core(groups, t, i);
	shakes = json_add_object(result, "tls_handshakes");
	for (uint32_t i = 0; i < NVMF_TLS_RESULT_COUNT; i++)
		json_add_u64(shakes, nvmf_tls_result_name(i), nvmf_counted(&t->tls_results[i]));
	rpc_reply(call, result);
}

/* --- small ones ---------------------------------------------------------------------------------- */

static void handle_get_targets(struct rpc_call *call, void *args)
{
	struct json_object *result = json_object_new_array();

	json_object_array_add(result, json_object_new_string(TGT_NAME));
	rpc_reply(call, result);
}

static void handle_get_referrals(struct rpc_call *call, void *args)
{
	const struct tgt_args *a = args;

	const struct nvmf_referrals *r = ((struct nvmf_target *)rpc_ctx(call))->config->referrals;
	struct json_object *result;

	if (!nvmf_rpc_target_ok(call, a->tgt_name))
		return;
	result = json_object_new_array();
	for (uint32_t i = 0; r && i < r->count; i++)
		nvmf_tell_referral(json_append_object(result), &r->at[i]);
	rpc_reply(call, result);
}

/* --- the table ----------------------------------------------------------------------------------- */

#define READS .flags = RPC_RUNTIME | RPC_READS
static const struct rpc_method methods[] = {
	RPC_METHOD("nvmf_get_transports", struct get_transports, get_transports_params, handle_get_transports,
	           READS, .returns = "array of transports with their options", .doc = "List the transports."),
	RPC_METHOD("nvmf_get_subsystems", struct nqn_args, get_subsystems_params, handle_get_subsystems,
	           READS, .returns = "array of subsystems", .doc = "List the subsystems, the discovery subsystem first."),
	RPC_METHOD("nvmf_subsystem_get_controllers", struct nqn_args, nqn_params, handle_get_controllers,
	           READS, .returns = "array of controllers", .doc = "List the hosts' controllers of a subsystem."),
	RPC_METHOD("nvmf_subsystem_get_qpairs", struct nqn_args, nqn_params, handle_get_qpairs,
	           READS, .returns = "array of queue pairs", .doc = "List the hosts' queues of a subsystem."),
	RPC_METHOD("nvmf_subsystem_get_listeners", struct nqn_args, nqn_params, handle_get_listeners,
	           READS, .returns = "array of listeners", .doc = "List where a subsystem listens."),
	RPC_METHOD("nvmf_get_stats", struct tgt_args, tgt_params, handle_get_stats,
	           READS, .returns = "tick_rate and an array of poll_groups, one for each reactor",
	           .doc = "Count queues and commands of each reactor."),
	RPC_METHOD("nvmf_discovery_get_referrals", struct tgt_args, tgt_params, handle_get_referrals,
	           READS, .returns = "array of referrals",
	           .doc = "List referrals to other discovery services."),
	RPC_METHOD_BARE("nvmf_get_targets", handle_get_targets,
	                READS, .returns = "array of names", .doc = "List the targets: there is one."),
};

void nvmf_get_rpc_add(struct rpc *rpc, struct nvmf_target *t)
{
	rpc_add_methods(rpc, methods, ARRAY_SIZE(methods), t);
}
