/* SPDX-License-Identifier: BSD-3-Clause */
/* change.c: changes of the configuration take turns, and the steps they are made of. */
#include "keyring/keyring.h"
#include "nvmf/change.h"

static void go_on(struct nvmf_target *t);
static void go_on_msg(struct msg *m);
static void work_done(struct seq *s);

static struct nvmf_work *work_of(struct seq *s)
{
	return container_of(s, struct nvmf_work, seq);
}

/* --- turns -------------------------------------------------------------------------------------------- */

struct nvmf_work *nvmf_work_make(struct nvmf_change *c, const char *name, const struct seq_step *steps, uint32_t count)
{
	struct nvmf_work *w = base_zalloc(sizeof(*w));

	w->change = c;
	w->target = c->target;
	w->name = name;
	w->steps = steps;
	w->step_count = count;
	c->work = w;
	c->err = (struct err){ 0 };
	return w;
}

void nvmf_work_start(struct nvmf_work *w)
{
	struct nvmf_target *t = w->target;

	assert(reactor_is_control(reactor_self()));
	t->changes_out++;
	list_add_tail(&t->changes, &w->change->link);
	go_on(t);
}

/* By message, so that `done` never runs inside of the call that asked for the change. */
static void go_on(struct nvmf_target *t)
{
	if (t->changes_msg_out)
		return;
	t->changes_msg_out = true;
	msg_send(core_control(t->core), &t->changes_msg, go_on_msg);
}

static void go_on_msg(struct msg *m)
{
	struct nvmf_target *t = container_of(m, struct nvmf_target, changes_msg);
	struct list *l;
	struct nvmf_work *w;

	t->changes_msg_out = false;
	if (t->changing || !(l = list_pop(&t->changes)))
		return;
	t->changing = list_entry(l, struct nvmf_change, link);
	w = t->changing->work;
	seq_start(&w->seq, w->name, w->steps, w->step_count, work_done);
}

void nvmf_work_turn_over(struct nvmf_work *w)
{
	if (w->target->changing != w->change)
		return;
	w->target->changing = NULL;
	go_on(w->target);
}

static void work_done(struct seq *s)
{
	struct nvmf_work *w = work_of(s);
	struct nvmf_target *t = w->target;
	struct nvmf_change *c = w->change;

	assert(!w->next);
	c->err = s->err;
	c->nsid = w->nsid;
	c->work = NULL;
	nvmf_work_turn_over(w);
	for (uint32_t i = 0; i < w->ns_count; i++)
		bdev_served_unref(&w->ns[i]->dev);
	if (w->which)
		bdev_served_unref(&w->which->dev);
	if (w->roster)
		nvmf_roster_unref(t, w->roster);
	keyring_key_unref(w->key);
	keyring_key_unref(w->ctrlr_key);
	keyring_key_unref(w->psk);
	free(w->ns);
	free(w->listeners);
	free(w);
	nvmf_target_less(t, &t->changes_out);
	c->done(c);
}

/* --- what later steps need to know ------------------------------------------------------------------------ */

void nvmf_work_add_ns(struct nvmf_work *w, struct nvmf_ns *ns)
{
	w->ns = realloc(w->ns, (w->ns_count + 1) * sizeof(*w->ns));
	must(w->ns != NULL);
	w->ns[w->ns_count++] = ns;
	bdev_served_ref(&ns->dev);
}

void nvmf_work_add_listener(struct nvmf_work *w, const struct nvmf_listener *l)
{
	w->listeners = realloc(w->listeners, (w->listener_count + 1) * sizeof(*w->listeners));
	must(w->listeners != NULL);
	w->listeners[w->listener_count++] = *l;
}

void nvmf_work_set_roster(struct nvmf_work *w, struct nvmf_roster *r)
{
	assert(!w->roster);
	w->roster = r;
	r->refs++;
}

struct nvmf_subsystem *nvmf_work_edit(struct nvmf_work *w, struct err *e)
{
	struct nvmf_subsystem *s = nvmf_config_find(w->next, w->nqn);

	if (!s) {
		err_set(e, -ENOENT, "nqn: there is no subsystem '%s'; nvmf_get_subsystems lists those that exist", w->nqn);
		return NULL;
	}
	nvmf_work_set_roster(w, s->roster);
	return nvmf_config_edit(w->next, s->id);
}

/* --- steps: build, publish ----------------------------------------------------------------------------------- */

enum seq_result nvmf_step_build(struct seq *s)
{
	struct nvmf_work *w = work_of(s);

	if (w->target->stopping) {
		err_set(&s->err, -ESHUTDOWN, "the target is being stopped");
		return SEQ_FAILED;
	}
	w->next = nvmf_config_copy(w->target, w->target->config);
	if (w->build(w, &s->err) == 0)
		return SEQ_NEXT;
	return nvmf_undo_build(s), SEQ_FAILED;
}

enum seq_result nvmf_undo_build(struct seq *s)
{
	struct nvmf_work *w = work_of(s);

	nvmf_config_drop(w->next);
	w->next = NULL;
	return SEQ_NEXT;
}

static void published(struct version_publish *p)
{
	struct nvmf_work *w = container_of(p, struct nvmf_work, publish);

	nvmf_work_turn_over(w);
	seq_resume(&w->seq, 0);
}

