/* SPDX-License-Identifier: BSD-3-Clause */
/* nvmf_rpc.c: methods that change the target. Names, parameters and results are SPDK's. */
#include "nvmf/nvmf_rpc.h"

#include <strings.h>

#include "fabric/auth.h"
#include "keyring/keyring.h"
#include "nvmf/nvmf_rpc_priv.h"
#include "rpc/state.h"

/* A change and the call that waits for it. */
struct change_call {
	struct nvmf_change change;
	struct rpc_call *call;
	bool returns_nsid;
	const char *nqn; /* of that namespace: the call's */
};

static void ns_replaced(struct rpc *rpc, const char *nqn, uint32_t nsid);

static void change_done(struct nvmf_change *c)
{
	struct change_call *cc = container_of(c, struct change_call, change);

	if (!c->err.code && cc->returns_nsid)
		ns_replaced(rpc_of(cc->call), cc->nqn, c->nsid);
	if (c->err.code)
		rpc_reply_err(cc->call, &c->err);
	else if (cc->returns_nsid)
		rpc_reply(cc->call, json_object_new_uint64(c->nsid));
	else
		rpc_reply_true(cc->call);
	free(cc);
}

static struct change_call *change_make(struct rpc_call *call)
{
	struct change_call *cc = base_zalloc(sizeof(*cc));

	cc->call = call;
	cc->change.target = rpc_ctx(call);
	cc->change.done = change_done;
	return cc;
}

bool nvmf_rpc_target_ok(struct rpc_call *call, const char *tgt_name)
{
	if (!tgt_name || !strcmp(tgt_name, TGT_NAME))
		return true;
	rpc_reply_error(call, ERR_BAD_PARAM, "tgt_name: there is one target, '" TGT_NAME "', and no '%s'; leave it out",
	                tgt_name);
	return false;
}

#define TGT(S) RPC_PARAM(S, tgt_name, .doc = "Name of the target: nvmf_tgt.")
#define NQN(S) RPC_PARAM(S, nqn, .required = true, .doc = "NQN of the subsystem.")

/* --- nvmf_create_transport -------------------------------------------------------------------------------- */

struct create_transport {
	char *trtype, *tgt_name;
	uint16_t max_queue_depth, max_io_qpairs_per_ctrlr;
	uint32_t in_capsule_data_size, max_io_size, io_unit_size, max_aq_depth, abort_timeout_sec, ack_timeout;
	uint32_t sock_priority, data_timeout_ms;
	uint32_t max_srq_depth, num_cqe, acceptor_backlog, data_wr_pool_size;
	bool c2h_success, dif_insert_or_strip, no_srq, no_wr_batching;
};

static const struct rpc_param create_transport_params[] = {
#define P(field, ...) RPC_PARAM(struct create_transport, field, __VA_ARGS__)
	P(trtype, .required = true, .doc = "Kind of the transport: TCP or RDMA."),
	TGT(struct create_transport),
	P(max_queue_depth, .min = 2, .max = 65535, .fallback = "128", .unit = "entries", .doc = "Of an I/O queue."),
	P(max_io_qpairs_per_ctrlr, .min = 1, .max = 65534, .fallback = "127",
	  .doc = "I/O queues a host may have per controller."),
	P(in_capsule_data_size, .fallback = "4096", .unit = "bytes",
	  .doc = "Data that a write may bring along with its command."),
	P(max_io_size, .min = 4096, .fallback = "131072", .unit = "bytes", .doc = "Largest read or write (MDTS)."),
	P(io_unit_size, .fallback = "131072", .unit = "bytes", .doc = "Accepted; buffers are managed differently here."),
	P(max_aq_depth, .min = 2, .max = 4096, .fallback = "128", .unit = "entries", .doc = "Of an admin queue."),
	P(c2h_success, .fallback = "true", .doc = "TCP: end a read with its data instead of a response of its own."),
	P(dif_insert_or_strip, .doc = "Not supported; must be false."),
	P(sock_priority, .max = 255, .doc = "TCP: SO_PRIORITY of connections."),
	P(abort_timeout_sec, .fallback = "1", .unit = "s", .doc = "Accepted; an Abort is answered at once here."),
	P(ack_timeout, .unit = "ms", .doc = "How long sent data may stay unacknowledged; 0: the system's."),
	P(data_timeout_ms, .fallback = "30000", .unit = "ms",
	  .doc = "A host that for this long sends none of the data it was asked for, or reads none of its answers, "
	         "is disconnected."),
	P(max_srq_depth, .min = 16, .max = 65535, .fallback = "4096", .unit = "entries",
	  .doc = "RDMA: of the receive queue that all connections of a core and an adapter share; fewer if the memory "
	         "budget has no room for them."),
	P(no_srq, .doc = "RDMA: give each connection receives of its own, even where adapters could share them."),
	P(num_cqe, .min = 16, .fallback = "4096", .unit = "entries",
	  .doc = "RDMA: what a completion queue begins with when no_srq is true; it grows with its connections."),
	P(acceptor_backlog, .fallback = "100", .doc = "RDMA: connections that may wait to be let in; 0: 100."),
	P(no_wr_batching, .doc = "RDMA: post each work request by itself."),
	P(data_wr_pool_size, .fallback = "4095",
	  .doc = "RDMA: accepted; work requests are a connection's own here, as many as its queue's depth can need."),
#undef P
	RPC_IGNORED("buf_cache_size"), RPC_IGNORED("iobuf_small_cache_size"),
	RPC_IGNORED("iobuf_large_cache_size"), RPC_IGNORED("zcopy"), RPC_IGNORED("num_shared_buffers"),
	RPC_IGNORED("control_msg_num"),
	RPC_IGNORED("disable_mappable_bar0"), RPC_IGNORED("disable_adaptive_irq"), RPC_IGNORED("disable_shadow_doorbells"),
	RPC_IGNORED("acceptor_poll_rate"), RPC_IGNORED("disable_command_passthru"),
	RPC_IGNORED("kas"), RPC_IGNORED("min_kato"), RPC_IGNORED("masked_oncs"), RPC_IGNORED("masked_fuses"),
};

