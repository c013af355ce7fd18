/* SPDX-License-Identifier: BSD-3-Clause */
/* delay.c: reads and writes go to the base at once; its answer is kept until their time is over.
 *
 * A hundredth of them, chosen at random, take the longer time. What waits costs a timer and no more: nothing polls.
 */
#include "backends/delay/delay.h"

#include <errno.h>
#include <stdio.h>

#include "base/random.h"

struct delay_order {
	struct bdev_order order;
	struct uuid uuid;
	_Atomic uint64_t latency_us[DELAY_LATENCIES]; /* written by control, read by each core */
};

struct delay_core {
	struct bdev_stack_core stack;
	struct list waiting;      /* of struct delay_io: the base has answered */
	uint64_t random;
};

struct delay_io {
	struct bdev_stack_io stack;
	struct timer timer;
	struct list link;
	uint64_t due_ns;
	bool waits;
};

static int build(struct bdev_order *o, struct err *e);
static void order_free(struct bdev_order *o);
static int channel_open(struct bdev_channel *ch, struct err *e);
static void submit(struct bdev_channel *ch, struct bdev_io *io);
static bool abort_io(struct bdev_channel *ch, struct bdev_io *io);
static void end_core(struct bdev_stack_visit *v, struct bdev_stack_core *c);
static void describe(const struct bdev *b, bdev_emit_fn *emit, void *arg);

const struct bdev_order_ops delay_order_ops = {
	.kind = "delay", .claims = true, .build = build, .resized = bdev_order_resize_one, .free = order_free,
};

static const struct bdev_ops delay_ops = {
	.channel_open = channel_open,
	.channel_close = bdev_stack_channel_close,
	.submit = submit,
	.abort = abort_io,
	.release = bdev_stack_release,
	.lend_iovs_max = bdev_stack_lend_iovs_max,
	.remove = bdev_stack_remove,
	.destroy = bdev_stack_destroy,
	.describe = describe,
};

/* --- coming, changing, going ------------------------------------------------------------------------------ */

int delay_create(struct bdev_registry *reg, const struct delay_opts *opts, struct err *e)
{
	struct delay_order *p;
	int rc = bdev_order_check_name(reg, &delay_order_ops, opts->name, opts->base, e);

	if (rc != 0)
		return rc;
	p = base_zalloc(sizeof(*p));
	p->uuid = opts->uuid;
	for (uint32_t i = 0; i < DELAY_LATENCIES; i++)
		atomic_store(&p->latency_us[i], opts->latency_us[i]);
	return bdev_order_start(reg, &p->order, &delay_order_ops, opts->name, &opts->base, 1, e);
}

static int build(struct bdev_order *o, struct err *e)
{
	const struct delay_order *p = container_of(o, const struct delay_order, order);
	struct bdev_stacked *s = base_zalloc(sizeof(*s));
	int rc;

	bdev_stacked_init(s, o, 0);
	s->end_core = end_core;
	s->bdev.ops = &delay_ops;
	s->bdev.product = "delay";
	s->bdev.sleeps = "timer";
	s->bdev.channel_ctx_bytes = sizeof(struct delay_core);
	s->bdev.io_ctx_bytes = sizeof(struct delay_io);
	s->bdev.uuid = uuid_is_null(&p->uuid) ? bdev_stacked_uuid(s, o->name, 0) : p->uuid;
	snprintf(s->bdev.name, sizeof(s->bdev.name), "%s", o->name);
	rc = bdev_stacked_register(s, e);
	if (rc != 0)
		free(s);
	return rc;
}

int delay_update(struct bdev_registry *reg, const char *name, enum delay_latency which, uint64_t latency_us,
                 struct err *e)
{
	struct bdev_order *o = bdev_order_find(reg, &delay_order_ops, name);
	const struct bdev *b = bdev_find(reg, name);

	if (!o && b)
		return err_set(e, -EINVAL, "block device '%s' is a %s, not a delay", name, b->product);
	if (!o)
		return err_set(e, -ENODEV, "there is no delay '%s', built or waiting for its base", name);
	atomic_store(&container_of(o, struct delay_order, order)->latency_us[which], latency_us);
	bdev_order_resaved(o);
	return 0;
}

