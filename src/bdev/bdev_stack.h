/* SPDX-License-Identifier: BSD-3-Clause */
/* bdev_stack.h: what devices that stand on other devices share.
 *
 * A *standing order* says what is to be built on which bases: "a passthru named p over the device b". It stays when
 * its bases are not there yet, builds when the last of them comes, is taken down when one goes, builds again when
 * that returns, and ends only when somebody deletes it. So the order of a configuration's lines does not matter.
 *
 *     WAITS --all bases are there, opened and claimed--> UP --a base goes, or deleted--> GOES --> WAITS
 *
 * A *stacked device* is a device of an order: a `struct bdev` with a channel to each base per core, and with children
 * that carry its I/Os there. `bdev_stack_ops` is a complete table for one that passes I/O on at an offset; a
 * device that does more takes from that table what it does not change.
 *
 * Everything about orders and coming and going belongs to the control reactor.
 */
#ifndef BDEV_BDEV_STACK_H
#define BDEV_BDEV_STACK_H

#include "bdev/bdev_device.h"

struct bdev_order;
struct bdev_stacked;

/* --- standing orders -------------------------------------------------------------------------------------- */

struct bdev_order_ops {
	const char *kind;   /* "passthru": names who claims in others' sentences */
	bool found_again;   /* it deletes itself when its base goes, and is ordered again when that returns */
	bool claims;        /* take the bases for exclusive writing; else build() may, with bdev_claim() */

	/* All bases are open: make devices (bdev_stacked_init, bdev_stacked_register), now or later while the order is
	 * UP. What was registered before an error is taken down again. */
	int (*build)(struct bdev_order *o, struct err *e);
	/* The order goes: end what build() left running. False: bdev_order_left() follows. NULL: nothing runs. */
	bool (*leave)(struct bdev_order *o);
	/* A base changed its size. NULL: the devices stay as they are. */
	void (*resized)(struct bdev_order *o, uint32_t base);
	/* The last call: nothing is built, open or registered. */
	void (*free)(struct bdev_order *o);
};

enum bdev_order_state { BDEV_ORDER_WAITS, BDEV_ORDER_UP, BDEV_ORDER_GOES };

struct bdev_order_base {
	char name[BDEV_NAME_MAX];  /* name, alias or UUID */
	struct bdev_desc *desc;    /* open for writing while the order is not WAITING */
	struct bdev_order *order;  /* NULL: the order has done with it */
};

/* Embedded in the back-end's own recipe, which holds the parameters. */
struct bdev_order {
	const struct bdev_order_ops *ops;
	struct bdev_registry *reg;
	char name[BDEV_NAME_MAX];  /* the one it is deleted by: unique among its kind */
	struct bdev_order_base *bases;
	uint32_t base_count;
	enum bdev_order_state state;
	struct list devices;       /* of struct bdev_stacked, by link, in the order they were registered */
	uint64_t saved_stamp;      /* as a device's: bdev_order_resaved() */
	struct err why;            /* it waits although its bases are there: what the last attempt said */

	/* The stack's own. */
	struct list link;
	uint32_t busy;
	bool left, deleted;
	void (*deleted_done)(void *arg, int rc);
	void *deleted_arg;
};

/* Start an order: builds at once when all bases are there, else waits for them (bdev_order_waits() then).
 *
 * Memory: `o` is the stack's from here on in any case, until ops->free; texts are copied.
 * Errors: a base that cannot be had, a name that is taken, what build() said; the order is gone then. */
int bdev_order_start(struct bdev_registry *reg, struct bdev_order *o, const struct bdev_order_ops *ops,
                     const char *name, const char *const *bases, uint32_t base_count, struct err *e) MUST_USE;
/* For orders of one device, which has the order's name: it may not be the base's too, nor something else's. Before
 * bdev_order_start(), so that the sentence is about the parameter `name`. Errors: -EINVAL, -EEXIST. */
int bdev_order_check_name(struct bdev_registry *reg, const struct bdev_order_ops *ops, const char *name,
                          const char *base, struct err *e) MUST_USE;
/* Take its devices down and forget it; `done` runs when they are gone. -EBUSY: somebody deletes it already. */
void bdev_order_delete(struct bdev_order *o, void (*done)(void *arg, int rc), void *arg);
/* The same by name. Errors: -ENODEV, -EINVAL (something else has that name), with a sentence; `done` does not run
 * then. */
int bdev_order_delete_named(struct bdev_registry *reg, const struct bdev_order_ops *ops, const char *name,
                            void (*done)(void *arg, int rc), void *arg, struct err *e) MUST_USE;
/* The answer to a leave() that returned false. */
void bdev_order_left(struct bdev_order *o);
/* What is saved of it has changed. */
void bdev_order_resaved(struct bdev_order *o);
/* NULL: there is none of that kind and name. */
struct bdev_order *bdev_order_find(struct bdev_registry *reg, const struct bdev_order_ops *ops, const char *name);
struct bdev_order *bdev_order_first(struct bdev_registry *reg);
struct bdev_order *bdev_order_next(struct bdev_order *o);
static inline bool bdev_order_waits(const struct bdev_order *o) { return o->state == BDEV_ORDER_WAITS; }

/* --- devices of an order ---------------------------------------------------------------------------------- */

/* The beginning of a stacked device's per-core context (channel_ctx_bytes). */
struct bdev_stack_core {
	struct bdev_channel **bases;  /* this core's channels, numbered as in the order */
	struct list out;              /* of struct bdev_stack_io: with a base and not back */
	struct bdev_stacked *device;
};

