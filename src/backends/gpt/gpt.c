/* SPDX-License-Identifier: BSD-3-Clause */
/* gpt.c: partitions as devices: which of a table's are wanted, and how they come and go with their disk.
 *
 * A disk with wanted partitions is an order of the stack: claimed while the order lives, which is until the disk or the
 * last partition goes. A disk that comes back is read anew: its table may be another one.
 */
#include "backends/gpt/gpt.h"

#include <errno.h>
#include <stdio.h>

#include "backends/gpt/gpt_priv.h"
#include "core/log.h"

struct disk {
	struct bdev_order order;
	struct gpt *g;
	struct gpt_table table;      /* the wanted partitions */
	bool leaving;                /* ends; what comes back is read anew */
	bool again;                  /* somebody has read it anew meanwhile: once more when it has ended */
	bool updating, left_waits;   /* update() needs it still; then it ends */
};

struct partition {
	struct bdev_stacked stacked;
	struct gpt_part part;
	struct uuid table;
};

static void arrived(struct bdev_arrival *a, struct bdev *b);
static void found(struct gpt *g, const char *base, const struct gpt_table *table, bool unread, void *arg);
static int build(struct bdev_order *o, struct err *e);
static bool leave(struct bdev_order *o);
static void resized(struct bdev_order *o, uint32_t base);
static void disk_free(struct bdev_order *o);
static void update(struct disk *d);
static int partition_make(struct disk *d, const struct gpt_part *part, struct err *e);
static void partition_free(struct bdev_stacked *s);

static const struct bdev_order_ops order_ops = {
	.kind = "gpt", .claims = true, .found_again = true, .build = build, .leave = leave, .resized = resized,
	.free = disk_free,
};

static const struct bdev_ops partition_ops = { /* its own, to be told from other devices of the stack */
	.channel_open = bdev_stack_channel_open, .channel_close = bdev_stack_channel_close,
	.submit = bdev_stack_submit, .abort = bdev_stack_abort, .release = bdev_stack_release,
	.lend_iovs_max = bdev_stack_lend_iovs_max, .remove = bdev_stack_remove, .destroy = bdev_stack_destroy,
};

struct gpt *gpt_make(struct bdev_registry *reg)
{
	struct gpt *g = base_zalloc(sizeof(*g));

	g->reg = reg;
	must(gpt_types_add(&g->types, "spdk", NULL) == 0);
	bdev_arrival_add(reg, &g->arrival, arrived);
	return g;
}

void gpt_free(struct gpt *g)
{
	if (!g)
		return;
	must(!g->scans);
	bdev_arrival_remove(&g->arrival);
	free(g);
}

/* --- types ------------------------------------------------------------------------------------------------ */

/*    name     type                                    what it is */
#define TYPES(X) \
	X("spdk",  "6527994e-2c5a-4eec-9613-8f5944074e8b") /* SPDK's */ \
	X("spdk",  "7c5222bd-8f5d-4087-9c00-bf9843c7b58c") /* SPDK's until 2022: its devices lack their last block */ \
	X("linux", "0fc63daf-8483-4772-8e79-3d69d8477de4") /* Linux file systems */
static const struct { const char *name, *type; } named_types[] = {
#define TYPE_ROW(type_name, type_text) { type_name, type_text },
	TYPES(TYPE_ROW)
};
#define TYPE_OLD named_types[1].type

static struct uuid type_of(const char *text)
{
	struct uuid u;

	must(uuid_from_text(text, &u));
	return u;
}

static bool has_type(const struct gpt_types *t, const struct uuid *type)
{
	for (uint32_t i = 0; i < t->count; i++)
		if (uuid_equal(&t->types[i], type))
			return true;
	return t->all;
}

static int type_add(struct gpt_types *t, struct uuid type, struct err *e)
{
	if (t->count == GPT_TYPES_MAX)
		return err_set(e, -EINVAL, "types: more than %u; say 'all'", GPT_TYPES_MAX);
	t->types[t->count++] = type;
	return 0;
}

int gpt_types_add(struct gpt_types *t, const char *text, struct err *e)
{
	bool known = strcmp(text, "none") == 0;
	struct uuid type;
	int rc = 0;

	if (strcmp(text, "all") == 0)
		t->all = known = true;
	for (uint32_t i = 0; i < ARRAY_SIZE(named_types) && rc == 0; i++) {
		if (strcmp(text, named_types[i].name) != 0)
			continue;
		known = true;
		rc = type_add(t, type_of(named_types[i].type), e);
	}
	if (known)
		return rc;
	if (!uuid_from_text(text, &type))
		return err_set(e, -EINVAL, "types: '%s' is none of spdk, linux, all, none, and not the UUID of a type", text);
	return type_add(t, type, e);
}

