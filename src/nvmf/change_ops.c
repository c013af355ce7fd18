/* SPDX-License-Identifier: BSD-3-Clause */
/* change_ops.c: every kind of change of transports, subsystems and namespaces: how it edits the next version, and its
 * steps. Hosts and listeners are in change_access.c, referrals in change_referral.c, static controllers in static.c. */
#include <ctype.h>

#include "nvmf/change.h"

#define DEFAULT_SERIAL "00000000000000000000"
#define DEFAULT_MODEL "Gantry bdev Controller"
#define DEFAULT_NAMESPACES 32u

/* --- checks of what people give ------------------------------------------------------------------------- */

static bool digits(const char *s, int n)
{
	for (int i = 0; i < n; i++)
		if (!isdigit((unsigned char)s[i]))
			return false;
	return true;
}

/* "nqn.2016-06.io.example:anything": a date, a reversed domain, a colon, a name. */
int nvmf_check_nqn(const char *field, const char *nqn, bool needs_name, struct err *e)
{
	size_t len = strlen(nqn);
	struct uuid u;

	if (len > NVMF_NQN_MAX)
		return err_set(e, ERR_BAD_PARAM, "%s: '%.32s...' is longer than an NQN can be, %d characters", field, nqn,
		               NVMF_NQN_MAX);
	if (text_starts_with(nqn, NVME_NQN_UUID_PREFIX) && !uuid_from_text(nqn + strlen(NVME_NQN_UUID_PREFIX), &u))
		return err_set(e, ERR_BAD_PARAM, "%s: '%s' does not end in a UUID, as names after '%s' must", field, nqn,
		               NVME_NQN_UUID_PREFIX);
	if (len < 12 || !text_starts_with(nqn, "nqn.") || !digits(nqn + 4, 4) || nqn[8] != '-' || !digits(nqn + 9, 2) ||
	    nqn[11] != '.' || (needs_name && (!strchr(nqn, ':') || !strchr(nqn, ':')[1])))
		return err_set(e, ERR_BAD_PARAM, "%s: '%s' is not an NQN; it must look like nqn.2016-06.io.example:name", field,
		               nqn);
	for (const char *p = nqn; *p; p++)
		if ((unsigned char)*p < 0x20)
			return err_set(e, ERR_BAD_PARAM, "%s: an NQN has no control characters", field);
	return 0;
}

static int check_id_text(const char *field, const char *text, size_t max, struct err *e)
{
	if (strlen(text) > max)
		return err_set(e, ERR_BAD_PARAM, "%s: '%s' is longer than %zu characters", field, text, max);
	for (const char *p = text; *p; p++)
		if (*p < 0x20 || *p > 0x7e)
			return err_set(e, ERR_BAD_PARAM, "%s: only printable ASCII characters are allowed", field);
	return 0;
}

static int check_transport_opts(const struct nvmf_transport_opts *o, struct err *e)
{
	/* One page cannot be told: an MDTS of 0 means that there is no limit. */
	if (o->max_io_size < 2 * MEM_SMALL_BYTES || o->max_io_size > MEM_IO_BYTES_MAX || o->max_io_size % MEM_SMALL_BYTES)
		return err_set(e, ERR_BAD_PARAM, "max_io_size: %u is not a multiple of %u from %u to %u", o->max_io_size,
		               MEM_SMALL_BYTES, 2 * MEM_SMALL_BYTES, MEM_IO_BYTES_MAX);
	if (o->in_capsule_data_size > o->max_io_size || o->in_capsule_data_size % 16)
		return err_set(e, ERR_BAD_PARAM, "in_capsule_data_size: %u is not a multiple of 16 up to max_io_size, %u",
		               o->in_capsule_data_size, o->max_io_size);
	if (o->max_queue_depth < 2 || o->max_aq_depth < 2)
		return err_set(e, ERR_BAD_PARAM, "%s: a queue has at least 2 entries",
		               o->max_queue_depth < 2 ? "max_queue_depth" : "max_aq_depth");
	return 0;
}

/* --- transports ---------------------------------------------------------------------------------------------- */

static enum seq_result make_transport(struct seq *s)
{
	struct nvmf_work *w = container_of(s, struct nvmf_work, seq);
	struct nvmf_target *t = w->target;
	struct nvmf_transport *tr;