static const struct nvmf_transport_ops *transport_named(const struct nvmf_target *t, const char *name)
{
	return strcasecmp(nvmf_tcp_ops.name, name) ? nvmf_offered_transport(t, name) : &nvmf_tcp_ops;
}

static void handle_create_transport(struct rpc_call *call, void *args)
{
	struct create_transport *a = args;
	const struct nvmf_transport_ops *ops = transport_named(rpc_ctx(call), a->trtype);
	const struct nvmf_transport_opts opts = {
		.max_queue_depth = a->max_queue_depth, .max_io_qpairs_per_ctrlr = a->max_io_qpairs_per_ctrlr,
		.in_capsule_data_size = a->in_capsule_data_size, .max_io_size = a->max_io_size,
		.io_unit_size = a->io_unit_size, .max_aq_depth = a->max_aq_depth, .abort_timeout_sec = a->abort_timeout_sec,
		.ack_timeout_ms = a->ack_timeout, .c2h_success = a->c2h_success, .data_timeout_ms = a->data_timeout_ms,
		.sock_priority = a->sock_priority, .max_srq_depth = a->max_srq_depth, .num_cqe = a->num_cqe,
		.acceptor_backlog = a->acceptor_backlog, .data_wr_pool_size = a->data_wr_pool_size, .no_srq = a->no_srq,
		.no_wr_batching = a->no_wr_batching,
	};

	if (!nvmf_rpc_target_ok(call, a->tgt_name))
		return;
	if (!ops)
		rpc_reply_error(call, ERR_BAD_PARAM, "trtype: there is no transport '%s' here; TCP and RDMA are two",
		                a->trtype);
	else if (a->dif_insert_or_strip)
		rpc_reply_error(call, ERR_BAD_PARAM, "dif_insert_or_strip: not supported; leave it out");
	else
		nvmf_add_transport(&change_make(call)->change, ops, &opts);
}

struct delete_transport {
	char *trtype, *tgt_name;
};

static const struct rpc_param delete_transport_params[] = {
	RPC_PARAM(struct delete_transport, trtype, .required = true, .doc = "Kind of the transport: TCP or RDMA."),
	TGT(struct delete_transport),
};

static void handle_delete_transport(struct rpc_call *call, void *args)
{
	const struct delete_transport *a = args;

	if (nvmf_rpc_target_ok(call, a->tgt_name))
		nvmf_remove_transport(&change_make(call)->change, a->trtype);
}

/* --- nvmf_create_subsystem, nvmf_delete_subsystem ------------------------------------------------------------ */

struct create_subsystem {
	char *nqn, *tgt_name, *serial_number, *model_number;
	uint32_t max_namespaces;
	uint16_t min_cntlid, max_cntlid;
	bool allow_any_host, ana_reporting, passthrough, enable_nssr;
};

