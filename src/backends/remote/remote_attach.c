/* SPDX-License-Identifier: BSD-3-Clause */
/* remote_attach.c: what a person orders: a path more, a path less. */
#include "backends/remote/remote_ctl.h"

#include <errno.h>
#include <stdio.h>

static int check_new_path(struct remote_group *g, const struct remote_attach_opts *o, struct err *e);

int remote_check_times(int32_t loss, uint32_t delay, uint32_t fast_fail, struct err *e)
{
	if (loss < -1)
		return err_set(e, ERR_BAD_PARAM, "ctrlr_loss_timeout_sec: %d is less than -1, which means never", loss);
	if (loss == 0 && (delay || fast_fail))
		return err_set(e, ERR_BAD_PARAM, "ctrlr_loss_timeout_sec: 0 means no second attempt: then "
		               "reconnect_delay_sec (%u) "
		               "and fast_io_fail_timeout_sec (%u) must be 0 too", delay, fast_fail);
	if (loss != 0 && delay == 0)
		return err_set(e, ERR_BAD_PARAM, "reconnect_delay_sec: 0 means no second attempt: then "
		               "ctrlr_loss_timeout_sec (%d) "
		               "must be 0 too", loss);
	if (loss > 0 && delay > (uint32_t)loss)
		return err_set(e, ERR_BAD_PARAM, "reconnect_delay_sec: %u is more than ctrlr_loss_timeout_sec (%d)",
		               delay, loss);
	if (fast_fail && fast_fail < delay)
		return err_set(e, ERR_BAD_PARAM, "fast_io_fail_timeout_sec: %u is less than reconnect_delay_sec "
		               "(%u)", fast_fail,
		               delay);
	if (loss > 0 && fast_fail > (uint32_t)loss)
		return err_set(e, ERR_BAD_PARAM, "fast_io_fail_timeout_sec: %u is more than ctrlr_loss_timeout_sec "
		               "(%d)", fast_fail,
		               loss);
	return 0;
}

static bool same_place(const struct nvme_path *a, const struct nvme_path *b)
{
	return strcasecmp(a->trtype, b->trtype) == 0 && strcmp(a->traddr, b->traddr) == 0 &&
	       strcmp(a->trsvcid, b->trsvcid) == 0 &&
	       strcmp(a->hostaddr, b->hostaddr) == 0 && strcmp(a->hostsvcid, b->hostsvcid) == 0;
}

static struct remote_path *first_path(const struct remote_group *g)
{
	for (uint32_t i = 0; i < REMOTE_PATHS_MAX; i++)
		if (g->paths[i] && !remote_path_going(g->paths[i]))
			return g->paths[i];
	return NULL;
}

static int check_place(const struct remote_group *g, const struct nvme_path *where, struct err *e)
{
	bool full = true;

	for (uint32_t i = 0; i < REMOTE_PATHS_MAX; i++) {
		const struct remote_path *p = g->paths[i];
		bool same;

		full &= p != NULL;
		if (!p || remote_path_going(p))
			continue;
		same = same_place(&p->where, where);
		for (uint32_t k = 0; k < p->ctl->alternate_count; k++)
			same |= same_place(&p->ctl->alternates[k], where);
		if (same)
			return err_set(e, -EALREADY, "a controller named %s already exists with the specified "
			               "network path (%s port %s)",
			               g->name, where->traddr, where->trsvcid);
	}
	if (full)
		return err_set(e, -ENOSPC, "name: %s has %u paths, which is the most there can be; detach one first",
		               g->name,
		               REMOTE_PATHS_MAX);
	return 0;
}

static int check_new_path(struct remote_group *g, const struct remote_attach_opts *o, struct err *e)
{
	const struct remote_path *first = first_path(g);

	if (g->leaving)
		return err_set(e, -EBUSY, "name: %s is being detached; try again when that is done", g->name);
	if (o->multipath == REMOTE_SINGLE)
		return err_set(e, -EALREADY, "a controller named %s already exists and multipath is disabled", g->name);
	if (strcmp(g->subnqn, o->where.subnqn) != 0)
		return err_set(e, -EINVAL, "a controller named %s already exists, but uses a different subnqn (%s)",
		               g->name,
		               g->subnqn);
	if (first && o->where.hostnqn[0] && strcmp(first->where.hostnqn, o->where.hostnqn) != 0)
		return err_set(e, -EINVAL, "a controller named %s already exists, but uses a different hostnqn (%s)",
		               g->name,
		               first->where.hostnqn);
	return check_place(g, &o->where, e);
}

static struct remote_group *group_for(struct remote *r, const struct remote_attach_opts *o)
{
	struct remote_group *g = remote_group_make(r, o->name, o->where.subnqn);

	g->discovered = o->discovered;
	g->prchk = o->path.prchk;
	if (o->policy_given) {
		g->policy_given = true;
		g->policy = o->policy;
		g->selector = o->selector;
		g->rr_min_io = o->rr_min_io;
	}
	return g;
}

struct remote_path *remote_attach(struct remote *r, const struct remote_attach_opts *o, struct err *e)
{
	struct remote_group *g = remote_group_find(r, o->name);
	struct nvme_path where = o->where;
	struct remote_path *p, *first;