enum seq_result nvmf_step_publish(struct seq *s)
{
	struct nvmf_work *w = work_of(s);
	struct nvmf_target *t = w->target;

	t->config = w->next;
	t->configs_old++;
	w->next = NULL;
	nvmf_tls_forget(t, w->set_key ? w->host : NULL, w->nqn);
	version_publish(&t->slot, &w->publish, &t->config->v, published);
	return SEQ_WAIT;
}

/* --- steps: channels of a new namespace on every core, before anyone can use it ------------------ */

static void every_core_done(void *seq)
{
	seq_resume(seq, 0);
}

enum seq_result nvmf_step_open_channels(struct seq *s)
{
	bdev_served_enter_all(&work_of(s)->ns[0]->dev, every_core_done, s);
	return SEQ_WAIT;
}

enum seq_result nvmf_step_check_channels(struct seq *s)
{
	return bdev_served_check(&work_of(s)->ns[0]->dev, &s->err) ? SEQ_FAILED : SEQ_NEXT;
}

enum seq_result nvmf_step_let_go_channels(struct seq *s)
{
	bdev_served_leave_all(&work_of(s)->ns[0]->dev, every_core_done, s);
	return SEQ_WAIT;
}

/* --- steps: listening ---------------------------------------------------------------------------- */

enum seq_result nvmf_step_listen(struct seq *s)
{
	struct nvmf_work *w = work_of(s);

	for (uint32_t i = 0; i < w->listener_count; i++) {
		if (nvmf_portal_take(w->target, &w->listeners[i], &s->err) == 0)
			continue;
		while (i--)
			nvmf_portal_give(w->target, w->listeners[i].transport, &w->listeners[i].addr);
		return SEQ_FAILED;
	}
	return SEQ_NEXT;
}

enum seq_result nvmf_step_unlisten(struct seq *s)
{
	struct nvmf_work *w = work_of(s);

	for (uint32_t i = 0; i < w->listener_count; i++)
		nvmf_portal_give(w->target, w->listeners[i].transport, &w->listeners[i].addr);
	return SEQ_NEXT;
}

/* --- steps: hosts -------------------------------------------------------------------------------- */

enum seq_result nvmf_step_tell(struct seq *s)
{
	struct nvmf_work *w = work_of(s);

	if (w->roster)
		nvmf_roster_tell(w->roster, NVMF_MAIL_CONFIG);
	if (w->listener_count && !strcmp(w->nqn, NVMF_DISCOVERY_NQN) && w->target->discovery_changed)
		w->target->discovery_changed(w->target->discovery_changed_arg);
	for (uint32_t i = 0; i < NVMF_SUBSYSTEMS_MAX; i++)
		if (w->target->config->subs[i] && w->target->config->subs[i]->discovery)
			nvmf_roster_tell(w->target->config->subs[i]->roster, NVMF_MAIL_CONFIG);
	return SEQ_NEXT;
}

const struct seq_step nvmf_tell_steps[NVMF_TELL_STEPS] = {
	{ "build the next version", nvmf_step_build,   nvmf_undo_build },
	{ "publish",                nvmf_step_publish, NULL },
	{ "tell hosts",             nvmf_step_tell,    NULL },
};

/* Those whom the present configuration would not let in. */
static bool unwelcome(struct nvmf_roster_wait *rw, struct nvmf_ctrlr *c)
{
	struct nvmf_subsystem *s = c->target->config->subs[c->sub_id];
	const struct nvmf_static *st;

	if (!s || s->roster != c->roster)
		return true;
	st = nvmf_subsystem_static(s, c->cntlid);
	return !nvmf_subsystem_allows_host(s, c->who.name) || (st && st->host[0] && strcmp(st->host, c->who.name)) ||
	       (s->id != NVMF_DISCOVERY_ID && !nvmf_subsystem_listens(s, c->transport, &c->listen_addr));
}

static void unwelcome_gone(struct nvmf_roster_wait *rw)
{
	seq_resume(&container_of(rw, struct nvmf_work, roster_wait)->seq, 0);
}

enum seq_result nvmf_step_disconnect(struct seq *s)
{
	struct nvmf_work *w = work_of(s);

	w->roster_wait.matches = unwelcome;
	w->roster_wait.fn = unwelcome_gone;
	nvmf_roster_disconnect(w->roster, &w->roster_wait);
	nvmf_roster_wait_gone(w->roster, &w->roster_wait);
	return SEQ_WAIT;
}

/* --- steps: namespaces that were removed --------------------------------------------------------- */

/* One after the other: the order does not matter, all have to be. */
static void ns_closed(struct bdev_served_wait *nw)
{
	struct nvmf_work *w = container_of(nw, struct nvmf_work, ns_wait);

	if (++w->ns_at < w->ns_count)
		bdev_served_wait_closed(&w->ns[w->ns_at]->dev, nw, ns_closed);
	else
		seq_resume(&w->seq, 0);
}

enum seq_result nvmf_step_wait_ns(struct seq *s)
{
	struct nvmf_work *w = work_of(s);

	if (!w->ns_count)
		return SEQ_NEXT;
	bdev_served_wait_closed(&w->ns[0]->dev, &w->ns_wait, ns_closed);
	return SEQ_WAIT;
}