/* Something to be done with a device on every core that has it open; from the control reactor. */
struct bdev_stack_visit {
	struct msg msgs[CORE_REACTORS_MAX + 1], done_msg;
	_Atomic uint32_t left;
	struct bdev_stacked *device;
	void (*on_core)(struct bdev_stack_visit *v, struct bdev_stack_core *c);
	void (*done)(struct bdev_stack_visit *v); /* NULL: nobody asks */
	void *arg;
};

struct bdev_stacked {
	struct bdev bdev;
	struct bdev_order *order;
	uint32_t base;           /* which of the order's bases bdev_stack_ops passes I/O to, ... */
	uint64_t offset;         /* ... and how many blocks behind its beginning */
	struct list link;        /* order->devices */
	/* On each core, when the device goes: end what would not end by itself, with GONE. By default what the bases
	 * have is aborted. */
	void (*end_core)(struct bdev_stack_visit *v, struct bdev_stack_core *c);
	void (*free)(struct bdev_stacked *s); /* the last call; by default free(s): it lies at the beginning */

	/* The stack's own. */
	struct bdev_stack_core *cores[CORE_REACTORS_MAX + 1]; /* each touched on its core only */
	struct bdev_stack_visit going;
	uint32_t visits;
	bool destroying;
};

/* Fill in a device like one of its order's bases: sizes, operations, cache, what it lends; name and product are left to
 * the caller, and whatever else differs. All operations the base can do are native here: where it emulates
 * one it does so under its own locks. PASSTHROUGH is left out: such a command may name blocks. */
void bdev_stacked_init(struct bdev_stacked *s, struct bdev_order *o, uint32_t base);
/* Register it as a device of its order. Errors: it stays the caller's, as before. */
int bdev_stacked_register(struct bdev_stacked *s, struct err *e) MUST_USE;
/* ops->resized where the order's one device is as large as its base. */
void bdev_order_resize_one(struct bdev_order *o, uint32_t base);
/* A UUID that is the same each time the same thing is built on the same base. */
struct uuid bdev_stacked_uuid(const struct bdev_stacked *s, const char *kind, uint32_t number);
/* Control reactor; `v` stays until done, the device until then too. */
void bdev_stacked_visit(struct bdev_stacked *s, struct bdev_stack_visit *v,
                        void (*on_core)(struct bdev_stack_visit *v, struct bdev_stack_core *c),
                        void (*done)(struct bdev_stack_visit *v));

/* The order a device was built for; NULL: it stands on nothing. */
struct bdev_order *bdev_order_of(struct bdev *b);

/* A table for a device that passes everything on, and its parts. */
extern const struct bdev_ops bdev_stack_ops;
int bdev_stack_channel_open(struct bdev_channel *ch, struct err *e);
void bdev_stack_channel_close(struct bdev_channel *ch);
void bdev_stack_submit(struct bdev_channel *ch, struct bdev_io *io);
bool bdev_stack_abort(struct bdev_channel *ch, struct bdev_io *io);
void bdev_stack_release(struct bdev *b, const struct iovec *iovs, uint32_t count);
uint32_t bdev_stack_lend_iovs_max(const struct bdev *b, uint32_t blocks);
void bdev_stack_remove(struct bdev *b);
void bdev_stack_destroy(struct bdev *b);
void bdev_stack_end_core(struct bdev_stack_visit *v, struct bdev_stack_core *c);
void bdev_stack_describe(const struct bdev *b, bdev_emit_fn *emit, void *arg); /* KIND.name, KIND.base_bdev_name */

/* --- one I/O ---------------------------------------------------------------------------------------------- */

#define BDEV_STACK_RANGES 8u /* ranges of an unmap that move to an offset at a time */

/* The beginning of a stacked device's context of an I/O (io_ctx_bytes; every operation needs one). */
struct bdev_stack_io {
	struct bdev_io child;
	struct bdev_io *parent;
	void (*done)(struct bdev_stack_io *x);
	struct list link;           /* core->out while a base has the child */
	/* bdev_stack_forward()'s */
	uint64_t offset;
	uint32_t base, next_range;
	struct bdev_range ranges[BDEV_STACK_RANGES];
};

/* Pass an I/O to a base, `offset` blocks further on, and answer it with what the base answers. From submit(), or later
 * (then a write is not `consumed` any more: nobody would see it). */
void bdev_stack_forward(struct bdev_channel *ch, struct bdev_io *io, uint32_t base, uint64_t offset);
void bdev_stack_forward_later(struct bdev_channel *ch, struct bdev_io *io, uint32_t base, uint64_t offset);

/* The same in parts, for who changes something or looks at the answer: fill in the child as the parent is,
 * change it (lba, iovs, ...), start it; `done` runs when the base has answered, and the parent is still open. */
static inline struct bdev_stack_io *bdev_stack_io_of(struct bdev_io *io) { return io->device_ctx; }
void bdev_stack_child_init(struct bdev_stack_io *x, struct bdev_io *io);
void bdev_stack_child_start(struct bdev_stack_io *x, struct bdev_channel *ch, uint32_t base,
                            void (*done)(struct bdev_stack_io *x));
/* Take over into the parent what the child brought (lent iovecs, where it differed, ...), and answer the parent. */
void bdev_stack_child_end(struct bdev_stack_io *x);

#endif
