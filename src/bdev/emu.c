/* SPDX-License-Identifier: BSD-3-Clause */
/* emu.c: what to do with an I/O that the device cannot take as it is. */
#include "bdev/bdev_waist.h"

bool bdev_emulate(struct bdev_channel *ch, struct bdev_io *io)
{
	if (ch->bdev->native_ops & 1u << io->op)
		return false;
	bdev_io_end(io, BDEV_ST_UNSUPPORTED);
	return true;
}

void bdev_emu_init(struct bdev_core *core) {}
void bdev_emu_fini(struct bdev_core *core) {}
