/* SPDX-License-Identifier: BSD-3-Clause */
/* nvmf_get_rpc.c: methods that tell what the target is, and its part of the saved configuration. Shapes are SPDK's. */
#include <strings.h>

#include "fabric/auth.h"
#include "fabric/psk.h"
#include "keyring/keyring.h"
#include "nvmf/nvmf_rpc_priv.h"

/* --- pieces ---------------------------------------------------------------------------------------------- */

static void add_address_of(struct json_object *o, const char *trtype, const struct net_addr *a)
{
	char host[NET_ADDR_TEXT_MAX], port[8];
	struct text t = text_over(port, sizeof(port));

	text_add(&t, "%u", net_addr_port(a));
	json_add_text(o, "trtype", trtype);
	json_add_text(o, "adrfam", net_addr_family(a) == NET_IPV6 ? "IPv6" : "IPv4");
	json_add_text(o, "traddr", net_addr_host(a, host));
	json_add_text(o, "trsvcid", port);
}

static void add_address(struct json_object *o, const struct nvmf_transport *tr, const struct net_addr *a)
{
	add_address_of(o, tr->ops->name, a);
}

static void add_host(struct json_object *o, const char *as, const struct nvmf_host *h)
{
	json_add_text(o, as, h->nqn);
	if (h->key)
		json_add_text(o, "dhchap_key", h->key->name);
	if (h->ctrlr_key)
		json_add_text(o, "dhchap_ctrlr_key", h->ctrlr_key->name);
	if (h->psk)
		json_add_text(o, "psk", h->psk->name);
}

static void add_hex(struct json_object *o, const char *key, const uint8_t *bytes, size_t len)
{
	char hex[64];
	struct text t = text_over(hex, sizeof(hex));

	for (size_t i = 0; i < len; i++)
		text_add(&t, "%02X", bytes[i]);
	json_add_text(o, key, hex);
}

static bool all_zero(const uint8_t *bytes, size_t len)
{
	while (len && !bytes[len - 1])
		len--;
	return !len;
}

/* What saving and showing a namespace have in common. */
static void add_ns_ids(struct json_object *o, const struct nvmf_ns *ns)
{
	char uuid[UUID_TEXT_MAX];

	if (!all_zero(ns->nguid, sizeof(ns->nguid)))
		add_hex(o, "nguid", ns->nguid, sizeof(ns->nguid));
	if (!all_zero(ns->eui64, sizeof(ns->eui64)))
		add_hex(o, "eui64", ns->eui64, sizeof(ns->eui64));
	if (!uuid_is_null(&ns->uuid))
		json_add_text(o, "uuid", uuid_to_text(&ns->uuid, uuid));
}

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

static void add_hosts(struct json_object *o, const struct nvmf_ns_hosts *h)
{
	struct json_object *list;

	if (!h)
		return;
	list = json_add_array(o, "hosts");
	for (uint32_t i = 0; i < h->count; i++)
		json_object_array_add(list, json_object_new_string(h->nqns[i]));
}

/* Of a namespace that is hidden from others. */
static void add_ns_hosts(struct json_object *o, const struct nvmf_subsystem *s, uint32_t nsid)
{
	const struct nvmf_ns_hosts *h = s->ns_hosts[nsid - 1];

	if (h)
		json_add_bool(o, "no_auto_visible", true);
	add_hosts(o, h);
}

static void show_ns(struct json_object *array, const struct nvmf_subsystem *s, const struct nvmf_ns *ns)
{
	struct json_object *o = json_append_object(array);

	json_add_u64(o, "nsid", ns->nsid);
	json_add_text(o, "bdev_name", ns->dev.bdev_name);
	json_add_text(o, "name", ns->dev.bdev_name);
	add_ns_ids(o, ns);
	if (ns->dev.info.read_only)
		json_add_bool(o, "read_only", true);
	if (atomic_load(&ns->protected))
		json_add_bool(o, "write_protected", true);
	if (s->ana_reporting)
		json_add_u64(o, "anagrpid", s->ns_group[ns->nsid - 1]);
	add_ns_hosts(o, s, ns->nsid);
}

