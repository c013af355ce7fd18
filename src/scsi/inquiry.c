/* SPDX-License-Identifier: BSD-3-Clause */
/* inquiry.c: INQUIRY: what a logical unit says about itself, and what is said where there is none. */
#include "base/text.h"
#include "scsi/primary.h"
#include "wire/scsi_inquiry.h"

#define EVPD 1u

bool scsi_inquiry_parse(struct scsi_task *t)
{
	bool evpd = t->cdb[1] & EVPD;

	if (!evpd && t->cdb[2])
		return scsi_task_bad_field(t, 2, -1, true);
	if (evpd && (t->lu ? !scsi_vpd_exists(t->cdb[2]) : t->cdb[2] != SCSI_VPD_SUPPORTED))
		return scsi_task_bad_field(t, 2, -1, true);
	return scsi_task_moves(t, SCSI_DATA_IN, scsi_u16(t->cdb + 3));
}

static void inquiry_standard(struct scsi_task *t)
{
	static const uint16_t standards[] = { SCSI_VERSION_DESC_SAM5, SCSI_VERSION_DESC_SPC4, SCSI_VERSION_DESC_SBC3 };
	struct scsi_inquiry_data d = {
		.peripheral = t->lu ? SCSI_TYPE_DISK : SCSI_QUALIFIER_NO_LU | SCSI_TYPE_UNKNOWN,
		.version = SCSI_VERSION_SPC4,
		.format = SCSI_INQ_FORMAT_2 | SCSI_INQ_HISUP,
		.additional_length = sizeof(d) - 5,
		.flags5 = t->lu ? SCSI_INQ5_3PC | SCSI_INQ5_TPGS_IMPLICIT | SCSI_INQ5_TPGS_EXPLICIT : 0,
		.flags6 = SCSI_INQ6_MULTIP,
		.flags7 = SCSI_INQ7_CMDQUE,
	};
	size_t i;

	text_pad(d.vendor, sizeof(d.vendor), SCSI_VENDOR, ' ');
	text_pad(d.product, sizeof(d.product), SCSI_PRODUCT, ' ');
	text_pad(d.revision, sizeof(d.revision), SCSI_REVISION, ' ');
	for (i = 0; i < ARRAY_SIZE(standards); i++)
		d.version_descriptors[i] = be16_of(standards[i]);
	if (t->nexus->target->protocol == SCSI_PROTOCOL_ISCSI)
		d.version_descriptors[i] = be16_of(SCSI_VERSION_DESC_ISCSI);
	scsi_task_complete_data(t, &d, sizeof(d));
}

/* A LUN where nothing is has one page: the list of that one. */
static void inquiry_no_pages(struct scsi_task *t)
{
	uint8_t page[sizeof(struct scsi_vpd_header) + 1] = { SCSI_QUALIFIER_NO_LU | SCSI_TYPE_UNKNOWN };

	page[3] = 1;
	scsi_task_complete_data(t, page, sizeof(page));
}

void scsi_inquiry_run(struct scsi_task *t)
{
	uint32_t len;
	void *page;

	if (!(t->cdb[1] & EVPD)) {
		inquiry_standard(t);
		return;
	}
	if (!t->lu) {
		inquiry_no_pages(t);
		return;
	}
	page = scsi_vpd_make(t, t->cdb[2], &len);
	scsi_task_complete_data(t, page, len);
	free(page);
}