	if (nvmf_target_transport(t, w->ops->name)) {
		err_set(&s->err, -EEXIST, "trtype: transport '%s' exists already", w->ops->name);
		return SEQ_FAILED;
	}
	if (check_transport_opts(&w->tr_opts, &s->err))
		return SEQ_FAILED;
	tr = t->stopping ? NULL : w->ops->make(t, &w->tr_opts, &s->err);
	if (!tr)
		return SEQ_FAILED;
	tr->ops = w->ops;
	tr->target = t;
	list_add_tail(&t->transports, &tr->link);
	return SEQ_NEXT;
}

static const struct seq_step add_transport_steps[] = {
	{ "make the transport", make_transport, NULL },
};

void nvmf_add_transport(struct nvmf_change *c, const struct nvmf_transport_ops *ops,
                        const struct nvmf_transport_opts *opts)
{
	struct nvmf_work *w = nvmf_work_make(c, "create transport", add_transport_steps, ARRAY_SIZE(add_transport_steps));

	w->ops = ops;
	w->tr_opts = *opts;
	nvmf_work_start(w);
}

/* From here on nobody finds it. */
static enum seq_result unlist_transport(struct seq *s)
{
	struct nvmf_work *w = container_of(s, struct nvmf_work, seq);
	struct nvmf_transport *tr = nvmf_target_transport(w->target, w->trtype);
	char text[NET_ADDR_TEXT_MAX];

	if (!tr || w->target->stopping) {
		err_set(&s->err, -ENOENT, "trtype: there is no transport '%s'; nvmf_get_transports lists those there are",
		        w->trtype);
		return SEQ_FAILED;
	}
	list_each(l, &w->target->portals) {
		const struct nvmf_portal *p = list_entry(l, const struct nvmf_portal, link);

		if (p->transport != tr)
			continue;
		err_set(&s->err, -EBUSY, "trtype: subsystems listen on it, at %s; remove their listeners first",
		        net_addr_text(&p->addr, text));
		return SEQ_FAILED;
	}
	list_del(&tr->link);
	w->transport = tr;
	nvmf_work_turn_over(w);
	return SEQ_NEXT;
}

static void transport_left(void *arg)
{
	struct nvmf_work *w = arg;

	w->transport->left = NULL;
	seq_resume(&w->seq, 0);
}

static enum seq_result stop_transport(struct seq *s)
{
	struct nvmf_work *w = container_of(s, struct nvmf_work, seq);

	w->transport->ops->stop(w->transport, transport_left, w);
	return SEQ_WAIT;
}

static enum seq_result wait_transport(struct seq *s)
{
	struct nvmf_work *w = container_of(s, struct nvmf_work, seq);

	if (!w->transport->ctrlrs)
		return SEQ_NEXT;
	w->transport->left = transport_left;
	w->transport->left_arg = w;
	return SEQ_WAIT;
}

static enum seq_result free_transport(struct seq *s)
{
	struct nvmf_work *w = container_of(s, struct nvmf_work, seq);

	w->transport->ops->free(w->transport);
	return SEQ_NEXT;
}

static const struct seq_step remove_transport_steps[] = {
	{ "take it off the list",   unlist_transport, NULL },
	{ "close its connections",  stop_transport,   NULL },
	{ "wait for controllers",   wait_transport,   NULL },
	{ "free it",                free_transport,   NULL },
};

void nvmf_remove_transport(struct nvmf_change *c, const char *trtype)
{
	struct nvmf_work *w = nvmf_work_make(c, "delete transport", remove_transport_steps,
	                                     ARRAY_SIZE(remove_transport_steps));

	nvmf_work_text(w->trtype, sizeof(w->trtype), trtype);
	nvmf_work_start(w);
}

/* --- subsystems --------------------------------------------------------------------------------------------------- */

