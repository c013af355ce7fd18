/* SPDX-License-Identifier: BSD-3-Clause */
/* maps.c: which initiators may use a node by which portal group; and how sessions go that may not any more.
 *
 * A node has one target port for each portal group that it is mapped to. A port goes after the last session that came
 * in by it; mapped again in the meantime, it stays.
 */
#include <errno.h>

#include "base/text.h"
#include "core/log.h"
#include "iscsi/config_priv.h"

/* --- what goes -------------------------------------------------------------------------------------------- */

struct iscsi_work *iscsi_work_make(struct iscsi_target *t, struct iscsi_change *c)
{
	struct iscsi_work *w = base_zalloc(sizeof(*w));

	w->target = t;
	w->change = c;
	list_init(&w->ports);
	t->work_out++;
	return w;
}

static void old_port_free(struct iscsi_old_port *o)
{
	list_del(&o->in_work);
	list_del(&o->in_node);
	iscsi_node_unref(o->node);
	free(o);
}

static void ports_go(struct iscsi_work *w)
{
	list_each_safe(l, &w->ports) {
		struct iscsi_old_port *o = list_entry(l, struct iscsi_old_port, in_work);
		struct err e = { 0 };

		if (!o->node->gone && scsi_target_remove_port(o->node->scsi, o->id, &e))
			log_warning("iscsi: %s: target port %u stays: %s", o->node->name, o->id, e.text);
		old_port_free(o);
	}
}

static void work_end(struct iscsi_work *w)
{
	struct iscsi_target *t = w->target;
	struct iscsi_change *c = w->change;

	if (w->pg)
		iscsi_portal_group_unref(w->pg);
	if (w->node)
		iscsi_node_unref(w->node);
	free(w);
	if (c)
		iscsi_change_end(c);
	iscsi_target_less(t);
}

static void node_freed(struct scsi_change *sc)
{
	struct iscsi_work *w = container_of(sc, struct iscsi_work, scsi);

	if (sc->err.code)
		log_error("iscsi: %s: %s", w->node->name, sc->err.text);
	w->node->scsi = NULL;
	work_end(w);
}

static void sessions_gone(struct iscsi_conns_end *end)
{
	struct iscsi_work *w = container_of(end, struct iscsi_work, end);

	ports_go(w);
	if (!w->node) {
		work_end(w);
		return;
	}
	w->scsi.done = node_freed;
	scsi_target_free(w->node->scsi, &w->scsi);
}

static bool may_not_stay(struct iscsi_conns_end *end, const struct iscsi_conn_info *i)
{
	(void)end;
	if (i->pg->gone)
		return true;
	return i->node && (i->node->gone || !iscsi_node_allows(i->node, i->pg, i->initiator, &i->peer));
}

void iscsi_work_run(struct iscsi_work *w)
{
	w->end.matches = may_not_stay;
	w->end.done = sessions_gone;
	iscsi_conns_end(w->target, &w->end);
}

/* --- maps ---------------------------------------------------------------------------------------------------- */

struct iscsi_map *iscsi_map_find(const struct iscsi_node *n, const struct iscsi_portal_group *pg)
{
	list_each(l, &n->maps)
		if (list_entry(l, struct iscsi_map, link)->pg == pg)
			return list_entry(l, struct iscsi_map, link);
	return NULL;
}

bool iscsi_node_is_mapped(const struct iscsi_node *n, uint32_t pg_tag)
{
	list_each(l, &n->maps)
		if (list_entry(l, struct iscsi_map, link)->pg->tag == pg_tag)
			return true;
	return false;
}

void iscsi_node_set_alua(struct iscsi_node *n, uint32_t pg_tag, uint8_t state)
{
	list_each(l, &n->maps)
		if (list_entry(l, struct iscsi_map, link)->pg->tag == pg_tag)
			list_entry(l, struct iscsi_map, link)->alua = state;
	iscsi_node_touch(n);
}

