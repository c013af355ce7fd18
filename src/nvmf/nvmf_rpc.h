/* SPDX-License-Identifier: BSD-3-Clause */
/* nvmf_rpc.h: the target's methods (nvmf_*) and its part of the saved configuration. */
#ifndef NVMF_NVMF_RPC_H
#define NVMF_NVMF_RPC_H

struct rpc;
struct nvmf_target;

/* Core: control. Memory: the target must outlive the registry's last call. */
void nvmf_rpc_add(struct rpc *rpc, struct nvmf_target *t);

#endif
