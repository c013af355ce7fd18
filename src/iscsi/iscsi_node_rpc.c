/* SPDX-License-Identifier: BSD-3-Clause */
/* iscsi_node_rpc.c: methods that make and change target nodes, and what is done to their sessions. */
#include <errno.h>
#include <strings.h>

#include "bdev/bdev.h"
#include "core/log.h"
#include "iscsi/iscsi_rpc_priv.h"
#include "rpc/state.h"

#define NODE_NAME(S) RPC_PARAM(S, name, .required = true, .doc = "The target node: its whole name, or what follows " \
                               "node_base and a colon.")

/* NULL: answered. */
static struct iscsi_node *find_node(struct rpc_call *call, const char *name)
{
	struct iscsi_node *n = iscsi_node_find(rpc_ctx(call), name);

	if (!n)
		rpc_reply_error(call, -ENOENT, "name: there is no target node '%s'; iscsi_get_target_nodes lists them", name);
	return n;
}

/* --- maps and LUNs as parameters ----------------------------------------------------------------------------- */

struct map_args {
	uint32_t pg_tag, ig_tag;
};

static const struct rpc_param map_params[] = {
	RPC_PARAM(struct map_args, pg_tag, .required = true, .min = 1, .max = ISCSI_TAG_MAX, .doc = "Portal group."),
	RPC_PARAM(struct map_args, ig_tag, .required = true, .min = 1, .max = ISCSI_GROUP_TAG_MAX,
	          .doc = "Initiator group."),
};

#define MAPS(S, ...) RPC_PARAM(S, pg_ig_maps, .params = map_params, .param_count = ARRAY_SIZE(map_params), \
	.object_size = sizeof(struct map_args), __VA_ARGS__)

/* To be freed. */
static struct iscsi_map_pair *pairs_of(const struct rpc_objects *maps)
{
	struct iscsi_map_pair *pairs = base_zalloc((maps->count + 1) * sizeof(*pairs));
	const struct map_args *m = maps->at;

	for (size_t i = 0; i < maps->count; i++)
		pairs[i] = (struct iscsi_map_pair){ m[i].pg_tag, m[i].ig_tag };
	return pairs;
}

struct lun_args {
	char *bdev_name;
	int32_t lun_id;
};

static const struct rpc_param lun_params[] = {
	RPC_PARAM(struct lun_args, bdev_name, .required = true, .doc = "Device behind the LUN."),
	RPC_PARAM(struct lun_args, lun_id, .required = true, .doc = "Its number, 0 to 255; -1: the first that is free."),
};

/* --- iscsi_create_target_node, iscsi_delete_target_node ------------------------------------------------------ */

struct create_node {
	char *name, *alias_name;
	struct rpc_objects pg_ig_maps, luns;
	uint32_t queue_depth;
	ISCSI_CHAP_FIELDS;
	bool header_digest, data_digest;
};

static const struct rpc_param create_node_params[] = {
#define P(field, ...) RPC_PARAM(struct create_node, field, __VA_ARGS__)
	P(name, .required = true, .doc = "Name of the new target node: iqn.YYYY-MM.reversed.domain:name, eui., naa., or "
	                                 "what follows node_base and a colon."),
	P(alias_name, .doc = "A name for people, told to hosts that log in."),
	MAPS(struct create_node, .doc = "Which initiator groups may use it by which portal groups."),
	P(luns, .params = lun_params, .param_count = ARRAY_SIZE(lun_params), .object_size = sizeof(struct lun_args),
	  .doc = "Its logical units."),
	P(queue_depth, .max = ISCSI_QUEUE_DEPTH_MAX,
	  .doc = "Commands that a session can have at a time; 0: max_queue_depth of iscsi_set_options, which bounds it."),
	ISCSI_CHAP_ROWS(struct create_node, "Hosts"),
	P(header_digest, .doc = "Hosts must use header digests."),
	P(data_digest, .doc = "Hosts must use data digests."),
#undef P
};

/* Of a configuration that is loaded: devices that are not there keep the node from nothing else. */
struct missing_luns {
	uint32_t count;
	struct missing_lun {
		char *bdev_name;
		int32_t lun;
	} at[];
};

