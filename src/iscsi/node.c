/* SPDX-License-Identifier: BSD-3-Clause */
/* node.c: target nodes and their LUNs: each node is a SCSI device of the layer below. Control reactor. */
#include <errno.h>
#include <strings.h>

#include "base/text.h"
#include "core/log.h"
#include "iscsi/config_priv.h"

/* --- finding and counting -------------------------------------------------------------------------------- */

/* "disk1" is NODE_BASE:disk1, as with SPDK. */
static void full_name(const struct iscsi_target *t, const char *name, char *ret_name, size_t size)
{
	struct text text = text_over(ret_name, size);
	bool whole = !strncasecmp(name, "iqn.", 4) || !strncasecmp(name, "eui.", 4) || !strncasecmp(name, "naa.", 4);

	text_add(&text, whole ? "%s%s" : "%s:%s", whole ? "" : t->options.node_base, name);
}

static struct iscsi_node *find_any(struct iscsi_target *t, const char *name)
{
	char full[2 * ISCSI_NAME_MAX + 3];

	full_name(t, name, full, sizeof(full));
	list_each(l, &t->nodes)
		if (!strcasecmp(list_entry(l, struct iscsi_node, link)->name, full))
			return list_entry(l, struct iscsi_node, link);
	return NULL;
}

struct iscsi_node *iscsi_node_find(struct iscsi_target *t, const char *name)
{
	struct iscsi_node *n = find_any(t, name);

	return n && !n->gone && !n->coming ? n : NULL;
}

static struct iscsi_node *node_get(struct iscsi_target *t, const char *name, struct err *e)
{
	struct iscsi_node *n = iscsi_node_find(t, name);

	if (!n)
		err_set(e, -ENOENT, "name: there is no target node '%s'; iscsi_get_target_nodes lists them", name);
	return n;
}

void iscsi_node_ref(struct iscsi_node *n)
{
	n->refs++;
}

static void lun_free(struct iscsi_lun *l)
{
	list_del(&l->link);
	free(l->bdev_name);
	free(l);
}

void iscsi_node_unref(struct iscsi_node *n)
{
	struct iscsi_target *t = n->target;

	assert(n->refs > 0);
	if (--n->refs)
		return;
	assert(n->gone && !n->scsi);
	iscsi_maps_free(n);
	list_each_safe(l, &n->luns)
		lun_free(list_entry(l, struct iscsi_lun, link));
	list_del(&n->link);
	t->node_count--;
	free(n);
	iscsi_target_less(t);
}

void iscsi_node_touch(struct iscsi_node *n)
{
	n->stamp = ++n->target->stamps;
}

/* --- LUNs --------------------------------------------------------------------------------------------------- */

/* One LUN that is being opened, or closed. */
struct lun_work {
	struct scsi_change scsi;
	struct iscsi_node *node;
	struct iscsi_lun *lun;
	struct iscsi_change *change;
};

static struct iscsi_lun *lun_find(struct iscsi_node *n, uint32_t lun)
{
	list_each(l, &n->luns)
		if (list_entry(l, struct iscsi_lun, link)->lun == lun)
			return list_entry(l, struct iscsi_lun, link);
	return NULL;
}

/* -1, or the number of one that is free. */
static int lun_number(struct iscsi_node *n, int32_t wanted, uint32_t *ret_lun, struct err *e)
{
	uint32_t lun = wanted < 0 ? 0 : (uint32_t)wanted;
	const struct iscsi_lun *other;

	if (wanted < -1 || lun >= SCSI_LUNS_MAX)
		return err_set(e, ERR_BAD_PARAM, "lun_id: %d is no LUN; 0 to %u, or -1 for the first that is free", wanted,
		               SCSI_LUNS_MAX - 1);
	while (wanted < 0 && lun < SCSI_LUNS_MAX && lun_find(n, lun))
		lun++;
	if (lun == SCSI_LUNS_MAX)
		return err_set(e, -ENOSPC, "lun_id: target node '%s' has all its %u LUNs; take one away, or make another node",
		               n->name, SCSI_LUNS_MAX);
	other = lun_find(n, lun);
	if (other)
		return err_set(e, -EEXIST, "lun_id: LUN %u of '%s' is device '%s'; take another number, or -1 for the first "
		               "that is free", lun, n->name, other->bdev_name);
	*ret_lun = lun;
	return 0;
}

