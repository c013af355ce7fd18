/* SPDX-License-Identifier: BSD-3-Clause */
/* portal.c: portal groups: the addresses at which nodes are served, and their listeners. Control reactor. */
#include <errno.h>
#include <strings.h>

#include "base/text.h"
#include "core/log.h"
#include "iscsi/config_priv.h"

struct iscsi_portal_group *iscsi_portal_group_find(struct iscsi_target *t, uint32_t tag)
{
	list_each(l, &t->portal_groups)
		if (list_entry(l, struct iscsi_portal_group, link)->tag == tag)
			return list_entry(l, struct iscsi_portal_group, link);
	return NULL;
}

static struct iscsi_portal_group *group_get(struct iscsi_target *t, uint32_t tag, struct err *e)
{
	struct iscsi_portal_group *pg = iscsi_portal_group_find(t, tag);

	if (!pg)
		err_set(e, -ENOENT, "tag: there is no portal group %u; iscsi_get_portal_groups lists them", tag);
	return pg;
}

/* --- counting ----------------------------------------------------------------------------------------- */

static void portals_free(struct iscsi_portal_group *pg)
{
	list_each_safe(l, &pg->portals) {
		list_del(l);
		free(list_entry(l, struct iscsi_portal, link));
	}
	free(pg);
}

void iscsi_portal_group_unref(struct iscsi_portal_group *pg)
{
	assert(pg->refs > 0);
	if (!--pg->refs)
		portals_free(pg);
}

void iscsi_portal_ref(struct iscsi_portal *p)
{
	p->group->refs++;
}

void iscsi_portal_unref(struct iscsi_portal *p)
{
	iscsi_portal_group_unref(p->group);
}

/* --- addresses ------------------------------------------------------------------------------------------ */

/* "*" and "[*]" are older words for all addresses. IPv6 is kept in brackets, as SPDK has it. */
int iscsi_portal_host(const char *field, const char *host, const char *port, char ret_host[static ISCSI_HOST_MAX + 1],
                      char ret_port[static 8], struct net_addr *ret_addr, struct err *e)
{
	const char *numeric = !strcmp(host, "*") ? "0.0.0.0" : !strcmp(host, "[*]") ? "::" : host;
	struct text h = text_over(ret_host, ISCSI_HOST_MAX + 1), p = text_over(ret_port, 8);
	struct err why = { 0 };
	char buf[NET_ADDR_TEXT_MAX];

	if (net_addr_parse(strchr(numeric, ':') ? NET_IPV6 : NET_IPV4, numeric, port, ret_addr, &why))
		return err_set(e, ERR_BAD_PARAM, "%s: '%.80s', port '%.20s': %.200s; IPv6 addresses are written as in "
		               "[2001:db8::1], and names are not looked up", field, host, port, why.text);
	text_add(&h, net_addr_family(ret_addr) == NET_IPV6 ? "[%s]" : "%s", net_addr_host(ret_addr, buf));
	text_add(&p, "%u", net_addr_port(ret_addr));
	return 0;
}

static struct iscsi_portal *portal_at(struct iscsi_target *t, const struct iscsi_portal_group *also,
                                      const struct net_addr *addr)
{
	list_each(g, &t->portal_groups)
		list_each(l, &list_entry(g, struct iscsi_portal_group, link)->portals)
			if (net_addr_equal(&list_entry(l, struct iscsi_portal, link)->addr, addr))
				return list_entry(l, struct iscsi_portal, link);
	list_each(l, &also->portals)
		if (net_addr_equal(&list_entry(l, struct iscsi_portal, link)->addr, addr))
			return list_entry(l, struct iscsi_portal, link);
	return NULL;
}

/* --- listening -------------------------------------------------------------------------------------------- */

static void accepted(void *arg, struct sock *s)
{
	iscsi_conn_accept(arg, s);
}

void iscsi_portal_group_unlisten(struct iscsi_portal_group *pg)
{
	list_each(l, &pg->portals) {
		struct iscsi_portal *p = list_entry(l, struct iscsi_portal, link);

		if (p->listener)
			listener_close(p->listener);
		p->listener = NULL;
	}
	pg->listening = false;
}

