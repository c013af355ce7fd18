/* SPDX-License-Identifier: BSD-3-Clause */
/* served.c: a device that is shown to hosts: opened, counted on every core, closed. */
#include <errno.h>

#include "base/text.h"
#include "bdev/bdev_device.h"
#include "bdev/served.h"

static void left_on_control(struct msg *m);
static void close_if_unused(struct bdev_served *s);

/* --- opening: control --------------------------------------------------------------------------------- */

static int check_device(const struct bdev_served *s, struct err *e)
{
	const struct bdev_info *info = &s->info;

	if (info->md_size > BDEV_SERVED_MD_MAX)
		return err_set(e, -ENOTSUP, "%s: device '%s' keeps %u bytes of metadata with each block; a %s can have %u",
		               s->ops->param, info->name, info->md_size, s->ops->shown_as, BDEV_SERVED_MD_MAX);
	if (!is_pow2(info->block_size) || info->block_size < 512)
		return err_set(e, -EINVAL, "%s: device '%s' has blocks of %u bytes; a %s needs a power of two of at least "
		               "512", s->ops->param, info->name, info->block_size, s->ops->shown_as);
	return 0;
}

static void fill_views(struct bdev_served *s, const struct bdev *b)
{
	for (uint32_t i = 0; i < core_reactor_count(s->core); i++) {
		struct bdev_view *v = &s->view[i];

		v->served = s;
		v->desc = s->desc;
		v->shift = (uint8_t)__builtin_ctz(s->info.block_size);
		v->shape = (uint32_t)(v->shift | s->info.md_size << 8 | s->info.dif_type << 16 |
		                      s->info.dif_is_head_of_md << 20);
		v->md_size = (uint16_t)s->info.md_size;
		v->consumes = b->consumes;
		v->lends = s->info.lends && (!s->info.md_size || s->info.md_interleaved);
		v->lends_zeroes = s->info.lends_zeroes;
		v->lends_writes = s->info.lends_writes && !s->info.md_size;
		v->read_only = s->info.read_only;
		if (v->lends)
			v->lend_iovs_small = bdev_lend_iovs_max(s->desc, max_u32(1, BDEV_LEND_SMALL >> v->shift));
	}
}

int bdev_served_open(struct bdev_served *s, struct bdev_registry *reg, const char *name, bool read_only,
                     const char *owner, const struct bdev_served_ops *ops, struct err *e)
{
	const struct bdev *b = bdev_find(reg, name);

	if (!b)
		return err_set(e, -ENODEV, "%s: there is no device '%s'; bdev_get_bdevs lists those that exist", ops->param,
		               name);
	s->desc = bdev_open_served(reg, name, !b->read_only && !read_only, owner, ops->event, s, e);
	if (!s->desc)
		return e->code;
	s->ops = ops;
	s->core = bdev_registry_core(reg);
	list_init(&s->waiters);
	if (!ops->knows_md && bdev_plain(s->desc, e)) {
		bdev_close(s->desc);
		return e->code;
	}
	bdev_get_info(s->desc, &s->info);
	s->made_read_only = read_only;
	s->info.read_only |= read_only;
	if (check_device(s, e)) {
		bdev_close(s->desc);
		return e->code;
	}
	s->refs = 1;
	text_pad(s->bdev_name, sizeof(s->bdev_name) - 1, s->info.name, 0);
	fill_views(s, b);
	return 0;
}

void bdev_served_ref(struct bdev_served *s)
{
	s->refs++;
}

void bdev_served_unref(struct bdev_served *s)
{
	assert(s->refs > 0);
	s->refs--;
	close_if_unused(s);
}

void bdev_served_wait_closed(struct bdev_served *s, struct bdev_served_wait *w,
                             void (*fn)(struct bdev_served_wait *w))
{
	w->fn = fn;
	list_add_tail(&s->waiters, &w->link);
	close_if_unused(s);
}

/* The device goes as soon as no core uses it, though versions that are being left may still name it. */
static void close_if_unused(struct bdev_served *s)
{
	struct list *l;

	if (s->desc && !s->cores_in && (!s->refs || !list_empty(&s->waiters))) {
		bdev_close(s->desc);
		s->desc = NULL;
	}
	if (s->desc)
		return;
	s->refs++; /* waiters may give theirs back */
	while ((l = list_pop(&s->waiters))) {
		struct bdev_served_wait *w = list_entry(l, struct bdev_served_wait, link);

		w->fn(w);
	}
	if (--s->refs)
		return;
	for (uint32_t i = 0; i < core_reactor_count(s->core); i++)
		free(s->view[i].own);
	s->ops->over(s);
}

/* --- on every core --------------------------------------------------------------------------------------- */

static void enter_on_core(struct each *each)
{
	struct bdev_served *s = container_of(each, struct bdev_served, each);
	struct err e = { 0 };

	if (!bdev_view_enter(&s->view[reactor_index(reactor_self())], &e) && !atomic_exchange(&s->core_failed, true))
		s->core_err = e;
}

static void leave_on_core(struct each *each)
{
	bdev_view_put(&container_of(each, struct bdev_served, each)->view[reactor_index(reactor_self())]);
}

static void each_done(struct each *each)
{
	struct bdev_served *s = container_of(each, struct bdev_served, each);

	s->each_done(s->each_arg);
}

static void on_every_core(struct bdev_served *s, each_fn *fn, void (*done)(void *arg), void *arg)
{
	s->each_done = done;
	s->each_arg = arg;
	each_core(&s->each, s->core, fn, each_done);
}

void bdev_served_enter_all(struct bdev_served *s, void (*done)(void *arg), void *arg)
{
	s->cores_in = core_reactor_count(s->core);
	on_every_core(s, enter_on_core, done, arg);
}

void bdev_served_leave_all(struct bdev_served *s, void (*done)(void *arg), void *arg)
{
	on_every_core(s, leave_on_core, done, arg);
}

int bdev_served_check(const struct bdev_served *s, struct err *e)
{
	if (!atomic_load(&s->core_failed))
		return 0;
	return err_set(e, s->core_err.code ? s->core_err.code : -EIO, "device '%s' cannot be used on every core: %s",
	               s->bdev_name, s->core_err.text);
}

bool bdev_served_lost(const struct bdev_served *s)
{
	return s->gone_told && s->desc && !bdev_returns(s->desc);
}

bool bdev_view_enter(struct bdev_view *v, struct err *e)
{
	if (v->refs++ == 0)
		v->ch = bdev_channel_get(v->desc, e);
	return v->ch != NULL;
}

void bdev_view_leave_slow(struct bdev_view *v)
{
	if (v->ch)
		bdev_channel_put(v->ch);
	v->ch = NULL;
	msg_send(core_control(v->served->core), &v->left_msg, left_on_control);
}

static void left_on_control(struct msg *m)
{
	struct bdev_served *s = container_of(m, struct bdev_view, left_msg)->served;

	assert(s->cores_in > 0);
	s->cores_in--;
	close_if_unused(s);
}
