/* SPDX-License-Identifier: BSD-3-Clause */
/* tmf.c: task management. What a command has not got beyond this layer is ended here; the rest is the SCSI layer's.
 *
 * Commands come in order on the one connection, so that all which a function means are here when it comes. One that
 * ABORT TASK names and that is not is counted as received, when its number is between those that came and that of the
 * function: the initiator numbered it, and will not send it. Data that was asked for by R2T may still be on its way
 * for a task that was ended: it is thrown away when it comes.
 */
#include "iscsi/conn.h"

struct tmf {
	struct scsi_tmf scsi;
	struct iscsi_conn *conn;
	be32 itt;
	bool closes;                  /* a cold reset ends the session */
};

static void drop_tasks(struct iscsi_conn *c, bool of_all, uint64_t lun);
static bool abort_here(struct iscsi_conn *c, const struct iscsi_tmf *pdu, uint8_t *ret_response);
static void respond(struct iscsi_conn *c, be32 itt, uint8_t response, bool closes);
static void done(struct scsi_tmf *m);
static uint8_t response_of(uint8_t response);

/* What an initiator may ask for, and what it means here. */
static bool function_of(const struct iscsi_conn *c, uint8_t function, uint8_t *ret)
{
	static const uint8_t of[] = {
		[ISCSI_TMF_ABORT_TASK] = SCSI_TMF_ABORT_TASK, [ISCSI_TMF_ABORT_TASK_SET] = SCSI_TMF_ABORT_TASK_SET,
		[ISCSI_TMF_CLEAR_ACA] = SCSI_TMF_CLEAR_ACA, [ISCSI_TMF_CLEAR_TASK_SET] = SCSI_TMF_CLEAR_TASK_SET,
		[ISCSI_TMF_LU_RESET] = SCSI_TMF_LU_RESET, [ISCSI_TMF_TARGET_WARM_RESET] = SCSI_TMF_TARGET_WARM_RESET,
		[ISCSI_TMF_TARGET_COLD_RESET] = SCSI_TMF_TARGET_COLD_RESET, [ISCSI_TMF_QUERY_TASK] = SCSI_TMF_QUERY_TASK,
		[ISCSI_TMF_QUERY_TASK_SET] = SCSI_TMF_QUERY_TASK_SET, [ISCSI_TMF_NEXUS_RESET] = SCSI_TMF_NEXUS_RESET,
	};

	if (!function || function > ISCSI_TMF_NEXUS_RESET || function == ISCSI_TMF_TASK_REASSIGN)
		return false;
	if (function >= ISCSI_TMF_QUERY_TASK && c->params.protocol_level < 2)
		return false;
	*ret = of[function];
	return true;
}

void iscsi_conn_tmf(struct iscsi_conn *c, const struct iscsi_tmf *pdu)
{
	uint8_t function = pdu->function & ISCSI_FUNCTION_MASK, response;
	struct tmf *m;

	if (c->tmfs >= ISCSI_TMFS_MAX) {
		iscsi_conn_reject(c, ISCSI_REJECT_IMMEDIATE);
		return;
	}
	log_debug("iSCSI: %s: %s", iscsi_conn_name(c), iscsi_tmf_text(function));
	m = base_zalloc(sizeof(*m));
	if (!function_of(c, function, &m->scsi.function)) {
		free(m);
		respond(c, pdu->itt, function == ISCSI_TMF_TASK_REASSIGN ? ISCSI_TMF_RSP_NO_REASSIGN :
		                                                            ISCSI_TMF_RSP_NOT_SUPPORTED, false);
		return;
	}
	if ((function == ISCSI_TMF_ABORT_TASK || function == ISCSI_TMF_QUERY_TASK) && abort_here(c, pdu, &response)) {
		free(m);
		respond(c, pdu->itt, response, false);
		return;
	}
	if (function == ISCSI_TMF_ABORT_TASK_SET || function == ISCSI_TMF_CLEAR_TASK_SET || function == ISCSI_TMF_LU_RESET)
		drop_tasks(c, false, be64_get(pdu->lun));
	else if (function == ISCSI_TMF_TARGET_WARM_RESET || function == ISCSI_TMF_TARGET_COLD_RESET ||
	         function == ISCSI_TMF_NEXUS_RESET)
		drop_tasks(c, true, 0);
	m->conn = c;
	m->itt = pdu->itt;
	m->closes = function == ISCSI_TMF_TARGET_COLD_RESET;
	m->scsi.nexus = &c->nexus;
	m->scsi.lun = be64_get(pdu->lun);
	m->scsi.tag = be32_get(pdu->ref_task_tag);
	m->scsi.done = done;
	c->tmfs++;
	scsi_tmf_start(&m->scsi);
}

