/* SPDX-License-Identifier: BSD-3-Clause */
/* stack.c: standing orders: what is to stand on which devices, built and taken down as those come and go.
 *
 * Whatever calls out (build, unregister, close) may come back to the same order: `busy` keeps it from ending
 * within such a call, and settle() looks again when the call is over.
 */
#include <errno.h>
#include <stdio.h>

#include "bdev/bdev_stack.h"
#include "bdev/bdev_waist.h"
#include "core/log.h"

static int check(struct bdev_registry *reg, const struct bdev_order *o, struct err *e);
static int try_up(struct bdev_order *o, struct err *e);
static void take_down(struct bdev_order *o);
static void settle(struct bdev_order *o);
static void forget(struct bdev_order *o);
static struct bdev_order_base *bases_copy(const struct bdev_order_base *bases, uint32_t count);
static void somebody_came(struct bdev_arrival *a, struct bdev *b);

int bdev_order_start(struct bdev_registry *reg, struct bdev_order *o, const struct bdev_order_ops *ops,
                     const char *name, const char *const *bases, uint32_t base_count, struct err *e)
{
	int rc;

	must(base_count > 0);
	o->ops = ops;
	o->reg = reg;
	o->state = BDEV_ORDER_WAITS;
	o->busy = 0;
	o->left = o->deleted = false;
	o->deleted_done = NULL;
	bdev_order_resaved(o);
	list_init(&o->devices);
	list_init(&o->link);
	snprintf(o->name, sizeof(o->name), "%s", name);
	o->bases = base_zalloc(base_count * sizeof(*o->bases));
	o->base_count = base_count;
	for (uint32_t i = 0; i < base_count; i++) {
		o->bases[i].order = o;
		snprintf(o->bases[i].name, sizeof(o->bases[i].name), "%s", bases[i]);
	}
	rc = check(reg, o, e);
	if (rc == 0) {
		if (list_empty(&reg->orders))
			bdev_arrival_add(reg, &reg->order_arrival, somebody_came);
		list_add_tail(&reg->orders, &o->link);
		o->busy++; /* it is not to be forgotten before try_up() returned */
		rc = try_up(o, e);
		o->busy--;
		if (rc == 0)
			return 0;
	}
	o->deleted = true;
	settle(o);
	return rc;
}

int bdev_order_check_name(struct bdev_registry *reg, const struct bdev_order_ops *ops, const char *name,
                          const char *base, struct err *e)
{
	const struct bdev *b = bdev_find(reg, name);

	if (strcmp(name, base) == 0)
		return err_set(e, -EINVAL, "name: a %s cannot stand on itself: '%s' is its base too", ops->kind, name);
	if (b && !bdev_order_find(reg, ops, name))
		return err_set(e, -EEXIST, "name: '%s' is taken by a %s; choose another one", name, b->product);
	return 0;
}

void bdev_order_resaved(struct bdev_order *o)
{
	o->saved_stamp = ++o->reg->saved_stamps;
}

static int check(struct bdev_registry *reg, const struct bdev_order *o, struct err *e)
{
	if (bdev_order_find(reg, o->ops, o->name))
		return err_set(e, -EEXIST, "there is a device of kind %s '%s' already; delete it first, or choose another name",
		               o->ops->kind, o->name);
	for (uint32_t i = 0; i < o->base_count; i++)
		for (uint32_t j = 0; j < i; j++)
			if (strcmp(o->bases[i].name, o->bases[j].name) == 0)
				return err_set(e, -EINVAL, "device '%s' is named twice as a base of the %s '%s'",
				               o->bases[i].name, o->ops->kind, o->name);
	return 0;
}

/* --- up --------------------------------------------------------------------------------------------------- */

static void base_event(struct bdev_desc *desc, enum bdev_event event, void *arg)
{
	struct bdev_order_base *base = arg;
	struct bdev_order *o = base->order;

	if (!o)
		return; /* it is being closed */
	if (event == BDEV_EVENT_REMOVE)
		take_down(o);
	else if (event == BDEV_EVENT_RESIZE && o->state == BDEV_ORDER_UP && o->ops->resized)
		o->ops->resized(o, (uint32_t)(base - o->bases));
}

