/* SPDX-License-Identifier: BSD-3-Clause */
/* transport_id.h: TransportIDs of iSCSI (SPC-5 7.6.4.6): who an initiator port is, as bytes. Private to scsi. */
#ifndef SCSI_TRANSPORT_ID_H
#define SCSI_TRANSPORT_ID_H

#include "scsi/scsi.h"

/* Header, name, its NUL and padding. */
#define SCSI_TRANSPORT_ID_MAX (4u + SCSI_PORT_NAME_MAX + 4u)

/* `name`: of a port (iqn...,i,0x0123456789ab) or of a device. Returns the length. */
uint32_t scsi_transport_id_make(const char *name, uint8_t to[static SCSI_TRANSPORT_ID_MAX]);

/* The TransportID at the beginning of `len` bytes: its length, 0 when it is none of iSCSI's. The name is in small
 * letters; *ret_is_port: it has an ISID. */
uint32_t scsi_transport_id_read(const uint8_t *bytes, uint32_t len, char ret_name[static SCSI_PORT_NAME_MAX + 1],
                                bool *ret_is_port);

/* Of a port's name: the device's part. */
void scsi_transport_id_device(const char *port, char ret_name[static SCSI_NAME_MAX + 1]);

#endif
