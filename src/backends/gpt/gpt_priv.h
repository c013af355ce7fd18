/* SPDX-License-Identifier: BSD-3-Clause */
/* gpt_priv.h: what the files of the back-end share. Private to it. */
#ifndef BACKENDS_GPT_GPT_PRIV_H
#define BACKENDS_GPT_GPT_PRIV_H

#include "backends/gpt/gpt.h"
#include "backends/gpt/gpt_table.h"
#include "bdev/bdev_stack.h"

struct gpt {
	struct bdev_registry *reg;
	struct bdev_arrival arrival;
	struct gpt_types types;
	uint32_t scans;              /* under way */
};

/* gpt_scan.c: read a device's table; `found` runs once, later, with NULL when there is none that can be believed; and
 * then `unread` when a read failed, and there may be one. The device may be going by then. */
typedef void gpt_found_fn(struct gpt *g, const char *base, const struct gpt_table *table, bool unread, void *arg);
void gpt_scan(struct gpt *g, struct bdev *b, gpt_found_fn *found, void *arg);

#endif
