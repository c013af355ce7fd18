/* SPDX-License-Identifier: BSD-3-Clause */
/* nvmf_rpc.c: what methods that change the target have in common, and those that set it up before it runs. Names,
 * parameters and results are SPDK's. */
#include "nvmf/nvmf_rpc.h"

#include "fabric/auth.h"
#include "nvmf/nvmf_rpc_priv.h"

static void change_done(struct nvmf_change *c)
{
	struct nvmf_rpc_change *cc = container_of(c, struct nvmf_rpc_change, change);

	if (!c->err.code && cc->returns_nsid)
		nvmf_rpc_ns_replaced(rpc_of(cc->call), cc->nqn, c->nsid);
	if (c->err.code)
		rpc_reply_err(cc->call, &c->err);
	else if (cc->returns_nsid)
		rpc_reply(cc->call, json_object_new_uint64(c->nsid));
	else
		rpc_reply_true(cc->call);
	free(cc);
}

struct nvmf_rpc_change *nvmf_rpc_change_make(struct rpc_call *call)
{
	struct nvmf_rpc_change *cc = base_zalloc(sizeof(*cc));

	cc->call = call;
	cc->change.target = rpc_ctx(call);
	cc->change.done = change_done;
	return cc;
}

struct nvmf_change *nvmf_rpc_change(struct rpc_call *call)
{
	return &nvmf_rpc_change_make(call)->change;
}

bool nvmf_rpc_target_ok(struct rpc_call *call, const char *tgt_name)
{
	if (!tgt_name || !strcmp(tgt_name, TGT_NAME))
		return true;
	rpc_reply_error(call, ERR_BAD_PARAM, "tgt_name: there is one target, '" TGT_NAME "', and no '%s'; leave it out",
	                tgt_name);
	return false;
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
	char *discovery_filter, *dup_host_policy;
	struct rpc_texts dhchap_digests, dhchap_dhgroups, discovery_filters;
};

