/* SPDX-License-Identifier: BSD-3-Clause */
/* iscsi_rpc.h: the iSCSI target's methods. */
#ifndef ISCSI_ISCSI_RPC_H
#define ISCSI_ISCSI_RPC_H

struct iscsi_target;
struct rpc;

void iscsi_rpc_add(struct rpc *rpc, struct iscsi_target *t);

#endif