void bdev_order_resize_one(struct bdev_order *o, uint32_t base)
{
	struct bdev_stacked *s = list_first(&o->devices, struct bdev_stacked, link);
	int rc = s ? bdev_resize(&s->bdev, bdev_block_count(o->bases[base].desc), NULL) : 0;

	(void)rc; /* one that goes keeps its size */
}

static bool all_there(const struct bdev_order *o)
{
	for (uint32_t i = 0; i < o->base_count; i++) {
		const struct bdev *b = bdev_find(o->reg, o->bases[i].name);

		if (!b || atomic_load(&b->removing))
			return false;
	}
	return true;
}

static int open_bases(struct bdev_order *o, struct err *e)
{
	char owner[sizeof(((struct bdev_desc *)0)->owner)];

	snprintf(owner, sizeof(owner), "%s %.40s", o->ops->kind, o->name);
	for (uint32_t i = 0; i < o->base_count; i++) {
		struct bdev_order_base *base = &o->bases[i];

		base->desc = bdev_open(o->reg, base->name, true, owner, base_event, base, e);
		if (!base->desc)
			return -EPERM;
		if (o->ops->claims && bdev_claim(base->desc, e) != 0)
			return -EPERM;
	}
	return 0;
}

static int try_up(struct bdev_order *o, struct err *e)
{
	int rc;

	if (o->state != BDEV_ORDER_WAITS || o->deleted || !all_there(o))
		return 0;
	o->state = BDEV_ORDER_UP; /* from here on arrivals do not try it again */
	o->why = (struct err){ 0 };
	o->busy++;
	rc = open_bases(o, &o->why);
	if (rc == 0)
		rc = o->ops->build(o, &o->why);
	o->busy--;
	if (rc != 0) {
		err_set(e, rc, "%s", o->why.text);
		take_down(o);
	}
	return rc;
}

/* Those that waited longest first; one that builds lets others come before this returns. */
static void somebody_came(struct bdev_arrival *a, struct bdev *b)
{
	struct bdev_registry *reg = container_of(a, struct bdev_registry, order_arrival);

	list_each(l, &reg->orders) {
		struct bdev_order *o = list_entry(l, struct bdev_order, link);
		struct err e = { 0 };

		if (try_up(o, &e) != 0)
			log_warning("bdev: the %s '%s' waits: %s", o->ops->kind, o->name, e.text);
	}
}

/* --- down ------------------------------------------------------------------------------------------------- */

static void unregistered(void *arg, int rc) {}

static struct bdev_stacked *one_that_stays(struct bdev_order *o)
{
	list_each(l, &o->devices) {
		struct bdev_stacked *s = list_entry(l, struct bdev_stacked, link);

		if (!atomic_load(&s->bdev.removing))
			return s;
	}
	return NULL;
}

static void take_down(struct bdev_order *o)
{
	bool returns = !o->deleted || o->ops->found_again;
	struct bdev_stacked *s;

	if (o->state != BDEV_ORDER_UP)
		return;
	list_each(l, &o->devices)
		list_entry(l, struct bdev_stacked, link)->bdev.returns = returns;
	o->state = BDEV_ORDER_GOES;
	o->busy++;
	o->left = !o->ops->leave || o->ops->leave(o);
	while ((s = one_that_stays(o)))
		bdev_unregister(&s->bdev, unregistered, NULL);
	o->busy--;
	settle(o);
}

void bdev_order_left(struct bdev_order *o)
{
	o->left = true;
	settle(o);
}

/* What was waited for may have come true. Closing a base may end it, what stood on it, and with the last device all of
 * the registry: the order is not looked at after that. */
