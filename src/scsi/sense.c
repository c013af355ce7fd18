/* SPDX-License-Identifier: BSD-3-Clause */
/* sense.c: sense data, in the format the control mode page asks for; and how a device's answer is said in SCSI. */
#include "scsi/scsi_priv.h"

static void begin_fixed(struct scsi_task *t, uint8_t key, uint16_t asc_ascq)
{
	struct scsi_sense_fixed s = { .code = SCSI_SENSE_FIXED, .key = key, .additional_len = sizeof(s) - 8,
		.asc = (uint8_t)(asc_ascq >> 8), .ascq = (uint8_t)asc_ascq };

	memcpy(t->sense, &s, sizeof(s));
	t->sense_len = sizeof(s);
}

static void begin_desc(struct scsi_task *t, uint8_t key, uint16_t asc_ascq)
{
	struct scsi_sense_desc s = { .code = SCSI_SENSE_DESC, .key = key, .asc = (uint8_t)(asc_ascq >> 8),
		.ascq = (uint8_t)asc_ascq };

	memcpy(t->sense, &s, sizeof(s));
	t->sense_len = sizeof(s);
}

static void add_desc(struct scsi_task *t, const void *desc, uint8_t len)
{
	must((size_t)t->sense_len + len <= sizeof(t->sense));
	memcpy(t->sense + t->sense_len, desc, len);
	t->sense_len += len;
	t->sense[offsetof(struct scsi_sense_desc, additional_len)] += len;
}

bool scsi_task_refuse(struct scsi_task *t, uint8_t key, uint16_t asc_ascq)
{
	if (scsi_task_state(t)->d_sense)
		begin_desc(t, key, asc_ascq);
	else
		begin_fixed(t, key, asc_ascq);
	t->status = SCSI_CHECK_CONDITION;
	t->sent_len = 0;
	t->full_len = t->base;
	return false;
}

static void add_key_specific(struct scsi_task *t, const uint8_t specific[3])
{
	struct scsi_sense_key_specific d = { .type = 0x02, .additional_len = 6 };

	if ((t->sense[0] & 0x7f) == SCSI_SENSE_FIXED) {
		memcpy(t->sense + offsetof(struct scsi_sense_fixed, key_specific), specific, 3);
		return;
	}
	memcpy(d.key_specific, specific, 3);
	add_desc(t, &d, sizeof(d));
}

bool scsi_task_bad_field(struct scsi_task *t, uint16_t byte, int bit, bool in_cdb)
{
	uint8_t specific[3] = { SCSI_SKS_VALID };

	scsi_task_refuse(t, SCSI_ILLEGAL_REQUEST,
	                 in_cdb ? SCSI_ASC_INVALID_FIELD_IN_CDB : SCSI_ASC_INVALID_FIELD_IN_PARAMETERS);
	if (in_cdb)
		specific[0] |= SCSI_SKS_CDB;
	if (bit >= 0)
		specific[0] |= (uint8_t)(SCSI_SKS_BIT | (bit & 7));
	scsi_put16(specific + 1, byte);
	add_key_specific(t, specific);
	return false;
}

void scsi_task_set_information(struct scsi_task *t, uint64_t information)
{
	struct scsi_sense_information d = { .type = 0x00, .additional_len = 10, .valid = SCSI_SENSE_VALID,
		.information = be64_of(information) };

	if ((t->sense[0] & 0x7f) != SCSI_SENSE_FIXED) {
		add_desc(t, &d, sizeof(d));
		return;
	}
	if (information > UINT32_MAX)
		return; /* it has no room there: not valid */
	t->sense[0] |= SCSI_SENSE_VALID;
	scsi_put32(t->sense + offsetof(struct scsi_sense_fixed, information), (uint32_t)information);
}

