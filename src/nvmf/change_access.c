/* SPDX-License-Identifier: BSD-3-Clause */
/* change_access.c: changes of who may use what by which ways: hosts, listeners, ANA, who sees a namespace. */
#include "keyring/keyring.h"
#include "nvmf/change.h"

/* --- hosts --------------------------------------------------------------------------------------- */

static int build_add_host(struct nvmf_work *w, struct err *e)
{
	struct nvmf_subsystem *s;

	if (nvmf_check_nqn("host", w->host, false, e) || !(s = nvmf_work_edit(w, e)))
		return e->code;
	if (nvmf_subsystem_host_at(s, w->host) >= 0)
		return err_set(e, -EEXIST, "host: '%s' is allowed in '%s' already", w->host, w->nqn);
	if (s->host_count == NVMF_HOSTS_MAX)
		return err_set(e, -ENOSPC, "host: '%s' allows %u hosts already, which is the most there can be", w->nqn,
		               s->host_count);
	s->hosts = realloc(s->hosts, (s->host_count + 1) * sizeof(*s->hosts));
	must(s->hosts != NULL);
	s->hosts[s->host_count] = (struct nvmf_host){ .key = w->key, .ctrlr_key = w->ctrlr_key, .psk = w->psk,
		.serial = ++w->target->host_serial };
	nvmf_host_ref_keys(&s->hosts[s->host_count]);
	nvmf_work_text(s->hosts[s->host_count].nqn, sizeof(s->hosts->nqn), w->host);
	s->host_count++;
	w->next->genctr++;
	return 0;
}

/* Connections stay: who proves itself from now on does it by the new keys. */
static int build_set_keys(struct nvmf_work *w, struct err *e)
{
	struct nvmf_subsystem *s = nvmf_work_edit(w, e);
	struct nvmf_host *h;
	int at;

	if (!s)
		return e->code;
	at = nvmf_subsystem_host_at(s, w->host);
	if (at < 0)
		return err_set(e, -ENOENT, "host: '%s' is not in the list of '%s'; nvmf_subsystem_add_host adds it", w->host,
		               w->nqn);
	h = &s->hosts[at];
	if (!w->set_key && w->set_ctrlr_key && w->ctrlr_key && !h->key)
		return err_set(e, -EINVAL, "dhchap_ctrlr_key: host '%s' has no dhchap_key, without which it is of no use; give "
		               "both", w->host);
	if (w->set_key) {
		keyring_key_unref(h->key);
		h->key = keyring_key_ref(w->key);
	}
	if (w->set_ctrlr_key) {
		keyring_key_unref(h->ctrlr_key);
		h->ctrlr_key = keyring_key_ref(w->ctrlr_key);
	}
	return 0;
}

static int build_remove_host(struct nvmf_work *w, struct err *e)
{
	struct nvmf_subsystem *s = nvmf_work_edit(w, e);
	int at;

	if (!s)
		return e->code;
	at = nvmf_subsystem_host_at(s, w->host);
	if (at < 0)
		return err_set(e, -ENOENT, "host: '%s' is not in the list of '%s'", w->host, w->nqn);
	nvmf_host_unref_keys(&s->hosts[at]);
	s->host_count--;
	memmove(&s->hosts[at], &s->hosts[at + 1], (s->host_count - (uint32_t)at) * sizeof(*s->hosts));
	w->next->genctr++;
	return 0;
}

static int build_allow_any(struct nvmf_work *w, struct err *e)
{
	struct nvmf_subsystem *s = nvmf_work_edit(w, e);

	if (!s)
		return e->code;
	for (uint32_t i = 0; w->allow && !s->discovery && i < s->listener_count; i++)
		if (s->listeners[i].secure)
			return err_set(e, -EINVAL, "allow_any_host: '%s' has a listener with secure_channel, where hosts are "
			               "known by their keys; remove it first", w->nqn);
	s->allow_any_host = w->allow;
	w->next->genctr++;
	return 0;
}