static const struct rpc_param create_subsystem_params[] = {
#define P(field, ...) RPC_PARAM(struct create_subsystem, field, __VA_ARGS__)
	NQN(struct create_subsystem),
	TGT(struct create_subsystem),
	P(serial_number, .doc = "Up to 20 printable characters; zeroes when left out."),
	P(model_number, .doc = "Up to 40 printable characters; 'Gantry bdev Controller' when left out."),
	P(max_namespaces, .max = NVMF_NSID_LIMIT, .doc = "Namespaces it can have; 0: 32."),
	P(allow_any_host, .doc = "Let any host in; otherwise those of nvmf_subsystem_add_host."),
	P(ana_reporting, .doc = "Tell hosts how good each path is (ANA)."),
	P(min_cntlid, .min = 1, .max = NVME_CNTLID_MAX, .fallback = "1", .doc = "Smallest controller id."),
	P(max_cntlid, .min = 1, .max = NVME_CNTLID_MAX, .fallback = "65519", .doc = "Largest controller id."),
	P(passthrough, .doc = "Not supported; must be false."),
	P(enable_nssr, .doc = "Not supported; must be false."),
#undef P
	RPC_IGNORED("admin_label"), RPC_IGNORED("dmrsl"), RPC_IGNORED("wzsl"),
};

static void handle_create_subsystem(struct rpc_call *call, void *args)
{
	struct create_subsystem *a = args;
	const struct nvmf_subsystem_opts opts = {
		.nqn = a->nqn, .serial_number = a->serial_number, .model_number = a->model_number,
		.allow_any_host = a->allow_any_host, .ana_reporting = a->ana_reporting, .max_namespaces = a->max_namespaces,
		.min_cntlid = a->min_cntlid, .max_cntlid = a->max_cntlid,
	};

	if (!nvmf_rpc_target_ok(call, a->tgt_name))
		return;
	if (a->passthrough || a->enable_nssr)
		rpc_reply_error(call, ERR_BAD_PARAM, "%s: not supported; leave it out or give false",
		                a->passthrough ? "passthrough" : "enable_nssr");
	else
		nvmf_add_subsystem(&change_make(call)->change, &opts);
}

struct subsystem_args {
	char *nqn, *tgt_name;
};

static const struct rpc_param subsystem_params[] = {
	NQN(struct subsystem_args),
	TGT(struct subsystem_args),
};

static void handle_delete_subsystem(struct rpc_call *call, void *args)
{
	struct subsystem_args *a = args;

	if (nvmf_rpc_target_ok(call, a->tgt_name))
		nvmf_remove_subsystem(&change_make(call)->change, a->nqn);
}

/* --- namespaces ------------------------------------------------------------------------------------------------ */

struct ns_args {
	char *bdev_name, *nguid, *eui64;
	uint32_t nsid, anagrpid;
	struct uuid uuid;
	bool no_auto_visible, read_only;
};

static const struct rpc_param ns_params[] = {
#define P(field, ...) RPC_PARAM(struct ns_args, field, __VA_ARGS__)
	P(bdev_name, .required = true, .doc = "Device behind the namespace."),
	P(nsid, .max = NVMF_NSID_LIMIT, .doc = "Its number; the first that is free when left out."),
	P(nguid, .doc = "16 bytes in hexadecimal."),
	P(eui64, .doc = "8 bytes in hexadecimal."),
	P(uuid, .doc = "The device's when left out."),
	P(anagrpid, .doc = "ANA group; the nsid when left out."),
	P(read_only, .doc = "Hosts may not write. The device stays open to others, which may write."),
	P(no_auto_visible, .doc = "Not supported; must be false."),
#undef P
	RPC_IGNORED("ptpl_file"), RPC_IGNORED("hide_metadata"),
};

struct add_ns {
	char *nqn, *tgt_name;
	struct ns_args namespace;
};

static const struct rpc_param add_ns_params[] = {
	NQN(struct add_ns),
	RPC_PARAM(struct add_ns, namespace, .required = true, .params = ns_params, .param_count = ARRAY_SIZE(ns_params),
	          .object_size = sizeof(struct ns_args), .doc = "What the namespace is."),
	TGT(struct add_ns),
};

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Exactly `size` bytes as hexadecimal digits. False: answered. */
static bool parse_hex(struct rpc_call *call, const char *field, const char *text, uint8_t *to, size_t size)
{
	size_t i = 0;

	for (; i < 2 * size && hex_digit(text[i]) >= 0; i++)
		to[i / 2] = (uint8_t)(i % 2 ? to[i / 2] | hex_digit(text[i]) : hex_digit(text[i]) << 4);
	if (i == 2 * size && !text[i])
		return true;
	rpc_reply_error(call, ERR_BAD_PARAM, "namespace.%s: '%s' is not %zu hexadecimal digits", field, text, 2 * size);
	return false;
}

