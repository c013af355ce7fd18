/* SPDX-License-Identifier: BSD-3-Clause */
/* iscsi_get_rpc.c: methods that tell what the target is, and its part of the saved configuration. Shapes are SPDK's. */
#include <errno.h>

#include "iscsi/iscsi_rpc_priv.h"

/* --- pieces -------------------------------------------------------------------------------------------------- */

static void add_number(struct json_object *o, const char *key, uint32_t v)
{
	json_add_u64(o, key, v);
}

static void add_policy(struct json_object *o, const struct iscsi_chap_policy *p)
{
	json_add_bool(o, "disable_chap", p->disable_chap);
	json_add_bool(o, "require_chap", p->require_chap);
	json_add_bool(o, "mutual_chap", p->mutual_chap);
	add_number(o, "chap_group", p->chap_group);
}

static void add_options(struct json_object *o, const struct iscsi_options *opts)
{
	json_add_text(o, "node_base", opts->node_base);
	add_number(o, "max_sessions", opts->max_sessions);
	add_number(o, "max_connections_per_session", opts->max_connections_per_session);
	add_number(o, "max_queue_depth", opts->max_queue_depth);
	add_number(o, "default_time2wait", opts->default_time2wait);
	add_number(o, "default_time2retain", opts->default_time2retain);
	add_number(o, "first_burst_length", opts->first_burst_length);
	add_number(o, "max_burst_length", opts->max_burst_length);
	add_number(o, "max_recv_data_segment_length", opts->max_recv_data_segment_length);
	add_number(o, "max_outstanding_r2t", opts->max_outstanding_r2t);
	json_add_bool(o, "immediate_data", opts->immediate_data);
	json_add_bool(o, "initial_r2t", opts->initial_r2t);
	json_add_bool(o, "allow_duplicated_isid", opts->allow_duplicate_isid);
	add_number(o, "error_recovery_level", opts->error_recovery_level);
	add_number(o, "nop_timeout", opts->nop_timeout_s);
	add_number(o, "nop_in_interval", opts->nop_in_interval_s);
	add_number(o, "login_timeout_ms", opts->login_timeout_ms);
	add_number(o, "data_timeout_ms", opts->data_timeout_ms);
	add_policy(o, &opts->discovery);
}

static void add_portals(struct json_object *o, const struct iscsi_portal_group *pg)
{
	struct json_object *list = json_add_array(o, "portals");

	list_each(l, &pg->portals) {
		const struct iscsi_portal *p = list_entry(l, struct iscsi_portal, link);
		struct json_object *po = json_append_object(list);

		json_add_text(po, "host", p->host);
		json_add_text(po, "port", p->port);
	}
}

static void add_initiators(struct json_object *o, const struct iscsi_initiator_group *g)
{
	struct json_object *list = json_add_array(o, "initiators");

	for (uint32_t i = 0; i < g->name_count; i++)
		json_object_array_add(list, json_object_new_string(g->names[i]));
	list = json_add_array(o, "netmasks");
	for (uint32_t i = 0; i < g->mask_count; i++)
		json_object_array_add(list, json_object_new_string(g->masks[i].text));
}

static void add_pair(struct json_object *list, const struct iscsi_map *m, uint32_t at)
{
	struct json_object *o = json_append_object(list);

	add_number(o, "pg_tag", m->pg->tag);
	add_number(o, "ig_tag", m->igs[at]->tag);
}

/* --- options, groups ----------------------------------------------------------------------------------------- */

static void handle_get_options(struct rpc_call *call, void *args)
{
	struct iscsi_target *t = rpc_ctx(call);
	struct json_object *o = json_object_new_object();

	add_options(o, &t->options);
	rpc_reply(call, o);
}

/* Whoever sees a result need not see secrets: save_config has them. */
static void handle_get_auth_groups(struct rpc_call *call, void *args)
{
	struct iscsi_target *t = rpc_ctx(call);
	struct json_object *result = json_object_new_array();

	list_each(l, &t->auth_groups) {
		const struct iscsi_auth_group *g = list_entry(l, struct iscsi_auth_group, link);
		struct json_object *o = json_append_object(result), *list;

		add_number(o, "tag", g->tag);
		list = json_add_array(o, "secrets");
		list_each(at, &g->secrets) {
			const struct iscsi_chap_user *u = list_entry(at, struct iscsi_chap_user, link);
			struct json_object *so = json_append_object(list);

			json_add_text(so, "user", u->user);
			json_add_text(so, "secret", "***");
			if (!u->muser)
				continue;
			json_add_text(so, "muser", u->muser);
			json_add_text(so, "msecret", "***");
		}
	}
	rpc_reply(call, result);
}