void scsi_task_set_command_specific(struct scsi_task *t, uint32_t information)
{
	struct scsi_sense_command_specific d = { .type = 0x01, .additional_len = 10, .information = be64_of(information) };

	if ((t->sense[0] & 0x7f) != SCSI_SENSE_FIXED)
		add_desc(t, &d, sizeof(d));
	else
		scsi_put32(t->sense + offsetof(struct scsi_sense_fixed, command_specific), information);
}

/* --- devices' answers -- */

struct answer {
	uint8_t status, key;
	uint16_t asc;
};
#define CHECK(key, asc) { SCSI_CHECK_CONDITION, SCSI_##key, SCSI_ASC_##asc }

static const struct answer answers[BDEV_STATUS_COUNT] = {
	[BDEV_ST_OK]              = { SCSI_GOOD },
	[BDEV_ST_BAD_RANGE]       = CHECK(ILLEGAL_REQUEST, LBA_OUT_OF_RANGE),
	[BDEV_ST_BAD_FIELD]       = CHECK(ILLEGAL_REQUEST, INVALID_FIELD_IN_CDB),
	[BDEV_ST_UNSUPPORTED]     = CHECK(ILLEGAL_REQUEST, INVALID_OPCODE),
	[BDEV_ST_WRITE_PROTECTED] = CHECK(DATA_PROTECT, WRITE_PROTECTED),
	[BDEV_ST_MISCOMPARE]      = CHECK(MISCOMPARE, MISCOMPARE_DURING_VERIFY),
	[BDEV_ST_MEDIA_ERROR]     = CHECK(MEDIUM_ERROR, READ_ERROR),
	[BDEV_ST_GUARD_CHECK]     = CHECK(ABORTED_COMMAND, GUARD_CHECK),
	[BDEV_ST_APPTAG_CHECK]    = CHECK(ABORTED_COMMAND, APPTAG_CHECK),
	[BDEV_ST_REFTAG_CHECK]    = CHECK(ABORTED_COMMAND, REFTAG_CHECK),
	[BDEV_ST_RESERVED]        = { SCSI_RESERVATION_CONFLICT },
	[BDEV_ST_FENCED]          = CHECK(ABORTED_COMMAND, NONE),
	[BDEV_ST_ABORTED]         = CHECK(ABORTED_COMMAND, NONE),
	[BDEV_ST_GONE]            = CHECK(ILLEGAL_REQUEST, LUN_NOT_SUPPORTED),
	[BDEV_ST_SRC_GONE]        = CHECK(COPY_ABORTED, COPY_TARGET_NOT_REACHABLE),
	[BDEV_ST_NO_SPACE]        = CHECK(DATA_PROTECT, SPACE_ALLOCATION_FAILED),
	[BDEV_ST_BUSY]            = { SCSI_BUSY },
	[BDEV_ST_FAILED]          = CHECK(HARDWARE_ERROR, INTERNAL_FAILURE),
	[BDEV_ST_TIMED_OUT]       = CHECK(ABORTED_COMMAND, COMMAND_TIMEOUT),
};

bool scsi_task_set_io_status(struct scsi_task *t, const struct bdev_io *io)
{
	const struct answer *a = &answers[io->status];
	bool reads = io->op == BDEV_READ || io->op == BDEV_COMPARE || io->op == BDEV_VERIFY;

	assert(io->status < BDEV_STATUS_COUNT);
	if (likely(io->status == BDEV_ST_OK))
		return true;
	t->sent_len = 0;
	if (a->status != SCSI_CHECK_CONDITION) {
		t->status = a->status;
		return false;
	}
	scsi_task_refuse(t, a->key, io->status == BDEV_ST_MEDIA_ERROR && !reads ? SCSI_ASC_WRITE_ERROR : a->asc);
	if (io->status == BDEV_ST_MISCOMPARE)
		scsi_task_set_information(t, t->base + io->miscompare_offset);
	else if (io->status == BDEV_ST_MEDIA_ERROR)
		scsi_task_set_information(t, io->lba);
	return false;
}