static const struct seq_step hosts_steps[] = {
	{ "build the next version",              nvmf_step_build,      nvmf_undo_build },
	{ "publish",                             nvmf_step_publish,    NULL },
	{ "tell hosts",                          nvmf_step_tell,       NULL },
	{ "disconnect who is no longer allowed", nvmf_step_disconnect, NULL },
};

static struct nvmf_work *hosts_work(struct nvmf_change *c, const char *name, const char *nqn, const char *host)
{
	struct nvmf_work *w = nvmf_work_make(c, name, hosts_steps, ARRAY_SIZE(hosts_steps));

	nvmf_work_text(w->nqn, sizeof(w->nqn), nqn);
	nvmf_work_text(w->host, sizeof(w->host), host);
	return w;
}

void nvmf_add_host(struct nvmf_change *c, const char *nqn, const char *host_nqn)
{
	nvmf_add_host_keys(c, nqn, host_nqn, &(struct nvmf_host_keys){ 0 });
}

static void take_keys(struct nvmf_work *w, const struct nvmf_host_keys *keys)
{
	w->key = keyring_key_ref(keys->key);
	w->ctrlr_key = keyring_key_ref(keys->ctrlr_key);
	w->psk = keyring_key_ref(keys->psk);
	w->set_key = keys->set_key;
	w->set_ctrlr_key = keys->set_ctrlr_key;
}

void nvmf_add_host_keys(struct nvmf_change *c, const char *nqn, const char *host_nqn, const struct nvmf_host_keys *keys)
{
	struct nvmf_work *w = hosts_work(c, "add host", nqn, host_nqn);

	take_keys(w, keys);
	w->build = build_add_host;
	nvmf_work_start(w);
}

void nvmf_set_host_keys(struct nvmf_change *c, const char *nqn, const char *host_nqn, const struct nvmf_host_keys *keys)
{
	struct nvmf_work *w = hosts_work(c, "set host's keys", nqn, host_nqn);

	take_keys(w, keys);
	w->build = build_set_keys;
	nvmf_work_start(w);
}

void nvmf_remove_host(struct nvmf_change *c, const char *nqn, const char *host_nqn)
{
	struct nvmf_work *w = hosts_work(c, "remove host", nqn, host_nqn);

	w->build = build_remove_host;
	nvmf_work_start(w);
}

void nvmf_allow_any_host(struct nvmf_change *c, const char *nqn, bool allow)
{
	struct nvmf_work *w = hosts_work(c, "allow any host", nqn, NULL);

	w->allow = allow;
	w->build = build_allow_any;
	nvmf_work_start(w);
}

/* --- listeners ----------------------------------------------------------------------------------- */

static struct nvmf_transport *find_transport(struct nvmf_work *w, struct err *e)
{
	struct nvmf_transport *tr = nvmf_target_transport(w->target, w->trtype);

	if (!tr)
		err_set(e, -ENOENT, "trtype: there is no transport '%s'; nvmf_create_transport makes it", w->trtype);
	return tr;
}

static int build_add_listener(struct nvmf_work *w, struct err *e)
{
	struct nvmf_listener l = { .addr = w->addr, .secure = w->secure, .concat = w->concat };
	struct nvmf_subsystem *s;
	int at;

	l.transport = find_transport(w, e);
	if (!l.transport || !(s = nvmf_work_edit(w, e)))
		return e->code;
	at = nvmf_subsystem_listener_at(s, l.transport, &l.addr);
	if (at >= 0 && s->listeners[at].secure == l.secure && s->listeners[at].concat == l.concat)
		return 0; /* as SPDK: there already is as good as added */
	if (at >= 0)
		return err_set(e, -EEXIST, "%s: '%s' listens there %s it already; remove that listener first",
		               s->listeners[at].secure == l.secure ? "concatenation" : "secure_channel", w->nqn,
		               (s->listeners[at].secure == l.secure ? l.concat : l.secure) ? "without" : "with");
	if (l.secure && !l.transport->ops->listen_secure)
		return err_set(e, -ENOTSUP, "secure_channel: there is TLS over TCP only, not over %s", l.transport->ops->name);
	if (l.secure && s->allow_any_host && !s->discovery)
		return err_set(e, -EINVAL, "secure_channel: '%s' allows any host (allow_any_host), and TLS knows hosts by "
		               "their keys: allow those that have one by nvmf_subsystem_add_host with psk", w->nqn);
	nvmf_subsystem_add_listener(s, &l, w->ana ? w->ana : NVME_ANA_OPTIMIZED);
	nvmf_work_add_listener(w, &l);
	w->next->genctr++;
	return 0;
}

