/* SPDX-License-Identifier: BSD-3-Clause */
/* uring.h: files and block devices through io_uring: the engine of backends/file, one ring a core. */
#ifndef BACKENDS_URING_URING_H
#define BACKENDS_URING_URING_H

#include "backends/file/file.h"

extern const struct file_engine uring_engine;

/* io_uring; libaio where it is refused, then threads. */
struct file_backend *uring_backend_make(struct bdev_registry *reg);

#endif
