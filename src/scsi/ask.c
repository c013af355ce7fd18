/* SPDX-License-Identifier: BSD-3-Clause */
/* ask.c: what a command needs of the control reactor: there and back, and changes of what a logical unit's nexuses have
 * in common.
 */
#include "scsi/mode.h"
#include "scsi/pr.h"

static void ask_on_control(struct msg *m);
static void ask_on_core(struct msg *m);

void *scsi_task_ask(struct scsi_task *t, size_t size)
{
	struct scsi_ask *a = base_zalloc(size);

	assert(size >= sizeof(*a) && !t->own);
	t->own = a;
	a->task = t;
	a->lu = t->lu ? scsi_lu_of(t->lu) : NULL;
	a->seat = t->nexus->seat;
	return a;
}

void scsi_ask_send(struct scsi_ask *a, void (*on_control)(struct scsi_ask *a), void (*answered)(struct scsi_ask *a))
{
	a->on_control = on_control;
	a->answered = answered;
	msg_send(core_control(scsi_task_scsi(a->task)->core), &a->msg, ask_on_control);
}

/* It may have been removed meanwhile. */
static struct scsi_map_lun *lun_of(const struct scsi_ask *a, struct scsi_map *map)
{
	return map && a->lu && map->luns[a->lu->lun].lu == a->lu ? &map->luns[a->lu->lun] : NULL;
}

static void ask_on_control(struct msg *m)
{
	struct scsi_ask *a = container_of(m, struct scsi_ask, msg);
	struct scsi_target *t = a->seat->target;
	const struct scsi_map_lun *at = lun_of(a, t->map);

	t->works++;
	if (at)
		a->state = at->state;
	a->on_control(a);
}

static void change_told(struct scsi_tell *tell)
{
	struct scsi_ask *a = container_of(tell, struct scsi_ask, tell);

	a->changed(a);
}

static void change_published(struct version_publish *p)
{
	struct scsi_ask *a = container_of(p, struct scsi_ask, publish);

	if (!a->tell.asc_ascq) {
		a->changed(a);
		return;
	}
	a->tell.target = a->lu->target;
	a->tell.lun = a->lu->lun;
	a->tell.except = a->seat;
	a->tell.done = change_told;
	scsi_tell(&a->tell);
}

void scsi_ask_change(struct scsi_ask *a, uint16_t asc_ascq, void (*changed)(struct scsi_ask *a))
{
	struct scsi_map *map;

	if (!lun_of(a, a->seat->target->map)) {
		changed(a);
		return;
	}
	a->changed = changed;
	a->tell = (struct scsi_tell){ .asc_ascq = asc_ascq };
	map = scsi_map_copy(a->seat->target);
	a->state.changes++;
	map->luns[a->lu->lun].state = a->state;
	scsi_map_publish(map, &a->publish, change_published);
}

void scsi_ask_answer(struct scsi_ask *a)
{
	struct scsi_target *t = a->seat->target;

	carry_send(&a->seat->home, &a->msg, ask_on_core);
	t->works--;
	scsi_target_go_on(t);
}

static void ask_on_core(struct msg *m)
{
	struct scsi_ask *a = container_of(m, struct scsi_ask, msg);

	a->answered(a);
}

/* --- common state -- */

struct scsi_lu_state scsi_lu_state_default(const struct scsi_lu *lu)
{
	const struct scsi_mode_facts facts = { .volatile_cache = lu->dev.info.cache == BDEV_CACHE_VOLATILE };
	struct scsi_lu_state state;

	scsi_mode_defaults(&facts, &state);
	return state;
}

void scsi_reset_less(struct scsi_sweep *w)
{
	if (--w->left == 0)
		scsi_sweep_go_on(w);
}

static void reset_published(struct version_publish *p)
{
	scsi_reset_less(container_of(p, struct scsi_sweep, publish));
}

/* A reset of logical units, between its phases: what hosts had set is as it was in the beginning. */
void scsi_reset_state(struct scsi_sweep *w)
{
	struct scsi_map *map;

	if (!w->target->map) {
		scsi_sweep_go_on(w);
		return;
	}
	map = scsi_map_copy(w->target);
	w->left = 1;
	for (uint32_t i = 0; i < SCSI_LUNS_MAX; i++) {
		struct scsi_map_lun *at = &map->luns[i];
		uint64_t changes = at->state.changes;

		if (!at->lu || (w->lun != UINT32_MAX && w->lun != i))
			continue;
		scsi_pr_reset(at->lu, w);
		at->state = scsi_lu_state_default(at->lu);
		at->state.changes = changes + 1;
	}
	scsi_map_publish(map, &w->publish, reset_published);
}