static void handle_add_ns(struct rpc_call *call, void *args)
{
	struct add_ns *a = args;
	struct ns_args *n = &a->namespace;
	struct nvmf_ns_opts opts = { .bdev_name = n->bdev_name, .nsid = n->nsid, .uuid = n->uuid, .anagrpid = n->anagrpid,
	                             .no_auto_visible = n->no_auto_visible, .read_only = n->read_only,
	                             .has_nguid = n->nguid, .has_eui64 = n->eui64 };
	struct change_call *cc;

	if (!nvmf_rpc_target_ok(call, a->tgt_name))
		return;
	if (n->nguid && !parse_hex(call, "nguid", n->nguid, opts.nguid, sizeof(opts.nguid)))
		return;
	if (n->eui64 && !parse_hex(call, "eui64", n->eui64, opts.eui64, sizeof(opts.eui64)))
		return;
	cc = change_make(call);
	cc->returns_nsid = true;
	cc->nqn = a->nqn;
	nvmf_add_ns(&cc->change, a->nqn, &opts);
}

/* Its device will be back, and then it will be: with the same number and names. */
static void ns_gone(void *arg, const struct nvmf_subsystem *s, const struct nvmf_ns *ns)
{
	struct json_object *array = json_object_new_array();
	char uuid[UUID_TEXT_MAX];
	struct err why = { 0 };

	nvmf_save_ns(array, s, ns);
	err_set(&why, -ENODEV, "bdev_name: device '%s' has gone; the namespace returns with it", ns->dev.bdev_name);
	rpc_state_keep(arg, "nvmf", json_object_array_get_idx(array, 0), uuid_to_text(&ns->dev.info.uuid, uuid), &why);
	json_object_put(array);
}

/* One that has gone with its device has lost its number to another one. */
static void ns_replaced(struct rpc *rpc, const char *nqn, uint32_t nsid)
{
	struct json_object *entry = json_object_new_object(), *params = json_object_new_object();
	struct json_object *ns = json_object_new_object();

	json_object_object_add(entry, "method", json_object_new_string("nvmf_subsystem_add_ns"));
	json_object_object_add(entry, "params", params);
	json_object_object_add(params, "nqn", json_object_new_string(nqn));
	json_object_object_add(params, "namespace", ns);
	json_object_object_add(ns, "nsid", json_object_new_uint64(nsid));
	rpc_state_forget(rpc, entry);
	json_object_put(entry);
}

struct remove_ns {
	char *nqn, *tgt_name;
	uint32_t nsid;
};

static const struct rpc_param remove_ns_params[] = {
	NQN(struct remove_ns),
	RPC_PARAM(struct remove_ns, nsid, .required = true, .min = 1, .doc = "Number of the namespace."),
	TGT(struct remove_ns),
};

static void handle_remove_ns(struct rpc_call *call, void *args)
{
	struct remove_ns *a = args;

	if (nvmf_rpc_target_ok(call, a->tgt_name))
		nvmf_remove_ns(&change_make(call)->change, a->nqn, a->nsid);
}

/* --- hosts -------------------------------------------------------------------------------------------------------- */

struct host_args {
	char *nqn, *host, *tgt_name;
};

static const struct rpc_param host_params[] = {
	NQN(struct host_args),
	RPC_PARAM(struct host_args, host, .required = true, .doc = "NQN of the host."),
	TGT(struct host_args),
};

struct keyed_host_args {
	char *nqn, *host, *tgt_name, *dhchap_key, *dhchap_ctrlr_key;
};

static const struct rpc_param keyed_host_params[] = {
	NQN(struct keyed_host_args),
	RPC_PARAM(struct keyed_host_args, host, .required = true, .doc = "NQN of the host."),
	TGT(struct keyed_host_args),
	RPC_PARAM(struct keyed_host_args, dhchap_key,
	          .doc = "Name of the key (keyring_file_add_key) by which the host proves who it is: DH-HMAC-CHAP."),
	RPC_PARAM(struct keyed_host_args, dhchap_ctrlr_key,
	          .doc = "Name of the key by which its controllers prove who they are, when the host asks for that."),
};

/* Its keys are read once before the change, so that who gives a wrong one hears of it, and not the host. */
struct keyed_call {
	struct job job;
	struct rpc_call *call;
	const struct keyed_host_args *args;
	struct nvmf_host_keys keys;
	int rc;
	struct err err;
	void (*change)(struct nvmf_change *c, const char *nqn, const char *host, const struct nvmf_host_keys *keys);
};

