/* SPDX-License-Identifier: BSD-3-Clause */
#include "bdev/bdev_waist.h"

void bdev_locks_make(struct bdev *b) {}
void bdev_locks_free(struct bdev *b) {}
bool bdev_locks_block(struct bdev_core *core, struct bdev_io *io) { return false; }
void bdev_locks_drained(struct bdev_core *core) {}
