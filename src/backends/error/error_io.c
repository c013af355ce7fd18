/* SPDX-License-Identifier: BSD-3-Clause */
/* error_io.c: what happens to an I/O: nothing, an error, a wrong byte, or silence.
 *
 * The first rule that fits counts. A corrupted write goes to the base with its caller's iovecs around one byte of ours,
 * so that the caller's data stay what they are. Kept I/O lies in its core's list, and whoever ends it takes it
 * out first: abort, resume, a reset, the end of the device.
 */
#include "backends/error/error_priv.h"

static struct error_device *device_of(struct bdev_channel *ch)
{
	return container_of(bdev_channel_bdev(ch), struct error_device, stacked.bdev);
}

int error_channel_open(struct bdev_channel *ch, struct err *e)
{
	struct error_core *c = bdev_channel_ctx(ch);

	list_init(&c->kept);
	c->with_base = 0;
	return bdev_stack_channel_open(ch, e);
}

/* --- which rule ------------------------------------------------------------------------------------------- */

static bool overlap(uint64_t a, uint64_t a_count, uint64_t b, uint64_t b_count)
{
	return a < b + b_count && b < a + a_count;
}

static bool touches(const struct bdev_io *io, const struct error_rule_opts *r)
{
	if (!r->count)
		return true;
	if (io->op == BDEV_FLUSH || io->op == BDEV_RESET)
		return false;
	if (io->op == BDEV_UNMAP && io->unmap.range_count) {
		for (uint32_t i = 0; i < io->unmap.range_count; i++)
			if (overlap(io->unmap.ranges[i].lba, io->unmap.ranges[i].count, r->lba, r->count))
				return true;
		return false;
	}
	return overlap(io->lba, io->count, r->lba, r->count) ||
	       (io->op == BDEV_COPY && overlap(io->copy.src_lba, io->count, r->lba, r->count));
}

/* One of those it is still to happen to; others may count on other cores. */
static bool take_one(struct error_rule *r)
{
	uint32_t left = atomic_load_explicit(&r->left, memory_order_relaxed);

	while (left)
		if (atomic_compare_exchange_weak(&r->left, &left, left - 1))
			return true;
	return false;
}

static const struct error_rule_opts *rule_for(struct error_device *d, const struct error_core *c,
                                              const struct bdev_io *io)
{
	struct error_rules *rules = atomic_load(&d->rules);

	for (uint32_t i = 0; rules && i < rules->count; i++) {
		struct error_rule *r = rules->at[i];

		if (r->opts.ops & 1u << io->op && c->with_base >= r->opts.queue_depth && touches(io, &r->opts) && take_one(r))
			return &r->opts;
	}
	return NULL;
}

/* --- what happens ----------------------------------------------------------------------------------------- */

static void forward(struct bdev_channel *ch, struct bdev_io *io);
static void keep(struct bdev_channel *ch, struct error_io *x, struct bdev_io *io);
static void reset(struct bdev_channel *ch, struct bdev_io *io);
static bool corrupt_write(struct error_io *x, const struct error_rule_opts *r);

void error_submit(struct bdev_channel *ch, struct bdev_io *io)
{
	struct error_io *x = io->device_ctx;
	const struct error_rule_opts *r;

	x->kept = false;
	x->corrupts = false;
	if (io->op == BDEV_RESET) {
		reset(ch, io);
		return;
	}
	bdev_stack_child_init(&x->stack, io);
	r = rule_for(device_of(ch), bdev_channel_ctx(ch), io);
	if (!r) {
		forward(ch, io);
		io->consumed = x->stack.child.consumed;
	} else if (r->kind == ERROR_STATUS) {
		io->consumed = true;
		bdev_io_done(io, r->status);
	} else if (r->kind == ERROR_PENDING) {
		keep(ch, x, io);
	} else if (io->op == BDEV_WRITE && !corrupt_write(x, r)) {
		bdev_io_done(io, BDEV_ST_FAILED);
	} else {
		x->corrupts = io->op == BDEV_READ;
		x->offset = r->corrupt_offset;
		x->value = r->corrupt_value;
		forward(ch, io);
		io->consumed = x->stack.child.consumed;
	}
}

/* The byte at `offset` comes from us: the iovec it lies in becomes up to three. False: too many pieces. */
static bool corrupt_write(struct error_io *x, const struct error_rule_opts *r)
{
	const struct bdev_io *io = x->stack.parent;
	uint64_t at = r->corrupt_offset;
	uint32_t n = 0;
	bool there = false;

	if (io->iov_count > ERROR_IOVS)
		return false;
	for (uint32_t i = 0; i < io->iov_count; i++) {
		uint8_t *base = io->iovs[i].iov_base;
		size_t len = io->iovs[i].iov_len;

		if (there || at >= len) {
			x->iovs[n++] = io->iovs[i];
			at -= there ? 0 : len;
			continue;
		}
		there = true;
		x->byte = base[at] ^ r->corrupt_value;
		if (at)
			x->iovs[n++] = (struct iovec){ .iov_base = base, .iov_len = at };
		x->iovs[n++] = (struct iovec){ .iov_base = &x->byte, .iov_len = 1 };
		if (at + 1 < len)
			x->iovs[n++] = (struct iovec){ .iov_base = base + at + 1, .iov_len = len - at - 1 };
	}
	x->stack.child.iovs = x->iovs;
	x->stack.child.iov_count = (uint16_t)n;
	if (there)
		x->stack.child.region = NULL; /* not all of it lies there any more */
	return true;
}

