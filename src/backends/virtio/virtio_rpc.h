/* SPDX-License-Identifier: BSD-3-Clause */
/* virtio_rpc.h: bdev_virtio_* methods. */
#ifndef BACKENDS_VIRTIO_RPC_H
#define BACKENDS_VIRTIO_RPC_H

#include "backends/virtio/virtio.h"
#include "bdev/bdev_rpc.h"

struct virtio_rpc {
	struct vio *vio;
	struct bdev_rpc_kind blk_kind, scsi_kind;
	struct bdev_rpc_saver saver;
	struct rpc_drain_hook drain;
};
void virtio_rpc_init(struct virtio_rpc *vr, struct bdev_rpc *br);
/* Its controllers go; `done` runs once, maybe at once. */
void virtio_rpc_stop(struct virtio_rpc *vr, void (*done)(void *arg), void *arg);
void virtio_rpc_fini(struct virtio_rpc *vr);

#endif
