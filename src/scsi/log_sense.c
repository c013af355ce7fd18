/* SPDX-License-Identifier: BSD-3-Clause */
/* log_sense.c: LOG SENSE. There are the pages whose figures are real: which pages there are, what was read and written,
 * and that nothing is about to fail. Nothing here wears out or has a temperature.
 */
#include "scsi/primary.h"
#include "wire/scsi_report.h"

#define PC_CUMULATIVE 1u

struct statistics {
	struct scsi_ask ask;
	struct bdev_stats_read read;
};
struct log {
	uint8_t code, subpage;
	uint16_t last;         /* parameter */
	/* What is behind the header, beginning with the first parameter that was asked for; s: NULL but for statistics. */
	uint32_t (*make)(const struct log *log, const struct statistics *s, uint16_t from, uint8_t *body);
	bool counts;           /* needs statistics */
};
#define LOGS_COUNT 4u
static const struct log logs[LOGS_COUNT];

static void ask_for_statistics(struct scsi_ask *a);
static void have_statistics(struct scsi_ask *a);
static void answer(struct scsi_task *t, const struct statistics *s);

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
	if (scsi_u16(t->cdb + 5) > log->last)
		return scsi_task_bad_field(t, 5, -1, true);
	return scsi_task_moves(t, SCSI_DATA_IN, scsi_u16(t->cdb + 7));
}

void scsi_log_sense_run(struct scsi_task *t)
{
	const struct log *log = log_of(t);

	if (log && log->counts)
		scsi_ask_send(scsi_task_ask(t, sizeof(struct statistics)), ask_for_statistics, have_statistics);
	else
		answer(t, NULL);
}

static void statistics_read(struct bdev_stats_read *r)
{
	scsi_ask_answer(&container_of(r, struct statistics, read)->ask);
}

static void ask_for_statistics(struct scsi_ask *a)
{
	struct statistics *s = container_of(a, struct statistics, ask);
	struct bdev_registry *reg = scsi_task_scsi(a->task)->reg;
	struct bdev *b = bdev_find(reg, a->lu->dev.bdev_name);

	if (b)
		bdev_stats_get(reg, b, &s->read, BDEV_STATS_KEEP, statistics_read);
	else
		scsi_ask_answer(a); /* it is going: zeroes */
}

static void have_statistics(struct scsi_ask *a)
{
	answer(a->task, container_of(a, struct statistics, ask));
}

static void answer(struct scsi_task *t, const struct statistics *s)
{
	const struct log *log = log_of(t); /* parsing has looked */
	uint8_t buf[128] = { 0 };
	struct scsi_log_header *h = (struct scsi_log_header *)buf;
	uint32_t len;

	must(log);
	len = log->make(log, s, scsi_u16(t->cdb + 5), buf + sizeof(*h));
	h->code = SCSI_LOG_DS | (log->subpage ? SCSI_LOG_SPF : 0) | log->code;
	h->subpage = log->subpage;
	h->length = be16_of((uint16_t)len);
	scsi_task_complete_data(t, buf, (uint32_t)sizeof(*h) + len);
}

/* --- the pages ------------------------------------------------------------------------------------------------ */

static uint32_t supported(const struct log *log, const struct statistics *s, uint16_t from, uint8_t *body)
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

static uint32_t exceptions(const struct log *log, const struct statistics *s, uint16_t from, uint8_t *body)
{
	struct scsi_log_exceptions *e = (struct scsi_log_exceptions *)body;

	e->h.control = SCSI_LOG_FORMAT_BINARY;
	e->h.length = sizeof(*e) - sizeof(e->h);
	e->temperature = 0xff;
	return sizeof(*e);
}

/* Of the disk, whoever used it. */
static void put_access(struct scsi_log_access *p, const struct bdev_stats *sum)
{
	const struct bdev_op_stats *r = &sum->op[BDEV_READ], *w = &sum->op[BDEV_WRITE];

	p->h.code = be16_of(SCSI_LOG_STATISTICS_ACCESS);
	p->h.control = SCSI_LOG_FORMAT_BINARY;
	p->h.length = sizeof(*p) - sizeof(p->h);
	p->reads = be64_of(r->ops);
	p->writes = be64_of(w->ops);
	p->blocks_received = be64_of(w->blocks);
	p->blocks_sent = be64_of(r->blocks);
	p->read_intervals = be64_of(r->latency_ns / NS_PER_US);
	p->write_intervals = be64_of(w->latency_ns / NS_PER_US);
}

static uint32_t statistics(const struct log *log, const struct statistics *s, uint16_t from, uint8_t *body)
{
	struct scsi_log_interval *i;
	uint32_t len = 0;

	if (from <= SCSI_LOG_STATISTICS_ACCESS) {
		put_access((struct scsi_log_access *)body, &s->read.sum);
		len = sizeof(struct scsi_log_access);
	}
	i = (struct scsi_log_interval *)(body + len);
	i->h.code = be16_of(SCSI_LOG_STATISTICS_INTERVAL);
	i->h.control = SCSI_LOG_FORMAT_BINARY;
	i->h.length = sizeof(*i) - sizeof(i->h);
	i->exponent = be32_of(6); /* microseconds */
	i->integer = be32_of(1);
	return len + (uint32_t)sizeof(*i);
}

static const struct log logs[LOGS_COUNT] = {
	/* code, subpage                              last parameter                made by      counts */
	{ SCSI_LOG_SUPPORTED,  0,                       0,                            supported,  false },
	{ SCSI_LOG_SUPPORTED,  SCSI_LOG_SUBPAGE_ALL,    0,                            supported,  false },
	{ SCSI_LOG_STATISTICS, 0,                       SCSI_LOG_STATISTICS_INTERVAL, statistics, true },
	{ SCSI_LOG_EXCEPTIONS, 0,                       0,                            exceptions, false },
};