static void keep_missing(struct rpc *rpc, const char *node, const char *bdev_name, int32_t lun, const char *uuid,
                         bool read_only, const char *why)
{
	struct json_object *array = json_object_new_array();
	struct err e = { 0 };

	err_set(&e, -ENODEV, "bdev_name: device '%s' %s", bdev_name, why);
	iscsi_save_lun(array, node, (uint32_t)lun, bdev_name, read_only);
	rpc_state_keep(rpc, "iscsi", json_object_array_get_idx(array, 0), uuid, &e);
	json_object_put(array);
}

static void node_created(struct iscsi_change *c)
{
	struct iscsi_change_call *cc = container_of(c, struct iscsi_change_call, change);
	struct missing_luns *missing = cc->own;
	const struct iscsi_node *n = c->err.code ? NULL : c->node;

	for (uint32_t i = 0; missing && i < missing->count; i++) {
		if (n && missing->at[i].lun >= 0)
			keep_missing(rpc_of(cc->call), n->name, missing->at[i].bdev_name, missing->at[i].lun, "", false,
			             "is not there; the LUN comes with it");
		free(missing->at[i].bdev_name);
	}
	iscsi_change_reply(c);
}

/* Puts the LUNs with devices into specs; returns how many. */
static uint32_t sort_luns(struct rpc_call *call, const struct create_node *a, struct iscsi_lun_spec *specs,
                          struct missing_luns *missing)
{
	struct iscsi_target *t = rpc_ctx(call);
	const struct lun_args *l = a->luns.at;
	uint32_t count = 0;

	for (size_t i = 0; i < a->luns.count; i++) {
		if (rpc_is_loading(call) && !bdev_find(t->reg, l[i].bdev_name))
			missing->at[missing->count++] = (struct missing_lun){ base_strdup(l[i].bdev_name), l[i].lun_id };
		else
			specs[count++] = (struct iscsi_lun_spec){ .bdev_name = l[i].bdev_name, .lun = l[i].lun_id };
	}
	return count;
}

static void handle_create_node(struct rpc_call *call, void *args)
{
	const struct create_node *a = args;
	struct iscsi_map_pair *pairs;
	struct iscsi_lun_spec *specs;
	struct iscsi_change_call *cc;
	struct missing_luns *missing;
	struct iscsi_node_opts opts = { .name = a->name, .alias = a->alias_name, .queue_depth = a->queue_depth,
		.auth = ISCSI_CHAP_POLICY(a), .header_digest = a->header_digest, .data_digest = a->data_digest,
		.pair_count = (uint32_t)a->pg_ig_maps.count };

	iscsi_rpc_group_later(call, a->chap_group);
	pairs = pairs_of(&a->pg_ig_maps);
	specs = base_zalloc((a->luns.count + 1) * sizeof(*specs));
	missing = base_zalloc(sizeof(*missing) + a->luns.count * sizeof(missing->at[0]));
	opts.pairs = pairs;
	opts.luns = specs;
	opts.lun_count = sort_luns(call, a, specs, missing);
	cc = iscsi_change_call(call);
	cc->own = missing;
	cc->change.done = node_created;
	iscsi_node_add(rpc_ctx(call), &opts, &cc->change);
	free(specs);
	free(pairs);
}

static const struct rpc_param name_params[] = { NODE_NAME(struct iscsi_name_args) };

/* A LUN that waits for its device. False: there is none. */
static bool forget_lun(struct rpc *rpc, const char *node, uint32_t lun)
{
	struct json_object *array = json_object_new_array();
	bool known = rpc_state_forget(rpc, iscsi_save_lun(array, node, lun, "", false));

	json_object_put(array);
	return known;
}

/* A change whose end needs the node's whole name: `own`, whatever the caller called it. */
static struct iscsi_change *change_named(struct rpc_call *call, const struct iscsi_node *n,
                                         void (*done)(struct iscsi_change *c))
{
	struct iscsi_change_call *cc = iscsi_change_call(call);

	cc->own = base_strdup(n->name);
	cc->change.done = done;
	return &cc->change;
}

/* What waits for its device waits no more, by whatever name the node was called. */
static void node_deleted(struct iscsi_change *c)
{
	struct iscsi_change_call *cc = container_of(c, struct iscsi_change_call, change);

	for (uint32_t lun = 0; !c->err.code && lun < SCSI_LUNS_MAX; lun++)
		forget_lun(rpc_of(cc->call), cc->own, lun);
	iscsi_change_reply(c);
}

static void handle_delete_node(struct rpc_call *call, void *args)
{
	const struct iscsi_name_args *a = args;
	struct iscsi_node *n = find_node(call, a->name);

	if (n)
		iscsi_node_remove(rpc_ctx(call), a->name, change_named(call, n, node_deleted));
}