static int fill_subsystem(struct nvmf_subsystem *s, const struct nvmf_work *w)
{
	const struct nvmf_subsystem_opts *o = &w->sub_opts;

	nvmf_work_text(s->nqn, sizeof(s->nqn), w->nqn);
	nvmf_work_text(s->serial, sizeof(s->serial), w->serial);
	nvmf_work_text(s->model, sizeof(s->model), w->model);
	s->allow_any_host = o->allow_any_host;
	s->ana_reporting = o->ana_reporting;
	s->nssr = o->enable_nssr;
	s->is_static = o->is_static;
	s->min_cntlid = o->min_cntlid ? o->min_cntlid : 1;
	s->max_cntlid = o->max_cntlid ? o->max_cntlid : NVME_CNTLID_MAX;
	s->wzsl = (uint8_t)min_u32(o->wzsl ? o->wzsl : UINT8_MAX, NVMF_NODATA_SHIFT - 12);
	s->dmrsl = o->dmrsl;
	nvmf_work_text(s->admin_label, sizeof(s->admin_label), w->label);
	s->ns_max = o->discovery ? 0 : o->max_namespaces ? o->max_namespaces : DEFAULT_NAMESPACES;
	s->ns = base_zalloc(s->ns_max * sizeof(*s->ns));
	s->ns_changed = base_zalloc(s->ns_max * sizeof(*s->ns_changed));
	s->ns_group = base_zalloc(s->ns_max * sizeof(*s->ns_group));
	s->ns_hosts = base_zalloc(s->ns_max * sizeof(struct nvmf_ns_hosts *));
	return 0;
}

static int build_add_subsystem(struct nvmf_work *w, struct err *e)
{
	const struct nvmf_subsystem_opts *o = &w->sub_opts;
	uint16_t min = o->min_cntlid ? o->min_cntlid : 1, max = o->max_cntlid ? o->max_cntlid : NVME_CNTLID_MAX;
	struct nvmf_subsystem *s;
	int rc = nvmf_check_nqn("nqn", w->nqn, true, e);

	rc = rc ? rc : check_id_text("serial_number", w->serial, NVMF_SERIAL_SIZE, e);
	rc = rc ? rc : check_id_text("model_number", w->model, NVMF_MODEL_SIZE, e);
	rc = rc ? rc : check_id_text("admin_label", w->label, NVMF_ADMIN_LABEL_MAX, e);
	if (!rc && w->label[0] && strlen(w->label) < NVMF_ADMIN_LABEL_MIN)
		rc = err_set(e, ERR_BAD_PARAM, "admin_label: '%s' is shorter than %d characters", w->label,
		             NVMF_ADMIN_LABEL_MIN);
	if (rc)
		return rc;
	if (nvmf_config_find(w->next, w->nqn))
		return err_set(e, -EEXIST, "nqn: subsystem '%s' exists already", w->nqn);
	if (min > max || max > NVME_CNTLID_MAX)
		return err_set(e, ERR_BAD_PARAM, "min_cntlid, max_cntlid: %u to %u is not a range within 1 to %u", min, max,
		               NVME_CNTLID_MAX);
	if (o->is_static && o->discovery)
		return err_set(e, ERR_BAD_PARAM, "controller_model: controllers of a discovery service are dynamic");
	if (o->is_static && (!o->max_cntlid || max - min >= (int)NVMF_STATICS_MAX))
		return err_set(e, ERR_BAD_PARAM, "max_cntlid: min_cntlid to max_cntlid are the static controllers that there "
		               "are, at most %u; give both", NVMF_STATICS_MAX);
	if (o->max_namespaces > NVMF_NSID_LIMIT)
		return err_set(e, ERR_BAD_PARAM, "max_namespaces: %u is more than %u", o->max_namespaces, NVMF_NSID_LIMIT);
	s = nvmf_config_add_subsystem(w->next, o->discovery);
	if (!s)
		return err_set(e, -ENOSPC, "nqn: there are %u subsystems already, the discovery subsystem included, which "
		               "is the most there can be", min_u32(NVMF_SUBSYSTEMS_MAX, w->target->subsystems_max));
	w->next->genctr++;
	return fill_subsystem(s, w);
}

void nvmf_add_subsystem(struct nvmf_change *c, const struct nvmf_subsystem_opts *opts)
{
	struct nvmf_work *w = nvmf_work_make(c, "create subsystem", nvmf_tell_steps, NVMF_TELL_STEPS);

	nvmf_work_text(w->nqn, sizeof(w->nqn), opts->nqn);
	nvmf_work_text(w->serial, sizeof(w->serial), opts->serial_number ? opts->serial_number : DEFAULT_SERIAL);
	nvmf_work_text(w->model, sizeof(w->model), opts->model_number ? opts->model_number : DEFAULT_MODEL);
	nvmf_work_text(w->label, sizeof(w->label), opts->admin_label);
	w->sub_opts = *opts;
	w->build = build_add_subsystem;
	nvmf_work_start(w);
}