void gpt_set_types(struct gpt *g, const struct gpt_types *types)
{
	g->types = *types;
}

const struct gpt_types *gpt_get_types(const struct gpt *g)
{
	return &g->types;
}

/* --- looking ---------------------------------------------------------------------------------------------- */

/* Not into partitions themselves: what a disk says would make any number of devices. */
static bool may_have_table(const struct bdev *b)
{
	return b->ops != &partition_ops && !b->md_interleaved && !atomic_load(&b->removing);
}

static void arrived(struct bdev_arrival *a, struct bdev *b)
{
	struct gpt *g = container_of(a, struct gpt, arrival);

	if (may_have_table(b) && (g->types.all || g->types.count))
		gpt_scan(g, b, found, NULL);
}

static struct disk *disk_of(struct gpt *g, const char *base)
{
	struct bdev_order *o = bdev_order_find(g->reg, &order_ops, base);

	return o ? container_of(o, struct disk, order) : NULL;
}

static void keep_wanted(const struct gpt *g, const struct gpt_table *from, struct gpt_table *to)
{
	struct uuid old = type_of(TYPE_OLD);

	*to = (struct gpt_table){ .count = 0 };
	if (!from)
		return;
	to->disk = from->disk;
	for (uint32_t i = 0; i < from->count; i++) {
		struct gpt_part part = from->parts[i];

		part.count -= uuid_equal(&part.type, &old); /* as SPDK: layouts stand on that size */
		if (part.count && has_type(&g->types, &part.type))
			to->parts[to->count++] = part;
	}
}

static void found(struct gpt *g, const char *base, const struct gpt_table *table, bool unread, void *arg)
{
	struct disk *d = disk_of(g, base);
	struct err e = { 0 };
	struct bdev *b;

	if (d) {
		if (d->leaving) { /* it will be read anew when it comes back, if it is the device that goes */
			d->again = true;
			return;
		}
		if (!table && unread)
			return; /* nobody knows what it says now: users keep what they have */
		keep_wanted(g, table, &d->table);
		update(d);
		return;
	}
	b = bdev_find(g->reg, base);
	if (!b || atomic_load(&b->removing))
		return;
	d = base_zalloc(sizeof(*d));
	keep_wanted(g, table, &d->table);
	if (!d->table.count) {
		free(d);
		return;
	}
	d->g = g;
	if (bdev_order_start(g->reg, &d->order, &order_ops, base, &base, 1, &e) != 0)
		log_warning("gpt: the partitions of '%s' are not used: %s", base, e.text);
}

/* --- asked for -------------------------------------------------------------------------------------------- */

struct rescan {
	uint32_t left;
	void (*done)(void *arg);
	void *arg;
};

static void rescan_step(struct rescan *r)
{
	if (--r->left)
		return;
	r->done(r->arg);
	free(r);
}

static void found_again(struct gpt *g, const char *base, const struct gpt_table *table, bool unread, void *arg)
{
	found(g, base, table, unread, NULL);
	rescan_step(arg);
}

int gpt_rescan(struct gpt *g, const char *name, void (*done)(void *arg), void *arg, struct err *e)
{
	struct bdev *one = name ? bdev_find(g->reg, name) : NULL;
	struct rescan *r;

	if (name && !one)
		return err_set(e, -ENODEV, "there is no block device '%s'; bdev_get_bdevs lists those there are", name);
	r = base_zalloc(sizeof(*r));
	*r = (struct rescan){ .left = 1, .done = done, .arg = arg };
	for (struct bdev *b = bdev_first(g->reg); b; b = bdev_next(b)) { /* found_again() runs later: the list stays */
		if ((one && b != one) || !may_have_table(b))
			continue;
		r->left++;
		gpt_scan(g, b, found_again, r);
	}
	rescan_step(r);
	return 0;
}

/* --- a disk with partitions ------------------------------------------------------------------------------- */

static int build(struct bdev_order *o, struct err *e)
{
	struct disk *d = container_of(o, struct disk, order);

	for (uint32_t i = 0; i < d->table.count; i++) {
		int rc = partition_make(d, &d->table.parts[i], e);

		if (rc != 0)
			return rc;
	}
	return 0;
}

static void left(void *arg, int rc) {}

/* It would come back with this table; what comes back is read anew instead. */
static bool leave(struct bdev_order *o)
{
	struct disk *d = container_of(o, struct disk, order);

	d->leaving = true;
	d->left_waits = d->updating;
	bdev_order_delete(o, left, NULL);
	return !d->updating;
}