/* --- LUNs ---------------------------------------------------------------------------------------------------- */

struct add_lun {
	char *name, *bdev_name;
	int32_t lun_id;
	bool read_only;
};

static const struct rpc_param add_lun_params[] = {
	NODE_NAME(struct add_lun),
	RPC_PARAM(struct add_lun, bdev_name, .required = true, .doc = "Device behind the LUN."),
	RPC_PARAM(struct add_lun, lun_id, .fallback = "-1", .doc = "Its number, 0 to 255; -1: the first that is free."),
	RPC_PARAM(struct add_lun, read_only, .doc = "Hosts may not write."),
};

/* One that has gone with its device has lost its number to another one. */
static void lun_added(struct iscsi_change *c)
{
	struct iscsi_change_call *cc = container_of(c, struct iscsi_change_call, change);

	if (!c->err.code)
		forget_lun(rpc_of(cc->call), cc->own, c->lun);
	iscsi_change_reply(c);
}

static void handle_add_lun(struct rpc_call *call, void *args)
{
	const struct add_lun *a = args;
	const struct iscsi_lun_spec spec = { .bdev_name = a->bdev_name, .lun = a->lun_id, .read_only = a->read_only };
	struct iscsi_node *n = find_node(call, a->name);

	if (n)
		iscsi_node_add_lun(rpc_ctx(call), a->name, &spec, change_named(call, n, lun_added));
}

struct remove_lun {
	char *name;
	uint32_t lun_id;
};

static const struct rpc_param remove_lun_params[] = {
	NODE_NAME(struct remove_lun),
	RPC_PARAM(struct remove_lun, lun_id, .required = true, .max = SCSI_LUNS_MAX - 1, .doc = "Number of the LUN."),
};

static void handle_remove_lun(struct rpc_call *call, void *args)
{
	const struct remove_lun *a = args;
	const struct iscsi_node *n = find_node(call, a->name);

	if (!n)
		return;
	if (forget_lun(rpc_of(call), n->name, a->lun_id)) {
		rpc_reply_true(call);
		return;
	}
	iscsi_node_remove_lun(rpc_ctx(call), a->name, a->lun_id, &iscsi_change_call(call)->change);
}

static void lun_gone(void *arg, const struct iscsi_node *n, const struct scsi_lun_gone *g)
{
	char uuid[UUID_TEXT_MAX];

	keep_missing(arg, n->name, g->bdev_name, (int32_t)g->lun, uuid_to_text(&g->uuid, uuid), g->read_only,
	             "has gone; the LUN returns with it");
}

/* --- maps ---------------------------------------------------------------------------------------------------- */

struct maps_args {
	char *name;
	struct rpc_objects pg_ig_maps;
};

static const struct rpc_param maps_params[] = {
	NODE_NAME(struct maps_args),
	MAPS(struct maps_args, .required = true, .doc = "Which initiator groups may use it by which portal groups."),
};

static void handle_add_maps(struct rpc_call *call, void *args)
{
	const struct maps_args *a = args;
	struct iscsi_map_pair *pairs = pairs_of(&a->pg_ig_maps);
	struct err e = { 0 };

	rpc_reply_rc(call, iscsi_node_add_maps(rpc_ctx(call), a->name, pairs, (uint32_t)a->pg_ig_maps.count, &e), &e);
	free(pairs);
}

static void handle_remove_maps(struct rpc_call *call, void *args)
{
	const struct maps_args *a = args;
	struct iscsi_map_pair *pairs = pairs_of(&a->pg_ig_maps);

	iscsi_node_remove_maps(rpc_ctx(call), a->name, pairs, (uint32_t)a->pg_ig_maps.count,
	                       &iscsi_change_call(call)->change);
	free(pairs);
}

/* --- authentication, redirection ----------------------------------------------------------------------------- */

struct node_auth {
	char *name;
	ISCSI_CHAP_FIELDS;
};

static const struct rpc_param node_auth_params[] = {
	NODE_NAME(struct node_auth),
	ISCSI_CHAP_ROWS(struct node_auth, "Hosts"),
};

static void handle_set_auth(struct rpc_call *call, void *args)
{
	const struct node_auth *a = args;
	const struct iscsi_chap_policy p = ISCSI_CHAP_POLICY(a);
	struct err e = { 0 };

	if (!iscsi_rpc_group_ok(call, a->chap_group))
		return;
	rpc_reply_rc(call, iscsi_node_set_auth(rpc_ctx(call), a->name, &p, &e), &e);
}