static void handle_get_portal_groups(struct rpc_call *call, void *args)
{
	struct iscsi_target *t = rpc_ctx(call);
	struct json_object *result = json_object_new_array();

	list_each(l, &t->portal_groups) {
		const struct iscsi_portal_group *pg = list_entry(l, struct iscsi_portal_group, link);
		struct json_object *o = json_append_object(result);

		add_number(o, "tag", pg->tag);
		add_portals(o, pg);
		json_add_bool(o, "private", pg->is_private);
		json_add_bool(o, "listening", pg->listening);
		if (pg->has_auth)
			add_policy(o, &pg->auth);
	}
	rpc_reply(call, result);
}

static void handle_get_initiator_groups(struct rpc_call *call, void *args)
{
	struct iscsi_target *t = rpc_ctx(call);
	struct json_object *result = json_object_new_array();

	list_each(l, &t->initiator_groups) {
		const struct iscsi_initiator_group *g = list_entry(l, struct iscsi_initiator_group, link);
		struct json_object *o = json_append_object(result);

		add_number(o, "tag", g->tag);
		add_initiators(o, g);
	}
	rpc_reply(call, result);
}

/* --- target nodes -------------------------------------------------------------------------------------------- */

/* What is not as it was configured, because a host wanted it so. */
static void add_what_hosts_set(struct json_object *lo, const struct iscsi_node *n, uint32_t lun)
{
	struct scsi_lun_info info;

	if (!scsi_target_lun(n->scsi, lun, &info))
		return;
	if (info.swp)
		json_add_bool(lo, "write_protected_by_host", true);
	if (info.stopped)
		json_add_bool(lo, "stopped_by_host", true);
	if (info.uncached)
		json_add_bool(lo, "write_cache_disabled_by_host", true);
}

static void add_luns(struct json_object *o, const struct iscsi_node *n)
{
	struct json_object *list = json_add_array(o, "luns");

	list_each(l, &n->luns) {
		const struct iscsi_lun *lun = list_entry(l, struct iscsi_lun, link);
		struct json_object *lo;

		if (lun->coming)
			continue;
		lo = json_append_object(list);
		json_add_text(lo, "bdev_name", lun->bdev_name);
		add_number(lo, "lun_id", lun->lun);
		if (lun->read_only)
			json_add_bool(lo, "read_only", true);
		add_what_hosts_set(lo, n, lun->lun);
	}
}

/* What SPDK does not tell: each way in. */
static void add_ports(struct json_object *o, const struct iscsi_node *n)
{
	struct json_object *list = json_add_array(o, "target_ports");

	list_each(l, &n->maps) {
		const struct iscsi_map *m = list_entry(l, struct iscsi_map, link);
		struct json_object *po = json_append_object(list);

		add_number(po, "pg_tag", m->pg->tag);
		json_add_text(po, "alua_state", iscsi_alua_name(scsi_target_alua(n->scsi, (uint16_t)m->pg->tag)));
		if (!m->redirect_host[0])
			continue;
		json_add_text(po, "redirect_host", m->redirect_host);
		json_add_text(po, "redirect_port", m->redirect_port);
	}
}

static void show_node(struct json_object *array, const struct iscsi_node *n)
{
	struct json_object *o = json_append_object(array), *list;

	json_add_text(o, "name", n->name);
	if (n->alias[0])
		json_add_text(o, "alias_name", n->alias);
	list = json_add_array(o, "pg_ig_maps");
	list_each(l, &n->maps) {
		const struct iscsi_map *m = list_entry(l, struct iscsi_map, link);

		for (uint32_t i = 0; i < m->ig_count; i++)
			add_pair(list, m, i);
	}
	add_luns(o, n);
	add_number(o, "queue_depth", iscsi_node_depth(n));
	add_policy(o, &n->auth);
	json_add_bool(o, "header_digest", n->header_digest);
	json_add_bool(o, "data_digest", n->data_digest);
	add_ports(o, n);
}

struct get_nodes {
	char *name;
};

static const struct rpc_param get_nodes_params[] = {
	RPC_PARAM(struct get_nodes, name, .doc = "One of them; all when left out."),
};

