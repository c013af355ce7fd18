/* SPDX-License-Identifier: BSD-3-Clause */
/* error.c: error devices come and go, and their rules with them.
 *
 * Cores read the rules without a lock: a set is never changed, a new one takes its place, and the old one is freed
 * after every core has answered a message that was sent later.
 */
#include <errno.h>
#include <stdio.h>

#include "backends/error/error_priv.h"

#define PREFIX "EE_" /* SPDK's */

struct error_order {
	struct bdev_order order;
	struct uuid uuid;
	struct error_rules *rules;   /* while there is no device */
};

static int build(struct bdev_order *o, struct err *e);
static void order_free(struct bdev_order *o);
static void device_free(struct bdev_stacked *s);
static void rules_free(struct error_rules *rules);
static void describe(const struct bdev *b, bdev_emit_fn *emit, void *arg);

const struct bdev_order_ops error_order_ops = {
	.kind = "error", .claims = true, .build = build, .resized = bdev_order_resize_one, .free = order_free,
};

static const struct bdev_ops error_ops = {
	.channel_open = error_channel_open,
	.channel_close = bdev_stack_channel_close,
	.submit = error_submit,
	.abort = error_abort,
	.remove = bdev_stack_remove,
	.destroy = bdev_stack_destroy,
	.describe = describe,
};

int error_create(struct bdev_registry *reg, const struct error_opts *opts, struct err *e)
{
	struct error_order *p;
	char name[BDEV_NAME_MAX];

	snprintf(name, sizeof(name), PREFIX "%.*s", BDEV_NAME_MAX - 8, opts->base);
	if (bdev_find(reg, name) && !bdev_order_find(reg, &error_order_ops, name))
		return err_set(e, -EEXIST, "base_name: its error device would be '%s', and that name is taken by a %s", name,
		               bdev_find(reg, name)->product);
	p = base_zalloc(sizeof(*p));
	p->uuid = opts->uuid;
	return bdev_order_start(reg, &p->order, &error_order_ops, name, &opts->base, 1, e);
}

static int build(struct bdev_order *o, struct err *e)
{
	struct error_order *p = container_of(o, struct error_order, order);
	struct error_device *d = base_zalloc(sizeof(*d));
	struct bdev_stacked *s = &d->stacked;
	int rc;

	bdev_stacked_init(s, o, 0);
	list_init(&d->resets);
	d->base_resets = s->bdev.native_ops & BDEV_BIT(RESET);
	s->end_core = error_end_core;
	s->free = device_free;
	s->bdev.ops = &error_ops;
	s->bdev.product = "Error Injection Disk";
	s->bdev.native_ops |= BDEV_BIT(RESET);
	s->bdev.lends = false; /* a wrong byte must not get into the base's memory */
	s->bdev.consumes = false; /* not what is kept */
	s->bdev.channel_ctx_bytes = sizeof(struct error_core);
	s->bdev.io_ctx_bytes = sizeof(struct error_io);
	s->bdev.uuid = uuid_is_null(&p->uuid) ? bdev_stacked_uuid(s, "error", 0) : p->uuid;
	snprintf(s->bdev.name, sizeof(s->bdev.name), "%s", o->name);
	atomic_store(&d->rules, p->rules);
	rc = bdev_stacked_register(s, e);
	if (rc != 0)
		free(d);
	else
		p->rules = NULL;
	return rc;
}

static void device_free(struct bdev_stacked *s)
{
	struct error_device *d = container_of(s, struct error_device, stacked);

	/* The order is there as long as its devices. */
	container_of(s->order, struct error_order, order)->rules = atomic_load(&d->rules);
	free(d);
}

int error_delete(struct bdev_registry *reg, const char *name, void (*done)(void *arg, int rc), void *arg,
                 struct err *e)
{
	return bdev_order_delete_named(reg, &error_order_ops, name, done, arg, e);
}

static void order_free(struct bdev_order *o)
{
	struct error_order *p = container_of(o, struct error_order, order);

	rules_free(p->rules);
	free(p);
}

void error_get_opts(const struct bdev_order *o, struct error_opts *ret_opts)
{
	const struct error_order *p = container_of(o, const struct error_order, order);

	*ret_opts = (struct error_opts){ .base = o->bases[0].name, .uuid = p->uuid };
}

bool error_get_rule(const struct bdev_order *o, uint32_t at, struct error_rule_opts *ret_rule)
{
	const struct bdev_stacked *s = list_first(&o->devices, const struct bdev_stacked, link);
	const struct error_rules *rules = s ? atomic_load(&container_of(s, const struct error_device, stacked)->rules) :
	                                  container_of(o, const struct error_order, order)->rules;

	for (uint32_t i = 0; rules && i < rules->count; i++) {
		if (!atomic_load(&rules->at[i]->left) || at--)
			continue;
		*ret_rule = rules->at[i]->opts;
		return true;
	}
	return false;
}

static void describe(const struct bdev *b, bdev_emit_fn *emit, void *arg)
{
	const struct error_device *d = container_of(b, const struct error_device, stacked.bdev);
	const struct error_rules *rules = atomic_load(&d->rules);
	char text[32];

	emit(arg, "error_inject.base_bdev", d->stacked.order->bases[0].name);
	snprintf(text, sizeof(text), "%u", rules ? rules->count : 0);
	emit(arg, "error_inject.rules", text);
}

/* --- rules ------------------------------------------------------------------------------------------------ */

static struct error_device *find(struct bdev_registry *reg, const char *name, struct err *e)
{
	const struct bdev *b = bdev_find(reg, name);

