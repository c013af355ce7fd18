/* SPDX-License-Identifier: BSD-3-Clause */
/* iscsi_rpc.c: methods for options, secrets, portal groups and initiator groups. Names and parameters are SPDK's. */
#include "iscsi/iscsi_rpc.h"

#include <errno.h>

#include "core/log.h"
#include "iscsi/iscsi_rpc_priv.h"

struct iscsi_change_call *iscsi_change_call(struct rpc_call *call)
{
	struct iscsi_change_call *cc = base_zalloc(sizeof(*cc));

	cc->call = call;
	cc->change.done = iscsi_change_reply;
	return cc;
}

void iscsi_change_reply(struct iscsi_change *c)
{
	struct iscsi_change_call *cc = container_of(c, struct iscsi_change_call, change);

	rpc_reply_rc(cc->call, c->err.code, &c->err);
	free(cc->own);
	free(cc);
}

bool iscsi_rpc_group_ok(struct rpc_call *call, uint32_t chap_group)
{
	if (!chap_group || rpc_is_loading(call) || iscsi_auth_group_find(rpc_ctx(call), chap_group))
		return true;
	rpc_reply_error(call, -ENOENT, "chap_group: there is no authentication group %u; make it with "
	                "iscsi_create_auth_group first", chap_group);
	return false;
}

void iscsi_rpc_group_later(struct rpc_call *call, uint32_t chap_group)
{
	if (chap_group && !rpc_is_loading(call) && !iscsi_auth_group_find(rpc_ctx(call), chap_group))
		log_warning("iscsi: %s: there is no authentication group %u yet: nobody can log in by CHAP before "
		            "iscsi_create_auth_group", rpc_method_of(call)->name, chap_group);
}

/* --- options ------------------------------------------------------------------------------------------------- */

struct set_options {
	char *node_base;
	uint32_t nop_timeout, nop_in_interval, max_sessions, max_queue_depth, max_connections_per_session;
	uint32_t default_time2wait, default_time2retain, first_burst_length, max_burst_length;
	uint32_t max_recv_data_segment_length, max_outstanding_r2t, error_recovery_level;
	uint32_t login_timeout_ms, data_timeout_ms;
	bool immediate_data, initial_r2t, allow_duplicated_isid;
	ISCSI_CHAP_FIELDS;
};

#define SEGMENT_MAX 16777215u

static const struct rpc_param set_options_params[] = {
#define P(field, ...) RPC_PARAM(struct set_options, field, __VA_ARGS__)
	P(node_base, .doc = "What target nodes are called that are given a name without 'iqn.', 'eui.' or 'naa.': "
	                    "node_base, a colon, the name. At first iqn.2016-06.io.spdk."),
	P(nop_timeout, .min = 1, .max = 3600, .unit = "s", .doc = "A host that does not answer a NOP-In for so long is "
	                                                           "disconnected. At first 60."),
	P(nop_in_interval, .max = 3600, .unit = "s", .doc = "A host from which nothing came for so long is asked by a "
	                                                    "NOP-In; 0: never. At first 30."),
	ISCSI_CHAP_ROWS(struct set_options, "Discovery sessions"),
	P(max_sessions, .min = 1, .max = 65535, .doc = "Sessions there can be. At first 1024."),
	P(max_queue_depth, .min = 1, .max = ISCSI_QUEUE_DEPTH_MAX,
	  .doc = "Commands that a session can have at a time. At first 128."),
	P(max_connections_per_session, .min = 1, .max = 65535, .doc = "Accepted; one is negotiated. At first 2."),
	P(default_time2wait, .max = 3600, .unit = "s", .doc = "At first 2."),
	P(default_time2retain, .max = 3600, .unit = "s", .doc = "At first 0: nothing is kept of a session that was lost."),
	P(first_burst_length, .min = 512, .max = SEGMENT_MAX, .unit = "bytes",
	  .doc = "Data of a write that may come unasked for; hosts are told 1 MiB at most. At first 262144."),
	P(max_burst_length, .min = 512, .max = SEGMENT_MAX, .unit = "bytes",
	  .doc = "Data of one sequence of PDUs. At first 16777215."),
	P(max_recv_data_segment_length, .min = 512, .max = SEGMENT_MAX, .unit = "bytes",
	  .doc = "Data of one PDU from the host. At first 262144."),
	P(max_outstanding_r2t, .min = 1, .max = 64, .doc = "Requests for data of one write that may be open. At first 64."),
	P(immediate_data, .doc = "Data may come with its command. At first true."),
	P(initial_r2t, .doc = "Data may come only when it was asked for. At first false."),
	P(error_recovery_level, .max = 2, .doc = "Accepted; 0 is negotiated."),
	P(allow_duplicated_isid, .alias = "allow_duplicate_isid",
	  .doc = "Accepted; a session of the same initiator port takes the older one's place, as RFC 7143 says."),
	P(login_timeout_ms, .min = 100, .max = 600000, .unit = "ms",
	  .doc = "A login that takes longer is ended. At first 15000."),
	P(data_timeout_ms, .min = 100, .max = 600000, .unit = "ms",
	  .doc = "A host that for this long sends none of the data it was asked for, reads none of its answers, or leaves "
	         "out a command's number before those that it sent, is disconnected. At first 30000."),
#undef P
	RPC_IGNORED("auth_file", .doc = "Not read; secrets are given with iscsi_create_auth_group."),
	RPC_IGNORED("max_large_datain_per_connection"), RPC_IGNORED("max_r2t_per_connection"),
	RPC_IGNORED("pdu_pool_size"), RPC_IGNORED("immediate_data_pool_size"), RPC_IGNORED("data_out_pool_size"),
};

