/* SPDX-License-Identifier: BSD-3-Clause */
/* nvmf_listener_rpc.c: methods that say where a subsystem listens, and how good the way is (ANA). */
#include <strings.h>

#include "nvmf/nvmf_rpc_priv.h"

const struct rpc_param nvmf_rpc_address_params[4] = {
#define P(field, ...) RPC_PARAM(struct listen_address_args, field, __VA_ARGS__)
	P(trtype, .required = true, .doc = "Transport: TCP or RDMA."),
	P(adrfam, .doc = "ipv4 or ipv6; ipv4 when left out."),
	P(traddr, .required = true, .doc = "Address, numeric; 0.0.0.0 or :: for all."),
	P(trsvcid, .doc = "Port; 4420 when left out, of a referral 8009."),
#undef P
};

static const char *const ana_names[] = { "optimized", "non_optimized", "inaccessible", "persistent_loss", NULL };

static uint8_t ana_state(const char *name)
{
	uint8_t i = 0;

	while (name && strcmp(ana_names[i], name)) /* it is one of the choices */
		i++;
	return (uint8_t)(NVME_ANA_OPTIMIZED + i);
}

struct listener_args {
	char *nqn, *tgt_name, *ana_state, *sock_impl;
	struct listen_address_args listen_address;
	bool secure_channel, concatenation;
};

static const struct rpc_param add_listener_params[] = {
	RPC_PARAM(struct listener_args, nqn, .required = true, .doc = "NQN of the subsystem, or 'discovery'."),
	RPC_PARAM(struct listener_args, listen_address, .required = true, .params = nvmf_rpc_address_params,
	          .param_count = ARRAY_SIZE(nvmf_rpc_address_params), .object_size = sizeof(struct listen_address_args),
	          .doc = "Where to listen."),
	NVMF_RPC_TGT(struct listener_args),
	RPC_PARAM(struct listener_args, secure_channel,
	          .doc = "Hosts begin with TLS 1.3, by the key that nvmf_subsystem_add_host names as psk. TCP only."),
	RPC_PARAM(struct listener_args, concatenation,
	          .doc = "With secure_channel: hosts without a key of TLS may prove who they are first (dhchap_key), which "
	                 "makes one, and come back with it."),
	RPC_PARAM(struct listener_args, sock_impl,
	          .doc = "As SPDK has it: ssl is another way to say secure_channel; other names mean nothing here."),
	RPC_PARAM(struct listener_args, ana_state, .choices = ana_names,
	          .doc = "How good the way is for every ANA group at first; optimized when left out."),
	RPC_IGNORED("numa_id"),
};
static const struct rpc_param remove_listener_params[] = {
	RPC_PARAM(struct listener_args, nqn, .required = true, .doc = "NQN of the subsystem, or 'discovery'."),
	RPC_PARAM(struct listener_args, listen_address, .required = true, .params = nvmf_rpc_address_params,
	          .param_count = ARRAY_SIZE(nvmf_rpc_address_params), .object_size = sizeof(struct listen_address_args),
	          .doc = "Where it listens."),
	NVMF_RPC_TGT(struct listener_args),
};

/* False: answered. */
bool nvmf_rpc_parse_address(struct rpc_call *call, const char *field, const struct listen_address_args *a,
                            struct net_addr *ret)
{
	enum net_family family = NET_IPV4;
	struct err e = { 0 };

	if (a->adrfam && !strcasecmp(a->adrfam, "ipv6")) {
		family = NET_IPV6;
	} else if (a->adrfam && strcasecmp(a->adrfam, "ipv4")) {
		rpc_reply_error(call, ERR_BAD_PARAM, "%s.adrfam: '%s' is neither ipv4 nor ipv6", field,
		                a->adrfam);
		return false;
	}
	if (net_addr_parse(family, a->traddr, a->trsvcid ? a->trsvcid : "4420", ret, &e) == 0)
		return true;
	rpc_reply_error(call, ERR_BAD_PARAM, "%s: %s", field, e.text);
	return false;
}

static bool listener_address(struct rpc_call *call, const struct listen_address_args *a, struct net_addr *ret)
{
	return nvmf_rpc_parse_address(call, "listen_address", a, ret);
}