static int try_key(const struct keyring_key *key, const char *param, struct err *ret)
{
	struct fabric_auth_key secret = { 0 };
	struct err e = { 0 };
	int rc = key ? nvmf_auth_key_read(key, &secret, &e) : 0;

	fabric_auth_key_wipe(&secret);
	return rc ? err_set(ret, rc, "%s: %s", param, e.text) : 0;
}

static void try_keys_in_job(struct job *j)
{
	struct keyed_call *k = container_of(j, struct keyed_call, job);

	k->rc = try_key(k->keys.key, "dhchap_key", &k->err);
	if (!k->rc)
		k->rc = try_key(k->keys.ctrlr_key, "dhchap_ctrlr_key", &k->err);
}

static void keyed_end(struct keyed_call *k)
{
	if (k->err.code)
		rpc_reply_err(k->call, &k->err);
	else
		k->change(&change_make(k->call)->change, k->args->nqn, k->args->host, &k->keys);
	keyring_key_unref(k->keys.key);
	keyring_key_unref(k->keys.ctrlr_key);
	free(k);
}

static void keys_tried(struct job *j)
{
	keyed_end(container_of(j, struct keyed_call, job));
}

static struct keyring_key *key_named(struct nvmf_target *t, const char *param, const char *name, struct err *e)
{
	if (!name || e->code)
		return NULL;
	if (t->keyring)
		return keyring_get(t->keyring, param, name, e);
	err_set(e, -ENOTSUP, "%s: there is no keyring here", param);
	return NULL;
}

static struct keyed_call *keyed_make(struct rpc_call *call, const struct keyed_host_args *a)
{
	struct nvmf_target *t = rpc_ctx(call);
	struct keyed_call *k = base_zalloc(sizeof(*k));

	k->call = call;
	k->args = a;
	k->keys.set_key = rpc_given(call, "dhchap_key");
	k->keys.set_ctrlr_key = rpc_given(call, "dhchap_ctrlr_key");
	k->keys.key = key_named(t, "dhchap_key", a->dhchap_key, &k->err);
	k->keys.ctrlr_key = key_named(t, "dhchap_ctrlr_key", a->dhchap_ctrlr_key, &k->err);
	return k;
}

static void keyed_start(struct keyed_call *k)
{
	if (k->err.code || (!k->keys.key && !k->keys.ctrlr_key))
		keyed_end(k);
	else
		job_start(&k->job, try_keys_in_job, keys_tried);
}

static void handle_add_host(struct rpc_call *call, void *args)
{
	struct keyed_host_args *a = args;
	struct keyed_call *k;

	if (!nvmf_rpc_target_ok(call, a->tgt_name))
		return;
	k = keyed_make(call, a);
	k->change = nvmf_add_host_keys;
	if (k->keys.ctrlr_key && !k->keys.key)
		err_set(&k->err, -EINVAL, "dhchap_ctrlr_key: is of no use without dhchap_key; give both");
	keyed_start(k);
}

static void handle_set_keys(struct rpc_call *call, void *args)
{
	struct keyed_host_args *a = args;
	struct keyed_call *k;

	if (!nvmf_rpc_target_ok(call, a->tgt_name))
		return;
	k = keyed_make(call, a);
	k->change = nvmf_set_host_keys;
	keyed_start(k);
}

static void handle_remove_host(struct rpc_call *call, void *args)
{
	struct host_args *a = args;

	if (nvmf_rpc_target_ok(call, a->tgt_name))
		nvmf_remove_host(&change_make(call)->change, a->nqn, a->host);
}

struct allow_any {
	char *nqn, *tgt_name;
	bool allow_any_host;
};

static const struct rpc_param allow_any_params[] = {
	NQN(struct allow_any),
	RPC_PARAM(struct allow_any, allow_any_host, .required = true, .doc = "Let any host in."),
	TGT(struct allow_any),
};

static void handle_allow_any(struct rpc_call *call, void *args)
{
	struct allow_any *a = args;

	if (nvmf_rpc_target_ok(call, a->tgt_name))
		nvmf_allow_any_host(&change_make(call)->change, a->nqn, a->allow_any_host);
}

/* --- listeners ----------------------------------------------------------------------------------- */

static const struct rpc_param address_params[] = {
#define P(field, ...) RPC_PARAM(struct listen_address_args, field, __VA_ARGS__)
	P(trtype, .required = true, .doc = "Transport: TCP or RDMA."),
	P(adrfam, .doc = "ipv4 or ipv6; ipv4 when left out."),
	P(traddr, .required = true, .doc = "Address, numeric; 0.0.0.0 or :: for all."),
	P(trsvcid, .doc = "Port; 4420 when left out."),
#undef P
};

