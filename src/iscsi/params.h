/* SPDX-License-Identifier: BSD-3-Clause */
/* params.h: what a session and its connection have agreed on; also what one side would like to. */
#ifndef ISCSI_PARAMS_H
#define ISCSI_PARAMS_H

#include "base/base.h"

struct iscsi_params {
	uint32_t max_recv;                   /* MaxRecvDataSegmentLength: ours, as we declare it */
	uint32_t max_send;                   /* theirs */
	uint32_t max_burst, first_burst;
	uint16_t max_connections, max_outstanding_r2t;
	uint16_t time2wait, time2retain;     /* seconds */
	uint8_t error_recovery_level, protocol_level, task_reporting;
	bool header_digest, data_digest;
	bool initial_r2t, immediate_data;
	bool data_pdu_in_order, data_sequence_in_order;
};

/* TaskReporting. */
enum iscsi_task_reporting { ISCSI_TASK_RFC3720, ISCSI_TASK_RESPONSE_FENCE, ISCSI_TASK_FAST_ABORT };

/* RFC 7143's defaults: what holds for what nobody mentions. */
#define ISCSI_PARAMS_DEFAULT (struct iscsi_params){ \
	.max_recv = 8192, .max_send = 8192, .max_burst = 262144, .first_burst = 65536, .max_connections = 1, \
	.max_outstanding_r2t = 1, .time2wait = 2, .time2retain = 20, .error_recovery_level = 0, .protocol_level = 1, \
	.task_reporting = ISCSI_TASK_RFC3720, .initial_r2t = true, .immediate_data = true, \
	.data_pdu_in_order = true, .data_sequence_in_order = true, }

/* What we offer where the configuration says nothing. header_digest, data_digest: whether we may; initial_r2t: whether
 * we insist; immediate_data: whether we take it; numbers: as far as we go. max_send: not ours to say, but a limit for
 * what we send (0: as they like). */
#define ISCSI_PARAMS_OFFER (struct iscsi_params){ \
	.max_recv = 262144, .max_send = 0, .max_burst = 16777215, .first_burst = 262144, .max_connections = 1, \
	.max_outstanding_r2t = 64, .time2wait = 2, .time2retain = 0, .error_recovery_level = 0, .protocol_level = 1, \
	.task_reporting = ISCSI_TASK_RFC3720, .header_digest = true, .data_digest = true, \
	.initial_r2t = false, .immediate_data = true, .data_pdu_in_order = true, .data_sequence_in_order = true, }

#endif