static uint32_t ig_at(const struct iscsi_map *m, const struct iscsi_initiator_group *ig)
{
	for (uint32_t i = 0; m && i < m->ig_count; i++)
		if (m->igs[i] == ig)
			return i;
	return UINT32_MAX;
}

static bool port_returns(struct iscsi_node *n, uint32_t id)
{
	list_each(l, &n->old_ports) {
		struct iscsi_old_port *o = list_entry(l, struct iscsi_old_port, in_node);

		if (o->id != id)
			continue;
		old_port_free(o);
		return true;
	}
	return false;
}

static int port_add(struct iscsi_node *n, uint32_t tag, struct err *e)
{
	char name[SCSI_PORT_NAME_MAX + 1];
	struct text t = text_over(name, sizeof(name));
	const struct scsi_port_opts opts = { .id = (uint16_t)tag, .group = (uint16_t)tag, .name = name };

	text_add(&t, "%s,t,0x%04x", n->name, tag);
	return port_returns(n, tag) ? 0 : scsi_target_add_port(n->scsi, &opts, e);
}

int iscsi_map_add(struct iscsi_node *n, const struct iscsi_map_pair *p, struct err *e)
{
	struct iscsi_portal_group *pg = iscsi_portal_group_find(n->target, p->pg_tag);
	struct iscsi_initiator_group *ig = iscsi_initiator_group_find(n->target, p->ig_tag);
	struct iscsi_map *m = pg ? iscsi_map_find(n, pg) : NULL;

	if (!pg)
		return err_set(e, -ENOENT, "pg_ig_maps: there is no portal group %u; make it with iscsi_create_portal_group "
		               "first", p->pg_tag);
	if (!ig)
		return err_set(e, -ENOENT, "pg_ig_maps: there is no initiator group %u; make it with "
		               "iscsi_create_initiator_group first", p->ig_tag);
	if (ig_at(m, ig) != UINT32_MAX)
		return err_set(e, -EEXIST, "pg_ig_maps: portal group %u is mapped to initiator group %u already; "
		               "leave that pair out", p->pg_tag, p->ig_tag);
	if (!m) {
		if (port_add(n, pg->tag, e))
			return e->code;
		m = base_zalloc(sizeof(*m));
		m->pg = pg;
		list_add_tail(&n->maps, &m->link);
	}
	m->igs = reallocarray(m->igs, m->ig_count + 1, sizeof(struct iscsi_initiator_group *));
	must(m->igs);
	m->igs[m->ig_count++] = ig;
	return 0;
}

static void map_free(struct iscsi_map *m)
{
	list_del(&m->link);
	free(m->igs);
	free(m);
}

static void port_leaves(struct iscsi_work *w, struct iscsi_node *n, uint32_t tag)
{
	struct iscsi_old_port *o = base_zalloc(sizeof(*o));

	o->node = n;
	o->id = (uint16_t)tag;
	iscsi_node_ref(n);
	list_add_tail(&w->ports, &o->in_work);
	list_add_tail(&n->old_ports, &o->in_node);
}

void iscsi_map_remove(struct iscsi_work *w, struct iscsi_node *n, const struct iscsi_portal_group *pg,
                      const struct iscsi_initiator_group *ig)
{
	list_each_safe(l, &n->maps) {
		struct iscsi_map *m = list_entry(l, struct iscsi_map, link);
		uint32_t at = ig_at(m, ig);

		if ((pg && m->pg != pg) || (ig && at == UINT32_MAX))
			continue;
		if (ig)
			memmove(&m->igs[at], &m->igs[at + 1], (--m->ig_count - at) * sizeof(struct iscsi_initiator_group *));
		iscsi_node_touch(n);
		if (ig && m->ig_count)
			continue;
		port_leaves(w, n, m->pg->tag);
		map_free(m);
	}
}

void iscsi_maps_free(struct iscsi_node *n)
{
	list_each_safe(l, &n->maps)
		map_free(list_entry(l, struct iscsi_map, link));
}
