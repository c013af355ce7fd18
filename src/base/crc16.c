/* SPDX-License-Identifier: BSD-3-Clause */
/* crc16.c: ISA-L under a name of our own. */
#include "base/crc16.h"

#include <isa-l/crc.h>

uint16_t crc16_update(uint16_t crc, const void *data, size_t len)
{
	return crc16_t10dif(crc, data, len);
}
