/* SPDX-License-Identifier: BSD-3-Clause */
/* target.c: the target as a whole: make it, give cores new versions, stop it. */
#include <strings.h>

#include "fabric/auth.h"
#include "nvmf/target.h"

static void core_enter(struct version *v, uint32_t core_index);
static void core_leave(struct version *v, uint32_t core_index);
static bool core_watch(struct watch *w, uint64_t now_ns, uint64_t limit_ns);

/* --- making ---------------------------------------------------------------------------------------- */

static void make_core(struct nvmf_target *t, uint32_t index)
{
	struct nvmf_core *nc = &t->cores[index];

	nc->target = t;
	nvmf_flight_init(nc);
	nc->index = index;
	nc->subs = base_zalloc(NVMF_SUBSYSTEMS_MAX * sizeof(*nc->subs));
	list_init(&nc->qpairs);
	list_init(&nc->awaits);
	list_init(&nc->logs);
	queue_init(&nc->done);
	queue_init(&nc->fused_waiting);
}

static struct nvmf_config *first_config(struct nvmf_target *t)
{
	struct nvmf_config *c = nvmf_config_copy(t, NULL);
	struct nvmf_subsystem *s = nvmf_config_add_subsystem(c, true);

	text_pad(s->nqn, sizeof(s->nqn) - 1, NVMF_DISCOVERY_NQN, 0);
	s->allow_any_host = true;
	s->min_cntlid = 1;
	s->max_cntlid = NVME_CNTLID_MAX;
	return c;
}

static void first_published(struct version_publish *p)
{
}

struct nvmf_target *nvmf_target_make(struct core *core, struct bdev_registry *reg)
{
	struct nvmf_target *t = base_zalloc(sizeof(*t));

	t->core = core;
	t->reg = reg;
	nvmf_flights_init(t);
	t->core_count = core_reactor_count(core);
	t->cores = base_zalloc_aligned(CACHE_LINE, t->core_count * sizeof(*t->cores));
	for (uint32_t i = 0; i < t->core_count; i++)
		make_core(t, i);
	list_init(&t->transports);
	list_init(&t->portals);
	list_init(&t->changes);
	list_init(&t->transitions);
	list_init(&t->auth_waiting);
	nvmf_tls_init(t);
	list_init(&t->auth_working);
	nvmf_place_init(t);
	nvmf_resv_init(t);
	t->subsystems_max = NVMF_SUBSYSTEMS_MAX;
	t->ccr_limit = NVMF_CCR_LIMIT;
	t->cqt_ms = NVMF_CQT_MS;
	t->auth_hashes = FABRIC_AUTH_ALL_HASHES;
	t->auth_groups = FABRIC_AUTH_ALL_GROUPS;
	version_slot_init(&t->slot, core);
	t->slot.enter = core_enter;
	t->slot.leave = core_leave;
	t->slot.free = nvmf_config_free;
	t->config = first_config(t);
	version_publish(&t->slot, &t->first, &t->config->v, first_published);
	return t;
}

/* --- versions on a core ------------------------------------------------------------------------------ */

static void serve_subsystem(struct nvmf_subsystem *s, uint32_t core_index)
{
	struct err e = { 0 };

	for (uint32_t i = 0; i < s->ns_max; i++) {
		struct nvmf_ns *ns = s->ns[i];

		if (!ns)
			continue;
		if (!bdev_view_enter(&ns->dev.view[core_index], &e))
			log_error("namespace %u of %s does not work on core %u: %s", i + 1, s->nqn, core_index, e.text);
		ns->dev.view[core_index].read_only = ns->dev.info.read_only || atomic_load(&ns->protected);
	}
}

static void unserve_subsystem(struct nvmf_subsystem *s, uint32_t core_index)
{
	for (uint32_t i = 0; i < s->ns_max; i++)
		if (s->ns[i])
			bdev_view_put(&s->ns[i]->dev.view[core_index]);
}

