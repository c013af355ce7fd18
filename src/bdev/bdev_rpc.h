/* SPDX-License-Identifier: BSD-3-Clause */
/* bdev_rpc.h: methods about block devices of every kind, and how a back-end's devices are saved. */
#ifndef BDEV_BDEV_RPC_H
#define BDEV_BDEV_RPC_H

#include "bdev/bdev.h"
#include "rpc/rpc.h"

struct bdev_rpc;

/* Add bdev_get_bdevs and its kin, and the saver of SPDK's subsystem "bdev". Control reactor, as all here. */
struct bdev_rpc *bdev_rpc_make(struct rpc *rpc, struct bdev_registry *reg);
/* Answers who still waits for a device. */
void bdev_rpc_free(struct bdev_rpc *br);
struct rpc *bdev_rpc_of(struct bdev_rpc *br);
struct bdev_registry *bdev_rpc_registry(struct bdev_rpc *br);

/* How devices of one product are saved: as a call of `method` with name, num_blocks, block_size,
 * physical_block_size, uuid, md_size and what `params` adds. */
struct bdev_rpc_kind {
	const char *product, *method;
	void (*params)(const struct bdev *b, struct json_object *params); /* NULL: nothing more */
	bool stamped; /* what `params` says changes with bdev_resaved() only, so that it need not be asked each time */
	/* Into what bdev_get_bdevs shows, where texts are not enough. NULL: nothing. */
	void (*driver_specific)(const struct bdev *b, struct json_object *driver);
	struct list link;                                                 /* bdev_rpc's */
};
void bdev_rpc_add_kind(struct bdev_rpc *br, struct bdev_rpc_kind *kind); /* `kind` stays the caller's */

/* The same for standing orders (bdev_stack.h), built or waiting: a call of `method` with what `params` says. Orders are
 * saved behind all devices that stand on nothing. */
struct bdev_order;
struct bdev_order_ops;
struct bdev_rpc_order_kind {
	const struct bdev_order_ops *ops;
	const char *method;
	void (*params)(const struct bdev_order *o, struct json_object *params);
	bool stamped;                                                     /* ... with bdev_order_resaved() only */
	void (*more)(const struct bdev_order *o, struct json_object *array); /* calls that follow; NULL: none */
	struct list link;                                                 /* bdev_rpc's */
};
void bdev_rpc_add_order_kind(struct bdev_rpc *br, struct bdev_rpc_order_kind *kind);

/* For what is saved in a way of its own, as entries in the order in which they can be loaded: behind the devices above,
 * before the orders. */
struct bdev_rpc_saver {
	rpc_save_fn *save;
	void *ctx;
	struct list link;                                                 /* bdev_rpc's */
};
void bdev_rpc_add_saver(struct bdev_rpc *br, struct bdev_rpc_saver *saver);

/* What a delete method answers with: for bdev_unregister() and the like; `arg` is the call. */
void bdev_rpc_deleted(void *arg, int rc);

#endif