static void settle(struct bdev_order *o)
{
	struct bdev_order_base *bases = o->bases;
	uint32_t count = o->base_count;
	void (*done)(void *arg, int rc) = o->deleted_done;
	void *arg = o->deleted_arg;
	bool deleted = o->deleted;

	if (o->busy || o->state == BDEV_ORDER_UP || (o->state == BDEV_ORDER_WAITS && !deleted))
		return;
	if (o->state == BDEV_ORDER_GOES && (!o->left || !list_empty(&o->devices)))
		return;
	o->state = BDEV_ORDER_WAITS;
	if (deleted)
		forget(o);
	else
		o->bases = bases_copy(bases, count);
	for (uint32_t i = 0; i < count; i++)
		bases[i].order = NULL; /* as one is closed the next may go */
	for (uint32_t i = 0; i < count; i++)
		bdev_close(bases[i].desc);
	free(bases);
	if (deleted && done)
		done(arg, 0);
}

/* The same names, none of them open. */
static struct bdev_order_base *bases_copy(const struct bdev_order_base *bases, uint32_t count)
{
	struct bdev_order_base *copy = base_zalloc(count * sizeof(*copy));

	for (uint32_t i = 0; i < count; i++) {
		copy[i] = bases[i];
		copy[i].desc = NULL;
	}
	return copy;
}

/* But for its bases, which are the caller's. */
static void forget(struct bdev_order *o)
{
	struct bdev_registry *reg = o->reg;
	bool listed = list_linked(&o->link);

	list_del(&o->link);
	if (listed && list_empty(&reg->orders))
		bdev_arrival_remove(&reg->order_arrival);
	o->ops->free(o);
}

void bdev_order_delete(struct bdev_order *o, void (*done)(void *arg, int rc), void *arg)
{
	if (o->deleted) {
		done(arg, -EBUSY);
		return;
	}
	o->deleted = true;
	o->deleted_done = done;
	o->deleted_arg = arg;
	if (o->state == BDEV_ORDER_UP)
		take_down(o);
	else
		settle(o);
}

int bdev_order_delete_named(struct bdev_registry *reg, const struct bdev_order_ops *ops, const char *name,
                            void (*done)(void *arg, int rc), void *arg, struct err *e)
{
	struct bdev_order *o = bdev_order_find(reg, ops, name);
	struct bdev *b;

	if (o) {
		bdev_order_delete(o, done, arg);
		return 0;
	}
	b = bdev_find(reg, name);
	if (b)
		return err_set(e, -EINVAL, "block device '%s' is a %s, not one of kind %s", name, b->product, ops->kind);
	return err_set(e, -ENODEV, "there is no %s '%s', built or waiting for its base", ops->kind, name);
}

void bdev_orders_free(struct bdev_registry *reg)
{
	struct bdev_order *o;

	while ((o = bdev_order_first(reg))) {
		must(o->state == BDEV_ORDER_WAITS);
		free(o->bases);
		forget(o);
	}
}

/* A device of the order is gone; it may have been the last, and unregistered by somebody else than us. */
void bdev_order_lost(struct bdev_order *o)
{
	if (o->state == BDEV_ORDER_UP && list_empty(&o->devices) && !o->busy)
		take_down(o);
	else
		settle(o);
}

/* --- finding ---------------------------------------------------------------------------------------------- */

struct bdev_order *bdev_order_first(struct bdev_registry *reg)
{
	return list_first(&reg->orders, struct bdev_order, link);
}

struct bdev_order *bdev_order_next(struct bdev_order *o)
{
	return o->link.next == &o->reg->orders ? NULL : list_entry(o->link.next, struct bdev_order, link);
}

struct bdev_order *bdev_order_of(struct bdev *b)
{
	for (struct bdev_order *o = bdev_order_first(b->reg); o; o = bdev_order_next(o)) {
		list_each(l, &o->devices) {
			if (&list_entry(l, struct bdev_stacked, link)->bdev == b)
				return o;
		}
	}
	return NULL;
}

struct bdev_order *bdev_order_find(struct bdev_registry *reg, const struct bdev_order_ops *ops, const char *name)
{
	for (struct bdev_order *o = bdev_order_first(reg); o; o = bdev_order_next(o))
		if (o->ops == ops && strcmp(o->name, name) == 0)
			return o;
	return NULL;
}
