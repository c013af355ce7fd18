/* SPDX-License-Identifier: BSD-3-Clause */
/* md.h: what emulations know of metadata. Private to bdev. */
#ifndef BDEV_MD_H
#define BDEV_MD_H

#include "bdev/emu.h"
#include "bdev/pi.h"

struct pi_shape bdev_pi_shape(const struct bdev *b);
/* Of blocks in an I/O's iovecs, where its flags say that the metadata are. BAD_FIELD: nowhere. */
enum bdev_status bdev_md_verify(const struct bdev *b, const struct bdev_io *io, struct bdev_tags tags, uint32_t checks);
enum bdev_status bdev_md_generate(const struct bdev *b, const struct bdev_io *io, struct bdev_tags tags);
/* emu_copy.c: of a piece that has been read and is to be written. */
enum bdev_status bdev_copy_protect(const struct bdev_io *io, struct bdev_io *piece, uint64_t offset);

#endif
