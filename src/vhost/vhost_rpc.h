/* SPDX-License-Identifier: BSD-3-Clause */
/* vhost_rpc.h: vhost's methods. */
#ifndef VHOST_VHOST_RPC_H
#define VHOST_VHOST_RPC_H

struct rpc;
struct vhost;

void vhost_rpc_add(struct rpc *rpc, struct vhost *v);

#endif