static void handle_get_nodes(struct rpc_call *call, void *args)
{
	struct iscsi_target *t = rpc_ctx(call);
	const struct get_nodes *a = args;
	struct iscsi_node *one = a->name ? iscsi_node_find(t, a->name) : NULL;
	struct json_object *result;

	if (a->name && !one) {
		rpc_reply_error(call, -ENOENT, "name: there is no target node '%s'; leave it out to see all", a->name);
		return;
	}
	result = json_object_new_array();
	list_each(l, &t->nodes) {
		const struct iscsi_node *n = list_entry(l, struct iscsi_node, link);

		if (!n->gone && !n->coming && (!one || n == one))
			show_node(result, n);
	}
	rpc_reply(call, result);
}

static void handle_get_devices(struct rpc_call *call, void *args)
{
	struct iscsi_target *t = rpc_ctx(call);
	struct json_object *result = json_object_new_array();

	list_each(l, &t->nodes) {
		const struct iscsi_node *n = list_entry(l, struct iscsi_node, link);
		struct json_object *o;

		if (n->gone || n->coming)
			continue;
		o = json_append_object(result);
		add_number(o, "id", n->id);
		json_add_text(o, "device_name", n->name);
	}
	rpc_reply(call, result);
}

/* --- sessions ------------------------------------------------------------------------------------------------ */

static const char *phase_name(enum iscsi_conn_phase phase)
{
	return phase == ISCSI_CONN_LOGIN ? "invalid" : phase == ISCSI_CONN_ENDING ? "exiting" : "running";
}

/* What SPDK calls a node there: what follows the first colon. */
static const char *short_name(const char *name)
{
	const char *colon = strchr(name, ':');

	return colon ? colon + 1 : name;
}

static void show_conn(void *arg, const struct iscsi_conn_info *i)
{
	struct json_object *o = json_append_object(arg);
	char host[NET_ADDR_TEXT_MAX], name[32], isid[16];
	struct text t = text_over(name, sizeof(name)), id = text_over(isid, sizeof(isid));

	add_number(o, "id", i->id);
	add_number(o, "cid", i->cid);
	add_number(o, "tsih", i->tsih);
	json_add_text(o, "state", phase_name(i->phase));
	json_add_text(o, "login_phase", i->login_stage);
	json_add_text(o, "initiator_addr", net_addr_host(&i->peer, host));
	json_add_text(o, "target_addr", net_addr_host(&i->local, host));
	json_add_text(o, "target_node_name", i->node ? short_name(i->node->name) : "");
	if (reactor_is_control(i->reactor))
		text_add(&t, "control");
	else
		text_add(&t, "reactor_%u", reactor_index(i->reactor));
	json_add_text(o, "thread_name", name);
	json_add_text(o, "session", i->phase == ISCSI_CONN_DISCOVERY ? "discovery" : i->node ? "normal" : "");
	json_add_text(o, "target_name", i->node ? i->node->name : "");
	json_add_text(o, "initiator_name", i->initiator);
	for (size_t k = 0; k < sizeof(i->isid); k++)
		text_add(&id, "%02x", i->isid[k]);
	json_add_text(o, "isid", isid);
	add_number(o, "pg_tag", i->pg->tag);
	json_add_bool(o, "header_digest", i->header_digest);
	json_add_bool(o, "data_digest", i->data_digest);
	json_add_u64(o, "since_us", i->since_us);
	json_add_u64(o, "commands", i->commands);
	json_add_u64(o, "pdus_in", i->pdus_in);
	json_add_u64(o, "pdus_out", i->pdus_out);
	json_add_u64(o, "bytes_in", i->bytes_in);
	json_add_u64(o, "bytes_out", i->bytes_out);
}

static void handle_get_connections(struct rpc_call *call, void *args)
{
	struct json_object *result = json_object_new_array();

	iscsi_conns_each(rpc_ctx(call), show_conn, result);
	rpc_reply(call, result);
}

static void count_phase(void *arg, const struct iscsi_conn_info *i)
{
	uint32_t *counts = arg;

	counts[i->phase]++;
}

/* As SPDK counts: connections by their state. */
static void handle_get_stats(struct rpc_call *call, void *args)
{
	struct json_object *o = json_object_new_object();
	uint32_t counts[ISCSI_CONN_ENDING + 1] = { 0 };

	iscsi_conns_each(rpc_ctx(call), count_phase, counts);
	add_number(o, "invalid", counts[ISCSI_CONN_LOGIN]);
	add_number(o, "running", counts[ISCSI_CONN_NORMAL] + counts[ISCSI_CONN_DISCOVERY]);
	add_number(o, "exiting", counts[ISCSI_CONN_ENDING]);
	add_number(o, "exited", 0);
	rpc_reply(call, o);
}