static int group_listen(struct iscsi_portal_group *pg, struct err *e)
{
	list_each(l, &pg->portals) {
		struct iscsi_portal *p = list_entry(l, struct iscsi_portal, link);
		struct err why = { 0 };

		p->listener = listener_open(&p->addr, 0, accepted, p, &why);
		if (!p->listener) {
			iscsi_portal_group_unlisten(pg);
			return err_set(e, why.code, "portals: %s:%s: %.300s", p->host, p->port, why.text);
		}
	}
	pg->listening = true;
	return 0;
}

/* --- groups ------------------------------------------------------------------------------------------------ */

static int portals_put(struct iscsi_target *t, struct iscsi_portal_group *pg, const struct iscsi_portal_spec *portals,
                       uint32_t count, struct err *e)
{
	for (uint32_t i = 0; i < count; i++) {
		struct iscsi_portal *p = base_zalloc(sizeof(*p));
		const struct iscsi_portal *other;

		p->group = pg;
		list_init(&p->link);
		if (iscsi_portal_host("portals", portals[i].host, portals[i].port, p->host, p->port, &p->addr, e)) {
			free(p);
			return e->code;
		}
		other = portal_at(t, pg, &p->addr);
		if (other) {
			err_set(e, -EEXIST, "portals: %s:%s belongs to portal group %u already; an address is in one group",
			        p->host, p->port, other->group->tag);
			free(p);
			return e->code;
		}
		list_add_tail(&pg->portals, &p->link);
	}
	return 0;
}

int iscsi_portal_group_add(struct iscsi_target *t, uint32_t tag, const struct iscsi_portal_spec *portals,
                           uint32_t count, bool is_private, bool wait, struct err *e)
{
	struct iscsi_portal_group *pg;

	if (t->stopping)
		return err_set(e, -ESHUTDOWN, "the target stops");
	if (!tag || tag > ISCSI_TAG_MAX)
		return err_set(e, ERR_BAD_PARAM, "tag: %u is no tag of a portal group; 1 to %u", tag, ISCSI_TAG_MAX);
	if (iscsi_portal_group_find(t, tag))
		return err_set(e, -EEXIST, "tag: there is a portal group %u; take another tag", tag);
	if (count > ISCSI_PORTALS_MAX)
		return err_set(e, ERR_BAD_PARAM, "portals: %u are too many for one group, which can have %u; make more groups",
		               count, ISCSI_PORTALS_MAX);
	pg = base_zalloc(sizeof(*pg));
	pg->target = t;
	pg->tag = tag;
	pg->is_private = is_private;
	pg->refs = 1;
	pg->stamp = ++t->stamps;
	list_init(&pg->portals);
	if (portals_put(t, pg, portals, count, e) || (!wait && group_listen(pg, e))) {
		iscsi_portal_group_unref(pg);
		return e->code;
	}
	list_add_tail(&t->portal_groups, &pg->link);
	return 0;
}

int iscsi_portal_group_start(struct iscsi_target *t, uint32_t tag, struct err *e)
{
	struct iscsi_portal_group *pg = group_get(t, tag, e);

	if (!pg)
		return e->code;
	if (pg->listening)
		return 0;
	pg->stamp = ++t->stamps;
	return group_listen(pg, e);
}

int iscsi_portal_group_set_auth(struct iscsi_target *t, uint32_t tag, const struct iscsi_chap_policy *a,
                                struct err *e)
{
	struct iscsi_portal_group *pg = group_get(t, tag, e);

	if (!pg || iscsi_auth_check(a, e))
		return e->code;
	pg->auth = *a;
	pg->has_auth = true;
	pg->stamp = ++t->stamps;
	return 0;
}

/* Its maps go with it, as with SPDK. */
void iscsi_portal_group_remove(struct iscsi_target *t, uint32_t tag, struct iscsi_change *c)
{
	struct iscsi_portal_group *pg = group_get(t, tag, &c->err);
	struct iscsi_work *w;

	if (!pg) {
		iscsi_change_end(c);
		return;
	}
	iscsi_portal_group_unlisten(pg);
	pg->gone = true;
	w = iscsi_work_make(t, c);
	w->pg = pg;
	list_each(l, &t->nodes)
		iscsi_map_remove(w, list_entry(l, struct iscsi_node, link), pg, NULL);
	list_del(&pg->link);
	iscsi_work_run(w);
}
