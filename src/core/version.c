/* SPDX-License-Identifier: BSD-3-Clause */
/* version.c: publishing a version, core by core, and freeing the old one when all have left it. */
#include "core/version.h"

#include "core/reactor.h"

static void begin(struct version_publish *p);
static void arrive_on_core(struct msg *m);
static void switch_at_end(struct defer *d);
static void switched_on_control(struct msg *m);
static void left_on_control(struct msg *m);

void version_slot_init(struct version_slot *s, struct core *core)
{
	s->core = core;
	s->busy = NULL;
	s->last_number = 0;
	memset(s->current, 0, sizeof(s->current));
	list_init(&s->waiting);
}

struct version *version_current(struct version_slot *s)
{
	return s->current[reactor_current->index];
}

void version_publish(struct version_slot *s, struct version_publish *p, struct version *v,
                     void (*done)(struct version_publish *p))
{
	uint32_t control = s->core->count;
	struct version *old = s->current[control];

	assert(reactor_current == core_control(s->core));
	p->slot = s;
	p->v = v;
	p->done = done;
	if (v) {
		v->slot = s;
		v->number = ++s->last_number;
		v->cores_left = s->core->count + 1;
		v->core[control].refs = 1;
		for (uint32_t i = 0; i <= control; i++)
			v->core[i].version = v;
	}
	s->current[control] = v;
	if (old)
		version_unref(old, control);
	if (s->busy)
		list_add_tail(&s->waiting, &p->link);
	else
		begin(p);
}

static void begin(struct version_publish *p)
{
	struct core *core = p->slot->core;

	p->slot->busy = p;
	p->left = core->count;
	for (uint32_t i = 0; i < core->count; i++) {
		p->core[i].publish = p;
		p->core[i].at_end.queued = false;
		msg_send(core->reactors[i], &p->core[i].msg, arrive_on_core);
	}
}

/* --- on each core -------------------------------------------------------------------------------- */

static void arrive_on_core(struct msg *m)
{
	struct version_publish_core *c = container_of(m, struct version_publish_core, msg);

	defer_end(&c->at_end, switch_at_end);
}

static void switch_at_end(struct defer *d)
{
	struct version_publish_core *c = container_of(d, struct version_publish_core, at_end);
	struct version_publish *p = c->publish;
	struct version_slot *s = p->slot;
	uint32_t i = reactor_current->index;
	struct version *old = s->current[i];

	if (p->v) {
		p->v->core[i].refs = 1;
		if (s->enter)
			s->enter(p->v, i);
	}
	s->current[i] = p->v;
	if (old)
		version_unref(old, i);
	msg_send(core_control(s->core), &c->msg, switched_on_control);
}

void version_unref(struct version *v, uint32_t core_index)
{
	struct version_slot *s = v->slot;

	assert(reactor_current->index == core_index && v->core[core_index].refs);
	if (--v->core[core_index].refs)
		return;
	if (s->leave && core_index < s->core->count)
		s->leave(v, core_index);
	msg_send(core_control(s->core), &v->core[core_index].left_msg, left_on_control);
}

/* --- on control ---------------------------------------------------------------------------------- */

static void switched_on_control(struct msg *m)
{
	struct version_publish *p = container_of(m, struct version_publish_core, msg)->publish;
	struct version_slot *s = p->slot;
	struct list *next;

	if (--p->left)
		return;
	s->busy = NULL;
	next = list_pop(&s->waiting);
	if (next)
		begin(list_entry(next, struct version_publish, link));
	if (p->done)
		p->done(p);
}

static void left_on_control(struct msg *m)
{
	struct version *v = container_of(m, struct version_core, left_msg)->version;

	if (--v->cores_left == 0)
		v->slot->free(v);
}