/* --- saving: in an order in which it can be loaded ----------------------------------------------------------- */

struct json_object *iscsi_save_call(struct json_object *array, const char *method)
{
	struct json_object *o = json_append_object(array);

	json_add_text(o, "method", method);
	return json_add_object(o, "params");
}

struct json_object *iscsi_save_lun(struct json_object *array, const char *node, uint32_t lun, const char *bdev_name,
                                   bool read_only)
{
	struct json_object *p = iscsi_save_call(array, "iscsi_target_node_add_lun");

	json_add_text(p, "name", node);
	json_add_text(p, "bdev_name", bdev_name);
	add_number(p, "lun_id", lun);
	if (read_only)
		json_add_bool(p, "read_only", true);
	return json_object_array_get_idx(array, json_object_array_length(array) - 1);
}

static void save_auth_group(void *arg, struct json_object *array)
{
	const struct iscsi_auth_group *g = arg;

	add_number(iscsi_save_call(array, "iscsi_create_auth_group"), "tag", g->tag);
	list_each(l, &g->secrets) {
		const struct iscsi_chap_user *u = list_entry(l, struct iscsi_chap_user, link);
		struct json_object *p = iscsi_save_call(array, "iscsi_auth_group_add_secret");

		add_number(p, "tag", g->tag);
		json_add_text(p, "user", u->user);
		json_add_text(p, "secret", u->secret);
		if (!u->muser)
			continue;
		json_add_text(p, "muser", u->muser);
		json_add_text(p, "msecret", u->msecret);
	}
}

/* They listen when everything else is there: some hosts do not try again when they find no target. */
static void save_portal_group(void *arg, struct json_object *array)
{
	const struct iscsi_portal_group *pg = arg;
	struct json_object *p = iscsi_save_call(array, "iscsi_create_portal_group");

	add_number(p, "tag", pg->tag);
	add_portals(p, pg);
	json_add_bool(p, "private", pg->is_private);
	json_add_bool(p, "wait", true);
	if (!pg->has_auth)
		return;
	p = iscsi_save_call(array, "iscsi_portal_group_set_auth");
	add_number(p, "tag", pg->tag);
	add_policy(p, &pg->auth);
}

static void save_initiator_group(void *arg, struct json_object *array)
{
	const struct iscsi_initiator_group *g = arg;
	struct json_object *p = iscsi_save_call(array, "iscsi_create_initiator_group");

	add_number(p, "tag", g->tag);
	add_initiators(p, g);
}

/* Each map and LUN by itself: it waits by itself for what it needs, and is taken back by itself. */
static void save_map(struct json_object *array, const struct iscsi_node *n, const struct iscsi_map *m)
{
	struct json_object *p;

	for (uint32_t i = 0; i < m->ig_count; i++) {
		p = iscsi_save_call(array, "iscsi_target_node_add_pg_ig_maps");
		json_add_text(p, "name", n->name);
		add_pair(json_add_array(p, "pg_ig_maps"), m, i);
	}
	if (m->redirect_host[0]) {
		p = iscsi_save_call(array, "iscsi_target_node_set_redirect");
		json_add_text(p, "name", n->name);
		add_number(p, "pg_tag", m->pg->tag);
		json_add_text(p, "redirect_host", m->redirect_host);
		json_add_text(p, "redirect_port", m->redirect_port);
	}
	if (m->alua != SCSI_ALUA_OPTIMIZED) {
		p = iscsi_save_call(array, "iscsi_target_node_set_alua_state");
		json_add_text(p, "name", n->name);
		add_number(p, "pg_tag", m->pg->tag);
		json_add_text(p, "alua_state", iscsi_alua_name(m->alua));
	}
}

/* Its device was deleted, and it goes. A record that had the LUN and not the device would give it to whatever disk has
 * that name next. */
static bool lun_is_lost(const struct iscsi_node *n, const struct iscsi_lun *l)
{
	struct scsi_lun_info i;

	return scsi_target_lun(n->scsi, l->lun, &i) && i.lost;
}

/* What was saved of a node before that holds no more. */
static uint64_t node_saved_stamp(const struct iscsi_node *n)
{
	list_each(l, &n->luns)
		if (lun_is_lost(n, list_entry(l, struct iscsi_lun, link)))
			return 0;
	return n->stamp;
}