static int build_remove_subsystem(struct nvmf_work *w, struct err *e)
{
	struct nvmf_subsystem *s = nvmf_config_find(w->next, w->nqn);

	if (!s || s->id == NVMF_DISCOVERY_ID)
		return err_set(e, -ENOENT, s ? "nqn: the discovery subsystem '%s' cannot be deleted"
		                             : "nqn: there is no subsystem '%s'; nvmf_get_subsystems lists those that exist",
		               w->nqn);
	nvmf_work_set_roster(w, s->roster);
	for (uint32_t i = 0; i < s->ns_max; i++)
		if (s->ns[i])
			nvmf_work_add_ns(w, s->ns[i]);
	for (uint32_t i = 0; i < s->listener_count; i++)
		nvmf_work_add_listener(w, &s->listeners[i]);
	nvmf_config_remove_subsystem(w->next, s->id);
	w->next->genctr++;
	return 0;
}

static const struct seq_step remove_subsystem_steps[] = {
	{ "build the next version",      nvmf_step_build,      nvmf_undo_build },
	{ "publish",                     nvmf_step_publish,    NULL },
	{ "stop listening",              nvmf_step_unlisten,   NULL },
	{ "tell hosts",                  nvmf_step_tell,       NULL },
	{ "disconnect its controllers",  nvmf_step_disconnect, NULL },
	{ "wait for its namespaces",     nvmf_step_wait_ns,    NULL },
};

void nvmf_remove_subsystem(struct nvmf_change *c, const char *nqn)
{
	struct nvmf_work *w = nvmf_work_make(c, "delete subsystem", remove_subsystem_steps,
	                                     ARRAY_SIZE(remove_subsystem_steps));

	nvmf_work_text(w->nqn, sizeof(w->nqn), nqn);
	w->build = build_remove_subsystem;
	nvmf_work_start(w);
}

/* --- namespaces ---------------------------------------------------------------------------------- */

static enum seq_result open_ns(struct seq *s)
{
	struct nvmf_work *w = container_of(s, struct nvmf_work, seq);
	struct nvmf_ns *ns;

	ns = nvmf_ns_open(w->target, w->nqn, &w->ns_opts, &s->err);
	if (!ns)
		return SEQ_FAILED;
	nvmf_work_add_ns(w, ns); /* given back when the work is over */
	bdev_served_unref(&ns->dev);
	return SEQ_NEXT;
}

static uint32_t free_nsid(const struct nvmf_subsystem *s)
{
	for (uint32_t i = 0; i < s->ns_max; i++)
		if (!s->ns[i])
			return i + 1;
	return 0;
}

/* Hidden from all hosts but those that were named. */
static int hide_ns(struct nvmf_work *w, struct nvmf_subsystem *s, struct err *e)
{
	const struct nvmf_ns_opts *o = &w->ns_opts;

	if (!o->no_auto_visible)
		return o->host_count ? err_set(e, ERR_BAD_PARAM, "hosts: every host sees the namespace; give no_auto_visible, "
		                               "too") : 0;
	if (o->host_count > NVMF_HOSTS_MAX)
		return err_set(e, ERR_BAD_PARAM, "hosts: there are more than %u", NVMF_HOSTS_MAX);
	nvmf_subsystem_hide_ns(s, w->nsid);
	for (uint32_t i = 0; i < o->host_count; i++) {
		if (nvmf_check_nqn("hosts", o->hosts[i], false, e))
			return e->code;
		if (nvmf_ns_hosts_at(s->ns_hosts[w->nsid - 1], o->hosts[i]) < 0)
			nvmf_subsystem_show_ns(s, w->nsid, o->hosts[i]);
	}
	return 0;
}

