/* SPDX-License-Identifier: BSD-3-Clause */
/* vhost_rpc_priv.h: what the files of vhost's methods share (private). */
#ifndef VHOST_RPC_PRIV_H
#define VHOST_RPC_PRIV_H

#include "rpc/json.h"
#include "rpc/rpc.h"
#include "vhost/vhost.h"

#define CTRLR_ROW(S) RPC_PARAM(S, ctrlr, .required = true, .doc = "Name of the controller.")

/* vhost_rpc.c */
/* A change that answers `call`, with true, when it is done. */
struct vhost_change *vhost_rpc_change(struct rpc_call *call);
/* NULL: there is none, and the call was answered. */
struct vhost_ctrlr *vhost_rpc_ctrlr(struct rpc_call *call, const char *name);
/* Its parameters, to be filled in. */
struct json_object *vhost_rpc_save_call(struct json_object *array, const char *method);
void vhost_rpc_save_common(struct json_object *array, const struct vhost_ctrlr_info *i);

/* vhost_scsi_rpc.c */
void vhost_rpc_scsi_add(struct rpc *rpc, struct vhost *v);
void vhost_rpc_scsi_show(struct json_object *specific, const struct vhost_ctrlr *c);

#endif
