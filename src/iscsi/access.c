/* SPDX-License-Identifier: BSD-3-Clause */
/* access.c: what the configuration says to logins: who may in, how he has to say who he is, what there is to see. */
#include <strings.h>

#include "base/text.h"
#include "iscsi/config_priv.h"
#include "iscsi/login.h"

/* --- who may ------------------------------------------------------------------------------------------------- */

/* Group by group: a name that is denied ends it, one that is allowed needs a netmask of the same group too. */
static bool map_allows(const struct iscsi_map *m, const char *initiator, const struct net_addr *peer)
{
	for (uint32_t i = 0; i < m->ig_count; i++) {
		const struct iscsi_initiator_group *g = m->igs[i];
		int says = iscsi_initiator_group_says(g, initiator);

		if (!says)
			return false;
		for (uint32_t k = 0; says > 0 && k < g->mask_count; k++)
			if (!peer || iscsi_netmask_has(&g->masks[k], peer))
				return true;
	}
	return false;
}

bool iscsi_node_allows(const struct iscsi_node *n, const struct iscsi_portal_group *pg, const char *initiator,
                       const struct net_addr *peer)
{
	const struct iscsi_map *m = iscsi_map_find(n, pg);

	return m && map_allows(m, initiator, peer);
}

/* --- login ----------------------------------------------------------------------------------------------------- */

void iscsi_options_params(const struct iscsi_options *o, struct iscsi_params *p)
{
	*p = ISCSI_PARAMS_OFFER;
	p->max_recv = o->max_recv_data_segment_length;
	p->max_burst = o->max_burst_length;
	p->first_burst = min_u32(o->first_burst_length, o->piece_bytes); /* what comes unasked has room */
	p->max_outstanding_r2t = (uint16_t)o->max_outstanding_r2t;
	p->time2wait = (uint16_t)o->default_time2wait;
	p->time2retain = (uint16_t)o->default_time2retain;
	p->initial_r2t = o->initial_r2t;
	p->immediate_data = o->immediate_data;
}

static const struct iscsi_chap_policy *policy_of(const struct iscsi_visitor *v, const struct iscsi_node *n)
{
	if (n)
		return &n->auth;
	return v->portal->group->has_auth ? &v->portal->group->auth : &v->target->options.discovery;
}

static uint8_t auth_of(struct iscsi_target *t, const struct iscsi_chap_policy *p)
{
	if (p->require_chap)
		return p->mutual_chap ? ISCSI_AUTH_MUTUAL : ISCSI_AUTH_CHAP;
	if (p->disable_chap || !iscsi_auth_group_find(t, p->chap_group)) /* nobody could authenticate */
		return ISCSI_AUTH_NONE;
	return ISCSI_AUTH_ALLOWED;
}

struct counting {
	const struct iscsi_login *login;
	uint32_t count;
};

/* Sessions; one that this login takes the place of does not count. */
static void count_session(void *arg, const struct iscsi_conn_info *i)
{
	struct counting *c = arg;
	bool same = !memcmp(i->isid, c->login->isid, sizeof(i->isid)) &&
	            !strcasecmp(i->initiator, c->login->initiator_name);

	if (i->phase != ISCSI_CONN_NORMAL)
		return;
	c->count += !same || i->node != c->login->node;
}

static uint16_t admit_normal(const struct iscsi_visitor *v, struct iscsi_login *l)
{
	struct iscsi_target *t = v->target;
	struct iscsi_node *n = iscsi_node_find(t, l->target_name);
	const struct iscsi_map *m = n ? iscsi_map_find(n, v->portal->group) : NULL;
	struct counting counting = { .login = l };
	struct text redirect = text_over(l->redirect, sizeof(l->redirect));

	if (!m)
		return ISCSI_LOGIN_NOT_FOUND;
	if (!map_allows(m, l->initiator_name, &v->peer))
		return ISCSI_LOGIN_NOT_AUTHORIZED;
	if (m->redirect_host[0]) {
		text_add(&redirect, "%s:%s", m->redirect_host, m->redirect_port);
		return ISCSI_LOGIN_MOVED_TEMPORARILY;
	}
	l->node = n;
	iscsi_conns_each(t, count_session, &counting);
	if (counting.count >= t->options.max_sessions)
		return ISCSI_LOGIN_OUT_OF_RESOURCES;
	l->need_header_digest = n->header_digest;
	l->need_data_digest = n->data_digest;
	l->window = iscsi_node_depth(n);
	text_pad(l->target_alias, sizeof(l->target_alias) - 1, n->alias, 0);
	return ISCSI_LOGIN_SUCCESS;
}

uint32_t iscsi_node_depth(const struct iscsi_node *n)
{
	uint32_t most = n->target->options.max_queue_depth;

	return n->queue_depth && n->queue_depth < most ? n->queue_depth : most;
}

static uint16_t admit(void *arg, struct iscsi_login *l)
{
	const struct iscsi_visitor *v = arg;
	struct iscsi_target *t = v->target;
	uint16_t status = ISCSI_LOGIN_SUCCESS;

	if (t->stopping || v->portal->group->gone)
		return ISCSI_LOGIN_UNAVAILABLE;
	iscsi_options_params(&t->options, &l->ours);
	l->node = NULL;
	if (l->session_type == ISCSI_NORMAL)
		status = admit_normal(v, l);
	l->auth = auth_of(t, policy_of(v, l->node));
	l->chap_algorithms = t->chap_algorithms;
	l->portal_group_tag = (uint16_t)v->portal->group->tag;
	return status;
}

