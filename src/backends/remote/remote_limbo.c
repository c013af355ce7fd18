/* SPDX-License-Identifier: BSD-3-Clause */
/* remote_limbo.c: what went out, changes data, and whose connection ended before an answer came.
 *
 * It may have been done, may be done still, or never. Doing it again at once could let the old one land after a newer
 * write of the same blocks; so it waits until control knows that nothing of that connection can land any more (the
 * controller was disabled, or the target's own time-outs have passed), and only then goes out again. What cannot be
 * done twice with the same result, a compare and write say, ends with TIMED_OUT then: nobody knows whether it was done.
 *
 * Its user is answered in no case before that, unless the disk is removed: who was told that a write failed writes
 * anew, and that must not be overwritten by the old one. So a disk without hope of a path ends nothing that is here.
 */
#include "backends/remote/remote_core.h"
#include "core/waits.h"

static const char wait_name[] = "fate of a remote write";

static bool changes(const struct bdev_io *io)
{
	return (1u << io->op) & (BDEV_BIT(WRITE) | BDEV_BIT(UNMAP) | BDEV_BIT(WRITE_ZEROES) | BDEV_BIT(COMPARE_AND_WRITE) |
	                         BDEV_BIT(COPY) | BDEV_BIT(WRITE_UNCORRECTABLE) | BDEV_BIT(PASSTHROUGH));
}

/* Doing it once more is not the same as having done it once. */
static bool is_unique(const struct bdev_io *io)
{
	uint64_t apart;

	if (io->op == BDEV_COPY) {
		apart = io->lba > io->copy.src_lba ? io->lba - io->copy.src_lba : io->copy.src_lba - io->lba;
		return apart < io->count;
	}
	return io->op == BDEV_COMPARE_AND_WRITE || io->op == BDEV_PASSTHROUGH;
}

bool remote_limbo_takes(struct remote_io *r)
{
	struct remote_channel *c = r->channel;

	if (!r->op.sent || !changes(r->io))
		return false;
	if (c->disk->group->remote->opts.write_replay_immediate && !is_unique(r->io))
		return false;
	r->place = REMOTE_IN_LIMBO;
	r->began_ns = reactor_now_ns();
	r->lane->in_limbo++;
	remote_count_add(&r->lane->counts[REMOTE_LANE_IN_LIMBO], 1);
	list_add_tail(&c->limbo, &r->link);
	wait_began(wait_name);
	return true;
}

static void leave(struct remote_io *r)
{
	list_del(&r->link);
	r->lane->in_limbo--;
	wait_ended(wait_name, r->began_ns);
}

static void release_channel(struct remote_channel *c, struct remote_lane *l, uint32_t life)
{
	list_each_safe(link, &c->limbo) {
		struct remote_io *r = list_entry(link, struct remote_io, link);

		if (r->lane != l || (int32_t)(r->life - life) > 0)
			continue;
		leave(r);
		if (is_unique(r->io) && !r->aborted && !remote_is_removed(c)) {
			remote_end(r, BDEV_ST_TIMED_OUT);
		} else {
			remote_count_add(&l->counts[REMOTE_LANE_MOVED], 1);
			remote_go_after_loss(c, r);
		}
	}
}

void remote_limbo_release(struct remote_lane *l, uint32_t life)
{
	if (!l->in_limbo)
		return;
	list_each_safe(link, &remote_core_of(l)->channels)
		release_channel(list_entry(link, struct remote_channel, link), l, life);
}

void remote_limbo_end(struct remote_channel *c, enum bdev_status st)
{
	list_each_safe(link, &c->limbo) {
		struct remote_io *r = list_entry(link, struct remote_io, link);

		leave(r);
		remote_end(r, st);
	}
}
