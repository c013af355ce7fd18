/* SPDX-License-Identifier: BSD-3-Clause */
/* served.h: a device that a front-end shows to hosts, from opening it to closing it; with a channel on every core.
 *
 *     control   bdev_served_open()     opened, claimed for hosts, checked
 *     each core bdev_view_enter()      channel opened; counted by the front-end's versions and commands
 *     each core last count gone        channel closed, control is told
 *     control   last core told         device closed; those who wait for that go on
 */
#ifndef BDEV_SERVED_H
#define BDEV_SERVED_H

#include "base/list.h"
#include "bdev/bdev.h"

#define BDEV_LEND_SMALL 4096u
#define BDEV_SERVED_MD_MAX 128u /* bytes of metadata of a block */

/* It, on one core: what commands touch. */
struct bdev_view {
	CACHE_ALIGNED struct bdev_channel *ch; /* NULL: could not be opened, or closed again */
	uint32_t refs;                         /* versions this core has entered, and commands */
	uint8_t shift;                         /* log2 of the block size */
	uint32_t shape;                        /* of blocks: two devices with the same one are alike */
	uint16_t md_size;                      /* metadata of a block; 0: none, or hidden */
	bool lends, lends_zeroes, lends_writes, consumes, read_only;
	uint32_t lend_iovs_small;              /* for up to BDEV_LEND_SMALL bytes */
	struct bdev_desc *desc;
	struct bdev_served *served;
	void *own;                             /* the front-end's: freed with the view */
	struct msg left_msg;                   /* to control: this core has left it */
};

/* Embedded in a front-end's object, as its last member: views follow. Constant but for what is marked control's. */
struct bdev_served {
	const struct bdev_served_ops *ops;
	struct core *core;
	struct bdev_info info;                 /* as opened, read_only with the front-end's word in it; block_count is
	                                        * bdev_block_count(desc) */
	char bdev_name[256];
	bool made_read_only;                   /* by who added it */
	struct bdev_desc *desc;                /* control closes it; NULL then */
	/* control */
	bool gone_told;                        /* the front-end's: its device goes away */
	uint32_t refs;                         /* of the front-end's versions, and whoever waits */
	uint32_t cores_in;                     /* cores whose view is counted */
	struct list waiters;                   /* struct bdev_served_wait */
	struct each each;
	void (*each_done)(void *arg);
	void *each_arg;
	struct err core_err;                   /* of the first core that cannot use it */
	_Atomic bool core_failed;
	struct bdev_view view[];               /* by core */
};

struct bdev_served_ops {
	const char *shown_as;                  /* "LUN" */
	const char *param;                     /* of the method that makes it: the device's name, for errors */
	bool knows_md;                         /* else the device is shown without its metadata: bdev_plain() */
	bdev_event_fn *event;                  /* arg: the struct bdev_served */
	void (*over)(struct bdev_served *s);   /* control: closed, and nobody counts it any more: free it */
};

/* Zeroed memory for a `type` that ends with a struct bdev_served `member`, and for its views. */
#define bdev_served_zalloc(type, member, core) \
	((type *)base_zalloc_aligned(CACHE_LINE, sizeof(type) + core_reactor_count(core) * sizeof(struct bdev_view)))

/* Open device `name` for hosts; one reference. `owner` as in bdev_open_served().
 *
 * Core:   control.
 * Memory: zeroed; views for every core follow. Yours again when it fails, and in ops->over().
 * Errors: there is no such device, it is claimed, or cannot be shown: `e` says so. */
int bdev_served_open(struct bdev_served *s, struct bdev_registry *reg, const char *name, bool read_only,
                     const char *owner, const struct bdev_served_ops *ops, struct err *e) MUST_USE;
void bdev_served_ref(struct bdev_served *s);
void bdev_served_unref(struct bdev_served *s);

/* fn runs, now or later, when no core uses it any more and the device is closed: that is not waited for by others who
 * count it only. Control. */
struct bdev_served_wait {
	struct list link;
	void (*fn)(struct bdev_served_wait *w);
};
void bdev_served_wait_closed(struct bdev_served *s, struct bdev_served_wait *w,
                             void (*fn)(struct bdev_served_wait *w));

/* Count every core's view, so that channels are open before anybody can use it; and no more. Once each, control;
 * done(arg) runs there. Who calls has a reference meanwhile. */
void bdev_served_enter_all(struct bdev_served *s, void (*done)(void *arg), void *arg);
void bdev_served_leave_all(struct bdev_served *s, void (*done)(void *arg), void *arg);
/* Between the two: can every core use it? */
int bdev_served_check(const struct bdev_served *s, struct err *e) MUST_USE;
/* Has its device been deleted, so that what shows it will go, too? What is saved has neither from then on. Control. */
bool bdev_served_lost(const struct bdev_served *s);

/* Count the calling core's view, and no more. The first opens its channel (false: could not; the view is counted all
 * the same, and v->ch NULL). */
bool bdev_view_enter(struct bdev_view *v, struct err *e);
void bdev_view_leave_slow(struct bdev_view *v);
static inline void bdev_view_put(struct bdev_view *v)
{
	if (unlikely(--v->refs == 0))
		bdev_view_leave_slow(v);
}
/* Of the data of blocks of that shape. */
static inline uint8_t bdev_shape_shift(uint32_t shape) { return (uint8_t)shape; }
/* Most iovecs that lent memory for so many bytes can need. */
static inline uint16_t bdev_view_lend_iovs(const struct bdev_view *v, uint32_t bytes)
{
	return (uint16_t)(bytes <= BDEV_LEND_SMALL ? v->lend_iovs_small : bdev_lend_iovs_max(v->desc, bytes >> v->shift));
}

#endif
