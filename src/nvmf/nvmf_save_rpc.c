/* SPDX-License-Identifier: BSD-3-Clause */
/* nvmf_save_rpc.c: the target's part of the saved configuration; before it what it has in common with the methods that
 * show the same (nvmf_get_rpc.c).
 */
#include "fabric/auth.h"
#include "keyring/keyring.h"
#include "nvmf/nvmf_rpc_priv.h"

/* --- told and saved alike ---------------------------------------------------------------------------------- */

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

void nvmf_tell_address(struct json_object *o, const struct nvmf_transport *tr, const struct net_addr *a)
{
	add_address_of(o, tr->ops->name, a);
}

void nvmf_tell_host(struct json_object *o, const char *as, const struct nvmf_host *h)
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

void nvmf_tell_ns_ids(struct json_object *o, const struct nvmf_ns *ns)
{
	char uuid[UUID_TEXT_MAX];

	if (!all_zero(ns->nguid, sizeof(ns->nguid)))
		add_hex(o, "nguid", ns->nguid, sizeof(ns->nguid));
	if (!all_zero(ns->eui64, sizeof(ns->eui64)))
		add_hex(o, "eui64", ns->eui64, sizeof(ns->eui64));
	if (!uuid_is_null(&ns->uuid))
		json_add_text(o, "uuid", uuid_to_text(&ns->uuid, uuid));
}

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
void nvmf_tell_ns_hosts(struct json_object *o, const struct nvmf_subsystem *s, uint32_t nsid)
{
	const struct nvmf_ns_hosts *h = s->ns_hosts[nsid - 1];

	if (h)
		json_add_bool(o, "no_auto_visible", true);
	add_hosts(o, h);
}

const char *nvmf_rpc_ana_name(uint8_t state)
{
	return state == NVME_ANA_OPTIMIZED        ? "optimized"
	       : state == NVME_ANA_NONOPTIMIZED   ? "non_optimized"
	       : state == NVME_ANA_INACCESSIBLE   ? "inaccessible"
	       : state == NVME_ANA_PERSISTENT_LOSS ? "persistent_loss"
	                                           : "change";
}

void nvmf_tell_transport_opts(struct json_object *o, const struct nvmf_transport *tr)
{
	const struct nvmf_transport_opts *opts = &tr->opts;

	json_add_text(o, "trtype", tr->ops->name);
	json_add_u64(o, "max_queue_depth", opts->max_queue_depth);
	json_add_u64(o, "max_io_qpairs_per_ctrlr", opts->max_io_qpairs_per_ctrlr);
	json_add_u64(o, "in_capsule_data_size", opts->in_capsule_data_size);
	json_add_u64(o, "max_io_size", opts->max_io_size);
	json_add_u64(o, "io_unit_size", opts->io_unit_size);
	json_add_u64(o, "num_shared_buffers", opts->num_shared_buffers);
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

void nvmf_tell_referral(struct json_object *o, const struct nvmf_referral *r)
{
	add_address_of(json_add_object(o, "address"), r->trtype == NVMF_TRTYPE_RDMA ? "RDMA" : "TCP", &r->addr);
	json_add_bool(o, "secure_channel", r->secure_channel);
	json_add_text(o, "subnqn", r->subnqn);
	if (r->hosts)
		json_add_bool(o, "allow_any_host", false);
	add_hosts(o, r->hosts);
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
	nvmf_tell_ns_ids(n, ns);
	if (ns->dev.made_read_only)
		json_add_bool(n, "read_only", true);
	if (atomic_load(&ns->protected))
		json_add_bool(n, "write_protected", true);
	if (s->ana_reporting)
		json_add_u64(n, "anagrpid", s->ns_group[ns->nsid - 1]);
	nvmf_tell_ns_hosts(n, s, ns->nsid);
}

static void save_ana(struct json_object *array, const struct nvmf_subsystem *s, const struct nvmf_listener *l)
{
	for (uint32_t g = 0; s->ana_reporting && g < s->ns_max; g++) {
		struct json_object *p;

		if (l->ana[g].to == NVME_ANA_OPTIMIZED)
			continue;
		p = nvmf_save_call(array, "nvmf_subsystem_listener_set_ana_state");
		json_add_text(p, "nqn", s->nqn);
		nvmf_tell_address(json_add_object(p, "listen_address"), l->transport, &l->addr);
		json_add_text(p, "ana_state", nvmf_rpc_ana_name(l->ana[g].to));
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
		nvmf_tell_host(p, "host", &s->hosts[i]);
	}
	nvmf_save_statics(array, s);
	for (uint32_t i = 0; i < s->ns_max; i++)
		if (s->ns[i] && !bdev_served_lost(&s->ns[i]->dev))
			nvmf_save_ns(array, s, s->ns[i]);
	for (uint32_t i = 0; i < s->listener_count; i++) {
		p = nvmf_save_call(array, "nvmf_subsystem_add_listener");
		json_add_text(p, "nqn", s->nqn);
		nvmf_tell_address(json_add_object(p, "listen_address"), s->listeners[i].transport, &s->listeners[i].addr);
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

/* A version that will be followed by one without a namespace whose device was deleted: what was saved of it, with that
 * namespace, holds no more. A record of the state that had the namespace and not the device would give the name to
 * whatever disk has it next. */
static uint64_t saved_stamp(const struct nvmf_target *t, const struct nvmf_subsystem *s)
{
	for (uint32_t i = 0; t->ns_going && i < s->ns_max; i++)
		if (s->ns[i] && bdev_served_lost(&s->ns[i]->dev))
			return 0;
	return s->stamp;
}

void nvmf_save(void *ctx, struct rpc_save *save)
{
	struct json_object *array = rpc_save_array(save);
	struct nvmf_target *t = ctx;

	save_startup(t, array);
	list_each(l, &t->transports)
		nvmf_tell_transport_opts(nvmf_save_call(array, "nvmf_create_transport"),
		                         list_entry(l, struct nvmf_transport, link));
	for (uint32_t i = 0; i < NVMF_SUBSYSTEMS_MAX; i++)
		if (t->config->subs[i])
			rpc_save_object(save, saved_stamp(t, t->config->subs[i]), save_subsystem, t->config->subs[i]);
	for (uint32_t i = 0; t->config->referrals && i < t->config->referrals->count; i++)
		nvmf_tell_referral(nvmf_save_call(array, "nvmf_discovery_add_referral"), &t->config->referrals->at[i]);
	nvmf_flight_save(t, array);
}
