/* SPDX-License-Identifier: BSD-3-Clause */
/* primary.h: the primary commands (SPC), family by family; primary.c has their table (private to scsi). */
#ifndef SCSI_PRIMARY_H
#define SCSI_PRIMARY_H

#include "scsi/scsi_priv.h"

#define SCSI_VENDOR "GANTRY"
#define SCSI_PRODUCT "Gantry disk"
#define SCSI_REVISION "0.1"

/* --- inquiry.c, vpd.c --- */
bool scsi_inquiry_parse(struct scsi_task *t);
void scsi_inquiry_run(struct scsi_task *t);
/* Make a VPD page of the task's logical unit: what scsi_task_complete_data() is given, freed by the caller. NULL: there
 * is no such page. */
void *scsi_vpd_make(const struct scsi_task *t, uint8_t page, uint32_t *ret_len);
bool scsi_vpd_exists(uint8_t page);
/* NAA designator, locally assigned, from the device's UUID: 60 bits of it. */
#define SCSI_NAA_LEN 8u
void scsi_naa(const struct uuid *uuid, uint8_t ret_naa[static SCSI_NAA_LEN]);
/* T10 vendor id designator: vendor, product, serial number. */
#define SCSI_SERIAL_LEN (UUID_TEXT_MAX - 1)
#define SCSI_T10_LEN (8u + 16u + SCSI_SERIAL_LEN)
void scsi_t10_id(const struct uuid *uuid, uint8_t ret_id[static SCSI_T10_LEN]);
/* Its UUID designator. */
#define SCSI_UUID_LEN 18u
void scsi_uuid_id(const struct uuid *uuid, uint8_t ret_id[static SCSI_UUID_LEN]);

/* --- unit.c: readiness and the like --- */
void scsi_test_unit_ready_run(struct scsi_task *t);
bool scsi_request_sense_parse(struct scsi_task *t);
void scsi_request_sense_run(struct scsi_task *t);
bool scsi_start_stop_parse(struct scsi_task *t);
void scsi_start_stop_run(struct scsi_task *t);
bool scsi_prevent_allow_parse(struct scsi_task *t);
void scsi_prevent_allow_run(struct scsi_task *t);
bool scsi_send_diagnostic_parse(struct scsi_task *t);
void scsi_send_diagnostic_run(struct scsi_task *t);

/* --- mode_cmd.c --- */
bool scsi_mode_sense_parse(struct scsi_task *t);
void scsi_mode_sense_run(struct scsi_task *t);
bool scsi_mode_select_parse(struct scsi_task *t);
void scsi_mode_select_run(struct scsi_task *t);

/* --- log_sense.c --- */
bool scsi_log_sense_parse(struct scsi_task *t);
void scsi_log_sense_run(struct scsi_task *t);

/* --- report.c --- */
bool scsi_report_luns_parse(struct scsi_task *t);
void scsi_report_luns_run(struct scsi_task *t);
bool scsi_report_opcodes_parse(struct scsi_task *t);
void scsi_report_opcodes_run(struct scsi_task *t);
bool scsi_report_tmfs_parse(struct scsi_task *t);
void scsi_report_tmfs_run(struct scsi_task *t);
bool scsi_report_timestamp_parse(struct scsi_task *t);
void scsi_report_timestamp_run(struct scsi_task *t);

/* --- port_groups.c --- */
bool scsi_report_groups_parse(struct scsi_task *t);
void scsi_report_groups_run(struct scsi_task *t);
bool scsi_set_groups_parse(struct scsi_task *t);
void scsi_set_groups_run(struct scsi_task *t);

/* --- xcopy.c, copy_results.c --- */
bool scsi_xcopy_parse(struct scsi_task *t);
void scsi_xcopy_run(struct scsi_task *t);
bool scsi_copy_parameters_parse(struct scsi_task *t);
void scsi_copy_parameters_run(struct scsi_task *t);
bool scsi_copy_status_parse(struct scsi_task *t);
void scsi_copy_status_run(struct scsi_task *t);
/* What a nexus' copies came to, by list identifier. */
bool scsi_copy_in_progress(const struct scsi_task *t, uint8_t list_id);
void scsi_copy_begun(struct scsi_task *t, uint8_t list_id);
void scsi_copy_ended(struct scsi_task *t, uint8_t list_id, bool well, uint32_t segments, uint64_t bytes);

#define SCSI_XCOPY_CSCDS_MAX 8u
#define SCSI_XCOPY_SEGMENTS_MAX 64u
#define SCSI_XCOPY_LIST_MAX (16u + SCSI_XCOPY_CSCDS_MAX * 32u + SCSI_XCOPY_SEGMENTS_MAX * 32u)
#define SCSI_XCOPY_COPIES_MAX 255u
#define SCSI_XCOPY_SEGMENT_BYTES_MAX (256u * 1024 * 1024)

#endif