static void lun_work_end(struct lun_work *w)
{
	struct iscsi_target *t = w->node->target;
	struct iscsi_change *c = w->change;

	if (w->scsi.err.code)
		c->err = w->scsi.err;
	iscsi_node_touch(w->node);
	iscsi_node_unref(w->node);
	free(w);
	iscsi_change_end(c);
	iscsi_target_less(t);
}

static struct lun_work *lun_work_make(struct iscsi_node *n, struct iscsi_lun *l, struct iscsi_change *c)
{
	struct lun_work *w = base_zalloc(sizeof(*w));

	w->node = n;
	w->lun = l;
	w->change = c;
	iscsi_node_ref(n);
	n->target->work_out++;
	return w;
}

static void lun_added(struct scsi_change *sc)
{
	struct lun_work *w = container_of(sc, struct lun_work, scsi);

	w->lun->coming = false;
	w->change->lun = w->lun->lun;
	if (sc->err.code)
		lun_free(w->lun);
	lun_work_end(w);
}

static void lun_add(struct iscsi_node *n, const struct iscsi_lun_spec *spec, struct iscsi_change *c)
{
	struct scsi_lun_opts opts = { .bdev_name = spec->bdev_name, .read_only = spec->read_only };
	struct iscsi_lun *l, *after = NULL;
	struct lun_work *w;

	if (lun_number(n, spec->lun, &opts.lun, &c->err)) {
		iscsi_change_end(c);
		return;
	}
	l = base_zalloc(sizeof(*l));
	l->lun = opts.lun;
	l->bdev_name = base_strdup(spec->bdev_name);
	l->read_only = spec->read_only;
	l->coming = true;
	list_each(at, &n->luns)
		if (list_entry(at, struct iscsi_lun, link)->lun < l->lun)
			after = list_entry(at, struct iscsi_lun, link);
	list_insert(after ? &after->link : &n->luns, &l->link);
	w = lun_work_make(n, l, c);
	w->scsi.done = lun_added;
	scsi_target_add_lun(n->scsi, &opts, &w->scsi);
}

void iscsi_node_add_lun(struct iscsi_target *t, const char *name, const struct iscsi_lun_spec *spec,
                        struct iscsi_change *c)
{
	struct iscsi_node *n = node_get(t, name, &c->err);

	if (n)
		lun_add(n, spec, c);
	else
		iscsi_change_end(c);
}

static void lun_removed(struct scsi_change *sc)
{
	struct lun_work *w = container_of(sc, struct lun_work, scsi);

	lun_free(w->lun);
	lun_work_end(w);
}

void iscsi_node_remove_lun(struct iscsi_target *t, const char *name, uint32_t lun, struct iscsi_change *c)
{
	struct iscsi_node *n = node_get(t, name, &c->err);
	struct iscsi_lun *l = n ? lun_find(n, lun) : NULL;
	struct lun_work *w;

	if (n && (!l || l->coming || l->going))
		err_set(&c->err, !l ? -ENOENT : -EBUSY, "lun_id: LUN %u of '%s' %s", lun, n->name,
		        !l ? "does not exist; iscsi_get_target_nodes lists those there are" :
		             "is being added or taken away; try again");
	if (c->err.code) {
		iscsi_change_end(c);
		return;
	}
	l->going = true; /* and no more saved */
	iscsi_node_touch(n);
	w = lun_work_make(n, l, c);
	w->scsi.done = lun_removed;
	scsi_target_remove_lun(n->scsi, lun, &w->scsi);
}

/* By itself, with its device. */
static void lun_gone(void *arg, struct scsi_target *scsi, const struct scsi_lun_gone *g)
{
	struct iscsi_target *t = arg;

	list_each(at, &t->nodes) {
		struct iscsi_node *n = list_entry(at, struct iscsi_node, link);
		struct iscsi_lun *l = n->scsi == scsi ? lun_find(n, g->lun) : NULL;

		if (!l || l->coming || l->going) /* who adds or removes it hears of it */
			continue;
		log_notice("iscsi: LUN %u of %s goes with its device '%s'", g->lun, n->name, g->bdev_name);
		lun_free(l);
		iscsi_node_touch(n);
		if (g->returns && t->lun_gone && !n->gone && !n->coming && !t->stopping)
			t->lun_gone(t->lun_gone_arg, n, g);
		return;
	}
}