static int build_add_ns(struct nvmf_work *w, struct err *e)
{
	struct nvmf_subsystem *s = nvmf_work_edit(w, e);
	uint32_t nsid = w->ns_opts.nsid;

	if (!s)
		return e->code;
	if (s->discovery)
		return err_set(e, ERR_BAD_PARAM, "nqn: a discovery subsystem has no namespaces");
	if (nsid > s->ns_max)
		return err_set(e, ERR_BAD_PARAM, "nsid: %u is beyond max_namespaces of '%s', which is %u", nsid, w->nqn,
		               s->ns_max);
	if (w->ns_opts.anagrpid > s->ns_max)
		return err_set(e, ERR_BAD_PARAM, "anagrpid: %u is beyond max_namespaces of '%s', which is %u",
		               w->ns_opts.anagrpid, w->nqn, s->ns_max);
	if (nsid && s->ns[nsid - 1])
		return err_set(e, -EEXIST, "nsid: %u is in use in '%s' for device '%s'", nsid, w->nqn,
		               s->ns[nsid - 1]->dev.bdev_name);
	nsid = nsid ? nsid : free_nsid(s);
	if (!nsid)
		return err_set(e, -ENOSPC, "nqn: '%s' has max_namespaces (%u) namespaces already", w->nqn, s->ns_max);
	w->nsid = w->ns[0]->nsid = nsid;
	s->ns_group[nsid - 1] = w->ns_opts.anagrpid ? w->ns_opts.anagrpid : nsid;
	nvmf_subsystem_set_ns(w->next, s, nsid, w->ns[0]);
	return hide_ns(w, s, e);
}

/* A device that goes meanwhile takes its namespace along, in a turn that follows: there is nothing to undo, but who
 * added it must not believe in it. */
static enum seq_result check_ns_stays(struct seq *s)
{
	struct nvmf_ns *ns = container_of(s, struct nvmf_work, seq)->ns[0];

	if (ns->dev.gone_told)
		err_set(&s->err, -ENODEV, "bdev_name: device '%s' went away meanwhile", ns->dev.bdev_name);
	ns->added = !ns->dev.gone_told;
	return SEQ_NEXT;
}

static const struct seq_step add_ns_steps[] = {
	{ "open the device",         open_ns,                   NULL },
	{ "build the next version",  nvmf_step_build,           nvmf_undo_build },
	{ "open channels",           nvmf_step_open_channels,   nvmf_step_let_go_channels },
	{ "check channels",          nvmf_step_check_channels,  NULL },
	{ "publish",                 nvmf_step_publish,         NULL },
	{ "leave channels to the version", nvmf_step_let_go_channels, NULL },
	{ "tell hosts",              nvmf_step_tell,            NULL },
	{ "look whether it stays",   check_ns_stays,            NULL },
};

void nvmf_add_ns(struct nvmf_change *c, const char *nqn, const struct nvmf_ns_opts *opts)
{
	struct nvmf_work *w = nvmf_work_make(c, "add namespace", add_ns_steps, ARRAY_SIZE(add_ns_steps));

	nvmf_work_text(w->nqn, sizeof(w->nqn), nqn);
	w->ns_opts = *opts;
	nvmf_work_text(w->bdev_name, sizeof(w->bdev_name), opts->bdev_name);
	w->ns_opts.bdev_name = w->bdev_name;
	w->build = build_add_ns;
	nvmf_work_start(w);
}

static int build_remove_ns(struct nvmf_work *w, struct err *e)
{
	struct nvmf_subsystem *s = nvmf_work_edit(w, e);
	struct nvmf_ns *ns;

	if (!s)
		return e->code;
	ns = w->nsid && w->nsid <= s->ns_max ? s->ns[w->nsid - 1] : NULL;
	if (!ns || (w->which && ns != w->which))
		return err_set(e, -ENOENT, "nsid: there is no namespace %u in '%s'", w->nsid, w->nqn);
	nvmf_work_add_ns(w, ns);
	if (w->which && ns->added && bdev_returns(ns->dev.desc) && w->target->ns_gone)
		w->target->ns_gone(w->target->ns_gone_arg, s, ns); /* as it is still; publishing follows at once */
	nvmf_subsystem_set_ns(w->next, s, w->nsid, NULL);
	return 0;
}

static const struct seq_step remove_ns_steps[] = {
	{ "build the next version",     nvmf_step_build,   nvmf_undo_build },
	{ "publish",                    nvmf_step_publish, NULL },
	{ "tell hosts",                 nvmf_step_tell,    NULL },
	{ "wait for its last commands", nvmf_step_wait_ns, NULL },
};

