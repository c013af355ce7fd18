/* SPDX-License-Identifier: BSD-3-Clause */
/* nvmf_ns_rpc.c: methods that change the namespaces of subsystems. */
#include "nvmf/nvmf_rpc_priv.h"
#include "rpc/state.h"

struct ns_args {
	char *bdev_name, *nguid, *eui64;
	uint32_t nsid, anagrpid;
	struct uuid uuid;
	bool no_auto_visible, read_only, write_protected;
	struct rpc_texts hosts;
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
	P(write_protected, .doc = "Hosts may not write until one of them takes that back; as one of them asked for."),
	P(no_auto_visible, .doc = "Hide it from all hosts but those of nvmf_ns_add_host."),
	P(hosts, .doc = "With no_auto_visible: hosts that see it, as if by nvmf_ns_add_host."),
#undef P
	RPC_IGNORED("ptpl_file"), RPC_IGNORED("hide_metadata"),
};

struct add_ns {
	char *nqn, *tgt_name;
	struct ns_args namespace;
};

static const struct rpc_param add_ns_params[] = {
	NVMF_RPC_NQN(struct add_ns),
	RPC_PARAM(struct add_ns, namespace, .required = true, .params = ns_params, .param_count = ARRAY_SIZE(ns_params),
	          .object_size = sizeof(struct ns_args), .doc = "What the namespace is."),
	NVMF_RPC_TGT(struct add_ns),
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
	                             .write_protected = n->write_protected,
	                             .has_nguid = n->nguid, .has_eui64 = n->eui64,
	                             .hosts = (const char *const *)n->hosts.at, .host_count = (uint32_t)n->hosts.count };
	struct nvmf_rpc_change *cc;

	if (!nvmf_rpc_target_ok(call, a->tgt_name))
		return;
	if (n->nguid && !parse_hex(call, "nguid", n->nguid, opts.nguid, sizeof(opts.nguid)))
		return;
	if (n->eui64 && !parse_hex(call, "eui64", n->eui64, opts.eui64, sizeof(opts.eui64)))
		return;
	cc = nvmf_rpc_change_make(call);
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

/* It is saved with the namespace, or the subsystem. */
static void host_changed(void *arg)
{
	rpc_state_changed(arg);
}

/* One that has gone with its device has lost its number to another one. */
void nvmf_rpc_ns_replaced(struct rpc *rpc, const char *nqn, uint32_t nsid)
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
	NVMF_RPC_NQN(struct remove_ns),
	RPC_PARAM(struct remove_ns, nsid, .required = true, .min = 1, .doc = "Number of the namespace."),
	NVMF_RPC_TGT(struct remove_ns),
};

static void handle_remove_ns(struct rpc_call *call, void *args)
{
	struct remove_ns *a = args;

	if (nvmf_rpc_target_ok(call, a->tgt_name))
		nvmf_remove_ns(nvmf_rpc_change(call), a->nqn, a->nsid);
}

/* --- who sees one, and its ANA group ------------------------------------------------------------- */

struct ns_host {
	char *nqn, *host, *tgt_name;
	uint32_t nsid;
};

static const struct rpc_param ns_host_params[] = {
	NVMF_RPC_NQN(struct ns_host),
	RPC_PARAM(struct ns_host, nsid, .required = true, .min = 1, .doc = "Number of the namespace."),
	RPC_PARAM(struct ns_host, host, .required = true, .doc = "NQN of the host."),
	NVMF_RPC_TGT(struct ns_host),
};

static void handle_ns_add_host(struct rpc_call *call, void *args)
{
	const struct ns_host *a = args;

	if (nvmf_rpc_target_ok(call, a->tgt_name))
		nvmf_show_ns(nvmf_rpc_change(call), a->nqn, a->nsid, a->host, true);
}

static void handle_ns_remove_host(struct rpc_call *call, void *args)
{
	const struct ns_host *a = args;

	if (nvmf_rpc_target_ok(call, a->tgt_name))
		nvmf_show_ns(nvmf_rpc_change(call), a->nqn, a->nsid, a->host, false);
}

struct ns_group {
	char *nqn, *tgt_name;
	uint32_t nsid, anagrpid;
};

static const struct rpc_param ns_group_params[] = {
	NVMF_RPC_NQN(struct ns_group),
	RPC_PARAM(struct ns_group, nsid, .required = true, .min = 1, .doc = "Number of the namespace."),
	RPC_PARAM(struct ns_group, anagrpid, .required = true, .min = 1, .doc = "Its ANA group from now on."),
	NVMF_RPC_TGT(struct ns_group),
};

static void handle_set_ns_group(struct rpc_call *call, void *args)
{
	const struct ns_group *a = args;

	if (nvmf_rpc_target_ok(call, a->tgt_name))
		nvmf_set_ns_group(nvmf_rpc_change(call), a->nqn, a->nsid, a->anagrpid);
}

/* --- the table ----------------------------------------------------------------------------------- */

#define CHANGES .flags = RPC_RUNTIME, .returns = "true"
static const struct rpc_method methods[] = {
	RPC_METHOD("nvmf_subsystem_add_ns", struct add_ns, add_ns_params, handle_add_ns,
	           .flags = RPC_RUNTIME, .returns = "the nsid", .doc = "Serve a device as a namespace of a subsystem."),
	RPC_METHOD("nvmf_subsystem_remove_ns", struct remove_ns, remove_ns_params, handle_remove_ns,
	           CHANGES, .doc = "Serve a namespace no more; its last commands are waited for."),
	RPC_METHOD("nvmf_ns_add_host", struct ns_host, ns_host_params, handle_ns_add_host,
	           CHANGES, .doc = "Let a host see a namespace that was added with no_auto_visible; it is told."),
	RPC_METHOD("nvmf_ns_remove_host", struct ns_host, ns_host_params, handle_ns_remove_host,
	           CHANGES, .doc = "Hide a namespace from a host again; it is told, and its last commands are waited for."),
	RPC_METHOD("nvmf_subsystem_set_ns_ana_group", struct ns_group, ns_group_params, handle_set_ns_group,
	           CHANGES, .doc = "Put a namespace into another ANA group; hosts are told."),
};

void nvmf_ns_rpc_add(struct rpc *rpc, struct nvmf_target *t)
{
	rpc_add_methods(rpc, methods, ARRAY_SIZE(methods), t);
	nvmf_on_ns_gone(t, ns_gone, rpc);
	nvmf_on_host_change(t, host_changed, rpc);
}