#define PG_TAG(S, ...) RPC_PARAM(S, pg_tag, .min = 1, .max = ISCSI_TAG_MAX, __VA_ARGS__)

struct redirect_args {
	char *name, *redirect_host, *redirect_port;
	uint32_t pg_tag;
};

static const struct rpc_param redirect_params[] = {
	NODE_NAME(struct redirect_args),
	PG_TAG(struct redirect_args, .required = true, .doc = "Public portal group whose logins are sent elsewhere."),
	RPC_PARAM(struct redirect_args, redirect_host, .doc = "Address of a portal of a private portal group, here or on "
	                                                       "another machine; left out: redirect no more."),
	RPC_PARAM(struct redirect_args, redirect_port, .doc = "Its TCP port; 3260 when left out."),
};

static void handle_set_redirect(struct rpc_call *call, void *args)
{
	const struct redirect_args *a = args;
	struct err e = { 0 };
	int rc = iscsi_node_set_redirect(rpc_ctx(call), a->name, a->pg_tag, a->redirect_host, a->redirect_port, &e);

	rpc_reply_rc(call, rc, &e);
}

/* --- sessions ------------------------------------------------------------------------------------------------ */

struct logout_args {
	char *name;
	uint32_t pg_tag;
};

static const struct rpc_param logout_params[] = {
	NODE_NAME(struct logout_args),
	RPC_PARAM(struct logout_args, pg_tag, .max = ISCSI_TAG_MAX,
	          .doc = "Portal group by which they came in; all when left out."),
};

static void handle_request_logout(struct rpc_call *call, void *args)
{
	const struct logout_args *a = args;
	const struct iscsi_portal_group *pg = a->pg_tag ? iscsi_portal_group_find(rpc_ctx(call), a->pg_tag) : NULL;
	struct iscsi_node *n = find_node(call, a->name); /* or the call is answered, and gone with its arguments */

	if (!n)
		return;
	if (a->pg_tag && !pg) {
		rpc_reply_error(call, -ENOENT, "pg_tag: there is no portal group %u; leave it out for all", a->pg_tag);
		return;
	}
	iscsi_conns_request_logout(n, pg);
	rpc_reply_true(call);
}

struct move_args {
	uint32_t id, reactor;
	bool pinned;
};

static const struct rpc_param move_params[] = {
	RPC_PARAM(struct move_args, id, .required = true, .doc = "The id that iscsi_get_connections gives it."),
	RPC_PARAM(struct move_args, reactor, .required = true, .doc = "The core: its number in framework_get_reactors."),
	RPC_PARAM(struct move_args, pinned, .fallback = "true", .doc = "The scheduler leaves it there."),
};

struct move_call {
	struct iscsi_move move;
	struct rpc_call *call;
};

static void moved(struct iscsi_move *m)
{
	struct move_call *mc = container_of(m, struct move_call, move);

	rpc_reply_rc(mc->call, m->err.code, &m->err);
	free(mc);
}

static void handle_move(struct rpc_call *call, void *args)
{
	const struct move_args *a = args;
	struct iscsi_target *t = rpc_ctx(call);
	uint32_t count = core_reactor_count(t->core);
	struct move_call *mc;

	if (a->reactor >= count) {
		rpc_reply_error(call, ERR_BAD_PARAM, "reactor: there is no reactor %u; 0 to %u", a->reactor, count - 1);
		return;
	}
	mc = base_zalloc(sizeof(*mc));
	mc->call = call;
	mc->move.done = moved;
	mc->move.pinned = a->pinned;
	iscsi_conn_move(t, &mc->move, a->id, core_reactor(t->core, a->reactor));
}

/* --- ALUA ---------------------------------------------------------------------------------------------------- */

static const char *const alua_names[] = { "optimized", "non_optimized", "standby", "unavailable", NULL };

const char *iscsi_alua_name(uint8_t state)
{
	return state <= SCSI_ALUA_UNAVAILABLE ? alua_names[state] : "other";
}

struct alua_args {
	char *name, *alua_state;
	uint32_t pg_tag;
};

static const struct rpc_param alua_params[] = {
	NODE_NAME(struct alua_args),
	PG_TAG(struct alua_args, .required = true, .doc = "Portal group that the target node is mapped to."),
	RPC_PARAM(struct alua_args, alua_state, .required = true, .choices = alua_names,
	          .doc = "How good the way by it is."),
};

