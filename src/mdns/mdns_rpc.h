/* SPDX-License-Identifier: BSD-3-Clause */
/* mdns_rpc.h: methods of multicast DNS, by SPDK's names. */
#ifndef MDNS_MDNS_RPC_H
#define MDNS_MDNS_RPC_H

#include "mdns/mdns.h"
#include "rpc/rpc.h"

struct mdns_rpc;
struct mdns_rpc *mdns_rpc_make(struct rpc *rpc, struct core *core, struct nvmf_target *t);
void mdns_rpc_free(struct mdns_rpc *mr);

#endif