static const struct rpc_param set_config_params[] = {
	RPC_PARAM(struct set_config, poll_groups_mask,
	          .doc = "CPUs on whose reactors connections may live: a mask or a list; all when left out."),
	RPC_IGNORED("admin_cmd_passthru"),
	RPC_PARAM(struct set_config, discovery_filters,
	          .doc = "In what listeners have to be like the one by which a host asks, to be in its discovery log: "
	                 "transport, address, svcid; in nothing when left out."),
	RPC_PARAM(struct set_config, discovery_filter, .doc = "The same, separated by commas, or match_any."),
	RPC_PARAM(struct set_config, dhchap_digests,
	          .doc = "Hashes by which hosts may prove who they are: sha256, sha384, sha512; all when left out."),
	RPC_PARAM(struct set_config, dhchap_dhgroups,
	          .doc = "Diffie-Hellman groups that may be used for it: null, ffdhe2048, ffdhe3072, ffdhe4096, ffdhe6144, "
	                 "ffdhe8192; all when left out."),
	RPC_PARAM(struct set_config, dup_host_policy, .choices = nvmf_dup_host_names,
	          .doc = "When a host (its NQN and id) that has a controller in a subsystem asks for another one: allow; "
	                 "restrict_per_listener: refuse if it came by the same listener; refuse; replace: the older ones "
	                 "go. allow when left out."),
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
	uint8_t filters = t->discovery_filters, dup = NVMF_DUP_ALLOW;

	if (!parse_set(call, "dhchap_digests", &a->dhchap_digests, fabric_auth_hash_named, &hashes) ||
	    !parse_set(call, "dhchap_dhgroups", &a->dhchap_dhgroups, fabric_auth_group_named, &groups))
		return;
	if (!nvmf_rpc_parse_filters(call, a->discovery_filter, &a->discovery_filters, &filters))
		return;
	if (a->poll_groups_mask && !nvmf_rpc_set_poll_groups_mask(call, t, a->poll_groups_mask))
		return;
	t->place_mask_set |= a->poll_groups_mask != NULL;
	while (a->dup_host_policy && strcmp(a->dup_host_policy, nvmf_dup_host_names[dup])) /* it is one of the choices */
		dup++;
	t->dup_hosts = a->dup_host_policy ? dup : t->dup_hosts;
	t->discovery_filters = filters;
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

/* --- targets: there is one ------------------------------------------------------------------------ */

struct target_args {
	char *name, *discovery_filter, *dup_host_policy;
	uint32_t max_subsystems;
};

static const struct rpc_param create_target_params[] = {
	RPC_PARAM(struct target_args, name, .required = true, .doc = "Name of the target."),
	RPC_PARAM(struct target_args, max_subsystems, .doc = "See nvmf_set_max_subsystems."),
	RPC_PARAM(struct target_args, discovery_filter, .doc = "See nvmf_set_config."),
	RPC_PARAM(struct target_args, dup_host_policy, .doc = "See nvmf_set_config."),
};
static const struct rpc_param delete_target_params[] = {
	RPC_PARAM(struct target_args, name, .required = true, .doc = "Name of the target."),
};

static void handle_create_target(struct rpc_call *call, void *args)
{
	const struct target_args *a = args;

	if (!strcmp(a->name, TGT_NAME))
		rpc_reply_error(call, -EEXIST, "name: target '" TGT_NAME "' exists already, as long as the daemon runs");
	else
		rpc_reply_error(call, -ENOTSUP, "name: there is one target, '" TGT_NAME "', in a daemon; start another daemon "
		                "for '%.64s'", a->name);
}

static void handle_delete_target(struct rpc_call *call, void *args)
{
	const struct target_args *a = args;

	if (!strcmp(a->name, TGT_NAME))
		rpc_reply_error(call, -EBUSY, "name: target '" TGT_NAME "' is there as long as the daemon runs; "
		                "nvmf_delete_subsystem and nvmf_delete_transport empty it");
	else
		rpc_reply_error(call, -ENOENT, "name: there is no target '%.64s'; there is '" TGT_NAME "'", a->name);
}

/* --- the table ----------------------------------------------------------------------------------- */

static const struct rpc_method methods[] = {
	RPC_METHOD("nvmf_create_target", struct target_args, create_target_params, handle_create_target,
	           .flags = RPC_RUNTIME, .returns = "an error", .doc = "Refused: there is one target."),
	RPC_METHOD("nvmf_delete_target", struct target_args, delete_target_params, handle_delete_target,
	           .flags = RPC_RUNTIME, .returns = "an error", .doc = "Refused: there is one target."),
	RPC_METHOD("nvmf_set_max_subsystems", struct max_subsystems, max_subsystems_params, handle_set_max_subsystems,
	           .flags = RPC_STARTUP, .returns = "true", .doc = "Bound the number of subsystems."),
	RPC_METHOD("nvmf_set_config", struct set_config, set_config_params, handle_set_config,
	           .flags = RPC_STARTUP, .returns = "true",
	           .doc = "Which cores serve hosts; how hosts may prove who they are; what they discover."),
	RPC_METHOD("nvmf_set_crdt", struct crdt_args, crdt_params, handle_set_crdt,
	           .flags = RPC_STARTUP, .returns = "true", .doc = "Set the command retry delays that controllers tell."),
};

void nvmf_rpc_add(struct rpc *rpc, struct nvmf_target *t)
{
	rpc_add_methods(rpc, methods, ARRAY_SIZE(methods), t);
	nvmf_transport_rpc_add(rpc, t);
	nvmf_subsystem_rpc_add(rpc, t);
	nvmf_ns_rpc_add(rpc, t);
	nvmf_host_rpc_add(rpc, t);
	nvmf_listener_rpc_add(rpc, t);
	nvmf_discovery_rpc_add(rpc, t);
	nvmf_flight_rpc_add(rpc, t);
	nvmf_get_rpc_add(rpc, t);
	nvmf_place_rpc_add(rpc, t);
	nvmf_failover_rpc_add(rpc, t);
	nvmf_limits_rpc_add(rpc, t);
	rpc_add_object_saver(rpc, "nvmf", nvmf_save, t);
}