/* What was given is set, the rest stays as it is. */
static const struct option_field {
	const char *name;
	size_t from, to, size;
} option_fields[] = {
#define F(arg, option) { #arg, offsetof(struct set_options, arg), offsetof(struct iscsi_options, option), \
	sizeof(((struct set_options *)0)->arg) }
	F(nop_timeout, nop_timeout_s), F(nop_in_interval, nop_in_interval_s), F(max_sessions, max_sessions),
	F(max_queue_depth, max_queue_depth), F(max_connections_per_session, max_connections_per_session),
	F(default_time2wait, default_time2wait), F(default_time2retain, default_time2retain),
	F(first_burst_length, first_burst_length), F(max_burst_length, max_burst_length),
	F(max_recv_data_segment_length, max_recv_data_segment_length), F(max_outstanding_r2t, max_outstanding_r2t),
	F(error_recovery_level, error_recovery_level), F(login_timeout_ms, login_timeout_ms),
	F(data_timeout_ms, data_timeout_ms), F(immediate_data, immediate_data), F(initial_r2t, initial_r2t),
	F(allow_duplicated_isid, allow_duplicate_isid),
	F(disable_chap, discovery.disable_chap), F(require_chap, discovery.require_chap),
	F(mutual_chap, discovery.mutual_chap), F(chap_group, discovery.chap_group),
#undef F
};

static void handle_set_options(struct rpc_call *call, void *args)
{
	struct iscsi_target *t = rpc_ctx(call);
	const struct set_options *a = args;
	struct iscsi_options o = t->options;
	struct err e = { 0 };

	for (size_t i = 0; i < ARRAY_SIZE(option_fields); i++)
		if (rpc_given(call, option_fields[i].name))
			memcpy((char *)&o + option_fields[i].to, (const char *)args + option_fields[i].from,
			       option_fields[i].size);
	if (a->node_base && strlen(a->node_base) > ISCSI_NAME_MAX)
		err_set(&e, ERR_BAD_PARAM, "node_base: an iSCSI name has at most %u bytes; shorten it", ISCSI_NAME_MAX);
	else if (a->node_base)
		text_pad(o.node_base, sizeof(o.node_base), a->node_base, 0);
	if (!e.code && !iscsi_options_check(&o, &e)) {
		t->options = o;
		t->options_set = true;
		iscsi_conns_set_options(t);
	}
	rpc_reply_rc(call, e.code, &e);
}

struct chap_args {
	ISCSI_CHAP_FIELDS;
};

static const struct rpc_param discovery_params[] = {
	ISCSI_CHAP_ROWS(struct chap_args, "Discovery sessions"),
};

static void handle_set_discovery_auth(struct rpc_call *call, void *args)
{
	struct iscsi_target *t = rpc_ctx(call);
	const struct chap_args *a = args;
	struct iscsi_chap_policy p = ISCSI_CHAP_POLICY(a);
	struct err e = { 0 };

	if (!iscsi_rpc_group_ok(call, a->chap_group))
		return;
	if (!iscsi_auth_check(&p, &e)) {
		t->options.discovery = p;
		t->options_set = true;
	}
	rpc_reply_rc(call, e.code, &e);
}

/* --- secrets ------------------------------------------------------------------------------------------------- */

struct secret_args {
	char *user, *secret, *muser, *msecret;
};

