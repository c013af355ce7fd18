/* SPDX-License-Identifier: BSD-3-Clause */
/* metrics_rpc.h: the metrics' methods. */
#ifndef METRICS_METRICS_RPC_H
#define METRICS_METRICS_RPC_H

struct rpc;
struct metrics;

/* Core: control. Memory: the metrics must outlive the registry's last call. */
void metrics_rpc_add(struct rpc *rpc, struct metrics *m);

#endif
