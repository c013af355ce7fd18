/* SPDX-License-Identifier: BSD-3-Clause */
/* remote_asked.c: what people ask of a path: to be tried, reset, switched on or off, to have another address. Each
 * sets what is wanted, and remote_path.c gets there.
 */
#include "backends/remote/remote_ctl.h"

#include <errno.h>

void remote_path_unwait(struct remote_path_wait *w)
{
	if (list_linked(&w->link))
		list_del(&w->link);
}

static void refuse(struct remote_path *p, struct remote_path_wait *w, int code, const char *why)
{
	struct err e = { 0 };
	char text[512];

	err_set(&e, code, "%s %s", remote_path_text(p, text), why);
	list_init(&w->link);
	w->done(w, &e);
}

/* Somebody who comes with another address, say: of what gave up there is a next attempt, of what is off none. */
void remote_path_when_tried(struct remote_path *p, struct remote_path_wait *w)
{
	if (p->state == REMOTE_PATH_UP) {
		list_init(&w->link);
		w->done(w, NULL);
	} else if (p->state == REMOTE_PATH_DISABLED) {
		refuse(p, w, -EALREADY, "is disabled; bdev_nvme_enable_controller connects it");
	} else {
		list_add_tail(&p->ctl->firsts, &w->link);
		if (p->state == REMOTE_PATH_FAILED)
			remote_path_kick(p, "");
	}
}

void remote_path_reset(struct remote_path *p, struct remote_path_wait *w)
{
	bool idle = p->state == REMOTE_PATH_DELAY || p->state == REMOTE_PATH_FAILED;

	if (p->ctl->want == REMOTE_WANT_GONE) {
		refuse(p, w, -ENODEV, "is being detached");
		return;
	}
	if (p->ctl->want == REMOTE_WANT_DISABLED) {
		refuse(p, w, -EALREADY, "is disabled; bdev_nvme_enable_controller connects it");
		return;
	}
	list_add_tail(&p->ctl->resets, &w->link);
	p->ctl->at_once = idle || p->state >= REMOTE_PATH_UP;
	if (idle || p->state == REMOTE_PATH_UP)
		remote_path_kick(p, "reset on request");
}

void remote_path_enable(struct remote_path *p, struct remote_path_wait *w)
{
	struct err e = { 0 };
	char text[512];

	if (p->ctl->want != REMOTE_WANT_DISABLED) {
		if (p->ctl->want == REMOTE_WANT_GONE) {
			refuse(p, w, -ENODEV, "is being detached");
			return;
		}
		list_init(&w->link);
		w->done(w, NULL);
		return;
	}
	p->ctl->want = REMOTE_WANT_UP;
	p->ctl->hopeless = false;
	p->ctl->down_ns = 0;
	remote_path_lost_since(p, reactor_now_ns());
	list_add_tail(&p->ctl->resets, &w->link);
	remote_group_changed(p->group);
	if (p->state == REMOTE_PATH_DISABLED) {
		remote_path_kick(p, "");
		return;
	}
	p->ctl->at_once = true;
	err_set(&e, -ECANCELED, "%s was enabled again before it was off", remote_path_text(p, text));
	remote_path_tell(&p->ctl->offs, &e); /* who waits for that waits in vain */
}

void remote_path_disable(struct remote_path *p, struct remote_path_wait *w)
{
	if (p->ctl->want == REMOTE_WANT_GONE) {
		refuse(p, w, -ENODEV, "is being detached");
	} else if (p->state == REMOTE_PATH_DISABLED) {
		list_init(&w->link);
		w->done(w, NULL);
	} else {
		p->ctl->want = REMOTE_WANT_DISABLED;
		list_add_tail(&p->ctl->offs, &w->link);
		remote_path_kick(p, "disabled on request");
	}
}

void remote_path_add_alternate(struct remote_path *p, const struct nvme_path *where)
{
	struct remote_path_ctl *ctl = p->ctl;

	ctl->alternates = reallocarray(ctl->alternates, ctl->alternate_count + 1, sizeof(*where));
	must(ctl->alternates);
	ctl->alternates[ctl->alternate_count++] = *where;
}

void remote_path_remove_alternate(struct remote_path *p, uint32_t at)
{
	struct remote_path_ctl *ctl = p->ctl;

	ctl->alternate_count--;
	memmove(ctl->alternates + at, ctl->alternates + at + 1, (ctl->alternate_count - at) * sizeof(*ctl->alternates));
}

/* The address in use is not wanted any more: the next one takes its place. */
void remote_path_drop_address(struct remote_path *p)
{
	p->where = p->ctl->alternates[0];
	remote_path_remove_alternate(p, 0);
	p->ctl->at_once = true;
	remote_path_kick(p, "its address was detached");
}