void iscsi_luns_follow(struct iscsi_target *t)
{
	scsi_on_lun_gone(t->scsi, lun_gone, t);
}

/* --- making a node ------------------------------------------------------------------------------------------- */

struct node_add {
	struct iscsi_node *node;
	struct iscsi_change *change, one; /* the caller's; of the LUN that is being added */
	struct iscsi_lun_spec *luns;
	uint32_t lun_count, at;
	bool stepping, again;
};

static int check_opts(struct iscsi_target *t, const struct iscsi_node_opts *o, char *ret_name, size_t size,
                      struct err *e)
{
	const struct iscsi_node *other;

	if (t->stopping)
		return err_set(e, -ESHUTDOWN, "the target stops");
	if (!*o->name)
		return err_set(e, ERR_BAD_PARAM, "name: it is empty; give a whole name, or what follows '%s:', such as disk1",
		               t->options.node_base);
	full_name(t, o->name, ret_name, size);
	if (iscsi_name_check("name", ret_name, e) || iscsi_auth_check(&o->auth, e))
		return e->code;
	other = find_any(t, ret_name);
	if (other)
		return err_set(e, other->gone ? -EBUSY : -EEXIST, other->gone ? "name: target node '%s' is being deleted; try "
		               "again" : "name: there is a target node '%s'; take another name", ret_name);
	if (o->alias && strlen(o->alias) > ISCSI_ALIAS_MAX)
		return err_set(e, ERR_BAD_PARAM, "alias_name: it is longer than %u bytes; shorten it", ISCSI_ALIAS_MAX);
	if (o->queue_depth > ISCSI_QUEUE_DEPTH_MAX)
		return err_set(e, ERR_BAD_PARAM, "queue_depth: %u is too much; 1 to %u, or 0 for max_queue_depth of "
		               "iscsi_set_options", o->queue_depth, ISCSI_QUEUE_DEPTH_MAX);
	if (t->node_count >= ISCSI_NODES_MAX)
		return err_set(e, -ENOSPC, "name: there are %u target nodes, and there can be no more", ISCSI_NODES_MAX);
	return 0;
}

static uint32_t free_id(struct iscsi_target *t)
{
	bool taken[ISCSI_NODES_MAX] = { false };
	uint32_t id = 0;

	list_each(l, &t->nodes)
		taken[list_entry(l, struct iscsi_node, link)->id] = true;
	while (taken[id]) /* there are fewer nodes than that */
		id++;
	return id;
}

static struct iscsi_node *node_make(struct iscsi_target *t, const char *name, const struct iscsi_node_opts *o,
                                    struct err *e)
{
	const struct scsi_target_opts scsi_opts = { .name = name, .protocol = SCSI_PROTOCOL_ISCSI };
	struct scsi_target *scsi = scsi_target_make(t->scsi, &scsi_opts, e);
	struct iscsi_node *n;

	if (!scsi)
		return NULL;
	n = base_zalloc(sizeof(*n));
	n->target = t;
	n->scsi = scsi;
	n->id = free_id(t);
	n->refs = 1;
	n->coming = true;
	n->queue_depth = o->queue_depth;
	n->auth = o->auth;
	n->header_digest = o->header_digest;
	n->data_digest = o->data_digest;
	text_pad(n->name, sizeof(n->name) - 1, name, 0);
	text_pad(n->alias, sizeof(n->alias) - 1, o->alias ? o->alias : "", 0);
	list_init(&n->maps);
	list_init(&n->luns);
	list_init(&n->old_ports);
	list_add_tail(&t->nodes, &n->link);
	t->node_count++;
	t->work_out++; /* until it is freed */
	iscsi_node_touch(n);
	return n;
}

/* Sessions, then the device below, then what is left of it. */
void iscsi_node_go(struct iscsi_node *n, struct iscsi_change *c)
{
	struct iscsi_work *w = iscsi_work_make(n->target, c);

	n->gone = true;
	w->node = n; /* the configuration's count */
	iscsi_work_run(w);
}

