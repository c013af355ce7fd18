/* SPDX-License-Identifier: BSD-3-Clause */
/* bdev_rpc_priv.h: what the files of bdev's methods share. */
#ifndef BDEV_BDEV_RPC_PRIV_H
#define BDEV_BDEV_RPC_PRIV_H

#include "bdev/bdev_rpc.h"

struct bdev_rpc {
	struct rpc *rpc;
	struct bdev_registry *reg;
	struct list kinds, waiting, order_kinds, savers;
	struct rpc_drain_hook drain;
};

/* stack_rpc.c */
void bdev_rpc_save_orders(struct bdev_rpc *br, struct rpc_save *save);
/* fitness_rpc.c */
void bdev_rpc_add_fitness(struct bdev_rpc *br);
/* reservation_rpc.c */
void bdev_rpc_add_reservations(struct bdev_rpc *br);
/* stats_rpc.c */
void bdev_rpc_add_stats(struct bdev_rpc *br);
/* meter_rpc.c */
void bdev_rpc_add_meter(struct bdev_rpc *br);
/* qos_rpc.c */
void bdev_rpc_add_qos(struct bdev_rpc *br);
struct json_object *bdev_rpc_rate_limits(const struct bdev *b);
void bdev_rpc_save_qos(struct bdev_rpc *br, struct rpc_save *save); /* after all devices */
/* A device that will return goes: its limits are to be set again then. */
void bdev_rpc_keep_qos(void *arg, struct bdev *b);

/* bdev_rpc.c: the device of that name; NULL: there is none, and the caller has been told. */
struct bdev *bdev_rpc_find(struct rpc_call *call, const char *name);

#endif
