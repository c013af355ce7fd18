/* SPDX-License-Identifier: BSD-3-Clause */
/* flight.c: what the flight recorder (core/flight.c) keeps of a SCSI command. */
#include "scsi/block.h"

static void sense_of(struct scsi_slow_io *s, const struct scsi_task *t)
{
	uint32_t code = scsi_task_error_code(t);

	s->status = t->status;
	s->key = code >> 16 & 0xff;
	s->asc = code >> 8 & 0xff;
	s->ascq = code & 0xff;
}

static void fill(struct flight_io *io, const void *command)
{
	struct scsi_slow_io *s = container_of(io, struct scsi_slow_io, io);
	const struct scsi_task *t = command;
	const struct scsi_nexus *n = t->nexus;

	s->tag = t->tag;
	s->bytes = t->base + t->moves;
	s->lun = t->lu ? t->unit : UINT32_MAX;
	s->port = n->port;
	s->cdb_len = t->op ? t->op->cdb_len : t->cdb_len;
	memcpy(s->cdb, t->cdb, sizeof(s->cdb));
	s->name = t->op ? t->op->name : NULL;
	s->has_range = t->op && t->op->flags & SCSI_ROW_DATA;
	if (s->has_range)
		scsi_block_cdb_range(t, &s->lba, &s->blocks);
	sense_of(s, t);
	stage_name_set(s->host, sizeof(s->host), n->who.name);
	stage_name_set(s->target, sizeof(s->target), n->target->name);
	stage_name_set(s->session, sizeof(s->session), scsi_session_of(n));
	stage_name_set(s->device, sizeof(s->device), t->lu ? t->lu->served->bdev_name : "");
}

static struct flight *flight_of(struct flights *all, uint32_t core_index)
{
	return &container_of(all, struct scsi, flights)->cores[core_index].flight;
}

void scsi_flights_init(struct scsi *s) { s->flights = (struct flights){ .core = s->core, .of = flight_of }; }
struct flights *scsi_flights(struct scsi *s) { return &s->flights; }

void scsi_flight_init(struct scsi_core *c)
{
	c->flight.size = sizeof(struct scsi_slow_io);
	c->flight.fill = fill;
	c->flight.set_limit_ns = &c->scsi->flights.limit_ns;
}