/* Commands that wait for room or data. */
static void drop_tasks(struct iscsi_conn *c, bool of_all, uint64_t lun)
{
	for (uint32_t i = 0; i < c->touched; i++) {
		struct iscsi_task *t = conn_task(c, i);

		if (iscsi_task_waits(t) && (of_all || t->scsi.lun == lun))
			iscsi_task_drop(t);
	}
}

/* A task that the SCSI layer does not have, or has answered already. False: ask there. */
static bool abort_here(struct iscsi_conn *c, const struct iscsi_tmf *pdu, uint8_t *ret_response)
{
	struct iscsi_task *t = iscsi_task_find(c, be32_get(pdu->ref_task_tag));
	uint32_t ref_sn = be32_get(pdu->ref_cmd_sn), tmf_sn = be32_get(pdu->cmd_sn);
	bool query = (pdu->function & ISCSI_FUNCTION_MASK) == ISCSI_TMF_QUERY_TASK;

	if (t && t->scsi.lun == be64_get(pdu->lun)) {
		if (t->state == TASK_EXECUTE)
			return false;
		if (t->state == TASK_SEND && !t->scsi.more) {
			*ret_response = ISCSI_TMF_RSP_NO_TASK; /* its answer goes out before this one */
			return true;
		}
		*ret_response = query ? ISCSI_TMF_RSP_SUCCEEDED : ISCSI_TMF_RSP_COMPLETE;
		if (!query)
			iscsi_task_drop(t);
		return true;
	}
	*ret_response = query ? ISCSI_TMF_RSP_COMPLETE : ISCSI_TMF_RSP_NO_TASK;
	if (!t && !query && iscsi_sn_before(ref_sn, tmf_sn) && iscsi_cmd_sn_is_missing(c, ref_sn)) {
		iscsi_cmd_sn_skip(c, ref_sn);
		*ret_response = ISCSI_TMF_RSP_COMPLETE;
	}
	return true;
}

static void respond(struct iscsi_conn *c, be32 itt, uint8_t response, bool closes)
{
	struct iscsi_say *s = iscsi_say_make(ISCSI_OP_TMF_RSP, NULL, 0);

	s->bhs.tmf_rsp.itt = itt;
	s->bhs.tmf_rsp.response = response;
	s->closes = closes;
	iscsi_say(c, s);
}

static void done(struct scsi_tmf *scsi)
{
	struct tmf *m = container_of(scsi, struct tmf, scsi);
	struct iscsi_conn *c = m->conn;

	c->tmfs--;
	if (conn_is_live(c))
		respond(c, m->itt, response_of(scsi->response), m->closes);
	free(m);
	iscsi_conn_less(c);
}

static uint8_t response_of(uint8_t response)
{
	switch ((enum scsi_tmf_response)response) {
	case SCSI_TMF_COMPLETE:
		return ISCSI_TMF_RSP_COMPLETE;
	case SCSI_TMF_SUCCEEDED:
		return ISCSI_TMF_RSP_SUCCEEDED;
	case SCSI_TMF_NO_TASK:
		return ISCSI_TMF_RSP_NO_TASK;
	case SCSI_TMF_NO_LUN:
		return ISCSI_TMF_RSP_NO_LUN;
	case SCSI_TMF_UNSUPPORTED:
		return ISCSI_TMF_RSP_NOT_SUPPORTED;
	case SCSI_TMF_REJECTED:
		break;
	}
	return ISCSI_TMF_RSP_REJECTED;
}
