/* SPDX-License-Identifier: BSD-3-Clause */
/* powercut_disk.h: what a power-cut disk is made of. Private to the back-end.
 *
 * A disk has one cache, so one core owns it: I/O of other cores goes there by a message that lies in its context and
 * comes back by the same one. Everything below "the owner's" is touched on that core only.
 */
#ifndef BACKENDS_POWERCUT_POWERCUT_DISK_H
#define BACKENDS_POWERCUT_POWERCUT_DISK_H

#include "backends/powercut/powercut.h"
#include "backends/powercut/powercut_cache.h"
#include "bdev/bdev_device.h"
#include "bdev/bdev_stack.h"

#define WRITE_BACKS 8u       /* under way at a time */
#define WRITE_BACK_BLOCKS 32u
#define POWERCUT_PATIENCE_NS (5 * NS_PER_S) /* with a base that answers nothing while the disk goes */

struct powercut;

/* One I/O of a user, in its device context. */
struct powercut_op {
	struct bdev_io child;        /* to the base */
	struct msg msg;              /* to the owner and back */
	struct list link;            /* of the owner's lists */
	struct list base_link;       /* in `at_base` while the base has the child */
	struct powercut *disk;
	struct bdev_io *io;
	struct reactor *home;        /* the core it came from */
	uint64_t lba, count;         /* FLUSH, FUA: the blocks that must be on the media ... */
	uint64_t seq;                /* ... with all writes up to this one; UNMAP: the newest write it takes away */
	enum bdev_status status;
};

/* Consecutive blocks on their way from the cache to the base. */
struct powercut_write_back {
	struct bdev_io io;
	struct powercut *disk;
	uint32_t slots[WRITE_BACK_BLOCKS];
	struct iovec iovs[WRITE_BACK_BLOCKS];
	bool busy;
};

/* A person pulls the plug, or puts it in again. One at a time. */
struct powercut_pull {
	struct msg msg;
	bool busy, puts_in;
	struct powercut_cut_opts opts;
	struct powercut_cut_result result;
	powercut_cut_fn *done;
	void *arg;
};

/* What a person asked for; stays when the base goes. */
struct powercut_order {
	struct bdev_order order;
	struct uuid uuid;
	uint32_t cache_blocks;
};

struct powercut {
	struct bdev_stacked stacked;
	struct reactor *owner;
	struct powercut_pull pull;
	struct msg close_msg, remove_msg;
	_Atomic uint32_t seen_dirty, seen_cuts; /* for who describes it */
	_Atomic bool seen_off;

	/* The owner's. */
	struct bdev_channel *base_ch;
	struct powercut_cache cache;
	uint64_t seq, dice;
	uint32_t base_ios;           /* that the base has */
	bool off;                    /* without power */
	bool draining;               /* all that is in the cache goes to the base; then drained() */
	bool cutting;                /* waits for what the base has, then for what survives */
	bool closing;
	struct timer patience;       /* while it goes */
	uint64_t base_answers, answers_seen;
	bool gave_up;                /* on the base: what is in the cache is lost */
	void (*drained)(struct powercut *d);
	uint32_t lost;               /* blocks that could not be written while draining */
	struct list waiting;         /* writes without room */
	struct list owed;            /* FLUSH, FUA: for the media */
	struct list reads, unmaps;   /* that the base has; unmaps also those that wait for write-backs */
	struct list at_base;         /* of struct powercut_op by base_link: those whose child the base has */
	struct powercut_write_back write_backs[WRITE_BACKS];
	struct bdev_io flush;        /* when drained */
};

/* powercut_io.c */
void powercut_submit(struct bdev_channel *ch, struct bdev_io *io);
/* The following on the owner's core. */
/* End everything with FAILED; what the base has then follows. */
void powercut_fail_all(struct powercut *d);
/* The disk goes, and its base does not answer: end with GONE what waits, abort what the base has, and give up what
 * is in the cache. */
void powercut_give_up(struct powercut *d);
/* Release blocks that no read needs any more. */
void powercut_forget_kept(struct powercut *d);
/* Write back all that is left, flush the base, then call drained(). The base has nothing when this is called. */
void powercut_drain(struct powercut *d, void (*drained)(struct powercut *d));

/* powercut_cut.c: the base has answered something; a cut or the end goes on when that was the last. */
void powercut_step(struct powercut *d);
/* Control: the disk goes: its base has some time. */
void powercut_remove(struct bdev *b);
/* Control: the disk's last call; writes back what it holds. */
void powercut_destroy(struct bdev *b);

static inline struct powercut *powercut_of(const struct bdev *b)
{
	return container_of(b, struct powercut, stacked.bdev);
}

/* powercut.c: the one of that name that is there. Errors: NULL with a sentence, its code in e->code. */
struct powercut *powercut_find(struct bdev_registry *reg, const char *name, struct err *e);

#endif
