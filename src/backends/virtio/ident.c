/* SPDX-License-Identifier: BSD-3-Clause */
/* ident.c: who a logical unit is, as it says itself; so that its disk has the same UUID after each start, and another
 * unit under its number is not taken for it.
 *
 * Of the designators of VPD page 83h only those count that nobody else has anywhere: a UUID, which becomes the disk's,
 * and names out of IEEE's registers, which a UUID follows from. Others, and the serial number of page 80h, are only as
 * good as their server: two servers may well call their first disks alike. There the UUID follows from the controller's
 * name, its socket and the target as well.
 */
#include <stdio.h>

#include "backends/virtio/virtio_priv.h"
#include "wire/scsi.h"
#include "wire/scsi_inquiry.h"

#define ASSOC_TYPE 0x3fu               /* of a designator's type: whose it is, and of what kind */
#define UUID_AT 2u                     /* in its designator */
#define TEXT_MAX (2u * 256 + 16)

static bool is_zero(const uint8_t *p, uint32_t len)
{
	for (uint32_t i = 0; i < len; i++)
		if (p[i])
			return false;
	return true;
}

static enum vio_ident_rank rank_of(const struct scsi_designator *d)
{
	if (!d->length || is_zero(d->value, d->length))
		return VIO_IDENT_NONE;
	switch (d->type & ASSOC_TYPE) {
	case SCSI_ASSOC_LU | SCSI_DESIGNATOR_UUID:
		return d->length >= UUID_AT + sizeof(struct uuid) && d->value[0] >> 4 == 1 &&
		       !is_zero(d->value + UUID_AT, sizeof(struct uuid)) ? VIO_IDENT_UUID : VIO_IDENT_NONE;
	case SCSI_ASSOC_LU | SCSI_DESIGNATOR_NAA:
		return d->length >= 8 && d->value[0] >> 4 != SCSI_NAA_LOCAL ? VIO_IDENT_WORLDWIDE : VIO_IDENT_LOCAL;
	case SCSI_ASSOC_LU | SCSI_DESIGNATOR_EUI64:
		return d->length >= 8 ? VIO_IDENT_WORLDWIDE : VIO_IDENT_LOCAL;
	case SCSI_ASSOC_LU | SCSI_DESIGNATOR_T10:
	case SCSI_ASSOC_LU | SCSI_DESIGNATOR_NAME:
	case SCSI_ASSOC_LU | SCSI_DESIGNATOR_VENDOR:
		return VIO_IDENT_LOCAL;
	default:
		return VIO_IDENT_NONE; /* of a port or a device; of several units */
	}
}

static struct uuid uuid_of_bytes(const char *kind, const uint8_t *p, uint32_t len)
{
	char text[TEXT_MAX];
	int n = snprintf(text, sizeof(text), "%s.", kind);

	for (uint32_t i = 0; i < len && n + 3u <= sizeof(text); i++)
		n += snprintf(text + n, sizeof(text) - (size_t)n, "%02x", p[i]);
	return uuid_of_name(text);
}

static uint32_t page_len(const uint8_t *page, uint32_t room, uint8_t code)
{
	return page[1] == code ? min_u32(scsi_u16(page + 2), room - 4) : 0;
}

void vio_ident_designators(struct vio_ident *id, const uint8_t *page, uint32_t room)
{
	uint32_t len = page_len(page, room, SCSI_VPD_DEVICE_ID), at = 4, end = at + len;
	const struct scsi_designator *best = NULL, *d;

	for (; at + sizeof(*d) <= end; at += (uint32_t)sizeof(*d) + d->length) {
		d = (const struct scsi_designator *)(page + at);
		if (at + sizeof(*d) + d->length > end)
			break;
		if (rank_of(d) > id->rank) {
			best = d;
			id->rank = rank_of(d);
		}
	}
	if (!best)
		return;
	if (id->rank == VIO_IDENT_UUID)
		memcpy(&id->mark, best->value + UUID_AT, sizeof(id->mark));
	else
		id->mark = uuid_of_bytes((best->type & 0xf) == SCSI_DESIGNATOR_NAA ? "naa" : "designator", best->value,
		                         best->length);
}

void vio_ident_serial(struct vio_ident *id, const uint8_t *page, uint32_t room)
{
	uint32_t len = page_len(page, room, SCSI_VPD_SERIAL);

	if (id->rank != VIO_IDENT_NONE || !len || is_zero(page + 4, len))
		return;
	id->mark = uuid_of_bytes("serial", page + 4, len);
	id->rank = VIO_IDENT_SERIAL;
}

struct uuid vio_ident_here(const struct vio_ident *id, const struct vio_ctrlr *c, uint32_t target)
{
	char text[VIO_NAME_MAX + VIO_PATH_MAX + UUID_TEXT_MAX + 32], mark[UUID_TEXT_MAX];

	snprintf(text, sizeof(text), "virtio:%s:%s:%u:%s", c->name, c->path, target, uuid_to_text(&id->mark, mark));
	return uuid_of_name(text);
}
