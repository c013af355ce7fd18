/* SPDX-License-Identifier: BSD-3-Clause */
/* log_sense.c: LOG SENSE. There are the pages whose figures are real: which pages there are, and that nothing is about
 * to fail. */
#include "scsi/primary.h"
#include "wire/scsi_report.h"

#define PC_CUMULATIVE 1u
#define PPC_SP 0x03u

struct log {
	uint8_t code, subpage;
	uint32_t (*make)(const struct log *log, uint8_t *body, uint16_t from); /* from: the first parameter asked for */
};
#define LOGS_COUNT 3u
static const struct log logs[LOGS_COUNT];

static const struct log *log_of(const struct scsi_task *t)
{
	for (uint32_t i = 0; i < LOGS_COUNT; i++)
		if (logs[i].code == (t->cdb[2] & SCSI_LOG_CODE) && logs[i].subpage == t->cdb[3])
			return &logs[i];
	return NULL;
}

/* Cumulative values; nothing has thresholds, nothing is saved. */
bool scsi_log_sense_parse(struct scsi_task *t)
{
	const struct log *log = log_of(t);

	if (!log)
		return scsi_task_bad_field(t, t->cdb[3] && t->cdb[3] != SCSI_LOG_SUBPAGE_ALL ? 3 : 2, 5, true);
	if (log->code != SCSI_LOG_SUPPORTED && t->cdb[2] >> 6 != PC_CUMULATIVE)
		return scsi_task_bad_field(t, 2, 7, true);
	if (scsi_u16(t->cdb + 5) && log->code == SCSI_LOG_SUPPORTED)
		return scsi_task_bad_field(t, 5, -1, true);
	return scsi_task_moves(t, SCSI_DATA_IN, scsi_u16(t->cdb + 7));
}

void scsi_log_sense_run(struct scsi_task *t)
{
	const struct log *log = log_of(t); /* parsing has looked */
	uint8_t buf[64] = { 0 };
	struct scsi_log_header *h = (struct scsi_log_header *)buf;
	uint32_t len = log ? log->make(log, buf + sizeof(*h), scsi_u16(t->cdb + 5)) : 0;

	if (!log || !len) { /* a parameter beyond the last */
		scsi_task_bad_field(t, 5, -1, true);
		scsi_task_complete(t);
		return;
	}
	h->code = SCSI_LOG_DS | (log->subpage ? SCSI_LOG_SPF : 0) | log->code;
	h->subpage = log->subpage;
	h->length = be16_of((uint16_t)len);
	scsi_task_complete_data(t, buf, (uint32_t)sizeof(*h) + len);
}

static uint32_t supported(const struct log *log, uint8_t *body, uint16_t from)
{
	uint32_t len = 0;

	for (uint32_t i = 0; i < LOGS_COUNT; i++) {
		if (logs[i].subpage && !log->subpage)
			continue;
		body[len++] = logs[i].code;
		if (log->subpage)
			body[len++] = logs[i].subpage;
	}
	return len;
}

/* Nothing here wears out or has a temperature. */
static uint32_t exceptions(const struct log *log, uint8_t *body, uint16_t from)
{
	struct scsi_log_exceptions *e = (struct scsi_log_exceptions *)body;

	if (from)
		return 0;
	e->h.control = SCSI_LOG_FORMAT_BINARY;
	e->h.length = sizeof(*e) - sizeof(e->h);
	e->temperature = 0xff;
	return sizeof(*e);
}

static const struct log logs[LOGS_COUNT] = {
	{ SCSI_LOG_SUPPORTED,  0,                    supported },
	{ SCSI_LOG_SUPPORTED,  SCSI_LOG_SUBPAGE_ALL, supported },
	{ SCSI_LOG_EXCEPTIONS, 0,                    exceptions },
};
