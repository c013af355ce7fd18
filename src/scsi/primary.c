/* SPDX-License-Identifier: BSD-3-Clause */
/* primary.c: the table of the primary commands: one row says all about a command. */
#include "scsi/primary.h"

/* Shorthands for the rows below. */
#define UA SCSI_ROW_ANY_TIME
#define NOLUN SCSI_ROW_NO_LUN
#define SBY SCSI_ROW_STANDBY
#define SBY_UNA (SCSI_ROW_STANDBY | SCSI_ROW_UNAVAILABLE)
#define CONFLICT SCSI_ROW_CONFLICT_ANY
#define CONFLICT_EA SCSI_ROW_CONFLICT_READ
#define OP(name) SCSI_OP_##name, SCSI_SA_##name

static const struct scsi_opcode rows[] = {
	{ OP(TEST_UNIT_READY), "TEST UNIT READY", 6, { 0 },
		SCSI_ROW_MEDIUM, NULL, scsi_test_unit_ready_run },
	{ OP(REQUEST_SENSE), "REQUEST SENSE", 6, { 0, 0x01, 0, 0, 0xff },
		UA | NOLUN | SBY_UNA, scsi_request_sense_parse, scsi_request_sense_run },
	{ OP(INQUIRY), "INQUIRY", 6, { 0, 0x01, 0xff, 0xff, 0xff },
		UA | NOLUN | SBY_UNA, scsi_inquiry_parse, scsi_inquiry_run },
	{ OP(MODE_SELECT_6), "MODE SELECT (6)", 6, { 0, 0x11, 0, 0, 0xff },
		SBY | CONFLICT, scsi_mode_select_parse, scsi_mode_select_run },
	{ OP(MODE_SENSE_6), "MODE SENSE (6)", 6, { 0, 0x08, 0xff, 0xff, 0xff },
		SBY | CONFLICT_EA, scsi_mode_sense_parse, scsi_mode_sense_run },
	{ OP(START_STOP_UNIT), "START STOP UNIT", 6, { 0, 0x01, 0, 0x0f, 0xf7 },
		0, scsi_start_stop_parse, scsi_start_stop_run },
	{ OP(SEND_DIAGNOSTIC), "SEND DIAGNOSTIC", 6, { 0, 0x04 },
		SBY | CONFLICT, scsi_send_diagnostic_parse, scsi_send_diagnostic_run },
	{ OP(PREVENT_ALLOW_REMOVAL), "PREVENT ALLOW MEDIUM REMOVAL", 6, { 0, 0, 0, 0, 0x03 },
		0, scsi_prevent_allow_parse, scsi_prevent_allow_run },
	{ OP(LOG_SENSE), "LOG SENSE", 10, { 0, 0, 0xff, 0xff, 0, 0xff, 0xff, 0xff, 0xff },
		SBY, scsi_log_sense_parse, scsi_log_sense_run },
	{ OP(MODE_SELECT_10), "MODE SELECT (10)", 10, { 0, 0x11, 0, 0, 0, 0, 0, 0xff, 0xff },
		SBY | CONFLICT, scsi_mode_select_parse, scsi_mode_select_run },
	{ OP(MODE_SENSE_10), "MODE SENSE (10)", 10, { 0, 0x18, 0xff, 0xff, 0, 0, 0, 0xff, 0xff },
		SBY | CONFLICT_EA, scsi_mode_sense_parse, scsi_mode_sense_run },
	{ OP(EXTENDED_COPY_LID1), "EXTENDED COPY (LID1)", 16, { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff },
		SCSI_ROW_MEDIUM | CONFLICT, scsi_xcopy_parse, scsi_xcopy_run },
	{ OP(COPY_STATUS_LID1), "RECEIVE COPY STATUS (LID1)", 16,
		{ 0, 0, 0xff, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff },
		0, scsi_copy_status_parse, scsi_copy_status_run },
	{ OP(COPY_PARAMETERS), "RECEIVE COPY OPERATING PARAMETERS", 16,
		{ 0, 0, 0xff, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff },
		0, scsi_copy_parameters_parse, scsi_copy_parameters_run },
	{ OP(REPORT_LUNS), "REPORT LUNS", 12, { 0, 0, 0xff, 0, 0, 0, 0xff, 0xff, 0xff, 0xff },
		UA | NOLUN | SBY_UNA, scsi_report_luns_parse, scsi_report_luns_run },
	{ OP(REPORT_TARGET_GROUPS), "REPORT TARGET PORT GROUPS", 12, { 0, 0xe0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff },
		SBY_UNA, scsi_report_groups_parse, scsi_report_groups_run },
	{ OP(REPORT_OPCODES), "REPORT SUPPORTED OPERATION CODES", 12,
		{ 0, 0, 0x87, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff },
		SBY_UNA | CONFLICT_EA, scsi_report_opcodes_parse, scsi_report_opcodes_run },
	{ OP(REPORT_TMFS), "REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS", 12,
		{ 0, 0, 0x80, 0, 0, 0, 0xff, 0xff, 0xff, 0xff },
		SBY_UNA | CONFLICT_EA, scsi_report_tmfs_parse, scsi_report_tmfs_run },
	{ OP(REPORT_TIMESTAMP), "REPORT TIMESTAMP", 12, { 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff },
		SBY_UNA, scsi_report_timestamp_parse, scsi_report_timestamp_run },
	{ OP(SET_TARGET_GROUPS), "SET TARGET PORT GROUPS", 12, { 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff },
		SBY_UNA | CONFLICT, scsi_set_groups_parse, scsi_set_groups_run },
};
const struct scsi_opcode_table scsi_primary_ops = { rows, ARRAY_SIZE(rows) };