static const char *nqn_or_discovery(const char *nqn)
{
	return strcmp(nqn, "discovery") ? nqn : NVMF_DISCOVERY_NQN;
}

static void handle_add_listener(struct rpc_call *call, void *args)
{
	struct listener_args *a = args;
	bool ssl = a->sock_impl && !strcmp(a->sock_impl, "ssl");
	struct nvmf_listener_opts opts = { .ana = ana_state(a->ana_state), .secure = a->secure_channel || ssl,
		.concat = a->concatenation };
	struct net_addr addr;

	if (!nvmf_rpc_target_ok(call, a->tgt_name) || !listener_address(call, &a->listen_address, &addr))
		return;
	if (opts.concat && !opts.secure)
		rpc_reply_error(call, ERR_BAD_PARAM, "concatenation: is of no use without secure_channel; give both");
	else if (a->secure_channel && a->sock_impl && !ssl)
		rpc_reply_error(call, ERR_BAD_PARAM, "sock_impl: '%s' does not go with secure_channel; leave it out, or say "
		                "ssl", a->sock_impl);
	else
		nvmf_add_listener_opts(nvmf_rpc_change(call), nqn_or_discovery(a->nqn), a->listen_address.trtype, &addr,
		                       &opts);
}

static void handle_remove_listener(struct rpc_call *call, void *args)
{
	struct listener_args *a = args;
	struct net_addr addr;

	if (nvmf_rpc_target_ok(call, a->tgt_name) && listener_address(call, &a->listen_address, &addr))
		nvmf_remove_listener(nvmf_rpc_change(call), nqn_or_discovery(a->nqn), a->listen_address.trtype, &addr);
}

struct set_ana {
	char *nqn, *tgt_name, *ana_state;
	struct listen_address_args listen_address;
	uint32_t anagrpid, transition_sec;
};

static const struct rpc_param set_ana_params[] = {
	NVMF_RPC_NQN(struct set_ana),
	RPC_PARAM(struct set_ana, listen_address, .required = true, .params = nvmf_rpc_address_params,
	          .param_count = ARRAY_SIZE(nvmf_rpc_address_params), .object_size = sizeof(struct listen_address_args),
	          .doc = "Which listener."),
	RPC_PARAM(struct set_ana, ana_state, .required = true, .choices = ana_names, .doc = "How good its way is now."),
	RPC_PARAM(struct set_ana, anagrpid, .max = NVMF_NSID_LIMIT, .doc = "To which ANA group; to all when left out."),
	RPC_PARAM(struct set_ana, transition_sec, .max = NVMF_ANATT_S, .unit = "s",
	          .doc = "First let hosts wait for so long: the state is 'change', then the new one. 0: at once."),
	NVMF_RPC_TGT(struct set_ana),
};

static void handle_set_ana(struct rpc_call *call, void *args)
{
	struct set_ana *a = args;
	struct net_addr addr;

	if (nvmf_rpc_target_ok(call, a->tgt_name) && listener_address(call, &a->listen_address, &addr))
		nvmf_set_ana_state(nvmf_rpc_change(call), a->nqn, a->listen_address.trtype, &addr, a->anagrpid,
		                   ana_state(a->ana_state), a->transition_sec);
}

/* --- the table ----------------------------------------------------------------------------------- */

#define CHANGES .flags = RPC_RUNTIME, .returns = "true"
static const struct rpc_method methods[] = {
	RPC_METHOD("nvmf_subsystem_add_listener", struct listener_args, add_listener_params, handle_add_listener,
	           CHANGES, .doc = "Listen for hosts of a subsystem on an address; discovery is answered there too."),
	RPC_METHOD("nvmf_subsystem_remove_listener", struct listener_args, remove_listener_params, handle_remove_listener,
	           CHANGES, .doc = "Listen no more; hosts that came that way are disconnected."),
	RPC_METHOD("nvmf_subsystem_listener_set_ana_state", struct set_ana, set_ana_params, handle_set_ana,
	           CHANGES, .doc = "Say how good a listener's way to an ANA group is; hosts are told."),
};

void nvmf_listener_rpc_add(struct rpc *rpc, struct nvmf_target *t)
{
	rpc_add_methods(rpc, methods, ARRAY_SIZE(methods), t);
}