	if (b && b->ops != &error_ops)
		err_set(e, -EINVAL, "name: block device '%s' is a %s, not an error device; bdev_error_create makes one over it",
		        name, b->product);
	else if (!b && bdev_order_find(reg, &error_order_ops, name))
		err_set(e, -ENODEV, "name: error device '%s' waits for its base; errors can be injected when that is there",
		        name);
	else if (!b)
		err_set(e, -ENODEV, "name: there is no error device '%s'; its name is " PREFIX " and its base's", name);
	else if (atomic_load(&b->removing))
		err_set(e, -ENODEV, "name: error device '%s' is being removed", name);
	else
		return container_of(b, struct error_device, stacked.bdev);
	return NULL;
}

static void rule_unref(struct error_rule *r)
{
	if (--r->users == 0)
		free(r);
}

static void rules_free(struct error_rules *rules)
{
	for (uint32_t i = 0; rules && i < rules->count; i++)
		rule_unref(rules->at[i]);
	free(rules);
}

static void rules_add(struct error_rules *rules, struct error_rule *r)
{
	rules->at[rules->count++] = r;
	r->users++;
}

/* What is done on the cores while a new set takes the old one's place. */
struct change {
	struct bdev_stack_visit visit;
	struct error_rules *old;
	error_done_fn *done;
	void *arg;
};

static void nothing(struct bdev_stack_visit *v, struct bdev_stack_core *c) {}

static void changed(struct bdev_stack_visit *v)
{
	struct change *c = container_of(v, struct change, visit);
	error_done_fn *done = c->done;
	void *arg = c->arg;

	rules_free(c->old);
	free(c);
	done(arg);
}

static void publish(struct error_device *d, struct error_rules *rules,
                    void (*on_core)(struct bdev_stack_visit *v, struct bdev_stack_core *c), error_done_fn *done,
                    void *arg)
{
	struct change *c = base_zalloc(sizeof(*c));

	c->old = atomic_exchange(&d->rules, rules);
	c->done = done;
	c->arg = arg;
	bdev_stacked_visit(&d->stacked, &c->visit, on_core, changed);
}

static struct error_rule *rule_make(const struct error_rule_opts *opts, uint32_t ops, uint32_t left)
{
	struct error_rule *r = base_zalloc(sizeof(*r));

	r->opts = *opts;
	r->opts.ops = ops;
	atomic_store(&r->left, left); /* of opts->num */
	return r;
}

/* The present rules but those that `opts` takes the place of, or that are used up. */
static struct error_rules *rules_without(const struct error_rules *now, const struct error_rule_opts *opts)
{
	struct error_rules *rules = base_zalloc(sizeof(*rules));

	for (uint32_t i = 0; now && i < now->count; i++) {
		struct error_rule *r = now->at[i];
		bool same_blocks = r->opts.lba == opts->lba && r->opts.count == opts->count;

		if (!atomic_load(&r->left) || (same_blocks && !(r->opts.ops & ~opts->ops)))
			continue;
		rules_add(rules, same_blocks && r->opts.ops & opts->ops
		          ? rule_make(&r->opts, r->opts.ops & ~opts->ops, atomic_load(&r->left)) : r);
	}
	return rules;
}

int error_inject(struct bdev_registry *reg, const char *name, const struct error_rule_opts *opts, error_done_fn *done,
                 void *arg, struct err *e)
{
	struct error_device *d = find(reg, name, e);
	struct error_rules *rules;

	if (!d)
		return -ENODEV;
	if (opts->kind == ERROR_CORRUPT && !opts->corrupt_value)
		return err_set(e, -EINVAL, "corrupt_value: XOR with 0 changes nothing; give 1 to 255");
	if (opts->kind == ERROR_CORRUPT && opts->ops & ~(BDEV_BIT(READ) | BDEV_BIT(WRITE)))
		return err_set(e, -EINVAL, "io_type: only the data of read and write can be corrupted");
	if (opts->count && opts->lba >= atomic_load(&d->stacked.bdev.block_count))
		return err_set(e, -EINVAL, "offset_blocks: '%s' has %llu blocks; none of those named is there", name,
		               (unsigned long long)atomic_load(&d->stacked.bdev.block_count));
	rules = rules_without(atomic_load(&d->rules), opts);
	if (opts->num && rules->count == ERROR_RULES_MAX) {
		rules_free(rules);
		return err_set(e, -ENOSPC, "'%s' has %u rules already; clear some with io_type clear", name, ERROR_RULES_MAX);
	}
	if (opts->num)
		rules_add(rules, rule_make(opts, opts->ops, opts->num));
	publish(d, rules, nothing, done, arg);
	return 0;
}

int error_clear(struct bdev_registry *reg, const char *name, error_done_fn *done, void *arg, struct err *e)
{
	struct error_device *d = find(reg, name, e);

	if (!d)
		return -ENODEV;
	publish(d, NULL, nothing, done, arg);
	return 0;
}

int error_resume(struct bdev_registry *reg, const char *name, error_done_fn *done, void *arg, struct err *e)
{
	struct error_device *d = find(reg, name, e);
	struct error_rules *rules;
	const struct error_rules *now;

	if (!d)
		return -ENODEV;
	now = atomic_load(&d->rules);
	rules = base_zalloc(sizeof(*rules));
	for (uint32_t i = 0; now && i < now->count; i++)
		if (now->at[i]->opts.kind != ERROR_PENDING)
			rules_add(rules, now->at[i]);
	publish(d, rules, error_resume_core, done, arg);
	return 0;
}
