/* SPDX-License-Identifier: BSD-3-Clause */
/* vhost_rpc_priv.h: what the files of vhost's methods share (private). */
#ifndef VHOST_RPC_PRIV_H
#define VHOST_RPC_PRIV_H

#include "rpc/json.h"
#include "rpc/rpc.h"
#include "vhost/vhost.h"

#define CTRLR_ROW(S) RPC_PARAM(S, ctrlr, .required = true, .doc = "Name of the controller.")

/* Of what makes a controller. */
#define NEW_CTRLR_ROW(S) RPC_PARAM(S, ctrlr, .required = true, .min = 1, .max = VHOST_NAME_MAX, \
	.doc = "Name of the controller, and of its socket in the directory of option -S.")
#define CPUMASK_ROW(S) RPC_PARAM(S, cpumask, \
	.doc = "Cores that its queues may be on, such as 0x5 or [0,2]. At first all.")
#define PACKED_ROW(S) RPC_PARAM(S, packed_ring, .fallback = "true", \
	.doc = "Whether packed rings are offered; the front-end decides.")
#define PATIENCE_ROW(S) RPC_PARAM(S, patience_ms, .min = 100, .max = 3600000, .fallback = "30000", .unit = "ms", \
	.doc = "How long a front-end that stops a queue, or comes after another one, waits for requests that the disk " \
	       "has: then they are aborted.")
#define SOCKET_ROWS(S) \
	RPC_PARAM(S, socket, .doc = "The socket's path, when it is not the name in that directory."), \
	RPC_PARAM(S, client, .doc = "Connect to that socket, which the front-end listens on, for as long as the " \
	          "controller exists. At first false: it listens there.")

struct vhost_rpc_ctrlr_args {
	char *ctrlr;
};

/* vhost_rpc.c */
/* A change that answers `call`, with true, when it is done. */
struct vhost_change *vhost_rpc_change(struct rpc_call *call);
/* NULL: there is none, and the call was answered. */
struct vhost_ctrlr *vhost_rpc_ctrlr(struct rpc_call *call, const char *name);
/* Its parameters, to be filled in. */
struct json_object *vhost_rpc_save_call(struct json_object *array, const char *method);
/* One that makes a controller: with what all kinds have in common. */
struct json_object *vhost_rpc_save_create(struct json_object *array, const char *method,
                                          const struct vhost_ctrlr_info *i);
void vhost_rpc_save_coalescing(struct json_object *array, const struct vhost_ctrlr_info *i);

/* vhost_scsi_rpc.c */
void vhost_rpc_scsi_add(struct rpc *rpc, struct vhost *v);
void vhost_rpc_scsi_show(struct json_object *specific, const struct vhost_ctrlr *c);

/* vhost_slow_rpc.c */
void vhost_rpc_slow_add(struct rpc *rpc, struct vhost *v);

#endif