int delay_delete(struct bdev_registry *reg, const char *name, void (*done)(void *arg, int rc), void *arg,
                 struct err *e)
{
	return bdev_order_delete_named(reg, &delay_order_ops, name, done, arg, e);
}

static void order_free(struct bdev_order *o)
{
	free(container_of(o, struct delay_order, order));
}

void delay_get_opts(const struct bdev_order *o, struct delay_opts *ret_opts)
{
	const struct delay_order *p = container_of(o, const struct delay_order, order);

	*ret_opts = (struct delay_opts){ .name = o->name, .base = o->bases[0].name, .uuid = p->uuid };
	for (uint32_t i = 0; i < DELAY_LATENCIES; i++)
		ret_opts->latency_us[i] = atomic_load(&p->latency_us[i]);
}

static void describe(const struct bdev *b, bdev_emit_fn *emit, void *arg)
{
	static const char *const keys[] = { "delay.avg_read_latency", "delay.p99_read_latency",
	                                    "delay.avg_write_latency", "delay.p99_write_latency" };
	struct delay_opts opts;
	char text[32];

	bdev_stack_describe(b, emit, arg);
	delay_get_opts(container_of(b, const struct bdev_stacked, bdev)->order, &opts);
	for (uint32_t i = 0; i < DELAY_LATENCIES; i++) {
		snprintf(text, sizeof(text), "%llu", (unsigned long long)opts.latency_us[i]);
		emit(arg, keys[i], text);
	}
}

/* --- I/O -------------------------------------------------------------------------------------------------- */

static int channel_open(struct bdev_channel *ch, struct err *e)
{
	struct delay_core *c = bdev_channel_ctx(ch);

	list_init(&c->waiting);
	c->random = core_random_u64();
	return bdev_stack_channel_open(ch, e);
}

static void base_answered(struct bdev_stack_io *x);

static void submit(struct bdev_channel *ch, struct bdev_io *io)
{
	struct delay_io *x = io->device_ctx;
	struct delay_core *c = bdev_channel_ctx(ch);
	const struct delay_order *p = container_of(c->stack.device->order, const struct delay_order, order);
	enum delay_latency which = io->op == BDEV_READ ? DELAY_AVG_READ : DELAY_AVG_WRITE;

	x->waits = false;
	if (io->op != BDEV_READ && io->op != BDEV_WRITE) {
		bdev_stack_forward(ch, io, 0, 0);
		return;
	}
	if (random_below(&c->random, 100) == 0)
		which++;
	x->due_ns = reactor_now_ns() + atomic_load_explicit(&p->latency_us[which], memory_order_relaxed) * NS_PER_US;
	bdev_stack_child_init(&x->stack, io);
	bdev_stack_child_start(&x->stack, ch, 0, base_answered);
	io->consumed = x->stack.child.consumed;
}

static void answer(struct delay_io *x)
{
	list_del(&x->link);
	timer_stop(&x->timer);
	x->waits = false;
	bdev_stack_child_end(&x->stack);
}

static void time_is_up(struct timer *t)
{
	answer(container_of(t, struct delay_io, timer));
}

/* A device that goes keeps nobody waiting. */
static void base_answered(struct bdev_stack_io *stack)
{
	struct delay_io *x = container_of(stack, struct delay_io, stack);
	struct bdev_channel *ch = x->stack.parent->ch;
	struct delay_core *c = bdev_channel_ctx(ch);
	uint64_t now_ns = reactor_now_ns();

	if (x->due_ns <= now_ns || atomic_load(&bdev_channel_bdev(ch)->removing)) {
		bdev_stack_child_end(&x->stack);
		return;
	}
	x->waits = true;
	list_add_tail(&c->waiting, &x->link);
	timer_start(&x->timer, x->due_ns - now_ns, time_is_up);
}

/* What the base has done is done: an I/O that only waits for its time ends with that. */
static bool abort_io(struct bdev_channel *ch, struct bdev_io *io)
{
	struct delay_io *x = io->device_ctx;

	if (!x->waits)
		return bdev_stack_abort(ch, io);
	answer(x);
	return true;
}

static void end_core(struct bdev_stack_visit *v, struct bdev_stack_core *c)
{
	bdev_stack_end_core(v, c);
	list_each_safe(l, &container_of(c, struct delay_core, stack)->waiting)
		answer(list_entry(l, struct delay_io, link));
}
