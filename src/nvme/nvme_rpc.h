/* SPDX-License-Identifier: BSD-3-Clause */
/* nvme_rpc.h: methods that look at remote subsystems without attaching anything: nvme_discover, nvme_identify. */
#ifndef NVME_NVME_RPC_H
#define NVME_NVME_RPC_H

struct core;
struct rpc;
struct nvme_rpc;

/* Core: control. Memory: outlives the registry's last call. */
struct nvme_rpc *nvme_rpc_make(struct rpc *rpc, struct core *core);
/* Before it is freed: `done` runs when nothing of its controllers is left, maybe before this returns. */
void nvme_rpc_stop(struct nvme_rpc *n, void (*done)(void *arg), void *arg);
void nvme_rpc_free(struct nvme_rpc *n);
/* For transports to be added to. */
struct nvme_host;
struct nvme_host *nvme_rpc_host(struct nvme_rpc *n);

#endif