static void core_enter(struct version *v, uint32_t core_index)
{
	struct nvmf_config *c = container_of(v, struct nvmf_config, v);
	struct nvmf_core *nc = &c->target->cores[core_index];

	if (!nc->watching) {
		watch_start(&nc->watch, "nvmf", core_watch);
		nc->watching = true;
	}
	for (uint32_t i = 0; i < NVMF_SUBSYSTEMS_MAX; i++) {
		struct nvmf_subsystem *old = nc->subs[i];

		if (old == c->subs[i])
			continue;
		if (c->subs[i])
			serve_subsystem(c->subs[i], core_index);
		if (old)
			unserve_subsystem(old, core_index);
		nc->subs[i] = c->subs[i];
	}
	nc->config = c;
}

/* Entering the next version exchanged what differs; nothing is left to do. */
static void core_leave(struct version *v, uint32_t core_index)
{
}

/* --- transports and the addresses they listen on ----------------------------------------------------------- */

struct nvmf_transport *nvmf_target_transport(const struct nvmf_target *t, const char *trtype)
{
	list_each(l, &t->transports) {
		struct nvmf_transport *tr = list_entry(l, struct nvmf_transport, link);

		if (!strcasecmp(tr->ops->name, trtype))
			return tr;
	}
	return NULL;
}

void nvmf_set_keyring(struct nvmf_target *t, struct keyring *k)
{
	t->keyring = k;
}

void nvmf_offer_transport(struct nvmf_target *t, const struct nvmf_transport_ops *ops)
{
	uint32_t i = 0;

	while (t->offered[i])
		must(++i < NVMF_KINDS_MAX);
	t->offered[i] = ops;
}

const struct nvmf_transport_ops *nvmf_offered_transport(const struct nvmf_target *t, const char *name)
{
	for (uint32_t i = 0; i < NVMF_KINDS_MAX && t->offered[i]; i++)
		if (!strcasecmp(t->offered[i]->name, name))
			return t->offered[i];
	return NULL;
}

static struct nvmf_portal *portal_find(struct nvmf_target *t, struct nvmf_transport *tr, const struct net_addr *addr)
{
	list_each(l, &t->portals) {
		struct nvmf_portal *p = list_entry(l, struct nvmf_portal, link);

		if (p->transport == tr && net_addr_equal(&p->addr, addr))
			return p;
	}
	return NULL;
}

int nvmf_portal_take(struct nvmf_target *t, const struct nvmf_listener *l, struct err *e)
{
	struct nvmf_portal *p = portal_find(t, l->transport, &l->addr);
	const struct nvmf_transport_ops *ops = l->transport->ops;
	char at[NET_ADDR_TEXT_MAX];
	int rc;

	if (p && (p->secure != l->secure || p->concat != l->concat))
		return err_set(e, -EADDRINUSE, "%s: other subsystems listen on %s %s it; choose another port",
		               p->secure != l->secure ? "secure_channel" : "concatenation", net_addr_text(&l->addr, at),
		               (p->secure != l->secure ? p->secure : p->concat) ? "with" : "without");
	if (!p) {
		rc = l->secure ? ops->listen_secure(l->transport, &l->addr, l->concat, e) :
		                 ops->listen(l->transport, &l->addr, e);
		if (rc)
			return rc;
		p = base_zalloc(sizeof(*p));
		p->transport = l->transport;
		p->addr = l->addr;
		p->secure = l->secure;
		p->concat = l->concat;
		list_add_tail(&t->portals, &p->link);
	}
	p->refs++;
	return 0;
}

void nvmf_portal_give(struct nvmf_target *t, struct nvmf_transport *tr, const struct net_addr *addr)
{
	struct nvmf_portal *p = portal_find(t, tr, addr);

	if (!p || --p->refs)
		return;
	tr->ops->unlisten(tr, addr);
	list_del(&p->link);
	free(p);
}

/* --- requests that take too long -------------------------------------------------------------------------------- */