static const char *const ana_names[] = { "optimized", "non_optimized", "inaccessible", NULL };

static uint8_t ana_state(const char *name)
{
	uint8_t i = 0;

	while (name && strcmp(ana_names[i], name)) /* it is one of the choices */
		i++;
	return (uint8_t)(NVME_ANA_OPTIMIZED + i);
}

struct listener_args {
	char *nqn, *tgt_name, *ana_state;
	struct listen_address_args listen_address;
	bool secure_channel;
};

static const struct rpc_param add_listener_params[] = {
	RPC_PARAM(struct listener_args, nqn, .required = true, .doc = "NQN of the subsystem, or 'discovery'."),
	RPC_PARAM(struct listener_args, listen_address, .required = true, .params = address_params,
	          .param_count = ARRAY_SIZE(address_params), .object_size = sizeof(struct listen_address_args),
	          .doc = "Where to listen."),
	TGT(struct listener_args),
	RPC_PARAM(struct listener_args, secure_channel, .doc = "TLS: not supported yet, must be false."),
	RPC_PARAM(struct listener_args, ana_state, .choices = ana_names,
	          .doc = "How good the way is for every ANA group at first; optimized when left out."),
	RPC_IGNORED("sock_impl"), RPC_IGNORED("numa_id"),
};
static const struct rpc_param remove_listener_params[] = {
	RPC_PARAM(struct listener_args, nqn, .required = true, .doc = "NQN of the subsystem, or 'discovery'."),
	RPC_PARAM(struct listener_args, listen_address, .required = true, .params = address_params,
	          .param_count = ARRAY_SIZE(address_params), .object_size = sizeof(struct listen_address_args),
	          .doc = "Where it listens."),
	TGT(struct listener_args),
};

/* False: answered. */
static bool parse_address(struct rpc_call *call, const struct listen_address_args *a, struct net_addr *ret)
{
	enum net_family family = NET_IPV4;
	struct err e = { 0 };

	if (a->adrfam && !strcasecmp(a->adrfam, "ipv6")) {
		family = NET_IPV6;
	} else if (a->adrfam && strcasecmp(a->adrfam, "ipv4")) {
		rpc_reply_error(call, ERR_BAD_PARAM, "listen_address.adrfam: '%s' is neither ipv4 nor ipv6", a->adrfam);
		return false;
	}
	if (net_addr_parse(family, a->traddr, a->trsvcid ? a->trsvcid : "4420", ret, &e) == 0)
		return true;
	rpc_reply_error(call, ERR_BAD_PARAM, "listen_address: %s", e.text);
	return false;
}

static const char *nqn_or_discovery(const char *nqn)
{
	return strcmp(nqn, "discovery") ? nqn : NVMF_DISCOVERY_NQN;
}

static void handle_add_listener(struct rpc_call *call, void *args)
{
	struct listener_args *a = args;
	struct net_addr addr;

	if (!nvmf_rpc_target_ok(call, a->tgt_name) || !parse_address(call, &a->listen_address, &addr))
		return;
	if (a->secure_channel)
		rpc_reply_error(call, ERR_BAD_PARAM, "secure_channel: TLS is not supported yet; leave it out");
	else
		nvmf_add_listener_ana(&change_make(call)->change, nqn_or_discovery(a->nqn), a->listen_address.trtype, &addr,
		                      ana_state(a->ana_state));
}

static void handle_remove_listener(struct rpc_call *call, void *args)
{
	struct listener_args *a = args;
	struct net_addr addr;

	if (nvmf_rpc_target_ok(call, a->tgt_name) && parse_address(call, &a->listen_address, &addr))
		nvmf_remove_listener(&change_make(call)->change, nqn_or_discovery(a->nqn), a->listen_address.trtype, &addr);
}

struct set_ana {
	char *nqn, *tgt_name, *ana_state;
	struct listen_address_args listen_address;
	uint32_t anagrpid;
};

static const struct rpc_param set_ana_params[] = {
	NQN(struct set_ana),
	RPC_PARAM(struct set_ana, listen_address, .required = true, .params = address_params,
	          .param_count = ARRAY_SIZE(address_params), .object_size = sizeof(struct listen_address_args),
	          .doc = "Which listener."),
	RPC_PARAM(struct set_ana, ana_state, .required = true, .choices = ana_names, .doc = "How good its way is now."),
	RPC_PARAM(struct set_ana, anagrpid, .max = NVMF_NSID_LIMIT, .doc = "To which ANA group; to all when left out."),
	TGT(struct set_ana),
};