static void save_node(void *arg, struct json_object *array)
{
	const struct iscsi_node *n = arg;
	struct json_object *p = iscsi_save_call(array, "iscsi_create_target_node");

	json_add_text(p, "name", n->name);
	if (n->alias[0])
		json_add_text(p, "alias_name", n->alias);
	json_add_array(p, "pg_ig_maps");
	json_add_array(p, "luns");
	add_number(p, "queue_depth", n->queue_depth);
	add_policy(p, &n->auth);
	json_add_bool(p, "header_digest", n->header_digest);
	json_add_bool(p, "data_digest", n->data_digest);
	list_each(l, &n->luns) {
		const struct iscsi_lun *lun = list_entry(l, struct iscsi_lun, link);

		if (!lun->coming && !lun->going && !lun_is_lost(n, lun))
			iscsi_save_lun(array, n->name, lun->lun, lun->bdev_name, lun->read_only);
	}
	list_each(l, &n->maps)
		save_map(array, n, list_entry(l, struct iscsi_map, link));
}

static void save_start(void *arg, struct json_object *array)
{
	const struct iscsi_portal_group *pg = arg;

	add_number(iscsi_save_call(array, "iscsi_start_portal_group"), "tag", pg->tag);
}

void iscsi_save(void *ctx, struct rpc_save *save)
{
	struct iscsi_target *t = ctx;

	if (t->options_set)
		add_options(iscsi_save_call(rpc_save_array(save), "iscsi_set_options"), &t->options);
	list_each(l, &t->auth_groups)
		rpc_save_object(save, list_entry(l, struct iscsi_auth_group, link)->stamp, save_auth_group,
		                list_entry(l, struct iscsi_auth_group, link));
	list_each(l, &t->portal_groups)
		rpc_save_object(save, list_entry(l, struct iscsi_portal_group, link)->stamp, save_portal_group,
		                list_entry(l, struct iscsi_portal_group, link));
	list_each(l, &t->initiator_groups)
		rpc_save_object(save, list_entry(l, struct iscsi_initiator_group, link)->stamp, save_initiator_group,
		                list_entry(l, struct iscsi_initiator_group, link));
	list_each(l, &t->nodes) {
		struct iscsi_node *n = list_entry(l, struct iscsi_node, link);

		if (!n->gone && !n->coming)
			rpc_save_object(save, node_saved_stamp(n), save_node, n);
	}
	list_each(l, &t->portal_groups) {
		struct iscsi_portal_group *pg = list_entry(l, struct iscsi_portal_group, link);

		if (pg->listening)
			save_start(pg, rpc_save_array(save));
	}
}

/* --- the table ----------------------------------------------------------------------------------------------- */

#define READS .flags = RPC_RUNTIME | RPC_READS
static const struct rpc_method methods[] = {
	RPC_METHOD_BARE("iscsi_get_options", handle_get_options, READS, .returns = "the options",
	                .doc = "Show the options of the iSCSI target."),
	RPC_METHOD_BARE("iscsi_get_auth_groups", handle_get_auth_groups, READS, .returns = "array of authentication groups",
	                .doc = "List the authentication groups and their users; secrets are not shown."),
	RPC_METHOD_BARE("iscsi_get_portal_groups", handle_get_portal_groups, READS, .returns = "array of portal groups",
	                .doc = "List the portal groups and their addresses."),
	RPC_METHOD_BARE("iscsi_get_initiator_groups", handle_get_initiator_groups, READS,
	                .returns = "array of initiator groups", .doc = "List the initiator groups."),
	RPC_METHOD("iscsi_get_target_nodes", struct get_nodes, get_nodes_params, handle_get_nodes, READS,
	           .returns = "array of target nodes", .doc = "List the target nodes, with their LUNs and maps."),
	RPC_METHOD_BARE("iscsi_get_connections", handle_get_connections, READS, .returns = "array of connections",
	                .doc = "List the hosts' connections; each is a session."),
	RPC_METHOD_BARE("iscsi_get_stats", handle_get_stats, READS, .returns = "numbers of connections by state",
	                .doc = "Count the hosts' connections."),
	RPC_METHOD_BARE("scsi_get_devices", handle_get_devices, READS, .returns = "array of SCSI devices",
	                .doc = "List the SCSI devices: each target node is one."),
};

void iscsi_get_rpc_add(struct rpc *rpc, struct iscsi_target *t)
{
	rpc_add_methods(rpc, methods, ARRAY_SIZE(methods), t);
}
