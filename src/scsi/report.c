/* SPDX-License-Identifier: BSD-3-Clause */
/* report.c: what there is: REPORT LUNS, REPORT SUPPORTED OPERATION CODES and TASK MANAGEMENT FUNCTIONS, REPORT
 * TIMESTAMP. The operation codes come from the tables that commands are run by. */
#include "scsi/primary.h"
#include "wire/scsi_report.h"

/* --- REPORT LUNS ------------------------------------------------------------------------------------------------ */

#define LUNS_LENGTH_MIN 16u

bool scsi_report_luns_parse(struct scsi_task *t)
{
	uint32_t len = scsi_u32(t->cdb + 6);

	if (t->cdb[2] > SCSI_SELECT_ALL)
		return scsi_task_bad_field(t, 2, -1, true);
	if (len < LUNS_LENGTH_MIN)
		return scsi_task_bad_field(t, 6, -1, true);
	return scsi_task_moves(t, SCSI_DATA_IN, len);
}

/* There are no well-known logical units. */
void scsi_report_luns_run(struct scsi_task *t)
{
	const struct scsi_map *map = scsi_nexus_map(t->nexus);
	struct scsi_report_luns *r = base_zalloc(sizeof(*r) + SCSI_LUNS_MAX * sizeof(r->luns[0]));
	uint32_t count = 0, len;

	for (uint32_t lun = 0; lun < SCSI_LUNS_MAX && t->cdb[2] != SCSI_SELECT_WELL_KNOWN; lun++)
		if (map->luns[lun].lu)
			r->luns[count++] = be64_of(scsi_lun_wire(lun));
	len = count * (uint32_t)sizeof(r->luns[0]);
	r->length = be32_of(len);
	if (t->cdb[2] != SCSI_SELECT_WELL_KNOWN)
		scsi_attention_drop(t->nexus, SCSI_ASC_REPORTED_LUNS_CHANGED);
	scsi_task_complete_data(t, r, (uint32_t)sizeof(*r) + len);
	free(r);
}

/* --- REPORT SUPPORTED OPERATION CODES ----------------------------------------------------------------------------- */

#define RCTD 0x80u
#define OPTIONS 0x07u

static bool opcode_has_sa(const struct scsi_task *t, uint8_t opcode)
{
	const struct scsi_opcode *op = scsi_opcode_find(scsi_task_scsi(t), opcode, -1);

	return op && op->service_action >= 0;
}

bool scsi_report_opcodes_parse(struct scsi_task *t)
{
	uint8_t options = t->cdb[2] & OPTIONS, opcode = t->cdb[3];
	bool known = scsi_opcode_find(scsi_task_scsi(t), opcode, -1);

	if (options > SCSI_RSOC_EITHER)
		return scsi_task_bad_field(t, 2, 2, true);
	if (options == SCSI_RSOC_OPCODE && opcode_has_sa(t, opcode))
		return scsi_task_bad_field(t, 2, 2, true);
	if (options == SCSI_RSOC_SERVICE_ACTION && known && !opcode_has_sa(t, opcode))
		return scsi_task_bad_field(t, 2, 2, true);
	return scsi_task_moves(t, SCSI_DATA_IN, scsi_u32(t->cdb + 6));
}

/* What the tables have and this device cannot. */
static bool works_here(const struct scsi_task *t, const struct scsi_opcode *op)
{
	static const struct { uint8_t opcode; enum bdev_op needs; } rows[] = {
		{ SCSI_OP_UNMAP,             BDEV_UNMAP },
		{ SCSI_OP_COMPARE_AND_WRITE, BDEV_COMPARE_AND_WRITE },
		{ SCSI_OP_ORWRITE_16,        BDEV_COMPARE_AND_WRITE },
	};

	for (uint32_t i = 0; i < ARRAY_SIZE(rows); i++)
		if (rows[i].opcode == op->opcode)
			return bdev_can(&t->lu->served->info, rows[i].needs);
	return true;
}

/* No command has a time that it takes: it depends on what the device is. */
static uint32_t put_timeouts(uint8_t *at)
{
	struct scsi_rsoc_timeouts *d = (struct scsi_rsoc_timeouts *)at;

	*d = (struct scsi_rsoc_timeouts){ .length = be16_of(sizeof(*d) - sizeof(d->length)) };
	return sizeof(*d);
}

static void report_all(struct scsi_task *t)
{
	bool rctd = t->cdb[2] & RCTD;
	uint32_t len = sizeof(be32), count = 0;
	uint8_t *buf;

	while (scsi_opcode_at(scsi_task_scsi(t), count))
		count++;
	buf = base_zalloc(len + count * (sizeof(struct scsi_rsoc_command) + sizeof(struct scsi_rsoc_timeouts)));
	for (uint32_t i = 0; i < count; i++) {
		const struct scsi_opcode *op = scsi_opcode_at(scsi_task_scsi(t), i);
		struct scsi_rsoc_command *c = (struct scsi_rsoc_command *)(buf + len);
		bool sa = op->service_action >= 0;

		if (!works_here(t, op))
			continue;
		c->opcode = op->opcode;
		c->service_action = be16_of(sa ? (uint16_t)op->service_action : 0);
		c->flags = (uint8_t)((sa ? SCSI_RSOC_SERVACTV : 0) | (rctd ? SCSI_RSOC_CTDP : 0));
		c->cdb_length = be16_of(op->cdb_len);
		len += (uint32_t)sizeof(*c);
		if (rctd)
			len += put_timeouts(buf + len);
	}
	scsi_put32(buf, len - (uint32_t)sizeof(be32));
	scsi_task_complete_data(t, buf, len);
	free(buf);
}