#define SECRET_ROWS(S) \
	RPC_PARAM(S, user, .required = true, .doc = "Name by which a host authenticates (CHAP)."), \
	RPC_PARAM(S, secret, .required = true, .secret = true, .doc = "The secret that it shows to know."), \
	RPC_PARAM(S, muser, .doc = "Name by which the target authenticates to it (mutual CHAP)."), \
	RPC_PARAM(S, msecret, .secret = true, .doc = "The secret that the target shows to know.")

static const struct rpc_param secret_params[] = { SECRET_ROWS(struct secret_args) };

#define TAG(S, what, ...) RPC_PARAM(S, tag, .required = true, .min = 1, .doc = what, __VA_ARGS__)
#define AUTH_TAG(S) TAG(S, "Number of the authentication group.", .max = ISCSI_GROUP_TAG_MAX)
#define PORTAL_TAG(S) TAG(S, "Number of the portal group.", .max = ISCSI_TAG_MAX)
#define INITIATOR_TAG(S) TAG(S, "Number of the initiator group.", .max = ISCSI_GROUP_TAG_MAX)

struct create_auth_group {
	uint32_t tag;
	struct rpc_objects secrets;
};

static const struct rpc_param create_auth_group_params[] = {
	AUTH_TAG(struct create_auth_group),
	RPC_PARAM(struct create_auth_group, secrets, .params = secret_params, .param_count = ARRAY_SIZE(secret_params),
	          .object_size = sizeof(struct secret_args), .doc = "Users and their secrets."),
};

static void handle_create_auth_group(struct rpc_call *call, void *args)
{
	struct iscsi_target *t = rpc_ctx(call);
	const struct create_auth_group *a = args;
	const struct secret_args *s = a->secrets.at;
	struct err e = { 0 }, ignored = { 0 };

	if (iscsi_auth_group_add(t, a->tag, &e)) {
		rpc_reply_err(call, &e);
		return;
	}
	for (size_t i = 0; i < a->secrets.count && !e.code; i++)
		if (iscsi_secret_add(t, a->tag, &(struct iscsi_chap_user){ .user = s[i].user, .secret = s[i].secret,
		                                                            .muser = s[i].muser, .msecret = s[i].msecret }, &e))
			break;
	if (e.code && iscsi_auth_group_remove(t, a->tag, &ignored))
		assert(!"it was made above");
	rpc_reply_rc(call, e.code, &e);
}

struct tag_args {
	uint32_t tag;
};

static const struct rpc_param auth_tag_params[] = { AUTH_TAG(struct tag_args) };

static void handle_delete_auth_group(struct rpc_call *call, void *args)
{
	const struct tag_args *a = args;
	struct err e = { 0 };

	rpc_reply_rc(call, iscsi_auth_group_remove(rpc_ctx(call), a->tag, &e), &e);
}

struct add_secret {
	uint32_t tag;
	char *user, *secret, *muser, *msecret;
};

static const struct rpc_param add_secret_params[] = {
	AUTH_TAG(struct add_secret),
	SECRET_ROWS(struct add_secret),
};

static void handle_add_secret(struct rpc_call *call, void *args)
{
	const struct add_secret *a = args;
	const struct iscsi_chap_user s = { .user = a->user, .secret = a->secret, .muser = a->muser,
	                                   .msecret = a->msecret };
	struct err e = { 0 };

	rpc_reply_rc(call, iscsi_secret_add(rpc_ctx(call), a->tag, &s, &e), &e);
}

struct remove_secret {
	uint32_t tag;
	char *user;
};

static const struct rpc_param remove_secret_params[] = {
	AUTH_TAG(struct remove_secret),
	RPC_PARAM(struct remove_secret, user, .required = true, .doc = "Name by which a host authenticates."),
};

static void handle_remove_secret(struct rpc_call *call, void *args)
{
	const struct remove_secret *a = args;
	struct err e = { 0 };

	rpc_reply_rc(call, iscsi_secret_remove(rpc_ctx(call), a->tag, a->user, &e), &e);
}

/* --- portal groups ------------------------------------------------------------------------------------------- */

struct portal_args {
	char *host, *port;
};

static const struct rpc_param portal_params[] = {
	RPC_PARAM(struct portal_args, host, .required = true,
	          .doc = "Address, numeric; IPv6 in brackets or without; 0.0.0.0 or [::] for all."),
	RPC_PARAM(struct portal_args, port, .fallback = "3260", .doc = "TCP port."),
};

struct create_portal_group {
	uint32_t tag;
	struct rpc_objects portals;
	bool private, wait;
};

