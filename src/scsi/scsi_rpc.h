/* SPDX-License-Identifier: BSD-3-Clause */
/* scsi_rpc.h: the methods of the SCSI layer: its flight recorder. Devices and LUNs are their transports'. */
#ifndef SCSI_SCSI_RPC_H
#define SCSI_SCSI_RPC_H

struct rpc;
struct scsi;

void scsi_rpc_add(struct rpc *rpc, struct scsi *s);

#endif