static bool shows(const struct iscsi_node *n, const char *bdev_name)
{
	list_each(l, &n->luns)
		if (!strcmp(list_entry(l, struct iscsi_lun, link)->bdev_name, bdev_name))
			return true;
	return false;
}

/* A LUN that was added may have gone with its device before the node is there. */
static void check_luns(struct node_add *a)
{
	for (uint32_t i = 0; i < a->at && !a->change->err.code; i++)
		if (!shows(a->node, a->luns[i].bdev_name))
			err_set(&a->change->err, -ENODEV, "luns[%u].bdev_name: device '%s' went away meanwhile", i,
			        a->luns[i].bdev_name);
}

static void add_end(struct node_add *a)
{
	struct iscsi_change *c = a->change;
	struct iscsi_node *n = a->node;
	struct iscsi_target *t = n->target;

	check_luns(a);
	n->coming = false;
	for (uint32_t i = 0; i < a->lun_count; i++)
		free((void *)(uintptr_t)a->luns[i].bdev_name);
	free(a->luns);
	free(a);
	if (c->err.code || t->stopping) {
		err_set(&c->err, -ESHUTDOWN, "the target stops");
		iscsi_node_go(n, c);
	} else {
		iscsi_node_touch(n);
		c->node = n;
		iscsi_change_end(c);
	}
	iscsi_target_less(t);
}

static void add_next(struct node_add *a);

static void lun_of_node_added(struct iscsi_change *one)
{
	struct node_add *a = container_of(one, struct node_add, one);

	if (one->err.code)
		err_set(&a->change->err, one->err.code, "luns[%u].%s", a->at - 1, one->err.text);
	if (a->stepping)
		a->again = true;
	else
		add_next(a);
}

static void add_next(struct node_add *a)
{
	a->stepping = true;
	do {
		a->again = false;
		if (a->change->err.code || a->at == a->lun_count || a->node->target->stopping) {
			add_end(a);
			return;
		}
		a->one = (struct iscsi_change){ .done = lun_of_node_added };
		lun_add(a->node, &a->luns[a->at++], &a->one);
	} while (a->again);
	a->stepping = false;
}

void iscsi_node_add(struct iscsi_target *t, const struct iscsi_node_opts *o, struct iscsi_change *c)
{
	char name[2 * ISCSI_NAME_MAX + 3];
	struct iscsi_node *n = NULL;
	struct node_add *a;

	if (!check_opts(t, o, name, sizeof(name), &c->err))
		n = node_make(t, name, o, &c->err);
	if (!n) {
		iscsi_change_end(c);
		return;
	}
	for (uint32_t i = 0; i < o->pair_count && !c->err.code; i++)
		if (iscsi_map_add(n, &o->pairs[i], &c->err))
			break;
	a = base_zalloc(sizeof(*a));
	a->node = n;
	a->change = c;
	a->luns = base_zalloc((o->lun_count + 1) * sizeof(*a->luns));
	for (; a->lun_count < o->lun_count; a->lun_count++) {
		a->luns[a->lun_count] = o->luns[a->lun_count];
		a->luns[a->lun_count].bdev_name = base_strdup(o->luns[a->lun_count].bdev_name);
	}
	t->work_out++;
	add_next(a);
}

void iscsi_node_remove(struct iscsi_target *t, const char *name, struct iscsi_change *c)
{
	struct iscsi_node *n = node_get(t, name, &c->err);

	if (n)
		iscsi_node_go(n, c);
	else
		iscsi_change_end(c);
}

/* --- what can be changed ------------------------------------------------------------------------------------- */

int iscsi_node_add_maps(struct iscsi_target *t, const char *name, const struct iscsi_map_pair *pairs, uint32_t count,
                        struct err *e)
{
	struct iscsi_node *n = node_get(t, name, e);
	struct iscsi_work *undo;
	uint32_t done = 0;

	while (n && done < count && !iscsi_map_add(n, &pairs[done], e))
		done++;
	if (!e->code) {
		iscsi_node_touch(n);
		return 0;
	}
	if (!done)
		return e->code;
	undo = iscsi_work_make(t, NULL);
	while (done--)
		iscsi_map_remove(undo, n, iscsi_portal_group_find(t, pairs[done].pg_tag),
		                 iscsi_initiator_group_find(t, pairs[done].ig_tag));
	iscsi_work_run(undo);
	return e->code;
}