static const struct rpc_param create_portal_group_params[] = {
	PORTAL_TAG(struct create_portal_group),
	RPC_PARAM(struct create_portal_group, portals, .required = true, .params = portal_params,
	          .param_count = ARRAY_SIZE(portal_params), .object_size = sizeof(struct portal_args),
	          .doc = "Where hosts can connect."),
	RPC_PARAM(struct create_portal_group, private, .doc = "Not told to discovery sessions: for hosts that are "
	                                                       "redirected to it (iscsi_target_node_set_redirect)."),
	RPC_PARAM(struct create_portal_group, wait, .doc = "Do not listen before iscsi_start_portal_group."),
};

static void handle_create_portal_group(struct rpc_call *call, void *args)
{
	const struct create_portal_group *a = args;
	const struct portal_args *p = a->portals.at;
	struct iscsi_portal_spec *specs = base_zalloc((a->portals.count + 1) * sizeof(*specs));
	struct err e = { 0 };
	int rc;

	for (size_t i = 0; i < a->portals.count; i++)
		specs[i] = (struct iscsi_portal_spec){ p[i].host, p[i].port };
	rc = iscsi_portal_group_add(rpc_ctx(call), a->tag, specs, (uint32_t)a->portals.count, a->private, a->wait, &e);
	rpc_reply_rc(call, rc, &e);
	free(specs);
}

static const struct rpc_param portal_tag_params[] = { PORTAL_TAG(struct tag_args) };

static void handle_start_portal_group(struct rpc_call *call, void *args)
{
	const struct tag_args *a = args;
	struct err e = { 0 };

	rpc_reply_rc(call, iscsi_portal_group_start(rpc_ctx(call), a->tag, &e), &e);
}

static void handle_delete_portal_group(struct rpc_call *call, void *args)
{
	const struct tag_args *a = args;

	iscsi_portal_group_remove(rpc_ctx(call), a->tag, &iscsi_change_call(call)->change);
}

struct portal_auth {
	uint32_t tag;
	ISCSI_CHAP_FIELDS;
};

static const struct rpc_param portal_auth_params[] = {
	PORTAL_TAG(struct portal_auth),
	ISCSI_CHAP_ROWS(struct portal_auth, "Discovery sessions that come in here"),
};

static void handle_portal_group_set_auth(struct rpc_call *call, void *args)
{
	const struct portal_auth *a = args;
	const struct iscsi_chap_policy p = ISCSI_CHAP_POLICY(a);
	struct err e = { 0 };

	iscsi_rpc_group_later(call, a->chap_group);
	rpc_reply_rc(call, iscsi_portal_group_set_auth(rpc_ctx(call), a->tag, &p, &e), &e);
}

/* --- initiator groups ---------------------------------------------------------------------------------------- */

struct initiator_args {
	uint32_t tag;
	struct rpc_texts initiators, netmasks;
};

#define INITIATOR_ROWS(S, needed) \
	RPC_PARAM(S, initiators, .required = needed, .doc = "Names of hosts; ANY for all; with ! in front those that may " \
	          "not. The first that fits decides."), \
	RPC_PARAM(S, netmasks, .required = needed, .doc = "Where they may come from: 192.0.2.0/24, [2001:db8::]/32, an " \
	          "address, or ANY.")

static const struct rpc_param create_initiator_group_params[] = {
	INITIATOR_TAG(struct initiator_args),
	INITIATOR_ROWS(struct initiator_args, true),
};

static const struct rpc_param initiators_params[] = {
	INITIATOR_TAG(struct initiator_args),
	INITIATOR_ROWS(struct initiator_args, false),
};

static const struct rpc_param initiator_tag_params[] = { INITIATOR_TAG(struct tag_args) };

static struct iscsi_initiators initiators_of(const struct initiator_args *a)
{
	return (struct iscsi_initiators){ .names = (const char *const *)a->initiators.at,
		.name_count = (uint32_t)a->initiators.count, .masks = (const char *const *)a->netmasks.at,
		.mask_count = (uint32_t)a->netmasks.count };
}

static void handle_create_initiator_group(struct rpc_call *call, void *args)
{
	const struct initiator_args *a = args;
	const struct iscsi_initiators in = initiators_of(a);
	struct err e = { 0 };

	if (!in.name_count || !in.mask_count)
		rpc_reply_error(call, ERR_BAD_PARAM, "%s: none was given, so that nobody could come in; give some, or ANY",
		                in.name_count ? "netmasks" : "initiators");
	else if (iscsi_initiator_group_add(rpc_ctx(call), a->tag, &in, &e))
		rpc_reply_err(call, &e);
	else
		rpc_reply_true(call);
}

