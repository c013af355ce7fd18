/* SPDX-License-Identifier: BSD-3-Clause */
/* transport_id.c: TransportIDs of iSCSI, made and read. Pure. */
#include "scsi/transport_id.h"

#define PROTOCOL_ISCSI 0x05u
#define FORMAT_DEVICE 0x00u
#define FORMAT_PORT 0x40u
#define FORMAT_MASK 0xc0u
#define LENGTH_MIN 20u         /* of what follows the header */
#define ISID_MARK ",i,0x"
#define ISID_DIGITS 12u

static const char *isid_mark(const char *name)
{
	return strstr(name, ISID_MARK);
}

uint32_t scsi_transport_id_make(const char *name, uint8_t to[static SCSI_TRANSPORT_ID_MAX])
{
	uint32_t len = (uint32_t)strnlen(name, SCSI_PORT_NAME_MAX), field = max_u32((len + 1 + 3) & ~3u, LENGTH_MIN);

	memset(to, 0, SCSI_TRANSPORT_ID_MAX);
	to[0] = (uint8_t)(PROTOCOL_ISCSI | (isid_mark(name) ? FORMAT_PORT : FORMAT_DEVICE));
	scsi_put16(to + 2, (uint16_t)field);
	memcpy(to + 4, name, len);
	return 4 + field;
}

static bool is_isid(const char *digits)
{
	uint32_t n = 0;

	for (; digits[n]; n++)
		if (!strchr("0123456789abcdef", digits[n]))
			return false;
	return n == ISID_DIGITS;
}

uint32_t scsi_transport_id_read(const uint8_t *bytes, uint32_t len, char ret_name[static SCSI_PORT_NAME_MAX + 1],
                                bool *ret_is_port)
{
	const char *mark;
	uint32_t field, n = 0;
	uint8_t format;

	if (len < 4 || (bytes[0] & 0x0f) != PROTOCOL_ISCSI)
		return 0;
	field = scsi_u16(bytes + 2);
	format = bytes[0] & FORMAT_MASK;
	if (field < LENGTH_MIN || field % 4 || field > len - 4 || format > FORMAT_PORT)
		return 0;
	for (; n < field && bytes[4 + n]; n++) {
		uint8_t c = bytes[4 + n];

		if (n == SCSI_PORT_NAME_MAX)
			return 0;
		ret_name[n] = (char)(c >= 'A' && c <= 'Z' ? c | 0x20 : c);
	}
	ret_name[n] = 0;
	mark = isid_mark(ret_name);
	*ret_is_port = format == FORMAT_PORT;
	if (n == field || !n || (mark != NULL) != *ret_is_port || (mark && !is_isid(mark + strlen(ISID_MARK))))
		return 0;
	if ((mark ? (size_t)(mark - ret_name) : n) > SCSI_NAME_MAX)
		return 0;
	return 4 + field;
}

void scsi_transport_id_device(const char *port, char ret_name[static SCSI_NAME_MAX + 1])
{
	const char *mark = isid_mark(port);
	size_t len = mark ? (size_t)(mark - port) : strlen(port);

	len = len > SCSI_NAME_MAX ? SCSI_NAME_MAX : len;
	memcpy(ret_name, port, len);
	ret_name[len] = 0;
}