static int build_remove_listener(struct nvmf_work *w, struct err *e)
{
	struct nvmf_transport *tr = find_transport(w, e);
	struct nvmf_subsystem *s;
	char text[NET_ADDR_TEXT_MAX];
	int at;

	if (!tr || !(s = nvmf_work_edit(w, e)))
		return e->code;
	at = nvmf_subsystem_listener_at(s, tr, &w->addr);
	if (at < 0)
		return err_set(e, -ENOENT, "listen_address: '%s' does not listen on %s", w->nqn, net_addr_text(&w->addr, text));
	nvmf_work_add_listener(w, &s->listeners[at]);
	nvmf_subsystem_remove_listener(s, (uint32_t)at);
	w->next->genctr++;
	return 0;
}

static const struct seq_step add_listener_steps[] = {
	{ "build the next version", nvmf_step_build,   nvmf_undo_build },
	{ "listen",                 nvmf_step_listen,  nvmf_step_unlisten },
	{ "publish",                nvmf_step_publish, NULL },
	{ "tell hosts",             nvmf_step_tell,    NULL },
};
static const struct seq_step remove_listener_steps[] = {
	{ "build the next version",            nvmf_step_build,      nvmf_undo_build },
	{ "publish",                           nvmf_step_publish,    NULL },
	{ "stop listening",                    nvmf_step_unlisten,   NULL },
	{ "tell hosts",                        nvmf_step_tell,       NULL },
	{ "disconnect those who came that way", nvmf_step_disconnect, NULL },
};

static void listener_work(struct nvmf_work *w, const char *nqn, const char *trtype, const struct net_addr *addr)
{
	nvmf_work_text(w->nqn, sizeof(w->nqn), nqn);
	nvmf_work_text(w->trtype, sizeof(w->trtype), trtype);
	w->addr = *addr;
	nvmf_work_start(w);
}

void nvmf_add_listener(struct nvmf_change *c, const char *nqn, const char *trtype, const struct net_addr *addr)
{
	nvmf_add_listener_opts(c, nqn, trtype, addr, &(struct nvmf_listener_opts){ 0 });
}

void nvmf_add_listener_opts(struct nvmf_change *c, const char *nqn, const char *trtype, const struct net_addr *addr,
                            const struct nvmf_listener_opts *opts)
{
	struct nvmf_work *w = nvmf_work_make(c, "add listener", add_listener_steps, ARRAY_SIZE(add_listener_steps));

	w->build = build_add_listener;
	w->ana = opts->ana;
	w->secure = opts->secure;
	w->concat = opts->concat;
	listener_work(w, nqn, trtype, addr);
}

void nvmf_remove_listener(struct nvmf_change *c, const char *nqn, const char *trtype, const struct net_addr *addr)
{
	struct nvmf_work *w = nvmf_work_make(c, "remove listener", remove_listener_steps,
	                                     ARRAY_SIZE(remove_listener_steps));

	w->build = build_remove_listener;
	listener_work(w, nqn, trtype, addr);
}

void nvmf_on_discovery_listeners(struct nvmf_target *t, void (*fn)(void *arg), void *arg)
{
	t->discovery_changed = fn;
	t->discovery_changed_arg = arg;
}

void nvmf_discovery_listeners(struct nvmf_target *t,
                              void (*visit)(void *arg, const char *trtype, const struct net_addr *addr), void *arg)
{
	const struct nvmf_subsystem *s = t->config->subs[NVMF_DISCOVERY_ID];

	for (uint32_t i = 0; s && i < s->listener_count; i++)
		visit(arg, s->listeners[i].transport->ops->name, &s->listeners[i].addr);
}