static void corrupt_read(const struct error_io *x)
{
	const struct bdev_io *io = x->stack.parent;
	uint64_t at = x->offset;

	for (uint32_t i = 0; i < io->iov_count; i++) {
		if (at < io->iovs[i].iov_len) {
			((uint8_t *)io->iovs[i].iov_base)[at] ^= x->value;
			return;
		}
		at -= io->iovs[i].iov_len;
	}
}

static void base_answered(struct bdev_stack_io *stack)
{
	struct error_io *x = container_of(stack, struct error_io, stack);
	struct bdev_io *io = x->stack.parent;
	struct error_core *c = bdev_channel_ctx(io->ch);

	c->with_base--;
	if (x->corrupts && x->stack.child.status == BDEV_ST_OK)
		corrupt_read(x);
	bdev_stack_child_end(&x->stack);
}

/* The child is filled in. */
static void forward(struct bdev_channel *ch, struct bdev_io *io)
{
	struct error_io *x = io->device_ctx;
	struct error_core *c = bdev_channel_ctx(ch);

	c->with_base++;
	bdev_stack_child_start(&x->stack, ch, 0, base_answered);
}

/* --- kept ------------------------------------------------------------------------------------------------- */

static void keep(struct bdev_channel *ch, struct error_io *x, struct bdev_io *io)
{
	struct error_core *c = bdev_channel_ctx(ch);

	if (atomic_load(&bdev_channel_bdev(ch)->removing)) {
		bdev_io_done(io, BDEV_ST_GONE); /* error_end_core() may have been here */
		return;
	}
	x->kept = true;
	list_add_tail(&c->kept, &x->link);
}

static struct error_io *take_kept(struct bdev_stack_core *stack)
{
	struct list *l = list_pop(&container_of(stack, struct error_core, stack)->kept);
	struct error_io *x = l ? list_entry(l, struct error_io, link) : NULL;

	if (x)
		x->kept = false;
	return x;
}

bool error_abort(struct bdev_channel *ch, struct bdev_io *io)
{
	struct error_io *x = io->device_ctx;

	if (io->op == BDEV_RESET && !x->stack.child.active)
		return false; /* it goes from core to core */
	if (!x->kept)
		return bdev_stack_abort(ch, io);
	x->kept = false;
	list_del(&x->link);
	bdev_io_done(io, BDEV_ST_ABORTED);
	return true;
}

void error_end_core(struct bdev_stack_visit *v, struct bdev_stack_core *c)
{
	struct error_io *x;

	bdev_stack_end_core(v, c);
	while ((x = take_kept(c)))
		bdev_io_done(x->stack.parent, BDEV_ST_GONE);
}

void error_resume_core(struct bdev_stack_visit *v, struct bdev_stack_core *c)
{
	struct error_io *x;

	while ((x = take_kept(c))) {
		struct bdev_io *io = x->stack.parent;

		if (bdev_io_may_land(io))
			forward(io->ch, io);
		else
			bdev_io_done(io, BDEV_ST_FENCED);
	}
}

/* --- reset ------------------------------------------------------------------------------------------------
 * What any core keeps is aborted, then the base is reset if it can be. By way of the control reactor, where
 * resets wait for each other. */

static void reset_on_control(struct msg *m);
static void next_reset(struct error_device *d);
static void abort_kept(struct bdev_stack_visit *v, struct bdev_stack_core *c);
static void all_aborted(struct bdev_stack_visit *v);
static void reset_goes_on(struct msg *m);

static void reset(struct bdev_channel *ch, struct bdev_io *io)
{
	struct error_io *x = io->device_ctx;
	struct error_device *d = device_of(ch);

	x->stack.parent = io;
	x->from = reactor_self();
	msg_send(core_control(bdev_registry_core(d->stacked.order->reg)), &x->msg, reset_on_control);
}

static void reset_on_control(struct msg *m)
{
	struct error_io *x = container_of(m, struct error_io, msg);
	struct error_device *d = device_of(x->stack.parent->ch);

	list_add_tail(&d->resets, &x->link);
	if (!d->resetting)
		next_reset(d);
}

static void next_reset(struct error_device *d)
{
	d->resetting = !list_empty(&d->resets);
	if (d->resetting)
		bdev_stacked_visit(&d->stacked, &d->reset_visit, abort_kept, all_aborted);
}

static void abort_kept(struct bdev_stack_visit *v, struct bdev_stack_core *c)
{
	struct error_io *x;

	while ((x = take_kept(c)))
		bdev_io_done(x->stack.parent, BDEV_ST_ABORTED);
}

/* Answers the one it was for; those that came meanwhile have their own. */
static void all_aborted(struct bdev_stack_visit *v)
{
	struct error_device *d = container_of(v, struct error_device, reset_visit);
	struct list *l = list_pop(&d->resets);
	struct error_io *x;

	must(l);
	x = list_entry(l, struct error_io, link);
	msg_send(x->from, &x->msg, reset_goes_on);
	next_reset(d);
}

static void reset_goes_on(struct msg *m)
{
	struct error_io *x = container_of(m, struct error_io, msg);
	struct bdev_io *io = x->stack.parent;

	if (!device_of(io->ch)->base_resets) {
		bdev_io_done(io, BDEV_ST_OK);
		return;
	}
	bdev_stack_child_init(&x->stack, io);
	forward(io->ch, io);
}