static struct nvmf_work *remove_ns_work(struct nvmf_change *c, const char *nqn, uint32_t nsid)
{
	struct nvmf_work *w = nvmf_work_make(c, "remove namespace", remove_ns_steps, ARRAY_SIZE(remove_ns_steps));

	nvmf_work_text(w->nqn, sizeof(w->nqn), nqn);
	w->nsid = nsid;
	w->build = build_remove_ns;
	return w;
}

void nvmf_remove_ns(struct nvmf_change *c, const char *nqn, uint32_t nsid)
{
	nvmf_work_start(remove_ns_work(c, nqn, nsid));
}

static int build_protect_ns(struct nvmf_work *w, struct err *e)
{
	struct nvmf_subsystem *s = nvmf_work_edit(w, e);
	struct nvmf_ns *ns;

	if (!s)
		return e->code;
	ns = w->nsid && w->nsid <= s->ns_max ? s->ns[w->nsid - 1] : NULL;
	if (!ns)
		return err_set(e, -ENOENT, "nsid: there is no namespace %u in '%s'", w->nsid, w->nqn);
	atomic_store(&ns->protected, w->allow);
	nvmf_subsystem_set_ns(w->next, s, w->nsid, ns);
	return 0;
}

void nvmf_protect_ns(struct nvmf_change *c, const char *nqn, uint32_t nsid, bool on)
{
	struct nvmf_work *w = nvmf_work_make(c, "protect namespace", nvmf_tell_steps, NVMF_TELL_STEPS);

	nvmf_work_text(w->nqn, sizeof(w->nqn), nqn);
	w->nsid = nsid;
	w->allow = on;
	w->build = build_protect_ns;
	nvmf_work_start(w);
}

void nvmf_on_host_change(struct nvmf_target *t, void (*fn)(void *arg), void *arg)
{
	t->host_changed = fn;
	t->host_changed_arg = arg;
}

/* --- what devices report: changes that nobody asked for ------------------------------------------ */

static void own_change_done(struct nvmf_change *c)
{
	free(c);
}

static struct nvmf_change *own_change(struct nvmf_target *t)
{
	struct nvmf_change *c = base_zalloc(sizeof(*c));

	c->target = t;
	c->done = own_change_done;
	return c;
}

void nvmf_on_ns_gone(struct nvmf_target *t,
                     void (*fn)(void *arg, const struct nvmf_subsystem *s, const struct nvmf_ns *ns), void *arg)
{
	t->ns_gone = fn;
	t->ns_gone_arg = arg;
}

void nvmf_change_ns_gone(struct nvmf_ns *ns)
{
	struct nvmf_work *w;

	if (ns->dev.gone_told)
		return;
	ns->dev.gone_told = true;
	ns->target->ns_going++;
	log_notice("device '%s' goes away: removing namespace %u of %s", ns->dev.bdev_name, ns->nsid, ns->nqn);
	w = remove_ns_work(own_change(ns->target), ns->nqn, ns->nsid);
	w->which = ns;
	bdev_served_ref(&ns->dev);
	nvmf_work_start(w);
}

static int build_ns_resized(struct nvmf_work *w, struct err *e)
{
	struct nvmf_subsystem *s = nvmf_work_edit(w, e);

	if (!s)
		return e->code;
	if (w->nsid > s->ns_max || s->ns[w->nsid - 1] != w->which)
		return err_set(e, -ENOENT, "nsid: namespace %u of '%s' has gone", w->nsid, w->nqn);
	nvmf_subsystem_set_ns(w->next, s, w->nsid, w->which);
	return 0;
}

void nvmf_change_ns_resized(struct nvmf_ns *ns)
{
	struct nvmf_work *w = nvmf_work_make(own_change(ns->target), "resize namespace", nvmf_tell_steps, NVMF_TELL_STEPS);

	nvmf_work_text(w->nqn, sizeof(w->nqn), ns->nqn);
	w->nsid = ns->nsid;
	w->which = ns;
	bdev_served_ref(&ns->dev);
	w->build = build_ns_resized;
	nvmf_work_start(w);
}