static const struct scsi_opcode *asked_for(const struct scsi_task *t)
{
	uint8_t options = t->cdb[2] & OPTIONS;
	uint16_t sa = scsi_u16(t->cdb + 4);

	if (!opcode_has_sa(t, t->cdb[3])) /* EITHER: the service action has to be zero */
		return sa && options == SCSI_RSOC_EITHER ? NULL : scsi_opcode_find(scsi_task_scsi(t), t->cdb[3], -1);
	return scsi_opcode_find(scsi_task_scsi(t), t->cdb[3], sa);
}

static void report_one(struct scsi_task *t)
{
	const struct scsi_opcode *op = asked_for(t);
	bool rctd = t->cdb[2] & RCTD;
	uint8_t buf[sizeof(struct scsi_rsoc_one) + sizeof(op->usage) + sizeof(struct scsi_rsoc_timeouts)] = { 0 };
	struct scsi_rsoc_one *one = (struct scsi_rsoc_one *)buf;
	uint32_t len = sizeof(*one);

	if (!op || !works_here(t, op)) {
		one->support = SCSI_SUPPORT_NONE;
		scsi_task_complete_data(t, buf, len);
		return;
	}
	one->support = SCSI_SUPPORT_STANDARD | (rctd ? SCSI_SUPPORT_CTDP : 0);
	one->cdb_length = be16_of(op->cdb_len);
	memcpy(one->usage, op->usage, op->cdb_len);
	one->usage[0] = op->opcode;
	if (op->service_action >= 0)
		one->usage[1] = (uint8_t)((one->usage[1] & ~0x1f) | op->service_action);
	len += op->cdb_len;
	if (rctd)
		len += put_timeouts(buf + len);
	scsi_task_complete_data(t, buf, len);
}

void scsi_report_opcodes_run(struct scsi_task *t)
{
	if ((t->cdb[2] & OPTIONS) == SCSI_RSOC_ALL)
		report_all(t);
	else
		report_one(t);
}

/* --- REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS ----------------------------------------------------------- */

#define REPD 0x80u
#define TMFS_LENGTH_MIN 4u

bool scsi_report_tmfs_parse(struct scsi_task *t)
{
	uint32_t len = scsi_u32(t->cdb + 6);

	if (len < TMFS_LENGTH_MIN)
		return scsi_task_bad_field(t, 6, -1, true);
	return scsi_task_moves(t, SCSI_DATA_IN, len);
}

/* iSCSI has QUERY and I_T NEXUS RESET from iSCSIProtocolLevel 2 on only, which is not negotiated. */
void scsi_report_tmfs_run(struct scsi_task *t)
{
	bool repd = t->cdb[2] & REPD, iscsi = t->nexus->target->protocol == SCSI_PROTOCOL_ISCSI;
	struct scsi_rstmf_extended r = {
		.h = { .functions0 = SCSI_RSTMF0_ABORT_TASK | SCSI_RSTMF0_ABORT_TASK_SET | SCSI_RSTMF0_CLEAR_TASK_SET |
		                     SCSI_RSTMF0_LU_RESET | SCSI_RSTMF0_TARGET_RESET | (iscsi ? 0 : SCSI_RSTMF0_QUERY_TASK),
		       .functions1 = iscsi ? 0 : SCSI_RSTMF1_QUERY_TASK_SET | SCSI_RSTMF1_NEXUS_RESET,
		       .additional_length = repd ? sizeof(r) - sizeof(r.h) : 0 },
	};

	scsi_task_complete_data(t, &r, repd ? sizeof(r) : sizeof(r.h));
}

/* --- REPORT TIMESTAMP ------------------------------------------------------------------------------------- */

#define TIMESTAMP_OTHER 3u /* neither reset nor set by a command: the machine's clock */

bool scsi_report_timestamp_parse(struct scsi_task *t)
{
	return scsi_task_moves(t, SCSI_DATA_IN, scsi_u32(t->cdb + 6));
}

void scsi_report_timestamp_run(struct scsi_task *t)
{
	uint64_t ms = core_wall_us() / 1000;
	uint8_t buf[12] = { 0, sizeof(buf) - 2, TIMESTAMP_OTHER };

	scsi_put16(buf + 4, (uint16_t)(ms >> 32));
	scsi_put32(buf + 6, (uint32_t)ms);
	scsi_task_complete_data(t, buf, sizeof(buf));
}
