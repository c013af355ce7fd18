/* SPDX-License-Identifier: BSD-3-Clause */
/* layout.h: how a wire structure states its size and offsets.
 *
 * Wire structures are built from bytes and the types of base/bytes.h, whose alignment is 1: no compiler
 * adds a hole to them, they need no packing, and they may be laid over any buffer.
 */
#ifndef WIRE_LAYOUT_H
#define WIRE_LAYOUT_H

#include "base/base.h"
#include "base/bytes.h"

#define WIRE_SIZE(type, bytes) \
	_Static_assert(sizeof(type) == (bytes), #type " is not " #bytes " bytes"); \
	_Static_assert(_Alignof(type) == 1, #type " cannot be laid over any buffer")
#define WIRE_AT(type, member, offset) \
	_Static_assert(offsetof(type, member) == (offset), #type "." #member " is not at " #offset)

#endif