static void handle_set_ana(struct rpc_call *call, void *args)
{
	struct set_ana *a = args;
	struct net_addr addr;

	if (nvmf_rpc_target_ok(call, a->tgt_name) && parse_address(call, &a->listen_address, &addr))
		nvmf_set_ana_state(&change_make(call)->change, a->nqn, a->listen_address.trtype, &addr, a->anagrpid,
		                   ana_state(a->ana_state));
}

/* --- before the target runs ---------------------------------------------------------------------- */

struct max_subsystems {
	uint32_t max_subsystems;
};

static const struct rpc_param max_subsystems_params[] = {
	RPC_PARAM(struct max_subsystems, max_subsystems, .required = true, .min = 1,
	          .doc = "Most subsystems there can be, the discovery subsystem included."),
};

static void handle_set_max_subsystems(struct rpc_call *call, void *args)
{
	struct nvmf_target *t = rpc_ctx(call);

	/* More than there is room for is as good as all of it: scripts give large figures here. */
	t->subsystems_max = min_u32(((struct max_subsystems *)args)->max_subsystems, NVMF_SUBSYSTEMS_MAX);
	t->subsystems_max_set = true;
	rpc_reply_true(call);
}

struct set_config {
	char *poll_groups_mask;
	struct rpc_texts dhchap_digests, dhchap_dhgroups;
};

static const struct rpc_param set_config_params[] = {
	RPC_PARAM(struct set_config, poll_groups_mask,
	          .doc = "CPUs on whose reactors connections may live: a mask or a list; all when left out."),
	RPC_IGNORED("admin_cmd_passthru"), RPC_IGNORED("discovery_filter"),
	RPC_IGNORED("discovery_filters"),
	RPC_PARAM(struct set_config, dhchap_digests,
	          .doc = "Hashes by which hosts may prove who they are: sha256, sha384, sha512; all when left out."),
	RPC_PARAM(struct set_config, dhchap_dhgroups,
	          .doc = "Diffie-Hellman groups that may be used for it: null, ffdhe2048, ffdhe3072, ffdhe4096, ffdhe6144, "
	                 "ffdhe8192; all when left out."),
	RPC_IGNORED("dup_host_policy"),
};

static bool parse_set(struct rpc_call *call, const char *param, const struct rpc_texts *names,
                      int (*named)(const char *), uint32_t *set)
{
	uint32_t parsed = 0;

	if (!rpc_given(call, param))
		return true;
	for (size_t i = 0; i < names->count; i++) {
		int id = named(names->at[i]);

		if (id < 0) {
			rpc_reply_error(call, ERR_BAD_PARAM, "%s: there is no '%s'; see the method's help for those that exist",
			                param, names->at[i]);
			return false;
		}
		parsed |= 1u << id;
	}
	if (!parsed) {
		rpc_reply_error(call, ERR_BAD_PARAM, "%s: an empty list would let no host in that has a key; leave it out "
		                "for all", param);
		return false;
	}
	*set = parsed;
	return true;
}

static void handle_set_config(struct rpc_call *call, void *args)
{
	struct nvmf_target *t = rpc_ctx(call);
	struct set_config *a = args;
	uint32_t hashes = t->auth_hashes, groups = t->auth_groups;

	if (!parse_set(call, "dhchap_digests", &a->dhchap_digests, fabric_auth_hash_named, &hashes) ||
	    !parse_set(call, "dhchap_dhgroups", &a->dhchap_dhgroups, fabric_auth_group_named, &groups))
		return;
	if (a->poll_groups_mask && !nvmf_rpc_set_poll_groups_mask(call, t, a->poll_groups_mask))
		return;
	t->place_mask_set |= a->poll_groups_mask != NULL;
	t->auth_hashes = hashes;
	t->auth_groups = groups;
	t->auth_hashes_set |= rpc_given(call, "dhchap_digests");
	t->auth_groups_set |= rpc_given(call, "dhchap_dhgroups");
	t->config_set = true;
	rpc_reply_true(call);
}

struct crdt_args {
	uint16_t crdt1, crdt2, crdt3;
};

static const struct rpc_param crdt_params[] = {
	RPC_PARAM(struct crdt_args, crdt1, .unit = "100 ms", .doc = "Command retry delay 1."),
	RPC_PARAM(struct crdt_args, crdt2, .unit = "100 ms", .doc = "Command retry delay 2."),
	RPC_PARAM(struct crdt_args, crdt3, .unit = "100 ms", .doc = "Command retry delay 3."),
};