static void resized(struct bdev_order *o, uint32_t base)
{
	struct disk *d = container_of(o, struct disk, order);
	struct bdev *b = bdev_find(d->g->reg, o->name);

	if (b)
		gpt_scan(d->g, b, found, NULL);
}

/* What kept its partitions away may be gone by now: a name that was taken, a table that had none. */
static void disk_free(struct bdev_order *o)
{
	struct disk *d = container_of(o, struct disk, order);
	struct bdev *b = d->again ? bdev_find(d->g->reg, o->name) : NULL;

	if (b && may_have_table(b))
		gpt_scan(d->g, b, found, NULL);
	free(d);
}

static struct partition *partition_of(struct list *l)
{
	return container_of(l, struct partition, stacked.link);
}

static const struct gpt_part *wanted(const struct disk *d, const struct gpt_part *part)
{
	for (uint32_t i = 0; i < d->table.count; i++) {
		const struct gpt_part *w = &d->table.parts[i];

		if (w->number == part->number && w->first == part->first && uuid_equal(&w->id, &part->id))
			return w;
	}
	return NULL;
}

static void unregistered(void *arg, int rc) {}

/* One that the table has no longer, or has otherwise. */
static struct partition *outdated(struct disk *d)
{
	list_each(l, &d->order.devices) {
		struct partition *p = partition_of(l);

		if (!wanted(d, &p->part) && !atomic_load(&p->stacked.bdev.removing))
			return p;
	}
	return NULL;
}

static bool has_number(const struct disk *d, uint32_t number)
{
	list_each(l, &d->order.devices)
		if (partition_of(l)->part.number == number)
			return true;
	return false;
}

/* Those that are new; a number that is still going is looked at again when it has gone. */
static void make_missing(struct disk *d)
{
	for (uint32_t i = 0; i < d->table.count && !d->leaving; i++) {
		struct err e = { 0 };

		if (!has_number(d, d->table.parts[i].number) && partition_make(d, &d->table.parts[i], &e) != 0)
			log_warning("gpt: partition %u of '%s' is not used: %s", d->table.parts[i].number, d->order.name, e.text);
	}
}

static void update(struct disk *d)
{
	struct partition *p;

	list_each(l, &d->order.devices) {
		const struct gpt_part *now = wanted(d, &partition_of(l)->part);

		p = partition_of(l);
		if (now && now->count != p->part.count && bdev_resize(&p->stacked.bdev, now->count, NULL) == 0)
			p->part.count = now->count;
	}
	d->updating = true;
	make_missing(d);
	while ((p = outdated(d))) /* with the last partition the disk is left */
		bdev_unregister(&p->stacked.bdev, unregistered, NULL);
	d->updating = false;
	if (d->left_waits)
		bdev_order_left(&d->order);
}

/* --- one partition ---------------------------------------------------------------------------------------- */

static int partition_make(struct disk *d, const struct gpt_part *part, struct err *e)
{
	struct partition *p = base_zalloc(sizeof(*p));
	struct bdev *b = &p->stacked.bdev;
	char text[UUID_TEXT_MAX];
	int rc;

	bdev_stacked_init(&p->stacked, &d->order, 0);
	p->stacked.offset = part->first;
	p->stacked.free = partition_free;
	p->part = *part;
	p->table = d->table.disk;
	b->ops = &partition_ops;
	b->product = "GPT Disk";
	b->block_count = part->count;
	snprintf(b->name, sizeof(b->name), "%.240sp%u", d->order.name, part->number);
	b->uuid = part->id;
	if (uuid_is_null(&b->uuid) || bdev_find(d->g->reg, uuid_to_text(&b->uuid, text))) /* a copy of another disk */
		b->uuid = bdev_stacked_uuid(&p->stacked, "gpt", part->number);
	rc = bdev_stacked_register(&p->stacked, e);
	if (rc != 0)
		free(p);
	return rc;
}

static void partition_free(struct bdev_stacked *s)
{
	struct disk *d = container_of(s->order, struct disk, order);

	free(container_of(s, struct partition, stacked));
	if (!d->leaving)
		make_missing(d); /* its number is free now */
}

bool gpt_facts_of(const struct bdev *b, struct gpt_facts *ret_facts)
{
	const struct partition *p = container_of(b, const struct partition, stacked.bdev);

	if (b->ops != &partition_ops)
		return false;
	*ret_facts = (struct gpt_facts){
		.base = p->stacked.order->bases[0].name, .name = p->part.name, .offset_blocks = p->part.first,
		.table = p->table, .type = p->part.type, .id = p->part.id,
	};
	return true;
}
