/* SPDX-License-Identifier: BSD-3-Clause */
/* gpt_rpc.h: methods about partitions, and how they are shown. */
#ifndef BACKENDS_GPT_GPT_RPC_H
#define BACKENDS_GPT_GPT_RPC_H

#include "backends/gpt/gpt.h"
#include "bdev/bdev_rpc.h"

struct gpt_rpc {
	struct gpt *gpt;
	struct bdev_rpc_kind kind;
};

/* Control reactor. Finds partitions on all devices from here on. */
void gpt_rpc_init(struct gpt_rpc *gr, struct bdev_rpc *br);
/* No device is left. */
void gpt_rpc_fini(struct gpt_rpc *gr);

#endif
