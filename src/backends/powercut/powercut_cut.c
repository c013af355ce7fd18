/* SPDX-License-Identifier: BSD-3-Clause */
/* powercut_cut.c: the plug: pulled, put in again, and the orderly end.
 *
 * A cut ends what waits, lets end what the base has (it can no longer be recalled: it survives), lets the seed choose
 * what else survives, and writes that to the base. Only then is the power back: nothing of before can land later.
 */
#include <errno.h>

#include "backends/powercut/powercut_disk.h"
#include "core/log.h"

static int pull(struct bdev_registry *reg, const char *name, bool puts_in, const struct powercut_cut_opts *opts,
                powercut_cut_fn *done, void *arg, struct err *e);
static void pulled(struct msg *m);
static void put_in(struct msg *m);
static void answer(struct powercut *d);
static void answered(struct msg *m);
static void choose(struct powercut *d);
static void survivors_written(struct powercut *d);
static void close_here(struct msg *m);
static void all_written(struct powercut *d);
static void closed(struct msg *m);

/* --- asked for on the control reactor --------------------------------------------------------------------- */

int powercut_trigger(struct bdev_registry *reg, const char *name, const struct powercut_cut_opts *opts,
                     powercut_cut_fn *done, void *arg, struct err *e)
{
	struct powercut_cut_opts o = *opts;

	if (!o.seed)
		o.seed = core_random_u64() >> 12 | 1; /* one that any JSON can hold */
	return pull(reg, name, false, &o, done, arg, e);
}

int powercut_power_on(struct bdev_registry *reg, const char *name, powercut_cut_fn *done, void *arg, struct err *e)
{
	return pull(reg, name, true, &(struct powercut_cut_opts){ 0 }, done, arg, e);
}

static int pull(struct bdev_registry *reg, const char *name, bool puts_in, const struct powercut_cut_opts *opts,
                powercut_cut_fn *done, void *arg, struct err *e)
{
	struct err why = { 0 };
	struct powercut *d = powercut_find(reg, name, &why);
	struct powercut_pull *p;

	if (!d)
		return err_set(e, why.code, "%s", why.text);
	p = &d->pull;
	if (p->busy)
		return err_set(e, -EBUSY, "powercut '%s' is in the middle of a power cut; try again", name);
	if (atomic_load(&d->seen_off) != puts_in)
		return err_set(e, -EALREADY, "powercut '%s' has %s", name,
		               puts_in ? "power" : "no power; bdev_powercut_power_on gives it back");
	p->busy = true;
	p->opts = *opts;
	p->result = (struct powercut_cut_result){ .seed = opts->seed };
	p->done = done;
	p->arg = arg;
	msg_send(d->owner, &p->msg, puts_in ? put_in : pulled);
	return 0;
}

/* --- on the owner's core ---------------------------------------------------------------------------------- */

static struct powercut *puller(struct msg *m)
{
	return container_of(m, struct powercut, pull.msg);
}

static void pulled(struct msg *m)
{
	struct powercut *d = puller(m);

	d->off = d->cutting = true;
	atomic_fetch_add(&d->seen_cuts, 1);
	powercut_fail_all(d);
	powercut_step(d);
}

static void put_in(struct msg *m)
{
	struct powercut *d = puller(m);

	d->off = false;
	answer(d);
}

void powercut_step(struct powercut *d)
{
	if (d->base_ios || d->draining)
		return;
	if (d->cutting)
		choose(d);
	else if (d->closing)
		powercut_drain(d, all_written);
}

static void choose(struct powercut *d)
{
	struct powercut_cut_result *r = &d->pull.result;

	powercut_forget_kept(d);
	r->blocks_unflushed = d->cache.dirty_count;
	r->blocks_lost = powercut_cache_cut(&d->cache, (enum powercut_mode)d->pull.opts.mode, d->pull.opts.seed);
	d->lost = 0;
	powercut_drain(d, survivors_written);
}

static void survivors_written(struct powercut *d)
{
	struct powercut_cut_result *r = &d->pull.result;

	r->blocks_lost += d->lost;
	r->blocks_kept = r->blocks_unflushed - r->blocks_lost;
	d->cutting = false;
	d->off = d->pull.opts.stay_off;
	answer(d);
	powercut_step(d); /* the end may have waited */
}

static void answer(struct powercut *d)
{
	atomic_store(&d->seen_off, d->off);
	atomic_store(&d->seen_dirty, d->cache.dirty_count);
	msg_send(core_control(reactor_core(d->owner)), &d->pull.msg, answered);
}

static void answered(struct msg *m)
{
	struct powercut *d = puller(m);
	struct powercut_pull p = d->pull;

	d->pull.busy = false;
	p.done(p.arg, &p.result);
}

/* --- the end ---------------------------------------------------------------------------------------------- */

/* A base that is busy goes on answering; one that answers nothing for a while is not waited for. */
static void looked_at_base(struct timer *t)
{
	struct powercut *d = container_of(t, struct powercut, patience);

	if (d->base_ios && d->base_answers == d->answers_seen) {
		log_error("powercut %s: its base does not answer, and is not waited for", d->stacked.bdev.name);
		powercut_give_up(d);
		return;
	}
	d->answers_seen = d->base_answers;
	timer_start(&d->patience, POWERCUT_PATIENCE_NS, looked_at_base);
}

static void remove_here(struct msg *m)
{
	struct powercut *d = container_of(m, struct powercut, remove_msg);

	d->answers_seen = d->base_answers;
	timer_start(&d->patience, POWERCUT_PATIENCE_NS, looked_at_base);
}

void powercut_remove(struct bdev *b)
{
	struct powercut *d = powercut_of(b);

	msg_send(d->owner, &d->remove_msg, remove_here);
}

void powercut_destroy(struct bdev *b)
{
	struct powercut *d = powercut_of(b);

	msg_send(d->owner, &d->close_msg, close_here);
}

static void close_here(struct msg *m)
{
	struct powercut *d = container_of(m, struct powercut, close_msg);

	d->closing = true;
	powercut_step(d);
}

static void all_written(struct powercut *d)
{
	d->closing = false;
	timer_stop(&d->patience);
	if (d->base_ch)
		bdev_channel_put(d->base_ch);
	d->base_ch = NULL;
	msg_send(core_control(reactor_core(d->owner)), &d->close_msg, closed);
}

static void closed(struct msg *m)
{
	struct powercut *d = container_of(m, struct powercut, close_msg);

	if (d->lost)
		log_warning("powercut %s: %u unflushed blocks were lost, because its base went first or did not answer",
		            d->stacked.bdev.name, d->lost);
	bdev_stack_destroy(&d->stacked.bdev);
}