static bool is_mapped(const struct iscsi_node *n, const struct iscsi_map_pair *p)
{
	list_each(l, &n->maps) {
		const struct iscsi_map *m = list_entry(l, struct iscsi_map, link);

		for (uint32_t i = 0; m->pg->tag == p->pg_tag && i < m->ig_count; i++)
			if (m->igs[i]->tag == p->ig_tag)
				return true;
	}
	return false;
}

void iscsi_node_remove_maps(struct iscsi_target *t, const char *name, const struct iscsi_map_pair *pairs,
                            uint32_t count, struct iscsi_change *c)
{
	struct iscsi_node *n = node_get(t, name, &c->err);
	struct iscsi_work *w;

	for (uint32_t i = 0; n && i < count; i++)
		if (!is_mapped(n, &pairs[i]))
			err_set(&c->err, -ENOENT, "pg_ig_maps: '%s' has no map of portal group %u and initiator group %u; "
			        "iscsi_get_target_nodes lists those it has", n->name, pairs[i].pg_tag, pairs[i].ig_tag);
	if (c->err.code) {
		iscsi_change_end(c);
		return;
	}
	w = iscsi_work_make(t, c);
	for (uint32_t i = 0; i < count; i++)
		iscsi_map_remove(w, n, iscsi_portal_group_find(t, pairs[i].pg_tag),
		                 iscsi_initiator_group_find(t, pairs[i].ig_tag));
	iscsi_work_run(w);
}

int iscsi_node_set_auth(struct iscsi_target *t, const char *name, const struct iscsi_chap_policy *a, struct err *e)
{
	struct iscsi_node *n = node_get(t, name, e);

	if (!n || iscsi_auth_check(a, e))
		return e->code;
	n->auth = *a;
	iscsi_node_touch(n);
	return 0;
}

static int check_redirect(struct iscsi_portal_group *pg, const struct iscsi_map *m, uint32_t tag, struct err *e)
{
	if (!pg)
		return err_set(e, -ENOENT, "pg_tag: there is no portal group %u; iscsi_get_portal_groups lists them", tag);
	if (pg->is_private)
		return err_set(e, ERR_BAD_PARAM, "pg_tag: portal group %u is private: hosts are redirected to such, not from "
		               "them; give a public one", tag);
	if (!m)
		return err_set(e, -ENOENT, "pg_tag: the target node is not mapped to portal group %u; "
		               "iscsi_get_target_nodes lists its maps", tag);
	return 0;
}

int iscsi_node_set_redirect(struct iscsi_target *t, const char *name, uint32_t pg_tag, const char *host,
                            const char *port, struct err *e)
{
	struct iscsi_node *n = node_get(t, name, e);
	struct iscsi_portal_group *pg = iscsi_portal_group_find(t, pg_tag);
	struct iscsi_map *m = n && pg ? iscsi_map_find(n, pg) : NULL;
	char new_host[ISCSI_HOST_MAX + 1] = "", new_port[8] = "";
	struct net_addr addr;

	if (!n || check_redirect(pg, m, pg_tag, e))
		return e->code;
	if (host && *host) {
		if (iscsi_portal_host("redirect_host", host, port && *port ? port : "3260", new_host, new_port, &addr, e))
			return e->code;
		list_each(l, &pg->portals)
			if (net_addr_equal(&list_entry(l, struct iscsi_portal, link)->addr, &addr))
				return err_set(e, ERR_BAD_PARAM, "redirect_host: %s:%s is of portal group %u itself; give one of a "
				               "private portal group", new_host, new_port, pg_tag);
	} else if (!host && port && *port) {
		return err_set(e, ERR_BAD_PARAM, "redirect_host: it was not given, but redirect_port was; give both, or "
		               "neither to redirect no more");
	}
	memcpy(m->redirect_host, new_host, sizeof(new_host));
	memcpy(m->redirect_port, new_port, sizeof(new_port));
	iscsi_node_touch(n);
	return 0;
}