static void handle_set_crdt(struct rpc_call *call, void *args)
{
	const struct crdt_args *a = args;
	struct nvmf_target *t = rpc_ctx(call);

	t->crdt[0] = a->crdt1;
	t->crdt[1] = a->crdt2;
	t->crdt[2] = a->crdt3;
	rpc_reply_true(call);
}

/* --- the table ----------------------------------------------------------------------------------- */

#define CHANGES .flags = RPC_RUNTIME, .returns = "true"
static const struct rpc_method methods[] = {
	RPC_METHOD("nvmf_create_transport", struct create_transport, create_transport_params, handle_create_transport,
	           CHANGES, .doc = "Make a transport with the given options."),
	RPC_METHOD("nvmf_delete_transport", struct delete_transport, delete_transport_params, handle_delete_transport,
	           CHANGES, .doc = "Take a transport away on which no subsystem listens."),
	RPC_METHOD("nvmf_create_subsystem", struct create_subsystem, create_subsystem_params, handle_create_subsystem,
	           CHANGES, .doc = "Make a subsystem, which hosts see as one NVMe device."),
	RPC_METHOD("nvmf_delete_subsystem", struct subsystem_args, subsystem_params, handle_delete_subsystem,
	           CHANGES, .doc = "Disconnect a subsystem's hosts and delete it."),
	RPC_METHOD("nvmf_subsystem_add_ns", struct add_ns, add_ns_params, handle_add_ns,
	           .flags = RPC_RUNTIME, .returns = "the nsid", .doc = "Serve a device as a namespace of a subsystem."),
	RPC_METHOD("nvmf_subsystem_remove_ns", struct remove_ns, remove_ns_params, handle_remove_ns,
	           CHANGES, .doc = "Serve a namespace no more; its last commands are waited for."),
	RPC_METHOD("nvmf_subsystem_add_host", struct keyed_host_args, keyed_host_params, handle_add_host,
	           CHANGES, .doc = "Let a host use a subsystem; one with a key has to prove who it is."),
	RPC_METHOD("nvmf_subsystem_set_keys", struct keyed_host_args, keyed_host_params, handle_set_keys,
	           CHANGES, .doc = "Exchange keys of a host. What is connected stays; later proofs are by the new keys."),
	RPC_METHOD("nvmf_subsystem_remove_host", struct host_args, host_params, handle_remove_host,
	           CHANGES, .doc = "Let a host use a subsystem no more; its controllers are disconnected."),
	RPC_METHOD("nvmf_subsystem_allow_any_host", struct allow_any, allow_any_params, handle_allow_any,
	           CHANGES, .doc = "Let any host use a subsystem, or only those of its list."),
	RPC_METHOD("nvmf_subsystem_add_listener", struct listener_args, add_listener_params, handle_add_listener,
	           CHANGES, .doc = "Listen for hosts of a subsystem on an address; discovery is answered there too."),
	RPC_METHOD("nvmf_subsystem_remove_listener", struct listener_args, remove_listener_params, handle_remove_listener,
	           CHANGES, .doc = "Listen no more; hosts that came that way are disconnected."),
	RPC_METHOD("nvmf_subsystem_listener_set_ana_state", struct set_ana, set_ana_params, handle_set_ana,
	           CHANGES, .doc = "Say how good a listener's way to an ANA group is; hosts are told."),
	RPC_METHOD("nvmf_set_max_subsystems", struct max_subsystems, max_subsystems_params, handle_set_max_subsystems,
	           .flags = RPC_STARTUP, .returns = "true", .doc = "Bound the number of subsystems."),
	RPC_METHOD("nvmf_set_config", struct set_config, set_config_params, handle_set_config,
	           .flags = RPC_STARTUP, .returns = "true",
	           .doc = "Which cores serve hosts; how hosts may prove who they are."),
	RPC_METHOD("nvmf_set_crdt", struct crdt_args, crdt_params, handle_set_crdt,
	           .flags = RPC_STARTUP, .returns = "true", .doc = "Set the command retry delays that controllers tell."),
};

void nvmf_rpc_add(struct rpc *rpc, struct nvmf_target *t)
{
	rpc_add_methods(rpc, methods, ARRAY_SIZE(methods), t);
	nvmf_flight_rpc_add(rpc, t);
	nvmf_get_rpc_add(rpc, t);
	nvmf_place_rpc_add(rpc, t);
	rpc_add_object_saver(rpc, "nvmf", nvmf_save, t);
	nvmf_on_ns_gone(t, ns_gone, rpc);
}