/* The disk first: what comes last may be cut off. */
static void watch_one(struct watch *w, const struct nvmf_qpair *qp, const struct nvmf_req *req, uint64_t age_ns)
{
	const char *host = qp->ctrlr ? qp->ctrlr->who.name : "a host not connected yet";

	if (req->ns && req->io.active)
		watch_report(w, age_ns, "%s waits for disk %s, LBA %llu and %llu blocks; queue %u, command %u of %s",
		             req->handler->name, req->ns->served->bdev_name, (unsigned long long)req->io.lba,
		             (unsigned long long)req->io.count, qp->qid, le16_get(req->cmd.cid), host);
	else
		watch_report(w, age_ns, "%s waits for %s%s; queue %u, command %u of %s", req->handler->name,
		             req->ns ? "the target, disk " : "the target", req->ns ? req->ns->served->bdev_name : "",
		             qp->qid, le16_get(req->cmd.cid), host);
}

static void watch_qpair(struct watch *w, const struct nvmf_qpair *qp, uint64_t now_ns, uint64_t limit_ns)
{
	list_each(l, &qp->executing) {
		struct nvmf_req *req = list_entry(l, struct nvmf_req, link);
		uint64_t age = now_ns - req->io.began_ns;

		if (!req->parks && age >= limit_ns)
			watch_one(w, qp, req, age);
	}
}

static bool core_watch(struct watch *w, uint64_t now_ns, uint64_t limit_ns)
{
	struct nvmf_core *nc = container_of(w, struct nvmf_core, watch);
	bool busy = false;

	list_each(l, &nc->qpairs) {
		const struct nvmf_qpair *qp = list_entry(l, struct nvmf_qpair, link);

		watch_qpair(w, qp, now_ns, limit_ns);
		list_each(r, &qp->executing)
			busy |= !list_entry(r, struct nvmf_req, link)->parks;
	}
	return busy;
}

/* --- stopping ---------------------------------------------------------------------------------------------------- */

static void stop_look(struct msg *m)
{
	struct nvmf_target *t = container_of(m, struct nvmf_target, stop_msg);

	t->stop_msg_out = false;
	if (!t->stop_waits_for || *t->stop_waits_for)
		return;
	t->stop_waits_for = NULL;
	seq_resume(&t->stop, 0);
}

void nvmf_target_less(struct nvmf_target *t, uint32_t *count)
{
	assert(*count > 0);
	--*count;
	if (*count || !t->stopping || t->stop_msg_out)
		return;
	t->stop_msg_out = true; /* by message: who counts down is in the middle of something */
	msg_send(core_control(t->core), &t->stop_msg, stop_look);
}

static enum seq_result stop_wait(struct nvmf_target *t, const uint32_t *count)
{
	if (!*count)
		return SEQ_NEXT;
	t->stop_waits_for = count;
	return SEQ_WAIT;
}

static void moves_stopped(void *arg)
{
	seq_resume(arg, 0);
}

static enum seq_result stop_moves(struct seq *s)
{
	nvmf_place_stop(container_of(s, struct nvmf_target, stop), moves_stopped, s);
	return SEQ_WAIT;
}

static enum seq_result stop_hand_moves(struct seq *s)
{
	struct nvmf_target *t = container_of(s, struct nvmf_target, stop);

	return stop_wait(t, &t->moves_out);
}

static enum seq_result stop_changes(struct seq *s)
{
	struct nvmf_target *t = container_of(s, struct nvmf_target, stop);

	nvmf_transitions_drop(t);
	return stop_wait(t, &t->changes_out);
}

static void transport_stopped(void *arg)
{
	struct nvmf_target *t = arg;

	nvmf_target_less(t, &t->transports_alive);
}

static enum seq_result stop_transports(struct seq *s)
{
	struct nvmf_target *t = container_of(s, struct nvmf_target, stop);