static void show_subsystem(struct json_object *array, const struct nvmf_subsystem *s)
{
	struct json_object *o = json_append_object(array), *list;

	json_add_text(o, "nqn", s->nqn);
	json_add_text(o, "subtype", s->discovery ? "Discovery" : "NVMe");
	list = json_add_array(o, "listen_addresses");
	for (uint32_t i = 0; i < s->listener_count; i++)
		add_address(json_append_object(list), s->listeners[i].transport, &s->listeners[i].addr);
	json_add_bool(o, "allow_any_host", s->allow_any_host);
	list = json_add_array(o, "hosts");
	for (uint32_t i = 0; i < s->host_count; i++)
		add_host(json_append_object(list), "nqn", &s->hosts[i]);
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
	add_address(json_add_object(o, "listen_address"), c->transport, &seat->local);
	add_address(json_add_object(o, "peer_address"), c->transport, &seat->peer);
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

static const char *ana_name(uint8_t state)
{
	return state == NVME_ANA_OPTIMIZED        ? "optimized"
	       : state == NVME_ANA_NONOPTIMIZED   ? "non_optimized"
	       : state == NVME_ANA_INACCESSIBLE   ? "inaccessible"
	       : state == NVME_ANA_PERSISTENT_LOSS ? "persistent_loss"
	                                           : "change";
}

static void show_ana_states(struct json_object *array, const struct nvmf_subsystem *s, const struct nvmf_listener *l)
{
	for (uint32_t g = 0; g < s->ns_max; g++) {
		struct json_object *o = json_append_object(array);

		json_add_u64(o, "ana_group", g + 1);
		json_add_text(o, "ana_state", ana_name(l->ana[g].state));
		if (l->ana[g].state != l->ana[g].to)
			json_add_text(o, "ana_state_to", ana_name(l->ana[g].to));
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

		add_address(json_add_object(o, "address"), s->listeners[i].transport, &s->listeners[i].addr);
		json_add_bool(o, "secure_channel", s->listeners[i].secure);
		if (s->listeners[i].concat)
			json_add_bool(o, "concatenation", true);
		if (s->ana_reporting)
			show_ana_states(json_add_array(o, "ana_states"), s, &s->listeners[i]);
	}
	rpc_reply(call, result);
}

/* --- nvmf_get_transports ------------------------------------------------------------------------- */

static void add_transport_opts(struct json_object *o, const struct nvmf_transport *tr)
{
	const struct nvmf_transport_opts *opts = &tr->opts;

	json_add_text(o, "trtype", tr->ops->name);
	json_add_u64(o, "max_queue_depth", opts->max_queue_depth);
	json_add_u64(o, "max_io_qpairs_per_ctrlr", opts->max_io_qpairs_per_ctrlr);
	json_add_u64(o, "in_capsule_data_size", opts->in_capsule_data_size);
	json_add_u64(o, "max_io_size", opts->max_io_size);
	json_add_u64(o, "io_unit_size", opts->io_unit_size);
	json_add_u64(o, "max_aq_depth", opts->max_aq_depth);
	json_add_bool(o, "dif_insert_or_strip", opts->dif_insert_or_strip);
	json_add_u64(o, "abort_timeout_sec", opts->abort_timeout_sec);
	json_add_u64(o, "ack_timeout", opts->ack_timeout_ms);
	json_add_u64(o, "data_timeout_ms", opts->data_timeout_ms);
	json_add_u64(o, "kas", nvmf_kas(opts));
	json_add_u64(o, "min_kato", max_u32(opts->min_kato_ms, nvmf_kas(opts) * 100u));
	nvmf_rpc_add_masks(o, opts);
	if (tr->ops->trtype != NVMF_TRTYPE_RDMA) {
		json_add_bool(o, "c2h_success", opts->c2h_success);
		json_add_u64(o, "sock_priority", opts->sock_priority);
		return;
	}
	json_add_u64(o, "max_srq_depth", opts->max_srq_depth);
	json_add_bool(o, "no_srq", opts->no_srq);
	json_add_u64(o, "num_cqe", opts->num_cqe);
	json_add_u64(o, "acceptor_backlog", opts->acceptor_backlog);
	json_add_bool(o, "no_wr_batching", opts->no_wr_batching);
	json_add_u64(o, "data_wr_pool_size", opts->data_wr_pool_size);
}

/* Beside what is saved, what SPDK's clients look for: as it is here, whatever was asked for. */
static void show_transport(struct json_object *o, const struct nvmf_transport *tr)
{
	add_transport_opts(o, tr);
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
	RPC_PARAM(struct get_transports, trtype, .doc = "Only this one."),
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

static void add_referral(struct json_object *o, const struct nvmf_referral *r)
{
	add_address_of(json_add_object(o, "address"), r->trtype == NVMF_TRTYPE_RDMA ? "RDMA" : "TCP", &r->addr);
	json_add_bool(o, "secure_channel", r->secure_channel);
	json_add_text(o, "subnqn", r->subnqn);
	if (r->hosts)
		json_add_bool(o, "allow_any_host", false);
	add_hosts(o, r->hosts);
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
		add_referral(json_append_object(result), &r->at[i]);
	rpc_reply(call, result);
}

/* --- saving: in an order in which it can be loaded ----------------------------------------------- */

struct json_object *nvmf_save_call(struct json_object *array, const char *method)
{
	struct json_object *o = json_append_object(array);

	json_add_text(o, "method", method);
	return json_add_object(o, "params");
}

void nvmf_save_ns(struct json_object *array, const struct nvmf_subsystem *s, const struct nvmf_ns *ns)
{
	struct json_object *p = nvmf_save_call(array, "nvmf_subsystem_add_ns"), *n;

	json_add_text(p, "nqn", s->nqn);
	n = json_add_object(p, "namespace");
	json_add_u64(n, "nsid", ns->nsid);
	json_add_text(n, "bdev_name", ns->dev.bdev_name);
	add_ns_ids(n, ns);
	if (ns->dev.made_read_only)
		json_add_bool(n, "read_only", true);
	if (atomic_load(&ns->protected))
		json_add_bool(n, "write_protected", true);
	if (s->ana_reporting)
		json_add_u64(n, "anagrpid", s->ns_group[ns->nsid - 1]);
	add_ns_hosts(n, s, ns->nsid);
}

static void save_ana(struct json_object *array, const struct nvmf_subsystem *s, const struct nvmf_listener *l)
{
	for (uint32_t g = 0; s->ana_reporting && g < s->ns_max; g++) {
		struct json_object *p;

		if (l->ana[g].to == NVME_ANA_OPTIMIZED)
			continue;
		p = nvmf_save_call(array, "nvmf_subsystem_listener_set_ana_state");
		json_add_text(p, "nqn", s->nqn);
		add_address(json_add_object(p, "listen_address"), l->transport, &l->addr);
		json_add_text(p, "ana_state", ana_name(l->ana[g].to));
		json_add_u64(p, "anagrpid", g + 1);
	}
}

static void save_subsystem(void *arg, struct json_object *array)
{
	const struct nvmf_subsystem *s = arg;
	struct json_object *p;

	if (s->id != NVMF_DISCOVERY_ID) {
		p = nvmf_save_call(array, "nvmf_create_subsystem");
		json_add_text(p, "nqn", s->nqn);
		if (s->discovery)
			json_add_text(p, "subtype", "Discovery");
		if (s->admin_label[0])
			json_add_text(p, "admin_label", s->admin_label);
		json_add_bool(p, "allow_any_host", s->allow_any_host);
		json_add_text(p, "serial_number", s->serial);
		json_add_text(p, "model_number", s->model);
		if (!s->discovery) {
			json_add_u64(p, "max_namespaces", s->ns_max);
			json_add_u64(p, "dmrsl", s->dmrsl);
			json_add_u64(p, "wzsl", s->wzsl);
		}
		json_add_u64(p, "min_cntlid", s->min_cntlid);
		json_add_u64(p, "max_cntlid", s->max_cntlid);
		if (s->is_static)
			json_add_text(p, "controller_model", "static");
		json_add_bool(p, "ana_reporting", s->ana_reporting);
		if (s->nssr)
			json_add_bool(p, "enable_nssr", true);
	} else if (!s->allow_any_host) {
		p = nvmf_save_call(array, "nvmf_subsystem_allow_any_host");
		json_add_text(p, "nqn", s->nqn);
		json_add_bool(p, "allow_any_host", false);
	}
	for (uint32_t i = 0; i < s->host_count; i++) {
		p = nvmf_save_call(array, "nvmf_subsystem_add_host");
		json_add_text(p, "nqn", s->nqn);
		add_host(p, "host", &s->hosts[i]);
	}
	nvmf_save_statics(array, s);
	for (uint32_t i = 0; i < s->ns_max; i++)
		if (s->ns[i])
			nvmf_save_ns(array, s, s->ns[i]);
	for (uint32_t i = 0; i < s->listener_count; i++) {
		p = nvmf_save_call(array, "nvmf_subsystem_add_listener");
		json_add_text(p, "nqn", s->nqn);
		add_address(json_add_object(p, "listen_address"), s->listeners[i].transport, &s->listeners[i].addr);
		json_add_bool(p, "secure_channel", s->listeners[i].secure);
		if (s->listeners[i].concat)
			json_add_bool(p, "concatenation", true);
		save_ana(array, s, &s->listeners[i]);
	}
}

static void add_set(struct json_object *o, const char *key, uint32_t set, const char *(*name)(uint8_t id))
{
	struct json_object *list = json_add_array(o, key);

	for (uint8_t id = 0; id < 32; id++)
		if (set & 1u << id)
			json_object_array_add(list, json_object_new_string(name(id)));
}

static void save_startup(struct nvmf_target *t, struct json_object *array)
{
	struct json_object *p;
	char *mask;

	if (t->config_set) {
		p = nvmf_save_call(array, "nvmf_set_config");
		mask = nvmf_rpc_poll_groups_mask(t);
		if (t->place_mask_set)
			json_add_text(p, "poll_groups_mask", mask);
		free(mask);
		nvmf_rpc_save_policies(t, p);
		if (t->auth_hashes_set)
			add_set(p, "dhchap_digests", t->auth_hashes, fabric_auth_hash_name);
		if (t->auth_groups_set)
			add_set(p, "dhchap_dhgroups", t->auth_groups, fabric_auth_group_name);
	}
	if (t->subsystems_max_set)
		json_add_u64(nvmf_save_call(array, "nvmf_set_max_subsystems"), "max_subsystems", t->subsystems_max);
	nvmf_failover_save(t, array);
	nvmf_limits_save(t, array);
	if (t->crdt[0] || t->crdt[1] || t->crdt[2]) {
		p = nvmf_save_call(array, "nvmf_set_crdt");
		json_add_u64(p, "crdt1", t->crdt[0]);
		json_add_u64(p, "crdt2", t->crdt[1]);
		json_add_u64(p, "crdt3", t->crdt[2]);
	}
}

void nvmf_save(void *ctx, struct rpc_save *save)
{
	struct json_object *array = rpc_save_array(save);
	struct nvmf_target *t = ctx;

	save_startup(t, array);
	list_each(l, &t->transports)
		add_transport_opts(nvmf_save_call(array, "nvmf_create_transport"), list_entry(l, struct nvmf_transport, link));
	for (uint32_t i = 0; i < NVMF_SUBSYSTEMS_MAX; i++)
		if (t->config->subs[i])
			rpc_save_object(save, t->config->subs[i]->stamp, save_subsystem, t->config->subs[i]);
	for (uint32_t i = 0; t->config->referrals && i < t->config->referrals->count; i++)
		add_referral(nvmf_save_call(array, "nvmf_discovery_add_referral"), &t->config->referrals->at[i]);
	nvmf_flight_save(t, array);
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