static void put_bytes(uint8_t *to, size_t size, const char *from, uint32_t *ret_len)
{
	size_t len = from ? strlen(from) : 0;

	assert(len <= size);
	if (len)
		memcpy(to, from, len);
	*ret_len = (uint32_t)len;
}

static bool secret(void *arg, struct iscsi_login *l, const char *user, struct iscsi_login_secret *ret)
{
	const struct iscsi_visitor *v = arg;
	const struct iscsi_auth_group *g = iscsi_auth_group_find(v->target, policy_of(v, l->node)->chap_group);

	for (struct list *at = g ? g->secrets.next : NULL; g && at != &g->secrets; at = at->next) {
		const struct iscsi_chap_user *u = list_entry(at, struct iscsi_chap_user, link);

		if (strcmp(u->user, user))
			continue;
		put_bytes(ret->secret, sizeof(ret->secret), u->secret, &ret->len);
		put_bytes(ret->mutual_secret, sizeof(ret->mutual_secret), u->msecret, &ret->mutual_len);
		text_pad(ret->mutual_name, sizeof(ret->mutual_name) - 1, u->muser ? u->muser : "", 0);
		return true;
	}
	return false;
}

struct joining {
	const struct iscsi_visitor *visitor;
	struct iscsi_login *login;
	uint16_t status;
};

/* What holds for a session as a whole was agreed by its first login. */
static void take_session_params(struct iscsi_login *l, const struct iscsi_params *of)
{
	const struct iscsi_params fresh = l->params;

	l->params = *of;
	l->params.max_recv = fresh.max_recv;
	l->params.max_send = fresh.max_send;
	l->params.header_digest = fresh.header_digest;
	l->params.data_digest = fresh.data_digest;
}

static void join_session(void *arg, const struct iscsi_conn_info *i)
{
	struct joining *j = arg;
	struct iscsi_login *l = j->login;

	if (i->phase != ISCSI_CONN_NORMAL || i->tsih != l->tsih || i->node != l->node ||
	    i->pg != j->visitor->portal->group || memcmp(i->isid, l->isid, sizeof(i->isid)) ||
	    strcasecmp(i->initiator, l->initiator_name))
		return;
	j->status = ISCSI_LOGIN_TOO_MANY_CONNECTIONS;
	if (i->cid != l->cid)
		return;
	j->status = ISCSI_LOGIN_SUCCESS;
	take_session_params(l, i->params);
}

/* One connection is all that a session has: one of its CID takes its place (connection reinstatement), and ends its
 * tasks, as at error recovery level 0. */
static uint16_t join(void *arg, struct iscsi_login *l)
{
	struct joining j = { .visitor = arg, .login = l, .status = ISCSI_LOGIN_NO_SESSION };

	iscsi_conns_each(j.visitor->target, join_session, &j);
	return j.status;
}

const struct iscsi_login_ops iscsi_config_login_ops = { .admit = admit, .secret = secret, .join = join };

/* --- discovery --------------------------------------------------------------------------------------------------- */

static bool is_wildcard(const struct net_addr *a)
{
	if (net_addr_family(a) == NET_IPV4)
		return !a->v4.sin_addr.s_addr;
	return IN6_IS_ADDR_UNSPECIFIED(&a->v6.sin6_addr);
}

/* "192.0.2.1:3260,1", "[2001:db8::1]:3260,1". False: a wildcard of another family than the connection's. */
static bool address_of(const struct iscsi_portal *p, const struct net_addr *local, char *ret_text, size_t size)
{
	const struct net_addr *a = is_wildcard(&p->addr) ? local : &p->addr;
	struct text t = text_over(ret_text, size);
	char host[NET_ADDR_TEXT_MAX];

	if (net_addr_family(a) != net_addr_family(&p->addr))
		return false;
	net_addr_host_abroad(a, host);
	text_add(&t, net_addr_family(a) == NET_IPV6 ? "[%s]:%u,%u" : "%s:%u,%u", host, net_addr_port(&p->addr),
	         p->group->tag);
	return true;
}

/* The host's address counts only for the portal group that it speaks to: to others it may have other ones. */
static bool may_see(const struct iscsi_visitor *v, const struct iscsi_map *m, const char *initiator)
{
	if (m->pg->is_private || !m->pg->listening)
		return false;
	return map_allows(m, initiator, m->pg == v->portal->group ? &v->peer : NULL);
}

static void tell_node(const struct iscsi_visitor *v, const struct iscsi_node *n, const char *initiator,
                      struct iscsi_text_nego *nego)
{
	char address[NET_ADDR_TEXT_MAX + 16];
	bool named = false;

	list_each(l, &n->maps) {
		const struct iscsi_map *m = list_entry(l, struct iscsi_map, link);

		if (!may_see(v, m, initiator))
			continue;
		if (!named)
			iscsi_text_add(nego, "TargetName", n->name);
		named = true;
		list_each(at, &m->pg->portals)
			if (address_of(list_entry(at, struct iscsi_portal, link), &v->local, address, sizeof(address)))
				iscsi_text_add(nego, "TargetAddress", address);
	}
}

void iscsi_send_targets(const struct iscsi_visitor *v, const char *initiator, const char *which,
                        struct iscsi_text_nego *nego)
{
	list_each(l, &v->target->nodes) {
		const struct iscsi_node *n = list_entry(l, struct iscsi_node, link);

		if (!n->gone && !n->coming && (!strcasecmp(which, "All") || !strcasecmp(which, n->name)))
			tell_node(v, n, initiator, nego);
	}
}