static void handle_add_initiators(struct rpc_call *call, void *args)
{
	const struct initiator_args *a = args;
	const struct iscsi_initiators in = initiators_of(a);

	iscsi_initiators_add(rpc_ctx(call), a->tag, &in, &iscsi_change_call(call)->change);
}

static void handle_remove_initiators(struct rpc_call *call, void *args)
{
	const struct initiator_args *a = args;
	const struct iscsi_initiators in = initiators_of(a);

	iscsi_initiators_remove(rpc_ctx(call), a->tag, &in, &iscsi_change_call(call)->change);
}

static void handle_delete_initiator_group(struct rpc_call *call, void *args)
{
	const struct tag_args *a = args;

	iscsi_initiator_group_remove(rpc_ctx(call), a->tag, &iscsi_change_call(call)->change);
}

/* --- the table ----------------------------------------------------------------------------------------------- */

#define CHANGES .flags = RPC_RUNTIME, .returns = "true"
static const struct rpc_method methods[] = {
	RPC_METHOD("iscsi_set_options", struct set_options, set_options_params, handle_set_options,
	           .flags = RPC_STARTUP | RPC_RUNTIME, .returns = "true",
	           .doc = "Set options of the iSCSI target, for logins from then on; what is not given stays as it is."),
	RPC_METHOD("iscsi_set_discovery_auth", struct chap_args, discovery_params, handle_set_discovery_auth,
	           CHANGES, .doc = "Say whether hosts have to authenticate to discover target nodes."),
	RPC_METHOD("iscsi_create_auth_group", struct create_auth_group, create_auth_group_params,
	           handle_create_auth_group, CHANGES, .doc = "Make a group of CHAP users and secrets."),
	RPC_METHOD("iscsi_delete_auth_group", struct tag_args, auth_tag_params, handle_delete_auth_group, CHANGES,
	           .doc = "Delete a group of CHAP users. Who has logged in stays."),
	RPC_METHOD("iscsi_auth_group_add_secret", struct add_secret, add_secret_params, handle_add_secret, CHANGES,
	           .doc = "Add a CHAP user to a group."),
	RPC_METHOD("iscsi_auth_group_remove_secret", struct remove_secret, remove_secret_params, handle_remove_secret,
	           CHANGES, .doc = "Take a CHAP user out of a group. Who has logged in stays."),
	RPC_METHOD("iscsi_create_portal_group", struct create_portal_group, create_portal_group_params,
	           handle_create_portal_group, CHANGES, .doc = "Make a group of addresses, and listen there."),
	RPC_METHOD("iscsi_start_portal_group", struct tag_args, portal_tag_params, handle_start_portal_group, CHANGES,
	           .doc = "Listen, if that was put off when the portal group was made."),
	RPC_METHOD("iscsi_delete_portal_group", struct tag_args, portal_tag_params, handle_delete_portal_group, CHANGES,
	           .doc = "Delete a portal group with its maps; sessions that came in by it are ended."),
	RPC_METHOD("iscsi_portal_group_set_auth", struct portal_auth, portal_auth_params, handle_portal_group_set_auth,
	           CHANGES, .doc = "Say whether hosts have to authenticate for discovery at this portal group, in place of "
	                           "iscsi_set_discovery_auth."),
	RPC_METHOD("iscsi_create_initiator_group", struct initiator_args, create_initiator_group_params,
	           handle_create_initiator_group, CHANGES, .doc = "Make a group of hosts."),
	RPC_METHOD("iscsi_initiator_group_add_initiators", struct initiator_args, initiators_params,
	           handle_add_initiators, CHANGES, .doc = "Add hosts and netmasks to an initiator group."),
	RPC_METHOD("iscsi_initiator_group_remove_initiators", struct initiator_args, initiators_params,
	           handle_remove_initiators, CHANGES,
	           .doc = "Take hosts and netmasks out of an initiator group; sessions that may no longer be are ended."),
	RPC_METHOD("iscsi_delete_initiator_group", struct tag_args, initiator_tag_params, handle_delete_initiator_group,
	           CHANGES, .doc = "Delete an initiator group with its maps; sessions that may no longer be are ended."),
};

void iscsi_rpc_add(struct rpc *rpc, struct iscsi_target *t)
{
	rpc_add_methods(rpc, methods, ARRAY_SIZE(methods), t);
	iscsi_node_rpc_add(rpc, t);
	iscsi_get_rpc_add(rpc, t);
	rpc_add_object_saver(rpc, "iscsi", iscsi_save, t);
}
