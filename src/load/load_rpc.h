/* SPDX-License-Identifier: BSD-3-Clause */
/* load_rpc.h: bdev_perf_start. */
#ifndef LOAD_LOAD_RPC_H
#define LOAD_LOAD_RPC_H

struct bdev_registry;
struct load_rpc;
struct rpc;

/* Core: control. Memory: outlives the registry's last call. */
struct load_rpc *load_rpc_make(struct rpc *rpc, struct bdev_registry *reg);
void load_rpc_free(struct load_rpc *r);

#endif
