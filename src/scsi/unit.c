/* SPDX-License-Identifier: BSD-3-Clause */
/* unit.c: a logical unit's readiness: TEST UNIT READY, REQUEST SENSE, START STOP UNIT and their like. */
#include "bdev/reservation.h"
#include "scsi/block.h"
#include "scsi/primary.h"

/* What could be in the way was looked at before: attentions, access states, whether the unit is stopped. */
void scsi_test_unit_ready_run(struct scsi_task *t)
{
	scsi_task_complete(t);
}

/* --- REQUEST SENSE ------------------------------------------------------------------------------------------ */

#define DESC 1u

bool scsi_request_sense_parse(struct scsi_task *t)
{
	return scsi_task_moves(t, SCSI_DATA_IN, t->cdb[4]);
}

static void request_sense_answer(struct scsi_task *t, uint8_t key, uint16_t asc)
{
	const struct scsi_sense_desc d = { .code = SCSI_SENSE_DESC, .key = key, .asc = (uint8_t)(asc >> 8),
		.ascq = (uint8_t)asc };
	const struct scsi_sense_fixed f = { .code = SCSI_SENSE_FIXED, .key = key, .asc = (uint8_t)(asc >> 8),
		.ascq = (uint8_t)asc, .additional_len = sizeof(f) - 8 };

	if (t->cdb[1] & DESC)
		scsi_task_complete_data(t, &d, sizeof(d));
	else
		scsi_task_complete_data(t, &f, sizeof(f));
}

static uint16_t access_asc(const struct scsi_task *t)
{
	const struct scsi_map *map = scsi_nexus_map(t->nexus);
	const struct scsi_port *port = scsi_map_port(map, t->nexus->port);

	for (uint32_t i = 0; port && i < map->group_count; i++) {
		if (map->groups[i].id != port->group)
			continue;
		if (map->groups[i].state == SCSI_ALUA_STANDBY)
			return SCSI_ASC_ALUA_STANDBY;
		if (map->groups[i].state == SCSI_ALUA_UNAVAILABLE)
			return SCSI_ASC_ALUA_UNAVAILABLE;
	}
	return SCSI_ASC_NONE;
}

void scsi_request_sense_run(struct scsi_task *t)
{
	uint16_t asc;

	if (!t->lu) {
		request_sense_answer(t, SCSI_ILLEGAL_REQUEST, SCSI_ASC_LUN_NOT_SUPPORTED);
		return;
	}
	if (scsi_attention_take(t->nexus, scsi_lu_of(t->lu)->lun, &asc)) {
		request_sense_answer(t, SCSI_UNIT_ATTENTION, asc);
		return;
	}
	asc = access_asc(t);
	if (!asc && scsi_task_state(t)->stopped)
		asc = SCSI_ASC_INIT_COMMAND_REQUIRED;
	request_sense_answer(t, asc ? SCSI_NOT_READY : SCSI_NO_SENSE, asc);
}

/* --- START STOP UNIT --------------------------------------------------------------------------------------------- */

#define START 0x01u
#define LOEJ 0x02u
#define NO_FLUSH 0x04u
#define POWER_CONDITION 0xf0u

/* The medium stays in, and there are no power conditions. */
bool scsi_start_stop_parse(struct scsi_task *t)
{
	if (t->cdb[4] & POWER_CONDITION)
		return scsi_task_bad_field(t, 4, 7, true);
	if (t->cdb[4] & LOEJ)
		return scsi_task_bad_field(t, 4, 1, true);
	return scsi_task_moves(t, SCSI_DATA_NONE, 0);
}

static void start_stop_answered(struct scsi_ask *a)
{
	scsi_task_complete(a->task);
}

static void start_stop_on_control(struct scsi_ask *a)
{
	bool stop = !(a->task->cdb[4] & START);

	if (a->state.stopped == stop) {
		scsi_ask_answer(a);
		return;
	}
	a->state.stopped = stop;
	scsi_ask_change(a, 0, scsi_ask_answer);
}

static void start_stop_ask(struct scsi_task *t)
{
	scsi_ask_send(scsi_task_ask(t, sizeof(struct scsi_ask)), start_stop_on_control, start_stop_answered);
}

static void start_stop_flushed(struct bdev_io *io)
{
	struct scsi_task *t = container_of(io, struct scsi_task, io);

	if (scsi_task_set_io_status(t, io) && !t->aborted)
		start_stop_ask(t);
	else
		scsi_task_complete(t);
}

void scsi_start_stop_run(struct scsi_task *t)
{
	bool start = t->cdb[4] & START;

	/* To reservations a start is harmless, and a stop is like a write. */
	if (!start && t->lu->ch && bdev_resv_refuses(t->lu->ch, &t->nexus->who, RESV_WRITE))
		t->status = SCSI_RESERVATION_CONFLICT;
	if (t->status == SCSI_RESERVATION_CONFLICT || start != scsi_task_state(t)->stopped) /* or it is so */
		scsi_task_complete(t);
	else if (!start && !(t->cdb[4] & NO_FLUSH) && !t->lu->read_only)
		scsi_block_flush(t, start_stop_flushed);
	else
		start_stop_ask(t);
}

/* --- nothing to do ---------------------------------------------------------------------------------------- */

/* A medium that cannot be removed: whoever wants to prevent that has it so. */
bool scsi_prevent_allow_parse(struct scsi_task *t)
{
	if (t->cdb[4] & 2)
		return scsi_task_bad_field(t, 4, 1, true);
	return scsi_task_moves(t, SCSI_DATA_NONE, 0);
}

void scsi_prevent_allow_run(struct scsi_task *t)
{
	scsi_task_complete(t);
}

#define SELF_TEST 0x04u

/* The default self-test only: that the command came this far is the test. */
bool scsi_send_diagnostic_parse(struct scsi_task *t)
{
	if (!(t->cdb[1] & SELF_TEST))
		return scsi_task_bad_field(t, 1, 2, true);
	return scsi_task_moves(t, SCSI_DATA_NONE, 0);
}

void scsi_send_diagnostic_run(struct scsi_task *t)
{
	scsi_task_complete(t);
}