	t->transports_alive++; /* holds the count above 0 until all were told */
	list_each(l, &t->transports) {
		struct nvmf_transport *tr = list_entry(l, struct nvmf_transport, link);

		t->transports_alive++;
		tr->ops->stop(tr, transport_stopped, t);
	}
	t->transports_alive--;
	return stop_wait(t, &t->transports_alive);
}

static enum seq_result stop_ctrlrs(struct seq *s)
{
	struct nvmf_target *t = container_of(s, struct nvmf_target, stop);

	return stop_wait(t, &t->ctrlrs_alive);
}

static void emptied(struct version_publish *p)
{
	seq_resume(&container_of(p, struct nvmf_target, last)->stop, 0);
}

static enum seq_result stop_serving(struct seq *s)
{
	struct nvmf_target *t = container_of(s, struct nvmf_target, stop);

	t->config = nvmf_config_copy(t, NULL);
	t->configs_old++;
	version_publish(&t->slot, &t->last, &t->config->v, emptied);
	return SEQ_WAIT;
}

static enum seq_result stop_ns(struct seq *s)
{
	struct nvmf_target *t = container_of(s, struct nvmf_target, stop);

	return stop_wait(t, &t->ns_alive);
}

static enum seq_result stop_versions(struct seq *s)
{
	struct nvmf_target *t = container_of(s, struct nvmf_target, stop);

	return stop_wait(t, &t->configs_old);
}

static void unwatch_on_core(struct each *e)
{
	struct nvmf_core *nc = nvmf_core_here(container_of(e, struct nvmf_target, stop_each));

	if (nc->watching)
		watch_stop(&nc->watch);
}

static void unwatched(struct each *e)
{
	seq_resume(&container_of(e, struct nvmf_target, stop_each)->stop, 0);
}

static enum seq_result stop_watches(struct seq *s)
{
	struct nvmf_target *t = container_of(s, struct nvmf_target, stop);

	each_core(&t->stop_each, t->core, unwatch_on_core, unwatched);
	return SEQ_WAIT;
}

static const struct seq_step stop_steps[] = {
	{ "move no connections",            stop_moves,      NULL },
	{ "wait for moves by hand",        stop_hand_moves, NULL },
	{ "wait for changes under way",     stop_changes,    NULL },
	{ "close listeners and connections", stop_transports, NULL },
	{ "wait for controllers",           stop_ctrlrs,     NULL },
	{ "serve nothing",                  stop_serving,    NULL },
	{ "wait for namespaces",            stop_ns,         NULL },
	{ "wait for old versions",          stop_versions,   NULL },
	{ "stop the watchdogs",             stop_watches,    NULL },
};

static void free_target(struct nvmf_target *t)
{
	list_each_safe(l, &t->transports) {
		struct nvmf_transport *tr = list_entry(l, struct nvmf_transport, link);

		list_del(l);
		tr->ops->free(tr);
	}
	list_each_safe(l, &t->portals)
		free(list_entry(l, struct nvmf_portal, link));
	for (uint32_t i = 0; i < t->core_count; i++) {
		free(t->cores[i].subs);
		free(t->cores[i].fused_slots);
		nvmf_stages_fini(&t->cores[i]);
	}
	nvmf_config_drop(t->config);
	free(t->cores);
	nvmf_resv_fini(t);
	nvmf_tls_fini(t);
	free(t);
}

static void stop_done(struct seq *s)
{
	struct nvmf_target *t = container_of(s, struct nvmf_target, stop);
	void (*done)(void *arg) = t->stopped;
	void *arg = t->stopped_arg;

	free_target(t);
	done(arg);
}

void nvmf_target_stop(struct nvmf_target *t, void (*done)(void *arg), void *arg)
{
	t->stopping = true;
	t->stopped = done;
	t->stopped_arg = arg;
	seq_start(&t->stop, "stop the NVMe-oF target", stop_steps, ARRAY_SIZE(stop_steps), stop_done);
}