static int build_set_ana(struct nvmf_work *w, struct err *e)
{
	struct nvmf_transport *tr = find_transport(w, e);
	struct nvmf_subsystem *s;
	char text[NET_ADDR_TEXT_MAX];
	int at;

	if (!tr || !(s = nvmf_work_edit(w, e)))
		return e->code;
	if (!s->ana_reporting)
		return err_set(e, ERR_BAD_PARAM, "nqn: '%s' was created without ana_reporting", w->nqn);
	at = nvmf_subsystem_listener_at(s, tr, &w->addr);
	if (at < 0)
		return err_set(e, -ENOENT, "listen_address: '%s' does not listen on %s", w->nqn, net_addr_text(&w->addr, text));
	if (w->group > s->ns_max)
		return err_set(e, ERR_BAD_PARAM, "anagrpid: %u is beyond max_namespaces, which is %u", w->group, s->ns_max);
	nvmf_subsystem_set_ana(w->next, s, (uint32_t)at, w->group, w->transition_s ? NVME_ANA_CHANGE : w->ana, w->ana);
	w->since = w->next->change;
	return 0;
}

/* An ANA state that is on its way. */
struct transition {
	struct list link;
	struct timer timer;
	struct nvmf_change change;
	char nqn[NVMF_NQN_MAX + 1];
	uint64_t since;
};

static void transition_over(struct nvmf_change *c)
{
	free(container_of(c, struct transition, change));
}

static int build_arrive(struct nvmf_work *w, struct err *e)
{
	struct nvmf_subsystem *s = nvmf_work_edit(w, e);

	if (!s)
		return e->code;
	if (!nvmf_subsystem_ana_arrives(w->next, s, w->since))
		return err_set(e, -ENOENT, "something else was said of these ANA groups meanwhile");
	return 0;
}

static void transition_due(struct timer *timer)
{
	struct transition *tr = container_of(timer, struct transition, timer);
	struct nvmf_work *w = nvmf_work_make(&tr->change, "end ANA transition", nvmf_tell_steps, NVMF_TELL_STEPS);

	list_del(&tr->link);
	w->build = build_arrive;
	w->since = tr->since;
	nvmf_work_text(w->nqn, sizeof(w->nqn), tr->nqn);
	nvmf_work_start(w);
}

static enum seq_result begin_transition(struct seq *s)
{
	struct nvmf_work *w = container_of(s, struct nvmf_work, seq);
	struct transition *tr = w->transition_s && !w->target->stopping ? base_zalloc(sizeof(*tr)) : NULL;

	if (!tr)
		return SEQ_NEXT;
	tr->change.target = w->target;
	tr->change.done = transition_over;
	tr->since = w->since;
	memcpy(tr->nqn, w->nqn, sizeof(tr->nqn));
	list_add_tail(&w->target->transitions, &tr->link);
	timer_start(&tr->timer, w->transition_s * NS_PER_S, transition_due);
	return SEQ_NEXT;
}

void nvmf_transitions_drop(struct nvmf_target *t)
{
	list_each_safe(l, &t->transitions) {
		struct transition *tr = list_entry(l, struct transition, link);

		timer_stop(&tr->timer);
		list_del(l);
		free(tr);
	}
}

static const struct seq_step begin_ana_steps[] = {
	{ "build the next version", nvmf_step_build,   nvmf_undo_build },
	{ "publish",                nvmf_step_publish, NULL },
	{ "tell hosts",             nvmf_step_tell,    NULL },
	{ "begin the transition",   begin_transition,  NULL },
};

void nvmf_set_ana_state(struct nvmf_change *c, const char *nqn, const char *trtype, const struct net_addr *addr,
                        uint32_t group, uint8_t ana, uint32_t transition_s)
{
	struct nvmf_work *w = nvmf_work_make(c, "set ANA state", begin_ana_steps, ARRAY_SIZE(begin_ana_steps));

	w->build = build_set_ana;
	w->group = group;
	w->ana = ana;
	w->transition_s = transition_s;
	listener_work(w, nqn, trtype, addr);
}

