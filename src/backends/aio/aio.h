/* SPDX-License-Identifier: BSD-3-Clause */
/* aio.h: files and block devices through the kernel's older asynchronous I/O: an engine of backends/file. */
#ifndef BACKENDS_AIO_AIO_H
#define BACKENDS_AIO_AIO_H

#include "backends/file/file.h"

extern const struct file_engine aio_engine;

/* libaio; threads where it is refused. */
struct file_backend *aio_backend_make(struct bdev_registry *reg);

#endif