	if (r->stopping) {
		err_set(e, -ESHUTDOWN, "the daemon is stopping");
		return NULL;
	}
	if (g && check_new_path(g, o, e) != 0)
		return NULL;
	if (!g)
		g = group_for(r, o);
	first = first_path(g);
	/* The target must see one host, on all paths. */
	if (first || !where.hostnqn[0])
		snprintf(where.hostnqn, sizeof(where.hostnqn), "%s", first ? first->where.hostnqn : r->hostnqn);
	if (first && o->multipath == REMOTE_FAILOVER) {
		remote_path_add_alternate(first, &where);
		return first;
	}
	p = remote_path_make(g, &where, &o->path, o->standing);
	remote_keys_take(&p->opts.host);
	p->ctl->multipath = (uint8_t)o->multipath;
	if (first)
		p->opts.host.hostid = first->opts.host.hostid;
	else if (uuid_is_null(&p->opts.host.hostid))
		p->opts.host.hostid = remote_hostid(&where);
	remote_path_begin(p);
	return p;
}

/* The host's identifier belongs to its name: what the name says when it is made of a UUID; else always the same for
 * the same name. */
struct uuid remote_hostid(const struct nvme_path *where)
{
	const char *at = strstr(where->hostnqn, ":uuid:");
	uint64_t h[2] = { 0xcbf29ce484222325ull, 0x9e3779b97f4a7c15ull };
	uint8_t bytes[16];
	struct uuid u;

	if (at && uuid_from_text(at + 6, &u))
		return u;
	for (uint32_t i = 0; i < 2; i++)
		for (const char *c = where->hostnqn; *c; c++)
			h[i] = (h[i] ^ (uint8_t)*c) * 0x100000001b3ull;
	memcpy(bytes, h, sizeof(bytes));
	return uuid_from_random(bytes);
}

/* --- detach -------------------------------------------------------------------------------------------------- */

static bool text_matches(const char *wanted, const char *is)
{
	return !wanted[0] || strcmp(wanted, is) == 0;
}

static bool matches(const struct remote_detach_opts *o, const struct nvme_path *where)
{
	const struct nvme_path *w = &o->where;

	return (!w->trtype[0] || strcasecmp(w->trtype, where->trtype) == 0) && text_matches(w->traddr, where->traddr) &&
	       text_matches(w->trsvcid, where->trsvcid) && text_matches(w->subnqn, where->subnqn) &&
	       text_matches(w->hostaddr, where->hostaddr) && text_matches(w->hostsvcid, where->hostsvcid) &&
	       (!o->has_adrfam || w->adrfam == where->adrfam);
}

/* Who waits for several paths to end. */
struct leaving {
	struct remote_path_wait wait;
	struct leaving *next;
	struct remote_wait *whole;
	uint32_t *left;
};

static void one_left(struct remote_path_wait *w, const struct err *e)
{
	struct leaving *l = container_of(w, struct leaving, wait);
	struct remote_wait *whole = l->whole;
	uint32_t *left = l->left;

	(void)e;
	free(l);
	if (--*left)
		return;
	free(left);
	if (whole)
		whole->done(whole);
}

static void drop_alternates(struct remote_path *p, const struct remote_detach_opts *o, uint32_t *found)
{
	for (uint32_t i = p->ctl->alternate_count; i-- > 0;) {
		if (!matches(o, &p->ctl->alternates[i]))
			continue;
		remote_path_remove_alternate(p, i);
		++*found;
	}
}

int remote_detach(struct remote *r, const struct remote_detach_opts *o, struct remote_wait *w, struct err *e)
{
	struct remote_group *g = remote_group_find(r, o->name);
	struct remote_path *going[REMOTE_PATHS_MAX];
	uint32_t count = 0, found = 0, *left;

	if (!g)
		return err_set(e, -ENODEV, "name: there is no NVMe controller '%s'; bdev_nvme_get_controllers lists "
		               "them", o->name);
	for (uint32_t i = 0; i < REMOTE_PATHS_MAX; i++) {
		struct remote_path *p = g->paths[i];

		if (!p || remote_path_going(p))
			continue;
		drop_alternates(p, o, &found);
		if (matches(o, &p->where) && p->ctl->alternate_count) {
			remote_path_drop_address(p);
			found++;
		} else if (matches(o, &p->where)) {
			going[count++] = p;
		}
	}
	if (!g->leaving && count == 0 && found == 0 && remote_group_path_count(g))
		return err_set(e, -ENODEV, "%s has no path like that; bdev_nvme_get_controllers lists its paths",
		               o->name);
	if (count == remote_group_path_count(g)) { /* all of them, or nothing was left of it anyway */
		remote_group_leave(g, w);
		return 0;
	}
	if (!count) {
		w->done(w);
		return 0;
	}
	left = base_zalloc(sizeof(*left));
	*left = count;
	for (uint32_t i = 0; i < count; i++) {
		struct leaving *l = base_zalloc(sizeof(*l));

		*l = (struct leaving){ .wait.done = one_left, .whole = w, .left = left };
		remote_path_leave(going[i], &l->wait);
	}
	return 0;
}
