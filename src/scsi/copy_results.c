/* SPDX-License-Identifier: BSD-3-Clause */
/* copy_results.c: RECEIVE COPY OPERATING PARAMETERS, and what is remembered of a nexus' copies for RECEIVE COPY STATUS
 * (LID1): the last few. */
#include "scsi/primary.h"
#include "wire/scsi_inquiry.h"
#include "wire/scsi_report.h"

/* --- what can be copied ---------------------------------------------------------------------------------------- */

bool scsi_copy_parameters_parse(struct scsi_task *t)
{
	return scsi_task_moves(t, SCSI_DATA_IN, scsi_u32(t->cdb + 10));
}

void scsi_copy_parameters_run(struct scsi_task *t)
{
	static const uint8_t codes[] = { SCSI_XCOPY_B2B, SCSI_XCOPY_B2B_OFFSET, SCSI_XCOPY_CSCD_ID };
	uint8_t buf[sizeof(struct scsi_copy_parameters) + sizeof(codes)];
	struct scsi_copy_parameters *p = (struct scsi_copy_parameters *)buf;
	uint8_t block = t->lu->shift;

	*p = (struct scsi_copy_parameters){
		.length = be32_of(sizeof(buf) - sizeof(p->length)),
		.snlid = 1,
		.cscd_max = be16_of(SCSI_XCOPY_CSCDS_MAX),
		.segments_max = be16_of(SCSI_XCOPY_SEGMENTS_MAX),
		.list_length_max = be32_of(SCSI_XCOPY_LIST_MAX - sizeof(struct scsi_xcopy_lid1)),
		.segment_length_max = be32_of(SCSI_XCOPY_SEGMENT_BYTES_MAX),
		.copies_total = be16_of(SCSI_XCOPY_COPIES_MAX),
		.copies_max = SCSI_XCOPY_COPIES_MAX,
		.segment_granularity = block,
		.codes_length = sizeof(codes),
	};
	memcpy(p->codes, codes, sizeof(codes));
	scsi_task_complete_data(t, buf, sizeof(buf));
}

/* --- what became of copies ---------------------------------------------------------------------------------------- */

static struct scsi_copy_result *result_find(const struct scsi_task *t, uint8_t list_id)
{
	struct scsi_nexus *n = t->nexus;

	for (uint32_t i = 0; i < SCSI_COPIES_KEPT; i++)
		if (n->copies[i].used && n->copies[i].list_id == list_id && n->copies[i].lun == scsi_lu_of(t->lu)->lun)
			return &n->copies[i];
	return NULL;
}

bool scsi_copy_in_progress(const struct scsi_task *t, uint8_t list_id)
{
	const struct scsi_copy_result *r = result_find(t, list_id);

	return r && r->status == SCSI_COPY_IN_PROGRESS;
}

void scsi_copy_begun(struct scsi_task *t, uint8_t list_id)
{
	struct scsi_nexus *n = t->nexus;
	struct scsi_copy_result *r = result_find(t, list_id);

	if (!r)
		r = &n->copies[n->copy_next++ % SCSI_COPIES_KEPT];
	*r = (struct scsi_copy_result){ .used = true, .list_id = list_id, .lun = (uint16_t)scsi_lu_of(t->lu)->lun,
		.status = SCSI_COPY_IN_PROGRESS };
}

void scsi_copy_ended(struct scsi_task *t, uint8_t list_id, bool well, uint32_t segments, uint64_t bytes)
{
	struct scsi_copy_result *r = result_find(t, list_id);

	if (!r) /* newer ones took its place */
		return;
	r->status = well ? SCSI_COPY_DONE : SCSI_COPY_FAILED;
	r->segments = (uint16_t)segments;
	r->kib = (uint32_t)(bytes / KIB);
}

bool scsi_copy_status_parse(struct scsi_task *t)
{
	if (!result_find(t, t->cdb[2]))
		return scsi_task_bad_field(t, 2, -1, true);
	return scsi_task_moves(t, SCSI_DATA_IN, scsi_u32(t->cdb + 10));
}

void scsi_copy_status_run(struct scsi_task *t)
{
	const struct scsi_copy_result *r = result_find(t, t->cdb[2]);
	struct scsi_copy_status_lid1 s = { .length = be32_of(sizeof(s) - sizeof(s.length)) };

	if (!r) { /* parsed, waited, and overtaken */
		scsi_task_bad_field(t, 2, -1, true);
		scsi_task_complete(t);
		return;
	}
	s.status = r->status;
	s.segments = be16_of(r->segments);
	s.units = SCSI_COPY_UNITS_KIB;
	s.transferred = be32_of(r->kib);
	scsi_task_complete_data(t, &s, sizeof(s));
}