/* --- namespaces: who sees them, their ANA groups ------------------------------------------------- */

/* NULL with a sentence. */
static struct nvmf_subsystem *edit_ns(struct nvmf_work *w, struct err *e)
{
	struct nvmf_subsystem *s = nvmf_work_edit(w, e);

	if (s && (!w->nsid || w->nsid > s->ns_max || !s->ns[w->nsid - 1])) {
		err_set(e, -ENOENT, "nsid: there is no namespace %u in '%s'", w->nsid, w->nqn);
		return NULL;
	}
	return s;
}

static int build_show_ns(struct nvmf_work *w, struct err *e)
{
	struct nvmf_subsystem *s = nvmf_check_nqn("host", w->host, false, e) ? NULL : edit_ns(w, e);
	int at;

	if (!s)
		return e->code;
	if (!s->ns_hosts[w->nsid - 1])
		return err_set(e, -EPERM, "nsid: every host sees namespace %u of '%s'; for single hosts it has to be added "
		               "with no_auto_visible", w->nsid, w->nqn);
	at = nvmf_ns_hosts_at(s->ns_hosts[w->nsid - 1], w->host);
	if (w->allow && at < 0 && s->ns_hosts[w->nsid - 1]->count == NVMF_HOSTS_MAX)
		return err_set(e, -ENOSPC, "host: %u hosts see namespace %u already, which is the most there can be",
		               NVMF_HOSTS_MAX, w->nsid);
	if (w->allow && at < 0) /* as SPDK: what is so already is as good as done */
		nvmf_subsystem_show_ns(s, w->nsid, w->host);
	else if (!w->allow && at >= 0)
		nvmf_subsystem_unshow_ns(s, w->nsid, (uint32_t)at);
	if (!w->allow)
		nvmf_work_add_ns(w, s->ns[w->nsid - 1]);
	return 0;
}

static const struct seq_step show_ns_steps[] = {
	{ "build the next version",        nvmf_step_build,      nvmf_undo_build },
	{ "publish",                       nvmf_step_publish,    NULL },
	{ "tell hosts",                    nvmf_step_tell,       NULL },
	{ "wait for its host's commands",  nvmf_step_await_host, NULL },
};

void nvmf_show_ns(struct nvmf_change *c, const char *nqn, uint32_t nsid, const char *host_nqn, bool visible)
{
	struct nvmf_work *w = nvmf_work_make(c, visible ? "show namespace" : "hide namespace", show_ns_steps,
	                                     ARRAY_SIZE(show_ns_steps));

	nvmf_work_text(w->nqn, sizeof(w->nqn), nqn);
	nvmf_work_text(w->host, sizeof(w->host), host_nqn);
	w->nsid = nsid;
	w->allow = visible;
	w->build = build_show_ns;
	nvmf_work_start(w);
}

static int build_set_ns_group(struct nvmf_work *w, struct err *e)
{
	struct nvmf_subsystem *s = edit_ns(w, e);

	if (!s)
		return e->code;
	if (!w->group || w->group > s->ns_max)
		return err_set(e, ERR_BAD_PARAM, "anagrpid: %u is none of 1 to max_namespaces, which is %u", w->group,
		               s->ns_max);
	if (w->group != s->ns_group[w->nsid - 1])
		nvmf_subsystem_set_ns_group(w->next, s, w->nsid, w->group);
	return 0;
}

void nvmf_set_ns_group(struct nvmf_change *c, const char *nqn, uint32_t nsid, uint32_t group)
{
	struct nvmf_work *w = nvmf_work_make(c, "set ANA group", nvmf_tell_steps, NVMF_TELL_STEPS);

	nvmf_work_text(w->nqn, sizeof(w->nqn), nqn);
	w->nsid = nsid;
	w->group = group;
	w->build = build_set_ns_group;
	nvmf_work_start(w);
}