struct alua_call {
	struct scsi_change change;
	struct rpc_call *call;
	struct iscsi_node *node;
	uint32_t pg_tag;
	uint8_t state;
};

static void alua_set(struct scsi_change *c)
{
	struct alua_call *ac = container_of(c, struct alua_call, change);

	if (!c->err.code)
		iscsi_node_set_alua(ac->node, ac->pg_tag, ac->state);
	iscsi_node_unref(ac->node);
	rpc_reply_rc(ac->call, c->err.code, &c->err);
	free(ac);
}

static void handle_set_alua(struct rpc_call *call, void *args)
{
	const struct alua_args *a = args;
	struct iscsi_node *n = find_node(call, a->name);
	struct alua_call *ac;
	uint8_t state = 0;

	if (!n)
		return;
	if (!iscsi_node_is_mapped(n, a->pg_tag)) {
		rpc_reply_error(call, -ENOENT, "pg_tag: '%s' is not mapped to portal group %u; iscsi_get_target_nodes "
		                "lists its maps", n->name, a->pg_tag);
		return;
	}
	while (strcmp(alua_names[state], a->alua_state)) /* it is one of the choices */
		state++;
	ac = base_zalloc(sizeof(*ac));
	ac->call = call;
	ac->node = n;
	ac->pg_tag = a->pg_tag;
	ac->state = state;
	ac->change.done = alua_set;
	iscsi_node_ref(n);
	scsi_target_set_alua(n->scsi, (uint16_t)a->pg_tag, state, &ac->change);
}

/* --- the table ----------------------------------------------------------------------------------------------- */

#define CHANGES .flags = RPC_RUNTIME, .returns = "true"
static const struct rpc_method methods[] = {
	RPC_METHOD("iscsi_create_target_node", struct create_node, create_node_params, handle_create_node, CHANGES,
	           .doc = "Make a target node: what a host logs in to."),
	RPC_METHOD("iscsi_delete_target_node", struct iscsi_name_args, name_params, handle_delete_node, CHANGES,
	           .doc = "Delete a target node; its sessions are ended."),
	RPC_METHOD("iscsi_target_node_add_lun", struct add_lun, add_lun_params, handle_add_lun, CHANGES,
	           .doc = "Show a device to the hosts of a target node."),
	RPC_METHOD("iscsi_target_node_remove_lun", struct remove_lun, remove_lun_params, handle_remove_lun, CHANGES,
	           .doc = "Take a device away from the hosts of a target node."),
	RPC_METHOD("iscsi_target_node_add_pg_ig_maps", struct maps_args, maps_params, handle_add_maps, CHANGES,
	           .doc = "Let more initiator groups use a target node, or by more portal groups."),
	RPC_METHOD("iscsi_target_node_remove_pg_ig_maps", struct maps_args, maps_params, handle_remove_maps, CHANGES,
	           .doc = "Take such ways away; sessions that may no longer be are ended."),
	RPC_METHOD("iscsi_target_node_set_auth", struct node_auth, node_auth_params, handle_set_auth, CHANGES,
	           .doc = "Say whether hosts have to authenticate. Who has logged in stays."),
	RPC_METHOD("iscsi_target_node_set_redirect", struct redirect_args, redirect_params, handle_set_redirect, CHANGES,
	           .doc = "Send logins by a portal group elsewhere; with iscsi_target_node_request_logout those that are "
	                  "there move, too."),
	RPC_METHOD("iscsi_target_node_request_logout", struct logout_args, logout_params, handle_request_logout, CHANGES,
	           .doc = "Ask hosts to log out, and in again if they like. Who does not is disconnected."),
	RPC_METHOD("iscsi_target_node_set_alua_state", struct alua_args, alua_params, handle_set_alua, CHANGES,
	           .doc = "Say how good the way to a target node by a portal group is (ALUA); hosts are told."),
	RPC_METHOD("iscsi_move_session", struct move_args, move_params, handle_move, CHANGES,
	           .doc = "Put a session on another core."),
};

void iscsi_node_rpc_add(struct rpc *rpc, struct iscsi_target *t)
{
	rpc_add_methods(rpc, methods, ARRAY_SIZE(methods), t);
	t->lun_gone = lun_gone;
	t->lun_gone_arg = rpc;
}
