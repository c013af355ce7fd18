/* SPDX-License-Identifier: BSD-3-Clause */
/* raid_rpc.h: bdev_raid_create and its kin. */
#ifndef BACKENDS_RAID_RAID_RPC_H
#define BACKENDS_RAID_RAID_RPC_H

#include "bdev/bdev_rpc.h"

struct raid_rpc {
	struct bdev_rpc_kind kind;
	struct bdev_rpc_order_kind order_kind;
};

/* Control reactor. `rr` is room for what bdev_rpc keeps; it lives as long as `br`. */
void raid_rpc_add(struct raid_rpc *rr, struct bdev_rpc *br);

#endif
