/* SPDX-License-Identifier: BSD-3-Clause */
/* nvmf_discovery_rpc.c: methods that say which other discovery services hosts are told of, and the parts of
 * nvmf_set_config that say what they are told, and how often they may come. */
#include <strings.h>

#include "nvmf/nvmf_rpc_priv.h"

/* --- nvmf_set_config ----------------------------------------------------------------------------- */

static const struct {
	const char *name;
	uint8_t bit;
} filter_names[] = {
	{ "transport", NVMF_FILTER_TRANSPORT }, { "address", NVMF_FILTER_ADDRESS }, { "svcid", NVMF_FILTER_SVCID },
};

static bool add_filter(struct rpc_call *call, const char *param, const char *name, size_t len, uint8_t *filters)
{
	for (size_t i = 0; i < ARRAY_SIZE(filter_names); i++) {
		if (strlen(filter_names[i].name) == len && !strncmp(filter_names[i].name, name, len)) {
			*filters |= filter_names[i].bit;
			return true;
		}
	}
	rpc_reply_error(call, ERR_BAD_PARAM, "%s: there is no '%.*s'; there are transport, address and svcid", param,
	                (int)min_u64(len, 64), name);
	return false;
}

bool nvmf_rpc_parse_filters(struct rpc_call *call, const char *one, const struct rpc_texts *several, uint8_t *filters)
{
	uint8_t parsed = 0;

	if (!one && !rpc_given(call, "discovery_filters"))
		return true;
	for (size_t len; one && strcmp(one, "match_any"); one += len + 1) {
		len = strcspn(one, ",");
		if (!add_filter(call, "discovery_filter", one, len, &parsed))
			return false;
		if (!one[len])
			break;
	}
	for (size_t i = 0; i < several->count; i++)
		if (!add_filter(call, "discovery_filters", several->at[i], strlen(several->at[i]), &parsed))
			return false;
	*filters = parsed;
	return true;
}

/* By enum nvmf_dup_hosts. */
const char *const nvmf_dup_host_names[] = { "allow", "restrict_per_listener", "refuse", "replace", NULL };

void nvmf_rpc_save_policies(const struct nvmf_target *t, struct json_object *params)
{
	struct json_object *list = t->discovery_filters ? json_add_array(params, "discovery_filters") : NULL;

	for (size_t i = 0; i < ARRAY_SIZE(filter_names); i++)
		if (t->discovery_filters & filter_names[i].bit)
			json_object_array_add(list, json_object_new_string(filter_names[i].name));
	if (t->dup_hosts)
		json_add_text(params, "dup_host_policy", nvmf_dup_host_names[t->dup_hosts]);
}

/* --- referrals ----------------------------------------------------------------------------------- */

struct referral_args {
	char *subnqn, *tgt_name;
	struct listen_address_args address;
	struct rpc_texts hosts;
	bool secure_channel, allow_any_host;
};

#define P(field, ...) RPC_PARAM(struct referral_args, field, __VA_ARGS__)
#define ADDRESS \
	P(address, .required = true, .params = nvmf_rpc_address_params, \
	  .param_count = ARRAY_SIZE(nvmf_rpc_address_params), .object_size = sizeof(struct listen_address_args), \
	  .doc = "Where that service listens.")
#define SUBNQN P(subnqn, .doc = "Its NQN; the well-known one of discovery when left out, or 'discovery'.")
static const struct rpc_param add_referral_params[] = {
	ADDRESS, SUBNQN,
	P(secure_channel, .doc = "It takes connections over TLS only."),
	P(allow_any_host, .fallback = "true", .doc = "Tell every host of it."),
	P(hosts, .doc = "With allow_any_host false: NQNs of the hosts that are told."),
	NVMF_RPC_TGT(struct referral_args),
};
static const struct rpc_param remove_referral_params[] = {
	ADDRESS, SUBNQN,
	NVMF_RPC_TGT(struct referral_args),
};
#undef SUBNQN
#undef ADDRESS
#undef P

/* False: answered. */
static bool parse_referral(struct rpc_call *call, struct referral_args *a, struct nvmf_referral_opts *ret)
{
	struct listen_address_args address = a->address;
	bool rdma = !strcasecmp(address.trtype, "RDMA");
	char port[] = "8009";

	*ret = (struct nvmf_referral_opts){ .secure_channel = a->secure_channel, .all_hosts = a->allow_any_host,
		.hosts = (const char *const *)a->hosts.at, .host_count = (uint32_t)a->hosts.count,
		.trtype = rdma ? NVMF_TRTYPE_RDMA : NVMF_TRTYPE_TCP };
	if (a->subnqn && strcmp(a->subnqn, "discovery"))
		ret->subnqn = a->subnqn;
	if (!nvmf_rpc_target_ok(call, a->tgt_name))
		return false;
	if (!rdma && strcasecmp(address.trtype, "TCP")) {
		rpc_reply_error(call, ERR_BAD_PARAM, "address.trtype: '%s' is neither TCP nor RDMA", address.trtype);
		return false;
	}
	address.trsvcid = address.trsvcid ? address.trsvcid : port;
	return nvmf_rpc_parse_address(call, "address", &address, &ret->addr);
}

static void handle_add_referral(struct rpc_call *call, void *args)
{
	struct nvmf_referral_opts opts;

	if (parse_referral(call, args, &opts))
		nvmf_add_referral(nvmf_rpc_change(call), &opts);
}

static void handle_remove_referral(struct rpc_call *call, void *args)
{
	struct nvmf_referral_opts opts;

	if (parse_referral(call, args, &opts))
		nvmf_remove_referral(nvmf_rpc_change(call), &opts);
}

/* --- the table ----------------------------------------------------------------------------------- */

#define CHANGES .flags = RPC_RUNTIME, .returns = "true"
static const struct rpc_method methods[] = {
	RPC_METHOD("nvmf_discovery_add_referral", struct referral_args, add_referral_params, handle_add_referral,
	           CHANGES, .doc = "Tell hosts that ask for subsystems of another discovery service, too."),
	RPC_METHOD("nvmf_discovery_remove_referral", struct referral_args, remove_referral_params, handle_remove_referral,
	           CHANGES, .doc = "Tell hosts of that discovery service no more."),
};

void nvmf_discovery_rpc_add(struct rpc *rpc, struct nvmf_target *t)
{
	rpc_add_methods(rpc, methods, ARRAY_SIZE(methods), t);
}
